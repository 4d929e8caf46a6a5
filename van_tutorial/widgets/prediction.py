"""Questions that a learner answers before a result is seen, and the result beside the answers."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from inspect import cleandoc
from numbers import Real
from pathlib import Path
from typing import Any

import ipywidgets
import plotly.graph_objects as go
from IPython.display import HTML, Markdown, display

from van_tutorial._checks import check_choice
from van_tutorial._course import PREDICTIONS
from van_tutorial._files import write_atomic
from van_tutorial.widgets.panel import Panel, button

HIDDEN = "<i>Prediction {}: the result appears here once you press Predict or Pass above.</i>"
TABLE = "<table><tr><th>Prediction {}</th><th>predicted ○</th><th>result ●</th><th></th></tr>{}</table>"
ROW = "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>"
DRAWING = """\
{low:g} <svg width='180' height='16' stroke='currentColor'><path d='M10 8H170'/>
<path d='M{ring} 8H{dot}' stroke-width='3'/>
<circle cx='{ring}' cy='8' r='5' fill='none'/><circle cx='{dot}' cy='8' r='5' fill='currentColor'/></svg> {high:g}"""


@dataclass(frozen=True)
class Question:
    """What is to be predicted.

    Attributes:
        name: the question, as the learner reads it.
        answers: the two bounds of a number, or the words to choose from.
    """

    name: str
    answers: tuple[Any, ...]

    @property
    def is_word(self) -> bool:
        """Whether a word is to be chosen."""
        return isinstance(self.answers[0], str)

    @property
    def help(self) -> str:
        """What can be answered."""
        return " or ".join(self.answers) if self.is_word else "number from {:g} to {:g}".format(*self.answers)

    def widget(self, **look: Any) -> ipywidgets.Widget:
        """Return the empty box, or the list to choose from; `look` has its style and layout."""
        look |= {"description": self.name, "tooltip": self.help}
        if self.is_word:
            return ipywidgets.Dropdown(options=["", *self.answers], **look)
        return ipywidgets.Text(placeholder=self.help, **look)

    def read(self, answer: Any) -> float | str | None:
        """Return an answer as a number or a word, None where there is none; raise for any other."""
        text = str(answer).strip()
        if not text or text in self.answers:
            return text or None
        with suppress(ValueError, TypeError):
            if self.answers[0] <= float(text.replace(",", ".")) <= self.answers[1]:
                return float(text.replace(",", "."))
        raise ValueError(f"{self.name}: {self.help} is expected, got {text!r}.")

    def draw(self, *numbers: Any) -> str:
        """Return a prediction as a ring and a result as a dot between the bounds; nothing for words."""
        if self.is_word or not all(isinstance(number, Real) for number in numbers):
            return ""
        low, high = self.answers
        scale = math.log10 if low > 0 and high / low >= 1000 else float
        first, last, *inside = (scale(min(max(value, low), high)) for value in (low, high, *numbers))
        ring, dot = (round(10 + 160 * (value - first) / (last - first)) for value in inside)
        return DRAWING.format(low=low, high=high, ring=ring, dot=dot)


class Prediction(Panel):
    """Boxes for what a learner expects; results stay hidden until they are filled in or passed.

    What was predicted is kept in predictions.json beside the notebook, and is back when the cell runs again.

    Args:
        name: under which it is kept, such as "1.2" for the second one of lesson 1.
        questions: by name, the two bounds of a number, or the words to choose from. Bounds above 0 that are a factor of
            1,000 or more apart are drawn by powers of ten.
        interactive: False shows the questions and hides no result.

    Attributes:
        predict: the button that keeps what is in the boxes.
        skip: the button that shows the results without a prediction.
        answers: what was predicted, by question.
        is_open: whether results are still hidden.

    Example:
        >>> prediction = Prediction("1.1", {"accuracy": (0, 1), "better": ("plain", "residual")}, interactive=False)
        >>> prediction.compare({"accuracy": 0.1234, "better": "residual"})
        accuracy: predicted –, result 0.123
        better: predicted –, result residual
    """

    label_width, control_width = "22em", "40em"

    def __init__(self, name: str, questions: Mapping[str, tuple[Any, ...]], interactive: bool = True) -> None:
        self.name, self.is_open, self.is_interactive = name, interactive, interactive
        self.questions = {key: Question(key, answers) for key, answers in questions.items()}
        self.answers: dict[str, Any] = {}
        self._file, self._places = Path(PREDICTIONS).resolve(), list[tuple[Any, Any]]()
        predict = button("Predict", "check", "Keep this prediction and show the results")
        skip = button("Pass", "forward", "Show the results without a prediction")
        super().__init__(list(self.questions.values()), {"predict": predict, "skip": skip})
        self.status.value = f"<b>Prediction {name}</b>: fill in what you can, then press Predict."
        self._on_click({"predict": self._predict, "skip": lambda: self._reveal("passed")})
        if interactive:
            self._guarded(self._recall)(None)

    def compare(self, results: Mapping[str, Any], *more: Any) -> None:
        """Show results beside the predictions, as soon as these are made or passed.

        Args:
            results: by question, all of them or some.
            *more: figures, tables and texts that would tell the results, as `show` takes them.

        Raises:
            ValueError: for a result that answers none of the questions.
        """
        for name in results:
            check_choice("question", name, self.questions)
        self.show(Comparison(self, results), *more)

    def show(self, *things: Any) -> None:
        """Show what would tell the results, as soon as the predictions are made or passed.

        Args:
            *things: figures, tables, and texts in Markdown.
        """
        for thing in things:
            if isinstance(thing, str):
                thing = Markdown(cleandoc(thing))
            if self.is_open:
                hidden = thing if isinstance(thing, Comparison) else HTML("")
                self._places.append((display(hidden, display_id=True), thing))
            else:
                display(thing)

    def _read(self) -> dict[str, Any]:
        """Return all that is kept; raise where the file holds something else."""
        try:
            return dict(json.loads(self._file.read_bytes())) if self._file.exists() else {}
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{self._file} holds no predictions ({error}): move it away.") from error

    def _recall(self) -> None:
        """Fill the boxes with what is kept."""
        for name, answer in self._read().get(self.name, {}).items():
            if name in self.questions:
                self._controls[name].value, self.answers[name] = (
                    str(answer),
                    self.questions[name].read(answer),
                )
        if self.answers:
            self._reveal(f"kept in {PREDICTIONS}")

    def _predict(self) -> None:
        """Keep what is in the boxes, and show the results."""
        read = {name: question.read(self.settings[name]) for name, question in self.questions.items()}
        self.answers = {name: answer for name, answer in read.items() if answer is not None}
        if not self.answers:
            raise ValueError("fill in at least one box, or press Pass.")
        write_atomic(self._file, json.dumps(self._read() | {self.name: self.answers}, indent=1).encode())
        self._reveal(f"kept in {PREDICTIONS}")

    def _reveal(self, done: str) -> None:
        """Show the results, and close the boxes."""
        self.is_open, self.status.value = False, f"<b>Prediction {self.name}</b>: {done}. Go on below."
        for control in (*self._controls.values(), *self._buttons.values()):
            control.disabled = True
        for place, thing in self._places:
            is_figure = isinstance(thing, go.Figure)  # which would not stay in its place
            show = place.update if place else display  # outside a notebook there is no place
            show(thing._repr_mimebundle_() if is_figure else thing, raw=is_figure)

    def _ipython_display_(self) -> None:
        """Show the boxes, or where nobody can fill them in, the questions."""
        if self.is_interactive:
            super()._ipython_display_()
        else:
            rows = "".join(
                f"<li>{escape(f'{each.name}: {each.help}')}</li>" for each in self.questions.values()
            )
            display(HTML(f"Prediction {self.name}, to be written down:<ul>{rows}</ul>"))


@dataclass(frozen=True, repr=False)
class Comparison:
    """Predictions and results side by side; a notebook shows them once the prediction is made or passed.

    Attributes:
        prediction: the questions and their answers.
        results: by question.
    """

    prediction: Prediction
    results: Mapping[str, Any]

    def rows(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield question, prediction, result and drawing, in the order of the questions."""
        for name, question in self.prediction.questions.items():
            if name in self.results:
                answer, result = self.prediction.answers.get(name), self.results[name]
                yield name, shown(answer), shown(result), question.draw(answer, result)

    def __repr__(self) -> str:
        """Return the table in words."""
        return "\n".join("{}: predicted {}, result {}".format(*row) for row in self.rows())

    def _repr_html_(self) -> str:
        if self.prediction.is_open:
            return HIDDEN.format(self.prediction.name)
        rows = (ROW.format(*map(escape, row[:3]), row[3]) for row in self.rows())
        return TABLE.format(self.prediction.name, "".join(rows))


def shown(value: Any) -> str:
    """Return an answer as it stands in the table."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, Real):
        return {"True": "yes", "False": "no"}.get(str(value), str(value))
    number = float(value)
    return f"{number:,.0f}" if 100 <= abs(number) < 1e6 else f"{number:.3g}"
