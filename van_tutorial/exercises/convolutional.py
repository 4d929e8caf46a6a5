"""The checks of lesson 10, convolutional networks."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from van_tutorial.connections import Subsample
from van_tutorial.exercises.feedback import Feedback, compare, is_number
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
    names = ("skips", "with a change of size", "parameters")
    right = dict(zip(names, (3 * (depth - 2) // 6, NUM_STAGES - 1, 0), strict=True))
    hints = {
        "skips": "the first convolution and the head apart, every two convolutions share one.",
        "with a change of size": "there are three stages, and size changes from one to the next.",
        "parameters": "what does taking every second pixel, or appending zeros, have to learn?",
    }
    for name, value in right.items():
        answer = answers.get(name)
        if answer is None:
            return Feedback(False, f"there is no number yet for {name!r}: {hints[name]}")
        if not is_number(answer):
            return Feedback(False, f"{answer!r} is not a number.")
        if answer != value:
            return Feedback(
                False, f"{name}: {answer} is too {'few' if answer < value else 'many'}; {hints[name]}"
            )
    return Feedback(True, f"{right['skips']} skips, and none of them has anything to learn.")


def check_peak_difference(num_bytes: float | None, width: int, size: int) -> Feedback:
    """Check how much less activation memory a network needs at its peak when the skips are gone.

    Args:
        num_bytes: the learner's number, for one image; None where there is none yet.
        width: channels of the first stage.
        size: height and width of the images there.

    Returns:
        The verdict with a hint.
    """
    right = 4 * width * size * size
    if num_bytes is not None and is_number(num_bytes):
        if num_bytes == right // 4:
            return Feedback(False, "that is how many numbers; each takes 4 bytes.")
        if num_bytes == 3 * right:
            return Feedback(False, "that is the peak with a skip: what is left of it without one?")
        if num_bytes == 2 * right:
            return Feedback(False, "that is the peak without a skip: what was there besides?")
    verdict = compare(
        num_bytes,
        right,
        0.0,
        "there is no number yet. Which of x, input and output of the second convolution must be there at once?",
        "it is more: one whole set of feature maps of the first stage need not be kept.",
        "it is less: only one set of feature maps of the first stage need not be kept.",
    )
    return Feedback(True, f"{right:,} bytes an image: x itself.") if verdict.is_right else verdict


def check_subsample(function: Callable[[Tensor, int], Any]) -> Feedback:
    """Check a function that fits an image to a block of half its size and more channels.

    Args:
        function: the learner's; gets x of shape (N, C, H, W) and the number of channels to append, and returns None
            while it is a stub.

    Returns:
        The verdict with a hint.
    """
    x = torch.arange(1.0, 73.0).reshape(2, 1, 6, 6)
    right = Subsample(num_new=2, stride=2)(x)
    try:
        found = function(x.clone(), 2)
    except Exception as error:  # whatever a learner's function may raise
        return Feedback(False, f"it raised {type(error).__name__}: {error}")
    if found is None:
        return Feedback(False, "it returns nothing yet. Every second pixel is x[:, :, ::2, ::2].")
    if not isinstance(found, Tensor):
        return Feedback(False, f"it must return a tensor, got {type(found).__name__}.")
    if found.shape != right.shape:
        return Feedback(
            False,
            f"for x of shape {tuple(x.shape)} it must return {tuple(right.shape)}, got {tuple(found.shape)}. "
            "(pad counts dimensions from the last: the channels are its third pair.)",
        )
    if torch.equal(found, right):
        return Feedback(True, "it agrees with the library's, and has no parameter.")
    if torch.equal(found[:, :1], right[:, :1]):
        return Feedback(False, "the channels that are appended must be zeros.")
    if torch.equal(found[:, 2:], right[:, :1]):
        return Feedback(False, "the zeros are to stand behind the channels of x, not before them.")
    return Feedback(False, "the first channels must be every second pixel of x, from the first one on.")
