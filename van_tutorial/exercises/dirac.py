"""The checks of lesson 7, Dirac weights."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from van_tutorial.exercises.feedback import Feedback, compare
from van_tutorial.models import Dirac


def check_folded_weight(weight: Any, identity_scale: Tensor, filter_scale: Tensor, free: Tensor) -> Feedback:
    """Check the ordinary weight that a Dirac weight folds into: W = diag(a) I + diag(b) V / |V|.

    Args:
        weight: the learner's matrix, a tensor or rows of numbers; None where there is none yet.
        identity_scale: a, shape (n,).
        filter_scale: b, shape (n,).
        free: V, shape (n, n).

    Returns:
        The verdict with a hint.
    """
    if weight is None:
        return Feedback(False, "there is no matrix yet. First divide each row of V by its length.")
    try:
        found = torch.as_tensor(weight, dtype=free.dtype).detach()
    except (TypeError, ValueError, RuntimeError):
        return Feedback(False, "that is not a matrix: give rows of numbers, [[…, …], […, …]].")
    if found.shape != free.shape:
        return Feedback(False, f"its shape is {tuple(found.shape)}, that of V is {tuple(free.shape)}.")
    a, b = identity_scale.diag(), filter_scale.unsqueeze(1)
    rows = functional.normalize(free, dim=1)
    slips = {
        "the identity is not in it yet: add diag(a).": b * rows,
        "V was not divided by the lengths of its rows.": a + b * free,
        "V was divided by the lengths of its columns: an output's filter is a row.": (
            a + b * functional.normalize(free, dim=0)
        ),
        "V was divided by one length: every row has its own.": a + b * free / free.norm(),
        "b scales the columns there: it has an entry for each output, so it scales rows.": (
            a + filter_scale * rows
        ),
        "a stands on the diagonal only: diag(a) I.": identity_scale.unsqueeze(1) + b * rows,
        "a and b have changed places.": filter_scale.diag() + identity_scale.unsqueeze(1) * rows,
    }
    if torch.allclose(found, a + b * rows, atol=1e-3):
        return Feedback(True, "and that is all of the layer: no a, no b, no skip.")
    for message, slip in slips.items():
        if torch.allclose(found, slip, atol=1e-3):
            return Feedback(False, message)
    wrong = (~torch.isclose(found, a + b * rows, atol=1e-3)).any(dim=1).nonzero().flatten() + 1
    return Feedback(
        False,
        f"in row {', '.join(map(str, wrong.tolist()))} it differs from diag(a) I + diag(b) V / |V|, where |V| is "
        "the length of each row.",
    )


def check_saved_parameters(number: float | None, network: nn.Module) -> Feedback:
    """Check how many parameters fold away with the Dirac weights of a network.

    Args:
        number: the learner's; None where there is none yet.
        network: with its Dirac weights not folded yet; each of their outputs has an a and a b.

    Returns:
        The verdict with a hint.
    """
    outputs = sum(len(part.identity_scale) for part in network.modules() if isinstance(part, Dirac))
    if number == outputs:
        return Feedback(False, "that is a alone: b has an entry for each output as well.")
    verdict = compare(
        number,
        2.0 * outputs,
        0.0,
        "there is no number yet: a and b have an entry for each output channel of each Dirac convolution.",
        "it is more: count the output channels of all Dirac convolutions, in three groups.",
        "it is less: V becomes the ordinary weight, and only a and b go.",
    )
    return Feedback(True, f"{2 * outputs:,} of them.") if verdict.is_right else verdict
