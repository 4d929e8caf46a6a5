"""Measure recorded results of the course again.

    python -m tools.record NAME …     these, such as degradation_mini, into assets/results
    python -m tools.record --quick    a small part of each, in minutes, into runs/evidence-quick, with its page
    python -m tools.record            everything (hours; needs the full data sets: `van-tutorial data verify`)

tools/recordings.yaml has every name with its question. What was measured is kept under runs/: it is not measured again
where the call was stopped, and a file is written when all of its runs are there. Remove runs/ to measure anew.
"""

import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml

from tools import labels
from tools.evidence.page import write_page
from tools.labels import METRICS
from tools.recordings import MEASURED, Lab
from tools.recordings.lab import Measure, Row, points
from van_tutorial import batch, cli
from van_tutorial._checks import check_choice
from van_tutorial._course import course_path
from van_tutorial._files import write_atomic
from van_tutorial.batch.sweep_file import read_settings

RUNS = Path("runs")
RESULTS = course_path("assets", "results")
SMALL = {"data": "fashion-mnist-mini", "num_epochs": 2}


@dataclass(frozen=True)
class Entry:
    """What recordings.yaml says of a recorded result.

    Attributes:
        name: of the file in assets/results.
        question: what is measured, with all that does not vary.
        sweeps: files of assets/sweeps that make the runs; none where a function of tools/recordings does.
        columns: parameters that a row keeps, beside the seed.
        measures: what a row keeps of the outcome; nothing for what all runs have.
        label: of the networks, a function of tools/labels.py.
    """

    name: str
    question: str
    sweeps: Sequence[str] = ()
    columns: Sequence[str] = ()
    measures: Sequence[str] = ()
    label: str = ""

    @property
    def command(self) -> str:
        """What makes it again."""
        return f"python -m tools.record {self.name}"

    def row(self, run: dict[Any, Any]) -> dict[str, Any]:
        """Return what is kept of a run of a sweep; of what is chosen with not the accuracy on the test images."""
        row = {"network": getattr(labels, self.label)(run)} if self.label else {}
        row |= {name: run.get(name) for name in (*self.columns, "seed")}
        row |= {name: run.get(METRICS.get(name, name)) for name in self.measures or METRICS}
        row = {name: shortened(value) for name, value in row.items() if not is_missing(value)}
        if "validation_accuracy" in row and not self.measures:
            del row["test_accuracy"]
        return row


RECORDED = {
    name: Entry(name, **said)
    for name, said in yaml.safe_load(
        course_path("tools", "recordings.yaml").read_text(encoding="utf-8")
    ).items()
}


class Journal:
    """The file of a recording that goes on: timed, and written whole after each run.

    Args:
        recorded: what is measured.
        folder: where the file is written; what it holds of the same question goes on.
    """

    def __init__(self, recorded: Entry, folder: Path) -> None:
        torch.set_num_threads(1)
        self.recorded, self.path = recorded, folder / f"{recorded.name}.json"
        self.started, self.hours_before = time.monotonic(), 0.0
        self.rows: list[dict[str, Any]] = []
        there = json.loads(self.path.read_text(encoding="utf-8")) if self.path.is_file() else {}
        if there.get("question") == recorded.question:
            self.rows, self.hours_before = there["runs"], there["hours"]

    def write(self, hours: float | None = None) -> None:
        """Write the file, a row a line; `hours` is for runs that were timed elsewhere."""
        if hours is None:
            hours = self.hours_before + (time.monotonic() - self.started) / 3600
        head = {
            "question": self.recorded.question,
            "command": self.recorded.command,
            "hardware": f"{platform.machine()} CPU, {torch.get_num_threads()} thread",
            "versions": {
                "python": platform.python_version(),
                **{package: version(package) for package in ("torch", "numpy")},
            },
            "hours": round(hours, 2),
        }
        lines = ",\n".join(f"  {json.dumps(row)}" for row in self.rows)
        text = json.dumps(head, indent=1).removesuffix("\n}") + f',\n "runs": [\n{lines}\n ]\n}}\n'
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.path, text.encode())


def record(name: str, folder: Path = RESULTS, is_quick: bool = False) -> Path:
    """Measure a result and write its file; of runs that are there already nothing is made again.

    Args:
        name: of the result.
        folder: where the file goes.
        is_quick: measure a small part.

    Returns:
        The file.

    Raises:
        RuntimeError: where runs could not be brought to an end; the same call tries them again.
    """
    recorded = RECORDED[name]
    journal = Journal(recorded, RUNS / ("recordings-quick" if is_quick else "recordings"))
    if recorded.sweeps:
        files = [course_path("assets", "sweeps", f"{sweep}.yaml") for sweep in recorded.sweeps]
        if is_quick:
            files = [reduced(file, RUNS / "evidence-quick" / file.name) for file in files]
        sweep_all(journal, files)
    else:
        grids, measure = MEASURED[name]
        measure_all(journal, points(grids, is_quick), partial(measure, Lab(is_quick)))
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / f"{name}.json", journal.path.read_bytes())
    return folder / f"{name}.json"


def measure_all(journal: Journal, chosen: Iterable[Row], measure: Measure) -> None:
    """Measure each of some points of a recording's grid that its journal does not hold."""
    for point in chosen:
        if not any(point.items() <= row.items() for row in journal.rows):
            made = measure(**point)
            journal.rows += [point | row for row in ([made] if isinstance(made, dict) else made)]
            journal.write()
            print({name: value for name, value in journal.rows[-1].items() if name != "run"}, flush=True)


def sweep_all(journal: Journal, files: Iterable[Path]) -> None:
    """Make the runs of sweep files that are missing, and keep a row of each."""
    frame = pd.concat([swept(file) for file in files], ignore_index=True)
    journal.rows = [journal.recorded.row(run) for run in frame.to_dict(orient="records")]
    journal.write(hours=float(frame["seconds"].sum()) / 3600)


def swept(file: Path) -> pd.DataFrame:
    """Return the runs of a sweep file, made where they are missing, a row each."""
    made = batch.sweep(file, runs=RUNS, progress=sys.stderr, confirm=lambda question: True)
    if made.not_done:
        raise RuntimeError(
            f"{len(made.not_done)} runs of {file} have no result; the first: {made.not_done[0]}."
        )
    folders = [*made.finished, *made.there, *(run.folder for run in made.failed if run.folder is not None)]
    kept = {
        folder.name.removesuffix("-failed"): folder for folder in folders
    }  # what diverged got somewhere as well
    table = batch.results(made.folder)
    table = table[table["run"].isin(kept)]
    steps = table["run"].map(lambda run: zero_steps(kept[run]))
    return table.assign(zero_steps=steps, median_zero_step=steps.map(median_of))


def zero_steps(folder: Path) -> list[int | None] | None:
    """Return the step at which each layer's skip weight was 0 for the first time; None without skips."""
    file = folder / "removal.csv"
    if not file.is_file():
        return None
    return [None if math.isnan(step) else int(step) for step in pd.read_csv(file)["first_zero_step"]]


def median_of(steps: list[int | None] | None) -> float | None:
    """Return the step at which half of a network's skips had been at 0 once; None where half of them never were."""
    median = statistics.median(math.inf if step is None else step for step in steps or [None])
    return float(median) if math.isfinite(median) else None


def is_missing(value: Any) -> bool:
    """Whether there is no value."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def shortened(value: Any) -> Any:
    """Return a value as JSON has it, a fraction with four digits at most."""
    if isinstance(value, float):
        return float(f"{value:.4g}") if abs(value) < 1e-2 else round(value, 4)
    return value


def reduced(file: Path, to: Path) -> Path:
    """Write a sweep file with the ends of each list, two epochs and the embedded data, and return it."""
    sections = read_settings(file)
    sections["fixed"] = sections.get("fixed", {}) | SMALL
    if "grid" in sections:
        sections["grid"] = {name: [values[0], *values[1:][-1:]] for name, values in sections["grid"].items()}
    sections["seeds"] = sections["seeds"][:1] if isinstance(sections["seeds"], list) else 1
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(yaml.safe_dump(sections), encoding="utf-8")
    return to


def main(names: list[str], *, quick: bool = False) -> None:
    """Measure, and make the page of a small part.

    Args:
        names: of tools/recordings.yaml (default: all)
        quick: a small part of each, into runs/evidence-quick
    """
    for name in names:
        check_choice("a recording", name, RECORDED)
    folder = RUNS / "evidence-quick" if quick else RESULTS
    for name in names or RECORDED:
        print(f"{name}: {RECORDED[name].question}", flush=True)
        print(record(name, folder, quick))
    if quick:
        print(write_page(folder, folder))


if __name__ == "__main__":
    sys.exit(cli.call(main))
