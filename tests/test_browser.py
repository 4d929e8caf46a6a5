"""The lessons in JupyterLab in a real browser: they run, the panels work, nothing leaves the machine."""

import re

import pytest
from playwright.sync_api import expect

from tests.browsing import assert_no_error, keep_picture, needs_chromium, opened, panel_with, watch
from van_tutorial._course import course_path

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def page(browser, lab):
    """Open the lesson on phasing out and run all of its cells."""
    with opened(browser, lab, "05_phasing_out", "removed at step") as page:
        yield page


NOTEBOOKS = sorted(path.stem for path in course_path("notebooks").glob("*.ipynb"))


@pytest.mark.parametrize(
    "name", [NOTEBOOKS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in NOTEBOOKS[1:])]
)
def test_jupyterlab_opens_every_lesson_without_an_error(browser, lab, name):
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    watch(page)
    page.goto(f"{lab}/lab/tree/notebooks/{name}.ipynb?token=t&reset")
    page.locator("#jupyterlab-splash").wait_for(state="detached", timeout=90_000)
    page.locator(".jp-RenderedMarkdown h1").first.wait_for(timeout=90_000)
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=90_000)
    assert_no_error(page)
    broken = page.locator(".jp-RenderedMarkdown img").evaluate_all(
        "pictures => pictures.filter((picture) => picture.complete && !picture.naturalWidth).map((p) => p.src)"
    )
    assert broken == []
    assert [url for url in page.requested if not url.startswith((lab, "data:", "blob:"))] == []
    page.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "at_the_end", "control"),
    [
        ("02_vanishing_exploding", "measured", "scale of the weights"),
        ("03_shattered_gradients", "Try some in diagnostics.predicted_correlation", "depth (layers)"),
        ("04_skip_connections", "First the gate: T = torch.sigmoid", "depth (layers)"),
        ("06_multiplier_dynamics", "Recorded: 3 rows", "dual learning rate"),
        ("07_dirac", "b have an entry for each output channel", "a, of the identity"),
        ("08_looks_linear", "a layer of m units sees 2 m inputs", "scale of the weights"),
        ("13_capstone", "sentence 1: no answer yet", "spread over the seeds"),
    ],
)
def test_a_lesson_runs_to_its_end_and_its_panel_draws_what_was_chosen(
    browser, lab, name, at_the_end, control
):
    with opened(browser, lab, name, at_the_end) as page:
        assert_no_error(page)
        page.get_by_role("button", name="Show").scroll_into_view_if_needed()
        panel = panel_with(page, "Show")
        expect(panel.get_by_text("Choose, then press Show.")).to_be_visible()
        expect(panel.locator(".widget-slider", has_text=control).first).to_be_visible()
        expect(panel.get_by_role("slider", name=control)).to_be_visible()  # as a screen reader finds it
        box = panel.get_by_role("textbox", name=control)  # as a screen reader finds it
        before = panel.locator(".gtitle").text_content()
        box.fill("12" if control == "depth (layers)" else "0.9")
        box.press("Enter")
        page.get_by_role("button", name="Show").click()
        expect(panel.get_by_text("Shown: ")).to_be_visible(timeout=60_000)
        expect(panel.locator(".scatterlayer path.js-line").first).to_be_attached()
        assert panel.locator(".gtitle").text_content() != before
        keep_picture(panel, name)
        assert page.failures == []


@pytest.mark.slow
def test_the_first_lesson_tells_in_words_that_a_press_arrived_and_adds_a_curve_to_its_figure(browser, lab):
    with opened(browser, lab, "00_start_here", "Comparing predictions and labels") as page:
        assert_no_error(page)
        expect(page.get_by_text("Every part of the installation is there.")).to_be_visible()
        asked, training = page.locator(".widget-vbox").all()[:2]
        expect(page.get_by_text("the result appears here once you press")).to_be_visible()
        asked.get_by_role("textbox", name="test accuracy after one pass").fill("0.42")
        asked.get_by_role("button", name="Predict").click()
        expect(asked.get_by_text("kept in predictions.json")).to_be_visible()
        expect(page.locator("td", has_text=re.compile("^0.42$"))).to_be_visible()
        expect(page.locator("td svg circle").first).to_be_visible()
        keep_picture(asked, "00_start_here_prediction")
        page.get_by_role("button", name="Train").scroll_into_view_if_needed()
        box = training.locator(".widget-readout").first
        box.fill("0.0001")
        box.press("Enter")
        page.get_by_role("button", name="Train").focus()
        page.keyboard.press("Space")
        expect(training.get_by_text("Shown: learning rate: 0.0001")).to_be_visible(timeout=60_000)
        expect(training.locator(".scatterlayer path.js-line")).to_have_count(2)
        keep_picture(training, "00_start_here_training")
        assert page.failures == []


@pytest.mark.slow
def test_the_lesson_on_degradation_collects_runs_of_the_chosen_depth(browser, lab):
    with opened(browser, lab, "01_degradation", "test accuracy") as page:
        assert_no_error(page)
        page.get_by_role("button", name="Train").scroll_into_view_if_needed()
        page.get_by_role("button", name="Train").click()
        expect(page.get_by_text(re.compile(r"Step 78 of 78: plain, depth 4"))).to_be_visible(timeout=60_000)
        keep_picture(panel_with(page, "Train"), "01_degradation")
        assert page.failures == []


@pytest.mark.slow
def test_the_lesson_on_convolutional_networks_phases_skips_out_by_button(browser, lab):
    with opened(browser, lab, "10_convolutional_van", "Every second pixel is") as page:
        assert_no_error(page)
        page.get_by_role("button", name="Train").scroll_into_view_if_needed()
        page.get_by_role("button", name="Train").click()
        expect(page.get_by_text(re.compile(r"Step 39 of 39: 0 of 3 skips left"))).to_be_visible(
            timeout=60_000
        )
        keep_picture(panel_with(page, "Train"), "10_convolutional_van")
        assert page.failures == []


@pytest.mark.slow
def test_the_lesson_on_backward_skips_shows_the_chosen_scene(browser, lab):
    with opened(browser, lab, "09_backward_skips", "background everywhere") as page:
        assert_no_error(page)
        panel = panel_with(page, "Show")
        page.get_by_role("button", name="Show").scroll_into_view_if_needed()
        box = panel.locator(".widget-readout").first
        box.fill("12")
        box.press("Enter")
        page.get_by_role("button", name="Show").click()
        expect(panel.get_by_text("Shown: test scene (number): 12")).to_be_visible(timeout=60_000)
        assert "Scene 12." in panel.locator(".gtitle").text_content()
        assert panel.locator(".heatmaplayer image").count() == 4
        keep_picture(panel, "09_backward_skips")
        assert page.failures == []


@pytest.mark.slow
def test_the_lesson_after_van_removes_by_button_what_was_chosen(browser, lab):
    with opened(browser, lab, "11_after_van", "van: no answer yet") as page:
        assert_no_error(page)
        panel = panel_with(page, "Train")
        page.get_by_role("button", name="Train").scroll_into_view_if_needed()
        panel.locator("select").first.select_option("every second activation")
        page.get_by_role("button", name="Train").click()
        expect(page.get_by_text(re.compile(r"Step 78 of 78: 0 of 2 left"))).to_be_visible(timeout=60_000)
        keep_picture(panel, "11_after_van")
        assert page.failures == []


def test_the_lesson_runs_to_its_end_without_an_error(page):
    assert_no_error(page)
    assert page.get_by_text("Not yet: no run yet").count() == 1


def test_train_makes_the_skips_go_and_stop_stops(page):
    page.get_by_role("button", name="Train").scroll_into_view_if_needed()
    expect(page.get_by_text("Choose, then press Train.")).to_be_visible()
    page.get_by_role("button", name="Train").click()
    expect(page.get_by_text(re.compile(r"^Finished. Step 39 of 39, 0 of 6 skips left"))).to_be_visible(
        timeout=60_000
    )
    panel = panel_with(page, "Train")
    expect(panel.locator(".scatterlayer path.js-line").first).to_be_attached()
    assert panel.locator(".hm image, .heatmaplayer image").count() >= 1
    keep_picture(panel, "05_phasing_out")


def test_the_depth_slider_moves_by_keyboard_and_its_number_follows(page):
    handle = page.locator(".widget-slider .noUi-handle").first
    handle.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".widget-readout").first).to_have_text("7")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".widget-readout").first).to_have_text("6")


def test_no_request_leaves_the_machine(page, lab):
    outside = [url for url in page.requested if not url.startswith((lab, "data:", "blob:"))]
    assert outside == []
