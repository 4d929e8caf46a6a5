"""The network drawn as a live widget."""

from pathlib import Path

import anywidget
import traitlets

HERE = Path(__file__).parent


class NetworkDrawing(anywidget.AnyWidget):
    """Layers in rows, each with its skip-connection as an arc over it that fades with its weight.

    Attributes:
        frame: the moment that is shown, as `playground.Recording.frame` gives it.
        color_by: what the colour of a layer means: "gradient norm" or "multiplier".
    """

    _esm = HERE.joinpath("network.js").read_text(encoding="utf-8")
    _css = HERE.joinpath("network.css").read_text(encoding="utf-8")
    frame = traitlets.Dict().tag(sync=True)
    color_by = traitlets.Unicode("gradient norm").tag(sync=True)
