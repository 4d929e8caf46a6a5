"""A folder of students' notebooks run, and what the checks of their exercises say, as one table."""

import contextlib
import ctypes
import hashlib
import json
import re
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import nbformat
import pandas as pd
import psutil
from nbclient.exceptions import DeadKernelError

from van_tutorial._checks import check_count
from van_tutorial._course import PREDICTIONS, course_path, read_given
from van_tutorial._files import csv_bytes, write_atomic
from van_tutorial.batch.kernel import running
from van_tutorial.batch.notebooks import (
    NotebookError,
    notebook_bytes,
    one_line,
    read_notebook,
    with_parameters,
)
from van_tutorial.batch.parameters import declared_parameters, fit_parameters
from van_tutorial.batch.run import sigterm_as_interrupt
from van_tutorial.batch.store import identify, key_of_run
from van_tutorial.batch.verdicts import (
    NOT_WRITTEN,
    code_cells,
    num_changed,
    num_copied,
    points,
    verdicts,
)

COLUMNS = ["student", "lesson", "exercise", "verdict", "message", "changed", "copied", "predictions", "file"]
MESSAGE = COLUMNS.index("message")
COUNTS = dict.fromkeys(("changed", "copied", "predictions"), "Int64")
TABLE, POINTS, UNFINISHED = "verdicts.csv", "points.csv", ".unfinished"
KEY = "van_tutorial"  # of an executed notebook's metadata: all that its verdicts hang on, hashed
UNTIL_KILLED = 10  # seconds that a cell has after it was interrupted
MOST_OUTPUT = 2_000_000  # characters kept of a notebook's outputs
PR_SET_CHILD_SUBREAPER = 36  # of Linux's prctl


@dataclass(frozen=True)
class Submission:
    """A notebook that was handed in, or what stands in its place.

    Attributes:
        student: who handed it in.
        file: its path below the folder of all.
        lesson: the lesson that its name tells; empty where it tells none.
        notebook: what can be run of it; None where nothing can.
        digest: hash of the file's content.
        reason: why nothing can be run.
    """

    student: str
    file: Path
    lesson: str = ""
    notebook: Any = None
    digest: str = ""
    reason: str = ""


def grade(
    folder: str | Path,
    into: str | Path = "graded",
    parameters: Mapping[str, Any] | None = None,
    timeout: int = 300,
    course: str | Path | None = None,
    progress: TextIO | None = None,
) -> pd.DataFrame:
    """Run every notebook below a folder, and return what the course's checks say of its exercises.

    This executes code that others wrote, with the rights of its caller: contain it, as docs/teaching.md says. A
    verdict counts where it is the value of a code cell whose last statement is the check as the course has it; that
    keeps slips out, and nobody who sets out to deceive it.

    All submissions are read before the first one runs. What a submission starts is ended with it; on Linux also what
    made itself independent, and any other process that the caller starts meanwhile. The tables are written after each
    submission. At the end they are written once more, with the executed notebooks, over what stands there. A
    grading that was killed or interrupted goes on where it stopped, and the submission that it stopped at comes last.

    Args:
        folder: submissions as STUDENT/LESSON.ipynb, or as files whose name contains that of a lesson, in any case
            and with any spaces and hyphens.
        into: folder for the executed notebooks and the tables: verdicts.csv, and points.csv with one row a student.
        parameters: values for the lessons' parameters cells, over what the students left there; `interactive` is false.
        timeout: whole seconds after which a cell is interrupted, at least 1. Where that does not end it, its kernel is
            ended ten seconds later, and the cells after it do not run.
        course: folder of the lessons as they were given out; None for the course's own.
        progress: where a line for each submission goes; None for nowhere.

    Returns:
        Columns student, lesson, exercise; verdict: "right", "not yet", "failed" (an error, or a file that cannot be
        run), "none" (the check is missing or altered, or did not run; or a student without a notebook of the
        course), or "written" and "not written" of the sentence that is marked by hand; message, or that sentence;
        changed: how many of the course's other code cells are missing or altered; copied:
        how many cells stand there as only the instructor's lesson has them; predictions: how many of the lesson's lie
        beside the notebook; file.

    Raises:
        NotebookError: where the folder holds no notebook of the course, for a lesson that cannot be read, and for a
            parameter that a lesson does not have.
        OSError: where the table cannot be written.
        ValueError: for a timeout below 1, and where `into` is the folder of the submissions or a student's.
        KeyboardInterrupt: passed on, also where asked to terminate; the table up to there is written.
    """
    check_count("timeout", timeout)
    folder, into, root = Path(folder), Path(into), Path(course or course_path("notebooks"))
    lessons = {path.stem: path for path in sorted(root.glob("*.ipynb"))}
    submissions = find_submissions(folder, into, sorted(lessons, key=len, reverse=True))
    names = {submission.lesson for submission in submissions} - {""}
    if not names:
        there = ", ".join(printable(submission.file) for submission in submissions[:5])
        raise NotebookError(
            f"There is no notebook below {folder} whose name contains that of a lesson in {root}"
            f"{f', but there are {there}' if there else ''}: name them as the lessons are named."
        )
    given_out = {name: read_lesson(lessons[name], parameters or {}) for name in names}
    keyed = {key_of(each, given_out.get(each.lesson), timeout): each for each in submissions}
    begun = begun_before(into)
    before = {key: kept_notebook(into / each.file, key) for key, each in keyed.items() if key in begun}
    last = [key for key, notebook in before.items() if notebook is None]  # where an earlier grading stopped
    rows: list[list[Any]] = []
    notebooks: dict[Path, bytes] = {}  # compressed; in memory, which no submission reaches
    with sigterm_as_interrupt():
        for number, key in enumerate(sorted(keyed, key=last.__contains__), 1):
            submission, ran = keyed[key], {}
            if progress:
                progress.write(f"{number} of {len(keyed)}: {printable(submission.file)}\n")
            begun.append(key)
            write_atomic(into / UNFINISHED, "\n".join(begun).encode())
            lesson = given_out.get(submission.lesson)
            found, executed = grade_one(submission, lesson, timeout, folder, before.get(key))
            if executed is not None:
                executed.metadata[KEY] = key
                ran = {submission.file: zlib.compress(notebook_bytes(executed))}
            rows, notebooks = rows + found, notebooks | ran
            write_out(into, rows, ran)
    (into / UNFINISHED).unlink(missing_ok=True)
    return write_out(into, rows, notebooks)  # over what a submission may have put in their places


def key_of(submission: Submission, lesson: "Lesson | None", timeout: int) -> str:
    """Return the hash of all that the verdicts on a submission hang on."""
    parts = [str(submission.file), submission.digest, lesson.key if lesson else "", timeout]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def begun_before(into: Path) -> list[str]:
    """Return the keys of the submissions that an earlier grading began, which did not finish."""
    with contextlib.suppress(OSError):
        return (into / UNFINISHED).read_text(errors="replace").split()
    return []


def kept_notebook(path: Path, key: str) -> Any:
    """Return the notebook that an earlier grading has kept under a key; None where there is none."""
    with contextlib.suppress(Exception):  # of anything that stands there
        notebook = nbformat.read(path, as_version=4)
        return notebook if notebook.metadata.get(KEY) == key else None
    return None


def write_out(into: Path, rows: list[list[Any]], notebooks: Mapping[Path, bytes]) -> pd.DataFrame:
    """Write executed notebooks and the table of verdicts, which says of a notebook where it cannot be written."""
    for file, compressed in notebooks.items():
        try:
            write_atomic(into / file, zlib.decompress(compressed))
        except OSError as error:
            remark = f" (The executed notebook is not kept: {one_line(printable(error))}.)"
            for row in rows:
                if row[-1] == printable(file) and remark not in row[MESSAGE]:
                    row[MESSAGE] += remark
    table = pd.DataFrame(rows, columns=COLUMNS).astype(COUNTS)
    table = table.sort_values(["student", "lesson", "file"], kind="stable", ignore_index=True)
    write_atomic(into / TABLE, csv_bytes(table))
    write_atomic(into / POINTS, csv_bytes(points(table)))
    return table


def find_submissions(folder: Path, into: Path, lessons: list[str]) -> list[Submission]:
    """Return all that was handed in, read whole, and for a student without a notebook of the course what is there.

    Args:
        folder: of all submissions.
        into: folder for the results, which is passed over.
        lessons: their names; of several that fit the first counts.

    Returns:
        The submissions in the order of their files' names.

    Raises:
        NotebookError: where there is no such folder.
        ValueError: where results would be written over submissions.
    """
    if not folder.is_dir():
        raise NotebookError(f"There is no folder {folder}: name that of the submissions.")
    is_inside = folder.resolve() in into.resolve().parents
    is_earlier = (into / TABLE).exists() or (into / UNFINISHED).exists()
    if into.resolve() == folder.resolve() or (is_inside and notebooks_in(into) and not is_earlier):
        raise ValueError(
            f"{into} holds submissions, over which the executed notebooks would be written: name another folder, "
            "such as graded."
        )
    patterns = [
        (name, re.compile(r"[\W_]*".join(map(re.escape, re.split(r"[\W_]+", name))), re.IGNORECASE))
        for name in lessons
    ]
    found: list[Submission] = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.resolve() == into.resolve():
            continue
        num_before = len(found)
        for path in notebooks_in(entry) if entry.is_dir() else [entry]:
            fits = ((name, match) for name, pattern in patterns if (match := pattern.search(path.stem)))
            name, match = next(fits, ("", None))
            if match:
                around = path.stem[: match.start()], re.sub(r" *\(\d+\)$", "", path.stem[match.end() :])
                in_name = next(filter(None, (part.strip("_- ") for part in around)), "?")
                student = entry.name if entry.is_dir() else in_name
                found.append(read_submission(student, path, name, folder, entry))
        if len(found) == num_before and (entry.is_dir() or entry.suffix.lower() == ".ipynb"):
            reason = "no notebook whose name contains that of a lesson"
            found.append(Submission(entry.name, entry.relative_to(folder), reason=reason))
    return found


def notebooks_in(folder: Path) -> list[Path]:
    """Return the notebooks below a folder, without hidden ones such as checkpoints; no link to a folder is followed."""
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() == ".ipynb"]
    return [
        path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def read_submission(student: str, path: Path, lesson: str, folder: Path, own: Path) -> Submission:
    """Read a notebook, or say why it cannot be run; nothing outside the student's own folder or file is read."""
    digest, notebook, reason = "", None, ""
    try:
        if own.is_symlink() or not path.resolve().is_relative_to(own.resolve()):
            reason = "a link to a file of another, which is not followed"
        elif path.suffix.lower() != ".ipynb" or not path.is_file():
            reason = "not a notebook file (.ipynb)"
        else:
            notebook = read_notebook(path)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except (NotebookError, OSError, RuntimeError) as error:  # of a link that leads to itself, too
        reason = str(error)
    return Submission(student, path.relative_to(folder), lesson, notebook, digest, reason)


def printable(name: object) -> str:
    """Return a name or a path in characters that every table and terminal shows, however the disk encodes it."""
    text = str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)


@dataclass(frozen=True)
class Lesson:
    """A lesson as it was given out.

    Attributes:
        notebook: with the checks of its exercises.
        solutions: the instructor's; None where there is none.
        parameters: for its parameters cell.
        key: what a verdict hangs on beside the submission.
    """

    notebook: Any
    solutions: Any
    parameters: dict[str, Any]
    key: str


def read_lesson(path: Path, parameters: Mapping[str, Any]) -> Lesson:
    """Read a lesson, to be run without panels where it can do without."""
    declared = declared_parameters(path)
    chosen = {"interactive": False} if "interactive" in declared else {}
    fitted = fit_parameters({**chosen, **parameters}, declared, path.stem)
    with_solutions = path.parent / "instructor" / path.name
    solutions = read_notebook(with_solutions) if with_solutions.is_file() else None
    return Lesson(read_notebook(path), solutions, fitted, key_of_run(identify(path.read_bytes()), fitted))


def grade_one(
    submission: Submission, lesson: Lesson | None, timeout: int, folder: Path, executed: Any = None
) -> tuple[list[list[Any]], Any]:
    """Run a submission that was not run yet; return its rows of the table, and the notebook as it ran."""
    found, changed, copied = [("", "none", submission.reason)], None, None
    if lesson is not None:
        try:
            if submission.notebook is None:
                raise NotebookError(submission.reason)
            if executed is None:
                with nothing_left_running():
                    executed = run_submission(submission, lesson.parameters, timeout, folder)
            found = list(verdicts(lesson.notebook, executed))
            changed = num_changed(lesson.notebook, executed)
            if lesson.solutions is not None:
                copied = num_copied(lesson.notebook, lesson.solutions, executed)
        except Exception as error:  # a file that was handed in may hold anything
            reason = one_line(f"cannot be run: {printable(error)}")
            own = verdicts(lesson.notebook, lesson.notebook)
            found = [(title, "failed", reason) for title, verdict, _ in own if verdict != NOT_WRITTEN]
            executed = None
    student, file = printable(submission.student), printable(submission.file)
    done = predictions_done(submission, folder)
    return [
        [student, submission.lesson, *verdict, changed, copied, done, file] for verdict in found
    ], executed


def predictions_done(submission: Submission, folder: Path) -> int | None:
    """Return how many predictions of its lesson lie beside a notebook; None where its folder is not the student's."""
    path, own = folder / submission.file.with_name(PREDICTIONS), folder / submission.file.parts[0]
    if submission.file.parent == Path() or not submission.lesson:
        return None
    is_own = path.is_file() and path.resolve().is_relative_to(own.resolve())
    number = submission.lesson.partition("_")[0].lstrip("0") or "0"
    kept = read_given(path) if is_own else {}
    return sum(bool(answers) and name.partition(".")[0] == number for name, answers in kept.items())


def run_submission(submission: Submission, parameters: Mapping[str, Any], timeout: int, folder: Path) -> Any:
    """Return a notebook run to its end, errors or not, and interrupted where a cell takes too long."""
    notebook = submission.notebook
    if not any("parameters" in cell.metadata.get("tags", []) for cell in notebook.cells):  # lost on the way
        for cell in code_cells(notebook):
            if parameters and all(re.search(rf"(?m)^{name}\b.*=", cell.source) for name in parameters):
                cell.metadata["tags"] = ["parameters"]
                break
    notebook = with_parameters(notebook, parameters)
    own = (folder / submission.file).parent
    # A file that lies beside those of others runs apart from them.
    home = None if submission.file.parent == Path() or not own.is_dir() else own.resolve()
    choices: dict[str, Any] = {"timeout": timeout, "interrupt_on_timeout": True, "allow_errors": True}
    # A kernel may run out of memory, or be ended here: its later cells say nothing.
    with contextlib.suppress(DeadKernelError), running(notebook, home, **choices) as client:
        client.most_output = MOST_OUTPUT
        manager: Any = client.km
        kernel = psutil.Process(manager.provisioner.pid)
        for index, cell in enumerate(notebook.cells):
            timer = threading.Timer(timeout + UNTIL_KILLED, kernel.kill)  # where no interrupt ends the cell
            timer.start()
            try:
                client.execute_cell(cell, index)
            finally:
                timer.cancel()
    return notebook


@contextlib.contextmanager
def nothing_left_running() -> Iterator[None]:
    """End all processes that were started meanwhile, on Linux those as well whose parents have ended."""
    own = psutil.Process()
    before = {child.pid for child in own.children(recursive=True)}
    adopt_orphans(True)
    try:
        yield
    finally:
        until = time.monotonic() + UNTIL_KILLED
        while time.monotonic() < until:
            left = [child for child in own.children(recursive=True) if child.pid not in before]
            if not left:
                break
            for child in left:
                with contextlib.suppress(psutil.Error):
                    child.kill()
            psutil.wait_procs(left, timeout=1)
        adopt_orphans(False)


def adopt_orphans(is_on: bool) -> None:
    """Make this process the parent of those of its descendants whose parents end, where the system can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(is_on), 0, 0, 0)
