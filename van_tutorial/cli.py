"""The console script."""

import argparse
import importlib
import io
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from van_tutorial import __version__
from van_tutorial._checks import check_choice
from van_tutorial._course import copy_course, course_path, is_installed
from van_tutorial._extras import needs
from van_tutorial._files import write_atomic

if TYPE_CHECKING:
    from van_tutorial.batch import Run

RUNS = Path("runs")
COPY = "van_tutorial_course"  # where the learner of an installed package works


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 done, 1 failed, 2 not understood, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a terminal may lack a character, and a file name may be none
            stream.reconfigure(errors="replace")
    parser = make_parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.function is not run_lab:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        return int(options.function(options))
    except KeyboardInterrupt as interrupt:
        sys.stderr.write(f"\nInterrupted{f': {interrupt}' if str(interrupt) else ''}.\n")
        return 130
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        sys.stderr.write(f"van-tutorial: {error}\n")
        return 1


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="van-tutorial",
        description="Train very deep networks with skip-connections, and end up without them.",
    )
    parser.add_argument("--version", action="version", version=f"van-tutorial {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo", help="train plain, residual and VAN on embedded data, and show what came out"
    )
    demo.add_argument("--runs", type=Path, default=RUNS, help="folder to keep runs in (default: runs)")
    demo.set_defaults(function=run_demo)

    diagnose = commands.add_parser(
        "diagnose",
        help="repeat the experiment on shattered gradients, beside its reference, and make its page",
    )
    diagnose.add_argument(
        "--num-seeds", type=int, default=20, help="random initializations of each network (default: 20)"
    )
    diagnose.add_argument("--runs", type=Path, default=RUNS, help="folder to keep runs in (default: runs)")
    diagnose.add_argument(
        "--force", action="store_true", help="run afresh where this very run is there already"
    )
    diagnose.set_defaults(function=run_diagnose)

    run = commands.add_parser("run", help="run a notebook headless with parameters")
    run.add_argument(
        "notebook", type=Path, help="path of a notebook, or the name of a lesson such as 05_phasing_out"
    )
    add_parameters(run)
    run.add_argument("--runs", type=Path, default=RUNS, help="folder to keep runs in (default: runs)")
    run.add_argument("--force", action="store_true", help="run afresh where this very run is there already")
    run.set_defaults(function=run_notebook)

    sweep = commands.add_parser("sweep", help="make the runs of a sweep file that are missing, in parallel")
    sweep.add_argument("file", type=Path, metavar="FILE", help="in YAML")
    sweep.add_argument("--runs", type=Path, default=RUNS, help="folder to keep runs in (default: runs)")
    where = sweep.add_mutually_exclusive_group()
    where.add_argument(
        "--workers", type=int, help="processes on this machine (default: as many as it has cores)"
    )
    where.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that gets the work instead")
    sweep.add_argument("--retry-failed", action="store_true", help="run again what failed before")
    sweep.add_argument("--yes", action="store_true", help="do not ask before more than 200 runs")
    sweep.set_defaults(function=run_sweep)

    results = commands.add_parser(
        "results", help="print what differs between the runs in a folder, and what they measured"
    )
    results.add_argument("folder", type=Path, metavar="FOLDER", help="of all runs, or of one notebook's")
    results.add_argument("--csv", type=Path, metavar="PATH", help="write the table into a file instead")
    results.set_defaults(function=run_results)

    report = commands.add_parser(
        "report", help="make a page of the runs in a folder: curves, spreads, failures"
    )
    report.add_argument("folder", type=Path, metavar="FOLDER", help="of all runs, or of one notebook's")
    report.add_argument("--metric", help="the recorded column that is drawn (default: an accuracy)")
    report.add_argument("--notebook", type=Path, help="your copy of the notebook that makes the page")
    report.set_defaults(function=run_report)

    grade = commands.add_parser(
        "grade", help="run a folder of students' notebooks, and table what their checks say"
    )
    grade.add_argument("folder", type=Path, metavar="FOLDER", help="of submissions: STUDENT/LESSON.ipynb")
    grade.add_argument(
        "--into",
        type=Path,
        default=Path("graded"),
        help="folder for executed notebooks and verdicts.csv (default: graded)",
    )
    add_parameters(grade)
    grade.add_argument("--timeout", type=int, default=300, help="seconds that a cell may take (default: 300)")
    grade.add_argument("--course", type=Path, help="folder of the lessons given out (default: the course's)")
    grade.set_defaults(function=run_grade)

    models = commands.add_parser("models", help="list the family of networks, or tell what one of them is")
    models.add_argument("name", nargs="?", help="of a network: its formula, its source, how it is trained")
    models.set_defaults(function=run_models)

    data = commands.add_parser("data", help="list, verify or fetch the data sets")
    data.add_argument("action", choices=("list", "verify", "fetch"))
    data.add_argument("names", nargs="*", metavar="NAME", help="with fetch: which (default: all)")
    data.add_argument(
        "--root", help="folder of the full data sets (default: $VAN_TUTORIAL_DATA, or the user's cache)"
    )
    data.set_defaults(function=run_data)

    course = commands.add_parser(
        "course",
        help="copy the lessons into a folder, to work in or to give out; nobody's work is written over",
    )
    course.add_argument("folder", type=Path, metavar="DIR", help="a folder, or a file that ends in .zip")
    course.add_argument(
        "--instructor", action="store_true", help="with the instructor's lessons, the solutions"
    )
    course.set_defaults(function=run_course)

    lab = commands.add_parser("lab", help="open JupyterLab on the course; other options are passed on to it")
    lab.add_argument(
        "--folder",
        type=Path,
        help=f"folder that holds notebooks/ (default: the checkout; of an installed package, a copy in ./{COPY})",
    )
    lab.set_defaults(function=run_lab)
    return parser


def add_parameters(parser: argparse.ArgumentParser) -> None:
    """Let a command take parameters of notebooks."""
    # A value may begin with a dash, as -5e-1 and -inf do: whatever is none of the command's own options.
    parser._negative_number_matcher = re.compile("-")
    parser.add_argument(
        "-p",
        "--parameter",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="repeat for several",
    )


def run_demo(options: argparse.Namespace) -> int:
    """Run the main notebook and print its table."""
    started = time.perf_counter()
    print(
        "Training three networks of depth 40 on 5,000 images, plain, residual and VAN: starting …", flush=True
    )
    finished = execute(
        course_path("notebooks", "05_phasing_out.ipynb"), {"interactive": False}, options.runs, force=True
    )
    print_table(finished.metrics)
    print(
        "\n'multipliers' says that the cap lowered no skip weight, not that the loss chose the step (lesson 6)."
    )
    print(
        f"\nDone in {time.perf_counter() - started:.0f} s. Notebook: {finished.notebook}  Page: {finished.page}"
    )
    return 0


def run_diagnose(options: argparse.Namespace) -> int:
    """Run the lesson on shattered gradients with as many initializations as the experiment had, and print its table."""
    if options.num_seeds < 2:
        raise ValueError(f"--num-seeds must be at least 2 for a spread, got {options.num_seeds}.")
    started = time.perf_counter()
    print(
        "Gradients of random networks along a line of inputs, beside their reference: starting …", flush=True
    )
    parameters = {"num_seeds": options.num_seeds, "interactive": False}
    notebook = course_path("notebooks", "03_shattered_gradients.ipynb")
    finished = execute(notebook, parameters, options.runs, options.force)
    print_table(finished.metrics)
    print("\nAutocorrelation of dy/dx at lags 1, 5, 15. A dash: it does not vary, or there is no reference.")
    print(
        f"Done in {time.perf_counter() - started:.0f} s. Notebook: {finished.notebook}  Page: {finished.page}"
    )
    return 0


def run_notebook(options: argparse.Namespace) -> int:
    """Run one notebook with the parameters given."""
    from van_tutorial import batch

    path = batch.find_notebook(options.notebook)
    finished = execute(path, dict(options.parameter), options.runs, options.force)
    print_table(finished.metrics)
    print(f"Notebook: {finished.notebook}  Page: {finished.page}")
    return 0


def execute(path: Path, parameters: dict[str, Any], runs: Path, force: bool) -> "Run":
    """Run a notebook with its progress on the terminal."""
    from van_tutorial import batch

    finished = batch.run(path, parameters, runs=runs, progress=sys.stderr, force=force)
    if not finished.is_new:
        print("This very run is there already, so nothing was run; --force runs it afresh.")
    return finished


def run_sweep(options: argparse.Namespace) -> int:
    """Make the missing runs of a sweep, and list what has no result."""
    from van_tutorial import batch

    swept = batch.sweep(
        options.file,
        runs=options.runs,
        workers=options.workers,
        scheduler=options.scheduler,
        retry_failed=options.retry_failed,
        progress=sys.stderr,
        confirm=lambda question: options.yes or ask(question),
    )
    num_finished, num_unfinished = (
        len(swept.finished) + len(swept.there),
        len(swept.failed) + len(swept.not_done),
    )
    print(
        f"{num_finished} of {num_finished + num_unfinished} runs are finished, {len(swept.finished)} of them now. "
        f"Table: van-tutorial results {swept.folder}"
    )
    for title, runs, mend in (
        ("failed", swept.failed, "add --retry-failed to run them again"),
        ("not done", swept.not_done, "the same command tries them again"),
    ):
        if runs:
            print(f"{len(runs)} {title}; {mend}:")
            print(*(f"  {run}" for run in runs), sep="\n")
    return 0 if swept.is_complete else 1


def ask(question: str) -> bool:
    """Ask whoever sits at the terminal."""
    if not sys.stdin.isatty():
        raise ValueError(f"{question} Nobody is at the terminal to answer: add --yes.")
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D
        return False


def run_results(options: argparse.Namespace) -> int:
    """Print the table of the runs in a folder, or write it into a file."""
    from van_tutorial import batch
    from van_tutorial._files import csv_bytes, write_atomic

    table = batch.results(options.folder)
    if options.csv:
        write_atomic(options.csv, csv_bytes(table))
        print(f"{len(table)} runs are in {options.csv}")
        return 0
    same = [
        name
        for name in table
        if len(table) > 1 and name not in ("state", "seconds") and table[name].nunique(dropna=False) == 1
    ]
    if same:
        print("The same in all:", ", ".join(f"{name}={table[name].iloc[0]}" for name in same), end="\n\n")
    table = table.drop(columns=[*same, "started"], errors="ignore").astype(object)
    print(table.where(table.notna(), "-").to_string(index=False))
    return 0


def run_report(options: argparse.Namespace) -> int:
    """Make the page of the runs in a folder, and print where it is."""
    from van_tutorial import batch

    print(f"Page: {batch.report(options.folder, options.metric, options.notebook)}")
    return 0


def run_grade(options: argparse.Namespace) -> int:
    """Run the submissions in a folder, and print the table of verdicts."""
    from van_tutorial import batch

    sys.stderr.write(
        "This runs code that others wrote, with your rights; docs/teaching.md says how to contain it.\n"
    )
    table = batch.grade(
        options.folder, options.into, dict(options.parameter), options.timeout, options.course, sys.stderr
    )
    print(table.drop(columns="message").to_string(index=False))
    right = int((table["verdict"] == "right").sum())
    print(f"\n{right} of {len(table)} are right. What the checks said: {options.into / 'verdicts.csv'}")
    return 0


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print the metrics that a notebook recorded."""
    import pandas as pd

    if rows:
        print()
        table = pd.DataFrame(rows).convert_dtypes().astype(object)
        print(table.where(table.notna(), "-").to_string(index=False))


def run_models(options: argparse.Namespace) -> int:
    """Print the table of the family, or one of its recipes."""
    from van_tutorial import models

    if options.name is None:
        table = models.family_table()
        table.columns = [name.replace("_", " ") for name in table.columns]
        print(table.to_string(index=False))
        print("\nMake one with models.make(NAME). More about one: van-tutorial models NAME")
        return 0
    check_choice("name", options.name, models.FAMILY)
    recipe = models.FAMILY[options.name]
    print(f"{options.name}: {recipe.formula}")
    print(f"source:             {recipe.source}")
    print(f"ends without skips: {recipe.ends_without_skips}")
    for label, choices in ((f"models.{recipe.kind}", recipe.choices), ("TrainConfig", recipe.training)):
        if choices:
            values = ", ".join(f"{name}={value!r}" for name, value in choices.items())
            print(f"{label + ':':19s} {values}")
    return 0


def run_data(options: argparse.Namespace) -> int:
    """List, verify or fetch data sets."""
    from van_tutorial import data

    root = options.root
    if options.names and options.action != "fetch":
        raise ValueError(f"data {options.action} is of all sets and takes no names; only data fetch does.")
    if options.action == "list":
        for name in data.NAMES:
            place = data.find(name, root)
            print(f"{name:20s} {place or f'not here; get it with: {data.fetch_command(name, root)}'}")
        return 0
    if options.action == "fetch":
        for name in options.names or data.NAMES:
            print(f"{name}: {data.load(name, root).source}")
        return 0
    is_broken = False
    for finding in data.verify(root):
        print(f"{finding.name:20s} {finding.state:8s} {finding.detail}")
        for fix in finding.fixes:
            print(f"    - {fix}")
        is_broken |= finding.state == "broken"
    return int(is_broken)


def run_course(options: argparse.Namespace) -> int:
    """Copy the lessons into a folder, or a new zip file."""
    if options.folder.suffix != ".zip":
        print_copied(options.folder, copy_course(options.folder, options.instructor))
        return 0
    if options.folder.exists():
        raise ValueError(f"{options.folder} exists: remove it first, or give another name.")
    with tempfile.TemporaryDirectory() as scratch:
        copy_course(Path(scratch, COPY), options.instructor)
        packed = shutil.make_archive(str(Path(scratch, "packed")), "zip", scratch, COPY)
        write_atomic(options.folder, Path(packed).read_bytes())
    print(f"The course is in {options.folder}.")
    return 0


def print_copied(folder: Path, done: dict[str, list[str]]) -> None:
    """Say what was copied and what was left alone."""
    print(
        f"The course is in {folder.resolve()}: {len(done['new'])} new files, {len(done['updated'])} updated."
    )
    for name in done["kept"]:
        print(
            f"  {name}: yours was changed and is kept. For the new edition rename yours, and run this again."
        )


def run_lab(options: argparse.Namespace) -> int:
    """Replace this process by JupyterLab on the course: loopback, with a token."""
    with needs("JupyterLab on the course", "course"):
        importlib.import_module("jupyterlab")  # the process that takes this one's place would say less
    folder = options.folder
    if folder is None and is_installed():
        folder = Path(COPY)
        print_copied(folder, copy_course(folder))
    folder = folder or course_path()
    first = "/00_start_here.ipynb" if (folder / "notebooks" / "00_start_here.ipynb").is_file() else ""
    command = [sys.executable, "-m", "jupyter", "lab", "--ServerApp.ip=127.0.0.1"]
    command.append(f"--ServerApp.root_dir={folder.resolve()}")
    command.append(f"--LabApp.default_url=/lab/tree/notebooks{first}")
    command.append(f"--LabApp.app_settings_dir={course_path('assets', 'jupyterlab')}")  # asks nobody for news
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    sys.stdout.flush()
    os.execv(sys.executable, command + options.rest)


if __name__ == "__main__":
    sys.exit(main())
