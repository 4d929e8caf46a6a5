"""The lessons in JupyterLab in a real browser: they run, the panels work, nothing leaves the machine."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from playwright.sync_api import TimeoutError, expect, sync_playwright

from van_tutorial._course import course_path

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt install chromium"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Start `van-tutorial lab` and give its address and token."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    notebooks = tmp_path_factory.mktemp("course") / "notebooks"
    shutil.copytree(course_path("notebooks"), notebooks, ignore=shutil.ignore_patterns("instructor", "src"))
    shutil.copytree(course_path("assets", "figures"), notebooks.parent / "assets" / "figures")
    for name, values in QUICK.items():
        make_quick(notebooks / f"{name}.ipynb", values)
    options = [
        f"--port={port}",
        "--no-browser",
        "--IdentityProvider.token=t",
    ]
    environment = {**os.environ, "HOME": str(home), "JUPYTER_PLATFORM_DIRS": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "van_tutorial.cli", "lab", "--folder", str(notebooks.parent), *options],
        env=environment,
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
    "03_shattered_gradients": {"num_epochs: int = 10": "num_epochs: int = 1"},
    "04_skip_connections": {
        "depth: int = 40": "depth: int = 8",
        "num_epochs: int = 6": "num_epochs: int = 1",
    },
    "05_phasing_out": {
        "depth: int = 40": "depth: int = 6",
        "num_epochs: int = 30": "num_epochs: int = 3",
        "num_networks: int = 16": "num_networks: int = 3",
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
    "12_capstone": {
        "depth: int = 20": "depth: int = 4",
        "num_epochs: int = 10": "num_epochs: int = 1",
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


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser, lab, name, at_the_end):
    """A lesson in a page of its own, all of its cells run."""
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.requested, page.failures = [], []
    page.on("request", lambda request: page.requested.append(request.url))
    page.on("pageerror", lambda error: page.failures.append(str(error)))
    run_all_cells(page, f"{lab}/lab/tree/notebooks/{name}.ipynb?token=t&reset", at_the_end)
    yield page
    page.close()


def assert_no_error(page):
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert page.failures == []


def keep_picture(locator, name):
    """Keep a screenshot where a person has asked for one."""
    if folder := os.environ.get("VAN_TUTORIAL_SCREENSHOTS"):
        locator.screenshot(path=f"{folder}/{name}.png")


@pytest.fixture(scope="module")
def page(browser, lab):
    """Open the lesson on phasing out and run all of its cells."""
    with opened(browser, lab, "05_phasing_out", "removed at step") as page:
        yield page


@pytest.mark.parametrize(
    ("name", "at_the_end", "control"),
    [
        ("02_vanishing_exploding", "first to last layer", "scale of the weights"),
        ("03_shattered_gradients", "Try some in diagnostics.predicted_correlation", "depth (layers)"),
        ("04_skip_connections", "First the gate: T = torch.sigmoid", "depth (layers)"),
        ("06_multiplier_dynamics", "final multiplier", "multiplier step size"),
        ("07_dirac", "b have an entry for each output channel", "a, of the identity"),
        ("08_looks_linear", "a layer of m units sees 2 m inputs", "scale of the weights"),
        ("12_capstone", "sentence 1: no answer yet", "spread over the seeds"),
    ],
)
def test_a_lesson_runs_to_its_end_and_its_panel_draws_what_was_chosen(
    browser, lab, name, at_the_end, control
):
    with opened(browser, lab, name, at_the_end) as page:
        assert_no_error(page)
        page.get_by_role("button", name="Show").scroll_into_view_if_needed()
        panel = page.locator(".widget-vbox").first
        expect(panel.get_by_text("Choose, then press Show.")).to_be_visible()
        expect(panel.get_by_text(control)).to_be_visible()
        box = panel.locator("input[type=number], .widget-text input").first
        before = panel.locator(".gtitle").text_content()
        box.fill("12" if control == "depth (layers)" else "0.9")
        box.press("Enter")
        page.get_by_role("button", name="Show").click()
        expect(panel.get_by_text("Shown: ")).to_be_visible(timeout=60_000)
        expect(panel.locator(".scatterlayer path.js-line").first).to_be_attached()
        assert panel.locator(".gtitle").text_content() != before
        keep_picture(panel, name)
        assert page.failures == []


def test_the_first_lesson_tells_in_words_that_a_press_arrived_and_adds_a_curve_to_its_figure(browser, lab):
    with opened(browser, lab, "00_start_here", "answers == labels is true") as page:
        assert_no_error(page)
        assert page.locator(".jp-RenderedHTMLCommon td", has_text=re.compile("^broken$")).count() == 0
        images, training = page.locator(".widget-vbox").all()[:2]
        page.get_by_role("button", name="Show").scroll_into_view_if_needed()
        box = images.locator(".widget-text input").first
        box.fill("12")
        box.press("Enter")
        page.get_by_role("button", name="Show").focus()
        page.keyboard.press("Space")
        expect(images.get_by_text("Shown: number of the image: 12")).to_be_visible(timeout=60_000)
        assert "Test image 12" in images.locator(".gtitle").text_content()
        keep_picture(images, "00_start_here")
        page.get_by_role("button", name="Train").scroll_into_view_if_needed()
        box = training.locator(".widget-text input").first
        box.fill("0.0001")
        box.press("Enter")
        page.get_by_role("button", name="Train").click()
        expect(training.get_by_text("Shown: step size of the weights: 0.0001")).to_be_visible(timeout=60_000)
        expect(training.locator(".scatterlayer path.js-line")).to_have_count(2)
        keep_picture(training, "00_start_here_training")
        assert page.failures == []


def test_the_lesson_on_degradation_collects_runs_of_the_chosen_depth(browser, lab):
    with opened(browser, lab, "01_degradation", "test accuracy") as page:
        assert_no_error(page)
        page.get_by_role("button", name="Train").scroll_into_view_if_needed()
        page.get_by_role("button", name="Train").click()
        expect(page.get_by_text(re.compile(r"Epoch 2 of 2, plain, depth 4"))).to_be_visible(timeout=60_000)
        keep_picture(page.locator(".widget-vbox").first, "01_degradation")
        assert page.failures == []


def test_the_lesson_on_convolutional_networks_phases_skips_out_by_button(browser, lab):
    with opened(browser, lab, "10_convolutional_van", "Every second pixel is") as page:
        assert_no_error(page)
        page.get_by_role("button", name="Train").scroll_into_view_if_needed()
        page.get_by_role("button", name="Train").click()
        expect(page.get_by_text(re.compile(r"Step 39 of 39: 0 of 3 skips left"))).to_be_visible(
            timeout=60_000
        )
        keep_picture(page.locator(".widget-vbox").first, "10_convolutional_van")
        assert page.failures == []


def test_the_lesson_on_backward_skips_shows_the_chosen_scene(browser, lab):
    with opened(browser, lab, "09_backward_skips", "background everywhere") as page:
        assert_no_error(page)
        panel = page.locator(".widget-vbox").first
        page.get_by_role("button", name="Show").scroll_into_view_if_needed()
        box = panel.locator(".widget-text input").first
        box.fill("12")
        box.press("Enter")
        page.get_by_role("button", name="Show").click()
        expect(panel.get_by_text("Shown: test scene (number): 12")).to_be_visible(timeout=60_000)
        assert "Scene 12." in panel.locator(".gtitle").text_content()
        assert panel.locator(".heatmaplayer image").count() == 4
        keep_picture(panel, "09_backward_skips")
        assert page.failures == []


def test_the_lesson_after_van_removes_by_button_what_was_chosen(browser, lab):
    with opened(browser, lab, "11_after_van", "accuracy, finished") as page:
        assert_no_error(page)
        panel = page.locator(".widget-vbox").first
        page.get_by_role("button", name="Train").scroll_into_view_if_needed()
        panel.locator("select").first.select_option("every second activation")
        page.get_by_role("button", name="Train").click()
        expect(page.get_by_text(re.compile(r"Step 78 of 78: 0 of 2 left"))).to_be_visible(timeout=60_000)
        keep_picture(panel, "11_after_van")
        assert page.failures == []


def test_the_lesson_runs_to_its_end_without_an_error(page):
    assert_no_error(page)
    assert page.get_by_text("Not yet: there is no run yet").count() == 1


def test_train_makes_the_skips_go_and_stop_stops(page):
    page.get_by_role("button", name="Train").scroll_into_view_if_needed()
    expect(page.get_by_text("Choose, then press Train.")).to_be_visible()
    page.get_by_role("button", name="Train").click()
    expect(page.get_by_text(re.compile(r"Step 39 of 39: 0 of 6 skips left"))).to_be_visible(timeout=60_000)
    panel = page.locator(".widget-vbox").first
    expect(panel.locator(".scatterlayer path.js-line").first).to_be_attached()
    assert panel.locator(".hm image, .heatmaplayer image").count() >= 1
    keep_picture(panel, "05_phasing_out")


def test_the_depth_slider_moves_by_keyboard_and_its_box_follows(page):
    handle = page.locator(".widget-slider .noUi-handle").first
    handle.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".widget-text input").first).to_have_value("7")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".widget-text input").first).to_have_value("6")


def test_no_request_leaves_the_machine(page, lab):
    outside = [url for url in page.requested if not url.startswith((lab, "data:", "blob:"))]
    assert outside == []
