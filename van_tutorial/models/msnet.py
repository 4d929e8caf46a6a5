"""Two networks in one: a slave whose last features go back into the first layers of a master.

It stands apart from the stacks because its skip-connections point backward, from the top of a network to the bottom,
which takes two networks: a feed-forward network cannot feed itself what it has not yet computed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from van_tutorial._checks import check_choice, check_count, check_flag, check_seed
from van_tutorial.models import parts
from van_tutorial.models.stack import build, takes

COMBINES = ("sum", "concat")
NUM_LAYERS = 4


@dataclass(frozen=True)
class MSNetConfig:
    """Everything that determines a master-slave network, its initial weights included.

    Attributes:
        width: channels n of the first layer; the four layers of a branch have n, 2 n, 4 n and 4 n.
        has_slave: False leaves the master alone.
        num_backward: layers of the master, from the first on, that get the slave's features, from 1 to 4.
        combine: how they get them: "sum" or "concat". Which of the two the paper has was not looked up.
        in_channels: of the images, at least 1.
        num_classes: classes of a pixel, at least 1.
        seed: of the initial weights; None draws them from torch's global generator.

    Raises:
        ValueError: for a value outside these bounds.
    """

    width: int = 8
    has_slave: bool = True
    num_backward: int = 2
    combine: str = "sum"
    in_channels: int = 1
    num_classes: int = 11
    seed: int | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        for name in ("width", "in_channels", "num_classes", "num_backward"):
            check_count(name, getattr(self, name))
        if self.num_backward > NUM_LAYERS:
            raise ValueError(f"num_backward must be at most {NUM_LAYERS}, got {self.num_backward}.")
        check_flag("has_slave", self.has_slave)
        check_choice("combine", self.combine, COMBINES)
        if self.seed is not None:
            check_seed(self.seed)

    def network(self) -> "MSNet":
        """Return a network of this config, its weights drawn by torch's global generator; `models.build` seeds it."""
        return MSNet(self)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of a branch's layers."""
        return (self.width, 2 * self.width, 4 * self.width, 4 * self.width)


class Branch(nn.Module):
    """A small fully convolutional network: four layers relu(norm(conv(x))), the second and third at half the size.

    Args:
        config: of the network.
        feedback_channels: channels of the features that come back; 0 for none.
    """

    def __init__(self, config: MSNetConfig, feedback_channels: int = 0) -> None:
        super().__init__()
        self.concatenates = config.combine == "concat"
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        self.backward_skips = nn.ModuleList()
        channels = config.in_channels
        for index, out_channels in enumerate(config.channels):
            self.convolutions.append(make_convolution(channels, out_channels, 3))
            self.norms.append(nn.BatchNorm2d(out_channels))
            channels = out_channels
            if feedback_channels and index < config.num_backward:
                self.backward_skips.append(make_convolution(feedback_channels, out_channels, 1))
                channels = out_channels * (2 if self.concatenates else 1)
        self.out_channels = channels

    def forward(self, x: Tensor, feedback: Tensor | None = None) -> Tensor:
        """Return the last layer's features, a quarter as high and wide as x."""
        for index, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            if index in (1, 2):
                x = functional.max_pool2d(x, 2)
            x = torch.relu(norm(convolution(x)))
            if feedback is not None and index < len(self.backward_skips):
                back = resize(self.backward_skips[index](feedback), x.shape[2:])
                x = torch.cat((x, back), dim=1) if self.concatenates else x + back
        return x


def make_convolution(in_channels: int, out_channels: int, size: int) -> nn.Conv2d:
    """Return a convolution that keeps height and width, with He's initial weights and no biases."""
    convolution = nn.Conv2d(in_channels, out_channels, size, padding=size // 2, bias=False)
    parts.initialize(convolution.weight, "he", "relu", is_mirrored=False)
    return convolution


def resize(x: Tensor, size: Iterable[int]) -> Tensor:
    """Return x brought to another height and width by bilinear interpolation."""
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


class MSNet(nn.Module):
    """A master that labels every pixel, helped by a slave whose top features go back into the master's bottom layers.

        s_l = relu(norm(conv(s_{l-1})))                                the slave, l = 1, ..., 4, s_0 = x
        m_l = relu(norm(conv(m_{l-1}))) (+) resize(G_l s_4)            the master, m_0 = x; (+) where l <= num_backward
        y   = resize(W m_4 + b)                                        K numbers for every pixel

    (+) is a sum or a concatenation, G_l a convolution of 1 by 1. Layers 2 and 3 see their input at half the size. Both
    are trained together by the master's loss. The master alone has the same layers without (+).

    Inputs are (N, in_channels, H, W), H and W at least 4; outputs are (N, num_classes, H, W).

    Attributes:
        config: the frozen `MSNetConfig`.
        master: its branch.
        slave: its branch; None where the master is alone.
        head: W and b, a convolution of 1 by 1.

    Source:
        Abdulnabi, Winkler and Wang 2017, Beyond forward shortcuts: fully convolutional master-slave networks (MSNets)
        with backward skip connections for semantic segmentation (arXiv 1707.05537). Only its abstract was read:
        the layers, their number and the joint training are ours.
    """

    def __init__(self, config: MSNetConfig) -> None:
        super().__init__()
        self.config = config
        self.slave = Branch(config) if config.has_slave else None
        self.master = Branch(config, self.slave.out_channels if self.slave else 0)
        self.head = nn.Conv2d(self.master.out_channels, config.num_classes, 1)
        parts.initialize(self.head.weight, "he", "relu", is_mirrored=False)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]  # made with one

    @property
    def num_layers(self) -> int:
        """Weight layers in a row: the slave, the backward skip, the master from its second layer on, the head."""
        return NUM_LAYERS + 1 + (NUM_LAYERS if self.slave is not None else 0)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs for every pixel, shape (N, num_classes, H, W)."""
        parts.check_images(x, self.config.in_channels)
        feedback = self.slave(x) if self.slave is not None else None
        return resize(self.head(self.master(x, feedback)), x.shape[2:])


@takes(MSNetConfig)
def msnet(*choices: Any, **named: Any) -> MSNet:
    """Make a master with or without a slave.

    torch's global random state is left as it was, unless `seed` is None.

    Args:
        *choices: those of `MSNetConfig`, which says what each means and has the defaults.
        **named: the same by name.

    Returns:
        The network, in training mode, on the CPU.

    Raises:
        ValueError: for a value that `MSNetConfig` refuses.

    Example:
        >>> network = msnet(width=4, num_classes=3, seed=0)
        >>> network(torch.zeros(2, 1, 48, 48)).shape
        torch.Size([2, 3, 48, 48])
    """
    network: MSNet = build(MSNetConfig(*choices, **named))
    return network
