"""The skip-connections of any network: found, named and priced."""

import operator
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from van_tutorial.models.graph import CONCATENATIONS, Join, joins, operation_name
from van_tutorial.models.traced import Leaf, Tracer, checked, eval_copy, trace

ADDITIONS = {operator.add, operator.iadd, torch.add, "add", "add_", "__add__", "__iadd__", "__radd__"}
CONCATENATION = "concatenation"


@dataclass(frozen=True)
class Skip:
    """A skip-connection of a traced network.

    Attributes:
        name: of the module that it is in; with a number where it has several.
        node: the operation that adds it.
        start: the operation whose result it passes on.
        kind: "identity", "projection", "other" or "concatenation".
        operands: the node's two operands, the skip first; none where the skip cannot be weighted.
        shortcut: the operations that only the skip needs.
        join: what it is in the graph of torch's operations.
    """

    name: str
    node: fx.Node
    start: fx.Node
    kind: str
    operands: tuple[fx.Node, ...]
    shortcut: frozenset[fx.Node]
    join: Join


def find_skips(
    network: nn.Module, example: Tensor | tuple[Tensor, ...], leaf_modules: Collection[Leaf] = ()
) -> pd.DataFrame:
    """List the skip-connections of any network that `torch.fx` can trace.

    A skip-connection is what `has_skip` says: a sum of two tensors with a latest common ancestor x, one of which passes
    fewer weight operations on the way from it, y = f(x) + s(x); or a concatenation that passes x on. Position
    embeddings, biases, layer scales, sums of equal branches and products are none. The network is run on the example
    once, on a copy, in eval mode.

    Args:
        network: any module; it is left as it was.
        example: an input that it takes, shape (N, ...), on its device; or a tuple of several.
        leaf_modules: names or classes of submodules to keep whole, where their forward pass cannot be traced.

    Returns:
        One row for each skip, from input to output; none for a network without skips. Columns: name, of the module that
        adds it, or of the operation outside any, with a number where there are several; from, where x is computed; to,
        the operation that adds s(x); kind, "identity" for s(x) = x, "projection" for an s with weights,
        "concatenation", or "other"; shape of x; kib, the KiB that x takes; layers, the fewest weight operations of f,
        for which x is kept in memory (before a concatenation longer, where it is passed on through others);
        parameters, numbers in the parameters of s.

    Raises:
        TypeError: for what is no module, and an example that is no tensor.
        ValueError: for a network that cannot be traced (with the line), or that holds a module with a skip inside
            that is kept whole.

    Example:
        >>> import torchvision
        >>> network = torchvision.models.resnet18(num_classes=10)
        >>> table = find_skips(network, torch.zeros(1, 3, 32, 32))
        >>> table.kind.value_counts().to_dict()
        {'identity': 5, 'projection': 3}
    """
    network, inputs, leaves = checked(network, example, leaf_modules)
    network = eval_copy(network)
    tracer, skips = skips_in(network, inputs, leaves)
    names = labels(tracer.graph)
    columns = ["name", "from", "to", "kind", "shape", "kib", "layers", "parameters"]
    rows = []
    for skip in skips:
        kept = next(leaf for leaf in tree_leaves(skip.join.start.meta["val"]) if isinstance(leaf, Tensor))
        kib = kept.numel() * kept.element_size() / 1024
        place = (skip.name, names[skip.start], names[skip.node], skip.kind)
        rows.append(
            (*place, tuple(kept.shape), kib, skip.join.long_weights, num_parameters(network, skip.shortcut))
        )
    return pd.DataFrame(rows, columns=columns)


def skips_in(
    network: nn.Module,
    inputs: tuple[Tensor, ...],
    leaf_modules: Collection[Leaf],
    modes: Mapping[str, bool] | None = None,
) -> tuple[Tracer, list[Skip]]:
    """Trace a network in eval mode, which may be changed, with its code as it is in some modes, and find its skips."""
    modes = modes or {name: False for name, _ in network.named_modules()}
    tracer, lowered = trace(network, inputs, leaf_modules, modes)
    given = [node for node in tracer.graph.nodes if node.op == "placeholder"]
    names = [node.name for node in lowered.nodes if node.op == "placeholder"]
    owners = tracer.owners | dict(zip(names, given, strict=True))
    found = [(owners[join.node.name], join) for join in joins(lowered, names)]
    # Outside any submodule the operation's name, without a number that depends on what else is in the graph.
    labeled = [path_of(node) or re.sub(r"_\d+$", "", node.name) for node, _ in found]
    skips = []
    for place, (node, join) in enumerate(found):
        if node.op == "call_module":
            whole = type(network.get_submodule(str(node.target)))
            is_named = node.target in leaf_modules or whole in leaf_modules
            fix = (
                "leave it out of leaf_modules"
                if is_named
                else "write its additions out in a module of your own"
            )
            raise ValueError(
                f"{node.target} ({whole.__name__}) has a skip inside and is kept whole, so that it cannot be weighted: "
                f"{fix}."
            )
        name = labeled[place]
        if labeled.count(name) > 1:
            name += f":{labeled[: place + 1].count(name)}"
        operation = operation_name(join.node.target)
        operands = tuple(value for value in [*node.args, *node.kwargs.values()] if isinstance(value, fx.Node))
        if node.target not in ADDITIONS or operation != "add" or len(operands) != 2 or join.is_mutual:
            operands = ()
        elif join.short is not join.node.args[0]:
            operands = operands[::-1]
        shortcut = ancestors(operands[0]) - ancestors(operands[1]) if operands else frozenset()
        # What does nothing in eval mode, such as dropout, may do something in training.
        does_nothing = all(isinstance(called(network, each), nn.Identity) for each in shortcut)
        if not operands:
            kind = CONCATENATION if operation in CONCATENATIONS else "other"
        elif join.short_weights:
            kind = "projection"
        else:
            kind = "identity" if join.short is join.start and does_nothing else "other"
        skips.append(Skip(name, node, owners[join.start.name], kind, operands, shortcut, join))
    return tracer, skips


def path_of(node: fx.Node) -> str:
    """Return the name of the module in whose forward pass an operation is."""
    stack = node.meta.get("nn_module_stack") or {}
    return next(reversed(stack.values()), ("",))[0]


def labels(graph: fx.Graph) -> dict[fx.Node, str]:
    """Return a name for each operation: of the module that it calls, or its own after that of the module around it."""
    return {
        node: str(node.target)
        if node.op in ("call_module", "placeholder")
        else f"{path_of(node)}.{node.name}".lstrip(".")
        for node in graph.nodes
    }


def called(network: nn.Module, node: fx.Node) -> nn.Module | None:
    """Return the module that an operation calls; None where it calls none."""
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None


def ancestors(node: fx.Node) -> frozenset[fx.Node]:
    """Return an operation, and all that it depends on, without the network's inputs."""
    found: set[fx.Node] = set()
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if node not in found and node.op != "placeholder":
            found.add(node)
            waiting += node.all_input_nodes
    return frozenset(found)


def num_parameters(network: nn.Module, nodes: Collection[fx.Node]) -> int:
    """Count the numbers in the parameters that some operations use."""
    found: set[Any] = set()
    for node in nodes:
        if node.op in ("call_module", "get_attr"):
            value = operator.attrgetter(str(node.target))(network)
            found.update(value.parameters() if isinstance(value, nn.Module) else [value])
    return sum(parameter.numel() for parameter in found if isinstance(parameter, nn.Parameter))
