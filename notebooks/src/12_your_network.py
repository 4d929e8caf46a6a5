# %% [markdown]
# # 12 · Your own network
#
# *Can the skip-connections of a network that you have written, and trained, be taken out?*
#
# In this lesson you train a residual network of ordinary PyTorch, and then take its skips out in three ways. You measure
# what that costs in accuracy and what it saves in memory.
#
# **So far**: we removed skips from networks that this course made, in their first training
# ([lesson 5](05_phasing_out.ipynb)). [Lesson 11](11_after_van.ipynb) compared that with other methods. Now the network comes
# from elsewhere, and is trained already.
#
# **Time**: 40 minutes of reading and thinking; the cells take about 50 seconds on two processor cores.
#
# **You need**: [lesson 5](05_phasing_out.ipynb) (phasing out, collapse); a residual block of convolutions
# ([lesson 10](10_convolutional_van.ipynb)).
#
# **Afterwards you can**
#
# - list the skip-connections of any network that `torch.fx` can trace, with the memory that each keeps alive,
# - give each a weight without changing what the network computes, and phase it out from the trained weights,
# - prove that it is gone, and measure what that saves, in float and with eight bits,
# - name the controls without which an accuracy after a phase-out says nothing.

# %% tags=["parameters"]
num_epochs: int = 4  # passes over the 5,000 training images, in each of the three trainings
lr: float = 0.003  # learning rate of the weights
seed: int = 0  # of initial weights and order of examples
device: str = "auto"  # auto, cpu, cuda or mps
interactive: bool = True  # controls to press; false draws plain figures instead

# %% tags=["hide-input"]
import copy
import dataclasses
import sys

import pandas as pd
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from van_tutorial import batch, data, diagnostics, exercises, models, plots, training, widgets

torch.set_num_threads(1)
large = data.load()
halves = {name: functional.avg_pool2d(getattr(large, name), 2) for name in ("train_images", "test_images")}
images = dataclasses.replace(large, **halves)  # 14 by 14 pixels
example = images.test_images[:2]

# %% [markdown]
# ## The idea: give each trained skip a weight, and start it at 1
#
# A skip-connection adds an earlier signal to a later one: $y = f(x) + s(x)$, where $s$ is the identity or a small projection.
# It costs memory when the network runs: while $f$ is computed, $x$ must be kept. Small devices have little memory.
#
# Each skip of a *trained* network gets a weight $\alpha$, which starts at 1. The result is a **gated network**:
#
# $$y = f(x) + \alpha \, s(x)$$
#
# ![Three blocks: as it is written, with f(x) plus s(x); with a weight alpha on the dashed skip; and the plain block, f alone](../assets/figures/your_network.svg)
#
# At $\alpha = 1$ this is the network as it was, to the last bit. At $\alpha = 0$ it is a plain one. In between, multipliers lead,
# as in lesson 5. (There the layer was $\alpha x + (1 - \alpha) f(x)$. That form would change a trained network at once: at
# $\alpha = 1$ it has no $f$.)
#
# Three calls do it. `models.find_skips` lists the skips. `models.gate_skips` returns a copy in which each has its weight.
# `models.collapse` takes out what is at 0, with all that only the skip needed.

# %% [markdown]
# ## A network of your own, with nine skips
#
# Nothing below is of this library: two classes, as you might have written them. There are three stages of three blocks. The
# first block of the second and of the third stage halves the image, so its shortcut is a convolution.


# %%
class Block(nn.Module):
    def __init__(self, before, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(before, width, 1, stride, bias=False)

    def forward(self, x):
        inside = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(inside)) + self.shortcut(x))


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        stages = [[(8, 8, 1), (8, 8, 1), (8, 8, 1)], [(8, 16, 2), (16, 16, 1), (16, 16, 1)]]
        stages += [[(16, 32, 2), (32, 32, 1), (32, 32, 1)]]
        self.blocks = nn.Sequential(*(Block(*sizes) for stage in stages for sizes in stage))
        self.head = nn.Linear(32, 10)

    def forward(self, images):
        return self.head(self.blocks(self.stem(images)).mean(dim=(2, 3)))


torch.manual_seed(seed)
network = Network()

# %% [markdown]
# Its skips, from input to output. *Kib* is the memory of one image's $x$ in units of 1,024 bytes. It is kept for two weight
# layers. *Parameters* are those of the shortcut itself.

# %% tags=["keep_output"]
skips = models.find_skips(network, example[:1])
alike = skips.round(2).groupby(["kind", "shape", "kib", "parameters"], sort=False)
alike["name"].agg(", ".join).reset_index().set_index("name").rename_axis(None)

# %% [markdown]
# ## Predict
#
# The network is trained with its skips. Then three things are done with the trained network:
#
# - its skips are **cut**, all of them, and nothing is trained,
# - they are cut, and the plain network is **trained on** for as many epochs,
# - they are **phased out** in as many epochs.
#
# Which test accuracies do you expect? Chance is 0.10. And what fraction of the peak memory does the plain network need?

# %% tags=["nbval-ignore-output"]
names = ["with its skips", "cut", "cut, trained on", "phased out", "peak memory, plain / with skips"]
prediction = widgets.Prediction("12.1", dict.fromkeys(names, (0, 1)), interactive=interactive)
prediction

# %% [markdown]
# ## Run
#
# First with its skips, as you would train any network.


# %%
def train(name, network):
    config = training.TrainConfig(num_epochs=num_epochs, lr=lr, seed=seed, device=device)
    trainer = training.Trainer(network, images, config)
    for _ in tqdm(trainer, total=num_epochs, desc=f"{name:15s}", unit="epoch", file=sys.stdout):
        pass  # the trainer yields after each epoch
    network.cpu()
    return trainer.result()


def accuracy(network):
    return training.accuracy(network, images.test_images, images.test_labels)


# %% tags=["nbval-ignore-output"]
train("with its skips", network)
gated = models.gate_skips(network, example)
trial = copy.deepcopy(gated)  # never trained

# %% [markdown]
# What is each skip worth now? Set its weight to 0, and leave the other eight at 1. **Predict** the block, from 0 (next to
# the input) to 8, whose skip costs most when it is cut alone.

# %% tags=["nbval-ignore-output"]
which = widgets.Prediction("12.2", {"block whose skip costs most": (0, 8)}, interactive=interactive)
which


# %%
def with_weights(alphas):
    trial.skip_weight.data.copy_(torch.as_tensor(alphas))
    return trial.eval()


# %% tags=["nbval-ignore-output", "hide-input"]
alone = [accuracy(with_weights(1.0 - one)) for one in torch.eye(len(skips))]
table = pd.DataFrame({"network": [f"block {block}" for block in range(len(skips))], "accuracy": alone})
which.compare(
    {"block whose skip costs most": int(table["accuracy"].idxmin())},
    plots.mean_dots(
        table, "accuracy", "One skip cut alone", "test accuracy", caption="One network, not trained on."
    ).update_yaxes(title=""),
    r"""
    **See**: one skip cut alone can cost much accuracy. What do all nine cost together?
    """,
)

# %% tags=["nbval-ignore-output"]
cut = models.collapse(with_weights(0.0))
found = {"with its skips": network, "cut": cut, "cut, trained on": copy.deepcopy(cut)}
train("cut, trained on", found["cut, trained on"])
phased = train("phased out", gated)
found["phased out"] = plain = models.collapse(gated)

# %% [markdown]
# ### Prediction and result

# %% tags=["nbval-ignore-output", "hide-input"]
accuracies = {name: accuracy(made) for name, made in found.items()}
costs = diagnostics.costs({"residual": network, "plain": plain}, example[:1], seconds_per_model=0.3)
peaks = dict(zip(costs["model"], costs["peak_activation_bytes"], strict=True))
fraction = {"peak memory, plain / with skips": peaks["plain"] / peaks["residual"]}
caption = f"Removed by: {phased.removed_by}. One row for each of the nine blocks."
prediction.compare(
    accuracies | fraction,
    plots.skip_weight_map(phased.layers, caption),
    r"""
    Cut skips ruin a trained network, and a phase-out does not. **See**: the skip weights fall sequentially, from input to
    output. All are at 0 after two thirds of the training. The rest of it belongs to the plain network.
    """,
)

# %% [markdown]
# ## Evidence: no skip is left, and a third of the memory is saved
#
# `collapse` takes the additions out of the graph, and the two projections out of the parameters. It refuses while a skip is left.

# %% tags=["keep_output", "hide-input"]
graphs = [torch.export.export(made.eval(), (example,)) for made in (network, plain)]
with torch.no_grad():
    difference = (plain.eval()(images.test_images) - gated.eval()(images.test_images)).abs().max().item()
is_refused = False
try:
    models.collapse(with_weights(1.0))
except ValueError:
    is_refused = True
exercises.findings(
    {
        "Cut, the network is near chance: below 0.3.": accuracies["cut"] < 0.3,
        "Phased out, the same network is above 0.7.": accuracies["phased out"] > 0.7,
        "The graph of the trained network has a skip, that of the plain one has none.": (
            [models.has_skip(graph) for graph in graphs] == [True, False]
        ),
        "The plain network gives the outputs of the gated one at α = 0.": difference < 1e-5,
        "The two projections had 640 parameters.": costs["parameters"].diff().iloc[-1] == -640,
        "The peak falls from 18,816 bytes to 12,544.": list(peaks.values()) == [18816, 12544],
        "With all skips left, `collapse` refuses.": is_refused,
    }
)

# %% tags=["nbval-ignore-output", "hide-input"]
prediction.show(
    r"""
    At the **peak memory** a residual block holds three tensors: $x$, what a convolution reads, and what it writes. A plain block
    holds two. Of the multiply-adds only the projections' are saved. The milliseconds are those of your machine, for one image.
    """,
    (
        costs.round(3)
        .set_index("model")
        .rename_axis(None)
        .rename(columns=lambda name: name.replace("_", " "))
        .map("{:,}".format)
    ),
)

# %% [markdown]
# ## Evidence: the controls say what the skips were worth
#
# One run is no evidence. Recorded with five seeds, by `python -m tools.record your_network`: 4 epochs with skips, and 4
# more. Further controls: the residual network is trained on *as long with its skips*, and the plain network is trained
# *from scratch* for 8 epochs, and *half as long*.


# %% tags=["nbval-ignore-output", "hide-input"]
def points_above(runs, other):
    if other not in set(runs["network"]):
        return "–"
    found = batch.compare(runs, "phased out", other)
    points = (100 * value for value in (found.mean, found.low, found.high))
    return "{:+.1f} [{:+.1f}, {:+.1f}]".format(*points).replace("-", "−")


def differences(rows, others):
    cells = {other: {name: points_above(rows[name], other) for name in rows} for other in others}
    return pd.DataFrame(cells).rename_axis(columns="points [95 % interval]")


controls = ["cut, trained on", "from scratch", "as long with its skips"]
recorded = batch.recorded("your_network").table
rest = recorded[recorded["network"] != "cut"]
prediction.show(
    plots.mean_dots(rest, "test_accuracy", "With skips, without them, and the controls", "test accuracy"),
    "How many points is *phased out* above each of the others? An interval with 0 in it does not tell the two apart.",
    differences({"your network": recorded}, [*controls, "with its skips", "from scratch, half as long"]),
    r"""
    **Read** it in four steps.

    - *Cut*, and not in the figure: every network is at chance.
    - *Trained without skips* it comes back. Phased out it ends above *cut, trained on*; the interval nearly reaches 0.
    - *The price*: it is not told apart from the network that it was made of. But that one had half of the training. Trained as
      long with its skips it is better. This difference is what the skips were worth, and the one to report.
    - *What was it for?* The plain network from scratch is not told apart from the phased-out one either. Nine blocks are not
      deep, and a plain network learns here. But a network that is trained already is worth something: from scratch for the 4
      epochs that the phase-out takes, the plain one ends 5.5 points lower. To cut the skips and train on gives 3.5 of these.
    """,
)

# %% [markdown]
# The files exported for onnxruntime have the same accuracies. Their versions with eight bits, by static **quantization**,
# change none by more than 0.007, with skips or without; the ranges of the activations are those of 500 training images. So
# the bits are no reason to remove a skip. The memory is.

# %% [markdown]
# ## Two networks of others: a transformer can do without the skips around its MLPs
#
# `gate_skips` does not ask who wrote a network. Two of torchvision were recorded, with three seeds:
#
# - **resnet18** on all of CIFAR-10, 4 epochs with its eight skips, and 4 more. *Teacher*: the phase-out also learns the
#   outputs that the network gave with its skips.
# - A **transformer** of six layers on all of Fashion-MNIST. Each layer has a skip around the attention and one around the
#   MLP. Each kind is taken out alone, and both.
#
# Behind the figures, the table has again the points that *phased out* is above the others.

# %% tags=["nbval-ignore-output", "hide-input"]
resnet, transformer = (batch.recorded(f"your_{name}").table for name in ("resnet", "transformer"))
rest = resnet[resnet["network"] != "cut"]
plots.mean_dots(rest, "test_accuracy", "torchvision's resnet18 on CIFAR-10", "test accuracy")

# %% tags=["nbval-ignore-output", "hide-input"]
rest = transformer[transformer["network"] != "cut"].rename(columns={"skips": "skips taken out"})
plots.mean_dots(rest, "test_accuracy", "A transformer on Fashion-MNIST", "test accuracy", "skips taken out")

# %% tags=["keep_output", "hide-input"]
by_skips = dict(iter(transformer.groupby("skips", sort=False)))
with_all = by_skips.pop("none")
rows = {f"transformer, {skips}": pd.concat([runs, with_all]) for skips, runs in by_skips.items()}
differences({"resnet18": resnet, **rows}, controls)

# %% [markdown]
# **See**: resnet18 does as your network does. *Phased out* ends above *cut, trained on* and below *as long with its skips*, by
# a point or so each, and the plain network from scratch is not told apart. The teacher does not help.
#
# Without the skips around the MLPs the transformer is 0.4 points below one that was trained as long and keeps all. Those
# around the attention are worth 2.7 points. Here no difference by how they were removed is found: *phased out* and *cut, trained
# on* are not told apart. Nor, without both kinds, is a transformer that was trained *from scratch*. Six layers are few, and
# a cut network of that depth still learns. (In a fully connected network of 100 layers *phased out* ends 2.9 points below *cut,
# trained on*: the ladder in [docs/evidence.md](../docs/evidence.md).)

# %% [markdown]
# ## Explore
#
# **Misconception**: *once trained, the skips can simply be cut.* Choose a stage. Its skip weights are turned down together,
# without any training. Where does the accuracy break? Is there a stage that can do without?

# %% tags=["nbval-ignore-output", "hide-input"]
stages = {"all": range(9), "first stage": range(3)}
stages |= {"second stage": range(3, 6), "third stage": range(6, 9)}


def show(stage, points):
    chosen = torch.zeros(len(skips)).index_fill(0, torch.tensor([*stages[stage]]), 1.0)
    alphas = [1.0 - place / (points - 1) for place in range(points)]
    rows = [(stage, alpha, accuracy(with_weights(1.0 - (1.0 - alpha) * chosen))) for alpha in alphas]
    table = pd.DataFrame(rows, columns=["network", "skip weight", "accuracy"])
    texts = ("Accuracy without training", "test accuracy", f"The trained network. Turned down: {stage}.")
    return plots.measure_curves(table, "accuracy", *texts, over="skip weight")


panel = widgets.explore_panel(
    show,
    (
        widgets.Choice("stage", "skips", "all", tuple(stages), "Whose weight is turned down"),
        widgets.Slider("points", "points", 6, 3, 11, "Weights from 1 to 0"),
    ),
    interactive=interactive,
)
panel

# %% [markdown]
# **Correction**: every block after a cut one gets a signal that it was never trained on. One block less is a small change; nine
# are another network. The weights have to learn to do without, while the skip goes or after it.

# %% [markdown]
# ## Exercise 1 · A weight on a skip
#
# Write the last line of `Block.forward` with a weight: it gets `inside` (what `norm2` returns), `shortcut` ($s(x)$) and `alpha`, and
# returns the block's output. At `alpha = 1` it must be what the block computes now.


# %% tags=["nbval-ignore-output"]
### solution
def my_block(inside, shortcut, alpha):
    return torch.relu(inside + alpha * shortcut)


### stub
# def my_block(inside, shortcut, alpha):
#     return None  # your output
#
#
### end
exercises.check_weighted_block(my_block)

# %% [markdown]
# ## Exercise 2 · What a skip keeps in memory
#
# A block of two convolutions gets 64 channels of 56 by 56 numbers, four bytes each. (That is the first stage of a ResNet-18
# on photographs.) It keeps that size. How many bytes are alive at its peak, for one image: with its skip, and without?

# %% tags=["nbval-ignore-output"]
my_peaks = {}
### solution
my_peaks = {"with its skip": 3 * 64 * 56 * 56 * 4, "without": 2 * 64 * 56 * 56 * 4}
### stub
# my_peaks["with its skip"] = None  # your number of bytes
# my_peaks["without"] = None  # your number of bytes
### end
exercises.check_block_peaks(my_peaks, channels=64, size=56)

# %% [markdown] tags=["solution"]
# *For the instructor.* Exercise 1: some write the convex form of lesson 5. Ask why that form suits a network that starts at
# random, and not one that is trained. Exercise 2: an identity has no parameters, but the column *kib* shows its cost. In a
# whole ResNet-18 the peak lies elsewhere, in the stem. The plain network may save nothing there; `diagnostics.costs` tells.

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
# - A skip of any network can be given a weight, f(x) + α s(x), without changing what the network computes. Then it can be phased
#   out like one of this course.
# - Cutting trained skips ruins a network. Training without them brings the accuracy back. Phasing them out brought back more
#   than cutting first in two networks, by 1 to 2 points. In a transformer no difference was found, and 100 fully connected
#   layers got back less.
# - Three controls belong beside a phase-out from trained weights: cut and trained on, from scratch, and trained as long with
#   the skips.
# - What is saved is memory at the peak and the projections. The multiply-adds stay.
#
# **Next**: you have the questions, the measures and the methods, also for networks of your own. Find out what they can do
# without: [13 · Capstone](13_capstone.ipynb).
#
# **Limits of the evidence.** One small network on small images, five seeds, one learning rate for all. Eight bits were simulated on
# a processor; no small device was at hand. Networks with concatenations (DenseNet) or with control flow that depends on data are
# refused.
#
# **References.** K. He, X. Zhang, S. Ren and J. Sun (2016), *Deep residual learning for image recognition*, CVPR. · R. P. Monti,
# S. Tootoonian and R. Cao (2018), *Avoiding degradation in deep feed-forward networks by phasing out skip-connections*, ICANN. ·
# O. Weng et al. (2023), *Tailor: altering skip connections for resource-efficient inference*, arXiv 2301.07247. · G. Li et al.
# (2020), *Residual distillation: towards portable deep neural networks without shortcuts*, NeurIPS. · J. K. Reed, Z. DeVito, H. He,
# A. Ussery and J. Ansel (2022), *torch.fx: practical program capture and transformation for deep learning in Python*, MLSys.

# %% tags=["nbval-ignore-output"]
batch.record_metrics(pd.DataFrame({"network": accuracies.keys(), "test accuracy": accuracies.values()}))
