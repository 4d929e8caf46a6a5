"""Skip weights wherever a network holds them: found, phased out as in the bare network, or refused in a sentence."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, TensorDataset

from tests.state import state_of
from van_tutorial import constraints, diagnostics, ensemble, models, training


def small(**choices):
    return models.mlp(**{"depth": 3, "width": 8, "seed": 0, **choices})


class Holding(nn.Module):
    """A network that holds another one, under two names."""

    def __init__(self, inner):
        super().__init__()
        self.body = nn.ModuleDict({"network": inner})
        self.again = inner

    def forward(self, x):
        return self.body["network"](x)


WRAPPERS = {
    "DataParallel": nn.DataParallel,
    "Sequential": lambda model: nn.Sequential(nn.Flatten(), model),
    "AveragedModel": AveragedModel,
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "held under two names": Holding,
    "in one another": lambda model: nn.Sequential(nn.DataParallel(Holding(model)), nn.Identity()),
}


@pytest.fixture
def distributed(tmp_path):
    torch.distributed.init_process_group("gloo", f"file://{tmp_path / 'store'}", world_size=1, rank=0)
    yield nn.parallel.DistributedDataParallel
    torch.distributed.destroy_process_group()


def assert_trains_like_the_bare_network(wrap, images, config):
    bare = training.train(small(), images, config)
    wrapped = wrap(small())
    assert torch.equal(models.skip_weights(wrapped), models.skip_weights(small()))
    trainer = training.Trainer(wrapped, images, config)
    assert trainer.phase_out.skip_weight is models.find_skip_weight(wrapped)
    assert len(trainer.weights) == len(list(wrapped.parameters())) - 1
    for record in trainer:
        assert record.skip_weights.tolist() == models.skip_weights(wrapped).tolist()
    result = trainer.result()
    assert result.removed_at_step == bare.removed_at_step is not None
    assert result.first_zero_steps == bare.first_zero_steps
    assert result.history["num_skips"].tolist() == bare.history["num_skips"].tolist()
    assert result.history["loss"].tolist() == pytest.approx(bare.history["loss"].tolist(), rel=1e-4)
    assert models.skip_weights(wrapped).tolist() == [0.0] * 3


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapped_network_has_its_skips_phased_out_like_the_bare_one(few_images, quick, name):
    assert_trains_like_the_bare_network(WRAPPERS[name], few_images, quick(log_every=4))
    torch.compiler.reset()


def test_a_distributed_network_has_its_skips_phased_out_like_the_bare_one(few_images, quick, distributed):
    assert_trains_like_the_bare_network(distributed, few_images, quick(log_every=4))


@pytest.mark.parametrize("name", WRAPPERS)
def test_the_prices_of_shortcuts_are_those_of_the_bare_network(few_images, name):
    batch, model = (few_images.train_images[:32], few_images.train_labels[:32]), small()
    expected = diagnostics.shortcut_prices(model, *batch)["price"]
    found = diagnostics.shortcut_prices(WRAPPERS[name](copy.deepcopy(model)), *batch)["price"]
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-4)
    assert expected.abs().min() > 0.0
    torch.compiler.reset()


def test_a_checkpoint_of_a_wrapped_network_of_another_kind_is_refused(few_images, quick, tmp_path):
    training.Trainer(nn.DataParallel(small()), few_images, quick()).save(tmp_path / "run.pt")
    other = training.Trainer(nn.DataParallel(small(skip="additive")), few_images, quick())
    with pytest.raises(training.CheckpointError, match=r"model\.skip 'convex' there and 'additive' here"):
        other.load(tmp_path / "run.pt")


class Scaled(nn.Module):
    """A network of one's own whose skip weight is whatever is given."""

    def __init__(self, skip_weight, is_buffer=False):
        super().__init__()
        self.linear = nn.Linear(784, 10)
        if is_buffer:
            self.register_buffer("skip_weight", skip_weight)
        else:
            self.skip_weight = skip_weight

    def forward(self, x):
        x = x.flatten(1)
        return self.linear(x) + x[:, :10]


class Doubled(nn.Module):
    def forward(self, value):
        return 2.0 * value


def parametrized():
    model = Scaled(nn.Parameter(torch.full((3,), 0.2)))
    parametrize.register_parametrization(model, "skip_weight", Doubled())
    return model


def pruned():
    model = Scaled(nn.Parameter(torch.full((3,), 0.2)))
    prune.l1_unstructured(model, "skip_weight", 1)
    return model


class Computed(Scaled):
    """Holds the logarithms of its skip weights."""

    def __init__(self):
        super().__init__(None)
        del self.skip_weight
        self.logarithm = nn.Parameter(torch.zeros(3))

    @property
    def skip_weight(self):
        return self.logarithm.exp()

    @skip_weight.setter
    def skip_weight(self, value):
        pass

    @skip_weight.deleter
    def skip_weight(self):
        pass


NO_PARAMETER = r"must be a parameter of shape \(L,\) for its skips to be phased out, got"
REFUSED = {
    "a number": (lambda: Scaled(0.95), f"^skip_weight {NO_PARAMETER} float"),
    "a tensor": (lambda: Scaled(torch.ones(3)), f"^skip_weight {NO_PARAMETER} Tensor"),
    "a buffer": (lambda: Scaled(torch.ones(3), is_buffer=True), f"{NO_PARAMETER} Tensor"),
    "pruned": (pruned, f"{NO_PARAMETER} Tensor"),
    "parametrized": (parametrized, f"{NO_PARAMETER} a parametrized tensor"),
    "computed": (Computed, f"{NO_PARAMETER} Tensor"),
    "a scalar": (lambda: Scaled(nn.Parameter(torch.tensor(0.5))), r"one number for each layer .* shape \(\)"),
    "a matrix": (
        lambda: Scaled(nn.Parameter(torch.ones(3, 1))),
        r"one number for each layer .* shape \(3, 1\)",
    ),
    "empty": (lambda: Scaled(nn.Parameter(torch.ones(0))), r"one number for each layer .* shape \(0,\)"),
    "complex": (lambda: Scaled(nn.Parameter(torch.ones(3) * 1j)), "floating-point .* got torch.complex64"),
    "integers": (
        lambda: Scaled(nn.Parameter(torch.ones(3, dtype=torch.int64), requires_grad=False)),
        "floating-point parameter .* got torch.int64",
    ),
    "two": (
        lambda: nn.Sequential(Scaled(nn.Parameter(torch.ones(2))), Scaled(nn.Parameter(torch.ones(2)))),
        "one parameter skip_weight for all its layers, got 0.skip_weight and 1.skip_weight",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_skip_weight_that_cannot_be_phased_out_is_refused_in_one_sentence(few_images, quick, name):
    make, message = REFUSED[name]
    model = make()
    with pytest.raises(ValueError, match=message):
        models.skip_weights(model)
    if name == "two":
        return  # two that do not fit one another
    with pytest.raises(ValueError, match=message):
        training.train(model, few_images, quick())
    with pytest.raises(ValueError, match=message.replace("^skip", "0.skip")):
        models.skip_weights(nn.Sequential(model))


def test_one_parameter_in_two_modules_is_one():
    alpha = nn.Parameter(torch.ones(2))
    assert models.find_skip_weight(nn.Sequential(Scaled(alpha), Scaled(alpha))) is alpha


@pytest.mark.parametrize("value", [None, True, nn.Linear(2, 2)], ids=["None", "a flag", "a module"])
def test_what_is_no_weight_is_none(value):
    assert models.find_skip_weight(Scaled(value)) is None
    assert models.skip_weights(Scaled(value)).tolist() == []


@pytest.mark.parametrize(
    ("value", "shown"), [(-0.2, "-0.2"), (1.25, "1.25"), (float("nan"), "nan"), (float("inf"), "inf")]
)
def test_skip_weights_outside_their_range_are_refused_before_they_are_clipped(
    few_images, quick, value, shown
):
    model = small()
    model.skip_weight.data[1] = value
    with pytest.raises(ValueError, match=rf"in \[0, 1\] to be phased out, got {shown} in layer 2"):
        training.Trainer(model, few_images, quick())


# Frozen skip weights.


@pytest.mark.parametrize(
    "choices",
    [{}, {"dual_lr": 1.0, "skip_lr": 0.5}, {"skip_schedule": "cut"}, {"skip_gradient": False}],
    ids=str,
)
def test_frozen_skip_weights_stay_where_they_are(few_images, quick, choices):
    model = small(skip_weight=0.7)
    model.skip_weight.requires_grad_(False)
    result = training.train(model, few_images, quick(**choices))
    assert model.skip_weight.tolist() == pytest.approx([0.7] * 3)
    assert (result.removed_at_step, result.removed_by, result.num_capped) == (None, None, 0)
    assert result.layers["skip_weight"].tolist() == pytest.approx([0.7] * 6)
    assert result.history["cap"].isna().all()


@pytest.mark.parametrize("choices", [{}, {"skip_schedule": "linear"}, {"skip_gradient": False}], ids=str)
def test_skip_weights_that_are_frozen_on_the_way_stay_where_they_are_then(few_images, quick, choices):
    model = small()
    trainer = training.Trainer(model, few_images, quick(log_every=4, stagger=0.0, **choices))
    records = iter(trainer)
    next(records)
    there, multipliers = models.skip_weights(model), trainer.phase_out.multipliers.values.clone()
    assert 0.0 < there.min() < 0.95
    model.skip_weight.requires_grad_(False)
    list(records)
    assert torch.equal(models.skip_weights(model), there)
    assert torch.equal(trainer.phase_out.multipliers.values, multipliers)
    assert trainer.result().removed_at_step is None


def test_a_checkpoint_of_a_run_with_frozen_skip_weights_is_for_such_a_run(few_images, quick, tmp_path):
    model = small()
    model.skip_weight.requires_grad_(False)
    frozen = training.Trainer(model, few_images, quick())
    frozen.save(tmp_path / "run.pt")
    frozen.load(tmp_path / "run.pt")
    with pytest.raises(training.CheckpointError, match="skip weights 'frozen' there and None here"):
        training.Trainer(small(), few_images, quick()).load(tmp_path / "run.pt")


# What a run is given.


def test_what_is_no_images_is_refused_in_one_sentence(few_images, quick):
    tensors = TensorDataset(few_images.train_images, few_images.train_labels)
    for images, kind in ((DataLoader(tensors), "DataLoader"), (tensors, "TensorDataset"), (None, "NoneType")):
        message = f"images must be Images, .* got {kind}: take data.load"
        model = small()
        before = state_of(model)
        with pytest.raises(ValueError, match=message):
            training.train(model, images, quick())
        with pytest.raises(ValueError, match=message):
            training.Trainer(model, images, quick())
        with pytest.raises(ValueError, match=message):
            ensemble.train([model], images, [quick()])
        assert state_of(model) == before


def test_schedules_are_the_names_that_a_schedule_can_prescribe():
    for name in constraints.SCHEDULES:
        assert 0.0 <= constraints.scheduled_skip_weight(name, 3, 10, 0.9, None) <= 0.9
        assert training.TrainConfig(skip_schedule=name).is_scheduled
    for name in ("multipliers", "penalty"):
        assert name not in constraints.SCHEDULES
        assert not training.TrainConfig(skip_schedule=name).is_scheduled
