"""Correlation of gradients: series worked by hand, noises, linear networks, and the order that theory expects."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from tests.state import Map
from van_tutorial import diagnostics, models


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


# Autocorrelation along a path.


def test_autocorrelation_of_three_points_on_a_line_is_worked_by_hand():
    gradients = torch.tensor([[1.0], [2.0], [3.0]])  # centred: -1, 0, 1
    assert diagnostics.gradient_autocorrelation(gradients, max_lag=2).tolist() == pytest.approx(
        [1.0, 0.0, -0.5]
    )


def test_autocorrelation_sums_over_all_directions():
    gradients = torch.tensor([[1.0, 4.0], [-1.0, 4.0], [1.0, -4.0], [-1.0, -4.0]])
    expected = [1.0, (-3.0 + 16.0) / 68.0, (2.0 - 32.0) / 68.0, (-1.0 - 16.0) / 68.0]
    assert diagnostics.gradient_autocorrelation(gradients, max_lag=3).tolist() == pytest.approx(expected)


def test_white_noise_has_no_autocorrelation_beyond_lag_0():
    white = diagnostics.gradient_autocorrelation(noise(256, 500), max_lag=15)
    assert white[0] == 1.0
    # Taking the mean off makes every lag -(N - k) / (N (N - 1)) on average.
    assert white[1:].abs().max() < 1 / 255 + 4.0 / math.sqrt(256 * 500)


def test_brown_noise_decays_as_its_covariance_says():
    brown = diagnostics.gradient_autocorrelation(noise(256, 4000).cumsum(dim=0), max_lag=15)
    steps = torch.arange(1, 257, dtype=torch.float64)
    covariance = torch.minimum(steps[:, None], steps[None, :])
    centred = covariance - covariance.mean(0) - covariance.mean(1, keepdim=True) + covariance.mean()
    expected = torch.stack([centred.diagonal(lag).sum() for lag in range(16)]) / centred.trace()
    torch.testing.assert_close(brown, expected, atol=0.02, rtol=0.0)
    assert brown[1] > 0.9
    assert bool((brown.diff() < 0).all())


def test_autocorrelation_does_not_see_scale_shift_or_the_shape_of_an_input():
    gradients = noise(20, 6).cumsum(dim=0)
    expected = diagnostics.gradient_autocorrelation(gradients, max_lag=5)
    other = diagnostics.gradient_autocorrelation((7.0 * gradients - 3.0).reshape(20, 1, 2, 3), max_lag=5)
    torch.testing.assert_close(other, expected)


@pytest.mark.parametrize("scale", [1e-25, 1e30])
def test_autocorrelation_of_numbers_whose_squares_leave_the_range_is_the_same(scale):
    gradients = noise(20, 6).float()
    torch.testing.assert_close(
        diagnostics.gradient_autocorrelation(scale * gradients, max_lag=5),
        diagnostics.gradient_autocorrelation(gradients, max_lag=5),
    )


@pytest.mark.parametrize("gradients", [torch.ones(5, 2), torch.zeros(5, 2)], ids=["ones", "zeros"])
def test_equal_gradients_have_no_autocorrelation_to_speak_of(gradients):
    assert diagnostics.gradient_autocorrelation(gradients, max_lag=2).isnan().all()


@pytest.mark.parametrize("depth", [2, 24])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_of_a_looks_linear_network_are_equal_up_to_rounding_and_count_as_equal(depth, dtype):
    inputs = torch.linspace(-2.0, 2.0, 64, dtype=dtype).unsqueeze(1)
    for seed in range(3):
        network = models.scalar_network("looks-linear", depth, seed=seed).to(dtype)
        gradients = diagnostics.input_gradients(network, inputs)
        assert diagnostics.gradient_autocorrelation(gradients, max_lag=3).isnan().all()


def test_gradients_that_vary_a_little_more_than_rounding_have_an_autocorrelation():
    gradients = 1.0 + 1e-3 * noise(50, 1).float()
    torch.testing.assert_close(
        diagnostics.gradient_autocorrelation(gradients, max_lag=3),
        diagnostics.gradient_autocorrelation(noise(50, 1).float(), max_lag=3),
        atol=1e-3,
        rtol=0.0,
    )


@pytest.mark.parametrize(
    ("gradients", "max_lag", "message"),
    [
        (torch.ones(5, 2), 5, "max_lag must be below the number of gradients, 5, got 5"),
        (torch.ones(5, 2), -1, "max_lag must be an integer of at least 0, got -1"),
        (torch.tensor([[1.0], [math.inf], [0.0]]), 1, "gradients must be finite"),
        (torch.tensor([[1.0], [math.nan], [0.0]]), 1, "gradients must be finite"),
    ],
)
def test_an_autocorrelation_without_meaning_is_refused(gradients, max_lag, message):
    with pytest.raises(ValueError, match=message):
        diagnostics.gradient_autocorrelation(gradients, max_lag)


# The length over which gradients stay correlated.


@pytest.mark.parametrize(
    ("autocorrelation", "level", "expected"),
    [
        ([1.0, 0.6, 0.2], 0.5, 1.25),
        ([1.0, 0.6, 0.2], 0.6, 1.0),
        ([1.0, 0.6, 0.2], 1.0, 0.0),
        ([1.0, 0.8, -0.2, 0.9], 0.3, 1.5),  # the first time
        ([1.0, 0.8, 0.8, 0.4], 0.5, 2.75),
        ([1.0, 0.0], math.exp(-1.0), 1.0 - math.exp(-1.0)),
    ],
)
def test_the_correlation_length_is_where_the_line_between_lags_meets_the_level(
    autocorrelation, level, expected
):
    values = torch.tensor(autocorrelation, dtype=torch.float64)
    assert diagnostics.correlation_length(values, level=level) == pytest.approx(expected, abs=1e-12)
    assert diagnostics.correlation_length(values, 0.25, level) == pytest.approx(0.25 * expected, abs=1e-12)


@given(length=st.floats(1.0, 20.0))
def test_an_exponential_decay_has_its_own_length(length):
    values = torch.exp(-torch.arange(60, dtype=torch.float64) / length)
    # The curve is hollow, so that the line between two lags lies above it, by up to 1 / (8 length) in length.
    assert length - 1e-9 <= diagnostics.correlation_length(values) < length + 0.13 / length


def test_white_noise_is_forgotten_within_a_step_and_brown_noise_is_not():
    white = diagnostics.gradient_autocorrelation(noise(256, 500), max_lag=15)
    assert diagnostics.correlation_length(white) == pytest.approx(1.0 - math.exp(-1.0), abs=0.01)
    brown = diagnostics.gradient_autocorrelation(noise(256, 500).cumsum(dim=0), max_lag=60)
    assert diagnostics.correlation_length(brown) > 10.0


def test_a_level_that_is_not_reached_is_infinitely_far_and_no_autocorrelation_has_no_length():
    assert diagnostics.correlation_length(torch.tensor([1.0, 0.9, 0.8])) == math.inf
    assert diagnostics.correlation_length(torch.tensor([1.0])) == math.inf
    assert math.isnan(diagnostics.correlation_length(torch.tensor([math.nan, math.nan])))


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"spacing": 0.0}, "spacing must be a number above 0, got 0.0"),
        ({"spacing": math.inf}, "spacing must be a number above 0, got inf"),
        ({"level": 0.0}, r"level must be a number in \(0, 1\], got 0.0"),
        ({"level": 1.1}, r"level must be a number in \(0, 1\], got 1.1"),
        ({"level": math.nan}, r"level must be a number in \(0, 1\], got nan"),
    ],
)
def test_a_length_without_meaning_is_refused(choices, message):
    with pytest.raises(ValueError, match=message):
        diagnostics.correlation_length(torch.tensor([1.0, 0.0]), **choices)


# Correlation between any two gradients.


def test_the_gradients_of_a_linear_network_are_all_the_same(few_images):
    linear = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    correlations = diagnostics.gradient_correlation(linear, few_images.test_images[:5], output=3)
    torch.testing.assert_close(correlations, torch.ones(5, 5))
    assert diagnostics.pair_correlation(correlations) == pytest.approx(1.0)


def test_gradients_in_directions_at_right_angles_are_not_correlated():
    square = Map(lambda x: x.square().sum(dim=1))  # whose gradient is twice the input
    inputs = torch.tensor([[3.0, 0.0], [0.0, 0.5], [-2.0, 0.0], [1.0, 1.0]])
    root = math.sqrt(0.5)
    expected = torch.tensor(
        [[1.0, 0.0, -1.0, root], [0.0, 1.0, 0.0, root], [-1.0, 0.0, 1.0, -root], [root, root, -root, 1.0]]
    )
    torch.testing.assert_close(diagnostics.gradient_correlation(square, inputs), expected)


def test_correlations_are_cosine_similarities():
    gradients = noise(7, 2, 3)
    correlations = diagnostics.correlation_matrix(gradients)
    rows = gradients.flatten(1)
    torch.testing.assert_close(correlations, functional.cosine_similarity(rows[:, None], rows[None], dim=2))
    torch.testing.assert_close(correlations, correlations.T)
    torch.testing.assert_close(correlations.diagonal(), torch.ones(7, dtype=torch.float64))


def test_correlations_never_leave_their_range():
    gradients = noise(40, 3).float()
    gradients = torch.cat((gradients, -3.0 * gradients))
    assert diagnostics.correlation_matrix(gradients).abs().max() == 1.0


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_correlations_of_numbers_whose_squares_leave_the_range_are_the_same(scale):
    gradients = noise(4, 6).float()
    scales = torch.tensor([scale, 1.0, scale, 1.0]).unsqueeze(1)
    torch.testing.assert_close(
        diagnostics.correlation_matrix(scales * gradients), diagnostics.correlation_matrix(gradients)
    )


def test_a_gradient_of_0_has_no_correlation_and_the_others_keep_theirs():
    gradients = torch.tensor([[1.0, 0.0], [0.0, 0.0], [2.0, 0.0]])
    correlations = diagnostics.correlation_matrix(gradients)
    assert correlations[1].isnan().all()
    assert correlations[:, 1].isnan().all()
    assert correlations[::2, ::2].tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert math.isnan(diagnostics.pair_correlation(correlations))


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_gradients_that_are_not_finite_have_no_correlations(value):
    with pytest.raises(ValueError, match="gradients must be finite"):
        diagnostics.correlation_matrix(torch.tensor([[1.0], [value]]))
    with pytest.raises(ValueError, match="gradients must be finite"):
        diagnostics.gradient_correlation(Map(lambda x: x.sqrt()), torch.tensor([[0.0], [1.0]]))


def test_a_correlation_takes_an_output_that_is_named(few_images):
    with pytest.raises(ValueError, match="The network has 10 outputs"):
        diagnostics.gradient_correlation(models.mlp(depth=1, width=4, seed=0), few_images.test_images[:3])


def test_the_correlation_of_pairs_leaves_out_each_gradient_with_itself():
    correlations = torch.tensor([[1.0, 0.5, 0.25], [0.5, 1.0, 0.0], [0.25, 0.0, 1.0]])
    assert diagnostics.pair_correlation(correlations) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="A pair takes two inputs, got 1"):
        diagnostics.pair_correlation(torch.ones(1, 1))


@pytest.mark.parametrize("depth", [10, 30])
def test_on_test_images_a_deep_plain_network_shatters_its_gradients_more_than_a_residual_one(images, depth):
    def measure(**choices):
        found = []
        for seed in range(5):
            model = models.mlp(depth=depth, width=64, seed=seed, **choices)
            correlations = diagnostics.gradient_correlation(
                model, images.test_images[:12], output=0, statistics="constant"
            )
            found.append(diagnostics.pair_correlation(correlations))
        return sum(found) / len(found)

    plain = measure(connection="plain")
    residual = measure(connection="residual")
    scaled = measure(connection="residual", residual_scale=0.1)
    assert abs(plain) < 0.1
    assert plain + 0.05 < residual
    assert residual + 0.3 < scaled


# Paths through the space of inputs.


def test_a_straight_path_goes_from_one_image_to_another_in_even_steps(images):
    start, end = images.test_images[0], images.test_images[1]
    path = diagnostics.straight_path(start, end, num_points=5)
    assert path.shape == (5, *start.shape)
    assert path.dtype == start.dtype
    assert torch.equal(path[0], start)
    assert torch.equal(path[-1], end)
    torch.testing.assert_close(path[2], (start + end) / 2)
    torch.testing.assert_close(path.diff(dim=0), ((end - start) / 4).expand(4, *start.shape))


def test_the_shortest_path_has_both_ends():
    assert diagnostics.straight_path(torch.tensor(1.0), torch.tensor(3.0), 2).tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("end", "num_points", "message"),
    [
        (torch.zeros(3), 5, r"start and end must have one shape, got \(2,\) and \(3,\)"),
        (torch.zeros(2), 1, "num_points must be an integer of at least 2, got 1"),
    ],
)
def test_a_path_that_cannot_be_is_refused(end, num_points, message):
    with pytest.raises(ValueError, match=message):
        diagnostics.straight_path(torch.zeros(2), end, num_points)
