"""Image sets: what is in them, and what is said when a file is missing or is not what it should be."""

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import http.server
import os
import pickle
import shlex
import shutil
import socket
import struct
import tempfile
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from van_tutorial import cli, data

FILES = list(data.SETS["mnist"].layouts[0].files)


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
    files = {name: idx(array) for name, array in zip(FILES, arrays, strict=True)}
    sizes = {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in files.items()}
    for name in ("mnist", "fashion-mnist"):
        (layout,) = data.SETS[name].layouts
        layouts = (dataclasses.replace(layout, files=sizes),)
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
    altered[FILES[2]] = altered[FILES[2]][:-1] + b"\x07"
    put(altered, folder, packed)
    with pytest.raises(data.DataError, match=f"{FILES[2]}.* is truncated or altered"):
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
    path = folder / f"{FILES[0]}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(data.DataError, match=f"{path.name} cannot be read"):
        data.load("mnist", root=tmp_path / "mine")


def test_a_full_set_with_a_file_missing_is_not_quietly_completed(small_set, tmp_path):
    folder = tmp_path / "mine" / "MNIST" / "raw"
    put(small_set, folder)
    (folder / FILES[3]).unlink()
    with pytest.raises(data.DataError, match=f"{FILES[3]} is missing"):
        data.load("mnist", root=tmp_path / "mine")


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        (
            "fashion-mnist",
            ["in one of 3 ways", "as FashionMNIST/raw", "apt install dataset-fashion-mnist", "go online"],
        ),
        ("mnist", ["in one of 2 ways", "as MNIST/raw", "go online"]),
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
    last = mirror / f"{FILES[3]}.gz"
    last.write_bytes(last.read_bytes()[:10])
    with pytest.raises(data.DataError, match="could not be downloaded"):
        data.load("mnist", root=tmp_path / "mine")
    assert left_in(tmp_path / "mine") == []


def test_what_the_error_of_an_altered_file_advises_brings_the_set_back(mirror, small_set, tmp_path):
    folder = tmp_path / "mine" / "MNIST" / "raw"
    put({**small_set, FILES[0]: b"altered"}, folder)
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
        assert (findings[name].state, findings[name].fixes) == ("ok", ())
    assert str(tmp_path / "mine" / "MNIST" / "raw") in findings["mnist"].detail


def test_verify_says_of_a_missing_set_how_to_get_it(small_set, tmp_path):
    findings = {finding.name: finding for finding in data.verify(root=tmp_path)}
    assert findings["fashion-mnist"].state == "missing"
    assert len(findings["fashion-mnist"].fixes) == 3
    assert findings["mnist"].fixes == (
        f"put the originals into {tmp_path}, as MNIST/raw",
        f"go online and run: van-tutorial data fetch mnist --root {tmp_path}",
    )


def test_verify_names_every_broken_file_and_not_only_the_first(small_set, tmp_path):
    put({**small_set, FILES[1]: b"nothing", FILES[3]: b"nothing"}, tmp_path / "MNIST" / "raw")
    finding = next(finding for finding in data.verify(root=tmp_path) if finding.name == "mnist")
    assert finding.state == "broken"
    assert FILES[1] in finding.detail
    assert FILES[3] in finding.detail
    assert FILES[0] not in finding.detail
    assert str(tmp_path / "MNIST" / "raw") in finding.fixes[0]


def test_an_error_of_the_data_survives_the_way_from_one_process_to_another():
    error = pickle.loads(pickle.dumps(data.DataError("the file is missing", "put it there")))
    assert str(error) == "the file is missing: put it there."


def test_class_names_are_those_that_torchvision_gives():
    names = tuple(torchvision.datasets.FashionMNIST.classes)
    assert data.SETS["fashion-mnist"].class_names == data.SETS[data.MINI].class_names == names
    assert data.SETS["mnist"].class_names == tuple("0123456789")


def test_a_download_replaces_the_folder_of_its_set_and_nothing_beside_it(mirror, tmp_path):
    for path in ("MNIST/raw/old", "MNIST/mine", "notes"):
        (tmp_path / "mine" / path).mkdir(parents=True)
    data.download("mnist", root=tmp_path / "mine")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["MNIST", "notes"]
    assert sorted(path.name for path in (tmp_path / "mine" / "MNIST").iterdir()) == ["mine", "raw"]
    assert set(FILES) <= {path.name for path in (tmp_path / "mine" / "MNIST" / "raw").iterdir()}
    assert not (tmp_path / "mine" / "MNIST" / "raw" / "old").exists()


def test_a_download_that_fails_removes_nothing(offline, small_set, tmp_path):
    put({FILES[0]: b"mine"}, tmp_path / "MNIST" / "raw")
    with pytest.raises(data.DataError, match="could not be downloaded"):
        data.download("mnist", root=tmp_path)
    assert (tmp_path / "MNIST" / "raw" / FILES[0]).read_bytes() == b"mine"


def test_the_embedded_set_cannot_be_downloaded(tmp_path):
    with pytest.raises(ValueError, match="name must be one of 'fashion-mnist', 'mnist'"):
        data.download(data.MINI, root=tmp_path)


@pytest.fixture
def home(monkeypatch, tmp_path):
    """A home folder, and no other folder named in the environment; a current folder of its own."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("van_tutorial.data.sets.DEBIAN_ROOT", tmp_path / "debian")
    for name in ("VAN_TUTORIAL_DATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def homeless(home, monkeypatch):
    """A user without HOME and without an entry in the table of users."""
    monkeypatch.delenv("HOME")
    for name in ("getpwuid", "getpwnam"):
        monkeypatch.setattr(f"pwd.{name}", lambda user: {}[user])


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({}, ".cache/van_tutorial"),
        ({"VAN_TUTORIAL_DATA": "", "XDG_CACHE_HOME": ""}, ".cache/van_tutorial"),
        ({"XDG_CACHE_HOME": "cache"}, ".cache/van_tutorial"),
        ({"XDG_CACHE_HOME": "~/cache"}, "cache/van_tutorial"),
        ({"VAN_TUTORIAL_DATA": "~"}, ""),
        ({"VAN_TUTORIAL_DATA": "~/my data/sets", "XDG_CACHE_HOME": "/cache"}, "my data/sets"),
    ],
    ids=str,
)
def test_the_default_folder_takes_empty_variables_as_not_set_and_a_tilde_as_home(
    home, monkeypatch, small_set, variables, folder
):
    monkeypatch.delenv("VAN_TUTORIAL_DATA")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    put(small_set, home / folder / "MNIST" / "raw")
    assert data.load("mnist").source == str(home / folder / "MNIST" / "raw")
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("root", ["~/sets", Path("~/sets")], ids=repr)
def test_a_tilde_in_root_is_home(home, small_set, root):
    put(small_set, home / "sets" / "MNIST" / "raw")
    assert data.find("mnist", root) == home / "sets" / "MNIST" / "raw"
    assert data.fetch_command("cifar10", root).endswith(f"--root {home}/sets")


def test_an_empty_root_is_the_default_folder(home, capsys):
    assert cli.main(["data", "verify", "--root", ""]) == 0
    assert f"not in {home}/.cache/van_tutorial;" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["VAN_TUTORIAL_DATA", "XDG_CACHE_HOME"])
def test_without_a_home_folder_a_variable_is_enough(homeless, monkeypatch, tmp_path, name):
    monkeypatch.setenv(name, str(tmp_path / "given"))
    assert [finding.name for finding in data.verify()] == list(data.NAMES)
    assert data.find("mnist") is None


@pytest.mark.parametrize(
    "variables", [{}, {"VAN_TUTORIAL_DATA": "~/sets"}, {"XDG_CACHE_HOME": "~nobody-here/x"}]
)
def test_where_a_home_folder_is_needed_and_none_is_known_one_sentence_says_so(
    homeless, monkeypatch, variables
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    embedded, *others = data.verify()
    assert embedded.state == "ok"
    assert {finding.state for finding in others} == {"broken"}
    with pytest.raises(
        data.DataError, match=r"^The folder ~.* needs a home .*: give .* VAN_TUTORIAL_DATA in full\.$"
    ):
        data.load("mnist")


def test_an_empty_home_is_none(home, monkeypatch):
    monkeypatch.setenv("HOME", "")
    with pytest.raises(data.DataError, match="needs a home folder"):
        data.find("mnist")


def test_a_root_that_is_a_file_is_named(home, capsys):
    file = home.parent / "file"
    file.write_text("")
    for call in (data.load, data.find, data.download):
        with pytest.raises(
            data.DataError, match=rf"^{file} is not a folder that can be read: give the folder"
        ):
            call("mnist", file)
    assert {finding.detail for finding in data.verify(file)} - {f"{data.MINI_FILE}, checksum holds"} == {
        f"{file} is not a folder that can be read"
    }
    assert cli.main(["data", "list", "--root", str(file)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@contextlib.contextmanager
def ordinary_user():
    """No rights but those of an ordinary user, whoever runs the tests."""
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        yield
    finally:
        os.seteuid(user)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions as on Unix")
@pytest.mark.parametrize("locked", ["MNIST", "MNIST/raw", f"MNIST/raw/{FILES[2]}"])
def test_what_may_not_be_read_is_said_of_its_own_set_only(small_set, locked):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        put(small_set, root / "MNIST" / "raw")
        put(small_set, root / "FashionMNIST" / "raw")
        mode = (root / locked).stat().st_mode
        (root / locked).chmod(0)
        try:
            with ordinary_user():
                findings = {finding.name: finding for finding in data.verify(root)}
                with pytest.raises(data.DataError, match=r"cannot be read .*Permission denied"):
                    data.load("mnist", root)
        finally:
            (root / locked).chmod(mode)
    assert [findings[name].state for name in ("fashion-mnist", "mnist", "cifar10")] == [
        "ok",
        "broken",
        "missing",
    ]
    assert "cannot be read" in findings["mnist"].detail
    assert findings["mnist"].fixes[0].startswith("give this user the permission to read it, or put")


@pytest.mark.parametrize("name", ["my data", "it's mine", 'a "b"', "$HOME", "a;b", "~", "ünï & co", "*"])
def test_the_advised_command_means_the_same_folder_when_it_is_typed(tmp_path, name):
    (finding,) = (finding for finding in data.verify(tmp_path / name) if finding.name == "mnist")
    command = finding.fixes[-1].removeprefix("go online and run: ")
    assert shlex.split(command) == ["van-tutorial", "data", "fetch", "mnist", "--root", str(tmp_path / name)]


@pytest.mark.parametrize("packed", [False, True], ids=["raw", "gz"])
def test_a_file_is_read_no_further_than_the_right_one_is_long(tmp_path, packed):
    folder = tmp_path / "MNIST" / "raw"
    put({FILES[1]: bytes(100_000_000)}, folder, packed)
    tracemalloc.start()
    try:
        with pytest.raises(data.DataError, match=r"more than 60,008 bytes .*, expected 60,008 "):
            data.load("mnist", tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes as on Unix")
def test_a_named_pipe_in_the_place_of_a_file_is_not_waited_for(small_set, tmp_path):
    put(small_set, tmp_path / "MNIST" / "raw")
    (tmp_path / "MNIST" / "raw" / FILES[0]).unlink()
    os.mkfifo(tmp_path / "MNIST" / "raw" / FILES[0])
    with pytest.raises(data.DataError, match=f"{FILES[0]} is truncated or altered"):
        data.load("mnist", tmp_path)
