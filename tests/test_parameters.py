"""Notebooks of any origin: what they declare is taken, or refused in one sentence before anything runs."""

import copy
import json

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from van_tutorial import batch, cli
from van_tutorial.batch.notebooks import parse_notebook
from van_tutorial.batch.parameters import declared_parameters
from van_tutorial.batch.verdicts import fixed_cells, verdicts

INFINITE = float("inf")


def notebook(parameters="rate: float = 0.5", body="print(rate)", metadata=None, **of_cell):
    """Return a notebook as a tool would write it, of plain dicts and lists."""
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    tagged = {**cell, "metadata": {"tags": ["parameters"]}, "source": parameters}
    cells = [
        tagged,
        {"cell_type": "markdown", "metadata": {}, "source": "## Title"},
        {**cell, "source": body, **of_cell},
    ]
    return {"cells": cells, "metadata": metadata or {}, "nbformat": 4, "nbformat_minor": 4}


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "lesson.ipynb"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return write


@pytest.mark.parametrize(
    ("declaration", "value", "expected"),
    [
        ("x: float | None = None", "0.25", 0.25),
        ("x: float | None = 0.5", "None", None),
        ("x: Optional[int] = None", None, None),
        ("x: 'int | None' = 3", "4", 4),
        ("x: int = None", "4", 4),
        ("x: float = 1", 2, 2.0),
        ("x: int | str = 'auto'", "7", 7),
        ("x: int | str = 'auto'", "off", "off"),
        ("x: Literal['sgd', 'adam', 3] = 'sgd'", "3", 3),
        ("x: list = [1, 2]", [3, 4], [3, 4]),
        ("x: list[float] = []", "[1, 2]", [1.0, 2.0]),
        ("x: typing.Dict[str, int] = {}", '{"a": 1}', {"a": 1}),
        ("x: dict = {'a': [None]}", {"b": {"c": True}}, {"b": {"c": True}}),
        ("x = None", "[1, 'a']", [1, "a"]),
        ("x = None", "plain", "plain"),
        ("x: np.ndarray = None", "3", 3),
        ("x: float = float('inf')", "-inf", -INFINITE),
        ("x: float = -float('inf')", 1, 1.0),
        ("y = x = 1", "2", 2),
    ],
)
def test_a_value_of_the_declared_type_is_taken(write, declaration, value, expected):
    taken = batch.check_parameters(write(notebook(declaration)), {"x": value})["x"]
    assert (taken, type(taken)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("declaration", "value", "message"),
    [
        (
            "x: float | None = None",
            "fast",
            r"must be of type float \| None \(its default is None\), got 'fast'",
        ),
        ("x: list[int] = [1]", [1.5], r"must be of type list\[int\] .* got \[1\.5\]"),
        ("x: list = [1]", 3, "must be of type list"),
        ("x: dict = {}", {1: 2}, "must be of type dict"),
        ("x: Literal['a', 'b'] = 'a'", "c", r"must be of type Literal\['a', 'b'\]"),
        ("x: bool | None = None", 1, r"must be of type bool \| None"),
        ("x: str = 'a'", "\udcff", "must be of type str"),
        ("a, x = 1, 2", 3, "has no parameter 'x', only none at all"),
    ],
)
def test_a_value_of_another_type_is_refused_by_that_type(write, declaration, value, message):
    with pytest.raises(batch.NotebookError, match=message):
        batch.check_parameters(write(notebook(declaration)), {"x": value})


@pytest.mark.parametrize(
    "default",
    [
        "{1, 2}",
        "b'a'",
        "1j",
        "...",
        "(1, 2)",
        "{1: 2}",
        "f'{1}'",
        "[open]",
        "2 / 3",
        "{[]: 1}",
        "0x" + "f" * 5000,
    ],
)
def test_a_default_that_cannot_be_handed_on_is_refused_with_what_to_write(write, default):
    with pytest.raises(
        batch.NotebookError, match=r"'x' of .* which is no plain value: write a number, a string"
    ):
        declared_parameters(write(notebook(f"x = {default}")))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content.update(cells=None), "NoneType"),
        (lambda content: content["cells"].insert(0, 3), "int"),
        (lambda content: content["cells"][0].update(source=None), "None is not valid"),
        (lambda content: content["cells"][0].pop("source"), "source"),
        (lambda content: content["cells"][0].update(source=["x = 1", 2]), "sequence item 1"),
        (lambda content: content.update(metadata=7), "int"),
        (lambda content: content.update(nbformat=9), "version 9 of the format"),
        (lambda content: content.pop("nbformat"), "nbformat"),
    ],
)
def test_a_broken_notebook_is_refused_in_one_sentence(write, capsys, change, reason):
    content = notebook()
    change(content)
    assert cli.main(["run", str(write(content))]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert reason in said
    assert "open it in JupyterLab and save it again" in said


def test_a_notebook_in_another_language_is_refused(write):
    metadata = {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}}
    with pytest.raises(batch.NotebookError, match=r"written in R: only notebooks in Python"):
        declared_parameters(write(notebook(metadata=metadata)))


def test_a_notebook_of_the_format_before_is_read(write):
    cell = {"cell_type": "code", "language": "python", "outputs": [], "collapsed": False, "metadata": {}}
    cells = [{**cell, "input": ["rate = 1\n", "depth = 2"], "metadata": {"tags": ["parameters"]}}]
    content = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": cells}]}
    assert batch.check_parameters(write(content), {"rate": "3"}) == {"rate": 3}


def changed_somewhere(draw, part, changes):
    """Return a part of a notebook in which something is removed or put in place of something else."""
    if not isinstance(part, dict | list) or not part or draw(st.integers(0, 9)) == 0:
        return draw(st.text(max_size=20) if isinstance(part, str) and draw(st.booleans()) else changes)
    part = copy.copy(part)
    key = draw(st.sampled_from(sorted(part) if isinstance(part, dict) else range(len(part))))
    if draw(st.integers(0, 9)) == 0:
        del part[key]
    else:
        part[key] = changed_somewhere(draw, part[key], changes)
    return part


@st.composite
def broken_notebooks(draw):
    texts = st.sampled_from(
        ["", "parameters", "x = {1, 2}", "x: int = ", "\ud83d", "%%time\nexercises.check(", "\x00"]
    )
    values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, st.text(max_size=20))
    changes = st.recursive(
        values, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2)
    )
    content = notebook(body="my_x = 1\nexercises.check(my_x)")
    for _ in range(draw(st.integers(1, 2))):
        content = changed_somewhere(draw, content, changes)
    return content


@given(content=broken_notebooks())
@settings(max_examples=200)
def test_whatever_a_notebook_holds_it_is_read_or_refused_in_one_line(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz", numbered=True) / "lesson.ipynb"
    path.write_text(json.dumps(content))
    try:
        declared_parameters(path)
        handed_in = parse_notebook(path.read_bytes(), path)
    except batch.NotebookError as error:
        assert "\n" not in str(error)
        return
    original = parse_notebook(json.dumps(notebook(body="exercises.check(my_x)")).encode(), "the lesson")
    assert [verdict for _, verdict, _ in verdicts(original, handed_in)] == ["none"]
    fixed_cells(handed_in)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_is_kept_of_a_notebook_from_elsewhere_is_valid_json(write, tmp_path, encoding):
    content = notebook(
        "rate: float = 0.5\nnames: list = ['ä']", "print(rate, names, '\\ud83d'.isprintable())"
    )
    content["cells"][1]["source"] = "half an emoji \ud83d"
    content["cells"][2]["outputs"] = [{"output_type": "stream", "text": float("nan")}]
    path = write(json.dumps(content, ensure_ascii=False).encode(encoding, "surrogatepass"))
    run = batch.run(path, {"rate": "-inf", "names": "['a', None]"}, runs=tmp_path / "{runs}")

    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    config = json.loads((run.folder / "config.json").read_text(), parse_constant=refuse)
    assert config["parameters"] == {"rate": "-inf", "names": ["a", None]}
    kept = nbformat.reads(
        json.dumps(json.loads(run.notebook.read_text(), parse_constant=refuse)), as_version=4
    )
    assert kept.metadata.papermill.parameters == config["parameters"]
    assert kept.cells[-1].outputs[0].text == "-inf ['a', None] False\n"
    assert run.page.exists()


@pytest.mark.parametrize("value", ["-inf", "-1e3", "-.5", "-infinity"])
def test_a_value_on_the_command_line_may_begin_with_a_dash(write, value):
    parser = cli.make_parser()
    options = parser.parse_args(["run", str(write(notebook())), "-p", "rate", value, "--force"])
    assert options.parameter == [["rate", value]]
    assert options.force
