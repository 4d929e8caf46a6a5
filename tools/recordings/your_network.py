"""What becomes of a network of one's own whose skips are cut or phased out once it is trained."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import onnxruntime
import torch
import torchvision
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn
from torch.nn import functional

from tools.recordings.convolutional import halved
from tools.recordings.lab import SEEDS, Lab, Row, Trained, recording
from van_tutorial import data, diagnostics, models, training

NUM_EPOCHS = 4  # of the network with its skips, and again of what is made of it
NUM_CALIBRATION = 500  # training images


class Block(nn.Module):
    """Two convolutions and a skip around them, as lesson 12 has them."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(before, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(f(x) + s(x)), shape (N, width, H / stride, W / stride)."""
        inside = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(inside)) + self.shortcut(x))


class Network(nn.Module):
    """Nine blocks in three stages, as lesson 12 has them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        stages = [(8, 8, 1), (8, 16, 2), (16, 32, 2)]
        self.blocks = nn.Sequential(
            *(
                block
                for before, width, stride in stages
                for block in (Block(before, width, stride), Block(width, width, 1), Block(width, width, 1))
            )
        )
        self.head = nn.Linear(32, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, shape (N, 10)."""
        return cast(Tensor, self.head(self.blocks(self.stem(images)).mean(dim=(2, 3))))


def without_skips(network: nn.Module, images: data.Images, only: list[str] | None = None) -> nn.Module:
    """Return a network without some of its skips, or without any."""
    gated = models.gate_skips(network, images.test_images[:2], only=only)
    nn.init.zeros_(cast(Tensor, gated.skip_weight))
    return cast(nn.Module, models.collapse(gated))


def fit(lab: Lab, network: nn.Module, images: data.Images, loss: Any = None, **settings: Any) -> Trained:
    """Train a network, and let it collapse where its skips are removed."""
    config = lab.config(**{"num_epochs": NUM_EPOCHS} | settings)
    run = lab.finish(training.Trainer(network, images, config, loss=loss), images)
    if hasattr(run.model, "skip_weight"):
        run = replace(run, result=replace(run.result, model=models.collapse(run.model)))
    return run


@lru_cache(maxsize=len(SEEDS))
def trained(
    lab: Lab,
    make: Callable[[], nn.Module],
    load: Callable[[Lab], data.Images],
    seed: int,
    settings: tuple[tuple[str, Any], ...],
) -> tuple[nn.Module, Trained]:
    """Return a network as it was initialized, and what its training with its skips gave."""
    images = load(lab)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make()
    return deepcopy(network), fit(lab, network, images, seed=seed, **dict(settings))


def arm(
    lab: Lab, fresh: nn.Module, base: Trained, name: str, only: list[str] | None = None, **settings: Any
) -> tuple[nn.Module, Row]:
    """Return what becomes of a network that was trained with its skips, and what is recorded of it."""
    images, network, run, loss = base.images, base.model, None, None
    if name.startswith("phased out"):
        network = models.gate_skips(network, images.test_images[:2], only=only)
    elif name.startswith("from scratch"):
        network = without_skips(fresh, images, only)
        settings["num_epochs"] = NUM_EPOCHS if name.endswith("half as long") else 2 * NUM_EPOCHS
    elif name.startswith("cut"):
        network = without_skips(network, images, only)
    if name == "with its skips":
        run = base
    elif name != "cut":
        loss = training.distillation(base.model) if name.endswith("teacher") else None
        run = fit(lab, deepcopy(network), images, loss, **settings)
    network = run.model if run else network
    row: Row = dict.fromkeys(("removed_at_step", "removed_by", "num_steps", "seconds"))
    row |= run.row("removed_at_step", "removed_by", "num_steps", "seconds") if run else {}
    accuracy = training.accuracy(network, images.test_images, images.test_labels)
    skips = len(models.find_skips(network, images.test_images[:2]))
    return network, {"test_accuracy": round(accuracy, 4), "skips_left": skips, **row}


class Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Hand out training images from which onnxruntime takes the ranges of the activations."""

    def __init__(self, images: data.Images) -> None:
        self.batches = iter(images.train_images[:NUM_CALIBRATION].split(100))

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch; None after the last."""
        batch = next(self.batches, None)
        return None if batch is None else {"images": batch.numpy()}


def exported(network: nn.Module, images: data.Images) -> Row:
    """Return how accurate a network's ONNX file is in onnxruntime, in float and with eight bits, and what it costs."""
    costs = diagnostics.costs({"": network}, images.test_images[:1], seconds_per_model=0.0).iloc[0]
    row: Row = {name: int(costs[name]) for name in ("parameters", "multiply_adds", "peak_activation_bytes")}
    with TemporaryDirectory() as folder:
        plain, prepared, eight = (str(Path(folder, f"{name}.onnx")) for name in ("float", "prepared", "int8"))
        torch.onnx.export(
            network.eval(),
            (images.test_images[:2],),
            plain,
            input_names=["images"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            dynamo=True,
            verbose=False,
        )
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)  # batch normalization into the weights
        quantize_static(
            prepared, eight, Calibration(images), per_channel=True, activation_type=QuantType.QUInt8
        )
        for name, file in (("onnx", plain), ("int8", eight)):
            session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
            (logits,) = session.run(None, {"images": images.test_images.numpy()})
            correct = torch.as_tensor(logits).argmax(dim=1) == images.test_labels
            row[f"{name}_accuracy"] = round(correct.double().mean().item(), 4)
            row[f"{name}_kib"] = round(Path(file).stat().st_size / 1024, 1)
    return row


OWN = ("with its skips", "cut", "phased out", "as long with its skips", "cut, trained on", "from scratch")


@recording({"seed": (*SEEDS, 3, 4), "network": (*OWN, "from scratch, half as long")})
def your_network(lab: Lab, seed: int, network: str) -> Row:
    """Take the skips of lesson 12's network out, and measure what that saves."""
    fresh, base = trained(lab, Network, half_size, seed, ())
    plain, row = arm(lab, fresh, base, network, seed=seed)
    return row | exported(plain, base.images)


def half_size(lab: Lab) -> data.Images:
    """Return the embedded images at half the height and width."""
    return halved(lab.load())


RESNET: Row = {"lr": 1e-3, "augment": "crop-flip", "mixed_precision": True, "channels_last": True}


def resnet18() -> nn.Module:
    """Return torchvision's network, for ten classes, with the first layers that it has for large images."""
    return cast(nn.Module, torchvision.models.resnet18(num_classes=10))


def photographs(lab: Lab) -> data.Images:
    """Return CIFAR-10; for a small part gray images in three channels."""
    images = lab.load("cifar10")
    shape = (-1, 3, -1, -1)
    return replace(
        images, train_images=images.train_images.expand(shape), test_images=images.test_images.expand(shape)
    )


@recording({"seed": SEEDS, "network": (*OWN, "phased out, teacher")})
def your_resnet(lab: Lab, seed: int, network: str) -> Row:
    """Take the skips of torchvision's resnet18 out."""
    fresh, base = trained(lab, resnet18, photographs, seed, tuple(RESNET.items()))
    plain, row = arm(lab, fresh, base, network, seed=seed, **RESNET)
    return row | exported(plain, base.images)


TRANSFORMER: Row = {"lr": 1e-3}
# The skips that are taken out of each of its layers: :1 is around the attention, :2 around the MLP.
BRANCHES = {"attention": (1,), "MLP": (2,), "attention and MLP": (1, 2)}
NUM_LAYERS = 6


def vision_transformer() -> nn.Module:
    """Return a small one of torchvision, for gray images of 28 by 28 pixels in patches of 7 by 7."""
    network = torchvision.models.VisionTransformer(
        image_size=28,
        patch_size=7,
        num_layers=NUM_LAYERS,
        num_heads=4,
        hidden_dim=64,
        mlp_dim=128,
        num_classes=10,
    )
    network.conv_proj = nn.Conv2d(1, 64, 7, 7)
    return cast(nn.Module, network)


@recording(
    {"seed": SEEDS, "network": ("with its skips", "as long with its skips"), "skips": "none"},
    {"seed": SEEDS, "skips": tuple(BRANCHES), "network": ("cut", "phased out", "cut, trained on")},
    {"seed": SEEDS, "skips": "attention and MLP", "network": "from scratch"},
)
def your_transformer(lab: Lab, seed: int, skips: str, network: str) -> Row:
    """Take the skips around the attention of a vision transformer out, those around its MLPs, or both."""
    fresh, base = trained(lab, vision_transformer, garments, seed, tuple(TRANSFORMER.items()))
    only = [
        f"encoder.layers.encoder_layer_{layer}:{branch}"
        for layer in range(NUM_LAYERS)
        for branch in BRANCHES.get(skips, ())
    ]
    _, row = arm(lab, fresh, base, network, only or None, seed=seed, **TRANSFORMER)
    return row


def garments(lab: Lab) -> data.Images:
    """Return all of Fashion-MNIST."""
    return lab.load("fashion-mnist")


THEIRS = {
    "resnet18": (resnet18, photographs, RESNET),
    "transformer": (vision_transformer, garments, TRANSFORMER),
}


@recording({"network": tuple(THEIRS), "lr": (1e-3, 3e-4, 3e-3), "skips": ("kept", "cut"), "seed": 100})
def your_lrs(lab: Lab, network: str, lr: float, skips: str, seed: int) -> Row:
    """Train a network of torchvision for one epoch, with a validation set, as it is or without any skip."""
    make, load, settings = THEIRS[network]
    images = load(lab)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make()
    model = without_skips(model, images) if skips == "cut" else model
    one_epoch = {**settings, "lr": lr, "num_epochs": 1, "validation_fraction": 0.1}
    return fit(lab, model, images, seed=seed, **one_epoch).row("validation_accuracy", "seconds")
