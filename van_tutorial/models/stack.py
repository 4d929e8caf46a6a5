"""What all networks that are one stack of layers have in common."""

from typing import Any

from torch import nn


class Stack(nn.Module):
    """A network that is one stack of layers, each with its connection.

    Attributes:
        config: its frozen config, with `connection` among its values.
        layers: the layers, each with a module `connection`.
    """

    config: Any
    layers: nn.ModuleList
