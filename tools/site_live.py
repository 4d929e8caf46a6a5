"""The front page's recorded runs: a grid of them under two sliders, as a part of a page and as a page of its own.

Neither needs a kernel, nor anything from outside. The runs are those that `python -m tools.record playground` makes.
"""

import json
from typing import Any

from van_tutorial import playground
from van_tutorial._course import course_path
from van_tutorial._pages import HEAD
from van_tutorial.playground import Recording
from van_tutorial.plots import numbers, style
from van_tutorial.widgets import replay

HERE = course_path("docs", "site")
TITLE = "A deep network loses its skip-connections"


def compact(run: Recording) -> dict[str, Any]:
    """Return what the page needs of a run."""
    content, settings = run.content(digits=3), run.settings
    (look,) = map(style, numbers([settings.network]))
    return {
        "name": settings.network,
        "color": look["line"]["color"],
        **{key: getattr(settings, key) for key in ("connection", "depth", "dual_lr", "stagger")},
        **{key: content[key] for key in ("num_steps", "steps", "outcome")},
        **{key: content["layers"][key] for key in ("skip_weights", "grad_norms")},
        "accuracy": content["curves"]["test_accuracy"],
    }


def read(*names: str) -> str:
    """Return the text of files of the site, one after another."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)


def fragment() -> str:
    """Return the runs as a part of a page."""
    runs = [compact(run) for run in playground.recorded()]
    data = json.dumps(runs, allow_nan=False, separators=(",", ":")).replace("</", "<\\/")
    script = f"{replay.read('network.js')}\n{read('live.js')}"
    css = f"{replay.read('network.css', 'dark.css')}\n{read('live.css')}"
    return replay.render(read("live.html"), css=css, data=data, script=script)


def page() -> str:
    """Return the runs as one page that needs nothing from outside."""
    return replay.render(HEAD + read("live_page.html"), title=TITLE, fragment=fragment())
