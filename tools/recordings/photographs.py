"""How accurate convolutional networks are on photographs, by their start, their skips, and how these are removed."""

from copy import deepcopy
from functools import lru_cache
from typing import Any

from tools.recordings.convolutional import REMOVED, TAT, train
from tools.recordings.lab import ALL_AT_ONCE, SEEDS, Lab, Row, Trained, recording
from tools.recordings.your_network import fit
from van_tutorial import models

# How the network differs from one of its connection, and its training from the default.
ON_PHOTOGRAPHS: dict[str, tuple[Row, Row]] = {
    "plain": ({"connection": "plain"}, {}),
    "residual": ({"connection": "residual"}, {}),
    "van": ({"connection": "van"}, ALL_AT_ONCE),
    "van, sequentially": ({"connection": "van"}, {}),
    "plain, TAT, lr 0.001": ({"connection": "plain", **TAT}, {"lr": 1e-3}),
    "plain, TAT": ({"connection": "plain", **TAT}, {}),
    "residual, lr 0.01": ({"connection": "residual"}, {"lr": 1e-2}),
    "van, TAT, lr 0.001": ({"connection": "van", **TAT}, {"stagger": 0.0, "lr": 1e-3}),
    "plain, BatchNorm bias 1": ({"connection": "plain", "norm_shift": 1.0}, {}),  # in cifar10_lrs alone
}
# Half of the epochs with skips that stay, and half in which they are phased out.
TWICE = "residual, then phased out"
TWICE_LR = 3e-3  # of the second half, the best of three in cifar10_lrs


@recording(
    {"seed": SEEDS, "depth": (20, 56), "network": tuple(ON_PHOTOGRAPHS)[:4]},
    {"seed": SEEDS, "depth": 56, "network": ("plain, TAT, lr 0.001", "van, TAT, lr 0.001")},
    {"seed": (3, 4), "depth": 56, "network": ("residual", "plain, TAT, lr 0.001")},
    {"seed": 0, "depth": 56, "network": ("plain, TAT", "residual, lr 0.01")},
    {"seed": SEEDS, "depth": 56, "network": TWICE},
    {"seed": SEEDS, "depth": 110, "network": ("residual", "plain, TAT, lr 0.001")},
    {"seed": 0, "depth": 110, "network": "van, TAT, lr 0.001"},
)
def cifar10(lab: Lab, seed: int, depth: int, network: str) -> Row:
    """Train one network of half the published width; a VAN has its skips removed by settings of its own."""
    if network == TWICE:
        base = trained(lab, "residual", depth, seed, num_epochs=2)
        run = phased_out(lab, base, seed, lr=TWICE_LR, num_epochs=2)
        parts = [base, run]
    else:
        run = trained(lab, network, depth, seed, num_epochs=4)
        parts = [run]
    by_epoch = [value for part in parts for value in part.result.history["test_accuracy"]]
    return {
        **run.row("test_accuracy"),
        **run.last_epoch,
        "accuracy_by_epoch": [round(value, 4) for value in by_epoch],
        "num_skips": 0 if network.startswith("plain") else len(parts[0].model.layers),
        **run.row(*REMOVED, "num_capped", "num_steps", "parameters", "seconds"),
        "seconds": round(sum(part.result.seconds for part in parts), 1),
    }


def trained(lab: Lab, network: str, depth: int, seed: int, **settings: Any) -> Trained:
    """Return a network after a training."""
    choices, own = ON_PHOTOGRAPHS[network]
    choices = {"depth": depth, "width": 8, **choices}
    return train(
        lab, lab.load("cifar10"), choices, **{"augment": "crop-flip", "seed": seed, **own, **settings}
    )


def phased_out(lab: Lab, base: Trained, seed: int, **settings: Any) -> Trained:
    """Return what is left of a network whose skips are phased out after its training."""
    gated = models.gate_skips(deepcopy(base.model), base.images.test_images[:2])
    settings = {"stagger": 0.0, "augment": "crop-flip", "channels_last": True, **settings}
    return fit(lab, gated, base.images, seed=seed, **settings)


@recording(
    {"network": "plain, TAT", "lr": (3e-4, 1e-3, 3e-3, 1e-2), "seed": 100},
    {"network": "residual", "lr": (1e-3, 3e-3, 1e-2), "seed": 100},
    {"network": (TWICE, "plain", "plain, BatchNorm bias 1"), "lr": (1e-3, 3e-3, 1e-2), "seed": 100},
)
def cifar10_lrs(lab: Lab, network: str, lr: float, seed: int) -> Row:
    """Train a network of 56 layers for one epoch, with a validation set; two trainings have one each."""
    settings: Row = {"num_epochs": 1, "validation_fraction": 0.1}
    if network == TWICE:
        run = phased_out(lab, with_skips(lab, seed, **settings), seed, lr=lr, **settings)
    else:
        run = trained(lab, network, 8 if lab.is_quick else 56, seed, lr=lr, **settings)
    return run.row("validation_accuracy") | run.last_epoch | run.row("seconds")


@lru_cache(maxsize=1)
def with_skips(lab: Lab, seed: int, **settings: Any) -> Trained:
    """Return a residual network of 56 layers after the first of two trainings."""
    return trained(lab, "residual", 8 if lab.is_quick else 56, seed, **settings)
