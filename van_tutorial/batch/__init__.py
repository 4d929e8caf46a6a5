"""Notebooks run headless: strict about parameters, whole files or none, alone or many, with pages and tables."""

from van_tutorial._extras import needs

with needs("van_tutorial.batch", "course"):
    from van_tutorial.batch.cluster import ClusterError
    from van_tutorial.batch.grade import grade
    from van_tutorial.batch.page import make_page
    from van_tutorial.batch.parameters import NotebookError, check_parameters
    from van_tutorial.batch.report import report
    from van_tutorial.batch.results import measurements, results
    from van_tutorial.batch.run import Run, RunFailedError, run
    from van_tutorial.batch.store import BusyError
    from van_tutorial.batch.sweep import Swept, Unfinished, sweep
    from van_tutorial.batch.sweep_file import Sweep, SweepError, find_notebook, read_sweep
    from van_tutorial.batch.verdicts import points
    from van_tutorial.evidence import Difference, Recorded, compare, record_metrics, recorded

__all__ = [
    "BusyError", "ClusterError", "Difference", "NotebookError", "Recorded", "Run", "RunFailedError", "Sweep",
    "SweepError", "Swept", "Unfinished", "check_parameters", "compare", "find_notebook", "grade", "make_page",
    "measurements", "points", "read_sweep", "record_metrics", "recorded", "report", "results", "run", "sweep",
]  # fmt: skip
