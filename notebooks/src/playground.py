# %% [markdown]
# # The playground
#
# *Any depth, learning rate and connection: choose, press Train, and watch the skips being removed.*
#
# The panel of lesson 5, alone. Each box is a layer; the arc over it is its skip-connection, as strong as its skip
# weight $\alpha_l$. **Train**, **Pause**, go on by a single **Step**, or **Stop**. **See**: the arcs fade, those next to
# the input first; the dotted line over the map of skip weights is where theory expects each of them to be removed.
#
# - The slider **moment** goes back to any recorded moment, by pointer or by arrow keys. Drawing and charts follow.
# - **Pin** keeps a run in the charts while you train the next. *Restore* sets the controls as they were for it.
# - **Save** and **Open** keep runs in files; **Export** writes a page that replays a run where no kernel is.
# - The *settings as text* are all that somebody else needs to make the same run.
#
# Questions to begin with, each with a prediction before you press Train:
#
# 1. What is the fastest phase-out from which a network of 40 layers still recovers?
# 2. Does the residual network's gradient correlation stay up to the end?
# 3. Which skip is removed first if `damping` is 5, and does it come back?
# 4. Without normalization, at which depth does a plain network stop learning? Does a VAN of that depth learn?

# %% tags=["parameters"]
settings: str = "defaults"  # to begin with, as the panel writes them into its line of text
interactive: bool = True  # controls to press; false trains one network and draws it

# %% tags=["nbval-ignore-output"]
import torch

from van_tutorial import playground, widgets

torch.set_num_threads(1)  # small networks: more threads would mostly wait for each other
panel = widgets.playground_panel(settings=playground.Settings.from_text(settings), interactive=interactive)
panel
