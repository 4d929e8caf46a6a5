# %% [markdown]
# # 2 · Vanishing and exploding
#
# *What happens to a gradient in the backward pass through fifty layers?*
#
# **So far**: deep plain networks do not learn even their training set, although better weights exist
# ([lesson 1](01_degradation.ipynb)). Training looks for them with gradients. So you now follow a gradient backward, layer
# by layer.
#
# Multiply a number by 0.8 fifty times, and a hundred-thousandth of it is left. So it is with a gradient: every layer
# multiplies it, and the initial weights decide by how much. You will compute that factor by hand, find it in real
# networks, and ask what normalization changes.
#
# **Time**: 30 minutes of reading and thinking; the cells take about 10 seconds on two idle processor cores.
#
# **You need**: [lesson 1](01_degradation.ipynb); the chain rule for matrices, and what a variance is.
#
# **Afterwards you can**
#
# - measure activations and gradients layer by layer, in any PyTorch network,
# - predict from the initial weights whether gradients vanish, explode or keep their size,
# - say what normalization does to activations and to gradients,
# - name three other things that can be wrong with a gradient, besides its size.

# %% tags=["parameters"]
depth: int = 50  # number of layers
width: int = 64  # units per layer
num_images: int = 256  # training images that are measured on
seed: int = 0  # of the initial weights
interactive: bool = True  # controls to press; false draws plain figures instead

# %% tags=["hide-input"]
import math

import pandas as pd
import torch

from van_tutorial import batch, data, diagnostics, exercises, models, plots, widgets

torch.set_num_threads(1)
images = data.load()
inputs, labels = images.train_images[:num_images], images.train_labels[:num_images]

# %% [markdown]
# ## The idea: every layer multiplies the gradient
#
# Nothing is trained in this lesson: the trouble is there at initialization. Let $x_l$ be the output of layer $l$, and $C$
# the loss. The chain rule passes the gradient from layer to layer. Without normalization,
#
# $$\frac{\partial C}{\partial x_{l-1}} = \frac{\partial C}{\partial x_l} \, D_l \, W_l$$
#
# $W_l$ holds the weights. $D_l$ is the **ReLU mask**: 1 for active units, 0 for the others. Two factors act on the squared
# norm of the gradient:
#
# - A random $W$ multiplies it by $\sigma_w^2$ on average, if its entries have variance $\sigma_w^2 / n$ at width $n$.
# - A mask that lets the fraction $p$ of the units pass multiplies it by $p$.
#
# Together, over $L$ layers,
#
# $$\mathbb{E} \left| \frac{\partial C}{\partial x_0} \right|^2 \approx \chi^L \left| \frac{\partial C}{\partial x_L}
# \right|^2 \qquad \chi = \sigma_w^2 \, p$$
#
# ![The gradient travels from the loss back to the input through six layers: with a gain below 1 it fades, with 1 it keeps its size, above 1 it grows](../assets/figures/vanishing_exploding.svg)
#
# The initialization of He and others (2015) takes $\sigma_w^2 = 2$. A ReLU passes half of the units, $p = 1/2$. So
# $\chi = 1$: the gradient keeps its size. You change one thing, `init_scale`. It multiplies He's weights, so
# $\sigma_w^2 = 2 \cdot \mathrm{scale}^2$.

# %% [markdown]
# ## Predict
#
# Three plain networks of `depth` layers, without normalization, with scales 0.8, 1 and 1.25. Compare the gradient norm at
# the first layer's output with that at the last layer's. What is first divided by last? A power of ten will do, such
# as 1e-3.

# %% tags=["nbval-ignore-output"]
sizes = (1e-9, 1e9)
prediction = widgets.Prediction(
    "2.1", {"scale 0.8": sizes, "scale 1.0": sizes, "scale 1.25": sizes}, interactive=interactive
)
prediction

# %% [markdown]
# ## Run
#
# `layer_norms` sends one batch through a network, forward and backward. It returns the norms in every layer, and leaves
# the network as it was.


# %%
def measure(**choices):
    choices = {"connection": "plain", "normalization": "none", **choices}
    network = models.mlp(depth=depth, width=width, seed=seed, **choices)
    return diagnostics.layer_norms(network, inputs, labels)


def first_by_last(table):
    return table["output_grad_norm"].iloc[0] / table["output_grad_norm"].iloc[-1]


scales = (0.8, 1.0, 1.25)
norms = {f"scale {scale}": measure(init_scale=scale) for scale in scales}

# %% [markdown]
# ### Prediction and result

# %% tags=["nbval-ignore-output", "hide-input"]
ratio = {name: first_by_last(table) for name, table in norms.items()}
comparison = pd.DataFrame(
    {
        "network": list(ratio),
        "measured": [f"{value:.1e}" for value in ratio.values()],
        "theory": [f"{diagnostics.predicted_mean_square(depth - 1, scale) ** 0.5:.1e}" for scale in scales],
    }
)
prediction.compare(
    ratio,
    plots.layer_norm_curves(norms),
    r"""
    **See**: on a logarithmic axis the lines are straight. Every layer multiplies the gradient by the same factor, the scale.
    (The loss is a natural logarithm, so its unit is the *nat*.)

    Theory and measurement, first by last. A product of many random factors scatters, so a single network is off by a factor:
    """,
    comparison.style.hide(),
)

# %% [markdown]
# ## Evidence: gradients vanish or explode exponentially in depth

# %% tags=["keep_output", "hide-input"]
exercises.findings(
    {
        "Scale 0.8: less than a ten-thousandth of the gradient arrives.": ratio["scale 0.8"] < 1e-4,
        "Scale 1: the gradient keeps its size, within a factor of 20.": 1 / 20 < ratio["scale 1.0"] < 20,
        "Scale 1.25: the gradient grows more than a thousandfold.": ratio["scale 1.25"] > 1e3,
    }
)

# %% [markdown]
# ## Does normalization keep the gradient's size?
#
# Batch normalization divides every unit by its standard deviation over the batch. *Layer normalization* divides all units
# of an image by theirs. So the scale of the weights no longer matters. Does the gradient keep its size, then?
#
# **Predict** first by last again, at scale 0.8: plain with batch normalization, plain with layer normalization, and
# residual with batch normalization.

# %% tags=["nbval-ignore-output"]
normalized_asked = widgets.Prediction(
    "2.2",
    {"plain, BatchNorm": sizes, "plain, LayerNorm": sizes, "residual, BatchNorm": sizes},
    interactive=interactive,
)
normalized_asked

# %%
normalized = {
    "plain, BatchNorm": measure(normalization="batch", init_scale=0.8),
    "plain, LayerNorm": measure(normalization="layer", init_scale=0.8),
    "residual, BatchNorm": measure(connection="residual", normalization="batch", init_scale=0.8),
}
larger = measure(normalization="batch", init_scale=1.25)

# %% tags=["nbval-ignore-output", "hide-input"]
normalized_asked.compare(
    {name: first_by_last(table) for name, table in normalized.items()},
    plots.layer_norm_curves(normalized, caption="At scale 0.8. At 1.25 the lines are the same."),
    r"""
    **See**: batch normalization makes the gradient of a plain network **explode**, at any scale. Why? Follow a unit. Before
    the ReLU its normalized value $z$ has mean 0 and variance 1. Take it as normally distributed.

    1. Its ReLU has mean square $1/2$ and mean $1 / \sqrt{2 \pi}$. So its variance over the batch is
       $\frac{1}{2} - \frac{1}{2 \pi} = \frac{\pi - 1}{2 \pi}$.
    2. He's weights double that: the next layer's sum has variance $\frac{\pi - 1}{\pi} = 0.68$. (The mean of the ReLU
       adds a constant, which normalization subtracts.)
    3. Normalization divides by the standard deviation $\sqrt{0.68}$. The backward pass divides the gradient by it as well.

    Everything else keeps the size, as $\chi = 1$. So each layer multiplies the gradient by $\sqrt{\pi / (\pi - 1)} = 1.21$,
    and fifty layers by about ten thousand. Skip-connections slow this down a lot. Layer normalization divides by the
    spread over the units, which includes what batch normalization subtracts. There the gradient nearly keeps its size. The
    next section shows what goes wrong instead.
    """,
)


# %% tags=["keep_output", "hide-input"]
def growth(table):
    return first_by_last(table) ** (1 / (depth - 1))


found, predicted = growth(normalized["plain, BatchNorm"]), math.sqrt(math.pi / (math.pi - 1.0))
exercises.findings(
    {
        r"BatchNorm: the gradient grows by $\sqrt{\pi / (\pi - 1)}$ a layer, to within 0.03.": abs(
            found - predicted
        )
        < 0.03,
        "BatchNorm: the scale of the weights does not matter.": abs(growth(larger) - found) < 0.01,
        "In the residual network the gradient grows by less than 1.1 a layer.": growth(
            normalized["residual, BatchNorm"]
        )
        < 1.1,
    }
)

# %% [markdown]
# ## Without BatchNorm many units die, and images look alike
#
# The right size is not enough. **Co-activation** is the fraction of units that are active at both of two images, over all
# pairs of images. Masks that are independent coin tosses give 1/4. A unit is **dead** if it is active at no image.

# %% tags=["nbval-ignore-output", "hide-input"]
activity = {
    "no normalization": norms["scale 1.0"],
    "layer normalization": normalized["plain, LayerNorm"],
    "batch normalization": normalized["plain, BatchNorm"],
}
plots.layer_norm_curves(
    activity, column="coactive_fraction", caption="Independent coin tosses would give a quarter."
)

# %% [markdown]
# Without batch normalization co-activation rises to nearly a half. The last ten layers on average:

# %% tags=["keep_output", "hide-input"]
columns = {"coactive_fraction": "co-activation", "dead_fraction": "dead units"}
last = {name: table.iloc[-10:][list(columns)].mean() for name, table in activity.items()}
pd.DataFrame(last).T.rename(columns=columns).round({"co-activation": 2, "dead units": 1})

# %% [markdown]
# A co-activation of 0.48 with half of the units dead means: the units that are left are active at nearly every image. The layer
# hardly tells images apart. With batch normalization co-activation stays near 1/4, so every pair of images sees a network
# of its own. That helps to tell images apart. What it does to gradients is the question of the next lesson.

# %% [markdown]
# ## A gradient of the right size may be lopsided
#
# A gradient may have the right size on average, and yet be large in a few directions and lost in the others. Let $y(x)$ be
# the output for the image $x$, and $\partial y / \partial x$ its **Jacobian**. Its **singular values** say how much of each
# direction of the input arrives. The largest divided by the smallest is its **condition number**.
#
# Four networks: He weights without normalization and with it; *orthogonal* weights, which keep all lengths; and
# *looks-linear*. There mirrored orthogonal weights make a network with ReLUs linear at initialization
# ([lesson 8](08_looks_linear.ipynb) makes one). **Predict** the condition number of each at `depth` layers, as a power of
# ten.

# %% tags=["nbval-ignore-output"]
recipes = {
    "He": {},
    "orthogonal": {"init": "orthogonal"},
    "looks-linear": {"init": "looks-linear", "activation": "crelu"},
    "He, BatchNorm": {"normalization": "batch"},
}
condition_asked = widgets.Prediction("2.3", dict.fromkeys(recipes, (1, 1e9)), interactive=interactive)
condition_asked

# %% tags=["nbval-ignore-output", "hide-input"]
tables = []
for name, choices in recipes.items():
    for layers in (1, 2, 5, 10, 20, depth):
        choices = {"connection": "plain", "normalization": "none", **choices}
        network = models.mlp(depth=layers, width=width, seed=seed, **choices)
        table = diagnostics.conditioning(network, inputs[:64], statistics="constant")
        tables.append(table.assign(network=name, depth=layers))
spread = pd.concat(tables, ignore_index=True)
deepest = spread[spread["depth"] == depth].groupby("network")["condition"].median()
condition_asked.compare(
    deepest.to_dict(),
    plots.singular_value_spread(spread),
    r"""
    **See**: looks-linear keeps every direction at 1, at any depth. He weights keep the root mean square and lose the smallest
    direction from the first layers on. Orthogonal weights hold out longer, but the ReLUs after them do not keep lengths.
    With batch normalization the largest direction explodes.
    """,
)

# %% tags=["keep_output", "hide-input"]
exercises.findings(
    {
        "Looks-linear: the largest and the smallest singular value agree to 1 %.": deepest["looks-linear"]
        < 1.01,
        "He: the largest is more than a thousand times the smallest.": deepest["He"] > 1e3,
        "Orthogonal weights are better conditioned than He's.": deepest["orthogonal"] < deepest["He"],
    }
)

# %% [markdown]
# ## Explore
#
# **Misconception**: *with the right initialization depth is no problem any more.* Look for a **scale** at which the
# gradient keeps its size without normalization. How many units of that network are dead? Then choose a
# **normalization**.


# %% tags=["hide-input"]
def show(init_scale, normalization):
    table = measure(init_scale=init_scale, normalization=normalization)
    dead = table["dead_fraction"].iloc[-1]
    name = f"{normalization}, scale {init_scale:.3g}"
    caption = f"{name}: {dead:.0%} of the units in the last layer are dead."
    return plots.layer_norm_curves({name: table}, caption=caption)


# %% tags=["nbval-ignore-output", "hide-input"]
panel = widgets.explore_panel(
    show,
    (
        widgets.Slider(
            "init_scale", "scale of the weights", 1.0, 0.5, 2.0, "Factor of He's weights in every layer"
        ),
        widgets.Choice(
            "normalization",
            "normalization",
            "none",
            ("none", "center", "layer", "batch"),
            "center: subtracts the mean over the batch, no more",
        ),
    ),
    interactive=interactive,
)
panel

# %% [markdown]
# **Correction**: the initialization sets the *size* of the gradient. At scale 1 it is level, and still many units are dead.
# Any normalization makes the scale irrelevant. Only one over the batch revives the units.

# %% [markdown]
# ## Exercise 1 · Level gradients
#
# He's argument is about ReLUs. Find a scale for `tanh` in a plain network without normalization. Its gradients must stay
# within a factor of 5 over all layers. (`measure(activation="tanh", init_scale=my_scale)`)

# %% tags=["nbval-ignore-output"]
### solution
my_scale = 0.75
### stub
# my_scale = None  # your number
### end
my_norms = None if my_scale is None else measure(activation="tanh", init_scale=my_scale)
exercises.check_level_gradients(my_norms, factor=5.0)

# %% [markdown]
# ## Exercise 2 · By hand
#
# ReLU without normalization, `init_scale` 0.9: by which factor does one layer multiply the *norm* of a gradient? (The root
# of its mean square.)

# %% tags=["nbval-ignore-output"]
### solution
my_factor = diagnostics.predicted_mean_square(1, init_scale=0.9) ** 0.5
### stub
# my_factor = None  # your number
### end
exercises.check_layer_factor(my_factor, init_scale=0.9)

# %% [markdown] tags=["solution"]
# *For the instructor.* tanh passes gradients by its slope, which is 1 at 0. So variance 1/n would be critical, a scale of
# $1 / \sqrt{2} = 0.71$. A little more holds the activations up against the saturation. Learners often answer exercise 2
# with 0.81: the square.

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
# - Every layer multiplies: gradients vanish or explode *exponentially* in depth, by $\chi = \sigma_w^2 p$ a layer.
# - He's scale makes $\chi = 1$ on average. Normalization makes the scale irrelevant, but BatchNorm makes the gradients of
#   plain networks explode, by 1.21 a layer. Skip-connections slow that down.
# - Size is one thing. Dead units, co-activation and singular values are others.
#
# **Next**: all of this looked at one image at a time. With batch normalization each pair of images sees a network of its
# own. Do the gradients at two of them agree at all? [3 · Shattered gradients](03_shattered_gradients.ipynb).
#
# **Limits of the evidence.** Untrained networks, one width, one seed, Fashion-MNIST images. The theory is about wide
# networks on average; at depth 50 and width 64 single networks scatter by factors.
#
# **References.** X. Glorot and Y. Bengio (2010), *Understanding the difficulty of training deep feedforward neural
# networks*. · K. He, X. Zhang, S. Ren and J. Sun (2015), *Delving deep into rectifiers*. · A. Saxe, J. McClelland and
# S. Ganguli (2014), *Exact solutions to the nonlinear dynamics of learning in deep linear neural networks*. ·
# J. Pennington, S. Schoenholz and S. Ganguli (2017), *Resurrecting the sigmoid in deep learning through dynamical
# isometry*. · G. Yang and others (2019), *A mean field theory of batch normalization* (that its gradients explode). ·
# D. Balduzzi and others (2017), *The shattered gradients problem* (co-activation, looks-linear).

# %% tags=["nbval-ignore-output"]
batch.record_metrics(comparison)
