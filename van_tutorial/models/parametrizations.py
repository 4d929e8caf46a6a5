"""Other ways to write a layer's weights, which fold into an ordinary layer after training.

dirac    W = diag(a) I + diag(b) V / |V|      in place of W                    Zagoruyko and Komodakis 2017
repvgg   norm(W3 * x) + norm(W1 * x) + norm(x)   in place of norm(W * x)       Ding et al. 2021
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.nn.utils.parametrize import is_parametrized, register_parametrization, remove_parametrizations

from van_tutorial.models import parts


class Dirac(nn.Module):
    """Write a weight as a scaled identity and scaled filters of length 1.

        W = diag(a) I + diag(b) V / |V|

    I is the Dirac delta: the matrix, or the convolution, that leaves its input as it is (where the layer has more
    outputs than inputs, the outputs left over get 0). |V| is the length of each output's filter. a and b have an
    entry for each output, and are 1 and 0.1 at initialization: I x is a skip-connection inside the weight.

    Args:
        weight: of the layer, shape (outputs, inputs) or (outputs, inputs, height, width) with odd height and width.

    Attributes:
        identity_scale: a, shape (outputs,).
        filter_scale: b, shape (outputs,).

    Example:
        >>> layer = add_dirac(nn.Linear(3, 3))
        >>> bool((layer.weight - torch.eye(3)).norm(dim=1).allclose(torch.full((3,), 0.1)))
        True

    Source:
        Zagoruyko and Komodakis 2017 (v2, 2018), DiracNets: training very deep neural networks without
        skip-connections (arXiv 1706.00388).
    """

    identity: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        identity = torch.empty_like(weight)
        self.register_buffer(
            "identity",
            nn.init.eye_(identity) if identity.dim() == 2 else nn.init.dirac_(identity),
            persistent=False,
        )
        self.identity_scale = nn.Parameter(weight.new_ones(len(weight)))
        self.filter_scale = nn.Parameter(weight.new_full((len(weight),), 0.1))

    def forward(self, weight: Tensor) -> Tensor:
        """Return W for the free weight V."""
        filters = functional.normalize(weight.flatten(1), dim=1).view_as(weight)
        per_output = (-1, *(1,) * (weight.dim() - 1))
        scaled = self.filter_scale.view(per_output) * filters
        return torch.addcmul(scaled, self.identity_scale.view(per_output), self.identity)


def add_dirac(layer: nn.Module) -> nn.Module:
    """Parametrize a layer's weight by `Dirac`, and return the layer."""
    return register_parametrization(layer, "weight", Dirac(cast(Tensor, layer.weight).detach()))


class Branches(nn.Module):
    """Sum three normalized branches of a convolution: 3 by 3, 1 by 1, and the input where it fits.

    y = norm(W3 * x) + norm(W1 * x) + norm(x); the last where the layer changes neither size nor number of channels.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        stride: of the two convolutions.
        init: of their weights.
        activation: whose output the layer sees.

    Source:
        Ding et al. 2021, RepVGG: making VGG-style ConvNets great again (arXiv 2101.03697).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, init: str, activation: str) -> None:
        super().__init__()
        self.wide = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.narrow = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
        for convolution in (self.wide, self.narrow):
            parts.initialize(convolution.weight, init, activation, is_mirrored=False)
        self.wide_norm, self.narrow_norm = nn.BatchNorm2d(out_channels), nn.BatchNorm2d(out_channels)
        fits = stride == 1 and in_channels == out_channels
        self.identity_norm = nn.BatchNorm2d(out_channels) if fits else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the branches."""
        y = self.wide_norm(self.wide(x)) + self.narrow_norm(self.narrow(x))
        return y if self.identity_norm is None else y + self.identity_norm(x)

    @torch.no_grad()
    def fold(self) -> nn.Conv2d:
        """Return the one convolution, with biases, that gives the same outputs in eval mode.

        Each branch's normalization (x - mu) gamma / sigma + beta goes into its weight, gamma / sigma W, and its bias,
        beta - mu gamma / sigma; the smaller kernels are padded to 3 by 3; the three are added.
        """
        wide, narrow = self.wide, self.narrow
        padded = functional.pad(narrow.weight, (1, 1, 1, 1))
        kernels = [(wide.weight, self.wide_norm), (padded, self.narrow_norm)]
        if self.identity_norm is not None:
            kernels.append((nn.init.dirac_(torch.empty_like(wide.weight)), self.identity_norm))
        sizes, like = (wide.in_channels, wide.out_channels, 3, wide.stride), wide.weight
        folded = skip_init(nn.Conv2d, *sizes, padding=1, device=like.device, dtype=like.dtype)
        pairs = [fuse(kernel, norm) for kernel, norm in kernels]
        folded.weight.copy_(sum(weight for weight, _ in pairs))
        folded.bias.copy_(sum(bias for _, bias in pairs))
        return folded.requires_grad_(any(parameter.requires_grad for parameter in self.parameters()))


def fuse(kernel: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the convolution by `kernel` that batch normalization follows."""
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    return fuse_conv_bn_weights(kernel, None, mean, variance, norm.eps, norm.weight, norm.bias)


def fold_parametrizations(model: nn.Module) -> None:
    """Replace every parametrized tensor of a network by its present value, and every `Branches` by its convolution."""
    for module in list(model.modules()):
        if is_parametrized(module):
            own_class(module)
            parametrizations = cast(nn.ModuleDict, module.parametrizations)
            parametrizations.eval()  # spectral_norm moves on in training
            for name in list(parametrizations):
                remove_parametrizations(module, name, leave_parametrized=True)
        for name, child in list(module.named_children()):
            if isinstance(child, Branches):
                setattr(module, name, child.fold())


def own_class(module: nn.Module) -> None:
    """Give a parametrized module a class of its own.

    torch keeps the parametrized weight as a property of the module's class, which a deep copy shares: without this,
    folding the copy would take the weight from the original.
    """
    kind = type(module)
    names = {name: value for name, value in vars(kind).items() if name not in ("__dict__", "__weakref__")}
    module.__class__ = type(kind.__name__, kind.__bases__, names)
