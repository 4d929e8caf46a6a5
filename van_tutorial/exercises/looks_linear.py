"""The checks of lesson 8, looks-linear."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from van_tutorial.exercises.feedback import Feedback, compare, is_number


def check_mirrored_weight(function: Callable[[Tensor], Any]) -> Feedback:
    """Check a function that returns the weight W with W crelu(z) = V z, where crelu(z) = (relu(z), relu(-z)).

    Args:
        function: the learner's; gets V of shape (m, n) and returns W of shape (m, 2 n), or None while it is a stub.

    Returns:
        The verdict with a hint.
    """
    free = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    z = torch.tensor([1.0, -2.0, 3.0])
    activated = torch.cat((torch.relu(z), torch.relu(-z)))
    try:
        weight = function(free.clone())
        if weight is None:
            return Feedback(False, "it returns nothing yet. z = relu(z) - relu(-z); so V z = …")
        if not isinstance(weight, Tensor):
            return Feedback(False, f"it must return one tensor, got {type(weight).__name__}.")
        if weight.shape != (2, 6):
            return Feedback(
                False,
                f"for V of shape (2, 3) it returns shape {tuple(weight.shape)}; crelu(z) has 6 entries, so it "
                "takes (2, 6): join side by side, torch.cat(…, dim=1).",
            )
        found = weight @ activated
    except Exception as error:  # whatever a learner's function may raise
        return Feedback(False, f"it raised {type(error).__name__}: {error}")
    if torch.allclose(found, free @ z):
        return Feedback(True, "W crelu(z) = V z.")
    if torch.allclose(found, -free @ z):
        return Feedback(False, "the sign is the wrong way round: it gives -V z.")
    if torch.allclose(found, free @ z.abs()):
        return Feedback(False, "it gives V |z|: what relu(-z) is worth must count negative.")
    return Feedback(
        False, "it does not give V z: crelu(z) holds all of relu(z) first and then all of relu(-z)."
    )


def check_stretch(stretch: float | None, scale: float, depth: int) -> Feedback:
    """Check by how much a looks-linear network stretches its input when its layers' weights have a factor.

    Args:
        stretch: the learner's largest singular value of the Jacobian; None where there is none yet.
        scale: factor of the weights of the `depth` layers; those of the input layer and the head have none.
        depth: number of layers.

    Returns:
        The verdict with a hint.
    """
    right = scale**depth
    if stretch is not None and is_number(stretch):
        slips = {
            scale ** (depth + 2): "input layer and head do not have the factor.",
            1.0: "that is the stretch without the factor.",
            scale: "that is one layer: the layers multiply.",
            scale * depth: "the layers multiply: a power of the factor, and not a multiple.",
            scale
            ** (2 * depth): "that is its square: a singular value, not the squared length, is asked for.",
        }
        for slip, message in slips.items():
            if abs(stretch - slip) <= 0.01 * slip < abs(slip - right):
                return Feedback(False, message)
    return compare(
        stretch,
        right,
        0.01 * right,
        "there is no number yet. Each layer is an orthogonal matrix times the factor.",
        "it is larger than that.",
        "it is smaller than that.",
    )


def check_crelu_width(width: float | None, plain_width: int) -> Feedback:
    """Check the width at which layers with crelu have about as many weights as ordinary ones.

    Args:
        width: the learner's; None where there is none yet.
        plain_width: units n of an ordinary layer, which has n^2 weights.

    Returns:
        The verdict with a hint.
    """
    right = plain_width / 2**0.5
    if width == plain_width / 2:
        return Feedback(
            False, "at half the width a layer has half as many weights: n / 2 times 2 (n / 2) inputs."
        )
    verdict = compare(
        width,
        right,
        0.6,
        "there is no number yet: a layer of m units sees 2 m inputs, so it has 2 m^2 weights.",
        f"such layers have fewer weights than {plain_width}^2: m units have 2 m^2.",
        f"such layers have more weights than {plain_width}^2: m units have 2 m^2.",
    )
    return Feedback(True, f"{plain_width} / sqrt(2) = {right:.1f}.") if verdict.is_right else verdict
