"""One notebook executed into a folder, on whatever machine."""

import contextlib
import json
import os
import platform
import shutil
import tempfile
import textwrap
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

import nbformat
import papermill
from filelock import FileLock, Timeout
from nbconvert.preprocessors.coalescestreams import CoalesceStreamsPreprocessor
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from van_tutorial._files import write_atomic
from van_tutorial.batch.metrics import read_metrics
from van_tutorial.batch.notebooks import as_plain_json, notebook_bytes, parse_notebook, with_parameters
from van_tutorial.batch.parameters import declared_parameters, fit_parameters
from van_tutorial.batch.store import Identity, clear_errors, identify

RECORDED_VERSIONS = ("van-tutorial", "torch", "numpy", "pandas", "plotly", "papermill")
LONGEST_REASON = 300  # characters; the whole of it stands in the notebook
LONGEST_SOCKET_FOLDER = 70  # characters; the operating system allows about 100 for the whole path of a socket
SECONDS_TO_LOCK = 60.0  # a folder that is younger may not be locked yet by the process that made it


@dataclass(frozen=True)
class Task:
    """All that is needed to make a run, here or on another machine.

    Attributes:
        name: of the notebook, without its ending, or of the kind of network that is trained without one.
        source: the notebook file's content; None without one.
        parameters: all of them, typed.
        identity: what else the numbers depend on.
        home: the notebook's own folder, in which it runs where that exists.
    """

    name: str
    source: bytes | None
    parameters: dict[str, Any]
    identity: Identity
    home: str

    @property
    def key(self) -> str:
        """The name of the run."""
        return self.identity.key(self.parameters)


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


def execute(
    task: Task, folder: Path, progress: TextIO | None = None, scratch: Path | None = None
) -> str | None:
    """Run a notebook in a kernel of its own, and write into a folder what came out.

    These files are there afterwards, when the run failed or was interrupted as well: the executed notebook,
    config.json, metrics.json, run.log, and of a failed run failure.json.

    Args:
        task: what to run.
        folder: where to write; it is made.
        progress: where the notebook's progress bars are passed on to, live; None for nowhere.
        scratch: folder for what nobody wants afterwards: the kernel's sockets, where its path is short enough, and
            what the notebook writes where it has no home; None for the system's folder of such files.

    Returns:
        Why the run failed; None where it did not.

    Raises:
        KeyboardInterrupt: passed on, after the kernel has been ended.
        OSError: where the files cannot be written.
    """
    output = folder / f"{task.name}.ipynb"
    started, start = datetime.now(UTC), time.perf_counter()
    home = task.home if Path(task.home).is_dir() else str(scratch or folder)
    failure: dict[str, Any] | None = None
    with clear_errors(folder):
        folder.mkdir(parents=True)
        notebook = parse_notebook(task.source or b"", output.name)
        output.write_bytes(notebook_bytes(with_parameters(notebook, task.parameters)))
    try:
        with clear_errors(folder), private_kernel(scratch) as config:
            path = (
                str(output).replace("{", "{{").replace("}", "}}")
            )  # papermill fills in what stands in braces
            papermill.execute_notebook(
                path,
                path,
                resources={"metadata": {"path": home}},  # not cwd=, which would move this whole process
                progress_bar=False,
                stdout_file=BarsOnly(progress) if progress else None,
                shutdown_kernel="immediate",
                store_widget_state=False,
                autosave_cell_every=0,
                config=config,
                extra_arguments=orphans_end(),
            )
    except PapermillExecutionError as error:
        failure = {"reason": one_line(f"{error.ename}: {error.evalue}"), "cell": error.exec_count}
    except RuntimeError as error:  # the kernel died
        failure = {"reason": one_line(f"{type(error).__name__}: {error}"), "cell": None}
    except KeyboardInterrupt:
        with contextlib.suppress(ValueError, nbformat.reader.NotJSONError):  # it may have been in mid-writing
            describe(task, folder, started, time.perf_counter() - start)
        raise
    describe(task, folder, started, time.perf_counter() - start)
    if failure is not None:
        write_atomic(folder / "failure.json", as_json(failure))
        return str(failure["reason"])
    return None


def describe(task: Task, folder: Path, started: datetime, seconds: float) -> None:
    """Write what is told of a run: the notebook as it looks last, with what it ran, what it measured and said."""
    output = folder / f"{task.name}.ipynb"
    executed = nbformat.read(output, as_version=4)
    # A bar that was drawn a hundred times is kept as it looked last.
    executed, _ = CoalesceStreamsPreprocessor().preprocess(executed, {})
    told = executed.metadata.get("papermill", {})
    executed.metadata["papermill"] = {**told, "input_path": output.name, "output_path": output.name}
    config = config_of(task, started, seconds)
    write_atomic(output, notebook_bytes(executed))
    write_atomic(folder / "metrics.json", as_json(read_metrics(executed)))
    write_atomic(folder / "run.log", log_of(task, executed, config).encode())
    write_atomic(folder / "config.json", as_json(config))


def config_of(task: Task, started: datetime, seconds: float) -> dict[str, Any]:
    """Return what config.json says of a run."""
    return {
        "notebook": f"{task.name}.ipynb" if task.source is not None else task.name,
        "parameters": as_plain_json(task.parameters),
        "identity": asdict(task.identity),
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in RECORDED_VERSIONS},
    }


def as_json(content: Any) -> bytes:
    """Return a file's content."""
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def one_line(text: str) -> str:
    """Return a text on one line, cut where it is too long for a list."""
    return textwrap.shorten(text, LONGEST_REASON, placeholder=" …")


def log_of(task: Task, executed: Any, config: Mapping[str, Any]) -> str:
    """Return the log of an executed notebook: when each cell ran, for how long, and what it printed."""
    parts = [f"{task.name} ({name_parameters(task.parameters)})"]
    parts.append(f"{config['started']} started, Python {config['python']}, torch {task.identity.torch}")
    for cell in executed.cells:
        ran = cell.metadata.get("papermill", {})
        if cell.cell_type != "code" or not ran.get("start_time"):
            continue
        start = datetime.fromisoformat(ran["start_time"]).isoformat(timespec="seconds")
        seconds = "not finished" if ran["duration"] is None else f"{ran['duration']:.2f} s"
        parts.append(f"{start} cell [{cell.execution_count or ' '}]: {ran['status']}, {seconds}")
        for output in cell.outputs:
            if output.output_type == "stream":
                parts.append(output.text.rstrip("\n"))
            elif output.output_type == "error":
                parts.append(f"{output.ename}: {output.evalue}")
    parts.append(f"{config['seconds']:.2f} s in all")
    return "\n".join(parts) + "\n"


def name_parameters(parameters: Mapping[str, Any]) -> str:
    """Return parameters as a line of text."""
    return ", ".join(f"{name}={value!r}" for name, value in parameters.items())


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


def orphans_end() -> list[str]:
    """Return a kernel's arguments that let it end, and say nothing, when the process that started it is killed.

    A kernel watches its parent, but not for one that is gone before the watch begins.
    """
    watch = f"__import__('psutil').pid_exists({os.getpid()}) or __import__('os')._exit(1)"
    return ["--log-level=ERROR", f"--IPKernelApp.exec_lines={watch}"]


@contextlib.contextmanager
def kernel_folder(parent: str | Path | None = None) -> Iterator[Path]:
    """Make a folder of a kernel for a while; those that killed processes left beside it are removed."""
    parent = Path(parent or tempfile.gettempdir())
    for lock in parent.glob("van-kernel-*/lock"):
        with contextlib.suppress(OSError, Timeout):
            about = lock.parent.lstat()
            is_ours = os.name == "nt" or about.st_uid == os.getuid()
            if is_ours and time.time() - about.st_mtime > SECONDS_TO_LOCK:
                with FileLock(lock, timeout=0):
                    shutil.rmtree(lock.parent)
    with (
        tempfile.TemporaryDirectory(prefix="van-kernel-", dir=parent, ignore_cleanup_errors=True) as folder,
        FileLock(f"{folder}/lock"),
    ):
        yield Path(folder)


@contextlib.contextmanager
def private_kernel(scratch: Path | None = None) -> Iterator[Config]:
    """Give a kernel socket files that only this user can open, and remove them; on Windows it listens on loopback."""
    if os.name == "nt":
        yield Config()
        return
    # The last is there and short enough on every such system.
    places = (scratch, tempfile.gettempdir(), "/tmp")
    with kernel_folder(
        next(place for place in places if place and len(str(place)) < LONGEST_SOCKET_FOLDER)
    ) as folder:
        files = {"ip": f"{folder}/kernel", "connection_file": f"{folder}/kernel.json"}
        yield Config({"KernelManager": {"transport": "ipc", **files}})
