"""The constraint "no skip-connection left", and what drives the skip weights to it.

    minimise C(W, alpha) over W and alpha   subject to   alpha_l = 0 for every layer l

    Lagrangian    C(W, alpha) + sum_l lambda_l alpha_l (+ damping / 2 sum_l alpha_l^2)
    primal step   W <- W - lr dC/dW             alpha_l <- alpha_l - skip_lr (dC/dalpha_l + lambda_l)
    projection    alpha_l <- min(max(alpha_l, 0), 1)
    dual step     lambda_l <- lambda_l + dual_lr alpha_l

Where the *activation* is to go, alpha_l is driven to 1 in the same way: its violation v_l = 1 - alpha_l takes
the place of alpha_l in the penalty, the dual step and the projection.

Under the clip and with the library's learning rates this is a clock, which the loss does not change: alpha_l follows
alpha_0 cos(w (t - t_l)) with w = sqrt(skip_lr dual_lr) from the step t_l on at which its multiplier may rise. Where
`price_ratio` is near 1 it is a market: a skip is removed when its multiplier passes its price.

The formulas are our reading of the abstract of Monti, Tootoonian and Cao 2018, Avoiding degradation in deep
feed-forward networks by phasing out skip-connections. Its accepted version is listed as open access at UCL Discovery
(record 10061069), its first version with the reviews at OpenReview (BJQPG5lR-). The method of multipliers by
simultaneous descent and ascent: Platt and Barr 1987, Constrained differential optimization.

Everything here sees skip weights as a tensor of shape (L,) and knows no network.
"""

from van_tutorial.constraints.multipliers import Multipliers, fixed_penalty, project, spread_dual_lr
from van_tutorial.constraints.predictions import (
    critical_damping,
    first_zero_step,
    predict_path,
    predict_removal_step,
    price_ratio,
    simulate_path,
    size_dual_lr,
)
from van_tutorial.constraints.schedules import SCHEDULES, falling_cap, removal_starts, scheduled_skip_weight

__all__ = [
    "SCHEDULES",
    "Multipliers",
    "critical_damping",
    "falling_cap",
    "first_zero_step",
    "fixed_penalty",
    "predict_path",
    "predict_removal_step",
    "price_ratio",
    "project",
    "removal_starts",
    "scheduled_skip_weight",
    "simulate_path",
    "size_dual_lr",
    "spread_dual_lr",
]
