"""From a trained network to the plain network that it has become: without skips, parametrizations, spare layers."""

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from van_tutorial import connections
from van_tutorial.models.convnet import Block, ConvNet
from van_tutorial.models.gates import without_gates
from van_tutorial.models.lookup import skip_weights, unwrapped
from van_tutorial.models.mlp import MLP, Layer
from van_tutorial.models.parametrizations import Branches, fold_parametrizations
from van_tutorial.models.stack import Stack
from van_tutorial.models.traced import Traced, copied


def num_skips(model: nn.Module) -> int:
    """Count the skip-connections that a network of this package, or one that `gate_skips` made, still has.

    Args:
        model: a network that is one stack, as `mlp` and `convnet` make it, or what `gate_skips` and `collapse` made of
            any other; it may be wrapped (`unwrapped`).

    Returns:
        The number of skip weights that are not 0; every skip that `gate_skips` was not to weight (`only`); every layer
        with a connection where the skips are not weighted (residual, rezero, highway); and every convolution with the
        input as its third branch (repvgg).

    Raises:
        ValueError: for any other network.
    """
    if isinstance(network := unwrapped(model), Traced):
        return int(torch.count_nonzero(skip_weights(network))) + network.num_kept
    model = own_stack(
        model, "counted", hint="has_skip(torch.export.export(model, (inputs,))) takes any network"
    )
    branched = sum(
        isinstance(module, Branches) and module.identity_norm is not None for module in model.modules()
    )
    kept = sum(connection.has_skip and not connection.is_weighted for connection in model.connections)
    return int(torch.count_nonzero(skip_weights(model))) + kept + branched


def collapse(model: nn.Module, fold_normalization: bool = False) -> Any:
    """Return the plain network that a trained network has become: a copy without skips.

    A VAN with every skip weight at 0 loses its connections. Weights that were parametrized ("dirac") become ordinary
    ones, and three branches ("repvgg") with the normalizations in them one convolution with biases. What is left has
    the same statistics, device and mode, and gives the same answers, to the last bit, where only connections go or
    Dirac weights are folded. Where branches or normalizations are, it is in eval mode, and gives the same answers as
    the model in eval mode up to rounding. The model itself is left alone.

    Of a network that `gate_skips` made, the shortcuts go too, with the modules and parameters that only they used. The
    order in which its tensors lie in memory may change then, and with it the rounding.

    Args:
        model: a network of this package with connection "van" or "plain", or what `gate_skips` made of any other; it
            may be wrapped (`unwrapped`).
        fold_normalization: whether to work batch normalization into the weights before it as well, as
            `fold_batch_norm` does.

    Returns:
        The plain network. The config of a network of this package names connection "plain" and parametrization "none".

    Raises:
        ValueError: while any skip weight is not 0, for connections that are kept (residual, rezero, highway), for
            a network that is not one stack (`msnet`), and for one that `copy_of` refuses.

    Example:
        >>> from van_tutorial import models
        >>> model = models.mlp(depth=3, width=4, connection="van", skip_weight=0.0, seed=0)
        >>> models.collapse(model).config.connection
        'plain'
    """
    if isinstance(network := unwrapped(model), Traced):
        if fold_normalization:
            raise ValueError(
                "fold_normalization is for networks of this package: collapse a gated network without it."
            )
        check_removed(skip_weights(network), network.skips)
        return without_gates(network)
    stack = own_stack(model, "collapsed")
    check_can_collapse(stack, skip_weights(stack))
    plain = copy_of(stack)
    without_skips(plain)
    has_branches = plain.config.parametrization == "repvgg"
    plain.config = dataclasses.replace(plain.config, connection="plain", parametrization="none")
    # The normalizations in the branches are folded: so is then the one left, of the first convolution.
    return fold_batch_norm(plain) if fold_normalization or has_branches else plain


def check_can_collapse(model: Stack, alphas: Tensor, target: str = "0") -> None:
    """Raise unless the network is plain or a VAN, and none of `alphas` is other than 0."""
    kind = model.config.connection_class
    if kind.has_skip and not kind.is_weighted:
        raise ValueError(
            f"connection {model.config.connection!r} keeps its skips: only skips with a skip weight can be removed."
        )
    check_removed(
        alphas,
        [f"layer {number}" for number, each in enumerate(model.connections, 1) if each.is_weighted],
        target,
    )


def check_removed(alphas: Tensor, names: Sequence[str], target: str = "0") -> None:
    """Raise unless none of the skip weights `alphas`, whose places have names, is other than 0."""
    if (left := int(torch.count_nonzero(alphas))) > 0:
        largest = int(alphas.abs().argmax())  # NaN, where there is one
        raise ValueError(
            f"{left} of {len(alphas)} skip weights are not {target} (the largest, of {names[largest]}, is "
            f"{alphas[largest].item():.3g}): train until they are, or set remove_by in TrainConfig."
        )


def own_stack(model: nn.Module, done: str, hint: str = "") -> Stack:
    """Return the stack of layers that a network is, without the wrappers around it, or raise where it is none."""
    stack = unwrapped(model)
    if not isinstance(stack, Stack):
        inside = [
            f"{name} ({type(module).__name__})"
            for name, module in model.named_modules()
            if isinstance(module, Stack)
        ]
        hint = f"it holds {', '.join(inside)}: give that" if inside else hint or "give one of those"
        raise ValueError(
            f"only networks that are one stack, as `mlp` and `convnet` make them, can be {done}, got "
            f"{type(stack).__name__}: {hint}."
        )
    return stack


def copy_of(model: Stack) -> Stack:
    """Return a deep copy of a network in which parametrized weights have become ordinary ones.

    Raises:
        ValueError: where `torch.nn.utils.prune` or a hook computes a weight, and for a network that refuses a copy.
    """
    for name, module in model.named_modules():
        for key in ("weight", "bias"):
            if isinstance(vars(module).get(key), Tensor):
                raise ValueError(
                    f"{name}.{key} is computed by a hook, as torch.nn.utils.prune, weight_norm and spectral_norm have "
                    "it: make it permanent first, by prune.remove, remove_weight_norm or remove_spectral_norm."
                )
    folded = cast(Stack, copied(model))
    fold_parametrizations(folded)
    return folded


def without_skips(model: Stack) -> None:
    """Take the connections out of a network, in place, and its skip weights with them."""
    if hasattr(model, "skip_weight"):
        del model.skip_weight
    for layer in model.layers:
        layer.add_module("connection", connections.Plain().train(layer.training))


def fold_batch_norm(model: nn.Module) -> Any:
    """Return a copy of a network whose batch normalizations are folded into the weights before them.

    In eval mode batch normalization is gamma (z - mu) / sigma + beta with constants, and z = W x + b. So it is a linear
    map with weight gamma / sigma W and bias beta + (b - mu) gamma / sigma.

    Args:
        model: a network of this package with normalization "batch" or "none"; in order "pre" only a plain
            convolutional one that makes images smaller by strides, since elsewhere a normalization follows a sum or a
            maximum. It may be wrapped (`unwrapped`).

    Returns:
        The copy, in eval mode, with the same answers up to rounding; its config names normalization "none".

    Raises:
        ValueError: where there is a normalization that cannot be folded, where the network is not one stack (`msnet`),
            and for one that `copy_of` refuses.

    Example:
        >>> from van_tutorial import models
        >>> fold_batch_norm(models.mlp(depth=3, width=4, connection="plain", seed=0)).config.normalization
        'none'
    """
    stack = own_stack(model, "folded")
    config = stack.config
    if config.normalization not in ("batch", "none"):
        raise ValueError(
            f"normalization {config.normalization!r} cannot be folded into the weights: only 'batch' can."
        )
    if config.order == "pre" and not (
        isinstance(stack, ConvNet) and config.connection == "plain" and config.downsampling == "stride"
    ):
        raise ValueError(
            "in order 'pre' batch normalization can be folded only where it follows a weight directly: in plain "
            "convolutional networks with downsampling 'stride'."
        )
    if config.parametrization != "none":
        raise ValueError(
            f"parametrization {config.parametrization!r} must be folded first: use collapse(model, "
            "fold_normalization=True)."
        )
    folded = copy_of(stack).eval()
    if config.normalization == "batch":
        for (weight_owner, weight_name), (norm_owner, norm_name) in weights_and_norms(folded):
            weight, norm = getattr(weight_owner, weight_name), getattr(norm_owner, norm_name)
            if isinstance(norm, nn.Identity):  # of a block whose branches were folded
                continue
            is_whole = isinstance(norm, _BatchNorm) and norm.affine and norm.running_mean is not None
            if not is_whole or not isinstance(weight, nn.Conv2d | nn.Linear):
                raise ValueError(
                    "only batch normalization with a scale, a shift and running statistics, after a linear map or a "
                    f"convolution, can be folded, got {norm} after {weight}."
                )
            fused: nn.Conv2d | nn.Linear = (
                fuse_conv_bn_eval(weight, norm)
                if isinstance(weight, nn.Conv2d)
                else fuse_linear_bn_eval(weight, norm)
            )
            cast(Tensor, fused.bias).requires_grad_(fused.weight.requires_grad)  # torch adds one without
            setattr(weight_owner, weight_name, fused)
            setattr(norm_owner, norm_name, nn.Identity().eval())
    folded.config = dataclasses.replace(config, normalization="none")
    return folded


Place = tuple[nn.Module, str]  # a module, and the name of one of its children


def weights_and_norms(model: Stack) -> Iterator[tuple[Place, Place]]:
    """Yield where each normalization stands, after where the linear map or convolution before it stands."""
    if isinstance(model, MLP):
        for layer in model.layers:
            yield (layer, "linear"), (layer, "norm")
        return
    weights: list[Place] = [(model, "stem")]
    norms: list[Place] = []
    for block in cast("list[Block]", list(model.layers)):
        for index in map(str, range(len(block.convolutions))):
            weights.append((block.convolutions, index))
            norms.append((block.norms, index))
    # The one outside the blocks follows the first convolution in order "post", and the last one in order "pre".
    norms.insert(len(norms) if model.config.order == "pre" else 0, (model, "norm"))
    yield from zip(weights, norms, strict=True)


def merge(model: nn.Module) -> MLP | nn.Sequential:
    """Return the shallower network that is left when some activations have become the identity.

    Where the skip weight of a network with skip "activation" is 1, alpha z + (1 - alpha) act(z) is z: the layer is
    affine, and goes into the weights of the next one, or of the head. Where it is 0, and where there is none, the layer
    keeps its activation. So VanillaNet halves its layers, and Layer Folding drops those whose activation it could
    spare.

    Args:
        model: a fully connected network with connection "van", skip "activation", order "post", and every skip
            weight 0 or 1; normalization "none" or "batch". It may be wrapped (`unwrapped`).

    Returns:
        A plain network in eval mode, of as many layers as have kept their activation, with the same outputs in eval
        mode up to rounding. Where no activation is left, it is one linear layer, behind `nn.Flatten`.

    Raises:
        ValueError: for another network, a skip weight between 0 and 1, and for a network that `copy_of` refuses.

    Example:
        >>> from van_tutorial import models
        >>> model = models.mlp(depth=6, width=4, skip="activation", skip_weight=1.0, skip_every=2, seed=0)
        >>> models.merge(model).config.depth
        3

    Source:
        Chen, Wang, Guo and Tao 2023, VanillaNet: the power of minimalism in deep learning; Dror,
        Zehngut, Raviv et al. 2021, Layer folding: neural network depth reduction using activation linearization.
    """
    stack = unwrapped(model)
    if (
        not isinstance(stack, MLP)
        or not stack.config.connection_class.is_inside
        or stack.config.order != "post"
        or stack.config.normalization not in ("none", "batch")
    ):
        raise ValueError(
            "only fully connected networks with connection 'van', skip 'activation', order 'post' and normalization "
            "'none' or 'batch' can be merged."
        )
    alphas = skip_weights(stack)
    check_can_collapse(stack, alphas.where(alphas != 1.0, 0.0), target="0 or 1")
    weights = iter(alphas.tolist())
    is_affine = [each.is_weighted and next(weights) == 1.0 for each in stack.connections]
    merged = cast(MLP, copy_of(stack)).eval()
    without_skips(merged)
    before: nn.Linear | None = None
    kept = []
    for layer, affine in zip(cast("list[Layer]", list(merged.layers)), is_affine, strict=True):
        layer.linear = compose(before, layer.linear)
        if affine:
            norm = layer.norm
            before = (
                fuse_linear_bn_eval(layer.linear, norm) if isinstance(norm, nn.BatchNorm1d) else layer.linear
            )
        else:
            before = None
            kept.append(layer)
    merged.layers = nn.ModuleList(kept)
    merged.head = compose(before, merged.head)
    if not kept:
        return nn.Sequential(nn.Flatten(), compose(merged.input_layer, merged.head)).eval()
    merged.config = dataclasses.replace(
        stack.config, depth=len(kept), connection="plain", parametrization="none", skip_every=1
    )
    return merged


@torch.no_grad()
def compose(first: nn.Linear | None, second: nn.Linear) -> nn.Linear:
    """Return the linear layer that does `first` and then `second`: W2 (W1 x + b1) + b2; `second` without a first."""
    if first is None:
        return second
    both = copy.deepcopy(second)
    both.in_features = first.in_features
    both.weight = nn.Parameter(second.weight @ first.weight)
    both.bias = nn.Parameter(torch.addmv(second.bias, second.weight, first.bias))
    return both.requires_grad_(first.weight.requires_grad or second.weight.requires_grad)
