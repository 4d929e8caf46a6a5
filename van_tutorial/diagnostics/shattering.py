"""The published experiment: networks from one number to one number, their gradients along a line of inputs."""

from collections.abc import Iterator, Sequence

import pandas as pd
import torch
from torch import Tensor

from van_tutorial._checks import check_choice, check_count
from van_tutorial.diagnostics.correlation import gradient_autocorrelation
from van_tutorial.diagnostics.gradients import input_gradients_of_all
from van_tutorial.diagnostics.reference import brown_noise, white_noise
from van_tutorial.models import SCALAR_RECIPES, scalar_network

DEPTHS = (2, 4, 10, 24, 50)
NUM_SEEDS = 20
NUM_POINTS = 256
MAX_LAG = 15
NOISES = {"white noise": white_noise, "brown noise": brown_noise}


def shattering(
    recipes: Sequence[str] = tuple(SCALAR_RECIPES),
    depths: Sequence[int] = DEPTHS,
    num_seeds: int = NUM_SEEDS,
    num_points: int = NUM_POINTS,
    max_lag: int = MAX_LAG,
) -> Iterator[pd.DataFrame]:
    """Measure the autocorrelation of the gradients of random networks, recipe by recipe and depth by depth.

    For seeds 0, 1, ...: the derivative of the output of `models.scalar_network` at points of [-2, 2], with the
    statistics of normalizations held constant, and its autocorrelation by lag. Moderate: at the defaults about
    half a minute on one core.

    Args:
        recipes: names in `models.SCALAR_RECIPES`.
        depths: numbers of hidden layers L, each at least 2.
        num_seeds: random initializations of each network.
        num_points: points N of the grid.
        max_lag: largest lag, below N.

    Yields:
        For each recipe and depth a table: network, depth, lag, mean, sd (with n - 1, over the seeds), runs. NaN
        where the gradient does not vary at all (looks-linear).

    Raises:
        ValueError: for an unknown recipe, and values outside these bounds.

    Source:
        Balduzzi et al. 2017, The shattered gradients problem, Figure 2. Width 200, the grid, the depths and the 20
        runs are reported from memory and by an independent re-implementation.
    """
    for recipe in recipes:
        check_choice("recipe", recipe, SCALAR_RECIPES)
    check_count("num_seeds", num_seeds)
    inputs = torch.linspace(-2.0, 2.0, num_points).unsqueeze(1)
    for recipe in recipes:
        for depth in depths:
            networks = [scalar_network(recipe, depth, seed=seed) for seed in range(num_seeds)]
            gradients = input_gradients_of_all(networks, inputs, statistics="constant")
            yield summarize(gradients, max_lag, network=recipe, depth=depth)


def noise_autocorrelation(
    num_seeds: int = NUM_SEEDS, num_points: int = NUM_POINTS, max_lag: int = MAX_LAG
) -> pd.DataFrame:
    """Measure the autocorrelation of white and of brown noise in the same way (cheap).

    Args:
        num_seeds: paths of each noise.
        num_points: points N of a path.
        max_lag: largest lag, below N.

    Returns:
        network ("white noise", "brown noise"), depth (0), lag, mean, sd, runs.
    """
    return pd.concat(
        [
            summarize(draw(num_points, num_seeds, seed=0).unsqueeze(2), max_lag, network=name, depth=0)
            for name, draw in NOISES.items()
        ],
        ignore_index=True,
    )


def summarize(gradients: Tensor, max_lag: int, network: str, depth: int) -> pd.DataFrame:
    """Return mean and standard deviation of the autocorrelation over the runs of gradients (R, N, ...)."""
    curves = torch.stack([gradient_autocorrelation(run, max_lag) for run in gradients]).double()
    return pd.DataFrame(
        {
            "network": network,
            "depth": depth,
            "lag": range(max_lag + 1),
            "mean": curves.mean(dim=0),
            "sd": curves.std(dim=0) if len(curves) > 1 else float("nan"),
            "runs": len(curves),
        }
    )


def agreement(measured: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Compare measured means with those of a reference, where both have the same network, depth and lag.

    They agree where they differ by at most the larger of 0.1 and three standard errors of the difference,
    3 s sqrt(1 / n_1 + 1 / n_2), with s^2 the variance pooled over both: ((n_1 - 1) sd_1^2 + (n_2 - 1) sd_2^2) /
    (n_1 + n_2 - 2), which a sample of two runs does not make small by chance.

    Args:
        measured: network, depth, lag, mean, sd, runs.
        reference: the same columns.

    Returns:
        network, depth, lag, mean, sd, reference_mean, reference_sd, tolerance, agrees.
    """
    both = measured.merge(reference, on=["network", "depth", "lag"], suffixes=("", "_reference"))
    n, m = both["runs"], both["runs_reference"]
    squares = (n - 1) * both["sd"].fillna(0.0) ** 2 + (m - 1) * both["sd_reference"].fillna(0.0) ** 2
    error = (squares / (n + m - 2).clip(lower=1) * (1 / n + 1 / m)) ** 0.5
    tolerance = (3.0 * error).clip(lower=0.1)
    difference = (both["mean"] - both["mean_reference"]).abs()
    both = both.rename(columns={"mean_reference": "reference_mean", "sd_reference": "reference_sd"})
    return both.assign(tolerance=tolerance, agrees=difference <= tolerance).drop(
        columns=["runs", "runs_reference"]
    )


def agreement_table(
    measured: pd.DataFrame, reference: pd.DataFrame, lags: Sequence[int] = (1, 5, 15)
) -> pd.DataFrame:
    """Write the measured means beside those of a reference, a row for each network and depth.

    Args:
        measured: network, depth, lag, mean, sd, runs.
        reference: the same columns.
        lags: those that are written, one behind the other.

    Returns:
        network, depth, measured (such as "0.95 / 0.76 / 0.42"), reference, agrees ("yes" or "no", by `agreement` at
        these lags). None where the gradient does not vary, or there is no reference.
    """
    rows = pd.MultiIndex.from_frame(measured[["network", "depth"]].drop_duplicates())
    agreed = agreement(measured[measured["lag"].isin(lags)], reference).groupby(["network", "depth"])[
        "agrees"
    ]
    columns = {
        "measured": means_at(measured, lags),
        "reference": means_at(reference, lags),
        "agrees": agreed.all().map({True: "yes", False: "no"}),
    }
    table = pd.DataFrame({name: column.reindex(rows) for name, column in columns.items()}).astype(object)
    return table.where(table.notna(), None).reset_index()


def means_at(table: pd.DataFrame, lags: Sequence[int]) -> pd.Series:
    """Return the means at some lags as one string for each network and depth."""
    means = table.pivot(index=["network", "depth"], columns="lag", values="mean")
    means = means.reindex(columns=list(lags)).dropna()
    return means.apply(lambda row: " / ".join(f"{mean:.2f}" for mean in row), axis=1)
