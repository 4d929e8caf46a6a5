"""What a notebook declares in its parameters cell, and whether values fit that."""

import ast
import contextlib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import nbformat


class NotebookError(ValueError):
    """A notebook or a parameter was refused before anything ran."""


def declared_parameters(notebook: str | Path) -> dict[str, Any]:
    """Return the names and defaults that a notebook declares in its cell tagged `parameters`.

    Args:
        notebook: path of the notebook.

    Returns:
        The default of each parameter, in the order of the cell.

    Raises:
        NotebookError: where there is no such notebook, it has no `parameters` cell, or in that a default that has to be
            worked out.
    """
    path = Path(notebook)
    if not path.is_file():
        there = sorted(other.name for other in path.parent.glob("*.ipynb")) if path.parent.is_dir() else []
        hint = f"; in {path.parent} there are {', '.join(there)}" if there else ""
        raise NotebookError(f"There is no notebook {path}{hint}.")
    try:
        cells = nbformat.read(path, as_version=4).cells
    except (ValueError, AttributeError, nbformat.ValidationError, nbformat.reader.NotJSONError) as error:
        raise NotebookError(f"{path} is not a notebook that can be read ({type(error).__name__}).") from error
    sources = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if not sources:
        raise NotebookError(f"{path} has no cell tagged 'parameters', so it cannot be run with any.")
    try:
        statements = ast.parse(sources[0]).body
    except SyntaxError as error:
        raise NotebookError(
            f"The cell of {path} that is tagged 'parameters' is not Python: {error}."
        ) from error
    defaults = {}
    for each in statements:
        if isinstance(each, ast.Assign | ast.AnnAssign) and each.value is not None:
            target = each.target if isinstance(each, ast.AnnAssign) else each.targets[0]
            name = ast.unparse(target)
            defaults[name] = plain_value(each.value, name, path)
    return defaults


def plain_value(default: ast.expr, name: str, notebook: Path) -> Any:
    """Return the value of a parameter's default, which no code is run for."""
    try:
        return ast.literal_eval(default)
    except ValueError as error:
        raise NotebookError(
            f"Parameter {name!r} of {notebook} has the default {ast.unparse(default)}, which is no plain value: write "
            "a number, a text, True or False."
        ) from error


def fit_parameters(
    parameters: Mapping[str, Any],
    declared: Mapping[str, Any],
    where: str,
    types: Mapping[str, tuple[type, ...]] | None = None,
) -> dict[str, Any]:
    """Return parameters in the types of their declared defaults.

    Args:
        parameters: values, or texts of them as a command line has them.
        declared: the default of each parameter that there is.
        where: what declares them, for the errors.
        types: of parameters whose default does not tell; a second one means that None will do as well.

    Returns:
        The same names with values of the types of the defaults.

    Raises:
        NotebookError: for a name that is not declared, and for a value of another type.
    """
    typed: dict[str, Any] = {}
    for name, value in parameters.items():
        if name not in declared:
            near = get_close_matches(str(name), declared, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise NotebookError(f"{where} has no parameter {name!r}, only {', '.join(declared)}.{hint}")
        kind, *or_none = (types or {}).get(name, (type(declared[name]),))
        if value is None and or_none:
            typed[name] = None
        else:
            typed[name] = cast(name, value, declared[name], kind)
    return typed


def check_parameters(notebook: str | Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters in the types that a notebook declares for them.

    Args:
        notebook: path of the notebook; its cell tagged `parameters` gives names, defaults and help.
        parameters: values, or texts of them as a command line has them.

    Returns:
        The same names with values of the types of the defaults.

    Raises:
        NotebookError: where there is no such notebook or no `parameters` cell, for a name that is not declared,
            and for a value of another type.
    """
    return fit_parameters(parameters, declared_parameters(notebook), Path(notebook).name)


def cast(name: str, value: Any, default: Any, kind: type) -> Any:
    """Return a parameter's value in its type, or raise `NotebookError`."""
    if kind is bool and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if kind is str and isinstance(value, str):
        return value
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        if kind is int and not isinstance(value, bool) and (isinstance(value, str) or value == int(value)):
            return int(value)
        if kind is float and not isinstance(value, bool):
            return float(value)
    raise NotebookError(
        f"Parameter {name!r} must be of type {kind.__name__} (its default is {default!r}), got {value!r}."
    )
