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
    table = json.loads(
        metrics.to_json(orient="split", index=False)
    )  # lists: a kernel's messages may sort keys
    shown = (metrics if shown is None else shown).astype(object)
    shown = shown.where(shown.notna(), "–")
    display(
        {
            METRICS_TYPE: table,
            "text/html": shown.to_html(index=False),
            "text/plain": shown.to_string(index=False),
        },
        raw=True,
    )


def read_metrics(notebook: Any) -> list[dict[str, Any]]:
    """Return the rows that the cells of an executed notebook recorded, in their order."""
    tables = [
        output["data"][METRICS_TYPE]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if METRICS_TYPE in output.get("data", {})
    ]
    return [dict(zip(table["columns"], row, strict=True)) for table in tables for row in table["data"]]
