"""Image sets as tensors in memory: where the files come from, and whether they are what they should be.

Every file is checked by its sha256 before a byte of it is used.
"""

import contextlib
import gzip
import hashlib
import io
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from van_tutorial._checks import check_choice
from van_tutorial._course import course_path


class DataError(RuntimeError):
    """A data file is missing, or is not what it should be."""


@dataclass(frozen=True)
class Images:
    """A data set in memory, ready to train on.

    Pixels are scaled to [0, 1] and normalized by mean and standard deviation of the training images, channel by
    channel.

    Attributes:
        name: as given to `load`.
        train_images: shape (N, C, H, W), float32, normalized.
        train_labels: shape (N,), int64, from 0 to num_classes - 1.
        test_images: shape (M, C, H, W), float32, normalized.
        test_labels: shape (M,), int64.
        class_names: one for each label.
        source: where the files lay.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    source: str

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def num_features(self) -> int:
        """Numbers per image: C H W."""
        return self.train_images[0].numel()


@dataclass(frozen=True)
class FileSet:
    """A data set of four idx files in torchvision's layout, and where else it may be found."""

    folder: str  # name of the torchvision class, and of its folder
    debian_package: str | None
    class_names: tuple[str, ...]
    sha256: dict[str, str]


FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
MINI = "fashion-mnist-mini"
MINI_FILE = course_path("assets", "data", "fashion-mnist-mini.npz")
MINI_SHA256 = "1064eff4cef408fe773c6040772d7cb7c114c2d2b60accb705d268cbecb8d44e"
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
SETS = {
    "fashion-mnist": FileSet(
        folder="FashionMNIST",
        debian_package="dataset-fashion-mnist",
        class_names=FASHION_CLASSES,
        sha256=dict(
            zip(
                FILES,
                (
                    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
                ),
                strict=True,
            )
        ),
    ),
    "mnist": FileSet(
        folder="MNIST",
        debian_package=None,
        class_names=tuple("0123456789"),
        sha256=dict(
            zip(
                FILES,
                (
                    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                ),
                strict=True,
            )
        ),
    ),
}
NAMES = (MINI, *SETS)
DEBIAN_ROOT = Path("/usr/share/datasets")


def default_root() -> Path:
    """Return the folder of the full data sets: $VAN_TUTORIAL_DATA, or van_tutorial in the user's cache."""
    if folder := os.environ.get("VAN_TUTORIAL_DATA"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "van_tutorial"


def load(name: str = MINI, root: str | Path | None = None) -> Images:
    """Load a data set into memory.

    "fashion-mnist-mini" is embedded: 5,000 training and 1,000 test images of Fashion-MNIST, every class equally
    often. The full "fashion-mnist" and "mnist" are read from `root` in torchvision's layout, or else from
    Debian's package, or else are downloaded to `root` by torchvision.

    Args:
        name: "fashion-mnist-mini", "fashion-mnist" or "mnist".
        root: folder that holds FashionMNIST/raw or MNIST/raw; None means `default_root()`.

    Returns:
        The images as normalized float32 tensors, and their labels.

    Raises:
        ValueError: for an unknown name.
        DataError: where a file is missing and cannot be had, or fails its checksum.

    Source:
        Xiao, Rasul and Vollgraf 2017, Fashion-MNIST; LeCun, Bottou, Bengio and Haffner 1998, Gradient-based
        learning applied to document recognition (MNIST).
    """
    check_choice("name", name, NAMES)
    if name == MINI:
        content = read_checked(MINI_FILE, MINI_SHA256)
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            raw = [arrays[key] for key in ("train_images", "train_labels", "test_images", "test_labels")]
        return normalize(name, raw, FASHION_CLASSES, source=str(MINI_FILE))
    file_set = SETS[name]
    folder = find(name, root) or download(name, root)
    raw = [
        parse_idx(read_checked(path, file_set.sha256[path.stem if path.suffix else path.name]))
        for path in paths_in(folder)
    ]
    return normalize(name, raw, file_set.class_names, source=str(folder))


def paths_in(folder: Path) -> list[Path]:
    """Return the paths of the four files in `folder`, compressed where only that is there."""
    packed = [folder / f"{file}.gz" for file in FILES]
    return [
        zipped if zipped.exists() and not (folder / file).exists() else folder / file
        for file, zipped in zip(FILES, packed, strict=True)
    ]


def find(name: str, root: str | Path | None = None) -> Path | None:
    """Return the folder in which any file of a full data set lies, or None: `root` first, then Debian's package."""
    file_set = SETS[name]
    candidates = [Path(root or default_root()) / file_set.folder / "raw"]
    if file_set.debian_package:
        candidates.append(DEBIAN_ROOT / name)
    return next((folder for folder in candidates if any(path.exists() for path in paths_in(folder))), None)


def read_checked(path: Path, sha256: str) -> bytes:
    """Return the bytes of a file, unpacked where it ends in .gz, after their sha256 was found right."""
    mend = f"put the original file there, or remove the folder {path.parent} and run: van-tutorial data fetch"
    if path == MINI_FILE:
        mend = "restore it with: git checkout -- assets/data, or install the package again"
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except FileNotFoundError:
        raise DataError(f"The data file {path} is missing: {mend}.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"The data file {path} cannot be read ({error}): {mend}.") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(
            f"The data file {path} is truncated or altered ({len(content):,} bytes with sha256 {found[:12]}…, "
            f"expected {sha256[:12]}…): {mend}."
        )
    return content


def parse_idx(content: bytes) -> np.ndarray:
    """Return the array in an idx file: two zero bytes, a type byte, the number of dimensions, their sizes, bytes."""
    num_dimensions = content[3]
    shape = np.frombuffer(content, dtype=">i4", count=num_dimensions, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * num_dimensions).reshape(shape)


def normalize(name: str, raw: list[np.ndarray], class_names: tuple[str, ...], source: str) -> Images:
    """Return `Images` from uint8 arrays (N, H, W), (N,), (M, H, W), (M,)."""
    train_images, test_images = (
        torch.tensor(images, dtype=torch.float32).div_(255.0).unsqueeze(1) for images in (raw[0], raw[2])
    )
    std, mean = torch.std_mean(train_images, dim=(0, 2, 3), keepdim=True)
    return Images(
        name=name,
        train_images=train_images.sub_(mean).div_(std),
        train_labels=torch.tensor(raw[1], dtype=torch.int64),
        test_images=test_images.sub_(mean).div_(std),
        test_labels=torch.tensor(raw[3], dtype=torch.int64),
        class_names=class_names,
        source=source,
    )


def download(name: str, root: str | Path | None = None) -> Path:
    """Download a full data set with torchvision; it appears in `root` only when it is whole.

    Returns:
        The folder with the files.

    Raises:
        DataError: where it cannot be had; the message names the three ways to get it.
    """
    from torchvision import datasets  # takes two seconds to import, and most calls never come here

    file_set = SETS[name]
    root = Path(root or default_root())
    target = root / file_set.folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as folder:
            with contextlib.redirect_stdout(io.StringIO()):
                getattr(datasets, file_set.folder)(folder, train=True, download=True)
            shutil.rmtree(target, ignore_errors=True)
            (Path(folder) / file_set.folder).rename(target)
    except (OSError, RuntimeError) as error:
        ways = [f"put its files into {target / 'raw'} (torchvision's layout)"]
        if file_set.debian_package:
            ways.append(f"install Debian's package: apt install {file_set.debian_package}")
        ways.append(f"go online and run: van-tutorial data fetch {name}")
        raise DataError(
            f"{name} is not on this machine and could not be downloaded ({type(error).__name__}). Get it in one of "
            f"{len(ways)} ways: {'; '.join(f'({i}) {way}' for i, way in enumerate(ways, 1))}. "
            f"{MINI!r} is always there."
        ) from error
    return target / "raw"


def verify(root: str | Path | None = None) -> Iterator[tuple[str, str, str]]:
    """Check every file of every data set.

    Args:
        root: as for `load`.

    Yields:
        name, state ("ok", "missing" or "broken"), and where it lies or what is wrong.
    """
    for name in NAMES:
        folder = MINI_FILE.parent if name == MINI else find(name, root)
        if folder is None:
            yield name, "missing", f"get it with: van-tutorial data fetch {name}"
            continue
        try:
            if name == MINI:
                read_checked(MINI_FILE, MINI_SHA256)
            else:
                for path in paths_in(folder):
                    read_checked(path, SETS[name].sha256[path.name.removesuffix(".gz")])
        except DataError as error:
            yield name, "broken", str(error)
        else:
            yield name, "ok", str(folder)
