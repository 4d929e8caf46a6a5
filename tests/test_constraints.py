"""The constraint against a peer, closed forms and simulation: multipliers, projection, predictions, schedules."""

import itertools
import math
import warnings

import cooper
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from van_tutorial import constraints
from van_tutorial.training import TrainConfig, default_dual_lr

TARGETS = torch.tensor([0.8, 0.3, -0.5])


def solve(skip_lr, dual_lr, num_steps, is_projected=False, start=0.9, **choices):
    """Minimise sum (a - c)^2 / 2 subject to a = 0 for c in TARGETS; returns a and lambda after each step."""
    alpha = torch.nn.Parameter(torch.full((3,), start))
    multipliers = constraints.Multipliers(num_constraints=3, dual_lr=dual_lr, **choices)
    optimizer = torch.optim.SGD([alpha], lr=skip_lr)
    path = []
    for _ in range(num_steps):
        optimizer.zero_grad()
        loss = 0.5 * (alpha - TARGETS).square().sum()
        (loss + multipliers.penalty(alpha)).backward()
        optimizer.step()
        if is_projected:
            constraints.project(alpha)
        multipliers.dual_step(alpha)
        path.append((alpha.detach().clone(), multipliers.values.clone()))
    return [torch.stack(values) for values in zip(*path, strict=True)]


class TargetProblem(cooper.ConstrainedMinimizationProblem):
    def __init__(self, alpha, damping):
        super().__init__()
        self.alpha = alpha
        quadratic = {
            "formulation_type": cooper.formulations.AugmentedLagrangian,
            "penalty_coefficient": cooper.penalty_coefficients.DensePenaltyCoefficient(torch.tensor(damping)),
        }
        self.no_skip = cooper.Constraint(
            constraint_type=cooper.ConstraintType.EQUALITY,
            multiplier=cooper.multipliers.DenseMultiplier(num_constraints=3),
            **(quadratic if damping else {}),
        )

    def compute_cmp_state(self):
        state = cooper.ConstraintState(violation=self.alpha)
        loss = 0.5 * (self.alpha - TARGETS).square().sum()
        return cooper.CMPState(loss=loss, observed_constraints={self.no_skip: state})


@pytest.mark.parametrize("damping", [0.0, 0.7])
@pytest.mark.parametrize(("skip_lr", "dual_lr"), [(0.1, 0.1), (0.1, 0.02), (0.02, 0.2)])
def test_the_phase_out_of_a_convex_problem_is_coopers_step_for_step(skip_lr, dual_lr, damping):
    alphas, lambdas = solve(skip_lr, dual_lr, num_steps=300, damping=damping)
    alpha = torch.nn.Parameter(torch.full((3,), 0.9))
    problem = TargetProblem(alpha, damping)
    optimizer = cooper.optim.AlternatingPrimalDualOptimizer(
        cmp=problem,
        primal_optimizers=torch.optim.SGD([alpha], lr=skip_lr),
        dual_optimizers=torch.optim.SGD(problem.dual_parameters(), lr=dual_lr, maximize=True),
    )
    for step in range(300):
        optimizer.roll()
        torch.testing.assert_close(alphas[step], alpha.detach(), atol=1e-6, rtol=0.0)
        torch.testing.assert_close(
            lambdas[step], problem.no_skip.multiplier.weight.detach(), atol=1e-6, rtol=0.0
        )


@pytest.mark.parametrize(("gain", "smoothing"), [(1.0, 0.0), (3.0, 0.0), (4.0, 0.9), (2.0, -0.5)])
def test_a_pi_controllers_multipliers_are_coopers_step_for_step(gain, smoothing):
    alphas, lambdas = solve(0.1, 0.1, num_steps=200, gain=gain, smoothing=smoothing)
    alpha = torch.nn.Parameter(torch.full((3,), 0.9))
    problem = TargetProblem(alpha, damping=0.0)
    with warnings.catch_warnings(action="ignore"):  # Cooper's word on a negative average
        controller = cooper.optim.nuPI(
            problem.dual_parameters(), lr=0.1, Kp=gain, Ki=1.0, ema_nu=smoothing, maximize=True
        )
    optimizer = cooper.optim.AlternatingPrimalDualOptimizer(
        cmp=problem, primal_optimizers=torch.optim.SGD([alpha], lr=0.1), dual_optimizers=controller
    )
    for step in range(200):
        optimizer.roll()
        torch.testing.assert_close(alphas[step], alpha.detach(), atol=1e-5, rtol=0.0)
        torch.testing.assert_close(
            lambdas[step], problem.no_skip.multiplier.weight.detach(), atol=1e-5, rtol=0.0
        )


def test_growing_with_damping_as_learning_rate_it_is_coopers_method_of_multipliers_step_for_step():
    alphas, lambdas = solve(0.1, 0.05, num_steps=100, damping=0.05, growth=1.02)
    alpha = torch.nn.Parameter(torch.full((3,), 0.9))
    problem = TargetProblem(alpha, damping=[0.05] * 3)
    updater = cooper.penalty_coefficients.MultiplicativePenaltyCoefficientUpdater(
        1.02, violation_tolerance=0.0
    )
    dual = torch.optim.SGD(problem.dual_parameters(), lr=0.05, maximize=True)
    optimizer = cooper.optim.AlternatingPrimalDualOptimizer(
        cmp=problem, primal_optimizers=torch.optim.SGD([alpha], lr=0.1), dual_optimizers=dual
    )
    for step in range(100):
        dual.param_groups[0]["lr"] = float(problem.no_skip.penalty_coefficient.value[0])
        updater.step(optimizer.roll().cmp_state.observed_constraints)
        torch.testing.assert_close(alphas[step], alpha.detach(), atol=1e-5, rtol=0.0)
        torch.testing.assert_close(
            lambdas[step], problem.no_skip.multiplier.weight.detach(), atol=1e-5, rtol=0.0
        )


@pytest.mark.parametrize("gain", [0.5, 5.0])
def test_without_smoothing_the_gain_adds_what_a_quadratic_term_does(gain):
    alphas, lambdas = solve(0.1, 0.1, num_steps=300, gain=gain)
    expected = 0.1 * (alphas.cumsum(dim=0) + gain * alphas)
    torch.testing.assert_close(lambdas[1:], expected[1:], atol=1e-5, rtol=0.0)
    assert lambdas[0].tolist() == (0.1 * alphas[0]).tolist()


def test_a_skip_that_is_held_at_1_meets_a_multiplier_that_grows_as_the_geometric_series():
    multipliers = constraints.Multipliers(num_constraints=2, dual_lr=0.01, growth=1.1)
    for _ in range(50):
        multipliers.dual_step(torch.tensor([1.0, 0.0]))
    assert multipliers.values.tolist() == pytest.approx([0.01 * (1.1**50 - 1.0) / 0.1, 0.0], rel=1e-5)


def test_where_the_loss_holds_on_to_a_skip_growth_removes_it_and_plain_ascent_does_not():
    alphas, _ = solve(0.5, 1e-4, num_steps=1000, is_projected=True)
    assert alphas[-1, 0] > 0.5
    alphas, _ = solve(0.5, 1e-4, num_steps=1000, is_projected=True, growth=1.01)
    assert alphas[-1].tolist() == [0.0] * 3


def test_a_constraint_that_is_not_open_stays_as_it_is():
    multipliers = constraints.Multipliers(num_constraints=2, dual_lr=0.5, gain=3.0, growth=2.0)
    is_open = torch.tensor([True, False])
    for alpha in (1.0, 0.5):
        multipliers.dual_step(torch.tensor([alpha, 1.0]), is_open)
    assert multipliers.values.tolist() == [0.5 * 1.0 + 2.0 * 0.5 * (0.5 + 3.0 * 0.5), 0.0]
    multipliers.dual_step(torch.tensor([0.5, 1.0]))
    assert multipliers.values[1] == 0.5  # its first step is plain


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"gain": -1.0}, "gain must be a number at least 0"),
        ({"smoothing": 1.0}, r"smoothing must be a number in \(-1, 1\)"),
        ({"growth": 0.9}, "growth must be a number at least 1"),
    ],
)
def test_a_controller_outside_its_bounds_is_refused(choices, message):
    with pytest.raises(ValueError, match=message):
        constraints.Multipliers(2, **choices)


# Clock or market.


@pytest.mark.parametrize("price", [1e-4, 0.01, 0.1, 0.3, -0.01, -0.3])
def test_the_price_ratio_gives_the_removal_step_of_a_skip_that_does_not_touch_1(price):
    skip_weight, skip_lr, dual_lr = 0.5, 0.002, 0.001
    ratio = constraints.price_ratio(skip_weight, skip_lr, dual_lr, price)
    assert skip_weight * math.sqrt(1.0 + 1.0 / ratio**2) < 1.0
    path = constraints.simulate_path(3000, skip_weight, skip_lr, dual_lr, slope=price)
    angle = math.pi - math.atan(ratio) if price > 0.0 else math.atan(ratio)
    expected = angle / math.sqrt(skip_lr * dual_lr)
    assert constraints.first_zero_step(path) == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize(
    ("skip_lr", "dual_lr", "is_clock"), [(0.001, 0.01, True), (0.5, 1e-4, False)], ids=["clock", "market"]
)
def test_far_above_1_all_skips_go_together_and_below_it_each_when_its_multiplier_has_passed_its_price(
    skip_lr, dual_lr, is_clock
):
    prices = [0.02, 0.1, 0.2]
    ratios = [constraints.price_ratio(0.95, skip_lr, dual_lr, price) for price in prices]
    assert min(ratios) > 10.0 if is_clock else max(ratios) < 1.0
    paths = [constraints.simulate_path(3000, 0.95, skip_lr, dual_lr, slope=price) for price in prices]
    steps = [constraints.first_zero_step(path) for path in paths]
    clock = 0.5 * math.pi / math.sqrt(skip_lr * dual_lr)
    if is_clock:
        assert steps == pytest.approx([clock] * 3, rel=0.05)
        assert [path["multiplier"].iloc[-1] for path in paths] == pytest.approx(
            [0.95 * math.sqrt(dual_lr / skip_lr)] * 3, rel=0.1
        )
    else:
        passed = [
            int((path["multiplier"] > price).argmax()) for path, price in zip(paths, prices, strict=True)
        ]
        assert 1.5 * steps[0] < steps[1] < steps[2] / 1.5
        assert all(0 <= step - there <= 1.01 * clock for step, there in zip(steps, passed, strict=True))


def test_a_skip_without_a_price_has_a_clock_of_its_own():
    assert constraints.price_ratio(price=0.0) == math.inf
    assert constraints.price_ratio(price=-0.03) == constraints.price_ratio(price=0.03)
    assert constraints.price_ratio(dual_lr=0.0) == 0.0


@pytest.mark.parametrize("ratio", [0.25, 0.1])
def test_overdamped_the_multiplier_finds_the_price_of_the_constraint(ratio):
    alphas, lambdas = solve(skip_lr=0.1, dual_lr=0.1 * ratio, num_steps=2000)
    torch.testing.assert_close(lambdas[-1], TARGETS, atol=1e-4, rtol=0.0)
    torch.testing.assert_close(alphas[-1], torch.zeros(3), atol=1e-4, rtol=0.0)


def test_overdamped_from_the_minimum_the_multiplier_never_overshoots_its_price():
    skip_lr, target = 0.1, TARGETS[0].item()
    alphas, lambdas = solve(skip_lr, dual_lr=skip_lr / 4, num_steps=2000, start=target)
    assert lambdas[:, 0].max() <= target + 1e-4
    assert alphas[:, 0].min() >= -1e-4
    _, lambdas = solve(skip_lr, dual_lr=skip_lr, num_steps=2000, start=target)
    assert lambdas[:, 0].max() > target + 0.05


def test_underdamped_the_skip_weight_swings_through_0_without_projection():
    alphas, _ = solve(skip_lr=0.1, dual_lr=0.1, num_steps=200)
    assert alphas.min() < -0.05


@pytest.mark.parametrize("dual_lr", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("skip_lr", [0.05, 0.2])
def test_with_projection_the_skip_ends_at_0_and_the_multiplier_at_its_price_or_above(skip_lr, dual_lr):
    alphas, lambdas = solve(skip_lr, dual_lr, num_steps=4000, is_projected=True)
    assert alphas.min() >= 0.0
    assert alphas.max() <= 1.0
    torch.testing.assert_close(alphas[-1], torch.zeros(3), atol=1e-5, rtol=0.0)
    assert bool((lambdas[-1] >= TARGETS - 1e-5).all())
    assert bool((lambdas.diff(dim=0) >= 0).all())


def test_with_projection_an_underdamped_skip_is_gone_exactly_and_for_good():
    alphas, lambdas = solve(skip_lr=0.1, dual_lr=0.1, num_steps=500, is_projected=True)
    assert alphas[-100:].abs().max() == 0.0
    assert bool((lambdas[-1] >= TARGETS).all())
    for alpha, multiplier in zip(alphas.T, lambdas.T, strict=True):
        first = int((alpha == 0).nonzero()[0])
        assert not alpha[first:].any()
        assert multiplier[first] == multiplier[-1]


def test_damping_of_the_quadratic_term_stops_the_swing():
    skip_lr = dual_lr = 0.05
    undamped, _ = solve(skip_lr, dual_lr, num_steps=1500)
    damped, lambdas = solve(skip_lr, dual_lr, num_steps=1500, damping=2.0 * math.sqrt(dual_lr / skip_lr))
    assert undamped[:, 0].min() < -0.05
    assert damped[:, 0].min() > -1e-3
    torch.testing.assert_close(lambdas[-1], TARGETS, atol=1e-4, rtol=0.0)


def test_penalty_and_its_gradient_are_the_lagrangians():
    multipliers = constraints.Multipliers(
        num_constraints=2, dual_lr=torch.tensor([0.5, 2.0]), init=0.25, damping=3.0
    )
    alpha = torch.tensor([1.0, 0.5], requires_grad=True)
    penalty = multipliers.penalty(alpha)
    penalty.backward()
    assert penalty.item() == 0.25 * 1.5 + 1.5 * (1.0 + 0.25)
    assert alpha.grad.tolist() == [0.25 + 3.0 * 1.0, 0.25 + 3.0 * 0.5]
    multipliers.dual_step(alpha)
    assert multipliers.values.tolist() == [0.25 + 0.5, 0.25 + 1.0]


def test_multipliers_and_their_learning_rates_go_into_checkpoints():
    state = constraints.Multipliers(num_constraints=2, dual_lr=0.5).state_dict()
    assert {name: value.tolist() for name, value in state.items()} == {
        "values": [0.0, 0.0],
        "dual_lr": [0.5, 0.5],
        "average": pytest.approx([math.nan, math.nan], nan_ok=True),
        "grown": [1.0, 1.0],
    }
    assert list(constraints.Multipliers(num_constraints=2).parameters()) == []


def test_multipliers_grow_on_from_a_checkpoint_with_the_learning_rates_in_it():
    first = constraints.Multipliers(num_constraints=3, dual_lr=torch.tensor([0.5, 0.25, 0.125]))
    first.dual_step(torch.tensor([1.0, 0.5, 0.25]))
    second = constraints.Multipliers(num_constraints=3)
    second.load_state_dict(first.state_dict())
    for multipliers in (first, second):
        multipliers.dual_step(torch.tensor([1.0, 1.0, 1.0]))
    assert first.values.tolist() == second.values.tolist() == [1.0, 0.375, 0.15625]


def test_dual_learning_rates_given_as_a_tensor_are_not_shared_with_the_caller():
    dual_lr = torch.ones(2)
    multipliers = constraints.Multipliers(num_constraints=2, dual_lr=dual_lr)
    dual_lr.zero_()
    multipliers.dual_step(torch.ones(2))
    assert multipliers.values.tolist() == [1.0, 1.0]


def test_a_penalty_on_the_skip_weights_of_another_network_is_refused():
    with pytest.raises(RuntimeError, match="size"):
        constraints.Multipliers(num_constraints=3).penalty(torch.ones(4))


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"num_constraints": 0}, "num_constraints must be an integer of at least 1, got 0"),
        ({"dual_lr": -1e-3}, "dual_lr must be at least 0, got -0.001"),
        ({"dual_lr": float("nan")}, "dual_lr must be at least 0, got nan"),
        ({"dual_lr": torch.tensor([1.0, -1.0, 1.0])}, "dual_lr must be at least 0"),
        ({"num_constraints": 2.5}, "num_constraints must be an integer of at least 1, got 2.5"),
        ({"dual_lr": torch.ones(2)}, r"of shape \(3,\), got shape \(2,\)"),
        ({"dual_lr": torch.ones(3, 1)}, r"of shape \(3,\), got shape \(3, 1\)"),
        ({"damping": -1.0}, "damping must be a number at least 0, got -1.0"),
    ],
)
def test_multipliers_that_cannot_be_are_refused(choices, message):
    with pytest.raises(ValueError, match=message):
        constraints.Multipliers(**{"num_constraints": 3, **choices})


alphas_anywhere = st.lists(st.floats(-10.0, 10.0, width=32), min_size=1, max_size=20)


@given(values=alphas_anywhere, cap=st.floats(0.0, 1.0, width=32))
def test_projection_is_the_nearest_point_between_0_and_the_cap(values, cap):
    before = torch.tensor(values)
    alpha = before.clone()
    constraints.project(alpha, cap)
    assert alpha.tolist() == [min(max(value, 0.0), cap) for value in before.tolist()]
    once = alpha.clone()
    constraints.project(alpha, cap)
    assert torch.equal(alpha, once)


def test_projection_of_a_parameter_is_no_part_of_its_gradient():
    alpha = torch.nn.Parameter(torch.tensor([-0.5, 0.5, 1.5]))
    constraints.project(alpha)
    assert alpha.tolist() == [0.0, 0.5, 1.0]
    assert alpha.is_leaf
    assert alpha.requires_grad


@given(alpha=alphas_anywhere, dual_lr=st.floats(0.0, 1.0, width=32))
def test_multipliers_of_projected_skip_weights_never_fall(alpha, dual_lr):
    alpha = torch.tensor(alpha)
    constraints.project(alpha)
    multipliers = constraints.Multipliers(num_constraints=len(alpha), dual_lr=dual_lr)
    for _ in range(3):
        before = multipliers.values.clone()
        multipliers.dual_step(alpha)
        assert bool((multipliers.values >= before).all())


@given(dual_lr=st.floats(1e-6, 1.0), spread=st.floats(0.02, 50.0), depth=st.integers(2, 60))
def test_dual_learning_rates_fall_geometrically_from_the_first_layer_to_the_last(dual_lr, spread, depth):
    dual_lrs = constraints.spread_dual_lr(dual_lr, spread, depth).double()
    assert dual_lrs.shape == (depth,)
    assert dual_lrs[0].item() == pytest.approx(spread * dual_lr, rel=1e-4)
    assert dual_lrs[-1].item() == pytest.approx(dual_lr / spread, rel=1e-4)
    assert dual_lrs.log().mean().exp().item() == pytest.approx(dual_lr, rel=1e-4)
    ratios = dual_lrs[1:] / dual_lrs[:-1]
    torch.testing.assert_close(
        ratios, torch.full_like(ratios, spread ** (-2.0 / (depth - 1))), rtol=1e-4, atol=0.0
    )


def test_a_single_layer_gets_the_mean_learning_rate_and_a_spread_of_1_the_same_for_all():
    assert constraints.spread_dual_lr(0.5, spread=9.0, num_constraints=1).tolist() == [0.5]
    assert constraints.spread_dual_lr(0.5, spread=1.0, num_constraints=3).tolist() == [0.5] * 3


@pytest.mark.parametrize(
    ("dual_lr", "spread", "depth", "message"),
    [
        (-1.0, 5.0, 3, "dual_lr must be a number at least 0, got -1.0"),
        (1.0, 0.0, 3, "dual_lr_spread must be a number above 0, got 0.0"),
        (1.0, -2.0, 3, "dual_lr_spread must be a number above 0, got -2.0"),
        (1.0, 5.0, 0, "num_constraints must be an integer of at least 1, got 0"),
    ],
)
def test_a_spread_that_cannot_be_is_refused(dual_lr, spread, depth, message):
    with pytest.raises(ValueError, match=message):
        constraints.spread_dual_lr(dual_lr, spread, depth)


def simulate(skip_weight, skip_lr, dual_lr, slope):
    """The step at which alpha is 0, by doing the steps: loss -slope alpha, clip to [0, 1], alternating updates."""
    alpha, multiplier, step = skip_weight, 0.0, 0
    while alpha > 0.0:
        alpha = min(max(alpha - skip_lr * (multiplier - slope), 0.0), 1.0)
        multiplier += dual_lr * alpha
        step += 1
    return step


SMALL_AMPLITUDE = [
    (0.5, 0.01, 0.01, 0.3),
    (0.3, 1e-3, 1e-3, 0.2),
    (0.8, 2e-3, 4e-3, 0.4),
    (0.95, 1e-3, 1e-3, 0.0),
    (0.9, 1e-3, 2e-3, -0.3),
    (1.0, 2e-3, 4e-3, 0.0),
]
LARGE_AMPLITUDE = [
    (0.95, 3e-3, 3e-4, 0.5),
    (0.95, 1e-3, 1e-4, 0.3),
    (1.0, 1e-3, 1e-3, 0.3),
    (0.1, 0.01, 1e-3, 1.0),
    (0.5, 1e-3, 5e-4, 0.8),
    (1.0, 1e-3, 1e-4, -1.0),
]


@pytest.mark.parametrize(
    ("parameters", "is_large"),
    [(p, False) for p in SMALL_AMPLITUDE] + [(p, True) for p in LARGE_AMPLITUDE],
    ids=str,
)
def test_the_predicted_removal_step_is_the_simulated_one_within_a_hundredth(parameters, is_large):
    skip_weight, skip_lr, dual_lr, slope = parameters
    assert (math.hypot(skip_weight, slope * math.sqrt(skip_lr / dual_lr)) > 1.0) is is_large
    assert constraints.predict_removal_step(*parameters) == pytest.approx(simulate(*parameters), rel=0.01)


def test_the_prediction_holds_for_the_librarys_own_steps():
    alpha = torch.nn.Parameter(torch.tensor([0.95]))
    multipliers = constraints.Multipliers(num_constraints=1, dual_lr=3e-3)
    step = 0
    while alpha.item() > 0.0:
        alpha.grad = None
        (-0.5 * alpha.sum() + multipliers.penalty(alpha)).backward()
        alpha.data.sub_(0.01 * alpha.grad)
        constraints.project(alpha)
        multipliers.dual_step(alpha)
        step += 1
    assert constraints.predict_removal_step(0.95, 0.01, 3e-3, 0.5) == pytest.approx(step, rel=0.01)


def test_the_prediction_has_no_jump_where_the_skip_begins_to_wait_at_1():
    skip_lr = dual_lr = 1e-3
    slope = math.sqrt(1.0 - 0.8**2)  # amplitude 1
    below, above = (constraints.predict_removal_step(0.8, skip_lr, dual_lr, slope + d) for d in (-1e-9, 1e-9))
    assert below == pytest.approx(above, rel=1e-4)


@given(
    removal_step=st.floats(50.0, 1e6),
    skip_weight=st.floats(0.01, 1.0),
    skip_lr=st.floats(1e-5, 1e-1),
    slope=st.floats(0.0, 2.0),
)
def test_the_sized_dual_learning_rate_removes_the_skip_when_asked(removal_step, skip_weight, skip_lr, slope):
    dual_lr = constraints.size_dual_lr(removal_step, skip_weight, skip_lr, slope)
    assert constraints.predict_removal_step(skip_weight, skip_lr, dual_lr, slope) == pytest.approx(
        removal_step, rel=1e-5
    )


@pytest.mark.parametrize(
    "choices", [{"skip_weight": 0.0}, {"skip_weight": 1.1}, {"skip_lr": 0.0}, {"dual_lr": -1.0}]
)
def test_a_prediction_without_meaning_is_refused(choices):
    with pytest.raises(ValueError, match=f"{next(iter(choices))} must be a number"):
        constraints.predict_removal_step(**choices)


@pytest.mark.parametrize(
    "wrong", [{"removal_step": 0.0}, {"slope": -0.1}, {"skip_weight": 1.5}, {"skip_lr": 0.0}]
)
def test_a_removal_that_cannot_be_sized_is_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be a number"):
        constraints.size_dual_lr(**{"removal_step": 10.0, **wrong})


def test_longer_runs_get_smaller_default_learning_rates_and_runs_without_skips_none():
    dual_lrs = [default_dual_lr(num_steps, 0.95, TrainConfig()) for num_steps in (100, 1000, 10000)]
    assert dual_lrs[0] > dual_lrs[1] > dual_lrs[2] > 0.0
    assert default_dual_lr(1000, 0.0, TrainConfig()) == 0.0


@pytest.mark.parametrize("remove_by", [0.3, 2 / 3, 1.0])
def test_the_cap_is_a_line_from_half_of_remove_by_to_remove_by(remove_by):
    caps = [constraints.falling_cap(step, 600, remove_by) for step in range(601)]
    end = remove_by * 600
    assert all(cap == 1.0 for step, cap in enumerate(caps) if step <= end / 2 - 1)
    assert all(cap == 0.0 for step, cap in enumerate(caps) if step >= end)
    assert caps[round(0.75 * end)] == pytest.approx(0.5)
    falls = [before - after for before, after in itertools.pairwise(caps)]
    assert all(0.0 <= fall <= 2.0 / end + 1e-12 for fall in falls)


@pytest.mark.parametrize("remove_by", [0.1, 0.3, 2 / 3, 0.7, 1.0])
@pytest.mark.parametrize("num_steps", [7, 10, 39, 195, 4680])
def test_the_cap_is_exactly_0_from_remove_by_on_in_a_run_of_any_length(remove_by, num_steps):
    end = math.ceil(remove_by * num_steps)
    assert {constraints.falling_cap(step, num_steps, remove_by) for step in range(end, num_steps + 1)} == {
        0.0
    }


def test_without_remove_by_there_is_no_cap():
    assert {constraints.falling_cap(step, 10, None) for step in range(11)} == {1.0}


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("fixed", [0.8, 0.8, 0.8, 0.8, 0.8]),
        ("cut", [0.8, 0.8, 0.0, 0.0, 0.0]),
        ("linear", [0.8, 0.4, 0.0, 0.0, 0.0]),
        ("cosine", [0.8, 0.4, 0.0, 0.0, 0.0]),
    ],
)
def test_a_schedule_goes_from_the_initial_weight_to_exactly_0(schedule, expected):
    steps = (0, 25, 50, 75, 100)
    values = [constraints.scheduled_skip_weight(schedule, step, 100, 0.8, remove_by=0.5) for step in steps]
    assert values == pytest.approx(expected)
    assert (values[2] == 0.0) is (expected[2] == 0.0)


def test_a_cosine_schedule_is_slow_at_both_ends():
    values = [
        constraints.scheduled_skip_weight("cosine", step, 100, 1.0, remove_by=None)
        for step in (25, 50, 75, 100)
    ]
    assert values == pytest.approx([0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125), 0.0])


@pytest.mark.parametrize("schedule", ["multipliers", "steps"])
def test_a_schedule_that_there_is_not_is_refused(schedule):
    with pytest.raises(ValueError, match="schedule must be 'fixed', 'cut', 'linear' or 'cosine'"):
        constraints.scheduled_skip_weight(schedule, 1, 10, 0.5, None)


@pytest.mark.parametrize("remove_by", [0.5, 2 / 3, 1.0])
@pytest.mark.parametrize("stagger", [-0.9, -0.5, 0.0, 0.5, 0.9])
def test_staggered_removals_begin_one_after_the_other_and_the_last_ends_in_time(stagger, remove_by):
    starts = constraints.removal_starts(1000, remove_by, stagger, 5)
    total = remove_by * 1000
    assert starts.min() == 0.0
    assert starts.max() + (1.0 - abs(stagger)) * total == pytest.approx(total)
    steps = starts.diff() * (-1.0 if stagger < 0.0 else 1.0)
    assert steps.tolist() == pytest.approx([abs(stagger) * total / 4] * 4, rel=1e-5)


@pytest.mark.parametrize("remove_by", [0.75, 1.0])
@pytest.mark.parametrize("remove_from", [0.25, 0.5])
def test_a_removal_that_begins_later_is_the_same_in_the_time_that_is_left(remove_from, remove_by):
    later, length = 1000 * remove_from, remove_by - remove_from
    starts = constraints.removal_starts(1000, remove_by, 0.6, 5, remove_from)
    assert starts.tolist() == pytest.approx(
        (later + constraints.removal_starts(1000, length, 0.6, 5)).tolist()
    )
    for step in range(0, 1001, 50):
        cap = constraints.falling_cap(step, 1000, remove_by, remove_from)
        assert cap == pytest.approx(constraints.falling_cap(max(0, step - later), 1000, length))
        for schedule in constraints.SCHEDULES:
            alpha = constraints.scheduled_skip_weight(schedule, step, 1000, 0.9, remove_by, remove_from)
            expected = constraints.scheduled_skip_weight(schedule, max(0, step - later), 1000, 0.9, length)
            assert alpha == pytest.approx(expected)


@pytest.mark.parametrize("remove_from", [-0.1, 0.5, 0.7])
def test_a_removal_that_begins_after_its_end_is_refused(remove_from):
    with pytest.raises(ValueError, match=r"remove_from must be a number in \[0, 0.5\)"):
        constraints.falling_cap(1, 10, 0.5, remove_from)


def test_a_single_layer_has_nothing_to_wait_for():
    assert constraints.removal_starts(1000, 0.5, 0.9, 1).tolist() == [0.0]


@pytest.mark.parametrize("stagger", [-1.0, 1.0, float("nan")])
def test_a_stagger_that_leaves_a_layer_no_time_is_refused(stagger):
    with pytest.raises(ValueError, match=r"stagger must be a number in \(-1, 1\)"):
        constraints.removal_starts(1000, 0.5, stagger, 5)


@pytest.mark.parametrize("remove_by", [None, 0.0, 1.5])
def test_a_removal_that_ends_outside_the_training_is_refused(remove_by):
    with pytest.raises(ValueError, match=r"remove_by must be a number in \(0, 1\]"):
        constraints.removal_starts(1000, remove_by, 0.5, 5)


@pytest.mark.parametrize(
    ("num_steps", "remove_by", "message"),
    [
        (0, 0.5, "num_steps must be an integer of at least 1"),
        (10, 0.0, r"remove_by must be a number in \(0, 1\]"),
    ],
)
def test_a_cap_and_a_schedule_need_time_to_fall(num_steps, remove_by, message):
    with pytest.raises(ValueError, match=message):
        constraints.falling_cap(1, num_steps, remove_by)
    with pytest.raises(ValueError, match=message):
        constraints.scheduled_skip_weight("linear", 1, num_steps, 0.9, remove_by)
