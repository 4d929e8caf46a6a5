"""Networks that have a name: choices that are made together, because somebody published or measured them so."""

from typing import Any

from van_tutorial._checks import check_choice, check_count
from van_tutorial.models.mlp import MLP, mlp

# The networks from one number to one number whose gradients Balduzzi et al. (2017) look at, and ours beside them.
SCALAR_RECIPES: dict[str, dict[str, Any]] = {
    "plain, centred": {"connection": "plain", "normalization": "center"},
    "plain, batch norm": {"connection": "plain", "normalization": "batch"},
    "plain, not centred": {"connection": "plain", "normalization": "none"},
    "residual, batch norm, beta 1": {"connection": "residual", "normalization": "batch"},
    "residual, batch norm, beta 0.1": {
        "connection": "residual",
        "normalization": "batch",
        "residual_scale": 0.1,
    },
    "looks-linear": {
        "connection": "plain",
        "normalization": "none",
        "activation": "crelu",
        "init": "looks-linear",
        "width": 100,  # twice as many after the activation, so that the layers have as many weights as the others
    },
    **{
        f"VAN{note}, alpha {alpha}": {
            "connection": "van",
            "normalization": "center",
            "skip_weight": alpha,
            "order": order,
        }
        for note, order in (("", "pre"), (", post order", "post"))
        for alpha in (0.25, 0.5, 0.75, 0.95)
    },
}


def scalar_network(recipe: str, depth: int, seed: int | None = None, **choices: Any) -> MLP:
    """Make a network from one number to one number, as the toy experiment on shattered gradients has it.

    With matrices A of variance 2/n, w, b standard normal and v of variance 2/n:

        h_1 = x w + b
        h_l = connection(h_{l-1}, relu(norm(h_{l-1})) A)     l = 2, ..., L
        y   = v . relu(h_L)                                  (post order: relu(norm(h_{l-1} A)), and y = v . h_L)

    norm takes the mean over the batch off (centred), is batch normalization, or nothing. Where nothing is centred the
    random biases b matter: with b = 0 every unit has its kink at x = 0. Centring takes them off again, so that there,
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
