"""Figures of the constraint's own dynamics: paths, phase portraits, predictions and prices."""

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from van_tutorial.plots.style import finish, style


def skip_and_multiplier_paths(
    paths: Mapping[str, pd.DataFrame], caption: str = "Above: the skip weight. Below: its multiplier."
) -> go.Figure:
    """Draw paths of one skip weight and its multiplier over the steps, one above the other.

    Args:
        paths: for each path's name its table with columns step, skip_weight, multiplier.
        caption: one line under the title.

    Returns:
        A figure with two rows that share their steps.
    """
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    for index, (name, path) in enumerate(paths.items()):
        for row, column in enumerate(("skip_weight", "multiplier"), 1):
            fig.add_scatter(
                x=path["step"],
                y=path[column],
                mode="lines",
                name=name,
                legendgroup=name,
                showlegend=row == 1,
                line=style(index)["line"],
                row=row,
                col=1,
            )
    fig = finish(fig, "Skip weight and multiplier", caption, "step", "skip weight")
    fig.update_xaxes(title="", row=1, col=1)
    fig.update_yaxes(title="multiplier<br>(nats per unit)", row=2, col=1)
    return fig.update_layout(height=520)


def phase_portrait(
    paths: Mapping[str, pd.DataFrame],
    slope: float,
    caption: str = "Each path starts at the right, below. The cross is where the forces balance.",
) -> go.Figure:
    """Draw paths in the plane of skip weight and multiplier.

    Args:
        paths: for each path's name its table with columns skip_weight, multiplier.
        slope: k = -dC/dalpha, the multiplier that balances the loss at alpha = 0.
        caption: one line under the title.

    Returns:
        A figure of multiplier over skip weight, with the balance (0, k).
    """
    fig = go.Figure()
    for index, (name, path) in enumerate(paths.items()):
        fig.add_scatter(
            x=path["skip_weight"], y=path["multiplier"], mode="lines", name=name, line=style(index)["line"]
        )
    fig.add_scatter(
        x=[0.0],
        y=[slope],
        mode="markers",
        name="balance",
        marker={"symbol": "x", "size": 12, "color": "#000000"},
    )
    return finish(fig, "Phase portrait", caption, "skip weight", "multiplier (nats per unit of skip weight)")


def predicted_and_real_steps(
    table: pd.DataFrame, group: str = "run", caption: str = "On the line the prediction was right."
) -> go.Figure:
    """Draw the step at which each skip first reached 0 over the one that was predicted.

    Args:
        table: columns predicted_step, first_zero_step, layer, and `group`.
        group: the column that names the series.
        caption: one line under the title.

    Returns:
        A figure with both axes logarithmic, one series a group, and the line of equality.
    """
    table = table.dropna(subset=["first_zero_step"])
    fig = go.Figure()
    for index, (name, rows) in enumerate(table.groupby(group, sort=False)):
        fig.add_scatter(
            x=rows["predicted_step"],
            y=rows["first_zero_step"],
            mode="markers",
            name=str(name),
            text=rows["layer"],
            hovertemplate="layer %{text}<br>predicted %{x:.0f}<br>real %{y:.0f}<extra></extra>",
            marker={**style(index)["marker"], "size": 7, "opacity": 0.7},
        )
    both = table[["predicted_step", "first_zero_step"]]
    ends = [both.min(axis=None), both.max(axis=None)]
    fig.add_scatter(
        x=ends, y=ends, mode="lines", name="equal", line={"color": "#000000", "width": 1, "dash": "dot"}
    )
    fig.update_xaxes(type="log")
    fig.update_yaxes(type="log")
    return finish(fig, "When each skip went", caption, "predicted step", "step at which it first was 0")


def prices_and_multipliers(
    table: pd.DataFrame, caption: str = "At or above the price a multiplier holds its skip weight at 0."
) -> go.Figure:
    """Draw for each layer the price of its shortcut beside the final multiplier.

    Args:
        table: columns layer, price, multiplier; where a layer has several rows, of several runs, their mean with
            one standard deviation either way is drawn.
        caption: one line under the title.

    Returns:
        A figure with two series.
    """
    fig = go.Figure()
    for index, column in enumerate(("multiplier", "price")):
        spread = table.groupby("layer")[column].agg(["mean", "std"])
        fig.add_scatter(
            x=spread.index,
            y=spread["mean"],
            error_y={"array": spread["std"].fillna(0.0), "width": 2, "thickness": 1},
            mode="lines+markers",
            name={"multiplier": "final multiplier", "price": "price of the shortcut"}[column],
            **style(index),
        )
    return finish(
        fig, "Price and multiplier", caption, "layer (1 is next to the input)", "nats per unit of skip weight"
    )
