# %% [markdown]
# # 3 · Shattered gradients
#
# *The gradient has the right size. Does it still point anywhere?*
#
# **So far**: a gradient can keep its size, by initialization or by skip-connections
# ([lesson 2](02_vanishing_exploding.ipynb)). But one step of training has to suit many images at once. Do their gradients
# agree?
#
# In a deep plain network they do not. Move the input a little, and the gradient is a new one. You can hear it: played as
# sound, the gradient of four layers hums, and that of 24 layers hisses. You will derive from a coin toss how fast this
# happens, repeat the published experiment, and solve a textbook's puzzle about it.
#
# **Time**: 40 minutes of reading and thinking; the cells take about 25 seconds on two idle processor cores.
#
# **You need**: [lesson 1](01_degradation.ipynb) and [lesson 2](02_vanishing_exploding.ipynb) (ReLU masks, co-activation,
# looks-linear); what a correlation is.
#
# **Afterwards you can**
#
# - compute the autocorrelation of a network's gradient, and tell a brown one from a white one,
# - predict how the correlation of gradients falls with depth, with and without skip-connections,
# - repeat a published experiment, and name the condition that it depends on,
# - say what happens to the gradients while skip-connections are phased out, and what that does not prove.

# %% tags=["parameters"]
num_seeds: int = 2  # random initializations of each network; 20 repeat the experiment (a minute)
seed: int = 0  # of what is drawn
interactive: bool = True  # controls to press; false draws plain figures instead

# %% tags=["hide-input"]
import sys

import pandas as pd
import torch
from IPython.display import Audio
from tqdm import tqdm

from van_tutorial import batch, data, diagnostics, exercises, models, plots, widgets

torch.set_num_threads(1)
images = data.load()
grid = torch.linspace(-2.0, 2.0, 256).unsqueeze(1)

# %% [markdown]
# ## The idea: each plain layer halves the correlation
#
# Training takes small steps. It relies on the gradient at one input being like the gradient next to it. Take the smallest
# case: a network from one number $x$ to one number $y$. Its gradient $g(x) = dy/dx$ at $N$ neighbouring inputs is a
# **signal**. The **autocorrelation** at lag $k$ compares each value with the one $k$ points further:
#
# $$R(k) = \frac{\sum_i z_i \, z_{i+k}}{\sum_i z_i^2} \qquad z_i = g(x_i) - \bar g$$
#
# *Brown noise*, a random walk, keeps a high $R(k)$ for long: each value is the one before and a little more. In *white
# noise* every value is new, and $R(k) = 0$ from lag 1 on.
#
# ![Two gradients along a line of inputs: that of a shallow network wanders slowly, that of a deep plain network jumps at every point](../assets/figures/shattered_gradients.svg)
#
# Balduzzi and others found in 2017 that the gradient of a deep plain network *resembles* white noise at initialization. They
# call it **shattered**. Why does it happen? Take two inputs far apart, and let each unit be a coin toss at each input.
#
# - At *one* input half of the units are active. Only these pass the gradient, so the mask keeps **a half** of its variance.
# - At *both* inputs a quarter of the units is active. Only these contribute to the covariance of the two gradients, so the
#   masks keep **a quarter** of it.
# - Correlation is covariance divided by variance. A quarter over a half is **a half**: every plain layer halves it.
#
# A skip-connection adds a path without a mask, which keeps all of both. He's weights multiply the branch by 2. Then the
# covariance becomes $1 + 2 \cdot \frac{1}{4}$, the variance $1 + 2 \cdot \frac{1}{2}$, and three quarters are left:
#
# | network | correlation after $L$ layers |
# | --- | --- |
# | plain | $2^{-L}$ |
# | residual, $x + f(x)$ | $(3/4)^L$ |
# | residual with batch normalization, $x + \beta f(x)$ | about $1 / \sqrt{1 + \beta^2 L}$ |
# | VAN, $\alpha x + (1 - \alpha) f(x)$ (derived here) | $\left( \frac{\alpha^2 + (1 - \alpha)^2 / 2}{\alpha^2 + (1 - \alpha)^2} \right)^L$ |
#
# A small $\beta$ makes the branch $f(x)$ small. A **VAN** (variable activation network) gives the skip a **skip weight**
# $\alpha$. At $\alpha = 1$ the layer passes its input on, at $\alpha = 0$ it is plain. To *phase the skip out* is to take
# $\alpha$ from 1 to 0 while the network learns. That is the subject of this course
# ([lesson 5](05_phasing_out.ipynb)).
#
# The laws are for inputs *far apart*. Neighbours on a grid share far more of their active units, so their correlation falls
# later.

# %% [markdown]
# ## Predict
#
# Five random networks, 256 inputs from -2 to 2. Over how many points does each gradient stay correlated? The **correlation
# length** is the lag at which $R$ has fallen to $1/e$. For comparison: brown noise has about 20 points here, white noise
# less than one.

# %% tags=["nbval-ignore-output"]
recipes = {
    "plain, 4 layers": ("plain, centred", 4),
    "plain, 24 layers": ("plain, centred", 24),
    "residual, beta 0.1, 50 layers": ("residual, batch norm, beta 0.1", 50),
    "VAN, alpha 0.5, 50 layers": ("VAN, alpha 0.5", 50),
    "VAN, alpha 0.95, 50 layers": ("VAN, alpha 0.95", 50),
}
prediction = widgets.Prediction("3.1", dict.fromkeys(recipes, (0, 40)), interactive=interactive)
prediction

# %% [markdown]
# ## Run


# %%
def signal(recipe, layers, points=grid):
    network = models.scalar_network(recipe, layers, seed=seed)
    return diagnostics.input_gradients(network, points, statistics="constant").flatten()


signals = {name: signal(*recipe) for name, recipe in recipes.items()}
signals["brown noise"] = diagnostics.brown_noise(256, seed=seed)[0]
signals["white noise"] = diagnostics.white_noise(256, seed=seed)[0]

# %% tags=["nbval-ignore-output", "hide-input"]
lengths = {}
for name, values in signals.items():
    curve = diagnostics.gradient_autocorrelation(values, 64)
    lengths[name] = float(diagnostics.correlation_length(curve))
longest_first = sorted(signals, key=lengths.get, reverse=True)
drawn = {name: signals[name].numpy() for name in longest_first}
prediction.compare(
    {name: lengths[name] for name in recipes},
    plots.gradient_signals(grid.flatten().numpy(), drawn),
    r"""
    **See**: from top to bottom the signals go from a walk to hiss. Two are uncorrelated within a point, like white noise:
    plain with 24 layers, and the VAN with $\alpha = 0.5$ and 50. At the brown end the order differs from one random network
    to the next.
    """,
)

# %% [markdown]
# **Hear** the gradient of 24 plain layers at 8,000 inputs, played in one second. It hisses. (*White* means: at the spacing
# of the figure. At points 31 times closer, neighbours are a little correlated.)

# %% tags=["nbval-ignore-output", "hide-input"]
fine = torch.linspace(-2.0, 2.0, 8000).unsqueeze(1)
Audio(signal("plain, centred", 24, fine).numpy(), rate=8000)

# %% [markdown]
# And that of four layers, which hums.

# %% tags=["nbval-ignore-output", "hide-input"]
Audio(signal("plain, centred", 4, fine).numpy(), rate=8000)

# %% [markdown]
# ## Evidence: with depth plain gradients turn white
#
# **The published experiment**, as it is reported: width 200, 256 points of [-2, 2], depths from 2 to 50. In plain
# networks the signals are *centred* in every layer (the mean over the inputs is subtracted). Residual ones have batch
# normalization. VANs stand beside them.

# %% tags=["nbval-ignore-output"]
steps = diagnostics.shattering(num_seeds=num_seeds)
total = len(models.SCALAR_RECIPES) * 5
measured = pd.concat(tqdm(steps, total=total, file=sys.stdout), ignore_index=True)

# %% tags=["nbval-ignore-output", "hide-input"]
measured = pd.concat([measured, diagnostics.noise_autocorrelation()], ignore_index=True)
panels = [
    "plain, centred",
    "residual, batch norm, beta 1",
    "residual, batch norm, beta 0.1",
    "VAN, alpha 0.5",
    "VAN, alpha 0.95",
    "brown noise",
]
plots.autocorrelation_panels(pd.concat([measured[measured["network"] == name] for name in panels]))

# %% [markdown]
# **See**: in the plain network each depth falls faster than the one before. From 24 layers on the line drops at once,
# as white noise would. At $\alpha = 0.95$ all depths fall as slowly as brown noise, at $\beta = 0.1$ nearly so. A VAN
# with $\alpha = 0.5$ and 50 layers is white.
#
# Two random initializations are a sketch. Recorded are 20 of each. $R(1)$, by depth:

# %% tags=["keep_output", "hide-input"]
recorded = batch.recorded("shattered_gradients").table
at_lag_1 = recorded[(recorded["lag"] == 1) & recorded["network"].isin(panels) & (recorded["depth"] > 0)]
at_lag_1.pivot_table(index="network", columns="depth", values="mean", sort=False).round(2).rename_axis(None)

# %% [markdown]
# **See**: plain networks fall to 0 between 10 and 24 layers. Small $\beta$ and $\alpha$ near 1 hardly fall.
#
# Is it right? The same definitions were written out a second time in NumPy, with a backward pass by hand and other random
# numbers. Two means *agree* when they differ by at most 0.1, or by three standard errors where that is more.

# %% tags=["keep_output", "hide-input"]
reference = batch.recorded("shattered_gradients_reference").table
agreed = diagnostics.agreement(recorded, reference)["agrees"]
at_0 = models.scalar_network("VAN, alpha 0.5", 24, seed=seed, skip_weight=0.0)
gradients = diagnostics.input_gradients(at_0, grid, statistics="constant").flatten()
exercises.findings(
    {
        f"{agreed.sum()} of {len(agreed)} means agree with the second implementation.": agreed.mean() > 0.9,
        r"At $\alpha = 0$ a VAN has the plain network's gradients, to the last bit.": torch.equal(
            gradients, signals["plain, 24 layers"]
        ),
    }
)

# %% [markdown]
# ## A puzzle from a textbook
#
# A well-known textbook's notebook tries this experiment, finds its own replication unconvincing, and asks its readers
# why. Three things differ from the published one: no centring, weights of variance $1/n$ instead of $2/n$, and random
# biases in every layer. **Predict**: which of the three makes the difference?

# %% tags=["nbval-ignore-output"]
culprit_asked = widgets.Prediction(
    "3.2", {"what makes the difference": ("centring", "variance", "biases")}, interactive=interactive
)
culprit_asked

# %% tags=["nbval-ignore-output", "hide-input"]
is_variant = recorded["network"].str.contains("variance")
table = (
    recorded[is_variant & recorded["lag"].isin([1, 5])]
    .pivot_table(index="network", columns="lag", values="mean", sort=False)
    .round(2)
)
centred = table.index.str.startswith("centred")
assert table[centred].abs().max().max() < 0.1 < table[~centred].min().min()
culprit_asked.compare(
    {"what makes the difference": "centring"},
    table.rename(columns="R({})".format).rename_axis(index=None, columns=None),
    r"""
    It is the centring (50 layers, 20 initializations). With it the two other choices change next to nothing. Centring
    subtracts every bias again, except the last. A factor of all weights is a factor of the gradient, which the correlation
    does not see.

    Without centring, inputs become ever more alike from layer to layer: lesson 2 saw that in the co-activation. Their
    gradients are alike because the network hardly tells them apart. That makes it no easier to train. Biases of He's
    variance then make no clear difference. With small weights they do. They drown what is left of $x$, and hardly any unit
    switches between -2 and 2.
    """,
)

# %% [markdown]
# ## The law holds on real images
#
# Take random networks of growing depth. Measured is the mean correlation between the gradients at two of 64 test images.
# **Predict**: which network keeps most of it at 50 layers? And does the correlation lie above the law or below it?

# %% tags=["nbval-ignore-output"]
linear = {"connection": "plain", "normalization": "none", "activation": "crelu", "init": "looks-linear"}
families = {
    "plain": {"connection": "plain", "normalization": "center"},
    "residual, batch norm": {"connection": "residual", "normalization": "batch"},
    "VAN, alpha 0.5": {"connection": "van", "normalization": "center", "skip_weight": 0.5},
    "VAN, alpha 0.95": {"connection": "van", "normalization": "center", "skip_weight": 0.95},
    "looks-linear": linear,
}
images_asked = widgets.Prediction(
    "3.3", {"keeps most": tuple(families), "against the law": ("above", "below")}, interactive=interactive
)
images_asked


# %% tags=["hide-input"]
def pair_correlation(depth, **choices):
    network = models.mlp(depth=depth, width=128, num_classes=1, order="pre", seed=seed, **choices)
    correlations = diagnostics.gradient_correlation(network, images.test_images[:64], statistics="constant")
    return diagnostics.pair_correlation(correlations)


depths = (1, 2, 4, 8, 16, 32, 50)


def theory(layers, connection, normalization, skip_weight=0.0, activation="relu", init="he"):
    if init == "looks-linear":
        return 1.0
    normalization = "batch" if normalization == "batch" else "none"
    correlation = diagnostics.predicted_correlation(
        layers, connection, normalization, skip_weight=skip_weight
    )
    return correlation / 2  # the last gate, before the output


on_images = pd.DataFrame(
    [(name, L, pair_correlation(L, **choices)) for name, choices in families.items() for L in depths]
)
predicted = pd.DataFrame(
    [(name, L, theory(L, **choices)) for name, choices in families.items() for L in depths]
)
on_images.columns = predicted.columns = ["network", "depth", "correlation"]

# %% tags=["nbval-ignore-output", "hide-input"]
excess = (on_images["correlation"] - predicted["correlation"]).mean()
at = on_images.set_index(["network", "depth"])["correlation"]
images_asked.compare(
    {
        "keeps most": at.xs(50, level="depth").idxmax(),
        "against the law": "above" if excess > 0 else "below",
    },
    plots.correlation_by_depth(on_images, predicted),
    r"""
    **See**: the markers follow the law, most of them a little above it. The masks at two images of clothes are not
    quite independent coins. Looks-linear networks stay at exactly 1. (The VAN at $\alpha = 0.5$, $\frac{1}{2} (x +
    f(x))$, is half the residual layer, and has its correlation.)
    """,
)

# %% tags=["keep_output", "hide-input"]
residual, van = at["residual, batch norm", 50], at["VAN, alpha 0.95", 50]
exercises.findings(
    {
        "Plain: the correlation is below 0.05 from depth 8 on.": (at["plain"].loc[8:].abs() < 0.05).all(),
        "Residual with batch normalization: more than 0.02 is left at depth 50.": residual > 0.02,
        r"The VAN at $\alpha = 0.95$ keeps at least three times as much.": van > 3 * residual,
        "Looks-linear: 1 at every depth.": (at["looks-linear"] > 0.999).all(),
    }
)

# %% [markdown]
# ## Does shattering make training fail?
#
# A VAN starts near $\alpha = 1$ with correlated gradients, and ends as a plain network. **Predict**: do its gradients
# shatter on the way? And if they do, does it stop learning?
#
# Recorded are networks of depth 40, trained for 30 epochs with three seeds. The gradients are those of the output for
# class 0, in eval mode.

# %% tags=["nbval-ignore-output"]
training_asked = widgets.Prediction(
    "3.4",
    {"its gradients shatter": ("no", "nearly", "fully"), "it stops learning": ("yes", "no")},
    interactive=interactive,
)
training_asked

# %% tags=["nbval-ignore-output", "hide-input"]
course = batch.recorded("van_gradients_mini").table.replace({"network": {"van": "VAN"}})
curve = plots.measure_curves(course, "pair_correlation", "Gradients at two images", "correlation")
training_asked.compare(
    {"its gradients shatter": "nearly", "it stops learning": "no"},
    curve,
    r"""
    **See**: they nearly shatter. At two images the correlation falls from 0.97 to 0.05 in the first ten epochs. After that
    the VAN keeps 0.02 to 0.07, where the plain network is at about 0.
    """,
)

# %% [markdown]
# Does it go on learning meanwhile? Test accuracy by epoch, mean of the seeds:

# %% tags=["keep_output", "hide-input"]
chosen = course[course["epoch"].isin([1, 3, 5, 10, 20, 30])]
chosen.pivot_table(index="network", columns="epoch", values="test_accuracy").round(3).rename_axis(None)

# %% tags=["nbval-ignore-output", "hide-input"]
training_asked.show(
    r"""
    The VAN rises from 0.82 at epoch 10 to 0.85 at the end. So nearly shattered gradients do not *stop* learning. The plain
    network, shattered from the start, ends at 0.44. Is that because of the shattering? This experiment cannot say:

    - Plain networks with batch normalization also have exploding gradients ([lesson 2](02_vanishing_exploding.ipynb)). Two
      things are wrong at once.
    - The plain network learns too, slowly, while its gradients stay shattered.
    - The VAN learned most while its gradients were correlated. The learning rate falls along a cosine. When the last skip
      is removed, only 6.6 % of its sum is left.

    Perhaps shattered gradients harm the beginning of training most. That reading is ours, and unproven.
    """
)

# %% [markdown]
# ## Explore
#
# **Misconception**: *depth shatters gradients, so 50 layers always do.* Choose a **network** and a **depth**. How deep
# can each go before its gradient is white? Which is still correlated at 50 layers, and which a little?


# %% tags=["hide-input"]
def show(recipe, layers):
    values = signal(recipe, layers)
    curve = diagnostics.gradient_autocorrelation(values, 64)
    length = diagnostics.correlation_length(curve)
    caption = f"R(1) = {curve[1]:.2f}, R(5) = {curve[5]:.2f}; correlation length: {length:.1f} points."
    if curve.isnan().any():
        caption = "The gradient is the same at every input: there is nothing that could vary."
    noises = {name: signals[name].numpy() for name in ("brown noise", "white noise")}
    name = f"{recipe}, {layers} layers"
    return plots.gradient_signals(grid.flatten().numpy(), {name: values.numpy(), **noises}, caption=caption)


# %% tags=["nbval-ignore-output", "hide-input"]
panel = widgets.explore_panel(
    show,
    (
        widgets.Choice(
            "recipe",
            "network",
            "plain, centred",
            tuple(name for name in models.SCALAR_RECIPES if "post order" not in name),
            "What every layer is",
        ),
        widgets.Slider("layers", "depth (layers)", 10, 2, 60, "Number of hidden layers"),
    ),
    interactive=interactive,
)
panel

# %% [markdown]
# **Correction**: depth shatters the gradients of *plain* networks. At 50 layers those with $\beta = 0.1$ or with
# $\alpha$ near 1 are still nearly brown. A looks-linear network has one and the same gradient everywhere.

# %% [markdown]
# ## Exercise 1 · Autocorrelation
#
# Write the formula of *The idea*: the autocorrelation $R(k)$ of a signal (a tensor of shape (N,)) at one lag $k$.


# %% tags=["nbval-ignore-output"]
### solution
def my_autocorrelation(signal, lag):
    z = signal - signal.mean()
    return (z[: len(z) - lag] * z[lag:]).sum() / z.square().sum()


### stub
# def my_autocorrelation(signal, lag):
#     return None  # your formula
#
#
### end
exercises.check_autocorrelation(my_autocorrelation)

# %% [markdown]
# ## Exercise 2 · How much of the skip?
#
# Use the law for VANs in the table of *The idea*. What is the smallest $\alpha$, to two digits, that leaves a correlation of
# at least 0.5 after 50 layers? (`diagnostics.predicted_correlation` computes it.)

# %% tags=["nbval-ignore-output"]
### solution
candidates = [i / 100 for i in range(101)]
my_alpha = next(a for a in candidates if diagnostics.predicted_correlation(50, "van", skip_weight=a) >= 0.5)
### stub
# my_alpha = None  # your number
### end
exercises.check_skip_weight(my_alpha, depth=50, correlation=0.5)

# %% [markdown] tags=["solution"]
# *For the instructor.* Good questions: why does the theory halve once more before the output (the last ReLU)? And why
# does batch normalization shatter faster on the grid than centring alone? (R(1) at 10 layers: 0.5 against 0.7.)
# Dividing by the standard deviation makes every unit switch more often along the line.

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
# - In deep plain networks the gradient resembles white noise: each layer halves what two distant inputs share, $2^{-L}$.
# - Skip-connections slow that to $(3/4)^L$, with batch normalization to about $1 / \sqrt{1 + \beta^2 L}$. A VAN near
#   $\alpha = 1$ keeps its gradients correlated; looks-linear networks do so without any skip.
# - Mean-centring is the condition of the published picture: without it gradients stay smooth for the wrong reason.
# - While a VAN's skips are removed its gradients nearly shatter, and its accuracy still rises. Shattering alone does not
#   stop learning.
#
# **Next**: skips keep a gradient's size and its direction. How do they do that, which kinds are there, and does every
# layer need its own? [4 · Skip-connections](04_skip_connections.ipynb).
#
# **Limits of the evidence.** The published figures and conditions are reported from memory and by others; the laws
# were derived again for this course. Agreement here is with our own second implementation. One width, one grid; the theory assumes independent
# masks. The trained networks: three seeds, one data set, output of one class.
#
# **References.** D. Balduzzi, M. Frean, L. Leary, J. Lewis, K. W.-D. Ma and B. McWilliams (2017), *The shattered
# gradients problem: if resnets are the answer, then what is the question?*, ICML. · S. J. D. Prince (2023),
# *Understanding deep learning*, chapter 11 and its notebook 11.1 (the puzzle).

# %% tags=["nbval-ignore-output", "hide-input"]
reproduction = diagnostics.agreement_table(measured, reference)
by_depth = reproduction.pivot(index="network", columns="depth", values="measured")
batch.record_metrics(reproduction, shown=by_depth.rename(columns={0: "noise"}).reset_index())
