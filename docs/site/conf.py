"""How Sphinx makes the site: `python -m tools.site` gathers the pages and calls it.

Sphinx, because it checks every link, searches without a server and is kept by many; myst-nb reads notebooks for it,
and furo is a theme of plain HTML with light and dark colours and no files from outside.
"""

from html import escape
from pathlib import Path

from docutils import nodes
from plotly.offline import get_plotlyjs
from sphinx.addnodes import pending_xref

from van_tutorial._course import PACKAGE
from van_tutorial.batch.page import to_mathml

project = html_title = "van_tutorial"
language = "en"
extensions = ["myst_nb", "sphinx.ext.githubpages"]
exclude_patterns = ["_static"]
nitpicky = True

nb_execution_mode = "off"  # the notebooks come with their outputs
nb_ipywidgets_js = {}  # scripts from outside
nb_render_markdown_format = "myst"  # of outputs: formulas and links, as in the text
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_update_mathjax = False
html_math_renderer = "mathml"
smartquotes = False

html_theme = "furo"
html_static_path = ["static", str(PACKAGE / "widgets" / "dark.css")]
html_favicon = "static/icon.svg"
html_css_files = ["site.css", "dark.css"]
html_js_files = ["site.js"]
html_copy_source = html_show_sourcelink = html_use_index = html_show_copyright = html_show_sphinx = False
html_show_search_summary = False  # it would fetch pages, which a browser refuses where they are files
html_theme_options = {"navigation_with_keys": False, "top_of_page_buttons": []}

# `file:` beside 'self', for readers who open the pages from a folder.
POLICY = (
    "default-src 'none'; script-src 'self' file: 'unsafe-inline'; style-src 'self' file: 'unsafe-inline'; "
    "img-src 'self' file: data: blob:; media-src data:; form-action 'self' file:; base-uri 'none'"
)
PLOTLY = "_static/plotly.min.js"


def draw_inline(translator, node):
    """Write a formula in a line as MathML."""
    translator.body.append(to_mathml(node.astext()))
    raise nodes.SkipNode


def draw_display(translator, node):
    """Write a formula on a line of its own as MathML."""
    translator.body.append(f'<div class="formula">{to_mathml(node.astext(), is_display=True)}</div>')
    raise nodes.SkipNode


def free_links(app, document):
    """Take the link off the name of a file that is in the repository but not on the site."""
    folder = (Path(app.config.repository) / app.env.docname).parent
    for link in list(document.findall(pending_xref)):
        if link["reftype"] != "myst" or link["refdomain"] == "doc":
            continue
        if not link["reftarget"].startswith("#") and (folder / link["reftarget"].partition("#")[0]).exists():
            link.replace_self(link.children)


def add_head(app, name, template, context, document):
    """Forbid every request to the outside, and load plotly's script, once for all pages, where there is a figure."""
    policy = f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
    context["metatags"] = context.get("metatags", "") + policy
    if "Plotly" in context.get("body", ""):  # before the figures, which call it as they stand
        context["metatags"] += f'<script src="{context["pathto"](PLOTLY, resource=True)}"></script>'


def level_captions(app, name, template, context, document):
    """Say how deep the headings of the theme's contents are, which are no headings in HTML."""
    tree = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = tree.replace('role="heading"', 'role="heading" aria-level="2"')


def write_plotly(app, exception):
    """Write plotly's script, one for the whole site."""
    if exception is None:
        (Path(app.outdir) / PLOTLY).write_text(get_plotlyjs(), encoding="utf-8")


def setup(app):
    """Tell Sphinx of the above."""
    app.add_config_value("repository", "", "env", str)
    app.add_html_math_renderer("mathml", (draw_inline, None), (draw_display, None))
    app.connect("doctree-read", free_links)
    app.connect("html-page-context", add_head)
    app.connect("html-page-context", level_captions, priority=900)  # after the theme's own
    app.connect("build-finished", write_plotly)
