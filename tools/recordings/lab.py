"""What all recordings share: the grid of runs, how a network is trained, and what is kept of it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import torch
from torch import nn

from van_tutorial import data, models, training

Row = dict[str, Any]
Grid = Mapping[str, Any]  # values of each column, a tuple or a single one
Measure = Callable[..., Row | list[Row]]

SEEDS = (0, 1, 2)
# Simultaneously, those next to the input faster: how skips were removed before the removal became sequential.
ALL_AT_ONCE: dict[str, Any] = {"stagger": 0.0, "dual_lr_spread": 5.0}
# A small part: few layers, images and epochs; of other columns than these the first value.
FEW_LAYERS, FEW_IMAGES, FEW_EPOCHS = 8, 1280, 2
KEPT = ("network", "experiment", "decayed")
MEASURED: dict[str, tuple[tuple[Grid, ...], Measure]] = {}


def recording(*grids: Grid) -> Callable[[Measure], Measure]:
    """Register a function that measures one run of these grids, under its own name."""

    def register(measure: Measure) -> Measure:
        MEASURED[measure.__name__] = (grids, measure)
        return measure

    return register


def points(grids: tuple[Grid, ...], is_quick: bool = False) -> Iterator[Row]:
    """Yield the points of grids, the last column fastest; of a small part only some."""
    for grid in grids:
        axes = {
            name: list(values) if isinstance(values, tuple) else [values] for name, values in grid.items()
        }
        if is_quick:
            axes = {name: values if name in KEPT else values[:1] for name, values in axes.items()}
            axes |= {"depth": [min(FEW_LAYERS, axes["depth"][0])]} if "depth" in axes else {}
            axes |= {"data": ["fashion-mnist-mini"]} if "data" in axes else {}
        yield from (dict(zip(axes, values, strict=True)) for values in product(*axes.values()))


@dataclass(frozen=True)
class Trained:
    """A network that was trained.

    Attributes:
        images: the data.
        result: what its training gave.
    """

    images: data.Images
    result: training.TrainResult

    @property
    def model(self) -> Any:
        """The network as it was trained."""
        return self.result.model

    def row(self, *names: str) -> Row:
        """Return what is recorded of it: properties of this class or its result, rounded, or settings of its config."""
        row: Row = {}
        for name in names:
            place = next(place for place in (self, self.result, self.result.config) if hasattr(place, name))
            value = getattr(place, name)
            is_rounded = isinstance(value, float) and place is not self.result.config
            row[name] = round(value, 1 if name == "seconds" else 4) if is_rounded else value
        return row

    @cached_property
    def left(self) -> Any:
        """The network that is left: of a VAN what it collapses to."""
        is_van = getattr(getattr(self.model, "config", None), "connection", None) == "van"
        return models.collapse(self.model) if is_van else self.model

    @cached_property
    def test_accuracy(self) -> float:
        """In eval mode, of what is left."""
        return training.accuracy(self.left, self.images.test_images, self.images.test_labels)

    @cached_property
    def train_accuracy(self) -> float:
        """In eval mode, of what is left, on all training images."""
        return training.accuracy(self.left, self.images.train_images, self.images.train_labels)

    @property
    def last_epoch(self) -> Row:
        """The mean over the last epoch, in training mode, under the name of the training accuracy."""
        return {"train_accuracy": round(float(self.result.history["train_accuracy"].iloc[-1]), 4)}

    @property
    def skips_left(self) -> int:
        """Skips whose weight is not 0."""
        return models.num_skips(self.model)

    @property
    def stagger(self) -> float:
        """Of the windows of the layers, the default resolved."""
        return self.result.config.staggering

    @property
    def parameters(self) -> int:
        """Number of parameters of what is left."""
        return sum(parameter.numel() for parameter in self.left.parameters())


@dataclass(frozen=True)
class Lab:
    """Data and trainings, all of them or a small part.

    Attributes:
        is_quick: whether a small part will do.
    """

    is_quick: bool = False

    def load(self, name: str = "fashion-mnist-mini") -> data.Images:
        """Return the images of that name; for a small part some of the embedded ones."""
        if not self.is_quick:
            return data.load(name)
        images = data.load()
        part = slice(FEW_IMAGES)
        return replace(images, train_images=images.train_images[part], train_labels=images.train_labels[part])

    def trainer(self, model: nn.Module, images: data.Images, **settings: Any) -> training.Trainer:
        """Return a trainer on the processor."""
        return training.Trainer(model, images, self.config(**settings))

    def config(self, **settings: Any) -> training.TrainConfig:
        """Return a config for the processor, of few epochs for a small part."""
        few = {"num_epochs": FEW_EPOCHS} if self.is_quick else {}
        return training.TrainConfig(**{"device": "cpu"} | settings | few)

    def train(
        self,
        model: nn.Module,
        images: data.Images,
        each: Callable[[Any, Any], Any] | None = None,
        **settings: Any,
    ) -> Trained:
        """Train a network, and call `each` with every record and the network."""
        return self.finish(self.trainer(model, images, **settings), images, each)

    def finish(
        self,
        trainer: training.Trainer,
        images: data.Images,
        each: Callable[[Any, Any], Any] | None = None,
        may_diverge: bool = False,
    ) -> Trained:
        """Train to the end with a trainer that is there, or, where that is allowed, to a loss that is not finite."""
        try:
            for record in trainer:
                if each is not None:
                    each(record, trainer.model)
        except training.DivergenceError as error:
            if not may_diverge:
                raise
            print(error)
        return Trained(images, trainer.result())


def linear_classifier(seed: int) -> nn.Module:
    """Return a network without a hidden layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def rounded(value: float, digits: int = 4) -> float:
    """Return a number with so many significant digits."""
    return float(f"{value:.{digits}g}")
