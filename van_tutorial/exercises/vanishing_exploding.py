"""The checks of lesson 2, vanishing and exploding."""

import math

import numpy as np
import pandas as pd

from van_tutorial.exercises.checker import Check, Feedback, judge


def check_level_gradients(norms: pd.DataFrame | None, factor: float = 10.0) -> Feedback:
    """Check that a network's gradients are about equally large in all layers.

    Args:
        norms: from `diagnostics.layer_norms`; None where there is none yet.
        factor: the largest norm may be at most this many times the smallest, above 1.

    Returns:
        The verdict with a hint.
    """

    def ratio(gradients: "pd.Series[float]") -> float:
        return float(gradients.max() / gradients.min()) if gradients.min() > 0 else math.inf

    slips = {
        "not_finite": lambda gradients: gradients.empty or not np.isfinite(gradients).all(),
        "vanishes": lambda gradients: ratio(gradients) > factor and gradients.iloc[0] < gradients.iloc[-1],
        "explodes": lambda gradients: ratio(gradients) > factor,
    }
    gradients = None if norms is None else norms["output_grad_norm"]
    return judge("level_gradients", gradients, Check(None, slips), ratio=ratio)


def check_layer_factor(factor: float | None, init_scale: float) -> Feedback:
    """Check by which factor one layer changes the norm of a gradient (root of the mean square).

    Args:
        factor: the learner's number; None where there is none yet.
        init_scale: factor of the He weights.

    Returns:
        The verdict with a hint: right to two significant digits.
    """
    slips = {
        "square": init_scale**2,
        "variance": 2.0 * init_scale**2,
        "sigma": 2.0**0.5 * init_scale,
        "without_he": init_scale**2 / 2.0,
        "half": init_scale / 2.0,
    }
    return judge("layer_factor", factor, Check(init_scale, slips))
