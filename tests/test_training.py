"""The invariants of the phase-out, who removed the skips, repeatability, the iterator, refusals."""

import dataclasses
import functools
import itertools
import math
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from van_tutorial import constraints, models, segmentation, training

TIMES = ["seconds"]


def small(seed=0, **choices):
    return models.mlp(**{"depth": 4, "width": 12, "seed": seed, **choices})


def linear():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def alphas_of(records):
    return torch.stack([record.skip_weights for record in records])


def assert_same_run(one, other):
    assert one.history.drop(columns=TIMES).equals(other.history.drop(columns=TIMES))
    assert one.layers.equals(other.layers)
    state = other.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in one.model.state_dict().items())


# The invariants.


@pytest.mark.parametrize("skip", ["convex", "additive", "activation"])
@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"skip_lr": 0.5, "dual_lr": 0.5},
        {"remove_by": None, "skip_lr": 2.0, "dual_lr": 0.01},
        {"damping": 2.0},
    ],
    ids=["defaults", "large steps", "no cap", "damped"],
)
def test_skip_weights_stay_in_0_to_1_and_multipliers_never_fall(few_images, quick, skip, choices):
    trainer = training.Trainer(small(skip=skip), few_images, quick(log_every=1, **choices))
    records = list(trainer)
    alphas = alphas_of(records)
    multipliers = torch.stack([record.multipliers for record in records])
    assert len(records) == trainer.num_steps == 16
    assert alphas.min() >= 0.0
    assert alphas.max() <= 1.0
    assert bool((multipliers.diff(dim=0) >= 0).all())
    assert multipliers[-1].max() > 0.0


def by_hand(model, images, config):
    """Gradient steps on the weights, projected ones on the skip weights, ascent on the multipliers."""
    alpha = model.skip_weight
    weights = [parameter for parameter in model.parameters() if parameter is not alpha]
    dual_lrs = constraints.spread_dual_lr(config.dual_lr, config.dual_lr_spread, len(alpha))
    multipliers = torch.zeros_like(alpha)
    for _ in range(config.num_epochs):
        loss = functional.cross_entropy(model(images.train_images), images.train_labels)
        gradients = torch.autograd.grad(loss, [alpha, *weights])
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients[1:], strict=True):
                weight -= config.lr * gradient
            alpha -= config.skip_lr * (gradients[0] + multipliers)
            alpha.clamp_(0.0, 1.0)
            multipliers += dual_lrs * alpha
        yield alpha.detach().clone(), multipliers.clone()


@pytest.mark.parametrize("skip", ["convex", "additive", "activation"])
@pytest.mark.parametrize("dual_lr", [0.0, 0.1], ids=["the loss alone", "the Lagrangian"])
def test_skip_weights_follow_projected_gradient_steps_done_by_hand(few_images, quick, skip, dual_lr):
    whole = dataclasses.replace(
        few_images, train_images=few_images.train_images[:128], train_labels=few_images.train_labels[:128]
    )
    config = quick(
        num_epochs=15, batch_size=128, lr=0.05, optimizer="sgd", momentum=0.0, lr_schedule="constant",
        skip_lr=0.5, dual_lr=dual_lr, remove_by=None, stagger=0.0, log_every=1,
    )  # fmt: skip
    model = small(skip=skip, skip_weight=0.6)
    records = list(training.Trainer(model, whole, config))
    expected = list(by_hand(small(skip=skip, skip_weight=0.6), whole, config))
    alphas = alphas_of(records)
    assert (alphas[0] - alphas[-1]).abs().max() > 0.01
    torch.testing.assert_close(alphas, torch.stack([alpha for alpha, _ in expected]), atol=1e-4, rtol=0.0)
    multipliers = torch.stack([record.multipliers for record in records])
    torch.testing.assert_close(
        multipliers, torch.stack([values for _, values in expected]), atol=1e-4, rtol=0.0
    )
    assert bool(multipliers.any()) is (dual_lr > 0.0)


def test_a_phased_out_network_collapses_to_a_plain_one_with_the_same_answers(phased_out, few_images):
    plain = models.collapse(phased_out.model)
    with torch.no_grad():
        one, other = phased_out.model(few_images.test_images), plain(few_images.test_images)
    assert torch.equal(one, other)
    assert models.has_skip(torch.export.export(plain, (few_images.test_images,))) is False
    assert (
        training.accuracy(plain, few_images.test_images, few_images.test_labels) == phased_out.test_accuracy
    )


@pytest.mark.parametrize(
    "choices", [{}, {"optimizer": "sgd", "damping": 0.5}, {"skip_schedule": "cosine"}], ids=str
)
def test_a_run_is_repeated_bit_for_bit_whatever_the_global_random_state(few_images, quick, choices):
    results = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        results.append(training.train(small(), few_images, quick(log_every=5, **choices)))
    assert_same_run(*results)


def test_another_seed_of_the_run_draws_other_batches(few_images, quick):
    losses = [
        training.train(small(), few_images, quick(seed=seed)).history["loss"].iloc[-1] for seed in (0, 1)
    ]
    assert losses[0] != losses[1]


def test_training_leaves_the_global_random_state_and_the_threads_alone(few_images, quick):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    training.train(small(), few_images, quick())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


# How a phase-out ends.


def test_a_run_with_the_default_learning_rates_ends_without_any_skip(phased_out):
    assert models.skip_weights(phased_out.model).tolist() == [0.0] * 4
    assert models.num_skips(phased_out.model) == 0
    assert phased_out.removed_by in ("multipliers", "cap")
    assert phased_out.removed_at_step <= np.ceil(phased_out.num_steps * 2 / 3)
    assert phased_out.is_complete


def test_skips_nearest_to_the_input_go_first(phased_out):
    steps = phased_out.first_zero_steps
    assert steps[0] < steps[-1]
    assert list(steps) == sorted(steps)


ENDS = {
    "multipliers": {"skip_lr": 0.05, "dual_lr": 0.5, "stagger": 0.0, "remove_by": 1.0, "num_epochs": 4},
    "multipliers, no cap": {"skip_lr": 0.2, "dual_lr": 1.0, "stagger": 0.0, "remove_by": None},
    "cap": {"dual_lr": 0.0, "remove_by": 0.5},
    "linear": {"skip_schedule": "linear"},
    "cosine": {"skip_schedule": "cosine", "remove_by": None},
    "left": {"dual_lr": 0.0, "remove_by": None},
    "too slow": {"dual_lr": 1e-6, "remove_by": None},
    "fixed": {"skip_schedule": "fixed"},
}


@pytest.mark.parametrize(
    ("end", "removed_by", "num_capped"),
    [
        ("multipliers", "multipliers", 0),
        ("multipliers, no cap", "multipliers", 0),
        ("cap", "cap", 4),
        ("linear", "schedule", 0),
        ("cosine", "schedule", 0),
        ("left", None, 0),
        ("too slow", None, 0),
        ("fixed", None, 0),
    ],
)
def test_a_result_says_who_removed_the_skips(few_images, quick, end, removed_by, num_capped):
    result = training.train(small(), few_images, quick(**ENDS[end]))
    assert (result.removed_by, result.num_capped) == (removed_by, num_capped)
    assert (result.removed_at_step is None) is (removed_by is None)
    assert models.num_skips(result.model) == (4 if removed_by is None else 0)
    assert result.history["num_skips"].iloc[-1] == models.num_skips(result.model)


@pytest.mark.parametrize(
    "choices", [*ENDS.values(), {"skip_lr": 1.0, "dual_lr": 0.05, "lr": 0.03, "num_epochs": 4}], ids=str
)
def test_the_steps_of_removal_are_those_that_the_records_show(few_images, quick, choices):
    result = training.train(small(skip="additive"), few_images, quick(log_every=1, **choices))
    table = result.layers.pivot_table(index="step", columns="layer", values="skip_weight")
    is_there = (table > 0).any(axis=1)
    last = 0 if not is_there.any() else int(is_there[is_there].index[-1])
    assert result.removed_at_step == (None if last == result.num_steps else last + 1)
    first_zeros = [
        next((step for step, value in column.items() if value == 0.0), None)
        for column in (table[layer] for layer in table)
    ]
    assert list(result.first_zero_steps) == first_zeros


def test_skips_that_were_never_there_are_removed_from_the_start(few_images, quick):
    result = training.train(small(skip_weight=0.0), few_images, quick(skip_schedule="fixed"))
    assert (result.removed_at_step, result.removed_by) == (0, "schedule")
    assert result.first_zero_steps == (0,) * 4


def phase_out_of(gradients, **choices):
    """Drive the phase-out of one skip weight, from .9 with a learning rate of 1, by given gradients."""
    alpha = nn.Parameter(torch.tensor([0.9]))
    given = {"skip_lr": 1.0, "dual_lr": 0.0, "remove_by": 1.0, "stagger": 0.0}
    config = training.TrainConfig(**{**given, **choices})
    phase_out = training.PhaseOut(alpha, config, num_steps=len(gradients))
    for step, gradient in enumerate(gradients, 1):
        alpha.grad = torch.tensor([gradient])
        phase_out.step(step)
    return phase_out


@pytest.mark.parametrize(
    ("flicker", "removed_at_step"),
    [([-0.005, 0.005] * 9 + [-0.005], 19), ([-0.005] + [0.0] * 18, 20)],
    ids=["off and on", "lasting"],
)
def test_a_flicker_at_0_that_the_cap_ends_is_not_the_caps_removal(flicker, removed_at_step):
    phase_out = phase_out_of([1.0, *flicker])
    assert (phase_out.removed_by, phase_out.num_capped) == ("multipliers", 0)
    assert (phase_out.first_zero_steps, phase_out.removed_at_step) == ([1], removed_at_step)


def test_a_skip_that_comes_back_and_is_ended_by_the_cap_is_the_caps_removal():
    phase_out = phase_out_of([1.0, -0.5] + [0.0] * 18)
    assert (phase_out.removed_by, phase_out.num_capped) == ("cap", 1)
    assert (phase_out.first_zero_steps, phase_out.removed_at_step) == ([1], 20)


def test_a_skip_that_only_the_cap_lowers_is_the_caps_removal():
    phase_out = phase_out_of([0.0] * 20)
    assert (phase_out.removed_by, phase_out.num_capped, phase_out.removed_at_step) == ("cap", 1, 20)


def test_a_layer_that_waits_for_its_window_is_not_counted_as_capped():
    alpha = nn.Parameter(torch.full((10,), 0.95))
    config = training.TrainConfig(skip_lr=1e-3)
    phase_out = training.PhaseOut(alpha, config, num_steps=3000)
    for step in range(1, 3001):
        alpha.grad = phase_out.multipliers.values - 0.3  # a loss that asks for more of every skip
        phase_out.step(step)
    assert (phase_out.removed_by, phase_out.num_capped) == ("multipliers", 0)


@pytest.mark.parametrize("schedule", ["multipliers", "linear"])
def test_one_skip_alone_has_all_the_time(schedule):
    alpha = nn.Parameter(torch.full((1,), 0.9))
    config = training.TrainConfig(stagger=0.9, remove_by=0.8, skip_lr=0.0, skip_schedule=schedule)
    phase_out = training.PhaseOut(alpha, config, num_steps=100)
    values = []
    for step in range(1, 101):
        phase_out.step(step)
        values.append(alpha.item())
    assert values[38] == pytest.approx(0.9 if schedule == "multipliers" else 0.9 * (1 - 39 / 80))
    assert values[78] > 0.0
    assert values[79] == 0.0


@pytest.mark.parametrize("stagger", [0.0, 0.5])
def test_a_schedule_without_an_end_of_its_own_takes_the_whole_training(stagger):
    alpha = nn.Parameter(torch.full((4,), 0.9))
    config = training.TrainConfig(stagger=stagger, remove_by=None, skip_schedule="linear")
    phase_out = training.PhaseOut(alpha, config, num_steps=30)
    for step in range(1, 31):
        assert phase_out.removed_at_step is None
        phase_out.step(step)
    assert phase_out.removed_at_step == 30


@pytest.mark.parametrize(
    ("skip_schedule", "remove_by", "expected"),
    [("multipliers", None, 2 / 3), ("penalty", None, 2 / 3), ("cosine", None, 1.0), ("cosine", 0.5, 0.5)],
)
def test_the_windows_lie_in_the_part_of_the_training_that_was_asked_for(skip_schedule, remove_by, expected):
    config = training.TrainConfig(skip_schedule=skip_schedule, remove_by=remove_by, stagger=0.5)
    starts = training.PhaseOut(nn.Parameter(torch.ones(3)), config, num_steps=1000).starts
    assert config.removing_by == expected
    assert starts.tolist() == pytest.approx([0.0, 250.0 * expected, 500.0 * expected])


@pytest.mark.parametrize(
    "choices",
    [
        {"stagger": 0.0},
        {"stagger": 0.5},
        {"damping": 1.0},
        {"skip_schedule": "linear"},
        {"skip_schedule": "penalty"},
    ],
    ids=str,
)
def test_nothing_is_removed_before_the_step_that_was_asked_for(few_images, quick, choices):
    config = quick(num_epochs=4, skip_lr=0.05, log_every=1, remove_from=0.5, remove_by=0.9, **choices)
    free = quick(num_epochs=4, skip_lr=0.05, log_every=1, dual_lr=0.0, remove_by=None, stagger=0.0)
    runs = [
        training.Trainer(models.mlp(depth=4, width=12, seed=0), few_images, each) for each in (config, free)
    ]
    for record, alone in zip(*runs, strict=True):
        if record.step <= 16:
            assert not record.multipliers.any()
            if "linear" in choices.values():
                assert record.skip_weights.tolist() == runs[0].phase_out.initial.tolist()
            else:
                assert record.skip_weights.equal(alone.skip_weights)
    assert runs[0].phase_out.removed_at_step > 16


@pytest.mark.parametrize("part", [7, 16, 20])
def test_a_removal_that_begins_later_goes_on_from_a_checkpoint(few_images, quick, tmp_path, part):
    config = quick(
        num_epochs=3, skip_lr=0.05, log_every=1, skip_schedule="penalty", remove_from=0.5, remove_by=1.0
    )

    def make():
        return training.Trainer(models.mlp(depth=4, width=12, seed=0), few_images, config)

    whole, first, second = make(), make(), make()
    expected = [record.skip_weights.tolist() for record in whole]
    for _ in first.until(part):
        pass
    first.save(tmp_path / "run.pt")
    second.load(tmp_path / "run.pt")
    assert [record.skip_weights.tolist() for record in second] == expected[part:]


@pytest.mark.parametrize("remove_by", [0.5, 2 / 3, None])
def test_a_removal_begins_before_it_ends(remove_by):
    with pytest.raises(ValueError, match="remove_from must be below remove_by"):
        training.TrainConfig(remove_from=0.7, remove_by=remove_by)


@pytest.mark.parametrize(
    "choices", [{"dual_gain": 5.0}, {"dual_gain": 2.0, "dual_smoothing": 0.9}, {"dual_growth": 1.05}]
)
def test_the_multipliers_of_a_run_are_those_that_its_config_asks_for(few_images, quick, choices):
    config = quick(
        dual_lr=0.1, skip_lr=0.02, stagger=0.0, remove_by=None, log_every=1, damping=0.1, **choices
    )
    trainer = training.Trainer(models.mlp(depth=3, width=12, seed=0), few_images, config)
    by_hand = constraints.Multipliers(
        3, 0.1, damping=0.1, **{name.removeprefix("dual_"): value for name, value in choices.items()}
    )
    plain = constraints.Multipliers(3, 0.1, damping=0.1)
    for record in trainer:
        by_hand.dual_step(record.skip_weights)
        plain.dual_step(record.skip_weights)
        assert record.multipliers.equal(by_hand.values)
    assert not record.multipliers.equal(plain.values)


def test_warm_up_stable_decay_decays_when_the_removal_is_over(few_images, quick):
    config = quick(num_epochs=10, lr=0.01, lr_schedule="wsd", remove_by=0.6, log_every=1)
    rates = [record.lr for record in training.Trainer(models.mlp(depth=2, width=8), few_images, config)]
    assert len(rates) == 80  # each the rate of the next step
    assert rates[0] == pytest.approx(0.01 * 2 / 4)
    assert rates[2:48] == pytest.approx([0.01] * 46)
    assert rates[48:] == pytest.approx([0.01 * (79 - step) / 32 for step in range(48, 80)], abs=1e-9)


@pytest.mark.parametrize("stagger", [0.99, 0.999])
def test_windows_however_short_end_with_every_skip_at_0(stagger):
    for num_steps in (20, 1000, 20_000):
        alpha = nn.Parameter(torch.full((11,), 0.95))
        config = training.TrainConfig(stagger=stagger, remove_by=1.0, skip_lr=0.0)
        phase_out = training.PhaseOut(alpha, config, num_steps)
        phase_out.step(num_steps)
        assert alpha.tolist() == [0.0] * 11


def test_a_schedule_has_no_cap_to_record(few_images, quick):
    result = training.train(small(), few_images, quick(skip_schedule="fixed", log_every=1))
    assert result.history["cap"].isna().all()


def test_a_finished_run_that_is_read_again_leaves_the_network_in_eval_mode(few_images, quick, tmp_path):
    for _ in range(2):
        model = small()
        training.train(model, few_images, quick(), checkpoint=tmp_path / "run.pt")
        assert not model.training


def test_images_are_not_moved_away_from_their_maps_of_labels(few_images, quick):
    scenes = segmentation.scenes(few_images, num_train=16, num_test=4)
    with pytest.raises(ValueError, match="would move the images and not their maps of labels"):
        training.Trainer(models.msnet(width=4), scenes, quick(augment="crop-flip", batch_size=8))


def test_a_held_out_share_of_less_than_one_image_is_refused(few_images, quick):
    with pytest.raises(ValueError, match="is less than one image: take at least"):
        training.Trainer(small(), few_images, quick(validation_fraction=1e-4))


def test_images_to_test_on_are_asked_for_before_the_training(few_images, quick):
    untested = dataclasses.replace(
        few_images, test_images=few_images.test_images[:0], test_labels=few_images.test_labels[:0]
    )
    with pytest.raises(ValueError, match="no images to test on"):
        training.Trainer(small(), untested, quick())


def test_a_network_with_one_number_for_an_image_is_refused(few_images, quick):
    class OneNumber(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(784))

        def forward(self, x):
            return x.flatten(1) @ self.weight

    with pytest.raises(ValueError, match="it must have an output for every class"):
        training.Trainer(OneNumber(), few_images, quick())


def test_the_default_dual_learning_rates_remove_the_slowest_skip_when_the_cap_would_with_a_margin():
    config = training.TrainConfig(remove_by=0.5, dual_lr_spread=4.0, stagger=0.0)
    slowest = training.default_dual_lr(2000, 0.95, config) / 4.0
    assert constraints.predict_removal_step(0.95, config.skip_lr, slowest, 0.3) == pytest.approx(
        1000, rel=1e-6
    )
    assert (
        700 < constraints.predict_removal_step(0.95, config.skip_lr, slowest) < 900
    )  # without a slope: a clock


@pytest.mark.parametrize("schedule", ["fixed", "cut", "linear", "cosine"])
def test_a_schedule_sets_the_skip_weights_without_looking_at_the_loss(few_images, quick, schedule):
    config = quick(skip_schedule=schedule, log_every=1, dual_lr=0.5)
    result = training.train(small(skip_weight=0.8), few_images, config)
    expected = [
        constraints.scheduled_skip_weight(schedule, step, result.num_steps, 0.8, config.remove_by)
        for step in result.history["step"]
    ]
    assert result.history["mean_skip_weight"].tolist() == pytest.approx(expected, abs=1e-6)
    assert result.history["loss"].tolist() == result.history["lagrangian"].tolist()


def test_records_carry_the_cap_and_no_skip_weight_is_above_it(few_images, quick):
    trainer = training.Trainer(small(), few_images, quick(log_every=1, dual_lr=0.0, stagger=0.0))
    records = list(trainer)
    assert [record.cap for record in records] == [
        constraints.falling_cap(step, 16, 2 / 3) for step in range(1, 17)
    ]
    assert all(record.skip_weights.max() <= record.cap + 1e-7 for record in records)


@pytest.mark.parametrize(
    ("choices", "staggering"),
    [
        ({}, 0.9),
        ({"stagger": -0.5}, -0.5),
        ({"stagger": 0.0}, 0.0),
        ({"skip_schedule": "cosine"}, 0.0),
        ({"skip_schedule": "cosine", "stagger": 0.5}, 0.5),
        ({"skip_schedule": "penalty"}, 0.0),
        ({"skip_target": 1.0}, 0.0),
    ],
    ids=str,
)
def test_skips_go_one_after_the_other_only_where_multipliers_take_them_or_it_is_asked_for(
    choices, staggering
):
    assert training.TrainConfig(**choices).staggering == staggering


def test_by_default_the_skips_go_in_order_from_the_input_side_by_the_multipliers(images):
    model = models.mlp(depth=8, seed=0)
    result = training.train(model, images, training.TrainConfig(num_epochs=5, device="cpu"))
    assert list(result.first_zero_steps) == sorted(result.first_zero_steps)
    assert len(set(result.first_zero_steps)) == 8
    assert result.removed_by == "multipliers"


@pytest.mark.parametrize("stagger", [0.5, -0.5])
@pytest.mark.parametrize("schedule", ["multipliers", "linear"])
def test_with_a_stagger_each_skip_weight_has_its_own_window(few_images, quick, stagger, schedule):
    config = quick(
        log_every=1, stagger=stagger, dual_lr=0.0, skip_lr=0.0, remove_by=0.75, skip_schedule=schedule
    )
    trainer = training.Trainer(small(depth=3, skip_weight=1.0), few_images, config)
    end = 0.75 * trainer.num_steps
    starts = [0.0, 0.25 * end, 0.5 * end]  # each takes half of the time
    for record in trainer:
        share = [min(1.0, max(0.0, (record.step - start) / (0.5 * end))) for start in starts]
        expected = [min(1.0, 2.0 - 2.0 * t) if schedule == "multipliers" else 1.0 - t for t in share]
        if stagger < 0.0:
            expected.reverse()
        assert record.skip_weights.tolist() == pytest.approx(expected, abs=1e-6)
        if schedule == "multipliers":
            assert record.cap == pytest.approx(max(expected), abs=1e-6)


@pytest.mark.parametrize("schedule", ["multipliers", "linear", "cosine", "cut"])
@pytest.mark.parametrize("remove_by", [0.85, 1.0])
@pytest.mark.parametrize("num_steps", [7, 39, 1170, 4683, 46801])
def test_with_a_stagger_every_skip_is_exactly_0_when_its_window_ends(num_steps, remove_by, schedule):
    config = training.TrainConfig(stagger=0.9, remove_by=remove_by, skip_lr=0.0, skip_schedule=schedule)
    alpha = nn.Parameter(torch.full((11,), 0.95))
    phase_out = training.PhaseOut(alpha, config, num_steps)
    for step in (1, num_steps // 2, math.ceil(remove_by * num_steps)):
        phase_out.step(step)
    assert not alpha.any()


def test_with_a_stagger_no_multiplier_rises_before_its_window(few_images, quick):
    config = quick(log_every=1, stagger=0.5, dual_lr=0.5, skip_lr=0.0, remove_by=0.75, dual_lr_spread=1.0)
    trainer = training.Trainer(small(depth=3), few_images, config)
    starts = constraints.removal_starts(trainer.num_steps, 0.75, 0.5, 3)
    for record in trainer:
        assert (record.multipliers > 0.0).tolist() == (starts < record.step).tolist()


def test_the_default_multiplier_step_size_is_sized_for_the_window():
    config = training.TrainConfig(stagger=0.9, remove_by=0.5, dual_lr_spread=1.0)
    dual_lr = training.default_dual_lr(2000, 0.95, config)
    assert constraints.predict_removal_step(0.95, config.skip_lr, dual_lr, 0.3) == pytest.approx(75, rel=1e-6)


def test_population_statistics_are_those_of_all_training_images(few_images, quick):
    def trained(**choices):
        model = small(depth=3)
        return model, training.train(model, few_images, quick(**choices))

    model, result = trained(population_statistics=True)
    other, before = trained()
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    x = few_images.train_images.flatten(1)
    with torch.no_grad():
        z = model.layers[0].linear(model.input_layer(x))
    norm, running = model.layers[0].norm, other.layers[0].norm
    torch.testing.assert_close(norm.running_mean, z.mean(dim=0))
    torch.testing.assert_close(norm.running_var, z.var(dim=0))
    assert not torch.allclose(running.running_mean, norm.running_mean, atol=1e-3)
    assert result.test_accuracy == training.accuracy(model, few_images.test_images, few_images.test_labels)
    assert not model.training
    assert (
        result.history["test_accuracy"].iloc[:-1].tolist()
        == before.history["test_accuracy"].iloc[:-1].tolist()
    )


@pytest.mark.parametrize("num_images", [33, 100])
def test_every_image_counts_alike_in_the_population_statistics(few_images, num_images):
    model = small(depth=2)
    images = few_images.train_images[:num_images]
    training.settle_statistics(model, images, batch_size=32)
    x = model.input_layer(images.flatten(1))
    mean = model.layers[0].linear(x).mean(dim=0)
    torch.testing.assert_close(model.layers[0].norm.running_mean, mean, rtol=0.0, atol=1e-2)


# What a run hands out.


def test_a_run_learns_and_its_accuracy_is_that_of_its_network(phased_out, few_images):
    with torch.no_grad():
        answers = phased_out.model(few_images.test_images).argmax(dim=1)
    assert phased_out.test_accuracy == pytest.approx(
        (answers == few_images.test_labels).double().mean().item(), abs=1e-12
    )
    history = phased_out.history
    assert history["loss"].iloc[-16:].mean() < history["loss"].iloc[:16].mean() - 0.5
    assert history["test_accuracy"].iloc[-1] == phased_out.test_accuracy > 0.6


def test_history_and_layers_are_tidy(phased_out):
    history, layers = phased_out.history, phased_out.layers
    assert history["step"].tolist() == list(range(1, 161))
    assert history["epoch"].tolist() == pytest.approx([step / 16 for step in range(1, 161)])
    expected_lr = [3e-3 * 0.5 * (1 + np.cos(np.pi * step / 160)) for step in range(1, 161)]
    assert history["lr"].tolist() == pytest.approx(expected_lr, abs=1e-9)
    assert history["seconds"].is_monotonic_increasing
    assert history["validation_accuracy"].isna().all()
    assert len(layers) == 160 * 4
    assert sorted(layers["layer"].unique()) == [1, 2, 3, 4]
    assert layers.groupby("step")["skip_weight"].mean().tolist() == pytest.approx(
        history["mean_skip_weight"].tolist()
    )


@pytest.mark.parametrize(("log_every", "steps"), [(None, [8, 16]), (5, [5, 10, 15, 16]), (100, [16])])
def test_records_come_after_each_interval_and_at_the_end(few_images, quick, log_every, steps):
    assert [
        record.step for record in training.Trainer(small(), few_images, quick(log_every=log_every))
    ] == steps


def test_the_loss_of_a_record_is_the_mean_over_its_steps(few_images, quick):
    fine = training.train(small(), few_images, quick(log_every=1)).history
    coarse = training.train(small(), few_images, quick(log_every=8)).history
    for column in ("loss", "lagrangian", "train_accuracy"):
        means = fine[column].to_numpy().reshape(2, 8).mean(axis=1)
        assert coarse[column].tolist() == pytest.approx(means.tolist(), rel=1e-5)


def test_how_often_a_run_is_looked_at_does_not_change_it(few_images, quick):
    fine, coarse = (training.train(small(), few_images, quick(log_every=log_every)) for log_every in (1, 16))
    states = fine.model.state_dict(), coarse.model.state_dict()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_the_lagrangian_is_the_loss_plus_multipliers_times_skips(few_images, quick):
    records = list(training.Trainer(small(), few_images, quick(log_every=1, dual_lr=0.1)))
    for before, record in itertools.pairwise(records):
        penalty = torch.dot(before.multipliers, before.skip_weights).item()
        assert record.lagrangian - record.loss == pytest.approx(penalty, abs=1e-5)


def test_the_network_is_left_in_eval_mode(phased_out, few_images, quick):
    assert not phased_out.model.training
    assert not training.train(linear(), few_images, quick(num_epochs=1)).model.training


@pytest.mark.parametrize("choices", [{}, {"log_every": 3}, {"log_every": 3, "optimizer": "sgd"}], ids=str)
def test_leaving_the_loop_and_iterating_again_goes_on(few_images, quick, choices):
    whole = training.train(small(), few_images, quick(**choices))
    trainer = training.Trainer(small(), few_images, quick(**choices))
    for _ in trainer:
        break
    assert not trainer.result().is_complete
    trainer.model.eval()  # somebody looks at the network and does not put its mode back
    for _ in trainer:
        pass
    assert_same_run(trainer.result(), whole)
    assert list(trainer) == []


def test_a_stop_ends_the_run_in_the_step_in_which_it_is_set_with_a_last_record(few_images, quick):
    model, stop = small(), threading.Event()
    seen = []

    def set_stop_in_step_5(module, args):
        seen.append(None)
        if len(seen) == 5 + 1:  # the trainer looks at the number of outputs first
            stop.set()

    trainer = training.Trainer(model, few_images, quick(num_epochs=50), stop=stop)
    seen.clear()
    seen.append(None)
    model.register_forward_pre_hook(set_stop_in_step_5)
    records = list(trainer)
    assert [record.step for record in records] == [5]
    result = trainer.result()
    assert (result.num_steps, result.is_complete) == (5, False)
    assert result.test_accuracy == records[-1].test_accuracy
    assert result.removed_at_step is None


def test_a_run_stopped_from_another_thread_ends_and_keeps_what_was_done(few_images, quick):
    stop = threading.Event()
    trainer = training.Trainer(small(), few_images, quick(num_epochs=10_000), stop=stop)
    thread = threading.Thread(target=lambda: list(trainer))
    thread.start()
    while trainer.step < 3 and thread.is_alive():
        stop.wait(0.01)
    stop.set()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert trainer.records[-1].step == trainer.step < trainer.num_steps


def test_a_result_that_is_printed_is_its_numbers_and_settings(few_images, quick):
    printed = repr(training.train(models.mlp(depth=2, width=4, seed=0), few_images, quick(num_epochs=1)))
    assert "test_accuracy=" in printed and "removed_by=" in printed
    assert "Linear" not in printed and "\n" not in printed


def test_a_result_before_the_first_step_says_so(few_images, quick):
    result = training.Trainer(small(), few_images, quick()).result()
    assert (result.num_steps, result.is_complete, len(result.history), len(result.layers)) == (0, False, 0, 0)
    assert np.isnan(result.test_accuracy)


def rows(images):
    return [image.numpy().tobytes() for image in images]


def test_held_out_images_are_the_same_for_every_seed_and_never_trained_on(few_images, quick):
    first, second = (
        training.Trainer(small(), few_images, quick(validation_fraction=0.25, seed=seed)).examples
        for seed in (0, 1)
    )
    held_out, trained_on = rows(first.validation[0]), rows(first.train_images)
    assert rows(second.validation[0]) == held_out
    assert len(held_out) == 128
    assert not set(held_out) & set(trained_on)
    assert sorted(held_out + trained_on) == sorted(rows(few_images.train_images))
    labels = dict(zip(rows(few_images.train_images), few_images.train_labels.tolist(), strict=True))
    assert first.validation[1].tolist() == [labels[row] for row in held_out]


def test_validation_accuracy_is_that_of_the_held_out_images(few_images, quick):
    trainer = training.Trainer(small(), few_images, quick(validation_fraction=0.25))
    records = list(trainer)
    assert trainer.num_steps == 2 * (384 // 64)
    assert records[-1].validation_accuracy == training.accuracy(trainer.model, *trainer.examples.validation)
    assert trainer.result().validation_accuracy == records[-1].validation_accuracy


# Other networks, optimizers and number formats.


def test_any_network_trains_and_has_no_skips_to_report(few_images, quick):
    result = training.train(linear(), few_images, quick(num_epochs=4, log_every=1))
    assert result.history["loss"].iloc[-1] < result.history["loss"].iloc[0] - 0.5
    assert result.history[["mean_skip_weight", "num_skips", "cap"]].isna().all(axis=None)
    assert len(result.layers) == 0
    assert (result.removed_at_step, result.removed_by, result.first_zero_steps) == (None, None, ())


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("lr_schedule", ["cosine", "constant"])
def test_weights_move_as_torchs_own_optimizer_moves_them(few_images, quick, optimizer, lr_schedule):
    whole = dataclasses.replace(
        few_images, train_images=few_images.train_images[:64], train_labels=few_images.train_labels[:64]
    )
    result = training.train(
        linear(),
        whole,
        quick(num_epochs=6, lr=0.01, optimizer=optimizer, lr_schedule=lr_schedule, weight_decay=0.1),
    )
    model = linear()
    peer = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "sgd": functools.partial(torch.optim.SGD, momentum=0.9),
    }[optimizer](
        [
            {"params": [model[1].weight], "weight_decay": 0.1},
            {"params": [model[1].bias], "weight_decay": 0.0},
        ],
        lr=0.01,
    )
    for step in range(6):
        if lr_schedule == "cosine":
            for group in peer.param_groups:
                group["lr"] = 0.01 * 0.5 * (1 + np.cos(np.pi * step / 6))
        peer.zero_grad()
        functional.cross_entropy(model(whole.train_images), whole.train_labels).backward()
        peer.step()
    for name, parameter in model.named_parameters():
        trained = result.model.get_parameter(name)
        torch.testing.assert_close(trained, parameter, atol=1e-5, rtol=1e-4, msg=name)
    assert result.history["lr"].iloc[-1] == pytest.approx(
        0.01 if lr_schedule == "constant" else 0.0, abs=1e-12
    )


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("has_only_vectors", [True, False])
def test_weight_decay_is_for_parameters_of_two_and_more_dimensions(
    few_images, quick, optimizer, has_only_vectors
):
    """A loss without gradient: decay alone moves the parameters, and it shrinks all of them that it is for."""

    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            shapes = [(3,), ()] if has_only_vectors else [(3,), (), (3, 2), (4, 3, 2, 2)]
            self.values = nn.ParameterList([nn.Parameter(torch.ones(shape)) for shape in shapes])

        def forward(self, x):
            return 0.0 * sum(value.sum() for value in self.values) + x.flatten(1)[:, :10]

    result = training.train(Constant(), few_images, quick(optimizer=optimizer, weight_decay=0.5))
    for value in result.model.values:
        assert bool((value < 1.0).all() if value.ndim >= 2 else (value == 1.0).all()), value.shape


def convolutional(num_channels=1):
    """A small convolutional network, its outputs one for each image."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(num_channels, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(),
            nn.Conv2d(4, 8, 3, stride=2), nn.ReLU(),
            nn.Conv2d(8, 8, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10),
        )  # fmt: skip


def in_colour(images):
    """The same images with three channels."""
    return dataclasses.replace(
        images,
        train_images=images.train_images.repeat(1, 3, 1, 1),
        test_images=images.test_images.repeat(1, 3, 1, 1),
    )


@pytest.mark.parametrize("num_channels", [1, 3])
@pytest.mark.parametrize("choices", [{}, {"augment": "crop-flip", "validation_fraction": 0.2}], ids=str)
def test_every_convolution_of_a_channels_last_run_sees_its_images_pixel_by_pixel(
    few_images, quick, num_channels, choices
):
    images = few_images if num_channels == 1 else in_colour(few_images)
    model, seen = convolutional(num_channels), []
    for module in model:
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda module, args, output: seen.append((args[0], output, module.weight.detach()))
            )
    config = quick(num_epochs=1, log_every=4, channels_last=True, **choices)
    result = training.train(model, images, config)
    assert len(seen) > 3 * result.num_steps
    for tensors in seen:
        assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in tensors)
    batches = [x for x, _, _ in seen if x.shape[1] == num_channels > 1]
    hidden = [output for _, output, _ in seen]
    assert {tensor.stride(1) for tensor in batches + hidden} == {1}
    assert few_images.train_images.is_contiguous()


def test_channels_last_changes_no_more_than_rounding_and_nothing_without_convolutions(few_images, quick):
    for make, tolerance in ((convolutional, 1e-4), (small, 0.0)):
        one, other = (
            training.train(make(), few_images, quick(channels_last=is_last)) for is_last in (False, True)
        )
        assert other.history["loss"].tolist() == pytest.approx(one.history["loss"].tolist(), abs=tolerance)


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_convolutional_network_trains_in_mixed_precision(few_images, quick, channels_last):
    single, mixed = (
        training.train(
            convolutional(), few_images, quick(mixed_precision=is_mixed, channels_last=channels_last)
        )
        for is_mixed in (False, True)
    )
    assert mixed.history["loss"].tolist() == pytest.approx(single.history["loss"].tolist(), abs=0.1)
    assert mixed.history["loss"].tolist() != single.history["loss"].tolist()
    assert {parameter.dtype for parameter in mixed.model.parameters()} == {torch.float32}


def inputs_of(images, config):
    """What the network is given in the course of a run, in training and in eval mode."""
    model, given = linear(), {True: [], False: []}
    model.register_forward_pre_hook(lambda module, args: given[module.training].append(args[0].clone()))
    training.train(model, images, config)
    return given


def test_augmentation_is_for_training_images_alone_and_a_function_of_seed_and_step(few_images, quick):
    plain, one, again, other = (
        inputs_of(few_images, quick(**choices))
        for choices in (
            {},
            {"augment": "crop-flip"},
            {"augment": "crop-flip"},
            {"augment": "crop-flip", "seed": 1},
        )
    )
    assert all(map(torch.equal, plain[False], one[False]))
    assert all(map(torch.equal, one[True], again[True]))
    assert not any(map(torch.equal, one[True], other[True]))
    assert not any(map(torch.equal, plain[True], one[True]))
    assert plain[True][0].shape == one[True][0].shape


def test_each_step_of_each_seed_is_augmented_in_its_own_way(few_images, quick):
    """All images are one image, so that batches differ by their augmentation alone."""
    image = few_images.train_images[:1].expand(512, -1, -1, -1)
    images = dataclasses.replace(few_images, train_images=image)
    batches = [x for seed in (0, 1) for x in inputs_of(images, quick(augment="crop-flip", seed=seed))[True]]
    assert len(batches) == 2 * 16
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(batches, 2))


@pytest.mark.parametrize(
    "choices",
    [{"connection": c} for c in ("plain", "residual", "highway")]
    + [{"skip": s} for s in ("convex", "additive", "activation")],
    ids=str,
)
def test_every_connection_trains_in_mixed_precision(few_images, quick, choices):
    single, mixed = (
        training.train(small(**choices), few_images, quick(num_epochs=1, mixed_precision=is_mixed))
        for is_mixed in (False, True)
    )
    assert mixed.history["loss"].iloc[-1] == pytest.approx(single.history["loss"].iloc[-1], abs=0.1)
    assert mixed.history["loss"].iloc[-1] != single.history["loss"].iloc[-1]
    assert {parameter.dtype for parameter in mixed.model.parameters()} == {torch.float32}


def test_a_compiled_network_trains_to_the_same_numbers(few_images, quick, monkeypatch):
    compiled = []

    def compile_without_a_c_compiler(model):
        compiled.append(model)
        return original(model, backend="eager")

    original = torch.compile
    monkeypatch.setattr(torch, "compile", compile_without_a_c_compiler)
    one, other = (
        training.train(small(depth=2), few_images, quick(num_epochs=1, log_every=4, compile=is_compiled))
        for is_compiled in (False, True)
    )
    torch.compiler.reset()
    assert compiled == [other.model]
    assert other.history["loss"].tolist() == pytest.approx(one.history["loss"].tolist(), rel=1e-4)
    assert other.removed_at_step == one.removed_at_step


# Refusals.


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"num_epochs": 0}, "num_epochs must be an integer of at least 1, got 0"),
        ({"batch_size": 1}, "batch_size must be an integer of at least 2, got 1"),
        ({"lr": 0.0}, "lr must be a number above 0, got 0.0"),
        ({"lr": -1e-3}, "lr must be a number above 0, got -0.001"),
        ({"skip_lr": -1e-3}, "skip_lr must be a number at least 0, got -0.001"),
        ({"dual_lr": -1e-3}, "dual_lr must be a number at least 0, got -0.001"),
        ({"dual_lr": float("nan")}, "dual_lr must be a number at least 0, got nan"),
        ({"dual_lr_spread": 0.0}, "dual_lr_spread must be a number above 0, got 0.0"),
        ({"damping": -0.1}, "damping must be a number at least 0"),
        ({"weight_decay": "much"}, "weight_decay must be a number at least 0, got 'much'"),
        ({"skip_target": 0.5}, "skip_target must be 0.0 or 1.0, got 0.5"),
        ({"skip_target": None}, "skip_target must be 0.0 or 1.0, got None"),
        ({"skip_penalty": -0.25}, "skip_penalty must be a number at least 0, got -0.25"),
        (
            {"augment": "crop-flop"},
            r"augment must be one of 'none', 'crop-flip', .* Did you mean 'crop-flip'\?",
        ),
        ({"remove_by": 0.0}, r"remove_by must be a number in \(0, 1\], got 0.0"),
        ({"remove_by": 1.5}, r"remove_by must be a number in \(0, 1\], got 1.5"),
        ({"skip_schedule": "lineal"}, r"skip_schedule must be one of .* Did you mean 'linear'\?"),
        ({"optimizer": "adan"}, r"optimizer must be one of .* Did you mean 'adam'\?"),
        ({"momentum": 2.0}, r"momentum must be a number in \[0, 1\]"),
        ({"lr_schedule": "cosin"}, r"Did you mean 'cosine'\?"),
        ({"validation_fraction": 1.0}, "validation_fraction must be a number in"),
        ({"log_every": 0}, "log_every must be an integer of at least 1, got 0"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
    ],
)
def test_a_config_that_cannot_be_is_refused_in_one_sentence(choices, message):
    with pytest.raises(ValueError, match=message):
        training.TrainConfig(**choices)


def test_a_misspelt_setting_is_refused():
    with pytest.raises(TypeError, match="dual_rl"):
        training.TrainConfig(dual_rl=1e-3)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "nothing"])
def test_a_device_that_is_not_there_is_refused_with_the_choices(few_images, quick, device):
    with pytest.raises(
        ValueError, match=f"device '{device}' cannot be used on this machine: take 'auto', 'cpu'"
    ):
        training.Trainer(small(), few_images, quick(device=device))


def test_auto_finds_a_device_that_works():
    device = training.pick_device("auto")
    assert torch.ones(2, device=device).sum().item() == 2.0


@pytest.mark.parametrize(
    ("choices", "number"),
    [({"batch_size": 513}, 512), ({"batch_size": 300, "validation_fraction": 0.5}, 256)],
)
def test_a_batch_larger_than_the_data_is_refused(few_images, quick, choices, number):
    with pytest.raises(
        ValueError, match=f"batch_size must be at most the number of training images, {number}, got"
    ):
        training.Trainer(small(), few_images, quick(**choices))


def test_a_network_with_too_few_outputs_is_refused_before_it_trains(few_images, quick):
    with pytest.raises(ValueError, match="7 outputs for 10 classes: make it with num_classes=10"):
        training.Trainer(small(num_classes=7), few_images, quick())


def test_divergence_names_step_step_size_and_layer_and_keeps_the_records(few_images, quick):
    model = small(normalization="none", connection="residual")
    trainer = training.Trainer(
        model, few_images, quick(lr=1e4, optimizer="sgd", lr_schedule="constant", log_every=1)
    )
    with pytest.raises(training.DivergenceError) as raised:
        list(trainer)
    error = raised.value
    assert error.step > 1
    assert error.lr == 1e4
    assert error.layer in dict(model.named_parameters())
    assert f"in step {error.step} of 16 at lr=1e+04" in str(error)
    assert error.layer in str(error)
    assert [record.step for record in trainer.records] == list(range(1, error.step))
    assert trainer.result().history["step"].tolist() == list(range(1, error.step))
    assert not trainer.result().is_complete


def test_training_in_stretches_is_training_in_one_go(few_images, quick):
    in_one_go, in_stretches = (
        training.Trainer(models.mlp(depth=2, width=8, seed=0), few_images, quick(log_every=4))
        for _ in range(2)
    )
    for _ in in_one_go:
        pass
    for step in (1, 3, 9, 100):
        for record in in_stretches.until(step):
            assert in_stretches.model.training is (record.step < 16)
        assert in_stretches.step == min(step, 16)
    assert [record.step for record in in_stretches.records] == [1, 3, 4, 8, 9, 12, 16]
    for ours, theirs in zip(in_stretches.model.parameters(), in_one_go.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    "name", ["skip_gradient", "population_statistics", "mixed_precision", "channels_last", "compile"]
)
def test_what_is_yes_or_no_is_not_taken_from_a_string(name):
    with pytest.raises(ValueError, match=f"{name} must be True or False, got 'no'"):
        training.TrainConfig(**{name: "no"})


def test_a_seed_that_no_generator_takes_is_refused():
    with pytest.raises(ValueError, match="seed must be below 2\\*\\*64"):
        training.TrainConfig(seed=2**64)
    with pytest.raises(ValueError, match="seed must be below 2\\*\\*64"):
        models.mlp(seed=2**64)
    assert training.TrainConfig(seed=2**64 - 1).seed == 2**64 - 1
    models.mlp(depth=1, width=4, seed=2**64 - 1)


def test_a_device_of_no_name_is_refused():
    with pytest.raises(ValueError, match="device None cannot be used"):
        training.pick_device(None)
