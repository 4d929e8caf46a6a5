"""Choose, press a button, and see the figure that a function makes of the choice."""

import html
from collections.abc import Callable, Sequence

import plotly.graph_objects as go

from van_tutorial.widgets.panel import Control, Panel, button


class ExplorePanel(Panel):
    """Draw what a function makes of the controls' values, when the button is pressed.

    Args:
        compute: called with the controls' values by name; returns a figure.
        controls: what can be chosen.
        label: of the button.

    Attributes:
        show: the button.
        error: what `compute` raised the last time, or None.
    """

    def __init__(
        self, compute: Callable[..., go.Figure], controls: Sequence[Control], label: str = "Show"
    ) -> None:
        self._compute = compute
        show = button(label, "refresh", "Draw the figure for these settings")
        figure = compute(**{control.name: control.value for control in controls})
        super().__init__(controls, {"show": show}, figure)
        self.status.value = f"Choose, then press {html.escape(label)}."
        self._on_click({"show": self._show})

    def _show(self) -> None:
        """Compute and draw; an error leaves the figure as it was."""
        self.show.disabled = True
        self.status.value = "Computing …"
        try:
            new = self._compute(**self.settings)
            with self.figure.batch_update():
                self.figure.data = ()
                self.figure.add_traces(new.data)
                self.figure.layout = new.layout
            chosen = [f"{self._specs[name].label}: {value}" for name, value in self.settings.items()]
            self.status.value = f"Shown: {html.escape(', '.join(chosen))}"
        finally:
            self.show.disabled = False


def explore_panel(
    compute: Callable[..., go.Figure],
    controls: Sequence[Control],
    label: str = "Show",
    interactive: bool = True,
) -> ExplorePanel | go.Figure:
    """Return a panel around a function that draws, or where nobody can press a button, its figure.

    Args:
        compute: called with the controls' values by name; returns a figure in a second or two.
        controls: `Slider` and `Choice`, one for each argument.
        label: of the button.
        interactive: False returns the figure for the controls' first values.

    Returns:
        The panel, or a plotly figure.
    """
    if interactive:
        return ExplorePanel(compute, controls, label)
    return compute(**{control.name: control.value for control in controls})
