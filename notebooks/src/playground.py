# %% [markdown]
# # The playground
#
# *What happens when a deep network loses its skip-connections while it learns? Choose, press Train, and watch.*
#
# Run both cells below (*Run ▸ Run All Cells*; again after a restart of the kernel) and press **Train**: a network of 40
# layers (VAN) learns to tell ten kinds of clothing apart, while its skips are removed. Recorded beside it are a residual
# network, which keeps its skips, and two plain ones, which never had any. *BatchNorm bias 1*: most values are positive at
# first, where ReLU changes nothing, so each layer begins nearly linear.

# %% tags=["parameters"]
settings: str = "defaults"  # to begin with, as the panel writes them into its line of text
interactive: bool = True  # controls to press; false trains one network and draws it

# %% tags=["hide-input", "nbval-ignore-output"]
import torch

from van_tutorial import playground, widgets

torch.set_num_threads(1)  # small networks: more threads would mostly wait for each other
panel = widgets.playground_panel(settings=playground.Settings.from_text(settings), interactive=interactive)
panel

# %% [markdown]
# Each box is a layer; the arc over it is its skip-connection, as strong as its skip weight $\alpha_l$. Above are the test
# accuracies at the same step. **See**: the arcs fade, those next to the input first. The dotted line over the map of skip
# weights is where theory expects each of them to be removed.
#
# - The buttons in the first row set everything to something worth seeing. The line **Try** asks what to look for.
# - The **dual learning rate** says how fast the multipliers rise that press the skips to 0. Until you move
#   it, **auto** sizes it from the number of steps: ten times what the site's front page and lesson 0 show.
# - Does the loss have a say in when a skip is removed? Compare **loss has no say** and **loss decides**.
#   [Lesson 6](06_multiplier_dynamics.ipynb) calls the first a *clock*, the second a *market*, and has the reason.
# - *Touch the network*: when a VAN has been trained, or is paused, click an arc to cut or restore its skip, or drag it to
#   set its weight. The accuracy answers. While it trains, the training answers.
# - The slider **moment** goes back to any recorded moment, by pointer or by arrow keys. Drawing and charts follow.
# - **Pin** keeps a run in the charts while you train the next. *Restore* sets the controls as they were for it.
# - Under **More settings**: the network, the removal of its skips and the training. **Save** and **Open** keep runs in
#   files; **Export** writes a page that replays a run where no kernel is. The *settings as text* are all that somebody
#   else needs to make the same run. They also set what has no control: `damping`, `skip_lr` and `cap`.
#
# Questions to begin with, each with a prediction before you press Train:
#
# 1. What is the fastest phase-out from which a network of 40 layers still recovers?
# 2. At the end, which skips does a VAN miss most if you restore and cut them one at a time?
# 3. How much of the result is the phase-out's, and how much the initial bias's? (Compare *BatchNorm bias 0*, and the plain network
#    with the same bias.)
# 4. Without normalization, at which depth does a plain network stop learning? Does a VAN of that depth learn?
