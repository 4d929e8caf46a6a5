"""Many runs as tables and as a page: what is counted, what is not averaged, what is said where there is nothing."""

import hashlib
import html
import itertools
import json
import re
import shutil
from html.parser import HTMLParser

import pandas as pd
import pytest
from plotly.offline import get_plotlyjs

from van_tutorial.batch.report import report
from van_tutorial.batch.results import measurements, results

LESSON = "05_phasing_out"
PARAMETERS = {"depth": 20, "lr": 0.003, "dual_lr": 0.0003, "seed": 0, "device": "cpu", "interactive": False}
IDENTITY = {"notebook": "a" * 64, "package": "b" * 64, "data": "c" * 64, "torch": "2.14.1"}


@pytest.fixture
def write_run(tmp_path):
    """A function that writes the folder of a run, as a runner leaves it, and returns it."""

    def write(parameters=PARAMETERS, rows=(), reason=None, notebook=LESSON, **config):
        key = hashlib.sha256(json.dumps([parameters, config.get("identity")]).encode()).hexdigest()[:16]
        folder = tmp_path / "runs" / notebook / (key if reason is None else f"{key}-failed")
        folder.mkdir(parents=True)
        content = {
            "notebook": f"{notebook}.ipynb",
            "parameters": parameters,
            "identity": IDENTITY,
            "started": "2025-03-01T10:00:00+00:00",
            "seconds": 30.5,
            "python": "3.11.7",
            "versions": {"torch": "2.14.1"},
        }
        (folder / "config.json").write_text(json.dumps({**content, **config}))
        (folder / "metrics.json").write_text(json.dumps(list(rows)))
        if reason is not None:
            (folder / "failure.json").write_text(json.dumps({"reason": reason, "cell": 3}))
        return folder

    return write


def three_networks(depth=20, dual_lr=0.0003, seed=0):
    """Rows as the lesson records them, with numbers that can be told again from the parameters."""
    removed = {"removed at step": None, "removed by": None}
    step = {0.0: 300, 0.0003: 500, 0.003: 100}[dual_lr] + seed
    van = 0.7 + 0.01 * seed + {0.0: 0.05, 0.0003: 0.02, 0.003: 0.0}[dual_lr]
    return [
        {"network": "plain", "test accuracy": 0.8 - depth / 100, "skips left": 0, **removed, "seconds": 9.0},
        {"network": "residual", "test accuracy": 0.85, "skips left": depth, **removed, "seconds": 9.0},
        {
            "network": "van",
            "test accuracy": van,
            "skips left": 0,
            "removed at step": step,
            "removed by": "multipliers",
            "seconds": 11.0,
        },
    ]


@pytest.fixture
def sweep(write_run, tmp_path):
    """2 depths, 2 step sizes, 3 seeds, 3 networks; one of the runs failed."""
    grid = list(itertools.product([20, 40], [0.0003, 0.003], [0, 1, 2]))
    for depth, dual_lr, seed in reversed(grid):
        parameters = {**PARAMETERS, "depth": depth, "dual_lr": dual_lr, "seed": seed}
        is_last = (depth, dual_lr, seed) == grid[-1]
        rows = three_networks(depth, dual_lr, seed)
        write_run(
            parameters, rows[:1] if is_last else rows, reason="ValueError: <b>deep</b>" if is_last else None
        )
    return tmp_path / "runs"


def write_sweep(write_run, varied, make_rows=three_networks, **config):
    """Write a run for each point of a grid."""
    for values in itertools.product(*varied.values()):
        point = dict(zip(varied, values, strict=True))
        write_run({**PARAMETERS, **point}, make_rows(**point), **config)


class Page(HTMLParser):
    """The texts of a page, and its elements with their attributes."""

    def __init__(self, path):
        super().__init__()
        self.elements = []
        self.texts = []
        self.open = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open) and data.strip():
            self.texts.append(data.strip())

    @property
    def text(self):
        return "\n".join(self.texts)

    def section(self, title):
        return re.split(r"\n(?:Depth|Step sizes|Spread|Failures)\n", self.text.split(f"\n{title}\n")[1])[0]


def test_one_row_a_run_with_parameters_and_the_metrics_of_every_network(sweep):
    table = results(sweep)
    assert len(table) == 12
    assert table.columns[:3].tolist() == ["run", "notebook", "state"]
    assert table.columns[3:9].tolist() == list(PARAMETERS)
    assert table.columns[-3:].tolist() == ["seconds", "started", "reason"]
    row = table.query("depth == 40 and dual_lr == 0.0003 and seed == 2").iloc[0]
    assert row["van: test accuracy"] == pytest.approx(0.74)
    assert row["plain: test accuracy"] == pytest.approx(0.4)
    assert row["van: removed at step"] == 502
    assert pd.isna(row["residual: removed at step"])
    assert row["seconds"] == 30.5
    assert row["started"] == pd.Timestamp("2025-03-01 10:00", tz="UTC")
    assert "van: network" not in table


def test_the_folder_of_one_notebook_gives_the_same_table_as_that_of_all_runs(sweep):
    pd.testing.assert_frame_equal(results(sweep), results(sweep / LESSON))


def test_rows_are_sorted_by_parameters_as_numbers_whatever_finished_first(write_run, tmp_path):
    for depth in (100, 20, 9):
        for seed in (10, 2):
            write_run({**PARAMETERS, "depth": depth, "seed": seed})
    write_run({**PARAMETERS, "depth": 1}, notebook="01_degradation")
    table = results(tmp_path / "runs")
    assert table["notebook"].tolist() == ["01_degradation"] + [LESSON] * 6
    assert table["depth"].tolist() == [1, 9, 9, 20, 20, 100, 100]
    assert table["seed"].tolist() == [0, 2, 10, 2, 10, 2, 10]


def test_types_do_not_hang_on_the_numbers_or_the_gaps(write_run, tmp_path):
    write_run({**PARAMETERS, "lr": 1.0, "seed": 0}, [{"accuracy": 1.0, "step": None, "better": True}])
    write_run({**PARAMETERS, "lr": 2.0, "seed": 1}, [{"accuracy": None, "step": 7, "better": None}])
    types = results(tmp_path / "runs").dtypes.astype(str)
    assert types[["lr", "accuracy", "seconds"]].tolist() == ["Float64"] * 3
    assert types[["depth", "seed", "step"]].tolist() == ["Int64"] * 3
    assert types[["interactive", "better"]].tolist() == ["boolean"] * 2


def test_a_failed_run_is_a_row_with_its_reason_and_what_it_had_measured(sweep):
    failed = results(sweep).query("state == 'failed'")
    assert failed["reason"].tolist() == ["ValueError: <b>deep</b>"]
    assert failed[["depth", "dual_lr", "seed"]].iloc[0].tolist() == [40, 0.003, 2]
    assert failed["plain: test accuracy"].item() == pytest.approx(0.4)
    assert not failed["run"].item().endswith("-failed")


def test_a_run_that_failed_and_then_finished_counts_once_as_finished(write_run, tmp_path):
    write_run(rows=three_networks(), reason="OSError: no space")
    write_run(rows=three_networks())
    table = results(tmp_path / "runs")
    assert table["state"].tolist() == ["finished"]
    assert len(measurements(tmp_path / "runs")) == 3


def test_what_is_being_written_or_was_interrupted_is_no_run(write_run, tmp_path):
    write_run()
    other = write_run({**PARAMETERS, "seed": 1})
    shutil.copytree(other, other.with_name(f".{other.name}.part"))
    other.rename(other.with_name(f"{other.name}-interrupted"))
    (tmp_path / "runs" / LESSON / "notes").mkdir()
    assert results(tmp_path / "runs")["seed"].tolist() == [0]


def test_names_that_come_twice_are_told_apart(write_run, tmp_path):
    parameters = {"depth": 20, "state": "on", "seed": 0}
    write_run(parameters, [{"depth": 7, "seconds": 1.5, "accuracy": 0.5}])
    row = results(tmp_path / "runs").iloc[0]
    assert row["depth"] == 20
    assert row["depth (recorded)"] == 7
    assert row["state"] == "finished"
    assert row["state (parameter)"] == "on"
    assert (row["seconds"], row["seconds (recorded)"]) == (30.5, 1.5)
    assert row["accuracy"] == 0.5


def test_rows_that_no_text_tells_apart_are_numbered(write_run, tmp_path):
    write_run(rows=[{"network": "a", "accuracy": 0.5}, {"network": "a", "accuracy": 0.6}])
    write_run(
        {**PARAMETERS, "seed": 1}, [{"network": "a", "accuracy": 0.7}, {"network": "b", "accuracy": 0.8}]
    )
    table = results(tmp_path / "runs")
    assert table["1: accuracy"].tolist() == [0.5, 0.7]
    assert table["2: accuracy"].tolist() == [0.6, 0.8]
    assert table["2: network"].tolist() == ["a", "b"]


def test_the_first_text_that_tells_the_rows_apart_names_them(write_run, tmp_path):
    rows = [{"kind": "deep", "layers": 3, "method": name, "found": 1.5} for name in ("fold", "merge")]
    write_run(rows=rows)
    table = results(tmp_path / "runs")
    assert {"fold: found", "merge: found", "fold: kind"} <= set(table.columns)
    assert measurements(tmp_path / "runs")["row"].tolist() == ["fold", "merge"]


def test_measurements_have_a_row_for_each_run_and_recorded_row(sweep):
    table = measurements(sweep)
    assert len(table) == 11 * 3 + 1
    assert table["row"].tolist()[:3] == table["network"].tolist()[:3] == ["plain", "residual", "van"]
    assert table.query("state == 'failed'")["row"].tolist() == ["plain"]
    mean = table.query("state == 'finished'").groupby(["depth", "network"])["test accuracy"].mean()
    assert mean[40, "plain"] == pytest.approx(0.4)


@pytest.mark.parametrize("name", ["setting", "series", "panel", "seed", "runs", "row"])
def test_rows_may_be_named_by_any_column(write_run, tmp_path, name):
    def rows(dual_lr, seed):
        return [
            {name if key == "network" else key: value for key, value in row.items()}
            for row in three_networks()
        ]

    write_sweep(write_run, {"dual_lr": [0.0003, 0.003], "seed": [0, 1]}, rows)
    assert results(tmp_path / "runs")["van: removed at step"].tolist() == [500] * 4
    assert "1: dual_lr 0.0003\nvan\n2\n500" in Page(report(tmp_path / "runs")).section("Step sizes")


def test_runs_that_recorded_nothing_are_in_the_results(write_run, tmp_path):
    write_run()
    assert results(tmp_path / "runs")["state"].tolist() == ["finished"]
    assert len(measurements(tmp_path / "runs")) == 0


def test_runs_of_another_torch_are_told_apart(write_run, tmp_path):
    write_run(rows=three_networks())
    assert "code" not in results(tmp_path / "runs")
    write_run(rows=three_networks(), identity={**IDENTITY, "torch": "2.13.0"})
    for table in (results(tmp_path / "runs"), measurements(tmp_path / "runs")):
        assert table["code"].nunique() == 2
        assert table.columns.get_loc("code") == 3


def test_two_notebooks_with_one_code_each_need_no_column_for_it(write_run, tmp_path):
    write_run()
    write_run(notebook="01_degradation", identity={**IDENTITY, "notebook": "d" * 64})
    assert "code" not in results(tmp_path / "runs")


def cut_off(folder):
    (folder / "config.json").write_text("{")


def no_metrics(folder):
    (folder / "metrics.json").unlink()


def metrics_of_another_shape(folder):
    (folder / "metrics.json").write_text('["accuracy"]')


def metrics_not_a_list(folder):
    (folder / "metrics.json").write_text('{"accuracy": 1}')


def not_utf8(folder):
    (folder / "config.json").write_bytes(b"\xff\xfe")


def edit_config(**changes):
    def edit(folder):
        content = {**json.loads((folder / "config.json").read_text()), **changes}
        (folder / "config.json").write_text(json.dumps(content))

    return edit


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (cut_off, r"config\.json cannot be read \(JSONDecodeError\)"),
        (not_utf8, r"config\.json cannot be read \(UnicodeDecodeError\)"),
        (no_metrics, r"metrics\.json is missing"),
        (metrics_of_another_shape, r"metrics\.json is not a list of rows"),
        (metrics_not_a_list, r"metrics\.json holds a dict, not a list"),
        (edit_config(identity=None), r"config\.json has no 'identity' that can be used"),
        (edit_config(versions=None), r"config\.json has no 'versions' that can be used"),
        (edit_config(started="yesterday"), r"config\.json has no time with a zone under 'started'"),
        (edit_config(started="2025-03-01T10:00:00"), r"config\.json has no time with a zone under 'started'"),
    ],
)
def test_a_damaged_folder_is_named_and_the_others_are_read(sweep, write_run, break_it, message):
    folder = write_run({**PARAMETERS, "seed": 9}, three_networks())
    break_it(folder)
    table = results(sweep)
    assert len(table) == 13
    assert (table["state"] == "finished").sum() == 11
    damaged = table.query("state == 'damaged'")
    assert damaged["run"].tolist() == [folder.name]
    assert re.fullmatch(rf".*{folder.name}/{message}: remove .*\.", damaged["reason"].item())
    assert damaged["reason"].item() in html.unescape(report(sweep).read_text(encoding="utf-8"))


@pytest.mark.parametrize("read", [results, measurements, report])
def test_no_folder_and_no_runs_are_one_sentence(read, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^There is no folder .*nowhere: name one .*\.$"):
        read(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r" holds no runs: name the folder .*\.$"):
        read(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_report_lies_in_the_folder_and_needs_nothing_from_outside(sweep):
    path = report(sweep)
    assert path == sweep / "report.html"
    page = Page(path)
    assert page.source.count("Plotly.newPlot(") >= 3
    assert page.source.count(get_plotlyjs()) == 1
    assert "default-src 'none'" in page.source
    assert page.source.count('"showSendToCloud": false') == page.source.count("Plotly.newPlot(")
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe")
        assert "src" not in attributes
        assert "href" not in attributes


def test_the_report_of_the_same_runs_is_the_same_page(sweep):
    assert report(sweep).read_bytes() == report(sweep).read_bytes()
    assert results(sweep)["state"].value_counts()["finished"] == 11  # the page is no run


def test_the_report_can_be_read_without_seeing_it(sweep):
    page = Page(report(sweep / LESSON))
    assert ("html", {"lang": "en"}) in page.elements
    assert "<title>Report on 05_phasing_out</title>" in page.source
    headings = [tag for tag, _ in page.elements if tag in ("h1", "h2", "h3")]
    assert headings == ["h1", "h2", *["h3"] * 5]
    tags = [tag for tag, _ in page.elements]
    assert tags.count("table") == tags.count("caption") == 4
    assert tags.count("figure") == tags.count("figcaption") == 3
    assert all(attributes["scope"] in ("row", "col") for tag, attributes in page.elements if tag == "th")


def test_the_report_says_what_was_run(sweep):
    text = Page(report(sweep)).text
    assert "12 runs: 11 finished, 1 failed." in text
    for name, values in {"depth": "20, 40", "dual_lr": "0.0003, 0.003", "seed": "0, 1, 2"}.items():
        assert f"{name} (varied)\n{values}\n" in text
    assert "fixed\nlr 0.003, device cpu, interactive False\n" in text
    assert "metric drawn\ntest accuracy\n" in text
    assert "from 2025-03-01 10:00 to 2025-03-01 10:00" in text
    assert "Python 3.11.7, torch 2.14.1" in text


def test_texts_from_files_are_not_read_as_html(write_run, tmp_path):
    evil = "<script>alert(1)</script>"
    for seed in (0, 1):
        rows = [{evil: name, f"{evil} accuracy": 0.5} for name in (evil, "b")]
        write_run({"depth": 2, evil: evil + str(seed), "seed": 0}, rows, versions={evil: evil})
    write_run({"depth": 2, evil: evil, "seed": 3}, reason=evil)
    page = Page(report(tmp_path / "runs"))
    assert evil in page.text
    assert evil not in page.source
    assert "\\u003cscript" not in page.source  # in a figure it would be plotly's to read


def test_the_reports_spread_is_that_of_a_sample(sweep):
    text = Page(report(sweep)).section("Spread")
    # Seeds 0, 1 and 2 of the VAN at depth 20: 0.72, 0.73, 0.74; the run that failed leaves two seeds at 40.
    assert "depth 20, dual_lr 0.0003\nvan\n3\n0.7300\n0.01000\n0.7200\n0.7400\n" in text
    assert "depth 40, dual_lr 0.003\nvan\n2\n0.7050\n0.00707\n0.7000\n0.7100" in text


def test_the_reports_frontier_holds_what_nothing_beats(write_run, tmp_path):
    write_sweep(write_run, {"dual_lr": [0.0, 0.0003, 0.003], "seed": [0, 1]})
    text = Page(report(tmp_path / "runs")).section("Step sizes")
    assert "1: dual_lr 0\nvan\n2\n300.5\n0.7071\n0.7550\n0.007071\nyes\n" in text
    assert "2: dual_lr 0.0003\nvan\n2\n500.5\n0.7071\n0.7250\n0.007071\nno\n" in text
    assert "3: dual_lr 0.003\nvan\n2\n100.5\n0.7071\n0.7050\n0.007071\nyes" in text
    assert "\nplain\n" not in text  # it has no skips to lose


def test_a_metric_of_which_less_is_better_has_the_other_frontier(write_run, tmp_path):
    def losses(dual_lr):
        rows = three_networks(dual_lr=dual_lr)
        return [{**row, "test loss": 1 - row["test accuracy"]} for row in rows]

    write_sweep(write_run, {"dual_lr": [0.0, 0.0003, 0.003]}, losses)
    text = Page(report(tmp_path / "runs", metric="test loss")).section("Step sizes")
    assert "Lower is better" in text
    assert re.findall(r"\n(yes|no)\b", text) == ["yes", "no", "yes"]


def test_a_setting_that_kept_skips_with_one_seed_is_not_on_the_frontier(write_run, tmp_path):
    def some_kept(dual_lr, seed):
        rows = three_networks(dual_lr=dual_lr, seed=seed)
        if (dual_lr, seed) == (0.003, 1):
            rows[2]["removed at step"] = None
        return rows

    write_sweep(write_run, {"dual_lr": [0.0003, 0.003], "seed": [0, 1]}, some_kept)
    text = Page(report(tmp_path / "runs")).section("Step sizes")
    assert "skips left in 1 of 2" in text
    assert re.findall(r"\n(yes|no)\b", text) == ["yes"]


def test_a_step_size_that_leaves_skips_everywhere_has_no_frontier_and_is_listed(write_run, tmp_path):
    def all_kept_with_one_seed(dual_lr, seed):
        rows = three_networks(dual_lr=dual_lr, seed=seed)
        return rows if seed else [*rows[:2], {**rows[2], "removed at step": None}]

    write_sweep(write_run, {"dual_lr": [0.0003, 0.003], "seed": [0, 1]}, all_kept_with_one_seed)
    page = Page(report(tmp_path / "runs"))
    assert page.section("Step sizes").count("skips left in 1 of 2") == 2
    assert [tag for tag, _ in page.elements].count("figure") == 1  # the spread's


def test_without_steps_of_removal_the_metric_is_drawn_against_the_step_size(write_run, tmp_path):
    write_sweep(
        write_run, {"dual_lr": [0.0, 0.003], "seed": [0, 1]}, lambda **point: three_networks(**point)[:2]
    )
    page = Page(report(tmp_path / "runs"))
    text = page.section("Step sizes")
    assert "No finished run recorded the step at which its skips had gone" in text
    assert "dual_lr (step size)" in page.source
    assert [tag for tag, _ in page.elements].count("figure") == 2


def test_sections_with_nothing_to_show_say_so(write_run, tmp_path):
    write_run(rows=three_networks())
    page = Page(report(tmp_path / "runs"))
    assert page.section("Depth") == "depth did not vary: it was 20 in every finished run."
    assert page.section("Step sizes") == "No step size varied: lr 0.003, dual_lr 0.0003."
    assert "Every setting ran with one seed: there is no spread to tell" in page.section("Spread")
    assert page.section("Failures") == "No run failed."


def test_a_notebook_without_depth_or_step_sizes_has_sections_that_say_so(write_run, tmp_path):
    write_run({"seed": 0}, [{"accuracy": 0.5}])
    page = Page(report(tmp_path / "runs"))
    assert page.section("Depth") == "The notebook has no parameter depth."
    assert page.section("Step sizes") == "The notebook has no step size among its parameters."


@pytest.mark.parametrize("rows", [[], [{"network": "a", "theory": "1e-3"}]])
def test_runs_that_recorded_no_number_have_a_report_too(write_run, tmp_path, rows):
    write_run(rows=rows)
    assert "No finished run recorded a number" in Page(report(tmp_path / "runs")).text


def test_runs_that_all_failed_have_a_report_too(write_run, tmp_path):
    write_run(reason="ValueError: too deep")
    text = Page(report(tmp_path / "runs")).text
    assert "1 run: 1 failed." in text
    assert "ValueError: too deep" in text


def test_a_number_that_is_missing_is_counted_and_not_passed_over(write_run, tmp_path):
    for seed in (0, 1, 2):
        write_run({**PARAMETERS, "seed": seed}, [{"accuracy": None if seed else 0.5}])
    text = Page(report(tmp_path / "runs")).section("Spread")
    assert "2 of 3 recorded rows have no number there" in text


def test_the_failed_runs_are_listed_with_parameters_and_reason(sweep):
    text = Page(report(sweep)).section("Failures")
    assert "1 of 12 runs failed." in text
    assert "depth 40, dual_lr 0.003, seed 2\nValueError: <b>deep</b>" in text


def test_a_metric_that_is_not_recorded_is_refused_with_those_that_are(sweep):
    message = (
        r"metric must be one of 'test accuracy', 'skips left', .*got 'accuracy'.*Did you mean 'test accuracy'"
    )
    with pytest.raises(ValueError, match=message):
        report(sweep, metric="accuracy")
    assert not (sweep / "report.html").exists()


def test_a_metric_is_refused_where_there_is_none(write_run, tmp_path):
    write_run()
    with pytest.raises(
        ValueError, match=r"No finished run in .* recorded a number: there is no 'accuracy' to draw"
    ):
        report(tmp_path / "runs", metric="accuracy")


def test_a_notebook_that_lacks_the_metric_asked_for_says_so(write_run, tmp_path):
    write_run(rows=three_networks())
    write_run(rows=[{"pixel accuracy": 0.5}], notebook="09_backward_skips")
    text = Page(report(tmp_path / "runs", metric="pixel accuracy")).text
    assert "No finished run of this notebook recorded 'pixel accuracy'." in text
    assert "Measurements" in text
    assert "pixel accuracy by setting" in text


def test_runs_with_different_code_are_not_averaged(write_run, tmp_path):
    write_sweep(write_run, {"seed": [0, 1]})
    write_sweep(write_run, {"seed": [0, 1]}, identity={**IDENTITY, "package": "d" * 64})
    page = Page(report(tmp_path / "runs"))
    headings = re.findall(r"<h2>(.*?)</h2>", page.source)
    assert len(headings) == len(set(headings)) == 2
    assert all(re.fullmatch(rf"{LESSON}, code [0-9a-f]{{8}}", heading) for heading in headings)
    assert "no mean is taken over them" in page.text
    assert page.text.count("all runs\nvan\n2\n") == 2


def test_parameters_that_are_words_make_lines_of_their_own(write_run, tmp_path):
    for combine, depth in itertools.product(["sum", "concat"], [2, 4]):
        write_run({"combine": combine, "depth": depth, "seed": 0}, [{"accuracy": 0.5 + depth / 100}])
    page = Page(report(tmp_path / "runs"))
    assert '"name":"combine sum"' in page.source
    assert "depth 4\ncombine concat\n1\n0.54" in page.section("Spread")


def test_a_parameter_that_is_a_list_is_shown_as_a_text(write_run, tmp_path):
    for seed in (0, None):
        write_run({"scales": [1, 2], "seed": seed}, [{"accuracy": 0.5}])
    assert results(tmp_path / "runs")["scales"].tolist() == ["[1, 2]"] * 2
    assert "scales [1, 2]" in Page(report(tmp_path / "runs")).text
