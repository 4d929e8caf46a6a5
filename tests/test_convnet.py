"""Convolutional stacks: published sizes, a restatement in plain torch, what alpha = 0 and 1 mean, refusals."""

import dataclasses
import functools

import pytest
import torch
from torch.nn import functional

from tests.state import logits, opened, same_bits
from van_tutorial import connections, models, training
from van_tutorial.models import parts

DOWNSAMPLINGS = ("stride", "max-pool")


def small(seed=0, **choices):
    return models.convnet(**{"depth": 8, "width": 4, "in_channels": 1, "seed": seed, **choices})


def with_weights_of(source, **choices):
    """A network of other choices with the same weights and statistics."""
    twin = small(seed=1, **choices)
    state = {name: value for name, value in source.state_dict().items() if name != "skip_weight"}
    twin.load_state_dict(state, strict=not hasattr(twin, "skip_weight"))
    return twin


def option_a(x, is_smaller):
    """He et al.: every second row and column, and as many channels of zeros as there are."""
    if not is_smaller:
        return x
    half = x[:, :, ::2, ::2]
    return torch.cat((half, torch.zeros_like(half)), dim=1)


def restated(state, x, order, join, act=lambda z, block: torch.relu(z), training=False):
    """The network with two convolutions a block and strides, from its state dict, in torch's functions alone.

    join(x, F(x), block) is a block's sum, and act(z, block) each activation in it.
    """

    def conv(x, name, stride=1):
        return functional.conv2d(x, state[f"{name}.weight"], stride=stride, padding=1)

    def norm(x, name):
        mean, variance = state[f"{name}.running_mean"].clone(), state[f"{name}.running_var"].clone()
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return functional.batch_norm(x, mean, variance, weight, bias, training=training)

    x = conv(x, "stem")
    if order == "post":
        x = torch.relu(norm(x, "norm"))
    num_blocks = len({name.split(".")[1] for name in state if name.startswith("layers.")})
    for block in range(num_blocks):
        at = f"layers.{block}"
        is_smaller = block in (num_blocks // 3, 2 * num_blocks // 3)
        stride = 2 if is_smaller else 1
        if order == "post":
            z = norm(conv(x, f"{at}.convolutions.0", stride), f"{at}.norms.0")
            z = norm(conv(act(z, block), f"{at}.convolutions.1"), f"{at}.norms.1")
            x = act(join(option_a(x, is_smaller), z, block), block)
        else:
            z = conv(act(norm(x, f"{at}.norms.0"), block), f"{at}.convolutions.0", stride)
            z = conv(act(norm(z, f"{at}.norms.1"), block), f"{at}.convolutions.1")
            x = join(option_a(x, is_smaller), z, block)
    if order == "pre":
        x = torch.relu(norm(x, "norm"))
    return functional.linear(x.mean(dim=(2, 3)), state["head.weight"], state["head.bias"])


@pytest.mark.parametrize(
    ("depth", "millions", "digits"),
    [(20, 0.27, 2), (32, 0.46, 2), (44, 0.66, 2), (56, 0.85, 2), (110, 1.7, 1)],
)
def test_resnets_and_plain_networks_have_as_many_weights_as_was_published(depth, millions, digits):
    with torch.device("meta"):
        networks = [models.convnet(depth=depth, connection=name) for name in ("residual", "plain")]
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    assert round(counts[0] / 1e6, digits) == millions
    assert counts[0] == counts[1]


@pytest.mark.parametrize("layers_per_block", [1, 2])
@pytest.mark.parametrize("depth", [8, 20, 56])
def test_a_network_has_one_convolution_less_in_a_row_than_its_depth(few_images, depth, layers_per_block):
    network = small(depth=depth, connection="plain", layers_per_block=layers_per_block).eval()
    calls = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda module, args, output: calls.append(output.shape[1:]))
    logits(network, few_images.test_images[:1])
    assert len(calls) == depth - 1 == network.num_layers - 1
    third = (depth - 2) // 3
    assert calls == [(4, 28, 28)] * (third + 1) + [(8, 14, 14)] * third + [(16, 7, 7)] * third


@pytest.mark.parametrize("connection", ["plain", "residual"])
@pytest.mark.parametrize("order", parts.ORDERS)
def test_a_resnet_of_depth_20_is_the_published_one_written_out(few_images, quick, order, connection):
    network = small(depth=20, connection=connection, order=order)
    training.train(network, few_images, quick(num_epochs=1))
    state, x = network.state_dict(), few_images.test_images[:50]
    share = 1.0 if connection == "residual" else 0.0
    expected = restated(state, x, order, lambda x, f, block: f + share * x)
    torch.testing.assert_close(logits(network, x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("downsampling", DOWNSAMPLINGS)
@pytest.mark.parametrize("order", parts.ORDERS)
@pytest.mark.parametrize("skip", connections.SKIPS)
def test_with_every_skip_at_0_a_network_is_the_plain_one_to_the_last_bit(
    few_images, skip, order, downsampling
):
    choices = {"order": order, "downsampling": downsampling}
    model = small(connection="van", skip=skip, skip_weight=0.0, **choices)
    plain = with_weights_of(model, connection="plain", **choices)
    collapsed = models.collapse(model)
    assert collapsed.config == dataclasses.replace(model.config, connection="plain")
    inputs, labels = few_images.train_images[:32], few_images.train_labels[:32]
    for is_training in (True, False):
        outputs = [network.train(is_training)(inputs) for network in (model, plain, collapsed)]
        assert outputs[0].std() > 1e-3
        assert same_bits(outputs[0], outputs[1])
        assert same_bits(outputs[0], outputs[2])
        for network, output in zip((model, plain, collapsed), outputs, strict=True):
            network.zero_grad()
            functional.cross_entropy(output, labels).backward()
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        for network in (plain, collapsed):
            for name, parameter in network.named_parameters():
                assert same_bits(parameter.grad, gradients[name]), name


def only_shortcuts(model, x):
    """What is left of a network whose blocks pass their input on."""
    x = model.stem(x)
    if model.config.order == "post":
        x = torch.relu(model.norm(x))
    for _ in range(2):
        if model.config.downsampling == "max-pool":
            x = functional.max_pool2d(x, 2)
            x = torch.cat((x, torch.zeros_like(x)), dim=1)
        else:
            x = option_a(x, is_smaller=True)
    if model.config.order == "pre":
        x = torch.relu(model.norm(x))
    return model.head(x.mean(dim=(2, 3)))


@pytest.mark.parametrize("downsampling", DOWNSAMPLINGS)
@pytest.mark.parametrize("order", parts.ORDERS)
@pytest.mark.parametrize("layers_per_block", [1, 2])
def test_with_every_convex_skip_at_1_the_blocks_pass_their_input_on(
    few_images, order, downsampling, layers_per_block
):
    choices = {"order": order, "downsampling": downsampling, "layers_per_block": layers_per_block}
    model = small(skip="convex", skip_weight=1.0, **choices)
    logits(model, few_images.train_images[:64])
    x = few_images.test_images[:32]
    assert torch.equal(logits(model.eval(), x), only_shortcuts(model, x))


@pytest.mark.parametrize("downsampling", DOWNSAMPLINGS)
@pytest.mark.parametrize("order", parts.ORDERS)
def test_with_every_additive_skip_at_1_a_network_is_the_residual_one(few_images, order, downsampling):
    choices = {"order": order, "downsampling": downsampling}
    model = small(skip="additive", skip_weight=1.0, **choices)
    residual = with_weights_of(model, connection="residual", **choices)
    x = few_images.train_images[:32]
    torch.testing.assert_close(logits(model, x), logits(residual, x), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("downsampling", ["stride"])  # a maximum is not affine
@pytest.mark.parametrize("order", parts.ORDERS)
def test_with_every_activation_skip_at_1_the_blocks_are_affine_in_eval_mode(few_images, order, downsampling):
    bent, flat = (
        small(skip="activation", skip_weight=alpha, order=order, downsampling=downsampling).double()
        for alpha in (0.5, 1.0)
    )
    images = few_images.train_images[:64].double()
    for model in (bent, flat):
        logits(model, images)
        model.eval()
    one, other = torch.relu(flat.stem(images[:16])).detach(), torch.relu(flat.stem(images[16:32])).detach()
    mixed = 0.3 * one + 0.7 * other

    def off_affine(model):
        run = functools.partial(model.run_layers, skip_weights=model.layer_weights())
        with torch.no_grad():
            return (run(mixed) - 0.3 * run(one) - 0.7 * run(other)).abs().max()

    assert off_affine(flat) < 1e-7
    assert off_affine(bent) > 1e-3


@pytest.mark.parametrize(("layers_per_block", "number"), [(1, 18), (2, 9)])
def test_there_is_one_skip_weight_for_each_block(layers_per_block, number):
    model = small(depth=20, layers_per_block=layers_per_block, skip_weight=0.5)
    assert model.skip_weight.tolist() == [0.5] * number
    assert len(model.layers) == number
    assert models.num_skips(model) == number
    assert (
        models.num_skips(small(depth=20, layers_per_block=layers_per_block, connection="residual")) == number
    )


@pytest.mark.parametrize("order", parts.ORDERS)
@pytest.mark.parametrize("skip", connections.SKIPS)
def test_every_block_mixes_by_its_own_skip_weight_and_the_loss_pulls_at_it_so(few_images, skip, order):
    model = small(skip=skip, order=order).double()
    model.skip_weight.data = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    x = few_images.train_images[:16].double()
    alpha = model.skip_weight.detach().clone().requires_grad_()
    joins = {
        "convex": lambda x, f, block: alpha[block] * x + (1 - alpha[block]) * f,
        "additive": lambda x, f, block: f + alpha[block] * x,
        "activation": lambda x, f, block: f,
    }
    acts = {"activation": lambda z, block: alpha[block] * z + (1 - alpha[block]) * torch.relu(z)}
    act = acts.get(skip, lambda z, block: torch.relu(z))
    expected = restated(model.state_dict(), x, order, joins[skip], act, training=True)
    outputs = model(x)
    torch.testing.assert_close(outputs, expected)
    outputs.square().sum().backward()
    (gradient,) = torch.autograd.grad(expected.square().sum(), alpha)
    assert gradient.abs().min() > 1e-6
    torch.testing.assert_close(model.skip_weight.grad, gradient)


@pytest.mark.parametrize("downsampling", DOWNSAMPLINGS)
@pytest.mark.parametrize("order", parts.ORDERS)
def test_highway_blocks_whose_gates_are_shut_pass_their_input_on(few_images, order, downsampling):
    model = small(connection="highway", order=order, downsampling=downsampling).eval()
    for block in model.layers:
        torch.nn.init.constant_(block.connection.gate.bias, -20.0)
    x = few_images.test_images[:32]
    torch.testing.assert_close(logits(model, x), only_shortcuts(model, x).detach(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("scale", [0.1, 2.0])
def test_residual_scale_reaches_every_block(few_images, scale):
    model = small(connection="residual", residual_scale=scale)
    x = few_images.train_images[:32]
    expected = restated(model.state_dict(), x, "post", lambda x, f, block: x + scale * f, training=True)
    torch.testing.assert_close(logits(model, x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("downsampling", DOWNSAMPLINGS)
@pytest.mark.parametrize(("order", "normalization"), [("post", "batch"), ("pre", "none"), ("pre", "batch")])
def test_a_rezero_network_starts_from_its_shortcuts_and_learns_how_much_of_its_blocks_to_add(
    few_images, order, normalization, downsampling
):
    model = small(connection="rezero", order=order, normalization=normalization, downsampling=downsampling)
    x, labels = few_images.train_images[:32], few_images.train_labels[:32]
    assert torch.equal(logits(model, x), only_shortcuts(model, x))
    for _ in range(2):  # at a scale of 0 no gradient gets into a block
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        optimizer.zero_grad()
        functional.cross_entropy(model(x), labels).backward()
        optimizer.step()
    assert all(block.connection.scale.item() != 0.0 for block in model.layers)
    assert all(convolution.weight.grad.any() for block in model.layers for convolution in block.convolutions)


CHANNELS_LAST = [
    *({"connection": "van", "skip": skip, "order": order} for skip in connections.SKIPS for order in parts.ORDERS),
    {"connection": "residual"},
    {"connection": "residual", "downsampling": "max-pool", "order": "pre"},
    {"connection": "rezero", "normalization": "none"},
    {"connection": "highway"},
    {"connection": "plain", "normalization": "layer"},
    {"connection": "plain", "normalization": "center", "activation": "crelu"},
    {"connection": "plain", "parametrization": "dirac"},
    {"connection": "plain", "parametrization": "repvgg"},
]  # fmt: skip


@pytest.mark.parametrize("choices", CHANNELS_LAST, ids=str)
def test_images_that_lie_pixel_by_pixel_stay_so_through_every_block(few_images, choices):
    model, twin = small(**choices), small(**choices)
    model.to(memory_format=torch.channels_last)
    seen = []
    for block in model.layers:
        for module in (block, *block.convolutions, *block.norms):
            module.register_forward_hook(lambda module, args, output: seen.extend((args[0], output)))
    x = few_images.train_images[:8]
    outputs = model(x.contiguous(memory_format=torch.channels_last))
    assert len(seen) >= 24
    assert all(features.is_contiguous(memory_format=torch.channels_last) for features in seen)
    torch.testing.assert_close(outputs, twin(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(28, 28), (29, 31), (4, 4), (5, 7)], ids=str)
@pytest.mark.parametrize("downsampling", DOWNSAMPLINGS)
@pytest.mark.parametrize("connection", connections.CONNECTIONS)
@pytest.mark.parametrize("order", parts.ORDERS)
def test_images_of_any_size_from_4_on_are_taken(few_images, connection, order, downsampling, size):
    model = small(connection=connection, order=order, downsampling=downsampling)
    x = functional.interpolate(few_images.train_images[:4], size=size)
    outputs = model(x)
    assert outputs.shape == (4, 10)
    outputs.sum().backward()
    assert model.stem.weight.grad.isfinite().all()


def test_a_short_training_of_a_van_removes_its_skips_and_learns(few_images, quick):
    result = training.train(small(), few_images, quick(num_epochs=4, remove_by=0.5))
    assert models.num_skips(result.model) == 0
    assert result.history["loss"].iloc[-1] < result.history["loss"].iloc[0]


@pytest.mark.parametrize("order", parts.ORDERS)
@pytest.mark.parametrize("normalization", parts.NORMALIZATIONS)
@pytest.mark.parametrize("connection", connections.CONNECTIONS)
def test_a_network_learns_under_bfloat16_autocast(few_images, connection, normalization, order):
    model = opened(small(connection=connection, normalization=normalization, order=order, skip_weight=0.5))
    x, labels = few_images.train_images[:16], few_images.train_labels[:16]
    exact = logits(model, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = model(x)
        loss = functional.cross_entropy(outputs, labels)
    assert (outputs - exact).square().mean().sqrt() < 0.05 * exact.std()
    loss.backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters()}
    assert [name for name, grad in gradients.items() if grad is None or not grad.isfinite().all()] == []


def test_the_connection_does_not_change_the_initial_weights():
    plain = small(connection="plain").state_dict()
    for connection in ("residual", "rezero", "van"):
        other = small(connection=connection).state_dict()
        assert all(torch.equal(plain[name], other[name]) for name in plain)


def test_making_a_network_from_a_seed_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    small(seed=0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"depth": 21}, r"depth must be 6 n \+ 2, .*, got 21: the nearest is 20"),
        ({"depth": 2}, r"depth must be 6 n \+ 2, .*, got 2: the nearest is 8"),
        ({"depth": 9, "layers_per_block": 1}, r"depth must be 3 n \+ 2, .*, got 9: the nearest is 8"),
        ({"depth": 20.0}, "depth must be an integer of at least 1, got 20.0"),
        ({"layers_per_block": 3}, "layers_per_block must be 1 or 2, got 3"),
        ({"layers_per_block": True}, "layers_per_block must be an integer of at least 1, got True"),
        ({"downsampling": "strid"}, r"downsampling must be one of .* Did you mean 'stride'\?"),
        ({"in_channels": 0}, "in_channels must be an integer of at least 1, got 0"),
        ({"width": 0}, "width must be an integer of at least 1, got 0"),
        ({"parametrization": "repvgg", "order": "pre"}, "take order 'post' and normalization 'batch'"),
        (
            {"parametrization": "repvgg", "normalization": "none"},
            "take order 'post' and normalization 'batch'",
        ),
        (
            {"parametrization": "repvgg", "activation": "crelu", "connection": "plain"},
            "an activation that keeps the number of channels",
        ),
        ({"activation": "crelu"}, "does not fit in connection 'van': take order 'pre'"),
        (
            {
                "activation": "crelu",
                "init": "looks-linear",
                "connection": "plain",
                "parametrization": "dirac",
            },
            "take parametrization 'none'",
        ),
    ],
)
def test_a_choice_that_cannot_be_is_refused_in_one_sentence(choices, message):
    with pytest.raises(ValueError, match=message):
        small(**choices)


@pytest.mark.parametrize(
    "shape", [(2, 3, 28, 28), (1, 28, 28), (2, 784), (784,), (2, 1, 3, 28), (2, 1, 28, 3)], ids=str
)
def test_images_of_another_shape_are_refused_with_the_mend(shape):
    with pytest.raises(
        ValueError, match=r"takes images of shape \(N, 1, H, W\), .* at least 4, got "
    ) as refused:
        small()(torch.zeros(shape))
    assert str(shape) in str(refused.value)


@pytest.mark.parametrize("order", parts.ORDERS)
@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_norm_shift_is_the_initial_bias_of_every_normalization_and_changes_no_other_weight(
    order, normalization
):
    choices = {"order": order, "normalization": normalization}
    shifted, usual = small(norm_shift=1.5, **choices), small(**choices)
    norms = [name for name, _ in shifted.named_parameters() if "norm" in name and name.endswith("bias")]
    assert len(norms) == 7  # two in each of three blocks, one outside
    for (name, one), two in zip(shifted.named_parameters(), usual.parameters(), strict=True):
        assert torch.equal(one, torch.full_like(two, 1.5) if name in norms else two), name


def test_norm_shift_is_refused_where_normalizations_lie_in_branches():
    with pytest.raises(ValueError, match="norm_shift cannot be combined with parametrization 'repvgg'"):
        small(parametrization="repvgg", connection="plain", norm_shift=1.0)
