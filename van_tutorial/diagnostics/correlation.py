"""How fast gradients change from input to input: along a path, and between any two."""

import math

import torch
from torch import Tensor, nn

from van_tutorial._checks import check_count, check_range
from van_tutorial.diagnostics.gradients import dense, input_gradients, scaled

ROUNDING = 100.0  # times the precision of a number: gradients that vary by less are equal


def gradient_autocorrelation(gradients: Tensor, max_lag: int) -> Tensor:
    """Correlate gradients along a path of inputs with themselves some steps further on.

    With z_i = g_i - mean(g):  ACF(k) = sum_i <z_i, z_{i+k}> / sum_i <z_i, z_i>,  k = 0, ..., max_lag. The sum
    in the numerator has N - k terms, so ACF(k) shrinks a little with k. White noise gives 0 beyond lag 0, and a
    random walk (brown noise) a slow decay. Complex gradients count as pairs of real numbers. Cheap.

    Args:
        gradients: shape (N, ...), one per input along the path, all finite.
        max_lag: largest lag, from 0 to N - 1.

    Returns:
        Autocorrelation by lag, shape (max_lag + 1,), without unit; NaN where all gradients are equal up to
        rounding (100 times the precision of their numbers), as those of a linear network are.

    Raises:
        ValueError: for a lag that the path is too short for, and gradients that are no finite floating-point numbers.

    Example:
        >>> gradient_autocorrelation(torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]), max_lag=1)
        tensor([ 1.0000, -0.7500])

    Source:
        Balduzzi et al. 2017, The shattered gradients problem, Figure 2.
    """
    check_count("max_lag", max_lag, minimum=0)
    if max_lag >= len(gradients):
        raise ValueError(f"max_lag must be below the number of gradients, {len(gradients)}, got {max_lag}.")
    z, _ = scaled(real_rows(gradients))
    size = z.norm()
    z = z - z.mean(dim=0)
    if z.norm() <= ROUNDING * torch.finfo(z.dtype).eps * size:
        return z.new_full((max_lag + 1,), math.nan)
    covariances = torch.stack([(z[: len(z) - lag] * z[lag:]).sum() for lag in range(max_lag + 1)])
    return covariances / covariances[0]


def correlation_length(autocorrelation: Tensor, spacing: float = 1.0, level: float = math.exp(-1.0)) -> float:
    """Return over what distance gradients stay correlated: where their autocorrelation first falls to 1/e.

    Between two lags the autocorrelation is taken to be a line. White noise gives 1 - 1/e = 0.63 of a step.

    Args:
        autocorrelation: by lag from 0 on, shape (max_lag + 1,), as `gradient_autocorrelation` returns it.
        spacing: distance between two neighbours on the path, above 0; 1 gives the length in steps.
        level: the autocorrelation that counts as lost, in (0, 1].

    Returns:
        The length, in units of `spacing`; infinite where the level is not reached within the lags, NaN where the
        autocorrelation is.

    Raises:
        ValueError: for values outside these bounds.

    Source:
        The definition is this project's.

    Example:
        >>> round(correlation_length(torch.tensor([1.0, 0.6, 0.2]), level=0.5), 6)
        1.25
    """
    check_range("spacing", spacing, 0.0, math.inf, open_low=True)
    check_range("level", level, 0.0, 1.0, open_low=True)
    values = autocorrelation.tolist()
    if any(math.isnan(value) for value in values):
        return math.nan
    if values and values[0] <= level:
        return 0.0
    for lag in range(1, len(values)):
        before, here = values[lag - 1], values[lag]
        if here <= level:
            return spacing * (lag - 1 + (before - level) / (before - here))
    return math.inf


def gradient_correlation(
    model: nn.Module, inputs: Tensor, output: int | None = None, statistics: str = "exact"
) -> Tensor:
    """Correlate the gradients of one output at N inputs with each other.

    C_ij = <g_i, g_j> / (|g_i| |g_j|), with g_i as `input_gradients` has it. No mean is subtracted: over random
    weights the mean gradient is 0, and the theory is about that. Cost: that of the gradients.

    Args:
        model: maps (N, ...) to (N,) or (N, num_outputs).
        inputs: shape (N, ...), floating point: images, or points on a path.
        output: index of the output; None only where there is a single one.
        statistics: as for `input_gradients`.

    Returns:
        Correlations, shape (N, N), in [-1, 1]; NaN where a gradient is 0.

    Raises:
        ValueError: for what `input_gradients` refuses, and gradients that are not finite.

    Example:
        >>> gradient_correlation(nn.Linear(3, 1), torch.randn(2, 3)).round(decimals=4)
        tensor([[1., 1.],
                [1., 1.]])

    Source:
        Balduzzi et al. 2017, The shattered gradients problem, section 3.
    """
    return correlation_matrix(input_gradients(model, inputs, output, statistics))


def correlation_matrix(gradients: Tensor) -> Tensor:
    """Correlate N gradients with each other: C_ij = <g_i, g_j> / (|g_i| |g_j|).

    Everything beyond dimension 0 counts as components of a gradient: its directions, and where gradients of many
    networks are stacked there, the networks, over which the theory averages. A complex number counts as two real ones.

    Args:
        gradients: shape (N, ...), all finite.

    Returns:
        Correlations, shape (N, N), in [-1, 1]; NaN where a gradient is 0.

    Raises:
        ValueError: for gradients that are no finite floating-point numbers.

    Example:
        >>> correlation_matrix(torch.tensor([[2.0, 0.0], [1.0, 1.0]])).round(decimals=2)
        tensor([[1.0000, 0.7100],
                [0.7100, 1.0000]])
    """
    rows, _ = scaled(real_rows(gradients), 1)
    rows = rows / rows.norm(dim=1, keepdim=True)
    return (rows @ rows.T).clamp(-1.0, 1.0)


def pair_correlation(correlations: Tensor) -> float:
    """Return the mean correlation over all pairs of different inputs.

    Args:
        correlations: shape (N, N) with N of at least 2, as `gradient_correlation` returns it.

    Returns:
        The mean of the entries off the diagonal; NaN where one is.

    Raises:
        ValueError: for fewer than two inputs.

    Example:
        >>> pair_correlation(torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
        0.5
    """
    num_inputs = len(correlations)
    if num_inputs < 2:
        raise ValueError(f"A pair takes two inputs, got {num_inputs}.")
    off_diagonal = ~torch.eye(num_inputs, dtype=torch.bool, device=correlations.device)
    return correlations[off_diagonal].mean().item()


def straight_path(start: Tensor, end: Tensor, num_points: int) -> Tensor:
    """Return inputs on the straight line from one input to another, evenly spaced, both ends included.

    Args:
        start: one input, such as an image (C, H, W).
        end: another of the same shape.
        num_points: number of points N, at least 2.

    Returns:
        Shape (N, ...).

    Raises:
        ValueError: for inputs of different shapes, or fewer than two points.

    Example:
        >>> straight_path(torch.zeros(1), torch.ones(1), num_points=3).flatten()
        tensor([0.0000, 0.5000, 1.0000])
    """
    check_count("num_points", num_points, minimum=2)
    if start.shape != end.shape:
        raise ValueError(
            f"start and end must have one shape, got {tuple(start.shape)} and {tuple(end.shape)}."
        )
    fraction = torch.linspace(0.0, 1.0, num_points, dtype=start.dtype, device=start.device)
    return torch.lerp(start.unsqueeze(0), end.unsqueeze(0), fraction.reshape(-1, *(1,) * start.dim()))


def real_rows(gradients: Tensor) -> Tensor:
    """Return gradients as rows of finite real numbers, two for each complex one, or raise where they are none."""
    gradients = dense(gradients, "gradients")
    if not gradients.is_floating_point() and not gradients.is_complex():
        raise ValueError(f"gradients must be floating point, got {gradients.dtype}.")
    check_finite(gradients)
    real = torch.view_as_real(gradients.resolve_conj()) if gradients.is_complex() else gradients
    return real.reshape(len(gradients), -1)


def check_finite(gradients: Tensor) -> None:
    """Raise unless all gradients are finite."""
    if not bool(gradients.isfinite().all()):
        raise ValueError("gradients must be finite: some are infinite or not a number.")
