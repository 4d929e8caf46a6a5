"""The checks of lesson 5, phasing out."""

from van_tutorial.exercises.feedback import Feedback, is_number
from van_tutorial.training import TrainResult

TOLERANCE = 0.00051  # accuracies on 1,000 images are whole thousandths


def check_removal_window(result: TrainResult | None, earliest: float, latest: float) -> Feedback:
    """Check a run whose last skip was to reach 0, by the multipliers alone, within a window of the training.

    Args:
        result: of the learner's run; None where there is none yet.
        earliest: start of the window, as a fraction of the training.
        latest: its end.

    Returns:
        The verdict with a hint.
    """
    if result is None:
        return Feedback(
            False,
            "there is no run yet. Give my_dual_lr a number: constraints.size_dual_lr(0.3 * num_steps) is a start.",
        )
    steps = result.first_zero_steps
    if not steps:
        return Feedback(False, "this network has no skip weights: make it with connection='van'.")
    if any(step is None for step in steps):
        left = sum(step is None for step in steps)
        return Feedback(
            False,
            f"{left} of {len(steps)} skips never reached 0. The multipliers grew too slowly: take a larger dual_lr.",
        )
    last = max(step for step in steps if step is not None) / result.num_steps
    if result.removed_by == "cap":
        return Feedback(
            False,
            "the cap took some skips, not the multipliers. Train with remove_by=None, or take a larger dual_lr.",
        )
    if last < earliest:
        return Feedback(
            False,
            f"the last skip went after {last:.0%} of the training, before {earliest:.0%}. "
            "The time goes roughly as 1 / sqrt(dual_lr): twice as late needs about a quarter.",
        )
    if last > latest:
        return Feedback(
            False,
            f"the last skip went after {last:.0%} of the training, later than {latest:.0%}. "
            "The time goes roughly as 1 / sqrt(dual_lr): half of it needs about four times as much.",
        )
    return Feedback(True, f"the last skip went after {last:.0%} of the training, by the multipliers alone.")


def check_cost(cost: float | None, unhurried: TrainResult, hurried: TrainResult | None) -> Feedback:
    """Check the difference in test accuracy between an unhurried and a hurried run.

    Args:
        cost: the learner's number; None where there is none yet.
        unhurried: the run that it starts from.
        hurried: the learner's run; None where there is none yet.

    Returns:
        The verdict with a hint.
    """
    if hurried is None:
        return Feedback(
            False, "there is no hurried run to compare with. Do the exercise before this one first."
        )
    if cost is None:
        return Feedback(False, "there is no number yet. Both results have a test_accuracy.")
    if not is_number(cost):
        return Feedback(False, f"{cost!r} is not a number.")
    right = unhurried.test_accuracy - hurried.test_accuracy
    if abs(cost - right) <= TOLERANCE:
        verb = "cost" if right > 0 else "gained"
        return Feedback(
            True, f"hurrying {verb} {abs(right):.3f}. One run: another seed would give another number."
        )
    if abs(cost + right) <= TOLERANCE:
        return Feedback(
            False, "the sign is the wrong way round: take the hurried accuracy off the unhurried one."
        )
    return Feedback(False, "that is not the difference of the two test accuracies.")
