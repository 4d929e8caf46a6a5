"""Write docs/evidence.md from what was recorded, and draw its figures.

python -m tools.evidence            write, from assets/results (figures are drawn by Chromium)
python -m tools.evidence --check    write nothing; fail where page or figures are not what the recordings give
"""

import argparse
import sys

from tools.evidence.page import check_page, write_page
from van_tutorial._course import course_path


def main() -> int:
    """Write or check; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail on drift")
    if parser.parse_args().check:
        problems = check_page()
        print("\n".join(problems), file=sys.stderr)
        return int(bool(problems))
    print(write_page(course_path("assets", "results"), course_path("docs")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
