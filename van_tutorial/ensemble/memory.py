"""One block of memory for the parameters of K networks of one shape."""

import contextlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

LANES = 16  # numbers that a processor's widest instructions take at a time
# Every step frees what its forward pass kept. glibc gives that back to the system and then gets it again page by
# page, at a good part of a step's time, unless a block of just under 32 MB was freed before: that it takes as a sign.
LARGE_BLOCK = 2**25 - 2**16  # bytes


class Memory:
    """Lay the parameters and buffers of K networks into common tensors, of which each network keeps views.

    So a network and the ensemble work on the very same numbers, and an optimizer updates all weights of a network
    as one long vector. Parameters whose size is no multiple of 16 have vectors of their own: there the processor
    treats what is left over in another way, with another rounding.

    Args:
        models: the networks, with parameters and buffers of the same names and shapes.

    Attributes:
        leaves: by name the K networks' values of each parameter but their skip weights, shape (K, ...).
        grads: gradients of all these, shape (K, P).
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self.models = tuple(models)
        kinds = {
            name: 2 if weight.numel() % LANES else int(weight.ndim < 2)
            for name, weight in models[0].named_parameters()
            if name != "skip_weight"
        }
        names = sorted(
            kinds, key=kinds.__getitem__
        )  # matrices first, since only they decay; no multiple of 16 last
        self.weights = [[model.get_parameter(name) for name in names] for model in models]
        sizes = [weight.numel() for weight in self.weights[0]]
        order = sorted(kinds.values())
        self.bounds = [sum(sizes[: bisect_right(order, kind)]) for kind in (0, 1)]
        self.num_long = bisect_right(order, 1)
        self.values = self.weights[0][0].new_empty(len(models), sum(sizes))
        self.grads = torch.zeros_like(self.values)
        self.common, self.common_grads = (
            [
                part.view(-1, *weight.shape)
                for part, weight in zip(block.split(sizes, 1), self.weights[0], strict=True)
            ]
            for block in (self.values, self.grads)
        )  # of each parameter, shape (K, ...)
        self.leaves = {
            name: common.detach().requires_grad_() for name, common in zip(names, self.common, strict=True)
        }
        self.buffers: list[tuple[Sequence[nn.Module], str, Tensor]] = []

    def stacked_buffers(self, path: str, name: str) -> Tensor:
        """Return the K networks' values of the buffer of that name in a module, shape (K, ...)."""
        modules = [model.get_submodule(path) for model in self.models]
        common = torch.stack([module.get_buffer(name) for module in modules])
        self.buffers.append((modules, name, common))
        return common

    def backward(self, outputs: Sequence[Tensor], others: Sequence[nn.Parameter]) -> None:
        """Put the gradients of the sum of all outputs into `grads`, and those of other parameters into their `grad`."""
        found = torch.autograd.grad(outputs, [*others, *self.leaves.values()], allow_unused=True)
        for parameter, grad in zip(
            others, found[: len(others)], strict=True
        ):  # None: of a network that has stopped
            parameter.grad = grad
        for common, grad in zip(self.common_grads, found[len(others) :], strict=True):
            common.zero_() if grad is None else common.copy_(grad)

    def vectors(self, network: int) -> list[nn.Parameter]:
        """Return what an optimizer is to update for one network: its matrices as one of shape (1, P), the rest flat."""
        low, high = self.bounds
        values, grads = self.values[network], self.grads[network]
        vectors = []
        for part, grad in ((values[None, :low], grads[None, :low]), (values[low:high], grads[low:high])):
            if part.numel():
                vectors.append(nn.Parameter(part))
                vectors[-1].grad = grad
        return vectors + self.weights[network][self.num_long :]

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Keep the networks' parameters and buffers here for the time being; afterwards each has its own again."""
        torch.empty(LARGE_BLOCK, dtype=torch.uint8)
        with torch.no_grad():
            for network, weights in enumerate(self.weights):
                for weight, common, grads in zip(weights, self.common, self.common_grads, strict=True):
                    weight.data = common[network].copy_(weight)
                    weight.grad = grads[network]
            for modules, name, common in self.buffers:
                for module, row in zip(modules, common.unbind(), strict=True):
                    setattr(module, name, row.copy_(module.get_buffer(name)))
        try:
            yield
        finally:
            for weights in self.weights:
                for weight in weights:
                    weight.data, weight.grad = weight.data.clone(), None
            for modules, name, _ in self.buffers:
                for module in modules:
                    setattr(module, name, module.get_buffer(name).clone())
