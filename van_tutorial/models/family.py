"""The family as named recipes: every network that the course compares, made of the five choices."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from torch import nn

from van_tutorial._checks import check_choice, check_count
from van_tutorial.models.convnet import ConvNet, convnet
from van_tutorial.models.mlp import MLP, mlp
from van_tutorial.models.msnet import msnet

MAKERS: dict[str, Callable[..., nn.Module]] = {"mlp": mlp, "convnet": convnet, "msnet": msnet}


@dataclass(frozen=True)
class Recipe:
    """One network of the family.

    Attributes:
        kind: what makes it: "mlp", "convnet" or "msnet".
        formula: a layer of it, in a line; f(x) is the layer without its connection.
        source: authors and year.
        ends_without_skips: whether, and how.
        choices: arguments of its maker that differ from the defaults.
        training: what `training.TrainConfig` must be told, apart from the defaults, for the recipe to be itself.
    """

    kind: str
    formula: str
    source: str
    ends_without_skips: str
    choices: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


HE, HE_PRE = "He, Zhang, Ren and Sun 2016 (ResNet)", "He, Zhang, Ren and Sun 2016 (identity mappings)"
SRIVASTAVA, ZAGORUYKO = "Srivastava, Greff and Schmidhuber 2015", "Zagoruyko and Komodakis 2018"
MONTI = "Monti, Tootoonian and Cao 2018, our reading of the abstract"
BALDUZZI, ZHANG, ABDULNABI = (
    "Balduzzi et al. 2017",
    "Zhang, Botev and Martens 2022",
    "Abdulnabi, Winkler and Wang 2017",
)
NEVER, KEPT, FOLDED = "yes, never had any", "no, keeps them", "yes, folded by collapse"
PHASED_OUT = "yes, phased out by multipliers"
PLAIN, RESIDUAL, HIGHWAY, REZERO = (
    {"connection": name} for name in ("plain", "residual", "highway", "rezero")
)
BARE = {"normalization": "none"}
LOOKS_LINEAR = {**PLAIN, **BARE, "activation": "crelu", "init": "looks-linear"}
AFFINE = {"connection": "van", "skip": "activation", "skip_weight": 0.0}
DIRAC = {**PLAIN, "parametrization": "dirac"}

# fmt: off
FAMILY: dict[str, Recipe] = {
    "plain": Recipe("mlp", "f(x) = relu(norm(W x + b))", "-", NEVER, PLAIN),
    "residual": Recipe("mlp", "x + f(x)", HE, KEPT, RESIDUAL),
    "highway": Recipe("mlp", "T(x) f(x) + (1 - T(x)) x, T = sigmoid(V x + c), c < 0", SRIVASTAVA, KEPT, HIGHWAY),
    "van": Recipe("mlp", "alpha x + (1 - alpha) f(x), alpha -> 0", MONTI, PHASED_OUT),
    "van-additive": Recipe("mlp", "f(x) + alpha x, alpha -> 0", MONTI, PHASED_OUT, {"skip": "additive"}),
    "van-activation": Recipe("mlp", "alpha z + (1 - alpha) relu(z), alpha -> 0", MONTI, PHASED_OUT,
                             {"skip": "activation"}),
    "dirac": Recipe("mlp", "W = diag(a) I + diag(b) V / |V|", ZAGORUYKO, FOLDED, DIRAC),
    # 23 units make as many weights of 46 inputs each as 32 units of 32.
    "looks-linear": Recipe("mlp", "(V, -V) crelu(z) = V z at initialization", BALDUZZI, NEVER,
                           {**LOOKS_LINEAR, "width": 23}),
    "selu": Recipe("mlp", "f(x) = selu(W x + b), var W = 1 / n", "Klambauer et al. 2017", NEVER,
                   {**PLAIN, **BARE, "activation": "selu", "init": "lecun"}),
    "tat": Recipe("mlp", "f(x) = g leaky_relu(W x + b), its slope by depth, W orthogonal", ZHANG, NEVER,
                  {**PLAIN, **BARE, "activation": "tat", "init": "orthogonal"}),
    "rezero": Recipe("mlp", "x + s f(x), s learned from 0", "Bachlechner et al. 2020", KEPT, {**REZERO, **BARE}),
    "vanillanet": Recipe("mlp", "alpha z + (1 - alpha) relu(z) in every second layer, alpha 0 -> 1 by a schedule",
                         "Chen, Wang, Guo and Tao 2023", "yes, pairs of layers merged by merge",
                         {**AFFINE, "skip_every": 2},
                         {"skip_target": 1.0, "skip_schedule": "linear", "remove_by": 1 / 3}),
    "layer-folding": Recipe("mlp",
                            "alpha z + (1 - alpha) relu(z), alpha 0 -> 1 where a penalty on 1 - alpha^2 can have it",
                            "Dror et al. 2021", "yes, layers that became affine merged by merge", AFFINE,
                            {"skip_target": 1.0, "skip_schedule": "penalty", "remove_by": None}),
    "plain-conv": Recipe("convnet", "relu(F(x)), F two convolutions", HE, NEVER, PLAIN),
    "resnet": Recipe("convnet", "relu(x + F(x))", HE, KEPT, RESIDUAL),
    "resnet-pre": Recipe("convnet", "x + F(x)", HE_PRE, KEPT, {**RESIDUAL, "order": "pre"}),
    "highway-conv": Recipe("convnet", "relu(T(x) F(x) + (1 - T(x)) x), T a convolution", SRIVASTAVA, KEPT, HIGHWAY),
    "van-conv": Recipe("convnet", "relu(alpha x + (1 - alpha) F(x)), alpha -> 0", MONTI, PHASED_OUT),
    "diracnet": Recipe("convnet", "W = diag(a) I + diag(b) V / |V| in every convolution", ZAGORUYKO, FOLDED,
                       {**DIRAC, "depth": 32, "layers_per_block": 1, "downsampling": "max-pool"},
                       {"weight_decay": 5e-4}),
    "looks-linear-conv": Recipe("convnet", "(V, -V) * crelu(z) = V * z at initialization", BALDUZZI, NEVER,
                                {**LOOKS_LINEAR, "width": 11}),
    "delta-orthogonal": Recipe("convnet", "tanh(W * x), W orthogonal at the kernel's centre, 0 elsewhere",
                               "Xiao et al. 2018", NEVER,
                               {**PLAIN, **BARE, "activation": "tanh", "init": "delta-orthogonal"}),
    "tat-conv": Recipe("convnet", "g leaky_relu(W * x), its slope by depth, W as in delta-orthogonal", ZHANG, NEVER,
                       {**PLAIN, **BARE, "activation": "tat", "init": "delta-orthogonal"}),
    "skipinit": Recipe("convnet", "x + s F(x), s learned from 0", "De and Smith 2020", KEPT,
                       {**REZERO, **BARE, "order": "pre"}),
    "fixup": Recipe("convnet", "relu(x + F(x)), F from 0, its first weights smaller by depth",
                    "Zhang, Dauphin and Ma 2019", KEPT, {**RESIDUAL, **BARE, "init": "fixup"}),
    "repvgg": Recipe("convnet", "relu(norm(W3 * x) + norm(W1 * x) + norm(x))", "Ding et al. 2021", FOLDED,
                     {**PLAIN, "parametrization": "repvgg", "layers_per_block": 1}),
    "msnet-master": Recipe("msnet", "m_l = f_l(m_{l-1})", ABDULNABI, NEVER, {"has_slave": False}),
    "msnet": Recipe("msnet", "m_l = f_l(m_{l-1}) (+) G_l s_4, s the slave", ABDULNABI, KEPT),
}

# The networks from one number to one number whose gradients Balduzzi et al. (2017) look at, and ours beside them.
SCALAR_RECIPES: dict[str, dict[str, Any]] = {
    "plain, centred": {**PLAIN, "normalization": "center"},
    "plain, batch norm": {**PLAIN, "normalization": "batch"},
    "plain, not centred": {**PLAIN, **BARE},
    "residual, batch norm, beta 1": {**RESIDUAL, "normalization": "batch"},
    "residual, batch norm, beta 0.1": {**RESIDUAL, "normalization": "batch", "residual_scale": 0.1},
    "looks-linear": {**LOOKS_LINEAR, "width": 100},  # 200 after the activation: as many weights as the others
    **{
        f"VAN{note}, alpha {alpha}": {"normalization": "center", "skip_weight": alpha, "order": order}
        for note, order in (("", "pre"), (", post order", "post")) for alpha in (0.25, 0.5, 0.75, 0.95)
    },
}
# fmt: on


def make(name: str, **choices: Any) -> Any:
    """Make a network of the family.

    Args:
        name: of a recipe in `FAMILY`.
        choices: arguments of its maker (`mlp`, `convnet` or `msnet`) that are to differ from the recipe.

    Returns:
        The network, in training mode, on the CPU.

    Raises:
        ValueError: for an unknown name, and for values that the maker refuses.

    Example:
        >>> make("resnet", depth=56, seed=0).config.connection
        'residual'
    """
    check_choice("name", name, FAMILY)
    recipe = FAMILY[name]
    return MAKERS[recipe.kind](**{**recipe.choices, **choices})


def diracnet(depth: int = 34, k: int = 1, **choices: Any) -> ConvNet:
    """Make a DiracNet for CIFAR: a plain convolutional network in which every weight has an identity in it.

    A first convolution; three groups of 2 N convolutions with 16 k, 32 k and 64 k channels, all but the first with
    Dirac weights, between the groups a maximum over 2 by 2 positions; the mean over all positions; a linear head. N is
    (depth - 4) / 6: the published count has four layers besides, as that of wide residual networks has it, where two
    of them belong to shortcuts.

    The published order is relu, convolution, normalization, and the maximum between normalization and relu. Here
    relu comes after the normalization and the maximum after it: the same, since the maximum of rectified
    numbers is the rectified maximum.

    Args:
        depth: 6 N + 4, from 10.
        k: factor of the published widths, at least 1.
        choices: further arguments of `convnet`.

    Returns:
        The network; `collapse` folds it into ordinary convolutions.

    Raises:
        ValueError: for another depth, and for values that `convnet` refuses.

    Example:
        >>> len(diracnet(depth=34).layers)
        30

    Source:
        Zagoruyko and Komodakis 2018, DiracNets, version 2 (arXiv 1706.00388) and the authors' code. Trained there with
        weight decay 5e-4, but not on one-dimensional parameters, as `training.TrainConfig` has it.
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"depth must be 6 N + 4 (10, 16, 22, 28, 34, ...), got {depth!r}.")
    return make("diracnet", depth=depth - 2, width=16 * k, **choices)


def family_table() -> pd.DataFrame:
    """Return a row for each recipe: its five choices, its size, and whether it ends without skip-connections.

    Returns:
        Columns recipe, kind, connection, parametrization, activation, init, normalization, parameters, layers (weight
        layers in a row, input layer and head included), ends_without_skips. A dash where there is no such choice.
    """
    return pd.DataFrame([family_row(name, recipe) for name, recipe in FAMILY.items()])


def family_row(name: str, recipe: Recipe) -> dict[str, Any]:
    """Return the row of one recipe."""
    model = make(name, seed=0)
    config = model.config
    choices = ("connection", "parametrization", "activation", "init", "normalization")
    row = {
        "recipe": name,
        "kind": recipe.kind,
        **{choice: getattr(config, choice, "-") for choice in choices},
    }
    if row["connection"] == "van":
        row["connection"] = f"van ({config.skip})"
    if recipe.kind == "msnet":
        row |= {"connection": "backward" if config.has_slave else "plain", "parametrization": "none"}
        row |= {"activation": "relu", "init": "he", "normalization": "batch"}
    return {
        **row,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "layers": model.num_layers,
        "ends_without_skips": recipe.ends_without_skips,
    }


def scalar_network(recipe: str, depth: int, seed: int | None = None, **choices: Any) -> MLP:
    """Make a network from one number to one number, as the toy experiment on shattered gradients has it.

    With matrices A of variance 2/n, w, b standard normal and v of variance 2/n:

        h_1 = x w + b
        h_l = connection(h_{l-1}, relu(norm(h_{l-1})) A)     l = 2, ..., L
        y   = v . relu(h_L)                                  (post order: relu(norm(h_{l-1} A)), and y = v . h_L)

    norm subtracts the mean over the batch (centred), is batch normalization, or nothing. Where nothing is centred the
    random biases b matter: with b = 0 every unit has its kink at x = 0. Centring subtracts them again, so that there,
    on inputs that lie evenly about 0, dy/dx of two layers has two values only.

    Args:
        recipe: a name in `SCALAR_RECIPES`.
        depth: number L of hidden layers, at least 2; the first is the input layer, so the network has L - 1 layers
            with a connection.
        seed: of the initial weights, or None.
        choices: arguments of `mlp` that are to differ from the recipe.

    Returns:
        The network, in training mode, where its normalization takes the statistics of the batch.

    Raises:
        ValueError: for an unknown recipe, a depth below 2, and choices that `MLPConfig` refuses.

    Example:
        >>> network = scalar_network("plain, centred", depth=24, seed=0)
        >>> network.config.depth, network.config.width
        (23, 200)

    Source:
        Balduzzi et al. 2017, The shattered gradients problem, Figures 1 and 2. That their biases were random, and
        their width, grid and centring, is reported from memory; the VANs are ours.
    """
    check_choice("recipe", recipe, SCALAR_RECIPES)
    check_count("depth", depth, minimum=2)
    defaults: dict[str, Any] = {
        "width": 200, "order": "pre", "init": "he", "input_init": "normal", "in_features": 1, "num_classes": 1,
    }  # fmt: skip
    return mlp(depth=depth - 1, seed=seed, **{**defaults, **SCALAR_RECIPES[recipe], **choices})
