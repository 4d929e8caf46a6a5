"""Gradients with respect to the input against matrices worked by hand and plain autograd, and nothing touched."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import resnet18

from tests.state import Map, fail, state_of
from van_tutorial import diagnostics, models
from van_tutorial.models import parts

pytestmark = pytest.mark.usefixtures("seeded")

NORMALIZATIONS = {
    "batch norm": lambda: nn.BatchNorm1d(5),
    "batch norm without weights": lambda: nn.BatchNorm1d(5, affine=False),
    "batch norm without running statistics": lambda: nn.BatchNorm1d(5, track_running_stats=False),
    "centring": lambda: parts.Center(5),
}
WITHOUT_RUNNING = "batch norm without running statistics"


class Held(nn.Module):
    """A normalization by the batch whose mean and variance are constants to autograd, written out."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        over = [dim for dim in range(x.dim()) if dim != 1]
        centred = x - x.detach().mean(over, keepdim=True)
        if isinstance(self.norm, parts.Center):
            return centred
        variance = x.detach().var(over, correction=0, keepdim=True)
        z = centred / (variance + self.norm.eps).sqrt()
        if not self.norm.affine:
            return z
        shape = (-1, *(1,) * (x.dim() - 2))
        return z * self.norm.weight.view(shape) + self.norm.bias.view(shape)


def with_held_statistics(model):
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d | parts.Center):
                setattr(module, name, Held(child))
    return model


def jacobians_of_the_batch_map(model, inputs):
    """d y[i, k] / d x[i], cut out of the derivative of all outputs by all inputs."""
    whole = torch.autograd.functional.jacobian(copy.deepcopy(model), inputs)
    return torch.stack([whole[i, :, i] for i in range(len(inputs))])


def one_at_a_time(model, inputs, output):
    gradients = []
    for example in inputs:
        x = example.unsqueeze(0).clone().requires_grad_(True)
        gradients.append(torch.autograd.grad(model(x)[0, output], x)[0][0])
    return torch.stack(gradients)


@pytest.fixture
def batch(few_images):
    return few_images.train_images[:16].double()


@pytest.fixture
def normalized():
    """A function that makes a network of two layers around a normalization, with statistics and weights of its own."""

    def make(name):
        norm = NORMALIZATIONS[name]()
        model = nn.Sequential(nn.Flatten(), nn.Linear(784, 5), norm, nn.ReLU(), nn.Linear(5, 4)).double()
        for parameter in norm.parameters():
            nn.init.uniform_(parameter, 0.5, 2.0)
        model(torch.rand(20, 784, dtype=torch.float64))
        return model

    return make


# Networks whose examples do not look at each other.


def test_a_network_of_two_layers_has_the_gradients_that_are_worked_out_by_hand():
    first, last = nn.Linear(2, 3), nn.Linear(3, 2)
    first.weight.data = torch.tensor([[1.0, -1.0], [2.0, 1.0], [0.0, 3.0]])
    first.bias.data = torch.tensor([0.0, -1.0, 1.0])
    last.weight.data = torch.tensor([[1.0, 2.0, 3.0], [-1.0, 0.5, 4.0]])
    model = nn.Sequential(first, nn.ReLU(), last)
    inputs = torch.tensor([[1.0, 0.5], [-1.0, 1.0], [2.0, -3.0]])
    # Before the rectifier: (.5, 1.5, 2.5), (-2, -2, 4), (5, 0, -8), so that all units, the third and the first
    # pass the gradient on.
    expected = torch.tensor(
        [
            [[1.0 + 4.0, -1.0 + 2.0 + 9.0], [-1.0 + 1.0, 1.0 + 0.5 + 12.0]],
            [[0.0, 9.0], [0.0, 12.0]],
            [[1.0, -1.0], [-1.0, 1.0]],
        ]
    )
    torch.testing.assert_close(diagnostics.input_jacobians(model, inputs), expected, atol=1e-6, rtol=1e-6)
    for output in (0, 1):
        gradients = diagnostics.input_gradients(model, inputs, output)
        torch.testing.assert_close(gradients, expected[:, output], atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(gradients, one_at_a_time(model, inputs, output), atol=1e-6, rtol=1e-6)


def test_input_gradients_of_a_linear_map_are_its_weights(batch):
    linear = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).double()
    gradients = diagnostics.input_gradients(linear, batch, output=3)
    assert gradients.shape == batch.shape
    assert torch.equal(gradients.flatten(1), linear[1].weight[3].expand(16, -1))


def test_input_gradients_of_a_square_are_twice_the_input(batch):
    square = Map(lambda x: x.flatten(1).square().sum(dim=1))
    torch.testing.assert_close(diagnostics.input_gradients(square, batch), 2.0 * batch)


@pytest.mark.parametrize("output", [0, 9])
def test_input_gradients_agree_with_autograd_one_example_at_a_time(two_layers, batch, output):
    gradients = diagnostics.input_gradients(two_layers, batch, output=output)
    expected = one_at_a_time(two_layers, batch, output)
    torch.testing.assert_close(gradients, expected, atol=1e-6, rtol=1e-6)
    assert not gradients.requires_grad


def test_input_gradients_of_a_deep_network_agree_with_its_jacobian(few_images):
    model = models.mlp(depth=3, width=8, connection="van", skip_weight=0.5, seed=0).eval()
    inputs = few_images.train_images[:4]
    expected = torch.stack(
        [torch.func.jacrev(lambda x: model(x.unsqueeze(0))[0])(example) for example in inputs]
    )
    gradients = diagnostics.input_gradients(model, inputs, output=2)
    torch.testing.assert_close(gradients, expected[:, 2], atol=1e-6, rtol=1e-5)
    jacobians = diagnostics.input_jacobians(model, inputs)
    torch.testing.assert_close(jacobians, expected, atol=1e-6, rtol=1e-5)


def test_input_jacobians_of_more_outputs_than_go_into_one_pass_are_whole():
    linear = nn.Linear(3, 70)
    jacobians = diagnostics.input_jacobians(linear, torch.randn(2, 3))
    assert torch.equal(jacobians, linear.weight.detach().expand(2, -1, -1))


def test_outputs_with_more_than_one_dimension_are_counted_in_their_order(batch):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 6), nn.Unflatten(1, (2, 3))).double()
    assert torch.equal(
        diagnostics.input_gradients(model, batch, output=4).flatten(1),
        model[1].weight.detach()[4].expand(16, -1),
    )
    assert diagnostics.input_jacobians(model, batch).shape == (16, 6, 1, 28, 28)


@pytest.mark.parametrize("statistics", ["exact", "constant"])
def test_gradients_are_there_without_grad_mode_too(normalized, batch, statistics):
    model = normalized("batch norm")
    for measure in (
        lambda: diagnostics.input_gradients(model, batch, 1, statistics),
        lambda: diagnostics.input_jacobians(model, batch, statistics),
        lambda: diagnostics.input_gradients_of_all([model, normalized("batch norm")], batch, 1, statistics),
    ):
        state = torch.get_rng_state()
        expected = measure()
        torch.set_rng_state(state)
        with torch.no_grad():
            inside = measure()
        assert torch.equal(inside, expected)
        assert inside.any()


@pytest.mark.parametrize("has_batch_norm", [False, True])
@pytest.mark.parametrize("is_learned", [False, True])
def test_an_output_that_ignores_the_input_has_gradient_0(batch, is_learned, has_batch_norm):
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(784) if has_batch_norm else None
            self.value = nn.Parameter(torch.ones(()), requires_grad=is_learned)

        def forward(self, x):
            return self.value.expand(len(x), 2)

    model = Constant()
    gradients = diagnostics.input_gradients(model, batch, output=0)
    assert gradients.shape == batch.shape
    assert not gradients.any()
    jacobians = diagnostics.input_jacobians(model, batch)
    assert jacobians.shape == (16, 2, *batch.shape[1:])
    assert not jacobians.any()
    together = diagnostics.input_gradients_of_all([model, model], batch, output=1)
    assert together.shape == (2, *batch.shape)
    assert not together.any()


def test_a_network_that_works_on_its_input_in_place_is_differentiated_where_the_input_was(batch):
    inputs = batch.flatten(1) - 0.5
    before = inputs.clone()
    linear = nn.Linear(784, 3).double()
    model = nn.Sequential(nn.ReLU(inplace=True), linear)
    expected = (before > 0) * linear.weight.detach()[2]
    assert torch.equal(diagnostics.input_gradients(model, inputs, output=2), expected)
    assert torch.equal(diagnostics.input_jacobians(model, inputs)[:, 2], expected)
    stacked = diagnostics.input_gradients_of_all([model, model], inputs, output=2)
    torch.testing.assert_close(stacked, torch.stack([expected, expected]))
    assert torch.equal(inputs, before)
    assert not inputs.requires_grad


def test_an_infinite_derivative_is_infinite_and_no_error():
    root = Map(lambda x: x.sqrt().squeeze(1))
    inputs = torch.tensor([[0.0], [4.0]])
    assert diagnostics.input_gradients(root, inputs).tolist() == [[float("inf")], [0.25]]
    assert diagnostics.input_jacobians(root, inputs).tolist() == [[[float("inf")]], [[0.25]]]


def test_inputs_that_are_part_of_a_graph_do_not_get_a_gradient(two_layers, batch):
    start = batch.clone().requires_grad_(True)
    gradients = diagnostics.input_gradients(two_layers, 2.0 * start, output=0)
    assert not gradients.requires_grad
    assert start.grad is None


# Networks whose examples look at each other, by statistics of the batch.


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_exact_gradients_are_the_diagonal_of_the_batchs_jacobian(normalized, batch, name):
    model = normalized(name)
    expected = jacobians_of_the_batch_map(model, batch)
    gradients = diagnostics.input_gradients(model, batch, output=3, statistics="exact")
    torch.testing.assert_close(gradients, expected[:, 3], atol=1e-9, rtol=1e-6)
    jacobians = diagnostics.input_jacobians(model, batch, statistics="exact")
    torch.testing.assert_close(jacobians, expected, atol=1e-9, rtol=1e-6)
    assert len(batch) * 4 > 32  # more rows than go into one backward pass


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_constant_gradients_are_those_with_mean_and_variance_cut_off(normalized, batch, name):
    model = normalized(name)
    expected = jacobians_of_the_batch_map(with_held_statistics(model), batch)
    gradients = diagnostics.input_gradients(model, batch, output=3, statistics="constant")
    torch.testing.assert_close(gradients, expected[:, 3], atol=1e-9, rtol=1e-6)
    jacobians = diagnostics.input_jacobians(model, batch, statistics="constant")
    torch.testing.assert_close(jacobians, expected, atol=1e-9, rtol=1e-6)
    exact = diagnostics.input_jacobians(model, batch, statistics="exact")
    assert (jacobians - exact).norm() > 0.01 * exact.norm()


@pytest.mark.parametrize("name", [name for name in NORMALIZATIONS if name != WITHOUT_RUNNING])
def test_in_eval_mode_statistics_are_constant_anyway(normalized, batch, name):
    model = normalized(name).eval()
    exact, constant = (diagnostics.input_jacobians(model, batch, s) for s in ("exact", "constant"))
    assert torch.equal(exact, constant)
    torch.testing.assert_close(exact, torch.stack([one_at_a_time(model, batch, k) for k in range(4)], 1))


def test_batch_norm_without_running_statistics_looks_at_the_batch_in_eval_mode_too(normalized, batch):
    model = normalized(WITHOUT_RUNNING)
    for statistics in ("exact", "constant"):
        training, evaluating = (
            diagnostics.input_jacobians(model.train(mode), batch, statistics) for mode in (True, False)
        )
        assert torch.equal(training, evaluating)


@pytest.mark.parametrize("has_running", [True, False])
def test_batch_norm_of_images_is_differentiated_over_batch_and_pixels(few_images, has_running):
    model = nn.Sequential(
        nn.Conv2d(1, 3, 5, stride=4),
        nn.BatchNorm2d(3, track_running_stats=has_running),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(108, 2),
    ).double()
    inputs = few_images.train_images[:5].double()
    for statistics, network in (("exact", model), ("constant", with_held_statistics(model))):
        expected = jacobians_of_the_batch_map(network, inputs)
        found = diagnostics.input_jacobians(model, inputs, statistics)
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("order", parts.ORDERS)
def test_a_deep_network_in_training_mode_has_both_kinds_of_gradients(few_images, order):
    model = models.mlp(depth=4, width=12, skip_weight=0.5, order=order, seed=0).double()
    inputs = few_images.train_images[:6].double()
    for statistics, network in (("exact", model), ("constant", with_held_statistics(model))):
        expected = jacobians_of_the_batch_map(network, inputs)
        found = diagnostics.input_jacobians(model, inputs, statistics)
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-6)


# Networks that this package did not make.


@pytest.fixture
def resnet():
    return resnet18(weights=None, num_classes=10)


@pytest.fixture
def colour_images(few_images):
    return few_images.train_images[:3].expand(-1, 3, -1, -1)


class TransformerClassifier(nn.Module):
    """Read an image as a sequence of rows."""

    def __init__(self, dropout):
        super().__init__()
        self.embed = nn.Linear(28, 8)
        layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, dropout=dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers=2)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        return self.head(self.encoder(self.embed(x.squeeze(1))).mean(dim=1))


def test_a_torchvision_network_in_eval_mode_agrees_with_autograd_one_example_at_a_time(resnet, colour_images):
    resnet.eval()
    expected = one_at_a_time(resnet, colour_images, 7)
    before = state_of(resnet)
    gradients = diagnostics.input_gradients(resnet, colour_images, output=7)
    torch.testing.assert_close(gradients, expected, atol=1e-5, rtol=1e-4)
    assert state_of(resnet) == before


def test_a_torchvision_network_in_training_mode_agrees_with_autograd_and_is_left_as_it_was(
    resnet, colour_images
):
    resnet.double()
    inputs = colour_images.double()
    before = state_of(resnet)
    for statistics, network in (("exact", copy.deepcopy(resnet)), ("constant", with_held_statistics(resnet))):
        x = inputs.clone().requires_grad_(True)
        y = network(x)[:, 7]
        expected = torch.stack(
            [torch.autograd.grad(y[i], x, retain_graph=True)[0][i] for i in range(len(inputs))]
        )
        gradients = diagnostics.input_gradients(resnet, inputs, output=7, statistics=statistics)
        torch.testing.assert_close(gradients, expected, atol=1e-9, rtol=1e-5)
    assert state_of(resnet) == before


@pytest.mark.parametrize("is_training", [True, False])
def test_a_transformer_agrees_with_autograd_one_example_at_a_time(few_images, is_training):
    model = TransformerClassifier(dropout=0.0).train(is_training)
    inputs = few_images.train_images[:3]
    expected = torch.stack([one_at_a_time(model, inputs, output) for output in range(10)], dim=1)
    gradients = diagnostics.input_gradients(model, inputs, output=4)
    torch.testing.assert_close(gradients, expected[:, 4], atol=1e-6, rtol=1e-4)
    jacobians = diagnostics.input_jacobians(model, inputs)
    torch.testing.assert_close(jacobians, expected, atol=1e-6, rtol=1e-4)


# Nothing is touched.


MEASURES = {
    "gradients, exact": lambda m, x: diagnostics.input_gradients(m, x, 0, "exact"),
    "gradients, constant": lambda m, x: diagnostics.input_gradients(m, x, 0, "constant"),
    "Jacobians, exact": lambda m, x: diagnostics.input_jacobians(m, x, "exact"),
    "Jacobians, constant": lambda m, x: diagnostics.input_jacobians(m, x, "constant"),
    "of all, exact": lambda m, x: diagnostics.input_gradients_of_all([m, m], x, 0, "exact"),
    "of all, constant": lambda m, x: diagnostics.input_gradients_of_all([m, m], x, 0, "constant"),
    "of all, of one": lambda m, x: diagnostics.input_gradients_of_all([m], x, 0, "constant"),
}


def network_to_leave_alone(few_images):
    """Batch norm with and without running statistics, centring and dropout, modes that differ, and gradients."""
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 6),
        nn.BatchNorm1d(6),
        nn.Dropout(0.5),
        parts.Center(6),
        nn.BatchNorm1d(6, track_running_stats=False),
        nn.Sequential(nn.BatchNorm1d(6), nn.ReLU(inplace=True)),
        nn.Linear(6, 10),
    )
    images, labels = few_images.train_images[:20], few_images.train_labels[:20]
    functional.cross_entropy(model(images), labels).backward()
    model[6].eval()
    model[1].bias.requires_grad_(False)
    return model


@pytest.mark.parametrize("fails", [False, True], ids=["works", "fails"])
@pytest.mark.parametrize("name", MEASURES)
def test_the_network_is_left_as_it_was(few_images, name, fails):
    model = network_to_leave_alone(few_images)
    if fails:
        model[-1].register_forward_pre_hook(fail)
    inputs = few_images.train_images[:8]
    before, pixels = state_of(model), inputs.clone()
    if fails:
        with pytest.raises(RuntimeError, match="out of luck"):
            MEASURES[name](model, inputs)
    else:
        assert MEASURES[name](model, inputs).any()
    assert state_of(model) == before
    assert torch.equal(inputs, pixels)
    assert not inputs.requires_grad
    assert inputs.grad is None


def test_a_network_gives_what_it_gave_before_it_was_measured(few_images):
    model = models.mlp(depth=3, width=8, seed=0)
    twin = copy.deepcopy(model)
    for measure in MEASURES.values():
        measure(model, few_images.train_images[:8])
    x = few_images.train_images[8:40]
    assert torch.equal(model(x), twin(x))
    assert torch.equal(model.eval()(x), twin.eval()(x))


# Many networks at once.


@pytest.mark.parametrize("is_training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize(
    "choices",
    [
        {"connection": "plain", "normalization": "none"},
        {"connection": "plain", "normalization": "batch"},
        {"connection": "plain", "normalization": "center"},
        {"connection": "residual", "order": "pre", "bias_std": 0.5},
        {"connection": "van", "skip_weight": 0.5},
    ],
    ids=str,
)
def test_networks_measured_together_have_the_gradients_they_have_one_by_one(few_images, choices, is_training):
    networks = [models.mlp(depth=3, width=8, seed=seed, **choices).train(is_training) for seed in range(23)]
    for network in networks[::2]:  # running statistics of their own
        network(few_images.train_images[100:150])
    inputs = few_images.train_images[:9]
    before = [state_of(network) for network in networks]
    together = diagnostics.input_gradients_of_all(networks, inputs, output=5)
    assert [state_of(network) for network in networks] == before
    expected = torch.stack([diagnostics.input_gradients(n, inputs, 5, "constant") for n in networks])
    assert together.shape == (23, 9, 1, 28, 28)
    assert not together.requires_grad
    torch.testing.assert_close(together, expected, atol=1e-6, rtol=1e-4)


def test_networks_measured_exactly_have_the_gradients_they_have_one_by_one(few_images):
    networks = [models.mlp(depth=2, width=8, seed=seed) for seed in range(3)]
    inputs = few_images.train_images[:5]
    together = diagnostics.input_gradients_of_all(networks, inputs, 0, statistics="exact")
    expected = torch.stack([diagnostics.input_gradients(n, inputs, 0, "exact") for n in networks])
    assert torch.equal(together, expected)
    constant = diagnostics.input_gradients_of_all(networks, inputs, 0)
    assert not torch.allclose(together, constant, atol=1e-3 * constant.abs().max().item())


def test_each_of_many_networks_with_dropout_draws_its_own(few_images):
    linear = nn.Linear(784, 1)
    networks = [nn.Sequential(nn.Flatten(), nn.Dropout(0.5), linear) for _ in range(2)]
    one, other = diagnostics.input_gradients_of_all(networks, few_images.train_images[:2])
    for gradients in (one, other):
        kept = gradients.flatten(1) != 0
        assert 0.4 < kept.double().mean() < 0.6
        torch.testing.assert_close(gradients.flatten(1), 2.0 * kept * linear.weight.detach())
    assert not torch.equal(one, other)


def test_networks_without_parameters_can_be_measured_together_too(batch):
    squares = [Map(lambda x: x.flatten(1).square().sum(dim=1)) for _ in range(3)]
    gradients = diagnostics.input_gradients_of_all(squares, batch)
    torch.testing.assert_close(gradients, (2.0 * batch).expand(3, *batch.shape))


def test_of_no_network_there_are_no_gradients(batch):
    with pytest.raises(ValueError, match="models must hold at least one network, got none"):
        diagnostics.input_gradients_of_all([], batch)


# What cannot be measured.


FUNCTIONS = {
    "gradients": diagnostics.input_gradients,
    "Jacobians": lambda m, x, output=None, **choices: diagnostics.input_jacobians(m, x, **choices),
    "of all": lambda m, x, *args, **choices: diagnostics.input_gradients_of_all([m, m], x, *args, **choices),
}


@pytest.mark.parametrize("function", ["gradients", "of all"])
@pytest.mark.parametrize(
    ("output", "message"),
    [
        (None, r"The network has 10 outputs: name one by output=0 … 9"),
        (10, "output must be from 0 to 9, got 10"),
        (-1, "output must be from 0 to 9, got -1"),
    ],
)
def test_an_output_that_is_not_named_or_not_there_is_refused(two_layers, batch, function, output, message):
    with pytest.raises(ValueError, match=message):
        FUNCTIONS[function](two_layers, batch, output)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.zeros(2, 784, dtype=torch.int64), r"inputs must be floating point .* got torch.int64"),
        (torch.zeros(0, 784), r"inputs must hold at least one example .* got shape \(0, 784\)"),
        (torch.tensor(1.0), r"inputs must hold at least one example .* got shape \(\)"),
    ],
    ids=["integers", "empty", "a scalar"],
)
def test_inputs_that_cannot_be_differentiated_are_refused(two_layers, function, inputs, message):
    with pytest.raises(ValueError, match=message):
        FUNCTIONS[function](two_layers, inputs, output=0)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Map(torch.sum), r"one row of outputs, for each of the 16 inputs, got shape \(\)"),
        (Map(lambda x: x.flatten(1).T), r"for each of the 16 inputs, got shape \(784, 16\)"),
        (Map(lambda x: (x, x)), "for each of the 16 inputs, got tuple"),
    ],
    ids=["one number for all", "another first dimension", "a tuple"],
)
def test_a_network_that_does_not_give_a_row_for_each_input_is_refused(batch, function, network, message):
    network.weight = nn.Parameter(torch.ones(1))
    with pytest.raises(ValueError, match=message):
        FUNCTIONS[function](network, batch, output=0)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_statistics_that_there_are_not_are_refused(two_layers, batch, function):
    with pytest.raises(ValueError, match=r"statistics must be one of .* Did you mean 'constant'\?"):
        FUNCTIONS[function](two_layers, batch, output=0, statistics="constants")
