"""Diagnostics on modules that people bring along: whatever they are made of, they are measured right and left alone."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torchvision.models import mobilenet_v2

from tests.state import state_of
from van_tutorial import diagnostics, models, training


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 5, generator=generator), torch.tensor([0, 1, 2, 3, 4, 0])


class Squared(torch.autograd.Function):
    """An operation that torch.func cannot batch."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


class Custom(nn.Module):
    def forward(self, x):
        return Squared.apply(x)


class Counter(nn.Module):
    """Counts its calls in a buffer, in eval mode too."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return x


def twice():
    shared, norm = nn.Linear(5, 5), nn.BatchNorm1d(5)
    return nn.Sequential(shared, norm, nn.ReLU(), shared, norm)


def spectral():
    return nn.Sequential(parametrizations.spectral_norm(nn.Linear(5, 8)), nn.ReLU(), nn.Linear(8, 5))


MODULES = {
    "a module that stands in it twice": twice,
    "spectral normalization": spectral,
    "a counter": lambda: nn.Sequential(nn.Linear(5, 5), Counter()),
    "an operation that cannot be batched": lambda: nn.Sequential(nn.Linear(5, 5), Custom()),
    "frozen weights": lambda: nn.Sequential(
        nn.Linear(5, 5).requires_grad_(False), nn.ReLU(), nn.Linear(5, 5)
    ),
    "dropout": lambda: nn.Sequential(nn.Linear(5, 5), nn.Dropout(0.5)),
}
every_module = pytest.mark.parametrize("name", MODULES)


@every_module
@pytest.mark.parametrize("is_training", [True, False])
def test_every_diagnostic_leaves_it_as_it_was(name, is_training, batch):
    model = MODULES[name]().train(is_training)
    before = state_of(model)
    for statistics in ("exact", "constant"):
        diagnostics.input_gradients(model, batch[0], output=0, statistics=statistics)
        diagnostics.conditioning(model, batch[0], statistics=statistics)
    diagnostics.layer_norms(model, *batch)
    assert state_of(model) == before
    assert all(isinstance(p, nn.Parameter) for p in model.parameters())


@every_module
def test_its_jacobian_is_autograds(name, batch):
    model = MODULES[name]().double().eval()
    inputs = batch[0].double()
    whole = torch.autograd.functional.jacobian(model, inputs)
    expected = torch.stack([whole[i, :, i] for i in range(len(inputs))])
    torch.testing.assert_close(diagnostics.input_jacobians(model, inputs), expected)


def test_measured_in_inference_mode_gradients_are_not_0(batch):
    model = nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5))
    expected = diagnostics.input_gradients(model, batch[0], output=1)
    norms = diagnostics.layer_norms(model, *batch)
    with torch.inference_mode():
        assert torch.equal(diagnostics.input_gradients(model, batch[0].clone(), output=1), expected)
        assert diagnostics.layer_norms(model, batch[0].clone(), batch[1].clone()).equals(norms)


def test_networks_that_differ_in_a_setting_are_not_taken_for_copies_of_the_first():
    networks = [
        models.scalar_network("residual, batch norm, beta 1", 4, seed=0, width=8, residual_scale=scale)
        for scale in (1.0, 0.1)
    ]
    inputs = torch.linspace(-2.0, 2.0, 9).unsqueeze(1)
    one_by_one = [diagnostics.input_gradients(net, inputs, statistics="constant") for net in networks]
    assert not torch.allclose(*one_by_one)
    torch.testing.assert_close(diagnostics.input_gradients_of_all(networks, inputs), torch.stack(one_by_one))


@pytest.mark.parametrize("scale", [0.2, 5.0])
def test_norms_beyond_the_range_of_squares_are_still_numbers(few_images, scale):
    model = models.mlp(50, 32, "plain", normalization="none", init_scale=scale, seed=0)
    found = diagnostics.layer_norms(model, few_images.train_images[:8], few_images.train_labels[:8])
    in_double = diagnostics.layer_norms(
        model.double(), few_images.train_images[:8].double(), few_images.train_labels[:8]
    )
    ratio = found["activation_norm"] / in_double["activation_norm"]
    assert ((ratio - 1).abs() < 0.01).all()
    assert found["activation_norm"].iloc[-1] > 1e25 or found["activation_norm"].iloc[-1] < 1e-25


def test_relu6_counts_as_a_rectifier():
    model = mobilenet_v2(weights=None, num_classes=3).eval()
    norms = diagnostics.layer_norms(model, torch.randn(2, 3, 32, 32), torch.tensor([0, 1]))
    assert norms["dead_share"].notna().sum() > 30


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.LazyLinear(5)), "lazy modules without parameters"),
        (nn.LSTM(5, 5, batch_first=True), r"nothing to measure|must give a tensor"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(model, message, batch):
    with pytest.raises(ValueError, match=message):
        diagnostics.layer_norms(model, *batch)


def test_outputs_that_are_no_tensor_are_refused(batch):
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(5, 5)

        def forward(self, x):
            return self.linear(x), x

    with pytest.raises(ValueError, match="one row of outputs, for each of the 6 inputs, got tuple"):
        diagnostics.input_gradients(Pair(), batch[0], output=0)
    with pytest.raises(ValueError, match="must give a tensor, got tuple"):
        diagnostics.layer_norms(Pair(), *batch)


def test_bfloat16_is_measured_too(batch):
    model = nn.Linear(5, 3).bfloat16()
    assert diagnostics.conditioning(model, batch[0].bfloat16())["largest"].notna().all()


def test_a_checkpoint_from_before_initial_scales_were_named_is_taken_on(few_images, quick, tmp_path):
    def trainer():
        return training.Trainer(models.mlp(depth=2, width=8, seed=0), few_images, quick(num_epochs=1))

    trainer().save(tmp_path / "old.pt")
    state = torch.load(tmp_path / "old.pt", weights_only=True)
    for name in ("model.init_scale", "model.bias_std", "model.input_init"):
        del state["identity"][name]
    torch.save(state, tmp_path / "old.pt")
    trainer().load(tmp_path / "old.pt")


@pytest.mark.parametrize("name", ["loss", "skip_weight", "layer"])
def test_a_measure_may_not_take_a_columns_name(name):
    with pytest.raises(ValueError, match=f"cannot be named {name}"):
        diagnostics.Recorder(every=1, **{name: lambda network: 0.0})
