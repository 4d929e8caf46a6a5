"""Make assets/data/fashion-mnist-mini.npz from the full Fashion-MNIST.

    python -m tools.make_embedded_data [--root FOLDER]

The first 500 training and the first 100 test images of each class, in the order of the full set. The file is
the same byte for byte wherever numpy is built with the same zlib; its sha256 stands in van_tutorial/data/sets.py.
"""

import argparse
import hashlib

import numpy as np

from van_tutorial import data


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Return the sorted indices of the first `count` examples of each class."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in np.unique(labels)]))


def main() -> None:
    """Write the file and print its checksum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", help="folder that holds FashionMNIST/raw")
    folder = data.find("fashion-mnist", parser.parse_args().root) or data.download("fashion-mnist")
    sums = data.SETS["fashion-mnist"].layouts[0].checksums
    train_images, train_labels, test_images, test_labels = (
        data.parse_idx(data.read_checked(path, sums[path.name.removesuffix(".gz")]))
        for path in data.paths_in(folder)
    )
    train = first_of_each_class(train_labels, 500)
    test = first_of_each_class(test_labels, 100)
    np.savez_compressed(
        data.MINI_FILE,
        train_images=train_images[train],
        train_labels=train_labels[train],
        test_images=test_images[test],
        test_labels=test_labels[test],
    )
    print(hashlib.sha256(data.MINI_FILE.read_bytes()).hexdigest(), data.MINI_FILE)


if __name__ == "__main__":
    main()
