"""Checkpoints: resuming bit for bit; files damaged, foreign, malicious, or too large for the disk."""

import dataclasses
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from van_tutorial import models, training


def small(seed=0, **choices):
    return models.mlp(**{"depth": 3, "width": 12, "seed": seed, **choices})


def assert_same_run(one, other):
    assert one.history.drop(columns="seconds").equals(other.history.drop(columns="seconds"))
    assert one.layers.equals(other.layers)
    state = other.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in one.model.state_dict().items())
    for name in (
        "removed_at_step",
        "removed_by",
        "num_capped",
        "first_zero_steps",
        "num_steps",
        "is_complete",
    ):
        assert getattr(one, name) == getattr(other, name)


def first_record(trainer):
    return next(iter(trainer))


@pytest.fixture
def saved(few_images, quick, tmp_path):
    """The checkpoint of a run after its first record, at step 3 of 16."""
    trainer = training.Trainer(small(), few_images, quick(log_every=3))
    first_record(trainer)
    trainer.save(tmp_path / "run.pt")
    return tmp_path / "run.pt"


@pytest.mark.parametrize(
    "choices",
    [
        {"log_every": 8},
        {"log_every": 3},
        {"log_every": 3, "optimizer": "sgd", "validation_fraction": 0.2},
        {"log_every": 5, "optimizer": "adamw", "weight_decay": 0.1, "dual_lr": 0.3, "skip_lr": 0.1},
        {"log_every": 3, "skip_schedule": "cosine", "lr_schedule": "constant"},
        {"log_every": 3, "augment": "crop-flip", "channels_last": True},
        {"log_every": 3, "skip_target": 1.0, "skip_schedule": "penalty", "skip_lr": 0.5},
        {"log_every": 3, "skip_target": 1.0, "skip_lr": 0.1, "dual_lr": 0.1},
    ],
    ids=str,
)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(few_images, quick, tmp_path, choices):
    whole = training.train(small(), few_images, quick(**choices))
    first = training.Trainer(small(), few_images, quick(**choices))
    first_record(first)
    first.save(tmp_path / "run.pt")
    second = training.Trainer(small(), few_images, quick(**choices))
    second.model.load_state_dict(small(seed=9).state_dict())  # everything that matters is in the file
    second.load(tmp_path / "run.pt")
    assert second.step == first.step < second.num_steps
    for _ in second:
        pass
    assert_same_run(second.result(), whole)


def test_a_resumed_network_without_skips_goes_on_as_well(few_images, quick, tmp_path):
    whole = training.train(small(connection="plain"), few_images, quick())
    first = training.Trainer(small(connection="plain"), few_images, quick())
    first_record(first)
    first.save(tmp_path / "run.pt")
    second = training.Trainer(small(connection="plain"), few_images, quick())
    second.load(tmp_path / "run.pt")
    for _ in second:
        pass
    assert_same_run(second.result(), whole)


def test_a_run_that_has_gone_on_can_be_set_back_to_its_checkpoint(few_images, quick, saved):
    trainer = training.Trainer(small(), few_images, quick(log_every=3))
    list(trainer)
    whole = trainer.result()
    kept = dataclasses.replace(whole, model=small())
    kept.model.load_state_dict(whole.model.state_dict())
    trainer.load(saved)
    assert [record.step for record in trainer.records] == [3]
    list(trainer)
    assert_same_run(trainer.result(), kept)


def test_train_goes_on_from_its_checkpoint(few_images, quick, tmp_path, saved):
    whole = training.train(small(), few_images, quick(log_every=3))
    resumed = training.train(small(), few_images, quick(log_every=3), checkpoint=saved)
    assert_same_run(resumed, whole)
    again = training.train(small(), few_images, quick(log_every=3), checkpoint=saved)
    assert_same_run(again, whole)
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]


def test_saving_does_not_disturb_the_run(few_images, quick, tmp_path):
    saving = training.train(small(), few_images, quick(log_every=3), checkpoint=tmp_path / "new" / "run.pt")
    assert_same_run(saving, training.train(small(), few_images, quick(log_every=3)))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["run.pt"]


def refused(path, few_images, config, **choices):
    """The message with which a checkpoint is refused; the run that was to take it over is not touched."""
    trainer = training.Trainer(small(**choices), few_images, config)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    with pytest.raises(training.CheckpointError) as raised:
        trainer.load(path)
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
    assert (trainer.step, trainer.records) == (0, [])
    assert str(path) in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("config", "model", "difference"),
    [
        ({"lr": 0.01}, {}, "lr 0.003 there and 0.01 here"),
        ({"seed": 1}, {}, "seed 0 there and 1 here"),
        ({"num_epochs": 3}, {}, "num_epochs 2 there and 3 here"),
        ({"skip_target": 1.0}, {}, "skip_target 0.0 there and 1.0 here"),
        ({"skip_penalty": 0.5}, {}, "skip_penalty 0.25 there and 0.5 here"),
        ({"augment": "crop-flip"}, {}, "augment 'none' there and 'crop-flip' here"),
        ({"channels_last": True}, {}, "channels_last False there and True here"),
        ({}, {"width": 13}, "model.width 12 there and 13 here"),
        ({}, {"skip": "additive"}, "model.skip 'convex' there and 'additive' here"),
        ({}, {"connection": "plain"}, "model.connection 'van' there and 'plain' here"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_with_the_difference(
    saved, few_images, quick, config, model, difference
):
    message = refused(saved, few_images, quick(log_every=3, **config), **model)
    assert "is a checkpoint of another run" in message
    assert difference in message


def test_a_checkpoint_of_a_wrapped_network_names_the_wrapper(few_images, quick, tmp_path):
    wrapped = training.Trainer(nn.DataParallel(small()), few_images, quick())
    wrapped.save(tmp_path / "wrapped.pt")
    message = refused(tmp_path / "wrapped.pt", few_images, quick())
    assert "torch.nn.DataParallel wraps the checkpoint's network and not this one" in message
    training.Trainer(small(), few_images, quick()).save(tmp_path / "bare.pt")
    with pytest.raises(
        training.CheckpointError, match=r"DataParallel wraps this network and not .* not wrapped\.$"
    ):
        wrapped.load(tmp_path / "bare.pt")
    training.Trainer(torch.compile(small()), few_images, quick()).save(tmp_path / "compiled.pt")
    assert "torch.compile wraps the checkpoint's" in refused(tmp_path / "compiled.pt", few_images, quick())


KILLED = """
import os, signal, sys
from pathlib import Path
from van_tutorial._files import write_atomic
Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
write_atomic(sys.argv[1], b"half")
"""


def test_what_a_killed_save_left_is_removed_by_the_next_one(few_images, quick, tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "run.pt")], timeout=60, check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".run.pt.")
    of_a_living_one = left.with_name(f"{left.name.rsplit('-', 2)[0]}-{os.getpid()}-1")
    of_a_living_one.touch()
    training.Trainer(small(), few_images, quick()).save(tmp_path / "run.pt")
    assert sorted(tmp_path.iterdir()) == sorted([of_a_living_one, tmp_path / "run.pt"])


@pytest.mark.parametrize("what", ["train_images", "train_labels", "test_images", "test_labels"])
def test_a_checkpoint_of_other_data_is_refused(saved, few_images, quick, what):
    other = dataclasses.replace(few_images, **{what: getattr(few_images, what).roll(1, dims=0)})
    assert "is a checkpoint of another run" in refused(saved, other, quick(log_every=3))


def test_train_refuses_a_checkpoint_of_another_run_and_leaves_it_alone(saved, few_images, quick):
    content = saved.read_bytes()
    with pytest.raises(training.CheckpointError, match="another run"):
        training.train(small(), few_images, quick(log_every=3, lr=0.01), checkpoint=saved)
    assert saved.read_bytes() == content


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused(saved, few_images, quick, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    assert "is not a checkpoint that can be read" in refused(saved, few_images, quick(log_every=3))


def test_a_checkpoint_with_an_altered_weight_is_refused(saved, few_images, quick):
    content = bytearray(saved.read_bytes())
    state = torch.load(saved, weights_only=True)
    position = content.index(state["model"]["head.weight"].numpy().tobytes())
    content[position + 2] ^= 1
    saved.write_bytes(bytes(content))
    refused(saved, few_images, quick(log_every=3))


@pytest.mark.parametrize("content", [{"model": {}}, {"identity": None}, [1, 2, 3], torch.zeros(3)], ids=str)
def test_a_file_of_torch_that_is_no_checkpoint_is_refused(tmp_path, few_images, quick, content):
    torch.save(content, tmp_path / "other.pt")
    refused(tmp_path / "other.pt", few_images, quick())


class Odd(nn.Module):
    """A network of the user's own: it has no config to tell it by."""

    def __init__(self, seed, extra_shape, extra_name="extra"):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Linear(784, 10)
            self.register_parameter(extra_name, nn.Parameter(torch.randn(extra_shape)))

    def forward(self, x):
        return self.head(x.flatten(1))


def assert_load_refused_and_nothing_changed(trainer, path):
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    with pytest.raises(training.CheckpointError):
        trainer.load(path)
    changed = [n for n, value in trainer.model.state_dict().items() if not torch.equal(value, before[n])]
    assert (changed, trainer.step, trainer.records) == ([], 0, [])


@pytest.mark.parametrize("choices", [{"extra_shape": (4, 3)}, {"extra_shape": (3, 4), "extra_name": "other"}])
def test_a_checkpoint_of_another_network_of_ones_own_is_refused(few_images, quick, tmp_path, choices):
    first = training.Trainer(Odd(seed=0, extra_shape=(3, 4)), few_images, quick())
    first_record(first)
    first.save(tmp_path / "run.pt")
    second = training.Trainer(Odd(seed=1, **choices), few_images, quick())
    assert_load_refused_and_nothing_changed(second, tmp_path / "run.pt")


@pytest.mark.parametrize("part", ["model", "optimizer", "scheduler", "phase_out", "records", "step", "sums"])
def test_a_checkpoint_that_lacks_a_part_is_refused(saved, few_images, quick, part):
    state = torch.load(saved, weights_only=True)
    del state[part]
    torch.save(state, saved)
    second = training.Trainer(small(seed=0), few_images, quick(log_every=3))
    assert_load_refused_and_nothing_changed(second, saved)


def test_a_missing_checkpoint_is_a_missing_file(tmp_path, few_images, quick):
    trainer = training.Trainer(small(), few_images, quick())
    with pytest.raises(FileNotFoundError):
        trainer.load(tmp_path / "none.pt")


class Payload:
    """What an attacker would put into a file that others load: code that runs when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("is_torch_file", [True, False], ids=["torch.save", "pickle"])
def test_code_in_a_checkpoint_is_not_executed(saved, tmp_path, few_images, quick, is_torch_file):
    target, path = tmp_path / "executed", tmp_path / "malicious.pt"
    state = torch.load(saved, weights_only=True) | {"records": Payload(target)}
    if is_torch_file:
        torch.save(state, path)
    else:
        path.write_bytes(pickle.dumps(state))
    refused(path, few_images, quick(log_every=3))
    assert not target.exists()
    pickle.loads(pickle.dumps(Payload(target)))
    assert target.exists()  # so the payload works where it is let


FULL_DISK = """
import dataclasses, resource, signal, sys
from pathlib import Path
import torch
from van_tutorial import data, models, training

torch.set_num_threads(1)
folder = Path(sys.argv[1])
images = data.load()
few = {name: getattr(images, name)[:64] for name in ("train_images", "train_labels")}
images = dataclasses.replace(images, **few)
config = training.TrainConfig(num_epochs=4, batch_size=32, device="cpu")
trainer = training.Trainer(models.mlp(depth=2, width=8, seed=0), images, config)
records = iter(trainer)
next(records)
trainer.save(folder / "run.pt")
(folder / "step").write_text(str(trainer.step))
size = (folder / "run.pt").stat().st_size
next(records)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, resource.RLIM_INFINITY))
for path in (folder / "run.pt", folder / "deeper" / "new.pt"):
    try:
        trainer.save(path)
    except OSError as error:
        print(type(error).__name__, error)
    else:
        print("saved")
"""


def test_a_full_disk_is_said_and_leaves_the_older_checkpoint_and_no_half_written_file(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line, name in zip(lines, ("run.pt", "new.pt"), strict=True):
        assert line.startswith("OSError")
        assert f"{name} could not be written and was left as it was" in line
        assert "free some space or name another folder" in line
    files = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["run.pt", "step"]
    assert torch.load(tmp_path / "run.pt", weights_only=True)["step"] == int((tmp_path / "step").read_text())


def test_a_folder_that_cannot_be_made_is_said(few_images, quick, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="could not be written"):
        training.Trainer(small(), few_images, quick()).save(tmp_path / "file" / "run.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("optimizer", {}),
        ("phase_out", {}),
        ("scheduler", 3),
        ("records", [{}]),
        ("step", "one"),
        ("sums", None),
        ("seconds", None),
        ("model", {}),
    ],
)
def test_a_whole_file_with_a_damaged_part_changes_nothing(tmp_path, few_images, quick, part, value):
    path = tmp_path / "run.pt"
    trainer = training.Trainer(models.mlp(depth=2, width=8, seed=0), few_images, quick())
    next(iter(trainer))
    trainer.save(path)
    torch.save(torch.load(path, weights_only=True) | {part: value}, path)
    fresh = training.Trainer(models.mlp(depth=2, width=8, seed=0), few_images, quick())
    with pytest.raises(training.CheckpointError, match=r"is damaged \(\w+\): nothing was taken over"):
        fresh.load(path)
    whole = training.train(models.mlp(depth=2, width=8, seed=0), few_images, quick())
    for _ in fresh:
        pass
    assert fresh.result().history.drop(columns="seconds").equals(whole.history.drop(columns="seconds"))
    assert all(map(torch.equal, fresh.model.state_dict().values(), whole.model.state_dict().values()))
