"""The published experiment: networks of one number, defined as they should be, and the numbers that come out."""

import itertools
import math
import statistics

import numpy as np
import pandas as pd
import pytest
import torch

from tools.recordings import shattering as tool
from van_tutorial import batch, diagnostics, models

GRID = torch.linspace(-2.0, 2.0, 256, dtype=torch.float64).unsqueeze(1)

# Mean and standard deviation of the autocorrelation at lags 1, 5 and 15: 20 initializations of an independent script.
DEPTHS, LAGS, NUM_RUNS = (2, 4, 10, 24, 50), (1, 5, 15), 20
KNOWN = {
    "plain, centred": (
        ((0.99, 0.00), (0.94, 0.00), (0.82, 0.00)),
        ((0.95, 0.03), (0.76, 0.10), (0.42, 0.21)),
        ((0.78, 0.05), (0.27, 0.12), (-0.04, 0.11)),
        ((-0.01, 0.09), (0.01, 0.06), (-0.02, 0.07)),
        ((0.02, 0.06), (0.00, 0.07), (0.00, 0.06)),
    ),
    "plain, batch norm": (
        ((0.99, 0.00), (0.94, 0.00), (0.82, 0.00)),
        ((0.94, 0.02), (0.73, 0.09), (0.39, 0.18)),
        ((0.48, 0.07), (-0.03, 0.08), (-0.05, 0.06)),
        ((-0.02, 0.07), (-0.02, 0.04), (0.00, 0.05)),
        ((0.00, 0.06), (0.02, 0.06), (-0.02, 0.08)),
    ),
    "plain, not centred": (
        ((0.97, 0.02), (0.87, 0.09), (0.66, 0.18)),
        ((0.96, 0.03), (0.82, 0.12), (0.56, 0.23)),
        ((0.91, 0.05), (0.63, 0.19), (0.24, 0.28)),
        ((0.85, 0.05), (0.50, 0.16), (0.21, 0.22)),
        ((0.75, 0.13), (0.39, 0.26), (0.25, 0.23)),
    ),
    "residual, batch norm, beta 1": (
        ((0.97, 0.01), (0.87, 0.06), (0.67, 0.15)),
        ((0.96, 0.02), (0.81, 0.09), (0.51, 0.22)),
        ((0.87, 0.04), (0.48, 0.13), (0.07, 0.18)),
        ((0.78, 0.05), (0.30, 0.10), (0.00, 0.14)),
        ((0.67, 0.09), (0.16, 0.10), (-0.07, 0.11)),
    ),
    "residual, batch norm, beta 0.1": (
        ((0.98, 0.02), (0.88, 0.09), (0.67, 0.21)),
        ((0.97, 0.02), (0.86, 0.10), (0.64, 0.23)),
        ((0.98, 0.01), (0.89, 0.06), (0.67, 0.17)),
        ((0.96, 0.02), (0.80, 0.09), (0.54, 0.19)),
        ((0.92, 0.06), (0.72, 0.17), (0.46, 0.22)),
    ),
}


def known_rows():
    return pd.DataFrame(
        [
            {"network": network, "depth": depth, "lag": lag, "mean": mean, "sd": sd, "runs": NUM_RUNS}
            for network, by_depth in KNOWN.items()
            for depth, by_lag in zip(DEPTHS, by_depth, strict=True)
            for lag, (mean, sd) in zip(LAGS, by_lag, strict=True)
        ]
    )


# What the networks are.


def normalize(h, normalization):
    """Normalized values and the constants that they were multiplied by."""
    centred = h - h.mean(axis=0) if normalization != "none" else h
    scale = 1.0 / np.sqrt(h.var(axis=0) + 1e-5) if normalization == "batch" else np.ones(h.shape[1])
    return centred * scale, scale


def by_hand(network, normalization, connection, beta=1.0, alpha=0.0, is_post=False):
    """Output and derivative by the formulas of the experiment, in NumPy, with the weights of a network of ours."""
    w, b = network.input_layer.weight.detach().numpy()[:, 0], network.input_layer.bias.detach().numpy()
    v = network.head.weight.detach().numpy()[0]
    x = GRID.numpy()
    h, slope = x * w + b, np.broadcast_to(w, (len(x), len(w)))
    alpha = float(np.float32(alpha))  # the precision of a skip weight
    kept, new_share = {"plain": (0.0, 1.0), "residual": (1.0, beta), "van": (alpha, 1.0 - alpha)}[connection]
    for layer in network.layers:
        matrix = layer.linear.weight.detach().numpy().T
        z, dz = (h @ matrix, slope @ matrix) if is_post else (h, slope)
        z, scale = normalize(z, normalization)
        new, dnew = np.maximum(z, 0.0), (z > 0) * scale * dz
        if not is_post:
            new, dnew = new @ matrix, dnew @ matrix
        h, slope = kept * h + new_share * new, kept * slope + new_share * dnew
    if is_post:
        return h @ v, slope @ v
    return np.maximum(h, 0.0) @ v, ((h > 0) * slope) @ v


DEFINITIONS = {
    "plain, centred": {"normalization": "center", "connection": "plain"},
    "plain, batch norm": {"normalization": "batch", "connection": "plain"},
    "plain, not centred": {"normalization": "none", "connection": "plain"},
    "residual, batch norm, beta 1": {"normalization": "batch", "connection": "residual"},
    "residual, batch norm, beta 0.1": {"normalization": "batch", "connection": "residual", "beta": 0.1},
    **{
        f"VAN{note}, alpha {alpha}": {
            "normalization": "center",
            "connection": "van",
            "alpha": alpha,
            "is_post": bool(note),
        }
        for note in ("", ", post order")
        for alpha in (0.25, 0.5, 0.75, 0.95)
    },
}


def test_every_recipe_is_defined_here_too():
    assert set(models.SCALAR_RECIPES) == {*DEFINITIONS, "looks-linear"}
    assert set(KNOWN) == set(tool.REFERENCES)
    assert set(KNOWN) <= set(DEFINITIONS)


@pytest.mark.parametrize("depth", [2, 6])
@pytest.mark.parametrize("recipe", DEFINITIONS)
def test_a_recipe_is_the_network_that_its_formula_says(recipe, depth):
    network = models.scalar_network(recipe, depth, seed=0).double()
    assert network.training
    assert len(network.layers) == depth - 1
    outputs, slopes = by_hand(network, **DEFINITIONS[recipe])
    np.testing.assert_allclose(network(GRID).detach().numpy()[:, 0], outputs, rtol=1e-8, atol=1e-10)
    gradients = diagnostics.input_gradients(network, GRID, statistics="constant")[:, 0].numpy()
    np.testing.assert_allclose(gradients, slopes, rtol=1e-8, atol=1e-10)
    assert gradients.std() > 0.0


def test_the_weights_of_a_recipe_have_the_variances_that_the_experiment_has():
    networks = [models.scalar_network("plain, centred", 4, seed=seed) for seed in range(10)]
    for name, variance in (("input_layer.weight", 1.0), ("input_layer.bias", 1.0), ("head.weight", 0.01)):
        values = torch.stack([network.get_parameter(name).detach().flatten() for network in networks])
        assert values.shape[1] == 200
        assert values.var().item() == pytest.approx(variance, rel=0.15)
        assert abs(values.mean().item()) < 4.0 * (variance / 2000) ** 0.5
    for layer in networks[0].layers:
        assert layer.linear.weight.var().item() == pytest.approx(0.01, rel=0.05)
        assert layer.linear.bias is None
    assert not networks[0].head.bias.any()


@pytest.mark.parametrize("depth", [2, 10, 50])
def test_a_looks_linear_network_has_the_same_gradient_everywhere_and_as_many_weights(depth):
    network = models.scalar_network("looks-linear", depth, seed=0).double()
    gradients = diagnostics.input_gradients(network, GRID)
    torch.testing.assert_close(gradients, gradients[:1].expand(256, 1), rtol=1e-4, atol=0.0)
    # An orthogonal map keeps the length of w, and so do the steps back from v: the product is bounded by both.
    w, v = network.input_layer.weight.detach(), network.head.weight.detach()[:, :100]
    assert 0.0 < gradients[0].abs() <= (w.norm() * v.norm()).item() * (1 + 1e-4)
    assert network.layers[0].linear.weight.numel() == 2 * 100 * 100


@pytest.mark.parametrize("depth", [2, 10])
def test_a_variable_network_without_its_skips_is_the_plain_centred_one(depth):
    variable = models.scalar_network("VAN, alpha 0.5", depth, seed=3, skip_weight=0.0)
    plain = models.scalar_network("plain, centred", depth, seed=3)
    inputs = GRID.float()
    assert torch.equal(variable(inputs), plain(inputs))
    assert torch.equal(
        diagnostics.input_gradients(variable, inputs, statistics="constant"),
        diagnostics.input_gradients(plain, inputs, statistics="constant"),
    )


def test_a_choice_may_differ_from_the_recipe():
    network = models.scalar_network(
        "plain, centred", 5, seed=0, width=30, bias_std=0.1, normalization="batch"
    )
    assert (network.config.width, network.config.bias_std, network.config.normalization) == (30, 0.1, "batch")


@pytest.mark.parametrize(
    ("recipe", "depth", "message"),
    [
        ("plain, centered", 5, r"recipe must be one of .* Did you mean 'plain, centred'\?"),
        ("plain, centred", 1, "depth must be an integer of at least 2, got 1"),
    ],
)
def test_a_recipe_that_there_is_not_is_refused(recipe, depth, message):
    with pytest.raises(ValueError, match=message):
        models.scalar_network(recipe, depth)
    with pytest.raises(ValueError, match=message):
        next(diagnostics.shattering((recipe,), (depth,), num_seeds=1))


# The measurement.


def test_a_table_holds_mean_and_deviation_of_the_runs_autocorrelations():
    (table,) = diagnostics.shattering(("plain, centred",), (3,), num_seeds=4, num_points=40, max_lag=2)
    curves = []
    inputs = torch.linspace(-2.0, 2.0, 40).unsqueeze(1)
    for seed in range(4):
        network = models.scalar_network("plain, centred", 3, seed=seed)
        g = diagnostics.input_gradients(network, inputs, statistics="constant")[:, 0].double().numpy()
        z = g - g.mean()
        curves.append([(z[: 40 - lag] * z[lag:]).sum() / (z * z).sum() for lag in range(3)])
    assert table.columns.tolist() == ["network", "depth", "lag", "mean", "sd", "runs"]
    assert table["lag"].tolist() == [0, 1, 2]
    assert table["runs"].tolist() == [4] * 3
    assert table["mean"].tolist() == pytest.approx(
        [statistics.fmean(c) for c in zip(*curves, strict=True)], abs=1e-4
    )
    assert table["sd"].tolist() == pytest.approx(
        [statistics.stdev(c) for c in zip(*curves, strict=True)], abs=1e-4
    )


def test_tables_come_recipe_by_recipe_and_depth_by_depth():
    recipes, depths = ("plain, centred", "plain, not centred"), (2, 3)
    tables = list(diagnostics.shattering(recipes, depths, num_seeds=1, num_points=20, max_lag=1))
    names = [(table["network"].iloc[0], table["depth"].iloc[0]) for table in tables]
    assert names == list(itertools.product(recipes, depths))
    assert all(table["sd"].isna().all() for table in tables)  # of one run


def test_a_looks_linear_network_has_no_autocorrelation_to_speak_of():
    (table,) = diagnostics.shattering(("looks-linear",), (4,), num_seeds=2, num_points=20, max_lag=2)
    assert table["mean"].isna().all()


def test_noises_are_measured_in_the_same_way():
    table = diagnostics.noise_autocorrelation().set_index(["network", "lag"])
    assert table["depth"].eq(0).all()
    assert table["runs"].eq(20).all()
    white = diagnostics.white_noise(256, 20, seed=0).double().numpy()
    curve = [tool.autocorrelation(run)[5] for run in white]
    assert table.loc[("white noise", 5), "mean"] == pytest.approx(statistics.fmean(curve), abs=1e-5)
    assert table.loc[("white noise", 5), "sd"] == pytest.approx(statistics.stdev(curve), abs=1e-5)
    for lag, brown in ((1, 0.96), (5, 0.83), (15, 0.58)):
        assert table.loc[("white noise", lag), "mean"] == pytest.approx(0.0, abs=0.1)
        assert table.loc[("brown noise", lag), "mean"] == pytest.approx(brown, abs=0.12)


@pytest.mark.parametrize("choices", [{"num_seeds": 0}, {"max_lag": 20}])
def test_a_measurement_that_cannot_be_made_is_refused(choices):
    with pytest.raises(ValueError, match=r"num_seeds|max_lag"):
        next(diagnostics.shattering(**{"num_seeds": 1, "num_points": 20, "max_lag": 2, **choices}))


# Agreement.


# Deviations .3 of 9 runs and .4 of 16: variance (8 * .09 + 15 * .16) / 23, three errors of the difference .46.
POOLED = 3 * math.sqrt(3.12 / 23 * (1 / 9 + 1 / 16))


def row(mean, sd=0.0, runs=20, lag=1, network="plain, centred"):
    return pd.DataFrame([{"network": network, "depth": 2, "lag": lag, "mean": mean, "sd": sd, "runs": runs}])


@pytest.mark.parametrize(
    ("measured", "reference", "tolerance", "agrees"),
    [
        (row(0.59), row(0.5), 0.1, True),
        (row(0.61), row(0.5), 0.1, False),
        (row(0.39), row(0.5), 0.1, False),
        (row(0.95, sd=0.3, runs=9), row(0.5, sd=0.4, runs=16), POOLED, True),
        (row(0.97, sd=0.3, runs=9), row(0.5, sd=0.4, runs=16), POOLED, False),
        (row(0.59, sd=math.nan, runs=1), row(0.5), 0.1, True),
        (row(0.59, sd=math.nan, runs=1), row(0.5, sd=0.2), 3 * 0.2 * math.sqrt(1 + 1 / 20), True),
        (row(math.nan), row(0.5), 0.1, False),
    ],
)
def test_means_agree_within_a_tenth_or_three_standard_errors(measured, reference, tolerance, agrees):
    table = diagnostics.agreement(measured, reference)
    assert table.columns.tolist() == [
        "network", "depth", "lag", "mean", "sd", "reference_mean", "reference_sd", "tolerance", "agrees",
    ]  # fmt: skip
    assert table["tolerance"].tolist() == pytest.approx([tolerance])
    assert table["agrees"].tolist() == [agrees]


def test_only_what_both_have_is_compared():
    measured = pd.concat([row(0.5), row(0.3, lag=5), row(0.1, network="looks-linear")])
    table = diagnostics.agreement(measured, pd.concat([row(0.3, lag=5), row(0.0, lag=15)]))
    assert table[["network", "lag", "mean", "reference_mean"]].to_numpy().tolist() == [
        ["plain, centred", 5, 0.3, 0.3]
    ]


# The numbers.


@pytest.mark.parametrize("network", KNOWN)
def test_shallow_networks_give_the_numbers_of_an_independent_script(network):
    measured = pd.concat(diagnostics.shattering((network,), (2, 4, 10), num_seeds=8))
    table = diagnostics.agreement(measured, known_rows())
    assert len(table) == 9
    assert table[~table["agrees"]].empty


def test_a_deep_plain_network_is_like_white_noise_and_a_deep_residual_one_is_not():
    (plain,) = diagnostics.shattering(("plain, centred",), (50,), num_seeds=3)
    (residual,) = diagnostics.shattering(("residual, batch norm, beta 0.1",), (50,), num_seeds=3)
    assert abs(plain["mean"].iloc[1]) < 0.2
    assert residual["mean"].iloc[1] > 0.8


def recorded(name):
    """The rows of a recorded result."""
    return batch.recorded(name).table.astype({"mean": float, "sd": float})


@pytest.mark.parametrize("name", ["shattered_gradients", "shattered_gradients_reference"])
def test_recorded_results_agree_with_the_numbers_of_an_independent_script(name):
    table = diagnostics.agreement(recorded(name), known_rows())
    assert len(table) == len(KNOWN) * len(DEPTHS) * len(LAGS)
    assert table[~table["agrees"]].empty


def test_our_recorded_results_agree_with_the_recorded_reference():
    table = diagnostics.agreement(recorded("shattered_gradients"), recorded("shattered_gradients_reference"))
    assert len(table) == len(KNOWN) * len(DEPTHS) * 16
    assert table[~table["agrees"]].empty


def test_recorded_results_are_those_that_the_library_measures():
    measured = next(diagnostics.shattering(("plain, not centred",), (4,)))
    table = measured.merge(recorded("shattered_gradients"), on=["network", "depth", "lag"])
    assert len(table) == 16
    assert table["mean_x"].tolist() == pytest.approx(table["mean_y"].tolist(), abs=2e-3)
    assert table["sd_x"].tolist() == pytest.approx(table["sd_y"].tolist(), abs=2e-3)


@pytest.mark.parametrize("depth", [2, 7])
@pytest.mark.parametrize("network", tool.REFERENCES)
def test_the_references_backward_pass_is_autograds_with_statistics_cut_off(network, depth):
    connection, normalization, beta = tool.REFERENCES[network]
    found = tool.reference_gradient(network, depth, np.random.default_rng(5))
    random = np.random.default_rng(5)

    def draw(*shape):
        return torch.from_numpy(random.standard_normal(shape))

    x = GRID.clone().requires_grad_(True)
    w, b = draw(200), draw(200)
    h = x * w + b
    for _ in range(depth - 1):
        matrix = draw(200, 200) * 0.1
        z = h
        if normalization != "none":
            z = z - h.detach().mean(dim=0)
        if normalization == "batch":
            z = z / (h.detach().var(dim=0, correction=0) + 1e-5).sqrt()
        new = torch.relu(z) @ matrix
        h = h + beta * new if connection == "residual" else new
    y = torch.relu(h) @ (draw(200) * 0.1)
    (expected,) = torch.autograd.grad(y.sum(), x)
    np.testing.assert_allclose(found, expected[:, 0].numpy(), rtol=1e-6, atol=1e-9)


def test_the_references_autocorrelation_is_the_librarys():
    series = np.random.default_rng(0).standard_normal(100).cumsum()
    expected = diagnostics.gradient_autocorrelation(torch.from_numpy(series).unsqueeze(1), tool.MAX_LAG)
    np.testing.assert_allclose(tool.autocorrelation(series), expected.numpy(), rtol=1e-9)
