"""How a claim is measured: by sweeps of the library, or by a function of its own, and condensed into one small file."""

import math
import statistics
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from tools.evidence.claims import Claim
from tools.results import Recording
from van_tutorial import batch
from van_tutorial._course import course_path
from van_tutorial.batch.sweep_file import read_settings

RUNS = Path("runs")
METRICS = {
    "train accuracy": "train_accuracy",
    "validation accuracy": "validation_accuracy",
    "test accuracy": "test_accuracy",
    "skips left": "skips_left",
    "removed at step": "removed_at_step",
    "removed by": "removed_by",
    "layers capped": "num_capped",
    "steps": "num_steps",
}
SMALL = {"data": "fashion-mnist-mini", "num_epochs": 2}


def record(claim: Claim, folder: Path, is_quick: bool = False) -> Path:
    """Measure a claim and write its file; of runs that are there already nothing is made again.

    Args:
        claim: what is measured.
        folder: where the file goes.
        is_quick: measure on a small part.

    Returns:
        The file.

    Raises:
        RuntimeError: where runs could not be brought to an end; the same call tries them again.
    """
    recording = Recording(claim.name, claim.question, claim.command, folder)
    folder.mkdir(parents=True, exist_ok=True)
    if claim.measure is not None:
        return recording.write(claim.measure(recording, is_quick))
    frame = pd.concat([swept(name, is_quick) for name in claim.sweeps], ignore_index=True)
    rows = [row_of(run, claim) for run in frame.to_dict(orient="records")]
    return recording.write(rows, hours=float(frame["seconds"].sum()) / 3600)


def swept(name: str, is_quick: bool) -> pd.DataFrame:
    """Return the runs of a sweep file of assets/sweeps/evidence, made where they are missing, a row each."""
    file = course_path("assets", "sweeps", "evidence", f"{name}.yaml")
    if is_quick:
        file = reduced(file, RUNS / "evidence-quick" / f"{name}.yaml")
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
    if not steps:
        return None
    median = statistics.median(math.inf if step is None else step for step in steps)
    return float(median) if math.isfinite(median) else None


def row_of(run: dict[Any, Any], claim: Claim) -> dict[str, Any]:
    """Return what is kept of a run: what it was made with, as far as it differs within the claim, and the outcome."""
    kept: dict[str, Any] = {"network": claim.label(run)} if claim.label else {}
    kept |= {name: run.get(name) for name in (*claim.columns, "seed")}
    kept |= {short: run.get(name) for name, short in METRICS.items()}
    kept |= {name: run.get(name) for name in claim.measures}
    if not is_missing(kept["validation_accuracy"]):
        del kept["test_accuracy"]  # what is chosen with does not look at it
    kept["median_zero_step"] = run.get("median_zero_step")
    kept["seconds"] = run["seconds"]
    return {name: plain(value) for name, value in kept.items() if not is_missing(value)}


def is_missing(value: Any) -> bool:
    """Whether there is no value."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def plain(value: Any) -> Any:
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
