"""Norms and active units by layer against networks worked by hand and plain autograd, and nothing touched."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import resnet18

from tests.state import fail, state_of
from van_tutorial import diagnostics, models
from van_tutorial.models import parts

pytestmark = pytest.mark.usefixtures("seeded")

COLUMNS = [
    "layer",
    "name",
    "activation_norm",
    "output_grad_norm",
    "weight_grad_norm",
    "weight_norm",
    "weight_grad_ratio",
    "dead_fraction",
    "coactive_fraction",
]


def sum_of_outputs(outputs, labels):
    return outputs.sum(dim=1).mean()


@pytest.fixture
def batch(few_images):
    return few_images.train_images[:16].double(), few_images.train_labels[:16]


# Norms.


def test_layer_norms_of_two_layers_agree_with_autograd_one_example_at_a_time(two_layers, batch):
    inputs, labels = batch
    norms = diagnostics.layer_norms(two_layers, inputs, labels)
    assert norms.columns.tolist() == COLUMNS
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
    matrices = (two_layers[1].weight, two_layers[3].weight)
    weight_grads = torch.autograd.grad(loss, matrices)
    for index in range(2):
        row = norms.iloc[index]
        weight_norm, weight_grad_norm = matrices[index].norm().item(), weight_grads[index].norm().item()
        assert row["activation_norm"] == pytest.approx(sum(activations[index]) / 16, rel=1e-6)
        assert row["output_grad_norm"] == pytest.approx(sum(gradients[index]) / 16, rel=1e-6)
        assert row["weight_grad_norm"] == pytest.approx(weight_grad_norm, rel=1e-6)
        assert row["weight_norm"] == pytest.approx(weight_norm, rel=1e-6)
        assert row["weight_grad_ratio"] == pytest.approx(weight_grad_norm / weight_norm, rel=1e-6)


def test_layer_norms_of_an_identity_network_are_level(few_images):
    model = models.mlp(depth=6, width=8, skip_weight=1.0, seed=0)
    norms = diagnostics.layer_norms(model, few_images.train_images[:32], few_images.train_labels[:32])
    assert norms["layer"].tolist() == [1, 2, 3, 4, 5, 6]
    hidden = model.input_layer(few_images.train_images[:32].flatten(1)).norm(dim=1).mean().item()
    assert norms["activation_norm"].tolist() == pytest.approx([hidden] * 6)
    assert norms["output_grad_norm"].tolist() == pytest.approx([norms["output_grad_norm"].iloc[0]] * 6)
    assert norms["weight_grad_norm"].tolist() == [0.0] * 6
    assert norms["weight_grad_ratio"].tolist() == [0.0] * 6
    assert norms["weight_norm"].tolist() == pytest.approx(
        [layer.linear.weight.norm().item() for layer in model.layers]
    )


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


def test_another_loss_than_cross_entropy_is_measured_by_the_loss_argument():
    linear = nn.Linear(2, 1, bias=False)
    linear.weight.data = torch.tensor([[3.0, 4.0]])
    inputs, targets = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0], [5.0]])
    # Outputs 3 and 8 miss by 2 and 3: dC_i/dy = 4 and 6, dC/dW = (4 (1, 0) + 6 (0, 2)) / 2 = (2, 6).
    row = diagnostics.layer_norms(linear, inputs, targets, loss=functional.mse_loss).iloc[0]
    assert row["activation_norm"] == pytest.approx(5.5)
    assert row["output_grad_norm"] == pytest.approx(5.0)
    assert row["weight_grad_norm"] == pytest.approx(math.sqrt(40.0))
    assert row["weight_norm"] == pytest.approx(5.0)
    assert row["weight_grad_ratio"] == pytest.approx(math.sqrt(40.0) / 5.0)


def test_weights_of_0_have_no_relative_gradient():
    linear = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(linear.weight)
    row = diagnostics.layer_norms(linear, torch.ones(2, 2), torch.ones(2, 1), functional.mse_loss).iloc[0]
    assert row["weight_grad_norm"] > 0.0
    assert math.isnan(row["weight_grad_ratio"])


def test_frozen_layers_are_measured_like_the_others_and_stay_frozen(few_images):
    model = models.mlp(depth=3, width=8, seed=0)
    inputs, labels = few_images.train_images[:16], few_images.train_labels[:16]
    expected = diagnostics.layer_norms(model, inputs, labels)
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    assert diagnostics.layer_norms(model, inputs, labels).equals(expected)
    assert not any(parameter.requires_grad for parameter in model.layers.parameters())
    assert (expected["weight_grad_norm"] > 0).all()


class TokenClassifier(nn.Module):
    """Words to classes; the matrix of the embedding may serve as the head's, too."""

    def __init__(self, is_tied):
        super().__init__()
        self.embed = nn.Embedding(6, 4)
        self.head = nn.Linear(4, 6, bias=False)
        if is_tied:
            self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(self.embed(tokens).mean(dim=1))


TOKENS, WORDS = torch.tensor([[0, 1, 2], [3, 3, 5], [4, 0, 0]]), torch.tensor([1, 0, 5])


def test_whole_numbers_are_measured_from_their_embedding_on():
    model = TokenClassifier(is_tied=False)
    norms = diagnostics.layer_norms(model, TOKENS, WORDS)
    assert norms["name"].tolist() == ["embed", "head"]
    embedded = model.embed(TOKENS)
    embedded.retain_grad()
    functional.cross_entropy(model.head(embedded.mean(dim=1)), WORDS).backward()
    assert norms["activation_norm"].iloc[0] == pytest.approx(embedded.flatten(1).norm(dim=1).mean().item())
    assert norms["output_grad_norm"].iloc[0] == pytest.approx(
        3 * embedded.grad.flatten(1).norm(dim=1).mean().item()
    )
    assert norms["weight_grad_norm"].tolist() == pytest.approx(
        [model.embed.weight.grad.norm().item(), model.head.weight.grad.norm().item()]
    )


def test_layers_that_share_a_matrix_both_have_its_norm_and_its_whole_gradient():
    model = TokenClassifier(is_tied=True)
    norms = diagnostics.layer_norms(model, TOKENS, WORDS)
    functional.cross_entropy(model(TOKENS), WORDS).backward()
    weight_norm, weight_grad_norm = model.embed.weight.norm().item(), model.embed.weight.grad.norm().item()
    assert norms["name"].tolist() == ["embed", "head"]
    assert norms["weight_norm"].tolist() == pytest.approx([weight_norm] * 2)
    assert norms["weight_grad_norm"].tolist() == pytest.approx([weight_grad_norm] * 2)
    assert norms["weight_grad_ratio"].tolist() == pytest.approx([weight_grad_norm / weight_norm] * 2)


def test_a_layer_that_is_not_called_has_no_row_and_the_others_keep_their_numbers(few_images):
    class Skipping(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(784, 5)
            self.unused = nn.Linear(5, 5)
            self.last = nn.Linear(5, 10)

        def forward(self, x):
            return self.last(self.first(x.flatten(1)).relu())

    norms = diagnostics.layer_norms(Skipping(), few_images.train_images[:8], few_images.train_labels[:8])
    assert norms["name"].tolist() == ["first", "last"]
    assert norms["layer"].tolist() == [1, 3]
    assert norms["weight_grad_norm"].gt(0).all()


def test_of_a_layer_that_is_called_twice_the_last_call_counts():
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.tensor([[0.0, -1.0], [1.0, 0.0]])  # a quarter turn
    model = nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU())
    inputs = torch.tensor([[1.0, -2.0], [1.0, -3.0]])
    # After the first turn (2, 1) and (3, 1): both units active. After the second (-1, 2) and (-1, 3): one is dead.
    norms = diagnostics.layer_norms(model, inputs, torch.zeros(2), loss=sum_of_outputs)
    assert len(norms) == 1
    row = norms.iloc[0]
    assert row["activation_norm"] == pytest.approx((math.sqrt(5.0) + math.sqrt(10.0)) / 2)
    assert row["output_grad_norm"] == pytest.approx(1.0)
    assert row["dead_fraction"] == 0.5
    assert row["coactive_fraction"] == 0.5


def test_a_network_without_weight_matrices_has_nothing_to_measure(few_images):
    with pytest.raises(ValueError, match="no layer with a weight matrix"):
        diagnostics.layer_norms(nn.Flatten(), few_images.train_images[:2], few_images.train_labels[:2])


def test_a_network_that_cuts_its_outputs_off_has_gradients_0(few_images):
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(784, 10)

        def forward(self, x):
            return self.linear(x.flatten(1)).detach()

    row = diagnostics.layer_norms(Cut(), few_images.train_images[:4], few_images.train_labels[:4]).iloc[0]
    assert row["activation_norm"] > 0.0
    assert (row["output_grad_norm"], row["weight_grad_norm"]) == (0.0, 0.0)


# Units that take part.


class Rectified(nn.Module):
    """Three units, the third dead, behind a rectifier of any make."""

    def __init__(self, rectifier):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.first.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        self.first.bias.data = torch.tensor([0.0, 0.0, -10.0])
        self.rectifier = rectifier
        self.last = nn.Linear(3, 2)

    def forward(self, x):
        return self.last(self.rectifier(self.first(x)))


# Unit 1 is active at three of four inputs, so at 3 of 6 pairs; unit 2 at two, so at 1 of 6; unit 3 nowhere.
POINTS = torch.tensor([[1.0, 1.0], [1.0, -1.0], [2.0, 1.0], [-1.0, -1.0]])
NO_LABELS = torch.zeros(4)


@pytest.mark.parametrize(
    "rectifier",
    [
        nn.ReLU(),
        nn.ReLU(inplace=True),
        nn.Sequential(nn.Identity(), nn.ReLU()),
        nn.LeakyReLU(0.1),
        nn.ELU(),
        functional.relu,
        lambda x: functional.relu(x, inplace=True),
        torch.relu,
        lambda x: torch.relu_(x),
        lambda x: x.relu(),
        lambda x: x.relu_(),
        lambda x: x.clamp_min(0.0),
    ],
    ids=[
        "module",
        "module in place",
        "module in a module",
        "leaky",
        "ELU",
        "functional",
        "functional in place",
        "torch",
        "torch in place",
        "method",
        "method in place",
        "clamp",
    ],
)
def test_dead_and_coactive_units_are_counted_whatever_the_rectifier_is_made_of(rectifier):
    norms = diagnostics.layer_norms(Rectified(rectifier), POINTS, NO_LABELS, loss=sum_of_outputs)
    assert norms["dead_fraction"].iloc[0] == pytest.approx(1 / 3)
    assert norms["coactive_fraction"].iloc[0] == pytest.approx((3 / 6 + 1 / 6 + 0) / 3)
    assert (
        norms[["dead_fraction", "coactive_fraction"]].iloc[1].isna().all()
    )  # no rectifier behind the last layer


def test_both_halves_of_a_concatenated_rectifier_count():
    model = nn.Sequential(nn.Linear(2, 2), parts.CReLU(), nn.Linear(4, 2))
    model[0].weight.data, model[0].bias.data = torch.eye(2), torch.tensor([0.0, 5.0])
    row = diagnostics.layer_norms(model, POINTS, NO_LABELS, loss=sum_of_outputs).iloc[0]
    # z_1 is above 0 at three inputs and below at one, z_2 above 0 at all: pairs 3, 6, 0, 0 of 6, and -z_2 is dead.
    assert row["dead_fraction"] == pytest.approx(1 / 4)
    assert row["coactive_fraction"] == pytest.approx((3 + 6 + 0 + 0) / 6 / 4)


@pytest.mark.parametrize("order", parts.ORDERS)
def test_units_of_a_stack_are_those_of_the_rectifier_in_each_layer(few_images, order):
    model = models.mlp(depth=3, width=8, connection="plain", order=order, seed=0)
    inputs, labels = few_images.train_images[:12], few_images.train_labels[:12]
    active = []
    for layer in model.layers:
        layer.activation.register_forward_hook(lambda module, args, output: active.append(output > 0))
    model(inputs)
    active = active[:3]
    norms = diagnostics.layer_norms(model, inputs, labels)
    if (
        order == "pre"
    ):  # the rectifier before the head comes after the last layer was entered, and counts with it
        norms = norms.iloc[:2]
    for row, units in zip(norms.itertuples(), active[: len(norms)], strict=True):
        both = units.unsqueeze(0) & units.unsqueeze(1)
        pairs = both[~torch.eye(12, dtype=torch.bool)].double().mean().item()
        assert row.coactive_fraction == pytest.approx(pairs)
        assert row.dead_fraction == pytest.approx((~units).all(dim=0).double().mean().item())


def test_units_active_at_half_of_the_inputs_independently_share_a_quarter():
    model = nn.Sequential(nn.Linear(50, 400, bias=False), nn.ReLU(), nn.Linear(400, 2))
    inputs = functional.normalize(torch.randn(200, 50))
    labels = torch.zeros(200, dtype=torch.int64)
    row = diagnostics.layer_norms(model, inputs, labels).iloc[0]
    assert row["coactive_fraction"] == pytest.approx(0.25, abs=0.01)
    assert row["dead_fraction"] == 0.0


def test_of_a_single_input_there_is_no_pair():
    model = Rectified(nn.ReLU())
    row = diagnostics.layer_norms(model, POINTS[:1], NO_LABELS[:1], loss=sum_of_outputs).iloc[0]
    assert math.isnan(row["coactive_fraction"])
    assert row["dead_fraction"] == pytest.approx(1 / 3)


def test_a_network_without_a_rectifier_has_no_active_units(two_layers, batch):
    norms = diagnostics.layer_norms(two_layers, *batch)
    assert norms[["dead_fraction", "coactive_fraction"]].isna().all(axis=None)


def test_layer_norms_are_those_of_the_layer_itself_where_an_activation_works_in_place(few_images):
    inputs, labels = few_images.train_images[:8], few_images.train_labels[:8]
    first, last = nn.Linear(784, 7), nn.Linear(7, 10)

    def measure(is_in_place):
        model = nn.Sequential(nn.Flatten(), first, nn.ReLU(inplace=is_in_place), last)
        return diagnostics.layer_norms(model, inputs, labels).drop(columns=["layer", "name"]).to_numpy()

    np.testing.assert_allclose(measure(True), measure(False), rtol=1e-6)


# Nothing is touched.


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("normalization", ["batch", "center"])
def test_layer_norms_leave_the_network_as_it_was(few_images, normalization, is_training):
    model = models.mlp(depth=3, width=8, normalization=normalization, seed=0)
    functional.cross_entropy(model(few_images.train_images[:8]), few_images.train_labels[:8]).backward()
    model.train(is_training)
    inputs = few_images.train_images[:32]
    before, pixels = state_of(model), inputs.clone()
    with torch.no_grad():
        norms = diagnostics.layer_norms(model, inputs, few_images.train_labels[:32])
    assert (norms["weight_grad_norm"] > 0).all()
    assert state_of(model) == before
    assert torch.equal(inputs, pixels)
    assert not inputs.requires_grad


@pytest.mark.parametrize("where", ["in a layer", "in the loss"])
def test_layer_norms_leave_the_network_as_it_was_when_they_fail(few_images, where):
    model = models.mlp(depth=3, width=8, seed=0)
    labels = few_images.train_labels[:8]
    if where == "in a layer":
        model.layers[2].register_forward_pre_hook(fail)
    else:
        labels = labels + 10
    before = state_of(model)
    with pytest.raises((RuntimeError, ValueError), match=r"out of|labels must be from 0 to 9"):
        diagnostics.layer_norms(model, few_images.train_images[:8], labels)
    assert state_of(model) == before


def test_a_network_gives_and_learns_what_it_would_have_without_being_measured(few_images):
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 9), nn.BatchNorm1d(9), nn.Dropout(0.5), nn.Linear(9, 10)
    )
    twin = copy.deepcopy(model)
    x, labels = few_images.train_images[:16], few_images.train_labels[:16]
    state = torch.get_rng_state()
    diagnostics.layer_norms(model, x, labels)
    for network in (model, twin):
        torch.set_rng_state(state)
        functional.cross_entropy(network(x), labels).backward()
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
    assert torch.equal(model.eval()(x), twin.eval()(x))


@pytest.fixture
def resnet():
    """A network that this package did not make, with gradients and running statistics of its own."""
    return resnet18(weights=None, num_classes=10)


@pytest.fixture
def colour_images(few_images):
    return few_images.train_images[:4].expand(-1, 3, -1, -1), few_images.train_labels[:4]


@pytest.mark.parametrize("fails", [False, True], ids=["works", "fails"])
def test_a_torchvision_network_is_measured_and_left_as_it_was(resnet, colour_images, fails):
    inputs, labels = colour_images
    functional.cross_entropy(resnet(inputs), labels).backward()
    resnet.layer2.eval()  # as in fine-tuning: modes differ from module to module
    if fails:
        resnet.fc.register_forward_pre_hook(fail)
    before = state_of(resnet)
    if fails:
        with pytest.raises(RuntimeError, match="out of luck"):
            diagnostics.layer_norms(resnet, inputs, labels)
        assert state_of(resnet) == before
        return
    norms = diagnostics.layer_norms(resnet, inputs, labels)
    assert state_of(resnet) == before
    assert norms["name"].tolist()[0::20] == ["conv1", "fc"]
    assert norms["layer"].tolist() == list(range(1, 22))
    assert (norms.filter(like="norm") > 0).all(axis=None)
    assert norms["coactive_fraction"].iloc[0] > 0.0
    assert math.isnan(norms["coactive_fraction"].iloc[-1])
    (fc,) = torch.autograd.grad(functional.cross_entropy(resnet(inputs), labels), resnet.fc.weight)
    assert norms["weight_grad_norm"].iloc[-1] == pytest.approx(fc.norm().item(), rel=1e-4)


class TransformerClassifier(nn.Module):
    """Read an image as a sequence of rows."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(28, 8)
        layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers=2)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        return self.head(self.encoder(self.embed(x.squeeze(1))).mean(dim=1))


@pytest.mark.parametrize("is_training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("fails", [False, True], ids=["works", "fails"])
def test_a_transformer_is_measured_and_left_as_it_was(few_images, fails, is_training):
    model = TransformerClassifier()
    inputs, labels = few_images.train_images[:6], few_images.train_labels[:6]
    functional.cross_entropy(model(inputs), labels).backward()
    model.train(is_training)
    if fails:
        model.head.register_forward_pre_hook(fail)
        before = state_of(model)
        with pytest.raises(RuntimeError, match="out of luck"):
            diagnostics.layer_norms(model, inputs, labels)
        assert state_of(model) == before
        return
    before = state_of(model)
    norms = diagnostics.layer_norms(model, inputs, labels)
    assert state_of(model) == before
    assert norms["name"].tolist() == [
        "embed",
        *(f"encoder.layers.{block}.linear{number}" for block in (0, 1) for number in (1, 2)),
        "head",
    ]
    has_rectifier = norms["name"].str.endswith("linear1")
    assert norms["coactive_fraction"].notna().tolist() == has_rectifier.tolist()
    (head,) = torch.autograd.grad(functional.cross_entropy(model.eval()(inputs), labels), model.head.weight)
    if not is_training:  # or dropout draws anew
        assert norms["weight_grad_norm"].iloc[-1] == pytest.approx(head.norm().item(), rel=1e-4)


def test_the_latest_gradient_norms_are_those_of_the_same_batch(batch):
    model = models.mlp(depth=3, width=6, seed=0).double()
    inputs, labels = batch
    functional.cross_entropy(model(inputs), labels).backward()
    expected = diagnostics.layer_norms(model, inputs, labels)["weight_grad_norm"]
    assert diagnostics.latest_weight_grad_norms(model).tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_a_layer_without_a_gradient_has_norm_0():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    model(torch.ones(2, 3)).sum().backward()
    first, last = diagnostics.latest_weight_grad_norms(model).tolist()
    assert first == 0.0 < last


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2], r"labels must have shape \(4,\), as the outputs do, got \(3,\)"),
        ([0, 1, 2, 10], "labels must be from 0 to 9 for 10 outputs, got 0 to 10"),
        ([-1, 1, 2, 3], "labels must be from 0 to 9 for 10 outputs, got -1 to 3"),
    ],
)
def test_labels_that_do_not_fit_the_outputs_are_refused(labels, message):
    network = models.mlp(depth=1, width=4, in_features=3, seed=0)
    with pytest.raises(ValueError, match=message):
        diagnostics.layer_norms(network, torch.randn(4, 3), torch.tensor(labels))


def test_labels_that_the_cross_entropy_leaves_out_are_no_error():
    network = models.mlp(depth=1, width=4, in_features=3, seed=0)
    norms = diagnostics.layer_norms(network, torch.randn(4, 3), torch.tensor([-100, 0, 1, 2]))
    assert norms["weight_grad_norm"].notna().all()
