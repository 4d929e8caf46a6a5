"""The rooms of the package: who may import whom, read off the source; docstrings; the list of dependencies."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import van_tutorial

PACKAGE = Path(van_tutorial.__file__).parent
ROOT = Path(__file__).parent.parent
ROOMS = (
    "data", "connections", "models", "constraints", "training", "ensemble", "diagnostics", "plots",
    "playground", "widgets", "exercises", "batch", "cli",
)  # fmt: skip
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "_course")
MUST_NOT_IMPORT = [
    ("models", "van_tutorial.data"),
    ("constraints", "van_tutorial.models"),
    ("constraints", "van_tutorial.connections"),
    ("training", "plotly"),
    ("training", "tqdm"),
    ("training", "logging"),
    ("diagnostics", "plotly"),
    ("diagnostics", "matplotlib"),
    ("plots", "torch"),
    ("plots", "ipywidgets"),
    ("batch", "torch"),
]


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path):
    """Every module that a file imports, anywhere in it, by its full name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write the import in full, so that its room can be read"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def named(path):
    return str(path.relative_to(PACKAGE))


def test_every_module_belongs_to_a_room():
    assert {room_of(path) for path in FILES if not room_of(path).startswith("_")} <= set(ROOMS)
    assert {"data", "connections", "models", "constraints", "training"} <= {room_of(path) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_room_imports_only_rooms_that_come_before_it(path):
    room = room_of(path)
    allowed = set() if room.startswith("_") else set(ROOMS[: ROOMS.index(room) + 1])
    ours = {name.split(".")[1] for name in imports_of(path) if name.startswith("van_tutorial.")}
    assert {name for name in ours if not name.startswith("_")} <= allowed


@pytest.mark.parametrize(("room", "module"), MUST_NOT_IMPORT)
def test_a_room_does_not_know_what_it_must_not(room, module):
    for path in FILES:
        if room_of(path) == room:
            found = [name for name in imports_of(path) if name == module or name.startswith(f"{module}.")]
            assert not found, path


@pytest.mark.parametrize("path", [path for path in FILES if room_of(path) != "widgets"], ids=named)
def test_only_widgets_imports_ipywidgets(path):
    assert not [name for name in imports_of(path) if name.split(".")[0] == "ipywidgets"]


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if room_of(path) in ("models", "constraints", "training", "diagnostics")],
    ids=named,
)
def test_what_trains_and_measures_does_not_print(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


@pytest.mark.parametrize("room", ["plots", "batch"])
def test_figures_and_batch_runs_start_without_torch(room):
    code = f"import sys, van_tutorial.{room}; print([m for m in ('torch', 'ipywidgets') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "[]"


def public_parts(node, prefix):
    """A module, class or function with its name, and the public classes and functions inside it."""
    yield prefix, node
    for child in getattr(node, "body", []):
        is_definition = isinstance(child, ast.ClassDef | ast.FunctionDef)
        if is_definition and not child.name.startswith("_") and not isinstance(node, ast.FunctionDef):
            yield from public_parts(child, f"{prefix}.{child.name}")


@pytest.mark.parametrize("path", FILES, ids=named)
def test_everything_public_says_what_it_is_for(path):
    parts = public_parts(ast.parse(path.read_text()), path.stem)
    assert [name for name, node in parts if not ast.get_docstring(node)] == []


def by_name(requirements):
    """Versions allowed of each package, under the name that PyPI gives it."""
    parsed = [Requirement(requirement) for requirement in requirements]
    return {{"pytorch": "torch"}.get(entry.name, entry.name): entry.specifier for entry in parsed}


def test_conda_users_get_the_same_dependencies_as_pip_users():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    conda = by_name([entry for entry in entries if isinstance(entry, str)])
    assert "pip" in conda
    del conda["pip"]
    assert conda == by_name([f"python{project['requires-python']}", *project["dependencies"]])


def test_every_dependency_has_a_floor():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    for name, specifier in by_name([entry for group in groups for entry in group]).items():
        assert any(bound.operator == ">=" for bound in specifier), name
