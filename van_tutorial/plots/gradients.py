"""Figures of gradients: as signals, by lag, by depth, from input to input, by layer."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from van_tutorial.plots.style import finish, log_axis, style

CORRELATION_COLORS = "RdBu"


NORMS = {
    "activation_norm": "activation (units)",
    "output_grad_norm": "gradient at the output (nats per unit)",
    "weight_grad_norm": "gradient of the weights (nats per unit)",
    "weight_grad_ratio": "gradient by weight norm (nats per unit²)",
    "dead_share": "dead units (share of the layer's units)",
    "coactive_share": "co-active (share of pairs of inputs)",
}
SHARES = ("dead_share", "coactive_share")


def layer_norm_curves(
    norms: Mapping[str, pd.DataFrame],
    column: str = "output_grad_norm",
    caption: str = "Level: the loss speaks to every layer alike. A slope: its signal grows or fades on the way.",
) -> go.Figure:
    """Draw a norm by layer for several networks, on a logarithmic axis, or a share of units.

    Args:
        norms: for each network's name its table from `diagnostics.layer_norms`.
        column: "activation_norm", "output_grad_norm", "weight_grad_norm" or "weight_grad_ratio"; or
            "dead_share" or "coactive_share", which are drawn on an axis from 0 to 1.
        caption: one line under the title.

    Returns:
        A figure with one series a network.

    Raises:
        ValueError: for another column.
    """
    if column not in NORMS:
        raise ValueError(f"column must be one of {', '.join(map(repr, NORMS))}, got {column!r}.")
    fig = go.Figure()
    for index, (name, table) in enumerate(norms.items()):
        fig.add_scatter(x=table["layer"], y=table[column], mode="lines+markers", name=name, **style(index))
    if column in SHARES:
        fig.update_yaxes(range=[-0.02, 1.02])
    else:
        log_axis(fig, pd.concat([pd.Series(dtype=float), *(table[column] for table in norms.values())]))
    title = "Units by layer" if column in SHARES else "Norms by layer"
    return finish(fig, title, caption, "layer (1 is next to the input)", NORMS[column])


def gradient_signals(
    inputs: Sequence[float],
    gradients: Mapping[str, Sequence[float]],
    caption: str = "Each signal is scaled to a standard deviation of 1, and shifted up.",
) -> go.Figure:
    """Draw gradients along a path of inputs, one above the other.

    Args:
        inputs: N positions on the path.
        gradients: for each network's name N numbers.
        caption: one line under the title.

    Returns:
        A figure with one series a network.
    """
    fig = go.Figure()
    for index, (name, values) in enumerate(gradients.items()):
        signal = np.asarray(values, dtype=float)
        spread = signal.std() if signal.size else 0.0
        # One that does not vary but for rounding is a flat line.
        is_flat = spread <= 1e-5 * np.abs(signal).max(initial=0.0)
        scaled = np.zeros_like(signal) if is_flat else (signal - signal.mean()) / spread
        look = style(index)
        fig.add_scatter(
            x=np.asarray(inputs),
            y=scaled - 6 * index,
            mode="lines",
            name=name,
            line={**look["line"], "width": 1.5},
        )
    fig.update_yaxes(showticklabels=False)
    return finish(fig, "Gradients as signals", caption, "input x", "dy/dx (standard deviations, shifted)")


def autocorrelation_panels(
    table: pd.DataFrame, caption: str = "A line for each depth. Mean over random initializations."
) -> go.Figure:
    """Draw the autocorrelation of gradients by lag, a panel for each network and a line for each depth.

    Args:
        table: columns network, depth, lag, mean; depth 0 for what has none, such as noise.
        caption: one line under the title.

    Returns:
        A figure with a panel for each network, three in a row.
    """
    names = list(table["network"].unique())
    num_rows = max(1, -(-len(names) // 3))
    fig = make_subplots(
        rows=num_rows,
        cols=3,
        subplot_titles=names,
        shared_xaxes=True,
        shared_yaxes=True,
        horizontal_spacing=0.03,
    )
    depths = sorted(table["depth"].unique())
    labelled: set[int] = set()
    for panel, name in enumerate(names):
        for depth, curve in table[table["network"] == name].groupby("depth"):
            fig.add_scatter(
                x=curve["lag"],
                y=curve["mean"],
                mode="lines+markers",
                name=f"depth {depth}" if depth else "no depth",
                legendgroup=str(depth),
                showlegend=depth not in labelled,
                row=panel // 3 + 1,
                col=panel % 3 + 1,
                **style(depths.index(depth)),
            )
            labelled.add(depth)
    fig = finish(fig, "Autocorrelation of gradients", caption, "", "")
    fig.update_xaxes(title="lag (points of the grid)", row=num_rows)
    fig.update_yaxes(title="autocorrelation", col=1)
    fig.update_yaxes(range=[-0.3, 1.05])
    fig.update_annotations(font={"size": 13})
    return fig.update_layout(height=140 + 240 * num_rows, margin={"t": 100})


def correlation_by_depth(
    measured: pd.DataFrame,
    predicted: pd.DataFrame | None = None,
    caption: str = "Markers: measured. Thin lines of the same dash: theory, which assumes independent gates.",
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
    for index, (name, curve) in enumerate(measured.groupby("network", sort=False)):
        look = style(index)
        fig.add_scatter(x=curve["depth"], y=curve["correlation"], mode="lines+markers", name=name, **look)
        if predicted is not None and (theory := predicted[predicted["network"] == name]).size:
            fig.add_scatter(
                x=theory["depth"],
                y=theory["correlation"],
                mode="lines",
                name=f"{name}, theory",
                showlegend=False,
                line={**look["line"], "width": 1},
                opacity=0.7,
            )
    fig.update_xaxes(type="log", tickvals=sorted(measured["depth"].unique()))
    fig.update_yaxes(range=[-0.1, 1.05])
    return finish(
        fig, "Correlation of gradients and depth", caption, "depth (layers)", "correlation (no unit)"
    )


def correlation_map(
    correlations: np.ndarray,
    caption: str = "Each row and each column is an input. Red: alike. Blue: opposite.",
) -> go.Figure:
    """Draw the correlation between the gradients at each two of some inputs.

    Args:
        correlations: shape (N, N), from -1 to 1.
        caption: one line under the title.

    Returns:
        A heat map.
    """
    fig = go.Figure(
        go.Heatmap(
            z=np.asarray(correlations, dtype=float),
            zmin=-1.0,
            zmax=1.0,
            colorscale=CORRELATION_COLORS,
            reversescale=True,
            colorbar={"title": "correlation"},
            hovertemplate="inputs %{x} and %{y}<br>correlation %{z:.2f}<extra></extra>",
        )
    )
    fig.update_yaxes(scaleanchor="x", autorange="reversed")
    fig.update_xaxes(constrain="domain")
    return finish(fig, "Correlation between gradients", caption, "input (number)", "input (number)")


def singular_value_spread(
    table: pd.DataFrame,
    caption: str = "Line: median over inputs. Band: from the smallest to the largest singular value.",
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
    for index, (name, rows) in enumerate(table.groupby("network", sort=False)):
        middle = rows.groupby("depth")[["largest", "smallest", "mean_square"]].median()
        look, depths = style(index), middle.index.to_numpy()
        fig.add_scatter(
            x=np.concatenate([depths, depths[::-1]]),
            y=np.concatenate([middle["largest"], middle["smallest"][::-1]]),
            mode="lines",
            fill="toself",
            fillcolor=look["line"]["color"],
            opacity=0.2,
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
        )
        fig.add_scatter(
            x=depths,
            y=middle["mean_square"] ** 0.5,
            mode="lines+markers",
            name=f"{name}, root mean square",
            **look,
        )
    fig.update_yaxes(type="log", exponentformat="power", nticks=10)
    return finish(
        fig,
        "Singular values and depth",
        caption,
        "depth (layers)",
        "singular value (output per unit of input)",
    )
