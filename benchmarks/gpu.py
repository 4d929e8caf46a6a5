"""What a GPU makes of the library: its tests there, and the time of a step.

    python -m benchmarks.gpu                the tests marked `gpu`, then the times, where there is a CUDA device
    python -m benchmarks.gpu --device cpu   the times alone, a few steps each: whether all of it runs

Needs torch, torchvision, numpy, pandas, tqdm and pytest. Writes benchmarks/gpu.json and its section of
docs/performance.md. A time is that of a step as somebody waits for it, the device caught up.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from benchmarks.measure import write_table
from van_tutorial import data, ensemble, models, training
from van_tutorial._course import course_path
from van_tutorial._files import write_atomic

STEPS, FEW_STEPS = 20, 1  # between two records, which read the device
NUM_RECORDS = 5  # that are timed, after one that is not
RESULT = course_path("benchmarks", "gpu.json")


def few(images: data.Images) -> data.Images:
    """Return the images with two to test on: an evaluation is not part of a step."""
    return replace(images, test_images=images.test_images[:2], test_labels=images.test_labels[:2])


def one_network(model: nn.Module, images: data.Images, **settings: Any) -> Iterator[object]:
    """Return an iterator that goes on to the next record whenever it is asked."""
    config = training.TrainConfig(num_epochs=100, dual_lr=1e-3, **settings)
    return iter(training.Trainer(model, few(images), config))


def many_networks(count: int, images: data.Images, **settings: Any) -> Iterator[object]:
    """Return an iterator that goes on to the next record of every network whenever it is asked."""
    configs = [
        training.TrainConfig(num_epochs=100, dual_lr=1e-3, seed=seed, **settings) for seed in range(count)
    ]
    return iter(ensemble.Trainer([models.mlp(seed=seed) for seed in range(count)], few(images), configs))


def resnet(is_gated: bool) -> nn.Module:
    """Return torchvision's ResNet-18 with a weight for each skip, or without its skips."""
    network = torchvision.models.resnet18(num_classes=10)
    network.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    gated = models.gate_skips(network, torch.zeros(2, 1, 28, 28))
    if is_gated:
        return gated
    with torch.no_grad():
        gated.skip_weight.zero_()
    return models.collapse(gated)


def sides(device: str, steps: int) -> dict[str, tuple[int, Callable[[], Iterator[object]]]]:
    """Return by name how many networks a step is for, and what makes its iterator."""
    images, on = data.load(), {"device": device, "log_every": steps}
    wide = {"batch_size": 256, **on}

    def mlp(**settings: Any) -> Iterator[object]:
        return one_network(models.mlp(seed=0), images, **on, **settings)

    def convnet(**settings: Any) -> Iterator[object]:
        return one_network(models.convnet(depth=20, in_channels=1, seed=0), images, **wide, **settings)

    return {
        "VAN, depth 40": (1, mlp),
        "VAN, depth 40, compiled": (1, lambda: mlp(compile=True)),
        "VAN, depth 40, bfloat16": (1, lambda: mlp(mixed_precision=True)),
        "convolutional VAN, 20 layers": (1, convnet),
        "convolutional VAN, 20 layers, bfloat16, channels last": (
            1,
            lambda: convnet(mixed_precision=True, channels_last=True),
        ),
        **{
            f"{count} VANs of depth 40 at once": (
                count,
                lambda count=count: many_networks(count, images, **on),
            )
            for count in (16, 64, 256)
        },
        "ResNet-18, skips weighted": (1, lambda: one_network(resnet(True), images, **wide)),
        "ResNet-18, collapsed": (1, lambda: one_network(resnet(False), images, **wide)),
    }


def milliseconds(records: Iterator[object], device: torch.device, steps: int) -> float:
    """Return the time of a step, after some that are not counted."""

    def catch_up() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    next(records)
    catch_up()
    started = time.perf_counter()
    for _ in range(NUM_RECORDS):
        next(records)
    catch_up()
    return 1000 * (time.perf_counter() - started) / (NUM_RECORDS * steps)


def measure(device: str) -> dict[str, Any]:
    """Return all times, with what they were measured on."""
    where = training.pick_device(device)
    is_gpu = where.type == "cuda"
    steps = STEPS if is_gpu else FEW_STEPS
    rows = []
    for name, (count, make) in sides(device, steps).items():
        taken = milliseconds(make(), where, steps)
        rows.append(
            {"name": name, "networks": count, "ms": round(taken, 3), "ms_of_one": round(taken / count, 4)}
        )
        print(rows[-1], flush=True)
    return {
        "command": "make gpu",
        "device": torch.cuda.get_device_name(where) if is_gpu else platform.machine(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "cuda": torch.version.cuda,
        },
        "runs": rows,
    }


def section(found: dict[str, Any]) -> str:
    """Return the section of docs/performance.md."""
    versions = ", ".join(f"{name} {value}" for name, value in found["versions"].items() if value)
    rows = [f"| {row['name']} | {row['ms']:.2f} | {row['ms_of_one']:.3f} |" for row in found["runs"]]
    head = "| a step of | ms | ms for one network |\n|---|---|---|"
    about = f"{found['device']}; {versions}. Made by `{found['command']}`; the tests there {found['tests']}."
    return f"{about}\n\n{head}\n" + "\n".join(rows) + "\n"


def main() -> int:
    """Test, measure and write; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="cpu tries all of it, and writes nothing")
    device = parser.parse_args().device
    if device != "cuda":
        measure(device)
        return 0
    if not torch.cuda.is_available():
        print("There is no CUDA device on this machine: make gpu is for one that has it.", file=sys.stderr)
        return 1
    # Without the suite's own plugins, settings and fixtures, which need more packages than these.
    alone = [
        "-c",
        os.devnull,
        "--rootdir",
        str(course_path()),
        "--noconftest",
        "-p",
        "tests.sharing",
        "-p",
        "no:cacheprovider",
        "-q",
    ]
    alone += ["--import-mode", "importlib", "-W", "ignore::pytest.PytestUnknownMarkWarning"]
    status = pytest.main([str(course_path("tests", "test_gpu.py")), *alone])
    found = measure(device) | {"tests": "passed" if status == 0 else "failed"}
    write_atomic(RESULT, (json.dumps(found, indent=1) + "\n").encode())
    write_table("gpu", section(found))
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
