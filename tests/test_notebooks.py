"""What every notebook must have, and what would make nbval's comparison void."""

import ast
import re
from pathlib import Path

import nbformat
import papermill
import pytest
import torch
from torch import nn

from tests.tracing import texts_of
from tools import notebooks as tool
from tools.recordings import your_network
from van_tutorial import batch
from van_tutorial._course import course_path

EVERY = sorted(tool.NOTEBOOKS.glob("*.ipynb"))
LEARNERS = [path for path in EVERY if path.stem != "playground"]  # which is no lesson, and has no solutions
INSTRUCTORS = sorted((tool.NOTEBOOKS / "instructor").glob("*.ipynb"))
SECTIONS = ("The idea", "Predict", "Run", "Evidence", "Explore", "Exercise", "Take away")
PARTS = (
    "**So far**",
    "**Time**",
    "**You need**",
    "**Afterwards you can**",
    "**Misconception**",
    "**Correction**",
    "**Next**",
    "**Limits of the evidence.**",
    "**References.**",
)
COURSE = [path.stem for path in LEARNERS]


def by_name(path):
    return f"{path.parent.name}/{path.stem}"


every_notebook = pytest.mark.parametrize("path", EVERY + INSTRUCTORS, ids=by_name)
every_lesson = pytest.mark.parametrize("path", LEARNERS + INSTRUCTORS, ids=by_name)


def test_there_is_an_instructors_notebook_for_every_lesson():
    sources = sorted(path.stem for path in (tool.NOTEBOOKS / "src").glob("*.py"))
    assert sources
    assert [path.stem for path in EVERY] == sources
    assert [path.stem for path in LEARNERS] == [path.stem for path in INSTRUCTORS]


@every_notebook
def test_a_notebook_is_what_its_source_gives(path):
    source = tool.NOTEBOOKS / "src" / f"{path.stem}.py"
    assert not tool.differs(tool.make(source, is_instructor=path in INSTRUCTORS), path)


@every_notebook
def test_a_notebook_keeps_only_evidence_and_compares_every_cell_that_shows_something(path):
    notebook = nbformat.read(path, as_version=4)
    assert path.stat().st_size < 300_000
    assert "widgets" not in notebook.metadata
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            tags = cell.metadata.get("tags", [])
            assert cell.execution_count is not None
            assert bool(cell.outputs) == ("keep_output" in tags), cell.source
            assert not {"keep_output", "nbval-ignore-output"} <= set(tags)
            last = ast.parse(cell.source).body[-1]
            shows = isinstance(last, ast.Expr) and not isinstance(last.value, ast.Constant)
            assert not shows or {"keep_output", "nbval-ignore-output"} & set(tags), cell.source
            assert not any(output.output_type == "error" for output in cell.outputs)


@every_lesson
def test_a_lesson_has_its_anatomy(path):
    text = prose(path)
    headings = re.findall(r"^##+ (.*)$", text, re.MULTILINE)
    for section in SECTIONS:
        assert any(heading.startswith(section) for heading in headings), section
    parts = PARTS[path.stem == COURSE[0] :]  # before the first lesson there was none
    places = [text.find(part) for part in parts]
    assert -1 not in places, parts[places.index(-1)]
    assert places == sorted(places), "the parts of a lesson come in one order"
    assert len(re.findall(r"^## Exercise", text, re.MULTILINE)) >= 2
    taken_away = text[text.index("## Take away") : text.index("**Next**")]
    assert 3 <= len(re.findall(r"^- ", taken_away, re.MULTILINE)) <= 5


@pytest.mark.parametrize("path", [path for path in LEARNERS if path.stem != COURSE[0]], ids=by_name)
def test_a_lesson_has_one_cell_for_the_sentence_that_is_marked(path):
    cells = nbformat.read(path, as_version=4).cells
    assert len([cell for cell in cells if "sentence" in cell.metadata.get("tags", [])]) == 1


@every_notebook
def test_a_heading_begins_a_slide_and_no_code_does(path):
    for cell in nbformat.read(path, as_version=4).cells:
        heading = re.match("#{1,3} ", cell.source) if cell.cell_type == "markdown" else None
        assert ("slideshow" in cell.metadata) == bool(heading)


@every_lesson
def test_a_lesson_leads_from_the_one_before_to_the_one_behind(path):
    text = prose(path)
    place = COURSE.index(path.stem)
    if place > 0:
        begin = text[text.index("**So far**") : text.index("**Time**")]
        assert f"]({COURSE[place - 1]}.ipynb)" in begin
    behind = [*COURSE, "playground"][place + 1]
    heading = re.search(r"^# (.*)$", prose(tool.NOTEBOOKS / f"{behind}.ipynb"), re.MULTILINE)
    end = text[text.index("**Next**") : text.index("**Limits of the evidence.**")]
    assert re.search(rf"\[{heading[1]}\]\((\.\./)?{behind}\.ipynb\)", end.replace("\n", " "))


@pytest.mark.parametrize("page", ["notebooks/src/00_start_here.py", "README.md"])
def test_the_contents_ask_every_lessons_own_question(page):
    contents = course_path(*page.split("/")).read_text(encoding="utf-8")
    for path in LEARNERS[1:]:
        question = re.search(r"^\*(.+)\*$", prose(path), re.MULTILINE)[1]
        assert re.search(rf"{path.stem}\.ipynb\) \| {re.escape(question)} \|", contents), path.stem


@every_notebook
def test_pictures_and_links_lead_somewhere(path):
    text = prose(path)
    for is_picture, alt, target in re.findall(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", text):
        if not target.startswith("https://"):
            assert (path.parent / target).is_file(), target
        assert not is_picture or len(alt) > 20


@every_notebook
def test_every_answer_is_looked_at_again_and_no_number_is_filled_by_a_dash(path):
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    for place, source in enumerate(cells):
        for asked in re.finditer(r"^(my_\w+)\b[^=\n]* = ", source, re.MULTILINE):
            later = "\n".join([source[asked.end() :], *cells[place + 1 :]])
            assert re.search(rf"\b{asked[1]}\b", later), f"{asked[1]} is asked for and never looked at again"
        before = source.split('.fillna("–")')[:-1]
        assert all(part.endswith(".astype(object)") for part in before), "a number cannot be filled by a dash"


@every_notebook
def test_every_prediction_has_its_number_and_is_compared_with_a_result(path):
    cells = nbformat.read(path, as_version=4).cells
    source = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    asked = list(re.finditer(r'^(\w+) = widgets\.Prediction\(\s*"([\d.]+)"', source, re.MULTILINE))
    assert len(asked) == source.count("widgets.Prediction(")
    for number, match in enumerate(asked, 1):
        assert match[2] == f"{int(path.stem[:2])}.{number}"
        assert f"{match[1]}.compare(" in source[match.end() :]


@pytest.mark.parametrize("name", ["compare({'a': 0.25}, fig, ", "show("])
def test_a_text_that_is_shown_with_a_result_is_prose_and_no_code(name):
    code, texts = tool.split(
        f'x = 0.5\nasked.{name}r"""\n    $\\alpha$ is 0.75.\n""")\nbatch.compare(x, \'b\')'
    )
    assert texts == ["\n    $\\alpha$ is 0.75.\n"]
    assert "0.75" not in code
    assert "batch.compare(x, 'b')" in code


@every_notebook
def test_no_text_that_is_shown_with_a_result_is_made_by_code_where_no_test_would_read_its_numbers(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    calls = [
        each for cell in cells for each in ast.walk(ast.parse(cell.source)) if isinstance(each, ast.Call)
    ]
    shown = [part for call in calls if tool.TELLS.search(ast.unparse(call.func)) for part in call.args]
    assert not any(isinstance(part, ast.JoinedStr) for part in shown)


def prose(path):
    """Return all the text of a notebook."""
    return "\n".join(text for cell in nbformat.read(path, as_version=4).cells for text in texts_of(cell))


@every_notebook
def test_every_parameter_is_understood_and_explained(path):
    declared = papermill.inspect_notebook(str(path))
    cells = nbformat.read(path, as_version=4).cells
    (written,) = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    assert list(declared) == [statement.target.id for statement in ast.parse(written).body]
    for name, parameter in declared.items():
        assert parameter["inferred_type_name"] in ("int", "float", "str", "bool"), name
        assert parameter["help"], name
        ast.literal_eval(parameter["default"])
    assert declared["interactive"]["default"] == "True"


@every_notebook
def test_no_function_in_a_lesson_is_longer_than_ten_lines(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.FunctionDef):
                    assert node.end_lineno - node.lineno < 10


def test_the_map_in_the_first_lesson_leads_to_every_other_one():
    first, *others = LEARNERS
    text = "\n".join(cell.source for cell in nbformat.read(first, as_version=4).cells)
    assert [other.name for other in others if f"]({other.name})" not in text] == []


def test_a_learner_sees_no_solution():
    for learner, instructor in zip(LEARNERS, INSTRUCTORS, strict=True):
        texts = [Path(file).read_text(encoding="utf-8") for file in (learner, instructor)]
        assert "None  # your" in texts[0]
        assert "### solution" not in "".join(texts)
        assert "For the instructor" in texts[1]
        assert "For the instructor" not in texts[0]


# What makes a lesson short where its solutions do not hang on it.
SMALL = {
    "00_start_here": {},
    "01_degradation": {"depth": 8, "num_epochs": 1},
    "02_vanishing_exploding": {"num_images": 64},
    "03_shattered_gradients": {},
    "04_skip_connections": {"depth": 8, "num_epochs": 1},
    "05_phasing_out": {"depth": 8, "num_epochs": 8},
    "06_multiplier_dynamics": {"depth": 4, "num_epochs": 4},
    "07_dirac": {"depth": 4, "num_epochs": 1},
    "08_looks_linear": {"depth": 4, "num_epochs": 1},
    "09_backward_skips": {"num_scenes": 50, "num_epochs": 1},
    "11_after_van": {"depth": 4, "num_epochs": 1},
    "10_convolutional_van": {"depth": 8, "num_epochs": 1},
    "12_your_network": {"num_epochs": 1},
    "13_capstone": {"depth": 4, "num_seeds": 3, "num_workers": 1},
}


@pytest.mark.parametrize("path", INSTRUCTORS, ids=by_name)
def test_the_solutions_pass_their_checks(path, tmp_path):
    finished = batch.run(path, {**SMALL[path.stem], "interactive": False}, runs=tmp_path, page=False)
    verdicts = [
        output.data["text/plain"]
        for cell in nbformat.read(finished.notebook, as_version=4).cells
        for output in cell.get("outputs", [])
        if "exercises.check" in cell.source and "data" in output
    ]
    assert len(verdicts) >= 2
    assert all(verdict.startswith("Right") for verdict in verdicts), verdicts
    assert finished.metrics


@pytest.mark.parametrize("path", LEARNERS, ids=by_name)
def test_an_untouched_lesson_hints_at_every_exercise(path):
    notebook = nbformat.read(path, as_version=4)
    checks = [cell.source for cell in notebook.cells if "exercises.check" in cell.source]
    assert len(checks) >= 2
    assert all("None  # " in source for source in checks)


def test_the_network_of_lesson_12_is_the_one_that_was_recorded():
    (cell,) = [
        cell.source
        for cell in nbformat.read(tool.NOTEBOOKS / "12_your_network.ipynb", as_version=4).cells
        if cell.cell_type == "code" and "class Network(" in cell.source
    ]
    names = {"torch": torch, "nn": nn, "functional": nn.functional, "seed": 0}
    exec(cell, names)
    torch.manual_seed(0)
    network = your_network.Network()
    torch.testing.assert_close(names["network"].state_dict(), network.state_dict(), rtol=0.0, atol=0.0)
    images = torch.rand(4, 1, 14, 14)
    torch.testing.assert_close(names["network"](images), network(images), rtol=0.0, atol=0.0)
