"""The subpackages: who may import whom, read off the source; docstrings; the list of dependencies."""

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
SUBPACKAGES = (
    "data", "connections", "models", "constraints", "training", "ensemble", "diagnostics", "plots",
    "segmentation", "playground", "widgets", "exercises", "evidence", "batch", "cli",
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


def subpackage_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path):
    """Every module that a file imports, anywhere in it, by its full name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write the import in full, so that its subpackage can be read"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def named(path):
    return str(path.relative_to(PACKAGE))


def test_every_module_belongs_to_a_subpackage():
    assert {subpackage_of(path) for path in FILES if not subpackage_of(path).startswith("_")} <= set(
        SUBPACKAGES
    )
    assert {"data", "connections", "models", "constraints", "training"} <= {
        subpackage_of(path) for path in FILES
    }


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_subpackage_imports_only_subpackages_that_come_before_it(path):
    subpackage = subpackage_of(path)
    allowed = set() if subpackage.startswith("_") else set(SUBPACKAGES[: SUBPACKAGES.index(subpackage) + 1])
    ours = {name.split(".")[1] for name in imports_of(path) if name.startswith("van_tutorial.")}
    assert {name for name in ours if not name.startswith("_")} <= allowed


@pytest.mark.parametrize(("subpackage", "module"), MUST_NOT_IMPORT)
def test_a_subpackage_does_not_know_what_it_must_not(subpackage, module):
    for path in FILES:
        if subpackage_of(path) == subpackage:
            found = [name for name in imports_of(path) if name == module or name.startswith(f"{module}.")]
            assert not found, path


@pytest.mark.parametrize("path", [path for path in FILES if subpackage_of(path) != "widgets"], ids=named)
def test_only_widgets_imports_ipywidgets(path):
    assert not [name for name in imports_of(path) if name.split(".")[0] == "ipywidgets"]


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if subpackage_of(path) in ("models", "constraints", "training", "diagnostics")],
    ids=named,
)
def test_what_trains_and_measures_does_not_print(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


@pytest.mark.parametrize("subpackage", ["plots", "batch"])
def test_figures_and_batch_runs_start_without_torch(subpackage):
    code = f"import sys, van_tutorial.{subpackage}; print([m for m in ('torch', 'ipywidgets') if m in sys.modules])"
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
    extras = project["optional-dependencies"]
    listed = [*project["dependencies"], *extras["course"], *extras["sweeps"]]
    listed = [entry for entry in listed if not entry.startswith("van-tutorial[")]
    assert conda == by_name([f"python{project['requires-python']}", *listed])


def test_every_dependency_has_a_floor():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    listed = [entry for group in groups for entry in group if not entry.startswith("van-tutorial[")]
    for name, specifier in by_name(listed).items():
        assert any(bound.operator == ">=" for bound in specifier), name


CORE = {
    "data", "connections", "models", "constraints", "training", "ensemble", "diagnostics", "plots", "segmentation",
    "playground",
}  # fmt: skip
DISTRIBUTIONS = {
    "yaml": "pyyaml",
    "IPython": "ipython",
}  # where the package has another name than what brings it
WITHOUT_EXTRAS = """
import importlib.abc, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
"""


def installed_with(*extras):
    """The packages that these extras bring, and no extra at all."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    names = {Requirement(entry).name.replace("-", "_") for entries in lists for entry in entries}
    return names - {"van_tutorial"}


@pytest.mark.parametrize("path", FILES, ids=named)
def test_what_is_imported_is_declared_and_the_core_imports_no_extra(path):
    roots = {name.split(".")[0] for name in imports_of(path)} - sys.stdlib_module_names - {"van_tutorial"}
    extras = (
        () if subpackage_of(path) in CORE or subpackage_of(path).startswith("_") else ("course", "sweeps")
    )
    assert {DISTRIBUTIONS.get(name, name) for name in roots} <= installed_with(*extras)


def without_extras(code, *extras):
    """Run Python as where these extras are not installed."""
    missing = installed_with(*extras) - installed_with()
    return without(missing | {package for package, name in DISTRIBUTIONS.items() if name in missing}, code)


def without(missing, code):
    """Run Python as where these packages are not installed."""
    code = WITHOUT_EXTRAS.format(missing=missing) + code
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_models_training_and_diagnostics_need_no_extra():
    done = without_extras(
        """
from van_tutorial import constraints, data, diagnostics, ensemble, models, playground, plots, training
from van_tutorial.cli import main
images = data.load()
result = training.train(models.mlp(depth=2, seed=0), images, training.TrainConfig(num_epochs=1, batch_size=1000))
table = diagnostics.layer_norms(result.model, images.test_images[:10], images.test_labels[:10])
plots.layer_norm_curves({"van": table}).to_json()
assert main(["models", "van"]) == 0
""",
        "course",
        "sweeps",
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("subpackage", ["widgets", "batch"])
def test_a_subpackage_that_needs_an_extra_says_which(subpackage):
    done = without_extras(f"import van_tutorial.{subpackage}", "course", "sweeps")
    assert f"ImportError: van_tutorial.{subpackage} needs the package " in done.stderr
    assert done.stderr.endswith("which is not installed: pip install 'van-tutorial[course]' brings it.\n")


@pytest.mark.parametrize("command", [["run", "00_start_here"], ["demo"], ["lab"], ["grade", "."]])
def test_a_command_that_needs_an_extra_says_which_in_one_sentence(command):
    done = without_extras(
        f"from van_tutorial.cli import main; sys.exit(main({command!r}))", "course", "sweeps"
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("van-tutorial: ")
    assert last.endswith("which is not installed: pip install 'van-tutorial[course]' brings it.")
    assert "Traceback" not in done.stderr


def test_a_sweep_without_dask_says_which_extra_it_needs(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text("train: mlp\nfixed: {depth: 2, num_epochs: 1}\nseeds: 1\n")
    command = ["sweep", str(file), "--runs", str(tmp_path / "runs")]
    code = f"from van_tutorial.cli import main; sys.exit(main({command!r}))"
    missing = installed_with("sweeps") - installed_with("course")
    assert "dask" in missing
    done = without(missing, code)
    assert done.returncode == 1
    assert "pip install 'van-tutorial[sweeps]' brings it." in done.stderr.splitlines()[-1]
