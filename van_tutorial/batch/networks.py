"""Networks that a sweep trains without a notebook, those of one shape at once."""

import math
import os
import shutil
import sys
import time
import warnings
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
# Compiled, a step takes a third less time than uncompiled in groups of 16, and half of that in groups of 8. What
# compiling takes is saved after 40,000 to 80,000 steps of a network, at any depth.
COMPILED_AT_ONCE, WORTH_COMPILING = 8, 100_000
NUM_IMAGES = {  # to train on
    DATA: 5_000, "fashion-mnist": 60_000, "mnist": 60_000, "cifar10": 50_000, "cifar100": 50_000,
}  # fmt: skip


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
    if kind == "mlp":  # None: where it pays
        declared["compile"], declared.kinds["compile"] = None, bool | None
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


def shape_of(parameters: dict[str, Any]) -> str:
    """Return a text that is the same for fully connected networks that can be trained at once, and for no others."""
    free = {*ensemble.MAY_DIFFER["model"], *ensemble.MAY_DIFFER["training"]}
    return repr(sorted((name, value) for name, value in parameters.items() if name not in free))


def choose_compiled(runs: Sequence[dict[str, Any]]) -> None:
    """Decide of the runs of a sweep that leave it open whether they are compiled; all of one shape are or none.

    Args:
        runs: the parameters of all fully connected networks of a sweep, done or not; `compile` is set in them.

    Warns:
        RuntimeWarning: where it would pay and there is no C++ compiler.
    """
    shapes: dict[str, list[dict[str, Any]]] = {}
    for parameters in runs:
        if parameters["compile"] is None:
            shapes.setdefault(shape_of(parameters), []).append(parameters)
    compiler = os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    for same in shapes.values():
        pays = len(same) >= COMPILED_AT_ONCE and len(same) * num_steps(same[0]) >= WORTH_COMPILING
        has_compiler = shutil.which(compiler) is not None
        if pays and not has_compiler:
            warnings.warn(
                f"Compiled networks would train in two thirds of the time, but there is no C++ compiler {compiler!r}: "
                "install it, or name one by the environment variable CXX.",
                RuntimeWarning,
                stacklevel=2,
            )
        for parameters in same:
            parameters["compile"] = pays and has_compiler


def num_steps(parameters: dict[str, Any]) -> int:
    """Return how many steps a run has; the data set, which may be on the workers alone, is not read."""
    num_images = NUM_IMAGES[parameters["data"]]
    num_train = num_images - round(parameters["validation_fraction"] * num_images)
    return int(parameters["num_epochs"] * (num_train // parameters["batch_size"]))


def train_group(tasks: Sequence[Task]) -> list[Outcome]:
    """Train networks of one shape at once.

    Args:
        tasks: of the networks, all of one shape. What is compiled is filled up to 8 networks, so that a result does
            not depend on how many there are.

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
    # a pool of processes that compile would outlive a worker that is ended
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    num_empty = COMPILED_AT_ONCE - len(tasks) if kind == "mlp" and tasks[0].parameters["compile"] else 0
    filled = [*tasks, *[tasks[0]] * num_empty]
    configs = [configs_of(kind, task.parameters, num_classes=images.num_classes, **sizes) for task in filled]
    networks = [models.build(network) for network, _ in configs]
    results, errors = train_all(networks, images, [training for _, training in configs])
    seconds = (time.time() - started) / len(tasks)
    return [
        outcome_of_network(task, result, error, started, seconds)
        for task, result, error in zip(tasks, results, errors, strict=False)
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
