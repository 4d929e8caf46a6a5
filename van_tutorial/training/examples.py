"""The images of a run on its device, and which of them each step sees."""

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from van_tutorial import data
from van_tutorial.data import Images
from van_tutorial.training.config import TrainConfig

AUGMENTATION = 1  # sets the seeds of the augmentation apart from those of the order of the examples


class Examples:
    """The images to train on, those of the validation set, and those to test on, moved to the device once.

    Args:
        images: the data; labels are of shape (N,) or (N, H, W).
        config: its validation_fraction, batch_size and channels_last are used here.
        device: where the tensors are to lie.

    Attributes:
        train_images: to train on, (N, C, H, W).
        train_labels: their labels.
        validation: images and labels of the validation set; of length 0 without any.
        test: images and labels to test on.
        num_classes: number of classes.

    Raises:
        ValueError: for what is no `Images`, such as a DataLoader, fewer training images than one batch, no test images,
            a validation_fraction of less than one image, or an augmentation that would move images and leave their
            maps of labels.
    """

    def __init__(self, images: Images, config: TrainConfig, device: torch.device) -> None:
        if not isinstance(images, Images):
            raise ValueError(
                f"images must be Images, all of them in memory, got {type(images).__name__}: take data.load, or build "
                "data.Images from tensors."
            )
        self.device = device
        self.is_channels_last = config.channels_last
        self.num_classes = images.num_classes
        if not len(images.test_labels):
            raise ValueError("There are no images to test on: give at least one.")
        if config.augment != "none" and images.train_labels.ndim > 1:
            raise ValueError(
                f"augment {config.augment!r} would move the images and not their maps of labels: take 'none'."
            )
        train, validation = split(len(images.train_labels), config.validation_fraction)
        if config.validation_fraction > 0.0 and not len(validation):
            raise ValueError(
                f"validation_fraction {config.validation_fraction} of {len(train)} training images is less than one "
                f"image: take at least {1 / len(train):.2g}, or 0."
            )
        if len(train) < config.batch_size:
            raise ValueError(
                f"batch_size must be at most the number of training images, {len(train)}, got {config.batch_size}."
            )
        self.train_images, self.train_labels = self._to_device(
            images.train_images[train], images.train_labels[train]
        )
        self.validation = self._to_device(images.train_images[validation], images.train_labels[validation])
        self.test = self._to_device(images.test_images, images.test_labels)
        self._orders: dict[int, tuple[int, Tensor]] = {}

    @property
    def num_train(self) -> int:
        """Number of images to train on."""
        return len(self.train_labels)

    @property
    def evaluated(self) -> dict[str, tuple[Tensor, Tensor]]:
        """The images, with their labels, that every record looks at: "test", and "validation" where there are any."""
        given = {"test": self.test, "validation": self.validation}
        return {name: labelled for name, labelled in given.items() if len(labelled[1])}

    def batch(self, step: int, config: TrainConfig) -> tuple[Tensor, Tensor]:
        """Return the images and labels of a step; they depend on the step and the seed alone.

        Args:
            step: number of steps done before.
            config: its seed, batch_size and augment are used here.

        Returns:
            Images (batch_size, C, H, W) and labels.
        """
        images, labels = self.batches(step, [config])
        return self._in_memory_format(images[0]), labels[0]

    def batches(self, step: int, configs: Sequence[TrainConfig]) -> tuple[Tensor, Tensor]:
        """Return what `batch` gives for each of several configs, gathered at once.

        Args:
            step: number of steps done before.
            configs: of one batch_size.

        Returns:
            Images (K, batch_size, C, H, W) and labels (K, batch_size, ...).
        """
        chosen = torch.cat([self._chosen(step, config) for config in configs])
        images, labels = (
            tensor.index_select(0, chosen).unflatten(0, (len(configs), -1))
            for tensor in (self.train_images, self.train_labels)
        )
        for each, config in zip(images, configs, strict=True):
            if config.augment == "crop-flip":
                each.copy_(data.augment(each, make_generator(config.seed, step, AUGMENTATION)))
        return images, labels

    def _chosen(self, step: int, config: TrainConfig) -> Tensor:
        """Return the places of a step's images among those to train on."""
        epoch, index = divmod(step, self.num_train // config.batch_size)
        if self._orders.get(config.seed, (-1, None))[0] != epoch:
            order = torch.randperm(self.num_train, generator=make_generator(config.seed, epoch))
            self._orders[config.seed] = (epoch, order.to(self.device))
        return self._orders[config.seed][1][index * config.batch_size : (index + 1) * config.batch_size]

    @cached_property
    def digests(self) -> dict[str, str]:
        """Checksums of the images to train on and of the test images, each with their labels."""
        return {
            "training images": digest_of(self.train_images, self.train_labels),
            "test images": digest_of(*self.test),
        }

    def _to_device(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return images and labels on the device, the images as they are to lie in memory there."""
        return self._in_memory_format(images.to(self.device)), labels.to(self.device)

    def _in_memory_format(self, images: Tensor) -> Tensor:
        """Return the images as they are to lie in memory."""
        if self.is_channels_last and images.ndim == 4:
            return images.contiguous(memory_format=torch.channels_last)
        return images


def split(num_images: int, validation_fraction: float) -> tuple[Tensor, Tensor]:
    """Return the indices of the training set and of the validation set, the same in every run."""
    order = torch.randperm(num_images, generator=torch.Generator().manual_seed(0))
    num_validation = round(validation_fraction * num_images)
    return order[num_validation:].sort().values, order[:num_validation].sort().values


def digest_of(*tensors: Tensor) -> str:
    """Return a checksum of tensors."""
    digest = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def make_generator(*numbers: int) -> torch.Generator:
    """Return a generator on the CPU that is seeded by all the numbers together."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    return torch.Generator().manual_seed(seed)
