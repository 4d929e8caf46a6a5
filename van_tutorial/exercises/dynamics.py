"""The checks of lesson 6, multiplier dynamics."""

from van_tutorial.constraints import critical_damping, first_zero_step, simulate_path
from van_tutorial.exercises.feedback import Feedback, is_number


def check_dual_lr(
    dual_lr: float | None,
    removal_step: int,
    skip_weight: float = 0.95,
    skip_lr: float = 1e-3,
    slope: float = 0.3,
) -> Feedback:
    """Check a multiplier step size with which a skip is to be gone near a given step, by simulation.

    Args:
        dual_lr: the learner's number; None where there is none yet.
        removal_step: the step.
        skip_weight: initial skip weight.
        skip_lr: step size of the skip weight.
        slope: -dC/dalpha.

    Returns:
        The verdict with a hint: right within a twentieth of the step.
    """
    if dual_lr is None:
        return Feedback(False, "there is no number yet. constraints.size_dual_lr inverts the prediction.")
    if not is_number(dual_lr):
        return Feedback(False, f"{dual_lr!r} is not a number.")
    if not 0.0 < dual_lr <= 1e3:
        return Feedback(False, "a multiplier step size is above 0; sensible ones lie below 1.")
    path = simulate_path(4 * removal_step, skip_weight, skip_lr, float(dual_lr), slope)
    gone = first_zero_step(path)
    if gone is None:
        return Feedback(False, f"after {4 * removal_step} steps the skip is still there: take a larger one.")
    if abs(gone - removal_step) <= removal_step / 20:
        return Feedback(True, f"the skip is gone at step {gone}.")
    slower = gone < removal_step
    return Feedback(
        False,
        f"the skip is gone at step {gone}, {'before' if slower else 'after'} {removal_step}: "
        f"take a {'smaller' if slower else 'larger'} one; the time goes roughly as 1 / sqrt(dual_lr).",
    )


def check_damping(damping: float | None, skip_lr: float, dual_lr: float) -> Feedback:
    """Check the smallest damping with which an unclipped skip weight does not oscillate.

    Args:
        damping: the learner's number; None where there is none yet.
        skip_lr: step size of the skip weight.
        dual_lr: step size of the multiplier.

    Returns:
        The verdict with a hint: right within a twentieth.
    """
    right = critical_damping(skip_lr, dual_lr)
    if damping is None:
        return Feedback(False, "there is no number yet. When do the two roots of the oscillator become one?")
    if not is_number(damping):
        return Feedback(False, f"{damping!r} is not a number.")
    slips = {
        right / 2.0: "the factor 2 is missing.",
        4.0 / right: "the fraction is upside down: a faster multiplier needs more friction.",
        right
        * skip_lr: "that is 2 omega: in alpha'' + skip_lr c alpha' + omega^2 alpha = 0 it is skip_lr c.",
    }
    for slip, hint in slips.items():
        if abs(damping - slip) <= 0.01 * slip and abs(slip - right) > 0.05 * right:
            return Feedback(False, hint)
    if damping < 0.95 * right:
        return Feedback(False, "with that the skip weight still oscillates: take more.")
    if damping > 1.05 * right:
        return Feedback(False, "it does not oscillate, but less damping would do, and be faster.")
    return Feedback(True, f"c* = 2 sqrt(dual_lr / skip_lr) = {right:.3g}.")
