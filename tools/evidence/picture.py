"""Figures as SVG, drawn by plotly.js in Chromium."""

import shutil
from collections.abc import Mapping
from urllib.parse import unquote

import plotly.graph_objects as go
from playwright.sync_api import sync_playwright
from plotly.offline import get_plotlyjs

WIDTH = 900  # pixels
DRAW = """async figure => {
    const { data, layout } = JSON.parse(figure)
    return await Plotly.toImage({ data, layout }, { format: "svg", width: layout.width, height: layout.height })
}"""


def draw(figures: Mapping[str, go.Figure]) -> dict[str, str]:
    """Return each figure as the text of an SVG file.

    Raises:
        FileNotFoundError: where there is no Chromium.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        raise FileNotFoundError(
            "Figures are drawn by Chromium, which is not on this machine: apt install chromium."
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.add_script_tag(content=get_plotlyjs())
        made = {}
        for name, figure in figures.items():
            figure = go.Figure(figure).update_layout(width=WIDTH)
            image = page.evaluate(DRAW, figure.to_json())
            made[name] = unquote(image.removeprefix("data:image/svg+xml,"))
        browser.close()
    return made
