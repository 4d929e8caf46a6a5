"""A page of sections, figures and tables that needs nothing from outside."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import pandas as pd
import plotly.graph_objects as go
import plotly.io
from jinja2 import Environment, StrictUndefined
from plotly.offline import get_plotlyjs

from van_tutorial._pages import HEAD

TEMPLATE = (
    HEAD
    + """\
<style>
body { font: 1rem/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 70rem; margin: auto;
  padding: 1rem; }
h2 { margin-top: 3rem; border-bottom: 2px solid #0072B2; overflow-wrap: anywhere; }
h3 { margin-top: 2rem; }
figure { margin: 1rem 0; }
figcaption, caption { text-align: left; color: #444; padding: .3rem 0; }
.scroll { overflow-x: auto; margin: 1rem 0; }
.scroll:focus-visible { outline: 2px solid #0072B2; }
table { border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #ccc;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
thead th { border-bottom: 2px solid #444; white-space: normal; vertical-align: bottom; }
tbody th { font-weight: normal; }
.number { text-align: right; }
.long { white-space: normal; min-width: 24rem; overflow-wrap: anywhere; }
</style>
<script>{{ plotly_script | safe }}</script>
</head>
<body>
<main>
<h1>{{ title }}</h1>
{% for sentence in sentences %}
<p>{{ sentence }}</p>
{% endfor %}
{% for part in parts %}
<h2>{{ part.title }}</h2>
{% for section in part.sections %}
<section>
<h3>{{ section.title }}</h3>
{% for sentence in section.sentences %}
<p>{{ sentence }}</p>
{% endfor %}
{% for figure in section.figures %}
<figure>
{{ draw(figure.figure) | safe }}
<figcaption>{{ figure.see }}</figcaption>
</figure>
{% endfor %}
{% for table in section.tables %}
<div class="scroll" tabindex="0" role="group" aria-label="{{ table.caption }}">
<table>
<caption>{{ table.caption }}</caption>
{% if table.columns %}
<thead><tr>
{% for column in table.columns %}
<th scope="col" class="{{ "number" if table.is_number[loop.index0] }}">{{ column }}</th>
{% endfor %}
</tr></thead>
{% endif %}
<tbody>
{% for row in table.rows %}
<tr>
{% for cell in row %}
{% if loop.first %}
<th scope="row" class="{{ "long" if cell | length > 60 }}">{{ cell }}</th>
{% else %}
<td class="{{ "number" if table.is_number[loop.index0] else "long" if cell | length > 60 }}">{{ cell }}</td>
{% endif %}
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
</div>
{% endfor %}
</section>
{% endfor %}
{% endfor %}
</main>
</body>
</html>
"""
)


@dataclass(frozen=True)
class PageFigure:
    """A figure, with a sentence on what to see in it."""

    figure: go.Figure
    see: str


@dataclass(frozen=True)
class PageTable:
    """A table of texts, a heading first in each row; `is_number` says which columns are numbers."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    is_number: Sequence[bool]


@dataclass(frozen=True)
class Section:
    """A part of the page: sentences, then figures, then tables."""

    title: str
    sentences: list[str] = field(default_factory=list)
    figures: list[PageFigure] = field(default_factory=list)
    tables: list[PageTable] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """What stands under one heading: the sections on one notebook, run with one code."""

    title: str
    sections: list[Section]


def render(title: str, sentences: Sequence[str], parts: Sequence[Part]) -> str:
    """Return the page; every text in it is escaped."""
    numbers = count(1)

    def draw(figure: go.Figure) -> str:
        return str(
            plotly.io.to_html(
                figure,
                include_plotlyjs=False,
                full_html=False,
                div_id=f"figure-{next(numbers)}",
                # From plotly 7 on a button would upload the figure.
                config={"displaylogo": False, "showSendToCloud": False},
            )
        )

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(TEMPLATE).render(
        title=title, sentences=sentences, parts=parts, draw=draw, plotly_script=get_plotlyjs()
    )


def page_table(caption: str, frame: pd.DataFrame) -> PageTable:
    """Return a table as the page shows it."""
    columns = [frame.iloc[:, place] for place in range(frame.shape[1])]  # two may have the same name
    texts = [column_texts(column) for column in columns]
    return PageTable(
        caption,
        list(frame.columns),
        list(zip(*texts, strict=True)),
        [is_number(column) for column in columns],
    )


def column_texts(column: pd.Series) -> list[str]:
    """Return a column as texts: fractions to as many places as give the largest four digits, a dash for a gap."""
    form = "{}"
    if pd.api.types.is_float_dtype(column):
        sizes = column.dropna().astype(float).abs()
        sizes = sizes[sizes > 0]
        is_even = len(sizes) > 0 and sizes.max() < 1000 * sizes.min()
        form = f"{{:.{max(0, 3 - math.floor(math.log10(sizes.max())))}f}}" if is_even else "{:.4g}"
    return ["–" if pd.isna(cell) else form.format(cell) for cell in column]


def is_number(column: pd.Series) -> bool:
    """Whether a column holds numbers; yes and no are none."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
