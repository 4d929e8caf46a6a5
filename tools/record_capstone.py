"""Record the sweep of the last lesson with many seeds: which skips should go first?

    python -m tools.record_capstone

The networks of assets/sweeps/order.yaml: fully connected, depth 20, width 32, 10 epochs on 4,000 of the embedded
training images, seeds 0 to 15. Accuracy in eval mode on the 1,000 test images and on the 1,000 training images that are
held out. Made by the library's own sweep in a folder that is removed again. Takes about two minutes on two cores.
"""

import argparse
import json
import sys
import tempfile
from typing import Any

from tools.results import Recording
from van_tutorial import batch
from van_tutorial._course import course_path

COLUMNS = {
    "dual_lr_spread": "dual_lr_spread",
    "seed": "seed",
    "test accuracy": "test_accuracy",
    "validation accuracy": "validation_accuracy",
    "skips left": "skips_left",
    "removed at step": "removed_at_step",
    "removed by": "removed_by",
}


def run_all() -> list[dict[str, Any]]:
    """Sweep and return a row for each run."""
    with tempfile.TemporaryDirectory() as folder:
        swept = batch.sweep(course_path("assets", "sweeps", "order.yaml"), runs=folder, progress=sys.stdout)
        if not swept.is_complete:
            raise RuntimeError(f"Some runs have no result: {[*swept.failed, *swept.not_done]}")
        table = batch.results(swept.folder)[list(COLUMNS)].rename(columns=COLUMNS)
    rows = json.loads(table.round(4).to_json(orient="records"))
    return list(rows)


def main() -> None:
    """Train everything and write the file."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    recording = Recording(
        "capstone_mini",
        "Which skips should be removed first? Embedded Fashion-MNIST subset, VANs, fully connected, depth 20, width "
        "32, 10 epochs on 4,000 images, 1,000 for validation, multipliers alone (dual_lr 1.0, no cap).",
        "python -m tools.record_capstone",
    )
    rows = run_all()
    for row in rows:
        print(row)
    print(recording.write(rows))


if __name__ == "__main__":
    main()
