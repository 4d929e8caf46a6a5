"""Gradients in, numbers out: how large they are by layer, and how fast they change from input to input.

Everything here takes any PyTorch module, and leaves it as it was.
"""

from van_tutorial.diagnostics.conditioning import conditioning, jacobian_singular_values
from van_tutorial.diagnostics.correlation import (
    correlation_length,
    correlation_matrix,
    gradient_autocorrelation,
    gradient_correlation,
    pair_correlation,
    straight_path,
)
from van_tutorial.diagnostics.cost import costs
from van_tutorial.diagnostics.gradients import input_gradients, input_gradients_of_all, input_jacobians
from van_tutorial.diagnostics.norms import latest_weight_grad_norms, layer_norms
from van_tutorial.diagnostics.prices import removal_steps, shortcut_prices
from van_tutorial.diagnostics.recorder import Recorder
from van_tutorial.diagnostics.reference import (
    brown_noise,
    predicted_correlation,
    predicted_mean_square,
    white_noise,
)
from van_tutorial.diagnostics.shattering import (
    agreement,
    agreement_table,
    noise_autocorrelation,
    shattering,
)

__all__ = [
    "Recorder",
    "agreement",
    "agreement_table",
    "brown_noise",
    "conditioning",
    "correlation_length",
    "correlation_matrix",
    "costs",
    "gradient_autocorrelation",
    "gradient_correlation",
    "input_gradients",
    "input_gradients_of_all",
    "input_jacobians",
    "jacobian_singular_values",
    "latest_weight_grad_norms",
    "layer_norms",
    "noise_autocorrelation",
    "pair_correlation",
    "predicted_correlation",
    "predicted_mean_square",
    "removal_steps",
    "shattering",
    "shortcut_prices",
    "straight_path",
    "white_noise",
]
