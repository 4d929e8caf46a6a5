"""How the recorded convolutional networks are shown."""

import pandas as pd
import plotly.graph_objects as go

from tools.evidence.figures import dots
from tools.evidence.tables import cells, mean_of


def named(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with the networks' names as in all tables."""
    return runs.assign(network=runs["network"].replace({"van": "VAN"}))


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy by network and number of layers."""
    made = cells(named(runs), "network", "depth", "test_accuracy")
    made.columns = [f"{depth} layers" for depth in made.columns]
    return made.reset_index()


def reading(runs: pd.DataFrame) -> str:
    """What was found."""
    runs = named(runs)
    parts = []
    for depth in sorted(runs["depth"].unique()):
        plain, residual, van = (
            mean_of(runs, "test_accuracy", network=name, depth=depth) for name in ("plain", "residual", "VAN")
        )
        parts.append(
            f"With {depth} layers the VAN is {100 * (van - plain):.0f} points above the network that was trained "
            f"plain, and {100 * (residual - van):.0f} below the residual one."
        )
    return " ".join(parts)


def figure(runs: pd.DataFrame) -> go.Figure:
    """Test accuracy by network and number of layers."""
    return dots(
        named(runs),
        "test_accuracy",
        "depth",
        "CIFAR-10, four epochs",
        "Mean over the seeds with one standard deviation.",
        "test accuracy",
    )
