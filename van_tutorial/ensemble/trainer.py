"""The training loop of many networks at once."""

import threading
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from van_tutorial import training
from van_tutorial.data import Images
from van_tutorial.ensemble.memory import Memory
from van_tutorial.ensemble.shape import check_same_shape
from van_tutorial.ensemble.stacked import StackedMLP
from van_tutorial.training import DivergenceError, Record, TrainConfig, TrainResult
from van_tutorial.training.examples import Examples
from van_tutorial.training.loop import Loop


class Trainer(Loop[list[Record | None]]):
    """Train K networks of one shape at once, K records after each logging interval.

        for records in ensemble.Trainer(models, images, configs):
            print([record.test_accuracy for record in records if record is not None])

    Each network has a `training.Trainer` of its own for all that is not the network's own work: the order of its
    examples, its loss, its phase-out, its optimizer and its records. Forward and backward pass are done for all
    together (`StackedMLP`). A result depends on its own network and config alone, not on those trained with it: on
    one thread of a processor it is that of a single run to the last bit, elsewhere up to rounding. Up to rounding is
    not always near: a plain network of 40 layers makes another course of training out of a difference in the last
    digit, within ten steps.

    A network whose loss is no longer finite stops, the others go on; `errors` says which and why.

    Args:
        models: K networks made by `models.mlp`, of one shape, each trained in place.
        images: the data, moved to the device once for all.
        configs: K configs; `MAY_DIFFER` names what they, and the networks, may differ in.
        stop: an event that ends the iteration after the step in which it is set, with a last record.

    Attributes:
        members: the K trainers.
        errors: for each network the `DivergenceError` that stopped it, or None.
        num_steps: steps of the whole training.

    Raises:
        ValueError: for networks or configs that `check_same_shape` refuses, and what `training.Trainer` refuses.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        images: Images,
        configs: Sequence[TrainConfig],
        stop: threading.Event | None = None,
    ) -> None:
        network = check_same_shape(models, configs)
        super().__init__(stop)
        device = training.pick_device(configs[0].device)
        self.examples = Examples(images, configs[0], device)
        self.members = [
            training.Trainer(model, self.examples, config, self.stop)
            for model, config in zip(models, configs, strict=True)
        ]
        self.memory = Memory(models)
        stacked = StackedMLP(network.to(device), self.memory)
        self._forward = torch.compile(stacked) if configs[0].compile else stacked
        for index, member in enumerate(self.members):
            member.optimize(self.memory.vectors(index))
        self.errors: list[DivergenceError | None] = [None] * len(models)
        self.num_steps, self.log_every = self.members[0].num_steps, self.members[0].log_every

    def __iter__(self) -> Iterator[list[Record | None]]:
        """Train on from where the run is.

        Yields:
            For each network a record, after each logging interval and at the end; None for one that has stopped.
        """
        with self.memory.shared():
            yield from self.until(self.num_steps)

    def _is_stopping(self) -> bool:
        """Tell whether no further step is to be done: also where every network has stopped."""
        return super()._is_stopping() or all(self.errors)

    def _set_modes(self) -> None:
        """Put the networks in training mode; in eval mode after the last step."""
        for member in self.members:
            member.model.train(self.step < self.num_steps)

    def _train_step(self) -> None:
        """Do one primal and one dual step of every network that has not stopped."""
        images, labels = self.examples.batches(self.step, [member.config for member in self.members])
        with self.members[0].autocast():
            logits = self._forward(images)
        losses = [
            member.losses(*batch) for member, *batch in zip(self.members, logits, labels, images, strict=True)
        ]
        values = torch.stack([value.detach() for pair in losses for value in pair]).view(-1, 2).tolist()
        for network, member in enumerate(self.members):
            if self.errors[network] is None:
                try:
                    member.check(values[network][1])
                except DivergenceError as error:
                    self.errors[network] = error
        live = [network for network, error in enumerate(self.errors) if error is None]
        skip_weights = [
            member.phase_out.skip_weight for member in self.members if member.phase_out is not None
        ]
        self.memory.backward([losses[network][1] for network in live], skip_weights)
        for network in live:
            correct = (logits[network].detach().argmax(dim=1) == labels[network]).sum()
            self.members[network].finish_step(values[network][0], values[network][1], correct)
        self.step += 1

    def _make_record(self) -> list[Record | None]:
        """Return the records of all networks that have not stopped; each one's time is its fraction of the whole."""
        seconds = self._seconds / len(self.members)
        return [
            member.make_record(seconds) if error is None else None
            for member, error in zip(self.members, self.errors, strict=True)
        ]

    def results(self) -> list[TrainResult]:
        """Return what came out so far, for each network."""
        return [member.result() for member in self.members]


def train(models: Sequence[nn.Module], images: Images, configs: Sequence[TrainConfig]) -> list[TrainResult]:
    """Train K networks of one shape at once, to the end.

    The same as [training.train(m, images, c) for m, c in zip(models, configs)]; `Trainer` says how nearly.

    Args:
        models: K networks made by `models.mlp`, of one shape, each trained in place and left in eval mode.
        images: the data.
        configs: K configs; `MAY_DIFFER` names what they, and the networks, may differ in.

    Returns:
        K results. One that is not `is_complete` belongs to a network whose loss was no longer finite; a
        RuntimeWarning says which and why. `seconds` is a network's share of the time.

    Raises:
        ValueError: for networks or configs that `check_same_shape` refuses, and what `training.Trainer` refuses.
    """
    trainer = Trainer(models, images, configs)
    for _ in trainer:
        pass
    for network, error in enumerate(trainer.errors):
        if error is not None:
            warnings.warn(
                f"Network {network} of {len(models)} stopped. {error}", RuntimeWarning, stacklevel=2
            )
    return trainer.results()
