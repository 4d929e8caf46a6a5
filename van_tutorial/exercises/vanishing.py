"""The checks of lesson 2, vanishing and exploding."""

import pandas as pd

from van_tutorial.exercises.feedback import Feedback, compare, is_number


def check_level_gradients(norms: pd.DataFrame | None, factor: float = 10.0) -> Feedback:
    """Check that a network's gradients are about equally large in all layers.

    Args:
        norms: from `diagnostics.layer_norms`; None where there is none yet.
        factor: the largest norm may be at most this many times the smallest.

    Returns:
        The verdict with a hint.
    """
    if norms is None:
        return Feedback(False, "there are no norms yet. Give my_scale a number between 0.5 and 2.")
    gradients = norms["output_grad_norm"]
    if len(gradients) == 0 or gradients.isna().any():
        return Feedback(
            False,
            "some gradients are not a number: signals have grown out of range, so take a smaller scale.",
        )
    ratio = float(gradients.max() / gradients.min()) if gradients.min() > 0 else float("inf")
    if ratio <= factor:
        return Feedback(True, f"the largest gradient is {ratio:.2g} times the smallest.")
    is_vanishing = gradients.iloc[0] < gradients.iloc[-1]
    return Feedback(
        False,
        f"the largest gradient is {ratio:.2g} times the smallest: on the way back it "
        + ("vanishes, so take a larger scale." if is_vanishing else "explodes, so take a smaller scale."),
    )


def check_layer_factor(factor: float | None, init_scale: float) -> Feedback:
    """Check by which factor one layer changes the length of a gradient, on average over its square.

    Args:
        factor: the learner's number; None where there is none yet.
        init_scale: factor of the He weights.

    Returns:
        The verdict with a hint.
    """
    slips = {
        init_scale**2: "that is the factor of the squared length: take its root.",
        2.0
        * init_scale
        ** 2: "that is sigma_w^2: half of the units let the gradient pass; and then take the root.",
        2.0**0.5 * init_scale: "that is sigma_w: half of the units let the gradient pass.",
        init_scale**2 / 2.0: "He's weights have a variance of 2 / n: sigma_w^2 = 2 init_scale^2.",
        init_scale / 2.0: "the gates halve the *squared* length, and He's 2 makes up for that.",
    }
    if factor is not None and is_number(factor) and abs(factor - init_scale) > 0.005:
        for slip, hint in slips.items():
            if abs(factor - slip) <= 0.005:
                return Feedback(False, hint)
    return compare(
        factor,
        init_scale,
        0.005,
        "there is no number yet: sigma_w^2 = 2 init_scale^2, and half of the units let it pass.",
        "it is larger: the factor of the square is sigma_w^2 / 2.",
        "it is smaller: only half of the units let the gradient pass.",
    )
