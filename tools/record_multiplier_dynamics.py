"""Record whether the clock predicts real phase-outs, what multipliers end at, and what a constant in their place does.

    python -m tools.record_multiplier_dynamics

VANs of depth 40 and width 32, 30 epochs on the embedded images, seeds 0, 1, 2. Three experiments, told apart by the
column `experiment`:

    multipliers   simultaneous removal, no cap, dual learning rates of a quarter, once, four and sixteen times the
                  default
    sequential    all settings the defaults
    constant      multipliers that are held at 3 or 30, no cap: a linear penalty of fixed strength

For every layer: the step at which its skip weight first reached 0 and the predicted one, with a slope of 0 and with the
layer's own slope at initialization; at the end the multiplier and the price of the skip on the training set, with batch
statistics, as the multipliers saw the loss, and in eval mode. A constant c is predicted to take a skip weight to 0 in
0.95 / (skip_lr c) steps; recorded as well is the largest value that it had again at the end of a later epoch.
Experiments that the file holds are kept: remove it to run all of them again. Takes about eight minutes on one core.
"""

import argparse
import dataclasses
from collections.abc import Iterator
from itertools import product
from typing import Any

from tools.record_phase_out import NUM_EPOCHS, SEEDS
from tools.results import ALL_AT_ONCE, Recording
from van_tutorial import data, diagnostics, models, training

DEPTH = 40
SKIP_WEIGHT = 0.95
FACTORS = (0.25, 1.0, 4.0, 16.0)
CONSTANTS = (3.0, 30.0)


def make_trainer(
    images: data.Images, config: training.TrainConfig
) -> tuple[training.Trainer, training.PhaseOut]:
    """Return the trainer of a new VAN, and its phase-out."""
    model = models.mlp(depth=DEPTH, width=32, connection="van", skip_weight=SKIP_WEIGHT, seed=config.seed)
    trainer = training.Trainer(model, images, config)
    assert trainer.phase_out is not None
    return trainer, trainer.phase_out


def train_once(images: data.Images, config: training.TrainConfig) -> Iterator[dict[str, Any]]:
    """Train one network whose multipliers rise, and yield a row for each layer."""
    trainer, phase_out = make_trainer(images, config)
    model, shown = trainer.model, (images.train_images, images.train_labels)
    slopes = diagnostics.shortcut_prices(model.train(), *shown, skip_weight=None)["price"].tolist()
    for _ in trainer:
        pass
    result = trainer.result()
    own = diagnostics.removal_steps(phase_out, slopes)["predicted_step"]
    prices_eval = diagnostics.shortcut_prices(model.eval(), *shown)["price"]
    prices = diagnostics.shortcut_prices(model.train(), *shown)["price"]
    for index, row in enumerate(diagnostics.removal_steps(phase_out).to_dict(orient="records")):
        yield {
            "seed": config.seed,
            "layer": int(row["layer"]),
            "dual_lr": rounded(row["dual_lr"]),
            "num_steps": result.num_steps,
            "predicted_step": round(row["predicted_step"]),
            "slope_at_start": rounded(slopes[index]),
            "predicted_by_slope": round(own[index]),
            "first_zero_step": result.first_zero_steps[index],
            "final_skip_weight": rounded(phase_out.skip_weight[index].item()),
            "price": rounded(prices[index]),
            "price_eval": rounded(prices_eval[index]),
            "multiplier": rounded(phase_out.multipliers.values[index].item()),
            "removed_at_step": result.removed_at_step,
            "test_accuracy": round(result.test_accuracy, 4),
        }


def rounded(value: float) -> float:
    """Return a number with four digits."""
    return float(f"{value:.4g}")


def multipliers(images: data.Images) -> Iterator[dict[str, Any]]:
    """Yield the rows of the experiment "multipliers"."""
    num_steps = NUM_EPOCHS * (len(images.train_labels) // training.TrainConfig.batch_size)
    for factor, seed in product(FACTORS, SEEDS):
        base = training.TrainConfig(
            num_epochs=NUM_EPOCHS, remove_by=None, seed=seed, device="cpu", **ALL_AT_ONCE
        )
        dual_lr = factor * training.default_dual_lr(num_steps, SKIP_WEIGHT, base)
        for row in train_once(images, dataclasses.replace(base, dual_lr=dual_lr)):
            yield {"factor": factor, **row}


def sequential(images: data.Images) -> Iterator[dict[str, Any]]:
    """Yield the rows of the experiment "sequential"."""
    for seed in SEEDS:
        yield from train_once(images, training.TrainConfig(num_epochs=NUM_EPOCHS, seed=seed, device="cpu"))


def constant(images: data.Images) -> Iterator[dict[str, Any]]:
    """Yield the rows of the experiment "constant"."""
    for strength, seed in product(CONSTANTS, SEEDS):
        config = training.TrainConfig(
            num_epochs=NUM_EPOCHS, dual_lr=0.0, stagger=0.0, remove_by=None, seed=seed, device="cpu"
        )
        trainer, phase_out = make_trainer(images, config)
        phase_out.multipliers.values.fill_(strength)
        again = phase_out.skip_weight.new_zeros(DEPTH)
        for record in trainer:
            was_removed = (phase_out.first_zero_step > 0) & (phase_out.first_zero_step < record.step)
            again = again.maximum(record.skip_weights * was_removed)
        result = trainer.result()
        for index, first in enumerate(result.first_zero_steps):
            yield {
                "seed": seed,
                "layer": index + 1,
                "num_steps": result.num_steps,
                "predicted_step": round(SKIP_WEIGHT / (config.skip_lr * strength)),
                "first_zero_step": first,
                "largest_again": rounded(again[index].item()),
                "final_skip_weight": rounded(phase_out.skip_weight[index].item()),
                "multiplier": strength,
                "removed_at_step": result.removed_at_step,
                "test_accuracy": round(result.test_accuracy, 4),
            }


def main() -> None:
    """Train what is not there yet and write the file."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    recording = Recording(
        "multiplier_dynamics_mini",
        "At which step does each skip of a VAN reach 0, when was it predicted to, how large are its multiplier and its "
        "price in the end, and what does a constant in place of the multipliers do? Embedded Fashion-MNIST subset, "
        "depth 40, width 32, batch normalization, 30 epochs; prices on the training set, with batch statistics "
        "(price) and in eval mode (price_eval).",
        "python -m tools.record_multiplier_dynamics",
    )
    images = data.load()
    rows = recording.resume()
    for experiment in (multipliers, sequential, constant):
        if any(row["experiment"] == experiment.__name__ for row in rows):
            continue
        for row in experiment(images):
            rows.append({"experiment": experiment.__name__, **row})
            if row["layer"] == DEPTH:
                print(rows[-1], flush=True)
        print(recording.write(rows))


if __name__ == "__main__":
    main()
