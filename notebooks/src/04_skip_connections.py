# %% [markdown]
# # 4 · Skip-connections
#
# *What exactly does a skip-connection repair, and which kinds are there?*
#
# **So far**: skip-connections keep a gradient's size ([lesson 2](02_vanishing_exploding.ipynb)) and keep it from
# shattering ([lesson 3](03_shattered_gradients.ipynb)). We have seen *that* they do. Now we ask how.
#
# **Time**: 40 minutes of reading and thinking; the cells take about 20 seconds on two processor cores.
#
# **You need**: lessons [1](01_degradation.ipynb) to [3](03_shattered_gradients.ipynb); what a sigmoid is; how many ways
# there are to choose $k$ things out of $L$.
#
# **Afterwards you can**
#
# - write down a residual, a highway and a ReZero layer, and say what each is at the start,
# - take a residual network apart into its $2^L$ paths, and measure which of them carry the gradient,
# - find out which layers of a trained network do the work, by its gates and by taking layers out,
# - work out what is left of the direct path when every skip is multiplied by a number.

# %% tags=["parameters"]
depth: int = 40  # number of layers of the deep networks
width: int = 32  # units per layer
num_epochs: int = 6  # passes over the 5,000 training images
lr: float = 0.003  # step size of the weights
seed: int = 0  # of initial weights and order of examples
device: str = "auto"  # auto, cpu, cuda or mps
interactive: bool = True  # controls to press; false draws plain figures instead

# %%
import copy
import math
import sys

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from van_tutorial import batch, connections, data, diagnostics, exercises, models, plots, training, widgets

torch.set_num_threads(1)  # small networks: more threads would mostly wait for each other
torch.manual_seed(seed)
images = data.load()
inputs, labels = images.train_images[:256], images.train_labels[:256]

# %% [markdown]
# ## The idea
#
# Let $f(x)$ be a plain layer, as before. A skip-connection leads $x$ round it. Three kinds:
#
# | kind | layer | at the start | what is learned about the skip |
# | --- | --- | --- | --- |
# | residual | $x + f(x)$ | both in full | nothing |
# | highway | $T(x) \, f(x) + (1 - T(x)) \, x$ | mostly $x$ | a gate for every unit, which looks at $x$ |
# | ReZero | $x + s \, f(x)$ | $x$, since $s = 0$ | $s$, one number a layer |
#
# The **transform gate** of a highway layer is $T(x) = \mathrm{sigmoid}(W_T x + b_T)$, a number between 0 and 1 for each
# unit. It begins with a *negative* bias: at $b_T = -3$ and small $W_T x$ it is 0.05, so 95 % of $x$ is carried past the
# layer. (A rectifier's gate is shut or open; this one may be anything between.)
#
# ![Three layers with a skip-connection: a residual one adds x and f of x; in a highway layer a gate T divides the output between them; in ReZero f of x is multiplied by a number s](../assets/figures/skip_connections.svg)
#
# Now the gradient. A residual layer has the derivative $I + J_l$, with $J_l$ that of $f_l$. The $I$ is what the plain
# layer lacks. Multiply it out over $L$ layers:
#
# $$\frac{\partial x_L}{\partial x_0} = \prod_{l=1}^{L} (I + J_l) = I + \sum_l J_l + \sum_{l > m} J_l J_m + \dots$$
#
# a sum over $2^L$ **paths**: at each layer a path goes through it, or past it. The first term goes past all of them,
# and nothing on its way can shrink it. In a plain network there is one path, the longest.
#
# ![A residual network of three layers, and beside it the eight paths through it: one passes no layer, three pass one, three pass two, one passes all three](../assets/figures/skip_paths.svg)
#
# (For the gradient this picture is exact. Forward it is a way to speak, since $f$ is not linear.)

# %% [markdown]
# ## Predict
#
# Four deep networks of `depth` layers are about to be trained, and a plain one of a quarter of that depth. Which
# accuracy do you expect of each **on the images that it was trained on**? Guessing gives 0.10.

# %%
my_prediction = {"plain, shallow": None, "plain": None, "residual": None, "highway": None, "rezero": None}

# %% [markdown]
# ## Run
#
# ReZero does without normalization: that was its point. The others have batch normalization in $f$.

# %% tags=["nbval-ignore-output"]
networks = {
    "plain, shallow": {"connection": "plain", "depth": max(1, depth // 4)},
    "plain": {"connection": "plain"},
    "residual": {"connection": "residual"},
    "highway": {"connection": "highway"},
    "rezero": {"connection": "rezero", "normalization": "none"},
}
config = training.TrainConfig(num_epochs=num_epochs, lr=lr, seed=seed, device=device)
results, gradients = {}, {}
for name, choices in networks.items():
    network = models.mlp(**{"depth": depth, "width": width, "seed": seed, **choices})
    gradients[name] = diagnostics.layer_norms(network, inputs, labels)  # before training
    trainer = training.Trainer(network, images, config)
    for record in (bar := tqdm(trainer, total=num_epochs, desc=f"{name:15s}", unit="epoch", file=sys.stdout)):
        bar.set_postfix_str(f"training accuracy {record.train_accuracy:.3f}")
    results[name] = trainer.result()
trained = {name: result.model.cpu() for name, result in results.items()}

# %% [markdown]
# ## Evidence
#
# Who is behind whom on the training images, and what two of the kinds are at the start:

# %% tags=["keep_output"]
on_training = {name: result.history["train_accuracy"].iloc[-1] for name, result in results.items()}
for name in ("residual", "highway", "rezero"):
    print(f"{name}: at least 0.2 ahead of plain:", on_training[name] - on_training["plain"] >= 0.2)

signal = torch.relu(torch.randn(64, width))
layer = models.mlp(1, width, "highway", seed=seed).layers[0]
nn.init.constant_(layer.connection.gate.bias, -20.0)
is_identity = (layer(signal, None) - signal).abs().max() < 1e-6
print("a highway layer with bias -20 is the identity to 1e-6:", bool(is_identity))
layer = models.mlp(1, width, "rezero", seed=seed).layers[0]
print("a ReZero layer is the identity at the start:", torch.equal(layer(signal, None), signal))

# %% [markdown]
# ### Your prediction beside what came
#
# The column of gradients looks back at lesson 2: the length at the first layer by that at the last, *before* training.

# %% tags=["nbval-ignore-output"]
ratio = {name: table["output_grad_norm"].iloc[[0, -1]].tolist() for name, table in gradients.items()}
comparison = pd.DataFrame(
    {
        "network": list(results),
        "layers": [len(network.layers) for network in trained.values()],
        "training accuracy": [round(value, 3) for value in on_training.values()],
        "test accuracy": [round(result.test_accuracy, 3) for result in results.values()],
        "gradient, first by last": [f"{first / last:.2g}" for first, last in ratio.values()],
    }
)
comparison.assign(predicted=[my_prediction.get(name) for name in results]).astype(object).fillna("–")

# %% [markdown]
# **See**: on the way back through the plain network the gradient explodes, as lesson 2 found. With each kind of skip
# it keeps its size to within a factor of ten.

# %% tags=["nbval-ignore-output"]
plots.layer_norm_curves(gradients, caption="Before training: length of the gradient at each layer's output.")

# %% [markdown]
# ## The paths
#
# Most of the $2^L$ paths are about $L/2$ layers long, simply because there are so many of them. But do they *carry*
# as much? Let $\gamma_l$ be the factor by which $J_l$ multiplies the squared length of a gradient. If the paths are
# independent, one that passes the layers $S$ carries $\prod_{l \in S} \gamma_l$, and all of them together
# $\prod_l (1 + \gamma_l)$. So the share of all paths of length $k$ is a coefficient of a polynomial, which a loop
# multiplies out. **Predict** how long the paths are that carry the gradient of the residual network before training, in
# the mean: of `depth` layers, how many do they pass, with batch normalization and without?

# %%
my_lengths = {"with batch normalization": None, "without": None}  # layers


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


def path_shares(gains):
    shares = np.ones(1)
    for gain in gains:
        shares = np.convolve(shares, [1.0, gain]) / (1.0 + gain)
    return shares


gains = {
    "with batch normalization": branch_gains(models.mlp(depth, width, "residual", seed=seed)),
    "without": branch_gains(models.mlp(depth, width, "residual", normalization="none", seed=seed)),
}
shares = {"number of paths": path_shares(np.ones(depth))}
shares |= {f"gradient, {name}": path_shares(values) for name, values in gains.items()}

# %% tags=["keep_output"]
print(f"paths through {depth} layers: {2**depth:,}")
few = sum(math.comb(depth, length) for length in range(depth // 4 + 1))
print(f"share of them that pass at most a quarter of the layers: {few / 2**depth:.4f}")
lengths = {name: float(values @ np.arange(depth + 1)) for name, values in shares.items()}
carried = shares["gradient, with batch normalization"][: depth // 4 + 1].sum()
print("with batch normalization these carry over 0.95 of the squared gradient:", carried > 0.95)
print("mean length of what carries is below 5 layers:", lengths["gradient, with batch normalization"] < 5)
print("without normalization it is above 15:", lengths["gradient, without"] > 15)
first, *others = gains["with batch normalization"]
print(f"gain of the first layer, with batch normalization: {first:.1f}, of the last: {others[-1]:.2f}")
at_first, at_last = gradients["residual"]["output_grad_norm"].iloc[[0, -1]]
predicted = math.prod(1 + gain for gain in others) ** 0.5
print(f"share of the measured gradient that the product predicts: {predicted / (at_first / at_last):.1f}")


def growth(width, seed):
    bare = models.mlp(depth, width, "residual", normalization="none", seed=seed)
    norms = diagnostics.layer_norms(bare, inputs, labels)["output_grad_norm"]
    return (norms.iloc[0] / norms.iloc[-1]) ** (2 / (depth - 1))


factors = [growth(width, seed) for width in (32, 128) for seed in range(3)]
print(f"growth of the squared gradient a layer, without: {min(factors):.1f} to {max(factors):.1f}")

# %% tags=["nbval-ignore-output"]
exercises.beside(my_lengths, {name: lengths[f"gradient, {name}"] for name in my_lengths})

# %% [markdown]
# **See**: by number the paths lie around half of the depth. What carries the gradient of a residual network *with*
# batch normalization lies far to the left: it is a network of a few layers in effect, at the start. Without
# normalization the long paths carry as much as the short ones.

# %% tags=["nbval-ignore-output"]
paths = pd.concat(
    [
        pd.DataFrame({"network": name, "length": np.arange(depth + 1), "share": values})
        for name, values in shares.items()
    ]
)
plots.measure_curves(
    paths,
    "share",
    "Paths through a residual network",
    "share (of all paths)",
    "By number, and by the squared gradient that they carry at the start (paths taken as independent).",
    over="length",
    x="length of the path (layers passed)",
)

# %% [markdown]
# Why? Each layer's $f$ is normalized to the same size, and the sum $x$ grows with every layer that adds to it. So the
# fraction of a new $f$ in it falls: $\gamma_l$ is 0.5 at the first layer and 0.01 at the fortieth. Batch normalization does
# to a residual network what ReZero does explicitly. Without it $\gamma_l$ stays near 1. Independent paths would then double
# the squared length of the gradient in every layer. Measured, it grows by a factor of 2.6 to 2.9 a layer, for two widths
# and three seeds: the paths are *not* independent. So the skip alone does not keep a gradient's size. The skip *and* a
# small branch do.

# %% [markdown]
# ## Which layers carry?
#
# After training, two ways to ask. First the gates: the mean of $T(x)$ over units and test images, layer by layer. They
# start at about 0.05. **Predict** how far the one that opens most opens.

# %%
my_gate = None  # a mean T(x), from 0 to 1


# %%
@torch.no_grad()
def gate_means(network):
    x, means = network.input_layer(images.test_images.flatten(1)), []
    for layer in network.layers:
        means.append(torch.sigmoid(layer.connection.gate(x)).mean().item())
        x = layer(x, None)
    return pd.DataFrame({"layer": range(1, len(means) + 1), "gate": means})


before = models.mlp(depth, width, "highway", seed=seed).eval()
gates = {"before training": gate_means(before), "after training": gate_means(trained["highway"])}

# %% [markdown]
# **See**: no layer has opened wide. Training raises most gates a little, those next to the input most; everywhere
# more than four fifths of $x$ go past the layer.

# %% tags=["nbval-ignore-output"]
print("my widest gate:", "–" if my_gate is None else my_gate)
print(f"what came: {gates['after training']['gate'].max():.2f}")
plots.measure_curves(
    pd.concat(table.assign(network=name) for name, table in gates.items()),
    "gate",
    "Gates of a highway network",
    "T(x), mean over units and images",
    "0: the layer is passed by. 1: it is passed through.",
    over="layer",
    x="layer (1 is next to the input)",
)

# %% [markdown]
# Then the knife: take one layer out, so that its input goes straight to the next one, and count what the network can
# do still. Last, take *all skips* out of the trained residual network, and leave its layers. **Predict** how much *test
# accuracy* a layer less costs, on average over the layers, in the shallow plain network and in the deep residual one, and
# how much is left without the skips.

# %%
my_cost = {"plain, shallow": None, "residual": None}  # of one layer
my_rest = None  # test accuracy without all skips


# %%
def without_layer(network, index):
    cut = copy.deepcopy(network)
    cut.layers[index].forward = lambda x, skip_weight: x
    return training.accuracy(cut, images.test_images[:500], images.test_labels[:500])


without_skips = copy.deepcopy(trained["residual"])
for layer in without_skips.layers:
    layer.connection = connections.Plain()
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

# %% tags=["keep_output"]
cost = {name: whole[name] - cuts.query("network == @name")["accuracy"].mean() for name in whole}
print("shallow plain network: a layer less costs at least 0.4, on average:", cost["plain, shallow"] >= 0.4)
for name in ("residual", "highway", "rezero"):
    print(f"{name}: a layer less costs at most 0.05, on average:", cost[name] <= 0.05)
left = training.accuracy(without_skips, images.test_images, images.test_labels)
print("residual, all skips taken out at once: at most 0.3 is left:", left <= 0.3)

# %% tags=["nbval-ignore-output"]
pd.DataFrame(
    {
        "network": list(cost),
        "test accuracy": [round(whole[name], 3) for name in cost],
        "cost of a layer": [round(value, 3) for value in cost.values()],
        "predicted": [my_cost.get(name) for name in cost],
    }
).astype(object).fillna("–")

# %% tags=["nbval-ignore-output"]
exercises.beside({"residual, without all its skips": my_rest}, {"residual, without all its skips": left})

# %% [markdown]
# **See**: in the plain network every single layer is needed: without any of them little more than guessing is left.
# With skips of any kind hardly a layer is missed.

# %% tags=["nbval-ignore-output"]
plots.measure_curves(
    cuts,
    "accuracy",
    "One layer taken out",
    "test accuracy without it",
    "Each point is the trained network without one of its layers.",
    over="layer",
    x="layer taken out (1 is next to the input)",
)

# %% [markdown]
# Keep both halves of this in mind. No single *layer* of a residual network matters much, as the picture of the paths
# would have it: taking out one of $L$ layers leaves half of the paths, the short ones nearly all. Yet the *skips*
# matter: take them out at once, and little more than guessing is left. Whoever wants a plain network in the end has to
# give the layers time to learn to do without.

# %% [markdown]
# ## A skip that is multiplied
#
# What if the skip is multiplied by a skip weight $\alpha$? The first term of the sum over paths was $I$. Now it is
# $\alpha^L I$: at $\alpha = 0.9$ and 40 layers 0.015, at 1.1 it is 45. The highway network does just that, with $1 - T$,
# and so does the VAN of lesson 3, which *mixes* input and output, $\alpha x + (1 - \alpha) f(x)$. He and others saw it on CIFAR-10 with a residual network of 110 layers (published errors; median of five
# runs): the identity as skip 6.61 %, $0.5 \, x + 0.5 \, F(x)$ 12.35 %, a 1 × 1 convolution as skip 12.22 %.
#
# This is the standing objection to phasing out a skip: the mix is the identity at $\alpha = 1$ and plain at
# $\alpha = 0$, but in between? **Predict**: at which of 1, 0.95, 0.75, 0.5, 0.25 and 0 does least of the gradient arrive at
# the first layer, without normalization and with batch normalization?

# %%
my_valley = {"none": None, "batch": None}  # an alpha


# %%
def mixed(normalization):
    choices = {"normalization": normalization, "seed": seed}
    return {
        f"alpha {alpha}": diagnostics.layer_norms(
            models.mlp(depth, width, "van", skip_weight=alpha, **choices), inputs, labels
        )
        for alpha in (1.0, 0.95, 0.75, 0.5, 0.25, 0.0)
    }


mixes = {normalization: mixed(normalization) for normalization in ("none", "batch")}

# %% tags=["nbval-ignore-output"]
plots.layer_norm_curves(mixes["none"], caption="Mixes before training, without normalization: a valley.")

# %% [markdown]
# **See** above: without normalization the gradient has a valley: halfway less than a hundredth of it arrives. And below:
# with batch normalization there is a shallow one near $\alpha = 0.95$; from there the mix goes over to the plain network's
# explosion, and on the way it is level.

# %% tags=["nbval-ignore-output"]
plots.layer_norm_curves(mixes["batch"], caption="The same with batch normalization.")


# %% tags=["keep_output"]
def arriving(table):
    return table["output_grad_norm"].iloc[0] / table["output_grad_norm"].iloc[-1]


arrives = {
    name: {alpha: arriving(table) for alpha, table in tables.items()} for name, tables in mixes.items()
}
none, batch_norm = arrives["none"], arrives["batch"]
valley = none["alpha 0.5"] < 0.1 * min(none["alpha 1.0"], none["alpha 0.0"])
print("without normalization, halfway: below a tenth of what either end has:", valley)
print("with batch normalization, halfway: more than at alpha 1:", batch_norm["alpha 0.5"] > 1)

# %% tags=["nbval-ignore-output"]
exercises.beside(my_valley, {name: min(table, key=table.get) for name, table in arrives.items()})

# %% [markdown]
# ## One run is no evidence
#
# Three depths, three seeds, ten epochs, recorded. Accuracy in eval mode, at the end.

# %% tags=["keep_output"]
recorded = batch.recorded("skip_connections_mini")
is_by_depth = recorded.table["network"].isin(["plain", "residual", "highway", "rezero"])
by_depth = recorded.table[is_by_depth]
for column in ("train_accuracy", "test_accuracy"):
    table = by_depth.pivot_table(
        index="depth", columns="network", values=column, aggfunc=["mean", "std"], sort=False
    )
    print(column.replace("_", " "))
    print(table.swaplevel(axis=1).sort_index(axis=1, level=0, sort_remaining=False).round(3).to_string())
print("seeds:", by_depth["seed"].nunique(), "  made by:", recorded.command)

# %% tags=["nbval-ignore-output"]
plots.accuracy_by_depth(by_depth)

# %% [markdown]
# And does the *negative* bias of the highway gates matter? Depth 40, biases of 0, -1, -3 and -5, with batch
# normalization and without. **Predict** the test accuracy with each.

# %%
my_biases = {0: None, -1: None, -3: None, -5: None}

# %% tags=["keep_output"]
by_bias = recorded.table[~is_by_depth].sort_values("transform_bias", ascending=False)
for column in ("train_accuracy", "test_accuracy"):
    table = by_bias.pivot_table(
        index="transform_bias", columns="normalization", values=column, aggfunc=["mean", "std"], sort=False
    )
    print(column.replace("_", " "))
    print(table.swaplevel(axis=1).sort_index(axis=1, level=0, sort_remaining=False).round(3).to_string())

# %% tags=["nbval-ignore-output"]
came = by_bias[by_bias["normalization"] == "batch"].groupby("transform_bias")["test_accuracy"].mean()
exercises.beside(
    {f"bias {bias}": value for bias, value in my_biases.items()},
    {f"bias {bias}": came[bias] for bias in my_biases},
)

# %% [markdown]
# Every kind of skip mends degradation, and no kind is just like another. Plain networks fall from 0.87 to
# guessing. Residual ones lose a little with depth even on their training images (0.92, 0.90, 0.89); highway and
# ReZero networks do not. Highway networks are ahead of residual ones at 80 layers; at 10 and 40 three
# seeds do not tell them apart. Their gates are further weights: each layer has twice as many as a residual one's, so this
# is no contest of equals.
#
# The bias is no detail. At 40 layers gates that begin half open (bias 0) or a quarter open (-1) leave a network that
# learns little, with normalization or without; at -3 and -5 it learns as well as any. The direct path says why:
# $(1 - \mathrm{sigmoid}(b_T))^{40}$ is $10^{-12}$ at 0, $4 \cdot 10^{-6}$ at -1, 0.14 at -3 and 0.76 at -5.

# %% [markdown]
# ## Explore
#
# **Misconception**: *any way round a layer will do.* Choose a **depth**, a **connection** and how it is set up, and
# see which gradient it has at the start, layer by layer. Nothing is trained here. For which $\alpha$ do you get
# gradients as level as with 1, at 80 layers? Which transform bias does a highway network of 80 layers need? And which
# of that does normalization change?

# %%
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
    first, last = norms[kind]["output_grad_norm"].iloc[[0, -1]]
    caption = (
        f"{kind}, {layers} layers: the first layer gets {first / last:.2g} times the last one's gradient."
    )
    return plots.layer_norm_curves(norms, caption=caption)


# %% tags=["nbval-ignore-output"]
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
# **Set right**: what counts is the product along the direct path. Multiply every skip by 0.9 and a deep network has lost
# it, as with gates that begin half open. A way round a layer helps as far as it lets $x$ pass *undiminished*.

# %% [markdown]
# ## Exercise 1 · Short paths
#
# How many of the $2^{40}$ paths through a residual network of 40 layers pass at most 5 of them? (In the figure above
# they carry most of the gradient.)

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
# In a highway network whose gates are all $T = \mathrm{sigmoid}(b_T)$, the direct path past all layers is multiplied by
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
# *For the instructor.* A good question after the knife: is every layer of a residual network superfluous, then? No:
# each one alone costs little; have two, five, ten taken out together. Why does the gate of the input side open most?
# An open question here: one data set. Exercise 2: $1 - T = 2^{-1/100}$, $b_T = -4.97$; the library takes -4
# beyond 50 layers, with which a sixth is left. In the figure of the paths independence is an assumption: at depth 40
# the product $\prod (1 + \gamma_l)$ predicts 0.7 of the gradient that is measured. Without normalization it is off by a
# factor of a thousand, since rectified signals have a mean in common, which adds up.

# %% [markdown]
# ## Take away
#
# - Residual, highway and ReZero layers differ in who divides the output between $x$ and $f(x)$: nobody, a gate, a
#   number.
# - Through a sum the gradient has $2^L$ paths. With batch normalization, or with $s$ and $T$ near 0, the short ones
#   carry it: at the start a deep network with skips is a shallow one. What skips repair here is the *beginning*, as
#   far as we measured.
# - After training no single layer with a skip is needed much, but the skips together are.
# - Skips that are multiplied by $\alpha$ leave $\alpha^L$ of the direct path: at depth 40 the gates must begin nearly
#   closed, and a mix without normalization loses its gradient halfway.
#
# **Next**: a layer with a skip can be spared, the skips cannot: not all at once, and not after the training. Can a
# network learn *while it loses them*, in spite of the valley? [5 · Phasing out](05_phasing_out.ipynb).
#
# **Limits of the evidence.** One small data set, one width, three seeds; the step size was chosen for other networks
# (lesson 5), and none was tuned here. Layers were taken out of one network of each kind. The shares of the paths are
# of one untrained network, and hold where paths are independent, which they are not quite.
#
# **References.** K. He, X. Zhang, S. Ren and J. Sun (2016), *Deep residual learning for image recognition*, CVPR. ·
# The same (2016), *Identity mappings in deep residual networks*, ECCV (scaled skips; the published errors: its table
# 1). · R. K. Srivastava, K. Greff and J. Schmidhuber (2015), *Highway networks*. · T. Bachlechner and others (2020),
# *ReZero is all you need*. · S. De and S. Smith (2020), *Batch normalization biases residual blocks towards the
# identity function in deep networks*. · H. Zhang, Y. Dauphin and T. Ma (2019), *Fixup initialization: residual learning
# without normalization*, ICLR (small branches at initialization, by hand). · A. Veit, M. Wilber and S. Belongie (2016), *Residual networks behave like
# ensembles of relatively shallow networks*, NIPS (the paths, and layers taken out).

# %% tags=["nbval-ignore-output"]
batch.record_metrics(comparison)
