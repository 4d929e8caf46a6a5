"""The skips of networks that others wrote: found, named and priced, or refused in a sentence."""

import os
import random

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from tests.foreign import NETWORKS, Made, Parallel, Residual
from van_tutorial import models
from van_tutorial.cli import main

IMAGES = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
ROWS = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_each_skip_of_a_network_of_ones_own_is_found(network):
    assert len(models.find_skips(network(), IMAGES)) == NETWORKS[network]


def test_the_table_says_from_where_to_where_of_what_kind_and_at_what_price():
    table = models.find_skips(Residual(), IMAGES)
    assert table["name"].tolist() == ["blocks.0", "blocks.1"]
    assert table["kind"].tolist() == ["identity", "projection"]
    assert table["shape"].tolist() == [(2, 4, 13, 13), (2, 4, 13, 13)]
    assert table["kib"].tolist() == [2 * 4 * 13 * 13 * 4 / 1024] * 2
    assert table["layers"].tolist() == [2, 2]
    assert table["parameters"].tolist() == [0, 8 * 4 + 8]
    assert table["from"].tolist() == ["stem", "blocks.1.relu_2"]
    assert table["to"].str.startswith("blocks.").all()


def test_skips_of_one_sum_are_counted_once_each():
    assert models.find_skips(Parallel(), IMAGES)["kind"].tolist() == ["identity", "projection", "identity"]


@pytest.mark.parametrize(
    ("join", "kinds"),
    [
        (lambda net, x: net.a(x) + x, ["identity"]),
        (lambda net, x: torch.add(input=x, other=net.a(x)), ["identity"]),
        (lambda net, x: net.a(x).add(x), ["identity"]),
        (lambda net, x: net.a(x).add_(x), ["identity"]),
        (lambda net, x: sum([x, net.a(x)]), ["other"]),  # 0 + x
        (lambda net, x: net.b(net.a(x)) + net.c(x), ["projection"]),
        (lambda net, x: net.a(x) + torch.tanh(x), ["other"]),
        (lambda net, x: net.a(x) + functional.dropout(x, training=net.training), ["other"]),
        (lambda net, x: torch.lerp(net.a(x), x, 0.5), ["other"]),
        (lambda net, x: torch.cat([net.a(x), x], dim=1), ["concatenation"]),
        (lambda net, x: net.a(x) + net.b(x), []),
        (lambda net, x: net.a(x) + net.c.bias, []),
        (lambda net, x: net.a(x + net.c.weight[0]), []),
        (lambda net, x: x * torch.sigmoid(net.a(x)), []),
        (lambda net, x: torch.cat([net.a(x), net.b(x)], dim=1), []),
    ],
)
def test_a_sum_with_paths_of_unequal_depth_is_a_skip_of_its_kind(join, kinds):
    network = Made(join)
    assert models.find_skips(network, ROWS)["kind"].tolist() == kinds
    assert models.has_skip(torch.export.export(network.eval(), (ROWS,))) is bool(kinds)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        if x.sum() > 0:
            x = 2 * x
        return self.linear(x)


class Holding(nn.Module):
    def __init__(self):
        super().__init__()
        self.odd, self.linear = Branching(), nn.Linear(4, 4)

    def forward(self, x):
        x = self.odd(x)
        return x + self.linear(x)


def test_a_branch_on_values_is_refused_with_its_line_and_a_module_can_be_kept_whole():
    with pytest.raises(
        ValueError, match=r"Branching \(test_skips\.py, line \d+: if x\.sum\(\) > 0:\)"
    ) as caught:
        models.find_skips(Holding(), ROWS)
    assert "leaf_modules=['odd']" in str(caught.value)
    for leaves in ("odd", ["odd"], [Branching]):
        assert models.find_skips(Holding(), ROWS, leaf_modules=leaves)["from"].tolist() == ["odd"]
    with pytest.raises(ValueError, match="Did you mean 'odd'"):
        models.find_skips(Holding(), ROWS, leaf_modules=["od"])


def no_gradient(net, x):
    with torch.no_grad():
        y = net.a(x)
    return x + y


@pytest.mark.parametrize(
    ("join", "words"),
    [
        (no_gradient, r"torch\.no_grad"),
        (lambda net, x: x + net.a(x) if torch.rand(1).item() < 2.0 else x, "branches on values"),
        (lambda net, x: x + net.a(x) if random.random() < 2.0 else x, r"torchvision\.ops\.StochasticDepth"),
        (lambda net, x: x + net.a(torch.stack([row * 2 for row in x])), "goes through a tensor"),
        (lambda net, x: x + net.a(x) if len(x) > 2 else x, "takes the length of a tensor"),
        (
            lambda net, x: x + net.a(x) / float(x.shape[1]),
            "gives Python a size or value of a tensor as a number",
        ),
        (lambda net, x: sum(x + net.a(x) for _ in range(x.shape[1])), r"as an integer, as range\(\) needs"),
    ],
)
def test_what_a_graph_does_not_hold_is_refused(join, words):
    with pytest.raises(ValueError, match=words):
        models.find_skips(Made(join), ROWS)


def test_a_module_that_is_kept_whole_and_has_a_skip_inside_is_refused_by_name():
    layer = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)
    with pytest.raises(
        ValueError, match=r"1 \(TransformerEncoderLayer\) has a skip inside.*a module of your own\.$"
    ):
        models.find_skips(nn.Sequential(nn.Linear(4, 8), layer), ROWS[None])
    with pytest.raises(
        ValueError,
        match=r"blocks \(Sequential\) has a skip inside.*weighted: leave it out of leaf_modules\.$",
    ):
        models.find_skips(Residual(), IMAGES, leaf_modules=["blocks"])


def test_what_is_no_network_or_no_input_of_it_is_refused():
    with pytest.raises(TypeError, match=r"must be an nn\.Module, got str"):
        models.find_skips("resnet18", ROWS)
    with pytest.raises(TypeError, match="must be a tensor, or a tuple of them, got list"):
        models.find_skips(Residual(), [])
    with pytest.raises(ValueError, match=r"cannot be run on the example, of shape \(3, 4\):"):
        models.find_skips(Residual(), ROWS)


def test_a_network_is_left_as_it_was():
    network = Residual()
    network.blocks[0].eval()
    modes = [module.training for module in network.modules()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    models.find_skips(network, IMAGES)
    assert modes == [module.training for module in network.modules()]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


FOUND = {
    "resnet18": 8, "mobilenet_v2": 10, "efficientnet_b0": 9, "vgg11": 0, "resnet50": 16, "convnext_tiny": 18,
    "vit_b_16": 24, "regnet_y_400mf": 16, "swin_t": 24, "resnext50_32x4d": 16, "wide_resnet50_2": 16,
    "mnasnet0_5": 10, "mobilenet_v3_small": 6, "googlenet": 0, "inception_v3": 0, "densenet121": 58,
    "shufflenet_v2_x0_5": 13,
}  # fmt: skip
OPTIONS = {
    "googlenet": {"init_weights": False},
    "inception_v3": {"init_weights": False},
    "vit_b_16": {"image_size": 32},
}
QUICK = ("resnet18", "mobilenet_v2", "vgg11")


@pytest.mark.parametrize(
    "name", [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in FOUND]
)
def test_each_skip_of_a_published_network_is_found(name):
    network = torchvision.models.get_model(name, weights=None, **OPTIONS.get(name, {}))
    size = {"inception_v3": 80}.get(name, 32)
    assert len(models.find_skips(network, torch.zeros(1, 3, size, size))) == FOUND[name]


def breaks():
    raise RuntimeError("no weights here")


def test_the_console_script_prints_the_table(capsys):
    assert main(["skips", "tests.foreign:Residual", "--input", "1,1,28,28"]) == 0
    printed = capsys.readouterr().out
    assert "blocks.1" in printed and "projection" in printed and "Skips: 2" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tests.foreign"], "MODULE:FUNCTION"),
        (["tests.no_such:Residual"], "cannot be imported"),
        (["tests.foreign:Residul"], "no attribute 'Residul'"),
        (["tests.foreign:NETWORKS"], "a function without arguments that returns an nn.Module"),
        (["tests.foreign:Made"], "got TypeError (Made.__init__() missing"),
        (["pathlib:Path.cwd"], "cannot be imported"),
        (["pathlib:Path"], "got PosixPath" if os.name == "posix" else "got WindowsPath"),
        (["tests.test_skips:breaks"], "returns an nn.Module, got RuntimeError (no weights here)"),
        (["tests.foreign:Residual", "--input", "1,x"], "sizes"),
        (["tests.foreign:Residual"], "--input sets that shape"),
    ],
)
def test_the_console_script_refuses_in_a_sentence(arguments, words, capsys):
    assert main(["skips", *arguments]) == 1
    assert words in capsys.readouterr().err
