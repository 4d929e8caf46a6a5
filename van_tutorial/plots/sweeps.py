"""Figures of many runs."""

import html
from collections.abc import Sequence

import pandas as pd
import plotly.express as px
import plotly.graph_objects as go

from van_tutorial.plots.style import curve, finish, numbers, style

SPREAD = "Mean over the seeds, with one standard deviation either way."


def mean_curves(
    table: pd.DataFrame,
    value: str,
    over: str,
    series: str = "network",
    panel: str | None = None,
    is_log: bool = False,
    caption: str = SPREAD,
) -> go.Figure:
    """Draw the mean and the standard deviation (with n - 1) of a column over another one, a line for each series.

    Args:
        table: a row for each run.
        value: the column that is drawn.
        over: the column that it is drawn over.
        series: the column that names the lines; categories have the same look in every figure.
        panel: the column that names the panels; None for one panel.
        is_log: over a logarithmic axis. It has no place for 0, for a number below and for none; where there is one of
            them, the values stand side by side instead.
        caption: one line under the title.

    Returns:
        The figure. What looks like HTML in the table's strings is shown as it is.

    Example:
        >>> runs = pd.DataFrame({"network": ["van"] * 3, "depth": [10] * 3, "accuracy": [0.7, 0.8, 0.9]})
        >>> line = mean_curves(runs, "accuracy", "depth").data[0]
        >>> [round(float(number), 3) for number in (line.x[0], line.y[0], line.error_y.array[0])]
        [10.0, 0.8, 0.1]
    """
    lines = table[series]
    is_ordered = isinstance(lines.dtype, pd.CategoricalDtype)
    names = list(lines.cat.categories if is_ordered else lines.unique())
    panels = [""] if panel is None else [plain(text) for text in table[panel].unique()]
    drawn = pd.DataFrame(
        {
            "series": lines.map(plain).astype(object),
            "panel": "" if panel is None else table[panel].map(plain),
            "x": table[over].astype(float),
            "y": table[value].astype(float),
        }
    )
    groups = drawn.groupby(["panel", "series", "x"], sort=False, dropna=False)["y"]
    spread = groups.agg(["mean", "std", "count"]).reset_index().sort_values("x")
    ticks = sorted(spread["x"].dropna().unique())
    is_apart = is_log and (spread["x"].isna().any() or min(ticks) <= 0)
    if is_apart:
        spread["x"] = ["none" if pd.isna(x) else f"{x:.10g}" for x in spread["x"]]
    rows = -(-len(panels) // 2)
    fig = px.line(
        spread,
        x="x",
        y="mean",
        error_y="std",
        markers=True,
        color="series",
        symbol="series",
        facet_col="panel" if len(panels) > 1 else None,
        facet_col_wrap=2,
        facet_row_spacing=0.3 / rows,
        hover_data={"panel": False, "std": ":.2g", "mean": ":.4g", "count": True},
        labels={
            "x": plain(over),
            "mean": f"mean {plain(value)}",
            "std": "standard deviation",
            "count": "runs",
        },
        category_orders={"series": [plain(name) for name in names], "panel": panels},
        **looks(names),
    )
    finish(fig, f"{plain(value)} by {plain(over)}", caption, plain(over), plain(value))
    fig.update_traces(marker_size=8)
    fig.for_each_annotation(lambda note: note.update(text=note.text.removeprefix("panel=")))
    if is_apart:
        fig.update_xaxes(type="category")
    else:
        fig.update_xaxes(
            type="log" if is_log else "linear", tickvals=ticks, ticktext=[f"{x:.10g}" for x in ticks]
        )
    fig.update_xaxes(showticklabels=True)
    fig.update_yaxes(title="", col=2)
    return fig.update_layout(
        legend_title=None, height=140 + 300 * rows, margin={"t": 80 + 20 * (len(panels) > 1)}
    )


def looks(names: Sequence[object]) -> dict[str, dict[str, str]]:
    """Return colors and symbols by the names of series, as `plotly.express` takes them."""
    styles = {plain(name): style(number) for name, number in zip(names, numbers(names), strict=True)}
    return {
        "color_discrete_map": {name: each["line"]["color"] for name, each in styles.items()},
        "symbol_map": {name: each["marker"]["symbol"] for name, each in styles.items()},
    }


def plain(text: object) -> str:
    """Return a text so that plotly shows it as it is."""
    return html.escape(str(text), quote=False)


def mean_dots(
    table: pd.DataFrame, value: str, title: str, x: str, series: str | None = None, caption: str = SPREAD
) -> go.Figure:
    """Draw the mean of a column with its standard deviation (with n - 1), a row for each network.

    Args:
        table: columns network and `value`; a row for each run. The first network is drawn on top.
        value: the column that is drawn.
        title: of the figure.
        x: name of the horizontal axis, with its unit.
        series: the column that splits each row into several dots; None for one dot.
        caption: one line under the title.

    Returns:
        The figure; it has a legend where a row has several dots.
    """
    fig = go.Figure()
    for index, (name, runs) in enumerate(table.groupby(series) if series else [("", table)]):
        spread = runs.groupby("network", sort=False)[value].agg(["mean", "std"])
        bars = {"array": spread["std"], "thickness": 1}
        rows = spread.index.map(plain)
        fig.add_trace(
            curve(spread["mean"], rows, plain(name), index, "markers", marker_size=10, error_x=bars)
        )
    order = {"categoryorder": "array", "categoryarray": [plain(name) for name in table["network"].unique()]}
    finish(fig, title, caption, x, "network").update_yaxes(autorange="reversed", automargin=True, **order)
    fig.update_layout(showlegend=series is not None, legend_title=(series or "").replace("_", " "))
    return fig.update_layout(height=160 + 30 * table["network"].nunique())
