"""What many runs measured, as one HTML page that needs nothing from outside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from van_tutorial._checks import check_choice
from van_tutorial._files import write_atomic
from van_tutorial.batch.report_page import PageFigure, PageTable, Part, Section, is_number, page_table, render
from van_tutorial.batch.results import StoredRun, one_row_a_record, read_runs, value_key
from van_tutorial.plots import sweeps

REMOVED_AT = "removed at step"
LOWER_IS_BETTER = ("loss", "error", "seconds")
SAMPLE_DEVIATION = (
    "Standard deviations (sd) are those of a sample over the seeds, with n - 1 below the fraction line."
)


@dataclass(frozen=True)
class Measured:
    """What the finished runs of one notebook and one code measured.

    Attributes:
        frame: a row for each run and recorded row; the text in `series` names the row and what varied in words, and
            has the same place among the categories, and so the same look, in every figure.
        label: what the rows are, such as "network".
        metric: the column that is drawn.
        numbered: parameters that varied and are numbers, less the seed.
        constant: the parameters that did not vary.
    """

    frame: pd.DataFrame
    label: str
    metric: str
    numbered: list[str]
    constant: dict[str, Any]

    def settings(self, names: Sequence[str]) -> pd.Series:
        """Return for each row the values of parameters as one text."""
        texts = [setting_text({name: row[name] for name in names}) for _, row in self.frame.iterrows()]
        return pd.Series(texts, index=self.frame.index, dtype=object)

    def in_panels(self, *drawn: str) -> pd.DataFrame:
        """Return the table with a panel for every setting of the numbers that varied and are not drawn."""
        return self.frame.assign(panel=self.settings([name for name in self.numbered if name not in drawn]))

    @property
    def step_sizes(self) -> list[str]:
        """The step sizes that varied."""
        return [name for name in self.numbered if is_step_size(name)]

    @property
    def caption(self) -> str:
        """What a point of a curve is."""
        if (
            self.frame.groupby([*self.numbered, "series"], observed=True, dropna=False)["run"].size().max()
            == 1
        ):
            return "A point is one run: there is no spread to draw."
        return "Mean over the seeds, with one standard deviation either way."


def report(folder: str | Path, metric: str | None = None) -> Path:
    """Write a page on the runs in a folder: what was run, curves by depth, step sizes, spreads, failures.

    The page is one file that asks for nothing outside it. Runs of different notebooks, or of one notebook with
    different code, data or torch, stand apart: no mean is taken over them.

    Args:
        folder: of all runs, or of one notebook's, as for `results`.
        metric: the recorded column that is drawn; None takes in each notebook the first whose name holds
            "accuracy", else the first that is a number.

    Returns:
        The page, report.html in the folder.

    Raises:
        FileNotFoundError: where there is no such folder, or no run in it.
        ValueError: for a metric that no finished run recorded.
        OSError: where the page cannot be written.
    """
    folder = Path(folder)
    runs = read_runs(folder)
    readable = [run for run in runs if run.state != "damaged"]
    groups = [list(group) for _, group in groupby(readable, key=lambda run: (run.notebook, run.code))]
    if metric is not None:
        choices = dict.fromkeys(name for group in groups for name in drawable(group))
        if not choices:
            raise ValueError(
                f"No finished run in {folder} recorded a number: there is no {metric!r} to draw."
            )
        check_choice("metric", metric, choices)
    names = [group[0].notebook for group in groups]
    parts = [
        Part(name if names.count(name) == 1 else f"{name}, code {group[0].code}", sections(group, metric))
        for name, group in zip(names, groups, strict=True)
    ]
    damaged = [[run.key, run.reason or ""] for run in runs if run.state == "damaged"]
    if damaged:
        table = PageTable("Damaged runs", ["run", "what is wrong"], damaged, [False, False])
        parts.append(Part("Folders that cannot be read", [Section("In none of the above", tables=[table])]))
    page = render(f"Report on {folder.resolve().name}", summary(runs, len(names) > len(set(names))), parts)
    path = folder / "report.html"
    write_atomic(path, page.encode())
    return path


def summary(runs: Sequence[StoredRun], has_several_codes: bool) -> list[str]:
    """Return what the page says first."""
    sentences = [f"{count_states(runs)} Figures and means are of the finished ones. {SAMPLE_DEVIATION}"]
    if has_several_codes:
        sentences.append(
            "A notebook ran with different code, data or torch. Such runs stand apart below, under a short hash of "
            "what they were made with, and no mean is taken over them."
        )
    return sentences


def sections(runs: Sequence[StoredRun], metric: str | None) -> list[Section]:
    """Return the sections on runs of one notebook and one code."""
    metrics = drawable(runs)
    chosen = metric or next(
        (name for name in metrics if "accuracy" in name.lower()), metrics[0] if metrics else None
    )
    found = [what_was_run(runs, metrics, chosen)]
    if chosen is None:
        found.append(
            Section("Measurements", ["No finished run recorded a number, so there is nothing to draw."])
        )
    elif chosen not in metrics:
        found.append(Section("Measurements", [f"No finished run of this notebook recorded {chosen!r}."]))
    else:
        measured = measure(runs, chosen)
        found += [depth_curves(measured), step_size_frontier(measured), spreads(measured)]
    return [*found, failures(runs)]


def drawable(runs: Sequence[StoredRun]) -> list[str]:
    """Return the metrics that are numbers in finished runs."""
    table = one_row_a_record([run for run in runs if run.state == "finished"])
    return [
        name for name in table.metrics if is_number(table.frame[name]) and table.frame[name].notna().any()
    ]


def measure(runs: Sequence[StoredRun], metric: str) -> Measured:
    """Return what the finished runs among some of one notebook and one code measured."""
    table = one_row_a_record([run for run in runs if run.state == "finished"])
    frame = table.frame
    varied = [name for name in table.parameters if frame[name].nunique(dropna=False) > 1 and name != "seed"]
    numbered = [name for name in varied if is_number(frame[name])]
    in_words = [name for name in varied if name not in numbered]
    series = [
        ", ".join(filter(None, [row["row"], setting_text({name: row[name] for name in in_words})])) or metric
        for _, row in frame.iterrows()
    ]
    constant = {
        name: frame[name].iloc[0] for name in table.parameters if name not in varied and name != "seed"
    }
    frame["series"] = pd.Categorical(series, categories=list(dict.fromkeys(series)))
    return Measured(frame, runs[0].label or "series", metric, numbered, constant)


def what_was_run(runs: Sequence[StoredRun], metrics: Sequence[str], chosen: str | None) -> Section:
    """Return the section on parameters, versions and dates."""
    values = values_of_parameters(runs)
    varied = {name: texts for name, texts in values.items() if len(texts) > 1}
    fixed = [f"{name} {texts[0]}" for name, texts in values.items() if len(texts) == 1]
    versions: dict[str, set[str]] = {}
    for run in runs:
        for name, version in {"Python": run.config.get("python"), **run.config.get("versions", {})}.items():
            versions.setdefault(name, set()).add(str(version))
    began = sorted(run.config["started"] for run in runs)
    identity = runs[0].config["identity"]
    others = [name for name in metrics if name != chosen]
    rows = [
        ["runs", count_states(runs)],
        *([f"{name} (varied)", ", ".join(texts)] for name, texts in varied.items()),
        ["fixed", ", ".join(fixed) or "–"],
        ["metric drawn", chosen or "–"],
        ["recorded as well", ", ".join(others) or "–"],
        ["began (UTC)", f"from {began[0]:%Y-%m-%d %H:%M} to {began[-1]:%Y-%m-%d %H:%M}"],
        ["versions", ", ".join(f"{name} {' and '.join(sorted(found))}" for name, found in versions.items())],
        ["made with", ", ".join(f"{name} {str(value)[:8]}" for name, value in identity.items() if value)],
    ]
    table = PageTable(
        "Parameters, versions and dates; hashes by their first eight digits", [], rows, [False] * 2
    )
    return Section("What was run", tables=[table])


def depth_curves(measured: Measured) -> Section:
    """Return the section on the metric against depth."""
    title = "Depth"
    if "depth" not in measured.numbered:
        constant = measured.constant.get("depth")
        reason = (
            "The notebook has no parameter depth."
            if constant is None
            else f"depth did not vary: it was {constant} in every finished run."
        )
        return Section(title, [reason])
    table = measured.in_panels("depth")
    return Section(
        title,
        figures=[
            PageFigure(
                sweeps.metric_by_depth(table, measured.metric, measured.caption),
                "Look for lines that part as the networks get deeper, by more than their bars.",
            )
        ],
    )


def step_size_frontier(measured: Measured) -> Section:
    """Return the section on what it costs to take the skips away sooner, or on the step sizes alone."""
    title = "Step sizes"
    if not measured.step_sizes:
        constant = {name: value for name, value in measured.constant.items() if is_step_size(name)}
        reason = (
            f"No step size varied: {setting_text(constant)}."
            if constant
            else "The notebook has no step size among its parameters."
        )
        return Section(title, [reason])
    table = frontier(measured)
    if table.empty:
        return Section(
            title,
            [
                "No finished run recorded the step at which its skips had gone, so there is no frontier; "
                f"here is {measured.metric} against what varied."
            ],
            [
                PageFigure(
                    sweeps.metric_by_step_size(
                        measured.in_panels(name), measured.metric, name, measured.caption
                    ),
                    "Look for the step size from which on the lines fall off, and whether it is the same for all.",
                )
                for name in measured.step_sizes
            ],
        )
    is_higher = is_higher_better(measured.metric)
    sentences = [
        f"{'Higher' if is_higher else 'Lower'} is better. A setting is on the frontier where no other is both sooner "
        "and better, or level in one and ahead in the other; means are compared, whatever their spread. "
        "A setting some of whose runs kept skips, or measured nothing, is not compared."
    ]
    table = table.assign(is_frontier=table["verdict"] == "yes")
    complete = table[table["verdict"].isin(["yes", "no"])]
    figures = (
        []
        if complete.empty
        else [
            PageFigure(
                sweeps.step_size_frontier(complete, measured.metric),
                f"{'Up' if is_higher else 'Down'} and to the left is better. Where the line is level, haste costs "
                "nothing. The numbers are those of the settings in the table.",
            )
        ]
    )
    columns = {
        "setting": "setting",
        "panel": "at",
        "series": measured.label,
        "runs": "runs",
        "step": REMOVED_AT,
        "step_sd": "sd of that",
        "mean": f"mean {measured.metric}",
        "sd": "sd",
        "verdict": "on the frontier",
    }
    if table["panel"].nunique() == 1:
        del columns["panel"]
    listed = page_table("Settings of the step sizes", table[list(columns)].rename(columns=columns))
    return Section(title, sentences, figures, [listed])


def frontier(measured: Measured) -> pd.DataFrame:
    """Return a row for each series and setting of the step sizes, with a verdict; none where no skip is known to go."""
    table = measured.in_panels(*measured.step_sizes).assign(setting=measured.settings(measured.step_sizes))
    if REMOVED_AT not in table or not is_number(table[REMOVED_AT]):
        return pd.DataFrame()
    points = (
        table.groupby(["panel", "series", "setting"], sort=False, observed=True)
        .agg(
            runs=("run", "size"),
            gone=(REMOVED_AT, "count"),
            step=(REMOVED_AT, "mean"),
            step_sd=(REMOVED_AT, "std"),
            known=(measured.metric, "count"),
            mean=(measured.metric, "mean"),
            sd=(measured.metric, "std"),
        )
        .reset_index()
    )
    points = points[points.groupby("series", observed=True)["gone"].transform("sum") > 0].reset_index(
        drop=True
    )
    numbers = points["setting"].map(
        {setting: str(n) for n, setting in enumerate(points["setting"].unique(), 1)}
    )
    points = points.assign(label=numbers, setting=numbers + ": " + points["setting"])
    points["verdict"] = [
        f"skips left in {runs - gone} of {runs}"
        if gone < runs
        else f"no number in {runs - known} of {runs}"
        if known < runs
        else "yes"  # unless another setting beats it
        for runs, gone, known in points[["runs", "gone", "known"]].itertuples(index=False)
    ]
    sign = 1.0 if is_higher_better(measured.metric) else -1.0
    for _, rivals in points[points["verdict"] == "yes"].groupby(["panel", "series"], observed=True):
        is_beaten = beaten(rivals["step"].to_numpy(dtype=float), sign * rivals["mean"].to_numpy(dtype=float))
        points.loc[rivals.index[is_beaten], "verdict"] = "no"
    return points


def beaten(steps: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return for each pair of step and score whether another is sooner and better, or level in one and ahead in one."""
    lead = steps[:, None] - steps
    gain = scores - scores[:, None]
    return np.any((lead >= 0) & (gain >= 0) & ((lead > 0) | (gain > 0)), axis=1)


def spreads(measured: Measured) -> Section:
    """Return the section on how far the runs of one setting lie apart."""
    table = measured.frame.assign(setting=measured.settings(measured.numbered).replace("", "all runs"))
    groups = table.groupby(["setting", "series"], sort=False, observed=True)[measured.metric]
    spread = groups.agg(["count", "mean", "std", "min", "max"]).reset_index()
    sentences = ["A setting is one choice of all parameters that varied, the seed apart."]
    if spread["count"].max() <= 1:
        sentences.append(
            "Every setting ran with one seed: there is no spread to tell, and what looks like the work of a setting "
            "may be that of a seed."
        )
    elif spread["count"].min() <= 1:
        sentences.append("Where n is 1 there is no spread to tell.")
    num_unknown = int(table[measured.metric].isna().sum())
    if num_unknown:
        sentences.append(
            f"{num_unknown} of {len(table)} recorded rows have no number there. They are not in n, so that the mean of "
            "their setting is one of the others only."
        )
    shown = spread.set_axis(["setting", measured.label, "n", "mean", "sd", "smallest", "largest"], axis=1)
    seeds = table["seed"].map(str) if "seed" in table else "–"
    figure = sweeps.every_run(table.assign(seed=seeds), measured.metric)
    return Section(
        "Spread",
        sentences,
        [PageFigure(figure, "Settings differ where their points lie apart, not where only their means do.")],
        [page_table(f"{measured.metric} by setting", shown)],
    )


def failures(runs: Sequence[StoredRun]) -> Section:
    """Return the section on the runs that failed."""
    failed = [run for run in runs if run.state == "failed"]
    if not failed:
        return Section("Failures", ["No run failed."])
    values = values_of_parameters(runs)
    varied = [name for name, texts in values.items() if len(texts) > 1] or list(values)
    rows = [
        [
            run.key,
            setting_text({name: run.parameters[name] for name in varied if name in run.parameters}),
            run.reason or "",
        ]
        for run in failed
    ]
    table = PageTable("Runs that failed", ["run", "parameters", "reason"], rows, [False] * 3)
    return Section(
        "Failures",
        [f"{len(failed)} of {len(runs)} runs failed. Failed runs are in no figure."],
        tables=[table],
    )


def values_of_parameters(runs: Sequence[StoredRun]) -> dict[str, list[str]]:
    """Return for each parameter the texts of the values that it had, numbers in their order."""
    values: dict[str, set[Any]] = {}
    for run in runs:
        for name, value in run.parameters.items():
            values.setdefault(name, set()).add(value)
    return {
        name: [value_text(value) for value in sorted(found, key=value_key)] for name, found in values.items()
    }


def count_states(runs: Sequence[StoredRun]) -> str:
    """Return how many runs there are in each state, as a sentence."""
    states = [run.state for run in runs]
    found = [
        f"{states.count(state)} {state}" for state in ("finished", "failed", "damaged") if state in states
    ]
    return f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}: {', '.join(found)}."


def setting_text(values: Mapping[str, Any]) -> str:
    """Return values of parameters as one text."""
    return ", ".join(f"{name} {value_text(value)}" for name, value in values.items())


def value_text(value: Any) -> str:
    """Return a parameter's value as a text."""
    if pd.isna(value):
        return "none"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def is_step_size(name: str) -> bool:
    """Whether a parameter is a step size, by its name."""
    return name == "lr" or name.endswith("_lr")


def is_higher_better(metric: str) -> bool:
    """Whether more of a metric is better, by its name."""
    return not any(word in metric.lower() for word in LOWER_IS_BETTER)
