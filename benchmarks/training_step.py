"""What the trainer costs over a bare loop, and a skip weight over a residual connection.

    python -m benchmarks.training_step

Depth 40, width 32, batch normalization, batches of 128, one thread. The two sides of a ratio take turns, an epoch
each (39 steps and one evaluation of the test images), so that a change of the machine's speed hits both. Prints a
table and writes docs/performance.md.
"""

import platform
import statistics
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version

import torch
from torch.nn import functional

from van_tutorial import data, models, training
from van_tutorial._course import course_path

NUM_ROUNDS = 25
NUM_EPOCHS = NUM_ROUNDS + 2  # two to warm up


def bare_epochs(connection: str, images: data.Images) -> Iterator[None]:
    """Train by a loop as one writes it by hand, one epoch at a time."""
    model = models.mlp(connection=connection, seed=0)
    alpha = getattr(model, "skip_weight", None)
    optimizer = torch.optim.Adam((p for p in model.parameters() if p is not alpha), lr=3e-3, fused=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=39 * NUM_EPOCHS)
    multipliers = torch.zeros(40)
    while True:
        model.train()
        for batch in torch.randperm(5000).split(128)[:39]:
            loss = functional.cross_entropy(model(images.train_images[batch]), images.train_labels[batch])
            lagrangian = loss if alpha is None else loss + multipliers @ alpha
            model.zero_grad()
            lagrangian.backward()
            optimizer.step()
            scheduler.step()
            if alpha is not None:
                with torch.no_grad():
                    alpha.sub_(alpha.grad, alpha=1e-3).clamp_(0.0, 1.0)
                    multipliers.add_(alpha, alpha=1e-3)
            loss.item()
        model.eval()
        with torch.no_grad():
            logits = model(images.test_images)
            functional.cross_entropy(logits, images.test_labels).item()
            (logits.argmax(dim=1) == images.test_labels).float().mean().item()
        yield


def trainer_epochs(connection: str, images: data.Images) -> Iterator[training.Record]:
    """Train by the library's trainer, one epoch at a time."""
    config = training.TrainConfig(num_epochs=NUM_EPOCHS, device="cpu", dual_lr=1e-3, dual_lr_spread=1.0)
    return iter(training.Trainer(models.mlp(connection=connection, seed=0), images, config))


def seconds(step: Callable[[], object]) -> float:
    """Return how much processor time one call takes, which other processes do not add to."""
    started = time.process_time()
    step()
    return time.process_time() - started


def ratio(name: str, one: Iterator[object], other: Iterator[object], target: float) -> str:
    """Return the table's row for the time of one side over that of the other."""
    ratios, times = [], []
    for index in range(NUM_EPOCHS):
        # Who goes first changes from round to round.
        first, second = (one, other) if index % 2 else (other, one)
        taken = {
            id(first): seconds(lambda side=first: next(side)),
            id(second): seconds(lambda side=second: next(side)),
        }
        if index >= NUM_EPOCHS - NUM_ROUNDS:
            ratios.append(taken[id(one)] / taken[id(other)])
            times.append(taken[id(one)])
    low, middle, high = statistics.quantiles(ratios, n=4)
    row = f"| {name} | {middle:.3f} | {low:.3f} to {high:.3f} | {target} | {1000 * statistics.median(times) / 39:.2f} |"
    print(row, flush=True)
    return row


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    images = data.load()
    header = (
        "| ratio of times | median | middle half | at most | ms a step (first side) |\n|---|---|---|---|---|"
    )
    print(header)
    rows = [
        ratio(
            "trainer / bare loop, plain", trainer_epochs("plain", images), bare_epochs("plain", images), 1.05
        ),
        ratio("trainer / bare loop, VAN", trainer_epochs("van", images), bare_epochs("van", images), 1.05),
        ratio(
            "VAN / residual, bare loops", bare_epochs("van", images), bare_epochs("residual", images), 1.05
        ),
        ratio(
            "VAN / residual, trainers",
            trainer_epochs("van", images),
            trainer_epochs("residual", images),
            1.05,
        ),
    ]
    text = f"""# Performance

Made by `make bench` ({NUM_ROUNDS} rounds; the two sides of a ratio take turns, an epoch of 39 steps and one
evaluation each). Fully connected, depth 40, width 32, batch normalization, batches of 128, fused Adam.
Processor time, {platform.machine()} CPU, 1 thread, Python {platform.python_version()}, torch {version("torch")}.

{header}
{chr(10).join(rows)}

A residual connection's backward pass hands the gradient on as it is. The convex mix cannot: it scales the
gradient once for each branch, and one more product and sum give the skip weight's own gradient. In a network as
narrow as this one the calls themselves are what costs, so the mix stays above its target of 1.05 although it is
one fused operation forward (`torch.lerp`).
"""
    course_path("docs", "performance.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
