"""Data files: checked, then read. Three formats: idx, and CIFAR's binary and pickled versions."""

import gzip
import hashlib
import io
import pickle
import tarfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, cast

import numpy as np


class DataError(RuntimeError):
    """A data file is missing, or is not what it should be.

    Args:
        problem: what is wrong.
        mend: what helps.
    """

    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(problem, mend)
        self.problem = problem
        self.mend = mend

    def __str__(self) -> str:
        """Return both in one sentence."""
        return f"{self.problem}: {self.mend}."


def read_checked(path: Path, checksum: str, mend: str = "put the original file there") -> bytes:
    """Return the bytes of a file, after they were found to be the right ones.

    Args:
        path: of the file; a .gz that is no .tar.gz is unpacked before it is checked.
        checksum: sha256 or md5 of the bytes, in hexadecimal; its length tells which.
        mend: advice for the error.

    Returns:
        The bytes.

    Raises:
        DataError: where the file is missing, cannot be read, or has another checksum.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz" and not path.name.endswith(".tar.gz"):
            content = gzip.decompress(content)
    except FileNotFoundError:
        raise DataError(f"The data file {path} is missing", mend) from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"The data file {path} cannot be read ({error})", mend) from error
    kind = {32: "md5", 64: "sha256"}[len(checksum)]
    found = hashlib.new(kind, content, usedforsecurity=False).hexdigest()
    if found != checksum:
        raise DataError(
            f"The data file {path} is truncated or altered ({len(content):,} bytes with {kind} {found[:12]}…, "
            f"expected {checksum[:12]}…)",
            mend,
        )
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
    """Return images and (fine) labels in a file of CIFAR's Python version."""
    try:
        batch = ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except pickle.UnpicklingError as error:
        raise DataError(
            f"A pickle was refused, and not executed ({error})", "put the original file there"
        ) from None
    labels = batch[b"fine_labels"] if b"fine_labels" in batch else batch[b"labels"]
    return batch[b"data"].reshape(-1, 3, 32, 32), np.array(labels, dtype=np.uint8)


def read_idx(contents: Iterable[bytes]) -> list[np.ndarray]:
    """Return training images and labels, test images and labels from the contents of the four idx files."""
    return [parse_idx(content) for content in contents]


def read_binary(contents: Iterable[bytes], num_label_bytes: int) -> list[np.ndarray]:
    """Return the four arrays from the contents of binary CIFAR files, the test file last."""
    return join(parse_binary(content, num_label_bytes) for content in contents)


def read_pickles(contents: Iterable[bytes]) -> list[np.ndarray]:
    """Return the four arrays from the contents of pickled CIFAR files, the test file last."""
    return join(map(parse_pickle, contents))


def read_archive(contents: Iterable[bytes], members: Iterable[str], num_label_bytes: int) -> list[np.ndarray]:
    """Return the four arrays from the contents of one .tar.gz of binary CIFAR files; nothing is unpacked to disk."""
    (content,) = contents
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        files = (cast(IO[bytes], archive.extractfile(member)) for member in members)
        return read_binary((file.read() for file in files), num_label_bytes)


def join(batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """Return the four arrays from batches of images and labels, the test batch last."""
    *train, test = batches
    images, labels = zip(*train, strict=True)
    return [np.concatenate(images), np.concatenate(labels), *test]
