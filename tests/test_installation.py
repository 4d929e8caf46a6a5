"""What the first lesson says of an installation."""

from importlib import import_module

import torch

from van_tutorial import data, widgets


def test_an_installation_without_a_flaw_is_ok_in_every_row():
    table = widgets.installation("cpu").set_index("part")
    assert set(table["state"]) == {"ok"}
    assert table.loc["torch", "detail"] == torch.__version__.partition("+")[0]
    assert "checksum holds" in table.loc["data: fashion-mnist-mini", "detail"]


def test_what_is_broken_in_an_installation_is_named_with_its_fix(monkeypatch, tmp_path):
    module = import_module("van_tutorial.widgets.installation")  # the function has its name in the package
    damaged = tmp_path / data.MINI_FILE.name
    damaged.write_bytes(data.MINI_FILE.read_bytes()[:-100])
    monkeypatch.setattr("van_tutorial.data.sets.MINI_FILE", damaged)
    monkeypatch.setattr(module, "PACKAGES", ("torch", "no-such-package"))
    table = widgets.installation("tpu7").set_index("part")
    broken = table[table["state"] == "broken"]["detail"]
    assert list(broken.index) == ["no-such-package", "device", "data: fashion-mnist-mini"]
    assert "pip install no-such-package" in broken["no-such-package"]
    assert "take 'auto', 'cpu'" in broken["device"]
    assert "truncated or altered" in broken["data: fashion-mnist-mini"]
    assert "git checkout -- assets/data" in broken["data: fashion-mnist-mini"]
