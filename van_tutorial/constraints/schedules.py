"""When each skip goes: what bounds the skip weights from above, and schedules that set them without a multiplier."""

import math

import torch
from torch import Tensor

from van_tutorial._checks import check_count, check_range


def falling_cap(step: int, num_steps: int, remove_by: float | None, remove_from: float = 0.0) -> float:
    """Return the upper bound that training puts on every skip weight after `step` of `num_steps` steps.

    With t the fraction of the removal that is over, from 0 at `remove_from` to 1 at `remove_by`, both fractions of
    the training, a line that is 1 until t = 1/2, and 0 from t = 1 on: min(1, max(0, 2 - 2 t)). A line and not a cut,
    so that the network can follow while it loses what is left of its skips.

    Args:
        step: number of steps done.
        num_steps: number of steps of the whole training.
        remove_by: fraction of the training in (0, 1], or None for no cap.
        remove_from: fraction of the training in [0, remove_by) at which the removal begins.

    Returns:
        The cap, in [0, 1].

    Raises:
        ValueError: for no step, or a fraction outside its bounds.

    Example:
        >>> [round(falling_cap(step, num_steps=90, remove_by=2 / 3), 6) for step in (0, 30, 45, 60, 90)]
        [1.0, 1.0, 0.5, 0.0, 0.0]
    """
    check_count("num_steps", num_steps)
    if remove_by is None:
        return 1.0
    first, length = removal_steps(num_steps, remove_by, remove_from)
    return min(1.0, max(0.0, 2.0 - 2.0 * (step - first) / length))


def removal_steps(num_steps: int, remove_by: float, remove_from: float) -> tuple[float, float]:
    """Return the step at which the removal begins, and the number of its steps."""
    check_range("remove_by", remove_by, 0.0, 1.0, open_low=True)
    check_range("remove_from", remove_from, 0.0, remove_by, open_high=True)
    return remove_from * num_steps, (remove_by - remove_from) * num_steps


def removal_starts(
    num_steps: int, remove_by: float, stagger: float, num_constraints: int, remove_from: float = 0.0
) -> Tensor:
    """Return the step after which each layer's skip begins to go, where one goes after the other.

    With F = remove_from num_steps, T = (remove_by - remove_from) num_steps and s = |stagger|, every layer has a
    window of (1 - s) T steps, and that of layer l = 1, ..., L opens at step

        F + s T (l - 1) / (L - 1)      stagger > 0, from input to output
        F + s T (L - l) / (L - 1)      stagger < 0, from output to input

    so that the last one closes at F + T. 0 gives every layer the whole of it.

    Args:
        num_steps: number of steps of the whole training.
        remove_by: fraction of the training in (0, 1].
        stagger: in (-1, 1).
        num_constraints: number of layers L.
        remove_from: fraction of the training in [0, remove_by) at which the removal begins.

    Returns:
        Steps, not rounded, shape (L,).

    Raises:
        ValueError: for a fraction or a stagger outside its bounds, or no layer.

    Example:
        >>> removal_starts(num_steps=100, remove_by=0.8, stagger=0.5, num_constraints=3)
        tensor([ 0., 20., 40.])

    Source:
        Derived for this project; the order is chosen in docs/evidence.md.
    """
    first, length = removal_steps(1, remove_by, remove_from)
    check_range("stagger", stagger, -1.0, 1.0, open_low=True, open_high=True)
    check_count("num_constraints", num_constraints)
    order = torch.linspace(0.0, 1.0, num_constraints) if num_constraints > 1 else torch.zeros(1)
    if stagger < 0.0:
        order = order.flip(0)
    return order * abs(stagger) * length * num_steps + first * num_steps


SCHEDULES = ("fixed", "cut", "linear", "cosine")  # what prescribes skip weights without looking at the loss


def scheduled_skip_weight(
    schedule: str,
    step: float,
    num_steps: int,
    skip_weight: float,
    remove_by: float | None,
    remove_from: float = 0.0,
) -> float:
    """Return the skip weight that a schedule without multipliers prescribes after `step` of `num_steps` steps.

    With t = (step / num_steps - remove_from) / (remove_by - remove_from), at least 0, and alpha_0 the initial skip
    weight:

        "fixed"    alpha_0
        "cut"      alpha_0                      until t = 1, then 0
        "linear"   alpha_0 (1 - t)              until t = 1, then 0
        "cosine"   alpha_0 (1 + cos(pi t)) / 2  until t = 1, then 0

    These are what the multipliers are compared with: they do not look at the loss. (Multipliers at the library's
    learning rates hardly look at it either: docs/evidence.md.)

    Args:
        schedule: one of these four names, `SCHEDULES`.
        step: number of steps done.
        num_steps: number of steps of the whole training.
        skip_weight: initial skip weight alpha_0.
        remove_by: fraction of the training after which the skips are removed; None means its end.
        remove_from: fraction of the training in [0, remove_by) at which the removal begins.

    Returns:
        The skip weight.

    Raises:
        ValueError: for a name that is not one of the four, no step, or a fraction outside its bounds.

    Example:
        >>> scheduled_skip_weight("linear", step=25, num_steps=100, skip_weight=0.8, remove_by=0.5)
        0.4
    """
    check_count("num_steps", num_steps)
    first, length = removal_steps(num_steps, 1.0 if remove_by is None else remove_by, remove_from)
    t = min(1.0, max(0.0, (step - first) / length))
    if schedule == "fixed":
        return skip_weight
    if schedule == "cut":
        return 0.0 if t == 1.0 else skip_weight
    if schedule == "linear":
        return skip_weight * (1.0 - t)
    if schedule == "cosine":
        return 0.0 if t == 1.0 else skip_weight * 0.5 * (1.0 + math.cos(math.pi * t))
    raise ValueError(f"schedule must be 'fixed', 'cut', 'linear' or 'cosine', got {schedule!r}.")
