"""One block of memory for the parameters of K networks of one shape."""

import contextlib
from collections.abc import Iterator, Sequence
from functools import cached_property

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
        weights: for each network its parameters that an optimizer updates, in the same order.

    Attributes:
        grads: gradients of all parameters, shape (K, P).
    """

    def __init__(self, weights: Sequence[Sequence[nn.Parameter]]) -> None:
        # Matrices first, since only they decay; what fits no long vector last.
        first = weights[0]
        kinds = [2 if first[i].numel() % LANES else int(first[i].ndim < 2) for i in range(len(first))]
        order = sorted(range(len(first)), key=kinds.__getitem__)
        self.weights = [[each[i] for i in order] for each in weights]
        sizes = [weight.numel() for weight in self.weights[0]]
        self.offsets = [sum(sizes[:i]) for i in range(len(sizes))]
        self.bounds = [
            sum(size for i, size in zip(order, sizes, strict=True) if kinds[i] <= kind) for kind in (0, 1)
        ]
        self.num_odd = kinds.count(2)
        self.values = first[0].new_empty(len(weights), sum(sizes))
        self.grads = torch.zeros_like(self.values)
        self.buffers: list[tuple[Sequence[nn.Module], str, Tensor]] = []
        self.leaves: dict[int, Tensor] = {}

    def stacked(self, parameters: Sequence[Tensor]) -> Tensor:
        """Return the K networks' values of one parameter as a leaf of shape (K, ...)."""
        place = next(i for i, weight in enumerate(self.weights[0]) if weight is parameters[0])
        self.leaves[place] = self.view(self.values, place).detach().requires_grad_()
        return self.leaves[place]

    @cached_property
    def inputs(self) -> list[tuple[Tensor, Tensor]]:
        """All that gradients are taken for, the leaves and the networks' other parameters, each with its place."""
        pairs = []
        for place in range(len(self.offsets)):
            common, leaf = self.view(self.grads, place), self.leaves.get(place)
            if leaf is not None:
                pairs.append((leaf, common))
            else:
                pairs += [(each[place], row) for each, row in zip(self.weights, common.unbind(), strict=True)]
        return pairs

    def backward(self, outputs: Sequence[Tensor], others: Sequence[nn.Parameter]) -> None:
        """Put the gradients of the sum of all outputs into `grads`, and those of other parameters into their `grad`."""
        inputs = [*others, *(leaf for leaf, _ in self.inputs)]
        found = torch.autograd.grad(outputs, inputs, allow_unused=True)  # None: of a network that has stopped
        for parameter, grad in zip(others, found[: len(others)], strict=True):
            parameter.grad = grad
        for (_, place), grad in zip(self.inputs, found[len(others) :], strict=True):
            place.zero_() if grad is None else place.copy_(grad)

    def stacked_buffers(self, modules: Sequence[nn.Module], name: str) -> Tensor:
        """Return the K networks' values of one buffer, shape (K, ...)."""
        common = torch.stack([module.get_buffer(name) for module in modules])
        self.buffers.append((modules, name, common))
        return common

    def vectors(self, network: int) -> list[nn.Parameter]:
        """Return what an optimizer is to update for one network: its matrices as one of shape (1, P), the rest flat."""
        low, high = self.bounds
        values, grads = self.values[network], self.grads[network]
        vectors = []
        for part, grad in ((values[None, :low], grads[None, :low]), (values[low:high], grads[low:high])):
            if part.numel():
                vectors.append(nn.Parameter(part))
                vectors[-1].grad = grad
        return vectors + self.weights[network][len(self.offsets) - self.num_odd :]

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Keep the networks' parameters and buffers here for the time being; afterwards each has its own again."""
        torch.empty(LARGE_BLOCK, dtype=torch.uint8)
        with torch.no_grad():
            for network, weights in enumerate(self.weights):
                for place, weight in enumerate(weights):
                    view = self.view(self.values, place)[network]
                    view.copy_(weight)
                    weight.data = view
                    weight.grad = self.view(self.grads, place)[network]
            for modules, name, common in self.buffers:
                for module, row in zip(modules, common.unbind(), strict=True):
                    row.copy_(module.get_buffer(name))
                    setattr(module, name, row)
        try:
            yield
        finally:
            for weights in self.weights:
                for weight in weights:
                    weight.data, weight.grad = weight.data.clone(), None
            for modules, name, _ in self.buffers:
                for module in modules:
                    setattr(module, name, module.get_buffer(name).clone())

    def view(self, common: Tensor, place: int) -> Tensor:
        """Return one parameter's part of a tensor (K, P), in the parameter's shape."""
        weight, offset = self.weights[0][place], self.offsets[place]
        return (
            common[:, offset : offset + weight.numel()]
            .unflatten(1, weight.shape or (1,))
            .view(-1, *weight.shape)
        )
