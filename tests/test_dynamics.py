"""The oscillator of skip weight and multiplier against simulation, and prices against finite differences."""

import itertools
import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn import functional

from tests.state import state_of
from van_tutorial import constraints, diagnostics, models, training

NUM_STEPS, SAME_LR = 1000, 5e-3
FOLLOW = pytest.mark.parametrize("follow", [constraints.predict_path, constraints.simulate_path])


def first_zero(path):
    """The first step at which a skip weight is 0 or below."""
    return int((path["skip_weight"] <= 0.0).argmax())


# The predicted path.


@pytest.mark.parametrize("is_projected", [True, False])
@pytest.mark.parametrize("slope", [0.3, -0.2])
@pytest.mark.parametrize(
    ("damping", "curvature"), [(0.0, 0.0), (1.0, 0.0), (0.0, 0.3), (0.5, 0.5), (5.0, 0.0)]
)
@pytest.mark.parametrize("start", [0.2, 0.95])
def test_the_predicted_path_is_the_one_that_the_librarys_steps_take(
    start, damping, curvature, slope, is_projected
):
    choices = {
        "num_steps": NUM_STEPS,
        "skip_weight": start,
        "slope": slope,
        "damping": damping,
        "curvature": curvature,
        "is_projected": is_projected,
        "skip_lr": SAME_LR,
        "dual_lr": SAME_LR,
    }
    predicted, simulated = constraints.predict_path(**choices), constraints.simulate_path(**choices)
    assert predicted.columns.tolist() == simulated.columns.tolist() == ["step", "skip_weight", "multiplier"]
    assert predicted["step"].tolist() == simulated["step"].tolist() == list(range(NUM_STEPS + 1))
    for path in (predicted, simulated):
        assert path.iloc[0].tolist() == pytest.approx([0.0, start, 0.0], abs=1e-12)
    for column in ("skip_weight", "multiplier"):  # steps are not quite time: to first order in their size
        assert (predicted[column] - simulated[column]).abs().max() < SAME_LR
    is_gone = [path["skip_weight"].iloc[-1] == 0.0 for path in (predicted, simulated)]
    assert is_gone == [is_projected and (damping < 5.0 or slope < 0.0)] * 2


@pytest.mark.parametrize("dual_lr", [1e-3, 3e-3])
@pytest.mark.parametrize("damping", [0.0, 0.2])
def test_a_skip_weight_that_waits_at_1_is_predicted_too(damping, dual_lr):
    choices = {"skip_weight": 0.95, "skip_lr": 0.01, "dual_lr": dual_lr, "slope": 0.5, "damping": damping}
    predicted, simulated = (f(1500, **choices) for f in (constraints.predict_path, constraints.simulate_path))
    num_waiting = [(path["skip_weight"] == 1.0).sum() for path in (predicted, simulated)]
    assert num_waiting[1] > 20
    assert num_waiting[0] == pytest.approx(num_waiting[1], abs=4)
    for column in ("skip_weight", "multiplier"):
        assert (predicted[column] - simulated[column]).abs().max() < 0.01
    assert simulated["skip_weight"].iloc[-1] == predicted["skip_weight"].iloc[-1] == 0.0


def test_a_skip_weight_that_no_multiplier_pulls_at_stays_where_the_loss_wants_it():
    path = constraints.predict_path(20_000, skip_lr=1e-2, dual_lr=0.0, slope=0.3, curvature=0.6)
    assert path["skip_weight"].iloc[-1] == pytest.approx(0.5)
    assert path["multiplier"].abs().max() < 1e-9
    climbing = constraints.predict_path(5000, skip_lr=1e-2, dual_lr=0.0, slope=0.3)
    assert climbing["skip_weight"].iloc[-1] == 1.0
    assert constraints.simulate_path(500, skip_lr=1e-2, dual_lr=0.0, slope=0.3)["skip_weight"].iloc[-1] == 1.0


@pytest.mark.parametrize(
    "parameters",
    [(0.5, 0.01, 0.01, 0.3), (0.95, 3e-3, 3e-4, 0.5), (0.95, 1e-3, 1e-3, 0.0), (0.9, 1e-3, 2e-3, -0.3)],
)
def test_the_predicted_path_reaches_0_at_the_predicted_removal_step_and_stays(parameters):
    removal_step = constraints.predict_removal_step(*parameters)
    path = constraints.predict_path(2 * math.ceil(removal_step), *parameters)
    # Where a path waits at 1 it begins to at a whole step.
    assert first_zero(path) == pytest.approx(math.ceil(removal_step), abs=2)
    assert (path["skip_weight"].iloc[first_zero(path) :] == 0.0).all()
    assert (path["multiplier"].iloc[first_zero(path) :] >= parameters[3]).all()


# Numbers of another script.
KNOWN = {"skip_weight": 0.5, "skip_lr": 0.01, "dual_lr": 0.01, "slope": 0.3}


@FOLLOW
def test_without_projection_the_skip_weight_swings_for_ever(follow):
    path = follow(6000, is_projected=False, **KNOWN)
    assert first_zero(path) == pytest.approx(211, abs=1)
    amplitude = path["skip_weight"].abs()
    assert amplitude.max() == pytest.approx(0.583, abs=2e-3)
    assert amplitude.iloc[-700:].max() == pytest.approx(0.583, abs=2e-3)  # a whole swing takes 628 steps


@FOLLOW
def test_a_smaller_dual_learning_rate_lets_it_swing_further_and_slower(follow):
    path = follow(2000, is_projected=False, **{**KNOWN, "dual_lr": 1e-3})
    assert first_zero(path) == pytest.approx(840, rel=0.01)
    assert path["skip_weight"].abs().max() == pytest.approx(1.07, abs=0.01)


@FOLLOW
def test_with_projection_the_skip_weight_is_gone_and_the_multiplier_has_overshot(follow):
    path = follow(1000, **KNOWN)
    assert first_zero(path) == pytest.approx(211, abs=1)
    assert (path["skip_weight"].iloc[213:] == 0.0).all()
    assert path["multiplier"].iloc[-1] == pytest.approx(0.89, abs=0.01)


@FOLLOW
def test_where_the_amplitude_is_more_than_1_the_skip_weight_waits_and_goes_later(follow):
    choices = {"skip_weight": 0.95, "skip_lr": 3e-3, "dual_lr": 3e-4, "slope": 0.5}
    assert first_zero(follow(3500, **choices)) == pytest.approx(3324, abs=3)
    assert first_zero(follow(3000, is_projected=False, **choices)) == pytest.approx(2741, abs=3)


@FOLLOW
def test_curvature_of_the_loss_dampens_the_swing(follow):
    path = follow(6000, curvature=0.2, is_projected=False, **KNOWN)["skip_weight"]
    assert path.min() == pytest.approx(-0.40, abs=0.01)
    assert path.iloc[-700:].abs().max() < 5e-3


@FOLLOW
def test_a_small_quadratic_term_lets_the_skip_weight_swing_a_little(follow):
    path = follow(6000, damping=1.0, is_projected=False, **KNOWN)["skip_weight"]
    assert path.min() == pytest.approx(-0.09, abs=0.01)
    assert path.iloc[-700:].abs().max() < 1e-10


@FOLLOW
def test_a_large_quadratic_term_makes_it_creep_and_the_multiplier_find_the_price(follow):
    path = follow(5000, damping=5.0, is_projected=False, **KNOWN)
    assert (path["skip_weight"] > 0.0).all()
    assert path["multiplier"].iloc[-1] == pytest.approx(0.300, abs=1e-3)


@pytest.mark.parametrize(("skip_lr", "dual_lr"), [(0.01, 0.01), (1e-3, 4e-3), (0.02, 5e-4)])
def test_at_the_critical_damping_a_skip_weight_creeps_and_just_below_it_crosses_0(skip_lr, dual_lr):
    critical = constraints.critical_damping(skip_lr, dual_lr)
    frequency = math.sqrt(skip_lr * dual_lr)
    assert critical == pytest.approx(2.0 * frequency / skip_lr)
    num_steps = math.ceil(18.0 / frequency)  # more than half a swing at .97, pi / sqrt(1 - .97^2) = 12.9

    def swing(follow, share):
        # The slope is so steep that the weight starts upwards: what then crosses 0 is the swing.
        path = follow(
            num_steps, 0.2, skip_lr, dual_lr, slope=critical, damping=share * critical, is_projected=False
        )
        return path["skip_weight"].min()

    assert swing(constraints.predict_path, 1.0) > 0.0
    assert swing(constraints.predict_path, 1.2) > 0.0
    assert swing(constraints.predict_path, 0.97) < 0.0
    assert swing(constraints.predict_path, 1.0 + 1e-12) == pytest.approx(
        swing(constraints.predict_path, 1.0), rel=1e-3
    )
    if skip_lr == 0.01:
        assert swing(constraints.simulate_path, 1.05) > 0.0
        assert swing(constraints.simulate_path, 0.95) < 0.0


def test_overdamped_paths_stay_in_range_over_a_long_time():
    path = constraints.predict_path(200_000, 0.5, 0.01, 0.01, slope=0.3, damping=50.0)
    assert path["multiplier"].iloc[-1] == pytest.approx(0.3, abs=1e-3)
    assert path["skip_weight"].between(0.0, 0.5).all()


@given(
    skip_weight=st.floats(0.0, 1.0),
    skip_lr=st.floats(1e-4, 0.05),
    dual_lr=st.floats(0.0, 0.05),
    slope=st.floats(-1.0, 2.0),
    curvature=st.floats(0.0, 2.0),
    damping=st.sampled_from([0.0, 0.0, 0.5]),
)
def test_a_projected_path_stays_between_0_and_1_and_its_multiplier_never_falls(
    skip_weight, skip_lr, dual_lr, slope, curvature, damping
):
    choices = (skip_weight, skip_lr, dual_lr, slope, damping, curvature)
    for follow, num_steps in ((constraints.predict_path, 400), (constraints.simulate_path, 60)):
        path = follow(num_steps, *choices)
        assert path["skip_weight"].between(0.0, 1.0).all()
        assert (path["multiplier"].diff().iloc[1:] >= -1e-12 * max(1.0, abs(slope))).all()


@given(skip_weight=st.floats(0.05, 1.0), skip_lr=st.floats(1e-3, 1e-2), slope=st.floats(0.0, 1.0))
def test_a_sized_multiplier_removes_the_skip_on_the_predicted_path_in_time(skip_weight, skip_lr, slope):
    dual_lr = constraints.size_dual_lr(500, skip_weight, skip_lr, slope)
    assume(dual_lr < 0.05)
    path = constraints.predict_path(600, skip_weight, skip_lr, dual_lr, slope)
    assert first_zero(path) == pytest.approx(500, abs=5)


@FOLLOW
@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"num_steps": 0}, "num_steps must be an integer of at least 1, got 0"),
        ({"num_steps": 2.5}, "num_steps must be an integer of at least 1, got 2.5"),
        ({"skip_weight": 1.1}, r"skip_weight must be a number in \[0, 1\], got 1.1"),
        ({"skip_lr": 0.0}, "skip_lr must be a number above 0, got 0.0"),
        ({"dual_lr": -1.0}, "dual_lr must be a number at least 0, got -1.0"),
        ({"damping": -1.0}, "damping must be a number at least 0, got -1.0"),
        ({"curvature": math.nan}, "curvature must be a number at least 0, got nan"),
    ],
)
def test_a_path_that_cannot_be_followed_is_refused(follow, choices, message):
    with pytest.raises(ValueError, match=message):
        follow(**{"num_steps": 5, **choices})


@FOLLOW
@pytest.mark.parametrize("slope", [math.nan, math.inf, -math.inf])
def test_a_slope_that_is_no_number_is_refused(follow, slope):
    with pytest.raises(ValueError, match="slope must be a"):
        follow(5, slope=slope)


@pytest.mark.parametrize("choices", [{"skip_lr": 0.0, "dual_lr": 1.0}, {"skip_lr": 1.0, "dual_lr": -1.0}])
def test_a_critical_damping_without_meaning_is_refused(choices):
    with pytest.raises(ValueError, match="_lr must be a number"):
        constraints.critical_damping(**choices)


# Prices.


@pytest.fixture
def batch(few_images):
    return few_images.train_images[:32].double(), few_images.train_labels[:32]


def variable(**choices):
    return models.mlp(**{"depth": 4, "width": 8, "seed": 0, **choices}).double()


def loss_at(model, weights, inputs, labels):
    with torch.no_grad():
        model.skip_weight.copy_(torch.as_tensor(weights))
        return functional.cross_entropy(model(inputs), labels).item()


@pytest.mark.parametrize("skip", ["convex", "additive", "activation"])
@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("at", [0.0, 0.5, None])
def test_a_price_is_what_the_loss_falls_by_for_a_little_of_the_skip(batch, skip, is_training, at):
    model = variable(skip=skip, skip_weight=0.8).train(is_training)
    prices = diagnostics.shortcut_prices(model, *batch, skip_weight=at)
    assert prices["layer"].tolist() == [1, 2, 3, 4]
    start = 0.8 if at is None else at
    for layer, price in enumerate(prices["price"]):
        cost = []
        for step in (-1e-6, 1e-6):
            weights = torch.full((4,), start, dtype=torch.float64)
            weights[layer] += step
            cost.append(loss_at(model, weights, *batch))
        assert price == pytest.approx((cost[0] - cost[1]) / 2e-6, rel=1e-4, abs=1e-7)
    assert prices["price"].abs().max() > 1e-3


def test_prices_are_the_gradients_of_the_network_put_together_by_hand(batch):
    model = variable(normalization="none", skip_weight=0.9)
    inputs, labels = batch
    alpha = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    hidden = model.input_layer(inputs.flatten(1))
    for layer, weight in zip(model.layers, alpha, strict=True):
        hidden = weight * hidden + (1 - weight) * torch.relu(layer.linear(hidden))
    (expected,) = torch.autograd.grad(functional.cross_entropy(model.head(hidden), labels), alpha)
    prices = diagnostics.shortcut_prices(model, inputs, labels)
    assert prices["price"].tolist() == pytest.approx((-expected).tolist())


def test_prices_are_measured_in_another_loss_too(batch):
    model = variable()
    targets = functional.one_hot(batch[1], 10).double()
    model.skip_weight.data.zero_()
    functional.mse_loss(model(batch[0]), targets).backward()
    prices = diagnostics.shortcut_prices(model, batch[0], targets, loss=functional.mse_loss)
    assert prices["price"].tolist() == pytest.approx((-model.skip_weight.grad).tolist())


def test_a_layer_that_has_no_say_has_price_0(batch):
    model = variable(skip_weight=0.5)
    model.head.weight.data.zero_()
    assert diagnostics.shortcut_prices(model, *batch)["price"].tolist() == [0.0] * 4


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("fails", [False, True], ids=["works", "fails"])
def test_prices_leave_the_network_as_it_was(batch, is_training, fails):
    model = variable(skip_weight=0.5)
    inputs, labels = batch
    functional.cross_entropy(model(inputs), labels).backward()
    model.train(is_training)
    before = state_of(model)
    with torch.no_grad():
        if fails:
            with pytest.raises(ValueError, match="labels must be from 0 to 9 for 10 outputs, got 10 to 19"):
                diagnostics.shortcut_prices(model, inputs, labels + 10)
        else:
            assert diagnostics.shortcut_prices(model, inputs, labels)["price"].any()
    assert state_of(model) == before


@pytest.mark.parametrize("connection", ["plain", "residual", "highway"])
def test_a_network_without_skip_weights_has_no_prices(batch, connection):
    model = variable(connection=connection)
    with pytest.raises(ValueError, match=r"The model has no skip weights, .* make it with connection='van'"):
        diagnostics.shortcut_prices(model, *batch)


# Removal, predicted and as it was.


def test_each_layer_has_its_prediction_and_the_step_at_which_its_skip_was_gone(few_images, quick):
    config = quick(
        num_epochs=3, skip_lr=0.05, dual_lr=0.5, dual_lr_spread=3.0, stagger=0.5, remove_by=None, log_every=24
    )
    trainer = training.Trainer(models.mlp(depth=4, width=12, skip_weight=0.5, seed=0), few_images, config)
    before = diagnostics.removal_steps(trainer.phase_out)
    assert before["first_zero_step"].isna().all()
    for _ in trainer:
        pass
    table = diagnostics.removal_steps(trainer.phase_out, slope=0.2)
    dual_lrs = trainer.phase_out.multipliers.dual_lr.tolist()
    assert table["layer"].tolist() == [1, 2, 3, 4]
    assert table["dual_lr"].tolist() == dual_lrs
    assert table["predicted_step"].tolist() == [
        start + constraints.predict_removal_step(0.5, 0.05, dual_lr, 0.2)
        for start, dual_lr in zip(trainer.phase_out.starts.tolist(), dual_lrs, strict=True)
    ]
    steps = trainer.result().first_zero_steps
    assert any(step is not None for step in steps)
    assert [None if math.isnan(step) else step for step in table["first_zero_step"]] == list(steps)


def test_each_layer_may_have_a_slope_of_its_own(few_images, quick):
    trainer = training.Trainer(models.mlp(depth=2, width=4, seed=0), few_images, quick(stagger=0.0))
    one, other = (
        diagnostics.removal_steps(trainer.phase_out, slope)["predicted_step"] for slope in (0.1, 0.9)
    )
    both = diagnostics.removal_steps(trainer.phase_out, [0.1, 0.9])["predicted_step"]
    assert both.tolist() == [one[0], other[1]]
    assert both[0] < both[1]
    with pytest.raises(ValueError, match="one number for each"):
        diagnostics.removal_steps(trainer.phase_out, [0.1])


def test_where_the_loss_is_linear_the_prediction_is_when_the_phase_out_gets_there(quick):
    alpha = torch.nn.Parameter(torch.tensor([0.95, 0.5, 0.95]))
    config = quick(skip_lr=3e-3, dual_lr=1e-3, dual_lr_spread=2.0, stagger=0.0, remove_by=None)
    phase_out = training.PhaseOut(alpha, config, num_steps=10_000)
    slopes = [0.5, 0.3, 0.0]
    for step in itertools.count(1):
        alpha.grad = phase_out.multipliers.values.detach() - torch.tensor(slopes)
        phase_out.step(step)
        if phase_out.removed_at_step is not None or step == 10_000:
            break
    table = diagnostics.removal_steps(phase_out, slopes)
    assert table["first_zero_step"].tolist() == pytest.approx(table["predicted_step"].tolist(), rel=0.01)


def test_damping_and_what_never_reaches_zero_are_in_the_prediction(quick):
    alpha = torch.nn.Parameter(torch.tensor([0.95, 0.0]))
    config = quick(skip_lr=3e-3, dual_lr=1e-3, stagger=0.0, remove_by=None, damping=0.4)
    phase_out = training.PhaseOut(alpha, config, num_steps=5_000)
    for step in range(1, 5_001):
        alpha.grad = torch.autograd.grad(phase_out.penalty(), alpha)[0]
        phase_out.step(step)
    table = diagnostics.removal_steps(phase_out)
    assert table["predicted_step"].iloc[0] == pytest.approx(table["first_zero_step"].iloc[0], rel=0.01)
    undamped = training.PhaseOut(alpha, quick(skip_lr=3e-3, dual_lr=1e-3, stagger=0.0), num_steps=5_000)
    assert diagnostics.removal_steps(undamped)["predicted_step"].tolist() == [0.0, 0.0]
    still = torch.nn.Parameter(torch.tensor([0.5, 0.5]))
    for frozen in ({"dual_lr": 0.0}, {"skip_lr": 0.0, "dual_lr": 1e-3}, {"dual_lr": 1e-3, "damping": 10.0}):
        phase_out = training.PhaseOut(still, quick(stagger=0.0, **frozen), num_steps=100)
        assert diagnostics.removal_steps(phase_out)["predicted_step"].tolist() == [math.inf] * 2
