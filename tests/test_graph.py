"""Whether a skip is left, read off exported graphs: ours, torchvision's, and small ones made to mislead."""

import pytest
import torch
import torchvision
from torch import nn

from van_tutorial import models

PRE_CRELU = {"activation": "crelu", "order": "pre", "normalization": "none"}


def is_skipped(model, *shape):
    return models.has_skip(torch.export.export(model.eval(), (torch.zeros(*shape),)))


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ({"connection": "plain"}, False),
        ({"connection": "plain", "order": "pre"}, False),
        ({"connection": "plain", "normalization": "layer", "activation": "tanh"}, False),
        ({"connection": "plain", "activation": "crelu"}, False),
        ({"connection": "plain", **PRE_CRELU}, False),
        ({"connection": "residual"}, True),
        ({"connection": "residual", **PRE_CRELU}, True),
        ({"connection": "highway"}, True),
        ({"connection": "van", "skip": "convex"}, True),
        ({"connection": "van", "skip": "additive"}, True),
        ({"connection": "van", "skip": "activation"}, False),
        ({"connection": "van", "skip": "convex", "skip_weight": 0.0}, True),
        ({"connection": "van", "skip": "additive", "skip_weight": 0.0}, True),
    ],
    ids=str,
)
def test_a_skip_is_found_in_each_of_our_connections_that_has_one(choices, expected):
    assert is_skipped(models.mlp(depth=2, width=8, seed=0, **choices), 2, 784) is expected


@pytest.mark.parametrize("skip", ["convex", "additive", "activation"])
def test_no_skip_is_left_in_a_collapsed_network(skip):
    model = models.mlp(depth=2, width=8, skip=skip, skip_weight=0.0, seed=0)
    assert is_skipped(models.collapse(model), 2, 784) is False


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [("resnet18", 32, True), ("densenet121", 32, True), ("vgg11", 32, False), ("alexnet", 63, False)],
)
def test_published_architectures_are_told_apart(name, size, expected):
    with torch.device("meta"):  # the graph needs no numbers, and a VGG has half a gigabyte of them
        model = torchvision.models.get_model(name, weights=None)
        assert is_skipped(model, 2, 3, size, size) is expected


class Made(nn.Module):
    """Three linear layers, joined as `join` says."""

    def __init__(self, join):
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(4, 4) for _ in range(3))
        self.join = join

    def forward(self, x):
        return self.join(self, x)


def add_in_place(net, x):
    out = net.b(torch.relu(net.a(x)))
    out += x
    return out


def attend(net, x):
    return torch.softmax(net.a(x) @ net.b(x).T, dim=1) @ net.c(x)


@pytest.mark.parametrize(
    ("join", "expected"),
    [
        (lambda net, x: net.c(net.a(x) + net.b(x)), False),
        (lambda net, x: torch.cat([net.a(x), net.b(x)], dim=1), False),
        (lambda net, x: net.a(x) * torch.sigmoid(net.b(x)), False),
        (lambda net, x: net.c(torch.relu(net.b(torch.relu(net.a(x))))) + 1.0, False),
        (lambda net, x: net.a(x) + net.c(net.b(x)), True),
        (lambda net, x: net.a(x) - x, True),
        (lambda net, x: x * torch.sigmoid(net.a(x)), True),
        (lambda net, x: torch.lerp(net.a(x), x, 0.5), True),
        (lambda net, x: torch.cat([net.a(x), torch.relu(x)], dim=1), True),
        (lambda net, x: torch.hstack([net.a(x), x]), True),
        (lambda net, x: torch.concatenate([net.a(x), x], dim=1), True),
        (lambda net, x: net.c(net.a(x) + net.b(net.a(x))), True),
        (add_in_place, True),
        (attend, False),
        (lambda net, x: attend(net, x) + net.b(x), False),
        (lambda net, x: attend(net, x) + x, True),
    ],
    ids=[
        "two branches of equal depth", "concatenated branches of equal depth", "gate of equal depth",
        "a constant added", "branches of unequal depth", "difference", "product with the input",
        "mix with the input", "concatenation with the input", "hstack with the input",
        "concatenate with the input", "skip inside", "sum in place", "attention without a skip",
        "attention beside a branch of its depth", "attention with a skip",
    ],
)  # fmt: skip
def test_a_skip_is_two_paths_of_different_depth_that_are_joined(join, expected):
    assert is_skipped(Made(join), 3, 4) is expected
