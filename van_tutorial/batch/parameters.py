"""What a notebook declares in its parameters cell, and whether values fit that."""

import ast
import contextlib
import json
import operator
import re
import textwrap
from collections.abc import Mapping
from functools import reduce
from numbers import Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from van_tutorial._checks import did_you_mean
from van_tutorial.batch.notebooks import NotebookError as NotebookError
from van_tutorial.batch.notebooks import parse_code, read_notebook

KINDS: dict[str, Any] = {
    "bool": bool, "int": int, "float": float, "str": str, "list": list, "List": list, "Sequence": list,
    "dict": dict, "Dict": dict, "Mapping": dict, "None": NoneType, "Any": Any, "object": Any,
}  # fmt: skip
FITLESS = (ValueError, TypeError, OverflowError, RecursionError)


class Declared(dict[str, Any]):
    """The default of each parameter.

    Attributes:
        kinds: the types that their values may have.
    """

    def __init__(self, **defaults: Any) -> None:
        super().__init__(defaults)
        self.kinds: dict[str, Any] = {}


def declared_parameters(notebook: str | Path) -> Declared:
    """Return the names, defaults and types that a notebook declares in its cell tagged `parameters`.

    Types are those of the annotation, as far as JSON has such values, or else that of the default. A parameter whose
    default is None and that has no annotation takes every value.

    Args:
        notebook: path of the notebook.

    Returns:
        The default of each parameter, in the order of the cell.

    Raises:
        NotebookError: where there is no such notebook, it has no `parameters` cell, or in that a default that is no
            plain value: None, a boolean, a number, a string, or a list or dict of them.
    """
    path = Path(notebook)
    cells = [cell for cell in read_notebook(path).cells if "parameters" in cell.metadata.get("tags", [])]
    if not cells or cells[0].cell_type != "code":
        raise NotebookError(
            f"{path} has no cell tagged 'parameters', so it cannot be run with any: tag the cell that assigns them."
        )
    try:
        statements = parse_code(cells[0].source).body
    except SyntaxError as error:
        raise NotebookError(
            f"The cell of {path} that is tagged 'parameters' is not Python: {error}."
        ) from error
    declared = Declared()
    for each in statements:
        targets = each.targets if isinstance(each, ast.Assign) else [getattr(each, "target", None)]
        if isinstance(each, ast.Assign | ast.AnnAssign) and each.value is not None:
            for name in [target.id for target in targets if isinstance(target, ast.Name)]:
                text = ast.get_source_segment(cells[0].source, each.value) or ""
                default = plain_value(each.value, text, f"Parameter {name!r} of {path}")
                declared.kinds[name] = kind_of_default(default, getattr(each, "annotation", None))
                declared[name] = fit(default, declared.kinds[name])
    return declared


def plain_value(default: ast.expr, text: str, where: str) -> Any:
    """Return the value of a parameter's default, which no code is run for, or raise `NotebookError`."""
    try:
        if infinite := re.fullmatch(r"""(-?)float\(['"]([+-]?(?:inf|nan))['"]\)""", text):
            return float(infinite[2]) * (-1 if infinite[1] else 1)
        return checked(ast.literal_eval(default))
    except (*FITLESS, SyntaxError, MemoryError) as error:
        raise NotebookError(
            f"{where} has the default {textwrap.shorten(text, 80)}, which is no plain value: write a number, a string, "
            "True, False or None, or a list or dict of them."
        ) from error


def checked(value: Any) -> Any:
    """Return a value that is the same in JSON, and so in the code of a cell; raise where it is not."""
    text = json.dumps(value, ensure_ascii=False)
    text.encode()  # halves of surrogate pairs cannot be kept
    if value == value and json.loads(text) != value:  # nan equals nothing
        raise TypeError(f"{value!r} is no plain value")
    return value


def kind_of_default(default: Any, annotation: ast.expr | None) -> Any:
    """Return the type that a parameter's values may have: the annotated one, and that of its default."""
    own = Any if default is None else type(default)
    try:
        kind = kind_of(annotation) if annotation else own
    except (KeyError, SyntaxError, *FITLESS):  # not a type of values that JSON has
        return own
    try:
        fit(default, kind)
    except FITLESS:
        return kind | type(default)
    return kind


def kind_of(annotation: ast.expr) -> Any:
    """Return the type that an annotation tells, or raise `KeyError` where JSON has no such values."""
    match annotation:
        case ast.Constant(value=None):
            return NoneType
        case ast.Constant(value=str(text)):
            return kind_of(ast.parse(text, mode="eval").body)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return KINDS[name]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return kind_of(left) | kind_of(right)
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name), slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            if name == "Literal":
                return Literal[tuple(checked(ast.literal_eval(part)) for part in parts)]
            if name in ("Annotated", "Final"):
                return kind_of(parts[0])
            kinds = [kind_of(part) for part in parts]
            if name in ("Optional", "Union"):
                return reduce(operator.or_, kinds) | (None if name == "Optional" else kinds[0])
            return KINDS[name][tuple(kinds)]
    raise KeyError(ast.unparse(annotation))


def fit_parameters(parameters: Mapping[str, Any], declared: Declared, where: str) -> dict[str, Any]:
    """Return parameters in their declared types.

    Args:
        parameters: values, or texts of them as a command line has them.
        declared: the default of each parameter that there is.
        where: what declares them, for the errors.

    Returns:
        The same names with values of the declared types.

    Raises:
        NotebookError: for a name that is not declared, and for a value of another type.
    """
    typed: dict[str, Any] = {}
    for name, value in parameters.items():
        if name not in declared:
            there = f"only {', '.join(declared) or 'none at all'}.{did_you_mean(name, declared)}"
            raise NotebookError(f"{where} has no parameter {name!r}, {there}")
        kind = declared.kinds[name]
        try:
            typed[name] = checked(fit(value, kind))
        except FITLESS as error:
            told = kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
            expected = f"must be of type {told} (its default is {declared[name]!r})"
            raise NotebookError(f"Parameter {name!r} {expected}, got {value!r}.") from error
    return typed


def check_parameters(notebook: str | Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters in the types that a notebook declares for them.

    Args:
        notebook: path of the notebook; its cell tagged `parameters` gives names, defaults, types and help.
        parameters: values, or texts of them as a command line has them.

    Returns:
        The same names with values of the declared types.

    Raises:
        NotebookError: where there is no such notebook or no `parameters` cell, for a name that is not declared,
            and for a value of another type.
    """
    return fit_parameters(parameters, declared_parameters(notebook), Path(notebook).name)


def fit(value: Any, kind: Any) -> Any:
    """Return a value, or what a text of it says, in a type; raise where it does not fit."""
    origin: Any = get_origin(kind) or kind
    parts = get_args(kind)
    if isinstance(value, str) and origin is not str and (said := parsed(value)) is not value:
        with contextlib.suppress(*FITLESS):
            return fit(said, kind)
    if origin is Literal and (value, type(value)) in [(choice, type(choice)) for choice in parts]:
        return value
    if origin in (Union, UnionType, Any):
        kinds: tuple[Any, ...] = parts or (NoneType, bool, int, float, list, dict, str)
        own_first = sorted(kinds, key=lambda each: type(value) not in (each, get_origin(each)))
        for each in own_first:
            with contextlib.suppress(*FITLESS):
                return fit(value, each)
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if origin in (NoneType, str) and isinstance(value, origin):
        return value
    if origin is bool and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if origin is int and is_number and value == int(value):
        return int(value)
    if origin is float and is_number:
        return float(value)
    if origin is list and isinstance(value, list | tuple):
        return [fit(entry, parts[0]) if parts else entry for entry in value]
    if origin is dict and isinstance(value, dict):
        return {key: fit(entry, parts[-1]) if parts else entry for key, entry in value.items()}
    raise TypeError(f"{value!r} is not of type {kind}")


def parsed(text: str) -> Any:
    """Return what a text says in Python or JSON, or as a number that is not finite; itself where it says nothing."""
    for read in (ast.literal_eval, json.loads, float):
        with contextlib.suppress(*FITLESS, SyntaxError, MemoryError):
            return read(text)
    return text
