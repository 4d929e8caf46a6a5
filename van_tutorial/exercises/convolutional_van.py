"""The checks of lesson 10, convolutional networks."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from van_tutorial.connections import Subsample
from van_tutorial.exercises.checker import Check, Feedback, judge, judge_each, judge_function
from van_tutorial.models.convnet import NUM_STAGES


def check_skip_counts(answers: Mapping[str, int | None], depth: int) -> Feedback:
    """Check how many skips a residual network of the CIFAR family has, and what they are like.

    Args:
        answers: the learner's numbers under "skips", "with a change of size" and "parameters"; None where there is
            none yet.
        depth: 6 n + 2.

    Returns:
        The verdict with a hint.
    """
    num_skips = (depth - 2) // 2
    counts = {"skips": num_skips, "with a change of size": NUM_STAGES - 1, "parameters": 0}
    checks = {name: Check(count) for name, count in counts.items()}
    return judge_each("skip_counts", answers, checks, num_skips=num_skips)


def check_peak_difference(num_bytes: float | None, width: int, size: int) -> Feedback:
    """Check how much less activation memory a network needs at its peak when the skips are removed.

    Args:
        num_bytes: the learner's number, for one image; None where there is none yet.
        width: channels of the first stage.
        size: height and width of the images there.

    Returns:
        The verdict with a hint.
    """
    numbers = width * size * size
    slips = {"numbers": numbers, "with_skip": 12 * numbers, "without_skip": 8 * numbers}
    return judge("peak_difference", num_bytes, Check(4 * numbers, slips))


def check_subsample(function: Callable[[Tensor, int], Any]) -> Feedback:
    """Check a function that fits an image to a block of half its size and more channels.

    Args:
        function: the learner's; gets x of shape (N, C, H, W) and the number of channels to append, and returns None
            while it is a stub.

    Returns:
        The verdict with a hint.
    """
    x = torch.arange(1.0, 73.0).reshape(2, 1, 6, 6)
    expected = Subsample(num_new=2, stride=2)(x)
    slips = {
        "not_zeros": lambda found: torch.equal(found[:, :1], expected[:, :1]),
        "before": lambda found: torch.equal(found[:, 2:], expected[:, :1]),
    }
    return judge_function("subsample", function, [(x, 2)], Check(expected, slips))
