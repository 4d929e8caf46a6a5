"""Measure the claims of docs/evidence.md again, and make the page from what was recorded.

    python -m tools.evidence                measure everything that is not there yet (hours), then the page
    python -m tools.evidence NAME …         only these claims, such as degradation
    python -m tools.evidence --quick        a small part of each in minutes, into runs/evidence-quick
    python -m tools.evidence --page         the page alone, from assets/results
    python -m tools.evidence --check        write nothing; fail where page or figures are not what the recordings give

Runs are kept under runs/, as `van-tutorial sweep` keeps them: what is there is not run again, and whatever was stopped
goes on. The full data sets are needed (`van-tutorial data verify` tells where they are looked for). Figures are drawn
by Chromium.
"""

import argparse
import sys
from pathlib import Path

from tools.evidence.claims import CLAIMS
from tools.evidence.page import check_page, write_page
from tools.evidence.record import record
from van_tutorial._course import course_path

QUICK = Path("runs", "evidence-quick")


def main() -> int:
    """Measure, write or check; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(c.name for c in CLAIMS)}")
    parser.add_argument("--quick", action="store_true", help="a small part of each, into runs/evidence-quick")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    parser.add_argument("--check", action="store_true", help="write nothing; fail on drift")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - {claim.name for claim in CLAIMS}):
        parser.error(f"there is no claim {unknown[0]!r}: choose from {', '.join(c.name for c in CLAIMS)}")
    if options.check:
        problems = check_page()
        print("\n".join(problems), file=sys.stderr)
        return int(bool(problems))
    results, docs = course_path("assets", "results"), course_path("docs")
    if options.quick:
        results = docs = QUICK
    if not options.page:
        for claim in CLAIMS:
            if not options.names or claim.name in options.names:
                print(f"{claim.name}: {claim.question}", flush=True)
                record(claim, results, options.quick)
    print(write_page(results, docs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
