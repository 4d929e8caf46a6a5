"""Scenes of several garments, with a label for each pixel."""

from dataclasses import replace

import torch
from torch import Tensor

from van_tutorial._checks import check_count, check_seed
from van_tutorial.data.images import Images, standardize

CUT = 0.04  # of the way from black to white: above the speckle around a garment, below all but its darkest print


def scenes(
    images: Images,
    num_train: int = 2000,
    num_test: int = 500,
    size: int = 48,
    num_objects: int = 3,
    seed: int = 0,
) -> Images:
    """Compose scenes for semantic segmentation out of the garments of a data set.

    In each scene `num_objects` images lie at random places, later ones in front of earlier ones, each cut out
    where it is brighter than the background. Training scenes are made of training images only, and test scenes
    of test images only. With the same seed, the first scenes of many are those of few.

    Args:
        images: of one channel on a black background, such as Fashion-MNIST's.
        num_train: number of training scenes, at least 1.
        num_test: number of test scenes, at least 1.
        size: height and width of a scene in pixels, at least those of an image.
        num_objects: images in a scene, at least 1; one may hide another.
        seed: of the choice of images and places, at least 0.

    Returns:
        Scenes of shape (N, 1, size, size), normalized, with labels of shape (N, size, size): 0 is the
        background, and k + 1 stands for class k of `images`.

    Raises:
        ValueError: where a number is too small, or the images have several channels or are scenes themselves.
    """
    sizes, label_sizes = tuple(images.train_images.shape[1:]), tuple(images.train_labels.shape[1:])
    if sizes[0] != 1 or label_sizes:
        expected = "images with one channel and one label each, such as 'fashion-mnist'"
        came = f"{images.name!r} with images of shape {sizes} and labels of shape {label_sizes}"
        raise ValueError(f"scenes are made of {expected}, got {came}.")
    check_count("num_train", num_train)
    check_count("num_test", num_test)
    check_count("size", size, minimum=max(sizes[1:]))
    check_count("num_objects", num_objects)
    check_seed(seed)
    black, white = images.train_images.aminmax()
    parts = []
    for garments, labels, num_scenes, own_seed in (
        (images.train_images, images.train_labels, num_train, 2 * seed),
        (images.test_images, images.test_labels, num_test, 2 * seed + 1),
    ):
        generator = torch.Generator().manual_seed(own_seed)
        draws = torch.rand((num_scenes, num_objects, 3), dtype=torch.float64, generator=generator)
        parts.append(compose(garments[:, 0], labels, draws.to(labels.device), size, black, white))
    (train_images, train_labels), (test_images, test_labels) = parts
    standardize(train_images, test_images)
    return replace(
        images,
        name=f"scenes of {images.name}",
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=("background", *images.class_names),
    )


def compose(
    garments: Tensor, labels: Tensor, draws: Tensor, size: int, black: Tensor, white: Tensor
) -> tuple[Tensor, Tensor]:
    """Return scenes and their maps of labels.

    Args:
        garments: shape (K, H, W).
        labels: shape (K,).
        draws: shape (N, num_objects, 3), in [0, 1): which garment, how far down, how far across.
        size: height and width of a scene.
        black: value of the background.
        white: value of the brightest pixel.

    Returns:
        Scenes of shape (N, 1, size, size), and labels of shape (N, size, size).
    """
    num_scenes, num_objects, _ = draws.shape
    _, height, width = garments.shape
    choices = draws.new_tensor([len(garments), size - height + 1, size - width + 1])
    which, tops, lefts = (draws * choices).long().unbind(dim=2)
    canvas = black.repeat(num_scenes, size, size)
    maps = labels.new_zeros(num_scenes, size, size)
    scene = torch.arange(num_scenes, device=labels.device)[:, None, None]
    for turn in range(num_objects):
        rows = tops[:, turn, None, None] + torch.arange(height, device=labels.device)[:, None]
        columns = lefts[:, turn, None, None] + torch.arange(width, device=labels.device)
        at = scene, rows, columns
        garment = garments[which[:, turn]]
        is_garment = garment > black + CUT * (white - black)
        canvas[at] = torch.where(is_garment, garment, canvas[at])
        maps[at] = torch.where(is_garment, labels[which[:, turn], None, None] + 1, maps[at])
    return canvas[:, None], maps
