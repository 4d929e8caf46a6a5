"""Folders of runs, written as a runner leaves them, with numbers that can be told again from the parameters."""

import hashlib
import itertools
import json

LESSON = "05_phasing_out"
PARAMETERS = {"depth": 20, "lr": 0.003, "dual_lr": 0.0003, "seed": 0, "device": "cpu", "interactive": False}
IDENTITY = {"notebook": "a" * 64, "package": "b" * 64, "data": "c" * 64, "torch": "2.14.1"}


def write_run(runs, parameters=PARAMETERS, rows=(), reason=None, notebook=LESSON, **config):
    """Write the folder of a run, and return it."""
    key = hashlib.sha256(json.dumps([parameters, config.get("identity")]).encode()).hexdigest()[:16]
    folder = runs / notebook / (key if reason is None else f"{key}-failed")
    folder.mkdir(parents=True)
    content = {
        "notebook": f"{notebook}.ipynb",
        "parameters": parameters,
        "identity": IDENTITY,
        "started": "2025-03-01T10:00:00+00:00",
        "seconds": 30.5,
        "python": "3.11.7",
        "versions": {"torch": "2.14.1"},
    }
    (folder / "config.json").write_text(json.dumps({**content, **config}))
    (folder / "metrics.json").write_text(json.dumps(list(rows)))
    if reason is not None:
        (folder / "failure.json").write_text(json.dumps({"reason": reason, "cell": 3}))
    return folder


def three_networks(depth=20, dual_lr=0.0003, seed=0):
    """Rows as the lesson records them."""
    removed = {"removed at step": None, "removed by": None}
    step = {0.0: 300, 0.0003: 500, 0.003: 100}[dual_lr] + seed
    van = 0.7 + 0.01 * seed + {0.0: 0.05, 0.0003: 0.02, 0.003: 0.0}[dual_lr]
    return [
        {"network": "plain", "test accuracy": 0.8 - depth / 100, "skips left": 0, **removed, "seconds": 9.0},
        {"network": "residual", "test accuracy": 0.85, "skips left": depth, **removed, "seconds": 9.0},
        {
            "network": "van",
            "test accuracy": van,
            "skips left": 0,
            "removed at step": step,
            "removed by": "multipliers",
            "seconds": 11.0,
        },
    ]


def write_grid(runs, varied, make_rows=three_networks, **config):
    """Write a run for each point of a grid."""
    for values in itertools.product(*varied.values()):
        point = dict(zip(varied, values, strict=True))
        write_run(runs, {**PARAMETERS, **point}, make_rows(**point), **config)


def write_sweep(runs):
    """Write the runs of 2 depths, 2 dual learning rates, 3 seeds and 3 networks, of which one failed."""
    grid = list(itertools.product([20, 40], [0.0003, 0.003], [0, 1, 2]))
    for depth, dual_lr, seed in reversed(grid):
        parameters = {**PARAMETERS, "depth": depth, "dual_lr": dual_lr, "seed": seed}
        rows = three_networks(depth, dual_lr, seed)
        if (depth, dual_lr, seed) == grid[-1]:
            write_run(runs, parameters, rows[:1], reason="ValueError: <b>deep</b>")
        else:
            write_run(runs, parameters, rows)
