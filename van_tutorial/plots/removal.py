"""Figures of skip weights and their multipliers: paths, phase portraits, predictions and prices."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from van_tutorial.plots.style import animate, curve, finish, mean_and_spread


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
            more = {"legendgroup": name, "showlegend": row == 1}
            fig.add_trace(curve(path["step"], path[column], name, index, "lines", **more), row=row, col=1)
    fig = finish(fig, "Skip weight and multiplier", caption, "step", "skip weight")
    fig.update_xaxes(title="", row=1, col=1)
    fig.update_yaxes(title="multiplier<br>(nats per unit)", row=2, col=1)
    return fig.update_layout(height=520)


def constrained_descent(
    path: pd.DataFrame,
    loss: Callable[[np.ndarray], np.ndarray],
    num_frames: int = 41,
    caption: str = "Press Play. Left: the point moves on loss plus λ α. Right: its path so far.",
) -> go.Figure:
    """Draw one skip weight on its Lagrangian C(alpha) + lambda alpha, step by step, as an animation.

    Args:
        path: columns step, skip_weight, multiplier, as `constraints.simulate_path` returns them.
        loss: C, from skip weights in [0, 1] to losses in nats.
        num_frames: number of moments, spread over the path.
        caption: one line under the title.

    Returns:
        A figure that shows the first moment, with a button that plays the others.
    """
    alphas, whole = np.linspace(0.0, 1.0, 51), path.to_numpy()
    rows = np.linspace(0, len(path) - 1, num_frames).round().astype(int)

    def moving(row: int) -> list[go.Scatter]:
        alpha, multiplier = whole[row, 1:]
        steps, skip_weights, multipliers = whole[: row + 1].T
        point = {"marker_size": 14, "marker_symbol": "circle"}
        return [
            curve(alphas, loss(alphas) + multiplier * alphas, "loss + λ α", 1, "lines"),
            curve([alpha], [loss(alpha) + multiplier * alpha], "now", 6, "markers", **point),
            curve(steps, skip_weights, "skip weight α", 2, "lines", xaxis="x2", yaxis="y2"),
            curve(steps, multipliers, "multiplier λ (nats per unit)", 3, "lines", xaxis="x2", yaxis="y2"),
        ]

    fig = make_subplots(rows=1, cols=2)
    fig.add_traces([curve(alphas, loss(alphas), "loss", 0, "lines"), *moving(0)])
    frames = [go.Frame(name=str(row), data=moving(row), traces=[1, 2, 3, 4]) for row in rows]
    finish(fig, "One skip weight and its multiplier", caption, "skip weight α", "nats")
    largest = loss(alphas) + whole[-1, 2] * alphas
    fig.update_yaxes(range=(0.0, 1.1 * largest.max()), col=1)  # animation fits no axis to its values
    fig.update_xaxes(title="step", range=(0, len(path) - 1), col=2)
    fig.update_yaxes(title="", range=(-0.05, 1.1 * max(1.0, whole[:, 2].max())), col=2)
    return animate(fig, frames, whole[rows, 0].astype(int)).update_layout(height=560)


def phase_portrait(
    paths: Mapping[str, pd.DataFrame],
    slope: float,
    caption: str = "Each path starts at the right, below. The cross is the equilibrium.",
) -> go.Figure:
    """Draw paths in the plane of skip weight and multiplier.

    Args:
        paths: for each path's name its table with columns skip_weight, multiplier.
        slope: k = -dC/dalpha, the multiplier that balances the loss at alpha = 0.
        caption: one line under the title.

    Returns:
        A figure of multiplier over skip weight, with the equilibrium (0, k).
    """
    fig = go.Figure()
    for index, (name, path) in enumerate(paths.items()):
        fig.add_trace(curve(path["skip_weight"], path["multiplier"], name, index, "lines"))
    cross = {"symbol": "x", "size": 12, "color": "#000000"}
    fig.add_scatter(x=[0.0], y=[slope], mode="markers", name="equilibrium", marker=cross)
    widest = 1.1 * max((path["skip_weight"].abs().max() for path in paths.values()), default=1.0)
    fig.update_xaxes(range=[-widest, widest])
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
        fig.add_trace(
            curve(
                rows["predicted_step"],
                rows["first_zero_step"],
                name,
                index,
                "markers",
                text=rows["layer"],
                hovertemplate="layer %{text}<br>predicted %{x:.0f}<br>real %{y:.0f}<extra></extra>",
                marker_size=7,
                marker_opacity=0.7,
            )
        )
    both = table[["predicted_step", "first_zero_step"]]
    ends = [both.min(axis=None), both.max(axis=None)]
    fig.add_scatter(
        x=ends, y=ends, mode="lines", name="equal", line={"color": "#000000", "width": 1, "dash": "dot"}
    )
    ticks = [digit * 10**power for power in range(7) for digit in (1, 2, 5)]
    fig.update_xaxes(type="log", tickvals=ticks)
    fig.update_yaxes(type="log", tickvals=ticks)
    return finish(fig, "Predicted and real removal", caption, "predicted step", "first step at 0")


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
    for index, (column, name) in enumerate(
        (("multiplier", "final multiplier"), ("price", "price of the skip"))
    ):
        fig.add_trace(mean_and_spread(table, "layer", column, name, index))
    return finish(
        fig, "Price and multiplier", caption, "layer (1 is next to the input)", "nats per unit of skip weight"
    )
