"""The choices that a layer is made of: activations, initializations, normalizations."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

PARAMETRIZATIONS = ("none",)
INITS = ("he", "orthogonal", "looks-linear")
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
        num_features: number of features n; inputs are (N, n).
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
        """Return x less its mean over dimension 0."""
        if not self.training:
            return x - self.running_mean
        mean = x.mean(dim=0)
        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        return x - mean


ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "crelu": CReLU}
EXPANSION = {"relu": 1, "tanh": 1, "crelu": 2}  # features after the activation per feature before it
ORTHOGONAL_GAIN = {"relu": 2**0.5, "tanh": 1.0, "crelu": 2**0.5}


def make_normalization(name: str, num_features: int) -> nn.Module:
    """Return the normalization `name` over `num_features` features of inputs (N, num_features)."""
    makers: dict[str, Callable[[int], nn.Module]] = {
        "none": nn.Identity,
        "batch": nn.BatchNorm1d,
        "layer": nn.LayerNorm,
        "center": Center,
    }
    return makers[name](num_features)


@torch.no_grad()
def initialize(weight: Tensor, init: str, activation: str, is_mirrored: bool) -> None:
    """Fill the weight matrix of a linear layer in place.

        "he"            normal with variance 2 / fan_in
        "orthogonal"    orthonormal rows or columns times sqrt(2) for rectifiers, times 1 for tanh
        "looks-linear"  (V, -V) with V orthogonal where the input is concatenated, so that
                        (V, -V) crelu(z) = V z: the network is linear at the start; else V alone

    Args:
        weight: shape (features out, features in).
        init: one of the three names.
        activation: the activation whose output the layer sees.
        is_mirrored: whether the input is (relu(z), relu(-z)).

    Source:
        He, Zhang, Ren and Sun 2015, Delving deep into rectifiers, eq. 10; Saxe, McClelland and Ganguli 2014,
        Exact solutions to the nonlinear dynamics of learning; Balduzzi et al. 2017, The shattered gradients
        problem (looks-linear).
    """
    if init == "he":
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
    elif init == "orthogonal":
        nn.init.orthogonal_(weight, gain=ORTHOGONAL_GAIN[activation])
    elif is_mirrored:
        half = torch.empty(weight.shape[0], weight.shape[1] // 2)
        nn.init.orthogonal_(half)
        weight.copy_(torch.cat((half, -half), dim=1))
    else:
        nn.init.orthogonal_(weight)
