"""Whether a network still has a skip-connection, read off its exported graph and not off what it says of itself."""

from typing import TYPE_CHECKING, Any

import torch
from torch import fx
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from torch.export import ExportedProgram

# Operations that apply a weight to the signal, by their names in torch's operator library.
WEIGHT_OPERATIONS = frozenset(
    {
        "linear",
        "addmm",
        "addmv",
        "mm",
        "mv",
        "bmm",
        "matmul",
        "baddbmm",
        "einsum",
        "bilinear",
        "conv1d",
        "conv2d",
        "conv3d",
        "convolution",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "lstm",
        "gru",
        "rnn_tanh",
        "rnn_relu",
        "mkldnn_rnn_layer",
        "_cudnn_rnn",
    }
)
# Those of them whose first argument is added to the product; in the others the two factors come first.
SUM_FIRST = frozenset({"addmm", "addmv", "baddbmm"})


def has_skip(program: "ExportedProgram") -> bool:
    """Tell whether the network of an exported graph has a skip-connection.

    A skip-connection is a pair of paths from one node to another that pass different numbers of weight
    operations and are joined there, be it by a sum, a product, a mix, a maximum or a concatenation. Weight
    operations are the linear maps and convolutions; normalization and activations are not. So a skip round an
    activation alone is not one, parallel branches of unequal depth are one, and so is a skip of weight 0 that
    the graph still computes: collapse the network first.

    Paths that carry no gradient (masks, shapes) do not count. The two sides of `torch.cond` and the like are
    not looked into.

    Args:
        program: what `torch.export.export(model.eval(), (inputs,))` returns.

    Returns:
        True where there is such a pair.
    """
    if joins_unequal_paths(program):
        return True
    # What is written into a part of a tensor, or computed inside a block such as torch.no_grad, shows only in
    # the graph without such parts and blocks, which takes about as long to make as the export itself.
    is_hidden = any(
        isinstance(node.target, torch._ops.HigherOrderOperator)
        or getattr(getattr(node.target, "_schema", None), "is_mutable", False)
        for node in program.graph.nodes
    )
    return is_hidden and joins_unequal_paths(program.run_decompositions({}))


def joins_unequal_paths(program: "ExportedProgram") -> bool:
    """Tell whether two paths from an input to one node pass different numbers of weight operations."""
    # So is a pair from any other node found: where all paths from the input to a node agree, all parts of them do.
    inputs = set(program.graph_signature.user_inputs)
    depths: dict[fx.Node, dict[fx.Node, int]] = {}  # weight operations on the way from each input
    for node in program.graph.nodes:
        if not carries_signal(node):
            continue
        if node.op == "placeholder" and node.name in inputs:
            depths[node] = {node: 0}
        elif node.op == "call_function":
            factors, others = operands(operation_name(node.target), node.args, node.kwargs)
            # A product of two signals (attention) applies no weight: one factor must come from outside the paths.
            weight = int(any(isinstance(factor, fx.Node) and factor not in depths for factor in factors))
            steps = [(factor, weight) for factor in factors] + [(other, 0) for other in others]
            paths = {
                (start, depth + step)
                for source, step in steps
                if isinstance(source, fx.Node)
                for start, depth in depths.get(source, {}).items()
            }
            if len(paths) > len(dict(paths)):
                return True
            if paths:
                depths[node] = dict(paths)
    return False


def operands(name: str, args: Any, kwargs: Any) -> tuple[list[Any], list[Any]]:
    """Return the two factors of a weight operation, and all else that an operation works on."""
    if name.endswith("_as"):  # view_as and the like: of the second argument they take the shape alone
        return [], [args[0]]
    start = int(name in SUM_FIRST)
    end = start + 2 if name in WEIGHT_OPERATIONS else start
    return tree_leaves(args[start:end]), tree_leaves((args[:start], args[end:], kwargs))


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
    """Return an operator's name without library and overload: "add" for aten.add.Tensor."""
    schema = getattr(target, "_schema", None)
    return schema.name.split("::")[-1] if schema is not None else getattr(target, "__name__", "")
