"""The checks of lesson 9, backward skips."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from van_tutorial import models
from van_tutorial.exercises.feedback import Feedback, compare, is_number

Map = Sequence[Sequence[int]]


def check_mean_iou(value: float | None, labels: Map, given: Map) -> Feedback:
    """Check a mean intersection over union that was worked out by hand.

    Args:
        value: the learner's number; None where there is none yet.
        labels: the true map, rows of labels.
        given: the predicted map, of the same size.

    Returns:
        The verdict with a hint; it knows pixel accuracy, Dice's coefficient and a forgotten background.
    """
    pairs = [pair for rows in zip(labels, given, strict=True) for pair in zip(*rows, strict=True)]
    classes = sorted({label for pair in pairs for label in pair})
    both = {k: sum(true == mine == k for true, mine in pairs) for k in classes}
    union = {k: sum(k in pair for pair in pairs) for k in classes}
    shares = {k: both[k] / union[k] for k in classes}
    right = sum(shares.values()) / len(shares)
    slips = {
        sum(both.values()) / len(pairs): "that is the pixel accuracy. Work out a share for each class first.",
        sum(2 * both[k] / (both[k] + union[k]) for k in classes)
        / len(classes): "that is Dice's coefficient: "
        "each pixel of the union counts once, also where both maps have the class.",
        sum(share for k, share in shares.items() if k) / max(1, len(classes) - 1): "the background is a "
        "class too.",
        sum(both.values())
        / sum(union.values()): "that pools the classes: a share for each class, then their mean.",
        sum(both[k] / max(1, sum(true == k for true, _ in pairs)) for k in classes)
        / len(classes): "that divides by the pixels that are *truly* of the class: take those of either map.",
        sum(both[k] / max(1, sum(mine == k for _, mine in pairs)) for k in classes)
        / len(
            classes
        ): "that divides by the pixels that the network *gives* the class: take those of either map.",
    }
    if value is not None and is_number(value) and abs(value - right) > 0.005:
        for slip, hint in slips.items():
            if abs(value - slip) <= 0.005:
                return Feedback(False, hint)
        if abs(value - 100.0 * right) <= 0.5:
            return Feedback(False, "as a share, not in percent.")
    return compare(
        value,
        right,
        0.005,
        "there is no number yet. For each class count the pixels that are in both maps, and those in either.",
        "it is larger: is the union the pixels of one map *or* the other, those in both counted once?",
        "it is smaller: does the union have the pixels that only one of the maps gives to the class?",
    )


def check_equal_width(width: int | None, combine: str = "sum") -> Feedback:
    """Check the smallest width with which a master alone has as many parameters as one of width 8 with its slave.

    Args:
        width: the learner's number; None where there is none yet.
        combine: how the slave's features come into the master.

    Returns:
        The verdict with a hint.
    """
    if width is None:
        return Feedback(False, "there is no width yet. Count as the cell above does, for some widths.")
    if isinstance(width, bool) or not isinstance(width, int) or width < 1:
        return Feedback(False, f"{width!r} is not a number of channels.")
    if width > 64:
        return Feedback(False, "that is far too wide: four times the width is sixteen times the weights.")
    target = count_parameters(combine=combine)
    found = count_parameters(width=width, has_slave=False)
    if found < target:
        return Feedback(False, f"width {width} has {found:,} parameters, fewer than {target:,}.")
    if (narrower := count_parameters(width=width - 1, has_slave=False)) >= target:
        return Feedback(False, f"width {width - 1} has {narrower:,} parameters: that is enough already.")
    return Feedback(True, f"width {width} has {found:,} parameters, against {target:,} with the slave.")


def count_parameters(**choices: Any) -> int:
    """Return the number of parameters of a master-slave network."""
    network = models.msnet(**choices)
    return sum(parameter.numel() for parameter in network.parameters())


def check_share_of_gain(share: float | None, table: pd.DataFrame, network: str = "slave, sum") -> Feedback:
    """Check which share of what a slave brings more parameters bring as well.

    Args:
        share: the learner's number; None where there is none yet.
        table: the recorded runs: network, mean_iou.
        network: the one with the slave.

    Returns:
        The verdict with a hint.
    """
    mean = table.groupby("network")["mean_iou"].mean()
    right = float((mean["wide master"] - mean["master"]) / (mean[network] - mean["master"]))
    if share is not None and is_number(share) and abs(share - 100.0 * right) <= 1.0:
        return Feedback(False, "as a share, not in percent.")
    slips = {
        float(
            mean["wide master"] - mean["master"]
        ): "that is the wide master's gain: divide it by the other gain.",
        float(
            mean[network] - mean["master"]
        ): "that is the gain with the slave: which share of it has the other?",
        float(
            mean["wide master"] / mean[network]
        ): "take the narrow master's off both first: shares of the *rise*.",
    }
    if share is not None and is_number(share) and abs(share - right) > 0.01:
        for slip, hint in slips.items():
            if abs(share - slip) <= 0.006:
                return Feedback(False, hint)
    if share is not None and is_number(share) and abs(share - (1.0 - right)) <= 0.01 < abs(1.0 - 2.0 * right):
        return Feedback(False, "that is what is left for the slave: the question is the other part.")
    return compare(
        share,
        right,
        0.01,
        "there is no number yet: gain of the wide master over the master, by gain with the slave.",
        "the wide master's share is larger than that.",
        "the wide master's share is smaller than that.",
    )
