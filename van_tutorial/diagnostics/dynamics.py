"""What the multipliers' theory says of a network at hand: the price of each shortcut, and when each skip goes."""

import pandas as pd
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from van_tutorial.constraints import predict_removal_step
from van_tutorial.diagnostics.gradients import copies_of_buffers, same_random_state
from van_tutorial.diagnostics.norms import Loss
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
    the skip weights and the ascent is damped; with the clip a multiplier over-shoots and then stands still. One
    forward and one backward pass (cheap). The model is left as it is, and measured in its present mode: under batch
    normalization take training mode, in which the multipliers saw the loss; in eval mode the running statistics are
    frozen, a little of a skip shifts signals that nothing normalizes again, and prices can come out below 0.

    Args:
        model: has a parameter `skip_weight` of shape (L,).
        inputs: shape (N, ...), on the model's device.
        labels: what the loss compares outputs with; for the default, shape (N,), int64.
        skip_weight: where to differentiate, in every layer: 0 for the price; None for the weights as they are.
        loss: maps outputs and labels to the mean loss.

    Returns:
        One row per layer: layer (from 1), price, in nats per unit of skip weight.

    Raises:
        ValueError: where the model has no skip weights.

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
    parameter = getattr(model, "skip_weight", None)
    if not isinstance(parameter, Tensor):
        raise ValueError(
            "The model has no skip weights, so its shortcuts have no price: make it with connection='van'."
        )
    alpha = parameter.detach().clone() if skip_weight is None else torch.full_like(parameter, skip_weight)
    alpha.requires_grad_(True)
    with torch.enable_grad(), same_random_state(inputs.device):
        state = {"skip_weight": alpha, **copies_of_buffers(model)}
        cost = loss(functional_call(model, state, (inputs,)), labels)
        (gradient,) = torch.autograd.grad(cost, alpha, materialize_grads=True)
    return pd.DataFrame({"layer": range(1, len(alpha) + 1), "price": (-gradient).tolist()})


def removal_steps(phase_out: PhaseOut, slope: float | list[float] = 0.3) -> pd.DataFrame:
    """Compare, for each layer, the step at which its skip first reached 0 with the one that theory predicts.

    The prediction is `constraints.predict_removal_step` for the layer's own multiplier step size.

    Args:
        phase_out: of a trainer, after its run.
        slope: -dC/dalpha, in nats per unit of skip weight: one for all, or one per layer.

    Returns:
        One row per layer: layer (from 1), dual_lr, predicted_step, first_zero_step (NaN where it is still there).
    """
    step_sizes = phase_out.multipliers.dual_lr.tolist()
    slopes = slope if isinstance(slope, list) else [slope] * len(step_sizes)
    predicted = [
        predict_removal_step(start, phase_out.config.skip_lr, dual_lr, k)
        for start, dual_lr, k in zip(phase_out.initial.tolist(), step_sizes, slopes, strict=True)
    ]
    return pd.DataFrame(
        {
            "layer": range(1, len(predicted) + 1),
            "dual_lr": step_sizes,
            "predicted_step": predicted,
            "first_zero_step": pd.Series(phase_out.first_zero_steps, dtype=float),
        }
    )
