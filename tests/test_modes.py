"""Training and eval mode: looked at or trained, every module keeps the mode that its owner has given it."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from tests.state import fail, state_of
from van_tutorial import diagnostics, models, segmentation, training
from van_tutorial._modes import begin_training, eval_mode, frozen_modules
from van_tutorial.playground import Recording, Settings


def modes(model):
    return {name: module.training for name, module in model.named_modules()}


def network():
    """A network with two batch normalizations and dropout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Flatten(),
            nn.Sequential(nn.Linear(784, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.1)),
            nn.Sequential(nn.Linear(12, 12), nn.BatchNorm1d(12), nn.ReLU()),
            nn.Linear(12, 10),
        )


def frozen_network():
    model = network()
    model[1].eval()
    return model


def statistics(norm):
    return norm.running_mean.clone(), norm.running_var.clone(), int(norm.num_batches_tracked)


def same(one, other):
    return all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(one, other, strict=True))


# The context itself.


@pytest.mark.parametrize("fails", [False, True])
def test_each_module_has_its_own_mode_back_whatever_happens(fails):
    model = frozen_network()
    model[2][0].eval()
    before = modes(model)
    with pytest.raises(ZeroDivisionError) if fails else eval_mode(network()), eval_mode(model):
        assert not any(modes(model).values())
        if fails:
            1 / 0  # noqa: B018  # whose value nobody wants
    assert modes(model) == before


def test_a_module_that_two_parents_share_keeps_its_mode():
    shared = nn.Dropout(0.5)
    model = nn.Sequential(nn.Sequential(shared), nn.Sequential(nn.ReLU(), shared))
    model[0].eval()
    before = modes(model)
    assert before["0.0"] is False
    with eval_mode(model):
        pass
    assert modes(model) == before


class Merging(nn.Module):
    """Works out its weight when it is put in eval mode, as adapters that are merged do."""

    def __init__(self):
        super().__init__()
        self.linear, self.cache = nn.Linear(784, 10), None

    def train(self, mode=True):
        super().train(mode)
        self.cache = None if mode else 2.0 * self.linear.weight.detach()
        return self

    def forward(self, x):
        weight = 2.0 * self.linear.weight if self.cache is None else self.cache
        return nn.functional.linear(x.flatten(1), weight)


def test_a_network_that_does_more_when_its_mode_changes_is_told(few_images, quick):
    model = Merging()
    result = training.train(model, few_images, quick(log_every=3))
    assert torch.equal(model.cache, 2.0 * model.linear.weight)
    assert result.test_accuracy == training.accuracy(model, few_images.test_images, few_images.test_labels)
    assert result.test_accuracy > 0.5


def test_only_what_is_in_eval_mode_apart_from_the_rest_is_frozen():
    model = network()
    assert frozen_modules(model) == set()
    model[2][1].eval()
    assert frozen_modules(model) == {model[2][1]}
    assert frozen_modules(model.eval()) == set()
    model[3].train()
    assert frozen_modules(model) == set(model.modules()) - {model[3]}
    begin_training(model, {model[2]})
    assert [name for name, mode in modes(model).items() if not mode] == ["2"]


# The trainer.


@pytest.mark.parametrize("log_every", [None, 1])
def test_a_normalization_in_eval_mode_is_never_trained(few_images, quick, log_every):
    model = frozen_network()
    frozen, free = statistics(model[1][1]), statistics(model[2][1])
    trainer = training.Trainer(model, few_images, quick(log_every=log_every))
    for record in trainer:
        assert same(statistics(model[1][1]), frozen)
        if record.step < trainer.num_steps:
            assert [name for name, mode in modes(model).items() if not mode] == [
                "1",
                "1.0",
                "1.1",
                "1.2",
                "1.3",
            ]
    assert statistics(model[2][1])[2] == free[2] + trainer.num_steps
    assert not any(modes(model).values())


def look_in_eval_mode(model):
    model.eval()


def look_and_put_back(model):
    mode = model.training
    model.eval()
    model.train(mode)


def freeze_another(model):
    model[2].eval()


@pytest.mark.parametrize("look", [look_in_eval_mode, look_and_put_back, freeze_another])
def test_it_stays_so_whatever_the_caller_does_with_the_network_between_records(few_images, quick, look):
    model = frozen_network()
    frozen = statistics(model[1][1])
    for _ in training.Trainer(model, few_images, quick(log_every=3)):
        look(model)
    assert same(statistics(model[1][1]), frozen)
    assert statistics(model[2][1])[2] == (3 if look is freeze_another else 16)


def test_a_run_that_is_stopped_after_the_step_or_left_goes_on_with_the_same_modes(few_images, quick):
    model = frozen_network()
    frozen = statistics(model[1][1])
    trainer = training.Trainer(model, few_images, quick(log_every=2))
    next(iter(trainer))
    model.eval()
    list(trainer.until(9))
    list(trainer)
    assert same(statistics(model[1][1]), frozen)
    assert statistics(model[2][1])[2] == 16


def test_a_network_that_is_given_in_eval_mode_is_trained_as_a_whole(few_images, quick):
    one, other = network(), network().eval()
    torch.manual_seed(0)
    expected = training.train(one, few_images, quick())
    torch.manual_seed(0)
    found = training.train(other, few_images, quick())
    assert found.history.drop(columns="seconds").equals(expected.history.drop(columns="seconds"))


def test_a_checkpoint_goes_on_in_the_same_modes_and_is_refused_in_others(few_images, quick, tmp_path):
    first = training.Trainer(frozen_network(), few_images, quick(log_every=8))
    next(iter(first))
    first.save(tmp_path / "run.pt")
    expected = [p.clone() for p in first.model.parameters()]
    second = training.Trainer(frozen_network(), few_images, quick(log_every=8))
    second.load(tmp_path / "run.pt")
    assert all(map(torch.equal, second.model.parameters(), expected))
    assert modes(second.model) == modes(first.model)
    frozen = statistics(second.model[1][1])
    list(second)
    assert same(statistics(second.model[1][1]), frozen)
    with pytest.raises(training.CheckpointError, match=r"in eval mode \['1', .* there and None here"):
        training.Trainer(network(), few_images, quick(log_every=8)).load(tmp_path / "run.pt")


# What is looked at.


def test_statistics_are_settled_but_for_those_in_eval_mode(few_images):
    model = frozen_network()
    model[1][3].train()  # dropout moves on
    before, frozen = modes(model), statistics(model[1][1])
    training.settle_statistics(model, few_images.train_images, batch_size=64)
    assert same(statistics(model[1][1]), frozen)
    assert statistics(model[2][1])[2] == 8
    assert modes(model) == before
    assert model[2][1].momentum == 0.1


def test_statistics_of_a_network_in_eval_mode_are_all_settled(few_images):
    model = network().eval()
    training.settle_statistics(model, few_images.train_images)
    assert (statistics(model[1][1])[2], statistics(model[2][1])[2]) == (1, 1)
    torch.testing.assert_close(
        model[1][1].running_mean, model[1][0](few_images.train_images.flatten(1)).mean(dim=0).detach()
    )
    assert not any(modes(model).values())


def test_a_run_with_population_statistics_leaves_frozen_ones_alone(few_images, quick):
    model = frozen_network()
    frozen = statistics(model[1][1])
    training.train(model, few_images, quick(population_statistics=True))
    assert same(statistics(model[1][1]), frozen)


@pytest.mark.parametrize(
    "look",
    [
        lambda model, images: training.accuracy(model, images.test_images, images.test_labels),
        lambda model, images: segmentation.mean_iou(model, images.test_images, images.test_labels, 10),
        lambda model, images: training.settle_statistics(model, images.test_images),
        lambda model, images: training.Trainer(
            model, images, training.TrainConfig(device="cpu", batch_size=64)
        ),
    ],
    ids=["accuracy", "mean_iou", "settle_statistics", "Trainer"],
)
def test_modes_and_momenta_are_put_back_after_an_error(few_images, look):
    model = frozen_network()
    model[3].register_forward_pre_hook(fail)
    before = modes(model)
    with pytest.raises(RuntimeError, match="out of luck"):
        look(model, few_images)
    assert modes(model) == before
    assert model[2][1].momentum == 0.1


def test_recording_a_moment_leaves_the_modes_of_the_network_alone(images):
    settings = dataclasses.replace(Settings(), depth=2, num_epochs=1)
    recording, trainer = Recording.begin(settings, images), settings.trainer(images)
    trainer.model.layers[0].eval()
    next(iter(trainer))
    trainer.model.layers[1].norm.eval()
    before = modes(trainer.model)
    assert len(set(before.values())) == 2
    recording.add(trainer)
    assert modes(trainer.model) == before
    trainer.model.head.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of luck"):
        recording.add(trainer)
    assert modes(trainer.model) == before


def test_a_measure_that_changes_modes_does_not_change_the_training(few_images, quick):
    def measure(network):
        network[2].eval()
        return 0.0

    model = network()
    trainer = training.Trainer(model, few_images, quick(log_every=4))
    recorder = diagnostics.Recorder(every=4, nothing=measure)
    for record in trainer:
        recorder(record, model)
    assert statistics(model[2][1])[2] == 16


# The look before the first step.


class Outputs(nn.Module):
    """Gives what a function makes of the logits; has buffers, dropout and spectral normalization."""

    def __init__(self, in_training, in_eval=lambda y: y):
        super().__init__()
        self.linear = nn.Linear(784, 10)
        self.rest = nn.Sequential(
            nn.BatchNorm1d(10), nn.Dropout(0.5), parametrizations.spectral_norm(nn.Linear(10, 10))
        )
        self.in_training, self.in_eval = in_training, in_eval
        self.register_buffer("latest", torch.zeros(1))

    def forward(self, x):
        y = self.rest(self.linear(x.flatten(1)))
        self.latest = y.detach().mean()
        return self.in_training(y) if self.training else self.in_eval(y)


KINDS = {
    "tuple": (lambda y: (y, y), "must give a tensor, got tuple"),
    "list": (lambda y: [y], "must give a tensor, got list"),
    "dict": (lambda y: {"out": y, "aux": y}, "must give a tensor, got dict with the keys 'out', 'aux'"),
    "None": (lambda y: None, "must give a tensor, got NoneType"),
    "complex": (lambda y: y + 1j * y, r"must be dense real numbers, got torch.complex64"),
    "classes": (lambda y: y.argmax(dim=1), r"must be dense real numbers, got torch.int64"),
    "sparse": (lambda y: y.to_sparse(), r"must be dense real numbers, got torch.float32, torch.sparse_coo"),
    "a mean": (
        lambda y: y.mean(dim=0, keepdim=True),
        r"a row of outputs for each image, got shape \(1, 10\)",
    ),
    "one number": (lambda y: y.mean(), r"a row of outputs for each image, got shape \(\)"),
    "too few": (lambda y: y[:, :4], "has 4 outputs for 10 classes"),
    "pixels": (lambda y: y[:, :, None], r"outputs of shape \(10,\) would fit"),
}


@pytest.mark.parametrize("is_whole", [True, False], ids=["in both modes", "in training alone"])
@pytest.mark.parametrize("name", KINDS)
def test_outputs_that_do_not_fit_are_refused_before_anything_is_changed(few_images, quick, name, is_whole):
    make, message = KINDS[name]
    model = Outputs(make, make) if is_whole else Outputs(make)
    model.rest[0].eval()
    before = state_of(model)
    with pytest.raises(ValueError, match=message):
        training.train(model, few_images, quick())
    assert state_of(model) == before


def test_a_lazy_network_is_made_by_the_look(few_images, quick):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Flatten(), nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(10)
        )
        result = training.train(model, few_images, quick())
    assert int(model[2].num_batches_tracked) == 16
    assert result.test_accuracy > 0.3


def test_an_exported_program_is_refused_in_one_sentence(few_images, quick):
    program = torch.export.export(network().eval(), (few_images.train_images[:64],)).module()
    with pytest.raises(ValueError, match="An exported program has its mode built in"):
        training.Trainer(program, few_images, quick())


@pytest.mark.parametrize(
    "make", [lambda: models.mlp(depth=2, width=4, in_features=100), lambda: nn.Linear(3, 2)]
)
def test_a_look_that_fails_leaves_the_network_as_it_was(few_images, quick, make):
    model = make().eval()
    before = state_of(model)
    with pytest.raises((ValueError, RuntimeError)):
        training.Trainer(model, few_images, quick())
    assert state_of(model) == before
