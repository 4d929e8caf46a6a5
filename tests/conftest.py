"""What the tests share: programs that they start, and how they are run."""

import os

import pytest
import torch
from hypothesis import settings

from tests import browsing
from tests.sharing import few_images, images, phased_out, quick, seeded, two_layers  # noqa: F401  # fixtures
from tests.sweeping import Course, Processes

os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")  # or its results depend on where in memory a matrix lies
torch.set_num_threads(1)  # two test processes share two cores, and sums keep their order
settings.register_profile("tests", database=None, deadline=None, derandomize=True)
settings.load_profile("tests")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Say what the page showed where a test in a browser failed."""
    report = yield
    page = getattr(item, "funcargs", {}).get("page")
    if report.failed and page is not None and (shown := browsing.describe_panels(page)):
        report.sections.append(("the page", shown))
    return report


STARTERS = {"browser", "lab", "processes", "course", "site", "write_notebook"}  # of other programs


def pytest_collection_modifyitems(items):
    """Begin with the files that start other programs, so that no process waits at the end for one of them."""
    long = {item.path for item in items if STARTERS & set(getattr(item, "fixturenames", ()))}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture
def course(tmp_path):
    """A folder with a notebook that is quick, and one for its runs."""
    return Course(tmp_path)


@pytest.fixture(scope="module")
def clusters():
    """Dask clusters of one worker and of two, all threads of this process, which start at once."""
    import distributed

    choices = {
        "threads_per_worker": 1,
        "processes": False,
        "dashboard_address": None,
        "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},  # any free port
    }
    with (
        distributed.LocalCluster(n_workers=1, **choices) as one,
        distributed.LocalCluster(n_workers=2, **choices) as two,
    ):
        yield {1: one, 2: two}


@pytest.fixture
def processes(tmp_path):
    """Starts processes, and ends what is left of them."""
    processes = Processes(tmp_path)
    yield processes
    processes.end()


@pytest.fixture(scope="module")
def browser():
    with browsing.chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    with browsing.jupyterlab(tmp_path_factory.mktemp("lab")) as address:
        yield address
