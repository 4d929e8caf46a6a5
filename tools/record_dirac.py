"""Record what an identity inside the weights is worth, and what becomes of it in training.

    python -m tools.record_dirac

Embedded images, seeds 0, 1, 2, the library's default step size (0.003; 0.001 without normalization), nothing tuned.
Five experiments, told apart by the column `experiment`:

    depth          fully connected, width 32, batch normalization, 10 epochs, depths 10, 40, 60
    long           the same at depth 40 for 30 epochs, the settings of `record_phase_out`
    decay          depth 40, 10 epochs, AdamW with weight decay 5 of V alone, of V and a, of V, a and b
    convolutions   DiracNet-10 with 16 and DiracNet-34 with 8 channels in the first group, and the same networks with
                   ordinary weights, 3 epochs, images averaged to 14 by 14
    identity       how much of an identity the weights W_l hold at the end: the mean over the layers of their cosine to
                   the identity matrix, tr(W_l) / (|W_l| sqrt(n)). Depth 40, 30 epochs, each network after its
                   collapse; a random one has 0, give or take 1/32

"no identity" is the Dirac network with a = 0 at the start, and all else the same; "plain, lr 0.01" has the step size
that was best for plain networks of depth 40 on held-out images (`choose_step_sizes`). Experiments that the file holds
are kept: remove it to run all of them again. Takes about fifty minutes on one core.
"""

import argparse
import dataclasses
import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from tools.record_phase_out import NUM_EPOCHS, SEEDS
from tools.results import Recording
from van_tutorial import data, diagnostics, models, training

DEPTHS = (10, 40, 60)
DEPTH = 40
SHORT = 10
NUM_CONVOLUTIONAL = 3
CHANNELS = {10: 16, 34: 8}  # of the first group, by depth
WEIGHT_DECAY = 5.0  # decays a by exp(-5 * sum of the step sizes): to 0.05 in 10 epochs at 0.003
STEP_SIZES = {"batch": 3e-3, "none": 1e-3}
DIRAC: dict[str, Any] = {"connection": "plain", "parametrization": "dirac"}
NETWORKS: dict[str, dict[str, Any]] = {
    "plain": {"connection": "plain"},
    "plain, lr 0.01": {"connection": "plain"},
    "dirac": DIRAC,
    "dirac, no identity": DIRAC,
    "residual": {"connection": "residual"},
}
DECAYED = {"V": (), "V, a": ("identity_scale",), "V, a, b": ("identity_scale", "filter_scale")}
DECAYS = (("batch", "V"), ("batch", "V, a"), ("batch", "V, a, b"), ("none", "V"), ("none", "V, a, b"))


def make(name: str, **choices: Any) -> nn.Module:
    """Return a network of `NETWORKS`."""
    model = models.mlp(**NETWORKS[name], **choices)
    if name == "dirac, no identity":
        for scales in diracs(model):
            nn.init.zeros_(scales.identity_scale)
    return model


def diracs(model: nn.Module) -> list[models.Dirac]:
    """Return the Dirac parametrizations of a network, from its first layer to its last."""
    return [module for module in model.modules() if isinstance(module, models.Dirac)]


def at_the_start(model: nn.Module, images: data.Images) -> dict[str, float]:
    """Return how the gradients of an untrained network's output for class 0 hang together, with batch statistics."""
    gradients = diagnostics.input_gradients(
        model, images.test_images[:64], output=0, statistics="constant"
    ).flatten(1)
    reached = gradients[gradients.norm(dim=1) > 0]
    norms = diagnostics.layer_norms(model, images.train_images[:256], images.train_labels[:256])
    return {
        "correlation": round(diagnostics.pair_correlation(diagnostics.correlation_matrix(reached)), 4),
        "without_gradient": round(1.0 - len(reached) / len(gradients), 4),
        "coactive_share": round(norms["coactive_share"].iloc[-1], 4),
        "gradient_ratio": round(norms["output_grad_norm"].iloc[0] / norms["output_grad_norm"].iloc[-1], 4),
    }


def scales_of(model: nn.Module) -> dict[str, float]:
    """Return what has become of a and b: means over all units, extremes, and how large the identity is by the rest."""
    if not (found := diracs(model)):
        return {}
    a = torch.cat([scales.identity_scale.detach() for scales in found])
    b = torch.cat([scales.filter_scale.detach() for scales in found]).abs()
    last = found[-1]
    return {
        "mean_a": round(a.mean().item(), 4),
        "smallest_a": round(a.min().item(), 4),
        "mean_a_last_layer": round(last.identity_scale.detach().mean().item(), 4),
        "mean_b": round(b.mean().item(), 4),
        "mean_b_last_layer": round(last.filter_scale.detach().abs().mean().item(), 4),
        "median_ratio": round((a.abs() / b).median().item(), 3),
    }


def decay_too(trainer: training.Trainer, names: tuple[str, ...]) -> None:
    """Let some scales decay as the weights do, which `TrainConfig` spares them."""
    decaying, spared = trainer.optimizer.param_groups
    chosen = {id(getattr(scales, name)) for scales in diracs(trainer.model) for name in names}
    decaying["params"] += [parameter for parameter in spared["params"] if id(parameter) in chosen]
    spared["params"] = [parameter for parameter in spared["params"] if id(parameter) not in chosen]


def train_once(
    model: nn.Module, images: data.Images, config: training.TrainConfig, decayed: str = "V"
) -> dict[str, float]:
    """Train, and return what came out; the accuracy of guessing where the loss is no longer finite."""
    trainer = training.Trainer(model, images, config)
    if decayed != "V":
        decay_too(trainer, DECAYED[decayed])
    try:
        for _ in trainer:
            pass
    except training.DivergenceError as error:
        print(error)
    result = trainer.result()
    train_accuracy = training.accuracy(model, images.train_images, images.train_labels)
    test_accuracy = training.accuracy(model, images.test_images, images.test_labels)
    assert math.isfinite(test_accuracy)
    return {
        "train_accuracy": round(train_accuracy, 4),
        "test_accuracy": round(test_accuracy, 4),
        **scales_of(model),
        "seconds": round(result.seconds, 1),
    }


def fully_connected(images: data.Images) -> Iterator[dict[str, Any]]:
    """Yield the runs of the experiments "depth" and "long"."""
    for depth, name, seed in product(DEPTHS, NETWORKS, SEEDS):
        model = make(name, depth=depth, seed=seed)
        start = at_the_start(model, images)
        lr = 0.01 if name.endswith("0.01") else STEP_SIZES["batch"]
        config = training.TrainConfig(num_epochs=SHORT, lr=lr, seed=seed, device="cpu")
        head = {"experiment": "depth", "network": name, "depth": depth, "seed": seed}
        yield {**head, **start, **train_once(model, images, config)}
    for seed in SEEDS:
        config = training.TrainConfig(num_epochs=NUM_EPOCHS, seed=seed, device="cpu")
        head = {"experiment": "long", "network": "dirac", "depth": DEPTH, "seed": seed}
        yield {**head, **train_once(make("dirac", depth=DEPTH, seed=seed), images, config)}


def decays(images: data.Images) -> Iterator[dict[str, Any]]:
    """Yield the runs of the experiment "decay"."""
    for (normalization, decayed), seed in product(DECAYS, SEEDS):
        model = make("dirac", depth=DEPTH, normalization=normalization, seed=seed)
        config = training.TrainConfig(
            num_epochs=SHORT,
            lr=STEP_SIZES[normalization],
            optimizer="adamw",
            weight_decay=WEIGHT_DECAY,
            seed=seed,
            device="cpu",
        )
        head = {"experiment": "decay", "network": "dirac", "depth": DEPTH, "seed": seed}
        choices = {"normalization": normalization, "decayed": decayed}
        yield {**head, **choices, **train_once(model, images, config, decayed)}


def convolutions(images: data.Images) -> Iterator[dict[str, Any]]:
    """Yield the runs of the experiment "convolutions"."""
    small = dataclasses.replace(
        images,
        train_images=avg_pool2d(images.train_images, 2),
        test_images=avg_pool2d(images.test_images, 2),
    )
    for (depth, channels), name, seed in product(CHANNELS.items(), ("plain", "dirac"), SEEDS):
        parametrization = NETWORKS[name].get("parametrization", "none")
        model = models.make(
            "diracnet",
            depth=depth - 2,
            width=channels,
            in_channels=1,
            parametrization=parametrization,
            seed=seed,
        )
        config = training.TrainConfig(num_epochs=NUM_CONVOLUTIONAL, seed=seed, device="cpu")
        head = {"experiment": "convolutions", "network": name, "depth": depth, "seed": seed}
        yield {**head, **train_once(model, small, config)}


def cosine_to_identity(model: nn.Module) -> list[float]:
    """Return the cosine between each layer's weight and the identity matrix."""
    weights = [layer.linear.weight.detach() for layer in models.collapse(model).layers]
    return [float(weight.trace() / (weight.norm() * math.sqrt(len(weight)))) for weight in weights]


def identities(images: data.Images) -> Iterator[dict[str, Any]]:
    """Yield the runs of the experiment "identity"."""
    networks = {name: NETWORKS[name] for name in ("plain", "dirac")} | {"van": {"connection": "van"}}
    for (name, choices), seed in product(networks.items(), SEEDS):
        model = models.mlp(depth=DEPTH, seed=seed, **choices)
        config = training.TrainConfig(num_epochs=NUM_EPOCHS, seed=seed, device="cpu")
        run = train_once(model, images, config)
        cosines = cosine_to_identity(model)
        yield {
            "experiment": "identity",
            "network": name,
            "depth": DEPTH,
            "seed": seed,
            "cosine": round(sum(cosines) / DEPTH, 4),
            "smallest_cosine": round(min(cosines), 4),
            "largest_cosine": round(max(cosines), 4),
            **run,
        }


def main() -> None:
    """Train everything and write the file."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    recording = Recording(
        "dirac_mini",
        "What is an identity inside the weights worth at depths 10, 40 and 60, what becomes of it in training, with "
        "weight decay and without, and how much of one do a plain network and a VAN end with? Embedded Fashion-MNIST "
        "subset; accuracies in eval mode; gradients before training, with batch statistics: correlation between those "
        "at pairs of 64 test images, where there is any.",
        "python -m tools.record_dirac",
    )
    images = data.load()
    runs = recording.resume()
    there = {run["experiment"] for run in runs}
    experiments = {
        "depth": fully_connected,
        "decay": decays,
        "convolutions": convolutions,
        "identity": identities,
    }
    for name in [name for name in experiments if name not in there]:
        for run in experiments[name](images):
            runs.append(run)
            print(run, flush=True)
        print(recording.write(runs))


if __name__ == "__main__":
    main()
