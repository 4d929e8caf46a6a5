"""Tidy tables in, figures out."""

from van_tutorial.plots.gradients import (
    autocorrelation_panels,
    correlation_by_depth,
    gradient_signals,
    layer_norm_curves,
    singular_value_spread,
)
from van_tutorial.plots.removal import (
    constrained_descent,
    phase_portrait,
    predicted_and_real_steps,
    prices_and_multipliers,
    skip_and_multiplier_paths,
)
from van_tutorial.plots.style import PALETTE, SKIP_COLORS, curve, finish, numbers, skip_heat_map, style
from van_tutorial.plots.sweeps import mean_curves, mean_dots
from van_tutorial.plots.training import (
    accuracy_curves,
    measure_curves,
    skip_weight_map,
)

__all__ = [
    "PALETTE",
    "SKIP_COLORS",
    "accuracy_curves",
    "autocorrelation_panels",
    "constrained_descent",
    "correlation_by_depth",
    "curve",
    "finish",
    "gradient_signals",
    "layer_norm_curves",
    "mean_curves",
    "mean_dots",
    "measure_curves",
    "numbers",
    "phase_portrait",
    "predicted_and_real_steps",
    "prices_and_multipliers",
    "singular_value_spread",
    "skip_and_multiplier_paths",
    "skip_heat_map",
    "skip_weight_map",
    "style",
]
