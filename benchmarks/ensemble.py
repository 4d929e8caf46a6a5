"""What training many networks at once gains over one after another.

    python -m benchmarks.ensemble

Depth 40, width 32, batch normalization, batches of 128, one thread. One side trains K variable activation networks one
after another by a bare loop, the other all at once by `ensemble.Trainer`, the same number of steps each; the two take
turns. For comparison the same by `torch.func.vmap`, in a loop as bare as it can be. Prints a table and writes its
section of docs/performance.md.
"""

from collections.abc import Callable, Iterator

import torch
from torch.nn import functional

from benchmarks.measure import ratio, write_section
from benchmarks.training_step import bare_steps
from van_tutorial import data, ensemble, models, training

NUM_ROUNDS = 9
NUM_STEPS = 25  # in a round


def one_after_another(num_networks: int, images: data.Images) -> Callable[[], None]:
    """Return what does one round for each network."""
    steps = bare_steps("van", images)

    def train() -> None:
        for _ in range(num_networks * NUM_STEPS):
            next(steps)

    return train


def at_once(num_networks: int, images: data.Images) -> Callable[[], None]:
    """Return what does one round for all networks together."""
    config = {"num_epochs": 1000, "log_every": NUM_STEPS, "dual_lr": 1e-3, "device": "cpu"}
    configs = [training.TrainConfig(**config, seed=seed) for seed in range(num_networks)]
    networks = [models.mlp(seed=seed) for seed in range(num_networks)]
    few = data.Images(
        **{**vars(images), "test_images": images.test_images[:2], "test_labels": images.test_labels[:2]}
    )
    records = iter(ensemble.Trainer(networks, few, configs))
    return lambda: next(records)


def by_vmap(num_networks: int, images: data.Images) -> Callable[[], None]:
    """Return what does one round for all networks together, by torch.func.vmap and without a phase-out."""
    networks = [models.mlp(seed=seed) for seed in range(num_networks)]
    parameters, buffers = torch.func.stack_module_state(networks)
    weights = [value for name, value in parameters.items() if name != "skip_weight"]
    optimizer = torch.optim.Adam(weights, lr=3e-3, fused=True)

    def loss(parameters, buffers, inputs, labels):
        outputs = torch.func.functional_call(networks[0], (parameters, buffers), (inputs,))
        return functional.cross_entropy(outputs, labels)

    gradients = torch.func.vmap(torch.func.grad(loss))

    def steps() -> Iterator[None]:
        while True:
            for _ in range(NUM_STEPS):
                batch = torch.stack([torch.randperm(5000)[:128] for _ in range(num_networks)])
                found = gradients(parameters, buffers, images.train_images[batch], images.train_labels[batch])
                for name, value in parameters.items():
                    value.grad = found[name]
                optimizer.step()
                with torch.no_grad():
                    alpha = parameters["skip_weight"]
                    alpha.sub_(alpha.grad, alpha=1e-3).clamp_(0.0, 1.0)
            yield

    records = steps()
    return lambda: next(records)


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    images = data.load()

    def compare(
        name: str, num_networks: int, side: Callable[[int, data.Images], Callable[[], None]], aim: str
    ) -> str:
        alone = one_after_another(num_networks, images)
        return ratio(name, alone, side(num_networks, images), aim, NUM_ROUNDS, steps=num_networks * NUM_STEPS)

    rows = [
        compare("one after another / 4 at once", 4, at_once, ""),
        compare("one after another / 16 at once", 16, at_once, "at least 2.5"),
        compare("one after another / 32 at once", 32, at_once, ""),
        compare("one after another / 16 by vmap", 16, by_vmap, ""),
    ]
    about = f"""\
{NUM_ROUNDS} rounds of {NUM_STEPS} steps; the two sides of a ratio take turns. Fully connected variable activation
networks, depth 40, width 32, batch normalization, batches of 128, fused Adam; milliseconds are those of a step of one
network, trained alone by a bare loop. The ratio is how many times as many steps of a network are done in the same
time."""
    remarks = """\
What is saved is the cost of the calls around small products, the more the more networks share them. What the forward
pass of many networks keeps does not fit in a processor's own memory, as that of one nearly does: that costs a part of
it again."""
    write_section("ensemble", rows, about, remarks)


if __name__ == "__main__":
    main()
