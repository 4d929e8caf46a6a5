"""The page docs/evidence.md with its figures, made from the recordings."""

import hashlib
import inspect
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from tools.evidence import controls, figures, gradients, picture, tables
from tools.evidence.claims import CLAIMS, Claim
from tools.evidence.record import METRICS
from van_tutorial._course import course_path
from van_tutorial._files import write_atomic
from van_tutorial.constraints import predictions
from van_tutorial.plots import style, sweeps

FIGURES = "evidence"
DRAWN_BY = (
    controls,
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

What the course claims about phasing out skip-connections, measured: each claim with its table, its figure, its command
and its limits. The page is made from the files in `assets/results`: tables, figures and every measured number in a
sentence come from there. Words are those of the course; [the glossary](glossary.md) has them.

Accuracies are mean ± standard deviation over seeds (with n - 1). Test and validation accuracy are those of the network
in eval mode; training accuracy is the mean over the last epoch in training mode. *1.0 points above [0.6, 1.4]* is the
mean difference between runs with the same seeds and its 95 % interval by Student's t (`batch.compare`; Welch's
interval where the seeds differ). *Level* is said only where the whole interval lies within half a point; *not told
apart* where it contains 0 and is wider. Intervals are not corrected for their number: of twenty, expect one to miss.
Earlier versions of this page went by two standard errors, which at three seeds hold in 82 of 100 cases.

*BatchNorm bias 1* means `models.mlp(norm_shift=1.0)`: layers that are initialized closer to linear. *Sequentially*
means `TrainConfig(stagger=0.9)`, the default: one layer at a time, from input to output, each in a window of its own.
*Simultaneously* (`stagger=0.0`) is nearest to the paper's abstract. The *cap* is a bound on skip weights that falls to
0 by a set step and removes what the multipliers have left. *Removed by the multipliers* is recorded where the cap
lowered no skip weight; it does not say that the loss chose the step. *Removed by 0.5* means that a skip weight is at 0
after half of the training (0.85 in the sweeps where nothing is said). *Damping* is a quadratic penalty in addition to
the multipliers.

- `make evidence` measures everything. Runs of sweeps that are under `runs` are not made again. It takes hours.
- `make evidence-quick` measures a small part of each claim in minutes, in `runs/evidence-quick`, to see that it runs.
- `python -m tools.evidence NAME` measures one claim.

## What the controls say

"""
OTHERS = """\
## Recorded for the lessons

On the embedded 5,000 images, in minutes each; lessons show them with their spread.

"""
UNCOMPARED = """\
## What could not be compared

- **The paper's own numbers.** The accepted version of Monti, Tootoonian and Cao (2018) is listed as open access at UCL
  Discovery (record 10061069); the first version is at OpenReview with its reviews (BJQPG5lR-). For this page only the
  abstracts were read. The layer, its initial skip weight, the learning rates and the networks are our reading of them;
  no number on this page is the paper's, and none is compared with one of the paper's.
- **CIFAR-100**, which the paper used as well: `data.load("cifar100")` reads it where it is; nothing on this page was
  measured on it.
- **GPUs.** Everything ran on a processor, so the networks are narrow and the trainings short.
- **Other ways to networks without skips**, beyond those of the lessons: Residual Distillation (Li et al., NeurIPS
  2020), where a residual teacher is dropped; Deep Kernel Shaping (Martens et al. 2021) and TAT (Zhang, Botev and
  Martens, ICLR 2022), which shape the activation instead. CReLU, which the looks-linear networks use, is of Shang et
  al. (ICML 2016). Fixup (Zhang, Dauphin and Ma, ICLR 2019) keeps the skips and removes the normalization. Only
  CReLU was used here.
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
    """Return runs in the page's words with every measure as a column, also one that none of them has."""
    runs = tables.named(runs)
    return runs.reindex(columns=[*runs, *(name for name in MEASURES if name not in runs)])


def text_of(claims: Sequence[Claim], results: Path) -> str:
    """Return the page."""
    parts = [
        HEAD + controls.findings() + "\n",
        *(section(claim, results / f"{claim.name}.json") for claim in claims),
    ]
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
