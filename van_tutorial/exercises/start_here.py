"""The checks of lesson 0, start here: how does a check answer?"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from van_tutorial.exercises.checker import Check, Feedback, judge, judge_function


def check_wrong_images(number: float | None, accuracy: float, num_images: int) -> Feedback:
    """Check how many images a network classified wrongly.

    Args:
        number: the learner's; None where there is none yet.
        accuracy: fraction of the images that it classified correctly, in [0, 1].
        num_images: number of all images.

    Returns:
        The verdict with a hint.

    Example:
        >>> check_wrong_images(400, accuracy=0.75, num_images=400)
        Not yet: it is less: the network classified some of the 400 images correctly.
        >>> check_wrong_images(100, accuracy=0.75, num_images=400)
        Right: 100 of 400. A check never changes anything: run it as often as you like.
    """
    wrong = round((1.0 - accuracy) * num_images)
    slips = {"correct": num_images - wrong, "fraction": lambda number: 0 < number < 1 < wrong}
    return judge("wrong_images", number, Check(wrong, slips), num_images=num_images)


def check_accuracy(function: Callable[[Tensor, Tensor], Any]) -> Feedback:
    """Check a function that returns the accuracy of a network's predictions.

    Args:
        function: the learner's; gets predictions and labels, integers of shape (N,), and returns None while it is a
            stub.

    Returns:
        The verdict with a hint.

    Example:
        >>> check_accuracy(lambda predictions, labels: (predictions == labels).float().mean())
        Right: it was called with 8 images and with 5, and both accuracies were right.
    """
    labels = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])
    predictions = torch.tensor([3, 1, 4, 2, 5, 0, 2, 6])
    right, sizes = torch.tensor([6.0, 4.0]), torch.tensor([8.0, 5.0])
    accuracy = right / sizes
    slips = {"number": right, "wrong_ones": 1 - accuracy, "percent": 100 * accuracy, "thousand": right / 1000}
    calls = [(predictions[:size], labels[:size]) for size in (8, 5)]
    return judge_function("accuracy", function, calls, Check(accuracy, slips))
