"""Whether a skip is left, read off exported graphs: ours, torchvision's, and small ones made to mislead."""

import warnings

import pytest
import torch
import torchvision
from torch import nn

from tests.foreign import Made
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
    [
        ("resnet18", 32, True),
        ("densenet121", 32, True),
        ("mobilenet_v2", 32, True),
        ("googlenet", 32, False),  # branches of one to three convolutions, concatenated
        ("inception_v3", 80, False),  # and of pooling alone
        ("shufflenet_v2_x0_5", 32, True),
        ("efficientnet_b0", 32, True),
        ("squeezenet1_1", 32, False),  # branches of one convolution each, concatenated
        ("vgg11", 32, False),
        ("vgg11_bn", 32, False),
        ("alexnet", 63, False),
    ],
)
def test_published_architectures_are_told_apart(name, size, expected):
    with torch.device("meta"):  # the graph needs no numbers, and a VGG has half a gigabyte of them
        options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        model = torchvision.models.get_model(name, weights=None, **options)
        assert is_skipped(model, 2, 3, size, size) is expected


def add_in_place(net, x):
    out = net.b(torch.relu(net.a(x)))
    out += x
    return out


def fill(net, x):
    out = torch.zeros(len(x), 8)
    out[:, :4] = x
    out[:, 4:] = net.a(x)
    return out


def without_gradients(net, x):
    with torch.no_grad():
        return net.a(x) + x


def under_autocast(net, x):
    with torch.autocast("cpu"):
        return net.a(x) + x


def parts_in_place(net, x):
    with torch.no_grad():
        out = net.b(torch.relu_(net.a(x)))
        out[:, :2] *= 2.0
    return out


def mask_by_input(net, x):
    return net.a(x).masked_fill(x < 0.0, 0.0) * (net.b(net.c(x)).argmax(dim=1, keepdim=True) * 1.0)


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
        (lambda net, x: x * torch.sigmoid(net.a(x)), False),
        (lambda net, x: torch.lerp(net.a(x), x, 0.5), True),
        (lambda net, x: torch.cat([net.a(x), torch.relu(x)], dim=1), True),
        (lambda net, x: torch.hstack([net.a(x), x]), True),
        (lambda net, x: torch.concatenate([net.a(x), x], dim=1), True),
        (lambda net, x: net.c(net.a(x) + net.b(net.a(x))), True),
        (add_in_place, True),
        (attend, False),
        (lambda net, x: attend(net, x) + net.b(x), False),
        (lambda net, x: attend(net, x) + x, True),
        (lambda net, x: torch.addmm(x, x, net.a.weight), True),
        (lambda net, x: torch.addmm(x, x, net.a.weight, beta=2, alpha=3), True),
        (lambda net, x: torch.addmm(net.b(x), x, net.a.weight), False),
        (lambda net, x: torch.addmm(net.a.bias, x, net.a.weight), False),
        (lambda net, x: torch.baddbmm(x[None], x[None], net.a.weight[None]), True),
        (lambda net, x: torch.addcmul(x, net.a(x), net.b.bias), True),
        (lambda net, x: torch.addcmul(x, x, net.b.bias), False),
        (lambda net, x: torch.nn.functional.linear(net.a(x)[:1], net.b.weight, bias=x[0]), True),
        (lambda net, x: torch.einsum("ni,oi->no", x, net.a.weight) + net.b(x), False),
        (lambda net, x: torch.einsum("ni,oi->no", x, net.a.weight) + x, True),
        (lambda net, x: torch.maximum(net.a(x), x), True),
        (lambda net, x: torch.where(x > 0.0, net.a(x), x), True),
        (lambda net, x: torch.where(x > 0.0, net.a(x), net.b(x)), False),
        (lambda net, x: net.a(x).view_as(x) + net.b(x), False),
        (lambda net, x: net.a(x) + net.b(net.c(torch.ones_like(x))), False),
        (mask_by_input, False),
        (fill, True),
        (without_gradients, True),
        (under_autocast, True),
        (parts_in_place, False),
    ],
    ids=[
        "two branches of equal depth", "concatenated branches of equal depth", "gate of equal depth",
        "a constant added", "branches of unequal depth", "difference", "product with the input",
        "mix with the input", "concatenation with the input", "hstack with the input",
        "concatenate with the input", "skip inside", "sum in place", "attention without a skip",
        "attention beside a branch of its depth", "attention with a skip", "addmm with a skip",
        "scaled addmm with a skip", "addmm of equal depth", "addmm", "baddbmm with a skip", "addcmul with a skip",
        "addcmul", "bias from the input", "einsum", "einsum with a skip", "maximum with the input",
        "choice of the input", "choice", "shape of the input", "ones of the input's shape",
        "mask and index of another depth", "parts filled in", "skip without gradients", "skip under autocast",
        "parts in place",
    ],
)  # fmt: skip
def test_a_skip_is_two_paths_of_different_depth_that_are_joined(join, expected):
    assert is_skipped(Made(join), 3, 4) is expected


def test_a_recurrent_layer_applies_weights():
    class Recurrent(nn.Module):
        def __init__(self, has_skip):
            super().__init__()
            self.rnn, self.has_skip = nn.GRU(4, 4), has_skip

        def forward(self, x):
            out = self.rnn(x, torch.zeros(1, 4))[0]
            return out + x if self.has_skip else out

    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "The tensor attributes .*_flat_weights", UserWarning
        )  # of any nn.RNNBase
        assert [is_skipped(Recurrent(has_skip), 3, 4) for has_skip in (True, False)] == [True, False]


class RepVGGBlock(nn.Module):
    """Ding et al. 2021: the sum of a 3 x 3 convolution, a 1 x 1 convolution and the identity; or the first alone."""

    def __init__(self, is_merged):
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(3))
        self.is_merged = is_merged

    def forward(self, x):
        if self.is_merged:
            return torch.relu(self.wide(x))
        branches = (self.wide(x), self.narrow(x), x)
        return torch.relu(sum(norm(branch) for norm, branch in zip(self.norms, branches, strict=True)))


@pytest.mark.parametrize("is_merged", [False, True])
def test_a_block_with_an_identity_branch_has_a_skip_until_it_is_merged(is_merged):
    model = nn.Sequential(RepVGGBlock(is_merged), RepVGGBlock(is_merged))
    assert is_skipped(model, 2, 3, 8, 8) is not is_merged


@pytest.mark.parametrize("has_skip", [False, True])
def test_a_batch_of_any_size_makes_no_difference(has_skip):
    # its size is a number in the graph, read off the input and used again at each depth
    made = Made(lambda net, x: net.c(net.a(x)).reshape(x.shape[0], -1) + (x if has_skip else net.a(net.b(x))))
    program = torch.export.export(
        made.eval(), (torch.zeros(3, 4),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    assert models.has_skip(program) is has_skip


def test_tokens_are_signals():
    class Embedded(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.linear = nn.Embedding(5, 4), nn.Linear(4, 4)

        def forward(self, tokens):
            x = self.embedding(tokens.flip(0))
            return x + self.linear(x)

    program = torch.export.export(Embedded().eval(), (torch.zeros(3, dtype=torch.int64),))
    assert models.has_skip(program)


SQUARE = torch.eye(4)
SKIPPED = {  # x + relu(product(x, weight)): whatever the product is, the sum is a skip-connection
    "product and sum": lambda x, w: (x[:, None] * w).sum(-1),
    "scaled and summed": lambda x, w: (x * w[0]).sum(-1, keepdim=True),
    "mean of a product": lambda x, w: torch.mean(x[:, :, None] * w, dim=1),
    "product, reshaped and summed": lambda x, w: (x[:, None] * w).reshape(len(x), 4, 4).sum(dim=2),
    "largest of sums": lambda x, w: (x[:, None] + w).amax(-1),
    "running sum of a product": lambda x, w: torch.cumsum(x * w[0], dim=1),
    "filter in the frequencies": lambda x, w: torch.fft.irfft(torch.fft.rfft(x) * w[0, :3], n=4),
    "solve": lambda x, w: torch.linalg.solve(SQUARE + w @ w.T, x.T).T,
    "distance": lambda x, w: torch.cdist(x, w),
    "bilinear": lambda x, w: torch.nn.functional.bilinear(x, x, w.expand(4, 4, 4)),
    "addr": lambda x, w: torch.stack([torch.addr(w, each, w[0])[0] for each in x]),
    "gru cell": lambda x, w: torch.gru_cell(x, torch.zeros(3, 4), w.repeat(3, 1), w.repeat(3, 1)),
    "lstm cell": lambda x, w: torch.lstm_cell(x, [x, torch.zeros(3, 4)], w.repeat(4, 1), w.repeat(4, 1), None, None)[0],
    "rnn cell": lambda x, w: torch.rnn_tanh_cell(x, x, w, w),
    "convolution over the units": lambda x, w: torch.nn.functional.conv1d(x[:, None], w[None, :1, :3], padding=1)[:, 0],
}  # fmt: skip


@pytest.mark.parametrize("name", SKIPPED)
def test_a_weight_is_a_weight_by_whatever_operation_it_is_applied(name):
    product = SKIPPED[name]
    skipped = Made(lambda net, x: x + torch.relu(product(x, net.a.weight)))
    assert is_skipped(skipped, 3, 4)
    assert not is_skipped(Made(lambda net, x: torch.relu(product(x, net.a.weight))), 3, 4)


def squeeze_and_excite(net, x):
    return x * torch.sigmoid(net.b(torch.relu(net.a(x.mean(dim=1, keepdim=True).expand(-1, 4)))))


@pytest.mark.parametrize(
    ("join", "expected"),
    [
        (lambda net, x: squeeze_and_excite(net, net.c(x)), False),
        (lambda net, x: x + squeeze_and_excite(net, net.c(x)), True),
        (lambda net, x: squeeze_and_excite(net, net.c(x)) + squeeze_and_excite(net, net.a(x)), False),
        (lambda net, x: net.a(x) * net.b.bias + net.c.bias, False),
        (lambda net, x: x * net.b.bias + net.c.bias + torch.relu(x), False),
        (lambda net, x: x + net.b.bias * net.a(x), True),
        (lambda net, x: (h := net.a(x)) + x * torch.sigmoid(h), True),
        (lambda net, x: (t := torch.sigmoid(h := net.a(x))) * h + (1 - t) * x, True),
        (lambda net, x: (h := net.a(net.c(x))) + x * torch.sigmoid(net.b(h)), True),
        (lambda net, x: (h := net.a(x)) + h * torch.sigmoid(net.b(h)), False),
        (lambda net, x: torch.cat([net.a(x), net.c(net.b(x))], dim=1), False),
        (lambda net, x: torch.cat([x.chunk(2, 1)[0], net.a(x).chunk(2, 1)[0]], dim=1), True),
        (lambda net, x: torch.cat([torch.relu(x), torch.relu(-x)], dim=1), False),
        (lambda net, x: torch.stack([x, net.a(x)]).sum(0), True),
        (lambda net, x: torch.cat([net.a.bias.expand(3, -1), x], dim=1), False),
        (lambda net, x: torch.gru_cell(x, x, net.a.weight.repeat(3, 1), net.b.weight.repeat(3, 1)), True),
        (lambda net, x: torch.nn.functional.layer_norm(x, (4,), net.a.bias, net.b.bias) + x, False),
    ],
    ids=[
        "gate", "gated residual", "gated branches of equal depth", "layer scale and embedding",
        "scaled round an activation", "layer scale in a residual",
        "a skip gated by its branch", "a highway gated by its branch", "a skip gated by a layer on its branch",
        "a gate of the branch alone", "concatenated after weights of their own",
        "passed on in halves", "concatenated activations", "stacked and summed", "a token in front",
        "state that a cell passes on", "round a norm",
    ],
)  # fmt: skip
def test_gates_scales_and_embeddings_are_no_skips_and_a_concatenation_is_one_where_it_passes_on(
    join, expected
):
    assert is_skipped(Made(join), 3, 4) is expected


class Branching(nn.Module):
    def __init__(self, has_skip):
        super().__init__()
        self.a, self.has_skip = nn.Linear(4, 4), has_skip

    def forward(self, x):
        y = torch.cond(x.sum() > 0.0, lambda x: x + self.a(x), lambda x: self.a(x), (x,))
        return y + x if self.has_skip else y


def test_branches_that_cannot_be_looked_into_are_refused_where_no_other_skip_is_found():
    program = torch.export.export(Branching(has_skip=False), (torch.zeros(3, 4),))
    with pytest.raises(ValueError, match="has_skip cannot look into cond"):
        models.has_skip(program)


def test_a_network_that_was_not_exported_is_refused_with_the_call_that_does_it():
    with pytest.raises(
        TypeError, match=r"reads an exported program, got Linear: give it torch\.export\.export"
    ):
        models.has_skip(nn.Linear(4, 4))
