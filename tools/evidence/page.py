"""The page docs/evidence.md and its figures, made from the recordings by the template beside this file."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tools.evidence import parts, picture, sections
from tools.labels import METRICS
from van_tutorial._course import course_path
from van_tutorial._files import write_atomic


class Page:
    """The page that a folder of recordings gives.

    Args:
        results: the folder.

    Attributes:
        figures: of each recording that the page shows, once `text` was made.
    """

    def __init__(self, results: Path) -> None:
        self.results = results
        self.shown: list[str] = []
        self.figures: dict[str, go.Figure] = {}

    @cached_property
    def text(self) -> str:
        """The page in Markdown."""
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        for module in (parts, sections):
            environment.globals.update({name: it for name, it in vars(module).items() if callable(it)})
        own = {"recording": self.recording, "figure": self.figure, "others": self.others}
        environment.globals.update(own, NETWORKS=sections.NETWORKS)
        environment.filters |= {"number": number, "joined": joined}
        return environment.get_template("evidence.md.jinja").render()

    def recording(self, name: str, caller: Callable[[pd.DataFrame], str]) -> str:
        """Return what is shown of a recording: its question, what the page makes of its runs, and how it was made."""
        self.shown.append(name)
        file = self.results / f"{name}.json"
        if not file.is_file():
            return "Not measured.\n"
        content, runs = json.loads(file.read_text(encoding="utf-8")), table_in(file)
        return (
            f"{content['question']}\n\n{joined(caller(runs))}\n"
            f"Made by `{content['command']}`; {content['hours']:g} hours on one core. "
            f"{parts.origin(runs, content['hardware'], content['versions'])}.\n"
            f"Recorded in `assets/results/{name}.json`.\n"
        )

    def figure(self, drawn: go.Figure) -> str:
        """Keep the figure of the recording that is being shown, and return its place in the page."""
        name = self.shown[-1]
        self.figures[name] = drawn
        return f"![{drawn.layout.title.text.partition('<br>')[0]}](evidence/{name}.svg)"

    def others(self) -> str:
        """Return the table of all recordings that were not shown so far."""
        files = [file for file in sorted(self.results.glob("*.json")) if file.stem not in self.shown]
        rows = [
            {
                "file": f"`{file.name}`",
                "question": content["question"].partition("?")[0] + "?",
                "made by": f"`{content['command']}`",
                "hours": f"{content['hours']:g}",
            }
            for file in files
            for content in [json.loads(file.read_text(encoding="utf-8"))]
        ]
        return parts.table(pd.DataFrame(rows)) if rows else "Not measured."


def number(value: float, form: str = ".3f") -> str:
    """Return a number as a text."""
    return format(value, form)


def joined(text: str) -> str:
    """Return a text with indented lines put on those before them, and one line's end behind it."""
    return re.sub(r"\n? {2,}(?!\|)", " ", text).strip() + "\n"


def write_page(results: Path, docs: Path) -> Path:
    """Write evidence.md and its figures from the recordings that are there, and return its path.

    Args:
        results: folder of the recordings.
        docs: folder of the page.
    """
    page = Page(results)
    write_atomic(docs / "evidence.md", page.text.encode())
    stale = {name: drawn for name, drawn in page.figures.items() if stamp_in(docs, name) != stamp_of(drawn)}
    for name, image in picture.draw(stale).items() if stale else ():
        path = image_of(docs, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, f"{image}\n<!-- {stamp_of(stale[name])} -->\n".encode())
    return docs / "evidence.md"


def check_page() -> list[str]:
    """Return what of the page and its figures is not what the recordings give, a sentence each."""
    docs, page = course_path("docs"), Page(course_path("assets", "results"))
    is_same = page.text == (docs / "evidence.md").read_text(encoding="utf-8")
    problems = [] if is_same else ["docs/evidence.md does not show the recordings"]
    problems += [f"There is no recording of {name}" for name in page.shown if name not in page.figures]
    problems += [
        f"docs/evidence/{name}.svg is not drawn from the recording"
        for name, drawn in page.figures.items()
        if stamp_in(docs, name) != stamp_of(drawn)
    ]
    return [f"{problem}: python -m tools.evidence" for problem in problems]


def table_in(file: Path) -> pd.DataFrame:
    """Return the runs of a recording, with every measure as a column, also one that none has."""
    runs = pd.DataFrame(json.loads(file.read_text(encoding="utf-8"))["runs"])
    return runs.reindex(columns=[*runs, *(name for name in METRICS if name not in runs)])


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
