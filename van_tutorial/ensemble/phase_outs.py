"""The phase-outs of many networks, with tensors of shape (K, L)."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from van_tutorial.training import PhaseOut, TrainConfig


class PhaseOuts:
    """Do the steps of K phase-outs, of all that have the same settings in one call.

    Each of the K shares its tensors with these, and tells afterwards how the skips were removed.

    Args:
        phase_outs: of the networks.
        configs: of the networks.

    Attributes:
        groups: one `PhaseOut` for each setting, whose tensors have shape (G, L) for G networks.
        leaves: the groups' skip weights.
    """

    def __init__(self, phase_outs: Sequence[PhaseOut], configs: Sequence[TrainConfig]) -> None:
        members: dict[TrainConfig, list[int]] = {}
        for index, config in enumerate(configs):
            members.setdefault(settings(config), []).append(index)
        order = torch.tensor([index for group in members.values() for index in group])
        self.positions = order.argsort().to(phase_outs[0].skip_weight.device)
        self.groups = [stack([phase_outs[index] for index in group]) for group in members.values()]
        self.leaves: list[Tensor] = [group.skip_weight for group in self.groups]

    def skip_weights(self) -> Tensor:
        """Return the networks' skip weights, shape (K, L)."""
        return torch.cat(self.leaves)[self.positions]

    def rows(self) -> list[Tensor]:
        """Return where each network's skip weights lie, of shape (L,)."""
        rows = [row for leaf in self.leaves for row in leaf.detach()]
        return [rows[position] for position in self.positions.tolist()]

    def penalties(self) -> Tensor:
        """Return the networks' Lagrangians less their losses, shape (K,)."""
        penalties = [
            group.skip_weight.new_zeros(len(group.skip_weight))
            if group.config.is_scheduled
            else group.penalty()
            for group in self.groups
        ]
        return torch.cat(penalties)[self.positions]

    def step(self, step: int, grads: Sequence[Tensor]) -> None:
        """Do step number `step` (from 1), given the gradients with respect to the leaves."""
        for group, grad in zip(self.groups, grads, strict=True):
            group.skip_weight.grad = grad
            group.step(step)


def settings(config: TrainConfig) -> TrainConfig:
    """Return a config in which all is the same that a phase-out does not use, or keeps in a tensor."""
    unused = replace(config, seed=0, lr=1.0, momentum=0.0, weight_decay=0.0, augment="none")
    return replace(unused, population_statistics=False, dual_lr=0.0, dual_lr_spread=1.0)


def stack(phase_outs: Sequence[PhaseOut]) -> PhaseOut:
    """Return one phase-out with the tensors of several; their buffers become its rows."""
    together = copy.deepcopy(phase_outs[0])
    together._skip_weights = (nn.Parameter(torch.stack([each.skip_weight.detach() for each in phase_outs])),)
    for path, module in together.named_modules():
        owners = [each.get_submodule(path) for each in phase_outs]
        for name in list(module._buffers):
            buffer = torch.stack([owner.get_buffer(name) for owner in owners])
            setattr(module, name, buffer)
            for owner, row in zip(owners, buffer, strict=True):
                setattr(owner, name, row)
    return together
