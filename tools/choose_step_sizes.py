"""Choose step sizes on held-out training images; the test images are not looked at.

    python -m tools.choose_step_sizes

One fifth of the embedded training images is held out; seeds 10, 11 and 12. Writes
assets/results/step_sizes_mini.json. Takes about 15 minutes on one core.
"""

import argparse
from itertools import product
from typing import Any

from tools.record_phase_out import NUM_EPOCHS
from tools.results import Recording
from van_tutorial import data, models, training

SEEDS = (10, 11, 12)
LRS = (1e-3, 3e-3, 1e-2)
SKIP_LRS = (3e-4, 1e-3, 3e-3)
SPREADS = (2.0, 5.0, 10.0)


def grid() -> list[tuple[str, dict[str, Any]]]:
    """Return connection and step sizes of every setting that is tried."""
    settings: list[tuple[str, dict[str, Any]]] = [
        (connection, {"lr": lr}) for connection in ("plain", "residual") for lr in LRS
    ]
    settings += [("van", {"lr": lr, "skip_lr": skip_lr}) for lr, skip_lr in product(LRS, SKIP_LRS)]
    settings += [("van", {"dual_lr_spread": spread}) for spread in SPREADS if spread != 5.0]
    return settings


def main() -> None:
    """Train everything and write the file."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    recording = Recording(
        "step_sizes_mini",
        "Which step sizes are best on held-out training images? Embedded Fashion-MNIST subset, fully connected, "
        "depth 40, width 32, batch normalization, 30 epochs, 4,000 images to train on and 1,000 held out.",
        "python -m tools.choose_step_sizes",
    )
    images = data.load()
    runs: list[dict[str, Any]] = []
    for seed, (connection, step_sizes) in product(SEEDS, grid()):
        config = training.TrainConfig(num_epochs=NUM_EPOCHS, seed=seed, validation_fraction=0.2, **step_sizes)
        model = models.mlp(connection=connection, seed=seed)
        result = training.train(model, images, config)
        runs.append(
            {
                "network": connection,
                "seed": seed,
                "lr": config.lr,
                "skip_lr": config.skip_lr,
                "dual_lr_spread": config.dual_lr_spread,
                "validation_accuracy": result.validation_accuracy,
                "skips_left": models.num_skips(model),
                "removed_by": result.removed_by,
                "seconds": round(result.seconds, 1),
            }
        )
        print(runs[-1], flush=True)
    print(recording.write(runs))


if __name__ == "__main__":
    main()
