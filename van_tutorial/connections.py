"""How a layer's input x and what the layer makes of it, f(x), become the layer's output.

A layer is given to its connection as `transform`, a function of the input and of the activation to use:
f(x) = transform(x, activation). So a connection may go around the whole layer, or around the activation
alone, and the layer need not know which.

    plain       f(x)
    residual    x + scale f(x)                                 He et al. 2016
    rezero      x + s f(x), s learned from 0                   Bachlechner et al. 2020, De and Smith 2020
    highway     T(x) f(x) + (1 - T(x)) x                       Srivastava et al. 2015
    van         alpha x + (1 - alpha) f(x)      "convex"       our reading of the abstract of
                f(x) + alpha x                  "additive"     Monti, Tootoonian and Cao 2018
                alpha z + (1 - alpha) act(z)    "activation"   in place of act(z), z the pre-activation

Where f(x) has another shape than x, a `Subsample` stands in for x.

The abstract of the paper on variable activation networks fits each of the three forms; `constraints` says where its
text can be read. At alpha = 0 each of them is the plain layer, to the last bit.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

Activation = Callable[[Tensor], Tensor]
Transform = Callable[[Tensor, Activation], Tensor]


def mix(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """Return (1 - weight) start + weight end in one fused operation, in `start`'s precision."""
    if not start.dtype == end.dtype == weight.dtype:  # under autocast
        end, weight = end.to(start.dtype), weight.to(start.dtype)
    return torch.lerp(start, end, weight)


class Subsample(nn.Module):
    """Fit an image to a layer with fewer positions and more channels, without parameters.

    Takes every `stride`-th row and column, and appends channels of zeros.

    Args:
        num_new: channels to append.
        stride: of the layer.

    Source:
        He, Zhang, Ren and Sun 2016, Deep residual learning for image recognition, section 3.3, option (A).
    """

    def __init__(self, num_new: int, stride: int) -> None:
        super().__init__()
        self.num_new, self.stride = num_new, stride

    def forward(self, x: Tensor) -> Tensor:
        """Return shape (N, C + num_new, H / stride, W / stride), rounded up, for x of shape (N, C, H, W)."""
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.num_new))

    def extra_repr(self) -> str:
        """Name the two numbers in the printed module."""
        return f"num_new={self.num_new}, stride={self.stride}"


class Connection(nn.Module):
    """How x and f(x) become a layer's output: each connection is one subclass, named in `CONNECTIONS` or `SKIPS`.

    Called with (x, transform, activation, skip_weight) it returns the output, a tensor of the shape of f(x);
    `skip_weight` is the layer's scalar tensor alpha where the connection is weighted, else None.

    Args:
        shortcut: projection of x to the shape of f(x); None where x has it.

    Attributes:
        has_skip: whether x reaches the output past the layer.
        is_weighted: whether a skip weight alpha scales the skip; at alpha = 0 the layer must be the plain one.
        is_inside: whether it acts in place of the layer's activation, and not around the layer.
    """

    has_skip: ClassVar[bool] = True
    is_weighted: ClassVar[bool] = False
    is_inside: ClassVar[bool] = False

    def __init__(self, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.shortcut = shortcut or nn.Identity()

    @classmethod
    def build(cls, config: Any, make_map: Callable[[], nn.Module], shortcut: nn.Module | None) -> Self:
        """Return the connection of one layer; a subclass with arguments of its own takes them from the config.

        Args:
            config: of the network.
            make_map: returns a new linear map, or convolution, from the shape of f(x) to the shape of f(x).
            shortcut: projection of x to the shape of f(x); None where x has it.
        """
        return cls(shortcut)


class Plain(Connection):
    """Pass on f(x) alone: no skip-connection."""

    has_skip = False

    def __init__(self, shortcut: nn.Module | None = None) -> None:
        nn.Module.__init__(self)  # x is not used

    def forward(
        self, x: Tensor, transform: Transform, activation: Activation, skip_weight: Tensor | None = None
    ) -> Tensor:
        """Return f(x)."""
        return transform(x, activation)


class Residual(Connection):
    """Add the input to the layer's output: x + scale f(x).

    Args:
        scale: factor of f(x), `residual_scale` in the models; Balduzzi et al. call it beta.
        shortcut: projection of x to the shape of f(x); None where x has it.

    Source:
        He, Zhang, Ren and Sun 2016, Deep residual learning for image recognition, eq. 1; the scale:
        Balduzzi et al. 2017, The shattered gradients problem.
    """

    def __init__(self, scale: float = 1.0, shortcut: nn.Module | None = None) -> None:
        super().__init__(shortcut)
        self.scale = scale

    @classmethod
    def build(cls, config: Any, make_map: Callable[[], nn.Module], shortcut: nn.Module | None) -> Self:
        """Return the connection with the config's `residual_scale`."""
        return cls(config.residual_scale, shortcut)

    def forward(
        self, x: Tensor, transform: Transform, activation: Activation, skip_weight: Tensor | None = None
    ) -> Tensor:
        """Return x + scale f(x)."""
        return torch.add(self.shortcut(x), transform(x, activation), alpha=self.scale)

    def extra_repr(self) -> str:
        """Name the scale in the printed module."""
        return f"scale={self.scale}"


class LearnedResidual(Connection):
    """Add a fraction s of the layer's output to its input, s being learned from 0: x + s f(x).

    At initialization every layer passes its input on. s is one number a layer.

    Args:
        shortcut: projection of x to the shape of f(x); None where x has it.

    Attributes:
        scale: s, a parameter without dimensions.

    Source:
        Bachlechner et al. 2020, ReZero is all you need: fast convergence at large depth, eq. 1; De and Smith 2020,
        Batch normalization biases residual blocks towards the identity function in deep networks (SkipInit).
    """

    def __init__(self, shortcut: nn.Module | None = None) -> None:
        super().__init__(shortcut)
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(
        self, x: Tensor, transform: Transform, activation: Activation, skip_weight: Tensor | None = None
    ) -> Tensor:
        """Return x + s f(x)."""
        return torch.addcmul(self.shortcut(x), transform(x, activation), self.scale)


class Highway(Connection):
    """Mix input and output by a gate that is learned per unit and looks at the input.

    y = T(x) f(x) + (1 - T(x)) x, T(x) = sigmoid(W x + b). A negative b lets the input pass at initialization.

    Args:
        gate: the linear map or convolution W x + b, from the shape of f(x) to the shape of f(x).
        transform_bias: initial value of every entry of b.
        shortcut: projection of x to the shape of f(x), for the gate too; None where x has it.

    Source:
        Srivastava, Greff and Schmidhuber 2015, Highway networks, eq. 3.
    """

    def __init__(self, gate: nn.Module, transform_bias: float, shortcut: nn.Module | None = None) -> None:
        super().__init__(shortcut)
        self.gate = gate
        nn.init.constant_(gate.get_parameter("bias"), transform_bias)

    @classmethod
    def build(cls, config: Any, make_map: Callable[[], nn.Module], shortcut: nn.Module | None) -> Self:
        """Return the connection with a gate of its own, which the deeper network opens less at initialization."""
        return cls(make_map(), highway_bias(config.depth), shortcut)

    def forward(
        self, x: Tensor, transform: Transform, activation: Activation, skip_weight: Tensor | None = None
    ) -> Tensor:
        """Return T(x) f(x) + (1 - T(x)) x."""
        output = transform(x, activation)
        x = self.shortcut(x)
        return mix(x, output, torch.sigmoid(self.gate(x)))


class ConvexSkip(Connection):
    """Mix input and output by the skip weight: alpha x + (1 - alpha) f(x).

    alpha = 1 is the identity, alpha = 0 the plain layer. One fused operation, `torch.lerp`, which is exact at
    both ends.

    Args:
        shortcut: projection of x to the shape of f(x); None where x has it.
    """

    is_weighted = True

    def forward(self, x: Tensor, transform: Transform, activation: Activation, skip_weight: Tensor) -> Tensor:
        """Return alpha x + (1 - alpha) f(x) for the scalar tensor alpha = `skip_weight`."""
        return mix(transform(x, activation), self.shortcut(x), skip_weight)


class AdditiveSkip(Connection):
    """Add the weighted input to the output: f(x) + alpha x.

    alpha = 1 is a residual layer, alpha = 0 the plain one.

    Args:
        shortcut: projection of x to the shape of f(x); None where x has it.
    """

    is_weighted = True

    def forward(self, x: Tensor, transform: Transform, activation: Activation, skip_weight: Tensor) -> Tensor:
        """Return f(x) + alpha x for the scalar tensor alpha = `skip_weight`."""
        return torch.addcmul(transform(x, activation), self.shortcut(x), skip_weight)


class ActivationSkip(Connection):
    """Let the skip go around the activation alone: alpha z + (1 - alpha) act(z) in place of act(z).

    alpha = 1 makes the layer affine, alpha = 0 plain. With ReLU it is a leaky ReLU of slope alpha.
    """

    is_weighted = True
    is_inside = True

    def __init__(self, shortcut: nn.Module | None = None) -> None:
        nn.Module.__init__(self)  # z always fits act(z)

    def forward(self, x: Tensor, transform: Transform, activation: Activation, skip_weight: Tensor) -> Tensor:
        """Return f(x) with the variable activation, for the scalar tensor alpha = `skip_weight`."""

        def variable(z: Tensor) -> Tensor:
            return mix(activation(z), z, skip_weight)

        return transform(x, variable)


def highway_bias(depth: int) -> float:
    """Return the initial transform bias of a highway network: the deeper, the more its layers carry.

    -1 up to 10 layers, -2 up to 20, -3 up to 50, -4 beyond. That deeper networks want a more negative bias,
    in this range, is from Srivastava, Greff and Schmidhuber 2015, Training very deep networks; the three steps
    are ours.

    Args:
        depth: number of layers.

    Returns:
        The bias.
    """
    return -1.0 if depth <= 10 else -2.0 if depth <= 20 else -3.0 if depth <= 50 else -4.0


SKIPS: dict[str, type[Connection]] = {  # the forms of "van"
    "convex": ConvexSkip,
    "additive": AdditiveSkip,
    "activation": ActivationSkip,
}
CONNECTIONS: dict[str, type[Connection]] = {
    "plain": Plain,
    "residual": Residual,
    "rezero": LearnedResidual,
    "highway": Highway,
    "van": ConvexSkip,  # or another of `SKIPS`
}


def find(connection: str, skip: str) -> type[Connection]:
    """Return the class of a connection, by the names that a config gives."""
    return SKIPS[skip] if connection == "van" else CONNECTIONS[connection]
