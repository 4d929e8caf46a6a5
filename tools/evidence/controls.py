"""The controls: no loss in the clock, a better start without skips, shallow networks, what is left to learn with."""

import pandas as pd
import plotly.graph_objects as go

from tools.evidence import figures
from tools.evidence.shallow import DEPTHS
from tools.evidence.tables import (
    beside,
    cells,
    label_of_gradient,
    learning_left,
    read,
    reading_of_vans,
    spread_of,
)
from van_tutorial import training
from van_tutorial.constraints import predict_removal_step
from van_tutorial.plots.style import finish, style

START = "plain, BatchNorm bias 2"
RESIDUAL = "the residual network"
WITH, WITHOUT = (label_of_gradient({"skip_gradient": choice}) for choice in (True, False))


def findings() -> str:
    """Return what the controls say, a line each; README and the page begin with it."""
    lines = [
        f"**The default phase-out is a clock.** {clock(read('clock'))}",
        f"**At depth 100 a better start does as well without a phase-out.** {start(read('start'))}",
        f"**In convolutional networks it depends on the depth.** {convolutions(read('convolutions'))}",
        f"**The learning rate is spent before the plain network exists.** {spent()}",
        f"**The data hardly needs depth.** {shallow(read('shallow'))}",
    ]
    return "\n".join(f"- {line}" for line in lines)


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


def best_of(mean: pd.Series, kind: str) -> str:
    """Return the network with the highest mean among those whose names begin so."""
    return str(mean[mean.index.str.startswith(kind)].idxmax())


# The clock.


def clock(runs: pd.DataFrame) -> str:
    """Return when skips are removed with the loss's gradient and without it."""
    ends = sorted(int(step) for step in runs["removed_at_step"].unique())
    moved = (steps_of(runs, WITH) - steps_of(runs, WITHOUT)).abs().max().max()
    mean = runs.groupby("network")["test_accuracy"].mean()
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
    """What was found."""
    num_steps = int(runs["num_steps"].max())
    dual_lr = training.default_dual_lr(num_steps, 0.95, training.TrainConfig())
    predicted = predict_removal_step(0.95, training.TrainConfig().skip_lr, dual_lr, slope=0.0)
    return (
        f"{clock(runs)} So *removed by the multipliers* says that the cap lowered no skip weight, not that the loss "
        "decided. A quarter of a cosine, pi / (2 sqrt(skip_lr dual_lr)) steps of the default learning rates, lasts "
        f"{predicted:.0f} steps; the first layer, whose window opens at once, is at 0 after "
        f"{range_of(steps_of(runs, WITHOUT).iloc[:, 0])} without the loss's gradient and after "
        f"{range_of(steps_of(runs, WITH).iloc[:, 0])} with it. After the last removal {learning_left(runs)} of the "
        "summed learning rate is left."
    )


def table_of_clock(runs: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and steps of removal."""
    rows = []
    for network, of in runs.groupby("network", sort=False):
        steps = steps_of(runs, str(network))
        rows.append(
            {
                "skip weights' step": network,
                "test": spread_of(of["test_accuracy"]),
                "first layer at 0": range_of(steps.iloc[:, 0]),
                "last layer at 0": range_of(steps.iloc[:, -1]),
                "all removed": range_of(of["removed_at_step"]),
                "removed by": ", ".join(sorted(of["removed_by"].unique())),
            }
        )
    return pd.DataFrame(rows)


def range_of(values: pd.Series) -> str:
    """Return the smallest and the largest of some steps."""
    low, high = f"{values.min():.0f}", f"{values.max():.0f}"
    return low if low == high else f"{low} to {high}"


def figure_of_clock(runs: pd.DataFrame) -> go.Figure:
    """The step at which each layer's skip is removed, with the loss's gradient and without it."""
    figure = go.Figure()
    for index, network in enumerate(runs["network"].unique()):
        steps = steps_of(runs, network).mean()
        figure.add_scatter(
            x=[layer + 1 for layer in steps.index],
            y=steps,
            mode="markers" if index else "lines",
            name=network,
            **{key: value for key, value in style(index).items() if (key == "marker") == bool(index)},
        )
    return finish(figure, "Removal step of each layer", "Mean over the seeds.", "layer", "step")


# The start.


def tested(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that were tested, and the residual networks of the same depths and seeds."""
    runs = runs[runs["test_accuracy"].notna()]
    known = read("degradation").query("network == 'residual'")
    known = known[known["depth"].isin(runs["depth"]) & known["seed"].isin(runs["seed"])]
    return pd.concat([runs, known])


def start(runs: pd.DataFrame) -> str:
    """Return how networks of the largest depth do with a better start, with skips to phase out and without."""
    here = tested(runs)
    here = here[here["depth"] == here["depth"].max()]
    mean = here.groupby("network")["test_accuracy"].mean()
    vans = [
        f"the VAN with bias {shift} ({mean[name]:.3f}) is {beside(here, name, START, 'it')}"
        for shift in (1, 2)
        if (name := f"VAN, BatchNorm bias {shift}") in mean
    ]
    return (
        f"On all of Fashion-MNIST, depth {here['depth'].max()}, a plain network whose BatchNorm biases are initialized "
        f"at 2 reaches {mean[START]:.3f} and never has a skip; {' and '.join(vans)}. The plain network is "
        f"{beside(here, START, 'residual', RESIDUAL)}."
    )


def reading_of_start(runs: pd.DataFrame) -> str:
    """What was found at each depth, on the test images and on the validation set."""
    lines = [start(runs)]
    for depth, here in tested(runs).groupby("depth"):
        best = best_of(here.groupby("network")["test_accuracy"].mean(), "plain")
        others = {f"plain, BatchNorm bias {shift}": "" for shift in (1, 2)} | {
            best: ", the highest plain mean"
        }
        for van in ("VAN, BatchNorm bias 1", "VAN, BatchNorm bias 2"):
            parts = [beside(here, van, other, f"*{other}*{words}") for other, words in others.items()]
            lines.append(
                f"Depth {depth}: *{van}* is {', '.join(parts)}, and {beside(here, van, 'residual', RESIDUAL)}."
            )
    chosen = runs.dropna(subset=["validation_accuracy"]).set_index("network")["validation_accuracy"]
    lines += [
        f"On the validation set the highest of the {kind} networks, one run each, is *{best}* ({chosen[best]:.3f})."
        for kind in ("plain", "VAN")
        if len(chosen) and (best := best_of(chosen, kind))
    ]
    key = ["network", "depth", "seed"]
    again = runs.dropna(subset=["test_accuracy"]).merge(read("degradation"), on=key, suffixes=("", "_before"))
    moved = 100.0 * (again["test_accuracy"] - again["test_accuracy_before"]).abs()
    moved = moved.groupby(again["depth"]).max()
    lines.append(
        "Networks that were measured in the section above as well, with the same seed, end up to "
        f"{' and '.join(f'{value:.1f} points (depth {depth})' for depth, value in moved.items())} away from there. "
        "Settings and seeds are the same; rounding differs between processors and groups of networks."
    )
    return "\n".join(f"- {line}" for line in lines)


def table_of_start(runs: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by depth, and on the validation set."""
    made = cells(tested(runs), "network", "depth", "test_accuracy")
    made.columns = [f"test, depth {depth}" for depth in made.columns]
    chosen = runs.dropna(subset=["validation_accuracy"]).set_index("network")["validation_accuracy"]
    made["validation, depth 100, one run"] = [
        f"{chosen[name]:.3f}" if name in chosen else "–" for name in made.index
    ]
    return made.reset_index()


def figure_of_start(runs: pd.DataFrame) -> go.Figure:
    """Test accuracy at each depth."""
    return figures.by_depth(tested(runs), "Test accuracy by initial BatchNorm bias")


# Convolutions.


def convolutions(runs: pd.DataFrame) -> str:
    """Return how the best plain network of each depth compares with the residual network and the best VAN."""
    lines = [f"Embedded images at 14 by 14 pixels, {runs['seed'].nunique()} seeds."]
    for depth, here in runs.groupby("depth"):
        mean = here.groupby("network")["test_accuracy"].mean()
        plain, van = (best_of(mean, kind) for kind in ("plain", "VAN"))
        ends = {name: here[here["network"] == name]["test_accuracy"] for name in (plain, van)}
        lines.append(
            f"With {depth} layers *{plain}* ({mean[plain]:.3f}) is {beside(here, plain, 'residual', RESIDUAL)}; "
            f"*{van}* ({mean[van]:.3f}) is {beside(here, van, plain, 'that plain one')} and "
            f"{beside(here, van, 'residual', 'the residual one')}. Runs of the plain network range from "
            f"{ends[plain].min():.3f} to {ends[plain].max():.3f}, those of the VAN from {ends[van].min():.3f} to "
            f"{ends[van].max():.3f}."
        )
    return " ".join(lines)


def reading_of_convolutions(runs: pd.DataFrame) -> str:
    """What was found."""
    lines = [convolutions(runs)]
    for depth, here in runs.groupby("depth"):
        best = best_of(here.groupby("network")["test_accuracy"].mean(), "plain")
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
    return "\n".join(f"- {line}" for line in lines)


def table_of_convolutions(runs: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy by number of layers, as trained and with settled statistics."""
    parts = []
    for value, words in (("test_accuracy", ""), ("settled_accuracy", ", settled")):
        part = cells(runs, "network", "depth", value)
        part.columns = [f"{depth} layers{words}" for depth in part.columns]
        parts.append(part)
    return pd.concat(parts, axis="columns").reset_index()


def figure_of_convolutions(runs: pd.DataFrame) -> go.Figure:
    """Test accuracy by number of layers."""
    return figures.by_depth(runs, "Test accuracy of convolutional networks")


# Depth.


def shallow(runs: pd.DataFrame) -> str:
    """Return how shallow networks compare with the residual ones of the other claims."""
    deep = read("degradation").query("network == 'residual' and depth in (10, 100)")
    deep = deep.assign(network="residual, depth " + deep["depth"].astype(str))
    tests = runs.dropna(subset=["test_accuracy"])
    both = pd.concat([tests.query("data == 'fashion-mnist'"), deep])
    small = pd.concat([tests.query("data == 'fashion-mnist-mini'"), read("phase_out_mini")])
    return (
        f"Test accuracy on all of Fashion-MNIST: {means(both, *DEPTHS, 'residual, depth 10', 'residual, depth 100')}. "
        "The residual network of depth 100 is "
        f"{beside(both, 'residual, depth 100', 'two hidden layers', 'the plain one with two hidden layers')}. On the "
        f"embedded subset: {means(small, *DEPTHS, 'residual')}; this residual network, of depth 40, is "
        f"{beside(small, 'residual', 'linear', 'the linear one')}."
    )


def means(runs: pd.DataFrame, *networks: str) -> str:
    """Return networks with their mean test accuracies."""
    groups = runs.groupby("network")["test_accuracy"]
    return ", ".join(f"{name} {spread_of(groups.get_group(name))[:5]}" for name in networks)


def reading_of_shallow(runs: pd.DataFrame) -> str:
    """What was found."""
    if set(runs["data"]) == {"fashion-mnist-mini"}:
        return "Only a small part was measured."
    small = pd.concat(
        [runs.dropna(subset=["test_accuracy"]).query("data == 'fashion-mnist-mini'"), read("phase_out_mini")]
    )
    return (
        f"{shallow(runs)} The VAN of depth 40 is {beside(small, 'van', 'linear', 'the linear one')} there. What the "
        "course shows on these data is how depth does harm and how that can be avoided, not what depth is good for."
    )


def table_of_shallow(runs: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by network and data, with the learning rate that was chosen."""
    tests = runs.dropna(subset=["test_accuracy"])
    made = [
        {
            "data": data,
            "network": network,
            "learning rate": f"{of['lr'].iloc[0]:g}",
            "test": spread_of(of["test_accuracy"]),
            "training": spread_of(of["train_accuracy"]),
        }
        for (data, network), of in tests.groupby(["data", "network"], sort=False)
    ]
    return pd.DataFrame(made)


def figure_of_shallow(runs: pd.DataFrame) -> go.Figure:
    """Test accuracy by network and data."""
    tests = runs.dropna(subset=["test_accuracy"])
    return figures.dots(
        tests,
        "test_accuracy",
        "data",
        "Test accuracy of shallow networks",
        "Mean over the seeds with one standard deviation.",
        "test accuracy",
    )
