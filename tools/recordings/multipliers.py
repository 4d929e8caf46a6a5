"""Whether the clock predicts real phase-outs, what multipliers end at, and what a constant in their place does."""

from dataclasses import replace
from typing import Any

from tools.recordings.lab import ALL_AT_ONCE, SEEDS, Lab, Row, recording, rounded
from van_tutorial import data, diagnostics, models, training

SKIP_WEIGHT = 0.95


@recording(
    # Simultaneous removal, no cap, dual learning rates of a quarter, once, four and sixteen times the default.
    {"experiment": "multipliers", "factor": (0.25, 1.0, 4.0, 16.0), "seed": SEEDS},
    # All settings the defaults.
    {"experiment": "sequential", "seed": SEEDS},
    # Multipliers that are held at a value, no cap: a linear penalty of fixed strength.
    {"experiment": "constant", "multiplier": (3.0, 30.0), "seed": SEEDS},
)
def multiplier_dynamics_mini(lab: Lab, experiment: str, seed: int, **strength: float) -> list[Row]:
    """Train one VAN, and return a row for each layer."""
    images = lab.load()
    config = lab.config(num_epochs=30, seed=seed)
    if experiment == "constant":
        config = replace(config, dual_lr=0.0, stagger=0.0, remove_by=None)
    elif experiment == "multipliers":
        config = replace(config, remove_by=None, **ALL_AT_ONCE)
        num_steps = config.num_epochs * (len(images.train_labels) // config.batch_size)
        dual_lr = strength["factor"] * training.default_dual_lr(num_steps, SKIP_WEIGHT, config)
        config = replace(config, dual_lr=dual_lr)
    model = models.mlp(depth=40, width=32, connection="van", skip_weight=SKIP_WEIGHT, seed=seed)
    trainer = training.Trainer(model, images, config)
    measure = held if experiment == "constant" else rising
    rows = measure(lab, trainer, images, **strength)
    return [
        row
        | {
            "layer": layer,
            "num_steps": trainer.step,
            "first_zero_step": trainer.result().first_zero_steps[layer - 1],
            "final_skip_weight": rounded(model.skip_weight[layer - 1].item()),
            "removed_at_step": trainer.result().removed_at_step,
            "test_accuracy": round(trainer.result().test_accuracy, 4),
        }
        for layer, row in enumerate(rows, 1)
    ]


def rising(lab: Lab, trainer: training.Trainer, images: data.Images, factor: float = 1.0) -> list[Row]:
    """Train, and return predicted steps, multipliers and prices on the training set.

    Prices are with batch statistics, as the multipliers saw the loss, and in eval mode; predicted steps with a slope of
    0, and with the layer's own slope at initialization.
    """
    model, shown, phase_out = trainer.model, (images.train_images, images.train_labels), trainer.phase_out
    assert phase_out is not None
    slopes = diagnostics.shortcut_prices(model.train(), *shown, skip_weight=None)["price"].tolist()
    lab.finish(trainer, images)
    own = diagnostics.removal_steps(phase_out, slopes)["predicted_step"]
    prices_eval = diagnostics.shortcut_prices(model.eval(), *shown)["price"]
    prices = diagnostics.shortcut_prices(model.train(), *shown)["price"]
    values = phase_out.multipliers.values.tolist()
    return [
        {
            "dual_lr": rounded(row["dual_lr"]),
            "predicted_step": round(row["predicted_step"]),
            "slope_at_start": rounded(slopes[index]),
            "predicted_by_slope": round(own[index]),
            "price": rounded(prices[index]),
            "price_eval": rounded(prices_eval[index]),
            "multiplier": rounded(values[index]),
        }
        for index, row in enumerate(diagnostics.removal_steps(phase_out).to_dict(orient="records"))
    ]


def held(lab: Lab, trainer: training.Trainer, images: data.Images, multiplier: float) -> list[Row]:
    """Train with constant multipliers c, and return the predicted step, 0.95 / (skip_lr c), and how skips come back.

    `largest_again` is the largest value that a skip weight which was 0 had again at the end of a later epoch.
    """
    phase_out = trainer.phase_out
    assert phase_out is not None
    phase_out.multipliers.values.fill_(multiplier)
    again = [phase_out.skip_weight.new_zeros(len(phase_out.skip_weight))]

    def look(record: Any, model: Any) -> None:
        was_removed = (phase_out.first_zero_step > 0) & (phase_out.first_zero_step < record.step)
        again.append(again[-1].maximum(record.skip_weights * was_removed))

    lab.finish(trainer, images, look)
    predicted = round(SKIP_WEIGHT / (trainer.config.skip_lr * multiplier))
    return [{"predicted_step": predicted, "largest_again": rounded(value)} for value in again[-1].tolist()]
