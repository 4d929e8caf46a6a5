"""What is shown of each recording as a table, and what it says in sentences."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from van_tutorial import batch
from van_tutorial.constraints import predict_removal_step

# What names of recorded networks say, in the words of the page; the longer phrase first.
WORDS = {
    "one after the other, input side first": "sequentially, from input to output",
    "one after the other, output side first": "sequentially, from output to input",
    "one after the other": "sequentially",
    "all at once": "simultaneously",
    "all alike": "equal dual learning rates",
    "input side faster": "faster next to the input",
    "fixed, then off": "constant, then 0",
    "gone by": "removed by",
    ", shifted": ", BatchNorm bias 1",
    ", shift ": ", BatchNorm bias ",
}
CONVOLUTIONAL = {"van": "VAN, simultaneously", "van, sequentially": "VAN, sequentially"}
BEST = "VAN, BatchNorm bias 1"


# Names of networks.


def named(runs: pd.DataFrame) -> pd.DataFrame:
    """Return runs with the names of their networks in the words of the page."""
    if "network" not in runs:
        return runs
    names = runs["network"]
    for recorded, words in WORDS.items():
        names = names.str.replace(recorded, words, regex=False)
    return runs.assign(network=names)


def read(name: str) -> pd.DataFrame:
    """Return the runs of a recording, with the names of the page."""
    return named(batch.recorded(name).table)


def label_of_start(run: Mapping[str, Any]) -> str:
    """Return the name of a network by how it is initialized."""
    return f"{'VAN' if run['connection'] == 'van' else 'plain'}, BatchNorm bias {run['norm_shift']:g}"


def label_of_gradient(run: Mapping[str, Any]) -> str:
    """Return whether the loss has a say in a network's skip weights."""
    return f"{'with' if run['skip_gradient'] else 'without'} the loss's gradient"


def label_of_network(run: Mapping[str, Any]) -> str:
    """Return the name of a network in all tables."""
    if run["parametrization"] == "dirac":
        return "Dirac"
    if run["init"] == "looks-linear":
        return "looks-linear"
    name = {"van": "VAN"}.get(run["connection"], run["connection"])
    if run["connection"] == "van" and run["skip"] != "convex":
        name = f"VAN, {run['skip']}"
    return f"{name}, shifted" if run["norm_shift"] else name


def label_of_trial(run: Mapping[str, Any]) -> str:
    """Return what sets a trial apart."""
    stagger, spread = run["stagger"], run["dual_lr_spread"]
    if stagger:
        order = f"one after the other, {'input' if stagger > 0 else 'output'} side first"
        order += f" (stagger {stagger:g})" if abs(stagger) != 0.9 else ""
    else:
        order = "all at once" if spread == 1.0 else f"input side faster ({spread:g} times)"
    parts = [order]
    if run["init"] != "he":
        parts.append(f"{run['init']} weights")
    if run["norm_shift"]:
        parts.append(f"shift {run['norm_shift']:g}")
    if run["lr"] != 3e-3:
        parts.append(f"lr {run['lr']:g}")
    if run["remove_by"] != 0.85:
        parts.append(f"gone by {run['remove_by']:g}")
    if run["damping"]:
        parts.append(f"damping {run['damping']:g}")
    return ", ".join(parts)


def label_of_spread(run: Mapping[str, Any]) -> str:
    """Return which layers' multipliers rise faster."""
    spread = run["dual_lr_spread"]
    return "all alike" if spread == 1.0 else f"input side faster ({spread:g} times)"


def label_of_schedule(run: Mapping[str, Any]) -> str:
    """Return what removes the skips, and in which order."""
    who = {"cut": "fixed, then off"}.get(run["skip_schedule"], run["skip_schedule"])
    if run["damping"]:
        who += ", damped"
    if run["stagger"]:
        return f"{who}, one after the other"
    return (
        who
        if run["dual_lr_spread"] == 1.0 or run["skip_schedule"] != "multipliers"
        else f"{who}, input side faster"
    )


# Parts of tables and sentences.


def spread_of(values: pd.Series) -> str:
    """Return mean and standard deviation as a text."""
    numbers = values.dropna().astype(float)
    if numbers.empty:
        return "–"
    mean = round(float(numbers.mean()), 6)  # so that 0.8455 is rounded alike, however it was summed
    return f"{mean:.3f}" + (f" ± {numbers.std():.3f}" if len(numbers) > 1 else "")


def cells(table: pd.DataFrame, rows: str | Sequence[str], column: str, value: str) -> pd.DataFrame:
    """Return a pivot of texts: mean ± standard deviation of a value, rows in the order of the recording."""
    return table.pivot_table(index=rows, columns=column, values=value, aggfunc=spread_of, sort=False).fillna(
        "–"
    )


def mean_of(table: pd.DataFrame, value: str, **chosen: Any) -> float:
    """Return the mean of a value over the runs with these properties."""
    for name, wanted in chosen.items():
        table = table[table[name] == wanted]
    return float(table[value].mean())


def beside(table: pd.DataFrame, one: str, other: str, words: str, value: str = "test_accuracy") -> str:
    """Return how far a network is above or below another, with the interval of `batch.compare`."""
    return batch.compare(table, one, other, value).in_words(words)


def learning_left(runs: pd.DataFrame) -> str:
    """Return which fraction of the summed learning rate is left after the last removal, under cosine decay.

    With T steps, the last removal after step t, and learning rates proportional to 1 + cos(pi s / T) for s = 0, ...,
    T - 1: their sum from s = t on, over the whole sum.
    """
    steps = runs[["removed_at_step", "num_steps"]].dropna().drop_duplicates()
    left = []
    for removed, total in steps.itertuples(index=False):
        rates = 1.0 + np.cos(np.pi * np.arange(total) / total)
        left.append(100.0 * rates[int(removed) :].sum() / rates.sum())
    low, high = (f"{value:.1f}" if value >= 1.0 else f"{value:.2f}" for value in (min(left), max(left)))
    return f"{low} %" if low == high else f"{low} to {high} %"


# Trials.


def trials(table: pd.DataFrame) -> pd.DataFrame:
    """Validation accuracy by depth."""
    made = cells(table, "network", "depth", "validation_accuracy")
    made = made.sort_values(made.columns[-1], ascending=False)
    made.columns = [f"depth {depth}" for depth in made.columns]
    return made.reset_index(names="how skips are removed")


def reading_of_trials(table: pd.DataFrame) -> str:
    """What was found."""
    deepest = table["depth"].max()
    at = table[table["depth"] == deepest].sort_values("validation_accuracy", ascending=False)
    best = at.iloc[0]
    unshifted = at[at["norm_shift"] == 0.0].iloc[0]
    together = at[(at["stagger"] == 0.0) & (at["norm_shift"] == 0.0)].iloc[0]
    same = table.query(
        "depth == 40 and norm_shift == 1 and init == 'orthogonal' and lr == 0.003 and remove_by == 0.85"
    )
    one, other = (mean_of(same, "validation_accuracy", stagger=stagger) for stagger in (0.9, -0.9))
    return (
        f"Single runs. At depth {deepest} the best, {best['validation_accuracy']:.3f}, is: {best['network']}. With "
        f"BatchNorm biases of 0 the best is {unshifted['validation_accuracy']:.3f} ({unshifted['network']}); of "
        f"those in which all multipliers rise simultaneously as well, {together['validation_accuracy']:.3f}. At depth "
        f"40, with orthogonal weights and biases of 1, the removal from input to output ends at {one:.3f}, the one "
        f"from output to input at {other:.3f}."
    )


# Learning rates.


def chosen_step_sizes(table: pd.DataFrame) -> dict[str, float]:
    """Return for each network the learning rate whose mean validation accuracy is best."""
    means = table.groupby(["network", "lr"], sort=False, as_index=False)["validation_accuracy"].mean()
    best = (
        pd.DataFrame(means)
        .sort_values("validation_accuracy")
        .drop_duplicates("network", keep="last")
        .sort_index()
    )
    return dict(zip(best["network"], best["lr"], strict=True))


def step_sizes(table: pd.DataFrame) -> pd.DataFrame:
    """Validation accuracy by network, depth and learning rate."""
    made = cells(
        table.assign(step=[f"lr {lr:g}" for lr in table["lr"]]),
        ["network", "depth"],
        "step",
        "validation_accuracy",
    )
    made = made.reset_index()
    chosen = chosen_step_sizes(table)
    return made.assign(chosen=[f"{chosen[network]:g}" for network in made["network"]])


def reading_of_step_sizes(table: pd.DataFrame) -> str:
    """What was found."""
    groups: dict[float, list[str]] = {}
    for network, lr in chosen_step_sizes(table).items():
        groups.setdefault(lr, []).append(network)
    parts = [f"{lr:g} for {', '.join(f'*{name}*' for name in names)}" for lr, names in sorted(groups.items())]
    return f"The best of the three is {'; '.join(parts)}."


# Depth.


def degradation(table: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy, and accuracy in training, by depth."""
    made = []
    for title, value in (("test", "test_accuracy"), ("training", "train_accuracy")):
        part = cells(table, "network", "depth", value)
        part.columns = [f"depth {depth}" for depth in part.columns]
        made.append(part.reset_index().assign(images=title))
    whole = pd.concat(made)
    return whole[
        ["network", "images", *(name for name in whole.columns if name not in ("network", "images"))]
    ]


COMPARED = {
    "residual": "the residual network",
    "plain": "the plain one",
    "plain, BatchNorm bias 1": "the plain one with the same bias",
    "VAN": "the VAN without a bias",
}


def reading_of_vans(table: pd.DataFrame) -> str:
    """How many skips were left, when the last one was removed, and what was left to learn with."""
    vans = table[table["network"].str.startswith("VAN")]
    left = int(vans["skips_left"].max())
    first, last = vans["removed_at_step"].min(), vans["removed_at_step"].max()
    if left or pd.isna(first):
        return f"At most {left} skips are left in a VAN."
    return (
        f"No VAN has a skip left. The last one is removed between steps {first:.0f} and {last:.0f} of "
        f"{vans['num_steps'].max():.0f} in every network: windows, caps and learning rates set the step. "
        f"After it {learning_left(vans)} of the summed learning rate is left, so the collapsed network is hardly "
        "trained as a plain one."
    )


def reading_by_depth(table: pd.DataFrame) -> str:
    """What was found, network by network, at each depth."""
    lines = [reading_of_vans(table)]
    for depth in sorted(table["depth"].unique()):
        here = table[table["depth"] == depth]
        means = here.groupby("network")["test_accuracy"].mean()
        parts = [
            f"{beside(here, BEST, name, words)} ({means[name]:.3f})"
            for name, words in COMPARED.items()
            if name in means
        ]
        lines.append(
            f"Depth {depth}: the VAN with BatchNorm bias 1 ends at {means[BEST]:.3f}, {', '.join(parts)}."
        )
    return "\n".join(f"- {line}" for line in lines)


def reading_of_degradation(table: pd.DataFrame) -> str:
    """What was found, and what a bias that suits the plain network better gives without any skip."""
    start = read("start")
    deepest = table["depth"].max()
    plain = mean_of(start.query("network == 'plain, BatchNorm bias 2'"), "test_accuracy", depth=deepest)
    if math.isnan(plain):
        return reading_by_depth(table)
    return (
        f"{reading_by_depth(table)}\n- Depth {deepest}: a plain network with BatchNorm bias 2 ends at {plain:.3f} "
        "(next section). So the difference from the plain one with bias 1 is no gain of the phase-out alone."
    )


def reading_of_longer(table: pd.DataFrame) -> str:
    """Whether the distance to the residual network has become smaller."""
    before = read("degradation")
    lines = [reading_by_depth(table)]
    for depth in sorted(table["depth"].unique()):
        long, short = table[table["depth"] == depth], before[before["depth"] == depth]
        lines.append(
            f"- The distance at depth {depth}: after ten epochs the VAN with BatchNorm bias 1 was "
            f"{beside(short, BEST, 'residual', 'the residual network')}, after thirty it is "
            f"{beside(long, BEST, 'residual', 'the residual network')}."
        )
    return "\n".join(lines)


def reading_of_others(table: pd.DataFrame) -> str:
    """The networks of each depth, the highest mean first."""
    lines = []
    for depth in sorted(table["depth"].unique()):
        means = table[table["depth"] == depth].groupby("network")["test_accuracy"].mean()
        order = means.sort_values(ascending=False)
        lines.append(
            f"Depth {depth}: " + ", ".join(f"*{name}* {value:.3f}" for name, value in order.items()) + "."
        )
    both = pd.concat([table, read("degradation")])
    both = both[both["depth"] == table["depth"].max()]
    lines += [
        f"Depth {table['depth'].max()}: *{name}* is {beside(both, name, BEST, f'*{BEST}*, measured above')}."
        for name in ("Dirac", "looks-linear")
        if name in set(table["network"]) and BEST in set(both["network"])
    ]
    return "\n".join(f"- {line}" for line in [reading_of_vans(table), *lines])


def networks(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by network."""
    groups = table.groupby("network", sort=False)
    return pd.DataFrame(
        {
            "network": list(groups.groups),
            "test": [spread_of(runs["test_accuracy"]) for _, runs in groups],
            "training": [spread_of(runs["train_accuracy"]) for _, runs in groups],
            "seeds": [runs["seed"].nunique() for _, runs in groups],
            "skips left": [
                f"{runs['skips_left'].max():.0f}" if str(name).startswith("VAN") else ""
                for name, runs in groups
            ],
        }
    )


def reading_of_mnist(table: pd.DataFrame) -> str:
    """What was found."""
    parts = [
        f"*{name}* is {beside(table, name, 'residual', 'the residual network')}"
        for name in table["network"].unique()
        if name != "residual"
    ]
    vans = table[table["network"] == "VAN"]
    return (
        f"On the test images {', '.join(parts)}. The VAN is {beside(table, 'VAN', 'plain', 'the plain network')}. "
        f"{learning_left(vans)} of the summed learning rate is left after its last removal."
    )


# The frontier.


def with_prediction(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the predicted removal step, pi / (2 sqrt(skip_lr dual_lr)): the loss is left out."""
    return table.assign(
        predicted=[predict_removal_step(0.95, 1e-3, lr, slope=0.0) for lr in table["dual_lr"]]
    )


def frontier(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and steps by dual learning rate."""
    rows = []
    for (network, lr), runs in with_prediction(table).groupby(["network", "dual_lr"], sort=False):
        removed, middle = runs["removed_at_step"], runs["median_zero_step"]
        predicted = float(runs["predicted"].iloc[0])
        rows.append(
            {
                "multipliers": network,
                "dual_lr": f"{lr:g}",
                "test": spread_of(runs["test_accuracy"]),
                "predicted step": f"{predicted:.0f}",
                "half of the skips at 0 (mean)": f"{middle.mean():.0f}" if middle.notna().any() else "never",
                "ratio": f"{middle.mean() / predicted:.3f}" if middle.notna().any() else "",
                "all removed (mean)": f"{removed.mean():.0f}" if removed.notna().all() else "not in all runs",
                "skips left (most)": f"{runs['skips_left'].max():.0f}",
            }
        )
    return pd.DataFrame(rows)


def reading_of_frontier(table: pd.DataFrame) -> str:
    """What was found."""
    equal = with_prediction(table[table["network"] == WORDS["all alike"]]).dropna(subset=["median_zero_step"])
    if equal.empty:
        return "In no run with equal dual learning rates half of the skips were at 0."
    ratios = (equal["median_zero_step"] / equal["predicted"]).groupby(equal["dual_lr"]).mean()
    groups = table.groupby(["network", "dual_lr"], as_index=False)
    ends = groups.agg(test_accuracy=("test_accuracy", "mean"), left=("skips_left", "max"))
    ends = ends.sort_values("test_accuracy", ascending=False)
    found = [
        f"Half of the skips are at 0 after {ratios.min():.3f} to {ratios.max():.3f} times "
        "pi / (2 sqrt(skip_lr dual_lr)) steps, a quarter of a cosine (equal dual learning rates, from "
        f"{ratios.index.min():g} to {ratios.index.max():g}). The loss does not enter this prediction. (Earlier "
        "versions of this page assumed that the loss holds on with a slope of 0.3, and so predicted too late.)"
    ]
    for what, those in (
        ("Of the dual learning rates that left no skip in any run", ends[ends["left"] == 0]),
        ("Of those that left some, so that the network is not plain,", ends[ends["left"] > 0]),
    ):
        if len(those):
            best = those.iloc[0]
            found.append(
                f"{what} the highest mean is that of {best['dual_lr']:g} ({best['network']}), with "
                f"{best['test_accuracy']:.3f}."
            )
    return " ".join(found)


# Schedules.


def schedules(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by schedule and depth."""
    made = cells(table, "network", "depth", "test_accuracy")
    made.columns = [f"test, depth {depth}" for depth in made.columns]
    left = table.groupby("network", sort=False)["skips_left"].max()
    capped = table[table["skip_schedule"] == "multipliers"].groupby("network")["num_capped"].mean()
    made["skips left (most)"] = [f"{left[name]:.0f}" for name in made.index]
    made["layers that the cap moved (mean)"] = [
        f"{capped[name]:.1f}" if name in capped else "" for name in made.index
    ]
    return made.reset_index(names="how skips are removed")


def reading_of_schedules(table: pd.DataFrame) -> str:
    """What was found, and what a network ends at that never had a skip."""
    trained_plain = read("degradation").query("network == 'plain, BatchNorm bias 1'")
    lines = []
    for depth in sorted(table["depth"].unique()):
        here = table[table["depth"] == depth]
        means = here.groupby("network")["test_accuracy"].mean().sort_values(ascending=False)
        best = str(means.index[0])
        parts = [f"{beside(here, best, str(name), f'*{name}*')}" for name in means.index[1:]]
        plain = mean_of(trained_plain, "test_accuracy", depth=depth)
        lines.append(
            f"Depth {depth}: the highest mean is that of *{best}* ({means.iloc[0]:.3f}). It is {', '.join(parts)}."
            + (
                f" A plain network with BatchNorm bias 1 that never had a skip ends at {plain:.3f} (above)."
                if pd.notna(plain)
                else ""
            )
        )
        if "multipliers, sequentially" in means and "multipliers" in means:
            order = beside(here, "multipliers, sequentially", "multipliers", "those that rise simultaneously")
            lines.append(f"Depth {depth}: the multipliers that rise sequentially end {order}.")
    return "\n".join(f"- {line}" for line in lines)


# Photographs.


def convolutional(runs: pd.DataFrame) -> pd.DataFrame:
    """Return runs on photographs, the VANs named by the order of the removal."""
    return runs.assign(network=runs["network"].replace(CONVOLUTIONAL))


def photographs(runs: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy by network and number of layers."""
    made = cells(convolutional(runs), "network", "depth", "test_accuracy")
    made.columns = [f"{depth} layers" for depth in made.columns]
    return made.reset_index()


def reading_of_photographs(runs: pd.DataFrame) -> str:
    """What was found."""
    runs = convolutional(runs)
    vans = runs[runs["network"].str.startswith("VAN")]
    lines = [f"After the last removal {learning_left(vans)} of the summed learning rate is left."]
    for depth in sorted(runs["depth"].unique()):
        here = runs[runs["depth"] == depth]
        lines += [
            f"With {depth} layers *{van}* is {beside(here, van, 'plain', 'the plain network')}, and "
            f"{beside(here, van, 'residual', 'the residual one')}."
            for van in CONVOLUTIONAL.values()
        ]
        lines.append(
            f"With {depth} layers *VAN, sequentially* is "
            f"{beside(here, 'VAN, sequentially', 'VAN, simultaneously', '*VAN, simultaneously*')}."
        )
    return "\n".join(f"- {line}" for line in lines)
