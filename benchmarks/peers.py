"""What the trainer costs beside what you might take instead: PyTorch Lightning, or a script with a DataLoader.

    python -m benchmarks.peers

The networks, images, steps, optimizer and schedule are those of `benchmarks.training_step`. The peers take their
batches from a DataLoader, in the order that the trainer takes them in, and do the primal and the dual step of a
variable activation network by hand. Every side keeps the same account of an epoch, loss and accuracy of the training
batches and of the test images; where two accounts differ, the benchmark fails.

The two sides of a ratio take turns, an epoch of 39 steps and one evaluation each. Lightning's `fit` hands nothing back
between two epochs: here it runs in a greenlet, which a callback leaves before every epoch and which goes on there in
its next turn. So a fit is one fit, in the same thread as the other side, and its start is part of the rounds that warm
up. Prints a table and writes its section of docs/performance.md.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import lightning
import torch
from greenlet import getcurrent, greenlet
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Sampler, TensorDataset

from benchmarks.measure import ratio, write_section
from benchmarks.training_step import NUM_EPOCHS, NUM_ROUNDS, trainer_epochs
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


class Module(lightning.LightningModule):
    """The same for Lightning."""

    def __init__(self, model: models.MLP, skip_weights: SkipWeights | None) -> None:
        super().__init__()
        self.model = model
        self.skip_weights = skip_weights

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """Return the Lagrangian of a batch."""
        inputs, labels = batch
        logits = self.model(inputs)
        loss = functional.cross_entropy(logits, labels)
        account = {"loss": loss, "train_accuracy": num_correct(logits, labels) / len(labels)}
        self.log_dict(account, on_step=False, on_epoch=True)
        return loss if self.skip_weights is None else loss + self.skip_weights.penalty()

    def on_train_batch_end(self, *_: object) -> None:
        """Do what comes after the optimizer's step."""
        if self.skip_weights is not None:
            self.skip_weights.step()

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        """Log the loss and the accuracy of a batch."""
        inputs, labels = batch
        logits = self.model(inputs)
        loss = functional.cross_entropy(logits, labels)
        self.log_dict({"test_loss": loss, "test_accuracy": num_correct(logits, labels) / len(labels)})

    def configure_optimizers(self) -> dict[str, Any]:
        """Return the optimizer, and its schedule by steps."""
        optimizer, scheduler = optimizer_and_scheduler(self.model)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Turns(lightning.Callback):
    """Leave the greenlet of a fit before each epoch."""

    def on_train_epoch_start(self, *_: object) -> None:
        """Go back to who waits for the epoch before."""
        getcurrent().parent.switch()


def lightning_epochs(connection: str, images: data.Images) -> Iterator[Account]:
    """Train by Lightning, one epoch and one evaluation at a time."""
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=NUM_EPOCHS,
        callbacks=[Turns()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    module = Module(*network(connection))
    fit = greenlet(lambda: trainer.fit(module, *loaders(images)))
    fit.switch()  # up to the first epoch
    while not fit.dead:
        fit.switch()
        yield {name: value.item() for name, value in trainer.callback_metrics.items()}


def our_epochs(connection: str, images: data.Images) -> Iterator[Account]:
    """Train by the library's trainer, one epoch and one evaluation at a time."""
    return map(vars, trainer_epochs(connection, images))


class Side:
    """One side of a ratio: a call is an epoch, whose account is kept."""

    def __init__(self, epochs: Iterator[Account]) -> None:
        self.epochs = epochs
        self.last: Account = {}

    def __call__(self) -> None:
        """Train on by an epoch."""
        self.last = next(self.epochs)


def main() -> None:
    """Measure and write."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # nothing of devices that are not there
    warnings.filterwarnings("ignore", module=r"lightning\.")  # of workers, which images in memory do not need
    torch.set_num_threads(1)
    images = data.load()
    rows = []
    for label, connection in (("plain", "plain"), ("VAN", "van")):
        for peer, epochs in (("script with a DataLoader", script_epochs), ("Lightning", lightning_epochs)):
            ours, theirs = Side(our_epochs(connection, images)), Side(epochs(connection, images))
            rows.append(ratio(f"trainer / {peer}, {label}", ours, theirs, "–", NUM_ROUNDS, steps=39))
            for name in COLUMNS:
                torch.testing.assert_close(theirs.last[name], ours.last[name], rtol=1e-4, atol=0.0)
    about = f"""\
{NUM_ROUNDS} rounds; the two sides of a ratio take turns, an epoch of 39 steps and one evaluation each. Fully connected,
depth 40, width 32, batch normalization, batches of 128, fused Adam with a cosine schedule; milliseconds are those of a
step. Lightning without logger, checkpoints, progress bar and summary."""
    remarks = """\
All sides see the images in the same order, and come to the same losses and accuracies, which the benchmark checks. A
DataLoader takes the images one by one and stacks each batch; the trainer takes a batch by its indices from images that
are in memory as a whole, and spends about what that saves on its own account of the run. Lightning adds its hooks and
its logging to every step."""
    write_section("peers", rows, about, remarks, libraries=("torch", "lightning"))


if __name__ == "__main__":
    main()
