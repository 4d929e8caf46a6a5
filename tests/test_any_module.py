"""Diagnostics on modules that people bring along: whatever they are made of, they are measured right and left alone."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel
from torchvision.models import mobilenet_v2

from tests.state import Map, state_of
from van_tutorial import diagnostics, models


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
    assert norms["dead_fraction"].notna().sum() > 30


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


@pytest.mark.parametrize("name", ["loss", "skip_weight", "layer"])
def test_a_measure_may_not_take_a_columns_name(name):
    with pytest.raises(ValueError, match=f"cannot be named {name}"):
        diagnostics.Recorder(every=1, **{name: lambda network: 0.0})


# What stands in something else.


class TwoLayers(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 5))

    def forward(self, x):
        return self.net(x)


class WithView(TwoLayers):
    """Lists its layers a second time."""

    @property
    def layers(self):
        return nn.ModuleList([self.net[0], self.net[2]])


class WithStrangers(TwoLayers):
    """Lists layers that it does not hold."""

    @property
    def layers(self):
        return nn.ModuleList([nn.Sequential(self.net[0], self.net[1]), self.net[2]])


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def in_place(model):
    model.compile(backend="eager")
    return model


def layer_compiled(model):
    model.net[2] = torch.compile(model.net[2], backend="eager")
    return model


WRAPPERS = {
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "compiled in place": in_place,
    "a layer compiled": layer_compiled,
    "DataParallel": nn.DataParallel,
    "AveragedModel": AveragedModel,
    "Sequential": lambda model: nn.Sequential(
        nn.Identity(), nn.Sequential(nn.Flatten(), model), nn.Dropout(0.0)
    ),
    "one in another": lambda model: nn.DataParallel(nn.Sequential(torch.compile(model, backend="eager"))),
}


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # which torch.compile looks up itself
@pytest.mark.parametrize("was_called", [False, True])
@pytest.mark.parametrize("name", WRAPPERS)
@pytest.mark.parametrize("kind", [TwoLayers, WithView])
def test_a_wrapped_network_has_the_norms_of_the_bare_one(kind, name, was_called, batch):
    expected = diagnostics.layer_norms(seeded(TwoLayers), *batch)
    wrapped = WRAPPERS[name](seeded(kind))
    if was_called:
        wrapped(batch[0])
    before = state_of(wrapped)
    found = diagnostics.layer_norms(wrapped, *batch)
    assert state_of(wrapped) == before
    assert found["name"].str.endswith(("net.0", "net.2")).all()
    assert name == "Sequential" or found["name"].tolist() == expected["name"].tolist()
    for column in expected.columns.drop("name"):
        assert found[column].tolist() == pytest.approx(expected[column].tolist(), rel=1e-5, nan_ok=True)
    assert (expected[["weight_norm", "weight_grad_norm"]] > 0.0).all(axis=None)
    nn.functional.cross_entropy(wrapped(batch[0]), batch[1]).backward()
    latest = diagnostics.latest_weight_grad_norms(wrapped)
    assert latest.tolist() == pytest.approx(expected["weight_grad_norm"].tolist(), rel=1e-5)
    torch.compiler.reset()


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapped_network_in_training_has_the_gradients_of_the_bare_one(name, batch):
    def make():
        model = seeded(TwoLayers)
        model.net[1] = nn.BatchNorm1d(7)
        return model

    for statistics in ("exact", "constant"):
        expected = diagnostics.input_gradients(make(), batch[0], output=2, statistics=statistics)
        found = diagnostics.input_gradients(WRAPPERS[name](make()), batch[0], output=2, statistics=statistics)
        torch.testing.assert_close(found, expected)
    several = [WRAPPERS[name](make()) for _ in range(2)]
    torch.testing.assert_close(
        diagnostics.input_gradients_of_all(several, batch[0], output=2), torch.stack([expected, expected])
    )
    torch.compiler.reset()


def test_layers_that_the_network_does_not_hold_are_refused(batch):
    with pytest.raises(ValueError, match="`layers` must be modules of its own, but number 0 is held by none"):
        diagnostics.layer_norms(seeded(WithStrangers), *batch)


# Complex, sparse and packed numbers.


class ComplexNet(nn.Module):
    """Two complex maps; the sizes of the second one's outputs are the logits."""

    def __init__(self, is_real):
        super().__init__()
        self.first, self.last = (nn.Linear(5, 5, dtype=torch.complex128) for _ in range(2))
        self.is_real = is_real

    def forward(self, x):
        z = self.last(self.first(x.to(torch.complex128)))
        return z.abs() if self.is_real else z


def test_norms_of_complex_numbers_are_those_of_their_real_and_imaginary_parts(batch):
    model, x, y = seeded(lambda: ComplexNet(is_real=True)), batch[0].double(), batch[1]
    found = diagnostics.layer_norms(model, x, y)
    hidden = model.first(x.to(torch.complex128))
    outputs = model.last(hidden)
    nn.functional.cross_entropy(outputs.abs(), y).backward()
    for row, layer, values in zip(
        found.itertuples(), (model.first, model.last), (hidden, outputs), strict=True
    ):
        parts, grads = torch.view_as_real(layer.weight.detach()), torch.view_as_real(layer.weight.grad)
        assert row.weight_norm == pytest.approx(parts.norm().item())
        assert row.weight_grad_norm == pytest.approx(grads.norm().item())
        sizes = torch.view_as_real(values.detach()).flatten(1).norm(dim=1)
        assert row.activation_norm == pytest.approx(sizes.mean().item())
    assert diagnostics.latest_weight_grad_norms(model).tolist() == pytest.approx(
        found["weight_grad_norm"].tolist()
    )


@pytest.mark.parametrize("has_batch_norm", [False, True])
def test_the_jacobian_of_a_complex_output_is_complex(batch, has_batch_norm):
    model, x = seeded(lambda: ComplexNet(is_real=False)), batch[0].double()
    matrix = (model.last.weight @ model.first.weight).detach()
    if has_batch_norm:
        norm = nn.BatchNorm1d(5, affine=False, eps=1e-9).double()
        model = nn.Sequential(norm, model)
        deviation = x.std(dim=0, correction=0)
        expected = (matrix / deviation).expand(6, -1, -1)
        found = diagnostics.input_jacobians(model, x, statistics="constant")
        torch.testing.assert_close(found, expected)
        exact = diagnostics.input_jacobians(model, x)
        whole = torch.autograd.functional.jacobian(lambda x: torch.view_as_real(model(x)), x)
        expected = torch.view_as_complex(
            torch.stack([whole[i, :, :, i] for i in range(6)]).movedim(2, 3).contiguous()
        )
        torch.testing.assert_close(exact, expected)
        return
    torch.testing.assert_close(diagnostics.input_jacobians(model, x), matrix.expand(6, -1, -1))
    torch.testing.assert_close(diagnostics.input_gradients(model, x, output=3), matrix[3].expand(6, -1))
    torch.testing.assert_close(
        diagnostics.input_gradients_of_all([model, model], x, output=3), matrix[3].expand(2, 6, -1)
    )
    values = torch.linalg.svdvals(matrix)
    torch.testing.assert_close(diagnostics.jacobian_singular_values(model, x), values.expand(6, -1))
    assert diagnostics.conditioning(model, x)["condition"].tolist() == pytest.approx(
        [(values[0] / values[-1]).item()] * 6
    )


def test_complex_gradients_are_correlated_as_pairs_of_real_numbers():
    gradients = torch.randn(8, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pairs = torch.view_as_complex(gradients)
    for correlate in (diagnostics.correlation_matrix, lambda g: diagnostics.gradient_autocorrelation(g, 3)):
        torch.testing.assert_close(correlate(pairs), correlate(gradients))
    matrix = diagnostics.gradient_correlation(
        seeded(lambda: ComplexNet(is_real=False)), gradients[:, :1].expand(-1, 5, 2)[..., 0], 0
    )
    torch.testing.assert_close(matrix, torch.ones(8, 8, dtype=torch.float64))


class Words(nn.Module):
    def __init__(self, kind, is_sparse):
        super().__init__()
        self.words, self.head = kind(9, 4, sparse=is_sparse), nn.Linear(4, 5)

    def forward(self, tokens):
        vectors = self.words(tokens)
        return self.head(vectors if vectors.dim() == 2 else vectors.sum(dim=1))


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_sparse_gradients_have_the_norms_of_dense_ones(kind, batch):
    tokens = torch.tensor([[0, 1, 1], [2, 2, 2], [8, 0, 1], [3, 3, 4], [5, 5, 5], [7, 0, 0]])
    dense, sparse = (seeded(lambda s=s: Words(kind, s)) for s in (False, True))
    expected = diagnostics.layer_norms(dense, tokens, batch[1])
    found = diagnostics.layer_norms(sparse, tokens, batch[1])
    for column in expected.columns.drop("name"):
        assert found[column].tolist() == pytest.approx(expected[column].tolist(), rel=1e-5, nan_ok=True)
    nn.functional.cross_entropy(sparse(tokens), batch[1]).backward()
    assert sparse.words.weight.grad.is_sparse
    latest = diagnostics.latest_weight_grad_norms(sparse)
    assert latest.tolist() == pytest.approx(expected["weight_grad_norm"].tolist(), rel=1e-5)
    nothing = torch.sparse_coo_tensor(
        torch.zeros(1, 0, dtype=torch.int64), torch.zeros(0, 4), (9, 4), check_invariants=True
    )
    sparse.words.weight.grad = nothing
    assert diagnostics.latest_weight_grad_norms(sparse)[0] == 0.0


def test_sparse_gradients_and_outputs_are_taken_with_their_zeros(batch):
    gradients = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    torch.testing.assert_close(
        diagnostics.correlation_matrix(gradients.to_sparse()), diagnostics.correlation_matrix(gradients)
    )

    class Sparse(nn.Linear):
        def forward(self, x):
            return super().forward(x).to_sparse()

    model = seeded(lambda: Sparse(5, 5))
    expected = model.weight.detach().expand(6, -1, -1)
    torch.testing.assert_close(diagnostics.input_jacobians(model, batch[0]), expected)
    row = diagnostics.layer_norms(model, *batch, loss=lambda y, labels: y.to_dense().square().mean()).iloc[0]
    sizes = nn.functional.linear(batch[0], model.weight, model.bias).norm(dim=1)
    assert row["activation_norm"] == pytest.approx(sizes.mean().item(), rel=1e-5)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor", "ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), "tensor that is torch.qint8"),
        (lambda x: torch.nested.nested_tensor(list(x)), "tensor that is nested"),
    ],
)
def test_packed_outputs_are_refused_in_one_sentence(function, message, batch):
    with pytest.raises(ValueError, match=message):
        diagnostics.input_gradients(Map(function), batch[0], output=0)


@pytest.mark.parametrize(
    "inputs", [torch.ones(2, 5) * 1j, torch.ones(2, 5).to_sparse()], ids=["complex", "sparse"]
)
def test_inputs_that_are_not_real_and_dense_are_not_differentiated_by(inputs):
    with pytest.raises(ValueError, match="inputs must be floating point numbers, real and dense"):
        diagnostics.input_gradients(nn.Linear(5, 1), inputs)


def test_complex_outputs_and_losses_are_refused_where_real_ones_are_needed(batch):
    model, x = seeded(lambda: ComplexNet(is_real=False)), batch[0].double()
    with pytest.raises(ValueError, match=r"real numbers for the cross entropy, got torch\.complex128"):
        diagnostics.layer_norms(model, x, batch[1])
    with pytest.raises(ValueError, match=r"one real number, .* got torch\.complex128"):
        diagnostics.layer_norms(model, x, batch[1], loss=lambda z, labels: z.sum())
    with pytest.raises(ValueError, match=r"gradients must be floating point, got torch\.int64"):
        diagnostics.correlation_matrix(torch.ones(3, 2, dtype=torch.int64))


def test_a_layer_without_a_weight_of_its_own_has_no_norm(batch):
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("weight", torch.ones(5, 5))

        def forward(self, x):
            return x @ self.weight

    norms = diagnostics.layer_norms(nn.Sequential(Fixed(), nn.Linear(5, 5)), *batch)
    assert norms["name"].tolist() == ["0", "1"]
    assert norms[["weight_norm", "weight_grad_norm", "weight_grad_ratio"]].iloc[0].isna().all()
    assert (norms["weight_grad_norm"].iloc[1:] > 0.0).all()


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_scripted_network_is_measured_where_nothing_in_it_has_to_be_put_back():
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    x = torch.linspace(-1.0, 1.0, 12).reshape(4, 3)
    expected = diagnostics.input_gradients(network, x)
    torch.testing.assert_close(diagnostics.input_gradients(torch.jit.script(network), x), expected)
    costs = diagnostics.costs({"scripted": torch.jit.script(network)}, x, seconds_per_model=0.0)
    assert costs["parameters"].tolist() == [21]


class Weighted(nn.Module):
    """A network with a skip weight that TorchScript can read."""

    def __init__(self):
        super().__init__()
        self.skip_weight = nn.Parameter(torch.tensor([0.5]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x) + self.skip_weight * x


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(
    "measure",
    [
        lambda x: diagnostics.input_gradients(torch.jit.script(nn.BatchNorm1d(3)), x, output=0),
        lambda x: diagnostics.costs({"norm": torch.jit.script(nn.BatchNorm1d(3))}, x, seconds_per_model=0.0),
        lambda x: diagnostics.shortcut_prices(
            torch.jit.script(Weighted()), x, torch.zeros(4, dtype=torch.int64)
        ),
    ],
    ids=["input_gradients", "costs", "shortcut_prices"],
)
def test_a_scripted_network_whose_tensors_would_be_exchanged_is_refused(measure):
    with pytest.raises(
        ValueError, match="A scripted network's tensors cannot be exchanged: give the network"
    ):
        measure(torch.linspace(-1.0, 1.0, 12).reshape(4, 3))
