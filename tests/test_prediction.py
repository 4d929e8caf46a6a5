"""Predictions: kept in a file, back after a new run, and no result before them."""

import json

import nbformat
import numpy as np
import pytest

from van_tutorial.batch.kernel import running
from van_tutorial.widgets import Prediction
from van_tutorial.widgets.prediction import Question, shown

QUESTIONS = {"accuracy": (0, 1), "gradient": (1e-9, 1e9), "better": ("plain", "residual")}


@pytest.fixture
def ask(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda name="1.1": Prediction(name, QUESTIONS)


def fill(prediction, **answers):
    for name, answer in answers.items():
        getattr(prediction, name).value = answer
    prediction.predict.click()


def test_a_prediction_is_kept_and_stands_in_the_boxes_when_the_cell_runs_again(ask, tmp_path):
    fill(ask("1.2"), gradient="1e-3")
    first = ask()
    assert first.is_open
    fill(first, accuracy=" 0,25 ", better="plain")
    assert not first.is_open
    kept = {"1.2": {"gradient": 0.001}, "1.1": {"accuracy": 0.25, "better": "plain"}}
    assert json.loads((tmp_path / "predictions.json").read_bytes()) == kept
    again = ask()
    assert (again.answers, again.is_open) == (kept["1.1"], False)
    assert (again.accuracy.value, again.better.value) == ("0.25", "plain")
    assert again.predict.disabled and again.accuracy.disabled


@pytest.mark.parametrize("answer", ["much", "1.5", "-0.1", "nan", "inf", "50 %"])
def test_what_is_no_answer_is_refused_with_what_is_expected(ask, tmp_path, answer):
    prediction = ask()
    fill(prediction, accuracy=answer)
    assert f"accuracy: number from 0 to 1 is expected, got &#x27;{answer}&#x27;" in prediction.status.value
    assert prediction.is_open
    assert list(tmp_path.iterdir()) == []


def test_empty_boxes_are_no_prediction_and_pass_keeps_none(ask, tmp_path):
    prediction = ask()
    prediction.predict.click()
    assert "fill in at least one box, or press Pass" in prediction.status.value
    assert prediction.is_open
    prediction.skip.click()
    assert not prediction.is_open
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["{", "3", "[" * 100_000, '{"1.1": {"accuracy": 7}}', '{"1.1": 3}'])
def test_a_file_that_holds_something_else_is_named_and_the_boxes_stay_open(ask, tmp_path, content):
    (tmp_path / "predictions.json").write_text(content)
    prediction = ask()
    assert prediction.status.value.startswith("<b>Not done:</b>")
    assert (prediction.is_open, prediction.answers) == (True, {})
    if not content.startswith('{"'):
        fill(prediction, accuracy="0.5")
        assert "holds no predictions" in prediction.status.value
        assert (tmp_path / "predictions.json").read_text() == content


def test_ring_and_dot_stand_where_the_numbers_lie_between_the_bounds():
    drawn = Question("accuracy", (0, 1)).draw(0.25, 1.0)
    assert "<circle cx='50'" in drawn and "<circle cx='170'" in drawn
    drawn = Question("gradient", (1e-2, 1e2)).draw(
        1, 1e9
    )  # by powers of ten, and what lies outside at the end
    assert "<circle cx='90'" in drawn and "<circle cx='170'" in drawn
    assert Question("accuracy", (0, 1)).draw(None, 0.5) == ""
    assert Question("better", ("plain", "residual")).draw("plain", "residual") == ""


def test_numbers_are_shown_to_three_digits_and_truth_in_words():
    values = (None, 0.12345, 12345.6, np.float32(0.5), np.bool_(True), False, "both", 3e-7)
    assert [shown(value) for value in values] == ["–", "0.123", "12,346", "0.5", "yes", "no", "both", "3e-07"]


CELLS = [
    "import plotly.express as px\nfrom van_tutorial import widgets",
    "asked = widgets.Prediction('1.1', {'accuracy': (0, 1)})\nasked",
    "asked.compare({'accuracy': 0.125}, px.line(y=[1, 2]))",
    "asked.show('\\n    It is **low**:\\n\\n    $x < 1$\\n    ')",
]


@pytest.mark.parametrize(("press", "told"), [("predict", "0.5"), ("skip", "–"), (None, None)])
def test_a_notebook_shows_no_result_before_the_prediction_is_made_or_passed(tmp_path, press, told):
    last = f"asked.accuracy.value = '0.5'; asked.{press}.click()" if press else "1"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in [*CELLS, last]])
    with running(notebook, tmp_path, timeout=60) as client:
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
    table, figure, text = (output.data for cell in notebook.cells[2:4] for output in cell.outputs)
    assert ("0.125" in table["text/html"]) == bool(press)
    assert ("application/vnd.plotly.v1+json" in figure) == bool(press)
    assert not press or f"<td>{told}</td><td>0.125</td>" in table["text/html"]
    assert "result 0.125" in table["text/plain"]  # where nobody can press
    assert text.get("text/markdown") == ("It is **low**:\n\n$x < 1$" if press else None)


def test_without_anybody_to_answer_the_questions_are_listed_and_the_result_is_shown(ask, tmp_path, capsys):
    prediction = Prediction("1.1", QUESTIONS, interactive=False)
    prediction.compare({"accuracy": 0.5}, "It is *low*.")
    assert capsys.readouterr().out == (
        "accuracy: predicted –, result 0.5\n<IPython.core.display.Markdown object>\n"
    )
    assert not prediction.is_open
    assert list(tmp_path.iterdir()) == []


def test_a_result_that_answers_no_question_is_refused(ask):
    with pytest.raises(
        ValueError, match=r"question must be one of 'accuracy', .*, got 'acuracy'. Did you mean"
    ):
        ask().compare({"acuracy": 0.5})
