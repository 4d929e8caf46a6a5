"""Controls in, calls out: the only room that knows ipywidgets."""

from van_tutorial._extras import needs

with needs("van_tutorial.widgets", "course"):
    from van_tutorial.widgets.degradation import degradation_panel
    from van_tutorial.widgets.explore import ExplorePanel, explore_panel
    from van_tutorial.widgets.installation import installation
    from van_tutorial.widgets.panel import Choice, Slider
    from van_tutorial.widgets.phase_out import phase_out_panel
    from van_tutorial.widgets.playground import Playground, playground_panel
    from van_tutorial.widgets.removal import removal_panel
    from van_tutorial.widgets.training import TrainingPanel


__all__ = [
    "Choice",
    "ExplorePanel",
    "Playground",
    "Slider",
    "TrainingPanel",
    "degradation_panel",
    "explore_panel",
    "installation",
    "phase_out_panel",
    "playground_panel",
    "removal_panel",
]
