"""Make the course as a static web site: every lesson with its outputs, and the documents.

    python -m tools.site                 all of it, into site/
    python -m tools.site --out FOLDER    elsewhere
    python -m tools.site NAME …          only these notebooks, such as 05_phasing_out
    python -m tools.site --quick         with small networks, to look at the site and not at the results

The lessons are run headless with their defaults and kept under runs/, as `van-tutorial run` keeps them: what is there
is not run again, and a build that was interrupted goes on. Then Sphinx makes the pages, as docs/site/conf.py says. The
site needs no server and nothing from outside.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import nbformat
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tools import site_live
from tools.notebooks import TELLS, split
from van_tutorial import batch, cli
from van_tutorial._course import course_path
from van_tutorial.batch.page import with_html_outputs
from van_tutorial.batch.parameters import declared_parameters

OUT, RUNS = course_path("site"), course_path("runs")
AFTER = {"playground": "05_phasing_out"}  # which lesson goes before a notebook that has no number
DOCUMENTS = (
    "evidence",
    "library",
    "glossary",
    "teaching",
    "sweeps",
    "clusters",
    "performance",
)  # in this order; others after them
# The most that a parameter of these names may be where results do not matter.
SMALL = {
    "depth": 8,
    "num_epochs": 2,
    "num_images": 64,
    "num_scenes": 50,
    "num_seeds": 3,  # one has no spread
}
NOTE = """\
```{note}
You see this notebook as it ran with its defaults. To press and to change something, open it by `make lab`.
```"""
# A panel, in whose place a run without controls has a figure.
STOOD_FOR = re.compile(r"_panel\(.*\binteractive=interactive\b", re.DOTALL)
# The result of a prediction is folded on a page, as in a notebook it waits for the prediction.
FOLDED = {"code_prompt_show": "Predict first. Then show the result", "code_prompt_hide": "Hide the result"}
STILL = "*To press the controls, open this notebook by* `make lab`*.*"
QUICK_WARNING = """\
```{warning}
These pages were made with small networks, to look at the site: their numbers are not those of the course.
```
"""


class SiteError(RuntimeError):
    """The site cannot be made; the message says why, and what to do."""


def find_notebooks(course: Path, names: Sequence[str]) -> list[Path]:
    """Return the learner's notebooks in the order of the course: all, or those named.

    Raises:
        SiteError: where there is none of a name.
    """
    there = {path.stem: path for path in (course / "notebooks").glob("*.ipynb")}
    for name in names:
        if name not in there:
            raise SiteError(f"There is no notebook {name!r}, only {', '.join(sorted(there))}.")
    return [there[name] for name in sorted(names or there, key=lambda name: (AFTER.get(name, name), name))]


def find_documents(course: Path) -> list[Path]:
    """Return the documents in the order of the site."""
    paths = {path.stem: path for path in sorted((course / "docs").glob("*.md"))}
    return [paths[name] for name in sorted(paths, key=lambda name: (*DOCUMENTS, name).index(name))]


def run_notebook(path: Path, runs: Path, is_quick: bool) -> batch.Run:
    """Return the run of a notebook without controls, made now or kept."""
    declared = declared_parameters(path)
    parameters = {"interactive": False} if "interactive" in declared else {}
    if is_quick:
        parameters |= {name: min(declared[name], most) for name, most in SMALL.items() if name in declared}
    return batch.run(path, parameters, runs=runs, progress=sys.stderr, page=False)


def read_run(run: batch.Run, is_quick: bool) -> nbformat.NotebookNode:
    """Return a run's notebook as the site shows it."""
    notebook = with_html_outputs(nbformat.read(run.notebook, as_version=4))
    cells = [notebook.cells[0], nbformat.v4.new_markdown_cell(QUICK_WARNING if is_quick else NOTE)]
    for cell in notebook.cells[1:]:
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:  # the cell before says what they mean
            continue
        if cell.cell_type == "code" and TELLS.search(cell.source):
            is_text = split(cell.source)[0].endswith(".show()")  # and nothing else
            removed = ["remove-input"] if is_text or "hide-input" in tags else []
            cell.metadata |= {"tags": [*tags, "hide-output", *removed], "mystnb": FOLDED}
        cells.append(cell)
        if STOOD_FOR.search(cell.source) and cell.cell_type == "code":
            cells.append(nbformat.v4.new_markdown_cell(STILL))
    notebook.cells = cells
    return notebook


def question_of(notebook: nbformat.NotebookNode) -> str:
    """Return the first paragraph below a notebook's title, which is its question, on one line."""
    paragraphs = re.split(r"\n\s*\n", notebook.cells[0].source)
    return " ".join(paragraphs[1].split()).strip("*") if len(paragraphs) > 1 else ""


def title_of(text: str) -> str:
    """Return the first heading of a Markdown text."""
    match = re.search(r"^# (.+)$", text, re.MULTILINE)
    return match[1].strip() if match else "Untitled"


def gather(pages: dict[str, nbformat.NotebookNode], course: Path, folder: Path, is_quick: bool) -> None:
    """Write what Sphinx reads, laid out as in the repository, so that links between the pages hold."""
    (folder / "notebooks").mkdir()
    for name, notebook in pages.items():
        nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")
    shutil.copytree(course / "assets" / "figures", folder / "assets" / "figures")
    shutil.copytree(course / "docs", folder / "docs", ignore=shutil.ignore_patterns("site"))
    environment = Environment(
        loader=FileSystemLoader(course_path("docs", "site")),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    index = environment.get_template("index.md.jinja").render(
        warning=QUICK_WARNING if is_quick else "",
        live=site_live.fragment(),
        lessons=[
            {"name": name, "title": title_of(page.cells[0].source), "question": question_of(page)}
            for name, page in pages.items()
        ],
        documents=[
            {"name": document.stem, "title": title_of(document.read_text(encoding="utf-8"))}
            for document in find_documents(course)
        ],
    )
    (folder / "index.md").write_text(index, encoding="utf-8")


def check_place(out: Path) -> None:
    """Refuse to replace a folder that holds something else.

    Raises:
        SiteError: where it does.
    """
    if out.exists() and not (out / "objects.inv").is_file() and (out.is_file() or any(out.iterdir())):
        raise SiteError(f"{out} holds something else than a site: name another folder with --out.")


def build(source: Path, course: Path, out: Path) -> None:
    """Make the pages, and put them in place of an earlier site when they are whole.

    Raises:
        SiteError: where Sphinx finds anything wrong, such as a link that leads nowhere.
    """
    part = out.with_name(f".{out.name}.part")
    pages = part / "pages"  # myst-nb writes notebooks beside them
    options: list[str | Path] = ["-q", "-W", "--keep-going", "-b", "html", "-c", course_path("docs", "site")]
    options += ["-D", f"repository={course}", "-d", source.with_name("doctrees")]
    try:
        shutil.rmtree(part, ignore_errors=True)
        if subprocess.run([sys.executable, "-m", "sphinx", *options, source, pages], check=False).returncode:
            raise SiteError("The pages were not made, for the reasons above.")
        (pages / "live.html").write_text(site_live.page(), encoding="utf-8")
        shutil.rmtree(out, ignore_errors=True)
        pages.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def make(course: Path, names: Sequence[str], out: Path, runs: Path, is_quick: bool = False) -> None:
    """Make the site.

    Args:
        course: folder with notebooks/, docs/ and assets/figures/.
        names: of notebooks; none for all.
        out: folder of the site; a site that is there is replaced when the new one is whole.
        runs: folder of all runs.
        is_quick: whether small networks will do.

    Raises:
        SiteError: where it cannot be made.
    """
    if find_spec("myst_nb") is None:
        raise SiteError("Sphinx and myst-nb are not installed: pip install --editable '.[site]'.")
    check_place(out)
    notebooks, pages = find_notebooks(course, names), {}
    for number, path in enumerate(notebooks, 1):
        print(f"{number:2d} of {len(notebooks)}  {path.stem} …", flush=True)
        start = time.monotonic()
        run = run_notebook(path, runs, is_quick)
        print(f"          {f'{time.monotonic() - start:.0f} s' if run.is_new else 'is there'}", flush=True)
        pages[path.stem] = read_run(run, is_quick)
    print("pages …", flush=True)
    with tempfile.TemporaryDirectory(prefix="van-site-") as scratch:
        source = Path(scratch) / "source"
        source.mkdir()
        gather(pages, course, source, is_quick)
        build(source, course, out)


def main(
    names: list[str],
    *,
    out: Path = OUT,
    runs: Path = RUNS,
    quick: bool = False,
) -> None:
    """Make the site.

    Args:
        names: notebooks, such as 05_phasing_out (default: all)
        out: folder of the site (default: site)
        runs: folder of runs; what is there is not run again (default: runs)
        quick: small networks, to look at the site only
    """
    make(course_path(), names, out.resolve(), runs, quick)
    print(out / "index.html")


if __name__ == "__main__":
    sys.exit(cli.call(main))
