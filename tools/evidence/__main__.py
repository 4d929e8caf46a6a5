"""Write docs/evidence.md from what was recorded, and draw its figures.

python -m tools.evidence            write, from assets/results (figures are drawn by Chromium)
python -m tools.evidence --check    write nothing; fail where page or figures are not what the recordings give
"""

import sys

from tools.evidence.page import check_page, write_page
from van_tutorial import cli
from van_tutorial._course import course_path


def main(*, check: bool = False) -> int:
    """Write or check.

    Args:
        check: write nothing; fail on drift

    Returns:
        The exit status.
    """
    if not check:
        print(write_page(course_path("assets", "results"), course_path("docs")))
        return 0
    problems = check_page()
    print("\n".join(problems), file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(cli.call(main))
