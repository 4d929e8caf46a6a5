"""The playground in JupyterLab in a real browser, and the page that it exports in one without a kernel."""

import re
from itertools import product

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browsing import assert_no_error, keep_picture, needs_chromium, opened, watch

pytestmark = needs_chromium
STEPS = 40 * 39


@pytest.fixture(scope="module")
def page(browser, lab):
    with opened(browser, lab, "playground", "Choose, then press Train", height=1750) as page:
        button(page, "Train").scroll_into_view_if_needed()
        expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=60_000)
        yield page


def button(page, name):
    """A button by its label, before which the browser reads its icon."""
    return page.get_by_role("button", name=re.compile(rf"(^|\s){name}$")).first


def press(page, name):
    button(page, name).click()


def status(page, pattern):
    """Wait until the status says so."""
    expect(page.locator(".widget-html-content", has_text=re.compile(pattern)).first).to_be_visible(
        timeout=240_000
    )


def arcs(page):
    """The opacity of every arc in the drawing."""
    return page.locator(".van-network .arc").evaluate_all(
        "arcs => arcs.map((arc) => Number(arc.style.opacity))"
    )


def step_shown(page):
    """The step that the drawing shows."""
    label = page.locator(".van-network-drawing").first.get_attribute("aria-label")
    return int(re.search(r"at step (\d+) of", label)[1])


def scrubber(page):
    return page.locator(".widget-slider", has_text="moment").locator(".noUi-handle")


def multipliers(page):
    """The multipliers that the figure shows, by layer."""
    return page.locator(".js-plotly-plot").evaluate("chart => [...chart._fullData[6].y]")


def test_train_moves_the_arcs_until_all_are_removed(page):
    assert_no_error(page)
    assert len(arcs(page)) == 10
    assert min(arcs(page)) > 0.9
    press(page, "Train")
    status(page, rf"^Finished. Step {STEPS} of {STEPS}, 0 of 10 skips left")
    expect(page.locator(".van-network-drawing").first).to_have_attribute(
        "aria-label", re.compile(f"at step {STEPS} of")
    )
    assert arcs(page) == [0.0] * 10
    expect(page.locator(".heatmaplayer image")).to_have_count(1)
    assert page.locator(".js-plotly-plot .scatterlayer path.js-line").count() >= 6


def test_the_scrubber_goes_back_by_keyboard_and_the_drawing_and_the_cursors_follow(page):
    cursor = page.locator(".js-plotly-plot .shapelayer path").first
    before = cursor.get_attribute("d")
    drawing = page.locator(".van-network-drawing").first
    scrubber(page).focus()
    page.keyboard.press("ArrowLeft")
    expect(drawing).not_to_have_attribute("aria-label", re.compile(f"at step {STEPS} of"))
    last_but_one = step_shown(page)
    page.keyboard.press("Home")
    expect(drawing).to_have_attribute("aria-label", re.compile("at step 0 of"))
    assert 0 < last_but_one < STEPS
    assert min(arcs(page)) > 0.9
    assert cursor.get_attribute("d") != before
    for _ in range(25):
        page.keyboard.press("PageUp")
    expect(drawing).to_have_attribute("aria-label", re.compile(f"at step {STEPS} of"))


def test_arrow_keys_go_from_layer_to_layer_and_say_its_numbers(page):
    page.locator(".van-network-drawing").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    words = page.locator(".van-network-layer").first
    expect(words).to_have_text(re.compile(r"^Layer 2, skip weight 0, multiplier \S+, gradient norm \S+$"))
    page.keyboard.press("End")
    expect(words).to_have_text(re.compile("^Layer 10,"))
    page.locator(".van-network .field").nth(4).hover()
    expect(words).to_have_text(re.compile("^Layer 5,"))


def test_the_colour_of_the_layers_is_chosen_and_its_scale_is_said(page):
    box = page.locator(".van-network .box").first
    before = box.evaluate("box => box.style.fill")
    expect(page.get_by_label("colour by").first).not_to_be_visible()
    press(page, "More settings")
    page.get_by_label("colour by").first.select_option("multiplier")
    expect(page.locator(".van-network-scale").first).to_contain_text("multiplier λ (nats): 0")
    assert box.evaluate("box => box.style.fill") != before


def test_a_pinned_run_stays_beside_the_next_which_pause_holds_and_stop_ends_all_by_keyboard(page):
    for name in ("Pin", "Train"):
        button(page, name).focus()
        page.keyboard.press("Enter")
    status(page, r"^Training. Step")
    button(page, "Pause").focus()
    page.keyboard.press("Space")
    status(page, r"^Paused. Step")
    page.wait_for_timeout(500)
    held = step_shown(page)
    page.wait_for_timeout(500)
    assert step_shown(page) == held < STEPS
    button(page, "Step").focus()
    page.keyboard.press("Enter")
    status(page, rf"^Paused. Step {held + 1} of")
    expect(page.locator(".van-network-drawing").first).to_have_attribute(
        "aria-label", re.compile(f"at step {held + 1} of")
    )
    button(page, "Stop").focus()
    page.keyboard.press("Enter")
    status(page, rf"^Stopped. Step {held + 1} of")
    expect(page.get_by_text("VAN · 2", exact=True).first).to_be_visible()
    expect(page.locator(".js-plotly-plot .legendtext", has_text="VAN · 2")).to_be_attached()
    expect(button(page, "Restore")).to_be_visible()
    keep_picture(page.locator(".widget-vbox").first, "playground_pinned")


def test_an_exported_run_replays_in_a_page_without_a_kernel_by_keyboard(page, browser, tmp_path_factory):
    press(page, "Export")
    status(page, "^Exported: open")
    (path,) = tmp_path_factory.getbasetemp().rglob("playground/*.html")
    alone = browser.new_page(viewport={"width": 1200, "height": 1300})
    watch(alone)
    alone.goto(path.as_uri())
    expect(alone.locator(".js-plotly-plot")).to_be_visible()
    ended = step_shown(alone)
    alone.get_by_label("moment").focus()
    alone.keyboard.press("Home")
    drawing = alone.locator(".van-network-drawing")
    expect(drawing).to_have_attribute("aria-label", re.compile("at step 0 of"))
    assert min(arcs(alone)) > 0.9
    assert set(multipliers(alone)) == {0}
    alone.keyboard.press("ArrowRight")
    expect(drawing).not_to_have_attribute("aria-label", re.compile("at step 0 of"))
    assert 0 < step_shown(alone) < ended
    alone.get_by_role("button", name="Play").focus()
    alone.keyboard.press("Enter")
    expect(alone.locator(".van-replay-step")).to_have_text(re.compile(f"^Step {ended} of"), timeout=30_000)
    expect(alone.locator(".legendtext", has_text="VAN · 2")).to_be_attached()
    assert max(multipliers(alone)) > 0
    keep_picture(alone.locator("body"), "playground_export")
    assert alone.failures == []
    assert alone.requested == [path.as_uri()]
    alone.close()


def test_half_way_the_skips_next_to_the_input_are_removed_and_the_others_are_still_there(page):
    for name in ("More settings", "Unpin"):  # alone, or after the tests above
        for there in page.get_by_role("button", name=re.compile(name)).all():
            there.click()
    # The kernel has answered: it writes the settings as text itself, over what would be typed before.
    expect(page.get_by_role("button", name=re.compile("Unpin"))).to_have_count(0, timeout=20_000)
    expect(button(page, "Fewer settings")).to_be_visible(timeout=20_000)
    text = page.get_by_label("settings as text")
    text.fill("depth=40")
    text.press("Enter")
    press(page, "Apply")
    expect(page.get_by_role("textbox", name="depth (layers)")).to_have_text("40", timeout=20_000)
    press(page, "Train")
    status(page, "^Finished. Step 390 of 390, 0 of 40 skips left")
    press(page, "Fewer settings")
    scrubber(page).focus()
    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("PageUp")
    expect(page.locator(".van-network-drawing").first).to_have_attribute(
        "aria-label", re.compile("step 120 of"), timeout=60_000
    )
    shown = arcs(page)
    assert shown[0] == 0.0 < 0.3 < shown[-1]
    assert shown[1:].count(0.0) > 5
    names = page.locator(".van-score-name").all_text_contents()
    assert names == ["VAN, BatchNorm bias 1", "plain, BatchNorm bias 1", "residual", "plain"]
    page.wait_for_timeout(1000)
    keep_picture(page.locator(".van-network-drawing").first, "playground")


def test_an_automated_check_of_accessibility_finds_nothing_serious_in_the_panel(page):
    found = Axe().run(page, context=".van-panel").response
    assert found["passes"]
    serious = [breach for breach in found["violations"] if breach["impact"] in ("serious", "critical")]
    assert serious == []


def box_of(locator):
    """Left, top, right and bottom of an element."""
    box = locator.bounding_box()
    return box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]


def test_at_1280_by_800_network_train_and_accuracy_are_in_sight_together(page):
    page.set_viewport_size({"width": 1280, "height": 800})
    button(page, "default").evaluate("button => button.scrollIntoView(true)")
    last = page.locator(".jp-WindowedPanel-outer").first
    bottom = box_of(last)[3]
    for part in (button(page, "Train"), page.locator(".van-scores"), page.locator(".van-network-drawing")):
        _, top, _, end = box_of(part.first)
        assert 0 < top < end <= bottom


def test_at_1000_pixels_the_figure_fills_its_panel_and_colour_bar_and_toolbar_touch_no_title(page):
    page.set_viewport_size({"width": 1000, "height": 900})
    figure, panel = page.locator(".js-plotly-plot").first, page.locator(".van-panel").first
    figure.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    drawn = page.locator(".js-plotly-plot .main-svg").first
    assert abs(drawn.bounding_box()["width"] - max(panel.bounding_box()["width"], 640)) < 30
    figure.hover()
    bars = [box_of(page.locator(f".js-plotly-plot {bar}").first) for bar in (".colorbar", ".modebar-group")]
    titles = page.locator(
        ".js-plotly-plot :is(.ytitle, .y2title, .y3title, .y5title, .y6title, .annotation-text)"
    ).all()
    assert len(titles) == 11
    for bar, title in product(bars, titles):
        left, top, right, bottom = box_of(title)
        assert right < bar[0] or left > bar[2] or bottom < bar[1] or top > bar[3]
    keep_picture(panel, "playground_1000")


def test_in_the_dark_theme_figures_are_dark(page):
    figure = page.locator(".js-plotly-plot").first
    assert figure.evaluate("figure => getComputedStyle(figure).filter") == "none"
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    assert figure.evaluate("figure => getComputedStyle(figure).filter") == "invert(1) hue-rotate(180deg)"
    page.evaluate("document.body.dataset.jpThemeLight = 'true'")
    page.set_viewport_size({"width": 1300, "height": 1750})


def test_a_click_on_an_arc_restores_its_skip_and_the_accuracy_answers(page):
    press(page, "Latest")
    drawing = page.locator(".van-network-drawing").first
    expect(drawing).to_have_attribute("aria-label", re.compile("step 390 of"))
    accuracy = page.locator(".van-score-value").first.text_content()
    page.locator(".van-network .field").nth(20).click(position={"x": 17, "y": 12})
    expect(drawing).to_have_attribute("aria-label", re.compile(": 1 of 40 skips left"))
    status(
        page,
        r"By hand: skip of layer 21 set to 1\.00 at step 390\. Test accuracy 0\.\d+ before, 0\.\d+ now\.",
    )
    assert arcs(page)[20] == 1.0
    page.keyboard.press("Enter")  # the layer is still chosen
    expect(drawing).to_have_attribute("aria-label", re.compile(": 0 of 40 skips left"))
    expect(page.locator(".van-score-value").first).to_have_text(accuracy)


def test_after_a_reload_the_panel_shows_what_it_showed(page):
    before = multipliers(page)
    page.get_by_role("button", name=re.compile("^Save and create checkpoint")).click()
    page.wait_for_timeout(2000)
    page.goto(page.url.partition("?")[0])
    expect(page.locator(".van-network .arc").first).to_be_attached(timeout=60_000)
    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_attached(timeout=60_000)
    assert multipliers(page) == before
    assert max(before) > 0
    assert len(page.locator(".js-plotly-plot").evaluate("chart => chart._fullData[1].x")) > 40
    expect(page.locator(".van-lost")).not_to_be_visible()


def test_reset_puts_the_run_away(page):
    press(page, "Reset")
    status(page, "^Choose, then press Train")
    drawing = page.locator(".van-network-drawing").first
    expect(drawing).to_have_attribute("aria-label", re.compile("at step 0 of"))


def test_a_cell_that_is_run_again_ends_the_old_training_and_a_restart_says_what_to_do(page):
    press(page, "Train")
    status(page, "^Training. Step")
    run_all(page)
    status(page, "^Choose, then press Train")
    expect(page.locator(".van-panel")).to_have_count(1)
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_role("menuitem", name=re.compile("^Restart Kernel…")).click()  # its shortcut follows
    page.locator(".jp-Dialog .jp-mod-accept").click()
    expect(page.locator(".van-lost")).to_be_visible(timeout=60_000)
    expect(page.locator(".van-lost")).to_contain_text("run the cell again")
    run_all(page)
    status(page, "^Choose, then press Train")
    expect(page.locator(".van-lost")).not_to_be_visible()


def run_all(page):
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def test_no_request_of_the_playground_leaves_the_machine(page, lab):
    outside = [url for url in page.requested if not url.startswith((lab, "data:", "blob:"))]
    assert outside == []
    assert_no_error(page)
