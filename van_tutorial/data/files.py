"""Data files: checked, then read. Formats: idx, numpy's npz, and CIFAR's binary and pickled versions."""

import gzip
import hashlib
import io
import pickle
import tarfile
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import numpy as np


class DataError(RuntimeError):
    """A data file is missing, or is not what it should be.

    Args:
        problem: what is wrong.
        fix: what helps.
    """

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem, fix)
        self.problem, self.fix = problem, fix

    def __str__(self) -> str:
        """Return both in one sentence."""
        return f"{self.problem}: {self.fix}."


def is_missing(path: Path) -> bool:
    """Return whether nothing is there; what cannot be looked at may be there."""
    try:
        path.stat()
    except OSError as error:
        return isinstance(error, FileNotFoundError | NotADirectoryError)
    return False


def read_checked(path: Path, num_bytes: int, checksum: str, fix: str) -> bytes:
    """Return the bytes of a file, once they are known to be the right ones.

    At most one byte more than expected is read or unpacked, and nothing of a pipe or a folder.

    Args:
        path: of the file; a .gz that is no .tar.gz is unpacked before it is checked.
        num_bytes: expected size, unpacked.
        checksum: sha256 or md5 of the bytes, in hexadecimal; its length tells which.
        fix: advice for the error.

    Returns:
        The bytes.

    Raises:
        DataError: where the file is missing, cannot be read, is larger than expected or has another checksum.
    """
    if is_missing(path):
        raise DataError(f"The data file {path} is missing", fix)
    open_file = gzip.open if path.suffix == ".gz" and ".tar" not in path.suffixes else Path.open
    try:
        with open_file(path, "rb") if path.is_file() else io.BytesIO() as file:
            content = file.read(num_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, PermissionError):
            fix = f"give this user the permission to read it, or {fix}"
        raise DataError(f"The data file {path} cannot be read ({error})", fix) from error
    kind = {32: "md5", 64: "sha256"}[len(checksum)]
    found = hashlib.new(kind, content, usedforsecurity=False).hexdigest()
    if found != checksum:
        size = f"more than {num_bytes:,}" if len(content) > num_bytes else f"{len(content):,}"
        came = f"{size} bytes with {kind} {found[:12]}…, expected {num_bytes:,} with {checksum[:12]}…"
        raise DataError(f"The data file {path} is truncated or altered ({came})", fix)
    return content


def parse_idx(content: bytes) -> np.ndarray:
    """Return the array in an idx file: two zero bytes, a type byte, the number of dimensions, their sizes, bytes."""
    num_dimensions = content[3]
    shape = np.frombuffer(content, dtype=">i4", count=num_dimensions, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * num_dimensions).reshape(shape)


def parse_binary(content: bytes, num_label_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels in a file of CIFAR's binary version.

    A record is its label bytes, of which the last one is the (fine) label, and 3 x 32 x 32 bytes.
    """
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, num_label_bytes + 3 * 32 * 32)
    return records[:, num_label_bytes:].reshape(-1, 3, 32, 32), records[:, num_label_bytes - 1]


BUILDERS: dict[tuple[str, str], Callable[..., Any]] = {  # what arrays need, and all that a pickle gets
    ("numpy.core.multiarray", "_reconstruct"): lambda kind, shape, dtype: np.ndarray(shape, dtype),
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): lambda dtype, align, copy: np.dtype(dtype),
}


class ArrayUnpickler(pickle.Unpickler):
    """An unpickler for plain values and numpy arrays that Python 2 has written; it refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what builds an array in the place of the named function or class."""
        if (module, name) not in BUILDERS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return BUILDERS[module, name]


def parse_pickle(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return images and (fine) labels in a file of CIFAR's Python version; nothing in it is executed."""
    try:
        batch = ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except pickle.UnpicklingError as error:
        problem = f"A pickle was refused, and not executed ({error})"
        raise DataError(problem, "put the original file there") from None
    labels = batch[b"fine_labels"] if b"fine_labels" in batch else batch[b"labels"]
    return batch[b"data"].reshape(-1, 3, 32, 32), np.array(labels, dtype=np.uint8)


def extract(content: bytes, members: Iterable[str]) -> list[bytes]:
    """Return the contents of files in a .tar.gz; nothing is unpacked to disk."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return [cast(IO[bytes], archive.extractfile(member)).read() for member in members]


def parse(form: str, contents: list[bytes], num_label_bytes: int = 1) -> list[np.ndarray]:
    """Return training images and labels, test images and labels from the checked contents of files, test files last."""
    if form == "npz":
        with np.load(io.BytesIO(*contents), allow_pickle=False) as arrays:
            return [arrays[f"{part}_{kind}"] for part in ("train", "test") for kind in ("images", "labels")]
    if form == "idx":
        return list(map(parse_idx, contents))
    parse_batch = parse_pickle if form == "pickle" else partial(parse_binary, num_label_bytes=num_label_bytes)
    images, labels = zip(*map(parse_batch, contents), strict=True)
    return [np.concatenate(images[:-1]), np.concatenate(labels[:-1]), images[-1], labels[-1]]
