"""`Images` and `from_arrays`: what is taken, what comes out of it, and what is refused in which words."""

import dataclasses

import numpy as np
import pytest
import torch

from van_tutorial import data, ensemble, models, training, widgets

PIXELS = np.random.default_rng(0).integers(256, size=(20, 8, 6), dtype=np.uint8)
FLOATS = PIXELS / 255.0
LABELS = np.arange(20) % 4


def made(train_images=PIXELS, train_labels=LABELS, test_images=PIXELS, test_labels=LABELS, class_names=None):
    return data.from_arrays(train_images, train_labels, test_images, test_labels, class_names)


def same(one, other):
    names = ("train_images", "train_labels", "test_images", "test_labels")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


def test_two_pixels_are_normalized_as_by_hand():
    """Pixels 0 and 1 have mean 1/2 and standard deviation sqrt(1/2); 0.8 lies 0.3 above the mean."""
    images = made(np.array([[[0, 255]]], np.uint8), [0], np.array([[[204, 0]]], np.uint8), [0])
    assert images.train_images.flatten().tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5])
    assert images.test_images.flatten().tolist() == pytest.approx([0.3 * 2**0.5, -(0.5**0.5)])
    assert images.train_images.dtype == torch.float32
    assert images.train_labels.dtype == torch.int64


def test_the_embedded_arrays_come_out_as_load_gives_them(images):
    with np.load(data.MINI_FILE, allow_pickle=False) as arrays:
        raw = [arrays[f"{part}_{kind}"] for part in ("train", "test") for kind in ("images", "labels")]
    result = data.from_arrays(*raw, class_names=images.class_names)
    assert same(result, images)
    assert (result.class_names, result.name) == (images.class_names, "arrays")


def test_printed_it_says_what_is_in_it(images):
    assert str(images) == (
        "<Images fashion-mnist-mini: 5,000 for training, 1,000 for testing, each (1, 28, 28), 10 classes>"
    )


@pytest.mark.parametrize("shape", [(20, 8, 6), (20, 1, 8, 6), (5, 4, 8, 6), (20, 3, 4, 4)], ids=str)
def test_each_channel_has_mean_0_and_standard_deviation_1(shape):
    labels = np.arange(shape[0]) % 2
    images = made(np.resize(PIXELS, shape), labels, np.resize(PIXELS, shape), labels)
    std, mean = torch.std_mean(images.train_images, dim=(0, 2, 3))
    torch.testing.assert_close(std, torch.ones_like(std))
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-6, rtol=0)
    assert images.train_images.ndim == 4


@pytest.mark.parametrize(
    "convert",
    [
        torch.tensor,
        lambda values: torch.tensor(values, requires_grad=values.dtype.kind == "f"),
        np.ndarray.tolist,
        lambda values: values[::-1][::-1],
        lambda values: values.astype(values.dtype.newbyteorder(">")),
        np.asfortranarray,
    ],
    ids=["tensor", "parameter", "list", "negative strides", "big-endian", "Fortran order"],
)
def test_the_same_numbers_in_another_form_give_the_same_images(convert):
    images, labels = convert(FLOATS), convert(LABELS)
    assert same(made(images, labels, images, labels), made(FLOATS, LABELS, FLOATS, LABELS))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_any_width_are_taken(dtype):
    images = torch.tensor(PIXELS).to(dtype)
    torch.testing.assert_close(
        made(images, LABELS, images).train_images, made().train_images, rtol=0.02, atol=0.02
    )


@pytest.mark.parametrize("factor", [255.0, 1e-30, 1e30])
def test_the_range_of_floats_does_not_matter(factor):
    images = made(FLOATS * factor, LABELS, FLOATS * factor)
    torch.testing.assert_close(images.train_images, made().train_images, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, 7.0])
def test_a_constant_channel_is_shifted_only_and_leaves_no_nan(value):
    constant = np.full((20, 8, 6), value)
    images = made(np.stack([FLOATS, constant], 1), LABELS, np.stack([FLOATS, constant], 1))
    torch.testing.assert_close(images.test_images[:, 1], torch.zeros(20, 8, 6), atol=1e-6, rtol=0)
    torch.testing.assert_close(images.test_images[:, :1], made(FLOATS, LABELS, FLOATS).test_images)


def test_arrays_given_are_left_as_they_are():
    images, labels = FLOATS.astype(np.float32), torch.tensor(LABELS)
    before = images.copy()
    result = made(images, labels, images, labels)
    result.train_images.zero_()
    result.train_labels.fill_(1)
    assert (images == before).all()
    assert (labels.numpy() == LABELS).all()


def test_classes_without_images_are_taken_where_they_are_named():
    images = made(train_labels=LABELS + 2, test_labels=LABELS + 2, class_names=list("abcdefg"))
    assert (images.num_classes, images.class_names[2]) == (7, "c")
    assert made().class_names == ("0", "1", "2", "3")


def test_maps_of_labels_are_taken():
    maps = np.resize(LABELS, PIXELS.shape)
    assert made(train_labels=maps, test_labels=maps).train_labels.shape == PIXELS.shape


def with_nan(value):
    wrong = FLOATS.copy()
    wrong[[3, 7], 2, 1] = value
    return wrong


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"train_labels": LABELS + 1}, "train_labels must be 0, 1, 2 .* got 4 classes from 1 to 4: number"),
        ({"train_labels": LABELS * 2}, "without a gap, got 4 classes from 0 to 6"),
        ({"train_labels": LABELS - 1}, "got 4 classes from -1 to 2"),
        ({"test_labels": LABELS + 1}, "test_labels must be from 0 to 3 for 4 classes, got 1 to 4: number"),
        ({"class_names": ["a", "b"]}, "train_labels must be from 0 to 1 for 2 classes, got 0 to 3"),
        ({"train_labels": LABELS / 1}, "train_labels must be integers, got float64: convert them to int64"),
        (
            {"train_labels": np.eye(4, dtype=int)[LABELS]},
            r"of shape \(20,\), .* got \(20, 4\): give each its label",
        ),
        ({"test_labels": LABELS[:5]}, r"test_labels must be of shape \(20,\).* got \(5,\)"),
        (
            {"train_images": with_nan(np.nan), "test_images": FLOATS},
            "must be finite, got NaN or infinity in 2 of 20 images, first in number 3",
        ),
        (
            {"train_images": FLOATS, "test_images": with_nan(-np.inf)},
            "test_images must be finite, got NaN or inf",
        ),
        (
            {"train_images": FLOATS * 1e300, "test_images": FLOATS},
            "train_images must be finite, got NaN or infinity",
        ),
        (
            {"train_images": PIXELS.astype(int)},
            r"must be uint8 or floats, got int64: convert them to uint8 \(0 to 255",
        ),
        ({"train_images": PIXELS > 9}, "train_images must be uint8 or floats, got bool"),
        ({"train_images": FLOATS * 1j}, "train_images must be uint8 or floats, got complex128"),
        ({"train_images": None}, "train_images must be uint8 or floats, got object"),
        (
            {"test_images": FLOATS},
            "test_images must be uint8 as the training images, got float32: convert one",
        ),
        ({"train_images": PIXELS[:0]}, r"must be not empty, got the shape \(0, 8, 6\): give at least one"),
        ({"test_images": PIXELS[:0]}, "test_images must be not empty"),
        ({"train_images": PIXELS.reshape(20, 48)}, r"of shape \(N, C, H, W\) .* got \(20, 48\): reshape"),
        (
            {"train_images": [[[1.0, 2.0]], [[1.0]]]},
            "must be an array or a tensor, got a list: stack images of one",
        ),
        (
            {"test_images": PIXELS[:, 1:]},
            r"test_images must be of shape \(N, 1, 8, 6\), got \(20, 1, 7, 6\): give both",
        ),
        (
            {"train_images": np.stack([PIXELS] * 3, 3)},
            r"got \(20, 8, 6, 3\), where channels seem to be last: move the",
        ),
        ({"train_images": PIXELS[..., None]}, r"got \(20, 8, 6, 1\), where channels seem to be last"),
    ],
)
def test_arrays_that_make_no_data_set_are_refused_in_a_sentence(choices, message):
    with pytest.raises(ValueError, match=message) as raised:
        made(**choices)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "train_labels",
            lambda x: x + 1,
            "train_labels must be from 0 to 9 for 10 classes, got 1 to 10: number",
        ),
        ("test_labels", lambda x: x - 1, "test_labels must be from 0 to 9 for 10 classes, got -1 to 8"),
        (
            "test_labels",
            lambda x: x.int(),
            "must be a tensor of torch.int64, got torch.int32: make the set by",
        ),
        ("test_labels", lambda x: x[1:], r"test_labels must be of shape \(200,\), .* got \(199,\)"),
        ("train_images", lambda x: x / 0, "train_images must be finite, got NaN or infinity in 512 of 512"),
        ("test_images", lambda x: x.double(), "must be a tensor of torch.float32, got torch.float64"),
        (
            "train_images",
            lambda x: x.double(),
            "test_images must be a tensor of torch.float64, got torch.float32",
        ),
        ("train_images", lambda x: x.half(), "must be a tensor of torch.float32, got torch.float16"),
        ("test_images", lambda x: x.byte(), "must be a tensor of torch.float32, got torch.uint8"),
        (
            "train_images",
            lambda x: x.numpy(),
            "must be a tensor of torch.float32, got ndarray: make the set by data",
        ),
        ("train_images", lambda x: None, "must be a tensor of torch.float32, got NoneType"),
        ("train_images", lambda x: x[:, 0], r"of shape \(N, C, H, W\) .* got \(512, 28, 28\): reshape them"),
        (
            "train_images",
            lambda x: x[:, :, :0],
            r"of shape \(N, C, H, W\) with pixels .* got \(512, 1, 0, 28\)",
        ),
        ("test_images", lambda x: x[:, :, 1:], r"must be of shape \(N, 1, 28, 28\), got \(200, 1, 27, 28\)"),
    ],
)
def test_images_put_together_by_hand_are_checked(few_images, name, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(few_images, **{name: change(getattr(few_images, name))})


def test_arrays_are_trained_on_alone_and_together_and_shown_in_panels(quick, tmp_path):
    images = made(np.repeat(PIXELS, 32, 0), np.repeat(LABELS, 32))
    sizes = {"depth": 2, "width": 4, "in_features": 48, "num_classes": 4}
    config = quick(batch_size=16, num_epochs=1)
    alone = training.train(models.mlp(**sizes, seed=0), images, config)
    (together,) = ensemble.train([models.mlp(**sizes, seed=0)], images, [config])
    assert together.test_accuracy == pytest.approx(alone.test_accuracy, abs=0.06)
    panel = widgets.Playground(images, folder=tmp_path, depth=2, width=4, num_epochs=5)
    assert panel.data.value == "arrays"
    panel.train.click()
    panel.wait(60)
    assert panel.state.phase == "finished"
    panel.close()


def test_the_playground_opens_without_a_home_folder(few_images, tmp_path, monkeypatch):
    monkeypatch.setenv("VAN_TUTORIAL_DATA", "~nobody-here/sets")
    panel = widgets.Playground(few_images, folder=tmp_path, depth=2, width=4)
    assert tuple(panel.data.options) == (data.MINI,)
    panel.close()
