"""An executed notebook as one HTML file that needs nothing from outside: figures interactive, formulas readable."""

import base64
import copy
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
<style>main { max-width: 70rem; margin: auto; } math { font-size: 1.1em; }</style>
{%- endblock -%}
"""
PICTURE = re.compile(r"(!\[[^\]]*\]\()([^):]+)(\))")  # no colon: not an address
FORMULA = re.compile(r"\$\$(?P<display>.+?)\$\$|(?<![\\$])\$(?P<inline>[^$\n]+?)\$", re.DOTALL)
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
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_pictures(with_mathml(cell.source), folder)
        elif cell.cell_type == "code":
            for output in cell.outputs:
                show_figure(output)
    notebook.metadata["title"] = title
    notebook.metadata.pop("widgets", None)
    exporter = HTMLExporter(
        extra_loaders=[DictLoader({"van_tutorial.html.j2": TEMPLATE})],
        template_file="van_tutorial.html.j2",
        exclude_anchor_links=True,
    )
    resources = {"plotly_script": get_plotlyjs(), "metadata": {"name": title, "path": str(folder)}}
    body, _ = exporter.from_notebook_node(notebook, resources=resources)
    return str(body)


def with_mathml(source: str) -> str:
    """Replace the formulas between dollar signs in a Markdown text by MathML, which browsers draw themselves."""

    def replace(match: re.Match[str]) -> str:
        if match["display"] is not None:
            return str(convert(match["display"].strip(), display="block"))
        return str(convert(match["inline"]))

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
    """Turn plotly's figure in a cell's output into HTML, and drop what only the runner reads."""
    data = output.get("data", {})
    data.pop(METRICS_TYPE, None)
    if PLOTLY_TYPE in data:
        html = plotly.io.to_html(
            data[PLOTLY_TYPE],
            config={"showSendToCloud": False},  # no button that would upload the figure's data
            include_plotlyjs=False,
            full_html=False,
            validate=False,
        )
        output["data"] = type(data)({"text/html": html})
