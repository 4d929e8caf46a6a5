"""Networks that end without skips, after a real training: folded, merged, the same answers, nothing else touched."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.optim.swa_utils import AveragedModel

from tests.state import logits, same_bits, state_of
from van_tutorial import models, training
from van_tutorial.models.family import KEPT, MAKERS

SMALL = {"mlp": {"depth": 6, "width": 16}, "convnet": {"depth": 8, "width": 4, "in_channels": 1}}
MERGED = ("vanillanet", "layer-folding")
FREED = [
    name
    for name, recipe in models.FAMILY.items()
    if recipe.ends_without_skips != KEPT and recipe.kind != "msnet"
]
COLLAPSED = [name for name in FREED if name not in MERGED]
# Combinations that have no name of their own.
OTHERS = {
    "convolutions and strides in order pre": ("convnet", {"order": "pre"}),
    "convolutions of crelu in order pre": ("convnet", {"order": "pre", "activation": "crelu"}),
    "plain crelu": ("mlp", {"connection": "plain", "activation": "crelu"}),
    "activation skips round convolutions": ("convnet", {"skip": "activation"}),
    "maxima": ("convnet", {"downsampling": "max-pool", "skip": "additive"}),
    "dirac weights and skips": ("mlp", {"parametrization": "dirac"}),
    "dirac convolutions and skips": ("convnet", {"parametrization": "dirac"}),
    "branches and skips": ("convnet", {"parametrization": "repvgg"}),
    "every second layer": ("mlp", {"skip_every": 2}),
    "no normalization": ("convnet", {"normalization": "none"}),
}


def is_skipped(model, images):
    return models.has_skip(torch.export.export(model, (images[:2],)))


def rebuilt(model):
    """A network from a network's config alone, with its weights."""
    maker = MAKERS["mlp" if isinstance(model, models.MLP) else "convnet"]
    twin = maker(**{**dataclasses.asdict(model.config), "seed": 1})
    twin.load_state_dict(model.state_dict(), strict=True)
    return twin.train(model.training)


@pytest.fixture(scope="module")
def trained(few_images, quick):
    """A function that makes a recipe or a combination above, small and trained for 16 steps; leave it as it is."""
    made = {}

    def train(name):
        if name not in made:
            if name in OTHERS:
                kind, choices = OTHERS[name]
                model = MAKERS[kind](**{**SMALL[kind], **choices, "seed": 0})
                config = quick(batch_size=32, num_epochs=1, remove_by=0.5)
            else:
                recipe = models.FAMILY[name]
                model = models.make(name, seed=0, **SMALL[recipe.kind])
                config = quick(**{"batch_size": 32, "num_epochs": 1, "remove_by": 0.5, **recipe.training})
            made[name] = training.train(model, few_images, config).model
        return made[name]

    return train


@pytest.mark.parametrize("name", [*COLLAPSED, *OTHERS])
def test_a_trained_network_that_ends_without_skips_collapses_into_a_plain_one(trained, few_images, name):
    model, x = trained(name), few_images.test_images
    before = state_of(model)
    plain = models.collapse(model)
    assert state_of(model) == before
    assert (plain.config.connection, plain.config.parametrization) == ("plain", "none")
    assert models.num_skips(plain) == 0
    expected, found = logits(model, x), logits(plain, x)
    assert expected.std() > 0.01
    if model.config.parametrization == "repvgg":
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    else:
        assert same_bits(found, expected)
    assert same_bits(logits(rebuilt(plain), x), found)


@pytest.mark.parametrize("name", COLLAPSED)
def test_no_skip_is_left_in_the_graph_of_a_collapsed_network(trained, few_images, name):
    assert not is_skipped(models.collapse(trained(name)), few_images.test_images)


@pytest.mark.parametrize("name", [*COLLAPSED, *OTHERS])
def test_batch_normalization_folds_into_the_weights_of_a_trained_network(trained, few_images, name):
    model, x = trained(name), few_images.test_images
    before = state_of(model)
    folded = models.collapse(model, fold_normalization=True)
    assert state_of(model) == before
    assert not any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in folded.modules())
    assert not any(module.training for module in folded.modules())
    assert folded.config.normalization == "none"
    torch.testing.assert_close(logits(folded, x), logits(model, x), atol=1e-5, rtol=1e-5)
    assert same_bits(logits(rebuilt(folded), x), logits(folded, x))


@pytest.mark.parametrize("connection", ["residual", "highway", "rezero"])
@pytest.mark.parametrize("kind", ["mlp", "convnet"])
def test_batch_normalization_folds_beside_skips_too(few_images, quick, kind, connection):
    model = MAKERS[kind](connection=connection, seed=0, **SMALL[kind])
    training.train(model, few_images, quick(num_epochs=1))
    folded, x = models.fold_batch_norm(model), few_images.test_images
    assert models.num_skips(folded) == models.num_skips(model) > 0
    torch.testing.assert_close(logits(folded, x), logits(model, x), atol=1e-5, rtol=1e-5)
    assert same_bits(logits(rebuilt(folded), x), logits(folded, x))


@pytest.mark.parametrize("name", ["van", "van-conv", "diracnet", "repvgg", "vanillanet"])
def test_a_folded_network_can_be_trained_on_in_every_weight(trained, few_images, quick, name):
    model = models.merge(trained(name)) if name in MERGED else trained(name)
    folded = models.collapse(model, fold_normalization=True)
    before = {name: value.clone() for name, value in folded.state_dict().items()}
    training.train(folded, few_images, quick(num_epochs=1))
    assert [name for name, value in folded.named_parameters() if torch.equal(value, before[name])] == []


def test_folding_in_double_precision_agrees_to_its_last_digits(few_images):
    for kind in ("mlp", "convnet"):
        model = MAKERS[kind](connection="plain", seed=0, **SMALL[kind]).double()
        x = few_images.train_images[:64].double()
        logits(model, x)
        folded = models.fold_batch_norm(model)
        assert {parameter.dtype for parameter in folded.parameters()} == {torch.float64}
        torch.testing.assert_close(logits(folded, x), logits(model.eval(), x), atol=1e-11, rtol=1e-11)


# Merging


def test_a_trained_vanillanet_merges_to_half_its_depth(trained, few_images):
    model, x = trained("vanillanet"), few_images.test_images
    assert model.skip_weight.tolist() == [1.0] * 3
    before = state_of(model)
    merged = models.merge(model)
    assert state_of(model) == before
    assert merged.config.depth == len(merged.layers) == model.config.depth // 2
    assert merged.num_layers == model.num_layers - 3
    assert (merged.config.connection, merged.config.skip_every) == ("plain", 1)
    assert models.num_skips(merged) == 0
    assert not is_skipped(merged, x)
    expected = logits(model, x)
    assert expected.std() > 0.1
    torch.testing.assert_close(logits(merged, x), expected, atol=1e-4, rtol=1e-4)
    assert same_bits(logits(rebuilt(merged), x), logits(merged, x))
    folded = models.collapse(merged, fold_normalization=True)
    torch.testing.assert_close(logits(folded, x), expected, atol=1e-4, rtol=1e-4)
    assert sum(isinstance(module, nn.Linear) for module in folded.modules()) == 5


@pytest.mark.parametrize("normalization", ["none", "batch"])
@pytest.mark.parametrize("parametrization", ["none", "dirac"])
@pytest.mark.parametrize(
    "alphas",
    [[1, 1, 1, 1, 1, 0], [0, 1, 1, 0, 1, 1], [1, 0, 0, 1, 0, 1], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]],
    ids=lambda alphas: "".join(map(str, alphas)),
)
def test_layers_that_became_affine_go_into_the_next_one_or_the_head(
    few_images, quick, alphas, normalization, parametrization
):
    choices = {"normalization": normalization, "parametrization": parametrization}
    model = models.make("layer-folding", depth=6, width=16, seed=0, **choices)
    model.skip_weight.data = torch.tensor(alphas, dtype=torch.float32)
    recipe = models.FAMILY["layer-folding"].training
    training.train(model, few_images, quick(num_epochs=1, **{**recipe, "skip_lr": 0.0}))
    assert model.skip_weight.tolist() == alphas
    before, x = state_of(model), few_images.test_images
    merged = models.merge(model)
    assert state_of(model) == before
    torch.testing.assert_close(logits(merged, x), logits(model, x), atol=1e-4, rtol=1e-4)
    if all(alphas):
        assert [type(layer) for layer in merged] == [nn.Flatten, nn.Linear]
    else:
        assert merged.config.depth == len(merged.layers) == 6 - sum(alphas)
        assert same_bits(logits(rebuilt(merged), x), logits(merged, x))


# Refusals


def small(kind="mlp", **choices):
    return MAKERS[kind](**{**SMALL.get(kind, {}), "seed": 0, **choices})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: small(), r"6 of 6 skip weights are not 0 \(the largest, of layer 1, is 0.95\): train until"),
        (lambda: small("convnet"), "3 of 3 skip weights are not 0"),
        (lambda: small("convnet", connection="residual"), "connection 'residual' keeps its skips"),
        (lambda: small("convnet", connection="rezero"), "connection 'rezero' keeps its skips"),
        (lambda: small("msnet"), "only networks that are one stack, .* got MSNet"),
        (lambda: small("msnet", has_slave=False), "only networks that are one stack, .* got MSNet"),
    ],
)
def test_a_network_that_cannot_be_collapsed_is_refused_in_one_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        models.collapse(make())


def test_the_layer_that_still_has_the_largest_skip_weight_is_named_by_its_place_in_the_network():
    model = small(skip_every=2, skip_weight=0.0)
    model.skip_weight.data[1:] = torch.tensor([0.7, 0.2])
    with pytest.raises(ValueError, match=r"2 of 3 .* \(the largest, of layer 3, is 0.7\)"):
        models.collapse(model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: small(normalization="layer"), "normalization 'layer' cannot be folded"),
        (lambda: small("convnet", normalization="center"), "normalization 'center' cannot be folded"),
        (
            lambda: small(connection="plain", order="pre"),
            "in order 'pre' batch normalization can be folded only",
        ),
        (lambda: small("convnet", connection="residual", order="pre"), "in order 'pre'"),
        (
            lambda: small("convnet", connection="plain", order="pre", downsampling="max-pool"),
            "in order 'pre'",
        ),
        (lambda: small(connection="plain", parametrization="dirac"), "'dirac' must be folded first"),
        (
            lambda: small("convnet", connection="plain", parametrization="repvgg"),
            "'repvgg' must be folded first",
        ),
        (lambda: small("msnet"), "only networks that are one stack, .* got MSNet"),
    ],
)
def test_a_normalization_that_cannot_be_folded_is_refused_in_one_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        models.fold_batch_norm(make())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: small(),
            "only fully connected networks with connection 'van', skip 'activation', order 'post'",
        ),
        (lambda: small(connection="plain"), "only fully connected networks"),
        (lambda: small(skip="activation", order="pre"), "only fully connected networks"),
        (lambda: small(skip="activation", normalization="layer"), "only fully connected networks"),
        (lambda: small("convnet", skip="activation", skip_weight=0.0), "only fully connected networks"),
        (lambda: small("msnet"), "only fully connected networks"),
        (
            lambda: small(skip="activation", skip_weight=0.5),
            r"6 of 6 skip weights are not 0 or 1 \(the largest,",
        ),
    ],
)
def test_a_network_that_cannot_be_merged_is_refused_in_one_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        models.merge(make())


@pytest.mark.parametrize(
    ("alphas", "message"),
    [
        ([1.0, 0.2, 0.7], r"2 of 3 skip weights are not 0 or 1 \(the largest, of layer 5, is 0.7\)"),
        ([1.0, 0.7, 0.2], r"2 of 3 skip weights are not 0 or 1 \(the largest, of layer 3, is 0.7\)"),
        ([0.0, 1.0, 1.5], r"1 of 3 skip weights are not 0 or 1 \(the largest, of layer 5, is 1.5\)"),
    ],
)
def test_the_layer_whose_activation_is_between_is_named_by_its_place_in_the_network(alphas, message):
    model = small(skip="activation", skip_every=2)
    model.skip_weight.data = torch.tensor(alphas)
    with pytest.raises(ValueError, match=message):
        models.merge(model)


# Networks that others have worked on.


class Doubled(nn.Module):
    def forward(self, weight):
        return 2.0 * weight


def used(**choices):
    """A VAN without skips left, with running statistics of its own, in eval mode."""
    model = small(**{"skip_weight": 0.0, **choices})
    model(torch.randn(64, 784, generator=torch.Generator().manual_seed(0)))
    return model.eval()


PARAMETRIZED = {
    "weight_norm": lambda model: parametrizations.weight_norm(model.layers[1].linear),
    "spectral_norm": lambda model: parametrizations.spectral_norm(model.layers[1].linear),
    "orthogonal": lambda model: parametrizations.orthogonal(model.input_layer),
    "a bias": lambda model: parametrize.register_parametrization(model.layers[0].linear, "bias", Doubled()),
    "a scale": lambda model: parametrize.register_parametrization(model.layers[2].norm, "weight", Doubled()),
}


@pytest.mark.parametrize("function", [models.collapse, models.fold_batch_norm])
@pytest.mark.parametrize("name", PARAMETRIZED)
def test_any_parametrized_tensor_becomes_an_ordinary_one_with_the_same_answers(few_images, name, function):
    model, x = used(), few_images.test_images
    PARAMETRIZED[name](model)
    before, expected = state_of(model), logits(model, x)
    plain = function(model)
    assert not any(parametrize.is_parametrized(module) for module in plain.modules())
    torch.testing.assert_close(logits(plain, x), expected, atol=1e-5, rtol=1e-5)
    assert state_of(model) == before


def test_collapsing_takes_no_step_of_the_power_iteration(few_images):
    model = used()
    parametrizations.spectral_norm(model.layers[1].linear)
    model.train()
    weight = model.layers[1].linear.weight.detach()
    model.eval()
    expected = model.layers[1].linear.weight.detach().clone()
    model.train()
    assert torch.equal(models.collapse(model).layers[1].linear.weight, expected)
    assert weight.shape == expected.shape


@pytest.mark.parametrize("function", [models.collapse, models.fold_batch_norm, models.merge])
@pytest.mark.parametrize("is_frozen", [False, True])
@pytest.mark.parametrize("tensor", ["weight", "bias"])
def test_a_pruned_network_is_refused_with_what_to_do(function, is_frozen, tensor):
    model = used(skip="activation").requires_grad_(not is_frozen)
    prune.random_unstructured(model.layers[4].linear, tensor, 0.3)
    with pytest.raises(ValueError, match=rf"layers.4.linear.{tensor} is computed by a hook, .* prune.remove"):
        function(model)
    prune.remove(model.layers[4].linear, tensor)
    assert function(model).config.connection in ("plain", "van")


def test_a_network_that_refuses_a_copy_is_refused_in_one_sentence():
    model = used()
    model.latest = model(torch.zeros(2, 784))  # part of a graph
    with pytest.raises(ValueError, match=r"cannot be copied \(RuntimeError\)"):
        models.collapse(model)


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm1d(16, affine=False), nn.LayerNorm(16)], ids=["affine", "layer"]
)
def test_a_normalization_that_was_exchanged_is_refused(norm):
    model = used()
    model.layers[3].norm = norm
    with pytest.raises(
        ValueError, match="only batch normalization with a scale, a shift and running statistics"
    ):
        models.fold_batch_norm(model)


WRAPPERS = {
    "DataParallel": nn.DataParallel,
    "Sequential": nn.Sequential,
    "AveragedModel": AveragedModel,
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "in one another": lambda model: nn.DataParallel(nn.Sequential(nn.Sequential(model))),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapped_network_is_the_network_inside(few_images, name):
    model, x = used(skip="activation"), few_images.test_images
    model.skip_weight.data[2] = 1.0
    wrapped = WRAPPERS[name](model)
    assert models.num_skips(wrapped) == models.num_skips(model) == 1
    assert models.skip_weights(wrapped).tolist() == [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    merged = models.merge(wrapped)
    assert (type(merged), merged.config.depth) == (models.MLP, 5)
    torch.testing.assert_close(logits(merged, x), logits(model, x), atol=1e-5, rtol=1e-5)
    model.skip_weight.data.zero_()
    assert torch.equal(logits(models.collapse(WRAPPERS[name](model)), x), logits(model, x))


class Around(nn.Module):
    """A skip-connection around a whole network."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x.flatten(1)[:, :10] + self.inner(x)


@pytest.mark.parametrize(
    "make",
    [lambda: nn.Sequential(nn.Flatten(), used()), lambda: Around(used())],
    ids=["something before", "a skip around"],
)
@pytest.mark.parametrize("function", [models.num_skips, models.collapse, models.fold_batch_norm])
def test_a_network_that_is_a_part_of_another_is_refused_and_named(make, function):
    with pytest.raises(ValueError, match=r"it holds (1|inner) \(MLP\): give that"):
        function(make())


@pytest.mark.parametrize("make", [lambda: nn.Linear(3, 2), lambda: small("msnet"), lambda: nn.LSTM(3, 2)])
def test_the_skips_of_a_foreign_network_are_not_counted(make):
    with pytest.raises(
        ValueError, match=r"only networks that are one stack, .* has_skip\(.* takes any network"
    ):
        models.num_skips(make())


@pytest.mark.parametrize(
    ("alphas", "found"),
    [([-0.3, 0.0, 0.0], "layer 1, is -0.3"), ([0.0, float("nan"), 0.1], "layer 2, is nan")],
)
def test_the_skip_weight_that_is_farthest_from_0_is_named(alphas, found):
    network = models.mlp(depth=3, width=4, seed=0)
    network.skip_weight.data = torch.tensor(alphas)
    with pytest.raises(ValueError, match=found):
        models.collapse(network)


@pytest.mark.parametrize("is_frozen", [True, False])
def test_what_was_frozen_is_frozen_when_it_is_folded_or_merged(is_frozen):
    affine = models.mlp(depth=6, width=4, skip="activation", skip_weight=1.0, skip_every=2, seed=0)
    folded = {
        models.collapse: [models.make("repvgg", depth=8, width=4, seed=0), models.mlp(depth=2, parametrization="dirac",
                          connection="plain", seed=0)],
        models.merge: [affine],
    }  # fmt: skip
    for fold, networks in folded.items():
        for network in networks:
            network.requires_grad_(not is_frozen)
            assert {parameter.requires_grad for parameter in fold(network).parameters()} == {not is_frozen}
