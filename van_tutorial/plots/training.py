"""Figures of a training: skip weights, multipliers, accuracy, loss."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from van_tutorial.plots.style import SKIP_COLORS, finish, style


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
        mode="lines",
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


def accuracy_by_depth(
    table: pd.DataFrame, caption: str = "Lines: mean over the seeds, with one standard deviation either way."
) -> go.Figure:
    """Draw training and test accuracy over the depth of the network.

    Args:
        table: columns network, depth, train_accuracy, test_accuracy; one row per run.
        caption: one line under the title.

    Returns:
        A figure with two series a network: training images filled markers and the network's dash, test images
        open markers and dots.
    """
    fig = go.Figure()
    for index, (name, runs) in enumerate(table.groupby("network", sort=False)):
        look = style(index)
        for column, images in (("train_accuracy", "training images"), ("test_accuracy", "test images")):
            is_test = column == "test_accuracy"
            spread = runs.groupby("depth")[column].agg(["mean", "std"]).reset_index()
            fig.add_scatter(
                x=spread["depth"],
                y=spread["mean"],
                error_y={"array": spread["std"].fillna(0.0), "width": 3},
                mode="lines+markers",
                name=f"{name}, {images}",
                line={"color": look["line"]["color"], "dash": "dot" if is_test else look["line"]["dash"]},
                marker={
                    "color": look["marker"]["color"],
                    "symbol": look["marker"]["symbol"] + ("-open" if is_test else ""),
                    "size": 9,
                },
            )
    fig.update_yaxes(range=[0, 1.02])
    return finish(fig, "Accuracy and depth", caption, "depth (layers)", "accuracy (share of images)")


def measure_curves(
    table: pd.DataFrame,
    column: str,
    title: str,
    y: str,
    caption: str = "Mean over the seeds, with one standard deviation either way.",
    over: str = "epoch",
    x: str | None = None,
) -> go.Figure:
    """Draw something that was measured in several runs: in their course, over the epochs, or over something else.

    Args:
        table: columns network, `over`, and `column`; a row for each run and place on the horizontal axis.
        column: what is drawn.
        title: of the figure.
        y: name of the vertical axis, with its unit.
        caption: one line under the title.
        over: the column that it is drawn over.
        x: name of the horizontal axis, with its unit; None takes the column's name.

    Returns:
        A figure with one series a network.
    """
    fig = go.Figure()
    for index, (name, runs) in enumerate(table.groupby("network", sort=False)):
        spread = runs.groupby(over)[column].agg(["mean", "std"])
        fig.add_scatter(
            x=spread.index,
            y=spread["mean"],
            error_y={"array": spread["std"].fillna(0.0), "width": 2, "thickness": 1},
            mode="lines+markers",
            name=str(name),
            **style(index),
        )
    return finish(fig, title, caption, over if x is None else x, y)
