"""Diagnostics in the course of a training."""

from collections.abc import Callable

from torch import Tensor, nn

from van_tutorial._checks import check_count
from van_tutorial.training import Record

Measure = Callable[[nn.Module], float | Tensor]


class Recorder:
    """Apply diagnostics to a network every so many steps of its training, so that its history holds them.

        recorder = Recorder(every=100, length=lambda network: correlation_length(...))
        for record in trainer:
            recorder(record, trainer.model)
        trainer.result().history["length"]

    A measure gets the network and returns a number, which becomes a column of `TrainResult.history`, or a tensor of
    shape (L,), which becomes one of `TrainResult.layers`. Where nothing was measured both hold NaN. The training
    goes on as if nobody had looked.

    Args:
        every: steps between two measurements, at least 1. A record is measured when it is the first one, or `every`
            steps or more after the last that was: with `TrainConfig.log_every` of 50, `every` of 100 takes every
            second record.
        measures: by the names of their columns.

    Raises:
        ValueError: for `every` below 1, and no measure.

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
        self.every = every
        self.measures = measures
        self._last_step: int | None = None

    def __call__(self, record: Record, model: nn.Module) -> None:
        """Measure the network where it is time to, and write the values into the record."""
        if self._last_step is not None and self._last_step < record.step < self._last_step + self.every:
            return
        for name, measure in self.measures.items():
            value = measure(model)
            record.measures[name] = value.detach().cpu() if isinstance(value, Tensor) else float(value)
        self._last_step = record.step
