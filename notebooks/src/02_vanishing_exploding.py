# %% [markdown]
# # 2 · Vanishing and exploding
#
# *What happens to a gradient on its way back through fifty layers?*
#
# **So far**: deep plain networks do not learn even their training images, although better weights exist
# ([lesson 1](01_degradation.ipynb)). Training looks for them with gradients. So we follow a gradient through the layers.
#
# **Time**: 30 minutes of reading and thinking; the cells take about 10 seconds on two processor cores.
#
# **You need**: [lesson 1](01_degradation.ipynb); the chain rule for matrices, and what a variance is.
#
# **Afterwards you can**
#
# - measure activations and gradients layer by layer, in any PyTorch network,
# - predict from the initial weights whether gradients vanish, explode or keep their size,
# - say what normalization mends of that, and what it makes worse,
# - name three things besides its size that can be wrong with a gradient's way back.

# %% tags=["parameters"]
depth: int = 50  # number of layers
width: int = 64  # units per layer
num_images: int = 256  # training images that are measured on
seed: int = 0  # of the initial weights
interactive: bool = True  # controls to press; false draws plain figures instead

# %%
import math

import pandas as pd
import torch

from van_tutorial import batch, data, diagnostics, exercises, models, plots, widgets

torch.set_num_threads(1)
images = data.load()
inputs, labels = images.train_images[:num_images], images.train_labels[:num_images]

# %% [markdown]
# ## The idea
#
# Nothing is trained in this lesson: what goes wrong is there at the first step. With $x_l$ the output of layer $l$ (and
# $x_0$ what layer 1 gets), the chain rule hands the gradient of the loss $C$ from layer to layer. Without normalization,
#
# $$\frac{\partial C}{\partial x_{l-1}} = \frac{\partial C}{\partial x_l} \, D_l \, W_l$$
#
# where $W_l$ holds the weights and $D_l$ is the **gate** of the rectifier: 1 for units that are active, 0 for the others.
# A random $W$ whose entries have variance $\sigma_w^2 / n$ multiplies the squared length by $\sigma_w^2$ on average,
# and a gate that lets the share $p$ of the units pass, by $p$. So
#
# $$\mathbb{E} \left| \frac{\partial C}{\partial x_0} \right|^2 \approx \chi^L \left| \frac{\partial C}{\partial x_L}
# \right|^2 \qquad \chi = \sigma_w^2 \, p$$
#
# ![The gradient travels from the loss back to the input through six layers: with a gain below 1 it fades, with 1 it keeps its size, above 1 it grows](../assets/figures/vanishing_exploding.svg)
#
# He initialization takes $\sigma_w^2 = 2$; a rectifier passes half, $p = 1/2$; so $\chi = 1$. The knob of this
# lesson is `init_scale`, which multiplies those weights: $\sigma_w^2 = 2 \cdot \mathrm{scale}^2$.

# %% [markdown]
# ## Predict
#
# Three plain networks of `depth` layers, without normalization, with scales 0.8, 1 and 1.25. For each: how many times as
# large is the gradient at the first layer's output as at the last layer's? A power of ten will do.

# %%
my_prediction = {0.8: None, 1.0: None, 1.25: None}  # such as 1e-3, in place of None

# %% [markdown]
# ## Run
#
# `layer_norms` watches a network by hooks while one batch goes through it and back, and leaves it as it was.


# %% tags=["nbval-ignore-output"]
def measure(**choices):
    choices = {"connection": "plain", "normalization": "none", **choices}
    network = models.mlp(depth=depth, width=width, seed=seed, **choices)
    return diagnostics.layer_norms(network, inputs, labels)


scales = (0.8, 1.0, 1.25)
norms = {f"scale {scale}": measure(init_scale=scale) for scale in scales}
norms["scale 1.0"].head(3).round(4)

# %% [markdown]
# ## Evidence
#
# (For the default depth; what is printed at another one has to be read with the theory beside it.)

# %% tags=["keep_output"]
ratio = {
    name: table["output_grad_norm"].iloc[0] / table["output_grad_norm"].iloc[-1]
    for name, table in norms.items()
}
print("scale 0.8: below a ten-thousandth of it arrives:", ratio["scale 0.8"] < 1e-4)
print("scale 1.0: between a twentieth and twenty times:", 1 / 20 < ratio["scale 1.0"] < 20)
print("scale 1.25: more than a thousand times:", ratio["scale 1.25"] > 1e3)

# %% tags=["nbval-ignore-output"]
comparison = pd.DataFrame(
    {
        "network": list(ratio),
        "first to last layer": [f"{value:.1e}" for value in ratio.values()],
        "theory": [f"{diagnostics.predicted_mean_square(depth - 1, scale) ** 0.5:.1e}" for scale in scales],
    }
)
comparison.assign(predicted=[my_prediction.get(scale) for scale in scales]).astype(object).fillna("–")

# %% [markdown]
# ## Look
#
# **See**: straight lines on a logarithmic axis, so every layer multiplies by the same factor: the slope is the logarithm
# of the scale. A factor of 0.8 a layer sounds harmless, and fifty of them leave a hundred-thousandth. (The loss is a
# natural logarithm, so its unit is the *nat*.)

# %% tags=["nbval-ignore-output"]
plots.layer_norm_curves(norms)

# %% [markdown]
# The theory speaks of a *mean over random networks*. Let $y(x)$ be the output of the network for the image $x$, and
# $\partial y / \partial x$ its **Jacobian**. **See** how the theory does: for each depth the mean squared singular value of
# the Jacobian over 100 networks, beside $4 \chi^L$ (the 4 comes from the input layer and the first matrix, which no gate
# precedes). Products of many random factors scatter: in the deepest the mean lies above the median, since a few
# networks lie far above it.

# %% tags=["nbval-ignore-output"]
rows = []
for layers in (5, 10, 20):
    networks = [models.mlp(layers, 128, "plain", normalization="none", seed=i) for i in range(100)]
    values = [diagnostics.conditioning(network, inputs[:4])["mean_square"].mean() for network in networks]
    found, theory = pd.Series(values), 4.0 * diagnostics.predicted_mean_square(layers)
    rows.append((layers, found.mean(), found.sem(), theory, found.median()))
pd.DataFrame(rows, columns=["depth", "mean", "standard error", "theory", "median"]).round(2)

# %% [markdown]
# ## Normalization
#
# Batch normalization divides every unit by its standard deviation over the batch, layer normalization divides all units
# of an image by theirs. So the scale of the weights cannot matter any more. **Predict**: does the gradient keep its size,
# then? Again how many times as large it is at the first layer as at the last.

# %%
my_normalized = {"batch, scale 0.8": None, "layer, scale 0.8": None, "residual, batch": None}

# %% tags=["nbval-ignore-output"]
normalized = {
    f"{normalization}, scale {scale}": measure(normalization=normalization, init_scale=scale)
    for normalization in ("batch", "layer")
    for scale in (0.8, 1.25)
}
normalized["residual, batch"] = measure(connection="residual", normalization="batch")
plots.layer_norm_curves(normalized, caption="Two lines each for scales 0.8 and 1.25: they lie on each other.")

# %% [markdown]
# With batch normalization the *activations* keep their size, and the gradient **explodes**, by the same factor at any
# scale. Where from? A rectified signal has a mean, which normalization takes off; what is left has $(\pi - 1) / \pi$ of
# the size squared, and is stretched back to 1, and the gradient with it: a factor of
# $\sqrt{\pi / (\pi - 1)} = 1.21$ a layer, about ten thousand over fifty. With skip-connections it grows far less.
# Layer normalization keeps the size, too; what it does not keep is the next section.

# %% tags=["keep_output"]
growth = {}
for name, table in normalized.items():
    gradients = table["output_grad_norm"]
    growth[name] = (gradients.iloc[0] / gradients.iloc[-1]) ** (1 / (depth - 1))
predicted = math.sqrt(math.pi / (math.pi - 1.0))
found = growth["batch, scale 0.8"]
print(
    "batch normalization: growth per layer within 0.03 of sqrt(pi / (pi - 1)):", abs(found - predicted) < 0.03
)
print("the scale of the weights does not matter:", abs(growth["batch, scale 1.25"] - found) < 0.01)
print("with residual connections the growth per layer is below 1.1:", growth["residual, batch"] < 1.1)

# %% tags=["nbval-ignore-output"]
exercises.beside(my_normalized, {name: growth[name] ** (depth - 1) for name in my_normalized})

# %% [markdown]
# ## The right size is not enough
#
# **Co-activation** is the share of units that are active at both of two inputs, over all pairs. Gates that are
# independent coin tosses give 1/4. **See**: without normalization, and with layer normalization, it rises to nearly a half
# (0.48 in the mean over the last ten layers), while many units are **dead**, active at no image (see below): those that
# are left are active at nearly every image, so the layer hardly tells images apart. With batch normalization it stays at
# 1/4: every pair of images sees its own network. That is good for telling images apart; what it does to gradients is the
# question of the next lesson.

# %% tags=["nbval-ignore-output"]
activity = {
    "no normalization": norms["scale 1.0"],
    "layer normalization": normalized["layer, scale 0.8"],
    "batch normalization": normalized["batch, scale 0.8"],
}
plots.layer_norm_curves(
    activity, column="coactive_fraction", caption="One quarter: gates like independent coins."
)

# %% tags=["keep_output"]
shares = {
    name: table.iloc[-10:][["coactive_fraction", "dead_fraction"]].mean() for name, table in activity.items()
}
for name, share in shares.items():
    print(f"{name}, last ten layers:")
    print("    co-activation within 0.03 of 1/4:", bool(abs(share["coactive_fraction"] - 0.25) < 0.03))
    print(f"    mean co-activation: {share['coactive_fraction']:.2f}")
    print("    more than a quarter of the units dead:", bool(share["dead_fraction"] > 0.25))

# %% [markdown]
# And a gradient may have the right size in the mean and be lopsided: large in a few directions, lost in the others.
# The **singular values** of the Jacobian say how much of each direction of the input arrives; the largest by the
# smallest is its **condition**. Four networks: He weights without normalization and with it; *orthogonal* weights, which
# keep all lengths; and *looks-linear*, in which rectifiers and mirrored orthogonal weights are arranged so that the
# network is exactly linear before it learns ([lesson 8](08_looks_linear.ipynb) makes one). **Predict** the condition of
# each at `depth` layers, as a power of ten.

# %%
my_conditions = {"He": None, "orthogonal": None, "looks-linear": None, "He, batch norm": None}

# %% tags=["nbval-ignore-output"]
recipes = {
    "He": {},
    "orthogonal": {"init": "orthogonal"},
    "looks-linear": {"init": "looks-linear", "activation": "crelu"},
    "He, batch norm": {"normalization": "batch"},
}
tables = []
for name, choices in recipes.items():
    for layers in (1, 2, 5, 10, 20, depth):
        choices = {"connection": "plain", "normalization": "none", **choices}
        network = models.mlp(depth=layers, width=width, seed=seed, **choices)
        table = diagnostics.conditioning(network, inputs[:64], statistics="constant")
        tables.append(table.assign(network=name, depth=layers))
spread = pd.concat(tables, ignore_index=True)
plots.singular_value_spread(spread)

# %% [markdown]
# **See**: He weights keep the root mean square, and lose the smallest direction from the first layers on; orthogonal
# weights hold out longer, but the rectifiers behind them do not keep lengths; with batch normalization the largest
# explodes; looks-linear keeps every direction at 1 at any depth.

# %% tags=["keep_output"]
deepest = spread[spread["depth"] == depth].groupby("network")["condition"].median()
print("looks-linear: largest and smallest singular value agree to 1 %:", deepest["looks-linear"] < 1.01)
print("He: the largest is more than a thousand times the smallest:", deepest["He"] > 1e3)
print("orthogonal weights are better conditioned than He's:", deepest["orthogonal"] < deepest["He"])

# %% tags=["nbval-ignore-output"]
exercises.beside(my_conditions, deepest.loc[list(my_conditions)].to_dict())

# %% [markdown]
# ## Explore
#
# **Misconception**: *with the right initialization depth is no problem any more.* Look for a **scale** at which the
# gradient keeps its size without normalization, then look at the dead units of that same network. Then switch
# **normalization** on.


# %%
def show(init_scale, normalization):
    table = measure(init_scale=init_scale, normalization=normalization)
    dead = table["dead_fraction"].iloc[-1]
    name = f"{normalization}, scale {init_scale:.3g}"
    caption = f"{name}: {dead:.0%} of the units in the last layer are dead."
    return plots.layer_norm_curves({name: table}, caption=caption)


# %% tags=["nbval-ignore-output"]
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
            "center: the mean over the batch taken off, no more",
        ),
    ),
    interactive=interactive,
)
panel

# %% [markdown]
# **Set right**: the initialization settles the *size* of the gradient. At scale 1 it is level, and a good part of the
# units is dead all the same. Normalization wakes the units, and takes the size out of the hands of the initialization.

# %% [markdown]
# ## Exercise 1 · Level
#
# He's argument is about rectifiers. For `tanh` find a scale with which the gradients of a plain network without
# normalization stay within a factor of 5 over all layers. (`measure(activation="tanh", init_scale=my_scale)`)

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
# Rectifiers without normalization, `init_scale` 0.9: by which factor does one layer multiply the *length* of a gradient
# (the root of the mean of its square)?

# %% tags=["nbval-ignore-output"]
### solution
my_factor = diagnostics.predicted_mean_square(1, init_scale=0.9) ** 0.5
### stub
# my_factor = None  # your number
### end
exercises.check_layer_factor(my_factor, init_scale=0.9)

# %% [markdown] tags=["solution"]
# *For the instructor.* tanh passes gradients by its slope, which is 1 at 0: variance 1/n would be critical, a scale of
# $1 / \sqrt{2} = 0.71$; a little more holds the activations up against the saturation. Learners often answer exercise
# 2 with 0.81: the square.

# %% [markdown]
# ## Take away
#
# - Every layer multiplies: gradients vanish or explode *exponentially* in depth, by $\chi = \sigma_w^2 p$ a layer.
# - He's scale makes $\chi = 1$ in the mean. Normalization makes the scale irrelevant, but plain networks with batch
#   normalization have exploding gradients, by 1.21 a layer; skip-connections mend that.
# - Size is one thing. Dead units, co-activation and singular values are others.
#
# **Next**: all of this looked at one image at a time. Batch normalization has each pair of images see a network of its
# own. Have the gradients at two of them anything to do with each other, then?
# [3 · Shattered gradients](03_shattered_gradients.ipynb).
#
# **Limits of the evidence.** Untrained networks, one width, one seed (but for the table over 100 networks), Fashion-MNIST
# images. The theory is about wide networks; at depth 50 and width 64 single networks scatter by factors.
#
# **References.** X. Glorot and Y. Bengio (2010), *Understanding the difficulty of training deep feedforward neural
# networks*. · K. He, X. Zhang, S. Ren and J. Sun (2015), *Delving deep into rectifiers*. · A. Saxe, J. McClelland and
# S. Ganguli (2014), *Exact solutions to the nonlinear dynamics of learning in deep linear neural networks*. ·
# J. Pennington, S. Schoenholz and S. Ganguli (2017), *Resurrecting the sigmoid in deep learning through dynamical
# isometry*. · G. Yang and others (2019), *A mean field theory of batch normalization* (that its gradients explode). ·
# D. Balduzzi and others (2017), *The shattered gradients problem* (co-activation, looks-linear).

# %% tags=["nbval-ignore-output"]
batch.record_metrics(comparison)
