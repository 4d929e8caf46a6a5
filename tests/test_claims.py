"""docs/evidence.md shows the recordings, which are what the sweep files, grids and commands beside them make."""

import json
import math
import re
import shutil
from functools import partial

import pandas as pd
import pytest

from tools import labels, readme, record
from tools.evidence import page, parts, sections
from tools.record import RECORDED
from tools.recordings import MEASURED, lab
from van_tutorial import batch
from van_tutorial._course import course_path

RESULTS = course_path("assets", "results")
SHOWN = re.findall(
    r'recording\("(\w+)"\)', course_path("tools", "evidence", "evidence.md.jinja").read_text(encoding="utf-8")
)
SWEPT = {name: recorded for name, recorded in RECORDED.items() if recorded.sweeps}


def recorded(name):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def sweep_file(name):
    return course_path("assets", "sweeps", f"{name}.yaml")


def block(text, name):
    """Return what a page shows of a recording."""
    return text.partition(f"<!-- {name} -->\n")[2].partition("<!-- end -->")[0]


@pytest.fixture(scope="module")
def shown():
    """The page of the recordings as they are."""
    made = page.Page(RESULTS)
    assert made.text
    return made


def later(run):
    """A removal that listens to the loss."""
    return {"zero_steps": [step + 40 * run["network"].startswith("with ") for step in run["zero_steps"]]}


def better(run):
    """A VAN that starts better than any other network."""
    is_changed = run["network"] == "VAN, BatchNorm bias 2" and "test_accuracy" in run
    return {"test_accuracy": run["test_accuracy"] + 0.1} if is_changed else {}


CHANGES = {
    "degradation": lambda run: {"test_accuracy": run["test_accuracy"] / 2},
    "clock": later,
    "start": better,
    "families": lambda run: {"test_accuracy": 0.95} if run["network"] == "VAN, Dirac" else {},
}


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """The page of recordings of which some were changed."""
    results = shutil.copytree(RESULTS, tmp_path_factory.mktemp("changed") / "results")
    for name, change in CHANGES.items():
        content = recorded(name)
        content["runs"] = [run | change(run) for run in content["runs"]]
        (results / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    made = page.Page(results)
    assert made.text
    return made


def test_every_recording_has_a_question_and_one_way_to_be_made_again():
    assert set(RECORDED) == {file.stem for file in RESULTS.glob("*.json")}
    assert set(MEASURED) | set(SWEPT) == set(RECORDED)
    assert not set(MEASURED) & set(SWEPT)


def test_the_page_and_its_figures_show_what_is_recorded():
    assert page.check_page() == []


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_names_its_question_and_command_and_what_it_ran_on(name):
    content = recorded(name)
    assert (content["question"], content["command"]) == (RECORDED[name].question, RECORDED[name].command)
    assert {"hardware", "versions", "hours"} <= content.keys()
    assert f"`{content['command']}`" in course_path("docs", "evidence.md").read_text(encoding="utf-8")
    assert name.startswith("shattered") or all("seed" in run for run in content["runs"])


@pytest.mark.parametrize("name", SWEPT)
def test_a_recording_holds_the_runs_of_its_sweeps_and_no_others(name):
    sweeps = [batch.read_sweep(sweep_file(file)) for file in SWEPT[name].sweeps]
    runs = recorded(name)["runs"]
    assert len(runs) == sum(sweep.num_runs for sweep in sweeps)
    wanted = [
        SWEPT[name].row(run) for sweep in sweeps for run in sweep.runs
    ]  # what is known before it is run
    columns = set().union(*wanted)

    def as_text(run):
        return json.dumps({key: run.get(key) for key in sorted(columns)}, sort_keys=True)

    assert sorted(map(as_text, runs)) == sorted(map(as_text, wanted))


@pytest.mark.parametrize("name", MEASURED)
def test_a_recording_holds_a_row_for_every_point_of_its_grid_and_no_others(name):
    rows, points = recorded(name)["runs"], list(lab.points(MEASURED[name][0]))
    of = [[point for point in points if point.items() <= row.items()] for row in rows]
    assert all(of)
    assert {json.dumps(point) for some in of for point in some} == {json.dumps(point) for point in points}


@pytest.mark.parametrize(
    "file",
    [*(f"degradation{part}" for part in ("", "_deep", "_mnist")), "longer", "longer_deep"],
)
def test_learning_rates_are_those_that_were_best_on_validation_images(file):
    chosen = sections.best_lrs(batch.recorded("depth_learning_rates").table)
    sweep = batch.read_sweep(sweep_file(f"evidence/{file}"))
    for run in sweep.runs:
        assert run["lr"] == chosen[labels.network(run)]


@pytest.mark.parametrize("name", ["tuning", "depth_learning_rates"])
def test_what_choices_were_made_on_never_saw_the_test_images(name):
    runs = pd.DataFrame(recorded(name)["runs"])
    assert "test_accuracy" not in runs
    assert runs["validation_accuracy"].notna().all()


def test_a_recording_that_is_changed_is_noticed_in_text_and_figure(shown, changed):
    differ = {name for name in SHOWN if block(changed.text, name) != block(shown.text, name)}
    stamps, others = (
        {name: page.stamp_of(figure) for name, figure in made.figures.items()} for made in (shown, changed)
    )
    assert differ == {name for name in stamps if stamps[name] != others[name]} == CHANGES.keys()


def test_a_page_without_a_place_for_a_table_is_refused():
    with pytest.raises(ValueError, match="no place between <!-- clock --> and <!-- end -->"):
        readme.fill("# Evidence", {"clock": lambda: ""})


def test_a_small_part_of_a_sweep_is_measured_and_a_second_call_makes_nothing_again(
    tmp_path, monkeypatch, clusters
):
    monkeypatch.setattr(record, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(batch, "sweep", partial(batch.sweep, scheduler=clusters[1]))
    file = record.record("frontier", tmp_path / "results", is_quick=True)
    rows = json.loads(file.read_text(encoding="utf-8"))["runs"]
    assert len(rows) == 4  # the ends of two lists
    assert {row["network"] for row in rows} == {
        "equal dual learning rates",
        "faster next to the input (5 times)",
    }
    small = page.Page(tmp_path / "results")  # whatever did not happen in so short a run
    assert len(re.findall(r"^\| (?:equal|faster)", block(small.text, "frontier"), re.MULTILINE)) == 4
    assert block(small.text, "clock") == "Not measured.\n"
    assert list(small.figures) == ["frontier"]
    folders = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "mlp").iterdir()}
    assert record.record("frontier", tmp_path / "results", is_quick=True) == file
    assert json.loads(file.read_text(encoding="utf-8"))["runs"] == rows
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "mlp").iterdir()} == folders


def test_a_recording_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RUNS", tmp_path / "runs")
    grids, measure = MEASURED["degradation_mini"]
    measured = []

    def stopped(lab, network, **point):
        measured.append(network)
        if measured.count("residual") == 1:
            raise KeyboardInterrupt
        return measure(lab, network=network, **point)

    monkeypatch.setitem(MEASURED, "degradation_mini", (grids, stopped))
    with pytest.raises(KeyboardInterrupt):
        record.record("degradation_mini", tmp_path, is_quick=True)
    assert not (tmp_path / "degradation_mini.json").exists()  # only what is whole is a result
    measured.append("residual")
    file = record.record("degradation_mini", tmp_path, is_quick=True)
    assert measured == ["plain", "plain, lr 0.01", "residual", "residual", "residual"]  # the plain ones once
    rows = json.loads(file.read_text(encoding="utf-8"))["runs"]
    assert [row["network"] for row in rows] == ["plain", "plain, lr 0.01", "residual"]


@pytest.mark.parametrize("name", MEASURED)
def test_a_small_part_of_every_grid_can_be_measured_into_the_recorded_columns(name):
    grids, measure = MEASURED[name]
    *_, point = lab.points(grids, is_quick=True)
    made = measure(lab.Lab(is_quick=True), **point)
    rows = [point | row for row in ([made] if isinstance(made, dict) else made)]
    same = [set(row) for row in recorded(name)["runs"]]
    assert all(set(row) in same for row in rows)


def test_the_page_of_a_small_part_of_every_grid_can_be_made(tmp_path):
    for name, (grids, _) in MEASURED.items():
        content, small = recorded(name), []
        points = {json.dumps(point): point for point in lab.points(grids, is_quick=True)}  # each once
        for point in points.values():
            reduced = {key: value for key, value in point.items() if key in ("depth", "data")}
            rows = [
                row
                for row in content["runs"]
                if (point | dict.fromkeys(reduced)).items() <= (row | dict.fromkeys(reduced)).items()
            ]
            full = {key: rows[0][key] for key in reduced}
            small += [row | reduced for row in rows if full.items() <= row.items()]
        (tmp_path / f"{name}.json").write_text(json.dumps(content | {"runs": small}), encoding="utf-8")
    assert "Not measured" not in block(page.Page(tmp_path).text, "orders")


def test_a_small_part_of_every_sweep_can_be_run(tmp_path):
    for recording in SWEPT.values():
        for name in recording.sweeps:
            small = batch.read_sweep(record.reduced(sweep_file(name), tmp_path / "small.yaml"))
            assert 0 < small.num_runs <= batch.read_sweep(sweep_file(name)).num_runs
            assert {(run["data"], run["num_epochs"]) for run in small.runs} == {("fashion-mnist-mini", 2)}


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
    assert parts.learning_left(runs) == words


def test_a_removal_that_listens_to_the_loss_would_be_noticed(shown, changed):
    assert "no layer's step differs by more than 3. " in block(shown.text, "clock")
    assert "no layer's step differs by more than 43. " in block(changed.text, "clock")


def test_the_frontier_is_predicted_without_the_loss():
    runs = sections.with_prediction(page.table_in(RESULTS / "frontier.json"))
    reached = runs.dropna(subset=["median_zero_step"])
    ratios = reached["median_zero_step"] / (math.pi / 2 / (1e-3 * reached["dual_lr"]) ** 0.5)
    assert (reached["median_zero_step"] / reached["predicted"]).tolist() == pytest.approx(ratios.tolist())
    assert ratios.between(1.0, 1.02).all()


def test_a_plain_network_that_never_had_a_skip_is_compared_with_the_vans_at_depth_100(shown, changed):
    assert "VAN with bias 2 (0.866) is level with it" in block(shown.text, "start")
    assert "VAN with bias 2 (0.966) is 10.2 points above it" in block(changed.text, "start")


@pytest.mark.parametrize("name", SHOWN)
def test_a_recording_that_is_shown_has_a_line_that_reads_it_a_table_a_figure_and_its_limits(shown, name):
    assert len(shown.figures[name].data) > 0
    question, reading, table, image, made = block(shown.text, name).strip().split("\n\n")
    assert question == RECORDED[name].question
    assert reading.endswith(".")
    assert table.startswith("| ")
    assert table.count("\n") >= 2
    assert image.startswith("![")
    assert made.startswith("Made by `python -m tools.record ")
    assert re.search(
        rf"^## .+\n\n<!-- {name} -->[^#]*?<!-- end -->\n\n\*\*Limits\.\*\* ", shown.text, re.MULTILINE
    )
