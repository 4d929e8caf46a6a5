"""The names of networks and measures: as a recording keeps them, and in the words of the page."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

# What is kept of every run of a sweep, and its name in the table of runs.
METRICS = {
    "train_accuracy": "train accuracy",
    "validation_accuracy": "validation accuracy",
    "test_accuracy": "test accuracy",
    "skips_left": "skips left",
    "removed_at_step": "removed at step",
    "removed_by": "removed by",
    "num_capped": "layers capped",
    "num_steps": "steps",
    "median_zero_step": "median_zero_step",
    "seconds": "seconds",
}
# What names of recorded networks say, in the words of the page; the longer phrase first.
WORDS = {
    "one after the other, input side first": "sequentially, from input to output",
    "one after the other, output side first": "sequentially, from output to input",
    "one after the other": "sequentially",
    "all at once": "simultaneously",
    "all alike": "equal dual learning rates",
    "input side faster": "faster next to the input",
    "fixed, then off": "constant, then 0",
    "gone by": "removed by",
    ", shifted": ", BatchNorm bias 1",
    ", shift ": ", BatchNorm bias ",
}


def named(runs: pd.DataFrame) -> pd.DataFrame:
    """Return runs with the names of their networks in the words of the page."""
    if "network" not in runs:
        return runs
    names = runs["network"]
    for recorded, words in WORDS.items():
        names = names.str.replace(recorded, words, regex=False)
    return runs.assign(network=names)


def start(run: Mapping[str, Any]) -> str:
    """Return the name of a network by how it is initialized."""
    return f"{'VAN' if run['connection'] == 'van' else 'plain'}, BatchNorm bias {run['norm_shift']:g}"


def gradient(run: Mapping[str, Any]) -> str:
    """Return whether the loss has a say in a network's skip weights."""
    return f"{'with' if run['skip_gradient'] else 'without'} the loss's gradient"


def network(run: Mapping[str, Any]) -> str:
    """Return the name of a network in most tables."""
    if run["parametrization"] == "dirac":
        return "Dirac"
    if run["init"] == "looks-linear":
        return "looks-linear"
    name = {"van": "VAN"}.get(run["connection"], run["connection"])
    if run["connection"] == "van" and run["skip"] != "convex":
        name = f"VAN, {run['skip']}"
    return f"{name}, shifted" if run["norm_shift"] else name


def spread(run: Mapping[str, Any]) -> str:
    """Return which layers' multipliers rise faster."""
    ratio = run["dual_lr_spread"]
    return "all alike" if ratio == 1.0 else f"input side faster ({ratio:g} times)"


def trial(run: Mapping[str, Any]) -> str:
    """Return what sets a trial apart."""
    stagger = run["stagger"]
    order = spread(run).replace("all alike", "all at once")
    if stagger:
        order = f"one after the other, {'input' if stagger > 0 else 'output'} side first"
        order += f" (stagger {stagger:g})" if abs(stagger) != 0.9 else ""
    differs = {
        f"{run['init']} weights": run["init"] != "he",
        f"shift {run['norm_shift']:g}": run["norm_shift"],
        f"lr {run['lr']:g}": run["lr"] != 3e-3,
        f"gone by {run['remove_by']:g}": run["remove_by"] != 0.85,
        f"damping {run['damping']:g}": run["damping"],
    }
    return ", ".join([order, *(words for words, is_told in differs.items() if is_told)])


def schedule(run: Mapping[str, Any]) -> str:
    """Return what removes the skips, and in which order."""
    name = {"cut": "fixed, then off"}.get(run["skip_schedule"], run["skip_schedule"])
    if run["damping"]:
        name += ", damped"
    if run["stagger"]:
        return f"{name}, one after the other"
    is_faster = run["skip_schedule"] == "multipliers" and run["dual_lr_spread"] != 1.0
    return f"{name}, input side faster" if is_faster else name
