"""The checks of lesson 3, shattered gradients."""

from collections.abc import Callable

import torch
from torch import Tensor

from van_tutorial.diagnostics import gradient_autocorrelation, predicted_correlation
from van_tutorial.exercises.checker import Check, Feedback, is_no_number, judge, judge_function


def check_autocorrelation(function: Callable[[Tensor, int], float | Tensor | None]) -> Feedback:
    """Check a function that returns the autocorrelation of a signal at one lag.

    Args:
        function: the learner's; gets a signal of shape (N,) and a lag, and returns None while it is a stub.

    Returns:
        The verdict with a hint.
    """
    signal = torch.tensor([3.0, 5.0, 4.0, 6.0, 5.0, 9.0, 8.0, 12.0])
    z, lags = signal - signal.mean(), range(4)
    slips = {
        "scale": lambda found: abs(found[0] - 1.0) > 1e-4,
        "mean": torch.stack([signal[: 8 - lag] @ signal[lag:] / signal.square().sum() for lag in lags]),
        "ring": torch.stack([z @ z.roll(lag) / z.square().sum() for lag in lags]),
    }
    check = Check(gradient_autocorrelation(signal, max_lag=3), slips)
    return judge_function("autocorrelation", function, [(signal, lag) for lag in lags], check)


def check_skip_weight(skip_weight: float | None, depth: int = 50, correlation: float = 0.5) -> Feedback:
    """Check the smallest skip weight with which theory keeps the gradients of a VAN correlated.

    Args:
        skip_weight: the learner's number; None where there is none yet.
        depth: number of layers.
        correlation: that the gradients at two inputs must have at least.

    Returns:
        The verdict with a hint: right where it is enough, and 0.01 less is not.
    """

    def left(skip_weight: float) -> float:
        return predicted_correlation(depth, "van", skip_weight=max(0.0, float(skip_weight)))

    slips = {
        "not_number": is_no_number,
        "range": lambda skip_weight: not 0.0 <= skip_weight <= 1.0,
        "too_small": lambda skip_weight: left(skip_weight) < correlation,
        "too_large": lambda skip_weight: skip_weight > 0.0 and left(skip_weight - 0.01) >= correlation,
    }
    return judge("skip_weight", skip_weight, Check(None, slips), left=left, depth=depth)
