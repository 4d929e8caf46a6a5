"""The optimizer of many networks, each with a learning rate of its own."""

from collections.abc import Sequence

import torch
from torch import Tensor

from van_tutorial.ensemble.memory import Memory
from van_tutorial.training import TrainConfig

BETAS, EPS = (0.9, 0.999), 1e-8  # those of torch.optim


class StackedOptimizer:
    """Update the weights of K networks at once: "adam", "adamw" or "sgd", as `torch.optim` has them.

    torch's own have one learning rate, momentum and weight decay for a whole tensor, these one for each network.

    Args:
        memory: of the networks; its values are changed in place.
        configs: K configs with one optimizer.

    Source:
        Kingma and Ba 2015, Adam: a method for stochastic optimization; Loshchilov and Hutter 2019, Decoupled weight
        decay regularization.
    """

    def __init__(self, memory: Memory, configs: Sequence[TrainConfig]) -> None:
        self.memory, self.kind = memory, configs[0].optimizer
        self.weight_decay, self.momentum = (
            memory.column([getattr(config, name) for config in configs])
            for name in ("weight_decay", "momentum")
        )
        self.has_decay = any(config.weight_decay > 0.0 for config in configs)
        self.num_steps = 0
        self.averages, self.squares = torch.zeros_like(memory.values), torch.zeros_like(memory.values)

    @torch.no_grad()
    def step(self, grads: Sequence[Tensor], rates: Sequence[float]) -> None:
        """Do one step with the gradients with respect to the leaves, and a learning rate for each network."""
        memory, lr = self.memory, self.memory.column(rates)
        gradient = memory.in_one(grads)
        if self.has_decay:
            for weights, grad in zip(memory.decaying, memory.blocks(gradient), strict=False):
                if self.kind == "adamw":
                    weights.mul_(1.0 - lr * self.weight_decay)
                else:
                    grad.addcmul_(weights, self.weight_decay)
        if self.kind == "sgd":
            for average in memory.blocks(self.averages):
                average.mul_(self.momentum)
            change, factor = self.averages.add_(gradient), -1.0
        else:
            self.num_steps += 1
            # corrections of the averages' start at 0
            first, second = (1.0 - beta**self.num_steps for beta in BETAS)
            self.averages.lerp_(gradient, 1.0 - BETAS[0])
            self.squares.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1.0 - BETAS[1])
            # a processor takes ten times as long for the root of 0, of which layers behind a whole skip are full
            root = self.squares.clamp_min(torch.finfo(lr.dtype).tiny).sqrt_().mul_(second**-0.5).add_(EPS)
            change, factor = torch.div(self.averages, root, out=root), -1.0 / first
        for weights, changes in zip(memory.blocks(memory.values), memory.blocks(change), strict=True):
            weights.addcmul_(changes, lr, value=factor)
