"""A network's modules with a leading dimension: what K networks of one shape do, in one call each.

Activations have shape (K, N, n): network, example, unit. Every product and every normalization is the one that the
single network does, on its own slice and in the same order, so that the results can agree to the last bit.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrize import is_parametrized

from van_tutorial.connections import LearnedResidual
from van_tutorial.ensemble.memory import Memory
from van_tutorial.models.mlp import MLP
from van_tutorial.models.parts import Center, CReLU
from van_tutorial.models.stack import Stack


class StackedLinear(nn.Module):
    """K linear maps: y_k = x_k W_k^T + b_k, x of shape (K, N, inputs)."""

    def __init__(self, layers: Sequence[nn.Linear], memory: Memory) -> None:
        super().__init__()
        self.layers = tuple(layers)  # not submodules: what is trained lies in the memory that all share
        self.weight: Tensor | None = None
        if not is_parametrized(layers[0]):
            self.weight = memory.stacked([layer.weight for layer in layers])
        self.bias: Tensor | None = None
        if layers[0].bias is not None:
            self.bias = memory.stacked([layer.bias for layer in layers])

    def forward(self, x: Tensor) -> Tensor:
        """Return shape (K, N, outputs)."""
        weight = self.weight
        if weight is None:
            weight = torch.stack([layer.weight for layer in self.layers])
        if self.bias is None:
            return torch.bmm(x, weight.mT)
        return torch.baddbmm(self.bias.unsqueeze(1), x, weight.mT)


class StackedBatchNorm(nn.Module):
    """K batch normalizations as one of K n features, each with the statistics of its own network's batch."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, layers: Sequence[nn.BatchNorm1d], memory: Memory) -> None:
        super().__init__()
        self.momentum, self.eps = layers[0].momentum, layers[0].eps
        self.weight = memory.stacked([layer.weight for layer in layers])
        self.bias = memory.stacked([layer.bias for layer in layers])
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, memory.stacked_buffers(layers, name))

    def forward(self, x: Tensor) -> Tensor:
        """Return shape (K, N, n)."""
        if self.training:
            self.num_batches_tracked.add_(1)
        y = functional.batch_norm(
            side_by_side(x),
            self.running_mean.view(-1),
            self.running_var.view(-1),
            self.weight.flatten(),
            self.bias.flatten(),
            self.training,
            cast(float, self.momentum),
            self.eps,
        )
        return apart(y, len(x))


class StackedCenter(nn.Module):
    """K `Center`s as one of K n features."""

    def __init__(self, layers: Sequence[Center], memory: Memory) -> None:
        super().__init__()
        self.center = Center(0, layers[0].momentum)
        self.center.running_mean = memory.stacked_buffers(layers, "running_mean").view(-1)

    def forward(self, x: Tensor) -> Tensor:
        """Return shape (K, N, n)."""
        return apart(self.center(side_by_side(x)), len(x))


class StackedCReLU(nn.Module):
    """(relu(z), relu(-z)) along the units, which come last here."""

    def __init__(self, layers: Sequence[CReLU], memory: Memory) -> None:
        super().__init__()

    def forward(self, z: Tensor) -> Tensor:
        """Return shape (K, N, 2 n)."""
        return torch.cat((torch.relu(z), torch.relu(-z)), dim=-1)


class OneByOne(nn.Module):
    """K modules in a row, each on its own slice."""

    def __init__(self, layers: Sequence[nn.Module], memory: Memory) -> None:
        super().__init__()
        self.layers = tuple(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return shape (K, N, n)."""
        return torch.stack([layer(each) for layer, each in zip(self.layers, x.unbind(), strict=True)])


class StackedLearnedResidual(LearnedResidual):
    """K residual connections with learned scales."""

    def __init__(self, layers: Sequence[LearnedResidual], memory: Memory) -> None:
        super().__init__()
        del self.scale
        self.scales = tuple(layer.scale for layer in layers)

    @property
    def scale(self) -> Tensor:  # type: ignore[override]  # a parameter there, put together here
        """The scales, shape (K, 1, 1)."""
        return torch.stack(self.scales).view(-1, 1, 1)


STACKED: dict[type[nn.Module], Callable[[Any, Memory], nn.Module]] = {
    nn.Linear: StackedLinear,
    nn.BatchNorm1d: StackedBatchNorm,
    nn.LayerNorm: OneByOne,
    Center: StackedCenter,
    CReLU: StackedCReLU,
    LearnedResidual: StackedLearnedResidual,
}


def stack(modules: Sequence[nn.Module], memory: Memory) -> nn.Module:
    """Return one module that does what the K do; they must be of one shape.

    A module that is not in the table and has neither parameters nor buffers of its own is taken as it is: the
    connections and the activations work along any leading dimensions.
    """
    for kind, maker in STACKED.items():
        if isinstance(modules[0], kind):
            return maker(modules, memory)
    whole = copy.copy(modules[0])
    whole._modules = {  # a shallow copy shares this dictionary with its original
        name: stack([module.get_submodule(name) for module in modules], memory) for name in whole._modules
    }
    return whole


class StackedMLP(Stack):
    """K networks of one shape as one.

    Args:
        models: the networks; what they are made of is shared with them by way of `memory`.
        memory: where their parameters and buffers lie.
    """

    def __init__(self, models: Sequence[MLP], memory: Memory) -> None:
        super().__init__()
        self.config = models[0].config
        self.models = tuple(models)  # not submodules, as above
        self.input_layer = stack([model.input_layer for model in models], memory)
        self.layers = nn.ModuleList(
            stack(layers, memory) for layers in zip(*(model.layers for model in models), strict=True)
        )

    @property
    def skip_weight(self) -> Tensor:  # type: ignore[override]  # a parameter there, put together here
        """The skip weights, shape (L, K, 1, 1): a number for each network in each layer."""
        return torch.stack([model.skip_weight for model in self.models], dim=1)[..., None, None]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return each network's logits, (N, num_classes), for images (K, N, ...)."""
        x = self.run_layers(self.input_layer(images.flatten(2)))
        return [
            model.head(model.head_activation(each))
            for model, each in zip(self.models, x.unbind(), strict=True)
        ]


class Exchange(torch.autograd.Function):
    """Exchange the first two dimensions in memory, and those of the gradient on its way back.

    A gradient that was only looked at in another order would be summed in another order.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return shape (N, K, n) for (K, N, n), or the other way round."""
        return x.transpose(0, 1).contiguous()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Return the gradient in the shape of the input."""
        return grad.transpose(0, 1).contiguous()


def side_by_side(x: Tensor) -> Tensor:
    """Return (N, K n) for (K, N, n): the units of all networks in a row."""
    return Exchange.apply(x).flatten(1)


def apart(x: Tensor, num_networks: int) -> Tensor:
    """Return (K, N, n) for (N, K n)."""
    return Exchange.apply(x.unflatten(1, (num_networks, -1)))
