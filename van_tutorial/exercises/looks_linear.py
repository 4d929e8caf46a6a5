"""The checks of lesson 8, looks-linear."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from van_tutorial.exercises.checker import Check, Feedback, judge, judge_function


def check_mirrored_weight(function: Callable[[Tensor], Any]) -> Feedback:
    """Check a function that returns the weight W with W crelu(z) = V z, where crelu(z) = (relu(z), relu(-z)).

    Args:
        function: the learner's; gets V of shape (m, n) and returns W of shape (m, 2 n), or None while it is a stub.

    Returns:
        The verdict with a hint.
    """
    free = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    slips = {"sign": torch.cat((-free, free), dim=1), "magnitude": torch.cat((free, free), dim=1)}
    check = Check(torch.cat((free, -free), dim=1), slips)
    return judge_function("mirrored_weight", function, [(free,)], check)


def check_stretch(stretch: float | None, scale: float, depth: int) -> Feedback:
    """Check by how much a looks-linear network stretches its input when its layers' weights have a factor.

    Args:
        stretch: the learner's largest singular value of the Jacobian; None where there is none yet.
        scale: factor of the weights of the `depth` layers; those of the input layer and the head have none.
        depth: number of layers.

    Returns:
        The verdict with a hint: right to two significant digits.
    """
    slips = {
        "ends": scale ** (depth + 2),
        "no_factor": 1.0,
        "one_layer": scale,
        "multiple": scale * depth,
        "square": scale ** (2 * depth),
    }
    return judge("stretch", stretch, Check(scale**depth, slips))


def check_crelu_width(width: float | None, plain_width: int) -> Feedback:
    """Check the width at which layers with crelu have about as many weights as ordinary ones.

    Args:
        width: the learner's; None where there is none yet.
        plain_width: units n of an ordinary layer, which has n^2 weights.

    Returns:
        The verdict with a hint: right to two significant digits.
    """
    check = Check(plain_width / 2**0.5, {"half": plain_width / 2})
    return judge("crelu_width", width, check, plain_width=plain_width)
