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

    Raises:
        ValueError: for column names of several levels, and for one that stands twice.
        TypeError: for what is no table.
    """
    if not isinstance(metrics, pd.DataFrame):
        raise TypeError(f"metrics must be a pandas DataFrame, got {type(metrics).__name__}.")
    if metrics.columns.nlevels > 1:
        raise ValueError(
            f"metrics must have plain column names, got {metrics.columns.nlevels} levels of them: join them, for "
            'instance by table.columns = [" ".join(map(str, names)) for names in table.columns].'
        )
    names = pd.Series([str(name) for name in metrics.columns], dtype=object)
    if names.duplicated().any():
        raise ValueError(
            f"metrics has more than one column {names[names.duplicated()].iloc[0]!r}, of which one would be lost: "
            "rename one of them."
        )
    # Lists, since a kernel's messages may sort keys.
    table = json.loads(metrics.to_json(orient="split", index=False))
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
