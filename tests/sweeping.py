"""Pieces of the tests of runs and sweeps: a notebook that is quick, what a folder of runs must be, processes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import nbformat
import psutil
import yaml

COMMAND = [sys.executable, "-m", "van_tutorial.cli"]
FILES = ["config.json", "lesson.ipynb", "metrics.json", "run.log"]
PARAMETERS = """
    depth: int = 3  # layers
    lr: float = 0.5  # learning rate
    seed: int = 0  # of everything
    pause: float = 0.0  # seconds
"""
LESSON = """
    import time
    from pathlib import Path
    from IPython.display import display

    with open("ran.txt", "a") as file:
        print(depth, lr, seed, file=file)
    if depth == 13 and not Path("mended").exists():
        raise ValueError("too deep")
    time.sleep(pause)
    table = {"columns": ["accuracy", "step"], "data": [[depth * lr + seed, None]]}
    display({"application/vnd.van-tutorial.metrics+json": table, "text/plain": str(table)}, raw=True)
"""
SIX = {"grid": {"depth": [3, 4, 5]}, "seeds": 2}


class Course:
    """A folder with a notebook and sweep files, and one for the runs."""

    def __init__(self, root):
        self.root = root
        self.folder = root / "course"
        self.runs = root / "runs"
        self.folder.mkdir()
        self.notebook = self.folder / "lesson.ipynb"
        self.write_notebook()

    def write_notebook(self, code=LESSON):
        cells = [
            nbformat.v4.new_code_cell(
                textwrap.dedent(PARAMETERS).strip(), metadata={"tags": ["parameters"]}, id="parameters"
            ),
            nbformat.v4.new_code_cell(textwrap.dedent(code).strip(), id="lesson"),
        ]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), self.notebook)

    def write_sweep(self, name="sweep.yaml", **sections):
        path = self.folder / name
        path.write_text(yaml.safe_dump({"notebook": "lesson.ipynb", **sections}))
        return path

    def ran(self):
        """Return what the notebook was run with, once for each time that it was."""
        path = self.folder / "ran.txt"
        return sorted(path.read_text().splitlines()) if path.exists() else []

    def finished(self):
        """Return what tells whether a finished run was touched, by its key."""
        return {
            folder.name: [(path.name, path.stat().st_ino, path.stat().st_mtime_ns) for path in whole(folder)]
            for folder in (self.runs / "lesson").glob("[!.]*")
            if "-" not in folder.name
        }

    def metrics(self):
        """Return what was measured, by the run's key."""
        return {
            key: json.loads((self.runs / "lesson" / key / "metrics.json").read_text())
            for key in self.finished()
        }

    def hidden(self):
        """Return what lies in the folder of the runs and passes for none of them."""
        return sorted(path.name for path in self.runs.rglob(".*"))


def whole(folder):
    """Return the files of a finished run, each of which must be there and readable to its end."""
    paths = sorted(folder.iterdir())
    assert [path.name for path in paths if path.suffix != ".html"] == FILES
    for path in paths:
        if path.suffix in (".json", ".ipynb"):
            json.loads(path.read_text())
    assert "s in all" in (folder / "run.log").read_text()
    return paths


class Processes:
    """Starts processes that carry a mark, so that they and their children can be found, and ends them."""

    def __init__(self, root):
        self.root = root
        self.mark = str(root)
        self.started = []

    def start(self, *command, environment=None):
        """Start a command that a Ctrl-C in the terminal of the tests does not reach; what it prints goes to files."""
        number = len(self.started)
        out, err = self.root / f"{number}.out", self.root / f"{number}.err"
        with out.open("w") as stdout, err.open("w") as stderr:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=self.root,
                env={**os.environ, "VAN_TEST_MARK": self.mark, **(environment or {})},
                start_new_session=True,
            )
        process.out, process.err = out, err
        self.started.append(process)
        return process

    def command(self, *arguments):
        """Start the console script."""
        return self.start(*COMMAND, *arguments)

    def cluster(self, num_workers=2, **choices):
        """Start a Dask cluster as a user does by hand, and return its address, its scheduler and its workers."""
        file = self.root / f"scheduler-{len(self.started)}.json"
        dask = [sys.executable, "-m", "dask"]
        at = ["--host", "127.0.0.1", "--no-dashboard"]
        scheduler = self.start(*dask, "scheduler", *at, "--port", "0", "--scheduler-file", file)
        wait_for(file.exists)
        workers = [self.worker(file, **choices) for _ in range(num_workers)]
        address = json.loads(wait_for(file.read_text))["address"]
        return address, scheduler, workers

    def worker(self, file, **choices):
        at = ["--host", "127.0.0.1", "--no-dashboard", "--nthreads", "1"]
        return self.start(sys.executable, "-m", "dask", "worker", *at, "--scheduler-file", file, **choices)

    def alive(self, *parts):
        """Return the living processes that carry the mark, and whose command holds all of some texts."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                is_ours = process.environ().get("VAN_TEST_MARK") == self.mark and process.pid != os.getpid()
                command = " ".join(process.cmdline())
                if is_ours and all(part in command for part in parts):
                    found.append(process)
        return found

    def kernels(self):
        return self.alive("ipykernel_launcher")

    def workers_of(self, process):
        """Return the worker processes that a sweep, or a worker's nanny, has started."""
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(process.pid).children()
            return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        return []

    def end(self):
        for process in self.alive():
            with contextlib.suppress(psutil.Error):
                process.kill()
        for process in self.started:
            process.wait()


def wait_for(condition, timeout=90):
    """Wait until a condition holds, and return what it gave."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{condition} did not come true in {timeout} s"
        time.sleep(0.05)
    return result


def finish(process, timeout=120):
    """Wait for a process, and return its exit status and what it printed."""
    status = process.wait(timeout)
    return status, process.out.read_text(), process.err.read_text()


def kill(process):
    """End a process as the operating system does when the memory is full."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
