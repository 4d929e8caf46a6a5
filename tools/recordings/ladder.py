"""What a network without skips gains by one ingredient after another: a start, a phase-out, two phases, a teacher."""

from copy import deepcopy
from functools import lru_cache
from typing import Any

from tools.recordings.convolutional import halved
from tools.recordings.lab import Lab, Row, Trained, recording
from tools.recordings.your_network import fit, without_skips
from van_tutorial import batch, data, models, training

# The networks and their trainings, each with the BatchNorm bias that suits plain ones of its depth best.
STACKS: dict[str, tuple[Row, Row]] = {
    "fully connected": (
        {"width": 32, "norm_shift": 2.0},
        {"num_epochs": 10, "remove_by": 0.85, "stagger": 0.9, "population_statistics": True},
    ),
    "convolutional": ({"in_channels": 1, "width": 4, "norm_shift": 1.0}, {"num_epochs": 8, "stagger": 0.0}),
}
# How the network differs from a plain one with that bias, and its training from the default.
AT_ONCE: dict[str, tuple[Row, Row]] = {
    "plain": ({"norm_shift": 0.0}, {}),
    "plain, BatchNorm bias": ({}, {}),
    "VAN": ({"connection": "van"}, {}),
    "VAN, cosine schedule": ({"connection": "van"}, {"skip_schedule": "cosine"}),
    "residual": ({"connection": "residual", "norm_shift": 0.0}, {}),
    "residual, BatchNorm bias": ({"connection": "residual"}, {}),
}
# Half of the training with skips that stay, and half without: cut, phased out, and this with the first half as teacher.
NETWORKS = (*AT_ONCE, "cut", "phased out", "phased out, teacher")


LRS = (1e-3, 3e-3, 1e-2)
TRIAL_SEED = 100
PLACES: tuple[Row, ...] = (
    {"stack": "convolutional", "depth": 56},
    {"stack": "fully connected", "depth": 100},
)


@recording(*({**place, "lr": LRS, "network": NETWORKS, "seed": TRIAL_SEED} for place in PLACES))
def ladder_lrs(lab: Lab, stack: str, depth: int, network: str, lr: float, seed: int) -> Row:
    """Try a learning rate on a validation set."""
    run = trained(lab, stack, depth, network, lr, seed, validation_fraction=0.1)
    return run.row("validation_accuracy", "seconds")


@recording(*({**place, "seed": (0, 1, 2, 3, 4), "network": NETWORKS} for place in PLACES))
def ladder(lab: Lab, stack: str, depth: int, seed: int, network: str) -> Row:
    """Train one network with the best of its learning rates, in one training or in two of half its length."""
    lr = best_lr(lab, stack, depth, network)
    run = trained(lab, stack, depth, network, lr, seed)
    outcome = ("skips_left", "removed_at_step", "removed_by", "num_steps", "seconds")
    return {"lr": lr} | run.row("test_accuracy") | run.last_epoch | run.row(*outcome)


def trained(
    lab: Lab, stack: str, depth: int, network: str, lr: float, seed: int, validation_fraction: float = 0.0
) -> Trained:
    """Return a network after all of its training."""
    images, (choices, settings) = images_of(lab, stack), STACKS[stack]
    common = {"seed": seed, "validation_fraction": validation_fraction}
    if network in AT_ONCE:
        changes, more = AT_ONCE[network]
        model = make(stack, depth, seed, **choices | changes)
        return lab.train(model, images, lr=lr, **settings | more | common)
    base = with_skips(lab, stack, depth, lr, **common)
    if network == "cut":
        half = without_skips(deepcopy(base.model), images)
    else:
        half = models.gate_skips(deepcopy(base.model), images.test_images[:2])
    loss = training.distillation(base.model) if network.endswith("teacher") else None
    return fit(lab, half, images, loss, lr=lr, **halved_epochs(settings) | common)


@lru_cache(maxsize=1)
def with_skips(lab: Lab, stack: str, depth: int, lr: float, seed: int, validation_fraction: float) -> Trained:
    """Return a residual network after the first half of a training."""
    choices, settings = STACKS[stack]
    model = make(stack, depth, seed, **{"connection": "residual"} | choices)
    settings = halved_epochs(settings) | {"seed": seed, "validation_fraction": validation_fraction}
    return lab.train(model, images_of(lab, stack), lr=lr, **settings)


def best_lr(lab: Lab, stack: str, depth: int, network: str) -> float:
    """Return the learning rate with the best accuracy on the validation set."""
    if lab.is_quick:
        return LRS[1]
    trials = batch.recorded("ladder_lrs").table.query(
        "stack == @stack and depth == @depth and network == @network"
    )
    return float(trials.sort_values("validation_accuracy")["lr"].iloc[-1])


@lru_cache(maxsize=1)
def images_of(lab: Lab, stack: str) -> data.Images:
    """Return all of Fashion-MNIST, or for convolutions the embedded images at half the height and width."""
    return halved(lab.load()) if stack == "convolutional" else lab.load("fashion-mnist")


def make(stack: str, depth: int, seed: int, **choices: Any) -> models.Stack:
    """Return a network, plain where nothing else is said."""
    of = models.convnet if stack == "convolutional" else models.mlp
    return of(**{"connection": "plain", "depth": depth, "seed": seed, **choices})


def halved_epochs(settings: Row) -> Row:
    """Return the settings of a training of half the length."""
    return {**settings, "num_epochs": settings["num_epochs"] // 2}
