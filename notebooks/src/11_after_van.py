# %% [markdown]
# # 11 · After VAN
#
# *Which other methods remove something during training: what, when, how, and what is left?*
#
# **So far**: a VAN trains with skips that it does not keep, fully connected ([lesson 5](05_phasing_out.ipynb)) and
# convolutional ([lesson 10](10_convolutional_van.ipynb)). It is not alone.
#
# **Time**: 40 minutes of reading and thinking; the cells take about 25 seconds on two processor cores.
#
# **You need**: [lesson 5](05_phasing_out.ipynb); ReZero ([lesson 4](04_skip_connections.ipynb)) and Dirac weights
# ([lesson 7](07_dirac.ipynb)); the product of two matrices.
#
# **Afterwards you can**
#
# - sort six methods by what they remove from a network, and how: by multipliers, a schedule, a penalty, or algebra,
# - merge two layers between which there is no activation, fold parallel branches into one, and prove that nothing changed,
# - read off a graph whether a skip-connection is left, and say why that does not tell how a network was trained,
# - measure what rounding costs where a penalty has not decided.

# %% tags=["parameters"]
depth: int = 12  # number of layers of the fully connected networks
num_epochs: int = 8  # passes over the 5,000 training images
folding_penalty: float = 0.01  # strength of Layer Folding's penalty, in nats
folding_skip_lr: float = 0.5  # learning rate of its skip weights
seed: int = 0  # of initial weights and order of examples
device: str = "auto"  # auto, cpu, cuda or mps
interactive: bool = True  # controls to press; false draws plain figures instead

# %%
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
# ## The idea
#
# Six methods, and what each layer is while it trains (orange: what goes, or comes):
#
# ![Six layers: VAN with a dashed skip, VanillaNet with one of two activations dashed, Layer Folding with both dashed, ReZero with a growing branch, Dirac with an identity inside the weight, RepVGG with three branches of which two are folded](../assets/figures/descendants.svg)
#
# | method | while training | removed | how |
# | --- | --- | --- | --- |
# | VAN | $\alpha x + (1 - \alpha) f(x)$ | the skip, $\alpha \to 0$ | multipliers, here a clock (lesson 6) |
# | VanillaNet | $\alpha z + (1 - \alpha)\,\text{relu}(z)$ in every second layer | the activation, $\alpha \to 1$ | a schedule |
# | Layer Folding | the same in every layer | the activation, where $\alpha \to 1$ | a penalty on $1 - \alpha^2$ |
# | ReZero, SkipInit | $x + s f(x)$, $s$ from 0 | nothing; the branch is added | – |
# | Dirac | $W = \text{diag}(a)\, I + \text{diag}(b)\, V / \lvert V \rvert$ | the identity, into the weight | algebra, at the end |
# | RepVGG | $\text{norm}(W_3 * x) + \text{norm}(W_1 * x) + \text{norm}(x)$ | two of three branches | algebra, at the end |
#
# ($z$ is what the activation gets, $W x + b$. SkipInit is ReZero for convolutions.) Note the arrow of $\alpha$. A VAN phases
# the *identity* out. VanillaNet phases the *nonlinearity* out, until the identity stands in its place: its $\alpha$ is the
# weight of a skip round the *activation*. Why would one want that? Because of what two linear layers are without an activation between them:
#
# $$W_2 (W_1 x + b_1) + b_2 = (W_2 W_1)\, x + (W_2 b_1 + b_2)$$
#
# one linear layer. The same algebra adds up parallel branches, since $A x + B x = (A + B)\, x$, and batch normalization in
# eval mode is linear as well. So what one calls a layer, or a branch, is only what stands between two nonlinearities.

# %% [markdown]
# ## Predict
#
# The five fully connected networks have `depth` layers between an input layer and a head: 14 weight layers in a row
# where `depth` is 12. RepVGG is a small convolutional network: a first convolution, three blocks, a head. In the end what
# algebra can merge is merged, and what it can fold is folded. How many weight layers are left of each then? And which of
# them still have a skip-connection in their graph?

# %%
my_prediction = {
    "VAN": None,  # number of layers left
    "VanillaNet": None,
    "Layer Folding": None,
    "ReZero": None,
    "Dirac": None,
    "RepVGG": None,
}
my_skips = dict.fromkeys(my_prediction)  # None for each; put in True where a skip is left, or False

# %% [markdown]
# ## Run
#
# All six are recipes of the library: `models.make(name)` makes the network, and a recipe's `training` holds what
# `TrainConfig` must be told. On the way we measure what is left of what each method has put in or wants to remove.


# %%
def left(name, network):
    if name == "ReZero":
        return torch.stack([layer.connection.scale for layer in network.layers]).abs().mean().item()
    if name == "Dirac":
        diracs = [layer.linear.parametrizations.weight[0] for layer in network.layers]
        return torch.stack([dirac.identity_scale for dirac in diracs]).abs().mean().item()
    if name == "RepVGG":
        return 1.0  # nothing happens to the branches while it trains
    mean = models.skip_weights(network).mean().item()
    return mean if name == "VAN" else 1.0 - mean


# %% tags=["nbval-ignore-output"]
conv = {"depth": 5, "width": 8, "in_channels": 1}
folding = {"skip_penalty": folding_penalty, "skip_lr": folding_skip_lr}
methods = {
    "VAN": ("van", {"depth": depth}, {}),
    "VanillaNet": ("vanillanet", {"depth": depth}, {}),
    "Layer Folding": ("layer-folding", {"depth": depth}, folding),
    "ReZero": ("rezero", {"depth": depth}, {}),
    "Dirac": ("dirac", {"depth": depth}, {}),
    "RepVGG": ("repvgg", conv, {"num_epochs": max(1, num_epochs // 4)}),
}
networks, results, course = {}, {}, []
for name, (recipe, choices, told) in methods.items():
    network = models.make(recipe, seed=seed, **choices)
    settings = {"num_epochs": num_epochs, "seed": seed, "device": device}
    settings |= {
        "stagger": 0.0,
        "dual_lr_spread": 5.0,
    }  # simultaneously, faster next to the input, as in the recorded runs
    config = training.TrainConfig(**{**settings, **models.FAMILY[recipe].training, **told})
    trainer = training.Trainer(network, small_images if name == "RepVGG" else images, config)
    course.append((name, 0.0, left(name, network)))
    bar = tqdm(trainer, total=config.num_epochs, desc=f"{name:13s}", unit="epoch", file=sys.stdout)
    for record in bar:
        course.append((name, record.step / trainer.num_steps, left(name, network)))
        bar.set_postfix_str(f"test accuracy {record.test_accuracy:.3f}")
    networks[name], results[name] = network.cpu(), trainer.result()

# %% [markdown]
# ## The algebra at the end
#
# `collapse` takes out the skips of a VAN and folds Dirac weights and branches. `merge` makes one layer of two where the
# activation is gone, which asks for an $\alpha$ of exactly 1, and where it stays, for exactly 0. VanillaNet's schedule gives
# it that. Layer Folding's penalty need not, so we round: below a half to 0, else to 1. It may even leave no activation at
# all. Then no layer is left to `merge`, and the whole network is one affine map, which is known by what it makes of 0 and
# of the unit vectors. ReZero keeps its skips: there is nothing to do.


# %%
@torch.no_grad()
def rounded(network):
    copied = copy.deepcopy(network)
    copied.skip_weight.round_()
    return copied


@torch.no_grad()
def affine(network):
    outputs = network.eval()(torch.cat((torch.zeros(1, 784), torch.eye(784))))
    linear = torch.nn.Linear(784, 10)
    linear.weight.copy_((outputs[1:] - outputs[0]).T)
    linear.bias.copy_(outputs[0])
    return torch.nn.Sequential(torch.nn.Flatten(), linear)


to_finish = {**networks, "Layer Folding": rounded(networks["Layer Folding"])}
fold = affine if to_finish["Layer Folding"].skip_weight.all() else models.merge
finish = {"VanillaNet": models.merge, "Layer Folding": fold, "ReZero": copy.deepcopy}
finished = {name: finish.get(name, models.collapse)(network) for name, network in to_finish.items()}

# %% [markdown]
# ## Evidence
#
# Layers are counted where they run, and skip-connections looked for in the exported graph. *Same answers* compares the
# network before and after the algebra (for Layer Folding: after rounding, and after merging). How many layers Layer
# Folding keeps depends on the run, so here it only says whether at least half have gone.


# %% tags=["keep_output"]
def facts(network, inputs):
    layers = diagnostics.costs({"": network}, inputs, seconds_per_model=0.0)["layers"].item()
    return layers, models.has_skip(torch.export.export(network.eval(), (inputs,)))


def same(one, other, inputs):
    with torch.no_grad():
        return torch.allclose(one.eval()(inputs), other.eval()(inputs), atol=1e-2)


facts_of = {}
print(f"{'':15s}layers    skip-connection        same answers")
for name, network in networks.items():
    tested = (small_images if name == "RepVGG" else images).test_images
    before, after = facts(network, tested[:2]), facts(finished[name], tested[:2])
    facts_of[name] = before + after
    layers = after[0] if name != "Layer Folding" else "<= half" if 2 * after[0] <= before[0] else "> half"
    agree = same(to_finish[name], finished[name], tested)
    print(f"{name:14s} {before[0]:2d} -> {layers!s:8s}{before[1]!s:5} -> {after[1]!s:5}         {agree}")

# %% [markdown]
# Two surprises in the column of the skips. VanillaNet and Layer Folding never had a skip-connection in this sense: theirs
# goes round an activation, not round a weight. And Dirac has none even *while it trains*: $(a I + b V)\, x$ is
# $a x + b V x$ on paper, a skip round a weight, but the graph computes the weight first.

# %% [markdown]
# ### Your prediction beside what came

# %% tags=["nbval-ignore-output"]
comparison = pd.DataFrame(
    [(name, before, after, kept) for name, (before, _, after, kept) in facts_of.items()],
    columns=["method", "layers before", "layers after", "skips left"],
)
tests = {name: small_images if name == "RepVGG" else images for name in networks}
for column, chosen in {"trained": networks, "finished": finished}.items():
    comparison[f"accuracy, {column}"] = [
        round(training.accuracy(chosen[name], tests[name].test_images, images.test_labels), 3)
        for name in networks
    ]
comparison["layers predicted"] = comparison["method"].map(my_prediction)
comparison["skips predicted"] = comparison["method"].map(my_skips)
comparison.astype(object).fillna("–")

# %% [markdown]
# (RepVGG saw small images for a quarter as many epochs: its accuracy is not to be compared with that of the others. And
# whoever looked closely will say that the input layer has no activation behind it, so that in a plain network it could go
# into layer 1 by the same algebra. It could; the library leaves it where it is.)

# %% [markdown]
# ## Look
#
# **See**: when each method removes what it removes. The multipliers of the VAN and the schedule of VanillaNet are done before
# the training ends. The network that is left is then trained further, with little learning rate under the cosine schedule.
# Layer Folding's activations are removed where the penalty outweighs the loss. Dirac's $a$ stays near 1 and RepVGG's
# branches stay as they are; algebra removes both at the end. ReZero is the reverse: its line is $|s|$, which starts at 0,
# and the skip beside it stays.

# %% tags=["nbval-ignore-output"]
ends = dict.fromkeys(networks, 0.0) | {"ReZero": left("ReZero", networks["ReZero"])}
ends["Layer Folding"] = 1.0 - to_finish["Layer Folding"].skip_weight.mean().item()
table = [*course, *((name, 1.1, end) for name, end in ends.items())]
plots.measure_curves(
    pd.DataFrame(table, columns=["network", "training", "left"]),
    "left",
    "What is left",
    "mean over the layers (share)",
    caption="Each network's last point, at 1.1, is after the algebra.",
    over="training",
    x="share of the training",
)

# %% [markdown]
# Layer Folding, layer by layer. **See**: yellow is an activation that is gone. A layer ends yellow or dark, or
# between, and there rounding will cost something. **Predict** how much test accuracy it costs in all, and whether two
# epochs of training more bring it back.

# %%
my_rounding = {"cost of rounding": None, "two epochs bring it back": None}  # a number; True or False

# %% tags=["nbval-ignore-output"]
plots.skip_weight_map(results["Layer Folding"].layers, "Yellow: affine. Dark: a rectifier.")

# %% tags=["nbval-ignore-output"]
alphas = models.skip_weights(networks["Layer Folding"])
more = copy.deepcopy(finished["Layer Folding"])
training.train(more, images, training.TrainConfig(num_epochs=2, lr=1e-3, seed=seed, device="cpu"))
stages = {
    stage: training.accuracy(network, images.test_images, images.test_labels)
    for stage, network in {
        "as trained": networks["Layer Folding"],
        "rounded": to_finish["Layer Folding"],
        "merged": finished["Layer Folding"],
        "merged, and trained for 2 epochs more": more,
    }.items()
}
for stage, accuracy in stages.items():
    print(f"Layer Folding, {stage:36s}: test accuracy {accuracy:.3f}")
print("alphas:", [round(alpha, 2) for alpha in alphas.tolist()])
last = stages["merged, and trained for 2 epochs more"]
found = (stages["as trained"] - stages["rounded"], last >= stages["as trained"] - 0.01)
exercises.beside(my_rounding, dict(zip(my_rounding, found, strict=True)))

# %% [markdown]
# ## What it costs to run
#
# Before and after the algebra; multiply-adds for one image, memory and time for a batch of 100. **See**: a collapsed VAN
# saves the mixing, and no layer. Merging saves layers, so multiply-adds. A folded Dirac layer need not compute its weight
# any more, and a folded RepVGG runs one convolution where there were two and a normalization round them.

# %% tags=["nbval-ignore-output"]
rows = []
for name in networks:
    measured = diagnostics.costs(
        {f"{name}, before": networks[name], f"{name}, after": finished[name]},
        tests[name].test_images[:100],
        seconds_per_model=0.1,
    )
    rows.append(measured)
pd.concat(rows, ignore_index=True).round(2)

# %% [markdown]
# ## One run is no evidence
#
# Depth 20, 30 epochs, three seeds, recorded, with plain and residual networks beside them. Layer Folding stands there with
# five strengths of its penalty. *Left* is what the figure shows, at the end of the training, and *between* counts the
# $\alpha$ from 0.1 to 0.9. *Layers* is of what were 22 (of the convolutional networks 8 and 5). *Before* and *after* are test
# accuracies: as trained, and of the network that remains, rounded where need be, with its standard deviation.
# **Predict** how many of the 22 layers Layer Folding keeps, by the strength of its penalty.

# %%
my_dial = {0: None, 0.01: None, 0.02: None, 0.05: None, 0.25: None}

# %% tags=["keep_output"]
recorded = batch.recorded("descendants_mini")
grouped = recorded.table.groupby("network", sort=False)
names = {
    "share_left": "left",
    "between": "between",
    "layers_after": "layers",
    "accuracy_before": "before",
    "accuracy_after": "after",
}
summary = grouped[list(names)].mean().rename(columns=names)
summary["sd"] = grouped["accuracy_after"].std()
summary["skip"] = grouped["skip_after"].all()
print(summary.round(3).to_string())
print("seeds:", recorded.table["seed"].nunique(), "  made by:", recorded.command)

# %% tags=["nbval-ignore-output"]
exercises.beside(
    {f"strength {strength}": value for strength, value in my_dial.items()},
    {f"strength {strength}": summary.loc[f"layer-folding, {strength}", "layers"] for strength in my_dial},
)

# %% [markdown]
# **Read** it in three steps, with 95 % intervals of the paired differences (lesson 5). *Methods that keep the layers*: the VAN
# ends 0.8 points above the residual network here, at depth 20, and ReZero 0.7 points. (On the full data set the VAN is below
# it at that depth, and in lesson 5, at depth 40, the two are not told apart.) Dirac is not told apart from it. All but
# ReZero have no skip in the end. VanillaNet has 12 layers left of 22, and is above the plain network that keeps its 22,
# which has BatchNorm bias 0.
#
# *Methods that remove layers*: the strength of Layer Folding's penalty is a dial. At 0 hardly any $\alpha$ comes near 0 or 1,
# and rounding ruins the network. The stronger the penalty, the fewer stay between, the less rounding costs, and the fewer
# layers are left. At 0.25, the strength in the authors' code, *nothing* is left but one linear layer. But the authors start
# from a *trained* network, such as a ResNet. Here the training starts from random weights, so this dial says nothing about
# their setting. And one linear layer is no disaster on these images: the plain network of 22 layers has a lower mean, though
# three seeds do not tell the two apart. A method that removes nonlinearity has an easy task here.
#
# *Methods that fold*: RepVGG's branches show no gain in this small network of five layers. It is not told apart from the plain
# network that it folds into, trained as it is (plain-conv).

# %% [markdown]
# How Layer Folding's penalty pulls explains the dial. A strength $\kappa$ costs $\kappa \, (1 - \alpha^2)$ and pulls with
# $2 \kappa \alpha$: not at all at $\alpha = 0$, where every layer starts. The first steps are the loss's alone: in a deep plain network it likes a leaky
# rectifier, and lifts every $\alpha$. From there on the pull grows with $\alpha$, and whatever the loss does not hold runs off
# to 1. At the library's learning rate of the skip weights, 0.001, hardly anything moves in so short a training, hence the
# larger `folding_skip_lr`. It and the strength were chosen on a validation set, so that some layers stay.

# %% [markdown]
# ## Explore
#
# **Misconception**: *a network without skips in its graph was trained without skips.* In the evidence above look for the
# methods whose graph has lost a skip by the end, and for the one that had none even while it trained on one.
#
# *What* is removed and *how* are two choices, and the methods above are only some of the pairs. Let multipliers remove
# VanillaNet's activations, or a fixed schedule the skips of a VAN. Do multipliers and a schedule differ in the end, where
# both take as long? With the penalty: for which **strengths** is nothing removed, and for which everything?

# %% tags=["nbval-ignore-output"]
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
# **Set right**: the graphs of a folded RepVGG, of a collapsed VAN and of a plain network look alike, with `False` in the
# last column of the evidence. What they went through does not show in it; and Dirac's skip never showed at all.

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
# ## Exercise 2 · Count before you merge
#
# A VanillaNet of depth 21: layers 1, 3, 5, …, 21 have lost their activation. How many layers are left between input layer
# and head?

# %% tags=["nbval-ignore-output"]
### solution
my_layers = 21 // 2
### stub
# my_layers = None  # your number
### end
exercises.check_merged_layers(my_layers, depth=21)

# %% [markdown]
# ## Exercise 3 · Who ends without skips?
#
# Say of each method whether the network that is left has a skip-connection: `True` means it ends **without** any. The check
# goes through them one by one.

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
# *For the instructor.* Dirac is worth an argument. Its graph never has a skip, and still its layer is $a x + b V x$ inside the
# ReLU: is it a network trained without skips? By the graph yes, by its gradients no. The course says: the graph tells what a
# network *is*, not how it was trained. Exercise 2: the last affine layer, 21, goes into the head. In the panel, multipliers
# remove the activations next to the input first, since their dual learning rates are spread over the layers as those of the
# VAN's skips are.

# %% [markdown]
# ## Take away
#
# - Two questions sort the family: *what* is removed (identity, nonlinearity, branches), and *how* (multipliers, a schedule, a
#   penalty, algebra). A VAN removes the identity, VanillaNet and Layer Folding put it in.
# - What has no nonlinearity between, algebra makes one: layers in a row, and branches side by side. The answers stay the
#   same. What changes them comes before: taking each $\alpha$ to its end.
# - A schedule ends where one wants it to, and so do multipliers that are a clock. Layer Folding's penalty, whose pull fades,
#   ends where it and the loss balance, and what is between must be rounded, which costs.
# - A graph without skips says nothing about the training: VAN, Dirac and RepVGG had theirs, of three kinds.
#
# **Next**: all of these networks were made for it. Can the skips of a network of your own be taken out, trained as it is?
# [12 · Your own network](12_your_network.ipynb).
#
# *Further ones*, which the library has not: RMNet (2021) keeps a block's input in additional channels and so removes the
# skip without changing the function. Residual distillation (2020) trains a plain network with the help of a residual
# teacher's later stages. Tailor (2023) removes skips one by one and re-trains with the original as a teacher. Others never
# have a skip, and change the activation so that deep plain networks train: DKS (2021), and TAT (2022) with a leaky ReLU.
#
# **Limits of the evidence.** One small data set, on which a linear layer is good already; depth 20, width 32, three seeds.
# Learning rates are the library's. None was searched for, except those of Layer Folding. RepVGG and its plain twin are
# tiny. None of the methods was run as it was published.
#
# **References.** R. P. Monti, S. Tootoonian and R. Cao (2018), *Avoiding degradation in deep feed-forward networks by
# phasing out skip-connections*, ICANN. · H. Chen, Y. Wang, J. Guo and D. Tao (2023), *VanillaNet: the power of minimalism in
# deep learning*, arXiv 2305.12972. · A. B. Dror, N. Zehngut, A. Raviv, E. Artyomov, R. Vitek and R. Jevnisek (2021), *Layer
# folding: neural network depth reduction using activation linearization*, arXiv 2106.09309. · T. Bachlechner et al. (2020),
# *ReZero is all you need: fast convergence at large depth*, arXiv 2003.04887. · S. De and S. Smith (2020), *Batch
# normalization biases residual blocks towards the identity function in deep networks*, arXiv 2002.10444. · S. Zagoruyko and
# N. Komodakis (2018), *DiracNets: training very deep neural networks without skip-connections*, arXiv 1706.00388. · X. Ding
# et al. (2021), *RepVGG: making VGG-style ConvNets great again*, arXiv 2101.03697. · RMNet: arXiv 2111.00687. · G. Li et al.
# (2020), *Residual distillation: towards portable deep neural networks without shortcuts*, NeurIPS. · Tailor: arXiv
# 2301.07247. · J. Martens et al. (2021), *Rapid training of deep neural networks without skip connections or normalization
# layers using Deep Kernel Shaping* (DKS), arXiv 2110.01765. · G. Zhang, A. Botev and J. Martens (2022), *Deep learning
# without shortcuts: shaping the kernel with tailored rectifiers* (TAT), ICLR, arXiv 2203.08120.

# %% tags=["nbval-ignore-output"]
batch.record_metrics(comparison)
