"""The checks of lesson 3, shattered gradients."""

from collections.abc import Callable

import torch
from torch import Tensor

from van_tutorial.diagnostics import gradient_autocorrelation, predicted_correlation
from van_tutorial.exercises.feedback import Feedback, is_number


def check_autocorrelation(function: Callable[[Tensor, int], float | Tensor | None]) -> Feedback:
    """Check a function that returns the autocorrelation of a signal at one lag.

    Args:
        function: the learner's; gets a signal of shape (N,) and a lag, and returns None while it is a stub.

    Returns:
        The verdict with a hint.
    """
    signal = torch.tensor([3.0, 5.0, 4.0, 6.0, 5.0, 9.0, 8.0, 12.0])
    right = gradient_autocorrelation(signal, max_lag=3)
    try:
        found = [function(signal.clone(), lag) for lag in range(4)]
        if all(value is None for value in found):
            return Feedback(
                False, "it returns nothing yet. First take the mean off: z = signal - signal.mean()."
            )
        if any(value is None for value in found):
            return Feedback(False, "it returns nothing at some lag from 0 to 3.")
        values = torch.tensor([float(value) for value in found if value is not None])
    except Exception as error:  # whatever a learner's function may raise
        hint = ""
        if "size of tensor a (0)" in str(error):
            hint = " At lag 0, z[:-lag] is empty: write z[: len(z) - lag]."
        elif "only one element" in str(error) or "only integer" in str(error):
            hint = " It must return one number, for one lag."
        return Feedback(False, f"it raised {type(error).__name__}: {error}.{hint}")
    if torch.allclose(values, right, atol=1e-4):
        return Feedback(True, "it agrees with the library at lags 0 to 3.")
    if abs(float(values[0]) - 1.0) > 1e-4:
        return Feedback(False, "at lag 0 it must be 1: divide by the sum of z_i^2.")
    uncentred = [float((signal[: 8 - lag] * signal[lag:]).sum() / signal.square().sum()) for lag in range(4)]
    if torch.allclose(values, torch.tensor(uncentred), atol=1e-4):
        return Feedback(False, "the mean is still in it: a constant then counts as correlation.")
    z = signal - signal.mean()
    wrapped = torch.stack([(z * z.roll(lag)).sum() / z.square().sum() for lag in range(4)])
    if torch.allclose(values, wrapped, atol=1e-4):
        return Feedback(
            False, "its end is multiplied by its beginning: a signal does not go round in a ring."
        )
    return Feedback(
        False, "at some lag it differs: the sum of z_i z_{i+k} runs over the N - k pairs that there are."
    )


def check_skip_weight(skip_weight: float | None, depth: int = 50, correlation: float = 0.5) -> Feedback:
    """Check the smallest skip weight with which theory keeps the gradients of a VAN correlated.

    Args:
        skip_weight: the learner's number; None where there is none yet.
        depth: number of layers.
        correlation: that the gradients at two inputs must have at least.

    Returns:
        The verdict with a hint.
    """
    if skip_weight is None:
        return Feedback(
            False, "there is no number yet. Try some in diagnostics.predicted_correlation(depth, 'van', …)."
        )
    if not is_number(skip_weight):
        return Feedback(False, f"{skip_weight!r} is not a number.")
    if not 0.0 <= skip_weight <= 1.0:
        return Feedback(False, "a skip weight lies between 0 and 1.")
    skip_weight = float(skip_weight)
    found = predicted_correlation(depth, "van", skip_weight=skip_weight)
    if found < correlation:
        return Feedback(False, f"that leaves a correlation of {found:.2f}: take more of the skip.")
    if (
        skip_weight >= 0.02
        and predicted_correlation(depth, "van", skip_weight=skip_weight - 0.02) >= correlation
    ):
        return Feedback(False, f"that leaves {found:.2f}, but less of the skip would do.")
    return Feedback(
        True, f"a skip weight of {skip_weight:.2f} leaves a correlation of {found:.2f} at depth {depth}."
    )
