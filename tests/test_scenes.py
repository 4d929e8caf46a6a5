"""Scenes for segmentation: what is pasted where, from whose images, and which label each pixel has."""

import dataclasses

import pytest
import torch

from van_tutorial import data, segmentation


def squares(values, size=28, side=8):
    """Images that are black but for a square in the middle, one for each value."""
    images = torch.zeros(len(values), 1, size, size)
    start = (size - side) // 2
    for image, value in zip(images, values, strict=True):
        image[:, start : start + side, start : start + side] = value
    return images


@pytest.fixture
def bright():
    """Two classes of squares, told apart by their brightness; other brightnesses in the test images."""
    return data.Images(
        name="squares",
        train_images=squares([0.5, 1.0]) * 3 - 1,
        train_labels=torch.tensor([0, 1]),
        test_images=squares([0.3, 0.8]) * 3 - 1,
        test_labels=torch.tensor([0, 1]),
        class_names=("dim", "bright"),
        source="made here",
    )


@pytest.fixture(scope="module")
def composed(images):
    return segmentation.scenes(images, num_train=300, num_test=80)


def brightness(pixels, scenes):
    """Pixels of scenes on a scale from 0, black, to 1, the brightest of the training scenes."""
    low, high = scenes.train_images.aminmax()
    return (pixels - low) / (high - low)


def test_scenes_have_the_shapes_and_types_that_a_network_for_segmentation_is_trained_on(composed, images):
    assert composed.train_images.shape == (300, 1, 48, 48)
    assert composed.train_labels.shape == (300, 48, 48)
    assert composed.test_images.shape == (80, 1, 48, 48)
    assert composed.test_labels.shape == (80, 48, 48)
    assert composed.train_images.dtype == composed.test_images.dtype == torch.float32
    assert composed.train_labels.dtype == composed.test_labels.dtype == torch.int64
    assert composed.class_names == ("background", *images.class_names)
    assert composed.num_classes == 11
    assert composed.name == "scenes of fashion-mnist-mini"
    assert composed.source == images.source


def test_every_class_and_the_background_occur(composed):
    assert composed.train_labels.unique().tolist() == list(range(11))
    assert composed.test_labels.unique().tolist() == list(range(11))


def test_training_scenes_have_mean_0_and_standard_deviation_1(composed):
    std, mean = torch.std_mean(composed.train_images.double())
    assert mean.item() == pytest.approx(0, abs=1e-5)
    assert std.item() == pytest.approx(1, abs=1e-5)


def test_pixels_are_black_exactly_where_the_label_says_background(composed):
    for scenes, labels in (
        (composed.train_images, composed.train_labels),
        (composed.test_images, composed.test_labels),
    ):
        light = brightness(scenes[:, 0], composed)
        assert (light[labels == 0] == 0).all()
        assert (light[labels > 0] > 0.03).all()


def test_a_scene_of_one_object_is_that_image_cut_out_at_some_place(images):
    made = segmentation.scenes(images, num_train=40, num_test=1, num_objects=1)
    garments = images.train_images - images.train_images.min()
    garments = (garments * (garments > 0.04 * garments.max())).flatten(1)
    places = set()
    for scene, labels in zip(made.train_images[:, 0], made.train_labels, strict=True):
        (label,) = labels[labels > 0].unique().tolist()
        light = (scene - made.train_images.min()) / (made.train_images.max() - made.train_images.min())
        rows, columns = (labels > 0).nonzero().unbind(1)
        fits = [
            (top, left)
            for top in range(max(0, rows.max().item() - 27), min(20, rows.min().item()) + 1)
            for left in range(max(0, columns.max().item() - 27), min(20, columns.min().item()) + 1)
            if is_among(light[top : top + 28, left : left + 28], garments[images.train_labels == label - 1])
        ]
        assert fits
        places.update(fits)
    assert len(places) > 20


def is_among(window, garments):
    """Whether the window is one of the garments, up to its scale."""
    window = window.flatten() / window.norm()
    return bool((garments @ window / garments.norm(dim=1) > 1 - 1e-5).any())


def test_later_objects_lie_in_front_of_earlier_ones(bright):
    made = segmentation.scenes(bright, num_train=200, num_test=1, size=28, num_objects=2)
    light = brightness(made.train_images[:, 0], made)
    front = made.train_labels[:, 14, 14]
    assert set(front.tolist()) == {1, 2}
    for label, value in ((1, 0.5), (2, 1.0)):
        assert light[made.train_labels == label].unique().tolist() == pytest.approx([value], abs=1e-5)
    assert all(len(labels[labels > 0].unique()) == 1 for labels in made.train_labels)


def test_overlapping_objects_keep_their_own_labels_where_they_are_seen(bright):
    made = segmentation.scenes(bright, num_train=400, num_test=1, size=40, num_objects=2)
    visible = (made.train_labels > 0).flatten(1).sum(1)
    assert visible.min() >= 64
    assert visible.max() <= 128
    assert ((visible > 64) & (visible < 128)).any()


def test_training_scenes_hold_training_images_only_and_test_scenes_test_images_only(bright):
    made = segmentation.scenes(bright, num_train=200, num_test=200)
    values = {
        part: brightness(scenes, made).unique().tolist()
        for part, scenes in (("train", made.train_images), ("test", made.test_images))
    }
    assert values["train"] == pytest.approx([0, 0.5, 1], abs=1e-5)
    assert values["test"] == pytest.approx([0, 0.3, 0.8], abs=1e-5)


def test_the_same_seed_gives_the_same_scenes_and_another_seed_others(images):
    first, again, other = (
        segmentation.scenes(images, num_train=20, num_test=20, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(first.train_images, again.train_images)
    assert torch.equal(first.test_labels, again.test_labels)
    assert not torch.equal(first.train_labels, other.train_labels)
    assert not torch.equal(first.test_labels, other.test_labels)


def test_more_scenes_with_the_same_seed_begin_with_the_same_ones(images):
    few, many = (
        segmentation.scenes(images, num_train=count, num_test=test_count)
        for count, test_count in ((20, 7), (50, 9))
    )
    assert torch.equal(few.train_labels, many.train_labels[:20])
    assert torch.equal(few.test_labels, many.test_labels[:7])


def test_images_given_and_global_random_numbers_are_left_as_they_are(images):
    before, state = images.train_images.clone(), torch.get_rng_state()
    segmentation.scenes(images, num_train=20, num_test=5)
    assert torch.equal(images.train_images, before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"size": 27}, "size must be an integer of at least 28, got 27"),
        ({"num_objects": 0}, "num_objects must be an integer of at least 1, got 0"),
        ({"num_train": 0}, "num_train must be an integer of at least 1, got 0"),
        ({"num_test": 0}, "num_test must be an integer of at least 1, got 0"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
    ],
)
def test_a_number_that_makes_no_scene_is_refused(images, choices, message):
    with pytest.raises(ValueError, match=message):
        segmentation.scenes(images, **choices)


def test_scenes_of_scenes_and_of_coloured_images_are_refused(bright):
    train_images, test_images = (x.expand(-1, 3, -1, -1) for x in (bright.train_images, bright.test_images))
    coloured = dataclasses.replace(bright, train_images=train_images, test_images=test_images)
    for wrong in (coloured, segmentation.scenes(bright, num_train=2, num_test=2)):
        with pytest.raises(ValueError, match="one channel and one label each, such as 'fashion-mnist', got"):
            segmentation.scenes(wrong)
