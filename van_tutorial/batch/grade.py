"""A folder of students' notebooks run, and what the checks of their exercises say, as one table."""

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import nbformat
import pandas as pd
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from van_tutorial._checks import check_count
from van_tutorial._course import course_path
from van_tutorial._files import write_atomic
from van_tutorial.batch.execute import one_line, private_kernel
from van_tutorial.batch.parameters import NotebookError, declared_parameters, fit_parameters
from van_tutorial.batch.run import sigterm_as_interrupt

COLUMNS = ["student", "lesson", "exercise", "verdict", "message", "changed"]
CHECK = "exercises.check"
UNTIL_KILLED = 10  # seconds that a cell has after it was interrupted


def grade(
    folder: str | Path,
    into: str | Path = "graded",
    parameters: Mapping[str, Any] | None = None,
    timeout: int = 300,
    course: str | Path | None = None,
    progress: TextIO | None = None,
) -> pd.DataFrame:
    """Run every notebook below a folder, and return what the course's checks say of its exercises.

    This executes code that others wrote, with the rights of whoever calls it: contain it, as docs/teaching.md says. A
    verdict counts where it is the value of a cell that ends with the check as the course has it; that keeps slips
    out, and nobody who sets out to deceive it.

    Args:
        folder: submissions as STUDENT/LESSON.ipynb, or as files whose name contains that of a lesson.
        into: folder for the executed notebooks and the table, verdicts.csv.
        parameters: values for the lessons' parameters cells, over what the students left there; `interactive` is false.
        timeout: whole seconds after which a cell is interrupted, at least 1. Where that does not end it, its kernel is
            ended ten seconds later, and the cells after it do not run.
        course: folder of the lessons as they were given out; None for the course's own.
        progress: where a line for each submission goes; None for nowhere.

    Returns:
        Columns student, lesson, exercise; verdict: "right", "not yet", "failed" (an error), or "none" (the check is
        missing or altered, or did not run); message; changed: how many of the course's other code cells are missing or
        altered, predictions not counted.

    Raises:
        NotebookError: where the folder holds no notebook of the course, or for a parameter that a lesson does not have.
        OSError: where a file cannot be read or written.
        ValueError: for a timeout below 1.
        KeyboardInterrupt: passed on, also where asked to terminate; the table up to there is written.
    """
    check_count("timeout", timeout)
    root = Path(course or course_path("notebooks"))
    lessons = {path.stem: path for path in sorted(root.glob("*.ipynb"), key=lambda path: len(path.stem))}
    handed_in = [
        path for path in notebooks_in(Path(folder)) if Path(into).resolve() not in path.resolve().parents
    ]
    found = [(path, name) for path in handed_in for name in lessons if name in path.stem]
    submissions = dict(found)  # of two lessons whose names fit, the longer
    if not submissions:
        raise NotebookError(
            f"There is no notebook below {folder} whose name contains that of a lesson in {root}."
        )
    chosen = {"interactive": False, **(parameters or {})}
    fitted = {
        name: fit_parameters(chosen, declared_parameters(lessons[name]), name)
        for name in {*submissions.values()}
    }
    rows: list[tuple[object, ...]] = []
    try:
        with sigterm_as_interrupt():
            for number, (path, name) in enumerate(submissions.items(), 1):
                below = path.relative_to(folder)
                in_name = path.stem.replace(name, "").strip("_- ")
                student = below.parts[0] if len(below.parts) > 1 else in_name or "?"
                if progress:
                    progress.write(f"{number} of {len(submissions)}: {below}\n")
                graded = grade_one(path, lessons[name], fitted[name], timeout, Path(into) / below)
                rows += [(student, name, *verdict) for verdict in graded]
    finally:
        table = pd.DataFrame(rows, columns=COLUMNS).sort_values(
            ["student", "lesson"], kind="stable", ignore_index=True
        )
        if rows:
            write_atomic(Path(into) / "verdicts.csv", table.to_csv(index=False).encode())
    return table


def grade_one(
    path: Path, lesson: Path, parameters: Mapping[str, Any], timeout: int, into: Path
) -> list[tuple[object, ...]]:
    """Run a submission, keep it as it ran, and return what each column but the first two says of each exercise."""
    original = nbformat.read(lesson, as_version=4)
    try:
        executed = execute(path, parameters, timeout)
    except Exception as error:  # whatever a file that was handed in may hold
        reason = one_line(f"not a notebook that can be run: {type(error).__name__}: {error}")
        return [(title, "failed", reason, None) for title, *_ in verdicts(original, original)]
    write_atomic(into, nbformat.writes(executed).encode())
    changed = len(fixed_cells(original) - fixed_cells(executed))
    return [(*verdict, changed) for verdict in verdicts(original, executed)]


def notebooks_in(folder: Path) -> list[Path]:
    """Return the notebooks below a folder, without hidden ones such as checkpoints."""
    paths = sorted(folder.rglob("*.ipynb"))
    return [
        path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def execute(path: Path, parameters: Mapping[str, Any], timeout: int) -> Any:
    """Return a notebook run to its end, errors or not, and interrupted where a cell takes too long."""
    notebook = parameterize_notebook(
        load_notebook_node(str(path)), parameters, kernel_name="python3", language="python"
    )
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None  # what was handed in is not what is graded
    with private_kernel() as config:
        client = NotebookClient(
            notebook,
            timeout=timeout,
            interrupt_on_timeout=True,
            allow_errors=True,
            kernel_name="python3",
            resources={"metadata": {"path": str(path.parent.resolve())}},
            shutdown_kernel="immediate",
            store_widget_state=False,
            config=config,
        )
        # Not client.execute(), which takes Ctrl-C to itself. A kernel may run out of memory, or be ended here: its
        # later cells say nothing.
        with contextlib.suppress(DeadKernelError), client.setup_kernel():
            manager: Any = client.km
            kernel = psutil.Process(manager.provisioner.pid)
            for index, cell in enumerate(notebook.cells):
                with ends_after(timeout + UNTIL_KILLED, kernel):
                    client.execute_cell(cell, index)
    return notebook


@contextlib.contextmanager
def ends_after(seconds: float, kernel: psutil.Process) -> Iterator[None]:
    """End the kernel where neither its cell's end nor an interrupt has come by then."""
    timer = threading.Timer(seconds, kernel.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def code_of(notebook: Any) -> list[str]:
    """Return the sources of a notebook's code cells."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def fixed_cells(notebook: Any) -> set[str]:
    """Return the code that a student has no reason to change: neither exercises nor predictions."""
    return {source for source in code_of(notebook) if CHECK not in source and not source.startswith("my_")}


def verdicts(original: Any, executed: Any) -> Iterator[tuple[str, str, str]]:
    """Yield title, verdict and message of each exercise of a lesson."""
    title = ""
    for cell in original.cells:
        if cell.cell_type == "markdown":
            title = (re.findall(r"^##+ (.*)$", cell.source, re.MULTILINE) or [title])[-1]
        elif CHECK in cell.source:
            check = cell.source[cell.source.index(CHECK) :]
            ends = [other for other in executed.cells if other.source.rstrip().endswith(check)]
            yield title, *verdict_of(ends[-1].get("outputs", []) if ends else None)


def verdict_of(outputs: list[Any] | None) -> tuple[str, str]:
    """Return what the outputs of a cell with a check come to."""
    if outputs is None:
        return "none", "the check is missing or altered"
    for output in reversed(outputs):
        if output.output_type == "error":
            return "failed", one_line(f"{output.ename}: {output.evalue}")
        said = output.get("data", {}).get("text/plain", "") if output.output_type == "execute_result" else ""
        verdict, _, message = said.partition(": ")
        if verdict in ("Right", "Not yet"):
            return verdict.lower(), message
    return "none", "the cell with the check did not run to its end"
