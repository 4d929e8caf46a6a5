"""Figures of a training: skip weights, multipliers, accuracy, loss."""

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from van_tutorial.plots.style import curve, finish, mean_and_spread, numbered, skip_heat_map


def skip_weight_map(
    layers: pd.DataFrame, caption: str = "Each column is a moment, each row a layer."
) -> go.Figure:
    """Draw the skip weights of every layer over the training, as a map.

    Args:
        layers: columns step, layer, skip_weight, as `TrainResult.layers` has them.
        caption: one line under the title.

    Returns:
        A heat map, layer over step, from 0 to 1.

    Raises:
        ValueError: where there is no skip weight.
    """
    check_weighted(layers)
    table = layers.pivot_table(index="layer", columns="step", values="skip_weight")
    weights = table.to_numpy(dtype=float)
    fig = go.Figure(skip_heat_map(table.columns, table.index, weights, colorbar={"title": "skip weight"}))
    return finish(fig, "Skip weights, layer by layer", caption, "step", "layer (1 is next to the input)")


def check_weighted(layers: pd.DataFrame) -> None:
    """Raise where there is no skip weight."""
    if layers.empty:
        raise ValueError("There are no skip weights to draw: layers has no row. Was a VAN trained?")


def accuracy_curves(
    histories: Mapping[str, pd.DataFrame],
    caption: str = "Lines: test set, in eval mode. Markers: training batches.",
) -> go.Figure:
    """Draw training and test accuracy of several runs over the epochs.

    Args:
        histories: for each run's name its table with columns epoch, train_accuracy, test_accuracy.
        caption: one line under the title.

    Returns:
        A figure with two series a run. The legend names the lines alone.
    """
    fig = go.Figure()
    for index, (name, history) in numbered(histories.items()):
        x, y = history["epoch"], history["train_accuracy"]
        fig.add_trace(curve(x, history["test_accuracy"], name, index, "lines", legendgroup=name))
        unnamed = {"legendgroup": name, "showlegend": False}
        fig.add_trace(curve(x, y, f"{name}, training", index, "markers", **unnamed))
    fig.update_yaxes(range=[0, 1])
    return finish(fig, "Accuracy", caption, "epoch", "accuracy")


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
    for index, (name, runs) in numbered(table.groupby("network", sort=False)):
        fig.add_trace(mean_and_spread(runs, over, column, name, index))
    return finish(fig, title, caption, over if x is None else x, y)
