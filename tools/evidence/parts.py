"""What sections of the page are made of: parts of sentences, tables and figures, from a table of runs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from van_tutorial import batch
from van_tutorial.plots import mean_dots, style
from van_tutorial.plots.sweeps import SPREAD

RESIDUAL = "the residual network"
SKIPS = {"VAN": "phased out", "residual": "kept", "highway": "kept"}  # of networks whose names begin so


def read(name: str) -> pd.DataFrame:
    """Return the runs of a recording."""
    return batch.recorded(name).table


def spread_of(values: pd.Series) -> str:
    """Return mean and standard deviation as a text."""
    numbers = values.dropna().astype(float)
    if numbers.empty:
        return "–"
    mean = round(float(numbers.mean()), 6)  # so that 0.8455 is rounded alike, however it was summed
    return f"{mean:.3f}".replace("-", "−") + (f" ± {numbers.std():.3f}" if len(numbers) > 1 else "")


def means(runs: pd.DataFrame, value: str = "test_accuracy") -> pd.Series:
    """Return the mean of a value for each network."""
    return runs.groupby("network")[value].mean()


def skips_of(network: str) -> str:
    """Return what becomes of a network's skips."""
    return next((word for begins, word in SKIPS.items() if network.startswith(begins)), "never any")


def best_of(runs: pd.DataFrame, kind: str) -> str:
    """Return the network with the highest mean test accuracy among those whose names begin so."""
    return str(means(runs[runs["network"].str.startswith(kind)]).idxmax())


def beside(runs: pd.DataFrame, one: str, other: str, words: str) -> str:
    """Return how far a network's test accuracy is above or below another's, with the interval of `batch.compare`."""
    return batch.compare(runs, one, other).in_words(words)


def range_of(values: pd.Series) -> str:
    """Return the smallest and the largest of some steps."""
    low, high = (f"{value:.0f}" for value in values.astype(float).agg(["min", "max"]))
    return low if low == high else f"{low} to {high}"


def learning_left(runs: pd.DataFrame) -> str:
    """Return which fraction of the summed learning rate is left after the last removal, under cosine decay.

    With T steps, the last removal after step t, and learning rates proportional to 1 + cos(pi s / T) for s = 0, ...,
    T - 1: their sum from s = t on, over the whole sum.
    """
    left = []
    for removed, total in runs[["removed_at_step", "num_steps"]].dropna().itertuples(index=False):
        rates = 1.0 + np.cos(np.pi * np.arange(total) / total)
        left.append(100.0 * rates[int(removed) :].sum() / rates.sum())
    low, high = (f"{value:.1f}" if value >= 1.0 else f"{value:.2f}" for value in (min(left), max(left)))
    return f"{low} %" if low == high else f"{low} to {high} %"


# Tables.


def table(texts: pd.DataFrame) -> str:
    """Return a table of texts in Markdown."""
    rows = [texts.columns.tolist(), ["---"] * len(texts.columns), *texts.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def origin(runs: pd.DataFrame, hardware: str, versions: Mapping[str, str]) -> str:
    """Return with which seeds, and on what, a recording was made."""
    seeds = ", ".join(str(seed) for seed in sorted(runs["seed"].unique()))
    return f"Seeds {seeds}; {hardware}; {', '.join(f'{name} {number}' for name, number in versions.items())}"


def cells(
    runs: pd.DataFrame,
    heading: str = "{}",
    value: str = "test_accuracy",
    rows: str | Sequence[str] = "network",
    column: str = "depth",
) -> pd.DataFrame:
    """Return a pivot of texts: mean ± standard deviation of a value, rows in the order of the recording."""
    made = runs.pivot_table(index=rows, columns=column, values=value, aggfunc=spread_of, sort=False).fillna(
        "–"
    )
    made.columns = pd.Index([heading.format(name) for name in made.columns])
    return made


def summary(
    runs: pd.DataFrame, by: str | list[str], columns: Mapping[str, Callable[[pd.DataFrame], str]]
) -> pd.DataFrame:
    """Return a row of texts for each group of runs, in the order of the recording."""
    groups = [group for _, group in runs.groupby(by, sort=False)]
    return pd.DataFrame([{title: text(group) for title, text in columns.items()} for group in groups])


def first(column: str, form: str = "{}") -> Callable[[pd.DataFrame], str]:
    """Return what gives the first value of a column as a text, a dash where there is none."""
    return lambda group: "–" if group[column].isna().iloc[0] else form.format(group[column].iloc[0])


def spread(column: str) -> Callable[[pd.DataFrame], str]:
    """Return what gives mean and standard deviation of a column as a text."""
    return lambda group: spread_of(group[column])


# Figures.


def dots(
    runs: pd.DataFrame,
    title: str,
    caption: str = SPREAD,
    value: str = "test_accuracy",
    series: str | None = "depth",
) -> go.Figure:
    """Draw the mean of an accuracy for each network, a dot for each value of a column."""
    return mean_dots(runs, value, title, value.replace("_", " "), series, caption)


def curve(figure: go.Figure, table: pd.DataFrame, x: str, y: str, index: int, **choices: Any) -> None:
    """Add mean and standard deviation of `y` over `x` to a figure."""
    of = table.groupby(x)[y].agg(["mean", "std"]).reset_index()
    width = choices.pop("width", 1.5)
    bars = {"array": of["std"], "width": 4 if width > 1 else 3, "thickness": width}
    figure.add_scatter(x=of[x], y=of["mean"], error_y=bars, mode="lines+markers", **choices, **style(index))
