"""The loop of every training: steps, with a record after each logging interval."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Loop(ABC, Generic[Made]):
    """What trainers of one network and of many have in common: when a step is done, and when a record is made.

    Attributes:
        stop: an event that ends the iteration after the step in which it is set, with a last record.
        step: steps done.
        num_steps: steps of the whole training.
        log_every: steps between two records.
    """

    num_steps: int
    log_every: int

    def __init__(self, stop: threading.Event | None) -> None:
        self.stop = stop or threading.Event()
        self.step = 0
        self._seconds = 0.0  # spent in steps; evaluations, and what is done between records, are left out

    def until(self, step: int) -> Iterator[Made]:
        """Train on from where the run is, up to a step.

        Args:
            step: number of steps done in the end; the whole training has `num_steps`.

        Yields:
            A record after each logging interval, and one at the end.

        Raises:
            DivergenceError: in the step whose loss is not finite; `records` keeps what was before.
        """
        last = min(step, self.num_steps)
        if self.step < last and not self._is_stopping():
            self._set_modes()
        started = time.perf_counter()
        while self.step < last and not self._is_stopping():
            self._train_step()
            if self.step % self.log_every == 0 or self.step == last or self.stop.is_set():
                self._seconds += time.perf_counter() - started
                record = self._make_record()
                self._set_modes()
                yield record
                self._set_modes()  # the caller may have looked at the network in eval mode
                started = time.perf_counter()

    def _is_stopping(self) -> bool:
        """Tell whether no further step is to be done."""
        return self.stop.is_set()

    @abstractmethod
    def _train_step(self) -> None:
        """Do one primal and one dual step."""

    @abstractmethod
    def _make_record(self) -> Made:
        """Return what is handed out of the steps since the last record."""

    @abstractmethod
    def _set_modes(self) -> None:
        """Put the network in training mode; in eval mode after the last step."""
