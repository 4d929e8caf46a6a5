"""Write the recorded results into README.md, between their markers.

python -m tools.readme            write
python -m tools.readme --check    write nothing; fail where README.md says something else
"""

import argparse
import re
import sys
from functools import partial

from tools.evidence.controls import findings
from tools.evidence.tables import beside, cells
from van_tutorial import batch
from van_tutorial._course import course_path

LABELS = {
    "plain": "plain",
    "plain, lr 0.01": "plain, best learning rate",
    "plain, shifted": "plain, BatchNorm bias 1",
    "residual": "residual, skips kept",
    "residual, lr 0.01": "residual, skips kept, best learning rate",
    "van": "**VAN, skips phased out and collapsed**",
    "van, lr 0.01": "**VAN, skips phased out and collapsed**, best learning rates",
    "van, one after the other": "**VAN, skips phased out sequentially and collapsed**",
}


def main_result() -> str:
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
    compared = {
        "plain": "the plain network",
        "plain, shifted": "the plain one with BatchNorm bias 1",
        "residual": "the residual network",
    }
    words = ", ".join(beside(recorded.table, "van", name, words) for name, words in compared.items())
    return "\n".join(
        [*lines, "", origin(recorded), f"With the lessons' learning rates the VAN is {words}.\n"]
    )


def by_depth(name: str, heading: str, unit: str, labels: dict[str, str]) -> str:
    """Return a recording's test accuracy by network and depth in Markdown; `unit` has a place for the depth."""
    recorded = batch.recorded(name)
    made = cells(recorded.table, "network", "depth", "test_accuracy").loc[list(labels)]
    lines = [
        f"| {heading} | " + " | ".join(unit.format(depth) for depth in made.columns) + " |",
        "| --- |" + " --- |" * len(made.columns),
        *(
            f"| {labels[str(network)]} | {' | '.join(row)} |"
            for network, row in zip(made.index, made.to_numpy(), strict=True)
        ),
    ]
    return "\n".join([*lines, "", origin(recorded)])


def photographs() -> str:
    """Return the table of the networks on CIFAR-10."""
    labels = {name: LABELS[name] for name in ("plain", "residual", "van", "van, one after the other")}
    labels["van"] = "**VAN, skips phased out simultaneously and collapsed**"
    return by_depth("cifar10", "convolutional network", "{} layers", labels)


def depths() -> str:
    """Return the table of networks of growing depth on all of Fashion-MNIST."""
    labels = {name: LABELS[name] for name in ("plain", "plain, shifted", "residual")}
    labels["VAN, shifted"] = "**VAN, BatchNorm bias 1, no skip left**"
    return by_depth("degradation", "network", "depth {}", labels)


def origin(recorded: batch.Recorded) -> str:
    """Return the line that says where a result comes from."""
    seeds = ", ".join(str(seed) for seed in recorded.table["seed"].unique())
    versions = ", ".join(f"{name} {number}" for name, number in recorded.versions.items())
    return f"Seeds {seeds}; {recorded.hardware}; {versions}. Made by `{recorded.command}`.\n"


def controls() -> str:
    """Return what the controls say."""
    return f"{findings()}\n"


BLOCKS = {
    "phase_out_mini": main_result,
    "controls": controls,
    "degradation": depths,
    "cifar10": photographs,
}


def between_markers(made: str, match: re.Match[str]) -> str:
    """Return the two markers with what was made between them."""
    return match[1] + made + match[2]


def fill(text: str) -> str:
    """Return the text with the recorded results between their markers."""
    for name, table in BLOCKS.items():
        block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not block.search(text):
            raise ValueError(f"README.md has no place between <!-- {name} --> and <!-- end -->.")
        text = block.sub(partial(between_markers, table()), text)
    return text


def main() -> int:
    """Write or check; return the exit status."""
    parser = argparse.ArgumentParser(description="Write the recorded results into README.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail on drift")
    path = course_path("README.md")
    text = path.read_text(encoding="utf-8")
    made = fill(text)
    if parser.parse_args().check:
        if made != text:
            print("README.md does not show the recorded results: run make readme", file=sys.stderr)
            return 1
        return 0
    path.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
