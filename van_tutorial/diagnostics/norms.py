"""How large signals and gradients are, layer by layer, and how many units take part."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from van_tutorial.diagnostics.gradients import (
    SPARSE,
    check_examples,
    check_initialized,
    dense,
    differentiation,
    scaled,
)
from van_tutorial.models import unwrapped

Loss = Callable[[Tensor, Tensor], Tensor]

RECTIFIERS = frozenset({
    torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_, torch.clamp_min, torch.Tensor.clamp_min,
    functional.relu, functional.relu6, functional.leaky_relu, functional.prelu, functional.rrelu, functional.threshold,
    functional.elu, functional.celu, functional.selu, functional.gelu, functional.silu, functional.mish,
    functional.hardswish,
})  # fmt: skip


def layer_norms(
    model: nn.Module, inputs: Tensor, labels: Tensor, loss: Loss = functional.cross_entropy
) -> pd.DataFrame:
    """Measure, layer by layer, how large activations and gradients are, and how many units take part.

    With C_i the loss of example i and C their mean, h_l(x_i) the output of layer l (after its connection), W_l all
    weight matrices in the layer, and a_u(x_i) the output of its ReLU at unit u:

        activation_norm    mean_i |h_l(x_i)|
        output_grad_norm   mean_i |dC_i / dh_l(x_i)|
        weight_grad_norm   |dC / dW_l|, Frobenius
        weight_norm        |W_l|, Frobenius
        weight_grad_ratio  |dC / dW_l| / |W_l|: the relative size of a gradient step, up to the learning rate
        dead_fraction         fraction of units with a_u(x_i) <= 0 at every input
        coactive_fraction     fraction of (unit, pair of inputs) with a_u > 0 at both; 1/4 where every unit is active at
                           half of the inputs, independently

    Layers are `model.layers` where the model has them, else all modules with a matrix called `weight` (which those in
    `nn.LSTM`, `nn.GRU` and the inner projection of `nn.MultiheadAttention` are not). They are those of the
    network inside wrappers such as `torch.compile` and `nn.DataParallel`; `layers` may stand in an `nn.Sequential`
    whose other modules have no parameters, too. A layer that the model does not call, or whose output is no
    tensor, has no row, and of a layer that is called more than once the last call counts. A ReLU (or leaky ReLU, ELU,
    ...) belongs to the layer that was entered last before it, in the layer or behind it; a unit is one number of its
    output. NaN where a layer has none, or no weight matrix, and where dimension 0 of an output does not count the N
    examples. A complex number counts by its absolute value, a gradient by it being dC/dRe W + i dC/dIm W.

    One forward and one backward pass (cheap). The model is measured in its present mode; its parameters and their
    gradients, buffers, modes and random states are left as they are, and hooks are removed, after an error as well.

    Args:
        model: maps inputs to what the loss takes.
        inputs: shape (N, ...), on the model's device.
        labels: what the loss compares outputs with; for the default, shape (N,), int64.
        loss: maps outputs and labels to the mean loss over the N examples.

    Returns:
        One row per layer, in the order of the network: layer (from 1), name, and the columns above. Norms are in
        units of the activation or the weight, gradients in units of the loss (nats) per such unit.

    Raises:
        ValueError: where the model has no layer with a weight matrix, where it calls none that gives a tensor, for
            lazy modules that were never called, for quantized or otherwise packed tensors, `layers` that are no modules
            of the network, and for outputs and losses that are not tensors of the right kind.

    Example:
        >>> from van_tutorial import models
        >>> model = models.mlp(depth=2, width=4, connection="plain", seed=0)
        >>> norms = layer_norms(model, torch.randn(8, 784), torch.zeros(8, dtype=torch.int64))
        >>> norms["layer"].tolist()
        [1, 2]

    Source:
        Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural networks (norms by
        layer); Balduzzi et al. 2017, The shattered gradients problem, section 3 (co-activated units).
    """
    check_examples(inputs)
    model = unwrapped(model)
    check_initialized(model.modules())
    layers = named_layers(model)
    with torch.inference_mode(False):
        copies = {  # an embedding with a largest norm changes its weights in place
            parameter: parameter.detach().clone().requires_grad_(can_be_differentiated(parameter))
            for parameter in model.parameters()
        }
    outputs: dict[str, Tensor] = {}
    activity = ActivityByLayer()

    def enter(name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        activity.layer = name
        activity.is_active.pop(name, None)  # the last call counts

    def keep(name: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if not isinstance(output, Tensor) or not output.requires_grad:
            return None
        outputs[name] = output
        return output.clone()  # what follows may work in place

    handles = [module.register_forward_pre_hook(partial(enter, name)) for name, module in layers.items()]
    handles += [module.register_forward_hook(partial(keep, name)) for name, module in layers.items()]
    try:
        with differentiation(inputs.device, model, copies), activity:
            leaf = inputs.detach().clone()
            leaf.requires_grad_(can_be_differentiated(leaf))  # so that every output has a gradient
            given = model(leaf.clone())
            cost = mean_loss(loss, given, labels)
    finally:
        for handle in handles:
            handle.remove()
    reached = [name for name in layers if name in outputs]
    if not reached:
        raise ValueError(
            f"None of the layers ({', '.join(layers)}) was called and gave a tensor to differentiate by."
        )
    weights = {name: weights_of(layers[name], copies) for name in reached}
    wanted = [outputs[name] for name in reached] + [weight for name in reached for weight in weights[name]]
    if cost.requires_grad:
        gradients = iter(torch.autograd.grad(cost, wanted, allow_unused=True, materialize_grads=True))
    else:  # the model has cut its outputs off
        gradients = iter([torch.zeros_like(tensor) for tensor in wanted])
    output_grads = {name: next(gradients) for name in reached}
    rows = []
    for index, name in enumerate(layers, 1):
        if name not in outputs:
            continue
        weight_norm = total_norm(weights[name]) if weights[name] else math.nan
        weight_grad_norm = total_norm([next(gradients) for _ in weights[name]]) if weights[name] else math.nan
        rows.append(
            {
                "layer": index,
                "name": name,
                "activation_norm": mean_norm(outputs[name], len(inputs)),
                "output_grad_norm": mean_norm(output_grads[name], len(inputs)) * len(inputs),
                "weight_grad_norm": weight_grad_norm,
                "weight_norm": weight_norm,
                "weight_grad_ratio": weight_grad_norm / weight_norm if weight_norm else math.nan,
                **activity.fractions(name, len(inputs)),
            }
        )
    return pd.DataFrame(rows)


def latest_weight_grad_norms(model: nn.Module) -> Tensor:
    """Return |dC / dW_l| of every layer from the gradients that the latest backward pass has left, at no cost.

    What `layer_norms` calls weight_grad_norm, but on the last batch, in the mode that the network had then.

    Args:
        model: after a backward pass; layers as in `layer_norms`.

    Returns:
        Frobenius norms, shape (L,), on the CPU, in units of the loss (nats) per unit of weight; 0 where a layer has no
        gradient.

    Raises:
        ValueError: where the model has no layer with a weight matrix.

    Example:
        >>> from van_tutorial import models
        >>> model = models.mlp(depth=2, width=4, connection="plain", seed=0)
        >>> model(torch.randn(8, 784)).square().mean().backward()
        >>> latest_weight_grad_norms(model).shape
        torch.Size([2])

    Source:
        Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural networks (gradients
        by layer).
    """
    norms = [
        total_norm(
            weight.grad for weight in layer.parameters() if weight.dim() > 1 and weight.grad is not None
        )
        for layer in named_layers(model).values()
    ]
    return torch.tensor(norms)


class ActivityByLayer(TorchFunctionMode):
    """Keep, for each layer, at which inputs the units of the ReLU that follows were active.

    While this context is open every call of a ReLU or its kin comes by here, be it a module or a function.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layer: str | None = None
        self.is_active: dict[str, list[Tensor]] = defaultdict(list)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function, and look at what a ReLU gave."""
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        is_relu6 = func is functional.hardtanh and kwargs.get("min_val") == 0.0
        if self.layer is not None and (func in RECTIFIERS or is_relu6):
            self.is_active[self.layer].append((output.detach() > 0).flatten(1))
        return output

    def fractions(self, layer: str, num_inputs: int) -> dict[str, float]:
        """Return the fractions of dead units and of co-activated pairs of a layer."""
        if layer not in self.is_active or any(len(active) != num_inputs for active in self.is_active[layer]):
            return {"dead_fraction": math.nan, "coactive_fraction": math.nan}
        counts = torch.cat(self.is_active[layer], dim=1).sum(dim=0).double()
        pairs = (
            counts * (counts - 1) / (num_inputs * (num_inputs - 1)) if num_inputs > 1 else counts * torch.nan
        )
        return {
            "dead_fraction": (counts == 0).double().mean().item(),
            "coactive_fraction": pairs.mean().item(),
        }


def weights_of(layer: nn.Module, copies: dict[nn.Parameter, Tensor]) -> list[Tensor]:
    """Return the copies of the weight matrices in a layer."""
    found = [copies[parameter] for parameter in layer.parameters() if parameter.dim() > 1]
    return [weight for weight in found if weight.requires_grad]


def can_be_differentiated(tensor: Tensor) -> bool:
    """Tell whether a tensor holds real or complex numbers of a precision, and no integers."""
    return tensor.is_floating_point() or tensor.is_complex()


def total_norm(tensors: Iterable[Tensor]) -> float:
    """Return the Euclidean norm of all numbers in some tensors together."""
    return math.hypot(*(norms_of(numbers_in(tensor).reshape(1, -1)).item() for tensor in tensors))


def numbers_in(tensor: Tensor) -> Tensor:
    """Return the numbers of a tensor, without the zeros that a sparse one leaves out."""
    if tensor.layout not in SPARSE:
        return dense(tensor, "A weight or its gradient")
    if tensor.layout is torch.sparse_coo:
        tensor = tensor.coalesce()  # an entry may stand there in parts
    return tensor.values()


def mean_norm(values: Tensor, num_inputs: int) -> float:
    """Return the mean over dimension 0 of the Euclidean norm of what is left, where it counts the inputs."""
    values = dense(values, "A layer's output")
    if values.dim() == 0 or len(values) != num_inputs:
        return math.nan
    return norms_of(values.reshape(num_inputs, -1)).mean().item()


def norms_of(rows: Tensor) -> Tensor:
    """Return the Euclidean norm of each row, in single precision at least; no square leaves the numbers' range."""
    rows = rows.detach().to(torch.promote_types(rows.dtype, torch.float32))
    if not rows.shape[1]:
        return rows.new_zeros(len(rows)).abs()
    rows, scale = scaled(rows, 1)
    return rows.norm(dim=1) * scale.squeeze(1)


def mean_loss(loss: Loss, outputs: Any, labels: Tensor) -> Tensor:
    """Return the loss, or raise where it cannot take the outputs, or is not one number."""
    if loss is functional.cross_entropy and not isinstance(outputs, Tensor):
        raise ValueError(
            f"The network must give a tensor, got {type(outputs).__name__}: give a loss that takes it."
        )
    if loss is functional.cross_entropy and not outputs.is_floating_point():
        raise ValueError(
            f"The network must give real numbers for the cross entropy, got {outputs.dtype}: give a loss that takes "
            "them."
        )
    if loss is functional.cross_entropy and outputs.dim() > 1 and labels.dtype == torch.int64:
        check_labels(labels, (outputs.shape[0], *outputs.shape[2:]), outputs.shape[1])
    cost = loss(
        outputs, labels.clone() if isinstance(labels, Tensor) else labels
    )  # one made in inference mode
    if not isinstance(cost, Tensor) or cost.numel() != 1 or cost.is_complex():
        what = (
            f"{cost.dtype} of shape {tuple(cost.shape)}" if isinstance(cost, Tensor) else type(cost).__name__
        )
        raise ValueError(f"loss must return one real number, the mean over the examples, got {what}.")
    return cost


def check_labels(labels: Tensor, shape: tuple[int, ...], num_outputs: int) -> None:
    """Raise unless labels are of a shape and name outputs, or are -100, which the cross entropy leaves out."""
    if tuple(labels.shape) != shape:
        raise ValueError(f"labels must have shape {shape}, as the outputs do, got {tuple(labels.shape)}.")
    counted = labels[labels != -100]
    if len(counted) and not (counted.min() >= 0 and counted.max() < num_outputs):
        raise ValueError(
            f"labels must be from 0 to {num_outputs - 1} for {num_outputs} outputs, got {int(counted.min())} to "
            f"{int(counted.max())}."
        )


def named_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers to be measured, by their names in the network that holds them."""
    core = core_of(model)
    holder = core if isinstance(getattr(core, "layers", None), nn.ModuleList) else unwrapped(model)
    if isinstance(holder, torch.jit.ScriptModule):
        raise ValueError(
            "A scripted network cannot be measured by layer: give the network that it was made from."
        )
    names = {module: "".join(name.split("._orig_mod")) for name, module in holder.named_modules()}
    layers = getattr(holder, "layers", None)
    if isinstance(layers, nn.ModuleList):
        if strangers := [index for index, layer in enumerate(layers) if layer not in names]:
            raise ValueError(
                f"The network's `layers` must be modules of its own, but number {strangers[0]} is held by none of its "
                "modules: register it, or rename the attribute."
            )
        return {names[layer]: layer for layer in layers}
    found = {name: module for module, name in names.items() if has_weight_matrix(module)}
    if not found:
        raise ValueError("The model has no layer with a weight matrix, so there is nothing to measure.")
    return found


def core_of(model: nn.Module) -> nn.Module:
    """Return the network inside wrappers, and inside an `nn.Sequential` with nothing else that has parameters."""
    model = unwrapped(model)
    while isinstance(model, nn.Sequential):
        weighted = [module for module in model if next(module.parameters(), None) is not None]
        if len(weighted) != 1:
            break
        model = unwrapped(weighted[0])
    return model


def has_weight_matrix(module: nn.Module) -> bool:
    """Tell whether a module has a weight of two dimensions or more, without computing a parametrized one."""
    if parametrize.is_parametrized(module, "weight"):  # spectral normalization would take a step
        originals = module.get_submodule("parametrizations.weight").parameters(recurse=False)
        return any(original.dim() > 1 for original in originals)
    if "_orig_mod" in module._modules:  # compiled: the module inside is listed as well
        return False
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.dim() > 1
