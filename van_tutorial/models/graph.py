"""Whether a network still has a skip-connection, read off its exported graph and not off what it says of itself."""

from typing import TYPE_CHECKING

from torch import fx

if TYPE_CHECKING:
    from torch.export import ExportedProgram

# Operations that apply a weight to the signal, by their names in torch's operator library.
WEIGHT_OPERATIONS = frozenset(
    {
        "linear",
        "addmm",
        "mm",
        "bmm",
        "matmul",
        "baddbmm",
        "einsum",
        "conv1d",
        "conv2d",
        "conv3d",
        "convolution",
        "conv_transpose2d",
    }
)
# Operations that join signals: sums, products, mixes and concatenations.
JOINS = frozenset(
    {
        "add",
        "add_",
        "sub",
        "sub_",
        "rsub",
        "div",
        "div_",
        "mul",
        "mul_",
        "addcmul",
        "addcmul_",
        "lerp",
        "lerp_",
        "cat",
        "concat",
        "concatenate",
        "hstack",
        "vstack",
        "dstack",
        "stack",
    }
)


def has_skip(program: "ExportedProgram") -> bool:
    """Tell whether the network of an exported graph has a skip-connection.

    A skip-connection is a pair of paths from one node to another that pass different numbers of weight
    operations and are joined there by a sum, a product, a mix or a concatenation. Weight operations are the
    linear maps and convolutions; normalization and activations are not. So a skip round an activation alone
    is not one, and a skip of weight 0 that the graph still computes is one: collapse the network first.

    Args:
        program: what `torch.export.export(model.eval(), (inputs,))` returns.

    Returns:
        True where there is such a pair.
    """
    inputs = set(program.graph_signature.user_inputs)
    # For each node: from each node before it on a path from the input, the fewest and the most weight
    # operations on the way. All paths agree until the first join at which they do not, so that join is found.
    counts: dict[fx.Node, dict[fx.Node, tuple[int, int]]] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in inputs:
            counts[node] = {node: (0, 0)}
        sources = [source for source in node.all_input_nodes if source in counts]
        if node.op != "call_function" or not sources:
            continue
        merged: dict[fx.Node, tuple[int, int]] = {}
        for source in sources:
            for origin, (fewest, most) in counts[source].items():
                low, high = merged.get(origin, (fewest, most))
                merged[origin] = (min(low, fewest), max(high, most))
        name = operation_name(node)
        if name in JOINS and len(sources) > 1 and any(fewest != most for fewest, most in merged.values()):
            return True
        # A product of two signals (attention) applies no weight: one factor must come from outside the paths.
        weight = int(name in WEIGHT_OPERATIONS and len(sources) < len(node.all_input_nodes))
        counts[node] = {origin: (fewest + weight, most + weight) for origin, (fewest, most) in merged.items()}
        counts[node][node] = (0, 0)
    return False


def operation_name(node: fx.Node) -> str:
    """Return the operator's name without library and overload: "add" for aten.add.Tensor."""
    schema = getattr(node.target, "_schema", None)
    return schema.name.split("::")[-1] if schema is not None else getattr(node.target, "__name__", "")
