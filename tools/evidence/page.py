"""The page docs/evidence.md with its figures, made from the recordings."""

import hashlib
import inspect
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from tools.evidence import figures, gradients, picture, tables
from tools.evidence.claims import CLAIMS, Claim
from tools.evidence.record import METRICS
from van_tutorial._course import course_path
from van_tutorial._files import write_atomic
from van_tutorial.constraints import predictions
from van_tutorial.plots import style, sweeps

FIGURES = "evidence"
DRAWN_BY = (
    figures,
    gradients,
    tables,
    predictions,
    sweeps,
    style,
)  # a change of these asks for the figures to be drawn again
MEASURES = (*METRICS.values(), "median_zero_step")
HEAD = """\
# Evidence

What the course claims about phasing out skip-connections, measured: each claim with its table, its figure, the command
that makes it again, and its limits. The page is made from the files in `assets/results`: tables, figures and every
measured number in a sentence come from there. Words are those of the course; [the glossary](glossary.md) has them.

Accuracies are shares of images, as mean ± standard deviation over seeds (with n - 1): on test and held-out images of
the network in eval mode, in training the mean over the last epoch in training mode. *1.0 ± 0.1 points above* is the
mean of the differences between runs of the same seed with its standard error; *level* is said within two of those.

- `make evidence` measures everything. Runs of sweeps that are under `runs` are not made again. It takes hours.
- `make evidence-quick` measures a small part of each claim in minutes, in `runs/evidence-quick`, to see that it runs.
- `python -m tools.evidence NAME` measures one claim.

*Shifted* networks begin closer to linear: `models.mlp(norm_shift=1.0)`. *One after the other* means
`TrainConfig(stagger=0.9)`: every skip has a window of its own, and that of the layer nearest to the input opens first.
The *cap* is a bound on skip weights that falls to 0 by a set time, and so takes what the multipliers have left. *Gone
by 0.5* means that it is at 0 after that share of the training (0.85 in the sweeps where nothing is said); *damping* is
a quadratic penalty beside the multipliers.
"""
OTHERS = """\
## Recorded for the lessons

On the embedded 5,000 images, in minutes each; lessons show them with their spread.

"""
UNCOMPARED = """\
## What could not be compared

- **The paper's own numbers.** Of Monti, Tootoonian and Cao (2018) the abstract could be read, the text could not. The
  layer, its initial skip weight, the step sizes and the networks here are our reading of the abstract; no number on
  this page is theirs, and none is set beside one of theirs.
- **CIFAR-100**, which they used as well, could not be had: `data.load("cifar100")` reads it where it is, and nothing on
  this page was measured on it.
- **GPUs.** Everything ran on a processor, so the networks are narrow and the trainings short.
"""


def write_page(results: Path, docs: Path) -> Path:
    """Write evidence.md and its figures from the recordings that are there, and return its path.

    Args:
        results: folder of the recordings.
        docs: folder of the page.
    """
    shown = [claim for claim in CLAIMS if (results / f"{claim.name}.json").is_file()]
    wanted = {f"{name}.svg": (drawing, stamp) for name, drawing, stamp in drawings(shown, results)}
    folder = docs / FIGURES
    missing = {name: drawing for name, (drawing, stamp) in wanted.items() if stamp_in(folder / name) != stamp}
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in picture.draw(missing).items():
            write_atomic(folder / name, f"{image}\n<!-- {wanted[name][1]} -->\n".encode())
    page = docs / "evidence.md"
    write_atomic(page, text_of(shown, results).encode())
    return page


def check_page() -> list[str]:
    """Return what of the page and its figures is not what the recordings give, a sentence each."""
    results, docs = course_path("assets", "results"), course_path("docs")
    problems = [
        f"There is no recording of {claim.name}: {claim.command}"
        for claim in CLAIMS
        if not (results / f"{claim.name}.json").is_file()
    ]
    if problems:
        return problems
    if (docs / "evidence.md").read_text(encoding="utf-8") != text_of(CLAIMS, results):
        problems.append("docs/evidence.md does not show the recordings: python -m tools.evidence --page")
    stamps = {f"{name}.svg": stamp for name, _, stamp in drawings(CLAIMS, results)}
    return problems + [
        f"docs/{FIGURES}/{name} is not drawn from the recording: python -m tools.evidence --page"
        for name, stamp in stamps.items()
        if stamp_in(docs / FIGURES / name) != stamp
    ]


def drawings(claims: Sequence[Claim], results: Path) -> Iterator[tuple[str, go.Figure, str]]:
    """Yield the name of each figure, the figure, and the hash of what it is drawn from, its program included."""
    source = "".join(inspect.getsource(module) for module in DRAWN_BY).encode()
    for claim in claims:
        file = results / f"{claim.name}.json"
        stamp = hashlib.sha256(file.read_bytes() + source).hexdigest()[:16]
        yield claim.name, claim.figure(table_in(file)), stamp


def stamp_in(image: Path) -> str | None:
    """Return the hash at the end of a figure; None where there is none."""
    found = re.search(r"<!-- (\w+) -->\s*\Z", image.read_text(encoding="utf-8")) if image.is_file() else None
    return found[1] if found else None


def table_in(file: Path) -> pd.DataFrame:
    """Return the runs of a recording."""
    return with_all_columns(pd.DataFrame(json.loads(file.read_text(encoding="utf-8"))["runs"]))


def with_all_columns(runs: pd.DataFrame) -> pd.DataFrame:
    """Return runs with every measure as a column, also with one that none of them has, such as a step of removal."""
    return runs.reindex(columns=[*runs, *(name for name in MEASURES if name not in runs)])


def text_of(claims: Sequence[Claim], results: Path) -> str:
    """Return the page."""
    parts = [HEAD, *(section(claim, results / f"{claim.name}.json") for claim in claims)]
    return "\n".join([*parts, OTHERS + others(results), UNCOMPARED])


def section(claim: Claim, file: Path) -> str:
    """Return what stands under a claim."""
    content = json.loads(file.read_text(encoding="utf-8"))
    runs = with_all_columns(pd.DataFrame(content["runs"]))
    versions = ", ".join(f"{name} {number}" for name, number in content["versions"].items())
    seeds = ", ".join(str(seed) for seed in sorted(runs["seed"].unique()))
    return f"""\
## {claim.title}

{claim.question}

{claim.reading(runs)}

{markdown(claim.table(runs))}

![{claim.title}]({FIGURES}/{claim.name}.svg)

Made by `{claim.command}`; {content["hours"]:g} hours on one core. Seeds {seeds}; {content["hardware"]}; {versions}.
Recorded in `assets/results/{claim.name}.json`.

**Limits.** {claim.limits}
"""


def others(results: Path) -> str:
    """Return the table of all other recordings."""
    rows = []
    for file in sorted(results.glob("*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        if file.stem not in {claim.name for claim in CLAIMS}:
            rows.append(
                {
                    "file": f"`{file.name}`",
                    "question": content["question"].partition("?")[0] + "?",
                    "made by": f"`{content['command']}`",
                    "hours": f"{content['hours']:g}" if "hours" in content else "",
                }
            )
    return markdown(pd.DataFrame(rows)) + "\n" if rows else ""


def markdown(table: pd.DataFrame) -> str:
    """Return a table of texts in Markdown."""
    rows = [table.columns.tolist(), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
