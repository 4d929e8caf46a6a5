"""What a student's notebook says, beside the lesson as it was given out: verdicts, what was changed, points."""

import ast
import re
from collections.abc import Iterator
from typing import Any

import pandas as pd
from IPython.core.inputtransformer2 import TransformerManager

from van_tutorial.batch.notebooks import one_line, parse_code

CHECK = "exercises.check"
SENTENCE = "sentence"  # tag of the cell in which a student writes what is marked by hand
WRITTEN, NOT_WRITTEN = "written", "not written"


def code_cells(notebook: Any) -> list[Any]:
    """Return a notebook's code cells."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def statements(source: str) -> list[str] | None:
    """Return the statements of a cell without their spaces and comments; None where it is not Python."""
    first, _, rest = source.lstrip().partition("\n")
    try:
        code = TransformerManager().transform_cell(rest if first.startswith("%%") else source)
        return [ast.dump(statement) for statement in parse_code(code).body]
    except SyntaxError:
        return None


def fixed_cells(notebook: Any) -> set[str]:
    """Return the code that a student has no reason to change: all but the exercises."""
    fixed = [cell.source for cell in code_cells(notebook) if CHECK not in cell.source]
    return {"\n".join(statements(source) or [source.strip()]) for source in fixed}


def num_changed(original: Any, executed: Any) -> int:
    """Return how many of a lesson's code cells, without exercises, are missing or altered."""
    return len(fixed_cells(original) - fixed_cells(executed))


def num_copied(original: Any, solutions: Any, submitted: Any) -> int:
    """Return how many cells of a submission only the instructor's lesson has, to the letter."""
    own = {cell.source.strip() for cell in solutions.cells} - {cell.source.strip() for cell in original.cells}
    return len(own & {cell.source.strip() for cell in submitted.cells})


def sentence_in(original: str, notebook: Any) -> str:
    """Return what a student wrote below the heading of a cell: the lines that the lesson does not have."""
    heading, *_ = lines = original.splitlines()
    written = [cell.source.splitlines() for cell in notebook.cells if heading in cell.source.splitlines()]
    return " ".join(line.strip() for line in written[0] if line not in lines).strip() if written else ""


def verdicts(original: Any, executed: Any) -> Iterator[tuple[str, str, str]]:
    """Yield title, verdict and message of each exercise of a lesson; of the sentence to be marked, what it says."""
    title = ""
    answers = [(cell, statements(cell.source)) for cell in code_cells(executed)]
    for cell in original.cells:
        if SENTENCE in cell.metadata.get("tags", []):
            sentence = sentence_in(cell.source, executed)
            yield cell.source.splitlines()[0].strip("# "), WRITTEN if sentence else NOT_WRITTEN, sentence
        elif cell.cell_type == "markdown":
            title = (re.findall(r"^##+ (.*)$", cell.source, re.MULTILINE) or [title])[-1]
        elif cell.cell_type == "code" and CHECK in cell.source:
            text = cell.source[cell.source.index(CHECK) :].rstrip()
            check = (statements(cell.source) or [text])[-1]
            ends = [
                answer
                for answer, lines in answers
                if (lines[-1:] == [check] if lines is not None else answer.source.rstrip().endswith(text))
            ]
            yield title, *verdict_of(ends[-1].get("outputs", []) if ends else None)


def verdict_of(outputs: list[Any] | None) -> tuple[str, str]:
    """Return what the outputs of a cell with a check come to."""
    if outputs is None:
        return "none", "the check is missing or altered"
    for output in reversed(outputs):
        if output.output_type == "error":
            return "failed", one_line(f"{output.ename}: {output.evalue}")
        said = output.get("data", {}).get("text/plain", "") if output.output_type == "execute_result" else ""
        verdict, _, message = str(said).partition(": ")
        if verdict in ("Right", "Not yet"):
            return verdict.lower(), message
    return "none", "the cell with the check did not run to its end"


def points(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a student: how many exercises of each lesson are right, in all, and how many predictions are made.

    Of a lesson that was handed in twice the better one counts. A lesson that was not handed in has no points, not 0.

    Args:
        table: what `grade` returns.

    Returns:
        Columns student, for each lesson "NAME of HOW MANY", total, predictions.
    """
    checks = table[(table["lesson"] != "") & ~table["verdict"].isin([WRITTEN, NOT_WRITTEN])]
    found = (checks["verdict"] == "right").groupby([checks[name] for name in ("lesson", "student", "file")])
    right = found.sum().groupby(["student", "lesson"]).max().unstack("lesson").astype("Int64")
    sizes = found.size().groupby("lesson").max()
    right.columns = [f"{lesson} of {size}" for lesson, size in sizes.items()]
    right = right.reindex(pd.Index(table["student"].unique(), name="student"))
    made = table.groupby(["student", "lesson"])["predictions"].max().groupby("student").sum()
    return right.assign(total=right.sum(axis=1), predictions=made).reset_index()
