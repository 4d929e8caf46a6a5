"""Where runs lie: each in a folder named by the hash of all that it depends on, and whole or not there."""

import contextlib
import hashlib
import json
import os.path
import shutil
from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

import van_tutorial
from van_tutorial._course import course_path
from van_tutorial._files import clear_errors, remove, write_atomic

KEY_LENGTH = 16
FAILED, INTERRUPTED = "-failed", "-interrupted"
# All that a network's training depends on: the subpackages up to the ensemble, and what puts them to work.
TRAINS = ("data", "connections.py", "models", "constraints", "training", "ensemble")
WORKS = Path("batch", "networks.py")


class BusyError(RuntimeError):
    """Another process is making this very run."""


def identify(source: bytes | None) -> dict[str, str]:
    """Return what the numbers of a run depend on beside its parameters, read afresh from the disk.

    Args:
        source: the notebook file's content; None for networks that are trained without one.

    Returns:
        "notebook", the hash of the notebook's file, empty without one; "package", that of the package's source files,
        without a notebook of those that train a network; "data", that of the embedded data (the full data sets are
        pinned by checksums in the package's source); and "torch", its version.
    """
    return {
        "notebook": "" if source is None else hashlib.sha256(source).hexdigest(),
        "package": package_digest() if source is not None else package_digest(TRAINS),
        "data": data_digest(),
        "torch": version("torch"),
    }


def key_of_run(identity: Mapping[str, str], parameters: Mapping[str, Any]) -> str:
    """Return the name of a run.

    Args:
        identity: what `identify` returned.
        parameters: all of them, typed, defaults filled in; their order does not matter.

    Returns:
        16 hex digits.
    """
    content = json.dumps({**identity, "parameters": parameters}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:KEY_LENGTH]


def package_digest(subpackages: Collection[str] | None = None) -> str:
    """Return the hash of the package's source files and of its table of data sets, with their names.

    Args:
        subpackages: of these alone, and of the package's own helpers (`_*.py`) and `batch/networks.py`, which puts
            them to work; None for all.

    Returns:
        64 hex digits; the course's own files (notebooks, pictures) are not in it.
    """
    package = Path(van_tutorial.__file__).parent

    def is_wanted(name: Path) -> bool:
        is_helper = len(name.parts) == 1 and name.match("_*.py")
        is_one = subpackages is None or name.parts[0] in subpackages or is_helper or name == WORKS
        return is_one and name.parts[0] != "_course"

    paths = [*package.rglob("*.py"), *package.rglob("*.toml")]
    return hash_of([path for path in paths if is_wanted(path.relative_to(package))], package)


def data_digest() -> str:
    """Return the hash of the embedded data files with their names."""
    folder = course_path("assets", "data")
    return hash_of(list(folder.glob("*.npz")), folder)


def hash_of(paths: list[Path], folder: Path) -> str:
    """Return the hash of files and of their paths below a folder."""
    named = sorted((path.relative_to(folder).as_posix(), path) for path in paths)
    hashes = [(name, hashlib.sha256(path.read_bytes()).hexdigest()) for name, path in named]
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()


def hidden(folder: Path, ending: str) -> Path:
    """Return the path of something that passes for no run; only the holder of the claim touches it."""
    return folder.with_name(f".{folder.name}.{ending}")


@contextlib.contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Hold a run, so that no other process makes it; what a dead holder left half-written is removed.

    The operating system lets go of the claim when the process ends, however it ends.

    Args:
        folder: of the run, when it is finished.

    Yields:
        Nothing.

    Raises:
        BusyError: where another process holds it.
        OSError: where the folder cannot be written.
    """
    part, old, lock = (hidden(folder, ending) for ending in ("part", "old", "lock"))
    holder = FileLock(lock)
    with clear_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            holder.acquire(timeout=0)
        except Timeout:
            raise BusyError(
                f"Another process is making this very run ({folder}): wait for it, or keep the runs elsewhere."
            ) from None
    try:
        with clear_errors(folder):
            if old.exists() and not folder.exists():  # killed while it was replaced
                old.rename(folder)
            remove(part, old)
        yield
    finally:
        shutil.rmtree(part, ignore_errors=True)
        # While it is held: a process that opened the file before sees, once it has the lock, that the file was removed.
        with contextlib.suppress(OSError):
            lock.unlink()
        holder.release()


def keep(folder: Path, files: Mapping[str, bytes], ending: str = "") -> Path:
    """Write the files of a run, which appear together, in place of what an earlier attempt left.

    Args:
        folder: of the run, claimed.
        files: content by name.
        ending: of the folder's name: FAILED, INTERRUPTED, or nothing where the run is finished.

    Returns:
        The folder that they are in.

    Raises:
        OSError: where they could not be written; a finished run is there still.
    """
    part, old, kept = hidden(folder, "part"), hidden(folder, "old"), aside(folder, ending)
    for name, content in files.items():
        write_atomic(part / name, content)
    with clear_errors(kept):
        if ending:
            remove(kept)
        elif os.path.lexists(folder):
            folder.rename(old)
        part.rename(kept)
        if not ending:
            remove(old, aside(folder, FAILED), aside(folder, INTERRUPTED))
    return kept


def aside(folder: Path, ending: str) -> Path:
    """Return where what did not finish is kept, beside the folder of the finished run."""
    return folder.with_name(folder.name + ending)
