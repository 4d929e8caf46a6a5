"""Networks as their users write them, for the tests of what takes any network."""

import torch
from torch import nn
from torch.nn import functional


class PreActivation(nn.Module):
    """A block of a residual network in order pre, whose shortcut starts after the first activation."""

    def __init__(self, num_in, num_out, stride):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(num_in), nn.Conv2d(num_in, num_out, 3, stride, 1)
        self.norm2, self.conv2 = nn.BatchNorm2d(num_out), nn.Conv2d(num_out, num_out, 3, 1, 1)
        if stride != 1 or num_in != num_out:
            self.shortcut = nn.Sequential(nn.Conv2d(num_in, num_out, 1, stride))

    def forward(self, x):
        out = functional.relu(self.norm1(x))
        shortcut = self.shortcut(out) if hasattr(self, "shortcut") else x
        out = self.conv2(functional.relu(self.norm2(self.conv1(out))))
        out += shortcut
        return out


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, 2)
        self.blocks = nn.Sequential(PreActivation(4, 4, 1), PreActivation(4, 8, 2))
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class DropPath(nn.Module):
    def forward(self, x):
        if not self.training:
            return x
        return x * x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(0.7) / 0.7


class LayerScale(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x):
        return x * self.gamma


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        n, length, width = x.shape
        query, key, value = self.qkv(x).reshape(n, length, 3, 2, width // 2).permute(2, 0, 3, 1, 4).unbind(0)
        dropped = 0.1 if self.training else 0.0
        x = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropped)
        return self.proj(x.transpose(1, 2).reshape(n, length, width))


class GatedMLP(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gate, self.up, self.down = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x):
        return self.down(functional.dropout(functional.silu(self.gate(x)) * self.up(x), 0.1, self.training))


class TransformerBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.mlp = Attention(width), GatedMLP(width)
        self.scale1, self.scale2, self.drop_path = LayerScale(width), LayerScale(width), DropPath()

    def forward(self, x):
        x = x + self.drop_path(self.scale1(self.attention(self.norm1(x))))
        return x + self.drop_path(self.scale2(self.mlp(self.norm2(x))))


class VisionTransformer(nn.Module):
    """Patches, a class token and position embeddings; it checks what it is given."""

    def __init__(self, width=8):
        super().__init__()
        self.patches = nn.Conv2d(1, width, 7, 7)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 17, width))
        self.blocks = nn.ModuleList(TransformerBlock(width) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x):
        if x.dim() != 4 or x.shape[2:] != (28, 28):
            raise ValueError("images of 28 by 28 pixels, please")
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class Mixer(nn.Module):
    def __init__(self, num_patches=16, width=8):
        super().__init__()
        self.patches = nn.Conv2d(1, width, 7, 7)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens, self.channels = nn.Linear(num_patches, num_patches), nn.Linear(width, width)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return self.head((x + self.channels(self.norm2(x))).mean(1))


class SqueezeExcitation(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.down, self.up = nn.Conv2d(width, 2, 1), nn.Conv2d(2, width, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.up(functional.relu(self.down(x.mean((2, 3), keepdim=True)))))


class Stochastic(nn.Module):
    """A block that drops its path by code of its own, in training mode."""

    def __init__(self, width):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width)
        self.gate, self.activation = SqueezeExcitation(width), nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.gate(self.norm(self.conv(x)))
        if self.training:
            out = out * (torch.rand(x.shape[0], 1, 1, 1, device=x.device) < 0.7) / 0.7
        return self.activation(out + x)


class StochasticDepth(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.blocks = nn.Conv2d(1, 4, 3, 2), nn.Sequential(Stochastic(4), Stochastic(4))
        self.head = nn.Linear(4, 10)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class InPlace(nn.Module):
    """Sums in place into the shortcut, into f(x), and as a statement; and f(x) that is used once more."""

    def __init__(self):
        super().__init__()
        self.shortcut, self.conv1 = nn.Conv2d(1, 4, 1), nn.Conv2d(1, 4, 3, 1, 1)
        self.conv2, self.conv3, self.head = (
            nn.Conv2d(4, 4, 3, 1, 1),
            nn.Conv2d(4, 4, 3, 1, 1),
            nn.Linear(4, 10),
        )

    def forward(self, x):
        x = functional.avg_pool2d(x, 4)
        start = self.shortcut(x)
        start += self.conv2(torch.sigmoid(self.conv1(x)))
        start = functional.relu(start, inplace=True)
        y = self.conv2(torch.relu(self.conv3(start))) * 1.5
        total = y + start
        total.relu_()
        out = total * 1.5
        out.add_(start)
        return self.head((out + y * 2).mean((2, 3)))


class Parallel(nn.Module):
    """Three paths in one sum, a scaled sum, and a constant buffer that is not saved."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(784, 6), nn.Linear(6, 10)
        self.a, self.b, self.c, self.d = (nn.Linear(6, 6) for _ in range(4))
        self.register_buffer("mask", torch.linspace(0.0, 1.0, 6), persistent=False)

    def forward(self, x):
        x = self.stem(x.flatten(1)) * self.mask + torch.eye(6)[0]
        x = x + self.a(x) + self.b(torch.relu(self.c(x)))
        return self.head(torch.add(x, self.d(x), alpha=0.5))


class FrozenNorm(nn.Module):
    """A network whose normalization stays in eval mode, whatever mode it is put in."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 1, 3, 1, 1), nn.BatchNorm2d(1), nn.Linear(784, 10)

    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, x):
        x = x + functional.dropout(self.norm(self.conv(x)), 0.3, self.training)
        return self.head(x.flatten(1))


class Made(nn.Module):
    """Three linear layers, joined as `join` says."""

    def __init__(self, join):
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(4, 4) for _ in range(3))
        self.join = join

    def forward(self, x):
        return self.join(self, x)


NETWORKS = {  # with the number of their skips
    Residual: 2, VisionTransformer: 4, Mixer: 2, StochasticDepth: 2, InPlace: 3, Parallel: 3, FrozenNorm: 1,
}  # fmt: skip
