"""torch's global random state, which all threads share."""

import contextlib
import threading
from collections.abc import Iterator

import torch

LOCK = threading.RLock()
CPU = torch.device("cpu")


@contextlib.contextmanager
def random_state_kept(device: torch.device = CPU) -> Iterator[None]:
    """Put torch's global random state back afterwards, and let no other thread of ours move it meanwhile.

    Without the lock a panel that measures while it trains could put the state back under a network that is being made.

    Args:
        device: whose state is kept as well as the CPU's.

    Yields:
        Nothing.
    """
    devices = [device] if device.type != "cpu" else []
    with LOCK, torch.random.fork_rng(devices=devices, device_type=device.type if devices else "cuda"):
        yield
