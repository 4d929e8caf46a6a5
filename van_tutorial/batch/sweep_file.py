"""Sweep files: one notebook and the parameters of many runs, all checked before anything runs."""

import contextlib
import itertools
import json
import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from van_tutorial._checks import check_choice, did_you_mean
from van_tutorial._course import course_path
from van_tutorial.batch.parameters import NotebookError, declared_parameters, fit_parameters

ENDINGS = (".yaml", ".yml")
MOST_RUNS = 10_000
SECTIONS = ("notebook", "train", "fixed", "grid", "list", "seeds")
# Which values a section may have, as a JSON schema; a description says what is expected, an editor can check by it.
SCHEMA = json.loads(Path(__file__).with_name("sweep_schema.json").read_text(encoding="utf-8"))


class SweepError(ValueError):
    """A sweep file was refused before anything ran."""


@dataclass(frozen=True)
class Sweep:
    """A notebook and the parameters of its runs, every value checked.

    Attributes:
        path: the sweep file.
        subject: name of the notebook without its ending, or the kind of network that is trained without one.
        notebook: path of the notebook; None without one.
        runs: all parameters of each run, defaults and fixed ones filled in: case by case, the last name of the grid
            faster than those before it, the seeds fastest.
    """

    path: Path
    subject: str
    notebook: Path | None
    runs: tuple[dict[str, Any], ...]

    @property
    def name(self) -> str:
        """The sweep file's name without its ending."""
        return self.path.stem

    @property
    def num_runs(self) -> int:
        """How many runs there are."""
        return len(self.runs)

    @cached_property
    def varying(self) -> list[str]:
        """The names of the parameters that are not the same in all runs."""
        first = self.runs[0]
        return [name for name in first if any(run[name] != first[name] for run in self.runs)]


def read_sweep(path: str | Path) -> Sweep:
    """Read a sweep file and check all of it: no two runs are the same, and each can be started.

    Its keys, of which `notebook` or `train` is needed:

        notebook: 05_phasing_out          # what `find_notebook` finds, seen from the file's folder
        train: mlp                        # in its place: networks without a notebook; the parameters are then the
                                          # choices of models.mlp and TrainConfig, and `data`; or convnet
        fixed: {num_epochs: 4, interactive: false}
        grid: {depth: [20, 40], dual_lr: [0.0003, 0.003]}  # every combination
        list: [{lr: 0.003}, {lr: 0.001, num_epochs: 8}]    # each with the whole grid; may override `fixed`
        seeds: 3                          # 0, 1, 2 of the parameter `seed`; or a list of them

    Args:
        path: the file, in YAML (.yaml, .yml).

    Returns:
        The sweep, of at most 10,000 runs.

    Raises:
        SweepError: for anything in the file that is unknown, of the wrong kind, empty or given twice, for what the
            notebook does not declare so, and where a file is not there.
    """
    path = Path(path)
    settings = read_settings(path)
    with located(path):
        return make_sweep(path, settings)


def find_notebook(name: str | Path, folder: str | Path = ".") -> Path:
    """Return the path of a notebook that is named by its path, or as a lesson of the course by its name alone.

    A file in the folder goes before a lesson of the same name. That a longer path leads to a file is not checked.

    Args:
        name: a path, or the name of a lesson with or without its ending.
        folder: what a path is relative to.

    Returns:
        The notebook's path.

    Raises:
        NotebookError: where a name alone is neither a file in the folder nor a lesson.

    Example:
        >>> find_notebook("05_phasing_out").name
        '05_phasing_out.ipynb'
    """
    path = Path(folder) / name
    if path.is_file() or Path(name).parent != Path():
        return path
    lesson = course_path("notebooks", f"{str(name).removesuffix('.ipynb')}.ipynb")
    if lesson.is_file():
        return lesson
    lessons = [other.stem for other in sorted(lesson.parent.glob("*.ipynb"))]
    hint = did_you_mean(str(name), [*(other.name for other in path.parent.glob("*.ipynb")), *lessons])
    lessons_are = f"and no lesson of that name, only {', '.join(lessons)}.{hint}"
    raise NotebookError(f"There is no notebook {str(name)!r} in {folder}, {lessons_are}")


@contextlib.contextmanager
def located(where: object) -> Iterator[None]:
    """Put in front of an error where it arose, and make it a `SweepError`."""
    try:
        yield
    except (ValueError, OverflowError) as error:
        raise SweepError(f"{where}: {error}") from error


def read_settings(path: Path) -> dict[str, Any]:
    """Return what a sweep file says, each section of the right kind and none empty."""
    if not path.is_file():
        raise SweepError(f"There is no sweep file {path}.")
    with located(path):
        check_choice("the ending", path.suffix.lower(), ENDINGS)
        content = parse(path)
        for key in content if isinstance(content, dict) else ():
            check_choice("a key of the file", key, SECTIONS)
        if error := next(Draft202012Validator(SCHEMA).iter_errors(content), None):
            section, *inner = error.absolute_path or ["a sweep file"]
            where = section + "".join(f"[{part!r}]" for part in inner)
            if error.validator in ("minItems", "minProperties"):
                raise SweepError(f"{where} is empty, so nothing would run: fill it or remove it.")
            kinds = {dict: "a mapping", list: "a list", type(None): "nothing"}
            got = kinds.get(type(error.instance)) or textwrap.shorten(
                repr(error.instance), 60, placeholder=" …"
            )
            raise SweepError(f"{where} must be {error.schema['description']}, got {got}.")
        return dict(content)


def parse(path: Path) -> Any:
    """Return the content of a YAML file."""
    try:
        return yaml.load(path.read_text(encoding="utf-8-sig"), Loader=StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SweepError(f"not readable as YAML, line {mark.line + 1}: {error.problem}.") from error
    except OSError:
        raise
    except Exception as error:  # PyYAML passes on what Python raises for a value that is not of its tag
        raise SweepError(f"not readable as YAML: {' '.join(str(error).split())}.") from error


class StrictLoader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML comes without types
    """YAML in which a key that stands twice is an error, where PyYAML would let the second one win."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        """Return a mapping as it is written."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark
                    )
                seen.add((key.tag, key.value))
        return node


def make_sweep(path: Path, settings: dict[str, Any]) -> Sweep:
    """Return the sweep of settings, whose parameters are declared by the notebook and given in one place only."""
    if ("notebook" in settings) == ("train" in settings):
        raise SweepError(
            "one of the keys notebook and train is needed; add one such as notebook: 05_phasing_out."
        )
    notebook = None
    if "train" in settings:
        from van_tutorial.batch.networks import declared_choices

        subject = where = settings["train"]
        declared = declared_choices(subject)
    else:
        notebook = find_notebook(settings["notebook"], path.parent)
        subject, where = notebook.stem, notebook.name
        declared = declared_parameters(notebook)
    fixed, cases, grid = settings.get("fixed", {}), settings.get("list", [{}]), settings.get("grid", {})
    seeds = settings.get("seeds", [])
    seeds = {"seed": seeds if isinstance(seeds, list) else list(range(seeds))} if seeds else {}
    in_list = [name for case in cases for name in case]
    given = {"fixed": fixed, "list": in_list, "grid": grid, "seeds": seeds}
    for (one, names), (other, others) in itertools.combinations(given.items(), 2):
        shared = [name for name in names if name in others]
        if shared and (one, other) != ("fixed", "list"):  # a case may override what is fixed
            raise SweepError(f"{shared[0]!r} is given by {one} and by {other}: leave it to one of them.")

    def fit(section: str, parameters: dict[str, Any]) -> dict[str, Any]:
        with located(section):
            return fit_parameters(parameters, declared, where)

    common = declared | fit("fixed", fixed)
    typed_cases = [common | fit(f"list[{number}]", case) for number, case in enumerate(cases)]
    axes = {
        name: [fit(section, {name: value})[name] for value in values]
        for section, given_axes in (("grid", grid), ("seeds", seeds))
        for name, values in given_axes.items()
    }
    num_runs = len(cases) * math.prod(map(len, axes.values()))
    if num_runs > MOST_RUNS:
        raise SweepError(f"these are {num_runs:,} runs, more than {MOST_RUNS:,}: write several files.")
    runs = [
        case | dict(zip(axes, values, strict=True))
        for case, *values in itertools.product(typed_cases, *axes.values())
    ]
    first: dict[str, int] = {}
    for number, run in enumerate(runs, 1):
        if first.setdefault(repr(run), number) != number:
            told = ", ".join(f"{name}={run[name]!r}" for name in dict.fromkeys([*in_list, *axes]))
            raise SweepError(
                f"runs {first[repr(run)]} and {number} are the same, {told}: remove one of them."
            )
    return Sweep(path, subject, notebook, tuple(runs))
