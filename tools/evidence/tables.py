"""What is shown of each recording as a table, and what it says in sentences."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from van_tutorial import batch
from van_tutorial.constraints import predict_removal_step

SLOPE = 0.3  # of the loss in the prediction, as everywhere in the library


# Names of networks.


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
    """Return who takes the skips away, and in which order."""
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
    return f"{numbers.mean():.3f}" + (f" ± {numbers.std():.3f}" if len(numbers) > 1 else "")


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


def beside(table: pd.DataFrame, one: str, other: str, value: str = "test_accuracy") -> str:
    """Return in words how far a network is above or below another, each seed's run beside the other's of that seed.

    The mean of the differences comes with its standard error, sd / sqrt(n); within two of those it is no difference.
    """
    by_seed = table.pivot_table(index="seed", columns="network", values=value)
    differences = 100 * (by_seed[one] - by_seed[other]).dropna()
    mean = float(differences.mean())
    error = float(differences.std()) / math.sqrt(len(differences)) if len(differences) > 1 else 0.0
    if abs(mean) <= max(2 * error, 0.05):
        return f"level with (within {max(2 * error, 0.05):.1f} points)"
    return f"{abs(mean):.1f} ± {error:.1f} points {'above' if mean > 0 else 'below'}"


# Trials.


def trials(table: pd.DataFrame) -> pd.DataFrame:
    """Validation accuracy by depth."""
    made = cells(table, "network", "depth", "validation_accuracy")
    made = made.sort_values(made.columns[-1], ascending=False)
    made.columns = [f"depth {depth}" for depth in made.columns]
    return made.reset_index(names="how the skips go")


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
        f"At depth {deepest} the best, {best['validation_accuracy']:.3f}, is: {best['network']}. Where no layer has a "
        f"shift the best of those tried there is {unshifted['validation_accuracy']:.3f} ({unshifted['network']}), and "
        f"{together['validation_accuracy']:.3f} where in addition all multipliers begin together. The order counts: at "
        f"depth 40 shifted networks with orthogonal weights end at {one:.3f} where the input side goes first, and at "
        f"{other:.3f} the other way round."
    )


# Step sizes.


def chosen_step_sizes(table: pd.DataFrame) -> dict[str, float]:
    """Return for each network the step size whose mean validation accuracy is best."""
    means = table.groupby(["network", "lr"], sort=False, as_index=False)["validation_accuracy"].mean()
    best = (
        pd.DataFrame(means)
        .sort_values("validation_accuracy")
        .drop_duplicates("network", keep="last")
        .sort_index()
    )
    return dict(zip(best["network"], best["lr"], strict=True))


def step_sizes(table: pd.DataFrame) -> pd.DataFrame:
    """Validation accuracy by network, depth and step size."""
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
    "plain, shifted": "the plain one with the same start",
    "VAN": "the VAN without the shift",
}


def reading_of_vans(table: pd.DataFrame) -> str:
    """How many skips were left, and when the last one went."""
    vans = table[table["network"].str.startswith("VAN")]
    left = int(vans["skips_left"].max())
    first, last = vans["removed_at_step"].min(), vans["removed_at_step"].max()
    if left or pd.isna(first):
        return f"At most {left} skips are left in a VAN."
    return (
        f"No VAN has a skip left. The last one goes between steps {first:.0f} and {last:.0f} of "
        f"{vans['num_steps'].max():.0f}, whatever the network: windows and step sizes set the time, not the loss."
    )


def reading_of_degradation(table: pd.DataFrame) -> str:
    """What was found, and how it stands to what was aimed at."""
    lines = [reading_of_vans(table)]
    for depth in sorted(table["depth"].unique()):
        here = table[table["depth"] == depth]
        means = here.groupby("network")["test_accuracy"].mean()
        parts = [
            f"{beside(here, 'VAN, shifted', name)} {words} ({means[name]:.3f})"
            for name, words in COMPARED.items()
            if name in means
        ]
        lines.append(
            f"Depth {depth}: the shifted VAN ends at {means['VAN, shifted']:.3f}, {', '.join(parts)}."
        )
    return "\n".join(f"- {line}" for line in lines)


def reading_of_longer(table: pd.DataFrame) -> str:
    """Whether the distance to the residual network has become smaller."""
    before = batch.recorded("degradation").table
    lines = [reading_of_degradation(table)]
    for depth in sorted(table["depth"].unique()):
        long, short = table[table["depth"] == depth], before[before["depth"] == depth]
        lines.append(
            f"- The distance at depth {depth}: after the ten epochs above the shifted VAN was "
            f"{beside(short, 'VAN, shifted', 'residual')} the residual network, now it is "
            f"{beside(long, 'VAN, shifted', 'residual')} it."
        )
    return "\n".join(lines)


def reading_of_others(table: pd.DataFrame) -> str:
    """What was found: the networks of each depth, the best first."""
    lines = []
    for depth in sorted(table["depth"].unique()):
        means = table[table["depth"] == depth].groupby("network")["test_accuracy"].mean()
        order = means.sort_values(ascending=False)
        lines.append(
            f"Depth {depth}: " + ", ".join(f"*{name}* {value:.3f}" for name, value in order.items()) + "."
        )
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
        f"*{name}* is {beside(table, name, 'residual')} the residual network"
        for name in table["network"].unique()
        if name != "residual"
    ]
    return "On the test images " + ", ".join(parts) + "."


# The frontier.


def with_prediction(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the predicted removal step of a layer with the mean step size."""
    return table.assign(predicted=[predict_removal_step(0.95, 1e-3, lr, SLOPE) for lr in table["dual_lr"]])


def frontier(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and steps by multiplier step size."""
    rows = []
    for (network, lr), runs in with_prediction(table).groupby(["network", "dual_lr"], sort=False):
        removed, middle = runs["removed_at_step"], runs["median_zero_step"]
        rows.append(
            {
                "multipliers": network,
                "dual_lr": f"{lr:g}",
                "test": spread_of(runs["test_accuracy"]),
                "predicted step": f"{runs['predicted'].iloc[0]:.0f}",
                "half of the skips at 0 (mean)": f"{middle.mean():.0f}" if middle.notna().any() else "never",
                "all gone (mean)": f"{removed.mean():.0f}" if removed.notna().all() else "not in all runs",
                "skips left (most)": f"{runs['skips_left'].max():.0f}",
            }
        )
    return pd.DataFrame(rows)


def reading_of_frontier(table: pd.DataFrame) -> str:
    """What was found."""
    alike = with_prediction(table[table["network"] == "all alike"]).dropna(subset=["median_zero_step"])
    ratios = (alike["median_zero_step"] / alike["predicted"]).groupby(alike["dual_lr"]).mean()
    if alike.empty:
        return "In no run with multipliers all alike half of the skips were at 0."
    groups = table.groupby(["network", "dual_lr"], as_index=False)
    ends = groups.agg(test_accuracy=("test_accuracy", "mean"), left=("skips_left", "max"))
    ends = ends.sort_values("test_accuracy", ascending=False)
    found = [
        f"Half of the skips are at 0 after {ratios.min():.2f} to {ratios.max():.2f} times the predicted number of "
        f"steps (multipliers all alike, step sizes {ratios.index.min():g} to {ratios.index.max():g})."
    ]
    for what, those in (
        ("Of the step sizes that left no skip in any run", ends[ends["left"] == 0]),
        ("Of those that left some, so that no plain network came out,", ends[ends["left"] > 0]),
    ):
        if len(those):
            best = those.iloc[0]
            found.append(
                f"{what} the best is {best['dual_lr']:g} ({best['network']}), with {best['test_accuracy']:.3f}."
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
    return made.reset_index(names="who takes the skips away")


def reading_of_schedules(table: pd.DataFrame) -> str:
    """What was found, beside a network with the same start that never had a skip."""
    trained_plain = batch.recorded("degradation").table.query("network == 'plain, shifted'")
    lines = []
    for depth in sorted(table["depth"].unique()):
        here = table[table["depth"] == depth]
        means = here.groupby("network")["test_accuracy"].mean().sort_values(ascending=False)
        best = str(means.index[0])
        versus = {
            str(name): beside(here, best, str(name)).replace("level with", "level")
            for name in means.index[1:]
        }
        level = [f"*{name}*" for name, words in versus.items() if words.startswith("level")]
        lines.append(
            f"Depth {depth}: the best is *{best}* ({means.iloc[0]:.3f}), the worst *{means.index[-1]}* "
            f"({means.iloc[-1]:.3f}). Level with the best, within two standard errors of the difference: "
            f"{', '.join(level) or 'none'}."
            + (
                f" A network with the same start that is trained plain comes to {plain:.3f} (above)."
                if pd.notna(plain := mean_of(trained_plain, "test_accuracy", depth=depth))
                else ""
            )
        )
    return "\n".join(f"- {line}" for line in lines)


# Photographs.


def named(runs: pd.DataFrame) -> pd.DataFrame:
    """Return convolutional networks with the names that all tables have."""
    names = {"van": "VAN, all at once", "van, one after the other": "VAN, one after the other"}
    return runs.assign(network=runs["network"].replace(names))


def photographs(runs: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy by network and number of layers."""
    made = cells(named(runs), "network", "depth", "test_accuracy")
    made.columns = [f"{depth} layers" for depth in made.columns]
    return made.reset_index()


def reading_of_photographs(runs: pd.DataFrame) -> str:
    """What was found."""
    lines = []
    for depth in sorted(runs["depth"].unique()):
        here = named(runs[runs["depth"] == depth])
        lines += [
            f"With {depth} layers the *{van}* is {beside(here, van, 'plain')} the network that was trained plain, and "
            f"{beside(here, van, 'residual')} the residual one."
            for van in ("VAN, all at once", "VAN, one after the other")
        ]
    return "\n".join(f"- {line}" for line in lines)
