"""A recorded run as HTML that replays with its scrubber where no kernel is."""

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
from van_tutorial.playground.charts import charts, moments
from van_tutorial.playground.recording import Recording, rounded

HERE = Path(__file__).parent
FRAGMENT = """\
<section class="van-replay" id="{{ id }}" aria-label="A recorded run of the playground">
<style>{{ css | safe }}</style>
<div class="van-replay-network"></div>
<div class="van-replay-controls">
<button type="button" class="van-replay-play">Play</button>
<label>moment <input type="range" class="van-replay-scrubber" min="0" max="{{ last }}" value="{{ last }}"></label>
<label>colour by
<select class="van-replay-color"><option>gradient norm</option><option>multiplier</option></select></label>
<span class="van-replay-step"></span>
</div>
<div class="van-replay-figure" role="group" aria-label="{{ alt }}"></div>
<div class="van-replay-table" tabindex="0" role="group" aria-label="Settings and outcomes of the runs">
<table>
<thead><tr><th scope="col">run</th><th scope="col">settings</th><th scope="col">what came out</th></tr></thead>
<tbody>
{% for name, settings, outcome in rows %}
<tr><th scope="row">{{ name }}</th><td><code>{{ settings }}</code></td><td>{{ outcome }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
<script type="application/json" class="van-replay-data">{{ data | safe }}</script>
<script type="module">
{{ script | safe }}
replay(document.getElementById("{{ id }}"));
</script>
</section>
"""
PAGE = (
    HEAD
    + """\
<style>body { font: 1rem/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 75rem;
  margin: auto; padding: 1rem; }</style>
<script>{{ plotly | safe }}</script>
</head>
<body>
<main>
<h1>{{ title }}</h1>
<p>A recorded run of the course's playground: {{ outcome }} The scrubber goes to any moment of it, by pointer or by
arrow keys. To make it again, give these settings to the playground: <code>{{ settings }}</code></p>
{{ fragment | safe }}
</main>
</body>
</html>
"""
)


@dataclass(frozen=True)
class Replay:
    """A recorded run to be shown, with others pinned beside it.

    In a notebook it shows its figure; on a page that has plotly's script, drawing, scrubber and figure.

    Attributes:
        run: with at least one moment.
        pinned: runs to compare with.
    """

    run: Recording
    pinned: tuple[Recording, ...] = ()

    @property
    def figure(self) -> go.Figure:
        """The charts at the last moment."""
        return charts(self.run, self.pinned)

    @property
    def title(self) -> str:
        """What is replayed, in words."""
        settings = self.run.settings
        kind = "VAN" if settings.connection == "van" else f"{settings.connection} network"
        return f"{kind}, {settings.depth} layers, {self.run.num_steps} steps"

    def fragment(self) -> str:
        """Return the replay as a part of a page, on which `Plotly` must be there already."""
        run = self.run
        places = range(len(run))
        data = {
            "frames": rounded([run.frame(index) for index in places]),
            "moments": rounded(moments(run, self.pinned)),
            "texts": [run.describe(index) for index in places],
        }
        text = json.dumps(data, allow_nan=False)[:-1] + f', "figure": {self.figure.to_json()}}}'
        text = text.replace("</", "<\\/")
        script = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("network.js", "replay.js"))
        return render(
            FRAGMENT,
            id=f"van-replay-{hashlib.sha256(text.encode()).hexdigest()[:12]}",
            css="\n".join(
                (HERE / name).read_text(encoding="utf-8") for name in ("network.css", "replay.css")
            ),
            last=len(run) - 1,
            alt=f"Loss, accuracy, gradient correlation, skip weights, multipliers and gradient norms: {self.title}",
            rows=rows(run, self.pinned),
            data=text,
            script=script,
        )

    def page(self) -> str:
        """Return the replay as one HTML page that needs nothing from outside."""
        return render(
            PAGE,
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
        figure = plotly.io.renderers["plotly_mimetype"].to_mimebundle(self.figure.to_dict())
        return {**figure, "text/html": self.fragment()}


def rows(run: Recording, pinned: tuple[Recording, ...]) -> list[tuple[str, str, str]]:
    """Return name, settings and outcome of every run."""
    named = {"this run": run, **{f"pinned {number}": other for number, other in enumerate(pinned, 1)}}
    return [
        (name, there.settings.to_text(), there.outcome or there.describe(-1)) for name, there in named.items()
    ]


def render(template: str, **values: Any) -> str:
    """Fill in a template; every text in it is escaped unless it is marked as safe."""
    return (
        Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
        .from_string(template)
        .render(values)
    )
