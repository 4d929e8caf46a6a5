"""What is left of what each method of the family removes, and how accurate the network is that remains."""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from tools.recordings.lab import ALL_AT_ONCE, SEEDS, Lab, Row, recording
from van_tutorial import data, diagnostics, models, training

FOLDING = {f"layer-folding, {strength:g}": strength for strength in (0.0, 0.01, 0.02, 0.05, 0.25)}
FOLDING_SKIP_LR = 0.2  # with which the skip weights come apart (looked at on validation images, seed 0)
METHODS = ("plain", "residual", "van", "vanillanet", *FOLDING, "rezero", "dirac", "repvgg", "plain-conv")
BETWEEN = (0.1, 0.9)  # a skip weight in between is neither left nor removed


@recording({"network": METHODS, "seed": SEEDS})
def descendants_mini(lab: Lab, network: str, seed: int) -> Row:
    """Train one network with the library's learning rates, and take out of it what can be taken out."""
    images, recipe = lab.load(), network.partition(",")[0]
    settings = {**ALL_AT_ONCE, **models.FAMILY[recipe].training}
    if network in FOLDING:
        settings |= {"skip_lr": FOLDING_SKIP_LR, "skip_penalty": FOLDING[network]}
    if models.FAMILY[recipe].kind == "mlp":
        num_epochs, model = 30, models.make(recipe, depth=20, seed=seed)
    else:  # a block a stage, images of half the height and width
        small = {"depth": 5, "width": 8, "in_channels": 1, "layers_per_block": 1}
        num_epochs, model = 10, models.make(recipe, **small, seed=seed)
        train, test = (part[:, :, ::2, ::2] for part in (images.train_images, images.test_images))
        images = replace(images, train_images=train, test_images=test)
    run = lab.train(model, images, num_epochs=num_epochs, seed=seed, **settings)
    left = finished(recipe, run.model)
    weights = models.skip_weights(run.model)
    share = share_left(recipe, run.model)
    return {
        "share_left": None if share is None else round(share, 4),
        "between": int(((weights > BETWEEN[0]) & (weights < BETWEEN[1])).sum()),
        "layers_before": num_layers(model, images),
        "layers_after": num_layers(left, images),
        "skip_before": has_skip(model, images),
        "skip_after": has_skip(left, images),
        "accuracy_before": round(run.result.test_accuracy, 4),
        "accuracy_after": round(training.accuracy(left, images.test_images, images.test_labels), 4),
        **run.row("removed_by", "seconds"),
    }


def share_left(recipe: str, model: Any) -> float | None:
    """Return what is left of what the method removes, or of what it has put in: a mean over the layers."""
    if recipe == "van":
        return models.skip_weights(model).mean().item()
    if recipe in ("vanillanet", "layer-folding"):
        return 1.0 - models.skip_weights(model).mean().item()
    if recipe == "rezero":
        return torch.stack([layer.connection.scale for layer in model.layers]).abs().mean().item()
    if recipe == "dirac":
        scales = [layer.linear.parametrizations.weight[0].identity_scale for layer in model.layers]
        return torch.stack(scales).abs().mean().item()
    return None


def finished(recipe: str, model: Any) -> Any:
    """Return the network that is left: collapsed, merged or folded; the model itself where it keeps its skips.

    Where activations are removed, skip weights are rounded to 0 or 1 before layers are merged.
    """
    if recipe in ("residual", "rezero"):
        return model
    if recipe not in ("vanillanet", "layer-folding"):
        return models.collapse(model)
    model = copy.deepcopy(model)
    with torch.no_grad():
        model.skip_weight.round_()
    return models.merge(model)


def num_layers(model: nn.Module, images: data.Images) -> int:
    """Count linear maps and convolutions that a pass runs."""
    table = diagnostics.costs({"": model}, images.test_images[:2], seconds_per_model=0.0)
    return int(table["layers"].iloc[0])


def has_skip(model: nn.Module, images: data.Images) -> bool:
    """Tell whether a network's exported graph has a skip-connection."""
    return models.has_skip(torch.export.export(model.eval(), (images.test_images[:2],)))
