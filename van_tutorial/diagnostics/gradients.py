"""How the output of a network changes with its input: gradients and Jacobians, all examples in one go."""

import contextlib
import copy
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.lazy import LazyModuleMixin

from van_tutorial._checks import check_choice
from van_tutorial._modes import left_as_it_was
from van_tutorial._random import random_state_kept
from van_tutorial.models import unwrapped
from van_tutorial.models.parts import Center

SPARSE = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
STATISTICS = ("exact", "constant")
ROWS_AT_ONCE = 32  # backward passes in one batch: more would not be faster, and would take more memory
NETWORKS_AT_ONCE = 10


def input_gradients(
    model: nn.Module, inputs: Tensor, output: int | None = None, statistics: str = "exact"
) -> Tensor:
    """Differentiate one output of a network with respect to its input, at each of N inputs.

    g_i = d y_output(x_i) / d x_i, one per example. Where examples do not look at each other one backward pass
    serves them all (cheap). Normalization by statistics of the batch makes y(x_i) depend on the other examples,
    and those statistics on x_i:

        "exact"      differentiates through them. N backward passes, batched by `torch.func` (expensive: N times).
        "constant"   holds mean and variance at their values on this batch. One backward pass (cheap).

    In eval mode, and without such a normalization, both are the same. Parameters and their gradients, buffers,
    modes and random states are left as they are. What other modules do across examples, or a function such as
    `functional.batch_norm` in training, is not noticed: such a network needs a batch of one. A complex output has a
    complex gradient, d Re y / dx + i d Im y / dx.

    Args:
        model: maps (N, ...) to (N,) or (N, num_outputs).
        inputs: shape (N, ...), real floating point, on the model's device.
        output: index of the output; None only where there is a single one.
        statistics: "exact" or "constant".

    Returns:
        Gradients, shape (N, ...) like the inputs; unit: output per unit of input. 0 where the output does not
        depend on the input; infinite or NaN where the network's own derivative is.

    Raises:
        ValueError: for inputs that are not floating point, an output index that is not there or is missing, a
            network that gives no row of outputs for each input, and one whose lazy modules were never called.

    Example:
        >>> linear = nn.Linear(2, 1)
        >>> _ = linear.weight.data.copy_(torch.tensor([[3.0, -1.0]]))
        >>> input_gradients(linear, torch.zeros(2, 2))
        tensor([[ 3., -1.],
                [ 3., -1.]])

    Source:
        Balduzzi et al. 2017, The shattered gradients problem, section 2.
    """
    leaf, outputs, is_interacting = outputs_of(model, inputs, statistics)
    index = pick_output(outputs, output)
    if is_interacting:
        return backward_rows(leaf, outputs, [index]).squeeze(1)
    direction = torch.zeros_like(outputs)
    direction[:, index] = 1.0
    return backward(leaf, outputs, direction)


def input_jacobians(model: nn.Module, inputs: Tensor, statistics: str = "exact") -> Tensor:
    """Differentiate every output of a network with respect to its input, at each of N inputs.

    J_i[k] = d y_k(x_i) / d x_i. With K outputs, K backward passes in one batch (moderate), or N K of them where
    `statistics` is "exact" and examples depend on each other (expensive).

    Args:
        model: maps (N, ...) to (N,) or (N, K).
        inputs: shape (N, ...), floating point, on the model's device.
        statistics: "exact" or "constant", as for `input_gradients`.

    Returns:
        Jacobians, shape (N, K, ...), complex where the outputs are; unit: output per unit of input.

    Raises:
        ValueError: for inputs that are not floating point.

    Example:
        >>> linear = nn.Linear(2, 3)
        >>> torch.equal(input_jacobians(linear, torch.zeros(1, 2))[0], linear.weight)
        True
    """
    leaf, outputs, is_interacting = outputs_of(model, inputs, statistics)
    if is_interacting:
        return backward_rows(leaf, outputs, list(range(outputs.shape[1])))
    directions = torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device)
    rows = [
        backward(leaf, outputs, some.unsqueeze(1).expand(-1, *outputs.shape))
        for some in directions.split(ROWS_AT_ONCE)
    ]
    return torch.cat(rows).movedim(0, 1)


def input_gradients_of_all(
    models: Sequence[nn.Module], inputs: Tensor, output: int | None = None, statistics: str = "constant"
) -> Tensor:
    """Differentiate one output of many networks of one shape, such as many random initializations, at once.

    Parameters and buffers are stacked (`torch.func.stack_module_state`), and the gradient of one network is mapped
    over them. Cheap for each network: narrow ones cost little more together than one alone. Networks that differ in
    more than their parameters and buffers, or hold an operation that cannot be mapped, go one at a time.

    Args:
        models: K networks, on one device; at once where they are of one class, shape, mode and setting.
        inputs: shape (N, ...), the same for every network.
        output: index of the output; None only where there is a single one.
        statistics: as for `input_gradients`; "exact" goes through the networks one at a time.

    Returns:
        Gradients, shape (K, N, ...).

    Raises:
        ValueError: for what `input_gradients` refuses, and no network.

    Example:
        >>> models = [nn.Linear(3, 1) for _ in range(5)]
        >>> input_gradients_of_all(models, torch.zeros(2, 3)).shape
        torch.Size([5, 2, 3])
    """
    if not models:
        raise ValueError("models must hold at least one network, got none.")
    check_choice("statistics", statistics, STATISTICS)
    is_exact = statistics == "exact" and any(map(uses_batch_statistics, models[0].modules()))
    if len(models) > 1 and not is_exact and models[0].state_dict() and are_alike(models):
        try:
            return gradients_at_once(models, inputs, output)
        except RuntimeError:  # an operation that cannot be mapped, or an error that comes again
            pass
    return torch.stack([input_gradients(model, inputs, output, statistics) for model in models])


def are_alike(models: Sequence[nn.Module]) -> bool:
    """Tell whether networks differ in nothing but the values of their parameters and buffers."""

    def outline(model: nn.Module) -> list[object]:
        plain = (bool, int, float, str)  # such as a slope, a scale, the mode
        return [
            (name, type(module), {k: v for k, v in vars(module).items() if isinstance(v, plain)})
            for name, module in model.named_modules()
        ]

    first = outline(models[0])
    return all(outline(model) == first for model in models[1:])


def gradients_at_once(models: Sequence[nn.Module], inputs: Tensor, output: int | None) -> Tensor:
    """Return the gradients of stacked networks, shape (K, N, ...), with statistics of the batch held constant."""
    check_inputs(inputs)
    check_initialized(models[0].modules())
    models = [unwrapped(model) for model in models]
    parameters, buffers = stack_module_state(models)
    template = copy.deepcopy(models[0])

    def total(x: Tensor, *state: dict[str, Tensor]) -> Tensor:
        with left_as_it_was(template), statistics_held_constant(template):
            outputs = as_rows(functional_call(template, state, (x.clone(),)), len(inputs))
        return outputs[:, pick_output(outputs, output)].sum()

    with differentiation(inputs.device, template):
        gradients = vmap(
            grad(total), in_dims=(None, 0, 0), randomness="different", chunk_size=NETWORKS_AT_ONCE
        )(inputs.detach().clone(), parameters, buffers)
    return gradients.detach()


def outputs_of(model: nn.Module, inputs: Tensor, statistics: str) -> tuple[Tensor, Tensor, bool]:
    """Return inputs to be differentiated, outputs (N, K), and whether these depend on each other's inputs."""
    check_choice("statistics", statistics, STATISTICS)
    check_inputs(inputs)
    model = unwrapped(model)
    modules = list(model.modules())  # once: in a narrow network that alone takes a tenth of the time
    check_initialized(modules)
    is_interacting = any(map(uses_batch_statistics, modules))
    is_constant = is_interacting and statistics == "constant"
    holding = statistics_held_constant(model) if is_constant else contextlib.nullcontext()
    with differentiation(inputs.device, model), holding:
        leaf = inputs.detach().clone().requires_grad_(True)
        outputs = as_rows(model(leaf.clone()), len(inputs))  # a copy: it may work in place on what it gets
    return leaf, outputs, is_interacting and not is_constant


@contextlib.contextmanager
def differentiation(
    device: torch.device, model: nn.Module, replaced: Mapping[nn.Parameter, Tensor] = MappingProxyType({})
) -> Iterator[None]:
    """Record what is computed, also where the caller does not, and put back what a network and dropout change.

    What is compiled in the model runs as it was written, so that hooks and copies of its tensors reach it.
    """
    is_compiled = any(map(runs_compiled, model.modules()))
    eager = torch.compiler.set_stance("force_eager") if is_compiled else contextlib.nullcontext()
    kept = left_as_it_was(model, replaced)
    with random_state_kept(device), torch.inference_mode(False), torch.enable_grad(), eager, kept:
        yield


def runs_compiled(module: nn.Module) -> bool:
    """Tell whether a module stands in a compiled one, or was compiled in place."""
    return "_orig_mod" in module._modules or getattr(module, "_compiled_call_impl", None) is not None


def uses_batch_statistics(module: nn.Module) -> bool:
    """Tell whether a module normalizes by statistics of the batch, by which examples depend on each other."""
    if isinstance(module, _BatchNorm):
        return module.training or module.running_mean is None
    return isinstance(module, Center) and module.training


@contextlib.contextmanager
def statistics_held_constant(model: nn.Module) -> Iterator[None]:
    """Let every normalization by the batch take the batch's mean and variance as constants.

    Just before such a module is called, its running statistics become those of its input, without their
    gradient, and it goes into eval mode, in which it uses them. `left_as_it_was` puts both back.
    """

    def hold(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        x = next(iter((*args, *kwargs.values()))).detach()
        over = [dim for dim in range(x.dim()) if dim != 1]
        kept = next(filter(torch.is_tensor, (module.running_mean, getattr(module, "weight", None), x)))
        module.running_mean = x.mean(over).to(kept)  # whose precision is not that of the input under autocast
        if isinstance(module, _BatchNorm):
            module.running_var = x.var(over, correction=0).to(kept)
        module.training = False

    modules = filter(uses_batch_statistics, model.modules())
    handles = [module.register_forward_pre_hook(hold, with_kwargs=True) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def backward(leaf: Tensor, outputs: Tensor, directions: Tensor, is_last: bool = True) -> Tensor:
    """Return the gradients of outputs (N, K) in a direction (N, K), or in each of several (B, N, K).

    Those of complex outputs, in real directions, are complex.
    """
    if outputs.is_complex():
        real = backward(leaf, outputs.real, directions.real, is_last=False)
        return torch.complex(real, backward(leaf, outputs.imag, directions.real, is_last))
    is_batched = directions.dim() > outputs.dim()
    if not outputs.requires_grad:  # they do not depend on the input
        return leaf.new_zeros((len(directions), *leaf.shape) if is_batched else leaf.shape)

    def differentiate(direction: Tensor, is_batch: bool) -> Tensor:
        found: tuple[Tensor | None, ...] = torch.autograd.grad(
            outputs,
            leaf,
            direction,
            retain_graph=is_batched or not is_last,  # there may be more to come
            is_grads_batched=is_batch,
            allow_unused=True,
        )
        if (gradients := found[0]) is None:
            return leaf.new_zeros((len(direction), *leaf.shape) if is_batch else leaf.shape)
        return gradients.detach()

    if not is_batched:
        return differentiate(directions, False)
    try:
        return differentiate(directions, True)
    except RuntimeError:  # an operation that cannot be batched, or an error that comes again
        return torch.stack([differentiate(direction, False) for direction in directions])


def backward_rows(leaf: Tensor, outputs: Tensor, columns: list[int]) -> Tensor:
    """Return d outputs[i, k] / d leaf[i] for some k, shape (N, K, ...), where outputs depend on all inputs."""
    rows = [(row, column) for row in range(len(outputs)) for column in columns]
    gradients = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = torch.tensor(rows[start : start + ROWS_AT_ONCE], device=outputs.device)
        here = torch.arange(len(some), device=outputs.device)
        directions = outputs.new_zeros(len(some), *outputs.shape)
        directions[here, some[:, 0], some[:, 1]] = 1.0
        gradients.append(backward(leaf, outputs, directions)[here, some[:, 0]])
    return torch.cat(gradients).unflatten(0, (len(outputs), len(columns)))


def check_inputs(inputs: Tensor) -> None:
    """Raise unless inputs can be differentiated."""
    check_examples(inputs)
    if not inputs.is_floating_point() or inputs.layout is not torch.strided:
        raise ValueError(
            f"inputs must be floating point numbers, real and dense, to be differentiated, got {inputs.dtype}, "
            f"{inputs.layout}."
        )


def check_examples(inputs: Tensor) -> None:
    """Raise unless inputs are a tensor with at least one example."""
    if not isinstance(inputs, Tensor):
        raise ValueError(f"inputs must be a tensor, got {type(inputs).__name__}.")
    if inputs.dim() == 0 or len(inputs) == 0:
        raise ValueError(
            f"inputs must hold at least one example along dimension 0, got shape {tuple(inputs.shape)}."
        )


def check_initialized(modules: Iterable[nn.Module]) -> None:
    """Raise where a first call would make parameters, and so change the network."""
    if any(isinstance(module, LazyModuleMixin) and module.has_uninitialized_params() for module in modules):
        raise ValueError(
            "The network has lazy modules without parameters yet: call it once on a batch of inputs."
        )


def as_rows(outputs: Tensor, num_inputs: int) -> Tensor:
    """Return outputs as (N, K), or raise where there is not one row for each input."""
    if isinstance(outputs, Tensor):
        outputs = dense(outputs, "The network's outputs")
    if not isinstance(outputs, Tensor) or outputs.dim() == 0 or len(outputs) != num_inputs:
        what = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ValueError(
            f"The network must give one output, or one row of outputs, for each of the {num_inputs} inputs, got {what}."
        )
    return outputs.reshape(num_inputs, -1)


def dense(tensor: Tensor, name: str) -> Tensor:
    """Return a tensor with the zeros that a sparse one leaves out, or raise where its numbers are packed otherwise."""
    if tensor.is_quantized or tensor.is_nested or tensor.layout not in (torch.strided, *SPARSE):
        kind = "nested" if tensor.is_nested else tensor.dtype if tensor.is_quantized else tensor.layout
        raise ValueError(
            f"{name} must be dense or sparse numbers, got a tensor that is {kind}: turn it into such ones first, as by "
            "dequantize() or to_dense()."
        )
    return tensor if tensor.layout is torch.strided else tensor.to_dense()


def pick_output(outputs: Tensor, output: int | None) -> int:
    """Return the index of the output to differentiate, or raise where it is not there or not named."""
    num_outputs = outputs.shape[1]
    if output is None and num_outputs != 1:
        raise ValueError(f"The network has {num_outputs} outputs: name one by output=0 … {num_outputs - 1}.")
    try:
        index = 0 if output is None else operator.index(output)
    except TypeError:
        raise ValueError(f"output must be an integer, got {output!r}.") from None
    if not 0 <= index < num_outputs:
        raise ValueError(f"output must be from 0 to {num_outputs - 1}, got {output!r}.")
    return index


def scaled(values: Tensor, *dims: int) -> tuple[Tensor, Tensor]:
    """Return numbers divided by the largest of them along some dimensions (by default all), and this scale.

    So no square of them leaves the range of their precision.
    """
    limits = torch.finfo(values.dtype)
    scale = values.abs().amax(dims, keepdim=True).clamp(limits.tiny, limits.max)
    return values / scale, scale
