"""The checks of lesson 1, degradation."""

import math

import pandas as pd

from van_tutorial.exercises.feedback import Feedback, compare, is_number


def mean_accuracy(table: pd.DataFrame, network: str, column: str) -> "pd.Series[float]":
    """Return the mean of a column over the seeds, by depth, for one network."""
    return table[table["network"] == network].groupby("depth")[column].mean()


def accuracy_gap(table: pd.DataFrame, depth: int) -> float:
    """Return by how much plain networks of one depth are better on training images, in the mean over the seeds."""
    train = mean_accuracy(table, "plain", "train_accuracy")[depth]
    return float(train - mean_accuracy(table, "plain", "test_accuracy")[depth])


def check_degradation_depth(depth: int | None, table: pd.DataFrame, gap: float = 0.1) -> Feedback:
    """Check the smallest recorded depth at which plain networks fall behind on the training images.

    Args:
        depth: the learner's answer; None where there is none yet.
        table: the recorded runs: network, depth, train_accuracy.
        gap: how far behind the shallowest plain network.

    Returns:
        The verdict with a hint.
    """
    accuracy = mean_accuracy(table, "plain", "train_accuracy")
    behind = accuracy.index[accuracy < accuracy.iloc[0] - gap]
    right = float(behind[0]) if len(behind) else math.inf
    if depth is not None and is_number(depth) and depth not in list(accuracy.index):
        return Feedback(
            False, f"no network of depth {depth} was recorded: {', '.join(map(str, accuracy.index))}."
        )
    return compare(
        depth,
        right,
        0.0,
        "there is no depth yet. Look at the plain networks, training images, mean over the seeds.",
        "at that depth the plain networks are still close to the shallowest one. Look further down the table.",
        "they fall behind earlier than that. Look further up the table, at the plain networks' training accuracy.",
    )


def check_generalization_gap(gap: float | None, table: pd.DataFrame, depth: int) -> Feedback:
    """Check the difference between training and test accuracy of the plain networks of one depth.

    Args:
        gap: the learner's number; None where there is none yet.
        table: the recorded runs: network, depth, train_accuracy, test_accuracy.
        depth: of the networks.

    Returns:
        The verdict with a hint.
    """
    train = mean_accuracy(table, "plain", "train_accuracy")[depth]
    test = mean_accuracy(table, "plain", "test_accuracy")[depth]
    if gap is not None and is_number(gap) and abs(gap + train - test) <= 0.01 < abs(gap - train + test):
        return Feedback(
            False, "the sign is the wrong way round: over-fitting means better on training images."
        )
    shallow = accuracy_gap(table, int(table["depth"].min()))
    if gap is not None and is_number(gap) and abs(gap - train + test) > 0.01:
        if min(abs(gap - train), abs(gap - test)) <= 0.01:
            return Feedback(False, "that is one of the two accuracies: the gap is their difference.")
        if abs(gap - shallow) <= 0.01:
            return Feedback(
                False, f"that is the gap of the shallowest network: the one of depth {depth} is asked for."
            )
    verdict = compare(
        gap,
        float(train - test),
        0.01,
        "there is no number yet: mean training accuracy less mean test accuracy.",
        "the gap is larger than that. Take the mean over the seeds, of training images and of test images.",
        "the gap is smaller than that. Take the mean over the seeds, of training images and of test images.",
    )
    if verdict.is_right:
        return Feedback(
            True, f"{train - test:.3f}. So it is not over-fitting: the training images are not learned."
        )
    return verdict
