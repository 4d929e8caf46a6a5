"""What the recordings by depth say: trials, learning rates, accuracy of each kind of network, schedules."""

import pandas as pd
import plotly.graph_objects as go

from tools.evidence.parts import (
    RESIDUAL,
    beside,
    bullets,
    by_depth,
    cells,
    dots,
    first,
    learning_left,
    means,
    read,
    spread,
    summary,
)
from van_tutorial.plots import mean_curves

BEST = "VAN, BatchNorm bias 1"
REMOVAL = "how skips are removed"
ONE_RUN = "One run each, on a validation set of the training images."


# Trials.


def table_of_trials(runs: pd.DataFrame) -> pd.DataFrame:
    """Validation accuracy by depth."""
    made = cells(runs, "depth {}", "validation_accuracy")
    return made.sort_values(made.columns[-1], ascending=False).reset_index(names=REMOVAL)


def reading_of_trials(runs: pd.DataFrame) -> str:
    """The best trials of the largest depth, and both orders of the removal."""
    deepest = runs["depth"].max()
    at = runs[runs["depth"] == deepest].sort_values("validation_accuracy", ascending=False)
    best, unshifted, together = (
        at.query(those).iloc[0]
        for those in ("index >= 0", "norm_shift == 0", "stagger == 0 and norm_shift == 0")
    )
    same = runs.query(
        "depth == 40 and norm_shift == 1 and init == 'orthogonal' and lr == 0.003 and remove_by == 0.85"
    )
    by_order = same.groupby("stagger")["validation_accuracy"].mean().reindex([0.9, -0.9])
    return (
        f"Single runs. At depth {deepest} the best, {best['validation_accuracy']:.3f}, is: {best['network']}. With "
        f"BatchNorm biases of 0 the best is {unshifted['validation_accuracy']:.3f} ({unshifted['network']}); of "
        f"those in which all multipliers rise simultaneously as well, {together['validation_accuracy']:.3f}. At depth "
        f"40, with orthogonal weights and biases of 1, the removal from input to output ends at {by_order[0.9]:.3f}, "
        f"the one from output to input at {by_order[-0.9]:.3f}."
    )


def figure_of_trials(runs: pd.DataFrame) -> go.Figure:
    """Validation accuracy of each trial at each depth, the best of the largest depth first."""
    deepest = runs[runs["depth"] == runs["depth"].max()].set_index("network")["validation_accuracy"]
    runs = runs.assign(rank=runs["network"].map(deepest)).sort_values("rank", ascending=False)
    return dots(runs, "Validation accuracy by how skips are removed", ONE_RUN, "validation_accuracy")


# Learning rates.


def chosen_step_sizes(runs: pd.DataFrame) -> dict[str, float]:
    """Return for each network the learning rate whose mean validation accuracy is best."""
    means = runs.groupby(["network", "lr"], sort=False)["validation_accuracy"].mean().unstack()
    return dict(means.idxmax(axis="columns"))


def table_of_step_sizes(runs: pd.DataFrame) -> pd.DataFrame:
    """Validation accuracy by network, depth and learning rate."""
    made = cells(runs, "lr {:g}", "validation_accuracy", ["network", "depth"], "lr").reset_index()
    chosen = chosen_step_sizes(runs)
    return made.assign(chosen=[f"{chosen[network]:g}" for network in made["network"]])


def reading_of_step_sizes(runs: pd.DataFrame) -> str:
    """The best learning rates, each with its networks."""
    groups: dict[float, list[str]] = {}
    for network, lr in chosen_step_sizes(runs).items():
        groups.setdefault(lr, []).append(f"*{network}*")
    parts = [f"{lr:g} for {', '.join(names)}" for lr, names in sorted(groups.items())]
    return f"The best of the three is {'; '.join(parts)}."


def figure_of_step_sizes(runs: pd.DataFrame) -> go.Figure:
    """Validation accuracy of each network with each learning rate."""
    runs = runs.assign(network=runs["network"] + ", depth " + runs["depth"].astype(str))
    return dots(runs, "Validation accuracy by learning rate", ONE_RUN, "validation_accuracy", "lr")


# Accuracy of each kind of network.


def table_of_accuracies(runs: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy, and accuracy in training, by depth."""
    parts = [
        cells(runs, "depth {}", value).reset_index().assign(images=images)
        for images, value in (("test", "test_accuracy"), ("training", "train_accuracy"))
    ]
    made = pd.concat(parts)
    made.insert(1, "images", made.pop("images"))
    return made


def reading_of_vans(runs: pd.DataFrame) -> str:
    """How many skips were left, when the last one was removed, and what was left to learn with."""
    vans = runs[runs["network"].str.startswith("VAN")]
    left = int(vans["skips_left"].max())
    begin, end = vans["removed_at_step"].min(), vans["removed_at_step"].max()
    if left or pd.isna(begin):
        return f"At most {left} skips are left in a VAN."
    return (
        f"No VAN has a skip left. The last one is removed between steps {begin:.0f} and {end:.0f} of "
        f"{vans['num_steps'].max():.0f} in every network: windows, caps and learning rates set the step. "
        f"After it {learning_left(vans)} of the summed learning rate is left, so the collapsed network is hardly "
        "trained as a plain one."
    )


def lines_by_depth(runs: pd.DataFrame) -> list[str]:
    """How the VAN with a BatchNorm bias compares with each other network at each depth."""
    compared = {
        "residual": RESIDUAL,
        "plain": "the plain one",
        "plain, BatchNorm bias 1": "the plain one with the same bias",
        "VAN": "the VAN without a bias",
    }
    lines = [reading_of_vans(runs)]
    for depth, here in by_depth(runs):
        mean = means(here)
        parts = [
            f"{beside(here, BEST, name, words)} ({mean[name]:.3f})"
            for name, words in compared.items()
            if name in mean
        ]
        lines.append(
            f"Depth {depth}: the VAN with BatchNorm bias 1 ends at {mean[BEST]:.3f}, {', '.join(parts)}."
        )
    return lines


def reading_of_degradation(runs: pd.DataFrame) -> str:
    """What was found, and what a bias that suits the plain network better gives without any skip."""
    deepest = runs["depth"].max()
    start = read("start").query("network == 'plain, BatchNorm bias 2' and depth == @deepest")
    lines = lines_by_depth(runs)
    if len(start):
        lines.append(
            f"Depth {deepest}: a plain network with BatchNorm bias 2 ends at {start['test_accuracy'].mean():.3f} (next "
            "section). So the difference from the plain one with bias 1 is no gain of the phase-out alone."
        )
    return bullets(lines)


def figure_of_accuracies(runs: pd.DataFrame) -> go.Figure:
    """Accuracy by depth, in training and on test images."""
    both = pd.concat(
        runs.assign(panel=panel, accuracy=runs[value])
        for panel, value in (("in training", "train_accuracy"), ("test images", "test_accuracy"))
    )
    return mean_curves(both, "accuracy", "depth", panel="panel").update_layout(height=480)


def reading_of_longer(runs: pd.DataFrame) -> str:
    """Whether the distance to the residual network has become smaller."""
    before, lines = dict(by_depth(read("degradation"))), lines_by_depth(runs)
    for depth, here in by_depth(runs):
        short, long = (beside(part, BEST, "residual", RESIDUAL) for part in (before.get(depth, here), here))
        lines.append(
            f"The distance at depth {depth}: after ten epochs the VAN with BatchNorm bias 1 was {short}, after thirty "
            f"it is {long}."
        )
    return bullets(lines)


def figure_of_longer(runs: pd.DataFrame) -> go.Figure:
    """Test accuracy of each network at each depth, without the plain one, which would hide the others."""
    caption = "Mean over the seeds with one standard deviation. The plain network is left out: see the table."
    return dots(runs[runs["network"] != "plain"], "Test accuracy after 30 epochs", caption)


def reading_of_others(runs: pd.DataFrame) -> str:
    """The networks of each depth, the highest mean first."""
    lines = [reading_of_vans(runs)]
    for depth, here in by_depth(runs):
        order = means(here).sort_values(ascending=False)
        lines.append(f"Depth {depth}: {', '.join(f'*{name}* {value:.3f}' for name, value in order.items())}.")
    deepest = runs["depth"].max()
    both = pd.concat([runs, read("degradation")]).query("depth == @deepest")
    lines += [
        f"Depth {deepest}: *{name}* is {beside(both, name, BEST, f'*{BEST}*, measured above')}."
        for name in ("Dirac", "looks-linear")
        if {name, BEST} <= set(both["network"])
    ]
    return bullets(lines)


def table_of_mnist(runs: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by network."""
    return summary(
        runs,
        "network",
        {
            "network": first("network"),
            "test": spread("test_accuracy"),
            "training": spread("train_accuracy"),
            "seeds": lambda group: str(group["seed"].nunique()),
            "skips left": lambda group: (
                f"{group['skips_left'].max():.0f}" if group["network"].iloc[0].startswith("VAN") else ""
            ),
        },
    )


def reading_of_mnist(runs: pd.DataFrame) -> str:
    """How far each network is from the residual one."""
    others = [name for name in runs["network"].unique() if name != "residual"]
    parts = [f"*{name}* is {beside(runs, name, 'residual', RESIDUAL)}" for name in others]
    return (
        f"On the test images {', '.join(parts)}. The VAN is {beside(runs, 'VAN', 'plain', 'the plain network')}. "
        f"{learning_left(runs)} of the summed learning rate is left after its last removal."
    )


def figure_of_mnist(runs: pd.DataFrame) -> go.Figure:
    """Test accuracy of each network, all of one depth."""
    return dots(runs, "Test accuracy at depth 40").update_layout(showlegend=False)


# Schedules.


def table_of_schedules(runs: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by schedule and depth."""
    made = cells(runs, "test, depth {}")
    left = runs.groupby("network")["skips_left"].max()
    capped = means(runs[runs["skip_schedule"] == "multipliers"], "num_capped")
    made["skips left (most)"] = [f"{left[name]:.0f}" for name in made.index]
    made["layers that the cap moved (mean)"] = [
        f"{capped[name]:.1f}" if name in capped else "" for name in made.index
    ]
    return made.reset_index(names=REMOVAL)


def reading_of_schedules(runs: pd.DataFrame) -> str:
    """What was found, and what a network ends at that never had a skip."""
    plain = (
        read("degradation")
        .query("network == 'plain, BatchNorm bias 1'")
        .groupby("depth")["test_accuracy"]
        .mean()
    )
    lines = []
    for depth, here in by_depth(runs):
        mean = means(here).sort_values(ascending=False)
        best, *others = map(str, mean.index)
        parts = [beside(here, best, name, f"*{name}*") for name in others]
        line = f"Depth {depth}: the highest mean is that of *{best}* ({mean[best]:.3f}). It is {', '.join(parts)}."
        if depth in plain:
            line += f" A plain network with BatchNorm bias 1 that never had a skip ends at {plain[depth]:.3f} (above)."
        lines.append(line)
        if {"multipliers, sequentially", "multipliers"} <= set(mean.index):
            order = beside(here, "multipliers, sequentially", "multipliers", "those that rise simultaneously")
            lines.append(f"Depth {depth}: the multipliers that rise sequentially end {order}.")
    return bullets(lines)


def figure_of_schedules(runs: pd.DataFrame) -> go.Figure:
    """Test accuracy of each schedule at each depth."""
    return dots(runs, "Test accuracy by how skips are removed")


# Photographs.


def ordered(runs: pd.DataFrame) -> pd.DataFrame:
    """Return runs on photographs, the VANs named by the order of the removal."""
    names = {"van": "VAN, simultaneously", "van, sequentially": "VAN, sequentially"}
    return runs.assign(network=runs["network"].replace(names))


def table_of_photographs(runs: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy by network and number of layers."""
    return cells(ordered(runs), "{} layers").reset_index()


def reading_of_photographs(runs: pd.DataFrame) -> str:
    """How the VANs compare with the plain network, with the residual one and with each other."""
    runs = ordered(runs)
    lines = [f"After the last removal {learning_left(runs)} of the summed learning rate is left."]
    one, other = "VAN, simultaneously", "VAN, sequentially"
    for depth, here in by_depth(runs):
        lines += [
            f"With {depth} layers *{van}* is {beside(here, van, 'plain', 'the plain network')}, and "
            f"{beside(here, van, 'residual', 'the residual one')}."
            for van in (one, other)
        ]
        lines.append(f"With {depth} layers *{other}* is {beside(here, other, one, f'*{one}*')}.")
    return bullets(lines)


def figure_of_photographs(runs: pd.DataFrame) -> go.Figure:
    """Test accuracy of convolutional networks by number of layers."""
    return dots(ordered(runs), "Test accuracy on CIFAR-10 after four epochs")
