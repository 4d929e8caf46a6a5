"""Many networks at once: the numbers of single runs, what may differ, what is refused, what happens when one fails."""

import copy
import dataclasses
import functools
import io
import threading

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from van_tutorial import connections, diagnostics, ensemble, models, training

DEPTH = 6


@pytest.fixture(scope="module")
def small_images(few_images):
    """200 images of 12 by 12."""
    shrink = functools.partial(nn.functional.interpolate, size=(12, 12))
    return dataclasses.replace(
        few_images,
        train_images=shrink(few_images.train_images[:200]),
        train_labels=few_images.train_labels[:200],
        test_images=shrink(few_images.test_images[:70]),
        test_labels=few_images.test_labels[:70],
    )


@pytest.fixture
def compare(few_images, quick):
    """Train networks one by one and at once: 56 steps with 7 records each; return pairs of results.

    In double precision, where a difference in the last digit stays one.
    """

    def run(model_choices, config_choices=None):
        images = in_double(few_images)
        config_choices = config_choices or [{} for _ in model_choices]

        def make():
            return [
                models.mlp(**{"depth": DEPTH, "width": 16, "seed": seed, **choices}).double()
                for seed, choices in enumerate(model_choices)
            ]

        configs = [
            quick(num_epochs=7, **{"seed": seed, "log_every": 8, **choices})
            for seed, choices in enumerate(config_choices)
        ]
        alone = [training.train(model, images, config) for model, config in zip(make(), configs, strict=True)]
        together = ensemble.train(make(), images, configs)
        return list(zip(alone, together, strict=True))

    return run


def in_double(images):
    return dataclasses.replace(
        images, train_images=images.train_images.double(), test_images=images.test_images.double()
    )


def same_networks(one, other):
    pairs = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def agree(alone, together, tolerance=1e-6):
    """Every record of the two results, but for the time; and what was concluded from them."""
    assert together.num_steps == alone.num_steps >= 50
    assert together.is_complete
    one, other = (result.history.drop(columns="seconds") for result in (alone, together))
    pd.testing.assert_frame_equal(one, other, check_exact=False, rtol=0, atol=tolerance)
    pd.testing.assert_frame_equal(alone.layers, together.layers, check_exact=False, rtol=0, atol=tolerance)
    for name in ("test_accuracy", "validation_accuracy"):
        assert getattr(together, name) == pytest.approx(getattr(alone, name), abs=tolerance)
    for name in ("removed_at_step", "removed_by", "num_capped", "first_zero_steps"):
        assert getattr(together, name) == getattr(alone, name)
    for name, tensor in alone.model.state_dict().items():
        torch.testing.assert_close(together.model.state_dict()[name], tensor, rtol=0, atol=1e-2)


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"connection": "plain"},
        {"connection": "residual", "residual_scale": 0.5},
        {"connection": "rezero"},
        {"connection": "highway"},
        {"skip": "additive"},
        {"skip": "activation"},
        {"skip_every": 2},
        {"order": "pre"},
        {"order": "pre", "bias_std": 0.1},
        {"norm_shift": 1.0},
        {"normalization": "layer"},
        {"normalization": "center"},
        {"normalization": "none"},
        {"activation": "tanh"},
        {"activation": "crelu", "init": "looks-linear", "normalization": "none", "connection": "plain"},
        {"activation": "crelu", "order": "pre"},
        {"parametrization": "dirac", "connection": "plain"},
        {"width": 20},
    ],
    ids=lambda choices: " ".join(f"{name}={value}" for name, value in choices.items()) or "defaults",
)
def test_networks_trained_at_once_give_the_records_of_single_runs(compare, choices):
    for alone, together in compare([choices] * 3):
        agree(alone, together)


def test_losses_and_gradients_of_a_step_agree_with_single_runs_in_single_precision(images, quick):
    """With a learning rate of 1 and no momentum the gradient is what a step takes off the weights.

    With tanh: a ReLU whose input is within rounding of 0 may go either way.
    """
    few = dataclasses.replace(
        images, train_images=images.train_images[:128], train_labels=images.train_labels[:128]
    )
    step = {
        "num_epochs": 1,
        "batch_size": 128,
        "optimizer": "sgd",
        "momentum": 0.0,
        "lr": 1.0,
        "skip_lr": 1.0,
    }
    configs = [quick(**step, lr_schedule="constant", seed=seed) for seed in range(2)]
    alone, together = (
        [models.mlp(depth=40, activation="tanh", seed=seed) for seed in range(2)] for _ in range(2)
    )
    for network, config, result in zip(alone, configs, ensemble.train(together, few, configs), strict=True):
        expected = training.train(network, few, config)
        assert result.history["loss"][0] == pytest.approx(expected.history["loss"][0], abs=1e-5)
        for one, other in zip(network.parameters(), result.model.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_fifty_steps_of_40_layers_with_skips_agree_with_single_runs_in_double_precision(compare):
    for alone, together in compare(
        [{"depth": 40, "width": 8}] * 2, [{"dual_lr": 0.0, "remove_by": None, "lr": 1e-3}] * 2
    ):
        agree(alone, together)


def test_a_deep_plain_network_makes_another_course_of_a_difference_in_the_last_digit(images, quick):
    """So the runs above are compared closely where the network is shallow, or keeps its skips for a while."""
    config = quick(num_epochs=1, batch_size=128, log_every=1)
    networks = [models.mlp(depth=40, connection="plain", seed=0) for _ in range(2)]
    with torch.no_grad():
        weight = networks[1].input_layer.weight
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(torch.inf))
    courses = [training.Trainer(network, images, config) for network in networks]
    losses = [[record.loss for record, _ in zip(course, range(10), strict=False)] for course in courses]
    assert losses[0][0] == pytest.approx(losses[1][0], abs=1e-4)
    assert max(abs(one - other) for one, other in zip(*losses, strict=True)) > 1e-2


DIFFERENT = {
    "learning rates": [{"lr": 1e-3}, {"lr": 1e-2, "skip_lr": 3e-3}, {"dual_lr": 0.01, "dual_lr_spread": 5.0}],
    "order of the removal": [
        {"stagger": 0.5},
        {"stagger": -0.5},
        {"stagger": 0.0, "population_statistics": True},
    ],
    "cap and damping": [{"remove_by": None}, {"remove_by": 0.4}, {"damping": 0.5, "remove_by": 1.0}],
    "schedules": [{"skip_schedule": "linear"}, {"skip_schedule": "penalty", "skip_penalty": 2.0}, {}],
    "the loss's say": [{"skip_gradient": False}, {}, {"skip_gradient": False, "stagger": 0.0}],
    "weight decay": [{}, {"weight_decay": 0.1}, {"weight_decay": 0.01}],
    "multipliers": [{"dual_gain": 1.0, "dual_smoothing": 0.5}, {"dual_growth": 1.05, "damping": 0.01}],
    "beginning": [{"remove_from": 0.3}, {"skip_schedule": "penalty", "remove_from": 0.2}],
    "order of the examples": [{"seed": 5}, {"seed": 5}, {"seed": 6, "augment": "crop-flip"}],
    "target": [{"skip_target": 1.0}, {"skip_target": 0.0}, {"skip_target": 1.0, "skip_schedule": "cosine"}],
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_networks_may_differ_in(compare, name):
    for alone, together in compare([{"skip": "activation"}] * len(DIFFERENT[name]), DIFFERENT[name]):
        agree(alone, together)


def test_networks_may_differ_in_their_values_at_the_start(compare):
    starts = [
        {"skip_weight": 0.5},
        {"init": "orthogonal", "skip_weight": 0.0},
        {"init_scale": 0.5, "seed": 7},
    ]
    results = compare(starts)
    for alone, together in results:
        agree(alone, together)
    assert len({together.history["mean_skip_weight"].iloc[0] for _, together in results}) == 3


@pytest.mark.parametrize("common", [{"optimizer": "adamw"}, {"optimizer": "sgd", "lr_schedule": "constant"}])
def test_every_optimizer_works_on_many_networks(compare, common):
    for alone, together in compare(
        [{}] * 2, [{**common, "weight_decay": 0.01, "lr": lr} for lr in (1e-3, 1e-2)]
    ):
        agree(alone, together)


def test_validation_images_are_the_same(compare):
    for alone, together in compare([{}] * 2, [{"validation_fraction": 0.1, "batch_size": 56}] * 2):
        agree(alone, together)
        assert together.validation_accuracy is not None


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"depth": 3}, "same depth: model 0 has 2, model 1 has 3. They may differ in seed, skip_weight"),
        ({"width": 5}, "same width: model 0 has 4, model 1 has 5"),
        ({"connection": "plain"}, "same connection: model 0 has 'van', model 1 has 'plain'"),
        ({"normalization": "none"}, "same normalization"),
    ],
)
def test_another_shape_is_refused(few_images, quick, choices, message):
    networks = [models.mlp(depth=2, width=4), models.mlp(**{"depth": 2, "width": 4, **choices})]
    with pytest.raises(ValueError, match=message):
        ensemble.train(networks, few_images, [quick()] * 2)


@pytest.mark.parametrize(
    "choices", [{"batch_size": 32}, {"num_epochs": 3}, {"optimizer": "sgd"}, {"log_every": 1}]
)
def test_another_number_of_steps_or_another_optimizer_is_refused(few_images, quick, choices):
    networks = [models.mlp(depth=2, width=4) for _ in range(2)]
    (name,) = choices
    with pytest.raises(ValueError, match=f"same {name}: config 0 has .* They may differ in seed, lr"):
        ensemble.train(networks, few_images, [quick(), quick(**choices)])


def test_what_cannot_be_trained_at_once_is_refused_in_one_sentence(few_images, quick):
    network = models.mlp(depth=2, width=4)
    for networks, configs, message in [
        ([], [], "at least one"),
        ([network], [quick()] * 2, "1 models and 2 configs"),
        ([network, network], [quick()] * 2, "given twice"),
        ([models.msnet()], [quick()], "Model 0 .*: it is a MSNet"),
        (
            [network, models.mlp(depth=2, width=4).double()],
            [quick()] * 2,
            r"Model 1 .* \(2,\) torch.float64 in the place of",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            ensemble.train(networks, few_images, configs)


class OwnLinear(nn.Linear):
    """A linear map that does something else."""

    def forward(self, x):
        return 2.0 * super().forward(x)


def exchange(path, module):
    def change(network):
        owner, _, name = path.rpartition(".")
        setattr(network.get_submodule(owner), name, module())

    return change


def tie(network):
    network.layers[1].linear.weight = network.layers[0].linear.weight


def forget_momentum(network):
    network.layers[0].norm.momentum = None


CHANGED = {
    "an activation with a parameter": exchange("layers.1.activation", nn.PReLU),
    "an activation with a setting": exchange("layers.1.activation", lambda: nn.LeakyReLU(0.3)),
    "a subclass of linear": exchange("layers.0.linear", lambda: OwnLinear(4, 4)),
    "a head of its own": exchange("head", lambda: nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 10))),
    "a head of another size": exchange("head", lambda: nn.Linear(4, 11)),
    "a layer cut off": lambda network: network.layers.__delitem__(2),
    "a module more": lambda network: network.add_module("extra", nn.Linear(4, 4)),
    "a forward hook": lambda network: network.layers[0].register_forward_hook(lambda *_: None),
    "a forward pre-hook": lambda network: network.layers[0].linear.register_forward_pre_hook(lambda *_: None),
    "a backward hook": lambda network: network.layers[0].register_full_backward_hook(lambda *_: None),
    "a hook on a weight": lambda network: network.head.weight.register_hook(lambda grad: 2 * grad),
    "tied weights": tie,
    "a frozen weight": lambda network: network.head.weight.requires_grad_(False),
    "frozen skip weights": lambda network: network.skip_weight.requires_grad_(False),
    "frozen statistics": lambda network: network.layers[1].norm.eval(),
    "a normalization without momentum": forget_momentum,
    "one without parameters": exchange("layers.0.norm", lambda: nn.BatchNorm1d(4, affine=False)),
    "one without statistics": exchange("layers.0.norm", lambda: nn.BatchNorm1d(4, track_running_stats=False)),
    "spectral normalization": lambda network: nn.utils.parametrizations.spectral_norm(network.head),
    "pruning": lambda network: prune.l1_unstructured(network.head, "weight", 0.5),
    "a forward of its own": lambda network: setattr(network.layers[0], "forward", lambda x, alpha: x),
}


class Normalized(connections.Connection):
    """x + f(x) / |f(x)|, which couples the units of a layer."""

    def forward(self, x, transform, activation, skip_weight=None):
        return self.shortcut(x) + nn.functional.normalize(transform(x, activation), dim=1)


@pytest.mark.parametrize("kind", [models.mlp, models.convnet])
def test_a_connection_that_may_couple_units_is_refused(monkeypatch, few_images, quick, kind):
    monkeypatch.setitem(connections.CONNECTIONS, "normalized", Normalized)
    networks = [kind(depth=8, width=4, connection="normalized", seed=seed) for seed in (0, 1)]
    with pytest.raises(
        ValueError, match="has a Normalized, which is not made for many networks, in its module"
    ):
        ensemble.train(networks, few_images, [quick()] * 2)


@pytest.mark.parametrize("kind", CHANGED)
def test_a_network_that_is_not_just_what_mlp_makes_is_refused_in_one_sentence(few_images, quick, kind):
    networks = [models.mlp(depth=3, width=4, seed=seed) for seed in range(2)]
    CHANGED[kind](networks[1])
    before = {name: value.clone() for name, value in networks[0].state_dict().items()}
    with pytest.raises(
        ValueError, match=r"^Model 1 cannot be trained at once with others: it .*training.train"
    ):
        ensemble.train(networks, few_images, [quick()] * 2)
    assert all(torch.equal(value, before[name]) for name, value in networks[0].state_dict().items())


SHAPES = [
    (models.mlp, {"depth": 3, "width": 7}),
    (models.mlp, {"depth": 3, "width": 48, "skip": "additive", "order": "pre", "activation": "crelu"}),
    (models.mlp, {"depth": 3, "width": 50, "connection": "residual", "normalization": "layer"}),
    (models.mlp, {"depth": 3, "width": 7, "connection": "rezero", "normalization": "center"}),
    (
        models.mlp,
        {"depth": 3, "width": 33, "connection": "highway", "normalization": "none", "activation": "tanh"},
    ),
    (models.mlp, {"depth": 3, "width": 50, "connection": "plain", "activation": "selu", "init": "lecun"}),
    (
        models.mlp,
        {"depth": 3, "width": 7, "connection": "plain", "parametrization": "dirac", "norm_shift": 1.0},
    ),
    (models.convnet, {"depth": 8, "width": 3, "in_channels": 1}),
    (
        models.convnet,
        {"depth": 8, "width": 4, "in_channels": 1, "connection": "highway", "activation": "tanh"},
    ),
]


@pytest.mark.parametrize(("make", "choices"), SHAPES, ids=lambda part: str(getattr(part, "__name__", part)))
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_result_depends_on_the_network_alone_and_not_on_those_that_are_trained_with_it(
    small_images, quick, make, choices, optimizer
):
    def run(*seeds):
        sizes = {"in_features": 144} if make is models.mlp else {}
        networks = [make(seed=seed, **sizes, **choices) for seed in seeds]
        configs = [quick(seed=seed, optimizer=optimizer, batch_size=50) for seed in seeds]
        return dict(zip(seeds, ensemble.train(networks, small_images, configs), strict=True))[3]

    alone = run(3)
    for other in (run(1, 3), run(3, 0, 4, 2, 1)):
        pd.testing.assert_frame_equal(
            alone.history.drop(columns="seconds"), other.history.drop(columns="seconds"), check_exact=True
        )
        assert same_networks(alone, other)


CONVNETS = [
    ({}, {}),
    ({"connection": "residual", "order": "pre"}, {}),
    ({"connection": "rezero", "normalization": "layer"}, {}),
    ({"connection": "highway", "normalization": "center"}, {}),
    ({"skip": "additive", "downsampling": "max-pool"}, {"optimizer": "sgd", "weight_decay": 0.01}),
    ({"skip": "activation", "normalization": "none"}, {"population_statistics": True}),
    ({"connection": "plain", "parametrization": "repvgg"}, {"validation_fraction": 0.2, "batch_size": 40}),
    ({"connection": "plain", "parametrization": "dirac", "layers_per_block": 1}, {}),
    ({"order": "pre", "activation": "crelu"}, {"channels_last": True}),
]


@pytest.mark.parametrize(("choices", "config"), CONVNETS, ids=str)
def test_convolutional_networks_trained_at_once_give_the_records_of_single_runs(
    small_images, quick, choices, config
):
    def make():
        shape = {"depth": 8, "width": 4, "in_channels": 1, **choices}
        return [models.convnet(**shape, seed=seed).double() for seed in range(3)]

    images = in_double(small_images)
    configs = [quick(seed=seed, log_every=2, lr=1e-3 * (seed + 1), **config) for seed in range(3)]
    for network, config, result in zip(make(), configs, ensemble.train(make(), images, configs), strict=True):
        expected = training.train(network, images, config)
        pd.testing.assert_frame_equal(
            expected.history.drop(columns="seconds"), result.history.drop(columns="seconds"), atol=1e-9
        )
        for one, other in zip(network.state_dict().values(), result.model.state_dict().values(), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-8)


def test_each_network_ends_with_memory_of_its_own(few_images, quick):
    networks = [models.mlp(depth=2, width=16, seed=seed) for seed in range(3)]
    results = ensemble.train(networks, few_images, [quick()] * 3)
    assert [result.model for result in results] == networks
    for network in networks:
        assert not network.training
        buffer = io.BytesIO()
        torch.save(network.state_dict(), buffer)
        assert buffer.tell() < 100_000  # not that of all three
        for tensor in network.state_dict().values():
            assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_one_that_diverges_stops_and_leaves_the_others_as_they_would_have_been(few_images, quick):
    def make():
        return [models.mlp(depth=3, width=16, normalization="none", seed=seed) for seed in range(3)]

    configs = [quick(seed=seed, lr=lr) for seed, lr in enumerate((1e-3, 1e30, 1e-3))]
    with pytest.warns(RuntimeWarning, match=r"Network 1 of 3 stopped\. The loss is (nan|inf) in step \d"):
        results = ensemble.train(make(), few_images, configs)
    assert [result.is_complete for result in results] == [True, False, True]
    alone = training.Trainer(make()[1], few_images, configs[1])
    with pytest.raises(training.DivergenceError) as error:
        list(alone)
    assert results[1].num_steps == alone.step == error.value.step - 1
    others = [make()[i] for i in (0, 2)]
    for result, expected in zip(
        (results[0], results[2]), ensemble.train(others, few_images, configs[::2]), strict=True
    ):
        assert same_networks(result, expected)


def test_where_all_diverge_it_ends(few_images, quick):
    trainer = ensemble.Trainer(
        [models.mlp(depth=2, width=4, normalization="none")], few_images, [quick(lr=1e30)]
    )
    assert list(trainer) == [[None]]
    assert isinstance(trainer.errors[0], training.DivergenceError)
    assert trainer.results()[0].num_steps == trainer.errors[0].step - 1 < 8


def test_records_come_one_a_network_and_a_stopped_run_goes_on_to_the_same_end(few_images, quick):
    configs = [quick(seed=seed) for seed in range(2)]
    start = [models.mlp(depth=3, width=16, seed=seed) for seed in range(2)]
    stop = threading.Event()
    trainer = ensemble.Trainer(copy.deepcopy(start), few_images, configs, stop)
    steps = []
    for records in trainer:
        steps.append([record.step for record in records])
        stop.set()
    assert steps == [[8, 8]]
    assert not trainer.results()[0].is_complete
    stop.clear()
    assert [record.step for record in next(iter(trainer))] == [16, 16]
    whole = ensemble.train(start, few_images, configs)
    for one, other in zip(trainer.results(), whole, strict=True):
        assert one.is_complete
        assert same_networks(one, other)


def test_looking_at_a_network_between_two_records_changes_nothing(few_images, quick):
    configs = [quick(seed=seed) for seed in range(2)]
    start = [models.mlp(depth=3, width=16, seed=seed) for seed in range(2)]
    trainer = ensemble.Trainer(copy.deepcopy(start), few_images, configs)
    for _ in trainer:
        for member in trainer.members:
            member.model.eval()
            diagnostics.layer_norms(member.model, few_images.test_images[:8], few_images.test_labels[:8])
            training.accuracy(member.model, few_images.test_images, few_images.test_labels)
    whole = ensemble.train(start, few_images, configs)
    for one, other in zip(trainer.results(), whole, strict=True):
        assert same_networks(one, other)
        pd.testing.assert_frame_equal(
            one.history.drop(columns="seconds"), other.history.drop(columns="seconds")
        )


def test_shares_of_the_time_add_up(few_images, quick):
    results = ensemble.train([models.mlp(depth=2, width=4) for _ in range(4)], few_images, [quick()] * 4)
    assert len({result.seconds for result in results}) == 1
    assert results[0].history["seconds"].is_monotonic_increasing


def test_half_precision_learns_on_many_networks(few_images, quick):
    results = ensemble.train(
        [models.mlp(depth=3, width=16, seed=seed) for seed in range(2)],
        few_images,
        [quick(num_epochs=4, mixed_precision=True, dual_lr=0.0, remove_by=None)] * 2,
    )
    assert all(result.history["loss"].iloc[-1] < result.history["loss"].iloc[0] for result in results)
