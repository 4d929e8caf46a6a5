"""How every figure looks.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; a dash and a marker differ as well.
"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "2px,2px,8px,2px")
MARKERS = ("circle", "square", "diamond", "cross", "triangle-up", "star", "x")
SKIP_COLORS = "Cividis"  # even in lightness, and the same to colour-blind readers


def style(index: int) -> dict[str, dict[str, str]]:
    """Return line and marker of the series number `index`, from 0; where colors come again, dash and marker differ."""
    color = PALETTE[index % len(PALETTE)]
    shifted = (index + index // len(PALETTE)) % len(PALETTE)
    return {
        "line": {"color": color, "dash": DASHES[shifted]},
        "marker": {"color": color, "symbol": MARKERS[shifted]},
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


def log_axis(fig: go.Figure, values: pd.Series) -> None:
    """Make the vertical axis logarithmic, with a label at every power of ten where `values` span several."""
    positive = values[(values > 0) & np.isfinite(values)]
    decades = np.log10(positive.max() / positive.min()) if len(positive) else 0.0
    step = 1 if 2 <= decades <= 10 else None
    fig.update_yaxes(type="log", exponentformat="power", dtick=step)
