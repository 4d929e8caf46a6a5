"""The data sets there are: where their files may lie, what their checksums are, and how to get them.

`sets.toml` beside this module lists them.
"""

import os
import shlex
import shutil
import tempfile
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import numpy as np

from van_tutorial._checks import check_choice
from van_tutorial._course import course_path
from van_tutorial.data.files import DataError, extract, is_missing, parse, read_checked
from van_tutorial.data.images import Images, normalize


@dataclass(frozen=True)
class Layout:
    """One form in which a data set may lie on a disk.

    Attributes:
        path: the folder of the files, or the file itself where there is but one; below the root.
        format: "idx", "binary", "pickle" or "npz".
        files: size in bytes and sha256 or md5 of each file, the test files last; "" is the path itself.
        members: what is read out of an archive, the test file last.
    """

    path: str
    format: str
    files: Mapping[str, tuple[int, str]]
    members: tuple[str, ...] = ()

    def paths(self, place: Path) -> list[Path]:
        """Return the path of each file; that of the compressed one where only that is there."""
        pairs = [(place / file, place / f"{file}.gz") for file in self.files]
        return [packed if is_missing(path) and not is_missing(packed) else path for path, packed in pairs]

    def read(self, place: Path, fix: str) -> list[bytes]:
        """Return the contents of all files, or raise one error that names every broken one."""
        contents, errors = [], []
        for path, (num_bytes, checksum) in zip(self.paths(place), self.files.values(), strict=True):
            try:
                contents.append(read_checked(path, num_bytes, checksum, fix))
            except DataError as error:
                errors.append(error)
        if errors:
            fixes = dict.fromkeys(error.fix for error in errors)
            raise DataError("; ".join(error.problem for error in errors), "; or ".join(fixes))
        return contents


@dataclass(frozen=True)
class FileSet:
    """A data set that is read from files.

    Attributes:
        class_names: one for each label.
        layouts: where it may lie; the first is torchvision's.
        torchvision: name of the class that downloads it; none for the embedded set.
        debian_package: holds it in the first layout, or none does.
        label_bytes: of a record in CIFAR's binary version.
    """

    class_names: tuple[str, ...]
    layouts: tuple[Layout, ...]
    torchvision: str = ""
    debian_package: str = ""
    label_bytes: int = 1


class Finding(NamedTuple):
    """What `verify` found out about one data set.

    Attributes:
        name: as for `load`.
        state: "ok", "missing" or "broken".
        detail: what lies where, or what is wrong.
        fixes: what to do about it: one of these.
    """

    name: str
    state: str
    detail: str
    fixes: tuple[str, ...] = ()


def read_table() -> dict[str, FileSet]:
    """Return the data sets of `sets.toml`."""
    table = tomllib.loads(Path(__file__).with_name("sets.toml").read_text(encoding="utf-8"))
    for entry in table.values():
        entry["class_names"] = tuple(entry["class_names"])
        entry["layouts"] = tuple(Layout(**layout) for layout in entry["layouts"])
    return {name: FileSet(**entry) for name, entry in table.items()}


SETS = read_table()
NAMES = tuple(SETS)
MINI = NAMES[0]
MINI_FILE = course_path("assets", "data", SETS[MINI].layouts[0].path)
DEBIAN_ROOT = Path("/usr/share/datasets")
CHOOSE = "give the folder that holds the data sets, as root or in the variable VAN_TUTORIAL_DATA"


def expand(folder: str | Path) -> Path:
    """Return the folder with ~ as the home folder."""
    try:
        if Path(folder).parts[:1] == ("~",) and os.environ.get("HOME") == "":
            raise RuntimeError("HOME is empty")
        return Path(folder).expanduser()
    except RuntimeError:
        problem = f"The folder {folder} needs a home folder, and none is known"
        raise DataError(problem, f"{CHOOSE} in full") from None


def resolve(root: str | Path | None) -> Path:
    """Return the folder of the full data sets: `root`, $VAN_TUTORIAL_DATA, or van_tutorial in the user's cache.

    The cache is $XDG_CACHE_HOME or ~/.cache. An empty variable counts as not set, and so does an XDG_CACHE_HOME that
    is not absolute, as its specification has it; ~ is the home folder.

    Args:
        root: as for `load`.

    Returns:
        The folder, which need not exist.

    Raises:
        DataError: where it is not a folder, or its path needs a home folder and there is none.
    """
    if given := root or os.environ.get("VAN_TUTORIAL_DATA"):
        folder = expand(given)
    else:
        cache = expand(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
        folder = (cache if cache.is_absolute() else expand("~/.cache")) / "van_tutorial"
    if not is_missing(folder) and not os.path.isdir(folder):  # noqa: PTH112 (unlike pathlib's, it never raises)
        raise DataError(f"{folder} is not a folder that can be read", CHOOSE)
    return folder


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
        root: folder that holds the full data sets; None means $VAN_TUTORIAL_DATA, or van_tutorial in the user's cache.

    Returns:
        The images as normalized float32 tensors, and their labels.

    Raises:
        ValueError: for an unknown name.
        DataError: where a file is missing and cannot be had, or fails its checksum.

    Example:
        >>> images = load("fashion-mnist-mini")
        >>> tuple(images.train_images.shape), images.class_names[9]
        ((5000, 1, 28, 28), 'Ankle boot')

    Source:
        Xiao, Rasul and Vollgraf 2017, Fashion-MNIST; LeCun, Bottou, Bengio and Haffner 1998, Gradient-based
        learning applied to document recognition (MNIST); Krizhevsky 2009, Learning multiple layers of features
        from tiny images (CIFAR).
    """
    raw, place = read_arrays(name, root)
    return normalize(name, raw, SETS[name].class_names, source=str(place))


def read_arrays(name: str, root: str | Path | None = None) -> tuple[list[np.ndarray], Path]:
    """Return training images and labels, test images and labels as uint8, and where they lay."""
    layout, place = locate(name, root) or (SETS[name].layouts[0], download(name, root))
    contents = layout.read(place, fix_of(name, place, root))
    if layout.members:
        contents = extract(contents[0], layout.members)
    return parse(layout.format, contents, SETS[name].label_bytes), place


def locate(name: str, root: str | Path | None = None) -> tuple[Layout, Path] | None:
    """Return the first layout of which any file is there, and its place, or None: `root`, then Debian's package."""
    check_choice("name", name, NAMES)
    layouts = SETS[name].layouts
    if name == MINI:
        return layouts[0], MINI_FILE
    places = [(layout, resolve(root) / layout.path) for layout in layouts]
    if SETS[name].debian_package:
        places.append((layouts[0], DEBIAN_ROOT / name))
    return next((found for found in places if not all(map(is_missing, found[0].paths(found[1])))), None)


def find(name: str, root: str | Path | None = None) -> Path | None:
    """Return the folder or file in which a data set lies: `root` first, then Debian's package.

    Its files are not read: `verify` does that.

    Args:
        name: as for `load`.
        root: as for `load`.

    Returns:
        The place, or None where no file of the set is there.

    Raises:
        ValueError: for an unknown name.
        DataError: where `root` is not a folder, or cannot be told.
    """
    found = locate(name, root)
    return found and found[1]


def fix_of(name: str, place: Path, root: str | Path | None = None) -> str:
    """Return what to do about a broken file."""
    if name == MINI:
        return "restore it with: git checkout -- assets/data, or install the package again"
    return f"put the original file there, or remove {place} and run: {fetch_command(name, root)}"


def fetch_command(name: str, root: str | Path | None = None) -> str:
    """Return the command that downloads a set, as it can be typed into a shell.

    Args:
        name: as for `load`.
        root: as for `load`; quoted where it has to be.

    Returns:
        The command.

    Example:
        >>> fetch_command("mnist", "my data")
        "van-tutorial data fetch mnist --root 'my data'"
    """
    folder = f" --root {shlex.quote(str(expand(root)))}" if root else ""
    return f"van-tutorial data fetch {name}{folder}"


def ways(name: str, root: str | Path | None = None) -> list[str]:
    """Return the ways to get a full data set, as advice."""
    places, package = " or ".join(layout.path for layout in SETS[name].layouts), SETS[name].debian_package
    return [
        f"put the originals into {resolve(root)}, as {places}",
        *([f"install Debian's package: apt install {package}"] if package else []),
        f"go online and run: {fetch_command(name, root)}",
    ]


def download(name: str, root: str | Path | None = None) -> Path:
    """Download a full data set with torchvision, and put it in the place of what lies there.

    The folder of the set in torchvision's layout, such as MNIST/raw or cifar-10-batches-py below `root`, is removed
    with all that is in it, and the new one takes its place, once the download is whole. Nothing is removed before.
    Pickles are not executed. `load` compares each file with its checksum.

    Args:
        name: as for `load`, except the embedded set.
        root: as for `load`; made where it is not there.

    Returns:
        The folder with the files.

    Raises:
        ValueError: for a name that cannot be downloaded.
        DataError: where it cannot be had, or not be saved; the message names the ways to get it.

    Source:
        torchvision.datasets, which knows the addresses and the checksums of what it downloads.
    """
    check_choice("name", name, [each for each in NAMES if each != MINI])
    from torchvision import datasets  # takes two seconds to import, and most calls never come here

    folder, path = resolve(root), SETS[name].layouts[0].path
    publisher = getattr(datasets, SETS[name].torchvision)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        quiet = warnings.catch_warnings(action="ignore")  # tarfile's, about its default filter
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary, quiet:
            if issubclass(publisher, datasets.CIFAR10):  # which would unpickle what it has downloaded
                url, checksum = publisher.url, publisher.tgz_md5
                datasets.utils.download_and_extract_archive(url, temporary, md5=checksum)
            else:
                publisher(temporary, download=True)
            shutil.rmtree(folder / path, ignore_errors=True)
            (folder / path).parent.mkdir(exist_ok=True)
            (Path(temporary) / path).rename(folder / path)
    except (OSError, RuntimeError, EOFError, HTTPException) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        problem = f"{name} is not on this machine and could not be downloaded ({reason})"
        numbered = [f"({number}) {way}" for number, way in enumerate(ways(name, root), 1)]
        fix = f"get it in one of {len(numbered)} ways: {'; '.join(numbered)}; {MINI!r} is always there"
        raise DataError(problem, fix) from error
    return folder / path


def verify(root: str | Path | None = None) -> Iterator[Finding]:
    """Check every file of every data set.

    Args:
        root: as for `load`.

    Yields:
        What is there, whether every checksum holds, and what to do where it is missing or broken; the embedded set
        first. Where `root` is not a folder, or cannot be told, that is said of each other set.
    """
    for name in NAMES:
        try:
            if found := locate(name, root):
                layout, place = found
                num_files = len(layout.read(place, fix_of(name, place, root)))
                holds = f"{num_files} files, every checksum holds" if num_files > 1 else "checksum holds"
                finding = Finding(name, "ok", f"{place}, {holds}")
            else:
                detail = f"not in {resolve(root)}; get it in one of these ways:"
                finding = Finding(name, "missing", detail, tuple(ways(name, root)))
        except DataError as error:
            finding = Finding(name, "broken", error.problem, (error.fix,))
        yield finding
