"""The training loop, which hands out a record after each logging interval and draws and prints nothing."""

import contextlib
import copy
import io
import math
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from van_tutorial._checks import check_count, check_range
from van_tutorial._files import write_atomic
from van_tutorial._modes import Modes, begin_training, eval_mode, frozen_modules, modes_of, set_modes, undoing
from van_tutorial._random import LOCK
from van_tutorial.data import Images
from van_tutorial.models import find_skip_weight, skip_weights, unwrapped
from van_tutorial.training.config import TrainConfig, learning_rate_factor
from van_tutorial.training.evaluation import evaluate, in_full, settle_statistics
from van_tutorial.training.examples import Examples
from van_tutorial.training.loop import Loop
from van_tutorial.training.losses import Distillation, Loss
from van_tutorial.training.phase_out import PhaseOut
from van_tutorial.training.records import Record, TrainResult, history_frame, layers_frame


class DivergenceError(RuntimeError):
    """The loss was no longer finite.

    Attributes:
        step: number of the step (from 1) whose loss was not finite.
        lr: learning rate of the weights in it.
        layer: the parameter whose gradient had the largest norm in the step before; None in the first step, on an
            accelerator, and where many networks are trained at once.
    """

    def __init__(self, message: str, step: int, lr: float, layer: str | None) -> None:
        super().__init__(message)
        self.step = step
        self.lr = lr
        self.layer = layer


CHECKPOINT_PARTS = {
    "identity", "step", "seconds", "sums", "model", "optimizer", "scheduler", "phase_out", "records",
}  # fmt: skip
# What wrappers put before the names of a network's parameters.
WRAPPERS = {"module.": "torch.nn.DataParallel", "_orig_mod.": "torch.compile"}


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or belongs to another run."""


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of that name; "auto" is cuda where there is one, else mps, else cpu.

    Raises:
        ValueError: for a name that torch does not know, or a device that this machine lacks.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        raise ValueError(
            f"device {name!r} cannot be used on this machine: take 'auto', 'cpu', or the name of a device that is "
            "there, such as 'cuda' or 'mps'."
        ) from error
    return device


class Trainer(Loop[Record]):
    """Train a network, one record after each logging interval.

        for record in Trainer(model, images, config):
            print(record.step, record.test_accuracy)

    The caller decides what to do with a record, and may stop by leaving the loop; iterating again goes on. A
    network with a parameter `skip_weight` of shape (L,), in whichever of its modules, has its skips phased out
    (`PhaseOut`), unless `requires_grad` is False: such a skip weight stays as it is. Any other network is trained on
    its loss alone. (`until` calls `_train_step` for every step, and `_make_record` when a record is due.) The network
    is trained in place, and left in eval mode when all steps are done. A submodule that is in eval mode apart from
    the rest when the trainer is made, or is put there later, stays so in every step.
    torch's global random state and number of threads are not touched.

    Args:
        model: maps images (N, C, H, W) to logits (N, num_classes), or (N, num_classes, H, W) where every pixel has
            its label.
        images: the data; they are moved to the device once. Labels are of shape (N,) or (N, H, W). Trainers may
            share `Examples` that are there already.
        config: the run.
        stop: an event that ends the iteration after the step in which it is set, with a last record.
        loss: of logits and labels, a mean in nats per label; None is the cross entropy. What `distillation` makes is
            shown the images as well; its teacher is moved to the device. `test_loss` stays the cross entropy.

    Attributes:
        num_steps: steps of the whole training.
        step: steps done.
        records: all records so far.
        weights: the network's parameters without its skip weights.
        phase_out: the `PhaseOut`, or None where there are no skip weights, or frozen ones.

    Raises:
        ValueError: for a device that is not there, images that are no `Images`, fewer training images than one batch,
            a `skip_weight` that cannot be phased out, a teacher that is the network itself or has other outputs, or
            outputs of the network that do not fit the labels; in the first step, before anything is changed, for
            outputs that do not fit in training mode alone.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Images | Examples,
        config: TrainConfig | None = None,
        stop: threading.Event | None = None,
        loss: Loss | Distillation | None = None,
    ) -> None:
        super().__init__(stop)
        self.config = config = config or TrainConfig()
        self.loss = loss
        self.device = pick_device(config.device)
        self.model = model.to(self.device)
        if config.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.examples = images if isinstance(images, Examples) else Examples(images, config, self.device)
        self.steps_per_epoch = self.examples.num_train // config.batch_size
        self.num_steps = config.num_epochs * self.steps_per_epoch
        self.log_every = config.log_every or self.steps_per_epoch
        self.records: list[Record] = []
        self._forward = torch.compile(model) if config.compile else model
        self._frozen = frozen_modules(model)
        self._check_outputs()
        self._given: Modes | None = modes_of(model)  # until its outputs in training mode have been looked at
        skip_weight = find_skip_weight(model)
        self.phase_out = (
            PhaseOut(skip_weight, config, self.num_steps)
            if skip_weight is not None and skip_weight.requires_grad
            else None
        )
        self.weights = [parameter for parameter in model.parameters() if parameter is not skip_weight]
        self.optimizer = make_optimizer(self.weights, config, self.device)
        self.scheduler = make_scheduler(self.optimizer, config, self.num_steps)
        self._labels_per_batch = config.batch_size * self.examples.train_labels[0].numel()
        self._sums: dict[str, Any] = {"loss": 0.0, "lagrangian": 0.0, "correct": 0, "count": 0}
        # Of each step that is not in the sums yet: its learning rate; loss and Lagrangian, and the number of labels
        # given right, left on the device.
        self._unread: list[tuple[float, Tensor, Tensor]] = []

    def __iter__(self) -> Iterator[Record]:
        """Train on from where the run is, to its end.

        Yields:
            A record after each logging interval, and one at the end.

        Raises:
            DivergenceError: in the step whose loss is not finite, on an accelerator when the next record is due;
                `records` keeps what was before.
        """
        yield from self.until(self.num_steps)

    def _make_record(self) -> Record:
        """Return the record of the steps since the last one."""
        self._read()
        self.settle()
        scores = {
            name: evaluate(self.model, *labelled, autocast=self.autocast)
            for name, labelled in self.examples.evaluated.items()
        }
        return self.make_record(self._seconds, scores)

    def _set_modes(self) -> None:
        """Put the network in training mode, except what its owner has frozen; in eval mode after the last step."""
        self._frozen |= frozen_modules(self.model)
        if self.step < self.num_steps:
            begin_training(self.model, self._frozen)
        else:
            self.model.eval()

    def _train_step(self) -> None:
        """Do one primal and one dual step."""
        images, labels = self.examples.batch(self.step, self.config)
        with self.autocast():
            logits = self._first_outputs(images, self._given) if self._given else self._forward(images)
        loss, lagrangian = self.losses(logits, labels, images)
        correct = (logits.detach().argmax(dim=1) == labels).sum()
        self._unread.append((self.lr, torch.stack((loss, lagrangian)).detach(), correct))
        if self.device.type == "cpu":  # elsewhere reading would have the processor wait for the device
            self._read()
        self.model.zero_grad()
        lagrangian.backward()
        self.optimizer.step()
        self.scheduler.step()
        self.step += 1
        if self.phase_out is not None:
            self.phase_out.step(self.step)

    @property
    def lr(self) -> float:
        """Learning rate of the weights in the next step."""
        lr: float = self.optimizer.param_groups[0]["lr"]
        return lr

    def losses(self, logits: Tensor, labels: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss C and the Lagrangian of a batch."""
        if isinstance(self.loss, Distillation):
            loss = self.loss(in_full(logits), labels, images)
        else:
            loss = (self.loss or functional.cross_entropy)(in_full(logits), labels)
        phase_out = self.phase_out
        return loss, loss if phase_out is None or self.config.is_scheduled else loss + phase_out.penalty()

    def _read(self) -> None:
        """Take what the steps have left on the device into the sums."""
        steps, self._unread = self._unread, []
        if not steps:
            return
        rates, values, correct = zip(*steps, strict=True)
        found = torch.stack(values).tolist()
        if self.device.type != "cpu" and not all(math.isfinite(lagrangian) for _, lagrangian in found):
            self.model.zero_grad()  # the gradients are of a later step, and would name the wrong layer
        self.account(rates, found, torch.stack(correct).sum())

    def settle(self) -> None:
        """Take the statistics of all training images at the end, where the config asks for them."""
        if self.config.population_statistics and self.step == self.num_steps:
            settle_statistics(self.model, self.examples.train_images)

    def account(
        self, rates: Sequence[float], values: Sequence[Sequence[float]], correct: int | Tensor
    ) -> None:
        """Add some steps to the sums, or raise where a Lagrangian is not finite.

        Args:
            rates: learning rate of each step.
            values: loss and Lagrangian of each step.
            correct: number of labels given right in all of them.

        Raises:
            DivergenceError: for the first step whose Lagrangian is not finite.
        """
        for lr, (loss, lagrangian) in zip(rates, values, strict=True):
            if not math.isfinite(lagrangian):
                raise self._divergence(lagrangian, lr)
            self._sums["loss"] += loss
            self._sums["lagrangian"] += lagrangian
            self._sums["count"] += 1
        self._sums["correct"] = self._sums["correct"] + correct

    def make_record(self, seconds: float, scores: Mapping[str, tuple[float, float]]) -> Record:
        """Add the record of the steps since the last one, return it, and start to count anew.

        Args:
            seconds: spent in steps so far.
            scores: loss and accuracy on the "test" images, and on the "validation" images where there are any.

        Returns:
            The record.
        """
        count = self._sums["count"]
        test_loss, test_accuracy = scores["test"]
        alphas = skip_weights(self.model).cpu()
        phase_out = self.phase_out
        record = Record(
            step=self.step,
            epoch=self.step / self.steps_per_epoch,
            lr=self.lr,
            loss=self._sums["loss"] / count,
            lagrangian=self._sums["lagrangian"] / count,
            train_accuracy=int(self._sums["correct"]) / (count * self._labels_per_batch),
            validation_accuracy=scores["validation"][1] if "validation" in scores else None,
            test_loss=test_loss,
            test_accuracy=test_accuracy,
            skip_weights=alphas,
            multipliers=phase_out.multipliers.values.cpu().clone() if phase_out else torch.empty(0),
            cap=None if phase_out is None or self.config.is_scheduled else phase_out.cap(self.step),
            seconds=seconds,
        )
        self._sums = dict.fromkeys(self._sums, 0)
        self._seconds = seconds
        self.records.append(record)
        return record

    def _check_outputs(self) -> None:
        """Raise unless the network has an output for every class and label; it is given two images in eval mode."""
        with LOCK, undoing(self.model, self.device), eval_mode(self.model), torch.no_grad(), self.autocast():
            images = self.examples.train_images[:2]
            self._check_output(outputs := self.model(images), 2, "eval")
            if isinstance(self.loss, Distillation):
                if unwrapped(self.loss.teacher) is unwrapped(self.model):
                    raise ValueError(
                        "The teacher is the network itself: give a copy, as copy.deepcopy makes it."
                    )
                self.loss.teacher.to(self.device)
                self.loss(outputs, self.examples.train_labels[:2], images)

    def _first_outputs(self, images: Tensor, given: Modes) -> Tensor:
        """Return the outputs in the first step, or raise where they do not fit, with the network as it was given."""
        with LOCK, undoing(self.model, self.device) as undo:
            undo.callback(set_modes, given)
            logits = self._forward(images)
            self._check_output(logits, len(images), "training")
            undo.pop_all()
        self._given = None
        return logits

    def _check_output(self, output: Any, num_images: int, mode: str) -> None:
        """Raise unless an output can be compared with the labels of so many images."""
        if not isinstance(output, Tensor):
            keys = f" with the keys {', '.join(map(repr, output))}" if isinstance(output, dict) else ""
            raise ValueError(
                f"The network must give a tensor, got {type(output).__name__}{keys} in {mode} mode: wrap it in a "
                "module that returns the logits alone."
            )
        if not output.is_floating_point() or output.layout is not torch.strided:
            raise ValueError(
                f"The network's outputs must be dense real numbers, got {output.dtype}, {output.layout}, in {mode} "
                "mode: wrap it in a module that makes them so, such as by abs() or to_dense()."
            )
        if not output.dim() or len(output) != num_images:
            raise ValueError(
                f"The network must give a row of outputs for each image, got shape {tuple(output.shape)} for "
                f"{num_images} images in {mode} mode."
            )
        if output.dim() == 1:
            raise ValueError(
                "The network has one number for an image: it must have an output for every class."
            )
        outputs = tuple(output.shape[1:])
        if (num_classes := self.examples.num_classes) > outputs[0]:
            raise ValueError(
                f"The network has {outputs[0]} outputs for {num_classes} classes: "
                f"make it with num_classes={num_classes}."
            )
        if outputs[1:] != (places := tuple(self.examples.train_labels.shape[1:])):
            raise ValueError(
                f"The network's outputs for an image have shape {outputs}, and its labels shape {places}: "
                f"outputs of shape {(outputs[0], *places)} would fit."
            )

    def _divergence(self, lagrangian: float, lr: float) -> DivergenceError:
        """Return the error for the first step that is not in the sums; the gradients are those of the step before."""
        step = 1 + self._sums["count"] + (self.records[-1].step if self.records else 0)
        norms = {
            name: parameter.grad.norm().item()
            for name, parameter in self.model.named_parameters()
            if parameter.grad is not None
        }
        layer = (
            max(norms, key=lambda name: math.inf if math.isnan(norms[name]) else norms[name])
            if norms
            else None
        )
        where = (
            f"; the largest gradient norm in the step before was {norms[layer]:.3g}, of {layer}"
            if layer
            else ""
        )
        message = (
            f"The loss is {lagrangian} in step {step} of {self.num_steps} at lr={lr:.3g}{where}. "
            "Take a smaller lr, or a normalization; the records up to here are kept."
        )
        return DivergenceError(message, step, lr, layer)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context of the forward passes."""
        if self.config.mixed_precision:
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def result(self) -> TrainResult:
        """Return the result so far."""
        phase_out, last = self.phase_out, self.records[-1] if self.records else None
        return TrainResult(
            model=self.model,
            config=self.config,
            history=history_frame(self.records),
            layers=layers_frame(self.records),
            num_steps=self.step,
            is_complete=self.step == self.num_steps,
            test_accuracy=last.test_accuracy if last else math.nan,
            validation_accuracy=last.validation_accuracy if last else None,
            removed_at_step=phase_out.removed_at_step if phase_out else None,
            removed_by=phase_out.removed_by if phase_out else None,
            num_capped=phase_out.num_capped if phase_out else 0,
            first_zero_steps=tuple(phase_out.first_zero_steps) if phase_out else (),
            seconds=self._seconds,
        )

    def save(self, path: str | Path) -> None:
        """Write a checkpoint from which `load` goes on, bit for bit on the CPU.

        Args:
            path: the file; under its name there is only ever a whole checkpoint.

        Raises:
            OSError: where it cannot be written; an older file of that name is unharmed.
        """
        buffer = io.BytesIO()
        torch.save(self._state(), buffer)
        write_atomic(path, buffer.getvalue())

    def _state(self) -> dict[str, Any]:
        """Return all that a checkpoint holds; its tensors are those of the run."""
        return {
            "identity": self._identity(),
            "step": self.step,
            "seconds": self._seconds,
            "sums": {**self._sums, "correct": int(self._sums["correct"])},
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "phase_out": self.phase_out.state_dict() if self.phase_out is not None else None,
            "records": [asdict(record) for record in self.records],
        }

    def load(self, path: str | Path) -> None:
        """Take over the state of a checkpoint of the same network, data and config.

        Args:
            path: the file; only tensors and plain values are read from it, no code.

        Raises:
            FileNotFoundError: where there is no such file.
            CheckpointError: where it cannot be read, or is of another run; nothing is changed then.
        """
        try:
            with zipfile.ZipFile(path) as archive:  # torch itself does not look at the checksums
                if (damaged := archive.testzip()) is not None:
                    raise CheckpointError(f"{path} is damaged: the checksum of {damaged} in it is wrong.")
            state = torch.load(path, map_location=self.device, weights_only=True)
            saved = dict(state["identity"])
            if missing := CHECKPOINT_PARTS - state.keys():
                raise CheckpointError(
                    f"{path} is no checkpoint of a trainer: it lacks {', '.join(sorted(missing))}."
                )
        except (FileNotFoundError, CheckpointError):
            raise
        except Exception as error:  # of the unpickler, for a damaged file
            raise CheckpointError(
                f"{path} is not a checkpoint that can be read ({type(error).__name__})."
            ) from error
        here = self._identity()
        for prefix, wrapper in WRAPPERS.items():
            there, ours = (
                any(name.startswith(f"shape of {prefix}") for name in names) for names in (saved, here)
            )
            if there != ours:
                which = (
                    "the checkpoint's network and not this one"
                    if there
                    else "this network and not the checkpoint's"
                )
                raise CheckpointError(
                    f"{path} is a checkpoint of another run: {wrapper} wraps {which} (names begin with {prefix!r}). "
                    f"Make the trainer with a network that is {'wrapped as well' if there else 'not wrapped'}."
                )
        if differing := [
            name for name in sorted(here.keys() | saved.keys()) if here.get(name) != saved.get(name)
        ]:
            details = ", ".join(
                f"{name} {saved.get(name)!r} there and {here.get(name)!r} here" for name in differing[:5]
            )
            raise CheckpointError(
                f"{path} is a checkpoint of another run ({details}): make the trainer with the same values."
            )
        before = copy.deepcopy(self._state())
        try:
            self._take_over(state)
        except Exception as error:  # of torch, for a damaged state
            self._take_over(before)
            raise CheckpointError(
                f"{path} is damaged ({type(error).__name__}): nothing was taken over from it."
            ) from error

    def _take_over(self, state: dict[str, Any]) -> None:
        """Go on from the state of a checkpoint."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        if self.phase_out is not None:
            self.phase_out.load_state_dict(state["phase_out"])
        check_count("step", state["step"], minimum=0)
        check_range("seconds", state["seconds"], 0.0, math.inf)
        self.step, self._seconds = state["step"], state["seconds"]
        sums = state["sums"]
        self._sums = {name: float(sums[name]) for name in ("loss", "lagrangian")}
        self._sums |= {name: int(sums[name]) for name in ("correct", "count")}
        self.records = [Record(**to_cpu(row)) for row in state["records"]]
        self._set_modes()

    def _identity(self) -> dict[str, Any]:
        """Return what two runs must share for one to go on where the other was: all that decides its numbers."""
        identity = {key: value for key, value in asdict(self.config).items() if key != "device"}
        model_config = getattr(unwrapped(self.model), "config", None)
        if is_dataclass(model_config) and not isinstance(model_config, type):
            identity |= {f"model.{key}": value for key, value in asdict(model_config).items()}
        identity |= {
            f"shape of {name}": list(tensor.shape) for name, tensor in self.model.state_dict().items()
        }
        if self.config.weight_decay > 0.0:
            identity["weight decay of"] = "parameters of two and more dimensions"
        if frozen := [name for name, module in self.model.named_modules() if module in self._frozen]:
            identity["in eval mode"] = frozen
        if self.phase_out is None and find_skip_weight(self.model) is not None:
            identity["skip weights"] = "frozen"
        if isinstance(self.loss, Distillation):
            identity |= self.loss.identity()
        elif self.loss is not None:
            identity["loss"] = getattr(self.loss, "__qualname__", repr(self.loss))
        return identity | self.examples.digests


def train(
    model: nn.Module,
    images: Images,
    config: TrainConfig | None = None,
    checkpoint: str | Path | None = None,
    loss: Loss | Distillation | None = None,
) -> TrainResult:
    """Train a network to the end.

    Args:
        model: maps images (N, C, H, W) to logits (N, num_classes); trained in place, left in eval mode.
        images: the data.
        config: the run; None means the defaults.
        checkpoint: a file to write after each record; where it exists, training goes on from it.
        loss: of logits and labels, or what `distillation` makes; None is the cross entropy.

    Returns:
        The result, with its history.

    Raises:
        ValueError: for what `Trainer` refuses.
        CheckpointError: where the checkpoint is of another run.
        DivergenceError: in the step whose loss is not finite.
        OSError: where the checkpoint cannot be written.
    """
    trainer = Trainer(model, images, config, loss=loss)
    if checkpoint is not None and Path(checkpoint).exists():
        trainer.load(checkpoint)
    for _ in trainer:
        if checkpoint is not None:
            trainer.save(checkpoint)
    return trainer.result()


def to_cpu(values: dict[str, Any]) -> dict[str, Any]:
    """Return a dictionary of values, and of dictionaries of them, with its tensors on the CPU."""
    return {
        name: to_cpu(value)
        if isinstance(value, dict)
        else value.cpu()
        if isinstance(value, Tensor)
        else value
        for name, value in values.items()
    }


def make_optimizer(
    weights: list[nn.Parameter], config: TrainConfig, device: torch.device
) -> torch.optim.Optimizer:
    """Return the optimizer of the weights, fused where torch has it for the device.

    With weight decay there are two groups of parameters: those of less than two dimensions do not decay.
    """
    groups: list[dict[str, Any]] = [{"params": weights}]
    if config.weight_decay > 0.0:
        groups = [
            {"params": [w for w in weights if w.ndim >= 2], "weight_decay": config.weight_decay},
            {"params": [w for w in weights if w.ndim < 2]},
        ]
    is_fused = device.type in ("cpu", "cuda", "mps") and all(weight.is_floating_point() for weight in weights)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=is_fused)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr, weight_decay=0.0, fused=is_fused)


def make_scheduler(
    optimizer: torch.optim.Optimizer, config: TrainConfig, num_steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the schedule of the weights' learning rate."""
    if config.lr_schedule == "wsd":
        return torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(config, step, num_steps)
        )
    if config.lr_schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=num_steps)
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
