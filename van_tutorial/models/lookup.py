"""Where a network keeps its skip weights, and what stands inside the wrappers that others put around it."""

from numbers import Number
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.utils.parametrize import is_parametrized
from torch.optim.swa_utils import AveragedModel

NAME = "skip_weight"


def find_skip_weight(model: nn.Module) -> nn.Parameter | None:
    """Find a network's parameter `skip_weight`, wherever one of its modules holds it.

    So a network may stand inside others, such as `nn.Sequential`, `nn.DataParallel` or a compiled module.

    Args:
        model: any network.

    Returns:
        The parameter, shape (L,); None where no module has one. One parameter under several names is one.

    Raises:
        ValueError: for two different ones, and for a `skip_weight` that is a number, a tensor that is no parameter, or
            no floating-point parameter of shape (L,).

    Example:
        >>> from van_tutorial import models
        >>> network = models.mlp(depth=3, width=4, connection="van", seed=0)
        >>> find_skip_weight(nn.Sequential(nn.Flatten(), network)) is network.skip_weight
        True
    """
    parameters = {id(parameter) for parameter in model.parameters()}
    found: dict[int, tuple[str, nn.Parameter]] = {}
    for module_name, module in model.named_modules():
        value = None if is_parametrized(module, NAME) else getattr(module, NAME, None)
        name = f"{module_name}.{NAME}".lstrip(".")
        is_value = isinstance(value, Tensor | Number) and not isinstance(value, bool)
        if is_parametrized(module, NAME) or (is_value and id(value) not in parameters):
            raise ValueError(
                f"{name} must be a parameter of shape (L,) for its skips to be phased out, got "
                f"{'a parametrized tensor' if value is None else type(value).__name__}: make it an nn.Parameter, or "
                "give it another name."
            )
        if isinstance(value, Tensor):
            if value.dim() != 1 or not len(value) or not value.is_floating_point():
                raise ValueError(
                    f"{name} must be a floating-point parameter of shape (L,), one number for each layer with a skip, "
                    f"got {value.dtype} of shape {tuple(value.shape)}."
                )
            found.setdefault(id(value), (name, cast(nn.Parameter, value)))
    if len(found) > 1:
        names = " and ".join(name for name, _ in found.values())
        raise ValueError(
            f"A network must hold one parameter skip_weight for all its layers, got {names}: join them in one, or "
            "train their networks one by one."
        )
    return next((parameter for _, parameter in found.values()), None)


def skip_weights(model: nn.Module) -> Tensor:
    """Return a detached copy of the skip weights alpha_l, shape (L,); empty where there are none to phase out."""
    parameter = find_skip_weight(model)
    return torch.empty(0) if parameter is None else parameter.detach().clone()


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the network inside wrappers that leave what it computes alone.

    These are `torch.compile`, `nn.DataParallel`, `DistributedDataParallel`, `AveragedModel`, and an `nn.Sequential` of
    one module.

    Args:
        model: any network.

    Returns:
        The network itself where none of them is around it.

    Example:
        >>> network = nn.Linear(2, 1)
        >>> unwrapped(nn.DataParallel(nn.Sequential(network))) is network
        True
    """
    while True:
        model = without_wrappers(model)
        if type(model) is not nn.Sequential or len(model) != 1:
            return model
        model = model[0]


def without_wrappers(model: nn.Module) -> nn.Module:
    """Return the network inside `torch.compile`, `nn.DataParallel` and the like, which put a prefix on its names."""
    while isinstance(model, DataParallel | DistributedDataParallel | AveragedModel) or (
        "_orig_mod" in model._modules and len(model._modules) == 1
    ):
        model = next(model.children())
    return model
