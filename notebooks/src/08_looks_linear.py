# %% [markdown]
# # 8 · Looks linear
#
# *What if the network starts as a linear map?*
#
# All it takes is an activation that keeps both signs, and the right values of the weights at initialization. You will
# prove that such a network is linear, and watch it learn to bend. In one case it never does. How deep can it be without
# skips and without normalization? And what does the depth bring?
#
# **So far**: a skip repairs a deep network, and an identity in its weights does too ([lesson 7](07_dirac.ipynb)). Both
# pass $x$ on in every layer. Is an identity needed for that?
#
# **Time**: 30 minutes of reading and thinking; the cells take about 20 seconds on two idle processor cores.
#
# **You need**: [lesson 2](02_vanishing_exploding.ipynb) (singular values) and [lesson 3](03_shattered_gradients.ipynb)
# (correlation of gradients); what an orthogonal matrix is.
#
# **Afterwards you can**
#
# - write weights with which a deep network of ReLUs is exactly linear, and prove it,
# - say why its gradients neither vanish nor explode nor shatter, at any depth and without any skip-connection,
# - measure how a network that starts linear becomes non-linear, and construct a case in which it never does,
# - compare initializations fairly: each with its own learning rate, chosen on a validation set.

# %% tags=["parameters"]
depth: int = 40  # number of layers
num_epochs: int = 5  # passes over the 5,000 training images
seed: int = 0  # of initial weights and order of examples
device: str = "auto"  # auto, cpu, cuda or mps
interactive: bool = True  # controls to press; false draws plain figures instead

# %% tags=["hide-input"]
import sys

import pandas as pd
import torch
from tqdm import tqdm

from van_tutorial import batch, data, diagnostics, exercises, models, plots, training, widgets

torch.set_num_threads(1)  # small networks: more threads would mostly wait for each other
images = data.load()
recorded = batch.recorded("looks_linear_mini")

# %% [markdown]
# ## The idea: keep both signs, and mirror the weights
#
# This third answer chooses the activation and the **initial weights**, and nothing else. An orthogonal matrix keeps
# every norm. So a linear network of orthogonal matrices never stretches its input, and its gradient is the same
# everywhere. But a network of ReLUs is not linear. Or is it? Let the ReLU keep both halves of its input,
#
# $$\mathrm{crelu}(z) = \big( \mathrm{relu}(z), \; \mathrm{relu}(-z) \big) \qquad \text{and mirror the weight:} \qquad
# W = (V, -V)$$
#
# $$W \, \mathrm{crelu}(z) = V \, \mathrm{relu}(z) - V \, \mathrm{relu}(-z) = V z$$
#
# since $\mathrm{relu}(z) - \mathrm{relu}(-z) = z$. ($V$ is any matrix here, not that of lesson 7.) Balduzzi and others
# (2017) call this **looks-linear**. With orthogonal $V_l$ the Jacobian of $L$ layers is $V_L \cdots V_1$, an orthogonal
# matrix, at *every* input.
#
# ![A signal is split into its positive and its negative half, the mirrored weights put the two together again, and V z comes out](../assets/figures/looks_linear.svg)
#
# The network can still become non-linear: $V$ and $-V$ are only *initial values* of two matrices that learn separately.
#
# Two other initializations promise depth without skips and without normalization. We compare them:
#
# | | activation | initial weights | what it keeps |
# | --- | --- | --- | --- |
# | He (lesson 2) | relu | normal, variance $2 / n$ | the size of gradients, on average |
# | self-normalizing | selu | normal, variance $1 / n$ (LeCun) | mean 0 and variance 1 of the activations |
# | orthogonal | tanh | orthogonal | norms and angles, as far as tanh is linear |
# | looks-linear | crelu | $(V, -V)$, $V$ orthogonal | norms and angles, exactly |

# %% [markdown]
# ## Predict
#
# You train networks of `depth` layers **without normalization and without skips**, and for comparison a residual one
# with batch normalization. Which test accuracy will each reach? Chance is 0.10. One linear layer alone reaches 0.84
# (recorded; this data set is easy).

# %% tags=["nbval-ignore-output"]
names = ("relu, He", "selu, LeCun", "tanh, orthogonal", "looks-linear", "residual, batch norm")
prediction = widgets.Prediction("8.1", dict.fromkeys(names, (0, 1)), interactive=interactive)
prediction

# %% [markdown]
# ## Run
#
# A layer with crelu has twice as many inputs, so 23 of its units have as many weights as 32 ordinary ones. Each network
# has its own learning rate, the best of four on a validation set. That is a fifth of the training set; the choice is
# recorded, at depth 40:

# %%
BARE = {"connection": "plain", "normalization": "none"}
recipes = {
    "relu, He": BARE,
    "selu, LeCun": {**BARE, "activation": "selu", "init": "lecun"},
    "tanh, orthogonal": {**BARE, "activation": "tanh", "init": "orthogonal"},
    "looks-linear": {**BARE, "activation": "crelu", "init": "looks-linear", "width": 23},
    "residual, batch norm": {"connection": "residual"},
}

# %% tags=["nbval-ignore-output", "hide-input"]
steps = recorded.table[recorded.table["experiment"] == "steps"]
held_out = steps.pivot_table(index="network", columns="lr", values="validation_accuracy", sort=False)
by_rate = held_out.loc[list(recipes)].round(3)
by_rate.rename_axis(None).rename_axis(columns="validation accuracy at learning rate")

# %% [markdown]
# **See**: the best rate for one network ruins another.
#
# How non-linear is a network? Its **bend** is measured during training. Let $y(x)$ be the output for the image $x$. Halfway
# between two images $x$ and $x'$, how far is $y$ from the mean of $y(x)$ and $y(x')$? The bend is that distance divided by
# half the distance between the two:
#
# $$\text{bend} = \frac{\left| y \left( \frac{x + x'}{2} \right) - \frac{y(x) + y(x')}{2} \right|}{\left| \frac{y(x) -
# y(x')}{2} \right|} \qquad \text{(over 500 pairs; 0 for a linear map)}$$


# %%
def test_images_for(network):
    network.eval()
    return images.test_images.to(network.head.weight)  # its device and precision


def bend(network):
    one, other = test_images_for(network).chunk(2)
    with torch.no_grad():
        at_one, at_other, between = network(one), network(other), network((one + other) / 2)
    return ((between - (at_one + at_other) / 2).norm() / ((at_one - at_other) / 2).norm()).item()


def correlation(network):  # between the gradients at pairs of images (lesson 3)
    pairs = diagnostics.gradient_correlation(network, test_images_for(network)[:64], output=0)
    return diagnostics.pair_correlation(pairs)


# %% tags=["nbval-ignore-output", "hide-input"]
results, at_initialization = {}, {}
for name, choices in recipes.items():
    network = models.mlp(depth=depth, seed=seed, **choices)
    at_initialization[name] = {"correlation": correlation(network), "bend": bend(network)}
    best = held_out.loc[name].idxmax()
    config = training.TrainConfig(num_epochs=num_epochs, lr=best, seed=seed, device=device)
    trainer = training.Trainer(network, images, config)
    recorder = diagnostics.Recorder(every=1, bend=bend)
    for record in tqdm(trainer, total=num_epochs, desc=f"{name:20s}", unit="epoch", file=sys.stdout):
        recorder(record, network)
    results[name] = trainer.result()

# %% [markdown]
# ### Prediction and result

# %% tags=["nbval-ignore-output", "hide-input"]
accuracy = {name: result.test_accuracy for name, result in results.items()}
comparison = pd.DataFrame(
    {
        "network": list(results),
        "learning rate": [result.config.lr for result in results.values()],
        "test accuracy": [round(value, 3) for value in accuracy.values()],
        "seconds": [round(result.seconds, 1) for result in results.values()],
    }
)
prediction.compare(
    accuracy,
    comparison.set_index("network").rename_axis(None),
    plots.accuracy_curves({name: result.history for name, result in results.items()}),
    r"""
    **See**: looks-linear learns from its first epoch on, without a skip and without normalization.
    """,
)

# %% [markdown]
# ## Evidence: at initialization the network is linear
#
# For a linear network $y(x + x') - y(x) - y(x') + y(0) = 0$ holds for any two images. The singular values are those of
# its Jacobian:

# %% tags=["keep_output", "hide-input"]
one, other = images.test_images[:500], images.test_images[500:]
rows = {}
for name, choices in recipes.items():
    network = models.mlp(depth=depth, seed=seed, **choices).eval()
    with torch.no_grad():
        off = network(one + other) - network(one) - network(other) + network(torch.zeros_like(one))
        size = network(one).abs().max()
    values = diagnostics.conditioning(network, images.test_images[:16])
    rows[name] = {
        "linear to 1e-5": bool(off.abs().max() < 1e-5 * size),
        "all singular values within 0.001 of 1": bool(
            (values["largest"] < 1.001).all() and (values["smallest"] > 0.999).all()
        ),
        "the same gradient at all images": at_initialization[name]["correlation"] > 0.999,
    }
pd.DataFrame.from_dict(rows, orient="index").replace({True: "yes", False: "no"})

# %% tags=["keep_output", "hide-input"]
exercises.findings(
    {
        "After training, looks-linear is at least 0.1 above *relu, He* in test accuracy.": accuracy[
            "looks-linear"
        ]
        >= accuracy["relu, He"] + 0.1,
        "It is at most 0.05 below the residual network with batch normalization.": accuracy["looks-linear"]
        >= accuracy["residual, batch norm"] - 0.05,
    }
)

# %% [markdown]
# ## Which networks still train at 80 layers?
#
# Three depths, three seeds, ten epochs, recorded by `python -m tools.record looks_linear_mini`. Three networks are new:
# ReLUs with orthogonal weights; *crelu, He*, which differs from looks-linear in nothing but the values of its weights; and
# a single linear layer. **Predict** three test accuracies at 80 layers.

# %% tags=["nbval-ignore-output"]
names = ("looks-linear", "crelu, He", "tanh, orthogonal")
prediction = widgets.Prediction("8.2", dict.fromkeys(names, (0, 1)), interactive=interactive)
prediction

# %% tags=["nbval-ignore-output", "hide-input"]
by_depth = recorded.table[recorded.table["experiment"] == "depth"]
by_depth = by_depth.assign(depth=by_depth["depth"].mask(by_depth["network"] == "one linear layer", 1))
at_80 = by_depth[by_depth["depth"] == 80].groupby("network")["test_accuracy"].mean()
prediction.compare(
    {name: at_80[name] for name in names},
    plots.mean_dots(by_depth, "test_accuracy", "Accuracy and depth", "test accuracy", "depth"),
    r"""
    **See**: there are two groups. Networks of ReLUs with random weights fall with depth. Looks-linear, tanh with
    orthogonal weights and the residual network stay up, and only tanh falls a little at 80 layers.

    - **The initial weights alone decide.** *crelu, He* has the same layers as *looks-linear*, and falls with depth like the
      other networks of ReLUs. Looks-linear loses 0.01 from 20 to 80 layers.
    - **The layer must keep norms, not the matrix.** tanh with orthogonal weights does nearly as well as looks-linear.
      ReLUs gain nothing by orthogonal weights. (tanh with other weights was not recorded.)
    - **Self-normalizing networks** nearly keep up at 20 layers, and fail at 80. (Their learning rate was chosen at depth
      40, as for all.)
    - **A warning**: a single linear layer reaches 0.84, within 0.015 of the best. So the figure tells which networks *can
      be trained* at a depth. It cannot tell what depth is good for.
    """,
)

# %% [markdown]
# ## How non-linear does it become?
#
# A network that only *started* well could stay linear. **Predict**: in the end, does looks-linear bend as much as the
# residual network, more, or less?

# %% tags=["nbval-ignore-output"]
prediction = widgets.Prediction(
    "8.3", {"looks-linear bends": ("less", "as much", "more")}, interactive=interactive
)
prediction

# %% tags=["nbval-ignore-output", "hide-input"]
course = recorded.table[recorded.table["experiment"] == "course"].astype({"epoch": int})
shown = course[
    course["network"].isin(["relu, He", "tanh, orthogonal", "looks-linear", "residual, batch norm"])
]
bend_at_end = shown[shown["epoch"] == shown["epoch"].max()].groupby("network")["bend"].mean()
is_less = bend_at_end["looks-linear"] < 0.9 * bend_at_end["residual, batch norm"]
prediction.compare(
    {"looks-linear bends": "less" if is_less else "as much or more"},
    plots.measure_curves(shown, "bend", "Non-linearity", "bend (fraction)"),
    r"""
    **See**: looks-linear bends in the first epochs, in the end to 0.40. That is about half of what the others have. As it
    bends, its gradients at two images come apart, from exactly alike to a correlation of 0.55. The residual network ends
    at 0.58.
    """,
)

# %% tags=["keep_output", "hide-input"]
bends = [at_initialization["looks-linear"]["bend"], results["looks-linear"].history["bend"].iloc[-1]]
exercises.findings(
    {"Your network has learned to bend, from below 1e-4 to above 0.1.": bends[0] < 1e-4 and bends[1] > 0.1}
)

# %% [markdown]
# ## A network that stays linear for ever
#
# $V$ and $-V$ stay mirrored as long as the sum of their gradients is 0: $\sum_i \delta_i |z_i|^T$, with $\delta$ the gradient at
# the layer's output. Take the squared loss, and a batch that holds with every $x$ its negative $-x$, with the opposite
# target: an **odd** task. Then $|z|$ is the same for both, and $\delta$ has opposite signs. The sum is 0, and the network
# stays linear *for ever*. **Predict**: will it stay linear with the images alone? (The steps are plain gradient steps in
# double precision: Adam would turn rounding errors into full steps.)

# %% tags=["nbval-ignore-output"]
prediction = widgets.Prediction(
    "8.4", {"images alone: it stays linear": ("yes", "no")}, interactive=interactive
)
prediction


# %%
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

# %% tags=["nbval-ignore-output", "hide-input"]
prediction.compare(
    {"images alone: it stays linear": bend(awake) < 1e-6},
    r"""
    With the cross-entropy, and one class for an image and its negative, $\delta$ has no such symmetry. In practice you
    need not fear this. It shows what makes the network non-linear: the part of the task that is not odd.
    """,
)

# %% tags=["keep_output", "hide-input"]
exercises.findings(
    {
        "With the images alone, the bend is above 0.05 after 100 steps.": bend(awake) > 0.05,
        "With the images and their negatives, it is below a millionth.": bend(asleep) < 1e-6,
    }
)

# %% [markdown]
# ## Convolutions can look linear, too
#
# An orthogonal matrix at the centre of each kernel, and 0 elsewhere, keeps every image's norm where the stride is 1.
# With tanh that is the **delta-orthogonal** initialization of Xiao and others (2018), who trained plain convolutional
# networks of 10,000 layers with it. With crelu and mirrored weights it gives a convolutional looks-linear network. How
# far such starts carry 110 layers, [lesson 10](10_convolutional_van.ipynb) shows.

# %% tags=["keep_output", "hide-input"]
network = models.make("looks-linear-conv", depth=20, in_channels=1, seed=seed).eval()
with torch.no_grad():
    off = network((one + other) / 2) - (network(one) + network(other)) / 2
    size = network(one).abs().max()
kernel = models.make("delta-orthogonal", seed=seed).layers[0].convolutions[0].weight.detach()
centre = kernel[:, :, 1, 1]
exercises.findings(
    {
        "A looks-linear convolutional network of 20 layers is linear to 1e-5.": bool(
            off.abs().max() < 1e-5 * size
        ),
        "A delta-orthogonal kernel is 0 outside its centre.": bool(
            kernel.count_nonzero() == centre.count_nonzero()
        ),
        "Its centre is orthogonal.": torch.allclose(centre @ centre.T, torch.eye(len(centre)), atol=1e-5),
    }
)

# %% [markdown]
# ## Explore
#
# **Misconception**: *orthogonal weights are enough.* They keep all norms, but the activation after them does not. Choose
# an **activation** and an **initialization**, and look at the band between the largest and the smallest singular value
# of the Jacobian. (Orange, for comparison: ReLU with He initialization.) Which pair keeps it closed? How exact must the
# **scale** of the weights be at depth 40?


# %% tags=["hide-input"]
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


# %% tags=["nbval-ignore-output", "hide-input"]
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
# **Correction**: with orthogonal weights and ReLUs the band opens nearly as wide as with He initialization. Every ReLU
# discards half of its input. The *layer* has to keep norms: weight and activation together.

# %% [markdown]
# ## Exercise 1 · The mirror
#
# Write the function that makes $W$ from $V$ (the tensor `v` of shape (m, n)), so that $W \, \mathrm{crelu}(z) = V z$ for
# every $z$.


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
# In a looks-linear network of 40 layers every layer's weight is multiplied by 0.95. (Those of the input layer and the
# head are not.) What is the largest singular value of its Jacobian?

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
# An ordinary layer of 64 units has $64 \cdot 64$ weights. How wide is a layer with crelu that has as many? (To the next
# integer.)

# %% tags=["nbval-ignore-output"]
### solution
my_width = round(64 / 2**0.5)
### stub
# my_width = None  # your number
### end
exercises.check_crelu_width(my_width, plain_width=64)

# %% [markdown] tags=["solution"]
# *For the instructor.* Exercise 2: a likely slip is $0.95^{42}$, with input layer and head. Questions that go further:
# is a network of 40 layers that starts linear *deep*? (It has their number of weights and the functions of one layer;
# what it has more, it must learn.) Why can the tanh network bend twice as much and still train? And would the figure look
# the same if all had the learning rate 0.003? Let them read it off the validation table: tanh would fall by 0.11, and
# looks-linear would not.

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
# - crelu and mirrored weights make a network of ReLUs exactly linear at initialization. With orthogonal $V$ every
#   singular value of its Jacobian is 1, at any depth. Its gradient is the same at every input.
# - Nothing else is needed to train 80 layers without skips and without normalization. Three seeds do not tell the result
#   from a residual network with batch normalization. The same layers with He initialization reach 0.59.
# - What makes it non-linear is the part of the task that is not odd. In an odd task it stays linear for ever.
# - Compare initializations only with a learning rate of its own for each, and with the simplest model that could work.
#
# **Next**: all of this, skips, identities and mirrors, helps a signal *forward*, from early layers to late ones. What if
# a late layer has something to tell an early one? [9 · Skips that point backward](09_backward_skips.ipynb).
#
# **Limits of the evidence.** One small data set, on which one linear layer does nearly as well as anything. How a
# looks-linear network does on tasks that need a deep one is not shown here. Learning rates from a grid of four, two
# seeds each, chosen at depth 40 and used at 20 and 80 as well. Fully connected, ten epochs, three seeds. The bend
# depends on how far apart the two images are.
#
# **References.** D. Balduzzi and others (2017), *The shattered gradients problem: if resnets are the answer, then
# what is the question?*, ICML. · W. Shang, K. Sohn, D. Almeida and H. Lee (2016), *Understanding and improving
# convolutional neural networks via concatenated rectified linear units* (CReLU), ICML. · G. Klambauer, T. Unterthiner,
# A. Mayr and S. Hochreiter (2017), *Self-normalizing neural networks*. · L. Xiao and others (2018), *Dynamical isometry
# and a mean field theory of CNNs: how to train 10,000-layer vanilla convolutional neural networks*. · A. Saxe, J.
# McClelland and S. Ganguli (2014), *Exact solutions to the nonlinear dynamics of learning in deep linear neural
# networks*.

# %% tags=["nbval-ignore-output", "hide-input"]
batch.record_metrics(comparison)
