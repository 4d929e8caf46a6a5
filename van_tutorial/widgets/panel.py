"""What every panel has: controls by name, buttons, a status in words, a figure that is changed in place."""

import html
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import ipywidgets
import plotly.graph_objects as go
from IPython import get_ipython
from IPython.display import HTML, display

from van_tutorial._checks import check_choice, check_range
from van_tutorial.widgets.figure import LiveFigure

HERE = Path(__file__).parent
# What stands below a panel that no kernel keeps alive any more; where one does, this is not shown.
LOST = HERE.joinpath("lost.html").read_text(encoding="utf-8")
# What stands in place of a panel where nothing can show its controls.
NO_CONTROLS = """\
This panel shows its controls in a running JupyterLab only. Where you are in one and still read this, run
    pip install ipywidgets anywidget
    jupyter labextension enable @jupyter-widgets/jupyterlab-manager
in the environment that JupyterLab runs from, start JupyterLab again and reload the page."""


@dataclass(frozen=True)
class Slider:
    """A number to choose, by a slider with the number beside it, which can be typed over.

    Attributes:
        name: under which the panel holds it, and the computation gets it.
        label: what the reader sees, with the unit.
        value: the initial one; an integer makes a slider of integers, unless it is logarithmic.
        low: smallest value; an initial value below it is the smallest.
        high: largest value; an initial value above it is the largest.
        help: one sentence that shows when the pointer rests on it.
        is_log: whether the slider moves in powers of ten.
        step: of a slider that is not logarithmic; None means a hundredth of the range, or 1 for integers.
    """

    name: str
    label: str
    value: float
    low: float
    high: float
    help: str
    is_log: bool = False
    step: float | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest value."""
        return min(self.low, self.value), max(self.high, self.value)

    def check(self, value: Any) -> None:
        """Raise unless the slider can stand at a value."""
        check_range(self.name, value, *self.bounds)

    def widget(self, **look: Any) -> ipywidgets.Widget:
        """Return the slider; `look` has its style and layout."""
        low, high = self.bounds
        common = {"description": self.label, "tooltip": self.help, "continuous_update": False, **look}
        if self.is_log:
            check_range(self.name, low, 0.0, math.inf, open_low=True)
            powers = {"min": round(math.log10(low), 9), "max": round(math.log10(high), 9), "step": 0.05}
            return ipywidgets.FloatLogSlider(
                value=self.value, base=10, readout_format=".4", **powers, **common
            )
        common |= {"value": self.value, "min": low, "max": high}
        if isinstance(self.value, int):
            return ipywidgets.IntSlider(step=int(self.step or 1), **common)
        return ipywidgets.FloatSlider(step=self.step or (high - low) / 100, readout_format=".4", **common)


@dataclass(frozen=True)
class Choice:
    """One of several names to choose.

    Attributes:
        name: under which the panel holds it, and the computation gets it.
        label: what the reader sees.
        value: the initial one.
        choices: all there are.
        help: one sentence that shows when the pointer rests on it.
    """

    name: str
    label: str
    value: str
    choices: tuple[str, ...]
    help: str

    def check(self, value: Any) -> None:
        """Raise unless a value is one of the choices."""
        check_choice(self.name, value, self.choices)

    def widget(self, **look: Any) -> ipywidgets.Widget:
        """Return the list to choose from; `look` has its style and layout."""
        return ipywidgets.Dropdown(
            options=self.choices, value=self.value, description=self.label, tooltip=self.help, **look
        )


Control = Slider | Choice


def button(label: str, icon: str, tooltip: str) -> ipywidgets.Button:
    """Return a button as wide as its label needs."""
    return ipywidgets.Button(description=label, icon=icon, tooltip=tooltip, layout={"width": "auto"})


class Labels(anywidget.AnyWidget):
    """Gives the controls of a panel the names that screen readers look for, and frames what can be typed over."""

    _esm = HERE.joinpath("labels.js").read_text(encoding="utf-8")
    _css = "\n".join(HERE.joinpath(name).read_text(encoding="utf-8") for name in ("panel.css", "dark.css"))


class Panel:
    """Controls by their names, buttons, a status and a figure.

    A panel replaces those that an earlier run of its cell has made: it ends their training and frees their controls.
    Outside a notebook it replaces the one that the same line has made.

    Args:
        controls: what can be chosen.
        buttons: by their names, what can be pressed.
        figure: the figure before anything was pressed; None for a panel without one.

    Attributes:
        status: what goes on, in words.
        figure: the live figure, where there is one.
        error: what went wrong in the latest press, or None.
        view: all of it laid out. Every control and button is an attribute as well, under its own name.
    """

    label_width, control_width = "14em", "38em"
    error: Exception | None = None
    _made: ClassVar[list["Panel"]] = []  # and not closed

    def __init__(
        self,
        controls: Sequence[Any],
        buttons: Mapping[str, ipywidgets.Button],
        figure: go.Figure | None = None,
    ) -> None:
        look = {"style": {"description_width": self.label_width}, "layout": {"width": self.control_width}}
        self._specs = {control.name: control for control in controls}
        self._controls = {name: control.widget(**look) for name, control in self._specs.items()}
        self._buttons = dict(buttons)
        self.status = ipywidgets.HTML()
        if figure is not None:
            self.figure = LiveFigure(figure)
        self.view = ipywidgets.VBox([*self._lay_out(), Labels()])
        self.view.add_class("van-panel")
        self._cell, self._run_of_cell = running_cell()
        for other in [there for there in Panel._made if there._cell == self._cell]:
            if other._run_of_cell != self._run_of_cell:
                other.close()
        Panel._made.append(self)

    def _lay_out(self) -> list[ipywidgets.Widget]:
        """Return what stands one below the other."""
        buttons = ipywidgets.HBox(list(self._buttons.values()))
        return [*self._controls.values(), buttons, self.status, *filter(None, [vars(self).get("figure")])]

    def _on_click(self, calls: Mapping[str, Callable[[], None]]) -> None:
        """Have buttons call what they stand for."""
        for name, call in calls.items():
            self._buttons[name].on_click(self._guarded(call))

    def _guarded(self, call: Callable[[], None]) -> Callable[[Any], None]:
        """Return what a button does; an error is shown as text and kept, and nothing is lost."""

        def press(_: Any) -> None:
            self.error = None
            try:
                call()
            except Exception as error:  # a button has nobody else to tell
                self.error = error
                self.status.value = f"<b>Not done:</b> {html.escape(str(error))}"

        return press

    def __getattr__(self, name: str) -> Any:
        """Return the control or button of that name."""
        for parts in ("_controls", "_buttons"):
            if name in self.__dict__.get(parts, {}):
                return self.__dict__[parts][name]
        raise AttributeError(f"{type(self).__name__} has no control or attribute {name!r}")

    @property
    def settings(self) -> dict[str, Any]:
        """The values of all controls, by name."""
        return {name: control.value for name, control in self._controls.items()}

    def close(self) -> None:
        """Free every control, with its look."""
        Panel._made[:] = [panel for panel in Panel._made if panel is not self]
        free(self.view)
        forget(self)

    def _ipython_display_(self) -> None:
        """Show the panel, and below it what to do once its kernel has ended."""
        display(self._repr_mimebundle_(), raw=True)
        display(HTML(LOST))

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Let a notebook show the panel, and say what to do where it cannot."""
        return {**self.view._repr_mimebundle_(**kwargs), "text/plain": NO_CONTROLS}


def running_cell() -> tuple[Any, Any]:
    """Return the notebook's cell that is running and its run; outside a notebook the caller's line, and a new run."""
    request: dict[str, Any] = getattr(get_ipython(), "get_parent", dict)()
    cell = request.get("metadata", {}).get("cellId") or request.get("content", {}).get("code")
    if cell:
        return cell, request["header"]["msg_id"]
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("van_tutorial."):
        frame = frame.f_back
    return (frame.f_code.co_filename, frame.f_lineno), object()


def forget(output: Any) -> None:
    """Take what a cell has shown out of IPython's history, which would keep it as long as the kernel lives."""
    shell = get_ipython()
    history: dict[int, Any] = getattr(shell, "user_ns", {}).get("_oh", {})
    for number in [number for number, kept in history.items() if kept is output]:
        del history[number]
        for names in (shell.user_ns, shell.user_ns_hidden):
            names.pop(f"_{number}", None)


def free(widget: ipywidgets.Widget) -> None:
    """Free a widget with all that is in it and with its look."""
    for part in (
        *getattr(widget, "children", ()),
        getattr(widget, "layout", None),
        getattr(widget, "style", None),
    ):
        if isinstance(part, ipywidgets.Widget):
            free(part)
    widget.close()
