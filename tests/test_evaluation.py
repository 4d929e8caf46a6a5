"""Labels of images and of pixels: loss, accuracy, and intersection over union, against loops done by hand."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from van_tutorial import segmentation, training

BRIGHTNESS = ("dark", "grey", "bright")


def per_pixel():
    """A network with three outputs for each pixel."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1)
        )


def brightness(images):
    """The class of each pixel: 0, 1 or 2."""
    return (images[:, 0] > 0).long() + (images[:, 0] > 1).long()


@pytest.fixture(scope="module")
def segmented(few_images):
    """The images with labels for every pixel."""
    return dataclasses.replace(
        few_images,
        train_labels=brightness(few_images.train_images),
        test_labels=brightness(few_images.test_images),
        class_names=BRIGHTNESS,
    )


@pytest.fixture(scope="module")
def trained(segmented, quick):
    return training.train(per_pixel(), segmented, quick(num_epochs=3, lr=0.02, log_every=1))


def by_hand(model, images, labels):
    """Loss and share of pixels given right, one image after the other."""
    losses, rights = [], []
    with torch.no_grad():
        for image, label in zip(images, labels, strict=True):
            logits = model(image[None])[0].double()  # (K, H, W)
            chosen = logits.log_softmax(dim=0).gather(0, label[None])
            losses += (-chosen).flatten().tolist()
            rights += (logits.argmax(dim=0) == label).flatten().tolist()
    return np.mean(losses), np.mean(rights)


def test_loss_and_accuracy_of_a_segmentation_are_means_over_pixels(segmented, trained):
    loss, accuracy = by_hand(trained.model, segmented.test_images, segmented.test_labels)
    last = trained.history.iloc[-1]
    assert last["test_loss"] == pytest.approx(loss, rel=1e-5)
    assert last["test_accuracy"] == pytest.approx(accuracy, abs=1e-12)
    assert accuracy > 0.8
    on_both = training.accuracy(trained.model, segmented.test_images, segmented.test_labels)
    assert on_both == trained.test_accuracy


def test_training_loss_and_accuracy_of_a_segmentation_are_means_over_pixels(segmented, quick):
    whole = dataclasses.replace(
        segmented, train_images=segmented.train_images[:64], train_labels=segmented.train_labels[:64]
    )
    history = training.train(per_pixel(), whole, quick(num_epochs=1)).history
    model = per_pixel()  # in training mode
    logits = model(whole.train_images)
    assert history["loss"].item() == pytest.approx(
        functional.cross_entropy(logits, whole.train_labels).item(), rel=1e-5
    )
    right = (logits.argmax(dim=1) == whole.train_labels).double().mean().item()
    assert history["train_accuracy"].item() == pytest.approx(right, abs=1e-6)


def test_a_resumed_segmentation_is_the_uninterrupted_one(segmented, quick, trained, tmp_path):
    config = quick(num_epochs=3, lr=0.02, log_every=1)
    first = training.Trainer(per_pixel(), segmented, config)
    for record in first:
        if record.step == 5:
            break
    first.save(tmp_path / "run.pt")
    second = training.train(per_pixel(), segmented, config, checkpoint=tmp_path / "run.pt")
    assert second.history.drop(columns="seconds").equals(trained.history.drop(columns="seconds"))


def test_outputs_that_do_not_fit_the_labels_are_refused_before_training(few_images, segmented, quick):
    halved = nn.Sequential(per_pixel(), nn.AvgPool2d(2))
    with pytest.raises(ValueError, match=r"shape \(3, 14, 14\), and its labels shape \(28, 28\)"):
        training.Trainer(halved, segmented, quick())
    labels = {name: getattr(few_images, name) % 3 for name in ("train_labels", "test_labels")}
    whole = dataclasses.replace(few_images, class_names=BRIGHTNESS, **labels)
    with pytest.raises(ValueError, match=r"outputs of shape \(3,\) would fit"):
        training.Trainer(per_pixel(), whole, quick())


def iou_by_hand(chosen, labels, num_classes):
    """Mean over the classes of intersection over union, pixel sets as Python sets."""
    ratios = []
    for k in range(num_classes):
        given = {i for i, value in enumerate(chosen.flatten().tolist()) if value == k}
        there = {i for i, value in enumerate(labels.flatten().tolist()) if value == k}
        if given | there:
            ratios.append(len(given & there) / len(given | there))
    return np.mean(ratios)


@pytest.mark.parametrize("num_classes", [3, 4])
def test_mean_iou_is_that_of_a_loop_over_the_classes(segmented, trained, num_classes):
    with torch.no_grad():
        chosen = trained.model(segmented.test_images).argmax(dim=1)
    expected = iou_by_hand(chosen, segmented.test_labels, num_classes)
    found = segmentation.mean_iou(trained.model, segmented.test_images, segmented.test_labels, num_classes)
    assert found == pytest.approx(expected, abs=1e-6)
    assert 0.5 < found < 1.0


class Given(nn.Module):
    """A network that answers with its images: the class of the largest channel."""

    def forward(self, x):
        return x


def as_images(chosen, num_outputs):
    return functional.one_hot(torch.tensor(chosen), num_outputs).movedim(-1, 1).float()


@pytest.mark.parametrize(
    ("chosen", "labels", "expected"),
    [
        ([[[0, 0], [1, 1]]], [[[0, 0], [1, 1]]], 1.0),
        ([[[0, 1], [1, 1]]], [[[0, 0], [1, 1]]], (1 / 2 + 2 / 3) / 2),
        ([[[1, 1], [0, 0]]], [[[0, 0], [1, 1]]], 0.0),
        ([[[2, 0], [0, 0]]], [[[0, 0], [0, 0]]], (3 / 4 + 0.0) / 2),  # given, never there
        ([[[0, 0], [0, 0]]], [[[2, 0], [0, 0]]], (3 / 4 + 0.0) / 2),  # there, never given
        ([[[0, 0], [0, 0]], [[1, 1], [1, 1]]], [[[0, 0], [0, 0]], [[0, 0], [0, 0]]], (4 / 8 + 0.0) / 2),
        ([[[3, 0], [0, 0]]], [[[0, 0], [0, 0]]], 3 / 4),  # an output without a class: never right
    ],
)
def test_mean_iou_of_a_few_pixels_is_the_one_on_paper(chosen, labels, expected):
    model, images = Given(), as_images(chosen, 4)
    found = segmentation.mean_iou(model, images, torch.tensor(labels), num_classes=3)
    assert found == pytest.approx(expected, abs=1e-6)
    assert model.training


def test_mean_iou_counts_all_images_together_and_puts_the_mode_back():
    """1200 images, more than one batch: the first 1100 have a class that the others have not."""
    labels = torch.zeros(1200, 2, 2, dtype=torch.int64)
    labels[:1100, 0] = 1
    model = nn.Sequential(Given(), nn.Dropout(0.9)).eval()
    images = as_images(labels.roll(-100, dims=0).tolist(), 2)
    expected = iou_by_hand(labels.roll(-100, dims=0), labels, 2)
    assert segmentation.mean_iou(model, images, labels, 2) == pytest.approx(expected, abs=1e-6)
    assert not model.training


def test_mean_iou_of_no_class_is_refused():
    with pytest.raises(ValueError, match="num_classes must be an integer of at least 1, got 0"):
        segmentation.mean_iou(Given(), torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64), 0)
