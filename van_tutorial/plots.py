"""Tidy tables in, figures out.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; a dash and a marker differ as well.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "2px,2px,8px,2px")
MARKERS = ("circle", "square", "diamond", "cross", "triangle-up", "star", "x")
SKIP_COLORS = "Cividis"  # even in lightness, and the same to colour-blind readers


def style(index: int) -> dict[str, dict[str, str]]:
    """Return line and marker of the series number `index`, from 0."""
    index %= len(PALETTE)
    return {
        "line": {"color": PALETTE[index], "dash": DASHES[index]},
        "marker": {"color": PALETTE[index], "symbol": MARKERS[index]},
    }


def finish(fig: go.Figure, title: str, caption: str, x: str, y: str) -> go.Figure:
    """Give a figure its title, its caption and the names of its axes, and return it."""
    fig.update_layout(
        title={"text": f"{title}<br><sup>{caption}</sup>", "x": 0.0, "xanchor": "left", "xref": "paper"},
        template="plotly_white",
        font={"size": 14},
        margin={"l": 70, "r": 20, "t": 80, "b": 60},
        height=420,
    )
    fig.update_xaxes(title=x)
    fig.update_yaxes(title=y)
    return fig


def skip_weight_map(
    layers: pd.DataFrame, caption: str = "Each column is a moment, each row a layer."
) -> go.Figure:
    """Draw the skip weights of every layer over the training, as a map.

    Args:
        layers: columns step, layer, skip_weight, as `TrainResult.layers` has them.
        caption: one line under the title.

    Returns:
        A heat map, layer over step, from 0 to 1.
    """
    table = layers.pivot_table(index="layer", columns="step", values="skip_weight")
    fig = go.Figure(
        go.Heatmap(
            x=table.columns,
            y=table.index,
            z=table.to_numpy(dtype=float),
            zmin=0.0,
            zmax=1.0,
            colorscale=SKIP_COLORS,
            colorbar={"title": "skip weight"},
            hovertemplate="step %{x}<br>layer %{y}<br>skip weight %{z:.3f}<extra></extra>",
        )
    )
    return finish(fig, "Skip weights, layer by layer", caption, "step", "layer (1 is next to the input)")


def per_layer_range(
    layers: pd.DataFrame, column: str, title: str, y: str, caption: str, series: int = 0
) -> go.Figure:
    """Draw the mean over the layers of a column with the range from smallest to largest, over the steps."""
    spread = layers.groupby("step")[column].agg(["mean", "min", "max"])
    steps = spread.index.to_numpy()
    line = style(series)
    fig = go.Figure()
    fig.add_scatter(
        x=np.concatenate([steps, steps[::-1]]),
        y=np.concatenate([spread["max"], spread["min"][::-1]]),
        fill="toself",
        fillcolor=line["line"]["color"],
        opacity=0.2,
        line={"width": 0},
        hoverinfo="skip",
        name="smallest to largest",
    )
    fig.add_scatter(x=steps, y=spread["mean"], mode="lines+markers", name="mean over the layers", **line)
    return finish(fig, title, caption, "step", y)


def skip_weight_range(
    layers: pd.DataFrame, caption: str = "The constraint asks for 0 in every layer."
) -> go.Figure:
    """Draw the mean skip weight and its range over the layers.

    Args:
        layers: columns step, layer, skip_weight.
        caption: one line under the title.

    Returns:
        A figure of skip weight over step.
    """
    return per_layer_range(layers, "skip_weight", "Skip weights", "skip weight", caption)


def multiplier_range(
    layers: pd.DataFrame, caption: str = "A multiplier grows while its skip is there, and then stands still."
) -> go.Figure:
    """Draw the mean multiplier and its range over the layers.

    Args:
        layers: columns step, layer, multiplier.
        caption: one line under the title.

    Returns:
        A figure of multiplier, in nats per unit of skip weight, over step.
    """
    return per_layer_range(
        layers, "multiplier", "Multipliers", "multiplier (nats per unit of skip weight)", caption, 1
    )


def accuracy_curves(
    histories: Mapping[str, pd.DataFrame],
    caption: str = "Lines: test images, in eval mode. Dots: training batches.",
) -> go.Figure:
    """Draw training and test accuracy of several runs over the epochs.

    Args:
        histories: for each run's name its table with columns epoch, train_accuracy, test_accuracy.
        caption: one line under the title.

    Returns:
        A figure with two series a run.
    """
    fig = go.Figure()
    for index, (name, history) in enumerate(histories.items()):
        look = style(index)
        fig.add_scatter(
            x=history["epoch"],
            y=history["test_accuracy"],
            mode="lines",
            name=f"{name}, test",
            line=look["line"],
            legendgroup=name,
        )
        fig.add_scatter(
            x=history["epoch"],
            y=history["train_accuracy"],
            mode="markers",
            name=f"{name}, training",
            marker=look["marker"],
            legendgroup=name,
        )
    fig.update_yaxes(range=[0, 1])
    return finish(fig, "Accuracy", caption, "epoch", "accuracy (share of images)")


def loss_curves(
    histories: Mapping[str, pd.DataFrame], caption: str = "The training loss, without the penalty."
) -> go.Figure:
    """Draw the training loss of several runs over the epochs.

    Args:
        histories: for each run's name its table with columns epoch, loss.
        caption: one line under the title.

    Returns:
        A figure with one series a run.
    """
    fig = go.Figure()
    for index, (name, history) in enumerate(histories.items()):
        fig.add_scatter(
            x=history["epoch"], y=history["loss"], mode="lines+markers", name=name, **style(index)
        )
    return finish(fig, "Training loss", caption, "epoch", "cross-entropy (nats per example)")


NORMS = {
    "activation_norm": "activation (units)",
    "output_grad_norm": "gradient at the output (nats per unit)",
    "weight_grad_norm": "gradient of the weights (nats per unit)",
}


def layer_norm_curves(
    norms: Mapping[str, pd.DataFrame],
    column: str = "output_grad_norm",
    caption: str = "Level: the loss speaks to every layer alike. A slope: its signal grows or fades on the way.",
) -> go.Figure:
    """Draw a norm by layer for several networks, on a logarithmic axis.

    Args:
        norms: for each network's name its table from `diagnostics.layer_norms`.
        column: "activation_norm", "output_grad_norm" or "weight_grad_norm".
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
    fig.update_yaxes(type="log", dtick=1, exponentformat="power")
    return finish(fig, "Norms by layer", caption, "layer (1 is next to the input)", NORMS[column])
