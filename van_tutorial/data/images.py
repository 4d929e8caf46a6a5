"""Images and labels in memory, normalized."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

ARRAYS = "arrays"  # the name of what `from_arrays` makes


@dataclass(frozen=True, repr=False)
class Images:
    """A data set in memory, ready to train on.

    Pixels are normalized by mean and standard deviation of the training images, channel by channel.

    Args:
        name: as given to `load`; "arrays" from `from_arrays`.
        train_images: shape (N, C, H, W), float32, or float64 for networks in double precision; normalized, finite.
        train_labels: shape (N,), or for scenes (N, H, W), int64, from 0 to num_classes - 1.
        test_images: shape (M, C, H, W), of the type of the training images, normalized, finite.
        test_labels: shape (M,), or for scenes (M, H, W), int64, from 0 to num_classes - 1.
        class_names: one for each label.
        source: where the files lay.

    Raises:
        ValueError: where a tensor has another type or shape, a pixel is not finite, or a label is out of range.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        """Check every tensor."""
        is_double = getattr(self.train_images, "dtype", None) == torch.float64
        check_type("train_images", self.train_images, torch.float64 if is_double else torch.float32)
        for part in ("train", "test"):
            images, labels = getattr(self, f"{part}_images"), getattr(self, f"{part}_labels")
            check_images(f"{part}_images", images, self.train_images)
            check_labels(f"{part}_labels", labels, images, self.num_classes)

    def __repr__(self) -> str:
        """Say what is in it, without its numbers."""
        sizes = [f"{len(part):,}" for part in (self.train_images, self.test_images)]
        return (
            f"<Images {self.name}: {sizes[0]} for training, {sizes[1]} for testing, "
            f"each {tuple(self.train_images.shape[1:])}, {self.num_classes} classes>"
        )

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def num_features(self) -> int:
        """Numbers per image: C H W."""
        return self.train_images[0].numel()


def refuse(name: str, expected: str, came: object, fix: str) -> NoReturn:
    """Raise what is said of an argument that is not as it was expected."""
    raise ValueError(f"{name} must be {expected}, got {came}: {fix}.")


def check_images(name: str, images: Any, train_images: Tensor) -> None:
    """Raise unless images are what `Images` promises, of the type and the sizes (C, H, W) of the training images."""
    check_type(name, images, train_images.dtype)
    sizes = tuple(train_images.shape[1:])
    if len(sizes) != 3 or 0 in sizes:
        refuse(name, "of shape (N, C, H, W) with pixels in it", tuple(images.shape), "reshape them")
    if images.shape[1:] != sizes:
        refuse(name, f"of shape (N, {str(sizes)[1:]}", tuple(images.shape), "give both parts the same sizes")
    low, high = images.flatten(1).aminmax(dim=1)
    wrong = (~(low.isfinite() & high.isfinite())).nonzero().flatten().tolist()
    if wrong:
        came = f"NaN or infinity in {len(wrong)} of {len(images)} images, first in number {wrong[0]}"
        refuse(name, "finite", came, "correct these images or leave them out")


def check_labels(name: str, labels: Any, images: Tensor, num_classes: int) -> None:
    """Raise unless labels are what `Images` promises of them."""
    check_type(name, labels, torch.int64)
    one, each = (len(images),), (len(images), *images.shape[2:])
    if labels.shape not in (one, each):
        expected = f"of shape {one}, one for each image, or {each}, one for each pixel"
        refuse(name, expected, tuple(labels.shape), "give each its label as an integer")
    if labels.numel() and not 0 <= labels.min() <= labels.max() < num_classes:
        expected = f"from 0 to {num_classes - 1} for {num_classes} classes"
        came = f"{labels.min()} to {labels.max()}"
        refuse(name, expected, came, "number the classes from 0, and name each")


def check_type(name: str, values: Any, dtype: torch.dtype) -> None:
    """Raise unless values are a tensor of that type."""
    came = values.dtype if isinstance(values, Tensor) else type(values).__name__
    if came != dtype:
        refuse(name, f"a tensor of {dtype}", came, "make the set by data.from_arrays, which converts")


def from_arrays(
    train_images: Any,
    train_labels: Any,
    test_images: Any,
    test_labels: Any,
    class_names: Sequence[str] | None = None,
) -> Images:
    """Make a data set out of images of your own.

    x' = (x - mean) / std in each channel, with mean and standard deviation of the training images. A channel that
    is constant there is shifted only. So the range of the pixels does not matter. The arrays are copied. Channels last
    are refused: a guess could take rows for channels.

    Args:
        train_images: array or tensor of shape (N, C, H, W), or (N, H, W) for one channel; uint8 or floats.
        train_labels: integers from 0, of shape (N,), or (N, H, W) with a label for each pixel.
        test_images: shape (M, C, H, W) or (M, H, W), of the range and the type of the training images.
        test_labels: shape (M,) or (M, H, W).
        class_names: one for each label; None takes the numbers from 0, and each must occur in `train_labels`.

    Returns:
        The set, as `load` gives it: float32 images and int64 labels on the CPU.

    Raises:
        ValueError: where an array has another type or shape, has its channels last, holds NaN or infinity, or a
            label is out of range.

    Example:
        >>> pixels = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
        >>> images = from_arrays(pixels, [0, 1], pixels, [0, 1], class_names=["dark", "bright"])
        >>> tuple(images.train_images.shape), images.num_classes
        ((2, 1, 4, 4), 2)
    """
    raw = [
        as_images("train_images", train_images),
        as_labels("train_labels", train_labels),
        as_images("test_images", test_images),
        as_labels("test_labels", test_labels),
    ]
    if raw[2].dtype != raw[0].dtype:
        refuse("test_images", f"{raw[0].dtype} as the training images", raw[2].dtype, "convert one of them")
    if class_names is None:
        found = np.unique(raw[1])
        if not np.array_equal(found, np.arange(len(found))):
            came = f"{len(found)} classes from {found[0]} to {found[-1]}"
            fix = "number the classes from 0, or name each in class_names"
            refuse("train_labels", "0, 1, 2 and so on without a gap", came, fix)
        class_names = [str(label) for label in found]
    return normalize(ARRAYS, raw, tuple(class_names), source="arrays in memory")


def as_array(name: str, values: Any) -> np.ndarray:
    """Return values as an array on the CPU."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
    try:
        array = np.ascontiguousarray(values)
    except (TypeError, ValueError, RuntimeError):
        came = f"a {type(values).__name__}"
        refuse(name, "an array or a tensor", came, "stack images of one size into an array")
    if not array.size:
        refuse(name, "not empty", f"the shape {array.shape}", "give at least one image")
    return array


def as_images(name: str, values: Any) -> np.ndarray:
    """Return images as uint8 or float32, with channels first."""
    array = as_array(name, values)
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        refuse(name, "uint8 or floats", array.dtype, "convert them to uint8 (0 to 255) or float32")
    if array.ndim == 4 and array.shape[3] in (1, 3, 4) and min(array.shape[1:3]) > 4:
        fix = "move the channels to the front by transpose(0, 3, 1, 2), or permute of a tensor"
        refuse(name, "of shape (N, C, H, W)", f"{array.shape}, where channels seem to be last", fix)
    with np.errstate(over="ignore"):  # what becomes infinite is refused
        array = array if array.dtype == np.uint8 else array.astype(np.float32)
    return array[:, None] if array.ndim == 3 else array


def as_labels(name: str, values: Any) -> np.ndarray:
    """Return labels as int64."""
    array = as_array(name, values)
    if array.dtype.kind not in "iu":
        refuse(name, "integers", array.dtype, "convert them to int64")
    return array.astype(np.int64)


def normalize(name: str, raw: Sequence[np.ndarray], class_names: tuple[str, ...], source: str) -> Images:
    """Return `Images` from training images and labels, test images and labels.

    Images are uint8 or float32, of shape (N, C, H, W), or (N, H, W) where they have one channel.
    """
    train_images, test_images = (torch.tensor(images, dtype=torch.float32) for images in raw[::2])
    train_labels, test_labels = (torch.tensor(labels, dtype=torch.int64) for labels in raw[1::2])
    if train_images.ndim == 3:
        train_images, test_images = train_images.unsqueeze(1), test_images.unsqueeze(1)
    checked = Images(name, train_images, train_labels, test_images, test_labels, class_names, source)
    is_bytes = raw[0].dtype == np.uint8
    scale = 255.0 if is_bytes else train_images.abs().amax((0, 2, 3), keepdim=True).clamp_min(1e-38)
    standardize(train_images.div_(scale), test_images.div_(scale))
    return checked


def standardize(train_images: Tensor, test_images: Tensor) -> None:
    """Shift and scale both in place, so that each channel of the training images has mean 0 and standard deviation 1.

    Pixels are of the order of 1. A channel that is constant in the training images, to rounding, is shifted only.
    """
    std, mean = torch.std_mean(train_images, dim=(0, 2, 3), keepdim=True)
    std[std < 1e-6] = 1.0
    for images in (train_images, test_images):
        images.sub_(mean).div_(std)
