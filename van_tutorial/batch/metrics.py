"""How a notebook's figures reach whoever ran it."""

import json
from typing import Any

import pandas as pd
from IPython.display import display

METRICS_TYPE = "application/vnd.van-tutorial.metrics+json"


def record_metrics(metrics: pd.DataFrame, shown: pd.DataFrame | None = None) -> None:
    """Show a table, and hand it on to the runner, which writes it into metrics.json.

    Args:
        metrics: the table; its index is left out.
        shown: what the reader sees, where that is another table.
    """
    rows = json.loads(metrics.to_json(orient="records"))
    shown = (metrics if shown is None else shown).astype(object)
    shown = shown.where(shown.notna(), "–")
    display(
        {
            METRICS_TYPE: rows,
            "text/html": shown.to_html(index=False),
            "text/plain": shown.to_string(index=False),
        },
        raw=True,
    )


def read_metrics(notebook: Any) -> list[dict[str, Any]]:
    """Return the rows that the cells of an executed notebook recorded, in their order."""
    return [
        row
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        for row in output.get("data", {}).get(METRICS_TYPE, [])
    ]
