"""How each recorded result of the course is measured: the questions in recordings.yaml, the runs in a module by topic.

A recording is a function of one run, below the grid of all of its runs:

    @recording({"network": ("plain", "residual"), "depth": (10, 40), "seed": SEEDS})
    def my_recording(lab: Lab, network: str, depth: int, seed: int) -> Row:
        images = lab.load()
        run = lab.train(models.mlp(depth=depth, connection=network, seed=seed), images, num_epochs=10, seed=seed)
        return run.row("train_accuracy", "test_accuracy", "seconds")

`python -m tools.record my_recording` makes assets/results/my_recording.json, a row for each run: the point of the grid,
then what the function returns. What a sweep file can say needs no function: recordings.yaml names the sweep.
"""

import importlib
import pkgutil

from tools.recordings.lab import MEASURED, Lab

__all__ = ["MEASURED", "Lab"]

for module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(module.name)
