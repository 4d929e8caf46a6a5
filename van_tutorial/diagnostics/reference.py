"""What measured gradients are compared with: noises, and what theory expects of random networks."""

import math

import torch
from torch import Tensor

from van_tutorial._checks import check_choice, check_count, check_range


def white_noise(num_points: int, num_runs: int = 1, seed: int | None = None) -> Tensor:
    """Draw independent standard normal numbers: gradients that have nothing in common from point to point.

    Args:
        num_points: points N of a path.
        num_runs: independent paths R.
        seed: of the draws; None takes torch's global generator.

    Returns:
        Shape (R, N), without unit.

    Raises:
        ValueError: for fewer than one point or path.
    """
    check_count("num_points", num_points)
    check_count("num_runs", num_runs)
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return torch.randn(num_runs, num_points, generator=generator)


def brown_noise(num_points: int, num_runs: int = 1, seed: int | None = None) -> Tensor:
    """Draw random walks, running sums of white noise: gradients that change little from point to point.

    Args:
        num_points: points N of a path.
        num_runs: independent paths R.
        seed: of the draws; None takes torch's global generator.

    Returns:
        Shape (R, N), without unit.

    Raises:
        ValueError: for fewer than one point or path.
    """
    return white_noise(num_points, num_runs, seed).cumsum(dim=1)


def predicted_correlation(
    depth: int,
    connection: str = "plain",
    normalization: str = "none",
    residual_scale: float = 1.0,
    skip_weight: float = 0.0,
) -> float:
    """Return the correlation that theory expects between the gradients at two inputs of a random network.

    Over He weights, a layer multiplies variance and covariance of the gradient, each by a factor of its own, and
    their ratio is the layer's factor of the correlation:

        plain      relu(h) A                        variance 1, covariance 1/2           correlation 2^-L
        residual   h + beta relu(h) A               1 + beta^2, 1 + beta^2 / 2           (3/4)^L at beta = 1
        residual   h + beta relu(BN h) A            1 + r_l, 1 + r_l / 2 with            about 1 / sqrt(1 + beta^2 L),
                   ("batch")                        r_l = beta^2 / (1 + beta^2 (l - 1))  so 1 / (beta sqrt(L)) if deep
        van        alpha h + (1 - alpha) relu(h) A  alpha^2 + (1 - alpha)^2,             falls fastest at
                   ("convex")                       alpha^2 + (1 - alpha)^2 / 2          alpha = 0

    It assumes that every unit is active at half of the inputs, and at two inputs independently, so that they share
    a quarter of the units in every layer; centring or batch normalization comes near that, where the inputs lie
    far apart. Real ReLUs at neighbouring inputs share more, so their gradients are correlated more strongly.

    Args:
        depth: number of layers L, at least 0.
        connection: "plain", "residual" or "van" (the convex form).
        normalization: "none" or "batch".
        residual_scale: beta, above 0.
        skip_weight: alpha, in [0, 1].

    Returns:
        The correlation, in [0, 1].

    Raises:
        ValueError: for values outside these bounds, and "van" with "batch", for which we know no formula.

    Example:
        >>> predicted_correlation(3), predicted_correlation(2, "residual")
        (0.125, 0.5625)

    Source:
        Balduzzi et al. 2017, The shattered gradients problem, theorems 1 to 3 (plain, residual, residual with
        batch normalization: the asymptotic forms; the statements are from memory and were derived again, and the
        products for a finite L with them). The line of "van" is derived for this project in the same way.
    """
    check_count("depth", depth, minimum=0)
    check_choice("connection", connection, ("plain", "residual", "van"))
    check_choice("normalization", normalization, ("none", "batch"))
    check_range("residual_scale", residual_scale, 0.0, math.inf, open_low=True)
    check_range("skip_weight", skip_weight, 0.0, 1.0)
    if connection == "plain":
        return 0.5**depth
    if connection == "van":
        if normalization == "batch":
            raise ValueError(
                "there is no formula for connection 'van' with 'batch': take normalization 'none'."
            )
        kept, new = skip_weight**2, (1.0 - skip_weight) ** 2
        return ((kept + new / 2) / (kept + new)) ** depth
    square = residual_scale**2
    correlation = 1.0
    for layer in range(depth):
        ratio = square / (1.0 + square * layer) if normalization == "batch" else square
        correlation *= (1.0 + ratio / 2) / (1.0 + ratio)
    return correlation


def predicted_mean_square(depth: int, init_scale: float = 1.0, active_fraction: float = 0.5) -> float:
    """Return the mean squared singular value that mean-field theory expects of `depth` random ReLU layers.

    chi^L with chi = sigma_w^2 p: a weight matrix of variance sigma_w^2 / n multiplies the squared length of a
    gradient by sigma_w^2 on average, and the ReLU lets the fraction p of it pass. For He weights sigma_w^2 = 2
    and p = 1/2, so chi = 1: the mean neither vanishes nor explodes at any depth. It is a mean: in a network of
    width n the squared values scatter the more, the larger L / n is, and most networks lie below it.

    Args:
        depth: number of layers L, at least 0, each a weight matrix and a ReLU.
        init_scale: factor of the He weights, above 0: sigma_w^2 = 2 init_scale^2.
        active_fraction: p, the fraction of active units, in [0, 1].

    Returns:
        The mean squared singular value; without unit.

    Raises:
        ValueError: for values outside these bounds.

    Example:
        >>> predicted_mean_square(50), predicted_mean_square(2, init_scale=0.5)
        (1.0, 0.0625)

    Source:
        Pennington, Schoenholz and Ganguli 2017, Resurrecting the sigmoid in deep learning through dynamical
        isometry, section 2; the scale: He, Zhang, Ren and Sun 2015, Delving deep into rectifiers.
    """
    check_count("depth", depth, minimum=0)
    check_range("init_scale", init_scale, 0.0, math.inf, open_low=True)
    check_range("active_fraction", active_fraction, 0.0, 1.0)
    return (2.0 * init_scale**2 * active_fraction) ** depth
