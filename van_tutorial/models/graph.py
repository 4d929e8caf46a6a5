"""What a skip-connection is, and whether a network still has one, read off its exported graph.

A skip-connection is a *sum or mix* of two tensors with a latest common ancestor, one of which passes fewer weight
operations on the way from it; or a *concatenation* with an operand that passes none, beside one that passes some. Where
the two pass as many, the next common ancestor is asked, on ways around that one: in t F(x) + (1 - t) x with t = T(x)
both pass none from t, but from x only one does.

A weight operation mixes the signal with something learned or constant: a linear map, a convolution, a recurrent layer.
Elementwise operations, normalizations and writes into a part of a tensor are none, so that layer scales, position
embeddings and biases count nothing. An elementwise operation that is summed over its weight, or that pairs each number
of the signal with several of the weight, is one. What is not known here, and mixes the signal with a tensor that is not
the signal, counts as a weight operation. A product of two signals (attention, a squeeze-and-excitation gate) joins no
paths: it passes as few weight operations as the factor that passes fewest.
"""

import itertools
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import torch
from torch import fx
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from torch.export import ExportedProgram

# Elementwise operations that torch does not tag as pointwise.
ELEMENTWISE = frozenset(
    {
        "rsub", "subtract", "multiply", "divide", "true_divide", "floor_divide", "arctan2", "complex", "polar",
        "prelu", "_prelu_kernel", "rrelu_with_noise", "rrelu_with_noise_functional", "_add_relu", "masked_fill",
        "dropout", "native_dropout", "where", "max", "min",
    }
)  # fmt: skip
GATES = frozenset({"mul", "multiply", "div", "divide", "true_divide", "__mul__", "__rmul__"})
CONCATENATIONS = frozenset(
    {"cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack", "column_stack", "row_stack"}
)
SUMS = frozenset({"sum", "mean", "cumsum"})
# Products of all their factors; other operations on several signals are taken for mixes of them.
PRODUCTS = frozenset(
    {
        "mm", "mv", "bmm", "matmul", "dot", "vdot", "inner", "outer", "ger", "kron", "einsum", "tensordot",
        "chain_matmul", "addmm", "addmv", "addbmm", "baddbmm", "addr", "_addmm_activation", "addcmul", "addcdiv",
        "linear", "bilinear", "_trilinear", "linalg_matmul", "linalg_multi_dot", "linalg_vecdot", "linalg_cross",
        "cross", "grid_sampler", "grid_sampler_2d", "grid_sampler_3d", "_grouped_mm",
    }
)  # fmt: skip
# Operations whose first argument is added to the product of the others.
SUM_FIRST = frozenset(
    {"addmm", "addmv", "addbmm", "baddbmm", "addr", "_addmm_activation", "addcmul", "addcdiv", "sspaddmm"}
)
ADDED = frozenset({"bias", "attn_mask", "attn_bias"})  # arguments that any operation adds to what it computes
Steps = dict[fx.Node, tuple[int, int]]  # of an ancestor: fewest weight operations, and with poolings, from it


def has_skip(program: "ExportedProgram") -> bool:
    """Tell whether the network of an exported graph has a skip-connection.

    A skip-connection is a sum or mix of two tensors with a latest common ancestor, one of which passes fewer weight
    operations on the way from it; or a concatenation with an operand that passes none (and no pooling), beside one
    that does. Weight operations mix the signal with something learned or constant, as linear maps and convolutions
    do; normalizations, activations, layer scales and position embeddings do not. So a skip round an activation alone
    is not one, a multiplicative gate is not one, and a skip of weight 0 that the graph still computes is one: collapse
    the network first.

    Paths that carry no gradient (masks, shapes) do not count. An operation that is not known counts as a weight
    operation where it is given a tensor that is not the signal.

    Args:
        program: what `torch.export.export(model.eval(), (inputs,))` returns.

    Returns:
        True where there is such a pair.

    Raises:
        TypeError: for anything but an exported program.
        ValueError: where none is found, and a part of the graph cannot be looked into (the branches of `torch.cond`
            and its like).

    Example:
        >>> from van_tutorial import models
        >>> network = models.mlp(depth=2, width=4, connection="residual", seed=0)
        >>> has_skip(torch.export.export(network.eval(), (torch.zeros(2, 784),)))
        True
    """
    if not isinstance(program, torch.export.ExportedProgram):
        raise TypeError(
            f"has_skip reads an exported program, got {type(program).__name__}: give it "
            "torch.export.export(model.eval(), (inputs,))."
        )
    inputs = program.graph_signature.user_inputs
    if any(True for _ in joins(program.graph, inputs)):
        return True
    # What is written into a part of a tensor, or computed inside a block such as torch.no_grad, shows only in
    # the graph without such parts and blocks, which takes about as long to make as the export itself.
    if not any(is_block(node) or is_mutable(node) for node in program.graph.nodes):
        return False
    program = program.run_decompositions({})
    if any(True for _ in joins(program.graph, program.graph_signature.user_inputs)):
        return True
    if blocks := [node.name for node in program.graph.nodes if is_block(node)]:
        raise ValueError(
            f"has_skip cannot look into {blocks[0]}, a part of the graph with a control flow of its own: export the "
            "network without it, for example with the branch that is taken."
        )
    return False


class Join(NamedTuple):
    """A sum, mix or concatenation of two paths that is a skip-connection.

    Attributes:
        node: the operation that joins them.
        short: its operand that passes fewer weight operations.
        long: the other one.
        start: the latest common ancestor of the two.
        short_weights: fewest weight operations that the short path passes since then.
        long_weights: fewest that the long one passes.
        is_mutual: whether the long one passes none from an earlier common ancestor, from which the short one passes
            some: as in f(x) + x g(f(x)), where f(x) goes around g, and x around f.
    """

    node: fx.Node
    short: fx.Node
    long: fx.Node
    start: fx.Node
    short_weights: int
    long_weights: int
    is_mutual: bool


def joins(graph: fx.Graph, inputs: Container[str]) -> Iterator[Join]:
    """Find the skip-connections in a graph, from input to output.

    Each is looked for in the network without those before it: once a skip is found, its sum is the long path alone. So
    in x + f(x) + g(x) with weights of equal number in f and g the skip is x, and f(x) + g(x) is none.

    Args:
        graph: of operations of torch, each with its value in `meta["val"]`, as in exported programs.
        inputs: names of the placeholders that are the network's inputs.

    Yields:
        The skip-connections.
    """
    index = {node: place for place, node in enumerate(graph.nodes)}
    steps: dict[fx.Node, Steps] = {}  # of each node that carries the signal
    edges: dict[fx.Node, list[Edge]] = {}
    for node in graph.nodes:
        if not carries_signal(node) or node.op not in ("placeholder", "call_function"):
            continue
        if node.op == "placeholder":
            if node.name not in inputs:
                continue
            found: Steps = {}
            edges[node] = []
        else:
            name = operation_name(node.target)
            factors, terms = operands(node.target, node.args, node.kwargs)
            signals = [factor for factor in factors if factor in steps]
            is_paired = is_elementwise(node.target) and pairs_with_weight(node, [*factors, *terms], steps)
            weight = int(is_paired or applies_weight(node, factors, steps))
            added = [term for term in terms if is_node(term) and term in steps]
            if not signals and not added:
                continue
            pooling = int("pool" in name)
            paths = [[Edge(factor, weight, pooling)] for factor in signals]
            if is_product(node.target):
                paths = [[edge for path in paths for edge in path]] if paths else []
            paths += [[Edge(term, int(is_paired), 0)] for term in added]
            if (joined := join_of(node, paths, steps, edges, index)) is not None:
                join, skip = joined
                yield join
                if name not in CONCATENATIONS:
                    paths = [path for path in paths if path is not skip]
            edges[node] = [edge for path in paths for edge in path]
            found = passed(edges[node], steps)
        if num_uses(node) > 1:  # where paths may part
            found = {**found, node: (0, 0)}
        steps[node] = found


class Edge(NamedTuple):
    """What an operation is given, with the number of weight operations and poolings that it does to it."""

    start: fx.Node
    weight: int
    pooling: int


def join_of(
    node: fx.Node,
    paths: list[list[Edge]],
    steps: Mapping[fx.Node, Steps],
    edges: Mapping[fx.Node, list[Edge]],
    index: Mapping[fx.Node, int],
) -> tuple[Join, list[Edge]] | None:
    """Return the skip-connection of the first two paths of an operation that make one, with the short path."""
    is_concatenation = operation_name(node.target) in CONCATENATIONS
    for pair in itertools.combinations(paths, 2):
        both, around = [passed(path, steps) for path in pair], set[fx.Node]()
        while common := both[0].keys() & both[1].keys():
            start = max(common, key=index.__getitem__)
            # Where the two pass as many from the latest one, one of them may pass fewer from an earlier one.
            unequal = [node for node in common if both[0][node][0] != both[1][node][0]]
            if unequal and not is_concatenation:
                start = max(unequal, key=index.__getitem__)
            short, long = sorted((0, 1), key=lambda number: both[number][start])
            (few, many), (more, _) = both[short][start], both[long][start]
            if more > few and not (is_concatenation and many):
                is_mutual = any(both[long][node][0] == 0 for node in unequal if node is not start)
                found = (pair[short][0].start, pair[long][0].start, start, few, more, is_mutual)
                return Join(node, *found), pair[short]
            if is_concatenation:
                break
            around.add(start)
            both = [passed_around(path, around, edges, index) for path in pair]
    return None


def passed(path: Iterable[Edge], steps: Mapping[fx.Node, Steps]) -> Steps:
    """Return the fewest steps from each ancestor over the edges of a path."""
    return fewest(later(steps[start], weight, pooling) for start, weight, pooling in path)


def passed_around(
    path: Iterable[Edge],
    around: set[fx.Node],
    edges: Mapping[fx.Node, list[Edge]],
    index: Mapping[fx.Node, int],
) -> Steps:
    """Return the fewest steps from each ancestor over the edges of a path, on ways around some ancestors."""
    found: Steps = {}
    waiting: set[fx.Node] = set()

    def go(path: Iterable[Edge], few: int, many: int) -> None:
        for start, weight, pooling in path:
            if start not in around:
                here = {start: (few + weight, many + weight + pooling)}
                found.update(fewest([here, {start: found[start]}] if start in found else [here]))
                waiting.add(start)

    go(path, 0, 0)
    while (
        waiting
    ):  # from output to input, so that what is passed up to a node is known before one goes on from it
        node = max(waiting, key=index.__getitem__)
        waiting.remove(node)
        go(edges[node], *found[node])
    return found


def num_uses(node: fx.Node) -> int:
    """Count how often a node's value is given to an operation, to one of them twice included."""
    return sum(tree_leaves((user.args, user.kwargs)).count(node) for user in node.users)


def later(steps: Steps, weight: int, pooling: int) -> Steps:
    """Return the steps after one more operation."""
    if not (weight or pooling):
        return steps
    return {node: (few + weight, many + weight + pooling) for node, (few, many) in steps.items()}


def fewest(paths: Iterable[Steps]) -> Steps:
    """Return the fewest steps from each ancestor over several paths."""
    found: Steps = {}
    for steps in paths:
        for node, (few, many) in steps.items():
            before = found.get(node, (few, many))
            found[node] = (min(before[0], few), min(before[1], many))
    return found


def operands(target: Any, args: Any, kwargs: Any) -> tuple[list[Any], list[Any]]:
    """Return what an operation works on: its factors, and what it adds to them.

    Args:
        target: the operation.
        args: its positional arguments, tensors or nodes of a graph.
        kwargs: the others.

    Returns:
        Factors and terms; of elementwise operations other than products and quotients all are terms.
    """
    name, schema = operation_name(target), getattr(target, "_schema", None)
    if name.endswith("_as"):  # view_as and the like take only the shape of the second argument
        return list(args[:1]), []
    names = [argument.name for argument in schema.arguments] if schema is not None else []
    named = [*zip(names, args, strict=False), *(("", value) for value in args[len(names) :]), *kwargs.items()]
    factors: list[Any] = []
    terms: list[Any] = []
    for place, (argument, value) in enumerate(named):
        leaves = tree_leaves(value)
        is_state = name.startswith("gru") and argument == "hx"  # a gate of the cell passes it on
        if is_state or (name in SUM_FIRST and place == 0) or argument in ADDED:
            terms += leaves
        elif name.startswith("lstm") and argument == "hx":
            factors += leaves[:1]
            terms += leaves[1:]
        elif is_elementwise(target) and name not in GATES | SUM_FIRST and argument != "weight":
            terms += leaves
        else:
            factors += leaves
    return factors, terms


def applies_weight(node: fx.Node, factors: list[Any], signals: Any) -> bool:
    """Tell whether an operation of a graph mixes the signal with something learned or constant."""
    name = operation_name(node.target)
    if name in SUMS:
        return sums_over_weight(node, signals)
    if not may_apply_weight(node.target):
        return False
    if name.startswith("fft"):  # a fixed matrix
        return any(is_node(factor) and factor in signals for factor in factors)
    nodes = [factor for factor in factors if is_node(factor)]
    is_mixed = any(factor not in signals and is_weight_like(factor) for factor in nodes)
    return is_mixed and any(factor in signals and is_real(factor) for factor in nodes)


def may_apply_weight(target: Any) -> bool:
    """Tell whether a tensor that is not the signal is a weight, where an operation is given one as a factor."""
    name = operation_name(target)
    if is_elementwise(target) or name in CONCATENATIONS or name == "getitem":
        return False
    is_write = "scatter" in name or "copy" in name or name.startswith(("index", "fill", "_unsafe_index"))
    is_choice = name in ("gather", "take", "masked_select", "repeat_interleave", "embedding")
    return not (is_write or is_choice or "norm" in name.removeprefix("linalg_"))


def sums_over_weight(node: fx.Node, signals: Any) -> bool:
    """Tell whether a sum over some dimensions is that of an elementwise product with a weight which varies there."""
    product = node.args[0] if node.args else None
    if not is_node(product) or operation_name(product.target) not in GATES:
        return False
    value = product.meta.get("val")
    factors = [factor for factor in product.args if is_node(factor)]
    if not isinstance(value, torch.Tensor) or not any(factor in signals for factor in factors):
        return False
    dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    over = range(value.dim()) if dims in (None, [], ()) else tree_leaves(dims)
    for factor in factors:
        weight = factor.meta.get("val")
        if factor in signals or not isinstance(weight, torch.Tensor) or not is_weight_like(factor):
            continue
        shape = (1,) * (value.dim() - weight.dim()) + tuple(weight.shape)
        if any(shape[dim] != 1 for dim in over):
            return True
    return False


def pairs_with_weight(node: fx.Node, values: list[Any], signals: Any) -> bool:
    """Tell whether an elementwise operation pairs each number of the signal with several of a weight, to be reduced."""
    nodes = [value for value in values if is_node(value) and isinstance(value.meta.get("val"), torch.Tensor)]
    sizes = {value: tuple(value.meta["val"].shape) for value in nodes}
    num_dims = max(map(len, sizes.values()), default=0)
    padded = {value: (1,) * (num_dims - len(size)) + size for value, size in sizes.items()}
    inside = [size for value, size in padded.items() if value in signals]
    weights = [size for value, size in padded.items() if value not in signals and is_weight_like(value)]
    return bool(inside) and any(
        isinstance(many, int)
        and many > 1
        and all(isinstance(own[dim], int) and own[dim] == 1 for own in inside)
        for size in weights
        for dim, many in enumerate(size)
    )


def is_product(target: Any) -> bool:
    """Tell whether an operation multiplies its factors, so that they join no paths."""
    name = operation_name(target)
    named = name in PRODUCTS or name in GATES or "norm" in name
    return named or "conv" in name or "scaled_dot_product" in name or "attention" in name


def is_elementwise(target: Any) -> bool:
    """Tell whether each number of an operation's result comes from one number of each operand."""
    return operation_name(target) in ELEMENTWISE or torch.Tag.pointwise in getattr(target, "tags", ())


def is_block(node: fx.Node) -> bool:
    """Tell whether a node runs a graph of its own."""
    return isinstance(node.target, torch._ops.HigherOrderOperator)


def is_mutable(node: fx.Node) -> bool:
    """Tell whether a node writes into what it is given."""
    return bool(getattr(getattr(node.target, "_schema", None), "is_mutable", False))


def is_node(value: Any) -> TypeGuard[fx.Node]:
    """Tell whether a value is a node of a graph."""
    return isinstance(value, fx.Node)


def is_weight_like(node: fx.Node) -> bool:
    """Tell whether a node's value may be a weight: real or complex numbers, or something of no known type."""
    value = node.meta.get("val")
    if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool | int | float):
        return False
    return is_real(node)


def carries_signal(node: fx.Node) -> bool:
    """Tell whether a node's value depends on more than the shapes of other values, and may have a gradient."""
    name, value = operation_name(node.target), node.meta.get("val")
    if name.endswith("_like") or name.startswith("new_"):
        return False
    if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool | int | float):
        return False
    # Masks have none, nor have indices, unless they come from the input as tokens do.
    is_mask = isinstance(value, torch.Tensor) and value.dtype is torch.bool
    return is_real(node) or not (is_mask or any(map(is_real, node.all_input_nodes)))


def is_real(node: fx.Node) -> bool:
    """Tell whether a node's value is of real or complex numbers; true of a tuple."""
    value = node.meta.get("val")
    return not isinstance(value, torch.Tensor) or value.is_floating_point() or value.is_complex()


def operation_name(target: Any) -> str:
    """Return an operator's name without library, overload and mark of working in place: "add" for aten.add_.Tensor."""
    schema = getattr(target, "_schema", None)
    name = schema.name.split("::")[-1] if schema is not None else getattr(target, "__name__", "")
    return name if name.endswith("__") else name.rstrip("_")
