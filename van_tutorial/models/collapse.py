"""From a network whose skips have been phased out to the plain network that it has become."""

import copy
import dataclasses
from typing import TypeVar

import torch
from torch import Tensor, nn

from van_tutorial import connections
from van_tutorial.models.stack import Stack

Model = TypeVar("Model", bound=Stack)


def skip_weights(model: nn.Module) -> Tensor:
    """Return a detached copy of the skip weights alpha_l, shape (L,); empty where there are none to phase out."""
    parameter = getattr(model, "skip_weight", None)
    return torch.empty(0) if parameter is None else parameter.detach().clone()


def num_skips(model: Stack) -> int:
    """Count the skip-connections that a network of this package still has.

    Args:
        model: a network with `config` and `layers`, as `mlp` makes it.

    Returns:
        The number of skip weights that are not 0; every layer where the skips are not weighted (residual, highway).
    """
    if model.config.connection == "van":
        return int(torch.count_nonzero(skip_weights(model)))
    return 0 if model.config.connection == "plain" else len(model.layers)


def collapse(model: Model) -> Model:
    """Return the plain network that a network with every skip weight at 0 is: a copy without skips.

    It has the same weights, statistics, device and mode, gives the same answers to the last bit, and holds no
    skip weight any more. The model itself is left alone.

    Args:
        model: a network of this package with connection "van" or "plain".

    Returns:
        The plain network; its config names connection "plain".

    Raises:
        ValueError: while any skip weight is not 0, and for connections that are kept (residual, highway).

    Example:
        >>> from van_tutorial import models
        >>> model = models.mlp(depth=3, width=4, connection="van", skip_weight=0.0, seed=0)
        >>> models.collapse(model).config.connection
        'plain'
    """
    if model.config.connection not in ("van", "plain"):
        raise ValueError(
            f"connection {model.config.connection!r} keeps its skips: only 'van' networks can be collapsed."
        )
    alphas = skip_weights(model)
    if (left := int(torch.count_nonzero(alphas))) > 0:
        largest = int(alphas.argmax())
        raise ValueError(
            f"{left} of {len(alphas)} skip weights are not 0 (the largest, of layer {largest + 1}, is "
            f"{alphas[largest].item():.3g}): train until they are, or set remove_by in TrainConfig."
        )
    plain = copy.deepcopy(model)
    if hasattr(plain, "skip_weight"):
        del plain.skip_weight
    for layer in plain.layers:
        layer.add_module("connection", connections.Plain().train(layer.training))
    plain.config = dataclasses.replace(plain.config, connection="plain")
    return plain
