"""The checks of lesson 5, phasing out."""

from typing import Any

from van_tutorial.exercises.checker import MESSAGES, ROUNDED_ACCURACY, Check, Feedback, judge
from van_tutorial.training import TrainResult


def check_removal_window(result: TrainResult | None, earliest: float, latest: float) -> Feedback:
    """Check a run whose last skip was to reach 0, by the multipliers alone, within a window of the training.

    Args:
        result: of the learner's run; None where there is none yet.
        earliest: start of the window, as a fraction of the training.
        latest: its end.

    Returns:
        The verdict with a hint.
    """

    def left(result: Any) -> str:
        return f"{result.first_zero_steps.count(None)} of {len(result.first_zero_steps)}"

    def last(result: Any) -> float:
        return max(result.first_zero_steps) / result.num_steps

    slips = {
        "no_skip_weights": lambda result: not result.first_zero_steps,
        "left": lambda result: None in result.first_zero_steps,
        "cap": lambda result: result.removed_by == "cap",
        "early": lambda result: last(result) < earliest,
        "late": lambda result: last(result) > latest,
    }
    words = {"left": left, "last": last, "earliest": earliest, "latest": latest}
    return judge("removal_window", result, Check(None, slips), **words)


def check_cost(cost: float | None, unhurried: TrainResult, hurried: TrainResult | None) -> Feedback:
    """Check the difference in test accuracy between an unhurried and a hurried run.

    Args:
        cost: the learner's number; None where there is none yet.
        unhurried: the run that it starts from.
        hurried: the learner's run; None where there is none yet.

    Returns:
        The verdict with a hint: right to two significant digits, or to three decimals.
    """
    if hurried is None:
        return Feedback(False, MESSAGES["cost"]["no_run"])
    lost = unhurried.test_accuracy - hurried.test_accuracy
    check = Check(lost, {"sign": -lost}, ROUNDED_ACCURACY)
    return judge("cost", cost, check, effect="cost" if lost > 0 else "gained", size=abs(lost))
