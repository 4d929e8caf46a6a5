"""One block of memory for the parameters of K networks of one shape."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

LANES = 32  # numbers that a processor's vector loops take at a time
# Every step frees what its forward pass kept. glibc gives that back to the system and then gets it again page by
# page, at a good part of a step's time, unless a block of just under 32 MB was freed before: that it takes as a sign.
LARGE_BLOCK = 2**25 - 2**16  # bytes


class Memory:
    """Lay the parameters and buffers of K networks side by side, of which each network keeps views.

    So a network and the ensemble work on the very same numbers, and an optimizer updates the weights of all networks as
    one vector. It fills whole vectors of the processor, so that every number is rounded in the same way.

    Args:
        models: the networks, with parameters and buffers of the same names and shapes.
        num_slots: how many networks it holds, at least K; what is left over holds zeros.

    Attributes:
        values: all parameters but the skip weights; matrices first, since only they decay. A parameter's values for all
            networks follow one another.
        decaying: the blocks of those that decay.
        leaves: by name the values of a parameter of shape (n, ...), shape (num_slots n, ...).
    """

    def __init__(self, models: Sequence[nn.Module], num_slots: int) -> None:
        self.models, self.num_slots = tuple(models), num_slots
        weights = {name: value for name, value in models[0].named_parameters() if name != "skip_weight"}
        kinds = {name: (value.ndim < 2, value.numel()) for name, value in weights.items()}
        names = sorted(weights, key=lambda name: kinds[name])
        sizes = [num_slots * kinds[name][1] for name in names]
        self._room = -sum(sizes) % LANES
        self.values = weights[names[0]].new_zeros(sum(sizes) + self._room)
        self._blocks = Counter(kinds[name] for name in names)
        self.decaying = [
            block
            for block, (is_vector, _) in zip(self.blocks(self.values), self._blocks, strict=True)
            if not is_vector
        ]
        parts = self.values[: sum(sizes)].split(sizes)
        self._parts = {  # by name, shape (num_slots, n, ...)
            name: part.view(num_slots, *weights[name].shape) for name, part in zip(names, parts, strict=True)
        }
        self.leaves = {
            name: (part.flatten(0, 1) if part.dim() > 1 else part).detach().requires_grad_()
            for name, part in self._parts.items()
        }
        self._buffers: list[tuple[Sequence[nn.Module], str, Tensor]] = []

    def stacked_buffers(self, path: str, name: str) -> Tensor:
        """Return the K networks' values of the buffer of that name in a module, side by side."""
        modules = [model.get_submodule(path) for model in self.models]
        own = modules[0].get_buffer(name)
        together = own.new_zeros(self.num_slots, *own.shape)
        self._buffers.append((modules, name, together))
        return together.flatten(0, 1) if own.dim() else together

    def in_one(self, grads: Sequence[Tensor]) -> Tensor:
        """Return the gradients with respect to the leaves as those with respect to `values`."""
        return torch.cat([*(grad.flatten() for grad in grads), self.values.new_zeros(self._room)])

    def blocks(self, values: Tensor) -> list[Tensor]:
        """Return views of a number for each of the `values`: shape (m, num_slots, n) for m parameters of size n."""
        sizes = [count * self.num_slots * size for (_, size), count in self._blocks.items()]
        parts = values[: sum(sizes)].split(sizes)
        return [
            part.view(-1, self.num_slots, size) for part, (_, size) in zip(parts, self._blocks, strict=True)
        ]

    def column(self, rates: Sequence[float]) -> Tensor:
        """Return a number for each network as what broadcasts over a block, shape (num_slots, 1)."""
        return self.values.new_tensor([*rates, *[0.0] * (self.num_slots - len(rates))]).unsqueeze(1)

    @contextlib.contextmanager
    def shared(self, skip_weights: Sequence[Tensor]) -> Iterator[None]:
        """Keep the networks' parameters and buffers here for the time being; afterwards each has its own again.

        Args:
            skip_weights: where the networks' skip weights are to lie, a tensor (L,) for each; empty without any.
        """
        torch.empty(LARGE_BLOCK, dtype=torch.uint8)
        with torch.no_grad():
            for network, model in enumerate(self.models):
                places = {name: part[network] for name, part in self._parts.items()}
                if skip_weights:
                    places["skip_weight"] = skip_weights[network]
                for name, place in places.items():
                    parameter = model.get_parameter(name)
                    parameter.data, parameter.grad = place.copy_(parameter), None
            for modules, name, together in self._buffers:
                for module, place in zip(modules, together, strict=False):
                    setattr(module, name, place.copy_(module.get_buffer(name)))
        try:
            yield
        finally:
            for model in self.models:
                for parameter in model.parameters():
                    parameter.data = parameter.data.clone()
            for modules, name, _ in self._buffers:
                for module in modules:
                    setattr(module, name, module.get_buffer(name).clone())
