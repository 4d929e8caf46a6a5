"""What a skip weight costs over a residual connection in the training of convolutional networks.

    python -m benchmarks.convolution

Width 8, images of 32 by 32, batches of 128, channels last, one thread. The two sides of a ratio take turns, a step
each. Prints a table and writes its section of docs/performance.md.
"""

from collections.abc import Callable

import torch
from torch.nn import functional

from benchmarks.measure import ratio, write_section
from van_tutorial import models

NUM_ROUNDS = 15
WIDTH = 8


def images(number: int) -> torch.Tensor:
    """Return random images, channels last."""
    drawn = torch.randn(number, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return drawn.contiguous(memory_format=torch.channels_last)


def network(connection: str, depth: int, **choices: object) -> models.ConvNet:
    """Return a network, channels last."""
    model = models.convnet(depth=depth, width=WIDTH, connection=connection, seed=0, **choices)
    return model.to(memory_format=torch.channels_last)


def training_step(connection: str, depth: int) -> Callable[[], object]:
    """Return a function that does one step as one writes it by hand, skip weights and multipliers included."""
    model, inputs = network(connection, depth), images(128)
    labels = torch.arange(128) % 10
    alpha = getattr(model, "skip_weight", None)
    multipliers = None if alpha is None else torch.zeros_like(alpha)
    optimizer = torch.optim.Adam((p for p in model.parameters() if p is not alpha), lr=1e-3, fused=True)

    def step() -> None:
        loss = functional.cross_entropy(model(inputs), labels)
        lagrangian = loss if alpha is None else loss + multipliers @ alpha
        model.zero_grad()
        lagrangian.backward()
        optimizer.step()
        if alpha is not None:
            with torch.no_grad():
                alpha.sub_(alpha.grad, alpha=1e-3).clamp_(0.0, 1.0)
                multipliers.add_(alpha, alpha=1e-3)

    return step


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    rows = []
    for depth in (20, 56):
        sides = (training_step("van", depth), training_step("residual", depth))
        rows.append(
            ratio(f"VAN / residual, training step, {depth} layers", *sides, "at most 1.15", NUM_ROUNDS)
        )
    about = f"""\
{NUM_ROUNDS} rounds; the two sides of a ratio take turns, a training step each. The CIFAR family at width {WIDTH},
batch normalization, batches of 128, channels last; milliseconds are those of a step."""
    remarks = """\
As above, the mix adds some passes over the activations. A convolution takes longer than those."""
    write_section("convolution", rows, about, remarks)


if __name__ == "__main__":
    main()
