"""What networks may differ in and still be trained at once."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import chain
from typing import Any, NoReturn, cast

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from van_tutorial.connections import Connection
from van_tutorial.ensemble.stacked import AS_THEY_ARE, STACKED
from van_tutorial.models import MLP, ConvNet
from van_tutorial.models.stack import build
from van_tutorial.training import TrainConfig

# Of the network: only what its values at the start are drawn from.
START = ("seed", "skip_weight", "init", "init_scale", "bias_std", "input_init", "norm_shift")
# Of the training: what changes neither how many steps there are, nor the validation set, nor the device.
PATH = (
    "seed", "lr", "momentum", "weight_decay", "augment", "skip_lr", "skip_gradient", "skip_target", "skip_schedule",
    "skip_penalty", "dual_lr", "dual_lr_spread", "dual_gain", "dual_smoothing", "dual_growth", "stagger", "damping",
    "remove_from", "remove_by", "population_statistics",
)  # fmt: skip
MAY_DIFFER = {"model": START, "training": PATH}
KINDS: tuple[type[nn.Module], ...] = (MLP, ConvNet)
APART = {"_parameters", "_buffers", "_modules", "config"}  # attributes that are compared apart


def check_same_shape(models: Sequence[nn.Module], configs: Sequence[TrainConfig]) -> MLP | ConvNet:
    """Raise unless the networks and their configs can be trained at once.

    A network may differ from what `models.mlp` or `models.convnet` makes of the first network's config in the values of
    its parameters and buffers, and in nothing else: no other module, no other attribute of one, no hook, no tensor that
    two of them share.

    Args:
        models: the networks.
        configs: as many train configs.

    Returns:
        One more network of their shape.

    Raises:
        ValueError: for none at all, another number of configs than of networks, two that differ in more than
            `MAY_DIFFER` names or share a tensor, and a network that is not just what `models.mlp` or
            `models.convnet` makes.
    """
    if len(models) == 0 or len(models) != len(configs):
        raise ValueError(
            f"As many configs as models are needed, and at least one: got {len(models)} models and "
            f"{len(configs)} configs."
        )
    if len({id(model) for model in models}) < len(models):
        raise ValueError("Every model must be a network of its own: one of them is given twice.")
    first = models[0]
    for index, (model, config) in enumerate(zip(models, configs, strict=True)):
        if type(model) not in KINDS or type(model) is not type(first):
            kinds = " or ".join(f"models.{kind.__name__.lower()}" for kind in KINDS)
            refuse(index, f"is a {type(model).__name__}, and not one of {kinds} like model 0")
        check_same("model", index, asdict(cast(Any, first).config), asdict(cast(Any, model).config), START)
        check_same("config", index, asdict(configs[0]), asdict(config), PATH)
    network = build(replace(cast(MLP | ConvNet, first).config, seed=0)).to(next(first.parameters()).dtype)
    owners: dict[int, str] = {}
    for index, model in enumerate(models):
        if found := difference(model, network):
            refuse(index, found)
        for name, tensor in chain(
            model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)
        ):
            this = f"{name} of model {index}"
            if (owner := owners.setdefault(tensor.data_ptr(), this)) != this:
                refuse(index, f"shares {name} with {owner}")
    return network


def refuse(index: int, found: str) -> NoReturn:
    """Raise for a network that is not just what `models.mlp` or `models.convnet` makes."""
    raise ValueError(
        f"Model {index} cannot be trained at once with others: it {found}. Train it by training.train."
    )


def check_same(
    kind: str, index: int, first: dict[str, Any], other: dict[str, Any], may_differ: Sequence[str]
) -> None:
    """Raise where two configs differ in a name that must be the same."""
    for name, value in first.items():
        if name not in may_differ and other[name] != value:
            raise ValueError(
                f"Networks that are trained at once must have the same {name}: {kind} 0 has {value!r}, "
                f"{kind} {index} has {other[name]!r}. They may differ in {', '.join(may_differ)}."
            )


def difference(model: nn.Module, expected: nn.Module) -> str:
    """Return in what a network is not as expected, the values of its parameters and buffers aside; else nothing."""
    found, known = (dict(each.named_modules(remove_duplicate=False)) for each in (model, expected))
    for name in {**known, **found}:
        where = f"its module {name}" if name else "itself"
        if name not in found or name not in known:
            return f"has {'lost' if name in known else 'been given'} {where}"
        kind = type_before_parametrizations(known[name])
        can_couple = isinstance(known[name], Connection) or describe_tensors(known[name])
        if name and can_couple and kind not in {*STACKED, *AS_THEY_ARE}:
            return f"has a {kind.__name__}, which is not made for many networks, in {where}"
        here, there = (describe(each) for each in (found[name], known[name]))
        for key in sorted(there.keys() | here.keys()):
            mine, other = here.get(key, "nothing"), there.get(key, "nothing")
            if type(mine) is not type(other) or mine != other:
                mine = (
                    mine if isinstance(mine, str | bool | int | float) else f"of type {type(mine).__name__}"
                )
                return f"has {key} {mine} in the place of {other} in {where}"
    return ""


def describe(module: nn.Module) -> dict[str, Any]:
    """Return all that a module is of its own, but the values of its parameters and buffers."""
    attributes = {name: value for name, value in vars(module).items() if name not in APART}
    kind = type_before_parametrizations(module)
    return {"class": f"{kind.__module__}.{kind.__qualname__}", **describe_tensors(module), **attributes}


def describe_tensors(module: nn.Module) -> dict[str, str]:
    """Return in words all that is to be said of a module's own parameters and buffers but their values."""
    return {
        name: f"{type(tensor).__name__} {tuple(tensor.shape)} {tensor.dtype}"
        + ", frozen" * (isinstance(tensor, nn.Parameter) and not tensor.requires_grad)
        + ", with a hook" * bool(tensor._backward_hooks or tensor._post_accumulate_grad_hooks)
        for name, tensor in {**module._parameters, **module._buffers}.items()
        if tensor is not None
    }
