"""CIFAR-10 and CIFAR-100: each form in which they come, and that nothing unchecked is used or executed."""

import dataclasses
import functools
import hashlib
import http.server
import io
import pickle
import socket
import struct
import tarfile
import threading
import warnings

import numpy as np
import pytest
import torch
import torchvision

from van_tutorial import data

BATCHES = [f"data_batch_{number}" for number in range(1, 6)]
NUM_EACH = 4  # images in a made file


def made_images(seed, num_classes):
    """Images as bytes, channel first, and (coarse, fine) labels."""
    rng = np.random.default_rng(seed)
    fine = rng.integers(num_classes, size=NUM_EACH)
    return rng.integers(256, size=(NUM_EACH, 3, 32, 32), dtype=np.uint8), fine // 5, fine


def binary(images, coarse, fine, has_coarse):
    """The record of Krizhevsky's page: coarse label where there is one, (fine) label, red, green, blue."""
    return b"".join(
        bytes([coarse_label, fine_label] if has_coarse else [fine_label]) + image.tobytes()
        for image, coarse_label, fine_label in zip(images, coarse, fine, strict=True)
    )


def text(word):
    """A byte string as Python 2 pickled it."""
    return b"U" + bytes([len(word)]) + word


def numbers(values):
    return b"](" + b"".join(b"K" + bytes([value]) for value in values) + b"e"


def python2_pickle(images, coarse, fine, has_coarse):
    """What cPickle of Python 2 wrote with protocol 2, byte strings and numpy's names of then included."""
    pixels = images.tobytes()
    shape = b"M" + struct.pack("<H", len(images)) + b"M" + struct.pack("<H", 3072) + b"\x86"
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R(K\x03" + text(b"|")
    dtype += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = empty + b"(K\x01" + shape + dtype + b"\x89T" + struct.pack("<I", len(pixels)) + pixels + b"tb"
    labels = text(b"labels") + numbers(fine)
    if has_coarse:
        labels = text(b"coarse_labels") + numbers(coarse) + text(b"fine_labels") + numbers(fine)
    name = text(b"batch_label") + text(b"training batch 1 of 5")
    return b"\x80\x02}(" + name + labels + text(b"data") + array + b"u."


def archive(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as made:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@dataclasses.dataclass
class Made:
    """A small set of five (or one) training files and a test file, in each of its forms."""

    name: str
    layouts: dict[str, dict[str, bytes]]
    train_images: np.ndarray
    train_labels: list[int]
    test_images: np.ndarray
    test_labels: list[int]

    def put(self, place, root):
        for name, content in self.layouts[place].items():
            path = root / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def make(name):
    has_coarse = name == "cifar100"
    names = [*BATCHES, "test_batch"] if name == "cifar10" else ["train", "test"]
    folder = "cifar-10-batches-bin" if name == "cifar10" else "cifar-100-binary"
    parts = [made_images(seed, 100 if has_coarse else 10) for seed in range(len(names))]
    pickles = [python2_pickle(*part, has_coarse) for part in parts]
    binaries = {f"{word}.bin": binary(*part, has_coarse) for word, part in zip(names, parts, strict=True)}
    inside = {"readme.html": b"", **{f"{folder}/{word}": content for word, content in binaries.items()}}
    return Made(
        name,
        {
            "cifar-10-batches-py" if name == "cifar10" else "cifar-100-python": dict(
                zip(names, pickles, strict=True)
            ),
            folder: binaries,
            "cifar-10-binary.tar.gz" if name == "cifar10" else "cifar-100-binary.tar.gz": {
                "": archive(inside)
            },
        },
        np.concatenate([images for images, _, _ in parts[:-1]]),
        [int(label) for _, _, fine in parts[:-1] for label in fine],
        parts[-1][0],
        parts[-1][2].tolist(),
    )


def checksum_of(content, like):
    return hashlib.new("md5" if len(like) == 32 else "sha256", content, usedforsecurity=False).hexdigest()


def trust(monkeypatch, made):
    """Let `data` take the made files for the right ones, by checksums of the same kinds."""
    file_set = data.SETS[made.name]
    layouts = [
        dataclasses.replace(
            layout,
            files={
                file: (
                    len(made.layouts[layout.path][file]),
                    checksum_of(made.layouts[layout.path][file], like),
                )
                for file, (_, like) in layout.files.items()
            },
        )
        for layout in file_set.layouts
    ]
    monkeypatch.setitem(data.SETS, made.name, dataclasses.replace(file_set, layouts=tuple(layouts)))


@pytest.fixture(scope="module")
def made_sets():
    return {name: make(name) for name in ("cifar10", "cifar100")}


@pytest.fixture
def made(made_sets, monkeypatch):
    """The made sets, which `data` takes for the right ones."""
    for each in made_sets.values():
        trust(monkeypatch, each)
    return made_sets


@pytest.fixture
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("the network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


PLACES = [
    ("cifar10", "cifar-10-batches-py"),
    ("cifar10", "cifar-10-batches-bin"),
    ("cifar10", "cifar-10-binary.tar.gz"),
    ("cifar100", "cifar-100-python"),
    ("cifar100", "cifar-100-binary"),
    ("cifar100", "cifar-100-binary.tar.gz"),
]


@pytest.mark.parametrize(("name", "place"), PLACES)
def test_every_form_gives_the_same_images_and_fine_labels(made, tmp_path, name, place):
    made[name].put(place, tmp_path)
    images = data.load(name, root=tmp_path)
    train, test = made[name].train_images / 255.0, made[name].test_images / 255.0
    mean, std = train.mean((0, 2, 3), keepdims=True), train.std((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(images.train_images.numpy(), (train - mean) / std, atol=1e-3)
    np.testing.assert_allclose(images.test_images.numpy(), (test - mean) / std, atol=1e-3)
    assert images.train_labels.tolist() == made[name].train_labels
    assert images.test_labels.tolist() == made[name].test_labels
    assert images.train_images.dtype == images.test_images.dtype == torch.float32
    assert images.train_images.is_contiguous()
    assert images.source == str(tmp_path / place)
    assert not (tmp_path / "cifar-100-binary" / "readme.html").exists()


def test_the_made_pickles_are_of_the_format_that_python_itself_reads(made_sets):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, about pickles of Python 2
        batch = pickle.loads(made_sets["cifar100"].layouts["cifar-100-python"]["train"], encoding="latin1")
    assert batch["data"].dtype == np.uint8
    assert batch["data"].tolist() == made_sets["cifar100"].train_images.reshape(NUM_EACH, 3072).tolist()
    assert batch["fine_labels"] == made_sets["cifar100"].train_labels


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: b"",
    ],
    ids=["truncated", "one bit altered", "empty"],
)
@pytest.mark.parametrize(("name", "place"), PLACES)
def test_a_damaged_file_is_named_and_never_used(made, tmp_path, name, place, damage):
    made[name].put(place, tmp_path)
    path = tmp_path / place / list(made[name].layouts[place])[-1]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(data.DataError, match="is truncated or altered") as raised:
        data.load(name, root=tmp_path)
    assert str(path) in str(raised.value)
    assert f"remove {tmp_path / place} and run: van-tutorial data fetch {name}" in str(raised.value)
    finding = next(finding for finding in data.verify(tmp_path) if finding.name == name)
    assert finding.state == "broken"
    assert str(path) in finding.detail


@pytest.mark.parametrize(
    ("name", "place"), [case for case in PLACES if not case[1].endswith(".tar.gz")], ids=lambda word: word
)
def test_a_set_with_a_file_missing_is_not_quietly_completed(made, tmp_path, name, place):
    made[name].put(place, tmp_path)
    path = tmp_path / place / next(iter(made[name].layouts[place]))
    path.unlink()
    with pytest.raises(data.DataError, match=f"{path} is missing"):
        data.load(name, root=tmp_path)


@pytest.mark.parametrize(("name", "place"), PLACES)
def test_files_of_the_right_form_but_other_content_are_refused(made_sets, tmp_path, name, place):
    made_sets[name].put(place, tmp_path)
    with pytest.raises(data.DataError, match="is truncated or altered"):
        data.load(name, root=tmp_path)


@pytest.mark.parametrize(("name", "place"), PLACES)
def test_verify_finds_every_form_sound(made, tmp_path, name, place):
    made[name].put(place, tmp_path)
    finding = next(finding for finding in data.verify(tmp_path) if finding.name == name)
    assert finding.state == "ok"
    assert finding.fixes == ()
    assert str(tmp_path / place) in finding.detail
    assert data.find(name, tmp_path) == tmp_path / place


def test_given_the_folder_itself_as_root_the_error_says_where_the_files_belong(made, offline, tmp_path):
    made["cifar10"].put("cifar-10-batches-bin", tmp_path)
    root = tmp_path / "cifar-10-batches-bin"
    with pytest.raises(data.DataError) as raised:
        data.load("cifar10", root=root)
    message = str(raised.value)
    assert (
        f"put the originals into {root}, as cifar-10-batches-py or cifar-10-batches-bin or cifar-10-b"
        in message
    )
    assert "go online and run: van-tutorial data fetch cifar10" in message
    assert sorted(path.name for path in root.iterdir()) == sorted(made["cifar10"].layouts[root.name])


def hostile(module, name, path):
    """A pickle that makes a folder as soon as Python's own unpickler reads it."""
    word = str(path).encode()
    return b"\x80\x02}(" + text(b"data") + f"c{module}\n{name}\n".encode() + text(word) + b"\x85Ru."


def test_the_hostile_pickle_would_do_harm_if_it_were_executed(tmp_path):
    pickle.loads(hostile("os", "mkdir", tmp_path / "harm"))
    assert (tmp_path / "harm").is_dir()


def test_a_hostile_pickle_is_refused_by_its_checksum_before_it_is_unpickled(made, tmp_path):
    made["cifar10"].put("cifar-10-batches-py", tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(hostile("os", "mkdir", tmp_path / "harm"))
    with pytest.raises(data.DataError, match="data_batch_1 is truncated or altered"):
        data.load("cifar10", root=tmp_path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "mkdir"), ("posix", "mkdir"), ("builtins", "eval"), ("numpy", "load"), ("numpy", "memmap")],
)
def test_a_hostile_pickle_with_the_right_checksum_is_not_executed_either(monkeypatch, tmp_path, module, name):
    bad = make("cifar10")
    bad.layouts["cifar-10-batches-py"]["data_batch_1"] = hostile(module, name, tmp_path / "harm")
    trust(monkeypatch, bad)
    bad.put("cifar-10-batches-py", tmp_path)
    with pytest.raises(data.DataError, match=f"not executed .*{module}.{name}"):
        data.load("cifar10", root=tmp_path)
    assert not (tmp_path / "harm").exists()


@pytest.fixture
def mirror(monkeypatch, tmp_path, made):
    """A folder from which torchvision downloads CIFAR-10 by its own code, over the loopback interface."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    meta = b"\x80\x02}" + text(b"label_names") + b"](" + text(b"cat") + b"es."
    place = "cifar-10-batches-py"
    files = {**made["cifar10"].layouts[place], "batches.meta": meta}
    packed = archive({f"{place}/{name}": content for name, content in files.items()})
    (folder / "cifar-10-python.tar.gz").write_bytes(packed)
    sums = [
        [name, hashlib.md5(content, usedforsecurity=False).hexdigest()] for name, content in files.items()
    ]
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("no_proxy", "*")
    cifar10 = torchvision.datasets.CIFAR10
    monkeypatch.setattr(cifar10, "url", f"http://127.0.0.1:{server.server_port}/cifar-10-python.tar.gz")
    monkeypatch.setattr(cifar10, "tgz_md5", hashlib.md5(packed, usedforsecurity=False).hexdigest())
    monkeypatch.setattr(cifar10, "train_list", sums[:5])
    monkeypatch.setattr(cifar10, "test_list", sums[5:6])
    monkeypatch.setattr(cifar10, "meta", {**cifar10.meta, "md5": sums[6][1]})
    yield folder
    server.shutdown()
    server.server_close()


def test_a_downloaded_cifar_is_read_and_is_there_the_next_time(mirror, made, monkeypatch, tmp_path, capfd):
    first = data.load("cifar10", root=tmp_path / "mine")
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", "http://127.0.0.1:1/")
    second = data.load("cifar10", root=tmp_path / "mine")
    assert torch.equal(first.train_images, second.train_images)
    assert first.train_labels.tolist() == made["cifar10"].train_labels
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["cifar-10-batches-py"]
    assert capfd.readouterr().out == ""


def test_a_download_of_cifar_that_breaks_off_leaves_nothing_behind(mirror, tmp_path):
    packed = mirror / "cifar-10-python.tar.gz"
    packed.write_bytes(packed.read_bytes()[:-10])
    with pytest.raises(data.DataError, match="could not be downloaded"):
        data.load("cifar10", root=tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_download_is_not_unpickled(mirror, monkeypatch, tmp_path):
    harmful = hostile("os", "mkdir", tmp_path / "harm")
    packed = archive(
        {f"cifar-10-batches-py/{name}": harmful for name in (*BATCHES, "test_batch", "batches.meta")}
    )
    (mirror / "cifar-10-python.tar.gz").write_bytes(packed)
    checksum = hashlib.md5(packed, usedforsecurity=False).hexdigest()
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "tgz_md5", checksum)
    assert data.download("cifar10", root=tmp_path / "mine") == tmp_path / "mine" / "cifar-10-batches-py"
    with pytest.raises(data.DataError, match="data_batch_1 is truncated or altered"):
        data.load("cifar10", root=tmp_path / "mine")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_checksums_of_the_pickles_are_those_that_torchvision_publishes(name):
    publisher = getattr(torchvision.datasets, data.SETS[name].torchvision)
    layout = data.SETS[name].layouts[0]
    assert layout.path == publisher.base_folder
    checksums = {file: checksum for file, (_, checksum) in layout.files.items()}
    assert checksums == dict(publisher.train_list + publisher.test_list)


def test_class_names_are_as_many_as_the_labels_and_in_the_order_of_the_alphabet():
    names = {name: data.SETS[name].class_names for name in ("cifar10", "cifar100")}
    assert {name: len(set(classes)) for name, classes in names.items()} == {"cifar10": 10, "cifar100": 100}
    assert all(list(classes) == sorted(classes) for classes in names.values())
    assert (names["cifar10"][3], names["cifar100"][0], names["cifar100"][99]) == ("cat", "apple", "worm")


@pytest.mark.skipif(
    data.find("cifar10") is None, reason="CIFAR-10 itself is not in $VAN_TUTORIAL_DATA or the default folder"
)
def test_the_true_cifar10_has_the_means_and_counts_that_are_known_of_it():
    images = data.load("cifar10")
    assert images.train_labels.bincount().tolist() == [5000] * 10
    assert images.test_labels.bincount().tolist() == [1000] * 10
    assert images.class_names[images.test_labels[0]] == "cat"
    black, white = images.train_images.amin((0, 2, 3)), images.train_images.amax((0, 2, 3))
    std = 1 / (white - black)
    assert (-black * std).tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)
    assert std.tolist() == pytest.approx([0.2470, 0.2435, 0.2616], abs=1e-4)
