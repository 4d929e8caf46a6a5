"""Whether networks without skips and without normalization can be deep, by their initialization alone."""

import math
from functools import partial
from itertools import product
from typing import Any

import pandas as pd
import torch
from torch import nn

from tools.recordings.gradients import correlation
from tools.recordings.lab import SEEDS, Lab, Row, Trained, linear_classifier, recording
from van_tutorial import data, diagnostics, models
from van_tutorial._modes import modes_kept

LRS = (3e-4, 1e-3, 3e-3, 1e-2)
LINEAR = "one linear layer"
BARE: Row = {"connection": "plain", "normalization": "none"}
NETWORKS: dict[str, Row] = {
    "relu, He": BARE,
    "relu, orthogonal": {**BARE, "init": "orthogonal"},
    "crelu, He": {**BARE, "activation": "crelu", "width": 23},  # which makes as many weights as 32 without
    "selu, LeCun": {**BARE, "activation": "selu", "init": "lecun"},
    "tanh, orthogonal": {**BARE, "activation": "tanh", "init": "orthogonal"},
    "looks-linear": {**BARE, "activation": "crelu", "init": "looks-linear", "width": 23},
    "residual, batch norm": {"connection": "residual"},
}


@recording({"network": (*NETWORKS, LINEAR)})
def looks_linear_mini(lab: Lab, network: str) -> list[Row]:
    """Choose a learning rate for a network (experiment "steps"), and train with it at every depth ("depth").

    At depth 40 also measure it after every epoch, in eval mode ("course").
    """
    images = lab.load()
    lrs, choosing, seeds = (LRS[:1], (10,), SEEDS[:1]) if lab.is_quick else (LRS, (10, 11), SEEDS)
    rows: list[Row] = []
    for lr, seed in product(lrs, choosing):
        run = train(lab, make(network, 40, seed), images, lr=lr, seed=seed, validation_fraction=0.2)
        row = {"experiment": "steps", "depth": 40, "seed": seed, "lr": lr}
        rows.append(row | outcome(run, "seconds", "validation_accuracy"))
    best: Any = pd.DataFrame(rows).groupby("lr")["validation_accuracy"].mean().idxmax()
    for depth, seed in product((40,) if network == LINEAR or lab.is_quick else (20, 40, 80), seeds):
        model, head = make(network, depth, seed), {"depth": depth, "seed": seed}
        measures = {"correlation": partial(correlation, images=images), "bend": partial(bend, images=images)}
        start = {"epoch": 0, **{name: measure(model) for name, measure in measures.items()}}
        recorder = diagnostics.Recorder(1, **measures) if depth == 40 else None
        run = train(lab, model, images, recorder, lr=best, seed=seed)
        final = outcome(run, "train_accuracy", "test_accuracy", "seconds")
        rows.append({"experiment": "depth", **head, "lr": best, **final})
        if recorder is not None:
            course = run.result.history[["epoch", *measures, "test_accuracy"]].to_dict("records")
            rows += [{"experiment": "course", **head, **rounded(moment)} for moment in (start, *course)]
    return rows


def make(network: str, depth: int, seed: int) -> nn.Module:
    """Return a network of `NETWORKS`, or a linear classifier."""
    if network == LINEAR:
        return linear_classifier(seed)
    return models.mlp(depth=depth, seed=seed, **NETWORKS[network])


def train(lab: Lab, model: nn.Module, images: data.Images, recorder: Any = None, **settings: Any) -> Trained:
    """Train for 10 epochs, or as long as the loss is finite."""
    return lab.finish(
        lab.trainer(model, images, num_epochs=10, **settings), images, recorder, may_diverge=True
    )


def outcome(run: Trained, *names: str) -> Row:
    """Return the results; chance where the training diverged."""
    if run.result.is_complete:
        return run.row(*names)
    return dict.fromkeys([name for name in names if name != "seconds"], 0.1)


@torch.no_grad()
def bend(model: nn.Module, images: data.Images) -> float:
    """Return how far f at the middle of two images is off the middle of f, over half the distance of f at the two."""
    one, other = images.test_images[:500], images.test_images[500:]
    with modes_kept(model):
        model.eval()
        at_one, at_other, between = model(one), model(other), model((one + other) / 2)
    off = between - (at_one + at_other) / 2
    return (off.norm() / ((at_one - at_other) / 2).norm()).item()


def rounded(moment: Any) -> Row:
    """Return the values with as many digits as count; None where there was no gradient to correlate."""
    return {name: None if math.isnan(value) else round(value, 5) for name, value in moment.items()}
