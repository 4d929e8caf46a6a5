"""Executed notebooks as HTML that needs nothing from outside: figures interactive, formulas readable."""

import base64
import contextlib
import copy
import html
import mimetypes
import re
from pathlib import Path
from typing import Any

import nbformat
import plotly.io
from jinja2 import DictLoader
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from plotly.offline import get_plotlyjs

from van_tutorial.evidence import METRICS_TYPE

PLOTLY_TYPE = "application/vnd.plotly.v1+json"
# JupyterLab's template less the scripts it would fetch; plotly's stands in the page once.
TEMPLATE = """\
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js_requirejs -%}<script>{{ resources.plotly_script }}</script>{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block input_group -%}
{%- if "hide-input" in cell.metadata.get("tags", []) -%}
<details class="van-code"><summary>Code</summary>{{ super() }}</details>
{%- else -%}{{ super() }}{%- endif -%}
{%- endblock -%}
{%- block html_head_css -%}
<style>
main { max-width: 70rem; margin: auto; }
.van-code { padding-left: calc(var(--jp-cell-prompt-width) + 8px); font-size: 0.85em; }
/* Fonts that systems bring along for formulas; not every browser finds them by itself. */
math { font-family: "STIX Two Math", "Cambria Math", "Latin Modern Math", "DejaVu Math TeX Gyre", math;
  font-size: 1.1em; }
</style>
{%- endblock -%}
"""
PICTURE = re.compile(r"(!\[[^\]]*\]\()([^):]+)(\))")  # no colon: not an address
ATTACHMENT = re.compile(r"!\[([^\]]*)\]\(attachment:([^)]+)\)")
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
    shown = with_html_outputs(notebook)
    for cell in shown.cells:
        if cell.cell_type == "markdown":
            cell.source = with_pictures(with_mathml(without_missing(cell)), folder)
    try:
        return export(shown, title, folder)
    except Exception:  # whatever a notebook's texts and outputs do to the libraries that show them
        return export(as_source(notebook), title, folder)


def export(notebook: Any, title: str, folder: Path) -> str:
    """Return a notebook's page as nbconvert makes it."""
    notebook.metadata["title"] = title
    exporter = HTMLExporter(
        extra_loaders=[DictLoader({"van_tutorial.html.j2": TEMPLATE})],
        template_file="van_tutorial.html.j2",
        exclude_anchor_links=True,
    )
    resources = {"plotly_script": get_plotlyjs(), "metadata": {"name": title, "path": str(folder)}}
    body, _ = exporter.from_notebook_node(notebook, resources=resources)
    return str(body)


def as_source(notebook: Any) -> Any:
    """Return a notebook whose texts stand as they are written, with its outputs in plain text, and a remark."""
    new = nbformat.v4
    cells = [new.new_markdown_cell("*This page shows sources: something in the notebook cannot be drawn.*")]
    for cell in copy.deepcopy(notebook.cells):
        for output in cell.get("outputs", []):
            if "data" in output:
                output["data"] = {"text/plain": str(output["data"].get("text/plain", ""))}
        is_code = cell.cell_type == "code"
        cells.append(cell if is_code else new.new_markdown_cell(f"<pre>{html.escape(cell.source)}</pre>"))
    return new.new_notebook(cells=cells)


def without_missing(cell: Any) -> str:
    """Return a Markdown cell's text with a remark for each attached picture that is not there any more."""
    attached = cell.get("attachments", {})
    return ATTACHMENT.sub(
        lambda match: match[0] if match[2] in attached else f"*{match[1]} (this picture is missing)*",
        str(cell.source),
    )


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
        One `math` element; the source and a remark where it cannot be drawn.
    """
    try:
        mathml = str(convert(formula.strip(), display="block" if is_display else "inline"))
    except Exception:  # of many kinds, for what the converter does not know
        return f"<code>{html.escape(formula.strip())}</code> (a formula that cannot be drawn)"
    return PRIME.sub(r'<mrow>\1<mo form="postfix" lspace="0" rspace="0">\2</mo></mrow>', mathml)


def with_mathml(source: str) -> str:
    """Replace the formulas between dollar signs in a Markdown text by MathML."""

    def replace(match: re.Match[str]) -> str:
        is_display = match["display"] is not None
        return to_mathml(match["display"] if is_display else match["inline"], is_display)

    parts = CODE.split(source)  # what stands in code is left alone
    return "".join(part if index % 2 else FORMULA.sub(replace, part) for index, part in enumerate(parts))


def with_pictures(source: str, folder: Path) -> str:
    """Put the pictures into a Markdown text that lie below the notebook's folder, or in `assets` beside it."""
    roots = (folder.resolve(), folder.resolve().parent / "assets")

    def replace(match: re.Match[str]) -> str:
        kind = str(mimetypes.guess_type(match[2])[0])
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # a name that is none
            path = (folder / match[2]).resolve()
            if kind.startswith("image/") and path.is_file() and any(map(path.is_relative_to, roots)):
                return (
                    f"{match[1]}data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}{match[3]}"
                )
        return match[0]

    return PICTURE.sub(replace, source)


def show_figure(output: Any) -> None:
    """Turn plotly's figure in a cell's output into HTML where it has none, and drop what only the runner reads."""
    data = output.get("data", {})
    data.pop(METRICS_TYPE, None)
    figure = data.pop(PLOTLY_TYPE, None)
    if figure is not None and "text/html" not in data:
        try:
            drawn = plotly.io.to_html(
                figure,
                # No button that would upload the figure's data, and none that leads to plotly's site.
                config={"showSendToCloud": False, "displaylogo": False},
                include_plotlyjs=False,
                full_html=False,
                validate=False,
            )
        except Exception:  # what another writer of the format takes for a figure
            drawn = f"<code>{html.escape(str(figure)[:1000])}</code> (a figure that cannot be drawn)"
        # Not role="img": that would hide the buttons above the figure.
        name = html.escape(name_figure(figure))
        fragment = f'<div role="figure" aria-label="{name}" class="van-figure">{drawn}</div>'
        output["data"] = type(data)({"text/html": fragment})


def name_figure(figure: Any) -> str:
    """Return a figure's title and caption, which is a text or says one, as a line of plain text."""
    said = figure
    for key in ("layout", "title", "text"):
        said = said.get(key) if isinstance(said, dict) else said if key == "text" else None
    return " ".join(TAG.sub(" ", said if isinstance(said, str) and said else "Figure").split())


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
