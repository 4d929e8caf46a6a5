"""What an identity inside the weights is worth, and what becomes of it in training."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tools.recordings.lab import SEEDS, Lab, Row, recording
from van_tutorial import data, diagnostics, models, training

DIRAC: Row = {"connection": "plain", "parametrization": "dirac"}
NETWORKS: dict[str, Row] = {
    "plain": {"connection": "plain"},
    # Its learning rate is the best for plain networks of depth 40 in learning_rates_mini.
    "plain, lr 0.01": {"connection": "plain"},
    "dirac": DIRAC,
    "dirac, no identity": DIRAC,  # a = 0 at the start, and all else the same
    "residual": {"connection": "residual"},
    "van": {"connection": "van"},
}
LR, LR_UNNORMALIZED = 3e-3, 1e-3
WEIGHT_DECAY = 5.0  # decays a by exp(-5 * sum of the learning rates): to 0.05 in 10 epochs at 0.003
DECAYED = {"V": (), "V, a": ("identity_scale",), "V, a, b": ("identity_scale", "filter_scale")}
SHORT, LONG = 10, 30  # epochs


@recording(
    # Fully connected, batch normalization, 10 epochs; at depth 40 also the settings of phase_out_mini.
    {"experiment": "depth", "depth": (10, 40, 60), "network": tuple(NETWORKS)[:-1], "seed": SEEDS},
    # AdamW with weight decay of V alone, of V and a, of V, a and b.
    *(
        {
            "experiment": "decay",
            "depth": 40,
            "network": "dirac",
            "normalization": name,
            "decayed": some,
            "seed": SEEDS,
        }
        for name, some in (("batch", tuple(DECAYED)), ("none", ("V", "V, a, b")))
    ),
    # How much of an identity the weights hold at the end, each network after its collapse.
    {"experiment": "identity", "depth": 40, "network": ("plain", "dirac", "van"), "seed": SEEDS},
)
def dirac_mini(lab: Lab, experiment: str, depth: int, network: str, seed: int, **choices: Any) -> Row:
    """Train one network of one experiment."""
    return EXPERIMENTS[experiment](lab, lab.load(), depth=depth, network=network, seed=seed, **choices)


def by_depth(lab: Lab, images: data.Images, depth: int, network: str, seed: int) -> Row:
    """Look at the gradients of a network, and train it shortly."""
    model = models.mlp(depth=depth, seed=seed, **NETWORKS[network])
    if network == "dirac, no identity":
        for scales in diracs(model):
            nn.init.zeros_(scales.identity_scale)
    start = at_the_start(model, images)
    lr = 0.01 if network.endswith("0.01") else LR
    return start | outcome(lab, lab.trainer(model, images, num_epochs=SHORT, lr=lr, seed=seed), images)


def decay(
    lab: Lab, images: data.Images, depth: int, network: str, seed: int, normalization: str, decayed: str
) -> Row:
    """Train with weight decay, of some scales too, which `TrainConfig` spares."""
    model = models.mlp(depth=depth, normalization=normalization, seed=seed, **NETWORKS[network])
    lr = LR if normalization == "batch" else LR_UNNORMALIZED
    settings = {"lr": lr, "optimizer": "adamw", "weight_decay": WEIGHT_DECAY}
    trainer = lab.trainer(model, images, num_epochs=SHORT, seed=seed, **settings)
    chosen = {id(getattr(scales, name)) for scales in diracs(model) for name in DECAYED[decayed]}
    decaying, spared = trainer.optimizer.param_groups
    decaying["params"] += [parameter for parameter in spared["params"] if id(parameter) in chosen]
    spared["params"] = [parameter for parameter in spared["params"] if id(parameter) not in chosen]
    return outcome(lab, trainer, images)


def identity(lab: Lab, images: data.Images, depth: int, network: str, seed: int) -> Row:
    """Train for long, and return the cosine between the weights and the identity, tr(W) / (|W| sqrt(n))."""
    model = models.mlp(depth=depth, seed=seed, **NETWORKS[network])
    row = outcome(lab, lab.trainer(model, images, num_epochs=LONG, seed=seed), images)
    weights = [layer.linear.weight.detach() for layer in models.collapse(model).layers]
    cosines = [float(weight.trace() / (weight.norm() * math.sqrt(len(weight)))) for weight in weights]
    return {
        "cosine": round(sum(cosines) / depth, 4),
        "smallest_cosine": round(min(cosines), 4),
        "largest_cosine": round(max(cosines), 4),
    } | row


EXPERIMENTS: dict[str, Callable[..., Row]] = {
    "depth": by_depth,
    "decay": decay,
    "identity": identity,
}


def diracs(model: nn.Module) -> list[models.Dirac]:
    """Return the Dirac parametrizations of a network, from its first layer to its last."""
    return [module for module in model.modules() if isinstance(module, models.Dirac)]


def at_the_start(model: nn.Module, images: data.Images) -> Row:
    """Return how the gradients of an untrained network's output for class 0 hang together, with batch statistics."""
    shown = images.test_images[:64]
    gradients = diagnostics.input_gradients(model, shown, output=0, statistics="constant").flatten(1)
    reached = gradients[gradients.norm(dim=1) > 0]
    norms = diagnostics.layer_norms(model, images.train_images[:256], images.train_labels[:256])
    return {
        "correlation": round(diagnostics.pair_correlation(diagnostics.correlation_matrix(reached)), 4),
        "without_gradient": round(1.0 - len(reached) / len(gradients), 4),
        "coactive_fraction": round(norms["coactive_fraction"].iloc[-1], 4),
        "gradient_ratio": round(norms["output_grad_norm"].iloc[0] / norms["output_grad_norm"].iloc[-1], 4),
    }


def outcome(lab: Lab, trainer: training.Trainer, images: data.Images) -> Row:
    """Train, and return the accuracies, and what has become of a and b: means over all units, extremes, a over b."""
    run = lab.finish(trainer, images, may_diverge=True)
    return run.row("train_accuracy", "test_accuracy") | scales_of(run.model) | run.row("seconds")


def scales_of(model: nn.Module) -> Row:
    """Return what has become of a and b; nothing for a network without them."""
    if not (found := diracs(model)):
        return {}
    identity = [scales.identity_scale.detach() for scales in found]
    filters = [scales.filter_scale.detach().abs() for scales in found]
    a, b = torch.cat(identity), torch.cat(filters)
    return {
        "mean_a": round(a.mean().item(), 4),
        "smallest_a": round(a.min().item(), 4),
        "mean_a_last_layer": round(identity[-1].mean().item(), 4),
        "mean_b": round(b.mean().item(), 4),
        "mean_b_last_layer": round(filters[-1].mean().item(), 4),
        "median_ratio": round((a.abs() / b).median().item(), 3),
    }
