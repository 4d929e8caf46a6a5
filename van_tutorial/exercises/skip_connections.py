"""The checks of lesson 4, skip-connections."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from van_tutorial.exercises.feedback import Feedback, compare, is_number


def check_number_of_paths(number: int | None, depth: int, longest: int) -> Feedback:
    """Check how many paths through a residual network pass at most so many of its layers.

    Args:
        number: the learner's; None where there is none yet.
        depth: number of layers of the network.
        longest: number of layers that a path may pass.

    Returns:
        The verdict with a hint.
    """
    right = sum(math.comb(depth, length) for length in range(longest + 1))
    if number is not None and is_number(number):
        slips = {
            2**longest: f"those are all paths through a network of {longest} layers.",
            math.perm(depth, longest): "a path has no order: choose layers, do not line them up (math.comb).",
            math.comb(depth, longest): f"those pass exactly {longest}: count the shorter ones too.",
            right - 1: "one is missing: the path that passes no layer at all.",
            2**depth: "those are all paths there are.",
        }
        if number in slips and number != right:
            return Feedback(False, slips[int(number)])
        if number == right:
            return Feedback(True, f"{right:,} of {2**depth:,}.")
    return compare(
        number,
        right,
        0.0,
        "there is no number yet. How many ways are there to choose k layers out of all? (math.comb)",
        f"there are more: add up the ways to choose 0, 1, … {longest} layers out of {depth}.",
        f"there are fewer: add up the ways to choose 0, 1, … {longest} layers out of {depth}.",
    )


def check_transform_bias(bias: float | None, depth: int, share: float) -> Feedback:
    """Check the transform bias with which the direct path of a highway network keeps a share of the gradient.

    Args:
        bias: the learner's number; None where there is none yet.
        depth: number of highway layers.
        share: (1 - sigmoid(bias))^depth, which is to come out.

    Returns:
        The verdict with a hint: right within 0.05.
    """
    carried = share ** (1.0 / depth)
    right = math.log((1.0 - carried) / carried)
    if bias is not None and is_number(bias) and abs(bias + right) <= 0.05:
        return Feedback(False, "the sign is the wrong way round: a gate that lets x past is nearly closed.")
    if bias is not None and is_number(bias) and abs(bias - 1.0 + carried) <= 1e-4:
        return Feedback(False, "that is the gate T: with which bias is sigmoid(b) as small as that?")
    verdict = compare(
        bias,
        right,
        0.05,
        "there is no number yet. Every layer keeps 1 - sigmoid(b), so all of them its power.",
        "that keeps more than was asked for: the gates may open a little further.",
        "that keeps less: the gates must be closed further.",
    )
    return Feedback(True, f"b = {right:.2f}, so T = {1.0 - carried:.4f}.") if verdict.is_right else verdict


def check_highway(function: Callable[[Tensor, Tensor, Tensor], Any]) -> Feedback:
    """Check a function that returns a highway layer's output.

    Args:
        function: the learner's; gets x, f(x) and W_T x + b_T, all of shape (N, n), and returns None while it is a stub.

    Returns:
        The verdict with a hint.
    """
    x, output, gate = (torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1, 2))
    share = torch.sigmoid(gate)
    try:
        found = function(x.clone(), output.clone(), gate.clone())
    except Exception as error:  # whatever a learner's function may raise
        return Feedback(False, f"it raised {type(error).__name__}: {error}")
    if found is None:
        return Feedback(False, "it returns nothing yet. First the gate: T = torch.sigmoid(gate).")
    if not isinstance(found, Tensor) or found.shape != x.shape:
        return Feedback(
            False, f"it must return a tensor of the shape of x, {tuple(x.shape)}: the sum of both parts."
        )
    if torch.allclose(found, share * output + (1 - share) * x, atol=1e-5):
        return Feedback(True, "it agrees with the library's highway layer.")
    slips = {
        "the two are exchanged: T belongs to f(x).": share * x + (1 - share) * output,
        "the gate needs a sigmoid, which makes it a share from 0 to 1.": gate * output + (1 - gate) * x,
        "what T takes must be taken off x: 1 - T(x).": share * output + x,
        "x is missing: what T leaves, 1 - T(x), belongs to it.": share * output,
        "that is a residual layer: the gate T divides the output between f(x) and x.": output + x,
    }
    for message, slip in slips.items():
        if torch.allclose(found, slip, atol=1e-5):
            return Feedback(False, message)
    return Feedback(False, "it is not T f(x) + (1 - T) x, unit by unit.")
