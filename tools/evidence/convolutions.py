"""What a better start brings convolutional networks of 56 and 110 layers, with skips that go and without."""

from itertools import product
from typing import Any

from tools.record_convolutional_mini import NUM_EPOCHS, WIDTH, small_images, summarize
from tools.results import Recording
from van_tutorial import models, training

SEEDS = (0, 1, 2, 3, 4)
DEPTHS = (56, 110)
SHIFTS = (0.0, 0.5, 1.0, 2.0)
# How the network is made, and how it is trained, where that is not the default.
NETWORKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "residual": ({"connection": "residual"}, {}),
    **{f"plain, BatchNorm bias {shift:g}": ({"norm_shift": shift}, {}) for shift in SHIFTS},
    **{
        f"VAN, simultaneously, BatchNorm bias {shift:g}": (
            {"connection": "van", "norm_shift": shift},
            {"stagger": 0.0},
        )
        for shift in (0.0, 1.0)
    },
    **{
        f"VAN, additive, sequentially, BatchNorm bias {shift:g}": (
            {"connection": "van", "skip": "additive", "skip_weight": 1.0, "norm_shift": shift},
            {},
        )
        for shift in (0.0, 1.0)
    },
}

QUESTION = (
    "How accurate are convolutional networks of 56 and 110 layers whose BatchNorm biases are initialized at 0, 0.5, 1 "
    "and 2, with skips, without, and with skips that are phased out? The embedded 5,000 training images of "
    f"Fashion-MNIST at 14 by 14 pixels, {WIDTH}, {2 * WIDTH} and {4 * WIDTH} channels, {NUM_EPOCHS} epochs, the "
    "library's learning rates; test accuracy in eval mode, of the VAN after its collapse. *Settled*: with the "
    "statistics of all training images in place of the running averages."
)


def measure(recording: Recording, is_quick: bool = False) -> list[dict[str, Any]]:
    """Train everything that is not there yet, write the file after each run, and return the rows.

    Args:
        recording: of the file.
        is_quick: networks of 8 layers for one epoch.
    """
    images = small_images()
    rows = recording.resume()
    there = {(row["network"], row["depth"], row["seed"]) for row in rows}
    depths, num_epochs = ((8,), 1) if is_quick else (DEPTHS, NUM_EPOCHS)
    for seed, name, depth in product(SEEDS[: 1 if is_quick else None], NETWORKS, depths):
        if (name, depth, seed) in there:
            continue
        choices, changes = NETWORKS[name]
        model = models.convnet(
            **{"connection": "plain"} | choices, depth=depth, width=WIDTH, in_channels=1, seed=seed
        )
        config = training.TrainConfig(
            num_epochs=num_epochs, channels_last=True, seed=seed, device="cpu", **changes
        )
        result = training.train(model, images, config)
        row = {"network": name, "depth": depth, "seed": seed, **summarize(model, result, images)}
        training.settle_statistics(model, images.train_images)
        settled = training.accuracy(model, images.test_images, images.test_labels)
        rows.append(row | {"settled_accuracy": round(settled, 4)})
        print(recording.write(rows), rows[-1], flush=True)
    return rows
