"""A training of `benchmarks.training_step` as a plain script does it, with a DataLoader; `benchmarks.peers` times it.

It takes the images in the order that the trainer takes them in, and does the primal and the dual step of a variable
activation network by hand. Each epoch comes with its account, which is to be the trainer's.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Sampler, TensorDataset

from benchmarks.training_step import NUM_EPOCHS, trainer_epochs
from van_tutorial import constraints, data, models, training
from van_tutorial.training.examples import make_generator

Account = Mapping[str, Any]  # of an epoch: what its training and its evaluation came to
COLUMNS = ("loss", "train_accuracy", "test_loss", "test_accuracy")


class SkipWeights:
    """The skip weights of a network, with their primal and dual step as one writes them by hand."""

    def __init__(self, alpha: Tensor) -> None:
        self.alpha = alpha
        self.multipliers = torch.zeros_like(alpha)
        self.step_number = 0

    def penalty(self) -> Tensor:
        """Return what is added to the loss."""
        return self.multipliers @ self.alpha

    @torch.no_grad()
    def step(self) -> None:
        """Do the primal step, the projection and the dual step."""
        self.step_number += 1
        cap = constraints.falling_cap(self.step_number, 39 * NUM_EPOCHS, remove_by=2 / 3)
        self.alpha.sub_(self.alpha.grad, alpha=1e-3).clamp_(0.0, cap)
        self.multipliers.add_(self.alpha, alpha=1e-3)
        self.alpha.grad = None


def network(connection: str) -> tuple[models.MLP, SkipWeights | None]:
    """Return a network, and its skip weights where it has any."""
    model = models.mlp(connection=connection, seed=0)
    return model, SkipWeights(model.skip_weight) if connection == "van" else None


def optimizer_and_scheduler(
    model: models.MLP,
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return Adam for all weights but the skip weights, and its cosine schedule."""
    weights = [weight for name, weight in model.named_parameters() if name != "skip_weight"]
    optimizer = torch.optim.Adam(weights, lr=3e-3, fused=True)
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=39 * NUM_EPOCHS)


class SameOrder(Sampler[int]):
    """Shuffle anew for each epoch, as `RandomSampler` does, with the numbers that the trainer draws."""

    def __init__(self, num_images: int) -> None:
        self.num_images = num_images
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        """Yield the places of an epoch's images."""
        generator = make_generator(training.TrainConfig.seed, self.epoch)
        self.epoch += 1
        yield from torch.randperm(self.num_images, generator=generator).tolist()

    def __len__(self) -> int:
        """Return their number."""
        return self.num_images


def loaders(images: data.Images) -> tuple[DataLoader, DataLoader]:
    """Return the training and the test images in batches."""
    train = TensorDataset(images.train_images, images.train_labels)
    test = TensorDataset(images.test_images, images.test_labels)
    in_order = SameOrder(len(train))
    return DataLoader(train, batch_size=128, sampler=in_order, drop_last=True), DataLoader(
        test, batch_size=1000
    )


def num_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how many answers are right."""
    return (logits.argmax(dim=1) == labels).sum()


def script_epochs(connection: str, images: data.Images) -> Iterator[Account]:
    """Train as a plain script does, one epoch and one evaluation at a time."""
    model, skip_weights = network(connection)
    optimizer, scheduler = optimizer_and_scheduler(model)
    train_loader, test_loader = loaders(images)
    for _ in range(NUM_EPOCHS):
        account = dict.fromkeys(COLUMNS, 0.0)
        model.train()
        for inputs, labels in train_loader:
            logits = model(inputs)
            loss = functional.cross_entropy(logits, labels)
            lagrangian = loss if skip_weights is None else loss + skip_weights.penalty()
            optimizer.zero_grad()
            lagrangian.backward()
            optimizer.step()
            scheduler.step()
            if skip_weights is not None:
                skip_weights.step()
            account["loss"] += loss.item() / len(train_loader)
            account["train_accuracy"] += num_correct(logits, labels).item() / (128 * len(train_loader))
        model.eval()
        with torch.no_grad():
            for inputs, labels in test_loader:
                logits = model(inputs)
                loss = functional.cross_entropy(logits, labels, reduction="sum")
                account["test_loss"] += loss.item() / len(test_loader.dataset)
                account["test_accuracy"] += num_correct(logits, labels).item() / len(test_loader.dataset)
        yield account


def our_epochs(connection: str, images: data.Images) -> Iterator[Account]:
    """Train by the library's trainer, one epoch and one evaluation at a time."""
    return map(vars, trainer_epochs(connection, images))
