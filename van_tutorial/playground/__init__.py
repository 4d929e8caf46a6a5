"""What the playground knows: its settings, its recorded runs, and their charts.

The panel itself is `widgets.Playground`, and what replays a run without a kernel is `widgets.Replay`.
"""

from van_tutorial.playground.charts import CHARTS, NUM_TRACES, charts, frames, pinned_traces, redraw
from van_tutorial.playground.recording import Recording, beside, recorded
from van_tutorial.playground.settings import (
    CONNECTIONS,
    INITS,
    NORMALIZATIONS,
    OF_WEIGHTED_SKIPS,
    PRESETS,
    TRY,
    Settings,
    names_of,
    num_steps,
)

__all__ = [
    "CHARTS",
    "CONNECTIONS",
    "INITS",
    "NORMALIZATIONS",
    "NUM_TRACES",
    "OF_WEIGHTED_SKIPS",
    "PRESETS",
    "TRY",
    "Recording",
    "Settings",
    "beside",
    "charts",
    "frames",
    "names_of",
    "num_steps",
    "pinned_traces",
    "recorded",
    "redraw",
]
