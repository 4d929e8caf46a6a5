"""The checks: they hint, and they do not raise on an untouched stub."""

from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from van_tutorial import constraints, exercises


def run(steps, removed_by="multipliers", accuracy=0.7):
    return SimpleNamespace(
        first_zero_steps=steps, num_steps=100, removed_by=removed_by, test_accuracy=accuracy
    )


@pytest.mark.parametrize(
    ("result", "is_right", "words"),
    [
        (None, False, "no run yet"),
        (run(()), False, "no skip weights"),
        (run((10, None)), False, "1 of 2 skips never reached 0"),
        (run((10, 30), removed_by="cap"), False, "the cap took"),
        (run((5, 10)), False, "about a quarter"),
        (run((10, 60)), False, "about four times"),
        (run((10, 30)), True, "after 30%"),
    ],
)
def test_the_removal_check_says_what_is_wrong_and_how_to_go_on(result, is_right, words):
    feedback = exercises.check_removal_window(result, earliest=0.2, latest=0.4)
    assert feedback.is_right is is_right
    assert words in feedback.message
    assert repr(feedback).startswith("Right" if is_right else "Not yet")


@pytest.mark.parametrize(
    ("cost", "hurried", "is_right", "words"),
    [
        (None, None, False, "no hurried run"),
        (None, run(()), False, "no number yet"),
        (0.1, run((), accuracy=0.7), True, "cost 0.100"),
        (-0.1, run((), accuracy=0.7), False, "wrong way round"),
        (0.3, run((), accuracy=0.7), False, "not the difference"),
        (-0.05, run((), accuracy=0.85), True, "gained 0.050"),
    ],
)
def test_the_cost_check_knows_the_sign(cost, hurried, is_right, words):
    feedback = exercises.check_cost(cost, run((), accuracy=0.8), hurried)
    assert feedback.is_right is is_right
    assert words in feedback.message


RUNS = pd.DataFrame(
    [
        ("plain", 2, 0.95, 0.80),
        ("plain", 10, 0.90, 0.78),
        ("plain", 40, 0.5, 0.49),
        ("residual", 40, 1.0, 0.8),
    ],
    columns=["network", "depth", "train_accuracy", "test_accuracy"],
)


@pytest.mark.parametrize(
    ("depth", "is_right", "words"),
    [
        (None, False, "no depth yet"),
        (7, False, "2, 10, 40"),
        (2, False, "further down"),
        (40, True, "40"),
    ],
)
def test_the_degradation_check_finds_the_first_depth_that_falls_behind(depth, is_right, words):
    feedback = exercises.check_degradation_depth(depth, RUNS, gap=0.1)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("gap", "is_right", "words"),
    [
        (None, False, "no number yet"),
        (0.15, True, "0.150"),
        (-0.15, False, "wrong way round"),
        (0.05, False, "larger"),
        (0.4, False, "smaller"),
        ("a lot", False, "not a number"),
    ],
)
def test_the_gap_check_knows_the_sign(gap, is_right, words):
    feedback = exercises.check_generalization_gap(gap, RUNS, depth=2)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("gradients", "is_right", "words"),
    [
        ([1.0, 2.0, 5.0], True, "5 times"),
        ([0.01, 0.1, 1.0], False, "larger scale"),
        ([1.0, 0.1, 0.01], False, "smaller scale"),
        ([0.0, 0.1, 1.0], False, "larger scale"),
    ],
)
def test_the_level_check_says_which_way_to_go(gradients, is_right, words):
    feedback = exercises.check_level_gradients(pd.DataFrame({"output_grad_norm": gradients}))
    assert feedback.is_right is is_right
    assert words in feedback.message
    assert "no norms yet" in exercises.check_level_gradients(None).message


@pytest.mark.parametrize(
    ("factor", "is_right", "words"),
    [
        (None, False, "no number"),
        (0.9, True, "0.9"),
        (0.81, False, "root"),
        (0.5, False, "larger"),
        (1.2, False, "smaller"),
    ],
)
def test_the_layer_factor_check_knows_the_square_from_the_length(factor, is_right, words):
    feedback = exercises.check_layer_factor(factor, init_scale=0.9)
    assert feedback.is_right is is_right
    assert words in feedback.message


def centred(signal, lag):
    z = signal - signal.mean()
    return (z[: len(z) - lag] * z[lag:]).sum() / z.square().sum()


@pytest.mark.parametrize(
    ("function", "is_right", "words"),
    [
        (lambda signal, lag: None, False, "returns nothing yet"),
        (centred, True, "agrees"),
        (lambda signal, lag: float(centred(signal, lag)), True, "agrees"),
        (lambda signal, lag: 8 * centred(signal, lag), False, "at lag 0"),
        (lambda s, lag: (s[: len(s) - lag] * s[lag:]).sum() / s.square().sum(), False, "mean is still in it"),
        (lambda s, lag: centred(s, lag) * len(s) / (len(s) - lag), False, "N - k pairs"),
        (lambda signal, lag: torch.ones(3) @ torch.ones(2), False, "raised RuntimeError"),
    ],
)
def test_the_autocorrelation_check_knows_the_usual_slips(function, is_right, words):
    feedback = exercises.check_autocorrelation(function)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("alpha", "is_right", "words"),
    [
        (None, False, "no number"),
        (1.5, False, "between 0 and 1"),
        (0.5, False, "more of the skip"),
        (0.99, False, "less of the skip"),
    ],
)
def test_the_skip_weight_check_says_which_way_to_go(alpha, is_right, words):
    feedback = exercises.check_skip_weight(alpha)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("dual_lr", "is_right", "words"),
    [
        (None, False, "no number"),
        (-1.0, False, "above 0"),
        (1e-9, False, "still there"),
        (1e-1, False, "before 500: take a smaller"),
        (constraints.size_dual_lr(900), False, "after 500: take a larger"),
        (constraints.size_dual_lr(500), True, "gone at step"),
    ],
)
def test_the_step_size_check_lets_the_librarys_steps_decide(dual_lr, is_right, words):
    feedback = exercises.check_dual_lr(dual_lr, removal_step=500)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("damping", "is_right", "words"),
    [(None, False, "no number"), (0.2, False, "take more"), (0.4, True, "0.4"), (1.0, False, "less damping")],
)
def test_the_damping_check_wants_the_critical_one(damping, is_right, words):
    feedback = exercises.check_damping(damping, skip_lr=0.01, dual_lr=0.0004)
    assert feedback.is_right is is_right
    assert words in feedback.message
