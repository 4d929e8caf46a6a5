"""Notebooks run headless: strict about parameters, whole files or none, a page to look at."""

from van_tutorial.batch.metrics import record_metrics
from van_tutorial.batch.page import make_page
from van_tutorial.batch.recorded import Recorded, recorded
from van_tutorial.batch.run import NotebookError, Run, RunFailedError, check_parameters, run

__all__ = [
    "NotebookError",
    "Recorded",
    "Run",
    "RunFailedError",
    "check_parameters",
    "make_page",
    "record_metrics",
    "recorded",
    "run",
]
