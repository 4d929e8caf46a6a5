"""Record plain, residual and VAN convolutional networks on CIFAR-10, 20 and 56 layers.

    python -m tools.record_cifar10

Width 8 (half of the published networks), batch normalization, 4 epochs, random crops and flips; learning rates are the
library's defaults, nothing was tuned. Takes about five hours on one core; a run that is in the file is not repeated,
so it can be stopped and started again. Needs the full CIFAR-10 (`van-tutorial data verify` tells where it is looked
for).
"""

import argparse
from typing import Any

from tools.results import ALL_AT_ONCE, Recording
from van_tutorial import data, models, training

SEEDS = (0, 1, 2)
DEPTHS = (20, 56)
NETWORKS: dict[str, dict[str, Any]] = {  # with how skips go where they do
    "plain": {},
    "residual": {},
    "van": ALL_AT_ONCE,
    "van, one after the other": {"stagger": 0.9},
}
WIDTH = 8
NUM_EPOCHS = 4
COMMAND = "python -m tools.record_cifar10"
QUESTION = (
    "How accurate are plain, residual and VAN convolutional networks of 20 and 56 layers after a few epochs of "
    f"CIFAR-10? The family of He et al. at half its width ({WIDTH}, {2 * WIDTH}, {4 * WIDTH} channels), batch "
    f"normalization, {NUM_EPOCHS} epochs, random crops and flips, Adam at the library's default learning rates; "
    "test accuracy in eval mode, of the VAN after its collapse."
)


def train_once(
    images: data.Images,
    depth: int,
    network: str,
    seed: int,
    width: int = WIDTH,
    num_epochs: int = NUM_EPOCHS,
) -> dict[str, Any]:
    """Train one network and return its row."""
    in_channels = images.train_images.shape[1]
    connection = network.partition(",")[0]
    model = models.convnet(
        depth=depth, width=width, connection=connection, in_channels=in_channels, seed=seed
    )
    config = training.TrainConfig(
        num_epochs=num_epochs, augment="crop-flip", channels_last=True, seed=seed, **NETWORKS[network]
    )
    result = training.train(model, images, config)
    skips_left = models.num_skips(model)
    if connection == "van":
        model = models.collapse(model)
    test = training.accuracy(model.cpu(), images.test_images, images.test_labels)
    return {
        "network": network,
        "depth": depth,
        "seed": seed,
        "test_accuracy": round(test, 4),
        "train_accuracy": round(float(result.history["train_accuracy"].iloc[-1]), 4),
        "accuracy_by_epoch": [round(value, 4) for value in result.history["test_accuracy"]],
        "num_skips": len(model.layers) if connection != "plain" else 0,
        "skips_left": skips_left,
        "removed_at_step": result.removed_at_step,
        "removed_by": result.removed_by,
        "num_capped": result.num_capped,
        "num_steps": result.num_steps,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "seconds": round(result.seconds),
    }


def measure(recording: Recording, is_quick: bool = False) -> list[dict[str, Any]]:
    """Train everything that is not there yet, write the file after each run, and return the rows.

    Args:
        recording: of the file.
        is_quick: shallow and narrow networks for one epoch of the embedded images, to see that it runs.
    """
    images = data.load() if is_quick else data.load("cifar10")
    runs = recording.resume()
    for seed in SEEDS[: 1 if is_quick else None]:
        for depth in (8,) if is_quick else DEPTHS:
            for network in NETWORKS:
                key = {"network": network, "depth": depth, "seed": seed}
                if not any(key.items() <= run.items() for run in runs):
                    size = {"width": 2, "num_epochs": 1} if is_quick else {}
                    runs.append(train_once(images, depth, network, seed, **size))
                    print(runs[-1], recording.write(runs), flush=True)
    return runs


def main() -> None:
    """Train everything that is not there yet."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    measure(Recording("cifar10", QUESTION, COMMAND))


if __name__ == "__main__":
    main()
