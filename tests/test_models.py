"""Networks of the five choices: what alpha = 0 and alpha = 1 mean, collapsing, initial weights, and refusals."""

import dataclasses
import itertools

import pytest
import torch

from van_tutorial import connections, models
from van_tutorial.models import parts

CHOICES = [
    pytest.param(skip, activation, normalization, order, id=f"{skip}-{activation}-{normalization}-{order}")
    for skip, activation, normalization, order in itertools.product(
        connections.SKIPS, parts.ACTIVATIONS, parts.NORMALIZATIONS, parts.ORDERS
    )
    if activation != "crelu" or (order == "pre" and skip != "activation")
]


def small(seed=0, **choices):
    return models.mlp(**{"depth": 4, "width": 8, "seed": seed, **choices})


def with_weights_of(source, **choices):
    """A network of other choices with the same weights and statistics."""
    twin = small(seed=1, **choices)
    state = {name: value for name, value in source.state_dict().items() if name != "skip_weight"}
    twin.load_state_dict(state, strict=not hasattr(twin, "skip_weight"))
    return twin


def same_bits(one, other):
    return torch.equal(one.view(torch.int32), other.view(torch.int32))


def logits(model, inputs):
    with torch.no_grad():
        return model(inputs)


@pytest.mark.parametrize(("skip", "activation", "normalization", "order"), CHOICES)
def test_with_every_skip_at_0_a_network_is_the_plain_one_to_the_last_bit(
    few_images, skip, activation, normalization, order
):
    choices = {"activation": activation, "normalization": normalization, "order": order}
    model = small(connection="van", skip=skip, skip_weight=0.0, **choices)
    plain = with_weights_of(model, connection="plain", **choices)
    collapsed = models.collapse(model)
    assert collapsed.config == dataclasses.replace(model.config, connection="plain")
    inputs = few_images.train_images[:64]
    for is_training in (True, False):
        outputs = [logits(network.train(is_training), inputs) for network in (model, plain, collapsed)]
        assert outputs[0].std() > 1e-3
        assert same_bits(outputs[0], outputs[1])
        assert same_bits(outputs[0], outputs[2])


def test_with_every_skip_at_0_the_weights_learn_as_in_the_plain_network(few_images):
    model = small(skip_weight=0.0)
    plain = models.collapse(model)
    for network in (model, plain):
        torch.nn.functional.cross_entropy(
            network(few_images.train_images[:64]), few_images.train_labels[:64]
        ).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert all(same_bits(parameter.grad, gradients[name]) for name, parameter in plain.named_parameters())


@pytest.mark.parametrize("order", parts.ORDERS)
@pytest.mark.parametrize("normalization", parts.NORMALIZATIONS)
def test_with_every_convex_skip_at_1_only_input_layer_and_head_are_left(few_images, normalization, order):
    model = small(skip="convex", skip_weight=1.0, normalization=normalization, order=order)
    x = few_images.test_images[:32]
    expected = model.head(model.head_activation(model.input_layer(x.flatten(1))))
    assert torch.equal(logits(model, x), expected)


@pytest.mark.parametrize("order", parts.ORDERS)
def test_with_every_additive_skip_at_1_a_network_is_the_residual_one(few_images, order):
    model = small(skip="additive", skip_weight=1.0, order=order)
    residual = with_weights_of(model, connection="residual", order=order)
    x = few_images.test_images[:32]
    torch.testing.assert_close(logits(model, x), logits(residual, x), atol=0.0, rtol=1e-6)


@pytest.mark.parametrize("normalization", ["none", "batch", "center"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_with_every_activation_skip_at_1_a_network_is_affine_in_eval_mode(
    few_images, activation, normalization
):
    model = small(
        skip="activation", skip_weight=1.0, activation=activation, normalization=normalization
    ).double()
    images = few_images.train_images.double()
    model(images)  # statistics other than the initial ones
    model.eval()
    one, other = images[:50], images[50:100]
    mixed = logits(model, 0.3 * one + 0.7 * other)
    torch.testing.assert_close(mixed, 0.3 * logits(model, one) + 0.7 * logits(model, other))
    bent = (
        small(skip="activation", skip_weight=0.5, activation=activation, normalization=normalization)
        .double()
        .eval()
    )
    assert not torch.allclose(
        logits(bent, 0.3 * one + 0.7 * other), 0.3 * logits(bent, one) + 0.7 * logits(bent, other), atol=1e-3
    )


@pytest.mark.parametrize("left", [1e-12, 0.5, 1.0])
def test_collapse_refuses_while_a_skip_is_left_and_says_which(left):
    model = small(skip_weight=0.0)
    model.skip_weight.data[2] = left
    with pytest.raises(ValueError, match=r"1 of 4 skip weights are not 0 \(the largest, of layer 3"):
        models.collapse(model)


@pytest.mark.parametrize("connection", ["residual", "highway"])
def test_collapse_refuses_networks_that_keep_their_skips(connection):
    with pytest.raises(ValueError, match=f"'{connection}' keeps its skips"):
        models.collapse(small(connection=connection))


def test_collapse_leaves_the_network_alone_and_shares_no_memory_with_it():
    model = small(skip_weight=0.0).eval()
    plain = models.collapse(model)
    assert model.config.connection == "van"
    assert model.skip_weight.shape == (4,)
    assert not hasattr(plain, "skip_weight")
    assert "skip_weight" not in plain.state_dict()
    assert not plain.training
    plain.head.weight.data.zero_()
    assert model.head.weight.any()


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ({"connection": "plain"}, 0),
        ({"connection": "residual"}, 4),
        ({"connection": "highway"}, 4),
        ({"connection": "van"}, 4),
        ({"connection": "van", "skip_weight": 0.0}, 0),
    ],
)
def test_every_network_says_how_many_skips_it_has(choices, expected):
    assert models.num_skips(small(**choices)) == expected


def test_skip_weights_are_a_copy_that_cannot_change_the_network():
    model = small(skip_weight=0.5)
    copy = models.skip_weights(model)
    assert copy.tolist() == [0.5] * 4
    assert not copy.requires_grad
    copy.zero_()
    assert model.skip_weight.tolist() == [0.5] * 4


@pytest.mark.parametrize("connection", ["plain", "residual", "highway"])
def test_networks_without_skips_to_phase_out_have_no_skip_weights(connection):
    model = small(connection=connection)
    assert not hasattr(model, "skip_weight")
    assert models.skip_weights(model).shape == (0,)


@pytest.mark.parametrize("connection", connections.CONNECTIONS)
@pytest.mark.parametrize("normalization", parts.NORMALIZATIONS)
@pytest.mark.parametrize("order", parts.ORDERS)
def test_every_combination_of_choices_learns_in_every_layer(few_images, connection, normalization, order):
    model = small(connection=connection, normalization=normalization, order=order, skip_weight=0.5)
    outputs = model(few_images.train_images[:32])
    assert outputs.shape == (32, 10)
    torch.nn.functional.cross_entropy(outputs, few_images.train_labels[:32]).backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []
    assert all(layer.linear.weight.grad.any() for layer in model.layers)


def test_a_network_has_as_many_weights_as_the_design_says():
    count = sum(parameter.numel() for parameter in small().parameters())
    norm, layer = 2 * 8, 8 * 8 + 8
    assert count == (784 * 8 + 8) + 4 * (layer + norm) + (8 * 10 + 10) + 4


def test_the_same_seed_gives_the_same_network_and_another_seed_another():
    torch.manual_seed(5)
    first = small(seed=3)
    torch.manual_seed(6)
    second = small(seed=3)
    assert all(
        torch.equal(one, other) for one, other in zip(first.parameters(), second.parameters(), strict=True)
    )
    assert not torch.equal(first.head.weight, small(seed=4).head.weight)


def test_the_connection_does_not_change_the_initial_weights():
    plain, van = small(connection="plain").state_dict(), small(connection="van").state_dict()
    assert all(torch.equal(plain[name], van[name]) for name in plain)


def test_making_a_network_from_a_seed_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    small(seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_seed_the_global_random_state_decides():
    torch.manual_seed(1)
    first, second = small(seed=None), small(seed=None)
    torch.manual_seed(1)
    assert torch.equal(small(seed=None).head.weight, first.head.weight)
    assert not torch.equal(first.head.weight, second.head.weight)


def test_a_looks_linear_network_is_linear_at_the_start_and_keeps_lengths(few_images):
    model = models.mlp(
        depth=20,
        width=32,
        connection="plain",
        activation="crelu",
        init="looks-linear",
        normalization="none",
        seed=0,
    )
    hidden = []
    model.double().head.register_forward_hook(lambda module, args, output: hidden.append(args[0].norm(dim=1)))
    images = few_images.train_images.double()
    one, other = images[:20], images[20:40]
    torch.testing.assert_close(logits(model, one + other), logits(model, one) + logits(model, other))
    torch.testing.assert_close(hidden[1], model.input_layer(one.flatten(1)).norm(dim=1))


def test_he_weights_have_variance_2_by_fan_in():
    weight = models.mlp(depth=1, width=400, init="he", seed=0).layers[0].linear.weight
    assert weight.var().item() == pytest.approx(2 / 400, rel=0.02)
    assert weight.mean().item() == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(("activation", "square"), [("relu", 2.0), ("tanh", 1.0)])
def test_orthogonal_weights_are_orthogonal_with_the_activations_gain(activation, square):
    weight = small(init="orthogonal", activation=activation).layers[0].linear.weight.detach()
    torch.testing.assert_close(weight @ weight.T, square * torch.eye(8), atol=1e-5, rtol=0.0)


def test_centering_takes_the_batchs_mean_off_and_later_the_running_one():
    center = parts.Center(2, momentum=0.5)
    batch = torch.tensor([[1.0, 10.0], [3.0, 30.0]])
    assert center(batch).tolist() == [[-1.0, -10.0], [1.0, 10.0]]
    assert center.running_mean.tolist() == [1.0, 10.0]
    assert center.eval()(batch).tolist() == [[0.0, 0.0], [2.0, 20.0]]
    assert center.running_mean.tolist() == [1.0, 10.0]


def test_deeper_highway_networks_start_with_gates_that_carry_more():
    biases = [
        models.mlp(depth=d, width=2, connection="highway", seed=0).layers[0].connection.gate.bias[0]
        for d in (5, 15, 30, 60)
    ]
    assert sorted(biases, reverse=True) == biases
    assert all(-5.0 < bias < 0.0 for bias in biases)


def test_a_config_cannot_be_changed_under_a_network():
    with pytest.raises(dataclasses.FrozenInstanceError):
        small().config.depth = 5


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"connection": "resdual"}, r"connection must be one of .* got 'resdual'. Did you mean 'residual'\?"),
        ({"skip": "concave"}, r"skip must be one of 'convex', .* Did you mean 'convex'\?"),
        ({"activation": "rulu"}, r"activation must be one of .* Did you mean 'relu'\?"),
        ({"normalization": "bach"}, r"normalization must be one of .* Did you mean 'batch'\?"),
        ({"order": "middle"}, "order must be one of 'post', 'pre', got 'middle'"),
        ({"init": "she"}, r"init must be one of .* Did you mean 'he'\?"),
        ({"parametrization": "nothing"}, "parametrization must be one of"),
        ({"depth": 0}, "depth must be a whole number of at least 1, got 0"),
        ({"depth": 2.5}, "depth must be a whole number of at least 1, got 2.5"),
        ({"width": -3}, "width must be a whole number of at least 1, got -3"),
        ({"in_features": 0}, "in_features must be a whole number"),
        ({"num_classes": True}, "num_classes must be a whole number"),
        ({"skip_weight": 1.5}, r"skip_weight must be a number in \[0, 1\], got 1.5"),
        ({"skip_weight": float("nan")}, r"skip_weight must be a number in \[0, 1\], got nan"),
        ({"residual_scale": 0.0}, "residual_scale must be a number above 0, got 0.0"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"init": "looks-linear"}, "init 'looks-linear' needs activation 'crelu', got 'relu'"),
        ({"activation": "crelu"}, "take order 'pre'"),
        ({"activation": "crelu", "order": "pre", "skip": "activation"}, "take skip 'convex' or 'additive'"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_in_one_sentence(choices, message):
    with pytest.raises(ValueError, match=message):
        small(**choices)


def test_images_of_another_size_are_refused_with_the_mend():
    with pytest.raises(
        ValueError, match="takes 784 features per example, got 3072: make it with in_features=3072"
    ):
        small()(torch.zeros(2, 3, 32, 32))
