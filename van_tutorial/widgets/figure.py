"""A live figure that is there at once, and is right after the page was loaded anew."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import traitlets

HERE = Path(__file__).parent


class LiveFigure(go.FigureWidget):  # type: ignore[misc]  # plotly has no types
    """plotly's live figure, as every panel has it.

    Its script of 5 MB is read after the widget is there, once for all figures of a page: anywidget waits two seconds
    for a widget, and leaves its place empty where it takes longer. A page that asks for the figure's state gets it as
    it is now; plotly's own would give it as it was made.
    """

    _esm = HERE.joinpath("figure.js").read_text(encoding="utf-8")
    _plotly = traitlets.Unicode(str(go.FigureWidget._esm)).tag(sync=True)

    _is_made = False  # its state is asked for before

    def __init__(self, figure: go.Figure) -> None:
        super().__init__(figure.update_layout(autosize=True))
        self.on_msg(self._answer)
        self.__dict__["_is_made"] = True  # an attribute of a figure would be a part of it
        # As wide as there is space; from plotly 7 on a button would upload the figure.
        self._config = {"responsive": True, "showSendToCloud": False}

    def _answer(self, *_: Any) -> None:
        """Send a page that has just read the script what the figure is now."""
        self.send_state(["_widget_data", "_widget_layout"])
        self.send("now")

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """Return what a page needs to show the figure as it is now."""
        state: dict[str, Any] = super().get_state(key, drop_defaults)
        now = {"_widget_data": lambda: self._data, "_widget_layout": lambda: self._layout_obj._props}
        for name in now.keys() & state.keys() if self._is_made else ():
            state[name] = self.trait_metadata(name, "to_json")(deepcopy(now[name]()), self)
        return state
