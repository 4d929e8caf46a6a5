"""What is saved by the end of the skip-connections: inference by collapsed, plain and residual networks.

    python -m benchmarks.inference

Fully connected networks of width 32 on the embedded images and convolutional ones of width 8 on images of 32 by 32,
batches of 128, one thread. The statistics of every network's batch normalization are those of a batch, so that signals
have the sizes that they have after a training. The two sides of a ratio take turns. Prints a table and writes its
section of docs/performance.md.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks import convolution
from benchmarks.measure import ratio, write_section
from van_tutorial import data, diagnostics, models, training

NUM_ROUNDS = 15
BATCH_SIZE = 128
MakeNetwork = Callable[..., models.Stack]


def networks(make: MakeNetwork, inputs: Tensor, **choices: object) -> dict[str, models.Stack]:
    """Return the networks to compare, in eval mode, by name."""
    van, plain, residual = (
        make(connection=connection, **choices, **more)
        for connection, more in (("van", {"skip_weight": 0.0}), ("plain", {}), ("residual", {}))
    )
    for model in (van, plain, residual):
        training.settle_statistics(model, inputs, batch_size=BATCH_SIZE)
        model.eval()
    collapsed = models.collapse(van)
    folded = models.collapse(van, fold_normalization=True)
    return {"plain": plain, "residual": residual, "collapsed VAN": collapsed, "folded": folded}


def passes(model: nn.Module, inputs: Tensor, number: int) -> Callable[[], None]:
    """Return a function that runs a network a number of times on a batch."""

    def run() -> None:
        with torch.inference_mode():
            for _ in range(number):
                model(inputs)

    return run


def compare(label: str, all_networks: dict[str, models.Stack], inputs: Tensor, number: int) -> list[str]:
    """Return the rows of the ratios of time; a round is a number of passes."""

    def row(name: str, one: str, other: str, aim: str) -> str:
        sides = (passes(all_networks[side], inputs, number) for side in (one, other))
        return ratio(f"{name}, {label}", *sides, aim, NUM_ROUNDS, steps=number)

    return [
        row("collapsed VAN / plain", "collapsed VAN", "plain", "1"),
        row("collapsed VAN / residual", "collapsed VAN", "residual", "at most 1"),
        row("normalization folded / not, collapsed VAN", "folded", "collapsed VAN", "below 1"),
    ]


def memory(label: str, all_networks: dict[str, models.Stack], inputs: Tensor) -> str:
    """Return the table's row for the most memory that activations need at one time, in KiB."""
    sides = {name: all_networks[name] for name in ("collapsed VAN", "plain", "residual")}
    peaks = diagnostics.costs(sides, inputs, seconds_per_model=0.0)["peak_activation_bytes"]
    row = f"| {label} | " + " | ".join(f"{peak / 1024:,.0f}" for peak in peaks) + " |"
    print(row, flush=True)
    return row


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    rows, peaks = [], []
    inputs = data.load().test_images[:BATCH_SIZE]
    for depth in (40, 100):
        label = f"fully connected, {depth} layers"
        found = networks(models.mlp, inputs, depth=depth, width=32, seed=0)
        rows += compare(label, found, inputs, number=4000 // depth)
        peaks.append(memory(label, found, inputs))
    inputs = torch.randn(BATCH_SIZE, 32, generator=torch.Generator().manual_seed(0))
    found = networks(models.mlp, inputs, depth=100, width=32, in_features=32, seed=0)
    peaks.append(memory("the same on inputs of 32 numbers", found, inputs))
    inputs = convolution.images(BATCH_SIZE)
    found = networks(convolution.network, inputs, depth=56)
    rows += compare("convolutional, 56 layers", found, inputs, number=1)
    peaks.append(memory("convolutional, 56 layers", found, inputs))
    about = f"""\
{NUM_ROUNDS} rounds; the two sides of a ratio take turns. Batches of {BATCH_SIZE}, batch normalization; fully connected
networks of width 32 on images of 28 by 28, and the CIFAR family at width {convolution.WIDTH} on images of 32 by 32,
channels last. Milliseconds are those of a pass."""
    table = "\n".join(peaks)
    remarks = f"""\
Most memory that activations need at one time in a pass over {BATCH_SIZE} inputs, in KiB, by `diagnostics.costs`:

| network | collapsed VAN | plain | residual |
|---|---|---|---|
{table}

A collapsed network runs the same operations as a plain one: how far their ratio is from 1 is due to the measurement.
A skip-connection keeps its input until the sum: a layer then needs three arrays instead of two.
In the fully connected networks the images themselves are larger than all three, so that the peak falls only where the
inputs are as narrow as the layers."""
    write_section("inference", rows, about, remarks)


if __name__ == "__main__":
    main()
