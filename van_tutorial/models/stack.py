"""What all networks that are one stack of layers have in common: the five choices, and how a layer is connected."""

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor, nn

from van_tutorial import connections
from van_tutorial._checks import check_choice, check_count, check_range, check_seed
from van_tutorial._random import random_state_kept
from van_tutorial.connections import Connection
from van_tutorial.models import parts

Model = TypeVar("Model", bound=nn.Module)


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
            check_seed(self.seed)
        concatenates = self.expansion > 1
        connection = self.connection_class
        if self.connection == "van" and not connection.is_weighted:
            raise ValueError(
                f"skip {self.skip!r} has no skip weight to phase out (is_weighted): name it in CONNECTIONS."
            )
        if self.init == "looks-linear" and not concatenates:
            raise ValueError(f"init 'looks-linear' needs activation 'crelu', got {self.activation!r}.")
        if self.init == "looks-linear" and self.parametrization != "none":
            raise ValueError(
                f"init 'looks-linear' sets the weights that parametrization {self.parametrization!r} writes in "
                "another way: take parametrization 'none'."
            )
        if concatenates and connection.is_inside:
            raise ValueError(
                "skip 'activation' mixes z and act(z), which 'crelu' makes twice as long: "
                "take skip 'convex' or 'additive'."
            )
        if concatenates and connection.has_skip and self.order == "post":
            raise ValueError(
                "activation 'crelu' doubles the length of f(x), so that x does not fit in connection "
                f"{self.connection!r}: take order 'pre'."
            )

    @property
    def connection_class(self) -> type[Connection]:
        """The class of the layers' connections."""
        return connections.find(self.connection, self.skip)

    @property
    def num_activations(self) -> int:
        """Activations in a row."""
        raise NotImplementedError

    def make_activation(self) -> nn.Module:
        """Return a new module of the activation."""
        return parts.ACTIVATIONS[self.activation](self.num_activations)

    @property
    def expansion(self) -> int:
        """Features after the activation for each feature before it."""
        return parts.EXPANSION.get(self.activation, 1)


class Stack(nn.Module):
    """A network that is one stack of layers, each with its connection.

    Attributes:
        config: its frozen config, with `connection` among its values.
        layers: the layers, each with a module `connection`.
        skip_weight: parameter of shape (L,), where the connection is weighted.
    """

    config: Any
    layers: nn.ModuleList

    @property
    def connections(self) -> list[Connection]:
        """The layers' connections."""
        return [cast(Connection, layer.connection) for layer in self.layers]

    def add_skip_weights(self) -> None:
        """Give the network its parameter `skip_weight`, an entry for every layer whose connection is weighted."""
        if number := sum(connection.is_weighted for connection in self.connections):
            self.skip_weight = nn.Parameter(torch.full((number,), float(self.config.skip_weight)))

    def layer_weights(self) -> Sequence[Tensor]:
        """Return the skip weight of each layer whose connection is weighted."""
        return self.skip_weight.unbind() if self.config.connection_class.is_weighted else ()

    def run_layers(self, x: Tensor, skip_weights: Iterable[Tensor]) -> Tensor:
        """Return what the layers make of x, one at a time, with a skip weight for each weighted connection."""
        weights = iter(skip_weights)
        for layer, connection in zip(self.layers, self.connections, strict=True):
            x = layer(x, next(weights) if connection.is_weighted else None)
        return x


def build(config: Any) -> Any:
    """Return the network of a config, its weights drawn by the config's seed.

    torch's global random state is left as it was, unless the seed is None.

    Args:
        config: an `MLPConfig`, `ConvNetConfig` or `MSNetConfig`.

    Returns:
        The network, in training mode, on the CPU.

    Example:
        >>> from van_tutorial import models
        >>> build(models.MLPConfig(depth=3, seed=0)).num_layers
        5
    """
    if config.seed is None:
        return config.network()
    with random_state_kept():
        # torch.manual_seed would reach the GPUs' generators too
        torch.default_generator.manual_seed(config.seed)
        return config.network()


Choices = ParamSpec("Choices")


def takes(config: Callable[Choices, Any]) -> Callable[[Callable[..., Model]], Callable[Choices, Model]]:
    """Give a function the signature of the config that it makes of its arguments."""

    def decorate(function: Callable[..., Model]) -> Callable[Choices, Model]:
        returned = inspect.signature(function).return_annotation
        shown = inspect.signature(config).replace(return_annotation=returned)
        function.__signature__ = shown  # type: ignore[attr-defined]  # which help and editors read
        return function

    return decorate
