"""What a Dask worker does for a sweep."""

import contextlib
import functools
import importlib
import os
import signal
from typing import Any

import psutil

from van_tutorial.batch.cluster import ClusterError
from van_tutorial.batch.execute import Outcome, Task, execute
from van_tutorial.batch.store import TRAINS, identify

MOST_TRIES = 3  # of a run whose kernel was killed; as many as Dask grants one whose worker was
KILLED = "DeadKernelError"


def make_group(tasks: list[Task]) -> list[Outcome]:
    """Make runs that a sweep wants, a notebook again where its kernel was killed.

    Args:
        tasks: of the runs: one notebook, or networks of one shape.

    Returns:
        The result of each.

    Raises:
        ClusterError: where this worker has another package, other data or another torch than the sweep.
    """
    from distributed import get_worker

    check(tasks[0], get_worker())
    if tasks[0].source is None:
        from van_tutorial.batch.networks import train_group

        return train_group(tasks)
    for _ in range(MOST_TRIES):
        outcome = execute(tasks[0])
        if not (outcome.reason or "").startswith(KILLED):
            break
    return [outcome]


@functools.cache
def loaded() -> dict[str, str]:
    """Return what the networks depend on that this process trains, which stays as it was loaded by the first call."""
    for name in TRAINS:
        importlib.import_module(f"van_tutorial.{name.removesuffix('.py')}")
    return identify(None)


def check(task: Task, dask_worker: Any) -> None:
    """Raise where a run would not be here what it is for the sweep.

    Args:
        task: of the run.
        dask_worker: Dask's object for this process, which Dask itself puts in by this name.

    Raises:
        ClusterError: where this worker has another package, other data or another torch than the sweep, on its disk, or
            loaded where it trains networks.
    """
    here = loaded() if task.source is None else identify(task.source)
    if difference := [name for name in here if here[name] != task.identity[name]]:
        raise ClusterError(
            f"The worker at {dask_worker.address} differs from the sweep in {' and '.join(difference)}: install the "
            "same on both, start the workers again, and change nothing while a sweep runs."
        )


def dask_setup(worker: Any) -> None:
    """Leave Ctrl-C, which a terminal sends to every process of a command, to the sweep itself.

    Dask calls this, and the next, by their names in the workers that a sweep starts on its own machine.

    Args:
        worker: Dask's object for this process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def dask_teardown(worker: Any) -> None:
    """End now instead of waiting for the notebook in hand, which nobody wants any more, and end its kernel before.

    A kernel would end by itself, but one that is only just starting complains first that its folder is missing.

    Args:
        worker: Dask's object for this process.
    """
    for kernel in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            kernel.kill()
    os._exit(0)
