"""The page on many runs: what is counted, what is not averaged, what is said where there is nothing."""

import itertools
import json
import re
from html.parser import HTMLParser

import nbformat
import pytest
from plotly.offline import get_plotlyjs

from tests.storing import IDENTITY, LESSON, PARAMETERS, three_networks, write_grid, write_run, write_sweep
from van_tutorial import batch, cli

EVIL = "<script>alert(1)</script>"


class Page(HTMLParser):
    """The texts of a page, and its elements with their attributes."""

    def __init__(self, path):
        super().__init__()
        self.elements = []
        self.texts = []
        self.open = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = "\n".join(self.texts)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open) and data.strip():
            self.texts.append(data.strip())

    def section(self, title):
        titles = "What varied|How soon the skips are removed|Spread over the seeds|Failures"
        return re.split(rf"\n(?:{titles})\n", self.text.split(f"\n{title}\n")[1])[0]

    def figures(self):
        """Return the accessible names of the figures."""
        return [
            attributes["aria-label"] for _, attributes in self.elements if attributes.get("role") == "figure"
        ]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """The folder of a sweep whose page was made by the console script."""
    runs = tmp_path_factory.mktemp("sweep") / "runs"
    write_sweep(runs)
    damaged = write_run(runs, {**PARAMETERS, "seed": 9}, three_networks())
    (damaged / "metrics.json").write_text("[")
    assert cli.main(["report", str(runs / LESSON)]) == 0
    return runs / LESSON


@pytest.fixture(scope="module")
def shown(sweep):
    return Page(sweep / "report.html")


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """The page on notebooks each of which is a case of its own."""

    def some_kept(dual_lr, seed):
        rows = three_networks(dual_lr=dual_lr, seed=seed)
        if (dual_lr, seed) == (0.003, 1):
            rows[2]["removed at step"] = None
        return rows

    def losses(dual_lr):
        rows = three_networks(dual_lr=dual_lr)
        return [
            {
                "network": row["network"],
                "test loss": 1 - row["test accuracy"],
                "removed at step": row["removed at step"],
            }
            for row in rows
        ]

    runs = tmp_path_factory.mktemp("cases") / "runs"
    write_run(runs, notebook="nothing")
    write_run(runs, rows=[{"network": "a", "theory": "1e-3"}], notebook="texts")
    write_run(runs, reason="ValueError: too deep", notebook="all_failed")
    write_run(runs, rows=three_networks(), notebook="single")
    write_grid(runs, {"dual_lr": [0.0003, 0.003], "seed": [0, 1]}, some_kept, notebook="some_kept")
    write_grid(runs, {"dual_lr": [0.0, 0.0003, 0.003]}, losses, notebook="losses")
    without_steps = {"dual_lr": [0.0, 0.003, None], "seed": [0, 1]}
    write_grid(
        runs, without_steps, lambda dual_lr, seed: three_networks(seed=seed)[:2], notebook="without_steps"
    )
    for code in ("e", "f"):
        identity = {**IDENTITY, "package": code * 64}
        write_grid(runs, {"seed": [0, 1]}, three_networks, notebook="two_codes", identity=identity)
    for combine, depth in itertools.product(["sum", "concat"], [2, 4]):
        parameters = {"combine": combine, "depth": depth, "scales": [1, 2]}
        write_run(runs, parameters, [{"accuracy": 0.5 + depth / 100}], notebook="words")
    for seed in (0, 1, 2):
        rows = [{"accuracy": None if seed else 0.5}]
        write_run(runs, {**PARAMETERS, "seed": seed}, rows, notebook="gaps")
    for seed in (0, 1):
        rows = [{EVIL: name, f"{EVIL} accuracy": 0.5} for name in (EVIL, "b")]
        write_run(runs, {"depth": 2, EVIL: EVIL + str(seed)}, rows, notebook="evil", versions={EVIL: EVIL})
    write_run(runs, {"depth": 2, EVIL: EVIL}, reason=EVIL, notebook="evil")
    for name in ("series", "setting", "at", "panel", "value", "runs", "row"):
        rows = [
            {name if key == "network" else key: value for key, value in row.items()}
            for row in three_networks()
        ]
        write_run(runs, {"panel": 1, "series": 2}, rows, notebook=f"named_by_{name}")
    return Page(batch.report(runs))


def test_the_page_and_the_notebook_lie_in_the_folder_and_need_nothing_from_outside(sweep, shown):
    assert shown.source.count("Plotly.newPlot(") == 4
    assert shown.source.count(get_plotlyjs()) == 1
    for tag, attributes in shown.elements:
        assert tag not in ("link", "img", "iframe")
        assert "src" not in attributes
        assert "href" not in attributes
    executed = nbformat.read(sweep / "report.ipynb", as_version=4)
    assert any(cell.get("outputs") for cell in executed.cells)
    assert batch.results(sweep)["state"].value_counts()["finished"] == 11  # neither is a run


def test_the_page_can_be_read_without_seeing_it(shown):
    assert "<title>Report on 05_phasing_out</title>" in shown.source
    headings = [tag for tag, _ in shown.elements if tag in ("h1", "h2", "h3")]
    assert headings == ["h1", *["h2", "h3"] * 4, "h2"]
    assert all(attributes["scope"] in ("row", "col") for tag, attributes in shown.elements if tag == "th")
    assert [name.split(" Mean")[0] for name in shown.figures()[:2]] == [
        "test accuracy by depth",
        "test accuracy by dual_lr",
    ]
    assert "import plotly" not in shown.text  # what came out, not how


def test_the_page_says_what_was_run(shown):
    assert "13 runs: 11 finished, 1 failed, 1 damaged." in shown.text
    for name, values in {"depth": "20, 40", "dual_lr": "0.0003, 0.003", "seed": "0, 1, 2"}.items():
        assert f"{name} (varied)\n{values}\n" in shown.text
    assert "fixed\nlr 0.003, device cpu, interactive False\n" in shown.text
    assert "05_phasing_out: test accuracy is drawn. Recorded as well: skips left, " in shown.text
    assert "from 2025-03-01 10:00 to 2025-03-01 10:00" in shown.text
    assert "Made with Python 3.11.7, torch 2.14.1." in shown.text


def test_the_spread_is_that_of_a_sample(shown):
    text = shown.section("Spread over the seeds")
    # Seeds 0, 1 and 2 of the VAN at depth 20: 0.72, 0.73, 0.74; the run that failed leaves two seeds at 40.
    assert "depth 20, dual_lr 0.0003\nvan\n3\n0.73\n0.01\n0.72\n0.74\n" in text
    assert "depth 40, dual_lr 0.003\nvan\n2\n0.705\n0.007071\n0.7\n0.71" in text


def test_the_frontier_holds_what_nothing_beats_at_the_same_depth(shown):
    text = shown.section("How soon the skips are removed")
    assert "depth 20, dual_lr 0.003\n3\n3\n101\n1\n0.71\n0.01\nyes\n" in text
    assert "depth 20, dual_lr 0.0003\n3\n3\n501\n1\n0.73\n0.01\nyes" in text
    assert "depth 40, dual_lr 0.003\n2\n2\n100.5\n0.7071\n0.705\n0.007071\nyes\n" in text
    assert "\nplain\n" not in text  # it has no skips to lose


def test_what_failed_and_what_is_damaged_is_listed_with_its_reason(shown):
    text = shown.section("Failures")
    assert "2 of 13 runs failed or are damaged." in text
    assert "failed\ndepth 40, dual_lr 0.003, seed 2\nValueError: <b>deep</b>" in text
    assert re.search(r"damaged\n.*metrics\.json cannot be read \(JSONDecodeError\): remove its folder", text)


def test_a_setting_that_kept_skips_with_one_seed_is_not_compared(cases):
    rows = re.findall(
        r"dual_lr ([\d.]+)\n2\n(\d)\n(?:[\d.]+\n|–\n){4}(yes|no|–)",
        cases.section("How soon the skips are removed"),
    )
    assert ("0.003", "1", "–") in rows
    assert ("0.0003", "2", "yes") in rows


def test_of_a_loss_less_is_better(cases):
    text = cases.section("How soon the skips are removed")
    assert re.findall(r"dual_lr ([\d.]+)\n1\n1\n\d+\n–\n[\d.]+\n–\n(yes|no)", text)[-3:] == [
        ("0.003", "yes"), ("0", "yes"), ("0.0003", "no"),
    ]  # fmt: skip


def test_a_learning_rate_of_0_and_none_are_drawn_beside_the_others(cases):
    assert "without_steps\nNo finished run recorded the step" in cases.text
    assert '"x":["0","0.003","none"]' in cases.source


def test_sections_with_nothing_to_show_say_so(cases):
    assert "single\nNo number among the parameters varied." in cases.text
    assert "single\nEvery setting ran with one seed, so there is no spread." in cases.text
    assert "texts: no finished run recorded a number, nothing is drawn." in cases.text
    assert "all_failed\nwhat\nvalues\nruns\n1\n" in cases.text


def test_runs_with_different_code_are_not_averaged(cases):
    names = re.findall(r"^two_codes, code [0-9a-f]{8}$", cases.text, re.MULTILINE)
    assert len(set(names)) == 2
    assert "named by a short hash of what made them" in cases.text
    # Two seeds of either code, and never four.
    assert cases.text.count("all runs\nvan\n2\n0.725\n") == 2
    assert "all runs\nvan\n4\n" not in cases.text


def test_parameters_that_are_words_make_lines_of_their_own(cases):
    assert '"name":"combine sum"' in cases.source
    assert "depth 4\ncombine concat\n1\n0.54" in cases.section("Spread over the seeds")
    assert "scales [1, 2]" in cases.text


def test_a_number_that_is_missing_is_counted_and_not_passed_over(cases):
    assert "2 of 3 recorded rows have no number. They are not in n." in cases.text


def test_texts_from_files_are_not_read_as_html(cases):
    assert EVIL in cases.text
    assert EVIL not in cases.source
    assert "\\u003cscript" not in cases.source  # in a figure it would be plotly's to read


def test_rows_and_parameters_may_have_any_name(cases):
    assert cases.section("Spread over the seeds").count("all runs\nresidual\n1\n0.85\n") == 8


def test_a_copy_of_the_notebook_makes_the_page_of_ones_own(sweep, tmp_path, capsys):
    copy = nbformat.read(sweep / "report.ipynb", as_version=4)
    copy.cells = [*copy.cells[:4], nbformat.v4.new_code_cell("say(f'mine: {metric}, {len(runs)} runs')")]
    nbformat.write(copy, tmp_path / "mine.ipynb")
    command = ["report", str(sweep), "--metric", "skips left", "--notebook", str(tmp_path / "mine.ipynb")]
    assert cli.main(command) == 0
    assert capsys.readouterr().out == f"Page: {sweep / 'report.html'}\n"
    assert "mine: skips left, 13 runs" in Page(sweep / "report.html").text
    assert json.loads((tmp_path / "mine.ipynb").read_text())["nbformat"] == 4

    copy.cells[-1].source = "raise ValueError('mine')"
    nbformat.write(copy, tmp_path / "mine.ipynb")
    with pytest.raises(
        batch.RunFailedError, match=r"A cell of .*mine\.ipynb failed: ValueError: mine\. The notebook"
    ):
        batch.report(sweep, notebook=tmp_path / "mine.ipynb")
    assert "ValueError" in (sweep / "report.ipynb").read_text()


def test_a_metric_that_is_not_recorded_is_refused_with_those_that_are(tmp_path):
    write_run(tmp_path, rows=three_networks())
    write_run(tmp_path, reason="ValueError", rows=[{"loss": 1.0}], notebook="failed")
    message = (
        r"metric must be one of 'test accuracy', 'skips left', .*got 'accuracy'.*Did you mean 'test accuracy'"
    )
    with pytest.raises(ValueError, match=message):
        batch.report(tmp_path, metric="accuracy")
    assert not (tmp_path / "report.html").exists()
    with pytest.raises(
        ValueError, match=r"No finished run in .* recorded a number: there is no 'loss' to draw"
    ):
        batch.report(tmp_path / "failed", metric="loss")
