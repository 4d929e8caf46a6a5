"""Many runs of a notebook, or trainings of a network: what is missing is made, on this machine or on a Dask cluster.

The process that sweeps is the only one that writes into the folder of the runs. It claims a run, hands it to a worker,
gets the files back as bytes, and keeps them. So no shared disk is needed. When a process is killed, a run is either
whole in its folder or missing there, and the same sweep makes what is missing.
"""

import contextlib
import importlib
import math
import os.path
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tqdm import tqdm

from van_tutorial._extras import needs
from van_tutorial.batch.cluster import GONE, ClusterError, on_cluster, on_this_machine, quiet
from van_tutorial.batch.execute import Outcome, Task, name_parameters
from van_tutorial.batch.notebooks import one_line
from van_tutorial.batch.results import read_run
from van_tutorial.batch.run import sigterm_as_interrupt
from van_tutorial.batch.store import FAILED, BusyError, aside, claim, identify, keep
from van_tutorial.batch.sweep_file import Sweep, SweepError, read_sweep
from van_tutorial.batch.worker import KILLED, check, make_group

if TYPE_CHECKING:
    from distributed import Client, Future

MOST_UNASKED = 200
MOST_AT_ONCE = 16  # networks in a process
DIED = "died each time it was tried, maybe for want of memory"
SECONDS_BETWEEN_LOOKS = 1.0  # at the cluster's size, and at what another process makes


@dataclass(frozen=True)
class Unfinished:
    """A run of a sweep that has no result.

    Attributes:
        parameters: those that vary in the sweep.
        reason: why it has none.
        folder: of what it left; None where it left nothing.
    """

    parameters: dict[str, Any]
    reason: str
    folder: Path | None

    def __str__(self) -> str:
        """Return the line that a list of them shows."""
        where = f" ({self.folder})" if self.folder else ""
        return f"{name_parameters(self.parameters) or 'the only run'}: {self.reason}{where}"


@dataclass(frozen=True)
class Swept:
    """What became of the runs of a sweep.

    Attributes:
        folder: of all runs of the notebook, or of the kind of network.
        finished: folders of the runs that this call made.
        there: folders of the runs that were there already, or that another process made meanwhile.
        failed: runs in which a cell failed, now or before, and those whose folders are damaged.
        not_done: runs that could not be brought to an end; the same sweep tries them again.
    """

    folder: Path
    finished: tuple[Path, ...]
    there: tuple[Path, ...]
    failed: tuple[Unfinished, ...]
    not_done: tuple[Unfinished, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every run is finished."""
        return not self.failed and not self.not_done


def sweep(
    file: str | Path,
    runs: str | Path = "runs",
    workers: int | None = None,
    scheduler: Any = None,
    retry_failed: bool = False,
    progress: TextIO | None = None,
    confirm: Callable[[str], bool] | None = None,
) -> Swept:
    """Make the runs of a sweep file that are not there yet, in parallel.

    A script calls this under `if __name__ == "__main__":`, since the workers are processes that import it as well.

    Args:
        file: the sweep file, as `read_sweep` reads it.
        runs: folder of all runs; they are kept as `run` keeps them, without pages.
        workers: processes on this machine; None for as many as it has cores.
        scheduler: address of a Dask scheduler that gets the work instead, such as tcp://127.0.0.1:8786 (keys for
            tls:// are where Dask's own configuration says), or one of Dask's cluster objects.
        retry_failed: run again what failed before or is damaged; otherwise it is listed and left.
        progress: where a progress bar and the failures are written to; None for nowhere.
        confirm: is asked a question before more than 200 runs are made; None refuses them.

    Returns:
        What became of each run.

    Raises:
        SweepError: for what `read_sweep` refuses, and where more than 200 runs were not confirmed.
        ClusterError: where no scheduler answers or it goes away, and where a worker has other versions than this
            machine; what was finished is kept.
        ValueError: for a number of workers that cannot be.
        KeyboardInterrupt: passed on, after the workers have been ended.
        OSError: where a run cannot be written; nothing half-written is left.
    """
    if workers is not None and (workers < 1 or scheduler is not None):
        raise ValueError(
            f"workers is at least 1, and only without a scheduler: got {workers} and {scheduler!r}."
        )
    plan = read_sweep(file)
    driver = Driver(plan, Path(runs) / plan.subject, retry_failed, progress)
    missing = driver.find_missing(confirm)
    if missing:
        with needs("A sweep", "sweeps"):
            importlib.import_module("distributed")  # which sets up its loggers
        opened = on_cluster(scheduler) if scheduler is not None else on_this_machine(workers, len(missing))
        try:
            with sigterm_as_interrupt(), quiet(), driver.shown(len(missing)), opened as client:
                driver.make(missing, client)
        except (KeyboardInterrupt, ClusterError) as error:
            num_kept = len(driver.books["finished"]) + len(driver.books["there"])
            kept = (
                f"{num_kept} of {plan.num_runs} runs are finished and kept; the same command makes the rest"
            )
            if isinstance(error, ClusterError):
                raise ClusterError(f"{error} {kept}.") from error
            raise KeyboardInterrupt(kept) from None
    return Swept(driver.parent, **{name: tuple(runs) for name, runs in driver.books.items()})


class Driver:
    """Keeps the books of a sweep.

    Args:
        plan: the sweep.
        parent: folder of its runs.
        retry_failed: whether what failed before or is damaged is to be made again.
        progress: where the progress bar goes; None for nowhere.
    """

    def __init__(self, plan: Sweep, parent: Path, retry_failed: bool, progress: TextIO | None) -> None:
        self.plan = plan
        self.parent = parent
        self.retry_failed = retry_failed
        self.progress = progress
        self.bar = tqdm(disable=True)
        self.books: dict[str, list[Any]] = {"finished": [], "there": [], "failed": [], "not_done": []}
        self.waiting: deque[list[Task]] = deque()
        self.held: list[Task] = []  # by another process
        self.flying: dict[Future[list[Outcome]], tuple[list[Task], contextlib.ExitStack]] = {}

    def find_missing(self, confirm: Callable[[str], bool] | None) -> list[Task]:
        """Return the runs that are to be made, once it is sure that so many are meant."""
        missing = [task for task in tasks_of(self.plan) if not self.is_settled(task)]
        if len(missing) > MOST_UNASKED:
            question = (
                f"{self.plan.path} has {self.plan.num_runs:,} runs, and {len(missing):,} are to be made"
            )
            if not (confirm and confirm(f"{question}. Go on?")):
                raise SweepError(f"{question}, which was not confirmed: nothing was run.")
        return missing

    def is_settled(self, task: Task) -> bool:
        """Enter a run that is there or failed before into the books, and return whether that was so."""
        own = self.parent / task.key
        for folder in filter(os.path.lexists, (own, aside(own, FAILED))):
            run = read_run(folder)
            if run.state == "finished":
                self.books["there"].append(folder)
            elif not self.retry_failed:
                self.books["failed"].append(self.unfinished(task, run.reason or "", folder))
            else:
                continue
            return True
        return False

    def unfinished(self, task: Task, reason: str, folder: Path | None = None) -> Unfinished:
        """Return the entry of a run that has no result."""
        return Unfinished({name: task.parameters[name] for name in self.plan.varying}, reason, folder)

    def shown(self, num_missing: int) -> tqdm:
        """Return the progress bar, begun."""
        self.bar = tqdm(
            total=num_missing,
            desc=self.plan.name,
            file=self.progress,
            unit="run",
            smoothing=0,  # runs come in twos and threes: the mean is the better estimate
            dynamic_ncols=True,
            disable=self.progress is None,
        )
        return self.bar

    def make(self, missing: list[Task], client: "Client") -> None:
        """Make runs, or wait for another process that holds them to make them."""
        num_workers = max(1, len(client.nthreads()))
        self.waiting.extend(groups_of(missing, num_workers))
        self.check_workers(missing[0], client)
        if any(task.source is None and task.parameters["compile"] for task in missing):
            self.say("Each shape of network is compiled first: a minute or two, seconds where it was before.")
        look_at = 0.0
        try:
            while self.waiting or self.held or self.flying:
                if client.status != "running":
                    raise ClusterError(GONE)
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + SECONDS_BETWEEN_LOOKS
                    # None waits at a worker, whose death would count against it; and another process can claim it.
                    capacity = max(1, sum(client.nthreads().values()))
                    if not self.waiting:
                        self.waiting.extend(groups_of(self.held, num_workers))
                        self.held.clear()
                    self.show()
                while self.waiting and len(self.flying) < capacity:
                    self.launch(self.waiting.popleft(), client)
                landed = [future for future in self.flying if future.done()]
                for future in landed:
                    tasks, claims = self.flying.pop(future)
                    with claims:
                        self.land(tasks, future)
                if not landed:
                    time.sleep(0.1)
        finally:
            for _, claims in self.flying.values():
                claims.close()

    def check_workers(self, task: Task, client: "Client") -> None:
        """Raise where a worker that is there could not do the work: Dask would end it without a word."""
        answers = client.run(check, task, on_error="return")
        for address, answer in answers.items():
            if isinstance(answer, ClusterError):
                raise answer
            if answer is not None:
                raise ClusterError(
                    f"The worker at {address} cannot do the work ({answer}): install the same there."
                )
        if not answers:
            self.say("The cluster has no worker: waiting for one.")

    def launch(self, group: list[Task], client: "Client") -> None:
        """Claim runs and send them to a worker, less those that another process holds or has made."""
        claimed = []
        with contextlib.ExitStack() as claims:
            for task in group:
                try:
                    claims.enter_context(claim(self.parent / task.key))
                except BusyError:
                    self.held.append(task)
                    continue
                if self.is_settled(task):
                    self.bar.update()
                else:
                    claimed.append(task)
            if claimed:
                future = client.submit(make_group, claimed, pure=False)
                self.flying[future] = claimed, claims.pop_all()

    def land(self, group: list[Task], future: "Future[list[Outcome]]") -> None:
        """Keep what came back."""
        from distributed import CancelledError, KilledWorker

        try:
            outcomes = future.result()
        except (ClusterError, CancelledError):
            raise
        except Exception as error:  # of the worker: a full disk, say
            if isinstance(error.__cause__, ImportError):  # so Dask tells of its scheduler
                raise ClusterError(
                    f"The scheduler cannot do the work ({error.__cause__}): install the same there."
                ) from error
            reason = one_line(f"{type(error).__name__} on the worker: {error}")
            if isinstance(error, KilledWorker):
                reason = f"the worker {DIED}"
            for task in group:
                self.enter("not_done", task, reason)
        else:
            for task, outcome in zip(group, outcomes, strict=True):
                self.keep(task, outcome)
        self.bar.update(len(group))

    def keep(self, task: Task, outcome: Outcome) -> None:
        """Write a run that a worker made into its folder, but not one whose kernel was killed."""
        folder = self.parent / task.key
        if outcome.reason is None:
            self.books["finished"].append(keep(folder, outcome.files))
        elif outcome.reason.startswith(KILLED):
            self.enter("not_done", task, f"its kernel {DIED}")
        else:
            self.enter("failed", task, outcome.reason, keep(folder, outcome.files, FAILED))

    def enter(self, book: str, task: Task, reason: str, folder: Path | None = None) -> None:
        """Enter a run that has no result into the books, and say so."""
        self.books[book].append(self.unfinished(task, reason, folder))
        self.say(f"{book.replace('_', ' ')}: {self.books[book][-1]}")

    def say(self, line: str) -> None:
        """Write a line above the progress bar."""
        if self.progress is not None:
            self.bar.write(line, file=self.progress)

    def show(self) -> None:
        """Bring the progress bar up to date, its clock too where it is seen to run."""
        counts = {"failed": "failed", "not done": "not_done"}
        numbers = {name: len(self.books[book]) for name, book in counts.items()}
        numbers["made elsewhere"] = len(self.held)
        is_watched = self.progress is not None and self.progress.isatty()
        self.bar.set_postfix({name: number for name, number in numbers.items() if number}, refresh=is_watched)


def tasks_of(plan: Sweep) -> Iterator[Task]:
    """Return the runs of a sweep one by one; raise where choices of a network do not fit together."""
    source = plan.notebook.read_bytes() if plan.notebook else None
    home = str(plan.notebook.parent.resolve()) if plan.notebook else ""
    identity = identify(source)
    runs = [dict(parameters) for parameters in plan.runs]
    if source is None:
        from van_tutorial.batch.networks import choose_compiled, configs_of

        for parameters in runs:
            try:
                configs_of(plan.subject, parameters | {"compile": bool(parameters["compile"])})
            except ValueError as error:
                which = name_parameters({name: parameters[name] for name in plan.varying})
                raise SweepError(
                    f"{plan.path}: {error}{f' (In the run {which}.)' if which else ''}"
                ) from error
        if plan.subject == "mlp":
            choose_compiled(runs)
    for parameters in runs:
        yield Task(plan.subject, source, parameters, identity, home)


def groups_of(tasks: Sequence[Task], num_workers: int) -> list[list[Task]]:
    """Return runs in groups that a worker makes together: each notebook alone, networks of one shape at once.

    Args:
        tasks: of the runs.
        num_workers: of networks a group has no more than leaves something to do for each worker, and at most 16;
            of compiled ones 8.

    Returns:
        The groups.
    """
    if not tasks or tasks[0].source is not None:
        return [[task] for task in tasks]
    from van_tutorial.batch.networks import COMPILED_AT_ONCE, shape_of

    shapes: dict[str, list[Task]] = {}
    for task in tasks:
        shape = shape_of(task.parameters) if task.name == "mlp" else task.key
        shapes.setdefault(shape, []).append(task)
    groups = []
    for same in shapes.values():
        is_compiled = same[0].parameters["compile"]
        size = COMPILED_AT_ONCE if is_compiled else min(MOST_AT_ONCE, math.ceil(len(same) / num_workers))
        groups += [same[start : start + size] for start in range(0, len(same), size)]
    return groups
