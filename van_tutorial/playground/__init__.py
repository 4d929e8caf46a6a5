"""What the playground knows: its settings, its recorded runs, their charts, and how a run replays without a kernel.

The panel itself is `widgets.Playground`.
"""

from van_tutorial._extras import needs

with needs("van_tutorial.playground", "course"):
    from van_tutorial.playground.charts import NUM_TRACES, charts, pinned_traces, redraw
    from van_tutorial.playground.recording import Recording
    from van_tutorial.playground.replay import Replay
    from van_tutorial.playground.settings import CONNECTIONS, INITS, NORMALIZATIONS, Settings


__all__ = [
    "CONNECTIONS",
    "INITS",
    "NORMALIZATIONS",
    "NUM_TRACES",
    "Recording",
    "Replay",
    "Settings",
    "charts",
    "pinned_traces",
    "redraw",
]
