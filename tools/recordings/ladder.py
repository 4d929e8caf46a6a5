"""What a network without skips gains by a start, a phase-out, a training with skips before it, and a teacher."""

from copy import deepcopy
from functools import lru_cache
from typing import Any

from tools.recordings.lab import Lab, Row, Trained, recording
from tools.recordings.your_network import fit, half_size, without_skips
from van_tutorial import batch, models, training

NUM_EPOCHS = 8
LRS, TRIAL_SEED = (1e-3, 3e-3, 1e-2), 100
# How the network differs from a plain one with a BatchNorm bias of 1, and its training from the default.
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


@recording({"depth": 56, "lr": LRS, "network": NETWORKS, "seed": TRIAL_SEED})
def ladder_lrs(lab: Lab, depth: int, lr: float, network: str, seed: int) -> Row:
    """Try a learning rate on a validation set."""
    run = trained(lab, depth, network, lr, seed, validation_fraction=0.1)
    return run.row("validation_accuracy", "seconds")


@recording({"depth": 56, "seed": (0, 1, 2, 3, 4), "network": NETWORKS})
def ladder(lab: Lab, depth: int, seed: int, network: str) -> Row:
    """Train one network with the best of its learning rates, in one training or in two of half its length."""
    lr = LRS[1] if lab.is_quick else best_lr(depth, network)
    run = trained(lab, depth, network, lr, seed)
    outcome = ("skips_left", "removed_at_step", "removed_by", "num_steps", "seconds")
    return {"lr": lr} | run.row("test_accuracy") | run.last_epoch | run.row(*outcome)


def best_lr(depth: int, network: str) -> float:
    """Return the learning rate with the best accuracy on the validation set."""
    trials = batch.recorded("ladder_lrs").table.query("depth == @depth and network == @network")
    return float(trials.sort_values("validation_accuracy")["lr"].iloc[-1])


def trained(
    lab: Lab, depth: int, network: str, lr: float, seed: int, validation_fraction: float = 0.0
) -> Trained:
    """Return a network after all of its training."""
    if network in AT_ONCE:
        changes, settings = AT_ONCE[network]
        choices = {"connection": "plain", "norm_shift": 1.0} | changes
        settings = {"num_epochs": NUM_EPOCHS, "validation_fraction": validation_fraction, **settings}
        return train(lab, depth, choices, lr, seed, **settings)
    base = with_skips(lab, depth, lr, seed, validation_fraction)
    if network == "cut":
        half = without_skips(deepcopy(base.model), base.images)
    else:
        half = models.gate_skips(deepcopy(base.model), base.images.test_images[:2])
    loss = training.distillation(base.model) if network.endswith("teacher") else None
    settings = {"num_epochs": NUM_EPOCHS // 2, "validation_fraction": validation_fraction, "stagger": 0.0}
    return fit(lab, half, base.images, loss, lr=lr, seed=seed, **settings)


@lru_cache(maxsize=1)
def with_skips(lab: Lab, depth: int, lr: float, seed: int, validation_fraction: float) -> Trained:
    """Return a residual network after the first half of a training."""
    choices = {"connection": "residual", "norm_shift": 1.0}
    settings = {"num_epochs": NUM_EPOCHS // 2, "validation_fraction": validation_fraction}
    return train(lab, depth, choices, lr, seed, **settings)


def train(lab: Lab, depth: int, choices: Row, lr: float, seed: int, **settings: Any) -> Trained:
    """Train a small convolutional network on small images; its skips, where any go, go simultaneously."""
    model = models.convnet(in_channels=1, width=4, depth=depth, seed=seed, **choices)
    return lab.train(model, half_size(lab), lr=lr, seed=seed, **{"stagger": 0.0} | settings)
