"""The console script, as a user calls it."""

import inspect
import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from tests.storing import write_run
from tests.sweeping import COMMAND, Course
from van_tutorial import batch, cli, data, models
from van_tutorial._course import course_path


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as done:
        cli.main(["--help"])
    assert done.value.code == 0
    listed = capsys.readouterr().out
    for command in (
        "demo",
        "diagnose",
        "run",
        "sweep",
        "results",
        "report",
        "grade",
        "models",
        "data",
        "lab",
    ):
        assert f"  {command} " in listed


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_argument_of_a_command_stands_in_its_help(capsys, name):
    with pytest.raises(SystemExit):
        cli.main([name, "--help"])
    said = capsys.readouterr().out
    for argument in inspect.signature(cli.COMMANDS[name]).parameters.values():
        if argument.kind is argument.KEYWORD_ONLY:
            assert f"--{argument.name.replace('_', '-')}" in said
        elif argument.kind is not argument.VAR_POSITIONAL:
            assert f"\n  {argument.name.upper()} " in said


def test_an_action_on_data_that_does_not_exist_is_refused(capsys):
    assert cli.main(["data", "fetsh"]) == 1
    assert "Did you mean 'fetch'" in capsys.readouterr().err


def test_an_undeclared_parameter_is_refused_in_one_line(capsys):
    assert cli.main(["run", "05_phasing_out", "-p", "dept", "3"]) == 1
    error = capsys.readouterr().err
    assert "Did you mean 'depth'" in error
    assert error.count("\n") == 1


def test_models_lists_every_network_of_the_family_with_its_choices_and_size(capsys):
    assert cli.main(["models"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == [
        "recipe", "kind", "connection", "parametrization", "activation", "init", "normalization", "parameters",
        "layers", "ends", "without", "skips",
    ]  # fmt: skip
    assert [row.split()[0] for row in rows[: len(models.FAMILY)]] == list(models.FAMILY)
    resnet = next(row for row in rows if row.split()[0] == "resnet")
    assert " ".join(resnet.split()) == "resnet convnet residual none relu he batch 269722 20 no, keeps them"
    assert "models.make(NAME)" in rows[-1]


def test_models_tells_of_one_network_its_formula_its_source_and_how_to_train_it(capsys):
    assert cli.main(["models", "vanillanet"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "vanillanet: alpha z + (1 - alpha) relu(z) in every second layer, alpha 0 -> 1 by a schedule",
        "source:             Chen, Wang, Guo and Tao 2023",
        "ends without skips: yes, pairs of layers merged by merge",
        "models.mlp:         connection='van', skip='activation', skip_weight=0.0, skip_every=2",
        "TrainConfig:        skip_target=1.0, skip_schedule='linear', remove_by=0.3333333333333333",
    ]


@pytest.mark.parametrize("name", models.FAMILY)
def test_models_tells_of_every_network(capsys, name):
    assert cli.main(["models", name]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{name}: {models.FAMILY[name].formula}\n")
    assert ("TrainConfig:" in printed) is bool(models.FAMILY[name].training)


def test_models_refuses_an_unknown_network_in_one_line(capsys):
    assert cli.main(["models", "dirac-net"]) == 1
    error = capsys.readouterr().err
    assert "Did you mean 'diracnet'" in error
    assert error.count("\n") == 1


def test_data_list_and_verify_name_every_set(capsys, tmp_path):
    assert cli.main(["data", "list", "--root", str(tmp_path)]) == 0
    listed = capsys.readouterr().out
    assert cli.main(["data", "verify", "--root", str(tmp_path)]) == 0
    verified = capsys.readouterr().out
    for name in data.NAMES:
        assert f"\n{name} " in f"\n{listed}"
        assert f"\n{name} " in f"\n{verified}"
    assert "ok" in verified


def test_data_verify_tells_beneath_a_missing_set_how_to_get_it(capsys, tmp_path):
    assert cli.main(["data", "verify", "--root", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    cifar10 = next(number for number, line in enumerate(lines) if line.startswith("cifar10 "))
    assert "missing" in lines[cifar10]
    assert lines[cifar10 + 1].startswith(f"    - put the originals into {tmp_path}, as cifar-10-batches-py")
    assert lines[cifar10 + 2].startswith("    - go online and run: van-tutorial data fetch cifar10")


def test_data_verify_fails_on_a_broken_file(capsys, tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in data.SETS["mnist"].layouts[0].files:
        (folder / name).write_bytes(b"not an idx file")
    assert cli.main(["data", "verify", "--root", str(tmp_path)]) == 1
    assert "truncated or altered" in capsys.readouterr().out


@pytest.mark.parametrize("action", ["list", "verify"])
def test_data_takes_names_where_it_heeds_them_alone(capsys, action):
    assert cli.main(["data", action, "mnist"]) == 1
    assert "takes no names; only data fetch does" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["-5e-1", "-0.5", "-.5E0", "-5.e-1"])
def test_a_negative_number_is_the_value_of_a_parameter(capsys, number):
    assert cli.main(["run", "00_start_here", "-p", "no_such", number]) == 1
    assert "no parameter 'no_such'" in capsys.readouterr().err


def test_no_answer_is_no(monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda _: (_ for _ in ()).throw(EOFError))
    assert not cli.ask("Go on?")


def test_data_fetch_refuses_a_set_that_it_does_not_know(capsys):
    assert cli.main(["data", "fetch", "fashion-mnst"]) == 1
    assert "Did you mean 'fashion-mnist'" in capsys.readouterr().err


def test_run_prints_the_table_and_where_the_files_lie(tmp_path):
    small = {"depth": 4, "num_epochs": 1, "interactive": "false"}
    options = [part for name, value in small.items() for part in ("-p", name, str(value))]
    done = subprocess.run(
        [*COMMAND, "run", "05_phasing_out", *options, "--runs", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    for word in ("residual", "test accuracy", "skips left", "removed at step", "05_phasing_out.html"):
        assert word in done.stdout
    readme = course_path("README.md").read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(readme) if line.startswith(" network test accuracy"))
    printed = [line.split() for line in done.stdout.splitlines()]
    assert (
        readme[start].split() in printed
    )  # what README says that the demo prints: columns, and networks below
    assert {line.split()[0] for line in readme[start + 1 : start + 4]} <= {
        line[0] for line in printed if line
    }
    assert "100%" in done.stderr
    assert len(list(tmp_path.rglob("*.html"))) == 1


def test_the_same_run_again_says_so_and_names_force(tmp_path, capsys):
    course = Course(tmp_path)
    arguments = ["run", str(course.notebook), "-p", "depth", "4", "--runs", str(course.runs)]
    said = "This very run is there already, so nothing was run; --force runs it afresh."
    for options, num_ran, is_said in (([], 1, False), ([], 1, True), (["--force"], 2, False)):
        assert cli.main([*arguments, *options]) == 0
        printed = capsys.readouterr().out
        assert len(course.ran()) == num_ran
        assert "accuracy" in printed
        assert "lesson.html" in printed
        assert (said in printed) is is_said


def test_results_prints_the_table_or_writes_it_and_report_makes_its_page(tmp_path, capsys):
    course = Course(tmp_path)
    assert cli.main(["results", str(course.runs)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    for depth in (3, 4):
        batch.run(course.notebook, {"depth": depth}, runs=course.runs, page=False)
    assert cli.main(["results", str(course.runs)]) == 0
    same, _, header, *rows = capsys.readouterr().out.splitlines()
    assert same.startswith("The same in all: notebook=lesson, lr=0.5, seed=0")
    assert header.split() == ["run", "state", "depth", "accuracy", "seconds"]
    assert len(rows) == 2
    table = tmp_path / "table.csv"
    assert cli.main(["results", str(course.runs), "--csv", str(table)]) == 0
    assert pd.read_csv(table)["accuracy"].tolist() == [1.5, 2.0]
    assert cli.main(["report", str(course.runs), "--metric", "accuracy"]) == 0
    page = Path(capsys.readouterr().out.splitlines()[-1].removeprefix("Page: "))
    assert "accuracy" in page.read_text(encoding="utf-8")
    assert cli.main(["report", str(course.runs), "--metric", "accurcy"]) == 1
    assert "Did you mean 'accuracy'" in capsys.readouterr().err


def test_diagnose_prints_the_experiment_beside_its_reference_and_makes_its_page(tmp_path, capsys):
    assert cli.main(["diagnose", "--num-seeds", "2", "--runs", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for word in (
        "plain, centred",
        "residual, batch norm, beta 0.1",
        "white noise",
        "0.99 / 0.94 / 0.82",
        "at lags 1, 5, 15",
    ):
        assert word in printed
    (page,) = tmp_path.rglob("*.html")
    assert str(page) in printed
    assert "The published experiment" in page.read_text(encoding="utf-8")


def test_diagnose_refuses_a_single_initialization_since_it_has_no_spread(tmp_path, capsys):
    assert cli.main(["diagnose", "--num-seeds", "1", "--runs", str(tmp_path)]) == 1
    assert "--num-seeds must be at least 2" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_soon_keeps_what_was_done_and_leaves_no_kernel(tmp_path, ending):
    process = subprocess.Popen(
        [*COMMAND, "demo", "--runs", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "VAN_TEST_MARK": str(tmp_path)},
        # Tests that run in the background are told to ignore Ctrl-C, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    seen = ""
    while "plain" not in seen:  # the first bar
        seen += process.stderr.read(1)
        assert process.poll() is None
    time.sleep(1)
    process.send_signal(ending)
    _, error = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "what was done is kept" in error
    (kept,) = tmp_path.rglob("*.ipynb")
    assert kept.parent.name.endswith("-interrupted")
    assert [pid for pid in processes_with(str(tmp_path)) if pid != os.getpid()] == []


def processes_with(mark):
    """Return the processes whose environment holds a mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"VAN_TEST_MARK={mark}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.fixture
def call_lab(monkeypatch):
    """A function that calls `van-tutorial lab` without a display, and returns the command that takes its place."""

    class Replaced(BaseException):
        """The process would be JupyterLab's from here on."""

    def execv(path, command):
        raise Replaced(*command)

    def call(*options):
        with pytest.raises(Replaced) as replaced:
            cli.main(["lab", *options])
        return replaced.value.args

    monkeypatch.setattr(cli.os, "execv", execv)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    return call


@pytest.mark.parametrize(
    ("options", "left_out"),
    [
        (("--ip", "0.0.0.0"), "ServerApp.ip"),
        (("--ip=::1",), "ServerApp.ip"),
        (("--ServerApp.ip=0.0.0.0",), "ServerApp.ip"),
        (("--notebook-dir", "elsewhere"), "ServerApp.root_dir"),
        (("--LabApp.default_url=/lab",), "LabApp.default_url"),
    ],
)
def test_what_is_given_to_lab_takes_the_place_of_its_own_choice(call_lab, options, left_out):
    usual, command = call_lab(), call_lab(*options)
    assert command[-len(options) :] == options
    own = [argument for argument in usual if argument.startswith(f"--{left_out}=")]
    assert len(own) == 1
    assert command == (*(argument for argument in usual if argument not in own), *options)


def test_lab_listens_on_loopback_with_a_token_and_opens_no_browser_without_a_display(call_lab):
    command = call_lab("--port", "8899")
    assert "--ServerApp.ip=127.0.0.1" in command
    assert command[-2:] == ("--port", "8899")
    assert "--no-browser" in command
    assert not any("token" in argument for argument in command)  # jupyter makes one of its own


def test_a_table_in_a_file_holds_no_formulas_and_numbers_stay_numbers(tmp_path, capsys):
    parameters = {"depth": -1, "note": "=HYPERLINK(1)"}
    write_run(tmp_path / "runs", parameters, [{"@metric": -0.5, "by": "+1"}])
    assert cli.main(["results", str(tmp_path / "runs"), "--csv", str(tmp_path / "table.csv")]) == 0
    row = pd.read_csv(tmp_path / "table.csv").iloc[0]
    assert (row["note"], row["by"], row["depth"], row["'@metric"]) == ("'=HYPERLINK(1)", "'+1", -1, -0.5)


def test_output_in_an_encoding_that_lacks_a_character_has_another_in_its_place(tmp_path):
    write_run(tmp_path / "runs", {"note": "5 µs …"}, [{"accuracy": 0.5}])
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [*COMMAND, "results", str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert b"5 ?s ?" in done.stdout
