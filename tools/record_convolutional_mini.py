"""Record plain, residual and VAN convolutional networks of 20 and 56 layers on the embedded images, three seeds.

    python -m tools.record_convolutional_mini

Images of 14 by 14 pixels (means over 2 by 2), width 4, batch normalization, 8 epochs; learning rates are the library's
defaults, nothing was tuned. Accuracy in eval mode, of the VAN after its collapse. Takes about ten minutes on one core.
"""

import argparse
import dataclasses
from itertools import product
from typing import Any

from torch.nn import functional

from tools.results import ALL_AT_ONCE, Recording
from van_tutorial import data, models, training

SEEDS = (0, 1, 2)
DEPTHS = (20, 56)
CONNECTIONS = ("plain", "residual", "van")
WIDTH = 4
NUM_EPOCHS = 8


def small_images() -> data.Images:
    """Return the embedded images at 14 by 14 pixels."""
    images = data.load()
    return dataclasses.replace(
        images,
        train_images=functional.avg_pool2d(images.train_images, 2),
        test_images=functional.avg_pool2d(images.test_images, 2),
    )


def train_once(images: data.Images, depth: int, connection: str, seed: int) -> dict[str, Any]:
    """Train one network and return its row."""
    model = models.convnet(depth=depth, width=WIDTH, connection=connection, in_channels=1, seed=seed)
    config = training.TrainConfig(
        num_epochs=NUM_EPOCHS, channels_last=True, seed=seed, device="cpu", **ALL_AT_ONCE
    )
    result = training.train(model, images, config)
    return {"network": connection, "depth": depth, "seed": seed, **summarize(model, result, images)}


def summarize(model: models.Stack, result: training.TrainResult, images: data.Images) -> dict[str, Any]:
    """Return what is recorded of a network that was trained; a VAN is collapsed first."""
    skips_left = models.num_skips(model)
    if model.config.connection == "van":
        model = models.collapse(model)
    return {
        "train_accuracy": round(training.accuracy(model, images.train_images, images.train_labels), 4),
        "test_accuracy": round(training.accuracy(model, images.test_images, images.test_labels), 4),
        "skips_left": skips_left,
        "removed_at_step": result.removed_at_step,
        "removed_by": result.removed_by,
        "num_steps": result.num_steps,
        "seconds": round(result.seconds, 1),
    }


def main() -> None:
    """Train everything and write the file."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    recording = Recording(
        "convolutional_mini",
        "How accurate are plain, residual and VAN convolutional networks of 20 and 56 layers? Embedded Fashion-MNIST "
        f"subset at 14 by 14 pixels, {WIDTH}, {2 * WIDTH} and {4 * WIDTH} channels, batch normalization, "
        f"{NUM_EPOCHS} epochs; accuracy in eval mode, of the VAN after its collapse.",
        "python -m tools.record_convolutional_mini",
    )
    images = small_images()
    runs = []
    for depth, connection, seed in product(DEPTHS, CONNECTIONS, SEEDS):
        runs.append(train_once(images, depth, connection, seed))
        print(runs[-1], flush=True)
    print(recording.write(runs))


if __name__ == "__main__":
    main()
