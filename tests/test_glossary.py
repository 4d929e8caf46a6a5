"""The glossary says what is there: every name exists, every lesson uses the term that it is said to explain."""

import ast
import dataclasses
import functools
import importlib
import inspect
import re
from pathlib import Path

import nbformat
import pytest

from van_tutorial import training

DOCS = Path(__file__).parent.parent / "docs"
ROWS = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in (DOCS / "glossary.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith(("| term", "| ---"))
]
TERMS = [row[0] for row in ROWS]
NAMES = {term: name.strip("`") for term, _, _, name, _ in ROWS if name != "–"}


def find(path):
    """What a dotted name leads to: in torch, in a subpackage of the package, or a choice of TrainConfig."""
    first, *rest = path.split(".")
    if first == "TrainConfig":
        found = training.TrainConfig
    else:
        found = importlib.import_module(first if first == "torch" else f"van_tutorial.{first}")
    for name in rest:
        if dataclasses.is_dataclass(found) and name in {field.name for field in dataclasses.fields(found)}:
            return name
        found = getattr(found, name)
    return found


@functools.cache
def words_of(notebook):
    cells = nbformat.read(notebook, as_version=4).cells
    return " ".join(re.sub(r"[*`]", "", "\n".join(cell.source for cell in cells)).split()).casefold()


def test_every_row_is_whole_and_the_terms_are_sorted_and_unique():
    assert len(ROWS) >= 50
    assert [row for row in ROWS if len(row) != 5 or not all(row)] == []
    assert sorted(set(TERMS), key=str.casefold) == TERMS


@pytest.mark.parametrize("term", NAMES)
def test_a_name_in_code_exists_and_takes_the_value_that_stands_behind_it(term):
    path, bracket, arguments = NAMES[term].partition("(")
    found = find(path)
    if not bracket:
        return
    call = ast.parse(f"f({arguments}", mode="eval").body
    parameters = inspect.signature(found).parameters
    names = [keyword.arg for keyword in call.keywords] or [
        argument.id for argument in call.args if isinstance(argument, ast.Name)
    ]
    assert set(names) <= set(parameters)
    values = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    if values or call.keywords:
        found(*values, **{keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords})


@pytest.mark.parametrize("row", ROWS, ids=TERMS)
def test_the_lesson_of_a_term_is_there_and_uses_it(row):
    number, target = re.fullmatch(r"\[(\d+)\]\((.+)\)", row[4]).groups()
    assert (DOCS / target).resolve().name.startswith(f"{int(number):02d}_")
    assert row[0].casefold() in words_of(DOCS / target)


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_every_link_between_the_docs_leads_to_a_file(path):
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).is_file()] == []
