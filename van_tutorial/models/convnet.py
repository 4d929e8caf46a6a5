"""Convolutional stacks: the CIFAR family of He et al., with any connection."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from van_tutorial import connections
from van_tutorial._checks import check_choice, check_count
from van_tutorial.connections import Activation
from van_tutorial.models import parametrizations, parts
from van_tutorial.models.stack import Stack, StackConfig, build, takes

NUM_STAGES = 3
DOWNSAMPLINGS = ("stride", "max-pool")


@dataclass(frozen=True)
class ConvNetConfig(StackConfig):
    """Everything that determines a convolutional network, its initial weights included.

    Attributes:
        depth: convolutions and head in a row, 6 n + 2 (20, 32, 44, 56, 110, ...): the first convolution, three
            stages of n blocks of two convolutions, the head. With `layers_per_block` of 1, 3 n + 2.
        width: channels of the first stage; the second has twice and the third four times as many. Counted before a
            concatenating activation.
        connection: of every block: "plain", "residual", "rezero" (a residual scale learned from 0), "highway" or
            "van".
        skip: form of the "van" connection: "convex", "additive" or "activation".
        skip_weight: initial skip weight of every block, in [0, 1].
        residual_scale: factor of f(x) in x + residual_scale f(x), above 0.
        normalization: "none", "batch", "layer" (over an example) or "center" (the mean over batch and positions
            subtracted).
        norm_shift: initial bias of every normalization, "batch" or "layer". At 0 a ReLU passes half of its inputs on;
            at 1 five sixths, so that the blocks are initialized closer to linear.
        activation: "relu", "tanh", "selu", "crelu" or "tat" (a leaky ReLU whose slope `tailored_slope` solves for).
        order: "post": convolution, normalization, activation; "pre": normalization, activation, convolution.
        init: "he", "lecun" (for "selu"), "orthogonal", "delta-orthogonal" (for "tat", too), "looks-linear" (for
            "crelu") or "fixup" (for "residual": blocks that begin at 0 and need no normalization).
        parametrization: of the convolutions in the blocks: "none", "dirac", or "repvgg" (three branches).
        layers_per_block: convolutions in a block, 1 or 2.
        downsampling: how the second and the third stage begin: by a convolution of "stride" 2, or after a "max-pool".
        in_channels: of the images, at least 1.
        num_classes: outputs of the head, at least 1.
        seed: of the initial weights; None draws them from torch's global generator.

    Raises:
        ValueError: for a value outside these bounds or a pair of choices that do not fit.
    """

    depth: int = 20
    width: int = 16
    layers_per_block: int = 2
    downsampling: str = "stride"
    in_channels: int = 3

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        check_count("in_channels", self.in_channels)
        check_choice("downsampling", self.downsampling, DOWNSAMPLINGS)
        check_count("layers_per_block", self.layers_per_block)
        if self.layers_per_block > 2:
            raise ValueError(f"layers_per_block must be 1 or 2, got {self.layers_per_block}.")
        period = NUM_STAGES * self.layers_per_block
        if self.depth < period + 2 or (self.depth - 2) % period:
            near = max(1, round((self.depth - 2) / period)) * period + 2
            raise ValueError(
                f"depth must be {period} n + 2, with n blocks of {self.layers_per_block} convolutions in each of "
                f"{NUM_STAGES} stages, got {self.depth}: the nearest is {near}."
            )
        if self.init == "fixup" and (self.connection, self.parametrization) != ("residual", "none"):
            raise ValueError(
                "init 'fixup' sets the last convolution of each block to 0, past which only a residual connection "
                "passes the signal on: take connection 'residual' and parametrization 'none'."
            )
        if self.parametrization == "repvgg" and (self.order, self.normalization) != ("post", "batch"):
            raise ValueError(
                "parametrization 'repvgg' normalizes each branch: take order 'post' and normalization 'batch'."
            )
        if self.parametrization == "repvgg" and self.norm_shift != 0.0:
            raise ValueError(
                "norm_shift cannot be combined with parametrization 'repvgg': take norm_shift 0.0."
            )
        if self.parametrization == "repvgg" and self.expansion > 1:
            raise ValueError(
                "parametrization 'repvgg' needs an activation that keeps the number of channels."
            )

    @property
    def num_activations(self) -> int:
        """Activations in a row: one for each convolution."""
        return self.depth - 1

    def network(self) -> "ConvNet":
        """Return a network of this config, its weights drawn by torch's global generator; `models.build` seeds it."""
        return ConvNet(self)

    @property
    def blocks_per_stage(self) -> int:
        """Number n of blocks in each of the three stages."""
        return (self.depth - 2) // (NUM_STAGES * self.layers_per_block)


class Block(nn.Module):
    """One or two convolutions with a connection around them.

    order "post"    y = act(connection(x, F(x)))   F(x) = norm(conv(act(norm(conv(x)))))
    order "pre"     y = connection(x, F(x))        F(x) = conv(act(norm(conv(act(norm(x))))))

    The form "activation" of the van connection goes around every activation of the block, the last one too.
    At a convex skip weight of 1 a block in order "post" is act(x): the identity for relu, since x is never below 0.
    """

    def __init__(self, config: ConvNetConfig, in_channels: int, out_channels: int, is_smaller: bool) -> None:
        super().__init__()
        self.is_pre = config.order == "pre"
        self.acts_inside = config.connection_class.is_inside
        self.pool = nn.MaxPool2d(2) if is_smaller and config.downsampling == "max-pool" else nn.Identity()
        stride = 2 if is_smaller and config.downsampling == "stride" else 1
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        channels = in_channels
        for index in range(config.layers_per_block):
            self.convolutions.append(
                make_convolution(config, channels, out_channels, stride if index == 0 else 1)
            )
            norm_channels = channels if self.is_pre else out_channels
            norm = "none" if config.parametrization == "repvgg" else config.normalization
            self.norms.append(parts.make_normalization(norm, norm_channels, config.norm_shift, True))
            channels = out_channels
        if config.init == "fixup":
            weights = [cast(nn.Conv2d, convolution).weight for convolution in self.convolutions]
            parts.scale_branch(weights, NUM_STAGES * config.blocks_per_stage)
        self.activation = config.make_activation()
        shortcut = None
        if stride > 1 or out_channels > in_channels:
            shortcut = connections.Subsample(out_channels - in_channels, stride)
        self.connection = config.connection_class.build(
            config, lambda: nn.Conv2d(out_channels, out_channels, 3, padding=1), shortcut
        )

    def transform(self, x: Tensor, activation: Activation) -> Tensor:
        """Return F(x) with `activation` in the place of the block's own."""
        last = len(self.convolutions) - 1
        for index, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            if self.is_pre:
                x = convolution(activation(norm(x)))
            else:
                x = norm(convolution(x))
                if index < last or self.acts_inside:
                    x = activation(x)
        return x

    def forward(self, x: Tensor, skip_weight: Tensor | None) -> Tensor:
        """Return the block's output, shape (N, C', H', W')."""
        x = self.connection(self.pool(x), self.transform, self.activation, skip_weight)
        return x if self.is_pre or self.acts_inside else self.activation(x)


def make_convolution(config: ConvNetConfig, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Return a 3 by 3 convolution of a block as the config wants it; biases only where nothing else shifts."""
    if config.parametrization == "repvgg":
        return parametrizations.Branches(in_channels, out_channels, stride, config.init, config.activation)
    has_bias = config.normalization == "none"
    convolution = nn.Conv2d(in_channels * config.expansion, out_channels, 3, stride, padding=1, bias=has_bias)
    parts.initialize(convolution.weight, config.init, config.activation, is_mirrored=config.expansion > 1)
    if has_bias:
        nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]  # made with one
    return parametrizations.add_dirac(convolution) if config.parametrization == "dirac" else convolution


class ConvNet(Stack):
    """A stack of convolutional blocks in three stages, between a first convolution and a linear head.

        h_0 = act(norm(conv(x)))                  order "post"; conv(x) in order "pre"
        h_l = block_l(h_{l-1})                    l = 1, ..., L
        y   = W mean over the positions of h_L + b   order "post"; of act(norm(h_L)) in order "pre"

    At the second and the third stage the images become half as high and wide and the channels twice as many. Inputs
    are (N, in_channels, H, W), any H and W from 4 on; outputs are (N, num_classes). With connection "residual" it is
    the ResNet of He et al. for CIFAR, with "plain" their plain network, which has as many parameters.

    Attributes:
        config: the frozen `ConvNetConfig`.
        layers: the L blocks.
        skip_weight: parameter of shape (L,); only where the connection is weighted.

    Source:
        He, Zhang, Ren and Sun 2016, Deep residual learning for image recognition, section 4.2; order "pre": the
        same authors 2016, Identity mappings in deep residual networks.
    """

    def __init__(self, config: ConvNetConfig) -> None:
        super().__init__()
        self.config = config
        is_pre, width = config.order == "pre", config.width
        has_bias = config.normalization == "none"
        self.stem = nn.Conv2d(config.in_channels, width, 3, padding=1, bias=has_bias)
        parts.initialize(self.stem.weight, config.init, config.activation, is_mirrored=False)
        if self.stem.bias is not None:
            nn.init.zeros_(self.stem.bias)
        blocks, channels = [], width
        for stage in range(NUM_STAGES):
            for index in range(config.blocks_per_stage):
                is_smaller = stage > 0 and index == 0
                blocks.append(Block(config, channels, width * 2**stage, is_smaller))
                channels = width * 2**stage
        self.layers = nn.ModuleList(blocks)
        # In order "pre" the last sum is normalized, in order "post" the first convolution.
        self.norm = parts.make_normalization(
            config.normalization, channels if is_pre else width, config.norm_shift, is_convolutional=True
        )
        self.activation = config.make_activation()
        self.head = nn.Linear(channels * config.expansion, config.num_classes)
        parts.initialize(self.head.weight, config.init, config.activation, is_mirrored=config.expansion > 1)
        nn.init.zeros_(self.head.bias)
        if config.init == "fixup":
            nn.init.zeros_(self.head.weight)
        self.add_skip_weights()

    @property
    def num_layers(self) -> int:
        """Weight layers in a row, first convolution and head included."""
        return self.config.depth

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, shape (N, num_classes), for images (N, in_channels, H, W)."""
        parts.check_images(x, self.config.in_channels)
        return self.run(x, self.layer_weights())

    def run(self, x: Tensor, skip_weights: Iterable[Tensor]) -> Tensor:
        """Return the outputs for images (N, C, H, W) and a skip weight for each weighted connection."""
        x = self.stem(x)
        if self.config.order == "pre":
            x = self.activation(self.norm(self.run_layers(x, skip_weights)))
        else:
            x = self.run_layers(self.activation(self.norm(x)), skip_weights)
        return self.head(x.mean(dim=(2, 3)))


@takes(ConvNetConfig)
def convnet(*choices: Any, **named: Any) -> ConvNet:
    """Make a convolutional network from the five choices.

    torch's global random state is left as it was, unless `seed` is None.

    Args:
        *choices: those of `ConvNetConfig`, which says what each means and has the defaults.
        **named: the same by name.

    Returns:
        The network, in training mode, on the CPU.

    Raises:
        ValueError: for a value that `ConvNetConfig` refuses.

    Example:
        >>> import torch
        >>> resnet = convnet(depth=20, connection="residual", seed=0)
        >>> resnet(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
        >>> sum(parameter.numel() for parameter in resnet.parameters())
        269722
    """
    network: ConvNet = build(ConvNetConfig(*choices, **named))
    return network
