"""Write the recorded results into README.md, between its markers.

python -m tools.readme            write
python -m tools.readme --check    write nothing; fail where README.md says something else
"""

import sys
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from tools.evidence.parts import cells, origin, skips_of
from tools.evidence.parts import table as in_markdown
from tools.recordings.tuning import FAMILIES, SHALLOW
from van_tutorial import batch, cli
from van_tutorial._course import course_path

FULLY_CONNECTED = [name for name in FAMILIES if name not in SHALLOW]


def by_depth(name: str, heading: str, unit: str, networks: Sequence[str]) -> str:
    """Return a recording's test accuracy by network and depth; `unit` has a place for the depth."""
    recorded = batch.recorded(name)
    runs = recorded.table[recorded.table["network"].isin(networks)]
    table = cells(runs, unit).loc[list(networks)].reset_index(names=heading)
    table.insert(1, "skips", [skips_of(network) for network in networks])
    return with_origin(table, recorded)


def with_origin(table: pd.DataFrame, recorded: batch.Recorded) -> str:
    """Return a table in Markdown, and where it comes from."""
    made_with = origin(recorded.table, recorded.hardware, recorded.versions)
    return f"{in_markdown(table)}\n\n{made_with}. Made by `{recorded.command}`.\n"


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
    "families": lambda: by_depth("families", "network", "depth {}", FULLY_CONNECTED),
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
