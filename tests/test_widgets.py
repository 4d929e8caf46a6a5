"""The panel without a browser: set, press, and look at what the figure holds."""

import threading
import time
from types import SimpleNamespace

import ipywidgets
import nbformat
import plotly.graph_objects as go
import pytest
from nbclient import NotebookClient

from tests.pressing import press_when
from van_tutorial import data, plots, widgets
from van_tutorial.widgets.controls import CONTROLS

LONG = {"depth": 20, "num_epochs": 500}


@pytest.fixture
def panel(few_images):
    made = widgets.training_panel(few_images, depth=3, width=8, num_epochs=4, dual_lr=0.5)
    yield made
    made.close()


def words_in_empty_charts(fig):
    return [note.text for note in fig.layout.annotations if note.name and note.visible is not False]


def test_train_fills_the_figure_and_says_that_the_skips_are_removed(panel):
    assert words_in_empty_charts(panel.figure) == [
        "Here: the curves of a run. Press <b>Train</b>.",
        "Here: what is left, layer by layer",
    ]
    panel.train.click()
    panel.wait(60)
    assert words_in_empty_charts(panel.figure) == []
    training, test, heat_map = panel.figure.data
    steps = 16
    assert list(heat_map.x)[-1] == steps
    assert len(heat_map.z) == 3  # a row for each layer
    assert [row[-1] for row in heat_map.z] == [0.0, 0.0, 0.0]
    assert list(test.x) == list(training.x)
    assert all(0.0 <= value <= 1.0 for value in test.y)
    assert panel.status.value.startswith(
        f"Finished. Step {steps} of {steps}: 0 of 3 skips left, 0.00 on average"
    )
    assert "All removed since step" in panel.status.value
    assert (panel.train.disabled, panel.stop.disabled) == (False, True)


def test_depth_and_dual_learning_rate_reach_the_run(panel):
    panel.depth.value, panel.dual_lr.value = 5, 0.01
    panel.train.click()
    panel.wait(60)
    trainer = panel.state.trainer
    assert trainer.model.config.depth == 5
    assert trainer.config.dual_lr == pytest.approx(0.01)


def test_the_number_beside_a_slider_can_be_typed_over(panel):
    for slider, text in ((panel.depth, "d"), (panel.dual_lr, ".4")):
        assert slider.readout
        assert slider.readout_format == text


def test_stop_ends_a_long_run_soon_and_keeps_what_is_there(few_images):
    panel = widgets.training_panel(few_images, **LONG)
    panel.train.click()
    while panel.state.trainer is None or not panel.state.trainer.records:
        time.sleep(0.01)
    assert panel.train.disabled
    panel.stop.click()
    pressed = time.monotonic()
    panel.wait(10)
    assert time.monotonic() - pressed < 5  # it had minutes to go
    assert panel.status.value.startswith("Stopped. Step ")
    assert len(panel.figure.data[2].x) == len(panel.state.trainer.records)
    panel.close()


def test_a_second_press_while_a_run_goes_on_starts_no_second_run(few_images):
    panel = widgets.training_panel(few_images, **LONG)
    panel.train.click()
    while panel.state.trainer is None:
        time.sleep(0.01)
    first = panel.state.trainer
    panel.train.click()
    assert panel.state.trainer is first
    panel.close()


def test_a_press_that_comes_while_a_run_ends_begins_the_next(panel):
    press = press_when(panel.train, "disabled", lambda is_disabled: not is_disabled, panel.train)
    panel.train.click()
    panel.wait(60)
    first = panel.state.trainer
    press()
    panel.wait(60)
    assert panel.state.trainer is not first
    assert panel.state.trainer.step == panel.state.trainer.num_steps


def test_close_leaves_no_thread_behind(few_images):
    before = threading.active_count()
    panel = widgets.training_panel(few_images, **LONG)
    panel.train.click()
    panel.close()
    assert threading.active_count() == before


def test_an_error_in_a_run_is_shown_and_raised_on_request(few_images):
    panel = widgets.training_panel(few_images, depth=3, width=-1, num_epochs=4, dual_lr=0.5)
    panel.train.click()
    with pytest.raises(ValueError, match="width"):
        panel.wait(30)
    assert panel.status.value.startswith("<b>The run ended:</b> width")
    assert not panel.train.disabled
    panel.close()


def test_every_control_has_a_label_and_a_tooltip(panel):
    for control in (panel.depth, panel.dual_lr, panel.train, panel.stop):
        assert control.description
        assert control.tooltip


def test_a_convolutional_network_is_trained_by_the_same_panel(few_images):
    depth = widgets.Slider("depth", "depth (layers)", 8, 8, 56, "6 n + 2", step=6)
    panel = widgets.training_panel(
        few_images, (depth, "dual_lr"), width=2, num_epochs=2, dual_lr=0.5, kind="convnet"
    )
    assert (panel.depth.min, panel.depth.max, panel.depth.step) == (8, 56, 6)
    panel.train.click()
    panel.wait(60)
    assert len(panel.figure.data[2].z) == 3  # a row for each block
    assert "0 of 3 skips left" in panel.status.value
    panel.depth.value = 9  # typed over the number
    panel.train.click()
    with pytest.raises(ValueError, match="the nearest is 8"):
        panel.wait(30)
    assert panel.status.value.startswith("<b>The run ended:</b>")
    panel.close()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "transformer"}, "kind must be one of 'mlp', 'convnet'"),
        ({"dept": 3}, "Did you mean 'depth'"),
        ({"removed": "weights"}, "removed must be one of"),
        ({"dual_lr": 0.0, "controls": ("dual_lr",)}, "dual_lr must be a number above 0"),
    ],
)
def test_a_setting_that_a_panel_cannot_have_is_refused_in_a_sentence(few_images, wrong, message):
    with pytest.raises(ValueError, match=message):
        widgets.training_panel(few_images, **{"depth": 2, "num_epochs": 1, **wrong})


def test_a_slider_reaches_to_the_value_that_a_lesson_gives_it(few_images):
    panel = widgets.training_panel(few_images, ("depth", "seed"), depth=3, seed=123_456)
    assert (panel.seed.value, panel.seed.max) == (123_456, 123_456)
    panel.close()


def test_fewer_training_images_than_a_batch_are_refused_in_a_sentence(few_images):
    arrays = [few_images.train_images[:127], few_images.train_labels[:127], *few_images_test(few_images)]
    few = data.from_arrays(*(array.numpy() for array in arrays))
    for make in (widgets.training_panel, widgets.Playground, widgets.playground_panel):
        with pytest.raises(ValueError, match="batches of 128 images, and there are 127 training images"):
            make(few, depth=2, width=4)


def few_images_test(images):
    return images.test_images[:50], images.test_labels[:50]


def test_where_nothing_can_show_the_controls_a_panel_says_what_to_do(panel):
    shown = panel._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in shown
    assert "pip install ipywidgets anywidget" in shown["text/plain"]
    assert "IntSlider" not in shown["text/plain"]


def test_without_a_hand_to_press_it_the_same_call_gives_a_plain_figure(few_images):
    fig = widgets.training_panel(few_images, depth=3, width=8, num_epochs=2, interactive=False)
    assert type(fig) is go.Figure
    assert len(fig.data[2].z) == 3
    assert "0 of 3 skips left" in fig.layout.title.text


# Any computation by button.


def line(slope, shape):
    if slope < 0:
        raise ValueError("slope must be at least 0 <here>")
    return plots.finish(go.Figure(go.Scatter(y=[0.0, slope], name=shape)), "Line", f"slope {slope}", "x", "y")


CONTROLS_OF_A_LINE = (
    widgets.Slider("slope", "slope (units)", 1.0, -1.0, 3.0, "How steep the line is"),
    widgets.Choice("shape", "shape", "plain", ("plain", "fancy"), "What it is called"),
)


@pytest.fixture
def explore():
    made = widgets.explore_panel(line, CONTROLS_OF_A_LINE, label="Draw")
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
    assert explore.status.value.startswith("<b>Not done:</b>")
    assert "&lt;here&gt;" in explore.status.value
    assert isinstance(explore.error, ValueError)
    assert list(explore.figure.data[0].y) == [0.0, 1.0]
    assert not explore.show.disabled
    explore.slope.value = 0.5
    explore.show.click()
    assert explore.error is None


def test_sliders_move_in_integers_fractions_and_powers_of_ten():
    controls = (
        widgets.Slider("count", "count", 3, 1, 9, "Integers"),
        widgets.Slider("fraction", "fraction", 0.5, 0.0, 1.0, "A hundredth of the range"),
        widgets.Slider("rate", "rate", 1e-3, 1e-5, 1.0, "Logarithmic", is_log=True),
    )
    panel = widgets.explore_panel(lambda count, fraction, rate: go.Figure(), controls)
    panel.count.value, panel.fraction.value, panel.rate.value = 7, 0.25, 1e-2
    assert panel.settings == {"count": 7, "fraction": 0.25, "rate": pytest.approx(1e-2)}
    assert (panel.fraction.step, panel.rate.min, panel.rate.max) == (0.01, -5, 0)
    panel.count.value = 12
    assert panel.count.value == 9
    for name in ("count", "fraction", "rate"):
        assert getattr(panel, name).description
        assert getattr(panel, name).tooltip
    panel.close()


def test_a_name_that_is_no_control_is_said_to_be_none(explore):
    with pytest.raises(AttributeError, match="ExplorePanel has no control or attribute 'speed'"):
        _ = explore.speed


def test_without_a_hand_to_press_it_an_explore_panel_is_its_first_figure():
    fig = widgets.explore_panel(line, CONTROLS_OF_A_LINE, interactive=False)
    assert type(fig) is go.Figure
    assert list(fig.data[0].y) == [0.0, 1.0]


# Any network by button.


CONNECTION = widgets.Choice(
    "connection", "connection", "plain", ("plain", "residual"), "With skips or without"
)


def test_where_the_connection_is_chosen_the_figure_collects_the_runs_by_depth(few_images):
    panel = widgets.training_panel(few_images, ("depth", CONNECTION), depth=2, width=8, num_epochs=2)
    for depth, connection in ((2, "plain"), (4, "plain"), (3, "residual")):
        panel.depth.value, panel.connection.value = depth, connection
        panel.train.click()
        panel.wait(60)
    this_run, _, plain, residual = panel.figure.data
    assert list(this_run.x)[-1] == 8
    assert list(plain.x) == [2, 4]
    assert list(residual.x) == [3]
    assert residual.y[0] == this_run.y[-1]
    assert panel.status.value.startswith("Finished. Step 8 of 8: residual, depth 3, accuracy")
    panel.close()


def test_a_finished_run_is_collected_once_however_fast_it_is_drawn(few_images, monkeypatch):
    monkeypatch.setattr("van_tutorial.widgets.run.REDRAW_SECONDS", 0.0)
    panel = widgets.training_panel(few_images, ("depth", CONNECTION), depth=3, width=8, num_epochs=2)
    for _ in range(2):
        panel.train.click()
        panel.wait(60)
    assert list(panel.figure.data[2].x) == [3, 3]
    panel.close()


def test_close_leaves_no_control_behind(few_images):
    panel = widgets.explore_panel(line, CONTROLS_OF_A_LINE)
    controls = [panel.slope, panel.shape, panel.show, panel.status, panel.figure, panel.slope.layout]
    panel.close()
    assert all(control.comm is None for control in controls)


def test_a_run_that_was_stopped_does_not_join_the_others(few_images):
    panel = widgets.training_panel(few_images, ("depth", CONNECTION), **LONG)
    panel.train.click()
    while panel.state.trainer is None or not panel.state.trainer.records:
        time.sleep(0.01)
    panel.stop.click()
    panel.wait(20)
    assert panel.status.value.startswith("Stopped. Step ")
    axes = panel.figure.layout
    assert axes.xaxis.range == (0, panel.state.trainer.num_steps)
    assert axes.xaxis2.range[1] >= panel.depth.max > 50  # a single run stands where it belongs
    assert [len(trace.x) for trace in panel.figure.data[2:]] == [0, 0]
    assert words_in_empty_charts(panel.figure) == ["Here: a point for each run that has ended"]
    panel.close()


def test_without_a_hand_to_press_it_every_connection_has_a_run(few_images):
    fig = widgets.training_panel(
        few_images, ("depth", CONNECTION), depth=2, width=8, num_epochs=1, interactive=False
    )
    assert type(fig) is go.Figure
    assert [len(trace.x) for trace in fig.data[2:]] == [1, 1]
    assert words_in_empty_charts(fig) == []
    assert "plain, depth 2" in fig.layout.title.text


@pytest.mark.parametrize(
    ("removed", "remover", "num_rows", "how"),
    [
        ("skips", "multipliers", 4, "All removed since"),
        ("skips", "linear", 4, "by the schedule"),
        ("every second activation", "cosine", 2, "by the schedule"),
        ("activations", "penalty", 4, "of 4 left, "),
    ],
)
def test_what_is_removed_and_how_reach_the_run(few_images, removed, remover, num_rows, how):
    names = ("removed", "remover", "depth", "skip_penalty")
    panel = widgets.training_panel(few_images, names, depth=4, width=8, num_epochs=16)
    panel.removed.value, panel.remover.value, panel.skip_penalty.value = removed, remover, 0.5
    panel.train.click()
    panel.wait(60)
    trainer, heat_map = panel.state.trainer, panel.figure.data[2]
    assert (trainer.config.skip_schedule, trainer.config.skip_target) == (remover, float(removed != "skips"))
    assert remover != "penalty" or trainer.config.skip_penalty == pytest.approx(0.5)
    left = (trainer.records[-1].skip_weights - trainer.config.skip_target).abs().tolist()
    assert [row[-1] for row in heat_map.z] == left
    assert len(left) == num_rows
    assert all(first > 0.5 for first, *_ in heat_map.z) or remover == "penalty"
    assert how in panel.status.value
    panel.close()


def test_removed_activations_are_drawn_as_what_is_left_of_them(few_images):
    fig = widgets.training_panel(
        few_images, depth=4, width=8, num_epochs=2, removed="every second activation", interactive=False
    )
    assert type(fig) is go.Figure
    assert [row[-1] for row in fig.data[2].z] == [0.0, 0.0]
    assert "0 of 2 left" in fig.layout.title.text
    assert fig.layout.annotations[1].text == "What is left, layer by layer"


# A cell that is run again.


def living():
    return set(ipywidgets.widgets.widget._instances)


def test_a_panel_replaces_the_one_that_its_line_has_made_before(few_images, tmp_path):
    makers = (
        lambda: widgets.training_panel(few_images, **LONG),
        lambda: widgets.Playground(few_images, folder=tmp_path, **LONG),
        lambda: widgets.explore_panel(line, CONTROLS_OF_A_LINE),
    )
    for make in makers:
        first = make()
        if hasattr(first, "state"):
            first.train.click()
        after_one = living()
        second = make()
        assert first.view.comm is None
        assert not hasattr(first, "state") or not first._thread.is_alive()
        assert second.view.comm is not None
        assert len(living()) == len(after_one)
        second.close()


def test_panels_of_one_run_of_a_cell_live_together_until_the_cell_is_run_again(few_images, monkeypatch):
    def run(cell, number):
        request = {"metadata": {"cellId": cell}, "header": {"msg_id": f"{cell} {number}"}}
        monkeypatch.setattr(
            "van_tutorial.widgets.panel.get_ipython", lambda: SimpleNamespace(get_parent=lambda: request)
        )
        return [widgets.explore_panel(line, CONTROLS_OF_A_LINE) for _ in range(2)]

    def are_open(panels):
        return [panel.view.comm is not None for panel in panels]

    first, other = run("a", 1), run("b", 1)
    assert are_open(first) == are_open(other) == [True, True]
    again = run("a", 2)
    assert (are_open(first), are_open(other), are_open(again)) == ([False] * 2, [True] * 2, [True] * 2)
    for panel in (*other, *again):
        panel.close()


def test_a_cell_that_is_run_again_and_again_leaves_no_panel_in_the_kernel():
    shown = "from van_tutorial import widgets; widgets.Playground(num_epochs=1)"
    counted = """\
import gc
gc.collect()
print(sum(type(each).__name__ == "Playground" for each in gc.get_objects()))"""
    cells = [nbformat.v4.new_code_cell(source) for source in (*[shown] * 6, counted)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120).execute()
    # IPython's _, __ and ___ are the latest three outputs
    assert notebook.cells[-1].outputs[0].text == "3\n"


def test_every_shared_control_says_what_it_is_for():
    for control in CONTROLS.values():
        assert control.label
        assert control.help
