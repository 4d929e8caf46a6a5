"""What a network without skips gains by a start, a phase-out, a training with skips before it, and a teacher."""

from copy import deepcopy
from functools import lru_cache
from typing import Any

from tools.recordings.lab import Lab, Row, Trained, recording
from tools.recordings.your_network import fit, half_size, without_skips
from van_tutorial import batch, models, training

LRS, TRIAL_SEED = (1e-3, 3e-3, 1e-2), 100
# The networks and their trainings, each with the BatchNorm bias that suits plain networks of its depth best.
STACKS: dict[str, tuple[Row, Row]] = {
    "convolutional": ({"in_channels": 1, "width": 4, "norm_shift": 1.0}, {"num_epochs": 8, "stagger": 0.0}),
    "fully connected": (
        {"width": 32, "norm_shift": 2.0},
        {"num_epochs": 30, "stagger": 0.9, "remove_by": 0.85},
    ),
}
PLACES: tuple[Row, ...] = (
    {"stack": "convolutional", "depth": 56, "seed": (0, 1, 2, 3, 4)},
    {"stack": "convolutional", "depth": 110, "seed": (0, 1, 2)},
    {"stack": "fully connected", "depth": 100, "seed": (0, 1, 2, 3, 4)},
)
# How the network differs from a plain one with that bias, and its training from its stack's.
AT_ONCE: dict[str, tuple[Row, Row]] = {
    "plain": ({"norm_shift": 0.0}, {}),
    "plain, BatchNorm bias": ({}, {}),
    "plain, TAT": ({"norm_shift": 0.0, "activation": "tat"}, {}),
    "VAN": ({"connection": "van"}, {}),
    "VAN, cosine schedule": ({"connection": "van"}, {"skip_schedule": "cosine"}),
    "residual": ({"connection": "residual", "norm_shift": 0.0}, {}),
    "residual, BatchNorm bias": ({"connection": "residual"}, {}),
}
TAT_INITS = {"convolutional": "delta-orthogonal", "fully connected": "orthogonal"}
# Half of the training with skips that stay, and half without: cut, phased out, and this with the first half as teacher.
NETWORKS = (*AT_ONCE, "cut", "phased out", "phased out, teacher")


@recording(*({**place, "lr": LRS, "network": NETWORKS, "seed": TRIAL_SEED} for place in PLACES))
def ladder_lrs(lab: Lab, stack: str, depth: int, lr: float, network: str, seed: int) -> Row:
    """Try a learning rate on a validation set."""
    run = trained(lab, stack, depth, network, lr, seed, validation_fraction=0.1)
    return run.row("validation_accuracy", "seconds")


@recording(*({**place, "network": NETWORKS} for place in PLACES))
def ladder(lab: Lab, stack: str, depth: int, seed: int, network: str) -> Row:
    """Train one network with the best of its learning rates, in one training or in two of half its length."""
    lr = LRS[1] if lab.is_quick else best_lr(stack, depth, network)
    run = trained(lab, stack, depth, network, lr, seed)
    outcome = ("skips_left", "removed_at_step", "removed_by", "num_steps", "seconds")
    return {"lr": lr} | run.row("test_accuracy") | run.last_epoch | run.row(*outcome)


def best_lr(stack: str, depth: int, network: str) -> float:
    """Return the learning rate with the best accuracy on the validation set."""
    trials = batch.recorded("ladder_lrs").table
    trials = trials.query("stack == @stack and depth == @depth and network == @network")
    return float(trials.sort_values("validation_accuracy")["lr"].iloc[-1])


def trained(lab: Lab, stack: str, depth: int, network: str, lr: float, seed: int, **common: Any) -> Trained:
    """Return a network after all of its training."""
    if network in AT_ONCE:
        choices, settings = AT_ONCE[network]
        choices = choices | ({"init": TAT_INITS[stack]} if network == "plain, TAT" else {})
        return train(
            lab, stack, {"connection": "plain", "depth": depth} | choices, lr, seed, **settings, **common
        )
    base = with_skips(lab, stack, depth, lr, seed, **common)
    if network == "cut":
        half = without_skips(deepcopy(base.model), base.images)
    else:
        half = models.gate_skips(deepcopy(base.model), base.images.test_images[:2])
    loss = training.distillation(base.model) if network.endswith("teacher") else None
    return fit(lab, half, base.images, loss, lr=lr, seed=seed, **halved(stack), **common)


@lru_cache(maxsize=1)
def with_skips(lab: Lab, stack: str, depth: int, lr: float, seed: int, **common: Any) -> Trained:
    """Return a residual network after the first half of a training."""
    return train(lab, stack, {"connection": "residual", "depth": depth}, lr, seed, **halved(stack), **common)


def halved(stack: str) -> Row:
    """Return the settings of a training of half the length."""
    settings = STACKS[stack][1]
    return settings | {"num_epochs": settings["num_epochs"] // 2}


def train(lab: Lab, stack: str, choices: Row, lr: float, seed: int, **settings: Any) -> Trained:
    """Train a network on the embedded images; its skips, where any go, go as its stack's do."""
    make, images = (
        (models.mlp, lab.load()) if stack == "fully connected" else (models.convnet, half_size(lab))
    )
    model = make(**STACKS[stack][0] | {"seed": seed} | choices)
    return lab.train(model, images, lr=lr, seed=seed, **STACKS[stack][1] | settings)
