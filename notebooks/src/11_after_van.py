# %% [markdown]
# # 11 · After VAN
#
# *Which other methods remove something during training: what, how, and what is left?*
#
# You train four networks that do not keep all they train with. Algebra then makes each as small as it can be. How many
# layers are left, and is there a skip-connection?
#
# **So far**: a VAN trains with skips that it does not keep ([lesson 5](05_phasing_out.ipynb),
# [lesson 10](10_convolutional_van.ipynb)). Later methods do something similar.
#
# **Time**: 35 minutes of reading and thinking; the cells take about 25 seconds on two idle processor cores.
#
# **You need**: [lesson 5](05_phasing_out.ipynb); the product of two matrices.
#
# **Afterwards you can**
#
# - sort methods by what they remove, and by how: multipliers, a schedule, a penalty, or algebra,
# - merge two layers without an activation between them, fold parallel branches, and prove that nothing changed,
# - measure what rounding costs where a penalty has not decided,
# - say why the graph of a network does not tell how it was trained.

# %% tags=["parameters"]
depth: int = 12  # number of layers of the fully connected networks
num_epochs: int = 8  # passes over the 5,000 training images
folding_penalty: float = 0.01  # strength of Layer Folding's penalty, in nats
folding_skip_lr: float = 0.5  # learning rate of its skip weights
seed: int = 0  # of initial weights and order of examples
device: str = "auto"  # auto, cpu, cuda or mps
interactive: bool = True  # controls to press; false draws plain figures instead

# %% tags=["hide-input"]
import copy
import dataclasses
import sys

import pandas as pd
import torch
from tqdm import tqdm

from van_tutorial import batch, data, diagnostics, exercises, models, plots, training, widgets

torch.set_num_threads(1)
images = data.load()
halves = {name: getattr(images, name)[:, :, ::2, ::2] for name in ("train_images", "test_images")}
small_images = dataclasses.replace(images, **halves)  # every second row and column, for the convolutions

# %% [markdown]
# ## The idea: two layers with no nonlinearity between them are one
#
# A layer of each method while it trains. Orange is what is removed:
#
# ![Four layers: VAN with a dashed skip, VanillaNet with one of two activations dashed, Layer Folding with both dashed, RepVGG with three branches of which two are dashed](../assets/figures/descendants.svg)
#
# | method | layer while it trains | how it is removed |
# | --- | --- | --- |
# | VAN | $\alpha x + (1 - \alpha) f(x)$ | $\alpha \to 0$, by multipliers |
# | VanillaNet | $\alpha z + (1 - \alpha)\,\text{relu}(z)$, every second layer | $\alpha \to 1$, by a schedule |
# | Layer Folding | the same, every layer | $\alpha \to 1$ in some layers, by a penalty on $1 - \alpha^2$ |
# | RepVGG | $\text{norm}(W_3 * x) + \text{norm}(W_1 * x) + \text{norm}(x)$ | by algebra, at the end |
#
# Here $z = W x + b$. Note where $\alpha$ goes. A VAN phases the *identity* out. VanillaNet and
# Layer Folding phase it *in*, in place of the nonlinearity. Why? Because two linear layers without an activation between
# them are one:
#
# $$W_2 (W_1 x + b_1) + b_2 = (W_2 W_1)\, x + (W_2 b_1 + b_2)$$
#
# In the same way $A x + B x = (A + B)\, x$ adds up parallel branches, and batch normalization in eval mode is linear too.

# %% [markdown]
# ## Predict
#
# The three fully connected networks have `depth` layers between an input layer and a head, 14 weight layers at `depth` 12.
# RepVGG is a small convolutional network of 8: a first convolution, three blocks of two branches with weights, and a head.
# How many are left when algebra has merged and folded what it can?

# %% tags=["nbval-ignore-output"]
sizes = {"VAN": depth + 2, "VanillaNet": depth + 2, "Layer Folding": depth + 2, "RepVGG": 8}
questions = {f"{name}: layers left": (1, size) for name, size in sizes.items()}
prediction = widgets.Prediction("11.1", questions, interactive=interactive)
prediction

# %% [markdown]
# ## Run
#
# All four are recipes of the library: `models.make(name)` makes the network. A recipe's `training` holds the settings that
# `TrainConfig` needs.

# %%
methods = {
    "VAN": ("van", {"depth": depth}, {}),
    "VanillaNet": ("vanillanet", {"depth": depth}, {}),
    "Layer Folding": (
        "layer-folding",
        {"depth": depth},
        {"skip_penalty": folding_penalty, "skip_lr": folding_skip_lr},
    ),
    "RepVGG": (
        "repvgg",
        {"depth": 5, "width": 8, "in_channels": 1},
        {"num_epochs": max(1, num_epochs // 4)},
    ),
}

# %% tags=["nbval-ignore-output", "hide-input"]
seen = {name: small_images if name == "RepVGG" else images for name in methods}
shared = {"num_epochs": num_epochs, "seed": seed, "device": device}
shared |= {"stagger": 0.0, "dual_lr_spread": 5.0}  # simultaneously, as in the recorded runs
networks, results = {}, {}
for name, (recipe, choices, own) in methods.items():
    network = models.make(recipe, seed=seed, **choices)
    config = training.TrainConfig(**{**shared, **models.FAMILY[recipe].training, **own})
    trainer = training.Trainer(network, seen[name], config)
    for record in (
        bar := tqdm(trainer, total=config.num_epochs, desc=f"{name:13s}", unit="epoch", file=sys.stdout)
    ):
        bar.set_postfix_str(f"test accuracy {record.test_accuracy:.3f}")
    networks[name], results[name] = network.cpu(), trainer.result()

# %% [markdown]
# Now the algebra. `collapse` removes the VAN's skips and folds RepVGG's branches. `merge` makes one layer of two where
# $\alpha$ is exactly 1. Layer Folding's $\alpha$ need not be, so they are rounded first.

# %%
rounded = copy.deepcopy(networks["Layer Folding"])
rounded.skip_weight.data.round_()
finished = {
    "VAN": models.collapse(networks["VAN"]),
    "VanillaNet": models.merge(networks["VanillaNet"]),
    "Layer Folding": models.merge(rounded),
    "RepVGG": models.collapse(networks["RepVGG"]),
}

# %% [markdown]
# ### Prediction and result


# %% tags=["nbval-ignore-output", "hide-input"]
def facts(name, network):
    inputs = seen[name].test_images[:2]
    layers = diagnostics.costs({"": network}, inputs, seconds_per_model=0.0)["layers"].item()
    has_skip = models.has_skip(torch.export.export(network.eval(), (inputs,)))
    return layers, "yes" if has_skip else "no"


before = {name: facts(name, network) for name, network in networks.items()}
after = {name: facts(name, network) for name, network in finished.items()}
prediction.compare({f"{name}: layers left": layers for name, (layers, _) in after.items()})

# %% [markdown]
# ## Evidence: algebra changes the graph, and not the outputs
#
# Is there a *skip in the graph*, a path around a weight layer, while the network trains and when it is finished?


# %% tags=["nbval-ignore-output", "hide-input"]
@torch.no_grad()
def gives_the_same(one, other, inputs):
    outputs, others = one.eval()(inputs), other.eval()(inputs)
    return "yes" if (outputs - others).abs().max() < 1e-3 * outputs.abs().max() else "no"


rows = {}
for name, network in {**networks, "Layer Folding": rounded}.items():
    (layers, skip), (left, is_left) = before[name], after[name]
    same = gives_the_same(network, finished[name], seen[name].test_images)
    rows[name] = (f"{layers} → {left}", f"{skip} → {is_left}", same)
columns = ["weight layers", "skip in the graph", "same outputs"]
prediction.show(
    pd.DataFrame.from_dict(rows, orient="index", columns=columns),
    r"""
    In the end no graph has a skip. VanillaNet and Layer Folding never had one: their identity goes around an activation, not
    around a weight. The VAN loses its skips and keeps its layers. VanillaNet and Layer Folding lose *layers*.
    """,
)

# %% tags=["nbval-ignore-output", "hide-input"]
courses = []
for name in ("VAN", "VanillaNet", "Layer Folding"):
    layers = results[name].layers.assign(network=name)
    layers["left"] = layers["skip_weight"] if name == "VAN" else 1.0 - layers["skip_weight"]
    courses.append(layers)
plots.measure_curves(
    pd.concat(courses).groupby(["network", "step"], sort=False, as_index=False)["left"].mean(),
    "left",
    "What is left of what the method removes",
    "fraction left",
    "Mean over the layers. VAN: skips. The others: activations.",
    over="step",
)

# %% [markdown]
# **See**: multipliers and schedule reach 0 before the training ends, and the network that is left trains on. Layer Folding's
# mean ends between: penalty and loss decide about each layer.

# %% [markdown]
# ## What does rounding cost?
#
# An $\alpha$ of Layer Folding between 0 and 1 must be rounded before layers are merged. **Predict** how much test accuracy
# rounding costs in this run. Do two more epochs of training bring the merged network back, to within 0.01?

# %% tags=["nbval-ignore-output"]
questions = {"cost of rounding": (0, 1), "two epochs bring it back": ("yes", "no")}
prediction = widgets.Prediction("11.2", questions, interactive=interactive)
prediction

# %% tags=["nbval-ignore-output", "hide-input"]
more = copy.deepcopy(finished["Layer Folding"])
training.train(more, images, training.TrainConfig(num_epochs=2, lr=1e-3, seed=seed, device="cpu"))
stages = {"as trained": networks["Layer Folding"], "rounded": rounded, "merged, 2 epochs more": more}
reached = {
    stage: training.accuracy(network, images.test_images, images.test_labels)
    for stage, network in stages.items()
}
is_back = reached["merged, 2 epochs more"] >= reached["as trained"] - 0.01
prediction.compare(
    {
        "cost of rounding": reached["as trained"] - reached["rounded"],
        "two epochs bring it back": "yes" if is_back else "no",
    },
    pd.Series(reached, name="test accuracy").round(3).to_frame(),
    plots.skip_weight_map(results["Layer Folding"].layers, "Yellow: affine. Dark: a ReLU."),
    r"""
    **See**: a layer that ends neither yellow nor dark is what rounding changes.
    """,
)

# %% [markdown]
# ## How many layers does a stronger penalty leave?
#
# One run is no evidence. Five strengths of Layer Folding's penalty were recorded, with 22 weight layers, 30 epochs and
# three seeds, by `python -m tools.record descendants_mini`. **Predict** how many of the 22 layers are left with each of
# three.

# %% tags=["nbval-ignore-output"]
strengths = ("0", "0.01", "0.25")
prediction = widgets.Prediction(
    "11.3", {f"strength {strength}": (1, 22) for strength in strengths}, interactive=interactive
)
prediction

# %% tags=["nbval-ignore-output", "hide-input"]
recorded = batch.recorded("descendants_mini")
kept = recorded.table.groupby("network")["layers_after"].mean()
is_folding = recorded.table["network"].str.startswith("layer-folding")
folded = recorded.table[is_folding].replace({"network": "layer-folding, "}, "", regex=True)
count = folded.groupby("network")[["layers_after", "between"]].transform("mean")
folded["x"] = folded.pop("network") + count.agg(
    " <br>{0[layers_after]:.1f} layers<br>{0[between]:.1f} α between".format, axis=1
)
folded = folded.rename(columns={"accuracy_before": "as trained", "accuracy_after": "rounded and merged"})
folded = folded.melt("x", ["as trained", "rounded and merged"], "network", "accuracy")
prediction.compare(
    {f"strength {strength}": kept[f"layer-folding, {strength}"] for strength in strengths},
    plots.measure_curves(
        folded,
        "accuracy",
        "Strength of the penalty",
        "test accuracy",
        "Mean over the seeds of the accuracy, of the layers left, and of the α between 0.1 and 0.9.",
        over="x",
        x="strength of the penalty (nats)",
    ),
    r"""
    The strength is a dial. At 0 most $\alpha$ end between 0 and 1, and rounding ruins the network. A stronger penalty leaves
    fewer between, and fewer layers. From 0.05 on one linear layer is left. (The authors' code has 0.25.)

    Why a dial? The penalty $\kappa \, (1 - \alpha^2)$ pulls with $2 \kappa \alpha$: not at all at $\alpha = 0$, where every
    layer starts. The loss must lift $\alpha$ first. Then the pull grows, and what the loss does not hold goes to 1.
    """,
)

# %% [markdown]
# ## Removing skips keeps the layers, removing activations does not
#
# The same recording has the other methods, finished, and beside them plain, residual, ReZero
# ([lesson 4](04_skip_connections.ipynb)) and Dirac networks ([lesson 7](07_dirac.ipynb)). *Plain-conv* is RepVGG without
# its branches.

# %% tags=["nbval-ignore-output", "hide-input"]
written = {"van": "VAN", "vanillanet": "VanillaNet", "rezero": "ReZero", "dirac": "Dirac"}
written |= {"repvgg": "RepVGG", "layer-folding, 0.25": "Layer Folding, 0.25"}
named = recorded.table.replace({"network": written})
others = named[~is_folding].copy()
left = others["layers_after"].astype(str) + " layers"
others["network"] += " (" + left + others["skip_after"].map({True: ", with skips", False: ""}) + ")"
plots.mean_dots(
    others, "accuracy_after", "What is left of 22 layers, and of 8 in convolutions", "test accuracy"
)

# %% tags=["keep_output", "hide-input"]
pairs = [("VAN", "residual"), ("Dirac", "residual"), ("VanillaNet", "plain")]
pairs += [("Layer Folding, 0.25", "plain"), ("RepVGG", "plain-conv")]
differences = {
    one: batch.compare(named, one, other, value="accuracy_after").in_words(other) for one, other in pairs
}
pd.Series(differences, name="test accuracy [95 % interval, in points]").to_frame()

# %% [markdown]
# - *Skips are removed*: the VAN ends 0.8 points above the residual network. (On the full data set it is below it:
#   [evidence](../docs/evidence.md).) ReZero, called SkipInit in convolutional networks, keeps its skips.
# - *Activations are removed*: VanillaNet's 12 layers do better than 22 plain ones. Layer Folding with its strongest penalty
#   is not told apart from these.
# - *Branches are folded*: RepVGG's branches show no gain in a network this small.

# %% [markdown]
# ## Explore
#
# **Misconception**: *a network without skips in its graph was trained without skips.* Whose graph has lost its skips?
#
# *What* is removed and *how* are two choices. Let multipliers remove VanillaNet's activations, or a schedule the skips of a
# VAN. Do the two differ in the end? For which **strengths** of the penalty is nothing removed, and
# for which everything?

# %% tags=["nbval-ignore-output", "hide-input"]
panel = widgets.training_panel(
    images,
    controls=("removed", "remover", "depth", "skip_penalty"),
    depth=depth,
    num_epochs=max(1, num_epochs),
    seed=seed,
    interactive=interactive,
)
panel

# %% [markdown]
# **Correction**: the graphs of a collapsed VAN, of a folded RepVGG and of a plain network have no skip. How they were trained
# does not show. A Dirac network has none even *while it trains*: $(a I + b V)\, x$ is a skip on paper only, since the graph
# computes the weight first.

# %% [markdown]
# ## Exercise 1 · Merge two layers
#
# Write the formula of *The idea*: from $W_1, b_1, W_2, b_2$ the $W$ and $b$ of the one layer that does what the two did.


# %% tags=["nbval-ignore-output"]
### solution
def my_merge(w1, b1, w2, b2):
    return w2 @ w1, w2 @ b1 + b2


### stub
# def my_merge(w1, b1, w2, b2):
#     return None  # your W and b, such as return w, b
#
#
### end
exercises.check_merge(my_merge)

# %% [markdown]
# ## Exercise 2 · Which end without skips?
#
# Say of each method whether the network that is left has no skip-connection: `True` means that it ends **without** any.

# %% tags=["nbval-ignore-output"]
my_endings = dict.fromkeys(["van", "rezero", "dirac", "highway", "vanillanet", "repvgg"])
### solution
my_endings = {name: name not in ("rezero", "highway") for name in my_endings}
### stub
# my_endings["van"] = None  # your answers: True or False
# my_endings["rezero"] = None  # …
# my_endings["dirac"] = None  # …
# my_endings["highway"] = None  # …
# my_endings["vanillanet"] = None  # …
# my_endings["repvgg"] = None  # …
### end
exercises.check_endings(my_endings)

# %% [markdown] tags=["solution"]
# *For the instructor.* Dirac is worth an argument: its layer is $a x + b V x$ inside the ReLU. Is it trained without skips? By
# the graph yes, by its gradients no. A sharp student says that the input layer has no activation either. So it could go
# into layer 1 of a plain network. It could; the library leaves it.

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
# - Two questions sort the methods: *what* is removed (identity, nonlinearity, branches), and *how* (multipliers, a schedule,
#   a penalty, algebra).
# - Two layers with no nonlinearity between them are one layer. Removing the identity keeps the layers; removing the
#   nonlinearity loses them.
# - A schedule, or multipliers that are a clock, go to the end. A penalty ends where it and the loss balance. What it leaves
#   between must be rounded, and that costs accuracy.
# - The graph tells what a network *is*. It does not tell how it was trained.
#
# **Next**: all these networks were made for their method. Can the skips of a network of your own be taken out, trained as it
# is? [12 · Your own network](12_your_network.ipynb).
#
# **Limits of the evidence.** One small data set, on which a linear layer is good already; three seeds. No learning rate was
# searched for, except those of Layer Folding. Its authors start from a *trained* network, we from random weights. RepVGG is
# tiny. No method was run as it was published.
#
# **References.** R. P. Monti, S. Tootoonian and R. Cao (2018), *Avoiding degradation in deep feed-forward networks by
# phasing out skip-connections*, ICANN. · H. Chen et al. (2023), *VanillaNet: the power of minimalism in
# deep learning*, arXiv 2305.12972. · A. B. Dror et al. (2021), *Layer
# folding: neural network depth reduction using activation linearization*, arXiv 2106.09309. · X. Ding et al. (2021),
# *RepVGG: making VGG-style ConvNets great again*, arXiv 2101.03697. · On plain networks that never had a skip: G. Zhang,
# A. Botev and J. Martens (2022), *Deep learning without shortcuts*, ICLR (`models.make("tat")`).

# %% tags=["nbval-ignore-output", "hide-input"]
measured = [(name, after[name][0], result.test_accuracy) for name, result in results.items()]
batch.record_metrics(pd.DataFrame(measured, columns=["method", "layers left", "test accuracy"]))
