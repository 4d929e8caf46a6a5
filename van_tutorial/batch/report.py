"""What many runs measured, as a page that is made by a notebook."""

from dataclasses import replace
from pathlib import Path

import nbformat

from van_tutorial._checks import check_choice
from van_tutorial._files import write_atomic
from van_tutorial.batch.execute import execute, make_task
from van_tutorial.batch.page import make_page
from van_tutorial.batch.results import measurements
from van_tutorial.batch.run import RunFailedError, sigterm_as_interrupt

NOTEBOOK = Path(__file__).with_name("report.ipynb")


def report(folder: str | Path, metric: str | None = None, notebook: str | Path | None = None) -> Path:
    """Write a page on the runs in a folder: what was run, curves over what varied, spreads, failures.

    The page is a notebook's, and asks for nothing outside it. The notebook as it ran lies beside it: a copy of it is
    yours to change, and to hand in as `notebook`.

    Args:
        folder: of all runs, or of one notebook's, as for `results`.
        metric: the recorded column that is drawn; None takes in each notebook the first whose name holds
            "accuracy", else the first that is a number.
        notebook: makes the page; None for the package's own. It runs in the folder, and has parameters folder and
            metric.

    Returns:
        The page, report.html in the folder.

    Raises:
        FileNotFoundError: where there is no such folder, or no run in it.
        ValueError: for a metric that no finished run recorded.
        NotebookError: where the notebook cannot be read, or lacks a parameter.
        RunFailedError: where a cell of the notebook fails; report.ipynb shows where.
        OSError: where the page cannot be written.
    """
    folder = Path(folder)
    records = measurements(folder)
    if metric is not None:
        recorded = records[records["state"] == "finished"][records.attrs["metrics"]]
        numbers = list(recorded.select_dtypes("number").dropna(axis="columns", how="all"))
        if not numbers:
            raise ValueError(
                f"No finished run in {folder} recorded a number: there is no {metric!r} to draw."
            )
        check_choice("metric", metric, numbers)
    task = make_task(notebook or NOTEBOOK, {"folder": ".", "metric": metric or ""})
    with sigterm_as_interrupt():
        outcome = execute(replace(task, home=str(folder.resolve())))
    executed = nbformat.reads(outcome.files[f"{task.name}.ipynb"], as_version=4)
    write_atomic(folder / "report.ipynb", outcome.files[f"{task.name}.ipynb"])
    if outcome.reason is not None:
        where = f"The notebook up to there is {folder / 'report.ipynb'}."
        raise RunFailedError(
            f"A cell of {notebook or NOTEBOOK} failed: {outcome.reason.rstrip('.')}. {where}"
        )
    for cell in executed.cells:
        if cell.cell_type == "code":
            cell.metadata["transient"] = {"remove_source": True}  # the page shows results, not code
    page = folder / "report.html"
    write_atomic(page, make_page(executed, f"Report on {folder.resolve().name}", folder).encode())
    return page
