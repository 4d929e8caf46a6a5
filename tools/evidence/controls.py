"""The controls: no loss in the clock, a better start without skips, shallow networks, what is left to learn with."""

import pandas as pd
import plotly.graph_objects as go

from tools import labels
from tools.evidence.by_depth import reading_of_vans
from tools.evidence.parts import (
    RESIDUAL,
    beside,
    best_of,
    bullets,
    by_depth,
    cells,
    dots,
    first,
    learning_left,
    means,
    range_of,
    read,
    spread,
    spread_of,
    summary,
)
from tools.recordings.accuracy import HIDDEN
from van_tutorial import training
from van_tutorial.constraints import predict_removal_step
from van_tutorial.plots import finish, style

START = "plain, BatchNorm bias 2"
WITH, WITHOUT = (labels.gradient({"skip_gradient": choice}) for choice in (True, False))


def findings() -> str:
    """Return what the controls say, a line each; README and the page begin with it."""
    found = {
        "The default phase-out is a clock.": clock(read("clock")),
        "At depth 100 a better start alone comes within about a point.": start(read("start")),
        "In convolutional networks it depends on the depth.": convolutions(read("convolutions")),
        "The learning rate is spent before the plain network exists.": spent(),
        "The data hardly needs depth.": shallow(read("shallow")),
    }
    return bullets(f"**{heading}** {sentences}" for heading, sentences in found.items())


def spent() -> str:
    """Return which fraction of the summed learning rate is left for the plain network, by setting."""
    left = {
        name: learning_left(read(name)) for name in ("degradation", "longer", "phase_out_mini", "cifar10")
    }
    return (
        f"Under cosine decay {left['degradation']} of the summed learning rate is left after the last removal in the "
        f"runs by depth, {left['longer']} in those three times as long, {left['phase_out_mini']} in those of the "
        f"lessons, and {left['cifar10']} on CIFAR-10. How such a network would learn on as a plain one was hardly "
        "tried."
    )


# The clock.


def clock(runs: pd.DataFrame) -> str:
    """Return when skips are removed with the loss's gradient and without it."""
    ends = sorted(int(step) for step in runs["removed_at_step"].unique())
    moved = (steps_of(runs, WITH) - steps_of(runs, WITHOUT)).abs().max().max()
    mean = means(runs)
    return (
        "Embedded images, depth 40. "
        f"Without the loss's gradient in the skip weights' step, all {len(runs) // 2} runs end their removal at step "
        f"{' or '.join(map(str, ends))}, as they do with it; no layer's step differs by more than "
        f"{moved:.0f}. Test accuracy without the gradient ({mean[WITHOUT]:.3f}) is "
        f"{beside(runs, WITHOUT, WITH, f'that with it ({mean[WITH]:.3f})')}."
    )


def steps_of(runs: pd.DataFrame, network: str) -> pd.DataFrame:
    """Return the step at which each layer's skip weight first was 0: a row per seed, a column per layer."""
    of = runs[runs["network"] == network].set_index("seed")["zero_steps"]
    return pd.DataFrame(of.tolist(), index=of.index).sort_index()


def reading_of_clock(runs: pd.DataFrame) -> str:
    """What was found, and the prediction for the first layer, whose window opens at once."""
    defaults = training.TrainConfig()
    dual_lr = training.default_dual_lr(int(runs["num_steps"].max()), 0.95, defaults)
    predicted = predict_removal_step(0.95, defaults.skip_lr, dual_lr, slope=0.0)
    without, with_it = (range_of(steps_of(runs, network).iloc[:, 0]) for network in (WITHOUT, WITH))
    return (
        f"{clock(runs)} So *removed by the multipliers* says that the cap lowered no skip weight, not that the loss "
        "decided. A quarter of a cosine, pi / (2 sqrt(skip_lr dual_lr)) steps of the default learning rates, lasts "
        f"{predicted:.0f} steps; the first layer, whose window opens at once, is at 0 after {without} without the "
        f"loss's gradient and after {with_it} with it. After the last removal {learning_left(runs)} of the summed "
        "learning rate is left."
    )


def table_of_clock(runs: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and steps of removal."""
    steps = runs["zero_steps"].str
    return summary(
        runs.assign(first_layer=steps[0], last_layer=steps[-1]),
        "network",
        {
            "skip weights' step": first("network"),
            "test": spread("test_accuracy"),
            "first layer at 0": lambda group: range_of(group["first_layer"]),
            "last layer at 0": lambda group: range_of(group["last_layer"]),
            "all removed": lambda group: range_of(group["removed_at_step"]),
            "removed by": lambda group: ", ".join(sorted(group["removed_by"].unique())),
        },
    )


def figure_of_clock(runs: pd.DataFrame) -> go.Figure:
    """The step at which each layer's skip is removed, with the loss's gradient and without it."""
    figure = go.Figure()
    for index, network in enumerate(runs["network"].unique()):
        steps = steps_of(runs, network).mean()
        mode, part = ("markers", "marker") if index else ("lines", "line")
        layers = [layer + 1 for layer in steps.index]
        figure.add_scatter(x=layers, y=steps, mode=mode, name=network, **{part: style(index)[part]})
    return finish(figure, "Removal step of each layer", "Mean over the seeds.", "layer", "step")


# The start.


def tested(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that were tested, and the residual networks of the same depths and seeds."""
    runs = runs[runs["test_accuracy"].notna()]
    known = read("degradation").query("network == 'residual'")
    known = known[known["depth"].isin(runs["depth"]) & known["seed"].isin(runs["seed"])]
    return pd.concat([runs, known])


def validated(runs: pd.DataFrame) -> pd.Series:
    """Return the validation accuracy of each network that has one."""
    return runs.dropna(subset=["validation_accuracy"]).set_index("network")["validation_accuracy"]


def start(runs: pd.DataFrame) -> str:
    """Return how networks of the largest depth do with a better start, with skips to phase out and without."""
    depth, here = by_depth(tested(runs))[-1]
    mean = means(here)
    vans = [
        f"the VAN with bias {shift} ({mean[name]:.3f}) is {beside(here, name, START, 'it')}"
        for shift in (1, 2)
        if (name := f"VAN, BatchNorm bias {shift}") in mean
    ]
    return (
        f"On all of Fashion-MNIST, depth {depth}, a plain network whose BatchNorm biases are initialized at 2 reaches "
        f"{mean[START]:.3f} and never has a skip; {' and '.join(vans)}. The plain network is "
        f"{beside(here, START, 'residual', RESIDUAL)}."
    )


def reading_of_start(runs: pd.DataFrame) -> str:
    """What was found at each depth, on the test images and on the validation set."""
    lines, chosen = [start(runs)], validated(runs)
    for depth, here in by_depth(tested(runs)):
        others = {f"plain, BatchNorm bias {shift}": "" for shift in (1, 2)}
        others[best_of(means(here), "plain")] = ", the highest plain mean"
        for van in ("VAN, BatchNorm bias 1", "VAN, BatchNorm bias 2"):
            parts = [beside(here, van, other, f"*{other}*{words}") for other, words in others.items()]
            lines.append(
                f"Depth {depth}: *{van}* is {', '.join(parts)}, and {beside(here, van, 'residual', RESIDUAL)}."
            )
    lines += [
        f"On the validation set the highest of the {kind} networks, one run each, is *{best}* ({chosen[best]:.3f})."
        for kind in ("plain", "VAN")
        if len(chosen) and (best := best_of(chosen, kind))
    ]
    key = ["network", "depth", "seed"]
    again = runs.dropna(subset=["test_accuracy"]).merge(read("degradation"), on=key, suffixes=("", "_before"))
    moved = (
        100.0 * (again["test_accuracy"] - again["test_accuracy_before"]).abs().groupby(again["depth"]).max()
    )
    lines.append(
        "Networks that were measured in the section above as well, with the same seed, end up to "
        f"{' and '.join(f'{value:.1f} points (depth {depth})' for depth, value in moved.items())} away from there. "
        "Settings and seeds are the same; rounding differs between processors and groups of networks."
    )
    return bullets(lines)


def table_of_start(runs: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by depth, and on the validation set."""
    made, chosen = cells(tested(runs), "test, depth {}"), validated(runs)
    texts = [f"{chosen[name]:.3f}" if name in chosen else "–" for name in made.index]
    return made.assign(**{"validation, depth 100, one run": texts}).reset_index()


def figure_of_start(runs: pd.DataFrame) -> go.Figure:
    """Test accuracy at each depth."""
    return dots(tested(runs), "Test accuracy by initial BatchNorm bias")


# Convolutions.


def convolutions(runs: pd.DataFrame) -> str:
    """Return how the best plain network of each depth compares with the residual network and the best VAN."""
    lines = [f"Embedded images at 14 by 14 pixels, {runs['seed'].nunique()} seeds."]
    for depth, here in by_depth(runs):
        mean, ends = means(here), here.groupby("network")["test_accuracy"].agg(["min", "max"])
        plain, van = (best_of(mean, kind) for kind in ("plain", "VAN"))
        low, high = ends["min"], ends["max"]
        lines.append(
            f"With {depth} layers *{plain}* ({mean[plain]:.3f}) is {beside(here, plain, 'residual', RESIDUAL)}; "
            f"*{van}* ({mean[van]:.3f}) is {beside(here, van, plain, 'that plain one')} and "
            f"{beside(here, van, 'residual', 'the residual one')}. Runs of the plain network range from "
            f"{low[plain]:.3f} to {high[plain]:.3f}, those of the VAN from {low[van]:.3f} to {high[van]:.3f}."
        )
    return " ".join(lines)


def reading_of_convolutions(runs: pd.DataFrame) -> str:
    """How each VAN compares with the best plain network and the residual one."""
    lines = [convolutions(runs)]
    for depth, here in by_depth(runs):
        best = best_of(means(here), "plain")
        lines += [
            f"With {depth} layers *{van}* is {beside(here, van, best, f'*{best}*')} and "
            f"{beside(here, van, 'residual', RESIDUAL)}."
            for van in here["network"].unique()
            if van.startswith("VAN")
        ]
    settled = 100.0 * (runs["settled_accuracy"] - runs["test_accuracy"]).abs().max()
    lines += [
        reading_of_vans(runs),
        f"The statistics of all training images in place of the running averages change no accuracy by more than "
        f"{settled:.1f} points: networks at chance are not there because of those averages.",
    ]
    return bullets(lines)


def table_of_convolutions(runs: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy by number of layers, as trained and with settled statistics."""
    trained, settled = cells(runs, "{} layers"), cells(runs, "{} layers, settled", "settled_accuracy")
    return pd.concat([trained, settled], axis="columns").reset_index()


def figure_of_convolutions(runs: pd.DataFrame) -> go.Figure:
    """Test accuracy by number of layers."""
    return dots(runs, "Test accuracy of convolutional networks")


# Depth.


def small_and_phased_out(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the tested runs on the embedded images, and those of networks of depth 40."""
    small = runs.dropna(subset=["test_accuracy"]).query("data == 'fashion-mnist-mini'")
    return pd.concat([small, read("phase_out_mini")])


def shallow(runs: pd.DataFrame) -> str:
    """Return how shallow networks compare with the residual ones of the other claims."""
    deep = read("degradation").query("network == 'residual' and depth in (10, 100)")
    deep = deep.assign(network="residual, depth " + deep["depth"].astype(str))
    both = pd.concat([runs.dropna(subset=["test_accuracy"]).query("data == 'fashion-mnist'"), deep])
    small = small_and_phased_out(runs)

    def listed(runs: pd.DataFrame, *networks: str) -> str:
        groups = runs.groupby("network")["test_accuracy"]
        return ", ".join(f"{name} {spread_of(groups.get_group(name))[:5]}" for name in (*HIDDEN, *networks))

    return (
        f"Test accuracy on all of Fashion-MNIST: {listed(both, 'residual, depth 10', 'residual, depth 100')}. "
        "The residual network of depth 100 is "
        f"{beside(both, 'residual, depth 100', 'two hidden layers', 'the plain one with two hidden layers')}. On the "
        f"embedded subset: {listed(small, 'residual')}; this residual network, of depth 40, is "
        f"{beside(small, 'residual', 'linear', 'the linear one')}."
    )


def reading_of_shallow(runs: pd.DataFrame) -> str:
    """What was found."""
    if set(runs["data"]) == {"fashion-mnist-mini"}:
        return "Only a small part was measured."
    van = beside(small_and_phased_out(runs), "van", "linear", "the linear one")
    return (
        f"{shallow(runs)} The VAN of depth 40 is {van} there. What the course shows on these data is how depth does "
        "harm and how that can be avoided, not what depth is good for."
    )


def table_of_shallow(runs: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by network and data, with the learning rate that was chosen."""
    return summary(
        runs.dropna(subset=["test_accuracy"]),
        ["data", "network"],
        {
            "data": first("data"),
            "network": first("network"),
            "learning rate": first("lr", "{:g}"),
            "test": spread("test_accuracy"),
            "training": spread("train_accuracy"),
        },
    )


def figure_of_shallow(runs: pd.DataFrame) -> go.Figure:
    """Test accuracy by network and data."""
    return dots(runs.dropna(subset=["test_accuracy"]), "Test accuracy of shallow networks", series="data")
