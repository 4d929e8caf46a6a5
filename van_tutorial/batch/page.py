"""Executed notebooks as HTML that needs nothing from outside: figures interactive, formulas readable."""

import base64
import contextlib
import copy
import html
import mimetypes
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import plotly.io
from jinja2 import FileSystemLoader, pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from plotly.offline import get_plotlyjs

from van_tutorial._course import course_path
from van_tutorial.evidence import METRICS_TYPE

PLOTLY_TYPE = "application/vnd.plotly.v1+json"
# A prime is raised by itself; as an exponent it would be too small to see.
PRIME = re.compile(r"<msup>(<mi>[^<]*</mi>)<mi>(&#x0203[234];)</mi></msup>")
TAG = re.compile(r"<[^>]*>")
HEAD = re.compile(r"(<thead>.*?</thead>)", re.DOTALL)
HEADER = re.compile(r"<th\b")


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
    shown.metadata["title"] = title
    exporter = Exporter(extra_loaders=[FileSystemLoader(Path(__file__).parent)], template_file="page.html.j2")
    resources = {"plotly_script": get_plotlyjs(), "metadata": {"name": title, "path": str(folder)}}
    body, _ = exporter.from_notebook_node(shown, resources=resources)
    return str(body)


class Exporter(HTMLExporter):
    """nbconvert's exporter, whose Markdown needs no script and no file."""

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        """Return a Markdown cell's text as HTML."""
        attachments, folder = context["cell"].get("attachments"), context["resources"]["metadata"]["path"]
        return str(MarkdownWithMath(Renderer(Path(folder), attachments)).render(source))


class Renderer(IPythonRenderer):
    """Writes formulas as MathML, and puts pictures into the page.

    Args:
        folder: of the notebook; pictures are taken from it, and from `assets` beside it or one folder further up.
        attachments: pictures that the cell itself holds.
    """

    def __init__(self, folder: Path, attachments: Any) -> None:
        super().__init__(escape=False, attachments=attachments, exclude_anchor_links=True)
        self.folder = folder

    def inline_math(self, body: str) -> str:
        """Return a formula in a line."""
        return to_mathml(body)

    def block_math(self, body: str) -> str:
        """Return a formula on a line of its own."""
        return to_mathml(body, is_display=True)

    def latex_environment(self, name: str, body: str) -> str:
        """Return a formula that stands in an environment of LaTeX."""
        return to_mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", is_display=True)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """Return a picture, or a remark where the cell does not hold it any more."""
        if url.startswith("attachment:"):
            if unquote(url.removeprefix("attachment:")) not in self.attachments:
                return f"<em>{text} (this picture is missing)</em>"
            return str(super().image(text, unquote(url), title))
        own = self.folder.resolve()
        roots = (own, *(above / "assets" for above in own.parents[:2]))
        kind = str(mimetypes.guess_type(url)[0])
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # an address, or a name that is none
            path = (self.folder / unquote(url)).resolve()
            if kind.startswith("image/") and path.is_file() and any(map(path.is_relative_to, roots)):
                url = f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
        return str(super().image(text, url, title))


def with_html_outputs(notebook: Any) -> Any:
    """Return a copy of an executed notebook whose outputs need nothing but HTML and plotly's script.

    Figures become fragments that draw themselves by a global `Plotly`, the headers of tables say what they head, and
    what only programs read is left out: metrics, and the state of widgets. No path says where on this machine the
    course, its environment or the user's home is.

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
            if "traceback" in output:
                output["traceback"] = [without_folders(line) for line in output["traceback"]]
            for texts in (output, output.get("data", {})):
                for kind in [kind for kind, text in texts.items() if isinstance(text, str)]:
                    texts[kind] = without_folders(texts[kind])
    return notebook


def without_folders(text: str) -> str:
    """Name what lies in the course, its environment or the user's home from there, not from the machine's root."""
    names = {course_path(): course_path().name, Path(sys.prefix): Path(sys.prefix).name, Path.home(): "~"}
    for folder in sorted(names, key=lambda folder: -len(folder.parts)):
        # Not within an address; a colour of a terminal may stand before.
        begins = rf"((?<![\w.:/~-])|(?<=\dm)){re.escape(str(folder))}(?![\w-])"
        text = re.sub(begins, names[folder], text)
    return text


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
