"""The checks of the lessons: what is wrong with an answer, and a hint; never an exception on an untouched stub."""

from van_tutorial.exercises.degradation import check_degradation_depth, check_generalization_gap
from van_tutorial.exercises.dynamics import check_damping, check_dual_lr
from van_tutorial.exercises.feedback import Feedback
from van_tutorial.exercises.phasing_out import check_cost, check_removal_window
from van_tutorial.exercises.shattered import check_autocorrelation, check_skip_weight
from van_tutorial.exercises.vanishing import check_layer_factor, check_level_gradients

__all__ = [
    "Feedback",
    "check_autocorrelation",
    "check_cost",
    "check_damping",
    "check_degradation_depth",
    "check_dual_lr",
    "check_generalization_gap",
    "check_layer_factor",
    "check_level_gradients",
    "check_removal_window",
    "check_skip_weight",
]
