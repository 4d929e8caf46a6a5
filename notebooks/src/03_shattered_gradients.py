# %% [markdown]
# # 3 · Shattered gradients
#
# *The gradient has the right size. Does it still point anywhere?*
#
# **So far**: a gradient can keep its size, by initialization or by skip-connections
# ([lesson 2](02_vanishing_exploding.ipynb)). But one step of training has to suit many images at once. Do their gradients
# agree?
#
# **Time**: 40 minutes of reading and thinking; the cells take about 20 seconds on two processor cores.
#
# **You need**: [lesson 1](01_degradation.ipynb) and [lesson 2](02_vanishing_exploding.ipynb) (gates, co-activation,
# looks-linear); what a correlation is.
#
# **Afterwards you can**
#
# - compute the autocorrelation of a network's gradient, and tell a brown one from a white one,
# - predict how the correlation of gradients falls with depth, with and without skip-connections,
# - repeat a published experiment, and name the condition that it hangs on,
# - say what becomes of the gradients of a network while its skip-connections are phased out.

# %% tags=["parameters"]
num_seeds: int = 2  # random initializations of each network; 20 repeat the experiment (a minute)
depth: int = 20  # number of layers of the network that is trained
num_epochs: int = 10  # passes over the 5,000 training images
seed: int = 0  # of the trained network, and of what is drawn
interactive: bool = True  # controls to press; false draws plain figures instead

# %%
import sys

import pandas as pd
import torch
from IPython.display import Audio
from tqdm import tqdm

from van_tutorial import batch, data, diagnostics, exercises, models, plots, training, widgets

torch.set_num_threads(1)
images = data.load()
grid = torch.linspace(-2.0, 2.0, 256).unsqueeze(1)

# %% [markdown]
# ## The idea
#
# Training takes small steps, so it counts on a gradient at one input having something to do with the gradient
# next to it. Take the smallest case: a network from one number $x$ to one number $y$. Its gradient $g(x) = dy/dx$ at
# $N$ neighbouring inputs is a **signal**, and the question is how it hangs together: its autocorrelation at lag $k$,
#
# $$R(k) = \frac{\sum_i z_i \, z_{i+k}}{\sum_i z_i^2} \qquad z_i = g(x_i) - \bar g$$
#
# *Brown noise*, a random walk, keeps a high $R(k)$ for long: each value is the one before and a little more. In
# *white noise* every value is new, and $R(k) = 0$ from lag 1 on.
#
# ![Two gradients along a line of inputs: that of a shallow network wanders slowly, that of a deep plain network jumps at every point](../assets/figures/shattered_gradients.svg)
#
# Balduzzi and others found in 2017 that the gradient of a deep plain network *resembles* white noise before training: it
# is **shattered**. And they said why. Call two inputs alike in a layer as far as they activate the same units. If each
# unit is a coin toss at each input, two inputs share a quarter of them, and every layer halves the correlation of
# their gradients; a skip-connection adds a path that loses nothing, which leaves three quarters of it:
#
# | network | correlation after $L$ layers |
# | --- | --- |
# | plain | $2^{-L}$ |
# | residual, $x + f(x)$ | $(3/4)^L$ |
# | residual with batch normalization, $x + \beta f(x)$ | about $1 / \sqrt{1 + \beta^2 L}$ |
# | VAN, $\alpha x + (1 - \alpha) f(x)$ (derived here) | $\left( \frac{\alpha^2 + (1 - \alpha)^2 / 2}{\alpha^2 + (1 - \alpha)^2} \right)^L$ |
#
# The factor $\beta$ makes the branch $f(x)$ smaller. Where $\beta^2 L$ is much above 1, the third law is nearly
# $1 / (\beta \sqrt L)$, the form in which it is usually quoted. For a small branch that form fails: at $\beta = 0.1$ and
# $L = 50$ it gives 1.41, more than any correlation can be, where the law gives 0.82.
#
# A **VAN** (variable activation network) gives the skip a **skip weight** $\alpha$: at $\alpha = 1$ the layer passes its
# input on, at $\alpha = 0$ it is plain. To take $\alpha$ from 1 to 0 while the network learns is to *phase the skip out*, the
# subject of this course; [lesson 5](05_phasing_out.ipynb) says how.
#
# The laws are for inputs *far apart*, whose gates are independent. Neighbours on a grid share far more of their units, so
# their correlation falls later, and how soon $R(1)$ falls depends on how fine the grid is. (The laws are quoted from memory,
# not from the paper's text. They were derived again and tested for this course.)

# %% [markdown]
# ## Predict
#
# The gradients of five random networks, and two noises, are about to be drawn. Sort them from brown to white:
# plain with 4 layers, plain with 24, residual with 50 and $\beta = 0.1$, VAN with 50 and $\alpha = 0.5$, VAN with 50 and
# $\alpha = 0.95$. (Some may tie.)

# %%
my_order = None  # such as ["plain 4", "residual 50", …]

# %% [markdown]
# ## Run


# %%
def signal(recipe, layers, points=grid):
    network = models.scalar_network(recipe, layers, seed=seed)
    return diagnostics.input_gradients(network, points, statistics="constant").flatten()


signals = {
    "brown noise": diagnostics.brown_noise(256, seed=seed)[0],
    "plain, 4 layers": signal("plain, centred", 4),
    "VAN, alpha 0.95, 50 layers": signal("VAN, alpha 0.95", 50),
    "residual, beta 0.1, 50 layers": signal("residual, batch norm, beta 0.1", 50),
    "VAN, alpha 0.5, 50 layers": signal("VAN, alpha 0.5", 50),
    "plain, 24 layers": signal("plain, centred", 24),
    "white noise": diagnostics.white_noise(256, seed=seed)[0],
}

# %% [markdown]
# ## Look, and listen
#
# **See**: from top to bottom, from a walk to hiss. The table below has how long each remembers: its **correlation length**
# is the lag at which $R$ has fallen to $1/e$, in points of the grid.

# %% tags=["nbval-ignore-output"]
plots.gradient_signals(grid.flatten().numpy(), {name: values.numpy() for name, values in signals.items()})

# %% [markdown]
# **Hear** the gradient of 24 plain layers at 8,000 inputs, played in one second. It hisses, a little duller than white
# noise: at points 31 times closer, neighbours still know each other. *White* always means: at this spacing.

# %% tags=["nbval-ignore-output"]
fine = torch.linspace(-2.0, 2.0, 8000).unsqueeze(1)
Audio(signal("plain, centred", 24, fine).numpy(), rate=8000)

# %% [markdown]
# And that of four layers, which hums.

# %% tags=["nbval-ignore-output"]
Audio(signal("plain, centred", 4, fine).numpy(), rate=8000)

# %% tags=["nbval-ignore-output"]
curves = {name: diagnostics.gradient_autocorrelation(values, 64) for name, values in signals.items()}
lengths = {name: diagnostics.correlation_length(curve) for name, curve in curves.items()}
order = pd.Series(lengths).sort_values(ascending=False).round(1)
table = order.rename_axis("from brown to white").rename("correlation length (points)").reset_index()
table.assign(predicted=pd.Series(my_order or [], dtype=object)).astype(object).fillna("–")

# %% [markdown]
# Two of them tie with the noises: plain with 24 layers and VAN with $\alpha = 0.5$ have forgotten within a point, as white
# noise has. At the brown end the order differs from one random network to the next.

# %% [markdown]
# ## The published experiment
#
# As it is reported: width 200, 256 points of [-2, 2], depths 2 to 50, plain networks whose signals are *centred* in every
# layer, residual ones with batch normalization. Beside them here a looks-linear network, and VANs in two orders: the
# rectifier before the matrix, as in the others, or behind it (*post order*), as in all other lessons.

# %% tags=["nbval-ignore-output"]
steps = diagnostics.shattering(num_seeds=num_seeds)
total = len(models.SCALAR_RECIPES) * 5
measured = pd.concat(tqdm(steps, total=total, desc="random networks", file=sys.stdout), ignore_index=True)
measured = pd.concat([measured, diagnostics.noise_autocorrelation()], ignore_index=True)

# %% [markdown]
# **See**: in the plain network up to 24 layers every depth falls faster than the one before, and from there on the line
# drops at once, as white noise does. At $\alpha = 0.95$ all depths fall as slowly as brown noise, at $\beta = 0.1$ nearly so;
# at $\alpha = 0.5$ a VAN of 50 layers is white, in this order of the layer.

# %% tags=["nbval-ignore-output"]
shown = [
    "plain, centred",
    "residual, batch norm, beta 1",
    "residual, batch norm, beta 0.1",
    "VAN, alpha 0.5",
    "VAN, alpha 0.95",
    "brown noise",
]
plots.autocorrelation_panels(pd.concat([measured[measured["network"] == name] for name in shown]))

# %% [markdown]
# ### Beside the reference
#
# The same definitions were written out a second time in NumPy, with a backward pass by hand and other random numbers.
# In each cell the autocorrelation at lags 1 / 5 / 15, by depth. A dash: the gradient does not vary (looks-linear).

# %% tags=["nbval-ignore-output"]
reference = batch.recorded("shattered_gradients_reference").table
reproduction = diagnostics.agreement_table(measured, reference)
by_depth = reproduction.pivot(index="network", columns="depth", values="measured").rename(
    columns={0: "noise"}
)
batch.record_metrics(reproduction, shown=by_depth.loc[reproduction["network"].unique()].reset_index())

# %% [markdown]
# The reference:

# %% tags=["nbval-ignore-output"]
reproduction.dropna(subset="reference").pivot(index="network", columns="depth", values="reference")

# %% [markdown]
# ### Evidence
#
# With two random initializations that is a sketch. The whole experiment, 20 of each, is recorded. Two means *agree*
# when they differ by at most 0.1, or three standard errors where that is more:

# %% tags=["keep_output"]
recorded = batch.recorded("shattered_gradients")
agreed = diagnostics.agreement(recorded.table, reference)
print("means that agree with the reference:", int(agreed["agrees"].sum()), "of", len(agreed))
names = [
    "plain, centred",
    "residual, batch norm, beta 1",
    "residual, batch norm, beta 0.1",
    "VAN, alpha 0.95",
]
at_lag_1 = recorded.table[(recorded.table["lag"] == 1) & recorded.table["network"].isin(names)]
print(at_lag_1.pivot_table(index="depth", columns="network", values="mean", sort=False).round(2).to_string())
print("made by:", recorded.command)
at_0 = models.scalar_network("VAN, alpha 0.5", 24, seed=seed, skip_weight=0.0)
gradients = diagnostics.input_gradients(at_0, grid, statistics="constant").flatten()
print(
    "at alpha = 0 a VAN has the plain network's gradients:",
    torch.equal(gradients, signals["plain, 24 layers"]),
)

# %% [markdown]
# ## A puzzle from a textbook
#
# A well-known textbook's notebook tries this experiment, finds its own replication unconvincing, and asks its readers
# why. It differs from the published one in three things: it does not centre, its weights have variance $1/n$ instead of
# $2/n$, and it has random biases in every layer. **Predict**: which of the three is it?

# %%
my_culprit = None  # "centring", "variance" or "biases"

# %% tags=["keep_output"]
variants = recorded.table[recorded.table["network"].str.contains("variance")]
for name, curve in variants.groupby("network", sort=False):
    print(f"{name:38s} R(1) = {curve['mean'].iloc[1]:5.2f}   R(5) = {curve['mean'].iloc[5]:5.2f}")

# %% tags=["nbval-ignore-output"]
exercises.beside({"which it is": my_culprit}, {"which it is": "centring"})

# %% [markdown]
# (50 layers, 20 initializations.) It is the centring. With it the two other choices change next to nothing: centring
# takes every bias off again, but for the last, and a factor of all weights is a factor of the gradient, which the
# correlation does not see. Without it, inputs become ever more alike from layer to layer, as lesson 2 saw in the
# co-activation: their gradients are alike because the network hardly tells them apart, not because it is easy to
# train. Without centring the biases of He's variance make no clear difference, but with small weights they do: they drown what is
# left of $x$, and the gradient looks smooth since hardly any gate changes on the way from -2 to 2.

# %% [markdown]
# ## Real images
#
# Does the law hold for images? Random networks of growing depth on 64 test images: the mean correlation between the
# gradients at two images. **Predict**: of which network is most left at 50 layers? And is the correlation above the law
# or below it, if it does not hold exactly?

# %%
my_images = {"most left": None, "above or below the law": None}


# %%
def pair_correlation(depth, **choices):
    network = models.mlp(depth=depth, width=128, num_classes=1, order="pre", seed=seed, **choices)
    correlations = diagnostics.gradient_correlation(network, images.test_images[:64], statistics="constant")
    return diagnostics.pair_correlation(correlations)


families = {
    "plain": {"connection": "plain", "normalization": "center"},
    "residual": {"connection": "residual", "normalization": "center"},
    "residual, batch norm": {"connection": "residual", "normalization": "batch"},
    "VAN, alpha 0.5": {"connection": "van", "normalization": "center", "skip_weight": 0.5},
    "VAN, alpha 0.95": {"connection": "van", "normalization": "center", "skip_weight": 0.95},
    "looks-linear": {
        "connection": "plain",
        "normalization": "none",
        "activation": "crelu",
        "init": "looks-linear",
    },
}
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

# %% tags=["nbval-ignore-output"]
plots.correlation_by_depth(on_images, predicted)

# %% [markdown]
# **See**: the markers follow the law, most of them a little above it: the gates at two images of clothes are not quite
# independent coins. Looks-linear networks stay at exactly 1. The residual network and the VAN at $\alpha = 0.5$ lie on
# each other: $\frac{1}{2} (x + f(x))$ is the residual layer but for a factor.

# %% tags=["keep_output"]
at = on_images.set_index(["network", "depth"])["correlation"]
print("plain: correlation below 0.05 from depth 8 on:", bool((at["plain"].loc[8:].abs() < 0.05).all()))
print(
    "residual with batch normalization keeps more than 0.02 at depth 50:",
    at["residual, batch norm", 50] > 0.02,
)
print(
    "a VAN at alpha 0.95 keeps at least three times as much:",
    at["VAN, alpha 0.95", 50] > 3 * at["residual, batch norm", 50],
)
print("looks-linear: 1 at every depth:", bool((at["looks-linear"] > 0.999).all()))

# %% tags=["nbval-ignore-output"]
excess = on_images["correlation"] - predicted["correlation"]
sides = {
    "most left": at.xs(50, level="depth").idxmax(),
    "above or below the law": "above" if excess.mean() > 0 else "below",
}
exercises.beside(my_images, sides)

# %% [markdown]
# And on the way from one image to another? 128 points on the straight line between two test images, and the
# correlation between the gradients at each two of them, in networks of ten layers. **See** two squares with next to
# nothing between them: batch normalization takes off the mean over these inputs, the middle of the line, so that its two
# halves switch opposite units on. Look within a square. In the plain network it is a fine chequer: the gradient turns
# round every few points. In the residual one the fields are broad: it keeps its direction for long.

# %%
line = diagnostics.straight_path(images.test_images[0], images.test_images[1], num_points=128)


def map_of(connection):
    network = models.mlp(10, 128, connection, normalization="batch", order="pre", num_classes=1, seed=seed)
    correlations = diagnostics.gradient_correlation(network, line, statistics="constant")
    return plots.correlation_map(
        correlations.numpy(), caption=f"On the line between two images: {connection}."
    )


# %% tags=["nbval-ignore-output"]
map_of("plain")

# %% tags=["nbval-ignore-output"]
map_of("residual")

# %% [markdown]
# ## While the skips are removed
#
# A VAN starts near $\alpha = 1$ with correlated gradients, and ends as a plain network. **Predict**: do its gradients
# shatter on the way? And if they do, does it stop learning? A `Recorder` measures during training:

# %%
my_answers = {"its gradients shatter": None, "it stops learning": None}  # True or False


# %% tags=["nbval-ignore-output"]
def correlation_now(network):
    network.eval()
    return diagnostics.pair_correlation(
        diagnostics.gradient_correlation(network, images.test_images[:64], output=0)
    )


van = models.mlp(depth=depth, width=32, connection="van", seed=seed)
trainer = training.Trainer(van, images, training.TrainConfig(num_epochs=num_epochs, seed=seed))
recorder = diagnostics.Recorder(every=1, gradient_correlation=correlation_now)
for record in tqdm(trainer, total=num_epochs, desc="VAN", file=sys.stdout):
    recorder(record, van)
columns = ["epoch", "mean_skip_weight", "gradient_correlation", "test_accuracy"]
trainer.result().history[columns].round(3)

# %% [markdown]
# A longer training is recorded: depth 40, 30 epochs, three seeds, in eval mode, the output for class 0. The
# correlation length is here a share of the straight line between two images.

# %% tags=["keep_output"]
course = batch.recorded("van_gradients_mini")
chosen = course.table[course.table["epoch"].isin([1, 3, 5, 10, 20, 30])]
for column in ("pair_correlation", "correlation_length", "test_accuracy"):
    print(column.replace("_", " "))
    print(chosen.pivot_table(index="epoch", columns="network", values=column).round(4).to_string())
print("made by:", course.command)

# %% tags=["nbval-ignore-output"]
plots.measure_curves(course.table, "pair_correlation", "Gradients at two images", "correlation (no unit)")

# %% tags=["nbval-ignore-output"]
exercises.beside(my_answers, {"its gradients shatter": "yes, nearly", "it stops learning": "no"})

# %% [markdown]
# They do shatter: at two images the correlation falls from 0.97 to 0.05 in the first ten epochs. Along a line the final
# correlation length is a twentieth of the residual network's. The plain network shatters further: its length is a quarter
# of the VAN's. At two images its correlation is about 0, where the VAN keeps 0.02 to 0.07.
#
# The VAN's test accuracy rises from 0.82 at epoch 10 to 0.85 at the end, where the plain network reaches 0.44. So nearly
# shattered gradients do not *stop* learning here. But that is a weak test. Half of those steps still have skips, and after
# the last one is removed the cosine schedule has only 6.6 % of the summed learning rate left. Perhaps shattered gradients
# harm the beginning of training most, and the VAN had its beginning while they were correlated. That reading is ours, and
# this experiment does not prove it.

# %% [markdown]
# ## Explore
#
# **Misconception**: *depth shatters gradients, so 50 layers always do.* Choose a **network** and a **depth**. How deep
# can each go before its gradient is white? Which keeps its memory at 50 layers, and which a little of it?


# %%
def show(recipe, layers):
    values = signal(recipe, layers)
    curve = diagnostics.gradient_autocorrelation(values, 64)
    length = diagnostics.correlation_length(curve)
    caption = f"R(1) = {curve[1]:.2f}, R(5) = {curve[5]:.2f}; correlation length: {length:.1f} points."
    noises = {name: signals[name].numpy() for name in ("brown noise", "white noise")}
    name = f"{recipe}, {layers} layers"
    return plots.gradient_signals(grid.flatten().numpy(), {name: values.numpy(), **noises}, caption=caption)


# %% tags=["nbval-ignore-output"]
panel = widgets.explore_panel(
    show,
    (
        widgets.Choice(
            "recipe", "network", "plain, centred", tuple(models.SCALAR_RECIPES), "What every layer is"
        ),
        widgets.Slider("layers", "depth (layers)", 10, 2, 60, "Number of hidden layers"),
    ),
    interactive=interactive,
)
panel

# %% [markdown]
# **Set right**: depth shatters the gradients of *plain* networks. At 50 layers those with $\beta = 0.1$ or with $\alpha$ near 1
# are still nearly brown, and a looks-linear network has one and the same gradient everywhere.

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
# By the formula for VANs in the table above: what is the smallest $\alpha$, to two digits, that leaves gradients at two
# inputs a correlation of at least 0.5 after 50 layers? (`diagnostics.predicted_correlation`)

# %% tags=["nbval-ignore-output"]
### solution
candidates = [i / 100 for i in range(101)]
my_alpha = next(a for a in candidates if diagnostics.predicted_correlation(50, "van", skip_weight=a) >= 0.5)
### stub
# my_alpha = None  # your number
### end
exercises.check_skip_weight(my_alpha, depth=50, correlation=0.5)

# %% [markdown] tags=["solution"]
# *For the instructor.* Good questions: why does the theory halve once more before the output (the last rectifier)? Why
# does the plain network with batch normalization shatter faster on the grid than the centred one (R(1) at 10 layers:
# 0.5 against 0.7)? Dividing by the standard deviation makes every unit change its gate more often along the line. And
# in post order at $\alpha = 0.5$ and 50 layers R(1) is 0.7 (s.d. 0.3) instead of 0; but in either order the gradient has
# all but vanished there. Correlation is not all.

# %% [markdown]
# ## Take away
#
# - In deep plain networks the gradient resembles white noise: each layer halves what two distant inputs share, $2^{-L}$.
# - Skip-connections slow that to $(3/4)^L$, with batch normalization to about $1 / \sqrt{1 + \beta^2 L}$. A VAN near
#   $\alpha = 1$ keeps its gradients correlated; looks-linear networks do so without any skip.
# - Mean-centring is the condition of the published picture: without it gradients stay smooth for the wrong reason.
# - While a VAN's skips are removed its gradients nearly shatter. Its accuracy still rises, though little learning rate is
#   left by then.
#
# **Next**: skips keep a gradient's size and its direction. How do they do that, which kinds are there, and does every
# layer need its own? [4 · Skip-connections](04_skip_connections.ipynb).
#
# **Limits of the evidence.** The published figures and the conditions of the experiment are reported from memory and
# by others: agreement here is with our own second implementation. One width, one grid; the theory assumes independent
# gates. The trained networks: three seeds, one data set, output of one class.
#
# **References.** D. Balduzzi, M. Frean, L. Leary, J. Lewis, K. W.-D. Ma and B. McWilliams (2017), *The shattered
# gradients problem: if resnets are the answer, then what is the question?*, ICML. · S. J. D. Prince (2023),
# *Understanding deep learning*, chapter 11 and its notebook 11.1 (the puzzle).
