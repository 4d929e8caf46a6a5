"""What measured gradients are compared with: noises, and theory against networks that meet its assumption."""

import math

import pytest
import torch

from van_tutorial import diagnostics

WIDTH, NUM_DRAWS = 300, 60
LAYERS = (1, 2, 3, 4, 6)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# Noises.


@pytest.mark.parametrize("draw", [diagnostics.white_noise, diagnostics.brown_noise])
def test_noise_has_a_row_for_each_run_and_its_seed_decides(draw):
    noise = draw(100, 3, seed=1)
    assert noise.shape == (3, 100)
    assert torch.equal(noise, draw(100, 3, seed=1))
    assert not torch.equal(noise, draw(100, 3, seed=2))
    assert not torch.equal(noise[0], noise[1])
    assert draw(100).shape == (1, 100)


def test_noise_from_a_seed_leaves_the_global_random_state_alone_and_without_one_takes_it():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        before = torch.get_rng_state()
        diagnostics.brown_noise(50, 2, seed=0)
        assert torch.equal(torch.get_rng_state(), before)
        noise = diagnostics.white_noise(50, 2)
        assert not torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(3)
        assert torch.equal(torch.randn(2, 50), noise)


def test_white_noise_is_standard_normal_and_brown_noise_its_running_sum():
    white = diagnostics.white_noise(1000, 100, seed=0)
    assert white.mean().item() == pytest.approx(0.0, abs=4.0 / math.sqrt(100_000))
    assert white.var().item() == pytest.approx(1.0, rel=0.02)
    torch.testing.assert_close(diagnostics.brown_noise(1000, 100, seed=0), white.cumsum(dim=1))


@pytest.mark.parametrize(
    ("draw", "expected"),
    # Mean and standard deviation of one path of 256 points at lags 1, 5 and 15, by another script.
    [
        (diagnostics.white_noise, {1: (-0.01, 0.07), 5: (-0.04, 0.06), 15: (0.01, 0.06)}),
        (diagnostics.brown_noise, {1: (0.96, 0.03), 5: (0.83, 0.11), 15: (0.58, 0.17)}),
    ],
)
def test_noises_have_the_autocorrelation_that_noises_have(draw, expected):
    curves = torch.stack(
        [diagnostics.gradient_autocorrelation(run.unsqueeze(1), 15) for run in draw(256, 20, seed=0)]
    )
    for lag, (mean, deviation) in expected.items():
        assert curves[:, lag].mean().item() == pytest.approx(mean, abs=max(0.1, 3 * deviation * 0.1**0.5))


@pytest.mark.parametrize("choices", [{"num_points": 0}, {"num_points": 5, "num_runs": 0}])
def test_noise_without_points_or_runs_is_refused(choices):
    with pytest.raises(ValueError, match="must be an integer of at least 1, got 0"):
        diagnostics.white_noise(**choices)


# The correlation that theory expects.


def simulate(step):
    """Per draw, the gradients' squared length and their covariance, after each layer.

    Gradients at two inputs start as one and go back through He weights and gates that are open or shut at random,
    independently at the two inputs: just what the theory assumes.
    """
    random = generator()
    gradients = torch.randn(NUM_DRAWS, 1, 1, WIDTH, generator=random).expand(-1, 2, -1, -1)
    gradients = gradients / gradients.norm(dim=3, keepdim=True)
    for layer in range(max(LAYERS)):
        weights = torch.randn(NUM_DRAWS, 1, WIDTH, WIDTH, generator=random) * (2.0 / WIDTH) ** 0.5
        gates = torch.randint(2, (NUM_DRAWS, 2, 1, WIDTH), generator=random)
        gradients = step(gradients, (gradients @ weights) * gates, layer)
        first, second = gradients.squeeze(2).double().unbind(dim=1)
        variance = 0.5 * (first.square().sum(1) + second.square().sum(1))
        yield layer + 1, variance, (first * second).sum(dim=1)


def assert_correlations_agree(step, predict):
    """The mean of covariance less correlation times variance is 0, within four standard errors over the draws."""
    for depth, variance, covariance in simulate(step):
        if depth not in LAYERS:
            continue
        predicted = predict(depth)
        scale = variance.mean()
        rest = (covariance - predicted * variance) / scale
        tolerance = 4.0 * rest.std().item() / NUM_DRAWS**0.5
        assert tolerance < 0.1  # or the test would say little
        assert abs(rest.mean().item()) < tolerance, depth


def test_plain_networks_with_independent_gates_are_correlated_as_predicted():
    assert_correlations_agree(lambda g, back, layer: back, diagnostics.predicted_correlation)


@pytest.mark.parametrize("scale", [1.0, 0.5, 2.0])
def test_residual_networks_with_independent_gates_are_correlated_as_predicted(scale):
    assert_correlations_agree(
        lambda g, back, layer: g + scale * back,
        lambda depth: diagnostics.predicted_correlation(depth, "residual", residual_scale=scale),
    )


@pytest.mark.parametrize("scale", [1.0, 0.1, 2.0])
def test_residual_networks_with_batch_norm_and_independent_gates_are_correlated_as_predicted(scale):
    # Each layer adds scale^2 to the variance 1 of the signal, and batch norm divides by its root.
    assert_correlations_agree(
        lambda g, back, layer: g + scale / math.sqrt(1.0 + scale**2 * layer) * back,
        lambda depth: diagnostics.predicted_correlation(depth, "residual", "batch", residual_scale=scale),
    )


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 0.75, 0.95])
def test_variable_networks_with_independent_gates_are_correlated_as_predicted(alpha):
    assert_correlations_agree(
        lambda g, back, layer: alpha * g + (1.0 - alpha) * back,
        lambda depth: diagnostics.predicted_correlation(depth, "van", skip_weight=alpha),
    )


@pytest.mark.parametrize(
    ("connection", "simulated"),
    # By another script: width 300, 60 draws.
    [("plain", (0.503, 0.248, 0.127, 0.055, 0.012)), ("residual", (0.751, 0.563, 0.420, 0.328, 0.186))],
)
def test_the_prediction_agrees_with_an_independent_simulation(connection, simulated):
    predicted = [diagnostics.predicted_correlation(depth, connection) for depth in LAYERS]
    assert predicted == pytest.approx(simulated, abs=0.015)
    share = {"plain": 0.5, "residual": 0.75}[connection]
    assert predicted == [share**depth for depth in LAYERS]


@pytest.mark.parametrize("scale", [1.0, 0.1, 0.5])
def test_with_batch_norm_the_residual_correlation_is_a_ratio_of_gamma_functions(scale):
    # With c = 1 / scale^2 the factor of layer l is (c + l - 1/2) / (c + l).
    c = 1.0 / scale**2
    for depth in (0, 1, 5, 50, 500):
        expected = math.exp(
            math.lgamma(c + depth + 0.5)
            + math.lgamma(c + 1)
            - math.lgamma(c + 0.5)
            - math.lgamma(c + depth + 1)
        )
        found = diagnostics.predicted_correlation(depth, "residual", "batch", residual_scale=scale)
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("scale", "factor"), [(1.0, 2.0 / math.sqrt(math.pi)), (0.1, 1.00125)])
def test_with_batch_norm_the_residual_correlation_falls_as_one_by_the_root_of_the_depth(scale, factor):
    depth = 100_000
    found = diagnostics.predicted_correlation(depth, "residual", "batch", residual_scale=scale)
    assert found * scale * math.sqrt(depth) == pytest.approx(factor, rel=1e-3)


def test_variable_networks_go_from_one_to_plain_and_the_skip_keeps_gradients_together():
    predicted = [diagnostics.predicted_correlation(10, "van", skip_weight=a / 20) for a in range(21)]
    assert predicted[0] == diagnostics.predicted_correlation(10, "plain")
    assert predicted[-1] == 1.0
    assert predicted == sorted(predicted)


@pytest.mark.parametrize("connection", ["plain", "residual", "van"])
def test_without_layers_gradients_are_the_same(connection):
    assert diagnostics.predicted_correlation(0, connection) == 1.0


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"depth": -1}, "depth must be an integer of at least 0, got -1"),
        ({"connection": "highway"}, "connection must be one of 'plain', 'residual', 'van', got 'highway'"),
        ({"normalization": "center"}, "normalization must be one of 'none', 'batch', got 'center'"),
        ({"residual_scale": 0.0}, "residual_scale must be a number above 0"),
        ({"skip_weight": 1.5}, r"skip_weight must be a number in \[0, 1\], got 1.5"),
        ({"connection": "van", "normalization": "batch"}, "there is no formula for connection 'van' with"),
    ],
)
def test_a_correlation_that_theory_does_not_know_is_refused(choices, message):
    with pytest.raises(ValueError, match=message):
        diagnostics.predicted_correlation(**{"depth": 3, **choices})


# The mean squared singular value that theory expects.


def mean_squares(depth, init_scale, gate):
    """Per draw, the mean squared singular value of `depth` He layers; `gate` says which units pass what they get."""
    random, width, num_draws = generator(), 40, 400
    hidden = torch.randn(1, width, 1, generator=random, dtype=torch.float64).expand(num_draws, -1, -1)
    jacobian = torch.eye(width, dtype=torch.float64)
    for _ in range(depth):
        weights = torch.randn(num_draws, width, width, generator=random, dtype=torch.float64)
        weights = weights * init_scale * (2.0 / width) ** 0.5
        hidden = weights @ hidden
        is_open = gate(hidden, random)
        hidden, jacobian = is_open * hidden, is_open * (weights @ jacobian)
    return torch.linalg.svdvals(jacobian).square().mean(dim=1)


@pytest.mark.parametrize(("depth", "init_scale"), [(1, 1.0), (5, 1.0), (5, 0.7), (3, 1.5)])
def test_random_rectifier_networks_have_the_predicted_mean_square(depth, init_scale):
    found = mean_squares(depth, init_scale, lambda hidden, random: hidden > 0)
    tolerance = 4.0 * found.std().item() / len(found) ** 0.5
    predicted = diagnostics.predicted_mean_square(depth, init_scale)
    assert tolerance < 0.2 * predicted
    assert found.mean().item() == pytest.approx(predicted, abs=tolerance)


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_the_mean_square_follows_the_share_of_active_units(share):
    found = mean_squares(
        3, 1.0, lambda hidden, random: torch.rand(hidden.shape, generator=random, dtype=hidden.dtype) < share
    )
    tolerance = 4.0 * found.std().item() / len(found) ** 0.5
    predicted = diagnostics.predicted_mean_square(3, active_fraction=share)
    assert tolerance < 0.2 * predicted
    assert found.mean().item() == pytest.approx(predicted, abs=tolerance)


def test_most_networks_lie_below_the_mean_the_more_so_the_deeper():
    shares = [
        (mean_squares(depth, 1.0, lambda hidden, random: hidden > 0) < 1.0).double().mean().item()
        for depth in (2, 20)
    ]
    assert 0.5 < shares[0] < shares[1]


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"depth": -1}, "depth must be an integer of at least 0, got -1"),
        ({"init_scale": 0.0}, "init_scale must be a number above 0, got 0.0"),
        ({"active_fraction": 1.1}, r"active_fraction must be a number in \[0, 1\], got 1.1"),
    ],
)
def test_a_mean_square_without_meaning_is_refused(choices, message):
    with pytest.raises(ValueError, match=message):
        diagnostics.predicted_mean_square(**{"depth": 3, **choices})
