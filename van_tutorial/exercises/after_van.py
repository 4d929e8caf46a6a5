"""The checks of lesson 11, after VAN."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from van_tutorial import models
from van_tutorial.exercises.checker import MESSAGES, Check, Feedback, judge_each, judge_function

ENDINGS = tuple(name for name in MESSAGES["endings"] if name in models.FAMILY)


def check_merge(function: Callable[[Tensor, Tensor, Tensor, Tensor], Any]) -> Feedback:
    """Check a function that makes one linear layer of two.

    Args:
        function: the learner's; gets W1 (4, 3), b1 (4,), W2 (2, 4), b2 (2,) and returns W (2, 3) and b (2,) with
            W x + b = W2 (W1 x + b1) + b2, or None while it is a stub.

    Returns:
        The verdict with a hint.
    """
    generator = torch.Generator().manual_seed(0)
    w1, b1, w2, b2 = (torch.randn(shape, generator=generator) for shape in ((4, 3), (4,), (2, 4), (2,)))

    def as_tensors(*layers: Tensor) -> Any:
        found = function(*layers)
        is_several = isinstance(found, tuple | list)
        return [torch.as_tensor(part).detach().to(w1) for part in found] if is_several else found

    def is_near(found: Tensor, value: Tensor) -> bool:
        return torch.allclose(found, value, atol=1e-5)

    slips = {
        "no_pair": lambda found: not isinstance(found, list) or len(found) != 2,
        "shapes": lambda found: (found[0].shape, found[1].shape) != ((2, 3), (2,)),
        "weight": lambda found: not is_near(found[0], w2 @ w1),
        "bias_skipped": lambda found: is_near(found[1], b2) or is_near(found[1], b1.sum() + b2),
        "bias": lambda found: not is_near(found[1], w2 @ b1 + b2),
    }
    shapes = {"w_shape": lambda found: tuple(found[0].shape), "b_shape": lambda found: tuple(found[1].shape)}
    return judge_function("merge", as_tensors, [(w1, b1, w2, b2)], Check(None, slips), **shapes)


def check_endings(answers: Mapping[str, Any]) -> Feedback:
    """Check, one by one, which methods end without a skip-connection in their graph.

    Args:
        answers: for names in `models.FAMILY` True, False, or None where there is no answer yet.

    Returns:
        The verdict on the first answer that is missing or wrong, with the reason; right when all are.
    """
    if unknown := [name for name in answers if name not in ENDINGS]:
        return Feedback(False, f"{unknown[0]!r} is not asked for: {', '.join(ENDINGS)} can be.")
    if not answers:
        return Feedback(False, "no answer yet.")
    ends = {name: models.FAMILY[name].ends_without_skips.startswith("yes") for name in answers}
    without = ", ".join(name for name in answers if ends[name])
    checks = {name: Check(ends[name], words={"formula": models.FAMILY[name].formula}) for name in answers}
    return judge_each("endings", answers, checks, without=without)
