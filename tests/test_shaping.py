"""Plain and residual networks that start well without normalization: tailored ReLUs (TAT) and Fixup."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from van_tutorial import ensemble, models, training
from van_tutorial.models.parts import ORDERS

# Of `dks` 0.1.2 from PyPI, by the authors of TAT: negative_slope for method "TAT", a chain of so many leaky ReLUs as
# `subnet_max_func` and `c_val_0_target` eta. It stops where the correlation is within 1e-8 of eta.
OF_THE_AUTHORS = {
    (19, 0.9): 0.164442777633667,
    (20, 0.9): 0.1813802719116211,
    (40, 0.9): 0.3776307702064514,
    (100, 0.9): 0.5704395323991776,
    (50, 0.8): 0.548274040222168,
    (3, 0.2): 0.4653237462043762,
}


@pytest.mark.parametrize(("case", "slope"), OF_THE_AUTHORS.items(), ids=str)
def test_the_slope_is_that_of_the_authors_own_package(case, slope):
    assert models.tailored_slope(*case) == pytest.approx(slope, abs=1e-7)


@pytest.mark.parametrize("eta", [0.01, 0.1, 0.25, 0.31])
def test_the_slope_of_one_layer_solves_a_quadratic_equation(eta):
    """C(0) = (1 - a)^2 / (pi (1 + a^2)) = eta has the roots a and 1 / a."""
    k = 1.0 - math.pi * eta
    assert models.tailored_slope(1, eta) == pytest.approx((1.0 - math.sqrt(1.0 - k * k)) / k, abs=1e-9)


def test_where_relu_stays_below_eta_the_slope_is_0():
    """ReLU takes the correlation 0 to 1 / pi in its first layer: Cho and Saul 2009."""
    assert models.tailored_slope(1, 0.32) == 0.0 < models.tailored_slope(1, 0.31)
    assert models.tailored_slope(12) == 0.0 < models.tailored_slope(13)


@pytest.mark.parametrize(
    ("choices", "name"), [((0,), "num_activations"), ((3, 1.0), "eta"), ((3, 0.0), "eta")]
)
def test_a_slope_that_is_not_there_is_refused(choices, name):
    with pytest.raises(ValueError, match=name):
        models.tailored_slope(*choices)


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
def test_a_tailored_relu_keeps_the_mean_square_of_standard_normal_inputs(slope):
    z = torch.linspace(-8.0, 8.0, 100_001, dtype=torch.float64)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    mean_square = torch.trapezoid(models.TailoredReLU(slope)(z).square() * density, z)
    assert mean_square.item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("order", ORDERS)
def test_a_deep_plain_network_takes_two_uncorrelated_inputs_to_the_correlation_eta(order):
    choices = {"connection": "plain", "normalization": "none", "init": "orthogonal", "order": order}
    model = models.mlp(depth=30, width=400, in_features=400, activation="tat", seed=0, **choices)
    relu = models.mlp(depth=30, width=400, in_features=400, seed=0, **choices)
    x = math.sqrt(400) * nn.init.orthogonal_(torch.empty(2, 400), generator=torch.Generator().manual_seed(0))
    found = []
    for each in (model, relu):
        with torch.no_grad():
            h = each.head_activation(each.run_layers(each.input_layer(x), each.layer_weights()))
        found.append(functional.cosine_similarity(*h, dim=0).item())
    assert found[0] == pytest.approx(0.9, abs=0.03)
    assert found[1] > 0.94


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("make", "sizes"),
    [
        (models.mlp, {"depth": 15, "in_features": 36}),
        (models.convnet, {"depth": 20, "in_channels": 1}),
        (models.convnet, {"depth": 17, "in_channels": 1, "layers_per_block": 1, "downsampling": "max-pool"}),
    ],
    ids=["fully connected", "convolutional", "max-pool"],
)
def test_the_slope_is_that_of_as_many_activations_as_a_pass_goes_through(make, sizes, order):
    model = make(width=4, connection="plain", activation="tat", order=order, seed=0, **sizes)
    tailored = [module for module in model.modules() if isinstance(module, models.TailoredReLU)]
    calls = []
    for module in tailored:
        module.register_forward_hook(lambda module, args, output: calls.append(module.slope))
    model.eval()(torch.zeros(2, 1, 6, 6))
    assert set(calls) == {models.tailored_slope(len(calls))}


def test_tailored_networks_trained_at_once_are_those_trained_one_by_one(few_images, quick):
    choices = {"depth": 13, "width": 8, "connection": "plain", "normalization": "none", "activation": "tat"}
    config = quick(num_epochs=1, batch_size=64)
    alone = training.train(models.mlp(seed=3, **choices), few_images, config)
    together = ensemble.train([models.mlp(seed=seed, **choices) for seed in (3, 4)], few_images, [config] * 2)
    assert together[0].history["loss"].tolist() == pytest.approx(alone.history["loss"].tolist(), rel=1e-4)


def fixup(**choices):
    return models.make("fixup", width=4, in_channels=1, seed=0, **choices)


@pytest.mark.parametrize("depth", [8, 20, 56])
def test_fixup_scales_the_first_weights_of_a_branch_and_sets_the_last_to_0(depth):
    model, he = fixup(depth=depth), fixup(depth=depth, init="he")
    num_blocks = (depth - 2) // 2
    assert len(model.layers) == num_blocks
    for block, drawn in zip(model.layers, he.layers, strict=True):
        expected = drawn.convolutions[0].weight * num_blocks**-0.5
        torch.testing.assert_close(block.convolutions[0].weight, expected)
        assert not block.convolutions[1].weight.any()
    assert torch.equal(model.stem.weight, he.stem.weight)
    assert not model.head.weight.any()


@pytest.mark.parametrize("order", ORDERS)
def test_with_fixup_every_branch_begins_at_0_and_learns(order, few_images):
    model = fixup(depth=20, order=order)
    x = few_images.train_images[:8]
    seen = []
    for block in model.layers:
        block.register_forward_hook(
            lambda block, args, output: seen.append((block.connection.shortcut(args[0]), output))
        )
    model(x)
    assert len(seen) == 9
    assert all(torch.equal(output, torch.relu(given) if order == "post" else given) for given, output in seen)
    model.head.weight.data.normal_()
    model(x).square().mean().backward()
    assert all(block.convolutions[-1].weight.grad.any() for block in model.layers)


def test_fixup_in_branches_of_one_layer_begins_at_0():
    assert not any(block.convolutions[0].weight.any() for block in fixup(depth=8, layers_per_block=1).layers)


@pytest.mark.parametrize(
    ("make", "choices", "message"),
    [
        (models.mlp, {}, "'fixup' is for the blocks of a convolutional network: take 'he'"),
        (models.convnet, {"connection": "plain"}, "take connection 'residual'"),
        (models.convnet, {"connection": "rezero"}, "take connection 'residual'"),
        (
            models.convnet,
            {"connection": "residual", "parametrization": "dirac"},
            "and parametrization 'none'",
        ),
    ],
)
def test_fixup_without_a_residual_branch_is_refused(make, choices, message):
    with pytest.raises(ValueError, match=message):
        make(init="fixup", **choices)
