"""When skips are removed against the prediction, and how gradients change while they are."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tools.evidence.parts import curve, first, spread, summary
from tools.labels import WORDS
from van_tutorial.constraints import predict_removal_step
from van_tutorial.plots import finish, style

NETWORKS = ("plain", "residual", "VAN")
MEASURES = {
    "pair_correlation": "correlation of gradients",
    "grad_norm_ratio": "first / last layer's gradient",
    "dead_share": "fraction of dead units",
}


# The frontier.


def with_prediction(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the predicted removal step, pi / (2 sqrt(skip_lr dual_lr)): the loss is left out."""
    return runs.assign(predicted=[predict_removal_step(0.95, 1e-3, lr, slope=0.0) for lr in runs["dual_lr"]])


def table_of_frontier(runs: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and steps by dual learning rate."""

    def at_zero(group: pd.DataFrame, otherwise: str, form: str, over: float = 1.0) -> str:
        steps = group["median_zero_step"]
        return form.format(steps.mean() / over) if steps.notna().any() else otherwise

    def removed(group: pd.DataFrame) -> str:
        steps = group["removed_at_step"]
        return f"{steps.mean():.0f}" if steps.notna().all() else "not in all runs"

    return summary(
        with_prediction(runs),
        ["network", "dual_lr"],
        {
            "multipliers": first("network"),
            "dual_lr": first("dual_lr", "{:g}"),
            "test": spread("test_accuracy"),
            "predicted step": first("predicted", "{:.0f}"),
            "half of the skips at 0 (mean)": lambda group: at_zero(group, "never", "{:.0f}"),
            "ratio": lambda group: at_zero(group, "", "{:.3f}", group["predicted"].iloc[0]),
            "all removed (mean)": removed,
            "skips left (most)": lambda group: f"{group['skips_left'].max():.0f}",
        },
    )


def reading_of_frontier(runs: pd.DataFrame) -> str:
    """How well steps are predicted, and the best dual learning rates with a skip left and without."""
    equal = with_prediction(runs[runs["network"] == WORDS["all alike"]]).dropna(subset=["median_zero_step"])
    if equal.empty:
        return "In no run with equal dual learning rates half of the skips were at 0."
    ratios = (equal["median_zero_step"] / equal["predicted"]).groupby(equal["dual_lr"]).mean()
    groups = runs.groupby(["network", "dual_lr"], as_index=False)
    ends = groups.agg(test_accuracy=("test_accuracy", "mean"), left=("skips_left", "max"))
    ends = ends.sort_values("test_accuracy", ascending=False)
    kinds = {
        "Of the dual learning rates that left no skip in any run": ends[ends["left"] == 0],
        "Of those that left some, so that the network is not plain,": ends[ends["left"] > 0],
    }
    best = [
        f"{kind} the highest mean is that of {end.dual_lr:g} ({end.network}), with {end.test_accuracy:.3f}."
        for kind, those in kinds.items()
        for end in those.head(1).itertuples()
    ]
    return (
        f"Half of the skips are at 0 after {ratios.min():.3f} to {ratios.max():.3f} times "
        "pi / (2 sqrt(skip_lr dual_lr)) steps, a quarter of a cosine (equal dual learning rates, from "
        f"{ratios.index.min():g} to {ratios.index.max():g}). The loss does not enter this prediction. (Earlier "
        "versions of this page assumed that the loss holds on with a slope of 0.3, and so predicted too late.) "
        + " ".join(best)
    )


def figure_of_frontier(runs: pd.DataFrame) -> go.Figure:
    """Accuracy by dual learning rate, and the step at which half of the skips are at 0 against the predicted one."""
    titles = ("test accuracy", "step at which half of the skips are at 0")
    figure = make_subplots(cols=2, subplot_titles=titles, horizontal_spacing=0.12)
    runs = with_prediction(runs)
    for index, (name, part) in enumerate(runs.groupby("network", sort=False)):
        of = {"legendgroup": str(name), "row": 1}
        curve(figure, part, "dual_lr", "test_accuracy", index, name=str(name), col=1, **of)
        gone, look = part.dropna(subset=["median_zero_step"]), style(index)["marker"]
        x, y = gone["predicted"], gone["median_zero_step"]
        figure.add_scatter(x=x, y=y, mode="markers", showlegend=False, marker=look, col=2, **of)
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


# Gradients.


def phases(runs: pd.DataFrame) -> dict[str, tuple[int, pd.DataFrame]]:
    """Return what stands for before, during and after: the first epoch, mean skip weight nearest 1/2, the last."""
    epochs = runs.dropna(subset=["epoch"])
    weights = epochs[epochs["network"] == "VAN"].groupby("epoch")["mean_skip_weight"].mean().dropna()
    half = int((weights - 0.5).abs().sort_values(kind="stable").index[0])
    when = {"before": 0, "during": half, "after": int(epochs["epoch"].max())}
    return {phase: (epoch, epochs[epochs["epoch"] == epoch]) for phase, epoch in when.items()}


def table_of_gradients(runs: pd.DataFrame) -> pd.DataFrame:
    """Each measure before, during and after: mean and standard deviation over the seeds."""
    rows = []
    for network in NETWORKS:
        for value, title in MEASURES.items():
            row = {"network": network, "measure": title}
            for phase, (_, at) in phases(runs).items():
                seeds = at[at["network"] == network][value]
                row[phase] = f"{seeds.mean():.3g}" + (f" ± {seeds.std():.2g}" if len(seeds) > 1 else "")
            rows.append(row)
    return pd.DataFrame(rows)


def reading_of_gradients(runs: pd.DataFrame) -> str:
    """Correlations and ratios of gradients, and prices beside multipliers."""
    epochs = {phase: epoch for phase, (epoch, _) in phases(runs).items()}
    at = {phase: part.groupby("network").mean(numeric_only=True) for phase, (_, part) in phases(runs).items()}
    correlations, ratios = (
        ", ".join(f"*{network}* {at[phase][value][network]:.2g}" for network in NETWORKS)
        for value, phase in (("pair_correlation", "after"), ("grad_norm_ratio", "during"))
    )
    paid = runs.dropna(subset=["layer"])
    exceeding = 100 * (paid["multiplier"] > paid["price"]).mean()
    return (
        f"*Before*, *during* and *after* are epochs {epochs['before']}, {epochs['during']} (mean skip weight "
        f"{at['during']['mean_skip_weight']['VAN']:.2f}) and {epochs['after']}. Mean correlation after the training: "
        f"{correlations}. Mean ratio of the first layer's gradient to the last one's during the removal: {ratios}. At "
        f"the end {exceeding:.0f} % of the multipliers exceed the price of their shortcut, which holds a skip weight "
        f"at 0. They exceed it by far: the median multiplier is {paid['multiplier'].median():.2g}, the median absolute "
        f"price {paid['price'].abs().median():.2g}. So the price of a skip does not decide when it is removed; its "
        "window and its two learning rates do."
    )


def figure_of_gradients(runs: pd.DataFrame) -> go.Figure:
    """The three measures by epoch, and prices with multipliers."""
    titles = (*MEASURES.values(), "price and multiplier by layer")
    figure = make_subplots(
        rows=2, cols=2, subplot_titles=titles, vertical_spacing=0.16, horizontal_spacing=0.1
    )
    epochs = runs.dropna(subset=["epoch"])
    for place, value in enumerate(MEASURES):
        at = {"row": place // 2 + 1, "col": place % 2 + 1, "width": 1}
        for index, network in enumerate(NETWORKS):
            part, shown = (
                epochs[epochs["network"] == network],
                {"legendgroup": network, "showlegend": place == 0},
            )
            curve(figure, part, "epoch", value, index, name=network, **shown, **at)
    layers = runs.dropna(subset=["layer"]).groupby("layer")[["price", "multiplier"]].mean()
    for index, name in enumerate(layers, 3):
        x, y = layers.index, layers[name]
        figure.add_scatter(x=x, y=y, mode="lines+markers", name=name, row=2, col=2, **style(index))
    finish(figure, "Gradients and prices", "Mean over the seeds with one standard deviation.", "epoch", "")
    figure.update_xaxes(title="layer", row=2, col=2)
    figure.update_yaxes(type="log", exponentformat="power", row=1, col=2)
    return figure.update_layout(height=720, legend={"orientation": "h", "y": -0.1}, margin={"t": 110})
