"""Headless runs: what is refused, what is kept, and what nobody finds half-written."""

import html
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from van_tutorial import batch
from van_tutorial._course import course_path
from van_tutorial.batch import store
from van_tutorial.batch.execute import make_task
from van_tutorial.batch.kernel import kernel_folder
from van_tutorial.batch.parameters import declared_parameters

LESSON = """
    from van_tutorial import batch
    import pandas as pd
    import plotly.graph_objects as go
    batch.record_metrics(pd.DataFrame({"network": ["a"], "accuracy": [lr], "step": [None]}))
    go.Figure(go.Scatter(x=[1, 2], y=[depth, 3]))
"""


@pytest.fixture
def write_notebook(tmp_path):
    def write(code=LESSON, tags=("parameters",), markdown="Formula $x_1 = \\alpha$, code `$HOME`."):
        parameters = (
            'depth: int = 3  # layers\nlr: float = 0.5  # learning rate\nname: str = "x"\nfast: bool = True'
        )
        cells = [
            nbformat.v4.new_markdown_cell(markdown),
            nbformat.v4.new_code_cell(parameters, metadata={"tags": list(tags)}),
            nbformat.v4.new_code_cell(textwrap.dedent(code).strip()),
        ]
        for number, cell in enumerate(cells):
            cell.id = f"cell-{number}"  # else one at random, and each call would write another notebook
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        path = tmp_path / "course" / "lesson.ipynb"
        path.parent.mkdir(exist_ok=True)
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
        return path

    return write


@pytest.fixture(scope="module")
def kept_runs(tmp_path_factory):
    """A place for the folder of a finished run of the notebook, for whoever asks first to fill it."""
    return tmp_path_factory.mktemp("kept") / "runs"


@pytest.fixture
def finished(write_notebook, tmp_path, kept_runs):
    """The notebook, and a finished run of it without a page in a folder of its own."""
    notebook = write_notebook()
    batch.run(notebook, runs=kept_runs, page=False)  # only once
    shutil.copytree(kept_runs, tmp_path / "runs")
    return notebook, batch.run(notebook, runs=tmp_path / "runs", page=False)


def left_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_run_keeps_notebook_page_metrics_and_what_it_was_made_with(write_notebook, tmp_path):
    finished = batch.run(write_notebook(), {"depth": "7", "lr": 2}, runs=tmp_path / "runs")
    assert finished.metrics == [{"network": "a", "accuracy": 2.0, "step": None}]
    assert list(finished.metrics[0]) == ["network", "accuracy", "step"]  # in the lesson's order
    assert json.loads((finished.folder / "metrics.json").read_text()) == finished.metrics
    config = json.loads((finished.folder / "config.json").read_text())
    assert config["parameters"] == {"depth": 7, "lr": 2.0, "name": "x", "fast": True}
    assert config["identity"].keys() == {"notebook", "package", "data", "torch"}
    assert config["versions"]["torch"]
    executed = nbformat.read(finished.notebook, as_version=4)
    assert executed.metadata.papermill.parameters == config["parameters"]
    log = (finished.folder / "run.log").read_text()
    assert "depth=7, lr=2.0" in log
    assert "cell [3]: completed" in log
    assert left_in(finished.folder) == [
        "config.json",
        "lesson.html",
        "lesson.ipynb",
        "metrics.json",
        "run.log",
    ]


def test_the_page_needs_nothing_from_outside(write_notebook, tmp_path):
    picture = tmp_path / "course" / "dot.svg"
    notebook = write_notebook(markdown="$x_1$ and $$\\frac{1}{2}$$ and `$HOME$` ![a dot](dot.svg)")
    picture.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    page = batch.run(notebook, runs=tmp_path / "runs").page.read_text(encoding="utf-8")
    assert "<msub><mi>x</mi><mn>1</mn></msub>" in page
    assert "<mfrac>" in page
    assert "<code>$HOME$</code>" in page
    assert 'src="data:image/svg+xml;base64,' in page
    assert "Plotly.newPlot" in page
    for address in ("cdnjs.cloudflare.com", "cdn.plot.ly/plotly", "unpkg.com", "dot.svg"):
        assert f'src="{address}' not in page
        assert f'src="https://{address}' not in page


def test_what_the_page_shows_has_a_name_and_its_headers_say_what_they_head(write_notebook, tmp_path):
    code = """
        import pandas as pd
        import plotly.graph_objects as go
        from IPython.display import display
        display(pd.DataFrame({"skips left": [7]}))
        go.Figure(layout={"title": {"text": "Norms & units<br><sup>Layer by layer</sup>"}}).show()
    """
    notebook = write_notebook(code=code, markdown="The rate $\\eta'$ of $\\lambda^2$.")
    page = batch.run(notebook, runs=tmp_path / "runs").page.read_text(encoding="utf-8")
    assert 'aria-label="Norms &amp; units Layer by layer"' in page
    assert '<th scope="col">skips left</th>' in page
    assert '<th scope="row">0</th>' in page
    assert page.count("<msup>") == 1  # the square; a prime as an exponent would be too small to see


def test_no_output_on_the_page_says_where_on_this_machine_something_lies(tmp_path):
    here, home = course_path("assets", "data.npz"), Path.home() / "mine.csv"
    paths = f"{here}; {sys.prefix}/lib/warning.py; {home}; https://example.org{home}"
    outputs = [
        nbformat.v4.new_output("stream", text=paths),
        nbformat.v4.new_output("display_data", data={"text/html": f"<p>{paths}</p>"}),
        nbformat.v4.new_output("error", ename="E", evalue=paths, traceback=[f"File \x1b[32m{here}\x1b[0m"]),
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=outputs)])
    before = notebook.copy()
    page = batch.make_page(notebook, "title", tmp_path)
    assert notebook == before
    body = page[page.rindex("<body") :]
    assert str(here) not in body
    assert body.count(f"{course_path().name}/assets/data.npz") == 3
    assert body.count(f"{Path(sys.prefix).name}/lib/warning.py") == 2
    assert body.count("~/mine.csv") == 2
    assert f"https://example.org{home}" in body


def test_code_that_is_folded_can_be_opened_on_the_page_and_its_output_is_in_sight(tmp_path):
    cells = [
        nbformat.v4.new_code_cell(source, outputs=[output], metadata=metadata)
        for source, output, metadata in (
            ("folded()", nbformat.v4.new_output("stream", text="found"), {"tags": ["hide-input"]}),
            ("open()", nbformat.v4.new_output("stream", text="more"), {}),
        )
    ]
    page = batch.make_page(nbformat.v4.new_notebook(cells=cells), "title", tmp_path)
    (folded,) = re.findall(r"<details[^>]*>.*?</details>", page, re.DOTALL)
    assert "folded" in folded
    assert "found" not in folded
    assert "open" in page.replace(folded, "")


def stamps(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_the_same_run_again_is_not_run(write_notebook, tmp_path):
    notebook = write_notebook()
    first = batch.run(notebook, {"depth": 3}, runs=tmp_path / "runs", page=False)
    before = stamps(first.folder)
    again = batch.run(notebook, {"lr": "0.5"}, runs=tmp_path / "runs", page=False)  # its default
    assert (first.is_new, again.is_new) == (True, False)
    assert again.metrics == first.metrics
    assert stamps(again.folder) == before
    with_page = batch.run(notebook, runs=tmp_path / "runs")
    assert not with_page.is_new
    assert with_page.page.is_file()


def test_force_replaces_the_run_when_the_new_one_is_whole(finished, tmp_path):
    notebook, first = finished
    before = stamps(first.folder)
    again = batch.run(notebook, runs=tmp_path / "runs", page=False, force=True)
    assert again.is_new
    assert again.folder == first.folder
    assert stamps(again.folder).keys() == before.keys()
    assert all(new > before[name] for name, new in stamps(again.folder).items())
    assert [path.name for path in (tmp_path / "runs" / "lesson").iterdir()] == [first.folder.name]


@pytest.mark.parametrize("what", ["notebook", "parameters", "package", "data", "torch"])
def test_a_run_with_anything_changed_is_a_new_run(finished, write_notebook, tmp_path, monkeypatch, what):
    notebook, first = finished
    if what == "notebook":
        write_notebook(code=f"{LESSON}    # the same, but not to the letter")
    elif what == "torch":
        monkeypatch.setattr(store, "version", lambda package: "2.6.0")
    elif what != "parameters":
        monkeypatch.setattr(store, f"{what}_digest", lambda: "another")
    parameters = {"depth": 4} if what == "parameters" else {}
    other = batch.run(notebook, parameters, tmp_path / "runs", page=False)
    assert other.is_new
    assert other.folder != first.folder


def test_the_packages_digest_is_that_of_every_source_file(tmp_path, monkeypatch):
    package = tmp_path / "van_tutorial"
    shutil.copytree(store.course_path("van_tutorial"), package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(store.van_tutorial, "__file__", str(package / "__init__.py"))
    before = store.package_digest()
    (package / "note.txt").write_text("no source")
    assert store.package_digest() == before
    (package / "models" / "mlp.py").write_text((package / "models" / "mlp.py").read_text() + "\n")
    changed = store.package_digest()
    assert changed != before
    (package / "data" / "sets.toml").write_text((package / "data" / "sets.toml").read_text() + "\n")
    assert store.package_digest() != changed


def test_a_networks_identity_hangs_on_the_rooms_that_train_it_alone(tmp_path, monkeypatch):
    package = tmp_path / "van_tutorial"
    shutil.copytree(store.course_path("van_tutorial"), package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(store.van_tutorial, "__file__", str(package / "__init__.py"))

    def identity_after(*parts):
        with package.joinpath(*parts).open("a") as file:
            file.write("\n")
        return store.identify(None)["package"]

    before = store.identify(None)["package"]
    assert identity_after("widgets", "panel.py") == identity_after("batch", "report.py") == before
    for parts in (("models", "mlp.py"), ("connections.py",), ("_random.py",), ("batch", "networks.py")):
        assert identity_after(*parts) != before
        before = store.identify(None)["package"]


def test_a_run_that_another_process_makes_is_refused_in_one_sentence(write_notebook, tmp_path):
    notebook = write_notebook()
    folder = tmp_path / "runs" / "lesson" / make_task(notebook, {}).key
    with store.claim(folder), pytest.raises(batch.BusyError, match="Another process is making this very run"):
        batch.run(notebook, runs=tmp_path / "runs")
    assert batch.run(notebook, runs=tmp_path / "runs", page=False).is_new


def test_a_run_that_was_killed_while_it_was_replaced_comes_back(finished, tmp_path):
    notebook, first = finished
    first.folder.rename(store.hidden(first.folder, "old"))
    store.hidden(first.folder, "part").mkdir()
    again = batch.run(notebook, runs=tmp_path / "runs", page=False)
    assert not again.is_new
    assert [path.name for path in first.folder.parent.iterdir()] == [first.folder.name]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"dept": 1}, "no parameter 'dept'.*Did you mean 'depth'"),
        ({"depth": "deep"}, "'depth' must be of type int"),
        ({"depth": 1.5}, "'depth' must be of type int"),
        ({"depth": True}, "'depth' must be of type int"),
        ({"lr": "fast"}, "'lr' must be of type float"),
        ({"fast": "yes"}, "'fast' must be of type bool"),
        ({"name": 3}, "'name' must be of type str"),
    ],
)
def test_a_parameter_that_the_notebook_does_not_declare_so_is_refused(write_notebook, parameters, message):
    with pytest.raises(batch.NotebookError, match=message):
        batch.check_parameters(write_notebook(), parameters)


def test_texts_from_a_command_line_get_the_declared_types(write_notebook):
    texts = {"depth": "60", "lr": "1e-3", "name": "a=b", "fast": "false"}
    assert batch.check_parameters(write_notebook(), texts) == {
        "depth": 60,
        "lr": 1e-3,
        "name": "a=b",
        "fast": False,
    }


def test_a_notebook_without_a_parameters_cell_is_refused(write_notebook, tmp_path):
    with pytest.raises(batch.NotebookError, match="no cell tagged 'parameters'"):
        batch.run(write_notebook(tags=()), runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_default_that_would_have_to_be_worked_out_is_refused_by_its_name(write_notebook):
    path = write_notebook()
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].source += "\nremove_by: float = 2 / 3  # share"
    nbformat.write(notebook, path)
    with pytest.raises(
        batch.NotebookError, match=r"'remove_by' of .* has the default 2 / 3, which is no plain"
    ):
        batch.check_parameters(path, {"depth": 3})


def test_a_text_with_a_hash_in_it_is_a_default_like_any_other(write_notebook):
    path = write_notebook()
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].source += "\ncolour: str = '#1f77b4'  # of the line\nnot_yet: int"
    nbformat.write(notebook, path)
    assert batch.check_parameters(path, {"colour": "#ff7f0e"}) == {"colour": "#ff7f0e"}
    assert "not_yet" not in declared_parameters(path)


def test_a_parameters_cell_that_is_not_python_is_refused(write_notebook):
    path = write_notebook()
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].source += "\ndepth = = 3"
    nbformat.write(notebook, path)
    with pytest.raises(batch.NotebookError, match="tagged 'parameters' is not Python"):
        batch.check_parameters(path, {"depth": 3})


def test_a_notebook_that_is_not_there_is_named_with_those_that_are(write_notebook):
    path = write_notebook()
    with pytest.raises(batch.NotebookError, match=r"there are lesson\.ipynb"):
        batch.run(path.with_name("lessen.ipynb"))


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"nbformat": 4, "cells": []}'])
def test_a_file_that_is_no_notebook_is_refused(tmp_path, content):
    path = tmp_path / "broken.ipynb"
    path.write_text(content)
    with pytest.raises(batch.NotebookError, match="not a notebook"):
        batch.run(path)


def test_a_failing_cell_is_named_and_what_was_done_is_kept_until_the_run_succeeds(write_notebook, tmp_path):
    code = """
        from pathlib import Path
        print("before")
        if not Path("mended").exists():
            raise ValueError("too deep")
    """
    notebook = write_notebook(code=code)
    for _ in range(2):
        with pytest.raises(batch.RunFailedError, match="ValueError: too deep"):
            batch.run(notebook, runs=tmp_path / "runs")
    (kept,) = (tmp_path / "runs").rglob("*.ipynb")
    assert kept.parent.name.endswith("-failed")
    assert "before" in kept.read_text()
    failure = json.loads((kept.parent / "failure.json").read_text())
    assert failure == {"reason": "ValueError: too deep", "cell": 3}
    (tmp_path / "course" / "mended").touch()
    finished = batch.run(notebook, runs=tmp_path / "runs", page=False)
    assert [path.name for path in finished.folder.parent.iterdir()] == [finished.folder.name]


def test_a_forced_run_that_fails_leaves_the_finished_one_alone(write_notebook, tmp_path):
    notebook = write_notebook(code="from pathlib import Path\nassert not Path('broken').exists()")
    first = batch.run(notebook, runs=tmp_path / "runs", page=False)
    before = stamps(first.folder)
    (tmp_path / "course" / "broken").touch()
    with pytest.raises(batch.RunFailedError, match="AssertionError"):
        batch.run(notebook, runs=tmp_path / "runs", page=False, force=True)
    assert stamps(first.folder) == before


def test_a_kernel_that_dies_is_a_failed_run_with_its_reason(write_notebook, tmp_path):
    with pytest.raises(batch.RunFailedError, match="Kernel died"):
        batch.run(write_notebook(code="import os; os._exit(1)"), runs=tmp_path / "runs")
    assert len(list((tmp_path / "runs").glob("lesson/*-failed/failure.json"))) == 1


def test_bars_are_passed_on_live_and_prints_are_not(write_notebook, tmp_path):
    class Terminal:
        text = ""

        def write(self, text):
            self.text += text

        def flush(self):
            pass

    code = """
        import sys
        from tqdm import tqdm
        for _ in tqdm(range(2), desc="training", file=sys.stdout):
            pass
        print("a table")
    """
    terminal = Terminal()
    finished = batch.run(write_notebook(code=code), runs=tmp_path / "runs", progress=terminal)
    assert "training:   0%" in terminal.text
    kept = finished.notebook.read_text(encoding="utf-8")
    assert "training: 100%" in kept
    assert "training:   0%" not in kept
    assert "training: 100%" in terminal.text
    assert "a table" not in terminal.text
    assert terminal.text.endswith("\n")


@pytest.mark.parametrize(
    ("most", "kept"),
    [(100, []), (200_000, ["config.json", "lesson.ipynb", "metrics.json", "run.log"])],  # bytes of a file
)
def test_a_full_disk_is_one_clear_sentence_and_leaves_what_is_whole_alone(
    write_notebook, tmp_path, most, kept
):
    code = f"""
        import resource, signal
        from van_tutorial import batch
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {resource.RLIM_INFINITY}))
        try:
            batch.run({str(write_notebook())!r}, runs={str(tmp_path / "runs")!r})
        except OSError as error:
            print("refused:", error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    said = done.stdout if not kept else done.stderr  # refused, or kept without its page, which a warning says
    assert "could not be written" in said
    assert [Path(path).name for path in left_in(tmp_path / "runs")] == kept


def test_recorded_results_are_named_when_one_is_not_there():
    with pytest.raises(ValueError, match="phase_out_mini"):
        batch.recorded("phase_out_min")


def test_a_summary_gives_mean_and_sample_deviation():
    recorded = batch.recorded("phase_out_mini")
    van = recorded.table.query("network == 'van'")["test_accuracy"]
    row = recorded.summary().query("network == 'van'").iloc[0]
    assert row["runs"] == 3
    assert row["mean"] == pytest.approx(sum(van) / 3)
    assert row["sd"] == pytest.approx((sum((van - sum(van) / 3) ** 2) / 2) ** 0.5)


def test_the_recorded_van_ends_without_skips_and_twelve_points_above_every_plain_network_from_its_start():
    recorded = batch.recorded("phase_out_mini")
    mean = recorded.summary().set_index("network")["mean"]
    plain = mean[[name for name in mean.index if name.startswith("plain") and "bias" not in name]]
    assert mean["van"] - plain.max() >= 0.12
    assert mean["van"] > mean["plain, BatchNorm bias 1"]  # a better start does nearly as much
    assert recorded.table.query("network == 'van'")["skips_left"].tolist() == [0, 0, 0]
    assert recorded.table["seed"].unique().tolist() == [0, 1, 2]


def test_a_folder_for_temporary_files_with_a_long_name_does_no_harm(write_notebook, tmp_path, monkeypatch):
    folder = tmp_path / ("y" * 100)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    assert batch.run(write_notebook(), runs=tmp_path / "runs").is_new


def test_a_run_whose_page_cannot_be_made_is_kept_and_gets_its_page_later(
    write_notebook, tmp_path, monkeypatch
):
    notebook = write_notebook()
    with monkeypatch.context() as patched:
        patched.setattr(sys.modules["van_tutorial.batch.run"], "make_page", lambda *_: 1 / 0)
        with pytest.warns(UserWarning, match=r"page of .* could not be made \(ZeroDivisionError"):
            run = batch.run(notebook, runs=tmp_path / "runs")
    assert run.is_new
    assert run.page is None
    run = batch.run(notebook, runs=tmp_path / "runs")
    assert not run.is_new
    assert run.page.exists()


def figure(content):
    data = {"application/vnd.plotly.v1+json": content, "text/plain": "Figure()"}
    return nbformat.v4.new_output("display_data", data=data)


@pytest.mark.parametrize("formula", ["\\frac{", "\\left( x", "x_1_2", "\\begin{matrix} a & <b>", "^"])
def test_a_formula_that_cannot_be_drawn_stands_on_the_page_as_it_is_written(tmp_path, formula):
    cell = nbformat.v4.new_markdown_cell(f"See ${formula}$ and $y^2$.")
    page = batch.make_page(nbformat.v4.new_notebook(cells=[cell]), "title", tmp_path)
    assert f"<code>{html.escape(formula)}</code> (a formula that cannot be drawn)" in page
    assert "<msup>" in page


def test_a_formula_is_drawn_across_a_line_end_and_in_an_environment_and_not_in_code(tmp_path):
    source = "See $a \\cdot\nb$, \\$5, and\n\n\\begin{equation}c = d\\end{equation}\n\n```\n$e$\n```"
    cell = nbformat.v4.new_markdown_cell(source)
    page = batch.make_page(nbformat.v4.new_notebook(cells=[cell]), "title", tmp_path)
    assert page.count("<math") == 2
    assert "<mi>b</mi>" in page
    assert 'display="block"' in page
    assert "$5" in page
    assert "$e$" in page


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"data": [], "layout": {"title": "A text & more"}}, "A text &amp; more"),
        ({"data": [], "layout": {"title": {"text": 3}}}, "Figure"),
        ({"data": [], "layout": None}, "Figure"),
        ([1, 2], "Figure"),
        ("no figure", "Figure"),
    ],
)
def test_a_figure_in_whatever_form_has_its_place_on_the_page(tmp_path, content, name):
    cell = nbformat.v4.new_code_cell("draw()", outputs=[figure(content)])
    page = batch.make_page(nbformat.v4.new_notebook(cells=[cell]), "title", tmp_path)
    assert f'aria-label="{name}"' in page


def test_a_picture_that_a_cell_holds_is_shown_and_one_that_is_lost_is_named(tmp_path):
    source = "A *text* with ![one](attachment:lost.png) and ![two](attachment:a%20dot.svg)."
    cell = nbformat.v4.new_markdown_cell(source, attachments={"a dot.svg": {"image/svg+xml": "PHN2Zy8+"}})
    page = batch.make_page(nbformat.v4.new_notebook(cells=[cell]), "title", tmp_path)
    assert "<em>one (this picture is missing)</em>" in page
    assert 'alt="two" src="data:image/svg+xml;base64,PHN2Zy8+"' in page


def test_only_pictures_of_the_notebooks_own_folder_and_its_assets_get_into_the_page(tmp_path):
    for name in ("secret.png", "assets/a.svg", "course/b.svg", "course/deep/c.svg", "course/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "course" / "d.png").symlink_to(tmp_path / "secret.png")
    names = [
        "../assets/a.svg",
        "b.svg",
        "deep/c.svg",
        "notes.txt",
        "../secret.png",
        "d.png",
        "/etc/passwd",
        "n" * 999,
    ]
    source = " ".join(f"![picture]({name})" for name in [*names, tmp_path / "secret.png", "nul\0.png"])
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(source)])
    page = batch.make_page(notebook, "title", tmp_path / "course")
    shown = re.findall(r'<img alt="picture" src="([^;"]*)', page)
    assert shown[:3] == ["data:image/svg+xml"] * 3
    assert not any(source.startswith("data:") for source in shown[3:])
    cell = nbformat.v4.new_markdown_cell("![picture](../../assets/a.svg)")  # as the instructor's have
    deeper = batch.make_page(nbformat.v4.new_notebook(cells=[cell]), "title", tmp_path / "course" / "deep")
    assert 'src="data:image/svg+xml' in deeper


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.DataFrame({("test", "mean"): [1], ("test", "sd"): [2]}), "plain column names, got 2 levels"),
        (pd.DataFrame([[1, 2]], columns=["loss", "loss"]), "more than one column 'loss'"),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), "more than one column '1'"),
    ],
)
def test_a_table_that_would_not_be_kept_whole_is_refused_where_it_is_recorded(table, message):
    with pytest.raises(ValueError, match=message):
        batch.record_metrics(table)
    with pytest.raises(TypeError, match="must be a pandas DataFrame, got dict"):
        batch.record_metrics({"loss": 1})


@pytest.fixture
def short_path():
    """A folder whose path leaves room for a kernel's sockets, as `tmp_path` does not."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_folders_of_kernels_whose_process_was_killed_are_removed_by_the_next(short_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(short_path))
    code = """
        import os, signal
        from van_tutorial.batch.kernel import kernel_folder
        with kernel_folder():
            os.kill(os.getpid(), signal.SIGKILL)
    """
    environment = {**os.environ, "TMPDIR": str(short_path)}
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False, env=environment)
    (left,) = short_path.glob("van-*")
    (short_path / "van-kernel-of-mine").mkdir()
    with kernel_folder():
        assert left.exists()  # its kernel may still be starting
    long_ago = time.time() - 3600
    os.utime(left, (long_ago, long_ago))
    with kernel_folder() as folder, kernel_folder():
        assert folder.exists()
        assert not left.exists()
    assert [path.name for path in short_path.iterdir()] == ["van-kernel-of-mine"]


def test_kernel_sockets_are_gone_after_a_run(write_notebook, tmp_path):
    look = "import os\nassert any(name.startswith('van-') for name in os.listdir(os.environ['TMPDIR']))"
    code = f"from van_tutorial import batch; batch.run({str(write_notebook(code=look))!r}, runs='runs')"
    with tempfile.TemporaryDirectory(dir="/tmp") as short:  # where a name is too long, sockets lie elsewhere
        subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, check=True, env={**os.environ, "TMPDIR": short}
        )
        assert list(Path(short).iterdir()) == []
    assert not list((tmp_path / "course").glob("kernel*"))


NAMES = ["metrics.json", "config.json", "lesson.ipynb"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("breaks", ["missing", "a pipe", "no JSON"])
def test_a_damaged_run_is_named(finished, tmp_path, name, breaks):
    notebook, run = finished
    path = run.folder / name
    path.unlink()
    if breaks == "a pipe":
        os.mkfifo(path)
    elif breaks == "no JSON" and name != "lesson.ipynb":
        path.write_text("{")
    with pytest.raises(ValueError, match=r"The run that is there is damaged: .*--force"):
        batch.run(notebook, runs=tmp_path / "runs", page=False)


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_run_is_made_again_by_force(finished, tmp_path, name):
    notebook, run = finished
    (run.folder / name).unlink()
    os.mkfifo(run.folder / name)
    again = batch.run(notebook, runs=tmp_path / "runs", page=False, force=True)
    assert again.is_new
    assert again.notebook.is_file()
