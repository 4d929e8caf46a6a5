"""The constraint "no skip-connection left", and what drives the skip weights to it.

    minimise C(W, alpha) over W and alpha   subject to   alpha_l = 0 for every layer l

    Lagrangian    C(W, alpha) + sum_l lambda_l alpha_l (+ damping / 2 sum_l alpha_l^2)
    primal step   W <- W - lr dC/dW             alpha_l <- alpha_l - skip_lr (dC/dalpha_l + lambda_l)
    projection    alpha_l <- min(max(alpha_l, 0), 1)
    dual step     lambda_l <- lambda_l + dual_lr alpha_l

The formulas are our reading of the abstract of Monti, Tootoonian and Cao 2018, Avoiding degradation in deep
feed-forward networks by phasing out skip-connections; its full text could not be read. The method of
multipliers by simultaneous descent and ascent: Platt and Barr 1987, Constrained differential optimization.

Everything here sees skip weights as a tensor of shape (L,) and knows no network.
"""

import math

import torch
from torch import Tensor, nn

from van_tutorial._checks import check_count, check_range


class Multipliers(nn.Module):
    """Hold one Lagrange multiplier per constraint alpha_l = 0, and raise each by gradient ascent.

    The multipliers are buffers, so that devices and checkpoints come with the module.

    Args:
        num_constraints: number of constraints L.
        dual_lr: step size of the ascent, one for all or a tensor of shape (L,); at least 0.
        init: initial value of every multiplier.
        damping: weight c of the quadratic term c/2 alpha_l^2, at least 0. Without projection, c of
            2 sqrt(dual_lr / skip_lr) damps the oscillation of (alpha, lambda) critically.

    Raises:
        ValueError: for no constraint, a negative step size or damping, or step sizes of another shape.

    Example:
        >>> multipliers = Multipliers(num_constraints=2, dual_lr=0.5)
        >>> alpha = torch.tensor([1.0, 0.2])
        >>> multipliers.dual_step(alpha)
        >>> multipliers.values
        tensor([0.5000, 0.1000])
        >>> multipliers.penalty(alpha)
        tensor(0.5200)

    Source:
        Platt and Barr 1987, Constrained differential optimization, the basic and the modified differential
        multiplier method.
    """

    values: Tensor
    dual_lr: Tensor

    def __init__(
        self, num_constraints: int, dual_lr: float | Tensor = 1e-3, init: float = 0.0, damping: float = 0.0
    ) -> None:
        super().__init__()
        check_count("num_constraints", num_constraints)
        check_range("damping", damping, 0.0, math.inf)
        step_sizes = torch.as_tensor(dual_lr, dtype=torch.get_default_dtype())
        if step_sizes.shape not in ((), (num_constraints,)):
            raise ValueError(
                f"dual_lr must be one number or a tensor of shape ({num_constraints},), "
                f"got shape {tuple(step_sizes.shape)}."
            )
        if not bool((step_sizes >= 0).all()):  # false for NaN as well
            raise ValueError(f"dual_lr must be at least 0, got {dual_lr!r}.")
        self.damping = damping
        self.register_buffer("values", torch.full((num_constraints,), float(init)))
        self.register_buffer("dual_lr", step_sizes.expand(num_constraints).clone())

    def penalty(self, alpha: Tensor) -> Tensor:
        """Return sum_l lambda_l alpha_l + damping / 2 sum_l alpha_l^2, a scalar to be added to the loss.

        The multipliers are constants in it: its gradient reaches alpha alone.

        Args:
            alpha: skip weights, shape (L,).
        """
        penalty = torch.dot(self.values, alpha)
        if self.damping:
            penalty = penalty + 0.5 * self.damping * torch.dot(alpha, alpha)
        return penalty

    @torch.no_grad()
    def dual_step(self, alpha: Tensor) -> None:
        """Raise the multipliers in place: lambda_l <- lambda_l + dual_lr_l alpha_l.

        Args:
            alpha: skip weights after the primal step and the projection, shape (L,).
        """
        self.values.addcmul_(self.dual_lr, alpha)


@torch.no_grad()
def project(alpha: Tensor, cap: float = 1.0) -> None:
    """Clip skip weights to [0, cap] in place.

    Clipping at 0 treats the constraint as alpha_l <= 0 on the set alpha_l >= 0, whose only solution is
    alpha_l = 0. The equality alone would let alpha swing through 0 to negative values, an "anti-skip", and
    lambda back down with it: a linear loss makes of the two an undamped oscillator. With the clip lambda
    never falls, and alpha stays at 0 as soon as lambda_l is at least -dC/dalpha_l.

    Args:
        alpha: skip weights, shape (L,).
        cap: upper bound, in [0, 1].
    """
    alpha.clamp_(0.0, cap)


def spread_dual_lr(dual_lr: float, spread: float, num_constraints: int) -> Tensor:
    """Return one multiplier step size per layer, falling geometrically from the first layer to the last.

    dual_lr_l = dual_lr * spread^(1 - 2 (l - 1) / (L - 1)) for l = 1, ..., L: from spread * dual_lr down to
    dual_lr / spread, so that with a spread above 1 the skips nearest to the input go first.

    Args:
        dual_lr: the geometric mean of the step sizes, at least 0.
        spread: ratio of the first step size to the mean, above 0; 1 gives every layer the same.
        num_constraints: number of layers L.

    Returns:
        Step sizes, shape (L,).

    Raises:
        ValueError: for a negative step size or a spread that is not above 0.

    Example:
        >>> spread_dual_lr(1.0, spread=4.0, num_constraints=3)
        tensor([4.0000, 1.0000, 0.2500])
    """
    check_range("dual_lr", dual_lr, 0.0, math.inf)
    check_range("dual_lr_spread", spread, 0.0, math.inf, open_low=True)
    check_count("num_constraints", num_constraints)
    exponents = torch.linspace(1.0, -1.0, num_constraints) if num_constraints > 1 else torch.zeros(1)
    return dual_lr * spread**exponents


def predict_removal_step(
    skip_weight: float = 0.95, skip_lr: float = 1e-3, dual_lr: float = 1e-3, slope: float = 0.3
) -> float:
    """Predict the step at which one skip weight reaches 0, for a loss that is linear in it.

    With dC/dalpha = -k and the multiplier starting at 0, alpha'' + skip_lr dual_lr alpha = 0: an oscillator
    of frequency w = sqrt(skip_lr dual_lr) per step. With b = skip_lr k / w and A = sqrt(alpha_0^2 + b^2):

        A <= 1   alpha swings without touching 1, and is 0 at step  (pi - atan2(alpha_0, b)) / w
        A > 1    alpha climbs to 1 at step  t1 = (atan2(b, alpha_0) - acos(1 / A)) / w,  waits there until
                 the multiplier has grown to k, and then falls as cos(w t): it is 0 at step
                 t1 + (k - lambda(t1)) / dual_lr + pi / (2 w)

    Where the loss already pushes the skip out (k <= 0), alpha falls from the start and the first case holds.

    Args:
        skip_weight: initial skip weight alpha_0, in (0, 1].
        skip_lr: step size of the skip weight, above 0.
        dual_lr: step size of the multiplier, above 0.
        slope: k = -dC/dalpha, how strongly the loss holds on to the skip, per unit of alpha.

    Returns:
        The number of steps, not rounded.

    Raises:
        ValueError: for an initial skip weight outside (0, 1] or a step size that is not above 0.

    Example:
        >>> round(predict_removal_step(skip_weight=0.5, skip_lr=0.01, dual_lr=0.01, slope=0.3))
        211
        >>> round(predict_removal_step(skip_weight=0.95, skip_lr=3e-3, dual_lr=3e-4, slope=0.5))
        3323

    Source:
        Derived for this project; the oscillation: Platt and Barr 1987, Constrained differential optimization.
    """
    check_range("skip_weight", skip_weight, 0.0, 1.0, open_low=True)
    check_range("skip_lr", skip_lr, 0.0, math.inf, open_low=True)
    check_range("dual_lr", dual_lr, 0.0, math.inf, open_low=True)
    w = math.sqrt(skip_lr * dual_lr)
    b = skip_lr * slope / w
    amplitude = math.hypot(skip_weight, b)
    if amplitude <= 1.0 or b <= 0.0:
        return (math.pi - math.atan2(skip_weight, b)) / w
    t1 = (math.atan2(b, skip_weight) - math.acos(1.0 / amplitude)) / w
    velocity = -skip_weight * w * math.sin(w * t1) + b * w * math.cos(w * t1)
    multiplier = slope - velocity / skip_lr
    return t1 + (slope - multiplier) / dual_lr + math.pi / (2.0 * w)


def size_dual_lr(
    removal_step: float, skip_weight: float = 0.95, skip_lr: float = 1e-3, slope: float = 0.3
) -> float:
    """Return the multiplier step size for which `predict_removal_step` is `removal_step`.

    Args:
        removal_step: the step at which the skip weight should reach 0, above 0.
        skip_weight: initial skip weight, in (0, 1].
        skip_lr: step size of the skip weight, above 0.
        slope: -dC/dalpha, at least 0.

    Returns:
        dual_lr, by bisection of its logarithm to a relative error below 1e-9.

    Raises:
        ValueError: for values outside these bounds.

    Example:
        >>> dual_lr = size_dual_lr(1000, skip_weight=0.95, skip_lr=1e-3, slope=0.3)
        >>> round(predict_removal_step(0.95, 1e-3, dual_lr, 0.3))
        1000
    """
    check_range("removal_step", removal_step, 0.0, math.inf, open_low=True)
    check_range("slope", slope, 0.0, math.inf)
    low, high = math.log(1e-30), math.log(1e30)
    while high - low > 1e-10:
        middle = 0.5 * (low + high)
        if predict_removal_step(skip_weight, skip_lr, math.exp(middle), slope) > removal_step:
            low = middle
        else:
            high = middle
    return math.exp(0.5 * (low + high))


def falling_cap(step: int, num_steps: int, remove_by: float | None) -> float:
    """Return the upper bound that training puts on every skip weight after `step` of `num_steps` steps.

    A line that is 1 until half of `remove_by`, and 0 from `remove_by` on, both as fractions of the training:
    min(1, max(0, 2 - 2 step / (remove_by num_steps))). A line and not a cut, so that the network can follow
    while it loses what is left of its skips.

    Args:
        step: number of steps done.
        num_steps: number of steps of the whole training.
        remove_by: fraction of the training in (0, 1], or None for no cap.

    Returns:
        The cap, in [0, 1].

    Example:
        >>> [round(falling_cap(step, num_steps=90, remove_by=2 / 3), 6) for step in (0, 30, 45, 60, 90)]
        [1.0, 1.0, 0.5, 0.0, 0.0]
    """
    if remove_by is None:
        return 1.0
    return min(1.0, max(0.0, 2.0 - 2.0 * step / (remove_by * num_steps)))


SCHEDULES = ("multipliers", "fixed", "linear", "cosine")


def scheduled_skip_weight(
    schedule: str, step: int, num_steps: int, skip_weight: float, remove_by: float | None
) -> float:
    """Return the skip weight that a schedule without multipliers prescribes after `step` of `num_steps` steps.

    With t = step / (remove_by num_steps), and alpha_0 the initial skip weight:

        "fixed"    alpha_0
        "linear"   alpha_0 (1 - t)              until t = 1, then 0
        "cosine"   alpha_0 (1 + cos(pi t)) / 2  until t = 1, then 0

    These are what the multipliers are compared with: they do not look at the loss.

    Args:
        schedule: one of these three names.
        step: number of steps done.
        num_steps: number of steps of the whole training.
        skip_weight: initial skip weight alpha_0.
        remove_by: fraction of the training after which the skips are gone; None means its end.

    Returns:
        The skip weight.

    Raises:
        ValueError: for a name that is not one of the three.

    Example:
        >>> scheduled_skip_weight("linear", step=25, num_steps=100, skip_weight=0.8, remove_by=0.5)
        0.4
    """
    t = min(1.0, step / ((1.0 if remove_by is None else remove_by) * num_steps))
    if schedule == "fixed":
        return skip_weight
    if schedule == "linear":
        return skip_weight * (1.0 - t)
    if schedule == "cosine":
        return 0.0 if t == 1.0 else skip_weight * 0.5 * (1.0 + math.cos(math.pi * t))
    raise ValueError(f"schedule must be 'fixed', 'linear' or 'cosine', got {schedule!r}.")
