"""The console script: a command is a function, whose signature and docstring give its arguments and their help."""

import argparse
import importlib
import inspect
import io
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from van_tutorial import __version__
from van_tutorial._checks import check_choice
from van_tutorial._course import copy_course, course_path, is_installed
from van_tutorial._extras import needs
from van_tutorial._files import csv_bytes, write_atomic

COPY = "van_tutorial_course"  # where the learner of an installed package works
RUNS, GRADED = Path("runs"), Path("graded")
Pairs = list[tuple[str, str]]  # names of a notebook's parameters, and their values
NOTHING: Pairs = []


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 done, 1 failed, 2 not understood, 130 interrupted."""
    return run_line(make_parser(), arguments)


def call(function: Callable[..., int | None], arguments: Sequence[str] | None = None) -> int:
    """Run a command line that has one command, and return its exit status, as `main` does."""
    parser = argparse.ArgumentParser(
        description=inspect.getdoc(inspect.getmodule(function)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(function=function)
    add_arguments(parser, function)
    return run_line(parser, arguments)


def run_line(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> int:
    """Call the function that a command line chooses with its arguments, and return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack a character of a text
            stream.reconfigure(errors="replace")
    options, rest = parser.parse_known_args(arguments)
    chosen = vars(options)
    function = chosen.pop("function")
    if rest and function is not run_lab:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return int(function(*rest, **chosen) or 0)
    except KeyboardInterrupt as interrupt:
        sys.stderr.write(f"\nInterrupted{f': {interrupt}' if str(interrupt) else ''}.\n")
        return 130
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return 1


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    about = "Train very deep networks with skip-connections, and end up without them."
    parser = argparse.ArgumentParser(prog="van-tutorial", description=about)
    parser.add_argument("--version", action="version", version=f"van-tutorial {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, function in COMMANDS.items():
        about = (inspect.getdoc(function) or "").partition("\n")[0]
        of_command = commands.add_parser(name, help=about[0].lower() + about[1:-1], description=about)
        of_command.set_defaults(function=function)
        add_arguments(of_command, function)
    return parser


def add_arguments(parser: argparse.ArgumentParser, function: Callable[..., int | None]) -> None:
    """Let a command take the arguments of its function, with the help that the docstring gives them."""
    signature = inspect.signature(function).parameters
    told = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", inspect.getdoc(function) or "", re.MULTILINE)
    for name, about in told:
        if name in signature:
            add_argument(parser, signature[name], " ".join(about.split()))


def add_argument(parser: argparse.ArgumentParser, argument: inspect.Parameter, about: str) -> None:
    """Let a command take an argument of its function: an option where that takes it by its name alone."""
    kind, default, name = argument.annotation, argument.default, argument.name
    choices: dict[str, Any] = {"help": about, "default": None if default is argument.empty else default}
    if kind is bool:
        choices["action"] = "store_true"
    elif kind is Pairs:
        choices |= {"nargs": 2, "action": "append", "metavar": ("NAME", "VALUE"), "default": []}
        # A value may begin with a dash, as -5e-1 and -inf do: all that is none of the command's own options.
        parser._negative_number_matcher = re.compile("-")
    else:
        choices["type"] = (get_args(kind) or (kind,))[0]  # what it is where it is not None, or one of several
    if argument.kind is argument.KEYWORD_ONLY:
        short = ["-p"] if kind is Pairs else []
        parser.add_argument(*short, f"--{name.replace('_', '-')}", **choices)
    else:
        nargs = {list[str]: "*", str | None: "?"}.get(kind)
        parser.add_argument(name, nargs=nargs, metavar=name.upper(), **choices)


def run_demo(*, runs: Path = RUNS) -> None:
    """Train plain, residual and VAN on embedded data, and show the results.

    Args:
        runs: folder to keep runs in (default: runs)
    """
    print(
        "Training three networks of depth 40 on 5,000 images, plain, residual and VAN: starting …", flush=True
    )
    notebook = course_path("notebooks", "05_phasing_out.ipynb")
    remark = (
        "'multipliers' says that the cap lowered no skip weight, not that the loss chose the step (lesson 6)."
    )
    run_and_print(notebook, {"interactive": False}, runs, True, remark)


def run_diagnose(*, num_seeds: int = 20, runs: Path = RUNS, force: bool = False) -> None:
    """Repeat the experiment on shattered gradients, with its published reference, and make its page.

    Args:
        num_seeds: random initializations of each network (default: 20)
        runs: folder to keep runs in (default: runs)
        force: run afresh where this very run exists

    Raises:
        ValueError: where there is no spread over so few.
    """
    if num_seeds < 2:
        raise ValueError(f"--num-seeds must be at least 2 for a spread, got {num_seeds}.")
    print("Gradients of random networks along a line of inputs, with their reference: starting …", flush=True)
    parameters = {"num_seeds": num_seeds, "interactive": False}
    notebook = course_path("notebooks", "03_shattered_gradients.ipynb")
    remark = "Autocorrelation of dy/dx at lags 1, 5, 15. A dash: it does not vary, or there is no reference."
    run_and_print(notebook, parameters, runs, force, remark)


def run_notebook(
    notebook: Path, *, parameter: Pairs = NOTHING, runs: Path = RUNS, force: bool = False
) -> None:
    """Run a notebook headless with parameters.

    Args:
        notebook: path of a notebook, or the name of a lesson such as 05_phasing_out
        parameter: repeat for several
        runs: folder to keep runs in (default: runs)
        force: run afresh where this very run exists
    """
    run_and_print(notebook, dict(parameter), runs, force)


def run_and_print(
    notebook: Path, parameters: dict[str, Any], runs: Path, force: bool, remark: str | None = None
) -> None:
    """Run a notebook with its progress on the terminal, and print its table and where its files lie."""
    import pandas as pd

    from van_tutorial import batch

    started = time.perf_counter()
    finished = batch.run(
        batch.find_notebook(notebook), parameters, runs=runs, progress=sys.stderr, force=force
    )
    if not finished.is_new:
        print("This very run is there already, so nothing was run; --force runs it afresh.")
    if finished.metrics:
        print()
        print_table(pd.DataFrame(finished.metrics).convert_dtypes())
    if remark:
        print(f"\n{remark}")
    print(
        f"\nDone in {time.perf_counter() - started:.0f} s. Notebook: {finished.notebook}  Page: {finished.page}"
    )


def print_table(table: Any) -> None:
    """Print a DataFrame, a dash where it has no value."""
    table = table.astype(object)
    print(table.where(table.notna(), "-").to_string(index=False))


def run_sweep(
    file: Path,
    *,
    runs: Path = RUNS,
    workers: int | None = None,
    scheduler: str | None = None,
    retry_failed: bool = False,
    yes: bool = False,
) -> int:
    """Make the runs of a sweep file that are missing, in parallel.

    Args:
        file: in YAML
        runs: folder to keep runs in (default: runs)
        workers: processes on this machine (default: as many as it has cores)
        scheduler: address of a Dask cluster that gets the work instead
        retry_failed: run again what failed before
        yes: do not ask before more than 200 runs

    Returns:
        The exit status: 1 where a run has no result.
    """
    from van_tutorial import batch

    swept = batch.sweep(
        file, runs, workers, scheduler, retry_failed, sys.stderr, lambda question: yes or ask(question)
    )
    num_finished = len(swept.finished) + len(swept.there)
    num_runs = num_finished + len(swept.failed) + len(swept.not_done)
    now = f"{num_finished} of {num_runs} runs are finished, {len(swept.finished)} of them now"
    print(f"{now}. Table: van-tutorial results {swept.folder}")
    for unfinished, remark in (
        (swept.failed, "failed; add --retry-failed to run them again"),
        (swept.not_done, "not done; the same command tries them again"),
    ):
        if unfinished:
            print(f"{len(unfinished)} {remark}:", *(f"  {run}" for run in unfinished), sep="\n")
    return 0 if swept.is_complete else 1


def ask(question: str) -> bool:
    """Ask the user at the terminal."""
    if not sys.stdin.isatty():
        raise ValueError(f"{question} Nobody is at the terminal to answer: add --yes.")
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D
        return False


def run_results(folder: Path, *, csv: Path | None = None) -> None:
    """Print what differs between the runs in a folder, and what they measured.

    Args:
        folder: of all runs, or of one notebook's
        csv: write the table into this file instead
    """
    from van_tutorial import batch

    table = batch.results(folder)
    if csv:
        write_atomic(csv, csv_bytes(table))
        print(f"{len(table)} runs are in {csv}")
        return
    own = ("state", "seconds")
    same = [name for name in table if name not in own and table[name].nunique(dropna=False) == 1]
    if same and len(table) > 1:
        print("The same in all:", ", ".join(f"{name}={table[name].iloc[0]}" for name in same), end="\n\n")
        table = table.drop(columns=same)
    print_table(table.drop(columns="started", errors="ignore"))


def run_report(folder: Path, *, metric: str | None = None, notebook: Path | None = None) -> None:
    """Make a page of the runs in a folder: curves, spreads, failures.

    Args:
        folder: of all runs, or of one notebook's
        metric: the recorded column that is drawn (default: an accuracy)
        notebook: your copy of the notebook that makes the page
    """
    from van_tutorial import batch

    print(f"Page: {batch.report(folder, metric, notebook)}")


def run_grade(
    folder: Path,
    *,
    into: Path = GRADED,
    parameter: Pairs = NOTHING,
    timeout: int = 300,
    course: Path | None = None,
) -> None:
    """Run a folder of students' notebooks, and count what their checks say.

    Args:
        folder: of submissions: STUDENT/LESSON.ipynb
        into: folder for executed notebooks, points.csv and verdicts.csv (default: graded)
        parameter: of the lessons; repeat for several
        timeout: seconds that a cell may take (default: 300)
        course: folder of the lessons given out (default: the course's)
    """
    from van_tutorial import batch

    warning = "This runs code that others wrote, with your rights; docs/teaching.md says how to contain it."
    sys.stderr.write(f"{warning}\n")
    table = batch.grade(folder, into, dict(parameter), timeout, course, sys.stderr)
    print(batch.points(table).to_string(index=False, na_rep=""))
    print(
        f"\nPoints: {into / 'points.csv'}. What each check said, and what to look at: {into / 'verdicts.csv'}."
    )


def run_models(name: str | None = None) -> None:
    """List the family of networks, or tell what one of them is.

    Args:
        name: of a network: its formula, its source, how it is trained
    """
    from van_tutorial import models

    if name is None:
        table = models.family_table()
        table.columns = [column.replace("_", " ") for column in table.columns]
        print(table.to_string(index=False))
        print("\nMake one with models.make(NAME). More about one: van-tutorial models NAME")
        return
    check_choice("name", name, models.FAMILY)
    recipe = models.FAMILY[name]
    print(f"{name}: {recipe.formula}")
    print(f"source:             {recipe.source}")
    print(f"ends without skips: {recipe.ends_without_skips}")
    for label, choices in ((f"models.{recipe.kind}", recipe.choices), ("TrainConfig", recipe.training)):
        if choices:
            values = ", ".join(f"{choice}={value!r}" for choice, value in choices.items())
            print(f"{label + ':':19s} {values}")


def run_skips(network: str, *, input: str = "1,3,224,224") -> None:
    """List the skip-connections of any network that can be imported.

    Args:
        network: MODULE:FUNCTION, such as torchvision.models:resnet50
        input: sizes of an input (default: 1,3,224,224)

    Raises:
        ValueError: where there is no such network, or the input has no sizes.
    """
    import torch

    from van_tutorial import models

    module_name, _, name = network.partition(":")
    if not module_name or not name:
        raise ValueError(f"The network must be given as MODULE:FUNCTION, got {network!r}.")
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", input):
        raise ValueError(f"--input must be sizes such as 1,3,224,224, got {input!r}.")
    sys.path.insert(0, str(Path.cwd()))
    try:
        made = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{network} cannot be imported: {error}.") from error
    try:
        made = made if isinstance(made, torch.nn.Module) else made()
        result = type(made).__name__
    except Exception as error:  # of someone's code
        made, result = None, f"{type(error).__name__} ({error})"
    if not isinstance(made, torch.nn.Module):
        raise ValueError(
            f"{network} must be a function without arguments that returns an nn.Module, got {result}."
        )
    try:
        table = models.find_skips(made, torch.zeros(*map(int, input.split(","))))
    except ValueError as error:
        hint = (
            " --input sets that shape, such as --input 1,1,28,28." if "on the example" in str(error) else ""
        )
        raise ValueError(f"{error}{hint}") from error
    meaning = ""
    if len(table):
        print(table.to_string(index=False, float_format="{:.1f}".format))
        meaning = " Each keeps so many KiB in memory for so many layers, for this input."
    print(f"Skips: {len(table)}.{meaning}")


def run_data(action: str, names: list[str], *, root: str | None = None) -> int:
    """List, verify or fetch the data sets.

    Args:
        action: list, verify or fetch
        names: with fetch: which (default: all)
        root: folder of the full data sets (default: $VAN_TUTORIAL_DATA, or the user's cache)

    Returns:
        The exit status: 1 where a set is broken.

    Raises:
        ValueError: for names that would not be heeded.
    """
    from van_tutorial import data

    check_choice("action", action, ("list", "verify", "fetch"))
    if names and action != "fetch":
        raise ValueError(f"data {action} is of all sets and takes no names; only data fetch does.")
    if action == "list":
        for name in data.NAMES:
            place = data.find(name, root)
            print(f"{name:20s} {place or f'not here; get it with: {data.fetch_command(name, root)}'}")
        return 0
    if action == "fetch":
        for name in names or data.NAMES:
            print(f"{name}: {data.load(name, root).source}")
        return 0
    is_broken = False
    for finding in data.verify(root):
        print(f"{finding.name:20s} {finding.state:8s} {finding.detail}")
        for fix in finding.fixes:
            print(f"    - {fix}")
        is_broken |= finding.state == "broken"
    return int(is_broken)


def run_course(folder: Path, *, instructor: bool = False) -> None:
    """Copy the lessons into a folder, to work in or to give out; nobody's work is written over.

    Args:
        folder: a folder, or a file that ends in .zip
        instructor: with the instructor's lessons, the solutions

    Raises:
        ValueError: for a file that exists.
    """
    if folder.suffix != ".zip":
        copy_into(folder, instructor)
        return
    if folder.exists():
        raise ValueError(f"{folder} exists: remove it first, or give another name.")
    with tempfile.TemporaryDirectory() as scratch:
        copy_course(Path(scratch, COPY), instructor)
        packed = shutil.make_archive(str(Path(scratch, "packed")), "zip", scratch, COPY)
        write_atomic(folder, Path(packed).read_bytes())
    print(f"The course is in {folder}.")


def copy_into(folder: Path, has_solutions: bool = False) -> None:
    """Copy the course into a folder, and say what was copied and what was left alone."""
    done = copy_course(folder, has_solutions)
    print(
        f"The course is in {folder.resolve()}: {len(done['new'])} new files, {len(done['updated'])} updated."
    )
    for name in done["kept"]:
        print(
            f"  {name}: yours was changed and is kept. For the new edition rename yours, and run this again."
        )


def run_lab(*others: str, folder: Path | None = None) -> None:
    """Open JupyterLab on the course; other options are passed on to it.

    It takes the place of this process, and listens on loopback alone unless `--ip` says otherwise, with a token.

    Args:
        *others: are JupyterLab's
        folder: that holds notebooks/ (default: the checkout; of an installed package, a copy of the course in
            ./van_tutorial_course)
    """
    with needs("JupyterLab on the course", "course"):
        importlib.import_module("jupyterlab")  # the process that takes this one's place would say less
    if folder is None and is_installed():
        folder = Path(COPY)
        copy_into(folder)
    folder = folder or course_path()
    first = "/00_start_here.ipynb" if (folder / "notebooks" / "00_start_here.ipynb").is_file() else ""
    ours = {
        "ServerApp.ip": "127.0.0.1",  # with the token that jupyter makes
        "ServerApp.root_dir": folder.resolve(),
        "LabApp.default_url": f"/lab/tree/notebooks{first}",
        "LabApp.app_settings_dir": course_path("assets", "jupyterlab"),  # asks nobody for news
    }
    short = {"ip": "ServerApp.ip", "notebook-dir": "ServerApp.root_dir"}
    theirs = [other.lstrip("-").partition("=")[0] for other in others]
    given = {short.get(name, name) for name in theirs}  # jupyter takes one value of each
    choices = [f"--{name}={value}" for name, value in ours.items() if name not in given]
    displays = os.environ.get("DISPLAY"), os.environ.get("WAYLAND_DISPLAY")
    if sys.platform.startswith("linux") and not any(displays):
        choices.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        choices.append("--allow-root")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "jupyter", "lab", *choices, *others])


COMMANDS: dict[str, Callable[..., int | None]] = {
    "demo": run_demo, "diagnose": run_diagnose, "run": run_notebook, "sweep": run_sweep, "results": run_results,
    "report": run_report, "grade": run_grade, "models": run_models, "data": run_data, "course": run_course,
    "lab": run_lab, "skips": run_skips,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
