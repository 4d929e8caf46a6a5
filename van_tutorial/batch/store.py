"""Where runs lie: each in a folder named by the hash of all that it depends on, and whole or not there."""

import contextlib
import hashlib
import json
import os.path
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
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


@dataclass(frozen=True)
class Identity:
    """What a run's numbers depend on beside its parameters.

    Attributes:
        notebook: hash of the notebook's file; empty without one.
        package: hash of the package's source files; without a notebook, of those that train a network.
        data: hash of the embedded data; the full data sets are pinned by checksums in the package's source.
        torch: its version.
    """

    notebook: str
    package: str
    data: str
    torch: str

    def key(self, parameters: Mapping[str, Any]) -> str:
        """Return the name of a run.

        Args:
            parameters: all of them, typed, defaults filled in; their order does not matter.

        Returns:
            16 hex digits.
        """
        content = json.dumps({**asdict(self), "parameters": parameters}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:KEY_LENGTH]

    def difference(self, other: "Identity") -> list[str]:
        """Return the names of what differs.

        Args:
            other: what is compared.

        Returns:
            Some of "notebook", "package", "data" and "torch".
        """
        names = [field.name for field in fields(self)]
        return [name for name in names if getattr(self, name) != getattr(other, name)]


def identify(source: bytes | None) -> Identity:
    """Return what the runs of a notebook depend on, here and now.

    Args:
        source: the notebook file's content; None for networks that are trained without one.

    Returns:
        Its identity with the package, data and torch that are installed here, read afresh from the disk.
    """
    notebook = "" if source is None else hashlib.sha256(source).hexdigest()
    package = package_digest() if source is not None else package_digest(TRAINS)
    return Identity(notebook, package, data_digest(), version("torch"))


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


@dataclass(frozen=True)
class Place:
    """Where a run is kept.

    Attributes:
        parent: folder of all runs of the notebook.
        key: name of the run.
    """

    parent: Path
    key: str

    @property
    def folder(self) -> Path:
        """The finished run; it is there only when it is whole."""
        return self.parent / self.key

    @property
    def failed(self) -> Path:
        """What a failed attempt left."""
        return self.parent / f"{self.key}{FAILED}"

    @property
    def interrupted(self) -> Path:
        """What was done when someone interrupted it."""
        return self.parent / f"{self.key}{INTERRUPTED}"

    def hidden(self, ending: str) -> Path:
        """Return the path of something that passes for no run; only the holder of the claim touches it."""
        return self.parent / f".{self.key}.{ending}"


@contextlib.contextmanager
def claim(place: Place) -> Iterator[None]:
    """Hold a run, so that no other process makes it; what a dead holder left half-written is removed.

    The operating system lets go of the claim when the process ends, however it ends.

    Args:
        place: of the run.

    Yields:
        Nothing.

    Raises:
        BusyError: where another process holds it.
        OSError: where the folder cannot be written.
    """
    lock = FileLock(place.hidden("lock"))
    with clear_errors(place.folder):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise BusyError(
                f"Another process is making this very run ({place.folder}): wait for it, or keep the runs elsewhere."
            ) from None
    try:
        with clear_errors(place.folder):
            if place.hidden("old").exists() and not place.folder.exists():  # killed while it was replaced
                place.hidden("old").rename(place.folder)
            remove(place.hidden("part"), place.hidden("old"))
        yield
    finally:
        shutil.rmtree(place.hidden("part"), ignore_errors=True)
        # While it is held: whoever opened the file before sees, once it has the lock, that the file is gone.
        with contextlib.suppress(OSError):
            place.hidden("lock").unlink()
        lock.release()


def keep(place: Place, files: Mapping[str, bytes], folder: Path) -> None:
    """Write the files of a run, which appear together, in place of what an earlier attempt left.

    Args:
        place: of the run, claimed.
        files: content by name.
        folder: the place's `folder`, `failed` or `interrupted`.

    Raises:
        OSError: where they could not be written; a finished run is there still.
    """
    part, old = place.hidden("part"), place.hidden("old")
    for name, content in files.items():
        write_atomic(part / name, content)
    with clear_errors(folder):
        if folder != place.folder:
            remove(folder)
        elif os.path.lexists(folder):
            folder.rename(old)
        part.rename(folder)
        if folder == place.folder:
            remove(old, place.failed, place.interrupted)
