"""docs/evidence.md: made from the recordings alone, which are what the sweep files and commands beside them make."""

import json
import math
import shutil

import pandas as pd
import pytest

from tools.evidence import controls, page, record, tables
from tools.evidence.claims import CLAIMS
from tools.evidence.tables import chosen_step_sizes, label_of_network
from van_tutorial import batch
from van_tutorial._course import course_path

RESULTS = course_path("assets", "results")
BY_NAME = {claim.name: claim for claim in CLAIMS}


def recorded(name):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def test_the_page_and_its_figures_show_what_is_recorded():
    assert page.check_page() == []


@pytest.mark.parametrize("name", BY_NAME)
def test_a_claim_names_the_command_that_made_its_recording_and_what_it_ran_on(name):
    content = recorded(name)
    assert (content["question"], content["command"]) == (BY_NAME[name].question, BY_NAME[name].command)
    assert {"hardware", "versions", "hours"} <= content.keys()
    assert f"`{content['command']}`" in course_path("docs", "evidence.md").read_text(encoding="utf-8")
    assert all("seed" in run for run in content["runs"])


@pytest.mark.parametrize("name", [name for name, claim in BY_NAME.items() if claim.sweeps])
def test_a_recording_holds_the_runs_of_its_sweeps_and_no_others(name):
    claim = BY_NAME[name]
    sweeps = [
        batch.read_sweep(course_path("assets", "sweeps", "evidence", f"{file}.yaml")) for file in claim.sweeps
    ]
    runs = recorded(name)["runs"]
    assert len(runs) == sum(sweep.num_runs for sweep in sweeps)
    wanted = [
        {"network": claim.label(run), **{column: run[column] for column in (*claim.columns, "seed")}}
        for sweep in sweeps
        for run in sweep.runs
    ]

    def as_text(run):
        return json.dumps({key: run.get(key) for key in sorted(wanted[0])}, sort_keys=True)

    assert sorted(map(as_text, runs)) == sorted(map(as_text, wanted))


@pytest.mark.parametrize(
    "file",
    [*(f"degradation{part}" for part in ("", "_deep", "_others", "_mnist")), "longer", "longer_deep"],
)
def test_step_sizes_are_those_that_were_best_on_held_out_images(file):
    chosen = chosen_step_sizes(batch.recorded("depth_step_sizes").table)
    sweep = batch.read_sweep(course_path("assets", "sweeps", "evidence", f"{file}.yaml"))
    for run in sweep.runs:
        assert run["lr"] == chosen[label_of_network(run)]


@pytest.mark.parametrize("name", ["depth_trials", "depth_step_sizes"])
def test_what_choices_were_made_on_never_saw_the_test_images(name):
    runs = pd.DataFrame(recorded(name)["runs"])
    assert "test_accuracy" not in runs
    assert runs["validation_accuracy"].notna().all()


def test_a_recording_that_is_changed_is_noticed_in_text_and_figure(tmp_path):
    shutil.copytree(RESULTS, tmp_path / "results")
    file = tmp_path / "results" / "degradation.json"
    before = page.text_of(CLAIMS, RESULTS), {n: s for n, _, s in page.drawings(CLAIMS, RESULTS)}
    content = json.loads(file.read_text(encoding="utf-8"))
    content["runs"][0]["test_accuracy"] += 0.1
    file.write_text(json.dumps(content), encoding="utf-8")
    folder = tmp_path / "results"
    after = page.text_of(CLAIMS, folder), {n: s for n, _, s in page.drawings(CLAIMS, folder)}
    assert after[0] != before[0]
    assert {name for name in before[1] if before[1][name] != after[1][name]} == {"degradation"}


def test_a_small_part_of_a_claim_is_measured_and_a_second_call_makes_nothing_again(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RUNS", tmp_path / "runs")
    file = record.record(BY_NAME["frontier"], tmp_path / "results", is_quick=True)
    rows = json.loads(file.read_text(encoding="utf-8"))["runs"]
    assert len(rows) == 4  # the ends of two lists
    assert {row["network"] for row in rows} == {"all alike", "input side faster (5 times)"}
    shown = page.table_in(file)  # whatever did not happen in so short a run
    assert BY_NAME["frontier"].reading(shown)
    assert len(BY_NAME["frontier"].table(shown)) == 4
    folders = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "mlp").iterdir()}
    assert record.record(BY_NAME["frontier"], tmp_path / "results", is_quick=True) == file
    assert json.loads(file.read_text(encoding="utf-8"))["runs"] == rows
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "mlp").iterdir()} == folders


def test_a_small_part_of_every_sweep_can_be_run(tmp_path):
    for claim in CLAIMS:
        for name in claim.sweeps:
            file = course_path("assets", "sweeps", "evidence", f"{name}.yaml")
            small = batch.read_sweep(record.reduced(file, tmp_path / f"{name}.yaml"))
            assert 0 < small.num_runs <= batch.read_sweep(file).num_runs
            assert {(run["data"], run["num_epochs"]) for run in small.runs} == {("fashion-mnist-mini", 2)}


@pytest.mark.parametrize("name", BY_NAME)
def test_the_words_of_the_page_keep_all_networks_apart(name):
    runs = pd.DataFrame(recorded(name)["runs"])
    assert tables.named(runs)["network"].nunique() == runs["network"].nunique()


@pytest.mark.parametrize(
    ("removed", "total", "words"),
    [
        (500, 1000, "18.2 %"),  # 1/2 - 1/pi
        (3870, 4680, "0.84 %"),
        (0, 10, "100.0 %"),
    ],
)
def test_what_is_left_of_the_learning_rate_is_the_rest_of_the_cosine(removed, total, words):
    runs = pd.DataFrame({"removed_at_step": [removed, None], "num_steps": [total, total]})
    assert tables.learning_left(runs) == words


def test_a_removal_that_listens_to_the_loss_would_be_noticed():
    runs = page.table_in(RESULTS / "clock.json")
    assert "no layer's step differs by more than 3" in controls.clock(runs)
    of = runs["network"] == controls.WITH
    later = [
        [step + 40 if is_with else step for step in steps]
        for is_with, steps in zip(of, runs["zero_steps"], strict=True)
    ]
    assert "no layer's step differs by more than 43" in controls.clock(runs.assign(zero_steps=later))


def test_the_frontier_is_predicted_without_the_loss():
    runs = tables.with_prediction(page.table_in(RESULTS / "frontier.json"))
    reached = runs.dropna(subset=["median_zero_step"])
    ratios = reached["median_zero_step"] / (math.pi / 2 / (1e-3 * reached["dual_lr"]) ** 0.5)
    assert (reached["median_zero_step"] / reached["predicted"]).tolist() == pytest.approx(ratios.tolist())
    assert ratios.between(1.0, 1.02).all()


def test_a_plain_network_that_never_had_a_skip_is_compared_with_the_vans_at_depth_100():
    runs = page.table_in(RESULTS / "start.json")
    better = runs["test_accuracy"] + 0.1 * runs["network"].eq("VAN, BatchNorm bias 2")
    assert "VAN with bias 2 (0.866) is level with it" in controls.start(runs)
    assert "VAN with bias 2 (0.966) is 10.2 points above it" in controls.start(
        runs.assign(test_accuracy=better)
    )


def test_a_figure_and_a_table_can_be_made_of_every_claim_with_a_line_that_reads_it():
    for claim in CLAIMS:
        runs = page.table_in(RESULTS / f"{claim.name}.json")
        assert len(claim.figure(runs).data) > 0
        assert len(claim.table(runs)) > 0
        assert claim.reading(runs).strip()[-1] in ".|"
        assert claim.limits.endswith(".")
