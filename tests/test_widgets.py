"""The panel without a browser: set, press, and look at what the figure holds."""

import threading
import time

import plotly.graph_objects as go
import pytest

from van_tutorial import widgets


@pytest.fixture
def panel(few_images):
    made = widgets.phase_out_panel(few_images, depth=3, width=8, num_epochs=4, dual_lr=0.5)
    yield made
    made.close()


def test_train_fills_the_figure_and_says_that_the_skips_are_gone(panel):
    panel.train.click()
    panel.wait(60)
    heat_map, test, training = panel.figure.data
    steps = 16
    assert list(heat_map.x)[-1] == steps
    assert len(heat_map.z) == 3  # a row for each layer
    assert [row[-1] for row in heat_map.z] == [0.0, 0.0, 0.0]
    assert list(test.x) == list(training.x)
    assert all(0.0 <= value <= 1.0 for value in test.y)
    assert f"Step {steps} of {steps}: 0 of 3 skips left" in panel.status.value
    assert "All gone since step" in panel.status.value
    assert (panel.train.disabled, panel.stop.disabled) == (False, True)


def test_depth_and_multiplier_step_size_reach_the_run(panel):
    panel.depth.value, panel.dual_lr.value = 5, 0.01
    panel.train.click()
    panel.wait(60)
    trainer = panel.state.trainer
    assert trainer.model.config.depth == 5
    assert trainer.config.dual_lr == pytest.approx(0.01)


def test_a_number_box_and_its_slider_move_together(panel):
    depth_row, dual_lr_row = panel.view.children[:2]
    depth_row.children[1].value = 7
    dual_lr_row.children[1].value = 0.1
    assert (panel.depth.value, panel.dual_lr.value) == (7, pytest.approx(0.1))


def test_stop_ends_a_long_run_soon_and_keeps_what_is_there(few_images):
    panel = widgets.phase_out_panel(few_images, depth=20, num_epochs=500)
    panel.train.click()
    while panel.state.trainer is None or not panel.state.trainer.records:
        time.sleep(0.01)
    assert panel.train.disabled
    panel.stop.click()
    pressed = time.monotonic()
    panel.wait(10)
    assert time.monotonic() - pressed < 5  # it had minutes to go
    assert panel.status.value.startswith("Stopped. Step ")
    assert len(panel.figure.data[0].x) == len(panel.state.trainer.records)
    panel.close()


def test_a_second_press_while_a_run_goes_on_starts_no_second_run(few_images):
    panel = widgets.phase_out_panel(few_images, depth=20, num_epochs=500)
    panel.train.click()
    first = panel.state
    panel.train.click()
    assert panel.state is first
    panel.close()


def test_close_leaves_no_thread_behind(few_images):
    before = threading.active_count()
    panel = widgets.phase_out_panel(few_images, depth=10, num_epochs=500)
    panel.train.click()
    panel.close()
    assert threading.active_count() == before


def test_an_error_in_a_run_is_shown_and_raised_on_request(few_images):
    panel = widgets.phase_out_panel(few_images, depth=3, width=-1, num_epochs=4, dual_lr=0.5)
    panel.train.click()
    with pytest.raises(ValueError, match="width"):
        panel.wait(30)
    assert "Not trained" in panel.status.value
    assert not panel.train.disabled
    panel.close()


def test_every_control_has_a_label_and_a_tooltip(panel):
    for control in (panel.depth, panel.dual_lr, panel.train, panel.stop):
        assert control.description
        assert control.tooltip


def test_without_a_hand_to_press_it_the_same_call_gives_a_plain_figure(few_images):
    fig = widgets.phase_out_panel(few_images, depth=3, width=8, num_epochs=2, interactive=False)
    assert type(fig) is go.Figure
    assert len(fig.data[0].z) == 3
    assert "0 of 3 skips left" in fig.layout.title.text
