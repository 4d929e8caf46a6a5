"""Many runs as tables: what is counted, what is told apart, and what is damaged."""

import cProfile
import json
import os
import pstats
import re
import shutil

import pandas as pd
import pytest

from tests.storing import IDENTITY, LESSON, PARAMETERS, three_networks, write_sweep
from tests.storing import write_run as write_run_in
from van_tutorial import cli
from van_tutorial.batch import measurements, report, results


@pytest.fixture
def write_run(tmp_path):
    return lambda *given, **named: write_run_in(tmp_path / "runs", *given, **named)


@pytest.fixture
def sweep(tmp_path):
    write_sweep(tmp_path / "runs")
    return tmp_path / "runs"


def test_one_row_a_run_with_parameters_and_the_metrics_of_every_network(sweep):
    table = results(sweep)
    assert len(table) == 12
    assert table.columns[:3].tolist() == ["run", "notebook", "state"]
    assert table.columns[3:9].tolist() == list(PARAMETERS)
    assert table.columns[-3:].tolist() == ["seconds", "started", "reason"]
    row = table.query("depth == 40 and dual_lr == 0.0003 and seed == 2").iloc[0]
    assert row["van: test accuracy"] == pytest.approx(0.74)
    assert row["plain: test accuracy"] == pytest.approx(0.4)
    assert row["van: removed at step"] == 502
    assert pd.isna(row["residual: removed at step"])
    assert row["seconds"] == 30.5
    assert row["started"] == pd.Timestamp("2025-03-01 10:00", tz="UTC")
    assert "van: network" not in table


def test_the_folder_of_one_notebook_gives_the_same_table_as_that_of_all_runs(sweep):
    pd.testing.assert_frame_equal(results(sweep), results(sweep / LESSON))


def test_rows_are_sorted_by_parameters_as_numbers_whatever_finished_first(write_run, tmp_path):
    for depth in (100, 20, 9):
        for seed in (10, 2):
            write_run({**PARAMETERS, "depth": depth, "seed": seed})
    write_run({**PARAMETERS, "depth": 1}, notebook="01_degradation")
    table = results(tmp_path / "runs")
    assert table["notebook"].tolist() == ["01_degradation"] + [LESSON] * 6
    assert table["depth"].tolist() == [1, 9, 9, 20, 20, 100, 100]
    assert table["seed"].tolist() == [0, 2, 10, 2, 10, 2, 10]


def test_types_do_not_hang_on_the_numbers_or_the_gaps(write_run, tmp_path):
    write_run({**PARAMETERS, "lr": 1.0, "seed": 0}, [{"accuracy": 1.0, "step": None, "better": True}])
    write_run({**PARAMETERS, "lr": 2.0, "seed": 1}, [{"accuracy": None, "step": 7, "better": None}])
    types = results(tmp_path / "runs").dtypes.astype(str)
    assert types[["lr", "accuracy", "seconds"]].tolist() == ["Float64"] * 3
    assert types[["depth", "seed", "step"]].tolist() == ["Int64"] * 3
    assert types[["interactive", "better"]].tolist() == ["boolean"] * 2


def test_a_failed_run_is_a_row_with_its_reason_and_what_it_had_measured(sweep):
    failed = results(sweep).query("state == 'failed'")
    assert failed["reason"].tolist() == ["ValueError: <b>deep</b>"]
    assert failed[["depth", "dual_lr", "seed"]].iloc[0].tolist() == [40, 0.003, 2]
    assert failed["plain: test accuracy"].item() == pytest.approx(0.4)
    assert not failed["run"].item().endswith("-failed")


def test_a_run_that_failed_and_then_finished_counts_once_as_finished(write_run, tmp_path):
    write_run(rows=three_networks(), reason="OSError: no space")
    write_run(rows=three_networks())
    table = results(tmp_path / "runs")
    assert table["state"].tolist() == ["finished"]
    assert len(measurements(tmp_path / "runs")) == 3


def test_what_is_being_written_or_was_interrupted_is_no_run(write_run, tmp_path):
    write_run()
    other = write_run({**PARAMETERS, "seed": 1})
    shutil.copytree(other, other.with_name(f".{other.name}.part"))
    other.rename(other.with_name(f"{other.name}-interrupted"))
    (tmp_path / "runs" / LESSON / "notes").mkdir()
    assert results(tmp_path / "runs")["seed"].tolist() == [0]


def test_names_that_come_twice_are_told_apart(write_run, tmp_path):
    parameters = {"depth": 20, "state": "on", "seed": 0}
    write_run(parameters, [{"depth": 7, "seconds": 1.5, "accuracy": 0.5}])
    row = results(tmp_path / "runs").iloc[0]
    assert row["depth"] == 20
    assert row["depth (recorded)"] == 7
    assert row["state"] == "finished"
    assert row["state (parameter)"] == "on"
    assert (row["seconds"], row["seconds (recorded)"]) == (30.5, 1.5)
    assert row["accuracy"] == 0.5


def test_rows_that_no_text_tells_apart_are_numbered(write_run, tmp_path):
    write_run(rows=[{"network": "a", "accuracy": 0.5}, {"network": "a", "accuracy": 0.6}])
    write_run(
        {**PARAMETERS, "seed": 1}, [{"network": "a", "accuracy": 0.7}, {"network": "b", "accuracy": 0.8}]
    )
    table = results(tmp_path / "runs")
    assert table["1: accuracy"].tolist() == [0.5, 0.7]
    assert table["2: accuracy"].tolist() == [0.6, 0.8]
    assert table["2: network"].tolist() == ["a", "b"]


def test_the_first_text_that_tells_the_rows_apart_names_them(write_run, tmp_path):
    rows = [{"kind": "deep", "layers": 3, "method": name, "found": 1.5} for name in ("fold", "merge")]
    write_run(rows=rows)
    table = results(tmp_path / "runs")
    assert {"fold: found", "merge: found", "fold: kind"} <= set(table.columns)
    assert measurements(tmp_path / "runs")["row"].tolist() == ["fold", "merge"]


def test_measurements_have_a_row_for_each_run_and_recorded_row(sweep):
    table = measurements(sweep)
    assert len(table) == 11 * 3 + 1
    assert table["row"].tolist()[:3] == table["network"].tolist()[:3] == ["plain", "residual", "van"]
    assert table.query("state == 'failed'")["row"].tolist() == ["plain"]
    mean = table.query("state == 'finished'").groupby(["depth", "network"])["test accuracy"].mean()
    assert mean[40, "plain"] == pytest.approx(0.4)


def test_runs_that_recorded_nothing_are_in_the_results(write_run, tmp_path):
    write_run()
    assert results(tmp_path / "runs")["state"].tolist() == ["finished"]
    assert len(measurements(tmp_path / "runs")) == 0


def test_runs_of_another_torch_are_told_apart(write_run, tmp_path):
    write_run(rows=three_networks())
    assert "code" not in results(tmp_path / "runs")
    write_run(rows=three_networks(), identity={**IDENTITY, "torch": "2.13.0"})
    for table in (results(tmp_path / "runs"), measurements(tmp_path / "runs")):
        assert table["code"].nunique() == 2
        assert table.columns.get_loc("code") == 3


def test_two_notebooks_with_one_code_each_need_no_column_for_it(write_run, tmp_path):
    write_run()
    write_run(notebook="01_degradation", identity={**IDENTITY, "notebook": "d" * 64})
    assert "code" not in results(tmp_path / "runs")


def put(name, content):
    """Return a function that replaces a file of a run."""

    def replace(folder):
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return replace


def edit_config(**changes):
    def edit(folder):
        content = {**json.loads((folder / "config.json").read_text()), **changes}
        (folder / "config.json").write_text(json.dumps(content))

    return edit


def put_pipe(name):
    def replace(folder):
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return replace


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (put("config.json", "{"), r"config\.json cannot be read \(JSONDecodeError\)"),
        (put("config.json", b"\xff\xfe"), r"config\.json cannot be read \(UnicodeDecodeError\)"),
        (put("config.json", None), r"config\.json is missing"),
        (put("config.json", "[" * 100_000), r"config\.json cannot be read \(RecursionError\)"),
        (put("metrics.json", None), r"metrics\.json is missing"),
        (put("metrics.json", '["accuracy"]'), r"metrics\.json is not a list of rows"),
        (put("metrics.json", '{"accuracy": 1}'), r"metrics\.json holds a dict, not a list"),
        (
            put("metrics.json", '[{"accuracy": 1' + "0" * 400 + "}]"),
            r"metrics\.json cannot be read \(ValueError\)",
        ),
        (
            put("metrics.json", '[{"accuracy": 1' + "0" * 5000 + "}]"),
            r"metrics\.json cannot be read \(ValueError\)",
        ),
        (put("metrics.json", '[{"loss": -1e999}]'), r"metrics\.json cannot be read \(ValueError\)"),
        (
            put("metrics.json", '[{"network": "\\ud83d"}]'),
            r"metrics\.json cannot be read \(UnicodeEncodeError\)",
        ),
        (put("metrics.json", '[{"\\udc00": 1}]'), r"metrics\.json cannot be read \(UnicodeEncodeError\)"),
        (
            put("metrics.json", "[" * 500_000 + "]" * 500_000),
            r"metrics\.json cannot be read \(RecursionError\)",
        ),
        (put_pipe("metrics.json"), r"metrics\.json is not a file"),
        (put_pipe("config.json"), r"config\.json is not a file"),
        (edit_config(identity=None), r"config\.json has no 'identity' that can be used"),
        (edit_config(versions=None), r"config\.json has no 'versions' that can be used"),
        (edit_config(started="yesterday"), r"config\.json has no time with a zone under 'started'"),
        (edit_config(started="2025-03-01T10:00:00"), r"config\.json has no time with a zone under 'started'"),
        (
            edit_config(started="0001-01-01T00:00:00+05:00"),
            r"config\.json has no time with a zone under 'started'",
        ),
        (
            edit_config(started="9999-12-31T23:59:59-05:00"),
            r"config\.json has no time with a zone under 'started'",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "broken",
)
def test_a_damaged_folder_is_named_and_the_others_are_read(sweep, write_run, break_it, message, capsys):
    folder = write_run({**PARAMETERS, "seed": 9}, three_networks())
    break_it(folder)
    table = results(sweep)
    assert len(table) == 13
    assert (table["state"] == "finished").sum() == 11
    damaged = table.query("state == 'damaged'")
    assert damaged["run"].tolist() == [folder.name]
    assert re.fullmatch(rf".*{folder.name}/{message}: remove .*\.", damaged["reason"].item())
    assert "damaged" not in set(measurements(sweep)["state"])
    assert cli.main(["results", str(sweep)]) == 0
    assert damaged["reason"].item() in capsys.readouterr().out


def test_an_integer_that_needs_more_than_64_bits_is_kept_as_a_float(write_run, tmp_path):
    write_run(rows=[{"paths": 2**80, "steps": 2**62}])
    row = results(tmp_path / "runs").iloc[0]
    assert row["paths"] == 2.0**80
    assert row["steps"] == 2**62


@pytest.mark.parametrize("name", ["{key} (copy)", "{key}-copy", "best", "{key}-failed"])
def test_a_copied_folder_is_no_run_of_its_own(sweep, name):
    original = next(folder for folder in sorted((sweep / LESSON).iterdir()) if "-" not in folder.name)
    copy = original.with_name(name.format(key=original.name))
    shutil.copytree(original, copy)
    table = results(sweep)
    assert (table["state"] == "finished").sum() == 11
    assert len(measurements(sweep)) == 11 * 3 + 1
    if not name.endswith("-failed"):  # else it would be what a finished run had left before
        (row,) = table[table["state"] == "damaged"].to_dict("records")
        assert row["reason"] == f"{copy} is a copy of {original}: remove one of them."


def test_of_a_copied_folder_of_all_runs_each_run_counts_once(sweep):
    shutil.copytree(sweep / LESSON, sweep / f"{LESSON} old")
    assert results(sweep)["state"].value_counts().to_dict() == {"finished": 11, "damaged": 12, "failed": 1}


def test_ten_times_as_many_runs_take_ten_times_as_many_calls(write_run, tmp_path):
    def num_calls(num_runs):
        for seed in range(num_runs):
            write_run({**PARAMETERS, "seed": seed}, three_networks(), notebook=str(num_runs))
        profile = cProfile.Profile()
        assert len(profile.runcall(results, tmp_path / "runs" / str(num_runs))) == num_runs
        return pstats.Stats(profile).total_calls

    assert num_calls(300) < 12 * num_calls(30)


@pytest.mark.parametrize("read", [results, measurements, report])
def test_no_folder_and_no_runs_are_one_sentence(read, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^There is no folder .*nowhere: name one .*\.$"):
        read(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r" holds no runs: name the folder .*\.$"):
        read(tmp_path)
    assert list(tmp_path.iterdir()) == []
