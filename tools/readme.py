"""Write the recorded results into README.md, between their markers.

python -m tools.readme            write
python -m tools.readme --check    write nothing; fail where README.md says something else
"""

import argparse
import re
import sys

from van_tutorial import batch
from van_tutorial._course import course_path

BLOCK = re.compile(r"(<!-- phase_out_mini -->\n).*?(<!-- end -->)", re.DOTALL)
LABELS = {
    "plain": "plain, trained with the VAN's step sizes",
    "plain, lr 0.01": "plain, with the learning rate that was best for it",
    "residual": "residual, skips kept",
    "van": "**VAN, skips phased out and collapsed**",
}


def table() -> str:
    """Return the table of the main result in Markdown."""
    recorded = batch.recorded("phase_out_mini")
    skips = recorded.table.groupby("network")["skips_left"].max()
    lines = [
        "| network, depth 40 | skips left | test accuracy (mean ± s.d., 3 seeds) |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {LABELS[row['network']]} | {skips[row['network']]} | {row['mean']:.3f} ± {row['sd']:.3f} |"
        for row in recorded.summary().to_dict(orient="records")
    ]
    seeds = ", ".join(str(seed) for seed in recorded.table["seed"].unique())
    versions = ", ".join(f"{name} {number}" for name, number in recorded.versions.items())
    lines += ["", f"Seeds {seeds}; {recorded.hardware}; {versions}. Made by `{recorded.command}`."]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write or check; return the exit status."""
    parser = argparse.ArgumentParser(description="Write the recorded results into README.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail on drift")
    path = course_path("README.md")
    text = path.read_text(encoding="utf-8")
    made = BLOCK.sub(lambda match: match[1] + table() + match[2], text)
    if parser.parse_args().check:
        if made != text or not BLOCK.search(text):
            print("README.md does not show the recorded results: run make readme", file=sys.stderr)
            return 1
        return 0
    path.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
