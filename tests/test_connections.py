"""Connections: each formula, worked by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from van_tutorial import connections, models, training

X = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)
Z = torch.tensor([[-1.0, 4.0], [2.0, -8.0]], dtype=torch.float64)


def transform(x, activation):
    """A layer whose pre-activation is Z whatever comes in, so that every answer can be read off."""
    return activation(Z + 0.0 * x)


def connect(connection, alpha=None):
    skip_weight = None if alpha is None else torch.tensor(alpha, dtype=torch.float64)
    return connection(X, transform, functional.relu, skip_weight)


@pytest.mark.parametrize(
    ("connection", "alpha", "expected"),
    [
        (connections.Plain(), None, [[0.0, 4.0], [2.0, 0.0]]),
        (connections.Residual(), None, [[1.0, 2.0], [2.5, 3.0]]),
        (connections.Residual(scale=0.5), None, [[1.0, 0.0], [1.5, 3.0]]),
        (connections.ConvexSkip(), 0.25, [[0.25, 2.5], [1.625, 0.75]]),
        (connections.AdditiveSkip(), 0.25, [[0.25, 3.5], [2.125, 0.75]]),
        (connections.ActivationSkip(), 0.25, [[-0.25, 4.0], [2.0, -2.0]]),
    ],
    ids=["plain", "residual", "residual scaled", "convex", "additive", "activation"],
)
def test_a_connection_gives_what_its_formula_says(connection, alpha, expected):
    assert connect(connection, alpha).tolist() == expected


def test_a_rezero_layer_passes_its_input_on_until_its_scale_has_been_learned():
    rezero = connections.LearnedResidual()
    assert list(dict(rezero.named_parameters())) == ["scale"]
    assert rezero.scale.shape == ()
    output = connect(rezero)
    assert torch.equal(output, X)
    output.sum().backward()
    assert rezero.scale.grad.item() == torch.relu(Z).sum().item()
    torch.nn.init.constant_(rezero.scale, 0.25)
    assert connect(rezero).tolist() == [[1.0, -1.0], [1.0, 3.0]]


IMAGE = torch.arange(1.0, 16.0, dtype=torch.float64).view(1, 1, 3, 5)
SMALLER = [
    [[[1.0, 3.0, 5.0], [11.0, 13.0, 15.0]], [[0.0] * 3] * 2]
]  # every second place, and a channel of zeros


def test_a_subsampled_image_has_every_second_place_and_channels_of_zeros():
    assert connections.Subsample(num_new=1, stride=2)(IMAGE).tolist() == SMALLER
    wider = connections.Subsample(num_new=2, stride=1)(IMAGE)
    assert wider.shape == (1, 3, 3, 5)
    assert torch.equal(wider[:, :1], IMAGE)
    assert not wider[:, 1:].any()


@pytest.mark.parametrize(
    ("connection", "alpha", "share"),  # f is 1 everywhere: the output is share of the shortcut, and the rest
    [
        (connections.Residual(0.5, connections.Subsample(1, 2)), None, (1.0, 0.5)),
        (connections.LearnedResidual(connections.Subsample(1, 2)), None, (1.0, 0.0)),
        (connections.ConvexSkip(connections.Subsample(1, 2)), 0.75, (0.75, 0.25)),
        (connections.AdditiveSkip(connections.Subsample(1, 2)), 0.75, (0.75, 1.0)),
    ],
    ids=["residual", "rezero", "convex", "additive"],
)
def test_a_connection_fits_its_input_to_a_smaller_output(connection, alpha, share):
    shortcut = torch.tensor(SMALLER, dtype=torch.float64)
    skip_weight = None if alpha is None else torch.tensor(alpha, dtype=torch.float64)
    output = connection(IMAGE, lambda x, act: torch.ones_like(shortcut), functional.relu, skip_weight)
    torch.testing.assert_close(output, share[0] * shortcut + share[1])


def test_a_highway_gate_looks_at_the_fitted_input():
    gate = nn.Conv2d(2, 2, 1)
    highway = connections.Highway(gate, transform_bias=-1.0, shortcut=connections.Subsample(1, 2)).double()
    torch.nn.init.constant_(gate.weight, 0.1)
    shortcut = torch.tensor(SMALLER, dtype=torch.float64)
    share = torch.sigmoid(0.1 * shortcut.sum(dim=1, keepdim=True) - 1.0)
    output = highway(IMAGE, lambda x, act: torch.full_like(shortcut, 2.0), functional.relu, None)
    torch.testing.assert_close(output, share * 2.0 + (1 - share) * shortcut)


@pytest.mark.parametrize(
    ("bias", "expected"), [(-50.0, X), (50.0, torch.relu(Z))], ids=["carried", "transformed"]
)
def test_a_highway_layer_goes_from_its_input_to_its_transform_by_the_gates_bias(bias, expected):
    highway = connections.Highway(nn.Linear(2, 2), transform_bias=bias).double()
    torch.nn.init.zeros_(highway.gate.weight)
    torch.testing.assert_close(connect(highway), expected, atol=1e-12, rtol=0.0)


def test_a_highway_gate_looks_at_the_input_unit_by_unit():
    highway = connections.Highway(nn.Linear(2, 2), transform_bias=0.0).double()
    gate = torch.sigmoid(X @ highway.gate.weight.T)
    torch.testing.assert_close(connect(highway), gate * torch.relu(Z) + (1 - gate) * X)


@pytest.mark.parametrize(
    "connection", [connections.ConvexSkip(), connections.AdditiveSkip(), connections.ActivationSkip()]
)
def test_a_skip_of_weight_0_is_the_plain_layer_to_the_last_bit(connection):
    assert torch.equal(connect(connection, 0.0), connect(connections.Plain()))


def test_a_skip_of_weight_1_is_the_identity_a_residual_or_an_affine_layer():
    assert torch.equal(connect(connections.ConvexSkip(), 1.0), X)
    assert torch.equal(connect(connections.AdditiveSkip(), 1.0), connect(connections.Residual()))
    assert torch.equal(connect(connections.ActivationSkip(), 1.0), Z)


@pytest.mark.parametrize(
    ("connection", "slope"),
    [
        (connections.ConvexSkip(), X - torch.relu(Z)),
        (connections.AdditiveSkip(), X),
        (connections.ActivationSkip(), Z - torch.relu(Z)),
    ],
    ids=["convex", "additive", "activation"],
)
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.7, 1.0])
def test_the_loss_pulls_at_a_skip_weight_by_the_derivative_of_its_formula(connection, slope, alpha):
    skip_weight = torch.tensor(alpha, dtype=torch.float64, requires_grad=True)
    connection(X, transform, functional.relu, skip_weight).sum().backward()
    assert skip_weight.grad.item() == pytest.approx(slope.sum().item())


class ScaledSkip(connections.Connection):
    """alpha s x + (1 - alpha) f(x), s learned from 1: the example of CONTRIBUTING.md."""

    is_weighted = True

    def __init__(self, num_features, shortcut=None):
        super().__init__(shortcut)
        self.scale = nn.Parameter(torch.ones(num_features))

    @classmethod
    def build(cls, config, make_map, shortcut):
        return cls(config.width, shortcut)

    def forward(self, x, transform, activation, skip_weight):
        skip = self.scale * self.shortcut(x)
        return connections.mix(transform(x, activation), skip, skip_weight)


def test_a_new_connection_is_one_class_that_models_phase_out_and_collapse_take_as_it_is(
    monkeypatch, few_images
):
    monkeypatch.setitem(connections.SKIPS, "scaled", ScaledSkip)
    network = models.mlp(depth=3, width=8, skip="scaled", seed=0)
    assert models.num_skips(network) == 3
    before = [layer.connection.scale.clone() for layer in network.layers]
    config = training.TrainConfig(num_epochs=1, batch_size=100, remove_by=0.5)
    result = training.train(network, few_images, config)
    assert result.removed_at_step is not None
    assert not any(
        torch.equal(a, layer.connection.scale) for a, layer in zip(before, network.layers, strict=True)
    )
    plain = models.collapse(network)
    assert torch.equal(plain(few_images.test_images), network(few_images.test_images))
    assert models.num_skips(plain) == 0


class Kept(connections.Connection):
    """x - f(x), whose skip nothing weighs."""

    def forward(self, x, transform, activation, skip_weight=None):
        return self.shortcut(x) - transform(x, activation)


def test_a_new_connection_without_a_weight_is_counted_and_refused_by_collapse(monkeypatch):
    monkeypatch.setitem(connections.CONNECTIONS, "kept", Kept)
    network = models.convnet(depth=8, width=4, connection="kept", seed=0)
    assert models.num_skips(network) == 3
    with pytest.raises(ValueError, match="connection 'kept' keeps its skips"):
        models.collapse(network)
    monkeypatch.setitem(connections.SKIPS, "kept", Kept)  # where a skip weight is expected
    with pytest.raises(ValueError, match=r"^skip 'kept' has no skip weight to phase out"):
        models.mlp(depth=3, width=4, skip="kept", seed=0)
