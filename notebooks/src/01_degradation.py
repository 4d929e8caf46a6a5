# %% [markdown]
# # 1 · Degradation
#
# *Why does a deeper network do worse, even on the images that it was trained on?*
#
# **So far**: [0 · Start here](00_start_here.ipynb) has the map of the course. This lesson has the problem that all the
# others are about.
#
# **Time**: 20 minutes of reading and thinking; the cells take about 15 seconds on two processor cores.
#
# **You need**: no earlier lesson; what a fully connected network computes, what its training is, and how training images
# and test images differ; enough Python to read a loop.
#
# **Afterwards you can**
#
# - define *degradation*, and show it on real images,
# - tell it apart from over-fitting by one comparison,
# - argue that it is a failure of training and not of the networks themselves,
# - say what a skip-connection changes about it.

# %% tags=["parameters"]
depth: int = 40  # number of layers of the deepest networks trained here
width: int = 32  # units per layer
num_epochs: int = 10  # passes over the 5,000 training images
lr: float = 0.003  # step size of the weights
seed: int = 0  # of initial weights and order of examples
device: str = "auto"  # auto, cpu, cuda or mps
interactive: bool = True  # controls to press; false draws plain figures instead

# %%
import sys

import pandas as pd
import torch
from tqdm import tqdm

from van_tutorial import batch, data, exercises, models, plots, training, widgets

torch.set_num_threads(1)  # small networks: more threads would mostly wait for each other
images = data.load()

# %% [markdown]
# ## The idea
#
# A **plain layer** of this course makes $f(x) = \mathrm{relu}(\mathrm{norm}(W x + b))$ of its input $x$. The *rectifier*
# $\mathrm{relu}(z) = \max(z, 0)$ is its nonlinearity, and *batch normalization*, norm, brings each unit to mean 0 and
# standard deviation 1 over a batch, and then scales and shifts it by two numbers that are learned. The **depth** $L$
# counts these layers; an input layer before them and a head behind them, both linear, come on top. The **width** is
# the number of units in each.
#
# Give a trained network one layer more. Whatever it could do before it can do still: the new layer need only pass
# its input on, $f(x) = x$. (It can: norm may learn to undo itself, and a rectifier changes nothing in
# what comes out of a rectifier, since that is never below 0.)
# So with $\mathcal{Y}_L$ the functions $y$ that networks of depth $L$ can represent,
#
# $$\mathcal{Y}_L \subset \mathcal{Y}_{L+1} \qquad \Rightarrow \qquad
# \min_{y \in \mathcal{Y}_{L+1}} C(y) \; \le \; \min_{y \in \mathcal{Y}_L} C(y)$$
#
# where $C$ is the **loss** on the *training* images. The best deep network is at least as good as the best shallow one.
#
# ![Three trained layers, and below them a deeper network in which three identity layers follow the same three layers](../assets/figures/degradation.svg)
#
# That is a statement about the best network, not about the one that training finds. He, Zhang, Ren and Sun saw in
# 2015 that plain networks of 56 layers ended with a *higher training error* than networks of 20. They called it
# **degradation**.

# %% [markdown]
# ## Predict
#
# Four networks are about to be trained with the same settings: plain ones of an eighth, a half and all of `depth`
# layers, and a **residual** one of `depth` layers, in which each layer adds to its input: $x + f(x)$. The path on which
# $x$ gets past $f$ is a **skip-connection**, or skip for short.
# Ten classes: guessing gives 0.10. Which accuracy do you expect of each **on the images that it was trained on**?

# %%
my_prediction = {
    "plain, shallow": None,  # your number from 0 to 1, in place of None; the same below
    "plain, half": None,
    "plain, deep": None,
    "residual, deep": None,
}

# %% [markdown]
# ## Run

# %% tags=["nbval-ignore-output"]
networks = {
    "plain, shallow": (max(1, depth // 8), "plain"),
    "plain, half": (max(1, depth // 2), "plain"),
    "plain, deep": (depth, "plain"),
    "residual, deep": (depth, "residual"),
}
config = training.TrainConfig(num_epochs=num_epochs, lr=lr, seed=seed, device=device)
results = {}
for name, (layers, connection) in networks.items():
    network = models.mlp(depth=layers, width=width, connection=connection, seed=seed)
    trainer = training.Trainer(network, images, config)
    for record in (bar := tqdm(trainer, total=num_epochs, desc=f"{name:15s}", unit="epoch", file=sys.stdout)):
        bar.set_postfix_str(f"training accuracy {record.train_accuracy:.3f}")
    results[name] = trainer.result()

# %% [markdown]
# ## Evidence
#
# What any computer will find, whatever its rounding: who is behind whom, on the training images. (Their accuracy is
# here the mean over the batches of the last epoch, as they were trained.)

# %% tags=["keep_output"]
on_training = {name: result.history["train_accuracy"].iloc[-1] for name, result in results.items()}
behind = on_training["plain, shallow"] - on_training["plain, deep"]
print("the deep plain network is at least 0.2 behind the shallow one, on training images:", behind >= 0.2)
ahead = on_training["residual, deep"] - on_training["plain, deep"]
print("a skip-connection around every layer mends at least 0.2 of it:", ahead >= 0.2)

# %% [markdown]
# ### Your prediction beside what came

# %% tags=["nbval-ignore-output"]
comparison = pd.DataFrame(
    {
        "network": list(results),
        "layers": [layers for layers, _ in networks.values()],
        "training accuracy": [round(value, 3) for value in on_training.values()],
        "test accuracy": [round(result.test_accuracy, 3) for result in results.values()],
        "seconds": [round(result.seconds, 1) for result in results.values()],
    }
)
comparison.assign(predicted=[my_prediction.get(name) for name in results]).astype(object).fillna("–")

# %% [markdown]
# ## Look
#
# **See**: line and dots of each network lie close together. A network that over-fits has its dots (training) far
# above its line (test); here the deepest plain one has both at the bottom: it does not learn its own training images.

# %% tags=["nbval-ignore-output"]
plots.accuracy_curves({name: result.history for name, result in results.items()})

# %% [markdown]
# ## One run is no evidence
#
# The same over six depths, three seeds and three times as many epochs is recorded, with the command that makes it
# again. Plain networks are in it twice: with the step size used above, and with the best of three (0.001, 0.003, 0.01)
# for plain networks of 40 layers on *held-out* images, training images that were set aside for such choices. Accuracy
# at the end, in **eval mode**: batch normalization uses the mean and the size that it has seen in training, and no
# longer those of a batch.
#
# **Predict**, on the **test** images: how good is the plain network of 40 layers with that best step size? And what does
# depth bring where it does no harm: how good are residual networks of 2 and of 60 layers?

# %%
my_depths = {"plain, lr 0.01, 40 layers": None, "residual, 2 layers": None, "residual, 60 layers": None}

# %% tags=["keep_output"]
recorded = batch.recorded("degradation_mini")
table = recorded.table.pivot_table(
    index="depth", columns="network", values="train_accuracy", aggfunc=["mean", "std"], sort=False
)
print("training accuracy, mean and standard deviation over the seeds")
print(table.swaplevel(axis=1).sort_index(axis=1, level=0, sort_remaining=False).round(3).to_string())
print("seeds:", recorded.table["seed"].nunique(), "  made by:", recorded.command)

# %% tags=["nbval-ignore-output"]
means = recorded.table.groupby(["network", "depth"])["test_accuracy"].mean()
came = {f"{name}, {layers} layers": value for (name, layers), value in means.items()}
exercises.beside(my_depths, {name: came[name] for name in my_depths})

# %% [markdown]
# **See**: the curve of the plain networks falls, on the training set (filled markers) and on the test set (open ones) alike.
# A better learning rate moves the fall to larger depths but does not stop it. The residual networks keep their accuracy on
# the training set, and gain nothing on the test set either: depth costs nothing there, but alone it brings nothing here.

# %% tags=["nbval-ignore-output"]
plots.accuracy_by_depth(recorded.table)

# %% [markdown]
# ## Explore
#
# **Misconception**: *degradation is over-fitting, since a deeper network has more weights.* Train networks of your own
# choice of **depth**, plain and residual, and watch the distance between the two lines, training images and test images.
# At the right the panel collects your own degradation curve, run by run. Where does it begin to fall after this few
# epochs?

# %% tags=["nbval-ignore-output"]
connection = widgets.Choice(
    "connection", "connection", "plain", ("plain", "residual"), "With skip-connections or without"
)
panel = widgets.training_panel(
    images,
    controls=("depth", connection),
    depth=max(1, depth // 2),
    width=width,
    num_epochs=num_epochs,
    seed=seed,
    interactive=interactive,
)
panel

# %% [markdown]
# **Set right**: over-fitting is a distance between the two lines, with the training images far above. In a deep plain
# network they lie close together, both low. It has not learned too much but too little.

# %% [markdown]
# ## Exercise 1 · Where it begins
#
# From the recorded runs: what is the smallest of the recorded depths at which plain networks (network `"plain"`), on
# the **training** images and in the mean over the seeds, are more than 0.1 behind plain networks of depth 2?

# %% tags=["nbval-ignore-output"]
### solution
plain = recorded.table.query("network == 'plain'").groupby("depth")["train_accuracy"].mean()
my_depth = int(plain.index[plain < plain.loc[2] - 0.1][0])
### stub
# my_depth = None  # your number
### end
exercises.check_degradation_depth(my_depth, recorded.table, gap=0.1)

# %% [markdown]
# ## Exercise 2 · Is it over-fitting?
#
# For plain networks of depth 40 (network `"plain"`): by how much is the mean accuracy on training images above that
# on test images? For comparison, work out the same for depth 2.

# %% tags=["nbval-ignore-output"]
### solution
deep = recorded.table.query("network == 'plain' and depth == 40")
my_gap = deep["train_accuracy"].mean() - deep["test_accuracy"].mean()
### stub
# my_gap = None  # your number
### end
exercises.check_generalization_gap(my_gap, recorded.table, depth=40)

# %% [markdown] tags=["solution"]
# *For the instructor.* The gap is largest where training succeeds (about 0.15 at depth 2, for 5,000 images) and
# closes as depth grows, because a network that has not learned its training images has nothing to over-fit. A
# question that separates the two well: "what would more training images do?" Against over-fitting they help;
# here they are not what is missing.

# %% [markdown]
# ## Take away
#
# - Deeper plain networks end *worse on their own training images*. That is degradation, and it is not over-fitting.
# - The better deep network exists: it is the shallow one with identity layers. Training does not find it.
# - With $x + f(x)$ a layer that has learned nothing yet still passes its input on, and has only to learn what to change.
#   In these runs degradation is gone with it.
#
# **Next**: better weights exist, so why does training not find them? Weights move by their gradients. What happens to
# a gradient on its way back through the layers? [2 · Vanishing and exploding](02_vanishing_exploding.ipynb).
#
# **Limits of the evidence.** One small data set (5,000 training images), one width, batch normalization, three
# seeds. On the test images depth helps neither kind of network here, perhaps because they are too easy for it: this
# lesson shows what depth costs, not what it is good for. Step sizes were chosen on held-out training images at depth 40
# only, and the best for plain networks was the largest that was tried.
#
# **References.** K. He, X. Zhang, S. Ren and J. Sun (2016), *Deep residual learning for image recognition*, CVPR
# (arXiv 2015). · R. K. Srivastava, K. Greff and J. Schmidhuber (2015), *Highway networks*. · H. Xiao, K. Rasul and
# R. Vollgraf (2017), *Fashion-MNIST*.

# %% tags=["nbval-ignore-output"]
batch.record_metrics(comparison)
