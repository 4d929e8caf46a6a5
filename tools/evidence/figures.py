"""The figures of docs/evidence.md, drawn from the recordings alone."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tools.evidence.tables import convolutional, with_prediction
from van_tutorial.plots import finish, mean_curves, style


def dots(table: pd.DataFrame, value: str, series: str, title: str, caption: str, x: str) -> go.Figure:
    """Draw the mean of a value for each network on a line of its own, a colour and a marker for each series."""
    figure = go.Figure()
    order = list(table["network"].unique())
    for index, (name, runs) in enumerate(table.groupby(series)):
        spread = runs.groupby("network", sort=False)[value].agg(["mean", "std"]).reset_index()
        figure.add_scatter(
            x=spread["mean"],
            y=spread["network"],
            error_x={"array": spread["std"], "width": 4, "thickness": 1.5},
            mode="markers",
            name=str(name),
            marker={**style(index)["marker"], "size": 9},
        )
    finish(figure, title, caption, x, "")
    figure.update_yaxes(
        categoryorder="array", categoryarray=order[::-1], automargin=True, tickfont={"size": 11}
    )
    figure.update_layout(title={"x": 0.02, "xref": "container"}, height=190 + 26 * len(order))
    return figure.update_layout(legend_title=series.replace("_", " "))


def by_depth(table: pd.DataFrame, title: str, remark: str = "") -> go.Figure:
    """Draw the test accuracy of each network at each depth."""
    caption = f"Mean over the seeds with one standard deviation.{remark}"
    return dots(table, "test_accuracy", "depth", title, caption, "test accuracy")


def trials(table: pd.DataFrame) -> go.Figure:
    """Validation accuracy of each trial at each depth."""
    deepest = table[table["depth"] == table["depth"].max()].set_index("network")["validation_accuracy"]
    table = table.assign(rank=table["network"].map(deepest)).sort_values("rank", ascending=False)
    return dots(
        table,
        "validation_accuracy",
        "depth",
        "Validation accuracy by how skips are removed",
        "One run each, on a validation set of the training images.",
        "validation accuracy",
    )


def step_sizes(table: pd.DataFrame) -> go.Figure:
    """Validation accuracy of each network with each learning rate."""
    return dots(
        table.assign(network=table["network"] + ", depth " + table["depth"].astype(str)),
        "validation_accuracy",
        "lr",
        "Validation accuracy by learning rate",
        "One run each, on a validation set of the training images.",
        "validation accuracy",
    )


def degradation(table: pd.DataFrame) -> go.Figure:
    """Accuracy by depth, in training and on test images."""
    both = pd.concat(
        table.assign(panel=panel, accuracy=table[value])
        for panel, value in (("in training", "train_accuracy"), ("test images", "test_accuracy"))
    )
    figure = mean_curves(both, "accuracy", "depth", panel="panel")
    return figure.update_layout(height=480)


def networks(table: pd.DataFrame) -> go.Figure:
    """Test accuracy of each network, all of one depth."""
    return by_depth(table, "Test accuracy at depth 40").update_layout(showlegend=False)


def longer(table: pd.DataFrame) -> go.Figure:
    """Test accuracy of each network at each depth, without the plain one, which would hide the others."""
    others = table[table["network"] != "plain"]
    return by_depth(others, "Test accuracy after 30 epochs", " The plain network is left out: see the table.")


def frontier(table: pd.DataFrame) -> go.Figure:
    """Accuracy by dual learning rate, and the step at which half of the skips are at 0 against the predicted one."""
    figure = make_subplots(
        cols=2,
        subplot_titles=("test accuracy", "step at which half of the skips are at 0"),
        horizontal_spacing=0.12,
    )
    runs = with_prediction(table)
    for index, (name, part) in enumerate(runs.groupby("network", sort=False)):
        spread = part.groupby("dual_lr")["test_accuracy"].agg(["mean", "std"]).reset_index()
        figure.add_scatter(
            x=spread["dual_lr"],
            y=spread["mean"],
            error_y={"array": spread["std"], "width": 4, "thickness": 1.5},
            mode="lines+markers",
            name=str(name),
            legendgroup=str(name),
            col=1,
            row=1,
            **style(index),
        )
        gone = part.dropna(subset=["median_zero_step"])
        figure.add_scatter(
            x=gone["predicted"],
            y=gone["median_zero_step"],
            mode="markers",
            legendgroup=str(name),
            showlegend=False,
            marker=style(index)["marker"],
            col=2,
            row=1,
        )
    ends = [runs["predicted"].min(), runs["predicted"].max()]
    line = {"color": "#888888", "dash": "dot"}
    figure.add_scatter(x=ends, y=ends, mode="lines", name="as predicted", line=line, col=2, row=1)
    caption = "Left: mean over the seeds with one standard deviation. Right: every run."
    finish(figure, "Test accuracy and removal step by dual learning rate", caption, "", "")
    sizes = sorted(runs["dual_lr"].unique())
    ticks = {"tickvals": sizes, "ticktext": [f"{size:g}" for size in sizes]}
    figure.update_xaxes(type="log", title="dual learning rate", col=1, **ticks)
    figure.update_xaxes(type="log", title="predicted step", dtick="D2", col=2)
    figure.update_yaxes(type="log", dtick="D2", col=2)
    return figure.update_layout(legend={"orientation": "h", "y": -0.35}, margin={"t": 110}, height=480)


def schedules(table: pd.DataFrame) -> go.Figure:
    """Test accuracy of each schedule at each depth."""
    return by_depth(table, "Test accuracy by how skips are removed")


def photographs(runs: pd.DataFrame) -> go.Figure:
    """Test accuracy of convolutional networks by number of layers."""
    return by_depth(convolutional(runs), "Test accuracy on CIFAR-10 after four epochs")
