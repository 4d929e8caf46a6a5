"""Controls in, calls out: the only room that knows ipywidgets.

Training goes on in a thread of its own, so that the kernel stays free and Stop is heard within a step.
"""

import html
import math
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import ipywidgets
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from van_tutorial import models, plots, training
from van_tutorial.data import Images

REDRAW_SECONDS = 0.2  # five redraws a second at most
RECORDS_PER_RUN = 60  # enough for a smooth picture, few enough to cost nothing


@dataclass
class PanelState:
    """What a panel knows: its run, and what went wrong in it."""

    trainer: training.Trainer | None = None
    error: Exception | None = None
    stop: threading.Event = field(default_factory=threading.Event)


def make_trainer(
    images: Images,
    depth: int,
    dual_lr: float,
    width: int,
    num_epochs: int,
    seed: int,
    stop: threading.Event | None = None,
) -> training.Trainer:
    """Return the trainer of a VAN with the settings of a panel."""
    model = models.mlp(
        depth=depth,
        width=width,
        connection="van",
        in_features=images.num_features,
        num_classes=images.num_classes,
        seed=seed,
    )
    num_steps = num_epochs * (len(images.train_labels) // training.TrainConfig.batch_size)
    config = training.TrainConfig(
        num_epochs=num_epochs, dual_lr=dual_lr, seed=seed, log_every=max(1, num_steps // RECORDS_PER_RUN)
    )
    return training.Trainer(model, images, config, stop=stop)


def empty_figure() -> go.Figure:
    """Return the panel's figure before a run: skip weights by layer and step, and accuracy by step."""
    fig = make_subplots(
        rows=1, cols=2, subplot_titles=("Skip weights, layer by layer", "Accuracy"), horizontal_spacing=0.28
    )
    fig.add_trace(
        go.Heatmap(
            z=[],
            zmin=0,
            zmax=1,
            colorscale=plots.SKIP_COLORS,
            colorbar={"title": "skip<br>weight", "x": 0.37},
            name="skip weight",
        ),
        row=1,
        col=1,
    )
    for index, name in enumerate(("test", "training")):
        look = plots.style(index)
        fig.add_trace(go.Scatter(x=[], y=[], mode="lines", name=name, line=look["line"]), row=1, col=2)
    fig.update_xaxes(title="step")
    fig.update_yaxes(title="layer (1 is next to the input)", row=1, col=1)
    fig.update_yaxes(title="accuracy (share of images)", range=[0, 1], row=1, col=2)
    fig.update_layout(
        template="plotly_white", height=400, font={"size": 13}, margin={"l": 60, "r": 20, "t": 50, "b": 70},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": -0.15, "yanchor": "top"},
    )  # fmt: skip
    return fig


def fill_figure(fig: Any, records: list[training.Record]) -> None:
    """Put the records of a run into the panel's figure, all in one update."""
    skip_weights = [record.skip_weights.tolist() for record in records]
    steps = [record.step for record in records]
    with fig.batch_update():
        fig.data[0].x = steps
        fig.data[0].y = list(range(1, len(skip_weights[0]) + 1)) if records else []
        fig.data[0].z = [list(layer) for layer in zip(*skip_weights, strict=True)]
        for trace, name in ((fig.data[1], "test_accuracy"), (fig.data[2], "train_accuracy")):
            trace.x = steps
            trace.y = [getattr(record, name) for record in records]


def describe(trainer: training.Trainer) -> str:
    """Say in words where a run is."""
    if not trainer.records:
        return f"Step 0 of {trainer.num_steps}."
    record, phase_out = trainer.records[-1], trainer.phase_out
    left = int(record.skip_weights.count_nonzero())
    text = (
        f"Step {record.step} of {trainer.num_steps}: {left} of {len(record.skip_weights)} skips left, "
        f"test accuracy {record.test_accuracy:.3f}."
    )
    if phase_out is not None and phase_out.removed_by is not None:
        who = {"multipliers": "the multipliers", "cap": f"the falling cap (layers: {phase_out.num_capped})"}
        text += f" All gone since step {phase_out.removed_at_step}, removed by {who[phase_out.removed_by]}."
    return text


class PhaseOutPanel:
    """Train a VAN by button, and see its skips go.

    Attributes:
        depth: number of layers (slider with a number box).
        dual_lr: step size of the multipliers (logarithmic slider with a number box).
        train: the Train button.
        stop: the Stop button.
        status: what goes on, in words.
        figure: the live figure.
        state: the run.
        view: all of these laid out.
    """

    def __init__(
        self, images: Images, depth: int, dual_lr: float, width: int, num_epochs: int, seed: int
    ) -> None:
        self.images, self.width, self.num_epochs, self.seed = images, width, num_epochs, seed
        self.state = PanelState()
        self._thread: threading.Thread | None = None
        wide = {"style": {"description_width": "14em"}, "layout": {"width": "34em"}}
        self.depth = ipywidgets.IntSlider(
            value=depth, min=2, max=100, description="depth (layers)", continuous_update=False, readout=False,
            tooltip="Number of layers, each with its own skip-connection", **wide,
        )  # fmt: skip
        self.dual_lr = ipywidgets.FloatLogSlider(
            value=dual_lr, base=10, min=-5, max=2, step=0.05, description="multiplier step size",
            continuous_update=False, readout=False,
            tooltip="How fast the multipliers grow: nats per unit of skip weight, per step", **wide,
        )  # fmt: skip
        narrow = {"layout": {"width": "8em"}}
        depth_box = ipywidgets.BoundedIntText(value=depth, min=2, max=100, tooltip="depth (layers)", **narrow)
        dual_lr_box = ipywidgets.BoundedFloatText(
            value=dual_lr, min=1e-5, max=100.0, step=None, tooltip="multiplier step size", **narrow
        )
        ipywidgets.link((self.depth, "value"), (depth_box, "value"))
        ipywidgets.link((self.dual_lr, "value"), (dual_lr_box, "value"))
        self.train = ipywidgets.Button(
            description="Train", icon="play", tooltip="Train a new network with these settings"
        )
        self.stop = ipywidgets.Button(
            description="Stop",
            icon="stop",
            tooltip="Stop after the present step and keep what is there",
            disabled=True,
        )
        self.status = ipywidgets.HTML(value="Choose, then press Train.")
        self.figure = go.FigureWidget(empty_figure())
        self.train.on_click(lambda _: self._start())
        self.stop.on_click(lambda _: self.state.stop.set())
        self.view = ipywidgets.VBox(
            [
                ipywidgets.HBox([self.depth, depth_box]),
                ipywidgets.HBox([self.dual_lr, dual_lr_box]),
                ipywidgets.HBox([self.train, self.stop]),
                self.status,
                self.figure,
            ]
        )

    def _start(self) -> None:
        """Begin a run in a thread, unless one goes on."""
        if self._thread is not None and self._thread.is_alive():
            return
        self.state = PanelState()
        self.train.disabled, self.stop.disabled = True, False
        self.status.value = "Training starts …"
        self._thread = threading.Thread(
            target=self._run, args=(self.state,), name="van_tutorial panel", daemon=True
        )
        self._thread.start()

    def _run(self, state: PanelState) -> None:
        """Train, and redraw at most five times a second; an error is shown as text and kept."""
        try:
            state.trainer = trainer = make_trainer(
                self.images,
                self.depth.value,
                self.dual_lr.value,
                self.width,
                self.num_epochs,
                self.seed,
                state.stop,
            )
            drawn = -math.inf
            for _ in trainer:
                if time.monotonic() - drawn >= REDRAW_SECONDS:
                    self._draw(trainer)
                    drawn = time.monotonic()
            self._draw(trainer)
            if state.stop.is_set():
                self.status.value = f"Stopped. {describe(trainer)}"
        except Exception as error:  # a thread has nobody else to tell
            state.error = error
            self.status.value = f"<b>Not trained:</b> {html.escape(str(error))}"
        finally:
            self.train.disabled, self.stop.disabled = False, True

    def _draw(self, trainer: training.Trainer) -> None:
        fill_figure(self.figure, trainer.records)
        self.status.value = describe(trainer)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the run is over, at most `timeout` seconds; raise the error that ended it, if one did."""
        if self._thread is not None:
            self._thread.join(timeout)
        if self.state.error is not None:
            raise self.state.error

    def close(self) -> None:
        """Stop the run and free every control."""
        self.state.stop.set()
        if self._thread is not None:
            self._thread.join()
        ipywidgets.Widget.close(self.figure)
        for row in self.view.children:
            for child in getattr(row, "children", ()):
                child.close()
            row.close()
        self.view.close()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Let a notebook show the panel."""
        return self.view._repr_mimebundle_(**kwargs)


def phase_out_panel(
    images: Images,
    depth: int = 40,
    dual_lr: float | None = None,
    width: int = 32,
    num_epochs: int = 10,
    seed: int = 0,
    interactive: bool = True,
) -> PhaseOutPanel | go.Figure:
    """Return a panel to train a VAN by button, or where nobody can press one, the figure of one run.

    Args:
        images: the data.
        depth: number of layers at the start, from 2 to 100.
        dual_lr: multiplier step size at the start, from 1e-5 to 100; None takes what the library would.
        width: units per layer.
        num_epochs: length of a run.
        seed: of weights and batches.
        interactive: False trains one network here and now and returns a plain figure.

    Returns:
        The panel, or a plotly figure.
    """
    if dual_lr is None:
        num_steps = num_epochs * (len(images.train_labels) // training.TrainConfig.batch_size)
        dual_lr = training.default_dual_lr(num_steps, models.MLPConfig.skip_weight, training.TrainConfig())
        dual_lr = float(f"{dual_lr:.2g}")  # as a hand would set it
    if interactive:
        return PhaseOutPanel(images, depth, dual_lr, width, num_epochs, seed)
    trainer = make_trainer(images, depth, dual_lr, width, num_epochs, seed)
    for _ in trainer:
        pass
    fig = empty_figure()
    fill_figure(fig, trainer.records)
    return fig.update_layout(title={"text": f"<sup>{describe(trainer)}</sup>"}, margin={"t": 90})
