"""What many runs measured, as tables that are read from the runs' folders alone."""

import hashlib
import json
import math
import os.path
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from van_tutorial.batch.store import FAILED, INTERRUPTED

HEAD = ("run", "notebook", "state")
FOLDER_NAME = re.compile(rf"[0-9a-f]{{16}}({FAILED})?")
CONFIG_KINDS: dict[str, Any] = {
    "notebook": str, "parameters": dict, "identity": dict, "started": str, "seconds": int | float, "python": str,
    "versions": dict,
}  # fmt: skip
LARGEST_INTEGER = 2**63 - 1


class DamagedRunError(ValueError):
    """A run's folder lacks a file, or holds one that cannot be read."""


@dataclass(frozen=True)
class StoredRun:
    """A run as its folder tells of it.

    Attributes:
        run: name of the folder, without what says how the run ended.
        notebook: name of the notebook, without its ending.
        state: "finished", "failed" or "damaged".
        reason: why the run failed, or what is damaged.
        config: the whole of config.json; empty where the folder is damaged.
        rows: what the notebook recorded, each with the name of the row; "" where the notebook records one row a run.
        label: the column that names the rows, where there is one.
        code: short hash of the notebook, the package, the data and the version of torch that the run was made with.
        identity: what two runs share only where they are the same run.
    """

    run: str
    notebook: str
    state: str
    reason: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[tuple[str, Mapping[str, Any]]] = ()
    label: str | None = None
    code: str | None = None
    identity: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """The run's parameters."""
        return dict(self.config.get("parameters", {}))


def results(folder: str | Path) -> pd.DataFrame:
    """Read the runs in a folder into a table with one row a run.

    Where a notebook recorded several rows, each of their metrics is a column for each row, such as
    "van: test accuracy": named by the first column of strings that tells the rows of every run apart, else by the
    rows' numbers. A metric whose name a parameter or a column of the run has already is named "NAME (recorded)".

    Args:
        folder: of all runs, or of one notebook's; names that begin with a dot and interrupted runs are left out,
            and so is a failed run that finished when it was tried again.

    Returns:
        Columns run, notebook, state ("finished", "failed" or "damaged"), the parameters, the metrics, seconds,
        started (UTC) and reason. In state "damaged" the reason names the file that cannot be read, or the folder that
        this one is a copy of. Where a notebook ran with more than one version of itself, the package, the data or
        torch, the column code, behind state, tells them apart. Rows are sorted by notebook, code and parameters.
        The table's `attrs` hold the names of its columns under "parameters" and "metrics", and under "versions" those
        that the runs were made with.

    Raises:
        FileNotFoundError: where there is no such folder, or no run in it.
    """
    runs = read_runs(folder)
    metrics = [
        {
            f"{title}: {name}" if title else name: value
            for title, row in run.rows
            for name, value in row.items()
            if name != run.label
        }
        for run in runs
    ]
    return tabulate(runs, runs, metrics)


def measurements(folder: str | Path) -> pd.DataFrame:
    """Read the runs in a folder into a tidy table with one row for each run and each row that it recorded.

    Args:
        folder: as for `results`.

    Returns:
        Columns run, notebook, state, code (as for `results`), row, the parameters and the metrics. The column row
        holds what `results` writes before the names of the metrics; it is empty for a notebook that records one
        row a run. The table's `attrs` are those of `results`.

    Raises:
        FileNotFoundError: where there is no such folder, or no run in it.
    """
    runs = read_runs(folder)
    entries = [(run, title, row) for run in runs for title, row in run.rows]
    of_runs, titles, rows = zip(*entries, strict=True) if entries else ((), (), ())
    return tabulate(runs, of_runs, rows, titles)


def read_runs(folder: str | Path) -> list[StoredRun]:
    """Return the runs in a folder by notebook, code and parameters, or raise `FileNotFoundError`."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}: name one that runs are kept in, such as runs.")
    places = [
        place for depth in ("*", "*/*") for place in sorted(folder.glob(depth)) if is_run(place, folder)
    ]
    if not places:
        raise FileNotFoundError(
            f"{folder} holds no runs: name the folder that they are kept in (such as runs), or that of one notebook."
        )
    runs = without_copies({place: read_run(place) for place in places})
    return list(with_row_names(sorted(runs, key=sort_key)))


def is_run(place: Path, folder: Path) -> bool:
    """Whether a folder below another is a run's, by its name or by what is in it: not hidden, not interrupted."""
    is_hidden = any(part.startswith(".") for part in place.relative_to(folder).parts)
    is_named = bool(FOLDER_NAME.fullmatch(place.name)) or os.path.lexists(place / "config.json")
    return is_named and not is_hidden and not place.name.endswith(INTERRUPTED)


def without_copies(runs: Mapping[Path, StoredRun]) -> Iterator[StoredRun]:
    """Yield runs, of one that is there several times all but one as damaged, none that failed before it finished."""
    originals: dict[str | None, Path] = {}
    for place in sorted(runs, key=lambda place: (not FOLDER_NAME.fullmatch(place.name), len(place.name))):
        run = runs[place]
        original = originals.setdefault(run.identity, place)
        if run.identity is None or original == place:
            yield run
        elif run.state != "failed" or runs[original].state != "finished":
            reason = f"{place} is a copy of {original}: remove one of them."
            yield StoredRun(run.run, run.notebook, "damaged", reason)


def read_run(place: Path) -> StoredRun:
    """Return the run in a folder; in state "damaged" where it cannot be read."""
    key, is_failed = place.name.removesuffix(FAILED), place.name.endswith(FAILED)
    try:
        config = read_json(place / "config.json", dict)
        for name, kind in CONFIG_KINDS.items():
            if not isinstance(config.get(name), kind):
                raise damage(place / "config.json", f"has no {name!r} that can be used")
        rows = read_json(place / "metrics.json", list)
        if not all(isinstance(row, dict) for row in rows):
            raise damage(place / "metrics.json", "is not a list of rows")
        reason = str(read_json(place / "failure.json", dict).get("reason")) if is_failed else None
        try:
            started = pd.Timestamp(config["started"]).tz_convert("UTC").as_unit("ns")
        except (TypeError, ValueError):
            raise damage(place / "config.json", "has no time with a zone under 'started'") from None
    except DamagedRunError as error:
        return StoredRun(key, place.parent.name, "damaged", str(error))
    made_with = json.dumps(config["identity"], sort_keys=True)
    notebook = Path(config["notebook"]).stem
    return StoredRun(
        run=key,
        notebook=notebook,
        state="failed" if is_failed else "finished",
        reason=reason,
        config=config | {"parameters": scalars(config["parameters"]), "started": started},
        rows=[("", scalars(row)) for row in rows],
        code=hashlib.sha256(made_with.encode()).hexdigest()[:8],
        identity=json.dumps([notebook, made_with, config["parameters"]], sort_keys=True),
    )


def read_json(path: Path, kind: type) -> Any:
    """Return what a JSON file holds, or raise `DamagedRunError` where that is not of a kind or no table can hold it."""
    if not path.is_file():  # a pipe would be waited for
        raise damage(path, "is not a file" if os.path.lexists(path) else "is missing")
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_int=number, parse_float=number)
        json.dumps(content, ensure_ascii=False).encode()  # half a character has no place in a file
    except (OSError, ValueError, RecursionError) as error:
        raise damage(path, f"cannot be read ({type(error).__name__})") from error
    if not isinstance(content, kind):
        raise damage(path, f"holds a {type(content).__name__}, not a {kind.__name__}")
    return content


def number(text: str) -> int | float:
    """Return a number in JSON, a float where it is too large for an integer of 64 bits."""
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number is too large")
    return int(text) if text.lstrip("-").isdigit() and abs(value) < LARGEST_INTEGER else value


def damage(path: Path, problem: str) -> DamagedRunError:
    """Return the error that names a damaged file, with the fix."""
    return DamagedRunError(f"{path} {problem}: remove its folder and run the same again.")


def scalars(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with lists and the like as strings, which can be compared and grouped."""
    return {
        name: value if value is None or isinstance(value, str | int | float) else json.dumps(value)
        for name, value in values.items()
    }


def sort_key(run: StoredRun) -> tuple[Any, ...]:
    """Return what a run is sorted by: not when it finished, and numbers as numbers."""
    values = [
        (0, value, "") if isinstance(value, int | float) else (1, 0, str(value))
        for value in run.parameters.values()
    ]
    return run.notebook, run.code or "", values, run.run


def with_row_names(runs: list[StoredRun]) -> Iterator[StoredRun]:
    """Return runs, sorted by notebook, with a name for each of their rows, found in the same way in all of them."""
    # It is the first column that holds another string in every row of a run, in each of the runs; else their number.
    for _, group in groupby(runs, key=lambda run: run.notebook):
        same = list(group)
        tables = [[row for _, row in run.rows] for run in same]
        if all(len(rows) <= 1 for rows in tables):
            yield from same
            continue
        columns = next(rows[0] for rows in tables if rows)
        label = next((name for name in columns if all(tells_apart(name, rows) for rows in tables)), None)
        for run, rows in zip(same, tables, strict=True):
            titles = [str(n if label is None else row[label]) for n, row in enumerate(rows, 1)]
            yield replace(run, label=label, rows=list(zip(titles, rows, strict=True)))


def tells_apart(column: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a column holds another string in every row."""
    return len({row[column] for row in rows if isinstance(row.get(column), str)}) == len(rows)


def tabulate(
    runs: Sequence[StoredRun],
    of_rows: Sequence[StoredRun],
    metrics: Sequence[Mapping[str, Any]],
    titles: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return a table with a row for each run of `of_rows`; no two of its columns have the same name."""
    columns: dict[str, Any] = {name: [getattr(run, name) for run in of_rows] for name in HEAD}
    made_with = {(run.notebook, run.code) for run in runs if run.code}
    if len(made_with) > len({notebook for notebook, _ in made_with}):
        columns["code"] = [run.code for run in of_rows]
    end: dict[str, Any] = {}
    if titles is None:
        end = {name: [run.config.get(name) for run in of_rows] for name in ("seconds", "started")}
        end["reason"] = [run.reason for run in of_rows]
    else:
        columns["row"] = titles
    attrs: dict[Any, Any] = {"versions": versions(runs)}
    given = [run.parameters for run in of_rows]
    for kind, suffix, records in (("parameters", "parameter", given), ("metrics", "recorded", metrics)):
        taken = {*columns, *end}
        free = {name: f"{name} ({suffix})" if name in taken else name for name in names(records)}
        columns |= {free[name]: [record.get(name) for record in records] for name in free}
        attrs[kind] = list(free.values())
    # Arrays that can hold gaps, of a type that does not hang on which numbers happen to be whole.
    frame = pd.DataFrame({name: pd.array(list(values)) for name, values in (columns | end).items()})
    frame.attrs = attrs
    return frame


def names(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names in records, each once, in the order in which they come."""
    return list(dict.fromkeys(name for record in records for name in record))


def versions(runs: Iterable[StoredRun]) -> list[str]:
    """Return the versions of Python and packages that runs were made with."""
    found = [{"Python": run.config["python"], **run.config["versions"]} for run in runs if run.config]
    return list(
        dict.fromkeys(f"{name} {entry[name]}" for name in names(found) for entry in found if name in entry)
    )
