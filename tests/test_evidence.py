"""Every number in the prose of the course is traced to where it comes from (traces.yaml, tracing.py)."""

import re
from pathlib import Path

import pytest
import yaml

from tests import tracing
from van_tutorial import batch

ROOT = Path(__file__).parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in [
        ROOT / "README.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "notebooks" / "src").glob("*.py"),
    ]
}
TRACES = yaml.safe_load((Path(__file__).parent / "traces.yaml").read_text(encoding="utf-8"))
VAN = {"table": "cifar10", "rows": "network == 'van' and depth == 56", "column": "test_accuracy"}


def page(text):
    return tracing.Page("a page", text)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_every_number_in_the_prose_is_traced_and_is_what_its_source_gives(name):
    assert tracing.offences(tracing.Page.read(PAGES[name]), TRACES.get(name, [])) == []


def test_no_traces_are_left_of_a_page_that_is_gone():
    assert TRACES.keys() - PAGES.keys() == set()


def test_every_recorded_number_traces_to_a_result_that_says_how_to_make_it_again():
    tables = set(
        re.findall(r"table: (\w+)", (Path(__file__).parent / "traces.yaml").read_text(encoding="utf-8"))
    )
    assert len(tables) >= 10
    assert all(batch.recorded(name).command.startswith("python -m tools.") for name in tables)


def test_the_times_of_the_lessons_are_the_same_wherever_they_stand():
    heads = {}
    for name in sorted(PAGES):
        head = re.search(
            r"\*\*Time\*\*: (\d+) minutes .*? about (\d+) seconds", tracing.Page.read(PAGES[name]).text
        )
        if head:
            heads[int(Path(name).name[:2])] = head.groups()
    minutes, seconds = ([heads[number][k] for number in sorted(heads)] for k in (0, 1))
    overview = tracing.Page.read(PAGES["notebooks/src/00_start_here.py"]).text
    assert re.findall(r"\.ipynb\) \| [^|]+ \| (\d+) \|", overview) == minutes[1:]
    teaching = PAGES["docs/teaching.md"].read_text(encoding="utf-8")
    assert re.search(r"\| minutes with a learner \| (.*) \|", teaching)[1].split(" | ") == minutes
    assert re.search(r"\| seconds of computing \| (.*) \|", teaching)[1].split(" | ") == seconds


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("It has 0.845, .78 and\n-4.97.", ["0.845", ".78", "-4.97"]),
        ("20 % of it, 2.5% or two per cent", ["20 %", "2.5%", "two per cent"]),
        ("5,000 images, step 2000, $65{,}536$ bytes, 16 times", ["5,000", "2000", "65,536", "16"]),
        (r"$10^{-12}$ or $4 \cdot 10^{-6}$, and $0.38^{40}$", ["10^{-12}", r"4 \cdot 10^{-6}", "0.38"]),
        ("In 2018, arXiv 1706.00388, sections 1 and 4.1 of CIFAR-100, Python 3.11 or newer", []),
        ("`0.5`, [a](b/0.5.md), ```\n0.5\n``` and <!-- table --> 0.5 <!-- end -->", []),
    ],
)
def test_the_scanner_takes_numbers_and_leaves_code_names_and_generated_tables(text, numbers):
    scanned = page(text)
    assert [scanned.text[slice(*span)] for span in scanned.numbers] == numbers


@pytest.mark.parametrize(
    ("text", "entries", "sentence"),
    [
        (
            "The VAN has 0.56.",
            [],
            "a page: no entry of tests/traces.yaml explains 0.56 in '… The VAN has 0.56. …'.",
        ),
        (
            "The VAN has 0.57.",
            [{"number": "0.57", "measured": VAN}],
            "a page: 0.57 is not what its source gives; measured: 0.55977.",
        ),
        (
            "The VAN has 0.561.",
            [{"number": "0.561", "measured": VAN}],
            "a page: 0.561 is not what its source gives; measured: 0.55977.",
        ),
        (
            "The VAN is good.",
            [{"number": "0.56", "measured": VAN}],
            "a page: 0.56 stands there 0 times where its entry says 1: correct the entry.",
        ),
        (
            "The VAN has 0.56, and so has another: 0.56.",
            [{"number": "0.56", "measured": VAN}],
            "a page: 0.56 stands there 2 times where its entry says 1: correct the entry.",
        ),
        (
            "Here 0.5, there 0.5.",
            [{"number": "0.5", "in": "Here 0.5", "formula": "1 / 2"}],
            "a page: no entry of tests/traces.yaml explains 0.5 in '… Here 0.5, there 0.5. …'.",
        ),
        (
            "It loses half.",
            [{"number": "half", "in": "loses half", "measured": VAN, "between": [0.4, 0.5]}],
            "a page: half in 'loses half' is said to be from 0.4 to 0.5; measured: 0.55977.",
        ),
        (
            "The rate is 0.123.",
            [{"number": "0.123", "setting": "rate", "of": "van_tutorial/training/config.py"}],
            "a page: 0.123 is said to be a setting of van_tutorial/training/config.py: it is not there.",
        ),
        (
            "It is 0.5.",
            [{"number": "0.5", "formula": "__import__('os').getpid()"}],
            "a page: 0.5 cannot be traced, ValueError: __import__('os').getpid() is no arithmetic.",
        ),
        (
            "It is 0.5.",
            [{"number": "0.5", "measured": {**VAN, "rows": "network == 'vam'"}}],
            "a page: 0.5 cannot be traced, ValueError: no row of cifar10 has network == 'vam'.",
        ),
        (
            "It is 0.5.",
            [{"number": "0.5", "published": "He et al.", "formula": "1 / 2"}],
            "a page: 0.5 must have one of benchmark, definition, formula, measured, printed, published, setting; it "
            "has formula, number, published.",
        ),
    ],
)
def test_an_untraced_or_wrong_number_is_named_in_one_sentence(text, entries, sentence):
    assert tracing.offences(page(text), entries) == [sentence]


def test_a_digit_that_is_changed_in_a_lesson_is_noticed_with_what_the_recording_gives():
    name = "notebooks/src/10_convolutional_van.py"
    lesson = tracing.Page.read(PAGES[name])
    changed = tracing.Page(name, lesson.text.replace("reaches 0.65,", "reaches 0.68,"))
    assert tracing.offences(changed, TRACES[name]) == [
        f"{name}: 0.65 stands there 0 times where its entry says 1: correct the entry.",
        f"{name}: no entry of tests/traces.yaml explains 0.68 in {changed.around(changed.find('0.68')[0])!r}.",
    ]
    entries = [{**entry, "number": "0.68"} if entry["number"] == "0.65" else entry for entry in TRACES[name]]
    assert tracing.offences(changed, entries) == [
        f"{name}: 0.68 is not what its source gives; measured: 0.64867."
    ]


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("The VAN has 0.56.", {"number": "0.56", "measured": VAN}),
        ("The VAN has 56 %.", {"number": "56 %", "measured": VAN}),
        ("The VAN has about 0.57.", {"number": "0.57", "measured": VAN}),  # one unit more
        (
            "It is 0.13 behind.",
            {
                "number": "0.13",
                "measured": {
                    **VAN,
                    "rows": "network == 'residual' and depth == 56",
                    "less": {"rows": VAN["rows"]},
                },
            },
        ),
        (
            "A third of it: 0.33.",
            {"number": "0.33", "measured": {**VAN, "over": {"take": "sum"}}, "between": [0.3, 0.4]},
        ),
        (r"It is $4 \cdot 10^{-6}$.", {"number": r"4 \cdot 10^{-6}", "formula": "4.2e-6"}),
    ],
)
def test_a_number_that_is_what_its_source_gives_passes(text, entry):
    assert tracing.offences(page(text), [entry]) == []
