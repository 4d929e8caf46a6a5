"""Figures of gradients: as signals, by lag, by depth, from input to input, by layer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from van_tutorial.plots.style import band, curve, finish, log_axis, numbered

NORMS = {
    "activation_norm": "activation (units)",
    "output_grad_norm": "gradient at the output (nats per unit)",
    "weight_grad_norm": "gradient of the weights (nats per unit)",
    "weight_grad_ratio": "gradient by weight norm (nats per unit²)",
    "dead_fraction": "dead units (fraction of the layer)",
    "coactive_fraction": "co-active (fraction of pairs)",
}
FRACTIONS = ("dead_fraction", "coactive_fraction")


def layer_norm_curves(
    norms: Mapping[str, pd.DataFrame],
    column: str = "output_grad_norm",
    caption: str = "Level: every layer gets an equal gradient. A slope: it grows or fades from layer to layer.",
) -> go.Figure:
    """Draw a norm by layer for several networks, on a logarithmic axis, or a fraction of units.

    Args:
        norms: for each network's name its table from `diagnostics.layer_norms`.
        column: "activation_norm", "output_grad_norm", "weight_grad_norm" or "weight_grad_ratio"; or
            "dead_fraction" or "coactive_fraction", which are drawn on an axis from 0 to 1.
        caption: one line under the title.

    Returns:
        A figure with one series a network.

    Raises:
        ValueError: for another column.
    """
    if column not in NORMS:
        raise ValueError(f"column must be one of {', '.join(map(repr, NORMS))}, got {column!r}.")
    fig = go.Figure()
    for index, (name, table) in numbered(norms.items()):
        fig.add_trace(curve(table["layer"], table[column], name, index))
    if column in FRACTIONS:
        fig.update_yaxes(range=[-0.02, 1.02])
    else:
        log_axis(fig, pd.concat([pd.Series(dtype=float), *(table[column] for table in norms.values())]))
    title = "Units by layer" if column in FRACTIONS else "Norms by layer"
    return finish(fig, title, caption, "layer (1 is next to the input)", NORMS[column])


def gradient_signals(
    inputs: Sequence[float],
    gradients: Mapping[str, Sequence[float]],
    caption: str = "Each signal is scaled to unit standard deviation, and shifted.",
) -> go.Figure:
    """Draw gradients along a path of inputs, one above the other, each with its name beside it.

    Args:
        inputs: N positions on the path.
        gradients: for each network's name N numbers.
        caption: one line under the title.

    Returns:
        A figure with one series a network. All lines are solid: in noise a dash cannot be seen.
    """
    fig = go.Figure()
    for place, (index, (name, values)) in enumerate(numbered(gradients.items())):
        signal = np.asarray(values, dtype=float)
        spread = signal.std() if signal.size else 0.0
        # One that varies by rounding alone is a flat line.
        is_flat = spread <= 1e-5 * np.abs(signal).max(initial=0.0)
        scaled = np.zeros_like(signal) if is_flat else (signal - signal.mean()) / spread
        line = curve(np.asarray(inputs), scaled - 6 * place, name, index, "lines", line_width=1.5)
        fig.add_trace(line.update(line_dash="solid", showlegend=False))
        beside = {"x": 1.01, "xref": "paper", "xanchor": "left", "y": -6 * place, "showarrow": False}
        fig.add_annotation(text=name, font_color=line.line.color, **beside)
    fig.update_yaxes(showticklabels=False)
    finish(fig, "Gradients as signals", caption, "input x", "dy/dx (shifted)")
    return fig.update_layout(margin_r=220)


def autocorrelation_panels(
    table: pd.DataFrame, caption: str = "A line for each depth. Mean over random initializations."
) -> go.Figure:
    """Draw the autocorrelation of gradients by lag, a panel for each network and a line for each depth.

    Args:
        table: columns network, depth, lag, mean; depth 0 for what has none, such as noise.
        caption: one line under the title.

    Returns:
        A figure with a panel for each network that has a depth, three in a row. What has none is in every panel.
    """
    is_network = table["depth"] > 0
    names = list(table[is_network]["network"].unique())
    references = table[~is_network].groupby("network", sort=False)
    num_rows = max(1, -(-len(names) // 3))
    fig = make_subplots(
        rows=num_rows,
        cols=3,
        subplot_titles=names,
        shared_xaxes=True,
        shared_yaxes=True,
        horizontal_spacing=0.03,
        vertical_spacing=0.2 / num_rows,
    )
    depths = sorted(table[is_network]["depth"].unique())
    for panel, name in enumerate(names):
        row, col = panel // 3 + 1, panel % 3 + 1
        of_depth = table[table["network"] == name].groupby("depth")
        lines: list[tuple[str, int, pd.DataFrame]] = []
        lines += [(f"depth {depth}", depths.index(depth), rows) for depth, rows in of_depth]
        lines += [(str(noise), len(depths) + place, rows) for place, (noise, rows) in enumerate(references)]
        for label, index, rows in lines:
            look: dict[str, Any] = {
                "legendgroup": label,
                "showlegend": label not in {trace.name for trace in fig.data},
            }
            fig.add_trace(curve(rows["lag"], rows["mean"], label, index, **look), row=row, col=col)
    fig = finish(fig, "Autocorrelation of gradients", caption, "", "")
    if len(names) % 3:  # the legend takes the place that is left
        place_left = {"x": 0.7, "y": 1 / num_rows - 0.05, "yanchor": "top", "tracegroupgap": 0}
        fig.update_layout(legend=place_left)
    fig.update_xaxes(title="lag (points of the grid)", row=num_rows, col=min(2, len(names)))
    fig.update_yaxes(title="autocorrelation", col=1)
    fig.update_yaxes(range=[-0.3, 1.05])
    fig.update_annotations(font={"size": 13})
    return fig.update_layout(height=140 + 240 * num_rows, margin={"t": 100})


def correlation_by_depth(
    measured: pd.DataFrame,
    predicted: pd.DataFrame | None = None,
    caption: str = "Markers: measured. Dotted lines of the same colour: theory, which assumes independent ReLU masks.",
) -> go.Figure:
    """Draw how strongly gradients are correlated, over the depth of the network.

    Args:
        measured: columns network, depth, correlation.
        predicted: the same columns; None for no theory.
        caption: one line under the title.

    Returns:
        A figure with one series a network, and one for each network of the theory.
    """
    fig = go.Figure()
    for index, (name, rows) in numbered(measured.groupby("network", sort=False)):
        fig.add_trace(curve(rows["depth"], rows["correlation"], name, index))
        if predicted is not None and len(theory := predicted[predicted["network"] == name]):
            look: dict[str, Any] = {"showlegend": False, "line_width": 2, "line_dash": "dot"}
            x, y = theory["depth"], theory["correlation"]
            fig.add_trace(curve(x, y, f"{name}, theory", index, "lines", **look))
    fig.update_xaxes(type="log", tickvals=sorted(measured["depth"].unique()))
    fig.update_yaxes(range=[-0.1, 1.05])
    return finish(fig, "Correlation of gradients and depth", caption, "depth (layers)", "correlation")


def singular_value_spread(
    table: pd.DataFrame,
    caption: str = "Line: root mean square. Band: smallest to largest singular value. Median over inputs.",
) -> go.Figure:
    """Draw how the singular values of the input-output Jacobian spread with depth.

    Args:
        table: columns network, depth, largest, smallest, mean_square; one row per input, as
            `diagnostics.conditioning` has them.
        caption: one line under the title.

    Returns:
        A figure on a logarithmic axis, with a band and a line of the root mean square for each network.
    """
    fig = go.Figure()
    for index, (name, rows) in numbered(table.groupby("network", sort=False)):
        middle = rows.groupby("depth")[["largest", "smallest", "mean_square"]].median()
        depths = middle.index.to_numpy()
        fig.add_trace(band(depths, middle["smallest"], middle["largest"], index, showlegend=False))
        fig.add_trace(curve(depths, middle["mean_square"] ** 0.5, name, index))
    fig.update_yaxes(type="log", exponentformat="power", nticks=10)
    y = "singular value (output per unit of input)"
    return finish(fig, "Singular values and depth", caption, "depth (layers)", y)
