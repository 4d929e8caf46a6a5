"""The checks of the first lesson: is everything installed, and how does a check answer?"""

import os
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from van_tutorial import data
from van_tutorial.exercises.feedback import Feedback, compare, is_number
from van_tutorial.training import pick_device

PACKAGES = ("van-tutorial", "torch", "plotly", "jupyterlab", "ipywidgets", "jupyterlab_widgets", "anywidget")
OK, BROKEN = "ok", "broken"


def installation(device: str = "auto") -> pd.DataFrame:
    """Return what the course needs, whether it is there, and how to mend what is not.

    Args:
        device: the name that the lessons get: "auto", "cpu", "cuda", "mps".

    Returns:
        Columns part, state ("ok" or "broken") and detail; rows for Python, the packages, the device, the embedded data.

    Example:
        >>> installation("cpu")["part"].tolist()[:2]
        ['Python', 'van-tutorial']
    """
    rows = [("Python", OK, platform.python_version()), *map(find_package, PACKAGES), find_device(device)]
    embedded = next(iter(data.verify()))  # the first of the data sets; the others may be missing
    fixes = "".join(f": {fix}" for fix in embedded.fixes)
    rows.append((f"data: {embedded.name}", embedded.state, f"{embedded.detail}{fixes}"))
    return pd.DataFrame(rows, columns=["part", "state", "detail"])


def find_package(name: str) -> tuple[str, str, str]:
    """Return the row of a package."""
    try:
        return name, OK, version(name)
    except PackageNotFoundError:
        mend = f"not installed for this Python: run make setup, or pip install {name}, and restart the kernel"
        return name, BROKEN, mend


def find_device(name: str) -> tuple[str, str, str]:
    """Return the row of the device."""
    try:
        device = pick_device(name)
    except ValueError as error:
        return "device", BROKEN, str(error).rstrip(".")
    if device.type == "cuda":
        return "device", OK, f"{device}: {torch.cuda.get_device_name(device)}"
    return "device", OK, f"{device}, {os.cpu_count()} cores" if device.type == "cpu" else str(device)


def check_wrong_images(number: float | None, accuracy: float, num_images: int) -> Feedback:
    """Check how many images a network got wrong.

    Args:
        number: the learner's; None where there is none yet.
        accuracy: share of the images that it got right, in [0, 1].
        num_images: of which it is the share.

    Returns:
        The verdict with a hint.

    Example:
        >>> check_wrong_images(400, accuracy=0.75, num_images=400)
        Not yet: it is less: the network got some of the 400 images right.
        >>> check_wrong_images(100, accuracy=0.75, num_images=400)
        Right: 100 of 400. A check never changes anything: press it as often as you like.
    """
    right = round((1.0 - accuracy) * num_images)
    if number is not None and is_number(number):
        if number == num_images - right != right:
            return Feedback(False, "that is how many it got right.")
        if 0 < number < 1 < right:
            return Feedback(False, f"that is a share: the question is how many of the {num_images:,} images.")
    verdict = compare(
        number,
        right,
        0.5,
        f"there is no number yet: of {num_images:,} images the network got the share {accuracy:g} right.",
        "it is more: what is missing from 1 is the share that it got wrong.",
        f"it is less: the network got some of the {num_images:,} images right.",
    )
    if verdict.is_right:
        words = "A check never changes anything: press it as often as you like."
        return Feedback(True, f"{right} of {num_images:,}. {words}")
    return verdict


def check_accuracy(function: Callable[[Tensor, Tensor], Any]) -> Feedback:
    """Check a function that returns the accuracy of a network's answers.

    Args:
        function: the learner's; gets answers and labels, whole numbers of shape (N,), and returns None while it is a
            stub.

    Returns:
        The verdict with a hint.

    Example:
        >>> check_accuracy(lambda answers, labels: (answers == labels).float().mean())
        Right: it was called with 8 and with 5 images of the check's own, and both shares were right.
    """
    labels = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])
    answers = torch.tensor([3, 1, 4, 2, 5, 0, 2, 6])
    try:
        found = [function(answers[:size].clone(), labels[:size].clone()) for size in (8, 5)]
        if any(value is None for value in found):
            return Feedback(
                False, "it returns nothing yet: answers == labels is true where the network was right."
            )
        values = [float(value) for value in found]
    except Exception as error:  # whatever a learner's function may raise
        return Feedback(False, f"it raised {type(error).__name__}: {error}")

    def agrees(first: float, second: float) -> bool:
        return max(abs(values[0] - first), abs(values[1] - second)) < 1e-4

    if agrees(6 / 8, 4 / 5):
        return Feedback(
            True, "it was called with 8 and with 5 images of the check's own, and both shares were right."
        )
    slips = {
        "that is the number of right answers: divide it by how many images there are.": (6, 4),
        "that is the share of wrong answers.": (2 / 8, 1 / 5),
        "that is in percent: an accuracy lies between 0 and 1.": (75, 80),
        "1,000 is not the number of images in every call: take that of the labels that come in.": (
            0.006,
            0.004,
        ),
    }
    for message, slip in slips.items():
        if agrees(*slip):
            return Feedback(False, message)
    return Feedback(
        False, f"of 8 images with 6 right answers it says {values[0]:g}; the share is 6 of 8, 0.75."
    )
