"""Train plain and residual networks of any depth by button, and collect what became of each."""

from functools import partial
from typing import Any, cast

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from van_tutorial import models, plots, training
from van_tutorial.data import Images
from van_tutorial.widgets.panel import FIGURE, Choice, Slider
from van_tutorial.widgets.training import TrainingPanel, make_trainer

CONNECTIONS = ("plain", "residual")


def empty_figure() -> go.Figure:
    """Return the panel's figure before a run: accuracy by epoch, and the last accuracy of every run by depth."""
    fig = make_subplots(
        rows=1,
        cols=2,
        subplot_titles=("This run", "All runs so far, training images"),
        horizontal_spacing=0.14,
    )
    for index, name in enumerate(("training images", "test images")):
        look = plots.style(index)
        fig.add_trace(
            go.Scatter(x=[], y=[], mode="lines+markers", name=name, legendgroup="run", **look), row=1, col=1
        )
    for index, name in enumerate(CONNECTIONS, 2):
        look = plots.style(index)
        fig.add_trace(
            go.Scatter(x=[], y=[], mode="markers", name=name, marker={**look["marker"], "size": 11}),
            row=1,
            col=2,
        )
    fig.update_xaxes(title="epoch", row=1, col=1)
    fig.update_xaxes(title="depth (layers)", row=1, col=2)
    fig.update_yaxes(title="accuracy (share of images)", range=[0, 1.02])
    return fig.update_layout(**FIGURE, margin_b=100, legend_y=-0.3)


def fill_figure(fig: Any, trainer: training.Trainer) -> None:
    """Put a run into the panel's figure; when it is over, its last accuracy joins those of the runs before."""
    records = trainer.records
    with fig.batch_update():
        for trace, name in ((fig.data[0], "train_accuracy"), (fig.data[1], "test_accuracy")):
            trace.x = [record.epoch for record in records]
            trace.y = [getattr(record, name) for record in records]
        if records and trainer.step == trainer.num_steps:
            config = cast(models.MLP, trainer.model).config
            collected = fig.data[2 + CONNECTIONS.index(config.connection)]
            collected.x = [*collected.x, config.depth]
            collected.y = [*collected.y, records[-1].train_accuracy]


def describe(trainer: training.Trainer) -> str:
    """Say in words where a run is."""
    if not trainer.records:
        return f"Epoch 0 of {trainer.config.num_epochs}."
    record, network = trainer.records[-1], cast(models.MLP, trainer.model).config
    return (
        f"Epoch {record.epoch:.0f} of {trainer.config.num_epochs}, {network.connection}, depth "
        f"{network.depth}: accuracy {record.train_accuracy:.3f} on training images, "
        f"{record.test_accuracy:.3f} on test images."
    )


def degradation_panel(
    images: Images,
    depth: int = 20,
    width: int = 32,
    num_epochs: int = 10,
    seed: int = 0,
    interactive: bool = True,
) -> TrainingPanel | go.Figure:
    """Return a panel to train networks of any depth by button, or where nobody can press one, a figure of two runs.

    Args:
        images: the data.
        depth: number of layers at the start, from 1 to 100.
        width: units per layer.
        num_epochs: length of a run.
        seed: of weights and batches.
        interactive: False trains a plain and a residual network here and now and returns a plain figure.

    Returns:
        The panel, or a plotly figure.
    """
    make = partial(make_trainer, images, width=width, num_epochs=num_epochs, seed=seed)
    if interactive:
        controls = (
            Slider("depth", "depth (layers)", depth, 1, 100, "Number of layers of the next network"),
            Choice("connection", "connection", "plain", CONNECTIONS, "With skip-connections or without"),
        )
        return TrainingPanel(controls, empty_figure(), make, fill_figure, describe)
    fig, said = empty_figure(), []
    for connection in CONNECTIONS:
        trainer = make(stop=None, depth=depth, connection=connection)
        for _ in trainer:
            pass
        fill_figure(fig, trainer)
        said.append(describe(trainer))
    return fig.update_layout(title={"text": f"<sup>{'<br>'.join(said)}</sup>"}, margin={"t": 110})
