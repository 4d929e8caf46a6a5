"""The checks of the lessons: what is wrong with an answer, and a hint; never an exception on an untouched stub.

Each module holds the checks of the notebook of its name. A check is a table, which `checker` reads.
"""

from van_tutorial.exercises.after_van import check_endings, check_merge
from van_tutorial.exercises.backward_skips import check_equal_width, check_gain_fraction, check_mean_iou
from van_tutorial.exercises.capstone import check_claims, check_design, check_paired_difference
from van_tutorial.exercises.checker import Feedback
from van_tutorial.exercises.convolutional_van import check_peak_difference, check_skip_counts, check_subsample
from van_tutorial.exercises.degradation import check_degradation_depth, check_generalization_gap
from van_tutorial.exercises.dirac import check_folded_weight, check_saved_parameters
from van_tutorial.exercises.findings import findings
from van_tutorial.exercises.looks_linear import check_crelu_width, check_mirrored_weight, check_stretch
from van_tutorial.exercises.multiplier_dynamics import check_damping, check_dual_lr
from van_tutorial.exercises.phasing_out import check_cost, check_removal_window
from van_tutorial.exercises.shattered_gradients import check_autocorrelation, check_skip_weight
from van_tutorial.exercises.skip_connections import check_highway, check_number_of_paths, check_transform_bias
from van_tutorial.exercises.start_here import check_accuracy, check_wrong_images
from van_tutorial.exercises.vanishing_exploding import check_layer_factor, check_level_gradients
from van_tutorial.exercises.your_network import check_block_peaks, check_weighted_block

__all__ = [
    "Feedback",
    "check_accuracy",
    "check_autocorrelation",
    "check_block_peaks",
    "check_claims",
    "check_cost",
    "check_crelu_width",
    "check_damping",
    "check_degradation_depth",
    "check_design",
    "check_dual_lr",
    "check_endings",
    "check_equal_width",
    "check_folded_weight",
    "check_gain_fraction",
    "check_generalization_gap",
    "check_highway",
    "check_layer_factor",
    "check_level_gradients",
    "check_mean_iou",
    "check_merge",
    "check_mirrored_weight",
    "check_number_of_paths",
    "check_paired_difference",
    "check_peak_difference",
    "check_removal_window",
    "check_saved_parameters",
    "check_skip_counts",
    "check_skip_weight",
    "check_stretch",
    "check_subsample",
    "check_transform_bias",
    "check_weighted_block",
    "check_wrong_images",
    "findings",
]
