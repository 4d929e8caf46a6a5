"""Students' notebooks run into one table of verdicts: strict about what counts, unmoved by what they hold."""

import signal
import subprocess
import sys
import time

import nbformat
import pandas as pd
import pytest

from tests.sweeping import COMMAND
from van_tutorial import batch, cli

PARAMETERS = """limit: int = 3  # of the answer
interactive: bool = True  # controls to press"""
SETUP = """class Verdict(str):
    __repr__ = str.__str__


class exercises:
    check_low = lambda answer, limit: Verdict("Right: low." if answer and answer < limit else "Not yet: lower.")
    check_high = lambda answer: Verdict("Right: high." if answer and answer > 9 else "Not yet: higher.")


assert not interactive"""
LOW, HIGH = "exercises.check_low(my_low, limit)", "exercises.check_high(my_high)"


def write(
    path,
    low="my_low = None",
    high="my_high = None",
    setup=SETUP,
    low_check=LOW,
    high_check=HIGH,
    kernel="mine",
):
    """Write the lesson as a student hands it in."""
    new = nbformat.v4
    cells = [
        new.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        new.new_code_cell(setup),
        new.new_code_cell("my_prediction = None"),
        new.new_markdown_cell("## Exercise 1 · Low\n\nA number."),
        new.new_code_cell(f"{low}\n{low_check}"),
        new.new_markdown_cell("## Exercise 2 · High\n\nAnother."),
        new.new_code_cell(f"{high}\n{high_check}"),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}}
    nbformat.write(new.new_notebook(cells=cells, metadata=metadata), path)


@pytest.fixture
def lessons(tmp_path):
    folder = tmp_path / "course"
    write(folder / "05_numbers.ipynb", kernel="python3")
    return folder


def verdicts(table, student):
    return table[table["student"] == student]["verdict"].tolist()


def test_each_exercise_of_each_student_has_a_row_with_what_its_check_says(tmp_path, lessons):
    handed_in, into = tmp_path / "in", tmp_path / "out"
    write(handed_in / "ada" / "05_numbers.ipynb", "my_low = 1", "my_high = 10")
    write(handed_in / "bob_05_numbers.ipynb", "my_low = 5")  # as a file of its own
    write(handed_in / "cem" / "05_numbers.ipynb", "my_low = no_such_name", "my_high = 10")
    (handed_in / "ada" / "notes.ipynb").write_text("{}")
    table = batch.grade(handed_in, into, course=lessons)
    assert list(table) == ["student", "lesson", "exercise", "verdict", "message", "changed"]
    assert set(table["exercise"]) == {"Exercise 1 · Low", "Exercise 2 · High"}
    assert verdicts(table, "ada") == ["right", "right"]
    assert verdicts(table, "bob") == ["not yet", "not yet"]
    assert verdicts(table, "cem") == ["failed", "right"]  # an error does not cost the next exercise
    assert "NameError" in table.query("verdict == 'failed'")["message"].item()
    assert set(table["changed"]) == {0}
    assert (into / "ada" / "05_numbers.ipynb").is_file()
    assert pd.read_csv(into / "verdicts.csv")["verdict"].tolist() == table["verdict"].tolist()


def test_what_was_graded_before_is_no_submission(tmp_path, lessons):
    handed_in = tmp_path / "in"
    write(handed_in / "ada" / "05_numbers.ipynb", "my_low = 1", "my_high = 10")
    for _ in range(2):
        table = batch.grade(handed_in, handed_in / "graded", course=lessons)
        assert set(table["student"]) == {"ada"}
    assert not (handed_in / "graded" / "graded").exists()


def test_a_verdict_counts_only_as_the_value_of_the_courses_own_check(tmp_path, lessons):
    write(tmp_path / "in" / "eve" / "05_numbers.ipynb", high_check='print("Right: high.")')
    write(
        tmp_path / "in" / "fay" / "05_numbers.ipynb",
        'print("Right: low.")',
        "my_high = 10",
        low_check="my_low = 5\n" + LOW,
        setup=SETUP + "\nlimit = 4",
    )
    table = batch.grade(tmp_path / "in", tmp_path / "out", course=lessons)
    assert verdicts(table, "eve") == ["not yet", "none"]
    assert "missing or altered" in table.query("verdict == 'none'")["message"].item()
    assert verdicts(table, "fay") == ["not yet", "right"]
    assert set(table.query("student == 'fay'")["changed"]) == {1}


def test_the_teachers_parameters_go_over_the_students(tmp_path, lessons):
    write(tmp_path / "in" / "ada" / "05_numbers.ipynb", "my_low = 5")
    table = batch.grade(tmp_path / "in", tmp_path / "out", {"limit": "6"}, course=lessons)
    assert verdicts(table, "ada")[0] == "right"
    with pytest.raises(batch.NotebookError, match="Did you mean 'limit'"):
        batch.grade(tmp_path / "in", tmp_path / "out", {"limt": 6}, course=lessons)


def test_what_hangs_dies_or_cannot_be_read_costs_only_its_own_marks(tmp_path, lessons):
    write(tmp_path / "in" / "dan" / "05_numbers.ipynb", "while True:\n    pass", "my_high = 10")
    write(tmp_path / "in" / "eva" / "05_numbers.ipynb", "import os\nos._exit(1)", "my_high = 10")
    (tmp_path / "in" / "gus").mkdir()
    (tmp_path / "in" / "gus" / "05_numbers.ipynb").write_text("not a notebook")
    write(tmp_path / "in" / "zoe" / "05_numbers.ipynb", "my_low = 1", "my_high = 10")
    table = batch.grade(tmp_path / "in", tmp_path / "out", timeout=5, course=lessons)
    assert verdicts(table, "dan") == ["failed", "right"]
    assert verdicts(table, "eva") == ["none", "none"]
    assert verdicts(table, "gus") == ["failed", "failed"]
    assert verdicts(table, "zoe") == ["right", "right"]


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_time_limit_of_nothing_is_refused(tmp_path, lessons, timeout):
    write(tmp_path / "in" / "ada" / "05_numbers.ipynb")
    with pytest.raises(ValueError, match="timeout must be a whole number of at least 1"):
        batch.grade(tmp_path / "in", tmp_path / "out", timeout=timeout, course=lessons)


def test_a_loop_that_heeds_no_interrupt_costs_only_its_own_marks(tmp_path, lessons, monkeypatch):
    monkeypatch.setattr(sys.modules["van_tutorial.batch.grade"], "UNTIL_KILLED", 2)
    stubborn = "import time\nwhile True:\n    try:\n        time.sleep(0.01)\n    except:\n        pass"
    write(tmp_path / "in" / "dan" / "05_numbers.ipynb", "my_low = 1", stubborn)
    write(tmp_path / "in" / "zoe" / "05_numbers.ipynb", "my_low = 1", "my_high = 10")
    table = batch.grade(tmp_path / "in", tmp_path / "out", timeout=2, course=lessons)
    assert verdicts(table, "dan") == ["right", "none"]
    assert verdicts(table, "zoe") == ["right", "right"]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_grading_keeps_the_table_and_is_no_verdict(tmp_path, lessons, sent):
    write(tmp_path / "in" / "ada" / "05_numbers.ipynb", "my_low = 1", "my_high = 10")
    waits = (
        f"from pathlib import Path\nPath({str(tmp_path / 'is_in')!r}).touch()\nimport time\ntime.sleep(60)"
    )
    write(tmp_path / "in" / "eva" / "05_numbers.ipynb", waits)
    write(tmp_path / "in" / "zoe" / "05_numbers.ipynb")
    arguments = [str(tmp_path / "in"), "--into", str(tmp_path / "out"), "--course", str(lessons)]
    with subprocess.Popen(
        [*COMMAND, "grade", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background are told to ignore Ctrl-C, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        while not (tmp_path / "is_in").exists():
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(sent)
        since = time.monotonic()
        said = process.stderr.read()
    assert time.monotonic() - since < 30.0  # the cell sleeps for 60
    assert process.returncode == 130
    assert said.rstrip().endswith("Interrupted.")
    assert "Traceback" not in said
    assert set(pd.read_csv(tmp_path / "out" / "verdicts.csv")["student"]) == {"ada"}


def test_grade_prints_the_table_and_that_it_runs_what_others_wrote(tmp_path, lessons, capsys):
    write(tmp_path / "in" / "ada" / "05_numbers.ipynb", "my_low = 1")
    arguments = ["grade", str(tmp_path / "in"), "--into", str(tmp_path / "out"), "--course", str(lessons)]
    assert cli.main([*arguments, "-p", "limit", "2"]) == 0
    printed = capsys.readouterr()
    assert "code that others wrote" in printed.err
    assert "1 of 1: ada/05_numbers.ipynb" in printed.err
    assert "1 of 2 are right" in printed.out
    assert cli.main(["grade", str(tmp_path / "course"), "--course", str(tmp_path / "in")]) == 1
    assert "There is no notebook below" in capsys.readouterr().err
