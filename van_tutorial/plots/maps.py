"""Maps of labels: what every pixel of a scene is, and what networks predict."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from van_tutorial.plots.style import finish

# Paul Tol's muted colours behind a light grey for label 0; more labels begin again, and each region has its number.
LABEL_COLORS = (
    "#E8E8E8", "#CC6677", "#332288", "#DDCC77", "#117733", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499",
    "#6699CC",
)  # fmt: skip
SMALLEST_REGION = 0.005  # fraction of the pixels from which on a label's number is written


def label_maps(
    scene: np.ndarray,
    maps: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    caption: str = "The numbers are those of the legend.",
) -> go.Figure:
    """Draw a scene, and beside it maps of labels.

    A label's number stands on its pixels, so that nobody has to tell colours apart.

    Args:
        scene: shape (H, W), any range: the smallest value is drawn black, the largest white.
        maps: by their titles, labels from 0 on, shape (H, W) each.
        class_names: of the labels; label 0 is the background, and gets no number.
        caption: one line under the title.

    Returns:
        A figure with a panel for the scene and one for each map, and a legend of the labels that there are.
    """
    titles = ("scene", *maps)
    fig = make_subplots(rows=1, cols=len(titles), subplot_titles=titles, horizontal_spacing=0.02)
    fig.add_heatmap(z=np.asarray(scene, dtype=float), colorscale="Gray", showscale=False, row=1, col=1)
    for column, labels in enumerate(map(np.asarray, maps.values()), 2):
        fig.add_heatmap(
            z=labels.astype(float),
            zmin=-0.5,
            zmax=len(class_names) - 0.5,
            colorscale=stairs(len(class_names)),
            showscale=False,
            customdata=np.asarray(class_names, dtype=object)[labels],
            hovertemplate="row %{y}, column %{x}<br>%{customdata}<extra></extra>",
            row=1,
            col=column,
        )
        write_numbers(fig, labels, column)
    for label in sorted({int(label) for labels in maps.values() for label in np.unique(labels)}):
        marker = {"symbol": "square", "size": 13, "color": label_color(label), "line_width": 1}
        name = f"{label} {class_names[label]}" if label else class_names[label]
        fig.add_scatter(x=[None], y=[None], mode="markers", name=name, marker=marker, row=1, col=1)
    fig = finish(fig, "Labels of pixels", caption, "column (pixels)", "")
    fig.update_xaxes(constrain="domain", showgrid=False, zeroline=False)
    fig.update_yaxes(
        autorange="reversed", constrain="domain", showgrid=False, zeroline=False, showticklabels=False
    )
    for column in range(1, len(titles) + 1):
        fig.update_yaxes(scaleanchor=f"x{column}" if column > 1 else "x", row=1, col=column)
    fig.update_yaxes(title="row (pixels)", showticklabels=True, row=1, col=1)
    legend = {"orientation": "h", "y": -0.25, "yanchor": "top", "x": 0.5, "xanchor": "center"}
    return fig.update_layout(height=420, margin={"t": 110, "b": 120}, legend=legend)


def label_color(label: int) -> str:
    """Return the colour of a label; those beyond the last begin again behind the background."""
    return LABEL_COLORS[0 if label == 0 else 1 + (label - 1) % (len(LABEL_COLORS) - 1)]


def stairs(num_labels: int) -> list[tuple[float, str]]:
    """Return a colour scale with a step for each label."""
    ends = [(label / num_labels, (label + 1) / num_labels) for label in range(num_labels)]
    return [(end, label_color(label)) for label, pair in enumerate(ends) for end in pair]


def write_numbers(fig: go.Figure, labels: np.ndarray, column: int) -> None:
    """Write each label's number on the pixel of it that is nearest to their middle."""
    for label in np.unique(labels):
        rows, columns = np.nonzero(labels == label)
        if label == 0 or len(rows) < SMALLEST_REGION * labels.size:
            continue
        nearest = np.argmin((rows - np.median(rows)) ** 2 + (columns - np.median(columns)) ** 2)
        fig.add_annotation(
            x=columns[nearest],
            y=rows[nearest],
            text=str(label),
            showarrow=False,
            font={"size": 12, "color": "#000000"},
            bgcolor="rgba(255, 255, 255, 0.8)",
            borderpad=1,
            row=1,
            col=column,
        )
