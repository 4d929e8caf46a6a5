"""Measure a recorded result again with other seeds, and set the result beside what is recorded.

    python -m tools.repeat convolutions --seeds 10,11 --where network "plain, TAT" --where depth 56

Without --where all of its networks are trained, which takes hours. Several values of one column are all taken. Nothing
in assets/results is written: what was measured goes into runs/repeated. A command that was stopped goes on there.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from inspect import signature
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from tools.evidence.parts import spread_of
from tools.record import RECORDED, RESULTS, RUNS, Entry, Journal, measure_all, sweep_all
from tools.recordings import MEASURED, Lab
from tools.recordings.lab import Row, points
from van_tutorial import batch, cli
from van_tutorial._checks import check_choice
from van_tutorial._course import course_path

Wanted = Mapping[str, set[str]]  # of a column, its values as texts
NOTHING: cli.Pairs = []


def repeat(name: str, seeds: Sequence[int], wanted: Wanted, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Measure a result with other seeds.

    Args:
        name: of the result.
        seeds: of its runs.
        wanted: which of them.
        folder: where what is measured is kept.

    Returns:
        Of each network, its accuracies as recorded and as measured now: mean and standard deviation over the seeds. And
        a sentence for each two networks: how far they are apart, recorded and now.

    Raises:
        ValueError: where the seeds of a recording cannot be chosen, for one without an accuracy, and for a column or
            value that it has not.
    """
    entry, columns = RECORDED[name], columns_of(RECORDED[name])
    before = table_of(json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["runs"])
    for column, values in wanted.items():
        check_choice("a column", column, columns)
        for value in sorted(values):
            check_choice(f"a value of {column}", value, before[column].astype(str).unique())
    if not accuracies(before):
        raise ValueError(f"{name} has no accuracy to compare: `{entry.command}` measures it.")
    journal = Journal(entry, folder)
    before = before[before.apply(is_wanted, axis=1, wanted=wanted)]
    of = [column for column in columns if before[column].nunique(dropna=False) > 1] or ["network"]
    if "seconds" in before:
        minutes = len(seeds) * before.groupby(of, dropna=False)["seconds"].mean().sum() / 60
        print(f"{name}: about {minutes:.0f} minutes on one core.", flush=True)
    if entry.sweeps:
        files = [course_path("assets", "sweeps", f"{sweep}.yaml") for sweep in entry.sweeps]
        changed = [with_seeds(entry, file, folder / file.name, seeds, wanted) for file in files]
        sweep_all(journal, [file for file in changed if file is not None])
    else:
        grids, measure = MEASURED[name]
        if "seeds" in signature(measure).parameters:
            measure = partial(measure, seeds=seeds)
        elif all("seed" in grid for grid in grids):
            grids = tuple({**grid, "seed": tuple(seeds)} for grid in grids)
        else:
            raise ValueError(f"{name} has seeds of its own: `{entry.command}` measures it.")
        measure_all(
            journal, (point for point in points(grids) if is_wanted(point, wanted)), partial(measure, Lab())
        )
    after = table_of(row for row in journal.rows if row["seed"] in seeds)
    after = after[after.apply(is_wanted, axis=1, wanted=wanted)]
    tables = {"recorded": before, "measured now": after}
    found = pd.concat(
        {
            title: rows.groupby(of, sort=False, dropna=False)[accuracies(before, after)].agg(spread_of)
            for title, rows in tables.items()
        },
        axis=1,
    )
    return found.dropna(), differences(tables, [column for column in of if column != "network"])


def differences(tables: Mapping[str, pd.DataFrame], rest: list[str]) -> list[str]:
    """Return how far each two networks are apart, in every table, where all but the network is the same."""
    words: dict[str, list[str]] = {}
    for title, rows in tables.items():
        if not {"network", "test_accuracy"} <= set(rows):
            return []
        rows = rows.astype({"test_accuracy": float})
        for key, here in rows.groupby(rest, sort=False) if rest else [((), rows)]:
            where = "".join(f"{name} {value}, " for name, value in zip(rest, key, strict=True))
            for one, other in combinations(here["network"].unique(), 2):
                found = batch.compare(here, one, other).in_words("it")
                words.setdefault(f"{where}*{one}* beside *{other}*", []).append(f"{title} {found}")
    return [f"{name}: {'; '.join(found)}." for name, found in words.items()]


def columns_of(entry: Entry) -> list[str]:
    """Return the columns by which the networks of a recording differ."""
    if entry.sweeps:
        return ["network", *entry.columns]
    return sorted({column for grid in MEASURED[entry.name][0] for column in grid} - {"seed"})


def table_of(rows: Iterable[Row]) -> pd.DataFrame:
    """Return rows as a table whose integers stay integers where some are missing."""
    return pd.DataFrame(list(rows), dtype=object)


def accuracies(*tables: pd.DataFrame) -> list[str]:
    """Return the columns of accuracies that all tables have."""
    names = [str(name) for name in tables[0] if all(name in table for table in tables)]
    return [name for name in names if name.endswith("accuracy")]


def is_wanted(row: Mapping[Any, Any], wanted: Wanted) -> bool:
    """Whether a row has one of the wanted values in each column."""
    return all(str(row.get(column)) in values for column, values in wanted.items())


def with_seeds(entry: Entry, file: Path, to: Path, seeds: Sequence[int], wanted: Wanted) -> Path | None:
    """Write the wanted runs of a sweep file with other seeds, and return its path; None where there are none."""
    sweep = batch.read_sweep(file)
    chosen: list[dict[str, Any]] = []
    for run in sweep.runs:
        settings = {name: value for name, value in run.items() if name != "seed"}
        if is_wanted(entry.row(run), wanted) and settings not in chosen:
            chosen.append(settings)
    if not chosen:
        return None
    to.parent.mkdir(parents=True, exist_ok=True)
    content = {"train": sweep.subject, "list": chosen, "seeds": list(seeds)}
    to.write_text(yaml.safe_dump(content), encoding="utf-8")
    return to


def main(name: str, *, seeds: str = "10,11,12", where: cli.Pairs = NOTHING) -> None:
    """Measure, and print what is recorded beside it.

    Args:
        name: of a recording in tools/recordings.yaml
        seeds: integers, with commas (default: 10,11,12)
        where: train only networks with this value in a column; may be given several times

    Raises:
        ValueError: for seeds that are none.
    """
    check_choice("a recording", name, RECORDED)
    if not all(seed.strip().isdecimal() for seed in seeds.split(",")):
        raise ValueError(f"--seeds must be integers with commas, such as 10,11,12, got {seeds}.")
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for column, value in where:
        wanted[column].add(value)
    found, sentences = repeat(name, [int(seed) for seed in seeds.split(",")], wanted, RUNS / "repeated")
    print("", RECORDED[name].question, "", found.to_string(), "", *sentences, sep="\n")


if __name__ == "__main__":
    sys.exit(cli.call(main))
