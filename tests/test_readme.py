"""What README.md and docs/library.md show runs as it stands, one block after the other, and ends as it says."""

import re

import pytest

from van_tutorial import models
from van_tutorial._course import course_path

SHORTER = {
    "depth=40": "depth=8",
    "mlp(seed=0)": "mlp(depth=8, seed=0)",
    "remove_by=None": "remove_by=None, num_epochs=1",
    "num_epochs=30": "num_epochs=2",
    "num_steps = 1000": "num_steps = 100",
    "num_points=256": "num_points=16",
}


@pytest.mark.parametrize("page", ["README.md", "docs/library.md"])
def test_the_code_of_a_page_runs_and_its_networks_end_plain(page, capsys):
    names = {}
    for block in re.findall(r"```python\n(.*?)```", course_path(page).read_text(encoding="utf-8"), re.DOTALL):
        if 'cifar10")' in block:  # not embedded
            continue
        for long, short in SHORTER.items():
            block = block.replace(long, short)
        names.pop("plain", None)
        exec(compile(block, page, "exec"), names)
        if "plain" in names:
            assert models.num_skips(names["plain"]) == 0
    if page == "README.md":
        assert capsys.readouterr().out.count("\n") >= 2  # a line for each epoch
    else:
        assert len(names["results"]) == len(names["configs"])
