# %% [markdown]
# # 4 · Skip-connections
#
# *What exactly does a skip-connection repair, and which kinds are there?*
#
# In this lesson you take trained networks apart, layer by layer and skip by skip. How deep is a network with skips when
# its training begins? Once it is trained, what does it need, its layers or its skips? That decides how a skip can be
# removed, which is the subject of lesson 5.
#
# **So far**: skip-connections keep a gradient's size ([lesson 2](02_vanishing_exploding.ipynb)) and keep it from
# shattering ([lesson 3](03_shattered_gradients.ipynb)). Now we ask how.
#
# **Time**: 40 minutes of reading and thinking; the cells take about 25 seconds on two idle processor cores.
#
# **You need**: lessons [1](01_degradation.ipynb) to [3](03_shattered_gradients.ipynb); what a sigmoid is; binomial
# coefficients.
#
# **Afterwards you can**
#
# - write down a residual, a highway and a ReZero layer, and say what each is at initialization,
# - split the gradient of a residual network into its $2^L$ paths, and measure which of them carry it,
# - find out which layers of a trained network do the work,
# - compute what is left of the direct path when every skip is multiplied by a number.

# %% tags=["parameters"]
depth: int = 40  # number of layers of the deep networks
width: int = 32  # units per layer
num_epochs: int = 6  # passes over the 5,000 training images
lr: float = 0.003  # learning rate of the weights
seed: int = 0  # of initial weights and order of examples
device: str = "auto"  # auto, cpu, cuda or mps
interactive: bool = True  # controls to press; false draws plain figures instead

# %% tags=["hide-input"]
import copy
import math
import sys

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from van_tutorial import batch, connections, data, diagnostics, exercises, models, plots, training, widgets

torch.set_num_threads(1)  # small networks: more threads would mostly wait for each other
torch.manual_seed(seed)
images = data.load()
inputs, labels = images.train_images[:256], images.train_labels[:256]

# %% [markdown]
# ## The idea: with skips, a gradient takes $2^L$ paths
#
# Let $f(x)$ be a plain layer. A skip-connection leads $x$ around it. There are three common kinds:
#
# | kind | layer | at initialization | learned about the skip |
# | --- | --- | --- | --- |
# | residual | $x + f(x)$ | $x$ and $f(x)$ in full | nothing |
# | highway | $T(x) \, f(x) + (1 - T(x)) \, x$ | mostly $x$ | a gate for each unit, computed from $x$ |
# | ReZero | $x + s \, f(x)$ | $x$, since $s = 0$ | $s$, one number a layer |
#
# The **transform gate** $T(x) = \mathrm{sigmoid}(W_T x + b_T)$ of a highway layer lies between 0 and 1, for each unit.
# Its bias starts *negative*. At $b_T = -3$ and small $W_T x$ the gate is 0.05, and 95 % of $x$ goes around the layer.
#
# ![Three layers with a skip-connection: a residual one adds x and f of x; in a highway layer a gate T divides the output between them; in ReZero f of x is multiplied by a number s](../assets/figures/skip_connections.svg)
#
# Now the gradient. A residual layer has the derivative $I + J_l$, where $J_l$ is that of $f_l$. A plain layer lacks the
# $I$. Multiplied out over $L$ layers, the derivative is a sum over $2^L$ **paths**:
#
# $$\frac{\partial x_L}{\partial x_0} = \prod_{l=1}^{L} (I + J_l) = I + \sum_l J_l + \sum_{l > m} J_l J_m + \dots$$
#
# At each layer a path goes through $f_l$ or around it. The **direct path**, $I$, goes around all of them, and nothing
# shrinks it. A plain network has a single path, the longest.
#
# ![A residual network of three layers, and beside it the eight paths through it: one passes no layer, three pass one, three pass two, one passes all three](../assets/figures/skip_paths.svg)
#
# (For the gradient this is exact. For the forward signal it is only a picture, since $f$ is not linear.)

# %% [markdown]
# ## Predict
#
# You train four networks of `depth` layers, and a plain one with a quarter of that depth. Which accuracy will each reach
# **on the training set**? Chance is 0.10.

# %% tags=["nbval-ignore-output"]
names = ("plain, shallow", "plain", "residual", "highway", "ReZero")
prediction = widgets.Prediction("4.1", dict.fromkeys(names, (0, 1)), interactive=interactive)
prediction

# %% [markdown]
# ## Run
#
# All but ReZero have batch normalization in $f$. ReZero was invented to do without it.

# %%
networks = {
    "plain, shallow": {"connection": "plain", "depth": max(1, depth // 4)},
    "plain": {"connection": "plain"},
    "residual": {"connection": "residual"},
    "highway": {"connection": "highway"},
    "ReZero": {"connection": "rezero", "normalization": "none"},
}

# %% tags=["nbval-ignore-output", "hide-input"]
config = training.TrainConfig(num_epochs=num_epochs, lr=lr, seed=seed, device=device)
results, gradients = {}, {}
for name, choices in networks.items():
    network = models.mlp(**{"depth": depth, "width": width, "seed": seed, **choices})
    gradients[name] = diagnostics.layer_norms(network, inputs, labels)  # before training
    trainer = training.Trainer(network, images, config)
    for _ in tqdm(trainer, total=num_epochs, desc=f"{name:15s}", unit="epoch", file=sys.stdout):
        pass  # the trainer yields after each epoch
    results[name] = trainer.result()
trained = {name: result.model.cpu() for name, result in results.items()}

# %% [markdown]
# ### Prediction and result

# %% tags=["nbval-ignore-output", "hide-input"]
on_training = {name: result.history["train_accuracy"].iloc[-1] for name, result in results.items()}
comparison = pd.DataFrame(
    {
        "network": list(results),
        "layers": [len(network.layers) for network in trained.values()],
        "training accuracy": [round(value, 3) for value in on_training.values()],
        "test accuracy": [round(result.test_accuracy, 3) for result in results.values()],
    }
)
prediction.compare(on_training)

# %% [markdown]
# ## Evidence: every kind of skip trains the deep network

# %% tags=["keep_output", "hide-input"]
exercises.findings(
    {
        "Residual, highway and ReZero are each at least 0.2 above plain in training accuracy.": all(
            on_training[name] - on_training["plain"] >= 0.2 for name in ("residual", "highway", "ReZero")
        ),
    }
)

# %% tags=["nbval-ignore-output", "hide-input"]
plots.layer_norm_curves(gradients, caption="Before training: gradient norm at each layer's output.")

# %% [markdown]
# **See**: in the plain network the gradient explodes in the backward pass, as in lesson 2. With each kind of skip it
# keeps its size to within a factor of ten.

# %% [markdown]
# ## Three seeds agree: every kind trains 80 layers
#
# The same networks were recorded at three depths with three seeds, ten epochs each. Accuracy in eval mode at the end:

# %% tags=["nbval-ignore-output", "hide-input"]
recorded = batch.recorded("skip_connections_mini").table.replace({"network": {"rezero": "ReZero"}})
by_depth = recorded[recorded["network"].isin(list(networks))]
plots.measure_curves(
    by_depth, "train_accuracy", "Accuracy and depth", "training accuracy", over="depth", x="depth (layers)"
)

# %% [markdown]
# **See**: plain networks fall from 0.87 to chance. Every kind of skip repairs degradation. Residual networks lose a
# little with depth even on the training set (0.92, 0.90, 0.89). Highway and ReZero networks do not.
#
# On the test set highway networks are ahead of residual ones at 80 layers; at 10 and 40 three seeds do not tell them
# apart. But a highway layer has twice as many weights, so this is no contest of equals.

# %% [markdown]
# ## Which paths carry the gradient?
#
# Most of the $2^L$ paths are about $L / 2$ layers long, simply because there are so many of that length. Do they also
# *carry* most of the gradient? Let $\gamma_l$ be the factor by which $J_l$ multiplies a gradient's squared norm. If the
# paths are independent, a path through the layers $S$ carries $\prod_{l \in S} \gamma_l$. All paths together carry
# $\prod_l (1 + \gamma_l)$. So the fraction that paths of length $k$ carry is the coefficient of $t^k$ in
# $\prod_l (1 + \gamma_l t) / (1 + \gamma_l)$. A loop multiplies that out.
#
# **Predict** for an untrained residual network of `depth` layers: how many layers does the gradient pass on average?
# Each path counts by what it carries.

# %% tags=["nbval-ignore-output"]
prediction = widgets.Prediction(
    "4.2", {"with batch normalization": (0, depth), "without": (0, depth)}, interactive=interactive
)
prediction


# %%
def branch_gains(network):
    x, gains = network.input_layer(inputs.flatten(1)).detach(), []
    for layer in network.layers:
        x.requires_grad_()
        output = layer.transform(x, layer.activation)
        sent = torch.randn_like(output)
        (received,) = torch.autograd.grad(output, x, sent)
        gains.append((received.square().sum() / sent.square().sum()).item())
        x = layer(x, None).detach()
    return np.array(gains)


def path_fractions(gains):
    fractions = np.ones(1)
    for gain in gains:
        fractions = np.convolve(fractions, [1.0, gain]) / (1.0 + gain)
    return fractions


# %% tags=["nbval-ignore-output", "hide-input"]
gains = {
    "with batch normalization": branch_gains(models.mlp(depth, width, "residual", seed=seed)),
    "without": branch_gains(models.mlp(depth, width, "residual", normalization="none", seed=seed)),
}
fractions = {"number of paths": path_fractions(np.ones(depth))}
fractions |= {f"gradient, {name}": path_fractions(values) for name, values in gains.items()}
lengths = {name: float(values @ np.arange(depth + 1)) for name, values in fractions.items()}
paths = pd.concat(
    [
        pd.DataFrame({"network": name, "length": np.arange(depth + 1), "fraction": values})
        for name, values in fractions.items()
    ]
)
prediction.compare(
    {name: lengths[f"gradient, {name}"] for name in gains},
    plots.measure_curves(
        paths,
        "fraction",
        "Paths through a residual network",
        "fraction (of all paths)",
        "By number, and by the squared gradient that they carry at initialization (taken as independent).",
        over="length",
        x="length of the path (layers passed)",
    ),
    r"""
    **See**: by number, the paths lie around half the depth. With batch normalization, what carries the gradient lies far
    to the left: in effect a network of a few layers. Without it, long paths carry as much as short ones, so the two curves
    at the right lie on each other.
    """,
)


# %% tags=["keep_output", "hide-input"]
few = sum(math.comb(depth, length) for length in range(depth // 4 + 1))
carried = fractions["gradient, with batch normalization"][: depth // 4 + 1].sum()
passed = {name: lengths[f"gradient, {name}"] for name in gains}
first, *_, last = gains["with batch normalization"]
exercises.findings(
    {
        f"With batch normalization, {few / 2**depth:.2%} of the paths carry over 0.95 of the squared gradient: "
        "those through at most a quarter of the layers.": carried > 0.95,
        "The gradient passes fewer than 5 layers on average with batch normalization, and over 15 without.": (
            passed["with batch normalization"] < 5 and passed["without"] > 15
        ),
        f"With batch normalization, γ falls from {first:.1f} in the first layer to {last:.2f} in the last.": (
            first > 10 * last
        ),
    }
)

# %% tags=["nbval-ignore-output", "hide-input"]
prediction.show(
    r"""
    Why does $\gamma_l$ fall? After normalization every $f$ has the same size, while the sum $x$ grows with each layer that
    adds to it. So the fraction of a new $f$ in it falls. Batch normalization does to a residual network what ReZero does
    explicitly.

    Without normalization $\gamma_l$ stays near 1, and the gradient grows in every layer. So a skip alone does not keep a
    gradient's size. A skip *and* a small branch do.
    """
)

# %% [markdown]
# ## What does the trained network need?
#
# Remove one layer of a trained network: its input goes straight to the next one. Test again. Then remove
# *all skips* of the trained residual network, and keep its layers. **Predict** how much *test accuracy* one layer costs,
# on average over the layers, and how much accuracy is left without the skips.

# %% tags=["nbval-ignore-output"]
prediction = widgets.Prediction(
    "4.3",
    {
        "plain, shallow: cost of one layer": (0, 1),
        "residual: cost of one layer": (0, 1),
        "residual: left without skips": (0, 1),
    },
    interactive=interactive,
)
prediction


# %%
def without_layer(network, index):
    cut = copy.deepcopy(network)
    cut.layers[index].forward = lambda x, skip_weight: x
    return training.accuracy(cut, images.test_images[:500], images.test_labels[:500])


without_skips = copy.deepcopy(trained["residual"])
for layer in without_skips.layers:
    layer.connection = connections.Plain()

# %% tags=["nbval-ignore-output", "hide-input"]
whole = {name: training.accuracy(network, images.test_images[:500], images.test_labels[:500])
         for name, network in trained.items() if name != "plain"}  # fmt: skip
cuts = pd.DataFrame(
    [
        (name, index + 1, without_layer(trained[name], index))
        for name in whole
        for index in range(len(trained[name].layers))
    ],
    columns=["network", "layer", "accuracy"],
)
cost = {name: whole[name] - cuts.query("network == @name")["accuracy"].mean() for name in whole}
left = training.accuracy(without_skips, images.test_images, images.test_labels)
found = {f"{name}: cost of one layer": cost[name] for name in ("plain, shallow", "residual")}
prediction.compare(
    found | {"residual: left without skips": left},
    plots.measure_curves(
        cuts,
        "accuracy",
        "One layer removed",
        "test accuracy without it",
        "Each point is the trained network without one of its layers.",
        over="layer",
        x="layer removed (1 is next to the input)",
    ),
    r"""
    **See**: the plain network needs every layer; without any one of them it is close to chance. With skips of any kind,
    hardly a layer is missed.
    """,
)

# %% tags=["keep_output", "hide-input"]
exercises.findings(
    {
        "Without one layer the shallow plain network loses at least 0.4 on average.": cost["plain, shallow"]
        >= 0.4,
        "Residual, highway and ReZero each lose at most 0.05.": all(
            cost[name] <= 0.05 for name in ("residual", "highway", "ReZero")
        ),
        "Without its skips the residual network keeps at most 0.3.": left <= 0.3,
    }
)

# %% tags=["nbval-ignore-output", "hide-input"]
prediction.show(
    r"""
    Keep both halves in mind. No single *layer* of a residual network matters much. Without one, half of the paths are left,
    and nearly all of the short ones. Yet the *skips* matter: without them the network is close to chance. If you want a
    plain network in the end, its layers need time to learn to do without.
    """
)

# %% [markdown]
# ## A skip weight below 1 weakens the direct path
#
# Multiply each skip by a skip weight $\alpha$. The direct path was $I$; now it is $\alpha^L I$.
# With 40 layers that is 0.015 at $\alpha = 0.9$, and 45 at 1.1. A highway network does this with $1 - T$. So does the
# VAN of lesson 3, which *mixes* input and output: $\alpha x + (1 - \alpha) f(x)$.
#
# He and others measured what such a mix costs (published, CIFAR-10, a residual network of 110 layers, median of five
# runs). With the identity as its skip the test error is 6.61 %, with $0.5 \, x + 0.5 \, F(x)$ it is 12.35 %.
#
# This is the standing objection to phasing out a skip. The mix is the identity at $\alpha = 1$ and plain at
# $\alpha = 0$. What happens in between? **Predict** the $\alpha$ at which least of the gradient arrives at the first
# layer, with and without batch normalization.

# %% tags=["nbval-ignore-output"]
alphas = ("1.0", "0.95", "0.75", "0.5", "0.25", "0.0")
normalizations = {"without normalization": "none", "with batch normalization": "batch"}
prediction = widgets.Prediction("4.4", dict.fromkeys(normalizations, alphas), interactive=interactive)
prediction


# %% tags=["nbval-ignore-output", "hide-input"]
def arriving(network):
    norms = diagnostics.layer_norms(network, inputs, labels)["output_grad_norm"]
    return norms.iloc[0] / norms.iloc[-1]


def mix(alpha, normalization):
    return models.mlp(depth, width, "van", skip_weight=float(alpha), normalization=normalization, seed=seed)


arrives = {
    name: {alpha: arriving(mix(alpha, normalization)) for alpha in alphas}
    for name, normalization in normalizations.items()
}
valley = pd.DataFrame(
    [(name, float(alpha), value) for name, table in arrives.items() for alpha, value in table.items()],
    columns=["network", "alpha", "arrives"],
)
prediction.compare(
    {name: min(table, key=table.get) for name, table in arrives.items()},
    plots.measure_curves(
        valley,
        "arrives",
        "Gradient of a mix before training",
        "gradient norm, first / last layer",
        f"{depth} layers. At 1 on the vertical axis, all of it arrives.",
        over="alpha",
        x="skip weight α (0: plain, 1: identity)",
    ).update_yaxes(type="log", dtick=1),
    r"""
    **See**: without normalization there is a valley. Halfway, less than a hundredth of the gradient arrives. With batch
    normalization the valley is shallow and lies near $\alpha = 0.95$. From there the mix goes over to the plain network's
    explosion.
    """,
)

# %% tags=["keep_output", "hide-input"]
none, batch_norm = arrives.values()
exercises.findings(
    {
        "Without normalization, less than a tenth of what either end has arrives at α = 0.5.": none["0.5"]
        < 0.1 * min(none["1.0"], none["0.0"]),
        "With batch normalization, more arrives at α = 0.5 than at α = 1.": batch_norm["0.5"] > 1,
    }
)

# %% [markdown]
# ## Explore
#
# **Misconception**: *any way around a layer will do.* Choose a **depth** and a **connection**, and see its gradient
# before training, layer by layer. For which $\alpha$ are the gradients of 80 layers as level as with 1? Which transform
# bias does a highway network of 80 layers need? Which of this does normalization change?

# %% tags=["hide-input"]
KINDS = {
    "residual": {"connection": "residual"},
    "highway": {"connection": "highway"},
    "ReZero": {"connection": "rezero"},
    "mix: α x + (1 - α) f(x)": {"connection": "van", "skip": "convex"},
    "sum: α x + f(x)": {"connection": "van", "skip": "additive"},
}


@torch.no_grad()
def set_up(kind, layers, normalization, alpha, bias):
    network = models.mlp(layers, width, normalization=normalization, seed=seed, **KINDS[kind])
    if hasattr(network, "skip_weight"):
        network.skip_weight.fill_(alpha)
    for layer in network.layers if kind == "highway" else ():
        layer.connection.gate.bias.fill_(bias)
    return network


def show(layers, kind, normalization, alpha, bias):
    plain = models.mlp(layers, width, "plain", normalization=normalization, seed=seed)
    chosen = set_up(kind, layers, normalization, alpha, bias)
    norms = {name: diagnostics.layer_norms(network, inputs, labels)
             for name, network in {"plain": plain, kind: chosen}.items()}  # fmt: skip
    first, *_, last = norms[kind]["output_grad_norm"]
    caption = f"{kind}, {layers} layers. Gradient norm, first / last layer: {first / last:.2g}."
    return plots.layer_norm_curves(norms, caption=caption)


# %% tags=["nbval-ignore-output", "hide-input"]
panel = widgets.explore_panel(
    show,
    (
        widgets.Slider("layers", "depth (layers)", depth, 2, 100, "Number of layers"),
        widgets.Choice("kind", "connection", "highway", tuple(KINDS), "How x and f(x) are joined"),
        widgets.Choice("normalization", "normalization", "none", ("none", "batch"), "In f"),
        widgets.Slider("alpha", "skip weight α", 0.9, 0.0, 1.2, "For the mix and the sum only"),
        widgets.Slider("bias", "transform bias", -3.0, -8.0, 2.0, "For the highway network only", step=0.5),
    ),
    interactive=interactive,
)
panel

# %% [markdown]
# **Correction**: what counts is the product along the direct path. Multiply every skip by 0.9, or start with gates half
# open, and a deep network has lost it. A way around a layer helps as far as it lets $x$ pass *undiminished*.

# %% [markdown]
# ## Exercise 1 · Short paths
#
# How many of the $2^{40}$ paths through a residual network of 40 layers pass at most 5 of them? (With batch
# normalization they carry most of the gradient.)

# %% tags=["nbval-ignore-output"]
### solution
my_number = sum(math.comb(40, length) for length in range(6))
### stub
# my_number = None  # your number
### end
exercises.check_number_of_paths(my_number, depth=40, longest=5)

# %% [markdown]
# ## Exercise 2 · How negative?
#
# All gates of a highway network have $T = \mathrm{sigmoid}(b_T)$. The direct path past all layers is multiplied by
# $(1 - T)^L$. With which $b_T$ is that a half after 100 layers?

# %% tags=["nbval-ignore-output"]
### solution
carried = 0.5 ** (1 / 100)
my_bias = math.log((1 - carried) / carried)
### stub
# my_bias = None  # your number
### end
exercises.check_transform_bias(my_bias, depth=100, fraction=0.5)

# %% [markdown]
# ## Exercise 3 · Build one
#
# Write the output of a highway layer. You get $x$, $f(x)$ and $W_T x + b_T$, tensors of shape (N, n).


# %% tags=["nbval-ignore-output"]
### solution
def my_highway(x, output, gate):
    transform = torch.sigmoid(gate)
    return transform * output + (1 - transform) * x


### stub
# def my_highway(x, output, gate):
#     return None  # your formula
#
#
### end
exercises.check_highway(my_highway)

# %% [markdown] tags=["solution"]
# *For the instructor.* A good question after the removal of layers: is every layer superfluous, then? No: each one alone
# costs little; let them remove two, five and ten together. Exercise 2: $1 - T = 2^{-1/100}$, $b_T = -4.97$. The library
# takes -4 beyond 50 layers, with which a sixth is left. In the figure of the paths independence is an assumption.

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
# - Residual, highway and ReZero layers differ in what divides the output between $x$ and $f(x)$: nothing, a gate, a
#   number.
# - Through a sum the gradient has $2^L$ paths. With batch normalization, or with $s$ and $T$ near 0, the short ones
#   carry it. So a deep network with skips starts out shallow. As far as we measured, skips repair the *beginning*.
# - After training no single layer with a skip is needed much, but the skips together are.
# - Skips that are multiplied by $\alpha$ leave $\alpha^L$ of the direct path. A mix without normalization loses its
#   gradient halfway.
#
# **Next**: a network can spare a layer with a skip, but not its skips: not simultaneously, and not after training. Can
# it learn *while it loses them*, in spite of the valley? [5 · Phasing out](05_phasing_out.ipynb).
#
# **Limits of the evidence.** One small data set, one width, three seeds. The learning rate was chosen for other networks
# (lesson 5), and none was tuned here. Layers were removed from one network of each kind. The fractions of the paths are
# those of one untrained network, and assume independent paths.
#
# **References.** K. He, X. Zhang, S. Ren and J. Sun (2016), *Deep residual learning for image recognition*, CVPR. ·
# The same (2016), *Identity mappings in deep residual networks*, ECCV (scaled skips; the published errors: its table 1).
# · R. K. Srivastava, K. Greff and J. Schmidhuber (2015), *Highway networks*. · T. Bachlechner and others (2020), *ReZero
# is all you need*. · S. De and S. Smith (2020), *Batch normalization biases residual blocks towards the identity
# function in deep networks*. · H. Zhang, Y. Dauphin and T. Ma (2019), *Fixup initialization: residual learning without
# normalization*, ICLR (small branches at initialization, by hand). · A. Veit, M. Wilber and S. Belongie (2016),
# *Residual networks behave like ensembles of relatively shallow networks*, NIPS (the paths, and layers taken out).

# %% tags=["nbval-ignore-output", "hide-input"]
batch.record_metrics(comparison)
