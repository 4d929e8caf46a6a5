"""Random crops and flips of a whole batch."""

import torch
from torch import Tensor
from torch.nn import functional

from van_tutorial._checks import check_count


def augment(images: Tensor, generator: torch.Generator, padding: int = 4) -> Tensor:
    """Shift and flip each image at random, as is usual for CIFAR.

    Each image is padded by zeros (the mean, in normalized pixels), cropped to its size at a random position of its
    own, and mirrored left to right with probability 1/2.

    Args:
        images: shape (N, C, H, W), on any device; left as they are.
        generator: on the CPU, so that the draws are the same for every device.
        padding: pixels on each side, at least 0; so far an image is shifted at most.

    Returns:
        New images, of the same shape, type, device and memory format.

    Raises:
        ValueError: where the images have another number of dimensions, or the padding is negative.

    Example:
        >>> image = torch.arange(1.0, 5.0).reshape(1, 1, 2, 2)
        >>> augment(image, torch.Generator().manual_seed(0), padding=0).flatten().tolist()
        [2.0, 1.0, 4.0, 3.0]

    Source:
        He, Zhang, Ren and Sun 2016, Deep residual learning for image recognition, section 4.2.
    """
    if images.ndim != 4:
        raise ValueError(f"images must have the shape (N, C, H, W), got {tuple(images.shape)}.")
    check_count("padding", padding, minimum=0)
    num_images, _, height, width = images.shape
    offsets = torch.randint(2 * padding + 1, (2, num_images), generator=generator)
    is_flipped = torch.randint(2, (num_images, 1, 1, 1), generator=generator).bool()
    rows, columns = offsets.to(images.device)
    padded = functional.pad(images, (padding, padding, padding, padding))
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (N, C, rows, columns, H, W), a view
    crops = windows[torch.arange(num_images, device=images.device), :, rows, columns]
    return torch.where(is_flipped.to(images.device), crops.flip(3), crops, out=torch.empty_like(images))
