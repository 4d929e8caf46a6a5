"""The checks of lesson 7, Dirac weights."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from van_tutorial.exercises.checker import Check, Feedback, judge
from van_tutorial.models import Dirac


def check_folded_weight(weight: Any, identity_scale: Tensor, filter_scale: Tensor, free: Tensor) -> Feedback:
    """Check the ordinary weight that a Dirac weight folds into: W = diag(a) I + diag(b) V / |V|.

    Args:
        weight: the learner's matrix, a tensor or rows of numbers; None where there is none yet.
        identity_scale: a, shape (n,).
        filter_scale: b, shape (n,).
        free: V, shape (n, n).

    Returns:
        The verdict with a hint: right within 0.001 in each entry.
    """
    a, b = identity_scale.diag(), filter_scale.unsqueeze(1)
    rows = functional.normalize(free, dim=1)
    folded = a + b * rows

    def wrong_rows(found: Tensor) -> str:
        wrong = (~torch.isclose(found, folded, rtol=0.0, atol=1e-3)).any(dim=1).nonzero().flatten() + 1
        return ", ".join(map(str, wrong.tolist()))

    slips = {
        "no_identity": b * rows,
        "not_divided": a + b * free,
        "columns": a + b * functional.normalize(free, dim=0),
        "one_norm": a + b * free / free.norm(),
        "scaled_columns": a + filter_scale * rows,
        "whole_rows": identity_scale.unsqueeze(1) + b * rows,
        "exchanged": filter_scale.diag() + identity_scale.unsqueeze(1) * rows,
    }
    return judge("folded_weight", weight, Check(folded, slips, tolerance=1e-3), rows=wrong_rows)


def check_saved_parameters(number: float | None, network: nn.Module) -> Feedback:
    """Check how many parameters fold away with the Dirac weights of a network.

    Args:
        number: the learner's; None where there is none yet.
        network: with its Dirac weights not folded yet; each of their outputs has an a and a b.

    Returns:
        The verdict with a hint.
    """
    outputs = sum(len(part.identity_scale) for part in network.modules() if isinstance(part, Dirac))
    return judge("saved_parameters", number, Check(2 * outputs, {"a_alone": outputs}))
