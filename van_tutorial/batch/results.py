"""What many runs measured, as tables that are read from the runs' folders alone."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

FAILED = "-failed"
INTERRUPTED = "-interrupted"
CONFIG_KEYS = {
    "notebook": str,
    "parameters": dict,
    "identity": dict,
    "started": str,
    "seconds": int | float,
    "python": str,
    "versions": dict,
}


class DamagedRunError(ValueError):
    """A run's folder lacks a file, or holds one that cannot be read."""


@dataclass(frozen=True)
class StoredRun:
    """A run as its folder tells of it.

    Attributes:
        key: name of the folder, less what says how the run ended.
        notebook: name of the notebook, without its ending.
        state: "finished", "failed" or "damaged".
        config: the whole of config.json; empty where the folder is damaged.
        rows: what the notebook recorded.
        label: the column that names the rows, where there is one.
        row_names: one for each row; empty texts in a notebook that records one row a run.
        reason: why the run failed, or what is damaged.
    """

    key: str
    notebook: str
    state: str
    config: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    label: str | None = None
    row_names: Sequence[str] = ()
    reason: str | None = None

    @property
    def code(self) -> str | None:
        """Short hash of the notebook, the package, the data and the version of torch that the run was made with."""
        if not self.config:
            return None
        identity = json.dumps(self.config["identity"], sort_keys=True)
        return hashlib.sha256(identity.encode()).hexdigest()[:8]

    @property
    def parameters(self) -> dict[str, Any]:
        """The run's parameters."""
        return dict(self.config.get("parameters", {}))


@dataclass(frozen=True)
class Table:
    """A table, and which of its columns are what.

    Attributes:
        frame: the table.
        parameters: its columns of parameters.
        metrics: its columns of metrics.
    """

    frame: pd.DataFrame
    parameters: list[str]
    metrics: list[str]


def results(folder: str | Path) -> pd.DataFrame:
    """Read the runs in a folder into a table with one row a run.

    Where a notebook recorded several rows, each of their metrics is a column for each row, such as
    "van: test accuracy": named by the first column of texts that tells the rows of every run apart, else by the
    rows' numbers. A metric whose name a parameter or a column of the run has already is named "NAME (recorded)".

    Args:
        folder: of all runs, or of one notebook's; names that begin with a dot and interrupted runs are left out,
            and so is a failed run that finished when it was tried again.

    Returns:
        Columns run, notebook, state ("finished", "failed" or "damaged"), the parameters, the metrics, seconds,
        started (UTC) and reason. In state "damaged" the reason names the file that cannot be read. Where a
        notebook ran with more than one version of itself, the package, the data or torch, the column code, behind
        state, tells them apart. Rows are sorted by notebook, code and parameters.

    Raises:
        FileNotFoundError: where there is no such folder, or no run in it.
    """
    return one_row_a_run(read_runs(folder)).frame


def measurements(folder: str | Path) -> pd.DataFrame:
    """Read the runs in a folder into a tidy table with one row for each run and each row that it recorded.

    Args:
        folder: as for `results`.

    Returns:
        Columns run, notebook, state, code (as for `results`), row, the parameters and the metrics. The column row
        holds what `results` writes before the names of the metrics; it is empty for a notebook that records one
        row a run.

    Raises:
        FileNotFoundError: where there is no such folder, or no run in it.
    """
    return one_row_a_record(read_runs(folder)).frame


def read_runs(folder: str | Path) -> list[StoredRun]:
    """Return the runs in a folder by notebook, code and parameters, or raise `FileNotFoundError`."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}: name one that runs are kept in, such as runs.")
    found = sorted(path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/config.json"))
    places = [place for place in found if not is_passed_over(place.relative_to(folder))]
    if not places:
        raise FileNotFoundError(
            f"{folder} holds no runs: name the folder that they are kept in (such as runs), or that of one notebook."
        )
    finished = set(places)
    runs = [
        read_run(place)
        for place in places
        if not (place.name.endswith(FAILED) and place.with_name(key_of(place)) in finished)
    ]
    return with_row_names(sorted(runs, key=sort_key))


def is_passed_over(place: Path) -> bool:
    """Whether a folder, relative to that of all runs, is being written, or is of a run that was interrupted."""
    return place.name.endswith(INTERRUPTED) or any(part.startswith(".") for part in place.parts)


def key_of(place: Path) -> str:
    """Return the key of the run in a folder."""
    return place.name.removesuffix(FAILED)


def read_run(place: Path) -> StoredRun:
    """Return the run in a folder; in state "damaged" where it cannot be read."""
    is_failed = place.name.endswith(FAILED)
    try:
        config = read_json(place / "config.json", dict)
        for name, kind in CONFIG_KEYS.items():
            if not isinstance(config.get(name), kind):
                raise DamagedRunError(damage(place / "config.json", f"has no {name!r} that can be used"))
        try:
            config["started"] = pd.Timestamp(datetime.fromisoformat(config["started"])).tz_convert("UTC")
        except (TypeError, ValueError) as error:
            problem = "has no time with a zone under 'started'"
            raise DamagedRunError(damage(place / "config.json", problem)) from error
        rows = read_json(place / "metrics.json", list)
        if not all(isinstance(row, dict) for row in rows):
            raise DamagedRunError(damage(place / "metrics.json", "is not a list of rows"))
        reason = str(read_json(place / "failure.json", dict).get("reason")) if is_failed else None
    except DamagedRunError as error:
        return StoredRun(key_of(place), place.parent.name, "damaged", {}, [], reason=str(error))
    config["parameters"] = scalars(config["parameters"])
    return StoredRun(
        key=key_of(place),
        notebook=Path(config["notebook"]).stem,
        state="failed" if is_failed else "finished",
        config=config,
        rows=[scalars(row) for row in rows],
        reason=reason,
    )


def read_json(path: Path, kind: type) -> Any:
    """Return what a JSON file holds, or raise `DamagedRunError` where that is not of a kind."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DamagedRunError(damage(path, "is missing")) from error
    except (OSError, ValueError) as error:
        raise DamagedRunError(damage(path, f"cannot be read ({type(error).__name__})")) from error
    if not isinstance(content, kind):
        raise DamagedRunError(damage(path, f"holds a {type(content).__name__}, not a {kind.__name__}"))
    return content


def damage(path: Path, problem: str) -> str:
    """Return the sentence that names a damaged file, with the mend."""
    return f"{path} {problem}: remove its folder and run the same again."


def scalars(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with lists and the like as texts, which can be compared and grouped."""
    return {
        name: value if value is None or isinstance(value, str | int | float) else json.dumps(value)
        for name, value in values.items()
    }


def sort_key(run: StoredRun) -> tuple[Any, ...]:
    """Return what a run is sorted by: not when it finished, and numbers as numbers."""
    values = [value_key(value) for value in run.parameters.values()]
    return run.notebook, run.code or "", values, run.key


def value_key(value: Any) -> tuple[int, float, str]:
    """Return what a parameter's value is sorted by: numbers come first, by their size."""
    return (0, value, "") if isinstance(value, int | float) else (1, 0, str(value))


def with_row_names(runs: list[StoredRun]) -> list[StoredRun]:
    """Return runs, sorted by notebook, with a name for each of their rows, found in the same way in all of them."""
    named = []
    for _, group in groupby(runs, key=lambda run: run.notebook):
        of_notebook = list(group)
        if all(len(run.rows) <= 1 for run in of_notebook):
            named += [replace(run, row_names=[""] * len(run.rows)) for run in of_notebook]
            continue
        columns = next(run.rows[0] for run in of_notebook if run.rows)
        label = next((name for name in columns if tells_apart(name, of_notebook)), None)
        named += [
            replace(
                run,
                label=label,
                row_names=[
                    str(number if label is None else row[label]) for number, row in enumerate(run.rows, 1)
                ],
            )
            for run in of_notebook
        ]
    return named


def tells_apart(column: str, runs: Iterable[StoredRun]) -> bool:
    """Whether a column holds another text in every row of a run, in each of the runs."""
    for run in runs:
        texts = {row[column] for row in run.rows if isinstance(row.get(column), str)}
        if len(texts) < len(run.rows):
            return False
    return True


def one_row_a_run(runs: Sequence[StoredRun]) -> Table:
    """Return the table with one row a run."""
    return tabulate(
        [
            (
                head(run, has_several_codes(runs)),
                run.parameters,
                {
                    f"{row_name}: {name}" if row_name else name: value
                    for row_name, row in zip(run.row_names, run.rows, strict=True)
                    for name, value in row.items()
                    if name != run.label
                },
                {
                    "seconds": run.config.get("seconds"),
                    "started": run.config.get("started"),
                    "reason": run.reason,
                },
            )
            for run in runs
        ]
    )


def one_row_a_record(runs: Sequence[StoredRun]) -> Table:
    """Return the table with one row for each row that was recorded."""
    return tabulate(
        [
            ({**head(run, has_several_codes(runs)), "row": row_name}, run.parameters, row, {})
            for run in runs
            for row_name, row in zip(run.row_names, run.rows, strict=True)
        ]
    )


def head(run: StoredRun, has_code: bool) -> dict[str, Any]:
    """Return the first columns of a run."""
    code = {"code": run.code} if has_code else {}
    return {"run": run.key, "notebook": run.notebook, "state": run.state, **code}


def has_several_codes(runs: Iterable[StoredRun]) -> bool:
    """Whether a notebook ran with more than one version of what a run is made with."""
    codes = {(run.notebook, run.code) for run in runs if run.code}
    return len(codes) > len({notebook for notebook, _ in codes})


def tabulate(entries: Sequence[tuple[Mapping[str, Any], ...]]) -> Table:
    """Return a table of entries (head, parameters, metrics, tail): no two of its columns have the same name."""
    heads, parameters, metrics, tails = (
        list(dict.fromkeys(name for entry in entries for name in entry[part])) for part in range(4)
    )
    taken = {*heads, *tails}
    as_parameter = {name: f"{name} (parameter)" if name in taken else name for name in parameters}
    taken |= set(parameters)
    as_metric = {name: f"{name} (recorded)" if name in taken else name for name in metrics}
    records = [
        {
            **first,
            **{as_parameter[name]: value for name, value in given.items()},
            **{as_metric[name]: value for name, value in measured.items()},
            **last,
        }
        for first, given, measured, last in entries
    ]
    columns = [*heads, *as_parameter.values(), *as_metric.values(), *tails]
    frame = pd.DataFrame(
        {name: typed([record.get(name) for record in records]) for name in columns},
        index=pd.RangeIndex(len(records)),
    )
    return Table(frame, list(as_parameter.values()), list(as_metric.values()))


def typed(values: list[Any]) -> pd.Series:
    """Return a column in a type that can hold gaps, and that does not hang on which numbers happen to be whole."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int} and all(abs(value) < 2**63 for value in values if value is not None):
        return pd.Series(values, dtype="Int64")
    if kinds in ({float}, {int, float}):
        return pd.Series(values, dtype="Float64")
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean")
    if kinds == {pd.Timestamp}:
        return pd.Series(values, dtype="datetime64[us, UTC]")
    return pd.Series(values, dtype="string" if kinds == {str} else "object")
