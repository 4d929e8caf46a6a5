"""Write the recorded results into README.md, between its markers.

python -m tools.readme            write
python -m tools.readme --check    write nothing; fail where README.md says something else
"""

import sys
from collections.abc import Callable, Mapping

import pandas as pd

from tools.evidence.parts import beside, cells, origin, spread, summary
from tools.evidence.parts import table as in_markdown
from van_tutorial import batch, cli
from van_tutorial._course import course_path

LABELS = {
    "plain": "plain",
    "plain, lr 0.01": "plain, best learning rate",
    "plain, BatchNorm bias 1": "plain, BatchNorm bias 1",
    "residual": "residual, skips kept",
    "residual, lr 0.01": "residual, skips kept, best learning rate",
    "van": "**VAN, skips phased out and collapsed**",
    "van, lr 0.01": "**VAN, skips phased out and collapsed**, best learning rates",
}
BY_DEPTH = {
    "plain": "plain",
    "plain, BatchNorm bias 1": "plain, BatchNorm bias 1",
    "residual": "residual, skips kept",
    "VAN, BatchNorm bias 1": "**VAN, BatchNorm bias 1, no skip left**",
}
ON_PHOTOGRAPHS = {
    "plain": "plain",
    "residual": "residual, skips kept",
    "van": "**VAN, skips phased out simultaneously and collapsed**",
    "van, sequentially": "**VAN, skips phased out sequentially and collapsed**",
}


def main_result() -> str:
    """Return the table of the main result, and the VAN beside the other networks."""
    recorded = batch.recorded("phase_out_mini")
    columns = {
        "network, depth 40": lambda group: LABELS[group["network"].iloc[0]],
        "skips left": lambda group: str(group["skips_left"].max()),
        "test accuracy (mean ± s.d., 3 seeds)": spread("test_accuracy"),
    }
    compared = {
        "plain": "the plain network",
        "plain, BatchNorm bias 1": "the plain one with BatchNorm bias 1",
        "residual": "the residual network",
    }
    words = ", ".join(beside(recorded.table, "van", name, words) for name, words in compared.items())
    table = summary(recorded.table, "network", columns)
    return f"{with_origin(table, recorded)}\nWith the lessons' learning rates the VAN is {words}.\n"


def by_depth(name: str, heading: str, unit: str, labels: dict[str, str]) -> str:
    """Return a recording's test accuracy by network and depth; `unit` has a place for the depth."""
    recorded = batch.recorded(name)
    table = cells(recorded.table, unit).loc[list(labels)].rename(index=labels)
    return with_origin(table.reset_index(names=heading), recorded)


def with_origin(table: pd.DataFrame, recorded: batch.Recorded) -> str:
    """Return a table in Markdown, and where it comes from."""
    made_with = origin(recorded.table, recorded.hardware, recorded.versions)
    return f"{in_markdown(table)}\n\n{made_with}. Made by `{recorded.command}`.\n"


def controls() -> str:
    """Return what the page on the evidence begins with."""
    text = course_path("docs", "evidence.md").read_text(encoding="utf-8")
    return text.partition("<!-- controls -->\n")[2].partition("<!-- end -->")[0]


def fill(text: str, made: Mapping[str, Callable[[], str]]) -> str:
    """Return a page with what was made between its markers, <!-- NAME --> and <!-- end -->.

    Raises:
        ValueError: where the page has no such place.
    """
    for name, block in made.items():
        before, begin, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise ValueError(
                f"The page has no place between <!-- {name} --> and <!-- end -->: add these lines."
            )
        text = before + begin + block() + end + after
    return text


BLOCKS = {
    "phase_out_mini": main_result,
    "controls": controls,
    "degradation": lambda: by_depth("degradation", "network", "depth {}", BY_DEPTH),
    "cifar10": lambda: by_depth("cifar10", "convolutional network", "{} layers", ON_PHOTOGRAPHS),
}


def main(*, check: bool = False) -> int:
    """Write or check.

    Args:
        check: write nothing; fail on drift

    Returns:
        The exit status.
    """
    path = course_path("README.md")
    text = path.read_text(encoding="utf-8")
    made = fill(text, BLOCKS)
    if not check:
        path.write_text(made, encoding="utf-8")
    elif made != text:
        print("README.md does not show the recorded results: run make readme", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(cli.call(main))
