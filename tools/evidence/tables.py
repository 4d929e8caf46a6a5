"""What is shown of each recording as a table, and what it says in sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

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


def sides(difference: float) -> str:
    """Return a difference of accuracies in words."""
    points = abs(100 * difference)
    return "level with" if points < 0.05 else f"{points:.1f} points {'above' if difference > 0 else 'below'}"


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
        f"shift the best there is {unshifted['validation_accuracy']:.3f} ({unshifted['network']}), and "
        f"{together['validation_accuracy']:.3f} where in addition all multipliers begin together. The order counts: at "
        f"depth 40 shifted networks end at {one:.3f} where the input side goes first, and at {other:.3f} the other way "
        "round."
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


def reading_of_degradation(table: pd.DataFrame) -> str:
    """What was found, and how it stands to what was aimed at."""
    left = int(table.loc[table["network"].str.startswith("VAN"), "skips_left"].max())
    lines = [
        "In none of the VANs a skip is left at the end."
        if left == 0
        else f"At most {left} skips are left in a VAN."
    ]
    for depth in sorted(table["depth"].unique()):
        means = table[table["depth"] == depth].groupby("network")["test_accuracy"].mean()
        van = means["VAN, shifted"]
        others = {
            "residual": "the residual network",
            "plain": "the plain one",
            "plain, shifted": "the plain one with the same start",
            "VAN": "the VAN without the shift",
        }
        parts = [
            f"{sides(van - means[name])} {words} ({means[name]:.3f})"
            for name, words in others.items()
            if name in means
        ]
        lines.append(f"Depth {depth}: the shifted VAN ends at {van:.3f}, {', '.join(parts)}.")
    return "\n".join(f"- {line}" for line in lines)


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
    means = table.groupby("network")["test_accuracy"].mean()
    parts = [
        f"*{name}* is {sides(means[name] - means['residual'])} the residual network"
        for name in means.index
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
    means = table.groupby(["network", "dual_lr"], as_index=False)[["test_accuracy", "skips_left"]].agg("mean")
    best = means.sort_values("test_accuracy").iloc[-1]
    if alike.empty:
        return "In no run with multipliers all alike half of the skips were at 0."
    return (
        f"Half of the skips are at 0 after {ratios.min():.2f} to {ratios.max():.2f} times the predicted number of "
        f"steps (multipliers all alike, step sizes {ratios.index.min():g} to {ratios.index.max():g}). Accuracy is "
        f"best, {best['test_accuracy']:.3f}, at {best['dual_lr']:g} ({best['network']}; skips left at the end, in the "
        f"mean: {best['skips_left']:.1f})."
    )


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
    """What was found."""
    lines = []
    for depth in sorted(table["depth"].unique()):
        spread = table[table["depth"] == depth].groupby("network")["test_accuracy"].agg(["mean", "std"])
        spread = spread.sort_values("mean", ascending=False).fillna(0.0)
        best, worst = spread.iloc[0], spread.iloc[-1]
        alike = spread[best["mean"] - spread["mean"] <= best["std"] + spread["std"]].index[1:]
        rest = ", ".join(f"*{name}*" for name in alike) or "none"
        lines.append(
            f"At depth {depth} the best is *{spread.index[0]}* ({best['mean']:.3f}), the worst *{spread.index[-1]}* "
            f"({worst['mean']:.3f}). No farther from the best than the two standard deviations together: {rest}."
        )
    return " ".join(lines)


# Photographs.


def named(runs: pd.DataFrame) -> pd.DataFrame:
    """Return convolutional networks with the names that all tables have."""
    return runs.assign(network=runs["network"].replace({"van": "VAN"}))


def photographs(runs: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy by network and number of layers."""
    made = cells(named(runs), "network", "depth", "test_accuracy")
    made.columns = [f"{depth} layers" for depth in made.columns]
    return made.reset_index()


def reading_of_photographs(runs: pd.DataFrame) -> str:
    """What was found."""
    parts = []
    for depth in sorted(runs["depth"].unique()):
        plain, residual, van = (
            mean_of(runs, "test_accuracy", network=name, depth=depth) for name in ("plain", "residual", "van")
        )
        parts.append(
            f"With {depth} layers the VAN is {sides(van - plain)} the network that was trained plain, and "
            f"{sides(van - residual)} the residual one."
        )
    return " ".join(parts)
