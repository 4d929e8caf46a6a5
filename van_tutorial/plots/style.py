"""How every figure looks, and the parts that several figures have.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; a dash or a marker differs as well. A kind of
network has one colour in all figures, drawings and pages.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DARKER = ("#00446B", "#803800", "#005F45", "#7A4964", "#8A5F00", "#346C8C", "#666666")
# Which of these colours a kind of network has, by how its name begins.
KINDS = {
    "van": 0, "rezero": 1, "dirac": 1, "plain, batchnorm bias": 2, "residual": 3, "plain": 4, "highway": 5,
    "looks-linear": 6,
}  # fmt: skip
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "2px,2px,8px,2px")
MARKERS = ("circle", "square", "diamond", "cross", "triangle-up", "star", "x")
SKIP_COLORS = "Cividis"  # even in lightness, and the same to colour-blind readers
AT_ONCE = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
IN_TURN = {"fromcurrent": True, "frame": {"duration": 120, "redraw": True}, "transition": {"duration": 0}}


def style(index: int) -> dict[str, dict[str, str]]:
    """Return line and marker of the look number `index`, from 0; no two of 49 share two of color, dash, marker."""
    rounds, place = divmod(index, len(PALETTE))
    color = (PALETTE, DARKER)[rounds % 2][place]
    dash, symbol = (
        looks[(place + shift * rounds) % len(PALETTE)] for shift, looks in enumerate((DASHES, MARKERS), 1)
    )
    return {"line": {"color": color, "dash": dash}, "marker": {"color": color, "symbol": symbol}}


def numbers(names: Iterable[object]) -> list[int]:
    """Return the number of its look for each series of a figure, as `style` takes it.

    A kind of network has its own colour in every figure; a second one of the kind a darker shade of it, another dash
    and another marker. Other series take the colours that are left, in order.

    Args:
        names: of the series.

    Returns:
        A number for each, all different.

    Example:
        >>> numbers(["residual", "VAN", "one linear layer", "VAN, lr 0.01"])
        [3, 0, 1, 7]
    """
    texts = [str(name).casefold() for name in names]
    kinds = [next((kind for kind in KINDS if re.match(rf"{kind}\b", text)), None) for text in texts]
    taken = {KINDS[kind] for kind in kinds if kind is not None}
    free = [place for place in range(len(PALETTE)) if place not in taken]
    places = [free if kind is None else [KINDS[kind]] for kind in kinds]
    turns = [divmod(places[:index].count(among), len(among)) for index, among in enumerate(places)]
    return [among[turn] + len(PALETTE) * rounds for among, (rounds, turn) in zip(places, turns, strict=True)]


def numbered(series: Iterable[tuple[Any, Any]]) -> list[tuple[int, tuple[Any, Any]]]:
    """Return pairs of a name and its data, each with the number of its look, as `numbers` has it."""
    pairs = list(series)
    return list(zip(numbers(name for name, _ in pairs), pairs, strict=True))


def curve(x: Any, y: Any, name: Any, index: int, mode: str = "lines+markers", **more: Any) -> go.Scatter:
    """Return one series, in the look of its number.

    Args:
        x: N numbers.
        y: N numbers.
        name: for the legend.
        index: number of its look, from 0, as for `style`.
        mode: "lines", "markers" or "lines+markers", whose lines are solid.
        more: what else `plotly.graph_objects.Scatter` takes; it goes before the look.

    Returns:
        The trace, to be added to a figure.

    Example:
        >>> curve([1, 2], [0.1, 0.4], "plain", 0, "lines", line_width=1).line.color
        '#0072B2'
    """
    look = {part: value for part, value in style(index).items() if f"{part}s" in mode}
    if mode == "lines+markers":
        look["line"]["dash"] = "solid"  # the marker tells it apart, and between markers dashes read as gaps
    return go.Scatter(x=x, y=y, name=str(name), mode=mode, **look, **more)


def mean_and_spread(
    runs: pd.DataFrame, over: str, column: str, name: Any, index: int, **more: Any
) -> go.Scatter:
    """Return the mean of several runs as one series, with one standard deviation either way.

    Args:
        runs: columns `over` and `column`; a row for each run and position.
        over: the column on the horizontal axis.
        column: what is averaged.
        name: for the legend.
        index: number of the series, from 0.
        more: what else `plotly.graph_objects.Scatter` takes.

    Returns:
        The trace; a position with a single run has no bar.

    Example:
        >>> runs = pd.DataFrame({"depth": [1, 1, 2], "accuracy": [0.5, 0.7, 0.9]})
        >>> [float(round(value, 2)) for value in mean_and_spread(runs, "depth", "accuracy", "plain", 0).y]
        [0.6, 0.9]
    """
    spread = runs.groupby(over)[column].agg(["mean", "std"])
    bars = {"array": spread["std"].fillna(0.0), "width": 2, "thickness": 1}
    return curve(spread.index, spread["mean"], name, index, error_y=bars, **more)


def band(x: np.ndarray, low: pd.Series, high: pd.Series, index: int, **more: Any) -> go.Scatter:
    """Return the area between two curves, in the colour of a series."""
    return go.Scatter(
        x=np.concatenate([x, x[::-1]]),
        y=np.concatenate([high, low[::-1]]),
        mode="lines",
        fill="toself",
        fillcolor=style(index)["line"]["color"],
        opacity=0.2,
        line={"width": 0},
        hoverinfo="skip",
        **more,
    )


def skip_heat_map(
    steps: Any, layers: Any, weights: Any, name: str = "skip weight", **more: Any
) -> go.Heatmap:
    """Return the map of skip weights, layer over step, from 0 to 1.

    Args:
        steps: T steps.
        layers: numbers of the L layers.
        weights: shape (L, T).
        name: what is mapped.
        more: what else `plotly.graph_objects.Heatmap` takes.

    Returns:
        The trace, to be added to a figure.
    """
    return go.Heatmap(
        x=steps,
        y=layers,
        z=weights,
        zmin=0.0,
        zmax=1.0,
        colorscale=SKIP_COLORS,
        name=name,
        hovertemplate=f"step %{{x}}<br>layer %{{y}}<br>{name} %{{z:.3f}}<extra></extra>",
        **more,
    )


def finish(fig: go.Figure, title: str, caption: str, x: str, y: str) -> go.Figure:
    """Give a figure its title, its caption, the names of its axes, and the look that all figures share.

    Args:
        fig: changed in place.
        title: what it shows.
        caption: one line under the title.
        x: name of every horizontal axis, with its unit.
        y: name of every vertical axis, with its unit.

    Returns:
        The figure.

    Example:
        >>> finish(go.Figure(), "Loss", "Three seeds.", "epoch", "loss (nats)").layout.xaxis.title.text
        'epoch'
    """
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


def animate(fig: go.Figure, frames: Sequence[go.Frame], steps: Iterable[int], active: int = 0) -> go.Figure:
    """Give a figure frames, a button that plays them, and a slider that goes to any of them.

    Args:
        fig: changed in place; it shows the frame `active`.
        frames: each with a name of its own.
        steps: the training step of each frame, which the slider shows.
        active: where the slider stands, from 0.

    Returns:
        The figure.
    """
    fig.frames = frames
    stops = [
        {"label": str(step), "method": "animate", "args": [[frame.name], AT_ONCE]}
        for step, frame in zip(steps, frames, strict=True)
    ]
    current = {"prefix": "step "}
    slider = {
        "active": active,
        "currentvalue": current,
        "steps": stops,
        "x": 0.1,
        "len": 0.9,
        "pad": {"t": 90},
    }
    play = {"label": "Play", "method": "animate", "args": [None, IN_TURN]}
    menu = {"type": "buttons", "buttons": [play], "x": 0.08, "y": 0.0, "pad": {"t": 115}}
    return fig.update_layout(sliders=[slider], updatemenus=[menu], margin_b=190)


def decades(low: float, high: float) -> tuple[float, float]:
    """Return the powers of ten that enclose two positive numbers, as the range of a logarithmic axis.

    Args:
        low: the smaller one.
        high: the larger one.

    Returns:
        The exponents of the two powers, at least 1 apart.

    Example:
        >>> decades(0.02, 3.0)
        (-2.0, 1.0)
    """
    first, last = np.floor(np.log10(low)), np.ceil(np.log10(high))
    return float(first), float(max(last, first + 1.0))


def log_axis(fig: go.Figure, values: pd.Series) -> None:
    """Make the vertical axis logarithmic, with labels at powers of ten alone."""
    positive = values[(values > 0) & np.isfinite(values)]
    first, last = decades(positive.min(), positive.max()) if len(positive) else (-1.0, 1.0)
    fig.update_yaxes(
        type="log", exponentformat="power", dtick=np.ceil((last - first) / 10.0), range=(first, last),
        tickfont_size=11,  # powers are drawn larger
    )  # fmt: skip
