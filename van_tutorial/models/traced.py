"""Any network as a graph of its operations, with its own modules, names and modes in it."""

import contextlib
import copy
import ctypes
import inspect
import itertools
import os
import random
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, Self, cast

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode, make_fx
from torch.fx.proxy import TraceError
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map_only

from van_tutorial._checks import check_choice
from van_tutorial._random import LOCK, random_state_kept
from van_tutorial.models.lookup import without_wrappers

BRANCHES = "it branches on values that are known only when it runs"
Leaf = str | type[nn.Module]
Modes = tuple[bool, ...]
TORCH = f"{Path(torch.__file__).parent}{os.sep}"
# Methods and attributes of a tensor that do not depend on its numbers.
SHAPE = {"shape", "size", "dim", "ndim", "ndimension", "numel", "dtype", "device", "is_floating_point"}
# Functions that make a tensor of a size: they are written down where the size is the input's.
FACTORIES = (
    torch.arange, torch.empty, torch.eye, torch.full, torch.linspace, torch.ones, torch.rand, torch.randint,
    torch.randn, torch.randperm, torch.zeros,
)  # fmt: skip


class Traced(fx.GraphModule):
    """A network as graphs of its operations.

    It holds the network's own modules, parameters and buffers under their names, those too that the graphs do not use.
    Where its code branches on `training`, each mode has a graph of its own; elsewhere modes are read when it runs, so
    that each submodule keeps its own.

    Args:
        network: whose modules and parameters these are; they are not copied.
        graphs: one for each combination of the modes of the modules `asked`.
        asked: names of the modules that branch on their mode.
        skips: names of the skips that `skip_weight` weights, in its order.
        num_kept: number of the other skips.
    """

    def __init__(
        self,
        network: nn.Module,
        graphs: Mapping[Modes, fx.Graph],
        asked: Iterable[str],
        skips: Iterable[str] = (),
        num_kept: int = 0,
    ) -> None:
        super().__init__(nn.Module(), fx.Graph(), type(network).__name__)
        self.__dict__.update(network.__dict__)  # parameters, buffers and modules are then in both
        self.own = (network,)  # in a tuple: it is no submodule
        self.graphs, self.asked, self.skips = dict(graphs), tuple(asked), tuple(skips)
        self.num_kept = num_kept
        forwards = {}
        for modes, graph in self.graphs.items():
            self.graph = graph  # compiles `forward`
            forwards[modes] = type(self).forward
        if self.asked:
            type(self).forward = switched(forwards)

    @property
    def modes(self) -> Modes:
        """The modes in which the modules are that branch on theirs."""
        modes = tuple(bool(self.get_submodule(name).training) for name in self.asked)
        if modes not in self.graphs:
            raise RuntimeError(
                f"The network branches on `training` in {self.asked[0] or 'its own forward pass'}, and its modules are "
                "in a mixture of modes that it was not traced in: freeze submodules before you call gate_skips."
            )
        return modes

    @property
    def graph(self) -> fx.Graph:
        """The graph of these modes, which `torch.export` reads in place of a call."""
        return self.graphs[self.modes] if "graphs" in vars(self) else self._graph

    @graph.setter
    def graph(self, graph: fx.Graph) -> None:
        """Compile a graph as the forward pass."""
        fx.GraphModule.graph.__set__(self, graph)  # type: ignore[attr-defined]  # a property

    @property
    def code(self) -> str:
        """That of the graph of these modes."""
        return self.graph.python_code("self").src

    def train(self, mode: bool = True) -> Self:
        """Set the mode as the network's own class does it, which may do more."""
        self.training = self.own[0].train(mode).training
        return self

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Load parameters and buffers, of a network inside `DataParallel` or `torch.compile` too."""
        for prefix in ("module.", "_orig_mod.", "module."):
            if state_dict and all(name.startswith(prefix) for name in state_dict):
                state_dict = {name.removeprefix(prefix): value for name, value in state_dict.items()}
        return super().load_state_dict(state_dict, *args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Traced":
        """Copy the network, and the graphs."""
        graphs = {modes: copy.deepcopy(graph) for modes, graph in self.graphs.items()}
        network = copy.deepcopy(self.own[0], memo)
        copied = memo[id(self)] = Traced(network, graphs, self.asked, self.skips, self.num_kept)
        copied.training = self.training
        return copied

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled."""
        kind, maker = (
            ("gated", "gate_skips")
            if self.skips
            else ("collapsed", "gate_skips, skip_weight.data.zero_() and collapse")
        )
        raise TypeError(
            f"A {kind} network cannot be pickled: save its state_dict(), make it again by {maker}, and load that; or "
            "save what torch.export.export makes of it, by torch.export.save."
        )


def switched(forwards: Mapping[Modes, Callable[..., Any]]) -> Callable[..., Any]:
    """Return a forward pass that takes the graph of the modes in which the modules are."""

    def forward(self: Traced, *args: Any, **kwargs: Any) -> Any:
        return forwards[self.modes](self, *args, **kwargs)

    forward.__signature__ = inspect.signature(next(iter(forwards.values())))  # type: ignore[attr-defined]  # of any function
    return forward


class Tracer(fx.Tracer):
    """Write down a network's operations while they run on an example, with the operations of torch that each makes.

    Args:
        modes: of each module, by name, for code that branches on it. Modules run in the mode that they are in.
        leaf_modules: names and classes of modules that are kept whole.

    Attributes:
        graph: the network's operations.
        owners: the network's operation by the name of torch's.
        asked: names of the modules that branch on their mode.
        failed: the innermost module that could not be traced.
    """

    proxy_buffer_attributes = True

    def __init__(self, modes: Mapping[str, bool], leaf_modules: Collection[Leaf]) -> None:
        super().__init__(autowrap_functions=FACTORIES)
        self._autowrap_search.append(torch)
        self.modes, self.leaf_modules = modes, leaf_modules
        self.owners: dict[str, fx.Node] = {}
        self.asked: set[str] = set()
        self.failed: nn.Module | None = None
        self._contexts, self._has_one_input, self._is_running = contexts(), False, False

    def trace_on(self, network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Trace a network on inputs that another tracer follows."""
        self._inputs = inputs
        self._runner = fx.Interpreter(network, graph=fx.Graph())
        self.trace(network)
        self.check_contexts()
        for node in self.graph.nodes:
            node.meta.pop("is_wrapped", None)  # a mark for those who trace the graph's code once more

    def create_args_for_root(
        self, root_fn: Any, is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        """Give the network the inputs; what else it takes keeps its default."""
        names = [*inspect.signature(root_fn).parameters][1:]
        proxies = []
        for place, value in enumerate(self._inputs):
            name = names[place] if place < len(names) else f"input_{place}"  # of *args
            proxies.append(self.create_proxy("placeholder", name, (), {}))
            self._runner.env[proxies[-1].node] = value
        return root_fn, [self.root, *proxies]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Keep torch's own modules whole, those that are named, and those of one input without a weight."""
        is_small = self._has_one_input and not isinstance(m, nn.Sequential) and not has_weight(m)
        is_named = module_qualified_name in self.leaf_modules or type(m) in self.leaf_modules
        return is_small or is_named or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Write a module down, or go on in it and note where that fails."""
        if self._is_running or m not in (self.submodule_paths or {}):  # of another thread
            return forward(*args, **kwargs)

        def opened(*args: Any, **kwargs: Any) -> Any:
            try:
                return forward(*args, **kwargs)
            except Exception:
                self.failed = self.failed or m
                raise

        given = tree_leaves((args, kwargs))
        num_tensors = sum(isinstance(value, fx.Proxy) for value in given)
        self._has_one_input = num_tensors == 1 and not any(map(callable, given[1:]))
        return super().call_module(m, opened, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Return what stands for a parameter or buffer."""
        return attr_val if self._is_running else super().getattr(attr, attr_val, parameter_proxy_cache)

    def mode(self, module: nn.Module) -> Any:
        """Return what stands for a module's mode."""
        path = (self.submodule_paths or {}).get(module)
        if self._is_running or path is None:  # None: not of this network
            return module.__dict__["training"]
        return self.create_proxy("get_attr", f"{path}.training".lstrip("."), (), {})

    def create_proxy(self, kind: str, *args: Any, **kwargs: Any) -> Any:
        """Write an operation down, or raise where it runs in a context that a graph does not hold."""
        self.check_contexts()
        return super().create_proxy(kind, *args, **kwargs)

    def create_node(self, kind: str, *args: Any, **kwargs: Any) -> fx.Node:
        """Write an operation down, and run it."""
        node = super().create_node(kind, *args, **kwargs)
        if kind not in ("placeholder", "output"):
            nodes = get_proxy_mode().tracer.graph.nodes  # type: ignore[union-attr]  # of torch's operations
            before = next(iter(reversed(nodes)))
            self._is_running = True
            self._runner.env[node] = self.run(node)
            self._is_running = False
            self._contexts = contexts()
            made = itertools.takewhile(lambda each: each is not before, reversed(nodes))
            self.owners |= {each.name: node for each in made}
        return node

    def run(self, node: fx.Node) -> Any:
        """Return the result of an operation.

        Where code of a module that is kept whole branches on values, a matrix product with its input stands for it, or
        a sum where it has no weights.
        """
        try:
            return self._runner.run_node(node)
        except Exception:
            if node.op != "call_module":
                raise
            with _disable_current_modes():
                result = self._runner.run_node(node)
        given = [self._runner.env[value] for value in node.all_input_nodes]
        signal = sum(value.sum() for value in given if value.is_floating_point()) * torch.zeros(())
        if has_weight(self.root.get_submodule(str(node.target))):
            signal = (signal.reshape(1, 1) @ torch.ones(1, 1)).reshape(())
        return tree_map_only(Tensor, lambda value: value + signal, result)

    def check_contexts(self) -> None:
        """Raise where something has happened that a graph does not hold."""
        if contexts() != self._contexts:
            raise TraceError(
                "it enters torch.no_grad or torch.autocast, or draws random numbers apart from the input (for layer "
                "drop torchvision.ops.StochasticDepth, which can be traced)"
            )

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Return the value of a condition on modes and shapes, and have the graph check the latter; refuse others."""
        path, _, name = f".{obj.node.target}".rpartition(".")
        if obj.node.op == "get_attr" and name == "training":
            self.asked.add(path[1:])
            return self.modes[path[1:]]
        if not self.is_static(obj.node):
            raise TraceError(BRANCHES)
        return bool(self.fix(obj))

    def is_static(self, node: fx.Node) -> bool:
        """Tell whether a value that is no tensor depends on shapes alone."""
        name, inputs = (node.args[1] if node.target is getattr else node.target), node.all_input_nodes
        is_tensor = isinstance(self._runner.env[node], Tensor)
        return name in SHAPE or (not is_tensor and bool(inputs) and all(map(self.is_static, inputs)))

    def fix(self, obj: fx.Proxy) -> Any:
        """Return a value that is the same for all inputs of a shape, and have the graph check that it is."""
        value = self._runner.env[obj.node]
        given = (obj, value, user_line(traceback.extract_stack()))
        self.create_proxy("call_function", check_branch, given, {})
        return value

    def iter(self, obj: fx.Proxy) -> Iterator[fx.Proxy]:
        """Go through a tuple, and have the graph check how long it is."""
        if not isinstance(self._runner.env[obj.node], tuple | list):
            raise TraceError("it goes through a tensor")
        return iter([cast(Any, obj)[place] for place in range(self.length(obj))])

    def length(self, obj: fx.Proxy) -> int:
        """Return how long a tuple is, such as a shape, and have the graph check it; refuse a tensor."""
        if not isinstance(self._runner.env[obj.node], tuple | list):
            raise TraceError("it takes the length of a tensor, where it can take shape[0]")
        return int(self.fix(self.create_proxy("call_function", len, (obj,), {})))


def check_branch(value: Any, traced: Any, line: str) -> None:
    """Raise where a condition on shapes is not what it was for the example."""
    if value != traced:
        raise ValueError(
            f"The network was traced with inputs of another shape, and takes another branch now{line}: give "
            "gate_skips an example of this shape."
        )


def contexts() -> tuple[Any, ...]:
    """Return what operations depend on beside what they are given: modes of torch, and the random states."""
    autocasts = [torch.is_autocast_enabled(device) for device in ("cpu", "cuda")]
    numbers = np.random.get_state(legacy=False)["state"]  # noqa: NPY002  # the state that legacy code draws from
    state = torch.get_rng_state()  # read where it lies: an operation on it would be traced
    states = (
        ctypes.string_at(state.data_ptr(), state.nbytes),
        random.getstate(),
        numbers["key"].tobytes(),
        numbers["pos"],
    )
    return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), *autocasts, *states


@contextlib.contextmanager
def answered_by(tracer: Tracer) -> Iterator[None]:
    """Have a tracer answer what a network's code asks its modules for their mode, and its tuples for their length."""

    def write(module: nn.Module, mode: bool) -> None:
        module.__dict__.update(training=mode)

    def length(obj: fx.Proxy) -> int:
        return tracer.length(obj) if obj.tracer is tracer else refuse(obj)

    refuse = fx.Proxy.__len__
    nn.Module.training = property(tracer.mode, write)  # type: ignore[assignment]  # as fx does with __call__
    fx.Proxy.__len__ = length  # type: ignore[method-assign]  # put back below
    try:
        yield
    finally:
        del nn.Module.training
        fx.Proxy.__len__ = refuse  # type: ignore[method-assign]  # as it was


def trace(
    network: nn.Module, inputs: tuple[Tensor, ...], leaf_modules: Collection[Leaf], modes: Mapping[str, bool]
) -> tuple[Tracer, fx.Graph]:
    """Trace a network, which may be changed, with code that branches on modes as it is in these.

    Returns:
        The tracer, and the graph of torch's operations.

    Raises:
        ValueError: where it cannot be run, or cannot be traced, with the line.
    """
    tracer = Tracer(modes, leaf_modules)
    try:
        with LOCK, random_state_kept(), torch.no_grad():
            network(*map(torch.clone, inputs))
    except Exception as error:  # of someone's code
        shapes = ", ".join(str(tuple(value.shape)) for value in inputs)
        raise ValueError(
            f"The network cannot be run on the example, of shape {shapes}: {first_line(error)}."
        ) from error
    try:
        with LOCK, random_state_kept(), answered_by(tracer):
            # Operations of torch without a look into composite ones: those that an exported program has as well.
            lowered = make_fx(lambda *values: tracer.trace_on(network, values), pre_dispatch=True)(
                *[value.detach().clone() for value in inputs]
            )
    except Exception as error:  # of someone's code that is given what stands for a tensor
        failed = tracer.failed or network
        where = user_line(traceback.extract_tb(error.__traceback__))
        name = next((name for name, module in network.named_modules() if name and module is failed), None)
        raise ValueError(
            f"{type(failed).__name__}{where} cannot be traced: {first_line(error)}. Take this out of its forward "
            f"pass, or keep a submodule without skips whole by leaf_modules=[{name or 'its name or class'!r}]."
        ) from error
    return tracer, lowered.graph


def user_line(frames: Iterable[traceback.FrameSummary]) -> str:
    """Return the innermost line of code that is not of torch, in brackets."""
    places = (__file__, TORCH, "<string>")
    frames = [frame for frame in frames if not frame.filename.startswith(places)]
    if not frames:
        return ""
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno}: {frames[-1].line})"


def first_line(error: Exception) -> str:
    """Return what an error says, without what torch adds below it."""
    if "value out of a tracing tensor" in str(error):
        return BRANCHES
    if "'Proxy' object cannot be interpreted as an integer" in str(error):
        return "it gives Python a size or value of a tensor as an integer, as range() needs one"
    if "not 'Proxy'" in str(error):
        return "it gives Python a size or value of a tensor as a number"
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__


def has_weight(module: nn.Module) -> bool:
    """Tell whether a module holds a parameter of two or more dimensions."""
    return any(parameter.dim() > 1 for parameter in module.parameters())


def copied(network: nn.Module) -> Any:
    """Return a copy of a network, or raise where it refuses one."""
    try:
        return copy.deepcopy(network)
    except Exception as error:  # of someone else's module or tensor
        raise ValueError(
            f"The network cannot be copied ({type(error).__name__}): it holds a tensor that is part of a graph, or "
            "something else that copy.deepcopy refuses; delete that first."
        ) from error


def checked(
    network: nn.Module, example: Any, leaf_modules: Collection[Leaf]
) -> tuple[nn.Module, tuple[Tensor, ...], list[Leaf]]:
    """Return a network without wrappers, its inputs and its leaves; raise where one is not what it should be."""
    inputs = tuple(example) if isinstance(example, tuple | list) else (example,)
    if not isinstance(network, nn.Module):
        raise TypeError(f"The network must be an nn.Module, got {type(network).__name__}.")
    if not inputs or not all(isinstance(value, Tensor) for value in inputs):
        raise TypeError(f"The example must be a tensor, or a tuple of them, got {type(example).__name__}.")
    network = without_wrappers(network)
    leaves: list[Leaf] = [leaf_modules] if isinstance(leaf_modules, str | type) else [*leaf_modules]
    names = [name for name, _ in network.named_modules()]
    for leaf in leaves:
        if isinstance(leaf, str):
            check_choice("leaf_modules", leaf, names)
    return network, inputs, leaves


def eval_copy(network: nn.Module) -> nn.Module:
    """Return a copy in eval mode of each module, without a call of eval(), which may do more."""
    network = copied(network)
    for module in network.modules():
        module.training = False
    return network
