"""The page docs/evidence.md: what its markers hold, and its figures, made from the recordings."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go

from tools.evidence import by_depth, controls, picture, removal
from tools.labels import METRICS, named
from van_tutorial._course import course_path
from van_tutorial._files import write_atomic


class Section(NamedTuple):
    """What is shown of a recording, each part made from its table of runs."""

    reading: Callable[[pd.DataFrame], str]
    table: Callable[[pd.DataFrame], pd.DataFrame]
    figure: Callable[[pd.DataFrame], go.Figure]


SECTIONS = {
    "depth_trials": Section(by_depth.reading_of_trials, by_depth.table_of_trials, by_depth.figure_of_trials),
    "depth_step_sizes": Section(
        by_depth.reading_of_step_sizes, by_depth.table_of_step_sizes, by_depth.figure_of_step_sizes
    ),
    "degradation": Section(
        by_depth.reading_of_degradation, by_depth.table_of_accuracies, by_depth.figure_of_accuracies
    ),
    "start": Section(controls.reading_of_start, controls.table_of_start, controls.figure_of_start),
    "shallow": Section(controls.reading_of_shallow, controls.table_of_shallow, controls.figure_of_shallow),
    "longer": Section(by_depth.reading_of_longer, by_depth.table_of_accuracies, by_depth.figure_of_longer),
    "degradation_others": Section(
        by_depth.reading_of_others, by_depth.table_of_accuracies, by_depth.figure_of_accuracies
    ),
    "degradation_mnist": Section(
        by_depth.reading_of_mnist, by_depth.table_of_mnist, by_depth.figure_of_mnist
    ),
    "frontier": Section(removal.reading_of_frontier, removal.table_of_frontier, removal.figure_of_frontier),
    "clock": Section(controls.reading_of_clock, controls.table_of_clock, controls.figure_of_clock),
    "schedules": Section(
        by_depth.reading_of_schedules, by_depth.table_of_schedules, by_depth.figure_of_schedules
    ),
    "phase_out_gradients": Section(
        removal.reading_of_gradients, removal.table_of_gradients, removal.figure_of_gradients
    ),
    "cifar10": Section(
        by_depth.reading_of_photographs, by_depth.table_of_photographs, by_depth.figure_of_photographs
    ),
    "convolutions": Section(
        controls.reading_of_convolutions, controls.table_of_convolutions, controls.figure_of_convolutions
    ),
}


def write_page(results: Path, docs: Path) -> Path:
    """Write evidence.md and its figures from the recordings that are there, and return its path.

    Args:
        results: folder of the recordings.
        docs: folder of the page.
    """
    figures = drawings(results)
    stale = {name: figure for name, figure in figures.items() if stamp_in(docs, name) != stamp_of(figure)}
    for name, image in picture.draw(stale).items() if stale else ():
        path = image_of(docs, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, f"{image}\n<!-- {stamp_of(figures[name])} -->\n".encode())
    text = course_path("docs", "evidence.md").read_text(encoding="utf-8")
    write_atomic(docs / "evidence.md", fill(text, blocks(results, figures)).encode())
    return docs / "evidence.md"


def check_page() -> list[str]:
    """Return what of the page and its figures is not what the recordings give, a sentence each."""
    results, docs = course_path("assets", "results"), course_path("docs")
    missing = [name for name in SECTIONS if not (results / f"{name}.json").is_file()]
    if missing:
        return [f"There is no recording of {name}: python -m tools.record {name}" for name in missing]
    figures, text = drawings(results), (docs / "evidence.md").read_text(encoding="utf-8")
    problems = (
        []
        if fill(text, blocks(results, figures)) == text
        else ["docs/evidence.md does not show the recordings"]
    )
    problems += [
        f"docs/evidence/{name}.svg is not drawn from the recording"
        for name, figure in figures.items()
        if stamp_in(docs, name) != stamp_of(figure)
    ]
    return [f"{problem}: python -m tools.evidence" for problem in problems]


def fill(text: str, made: Mapping[str, Callable[[], str]]) -> str:
    """Return a page with what was made between its markers, <!-- NAME --> and <!-- end -->.

    Raises:
        ValueError: where the page has no such place.
    """
    for name, block in made.items():
        before, begin, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise ValueError(
                f"The page has no place between <!-- {name} --> and <!-- end -->: add these lines."
            )
        text = before + begin + block() + end + after
    return text


def blocks(results: Path, figures: Mapping[str, go.Figure]) -> dict[str, Callable[[], str]]:
    """Return what makes each block of the page."""
    made: dict[str, Callable[[], str]] = dict.fromkeys(SECTIONS, lambda: "Not measured.\n")
    made |= {
        name: partial(section, name, results / f"{name}.json", figure) for name, figure in figures.items()
    }
    return {"controls": lambda: controls.findings() + "\n", **made, "others": lambda: others(results)}


def section(name: str, file: Path, figure: go.Figure) -> str:
    """Return what is shown of a recording."""
    content, runs, shown = json.loads(file.read_text(encoding="utf-8")), table_in(file), SECTIONS[name]
    alt = figure.layout.title.text.partition("<br>")[0]
    made_with = origin(runs, content["hardware"], content["versions"])
    return f"""\
{content["question"]}

{shown.reading(runs)}

{markdown(shown.table(runs))}

![{alt}](evidence/{name}.svg)

Made by `{content["command"]}`; {content["hours"]:g} hours on one core. {made_with}.
Recorded in `assets/results/{name}.json`.
"""


def origin(runs: pd.DataFrame, hardware: str, versions: Mapping[str, str]) -> str:
    """Return with which seeds, and on what, a recording was made."""
    seeds = ", ".join(str(seed) for seed in sorted(runs["seed"].unique()))
    return f"Seeds {seeds}; {hardware}; {', '.join(f'{name} {number}' for name, number in versions.items())}"


def others(results: Path) -> str:
    """Return the table of all other recordings."""
    contents = {file: json.loads(file.read_text(encoding="utf-8")) for file in sorted(results.glob("*.json"))}
    rows = [
        {
            "file": f"`{file.name}`",
            "question": content["question"].partition("?")[0] + "?",
            "made by": f"`{content['command']}`",
            "hours": f"{content['hours']:g}",
        }
        for file, content in contents.items()
        if file.stem not in SECTIONS
    ]
    return markdown(pd.DataFrame(rows)) + "\n" if rows else "Not measured.\n"


def table_in(file: Path) -> pd.DataFrame:
    """Return the runs of a recording in the page's words, with every measure as a column, also one that none has."""
    runs = named(pd.DataFrame(json.loads(file.read_text(encoding="utf-8"))["runs"]))
    return runs.reindex(columns=[*runs, *(name for name in METRICS if name not in runs)])


def markdown(table: pd.DataFrame) -> str:
    """Return a table of texts in Markdown."""
    rows = [table.columns.tolist(), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


# Figures.


def drawings(results: Path) -> dict[str, go.Figure]:
    """Return the figure of each recording that is there."""
    files = {name: results / f"{name}.json" for name in SECTIONS}
    return {name: SECTIONS[name].figure(table_in(file)) for name, file in files.items() if file.is_file()}


def image_of(docs: Path, name: str) -> Path:
    """Return where a figure is."""
    return docs / "evidence" / f"{name}.svg"


def stamp_in(docs: Path, name: str) -> str | None:
    """Return the stamp at the end of a figure's file; None where there is none."""
    path = image_of(docs, name)
    found = re.search(r"<!-- (\w+) -->\s*\Z", path.read_text(encoding="utf-8")) if path.is_file() else None
    return found[1] if found else None


def stamp_of(figure: go.Figure) -> str:
    """Return a hash of what a figure shows, less the template, which is plotly's own."""
    content = figure.to_plotly_json() | {"width": picture.WIDTH}
    content["layout"] = {name: value for name, value in content["layout"].items() if name != "template"}
    return hashlib.sha256(json.dumps(rounded(content), sort_keys=True).encode()).hexdigest()[:16]


def rounded(value: Any) -> Any:
    """Return a part of a figure as JSON has it, with six digits of each number, which no processor changes."""
    if isinstance(value, Mapping):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, Real):
        return f"{float(value):.6g}"
    if isinstance(value, str) or value is None:
        return value
    return [rounded(part) for part in value]
