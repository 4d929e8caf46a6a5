# %% [markdown]
# # 8 · Looks linear
#
# *What if the network starts as a linear map?*
#
# **So far**: a skip repairs a deep network, and an identity in its weights does too
# ([lesson 7](07_dirac.ipynb)). Both keep $x$ alive in every layer. Is an identity needed for that?
#
# **Time**: 30 minutes of reading and thinking; the cells take about 20 seconds on two processor cores.
#
# **You need**: [lesson 2](02_vanishing_exploding.ipynb) (singular values) and [lesson 3](03_shattered_gradients.ipynb)
# (correlation of gradients); what an orthogonal matrix is.
#
# **Afterwards you can**
#
# - write weights with which a deep network of rectifiers is exactly linear, and prove it,
# - say why its gradients neither vanish nor explode nor shatter, at any depth and without any skip-connection,
# - measure how a network that starts linear learns to bend, and construct a case in which it never does,
# - compare initializations fairly: each with its own step size, chosen on images that are held out.

# %% tags=["parameters"]
depth: int = 40  # number of layers
num_epochs: int = 5  # passes over the 5,000 training images
seed: int = 0  # of initial weights and order of examples
device: str = "auto"  # auto, cpu, cuda or mps
interactive: bool = True  # controls to press; false draws plain figures instead

# %%
import sys

import pandas as pd
import torch
from tqdm import tqdm

from van_tutorial import batch, data, diagnostics, exercises, models, plots, training, widgets

torch.set_num_threads(1)  # small networks: more threads would mostly wait for each other
images = data.load()
recorded = batch.recorded("looks_linear_mini")

# %% [markdown]
# ## The idea
#
# Here is a third answer to vanishing and shattered gradients: choose the activation and the **first values of the
# weights**, and nothing else. A network that is linear, and whose matrices are
# orthogonal, turns its input and never stretches it; its gradient is the same everywhere. But a network of rectifiers
# is not linear. Or is it? Let the rectifier keep both halves of what it gets,
#
# $$\mathrm{crelu}(z) = \big( \mathrm{relu}(z), \; \mathrm{relu}(-z) \big) \qquad \text{and mirror the weight:} \qquad
# W = (V, -V)$$
#
# $$W \, \mathrm{crelu}(z) = V \, \mathrm{relu}(z) - V \, \mathrm{relu}(-z) = V z$$
#
# since $\mathrm{relu}(z) - \mathrm{relu}(-z) = z$. (No kin of the last lesson's $V$: here it is any matrix.) Balduzzi and
# others (2017) call this **looks-linear**. With orthogonal $V_l$ the Jacobian of $L$ layers is $V_L \cdots V_1$, an orthogonal matrix, at *every* input.
#
# ![A signal is split into its positive and its negative half, the mirrored weights put the two together again, and V z comes out](../assets/figures/looks_linear.svg)
#
# The network can become non-linear all the same: $V$ and $-V$ are only *starting values* of two matrices that learn each
# for itself.
#
# Two other initializations promise depth without skips and without normalization, and come along:
#
# | | activation | weights at the start | what it keeps |
# | --- | --- | --- | --- |
# | He (lesson 2) | relu | normal, variance $2 / n$ | the mean size of gradients |
# | self-normalizing | selu | normal, variance $1 / n$ (LeCun) | mean 0 and variance 1 of the activations |
# | orthogonal | tanh | orthogonal | lengths and angles, as far as tanh is straight |
# | looks-linear | crelu | $(V, -V)$, $V$ orthogonal | lengths and angles, exactly |

# %% [markdown]
# ## Predict
#
# Networks of `depth` layers, **without normalization and without skips**, and for comparison a residual one with
# batch normalization. Which test accuracy do you expect of each? Guessing gives 0.10; one linear layer alone reaches
# 0.84 (recorded; this data set is kind).

# %%
my_prediction = {
    "relu, He": None,
    "selu, LeCun": None,
    "tanh, orthogonal": None,
    "looks-linear": None,
    "residual, batch norm": None,
}

# %% [markdown]
# ## Run
#
# A layer with crelu sees twice as many inputs: 23 of its units have as many weights as 32 ordinary ones. Each network
# has the step size that was best for it among four, at depth 40, on a fifth of the training images that was held out
# (recorded). That matters: what is best for one of them ruins another.

# %% tags=["nbval-ignore-output"]
BARE = {"connection": "plain", "normalization": "none"}
recipes = {
    "relu, He": BARE,
    "selu, LeCun": {**BARE, "activation": "selu", "init": "lecun"},
    "tanh, orthogonal": {**BARE, "activation": "tanh", "init": "orthogonal"},
    "looks-linear": {**BARE, "activation": "crelu", "init": "looks-linear", "width": 23},
    "residual, batch norm": {"connection": "residual"},
}
steps = recorded.table[recorded.table["experiment"] == "steps"]
held_out = steps.pivot_table(index="network", columns="lr", values="validation_accuracy", sort=False)
held_out.round(3)

# %% [markdown]
# Two things are measured on the way. The **correlation** between the gradients at pairs of images, as in lesson 3.
# And the **bend** of the network, whose output for the image $x$ is $y(x)$ as before: halfway between two images $x$ and
# $x'$, how far is $y$ off the straight line, as a share of half the distance between $y(x)$ and $y(x')$?
#
# $$\text{bend} = \frac{\left| y \left( \frac{x + x'}{2} \right) - \frac{y(x) + y(x')}{2} \right|}{\left| \frac{y(x) -
# y(x')}{2} \right|} \qquad \text{(over 500 pairs; 0 for a linear map)}$$


# %% tags=["nbval-ignore-output"]
def test_images_for(network):
    network.eval()
    return images.test_images.to(network.head.weight)  # its device and precision


def bend(network):
    one, other = test_images_for(network).chunk(2)
    with torch.no_grad():
        at_one, at_other, between = network(one), network(other), network((one + other) / 2)
    return ((between - (at_one + at_other) / 2).norm() / ((at_one - at_other) / 2).norm()).item()


def correlation(network):
    pairs = diagnostics.gradient_correlation(network, test_images_for(network)[:64], output=0)
    return diagnostics.pair_correlation(pairs)


results, at_the_start = {}, {}
for name, choices in recipes.items():
    network = models.mlp(depth=depth, seed=seed, **choices)
    at_the_start[name] = {"correlation": correlation(network), "bend": bend(network)}
    best = held_out.loc[name].idxmax()
    config = training.TrainConfig(num_epochs=num_epochs, lr=best, seed=seed, device=device)
    trainer = training.Trainer(network, images, config)
    recorder = diagnostics.Recorder(every=1, correlation=correlation, bend=bend)
    for record in (bar := tqdm(trainer, total=num_epochs, desc=f"{name:20s}", unit="epoch", file=sys.stdout)):
        bar.set_postfix_str(f"test accuracy {record.test_accuracy:.3f}")
        recorder(record, network)
    results[name] = trainer.result()

# %% [markdown]
# ## Evidence
#
# Before the first step, first. Is it linear? Then $y(x + x') - y(x) - y(x') + y(0) = 0$ for any two images:

# %% tags=["keep_output"]
one, other = images.test_images[:500], images.test_images[500:]
fresh = models.mlp(depth=depth, seed=seed, **recipes["looks-linear"]).eval()
with torch.no_grad():
    at_zero = fresh(torch.zeros_like(one))
    off = fresh(one + other) - fresh(one) - fresh(other) + at_zero
    size = fresh(one).abs().max()
print("looks-linear: off by less than 1e-5 of the largest output:", bool(off.abs().max() < 1e-5 * size))
for name, choices in recipes.items():
    network = models.mlp(depth=depth, seed=seed, **choices).eval()
    values = diagnostics.conditioning(network, images.test_images[:16])
    level = bool((values["largest"] < 1.001).all() and (values["smallest"] > 0.999).all())
    alike = at_the_start[name]["correlation"] > 0.999
    print(f"{name:20s}  all singular values within 0.001 of 1: {level!s:5s}  gradients all alike: {alike}")

# %% [markdown]
# And after training:

# %% tags=["keep_output"]
accuracy = {name: result.test_accuracy for name, result in results.items()}
print(
    "looks-linear is at least 0.1 ahead of relu, He:", accuracy["looks-linear"] >= accuracy["relu, He"] + 0.1
)
print(
    "and not more than 0.05 behind the residual network with batch normalization:",
    accuracy["looks-linear"] >= accuracy["residual, batch norm"] - 0.05,
)
bends = results["looks-linear"].history["bend"]
print(
    "it has learned to bend, from below 1e-4 to above 0.1:",
    at_the_start["looks-linear"]["bend"] < 1e-4 and bends.iloc[-1] > 0.1,
)

# %% [markdown]
# ### Your prediction beside what came

# %% tags=["nbval-ignore-output"]
comparison = pd.DataFrame(
    {
        "network": list(results),
        "step size": [result.config.lr for result in results.values()],
        "test accuracy": [round(result.test_accuracy, 3) for result in results.values()],
        "bend before": [round(at_the_start[name]["bend"], 3) for name in results],
        "bend after": [round(result.history["bend"].iloc[-1], 3) for result in results.values()],
        "seconds": [round(result.seconds, 1) for result in results.values()],
    }
)
comparison.assign(predicted=[my_prediction.get(name) for name in results]).astype(object).fillna("–")

# %% [markdown]
# **See**: looks-linear learns from its first epoch on, without a skip and without normalization.

# %% tags=["nbval-ignore-output"]
plots.accuracy_curves({name: result.history for name, result in results.items()})

# %% [markdown]
# ## One run is no evidence
#
# Three depths, three seeds, ten epochs, recorded. Beside the networks from above: rectifiers with orthogonal weights;
# *crelu, He*, which is the looks-linear network but for the values of its weights; and a single linear layer. **Predict**
# three test accuracies at 80 layers.

# %%
my_deepest = {"looks-linear": None, "crelu, He": None, "tanh, orthogonal": None}

# %% tags=["keep_output"]
by_depth = recorded.table[recorded.table["experiment"] == "depth"]
deep = by_depth[by_depth["network"] != "one linear layer"]
linear = by_depth[by_depth["network"] == "one linear layer"]
for column in ("train_accuracy", "test_accuracy"):
    table = deep.pivot_table(
        index="network", columns="depth", values=column, aggfunc=["mean", "std"], sort=False
    )
    print(f"\n{column.replace('_', ' ')}, mean and standard deviation over the seeds")
    print(table.swaplevel(axis=1).sort_index(axis=1, level=0, sort_remaining=False).round(3).to_string())
    print(
        f"one linear layer alone: {linear[column].mean():.3f} (standard deviation {linear[column].std():.3f})"
    )
print("seeds:", by_depth["seed"].nunique(), "  made by:", recorded.command)

# %% tags=["nbval-ignore-output"]
at_80 = deep[deep["depth"] == 80].groupby("network")["test_accuracy"].mean()
exercises.beside(my_deepest, at_80.loc[list(my_deepest)].to_dict())

# %% [markdown]
# **See**: two bundles. Rectifiers with random weights fall; looks-linear, tanh with orthogonal weights and the
# residual network stay up, and only tanh begins to bow at 80 layers.

# %% tags=["nbval-ignore-output"]
plots.accuracy_by_depth(deep[~deep["network"].isin(["relu, orthogonal", "selu, LeCun"])])

# %% [markdown]
# Three readings, and a warning.
#
# - **The values of the weights alone do it.** *crelu, He* has the same layers as *looks-linear*, and falls with depth
#   like the other networks of rectifiers; looks-linear loses 0.01 on the test images from 20 to 80 layers.
# - tanh with orthogonal weights does nearly as well; tanh with other weights was not recorded. Rectifiers gain nothing by
#   them: it is not the matrix that must keep lengths, but the layer.
# - Self-normalizing networks nearly keep up at 20 layers. At 80 they fail, with a step size that was chosen at 40.
# - **The warning**: a single linear layer comes within 0.015 of the best of them, on training and on test images. So
#   the table tells which networks *can be trained* at a depth. What depth is good for, it cannot tell.
#
# ## How far does it bend?
#
# A network that only *started* well could stay linear, and ten classes of clothes are told apart quite well by one
# linear layer. **Predict**: in the end, does looks-linear bend as much as the residual network, more, or less?

# %%
my_bend = None  # "as much", "more" or "less"

# %% tags=["nbval-ignore-output"]
course = recorded.table[recorded.table["experiment"] == "course"].astype({"epoch": int})
shown = course[
    course["network"].isin(["relu, He", "tanh, orthogonal", "looks-linear", "residual, batch norm"])
]
plots.measure_curves(shown, "bend", "How non-linear it is", "bend (share of half the distance)")

# %% tags=["nbval-ignore-output"]
exercises.beside({"looks-linear bends": my_bend}, {"looks-linear bends": "less, about half as much"})

# %% [markdown]
# **See** above: looks-linear bends in the first epochs, and in the end about half as much as the others. And below: as
# it bends its gradients part, from exactly alike to about where the residual network's are. Those of the plain
# rectifiers have next to nothing in common, before training and after it.

# %% tags=["nbval-ignore-output"]
plots.measure_curves(shown, "correlation", "Gradients at two images", "correlation (no unit)")

# %% tags=["keep_output"]
ends = shown[shown["epoch"].isin([0, 1, 10])]
for column in ("bend", "correlation"):
    print(f"{column}, mean over the seeds")
    print(ends.pivot_table(index="epoch", columns="network", values=column, sort=False).round(2).to_string())

# %% [markdown]
# ## A network that never wakes up
#
# What makes $V$ and $-V$ part? Their gradients: with $\delta$ the gradient at the layer's output, $V$ gets
# $\sum_i \delta_i \, \mathrm{relu}(z_i)^T$ and $-V$ gets $\sum_i \delta_i \, \mathrm{relu}(-z_i)^T$. They stay
# mirrored as long as the sum of the two, $\sum_i \delta_i |z_i|^T$, is 0. Now take a batch that holds with every $x$
# its negative $-x$, with the opposite target, and the squared loss: $|z|$ is the same for both, and $\delta$ has
# opposite signs. So the sum is 0 and the network stays linear, *for ever*. **Predict**: will it with the images
# alone? (In double precision and by plain gradient steps: Adam divides a gradient by its size, and makes whole steps
# of rounding errors.)

# %%
my_sleeper = None  # True if it stays linear with the images alone


# %% tags=["nbval-ignore-output"]
def train_by_hand(inputs, targets):
    network = models.mlp(depth=5, seed=seed, **recipes["looks-linear"]).double()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.03)
    for _ in range(100):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(network(inputs), targets).backward()
        optimizer.step()
    return network


inputs = images.train_images[:256].double()
targets = torch.nn.functional.one_hot(images.train_labels[:256], 10).double()
awake = train_by_hand(inputs, targets)
asleep = train_by_hand(torch.cat((inputs, -inputs)), torch.cat((targets, -targets)))

# %% tags=["keep_output"]
print("images alone: it bends by more than 0.05 after 100 steps:", bend(awake) > 0.05)
print("images and their negatives: by less than a millionth:", bend(asleep) < 1e-6)

# %% tags=["nbval-ignore-output"]
exercises.beside(
    {"images alone: stays linear": my_sleeper}, {"images alone: stays linear": bend(awake) < 1e-6}
)

# %% [markdown]
# With the cross-entropy, and the same class for an image and its negative, $\delta$ has no such symmetry; and images do
# not come with their negatives anyway: nobody who trains on images needs to fear this. It shows what it is that wakes the network: the
# part of the task that is not odd.
#
# ## Convolutions
#
# The same works for convolutions: an orthogonal matrix at the centre of each kernel and 0 elsewhere keeps every image
# as long as it was, where the stride is 1. With tanh that is the **delta-orthogonal** initialization of Xiao and
# others (2018), who trained plain convolutional networks of 10,000 layers with it; with crelu and mirrored, a
# convolutional looks-linear network.

# %% tags=["keep_output"]
network = models.make("looks-linear-conv", depth=20, in_channels=1, seed=seed).eval()
with torch.no_grad():
    off = network((one + other) / 2) - (network(one) + network(other)) / 2
    size = network(one).abs().max()
print(
    "a convolutional network of 20 layers, off the straight line by less than 1e-5:",
    bool(off.abs().max() < 1e-5 * size),
)
kernel = models.make("delta-orthogonal", seed=seed).layers[0].convolutions[0].weight.detach()
centre = kernel[:, :, 1, 1]
print("delta-orthogonal: all else is 0:", bool(kernel.count_nonzero() == centre.count_nonzero()))
print("and the centre is orthogonal:", torch.allclose(centre @ centre.T, torch.eye(len(centre)), atol=1e-5))

# %% [markdown]
# ## Explore
#
# **Misconception**: *orthogonal weights are enough.* They keep all lengths, but the activation behind them does not.
# Choose an **activation** and an **initialization**, and look at the band between the largest and the smallest
# singular value of the Jacobian. (Orange, for comparison: rectifiers with He's weights.) Which pair keeps it closed?
# How exact must the **scale** of the weights be at depth 40?


# %%
def spread(name, layers, **choices):
    tables = []
    for number in [n for n in (1, 2, 5, 10, 20, 40) if n < layers] + [layers]:
        network = models.mlp(depth=number, seed=seed, **BARE, **choices).eval()
        values = diagnostics.conditioning(network, images.test_images[:16])
        tables.append(values.assign(network=name, depth=number))
    return pd.concat(tables), correlation(network)


def show(scale, layers, activation, init):
    table, alike = spread("chosen", layers, activation=activation, init=init, init_scale=scale)
    beside, _ = spread("relu, he", layers)
    caption = f"Chosen: {activation}, {init}, scale {scale:.3g}. Correlation of its gradients: {alike:.2f}."
    return plots.singular_value_spread(pd.concat([table, beside]), caption=caption)


# %% tags=["nbval-ignore-output"]
panel = widgets.explore_panel(
    show,
    (
        widgets.Slider(
            "scale", "scale of the weights", 1.0, 0.5, 1.5, "Factor of the layers' initial weights"
        ),
        widgets.Slider("layers", "depth (layers)", depth, 1, 80, "Number of layers of the deepest network"),
        widgets.Choice(
            "activation", "activation", "relu", ("relu", "tanh", "selu", "crelu"), "Of every layer"
        ),
        widgets.Choice(
            "init",
            "initialization",
            "orthogonal",
            ("he", "lecun", "orthogonal", "looks-linear"),
            "looks-linear needs crelu",
        ),
    ),
    interactive=interactive,
)
panel

# %% [markdown]
# **Set right**: with orthogonal weights and rectifiers the band opens nearly as wide as with He's, since every rectifier
# throws half of its input away. The *layer* has to keep lengths, weight and activation together.

# %% [markdown]
# ## Exercise 1 · The mirror
#
# Write the function that makes $W$ from $V$ (the tensor `v` of shape (m, n)), so that $W \, \mathrm{crelu}(z) = V z$
# for every $z$.


# %% tags=["nbval-ignore-output"]
### solution
def my_mirror(v):
    return torch.cat((v, -v), dim=1)


### stub
# def my_mirror(v):
#     return None  # your weight, of shape (m, 2 n)
#
#
### end
exercises.check_mirrored_weight(my_mirror)

# %% [markdown]
# ## Exercise 2 · A little too small
#
# In a looks-linear network of 40 layers every layer's weight is multiplied by 0.95 (those of the input layer and the
# head are not). What is the largest singular value of its Jacobian?

# %% tags=["nbval-ignore-output"]
### solution
my_stretch = 0.95**40
### stub
# my_stretch = None  # your number
### end
exercises.check_stretch(my_stretch, scale=0.95, depth=40)

# %% [markdown]
# ## Exercise 3 · As many weights
#
# An ordinary layer of 64 units has $64 \cdot 64$ weights. How wide is a layer with crelu that has as many? (To the
# next integer.)

# %% tags=["nbval-ignore-output"]
### solution
my_width = round(64 / 2**0.5)
### stub
# my_width = None  # your number
### end
exercises.check_crelu_width(my_width, plain_width=64)

# %% [markdown] tags=["solution"]
# *For the instructor.* Exercise 2: a likely slip is $0.95^{42}$, with input layer and head. Questions that go
# further: is a network of 40 layers that starts linear *deep*? (It has their number of weights and the functions of
# one layer; what it has more, it must learn.) Why can the tanh network bend twice as much and still train? And would
# the table look the same if all had the one step size 0.003? Let them read it off the held-out table: tanh would fall
# by 0.11, and looks-linear would not notice.

# %% [markdown]
# ## Take away
#
# - crelu and mirrored weights make a network of rectifiers exactly linear at the start; with orthogonal $V$ every
#   singular value of its Jacobian is 1, and its gradient is the same at every input, at any depth.
# - Nothing else is needed to train 80 layers without skips and without normalization. On the test set they are not told apart
#   from a residual network with batch normalization by three seeds. The same layers with He's weights reach 0.59.
# - It becomes non-linear by what in the task is not odd. Where there is nothing of that, it never does.
# - Compare initializations only with a step size of its own for each; and beside the simplest thing that could work.
#
# **Next**: all of this, skips, identities and mirrors, helps a signal *forward*, from early layers to late ones. What if
# a late layer has something to tell an early one? [9 · Skips that point backward](09_backward_skips.ipynb).
#
# **Limits of the evidence.** One small data set on which one linear layer does nearly as well as anything: how a
# looks-linear network does on tasks that need a deep one is not shown here. Step sizes from a grid of four, two seeds
# each, chosen at depth 40 and used at 20 and 80 as well. Fully connected, ten epochs, three seeds. The convolutional
# networks were not trained. The bend depends on how far apart the two images are.
#
# **References.** D. Balduzzi and others (2017), *The shattered gradients problem: if resnets are the answer, then
# what is the question?*, ICML. · W. Shang, K. Sohn, D. Almeida and H. Lee (2016), *Understanding and improving
# convolutional neural networks via concatenated rectified linear units* (CReLU), ICML. · G. Klambauer, T. Unterthiner, A. Mayr and S. Hochreiter (2017), *Self-normalizing
# neural networks*. · L. Xiao and others (2018), *Dynamical isometry and a mean field theory of CNNs: how to train
# 10,000-layer vanilla convolutional neural networks*. · A. Saxe, J. McClelland and S. Ganguli (2014), *Exact
# solutions to the nonlinear dynamics of learning in deep linear neural networks*.

# %% tags=["nbval-ignore-output"]
batch.record_metrics(comparison)
