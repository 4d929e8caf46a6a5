"""Notebook files of any origin, read into one form, and written as valid JSON."""

import ast
import json
import math
import textwrap
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from jsonschema import ValidationError
from nbformat.validator import normalize
from papermill.parameterize import parameterize_notebook

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
MOST_BYTES = 100_000_000  # of a notebook file
LONGEST_REASON = 300  # characters; the whole of it stands in the notebook


class NotebookError(ValueError):
    """A notebook or a parameter was refused before anything ran."""


def read_notebook(path: Path) -> Any:
    """Read a notebook file.

    Args:
        path: of the file.

    Returns:
        The notebook, as `parse_notebook` returns it.

    Raises:
        NotebookError: where there is no such file, and for what `parse_notebook` refuses.
    """
    if not path.is_file():
        there = sorted(other.name for other in path.parent.glob("*.ipynb")) if path.parent.is_dir() else []
        hint = f"; in {path.parent} there are {', '.join(there)}" if there else ""
        raise NotebookError(f"There is no notebook {path}{hint}.")
    if path.stat().st_size > MOST_BYTES:
        raise NotebookError(f"{path} is larger than {MOST_BYTES // 10**6} MB: clear its outputs.")
    return parse_notebook(path.read_bytes(), path)


def parse_notebook(content: bytes, where: object) -> Any:
    """Return the notebook in a file's content, ready to run in the Python of this environment.

    UTF-8, UTF-16 and UTF-32 are read, with a byte order mark or without. Line ends become newlines, and halves of
    surrogate pairs U+FFFD. Outputs are dropped, and the kernel that it names: a run belongs to this environment.

    Args:
        content: of the file.
        where: the file, for the errors.

    Returns:
        The notebook, valid against the schema of version 4.

    Raises:
        NotebookError: for what is no notebook, and for one in another language.
    """
    try:
        # Some tools write NaN and Infinity, which are no JSON, into outputs and metadata.
        notebook = as_version_4(json.loads(content, parse_constant=lambda name: None))
        language = language_of(notebook.metadata)
        notebook.metadata.update(kernelspec=KERNEL, language_info={"name": "python"})
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.update(outputs=[], execution_count=None)
            if isinstance(cell.source, str):
                cell.source = cell.source.replace("\r\n", "\n").replace("\r", "\n")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of cells without an id, which get one
            _, notebook = normalize(notebook, strip_invalid_metadata=True, relax_add_props=True)
            nbformat.validate(notebook, relax_add_props=True)
    except Exception as error:  # nbformat raises what Python does where a part is missing or of another type
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, ValidationError):
            reason = f"{'.'.join(map(str, error.relative_path))} {error.message}"
        raise NotebookError(
            f"{where} is not a notebook that can be read ({one_line(reason)}): open it in JupyterLab and save it again."
        ) from error
    if "python" not in language.lower():
        raise NotebookError(f"{where} is written in {language}: only notebooks in Python can be run here.")
    return nbformat.from_dict(notebook)


def as_version_4(loaded: Any) -> Any:
    """Return a notebook in version 4 of the format, with sources in one piece; raise where it is another or none."""
    if loaded["nbformat"] not in (3, 4):
        raise ValueError(f"version {loaded['nbformat']!r} of the format, not 3 or 4")
    return nbformat.convert(nbformat.reader.reads(whole_text(json.dumps(loaded, ensure_ascii=False))), 4)


def parse_code(source: str) -> ast.Module:
    """Return the syntax tree of a cell's code, or raise `SyntaxError`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the code's author sees when it runs
        try:
            return ast.parse(source)
        except (ValueError, RecursionError, MemoryError) as error:  # null bytes, a thousand brackets
            raise SyntaxError(str(error)) from error


def language_of(metadata: Mapping[str, Any]) -> str:
    """Return the language that a notebook says it is written in; Python where it says none."""
    said = [
        (metadata.get(key) or {}).get(name)
        for key, name in (("kernelspec", "language"), ("language_info", "name"))
    ]
    return next((language for language in said if isinstance(language, str) and language), "python")


def with_parameters(notebook: Any, parameters: Mapping[str, Any]) -> Any:
    """Return a notebook with a cell of parameters injected behind the one that declares them."""
    notebook.metadata["papermill"] = {}
    for cell in notebook.cells:
        cell.metadata.setdefault("tags", [])  # which papermill relies on
    notebook = parameterize_notebook(notebook, parameters, kernel_name="python3", language="python")
    notebook.metadata["papermill"]["parameters"] = as_plain_json(parameters)
    return notebook


def notebook_bytes(notebook: Any) -> bytes:
    """Return a notebook as a file's content."""
    return whole_text(nbformat.writes(notebook)).encode()


def whole_text(text: str) -> str:
    """Return a text in UTF-8's reach: halves of surrogate pairs become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def one_line(text: str) -> str:
    """Return a text on one line, cut where it is too long for a list."""
    return textwrap.shorten(text, LONGEST_REASON, placeholder=" …")


def as_plain_json(value: Any) -> Any:
    """Return a value whose numbers are finite, as JSON has them; the others become the texts inf, -inf and nan."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: as_plain_json(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [as_plain_json(entry) for entry in value]
    return value
