"""Train a VAN by button, and see its skips go."""

from functools import partial
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from van_tutorial import models, plots, training
from van_tutorial._checks import check_choice
from van_tutorial.data import Images
from van_tutorial.widgets.panel import FIGURE, Slider
from van_tutorial.widgets.training import TrainingPanel, make_trainer

RECORDS_PER_RUN = 60  # enough for a smooth picture, few enough to cost nothing
# Of each kind of network: the smallest depth, the largest, the step between two, and what depth means.
DEPTHS = {
    "mlp": (2, 100, 1, "Number of layers, each with its own skip-connection"),
    "convnet": (8, 56, 6, "6 n + 2 layers, with a skip-connection around every two convolutions"),
}


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
    return fig.update_layout(**FIGURE, margin_b=70, legend_y=-0.15)


def fill_figure(fig: Any, trainer: training.Trainer) -> None:
    """Put the records of a run into the panel's figure, all in one update."""
    records = trainer.records
    left = [(record.skip_weights - trainer.config.skip_target).abs().tolist() for record in records]
    steps = [record.step for record in records]
    with fig.batch_update():
        fig.data[0].x = steps
        fig.data[0].y = list(range(1, len(left[0]) + 1)) if records else []
        fig.data[0].z = [list(layer) for layer in zip(*left, strict=True)]
        for trace, name in ((fig.data[1], "test_accuracy"), (fig.data[2], "train_accuracy")):
            trace.x = steps
            trace.y = [getattr(record, name) for record in records]


def describe(trainer: training.Trainer) -> str:
    """Say in words where a run is."""
    if not trainer.records:
        return f"Step 0 of {trainer.num_steps}."
    record = trainer.records[-1]
    left = int(record.skip_weights.count_nonzero())
    return (
        f"Step {record.step} of {trainer.num_steps}: {left} of {len(record.skip_weights)} skips left, "
        f"test accuracy {record.test_accuracy:.3f}.{describe_removal(trainer)}"
    )


def describe_removal(trainer: training.Trainer) -> str:
    """Say in words since when all is gone, and by whom, after a space; nothing while something is left."""
    return f" {trainer.phase_out.removal}".rstrip() if trainer.phase_out else ""


def phase_out_panel(
    images: Images,
    depth: int = 40,
    dual_lr: float | None = None,
    width: int = 32,
    num_epochs: int = 10,
    seed: int = 0,
    interactive: bool = True,
    kind: str = "mlp",
) -> TrainingPanel | go.Figure:
    """Return a panel to train a VAN by button, or where nobody can press one, the figure of one run.

    Args:
        images: the data.
        depth: number of layers at the start, from 2 to 100; of a convolutional network 6 n + 2, from 8 to 56.
        dual_lr: multiplier step size at the start, from 1e-5 to 1e4; None takes what the library would.
        width: units per layer, or channels of the first stage.
        num_epochs: length of a run.
        seed: of weights and batches.
        interactive: False trains one network here and now and returns a plain figure.
        kind: "mlp" or "convnet".

    Returns:
        The panel, or a plotly figure.

    Raises:
        ValueError: for another kind.
    """
    check_choice("kind", kind, DEPTHS)
    num_steps = num_epochs * (len(images.train_labels) // training.TrainConfig.batch_size)
    if dual_lr is None:
        dual_lr = training.default_dual_lr(num_steps, models.MLPConfig.skip_weight, training.TrainConfig())
        dual_lr = float(f"{dual_lr:.2g}")  # as a hand would set it
    make = partial(
        make_trainer,
        images,
        connection="van",
        width=width,
        num_epochs=num_epochs,
        seed=seed,
        kind=kind,
        log_every=max(1, num_steps // RECORDS_PER_RUN),
    )
    if interactive:
        low, high, step, help_ = DEPTHS[kind]
        controls = (
            Slider("depth", "depth (layers)", depth, low, high, help_, step=step),
            Slider(
                "dual_lr",
                "multiplier step size",
                dual_lr,
                1e-5,
                1e4,
                "How fast the multipliers grow: nats per unit of skip weight, per step",
                is_log=True,
            ),
        )
        return TrainingPanel(controls, empty_figure(), make, fill_figure, describe)
    trainer = make(stop=None, depth=depth, dual_lr=dual_lr)
    for _ in trainer:
        pass
    fig = empty_figure()
    fill_figure(fig, trainer)
    return fig.update_layout(title={"text": f"<sup>{describe(trainer)}</sup>"}, margin={"t": 90})
