# %% [markdown]
# # 1 · Degradation
#
# *Why does a deeper network do worse?*
#
# **So far**: [0 · Start here](00_start_here.ipynb) trained a network of two layers. It learned its 5,000 training images
# almost perfectly, its test images less well: it *over-fits*. A network of 40 layers does worse on the test images. Is
# that over-fitting too? You will predict what it does on its training set, train it, and see what one change does.
#
# **Why want depth at all?** Each layer builds on the features of the layer before. Some functions that a deep network
# represents would need exponentially many units in a shallow one (Telgarsky 2016). The network that won the ImageNet
# competition of 2015 had 152 layers. Its authors first had to solve the problem of this lesson.
#
# **Time**: 20 minutes of reading and thinking; the cells take about 25 seconds on two idle processor cores.
#
# **You need**: no earlier lesson; what a fully connected network computes and how it is trained; what training set and test
# set are; enough Python to read a loop.
#
# **Afterwards you can**
#
# - define *degradation*, and show it on real images,
# - say by one comparison whether it is over-fitting,
# - argue whether training fails or the networks themselves,
# - say what a skip-connection changes about it.

# %% tags=["parameters"]
depth: int = 40  # number of layers of the deepest networks trained here
width: int = 32  # units per layer
num_epochs: int = 10  # passes over the 5,000 training images
lr: float = 0.003  # learning rate of the weights
seed: int = 0  # of initial weights and order of examples
device: str = "auto"  # auto, cpu, cuda or mps
interactive: bool = True  # controls to press; false draws plain figures instead

# %% tags=["hide-input"]
import sys

import pandas as pd
import torch
from tqdm import tqdm

from van_tutorial import batch, data, exercises, models, plots, training, widgets

torch.set_num_threads(1)  # small networks: more threads would mostly wait for each other
images = data.load()

# %% [markdown]
# ## The idea: the better deep network exists
#
# A **plain layer** of this course computes $f(x) = \mathrm{relu}(\mathrm{norm}(W x + b))$. The *ReLU*
# $\mathrm{relu}(z) = \max(z, 0)$ is its nonlinearity. *Batch normalization*, norm, brings each unit to mean 0 and standard
# deviation 1 over a batch. Then it scales and shifts the unit by two learned numbers. The **depth** $L$ counts these
# layers. A linear input layer and a linear head come on top. The **width** is the number of units in each layer.
#
# Give a trained network one more layer. The new layer need only pass its input on, $f(x) = x$. Then the network computes
# what it computed before. (The layer can do that: norm can learn to undo itself, and a ReLU does not change the output of
# another ReLU, which is never below 0.)
#
# Let $\mathcal{Y}_L$ be the functions $y$ that networks of depth $L$ can represent, and $C$ the **loss** on the training
# set. Then
#
# $$\mathcal{Y}_L \subset \mathcal{Y}_{L+1} \qquad \Rightarrow \qquad
# \min_{y \in \mathcal{Y}_{L+1}} C(y) \; \le \; \min_{y \in \mathcal{Y}_L} C(y)$$
#
# ![Three trained layers, and below them a deeper network in which three identity layers follow the same three layers](../assets/figures/degradation.svg)
#
# The best deep network is at least as good as the best shallow one. That says nothing about the network that *training
# finds*.

# %% [markdown]
# ## Predict
#
# Four networks will be trained with the same settings. Three are plain: with an eighth, a half and all of `depth` layers.
# The fourth is **residual**: each of its `depth` layers adds to its input, $x + f(x)$. The path on which $x$ passes $f$ by
# is a **skip-connection**, or skip. Chance is 0.10. Which accuracy do you expect of each **on the training set**? Predict
# before you run the cells below.

# %% tags=["nbval-ignore-output"]
names = ["plain, shallow", "plain, half", "plain, deep", "residual, deep"]
prediction = widgets.Prediction("1.1", dict.fromkeys(names, (0, 1)), interactive=interactive)
prediction

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
    for _ in tqdm(trainer, total=num_epochs, desc=f"{name:15s}", unit="epoch", file=sys.stdout):
        pass  # the trainer yields after each epoch
    results[name] = trainer.result()

# %% [markdown]
# ## Evidence: accuracy on the training set

# %% tags=["nbval-ignore-output", "hide-input"]
on_training = {name: result.history["train_accuracy"].iloc[-1] for name, result in results.items()}
histories = {name: result.history for name, result in results.items()}
prediction.compare(
    on_training,
    plots.accuracy_curves(histories),
    r"""
    **See**: line (test set) and dots (training set) of the deepest plain network lie close together, at the bottom. A network
    that over-fits has its training accuracy far above its test accuracy. This one does not learn its training set. In 2015
    He, Zhang, Ren and Sun saw that plain networks of 56 layers ended with a higher *training error* than networks of 20. They
    called it **degradation**.
    """,
)

# %% [markdown]
# These orderings are reproducible on any machine. (The training accuracy is the mean over the batches of the last epoch.)

# %% tags=["keep_output", "hide-input"]
behind = on_training["plain, shallow"] - on_training["plain, deep"]
ahead = on_training["residual, deep"] - on_training["plain, deep"]
exercises.findings(
    {
        "On the training set the deep plain network is at least 0.2 behind the shallow one.": behind >= 0.2,
        "With skip-connections it is at least 0.2 better.": ahead >= 0.2,
    }
)

# %% [markdown]
# ## Evidence: six depths, and a better learning rate
#
# One run is no evidence. Recorded are six depths, three seeds, and 30 epochs instead of 10. Plain networks are recorded
# twice: with the learning rate 0.003 used above, and with the best of 0.001, 0.003 and 0.01 for 40 plain layers. (It was
# chosen on a validation set: training images that were set aside.) Accuracies are measured at the end, in **eval mode**:
# batch normalization then uses running averages from training instead of the batch.
#
# **Predict**, on the **test set**: how good is the plain network of 40 layers with the better learning rate? And with
# skips: how good are residual networks of 2 and of 60 layers?

# %% tags=["nbval-ignore-output"]
names = ["plain, lr 0.01, 40 layers", "residual, 2 layers", "residual, 60 layers"]
depths_asked = widgets.Prediction("1.2", dict.fromkeys(names, (0, 1)), interactive=interactive)
depths_asked

# %% tags=["nbval-ignore-output", "hide-input"]
recorded = batch.recorded("degradation_mini")
means = recorded.table.groupby(["network", "depth"])["test_accuracy"].mean()
found = {f"{name}, {layers} layers": value for (name, layers), value in means.items()}
images_of = {"train_accuracy": "training set", "test_accuracy": "test set"}
both = recorded.table.rename(columns=images_of).melt(
    ["network", "depth"], [*images_of.values()], "images", "accuracy"
)
depths_asked.compare(
    {name: found[name] for name in names},
    plots.mean_curves(both, "accuracy", "depth", panel="images"),
    r"""
    The plain networks fall on the training set and on the test set alike. The better learning rate moves the fall to larger
    depths, and does not stop it. The residual networks keep their training accuracy at every depth. On the test set they gain
    nothing: on these small images depth is free with skips, but not yet useful.
    """,
)

# %% [markdown]
# ## Explore
#
# **Misconception**: *degradation is over-fitting, since a deeper network has more weights.* Train networks of a **depth** of
# your choice, plain and residual. Watch the distance between training and test accuracy. The chart at the right
# collects your own degradation curve. Where does it begin to fall?

# %% tags=["nbval-ignore-output", "hide-input"]
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
# **Correction**: over-fitting is a distance between the two accuracies, training far above test. In a deep plain network they
# lie close together, both low. It has not learned too much but too little.

# %% [markdown]
# ## Exercise 1 · Where it begins
#
# Here are the recorded **training** accuracies, mean ± standard deviation of the seeds. What is the smallest recorded depth
# at which the plain networks (column `plain`) are more than 0.1 behind depth 2?

# %% tags=["keep_output", "hide-input"]
grouped = recorded.table.groupby(["network", "depth"], sort=False)["train_accuracy"]
texts = grouped.agg(lambda values: f"{values.mean():.3f} ± {values.std():.3f}")
texts.unstack("network", sort=False).rename_axis(columns=None)

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
# For plain networks of depth 40: by how much is the mean training accuracy above the mean test accuracy? For comparison,
# compute the same for depth 2. The table `recorded.table` has a row for each run, and columns `network` (here `"plain"`),
# `depth`, `train_accuracy` and `test_accuracy`.

# %% tags=["nbval-ignore-output"]
### solution
deep = recorded.table.query("network == 'plain' and depth == 40")
my_gap = deep["train_accuracy"].mean() - deep["test_accuracy"].mean()
### stub
# my_gap = None  # your number
### end
exercises.check_generalization_gap(my_gap, recorded.table, depth=40)

# %% [markdown] tags=["solution"]
# *For the instructor.* The gap is largest where training succeeds (about 0.15 at depth 2, for 5,000 images). It closes as
# depth grows: a network that has not learned its training set has nothing to over-fit. A question that separates the
# two: "what would more training images do?" Against over-fitting they help; here they are not what is missing.

# %% [markdown] tags=["sentence"]
# ### Your sentence
#
# Which result would change your mind about what this lesson claims? Double-click, and write one sentence in place of the
# dots. If you hand in the lesson, this sentence is graded.
#
# ...

# %% [markdown]
# ## Take away
#
# - Deeper plain networks end *worse on their own training set*. That is degradation. It is not over-fitting.
# - The better deep network exists: the shallow one with identity layers. Training does not find it.
# - With $x + f(x)$ a layer passes its input on before it has learned anything. It has only to learn what to change. In
#   these runs degradation is gone with it.
#
# **Next**: better weights exist, so why does training not find them? Weights move by their gradients. What happens to
# a gradient in the backward pass? [2 · Vanishing and exploding](02_vanishing_exploding.ipynb).
#
# **Limits of the evidence.** One small data set (5,000 training images), one width, batch normalization, three
# seeds. On the test set depth helps neither kind of network, perhaps because these images are too easy. So this lesson
# shows what depth costs, not what it is good for. Learning rates were chosen at depth 40 only, and the best for plain
# networks was the largest that was tried.
#
# **References.** K. He, X. Zhang, S. Ren and J. Sun (2016), *Deep residual learning for image recognition*, CVPR
# (arXiv 2015). · M. Telgarsky (2016), *Benefits of depth in neural networks*, COLT. · R. K. Srivastava, K. Greff and
# J. Schmidhuber (2015), *Highway networks*. · H. Xiao, K. Rasul and R. Vollgraf (2017), *Fashion-MNIST*.

# %% tags=["nbval-ignore-output", "hide-input"]
comparison = pd.DataFrame(
    {
        "network": list(results),
        "layers": [layers for layers, _ in networks.values()],
        "training accuracy": [round(value, 3) for value in on_training.values()],
        "test accuracy": [round(result.test_accuracy, 3) for result in results.values()],
    }
)
batch.record_metrics(comparison)
