"""Image sets: what is in them, and what is said when a file is missing or is not what it should be."""

import dataclasses
import functools
import gzip
import hashlib
import http.server
import pickle
import shutil
import socket
import struct
import threading

import numpy as np
import pytest
import torch
import torchvision

from van_tutorial import data


def raw_mini():
    with np.load(data.MINI_FILE, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def idx(array):
    """The idx format of LeCun's page: 0, 0, type 8 (unsigned byte), number of dimensions, sizes, bytes."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape) + array.tobytes()


def left_in(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


@pytest.fixture
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("the network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.fixture
def small_set(monkeypatch, tmp_path):
    """A small full set of real images: its four files by name, which `data` takes for the right ones."""
    raw = raw_mini()
    arrays = (
        raw["train_images"][:60],
        raw["train_labels"][:60],
        raw["test_images"][:20],
        raw["test_labels"][:20],
    )
    files = {name: idx(array) for name, array in zip(data.FILES, arrays, strict=True)}
    checksums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    for name in ("mnist", "fashion-mnist"):
        (layout,) = data.SETS[name].layouts
        layouts = (dataclasses.replace(layout, checksums=checksums),)
        monkeypatch.setitem(data.SETS, name, dataclasses.replace(data.SETS[name], layouts=layouts))
    monkeypatch.setattr("van_tutorial.data.sets.DEBIAN_ROOT", tmp_path / "debian")
    monkeypatch.setenv("VAN_TUTORIAL_DATA", str(tmp_path / "default"))
    return files


def put(files, folder, packed=False):
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content)) if packed else (
            folder / name
        ).write_bytes(content)


def test_embedded_images_have_the_shapes_and_types_that_the_lessons_rely_on(images):
    assert images.train_images.shape == (5000, 1, 28, 28)
    assert images.test_images.shape == (1000, 1, 28, 28)
    assert images.train_labels.shape == (5000,)
    assert images.test_labels.shape == (1000,)
    assert images.train_images.dtype == images.test_images.dtype == torch.float32
    assert images.train_labels.dtype == images.test_labels.dtype == torch.int64
    assert (images.num_classes, images.num_features) == (10, 784)
    assert images.name == "fashion-mnist-mini"
    assert images.source == str(data.MINI_FILE)


def test_every_class_is_equally_often_among_the_embedded_images(images):
    assert images.train_labels.bincount().tolist() == [500] * 10
    assert images.test_labels.bincount().tolist() == [100] * 10


def test_training_images_have_mean_0_and_standard_deviation_1(images):
    std, mean = torch.std_mean(images.train_images.double())
    assert mean.item() == pytest.approx(0.0, abs=1e-5)
    assert std.item() == pytest.approx(1.0, abs=1e-5)


def test_test_images_are_normalized_by_the_numbers_of_the_training_images(images):
    raw = raw_mini()
    train, test = raw["train_images"] / 255.0, raw["test_images"] / 255.0
    expected = (test - train.mean()) / train.std()
    np.testing.assert_allclose(images.test_images[:, 0].numpy(), expected, atol=1e-4)
    assert images.test_labels.tolist() == raw["test_labels"].tolist()


def test_no_test_image_is_among_the_training_images():
    raw = raw_mini()
    train, test = ({image.tobytes() for image in raw[name]} for name in ("train_images", "test_images"))
    assert not train & test


def test_embedded_file_is_the_one_that_was_recorded():
    assert hashlib.sha256(data.MINI_FILE.read_bytes()).hexdigest() == data.MINI_SHA256


def test_loading_twice_gives_the_same_images_and_not_the_same_memory(images):
    again = data.load()
    assert torch.equal(again.train_images, images.train_images)
    assert again.train_images.data_ptr() != images.train_images.data_ptr()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: None, "is missing: restore it with: git checkout"),
        (lambda content: content[:-100], "is truncated or altered .* restore it with: git checkout"),
        (
            lambda content: content[:500] + bytes([content[500] ^ 1]) + content[501:],
            "is truncated or altered",
        ),
        (lambda content: b"", "is truncated or altered"),
    ],
    ids=["missing", "truncated", "one bit altered", "empty"],
)
def test_a_damaged_embedded_file_is_named_and_never_used(monkeypatch, tmp_path, damage, message):
    copy = tmp_path / data.MINI_FILE.name
    content = damage(data.MINI_FILE.read_bytes())
    if content is not None:
        copy.write_bytes(content)
    monkeypatch.setattr("van_tutorial.data.sets.MINI_FILE", copy)
    with pytest.raises(data.DataError, match=message) as raised:
        data.load()
    assert str(copy) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_unknown_name_gets_the_choices_and_the_nearest_one():
    with pytest.raises(ValueError, match=r"'fashion-mnist-mini'.*Did you mean 'fashion-mnist'\?"):
        data.load("fashon-mnist")


@pytest.mark.parametrize("packed", [False, True], ids=["raw", "gz"])
@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_a_full_set_in_torchvisions_layout_is_read(small_set, tmp_path, name, folder, packed):
    put(small_set, tmp_path / "mine" / folder / "raw", packed)
    images = data.load(name, root=tmp_path / "mine")
    raw = raw_mini()
    train, test = raw["train_images"][:60] / 255.0, raw["test_images"][:20] / 255.0
    np.testing.assert_allclose(
        images.test_images[:, 0].numpy(), (test - train.mean()) / train.std(), atol=1e-3
    )
    assert images.train_images.shape == (60, 1, 28, 28)
    assert images.train_labels.tolist() == raw["train_labels"][:60].tolist()
    assert images.source == str(tmp_path / "mine" / folder / "raw")


def test_a_full_set_is_found_in_the_default_folder_and_in_debians_package(small_set, tmp_path):
    put(small_set, tmp_path / "debian" / "fashion-mnist", packed=True)
    assert data.load("fashion-mnist").source == str(tmp_path / "debian" / "fashion-mnist")
    put(small_set, tmp_path / "default" / "FashionMNIST" / "raw")
    assert data.load("fashion-mnist").source == str(tmp_path / "default" / "FashionMNIST" / "raw")


@pytest.mark.parametrize("packed", [False, True], ids=["raw", "gz"])
def test_an_altered_file_of_a_full_set_is_named_and_never_used(small_set, tmp_path, packed):
    folder = tmp_path / "mine" / "MNIST" / "raw"
    altered = dict(small_set)
    altered[data.FILES[2]] = altered[data.FILES[2]][:-1] + b"\x07"
    put(altered, folder, packed)
    with pytest.raises(data.DataError, match=f"{data.FILES[2]}.* is truncated or altered"):
        data.load("mnist", root=tmp_path / "mine")


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:-20],
        lambda packed: b"no archive",
        lambda packed: packed[:10] + b"\xff" + packed[11:],
        lambda packed: packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:],
    ],
    ids=["cut off", "another format", "altered inside", "altered checksum"],
)
def test_a_broken_archive_of_a_full_set_is_named(small_set, tmp_path, damage):
    folder = tmp_path / "mine" / "MNIST" / "raw"
    put(small_set, folder, packed=True)
    path = folder / f"{data.FILES[0]}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(data.DataError, match=f"{path.name} cannot be read"):
        data.load("mnist", root=tmp_path / "mine")


def test_a_full_set_with_a_file_missing_is_not_quietly_completed(small_set, tmp_path):
    folder = tmp_path / "mine" / "MNIST" / "raw"
    put(small_set, folder)
    (folder / data.FILES[3]).unlink()
    with pytest.raises(data.DataError, match=f"{data.FILES[3]} is missing"):
        data.load("mnist", root=tmp_path / "mine")


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        (
            "fashion-mnist",
            ["in one of 3 ways", "torchvision's layout", "apt install dataset-fashion-mnist", "go online"],
        ),
        ("mnist", ["in one of 2 ways", "torchvision's layout", "go online"]),
    ],
)
def test_offline_and_without_a_full_set_the_error_names_the_ways_to_get_it(
    small_set, offline, tmp_path, name, ways
):
    with pytest.raises(data.DataError) as raised:
        data.load(name, root=tmp_path / "mine")
    message = str(raised.value)
    assert [way for way in ways if way not in message] == []
    assert str(tmp_path / "mine") in message
    assert "'fashion-mnist-mini' is always there" in message
    assert left_in(tmp_path / "mine") == []


@pytest.fixture
def mirror(monkeypatch, tmp_path, small_set):
    """A folder from which torchvision downloads MNIST by its own code, over the loopback interface."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    resources = []
    for name, content in small_set.items():
        packed = gzip.compress(content, mtime=0)
        (folder / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", hashlib.md5(packed, usedforsecurity=False).hexdigest()))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    yield folder
    server.shutdown()
    server.server_close()


def test_a_downloaded_set_is_read_and_is_there_the_next_time(mirror, monkeypatch, tmp_path, capfd):
    first = data.load("mnist", root=tmp_path / "mine")
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [])
    second = data.load("mnist", root=tmp_path / "mine")
    assert torch.equal(first.train_images, second.train_images)
    assert first.source == str(tmp_path / "mine" / "MNIST" / "raw")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["MNIST"]
    assert capfd.readouterr().out == ""


def test_a_download_that_breaks_off_leaves_no_half_written_set(mirror, tmp_path):
    last = mirror / f"{data.FILES[3]}.gz"
    last.write_bytes(last.read_bytes()[:10])
    with pytest.raises(data.DataError, match="could not be downloaded"):
        data.load("mnist", root=tmp_path / "mine")
    assert left_in(tmp_path / "mine") == []


def test_what_the_error_of_an_altered_file_advises_brings_the_set_back(mirror, small_set, tmp_path):
    folder = tmp_path / "mine" / "MNIST" / "raw"
    put({**small_set, data.FILES[0]: b"altered"}, folder)
    with pytest.raises(data.DataError) as raised:
        data.load("mnist", root=tmp_path / "mine")
    assert f"remove {folder} and run: van-tutorial data fetch mnist --root {tmp_path / 'mine'}" in str(
        raised.value
    )
    shutil.rmtree(folder)
    assert data.load("mnist", root=tmp_path / "mine").train_images.shape == (60, 1, 28, 28)


def test_verify_finds_full_sets_sound_whether_packed_or_not(small_set, tmp_path):
    put(small_set, tmp_path / "mine" / "MNIST" / "raw", packed=True)
    put(small_set, tmp_path / "mine" / "FashionMNIST" / "raw")
    findings = {finding.name: finding for finding in data.verify(root=tmp_path / "mine")}
    for name in ("fashion-mnist-mini", "fashion-mnist", "mnist"):
        assert (findings[name].state, findings[name].mends) == ("ok", ())
    assert str(tmp_path / "mine" / "MNIST" / "raw") in findings["mnist"].detail


def test_verify_says_of_a_missing_set_how_to_get_it(small_set, tmp_path):
    findings = {finding.name: finding for finding in data.verify(root=tmp_path)}
    assert findings["fashion-mnist"].state == "missing"
    assert len(findings["fashion-mnist"].mends) == 3
    assert findings["mnist"].mends == (
        f"put the originals into {tmp_path}, as MNIST/raw (torchvision's layout)",
        f"go online and run: van-tutorial data fetch mnist --root {tmp_path}",
    )


def test_verify_names_every_broken_file_and_not_only_the_first(small_set, tmp_path):
    put({**small_set, data.FILES[1]: b"nothing", data.FILES[3]: b"nothing"}, tmp_path / "MNIST" / "raw")
    finding = next(finding for finding in data.verify(root=tmp_path) if finding.name == "mnist")
    assert finding.state == "broken"
    assert data.FILES[1] in finding.detail
    assert data.FILES[3] in finding.detail
    assert data.FILES[0] not in finding.detail
    assert str(tmp_path / "MNIST" / "raw") in finding.mends[0]


def test_an_error_of_the_data_survives_the_way_from_one_process_to_another():
    error = pickle.loads(pickle.dumps(data.DataError("the file is missing", "put it there")))
    assert str(error) == "the file is missing: put it there."
