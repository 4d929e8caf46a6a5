"""By how much a network stretches its input in each direction: the singular values of its Jacobian."""

import pandas as pd
import torch
from torch import Tensor, nn

from van_tutorial.diagnostics.correlation import check_finite
from van_tutorial.diagnostics.gradients import input_jacobians


def jacobian_singular_values(model: nn.Module, inputs: Tensor, statistics: str = "exact") -> Tensor:
    """Return the singular values of the Jacobian of the outputs with respect to the input, at each of N inputs.

    They are exact: the whole Jacobian is made, by one backward pass for each of the K outputs (moderate; meant for
    a few dozen outputs). A complex output has a complex Jacobian, J = d Re y / dx + i d Im y / dx, whose singular
    values these are: for y = W x with a complex W, those of W.

    Args:
        model: maps (N, ...) to (N,) or (N, K).
        inputs: shape (N, ...) with d numbers each, real floating point.
        statistics: as for `input_gradients`.

    Returns:
        Singular values, falling, shape (N, min(K, d)); unit: output per unit of input.

    Raises:
        ValueError: for what `input_gradients` refuses, and a Jacobian that is not finite.

    Example:
        >>> linear = nn.Linear(2, 2)
        >>> _ = linear.weight.data.copy_(torch.tensor([[3.0, 0.0], [0.0, -1.0]]))
        >>> jacobian_singular_values(linear, torch.zeros(1, 2))
        tensor([[3., 1.]])

    Source:
        Saxe, McClelland and Ganguli 2014, Exact solutions to the nonlinear dynamics of learning in deep linear
        neural networks, section 3; Pennington, Schoenholz and Ganguli 2017, Resurrecting the sigmoid in deep
        learning through dynamical isometry.
    """
    jacobians = input_jacobians(model, inputs, statistics)
    check_finite(jacobians)
    matrices = jacobians.reshape(*jacobians.shape[:2], -1)
    is_half = matrices.dtype in (torch.float16, torch.bfloat16)  # in which there is no decomposition
    return torch.linalg.svdvals(matrices.float() if is_half else matrices)


def conditioning(model: nn.Module, inputs: Tensor, statistics: str = "exact") -> pd.DataFrame:
    """Measure how evenly a network passes the directions of its input on, at each of N inputs.

    With singular values s_1 >= ... >= s_r of the Jacobian:

        largest       s_1
        smallest      s_r
        condition     s_1 / s_r: 1 where all directions pass alike, infinite where one is lost
        mean_square   (s_1^2 + ... + s_r^2) / r, which mean-field theory predicts

    Cost: that of `jacobian_singular_values` (moderate).

    Args:
        model: maps (N, ...) to (N, K).
        inputs: shape (N, ...), floating point.
        statistics: as for `input_gradients`.

    Returns:
        One row per input: input (from 0), largest, smallest, condition, mean_square. Where the output does not
        depend on the input all values are 0, and the condition is NaN.

    Raises:
        ValueError: for what `jacobian_singular_values` refuses.

    Example:
        >>> conditioning(nn.Linear(3, 1), torch.zeros(2, 3))["condition"].tolist()
        [1.0, 1.0]
    """
    values = jacobian_singular_values(model, inputs, statistics).double().cpu()
    return pd.DataFrame(
        {
            "input": range(len(values)),
            "largest": values[:, 0],
            "smallest": values[:, -1],
            "condition": values[:, 0] / values[:, -1],
            "mean_square": values.square().mean(dim=1),
        }
    )
