"""What a pass costs, against values counted by hand, and that measuring leaves the network alone."""

import dataclasses

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.flop_counter import FlopCounterMode

from tests.state import Map, fail, state_of
from van_tutorial import diagnostics, models

FLOAT = 4  # bytes


def cost_of(model, inputs, **options):
    options = {"seconds_per_model": 0.0, **options}
    return diagnostics.costs({"it": model}, inputs, **options).iloc[0]


def peak_of(function, inputs):
    return cost_of(Map(function), inputs)["peak_activation_bytes"]


class Block(nn.Module):
    """relu(W_2 relu(W_1 x)), with x added to it or not."""

    def __init__(self, has_skip, width=6):
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.has_skip = has_skip

    def forward(self, x):
        h = torch.relu(self.second(torch.relu(self.first(x))))
        return h + x if self.has_skip else h


def test_a_small_mlp_costs_what_it_does_by_hand():
    found = cost_of(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.zeros(3, 4))
    assert found["parameters"] == 4 * 8 + 8 + 8 * 2 + 2
    assert found["layers"] == 2
    assert found["multiply_adds"] == 4 * 8 + 8 * 2
    assert found["peak_activation_bytes"] == 3 * (8 + 8) * FLOAT  # before and after the activation


def test_a_strided_and_padded_convolution_costs_what_it_does_by_hand():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),  # (9 + 2 - 3) // 2 + 1 = 5
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 4, 3, groups=2),  # 3 x 3
        nn.Flatten(),
        nn.Linear(4 * 3 * 3, 5),
    )
    found = cost_of(net, torch.zeros(2, 3, 9, 9))
    assert found["parameters"] == 3 * 8 * 9 + 4 * 4 * 9 + 4 + 36 * 5 + 5
    assert found["layers"] == 3
    assert found["multiply_adds"] == 25 * 3 * 9 * 8 + 9 * 4 * 9 * 4 + 36 * 5
    assert (
        found["peak_activation_bytes"] == 2 * (3 * 81 + 8 * 25) * FLOAT
    )  # the first convolution's two sides


def test_a_skip_adds_its_input_to_the_peak():
    inputs = torch.zeros(5, 6)
    plain, residual = cost_of(Block(has_skip=False), inputs), cost_of(Block(has_skip=True), inputs)
    assert plain["peak_activation_bytes"] == 2 * inputs.nbytes
    assert residual["peak_activation_bytes"] == 3 * inputs.nbytes
    assert plain.drop("peak_activation_bytes").equals(residual.drop("peak_activation_bytes"))


def test_a_collapsed_network_needs_two_layers_at_a_time_and_one_with_skips_more():
    van = models.mlp(depth=20, width=32, in_features=32, skip_weight=0.0, seed=0)
    inputs = torch.zeros(7, 32)
    table = diagnostics.costs({"before": van, "after": models.collapse(van)}, inputs, seconds_per_model=0.0)
    before, after = (row for _, row in table.iterrows())
    assert after["peak_activation_bytes"] == 2 * inputs.nbytes
    assert before["peak_activation_bytes"] >= 3 * inputs.nbytes
    assert before["parameters"] - after["parameters"] == 20
    assert before["layers"] == after["layers"] == 22
    assert before["multiply_adds"] == after["multiply_adds"] == 21 * 32 * 32 + 32 * 10


@pytest.mark.parametrize(
    ("function", "num_inputs_at_once"),
    [
        (lambda x: x, 1),
        (lambda x: x.view(-1)[:4].unsqueeze(0), 1),
        (lambda x: x.add_(1.0).relu_().mul_(2.0), 1),
        (lambda x: x.expand(8, *x.shape).sum(0), 2),
        (lambda x: torch.cat([x, x]), 3),
        (lambda x: x.relu().relu().relu().relu(), 2),
        (lambda x: x.relu() + x.tanh(), 3),
        (lambda x: [x.relu(), x.tanh(), x.exp()], 4),
        (lambda x: {"early": x.relu(), "late": x.tanh().exp().sin()}, 3),
        (lambda x: dataclasses.make_dataclass("Outputs", ["early", "late"])(x.relu(), x.tanh().exp()), 3),
        (lambda x: (torch.zeros(100, 100) + 1.0).sum() + x, 2),
    ],
    ids=[
        "nothing", "views", "in place", "expanded", "concatenation", "a chain", "two branches", "a list of outputs",
        "an early output is kept", "an output in a class of its own", "constants",
    ],
)  # fmt: skip
def test_the_peak_counts_each_storage_while_it_is_needed(function, num_inputs_at_once):
    inputs = torch.zeros(2, 10)
    assert peak_of(function, inputs) == num_inputs_at_once * inputs.nbytes


def test_a_module_that_is_called_twice_counts_its_parameters_once_and_its_work_twice():
    shared = nn.Linear(5, 5)
    found = cost_of(nn.Sequential(shared, nn.ReLU(), shared), torch.zeros(2, 5))
    assert (found["parameters"], found["layers"], found["multiply_adds"]) == (30, 2, 50)


def test_what_is_computed_from_weights_alone_is_no_layer_and_no_activation():
    class LowRank(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Parameter(torch.ones(50, 2)), nn.Parameter(torch.ones(2, 50))

        def forward(self, x):
            return x @ (self.left @ self.right)

    inputs = torch.zeros(4, 50)
    found = cost_of(LowRank(), inputs)
    assert (found["layers"], found["peak_activation_bytes"]) == (1, 2 * inputs.nbytes)
    assert found["multiply_adds"] == 50 * 50


def test_a_product_of_two_signals_is_no_layer():
    net = nn.Sequential(nn.Linear(6, 6), Map(lambda h: (h @ h.T) @ h))
    found = cost_of(net, torch.zeros(3, 6))
    assert (found["layers"], found["multiply_adds"]) == (1, 36 + 2 * 3 * 6)


def test_a_signal_kept_in_a_buffer_takes_no_memory():
    class Cached(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("cache", torch.zeros(2, 1000))

        def forward(self, x):
            self.cache[:, :10] = x
            return self.cache[:, :10] * 2.0

    net, inputs = Cached(), torch.ones(2, 10)
    assert cost_of(net, inputs)["peak_activation_bytes"] == inputs.nbytes
    assert not net.cache.any()


@pytest.mark.parametrize(
    ("name", "parameters", "layers", "multiply_adds"),
    [("resnet18", 11_689_512, 21, 1_814_073_344), ("mobilenet_v2", 3_504_872, 53, 300_774_272)],
)
def test_published_architectures_cost_what_is_published(name, parameters, layers, multiply_adds):
    model, inputs = torchvision.models.get_model(name, weights=None), torch.zeros(1, 3, 224, 224)
    found = cost_of(model, inputs)
    with FlopCounterMode(display=False) as counter:
        model(inputs)
    assert found["multiply_adds"] == counter.get_total_flops() / 2
    assert found[["parameters", "layers", "multiply_adds"]].tolist() == [parameters, layers, multiply_adds]
    published = torchvision.models.get_model_weights(name).DEFAULT.meta
    assert found["parameters"] == published["num_params"]
    assert found["multiply_adds"] / 1e9 == pytest.approx(published["_ops"], abs=1e-3)


class Restless(nn.Module):
    """Changes its buffers in eval mode too, draws random numbers, and works on its input in place."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(3, 5))

    def forward(self, x):
        self.calls += 1
        self.last = x.clone()
        return {"noisy": x.add_(torch.randn_like(x)), "nothing": None}


MODULES = {
    "residual": lambda: torchvision.models.resnet18(weights=None, num_classes=2),
    "restless": lambda: nn.Sequential(nn.Linear(5, 5), nn.Dropout(), nn.BatchNorm1d(5), Restless()),
    "spectral": lambda: parametrizations.spectral_norm(nn.Linear(5, 8)),
    "recurrent": lambda: nn.LSTM(5, 4),
}


@pytest.mark.parametrize("seconds", [0.0, 1e-3])
@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("is_training", [True, False])
def test_the_network_and_the_inputs_are_left_as_they_were(name, is_training, seconds):
    model = MODULES[name]().train(is_training)
    next(model.modules()).training = not is_training  # modes need not be all alike
    inputs = torch.ones(3, 5) if name != "residual" else torch.ones(2, 3, 32, 32)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = state_of(model)
    found = cost_of(model, inputs, seconds_per_model=seconds)
    assert state_of(model) == before
    assert (inputs == 1.0).all()
    assert (found["milliseconds"] > 0.0) == (seconds > 0.0)


def test_the_network_is_put_back_after_an_error():
    model = nn.Sequential(nn.Linear(5, 5), Restless(), nn.Linear(5, 5))
    model[0].register_forward_pre_hook(fail)
    before = state_of(model)
    with pytest.raises(RuntimeError, match="out of luck"):
        cost_of(model, torch.zeros(3, 5))
    assert state_of(model) == before


def test_inference_mode_changes_nothing():
    with torch.inference_mode():
        made_inside, inputs = Block(has_skip=True), torch.zeros(5, 6)
        found = cost_of(made_inside, inputs)
    assert found.equals(cost_of(Block(has_skip=True), torch.zeros(5, 6)))
    assert cost_of(made_inside, inputs).equals(found)


def test_there_is_a_row_for_each_network_in_their_order():
    nets = {"wide": nn.Linear(4, 9), "narrow": nn.Linear(4, 1)}
    table = diagnostics.costs(nets, torch.zeros(2, 4), seconds_per_model=1e-3)
    assert table["model"].tolist() == ["wide", "narrow"]
    assert list(table.columns) == [
        "model", "parameters", "layers", "multiply_adds", "peak_activation_bytes", "milliseconds",
    ]  # fmt: skip
    assert table["multiply_adds"].tolist() == [36, 4]
    assert (table["milliseconds"] > 0.0).all()


@pytest.mark.parametrize(
    ("nets", "inputs", "options", "message"),
    [
        ({}, torch.zeros(2, 4), {}, "at least one network"),
        ({"it": nn.Linear(4, 4)}, torch.zeros(0, 4), {}, "inputs must"),
        ({"it": nn.LazyLinear(4)}, torch.zeros(2, 4), {}, "lazy modules"),
        (
            {"it": nn.Linear(4, 4)},
            torch.zeros(2, 4),
            {"seconds_per_model": -1.0},
            "seconds_per_model must be",
        ),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(nets, inputs, options, message):
    with pytest.raises(ValueError, match=message):
        diagnostics.costs(nets, inputs, **options)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device on this machine")
def test_a_gpu_counts_as_the_cpu_does():
    model, inputs = torchvision.models.resnet18(weights=None), torch.zeros(2, 3, 64, 64)
    on_cpu = cost_of(model, inputs)
    on_gpu = cost_of(model.cuda(), inputs.cuda(), seconds_per_model=0.01)
    assert on_gpu.drop("milliseconds").equals(on_cpu.drop("milliseconds"))
    assert on_gpu["milliseconds"] > 0.0


def attention_by_hand(num_tokens, width):
    """Multiply-adds of one example: four projections, and two products of all pairs of tokens."""
    return num_tokens * 4 * width * width + 2 * num_tokens * num_tokens * width


def test_attention_that_torch_runs_as_one_piece_is_counted_operation_by_operation():
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    found = cost_of(Map(lambda x: attention(x, x, x, need_weights=False)[0]), torch.randn(3, 5, 8))
    assert found["multiply_adds"] == attention_by_hand(5, 8)
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0), 2, enable_nested_tensor=False
    )
    found = cost_of(encoder, torch.randn(3, 5, 8))
    assert found["layers"] == 2 * 4
    assert found["multiply_adds"] == 2 * (attention_by_hand(5, 8) + 5 * 2 * 8 * 16)
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_recurrent_layer_is_counted_step_by_step():
    found = cost_of(Map(nn.LSTM(4, 3, batch_first=True)), torch.randn(2, 5, 4))
    # The input's part for all steps at once, and the state's part of each step but the first, whose state is constant.
    assert found["layers"] == 1 + 4
    assert found["multiply_adds"] == 5 * 4 * 4 * 3 + 4 * 4 * 3 * 3


def test_multiply_adds_are_nan_where_a_product_has_no_formula():
    bilinear = nn.Bilinear(4, 4, 3)
    found = cost_of(Map(lambda x: bilinear(x, x)), torch.randn(2, 4))
    assert found["layers"] == 1
    assert found[["multiply_adds"]].isna().all()
