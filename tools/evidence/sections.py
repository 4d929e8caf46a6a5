"""What single sections of the page need: tables of runs put together, and tables and figures of their own."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tools.evidence.parts import (
    SKIPS,
    cells,
    curve,
    first,
    means,
    range_of,
    read,
    skips_of,
    spread,
    spread_of,
    summary,
)
from tools.recordings.accuracy import HIDDEN
from van_tutorial import training
from van_tutorial.constraints import predict_removal_step
from van_tutorial.plots import finish, mean_curves, numbers, style

NETWORKS = ("plain", "residual", "VAN")
MEASURES = {
    "pair_correlation": "correlation of gradients",
    "grad_norm_ratio": "first / last layer's gradient",
    "dead_fraction": "fraction of dead units",
}


# Accuracies.


def best_lrs(runs: pd.DataFrame) -> dict[str, float]:
    """Return for each network the learning rate whose mean validation accuracy is best."""
    mean = runs.groupby(["network", "lr"], sort=False)["validation_accuracy"].mean().unstack()
    return dict(mean.idxmax(axis="columns"))


def accuracies(runs: pd.DataFrame) -> pd.DataFrame:
    """Return test accuracy, and accuracy in training, by depth."""
    test, train = (cells(runs, "depth {}", f"{part}_accuracy").reset_index() for part in ("test", "train"))
    test.insert(1, "images", "test")
    train.insert(1, "images", "training")
    return pd.concat([test, train])


def accuracy_curves(runs: pd.DataFrame) -> go.Figure:
    """Draw accuracy by depth, in training and on test images."""
    both = pd.concat(
        runs.assign(panel=panel, accuracy=runs[value])
        for panel, value in (("in training", "train_accuracy"), ("test images", "test_accuracy"))
    )
    return mean_curves(both, "accuracy", "depth", panel="panel").update_layout(height=480)


def accuracies_on_mnist(runs: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy by network."""
    columns = {
        "network": first("network"),
        "test": spread("test_accuracy"),
        "training": spread("train_accuracy"),
        "seeds": lambda group: str(group["seed"].nunique()),
        "skips left": lambda group: (
            f"{group['skips_left'].max():.0f}" if group["network"].iloc[0].startswith("VAN") else ""
        ),
    }
    return summary(runs, "network", columns)


def accuracies_by_schedule(runs: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy by schedule and depth."""
    left = runs.groupby("network")["skips_left"].max().map("{:.0f}".format)
    capped = means(runs[runs["skip_schedule"] == "multipliers"], "num_capped").map("{:.1f}".format)
    others = {"skips left (most)": left, "layers that the cap moved (mean)": capped}
    return (
        cells(runs, "test, depth {}").assign(**others).fillna("").reset_index(names="how skips are removed")
    )


def depths_of(runs: pd.DataFrame, network: str) -> pd.DataFrame:
    """Return the runs of a network, each depth as a network of its own."""
    runs = runs[runs["network"] == network]
    return runs.assign(network=runs["depth"].astype(str) + " layers")


def with_residual(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that were tested, and the residual networks of the same depths and seeds."""
    runs = runs[runs["test_accuracy"].notna()]
    known = read("degradation").query("network == 'residual'")
    return pd.concat([runs, known[known["depth"].isin(runs["depth"]) & known["seed"].isin(runs["seed"])]])


def with_phase_out(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the tested runs on the embedded images, and those of networks of depth 40."""
    small = runs.dropna(subset=["test_accuracy"]).query("data == 'fashion-mnist-mini'")
    return pd.concat([small, read("phase_out_mini")])


def with_deep(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the tested runs on all images, and those of residual networks, named by their depth."""
    deep = read("degradation").query("network == 'residual'")
    deep = deep.assign(network="residual, depth " + deep["depth"].astype(str))
    return pd.concat([runs.dropna(subset=["test_accuracy"]).query("data == 'fashion-mnist'"), deep])


def listed(runs: pd.DataFrame, *networks: str) -> str:
    """Return the mean test accuracy of the shallow networks and of some others."""
    groups = runs.groupby("network")["test_accuracy"]
    return ", ".join(f"{name} {spread_of(groups.get_group(name))[:5]}" for name in (*HIDDEN, *networks))


def moved_since(runs: pd.DataFrame, before: pd.DataFrame) -> pd.Series:
    """Return by how many points of test accuracy runs differ at most from those of the same network and seed before."""
    key = ["network", "depth", "seed"]
    again = runs.dropna(subset=["test_accuracy"]).merge(before, on=key, suffixes=("", "_before"))
    moved = (again["test_accuracy"] - again["test_accuracy_before"]).abs()
    return 100.0 * moved.groupby(again["depth"]).max()


# Families tuned alike.


def trials(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the results of the trials of each family: best, middle and worst, and how many learned."""
    columns = {
        "network": first("network"),
        "depth": first("depth"),
        "best": lambda group: f"{group['validation_accuracy'].max():.3f}",
        "median": lambda group: f"{group['validation_accuracy'].median():.3f}",
        "worst": lambda group: f"{group['validation_accuracy'].min():.3f}",
        "above 0.5": lambda group: f"{(group['validation_accuracy'] > 0.5).sum()} of {len(group)}",
    }
    return summary(runs, ["network", "depth"], columns)


def trials_figure(runs: pd.DataFrame) -> go.Figure:
    """Draw the accuracy of every trial."""
    figure = go.Figure()
    for index, (depth, part) in enumerate(runs.groupby("depth")):
        marker = {**style(index)["marker"], "size": 8, "opacity": 0.6}
        x, y = part["validation_accuracy"], part["network"]
        figure.add_scatter(x=x, y=y, mode="markers", name=str(depth), marker=marker)
    finish(figure, "Validation accuracy of every trial", "Sixteen trials each.", "validation accuracy", "")
    order = list(runs["network"].unique())[::-1]
    figure.update_yaxes(categoryorder="array", categoryarray=order, automargin=True)
    return figure.update_layout(legend_title="depth", height=190 + 26 * len(order))


def best_trials(runs: pd.DataFrame) -> pd.DataFrame:
    """Return what each family was trained with, and how accurate it is."""
    columns = {
        "network": first("network"),
        "depth": first("depth"),
        "learning rate": first("lr", "{:g}"),
        "schedule": first("lr_schedule"),
        "BatchNorm bias": first("norm_shift"),
        "initialization": first("init"),
        "training": spread("train_accuracy"),
        "test": spread("test_accuracy"),
    }
    return summary(runs, ["network", "depth"], columns)


def with_clocks(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs, and before them those of the clocks with the loss's gradient, named by their order."""
    clocks = read("families").query("network.str.startswith('VAN, clock, ')")
    clocks = clocks.assign(network=clocks["network"].str.removeprefix("VAN, clock, "))
    return pd.concat([clocks[clocks["depth"].isin(runs["depth"])], runs])


def ladder_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Return learning rate and accuracy by network."""
    columns = {
        "layers": first("layers"),
        "network": first("network"),
        "learning rate": first("lr", "{:g}"),
        "training": spread("train_accuracy"),
        "test": spread("test_accuracy"),
    }
    return summary(runs, ["layers", "network"], columns)


# Networks that are not of this package.


def exported(runs: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy in float and with eight bits, and what is left of each network."""
    columns = {
        "network": first("network"),
        "test": spread("test_accuracy"),
        "eight bits": spread("int8_accuracy"),
        "skips left": first("skips_left"),
        "parameters": first("parameters", "{:,}"),
        "multiply-adds": first("multiply_adds", "{:,}"),
    }
    return summary(runs, "network", columns)


def with_kept(runs: pd.DataFrame, everything: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of a transformer without some skips, and those with all of them."""
    return pd.concat([runs, everything[everything["skips"] == "none"]])


def never_had_skips(runs: pd.DataFrame) -> list[str]:
    """Return the networks that have no skip at any time."""
    return [name for name in runs["network"].unique() if skips_of(name) == "never any"]


def starts_figure(runs: pd.DataFrame, title: str, usual: str) -> go.Figure:
    """Draw the accuracy of each start without skips, with skips that are phased out and with skips, a panel a depth.

    Args:
        runs: networks named by their skips and their start.
        title: of the figure.
        usual: the start of a network that is named by its skips alone.
    """
    aside = r"^(plain|residual|VAN)(, (clock|additive|market))?(, \w+ly)?(, |$)|(, )?lr [0-9.]+$"
    start = runs["network"].str.replace(aside, "", regex=True).replace({"": usual})
    runs = runs.assign(start=start, skips=runs["network"].map(skips_of))
    depths, order = sorted(runs["depth"].unique()), list(start.unique())
    figure = make_subplots(
        cols=len(depths), shared_yaxes=True, subplot_titles=[f"depth {depth}" for depth in depths]
    )
    drawn = {"plain": "never any", **{kind: SKIPS[kind] for kind in ("VAN", "residual")}}
    for number, skips in zip(numbers(drawn), drawn.values(), strict=True):
        for column, depth in enumerate(depths, start=1):
            of = runs[(runs["depth"] == depth) & (runs["skips"] == skips)]
            ends = of.groupby(["start", "network"], sort=False)["test_accuracy"].agg(["mean", "std"])
            figure.add_scatter(
                x=ends["mean"],
                y=ends.index.get_level_values("start"),
                error_x={"array": ends["std"], "width": 4, "thickness": 1.5},
                mode="markers",
                name=skips,
                legendgroup=skips,
                offsetgroup=skips,
                orientation="h",
                showlegend=column == 1,
                marker={**style(number)["marker"], "size": 9},
                row=1,
                col=column,
            )
    finish(figure, title, "Mean over the seeds with one standard deviation.", "test accuracy", "")
    low, high = runs["test_accuracy"].min(), runs["test_accuracy"].max()
    margin = 0.08 * (high - low)
    figure.update_xaxes(range=[low - margin, high + margin])  # grouped points would have it begin at 0
    figure.update_yaxes(categoryorder="array", categoryarray=order[::-1], automargin=True)
    beside = {"scattermode": "group", "scattergap": 0.4}
    return figure.update_layout(legend_title="skips", height=220 + 36 * len(order), **beside)


# The clock.


def steps_of(runs: pd.DataFrame, network: str) -> pd.DataFrame:
    """Return the step at which each layer's skip weight first was 0: a row per seed, a column per layer."""
    of = runs[runs["network"] == network].set_index("seed")["zero_steps"]
    return pd.DataFrame(of.tolist(), index=of.index).sort_index()


def default_removal_step(runs: pd.DataFrame) -> float:
    """Return the step that is predicted, without the loss, for a layer whose window opens at once."""
    defaults = training.TrainConfig()
    dual_lr = training.default_dual_lr(int(runs["num_steps"].max()), 0.95, defaults)
    return predict_removal_step(0.95, defaults.skip_lr, dual_lr, slope=0.0)


def removal_by_gradient(runs: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy and steps of removal, with the loss's gradient and without it."""
    steps = runs["zero_steps"].str
    columns = {
        "skip weights' step": first("network"),
        "test": spread("test_accuracy"),
        "first layer at 0": lambda group: range_of(group["first_layer"]),
        "last layer at 0": lambda group: range_of(group["last_layer"]),
        "all removed": lambda group: range_of(group["removed_at_step"]),
        "removed by": lambda group: ", ".join(sorted(group["removed_by"].unique())),
    }
    return summary(runs.assign(first_layer=steps[0], last_layer=steps[-1]), "network", columns)


def removal_steps(runs: pd.DataFrame) -> go.Figure:
    """Draw the step at which each layer's skip is removed, with the loss's gradient and without it."""
    figure = go.Figure()
    for index, network in enumerate(runs["network"].unique()):
        steps = steps_of(runs, network).mean()
        mode, part = ("markers", "marker") if index else ("lines", "line")
        layers = [layer + 1 for layer in steps.index]
        figure.add_scatter(x=layers, y=steps, mode=mode, name=network, **{part: style(index)[part]})
    return finish(figure, "Removal step of each layer", "Mean over the seeds.", "layer", "step")


# The frontier.


def with_prediction(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the predicted removal step, pi / (2 sqrt(skip_lr dual_lr)): the loss is left out."""
    return runs.assign(predicted=[predict_removal_step(0.95, 1e-3, lr, slope=0.0) for lr in runs["dual_lr"]])


def frontier_by_dual_lr(runs: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy and steps by dual learning rate."""

    def at_zero(group: pd.DataFrame, otherwise: str, form: str, over: float = 1.0) -> str:
        steps = group["median_zero_step"]
        return form.format(steps.mean() / over) if steps.notna().any() else otherwise

    def removed(group: pd.DataFrame) -> str:
        steps = group["removed_at_step"]
        return f"{steps.mean():.0f}" if steps.notna().all() else "not in all runs"

    columns = {
        "multipliers": first("network"),
        "dual_lr": first("dual_lr", "{:g}"),
        "test": spread("test_accuracy"),
        "predicted step": first("predicted", "{:.0f}"),
        "half of the skips at 0 (mean)": lambda group: at_zero(group, "never", "{:.0f}"),
        "ratio": lambda group: at_zero(group, "", "{:.3f}", group["predicted"].iloc[0]),
        "all removed (mean)": removed,
        "skips left (most)": lambda group: f"{group['skips_left'].max():.0f}",
    }
    return summary(with_prediction(runs), ["network", "dual_lr"], columns)


def frontier_figure(runs: pd.DataFrame) -> go.Figure:
    """Draw accuracy by dual learning rate, and measured against predicted steps at which half of the skips are at 0."""
    titles = ("test accuracy", "step at which half of the skips are at 0")
    figure = make_subplots(cols=2, subplot_titles=titles, horizontal_spacing=0.12)
    runs = with_prediction(runs)
    for index, (name, part) in enumerate(runs.groupby("network", sort=False)):
        of = {"legendgroup": str(name), "row": 1}
        curve(figure, part, "dual_lr", "test_accuracy", index, name=str(name), col=1, **of)
        removed, look = part.dropna(subset=["median_zero_step"]), style(index)["marker"]
        x, y = removed["predicted"], removed["median_zero_step"]
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


def phases(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the runs before, during and after: at epoch 0, with a mean skip weight nearest 1/2, at the last epoch."""
    epochs = runs.dropna(subset=["epoch"])
    weights = epochs[epochs["network"] == "VAN"].groupby("epoch")["mean_skip_weight"].mean().dropna()
    half = (weights - 0.5).abs().sort_values(kind="stable").index[0]
    when = {"before": 0, "during": half, "after": epochs["epoch"].max()}
    return {phase: epochs[epochs["epoch"] == epoch] for phase, epoch in when.items()}


def gradients_by_phase(runs: pd.DataFrame) -> pd.DataFrame:
    """Return each measure before, during and after: mean and standard deviation over the seeds."""
    rows = []
    for network in NETWORKS:
        for value, title in MEASURES.items():
            row = {"network": network, "measure": title}
            for phase, at in phases(runs).items():
                seeds = at[at["network"] == network][value]
                row[phase] = f"{seeds.mean():.3g}" + (f" ± {seeds.std():.2g}" if len(seeds) > 1 else "")
            rows.append(row)
    return pd.DataFrame(rows)


def gradients_and_prices(runs: pd.DataFrame) -> go.Figure:
    """Draw the three measures by epoch, and prices with multipliers."""
    titles = (*MEASURES.values(), "price and multiplier by layer")
    figure = make_subplots(
        rows=2, cols=2, subplot_titles=titles, vertical_spacing=0.16, horizontal_spacing=0.1
    )
    epochs, looks = runs.dropna(subset=["epoch"]), numbers((*NETWORKS, "price", "multiplier"))
    for place, value in enumerate(MEASURES):
        at = {"row": place // 2 + 1, "col": place % 2 + 1, "width": 1}
        for number, network in zip(looks, NETWORKS, strict=False):
            part, shown = (
                epochs[epochs["network"] == network],
                {"legendgroup": network, "showlegend": place == 0},
            )
            curve(figure, part, "epoch", value, number, name=network, **shown, **at)
    layers = runs.dropna(subset=["layer"]).groupby("layer")[["price", "multiplier"]].mean()
    for number, name in zip(looks[len(NETWORKS) :], layers, strict=True):
        x, y = layers.index, layers[name]
        figure.add_scatter(x=x, y=y, mode="lines+markers", name=name, row=2, col=2, **style(number))
    finish(figure, "Gradients and prices", "Mean over the seeds with one standard deviation.", "epoch", "")
    figure.update_xaxes(title="layer", row=2, col=2)
    figure.update_yaxes(type="log", exponentformat="power", row=1, col=2)
    return figure.update_layout(height=720, legend={"orientation": "h", "y": -0.1}, margin={"t": 110})
