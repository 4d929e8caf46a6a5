"""What all networks that are one stack of layers have in common: the five choices, and how a layer is connected."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from van_tutorial import connections
from van_tutorial._checks import check_choice, check_count, check_range
from van_tutorial._random import random_state_kept
from van_tutorial.connections import Connection
from van_tutorial.models import parts


@dataclass(frozen=True)
class StackConfig:
    """The five choices, and what every stack has besides; `MLPConfig` and `ConvNetConfig` say what each means."""

    depth: int = 40
    width: int = 32
    connection: str = "van"
    skip: str = "convex"
    skip_weight: float = 0.95
    residual_scale: float = 1.0
    normalization: str = "batch"
    norm_shift: float = 0.0
    activation: str = "relu"
    order: str = "post"
    init: str = "he"
    parametrization: str = "none"
    num_classes: int = 10
    seed: int | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        for name in ("depth", "width", "num_classes"):
            check_count(name, getattr(self, name))
        check_choice("connection", self.connection, connections.CONNECTIONS)
        check_choice("skip", self.skip, connections.SKIPS)
        check_choice("normalization", self.normalization, parts.NORMALIZATIONS)
        check_choice("activation", self.activation, parts.ACTIVATIONS)
        check_choice("order", self.order, parts.ORDERS)
        check_choice("init", self.init, parts.INITS)
        check_choice("parametrization", self.parametrization, parts.PARAMETRIZATIONS)
        check_range("skip_weight", self.skip_weight, 0.0, 1.0)
        check_range("residual_scale", self.residual_scale, 0.0, math.inf, open_low=True)
        check_range("norm_shift", self.norm_shift, -math.inf, math.inf)
        if self.norm_shift != 0.0 and self.normalization not in ("batch", "layer"):
            raise ValueError(
                f"norm_shift is the shift of normalization 'batch' or 'layer': {self.normalization!r} has none."
            )
        if self.seed is not None:
            check_count("seed", self.seed, minimum=0)
        concatenates = self.expansion > 1
        if self.init == "looks-linear" and not concatenates:
            raise ValueError(f"init 'looks-linear' needs activation 'crelu', got {self.activation!r}.")
        if self.init == "looks-linear" and self.parametrization != "none":
            raise ValueError(
                f"init 'looks-linear' sets the weights that parametrization {self.parametrization!r} writes in "
                "another way: take parametrization 'none'."
            )
        if concatenates and self.connection == "van" and self.skip == "activation":
            raise ValueError(
                "skip 'activation' mixes z and act(z), which 'crelu' makes twice as long: "
                "take skip 'convex' or 'additive'."
            )
        if concatenates and self.connection != "plain" and self.order == "post":
            raise ValueError(
                "activation 'crelu' doubles the length of f(x), so that x does not fit in connection "
                f"{self.connection!r}: take order 'pre'."
            )

    @property
    def expansion(self) -> int:
        """Features after the activation for each feature before it."""
        return parts.EXPANSION[self.activation]


class Stack(nn.Module):
    """A network that is one stack of layers, each with its connection.

    Attributes:
        config: its frozen config, with `connection` among its values.
        layers: the layers, each with a module `connection`.
        skip_weight: parameter of shape (L,), where the connection is "van".
    """

    config: Any
    layers: nn.ModuleList

    def add_skip_weights(self) -> None:
        """Give the network its parameter `skip_weight`, an entry for every layer whose connection has one."""
        if self.config.connection == "van":
            number = sum(not isinstance(layer.connection, connections.Plain) for layer in self.layers)
            self.skip_weight = nn.Parameter(torch.full((number,), float(self.config.skip_weight)))

    def run_layers(self, x: Tensor) -> Tensor:
        """Return what the layers make of x, one after another."""
        weights: Iterator[Tensor] = iter(())
        if self.config.connection == "van":
            weights = iter(self.skip_weight.unbind())
        for layer in self.layers:
            is_plain = isinstance(layer.connection, connections.Plain)
            x = layer(x, None if is_plain else next(weights, None))
        return x


Model = TypeVar("Model", bound=nn.Module)


def build(kind: Callable[[Any], Model], config: Any) -> Model:
    """Return the network of a config, its weights drawn by the config's seed.

    torch's global random state is left as it was, unless the seed is None.

    Args:
        kind: the network's class.
        config: with a `seed`.
    """
    if config.seed is None:
        return kind(config)
    with random_state_kept():
        torch.default_generator.manual_seed(
            config.seed
        )  # torch.manual_seed would reach the GPUs' generators too
        return kind(config)


def make_connection(
    config: StackConfig, gate: nn.Linear | nn.Conv2d | None = None, shortcut: nn.Module | None = None
) -> Connection:
    """Return the connection module that the config names, for one layer.

    Args:
        config: of the network.
        gate: the linear map or convolution of a highway layer.
        shortcut: what fits the layer's input to its output; None where it fits.
    """
    if config.connection == "plain":
        return connections.Plain()
    if config.connection == "residual":
        return connections.Residual(config.residual_scale, shortcut)
    if config.connection == "rezero":
        return connections.LearnedResidual(shortcut)
    if config.connection == "highway":
        assert gate is not None
        return connections.Highway(gate, highway_bias(config.depth), shortcut)
    if config.skip == "convex":
        return connections.ConvexSkip(shortcut)
    if config.skip == "additive":
        return connections.AdditiveSkip(shortcut)
    return connections.ActivationSkip()


def highway_bias(depth: int) -> float:
    """Return the initial transform bias of a highway network: the deeper, the more its layers carry.

    -1 up to 10 layers, -2 up to 20, -3 up to 50, -4 beyond. That deeper networks want a more negative bias,
    in this range, is from Srivastava, Greff and Schmidhuber 2015, Training very deep networks; the three steps
    are ours.

    Args:
        depth: number of layers.

    Returns:
        The bias.
    """
    return -1.0 if depth <= 10 else -2.0 if depth <= 20 else -3.0 if depth <= 50 else -4.0
