"""One run made, on any machine: what it needs, and the files that come out of it."""

import json
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from nbclient.exceptions import CellExecutionError
from nbconvert.preprocessors.coalescestreams import CoalesceStreamsPreprocessor

from van_tutorial.batch.kernel import running
from van_tutorial.batch.notebooks import (
    as_plain_json,
    notebook_bytes,
    one_line,
    parse_notebook,
    with_parameters,
)
from van_tutorial.batch.parameters import declared_parameters, fit_parameters
from van_tutorial.batch.store import identify, key_of_run
from van_tutorial.evidence import METRICS_TYPE

RECORDED_VERSIONS = ("van-tutorial", "torch", "numpy", "pandas", "plotly", "papermill")


@dataclass(frozen=True)
class Task:
    """All that is needed to make a run, here or on another machine.

    Attributes:
        name: of the notebook, without its ending, or of the kind of network that is trained without one.
        source: the notebook file's content; None without one.
        parameters: all of them, typed.
        identity: what else the numbers depend on.
        home: the notebook's own folder, in which it runs where that exists; else in one that nobody wants afterwards.
    """

    name: str
    source: bytes | None
    parameters: dict[str, Any]
    identity: dict[str, str]
    home: str

    @property
    def key(self) -> str:
        """The name of the run."""
        return key_of_run(self.identity, self.parameters)


@dataclass(frozen=True)
class Outcome:
    """The result of a run.

    Attributes:
        files: content by name.
        reason: why the run failed; None where it did not.
    """

    files: dict[str, bytes]
    reason: str | None = None


class Interrupted(KeyboardInterrupt):  # no error
    """A run was interrupted.

    Args:
        outcome: what was done.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


def make_task(notebook: str | Path, parameters: Mapping[str, Any]) -> Task:
    """Return the task of a run.

    Args:
        notebook: path of the notebook.
        parameters: values for its parameters cell; what is not named keeps its default.

    Returns:
        The task, with every parameter in the type that the notebook declares.

    Raises:
        NotebookError: for what `check_parameters` refuses.
    """
    path = Path(notebook)
    declared = declared_parameters(path)
    typed = declared | fit_parameters(parameters, declared, path.name)
    source = path.read_bytes()
    return Task(path.stem, source, typed, identify(source), str(path.parent.resolve()))


def execute(task: Task, progress: TextIO | None = None) -> Outcome:
    """Run a notebook in a kernel of its own.

    Args:
        task: what to run.
        progress: where the notebook's progress bars are passed on to, live; None for nowhere.

    Returns:
        The executed notebook, config.json, metrics.json, run.log, and of a failed run failure.json.

    Raises:
        Interrupted: with what was done, after the kernel has been ended.
        OSError: where the kernel's files cannot be written.
    """
    started = time.time()
    notebook = with_parameters(parse_notebook(task.source or b"", task.name), task.parameters)
    failure: dict[str, Any] | None = None
    try:
        home = task.home if Path(task.home).is_dir() else None
        with running(notebook, home, record_timing=True, raise_on_iopub_timeout=True) as client:
            client.progress = progress
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
    except CellExecutionError as error:
        failure = {"reason": f"{error.ename}: {error.evalue}", "cell": cell.execution_count}
    except RuntimeError as error:  # the kernel died
        failure = {"reason": f"{type(error).__name__}: {error}", "cell": None}
    except KeyboardInterrupt:
        raise Interrupted(outcome_of_notebook(task, notebook, started)) from None
    return outcome_of_notebook(task, notebook, started, failure)


def outcome_of_notebook(
    task: Task, notebook: Any, started: float, failure: dict[str, Any] | None = None
) -> Outcome:
    """Return what is told of a notebook's run: how it looks last, what it measured, when it ran what and said."""
    # A bar that was drawn a hundred times is kept as it looked last.
    executed, _ = CoalesceStreamsPreprocessor().preprocess(notebook, {})
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    tables = [output["data"][METRICS_TYPE] for output in outputs if METRICS_TYPE in output.get("data", {})]
    metrics = [dict(zip(table["columns"], row, strict=True)) for table in tables for row in table["data"]]
    log = [line for cell in executed.cells for line in log_of(cell)]
    files = {f"{task.name}.ipynb": notebook_bytes(executed)}
    return outcome_of(task, files, metrics, "\n".join(log), started, time.time() - started, failure)


def log_of(cell: Any) -> Iterator[str]:
    """Yield when a cell ran, how it ended and after how long, and what it printed."""
    times = cell.metadata.get("execution", {})
    if begun := times.get("iopub.execute_input"):
        state = "not finished"
        if ended := times.get("shell.execute_reply"):
            seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds()
            has_failed = any(output.output_type == "error" for output in cell.outputs)
            state = f"{'failed' if has_failed else 'completed'}, {seconds:.2f} s"
        yield f"{begun[:19]} cell [{cell.execution_count or ' '}]: {state}"
        for output in cell.outputs:
            if output.output_type == "stream":
                yield output.text.rstrip("\n")
            elif output.output_type == "error":
                yield f"{output.ename}: {output.evalue}"


def outcome_of(
    task: Task,
    files: Mapping[str, bytes],
    metrics: list[dict[str, Any]],
    log: str,
    started: float,
    seconds: float,
    failure: dict[str, Any] | None = None,
) -> Outcome:
    """Return what is told of a run of any kind.

    Args:
        task: that was run.
        files: of its kind, content by name.
        metrics: the rows that it recorded.
        log: what it said.
        started: seconds since 1970.
        seconds: that it took.
        failure: why it failed, and where; None where it did not.

    Returns:
        The files, with config.json, metrics.json, run.log, and of a failed run failure.json.
    """
    config = {
        "notebook": f"{task.name}.ipynb" if task.source is not None else task.name,
        "parameters": as_plain_json(task.parameters),
        "identity": task.identity,
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in RECORDED_VERSIONS},
    }
    head = f"{config['started']} {task.name} ({name_parameters(task.parameters)})"
    contents: dict[str, Any] = {"config.json": config, "metrics.json": metrics}
    if failure is not None:
        contents["failure.json"] = failure = failure | {"reason": one_line(failure["reason"])}
    files = {
        **files,
        "run.log": f"{head}\n{log}\n{seconds:.2f} s in all\n".encode(errors="replace"),
        **{
            name: f"{json.dumps(content, indent=2, allow_nan=False)}\n".encode()
            for name, content in contents.items()
        },
    }
    return Outcome(files, failure["reason"] if failure else None)


def name_parameters(parameters: Mapping[str, Any]) -> str:
    """Return parameters as a line of text."""
    return ", ".join(f"{name}={value!r}" for name, value in parameters.items())
