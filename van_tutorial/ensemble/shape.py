"""What networks may differ in and still be trained at once."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from torch import nn

from van_tutorial.models.mlp import MLP
from van_tutorial.training import TrainConfig

# Of the network: only what its values at the start are drawn from.
START = ("seed", "skip_weight", "init", "init_scale", "bias_std", "input_init", "norm_shift")
# Of the training: what does not change how many steps there are, which images are held out, and on which device.
PATH = (
    "seed", "lr", "momentum", "weight_decay", "augment", "skip_lr", "skip_gradient", "skip_target", "skip_schedule",
    "skip_penalty", "dual_lr", "dual_lr_spread", "stagger", "damping", "remove_by", "population_statistics",
)  # fmt: skip
MAY_DIFFER = {"model": START, "training": PATH}


def check_same_shape(models: Sequence[nn.Module], configs: Sequence[TrainConfig]) -> list[MLP]:
    """Return the networks if they and their configs can be trained at once.

    Args:
        models: the networks.
        configs: as many train configs.

    Returns:
        The networks.

    Raises:
        ValueError: for none at all, another number of configs than of networks, a network that `models.mlp` did not
            make, the same network twice, or two that differ in more than `MAY_DIFFER` names.
    """
    if len(models) == 0 or len(models) != len(configs):
        raise ValueError(
            f"As many configs as models are needed, and at least one: got {len(models)} models and "
            f"{len(configs)} configs."
        )
    if len({id(model) for model in models}) < len(models):
        raise ValueError("Every model must be a network of its own: one of them is given twice.")
    stacks = [model for model in models if isinstance(model, MLP)]
    for index, model in enumerate(models):
        if not isinstance(model, MLP):
            raise ValueError(
                f"Networks of models.mlp can be trained at once, model {index} is a {type(model).__name__}: "
                "train it by training.train."
            )
        refuse("model", index, asdict(stacks[0].config), asdict(model.config), START)
        refuse("config", index, asdict(configs[0]), asdict(configs[index]), PATH)
        if frozen := [name for name, weight in model.named_parameters() if not weight.requires_grad]:
            raise ValueError(
                f"All parameters are trained here, but model {index} has frozen ones ({', '.join(frozen[:3])}): "
                "train it by training.train."
            )
        if (dtype := model.head.weight.dtype) != stacks[0].head.weight.dtype:
            raise ValueError(
                f"Networks that are trained at once must have the same dtype: model 0 has "
                f"{stacks[0].head.weight.dtype}, model {index} has {dtype}."
            )
    return stacks


def refuse(
    kind: str, index: int, first: dict[str, Any], other: dict[str, Any], may_differ: Sequence[str]
) -> None:
    """Raise where two configs differ in a name that must be the same."""
    for name, value in first.items():
        if name not in may_differ and other[name] != value:
            raise ValueError(
                f"Networks that are trained at once must have the same {name}: {kind} 0 has {value!r}, "
                f"{kind} {index} has {other[name]!r}. They may differ in {', '.join(may_differ)}."
            )
