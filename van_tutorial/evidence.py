"""What a lesson keeps and cites: metrics, results that were recorded once, and how far apart two networks are."""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from van_tutorial._checks import check_choice, check_range
from van_tutorial._course import course_path
from van_tutorial._extras import needs

METRICS_TYPE = "application/vnd.van-tutorial.metrics+json"
CONFIDENCE = 0.95
LEVEL = 0.005  # differences up to here, half a point of accuracy, are called level
GRID = 200_001  # points of the integral


def record_metrics(metrics: pd.DataFrame, shown: pd.DataFrame | None = None) -> None:
    """Show a table, folded, and hand it on to the runner, which writes it into metrics.json.

    Args:
        metrics: the table; its index is left out.
        shown: what the reader sees, where that is another table.

    Raises:
        ValueError: for column names of several levels, and for one that stands twice.
        TypeError: for what is no table.
    """
    if not isinstance(metrics, pd.DataFrame):
        raise TypeError(f"metrics must be a pandas DataFrame, got {type(metrics).__name__}.")
    if metrics.columns.nlevels > 1:
        raise ValueError(
            f"metrics must have plain column names, got {metrics.columns.nlevels} levels of them: join them, for "
            'instance by table.columns = [" ".join(map(str, names)) for names in table.columns].'
        )
    names = pd.Series([str(name) for name in metrics.columns], dtype=object)
    if names.duplicated().any():
        raise ValueError(
            f"metrics has more than one column {names[names.duplicated()].iloc[0]!r}, of which one would be lost: "
            "rename one of them."
        )
    with needs("A table of metrics", "course"):
        from IPython.display import display

    # Lists, since a kernel's messages may sort keys.
    table = json.loads(metrics.to_json(orient="split", index=False))
    shown = (metrics if shown is None else shown).astype(object)
    shown = shown.where(shown.notna(), "–")
    rows = f"{len(metrics)} row{'s' * (len(metrics) != 1)}"
    display(
        {
            METRICS_TYPE: table,
            "text/html": f"<details><summary>Recorded: {rows}</summary>{shown.to_html(index=False)}</details>",
            "text/plain": shown.to_string(index=False),
        },
        raw=True,
    )


@dataclass(frozen=True)
class Recorded:
    """A recorded result.

    Attributes:
        question: what it answers.
        command: makes it again.
        hardware: what it ran on.
        versions: of Python and the packages that matter.
        table: one row per run.
    """

    question: str
    command: str
    hardware: str
    versions: dict[str, str]
    table: pd.DataFrame

    def summary(self, by: str = "network", values: str = "test_accuracy") -> pd.DataFrame:
        """Return mean and standard deviation of a column for each group of runs.

        Args:
            by: the column that names the group.
            values: the column that is averaged.

        Returns:
            One row per group in the order of the table: the group, runs, mean, sd (with n - 1), smallest, largest.
        """
        grouped = self.table.groupby(by, sort=False)[values]
        summary = grouped.agg(["count", "mean", "std", "min", "max"]).reset_index()
        summary.columns = pd.Index([by, "runs", "mean", "sd", "smallest", "largest"])
        return summary


def recorded(name: str) -> Recorded:
    """Read a recorded result of the course.

    Args:
        name: of a file in assets/results, without its ending.

    Returns:
        The result, with the command that makes it again.

    Raises:
        ValueError: where there is none of that name.
    """
    folder = course_path("assets", "results")
    check_choice("name", name, sorted(path.stem for path in folder.glob("*.json")))
    content = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return Recorded(
        question=content["question"],
        command=content["command"],
        hardware=content["hardware"],
        versions=content["versions"],
        table=pd.DataFrame(content["runs"]),
    )


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
        """Whether the whole interval lies within half a point, and 0 in it."""
        return -LEVEL <= self.low <= 0.0 <= self.high <= LEVEL

    def in_words(self, other: str) -> str:
        """Return what may be said of a difference of accuracies, in points: level, above, below, or not told apart.

        Args:
            other: what stands for the second network in the sentence.

        Example:
            >>> Difference(mean=-0.02, low=-0.03, high=-0.01, runs=3).in_words("the residual network")
            '2.0 points below the residual network [1.0, 3.0]'
        """
        if math.isinf(self.low):
            side = "above" if self.mean > 0.0 else "below"
            return f"not told apart from {other} by single runs ({points(abs(self.mean))} points {side})"
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
