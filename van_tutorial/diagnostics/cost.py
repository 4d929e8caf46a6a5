"""What a network costs to run: parameters, multiply-adds, memory and time."""

import contextlib
import io
import math
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from van_tutorial._checks import check_range
from van_tutorial._modes import left_as_it_was
from van_tutorial._random import random_state_kept
from van_tutorial.diagnostics.gradients import check_examples, check_initialized
from van_tutorial.models.graph import is_product, may_apply_weight, operands, operation_name


def costs(models: Mapping[str, nn.Module], inputs: Tensor, seconds_per_model: float = 1.0) -> pd.DataFrame:
    """Measure what it costs to run each of some networks once on a batch, in eval mode and without gradients.

        parameters              numbers in all parameters; those that modules share count once
        layers                  linear maps and convolutions of the signal that the pass runs: one that is called
                                twice counts twice, products of two signals and of weights alone do not count
        multiply_adds           per example: half of the floating-point operations of the pass by the formulas of
                                torch's `FlopCounterMode`, over N. Matrix products and convolutions that the
                                signal takes part in are counted; biases, normalization, activations and sums,
                                and what is computed from weights alone, are not. NaN where the pass has a
                                product for which there is no formula
        peak_activation_bytes   max_t sum of bytes(s) over all s with first(s) <= t <= last(s). s are the storages
                                of the input and of all that the pass computes from it, t the operations of the
                                pass; first(s) is the one that makes s, last(s) the last one that reads or writes
                                it. The input is there from the start, what the network returns stays to the end
        milliseconds            median over passes, by torch's `benchmark.Timer` on as many threads as torch has

    The peak is what the network's structure asks for: it is the same in every run and on every device that runs
    the same operations. Views and operations in place add nothing. It does not count parameters, buffers, what
    is computed from them alone, or the scratch memory inside an operation. PyTorch itself may hold more, as
    a module that is running holds its input; an exported or compiled network does not.

    Layers that a backend may run as one piece (`nn.LSTM`, `nn.TransformerEncoderLayer`) are counted operation by
    operation; their milliseconds are those of the piece. Tensors that are not dense have no storage and are not
    followed.

    Parameters and their gradients, buffers, modes and random states are left as they are.

    Args:
        models: the networks by the names of their rows; each takes `inputs`.
        inputs: shape (N, ...), on the networks' device.
        seconds_per_model: time to spend on timing each network, at least 0; with 0 milliseconds are NaN.

    Returns:
        One row per network: model (its name), and the columns above.

    Raises:
        ValueError: for no network, no example, a negative time, and lazy modules that were never called.

    Example:
        >>> network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> measured = costs({"small": network}, torch.zeros(1, 4), seconds_per_model=0.0)
        >>> measured[["parameters", "layers", "multiply_adds", "peak_activation_bytes"]].values.tolist()
        [[58, 2, 48, 64]]
    """
    if not models:
        raise ValueError("models must hold at least one network, got none.")
    check_examples(inputs)
    check_range("seconds_per_model", seconds_per_model, 0.0, math.inf)
    rows = [{"model": name, **cost(model, inputs, seconds_per_model)} for name, model in models.items()]
    return pd.DataFrame(rows)


def cost(model: nn.Module, inputs: Tensor, seconds: float) -> dict[str, float]:
    """Return what `costs` says of one network."""
    check_initialized(model.modules())
    with (
        random_state_kept(inputs.device),
        torch.inference_mode(False),
        torch.no_grad(),
        left_as_it_was(model),
    ):
        for module in model.modules():
            module.training = False  # and no call of eval(), which a network may have do more than that
        given = inputs.clone()  # the model may work in place on it
        with step_by_step(), Trace(model, given) as trace:
            outputs = model(given)
        del given
        peak = trace.peak()
        del outputs  # which were alive until here
        milliseconds = math.nan
        if seconds > 0.0:
            milliseconds = median_milliseconds(model, inputs.clone(), seconds)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "layers": trace.num_layers,
        "multiply_adds": math.nan
        if math.isnan(trace.num_flops)
        else round(trace.num_flops / 2 / len(inputs)),
        "peak_activation_bytes": peak,
        "milliseconds": milliseconds,
    }


def median_milliseconds(model: nn.Module, inputs: Tensor, seconds: float) -> float:
    """Return the median time of a pass, measured for about so many seconds."""
    with contextlib.redirect_stderr(
        io.StringIO()
    ):  # where it finds a CUDA compiler and no GPU, this import says so
        from torch.utils.benchmark import Timer
    timer = Timer(
        "model(inputs)", globals={"model": model, "inputs": inputs}, num_threads=torch.get_num_threads()
    )
    return timer.blocked_autorange(min_run_time=seconds).median * 1e3


@contextlib.contextmanager
def step_by_step() -> Iterator[None]:
    """Have attention and recurrent layers run operation by operation, where a backend would run one as one piece."""
    backends: tuple[Any, ...] = (torch.backends.mkldnn, torch.backends.cudnn)
    before = [backend.enabled for backend in backends]
    is_fast = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        for backend in backends:
            backend.enabled = False
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(is_fast)
        for backend, was_enabled in zip(backends, before, strict=True):
            backend.enabled = was_enabled


FORMULAS: dict[str, Callable[..., float]] = {  # of floating-point operations, where torch has none
    "_scaled_dot_product_flash_attention_for_cpu": lambda query, key, value, *_: sdpa_flop_count(
        query.shape, key.shape, value.shape
    ),
    "mv": lambda matrix, vector: 2 * matrix.numel(),
    "addmv": lambda term, matrix, vector: 2 * matrix.numel(),
    "dot": lambda one, other: 2 * one.numel(),
}


def num_flops(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> float:
    """Return the floating-point operations of a product; 0 of anything else, NaN of a product without a formula."""
    if func.overloadpacket in flop_registry:
        return flop_registry[func.overloadpacket](*args, **kwargs, out_val=output)
    if (formula := FORMULAS.get(operation_name(func))) is not None:
        return formula(*args)
    return math.nan if is_product(func) and may_apply_weight(func) else 0.0


class Trace(TorchDispatchMode):
    """Follow what is computed from the input: the layers that work on it, and from when to when memory is needed.

    Args:
        model: its parameters and buffers take no memory here, even where the signal is written into them.
        given: the input.

    Attributes:
        num_layers: linear maps and convolutions that worked on the signal.
        num_flops: floating-point operations of the matrix products and convolutions that it took part in.
    """

    def __init__(self, model: nn.Module, given: Tensor) -> None:
        super().__init__()
        self.num_layers = 0
        self.num_flops = 0.0
        self._time = 0
        self._own = {*storages([*model.parameters(), *model.buffers()])}
        # A weak reference keeps no memory, but no other storage can be taken for the one it refers to.
        self._spans = {ref: [size, 0, 0] for ref, size in storages([given]).items()}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation, and note what it read and wrote."""
        kwargs = kwargs or {}
        read = storages(tree_leaves((args, kwargs))).keys() & self._spans.keys()
        self.num_layers += self._is_layer(func, args, kwargs)
        output = func(*args, **kwargs)
        if read:
            self._time += 1
            self.num_flops += num_flops(func, args, kwargs, output)
            for ref, size in storages(tree_leaves(output)).items():
                self._spans.setdefault(ref, [0 if ref in self._own else size, self._time, self._time])
                read.add(ref)
            for ref in read:
                self._spans[ref][2] = self._time
        return output

    def peak(self) -> int:
        """Return the most bytes that were needed at one time, where what is alive now is needed to the end."""
        changes = [0] * (self._time + 2)
        for ref, (size, first, last) in self._spans.items():
            changes[first] += size
            changes[(last if ref.expired() else self._time) + 1] -= size
        return max(accumulate(changes))

    def _is_layer(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        if not is_product(func) or not may_apply_weight(func):
            return False
        factors = [tensor for tensor in operands(func, args, kwargs)[0] if isinstance(tensor, Tensor)]
        num_signals = sum(not self._spans.keys().isdisjoint(storages([factor])) for factor in factors)
        return 0 < num_signals < len(factors)


def storages(values: list[Any]) -> dict[StorageWeakRef, int]:
    """Return the storages of the dense tensors among some values, with their sizes in bytes."""
    tensors = [value for value in values if isinstance(value, Tensor) and value.layout is torch.strided]
    found = [tensor.untyped_storage() for tensor in tensors]
    return {StorageWeakRef(storage): storage.nbytes() for storage in found}
