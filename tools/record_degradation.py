"""Record how accuracy falls with depth: plain and residual networks, training and test images.

    python -m tools.record_degradation

Depths 2 to 60, width 32, batch normalization, 30 epochs on the embedded images, seeds 0, 1, 2. The step sizes are
the two best for plain networks on held-out training images (assets/results/step_sizes_mini.json). Takes about five
minutes on one core.
"""

import argparse
from itertools import product

from tools.record_phase_out import NUM_EPOCHS, SEEDS
from tools.results import Recording
from van_tutorial import data, models, training

DEPTHS = (2, 5, 10, 20, 40, 60)
NETWORKS = (("plain", "plain", 3e-3), ("plain, lr 0.01", "plain", 1e-2), ("residual", "residual", 3e-3))


def main() -> None:
    """Train everything and write the file."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    recording = Recording(
        "degradation_mini",
        "How accurate are plain and residual networks of growing depth, on training and on test images? Embedded "
        "Fashion-MNIST subset, fully connected, width 32, batch normalization, 30 epochs; both in eval mode.",
        "python -m tools.record_degradation",
    )
    images = data.load()
    runs = []
    for (name, connection, lr), depth, seed in product(NETWORKS, DEPTHS, SEEDS):
        model = models.mlp(depth=depth, connection=connection, seed=seed)
        config = training.TrainConfig(num_epochs=NUM_EPOCHS, lr=lr, seed=seed, device="cpu")
        result = training.train(model, images, config)
        train_accuracy = training.accuracy(model, images.train_images, images.train_labels)
        runs.append(
            {
                "network": name,
                "depth": depth,
                "seed": seed,
                "lr": lr,
                "train_accuracy": round(train_accuracy, 4),
                "test_accuracy": round(result.test_accuracy, 4),
                "seconds": round(result.seconds, 1),
            }
        )
        print(runs[-1], flush=True)
    print(recording.write(runs))


if __name__ == "__main__":
    main()
