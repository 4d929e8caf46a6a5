"""Record how accurate plain, residual, highway and ReZero networks are by depth, and what highway gates begin with.

    python -m tools.record_skip_connections

Depths 10, 40, 80, width 32, 10 epochs on the embedded images, seeds 0, 1, 2; batch normalization, but none in ReZero,
which is meant to do without. Then highway networks of depth 40 with transform biases 0, -1, -3 and -5, with batch
normalization and without. Step sizes are the library's defaults; nothing was tuned here. Takes about seven minutes on
one core.
"""

import argparse
from itertools import product
from typing import Any

import torch
from torch import nn

from tools.record_phase_out import SEEDS
from tools.results import Recording
from van_tutorial import data, models, training

NUM_EPOCHS = 10
WIDTH = 32
DEPTHS = (10, 40, 80)
# Name, connection, normalization.
NETWORKS = (
    ("plain", "plain", "batch"),
    ("residual", "residual", "batch"),
    ("highway", "highway", "batch"),
    ("rezero", "rezero", "none"),
)
GATE_DEPTH = 40
BIASES = (0.0, -1.0, -3.0, -5.0)


@torch.no_grad()
def shares(model: models.MLP, images: data.Images) -> list[float] | None:
    """Return by layer the mean of T(x) over units and test images, or s of ReZero; None where there are neither."""
    layers: list[Any] = list(model.layers)
    if model.config.connection == "rezero":
        return [round(layer.connection.scale.item(), 4) for layer in layers]
    if model.config.connection != "highway":
        return None
    x, gates = model.input_layer(images.test_images.flatten(1)), []
    for layer in layers:
        gates.append(round(layer.connection.gate(x).sigmoid().mean().item(), 4))
        x = layer(x, None)
    return gates


def train_once(
    images: data.Images, name: str, depth: int, seed: int, bias: float | None, **choices: Any
) -> dict[str, Any]:
    """Train one network and return its row; `bias` replaces the transform bias of a highway network."""
    model = models.mlp(depth=depth, width=WIDTH, seed=seed, **choices)
    if choices["connection"] == "highway":
        layers: list[Any] = list(model.layers)
        for layer in layers:
            if bias is not None:
                nn.init.constant_(layer.connection.gate.bias, bias)
        bias = layers[0].connection.gate.bias[0].item()
    config = training.TrainConfig(num_epochs=NUM_EPOCHS, seed=seed, device="cpu")
    result = training.train(model, images, config)
    return {
        "network": name,
        "depth": depth,
        "seed": seed,
        "normalization": choices["normalization"],
        "transform_bias": bias,
        "train_accuracy": round(training.accuracy(model, images.train_images, images.train_labels), 4),
        "test_accuracy": round(result.test_accuracy, 4),
        "shares": shares(model, images),
        "seconds": round(result.seconds, 1),
    }


def main() -> None:
    """Train everything and write the file."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    recording = Recording(
        "skip_connections_mini",
        "How accurate are plain, residual, highway and ReZero networks of growing depth, and does the initial bias of "
        "highway gates matter? Embedded Fashion-MNIST subset, fully connected, width 32, 10 epochs; accuracy in "
        "eval mode; shares: by layer the mean of T(x) over the test images, or s of ReZero, after training.",
        "python -m tools.record_skip_connections",
    )
    images = data.load()
    runs = []
    for (name, connection, normalization), depth, seed in product(NETWORKS, DEPTHS, SEEDS):
        choices = {"connection": connection, "normalization": normalization}
        runs.append(train_once(images, name, depth, seed, None, **choices))
        print(runs[-1], flush=True)
    for normalization, bias, seed in product(("batch", "none"), BIASES, SEEDS):
        choices = {"connection": "highway", "normalization": normalization}
        runs.append(
            train_once(images, f"highway, {normalization}, bias {bias:g}", GATE_DEPTH, seed, bias, **choices)
        )
        print(runs[-1], flush=True)
    print(recording.write(runs))


if __name__ == "__main__":
    main()
