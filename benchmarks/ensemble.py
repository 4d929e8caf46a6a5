"""What training many networks at once gains over one after another.

    python -m benchmarks.ensemble

Depth 40, width 32, batch normalization, batches of 128, one thread. One side trains K variable activation networks in
turn by a bare loop, the other simultaneously by `ensemble.Trainer`, an epoch each with an evaluation of the test
images; the two take turns. For comparison the same by `torch.func.vmap`, in a loop as bare as it can be, without
evaluation on either side. Prints a table and writes its section of docs/performance.md.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch.nn import functional

from benchmarks.measure import ratio, write_section
from benchmarks.training_step import bare_epochs, bare_steps
from van_tutorial import data, ensemble, models, training

NUM_ROUNDS = 9
NUM_STEPS = 39  # in a round: an epoch


Side = Callable[[int, data.Images], Callable[[], object]]


def one_after_another(num_networks: int, images: data.Images) -> Callable[[], object]:
    """Return what does one epoch for each network, with an evaluation."""
    epochs = bare_epochs("van", images)
    return lambda: [next(epochs) for _ in range(num_networks)]


def steps_one_after_another(num_networks: int, images: data.Images) -> Callable[[], object]:
    """Return what does one epoch for each network, without an evaluation."""
    steps = bare_steps("van", images)
    return lambda: [next(steps) for _ in range(num_networks * NUM_STEPS)]


def at_once(num_networks: int, images: data.Images, is_compiled: bool = False) -> Callable[[], object]:
    """Return what does one epoch for all networks together, with an evaluation."""
    config = {"num_epochs": 1000, "dual_lr": 1e-3, "device": "cpu", "compile": is_compiled}
    configs = [training.TrainConfig(**config, seed=seed) for seed in range(num_networks)]
    records = iter(ensemble.Trainer([models.mlp(seed=seed) for seed in range(num_networks)], images, configs))
    return lambda: next(records)


def by_vmap(num_networks: int, images: data.Images) -> Callable[[], object]:
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
        name: str, num_networks: int, side: Side, aim: str = "–", alone: Side = one_after_another
    ) -> str:
        one, other = alone(num_networks, images), side(num_networks, images)
        return ratio(name, one, other, aim, NUM_ROUNDS, steps=num_networks * NUM_STEPS)

    compiled = partial(at_once, is_compiled=True)
    rows = [
        compare("one after another / 4 at once", 4, at_once),
        compare("one after another / 16 at once", 16, at_once, "at least 3"),
        compare("one after another / 32 at once", 32, at_once),
        compare("one after another / 8 at once, compiled", 8, compiled),
        compare("one after another / 16 at once, compiled", 16, compiled, "at least 5"),
        compare("one after another / 16 by vmap", 16, by_vmap, alone=steps_one_after_another),
    ]
    about = f"""\
{NUM_ROUNDS} rounds; the two sides of a ratio take turns, an epoch of {NUM_STEPS} steps and one evaluation each; vmap
without evaluation on either side. Fully connected variable activation networks, depth 40, width 32, batch
normalization, batches of 128, fused Adam; milliseconds are those of a step of one network, trained alone by a bare
loop. The ratio is how many times as many steps of a network are done in the same time."""
    remarks = """\
Networks that train together share the calls around their small products: the more networks, the more that saves
(compiled, 8 save as much as 16). A part of it is lost again, since the activations of many networks do not fit in a
processor's cache, as those of one nearly do. Compiling takes about a minute, or seconds where torch's cache on disk has
the result; it is not part of the times."""
    write_section("ensemble", rows, about, remarks)


if __name__ == "__main__":
    main()
