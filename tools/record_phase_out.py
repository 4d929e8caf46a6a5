"""Record the main result: plain, residual and VAN on the embedded data, three seeds.

    python -m tools.record_phase_out

Depth 40, width 32, batch normalization, 30 epochs, seeds 0, 1, 2; accuracy in eval mode, of the VAN after its
collapse. With the learning rates of the lessons, and with those that `python -m tools.choose_step_sizes` found best on
a validation set (lr 0.01); the plain network also with layers initialized closer to linear (norm_shift 1).
"""

import argparse
from typing import Any

from tools.results import Recording
from van_tutorial import data, models, training

SEEDS = (0, 1, 2)
NUM_EPOCHS = 30
# Name, how the network differs from a plain one, and the learning rates that differ from the defaults.
NETWORKS: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("plain", {}, {}),
    ("plain, lr 0.01", {}, {"lr": 0.01}),
    ("plain, shifted", {"norm_shift": 1.0}, {}),
    ("residual", {"connection": "residual"}, {}),
    ("residual, lr 0.01", {"connection": "residual"}, {"lr": 0.01}),
    ("van", {"connection": "van"}, {}),
    ("van, lr 0.01", {"connection": "van"}, {"lr": 0.01, "skip_lr": 3e-3}),
)


def train_once(name: str, network: dict[str, Any], step_sizes: dict[str, Any], seed: int) -> dict[str, Any]:
    """Train one network and return its row."""
    images = data.load()
    model = models.mlp(**{"connection": "plain"} | network, seed=seed)
    result = training.train(
        model, images, training.TrainConfig(num_epochs=NUM_EPOCHS, seed=seed, **step_sizes)
    )
    skips_left = models.num_skips(model)
    if model.config.connection == "van":
        model = models.collapse(model)
    return {
        "network": name,
        "seed": seed,
        "lr": result.config.lr,
        "test_accuracy": round(training.accuracy(model.cpu(), images.test_images, images.test_labels), 4),
        "train_accuracy": round(float(result.history["train_accuracy"].iloc[-1]), 4),
        "skips_left": skips_left,
        "removed_at_step": result.removed_at_step,
        "removed_by": result.removed_by,
        "num_capped": result.num_capped,
        "num_steps": result.num_steps,
        "seconds": round(result.seconds, 1),
    }


def main() -> None:
    """Train everything and write the file."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    recording = Recording(
        "phase_out_mini",
        "How accurate is the plain network that is left when all skips of a VAN have been phased out, compared with a "
        "plain and a residual network? Embedded Fashion-MNIST subset, fully connected, depth 40, width 32, batch "
        "normalization, 30 epochs; test accuracy in eval mode.",
        "python -m tools.record_phase_out",
    )
    runs = []
    for name, network, step_sizes in NETWORKS:
        for seed in SEEDS:
            runs.append(train_once(name, network, step_sizes, seed))
            print(runs[-1], flush=True)
    print(recording.write(runs))


if __name__ == "__main__":
    main()
