"""The choices that a layer is made of: activations, initializations, normalizations."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

PARAMETRIZATIONS = ("none", "dirac", "repvgg")
INITS = ("he", "lecun", "orthogonal", "delta-orthogonal", "looks-linear")
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
    """Take the mean over the batch off every feature, and do nothing else.

    In training mode the batch's own mean, otherwise the running one, as batch normalization has it but without
    the division and without parameters.

    Args:
        num_features: number of features n; inputs are (N, n) or (N, n, H, W), where the mean is over places too.
        momentum: share of the newest batch in the running mean.

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


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "crelu": CReLU,
    "selu": nn.SELU,
}
EXPANSION = {
    "relu": 1,
    "tanh": 1,
    "crelu": 2,
    "selu": 1,
}  # features after the activation per feature before it
ORTHOGONAL_GAIN = {"relu": 2**0.5, "tanh": 1.0, "crelu": 2**0.5, "selu": 1.0}


def make_normalization(
    name: str, num_features: int, norm_shift: float = 0.0, is_convolutional: bool = False
) -> nn.Module:
    """Return a normalization of inputs (N, num_features), or (N, num_features, H, W) where `is_convolutional`.

    "layer" takes the statistics of an example over all its features, and over all places of an image.
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
        "lecun"             normal with variance 1 / fan_in, which SELU needs to keep mean 0 and variance 1
        "orthogonal"        orthonormal rows or columns times sqrt(2) for rectifiers, times 1 for others
        "delta-orthogonal"  such a matrix at the centre of the kernel, 0 everywhere else
        "looks-linear"      (V, -V), V delta-orthogonal with factor 1, where the input is concatenated, so that
                            (V, -V) crelu(z) = V z: the network is linear at the start; else V alone

    fan_in is the number of inputs times the kernel's height and width. The matrix at the centre of a kernel
    has orthonormal columns where the layer has at least as many outputs as inputs, so that lengths are kept.

    Args:
        weight: shape (outputs, inputs) or (outputs, inputs, height, width) with odd height and width.
        init: one of the five names.
        activation: the activation whose output the layer sees.
        is_mirrored: whether the input is (relu(z), relu(-z)).

    Source:
        He, Zhang, Ren and Sun 2015, Delving deep into rectifiers, eq. 10; Klambauer, Unterthiner, Mayr and Hochreiter
        2017, Self-normalizing neural networks; Saxe, McClelland and Ganguli 2014, Exact solutions to the nonlinear
        dynamics of learning; Xiao et al. 2018, Dynamical isometry and a mean field theory of CNNs
        (delta-orthogonal); Balduzzi et al. 2017, The shattered gradients problem (looks-linear).
    """
    if init in ("he", "lecun"):
        nn.init.kaiming_normal_(weight, nonlinearity="relu" if init == "he" else "linear")
    elif init == "orthogonal":
        nn.init.orthogonal_(weight, gain=ORTHOGONAL_GAIN[activation])
    else:
        centre = weight
        if weight.dim() == 4:
            nn.init.zeros_(weight)
            centre = weight[:, :, weight.shape[2] // 2, weight.shape[3] // 2]
        gain = ORTHOGONAL_GAIN[activation] if init == "delta-orthogonal" else 1.0
        half = torch.empty(centre.shape[0], centre.shape[1] // (2 if is_mirrored else 1))
        nn.init.orthogonal_(half, gain=gain)
        centre.copy_(torch.cat((half, -half), dim=1) if is_mirrored else half)
