"""Sweeps whose processes are killed: nothing finished is lost or half-written, the same command finishes the rest.

`VAN_TEST_KILLS=20` makes the last test kill twenty times instead of four, which takes some minutes.
"""

import os
import random
import time

import pytest

from tests.sweeping import SIX, Course, finish, kill, wait_for
from van_tutorial import batch

NUM_KILLS = int(os.environ.get("VAN_TEST_KILLS", "4"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What the six runs measure when nobody is killed."""
    course = Course(tmp_path_factory.mktemp("undisturbed"))
    assert batch.sweep(course.write_sweep(**SIX), runs=course.runs, workers=2).is_complete
    metrics = course.metrics()
    assert len(metrics) == 6
    return metrics


def is_under_way(course, num_finished=2):
    """Return what is finished, once it is so much, while the rest is still to come."""
    return wait_for(lambda: len(finished := course.finished()) >= num_finished and finished)


def check_kept(course, before):
    """Check that what was finished was not touched, and return all that is; each of them is whole."""
    after = course.finished()
    assert after.items() >= before.items()
    return after


def check_finished_by(process, course, undisturbed):
    status, out, error = finish(process)
    assert status == 0, error
    assert "6 of 6 runs are finished" in out
    assert course.metrics() == undisturbed
    assert course.hidden() == []


def test_a_killed_driver_loses_nothing_and_takes_its_workers_and_kernels_along(
    course, processes, undisturbed
):
    command = ["sweep", course.write_sweep(**SIX), "--runs", course.runs, "--workers", "2"]
    process = processes.command(*command)
    is_under_way(course)
    wait_for(processes.kernels)
    kill(process)
    finish(process)
    before = course.finished()
    assert len(before) < 6
    wait_for(lambda: not processes.alive(), 20)
    again = processes.command(*command)
    check_finished_by(again, course, undisturbed)
    check_kept(course, before)
    assert f"{6 - len(before)} of them now" in again.out.read_text()


def test_a_killed_worker_is_replaced_and_its_run_is_made_again(course, processes, undisturbed):
    process = processes.command("sweep", course.write_sweep(**SIX), "--runs", course.runs, "--workers", "2")
    before = is_under_way(course)
    wait_for(processes.kernels)
    killed = wait_for(lambda: processes.workers_of(process))[0]
    kill(killed)
    check_finished_by(process, course, undisturbed)
    check_kept(course, before)
    assert "Traceback" not in process.err.read_text()
    wait_for(lambda: not processes.alive(), 20)


@pytest.mark.slow
def test_a_worker_killed_while_it_starts_is_started_again(course, processes):
    process = processes.command("sweep", course.write_sweep(), "--runs", course.runs, "--workers", "1")
    kill(wait_for(lambda: processes.workers_of(process))[0])
    status, out, error = finish(process, 200)
    assert status == 0, error
    assert "1 of 1 runs are finished" in out
    assert "Traceback" not in error
    wait_for(lambda: not processes.alive(), 20)


def test_a_run_whose_worker_dies_each_time_is_not_done_and_keeps_nobody_else(course, processes):
    course.write_notebook(
        """
        import os, psutil
        if depth == 13 and not os.path.exists("mended"):
            psutil.Process().parent().kill()
        """
    )
    command = ["sweep", course.write_sweep(grid={"depth": [13, 3]}), "--runs", course.runs, "--workers", "1"]
    status, out, error = finish(processes.command(*command))
    assert status == 1
    assert "not done: depth=13: the worker died each time" in error
    assert "1 not done; the same command tries them again:" in out
    assert len(course.finished()) == 1
    (course.folder / "mended").touch()
    status, _, _ = finish(processes.command(*command))
    assert status == 0
    assert len(course.finished()) == 2
    assert course.hidden() == []


@pytest.mark.slow
def test_a_killed_worker_of_a_cluster_started_by_hand_is_done_without(course, processes, undisturbed):
    address, _, workers = processes.cluster()
    process = processes.command(
        "sweep", course.write_sweep(**SIX), "--runs", course.runs, "--scheduler", address
    )
    before = is_under_way(course)
    for part in (workers[0], *processes.workers_of(workers[0])):  # who would start it again first
        kill(part)
    check_finished_by(process, course, undisturbed)
    check_kept(course, before)


@pytest.mark.slow
def test_a_killed_scheduler_ends_the_sweep_in_one_sentence_and_another_one_finishes_it(
    course, processes, undisturbed
):
    command = ["sweep", course.write_sweep(**SIX), "--runs", course.runs, "--scheduler"]
    address, scheduler, _ = processes.cluster()
    process = processes.command(*command, address)
    is_under_way(course)
    kill(scheduler)
    status, _, error = finish(process, 30)
    before = course.finished()
    assert status == 1
    (line,) = [line for line in error.splitlines() if "van-tutorial:" in line]
    assert (
        f"The Dask scheduler no longer answers. {len(before)} of 6 runs are finished and kept; the same command"
        in line
    )
    assert "Traceback" not in error
    processes.end()  # the workers would wait for their scheduler for a while
    address, _, _ = processes.cluster()
    check_finished_by(processes.command(*command, address), course, undisturbed)
    check_kept(course, before)


def test_a_killed_run_is_made_again_and_its_kernel_ends(course, processes):
    command = ["run", course.notebook, "-p", "pause", "60", "--runs", course.runs]
    process = processes.command(*command)
    wait_for(course.ran)
    kill(process)
    finish(process)
    wait_for(lambda: not processes.kernels(), 20)
    assert course.finished() == {}
    course.write_notebook()
    batch.run(course.notebook, {"pause": 0.1}, runs=course.runs, page=False)
    assert len(course.finished()) == 1


@pytest.mark.slow
def test_kills_at_random_moments_lose_no_finished_run_and_leave_none_half_written(
    course, processes, undisturbed
):
    chance = random.Random(0)
    command = ["sweep", course.write_sweep(**SIX), "--workers", "2", "--runs"]
    folders = iter(course.root / f"runs-{number}" for number in range(NUM_KILLS + 1))
    course.runs = next(folders)
    process = None
    before = {}
    for _ in range(NUM_KILLS):
        if len(before) == 6:
            assert course.metrics() == undisturbed
            course.runs, before = next(folders), {}
        if process is None or process.poll() is not None:
            process = processes.command(*command, course.runs)
            time.sleep(2)  # nothing runs earlier
        time.sleep(chance.uniform(0, 5))
        workers = processes.workers_of(process)
        is_driver = not workers or chance.random() < 0.5
        kill(process if is_driver else chance.choice(workers))
        if is_driver:
            finish(process)
        before = check_kept(course, before)
    if finish(process)[0] != 0:
        process = processes.command(*command, course.runs)
        check_finished_by(process, course, undisturbed)
    check_kept(course, before)
    assert course.metrics() == undisturbed
    wait_for(lambda: not processes.alive(), 20)
