"""The panel without a browser: set, press, and look at what the figure holds."""

import threading
import time

import plotly.graph_objects as go
import pytest

from tests.pressing import press_when
from van_tutorial import plots, widgets


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


def test_a_press_that_comes_while_a_run_ends_begins_the_next(panel):
    press = press_when(panel.train, "disabled", lambda is_disabled: not is_disabled, panel.train)
    panel.train.click()
    first = panel.state
    panel.wait(60)
    press()
    panel.wait(60)
    assert panel.state is not first
    assert panel.state.trainer.step == panel.state.trainer.num_steps


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


def test_a_convolutional_network_is_trained_by_the_same_panel(few_images):
    panel = widgets.phase_out_panel(few_images, depth=8, width=2, num_epochs=2, dual_lr=0.5, kind="convnet")
    assert (panel.depth.min, panel.depth.max, panel.depth.step) == (8, 56, 6)
    panel.train.click()
    panel.wait(60)
    assert len(panel.figure.data[0].z) == 3  # a row for each block
    assert "0 of 3 skips left" in panel.status.value
    panel.depth.value = 9  # typed into the box
    panel.train.click()
    with pytest.raises(ValueError, match="the nearest is 8"):
        panel.wait(30)
    assert "Not trained" in panel.status.value
    panel.close()
    with pytest.raises(ValueError, match="kind must be one of 'mlp', 'convnet'"):
        widgets.phase_out_panel(few_images, kind="transformer")


def test_where_nothing_can_show_the_controls_a_panel_says_what_to_do(panel):
    shown = panel._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in shown
    assert "pip install ipywidgets anywidget" in shown["text/plain"]
    assert "IntSlider" not in shown["text/plain"]


def test_without_a_hand_to_press_it_the_same_call_gives_a_plain_figure(few_images):
    fig = widgets.phase_out_panel(few_images, depth=3, width=8, num_epochs=2, interactive=False)
    assert type(fig) is go.Figure
    assert len(fig.data[0].z) == 3
    assert "0 of 3 skips left" in fig.layout.title.text


# Any computation by button.


def line(slope, shape):
    if slope < 0:
        raise ValueError("slope must be at least 0 <here>")
    return plots.finish(go.Figure(go.Scatter(y=[0.0, slope], name=shape)), "Line", f"slope {slope}", "x", "y")


CONTROLS = (
    widgets.Slider("slope", "slope (units)", 1.0, -1.0, 3.0, "How steep the line is"),
    widgets.Choice("shape", "shape", "plain", ("plain", "fancy"), "What it is called"),
)


@pytest.fixture
def explore():
    made = widgets.explore_panel(line, CONTROLS, label="Draw")
    yield made
    made.close()


def test_an_explore_panel_starts_with_a_figure_and_draws_anew_when_pressed(explore):
    assert list(explore.figure.data[0].y) == [0.0, 1.0]
    explore.slope.value, explore.shape.value = 2.5, "fancy"
    assert list(explore.figure.data[0].y) == [0.0, 1.0]  # not before the button
    explore.show.click()
    assert list(explore.figure.data[0].y) == [0.0, 2.5]
    assert explore.figure.data[0].name == "fancy"
    assert "slope 2.5" in explore.figure.layout.title.text
    assert "Shown: slope (units): 2.5, shape: fancy" in explore.status.value
    assert not explore.show.disabled


def test_an_error_in_a_computation_is_shown_as_text_and_leaves_the_figure(explore):
    explore.slope.value = -1.0
    explore.show.click()
    assert "Not shown" in explore.status.value
    assert "&lt;here&gt;" in explore.status.value
    assert isinstance(explore.error, ValueError)
    assert list(explore.figure.data[0].y) == [0.0, 1.0]
    assert not explore.show.disabled
    explore.slope.value = 0.5
    explore.show.click()
    assert explore.error is None


def test_number_boxes_follow_their_sliders_in_whole_broken_and_logarithmic_steps():
    controls = (
        widgets.Slider("count", "count", 3, 1, 9, "Whole"),
        widgets.Slider("share", "share", 0.5, 0.0, 1.0, "Broken"),
        widgets.Slider("rate", "rate", 1e-3, 1e-5, 1.0, "Logarithmic", is_log=True),
    )
    panel = widgets.explore_panel(lambda count, share, rate: go.Figure(), controls)
    boxes = [row.children[1] for row in panel.view.children[:3]]
    for box, value in zip(boxes, (7, 0.25, 1e-2), strict=True):
        box.value = value
    assert panel.settings == {"count": 7, "share": 0.25, "rate": pytest.approx(1e-2)}
    for name in ("count", "share", "rate"):
        assert getattr(panel, name).description
        assert getattr(panel, name).tooltip
    panel.close()


def test_a_name_that_is_no_control_is_said_to_be_none(explore):
    with pytest.raises(AttributeError, match="ExplorePanel has no control or attribute 'speed'"):
        _ = explore.speed


def test_without_a_hand_to_press_it_an_explore_panel_is_its_first_figure():
    fig = widgets.explore_panel(line, CONTROLS, interactive=False)
    assert type(fig) is go.Figure
    assert list(fig.data[0].y) == [0.0, 1.0]


# Networks of any depth by button.


def test_the_degradation_panel_collects_the_runs_by_depth(few_images):
    panel = widgets.degradation_panel(few_images, depth=2, width=8, num_epochs=2)
    for depth, connection in ((2, "plain"), (4, "plain"), (3, "residual")):
        panel.depth.value, panel.connection.value = depth, connection
        panel.train.click()
        panel.wait(60)
    this_run, _, plain, residual = panel.figure.data
    assert list(this_run.x) == [1.0, 2.0]
    assert list(plain.x) == [2, 4]
    assert list(residual.x) == [3]
    assert residual.y[0] == this_run.y[-1]
    assert "Epoch 2 of 2, residual, depth 3" in panel.status.value
    panel.close()


def test_a_finished_run_is_collected_once_however_fast_it_is_drawn(few_images, monkeypatch):
    monkeypatch.setattr("van_tutorial.widgets.training.REDRAW_SECONDS", 0.0)
    panel = widgets.degradation_panel(few_images, depth=3, width=8, num_epochs=2)
    for _ in range(2):
        panel.train.click()
        panel.wait(60)
    assert list(panel.figure.data[2].x) == [3, 3]
    panel.close()


def test_close_leaves_no_control_behind(few_images):
    panel = widgets.explore_panel(line, CONTROLS)
    controls = [panel.slope, panel.shape, panel.show, panel.status, panel.figure, panel.slope.layout]
    panel.close()
    assert all(control.comm is None for control in controls)


def test_a_run_that_was_stopped_does_not_join_the_others(few_images):
    panel = widgets.degradation_panel(few_images, depth=20, num_epochs=500)
    panel.train.click()
    while panel.state.trainer is None or not panel.state.trainer.records:
        time.sleep(0.01)
    panel.stop.click()
    panel.wait(20)
    assert panel.status.value.startswith("Stopped. Epoch ")
    assert [len(trace.x) for trace in panel.figure.data[2:]] == [0, 0]
    panel.close()


def test_without_a_hand_to_press_it_the_degradation_panel_is_a_figure_of_two_runs(few_images):
    fig = widgets.degradation_panel(few_images, depth=2, width=8, num_epochs=1, interactive=False)
    assert type(fig) is go.Figure
    assert [len(trace.x) for trace in fig.data[2:]] == [1, 1]
    assert "plain, depth 2" in fig.layout.title.text


@pytest.mark.parametrize(
    ("removed", "remover", "num_rows", "who"),
    [
        ("skips", "multipliers", 4, "All gone since"),
        ("skips", "linear", 4, "removed by the schedule"),
        ("every second activation", "cosine", 2, "removed by the schedule"),
        ("activations", "penalty", 4, "left, at"),
    ],
)
def test_what_goes_and_who_takes_it_reach_the_run(few_images, removed, remover, num_rows, who):
    panel = widgets.removal_panel(few_images, depth=4, width=8, num_epochs=16)
    panel.removed.value, panel.remover.value, panel.skip_penalty.value = removed, remover, 0.5
    panel.train.click()
    panel.wait(60)
    trainer, heat_map = panel.state.trainer, panel.figure.data[0]
    assert (trainer.config.skip_schedule, trainer.config.skip_target) == (remover, float(removed != "skips"))
    assert remover != "penalty" or trainer.config.skip_penalty == pytest.approx(0.5)
    left = (trainer.records[-1].skip_weights - trainer.config.skip_target).abs().tolist()
    assert [row[-1] for row in heat_map.z] == left
    assert len(left) == num_rows
    assert all(first > 0.5 for first, *_ in heat_map.z) or remover == "penalty"
    assert who in panel.status.value
    panel.close()


def test_the_removal_panel_is_a_plain_figure_where_nobody_can_press(few_images):
    fig = widgets.removal_panel(few_images, depth=4, width=8, num_epochs=2, interactive=False)
    assert type(fig) is go.Figure
    assert [row[-1] for row in fig.data[0].z] == [0.0, 0.0]
    assert "0 of 2 left" in fig.layout.title.text
