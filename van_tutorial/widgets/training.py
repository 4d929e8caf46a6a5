"""Train by a button: in a thread of its own, so that the kernel stays free and Stop is heard within a step."""

import html
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ipywidgets
import plotly.graph_objects as go
from torch import nn

from van_tutorial import models, training
from van_tutorial.data import Images
from van_tutorial.widgets.panel import Control, Panel

REDRAW_SECONDS = 0.2  # five redraws a second at most


@dataclass
class PanelState:
    """What a panel knows: its run, and what went wrong in it."""

    trainer: training.Trainer | None = None
    error: Exception | None = None
    stop: threading.Event = field(default_factory=threading.Event)


def make_trainer(
    images: Images,
    depth: int,
    connection: str,
    width: int,
    num_epochs: int,
    seed: int,
    stop: threading.Event | None,
    kind: str = "mlp",
    **choices: Any,
) -> training.Trainer:
    """Return the trainer of a network with the settings of a panel; `choices` are of `TrainConfig`."""
    makers: dict[str, Callable[..., nn.Module]] = {
        "mlp": partial(models.mlp, in_features=images.num_features),
        "convnet": partial(models.convnet, in_channels=images.train_images.shape[1]),
    }
    model = makers[kind](
        depth=depth, width=width, connection=connection, num_classes=images.num_classes, seed=seed
    )
    config = training.TrainConfig(num_epochs=num_epochs, seed=seed, **choices)
    return training.Trainer(model, images, config, stop=stop)


class ThreadedPanel(Panel):
    """A panel whose work goes on in a thread of its own.

    Attributes:
        state: what it knows.
    """

    state: PanelState
    _thread: threading.Thread | None = None

    def _go(self, work: Callable[..., None], *arguments: Any) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=work, args=arguments, name="van_tutorial panel", daemon=True)
        self._thread.start()

    def _join(self, timeout: float | None = None) -> None:
        """Wait for the thread."""
        if self._thread is not None:
            self._thread.join(timeout)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the training holds, at most `timeout` seconds; raise what went wrong last, if something did."""
        self._join(timeout)
        if self.state.error is not None:
            raise self.state.error

    def close(self) -> None:
        """Stop the training and free every control."""
        self.state.stop.set()
        self._join()
        super().close()


class TrainingPanel(ThreadedPanel):
    """Train a network by button, and see what becomes of it.

    Args:
        controls: what can be chosen.
        figure: the figure before a run.
        make_trainer: makes the trainer of a run from `stop`, the event that ends it, and the controls' values.
        draw: puts a trainer's records into the figure.
        describe: says in words where a trainer's run is.

    Attributes:
        train: the Train button.
        stop: the Stop button.
        state: the run.
    """

    def __init__(
        self,
        controls: Sequence[Control],
        figure: go.Figure,
        make_trainer: Callable[..., training.Trainer],
        draw: Callable[[Any, training.Trainer], None],
        describe: Callable[[training.Trainer], str],
    ) -> None:
        self._make_trainer, self._draw_into, self._describe = make_trainer, draw, describe
        self.state = PanelState()
        self.train = ipywidgets.Button(
            description="Train", icon="play", tooltip="Train a new network with these settings"
        )
        self.stop = ipywidgets.Button(
            description="Stop",
            icon="stop",
            tooltip="Stop after the present step and keep what is there",
            disabled=True,
        )
        super().__init__(controls, (self.train, self.stop), figure)
        self.status.value = "Choose, then press Train."
        self.train.on_click(lambda _: self._start())
        self.stop.on_click(lambda _: self.state.stop.set())

    def _start(self) -> None:
        """Begin a run in a thread, unless one goes on."""
        if self.train.disabled:
            return
        self._join()  # a run that just ended may be at its last lines
        self.state = PanelState()
        self.train.disabled, self.stop.disabled = True, False
        self.status.value = "Training starts …"
        self._go(self._run, self.state, self.settings)

    def _run(self, state: PanelState, settings: dict[str, Any]) -> None:
        """Train, and redraw at most five times a second; an error is shown as text and kept."""
        try:
            state.trainer = trainer = self._make_trainer(stop=state.stop, **settings)
            drawn = -math.inf
            for _ in trainer:
                is_last = trainer.step == trainer.num_steps  # is drawn below, once: a figure may collect runs
                if not is_last and time.monotonic() - drawn >= REDRAW_SECONDS:
                    self._draw(trainer)
                    drawn = time.monotonic()
            self._draw(trainer)
            if state.stop.is_set():
                self.status.value = f"Stopped. {self._describe(trainer)}"
        except Exception as error:  # a thread has nobody else to tell
            state.error = error
            self.status.value = f"<b>Not trained:</b> {html.escape(str(error))}"
        finally:
            self.train.disabled, self.stop.disabled = False, True

    def _draw(self, trainer: training.Trainer) -> None:
        self._draw_into(self.figure, trainer)
        self.status.value = self._describe(trainer)
