"""What the trainer costs over a bare loop, and a skip weight over a residual connection.

    python -m benchmarks.training_step

Depth 40, width 32, batch normalization, batches of 128, one thread. The two sides of a ratio take turns, an epoch
each (39 steps and one evaluation of the test images), so that a change of the machine's speed hits both. Prints a
table and writes its section of docs/performance.md.
"""

from collections.abc import Iterator

import torch
from torch.nn import functional

from benchmarks.measure import ratio, write_section
from van_tutorial import data, models, training

NUM_ROUNDS = 25
NUM_EPOCHS = NUM_ROUNDS + 2  # two to warm up


def bare_steps(connection: str, images: data.Images, model: torch.nn.Module | None = None) -> Iterator[None]:
    """Train by a loop as one writes it by hand, one step at a time."""
    model = model or models.mlp(connection=connection, seed=0)
    alpha = getattr(model, "skip_weight", None)
    optimizer = torch.optim.Adam((p for p in model.parameters() if p is not alpha), lr=3e-3, fused=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=39 * NUM_EPOCHS)
    multipliers = torch.zeros(40)
    while True:
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
            yield


def bare_epochs(connection: str, images: data.Images) -> Iterator[None]:
    """Train by the same loop, one epoch and one evaluation at a time."""
    model = models.mlp(connection=connection, seed=0)
    steps = bare_steps(connection, images, model)
    while True:
        model.train()
        for _ in range(39):
            next(steps)
        model.eval()
        with torch.no_grad():
            logits = model(images.test_images)
            functional.cross_entropy(logits, images.test_labels).item()
            (logits.argmax(dim=1) == images.test_labels).float().mean().item()
        yield


def trainer_epochs(connection: str, images: data.Images) -> Iterator[training.Record]:
    """Train by the library, one epoch at a time; skips are removed simultaneously, as in the loops beside it."""
    config = training.TrainConfig(num_epochs=NUM_EPOCHS, device="cpu", dual_lr=1e-3, stagger=0.0)
    return iter(training.Trainer(models.mlp(connection=connection, seed=0), images, config))


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    images = data.load()

    def compare(name: str, one: Iterator[object], other: Iterator[object]) -> str:
        return ratio(name, lambda: next(one), lambda: next(other), "at most 1.05", NUM_ROUNDS, steps=39)

    rows = [
        compare("trainer / bare loop, plain", trainer_epochs("plain", images), bare_epochs("plain", images)),
        compare("trainer / bare loop, VAN", trainer_epochs("van", images), bare_epochs("van", images)),
        compare("VAN / residual, bare loops", bare_epochs("van", images), bare_epochs("residual", images)),
        compare(
            "VAN / residual, trainers", trainer_epochs("van", images), trainer_epochs("residual", images)
        ),
    ]
    about = f"""\
{NUM_ROUNDS} rounds; the two sides of a ratio take turns, an epoch of 39 steps and one evaluation each. Fully connected,
depth 40, width 32, batch normalization, batches of 128, fused Adam; milliseconds are those of a step."""
    remarks = """\
The backward pass of a residual connection passes the gradient on unchanged. That of the convex mix scales it
once for each branch, and takes one more product and sum for the gradient of the skip weight. In a network this
narrow the calls cost more than the arithmetic. So the mix misses its aim of 1.05, although its forward pass is
one fused operation (`torch.lerp`)."""
    write_section("training_step", rows, about, remarks)


if __name__ == "__main__":
    main()
