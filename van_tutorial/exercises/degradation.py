"""The checks of lesson 1, degradation."""

import pandas as pd

from van_tutorial.exercises.checker import ROUNDED_ACCURACY, Check, Feedback, judge


def check_degradation_depth(depth: int | None, table: pd.DataFrame, gap: float = 0.1) -> Feedback:
    """Check the smallest recorded depth at which plain networks fall behind on the training set.

    Args:
        depth: the learner's answer; None where there is none yet.
        table: the recorded runs: network, depth, train_accuracy.
        gap: how far behind the shallowest plain network.

    Returns:
        The verdict with a hint.
    """
    accuracy = table[table["network"] == "plain"].groupby("depth")["train_accuracy"].mean()
    behind = accuracy.index[accuracy < accuracy.iloc[0] - gap]
    depths = accuracy.index.tolist()
    expected = int(behind[0]) if len(behind) else depths[-1] + 1
    slips = {"not_recorded": lambda depth: depth not in depths}
    return judge("degradation_depth", depth, Check(expected, slips), depths=", ".join(map(str, depths)))


def check_generalization_gap(gap: float | None, table: pd.DataFrame, depth: int) -> Feedback:
    """Check the difference between training and test accuracy of the plain networks of one depth.

    Args:
        gap: the learner's number; None where there is none yet.
        table: the recorded runs: network, depth, train_accuracy, test_accuracy.
        depth: of the networks.

    Returns:
        The verdict with a hint: right to two significant digits, or to three decimals.
    """
    means = table[table["network"] == "plain"].groupby("depth")[["train_accuracy", "test_accuracy"]].mean()
    train, test = means["train_accuracy"], means["test_accuracy"]
    gaps = train - test
    expected = float(gaps[depth])
    accuracies = {"train": float(train[depth]), "test": float(test[depth])}
    slips = {"sign": -expected, **accuracies, "shallow": float(gaps.iloc[0])}
    return judge("generalization_gap", gap, Check(expected, slips, ROUNDED_ACCURACY), depth=depth)
