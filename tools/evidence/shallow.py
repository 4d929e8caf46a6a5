"""How far a linear classifier and networks of one and two hidden layers come on the data of the other claims."""

from itertools import product
from typing import Any

import torch
from torch import nn

from tools.results import Recording
from van_tutorial import data, models, training

LRS = (0.001, 0.003, 0.01)
CHOICE_SEED, SEEDS = 100, (0, 1, 2)
NUM_EPOCHS = {"fashion-mnist": 10, "fashion-mnist-mini": 30}  # as in the claims that use these data
DEPTHS = {"linear": 0, "one hidden layer": 1, "two hidden layers": 2}
QUESTION = (
    "How accurate are a linear classifier and plain networks of one and two layers, width 32, batch normalization? "
    "All of Fashion-MNIST, 10 epochs, and its embedded subset, 30 epochs, as in the other claims. The learning "
    "rate is the best of three on a validation set of a tenth of the training images."
)


def make(depth: int, seed: int) -> nn.Module:
    """Return a plain network; without hidden layers a linear classifier."""
    if depth:
        return models.mlp(depth=depth, connection="plain", seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def train_once(
    depth: int, images: data.Images, num_epochs: int, lr: float, seed: int, is_choice: bool = False
) -> training.TrainResult:
    """Train one network; to choose with, on nine tenths of the training images."""
    config = training.TrainConfig(
        num_epochs=num_epochs,
        lr=lr,
        seed=seed,
        validation_fraction=0.1 if is_choice else 0.0,
        population_statistics=True,
        device="cpu",
    )
    return training.train(make(depth, seed), images, config)


def measure(recording: Recording, is_quick: bool = False) -> list[dict[str, Any]]:
    """Choose a learning rate for each network on a validation set, train with it, and return the rows.

    Args:
        recording: of the file.
        is_quick: two epochs of the embedded images, one seed.
    """
    rows: list[dict[str, Any]] = []
    for name, (network, depth) in product(["fashion-mnist-mini"] if is_quick else NUM_EPOCHS, DEPTHS.items()):
        images, num_epochs = data.load(name), 2 if is_quick else NUM_EPOCHS[name]
        who = {"network": network, "data": name}
        choices: dict[float, float] = {}
        for lr in LRS:
            value = train_once(depth, images, num_epochs, lr, CHOICE_SEED, is_choice=True).validation_accuracy
            choices[lr] = round(float(value or 0.0), 4)
            rows.append(who | {"lr": lr, "seed": CHOICE_SEED, "validation_accuracy": choices[lr]})
        best = max(choices, key=lambda lr: choices[lr])
        for seed in SEEDS[: 1 if is_quick else None]:
            result = train_once(depth, images, num_epochs, best, seed)
            row = who | {"lr": best, "seed": seed, "test_accuracy": round(result.test_accuracy, 4)}
            rows.append(row | {"train_accuracy": round(float(result.history["train_accuracy"].iloc[-1]), 4)})
            print(recording.write(rows), row, flush=True)
    return rows
