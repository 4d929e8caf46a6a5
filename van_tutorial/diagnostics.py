"""Gradients in, numbers out: how large they are by layer, and how fast they change from input to input."""

from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from van_tutorial._checks import check_count
from van_tutorial.models.parts import Center


def input_gradients(model: nn.Module, inputs: Tensor, output: int | None = None) -> Tensor:
    """Differentiate one output of a network with respect to its input, at each of N inputs.

    g_i = d y_output(x_i) / d x_i. Parameters and their gradients, buffers and mode are left as they are. One
    backward pass serves all inputs (cheap), which is exact only where examples do not look at each other; so
    networks with batch normalization are taken in eval mode.

    Args:
        model: maps (N, ...) to (N,) or (N, num_outputs).
        inputs: shape (N, ...), floating point, on the model's device.
        output: index of the output; None only where there is a single one.

    Returns:
        Gradients, shape (N, ...) like the inputs; unit: output per unit of input.

    Raises:
        ValueError: for inputs that are not floating point, an output index that is not there or is missing,
            and batch statistics in training mode, by which examples depend on each other.

    Example:
        >>> linear = nn.Linear(2, 1)
        >>> _ = linear.weight.data.copy_(torch.tensor([[3.0, -1.0]]))
        >>> input_gradients(linear, torch.zeros(2, 2))
        tensor([[ 3., -1.],
                [ 3., -1.]])

    Source:
        Balduzzi et al. 2017, The shattered gradients problem, section 2.
    """
    if not inputs.is_floating_point():
        raise ValueError(f"inputs must be floating point to be differentiated, got {inputs.dtype}.")
    if any(module.training and isinstance(module, _BatchNorm | Center) for module in model.modules()):
        raise ValueError(
            "The network uses statistics of the batch, so its examples depend on each other: call model.eval() first."
        )
    inputs = inputs.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        outputs = model(inputs).reshape(len(inputs), -1)
        if output is None and outputs.shape[1] != 1:
            raise ValueError(
                f"The network has {outputs.shape[1]} outputs: name one by output=0 … {outputs.shape[1] - 1}."
            )
        index = 0 if output is None else output
        if not 0 <= index < outputs.shape[1]:
            raise ValueError(f"output must be from 0 to {outputs.shape[1] - 1}, got {output!r}.")
        if not outputs.requires_grad:  # an output that does not depend on the input
            return torch.zeros_like(inputs)
        (gradients,) = torch.autograd.grad(outputs[:, index].sum(), inputs, materialize_grads=True)
    return gradients.detach()


def gradient_autocorrelation(gradients: Tensor, max_lag: int) -> Tensor:
    """Correlate gradients along a path of inputs with themselves some steps further on.

    With z_i = g_i - mean(g):  ACF(k) = sum_i <z_i, z_{i+k}> / sum_i <z_i, z_i>,  k = 0, ..., max_lag. The sum
    in the numerator has N - k terms, so ACF(k) shrinks a little with k. White noise gives 0 beyond lag 0, and a
    random walk (brown noise) a slow decay. Cheap.

    Args:
        gradients: shape (N, ...), one per input along the path, all finite.
        max_lag: largest lag, from 0 to N - 1.

    Returns:
        Autocorrelation by lag, shape (max_lag + 1,), without unit; NaN where all gradients are equal.

    Raises:
        ValueError: for a lag that the path is too short for, or gradients that are not finite.

    Example:
        >>> gradient_autocorrelation(torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]), max_lag=1)
        tensor([ 1.0000, -0.7500])

    Source:
        Balduzzi et al. 2017, The shattered gradients problem, Figure 2.
    """
    check_count("max_lag", max_lag, minimum=0)
    if max_lag >= len(gradients):
        raise ValueError(f"max_lag must be below the number of gradients, {len(gradients)}, got {max_lag}.")
    if not bool(gradients.isfinite().all()):
        raise ValueError("gradients must be finite: some are infinite or not a number.")
    z = gradients.reshape(len(gradients), -1)
    z = z - z.mean(dim=0)
    covariances = torch.stack([(z[: len(z) - lag] * z[lag:]).sum() for lag in range(max_lag + 1)])
    return covariances / covariances[0]


def layer_norms(model: nn.Module, inputs: Tensor, labels: Tensor) -> pd.DataFrame:
    """Measure, layer by layer, how large activations and gradients of the loss are.

    The loss is the mean cross-entropy over the N examples. With h_l(x_i) the output of layer l (after its
    connection) and W_l all weight matrices in the layer:

        activation_norm    mean_i |h_l(x_i)|
        output_grad_norm   mean_i |dC_i / dh_l(x_i)|, C_i the loss of example i (N times the mean loss's share)
        weight_grad_norm   |dC / dW_l|, Frobenius

    Layers are `model.layers` where the model has them, else all modules with a weight matrix of their own. One
    forward and one backward pass (cheap). The model is measured in its present mode; its parameters' gradients,
    buffers and mode are left as they are, and hooks are removed whatever happens.

    Args:
        model: maps inputs to logits (N, num_classes).
        inputs: shape (N, ...), on the model's device.
        labels: shape (N,), int64.

    Returns:
        One row per layer, in the order of the network: layer (from 1), name, activation_norm,
        output_grad_norm, weight_grad_norm. Norms are in units of the activation, and nats per such unit.

    Raises:
        ValueError: where the model has no layer with a weight matrix.

    Example:
        >>> from van_tutorial import models
        >>> model = models.mlp(depth=2, width=4, connection="plain", seed=0)
        >>> norms = layer_norms(model, torch.randn(8, 784), torch.zeros(8, dtype=torch.int64))
        >>> norms["layer"].tolist()
        [1, 2]
    """
    layers = named_layers(model)
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    outputs: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        outputs[name] = output
        return output.clone()  # what follows may work in place

    handles = [module.register_forward_hook(partial(keep, name)) for name, module in layers.items()]
    try:
        with torch.enable_grad():
            loss = functional.cross_entropy(model(inputs), labels)
        weights = {name: [p for p in module.parameters() if p.dim() > 1] for name, module in layers.items()}
        flat: list[Tensor] = [weight for group in weights.values() for weight in group]
        reached = [name for name in layers if name in outputs]
        gradients = torch.autograd.grad(
            loss, [outputs[name] for name in reached] + flat, allow_unused=True, materialize_grads=True
        )
    finally:
        for handle in handles:
            handle.remove()
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
    output_grads = dict(zip(reached, gradients, strict=False))
    weight_grads = iter(gradients[len(reached) :])
    rows = []
    for index, name in enumerate(layers, 1):
        squares = sum(next(weight_grads).square().sum().item() for _ in weights[name])
        if name not in outputs:
            continue
        rows.append(
            {
                "layer": index,
                "name": name,
                "activation_norm": mean_norm(outputs[name]),
                "output_grad_norm": mean_norm(output_grads[name]) * len(inputs),
                "weight_grad_norm": squares**0.5,
            }
        )
    return pd.DataFrame(rows)


def mean_norm(values: Tensor) -> float:
    """Return the mean over dimension 0 of the Euclidean norm of what is left."""
    return values.detach().flatten(1).norm(dim=1).mean().item()


def named_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers to be measured, by their names in the model."""
    layers = getattr(model, "layers", None)
    if isinstance(layers, nn.ModuleList):
        return {f"layers.{index}": layer for index, layer in enumerate(layers)}
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(getattr(module, "weight", None), Tensor) and module.weight.dim() > 1
    }
    if not found:
        raise ValueError("The model has no layer with a weight matrix, so there is nothing to measure.")
    return found
