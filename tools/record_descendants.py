"""Record what is left of what each method of the family removes, and how accurate the network is that remains.

    python -m tools.record_descendants

Fully connected, depth 20, width 32, 30 epochs on the embedded images, the library's step sizes, seeds 0, 1, 2. Layer
Folding with several strengths of its penalty and a step size of 0.2 of its skip weights, with which they come apart
(looked at on held-out training images, seed 0); its skip weights are rounded to 0 or 1 before layers are merged, and
where no activation is left the network becomes the one linear layer that it is. RepVGG is a convolutional network: 8
channels, a block a stage, 10 epochs on images of half the height and width, beside the plain network that it folds
into. Accuracy on test images in eval mode: as trained, and of the network that is left. Takes about seven minutes on
one core.
"""

import argparse
import copy
import dataclasses
from itertools import product
from typing import Any

import torch
from torch import nn

from tools.results import ALL_AT_ONCE, Recording
from van_tutorial import data, diagnostics, models, training

SEEDS = (0, 1, 2)
DEPTH, NUM_EPOCHS, NUM_CONV_EPOCHS = 20, 30, 10
FOLDING_SKIP_LR = 0.2
SMALL_CONV = {"depth": 5, "width": 8, "in_channels": 1}
# Name, recipe, and what differs from it in the training.
RUNS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("plain", "plain", {}),
    ("residual", "residual", {}),
    ("van", "van", {}),
    ("vanillanet", "vanillanet", {}),
    *(
        (
            f"layer-folding, {strength:g}",
            "layer-folding",
            {"skip_lr": FOLDING_SKIP_LR, "skip_penalty": strength},
        )
        for strength in (0.0, 0.01, 0.02, 0.05, 0.25)
    ),
    ("rezero", "rezero", {}),
    ("dirac", "dirac", {}),
    ("repvgg", "repvgg", {}),
    ("plain-conv", "plain-conv", {}),
)


def make(recipe: str, seed: int) -> nn.Module:
    """Return the network of a recipe."""
    if models.FAMILY[recipe].kind == "mlp":
        return models.make(recipe, depth=DEPTH, seed=seed)
    return models.make(recipe, **SMALL_CONV, layers_per_block=1, seed=seed)


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


@torch.no_grad()
def rounded(model: Any) -> Any:
    """Return a copy with skip weights of 0 and 1 only."""
    copied = copy.deepcopy(model)
    copied.skip_weight.round_()
    return copied


@torch.no_grad()
def affine(model: Any) -> nn.Module:
    """Return one linear layer that does what a network without an activation does, in eval mode."""
    num_features = model.config.in_features
    outputs = model.eval()(torch.cat((torch.zeros(1, num_features), torch.eye(num_features))))
    linear = nn.Linear(num_features, model.config.num_classes)
    linear.weight.copy_((outputs[1:] - outputs[0]).T)
    linear.bias.copy_(outputs[0])
    return nn.Sequential(nn.Flatten(), linear)


def finish(recipe: str, model: Any) -> Any:
    """Return the network that is left: collapsed, merged or folded; the model itself where it keeps its skips."""
    if recipe in ("residual", "rezero"):
        return model
    if recipe in ("vanillanet", "layer-folding"):
        model = rounded(model)
        is_affine = len(model.skip_weight) == len(model.layers) and bool(model.skip_weight.all())
        return affine(model) if is_affine else models.merge(model)
    return models.collapse(model)


def num_layers(model: nn.Module, images: data.Images) -> int:
    """Count linear maps and convolutions that a pass runs."""
    table = diagnostics.costs({"": model}, images.test_images[:2], seconds_per_model=0.0)
    return int(table["layers"].iloc[0])


def has_skip(model: nn.Module, images: data.Images) -> bool:
    """Tell whether a network's exported graph has a skip-connection."""
    return models.has_skip(torch.export.export(model.eval(), (images.test_images[:2],)))


def train_once(name: str, recipe: str, differs: dict[str, Any], seed: int) -> dict[str, Any]:
    """Train one network, take out of it what can be taken out, and return its row."""
    images = data.load()
    num_epochs = NUM_EPOCHS
    if models.FAMILY[recipe].kind == "convnet":
        images, num_epochs = half_size(images), NUM_CONV_EPOCHS
    model = make(recipe, seed)
    choices = {**ALL_AT_ONCE, **models.FAMILY[recipe].training, **differs}
    config = training.TrainConfig(num_epochs=num_epochs, seed=seed, device="cpu", **choices)
    result = training.train(model, images, config)
    left = finish(recipe, model)
    alphas = models.skip_weights(model)
    share = share_left(recipe, model)
    return {
        "network": name,
        "seed": seed,
        "share_left": None if share is None else round(share, 4),
        "between": int(((alphas > 0.1) & (alphas < 0.9)).sum()),
        "layers_before": num_layers(model, images),
        "layers_after": num_layers(left, images),
        "skip_before": has_skip(model, images),
        "skip_after": has_skip(left, images),
        "accuracy_before": round(result.test_accuracy, 4),
        "accuracy_after": round(training.accuracy(left, images.test_images, images.test_labels), 4),
        "removed_by": result.removed_by,
        "seconds": round(result.seconds, 1),
    }


def half_size(images: data.Images) -> data.Images:
    """Return the images with every second row and column."""
    return dataclasses.replace(
        images,
        train_images=images.train_images[:, :, ::2, ::2],
        test_images=images.test_images[:, :, ::2, ::2],
    )


def main() -> None:
    """Train everything and write the file."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    recording = Recording(
        "descendants_mini",
        "What do the methods of the family remove, what is left, and how accurate is it? Embedded Fashion-MNIST "
        "subset, fully connected, depth 20, width 32, 30 epochs; repvgg and plain-conv: small convolutional networks, "
        "images of half size, 10 epochs.",
        "python -m tools.record_descendants",
    )
    rows = []
    for (name, recipe, differs), seed in product(RUNS, SEEDS):
        rows.append(train_once(name, recipe, differs, seed))
        print(rows[-1], flush=True)
    print(recording.write(rows))


if __name__ == "__main__":
    main()
