"""The Dask cluster that a sweep works with: one on this machine for as long as it takes, or one that is there."""

import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client

# Dask is imported where it is needed: each notebook imports this package, and few sweep.

SECONDS_TO_CONNECT = 10
MOST_STARTS = 3
NOISY = ("distributed", "distributed.client", "asyncio", "tornado", "tornado.application")
GONE = "The Dask scheduler no longer answers."
SILENT = logging.CRITICAL + 1


class ClusterError(RuntimeError):
    """The Dask cluster is not there, is not fit for the sweep, or no longer answers."""


@contextlib.contextmanager
def on_this_machine(num_workers: int | None, most: int) -> Iterator["Client"]:
    """Start single-threaded workers as processes of this machine that only this process can talk to.

    They listen on loopback alone, with credentials that are made for them and kept in memory.

    Args:
        num_workers: how many; None for as many as there are cores.
        most: more are not needed.

    Yields:
        The client of their scheduler, which is a thread of this process.

    Raises:
        ClusterError: where workers are ended each time that they start.
    """
    import dask
    from dask.system import CPU_COUNT
    from distributed import Client, LocalCluster

    settings: dict[str, Any] = {
        "distributed.scheduler.http.routes": [],  # no pages
        "distributed.worker.http.routes": [],
        # Nannies start dead workers again; so long after a death the cluster would give up on one just starting.
        "distributed.deploy.lost-worker-timeout": "1000 days",
        # Dask has the C library give freed memory back at once. Networks need it again in the next step.
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**30,
        "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 2**25,
    }
    choices: dict[str, Any] = {
        "n_workers": min(num_workers or CPU_COUNT, most),
        "threads_per_worker": 1,
        "host": "127.0.0.1",
        "dashboard_address": None,
        "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},  # any free port, with nothing to be seen
        "security": True,
        "silence_logs": SILENT,
        "memory_limit": None,  # what a notebook needs is in its kernel, which Dask does not see
        "preload": "van_tutorial.batch.worker",
    }
    with dask.config.set(settings), contextlib.ExitStack() as stack:
        for tries_left in reversed(range(MOST_STARTS)):
            try:
                cluster = stack.enter_context(LocalCluster(**choices))
                break
            except RuntimeError as error:  # a worker was killed before it could report
                if tries_left == 0:
                    reason = f"The workers were ended {MOST_STARTS} times while they started ({error})"
                    raise ClusterError(f"{reason}: see what ends them, maybe too little memory.") from error
        yield stack.enter_context(Client(cluster, set_as_default=False))


@contextlib.contextmanager
def on_cluster(scheduler: Any) -> Iterator["Client"]:
    """Connect to a scheduler that someone else started.

    Args:
        scheduler: host and port, or with tcp:// or tls:// before them; keys are where Dask's configuration says. Or
            one of Dask's cluster objects.

    Yields:
        The client.

    Raises:
        ClusterError: where none answers, or credentials are wanted that are not there.
    """
    import dask
    from distributed import Client

    if str(scheduler).startswith("tls://") and not dask.config.get("distributed.comm.tls.client.cert"):
        raise ClusterError(
            f"{scheduler} wants a certificate, and Dask's configuration names none: docs/clusters.md says how."
        )
    try:
        client = Client(scheduler, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, TypeError, ValueError) as error:  # of the last two: an address or keys that cannot be
        reason = str(error).splitlines()[0]
        raise ClusterError(
            f"No Dask scheduler answers at {scheduler} within {SECONDS_TO_CONNECT} s ({reason}): "
            "start one with `dask scheduler`, or leave the address out to work on this machine."
        ) from error
    try:
        yield client
    finally:
        client.close(timeout=SECONDS_TO_CONNECT)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what Dask logs of workers that come and go from the terminal, and tell of a lost cluster in one sentence.

    Where the cluster was lost it stays quiet: Dask goes on complaining for a while.

    Yields:
        Nothing.

    Raises:
        ClusterError: where the scheduler no longer answers.
    """
    from distributed import CancelledError
    from distributed.comm.core import CommClosedError

    with contextlib.ExitStack() as undo:
        for logger in map(logging.getLogger, NOISY):
            undo.callback(logger.setLevel, logger.level)
            logger.setLevel(SILENT)
        try:
            yield
        except (CancelledError, CommClosedError, ClusterError) as error:
            undo.pop_all()
            raise ClusterError(str(error) if isinstance(error, ClusterError) else GONE) from error
