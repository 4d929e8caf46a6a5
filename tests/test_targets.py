"""Skip weights driven to 1, which takes activations away; the fixed penalty, for either target."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from van_tutorial import constraints, models, training


def leaky(skip_weight=0.0, **choices):
    """A network whose activations can be phased out."""
    return models.mlp(
        **{"depth": 4, "width": 12, "skip": "activation", "seed": 0, "skip_weight": skip_weight, **choices}
    )


def is_affine(model, inputs):
    """Whether a network in eval mode maps the middle of any two inputs to the middle of their outputs."""
    with torch.no_grad():
        model = model.double().eval()
        one, other = inputs[:50].double(), inputs[50:100].double()
        middle, ends = model((one + other) / 2), (model(one) + model(other)) / 2
    return torch.allclose(middle, ends, atol=1e-8)


ENDS = {
    "multipliers": {"skip_lr": 0.05, "dual_lr": 0.5, "stagger": 0.0, "remove_by": 1.0, "num_epochs": 4},
    "multipliers, no cap": {"skip_lr": 0.2, "dual_lr": 1.0, "stagger": 0.0, "remove_by": None},
    "penalty": {"skip_schedule": "penalty", "skip_lr": 1.0, "skip_penalty": 1.0, "remove_by": None},
    "cap": {"dual_lr": 0.0, "remove_by": 0.5},
    "cap after penalty": {"skip_schedule": "penalty", "skip_penalty": 0.0, "remove_by": 0.5},
    "linear": {"skip_schedule": "linear"},
    "cosine": {"skip_schedule": "cosine", "remove_by": None},
    "left": {"dual_lr": 0.0, "remove_by": None},
    "left by the penalty": {"skip_schedule": "penalty", "skip_penalty": 0.0, "remove_by": None},
    "fixed": {"skip_schedule": "fixed"},
    "cut": {"skip_schedule": "cut"},
    "linear, sequentially": {"skip_schedule": "linear", "stagger": 0.5},
    "cap, sequentially": {"dual_lr": 0.0, "remove_by": 0.5, "stagger": 0.5},
    "multipliers, sequentially": {"skip_lr": 0.2, "dual_lr": 1.0, "remove_by": None, "stagger": -0.5},
}


@pytest.mark.parametrize(
    ("end", "removed_by", "num_capped"),
    [
        ("multipliers", "multipliers", 0),
        ("multipliers, no cap", "multipliers", 0),
        ("penalty", "penalty", 0),
        ("cap", "cap", 4),
        ("cap after penalty", "cap", 4),
        ("linear", "schedule", 0),
        ("cosine", "schedule", 0),
        ("left", None, 0),
        ("left by the penalty", None, 0),
        ("fixed", None, 0),
        ("cut", "schedule", 0),
        ("linear, sequentially", "schedule", 0),
        ("cap, sequentially", "cap", 4),
        ("multipliers, sequentially", "multipliers", 0),
    ],
)
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_a_run_ends_at_its_target_and_says_who_brought_it_there(
    few_images, quick, target, end, removed_by, num_capped
):
    model = leaky(skip_weight=0.3 if target == 1.0 else 0.7)
    result = training.train(model, few_images, quick(skip_target=target, log_every=1, **ENDS[end]))
    assert (result.removed_by, result.num_capped) == (removed_by, num_capped)
    at_target = models.skip_weights(model) == target
    assert bool(at_target.all()) is (removed_by is not None)
    if target == 1.0:
        assert is_affine(model, few_images.test_images) is (removed_by is not None)
    table = result.layers.pivot_table(index="step", columns="layer", values="skip_weight")
    assert table.min(axis=None) >= 0.0
    assert table.max(axis=None) <= 1.0
    is_away = (table != target).any(axis=1)
    last = int(is_away[is_away].index[-1])
    assert result.removed_at_step == (None if last == result.num_steps else last + 1)
    arrivals = [(table[layer] == target) for layer in table]
    assert list(result.first_zero_steps) == [int(a.idxmax()) if a.any() else None for a in arrivals]


@pytest.mark.parametrize("skip_schedule", ["multipliers", "linear"])
def test_weights_that_start_at_their_target_are_there_from_the_start(few_images, quick, skip_schedule):
    config = quick(skip_schedule=skip_schedule, skip_target=1.0, skip_lr=0.0)
    result = training.train(leaky(skip_weight=1.0), few_images, config)
    assert result.removed_at_step == 0
    assert result.first_zero_steps == (0,) * 4


def test_a_fixed_schedule_leaves_the_skip_weights_as_they_are(few_images, quick):
    model = leaky(skip_weight=0.3)
    before = models.skip_weights(model)
    training.train(model, few_images, quick(skip_schedule="fixed", skip_target=1.0))
    assert torch.equal(models.skip_weights(model), before)


@pytest.mark.parametrize("remove_by", [1 / 3, 0.5, 1.0])
@pytest.mark.parametrize(
    ("schedule", "slope"),
    [("linear", lambda t: t), ("cosine", lambda t: 0.5 * (1.0 - np.cos(np.pi * t)))],
    ids=["linear", "cosine"],
)
def test_a_schedule_to_1_is_vanillanets_slope(few_images, quick, schedule, slope, remove_by):
    config = quick(num_epochs=3, log_every=1, skip_target=1.0, skip_schedule=schedule, remove_by=remove_by)
    records = list(training.Trainer(leaky(), few_images, config))
    ends_at = remove_by * len(records)
    for record in records:
        expected = slope(min(1.0, record.step / ends_at))
        assert record.skip_weights.tolist() == pytest.approx([expected] * 4, abs=1e-7)
        assert record.loss == record.lagrangian
        assert bool((record.skip_weights == 1.0).all()) is (record.step >= ends_at)


def by_hand(model, images, config):
    """Gradient steps on weights and skip weights, projection, and ascent on the multipliers of 1 - alpha = 0."""
    alpha = model.skip_weight
    weights = [parameter for parameter in model.parameters() if parameter is not alpha]
    multipliers = torch.zeros_like(alpha)
    for step in range(1, config.num_epochs + 1):
        loss = functional.cross_entropy(model(images.train_images), images.train_labels)
        if config.skip_schedule == "penalty":
            extra = config.skip_penalty * (1.0 - alpha**2).abs().sum()
        else:
            extra = (multipliers * (1.0 - alpha)).sum()
        gradients = torch.autograd.grad(loss + extra, [alpha, *weights])
        floor = 1.0 - constraints.falling_cap(step, config.num_epochs, config.remove_by)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients[1:], strict=True):
                weight -= config.lr * gradient
            alpha -= config.skip_lr * gradients[0]
            alpha.clamp_(floor, 1.0)
            if config.skip_schedule == "multipliers":
                multipliers += config.dual_lr * (1.0 - alpha)
        yield alpha.detach().clone(), multipliers.clone(), (loss + extra).item()


@pytest.mark.parametrize("skip_schedule", ["multipliers", "penalty"])
@pytest.mark.parametrize("remove_by", [None, 0.8])
def test_skip_weights_on_their_way_to_1_follow_steps_done_by_hand(
    few_images, quick, skip_schedule, remove_by
):
    whole = dataclasses.replace(
        few_images, train_images=few_images.train_images[:128], train_labels=few_images.train_labels[:128]
    )
    config = quick(
        num_epochs=15, batch_size=128, lr=0.05, optimizer="sgd", momentum=0.0, lr_schedule="constant",
        skip_target=1.0, skip_lr=0.1, dual_lr=0.1, dual_lr_spread=1.0, remove_by=remove_by, log_every=1,
        skip_schedule=skip_schedule,
    )  # fmt: skip
    records = list(training.Trainer(leaky(skip_weight=0.2), whole, config))
    expected = list(by_hand(leaky(skip_weight=0.2), whole, config))
    for record, (alpha, multipliers, lagrangian) in zip(records, expected, strict=True):
        torch.testing.assert_close(record.skip_weights, alpha, atol=1e-4, rtol=0.0)
        torch.testing.assert_close(record.multipliers, multipliers, atol=1e-4, rtol=0.0)
        assert record.lagrangian == pytest.approx(lagrangian, abs=1e-3)
    assert (records[-1].skip_weights - records[0].skip_weights).abs().max() > 0.1


@pytest.mark.parametrize("target", [0.0, 1.0])
@pytest.mark.parametrize("strength", [0.0, 0.25, 2.0])
def test_the_fixed_penalty_pulls_most_at_the_target_and_not_at_all_far_from_it(target, strength):
    alpha = nn.Parameter(torch.tensor([0.0, 0.2, 0.9, 1.0]))
    config = training.TrainConfig(skip_schedule="penalty", skip_target=target, skip_penalty=strength)
    penalty = training.PhaseOut(alpha, config, num_steps=10).penalty()
    penalty.backward()
    if target == 1.0:
        value, gradient = (1.0 - alpha**2).abs().sum(), -2.0 * alpha
    else:
        value, gradient = (1.0 - (1.0 - alpha) ** 2).sum(), 2.0 * (1.0 - alpha)
    assert penalty.item() == pytest.approx(strength * value.item(), abs=1e-6)
    torch.testing.assert_close(alpha.grad, strength * gradient.detach())


def test_under_the_penalty_alone_the_layers_part_and_some_stay(few_images, quick):
    """A layer whose activation the loss wants more than the penalty pulls stays away from 1."""
    alpha = nn.Parameter(torch.tensor([0.5, 0.5]))
    config = training.TrainConfig(
        skip_schedule="penalty", skip_target=1.0, skip_penalty=0.25, skip_lr=0.1, remove_by=None
    )
    phase_out = training.PhaseOut(alpha, config, num_steps=200)
    for step in range(1, 201):
        alpha.grad = None
        (torch.tensor([0.1, 0.6]).dot(alpha) + phase_out.penalty()).backward()
        phase_out.step(step)
    assert alpha.tolist() == [1.0, 0.0]
    assert (phase_out.removed_at_step, phase_out.removed_by) == (None, None)
    assert phase_out.first_zero_steps[0] is not None
    assert phase_out.first_zero_steps[1] is None


def test_a_flicker_at_1_that_the_cap_ends_is_not_the_caps_removal():
    alpha = nn.Parameter(torch.tensor([0.1]))
    config = training.TrainConfig(skip_target=1.0, skip_lr=1.0, dual_lr=0.0, remove_by=1.0)
    gradients = [-1.0, *[0.005, -0.005] * 9, 0.005]
    phase_out = training.PhaseOut(alpha, config, num_steps=len(gradients))
    for step, gradient in enumerate(gradients, 1):
        alpha.grad = torch.tensor([gradient])
        phase_out.step(step)
    assert alpha.item() == 1.0
    assert (phase_out.removed_by, phase_out.num_capped, phase_out.first_zero_steps) == ("multipliers", 0, [1])


def test_default_dual_learning_rates_look_at_how_far_it_is_to_the_target():
    to_1, to_0 = training.TrainConfig(skip_target=1.0), training.TrainConfig(stagger=0.0)
    for skip_weight in (0.0, 0.25, 0.5):
        one = training.default_dual_lr(1000, skip_weight, to_1)
        assert one == training.default_dual_lr(1000, 1.0 - skip_weight, to_0) > 0.0
    assert training.default_dual_lr(1000, 1.0, to_1) == 0.0


@pytest.mark.parametrize(
    ("cap", "to_0", "to_1"),
    [
        (1.0, [0.0, 0.5, 1.0], [0.0, 0.5, 1.0]),
        (0.25, [0.0, 0.25, 0.25], [0.75, 0.75, 1.0]),
        (0.0, [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]),
    ],
)
def test_projection_keeps_skip_weights_within_the_cap_of_their_target(cap, to_0, to_1):
    for target, expected in ((0.0, to_0), (1.0, to_1)):
        alpha = torch.tensor([-0.5, 0.5, 1.5])
        constraints.project(alpha, cap, target)
        assert alpha.tolist() == expected


@pytest.mark.parametrize("skip_schedule", ["multipliers", "penalty"])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_without_the_gradient_of_the_loss_skip_weights_go_as_those_of_a_network_without_a_loss(
    few_images, quick, skip_schedule, target
):
    options = {"skip_schedule": skip_schedule, "skip_lr": 0.05, "dual_lr": 0.5, "skip_target": target}
    config = quick(skip_gradient=False, log_every=1, remove_by=None, damping=0.3, **options)
    result = training.train(leaky(skip_weight=0.6), few_images, config)
    # the same phase-out of skip weights that nothing depends on
    alone = nn.Parameter(torch.full((4,), 0.6))
    phase_out = training.PhaseOut(alone, config, result.num_steps)
    expected = []
    for step in range(1, result.num_steps + 1):
        alone.grad = None
        phase_out.penalty().backward()
        phase_out.step(step)
        expected.append(alone.detach().clone())
    found = result.layers["skip_weight"].to_numpy().reshape(-1, 4)
    np.testing.assert_array_equal(found, torch.stack(expected).numpy())
    heard = training.train(
        leaky(skip_weight=0.6), few_images, dataclasses.replace(config, skip_gradient=True)
    )
    assert not np.array_equal(heard.layers["skip_weight"], result.layers["skip_weight"])
