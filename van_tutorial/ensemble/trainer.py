"""The training loop of many networks at once."""

import math
import threading
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from van_tutorial import training
from van_tutorial.data import Images
from van_tutorial.ensemble.memory import Memory
from van_tutorial.ensemble.optimizer import StackedOptimizer
from van_tutorial.ensemble.phase_outs import PhaseOuts
from van_tutorial.ensemble.shape import check_same_shape
from van_tutorial.ensemble.stacked import StackedNetwork, num_slots
from van_tutorial.training import DivergenceError, Record, TrainConfig, TrainResult
from van_tutorial.training.evaluation import in_full
from van_tutorial.training.examples import Examples
from van_tutorial.training.loop import Loop

EVALUATED = 256  # images, at most, that all networks look at in one call


class Trainer(Loop[list[Record | None]]):
    """Train K networks of one shape at once, K records after each logging interval.

        for records in ensemble.Trainer(models, images, configs):
            print([record.test_accuracy for record in records if record is not None])

    Losses, gradients, optimizer and phase-outs are one call each for all networks. Each has a `training.Trainer` of its
    own that keeps its records. What a step leaves stays on the device until the next record.

    A result does not depend on which networks, and how many, are trained with it: on one thread of a processor not in a
    single bit, where MKL's matrix products do not depend on where in memory a matrix lies (on some processors only
    with `MKL_CBWR=AUTO,STRICT` in the environment). It agrees with that of `training.train` up to rounding, which
    adds up: in double precision both stay together, in single precision a plain network of 40 layers makes another
    course of training out of a difference in the last digit, within ten steps.

    A network whose loss is no longer finite has no more records, the others go on; `errors` says which and why. That is
    seen when the next record is due, and its weights are not finite then.

    Args:
        models: K networks made by `models.mlp` or `models.convnet`, of one shape, each trained in place.
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
        for member in self.members:
            member.optimizer.step()  # nothing has a gradient yet: for its schedule, which must not go ahead of it
        phase_outs = [member.phase_out for member in self.members if member.phase_out is not None]
        self.phase_outs = PhaseOuts(phase_outs, configs) if phase_outs else None
        self.memory = Memory(models, num_slots(network, len(models)))
        self._slots = [*configs, *[configs[0]] * (self.memory.num_slots - len(models))]
        self.stacked = StackedNetwork(network.to(device), self.memory)
        self._forward = torch.compile(self.losses) if configs[0].compile else self.losses
        self.optimizer = StackedOptimizer(self.memory, configs)
        self.errors: list[DivergenceError | None] = [None] * len(models)
        self.num_steps, self.log_every = self.members[0].num_steps, self.members[0].log_every
        # Of the steps since the last record: learning rates; losses and Lagrangians, and the numbers of labels given
        # right, left on the device.
        self._unread: list[tuple[list[float], Tensor, Tensor]] = []

    def __iter__(self) -> Iterator[list[Record | None]]:
        """Train on from where the run is.

        Yields:
            For each network a record, after each logging interval and at the end; None for one that has stopped.
        """
        with self.memory.shared(self.phase_outs.rows() if self.phase_outs else []):
            yield from self.until(self.num_steps)

    def _is_stopping(self) -> bool:
        """Tell whether no further step is to be done: also where every network has stopped."""
        return super()._is_stopping() or all(self.errors)

    def _set_modes(self) -> None:
        """Put the networks in training mode; in eval mode after the last step."""
        for model in (self.stacked, *self.memory.models):
            model.train(self.step < self.num_steps)

    def losses(self, images: Tensor, labels: Tensor, skip_weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return each network's loss on each of its examples, and whether it classifies it correctly, both (K, N)."""
        logits = in_full(self.stacked(images, skip_weights))
        labels = labels[: len(logits)] if labels.dim() > 1 else labels.expand(len(logits), -1)
        losses = functional.cross_entropy(logits, labels, reduction="none")
        return losses, logits.detach().argmax(dim=1) == labels

    def _train_step(self) -> None:
        """Do one primal and one dual step of every network that has not stopped."""
        images, labels = self.examples.batches(self.step, self._slots)
        phase_outs, rates = self.phase_outs, [member.lr for member in self.members]
        with self.members[0].autocast():
            losses, correct = self._forward(images, labels, phase_outs.skip_weights() if phase_outs else None)
        loss = losses.mean(dim=1)
        lagrangian = loss + phase_outs.penalties() if phase_outs else loss
        self._unread.append((rates, torch.stack((loss, lagrangian), dim=1).detach(), correct.sum(dim=1)))
        weights = list(self.memory.leaves.values())
        grads = torch.autograd.grad(lagrangian.sum(), [*weights, *(phase_outs.leaves if phase_outs else ())])
        self.optimizer.step(grads[: len(weights)], rates)
        self.step += 1
        if phase_outs:
            phase_outs.step(self.step, grads[len(weights) :])
        for member in self.members:
            member.scheduler.step()

    def _make_record(self) -> list[Record | None]:
        """Return the records of all networks that have not stopped; each one's time is its fraction of the whole."""
        self._read()
        live = [member for member, error in zip(self.members, self.errors, strict=True) if error is None]
        for member in live:
            member.settle()
        scores = {name: self._evaluate(*labelled) for name, labelled in self.examples.evaluated.items()}
        seconds = self._seconds / len(self.members)
        return [
            None
            if error is not None
            else member.make_record(seconds, {name: found[index] for name, found in scores.items()})
            for index, (member, error) in enumerate(zip(self.members, self.errors, strict=True))
        ]

    def _read(self) -> None:
        """Hand what the steps have left on the device to the members, and note which networks have stopped."""
        steps, self._unread = self._unread, []
        rates, values, correct = zip(*steps, strict=True)
        found, right = torch.stack(values, dim=1).tolist(), torch.stack(correct).sum(dim=0).tolist()
        for index, member in enumerate(self.members):
            if self.errors[index] is None:
                member.step = self.step
                try:
                    member.account([each[index] for each in rates], found[index], right[index])
                except DivergenceError as error:
                    self.errors[index], member.step = error, error.step - 1

    @torch.no_grad()
    def _evaluate(self, images: Tensor, labels: Tensor) -> list[tuple[float, float]]:
        """Return each network's mean loss and its accuracy, in eval mode."""
        self.stacked.eval()
        count = len(self.members)
        skip_weights = self.phase_outs.skip_weights() if self.phase_outs else None
        sums = torch.zeros(2, count, dtype=self.memory.values.dtype, device=labels.device)
        parts = math.ceil(len(labels) / EVALUATED)
        for inputs, targets in zip(images.tensor_split(parts), labels.tensor_split(parts), strict=True):
            with self.members[0].autocast():
                found = self.losses(inputs.expand(len(self._slots), *inputs.shape), targets, skip_weights)
            sums += torch.stack([each.sum(dim=1) for each in found])
        return [(loss / len(labels), right / len(labels)) for loss, right in sums.T.tolist()]

    def results(self) -> list[TrainResult]:
        """Return the results so far, for each network."""
        return [member.result() for member in self.members]


def train(models: Sequence[nn.Module], images: Images, configs: Sequence[TrainConfig]) -> list[TrainResult]:
    """Train K networks of one shape at once, to the end.

    The same as [training.train(m, images, c) for m, c in zip(models, configs)]; `Trainer` says how nearly.

    Args:
        models: K networks made by `models.mlp` or `models.convnet`, of one shape, each trained in place and left in
            eval mode.
        images: the data.
        configs: K configs; `MAY_DIFFER` names what they, and the networks, may differ in.

    Returns:
        K results. One that is not `is_complete` belongs to a network whose loss was no longer finite; a
        RuntimeWarning says which and why. `seconds` is a network's fraction of the time.

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
