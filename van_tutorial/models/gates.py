"""Skip weights for the skip-connections of any network, and the network without them."""

import keyword
import operator
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from van_tutorial._checks import check_choice
from van_tutorial._random import random_state_kept
from van_tutorial.models.lookup import NAME, find_skip_weight
from van_tutorial.models.skips import CONCATENATION, Skip, skips_in
from van_tutorial.models.traced import SHAPE, Leaf, Modes, Traced, check_branch, checked, copied, eval_copy

GATE = "skip_weight_of"  # in the meta data of a node: the name of the skip that it weights
OWN = {"asked", "graphs", "meta", "num_kept", "own", "skips"}  # attributes of every traced network
IN_PLACE = {"iadd", "isub", "imul", "itruediv"}  # operators


def gate_skips(
    network: nn.Module,
    example: Tensor | tuple[Tensor, ...],
    only: Collection[str] | str | None = None,
    leaf_modules: Collection[Leaf] = (),
) -> Traced:
    """Give each skip-connection of any network that `torch.fx` can trace a weight alpha_l.

        y = f(x) + s(x)    becomes    y = f(x) + alpha_l s(x),    alpha_l = 1 at first

    So outputs and gradients are the network's own, to the last bit, in training and in eval mode. `training.train` or
    `training.PhaseOut` then take the weights to 0, and `collapse` takes out what is no longer needed.

    The gated network is a graph of the network's operations, with the network's own submodules in it. Its modes follow
    `train()` and `eval()` as the network's do, and submodules that are frozen stay frozen. Its `state_dict` has the
    network's names, and `skip_weight`. It takes positional inputs, as many as the example has. What Python code does
    beside the operations, as counting calls or storing a result, it does not do again.

    Args:
        network: any module; it is left as it was.
        example: an input that it takes, shape (N, ...), on its device; or a tuple of several.
        only: names of the skips that get a weight, as `find_skips` lists them in its column name; None for all.
        leaf_modules: names or classes of submodules to keep whole, where their forward pass cannot be traced.

    Returns:
        A copy, an `fx.GraphModule` with the parameter `skip_weight`, shape (L,), from input to output. Names of the
        skips are in its `skips`.

    Raises:
        TypeError: for what is no module, and an example that is no tensor.
        ValueError: for a network without skips, or with skips that are concatenations or anything else than a sum
            of two tensors of one shape; for a skip without which no gradient reaches the input; for a network that has
            skip weights of its own; for one whose outputs or hooks a graph of its operations would not keep, or whose
            names it cannot; in inference mode; and for what `find_skips` refuses.

    Example:
        >>> import torchvision
        >>> network = torchvision.models.resnet18(num_classes=10)
        >>> gated = gate_skips(network, torch.zeros(1, 3, 32, 32))
        >>> gated.skip_weight.tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    network, inputs, leaves = checked(network, example, leaf_modules)
    if find_skip_weight(network) is not None:
        raise ValueError("The network has skip weights of its own: train it as it is.")
    if torch.is_inference_mode_enabled():
        raise ValueError("gate_skips makes a network to be trained: call it outside torch.inference_mode().")
    check_names(network)
    given = {name: module.training for name, module in network.named_modules()}
    working = eval_copy(network)
    tracer, skips = skips_in(working, inputs, leaves)
    check_buffers(working)
    traces = [(dict.fromkeys(given, False), tracer, skips)]
    if tracer.asked:  # code branches on the mode: a graph for each
        others = (dict.fromkeys(given, True), given)
        for modes in others:
            traces.append((modes, *skips_in(working, inputs, leaves, modes)))
            check_buffers(working)
    asked = tuple(sorted(set().union(*(tracer.asked for _, tracer, _ in traces))))
    gated = copied(network)
    graphs: dict[Modes, fx.Graph] = {}
    names: list[str] = []
    for modes, tracer, skips in traces:
        chosen = choose(skips, only, type(network).__name__)
        if graphs and [skip.name for skip in chosen] != names:
            raise ValueError(
                f"{type(network).__name__} has other skips in training mode than in eval mode: write it so that both "
                "modes add the same ones."
            )
        names = [skip.name for skip in chosen]
        check_uncut(tracer.graph, chosen)
        add_gates(tracer.graph, chosen)
        graphs[tuple(modes[name] for name in asked)] = tracer.graph
        constants = {str(node.target) for node in tracer.graph.nodes if node.op == "get_attr"} - {"training"}
        gated.__dict__.update({name: vars(working)[name] for name in constants & vars(working).keys()})
    like = next((weight for weight in gated.parameters() if weight.is_floating_point()), inputs[0])
    dtype = torch.promote_types(torch.float32, like.dtype)
    gated.register_parameter(NAME, nn.Parameter(torch.ones(len(names), dtype=dtype, device=like.device)))
    result = Traced(gated, graphs, asked, names, len(skips) - len(names))
    check_hooks(network, targets(result))
    check_same(network, result, inputs)
    return result


def check_names(network: nn.Module) -> None:
    """Raise for a name that the graph of a network uses itself, or that Python does."""
    taken = {NAME, *OWN, *dir(Traced)} - set(dir(nn.Module))
    for name in (*network._modules, *network._parameters, *network._buffers):
        if name in taken:
            raise ValueError(
                f"The name {name!r} in {type(network).__name__} means something else here: rename it."
            )
    for path, _ in (*network.named_modules(), *network.named_parameters(), *network.named_buffers()):
        if any(map(keyword.iskeyword, path.split("."))):
            raise ValueError(
                f"The name {path!r} in {type(network).__name__} holds a word of Python's: rename it."
            )


def check_hooks(network: nn.Module, used: set[str]) -> None:
    """Raise for a hook of the backward pass on a module that is not called any more."""
    for name, module in network.named_modules():
        is_whole = any(name == other or name.startswith(f"{other}.") for other in used)
        if name and not is_whole and (module._backward_hooks or module._backward_pre_hooks):
            raise ValueError(
                f"{name} has a hook of its backward pass, which would be lost: remove it, or keep {name} whole by "
                f"leaf_modules=[{name!r}]."
            )


def check_same(network: nn.Module, gated: Traced, inputs: tuple[Tensor, ...]) -> None:
    """Raise where a gated network does not give the network's outputs, in eval mode or in training mode."""
    for mode in (False, True):
        try:
            expected = outputs(network, inputs, mode)
        except Exception:
            if mode:  # such as batch normalization, which cannot be trained on an example of one image
                continue
            raise
        found = outputs(gated, inputs, mode)
        if len(found) != len(expected) or not all(map(is_close, expected, found)):
            raise ValueError(
                f"{type(network).__name__} does something that its graph does not hold, so that its outputs would be "
                "others. Most often a tensor that has a second name, or a view, is changed in place: write h = h + y "
                "in place of h += y."
            )


def is_close(value: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors are the same up to rounding, which on some devices differs from call to call."""
    if value.shape != other.shape or not (value.is_floating_point() or value.is_complex()):
        return torch.equal(value, other)
    size = value.abs().nan_to_num(0.0, 0.0, 0.0).amax().item() if value.numel() else 0.0
    return torch.allclose(value, other, rtol=1e-3, atol=1e-3 * size, equal_nan=True)


def outputs(network: nn.Module, inputs: tuple[Tensor, ...], mode: bool) -> list[Tensor]:
    """Return the tensors that a copy of a network gives, each time for the same random numbers."""
    with random_state_kept(inputs[0].device), torch.no_grad():
        torch.manual_seed(0)
        found = copied(network).train(mode)(*map(torch.clone, inputs))
    return [value for value in tree_leaves(found) if isinstance(value, Tensor)]


def check_buffers(network: nn.Module) -> None:
    """Raise where a network that was traced has put a new tensor in a buffer's place, which a graph does not hold."""
    for module in network.modules():
        for name, value in module._buffers.items():
            if isinstance(value, fx.Proxy):
                raise ValueError(
                    f"{type(module).__name__} assigns a new tensor to its buffer {name!r} in the forward pass, which "
                    f"would be lost: change it in place, by self.{name}.copy_(...) or self.{name}.add_(...)."
                )


def choose(skips: list[Skip], only: Collection[str] | str | None, network: str) -> list[Skip]:
    """Return the skips that get a weight, or raise where one of them cannot have one."""
    if not skips:
        raise ValueError(f"No skip-connection was found in {network}: there is nothing to take out.")
    names = [skip.name for skip in skips]
    wanted = names if only is None else [only] if isinstance(only, str) else [*only]
    for name in wanted:
        check_choice("only", name, names)
    if not wanted:
        raise ValueError("only must name at least one skip, got none.")
    others = [skip.name for skip in skips if not hindrance(skip)]
    hint = f"only={others[:1]} names a skip that can" if others else "nor can any other of its skips"
    chosen = [skip for skip in skips if skip.name in wanted]
    for skip in chosen:
        if reason := hindrance(skip):
            raise ValueError(f"The skip of {skip.name} in {network} cannot be weighted: {reason}; {hint}.")
    return chosen


def hindrance(skip: Skip) -> str:
    """Return why a skip cannot have a weight; nothing where it can."""
    if skip.kind == CONCATENATION:
        return "it is a concatenation, without which the next layer has no input"
    if skip.join.is_mutual:
        return "each of the two tensors that it adds goes around the other, so that either may be the skip"
    if not skip.operands:
        return f"{skip.node.name} is no addition of two tensors, and would have to be written as one"
    own, whole = (tuple(node.meta["val"].shape) for node in (skip.join.long, skip.join.node))
    if own != whole:
        return f"what it is added to has shape {own} and would have to be expanded to {whole} first"
    return ""


def check_uncut(graph: fx.Graph, skips: list[Skip]) -> None:
    """Raise where the output would no longer depend on the input without some skips."""
    cut: set[tuple[fx.Node, fx.Node]] = set()
    for skip in skips:
        cut.add((skip.node, skip.operands[0]))
        waiting, seen = [next(iter(reversed(graph.nodes)))], set()
        while waiting:
            node = waiting.pop()
            if node not in seen and not is_blind(node):
                seen.add(node)
                waiting += [value for value in node.all_input_nodes if (node, value) not in cut]
        if not any(node.op == "placeholder" for node in seen):
            raise ValueError(
                f"The skip of {skip.name} cannot be taken out: without it no gradient of the output reaches the input."
            )


def is_blind(node: fx.Node) -> bool:
    """Tell whether an operation passes on no gradient: it reads a shape, or detaches a tensor."""
    name = node.args[1] if node.target is getattr else node.target
    return name in SHAPE or name in ("detach", "detach_", "data", torch.detach)


def add_gates(graph: fx.Graph, skips: list[Skip]) -> None:
    """Multiply the skips by their weights, right before they are added, so that gradients add up in the same order."""
    place = {node: number for number, node in enumerate(graph.nodes)}
    with graph.inserting_before(next(node for node in graph.nodes if node.op != "placeholder")):
        weights = graph.call_method("unbind", (graph.create_node("get_attr", NAME),))
    for number, skip in enumerate(skips):
        node, operand = skip.node, skip.operands[0]
        with graph.inserting_before(node):
            alpha = graph.call_function(operator.getitem, (weights, number))
            gate = graph.call_function(operator.mul, (operand, alpha))
        gate.meta[GATE] = skip.name
        is_written_to = writes_to(node, operand, {})
        node.replace_input_with(operand, gate)
        if is_written_to:  # what stood there is now in the sum alone
            for user in [user for user in operand.users if place.get(user, -1) > place[node]]:
                user.replace_input_with(operand, node)


def writes_to(node: fx.Node, operand: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Tell whether an operation works in place on one that it is given."""
    if node.op == "call_module":
        return any(getattr(part, "inplace", False) for part in modules[str(node.target)].modules())
    if operand not in node.args[:1]:
        return False
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    is_marked = (name.endswith("_") and not name.endswith("__")) or name.strip("_") in IN_PLACE
    has_flag = "inplace" in getattr(getattr(node.target, "__code__", None), "co_varnames", ())
    return is_marked or (has_flag and any(value is True for value in [*node.args, *node.kwargs.values()]))


def without_gates(model: Traced) -> Traced:
    """Return a copy of a gated network without its gates, and without what only they needed."""
    plain = copied(model)
    network, modules = plain.own[0], dict(plain.named_modules())
    before = targets(plain)
    for graph in plain.graphs.values():
        for gate in [node for node in graph.nodes if GATE in node.meta]:
            remove_gate(graph, gate, modules)
    network._parameters.pop(NAME, None)
    after = targets(plain)
    used = {id(part) for name in after if name in modules for part in modules[name].modules()}
    for name in sorted(before - after):
        remove(network, name, after, used)
    network.training = model.training
    return Traced(network, plain.graphs, plain.asked, num_kept=plain.num_kept)


def remove_gate(graph: fx.Graph, gate: fx.Node, modules: Mapping[str, nn.Module]) -> None:
    """Let what a skip is added to stand for the sum, and take out what only the skip needed."""
    node = next(iter(gate.users))
    (rest,) = (value for value in node.all_input_nodes if value is not gate)
    is_first = gate in (node.args[:1] or (node.kwargs.get("input"),))
    with graph.inserting_before(node):
        result = rest
        if is_first and node.kwargs.get("alpha", 1) != 1:  # of torch.add
            result = graph.call_function(operator.mul, (rest, node.kwargs["alpha"]))
        elif not writes_to(node, rest, modules) and any(
            writes_to(user, node, modules) for user in node.users
        ):
            result = graph.call_method("clone", (rest,))  # so that `rest` is left alone
    node.replace_all_uses_with(result)
    graph.erase_node(node)
    waiting, erased = [gate], {node}
    while waiting:
        node = waiting.pop()
        # What works in place on something that others use does more than make the skip.
        values = node.all_input_nodes
        is_kept = any(len(value.users) > 1 and writes_to(node, value, modules) for value in values)
        if node in erased or node.op == "placeholder" or is_kept or not all(map(only_checks, node.users)):
            continue
        if node.users:
            waiting += [node, *node.users]
            continue
        graph.erase_node(node)
        erased.add(node)
        waiting += values


def only_checks(node: fx.Node) -> bool:
    """Tell whether an operation does nothing but check the shape of another one's result."""
    waiting, seen = [node], set()
    while waiting:  # a network may be deeper than Python's calls
        node = waiting.pop()
        if node in seen or node.target in (check_branch, torch._assert):
            continue
        if not node.users:
            return False
        seen.add(node)
        waiting += node.users
    return True


def targets(traced: Traced) -> set[str]:
    """Return the names of the modules, parameters and buffers that the graphs of a network use."""
    nodes = [node for graph in traced.graphs.values() for node in graph.nodes]
    found = {str(node.target) for node in nodes if node.op in ("call_module", "get_attr")}
    return {name for name in found if name.split(".")[-1] != "training"}


def remove(network: nn.Module, name: str, kept: set[str], used: set[int]) -> None:
    """Take a module or parameter that nothing uses out of a network, and the modules round it that are empty then."""
    while name:
        parent_name, _, last = name.rpartition(".")
        parent = network.get_submodule(parent_name)
        part = getattr(parent, last, None)
        parts = part.modules() if isinstance(part, nn.Module) else ()
        is_used = any(other == name or other.startswith(f"{name}.") for other in kept)
        if part is None or is_used or any(id(each) in used for each in parts):
            return
        delattr(parent, last)
        is_empty = not (parent._modules or parent._parameters or parent._buffers)
        name = parent_name if is_empty else ""
