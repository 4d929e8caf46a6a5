"""How good each family of networks is when all are tuned alike: skips kept, phased out, or never there."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import nn

from tools.recordings.lab import Grid, Lab, Row, Trained, linear_classifier, recording
from van_tutorial import batch, constraints, ensemble, models, training

NUM_EPOCHS, NUM_TRIALS = 10, 16
TRIAL_SEED = 100  # of all trials, and of nothing else
REMOVE_BY = 0.85
CLOCK: Row = {"stagger": 0.9, "remove_by": REMOVE_BY}
MARKET: Row = {"stagger": 0.0, "skip_lr": 0.03, "dual_growth": 1.003}

# The networks' settings, and those of their training; of a start that is drawn only what the family leaves open.
FAMILIES: dict[str, tuple[Row, Row]] = {
    "linear": ({}, {}),
    "two layers": ({"connection": "plain"}, {}),
    "plain": ({"connection": "plain"}, {}),
    "plain, TAT": ({"connection": "plain", "activation": "tat"}, {}),
    "Dirac": ({"connection": "plain", "parametrization": "dirac"}, {}),
    "looks-linear": (
        {"connection": "plain", "activation": "crelu", "init": "looks-linear", "normalization": "none"},
        {},
    ),
    "residual": ({"connection": "residual"}, {}),
    "highway": ({"connection": "highway"}, {}),
    "VAN, clock, sequentially": ({"connection": "van"}, CLOCK),
    "VAN, clock, simultaneously": ({"connection": "van"}, CLOCK | {"stagger": 0.0}),
    "VAN, market": ({"connection": "van"}, {"remove_by": REMOVE_BY, **MARKET}),
    "VAN, TAT": ({"connection": "van", "activation": "tat"}, CLOCK),
    "VAN, Dirac": ({"connection": "van", "parametrization": "dirac"}, CLOCK),
}
SHALLOW = {"linear": 0, "two layers": 2}
PHASED_OUT_STARTS = ("VAN, TAT", "VAN, Dirac")  # a phase-out on top of a good start
GRIDS: tuple[Grid, ...] = (
    *({"network": name, "depth": depth} for name, depth in SHALLOW.items()),
    {"network": tuple(n for n in FAMILIES if n not in (*SHALLOW, *PHASED_OUT_STARTS)), "depth": (40, 100)},
    {"network": PHASED_OUT_STARTS, "depth": 100},
)


def draw(trial: int) -> Row:
    """Return what is tried in a trial, the same for every family: the distribution of the search.

    lr is log-uniform in [3e-4, 2e-2], the BatchNorm bias uniform in {0, 1, 2, 3}, the initialization He's or
    orthogonal, the schedule of the learning rate a cosine or warm-up, stable, decay.
    """
    generator = np.random.default_rng((2026, trial))
    return {
        "lr": float(f"{math.exp(generator.uniform(math.log(3e-4), math.log(2e-2))):.3g}"),
        "norm_shift": float(generator.integers(4)),
        "init": str(generator.choice(["he", "orthogonal"])),
        "lr_schedule": str(generator.choice(["cosine", "wsd"])),
    }


def used(family: str, drawn: Row) -> Row:
    """Return of what is drawn what a family does not have of its own."""
    has_norm = family != "linear" and FAMILIES[family][0].get("normalization") != "none"
    return {name: value for name, value in drawn.items() if has_norm or name in ("lr", "lr_schedule")}


def make(family: str, depth: int, drawn: Row, seed: int) -> nn.Module:
    """Return a network of a family; what is drawn and the family has of its own is left out."""
    if depth == 0:
        return linear_classifier(seed)
    start = {name: value for name, value in used(family, drawn).items() if name in ("norm_shift", "init")}
    return models.mlp(**{"depth": depth, "width": 32, "seed": seed} | start | FAMILIES[family][0])


def settings_of(family: str, drawn: Row, num_steps: int) -> Row:
    """Return what a config of a family is made with; a market keeps the product of learning rates of the clock."""
    settings = {"lr": drawn["lr"], "lr_schedule": drawn["lr_schedule"], **FAMILIES[family][1]}
    if "skip_lr" in settings:
        settings["dual_lr"] = constraints.size_dual_lr(0.6 * num_steps, 0.95, settings["skip_lr"])
    return settings


def train_all(
    lab: Lab, networks: Sequence[nn.Module], settings: Sequence[Row], **common: Any
) -> list[Trained | None]:
    """Train networks at once where their schedules are the same; None for one whose loss was not finite."""
    images = lab.load("fashion-mnist")
    configs = [
        lab.config(num_epochs=NUM_EPOCHS, population_statistics=True, **common, **each) for each in settings
    ]
    found: dict[int, Trained | None] = {}
    for schedule in {config.lr_schedule for config in configs}:
        chosen = [index for index, config in enumerate(configs) if config.lr_schedule == schedule]
        group, their = [networks[index] for index in chosen], [configs[index] for index in chosen]
        if isinstance(group[0], nn.Sequential):
            results = [
                training.train(model, images, config) for model, config in zip(group, their, strict=True)
            ]
            found |= {index: Trained(images, result) for index, result in zip(chosen, results, strict=True)}
            continue
        trainer = ensemble.Trainer(group, images, their)
        for _ in trainer:
            pass
        for index, result, error in zip(chosen, trainer.results(), trainer.errors, strict=True):
            found[index] = None if error else Trained(images, result)
    return [found[index] for index in range(len(configs))]


def outcome(run: Trained | None, accuracy: str) -> Row:
    """Return what is kept of a run; of one whose loss was not finite, chance."""
    if run is None:
        return {accuracy: 0.1, "diverged": True}
    row = run.row(accuracy, "removed_by", "removed_at_step", "num_capped", "seconds") | run.last_epoch
    alphas = models.skip_weights(run.model)
    return row | {"skips_left": int(alphas.count_nonzero()) if len(alphas) else None}


def num_steps_of(num_images: int) -> int:
    """Return the steps of a training."""
    return NUM_EPOCHS * (num_images // 128)


@recording(*GRIDS)
def tuning(lab: Lab, network: str, depth: int) -> list[Row]:
    """Try a family sixteen times on a validation set."""
    drawn = [draw(trial) for trial in range(2 if lab.is_quick else NUM_TRIALS)]
    steps = num_steps_of(54_000)
    runs = train_all(
        lab,
        [make(network, depth, each, seed=TRIAL_SEED) for each in drawn],
        [settings_of(network, each, steps) for each in drawn],
        seed=TRIAL_SEED,
        validation_fraction=0.1,
    )
    return [
        {"trial": trial, "seed": TRIAL_SEED} | used(network, each) | outcome(run, "validation_accuracy")
        for trial, (each, run) in enumerate(zip(drawn, runs, strict=True))
    ]


@recording(*GRIDS)
def families(lab: Lab, network: str, depth: int, seeds: Sequence[int] = range(5)) -> list[Row]:
    """Train a family's best trial with five seeds that no trial had, and measure it on the test images."""
    return best_again(lab, network, depth, seeds)


# Other orders than those of the families, and removals that the loss has no say in.
ORDERS: dict[str, tuple[str, Row]] = {
    "sequentially, without the loss's gradient": ("VAN, clock, sequentially", {"skip_gradient": False}),
    "simultaneously, without the loss's gradient": ("VAN, clock, simultaneously", {"skip_gradient": False}),
    "sequentially, from output to input": ("VAN, clock, sequentially", {"stagger": -CLOCK["stagger"]}),
    "sequentially, cosine schedule": ("VAN, clock, sequentially", {"skip_schedule": "cosine"}),
}


@recording({"depth": (40, 100), "network": tuple(ORDERS)})
def orders(lab: Lab, depth: int, network: str, seeds: Sequence[int] = range(5)) -> list[Row]:
    """Train the best trial of a clock with a removal of another kind."""
    family, changes = ORDERS[network]
    return best_again(lab, family, depth, seeds, changes)


def best_again(
    lab: Lab,
    network: str,
    depth: int,
    seeds: Sequence[int],
    changes: Mapping[str, Any] = MappingProxyType({}),
) -> list[Row]:
    """Train a family's best trial with fresh seeds, with some settings changed."""
    trials = batch.recorded("tuning").table.query("network == @network")
    trials = trials if lab.is_quick else trials[trials["depth"] == depth]
    trials = trials[trials["skips_left"].fillna(0) == 0] if network.startswith("VAN") else trials
    best = draw(int(trials.sort_values("validation_accuracy")["trial"].iloc[-1]))
    seeds = seeds[:2] if lab.is_quick else seeds
    settings = {**settings_of(network, best, num_steps_of(60_000)), **changes}
    runs = train_all(
        lab,
        [make(network, depth, best, seed) for seed in seeds],
        [settings | {"seed": seed} for seed in seeds],
    )
    return [
        {"seed": seed} | used(network, best) | outcome(run, "test_accuracy")
        for seed, run in zip(seeds, runs, strict=True)
    ]
