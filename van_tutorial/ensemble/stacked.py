"""A network's modules with a leading dimension: what K networks of one shape do, in one call each.

The units or channels of the K networks stand side by side in dimension 1. In a fully connected stack activations have
shape (1, K n, N), with the examples last; in a convolutional one (N, K C, H, W), channels last in memory. Parameters
and buffers stand side by side in their first dimension. So most modules work as they are, a convolution with K groups.
Every function here stands in for the `forward` of one that does not. What it makes of one network's numbers does not
depend on how many networks there are.
"""

import math
from collections.abc import Callable
from types import MethodType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrize import ParametrizationList, type_before_parametrizations

from van_tutorial.connections import (
    Activation,
    ActivationSkip,
    AdditiveSkip,
    ConvexSkip,
    Highway,
    LearnedResidual,
    Plain,
    Residual,
    Subsample,
    Transform,
)
from van_tutorial.ensemble.memory import LANES, Memory
from van_tutorial.models import MLP, ConvNet
from van_tutorial.models.parametrizations import Dirac
from van_tutorial.models.parts import Center, CReLU


def linear(layer: Any, x: Tensor) -> Tensor:
    """Return y_k = W_k x_k + b_k, shape (1, K outputs, N).

    x has shape (1, K inputs, N); or (K, inputs, N), as images come; or (N, K inputs), as convolutions end.
    """
    weight = layer.weight.unflatten(0, (layer.num_networks, -1))
    x = x.mT.unsqueeze(0) if x.dim() == 2 else x
    own = x.reshape(len(weight), -1, x.shape[2])
    if layer.bias is None:
        return torch.bmm(weight, own).flatten(0, 1).unsqueeze(0)
    return torch.baddbmm(layer.bias.view(len(weight), -1, 1), weight, own).flatten(0, 1).unsqueeze(0)


def batch_norm(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """Return what the module does; in training by a group normalization of single units, which is the faster call."""
    if not norm.training:
        return nn.BatchNorm1d.forward(norm, x)
    num_units, num_examples = x.shape[1:]
    y, mean, inverse_std = torch.native_group_norm(
        x, norm.weight, norm.bias, 1, num_units, num_examples, num_units, norm.eps
    )
    with torch.no_grad():
        variance = (inverse_std[0] ** -2 - norm.eps) * (num_examples / (num_examples - 1))
        momentum = cast(float, norm.momentum)
        cast(Tensor, norm.running_mean).lerp_(mean[0], momentum)
        cast(Tensor, norm.running_var).lerp_(variance, momentum)
        cast(Tensor, norm.num_batches_tracked).add_(1)
    return y


def layer_norm(norm: Any, x: Tensor) -> Tensor:
    """Return K layer normalizations."""
    own = x.view(norm.num_networks, -1, x.shape[2])
    y = functional.layer_norm(own.mT, norm.normalized_shape, eps=norm.eps).mT.contiguous().view(x.shape)
    return torch.addcmul(norm.bias.unsqueeze(1), y, norm.weight.unsqueeze(1))


def crelu(activation: Any, z: Tensor) -> Tensor:
    """Return (relu(z), relu(-z)), joined for each network."""
    own = z.unflatten(1, (activation.num_networks, -1))
    return torch.cat((torch.relu(own), torch.relu(-own)), dim=2).flatten(1, 2)


def subsample(shortcut: Any, x: Tensor) -> Tensor:
    """Return every so many rows and columns, with new channels of zeros for each network."""
    own = x[:, :, :: shortcut.stride, :: shortcut.stride].unflatten(1, (shortcut.num_networks, -1))
    return functional.pad(own, (0, 0, 0, 0, 0, shortcut.num_new)).flatten(1, 2)


def learned_residual(
    connection: LearnedResidual, x: Tensor, transform: Transform, activation: Activation, skip_weight: None
) -> Tensor:
    """Return x + s f(x)."""
    output = transform(x, activation)
    scales = for_features(connection.scale, output.shape[1], output.dim())
    return torch.addcmul(connection.shortcut(x), output, scales)


def for_features(values: Tensor, num_features: int, num_dims: int) -> Tensor:
    """Return a number for each network, (K,), as one for each of all their features, to fit activations."""
    return values.unsqueeze(1).expand(-1, num_features // len(values)).reshape(-1, *(1,) * (num_dims - 2))


STACKED: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Linear: linear,
    nn.BatchNorm1d: batch_norm,
    nn.LayerNorm: layer_norm,
    CReLU: crelu,
    Subsample: subsample,
    LearnedResidual: learned_residual,
}
# Those that work as they are, and what number of theirs is K times as large: modules with parameters or buffers, and
# connections, which must act on every unit or channel by itself.
AS_THEY_ARE: dict[type[nn.Module], str] = {
    nn.Conv2d: "groups", nn.GroupNorm: "num_groups", nn.BatchNorm2d: "", Center: "", Dirac: "", ParametrizationList: "",
    Plain: "", Residual: "", Highway: "", ConvexSkip: "", AdditiveSkip: "", ActivationSkip: "",
}  # fmt: skip


def num_slots(network: MLP | ConvNet, num_networks: int) -> int:
    """Return how many networks there must be space for, so that every number of each is in a full vector.

    What is left over at the end of a tensor is rounded in another way: there lies a network more. The channels of
    several networks share a vector for every pixel.
    """
    unit = LANES // math.gcd(LANES, network.config.width)
    if isinstance(network, ConvNet):
        return math.ceil(num_networks / unit) * unit
    return num_networks + (unit > 1)


class StackedNetwork(nn.Module):
    """K networks of one shape as one.

    Args:
        network: one more of the same shape; its modules are made to do what those of the K do.
        memory: of the K networks.
    """

    def __init__(self, network: MLP | ConvNet, memory: Memory) -> None:
        super().__init__()
        self.network, self.num_networks, self.num_slots = network, len(memory.models), memory.num_slots
        for path, module in network.named_modules():
            if path:
                self._stack(path, module, memory)

    def _stack(self, path: str, module: Any, memory: Memory) -> None:
        """Give a module the parameters and buffers of the K networks' modules, and what it then has to do."""
        kind = type_before_parametrizations(module)
        module.num_networks = self.num_slots
        for name in [name for name, value in module._parameters.items() if value is not None]:
            delattr(module, name)
            setattr(module, name, memory.leaves[f"{path}.{name}"])
        for name in module._buffers:
            setattr(module, name, memory.stacked_buffers(path, name))
        if kind in STACKED:
            module.forward = MethodType(STACKED[kind], module)
        if number := AS_THEY_ARE.get(kind):
            setattr(module, number, getattr(module, number) * self.num_slots)

    def forward(self, images: Tensor, skip_weights: Tensor | None) -> Tensor:
        """Return the networks' logits, (K, num_classes, N), for images (num_slots, N, ...) and skip weights (K, L)."""
        network = self.network
        if isinstance(network, MLP):
            x, stages = images.flatten(2).mT, network.config.depth
        else:
            x = images.transpose(0, 1).flatten(1, 2).contiguous(memory_format=torch.channels_last)
            stages = network.config.blocks_per_stage
        alphas = (
            ()
            if skip_weights is None
            else functional.pad(skip_weights, (0, 0, 0, len(images) - self.num_networks)).unbind(1)
        )
        width = len(images) * network.config.width
        weights = [
            for_features(alpha, width * 2 ** (index // stages), x.dim()) for index, alpha in enumerate(alphas)
        ]
        return network.run(x, weights).view(len(images), -1, images.shape[1])[: self.num_networks]
