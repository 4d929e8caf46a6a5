"""Numbers in prose, each traced to the recording, formula, setting or publication that it comes from.

A page is traced by the list of its entries in traces.yaml. An entry has a `number` as it stands in the page; `in`, a
few words of the page that hold it, where one text stands for several things; `times`, how often it stands there
(once, where nothing is said); and one of

    measured    rows of a recorded result: `table`, `rows` (a pandas query), `column` (or an expression of columns),
                `by` (columns, whose groups are averaged first), `take` (mean, where nothing is said; min, max, median,
                std, sum, count); less `less` and then divided by `over`, which take what they do not say from it
    benchmark   a row of docs/performance.md, by the words in its first cell: its median
    printed     a pattern with one group for what the lesson's kept outputs print, which nbval compares
    formula     arithmetic, exact or by definition, which is evaluated
    setting     why; the number must stand in the code of the page, or of the file `of`
    published   where
    definition  why; the page itself lays it down

The first four give a value, which must be the number to the digits that are printed; "about", "nearly" and the like
before it allow one unit of the last digit more. A number in words has `between` in place of digits.
"""

import ast
import functools
import json
import math
import operator
import re
from pathlib import Path

import jupytext

from tools.notebooks import split
from van_tutorial import batch

ROOT = Path(__file__).parent.parent
KINDS = {"measured", "benchmark", "printed", "formula", "setting", "published", "definition"}
NUMBER = re.compile(
    r"""(?<![\w.,/])(?<!\w-)-?(?:
        (?:\d+(?:\.\d+)?\ \\cdot\ )?10\^\{-?\d+\}               # 4 \cdot 10^{-6}
        | (?:\d+(?:\.\d+)?|one|two|three|five|ten)\ ?(?:%|per\ ?cent\b)
        | \d*\.\d+                                              # a decimal number
        | \d{1,3}(?:,\d{3})+ | \d{3,}                           # a whole number from 100 on
        | \d+(?=\ times\b)
    )(?!\w|[.,:-]\d)""",
    re.VERBOSE,
)
UNTRACED = re.compile(  # what is no number of the course
    r"""<!--\ (?P<name>\w+)\ -->.*?<!--\ end\ -->   # made from the recordings
    | ```.*?``` | `[^`]*` | \]\([^)]*\)           # code, targets of links
    | (?:arXiv|Python|LNCS|JMLR|[Ss]ections?|notebook|table)\ \d[\d.]*(?:(?:,\ |–|\ and\ )\d[\d.]*)*
    | (?<![\d,.])(?<!step\ )(?:19|20)\d\d(?!\d|\.\d)  # years
    """,
    re.VERBOSE | re.DOTALL,
)
NEARLY = re.compile(r"\b(?:about|nearly|almost|roughly|around|some)\W{1,3}$")
NUMERAL = re.compile(r"(?<![\w.])(?:\d[\d_,]*)?\.?\d+(?:e[+-]?\d+)?")
WORDS = {"one": 1, "two": 2, "three": 3, "five": 5, "ten": 10}
NODES = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
}


class Page:
    """The words of a page in one line, and the numbers in them that must be traced."""

    def __init__(self, name, text):
        self.name = name
        self.text = re.sub(r"\s+", " ", text.replace("{,}", ","))
        spans = [match.span() for match in UNTRACED.finditer(self.text)]
        self.numbers = [
            match.span()
            for match in NUMBER.finditer(self.text)
            if not any(start <= match.start() < end for start, end in spans)
        ]

    @classmethod
    def read(cls, path):
        """Read a page of the course: all of a Markdown file, all that a reader sees as text of a notebook's source."""
        if path.suffix == ".py":
            text = "\n¶\n".join(text for cell in notebook(path).cells for text in texts_of(cell))
        else:
            text = path.read_text(encoding="utf-8")
        return cls(path.relative_to(ROOT).as_posix(), text)

    def around(self, span):
        """Return a number with some words before and behind it."""
        return "… " + self.text[max(0, span[0] - 50) : span[1] + 30].strip() + " …"

    def find(self, number, words=None):
        """Return where a number stands in the page, or in those words of it."""
        pattern = re.compile(rf"(?<![\w.,])(?<!\w-){re.escape(number)}(?!\w|[.,]\d)")
        if words is None:
            return [match.span() for match in pattern.finditer(self.text)]
        found = [match.start() for match in re.finditer(re.escape(words), self.text)]
        spans = [match.span() for match in pattern.finditer(self.text)]
        return [span for span in spans if any(at <= span[0] and span[1] <= at + len(words) for at in found)]


@functools.cache
def notebook(path):
    return jupytext.read(path, fmt="py:percent")


def texts_of(cell):
    """Return a Markdown cell's text, or those that a code cell shows with the result of a prediction."""
    return [cell.source] if cell.cell_type == "markdown" else split(cell.source)[1]


def offences(page, entries):
    """Return a sentence for each number of a page that no entry explains, or that is not what its entry says."""
    found, taken = [], set()
    entries = sorted(entries, key=lambda entry: "in" not in entry)  # who names its words chooses first
    for entry in entries:
        number, words = str(entry["number"]), entry.get("in")
        spans = [span for span in page.find(number, words) if span not in taken]
        if words is None and NUMBER.fullmatch(number):
            spans = [span for span in spans if span in page.numbers]
        where = f"{page.name}: {number}" + (f" in {words!r}" if words else "")
        times = entry.get("times", 1)
        if len(spans) != times:
            found.append(
                f"{where} stands there {len(spans)} times where its entry says {times}: correct the entry."
            )
        taken.update(spans)
        found += [f"{where} {sentence}" for span in spans[:1] for sentence in check(page, span, entry)]
    found += [
        f"{page.name}: no entry of tests/traces.yaml explains {page.text[slice(*span)]} in {page.around(span)!r}."
        for span in page.numbers
        if not any(start <= span[0] and span[1] <= end for start, end in taken)
    ]
    return found


def check(page, span, entry):
    """Return the sentences that say what is wrong with one number."""
    kinds = KINDS & set(entry)
    if len(kinds) != 1 or set(entry) - KINDS - {"number", "in", "times", "of", "between"}:
        return [f"must have one of {', '.join(sorted(KINDS))}; it has {', '.join(sorted(entry))}."]
    (kind,) = kinds
    source = entry[kind]
    number = page.text[slice(*span)]
    if kind in {"published", "definition"}:
        return [] if str(source).strip() else [f"is said to be a {kind} without a reason."]
    if kind == "setting":
        of = entry.get("of", page.name)
        return (
            [] if parse(number)[0] in numerals(of) else [f"is said to be a setting of {of}: it is not there."]
        )
    try:
        value = {
            "measured": measured,
            "benchmark": benchmark,
            "printed": lambda pattern: printed(page.name, pattern),
            "formula": evaluate,
        }[kind](source)
    except Exception as error:  # whatever is wrong with an entry is said beside its number
        return [f"cannot be traced, {type(error).__name__}: {error}."]
    if "between" in entry:
        low, high = entry["between"]
        return [] if low <= value <= high else [f"is said to be from {low} to {high}; {kind}: {value:.5g}."]
    is_near = NEARLY.search(page.text[: span[0]].replace("*", ""))
    return (
        []
        if agrees(value, number, bool(is_near))
        else [f"is not what its source gives; {kind}: {value:.5g}."]
    )


def parse(number):
    """Return the value of a number as it is printed, and one unit of its last digit."""
    text = number.replace(",", "")
    if power := re.fullmatch(r"(-?)(?:([\d.]+) \\cdot )?10\^\{(-?\d+)\}", text):
        exponent = 10.0 ** int(power[3])
        mantissa, unit = parse(power[2]) if power[2] else (1, None)
        return float(f"{power[1]}{mantissa * exponent}"), unit and unit * exponent
    if share := re.fullmatch(r"(-?[\d.]+|[a-z]+) ?(?:%|per ?cent)", text):
        value, unit = (WORDS[share[1]], 1) if share[1] in WORDS else parse(share[1])
        return value / 100, unit / 100
    return float(text), 10.0 ** -len(text.partition(".")[2])


def agrees(value, number, is_near):
    """Tell whether a value is the number as it is printed; that of a bare power of ten to within half a power."""
    printed_value, unit = parse(number)
    if unit is None:
        return abs(math.log10(value / printed_value)) <= 0.5
    return abs(value - printed_value) <= unit * (1.5 if is_near else 0.5) + 1e-9


def measured(source, above=None):
    """Return the value that a recorded table gives."""
    source = {**(above or {}), **source}
    frame = batch.recorded(source["table"]).table
    if "rows" in source:
        frame = frame.query(source["rows"])
    if frame.empty:
        raise ValueError(f"no row of {source['table']} has {source['rows']}")
    values = frame.eval(source["column"])
    if "by" in source:
        by = [source["by"]] if isinstance(source["by"], str) else source["by"]
        values = values.groupby([frame[name] for name in by]).mean()
    value = getattr(values, source.get("take", "mean"))()
    kept = {key: source[key] for key in ("table", "rows", "column", "by", "take") if key in source}
    if "less" in source:
        value -= measured(source["less"], kept)
    if "over" in source:
        value /= measured(source["over"], kept)
    return float(value)


def benchmark(row):
    """Return the median in a row of docs/performance.md."""
    (line,) = [
        line
        for line in (ROOT / "docs" / "performance.md").read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| {row} |")
    ]
    return float(line.split("|")[2])


def printed(name, pattern):
    """Return the number that the kept outputs of a lesson print."""
    path = ROOT / "notebooks" / f"{Path(name).stem}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    texts = [
        "".join(text)
        for output in outputs
        for text in (output.get("text", ""), *output.get("data", {}).values())
    ]
    found = re.findall(pattern, "\n".join(texts))
    if len(set(found)) != 1:
        raise ValueError(f"the outputs of {path.name} give {found or 'nothing'} for {pattern!r}")
    return float(found[0])


def evaluate(formula):
    """Return the value of an arithmetic formula: numbers, + - * / **, and functions and constants of math.

    >>> evaluate("sqrt(9) + 2 ** -1")
    3.5
    """
    return float(_evaluate(ast.parse(str(formula), mode="eval").body))


def _evaluate(node):
    match node:
        case ast.Constant(value=int() | float()):
            return node.value
        case ast.Name() if isinstance(getattr(math, node.id, None), float):
            return getattr(math, node.id)
        case ast.Call(func=ast.Name(), keywords=[]) if callable(getattr(math, node.func.id, None)):
            return getattr(math, node.func.id)(*map(_evaluate, node.args))
        case ast.BinOp() if type(node.op) in NODES:
            return NODES[type(node.op)](_evaluate(node.left), _evaluate(node.right))
        case ast.UnaryOp() if type(node.op) in NODES:
            return NODES[type(node.op)](_evaluate(node.operand))
    raise ValueError(f"{ast.unparse(node)} is no arithmetic")


@functools.cache
def numerals(name):
    """Return the numbers that stand in the code of a notebook's source, or in another file."""
    path = ROOT / name
    if path.parent.name == "src":
        text = "\n".join(split(cell.source)[0] for cell in notebook(path).cells if cell.cell_type == "code")
    else:
        text = path.read_text(encoding="utf-8")
    return {float(re.sub("[_,]", "", numeral)) for numeral in NUMERAL.findall(text)}
