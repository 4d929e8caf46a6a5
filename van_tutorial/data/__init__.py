"""Image sets as tensors in memory: where the files come from, and whether they are what they should be.

Every file is checked by its checksum before a byte of it is used.
"""

from van_tutorial.data.augment import augment
from van_tutorial.data.files import DataError
from van_tutorial.data.images import ARRAYS, Images, from_arrays
from van_tutorial.data.sets import MINI, MINI_FILE, NAMES, SETS, download, fetch_command, find, load, verify

__all__ = [
    "ARRAYS",
    "MINI",
    "MINI_FILE",
    "NAMES",
    "SETS",
    "DataError",
    "Images",
    "augment",
    "download",
    "fetch_command",
    "find",
    "from_arrays",
    "load",
    "verify",
]
