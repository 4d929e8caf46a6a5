"""The playground: settings, recorded runs, charts and replays; then its panel without a browser."""

import json
import math
import re
import threading
import time
from dataclasses import asdict, replace
from types import SimpleNamespace

import ipywidgets
import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.pressing import press_when
from van_tutorial import connections, data, diagnostics, models, playground, training, widgets
from van_tutorial.playground import Recording, Settings
from van_tutorial.widgets import Replay
from van_tutorial.widgets.replay import get_plotlyjs

SMALL = {"depth": 3, "width": 8, "num_epochs": 4, "dual_lr": 50.0}
NUM_IMAGES = 512


def record(images, **chosen):
    """A whole run, without a panel."""
    return Recording.train(Settings(**{**SMALL, **chosen}), images)


@pytest.fixture(scope="module")
def run(few_images):
    return record(few_images)


@pytest.mark.parametrize(
    ("cap", "dual_lr", "who"),
    [("none", 200.0, "multipliers"), ("falling", 200.0, "multipliers"), ("falling", 1e-4, "falling bound")],
)
def test_the_outcome_says_who_removed_the_skips(few_images, cap, dual_lr, who):
    outcome = record(few_images, cap=cap, stagger=0.0, dual_lr=dual_lr).outcome
    assert re.search(rf"All removed since step \d+, by the {who}\b", outcome)
    assert ("cap" in outcome) == (who == "falling bound")


# Settings


@given(
    depth=st.integers(1, 100),
    width=st.integers(4, 256),
    connection=st.sampled_from(playground.CONNECTIONS),
    skip=st.sampled_from(sorted(connections.SKIPS)),
    skip_weight=st.floats(0, 1),
    dual_lr=st.none() | st.floats(0, 100),
    skip_lr=st.floats(0, 1),
    damping=st.floats(0, 10),
    stagger=st.floats(-0.95, 0.95),
    normalization=st.sampled_from(playground.NORMALIZATIONS),
    init=st.sampled_from(("he", "orthogonal")),
    num_epochs=st.integers(1, 1000),
    seed=st.integers(0, 10**9),
)
def test_settings_come_back_from_their_short_text_to_the_last_digit(**chosen):
    settings = Settings(**chosen)
    assert Settings.from_text(settings.to_text()) == settings


def test_the_short_text_holds_only_what_differs():
    assert Settings().to_text() == "defaults"
    assert Settings(depth=7, damping=0.5).to_text() == "depth=7 damping=0.5"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("depth", "name=value"),
        ("dept=3", "Did you mean 'depth'"),
        ("depth=x", "depth must be an integer"),
        ("skip_lr=x", "skip_lr must be a number"),
        ("depth=3000", r"depth must be a number in \[1, 100\]"),
        ("connection=vn", "Did you mean 'van'"),
        ("data=__import__('os')", "data must be one of"),
        ("init=looks-linear skip=activation", "looks-linear' comes with"),
    ],
)
def test_a_text_that_is_no_settings_is_refused_in_a_sentence(text, message):
    with pytest.raises(ValueError, match=message):
        Settings.from_text(text)


@pytest.mark.parametrize("connection", playground.CONNECTIONS)
@pytest.mark.parametrize("init", playground.INITS)
def test_every_connection_trains_from_every_initialization(few_images, connection, init):
    run = record(few_images, connection=connection, init=init, num_epochs=1)
    assert run.steps[-1] == run.num_steps
    assert 0.0 <= run.curves["test_accuracy"][-1] <= 1.0
    assert json.dumps(run.frame(-1))


def test_the_playgrounds_run_is_the_librarys(few_images):
    run = record(few_images)
    config = training.TrainConfig(num_epochs=4, dual_lr=50.0)
    model = models.mlp(depth=3, width=8, norm_shift=1.0, seed=0, in_features=784, num_classes=10)
    result = training.train(model, few_images, config)
    assert run.curves["test_accuracy"][-1] == result.test_accuracy
    assert run.layers["skip_weights"][-1] == result.layers["skip_weight"].tolist()[-3:]
    assert run.curves["test_loss"][-1] == result.history["test_loss"].iloc[-1]
    assert run.layers["grad_norms"][-1] == diagnostics.latest_weight_grad_norms(result.model).tolist()


def test_the_predicted_steps_are_those_at_which_the_skips_are_removed(images):
    settings = Settings(depth=8, num_epochs=10)
    trainer = settings.trainer(images)
    for _ in trainer:
        pass
    predicted = np.array(settings.predicted_steps(len(images.train_labels)))
    real = np.array(trainer.result().first_zero_steps)
    assert (np.abs(predicted - real) <= 0.25 * real).all()
    assert (np.diff(predicted) > 0).all()  # the input side first


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"connection": "residual"}, []),
        ({"dual_lr": 0.0}, [math.inf] * 3),
        ({"skip_lr": 0.0}, [math.inf] * 3),
        ({"skip_weight": 0.0}, [0.0] * 3),
        ({"dual_lr": 1e-3, "damping": 100.0}, [math.inf] * 3),
    ],
)
def test_what_is_never_removed_is_predicted_so(chosen, expected):
    assert Settings(**{**SMALL, **chosen}).predicted_steps(NUM_IMAGES) == expected


# Recorded runs


def test_a_single_test_image_has_no_correlation_of_gradients_and_stops_no_run(few_images):
    test = few_images.test_images[:1], few_images.test_labels[:1]
    images = data.from_arrays(few_images.train_images, few_images.train_labels, *test)
    run = record(images, num_epochs=1)
    assert run.steps[-1] == run.num_steps
    assert all(map(math.isnan, run.curves["gradient_correlation"]))
    assert "NaN" not in Replay(run).fragment()


def test_a_recording_begins_with_the_untrained_network(run):
    assert run.steps[0] == 0
    assert run.layers["skip_weights"][0] == [0.95] * 3
    assert run.layers["multipliers"][0] == [0.0] * 3
    assert math.isnan(run.curves["loss"][0])


def test_a_frame_has_what_the_drawing_needs_at_that_moment(run):
    first, last = run.frame(0), run.frame(len(run) - 1)
    assert (first["num_skips"], last["num_skips"]) == (3, 0)
    assert (first["grad_norm"], len(last["grad_norm"])) == (None, 3)
    assert last["skip"] == [0.0] * 3
    assert last["largest_multiplier"] == max(last["multiplier"]) > 0
    low, high = last["grad_norm_range"]
    assert all(low <= norm <= high for norm in last["grad_norm"])


def test_recording_leaves_the_gradients_of_the_training_alone(few_images):
    trainer = Settings(**SMALL).trainer(few_images)
    for _ in trainer.until(3):
        before = [parameter.grad.clone() for parameter in trainer.model.parameters()]
        Recording.begin(Settings(**SMALL), few_images).add(trainer)
        assert all(map(torch.equal, before, (p.grad for p in trainer.model.parameters())))
        assert trainer.model.training


def test_a_saved_run_opens_with_all_its_moments(run, tmp_path):
    run.save(tmp_path / "a" / "run.json")
    opened = Recording.open(tmp_path / "a" / "run.json")
    assert (opened.settings, opened.steps, opened.outcome) == (run.settings, run.steps, run.outcome)
    for name, values in run.curves.items():
        np.testing.assert_allclose(opened.curves[name], values, rtol=1e-5)
    for name, rows in run.layers.items():
        assert [len(row) for row in opened.layers[name]] == [len(row) for row in rows]
    np.testing.assert_allclose(opened.layers["grad_norms"][-1], run.layers["grad_norms"][-1], rtol=1e-5)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:100],
        lambda text: "[]",
        lambda text: text.replace("version 1", "version 9"),
        lambda text: text.replace('"depth": 3', '"depth": 4'),
        lambda text: text.replace('"depth": 3', '"depth": "os.system"'),
        lambda text: text.replace('"steps": [0, ', '"steps": ['),
        lambda text: text.replace('"test_loss"', '"other"'),
    ],
)
def test_a_damaged_run_is_refused_in_a_sentence(run, tmp_path, damage):
    path = tmp_path / "run.json"
    run.save(path)
    text = path.read_text()
    assert damage(text) != text
    path.write_text(damage(text))
    with pytest.raises(ValueError, match="is not a run that the playground has saved, or is damaged"):
        Recording.open(path)


def test_a_run_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        Recording.open(tmp_path / "none.json")


# Charts and replays


def test_the_charts_show_the_run_and_the_prediction_over_it(run):
    fig = playground.charts(run)
    assert fig.data[3].y[-1] == run.curves["test_accuracy"][-1]
    assert np.shape(fig.data[4].z) == (3, len(run))
    assert list(fig.data[5].x) == [step for step in run.predicted if step <= run.num_steps]
    assert list(fig.data[6].y) == run.layers["multipliers"][-1]


def test_what_a_frame_changes_is_all_that_differs_from_the_figure_at_that_moment(run, few_images):
    pinned = [record(few_images, depth=5, connection="residual", num_epochs=3)]
    changed = playground.charts(run, pinned)
    frame = playground.frames(run, pinned)[1]
    assert frame.name == "1"
    for new, place in zip(frame.data, frame.traces, strict=True):
        changed.data[place].y = np.asarray(new.y)
    changed.layout.shapes = frame.layout.shapes
    assert changed.to_json() == playground.charts(run, pinned, 1).to_json()


def test_the_figure_of_a_replay_has_a_slider_that_goes_to_every_frame(run):
    fig = Replay(run).figure
    (slider,) = fig.layout.sliders
    assert [step.label for step in slider.steps] == [str(step) for step in run.steps]
    assert [list(step.args[0]) for step in slider.steps] == [[frame.name] for frame in fig.frames]
    assert slider.active == len(run) - 1


def test_a_replay_is_one_page_that_asks_nothing_of_anybody(run, tmp_path):
    Replay(run, (run,)).save(tmp_path / "run.html")
    page = (tmp_path / "run.html").read_text()
    assert "default-src 'none'" in page
    assert "<code>depth=3 width=8 dual_lr=50.0 num_epochs=4</code>" in page
    ours = page.replace(get_plotlyjs(), "")
    assert not re.findall(r"""(?:src|href)=["'](?!#)|https?://(?!www\.w3\.org/2000/svg)""", ours)


def test_a_text_in_a_run_cannot_break_out_of_the_page(run):
    evil = "</script><script>alert(1)</script>"
    page = Replay(replace(run, outcome=evil)).page()
    assert evil not in page
    assert "&lt;/script&gt;" in page


def test_a_notebook_gets_the_figure_and_a_page_the_replay(run):
    bundle = Replay(run)._repr_mimebundle_()
    assert bundle["application/vnd.plotly.v1+json"]["data"]
    assert 'class="van-replay"' in bundle["text/html"]


# The panel


@pytest.fixture
def panel(few_images, tmp_path):
    made = widgets.Playground(few_images, folder=tmp_path / "kept", **SMALL)
    yield made
    made.close()


@pytest.fixture
def long_panel(few_images, tmp_path):
    """A panel whose run no test waits out."""
    made = widgets.Playground(few_images, folder=tmp_path / "kept", depth=10, num_epochs=500, dual_lr=1e-4)
    yield made
    made.close()


def train(panel):
    panel.train.click()
    panel.wait(60)


def wait_for_moments(panel, number):
    """Wait until so many moments more are recorded."""
    wanted = len(panel.state.run) + number
    for _ in range(2000):
        if len(panel.state.run) >= wanted:
            return
        time.sleep(0.01)
    pytest.fail("nothing was recorded")


def test_train_moves_the_arcs_and_fills_every_chart(panel):
    assert panel.drawing.frame["skip"] == [0.95] * 3
    train(panel)
    assert panel.drawing.frame["skip"] == [0.0] * 3
    assert panel.drawing.frame["step"] == panel.drawing.frame["num_steps"] == 16
    assert panel.status.value.startswith("Finished. Step 16 of 16, 0 of 3 skips left, test accuracy")
    assert "All removed since step" in panel.status.value
    for place, trace in enumerate(panel.figure.data):
        assert len(trace.x) > 0, place
    assert (panel.train.disabled, panel.pause.disabled, panel.stop.disabled) == (False, True, True)


def test_every_control_reaches_the_run(panel):
    values = {
        "depth": 4, "width": 6, "connection": "van", "skip": "additive", "skip_weight": 0.5, "dual_lr": 0.25,
        "stagger": -0.5, "normalization": "layer", "init": "orthogonal", "num_epochs": 1, "seed": 3,
        "data": data.MINI, "norm_shift": 0.5,
    }  # fmt: skip
    others = {"skip_lr": 0.01, "damping": 0.5, "cap": "none"}
    assert values.keys() | others.keys() == panel.settings.keys()
    panel.text.value = "dual_lr=1 skip_lr=0.01 damping=0.5 cap=none"
    panel.apply.click()
    for name, value in values.items():
        getattr(panel, name).value = value
    assert panel.settings == values | others | {"dual_lr": pytest.approx(0.25)}
    train(panel)
    network, config = panel.state.trainer.model.config, panel.state.trainer.config
    assert {name: getattr(network, name) for name in values if hasattr(network, name)} == {
        name: value for name, value in values.items() if hasattr(network, name)
    }
    assert (config.dual_lr, config.skip_lr, config.damping, config.stagger, config.seed) == (
        pytest.approx(0.25), pytest.approx(0.01), 0.5, -0.5, 3,
    )  # fmt: skip
    assert config.remove_by is None


def test_moving_a_control_before_a_run_redraws_the_network_and_the_prediction(panel):
    before = panel.predicted.value
    panel.depth.value, panel.skip_weight.value, panel.dual_lr.value = 6, 0.5, 5.0
    assert panel.drawing.frame["skip"] == [0.5] * 6
    assert panel.predicted.value != before
    panel.connection.value = "plain"
    assert panel.drawing.frame["skip"] == [0.0] * 6
    assert panel.predicted.value == "No skip weights: nothing to phase out."
    assert panel.skip.disabled
    for preset, words in (
        ("loss has no say", "Learning rates set these steps, not the loss."),
        ("loss decides", "That leaves out the loss, which decides here."),
    ):
        panel.presets[preset].click()
        assert words in panel.predicted.value
        assert panel.predicted.value.startswith("Predicted: ")


def test_what_to_try_is_asked_of_the_settings_that_are_chosen(panel):
    asked = [panel.task.value]
    for preset in ("fast", "100 layers"):
        panel.presets[preset].click()
        assert playground.PRESETS[preset][0] in panel.task.value
    panel.depth.value = 7  # of a choice of one's own no preset says what to try
    asked.append(panel.task.value)
    panel.presets["default"].click()
    asked.append(panel.task.value)
    assert len(set(asked)) == 1
    assert "click one: its skip is cut" in asked[0]
    panel.connection.value = "residual"
    assert "cut" not in panel.task.value  # nothing to click
    train(panel)
    assert panel.task.value.startswith("<b>Try</b>: press Train. Pin keeps the run")


def test_what_is_predicted_of_the_next_run_is_not_said_of_the_one_that_is_shown(panel):
    train(panel)
    assert (panel.predicted.description, panel.status.description) == ("", "")
    panel.presets["fast"].click()
    assert (panel.predicted.description, panel.status.description) == ("Next run:", "Shown run:")
    train(panel)
    assert (panel.predicted.description, panel.status.description) == ("", "")
    panel.skip_weight.value = 0.5
    assert panel.predicted.description == "Next run:"
    assert panel.predicted.value.startswith("Predicted: multipliers remove no skip in 16 steps; ")


def test_pause_holds_and_train_goes_on_as_if_nobody_had_paused(few_images, tmp_path):
    panel = widgets.Playground(few_images, folder=tmp_path, **{**SMALL, "num_epochs": 120})
    panel.train.click()
    wait_for_moments(panel, 2)
    panel.pause.click()
    panel.wait(10)
    held = panel.state.trainer.step
    assert panel.state.phase == "paused"
    assert panel.status.value.startswith(f"Paused. Step {held} of 480")
    assert panel.train.description == "Go on"
    assert panel.depth.disabled
    time.sleep(0.1)
    assert panel.state.trainer.step == held
    train(panel)
    assert panel.state.trainer.step == 480
    undisturbed = record(few_images, num_epochs=120)
    assert panel.state.run.curves["test_accuracy"][-1] == undisturbed.curves["test_accuracy"][-1]
    assert panel.state.run.layers["multipliers"][-1] == undisturbed.layers["multipliers"][-1]
    panel.close()


def test_step_does_one_step_from_the_start_and_from_a_pause(panel):
    for number in (1, 2, 3):
        panel.step.click()
        panel.wait(10)
        assert panel.state.trainer.step == number
        assert panel.state.phase == "paused"
    assert panel.state.run.steps == [0, 1, 2, 3]
    train(panel)
    assert panel.state.phase == "finished"


def test_stop_ends_a_run_and_keeps_it_and_the_next_train_begins_anew(long_panel):
    long_panel.train.click()
    wait_for_moments(long_panel, 2)
    long_panel.stop.click()
    long_panel.wait(10)
    stopped = long_panel.state.trainer.step
    assert long_panel.status.value.startswith(f"Stopped. Step {stopped} of 2000")
    assert long_panel.state.run.steps[-1] == stopped
    long_panel.num_epochs.value = 1
    train(long_panel)
    assert long_panel.state.run.steps[-1] == long_panel.state.run.num_steps == 4


def test_stop_ends_a_paused_run(long_panel):
    long_panel.step.click()
    long_panel.wait(10)
    long_panel.stop.click()
    assert long_panel.state.phase == "stopped"
    assert not long_panel.depth.disabled


def test_a_stop_that_comes_while_a_pause_takes_hold_leaves_every_control_free(long_panel):
    press = press_when(long_panel.train, "description", lambda text: text == "Go on", long_panel.stop)
    long_panel.step.click()
    long_panel.wait(10)
    press()
    assert long_panel.state.phase == "stopped"
    assert long_panel.status.value.startswith("Stopped.")
    assert not any(control.disabled for control in (long_panel.depth, long_panel.apply, long_panel.train))


def test_a_press_that_comes_while_a_pause_takes_hold_is_not_lost(long_panel):
    press = press_when(long_panel.status, "value", lambda text: text.startswith("Paused"), long_panel.step)
    long_panel.step.click()
    long_panel.wait(10)
    press()
    long_panel.wait(10)
    assert long_panel.state.trainer.step == 2


def test_a_run_that_is_opened_while_another_is_being_held_stays_as_it_was_saved(long_panel, run, tmp_path):
    run.save(tmp_path / "kept" / "run.json")
    long_panel._list_kept()
    long_panel.step.click()
    long_panel.wait(10)
    is_in, may_go_on = threading.Event(), threading.Event()
    long_panel.state.trainer.model.register_forward_pre_hook(lambda *_: is_in.set() or may_go_on.wait(10))
    long_panel.train.click()
    is_in.wait(10)
    threading.Timer(0.3, may_go_on.set).start()
    for button in (long_panel.pause, long_panel.stop, long_panel.open):
        button.click()
    long_panel.wait(10)
    assert long_panel.state.run.steps == run.steps
    assert long_panel.state.run.outcome == run.outcome
    assert long_panel.status.value.startswith("Opened.")


def test_an_error_in_the_drawing_ends_a_run_in_words_and_leaves_the_buttons_free(panel, monkeypatch):
    monkeypatch.setattr(playground, "redraw", lambda *_: 1 / 0)
    panel.train.click()
    with pytest.raises(ZeroDivisionError):
        panel.wait(10)
    assert panel.status.value.startswith("<b>The run ended:</b> division by zero")
    assert not any(widget.disabled for widget in (panel.train, panel.step, panel.reset, panel.depth))


def test_reset_puts_a_run_away_and_leaves_pinned_ones(panel):
    train(panel)
    panel.pin.click()
    panel.reset.click()
    assert panel.state.phase == "new"
    assert panel.drawing.frame["step"] == 0
    assert len(panel.state.run) == 1
    assert len(panel.state.pinned) == 1


def test_the_scrubber_takes_drawing_and_charts_back(panel):
    train(panel)
    panel.scrubber.value = 1
    step = panel.state.run.steps[1]
    assert panel.drawing.frame["step"] == step
    assert panel.drawing.frame["skip"] == panel.state.run.layers["skip_weights"][1]
    assert [shape.x0 for shape in panel.figure.layout.shapes] == [step] * 4
    assert list(panel.figure.data[6].y) == panel.state.run.layers["multipliers"][1]
    assert panel.moment.value == f"step {step} of 16"
    assert panel.status.value.startswith("Finished. Step 16 of 16")


def test_who_looks_at_an_earlier_moment_is_left_there_while_training_goes_on(long_panel):
    long_panel.train.click()
    wait_for_moments(long_panel, 4)
    long_panel.pause.click()
    long_panel.wait(10)
    long_panel.scrubber.value = 1
    shown = long_panel.drawing.frame
    long_panel.train.click()
    wait_for_moments(long_panel, 3)
    long_panel.stop.click()
    long_panel.wait(10)
    assert long_panel.scrubber.value == 1
    assert long_panel.scrubber.max == len(long_panel.state.run) - 1
    assert long_panel.drawing.frame["step"] == shown["step"]


def test_a_hand_on_the_scrubber_is_not_overruled_by_a_redraw_at_that_moment(long_panel):
    def put_back():
        long_panel.scrubber.value = 1

    for _ in range(3):
        long_panel.step.click()
        long_panel.wait(10)
    press = press_when(long_panel.scrubber, "max", bool, SimpleNamespace(click=put_back))
    long_panel.step.click()
    long_panel.wait(10)
    press()
    assert (long_panel.scrubber.value, long_panel.scrubber.max) == (1, 4)
    assert long_panel.drawing.frame["step"] == 1
    press = press_when(long_panel.play, "max", bool, long_panel.latest)
    long_panel.step.click()
    long_panel.wait(10)
    press()
    assert long_panel.scrubber.value == long_panel.scrubber.max == 5
    assert long_panel.drawing.frame["step"] == 5


def test_a_pinned_run_stays_beside_the_next_and_its_settings_come_back(panel):
    train(panel)
    panel.pin.click()
    first = panel.state.run
    panel.depth.value, panel.connection.value = 5, "residual"
    train(panel)
    assert panel.state.run is not first
    beside = panel.figure.data[playground.NUM_TRACES :]
    assert list(beside[1].y)[1:] == first.curves["test_accuracy"][1:]
    row = panel.pinned_rows[0]
    assert "depth=3" in row.children[0].value
    row.children[1].click()
    assert (panel.depth.value, panel.connection.value) == (3, "van")
    row.children[2].click()
    assert len(panel.figure.data) == playground.NUM_TRACES
    assert panel.state.pinned == []


def test_the_settings_of_a_pinned_run_wait_until_the_present_one_is_over(panel):
    train(panel)
    panel.pin.click()
    (_, restore, _) = panel.pinned_rows[0].children
    panel.step.click()
    panel.wait(10)
    assert restore.disabled
    panel.stop.click()
    assert not restore.disabled


def test_a_press_that_was_refused_during_a_run_is_not_told_as_its_end(panel, run, tmp_path):
    replace(run, settings=replace(run.settings, num_epochs=500)).save(tmp_path / "kept" / "elsewhere.json")
    panel._list_kept()
    panel.open.click()
    panel.pin.click()
    (_, restore, _) = panel.pinned_rows[0].children
    press = press_when(panel.scrubber, "max", bool, restore)
    panel.train.click()
    panel.wait(60)
    press()
    assert panel.state.phase == "finished"
    assert panel.status.value.startswith("Finished.")


def test_no_more_runs_are_pinned_than_there_are_looks_for(panel):
    train(panel)
    for number in range(1, 7):
        panel.state.run = replace(panel.state.run, outcome=f"run {number}")
        panel.pin.click()
        assert len(panel.state.pinned) == min(number, 5)
    assert panel.pin.disabled
    assert "unpin one first" in panel.status.value


def test_a_paused_run_that_is_pinned_stays_as_it_was(panel):
    panel.step.click()
    panel.wait(10)
    panel.pin.click()
    panel.pin.click()
    assert "pinned already" in panel.status.value
    train(panel)
    assert panel.state.pinned[0].steps == [0, 1]
    assert "Step 1 of 16" in panel.pinned_rows[0].children[0].value


def test_a_complaint_goes_when_its_cause_is_fixed(panel):
    train(panel)
    panel.text.value = "seed=-1"
    panel.apply.click()
    assert panel.status.value.startswith("<b>Not done")
    panel.text.value = "seed=1"
    panel.apply.click()
    assert panel.status.value.startswith("Finished. Step 16")


def test_numbers_that_are_not_finite_reach_the_drawing_as_none(run):
    norms = [[math.inf, 1.0, math.nan]] * len(run)
    frame = replace(run, layers={**run.layers, "grad_norms": norms}).frame(1)
    assert frame["grad_norm"] == [None, 1.0, None]
    assert frame["grad_norm_range"] == [1.0, 1.0]
    assert json.dumps(frame, allow_nan=False)


def test_a_network_that_is_made_beside_a_running_panel_has_the_weights_of_its_seed(long_panel):
    expected = models.mlp(depth=10, width=8, seed=5).head.weight
    long_panel.train.click()
    wait_for_moments(long_panel, 1)
    for _ in range(100):
        assert torch.equal(models.mlp(depth=10, width=8, seed=5).head.weight, expected)
    assert long_panel.state.phase == "running"


def test_latest_goes_to_the_last_moment(panel):
    train(panel)
    panel.scrubber.value = 0
    panel.latest.click()
    assert panel.drawing.frame["step"] == 16


def test_a_saved_run_is_opened_later_by_another_panel(panel, few_images, tmp_path):
    train(panel)
    panel.save.click()
    assert panel.status.value.startswith("Saved as ")
    other = widgets.Playground(few_images, folder=tmp_path / "kept", depth=7)
    assert len(other.kept.options) == 1
    other.open.click()
    assert other.depth.value == 3
    assert other.status.value.startswith("Opened. Step 16 of 16, 0 of 3 skips left")
    assert other.drawing.frame["skip"] == [0.0] * 3
    other.scrubber.value = 0
    assert other.drawing.frame["step"] == 0
    other.close()


def test_a_run_that_was_made_elsewhere_is_shown_though_its_settings_cannot_be_set_here(panel, run, tmp_path):
    elsewhere = replace(run, settings=replace(run.settings, num_epochs=500))
    elsewhere.save(tmp_path / "kept" / "elsewhere.json")
    panel._list_kept()
    panel.open.click()
    assert panel.status.value.startswith("Opened. Step 16 of 16")
    assert "Its settings cannot be set here: num_epochs must be" in panel.status.value
    assert panel.drawing.frame["step"] == 16
    assert panel.num_epochs.value == 4


def test_a_run_that_was_not_saved_is_kept_when_another_is_opened(panel, run, tmp_path):
    run.save(tmp_path / "kept" / "elsewhere.json")
    panel._list_kept("elsewhere")
    train(panel)
    mine = panel.state.run
    panel.open.click()
    assert panel.status.value.startswith("Opened.")
    assert "The run before was not saved: it is kept as " in panel.status.value
    (path,) = (path for path in (tmp_path / "kept").glob("*.json") if path.stem != "elsewhere")
    kept = Recording.open(path)
    assert (kept.settings, kept.steps, kept.outcome) == (mine.settings, mine.steps, mine.outcome)
    assert path.stem in panel.kept.options
    panel.open.click()
    assert "The run before" not in panel.status.value


def test_a_damaged_run_in_the_folder_is_refused_and_the_panel_goes_on(panel):
    train(panel)
    panel.save.click()
    next((panel._folder).glob("*.json")).write_text("{}")
    shown = panel.state.run
    panel.open.click()
    assert "is not a run that the playground has saved" in panel.status.value
    assert panel.state.run is shown


def test_an_exported_run_is_a_page_of_its_own(panel, tmp_path):
    train(panel)
    panel.pin.click()
    panel.export.click()
    assert "Exported: open" in panel.status.value
    (page,) = (tmp_path / "kept").glob("*.html")
    assert "VAN · 2" in page.read_text()


def test_a_folder_that_cannot_be_written_is_said_and_loses_nothing(few_images, tmp_path):
    (tmp_path / "file").write_text("")
    panel = widgets.Playground(few_images, folder=tmp_path / "file", **SMALL)
    train(panel)
    for press in (panel.save, panel.export):
        press.click()
        assert "could not be written" in panel.status.value
    assert len(panel.state.run) > 1
    panel.close()


def test_a_short_text_sets_every_control_or_none(panel):
    panel.text.value = "depth=9 damping=2 connection=residual"
    panel.apply.click()
    assert (panel.depth.value, panel.connection.value, panel.settings["damping"]) == (9, "residual", 2.0)
    assert panel.width.value == 32  # what the text does not name is as by default
    for text in ("depth=9 colour=red", "depth=20 dual_lr=0", "depth=20 damping=-1"):
        panel.text.value = text
        panel.apply.click()
        assert panel.status.value.startswith("<b>Not done:</b>"), text
        assert panel.depth.value == 9


def test_settings_that_do_not_go_together_are_said_before_a_run(panel):
    panel.init.value, panel.skip.value = "looks-linear", "activation"
    assert panel.status.value.startswith("<b>These do not go together:</b> init")
    panel.train.click()
    assert panel.status.value.startswith("<b>Not done:</b>")
    assert panel.state.phase == "new"
    panel.skip.value = "convex"
    train(panel)
    assert panel.state.phase == "finished"


def test_the_control_that_a_complaint_names_is_free(panel):
    panel.skip.value = "activation"
    panel.connection.value = "residual"
    assert panel.skip.disabled
    panel.init.value = "looks-linear"
    panel.connection.value = "van"
    assert panel.status.value.startswith("<b>These do not go together:</b> init")
    assert not panel.skip.disabled


def test_a_data_set_that_is_there_but_broken_is_said_and_leaves_the_finished_run_alone(few_images, tmp_path):
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"broken off")
    panel = widgets.Playground(few_images, folder=tmp_path / "kept", root=tmp_path, **SMALL)
    train(panel)
    outcome = panel.state.run.outcome
    panel.data.value = "cifar10"
    assert panel.status.value.startswith("<b>Not available:</b> The data file")
    panel.train.click()
    assert panel.status.value.startswith("<b>Not done:</b> The data file")
    assert panel.state.run.outcome == outcome
    panel.data.value = few_images.name
    train(panel)
    assert panel.state.phase == "finished"
    panel.close()


def test_a_run_whose_loss_is_not_finite_ends_in_words_and_keeps_its_moments(panel, monkeypatch):
    panel.step.click()
    panel.wait(10)
    with torch.no_grad():
        panel.state.trainer.model.head.weight.fill_(math.nan)
    panel.train.click()
    with pytest.raises(training.DivergenceError):
        panel.wait(10)
    assert panel.status.value.startswith("<b>The run ended:</b> The loss is nan in step 2")
    assert panel.state.run.steps == [0, 1]
    assert not panel.train.disabled
    panel.train.click()
    panel.wait(60)
    assert panel.state.phase == "finished"


def test_the_colour_of_a_layer_is_chosen(panel):
    panel.color.value = "multiplier"
    assert panel.drawing.color_by == "multiplier"


def test_runs_are_named_by_what_differs():
    runs = [
        Settings(),
        Settings(connection="residual", norm_shift=0.0),
        Settings(dual_lr=0.5, norm_shift=0.0),
    ]
    assert playground.names_of(runs) == [
        "VAN, BatchNorm bias 1",
        "residual",
        "VAN, dual lr 0.5",
    ]
    orders = [Settings(stagger=stagger) for stagger in (0.9, 0.0, -0.9, -0.5)]
    assert playground.names_of(orders) == [
        "VAN",
        "VAN, simultaneously",
        "VAN, from output to input",
        "VAN, from output to input (stagger -0.5)",
    ]
    others = [
        Settings(init="orthogonal", cap="none"),
        Settings(normalization="layer"),
        Settings(normalization="none"),
    ]
    assert playground.names_of(others) == [
        "VAN, no cap, BatchNorm bias 1, orthogonal weights",
        "VAN, LayerNorm, LayerNorm bias 1",
        "VAN, no normalization",
    ]
    assert playground.names_of([Settings(), Settings()]) == ["VAN", "VAN · 2"]


@pytest.mark.parametrize("name", playground.PRESETS)
def test_a_preset_sets_all_settings_and_leaves_the_next_choice_free(panel, name):
    panel.presets[name].click()
    assert panel.error is None
    wanted = replace(Settings(**{**SMALL, "data": data.MINI}), **playground.PRESETS[name][1])
    assert panel.settings == asdict(wanted)
    assert panel.auto.value == (wanted.dual_lr is None)


def test_auto_sizes_the_dual_learning_rate_anew_when_the_training_grows(few_images, tmp_path):
    panel = widgets.Playground(few_images, folder=tmp_path, depth=3, width=8, num_epochs=4)
    assert panel.auto.value
    before = panel.dual_lr.value
    panel.num_epochs.value = 40
    assert panel.dual_lr.value < before
    assert panel.text.value == "depth=3 width=8 num_epochs=40"
    panel.dual_lr.value = 0.5
    assert not panel.auto.value
    panel.num_epochs.value = 4
    assert panel.dual_lr.value == 0.5
    assert "dual_lr=0.5" in panel.text.value
    panel.auto.value = True
    assert panel.dual_lr.value == before
    panel.close()


def test_recorded_residual_and_plain_runs_stand_beside_a_run_of_their_size(images, few_images, tmp_path):
    run = Recording.begin(Settings(), images)
    beside = playground.beside(run)
    assert [there.settings.connection for there in beside] == ["plain", "residual", "plain"]
    names = [score["name"] for score in run.frame(0, beside)["scores"]]
    assert names == ["VAN, BatchNorm bias 1", "plain, BatchNorm bias 1", "residual", "plain"]
    assert playground.beside(Recording.begin(Settings(depth=41), images)) == []
    assert playground.beside(Recording.begin(Settings(), few_images)) == []
    panel = widgets.Playground(images, folder=tmp_path)
    shown = {trace.name for trace in panel.figure.data}
    assert set(names[1:]) <= shown
    panel.close()


def test_a_skip_that_is_set_by_hand_is_answered_by_the_accuracy_and_told_in_the_outcome(panel):
    press = panel.drawing._handle_custom_msg
    press({"layer": 1, "weight": 0.5}, [])
    assert "press Train or Step first" in panel.status.value
    train(panel)
    before, first = len(panel.state.run), panel.state.run.curves["test_accuracy"][-1]
    press({"layer": 1, "weight": 0.5}, [])
    assert len(panel.state.run) == before + 1
    assert panel.drawing.frame["skip"] == [0.0, 0.5, 0.0]
    model = panel.state.trainer.model
    test = panel._images(data.MINI)
    assert panel.state.run.curves["test_accuracy"][-1] == training.accuracy(
        model, test.test_images, test.test_labels
    )
    assert models.skip_weights(model).tolist() == [0.0, 0.5, 0.0]
    assert panel.status.value.startswith(
        f"Finished. By hand: skip of layer 2 set to 0.50 at step 16. Test accuracy {first:.3f} before, "
    )
    press({"layer": 1, "weight": 0.0}, [])
    assert panel.state.run.curves["test_accuracy"][-1] == panel.state.run.curves["test_accuracy"][before - 1]
    press({"layer": 1, "weight": 1.5}, [])
    assert panel.status.value.startswith("<b>Not done:</b> A skip weight must be a number in [0, 1]")


def test_a_skip_that_is_cut_while_the_network_trains_is_cut_between_two_steps(long_panel):
    long_panel.train.click()
    wait_for_moments(long_panel, 1)
    long_panel.drawing._handle_custom_msg({"layer": 3, "weight": 0.0}, [])
    wait_for_moments(long_panel, 3)
    long_panel.stop.click()
    long_panel.wait(10)
    assert long_panel.state.run.layers["skip_weights"][-1][3] < 0.5
    assert long_panel.state.run.by_hand[0].startswith("skip of layer 4 cut at step ")


def test_status_and_number_are_of_the_same_moment_whenever_the_drawing_moves_on(few_images, tmp_path):
    panel, seen = widgets.Playground(few_images, folder=tmp_path, **{**SMALL, "num_epochs": 40}), []
    panel.drawing.observe(lambda change: seen.append((panel.status.value, change["new"])), "frame")
    train(panel)
    moments = [(said, frame) for said, frame in seen if frame["step"] > 0]
    assert len(moments) > 1
    for said, frame in moments:
        assert f"Step {frame['step']} of" in said
        assert f"test accuracy {frame['scores'][0]['accuracy']:.3f}" in said
    panel.close()


def test_a_skip_that_was_cut_while_training_is_told_in_the_status(long_panel):
    long_panel.train.click()
    wait_for_moments(long_panel, 1)
    long_panel.drawing._handle_custom_msg({"layer": 3, "weight": 0.0}, [])
    for _ in range(2000):
        if "By hand" in long_panel.status.value:
            break
        time.sleep(0.01)
    assert re.search(
        r"^Training\. Step .* By hand: skip of layer 4 cut at step \d+\.$", long_panel.status.value
    )


def test_what_is_not_in_plain_sight_is_unfolded_by_a_button(panel):
    assert panel._folded.layout.display == "none"
    panel.more.click()
    assert panel._folded.layout.display == ""
    assert panel.more.description == "Fewer settings"


def test_a_page_that_asks_for_the_state_of_a_figure_gets_it_as_it_is_now(panel):
    train(panel)
    state = panel.figure.get_state()
    shown = state["_widget_data"][6]["y"]
    assert (
        np.frombuffer(shown["buffer"], shown["dtype"]).tolist() == panel.state.run.layers["multipliers"][-1]
    )
    assert state["_widget_layout"]["shapes"][0]["x0"] == 16


def test_one_wild_start_does_not_flatten_the_losses_of_the_others(run):
    wild = replace(run, curves={**run.curves, "loss": [1e6, *run.curves["loss"][1:]]})
    low, high = playground.charts(wild).layout.yaxis4.range
    assert (low, high < 20.0) == (0.0, True)


def test_two_panels_train_at_once_and_each_gets_its_own_numbers(few_images, tmp_path):
    chosen = {**SMALL, "num_epochs": 10}
    first = widgets.Playground(few_images, folder=tmp_path, **chosen, seed=0)
    second = widgets.Playground(few_images, folder=tmp_path, **chosen, seed=1)
    for panel in (first, second):
        panel.train.click()
    for panel in (first, second):
        panel.wait(60)
    alone = [record(few_images, num_epochs=10, seed=seed) for seed in (0, 1)]
    for panel, run in zip((first, second), alone, strict=True):
        assert panel.state.run.curves["test_accuracy"][1:] == run.curves["test_accuracy"][1:]
        panel.close()


def test_a_closed_panel_leaves_no_thread(long_panel):
    before = threading.active_count()
    long_panel.train.click()
    wait_for_moments(long_panel, 1)
    long_panel.close()
    assert threading.active_count() == before


def test_a_closed_panel_leaves_no_widget(few_images, tmp_path):
    before = set(ipywidgets.widgets.widget._instances)
    panel = widgets.Playground(few_images, folder=tmp_path / "kept", **SMALL)
    train(panel)
    panel.pin.click()
    panel.close()
    assert set(ipywidgets.widgets.widget._instances) <= before


def test_a_panel_loads_the_set_that_its_settings_name(tmp_path):
    panel = widgets.Playground(folder=tmp_path, depth=2, width=4, num_epochs=1)
    assert panel.data.value == data.MINI
    train(panel)
    assert panel.state.run.num_steps == 39
    panel.close()


def test_where_nobody_can_press_a_button_a_run_is_trained_and_replayed(few_images):
    replay = widgets.playground_panel(few_images, interactive=False, **SMALL)
    assert isinstance(replay.figure, go.Figure)
    assert replay.run.outcome.startswith("Step 16 of 16, 0 of 3 skips left")
