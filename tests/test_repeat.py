"""Recorded results that a reader measures again with other seeds."""

import json

import pytest

from tools import record, repeat
from tools.recordings import MEASURED
from van_tutorial import batch
from van_tutorial._course import course_path


def test_a_part_of_a_recording_is_measured_with_other_seeds_beside_what_is_recorded(tmp_path):
    recorded = json.loads((record.RESULTS / "degradation_mini.json").read_text(encoding="utf-8"))["runs"]
    wanted = {"network": {"plain"}, "depth": {"2"}}
    found, sentences = repeat.repeat("degradation_mini", [0], wanted, tmp_path)
    journal = json.loads((tmp_path / "degradation_mini.json").read_text(encoding="utf-8"))["runs"]
    assert [(row["network"], row["depth"], row["seed"]) for row in journal] == [("plain", 2, 0)]
    before = [row["test_accuracy"] for row in recorded if (row["network"], row["depth"]) == ("plain", 2)]
    row = found.loc["plain"]
    assert sentences == []  # one network alone
    assert row["recorded", "test_accuracy"].startswith(f"{sum(before) / 3:.3f} ± ")
    # The same seed gives the recorded run again.
    assert float(row["measured now", "test_accuracy"]) == pytest.approx(before[0], abs=5e-3)


def test_networks_whose_seeds_are_trained_together_are_given_them(tmp_path, monkeypatch):
    given = []

    def measure(lab, network, depth, seeds=range(5)):
        given.append((network, depth, tuple(seeds)))
        return [{"seed": seed, "test_accuracy": 0.5} for seed in seeds]

    monkeypatch.setitem(MEASURED, "families", (MEASURED["families"][0], measure))
    wanted = {"network": {"plain", "residual"}, "depth": {"100"}}
    found, (sentence,) = repeat.repeat("families", [7, 8], wanted, tmp_path)
    assert sentence.startswith("*plain* beside *residual*: recorded 3.4 points below it [")
    assert sentence.endswith("; measured now level with it [0.0, 0.0].")
    assert given == [("plain", 100, (7, 8)), ("residual", 100, (7, 8))]
    assert found["measured now", "test_accuracy"].tolist() == ["0.500 ± 0.000"] * 2


def test_a_sweep_is_written_with_other_seeds_and_the_wanted_runs_alone(tmp_path):
    file = course_path("assets", "sweeps", "evidence", "start.yaml")
    wanted = {"network": {"VAN, BatchNorm bias 2"}, "depth": {"100"}}
    made = repeat.with_seeds(record.RECORDED["start"], file, tmp_path / "start.yaml", [7, 8], wanted)
    of = {run["seed"]: run for run in batch.read_sweep(made).runs}
    there = [run for run in batch.read_sweep(file).runs if run["connection"] == "van"]
    (same,) = [run for run in there if (run["norm_shift"], run["depth"], run["seed"]) == (2.0, 100, 0)]
    assert of == {seed: same | {"seed": seed} for seed in (7, 8)}
    wanted = {"network": {"VAN, BatchNorm bias 2"}, "depth": {"20"}}
    assert repeat.with_seeds(record.RECORDED["start"], file, tmp_path / "none.yaml", [7], wanted) is None


@pytest.mark.parametrize(
    ("name", "wanted", "message"),
    [
        ("start", {"depth": {"7"}}, "a value of depth must be one of '40', '100', got '7'."),
        (
            "start",
            {"lr": {"0.1"}},
            "a column must be one of 'network', 'depth', 'norm_shift', 'validation_fraction', got 'lr'.",
        ),
        ("tuning", {}, "tuning has seeds of its own: `python -m tools.record tuning` measures it."),
        (
            "shattered_gradients",
            {},
            "shattered_gradients has no accuracy to compare: `python -m tools.record shattered_gradients` measures it.",
        ),
    ],
)
def test_what_cannot_be_measured_again_is_refused_in_a_sentence(name, wanted, message, tmp_path):
    with pytest.raises(ValueError) as refusal:
        repeat.repeat(name, [7], wanted, tmp_path)
    assert str(refusal.value) == message
