"""Record whether a VAN's gradients shatter while its skips go, beside a plain and a residual network.

    python -m tools.record_van_gradients

Depth 40, width 32, batch normalization, 30 epochs on the embedded images, seeds 0, 1, 2. After every epoch, in eval
mode and for the first class's output: the mean correlation between the gradients at pairs of the first 64 test images,
and the distance over which gradients stay correlated on straight lines between images. Takes about two minutes on one
core.
"""

import argparse
from itertools import product
from typing import Any

from torch import nn

from tools.record_phase_out import NUM_EPOCHS, SEEDS
from tools.results import Recording
from van_tutorial import data, diagnostics, models, training

NUM_LINES = 8
NUM_POINTS = 513


def measure(model: nn.Module, images: data.Images) -> dict[str, float]:
    """Return how strongly gradients at different images are correlated, and on lines between images, in eval mode."""
    mode = model.training
    model.eval()
    shown = images.test_images[:64]
    pairs = diagnostics.pair_correlation(diagnostics.gradient_correlation(model, shown, output=0))
    curves = []
    for start, end in zip(shown[:NUM_LINES], shown[NUM_LINES:], strict=False):
        path = diagnostics.straight_path(start, end, NUM_POINTS)
        gradients = diagnostics.input_gradients(model, path, output=0)
        curves.append(diagnostics.gradient_autocorrelation(gradients, NUM_POINTS // 2))
    model.train(mode)
    length = diagnostics.correlation_length(sum(curves[1:], curves[0]) / len(curves), 1.0 / (NUM_POINTS - 1))
    return {"pair_correlation": round(pairs, 4), "correlation_length": round(length, 4)}


def main() -> None:
    """Train everything and write the file."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    recording = Recording(
        "van_gradients_mini",
        "Do the gradients of a VAN shatter while its skips are removed? Embedded Fashion-MNIST subset, depth 40, width "
        "32, batch normalization, 30 epochs, eval mode, output of class 0: mean correlation between the gradients at "
        "pairs of 64 test images, and the share of a straight line between two images after which it falls to 1/e.",
        "python -m tools.record_van_gradients",
    )
    images = data.load()
    rows: list[dict[str, Any]] = []
    for network, seed in product(("plain", "residual", "van"), SEEDS):
        model = models.mlp(connection=network, seed=seed)
        trainer = training.Trainer(
            model, images, training.TrainConfig(num_epochs=NUM_EPOCHS, seed=seed, device="cpu")
        )
        for record in trainer:
            alphas = record.skip_weights
            rows.append(
                {
                    "network": network,
                    "seed": seed,
                    "epoch": round(record.epoch),
                    "mean_skip_weight": round(alphas.mean().item(), 4) if len(alphas) else None,
                    "test_accuracy": round(record.test_accuracy, 4),
                    **measure(model, images),
                }
            )
        print(rows[-1], flush=True)
    print(recording.write(rows))


if __name__ == "__main__":
    main()
