"""Networks of the five choices: what alpha = 0 and 1 mean, collapsing, initial weights, refusals."""

import dataclasses
import inspect
import itertools
from dataclasses import fields

import pytest
import torch

from tests.state import logits, opened, same_bits
from van_tutorial import connections, models, training
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


@pytest.mark.parametrize("skip", connections.SKIPS)
def test_every_layer_mixes_by_its_own_skip_weight_and_the_loss_pulls_at_it_so(few_images, skip):
    model = small(skip=skip).double()
    model.skip_weight.data = torch.tensor([0.1, 0.4, 0.7, 0.9], dtype=torch.float64)
    images = few_images.train_images[:32].double()
    alpha = model.skip_weight.detach().clone().requires_grad_()
    x = model.input_layer(images.flatten(1))
    for layer, a in zip(model.layers, alpha, strict=True):
        z = layer.norm(layer.linear(x))
        f = torch.relu(z)
        x = {"convex": a * x + (1 - a) * f, "additive": f + a * x, "activation": a * z + (1 - a) * f}[skip]
    expected = model.head(x)
    outputs = model(images)
    torch.testing.assert_close(outputs, expected)
    outputs.square().sum().backward()
    (gradient,) = torch.autograd.grad(expected.square().sum(), alpha)
    assert gradient.abs().min() > 1e-6
    torch.testing.assert_close(model.skip_weight.grad, gradient)


@pytest.mark.parametrize("scale", [0.1, 1.0, 2.0])
def test_residual_scale_reaches_every_layer(few_images, scale):
    model = small(connection="residual", residual_scale=scale).eval()
    x = few_images.test_images[:32]
    hidden = model.input_layer(x.flatten(1))
    for layer in model.layers:
        hidden = hidden + scale * torch.relu(layer.norm(layer.linear(hidden)))
    torch.testing.assert_close(logits(model, x), model.head(hidden).detach())


def test_highway_gates_that_are_shut_pass_the_input_on(few_images):
    model = small(connection="highway")
    for layer in model.layers:
        torch.nn.init.constant_(layer.connection.gate.bias, -20.0)
    x = few_images.test_images[:32]
    expected = model.head(model.input_layer(x.flatten(1))).detach()
    torch.testing.assert_close(logits(model, x), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("order", parts.ORDERS)
@pytest.mark.parametrize("normalization", parts.NORMALIZATIONS)
def test_a_rezero_network_starts_from_its_input_layer_and_head(few_images, normalization, order):
    model = small(connection="rezero", normalization=normalization, order=order)
    x = few_images.test_images[:32]
    expected = model.head(model.head_activation(model.input_layer(x.flatten(1))))
    assert torch.equal(logits(model, x), expected)


def test_a_rezero_network_learns_how_much_of_each_layer_to_add(few_images, quick):
    model = small(connection="rezero", normalization="none")
    training.train(model, few_images, quick(num_epochs=1))
    scales = [layer.connection.scale.item() for layer in model.layers]
    assert all(scale != 0.0 for scale in scales)
    x = few_images.test_images[:32]
    hidden = model.input_layer(x.flatten(1))
    for layer, scale in zip(model.layers, scales, strict=True):
        hidden = hidden + scale * torch.relu(layer.linear(hidden))
    torch.testing.assert_close(logits(model, x), model.head(hidden).detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("every", "weighted"), [(1, [0, 1, 2, 3]), (2, [0, 2]), (3, [0, 3]), (9, [0])])
def test_skip_every_so_many_layers_leaves_the_others_plain(few_images, every, weighted):
    model = small(skip="activation", skip_every=every, normalization="none")
    assert model.skip_weight.shape == (len(weighted),)
    assert models.num_skips(model) == len(weighted)
    model.skip_weight.data = torch.linspace(0.2, 0.8, len(weighted))
    alphas = dict(zip(weighted, model.skip_weight.tolist(), strict=True))
    x = few_images.test_images[:32]
    hidden = model.input_layer(x.flatten(1))
    for index, layer in enumerate(model.layers):
        z, alpha = layer.linear(hidden), alphas.get(index, 0.0)
        hidden = alpha * z + (1 - alpha) * torch.relu(z)
    torch.testing.assert_close(logits(model, x), model.head(hidden).detach(), atol=1e-5, rtol=1e-5)


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


@pytest.mark.parametrize("connection", ["residual", "rezero", "highway"])
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


@pytest.mark.parametrize("is_training", [True, False], ids=["training", "eval"])
def test_collapse_keeps_mode_and_statistics_of_every_layer(few_images, is_training):
    model = small(skip_weight=0.0)
    logits(model, few_images.train_images)
    plain = models.collapse(model.train(is_training))
    assert plain.layers[0].norm.running_mean.any()
    state = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in plain.state_dict().items())
    assert [name for name, module in plain.named_modules() if module.training is not is_training] == []


def test_collapsing_a_plain_network_copies_it(few_images):
    model = small(connection="plain")
    plain = models.collapse(model)
    assert plain is not model
    x = few_images.test_images[:32]
    assert same_bits(logits(plain, x), logits(model, x))


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ({"connection": "plain"}, 0),
        ({"connection": "residual"}, 4),
        ({"connection": "rezero"}, 4),
        ({"connection": "highway"}, 4),
        ({"connection": "van"}, 4),
        ({"connection": "residual", "skip_every": 3}, 2),
        ({"connection": "van", "skip_every": 2}, 2),
        ({"connection": "van", "skip_weight": 0.0}, 0),
    ],
)
def test_every_network_says_how_many_skips_it_has(choices, expected):
    assert models.num_skips(small(**choices)) == expected


def test_skips_that_are_gone_are_not_counted():
    model = small(skip_weight=0.5)
    model.skip_weight.data[1:3] = 0.0
    assert models.num_skips(model) == 2


def test_skip_weights_are_a_copy_that_cannot_change_the_network():
    model = small(skip_weight=0.5)
    copy = models.skip_weights(model)
    assert copy.tolist() == [0.5] * 4
    assert not copy.requires_grad
    copy.zero_()
    assert model.skip_weight.tolist() == [0.5] * 4


@pytest.mark.parametrize("connection", ["plain", "residual", "rezero", "highway"])
def test_networks_without_skips_to_phase_out_have_no_skip_weights(connection):
    model = small(connection=connection)
    assert not hasattr(model, "skip_weight")
    assert models.skip_weights(model).shape == (0,)


@pytest.mark.parametrize("connection", connections.CONNECTIONS)
@pytest.mark.parametrize("normalization", parts.NORMALIZATIONS)
@pytest.mark.parametrize("order", parts.ORDERS)
def test_every_combination_of_choices_learns_in_every_layer(few_images, connection, normalization, order):
    model = opened(small(connection=connection, normalization=normalization, order=order, skip_weight=0.5))
    outputs = model(few_images.train_images[:32])
    assert outputs.shape == (32, 10)
    torch.nn.functional.cross_entropy(outputs, few_images.train_labels[:32]).backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []
    assert all(layer.linear.weight.grad.any() for layer in model.layers)


@pytest.mark.parametrize(
    ("choices", "layer", "head"),
    [
        ({}, 8 * 8 + 8 + 2 * 8, 8 * 10 + 10),
        ({"normalization": "layer"}, 8 * 8 + 8 + 2 * 8, 8 * 10 + 10),
        ({"normalization": "none"}, 8 * 8 + 8, 8 * 10 + 10),
        ({"normalization": "center"}, 8 * 8 + 8, 8 * 10 + 10),
        ({"order": "pre"}, 8 * 8 + 2 * 8, 8 * 10 + 10),
        ({"order": "pre", "activation": "crelu"}, 16 * 8 + 2 * 8, 16 * 10 + 10),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("connection", "extra"),
    [("plain", 0), ("residual", 0), ("rezero", 1), ("van", 1), ("highway", 8 * 8 + 8)],
)
def test_a_network_has_as_many_weights_as_the_design_says(connection, extra, choices, layer, head):
    model = small(connection=connection, **choices)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == (784 * 8 + 8) + 4 * (layer + extra) + head


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


LOOKS_LINEAR = {"depth": 20, "activation": "crelu", "init": "looks-linear", "normalization": "none"}


@pytest.mark.parametrize(
    ("connection", "order"),
    [("plain", "post"), ("plain", "pre"), ("residual", "pre"), ("van", "pre"), ("highway", "pre")],
)
def test_a_looks_linear_network_is_linear_at_the_start(few_images, connection, order):
    model = small(connection=connection, order=order, residual_scale=0.1, **LOOKS_LINEAR).double()
    for layer in model.layers:
        if connection == "highway":  # a gate that looks at the input is no linear map
            torch.nn.init.zeros_(layer.connection.gate.weight)
    images = few_images.train_images.double()
    one, other = images[:20], images[20:40]
    mixed = logits(model, 2.0 * one - other)
    assert mixed.std() > 0.1
    torch.testing.assert_close(mixed, 2.0 * logits(model, one) - logits(model, other), atol=1e-5, rtol=1e-5)


def test_a_looks_linear_network_keeps_the_lengths_of_its_signals(few_images):
    model = small(connection="plain", **LOOKS_LINEAR).double()
    lengths = []
    model.head.register_forward_hook(lambda module, args, output: lengths.append(args[0].norm(dim=1)))
    x = few_images.train_images[:20].double()
    logits(model, x)
    expected = model.input_layer(x.flatten(1)).norm(dim=1)
    # The weights are orthogonal to the last bit of a float32 only, and how many last bits that is varies.
    torch.testing.assert_close(lengths[0], expected, atol=0.0, rtol=1e-4)


def test_he_weights_have_variance_2_by_fan_in():
    weight = models.mlp(depth=1, width=400, init="he", seed=0).layers[0].linear.weight
    assert weight.var().item() == pytest.approx(2 / 400, rel=0.02)
    assert weight.mean().item() == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(
    ("choices", "total", "squares"),
    [
        ({}, 1318.970448, 3970.901383),
        ({"connection": "plain", "order": "pre", "depth": 5}, 152.895811, 558.730218),
        ({"connection": "highway", "normalization": "none", "depth": 3}, -78.368019, 404.042970),
    ],
    ids=str,
)
def test_a_seed_gives_the_weights_that_recorded_results_were_made_with(choices, total, squares):
    weights = [parameter.detach().double() for parameter in models.mlp(seed=0, **choices).parameters()]
    assert sum(weight.sum().item() for weight in weights) == pytest.approx(total, rel=1e-5)
    assert sum(weight.square().sum().item() for weight in weights) == pytest.approx(squares, rel=1e-6)


def drawn(**choices):
    """The layers' first weights and biases of some networks, all in one."""
    networks = [models.mlp(**{"depth": 3, "width": 100, "seed": seed, **choices}) for seed in range(5)]
    return (
        torch.cat([layer.linear.weight.detach().flatten() for n in networks for layer in n.layers]),
        torch.cat([layer.linear.bias.detach() for n in networks for layer in n.layers]),
    )


@pytest.mark.parametrize("scale", [0.5, 2.0])
@pytest.mark.parametrize("init", ["he", "orthogonal"])
def test_init_scale_multiplies_the_weights_of_the_layers_and_no_others(init, scale):
    plain, scaled = small(init=init).state_dict(), small(init=init, init_scale=scale).state_dict()
    for name, value in plain.items():
        is_scaled = name.startswith("layers.") and name.endswith("linear.weight")
        assert torch.equal(scaled[name], scale * value if is_scaled else value), name


@pytest.mark.parametrize("order", parts.ORDERS)
def test_bias_std_draws_the_layers_biases_with_that_deviation_and_no_others(order):
    weights, biases = drawn(order=order, bias_std=0.3)
    assert biases.std().item() == pytest.approx(0.3, rel=0.08)
    assert abs(biases.mean().item()) < 4 * 0.3 / len(biases) ** 0.5
    assert weights.var().item() == pytest.approx(2 / 100, rel=0.02)
    model = small(order=order, bias_std=0.3)
    assert not model.input_layer.bias.any()
    assert not model.head.bias.any()


@pytest.mark.parametrize("order", parts.ORDERS)
@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_norm_shift_is_where_the_layers_normalizations_begin_and_changes_no_other_weight(
    order, normalization
):
    choices = {"order": order, "normalization": normalization, "seed": 3}
    shifted, usual = small(norm_shift=1.5, **choices), small(**choices)
    for (name, one), two in zip(shifted.named_parameters(), usual.parameters(), strict=True):
        assert torch.equal(one, torch.full_like(two, 1.5) if name.endswith("norm.bias") else two), name
    assert bool(usual.layers[0].norm.bias.any()) is False


def test_without_bias_std_biases_are_0_or_not_there():
    assert not drawn()[1].any()
    assert all(layer.linear.bias is None for layer in small(order="pre").layers)
    assert all(layer.linear.bias.any() for layer in small(order="pre", bias_std=0.1).layers)


@pytest.mark.parametrize("init", ["he", "orthogonal"])
@pytest.mark.parametrize("in_features", [1, 25])
def test_a_normal_input_layer_has_units_whose_kinks_lie_spread_over_the_data(init, in_features):
    networks = [
        models.mlp(
            depth=1,
            width=400,
            init=init,
            input_init="normal",
            in_features=in_features,
            num_classes=5,
            seed=seed,
        )
        for seed in range(5)
    ]
    weights = torch.cat([network.input_layer.weight.detach().flatten() for network in networks])
    biases = torch.cat([network.input_layer.bias.detach() for network in networks])
    for values, variance in ((weights, 1.0 / in_features), (biases, 1.0)):
        assert values.var().item() == pytest.approx(variance, rel=0.15)
        assert abs(values.mean().item()) < 4 * (variance / len(values)) ** 0.5
    assert not networks[0].head.bias.any()


def test_by_default_the_input_layer_is_drawn_like_the_others_without_biases():
    layer = models.mlp(depth=1, width=400, seed=0).input_layer
    assert layer.weight.var().item() == pytest.approx(2 / 784, rel=0.02)
    assert not layer.bias.any()


def test_scaled_weights_and_biases_are_used(few_images):
    model = small(connection="plain", normalization="none", init_scale=1.5, bias_std=0.5, input_init="normal")
    hidden = model.input_layer(few_images.test_images[:8].flatten(1))
    for layer in model.layers:
        hidden = torch.relu(hidden @ layer.linear.weight.T + layer.linear.bias)
    torch.testing.assert_close(logits(model, few_images.test_images[:8]), model.head(hidden).detach())


@pytest.mark.parametrize(("activation", "square"), [("relu", 2.0), ("tanh", 1.0)])
def test_orthogonal_weights_are_orthogonal_with_the_activations_gain(activation, square):
    weight = small(init="orthogonal", activation=activation).layers[0].linear.weight.detach()
    torch.testing.assert_close(weight @ weight.T, square * torch.eye(8), atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("order", parts.ORDERS)
@pytest.mark.parametrize("normalization", parts.NORMALIZATIONS)
@pytest.mark.parametrize(
    ("connection", "skip"),
    [
        ("plain", "convex"),
        ("residual", "convex"),
        ("rezero", "convex"),
        ("highway", "convex"),
        *(("van", skip) for skip in connections.SKIPS),
    ],
)
def test_a_network_learns_under_bfloat16_autocast(few_images, connection, skip, normalization, order):
    model = opened(
        small(connection=connection, skip=skip, skip_weight=0.5, normalization=normalization, order=order)
    )
    x, labels = few_images.train_images[:64], few_images.train_labels[:64]
    exact = logits(model, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = model(x)
        loss = torch.nn.functional.cross_entropy(outputs, labels)
    assert (outputs - exact).square().mean().sqrt() < 0.03 * exact.std()
    loss.backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters()}
    assert [name for name, grad in gradients.items() if grad is None or not grad.isfinite().all()] == []
    if connection == "van":
        assert gradients["skip_weight"].dtype == torch.float32
        assert gradients["skip_weight"].all()


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
        ({"depth": 0}, "depth must be an integer of at least 1, got 0"),
        ({"depth": True}, "depth must be an integer of at least 1, got True"),
        ({"depth": 2.5}, "depth must be an integer of at least 1, got 2.5"),
        ({"width": -3}, "width must be an integer of at least 1, got -3"),
        ({"in_features": 0}, "in_features must be an integer"),
        ({"num_classes": True}, "num_classes must be an integer"),
        ({"skip_weight": 1.5}, r"skip_weight must be a number in \[0, 1\], got 1.5"),
        ({"skip_weight": -0.1}, r"skip_weight must be a number in \[0, 1\], got -0.1"),
        ({"skip_weight": "0.5"}, r"skip_weight must be a number in \[0, 1\], got '0.5'"),
        ({"skip_weight": float("nan")}, r"skip_weight must be a number in \[0, 1\], got nan"),
        ({"residual_scale": 0.0}, "residual_scale must be a number above 0, got 0.0"),
        ({"residual_scale": -1.0}, "residual_scale must be a number above 0, got -1.0"),
        ({"init_scale": 0.0}, "init_scale must be a number above 0, got 0.0"),
        ({"init_scale": -1.0}, "init_scale must be a number above 0, got -1.0"),
        ({"bias_std": -0.1}, "bias_std must be a number at least 0, got -0.1"),
        ({"norm_shift": float("nan")}, "norm_shift must be a number"),
        (
            {"norm_shift": 1.0, "normalization": "center"},
            "norm_shift is the shift of normalization 'batch' or 'layer': 'center' has none",
        ),
        ({"bias_std": float("inf")}, "bias_std must be a number at least 0, got inf"),
        ({"input_init": "norml"}, r"input_init must be one of 'same', 'normal', .* Did you mean 'normal'\?"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"skip_every": 0}, "skip_every must be an integer of at least 1, got 0"),
        ({"init": "looks-linear"}, "init 'looks-linear' needs activation 'crelu', got 'relu'"),
        ({"init": "delta-orthogonal"}, "init 'delta-orthogonal' is for convolutions: take 'orthogonal'"),
        (
            {"parametrization": "repvgg"},
            "parametrization 'repvgg' is for convolutions: take 'dirac' or 'none'",
        ),
        ({"activation": "crelu"}, "does not fit in connection 'van': take order 'pre'"),
        ({"activation": "crelu", "connection": "residual"}, "does not fit in connection 'residual'"),
        ({"activation": "crelu", "connection": "highway"}, "does not fit in connection 'highway'"),
        ({"activation": "crelu", "order": "pre", "skip": "activation"}, "take skip 'convex' or 'additive'"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_in_one_sentence(choices, message):
    with pytest.raises(ValueError, match=message):
        small(**choices)


def test_images_may_come_flat_or_in_their_own_shape(few_images):
    model, x = small().eval(), few_images.test_images[:32]
    assert same_bits(logits(model, x), logits(model, x.flatten(1)))


def test_images_of_another_size_are_refused_with_the_mend():
    with pytest.raises(
        ValueError, match="takes 784 features per example, got 3072: make it with in_features=3072"
    ):
        small()(torch.zeros(2, 3, 32, 32))


@pytest.mark.parametrize(
    ("make", "config"),
    [
        (models.mlp, models.MLPConfig),
        (models.convnet, models.ConvNetConfig),
        (models.msnet, models.MSNetConfig),
    ],
)
def test_a_network_is_made_with_the_arguments_of_its_config_in_their_order(make, config):
    shown = inspect.signature(make).parameters
    assert [(p.name, p.default) for p in shown.values()] == [(f.name, f.default) for f in fields(config)]
    assert make(width=4, seed=0).config == models.build(config(width=4, seed=0)).config
    with pytest.raises(TypeError, match="widht"):
        make(widht=4)
