"""Choose what is removed in the course of a training, and who removes it, and see what is left."""

import threading
from functools import partial
from typing import Any

import plotly.graph_objects as go

from van_tutorial import models, training
from van_tutorial.data import Images
from van_tutorial.widgets import phase_out
from van_tutorial.widgets.panel import Choice, Slider
from van_tutorial.widgets.training import TrainingPanel

# What goes: the form of the connection, every how many layers there is one, and the skip weight that ends it.
REMOVED: dict[str, dict[str, Any]] = {
    "skips": {"skip": "convex", "skip_every": 1, "skip_weight": 0.95},
    "activations": {"skip": "activation", "skip_every": 1, "skip_weight": 0.0},
    "every second activation": {"skip": "activation", "skip_every": 2, "skip_weight": 0.0},
}
REMOVERS = ("multipliers", "linear", "cosine", "penalty")
PENALTY_SKIP_LR = 0.2  # with a smaller step the penalty has not decided when a short run ends


def make_trainer(
    images: Images,
    removed: str,
    remover: str,
    depth: int,
    skip_penalty: float,
    width: int,
    num_epochs: int,
    seed: int,
    stop: threading.Event | None,
) -> training.Trainer:
    """Return the trainer of a network with the settings of the panel."""
    model = models.mlp(
        depth=depth,
        width=width,
        in_features=images.num_features,
        num_classes=images.num_classes,
        seed=seed,
        **REMOVED[removed],
    )
    num_steps = num_epochs * (len(images.train_labels) // training.TrainConfig.batch_size)
    choices: dict[str, Any] = {}
    if remover == "penalty":
        choices = {"remove_by": None, "skip_lr": PENALTY_SKIP_LR, "skip_penalty": skip_penalty}
    config = training.TrainConfig(
        num_epochs=num_epochs,
        seed=seed,
        skip_target=0.0 if removed == "skips" else 1.0,
        skip_schedule=remover,
        log_every=max(1, num_steps // phase_out.RECORDS_PER_RUN),
        **choices,
    )
    return training.Trainer(model, images, config, stop=stop)


def empty_figure() -> go.Figure:
    """Return the panel's figure before a run: what is left by layer and step, and accuracy by step."""
    fig = phase_out.empty_figure()
    fig.layout.annotations[0].text = "What is left, layer by layer"
    fig.data[0].colorbar.title.text = "left"
    fig.data[0].name = "left"
    return fig


def describe(trainer: training.Trainer) -> str:
    """Say in words where a run is."""
    if not trainer.records:
        return f"Step 0 of {trainer.num_steps}."
    record = trainer.records[-1]
    left = (record.skip_weights - trainer.config.skip_target).abs()
    return (
        f"Step {record.step} of {trainer.num_steps}: {int((left > 0).sum())} of {len(left)} left, at "
        f"{left.mean().item():.2f} in the mean; test accuracy {record.test_accuracy:.3f}."
        f"{phase_out.describe_removal(trainer)}"
    )


def removal_panel(
    images: Images,
    depth: int = 20,
    width: int = 32,
    num_epochs: int = 10,
    seed: int = 0,
    interactive: bool = True,
) -> TrainingPanel | go.Figure:
    """Return a panel to choose what is removed and by whom, or where nobody can press a button, a figure of one run.

    Args:
        images: the data.
        depth: number of layers at the start, from 2 to 60.
        width: units per layer.
        num_epochs: length of a run.
        seed: of weights and batches.
        interactive: False has multipliers remove every second activation here and now, and returns a plain figure.

    Returns:
        The panel, or a plotly figure.
    """
    make = partial(make_trainer, images, width=width, num_epochs=num_epochs, seed=seed)
    if interactive:
        controls = (
            Choice("removed", "what goes", "skips", tuple(REMOVED), "What is to be gone at the end"),
            Choice("remover", "who takes it", "multipliers", REMOVERS, "Who moves the skip weights"),
            Slider("depth", "depth (layers)", depth, 2, 60, "Number of layers"),
            Slider(
                "skip_penalty",
                "penalty strength (nats)",
                0.05,
                1e-3,
                1.0,
                "How hard the penalty pulls; of no account where somebody else takes it",
                is_log=True,
            ),
        )
        return TrainingPanel(controls, empty_figure(), make, phase_out.fill_figure, describe)
    trainer = make(
        stop=None, removed="every second activation", remover="multipliers", depth=depth, skip_penalty=0.05
    )
    for _ in trainer:
        pass
    fig = empty_figure()
    phase_out.fill_figure(fig, trainer)
    return fig.update_layout(title={"text": f"<sup>{describe(trainer)}</sup>"}, margin={"t": 90})
