"""Whole runs of the playground: what the front page of the site replays, and what the panel lays beside a run."""

from typing import Any

from tools.recordings.lab import FEW_EPOCHS, Lab, Row, recording
from van_tutorial.playground import Recording, Settings

MOMENTS = 27  # of each run: enough for an animation
DIGITS = 3
# By depth, the initial bias of the normalization with which a VAN ends near the residual network (recording `start`).
STARTS = ({"depth": (10, 20, 40), "norm_shift": 1.0}, {"depth": 100, "norm_shift": 2.0})
# Without a cap, so that the dual learning rate alone decides when a skip is removed, and whether it is.
VANS = {
    "connection": "van",
    "stagger": (0.9, 0.0, -0.9),
    "dual_lr": (0.0065, 0.065, 0.65),
    "cap": "none",
    "seed": 0,
}


@recording(
    *({"connection": "plain", "seed": 0} | start for start in STARTS),
    {"connection": ("residual", "plain"), "depth": (10, 20, 40, 100), "norm_shift": 0.0, "seed": 0},
    *(VANS | start for start in STARTS),
)
def playground(lab: Lab, **chosen: Any) -> Row:
    """Train one network, and return its run with few moments and digits."""
    few: dict[str, Any] = {"num_epochs": FEW_EPOCHS} if lab.is_quick else {}
    run = Recording.train(Settings(**chosen, **few), lab.load())
    return {"run": run.thinned(MOMENTS).content(DIGITS)}
