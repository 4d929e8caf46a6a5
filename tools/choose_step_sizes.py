"""Choose step sizes on held-out training images; the test images are not looked at.

    python -m tools.choose_step_sizes

One fifth of the embedded training images is held out; seeds 10, 11 and 12. Writes
assets/results/step_sizes_mini.json. Takes about four minutes on one core.
"""

import argparse
from itertools import product
from typing import Any

from tools.record_phase_out import NUM_EPOCHS
from tools.results import Recording
from van_tutorial import data, ensemble, models, training

SEEDS = (10, 11, 12)
LRS = (1e-3, 3e-3, 1e-2)
SKIP_LRS = (3e-4, 1e-3, 3e-3)
SPREAD = 5.0  # with all multipliers rising at once, those of the input side faster
STAGGERS = (-0.9, 0.5)


def grid(connection: str) -> list[dict[str, Any]]:
    """Return the step sizes that are tried for a connection."""
    if connection != "van":
        return [{"lr": lr} for lr in LRS]
    settings: list[dict[str, Any]] = [
        {"lr": lr, "skip_lr": skip_lr} for lr, skip_lr in product(LRS, SKIP_LRS)
    ]
    settings += [{"stagger": 0.0, "dual_lr_spread": SPREAD}]
    return settings + [{"stagger": stagger} for stagger in STAGGERS]


def main() -> None:
    """Train everything, the networks of one connection and seed at once, and write the file."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    recording = Recording(
        "step_sizes_mini",
        "Which learning rates are best on a validation set? Embedded Fashion-MNIST subset, fully connected, "
        "depth 40, width 32, batch normalization, 30 epochs, 4,000 training images and a validation set of 1,000.",
        "python -m tools.choose_step_sizes",
    )
    images = data.load()
    runs: list[dict[str, Any]] = []
    for seed, connection in product(SEEDS, ("plain", "residual", "van")):
        configs = [
            training.TrainConfig(num_epochs=NUM_EPOCHS, seed=seed, validation_fraction=0.2, **step_sizes)
            for step_sizes in grid(connection)
        ]
        networks = [models.mlp(connection=connection, seed=seed) for _ in configs]
        results = ensemble.train(networks, images, configs)
        for network, config, result in zip(networks, configs, results, strict=True):
            runs.append(
                {
                    "network": connection,
                    "seed": seed,
                    "lr": config.lr,
                    "skip_lr": config.skip_lr,
                    "dual_lr_spread": config.dual_lr_spread,
                    "stagger": config.staggering,
                    "validation_accuracy": result.validation_accuracy,
                    "skips_left": models.num_skips(network),
                    "removed_by": result.removed_by,
                    "seconds": round(result.seconds, 1),
                }
            )
            print(runs[-1], flush=True)
    print(recording.write(runs))


if __name__ == "__main__":
    main()
