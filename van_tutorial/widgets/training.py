"""Train networks by button, watch what is left of their skips, and collect what became of each."""

from collections.abc import Sequence
from threading import Event
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from van_tutorial import models, playground, plots, training
from van_tutorial._checks import check_choice
from van_tutorial.connections import CONNECTIONS
from van_tutorial.data import Images
from van_tutorial.widgets.controls import REMOVED, REMOVERS, controls_for
from van_tutorial.widgets.panel import Choice, Control, Slider, button
from van_tutorial.widgets.run import RunPanel, RunState

RECORDS_PER_RUN = 60  # enough for a smooth picture, few enough to cost nothing
PENALTY_SKIP_LR = 0.2  # with a smaller learning rate the penalty has not decided when a short run ends
NAMED = {"kind": ("mlp", "convnet"), "removed": REMOVED, "remover": REMOVERS}
IMAGES = {"train_accuracy": "training images", "test_accuracy": "test images"}


def is_weighted(connection: str) -> bool:
    """Return whether a skip weight scales the skip of a connection, and can be removed."""
    return CONNECTIONS[connection].is_weighted


def make_trainer(
    images: Images,
    stop: Event | None = None,
    *,
    kind: str = "mlp",
    depth: int = 20,
    width: int = 32,
    connection: str = "van",
    dual_lr: float | None = None,
    removed: str = "skips",
    remover: str = "multipliers",
    skip_penalty: float = 0.05,
    num_epochs: int = 10,
    seed: int = 0,
) -> training.Trainer:
    """Return the trainer of a network, at step 0, with the settings of `training_panel`."""
    network: dict[str, Any] = {
        "depth": depth,
        "width": width,
        "connection": connection,
        "num_classes": images.num_classes,
        "seed": seed,
    }
    model: Any
    if kind == "convnet":
        model = models.convnet(in_channels=images.train_images.shape[1], **network)
    else:
        removable = REMOVED[removed] if is_weighted(connection) else {}
        model = models.mlp(in_features=images.num_features, **network, **removable)
    penalty: dict[str, Any] = {"remove_by": None, "skip_lr": PENALTY_SKIP_LR, "skip_penalty": skip_penalty}
    config = training.TrainConfig(
        num_epochs=num_epochs,
        dual_lr=dual_lr,
        skip_target=0.0 if removed == "skips" else 1.0,
        skip_schedule=remover,
        log_every=max(1, playground.num_steps(num_epochs, len(images.train_labels)) // RECORDS_PER_RUN),
        seed=seed,
        **(penalty if remover == "penalty" else {}),
    )
    return training.Trainer(model, images, config, stop=stop)


def training_figure(connections: Sequence[str], title: str, num_steps: int, depth: float) -> go.Figure:
    """Return the figure before a run: accuracy by step, and what is left by layer and step, or all runs by depth.

    Args:
        connections: that can be chosen.
        title: of the map of what is left.
        num_steps: where the axes of a run end, until one has begun.
        depth: the largest one, where the axis of all runs ends.
    """
    has_map = all(map(is_weighted, connections))
    titles = ("Accuracy of this run", title if has_map else "All runs so far, training images")
    fig = make_subplots(rows=1, cols=2, subplot_titles=titles, horizontal_spacing=0.14)
    for name, dash in zip(IMAGES.values(), ("dash", "solid"), strict=True):
        look = {"line_color": "#000000", "line_dash": dash}  # the colours are those of kinds of network
        fig.add_scatter(x=[], y=[], name=name, mode="lines", **look, row=1, col=1)
    if has_map:
        fig.add_trace(plots.skip_heat_map([], [], [], "left", colorbar={"title": "left"}), row=1, col=2)
    else:
        for number, name in zip(plots.numbers(connections), connections, strict=True):
            fig.add_trace(plots.curve([], [], name, number, "markers", marker_size=11), row=1, col=2)
        fig.update_yaxes(range=[0, 1.02], row=1, col=2)
        fig.update_xaxes(title="depth (layers)", range=[0, 1.02 * depth], row=1, col=2)
    fig.update_xaxes(title="step", range=[0, num_steps], row=1, col=None if has_map else 1)
    fig.update_yaxes(title="accuracy", range=[0, 1.02], row=1, col=1)
    fig.update_yaxes(title="layer (1 is next to the input)" if has_map else "accuracy", row=1, col=2)
    middle: dict[str, Any] = {"x": 0.5, "y": 0.5, "xref": "x domain", "yref": "y domain", "showarrow": False}
    here = "what is left, layer by layer" if has_map else "a point for each run that has ended"
    for col, text in enumerate(("the curves of a run. Press <b>Train</b>.", here), 1):
        fig.add_annotation(text=f"Here: {text}", name=f"empty {col}", row=1, col=col, **middle)
    return fig.update_layout(
        template="plotly_white",
        height=400,
        font={"size": 13},
        margin={"l": 60, "r": 40, "t": 50, "b": 90},
        modebar={"orientation": "v"},  # in the margin: it would cover a title
        legend={"orientation": "h", "y": -0.2, "yanchor": "top"},
    )


def left_in(record: training.Record, config: training.TrainConfig) -> list[float]:
    """Return for each layer how much is left of what is removed, from 0 to 1."""
    left: list[float] = (record.skip_weights - config.skip_target).abs().tolist()
    return left


def fill(fig: Any, col: int) -> None:
    """Take the words out of a chart that was empty."""
    fig.update_annotations(visible=False, selector={"name": f"empty {col}"})


def draw(fig: Any, trainer: training.Trainer) -> None:
    """Put the records of a run into the figure, all in one update."""
    records = trainer.records
    steps = [record.step for record in records]
    with fig.batch_update():
        fill(fig, 1)
        for trace, name in zip(fig.data, IMAGES, strict=False):
            trace.update(x=steps, y=[getattr(record, name) for record in records])
        fig.update_xaxes(range=[0, trainer.num_steps], selector={"title_text": "step"})
        if fig.data[2].type == "heatmap" and records:
            fill(fig, 2)
            columns = [left_in(record, trainer.config) for record in records]
            rows = [list(row) for row in zip(*columns, strict=True)]
            fig.data[2].update(x=steps, y=list(range(1, len(rows) + 1)), z=rows)


def collect(fig: Any, trainer: training.Trainer) -> None:
    """Put the last accuracy of a run that is over beside those of the runs before it."""
    config: Any = trainer.model.config
    for trace in fig.data[2:]:
        if trace.name == config.connection and trainer.step == trainer.num_steps:
            fill(fig, 2)
            trace.update(x=[*trace.x, config.depth], y=[*trace.y, trainer.records[-1].train_accuracy])


def describe(trainer: training.Trainer) -> str:
    """Say in words where a run is."""
    place = f"Step {trainer.step} of {trainer.num_steps}"
    if not trainer.records:
        return f"{place}."
    record = trainer.records[-1]
    network: Any = trainer.model.config
    accuracy = (
        f"accuracy {record.train_accuracy:.3f} on training images, {record.test_accuracy:.3f} on test images."
    )
    if trainer.phase_out is None:
        return f"{place}: {network.connection}, depth {network.depth}, {accuracy}"
    left = left_in(record, trainer.config)
    what = "skips left" if trainer.config.skip_target == 0.0 else "left"
    number, mean = sum(value > 0.0 for value in left), sum(left) / len(left)
    removal = trainer.phase_out.removal
    return f"{place}: {number} of {len(left)} {what}, {mean:.2f} on average, {accuracy} {removal}".rstrip()


class TrainingPanel(RunPanel):
    """Train a network by button, and see what becomes of it.

    Args:
        images: the data.
        controls: what can be chosen.
        settings: of `make_trainer`, what cannot.
        figure: of `training_figure`.

    Attributes:
        train: the Train button.
        stop: the Stop button.
        state: the run.
    """

    def __init__(
        self, images: Images, controls: Sequence[Control], settings: dict[str, Any], figure: go.Figure
    ) -> None:
        self._images, self._fixed, self.state = images, settings, RunState()
        buttons = {
            "train": button("Train", "play", "Train a new network with these settings"),
            "stop": button("Stop", "stop", "Stop after the present step and keep what is there"),
        }
        super().__init__(controls, buttons, figure)
        self.status.value = "Choose, then press Train."
        self._on_click({"train": self._start, "stop": self._stop})
        self._enable()

    def _begin(self, settings: dict[str, Any]) -> training.Trainer:
        return make_trainer(self._images, stop=self.state.stop, **{**self._fixed, **settings})

    def _conclude(self, trainer: training.Trainer) -> None:
        if self.state.error is None:
            collect(self.figure, trainer)

    def _show_latest(self) -> None:
        if self.state.trainer is not None:
            draw(self.figure, self.state.trainer)

    def _describe(self) -> str:
        return describe(self.state.trainer) if self.state.trainer is not None else ""


def training_panel(
    images: Images,
    controls: Sequence[str | Control] = ("depth", "dual_lr"),
    interactive: bool = True,
    **settings: Any,
) -> TrainingPanel | go.Figure:
    """Return a panel to train networks by button, or where nobody can press one, the figure of a run.

    Where every network has skip weights, the figure shows by layer and step what is left of the skips, or of the
    activations. Where the connection can be chosen, it collects the accuracy of all runs by depth.

    Args:
        images: the data, at least 128 training images.
        controls: what can be chosen: settings by their names, or a `Slider` or `Choice` of the same name.
        interactive: False trains here and now, once for each connection that could be chosen, and returns a plain
            figure.
        settings: the initial ones: kind ("mlp" or "convnet"), depth, width, connection, dual_lr (None is sized from the
            number of steps), removed ("skips", "activations" or "every second activation"), remover ("multipliers",
            "linear", "cosine" or "penalty"), skip_penalty (nats), num_epochs and seed.

    Returns:
        The panel, or a plotly figure.

    Raises:
        ValueError: for a setting that is unknown or out of bounds, or fewer training images than a batch.
    """
    known: dict[str, Any] = make_trainer.__kwdefaults__ or {}
    given = [control if isinstance(control, str) else control.name for control in controls]
    for name in (*given, *settings):
        check_choice("A setting", name, known)
    settings = {**known, **settings}
    for name, choices in NAMED.items():
        check_choice(name, settings[name], choices)
    num_images = len(images.train_labels)
    if settings["dual_lr"] is None and "dual_lr" in given:
        sized = playground.Settings(num_epochs=settings["num_epochs"]).sized(num_images)
        settings["dual_lr"] = sized.dual_lr
    chosen = [
        controls_for({control: settings[control]})[0] if isinstance(control, str) else control
        for control in controls
    ]
    settings |= {control.name: control.value for control in chosen}
    lists = {control.name: control.choices for control in chosen if isinstance(control, Choice)}
    connections = lists.get("connection", (settings["connection"],))
    of_skips = "removed" not in given and settings["removed"] == "skips"
    title = f"{'Skip weights' if of_skips else 'What is left'}, layer by layer"
    deepest = max(
        (control.bounds[1] for control in chosen if isinstance(control, Slider) and control.name == "depth"),
        default=settings["depth"],
    )
    num_steps = playground.num_steps(settings["num_epochs"], num_images)  # is there a batch?
    fig = training_figure(connections, title, num_steps, deepest)
    if interactive:
        return TrainingPanel(images, chosen, settings, fig)
    said = []
    for connection in connections:
        trainer = make_trainer(images, **{**settings, "connection": connection})
        for _ in trainer:
            pass
        draw(fig, trainer)
        collect(fig, trainer)
        said.append(describe(trainer))
    return fig.update_layout(title={"text": f"<sup>{'<br>'.join(said)}</sup>"}, margin={"t": 110})
