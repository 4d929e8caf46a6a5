"""A real browser, and JupyterLab for it to look at."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from playwright.sync_api import Error, TimeoutError, sync_playwright

from van_tutorial._course import course_path

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
needs_chromium = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt install chromium"),
    pytest.mark.timeout(600),
]


def in_browser(test):
    """Mark a test that needs the browser among others that do not."""
    for mark in needs_chromium:
        test = mark(test)
    return test


@contextlib.contextmanager
def chromium():
    """Start the browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@contextlib.contextmanager
def jupyterlab(folder):
    """Start `van-tutorial lab` on a quick copy of the course, and give its address; the token is t."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home, notebooks = folder / "home", folder / "course" / "notebooks"
    home.mkdir()
    shutil.copytree(course_path("notebooks"), notebooks, ignore=shutil.ignore_patterns("instructor", "src"))
    shutil.copytree(course_path("assets", "figures"), notebooks.parent / "assets" / "figures")
    for name, values in QUICK.items():
        make_quick(notebooks / f"{name}.ipynb", values)
    command = [sys.executable, "-m", "van_tutorial.cli", "lab", "--folder", str(notebooks.parent)]
    process = subprocess.Popen(
        [*command, f"--port={port}", "--no-browser", "--IdentityProvider.token=t"],
        env={**os.environ, "HOME": str(home), "JUPYTER_PLATFORM_DIRS": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{address}/api?token=t", timeout=5).close()
            break
        except OSError:
            assert process.poll() is None
            time.sleep(0.5)
    yield address
    process.terminate()
    process.wait(20)


# Small values for the copies of the lessons, so that the browser need not wait for deep networks.
QUICK = {
    "00_start_here": {"width: int = 32": "width: int = 16"},
    "01_degradation": {"depth: int = 40": "depth: int = 8", "num_epochs: int = 10": "num_epochs: int = 2"},
    "04_skip_connections": {
        "depth: int = 40": "depth: int = 8",
        "num_epochs: int = 6": "num_epochs: int = 1",
    },
    "05_phasing_out": {
        "depth: int = 40": "depth: int = 6",
        "num_epochs: int = 30": "num_epochs: int = 3",
    },
    "06_multiplier_dynamics": {
        "depth: int = 20": "depth: int = 4",
        "num_epochs: int = 12": "num_epochs: int = 2",
    },
    "07_dirac": {"depth: int = 40": "depth: int = 8", "num_epochs: int = 5": "num_epochs: int = 1"},
    "08_looks_linear": {"depth: int = 40": "depth: int = 8", "num_epochs: int = 5": "num_epochs: int = 1"},
    "09_backward_skips": {
        "num_scenes: int = 1000": "num_scenes: int = 50",
        "num_epochs: int = 3": "num_epochs: int = 1",
    },
    "11_after_van": {"depth: int = 12": "depth: int = 4", "num_epochs: int = 8": "num_epochs: int = 2"},
    "10_convolutional_van": {
        "depth: int = 20": "depth: int = 8",
        "num_epochs: int = 3": "num_epochs: int = 1",
    },
    "playground": {
        'settings: str = \\"defaults\\"': 'settings: str = \\"depth=10 num_epochs=40 dual_lr=0.1\\"'
    },
    "12_your_network": {"num_epochs: int = 4": "num_epochs: int = 1"},
    "13_capstone": {
        "depth: int = 20": "depth: int = 4",
        "num_seeds: int = 4": "num_seeds: int = 3",
        "num_workers: int = 2": "num_workers: int = 1",
    },
}


def make_quick(path, values):
    """Write small defaults into a copy of a lesson."""
    text = path.read_text(encoding="utf-8")
    for default, value in values.items():
        assert default in text
        text = text.replace(default, value)
    path.write_text(text, encoding="utf-8")


def run_all_cells(page, address, at_the_end):
    """Open a lesson, run all cells and wait for a text; again where JupyterLab lost the request to the kernel."""
    for _ in range(4):
        page.goto(address)
        page.locator("#jupyterlab-splash").wait_for(state="detached", timeout=90_000)
        page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=90_000)
        page.wait_for_timeout(2_000)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        with contextlib.suppress(TimeoutError):
            page.locator(".jp-OutputArea-output", has_text=at_the_end).last.wait_for(timeout=60_000)
            page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=60_000)
            return
    pytest.fail("JupyterLab did not run the cells")


@contextlib.contextmanager
def opened(browser, lab, name, at_the_end, height=1000):
    """A lesson in a page of its own, all of its cells run; the page keeps its size, so that nothing moves."""
    page = browser.new_page(viewport={"width": 1300, "height": height})
    watch(page)
    run_all_cells(page, f"{lab}/lab/tree/notebooks/{name}.ipynb?token=t&reset", at_the_end)
    yield page
    page.close()


def watch(page):
    """Keep what a page asks for, and every error on it or on its console; a busy machine may take its time."""
    page.set_default_timeout(90_000)
    page.requested, page.failures = [], []
    page.on("request", lambda request: page.requested.append(request.url))
    page.on("pageerror", lambda error: page.failures.append(str(error)))
    page.on("console", lambda message: message.type == "error" and page.failures.append(message.text))


def panel_with(page, label):
    """The panel that has a button of that label; predictions have others."""
    return page.locator(".van-panel").filter(has=page.get_by_role("button", name=label)).first


def assert_no_error(page):
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert page.failures == []


def describe_panels(page):
    """What the panels of a page show, in words, and what went wrong on it."""
    with contextlib.suppress(Error):  # the page may be gone
        shown = [panel.aria_snapshot() for panel in page.locator(".van-panel").all()]
        return "\n".join([*shown, *getattr(page, "failures", [])])


def keep_picture(locator, name):
    """Keep a screenshot where a person has asked for one."""
    if folder := os.environ.get("VAN_TUTORIAL_SCREENSHOTS"):
        locator.screenshot(path=f"{folder}/{name}.png")
