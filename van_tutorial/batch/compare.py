"""How far apart two networks are, with an interval that holds for few runs."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from van_tutorial._checks import check_range

CONFIDENCE = 0.95
LEVEL = 0.005  # differences up to here, half a point of accuracy, are called level
GRID = 200_001  # points of the integral


@dataclass(frozen=True)
class Difference:
    """A difference of two means, in the unit of the values, with its confidence interval.

    Attributes:
        mean: of the first network's values less that of the second's.
        low: lower bound of the interval; minus infinity for a single run.
        high: upper bound.
        runs: pairs of runs; None where runs were not paired.
    """

    mean: float
    low: float
    high: float
    runs: int | None

    @property
    def is_level(self) -> bool:
        """Whether the whole interval lies within half a point."""
        return self.low >= -LEVEL and self.high <= LEVEL

    def in_words(self, other: str) -> str:
        """Return what may be said of a difference of accuracies, in points: level, above, below, or not told apart.

        Args:
            other: what stands for the second network in the sentence.

        Example:
            >>> Difference(mean=-0.02, low=-0.03, high=-0.01, runs=3).in_words("the residual network")
            '2.0 points below the residual network [1.0, 3.0]'
        """
        low, mean, high = (points(value) for value in (self.low, self.mean, self.high))
        if self.is_level:
            return f"level with {other} [{low}, {high}]"
        if self.low <= 0.0 <= self.high:
            return f"not told apart from {other} [{low}, {high}]"
        if self.mean > 0.0:
            return f"{mean} points above {other} [{low}, {high}]"
        low, mean, high = (points(-value) for value in (self.high, self.mean, self.low))
        return f"{mean} points below {other} [{low}, {high}]"


def points(value: float) -> str:
    """Return a difference of accuracies in points, with a minus sign and never a negative 0."""
    return f"{round(100.0 * value, 1) + 0.0:.1f}".replace("-", "−")


def t_quantile(probability: float, df: float) -> float:
    """Return the value that Student's t exceeds with probability 1 - `probability`.

    With t = sqrt(df) tan(u), P(|T| <= t) is the integral of cos(u)^(df - 1) from 0 to u, over that to pi / 2.

    Args:
        probability: in (0, 1).
        df: degrees of freedom, at least 1, a fraction too.

    Returns:
        The quantile, to a relative error below 1e-6 for probabilities from 0.001 to 0.999.

    Raises:
        ValueError: for values outside these bounds.

    Example:
        >>> round(t_quantile(0.975, df=2), 3)
        4.303

    Source:
        Student 1908, The probable error of a mean.
    """
    check_range("probability", probability, 0.0, 1.0, open_low=True, open_high=True)
    check_range("df", df, 1.0, math.inf)
    angles = np.linspace(0.0, np.pi / 2, GRID)
    density = np.cos(angles) ** (df - 1.0)
    mass = np.append(0.0, np.cumsum(density[1:] + density[:-1]))
    angle = np.interp(abs(2.0 * probability - 1.0), mass / mass[-1], angles)
    return math.copysign(math.sqrt(df) * math.tan(angle), probability - 0.5)


def compare(
    runs: pd.DataFrame,
    one: str,
    other: str,
    value: str = "test_accuracy",
    by: str = "network",
    pair: str = "seed",
) -> Difference:
    """Return how far one network is above another, with the 95 % interval of Student's t.

    Runs are compared pair by pair where both networks have the same seeds:

        mean(d) +- t(0.975, n - 1) sd(d) / sqrt(n)        d_i = one_i - other_i

    and else by Welch's interval, with s^2 = sd_1^2 / n_1 + sd_2^2 / n_2:

        mean_1 - mean_2 +- t(0.975, df) s                 df = s^4 / sum_k (sd_k^2 / n_k)^2 / (n_k - 1)

    What is *not* done: nothing is corrected for the number of comparisons that are made.

    Args:
        runs: a row per run.
        one: the network that is compared, a value of the column `by`.
        other: what it is compared with.
        value: the column that is compared.
        by: the column that names the networks.
        pair: the column by which runs are paired.

    Returns:
        The difference; with infinite bounds where a network has one run only.

    Raises:
        ValueError: for a network without a run, or with two of one seed.

    Example:
        >>> runs = pd.DataFrame({"network": list("aaabbb"), "seed": [0, 1, 2] * 2,
        ...                      "test_accuracy": [0.82, 0.73, 0.64, 0.80, 0.70, 0.60]})
        >>> compare(runs, "a", "b").in_words("b")  # 2, 3 and 4 points; 4.303 standard errors of 1 / sqrt(3)
        '3.0 points above b [0.5, 5.5]'

    Source:
        Student 1908, The probable error of a mean; Welch 1947, The generalization of "Student's" problem.
    """
    first, second = (values_by(runs, name, value, by, pair) for name in (one, other))
    mean = float(first.mean() - second.mean())
    if first.index.sort_values().equals(second.index.sort_values()):
        count: int | None = len(first)
        errors = [((first - second).std() ** 2 / len(first), len(first) - 1)]
    else:
        count, errors = None, [(part.std() ** 2 / len(part), len(part) - 1) for part in (first, second)]
    if any(df == 0 for _, df in errors):
        return Difference(mean, -math.inf, math.inf, count)
    squared = float(sum(error for error, _ in errors))
    half = 0.0
    if squared > 0.0:
        df = squared**2 / sum(error**2 / df for error, df in errors)
        half = t_quantile(0.5 + 0.5 * CONFIDENCE, float(df)) * math.sqrt(squared)
    return Difference(mean, mean - half, mean + half, count)


def values_by(runs: pd.DataFrame, name: Any, value: str, by: str, pair: str) -> pd.Series:
    """Return the values of a network's runs by what they are paired by."""
    values = runs[runs[by] == name].set_index(pair)[value].dropna()
    if values.empty or not values.index.is_unique:
        found = "none" if values.empty else "several"
        raise ValueError(f"compare needs one {value} of {name!r} for each {pair}; there is {found}.")
    return values
