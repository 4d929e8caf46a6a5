"""The checks of lesson 4, skip-connections."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from van_tutorial.exercises.checker import Check, Feedback, judge, judge_function


def check_number_of_paths(number: int | None, depth: int, longest: int) -> Feedback:
    """Check how many paths through a residual network pass at most so many of its layers.

    Args:
        number: the learner's; None where there is none yet.
        depth: number of layers of the network.
        longest: number of layers that a path may pass.

    Returns:
        The verdict with a hint.
    """
    count = sum(math.comb(depth, length) for length in range(longest + 1))
    slips = {
        "small_network": 2**longest,
        "direct": count - 1,
        "order": math.perm(depth, longest),
        "exactly": math.comb(depth, longest),
        "all_paths": 2**depth,
    }
    return judge("number_of_paths", number, Check(count, slips), depth=depth, longest=longest, all=2**depth)


def check_transform_bias(bias: float | None, depth: int, fraction: float) -> Feedback:
    """Check the transform bias with which the direct path of a highway network keeps a fraction of the gradient.

    Args:
        bias: the learner's number; None where there is none yet.
        depth: number of highway layers.
        fraction: (1 - sigmoid(bias))^depth, the fraction that is asked for.

    Returns:
        The verdict with a hint: right to two significant digits.
    """
    carried = fraction ** (1.0 / depth)
    expected = math.log((1.0 - carried) / carried)
    slips = {"sign": -expected, "gate": 1.0 - carried}
    return judge("transform_bias", bias, Check(expected, slips), gate=1.0 - carried)


def check_highway(function: Callable[[Tensor, Tensor, Tensor], Any]) -> Feedback:
    """Check a function that returns a highway layer's output.

    Args:
        function: the learner's; gets x, f(x) and W_T x + b_T, all of shape (N, n), and returns None while it is a stub.

    Returns:
        The verdict with a hint.
    """
    x, output, gate = (torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1, 2))
    transform = torch.sigmoid(gate)
    slips = {
        "exchanged": torch.lerp(output, x, transform),
        "no_sigmoid": torch.lerp(x, output, gate),
        "whole_x": transform * output + x,
        "no_x": transform * output,
        "residual": output + x,
    }
    check = Check(torch.lerp(x, output, transform), slips)
    return judge_function("highway", function, [(x, output, gate)], check)
