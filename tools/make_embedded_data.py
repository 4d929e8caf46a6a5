"""Make assets/data/fashion-mnist-mini.npz from the full Fashion-MNIST.

    python -m tools.make_embedded_data [--root FOLDER]

The first 500 training and the first 100 test images of each class, in the order of the full set. The file is
the same byte for byte wherever numpy is built with the same zlib; its sha256 stands in van_tutorial/data/sets.toml.
"""

import hashlib
import sys

import numpy as np

from van_tutorial import cli
from van_tutorial.data.sets import MINI_FILE, read_arrays


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Return the sorted indices of the first `count` examples of each class."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in np.unique(labels)]))


def main(*, root: str | None = None) -> None:
    """Write the file and print its checksum.

    Args:
        root: folder that holds FashionMNIST/raw
    """
    raw, _ = read_arrays("fashion-mnist", root)
    train_images, train_labels, test_images, test_labels = raw
    train = first_of_each_class(train_labels, 500)
    test = first_of_each_class(test_labels, 100)
    np.savez_compressed(
        MINI_FILE,
        train_images=train_images[train],
        train_labels=train_labels[train],
        test_images=test_images[test],
        test_labels=test_labels[test],
    )
    print(hashlib.sha256(MINI_FILE.read_bytes()).hexdigest(), MINI_FILE)


if __name__ == "__main__":
    sys.exit(cli.call(main))
