"""The checks of lesson 11, after VAN."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from van_tutorial import models
from van_tutorial.exercises.feedback import Feedback, compare

# Why a network of the family ends with or without skip-connections.
REASONS = {
    "highway": "its gates look at the input, and nothing drives them to 1.",
    "van": "its multipliers drive every skip weight to 0, and collapse takes the skips out.",
    "van-activation": "its multipliers drive every skip weight to 0, and collapse takes the skips out.",
    "rezero": "x + s f(x) keeps the x, whatever s is: s is the scale of the branch, and not of the skip.",
    "skipinit": "x + s F(x) keeps the x, whatever s is: s is the scale of the branch, and not of the skip.",
    "residual": "nothing takes the x out of x + f(x).",
    "dirac": "its identity stands inside the weight, and a I + b V / |V| is one matrix.",
    "vanillanet": "its skips go round activations only, and where alpha is 1 two layers are one.",
    "layer-folding": "its skips go round activations only, and merge wants each alpha at 0 or 1.",
    "repvgg": "its branches have nothing between them but sums, so they are one convolution.",
}


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
    try:
        found = function(w1.clone(), b1.clone(), w2.clone(), b2.clone())
        if found is None:
            return Feedback(
                False, "it returns nothing yet. Write W2 (W1 x + b1) + b2 out, and collect what stands at x."
            )
        if not isinstance(found, tuple | list) or len(found) != 2:
            return Feedback(False, "it must return two tensors, W and b: return w, b.")
        weight, bias = (torch.as_tensor(part, dtype=w1.dtype) for part in found)
    except Exception as error:  # whatever a learner's function may raise
        hint = " W1 comes first, so it stands at the right: W2 W1." if "mat1 and mat2" in str(error) else ""
        if "must match the size" in str(error):
            hint = " b1 has an entry for each unit in the middle: it goes through W2 before b2 is added."
        return Feedback(False, f"it raised {type(error).__name__}: {error}.{hint}")
    if weight.shape != (2, 3) or bias.shape != (2,):
        return Feedback(
            False,
            f"W must have shape (2, 3) and b shape (2,), got {tuple(weight.shape)} and {tuple(bias.shape)}.",
        )
    if not torch.allclose(weight, w2 @ w1, atol=1e-5):
        return Feedback(False, "W is not what stands at x: W2 W1.")
    if torch.allclose(bias, w2 @ b1 + b2, atol=1e-5):
        return Feedback(True, "one layer does what the two did: W = W2 W1, b = W2 b1 + b2.")
    if torch.allclose(bias, b1.sum() + b2, atol=1e-5) or torch.allclose(bias, b2, atol=1e-5):
        return Feedback(False, "W is right. b1 goes through the second layer too.")
    return Feedback(False, "W is right, and b is not: b1 goes through the second layer, b2 does not.")


def check_merged_layers(number: int | None, depth: int = 21) -> Feedback:
    """Check how many layers a VanillaNet keeps when every second activation, from the first on, is gone.

    Args:
        number: the learner's number; None where there is none yet.
        depth: number of layers between input layer and head.

    Returns:
        The verdict with a hint; the network itself is merged to find out.
    """
    network = models.make("vanillanet", depth=depth, width=2, in_features=1, skip_weight=1.0, seed=0)
    right = models.merge(network).config.depth
    if number == depth - right != right:
        return Feedback(False, "that is how many go: the layers without an activation.")
    return compare(
        number,
        right,
        0.0,
        "there is no number yet: a layer without an activation goes into the next one, or into the head.",
        "more stay: layers 2, 4, 6, … have kept their activations.",
        "fewer stay: layers 1, 3, 5, … have lost theirs. Where does the last of them go?",
    )


def check_endings(answers: Mapping[str, Any]) -> Feedback:
    """Check, one by one, which methods end without a skip-connection in their graph.

    Args:
        answers: for names in `models.FAMILY` True, False, or None where there is no answer yet.

    Returns:
        The verdict on the first answer that is missing or wrong, with the reason; right when all are.
    """
    for name, answer in answers.items():
        if name not in REASONS:
            return Feedback(False, f"{name!r} is not asked for: {', '.join(REASONS)} can be.")
        if answer is None:
            return Feedback(False, f"{name}: no answer yet. Its layer: {models.FAMILY[name].formula}.")
        if not isinstance(answer, bool):
            return Feedback(False, f"{name}: {answer!r} is neither True nor False.")
        if answer != models.FAMILY[name].ends_without_skips.startswith("yes"):
            return Feedback(False, f"{name}: {REASONS[name]}")
    if not answers:
        return Feedback(False, "there is no answer yet.")
    without = [name for name, answer in answers.items() if answer]
    return Feedback(True, f"without skip-connections end: {', '.join(without)}.")
