"""Training and eval mode of a network's modules: a network that is looked at gets each module's own mode back."""

import contextlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

Modes = dict[nn.Module, bool]


def modes_of(model: nn.Module) -> Modes:
    """Return for each module whether it is in training mode, parents before their children."""
    return {module: module.training for module in model.modules()}


def set_modes(modes: Modes) -> None:
    """Give each module its mode, through its own `train` where the mode changes: some do more there than set it."""
    for module, mode in modes.items():
        if module.training != mode:
            switch(module, mode)
    for module, mode in modes.items():  # a call may have reached a child that other parents share
        module.training = mode


def switch(model: nn.Module, mode: bool) -> None:
    """Put a network in training or eval mode, or raise where it has its mode built in."""
    try:
        model.train(mode)
    except NotImplementedError as error:
        raise ValueError(
            "An exported program has its mode built in and cannot be put in another: give the network that it was "
            "exported from."
        ) from error


@contextlib.contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Give each module its mode back afterwards, after an error as well."""
    modes = modes_of(model)
    try:
        yield
    finally:
        set_modes(modes)


@contextlib.contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Hold a network in eval mode; afterwards, and after an error, each module has its own mode back."""
    with modes_kept(model):
        switch(model, False)
        yield


def frozen_modules(model: nn.Module) -> set[nn.Module]:
    """Return the modules that were put in eval mode apart from the rest: none where the whole network was."""
    with modes_kept(model):
        before = modes_of(model)
        switch(model, False)
        is_whole = modes_of(model) == before
    return set() if is_whole else {module for module, mode in before.items() if not mode}


def begin_training(model: nn.Module, frozen: set[nn.Module]) -> None:
    """Put a network in training mode, and leave some of its modules in eval mode."""
    switch(model, True)
    set_modes({module: mode and module not in frozen for module, mode in modes_of(model).items()})


@contextlib.contextmanager
def left_as_it_was(
    model: nn.Module, replaced: Mapping[nn.Parameter, Tensor] = MappingProxyType({})
) -> Iterator[None]:
    """Let a network work on copies of its buffers, and give it back its own tensors and modes, after an error as well.

    Modes are put back without a call of `train`, so code that changes one in it sets the attribute `training`.

    Args:
        model: whose parameters, buffers and modes are kept.
        replaced: tensors to be used in the place of some of its parameters, by these.

    Yields:
        Nothing.

    Raises:
        ValueError: for scripted modules, whose tensors cannot be exchanged.
    """
    modes = modes_of(model)
    stores: list[dict[str, Any]] = [
        store for each in modes for store in (each._parameters, each._buffers) if isinstance(store, dict)
    ]
    scripted = [each for each in modes if not isinstance(each._buffers, dict)]
    if any(len(each._buffers) or (replaced and len(each._parameters)) for each in scripted):
        raise ValueError(
            "A scripted network's tensors cannot be exchanged: give the network that it was made from."
        )
    own = [dict(store) for store in stores]
    used = {buffer: buffer.detach().clone() for buffer in model.buffers()} | {**replaced}
    try:
        for store in stores:
            store.update({name: used.get(tensor, tensor) for name, tensor in store.items()})
        yield
    finally:
        for store, tensors in zip(stores, own, strict=True):
            store.clear()
            store.update(tensors)
        for module, mode in modes.items():
            module.training = mode


def undoing(model: nn.Module, device: torch.device) -> contextlib.ExitStack:
    """Return a context that puts a network's buffers, and the random state, back to what they are now.

    To keep what has happened in it, call its `pop_all`: nothing is put back. Other threads of ours
    must not move the random state meanwhile: hold `_random.LOCK`.
    """
    undo = contextlib.ExitStack()
    for buffer in model.buffers():
        if is_lazy(buffer):  # which its first pass makes
            continue
        undo.callback(buffer.copy_, buffer.clone())
    for module in model.modules():
        if isinstance(module._buffers, dict):  # not in a scripted module, which cannot exchange its buffers
            undo.callback(module._buffers.update, dict(module._buffers))
    undo.callback(torch.set_rng_state, torch.get_rng_state())
    if device.type != "cpu":
        generators, where = torch.get_device_module(device), [] if device.type == "mps" else [device]
        undo.callback(generators.set_rng_state, generators.get_rng_state(*where), *where)
    return undo
