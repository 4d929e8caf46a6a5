"""The checks: they hint, and they do not raise on an untouched stub."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import pad

from van_tutorial import constraints, diagnostics, exercises, models, segmentation
from van_tutorial.exercises import checker


def run(steps, removed_by="multipliers", accuracy=0.7):
    return SimpleNamespace(
        first_zero_steps=steps, num_steps=100, removed_by=removed_by, test_accuracy=accuracy
    )


@pytest.mark.parametrize(
    ("result", "is_right", "words"),
    [
        (None, False, "no run yet"),
        (run(()), False, "no skip weights"),
        (run((10, None)), False, "1 of 2 skip weights never reached 0"),
        (run((10, 30), removed_by="cap"), False, "the cap removed"),
        (run((5, 10)), False, "needs a quarter"),
        (run((10, 60)), False, "needs four times"),
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
        (None, run(()), False, "no answer yet. Both results"),
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


@pytest.mark.parametrize(
    ("number", "is_right", "words"),
    [
        (None, False, "no answer yet. The accuracy is the fraction of the 400"),
        (100, True, "100 of 400"),
        (300, False, "how many it classified correctly"),
        (0.25, False, "that is a fraction"),
        (5, False, "it is more"),
        (400, False, "it is less"),
        ("many", False, "not a number"),
    ],
)
def test_the_first_check_tells_wrong_from_right_and_a_fraction_from_a_number(number, is_right, words):
    feedback = exercises.check_wrong_images(number, accuracy=0.75, num_images=400)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 1.0])
def test_the_first_check_takes_the_right_number_where_it_is_none_half_or_all(accuracy):
    wrong = round(1000 * (1 - accuracy))
    assert exercises.check_wrong_images(wrong, accuracy, num_images=1000).is_right


@pytest.mark.parametrize(
    ("function", "is_right", "words"),
    [
        (lambda predictions, labels: None, False, "returns nothing yet. Comparing"),
        (
            lambda predictions, labels: None if len(labels) == 5 else 0.75,
            False,
            "nothing for some of its inputs",
        ),
        (lambda predictions, labels: (predictions == labels).float().mean(), True, "8 images and with 5"),
        (lambda predictions, labels: int((predictions == labels).sum()) / len(labels), True, "8 images and"),
        (lambda predictions, labels: (predictions == labels).sum(), False, "number of right predictions"),
        (lambda predictions, labels: (predictions != labels).float().mean(), False, "fraction of wrong"),
        (lambda predictions, labels: 100 * (predictions == labels).float().mean(), False, "percent"),
        (lambda predictions, labels: (predictions == labels).sum() / 1000, False, "not every call has 1,000"),
        (lambda predictions, labels: 0.5, False, "returns 0.5"),
        (lambda predictions, labels: predictions == labels, False, "must return one number"),
        (lambda predictions, labels: (predictions == labels).mean(), False, "by .float()"),
        (lambda predictions, labels: predictions.mean(), False, "no mean of integers"),
        (lambda predictions, labels: predictions.nothing, False, "raised AttributeError"),
    ],
)
def test_the_accuracy_check_calls_the_function_and_names_the_slip(function, is_right, words):
    feedback = exercises.check_accuracy(function)
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
        (None, False, "no answer yet. Look at the plain"),
        (7, False, "2, 10, 40"),
        (2, False, "further down"),
        (40, True, "depth 40"),
        (40.0, True, "depth 40"),
        ("40", False, "Leave the quotes out"),
    ],
)
def test_the_degradation_check_finds_the_first_depth_that_falls_behind(depth, is_right, words):
    feedback = exercises.check_degradation_depth(depth, RUNS, gap=0.1)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("gap", "is_right", "words"),
    [
        (None, False, "no answer yet. It is the mean"),
        (0.15, True, "0.150"),
        (-0.15, False, "wrong way round"),
        (0.05, False, "larger"),
        (0.4, False, "smaller"),
        (0.8, False, "one of the two accuracies, the test"),
        (0.95, False, "one of the two accuracies, the training"),
        ("0.15", False, "Leave the quotes out"),
        ("a lot", False, "not a number"),
    ],
)
def test_the_gap_check_knows_the_sign(gap, is_right, words):
    feedback = exercises.check_generalization_gap(gap, RUNS, depth=2)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("gap", "is_right", "words"),
    [
        (0.0036, True, "0.004"),
        (0.004, True, "0.004"),
        (0.0, False, "larger"),
        (-0.004, False, "wrong way round"),
        (0.15, False, "the shallowest network: the one of depth 40"),
    ],
)
def test_the_gap_check_tells_a_small_gap_from_none(gap, is_right, words):
    runs = RUNS.assign(test_accuracy=RUNS["train_accuracy"] - 0.0036)
    runs.loc[0, "test_accuracy"] = 0.8
    feedback = exercises.check_generalization_gap(gap, runs, depth=40)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("gradients", "is_right", "words"),
    [
        ([1.0, 2.0, 5.0], True, "5 times"),
        ([0.01, 0.1, 1.0], False, "larger scale"),
        ([1.0, 0.1, 0.01], False, "smaller scale"),
        ([0.0, 0.1, 1.0], False, "larger scale"),
        ([1.0, math.nan], False, "not a number"),
        ([math.inf, math.inf], False, "out of range"),
        ([], False, "not a number"),
    ],
)
def test_the_level_check_says_which_way_to_go(gradients, is_right, words):
    feedback = exercises.check_level_gradients(pd.DataFrame({"output_grad_norm": gradients}))
    assert feedback.is_right is is_right
    assert words in feedback.message
    assert "Give my_scale a number" in exercises.check_level_gradients(None).message


@pytest.mark.parametrize(
    ("factor", "is_right", "words"),
    [
        (None, False, "no answer yet. sigma_w^2"),
        (0.9, True, "0.9"),
        (0.81, False, "root"),
        (1.62, False, "that is sigma_w^2"),
        (1.27, False, "that is sigma_w:"),
        (0.405, False, "variance of 2 / n"),
        (0.45, False, "He's 2 makes up"),
        (0.5, False, "larger"),
        (1.2, False, "smaller"),
    ],
)
def test_the_layer_factor_check_knows_the_square_from_the_norm(factor, is_right, words):
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
        (lambda s, lag: (s[:-lag] * s[lag:]).sum() / s.square().sum(), False, "z[: len(z) - lag]"),
        (lambda s, lag: ((s - s.mean()) * (s - s.mean()).roll(lag)).sum() / 62.0, False, "in a ring"),
        (lambda signal, lag: torch.ones(2), False, "must return one number"),
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
        (None, False, "no answer yet. Try some"),
        ("0.86", False, "Leave the quotes out"),
        (1.5, False, "between 0 and 1"),
        (0.5, False, "more of the skip"),
        (0.85, False, "more of the skip"),
        (0.86, True, "0.52 at depth 50"),
        (0.87, False, "less of the skip"),
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
        (None, False, "(25 steps more or less are accepted.)"),
        ("fast", False, "not a number"),
        (-1.0, False, "above 0"),
        (1e-9, False, "still above 0"),
        (1e-1, False, "before 500: take a smaller"),
        (constraints.size_dual_lr(900, slope=0.3), False, "after 500: take a larger"),
        (constraints.size_dual_lr(500, slope=0.3), True, "reaches 0 at step"),
    ],
)
def test_the_dual_learning_rate_check_lets_the_librarys_steps_decide(dual_lr, is_right, words):
    feedback = exercises.check_dual_lr(dual_lr, removal_step=500)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("damping", "is_right", "words"),
    [
        (None, False, "no answer yet. When do the two roots"),
        (0.3, False, "take more"),
        (0.2, False, "factor 2 is missing"),
        (10.0, False, "upside down"),
        (0.004, False, "skip_lr c"),
        (0.4, True, "0.4"),
        (1.0, False, "less damping is enough"),
    ],
)
def test_the_damping_check_wants_the_critical_one(damping, is_right, words):
    feedback = exercises.check_damping(damping, skip_lr=0.01, dual_lr=0.0004)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("number", "is_right", "words"),
    [
        (None, False, "no answer yet. How many ways"),
        (7, True, "7 of 8"),
        (3, False, "exactly 2"),
        (6, False, "passes no layer at all"),
        (8, False, "all paths there are"),
        (4, False, "network of 2 layers"),
        (2, False, "more"),
        (100, False, "fewer"),
        ("many", False, "not a number"),
    ],
)
def test_the_path_check_counts_the_short_ones_too(number, is_right, words):
    feedback = exercises.check_number_of_paths(number, depth=3, longest=2)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("bias", "is_right", "words"),
    [
        (None, False, "no answer yet. Every layer keeps"),
        (-4.97, True, "T = 0.0069"),
        (4.97, False, "wrong way round"),
        (0.0069, False, "that is the gate T"),
        (-6.0, False, "open a little further"),
        (-3, False, "closed further"),
        ("low", False, "not a number"),
    ],
)
def test_the_bias_check_knows_the_sign(bias, is_right, words):
    feedback = exercises.check_transform_bias(bias, depth=100, fraction=0.5)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("function", "is_right", "words"),
    [
        (lambda x, f, gate: None, False, "returns nothing yet"),
        (lambda x, f, gate: torch.lerp(x, f, gate.sigmoid()), True, "agrees"),
        (lambda x, f, gate: torch.lerp(f, x, gate.sigmoid()), False, "exchanged"),
        (lambda x, f, gate: torch.lerp(x, f, gate), False, "sigmoid"),
        (lambda x, f, gate: x + gate.sigmoid() * f, False, "subtracted from x"),
        (lambda x, f, gate: gate.sigmoid() * f, False, "x is missing"),
        (lambda x, f, gate: x + f, False, "a residual layer"),
        (lambda x, f, gate: x, False, "unit by unit"),
        (lambda x, f, gate: 3.0, False, "a tensor is expected, or rows of numbers, got float"),
        (lambda x, f, gate: x[0], False, "shape (4, 3) is expected, got (3,): the sum of both parts"),
        (lambda x, f, gate: torch.lerp(x, f, gate.sigmoid()).double(), True, "agrees"),
        (lambda x, f, gate: x @ f, False, "raised RuntimeError"),
    ],
)
def test_the_highway_check_knows_the_usual_slips(function, is_right, words):
    feedback = exercises.check_highway(function)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("skips", "changes", "parameters", "is_right", "words"),
    [
        (None, None, None, False, "skips: no answer yet. Leave out the first"),
        (54, None, None, False, "with a change of size: no answer yet. There are three"),
        (54, 2, 0, True, "54 skips"),
        (108, 2, 0, False, "skips: that is too many. Leave out the first"),
        (54, 1, 0, False, "too few"),
        (54, 2, 512, False, "anything to learn"),
        (54, 2, -1, False, "not negative"),
        (54, 2, "none", False, "not a number"),
    ],
)
def test_the_count_check_goes_through_the_three_numbers(skips, changes, parameters, is_right, words):
    answers = {"skips": skips, "with a change of size": changes, "parameters": parameters}
    feedback = exercises.check_skip_counts(answers, depth=110)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("num_bytes", "is_right", "words"),
    [
        (None, False, "no answer yet. Which of x"),
        (65536, True, "65,536 bytes"),
        (16384, False, "4 bytes"),
        (196608, False, "peak with a skip"),
        (131072, False, "peak without a skip"),
        (1000, False, "more"),
        (100_000, False, "less"),
        ("much", False, "not a number"),
    ],
)
def test_the_memory_check_wants_bytes(num_bytes, is_right, words):
    feedback = exercises.check_peak_difference(num_bytes, width=16, size=32)
    assert feedback.is_right is is_right
    assert words in feedback.message


def test_the_memory_check_says_what_is_measured():
    inputs = torch.zeros(1, 3, 32, 32)
    networks = {name: models.convnet(depth=8, connection=name, seed=0) for name in ("residual", "plain")}
    peaks = diagnostics.costs(networks, inputs, seconds_per_model=0.0)["peak_activation_bytes"]
    assert exercises.check_peak_difference(int(peaks[0] - peaks[1]), width=16, size=32).is_right


@pytest.mark.parametrize(
    ("function", "is_right", "words"),
    [
        (lambda x, num_new: None, False, "returns nothing yet"),
        (lambda x, num_new: pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, num_new)), True, "agrees"),
        (lambda x, num_new: pad(x[:, :, ::2, ::2], (0, 0, 0, 0, num_new, 0)), False, "after the channels"),
        (
            lambda x, num_new: pad(x[:, :, 1::2, 1::2], (0, 0, 0, 0, 0, num_new)),
            False,
            "from the first one on",
        ),
        (lambda x, num_new: x[:, :, ::2, ::2].expand(-1, 1 + num_new, -1, -1), False, "must be zeros"),
        (lambda x, num_new: x[:, :, ::2, ::2], False, "shape (2, 3, 3, 3) is expected, got (2, 1, 3, 3)"),
        (lambda x, num_new: pad(x[:, :, ::2, ::2], (0, num_new)), False, "third pair"),
        (lambda x, num_new: x[5], False, "raised IndexError"),
        (lambda x, num_new: 0.0, False, "tensor"),
    ],
)
def test_the_subsample_check_knows_the_usual_slips(function, is_right, words):
    feedback = exercises.check_subsample(function)
    assert feedback.is_right is is_right
    assert words in feedback.message


TRUE_MAP, GIVEN_MAP = [[0, 0, 1], [0, 1, 1], [2, 2, 1]], [[0, 0, 1], [0, 0, 1], [2, 1, 1]]


@pytest.mark.parametrize(
    ("value", "is_right", "words"),
    [
        (None, False, "no answer yet. For each class"),
        (0.62, True, "0.617"),
        ((3 / 4 + 3 / 5 + 1 / 2) / 3, True, "0.617"),
        (7 / 9, False, "pixel accuracy"),
        ((6 / 7 + 6 / 8 + 2 / 3) / 3, False, "Dice"),
        ((3 / 5 + 1 / 2) / 2, False, "background is a class"),
        (7 / 11, False, "pools the classes"),
        ((3 / 3 + 3 / 4 + 1 / 2) / 3, False, "truly"),
        ((3 / 4 + 3 / 4 + 1) / 3, False, "gives"),
        (61.7, False, "not in percent"),
        (0.1, False, "larger"),
        (0.9, False, "smaller"),
        ("half", False, "not a number"),
    ],
)
def test_the_union_check_knows_other_measures(value, is_right, words):
    feedback = exercises.check_mean_iou(value, TRUE_MAP, GIVEN_MAP)
    assert feedback.is_right is is_right
    assert words in feedback.message


def test_the_union_check_agrees_with_the_library():
    given = torch.nn.functional.one_hot(torch.tensor([GIVEN_MAP]), 3).movedim(-1, 1).float()
    value = segmentation.mean_iou(torch.nn.Identity(), given, torch.tensor([TRUE_MAP]), num_classes=3)
    assert exercises.check_mean_iou(value, TRUE_MAP, GIVEN_MAP).is_right


@pytest.mark.parametrize(
    ("width", "is_right", "words"),
    [
        (None, False, "no answer yet. Count as the cell above"),
        (0, False, "not a number of channels"),
        (11, False, "fewer than 31,579"),
        (12, True, "34,607"),
        (13, False, "enough already"),
        (1000, False, "far too wide"),
        (12.5, False, "not a number of channels"),
    ],
)
def test_the_width_check_wants_the_smallest(width, is_right, words):
    feedback = exercises.check_equal_width(width)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("fraction", "is_right", "words"),
    [
        (None, False, "no answer yet. It is the gain"),
        (0.75, True, "0.75"),
        (75, False, "percent"),
        (0.25, False, "other part"),
        (0.06, False, "the wide master's gain"),
        (0.08, False, "the gain with the slave"),
        (0.947, False, "fractions of the *rise*"),
        (0.5, False, "larger"),
        (0.9, False, "smaller"),
    ],
)
def test_the_gain_check_asks_for_the_fraction_of_the_parameters(fraction, is_right, words):
    scores = {"master": 0.3, "wide master": 0.36, "slave, sum": 0.38}
    runs = pd.DataFrame({"network": scores.keys(), "mean_iou": scores.values()})
    for measure in ("mean_iou", "pixel_accuracy"):
        feedback = exercises.check_gain_fraction(
            fraction, runs.set_axis(["network", measure], axis=1), measure
        )
        assert feedback.is_right is is_right
        assert words in feedback.message


@pytest.mark.parametrize(
    ("function", "is_right", "words"),
    [
        (lambda w1, b1, w2, b2: None, False, "returns nothing yet"),
        (lambda w1, b1, w2, b2: (w2 @ w1, w2 @ b1 + b2), True, "W2 W1"),
        (lambda w1, b1, w2, b2: (w1 @ w2, b2), False, "stands at the right"),
        (lambda w1, b1, w2, b2: ((w1.T @ w2.T), b2), False, "shape (2, 3)"),
        (lambda w1, b1, w2, b2: (w2[:, :3], b2), False, "not the factor of x"),
        (lambda w1, b1, w2, b2: (w2 @ w1, b2), False, "goes through the second layer too"),
        (lambda w1, b1, w2, b2: (w2 @ w1, w2 @ b1), False, "b is not"),
        (lambda w1, b1, w2, b2: (w1 @ w2, b2), False, "stands at the right"),
        (lambda w1, b1, w2, b2: (w2 @ w1, b1 + b2), False, "goes through W2"),
        (lambda w1, b1, w2, b2: w2 @ w1, False, "two tensors"),
        (lambda w1, b1, w2, b2: 1.0, False, "two tensors"),
        (lambda w1, b1, w2, b2: ((w2 @ w1).double(), (w2 @ b1 + b2).numpy()), True, "W2 W1"),
    ],
)
def test_the_merge_check_knows_the_usual_slips(function, is_right, words):
    feedback = exercises.check_merge(function)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("answers", "is_right", "words"),
    [
        ({}, False, "no answer"),
        ({"van": None}, False, "van: no answer yet. Its layer: alpha x"),
        ({"van": True, "rezero": True}, False, "rezero: x + s f(x) keeps the x"),
        ({"repvgg": False}, False, "repvgg: its branches"),
        ({"van": True, "rezero": False, "dirac": True}, True, "van, dirac"),
        ({"van": "yes"}, False, "neither True nor False"),
        ({"alexnet": True}, False, "not asked for"),
    ],
)
def test_the_endings_check_goes_through_the_answers_one_by_one(answers, is_right, words):
    feedback = exercises.check_endings(answers)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("function", "is_right", "words"),
    [
        (lambda f, s, alpha: None, False, "returns nothing yet"),
        (lambda f, s, alpha: (f + alpha * s).relu(), True, "as it was"),
        (lambda f, s, alpha: f + alpha * s, False, "around the sum"),
        (lambda f, s, alpha: torch.relu((1 - alpha) * f + alpha * s), False, "nothing is left of f"),
        (lambda f, s, alpha: alpha * torch.relu(f + s), False, "the whole block"),
        (lambda f, s, alpha: torch.relu(f + s), False, "no effect"),
        (lambda f, s, alpha: torch.relu(alpha * f + s), False, "weights f"),
        (lambda f, s, alpha: torch.relu(f) + alpha * s, False, "inside the ReLU"),
        (lambda f, s, alpha: torch.relu(f - alpha * s), False, "the skip is weighted alone"),
    ],
)
def test_the_check_of_a_weighted_block_knows_the_usual_slips(function, is_right, words):
    feedback = exercises.check_weighted_block(function)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("with_skip", "without", "is_right", "words"),
    [
        (None, None, False, "with its skip: no answer yet"),
        (96, None, False, "without: no answer yet"),
        (96, 64, True, "three tensors"),
        (64, 64, False, "x is still needed"),
        (96, 96, False, "nothing waits"),
        (24, 64, False, "of four bytes each"),
        (32, 64, False, "fewer tensors"),
        (96, 128, False, "no longer read is freed"),
    ],
)
def test_the_check_of_a_blocks_peak_counts_the_tensors_alive(with_skip, without, is_right, words):
    feedback = exercises.check_block_peaks({"with its skip": with_skip, "without": without}, 2, size=2)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(("has_skip", "name"), [(True, "with its skip"), (False, "without")])
def test_a_blocks_peak_is_what_the_costs_say(has_skip, name):
    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = (torch.nn.Conv2d(3, 3, 3, padding=1) for _ in range(2))

        def forward(self, x):
            inside = self.two(self.one(x))
            return inside + x if has_skip else inside

    peak = diagnostics.costs({"": Block()}, torch.zeros(1, 3, 5, 5), 0.0)["peak_activation_bytes"].item()
    other = dict.fromkeys(("with its skip", "without"))
    assert f"{name}: " not in exercises.check_block_peaks(other | {name: peak}, 3, size=5).message.replace(
        "with its skip: no answer", ""
    )


FREE = torch.tensor([[3.0, 4.0], [0.0, 2.0]])


@pytest.mark.parametrize(
    ("weight", "is_right", "words"),
    [
        (None, False, "no answer yet. First divide"),
        ("a matrix", False, "rows of numbers, got str"),
        ([[1.0], [0.0, 1.0]], False, "rows of numbers, got list"),
        ([[1.0, 0.0]], False, "shape (2, 2) is expected, got (1, 2)"),
        ([[1.06, 0.08], [0.0, 0.7]], True, "no skip"),
        (torch.tensor([[1.06, 0.08], [0.0, 0.7]]), True, "no skip"),
        ([[0.06, 0.08], [0.0, 0.2]], False, "identity is not in it"),
        ([[1.3, 0.4], [0.0, 0.9]], False, "not divided"),
        ([[1.1, 0.0894], [0.0, 0.5894]], False, "norms of its columns"),
        ([[1.0557, 0.0743], [0.0, 0.5743]], False, "by one norm"),
        ([[1.06, 0.16], [0.0, 0.7]], False, "scales rows"),
        ([[0.7, 0.8], [0.0, 0.7]], False, "a and b are exchanged"),
        ([[1.06, 1.08], [0.5, 0.7]], False, "on the diagonal only"),
        ([[1.06, 0.08], [0.0, 0.9]], False, "in row 2 it differs"),
        ([[1.0, 0.0], [0.0, 1.0]], False, "in row 1, 2 it differs"),
    ],
)
def test_the_folding_check_knows_the_usual_slips(weight, is_right, words):
    scales = torch.tensor([1.0, 0.5]), torch.tensor([0.1, 0.2])
    feedback = exercises.check_folded_weight(weight, *scales, FREE)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("number", "is_right", "words"),
    [
        (None, False, "no answer yet. a and b"),
        (7, False, "that is a alone"),
        (14, True, "14"),
        (3, False, "it is more"),
        (100, False, "it is less"),
        ("all", False, "not a number"),
    ],
)
def test_the_saving_check_counts_a_and_b(number, is_right, words):
    network = torch.nn.Sequential(
        models.add_dirac(torch.nn.Linear(3, 3)),
        models.add_dirac(torch.nn.Linear(3, 4)),
        torch.nn.Linear(4, 2),
    )
    feedback = exercises.check_saved_parameters(number, network)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("function", "is_right", "words"),
    [
        (lambda v: None, False, "returns nothing yet"),
        (lambda v: torch.cat((v, -v), dim=1), True, "= V z"),
        (lambda v: torch.cat((-v, v), dim=1), False, "sign"),
        (lambda v: torch.cat((v, v), dim=1), False, "V |z|"),
        (lambda v: torch.cat((v, -v)), False, "side by side"),
        (lambda v: torch.cat((v, 0 * v), dim=1), False, "does not give V z"),
        (lambda v: v @ v, False, "raised RuntimeError"),
        (lambda v: torch.stack((v, -v), dim=2).reshape(2, 6), False, "all of relu(z) first"),
        (lambda v: [v, -v], False, "rows of numbers, got list"),
    ],
)
def test_the_mirror_check_knows_the_usual_slips(function, is_right, words):
    feedback = exercises.check_mirrored_weight(function)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("stretch", "is_right", "words"),
    [
        (None, False, "no answer yet. Each layer"),
        (0.13, True, "0.129"),
        (0.95**40, True, "0.129"),
        (0.1285, True, "0.129"),
        (0.95**42, False, "input layer and head"),
        (1.0, False, "without the factor"),
        (0.95, False, "one layer"),
        (0.95 * 40, False, "not a multiple"),
        (0.95**80, False, "its square"),
        (0.05, False, "larger"),
        (0.5, False, "smaller"),
        ("small", False, "not a number"),
    ],
)
def test_the_stretch_check_multiplies_the_layers(stretch, is_right, words):
    feedback = exercises.check_stretch(stretch, scale=0.95, depth=40)
    assert feedback.is_right is is_right
    assert words in feedback.message


@pytest.mark.parametrize(
    ("width", "is_right", "words"),
    [
        (None, False, "no answer yet. A layer of m units"),
        (23, True, "22.6"),
        (32 / 2**0.5, True, "22.6"),
        (16, False, "half as many"),
        (20, False, "fewer"),
        (32, False, "more"),
        ("wide", False, "not a number"),
    ],
)
def test_the_width_check_counts_the_inputs_twice(width, is_right, words):
    feedback = exercises.check_crelu_width(width, plain_width=32)
    assert feedback.is_right is is_right
    assert words in feedback.message


DESIGN = {
    "vary": "skip_weight",
    "values": [0.5, 0.8, 0.95],
    "seeds": [0, 1, 2],
    "validation_fraction": 0.2,
    "choose on": "validation",
    "report on": "test",
}


@pytest.mark.parametrize(
    ("changed", "is_right", "words"),
    [
        ({}, True, "3 values with 3 seeds each, 9 runs"),
        ({"seeds": 5}, True, "15 runs"),
        ({"seeds": np.int64(5)}, True, "15 runs"),
        ({"seeds": range(4)}, True, "12 runs"),
        ({"vary": None}, False, "vary: no answer yet"),
        ({"report on": None}, False, "report on: no answer yet"),
        ({"vary": ["skip_weight", "lr"]}, False, "several things (skip_weight, lr)"),
        ({"vary": 3}, False, "not a parameter's name"),
        ({"vary": "seed"}, False, "repeat over"),
        ({"vary": "skip_wait"}, False, "Similar names: skip_weight"),
        ({"vary": "lr"}, False, "another question"),
        ({"values": 0.5}, False, "a list is needed"),
        ({"values": [0.5, 1.5]}, False, "skip_weight must be a number in [0, 1], got 1.5"),
        ({"values": ["low", 0.95]}, False, "got 'low'"),
        ({"values": [0.95, 0.95]}, False, "listed twice"),
        ({"values": [0.95]}, False, "nothing to be compared with"),
        ({"values": [0.5, 0.8]}, False, "the default, 0.95"),
        ({"seeds": [7]}, False, "one seed tells nothing about the spread"),
        ({"seeds": 2}, False, "at least three"),
        ({"seeds": []}, False, "nothing runs"),
        ({"seeds": [0, 1, 1]}, False, "the same run once more"),
        ({"seeds": "0 to 3"}, False, "integers from 0 on"),
        ({"validation_fraction": 0.0}, False, "there is no validation set"),
        ({"validation_fraction": "a fifth"}, False, "a fraction from 0 to 0.9"),
        ({"choose on": "test"}, False, "you choose on the test set"),
        ({"choose on": "training"}, False, "memorizes"),
        ({"choose on": "luck"}, False, "none of training, validation, test"),
        ({"report on": "validation"}, False, "too high there"),
        ({"report on": "training"}, False, "images outside it"),
    ],
)
def test_the_design_check_names_the_first_flaw_of_an_experiment(changed, is_right, words):
    feedback = exercises.check_design({**DESIGN, **changed}, about="skip_weight")
    assert feedback.is_right is is_right
    assert words in feedback.message


def test_the_design_check_hints_while_nothing_is_described_and_knows_parameters_of_the_training():
    assert "vary: no answer yet" in exercises.check_design({}, about="lr").message
    design = {**DESIGN, "vary": "lr", "values": [0.001, 0.003, 0.01]}
    assert exercises.check_design(design, about="lr").is_right
    assert "lr must be" in exercises.check_design({**design, "values": [0.0, 0.003]}, about="lr").message


# By seed: slow 0.70, 0.72, 0.77 and fast 0.60, 0.66, 0.71, so differences of -0.10, -0.06, -0.06.
SWEPT = pd.DataFrame(
    [
        ("slow", 0, 0.70),
        ("slow", 1, 0.72),
        ("slow", 2, 0.77),
        ("fast", 2, 0.71),
        ("fast", 0, 0.60),
        ("fast", 1, 0.66),
        ("fast", 9, 0.10),  # no pair
    ],
    columns=["setting", "seed", "test accuracy"],
)


@pytest.mark.parametrize(
    ("mean", "sd", "is_right", "words"),
    [
        (None, None, False, "mean: no answer yet. First a difference"),
        (-0.0733, None, False, "sd: no answer yet. First a difference"),
        (-0.0733, 0.0231, True, "-0.073 ± 0.023 over 3 seeds; fast is ahead in 0 of them"),
        (-0.073, 0.023, True, "over 3 seeds"),
        (0.0733, 0.0231, False, "wrong way round: subtract slow from fast"),
        (-0.2, 0.0231, False, "not the mean over the seeds"),
        ("much", 0.0231, False, "not a number"),
        (-0.0733, 0.01886, False, "ddof=1"),
        (-0.0733, 0.01333, False, "root of n"),
        (-0.0733, 0.5, False, "not the s.d. of the differences"),
    ],
)
def test_the_paired_difference_check_pairs_by_seed_and_knows_the_usual_slips(mean, sd, is_right, words):
    feedback = exercises.check_paired_difference({"mean": mean, "sd": sd}, SWEPT, "slow", "fast")
    assert feedback.is_right is is_right
    assert words in feedback.message


def test_the_paired_difference_check_recognises_a_comparison_without_pairs():
    whole = SWEPT[SWEPT["seed"] < 9]
    variances = whole.groupby("setting")["test accuracy"].var()
    feedback = exercises.check_paired_difference(
        {"mean": -0.22 / 3, "sd": variances.sum() ** 0.5}, whole, "slow", "fast"
    )
    assert "that is unpaired" in feedback.message


def test_the_paired_difference_check_says_where_there_is_no_pair():
    assert "0 seeds are in both" in exercises.check_paired_difference({}, SWEPT, "slow", "none").message


@pytest.mark.parametrize(
    ("baseline", "changed", "is_right", "words"),
    [
        (
            "fast",
            {},
            True,
            "slow was ahead of fast in 3 of 3 seeds, by +0.073 on average. That, and no more",
        ),
        ("fast", {1: None}, False, "sentence 1: no answer yet"),
        ("fast", {1: False}, False, "in 3 of 3 seeds"),
        ("fast", {2: True}, False, "luck of one seed"),
        ("fast", {3: True}, False, "nothing was trained"),
        ("fast", {4: True}, False, "seed by seed"),
        ("fast", {5: True}, False, "none of this was run"),
        ("fast", {6: True}, False, "not why"),
        ("fast", {6: "no"}, False, "neither True nor False"),
        ("slow", {}, False, "fast was ahead of slow in 0 of 3 seeds"),
        ("slow", {1: False}, True, "None of the six is shown"),
    ],
)
def test_the_claims_check_reads_the_first_sentence_off_the_runs_and_says_why_not_the_others(
    baseline, changed, is_right, words
):
    answers = {1: True, **dict.fromkeys(range(2, 7), False), **changed}
    other = "fast" if baseline == "slow" else "slow"
    feedback = exercises.check_claims(answers, SWEPT, baseline, other)
    assert feedback.is_right is is_right
    assert words in feedback.message


SCORES = pd.DataFrame({"network": ["master", "wide master", "slave, sum"], "mean_iou": [0.3, 0.36, 0.38]})
DIRAC = torch.nn.Sequential(models.add_dirac(torch.nn.Linear(3, 3)), torch.nn.Linear(3, 2))
SCALES = torch.tensor([1.0, 0.5]), torch.tensor([0.1, 0.2])
COUNTS = {"skips": 54, "with a change of size": 2, "parameters": 0}
# By the name of its messages: a check of one number, with a right answer.
NUMBERS = {
    "wrong_images": (lambda number: exercises.check_wrong_images(number, 0.75, 400), 100),
    "degradation_depth": (lambda depth: exercises.check_degradation_depth(depth, RUNS), 40),
    "generalization_gap": (lambda gap: exercises.check_generalization_gap(gap, RUNS, 2), 0.15),
    "layer_factor": (lambda factor: exercises.check_layer_factor(factor, 0.9), 0.9),
    "skip_weight": (exercises.check_skip_weight, 0.86),
    "number_of_paths": (lambda number: exercises.check_number_of_paths(number, 3, 2), 7),
    "transform_bias": (lambda bias: exercises.check_transform_bias(bias, 100, 0.5), -4.97),
    "cost": (lambda cost: exercises.check_cost(cost, run((), accuracy=0.8), run(())), 0.1),
    "dual_lr": (lambda lr: exercises.check_dual_lr(lr, 500), constraints.size_dual_lr(500, slope=0.3)),
    "damping": (lambda damping: exercises.check_damping(damping, 0.01, 0.0004), 0.4),
    "saved_parameters": (lambda number: exercises.check_saved_parameters(number, DIRAC), 6),
    "stretch": (lambda stretch: exercises.check_stretch(stretch, 0.95, 40), 0.13),
    "crelu_width": (lambda width: exercises.check_crelu_width(width, 32), 23),
    "mean_iou": (lambda value: exercises.check_mean_iou(value, TRUE_MAP, GIVEN_MAP), 0.62),
    "equal_width": (exercises.check_equal_width, 12),
    "gain_fraction": (lambda fraction: exercises.check_gain_fraction(fraction, SCORES), 0.75),
    "peak_difference": (lambda number: exercises.check_peak_difference(number, 16, 32), 65536),
}
FUNCTIONS = {
    "accuracy": (exercises.check_accuracy, lambda first, second: (first == second).float().mean()),
    "autocorrelation": (exercises.check_autocorrelation, centred),
    "highway": (exercises.check_highway, lambda x, f, gate: torch.lerp(x, f, gate.sigmoid())),
    "mirrored_weight": (exercises.check_mirrored_weight, lambda v: torch.cat((v, -v), dim=1)),
    "subsample": (exercises.check_subsample, lambda x, n: pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, n))),
    "merge": (exercises.check_merge, lambda w1, b1, w2, b2: (w2 @ w1, w2 @ b1 + b2)),
    "weighted_block": (exercises.check_weighted_block, lambda f, s, alpha: torch.relu(f + alpha * s)),
}
SEVERAL = {
    "skip_counts": (lambda answers: exercises.check_skip_counts(answers, 110), COUNTS),
    "endings": (exercises.check_endings, {"van": True, "rezero": False}),
    "block_peaks": (exercises.check_block_peaks, {"with its skip": 2_408_448, "without": 1_605_632}),
    "design": (lambda design: exercises.check_design(design, "skip_weight"), DESIGN),
    "paired_difference": (
        lambda answers: exercises.check_paired_difference(answers, SWEPT, "slow", "fast"),
        {"mean": -0.073, "sd": 0.023},
    ),
    "claims": (
        lambda answers: exercises.check_claims(answers, SWEPT, "fast", "slow"),
        {1: True, **dict.fromkeys(range(2, 7), False)},
    ),
}
OTHERS = {
    "level_gradients": (exercises.check_level_gradients, pd.DataFrame({"output_grad_norm": [1.0, 2.0]})),
    "removal_window": (lambda result: exercises.check_removal_window(result, 0.2, 0.4), run((10, 30))),
    "folded_weight": (
        lambda weight: exercises.check_folded_weight(weight, *SCALES, FREE),
        [[1.06, 0.08], [0.0, 0.7]],
    ),
}
CHECKS = {**NUMBERS, **FUNCTIONS, **SEVERAL, **OTHERS}
ODD = ["{answer}", math.nan, math.inf, 10**400, [], [1.0, 2.0], {}, object(), len, pd.NA, b"12"]
ODD += [np.array([1.0, 2.0]), torch.tensor([1.0, 2.0]), pd.Series([1.0, 2.0]), pd.DataFrame({"x": [1.0]})]
every_odd_answer = pytest.mark.parametrize("odd", ODD, ids=lambda odd: type(odd).__name__)


def test_every_check_has_its_messages_and_no_message_is_left_over():
    names = {name.removeprefix("check_") for name in exercises.__all__ if name.startswith("check_")}
    assert names == set(CHECKS) == set(checker.MESSAGES) - {"general"}


@pytest.mark.parametrize(("check", "answer"), CHECKS.values(), ids=CHECKS)
def test_every_check_takes_the_right_answer_and_has_words_for_each_slip(check, answer, monkeypatch):
    judged = []
    find_slip = checker.Check.find_slip
    monkeypatch.setattr(
        checker.Check, "find_slip", lambda table, given: judged.append(table) or find_slip(table, given)
    )
    assert check(answer).is_right
    assert judged
    for table in judged:
        assert set(table.slips) - set(checker.GENERAL) == set(table.messages.get("slips", {}))


@pytest.mark.parametrize("check", [check for check, _ in NUMBERS.values()], ids=NUMBERS)
@every_odd_answer
def test_no_check_of_a_number_takes_or_breaks_on_an_answer_of_another_kind(check, odd):
    feedback = check(odd)
    assert not feedback.is_right
    assert feedback.message


@pytest.mark.parametrize("check", [check for check, _ in FUNCTIONS.values()], ids=FUNCTIONS)
@every_odd_answer
def test_no_check_of_a_function_takes_or_breaks_on_a_result_of_another_kind(check, odd):
    feedback = check(lambda *_: odd)
    assert not feedback.is_right
    assert feedback.message


@pytest.mark.parametrize(
    ("check", "answers", "name"),
    [(check, answers, name) for check, answers in SEVERAL.values() for name in answers],
    ids=lambda value: value if isinstance(value, str | int) else "",
)
def test_no_check_of_several_answers_takes_or_breaks_on_one_of_another_kind(check, answers, name):
    for odd in ODD:
        is_huge = isinstance(odd, int)  # which is a number of seeds
        assert check({**answers, name: odd}).is_right is (is_huge and name == "seeds")


@pytest.mark.parametrize("scalar", [np.float64, np.float32, torch.tensor])
def test_scalars_of_other_libraries_count_as_numbers(scalar):
    assert exercises.check_layer_factor(scalar(0.9), init_scale=0.9).is_right
    assert exercises.check_wrong_images(scalar(100), accuracy=0.75, num_images=400).is_right


@pytest.mark.parametrize(
    ("expected", "right", "wrong"),
    [
        (7, [7, 7.0, 7 + 1e-9], [6, 8, 7.5]),
        (0.617, [0.617, 0.62, 0.6166], [0.61, 0.63, 0.6]),
        (22.6, [23, 22.6, 22.2], [22, 24]),
        (-0.0733, [-0.073, -0.0728], [-0.07, 0.073, 0.0]),
        (0.98, [0.98, 0.976], [1.0, 0.96]),
        (0.0, [0.0, 0], [1e-9, 0.01]),
        (True, [True, np.bool_(True)], [False, 1, "True"]),
        ("lr", ["lr", np.str_("lr")], ["LR", 1, ["lr"]]),
        (
            torch.tensor([1.0, 2.0]),
            [[1.0, 2.0], np.array([1, 2]), torch.tensor([1.0, 2.00009])],
            [[1.0, 2.1], 1.0],
        ),
    ],
)
def test_how_near_is_near_enough_follows_from_the_expected_value(expected, right, wrong):
    table = checker.Check(expected, messages={"right": "right.", "hint": ""})
    assert [table.judge(answer).is_right for answer in right] == [True] * len(right)
    assert [table.judge(answer).is_right for answer in wrong] == [False] * len(wrong)
