"""Sweeps: what is missing is made, failures are told, and no process gets in another's way."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import distributed
import psutil
import pytest

import van_tutorial
from tests.sweeping import COMMAND, Processes, finish, wait_for
from van_tutorial import batch, cli
from van_tutorial.batch.execute import execute, make_task
from van_tutorial.batch.store import claim

PACKAGE = Path(van_tutorial.__file__).parent


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a cluster that was started by hand."""
    processes = Processes(tmp_path_factory.mktemp("cluster"))
    yield processes.cluster()[0]
    processes.end()


def test_a_sweep_makes_every_run_and_later_only_what_is_missing(course):
    file = course.write_sweep(grid={"depth": [3, 4]})
    swept = batch.sweep(file, runs=course.runs, workers=2)
    assert swept.is_complete
    assert len(swept.finished) == 2
    assert course.ran() == ["3 0.5 0", "4 0.5 0"]
    first = course.finished()
    assert {batch.run(course.notebook, {"depth": 4}, course.runs, page=False).is_new} == {False}

    file = course.write_sweep(grid={"depth": [3, 4]}, seeds=2)
    again = batch.sweep(file, runs=course.runs, workers=1)
    assert len(again.finished) == 2
    assert sorted(path.name for path in again.there) == sorted(first)
    assert course.ran() == ["3 0.5 0", "3 0.5 1", "4 0.5 0", "4 0.5 1"]
    assert course.finished().items() >= first.items()
    assert sorted(batch.results(course.runs)["accuracy"]) == [1.5, 2.0, 2.5, 3.0]
    assert course.hidden() == []


def test_a_sweep_with_nothing_to_make_starts_no_worker(course, monkeypatch):
    file = course.write_sweep()
    batch.run(course.notebook, runs=course.runs)
    monkeypatch.setattr("distributed.LocalCluster", None)
    assert batch.sweep(file, runs=course.runs).is_complete


def test_failures_are_listed_with_their_reason_and_run_again_only_on_request(course, capsys):
    file = course.write_sweep(grid={"depth": [3, 13]})
    arguments = ["sweep", str(file), "--runs", str(course.runs), "--workers", "1"]
    assert cli.main(arguments) == 1
    out, err = capsys.readouterr()
    (folder,) = course.runs.glob("lesson/*-failed")
    assert f"failed: depth=13: ValueError: too deep ({folder})" in err
    assert "1 of 2 runs are finished, 1 of them now." in out
    assert "--retry-failed" in out
    assert f"  depth=13: ValueError: too deep ({folder})" in out.splitlines()
    assert (folder / "failure.json").exists()

    assert cli.main(arguments) == 1
    assert "1 of 2 runs are finished, 0 of them now." in capsys.readouterr().out
    assert len(course.ran()) == 2

    (course.folder / "mended").touch()
    assert cli.main([*arguments, "--retry-failed"]) == 0
    assert "2 of 2 runs are finished, 1 of them now." in capsys.readouterr().out
    assert not folder.exists()
    assert len(course.finished()) == 2


def test_a_retry_that_fails_again_ends(course):
    file = course.write_sweep(fixed={"depth": 13})
    for _ in range(2):
        (failure,) = batch.sweep(file, runs=course.runs, workers=1, retry_failed=True).failed
        assert failure.reason == "ValueError: too deep"
    assert len(course.ran()) == 2


def test_a_damaged_run_is_finished_neither_for_the_sweep_nor_in_the_table(course, capsys):
    file = course.write_sweep(grid={"depth": [3, 4]})
    for depth in (3, 4):
        folder = batch.run(course.notebook, {"depth": depth}, runs=course.runs, page=False).folder
    (folder / "metrics.json").unlink()
    swept = batch.sweep(file, runs=course.runs)
    assert len(swept.there) == 1
    (damaged,) = swept.failed
    assert str(damaged).startswith(f"depth=4: {folder / 'metrics.json'} is missing: remove its folder")
    states = batch.results(course.runs)["state"].tolist()
    assert sorted(states) == ["damaged", "finished"]
    assert batch.sweep(file, runs=course.runs, workers=1, retry_failed=True).is_complete
    assert set(batch.results(course.runs)["state"]) == {"finished"}
    assert course.hidden() == []


def test_a_killed_kernel_is_tried_again_and_given_up_as_a_killed_worker_is(course):
    course.write_notebook("""
        import os
        with open("ran.txt", "a") as file:
            print(depth, lr, seed, file=file)
        num_tries = open("ran.txt").read().splitlines().count(f"{depth} {lr} {seed}")
        if depth == 13 or num_tries < 3:
            os.kill(os.getpid(), 9)
    """)
    swept = batch.sweep(course.write_sweep(grid={"depth": [3, 13]}), runs=course.runs, workers=1)
    assert len(swept.finished) == 1
    assert swept.failed == ()
    (given_up,) = swept.not_done
    assert str(given_up).startswith("depth=13: its kernel died each time it was tried")
    assert len(course.ran()) == 6
    assert course.hidden() == []


def test_more_than_200_runs_are_asked_about_first(course, capsys):
    file = course.write_sweep(grid={"lr": [0.1, 0.2]}, seeds=5_000)
    questions = []
    with pytest.raises(
        batch.SweepError, match=r"10,000 runs, and 10,000 are to be made, which was not confirmed"
    ):
        batch.sweep(file, runs=course.runs, confirm=lambda question: bool(questions.append(question)))
    assert len(questions) == 1
    assert cli.main(["sweep", str(file), "--runs", str(course.runs)]) == 1
    error = capsys.readouterr().err
    assert "--yes" in error
    assert error.count("\n") == 1
    assert not course.runs.exists()


def test_an_impossible_number_of_workers_is_refused(course):
    with pytest.raises(ValueError, match="workers is at least 1"):
        batch.sweep(course.write_sweep(), workers=0)


def test_no_scheduler_at_the_address_is_one_sentence(course, monkeypatch, capsys):
    monkeypatch.setattr("van_tutorial.batch.cluster.SECONDS_TO_CONNECT", 1)
    for address in ("127.0.0.1:9", "nowhere://x"):
        arguments = ["--runs", str(course.runs), "--scheduler", address]
        assert cli.main(["sweep", str(course.write_sweep()), *arguments]) == 1
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "van-tutorial:" in line]
        assert f"No Dask scheduler answers at {address}" in line
    assert course.hidden() == []


def test_an_address_that_wants_a_certificate_is_refused_without_one(course):
    with pytest.raises(batch.ClusterError, match=r"tls://127\.0\.0\.1:8786 wants a certificate"):
        batch.sweep(course.write_sweep(), runs=course.runs, scheduler="tls://127.0.0.1:8786")


def test_a_cluster_started_by_hand_gets_the_work(course, cluster):
    file = course.write_sweep(grid={"depth": [3, 4, 5, 13]})
    swept = batch.sweep(file, runs=course.runs, scheduler=cluster)
    assert len(swept.finished) == 3
    assert [failure.reason for failure in swept.failed] == ["ValueError: too deep"]
    assert len(course.finished()) == 3


def test_one_of_dasks_cluster_objects_gets_the_work_and_is_left_running(course):
    choices = {"dashboard_address": None, "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"}}
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, **choices) as cluster:
        swept = batch.sweep(course.write_sweep(seeds=2), runs=course.runs, scheduler=cluster)
        assert len(swept.finished) == 2
        assert cluster.status == distributed.Status.running


def test_a_notebook_runs_on_a_machine_that_lacks_its_folder(course, tmp_path, monkeypatch):
    task = make_task(course.notebook, {})
    shutil.rmtree(course.folder)
    with tempfile.TemporaryDirectory(dir="/tmp") as scratch:
        monkeypatch.setattr(tempfile, "tempdir", scratch)
        outcome = execute(task)
        assert list(Path(scratch).iterdir()) == []
    assert outcome.reason is None
    assert "metrics.json" in outcome.files
    assert not Path("ran.txt").exists()


def test_a_worker_with_another_version_of_the_package_is_refused(course, processes, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(PACKAGE, other / "van_tutorial", ignore=shutil.ignore_patterns("__pycache__"))
    (other / "assets").symlink_to(PACKAGE.parent / "assets")
    with (other / "van_tutorial" / "connections.py").open("a") as file:
        file.write("# changed\n")
    path = os.pathsep.join([str(other), os.environ.get("PYTHONPATH", "")])
    address, _, _ = processes.cluster(1, environment={"PYTHONPATH": path})
    with pytest.raises(batch.ClusterError, match=r"differs from the sweep in package.*0 of 1 runs"):
        batch.sweep(course.write_sweep(), runs=course.runs, scheduler=address)
    assert course.ran() == []


@pytest.mark.slow
def test_a_worker_that_has_loaded_another_version_than_it_finds_on_the_disk_is_refused(processes, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(PACKAGE, other / "van_tutorial", ignore=shutil.ignore_patterns("__pycache__"))
    (other / "assets").symlink_to(PACKAGE.parent / "assets")
    environment = {"PYTHONPATH": os.pathsep.join([str(other), os.environ.get("PYTHONPATH", "")])}
    address, _, _ = processes.cluster(1, environment=environment)
    fixed = "fixed: {depth: 2, width: 4, num_epochs: 1, batch_size: 500, device: cpu}"
    (tmp_path / "networks.yaml").write_text(f"train: mlp\n{fixed}\nseeds: 1\n")
    command = [*COMMAND, "sweep", "networks.yaml", "--runs", "runs", "--scheduler", address]

    def sweep():
        return subprocess.run(
            command, cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, text=True
        )

    assert sweep().returncode == 0
    with (other / "van_tutorial" / "data" / "images.py").open("a") as file:
        file.write("# changed\n")
    refused = sweep()
    assert refused.returncode == 1
    assert "start the workers again" in refused.stderr, refused.stderr[-1500:]


def test_a_full_disk_ends_a_sweep_with_one_sentence_and_leaves_nothing_half_written(
    course, processes, cluster
):
    file = course.write_sweep(seeds=2)
    code = f"""
        import resource, sys
        from van_tutorial import cli
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        sys.exit(cli.main(["sweep", {str(file)!r}, "--runs", {str(course.runs)!r}, "--scheduler", {cluster!r}]))
    """
    status, _, error = finish(processes.start(sys.executable, "-B", "-c", textwrap.dedent(code)))
    assert status == 1
    (line,) = [line for line in error.splitlines() if "van-tutorial:" in line]
    assert "could not be written" in line
    assert "Traceback" not in error
    assert list((course.runs / "lesson").iterdir()) == []


def test_two_sweeps_of_one_folder_at_once_share_the_work(course, processes):
    file = course.write_sweep(fixed={"pause": 0.5}, seeds=8)
    arguments = ["sweep", file, "--runs", course.runs, "--workers", "1"]
    both = [processes.command(*arguments) for _ in range(2)]
    ends = [finish(process) for process in both]
    assert [status for status, _, _ in ends] == [0, 0]
    made = [int(re.search(r"8 of 8 runs are finished, (\d) of them now", out)[1]) for _, out, _ in ends]
    assert sum(made) == 8
    assert course.ran() == sorted(f"3 0.5 {seed}" for seed in range(8))
    assert len(course.finished()) == 8
    assert course.hidden() == []


def test_a_run_that_another_process_holds_is_waited_for_and_taken_when_that_lets_go(course, processes):
    file = course.write_sweep(seeds=2)
    folder = course.runs / "lesson" / make_task(course.notebook, {"seed": 1}).key
    with claim(folder):
        process = processes.command("sweep", file, "--runs", course.runs, "--workers", "1")
        wait_for(course.finished)
        with pytest.raises(batch.BusyError, match="Another process is making this very run"):
            batch.run(course.notebook, {"seed": 1}, runs=course.runs)
        assert process.poll() is None
        assert course.ran() == ["3 0.5 0"]
    status, _, _ = finish(process)
    assert status == 0
    assert course.ran() == ["3 0.5 0", "3 0.5 1"]


def test_everything_listens_on_loopback_only(course, processes):
    process = processes.command(
        "sweep", course.write_sweep(fixed={"pause": 60.0}, seeds=2), "--runs", course.runs
    )
    wait_for(processes.kernels)
    everyone = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    listening = {
        connection.laddr.ip
        for one in everyone
        for connection in one.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_says_what_is_kept_and_leaves_no_process(course, processes, ending):
    file = course.write_sweep(list=[{"pause": 0.0}, {"pause": 60.0}])
    # Tests that run in the background are told to ignore Ctrl-C, and their children inherit that.
    code = """
        import signal, sys
        from van_tutorial import cli
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.exit(cli.main())
    """
    arguments = ["sweep", file, "--runs", course.runs, "--workers", "1"]
    process = processes.start(sys.executable, "-c", textwrap.dedent(code), *arguments)
    wait_for(course.finished)
    wait_for(processes.kernels)
    process.send_signal(ending)
    status, _, _ = finish(process, 30)
    wait_for(lambda: not processes.alive())
    error = process.err.read_text()  # all of it, also what a kernel says that ends last
    assert status == 130
    assert error.endswith(
        "\nInterrupted: 1 of 2 runs are finished and kept; the same command makes the rest.\n"
    )
    assert "Traceback" not in error
    assert len(course.finished()) == 1
    assert course.hidden() == []
