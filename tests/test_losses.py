"""A teacher beside the labels: against its formula, and in a training."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from van_tutorial import models, training


@pytest.fixture(scope="module")
def teacher(few_images, quick):
    network = models.mlp(depth=2, width=16, connection="residual", seed=1)
    training.train(network, few_images, quick(num_epochs=8))
    return network


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_loss_is_the_formulas(teacher, few_images, temperature, weight):
    images, labels = few_images.train_images[:32], few_images.train_labels[:32]
    logits = torch.randn(32, 10, generator=torch.Generator().manual_seed(0))
    loss = training.distillation(teacher, temperature, weight)(logits, labels, images)
    divergence = functional.kl_div(
        functional.log_softmax(logits / temperature, dim=1),
        functional.softmax(teacher.eval()(images) / temperature, dim=1),
        reduction="batchmean",
    )
    hard = functional.cross_entropy(logits, labels)
    assert loss.item() == pytest.approx(
        ((1 - weight) * hard + weight * temperature**2 * divergence).item(), rel=1e-5
    )


def test_at_high_temperature_its_gradient_is_that_of_matching_logits(teacher, few_images):
    images, labels = few_images.train_images[:8], few_images.train_labels[:8]
    logits = torch.zeros(8, 10, dtype=torch.float64, requires_grad=True)
    training.distillation(teacher, temperature=1e5, weight=1.0)(logits, labels, images).backward()
    wanted = teacher.eval()(images).detach().double()
    expected = (logits.detach() - (wanted - wanted.mean(dim=1, keepdim=True))) / 10 / 8
    torch.testing.assert_close(logits.grad, expected, atol=1e-5, rtol=1e-3)


def test_maps_of_labels_count_each_pixel():
    images = torch.randn(2, 3, 4, 4)
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    teacher = nn.Identity()
    assert training.distillation(teacher, weight=1.0)(images, labels, images).item() == pytest.approx(
        0.0, abs=1e-6
    )
    per_pixel = training.distillation(teacher, weight=0.5)(images.flip(1), labels, images)
    rows, flat = images.movedim(1, -1).reshape(-1, 3), labels.flatten()
    expected = training.distillation(nn.Identity(), weight=0.5)(rows.flip(1), flat, rows)
    assert per_pixel.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_student_comes_closer_to_its_teacher_and_leaves_it_alone(teacher, few_images, quick):
    def apart(weight):
        student = models.mlp(depth=4, width=16, seed=0)
        loss = training.distillation(teacher, temperature=2.0, weight=weight)
        teacher.train()
        training.train(student, few_images, quick(num_epochs=12), loss=loss)
        assert teacher.training
        answers = [network.eval()(few_images.test_images).softmax(dim=1) for network in (student, teacher)]
        return (answers[0] - answers[1]).abs().mean().item()

    before = copy.deepcopy(teacher.state_dict())
    assert apart(1.0) < 0.95 * apart(0.0)
    assert all(value.equal(before[name]) for name, value in teacher.state_dict().items())


def test_without_weight_it_is_the_cross_entropy_and_any_loss_of_logits_and_labels_serves(
    teacher, few_images, quick
):
    def loss_of(loss):
        result = training.train(models.mlp(depth=3, width=12, seed=0), few_images, quick(), loss=loss)
        return result.history["loss"].tolist()

    assert loss_of(training.distillation(teacher, weight=0.0)) == pytest.approx(loss_of(None))
    assert loss_of(functional.cross_entropy) == loss_of(None)
    assert loss_of(nn.CrossEntropyLoss(label_smoothing=0.2)) != loss_of(None)


def test_a_checkpoint_goes_on_with_the_same_teacher_alone(teacher, few_images, quick, tmp_path):
    def trainer(**choices):
        loss = training.distillation(teacher, **choices) if choices else None
        return training.Trainer(models.mlp(depth=3, width=12, seed=0), few_images, quick(), loss=loss)

    whole, part = trainer(weight=0.5), trainer(weight=0.5)
    expected = [record.loss for record in whole]
    for _ in part.until(8):
        pass
    part.save(tmp_path / "run.pt")
    resumed = trainer(weight=0.5)
    resumed.load(tmp_path / "run.pt")
    assert [record.loss for record in resumed] == expected[1:]
    for other in (trainer(weight=0.25), trainer()):
        with pytest.raises(training.CheckpointError, match=r"of another run \(loss"):
            other.load(tmp_path / "run.pt")


def test_a_teacher_that_cannot_teach_is_refused_before_the_training(few_images, quick):
    model = models.mlp(depth=2, width=8, seed=0)
    with pytest.raises(ValueError, match="The teacher is the network itself"):
        training.Trainer(model, few_images, quick(), loss=training.distillation(model))
    other = models.mlp(depth=2, width=8, num_classes=12, seed=0)
    with pytest.raises(
        ValueError, match=r"The teacher's outputs have shape \(2, 12\), the student's \(2, 10\)"
    ):
        training.Trainer(model, few_images, quick(), loss=training.distillation(other))


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"temperature": 0.0}, "temperature must be a number above 0"),
        ({"weight": 1.5}, r"weight must be a number in \[0, 1\]"),
    ],
)
def test_a_value_outside_its_bounds_is_refused(teacher, choices, message):
    with pytest.raises(ValueError, match=message):
        training.distillation(teacher, **choices)
