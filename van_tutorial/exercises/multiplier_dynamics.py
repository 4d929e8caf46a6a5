"""The checks of lesson 6, multiplier dynamics."""

import math

from van_tutorial.constraints import critical_damping, first_zero_step, simulate_path
from van_tutorial.exercises.checker import Check, Feedback, is_no_number, judge


def check_dual_lr(
    dual_lr: float | None,
    removal_step: int,
    skip_weight: float = 0.95,
    skip_lr: float = 1e-3,
    slope: float = 0.3,
) -> Feedback:
    """Check a dual learning rate with which a skip is removed near a given step, by simulation.

    Args:
        dual_lr: the learner's number; None where there is none yet.
        removal_step: the step.
        skip_weight: initial skip weight.
        skip_lr: learning rate of the skip weight.
        slope: -dC/dalpha.

    Returns:
        The verdict with a hint: right within a twentieth of the step.
    """
    num_steps, slack = 4 * removal_step, removal_step / 20

    def removed_at(dual_lr: float) -> float:
        step = first_zero_step(simulate_path(num_steps, skip_weight, skip_lr, float(dual_lr), slope))
        return math.inf if step is None else step

    slips = {
        "not_number": is_no_number,
        "range": lambda dual_lr: not 0.0 < dual_lr <= 1e3,
        "never": lambda dual_lr: removed_at(dual_lr) == math.inf,
        "early": lambda dual_lr: removed_at(dual_lr) < removal_step - slack,
        "late": lambda dual_lr: removed_at(dual_lr) > removal_step + slack,
    }
    words = {"removal_step": removal_step, "slack": slack, "num_steps": num_steps}
    return judge("dual_lr", dual_lr, Check(None, slips), removed_at=removed_at, **words)


def check_damping(damping: float | None, skip_lr: float, dual_lr: float) -> Feedback:
    """Check the smallest damping with which an unclipped skip weight does not oscillate.

    Args:
        damping: the learner's number; None where there is none yet.
        skip_lr: learning rate of the skip weight.
        dual_lr: dual learning rate.

    Returns:
        The verdict with a hint: right to two significant digits.
    """
    critical = critical_damping(skip_lr, dual_lr)
    slips = {"half": critical / 2.0, "inverse": 4.0 / critical, "two_omega": critical * skip_lr}
    return judge("damping", damping, Check(critical, slips))
