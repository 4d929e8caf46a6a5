"""The checks of lesson 9, backward skips."""

from typing import Any

import pandas as pd
import torch

from van_tutorial import models
from van_tutorial.exercises.checker import Check, Feedback, judge


def check_mean_iou(value: float | None, labels: list[list[int]], given: list[list[int]]) -> Feedback:
    """Check a mean intersection over union that was worked out by hand.

    Args:
        value: the learner's number; None where there is none yet.
        labels: the true map, rows of labels.
        given: the predicted map, of the same size.

    Returns:
        The verdict with a hint, right to two significant digits; it knows pixel accuracy, Dice's coefficient and a
        forgotten background.
    """
    pixels = torch.tensor([labels, given]).flatten(1)
    masks = torch.stack([pixels == label for label in pixels.unique()], dim=1).double()  # map, class, pixel
    both, (true, predicted) = masks.prod(dim=0).sum(dim=1), masks.sum(dim=2)
    union = true + predicted - both
    iou = both / union
    slips = {
        "accuracy": both.sum() / true.sum(),
        "dice": (2 * both / (true + predicted)).mean(),
        "background": iou[1:].mean(),
        "pooled": both.sum() / union.sum(),
        "true": (both / true).mean(),
        "predicted": (both / predicted).mean(),
        "percent": 100 * iou.mean(),
    }
    numbers = {name: float(slip) for name, slip in slips.items()}
    return judge("mean_iou", value, Check(float(iou.mean()), numbers))


def check_equal_width(width: int | None, combine: str = "sum") -> Feedback:
    """Check the smallest width with which a master alone has as many parameters as one of width 8 with its slave.

    Args:
        width: the learner's number; None where there is none yet.
        combine: how the slave's features come into the master.

    Returns:
        The verdict with a hint.
    """
    target = count_parameters(combine=combine)

    def count(width: int) -> int:
        return count_parameters(width=width, has_slave=False) if width else 0

    slips = {
        "no_width": lambda width: isinstance(width, bool) or not isinstance(width, int) or width < 1,
        "far_too_wide": lambda width: width > 64,
        "fewer": lambda width: count(width) < target,
        "enough": lambda width: count(width - 1) >= target,
    }
    less = {"less": lambda width: width - 1, "count_less": lambda width: count(width - 1)}
    return judge("equal_width", width, Check(None, slips), count=count, target=target, **less)


def count_parameters(**choices: Any) -> int:
    """Return the number of parameters of a master-slave network."""
    return sum(parameter.numel() for parameter in models.msnet(**choices).parameters())


def check_gain_fraction(fraction: float | None, table: pd.DataFrame, measure: str = "mean_iou") -> Feedback:
    """Check which fraction of what a slave brings more parameters bring as well.

    Args:
        fraction: the learner's number; None where there is none yet.
        table: the recorded runs: network, and the measure.
        measure: the column that is compared.

    Returns:
        The verdict with a hint: right to two significant digits.
    """
    mean = table.groupby("network")[measure].mean()
    wide, slave = (float(mean[name] - mean["master"]) for name in ("wide master", "slave, sum"))
    slips = {
        "percent": 100.0 * wide / slave,
        "wide": wide,
        "slave": slave,
        "levels": float(mean["wide master"] / mean["slave, sum"]),
        "rest": 1.0 - wide / slave,
    }
    return judge("gain_fraction", fraction, Check(wide / slave, slips))
