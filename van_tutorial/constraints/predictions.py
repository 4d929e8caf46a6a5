"""The constraint's own dynamics, for a loss that is linear or quadratic in the skip weight: an oscillator.

    alpha' = -skip_lr (-k + curvature alpha + lambda + damping alpha)      lambda' = dual_lr alpha

    alpha'' + skip_lr c alpha' + skip_lr dual_lr alpha = 0      with c = damping + curvature

a mass on a spring: w = sqrt(skip_lr dual_lr) is its frequency per step, skip_lr c its friction.
"""

import cmath
import math

import numpy as np
import pandas as pd
import torch

from van_tutorial._checks import check_count, check_range
from van_tutorial.constraints.multipliers import Multipliers, project


def predict_removal_step(
    skip_weight: float = 0.95, skip_lr: float = 1e-3, dual_lr: float = 1e-3, slope: float = 0.0
) -> float:
    """Predict the step at which one skip weight reaches 0, for a loss that is linear in it.

    With dC/dalpha = -k and the multiplier starting at 0, alpha'' + skip_lr dual_lr alpha = 0: an oscillator
    of frequency w = sqrt(skip_lr dual_lr) per step. With b = skip_lr k / w and A = sqrt(alpha_0^2 + b^2):

        A <= 1   alpha swings without touching 1, and is 0 at step  (pi - atan2(alpha_0, b)) / w
        A > 1    alpha climbs to 1 at step  t1 = (atan2(b, alpha_0) - acos(1 / A)) / w,  waits there until
                 the multiplier has grown to k, and then falls as cos(w t): it is 0 at step
                 t1 + (k - lambda(t1)) / dual_lr + pi / (2 w)

    Where the loss already pushes the skip out (k <= 0), alpha falls from the start and the first case holds. With
    k = 0 the skip weight is alpha_0 cos(w t): a clock, which reaches 0 after pi / (2 w) steps. Slopes measured in
    training are near 0.

    Args:
        skip_weight: initial skip weight alpha_0, in (0, 1].
        skip_lr: learning rate of the skip weight, above 0.
        dual_lr: learning rate of the multiplier, above 0.
        slope: k = -dC/dalpha, how strongly the loss holds on to the skip, per unit of alpha.

    Returns:
        The number of steps, not rounded.

    Raises:
        ValueError: for an initial skip weight outside (0, 1], a learning rate that is not above 0, or a slope that is
            not finite.

    Example:
        >>> round(predict_removal_step(skip_weight=0.5, skip_lr=0.01, dual_lr=0.01))
        157
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
    check_range("slope", slope, -math.inf, math.inf)
    w = math.sqrt(skip_lr * dual_lr)
    b = skip_lr * slope / w
    amplitude = math.hypot(skip_weight, b)
    if amplitude <= 1.0 or b <= 0.0:
        return (math.pi - math.atan2(skip_weight, b)) / w
    t1 = (math.atan2(b, skip_weight) - math.acos(1.0 / amplitude)) / w
    velocity = -skip_weight * w * math.sin(w * t1) + b * w * math.cos(w * t1)
    multiplier = slope - velocity / skip_lr
    return t1 + (slope - multiplier) / dual_lr + math.pi / (2.0 * w)


def price_ratio(
    skip_weight: float = 0.95, skip_lr: float = 1e-3, dual_lr: float = 1e-3, price: float = 0.03
) -> float:
    """Return by how much a multiplier outgrows the price of its skip: the number that parts clock and market.

        r = alpha_0 sqrt(dual_lr / skip_lr) / |price|

    By the clock alone alpha_l = alpha_0 cos(w t), and the multiplier, dual_lr times the sum of it, ends at
    dual_lr alpha_0 / w = alpha_0 sqrt(dual_lr / skip_lr). In `predict_removal_step` with the price as slope, b is
    alpha_0 / r, so that a skip which does not touch 1 on its way is removed after

        (pi - atan(r)) / w        for a price above 0: from pi / (2 w) for r far above 1, to pi / w for r near 0
        atan(r) / w               for one below 0: the loss removes the skip as well

    Far above 1 the phase-out is a *clock*: it removes the skip after pi / (2 w) steps, for any loss. Near 1
    and below it is a *market*: the skip stays until its multiplier has passed its price, so that cheap skips are
    removed first. In the amplitude alpha_0 sqrt(1 + 1 / r^2) of the oscillation a small r means that the skip waits
    at 1.

    Args:
        skip_weight: initial skip weight alpha_0, in (0, 1].
        skip_lr: learning rate of the skip weight, above 0.
        dual_lr: learning rate of the multiplier, at least 0.
        price: of the skip, -dC/dalpha at alpha = 0, in nats per unit of skip weight (`diagnostics.shortcut_prices`).

    Returns:
        r, at least 0; infinite for a price of 0.

    Raises:
        ValueError: for values outside these bounds.

    Example:
        >>> round(price_ratio(skip_weight=0.95, skip_lr=1e-3, dual_lr=1e-3, price=0.03), 1)
        31.7

    Source:
        Derived for this project.
    """
    check_range("skip_weight", skip_weight, 0.0, 1.0, open_low=True)
    check_range("skip_lr", skip_lr, 0.0, math.inf, open_low=True)
    check_range("dual_lr", dual_lr, 0.0, math.inf)
    check_range("price", price, -math.inf, math.inf)
    multiplier = skip_weight * math.sqrt(dual_lr / skip_lr)
    return multiplier / abs(price) if price else math.inf


def size_dual_lr(
    removal_step: float, skip_weight: float = 0.95, skip_lr: float = 1e-3, slope: float = 0.0
) -> float:
    """Return the dual learning rate for which `predict_removal_step` is `removal_step`.

    Args:
        removal_step: the step at which the skip weight should reach 0, above 0.
        skip_weight: initial skip weight, in (0, 1].
        skip_lr: learning rate of the skip weight, above 0.
        slope: -dC/dalpha, at least 0.

    Returns:
        dual_lr, by bisection of its logarithm to a relative error below 1e-9.

    Raises:
        ValueError: for values outside these bounds.

    Example:
        >>> dual_lr = size_dual_lr(1000, skip_weight=0.95, skip_lr=1e-3)
        >>> round(predict_removal_step(0.95, 1e-3, dual_lr))
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


def critical_damping(skip_lr: float, dual_lr: float) -> float:
    """Return the weight of the quadratic term with which alpha comes to 0 soonest without oscillating.

    c* = 2 sqrt(dual_lr / skip_lr): below it (alpha, lambda) oscillates, above it creeps. Pushed hard at the start alpha
    may still pass 0 once, at c* where k < c* alpha_0 / 2. It holds without projection, for a loss that is linear in
    alpha; curvature of the loss adds to the damping.

    Args:
        skip_lr: learning rate of the skip weight, above 0.
        dual_lr: learning rate of the multiplier, at least 0.

    Returns:
        c*, in nats per squared unit of skip weight.

    Raises:
        ValueError: for values outside these bounds.

    Example:
        >>> critical_damping(skip_lr=0.01, dual_lr=0.0025)
        1.0

    Source:
        Platt and Barr 1987, Constrained differential optimization, the modified differential multiplier method;
        the constant derived for this project.
    """
    check_range("skip_lr", skip_lr, 0.0, math.inf, open_low=True)
    check_range("dual_lr", dual_lr, 0.0, math.inf)
    return 2.0 * math.sqrt(dual_lr / skip_lr)


def predict_path(
    num_steps: int,
    skip_weight: float = 0.95,
    skip_lr: float = 1e-3,
    dual_lr: float = 1e-3,
    slope: float = 0.0,
    damping: float = 0.0,
    curvature: float = 0.0,
    is_projected: bool = True,
) -> pd.DataFrame:
    """Predict the path of one skip weight and its multiplier, in closed form.

    Between the bounds both follow the oscillator: with g = skip_lr c / 2 and s = sqrt(g^2 - w^2), which may be
    imaginary, alpha(t) = e^(-g t) (alpha_0 cosh(s t) + (alpha'_0 + g alpha_0) sinh(s t) / s), and
    lambda = k - c alpha - alpha' / skip_lr. With projection alpha waits at 1 until the multiplier has grown to
    k - c, and stays at 0 once it is there, where the multiplier is at least k.

    Args:
        num_steps: steps T.
        skip_weight: initial skip weight alpha_0, in [0, 1].
        skip_lr: learning rate of the skip weight, above 0.
        dual_lr: learning rate of the multiplier, at least 0.
        slope: k = -dC/dalpha at alpha = 0, in nats per unit of skip weight.
        damping: weight of the quadratic term, at least 0.
        curvature: d2C/dalpha2, the loss's own, at least 0.
        is_projected: whether alpha is clipped to [0, 1].

    Returns:
        T + 1 rows: step, skip_weight, multiplier (in nats per unit of skip weight).

    Raises:
        ValueError: for values outside these bounds.

    Example:
        >>> path = predict_path(300, skip_weight=0.5, skip_lr=0.01, dual_lr=0.01, slope=0.3)
        >>> int((path["skip_weight"] == 0).argmax())
        212

    Source:
        Platt and Barr 1987, Constrained differential optimization, the basic and the modified differential
        multiplier method; the phases at the bounds derived for this project.
    """
    check_path(num_steps, skip_weight, skip_lr, dual_lr, slope, damping, curvature)
    c = damping + curvature
    alpha, multiplier = np.zeros(num_steps + 1), np.zeros(num_steps + 1)
    start, a, m = 0.0, skip_weight, 0.0
    while start <= num_steps:
        first = math.ceil(start)
        times = np.arange(first, num_steps + 1) - start
        alpha[first:], multiplier[first:] = oscillate(times, a, m, skip_lr, dual_lr, slope, c)
        outside = np.flatnonzero((alpha[first:] < 0.0) | (alpha[first:] > 1.0))
        if not is_projected or len(outside) == 0:
            break
        here = first + int(outside[0])
        if alpha[here] < 0.0:
            alpha[here:], multiplier[here:] = 0.0, max(multiplier[here - 1 : here + 1])
            break
        a, m = 1.0, slope - c  # where it will leave 1 again
        waiting = np.arange(num_steps + 1 - here)
        alpha[here:], multiplier[here:] = 1.0, multiplier[here] + dual_lr * waiting
        start = here + (m - multiplier[here]) / dual_lr if dual_lr > 0.0 else math.inf
    return pd.DataFrame({"step": range(num_steps + 1), "skip_weight": alpha, "multiplier": multiplier})


def oscillate(
    times: np.ndarray, alpha: float, multiplier: float, skip_lr: float, dual_lr: float, slope: float, c: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return skip weight and multiplier at some times after they were `alpha` and `multiplier`, without bounds."""
    g = 0.5 * skip_lr * c
    s = cmath.sqrt(g * g - skip_lr * dual_lr)
    velocity = skip_lr * (slope - multiplier - c * alpha)
    push = velocity + g * alpha
    path: np.ndarray
    speed: np.ndarray
    if abs(s) * max(1, len(times)) < 1e-6:  # critical: sinh(s t) / s has become t
        path = np.exp(-g * times) * (alpha + push * times)
        speed = np.exp(-g * times) * push - g * path
    else:
        grow, decay = np.exp((s - g) * times), np.exp((-s - g) * times)
        path = (0.5 * alpha * (grow + decay) + push * (grow - decay) / (2 * s)).real
        speed = (0.5 * alpha * s * (grow - decay) + 0.5 * push * (grow + decay)).real - g * path
    return path, slope - c * path - speed / skip_lr


def simulate_path(
    num_steps: int,
    skip_weight: float = 0.95,
    skip_lr: float = 1e-3,
    dual_lr: float = 1e-3,
    slope: float = 0.0,
    damping: float = 0.0,
    curvature: float = 0.0,
    is_projected: bool = True,
) -> pd.DataFrame:
    """Let the library's own steps go where `predict_path` says they will.

    C(alpha) = -slope alpha + curvature / 2 alpha^2; a primal step, the projection, and a dual step by
    `Multipliers`, as in training, in double precision.

    Args:
        num_steps: steps T.
        skip_weight: initial skip weight, in [0, 1].
        skip_lr: learning rate of the skip weight, above 0.
        dual_lr: learning rate of the multiplier, at least 0.
        slope: -dC/dalpha at alpha = 0.
        damping: weight of the quadratic term, at least 0.
        curvature: d2C/dalpha2, at least 0.
        is_projected: whether alpha is clipped to [0, 1].

    Returns:
        T + 1 rows: step, skip_weight, multiplier.

    Raises:
        ValueError: for values outside these bounds.

    Example:
        >>> path = simulate_path(300, skip_weight=0.5, skip_lr=0.01, dual_lr=0.01, slope=0.3)
        >>> float(path["skip_weight"].iloc[-1])
        0.0
    """
    check_path(num_steps, skip_weight, skip_lr, dual_lr, slope, damping, curvature)
    alpha = torch.tensor([skip_weight], dtype=torch.float64, requires_grad=True)
    multipliers = Multipliers(1, dual_lr=dual_lr, damping=damping).double()
    path = [(skip_weight, 0.0)]
    for _ in range(num_steps):
        loss = (-slope * alpha + 0.5 * curvature * alpha.square()).sum()
        (gradient,) = torch.autograd.grad(loss + multipliers.penalty(alpha), alpha)
        with torch.no_grad():
            alpha.sub_(gradient, alpha=skip_lr)
        if is_projected:
            project(alpha)
        multipliers.dual_step(alpha)
        path.append((alpha.item(), multipliers.values.item()))
    return pd.DataFrame(path, columns=["skip_weight", "multiplier"]).rename_axis("step").reset_index()


def first_zero_step(path: pd.DataFrame) -> int | None:
    """Return the step at which the skip weight of a path is 0 for the first time, or None.

    Args:
        path: columns step, skip_weight, as `simulate_path` and `predict_path` return them.

    Returns:
        The step.

    Example:
        >>> first_zero_step(pd.DataFrame({"step": [0, 1, 2], "skip_weight": [0.5, 0.0, 0.0]}))
        1
    """
    removed = path.loc[path["skip_weight"] == 0.0, "step"]
    return int(removed.iloc[0]) if len(removed) else None


def check_path(
    num_steps: int,
    skip_weight: float,
    skip_lr: float,
    dual_lr: float,
    slope: float,
    damping: float,
    curvature: float,
) -> None:
    """Raise unless a path can be followed with these values."""
    check_count("num_steps", num_steps)
    check_range("skip_weight", skip_weight, 0.0, 1.0)
    check_range("skip_lr", skip_lr, 0.0, math.inf, open_low=True)
    check_range("dual_lr", dual_lr, 0.0, math.inf)
    check_range("slope", slope, -math.inf, math.inf)
    check_range("damping", damping, 0.0, math.inf)
    check_range("curvature", curvature, 0.0, math.inf)
