"""Networks that a sweep trains without a notebook, those of one shape at once."""

import math
import time
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, get_type_hints

import pandas as pd

from van_tutorial import data, ensemble, models, training
from van_tutorial._checks import check_choice
from van_tutorial.batch.execute import Outcome, Task, outcome_of
from van_tutorial.batch.parameters import Declared

# This brings torch, which most of this subpackage does without: it is imported where a network is wanted.

KINDS: dict[str, Any] = {"mlp": models.MLPConfig, "convnet": models.ConvNetConfig}
FROM_DATA = ("in_features", "in_channels", "num_classes")  # choices that the data set makes
DATA = "fashion-mnist-mini"


def declared_choices(kind: str) -> Declared:
    """Return what a sweep may choose of a network and its training: that of the two configs, and the data.

    Args:
        kind: "mlp" or "convnet".

    Returns:
        The default of each choice, and its types. The seed is that of the weights and of the order of the examples.

    Raises:
        ValueError: for another kind.
    """
    check_choice("train", kind, KINDS)
    declared = Declared(data=DATA)
    declared.kinds = {"data": str, "seed": int}
    for config in (KINDS[kind], training.TrainConfig):
        hints = get_type_hints(config)
        for field in fields(config):
            if field.name not in FROM_DATA:
                declared[field.name] = field.default
                declared.kinds.setdefault(field.name, hints[field.name])
    return declared


def configs_of(kind: str, parameters: dict[str, Any], **from_data: Any) -> tuple[Any, training.TrainConfig]:
    """Return the configs of a run's network and of its training.

    Args:
        kind: "mlp" or "convnet".
        parameters: all of them, typed.
        **from_data: what the data set says of the network; without it the defaults.

    Raises:
        ValueError: for choices that do not fit together, values out of their bounds, and data of no known name.
    """
    check_choice("data", parameters["data"], data.NAMES)

    def choose(config: Any) -> dict[str, Any]:
        return {f.name: parameters[f.name] for f in fields(config) if f.name in parameters}

    network = KINDS[kind](**choose(KINDS[kind]), **from_data)
    return network, training.TrainConfig(**choose(training.TrainConfig))


def shape_of(task: Task) -> str:
    """Return a text that is the same for runs that can be made at once, and for no others."""
    if task.name != "mlp":
        return task.key
    free = {*ensemble.MAY_DIFFER["model"], *ensemble.MAY_DIFFER["training"]}
    return repr(sorted((name, value) for name, value in task.parameters.items() if name not in free))


def train_group(tasks: Sequence[Task]) -> list[Outcome]:
    """Train networks of one shape at once.

    Args:
        tasks: of the networks, all of one shape.

    Returns:
        For each network config.json, metrics.json, history.csv and layers.csv (the two tables of
        `training.TrainResult`), removal.csv where there were skips to take away (columns layer, first_zero_step),
        run.log, and where it diverged failure.json.

    Raises:
        OSError: where the data is not there.
    """
    started = time.time()
    kind = tasks[0].name
    images = data.load(tasks[0].parameters["data"])
    channels, height, width = images.train_images.shape[1:]
    sizes = {"in_features": channels * height * width} if kind == "mlp" else {"in_channels": channels}
    configs = [configs_of(kind, task.parameters, num_classes=images.num_classes, **sizes) for task in tasks]
    networks = [models.build(network) for network, _ in configs]
    results, errors = train_all(networks, images, [training for _, training in configs])
    seconds = (time.time() - started) / len(tasks)
    return [
        outcome_of_network(task, result, error, started, seconds)
        for task, result, error in zip(tasks, results, errors, strict=True)
    ]


def train_all(
    networks: list[models.Stack], images: data.Images, configs: list[training.TrainConfig]
) -> tuple[list[training.TrainResult], list[training.DivergenceError | None]]:
    """Return the results of networks, and what stopped them.

    Fully connected ones go through the ensemble even alone: a result does not depend on how a sweep groups them.
    """
    if isinstance(networks[0], models.MLP):
        together = ensemble.Trainer(networks, images, configs)
        for _ in together:
            pass
        return together.results(), together.errors
    trainer = training.Trainer(networks[0], images, configs[0])
    error = None
    try:
        for _ in trainer:
            pass
    except training.DivergenceError as divergence:
        error = divergence
    return [trainer.result()], [error]


def outcome_of_network(
    task: Task,
    result: training.TrainResult,
    error: training.DivergenceError | None,
    started: float,
    seconds: float,
) -> Outcome:
    """Return what is told of one network."""
    metrics: dict[str, Any] = {
        "test accuracy": result.test_accuracy,
        "validation accuracy": result.validation_accuracy,
        "train accuracy": result.history["train_accuracy"].iloc[-1] if len(result.history) else None,
        "train loss": result.history["loss"].iloc[-1] if len(result.history) else None,
        "skips left": models.num_skips(result.model),
        "removed at step": result.removed_at_step,
        "removed by": result.removed_by,
        "layers capped": result.num_capped,
        "steps": result.num_steps,
    }
    for name, value in metrics.items():
        if isinstance(value, float) and not math.isfinite(value):
            metrics[name] = None
    tables = {"history.csv": result.history, "layers.csv": result.layers}
    files = {name: table.to_csv(index=False).encode() for name, table in tables.items()}
    if result.first_zero_steps:
        steps = pd.Series(result.first_zero_steps, name="first_zero_step", dtype="Int64")
        steps.index = pd.RangeIndex(1, len(steps) + 1, name="layer")
        files["removal.csv"] = steps.to_csv().encode()
    failure = {"reason": f"{type(error).__name__}: {error}", "step": error.step} if error else None
    log = f"{result.history.to_string(index=False)}\n{error or ''}"
    return outcome_of(task, files, [metrics], log, started, seconds, failure)
