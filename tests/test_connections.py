"""Connections: each formula, worked by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from van_tutorial import connections

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
