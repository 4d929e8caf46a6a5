"""Whether the clock predicts real phase-outs, what multipliers end at, and what a constant in their place does."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from tools.recordings.lab import ALL_AT_ONCE, SEEDS, Lab, Row, recording, rounded
from van_tutorial import constraints, data, diagnostics, ensemble, models, training

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


@recording({"depth": 40})
def price_order(lab: Lab, depth: int, seeds: Sequence[int] = range(8)) -> list[Row]:
    """Let a market remove the skips, then a clock in the market's order and in others.

    In the market skip weights are fast and multipliers slow, and rise by 1 % more each step: a skip is removed when
    its multiplier passes its price. Each layer has a window of the same length by the clock, in whichever order.
    """
    images, seeds = lab.load(), seeds[:2] if lab.is_quick else seeds
    num_steps = lab.config(num_epochs=20).num_epochs * (len(images.train_labels) // 128)
    market: dict[str, Any] = {"stagger": 0.0, "skip_lr": 0.03, "dual_growth": 1.01}
    market["dual_lr"] = constraints.size_dual_lr(0.6 * num_steps, 0.95, market["skip_lr"])

    def train(order: Tensor | None = None, **settings: Any) -> list[training.TrainResult]:
        networks = [
            models.mlp(depth=depth, width=32, connection="van", norm_shift=1.0, seed=seed) for seed in seeds
        ]
        common = {"num_epochs": 20, "remove_by": 0.85, "population_statistics": True}
        configs = [lab.config(seed=seed, **common, **settings) for seed in seeds]
        trainer = ensemble.Trainer(networks, images, configs)
        if order is not None:
            for member, ranks in zip(
                trainer.members, order.argsort(dim=1, stable=True).argsort(dim=1), strict=True
            ):
                assert member.phase_out is not None
                member.phase_out.starts.copy_(member.phase_out.starts.clone()[ranks])
        for _ in trainer:
            pass
        return trainer.results()

    def steps(results: list[training.TrainResult]) -> Tensor:
        return torch.tensor(
            [[step or num_steps for step in run.first_zero_steps] for run in results]
        ).double()

    found = {"removed by the market": train(**market)}
    cheapest_first = steps(found["removed by the market"])
    layers = torch.arange(depth, dtype=torch.float64)
    orders = {  # each by the clock
        "the cheapest first": cheapest_first,
        "the dearest first": -cheapest_first,
        "from input to output": layers.expand(len(seeds), -1),
        "from output to input": -layers.expand(len(seeds), -1),
        "at random": torch.rand(len(seeds), depth, generator=torch.Generator().manual_seed(0)),
    }
    found |= {name: train(order, stagger=0.9) for name, order in orders.items()}
    layers_by_rank = pd.Series(layers.tolist()).rank()
    return [
        {
            "network": name,
            "seed": seed,
            "layer_correlation": rounded(float(layers_by_rank.corr(pd.Series(row.tolist()).rank()))),
            "removal_span": rounded((row.max() - row.min()).item() / num_steps),
            "mean_removal": rounded(row.mean().item() / num_steps),
            "num_capped": run.num_capped,
            "train_accuracy": round(float(run.history["train_accuracy"].iloc[-1]), 4),
            "test_accuracy": round(run.test_accuracy, 4),
        }
        for name, runs in found.items()
        for seed, run, row in zip(seeds, runs, steps(runs), strict=True)
    ]
