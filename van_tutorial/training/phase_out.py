"""The phase-out of one network's skip weights, and the account of who removed them."""

import torch
from torch import Tensor, nn

from van_tutorial.constraints import (
    Multipliers,
    falling_cap,
    project,
    scheduled_skip_weight,
    size_dual_lr,
    spread_dual_lr,
)
from van_tutorial.training.config import TrainConfig

NEVER = -1  # no step yet
FLICKER = 0.01  # up to here a skip weight that has been at 0 counts as being there still


class PhaseOut(nn.Module):
    """Take the skip weights from their initial values to 0 in the course of a training.

    After the gradients of the Lagrangian are there, one `step` does, for every layer l:

        alpha_l <- alpha_l - skip_lr (dC/dalpha_l + lambda_l)      primal step
        alpha_l <- min(max(alpha_l, 0), cap)                       projection; the cap falls from 1 to 0
        lambda_l <- lambda_l + dual_lr_l alpha_l                   dual step

    Nothing here waits for the device: the account is kept in buffers, which go into checkpoints.

    Args:
        skip_weight: the network's parameter alpha, shape (L,); it is changed in place.
        config: step sizes, cap and schedule.
        num_steps: number of steps of the whole training.

    Attributes:
        multipliers: the `Multipliers`, one per layer.
    """

    capped: Tensor
    first_zero_step: Tensor
    last_nonzero_step: Tensor
    initial: Tensor

    def __init__(self, skip_weight: nn.Parameter, config: TrainConfig, num_steps: int) -> None:
        super().__init__()
        self._skip_weights = (skip_weight,)  # in a tuple: it is the network's, not a parameter of this module
        self.config = config
        self.num_steps = num_steps
        dual_lr = config.dual_lr
        if dual_lr is None:
            dual_lr = default_dual_lr(num_steps, float(skip_weight.detach().mean()), config)
        self.multipliers = Multipliers(
            num_constraints=len(skip_weight),
            dual_lr=spread_dual_lr(dual_lr, config.dual_lr_spread, len(skip_weight)),
            damping=config.damping,
        )
        alpha = skip_weight.detach()
        self.register_buffer("initial", alpha.clone())
        self.register_buffer("first_zero_step", torch.where(alpha == 0, 0, NEVER))
        self.register_buffer("capped", torch.zeros_like(alpha, dtype=torch.bool))  # did the cap lower it?
        self.register_buffer("last_nonzero_step", torch.where(alpha.any(), 0, -1))
        self.to(skip_weight.device)

    @property
    def skip_weight(self) -> nn.Parameter:
        """The network's skip weights alpha, shape (L,)."""
        return self._skip_weights[0]

    @property
    def is_scheduled(self) -> bool:
        """Whether a schedule sets the skip weights, and no multiplier has a say."""
        return self.config.skip_schedule != "multipliers"

    def penalty(self) -> Tensor:
        """Return the Lagrangian less the loss, a scalar: what the multipliers add to the loss."""
        return self.multipliers.penalty(self.skip_weight)

    def cap(self, step: int) -> float:
        """Return the bound on every skip weight after `step` steps."""
        return falling_cap(step, self.num_steps, self.config.remove_by)

    @torch.no_grad()
    def step(self, step: int) -> None:
        """Do the primal step, the projection and the dual step that end training step number `step` (from 1)."""
        alpha = self.skip_weight
        if self.is_scheduled:
            config = self.config
            share = scheduled_skip_weight(config.skip_schedule, step, self.num_steps, 1.0, config.remove_by)
            torch.mul(self.initial, share, out=alpha)
        else:
            cap = self.cap(step)
            if cap < 1.0:  # before the gradient's noise
                is_on_its_way = (self.first_zero_step == NEVER) | (alpha > FLICKER)
            if alpha.grad is not None:  # a network may leave its skip weights out
                alpha.sub_(alpha.grad, alpha=self.config.skip_lr)
            if cap < 1.0:
                self.capped |= (alpha > cap) & is_on_its_way
            project(alpha, cap)
            self.multipliers.dual_step(alpha)
        self.first_zero_step.masked_fill_((self.first_zero_step == NEVER) & (alpha == 0), step)
        self.last_nonzero_step.masked_fill_(alpha.any(), step)

    @property
    def removed_at_step(self) -> int | None:
        """The step since which all skip weights have been 0, or None while one is not."""
        return None if bool(self.skip_weight.detach().any()) else int(self.last_nonzero_step) + 1

    @property
    def first_zero_steps(self) -> list[int | None]:
        """For each layer the step at which its skip weight was 0 for the first time, or None."""
        return [None if step == NEVER else step for step in self.first_zero_step.tolist()]

    @property
    def num_capped(self) -> int:
        """Number of layers whose skip weight the cap has lowered, flickers at 0 aside."""
        return int(self.capped.sum())

    @property
    def removed_by(self) -> str | None:
        """Who removed the skips: "multipliers", "cap" or "schedule"; None while one is left.

        "multipliers" means that every skip weight came to 0 without the cap. From then on the noise of the
        gradient may lift a weight off 0 now and then; that the cap ends such a flicker does not count. "cap"
        means that it lowered at least one weight that was on its way, or had come back to stay above 0.01.
        """
        if self.removed_at_step is None:
            return None
        if self.is_scheduled:
            return "schedule"
        return "cap" if self.num_capped else "multipliers"


def default_dual_lr(num_steps: int, skip_weight: float, config: TrainConfig) -> float:
    """Return the geometric mean of the multiplier step sizes with which the multipliers finish just in time.

    The slowest layer's skip is to be gone when the cap comes down to 0, by `predict_removal_step` with a slope
    of 0.3 nats per unit of skip weight: any later would be the cap's work.

    Args:
        num_steps: number of steps of the whole training.
        skip_weight: initial skip weight, in [0, 1].
        config: skip_lr, dual_lr_spread and remove_by (None counts as 2/3).

    Returns:
        dual_lr; 0 where there is no skip weight to remove, or none can move.
    """
    if skip_weight == 0.0 or config.skip_lr == 0.0:
        return 0.0
    remove_by = 2 / 3 if config.remove_by is None else config.remove_by
    slowest = size_dual_lr(remove_by * num_steps, skip_weight, config.skip_lr)
    return slowest * max(config.dual_lr_spread, 1.0 / config.dual_lr_spread)
