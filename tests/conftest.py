"""What the tests share: the embedded images, and short runs on a few of them."""

import dataclasses

import pytest
import torch
from hypothesis import settings
from torch import nn

from tests import browsing
from tests.sweeping import Course, Processes
from van_tutorial import data, models, training

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


@pytest.fixture(scope="session")
def images():
    return data.load()


@pytest.fixture(scope="session")
def few_images(images):
    return dataclasses.replace(
        images,
        train_images=images.train_images[:512],
        train_labels=images.train_labels[:512],
        test_images=images.test_images[:200],
        test_labels=images.test_labels[:200],
    )


@pytest.fixture(scope="session")
def quick():
    """A function that makes the config of a short run on the CPU: 8 steps an epoch on `few_images`."""

    def make(**choices):
        return training.TrainConfig(**{"num_epochs": 2, "batch_size": 64, "device": "cpu", **choices})

    return make


@pytest.fixture(scope="session")
def phased_out(few_images, quick):
    """A run of 160 steps, all multipliers rising at once, with a record of each; leave its network as it is."""
    model = models.mlp(depth=4, width=24, seed=0)
    return training.train(
        model, few_images, quick(num_epochs=10, batch_size=32, log_every=1, stagger=0.0, dual_lr_spread=5.0)
    )


@pytest.fixture
def seeded():
    """The same global random numbers in every test that asks for it, and none of them missing afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def two_layers(seeded):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 7), nn.Tanh(), nn.Linear(7, 10)).double()


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
