"""The course as a web site: every page is found, figures are drawn, anyone can read it, nothing leaves the machine."""

import contextlib
import re
import subprocess
import sys
import textwrap
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browsing import in_browser, watch
from tools import site as tool
from van_tutorial import batch, cli, playground, widgets
from van_tutorial._course import course_path

LESSONS = ("02_vanishing_exploding", "06_multiplier_dynamics")
NOTEBOOKS = (*LESSONS, "playground")
COLOURS = {
    "runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
}  # what a theme can change


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site of two lessons and the playground, with small networks, made as `make site` makes it."""
    folder = tmp_path_factory.mktemp("built")
    options = ["--quick", "--out", folder / "site", "--runs", folder / "runs", *NOTEBOOKS]
    command = [sys.executable, "-m", "tools.site", *map(str, options)]
    done = subprocess.run(
        command, cwd=course_path(), capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "site"


def pages_of(site):
    """Every page that holds something to read."""
    return [site / "index.html", *sorted(site.glob("notebooks/*.html")), *sorted(site.glob("docs/*.html"))]


def text_of(path):
    return path.read_text(encoding="utf-8")


@contextlib.contextmanager
def opened(browser, address, width=1300, theme="light"):
    """A page that must ask for nothing from outside and report no error."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    watch(page)
    page.goto(address)
    yield page
    page.close()
    assert page.failures == []
    assert [
        url for url in page.requested if not url.startswith(("file:", "http://127.0.0.1", "data:", "blob:"))
    ] == []


def test_the_contents_lead_to_every_page_and_ask_every_lessons_question(site):
    contents = text_of(site / "index.html")
    main = contents[contents.index("<article") : contents.index("</article>")]
    for page in pages_of(site)[1:]:
        assert f'href="{page.relative_to(site).as_posix()}"' in main
    for name in NOTEBOOKS:
        first = nbformat.read(course_path("notebooks", f"{name}.ipynb"), as_version=4).cells[0].source
        assert re.search(r"^\*(.+)\*$", first, re.MULTILINE)[1] in main
    assert {path.stem for path in course_path("docs").glob("*.md")} == {
        path.stem for path in site.glob("docs/*.html")
    }


def test_next_and_previous_lead_through_the_course(site):
    links = {
        name: dict(re.findall(r'<link rel="(next|prev)" title="[^"]*" href="([^"]+)"', text_of(page)))
        for name, page in [(name, site / "notebooks" / f"{name}.html") for name in NOTEBOOKS]
    }
    assert links["02_vanishing_exploding"] == {"prev": "../index.html", "next": "playground.html"}
    assert links["playground"] == {  # it is lesson 5's, which is not here
        "prev": "02_vanishing_exploding.html",
        "next": "06_multiplier_dynamics.html",
    }
    assert links["06_multiplier_dynamics"]["next"].startswith("../docs/")


def test_pages_hold_outputs_formulas_and_pictures_with_their_words(site):
    page = text_of(site / "notebooks" / "06_multiplier_dynamics.html")
    assert "<math" in page
    assert "\\alpha" not in page[page.index("<article") :].partition("Plotly.newPlot")[0]
    assert "Plotly.newPlot" in page
    assert 'alt="A mass alpha on a spring' in page
    assert '<th scope="col">' in page
    assert "For the instructor" not in page


REPLAY = """
    from IPython.display import Audio, display
    display(Audio(data=[0.0, 0.5] * 100, rate=8000))
    html = '<div id="replay"></div><script type="module">Plotly.newPlot("replay", [{y: [1, 2]}])</script>'
    figure = {"data": [], "layout": {}}
    display({"text/html": html, "application/vnd.plotly.v1+json": figure}, raw=True)
    # %%
    from types import SimpleNamespace
    from IPython.display import Markdown
    prediction = SimpleNamespace(show=lambda text: display(Markdown(text)))
    # %%
    prediction.show(r"So $\\omega$ is [a word](../docs/words.md).")
    # %%
    interactive = False
    some_panel = "Panel {interactive}".format
    print(some_panel(interactive=interactive))
"""


def write_course(root, code="depth", document="# Words\n"):
    """Write a course of one notebook and one document."""
    folder = root / "course"
    for name in ("notebooks/instructor", "docs", "assets/figures"):
        (folder / name).mkdir(parents=True)
    cells = [
        nbformat.v4.new_markdown_cell("# 1 · Small\n\n*Is it small?*\n\n[words](../docs/words.md)"),
        nbformat.v4.new_code_cell("depth: int = 3  # layers", metadata={"tags": ["parameters"]}),
        *map(nbformat.v4.new_code_cell, textwrap.dedent(code).strip().split("# %%\n")),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "notebooks" / "small.ipynb")
    (folder / "notebooks" / "instructor" / "small.ipynb").write_text("{}")
    (folder / "docs" / "words.md").write_text(document)
    return folder


@pytest.fixture
def call(monkeypatch, capsys):
    """A function that calls the tool, and returns its status, what it said and what it complained of."""

    def call(*options):
        return cli.call(tool.main, list(map(str, options))), *capsys.readouterr()

    return call


def test_a_folder_with_something_else_is_left_alone(tmp_path, call):
    (tmp_path / "letter.txt").write_text("dear reader")
    status, _, complaint = call("--out", tmp_path)
    assert status == 1
    assert "holds something else than a site: name another folder with --out." in complaint
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_name_that_is_no_notebooks_is_refused_with_those_there_are(tmp_path, call):
    status, _, complaint = call("--out", tmp_path / "site", "05_phasing")
    assert status == 1
    assert "There is no notebook '05_phasing', only 00_start_here, 01_degradation, " in complaint


LINKS = "# Words\n\n[lesson](../notebooks/small.ipynb)\n\n[solutions](../notebooks/instructor/small.ipynb)"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A course of one notebook, and where its site and its runs are."""
    folder = tmp_path_factory.mktemp("small")
    places = write_course(folder, code=REPLAY, document=LINKS), [], folder / "site", folder / "runs"
    tool.make(*places)
    return places


def test_what_ran_is_not_run_again(small, capsys):
    tool.make(*small)
    assert "is there" in capsys.readouterr().out


def test_links_hold_between_pages_and_words_stay_where_a_file_is_not_on_the_site(small):
    _, _, site, _ = small
    assert 'href="../docs/words.html"' in text_of(site / "notebooks" / "small.html")
    document = text_of(site / "docs" / "words.html")
    assert 'href="../notebooks/small.html"' in document
    assert "solutions" in document
    assert "instructor" not in document


def test_text_that_code_shows_is_text_as_any_other_and_its_code_is_not_there(small):
    page = text_of(small[2] / "notebooks" / "small.html")
    assert re.search(
        r'So <math [^>]*>.*</math> is <a class="reference internal" href="../docs/words.html">', page
    )
    assert "\\omega" not in page
    assert page.index("Predict first. Then show the result") < page.index("So <math")


def test_where_a_panel_stands_still_the_page_says_where_its_controls_are(small):
    page = text_of(small[2] / "notebooks" / "small.html")
    assert page.count("To press the controls, open this notebook by") == 1
    assert page.index("Panel False") < page.index("To press the controls")


def test_a_link_that_leads_nowhere_is_an_error_and_the_earlier_site_stays(tmp_path, capfd):
    course, site = write_course(tmp_path, document="# Words\n\n[lost](nowhere.md)\n"), tmp_path / "site"
    site.mkdir()
    (site / "objects.inv").write_text("an earlier site")
    with pytest.raises(tool.SiteError, match="not made"):
        tool.make(course, [], site, tmp_path / "runs")
    assert "nowhere.md" in capfd.readouterr().err
    assert [path.name for path in site.iterdir()] == ["objects.inv"]


def test_a_lesson_that_fails_is_named(tmp_path):
    course = write_course(tmp_path, code="raise ValueError('too deep')")
    with pytest.raises(batch.RunFailedError, match=r"A cell of small.ipynb failed: ValueError: too deep"):
        tool.make(course, [], tmp_path / "site", tmp_path / "runs")
    assert not (tmp_path / "site").exists()


@in_browser
def test_the_playgrounds_run_replays_without_a_kernel(browser, site):
    with opened(browser, (site / "notebooks" / "playground.html").as_uri()) as page:
        expect(page.locator(".van-replay .js-plotly-plot .scatterlayer path.js-line").first).to_be_attached()
        drawing = page.locator(".van-network-drawing")
        expect(drawing).to_have_attribute("aria-label", re.compile(": 0 of 40 skips left"))
        page.get_by_label("moment").focus()
        page.keyboard.press("Home")
        expect(drawing).to_have_attribute("aria-label", re.compile("at step 0 of .*: 40 of 40 skips left"))


@in_browser
def test_a_drawing_without_its_figure_replays_where_there_is_no_plotly(browser, tmp_path):
    vans = (run for run in playground.recorded() if run.settings.connection == "van")
    run = next(run for run in vans if (run.settings.depth, run.num_skips(-1)) == (20, 0))
    bundle = widgets.Replay(run, tuple(playground.beside(run)), has_figure=False)._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    path = tmp_path / "drawing.html"
    path.write_text(f"<!doctype html><title>{bundle['text/plain']}</title>{bundle['text/html']}", "utf-8")
    with opened(browser, path.as_uri()) as page:
        drawing = page.locator(".van-network-drawing")
        expect(drawing).to_have_attribute("aria-label", re.compile("at step 0 of .*: 20 of 20 skips left"))
        page.get_by_role("button", name="Play").click()
        expect(drawing).to_have_attribute("aria-label", re.compile(": 0 of 20 skips left"), timeout=60_000)
        expect(page.locator(".van-score")).to_have_count(4)


@in_browser
def test_an_output_that_brings_its_own_html_draws_itself(small, browser):
    with opened(browser, (small[2] / "notebooks" / "small.html").as_uri()) as page:
        expect(page.locator("#replay.js-plotly-plot")).to_be_visible()


@in_browser
@pytest.mark.parametrize("which", ["one of each folder", pytest.param("all", marks=pytest.mark.slow)])
def test_no_page_has_a_serious_barrier_in_either_theme(site, browser, which):
    outside_figures = {"exclude": [[".main-svg"]]}  # what plotly draws has the figure's name
    by_folder = {path.parent: path for path in pages_of(site)}
    for path in pages_of(site) if which == "all" else by_folder.values():
        with opened(browser, path.as_uri()) as page:
            for theme in ("light", "dark"):
                page.emulate_media(color_scheme=theme, reduced_motion="reduce")
                rules = {} if theme == "light" else COLOURS
                options = {"preload": False, **rules}
                found = Axe().run(page, context=outside_figures, options=options).response
                grave = [
                    (rule["id"], node["html"][:200], node["failureSummary"])
                    for rule in found["violations"]
                    if rule["impact"] in ("serious", "critical")
                    for node in rule["nodes"]
                ]
                assert grave == [], (path.name, theme)


@in_browser
def test_every_figure_is_drawn_and_has_a_name(site, browser):
    for name in LESSONS:
        path = site / "notebooks" / f"{name}.html"
        with opened(browser, path.as_uri()) as page:
            figures = page.locator(".van-figure")
            assert figures.count() >= 3
            page.evaluate("document.querySelectorAll('details').forEach(fold => (fold.open = true))")
            for figure in figures.all():
                expect(figure.locator(".js-plotly-plot .main-svg").first).to_be_visible()
                assert len(figure.get_attribute("aria-label")) > 10


@in_browser
def test_the_front_page_plays_recorded_runs_from_step_0_and_asks_for_nothing(site, browser):
    for name in ("index.html", "live.html"):
        with opened(browser, (site / name).as_uri()) as page:
            words = page.locator(".van-live-words")
            expect(words).to_have_text("Step 390 of 390: 0 of 40 skips left.", timeout=60_000)
            expect(page.locator(".van-score")).to_have_count(4)
            expect(page.locator(".van-live-outcome")).to_contain_text("All removed since step")
            page.get_by_role("slider", name="moment").fill("3")
            expect(words).to_have_text("Step 48 of 390: 40 of 40 skips left; the accuracy dips.")
            expect(page.locator(".van-live-outcome")).to_contain_text("yet to learn to do without them")
            page.get_by_role("slider", name="moment").fill("2")
            expect(words).to_have_text("Step 32 of 390: 40 of 40 skips left.")
            styles = [bar.get_attribute("style") for bar in page.locator(".van-score").all()]
            assert len(set(re.findall(r"--run: (#\w{6})", " ".join(styles)))) == 4
            page.get_by_role("slider", name="depth").focus()
            page.keyboard.press("Home")
            expect(words).to_contain_text(re.compile("of 10 skips left"))
            page.get_by_role("button", name="Pause").click()
            page.get_by_role("slider", name="moment").focus()
            page.keyboard.press("Home")
            expect(words).to_have_text("Step 0 of 390: 10 of 10 skips left.")
            names = page.locator(".van-score-name")
            expect(names).to_have_text(
                ["VAN, BatchNorm bias 1", "plain, BatchNorm bias 1", "residual", "plain"]
            )
            page.get_by_role("slider", name="depth").focus()
            page.keyboard.press("End")
            expect(names.first).to_have_text("VAN, BatchNorm bias 2")
            page.get_by_role("slider", name="dual learning rate").focus()
            page.keyboard.press("Home")
            page.get_by_role("slider", name="moment").focus()
            page.keyboard.press("End")
            expect(words).to_have_text("Step 390 of 390: 100 of 100 skips left; the accuracy dips.")
            expect(page.locator(".van-live-outcome")).to_contain_text("too slowly to remove a skip")
            if name == "live.html":
                assert page.requested == [(site / name).as_uri()]
    assert (site / "live.html").stat().st_size < 3e6


@in_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_on_the_front_page_arcs_and_accuracies_are_in_sight_together_at_every_depth(site, browser, width):
    with opened(browser, (site / "index.html").as_uri(), width=width) as page:
        page.emulate_media(reduced_motion="reduce")
        page.reload()  # nothing plays
        page.set_viewport_size({"width": width, "height": 800})
        depth = page.get_by_role("slider", name="depth")
        for value in range(4):
            depth.fill(str(value))
            page.get_by_role("button", name="Pause").click()
            page.wait_for_timeout(300)
            boxes = [page.locator(f".van-live-{part}").bounding_box() for part in ("network", "chart")]
            top, bottom = boxes[0]["y"], boxes[1]["y"] + boxes[1]["height"]
            assert bottom - top < 700
            assert width == 390 or 0 < top < bottom <= 800
            assert page.locator(".van-network text").first.bounding_box()["height"] > 8


def test_the_dual_learning_rate_of_the_front_page_decides_how_many_skips_are_left():
    vans = [run for run in playground.recorded() if run.settings.connection == "van"]
    left = {
        (run.settings.depth, run.settings.stagger, run.settings.dual_lr): run.num_skips(-1) for run in vans
    }
    depths, orders, rates = (sorted(set(values)) for values in zip(*left, strict=True))
    assert len(left) == len(depths) * len(orders) * len(rates)
    for depth in depths:
        for order in orders:
            numbers = [left[depth, order, rate] for rate in rates]
            assert numbers[0] == depth
            assert numbers[-1] == 0
            assert numbers == sorted(numbers, reverse=True)
    usual = playground.Settings().sized(num_images=5000).dual_lr
    assert usual == pytest.approx(10 * rates[-1])  # as the text of the playground says


@in_browser
def test_figures_are_dark_on_a_dark_page(site, browser):
    path = site / "notebooks" / f"{LESSONS[0]}.html"
    for theme, look in (("light", "none"), ("dark", "invert(1) hue-rotate(180deg)")):
        with opened(browser, path.as_uri(), theme=theme) as page:
            figure = page.locator(".js-plotly-plot").first
            assert figure.evaluate("figure => getComputedStyle(figure).filter") == look


@in_browser
def test_no_page_is_wider_than_a_narrow_window(site, browser):
    for path in pages_of(site):
        with opened(browser, path.as_uri(), width=390) as page:
            widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
            assert widths[0] <= widths[1], path.name
            for box in page.locator("article pre, .van-figure").all()[:40]:
                is_wider = box.evaluate("box => box.scrollWidth > box.clientWidth")
                assert is_wider == (box.get_attribute("tabindex") == "0")


@pytest.fixture(scope="module")
def server(site):
    """Serve the site on the loopback address, and give its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@in_browser
@pytest.mark.parametrize("is_served", [True, False], ids=["from a server", "from a folder"])
def test_search_finds_a_word(site, server, browser, is_served):
    start = f"{server}/index.html" if is_served else (site / "index.html").as_uri()
    with opened(browser, start) as page:
        box = page.get_by_role("textbox", name="Search")
        box.fill("spring")
        box.press("Enter")
        results = page.locator("#search-results li a")
        expect(results.filter(has_text="Multiplier dynamics").first).to_be_visible()
        results.filter(has_text="Multiplier dynamics").first.click()
        heading = page.get_by_role("heading", level=1)
        expect(heading).to_contain_text("Multiplier dynamics", timeout=30_000)  # plotly comes first


@in_browser
def test_the_theme_can_be_switched(site, browser):
    with opened(browser, (site / "index.html").as_uri()) as page:
        seen = set()
        for _ in range(3):
            page.locator("button.theme-toggle:visible").first.click()
            seen.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert len(seen) == 2
