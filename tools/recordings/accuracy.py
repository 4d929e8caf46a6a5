"""How accurate fully connected networks are, by kind, depth and learning rate."""

from itertools import product
from typing import Any

import torch
from torch import nn

from tools.recordings.lab import SEEDS, Lab, Row, Trained, linear_classifier, recording
from van_tutorial import ensemble, models, segmentation, training

NUM_EPOCHS = 30  # on the embedded images, where nothing else is said

# How the network differs from a plain one, and its training from the default.
PHASED_OUT: dict[str, tuple[Row, Row]] = {
    "plain": ({}, {}),
    "plain, lr 0.01": ({}, {"lr": 0.01}),
    "plain, BatchNorm bias 1": ({"norm_shift": 1.0}, {}),
    "residual": ({"connection": "residual"}, {}),
    "residual, lr 0.01": ({"connection": "residual"}, {"lr": 0.01}),
    "van": ({"connection": "van"}, {}),
    "van, lr 0.01": ({"connection": "van"}, {"lr": 0.01, "skip_lr": 3e-3}),  # best in learning_rates_mini
}


@recording({"network": tuple(PHASED_OUT), "seed": SEEDS})
def phase_out_mini(lab: Lab, network: str, seed: int) -> Row:
    """Train one network, and collapse a VAN."""
    choices, settings = PHASED_OUT[network]
    model = models.mlp(**{"connection": "plain", **choices}, seed=seed)
    run = lab.train(model, lab.load(), num_epochs=NUM_EPOCHS, seed=seed, **settings)
    outcome = ("skips_left", "removed_at_step", "removed_by", "num_capped", "num_steps", "seconds")
    return run.row("lr", "test_accuracy") | run.last_epoch | run.row(*outcome)


LRS, SKIP_LRS = (1e-3, 3e-3, 1e-2), (3e-4, 1e-3, 3e-3)
TRIED: dict[str, list[Row]] = {
    "plain": [{"lr": lr} for lr in LRS],
    "residual": [{"lr": lr} for lr in LRS],
    "van": [
        *({"lr": lr, "skip_lr": skip_lr} for lr, skip_lr in product(LRS, SKIP_LRS)),
        {"stagger": 0.0, "dual_lr_spread": 5.0},  # simultaneously, those of the input side faster
        {"stagger": -0.9},
        {"stagger": 0.5},
    ],
}


@recording({"seed": (10, 11, 12), "network": tuple(TRIED)})
def learning_rates_mini(lab: Lab, seed: int, network: str) -> list[Row]:
    """Train a network with every choice of its learning rates, together, on four fifths of the training images."""
    images = lab.load()
    configs = [
        lab.config(num_epochs=NUM_EPOCHS, seed=seed, validation_fraction=0.2, **settings)
        for settings in TRIED[network]
    ]
    results = ensemble.train([models.mlp(connection=network, seed=seed) for _ in configs], images, configs)
    chosen = ("lr", "skip_lr", "dual_lr_spread", "stagger")
    outcome = ("validation_accuracy", "skips_left", "removed_by", "seconds")
    return [Trained(images, result).row(*chosen, *outcome) for result in results]


DEGRADED = {"plain": ("plain", 3e-3), "plain, lr 0.01": ("plain", 1e-2), "residual": ("residual", 3e-3)}


@recording({"network": tuple(DEGRADED), "depth": (2, 5, 10, 20, 40, 60), "seed": SEEDS})
def degradation_mini(lab: Lab, network: str, depth: int, seed: int) -> Row:
    """Train one network with the two best learning rates of the plain ones."""
    connection, lr = DEGRADED[network]
    model = models.mlp(depth=depth, connection=connection, seed=seed)
    run = lab.train(model, lab.load(), num_epochs=NUM_EPOCHS, lr=lr, seed=seed)
    return run.row("lr", "train_accuracy", "test_accuracy", "seconds")


SKIPPED: dict[str, Row] = {
    "plain": {"connection": "plain"},
    "residual": {"connection": "residual"},
    "highway": {"connection": "highway"},
    "rezero": {"connection": "rezero", "normalization": "none"},  # which is meant to do without
}


@recording({"network": tuple(SKIPPED), "depth": (10, 40, 80), "seed": SEEDS})
def skip_connections_mini(lab: Lab, network: str, depth: int, seed: int) -> Row:
    """Train one network."""
    model = models.mlp(depth=depth, width=32, seed=seed, **SKIPPED[network])
    run = lab.train(model, lab.load(), num_epochs=10, seed=seed)
    return run.row("train_accuracy", "test_accuracy", "seconds")


HIDDEN = {"linear": 0, "one hidden layer": 1, "two hidden layers": 2}
AS_LONG = {"fashion-mnist": 10, "fashion-mnist-mini": 30}  # as in the other recordings of these data


@recording({"data": tuple(AS_LONG), "network": tuple(HIDDEN)})
def shallow(lab: Lab, data: str, network: str) -> list[Row]:
    """Choose a learning rate on a validation set, and train with it."""
    images, num_epochs, depth = lab.load(data), AS_LONG[data], HIDDEN[network]

    def train(lr: float, seed: int, fraction: float = 0.0) -> Trained:
        model = models.mlp(depth=depth, connection="plain", seed=seed) if depth else linear_classifier(seed)
        return lab.train(
            model,
            images,
            num_epochs=num_epochs,
            lr=lr,
            seed=seed,
            validation_fraction=fraction,
            population_statistics=True,
        )

    choices = [
        {"lr": lr, "seed": 100} | train(lr, 100, fraction=0.1).row("validation_accuracy") for lr in LRS
    ]
    best = max(choices, key=lambda choice: choice["validation_accuracy"])["lr"]
    tests = [(seed, train(best, seed)) for seed in (SEEDS[:1] if lab.is_quick else SEEDS)]
    return choices + [
        {"lr": best, "seed": seed} | run.row("test_accuracy") | run.last_epoch for seed, run in tests
    ]


SCENES: dict[str, Row] = {
    "master": {"has_slave": False},
    "wide master": {"has_slave": False, "width": 12},  # with about as many parameters as those with a slave
    "slave, sum": {"combine": "sum"},
    "slave, concat": {"combine": "concat"},
}


@recording(
    {"network": "background everywhere", "seed": 0},
    {"network": tuple(SCENES), "seed": SEEDS},
)
def backward_skips(lab: Lab, network: str, seed: int) -> Row:
    """Train one network to label pixels; the answer "background everywhere" needs no training."""
    sizes = {"num_train": 100, "num_test": 50} if lab.is_quick else {}
    scenes = segmentation.scenes(lab.load(), **sizes)
    model: Any = nn.Identity()  # given the answer, not the scenes
    shown = torch.zeros(len(scenes.test_labels), scenes.num_classes, *scenes.test_labels.shape[1:])
    shown[:, 0] = 1.0
    seconds = 0.0
    if network in SCENES:
        model, shown = models.msnet(seed=seed, **SCENES[network]), scenes.test_images
        seconds = lab.train(model, scenes, num_epochs=8, batch_size=50, lr=1e-2, seed=seed).result.seconds
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "pixel_accuracy": round(training.accuracy(model, shown, scenes.test_labels), 4),
        "mean_iou": round(segmentation.mean_iou(model, shown, scenes.test_labels, scenes.num_classes), 4),
        "seconds": round(seconds, 1),
    }
