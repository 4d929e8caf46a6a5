"""An executed notebook as one HTML file that needs nothing from outside: figures interactive, formulas readable."""

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
{%- block html_head_css -%}<style>main { max-width: 60rem; margin: auto; } math { font-size: 1.1em; }</style>{%- endblock -%}
"""
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
    notebook = notebook.copy() if hasattr(notebook, "copy") else notebook
    cells = []
    for cell in notebook.cells:
        cell = type(cell)(cell)
        if cell.cell_type == "markdown":
            cell.source = with_mathml(cell.source)
        elif cell.cell_type == "code":
            cell.outputs = [with_figure(output) for output in cell.outputs]
        cells.append(cell)
    notebook.cells = cells
    notebook.metadata = {**notebook.metadata, "title": title}
    notebook.metadata.pop("widgets", None)
    exporter = HTMLExporter(
        extra_loaders=[DictLoader({"van_tutorial.html.j2": TEMPLATE})],
        template_file="van_tutorial.html.j2",
        embed_images=True,
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


def with_figure(output: Any) -> Any:
    """Return a cell's output with plotly's figure as HTML, where it is one, and without what only the runner reads."""
    data = output.get("data")
    if data is None:
        return output
    data = {kind: value for kind, value in data.items() if kind != METRICS_TYPE}
    if PLOTLY_TYPE in data:
        fig = data.pop(PLOTLY_TYPE)
        data = {"text/html": plotly.io.to_html(fig, include_plotlyjs=False, full_html=False, validate=False)}
    output = type(output)(output)
    output.data = data
    return output
