"""torch's global random state, which all threads share."""

import contextlib
import threading
from collections.abc import Iterator, Sequence

import torch

LOCK = threading.RLock()


@contextlib.contextmanager
def random_state_kept(devices: Sequence[torch.device] = (), device_type: str = "cuda") -> Iterator[None]:
    """Put torch's global random state back afterwards, and let no other thread of ours move it meanwhile.

    Without the lock a panel that measures while it trains could put the state back under a network that is being made.

    Args:
        devices: whose states are kept as well as the CPU's.
        device_type: of these devices.

    Yields:
        Nothing.
    """
    with LOCK, torch.random.fork_rng(devices=list(devices), device_type=device_type):
        yield
