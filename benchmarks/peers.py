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
from collections.abc import Iterator
from typing import Any

import lightning
import torch
from greenlet import getcurrent, greenlet
from torch import Tensor
from torch.nn import functional

from benchmarks.measure import ratio, write_section
from benchmarks.script import (
    COLUMNS,
    Account,
    SkipWeights,
    loaders,
    network,
    num_correct,
    optimizer_and_scheduler,
    our_epochs,
    script_epochs,
)
from benchmarks.training_step import NUM_EPOCHS, NUM_ROUNDS
from van_tutorial import data, models


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
All sides see the images in the same order and reach the same losses and accuracies, which the benchmark checks. A
DataLoader takes the images one by one and stacks each batch. The trainer indexes a batch in images that are in memory
as a whole, and spends about as much as that saves on its records of the run. Lightning adds its hooks and its logging
to every step."""
    write_section("peers", rows, about, remarks, libraries=("torch", "lightning"))


if __name__ == "__main__":
    main()
