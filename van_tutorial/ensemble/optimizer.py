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
        self.decaying = memory.values[: memory.num_decaying]
        self.weight_decay, self.momentum = (
            memory.for_values(memory.values.new_tensor([getattr(config, name) for config in configs]))
            for name in ("weight_decay", "momentum")
        )
        self.has_decay = any(config.weight_decay > 0.0 for config in configs)
        self.num_steps = 0
        self.averages, self.squares = torch.zeros_like(memory.values), torch.zeros_like(memory.values)

    @torch.no_grad()
    def step(self, grads: Sequence[Tensor], rates: Sequence[float]) -> None:
        """Do one step with the gradients with respect to the leaves, and a learning rate for each network."""
        values, gradient = self.memory.values, self.memory.in_one(grads)
        lr = self.memory.for_values(values.new_tensor(rates))
        if self.has_decay:
            decay = self.weight_decay[: len(self.decaying)]
            if self.kind == "adamw":
                self.decaying.mul_(1.0 - lr[: len(decay)] * decay)
            else:
                gradient[: len(decay)].addcmul_(self.decaying, decay)
        if self.kind == "sgd":
            values.addcmul_(self.averages.mul_(self.momentum).add_(gradient), lr, value=-1.0)
            return
        self.num_steps += 1
        first, second = (
            1.0 - beta**self.num_steps for beta in BETAS
        )  # corrections of the averages' start at 0
        self.averages.lerp_(gradient, 1.0 - BETAS[0])
        self.squares.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1.0 - BETAS[1])
        root = self.squares.sqrt().mul_(second**-0.5).add_(EPS)
        values.addcmul_(torch.div(self.averages, root, out=root), lr, value=-1.0 / first)
