"""One notebook, run headless by papermill with parameters that it declares."""

import contextlib
import json
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import nbformat

from van_tutorial._files import clear_errors, write_atomic
from van_tutorial.batch.execute import Interrupted, Task, execute, make_task
from van_tutorial.batch.notebooks import one_line
from van_tutorial.batch.page import make_page
from van_tutorial.batch.results import read_run
from van_tutorial.batch.store import FAILED, INTERRUPTED, claim, keep


class RunFailedError(RuntimeError):
    """A cell of the notebook failed; the notebook up to there is kept."""


@dataclass(frozen=True)
class Run:
    """Where a run's files lie, and what it measured.

    Attributes:
        folder: the run's folder.
        notebook: the executed notebook.
        page: the self-contained HTML page; None where none was asked for, or could be made.
        metrics: the rows that the notebook recorded.
        is_new: whether the notebook ran now; not, where this very run was there already.
    """

    folder: Path
    notebook: Path
    page: Path | None
    metrics: list[dict[str, Any]]
    is_new: bool


def run(
    notebook: str | Path,
    parameters: Mapping[str, Any] | None = None,
    runs: str | Path = "runs",
    progress: TextIO | None = None,
    force: bool = False,
    page: bool = True,
) -> Run:
    """Run a notebook in a kernel of its own, unless this very run is there, and keep it with its metrics and a page.

    A run is the same where the notebook's file, all parameters, the package's source, the embedded data and the
    version of torch are. Its files appear together under runs/NAME/KEY when all of them are whole. Where a cell fails
    or the run is interrupted, the notebook up to there is kept under runs/NAME/KEY-failed or
    runs/NAME/KEY-interrupted, until the same run succeeds.

    Args:
        notebook: path of the notebook.
        parameters: values for its parameters cell; what is not named keeps its default.
        runs: folder of all runs.
        progress: where the notebook's progress bars are passed on to, live; None for nowhere.
        force: run afresh, and replace the run that is there when the new one is whole.
        page: make the page as well.

    Returns:
        The run's paths and metrics.

    Raises:
        NotebookError: before a kernel starts, for what `check_parameters` refuses.
        RunFailedError: where a cell fails.
        BusyError: where another process makes this very run.
        KeyboardInterrupt: passed on, after the kernel has been ended.
        OSError: where the files cannot be written; nothing half-written is left.
        ValueError: where this very run is there already and damaged.
    """
    task = make_task(notebook, parameters or {})
    folder = Path(runs) / task.name / task.key
    is_new = False
    if force or not folder.exists():
        with sigterm_as_interrupt(), claim(folder):
            if force or not folder.exists():  # another process may have finished it
                make(task, folder, progress)
                is_new = True
    executed = folder / f"{task.name}.ipynb"
    if not is_new:
        check_whole(folder, executed)
    shown = executed.with_suffix(".html")
    if page and not shown.exists():
        try:
            content = make_page(nbformat.read(executed, as_version=4), task.name, Path(task.home))
            write_atomic(shown, content.encode("utf-8", "replace"))
        except Exception as error:  # the run is whole without it
            reason = one_line(f"{type(error).__name__}: {error}")
            warnings.warn(f"The page of {executed} could not be made ({reason}).", stacklevel=2)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return Run(folder, executed, shown if shown.exists() else None, metrics, is_new)


def check_whole(folder: Path, executed: Path) -> None:
    """Raise where a run that is there already is damaged."""
    stored = read_run(folder)
    reason = f"{executed} is missing: remove its folder and run the same again."
    if stored.state == "damaged" or not executed.is_file():
        reason = stored.reason or reason
        raise ValueError(f"The run that is there is damaged: {reason} With force, or --force, both is done.")


def make(task: Task, folder: Path, progress: TextIO | None) -> None:
    """Make a run whose claim is held, and keep it."""
    notebook = f"{task.name}.ipynb"
    try:
        with clear_errors(folder):
            outcome = execute(task, progress)
    except Interrupted as interrupt:
        kept = keep(folder, interrupt.outcome.files, INTERRUPTED)
        raise KeyboardInterrupt(f"what was done is kept in {kept / notebook}") from None
    kept = keep(folder, outcome.files, "" if outcome.reason is None else FAILED)
    if outcome.reason is not None:
        where = f"The notebook up to there is {kept / notebook}."
        raise RunFailedError(f"A cell of {notebook} failed: {outcome.reason.rstrip('.')}. {where}")


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """End in good order when asked to terminate, as on Ctrl-C: no kernel stays behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
