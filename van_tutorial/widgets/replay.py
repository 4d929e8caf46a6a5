"""A recorded run that replays without a kernel: as a figure with a slider, and as HTML with the network above it."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io
from jinja2 import Environment, StrictUndefined
from plotly.offline import get_plotlyjs

from van_tutorial._files import write_atomic
from van_tutorial._pages import HEAD
from van_tutorial.playground import Recording, charts, frames, names_of
from van_tutorial.plots.style import animate

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Replay:
    """A recorded run to be shown, with others pinned beside it.

    In a notebook it shows its figure; on a page that has plotly's script, drawing, scrubber and figure. Without the
    figure it shows drawing and scrubber everywhere.

    Attributes:
        run: with at least one moment.
        pinned: runs to compare with.
        has_figure: whether charts and settings are shown below the drawing.
    """

    run: Recording
    pinned: tuple[Recording, ...] = ()
    has_figure: bool = True

    @property
    def figure(self) -> go.Figure:
        """The charts at the last moment, with a slider to go to any other."""
        fig = charts(self.run, self.pinned)
        animate(fig, frames(self.run, self.pinned), self.run.steps, active=len(self.run) - 1)
        largest = max(run.frame(0)["largest_multiplier"] for run in (self.run, *self.pinned))
        fig.update_yaxes(
            range=(0.0, 1.05 * largest or 1.0), row=1, col=3
        )  # animation fits no axis to its values
        return fig.update_layout(height=720)

    @property
    def title(self) -> str:
        """What is replayed, in words."""
        settings = self.run.settings
        kind = "VAN" if settings.connection == "van" else f"{settings.connection} network"
        return f"{kind}, {settings.depth} layers, {self.run.num_steps} steps"

    def fragment(self) -> str:
        """Return the replay as a part of a page, on which `Plotly` must be there for the figure."""
        moments, runs = range(len(self.run)), (self.run, *self.pinned)
        data = {
            "drawings": [self.run.frame(index, self.pinned) for index in moments],
            "texts": [self.run.describe(index) for index in moments],
        }
        figure = self.figure.to_json() if self.has_figure else "null"
        text = json.dumps(data, allow_nan=False)[:-1] + f', "figure": {figure}}}'
        text = text.replace("</", "<\\/")
        return render(
            read("replay.html"),
            id=f"van-replay-{hashlib.sha256(text.encode()).hexdigest()[:12]}",
            css=read("network.css", "dark.css", "replay.css"),
            last=len(self.run) - 1,
            has_figure=self.has_figure,
            alt=f"Loss, accuracy, gradient correlation, skip weights, multipliers and gradient norms: {self.title}",
            rows=[
                (name, run.settings.to_text(), run.outcome or run.describe(-1))
                for name, run in zip(names_of([run.settings for run in runs]), runs, strict=True)
            ],
            data=text,
            script=read("network.js", "replay.js"),
        )

    def page(self) -> str:
        """Return the replay as one HTML page that needs nothing from outside."""
        return render(
            HEAD + read("replay_page.html"),
            title=self.title,
            outcome=self.run.outcome or self.run.describe(-1),
            settings=self.run.settings.to_text(),
            plotly=get_plotlyjs(),
            fragment=self.fragment(),
        )

    def save(self, path: str | Path) -> None:
        """Write the page.

        Args:
            path: the file; under its name there is only ever a whole page.

        Raises:
            OSError: where it cannot be written; an older file of that name is unharmed.
        """
        write_atomic(path, self.page().encode())

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Give notebooks the figure, and pages without a kernel the whole replay."""
        if not self.has_figure:
            return {"text/html": self.fragment(), "text/plain": self.title}
        figure = plotly.io.renderers["plotly_mimetype"].to_mimebundle(self.figure.to_dict())
        return {**figure, "text/html": self.fragment()}


def read(*names: str) -> str:
    """Return the text of files that lie here, one after another."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)


def render(template: str, **values: Any) -> str:
    """Fill in a template; every string in it is escaped unless it is marked as safe."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.from_string(template).render(values)
