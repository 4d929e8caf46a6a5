"""Networks as five independent choices: connection, parametrization, activation, init, normalization."""

from van_tutorial.models.collapse import collapse, num_skips, skip_weights
from van_tutorial.models.graph import has_skip
from van_tutorial.models.mlp import MLP, MLPConfig, mlp
from van_tutorial.models.recipes import SCALAR_RECIPES, scalar_network
from van_tutorial.models.stack import Stack

__all__ = [
    "MLP",
    "SCALAR_RECIPES",
    "MLPConfig",
    "Stack",
    "collapse",
    "has_skip",
    "mlp",
    "num_skips",
    "scalar_network",
    "skip_weights",
]
