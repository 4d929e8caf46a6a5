"""Is everything there that the course needs?"""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import pandas as pd
import torch

from van_tutorial import data
from van_tutorial.training import pick_device

PACKAGES = ("van-tutorial", "torch", "plotly", "jupyterlab", "ipywidgets", "jupyterlab_widgets", "anywidget")
OK, BROKEN = "ok", "broken"


def installation(device: str = "auto") -> pd.DataFrame:
    """Return what the course needs, whether it is there, and how to fix what is not.

    Args:
        device: the name that the lessons get: "auto", "cpu", "cuda", "mps".

    Returns:
        Columns part, state ("ok" or "broken") and detail; rows for Python, the packages, the device, the embedded data.

    Example:
        >>> installation("cpu")["part"].tolist()[:2]
        ['Python', 'van-tutorial']
    """
    rows = [("Python", OK, platform.python_version()), *map(find_package, PACKAGES), find_device(device)]
    embedded = next(iter(data.verify()))  # the first of the data sets; the others may be missing
    detail = ": ".join((embedded.detail, *embedded.fixes)) if embedded.fixes else "embedded, checksum holds"
    rows.append((f"data: {embedded.name}", embedded.state, detail))
    return pd.DataFrame(rows, columns=["part", "state", "detail"])


def find_package(name: str) -> tuple[str, str, str]:
    """Return the row of a package."""
    try:
        return name, OK, version(name)
    except PackageNotFoundError:
        fix = f"not installed for this Python: run make setup, or pip install {name}, and restart the kernel"
        return name, BROKEN, fix


def find_device(name: str) -> tuple[str, str, str]:
    """Return the row of the device."""
    try:
        device = pick_device(name)
    except ValueError as error:
        return "device", BROKEN, str(error).rstrip(".")
    if device.type == "cuda":
        return "device", OK, f"{device}: {torch.cuda.get_device_name(device)}"
    return "device", OK, f"{device}, {os.cpu_count()} cores" if device.type == "cpu" else str(device)
