"""Train by a button: in a thread of its own, so that the kernel stays free and Stop is heard within a step."""

import contextlib
import html
import math
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from van_tutorial import training
from van_tutorial.widgets.panel import Panel

REDRAW_SECONDS = 0.2  # five redraws a second at most
DRAWING_FRACTION = 15  # training goes on at least so many times as long as drawing took


@dataclass(kw_only=True)
class RunState:
    """What a panel knows of its run.

    Attributes:
        phase: "new", "running", "paused", "finished", "stopped" or "opened".
        trainer: of the latest run, which can go on where it is paused.
        error: what ended the latest run, or None.
        stop: the event that ends a training after the step in which it is set.
        lock: of what the thread and a press may change at the same time.
    """

    phase: str = "new"
    trainer: training.Trainer | None = None
    error: Exception | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    lock: Any = field(default_factory=threading.RLock)


class RunPanel(Panel):
    """A panel with the buttons `train` and `stop`, whose training goes on in a thread that ends with every pause.

    Attributes:
        state: all that is known.
    """

    state: RunState
    _thread: threading.Thread | None = None

    # What each kind of panel does in its own way

    def _chosen(self) -> Any:
        """Return the settings of the next run."""
        return self.settings

    def _begin(self, settings: Any) -> training.Trainer:
        """Return the trainer of a new run."""
        raise NotImplementedError

    def _record(self, trainer: training.Trainer) -> None:
        """Keep what the trainer has just recorded."""

    def _conclude(self, trainer: training.Trainer) -> None:
        """Keep what a run has come to."""

    def _show_latest(self) -> None:
        """Bring the figure up to date."""
        raise NotImplementedError

    def _describe(self) -> str:
        """Say in words where the run is."""
        raise NotImplementedError

    # What all of them do

    def _start(self, num_steps: int | None = None) -> None:
        """Train in a thread, for so many steps or to the end: a new run, or the one that was paused."""
        if self.state.phase == "running":
            return
        self._join()  # one that was just paused may be at its last lines
        settings = None if self.state.phase == "paused" else self._chosen()
        self.state.phase, self.state.error = "running", None
        self.state.stop.clear()
        self.status.value = "Training starts …"
        self._enable()
        self._thread = threading.Thread(
            target=self._train, args=(settings, num_steps), name="van_tutorial panel", daemon=True
        )
        self._thread.start()

    def _train(self, settings: Any, num_steps: int | None) -> None:
        """Train, and redraw now and then; an error is shown as text and kept."""
        state, trainer = self.state, None
        try:
            state.trainer = trainer = state.trainer if settings is None else self._begin(settings)
            assert trainer is not None
            rest_until = -math.inf
            for _ in trainer.until(trainer.num_steps if num_steps is None else trainer.step + num_steps):
                self._record(trainer)
                now = time.monotonic()
                if now >= rest_until:
                    self._follow()
                    cost = time.monotonic() - now
                    rest_until = now + max(REDRAW_SECONDS, DRAWING_FRACTION * cost)
            with state.lock:
                if trainer.step == trainer.num_steps:
                    state.phase = "finished"
                elif state.phase == "running":  # that was the last of the steps asked for
                    state.phase = "paused"
            self._conclude(trainer)
            self._follow()
        except Exception as error:  # a thread has nobody else to tell
            state.error, state.phase = error, "stopped"
            with contextlib.suppress(Exception):  # it may be the drawing that went wrong
                if trainer is not None:
                    self._conclude(trainer)
                self._follow()
        self._say()
        self._enable()

    def _follow(self) -> None:
        """Show what was recorded since."""
        with self.state.lock:
            self._say()  # before the figure, which may take the page longer to draw than a moment lasts
            self._show_latest()

    def _say(self) -> None:
        """Say in words where the run is."""
        with self.state.lock:
            phase = "Training" if self.state.phase == "running" else self.state.phase.capitalize()
            said = f"{phase}. {html.escape(self._describe())}"
            if self.state.error is not None:
                said = f"<b>The run ended:</b> {html.escape(str(self.state.error))}"
            self.status.value = said

    def _enable(self) -> None:
        """Let those buttons be pressed that mean something now."""
        self.train.disabled = self.state.phase == "running"
        self.stop.disabled = self.state.phase not in ("running", "paused")

    def _halt(self, phase: str) -> None:
        """Hold the training after the present step."""
        with self.state.lock:
            if self.state.phase == "running":
                self.state.phase = phase
                self.state.stop.set()

    def _stop(self) -> None:
        """End the run: the thread says so, or where a pause has ended the thread, this does."""
        self._halt("stopped")
        self._join()
        if self.state.phase == "paused":
            self.state.phase = "stopped"
            self._say()
            self._enable()

    def _join(self, timeout: float | None = None) -> None:
        """Wait for the thread."""
        if self._thread is not None:
            self._thread.join(timeout)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the training holds, at most `timeout` seconds.

        Raises:
            Exception: what ended the run, if something did.
        """
        self._join(timeout)
        if self.state.error is not None:
            raise self.state.error

    def close(self) -> None:
        """Stop the training and free every control."""
        self._halt("stopped")
        self._join()
        super().close()
