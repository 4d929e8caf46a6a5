"""What README.md shows under "In your own work" runs as it stands, one block after the other, and ends as it says."""

import re

from van_tutorial import models
from van_tutorial._course import course_path

BLOCKS = re.findall(r"```python\n(.*?)```", course_path("README.md").read_text(encoding="utf-8"), re.DOTALL)
SHORTER = {
    "depth=40": "depth=8",
    "mlp(seed=0)": "mlp(depth=8, seed=0)",
    "remove_by=None": "remove_by=None, num_epochs=1",
    "num_epochs=30": "num_epochs=2",
    "num_steps = 1000": "num_steps = 100",
    "num_points=256": "num_points=16",
}


def test_the_code_of_the_readme_runs_and_its_networks_end_plain(capsys):
    names = {}
    for block in BLOCKS:
        if 'cifar10")' in block:  # not embedded
            continue
        for long, short in SHORTER.items():
            block = block.replace(long, short)
        names.pop("plain", None)
        exec(compile(block, "README.md", "exec"), names)
        if "plain" in names:
            assert models.num_skips(names["plain"]) == 0
    assert len(names["results"]) == len(names["configs"])
    assert capsys.readouterr().out.count("\n") >= 2  # a line for each epoch
