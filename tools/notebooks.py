"""Make the course's notebooks from their sources.

    python -m tools.notebooks            make, run and write all of them
    python -m tools.notebooks NAME …     only these, such as 05_phasing_out
    python -m tools.notebooks --prose    run none in which no code has changed, and keep its outputs
    python -m tools.notebooks --check    write nothing; fail where a notebook is not what its source gives

From notebooks/src/NAME.py (py:percent, solutions inside) come the learner's notebooks/NAME.ipynb and the
instructor's notebooks/instructor/NAME.ipynb, where there are solutions. In a source,

    ### solution            what only the instructor's notebook has
    ### stub                what only the learner's has, behind "# "
    ### end

and a cell tagged `solution` is left out of the learner's notebook. Outputs are kept where a cell is tagged
`keep_output`: nbval compares those. In the learner's notebook they are folded until the cell runs, since they tell the
results that are to be predicted. The code of a cell tagged `hide-input` is folded, in JupyterLab and on pages. In a
notebook shown as slides a heading begins one.
"""

import ast
import re
import sys
from pathlib import Path

import jupytext
import nbformat
import nbstripout

from van_tutorial import cli
from van_tutorial._checks import check_choice
from van_tutorial.batch.kernel import running

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
BLOCK = re.compile(r"^### solution\n(.*?)^### stub\n(.*?)^### end(?:\n|\Z)", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"(#{1,3}) ")
TELLS = re.compile(r"(?<!batch)\.(?:compare|show)\b")  # the result of a prediction
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def make(source: Path, is_instructor: bool) -> nbformat.NotebookNode:
    """Return the notebook that a source gives, not run."""
    notebook = jupytext.read(source, fmt="py:percent")
    cells: list[nbformat.NotebookNode] = []
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "solution" in tags and not is_instructor:
            continue
        cell.source = fill(cell.source, is_instructor)
        if is_instructor:
            # One folder further down.
            cell.source = cell.source.replace("](../", "](../../").replace(
                "](playground.", "](../playground."
            )
        cell.id = f"cell-{len(cells):02d}"
        cell.metadata = nbformat.NotebookNode({"tags": tags} if tags else {})
        folded = {"source_hidden": "hide-input" in tags}
        folded["outputs_hidden"] = "keep_output" in tags and not is_instructor
        if any(folded.values()):
            cell.metadata["jupyter"] = {part: True for part, is_folded in folded.items() if is_folded}
        if cell.cell_type == "markdown" and (heading := HEADING.match(cell.source)):
            cell.metadata["slideshow"] = {"slide_type": "subslide" if heading[1] == "###" else "slide"}
        cells.append(cell)
    return nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": KERNEL, "language_info": {"name": "python"}}, nbformat_minor=5
    )


def fill(text: str, is_instructor: bool) -> str:
    """Return a cell's text with its solution, or with its stub."""

    def replace(match: re.Match[str]) -> str:
        return match[1] if is_instructor else re.sub(r"^# ?", "", match[2], flags=re.MULTILINE)

    return BLOCK.sub(replace, text).rstrip("\n")


def run(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """Return the notebook run, with the outputs that are evidence and no others."""
    with running(notebook, folder, timeout=600, record_timing=False, coalesce_streams=True) as client:
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
    nbstripout.strip_output(notebook, keep_output=False, keep_count=True, keep_id=True)
    notebook.metadata = nbformat.NotebookNode({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    return notebook


def on_disk(path: Path) -> nbformat.NotebookNode:
    """Return the notebook on disk; one without cells where there is none."""
    return nbformat.read(path, as_version=4) if path.exists() else nbformat.v4.new_notebook()


def differs(made: nbformat.NotebookNode, path: Path) -> bool:
    """Tell whether a notebook on disk has other cells than the one made from its source."""
    here, there = (
        [[cell[key] for key in ("id", "cell_type", "source", "metadata")] for cell in notebook.cells]
        for notebook in (made, on_disk(path))
    )
    return here != there


def split(code: str) -> tuple[str, list[str]]:
    """Return a cell's code without the texts that a prediction shows with its result, and these texts."""
    tree, texts = ast.parse(code), list[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and TELLS.search(ast.unparse(node.func)):
            for each in [*node.args]:
                if isinstance(each, ast.Constant) and isinstance(each.value, str):
                    texts.append(each.value)
                    node.args.remove(each)
    return ast.unparse(tree), texts


def keep_outputs(made: nbformat.NotebookNode, path: Path) -> bool:
    """Take over the outputs on disk, and tell whether they could be: whether all code is the same but for its texts."""
    here, there = (
        [cell for cell in notebook.cells if cell.cell_type == "code"] for notebook in (made, on_disk(path))
    )
    if [split(cell.source)[0] for cell in here] != [split(cell.source)[0] for cell in there]:
        return False
    for cell, run_cell in zip(here, there, strict=True):
        cell.outputs, cell.execution_count = run_cell.outputs, run_cell.execution_count
    return True


def main(names: list[str], *, prose: bool = False, check: bool = False) -> int:
    """Make or check the notebooks.

    Args:
        names: lessons, such as 05_phasing_out (default: all)
        prose: run none in which no code has changed
        check: write nothing; fail on drift

    Returns:
        The exit status.
    """
    stale, sources = [], {source.stem: source for source in sorted((NOTEBOOKS / "src").glob("*.py"))}
    for name in names:
        check_choice("name", name, tuple(sources))
    for name, source in sources.items():
        if names and name not in names:
            continue
        has_solutions = "### solution" in source.read_text(encoding="utf-8")
        for folder in (NOTEBOOKS, NOTEBOOKS / "instructor")[: 1 + has_solutions]:
            path = folder / f"{source.stem}.ipynb"
            notebook = make(source, is_instructor=folder.name == "instructor")
            if check:
                stale += [path] * differs(notebook, path)
                continue
            path.parent.mkdir(exist_ok=True)
            is_made = prose and keep_outputs(notebook, path)
            nbformat.write(notebook if is_made else run(notebook, folder), path)
            print(path)
    for path in stale:
        print(f"{path} is not what its source gives: run make notebooks", file=sys.stderr)
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(cli.call(main))
