"""Pieces of the tests: small modules, what a measurement must leave alone, outputs and their bits."""

import torch
from torch import nn


def state_of(model):
    """Everything about a network that a measurement must leave alone; to be compared by ==."""
    tensors = {**model.state_dict(), **{f"{name}.grad": p.grad for name, p in model.named_parameters()}}
    return (
        {name: None if t is None else t.numpy(force=True).tobytes() for name, t in tensors.items()},
        [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()],
        [(name, id(tensor)) for name, tensor in (*model.named_parameters(), *model.named_buffers())],
        [parameter.requires_grad for parameter in model.parameters()],
        torch.get_rng_state().tolist(),
    )


def opened(model):
    """A network in which no parameter of a connection is 0 any more, where no gradient would get into a layer."""
    for layer in model.layers:
        for parameter in layer.connection.parameters():
            if not parameter.any():
                nn.init.constant_(parameter, 0.5)
    return model


class Map(nn.Module):
    """A function as a network without parameters."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def fail(module, args):
    raise RuntimeError("out of luck")


def same_bits(one, other):
    return torch.equal(one.view(torch.int32), other.view(torch.int32))


def logits(model, inputs):
    with torch.no_grad():
        return model(inputs)
