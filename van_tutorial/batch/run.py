"""One notebook, run headless by papermill with parameters that it declares."""

import ast
import contextlib
import json
import os
import platform
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

import nbformat
import papermill
from nbconvert.preprocessors.coalescestreams import CoalesceStreamsPreprocessor
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from van_tutorial._files import write_atomic
from van_tutorial.batch.metrics import read_metrics
from van_tutorial.batch.page import make_page

RECORDED_VERSIONS = ("van-tutorial", "torch", "numpy", "pandas", "plotly", "papermill")


class NotebookError(ValueError):
    """A notebook or a parameter was refused before anything ran."""


class RunFailedError(RuntimeError):
    """A cell of the notebook failed; the notebook up to there is kept."""


@dataclass(frozen=True)
class Run:
    """Where a run's files lie, and what it measured.

    Attributes:
        folder: the run's folder.
        notebook: the executed notebook.
        page: the self-contained HTML page.
        metrics: the rows that the notebook recorded.
    """

    folder: Path
    notebook: Path
    page: Path
    metrics: list[dict[str, Any]]


def check_parameters(notebook: str | Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters in the types that a notebook declares for them.

    Args:
        notebook: path of the notebook; its cell tagged `parameters` gives names, defaults and help.
        parameters: values, or texts of them as a command line has them.

    Returns:
        The same names with values of the types of the defaults.

    Raises:
        NotebookError: where there is no such notebook or no `parameters` cell, for a name that is not declared,
            and for a value of another type.
    """
    path = Path(notebook)
    if not path.is_file():
        there = sorted(other.name for other in path.parent.glob("*.ipynb")) if path.parent.is_dir() else []
        hint = f"; in {path.parent} there are {', '.join(there)}" if there else ""
        raise NotebookError(f"There is no notebook {path}{hint}.")
    try:
        cells = nbformat.read(path, as_version=4).cells
    except (ValueError, nbformat.reader.NotJSONError) as error:
        raise NotebookError(f"{path} is not a notebook that can be read ({type(error).__name__}).") from error
    if not any("parameters" in cell.metadata.get("tags", []) for cell in cells):
        raise NotebookError(f"{path} has no cell tagged 'parameters', so it cannot be run with any.")
    declared = papermill.inspect_notebook(str(path))
    typed = {}
    for name, value in parameters.items():
        if name not in declared:
            near = get_close_matches(name, declared, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise NotebookError(f"{path.name} has no parameter {name!r}, only {', '.join(declared)}.{hint}")
        typed[name] = cast(name, value, ast.literal_eval(declared[name]["default"]))
    return typed


def cast(name: str, value: Any, default: Any) -> Any:
    """Return a parameter's value in the type of its default, or raise `NotebookError`."""
    kind = type(default)
    if kind is bool and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if kind is str and isinstance(value, str):
        return value
    with contextlib.suppress(ValueError):
        if kind is int and not isinstance(value, bool) and (isinstance(value, str) or value == int(value)):
            return int(value)
        if kind is float and not isinstance(value, bool):
            return float(value)
    raise NotebookError(
        f"Parameter {name!r} must be of type {kind.__name__} (its default is {default!r}), got {value!r}."
    )


def run(
    notebook: str | Path,
    parameters: Mapping[str, Any] | None = None,
    runs: str | Path = "runs",
    progress: TextIO | None = None,
) -> Run:
    """Run a notebook afresh in a kernel of its own, and keep it with a page, its parameters and its metrics.

    The files appear together under runs/NAME/TIME when all of them are whole. Where a cell fails or the run is
    interrupted, the notebook up to there is kept under runs/NAME/TIME-failed or runs/NAME/TIME-interrupted.

    Args:
        notebook: path of the notebook.
        parameters: values for its parameters cell; what is not named keeps its default.
        runs: folder of all runs.
        progress: where the notebook's progress bars are passed on to, live; None for nowhere.

    Returns:
        The run's paths and metrics.

    Raises:
        NotebookError: before a kernel starts, for what `check_parameters` refuses.
        RunFailedError: where a cell fails.
        KeyboardInterrupt: passed on, after the kernel has been ended.
        OSError: where the files cannot be written; nothing half-written is left.
    """
    path = Path(notebook)
    typed = check_parameters(path, parameters or {})
    started = datetime.now(UTC)
    parent = Path(runs) / path.stem
    name = started.strftime("%Y-%m-%dT%H-%M-%S")
    temporary = parent / f".{name}-{os.getpid()}"
    output = temporary / path.name
    try:
        temporary.mkdir(parents=True)
        with sigterm_as_interrupt(), private_kernel() as config:
            executed = papermill.execute_notebook(
                str(path),
                str(output),
                parameters=typed,
                cwd=str(path.parent),
                progress_bar=False,
                stdout_file=BarsOnly(progress) if progress else None,
                shutdown_kernel="immediate",
                store_widget_state=False,
                autosave_cell_every=0,
                config=config,
            )
        # A bar that was drawn a hundred times is kept as it looked last.
        executed, _ = CoalesceStreamsPreprocessor().preprocess(executed, {})
        write_atomic(output, nbformat.writes(executed).encode())
        metrics = read_metrics(executed)
        page = output.with_suffix(".html")
        write_atomic(page, make_page(executed, path.stem, path.parent).encode())
        description = {
            "notebook": path.name,
            "parameters": typed,
            "started": started.isoformat(timespec="seconds"),
            "seconds": executed.metadata.papermill.duration,
            "python": platform.python_version(),
            "versions": {package: version(package) for package in RECORDED_VERSIONS},
        }
        write_atomic(temporary / "config.json", (json.dumps(description, indent=2) + "\n").encode())
        write_atomic(temporary / "metrics.json", (json.dumps(metrics, indent=2) + "\n").encode())
        folder = keep(temporary, parent / name)
    except PapermillExecutionError as error:
        folder = keep(temporary, parent / f"{name}-failed")
        raise RunFailedError(
            f"A cell of {path.name} failed with {error.ename}: {error.evalue} "
            f"The notebook up to there is {folder / path.name}."
        ) from error
    except KeyboardInterrupt:
        if output.exists():
            folder = keep(temporary, parent / f"{name}-interrupted")
            raise KeyboardInterrupt(f"what was done is kept in {folder / path.name}") from None
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Run(folder, folder / path.name, folder / page.name, metrics)


def keep(temporary: Path, folder: Path) -> Path:
    """Rename a run's folder to its lasting name, numbered where another run has it, and return that."""
    for number in range(1, 1000):
        target = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        if not target.exists():
            return temporary.rename(target)
    raise OSError(f"{folder} and 998 numbered folders beside it are taken: remove some")


class BarsOnly:
    """Pass on progress bars, which begin with a carriage return, and nothing else that a notebook prints."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.is_open = False

    def write(self, text: str) -> None:
        """Pass on the part of a text that belongs to a bar."""
        _, bar, rest = text.partition("\r")
        if bar:
            end = rest.rfind("\n") + 1 or len(rest)
            self.stream.write(bar + rest[:end])
            self.is_open = not rest[:end].endswith("\n")
        elif self.is_open:
            self.stream.write("\n")
            self.is_open = False

    def flush(self) -> None:
        """Show what was written."""
        self.stream.flush()


@contextlib.contextmanager
def private_kernel() -> Iterator[Config]:
    """Give a kernel socket files that only this user can open, and remove them; on Windows it listens on loopback."""
    if os.name == "nt":
        yield Config()
        return
    with tempfile.TemporaryDirectory(prefix="van-") as folder:
        yield Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})


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
