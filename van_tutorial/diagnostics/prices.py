"""What the multipliers' theory says of a network at hand: the price of each shortcut, and when each skip is removed."""

import math
from collections.abc import Sequence
from functools import cache

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from van_tutorial.constraints import first_zero_step, predict_path, predict_removal_step
from van_tutorial.diagnostics.gradients import differentiation
from van_tutorial.diagnostics.norms import Loss, mean_loss
from van_tutorial.models import find_skip_weight, unwrapped
from van_tutorial.training import PhaseOut


def shortcut_prices(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    skip_weight: float | None = 0.0,
    loss: Loss = functional.cross_entropy,
) -> pd.DataFrame:
    """Measure the price of each shortcut: by how much the loss would fall for a little of that skip-connection.

    price_l = -dC / dalpha_l at alpha = 0, by autograd. A multiplier equals it in the end only where nothing clips
    the skip weights and the ascent is damped. With the clip every multiplier at or above the price holds its skip
    weight at 0, so by how much it is above says nothing about the skip. One forward and one backward pass (cheap). The
    model is left as it is, and measured in its present mode: under batch normalization take training mode, in which the
    multipliers saw the loss; in eval mode the running statistics are frozen, a little of a skip shifts signals that
    nothing normalizes again, and prices can come out below 0.

    Args:
        model: one of its modules has a parameter `skip_weight` of shape (L,).
        inputs: shape (N, ...), on the model's device.
        labels: what the loss compares outputs with; for the default, shape (N,), int64.
        skip_weight: where to differentiate, in every layer: 0 for the price; None for the weights as they are.
        loss: maps outputs and labels to the mean loss.

    Returns:
        One row per layer: layer (from 1), price, in nats per unit of skip weight.

    Raises:
        ValueError: where the model has no skip weights, and for a loss that is not one number.

    Example:
        >>> from van_tutorial import models
        >>> model = models.mlp(depth=3, width=4, connection="van", seed=0).eval()
        >>> prices = shortcut_prices(model, torch.randn(8, 784), torch.zeros(8, dtype=torch.int64))
        >>> prices["layer"].tolist()
        [1, 2, 3]

    Source:
        Derived for this project; a multiplier as the price of its constraint: Bertsekas 1982, Constrained
        optimization and Lagrange multiplier methods.
    """
    model = unwrapped(model)
    parameter = find_skip_weight(model)
    if parameter is None:
        raise ValueError(
            "The model has no skip weights, so its shortcuts have no price: make it with connection='van'."
        )
    with torch.inference_mode(False):
        alpha = parameter.detach().clone()
        if skip_weight is not None:
            alpha.fill_(skip_weight)
    with differentiation(inputs.device, model, {parameter: alpha.requires_grad_(True)}):
        cost = mean_loss(loss, model(inputs.detach().clone()), labels)
        (gradient,) = torch.autograd.grad(cost, alpha, materialize_grads=True)
    return pd.DataFrame({"layer": range(1, len(alpha) + 1), "price": (-gradient).tolist()})


def removal_steps(phase_out: PhaseOut, slope: float | Sequence[float] = 0.0) -> pd.DataFrame:
    """Compare, for each layer, the step at which its skip weight first reached 0 with the predicted one.

    The prediction is the oscillator of `constraints.predict_path` for the layer's own dual learning rate, counted from
    the step after which that multiplier may rise (`constraints.removal_starts`). Without damping it is
    `constraints.predict_removal_step`. The cap is not counted.

    Args:
        phase_out: of a trainer, after its run, or before it for the prediction alone.
        slope: -dC/dalpha, in nats per unit of skip weight: one for all, or one per layer.

    Returns:
        One row per layer: layer (from 1), dual_lr, predicted_step (0 where the skip weight starts at its target,
        infinity where the multiplier never takes it there, with damping: not within the training; NaN with a PI
        controller or growing learning rates, for which there is no closed form), first_zero_step (NaN where it has
        not been there).

    Raises:
        ValueError: for another number of slopes than there are layers.

    Example:
        >>> from van_tutorial.training import TrainConfig
        >>> alpha = nn.Parameter(torch.tensor([0.5, 0.0]))
        >>> phase_out = PhaseOut(alpha, TrainConfig(skip_lr=0.01, dual_lr=0.01, stagger=0.0), num_steps=500)
        >>> removal_steps(phase_out)["predicted_step"].round().tolist()
        [157.0, 0.0]

    Source:
        Derived for this project, with `constraints.predict_removal_step`.
    """
    dual_lrs = phase_out.multipliers.dual_lr.tolist()
    slopes = [slope] * len(dual_lrs) if isinstance(slope, int | float) else list(map(float, slope))
    if len(slopes) != len(dual_lrs):
        raise ValueError(f"slope must have one number for each of {len(dual_lrs)} layers, got {len(slopes)}.")
    skip_lr, damping = phase_out.config.skip_lr, phase_out.config.damping

    @cache
    def steps_to_zero(violation: float, dual_lr: float, k: float) -> float:
        if phase_out.config.dual_gain or phase_out.config.dual_growth > 1.0:
            return math.nan
        if skip_lr == 0.0 or dual_lr == 0.0:
            return math.inf
        if damping == 0.0:
            return predict_removal_step(violation, skip_lr, dual_lr, k)
        path = predict_path(phase_out.num_steps, violation, skip_lr, dual_lr, k, damping)
        step = first_zero_step(path)
        return math.inf if step is None else float(step)

    violations = (phase_out.initial - phase_out.config.skip_target).abs().tolist()
    predicted = [
        begin + steps_to_zero(violation, dual_lr, k) if violation else 0.0
        for violation, dual_lr, k, begin in zip(
            violations, dual_lrs, slopes, phase_out.starts.tolist(), strict=True
        )
    ]
    return pd.DataFrame(
        {
            "layer": range(1, len(predicted) + 1),
            "dual_lr": dual_lrs,
            "predicted_step": predicted,
            "first_zero_step": pd.Series(phase_out.first_zero_steps, dtype=float),
        }
    )
