"""The choices that a layer is made of: activations, initializations, normalizations."""

import math
from collections.abc import Callable, Sequence
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from van_tutorial._checks import check_count, check_range

PARAMETRIZATIONS = ("none", "dirac", "repvgg")
INITS = ("he", "lecun", "orthogonal", "delta-orthogonal", "looks-linear", "fixup")
INPUT_INITS = ("same", "normal")
NORMALIZATIONS = ("none", "batch", "layer", "center")
ORDERS = ("post", "pre")


class CReLU(nn.Module):
    """Concatenate the two halves of the input: (relu(z), relu(-z)), twice as many features.

    Source:
        Shang, Sohn, Almeida and Lee 2016, Understanding and improving convolutional neural networks via
        concatenated rectified linear units.
    """

    def forward(self, z: Tensor) -> Tensor:
        """Return (relu(z), relu(-z)) joined along dimension 1."""
        return torch.cat((torch.relu(z), torch.relu(-z)), dim=1)


class Center(nn.Module):
    """Subtract the mean over the batch from every feature, and do nothing else.

    In training mode the batch's own mean, otherwise the running one, as batch normalization has it but without
    the division and without parameters.

    Args:
        num_features: number of features n; inputs are (N, n) or (N, n, H, W), where the mean is over positions too.
        momentum: fraction of the newest batch in the running mean.

    Source:
        Balduzzi et al. 2017, The shattered gradients problem, where Figure 1 centres its plain networks.
    """

    running_mean: Tensor

    def __init__(self, num_features: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("running_mean", torch.zeros(num_features))

    def forward(self, x: Tensor) -> Tensor:
        """Return x less its mean over all dimensions but 1."""
        per_feature = (-1, *(1,) * (x.dim() - 2))
        if not self.training:
            return x - self.running_mean.view(per_feature)
        mean = x.mean(dim=[0, *range(2, x.dim())])
        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        return x - mean.view(per_feature)


class TailoredReLU(nn.Module):
    """Scale a leaky ReLU so that it keeps the mean square of standard normal inputs: sqrt(2 / (1 + a^2)) leaky_relu(z).

    Args:
        slope: a, factor of negative inputs, in [0, 1]; `tailored_slope` has that of a network.

    Source:
        Zhang, Botev and Martens 2022, Deep learning without shortcuts: shaping the kernel with tailored rectifiers.
    """

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope, self.gain = slope, math.sqrt(2.0 / (1.0 + slope**2))

    def forward(self, z: Tensor) -> Tensor:
        """Return sqrt(2 / (1 + a^2)) (max(z, 0) + a min(z, 0))."""
        return self.gain * functional.leaky_relu(z, self.slope)

    def extra_repr(self) -> str:
        """Name the slope in the printed module."""
        return f"slope={self.slope:.4g}"


@cache
def tailored_slope(num_activations: int, eta: float = 0.9) -> float:
    """Return the slope with which a chain of `TailoredReLU` takes two uncorrelated inputs to the correlation eta.

    In a wide network of random weights with variance 1 / fan_in a layer takes a correlation c between its inputs to

        C(c) = c + (1 - a)^2 / (pi (1 + a^2)) (sqrt(1 - c^2) - c arccos c)

    The slope a solves C(C(...C(0))) = eta. With ReLU (a = 0) the correlation goes to 1 with depth, so that a deep plain
    network forgets its input; at a = 1 the network is linear.

    Args:
        num_activations: activations in a row, at least 1.
        eta: correlation at the end, in (0, 1).

    Returns:
        The slope, in [0, 1); 0 where even ReLU stays below eta, as it does up to 12 activations at the default.

    Raises:
        ValueError: for values outside these bounds.

    Example:
        >>> round(tailored_slope(40), 4)
        0.3776

    Source:
        Zhang, Botev and Martens 2022, Deep learning without shortcuts: shaping the kernel with tailored rectifiers,
        section 4; eta = 0.9 is the default of the authors' package `dks`.
    """
    check_count("num_activations", num_activations)
    check_range("eta", eta, 0.0, 1.0, open_low=True, open_high=True)

    def correlation(slope: float) -> float:
        factor, c = (1.0 - slope) ** 2 / (math.pi * (1.0 + slope**2)), 0.0
        for _ in range(num_activations):
            c = min(1.0, c + factor * (math.sqrt(1.0 - c * c) - c * math.acos(c)))
        return c

    low, high = 0.0, 1.0
    while high - low > 1e-12 and correlation(0.0) > eta:  # it falls as the slope rises
        middle = (low + high) / 2
        low, high = (middle, high) if correlation(middle) > eta else (low, middle)
    return low


ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {  # given the number of activations in a row
    "relu": lambda _: nn.ReLU(),
    "tanh": lambda _: nn.Tanh(),
    "crelu": lambda _: CReLU(),
    "selu": lambda _: nn.SELU(),
    "tat": lambda num_activations: TailoredReLU(tailored_slope(num_activations)),
}
EXPANSION = {"crelu": 2}  # features after the activation per feature before it, where it is not 1
ORTHOGONAL_GAIN = {"relu": 2**0.5, "crelu": 2**0.5}  # where it is not 1: `TailoredReLU` has its own


def make_normalization(
    name: str, num_features: int, norm_shift: float = 0.0, is_convolutional: bool = False
) -> nn.Module:
    """Return a normalization of inputs (N, num_features), or (N, num_features, H, W) where `is_convolutional`.

    "layer" takes the statistics of an example over all its features, and over all positions of an image.
    """
    makers: dict[str, Callable[[int], nn.Module]] = {
        "none": nn.Identity,
        "batch": nn.BatchNorm2d if is_convolutional else nn.BatchNorm1d,
        "layer": partial(nn.GroupNorm, 1) if is_convolutional else nn.LayerNorm,
        "center": Center,
    }
    norm = makers[name](num_features)
    if norm_shift != 0.0:
        nn.init.constant_(norm.bias, norm_shift)  # type: ignore[arg-type]  # the config refuses those without
    return norm


@torch.no_grad()
def initialize(weight: Tensor, init: str, activation: str, is_mirrored: bool) -> None:
    """Fill the weight of a linear map or a convolution in place.

        "he"                normal with variance 2 / fan_in
        "fixup"             the same; `scale_branch` does the rest
        "lecun"             normal with variance 1 / fan_in, which SELU needs to keep mean 0 and variance 1
        "orthogonal"        orthonormal rows or columns times sqrt(2) for ReLU and CReLU, times 1 for others
        "delta-orthogonal"  such a matrix at the centre of the kernel, 0 everywhere else
        "looks-linear"      (V, -V), V delta-orthogonal with factor 1, where the input is concatenated, so that
                            (V, -V) crelu(z) = V z: the network is linear at initialization; else V alone

    fan_in is the number of inputs times the kernel's height and width. The matrix at the centre of a kernel
    has orthonormal columns where the layer has at least as many outputs as inputs, so that lengths are kept.

    Args:
        weight: shape (outputs, inputs) or (outputs, inputs, height, width) with odd height and width.
        init: one of the six names.
        activation: the activation whose output the layer sees.
        is_mirrored: whether the input is (relu(z), relu(-z)).

    Source:
        He, Zhang, Ren and Sun 2015, Delving deep into rectifiers, eq. 10; Klambauer, Unterthiner, Mayr and Hochreiter
        2017, Self-normalizing neural networks; Saxe, McClelland and Ganguli 2014, Exact solutions to the nonlinear
        dynamics of learning; Xiao et al. 2018, Dynamical isometry and a mean field theory of CNNs
        (delta-orthogonal); Balduzzi et al. 2017, The shattered gradients problem (looks-linear).
    """
    orthogonal_gain = ORTHOGONAL_GAIN.get(activation, 1.0)
    if init in ("he", "lecun", "fixup"):
        nn.init.kaiming_normal_(weight, nonlinearity="linear" if init == "lecun" else "relu")
    elif init == "orthogonal":
        nn.init.orthogonal_(weight, gain=orthogonal_gain)
    else:
        centre = weight
        if weight.dim() == 4:
            nn.init.zeros_(weight)
            centre = weight[:, :, weight.shape[2] // 2, weight.shape[3] // 2]
        gain = orthogonal_gain if init == "delta-orthogonal" else 1.0
        half = torch.empty(centre.shape[0], centre.shape[1] // (2 if is_mirrored else 1))
        nn.init.orthogonal_(half, gain=gain)
        centre.copy_(torch.cat((half, -half), dim=1) if is_mirrored else half)


@torch.no_grad()
def scale_branch(weights: Sequence[Tensor], num_branches: int) -> None:
    """Give the weights of a residual branch the scale that Fixup wants, in place, in the place of a normalization.

    The last of its m weights becomes 0, so that each branch begins at 0. The others are multiplied by
    L^(-1 / (2 m - 2)), so that a step changes what L branches add up to as much as it would change one.

    Args:
        weights: of the m layers in the branch, from its input on, drawn as "he" has it.
        num_branches: number L of residual branches in the network.

    Source:
        Zhang, Dauphin and Ma 2019, Fixup initialization: residual learning without normalization, section 3, rules 1
        and 2.
    """
    *inner, last = weights
    for weight in inner:
        weight.mul_(num_branches ** (-1.0 / (2 * len(weights) - 2)))
    last.zero_()


def check_images(x: Tensor, in_channels: int) -> None:
    """Raise unless x are images that a convolutional network of so many channels takes."""
    if x.dim() != 4 or x.shape[1] != in_channels or min(x.shape[2:]) < 4:
        raise ValueError(
            f"The network takes images of shape (N, {in_channels}, H, W), H and W at least 4, got {tuple(x.shape)}: "
            "make it with in_channels equal to the images' number of channels."
        )
