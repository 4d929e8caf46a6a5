"""Figures of many runs: a metric against depth or a step size, how soon skips may go, and every seed.

The tables have a column `series`, the text that names a line (where it is categorical, a name has the same look in
every figure), and, where there are panels, a column `panel`, the text above each of them. Texts are shown as they are:
what looks like HTML in them is not read as such.
"""

import html
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from van_tutorial.plots.style import DASHES, PALETTE, finish, style


def metric_by_depth(
    table: pd.DataFrame,
    metric: str,
    caption: str = "Mean over the seeds, with one standard deviation either way.",
) -> go.Figure:
    """Draw a metric against depth, a line for each series.

    Args:
        table: columns series, panel, depth and `metric`; a row for each run and series.
        metric: what is drawn.
        caption: one line under the title.

    Returns:
        A figure with a panel for each text in the column panel.
    """
    fig = mean_curves(table, metric, "depth")
    depths = sorted(table["depth"].unique())
    finish_panels(fig, f"Depth and {plain(metric)}", caption, "depth (layers)", plain(metric))
    return fig.update_xaxes(tickvals=depths)


def metric_by_step_size(
    table: pd.DataFrame,
    metric: str,
    step_size: str,
    caption: str = "Mean over the seeds, with one standard deviation either way.",
) -> go.Figure:
    """Draw a metric against a step size on a logarithmic axis, a line for each series.

    A step size of 0 has no place on such an axis. It stands apart on the left, and no line leads to it. Runs without
    a value are left out.

    Args:
        table: columns series, panel, `step_size` and `metric`; a row for each run and series.
        metric: what is drawn.
        step_size: name of the step size.
        caption: one line under the title.

    Returns:
        A figure with a panel for each text in the column panel.
    """
    table = table.dropna(subset=[step_size])
    sizes = np.sort(table[step_size].unique().astype(float))
    positive = sizes[sizes > 0]
    texts = [f"{size:.10g}" for size in positive]
    positions = positive
    apart = None
    if len(positive) < len(sizes):
        smallest, largest = (positive[0], positive[-1]) if len(positive) else (1.0, 1.0)
        apart = float(smallest / max(3.0, (largest / smallest) ** 0.3))
        positions, texts = np.insert(positive, 0, apart), ["0", *texts]
    placed = table.assign(**{step_size: table[step_size].astype(float).replace(0.0, apart or 0.0)})
    fig = mean_curves(placed, metric, step_size, apart=apart)
    title = f"{plain(step_size)} and {plain(metric)}"
    finish_panels(fig, title, caption, f"{plain(step_size)} (step size)", plain(metric))
    return fig.update_xaxes(type="log", tickvals=positions, ticktext=texts)


def mean_curves(table: pd.DataFrame, metric: str, over: str, apart: float | None = None) -> go.Figure:
    """Draw the mean and the standard deviation of a metric over a column; the place `apart` is left unconnected."""
    fig, panels = make_panels(table)
    names = names_of_series(table)
    for row, col, part in panels:
        for name, runs in part.groupby("series", sort=False, observed=True):
            values = runs[metric].astype(float).groupby(runs[over].astype(float))
            spread = values.agg(["count", "mean", "std"]).reset_index()
            if apart is not None and apart in spread[over].to_numpy():
                spread.loc[0.5] = np.nan  # a gap behind the first place
                spread = spread.sort_index()
            fig.add_scatter(
                x=spread[over],
                y=spread["mean"],
                error_y={"array": spread["std"], "width": 4, "thickness": 1.5},
                customdata=spread[["count", "std"]],
                hovertemplate=f"{plain(over)} %{{x}}<br>mean {plain(metric)} %{{y:.4g}}"
                "<br>standard deviation %{customdata[1]:.2g}<br>runs: %{customdata[0]}",
                mode="lines+markers",
                name=plain(name),
                legendgroup=plain(name),
                row=row,
                col=col,
                **look(names.index(name)),
            )
    return label_once(fig)


def step_size_frontier(
    table: pd.DataFrame,
    metric: str,
    caption: str = "Filled, on the line: no other setting is both sooner and better. Bars: standard deviations.",
) -> go.Figure:
    """Draw a metric against the step at which the skips had gone, a point for each setting of the step sizes.

    Args:
        table: columns series, panel, setting (a text), label (a short one, for the point), runs, step, step_sd, mean,
            sd and is_frontier; a row for each setting and series.
        metric: name of what mean and sd are of.
        caption: one line under the title.

    Returns:
        A figure with a panel for each text in the column panel: for each series its frontier as a line, and the other
        settings as open markers.
    """
    fig, panels = make_panels(table)
    names = names_of_series(table)
    for row, col, part in panels:
        for name, points in part.groupby("series", sort=False, observed=True):
            of_name = look(names.index(name))
            for is_frontier, group in points.sort_values("step").groupby("is_frontier", sort=False):
                symbol = of_name["marker"]["symbol"] + ("" if is_frontier else "-open")
                fig.add_scatter(
                    x=group["step"],
                    y=group["mean"],
                    error_x={"array": group["step_sd"], "width": 3, "thickness": 1},
                    error_y={"array": group["sd"], "width": 3, "thickness": 1},
                    customdata=np.column_stack([group["setting"].map(plain), group["runs"]]),
                    hovertemplate=f"%{{customdata[0]}}<br>skips gone at step %{{x:.0f}}<br>mean {plain(metric)} "
                    "%{y:.4g}<br>runs: %{customdata[1]}",
                    mode="lines+markers+text" if is_frontier else "markers+text",
                    text=group["label"].map(plain),
                    textposition="top right",
                    name=f"{plain(name)}: {'frontier' if is_frontier else 'other settings'}",
                    legendgroup=f"{plain(name)} {is_frontier}",
                    line=of_name["line"],
                    marker={**of_name["marker"], "symbol": symbol, "size": 11 if is_frontier else 9},
                    row=row,
                    col=col,
                )
    fig.update_xaxes(rangemode="tozero")
    title = f"How soon the skips go, and {plain(metric)}"
    finish_panels(label_once(fig), title, caption, "step at which the skips had gone", plain(metric))
    return fig


def every_run(
    table: pd.DataFrame, metric: str, caption: str = "A point is a run; a row holds the runs of one setting."
) -> go.Figure:
    """Draw a metric of every run as a point, a row for each setting.

    Args:
        table: columns series, setting (a text), seed (a text) and `metric`; a row for each run and series.
        metric: what is drawn.
        caption: one line under the title.

    Returns:
        A figure with the settings one under the other.
    """
    fig = go.Figure()
    names = names_of_series(table)
    for name, runs in table.groupby("series", sort=False, observed=True):
        index = names.index(name)
        marker = look(index)["marker"]
        fig.add_scatter(
            x=runs[metric].astype(float),
            y=runs["setting"].map(plain),
            customdata=runs[["seed"]].map(plain),
            hovertemplate=f"%{{y}}<br>seed %{{customdata[0]}}<br>{plain(metric)} %{{x:.4g}}",
            mode="markers",
            orientation="h",
            offsetgroup=str(index),
            name=plain(name),
            marker={**marker, "symbol": f"{marker['symbol']}-open", "size": 9},
        )
    finish(fig, f"Every run: {plain(metric)}", caption, plain(metric), "setting")
    fig.update_yaxes(autorange="reversed", automargin=True, type="category", showgrid=True)
    values = table[metric].astype(float)
    margin = 0.05 * (values.max() - values.min()) or 0.5
    fig.update_xaxes(range=[values.min() - margin, values.max() + margin])  # 0 need not be in it
    num_rows = table["setting"].nunique() * table["series"].nunique()
    return fig.update_layout(scattermode="group", scattergap=0.3, height=200 + max(120, 24 * num_rows))


def plain(text: object) -> str:
    """Return a text so that plotly shows it as it is."""
    return html.escape(str(text), quote=False)


def look(index: int) -> dict[str, dict[str, str]]:
    """Return line and marker of the series number `index`; where colours come again, dashes and markers differ."""
    shifted = index + index // len(PALETTE)
    return {
        "line": {"color": PALETTE[index % len(PALETTE)], "dash": DASHES[shifted % len(DASHES)]},
        "marker": {**style(shifted)["marker"], "color": PALETTE[index % len(PALETTE)]},
    }


def names_of_series(table: pd.DataFrame) -> list[Any]:
    """Return the names of the series, in the order that gives each its look: that of the categories, if there are."""
    series = table["series"]
    return list(series.cat.categories if isinstance(series.dtype, pd.CategoricalDtype) else series.unique())


def make_panels(table: pd.DataFrame) -> tuple[go.Figure, Iterator[tuple[int, int, pd.DataFrame]]]:
    """Return a figure with panels, two in a row, and for each of them row, column and its part of the table."""
    texts = list(table["panel"].unique())
    num_cols = min(2, len(texts))
    fig = make_subplots(
        rows=-(-len(texts) // num_cols),
        cols=num_cols,
        subplot_titles=[plain(text) for text in texts] if len(texts) > 1 else None,
        shared_xaxes="all",
        shared_yaxes="all",
        horizontal_spacing=0.05,
        vertical_spacing=0.3 / -(-len(texts) // num_cols),
    )
    parts = (
        (index // num_cols + 1, index % num_cols + 1, table[table["panel"] == text])
        for index, text in enumerate(texts)
    )
    return fig, parts


def label_once(fig: go.Figure) -> go.Figure:
    """Let every series stand in the legend once, whichever panels it is in."""
    seen: set[str] = set()
    for trace in fig.data:
        trace.showlegend = trace.name not in seen
        seen.add(trace.name)
    return fig


def finish_panels(fig: go.Figure, title: str, caption: str, x: str, y: str) -> None:
    """Give a figure with panels its texts, and a height that goes by their number."""
    num_rows = len({axis.domain for axis in fig.select_yaxes()})
    finish(fig, title, caption, x, y)
    fig.update_xaxes(showticklabels=True)
    fig.update_yaxes(title=None, col=2)
    fig.update_annotations(font={"size": 13})
    fig.update_layout(height=140 + 300 * num_rows, margin={"t": 100 if fig.layout.annotations else 80})
