"""Everything that determines a run of the playground, and a short string that carries it."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from threading import Event
from typing import Any, get_args, get_type_hints

import torch
from torch import nn

from van_tutorial import connections, diagnostics, models, training
from van_tutorial._checks import check_choice, check_count, check_range, check_seed
from van_tutorial.data import ARRAYS, MINI, NAMES, Images

CONNECTIONS = tuple(connections.CONNECTIONS)
NORMALIZATIONS = ("none", "batch", "layer")
INITS = ("he", "orthogonal", "looks-linear")
# Between two records: enough of them for a smooth replay, few enough to cost little.
RECORDS_PER_RUN = 100
FEWEST_STEPS = 8
SMALLEST_DUAL_LR = 1e-5  # the slider's
CAPS = ("falling", "none")
# Of weighted skips alone: no other network has these.
OF_WEIGHTED_SKIPS = ("skip", "skip_weight", "dual_lr", "skip_lr", "damping", "stagger", "cap")
# Settings in words, where a run is named by what differs.
LABELS = {
    "dual_lr": "dual lr", "skip_lr": "skip lr", "skip_weight": "skip weight", "num_epochs": "epochs",
}  # fmt: skip
WORDS = {
    "connection": {"van": "VAN"}, "cap": {"falling": "with cap", "none": "no cap"},
    "normalization": {"batch": "BatchNorm", "layer": "LayerNorm", "none": "no normalization"},
}  # fmt: skip
TRY = "Pause while arcs are left, and click one: its skip is cut. What does the accuracy do?"
BY_MULTIPLIERS = {"stagger": 0.0, "cap": "none"}
# By their names, what presets show and ask, and what of the settings they change.
PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "default": (TRY, {}),
    "fast": ("All skips are removed in twenty steps. What then?", {"stagger": 0.0, "dual_lr": 6.5}),
    "from output to input": ("The order is reversed. How far does the accuracy fall?", {"stagger": -0.9}),
    "100 layers": ("A usual plain network learns nothing. Does this one?", {"depth": 100, "norm_shift": 2.0}),
    "BatchNorm bias 0": ("The usual start. How close to the residual network?", {"norm_shift": 0.0}),
    "loss has no say": (
        "Learning rates set when a skip is removed (lesson 6: a clock). Is it when predicted?",
        BY_MULTIPLIERS | {"skip_lr": 1e-3, "dual_lr": 0.04},
    ),
    "loss decides": (
        "The loss decides which skip is removed, and when (lesson 6: a market). Which are kept longest?",
        BY_MULTIPLIERS | {"skip_lr": 0.1, "dual_lr": 4e-4},
    ),
}


def num_steps(num_epochs: int, num_images: int) -> int:
    """Return the number of steps of a training in batches of the default size.

    Args:
        num_epochs: passes over the training images.
        num_images: training images.

    Returns:
        The steps; what is left of the images after the last whole batch is left out.

    Raises:
        ValueError: for fewer images than one batch.

    Example:
        >>> num_steps(num_epochs=3, num_images=300)
        6
    """
    batch_size = training.TrainConfig.batch_size
    if num_images < batch_size:
        raise ValueError(
            f"A panel trains in batches of {batch_size} images, and there are {num_images} training images: give at "
            f"least {batch_size}, or train with training.train and a smaller batch_size."
        )
    return num_epochs * (num_images // batch_size)


@dataclass(frozen=True)
class Settings:
    """Everything that determines a run of the playground.

    Attributes:
        data: name of the data set, as for `data.load`.
        depth: number of layers L, from 1 to 100.
        width: units per layer, from 4 to 256.
        connection: one of `connections.CONNECTIONS`.
        skip: form of the "van" connection: "convex", "additive" or "activation".
        skip_weight: initial skip weight, in [0, 1].
        dual_lr: dual learning rate, of the multipliers (geometric mean over the layers), at least 0; None sizes it
            from the number of steps.
        skip_lr: learning rate of the skip weights, at least 0.
        damping: weight of the quadratic term in the Lagrangian, at least 0.
        stagger: order of the removal, in [-0.95, 0.95]: above 0 sequentially (one layer at a time), from input to
            output, below 0 from output to input, at 0 simultaneously.
        cap: "falling" has every skip removed by two thirds of the training; "none" leaves that to the multipliers.
        normalization: "none", "batch" or "layer".
        norm_shift: initial bias of the normalization, in [0, 3]; networks without one have none. Above 0 layers are
            initialized closer to linear.
        init: "he", "orthogonal" or "looks-linear", which comes with activation "crelu" (and order "pre", where the
            connection adds).
        num_epochs: passes over the training images, at least 1.
        seed: of the initial weights and of the order of examples.

    Raises:
        ValueError: for a value outside these bounds or a pair of choices that do not fit.

    Example:
        >>> settings = Settings(depth=20, dual_lr=0.05)
        >>> settings.to_text()
        'depth=20 dual_lr=0.05'
        >>> Settings.from_text("depth=20 dual_lr=0.05") == settings
        True
    """

    data: str = MINI
    depth: int = 40
    width: int = 32
    connection: str = "van"
    skip: str = "convex"
    skip_weight: float = 0.95
    dual_lr: float | None = None
    skip_lr: float = 1e-3
    damping: float = 0.0
    stagger: float = 0.9
    cap: str = "falling"
    normalization: str = "batch"
    norm_shift: float = 1.0
    init: str = "he"
    num_epochs: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value."""
        check_choice("data", self.data, (*NAMES, ARRAYS))
        check_choice("connection", self.connection, CONNECTIONS)
        check_choice("skip", self.skip, connections.SKIPS)
        check_choice("cap", self.cap, CAPS)
        check_choice("normalization", self.normalization, NORMALIZATIONS)
        check_range("norm_shift", self.norm_shift, 0.0, 3.0)
        check_choice("init", self.init, INITS)
        for name, low, high in (("depth", 1, 100), ("width", 4, 256)):
            check_range(name, getattr(self, name), low, high)
            check_count(name, getattr(self, name))
        check_range("skip_weight", self.skip_weight, 0.0, 1.0)
        if self.dual_lr is not None:
            check_range("dual_lr", self.dual_lr, 0.0, math.inf)
        check_range("skip_lr", self.skip_lr, 0.0, math.inf)
        check_range("damping", self.damping, 0.0, math.inf)
        check_range("stagger", self.stagger, -0.95, 0.95)
        check_count("num_epochs", self.num_epochs)
        check_seed(self.seed)
        if self.init == "looks-linear" and self.kind.is_inside:
            raise ValueError(
                "init 'looks-linear' comes with an activation that doubles the units, which skip 'activation' cannot "
                "mix with its input: choose skip 'convex' or 'additive'."
            )
        self.network_config()  # for other pairs of choices that do not fit

    @property
    def kind(self) -> type[connections.Connection]:
        """The class of the connection, which says whether it has a skip and whether that is weighted."""
        return connections.find(self.connection, self.skip)

    def network_config(self, in_features: int = 784, num_classes: int = 10) -> models.MLPConfig:
        """Return the config of the network."""
        has_mirror = self.init == "looks-linear"
        return models.MLPConfig(
            depth=self.depth,
            width=self.width,
            connection=self.connection,
            skip=self.skip,
            skip_weight=self.skip_weight,
            normalization=self.normalization,
            norm_shift=0.0 if self.normalization == "none" else self.norm_shift,
            init=self.init,
            activation="crelu" if has_mirror else "relu",
            order="pre" if has_mirror and self.kind.has_skip else "post",
            in_features=in_features,
            num_classes=num_classes,
            seed=self.seed,
        )

    def train_config(self, num_images: int) -> training.TrainConfig:
        """Return the config of the training on `num_images` training images."""
        return training.TrainConfig(
            num_epochs=self.num_epochs,
            skip_lr=self.skip_lr,
            dual_lr=self.dual_lr,
            damping=self.damping,
            stagger=self.stagger,
            remove_by=None if self.cap == "none" else training.TrainConfig.remove_by,
            seed=self.seed,
            log_every=max(FEWEST_STEPS, self.num_steps(num_images) // RECORDS_PER_RUN),
        )

    def num_steps(self, num_images: int) -> int:
        """Return the number of steps of a training on `num_images` training images."""
        return num_steps(self.num_epochs, num_images)

    def sized(self, num_images: int) -> "Settings":
        """Return the settings with a dual learning rate: where it is None, the default one, to two digits."""
        if self.dual_lr is not None:
            return self
        config = self.train_config(num_images)
        dual_lr = training.default_dual_lr(self.num_steps(num_images), self.skip_weight, config)
        return replace(self, dual_lr=float(f"{max(dual_lr, SMALLEST_DUAL_LR):.2g}"))

    def trainer(self, images: Images, stop: Event | None = None) -> training.Trainer:
        """Return the trainer of a new network.

        Args:
            images: of the data set `data`.
            stop: an event that ends the iteration after the step in which it is set.

        Returns:
            The trainer, at step 0.
        """
        model = models.build(self.network_config(images.num_features, images.num_classes))
        return training.Trainer(model, images, self.train_config(len(images.train_labels)), stop=stop)

    def predicted_steps(self, num_images: int) -> list[float]:
        """Predict for each layer the step at which the multipliers will have removed its skip.

        `diagnostics.removal_steps` for a loss that has no effect on the skip weights (slope 0). The cap is not counted.

        Args:
            num_images: training images.

        Returns:
            A step for each of the L layers, infinity where the skip is not removed within the training; empty for a
            network without skip weights.
        """
        if not self.kind.is_weighted:
            return []
        num_steps = self.num_steps(num_images)
        skip_weight = nn.Parameter(torch.full((self.depth,), self.skip_weight))
        phase_out = training.PhaseOut(skip_weight, self.train_config(num_images), num_steps)
        predicted = diagnostics.removal_steps(phase_out)["predicted_step"].tolist()
        return [step if step <= num_steps else math.inf for step in predicted]

    @property
    def said(self) -> dict[str, str]:
        """The settings that mean something for the network, in words by name; of an order or a bias of 0 none."""
        return {
            name: self._in_words(name, value)
            for name, value in asdict(self).items()
            if (self.kind.is_weighted or name not in OF_WEIGHTED_SKIPS)
            and (self.normalization != "none" or name != "norm_shift")
        }

    @property
    def network(self) -> str:
        """What kind of network it is, in words: its connection, and the bias that initializes it closer to linear."""
        return ", ".join(filter(None, (self.said["connection"], self.said.get("norm_shift"))))

    def _in_words(self, name: str, value: Any) -> str:
        """Return a setting in the words of the course."""
        if name == "norm_shift":
            return f"{WORDS['normalization'][self.normalization]} bias {value:g}" if value else ""
        if name == "stagger":
            order = "from input to output" if value > 0.0 else "from output to input"
            usual = abs(value) == abs(type(self).stagger)
            return (order if usual else f"{order} (stagger {value:g})") if value else "simultaneously"
        if name == "init":
            return f"{value} weights"
        if isinstance(value, str):
            return WORDS.get(name, {}).get(value, value)
        return f"{LABELS.get(name, name)} {'auto' if value is None else f'{value:.3g}'}"

    def to_text(self) -> str:
        """Return the settings as a short string: what differs from the defaults, or "defaults"."""
        given = [
            f"{field.name}={getattr(self, field.name)}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return " ".join(given) or "defaults"

    @classmethod
    def from_text(cls, text: str) -> "Settings":
        """Read settings from a string that `to_text` wrote, or somebody typed.

        Args:
            text: NAME=VALUE, separated by spaces; what is not named is as by default.

        Returns:
            The settings.

        Raises:
            ValueError: for a word that is not NAME=VALUE, a name that is no setting, or a value that does not fit.
        """
        kinds = get_type_hints(cls)
        values: dict[str, Any] = {}
        for word in text.split():
            if word == "defaults":
                continue
            name, equals, value = word.partition("=")
            if not equals:
                raise ValueError(
                    f"Settings are written as name=value, such as depth=20 seed=3, with spaces between; got {word!r}."
                )
            check_choice("A setting", name, kinds)
            kind = get_args(kinds[name])[0] if get_args(kinds[name]) else kinds[name]
            try:
                values[name] = None if value == "None" else kind(value)
            except ValueError:
                wanted = {int: "an integer", float: "a number"}[kind]
                raise ValueError(f"{name} must be {wanted}, got {value!r}.") from None
        return cls(**values)


def names_of(settings: Sequence[Settings]) -> list[str]:
    """Name runs by their connection and by what differs, among them and from the defaults, in words.

    Args:
        settings: of each run.

    Returns:
        A name for each; equal settings are numbered. Of the defaults only the initial bias is said, and 0 is not.

    Example:
        >>> names_of([Settings(), Settings(stagger=0), Settings(connection="plain", norm_shift=0.0)])
        ['VAN, BatchNorm bias 1', 'VAN, simultaneously, BatchNorm bias 1', 'plain']
    """
    said = [one.said for one in settings]
    usual = Settings().said | {"norm_shift": ""}  # all but the bias
    names: list[str] = []
    for one in said:
        differs = {key for key in one for other in said if other.get(key, one[key]) != one[key]}
        parts = [one["connection"]]
        parts += [one[key] for key in one if key in differs - {"connection"} and one[key] != usual[key]]
        name = ", ".join(filter(None, parts))
        number = sum(there.partition(" · ")[0] == name for there in names)
        names.append(f"{name} · {number + 1}" if number else name)
    return names
