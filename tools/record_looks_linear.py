"""Record whether networks without skips and without normalization can be deep, by their initialization alone.

    python -m tools.record_looks_linear

Embedded images, fully connected, 10 epochs. Three experiments, told apart by the column `experiment`:

    steps    depth 40, seeds 10 and 11, four step sizes, accuracy on a fifth of the training images, held out
    depth    depths 20, 40 and 80, seeds 0, 1 and 2, with the step size that `steps` found best for the network
    course   of the networks of depth 40, after every epoch in eval mode: the mean correlation between the gradients at
             pairs of the first 64 test images (output for class 0), and the bend: how far f at the middle of two
             images is off the middle of f, as a share of half the distance of f at the two

Width 32; 23 with crelu, which makes as many weights. Takes about nine minutes on one core.
"""

import argparse
import math
from collections.abc import Mapping
from itertools import product
from typing import Any

import pandas as pd
import torch
from torch import nn

from tools.record_phase_out import SEEDS
from tools.results import Recording
from van_tutorial import data, diagnostics, models, training

CHOOSING_SEEDS = (10, 11)
LRS = (3e-4, 1e-3, 3e-3, 1e-2)
DEPTHS = (20, 40, 80)
DEPTH = 40
NUM_EPOCHS = 10
BARE: dict[str, Any] = {"connection": "plain", "normalization": "none"}
NETWORKS: dict[str, dict[str, Any]] = {
    "relu, He": BARE,
    "relu, orthogonal": {**BARE, "init": "orthogonal"},
    "crelu, He": {**BARE, "activation": "crelu", "width": 23},
    "selu, LeCun": {**BARE, "activation": "selu", "init": "lecun"},
    "tanh, orthogonal": {**BARE, "activation": "tanh", "init": "orthogonal"},
    "looks-linear": {**BARE, "activation": "crelu", "init": "looks-linear", "width": 23},
    "residual, batch norm": {"connection": "residual"},
}
LINEAR = "one linear layer"


def make(name: str, depth: int, seed: int) -> nn.Module:
    """Return a network of `NETWORKS`, or a linear classifier."""
    if name == LINEAR:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    return models.mlp(depth=depth, seed=seed, **NETWORKS[name])


def train_once(
    model: nn.Module, images: data.Images, recorder: diagnostics.Recorder | None = None, **choices: Any
) -> tuple[dict[str, float], pd.DataFrame]:
    """Train, and return the accuracies at the end and the history; those of guessing where it diverged."""
    config = training.TrainConfig(num_epochs=NUM_EPOCHS, device="cpu", **choices)
    trainer = training.Trainer(model, images, config)
    try:
        for record in trainer:
            if recorder is not None:
                recorder(record, model)
    except training.DivergenceError as error:
        print(error)
    result = trainer.result()
    if not result.is_complete:
        names = ("train_accuracy", "test_accuracy", "validation_accuracy")
        return dict.fromkeys(names, 0.1), result.history  # that of guessing
    row = {
        "train_accuracy": round(training.accuracy(model, images.train_images, images.train_labels), 4),
        "test_accuracy": round(result.test_accuracy, 4),
        "seconds": round(result.seconds, 1),
    }
    if result.validation_accuracy is not None:
        row["validation_accuracy"] = round(result.validation_accuracy, 4)
    return row, result.history


@torch.no_grad()
def bend(model: nn.Module, images: data.Images) -> float:
    """Return how far the middle of two images is off the straight line between their outputs, in eval mode."""
    mode = model.training
    model.eval()
    one, other = images.test_images[:500], images.test_images[500:]
    at_one, at_other, between = model(one), model(other), model((one + other) / 2)
    model.train(mode)
    off = between - (at_one + at_other) / 2
    return (off.norm() / ((at_one - at_other) / 2).norm()).item()


def correlation(model: nn.Module, images: data.Images) -> float:
    """Return the mean correlation between the gradients at pairs of images, in eval mode."""
    mode = model.training
    model.eval()
    pairs = diagnostics.gradient_correlation(model, images.test_images[:64], output=0)
    model.train(mode)
    return diagnostics.pair_correlation(pairs)


def choose(images: data.Images) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Return the runs with every step size, and the best step size of each network on held-out images."""
    runs = []
    for name, lr, seed in product((*NETWORKS, LINEAR), LRS, CHOOSING_SEEDS):
        row, _ = train_once(make(name, DEPTH, seed), images, lr=lr, seed=seed, validation_fraction=0.2)
        del row["train_accuracy"], row["test_accuracy"]
        runs.append({"experiment": "steps", "network": name, "depth": DEPTH, "seed": seed, "lr": lr, **row})
        print(runs[-1], flush=True)
    means = pd.DataFrame(runs).groupby(["network", "lr"])["validation_accuracy"].mean()
    return runs, {name: float(means[name].idxmax()) for name in (*NETWORKS, LINEAR)}


def main() -> None:
    """Train everything and write the file."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    recording = Recording(
        "looks_linear_mini",
        "How accurate are networks of 20, 40 and 80 layers without skip-connections and without normalization, by "
        "their initialization, and how non-linear do they become? Embedded Fashion-MNIST subset, fully connected, 10 "
        "epochs, each with the best of four step sizes on held-out images.",
        "python -m tools.record_looks_linear",
    )
    images = data.load()
    runs, lrs = choose(images)
    for name, depth, seed in product((*NETWORKS, LINEAR), DEPTHS, SEEDS):
        if name == LINEAR and depth != DEPTH:
            continue
        model = make(name, depth, seed)
        recorder = diagnostics.Recorder(
            1, correlation=lambda model: correlation(model, images), bend=lambda model: bend(model, images)
        )
        at_start = {"epoch": 0, "correlation": correlation(model, images), "bend": bend(model, images)}
        row, history = train_once(model, images, recorder, lr=lrs[name], seed=seed)
        head = {"network": name, "depth": depth, "seed": seed}
        runs.append({"experiment": "depth", **head, "lr": lrs[name], **row})
        print(runs[-1], flush=True)
        if depth == DEPTH:
            columns = ["epoch", "correlation", "bend", "test_accuracy"]
            after: list[Any] = [at_start, *history[columns].to_dict("records")]
            runs += [{"experiment": "course", **head, **rounded(moment)} for moment in after]
    print(recording.write(runs))


def rounded(moment: Mapping[Any, float]) -> dict[Any, float | None]:
    """Return the values with as many digits as count; None where there was no gradient to correlate."""
    return {name: None if math.isnan(value) else round(value, 5) for name, value in moment.items()}


if __name__ == "__main__":
    main()
