"""Diagnostics in the course of a training."""

from collections.abc import Callable

from torch import Tensor, nn

from van_tutorial._checks import check_count
from van_tutorial._modes import modes_kept
from van_tutorial.training import Record
from van_tutorial.training.records import HISTORY_COLUMNS, LAYER_COLUMNS

Measure = Callable[[nn.Module], float | Tensor]


class Recorder:
    """Apply diagnostics to a network every so many steps of its training, so that its history holds them.

        recorder = Recorder(every=100, length=lambda network: correlation_length(...))
        for record in trainer:
            recorder(record, trainer.model)
        trainer.result().history["length"]

    A measure gets the network and returns a number, which becomes a column of `TrainResult.history`, or a tensor of
    shape (L,), which becomes one of `TrainResult.layers`. Where nothing was measured both hold NaN. The training
    goes on as if nobody had looked, in the modes that it had.

    Args:
        every: steps between two measurements, at least 1. A record is measured when it is the first one, or `every`
            steps or more after the last that was: with `TrainConfig.log_every` of 50, `every` of 100 takes every
            second record.
        measures: by the names of their columns.

    Raises:
        ValueError: for `every` below 1, no measure, and a name that a column has already; when called, for
            tensors of another shape.

    Example:
        >>> from van_tutorial import data, models, training
        >>> images = data.load()
        >>> trainer = training.Trainer(models.mlp(depth=2, width=4, seed=0), images, training.TrainConfig(num_epochs=1))
        >>> recorder = Recorder(every=1, weight=lambda network: network.head.weight.norm().item())
        >>> for record in trainer:
        ...     recorder(record, trainer.model)
        >>> bool(trainer.result().history["weight"].notna().all())
        True
    """

    def __init__(self, every: int, **measures: Measure) -> None:
        check_count("every", every)
        if not measures:
            raise ValueError("Recorder needs at least one measure, such as length=lambda network: ….")
        if taken := measures.keys() & {*HISTORY_COLUMNS, *LAYER_COLUMNS}:
            raise ValueError(
                f"A measure cannot be named {', '.join(sorted(taken))}: the history has that column already."
            )
        self.every = every
        self.measures = measures
        self._last_step: int | None = None

    def __call__(self, record: Record, model: nn.Module) -> None:
        """Measure the network where it is time to, and write the values into the record."""
        if self._last_step is not None and self._last_step < record.step < self._last_step + self.every:
            return
        with modes_kept(model):
            values = {name: detached(measure(model)) for name, measure in self.measures.items()}
        lengths = {name: len(value) for name, value in values.items() if isinstance(value, Tensor)}
        if num_skips := len(record.skip_weights):
            lengths["skip_weights"] = num_skips
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Measures by layer must have one number for each layer, got lengths {lengths}.")
        record.measures.update(values)
        self._last_step = record.step


def detached(value: float | Tensor) -> float | Tensor:
    """Return a measured value as a number, or as a tensor (L,) of its own on the CPU."""
    if not isinstance(value, Tensor):
        return float(value)
    if value.dim() > 1:
        raise ValueError(
            f"A measure must be a number or a tensor of shape (L,), got shape {tuple(value.shape)}."
        )
    value = value.detach().cpu().clone()  # a parameter goes on changing
    return value if value.dim() else value.item()
