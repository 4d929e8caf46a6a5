"""Controls in, calls out: the only subpackage that imports ipywidgets."""

from van_tutorial._extras import needs

with needs("van_tutorial.widgets", "course"):
    from van_tutorial.widgets.explore import ExplorePanel, explore_panel
    from van_tutorial.widgets.installation import installation
    from van_tutorial.widgets.panel import Choice, Slider
    from van_tutorial.widgets.playground import Playground, playground_panel
    from van_tutorial.widgets.prediction import Prediction
    from van_tutorial.widgets.replay import Replay
    from van_tutorial.widgets.training import TrainingPanel, training_panel

__all__ = [
    "Choice",
    "ExplorePanel",
    "Playground",
    "Prediction",
    "Replay",
    "Slider",
    "TrainingPanel",
    "explore_panel",
    "installation",
    "playground_panel",
    "training_panel",
]
