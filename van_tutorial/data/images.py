"""Images and labels in memory, normalized."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Images:
    """A data set in memory, ready to train on.

    Pixels are scaled to [0, 1] and normalized by mean and standard deviation of the training images, channel by
    channel.

    Attributes:
        name: as given to `load`.
        train_images: shape (N, C, H, W), float32, normalized.
        train_labels: shape (N,), or for scenes (N, H, W), int64, from 0 to num_classes - 1.
        test_images: shape (M, C, H, W), float32, normalized.
        test_labels: shape (M,), or for scenes (M, H, W), int64.
        class_names: one for each label.
        source: where the files lay.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    source: str

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def num_features(self) -> int:
        """Numbers per image: C H W."""
        return self.train_images[0].numel()


def normalize(name: str, raw: Sequence[np.ndarray], class_names: tuple[str, ...], source: str) -> Images:
    """Return `Images` from uint8 arrays: training images and labels, test images and labels.

    Images have the shape (N, C, H, W), or (N, H, W) where they have one channel; labels have the shape (N,).
    """
    train_images, test_images = (
        torch.tensor(images, dtype=torch.float32).div_(255.0) for images in (raw[0], raw[2])
    )
    if train_images.ndim == 3:
        train_images, test_images = train_images.unsqueeze(1), test_images.unsqueeze(1)
    standardize(train_images, test_images)
    return Images(
        name=name,
        train_images=train_images,
        train_labels=torch.tensor(raw[1], dtype=torch.int64),
        test_images=test_images,
        test_labels=torch.tensor(raw[3], dtype=torch.int64),
        class_names=class_names,
        source=source,
    )


def standardize(train_images: Tensor, test_images: Tensor) -> None:
    """Shift and scale both in place, so that each channel of the training images has mean 0 and deviation 1."""
    std, mean = torch.std_mean(train_images, dim=(0, 2, 3), keepdim=True)
    for images in (train_images, test_images):
        images.sub_(mean).div_(std)
