"""A network's modules with a leading dimension: what K networks of one shape do, in one call each.

Activations have shape (K, N, n): network, example, unit. Every function here stands in for the `forward` of a module
whose parameters and buffers have that leading dimension. On one thread each gives a network, to the last bit, what the
module gives it alone: every sum is over the same numbers in the same order, and what a processor treats in another way
at the end of a row, it treats so for each network.
"""

from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrize import ParametrizationList, type_before_parametrizations

from van_tutorial.connections import Activation, LearnedResidual, Transform
from van_tutorial.ensemble.memory import LANES, Memory
from van_tutorial.models.mlp import MLP
from van_tutorial.models.parametrizations import Dirac
from van_tutorial.models.parts import Center, CReLU
from van_tutorial.models.stack import Stack


def one_by_one(function: Callable[..., Tensor], *stacked: Tensor) -> Tensor:
    """Return what a function gives for each network's own part of tensors (K, ...), shape (K, ...)."""
    return torch.stack([function(*own) for own in zip(*(tensor.unbind() for tensor in stacked), strict=True)])


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """Return y_k = x_k W_k^T + b_k, shape (K, N, outputs)."""
    bias = cast("Tensor | None", layer.bias)
    if bias is None:
        return torch.bmm(x, layer.weight.mT)
    return torch.baddbmm(bias.unsqueeze(1), x, layer.weight.mT)


def batch_norm(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """Return K batch normalizations as one of K n features, or one by one where n would leave lanes half filled."""
    cast(Tensor, norm.num_batches_tracked).add_(1)
    state = cast(Sequence[Tensor], (norm.running_mean, norm.running_var, norm.weight, norm.bias))

    def normalize(x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return functional.batch_norm(
            x, mean, variance, weight, bias, training=True, momentum=cast(float, norm.momentum), eps=norm.eps
        )

    if x.shape[2] % LANES:
        return one_by_one(normalize, x, *state)
    side_by_side = Exchange.apply(x).flatten(1)  # (N, K n)
    y = normalize(side_by_side, *(each.flatten() for each in state))
    return Exchange.apply(y.unflatten(1, (len(x), -1)))


class Exchange(torch.autograd.Function):
    """Exchange the first two dimensions in memory, and those of the gradient in the backward pass.

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


def layer_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """Return K layer normalizations."""
    return one_by_one(
        lambda x, weight, bias: functional.layer_norm(x, norm.normalized_shape, weight, bias, norm.eps),
        x, norm.weight, norm.bias,
    )  # fmt: skip


def center(norm: Center, x: Tensor) -> Tensor:
    """Return x less each network's own mean over the batch."""
    mean = x.mean(dim=1)
    with torch.no_grad():
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
    return x - mean.unsqueeze(1)


def crelu(activation: CReLU, z: Tensor) -> Tensor:
    """Return (relu(z), relu(-z)) along the units, which come last here."""
    return torch.cat((torch.relu(z), torch.relu(-z)), dim=-1)


def dirac(parametrization: Dirac, weight: Tensor) -> Tensor:
    """Return the K weights diag(a) I + diag(b) V / |V|."""
    scaled = parametrization.filter_scale.unsqueeze(2) * functional.normalize(weight, dim=2)
    written = torch.addcmul(scaled, parametrization.identity_scale.unsqueeze(2), parametrization.identity)
    written.register_hook(
        torch.Tensor.contiguous
    )  # as it comes, transposed, it would be summed in another order
    return written


def learned_residual(
    connection: LearnedResidual, x: Tensor, transform: Transform, activation: Activation, skip_weight: None
) -> Tensor:
    """Return x + s f(x)."""
    return torch.addcmul(x, transform(x, activation), connection.scale.view(-1, 1, 1))


# What has no parameters and is not here, the activations and the other connections, works along any leading dimensions.
STACKED: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Linear: linear,
    nn.BatchNorm1d: batch_norm,
    nn.LayerNorm: layer_norm,
    Center: center,
    CReLU: crelu,
    ParametrizationList: ParametrizationList.forward,
    Dirac: dirac,
    LearnedResidual: learned_residual,
}


class StackedMLP(Stack):
    """K networks of one shape as one, in training mode.

    Args:
        network: one more of the same shape; its modules are made to do what those of the K do.
        memory: of the K networks.
    """

    def __init__(self, network: MLP, memory: Memory) -> None:
        super().__init__()
        self.config = network.config
        self.models = memory.models
        self.input_layer, self.layers = network.input_layer, network.layers
        self.head_activation, self.head = network.head_activation, network.head
        for name, module in self.named_modules():
            if name:
                self._stack(name, module, memory)

    def _stack(self, path: str, module: nn.Module, memory: Memory) -> None:
        """Give a module the parameters and buffers of the K networks' modules, and what it then has to do."""
        for name in list(module._parameters):
            if module._parameters[name] is not None:
                delattr(module, name)
                setattr(module, name, memory.leaves[f"{path}.{name}"])
        for name in module._buffers:
            setattr(module, name, memory.stacked_buffers(path, name))
        if forward := STACKED.get(type_before_parametrizations(module)):
            module.forward = MethodType(forward, module)

    @property
    def skip_weight(self) -> Tensor:  # type: ignore[override]  # a parameter there, put together here
        """The skip weights, shape (L, K, 1, 1): a number for each network in each layer."""
        skip_weights = [cast(Tensor, model.skip_weight) for model in self.models]
        return torch.stack(skip_weights, dim=1)[..., None, None]

    def forward(self, images: Tensor) -> Sequence[Tensor]:
        """Return each network's logits, (N, num_classes), for images (K, N, ...)."""
        # One by one, since several threads share out sums as long as an image's in another way for many networks.
        x = one_by_one(functional.linear, images.flatten(2), self.input_layer.weight, self.input_layer.bias)
        return self.head(self.head_activation(self.run_layers(x))).unbind()
