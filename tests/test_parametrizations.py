"""Dirac weights, three branches, and initial weights: formulas by hand, published sizes, folding, what is kept."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.state import logits, same_bits, state_of
from van_tutorial import models, training
from van_tutorial.models import parametrizations
from van_tutorial.training.trainer import make_optimizer


def is_skipped(model, images):
    return models.has_skip(torch.export.export(model, (images[:2],)))


def shake(model):
    """Give scales and shifts of normalizations values that training could bring them to, some of them negative."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.weight, mean=0.7, std=0.5)
            nn.init.normal_(module.bias, std=0.3)


# Dirac


LAYERS = [
    pytest.param(lambda: nn.Linear(5, 5), id="square"),
    pytest.param(lambda: nn.Linear(3, 5), id="expanding"),
    pytest.param(lambda: nn.Linear(5, 3), id="shrinking"),
    pytest.param(lambda: nn.Conv2d(4, 4, 3, padding=1), id="square convolution"),
    pytest.param(lambda: nn.Conv2d(3, 6, 3, padding=1), id="expanding convolution"),
    pytest.param(lambda: nn.Conv2d(6, 3, 3, padding=1), id="shrinking convolution"),
]


@pytest.mark.parametrize("make", LAYERS)
def test_a_dirac_weight_is_the_scaled_identity_and_scaled_filters_of_length_1(make, seeded):
    layer = models.add_dirac(make())
    free = layer.parametrizations.weight.original
    dirac = layer.parametrizations.weight[0]
    assert dirac.identity_scale.tolist() == [1.0] * len(free)
    assert dirac.filter_scale.tolist() == pytest.approx([0.1] * len(free))
    nn.init.normal_(dirac.identity_scale)
    nn.init.normal_(dirac.filter_scale)
    for output in range(free.shape[0]):
        length = math.sqrt(sum(value**2 for value in free[output].flatten().tolist()))
        expected = free[output] / length * dirac.filter_scale[output]
        if output < free.shape[1]:
            centre = (output, 1, 1) if free.dim() == 4 else (output,)
            expected[centre] += dirac.identity_scale[output]
        torch.testing.assert_close(layer.weight[output], expected)


def test_without_filters_a_dirac_convolution_leaves_an_image_as_it_is(seeded):
    layer = models.add_dirac(nn.Conv2d(4, 4, 3, padding=1, bias=False))
    nn.init.zeros_(layer.parametrizations.weight[0].filter_scale)
    x = torch.randn(2, 4, 6, 7)
    torch.testing.assert_close(layer(x), x, atol=0.0, rtol=0.0)


def test_a_dirac_weights_length_does_not_matter_and_its_scales_learn(few_images):
    model = models.mlp(depth=3, width=8, connection="plain", parametrization="dirac", seed=0)
    x = few_images.train_images[:32]
    before = logits(model, x)
    for layer in model.layers:
        layer.linear.parametrizations.weight.original.data.mul_(7.0)
    torch.testing.assert_close(logits(model, x), before, atol=1e-5, rtol=1e-5)
    functional.cross_entropy(model(x), few_images.train_labels[:32]).backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []
    for layer in model.layers:
        dirac = layer.linear.parametrizations.weight[0]
        assert dirac.identity_scale.grad.any()
        assert dirac.filter_scale.grad.any()


@pytest.mark.parametrize("place", [{"dtype": torch.float64}, {"device": "meta"}], ids=str)
def test_the_scales_of_a_dirac_weight_are_made_where_the_weight_is(place):
    layer = models.add_dirac(nn.Linear(3, 3, **place))
    assert len({(parameter.dtype, parameter.device) for parameter in layer.parameters()}) == 1


def published_diracnet(state, x, group_size):
    """The authors' order: relu, convolution, normalization; a maximum between the groups; relu before the mean."""

    def norm(x, name):
        values = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, *values)

    x = norm(functional.conv2d(x, state["stem.weight"], padding=1), "norm")
    for index in range(3 * group_size):
        if index in (group_size, 2 * group_size):
            x = functional.max_pool2d(x, 2)
        at = f"layers.{index}.convolutions.0.parametrizations.weight"
        free = state[f"{at}.original"]
        filters = free / free.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
        a, b = (state[f"{at}.0.{name}"][:, None, None, None] for name in ("identity_scale", "filter_scale"))
        delta = torch.zeros_like(free)
        for channel in range(free.shape[1]):
            delta[channel, channel, 1, 1] = 1.0
        x = functional.conv2d(torch.relu(x), a * delta + b * filters, padding=1)
        x = norm(x, f"layers.{index}.norms.0")
    return functional.linear(torch.relu(x).mean(dim=(2, 3)), state["head.weight"], state["head.bias"])


@pytest.mark.parametrize("size", [28, 29])
def test_a_diracnet_is_the_published_one_written_out(few_images, seeded, size):
    model = models.diracnet(depth=16, in_channels=1, seed=0)
    for name, parameter in model.named_parameters():
        if name.endswith("scale"):
            nn.init.normal_(parameter, mean=0.5)
    logits(model, few_images.train_images[:64])  # statistics other than the initial ones
    model.eval()
    shake(model)
    x = functional.interpolate(few_images.test_images[:32], size=size)
    expected = published_diracnet(model.state_dict(), x, group_size=4)
    assert expected.std() > 0.1
    torch.testing.assert_close(logits(model, x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("depth", [10, 16, 34])
def test_a_diracnet_has_three_groups_of_dirac_convolutions_all_as_long(depth):
    model = models.diracnet(depth=depth, k=1, seed=0)
    number = (depth - 4) // 6
    shapes = [block.convolutions[0].weight.shape[0] for block in model.layers]
    assert shapes == [16] * 2 * number + [32] * 2 * number + [64] * 2 * number
    assert all(parametrizations.is_parametrized(block.convolutions[0], "weight") for block in model.layers)
    assert all(len(block.convolutions) == 1 for block in model.layers)


@pytest.mark.parametrize("depth", [0, 4, 11, 20, 32, -2])
def test_a_diracnet_of_another_depth_is_refused(depth):
    with pytest.raises(ValueError, match=rf"depth must be 6 N \+ 4 \(10, 16, 22, 28, 34, ...\), got {depth}"):
        models.diracnet(depth=depth)


@pytest.mark.parametrize(("k", "millions"), [(5, 9.1), (10, 36.5)])
def test_diracnets_have_as_many_weights_as_was_published(k, millions):
    with torch.device("meta"):
        model = models.diracnet(depth=28, k=k)
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 1) == millions


@pytest.fixture(params=["fully connected", "convolutional"])
def dirac(request, few_images, quick):
    choices = {"seed": 0, "connection": "plain", "parametrization": "dirac"}
    if request.param == "fully connected":
        model = models.mlp(depth=4, width=16, **choices)
    else:
        choices |= {"layers_per_block": 1, "downsampling": "max-pool", "in_channels": 1}
        model = models.convnet(depth=8, width=4, **choices)
    return training.train(model, few_images, quick(num_epochs=1)).model


def parametrized(model):
    return [
        name for name, module in model.named_modules() if parametrizations.is_parametrized(module, "weight")
    ]


@pytest.mark.parametrize("is_training", [True, False], ids=["training", "eval"])
def test_folded_dirac_weights_give_the_same_answers_to_the_last_bit(dirac, few_images, is_training):
    x = few_images.test_images[:64]
    dirac.train(is_training)
    folded = models.collapse(dirac)
    assert folded.config.parametrization == "none"
    assert parametrized(folded) == []
    assert not any("parametrizations" in name for name in folded.state_dict())
    assert same_bits(logits(folded, x), logits(dirac, x))


def test_folding_a_copy_leaves_the_dirac_weights_of_the_original(dirac, few_images):
    x, labels = few_images.test_images[:64], few_images.test_labels[:64]
    before, state, names = logits(dirac, x), state_of(dirac), parametrized(dirac)
    assert names != []
    first, second = models.collapse(dirac), models.collapse(dirac)  # a copy shares the class of its original
    first.head.weight.data.zero_()
    for module in first.modules():
        for parameter in module.parameters(recurse=False):
            parameter.data.zero_()
    assert state_of(dirac) == state
    assert parametrized(dirac) == names
    assert same_bits(logits(dirac, x), before)
    assert same_bits(logits(second, x), before)
    dirac.train()
    functional.cross_entropy(dirac(x), labels).backward()
    scales = [weight for name, weight in dirac.named_parameters() if name.endswith("identity_scale")]
    assert len(scales) == len(names)
    assert all(weight.grad.any() for weight in scales)


def test_a_folded_network_can_be_trained_on_by_itself(dirac, few_images, quick):
    folded = models.collapse(dirac)
    before, state = {name: value.clone() for name, value in folded.state_dict().items()}, state_of(dirac)
    result = training.train(folded, few_images, quick(num_epochs=2))
    assert result.history["loss"].iloc[-1] < result.history["loss"].iloc[0]
    assert all(not torch.equal(value, before[name]) for name, value in folded.named_parameters())
    assert state_of(dirac)[:-1] == state[:-1]


def test_a_network_of_dirac_weights_comes_back_from_a_file(dirac, few_images, tmp_path):
    torch.save(dirac.state_dict(), tmp_path / "weights.pt")
    maker = models.mlp if isinstance(dirac, models.MLP) else models.convnet
    twin = maker(**{**vars(dirac.config), "seed": 1}).eval()
    assert not same_bits(logits(twin, few_images.test_images), logits(dirac, few_images.test_images))
    twin.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert same_bits(logits(twin, few_images.test_images), logits(dirac, few_images.test_images))


@pytest.mark.parametrize("name", ["dirac", "diracnet", "rezero", "repvgg", "skipinit"])
def test_weight_decay_spares_scales_biases_and_normalizations(name):
    small = {"depth": 8, "width": 4} if models.FAMILY[name].kind == "convnet" else {"depth": 3, "width": 4}
    model = models.make(name, seed=0, **small)
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    config = training.TrainConfig(optimizer="sgd", lr=0.1, weight_decay=0.5, momentum=0.0)
    optimizer = make_optimizer(list(model.parameters()), config, torch.device("cpu"))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    found = {name: parameter.unique().tolist() for name, parameter in model.named_parameters()}
    decayed = {name for name, values in found.items() if values != [1.0]}
    assert all(found[name] == pytest.approx([0.95]) for name in decayed)
    spared = (".bias", "scale", "norm.weight", "norms.0.weight", "norms.1.weight")
    assert decayed == {name for name in found if not name.endswith(spared)}
    assert {name.split(".")[-1] for name in decayed} <= {"weight", "original"}


# Three branches


@pytest.fixture
def repvgg(few_images, quick, seeded):
    model = models.make("repvgg", depth=8, width=4, in_channels=1, seed=0)
    training.train(model, few_images, quick(num_epochs=1))
    shake(model)
    return model


def published_repvgg(state, x):
    """relu of the sum of a 3 x 3 convolution, a 1 x 1 convolution and the identity, each normalized."""

    def norm(x, name):
        mean, variance, scale, shift = (
            state[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(variance + 1e-5) * scale + shift

    x = torch.relu(norm(functional.conv2d(x, state["stem.weight"], padding=1), "norm"))
    for block in range(6):
        at, stride = f"layers.{block}.convolutions.0", 2 if block in (2, 4) else 1
        y = norm(
            functional.conv2d(x, state[f"{at}.wide.weight"], stride=stride, padding=1), f"{at}.wide_norm"
        )
        y = y + norm(functional.conv2d(x, state[f"{at}.narrow.weight"], stride=stride), f"{at}.narrow_norm")
        if stride == 1:
            y = y + norm(x, f"{at}.identity_norm")
        x = torch.relu(y)
    return functional.linear(x.mean(dim=(2, 3)), state["head.weight"], state["head.bias"])


def test_a_repvgg_is_the_published_one_written_out(repvgg, few_images):
    state, x = repvgg.state_dict(), few_images.test_images[:64]
    assert {name.split(".")[1] for name in state if "identity_norm" in name} == {"0", "1", "3", "5"}
    torch.testing.assert_close(logits(repvgg, x), published_repvgg(state, x), atol=1e-5, rtol=1e-5)


def test_three_branches_fold_into_one_convolution_without_a_skip(repvgg, few_images):
    x = few_images.test_images
    assert is_skipped(repvgg, x)
    assert models.num_skips(repvgg) == 4  # two of the six blocks change the size, and have no identity
    before = state_of(repvgg)
    folded = models.collapse(repvgg)
    assert state_of(repvgg) == before
    torch.testing.assert_close(logits(folded, x), logits(repvgg, x), atol=1e-5, rtol=1e-5)
    assert not is_skipped(folded, x)
    assert models.num_skips(folded) == 0
    assert sum(isinstance(module, nn.Conv2d) for module in folded.modules()) == 7
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert (folded.config.parametrization, folded.config.normalization) == ("none", "none")


def test_folding_branches_keeps_the_precision_the_place_and_the_global_random_state(repvgg, few_images):
    random_state = torch.get_rng_state()
    exact = repvgg.double()
    folded = models.collapse(exact)
    assert {parameter.dtype for parameter in folded.parameters()} == {torch.float64}
    x = few_images.test_images.double()
    torch.testing.assert_close(logits(folded, x), logits(exact, x), atol=1e-12, rtol=1e-12)
    assert torch.equal(torch.get_rng_state(), random_state)
    elsewhere = models.collapse(repvgg.to("meta"))
    assert {parameter.device.type for parameter in elsewhere.parameters()} == {"meta"}


def test_a_repvgg_folded_while_it_trains_answers_as_in_eval_mode(repvgg, few_images):
    x = few_images.test_images[:64]
    expected = logits(repvgg, x)
    folded = models.collapse(repvgg.train())
    assert repvgg.training
    assert not any(module.training for module in folded.modules())
    torch.testing.assert_close(logits(folded, x), expected, atol=1e-5, rtol=1e-5)


# Initial weights


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: models.make("looks-linear", seed=0), id="fully connected"),
        pytest.param(lambda: models.make("looks-linear-conv", in_channels=1, seed=0), id="convolutional"),
        pytest.param(
            lambda: models.make("looks-linear-conv", depth=32, order="pre", in_channels=1, seed=0), id="pre"
        ),
        pytest.param(
            lambda: models.make(
                "looks-linear-conv",
                connection="residual",
                order="pre",
                in_channels=1,
                seed=0,
                residual_scale=0.1,
            ),
            id="residual",
        ),
    ],
)
def test_a_looks_linear_network_is_linear_at_the_start(make, few_images):
    model = make()
    one, other = few_images.train_images[:16], few_images.train_images[16:32]
    start = logits(model, torch.zeros_like(one))

    def moved(x):
        return logits(model, x) - start

    scale = moved(one).abs().max().item()
    assert scale > 0.01
    close = {"rtol": 0.0, "atol": 1e-5 * scale}
    torch.testing.assert_close(moved(one + other), moved(one) + moved(other), **close)
    for factor in (-1.0, 0.5, -3.0):
        torch.testing.assert_close(
            moved(factor * one), factor * moved(one), rtol=0.0, atol=1e-5 * scale * abs(factor)
        )


def test_a_looks_linear_network_does_not_stay_linear(few_images, quick):
    model = models.make("looks-linear-conv", depth=8, width=4, in_channels=1, seed=0)
    training.train(model, few_images, quick(num_epochs=2))
    x = few_images.test_images[:32]
    assert not torch.allclose(logits(model, -x) + logits(model, x), 2 * logits(model, 0 * x), atol=1e-2)


def orthogonal(matrix, gain=1.0):
    """Whether the columns of a matrix are orthonormal times a gain."""
    return torch.allclose(matrix.T @ matrix, gain**2 * torch.eye(matrix.shape[1]), atol=1e-5)


def test_looks_linear_kernels_are_mirrored_and_orthogonal_at_their_centre():
    model = models.make("looks-linear-conv", seed=0)
    for block in model.layers:
        for convolution in block.convolutions:
            weight = convolution.weight.detach()
            half, mirrored = weight.chunk(2, dim=1)
            assert torch.equal(mirrored, -half)
            assert orthogonal(half[:, :, 1, 1])
            assert torch.count_nonzero(weight) == torch.count_nonzero(weight[:, :, 1, 1])


@pytest.mark.parametrize(("activation", "gain"), [("tanh", 1.0), ("relu", 2**0.5)])
def test_delta_orthogonal_kernels_keep_lengths_times_the_activations_gain(activation, gain, few_images):
    model = models.make("delta-orthogonal", activation=activation, in_channels=1, seed=0)
    x = few_images.train_images[:8]
    for convolution in (model.stem, *(c for block in model.layers for c in block.convolutions)):
        weight = convolution.weight.detach()
        assert orthogonal(weight[:, :, 1, 1], gain)
        assert torch.count_nonzero(weight) == torch.count_nonzero(weight[:, :, 1, 1])
        y = functional.conv2d(x, weight, padding=1)
        torch.testing.assert_close(
            y.flatten(1).norm(dim=1), gain * x.flatten(1).norm(dim=1), atol=0.0, rtol=1e-4
        )
        x = y


def test_an_orthogonal_kernel_is_orthogonal_over_its_whole_window():
    weight = models.convnet(depth=8, init="orthogonal", seed=0).layers[0].convolutions[0].weight.detach()
    assert orthogonal(weight.flatten(1).T, 2**0.5)


@pytest.mark.parametrize(("init", "variance"), [("he", 2.0), ("lecun", 1.0)])
def test_he_and_lecun_kernels_have_their_variance_over_the_window(init, variance):
    network = models.convnet(depth=8, width=32, init=init, seed=0)
    weight = network.layers[-1].convolutions[1].weight
    assert weight.var().item() == pytest.approx(variance / (128 * 9), rel=0.02)
    assert weight.mean().item() == pytest.approx(0.0, abs=1e-3)


def test_selu_layers_bring_signals_to_mean_0_and_variance_1_and_keep_them_there(few_images):
    model = models.make("selu", width=1000, seed=0)
    means, variances = [], []

    def note(module, args, y):
        means.append(y.mean().item())
        variances.append(y.var(dim=1).mean().item())

    for layer in model.layers:
        layer.register_forward_hook(note)
    logits(model, few_images.train_images[:64])
    assert len(means) == 40
    assert means[5:] == pytest.approx([0.0] * 35, abs=0.1)
    assert variances[5:] == pytest.approx([1.0] * 35, abs=0.2)
