"""Diagnostics against closed forms and plain autograd; and that they leave the network as they found it."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import resnet18

from van_tutorial import diagnostics, models


@pytest.fixture
def two_layers():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 7), nn.Tanh(), nn.Linear(7, 10)).double()


@pytest.fixture
def batch(few_images):
    return few_images.train_images[:16].double(), few_images.train_labels[:16]


def snapshot(model):
    return {
        "state": {name: value.clone() for name, value in model.state_dict().items()},
        "gradients": {
            name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()
        },
        "modes": [module.training for module in model.modules()],
        "hooks": [len(module._forward_hooks) for module in model.modules()],
    }


def assert_untouched(model, before):
    after = snapshot(model)
    for part in ("state", "gradients"):
        for name, value in before[part].items():
            assert (value is None and after[part][name] is None) or torch.equal(value, after[part][name]), (
                name
            )
    assert after["modes"] == before["modes"]
    assert after["hooks"] == before["hooks"]


# Gradients with respect to the input.


def test_input_gradients_of_a_linear_map_are_its_weights(two_layers, batch):
    linear = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).double()
    gradients = diagnostics.input_gradients(linear, batch[0], output=3)
    assert gradients.shape == batch[0].shape
    assert torch.equal(gradients.flatten(1), linear[1].weight[3].expand(16, -1))


def test_input_gradients_of_a_square_are_twice_the_input(batch):
    class Square(nn.Module):
        def forward(self, x):
            return x.flatten(1).square().sum(dim=1)

    torch.testing.assert_close(diagnostics.input_gradients(Square(), batch[0]), 2.0 * batch[0])


@pytest.mark.parametrize("output", [0, 9])
def test_input_gradients_agree_with_autograd_one_example_at_a_time(two_layers, batch, output):
    expected = []
    for example in batch[0]:
        x = example.unsqueeze(0).requires_grad_(True)
        two_layers(x)[0, output].backward()
        expected.append(x.grad[0])
    two_layers.zero_grad()
    gradients = diagnostics.input_gradients(two_layers, batch[0], output=output)
    torch.testing.assert_close(gradients, torch.stack(expected), atol=1e-6, rtol=1e-6)


def test_input_gradients_of_a_deep_network_agree_with_its_jacobian(few_images):
    model = models.mlp(depth=3, width=8, connection="van", skip_weight=0.5, seed=0).eval()
    inputs = few_images.train_images[:4]
    expected = torch.stack(
        [torch.func.jacrev(lambda x: model(x.unsqueeze(0))[0, 2])(example) for example in inputs]
    )
    torch.testing.assert_close(
        diagnostics.input_gradients(model, inputs, output=2), expected, atol=1e-6, rtol=1e-5
    )


def test_input_gradients_are_there_without_grad_mode_too(two_layers, batch):
    with torch.no_grad():
        inside = diagnostics.input_gradients(two_layers, batch[0], output=1)
    assert torch.equal(inside, diagnostics.input_gradients(two_layers, batch[0], output=1))
    assert inside.any()


@pytest.mark.parametrize("is_learned", [False, True])
def test_an_output_that_ignores_the_input_has_gradient_0(batch, is_learned):
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.value = nn.Parameter(torch.ones(()), requires_grad=is_learned)

        def forward(self, x):
            return self.value.expand(len(x))

    gradients = diagnostics.input_gradients(Constant(), batch[0])
    assert gradients.shape == batch[0].shape
    assert not gradients.any()


def test_input_gradients_leave_the_network_as_it_was(few_images):
    model = models.mlp(depth=3, width=8, seed=0)
    functional.cross_entropy(model(few_images.train_images[:8]), few_images.train_labels[:8]).backward()
    model.eval()
    inputs = few_images.train_images[:8]
    before, pixels = snapshot(model), inputs.clone()
    diagnostics.input_gradients(model, inputs, output=0)
    assert_untouched(model, before)
    assert torch.equal(inputs, pixels)
    assert not inputs.requires_grad


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (None, r"The network has 10 outputs: name one by output=0 … 9"),
        (10, "output must be from 0 to 9, got 10"),
        (-1, "got -1"),
    ],
)
def test_an_output_that_is_not_named_or_not_there_is_refused(two_layers, batch, output, message):
    with pytest.raises(ValueError, match=message):
        diagnostics.input_gradients(two_layers, batch[0], output=output)


def test_whole_numbers_cannot_be_differentiated(two_layers):
    with pytest.raises(ValueError, match=r"inputs must be floating point .* got torch.int64"):
        diagnostics.input_gradients(two_layers, torch.zeros(2, 784, dtype=torch.int64), output=0)


# How fast gradients change along a path.


def test_autocorrelation_of_three_points_on_a_line_is_worked_by_hand():
    gradients = torch.tensor([[1.0], [2.0], [3.0]])  # centred: -1, 0, 1
    assert diagnostics.gradient_autocorrelation(gradients, max_lag=2).tolist() == [1.0, 0.0, -0.5]


def test_autocorrelation_sums_over_all_directions():
    gradients = torch.tensor([[1.0, 4.0], [-1.0, 4.0], [1.0, -4.0], [-1.0, -4.0]])
    expected = [1.0, (-3.0 + 16.0) / 68.0, (2.0 - 32.0) / 68.0, (-1.0 - 16.0) / 68.0]
    assert diagnostics.gradient_autocorrelation(gradients, max_lag=3).tolist() == pytest.approx(expected)


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


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


def test_equal_gradients_have_no_autocorrelation_to_speak_of():
    assert diagnostics.gradient_autocorrelation(torch.ones(5, 2), max_lag=2).isnan().all()


@pytest.mark.parametrize(
    ("gradients", "max_lag", "message"),
    [
        (torch.ones(5, 2), 5, "max_lag must be below the number of gradients, 5, got 5"),
        (torch.ones(5, 2), -1, "max_lag must be a whole number of at least 0, got -1"),
        (torch.tensor([[1.0], [math.inf], [0.0]]), 1, "gradients must be finite"),
        (torch.tensor([[1.0], [math.nan], [0.0]]), 1, "gradients must be finite"),
    ],
)
def test_an_autocorrelation_without_meaning_is_refused(gradients, max_lag, message):
    with pytest.raises(ValueError, match=message):
        diagnostics.gradient_autocorrelation(gradients, max_lag)


# Norms by layer.


def test_layer_norms_of_two_layers_agree_with_autograd_one_example_at_a_time(two_layers, batch):
    inputs, labels = batch
    norms = diagnostics.layer_norms(two_layers, inputs, labels)
    assert norms["layer"].tolist() == [1, 2]
    assert norms["name"].tolist() == ["1", "3"]
    activations, gradients = [[], []], [[], []]
    for example, label in zip(inputs, labels, strict=True):
        first = two_layers[1](example.flatten().unsqueeze(0))
        second = two_layers[3](torch.tanh(first))
        loss = functional.cross_entropy(second, label.unsqueeze(0))
        for index, (output, gradient) in enumerate(
            zip((first, second), torch.autograd.grad(loss, (first, second)), strict=True)
        ):
            activations[index].append(output.norm().item())
            gradients[index].append(gradient.norm().item())
    loss = functional.cross_entropy(two_layers(inputs), labels)
    weights = torch.autograd.grad(loss, (two_layers[1].weight, two_layers[3].weight))
    for index in range(2):
        row = norms.iloc[index]
        assert row["activation_norm"] == pytest.approx(sum(activations[index]) / 16, rel=1e-6)
        assert row["output_grad_norm"] == pytest.approx(sum(gradients[index]) / 16, rel=1e-6)
        assert row["weight_grad_norm"] == pytest.approx(weights[index].norm().item(), rel=1e-6)


def test_layer_norms_of_an_identity_network_are_level(few_images):
    model = models.mlp(depth=6, width=8, skip_weight=1.0, seed=0)
    norms = diagnostics.layer_norms(model, few_images.train_images[:32], few_images.train_labels[:32])
    assert norms["layer"].tolist() == [1, 2, 3, 4, 5, 6]
    hidden = model.input_layer(few_images.train_images[:32].flatten(1)).norm(dim=1).mean().item()
    assert norms["activation_norm"].tolist() == pytest.approx([hidden] * 6)
    assert norms["output_grad_norm"].tolist() == pytest.approx([norms["output_grad_norm"].iloc[0]] * 6)
    assert norms["weight_grad_norm"].tolist() == [0.0] * 6


def test_layer_norms_see_what_a_layer_gives_after_its_connection(few_images):
    model = models.mlp(depth=2, width=8, connection="residual", normalization="none", seed=0)
    inputs, labels = few_images.train_images[:8], few_images.train_labels[:8]
    with torch.no_grad():
        first = model.input_layer(inputs.flatten(1))
        first = first + torch.relu(model.layers[0].linear(first))
        second = first + torch.relu(model.layers[1].linear(first))
    norms = diagnostics.layer_norms(model, inputs, labels)
    assert norms["activation_norm"].tolist() == pytest.approx(
        [h.norm(dim=1).mean().item() for h in (first, second)]
    )


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("normalization", ["batch", "center"])
def test_layer_norms_leave_the_network_as_it_was(few_images, normalization, is_training):
    model = models.mlp(depth=3, width=8, normalization=normalization, seed=0)
    functional.cross_entropy(model(few_images.train_images[:8]), few_images.train_labels[:8]).backward()
    model.train(is_training)
    before = snapshot(model)
    with torch.no_grad():
        diagnostics.layer_norms(model, few_images.train_images[:32], few_images.train_labels[:32])
    assert_untouched(model, before)


@pytest.mark.parametrize("where", ["in a layer", "in the loss"])
def test_layer_norms_leave_the_network_as_it_was_when_they_fail(few_images, where):
    model = models.mlp(depth=3, width=8, seed=0)

    def fail(module, args):
        raise RuntimeError("out of luck")

    labels = few_images.train_labels[:8]
    if where == "in a layer":
        model.layers[2].register_forward_pre_hook(fail)
    else:
        labels = labels + 10
    before = snapshot(model)
    with pytest.raises((RuntimeError, IndexError), match="out of"):
        diagnostics.layer_norms(model, few_images.train_images[:8], labels)
    assert_untouched(model, before)


def test_a_network_without_weight_matrices_has_nothing_to_measure(few_images):
    with pytest.raises(ValueError, match="no layer with a weight matrix"):
        diagnostics.layer_norms(nn.Flatten(), few_images.train_images[:2], few_images.train_labels[:2])


def test_layer_norms_are_those_of_the_layer_itself_where_an_activation_works_in_place(few_images):
    inputs, labels = few_images.train_images[:8], few_images.train_labels[:8]

    def measure(is_in_place):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            first, last = nn.Linear(784, 7), nn.Linear(7, 10)
        model = nn.Sequential(nn.Flatten(), first, nn.ReLU(inplace=is_in_place), last)
        return diagnostics.layer_norms(model, inputs, labels).drop(columns=["layer", "name"]).to_numpy()

    np.testing.assert_allclose(measure(True), measure(False), rtol=1e-6)


@pytest.fixture
def resnet():
    """A network that this package did not make, with gradients and running statistics of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return resnet18(weights=None, num_classes=10)


@pytest.fixture
def colour_images(few_images):
    return few_images.train_images[:4].expand(-1, 3, -1, -1), few_images.train_labels[:4]


@pytest.mark.parametrize("fails", [False, True])
def test_a_torchvision_network_is_measured_and_left_as_it_was(resnet, colour_images, fails):
    inputs, labels = colour_images
    functional.cross_entropy(resnet(inputs), labels).backward()
    resnet.layer2.eval()  # as in fine-tuning: modes differ from module to module

    def fail(module, args):
        raise RuntimeError("out of luck")

    if fails:
        resnet.fc.register_forward_pre_hook(fail)
    before, random_state = snapshot(resnet), torch.get_rng_state()
    if fails:
        with pytest.raises(RuntimeError, match="out of luck"):
            diagnostics.layer_norms(resnet, inputs, labels)
    else:
        norms = diagnostics.layer_norms(resnet, inputs, labels)
        assert norms["name"].tolist()[0::20] == ["conv1", "fc"]
        assert norms["layer"].tolist() == list(range(1, 22))
        assert (norms.filter(like="norm") > 0).all(axis=None)
        fc = torch.autograd.grad(functional.cross_entropy(resnet(inputs), labels), resnet.fc.weight)[0]
        assert norms["weight_grad_norm"].iloc[-1] == pytest.approx(fc.norm().item(), rel=1e-4)
        resnet.load_state_dict(before["state"])  # the line before moved the running statistics
    assert_untouched(resnet, before)
    assert torch.equal(torch.get_rng_state(), random_state)


def test_input_gradients_of_a_torchvision_network_agree_with_autograd_one_example_at_a_time(
    resnet, colour_images
):
    resnet.eval()
    inputs, _ = colour_images
    expected = []
    for example in inputs:
        x = example.unsqueeze(0).requires_grad_(True)
        expected.append(torch.autograd.grad(resnet(x)[0, 7], x)[0][0])
    before = snapshot(resnet)
    gradients = diagnostics.input_gradients(resnet, inputs, output=7)
    torch.testing.assert_close(gradients, torch.stack(expected), atol=1e-5, rtol=1e-4)
    assert_untouched(resnet, before)
