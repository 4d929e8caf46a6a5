"""Students' notebooks run into one table of verdicts: strict about what counts, unmoved by what they hold."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest

from tests.sweeping import COMMAND
from van_tutorial import batch, cli
from van_tutorial._course import course_path

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
    kept = {"5.1": {"low": 1}, "5.2": {"high": "many"}, "5.3": {}, "15.1": {"low": 1}}
    (handed_in / "ada" / "predictions.json").write_text(json.dumps(kept))
    (handed_in / "cem" / "predictions.json").symlink_to(handed_in / "ada" / "predictions.json")
    table = batch.grade(handed_in, into, course=lessons)
    assert list(table) == [
        "student",
        "lesson",
        "exercise",
        "verdict",
        "message",
        "changed",
        "copied",
        "predictions",
        "file",
    ]
    assert set(table["exercise"]) == {"Exercise 1 · Low", "Exercise 2 · High"}
    assert verdicts(table, "ada") == ["right", "right"]
    assert verdicts(table, "bob") == ["not yet", "not yet"]
    assert verdicts(table, "cem") == ["failed", "right"]  # an error does not cost the next exercise
    assert "NameError" in table.query("verdict == 'failed'")["message"].item()
    assert set(table["changed"]) == {0}
    done = table.groupby("student")[
        "predictions"
    ].first()  # there is no file beside bob's, and cem's is not his own
    assert done.astype(object).where(done.notna(), None).to_dict() == {"ada": 2, "bob": None, "cem": 0}
    assert (into / "ada" / "05_numbers.ipynb").is_file()
    assert pd.read_csv(into / "verdicts.csv")["verdict"].tolist() == table["verdict"].tolist()


def add(path, *cells):
    """Add cells to a notebook on disk."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells += cells
    nbformat.write(notebook, path)


def sentence(text="...", **metadata):
    """Return the cell of the sentence that is marked, as the course has it or filled in."""
    return nbformat.v4.new_markdown_cell(
        f"### Your sentence\n\nWhat would change your mind?\n\n{text}", metadata=metadata
    )


def test_points_are_one_row_a_student_and_the_better_of_two_files_counts(tmp_path, lessons):
    handed_in = tmp_path / "in"
    write(lessons / "06_more_numbers.ipynb", kernel="python3")
    write(handed_in / "ada" / "05_numbers.ipynb", "my_low = 1", "my_high = 10")
    write(handed_in / "ada" / "again" / "05_numbers.ipynb", "my_low = 5", "my_high = 10")
    write(handed_in / "ada" / "06_more_numbers.ipynb", "my_low = 5")
    write(handed_in / "bob" / "06_more_numbers.ipynb", "my_low = 1")
    (handed_in / "cem").mkdir()
    (handed_in / "ada" / "predictions.json").write_text(json.dumps({"5.1": {"low": 1}, "6.1": {"low": 1}}))
    found = batch.points(batch.grade(handed_in, tmp_path / "out", course=lessons))
    assert list(found) == ["student", "05_numbers of 2", "06_more_numbers of 2", "total", "predictions"]
    assert found.astype(object).where(found.notna(), None).to_numpy().tolist() == [
        ["ada", 2, 0, 2, 2],
        ["bob", None, 1, 1, 0],
        ["cem", None, None, 0, 0],
    ]
    assert (tmp_path / "out" / "points.csv").read_text().splitlines()[1:] == [
        "ada,2,0,2,2",
        "bob,,1,1,0",
        "cem,,,0,0",
    ]


def test_the_points_go_beside_canvas_columns_as_documented(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "graded").mkdir()
    (tmp_path / "graded" / "points.csv").write_text(
        "student,05_numbers of 2,total,predictions\n007,2,2,1\nbob,,1,0\n"
    )
    (tmp_path / "gradebook.csv").write_text(
        "Student,ID,SIS User ID,SIS Login ID,Section,Quiz (17)\n    Points Possible,,,,,5\n"
        '"Lovelace, Ada",11,s1,007,Lab 1,4\n"Curie, Marie",12,s2,marie,Lab 1,\n'
    )
    text = (course_path() / "docs" / "teaching.md").read_text(encoding="utf-8")
    (block,) = [each for each in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "gradebook" in each]
    exec(block, {})
    assert (tmp_path / "for_canvas.csv").read_text().splitlines() == [
        "Student,ID,SIS User ID,SIS Login ID,Section,05_numbers of 2,total,predictions",
        '"Lovelace, Ada",11,s1,007,Lab 1,2.0,2.0,1.0',
        '"Curie, Marie",12,s2,marie,Lab 1,,,',
    ]


def test_the_sentence_to_be_marked_is_a_row_of_its_own_and_gives_no_points(tmp_path, lessons):
    handed_in = tmp_path / "in"
    for name, text in {"ada": "An accuracy above .9\nwithout skips.", "bob": "..."}.items():
        write(handed_in / name / "05_numbers.ipynb", "my_low = 1", "my_high = 10")
        add(handed_in / name / "05_numbers.ipynb", sentence(text))
    write(handed_in / "cem" / "05_numbers.ipynb")  # has deleted the cell
    (handed_in / "dan_05_numbers.ipynb").write_text("[")
    add(lessons / "05_numbers.ipynb", sentence(tags=["sentence"]))
    table = batch.grade(handed_in, tmp_path / "out", course=lessons)
    own = table[table["exercise"] == "Your sentence"].set_index("student")
    assert own["verdict"].to_dict() == {"ada": "written", "bob": "not written", "cem": "not written"}
    assert own["message"].tolist() == ["An accuracy above .9 without skips.", "", ""]
    assert batch.points(table)["05_numbers of 2"].tolist() == [2, 2, 0, 0]


def test_cells_that_only_the_instructors_lesson_has_are_counted_where_they_are_handed_in(tmp_path, lessons):
    solved = lessons / "instructor" / "05_numbers.ipynb"
    write(solved, "# The least that is still right.\nmy_low = 1", "my_high = 10")
    add(solved, nbformat.v4.new_markdown_cell("For lecturers: many answer 3."))
    (tmp_path / "in" / "ada").mkdir(parents=True)
    (tmp_path / "in" / "ada" / "05_numbers.ipynb").write_bytes(solved.read_bytes())
    write(tmp_path / "in" / "bob" / "05_numbers.ipynb", "my_low = 1", "my_high = 11")
    table = batch.grade(tmp_path / "in", tmp_path / "out", course=lessons)
    assert table.groupby("student")["copied"].first().to_dict() == {"ada": 3, "bob": 0}


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
    assert not (tmp_path / "out" / ".unfinished").exists()
    with pytest.raises(batch.NotebookError, match="Did you mean 'limit'"):
        batch.grade(tmp_path / "in", tmp_path / "out", {"limt": 6}, course=lessons)


def test_the_teachers_parameters_hold_where_the_tag_of_their_cell_was_lost(tmp_path, lessons):
    path = tmp_path / "in" / "ada" / "05_numbers.ipynb"
    write(path, "my_low = 5", "my_high = 10")
    notebook = nbformat.read(path, as_version=4)
    del notebook.cells[0].metadata["tags"]
    nbformat.write(notebook, path)
    table = batch.grade(tmp_path / "in", tmp_path / "out", {"limit": 6}, course=lessons)
    assert verdicts(table, "ada") == ["right", "right"]
    assert set(table["changed"]) == {0}


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
    with pytest.raises(ValueError, match="timeout must be an integer of at least 1"):
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
    assert [line.split() for line in printed.out.splitlines()[:2]] == [
        ["student", "05_numbers", "of", "2", "total", "predictions"],
        ["ada", "1", "1", "0"],
    ]
    assert cli.main(["grade", str(tmp_path / "course"), "--course", str(tmp_path / "in")]) == 1
    assert "There is no notebook below" in capsys.readouterr().err


def test_what_cannot_be_read_named_or_written_costs_only_its_own_marks(tmp_path, lessons):
    handed_in = tmp_path / "in"
    right = ("my_low = 1", "my_high = 10")
    write(handed_in / "ada" / "05_numbers.ipynb", *right)
    write(handed_in / ("b" * 230) / ("c" * 230 + "_05_numbers.ipynb"), *right)
    write(handed_in / os.fsdecode(b"J\xfcrgen_05_numbers.ipynb"), *right)
    write(handed_in / "verdicts.csv" / "05_numbers.ipynb", *right)  # where the table goes
    broken = handed_in / "broken"
    for name, content in {
        "null": b'{"cells": null, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
        "deep": b"[" * 100_000,
        "bytes": b"\xff\xfe\x00\xd8",
        "number": b"3",
    }.items():
        (handed_in / name).mkdir(parents=True)
        (handed_in / name / "05_numbers.ipynb").write_bytes(content)
    broken.mkdir()
    os.mkfifo(broken / "05_numbers.ipynb")
    (handed_in / "link").mkdir()
    (handed_in / "link" / "05_numbers.ipynb").symlink_to(handed_in / "ada" / "05_numbers.ipynb")
    (handed_in / "loop").mkdir()
    (handed_in / "loop" / "05_numbers.ipynb").symlink_to(handed_in / "loop" / "05_numbers.ipynb")
    (handed_in / "whole").symlink_to(handed_in / "ada", target_is_directory=True)
    write(handed_in / "zoe" / "05_numbers.ipynb", *right)
    table = batch.grade(handed_in, tmp_path / "out", course=lessons)
    for student in ("ada", "b" * 230, "J\\xfcrgen", "verdicts.csv", "zoe"):
        assert verdicts(table, student) == ["right", "right"], student
    for student in ("null", "deep", "bytes", "number", "broken", "link", "loop", "whole"):
        assert verdicts(table, student) == ["failed", "failed"], student
    assert "another" in table.query("student == 'link'")["message"].iloc[0]
    assert "not kept" in table.query("student == 'verdicts.csv'")["message"].iloc[0]
    assert len(pd.read_csv(tmp_path / "out" / "verdicts.csv")) == len(table)


def test_who_has_no_notebook_of_the_course_is_named_and_every_row_names_its_file(tmp_path, lessons):
    handed_in = tmp_path / "in"
    write(handed_in / "ada" / "05-Numbers (1).ipynb", "my_low = 1", "my_high = 10")
    write(handed_in / "ada" / "05_numbers.ipynb", "my_low = 1")
    write(handed_in / "bob" / "mine.ipynb")
    (handed_in / "cem").mkdir()
    write(handed_in / "homework.ipynb")
    (handed_in / "dan_05_numbers.html").write_text("a page")
    table = batch.grade(handed_in, tmp_path / "out", course=lessons)
    assert verdicts(table, "ada") == ["right", "right", "right", "not yet"]
    assert table["file"].tolist()[:3] == ["ada/05-Numbers (1).ipynb"] * 2 + ["ada/05_numbers.ipynb"]
    for student in ("bob", "cem", "homework.ipynb"):
        assert verdicts(table, student) == ["none"], student
    assert verdicts(table, "dan") == ["failed", "failed"]


@pytest.mark.parametrize(
    "change",
    [
        lambda cell: cell.update(source=cell.source.replace("\n", "\r\n")),
        lambda cell: cell.update(source=cell.source.replace("(", "(\n  ").replace(")", ",  # mine\n)")),
        lambda cell: cell.update(source="%%time\n" + cell.source),
        lambda cell: cell.update(source="!true\n" + cell.source + "\n\n# my last try"),
    ],
    ids=["Windows", "spaces", "magic", "shell"],
)
def test_a_verdict_hangs_on_what_the_check_is_and_not_on_how_it_is_written(tmp_path, lessons, change):
    path = tmp_path / "in" / "ada" / "05_numbers.ipynb"
    write(path, "my_low = 1", "my_high = 10")
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if "check" in cell.source and "class" not in cell.source:
            change(cell)
    nbformat.write(notebook, path)
    table = batch.grade(tmp_path / "in", tmp_path / "out", course=lessons)
    assert verdicts(table, "ada") == ["right", "right"]
    assert set(table["changed"]) == {0}


def test_only_code_that_ends_with_the_check_is_an_answer(tmp_path, lessons):
    path = tmp_path / "in" / "ada" / "05_numbers.ipynb"
    write(path, "my_low = 1", "my_high = 10")
    notebook = nbformat.read(path, as_version=4)
    new = nbformat.v4
    notebook.cells += [
        new.new_raw_cell(f"my_low = 5\n{LOW}"),
        new.new_markdown_cell(f"my_low = 5\n{LOW}"),
        new.new_code_cell(f"# my_low = 5\n# {LOW}"),
        new.new_code_cell(f"'''\nmy_high = 5\n{HIGH}'''"),
    ]
    nbformat.write(notebook, path)
    write(tmp_path / "in" / "bob" / "05_numbers.ipynb", "my_low = 1 +", "my_high = 10")  # not Python
    table = batch.grade(tmp_path / "in", tmp_path / "out", course=lessons)
    assert verdicts(table, "ada") == ["right", "right"]
    assert verdicts(table, "bob") == ["failed", "right"]
    assert "SyntaxError" in table.query("verdict == 'failed'")["message"].item()


def test_no_submission_reaches_another_nor_what_came_of_it(tmp_path, lessons):
    handed_in, into = tmp_path / "in", tmp_path / "out"
    write(handed_in / "ada" / "05_numbers.ipynb", "my_low = 1", "my_high = 10")
    attack = f"""
import pathlib, subprocess, sys
code = '''
import pathlib, time
while True:
    for name in ("ada", "zoe"):
        for folder in ({str(handed_in)!r}, {str(into)!r}):
            try:
                (pathlib.Path(folder) / name / "05_numbers.ipynb").write_text("gone")
            except OSError:
                pass
    pathlib.Path({str(into / "verdicts.csv")!r}).write_text("student,verdict")
    pathlib.Path({str(tmp_path / "alive")!r}).write_text(str(time.time()))
    time.sleep(0.01)
'''
# Twice removed, in a session of its own and without an environment: nobody's child.
apart = "start_new_session=True, env={{}}"
again = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {{code!r}}], {{apart}})"
subprocess.run([sys.executable, "-c", again], check=True)
import time
while not pathlib.Path({str(tmp_path / "alive")!r}).exists():
    time.sleep(0.05)
my_low = 1"""
    write(handed_in / "bob" / "05_numbers.ipynb", attack, "my_high = 10")
    write(handed_in / "zoe" / "05_numbers.ipynb", "my_low = 1", "my_high = 10")
    table = batch.grade(handed_in, into, course=lessons)
    last = (tmp_path / "alive").read_text()
    assert table["verdict"].tolist() == ["right"] * 6
    assert pd.read_csv(into / "verdicts.csv")["verdict"].tolist() == ["right"] * 6
    for student in ("ada", "zoe"):
        assert (handed_in / student / "05_numbers.ipynb").read_text() in ("gone", "")  # ended while it wrote
        assert "Right: low." in (into / student / "05_numbers.ipynb").read_text()
    time.sleep(0.2)
    assert (tmp_path / "alive").read_text() == last


def test_a_grading_that_was_killed_goes_on_where_it_stopped(tmp_path, lessons):
    ran, handed_in, into = tmp_path / "ran", tmp_path / "in", tmp_path / "out"
    note = f"open({str(ran)!r}, 'a').write('{{}}\\n')\nmy_low = 1"
    for student in ("ada", "bob", "cem"):
        write(handed_in / student / "05_numbers.ipynb", note.format(student), "my_high = 10")
    kills = "import os\nif not os.path.exists('spared'):\n    os.kill(os.getppid(), 9)\n    os._exit(1)\n"
    write(handed_in / "bob" / "05_numbers.ipynb", kills + note.format("bob"), "my_high = 10")
    arguments = [str(handed_in), "--into", str(into), "--course", str(lessons)]
    killed = subprocess.run([*COMMAND, "grade", *arguments], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert set(pd.read_csv(into / "verdicts.csv")["student"]) == {"ada"}
    write(handed_in / "ada" / "notes.ipynb")  # of no lesson
    (handed_in / "bob" / "spared").touch()
    table = batch.grade(handed_in, into, course=lessons)
    assert [verdicts(table, student)[0] for student in ("ada", "bob", "cem")] == ["right"] * 3
    assert ran.read_text().split() == ["ada", "cem", "bob"]  # ada not again, and who ended it last
    assert {path.name for path in into.iterdir()} == {"ada", "bob", "cem", "points.csv", "verdicts.csv"}


@pytest.mark.parametrize("content", [b"[", b"{}", b"\xff", None])
def test_a_notebook_that_was_damaged_since_a_grading_was_killed_is_run_again(tmp_path, lessons, content):
    for student in ("ada", "bob"):
        write(tmp_path / "in" / student / "05_numbers.ipynb", "my_low = 1", "my_high = 10")
    with pytest.raises(ZeroDivisionError):
        progress = SimpleNamespace(write=lambda line: 1 / ("bob" not in line))
        batch.grade(tmp_path / "in", tmp_path / "out", course=lessons, progress=progress)
    kept = tmp_path / "out" / "ada" / "05_numbers.ipynb"
    kept.unlink() if content is None else kept.write_bytes(content)
    table = batch.grade(tmp_path / "in", tmp_path / "out", course=lessons)
    for student in ("ada", "bob"):
        assert verdicts(table, student) == ["right", "right"]
    assert "Right: low." in kept.read_text()


def test_outputs_are_bounded_as_they_come_and_the_verdict_stays(tmp_path, lessons, monkeypatch):
    monkeypatch.setattr(sys.modules["van_tutorial.batch.grade"], "MOST_OUTPUT", 20_000)
    prints = "for _ in range(200):\n    print('x' * 1000)\n    display('y' * 1000)\nmy_low = 1"
    write(tmp_path / "in" / "ada" / "05_numbers.ipynb", prints, "print('\\n' * 10**6)\nmy_high = 10")
    table = batch.grade(tmp_path / "in", tmp_path / "out", course=lessons)
    assert verdicts(table, "ada") == ["right", "right"]
    kept = (tmp_path / "out" / "ada" / "05_numbers.ipynb").read_text()
    assert len(kept) < 60_000
    assert kept.count("More output was left out") == 2


def test_names_and_texts_that_look_like_formulas_are_no_formulas_in_the_table(tmp_path, lessons):
    write(tmp_path / "in" / "=1+1" / "05_numbers.ipynb", "raise ValueError", "my_high = 10")
    write(tmp_path / "in" / "@SUM(A1)" / "notes.ipynb")
    table = batch.grade(tmp_path / "in", tmp_path / "out", course=lessons)
    assert set(table["student"]) == {"=1+1", "@SUM(A1)"}
    written = (tmp_path / "out" / "verdicts.csv").read_text().splitlines()
    assert [line[:3] for line in written[1:]] == ["'=1", "'=1", "'@S"]


@pytest.mark.parametrize("into", ["", "ada"])
def test_executed_notebooks_are_not_written_over_submissions(tmp_path, lessons, into):
    write(tmp_path / "in" / "ada" / "05_numbers.ipynb", "my_low = 1")
    before = (tmp_path / "in" / "ada" / "05_numbers.ipynb").read_bytes()
    with pytest.raises(ValueError, match="holds submissions, over which"):
        batch.grade(tmp_path / "in", tmp_path / "in" / into, course=lessons)
    assert (tmp_path / "in" / "ada" / "05_numbers.ipynb").read_bytes() == before
