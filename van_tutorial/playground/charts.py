"""The playground's figure: six charts of a run, with others pinned beside it, at any moment of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from van_tutorial import plots
from van_tutorial.playground.recording import Recording

# Where each chart stands, by what it shows.
PLACES = {
    "loss": (1, 1),
    "accuracy": (1, 2),
    "correlation": (1, 3),
    "skips": (2, 1),
    "multipliers": (2, 2),
    "norms": (2, 3),
}
TITLES = (
    "Loss", "Accuracy", "Gradient correlation", "Skip weights", "Multipliers now", "Gradient norms now",
)  # fmt: skip
BY_STEP = ("", "2", "3", "4")  # the axes of the charts that run over steps: there a line stands at the moment
NUM_TRACES = 9  # traces of the run itself; those of pinned runs follow
NOW = (6, 7)  # those of them that show its layers at the moment
PINNED = ("loss", "accuracy", "correlation", "multipliers", "norms")


def charts(run: Recording, pinned: Sequence[Recording] = (), index: int = -1) -> go.Figure:
    """Draw a run at one of its moments, and pinned runs at the same step.

    Args:
        run: drawn in full: curves over the steps, the skip weights as a map with the predicted removal over it, and
            multipliers and gradient norms by layer, as they are at the moment.
        pinned: runs to compare with, each in a colour, dash and marker of its own.
        index: of the moment; -1 is the last.

    Returns:
        The figure; `moments` has what changes from moment to moment.
    """
    fig = make_subplots(rows=2, cols=3, subplot_titles=TITLES, horizontal_spacing=0.11, vertical_spacing=0.2)
    solid, dashed = plots.style(0)["line"], {**plots.style(0)["line"], "dash": "dash"}
    points = {"mode": "lines+markers", "line": solid, "marker": {**plots.style(0)["marker"], "size": 5}}
    for name, trace in (
        ("loss", go.Scatter(name="training images", mode="lines", line=dashed, legendgroup="training")),
        ("loss", go.Scatter(name="test images", mode="lines", line=solid, legendgroup="test")),
        ("accuracy", go.Scatter(name="training images", mode="lines", line=dashed, showlegend=False)),
        ("accuracy", go.Scatter(name="test images", mode="lines", line=solid, showlegend=False)),
        ("skips", skip_map()),
        ("skips", predicted_line()),
        ("multipliers", go.Scatter(name="multiplier", showlegend=False, **points)),
        ("norms", go.Scatter(name="gradient norm", showlegend=False, **points)),
        ("correlation", go.Scatter(name="this run", showlegend=False, **points)),
    ):
        fig.add_trace(trace, *PLACES[name])
    for trace, values in zip(fig.data, run_values(run, index), strict=True):
        trace.update(values)
    for trace, place in pinned_traces(pinned, run.steps[index]):
        fig.add_trace(trace, *place)
    fig.update_xaxes(title="step", title_standoff=4)
    for column in (2, 3):
        fig.update_xaxes(title="layer, from the input on", row=2, col=column)
    for name, label in {
        "loss": "nats per image",
        "accuracy": "share of images",
        "correlation": "mean over pairs of images",
        "skips": "layer",
        "multipliers": "λ (nats)",
        "norms": "|dC / dW|",
    }.items():
        row, col = PLACES[name]
        fig.update_yaxes(title=label, title_standoff=4, row=row, col=col)
    fig.update_yaxes(range=[0, 1], row=1, col=2)
    fig.update_yaxes(type="log", exponentformat="power", row=2, col=3)
    fig.update_yaxes(rangemode="tozero", row=2, col=2)
    for axis, bounds in ranges(run, pinned).items():
        fig.layout[axis].range = bounds
    fig.update_layout(
        template="plotly_white",
        height=620,
        font={"size": 13},
        margin={"l": 60, "r": 15, "t": 60, "b": 90},
        legend={"orientation": "h", "x": 0, "y": -0.14, "xanchor": "left", "yanchor": "top"},
        shapes=cursors(run, index),
        hovermode="closest",
    )
    return fig


def skip_map() -> go.Heatmap:
    """Return the empty map of skip weights."""
    return go.Heatmap(
        zmin=0.0,
        zmax=1.0,
        colorscale=plots.SKIP_COLORS,
        colorbar={"title": "α", "x": 0.262, "y": 0.2, "len": 0.45, "thickness": 8, "tickvals": [0, 0.5, 1]},
        name="skip weight",
        hovertemplate="step %{x}<br>layer %{y}<br>skip weight %{z:.3f}<extra></extra>",
    )


def predicted_line() -> go.Scatter:
    """Return the empty line of the predicted removal."""
    return go.Scatter(
        name="removal as predicted",
        mode="lines",
        line={"color": "#D55E00", "dash": "dot", "width": 2},
        hovertemplate="layer %{y}: predicted at step %{x:.0f}<extra></extra>",
    )


def run_values(run: Recording, index: int) -> list[dict[str, Any]]:
    """Return what the run's own traces show: its curves so far, and its layers at the moment."""
    alphas = run.layers["skip_weights"]
    has_skips = bool(alphas[0])
    layers = np.arange(1, run.settings.depth + 1)
    steps, curves = np.asarray(run.steps), {name: np.asarray(run.curves[name]) for name in run.curves}
    is_soon = np.asarray(run.predicted) <= run.num_steps
    return [
        {"x": steps, "y": curves["loss"]},
        {"x": steps, "y": curves["test_loss"]},
        {"x": steps, "y": curves["train_accuracy"]},
        {"x": steps, "y": curves["test_accuracy"]},
        {
            "x": steps if has_skips else [],
            "y": layers if has_skips else [],
            "z": np.asarray(alphas, dtype=float).T if has_skips else [],
            "showscale": has_skips,
        },
        {
            "x": np.asarray(run.predicted)[is_soon] if has_skips else [],
            "y": layers[is_soon] if has_skips else [],
            "showlegend": has_skips,
        },
        {"x": layers, "y": np.asarray(run.layers["multipliers"][index], dtype=float)},
        {"x": layers, "y": np.asarray(run.layers["grad_norms"][index], dtype=float)},
        {"x": steps, "y": curves["gradient_correlation"]},
    ]


def pinned_traces(pinned: Sequence[Recording], step: int) -> list[tuple[go.Scatter, tuple[int, int]]]:
    """Return the traces of pinned runs, each with row and column of its chart."""
    traces = []
    for number, run in enumerate(pinned, 1):
        look = plots.style(number + 1)  # orange is the prediction's
        common = {
            "line": look["line"],
            "marker": {**look["marker"], "size": 5},
            "name": f"pinned {number}",
            "legendgroup": f"pinned {number}",
        }
        for name, values in zip(PINNED, pinned_values(run, step), strict=True):
            mode = "lines" if name in ("loss", "accuracy") else "lines+markers"
            is_first = name == "loss"
            traces.append((go.Scatter(mode=mode, showlegend=is_first, **common, **values), PLACES[name]))
    return traces


def pinned_values(run: Recording, step: int) -> list[dict[str, Any]]:
    """Return what the traces of a pinned run show at a step, in the order of `PINNED`."""
    steps, layers, index = np.asarray(run.steps), np.arange(1, run.settings.depth + 1), run.at(step)
    return [
        {"x": steps, "y": np.asarray(run.curves["test_loss"])},
        {"x": steps, "y": np.asarray(run.curves["test_accuracy"])},
        {"x": steps, "y": np.asarray(run.curves["gradient_correlation"])},
        {"x": layers, "y": np.asarray(run.layers["multipliers"][index], dtype=float)},
        {"x": layers, "y": np.asarray(run.layers["grad_norms"][index], dtype=float)},
    ]


def ranges(run: Recording, pinned: Sequence[Recording]) -> dict[str, tuple[float, float]]:
    """Return the ends of those axes that the runs' settings determine."""
    runs = (run, *pinned)
    steps = (0, max(there.num_steps for there in runs))
    layers = (0.5, max(there.settings.depth for there in runs) + 0.5)
    by_step = {f"xaxis{axis}": steps for axis in BY_STEP}
    by_step["xaxis4"] = (0, run.num_steps)  # the map is of this run alone
    return by_step | {"yaxis4": (0.5, run.settings.depth + 0.5), "xaxis5": layers, "xaxis6": layers}


def cursors(run: Recording, index: int) -> list[dict[str, Any]]:
    """Return the lines that stand at the moment in the charts over steps."""
    step = run.steps[index]
    return [
        {
            "type": "line",
            "x0": step,
            "x1": step,
            "xref": f"x{axis}",
            "y0": 0,
            "y1": 1,
            "yref": f"y{axis} domain",
            "line": {"color": "#555555", "width": 1, "dash": "dot"},
        }
        for axis in BY_STEP
    ]


def moments(run: Recording, pinned: Sequence[Recording]) -> list[dict[str, Any]]:
    """Return for each moment of a run what changes in its figure.

    Args:
        run: the run.
        pinned: runs that are in the figure as well.

    Returns:
        For each moment: y, lists of numbers; traces, the places of the traces that show them; shapes, the lines at the
        moment. What plotly's `update` takes.
    """
    first = NUM_TRACES + len(PINNED) * np.arange(len(pinned))
    traces = [*NOW, *(int(place) for start in first for place in (start + 3, start + 4))]
    changes = []
    for index, step in enumerate(run.steps):
        of_run = run_values(run, index)
        values = [of_run[place] for place in NOW]
        for other in pinned:
            values += pinned_values(other, step)[3:]
        changes.append(
            {
                "y": [value["y"].tolist() for value in values],
                "traces": traces,
                "shapes": cursors(run, index),
            }
        )
    return changes


def redraw(fig: Any, run: Recording, pinned: Sequence[Recording], index: int) -> None:
    """Bring a figure that `charts` has made up to date in place, in one update.

    Args:
        fig: a `FigureWidget`, with the traces of as many pinned runs.
        run: as it is now.
        pinned: the same runs as in the figure.
        index: of the moment.
    """
    values = run_values(run, index)
    for other in pinned:
        values += pinned_values(other, run.steps[index])
    with fig.batch_update():
        for trace, new in zip(fig.data, values, strict=True):
            trace.update(new)
        for shape, new in zip(fig.layout.shapes, cursors(run, index), strict=True):
            shape.update(x0=new["x0"], x1=new["x1"])
        for axis, bounds in ranges(run, pinned).items():
            if fig.layout[axis].range != bounds:
                fig.layout[axis].range = bounds
