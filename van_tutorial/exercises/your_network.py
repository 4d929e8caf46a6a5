"""The checks of lesson 12, your own network."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from van_tutorial.exercises.checker import Check, Feedback, judge_each, judge_function

BYTES = 4  # of a number in single precision


def check_weighted_block(function: Callable[[Tensor, Tensor, float], Any]) -> Feedback:
    """Check the last line of a residual block whose skip has a weight.

    Args:
        function: the learner's; gets the branch f(x) and the shortcut s(x), both (4, 3), and alpha, a number, and
            returns relu(f(x) + alpha s(x)), or None while it is a stub.

    Returns:
        The verdict with a hint.
    """
    inside, shortcut = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    alpha = 0.25
    slips = {
        "no_relu": inside + alpha * shortcut,
        "convex": torch.relu((1.0 - alpha) * inside + alpha * shortcut),
        "whole": alpha * torch.relu(inside + shortcut),
        "unweighted": torch.relu(inside + shortcut),
        "branch": torch.relu(alpha * inside + shortcut),
        "outside": torch.relu(inside) + alpha * shortcut,
    }
    expected = Check(torch.relu(inside + alpha * shortcut), slips)
    return judge_function("weighted_block", function, [(inside, shortcut, alpha)], expected)


def check_block_peaks(answers: Mapping[str, int | None], channels: int = 64, size: int = 56) -> Feedback:
    """Check how many bytes are alive at the peak of a block of convolutions, with its skip and without.

    Args:
        answers: the learner's, "with its skip" and "without"; None where there is none yet.
        channels: of the block's input and of all that it computes.
        size: height and width of these.

    Returns:
        The verdict with a hint.
    """
    tensor = channels * size**2 * BYTES
    checks = {
        name: Check(number * tensor, {"numbers": number * tensor // BYTES, "other": (5 - number) * tensor})
        for name, number in (("with its skip", 3), ("without", 2))
    }
    return judge_each("block_peaks", answers, checks, tensor=f"{tensor:,}")
