"""How accurate convolutional networks are, with skips, without, and with skips that are phased out."""

from dataclasses import replace
from typing import Any

from torch.nn.functional import avg_pool2d

from tools.recordings.lab import ALL_AT_ONCE, SEEDS, Lab, Row, Trained, recording
from van_tutorial import data, models, training

REMOVED = ("skips_left", "removed_at_step", "removed_by")


def halved(images: data.Images) -> data.Images:
    """Return images of half the height and width, of means over 2 by 2 pixels."""
    train, test = (avg_pool2d(part, 2) for part in (images.train_images, images.test_images))
    return replace(images, train_images=train, test_images=test)


def train(lab: Lab, images: data.Images, choices: Row, **settings: Any) -> Trained:
    """Train a convolutional network whose seed is that of its training."""
    in_channels = images.train_images.shape[1]
    model = models.convnet(in_channels=in_channels, seed=settings["seed"], **choices)
    return lab.train(model, images, channels_last=True, **settings)


@recording({"depth": (20, 56), "network": ("plain", "residual", "van"), "seed": SEEDS})
def convolutional_mini(lab: Lab, depth: int, network: str, seed: int) -> Row:
    """Train one small network on small images."""
    choices = {"depth": depth, "width": 4, "connection": network}
    run = train(lab, halved(lab.load()), choices, num_epochs=8, seed=seed, **ALL_AT_ONCE)
    return run.row("train_accuracy", "test_accuracy", *REMOVED, "num_steps", "seconds")


TAT: Row = {"activation": "tat", "init": "delta-orthogonal"}  # as its paper initializes convolutions
# How the network differs from a plain one, and its training from the default.
BETTER_STARTS: dict[str, tuple[Row, Row]] = {
    "residual": ({"connection": "residual"}, {}),
    **{f"plain, BatchNorm bias {shift:g}": ({"norm_shift": shift}, {}) for shift in (0.0, 0.5, 1.0, 2.0)},
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
    # Their controls: starts that need no skip, and the best of them with skips that stay or are phased out.
    "plain, TAT": (TAT, {}),
    "plain, BatchNorm bias 1, delta-orthogonal": ({"norm_shift": 1.0, "init": "delta-orthogonal"}, {}),
    "residual, lr 0.01": ({"connection": "residual"}, {"lr": 1e-2}),
    "plain, TAT, lr 0.01": (TAT, {"lr": 1e-2}),
    "residual, TAT": ({"connection": "residual", **TAT}, {}),
    "VAN, simultaneously, TAT": ({"connection": "van", **TAT}, {"stagger": 0.0}),
    "looks-linear, lr 0.001": (
        {"activation": "crelu", "init": "looks-linear", "normalization": "none"},
        {"lr": 1e-3},
    ),
}


@recording({"seed": (0, 1, 2, 3, 4), "network": tuple(BETTER_STARTS), "depth": (56, 110)})
def convolutions(lab: Lab, seed: int, network: str, depth: int) -> Row:
    """Train one small network on small images, and take the statistics of its normalization once more."""
    changes, settings = BETTER_STARTS[network]
    choices = {"connection": "plain", "depth": depth, "width": 4, **changes}
    images = halved(lab.load())
    run = train(lab, images, choices, num_epochs=8, seed=seed, **settings)
    row = run.row("train_accuracy", "test_accuracy", *REMOVED, "num_steps", "seconds")
    training.settle_statistics(run.model, images.train_images)
    settled = training.accuracy(run.model, images.test_images, images.test_labels)
    return row | {"settled_accuracy": round(settled, 4)}
