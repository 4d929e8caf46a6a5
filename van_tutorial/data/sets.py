"""The data sets there are: where their files may lie, what their checksums are, and how to get them."""

import contextlib
import io
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from van_tutorial._checks import check_choice
from van_tutorial._course import course_path
from van_tutorial.data.files import DataError, read_archive, read_binary, read_checked, read_idx, read_pickles
from van_tutorial.data.images import Images, normalize


@dataclass(frozen=True)
class Layout:
    """One form in which a data set may lie on a disk.

    Attributes:
        place: the folder of the files, or the file itself where there is but one; below the root.
        checksums: sha256 or md5 of each file, in the order in which `read` takes them; "" is the place itself.
        read: takes the contents of the files and gives training images and labels, test images and labels.
    """

    place: str
    checksums: dict[str, str]
    read: Callable[[Iterable[bytes]], list[np.ndarray]]


@dataclass(frozen=True)
class FileSet:
    """A data set that is not embedded.

    Attributes:
        torchvision: name of the class that downloads it.
        class_names: one for each label.
        layouts: where it may lie; the first is torchvision's.
        debian_package: that holds it in the first layout, or None.
    """

    torchvision: str
    class_names: tuple[str, ...]
    layouts: tuple[Layout, ...]
    debian_package: str | None = None


class Finding(NamedTuple):
    """What `verify` found out about one data set.

    Attributes:
        name: as for `load`.
        state: "ok", "missing" or "broken".
        detail: what lies where, or what is wrong.
        mends: what to do about it: one of these.
    """

    name: str
    state: str
    detail: str
    mends: tuple[str, ...] = ()


FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CIFAR100_CLASSES = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish",
    "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
    "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange",
    "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine",
    "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
    "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
    "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
    "willow_tree", "wolf", "woman", "worm",
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
        torchvision="FashionMNIST",
        class_names=FASHION_CLASSES,
        layouts=(
            Layout(
                place="FashionMNIST/raw",
                checksums={
                    FILES[0]: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                    FILES[1]: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                    FILES[2]: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                    FILES[3]: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
                },
                read=read_idx,
            ),
        ),
        debian_package="dataset-fashion-mnist",
    ),
    "mnist": FileSet(
        torchvision="MNIST",
        class_names=tuple("0123456789"),
        layouts=(
            Layout(
                place="MNIST/raw",
                checksums={
                    FILES[0]: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                    FILES[1]: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                    FILES[2]: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                    FILES[3]: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                },
                read=read_idx,
            ),
        ),
    ),
    "cifar10": FileSet(
        torchvision="CIFAR10",
        class_names=CIFAR10_CLASSES,
        layouts=(
            Layout(
                place="cifar-10-batches-py",
                checksums={  # torchvision's
                    "data_batch_1": "c99cafc152244af753f735de768cd75f",
                    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
                    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
                    "data_batch_4": "634d18415352ddfa80567beed471001a",
                    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
                    "test_batch": "40351d587109b95175f43aff81a1287e",
                },
                read=read_pickles,
            ),
            Layout(
                place="cifar-10-batches-bin",
                checksums={
                    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
                    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
                    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
                    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
                    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
                    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
                },
                read=partial(read_binary, num_label_bytes=1),
            ),
            Layout(
                place="cifar-10-binary.tar.gz",
                checksums={"": "c32a1d4ab5d03f1284b67883e8d87530"},  # on the publisher's page
                read=partial(
                    read_archive,
                    members=(
                        *(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)),
                        "cifar-10-batches-bin/test_batch.bin",
                    ),
                    num_label_bytes=1,
                ),
            ),
        ),
    ),
    "cifar100": FileSet(
        torchvision="CIFAR100",
        class_names=CIFAR100_CLASSES,
        layouts=(
            Layout(
                place="cifar-100-python",
                checksums={  # torchvision's
                    "train": "16019d7e3df5f24257cddd939b257f8d",
                    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
                },
                read=read_pickles,
            ),
            Layout(
                place="cifar-100-binary",
                checksums={  # of rai-project/dldataset, which compares them after unpacking the archive below
                    "train.bin": "6172c7755cfe09b2fe270c85cebc1b15",
                    "test.bin": "4499cfba6c016c1be1438163640a0898",
                },
                read=partial(read_binary, num_label_bytes=2),
            ),
            Layout(
                place="cifar-100-binary.tar.gz",
                checksums={"": "03b5dce01913d631647c71ecec9e9cb8"},  # on the publisher's page
                read=partial(
                    read_archive,
                    members=("cifar-100-binary/train.bin", "cifar-100-binary/test.bin"),
                    num_label_bytes=2,
                ),
            ),
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
    often. The others are read from `root`, or else from Debian's package where there is one, or else are
    downloaded to `root` by torchvision. What may lie in `root`:

    - "fashion-mnist", "mnist": torchvision's layout, FashionMNIST/raw and MNIST/raw.
    - "cifar10": torchvision's cifar-10-batches-py; the binary version, as the folder cifar-10-batches-bin or
      as the archive cifar-10-binary.tar.gz, which is read as it is.
    - "cifar100": cifar-100-python, cifar-100-binary or cifar-100-binary.tar.gz; labels are the hundred fine ones.

    Args:
        name: "fashion-mnist-mini", "fashion-mnist", "mnist", "cifar10" or "cifar100".
        root: folder that holds the full data sets; None means `default_root()`.

    Returns:
        The images as normalized float32 tensors, and their labels.

    Raises:
        ValueError: for an unknown name.
        DataError: where a file is missing and cannot be had, or fails its checksum.

    Source:
        Xiao, Rasul and Vollgraf 2017, Fashion-MNIST; LeCun, Bottou, Bengio and Haffner 1998, Gradient-based
        learning applied to document recognition (MNIST); Krizhevsky 2009, Learning multiple layers of features
        from tiny images (CIFAR).
    """
    check_choice("name", name, NAMES)
    if name == MINI:
        with np.load(io.BytesIO(read_mini()), allow_pickle=False) as arrays:
            raw = [arrays[key] for key in ("train_images", "train_labels", "test_images", "test_labels")]
        return normalize(name, raw, FASHION_CLASSES, source=str(MINI_FILE))
    layout, place = locate(name, root) or (SETS[name].layouts[0], download(name, root))
    contents = (
        read_checked(path, checksum, mend_of(name, place, root)) for path, checksum in files_of(layout, place)
    )
    return normalize(name, layout.read(contents), SETS[name].class_names, source=str(place))


def read_mini() -> bytes:
    """Return the embedded file."""
    mend = "restore it with: git checkout -- assets/data, or install the package again"
    return read_checked(MINI_FILE, MINI_SHA256, mend)


def paths_in(folder: Path, files: Iterable[str] = FILES) -> list[Path]:
    """Return the paths of the files in `folder`, compressed where only that is there."""
    packed = {folder / file: folder / f"{file}.gz" for file in files}
    return [zipped if zipped.exists() and not path.exists() else path for path, zipped in packed.items()]


def files_of(layout: Layout, place: Path) -> list[tuple[Path, str]]:
    """Return path and checksum of each file."""
    return list(zip(paths_in(place, layout.checksums), layout.checksums.values(), strict=True))


def locate(name: str, root: str | Path | None = None) -> tuple[Layout, Path] | None:
    """Return the first layout of which any file is there, and its place, or None: `root`, then Debian's package."""
    file_set = SETS[name]
    candidates = [(layout, Path(root or default_root()) / layout.place) for layout in file_set.layouts]
    if file_set.debian_package:
        candidates.append((file_set.layouts[0], DEBIAN_ROOT / name))
    for layout, place in candidates:
        if any(path.exists() for path, _ in files_of(layout, place)):
            return layout, place
    return None


def find(name: str, root: str | Path | None = None) -> Path | None:
    """Return the folder or archive in which a full data set lies, or None: `root` first, then Debian's package."""
    found = locate(name, root)
    return found and found[1]


def mend_of(name: str, place: Path, root: str | Path | None = None) -> str:
    """Return what to do about a broken file."""
    return f"put the original file there, or remove {place} and run: {fetch_command(name, root)}"


def fetch_command(name: str, root: str | Path | None = None) -> str:
    """Return the command that downloads a set."""
    return f"van-tutorial data fetch {name}{f' --root {root}' if root else ''}"


def ways(name: str, root: str | Path | None = None) -> list[str]:
    """Return the ways to get a full data set, as advice."""
    file_set = SETS[name]
    *others, last = (layout.place for layout in file_set.layouts)
    places = f"{', '.join(others)} or {last}" if others else f"{last} (torchvision's layout)"
    found = [f"put the originals into {root or default_root()}, as {places}"]
    if file_set.debian_package:
        found.append(f"install Debian's package: apt install {file_set.debian_package}")
    found.append(f"go online and run: {fetch_command(name, root)}")
    return found


def download(name: str, root: str | Path | None = None) -> Path:
    """Download a full data set with torchvision; it appears in `root` only when it is whole.

    Returns:
        The folder with the files.

    Raises:
        DataError: where it cannot be had; the message names the ways to get it.
    """
    from torchvision import datasets  # takes two seconds to import, and most calls never come here

    file_set = SETS[name]
    root_path = Path(root or default_root())
    place = root_path / file_set.layouts[0].place
    folder = Path(file_set.layouts[0].place).parts[0]
    try:
        root_path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root_path, prefix=".download-") as temporary:
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # numpy's, about pickles of Python 2
                getattr(datasets, file_set.torchvision)(temporary, train=True, download=True)
            shutil.rmtree(root_path / folder, ignore_errors=True)
            (Path(temporary) / folder).rename(root_path / folder)
    except (OSError, RuntimeError) as error:
        numbered = [f"({number}) {way}" for number, way in enumerate(ways(name, root), 1)]
        raise DataError(
            f"{name} is not on this machine and could not be downloaded ({type(error).__name__})",
            f"get it in one of {len(numbered)} ways: {'; '.join(numbered)}; {MINI!r} is always there",
        ) from error
    return place


def verify(root: str | Path | None = None) -> Iterator[Finding]:
    """Check every file of every data set.

    Args:
        root: as for `load`.

    Yields:
        What is there, whether every checksum holds, and what to do where it is missing or broken.
    """
    try:
        read_mini()
    except DataError as error:
        yield Finding(MINI, "broken", error.problem, (error.mend,))
    else:
        yield Finding(MINI, "ok", f"{MINI_FILE}, checksum holds")
    for name in SETS:
        found = locate(name, root)
        if found is None:
            yield Finding(
                name,
                "missing",
                f"not in {root or default_root()}; get it in one of these ways:",
                tuple(ways(name, root)),
            )
            continue
        layout, place = found
        problems = []
        for path, checksum in files_of(layout, place):
            try:
                read_checked(path, checksum)
            except DataError as error:
                problems.append(error.problem)
        if problems:
            yield Finding(name, "broken", "; ".join(problems), (mend_of(name, place, root),))
        else:
            count = len(layout.checksums)
            holds = f"{count} files, every checksum holds" if count > 1 else "checksum holds"
            yield Finding(name, "ok", f"{place}, {holds}")
