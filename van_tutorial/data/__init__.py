"""Image sets as tensors in memory: where the files come from, and whether they are what they should be.

Every file is checked by its checksum before a byte of it is used.
"""

from van_tutorial.data.augment import augment
from van_tutorial.data.files import DataError, parse_idx, read_checked
from van_tutorial.data.images import Images, normalize
from van_tutorial.data.scenes import scenes
from van_tutorial.data.sets import (
    DEBIAN_ROOT,
    FILES,
    MINI,
    MINI_FILE,
    MINI_SHA256,
    NAMES,
    SETS,
    FileSet,
    Finding,
    Layout,
    default_root,
    download,
    fetch_command,
    find,
    load,
    paths_in,
    verify,
    ways,
)

__all__ = [
    "DEBIAN_ROOT",
    "FILES",
    "MINI",
    "MINI_FILE",
    "MINI_SHA256",
    "NAMES",
    "SETS",
    "DataError",
    "FileSet",
    "Finding",
    "Images",
    "Layout",
    "augment",
    "default_root",
    "download",
    "fetch_command",
    "find",
    "load",
    "normalize",
    "parse_idx",
    "paths_in",
    "read_checked",
    "scenes",
    "verify",
    "ways",
]
