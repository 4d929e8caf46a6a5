"""Fully connected stacks."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from van_tutorial import connections
from van_tutorial._checks import check_choice, check_count, check_range
from van_tutorial.connections import Activation, Connection
from van_tutorial.models import parametrizations, parts
from van_tutorial.models.stack import Stack, StackConfig, build, takes


@dataclass(frozen=True)
class MLPConfig(StackConfig):
    """Everything that determines a fully connected network, its initial weights included.

    Attributes:
        depth: number L of layers of `width` to `width` units, at least 1; each has its connection.
        width: units per layer n, at least 1, counted before a concatenating activation.
        connection: "plain", "residual", "rezero" (a residual scale learned from 0), "highway" or "van".
        skip: form of the "van" connection: "convex", "additive" or "activation".
        skip_weight: initial skip weight of every layer, in [0, 1].
        skip_every: 1 gives every layer its connection; n gives it to layers 1, n + 1, 2 n + 1, ... and leaves the
            others plain, as the pairs of layers of a VanillaNet have it (n = 2).
        residual_scale: factor of f(x) in x + residual_scale f(x), above 0.
        normalization: "none", "batch", "layer" or "center" (the mean over the batch subtracted).
        activation: "relu", "tanh", "selu", "crelu" or "tat" (a leaky ReLU whose slope `tailored_slope` solves for).
        order: "post": f(x) = act(norm(W x + b)); "pre": f(x) = W act(norm(x)).
        init: "he", "lecun" (for "selu"), "orthogonal" (for "tat", too) or "looks-linear" (for "crelu").
        init_scale: factor of the initial weights of the `depth` layers, above 0; 1 leaves them as `init` has them.
        bias_std: standard deviation of the initial biases of the `depth` layers, at least 0; 0 sets them to 0.
            In order "pre" the layers have biases only where it is above 0.
        input_init: of the input layer: "same" is `init` with biases 0; "normal" draws the weights with variance
            1 / in_features and the biases with variance 1, so that the units' kinks lie spread over the data.
        norm_shift: initial bias of every normalization, "batch" or "layer". At 0 a ReLU passes half of its inputs on;
            at 1 five sixths, so that the layers are initialized closer to linear; at 2 nearly all.
        parametrization: of the layers' weights: "none" or "dirac".
        in_features: features per example after flattening, at least 1.
        num_classes: outputs of the head, at least 1.
        seed: of the initial weights; None draws them from torch's global generator.

    Raises:
        ValueError: for a value outside these bounds or a pair of choices that do not fit.
    """

    skip_every: int = 1
    init_scale: float = 1.0
    bias_std: float = 0.0
    input_init: str = "same"
    in_features: int = 784

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        check_count("in_features", self.in_features)
        check_count("skip_every", self.skip_every)
        check_choice("input_init", self.input_init, parts.INPUT_INITS)
        check_range("init_scale", self.init_scale, 0.0, math.inf, open_low=True)
        check_range("bias_std", self.bias_std, 0.0, math.inf)
        if self.init == "delta-orthogonal":
            raise ValueError("init 'delta-orthogonal' is for convolutions: take 'orthogonal'.")
        if self.init == "fixup":
            raise ValueError("init 'fixup' is for the blocks of a convolutional network: take 'he'.")
        if self.parametrization == "repvgg":
            raise ValueError("parametrization 'repvgg' is for convolutions: take 'dirac' or 'none'.")

    @property
    def num_activations(self) -> int:
        """Activations in a row: one in each layer, and in order "pre" one more before the head."""
        return self.depth + (self.order == "pre")

    def network(self) -> "MLP":
        """Return a network of this config, its weights drawn by torch's global generator; `models.build` seeds it."""
        return MLP(self)


class Layer(nn.Module):
    """One layer with its connection.

    order "post"    f(x) = act(norm(W x + b))
    order "pre"     f(x) = W act(norm(x))          + b where the config asks for initial biases
    """

    def __init__(self, config: MLPConfig, in_features: int, connection: Connection) -> None:
        super().__init__()
        self.is_pre = config.order == "pre"
        expansion = config.expansion
        fan_in = config.width * expansion if self.is_pre else in_features
        self.linear = nn.Linear(fan_in, config.width, bias=not self.is_pre or config.bias_std > 0.0)
        is_mirrored = expansion > 1 and fan_in > config.width
        parts.initialize(self.linear.weight, config.init, config.activation, is_mirrored)
        if config.init_scale != 1.0:
            self.linear.weight.data.mul_(config.init_scale)
        if config.bias_std > 0.0:
            nn.init.normal_(self.linear.bias, std=config.bias_std)
        elif self.linear.bias is not None:
            nn.init.zeros_(self.linear.bias)
        if config.parametrization == "dirac":
            parametrizations.add_dirac(self.linear)
        self.norm = parts.make_normalization(config.normalization, config.width, config.norm_shift)
        self.activation = config.make_activation()
        self.connection = connection

    def transform(self, x: Tensor, activation: Activation) -> Tensor:
        """Return f(x) with `activation` in the place of the layer's own."""
        if self.is_pre:
            return self.linear(activation(self.norm(x)))
        return activation(self.norm(self.linear(x)))

    def forward(self, x: Tensor, skip_weight: Tensor | None) -> Tensor:
        """Return the connection of x and f(x)."""
        return self.connection(x, self.transform, self.activation, skip_weight)


class MLP(Stack):
    """A stack of `depth` fully connected layers of equal width between a linear input layer and a linear head.

        h_0 = W_in x + b_in                       no activation, no skip-connection
        h_l = connection(h_{l-1}, f_l(h_{l-1}))   l = 1, ..., L
        y   = W_out h_L + b_out                   order "post"
        y   = W_out act(h_L) + b_out              order "pre", which ends in a sum without an activation

    Inputs (N, ...) are flattened from dimension 1 to (N, in_features); outputs are (N, num_classes).

    Attributes:
        config: the frozen `MLPConfig`.
        layers: the L layers.
        skip_weight: parameter of shape (L,), or (L / skip_every,) rounded up; only where the connection is weighted.
    """

    def __init__(self, config: MLPConfig) -> None:
        super().__init__()
        self.config = config
        expansion = config.expansion
        self.input_layer = nn.Linear(config.in_features, config.width)
        layers = []
        for index in range(config.depth):
            in_features = config.width if index == 0 or config.order == "pre" else config.width * expansion
            is_connected = index % config.skip_every == 0
            kind = config.connection_class if is_connected else connections.Plain
            connection = kind.build(config, lambda: nn.Linear(config.width, config.width), shortcut=None)
            layers.append(Layer(config, in_features, connection))
        self.layers = nn.ModuleList(layers)
        self.head = nn.Linear(config.width * expansion, config.num_classes)
        self.head_activation = config.make_activation() if config.order == "pre" else nn.Identity()
        if config.input_init == "normal":
            nn.init.normal_(self.input_layer.weight, std=config.in_features**-0.5)
            nn.init.normal_(self.input_layer.bias)
        else:
            parts.initialize(self.input_layer.weight, config.init, config.activation, is_mirrored=False)
            nn.init.zeros_(self.input_layer.bias)
        parts.initialize(self.head.weight, config.init, config.activation, is_mirrored=expansion > 1)
        nn.init.zeros_(self.head.bias)
        self.add_skip_weights()

    @property
    def num_layers(self) -> int:
        """Weight layers in a row, input layer and head included."""
        return self.config.depth + 2

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, shape (N, num_classes), for inputs (N, ...) of `in_features` numbers each."""
        x = x.flatten(1)
        if x.shape[1] != self.config.in_features:
            raise ValueError(
                f"The network takes {self.config.in_features} features per example, got {x.shape[1]}: "
                f"make it with in_features={x.shape[1]}."
            )
        return self.run(x, self.layer_weights())

    def run(self, x: Tensor, skip_weights: Iterable[Tensor]) -> Tensor:
        """Return the outputs for inputs (N, in_features) and a skip weight for each weighted connection."""
        return self.head(self.head_activation(self.run_layers(self.input_layer(x), skip_weights)))


@takes(MLPConfig)
def mlp(*choices: Any, **named: Any) -> MLP:
    """Make a fully connected network from the five choices.

    torch's global random state is left as it was, unless `seed` is None.

    Args:
        *choices: those of `MLPConfig`, which says what each means and has the defaults.
        **named: the same by name.

    Returns:
        The network, in training mode, on the CPU.

    Raises:
        ValueError: for a value that `MLPConfig` refuses.

    Example:
        >>> import torch
        >>> model = mlp(depth=3, width=4, connection="van", seed=0)
        >>> model(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
        >>> model.skip_weight.shape
        torch.Size([3])
    """
    network: MLP = build(MLPConfig(*choices, **named))
    return network
