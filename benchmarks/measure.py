"""Ratios of processor time, measured in turns, and the page that they are written to."""

import operator
import platform
import re
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from van_tutorial._course import course_path

HEADER = "| ratio of times | median | middle half | aim | ms (first side) |\n|---|---|---|---|---|"

AIMS = {"at most ": operator.le, "at least ": operator.ge, "below ": operator.lt}


def seconds(step: Callable[[], object]) -> float:
    """Return how much processor time one call takes, which other processes do not add to."""
    started = time.process_time()
    step()
    return time.process_time() - started


def ratio(
    name: str,
    one: Callable[[], object],
    other: Callable[[], object],
    aim: str,
    rounds: int,
    steps: int = 1,
) -> str:
    """Return the table's row for the time of one side over that of the other.

    The two take turns, so that a change of the machine's speed hits both; who goes first changes from round to round,
    and two rounds to warm up are not counted.

    Args:
        name: of the row.
        one: does one round of the first side.
        other: does one round of the second.
        aim: what the ratio should be, such as "at most 1.05"; where it is not, the row says "missed".
        rounds: number of rounds.
        steps: by which the first side's time is divided.
    """
    ratios, times = [], []
    for index in range(rounds + 2):
        sides = (("one", one), ("other", other))
        taken = {side: seconds(step) for side, step in (sides if index % 2 else sides[::-1])}
        if index >= 2:
            ratios.append(taken["one"] / taken["other"])
            times.append(taken["one"])
    low, middle, high = statistics.quantiles(ratios, n=4)
    for words, holds in AIMS.items():
        if aim.startswith(words) and not holds(middle, float(aim.removeprefix(words))):
            aim += ", missed"
    row = f"| {name} | {middle:.3g} | {low:.3g} to {high:.3g} | {aim} | {1000 * statistics.median(times) / steps:.2f} |"
    print(row, flush=True)
    return row


def write_section(
    name: str, rows: list[str], about: str, remarks: str, libraries: Sequence[str] = ("torch",)
) -> None:
    """Write one section of docs/performance.md, between its markers; it names the processor and the versions."""
    machine = (
        f"Processor time, {processor()}, 1 thread, Python {platform.python_version()}, "
        f"{', '.join(f'{library} {version(library)}' for library in libraries)}."
    )
    table = "\n".join([HEADER, *rows])
    write_table(name, f"{table}\n\n{remarks}\n\nMeasured: {about}\n{machine}\n")


def processor() -> str:
    """Return the processor's kind and, where the system tells them, its name, family and model."""
    cpus = Path("/proc/cpuinfo")
    told = (
        dict(re.findall(r"^(.*\S)\s*: (.*)$", cpus.read_text(encoding="utf-8"), re.MULTILINE))
        if cpus.exists()
        else {}
    )
    named = {"model name": "", "cpu family": "family ", "model": "model "}
    return ", ".join(
        [f"{platform.machine()} CPU", *(word + told[name] for name, word in named.items() if name in told)]
    )


def write_table(name: str, section: str) -> None:
    """Write one section of docs/performance.md, between its markers."""
    path = course_path("docs", "performance.md")
    block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    text = path.read_text(encoding="utf-8")
    if not block.search(text):
        raise ValueError(f"{path} has no section between <!-- {name} --> and <!-- end -->.")
    path.write_text(block.sub(lambda match: match[1] + section + match[2], text), encoding="utf-8")
