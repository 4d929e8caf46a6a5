"""The playground's figure: six charts of a run, with others pinned beside it, at any moment of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from van_tutorial import plots
from van_tutorial.playground.recording import Recording
from van_tutorial.playground.settings import names_of
from van_tutorial.plots.style import decades, numbers

# By what a chart shows: its row and column, its title, what one sees in it, and the name of its vertical axis.
CHARTS = {
    "loss": (2, 1, "Loss", "what training makes small", "nats per image"),
    "accuracy": (1, 1, "Accuracy", "images classified correctly", "accuracy"),
    "correlation": (2, 2, "Gradient correlation", "at two images; 0: unrelated", "mean over pairs"),
    "skips": (1, 2, "Skip weights", "yellow: there; dark: removed", "layer"),
    "multipliers": (1, 3, "Multipliers now", "the pressure on each skip", "λ (nats)"),
    "norms": (2, 3, "Gradient norms now", "level: alike in all layers", "|dC / dW|"),
}
BY_STEP = ("", "2", "4", "5")  # the axes of the charts over steps: there a line marks the moment
NOW = ("multipliers", "norms")  # what shows the layers at the moment
# Of a trace, in the course of a run.
CHANGING = ("x", "y", "z", "name", "showscale", "showlegend", "line", "marker")
NUM_TRACES = 9  # traces of the run itself; those of pinned runs follow

Traces = list[tuple[str, Any]]  # each with the name of its chart


def charts(run: Recording, pinned: Sequence[Recording] = (), index: int = -1) -> go.Figure:
    """Draw a run at one of its moments, and pinned runs at the same step.

    Args:
        run: drawn in full: curves over the steps, the skip weights as a map with the predicted removal over it, and
            multipliers and gradient norms by layer, as they are at the moment.
        pinned: runs to compare with, each in a colour, dash and marker of its own.
        index: of the moment; -1 is the last.

    Returns:
        The figure; `frames` has what changes from moment to moment.
    """
    titles = [f"{title}<br><sup>{seen}</sup>" for _, _, title, seen, _ in sorted(CHARTS.values())]
    fig = make_subplots(rows=2, cols=3, subplot_titles=titles, horizontal_spacing=0.12, vertical_spacing=0.26)
    for name, trace in run_traces(run, index) + pinned_traces(run, pinned, run.steps[index]):
        fig.add_trace(trace, *CHARTS[name][:2])
    for row, col, *_, label in CHARTS.values():
        fig.update_yaxes(title=label, title_standoff=4, row=row, col=col)
    fig.update_xaxes(title="step", title_standoff=4)
    for row in (1, 2):
        fig.update_xaxes(title="layer (1: input side)", row=row, col=3)
    fig.update_yaxes(range=[0, 1], row=1, col=1)
    fig.update_yaxes(rangemode="tozero", row=1, col=3)
    fig.update_yaxes(type="log", exponentformat="power", dtick=1, row=2, col=3)
    fig.update_layout(
        template="plotly_white",
        height=640,
        font={"size": 13},
        margin={"l": 60, "r": 36, "t": 56, "b": 90},
        modebar={"orientation": "v"},  # in the margin: it would cover a title
        legend={"orientation": "h", "x": 0, "y": -0.14, "xanchor": "left", "yanchor": "top"},
        hovermode="closest",
    )
    return fig.update_layout(moment_layout(run, pinned, index))


def run_traces(run: Recording, index: int) -> Traces:
    """Return the traces of the run itself: its curves so far, and its layers at the moment."""
    has_skips = bool(run.layers["skip_weights"][0])
    (look,) = numbers([run.settings.network])
    steps, layers = np.asarray(run.steps), np.arange(1, run.settings.depth + 1)
    predicted = np.asarray(run.predicted)
    is_soon = predicted <= run.num_steps
    colorbar = {
        "title": "α",
        "x": 0.629,
        "y": 0.815,
        "len": 0.37,
        "thickness": 8,
        "xpad": 2,
        "tickvals": [0, 1],
    }
    traces: Traces = []
    for chart, prefix in (("loss", ""), ("accuracy", "train_")):
        for name, column, dash in (
            ("training", f"{prefix}{chart}", "dash"),
            ("test", f"test_{chart}", "solid"),
        ):
            more = {"line_dash": dash, "legendgroup": name, "showlegend": chart == "loss"}
            y = np.asarray(run.curves[column])
            traces.append((chart, plots.curve(steps, y, f"{name} images", look, "lines", **more)))
    shown = (
        (steps, layers, np.asarray(run.layers["skip_weights"], dtype=float).T) if has_skips else ([], [], [])
    )
    traces += [
        ("skips", plots.skip_heat_map(*shown, showscale=has_skips, colorbar=colorbar)),
        (
            "skips",
            plots.curve(
                predicted[is_soon],
                layers[is_soon] if has_skips else [],
                "predicted removal",
                1,
                "lines",
                line_dash="dot",
                showlegend=has_skips,
                hovertemplate="layer %{y}: predicted at step %{x:.0f}<extra></extra>",
            ),
        ),
    ]
    return traces + by_layer_and_correlation(run, index, "this run", look, showlegend=False)


def pinned_traces(beside: Recording, pinned: Sequence[Recording], step: int) -> Traces:
    """Return the traces of pinned runs at a step, named by what differs from the run beside them and each other."""
    traces: Traces = []
    settings = [run.settings for run in (beside, *pinned)]
    looks = numbers(one.network for one in settings)
    for name, look, run in zip(names_of(settings)[1:], looks[1:], pinned, strict=True):
        for chart in ("loss", "accuracy"):
            x, y = np.asarray(run.steps), np.asarray(run.curves[f"test_{chart}"])
            group = {"legendgroup": name, "showlegend": chart == "loss"}
            traces.append((chart, plots.curve(x, y, name, look, "lines", **group)))
        group = {"legendgroup": name, "showlegend": False}
        traces += by_layer_and_correlation(run, run.at(step), name, look, **group)
    return traces


def by_layer_and_correlation(run: Recording, index: int, name: str, look: int, **more: Any) -> Traces:
    """Return what is drawn alike of every run: multipliers and gradient norms now, and gradient correlation."""
    layers = np.arange(1, run.settings.depth + 1)
    norms, multipliers = (run.layers[column][index] for column in ("grad_norms", "multipliers"))
    return [
        (chart, plots.curve(np.asarray(x), np.asarray(y, dtype=float), name, look, marker_size=5, **more))
        for chart, x, y in (
            ("multipliers", layers, multipliers),
            ("norms", layers, norms),
            ("correlation", run.steps, run.curves["gradient_correlation"]),
        )
    ]


def moment_layout(run: Recording, pinned: Sequence[Recording], index: int) -> dict[str, Any]:
    """Return the lines at the moment, and the ends of those axes that the runs' settings determine."""
    runs = (run, *pinned)
    ends: dict[str, tuple[float, float]] = {
        f"xaxis{axis}": (0, max(there.num_steps for there in runs)) for axis in BY_STEP
    }
    layers = (0.5, max(there.settings.depth for there in runs) + 0.5)
    ends |= {"xaxis3": layers, "xaxis6": layers}
    ends |= {
        "xaxis2": (0, run.num_steps),
        "yaxis2": (0.5, run.settings.depth + 0.5),
    }  # the map is of this run alone
    losses = np.asarray(
        [loss for there in runs for name in ("loss", "test_loss") for loss in there.curves[name]]
    )
    if len(losses := losses[np.isfinite(losses)]):  # one wild start is let out of the chart
        ends["yaxis4"] = (
            0.0,
            min(1.05 * losses.max(), 2.0 * float(np.quantile(losses, 0.8, method="lower"))),
        )
    norms = np.asarray([norm for there in runs for row in there.layers["grad_norms"] for norm in row])
    if len(norms := norms[np.isfinite(norms) & (norms > 0.0)]):
        ends["yaxis6"] = decades(norms.min(), norms.max())
    return {"shapes": cursors(run, index), **{axis: {"range": bounds} for axis, bounds in ends.items()}}


def cursors(run: Recording, index: int) -> list[dict[str, Any]]:
    """Return the lines that mark the moment in the charts over steps."""
    step = run.steps[index]
    look = {"color": "#555555", "width": 1, "dash": "dot"}
    return [
        {
            "type": "line", "line": look, "x0": step, "x1": step, "xref": f"x{axis}",
            "y0": 0, "y1": 1, "yref": f"y{axis} domain",
        }
        for axis in BY_STEP
    ]  # fmt: skip


def frames(run: Recording, pinned: Sequence[Recording] = ()) -> list[go.Frame]:
    """Return for each moment of a run what changes in its figure, as plotly animates it.

    Args:
        run: the run.
        pinned: runs that are in the figure as well.

    Returns:
        A frame for each moment, named by its number.
    """
    changes = []
    for index, step in enumerate(run.steps):
        drawn = list(enumerate(run_traces(run, index) + pinned_traces(run, pinned, step)))
        places = [place for place, (chart, _) in drawn if chart in NOW]
        data = [go.Scatter(y=trace.y.tolist()) for _, (chart, trace) in drawn if chart in NOW]
        layout = {"shapes": cursors(run, index)}
        changes.append(go.Frame(name=str(index), data=data, traces=places, layout=layout))
    return changes


def redraw(fig: Any, run: Recording, pinned: Sequence[Recording], index: int) -> None:
    """Bring a figure that `charts` has made up to date in place, in one update.

    Args:
        fig: a `FigureWidget`, with the traces of as many pinned runs.
        run: as it is now.
        pinned: the same runs as in the figure.
        index: of the moment.
    """
    drawn = run_traces(run, index) + pinned_traces(run, pinned, run.steps[index])
    with fig.batch_update():
        for old, (_, new) in zip(fig.data, drawn, strict=True):
            old.update({part: new[part] for part in CHANGING if part in new})
        fig.update_layout(moment_layout(run, pinned, index))
