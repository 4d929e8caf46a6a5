"""Singular values of Jacobians against matrices put together by hand, orthogonal networks and mean-field theory."""

import math

import pytest
import torch
from torch import nn

from van_tutorial import diagnostics, models

pytestmark = pytest.mark.usefixtures("seeded")


def test_singular_values_are_those_of_the_jacobian_put_together_by_hand():
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    inputs = torch.randn(4, 5, dtype=torch.float64)
    gates = (model[0](inputs) > 0).double()
    assert 0 < gates.sum() < gates.numel()
    jacobians = torch.stack([model[2].weight @ gate.diag() @ model[0].weight for gate in gates]).detach()
    expected = torch.linalg.svdvals(jacobians)
    found = diagnostics.jacobian_singular_values(model, inputs)
    assert found.shape == (4, 3)
    torch.testing.assert_close(found, expected)
    table = diagnostics.conditioning(model, inputs)
    assert table.columns.tolist() == ["input", "largest", "smallest", "condition", "mean_square"]
    assert table["input"].tolist() == [0, 1, 2, 3]
    assert table["largest"].tolist() == pytest.approx(expected[:, 0].tolist())
    assert table["smallest"].tolist() == pytest.approx(expected[:, 2].tolist())
    assert table["condition"].tolist() == pytest.approx((expected[:, 0] / expected[:, 2]).tolist())
    frobenius = jacobians.square().sum(dim=(1, 2)) / 3
    assert table["mean_square"].tolist() == pytest.approx(frobenius.tolist())


@pytest.mark.parametrize("statistics", ["exact", "constant"])
def test_statistics_of_the_batch_are_differentiated_as_asked(statistics):
    model = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)).double()
    inputs = torch.randn(7, 5, dtype=torch.float64)
    hidden = model[0](inputs)
    deviation = (hidden.var(dim=0, correction=0) + 1e-5).sqrt()
    normed = (hidden - hidden.mean(dim=0)) / deviation
    # dy/dx of batch normalization: (1 - 1/N) on its own, less z z' / N through the variance.
    through = torch.eye(6, dtype=torch.float64).expand(7, 6, 6)
    if statistics == "exact":
        through = torch.stack([torch.diag(1.0 - 1.0 / 7 - z.square() / 7) for z in normed])
    jacobians = model[2].weight @ through @ (model[0].weight / deviation.unsqueeze(1))
    found = diagnostics.jacobian_singular_values(model, inputs, statistics)
    torch.testing.assert_close(found, torch.linalg.svdvals(jacobians.detach()))


def test_images_count_as_many_directions_as_they_have_pixels(few_images):
    model = models.mlp(depth=2, width=12, connection="plain", seed=0).eval()
    found = diagnostics.jacobian_singular_values(model, few_images.test_images[:3])
    assert found.shape == (3, 10)
    assert bool((found.diff(dim=1) <= 0).all())


def test_a_network_of_one_input_has_one_singular_value_the_size_of_its_gradient():
    network = models.scalar_network("plain, centred", depth=4, seed=0)
    inputs = torch.linspace(-2.0, 2.0, 20).unsqueeze(1)
    found = diagnostics.jacobian_singular_values(network, inputs, "constant")
    gradients = diagnostics.input_gradients(network, inputs, statistics="constant")
    torch.testing.assert_close(found, gradients.abs())


def test_inputs_that_are_single_numbers_have_one_singular_value():
    class Square(nn.Module):
        def forward(self, x):
            return x.square()

    found = diagnostics.jacobian_singular_values(Square(), torch.tensor([1.0, -3.0]))
    assert found.tolist() == [[2.0], [6.0]]


@pytest.mark.parametrize("depth", [3, 30])
def test_a_looks_linear_network_passes_all_directions_alike_at_any_depth(depth):
    model = models.mlp(
        depth=depth,
        width=6,
        connection="plain",
        normalization="none",
        activation="crelu",
        init="looks-linear",
        in_features=6,
        num_classes=6,
        seed=0,
    )
    table = diagnostics.conditioning(model, torch.randn(5, 6))
    for column in ("largest", "smallest", "condition", "mean_square"):
        assert table[column].tolist() == pytest.approx([1.0] * 5, rel=1e-4)


def test_an_orthogonal_linear_stack_has_equal_singular_values_and_a_random_one_has_not():
    orthogonal = nn.Sequential(*(nn.Linear(8, 8) for _ in range(5)))
    for layer in orthogonal:
        nn.init.orthogonal_(layer.weight, gain=1.5)
    found = diagnostics.jacobian_singular_values(orthogonal, torch.randn(2, 8))
    torch.testing.assert_close(found, torch.full((2, 8), 1.5**5), rtol=1e-4, atol=0.0)
    random = nn.Sequential(*(nn.Linear(8, 8) for _ in range(5)))
    assert (diagnostics.conditioning(random, torch.randn(2, 8))["condition"] > 10.0).all()


def test_a_direction_that_is_lost_makes_the_condition_infinite():
    model = nn.Linear(2, 2)
    model.weight.data = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    row = diagnostics.conditioning(model, torch.zeros(1, 2)).iloc[0]
    assert row.tolist() == [0.0, 2.0, 0.0, math.inf, 2.0]


@pytest.mark.parametrize("is_learned", [True, False])
def test_an_output_that_ignores_the_input_has_values_0_and_no_condition(is_learned):
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.value = nn.Parameter(torch.ones(3), requires_grad=is_learned)

        def forward(self, x):
            return self.value.expand(len(x), 3)

    table = diagnostics.conditioning(Constant(), torch.ones(2, 4))
    assert len(table) == 2
    assert table[["largest", "smallest", "mean_square"]].eq(0.0).all(axis=None)
    assert table["condition"].isna().all()


@pytest.mark.parametrize(("depth", "init_scale"), [(1, 1.0), (4, 1.0), (4, 0.7), (2, 1.4)])
def test_he_networks_have_the_mean_square_of_mean_field_theory(images, depth, init_scale):
    # A row of the head has squared length n * 2/n = 2. Going back, each hidden layer multiplies it by init_scale^2 on
    # average, and the input layer, with d weights of variance 2/d a unit and no rectifier, by 2. The ten rows make
    # ten singular values.
    expected = 4.0 * diagnostics.predicted_mean_square(depth, init_scale)
    found = []
    for seed in range(80):
        model = models.mlp(
            depth=depth,
            width=48,
            connection="plain",
            normalization="none",
            init_scale=init_scale,
            seed=seed,
        )
        found.append(diagnostics.conditioning(model, images.test_images[:4])["mean_square"].mean())
    found = torch.tensor(found)
    tolerance = 4.0 * found.std().item() / len(found) ** 0.5
    assert tolerance < 0.25 * expected
    assert found.mean().item() == pytest.approx(expected, abs=tolerance)


def test_a_skip_connection_keeps_a_deep_network_better_conditioned(images):
    conditions = []
    for connection in ("plain", "residual"):
        tables = [
            diagnostics.conditioning(
                models.mlp(depth=30, width=32, connection=connection, residual_scale=0.1, seed=seed),
                images.test_images[:8],
                "constant",
            )
            for seed in range(3)
        ]
        conditions.append([table["condition"].median() for table in tables])
    assert min(conditions[0]) > 3.0 * max(conditions[1])


def test_a_jacobian_that_is_not_finite_is_refused():
    class Root(nn.Module):
        def forward(self, x):
            return x.sqrt()

    with pytest.raises(ValueError, match="gradients must be finite"):
        diagnostics.jacobian_singular_values(Root(), torch.tensor([[0.0, 1.0]]))
    with pytest.raises(ValueError, match="gradients must be finite"):
        diagnostics.conditioning(Root(), torch.tensor([[0.0, 1.0]]))


def test_whole_numbers_have_no_conditioning():
    with pytest.raises(ValueError, match="inputs must be floating point"):
        diagnostics.conditioning(nn.Linear(2, 2), torch.zeros(1, 2, dtype=torch.int64))
