"""What networks and measures of sweeps are called."""

from collections.abc import Mapping
from typing import Any

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
    return f"{name}, BatchNorm bias {run['norm_shift']:g}" if run["norm_shift"] else name


def spread(run: Mapping[str, Any]) -> str:
    """Return which layers' multipliers rise faster."""
    ratio = run["dual_lr_spread"]
    return "equal dual learning rates" if ratio == 1.0 else f"faster next to the input ({ratio:g} times)"


def schedule(run: Mapping[str, Any]) -> str:
    """Return what removes the skips, and in which order."""
    name = {"cut": "constant, then 0"}.get(run["skip_schedule"], run["skip_schedule"])
    if run["damping"]:
        name += ", damped"
    if run["stagger"]:
        return f"{name}, sequentially"
    is_faster = run["skip_schedule"] == "multipliers" and run["dual_lr_spread"] != 1.0
    return f"{name}, faster next to the input" if is_faster else name
