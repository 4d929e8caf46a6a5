"""What every panel has: controls with a number box, a status in words, a figure that is changed in place."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import plotly.graph_objects as go


@dataclass(frozen=True)
class Look:
    """How wide a control is.

    Attributes:
        label: of its label.
        control: of slider or list, label included.
        box: of the number box beside a slider.
    """

    label: str = "14em"
    control: str = "34em"
    box: str = "8em"

    @property
    def wide(self) -> dict[str, Any]:
        """Style and layout of a slider or a list."""
        return {"style": {"description_width": self.label}, "layout": {"width": self.control}}

    @property
    def narrow(self) -> dict[str, Any]:
        """Style and layout of a number box, whose label only a screen reader reads: the slider's stands beside it."""
        return {"style": {"description_width": "0px"}, "layout": {"width": self.box}}


# Of figures of two pictures side by side; the legend stands below.
FIGURE = {
    "template": "plotly_white",
    "height": 400,
    "font": {"size": 13},
    "margin": {"l": 60, "r": 20, "t": 50},
    "legend": {"orientation": "h", "x": 1, "xanchor": "right", "yanchor": "top"},
}
# What stands in place of a panel where nothing can show its controls.
NO_CONTROLS = """\
This panel shows its controls in a running JupyterLab only. Where you are in one and still read this, run
    pip install ipywidgets anywidget
    jupyter labextension enable @jupyter-widgets/jupyterlab-manager
in the environment that JupyterLab runs from, start JupyterLab again and reload the page."""


@dataclass(frozen=True)
class Slider:
    """A number to choose, by a slider with a number box beside it.

    Attributes:
        name: under which the panel holds it, and the computation gets it.
        label: what the reader sees, with the unit.
        value: at the start; a whole number makes a slider of whole numbers, unless it is logarithmic.
        low: smallest value.
        high: largest value.
        help: one sentence that shows when the pointer rests on it.
        is_log: whether the slider moves in powers of ten.
        step: of a slider that is not logarithmic; None means a hundredth of the range, or 1 for whole numbers.
    """

    name: str
    label: str
    value: float
    low: float
    high: float
    help: str
    is_log: bool = False
    step: float | None = None

    def make(self, look: Look) -> tuple[ipywidgets.Widget, list[ipywidgets.Widget]]:
        """Return the slider, and all that stands in its row."""
        common = {
            "description": self.label,
            "tooltip": self.help,
            "continuous_update": False,
            "readout": False,
        }
        bounds = {"value": self.value, "min": self.low, "max": self.high}
        box: ipywidgets.Widget
        if isinstance(self.value, int) and not self.is_log:
            bounds["step"] = int(self.step or 1)
            slider = ipywidgets.IntSlider(**bounds, **common, **look.wide)
            box = ipywidgets.BoundedIntText(
                **bounds, description=self.label, tooltip=self.label, **look.narrow
            )
        elif self.is_log:
            exponents = {"min": round(math.log10(self.low), 9), "max": round(math.log10(self.high), 9)}
            slider = ipywidgets.FloatLogSlider(
                value=self.value, base=10, **exponents, step=0.05, **common, **look.wide
            )
            box = ipywidgets.BoundedFloatText(
                **bounds, step=None, description=self.label, tooltip=self.label, **look.narrow
            )
        else:
            step = self.step or (self.high - self.low) / 100
            slider = ipywidgets.FloatSlider(**bounds, step=step, **common, **look.wide)
            box = ipywidgets.BoundedFloatText(
                **bounds, step=None, description=self.label, tooltip=self.label, **look.narrow
            )
        ipywidgets.link((slider, "value"), (box, "value"))
        ipywidgets.link((slider, "disabled"), (box, "disabled"))
        return slider, [slider, box]


@dataclass(frozen=True)
class Choice:
    """One of several names to choose.

    Attributes:
        name: under which the panel holds it, and the computation gets it.
        label: what the reader sees.
        value: at the start.
        choices: all there are.
        help: one sentence that shows when the pointer rests on it.
    """

    name: str
    label: str
    value: str
    choices: tuple[str, ...]
    help: str

    def make(self, look: Look) -> tuple[ipywidgets.Widget, list[ipywidgets.Widget]]:
        """Return the list to choose from, and all that stands in its row."""
        chooser = ipywidgets.Dropdown(
            options=self.choices, value=self.value, description=self.label, tooltip=self.help, **look.wide
        )
        return chooser, [chooser]


Control = Slider | Choice


class Labels(anywidget.AnyWidget):
    """Gives the sliders of a panel the names that screen readers look for; it shows nothing."""

    _esm = Path(__file__).with_name("labels.js").read_text(encoding="utf-8")


class Panel:
    """Controls by their names, buttons, a status and a figure.

    Args:
        controls: what can be chosen.
        buttons: what can be pressed.
        figure: the figure before anything was pressed.

    Attributes:
        status: what goes on, in words.
        figure: the live figure.
        view: all of it laid out. Every control is an attribute as well, under its own name.
    """

    look = Look()

    def __init__(
        self, controls: Sequence[Control], buttons: Sequence[ipywidgets.Button], figure: go.Figure
    ) -> None:
        self._controls: dict[str, ipywidgets.Widget] = {}
        rows = []
        for control in controls:
            self._controls[control.name], row = control.make(self.look)
            rows.append(ipywidgets.HBox(row))
        self.status = ipywidgets.HTML(value="")
        self.figure = go.FigureWidget(figure.update_layout(autosize=True))
        # As wide as there is room; from plotly 7 on a button would upload the figure.
        self.figure._config = {**self.figure._config, "responsive": True, "showSendToCloud": False}
        self.view = self._lay_out(rows, list(buttons))
        self.view.children = (*self.view.children, Labels())
        self.view.add_class("van-panel")

    def _lay_out(self, rows: list[ipywidgets.Widget], buttons: list[ipywidgets.Button]) -> ipywidgets.Widget:
        """Return everything one below the other."""
        return ipywidgets.VBox([*rows, ipywidgets.HBox(buttons), self.status, self.figure])

    def __getattr__(self, name: str) -> Any:
        """Return the control of that name."""
        controls = self.__dict__.get("_controls", {})
        if name in controls:
            return controls[name]
        raise AttributeError(f"{type(self).__name__} has no control or attribute {name!r}")

    @property
    def settings(self) -> dict[str, Any]:
        """The values of all controls, by name."""
        return {name: control.value for name, control in self._controls.items()}

    def close(self) -> None:
        """Free every control, with its look."""
        free_below(self.view)
        free(self.view)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Let a notebook show the panel, and say what to do where it cannot."""
        return {**self.view._repr_mimebundle_(**kwargs), "text/plain": NO_CONTROLS}


def free_below(box: ipywidgets.Widget) -> None:
    """Free what is in a box, and in the boxes in it, each with its look."""
    for child in getattr(box, "children", ()):
        free_below(child)
        free(child)


def free(widget: ipywidgets.Widget) -> None:
    """Free a widget with its look."""
    for part in (getattr(widget, "layout", None), getattr(widget, "style", None), widget):
        if isinstance(part, ipywidgets.Widget):
            part.close()
