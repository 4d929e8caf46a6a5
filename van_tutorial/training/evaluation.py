"""How good a network's answers are, in eval mode."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from van_tutorial._modes import begin_training, eval_mode, frozen_modules, modes_kept


def in_full(logits: Tensor) -> Tensor:
    """Return logits of a forward pass in half precision as float32, any other as they are."""
    return logits if logits.dtype == torch.float64 else logits.float()


@torch.no_grad()
def answers(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    autocast: Any = contextlib.nullcontext,
    batch_size: int = 1000,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the logits and the labels of one batch after the other; each module's own mode is put back."""
    with eval_mode(model):
        for inputs, targets in zip(images.split(batch_size), labels.split(batch_size), strict=True):
            with autocast():
                logits = model(inputs)
            yield in_full(logits), targets


@torch.no_grad()
def settle_statistics(model: nn.Module, images: Tensor, batch_size: int = 4096) -> None:
    """Put statistics of many images in the place of the running averages that batch normalization uses in eval mode.

    Each layer's mean and variance are averaged over large batches of the images, the layers before it normalized by the
    same batch. Running averages follow the last ten or so batches of the training instead. What they, and batches as
    small as those of the training, are off by is a shift that the next layer passes on: in a deep network without skips
    the answers are lost to it. Normalizations that were put in eval mode apart from the rest keep their statistics,
    and so does a network without batch normalization.

    Args:
        model: changed in place; each module's own mode is put back.
        images: shape (N, C, H, W), on the network's device.
        batch_size: about how many images at a time; batches differ by one image at most.

    Source:
        Ioffe and Szegedy 2015, Batch normalization, algorithm 2, which takes the population's statistics after
        training; Wu and Johnson 2021, Rethinking "batch" in BatchNorm (arXiv 2105.07576), section 3.
    """
    frozen = frozen_modules(model)
    momenta = {
        module: module.momentum
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None and module not in frozen
    }
    if not momenta:
        return
    with modes_kept(model):
        begin_training(model, frozen)
        try:
            for norm in momenta:
                norm.reset_running_stats()
                norm.momentum = None  # an average in which all batches count alike
            for batch in images.tensor_split(max(1, round(len(images) / batch_size))):
                model(batch)
        finally:
            for norm, momentum in momenta.items():
                norm.momentum = momentum


def evaluate(
    model: nn.Module, images: Tensor, labels: Tensor, autocast: Any = contextlib.nullcontext
) -> tuple[float, float]:
    """Return the mean loss in nats and the accuracy, over all labels."""
    loss = torch.zeros((), device=images.device, dtype=images.dtype)
    correct = torch.zeros((), device=images.device, dtype=torch.int64)
    for logits, targets in answers(model, images, labels, autocast):
        loss += functional.cross_entropy(logits, targets, reduction="sum")
        correct += (logits.argmax(dim=1) == targets).sum()
    return loss.item() / labels.numel(), correct.item() / labels.numel()


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the fraction of images, or of pixels, that a network classifies correctly in eval mode.

    Args:
        model: maps images (N, C, H, W) to logits (N, num_classes) or (N, num_classes, H, W).
        images: shape (N, C, H, W), on the network's device.
        labels: shape (N,) or (N, H, W).

    Returns:
        The accuracy, in [0, 1].
    """
    return evaluate(model, images, labels)[1]
