"""What a training run is made of, apart from the network and the data."""

import math
from dataclasses import dataclass

from van_tutorial._checks import check_choice, check_count, check_flag, check_range, check_seed
from van_tutorial.constraints import SCHEDULES

SKIP_SCHEDULES = ("multipliers", "penalty", *SCHEDULES)
OPTIMIZERS = ("adam", "adamw", "sgd")
LR_SCHEDULES = ("cosine", "constant", "wsd")
AUGMENTATIONS = ("none", "crop-flip")
REMOVE_BY = 2 / 3
WARM_UP = 0.05  # fraction of the training, of lr_schedule "wsd"
LATEST_DECAY = 0.9  # fraction of the training at which its decay begins at the latest
STAGGER = 0.9  # chosen on a validation set; beside other orders: assets/results/price_order.json


@dataclass(frozen=True)
class TrainConfig:
    """Everything that determines a training run, apart from the network and the data.

    Attributes:
        num_epochs: passes over the training images, at least 1.
        batch_size: examples per step, at least 2; what is left over at the end of an epoch is dropped.
        lr: learning rate of the weights, above 0.
        skip_lr: learning rate of the skip weights (plain gradient steps, constant), at least 0.
        skip_gradient: whether the loss has a say in the skip weights. False leaves its gradient out of their step, so
            that multipliers and clip alone move them: the control for whether a phase-out listens to the loss.
        skip_target: the value that the skip weights are driven to. 0 takes the skips away, as a VAN does. 1 takes
            the *activation* away from networks with skip "activation", whose layers alpha z + (1 - alpha) act(z)
            end up affine: what VanillaNet and Layer Folding do.
        dual_lr: learning rate of the multipliers, at least 0; None sizes it from the number of steps, so that the
            multipliers have removed the skips by the time the cap is at 0 (`default_dual_lr`).
        dual_lr_spread: ratio of the first layer's dual learning rate to their geometric mean, above 0; the
            last layer's is the mean divided by it. Above 1 the skips next to the input are removed first.
        stagger: in (-1, 1). At 0 all multipliers rise, and all caps fall, simultaneously. s > 0 compresses each layer's
            own phase-out to the fraction 1 - s of `remove_by`, and the layers follow each other from input to output
            (`constraints.removal_starts`); s < 0 from output to input. None is 0.9 where multipliers take skips
            away, which docs/evidence.md speaks for in fully connected networks (in convolutional ones no order
            was ahead), and 0 for all else.
        damping: weight of the quadratic term in the Lagrangian, at least 0.
        dual_gain: proportional gain of the multipliers' PI controller, at least 0; 0 is plain ascent
            (`constraints.Multipliers`, as for the next two).
        dual_smoothing: of the running average behind `dual_gain`, in (-1, 1).
        dual_growth: factor of dual_lr and damping in each step that leaves a skip, at least 1. Above 1 multipliers go
            on rising until every skip is removed.
        remove_from: fraction of the training in [0, 1) at which the removal begins: multipliers, penalties, caps and
            schedules wait for it. Until then skip weights follow the loss alone, or stay where a schedule has them.
        remove_by: fraction of the training in (0, 1] by which a falling cap has every skip weight at its target;
            None leaves that to the multipliers, or to the penalty, which may not finish; a schedule takes all of it.
        skip_schedule: "multipliers", or, to compare with, "penalty", which adds a fixed penalty on the skip weights
            to the loss, or "fixed", "cut", "linear" or "cosine", which set them without looking at the loss.
        skip_penalty: strength of the penalty of skip_schedule "penalty", in nats, at least 0.
        optimizer: of the weights: "adam", "adamw" or "sgd" (with momentum).
        momentum: of "sgd", in [0, 1].
        weight_decay: of the weights, at least 0; parameters of less than two dimensions (biases, a normalization's
            shift and scale) have none.
        lr_schedule: "cosine" (to 0 at the end), "constant", or "wsd" (warm-up, stable, decay: see
            `learning_rate_factor`), which decays when the removal is over, so that the network without skips is
            trained at the full learning rate first.
        validation_fraction: fraction of the training images in the validation set, in [0, 0.9]; the same images for
            every seed.
        population_statistics: at the end, before the last record, put the statistics of all training images in the
            place of batch normalization's running averages. In very deep networks without skips what those averages
            are off by grows from layer to layer.
        log_every: steps between two records; None means once an epoch.
        augment: "crop-flip" shifts and mirrors each training image at random (`data.augment`); "none".
        seed: of the order in which examples are drawn, and of their augmentation.
        device: "auto" (cuda, else mps, else cpu) or a name that torch knows.
        mixed_precision: run forward passes in bfloat16 where torch holds that to be safe.
        channels_last: keep images and convolutions in memory pixel by pixel instead of channel by channel
            (`torch.channels_last`), which GPUs convolve faster in mixed precision.
        compile: compile the network by `torch.compile`; pays on long runs.

    Raises:
        ValueError: for a value outside these bounds.
    """

    num_epochs: int = 5
    batch_size: int = 128
    lr: float = 3e-3
    skip_lr: float = 1e-3
    skip_gradient: bool = True
    skip_target: float = 0.0
    dual_lr: float | None = None
    dual_lr_spread: float = 1.0
    stagger: float | None = None
    damping: float = 0.0
    dual_gain: float = 0.0
    dual_smoothing: float = 0.0
    dual_growth: float = 1.0
    remove_from: float = 0.0
    remove_by: float | None = REMOVE_BY
    skip_schedule: str = "multipliers"
    skip_penalty: float = 0.25
    optimizer: str = "adam"
    momentum: float = 0.9
    weight_decay: float = 0.0
    lr_schedule: str = "cosine"
    validation_fraction: float = 0.0
    population_statistics: bool = False
    log_every: int | None = None
    augment: str = "none"
    seed: int = 0
    device: str = "auto"
    mixed_precision: bool = False
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        """Check every value."""
        check_count("num_epochs", self.num_epochs)
        check_count("batch_size", self.batch_size, minimum=2)
        check_range("lr", self.lr, 0.0, math.inf, open_low=True)
        for name in ("skip_lr", "damping", "skip_penalty", "weight_decay"):
            check_range(name, getattr(self, name), 0.0, math.inf)
        if self.skip_target not in (0.0, 1.0):
            raise ValueError(f"skip_target must be 0.0 or 1.0, got {self.skip_target!r}.")
        if self.dual_lr is not None:
            check_range("dual_lr", self.dual_lr, 0.0, math.inf)
        check_range("dual_lr_spread", self.dual_lr_spread, 0.0, math.inf, open_low=True)
        if self.stagger is not None:
            check_range("stagger", self.stagger, -1.0, 1.0, open_low=True, open_high=True)
        check_range("dual_gain", self.dual_gain, 0.0, math.inf)
        check_range("dual_smoothing", self.dual_smoothing, -1.0, 1.0, open_low=True, open_high=True)
        check_range("dual_growth", self.dual_growth, 1.0, math.inf)
        check_choice("skip_schedule", self.skip_schedule, SKIP_SCHEDULES)
        if self.remove_by is not None:
            check_range("remove_by", self.remove_by, 0.0, 1.0, open_low=True)
        check_range("remove_from", self.remove_from, 0.0, 1.0, open_high=True)
        if self.remove_from >= self.removing_by:
            raise ValueError(
                f"remove_from must be below remove_by, the fraction of the training that ends the removal, "
                f"{self.removing_by:.3g}, got {self.remove_from!r}."
            )
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_range("momentum", self.momentum, 0.0, 1.0)
        check_choice("lr_schedule", self.lr_schedule, LR_SCHEDULES)
        check_range("validation_fraction", self.validation_fraction, 0.0, 0.9)
        if self.log_every is not None:
            check_count("log_every", self.log_every)
        for name in ("skip_gradient", "population_statistics", "mixed_precision", "channels_last", "compile"):
            check_flag(name, getattr(self, name))
        check_choice("augment", self.augment, AUGMENTATIONS)
        check_seed(self.seed)

    @property
    def staggering(self) -> float:
        """The stagger that the training has: `stagger`, or what None stands for."""
        if self.stagger is not None:
            return self.stagger
        return STAGGER if self.skip_schedule == "multipliers" and self.skip_target == 0.0 else 0.0

    @property
    def is_scheduled(self) -> bool:
        """Whether a schedule sets the skip weights, and neither multipliers nor a penalty have a say."""
        return self.skip_schedule in SCHEDULES

    @property
    def removing_by(self) -> float:
        """The fraction of the training in which the skips go: `remove_by`, or what None stands for.

        That is all of it under a schedule; multipliers and a penalty, which nothing ends then, are given as long as
        by default.
        """
        if self.remove_by is not None:
            return self.remove_by
        return 1.0 if self.is_scheduled else REMOVE_BY


def learning_rate_factor(config: TrainConfig, step: int, num_steps: int) -> float:
    """Return what the learning rate of the weights is multiplied by in a step, for lr_schedule "wsd".

    With u = step / num_steps, w = 0.05, and d = min(removing_by, 0.9) the fraction at which the decay begins:

        (step + 1) / (w num_steps)      u < w, the warm-up, at most 1
        1                               w <= u < d
        (1 - u) / (1 - d)               u >= d

    Args:
        config: the run.
        step: number of steps done.
        num_steps: number of steps of the whole training.

    Returns:
        The factor, in [0, 1].

    Example:
        >>> config = TrainConfig(lr_schedule="wsd", remove_by=0.6)
        >>> [round(learning_rate_factor(config, step, num_steps=100), 6) for step in (0, 5, 60, 80)]
        [0.2, 1.0, 1.0, 0.5]

    Source:
        Hu et al. 2024, MiniCPM: unveiling the potential of small language models with scalable training strategies
        (arXiv 2404.06395), section 4; a linear decay, as in Hagele et al. 2024, Scaling laws and compute-optimal
        training beyond fixed training durations (arXiv 2405.18392).
    """
    fraction, decay_from = step / num_steps, min(config.removing_by, LATEST_DECAY)
    warm_up = min(1.0, (step + 1) / (WARM_UP * num_steps))
    return min(warm_up, 1.0, (1.0 - fraction) / (1.0 - decay_from))
