"""Networks as five independent choices: connection, parametrization, activation, init, normalization."""

from van_tutorial.models.collapse import collapse, fold_batch_norm, merge, num_skips
from van_tutorial.models.convnet import ConvNet, ConvNetConfig, convnet
from van_tutorial.models.family import (
    FAMILY,
    SCALAR_RECIPES,
    Recipe,
    diracnet,
    family_table,
    make,
    scalar_network,
)
from van_tutorial.models.gates import gate_skips
from van_tutorial.models.graph import has_skip
from van_tutorial.models.lookup import find_skip_weight, skip_weights, unwrapped
from van_tutorial.models.mlp import MLP, MLPConfig, mlp
from van_tutorial.models.msnet import MSNet, MSNetConfig, msnet
from van_tutorial.models.parametrizations import Dirac, add_dirac
from van_tutorial.models.parts import TailoredReLU, tailored_slope
from van_tutorial.models.skips import find_skips
from van_tutorial.models.stack import Stack, build

__all__ = [
    "FAMILY",
    "MLP",
    "SCALAR_RECIPES",
    "ConvNet",
    "ConvNetConfig",
    "Dirac",
    "MLPConfig",
    "MSNet",
    "MSNetConfig",
    "Recipe",
    "Stack",
    "TailoredReLU",
    "add_dirac",
    "build",
    "collapse",
    "convnet",
    "diracnet",
    "family_table",
    "find_skip_weight",
    "find_skips",
    "fold_batch_norm",
    "gate_skips",
    "has_skip",
    "make",
    "merge",
    "mlp",
    "msnet",
    "num_skips",
    "scalar_network",
    "skip_weights",
    "tailored_slope",
    "unwrapped",
]
