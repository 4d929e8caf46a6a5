"""Executed notebooks as HTML that needs nothing from outside: figures interactive, formulas readable."""

import base64
import copy
import html
import mimetypes
import re
from pathlib import Path
from typing import Any

import plotly.io
from jinja2 import DictLoader
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from plotly.offline import get_plotlyjs

from van_tutorial.batch.metrics import METRICS_TYPE

PLOTLY_TYPE = "application/vnd.plotly.v1+json"
# JupyterLab's template less the scripts it would fetch; plotly's stands in the page once.
TEMPLATE = """\
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js_requirejs -%}<script>{{ resources.plotly_script }}</script>{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block html_head_css -%}
<style>
main { max-width: 70rem; margin: auto; }
/* Fonts that systems bring along for formulas; not every browser finds them by itself. */
math { font-family: "STIX Two Math", "Cambria Math", "Latin Modern Math", "DejaVu Math TeX Gyre", math;
  font-size: 1.1em; }
</style>
{%- endblock -%}
"""
PICTURE = re.compile(r"(!\[[^\]]*\]\()([^):]+)(\))")  # no colon: not an address
FORMULA = re.compile(r"\$\$(?P<display>.+?)\$\$|(?<![\\$])\$(?P<inline>[^$\n]+?)\$", re.DOTALL)
# A prime is raised by itself; as an exponent it would be too small to see.
PRIME = re.compile(r"<msup>(<mi>[^<]*</mi>)<mi>(&#x0203[234];)</mi></msup>")
TAG = re.compile(r"<[^>]*>")
HEAD = re.compile(r"(<thead>.*?</thead>)", re.DOTALL)
HEADER = re.compile(r"<th\b")
CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)


def make_page(notebook: Any, title: str, folder: Path) -> str:
    """Return the page of an executed notebook.

    Args:
        notebook: the nbformat notebook, with its outputs; it is not changed.
        title: of the page.
        folder: where the notebook's source lies, for the pictures it names.

    Returns:
        HTML that opens without a network.
    """
    notebook = with_html_outputs(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_pictures(with_mathml(cell.source), folder)
    notebook.metadata["title"] = title
    exporter = HTMLExporter(
        extra_loaders=[DictLoader({"van_tutorial.html.j2": TEMPLATE})],
        template_file="van_tutorial.html.j2",
        exclude_anchor_links=True,
    )
    resources = {"plotly_script": get_plotlyjs(), "metadata": {"name": title, "path": str(folder)}}
    body, _ = exporter.from_notebook_node(notebook, resources=resources)
    return str(body)


def with_html_outputs(notebook: Any) -> Any:
    """Return a copy of an executed notebook whose outputs need nothing but HTML and plotly's script.

    Figures become fragments that draw themselves by a global `Plotly`, the headers of tables say what they head, and
    what only programs read is gone: metrics, and the state of widgets.

    Args:
        notebook: the nbformat notebook, with its outputs; it is not changed.

    Returns:
        The copy; its Markdown cells are those of the notebook.
    """
    notebook = copy.deepcopy(notebook)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            show_figure(output)
            if "text/html" in output.get("data", {}):
                output["data"]["text/html"] = with_scopes(output["data"]["text/html"])
    return notebook


def to_mathml(formula: str, is_display: bool = False) -> str:
    """Return a formula in TeX as MathML, which browsers draw and read out themselves.

    Args:
        formula: without its dollar signs.
        is_display: whether it stands on a line of its own.

    Returns:
        One `math` element.
    """
    mathml = str(convert(formula.strip(), display="block" if is_display else "inline"))
    return PRIME.sub(r'<mrow>\1<mo form="postfix" lspace="0" rspace="0">\2</mo></mrow>', mathml)


def with_mathml(source: str) -> str:
    """Replace the formulas between dollar signs in a Markdown text by MathML."""

    def replace(match: re.Match[str]) -> str:
        is_display = match["display"] is not None
        return to_mathml(match["display"] if is_display else match["inline"], is_display)

    parts = CODE.split(source)  # what stands in code is left alone
    return "".join(part if index % 2 else FORMULA.sub(replace, part) for index, part in enumerate(parts))


def with_pictures(source: str, folder: Path) -> str:
    """Put the local pictures that a Markdown text names into it."""

    def replace(match: re.Match[str]) -> str:
        path = folder / match[2]
        if not path.is_file():
            return match[0]
        kind = mimetypes.guess_type(path.name)[0]
        return f"{match[1]}data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}{match[3]}"

    return PICTURE.sub(replace, source)


def show_figure(output: Any) -> None:
    """Turn plotly's figure in a cell's output into HTML where it has none, and drop what only the runner reads."""
    data = output.get("data", {})
    data.pop(METRICS_TYPE, None)
    figure = data.pop(PLOTLY_TYPE, None)
    if figure is not None and "text/html" not in data:
        drawn = plotly.io.to_html(
            figure,
            # No button that would upload the figure's data, and none that leads to plotly's site.
            config={"showSendToCloud": False, "displaylogo": False},
            include_plotlyjs=False,
            full_html=False,
            validate=False,
        )
        name = html.escape(name_figure(figure.get("layout", {})))
        # Not role="img": that would hide the buttons above the figure.
        fragment = f'<div role="figure" aria-label="{name}" class="van-figure">{drawn}</div>'
        output["data"] = type(data)({"text/html": fragment})


def name_figure(layout: Any) -> str:
    """Return a figure's title and caption as a line of plain text."""
    text = (layout.get("title") or {}).get("text") or "Figure"
    return " ".join(TAG.sub(" ", text).split())


def with_scopes(table: str) -> str:
    """Say of the headers of pandas' tables in a piece of HTML whether they head a column or a row."""
    if 'class="dataframe' not in table:
        return table
    parts = HEAD.split(table)
    for index, part in enumerate(parts):
        if index % 2:
            part = part.replace("<th></th>", "<td></td>")  # nothing to head
        parts[index] = HEADER.sub(f'<th scope="{"col" if index % 2 else "row"}"', part)
    return "".join(parts)
