# %% [markdown]
# # 7 · Dirac weights
#
# *Can the skip-connection hide inside the weights?*
#
# **So far**: a skip leads $x$ past the layer, and phasing it out takes it away again
# ([lesson 5](05_phasing_out.ipynb), [lesson 6](06_multiplier_dynamics.ipynb)). The next three lessons try other answers. The
# first needs no second path.
#
# **Time**: 35 minutes of reading and thinking; the cells take about 20 seconds on two processor cores.
#
# **You need**: lessons [1](01_degradation.ipynb) to [3](03_shattered_gradients.ipynb) and [5](05_phasing_out.ipynb); what an
# identity matrix is, and what weight decay does.
#
# **Afterwards you can**
#
# - write a layer's weight as an identity and something learned, and fold it back by hand,
# - prove that a network has no skip-connection, before training and after it,
# - name two differences between an identity before the ReLU and one after it,
# - predict when weight decay destroys the identity, and when it cannot.

# %% tags=["parameters"]
depth: int = 40  # number of layers
width: int = 32  # units per layer
num_epochs: int = 5  # passes over the 5,000 training images
lr: float = 0.003  # learning rate of the weights
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

# %% [markdown]
# ## The idea
#
# Lesson 1 put it like this: a layer that has learned nothing yet should pass its input on. A residual layer does so
# by a second path, $x + f(x)$. Another way is to *start from a weight that is nearly the identity*. Zagoruyko and
# Komodakis write each weight of their **DiracNets** as
#
# $$W = \mathrm{diag}(a) \, I + \mathrm{diag}(b) \, \frac{V}{|V|} \qquad \text{so} \qquad
# W x = a \odot x + b \odot \frac{V}{|V|} \, x$$
#
# $V$ is learned, and $|V|$ is the length of each of its rows. $a$ and $b$ have an entry for each output; they are
# learned too, and start at $a = 1$, $b = 0.1$. ($b$ is not the bias here.) For a convolution, $I$ is the kernel that leaves an image as it is: 1
# at the centre, 0 elsewhere, a *Dirac delta*, which gave the networks their name.
#
# ![Three layers: residual with a skip around weight and rectifier, Dirac with the identity inside the weight, and Dirac folded into one weight](../assets/figures/dirac.svg)
#
# So there is a skip-connection, $a \odot x$, but only in the way the weight is *written*. Two things are different
# from the skips that you know:
#
# | | where the identity is | the rectifier | at the end |
# | --- | --- | --- | --- |
# | residual | added to the layer's output | does not touch it | it stays |
# | VAN | mixed with the layer's output, by $\alpha$ | does not touch it | it is taken away: $\alpha = 0$ |
# | Dirac | added to the layer's weight, by $a$ | cuts it off below 0 | it is folded in, whatever $a$ is then |

# %% [markdown]
# ## Predict
#
# Four networks of the same depth, with batch normalization: *plain*, *Dirac*, *residual*, and the Dirac network with
# $a = 0$ at the start, *Dirac, no identity*: all of the writing, and no skip in it. Which test accuracy do you
# expect? And what will become of the mean of all $a$, which training is free to change?

# %%
my_prediction = {"plain": None, "dirac": None, "dirac, no identity": None, "residual": None}
my_mean_a = None  # at the end, where it starts at 1

# %% [markdown]
# ## Run


# %% tags=["nbval-ignore-output"]
def scales(network):
    return [layer.linear.parametrizations.weight[0] for layer in network.layers]


def make(name):
    choices = {"parametrization": "dirac"} if name.startswith("dirac") else {}
    connection = "residual" if name == "residual" else "plain"
    network = models.mlp(depth=depth, width=width, connection=connection, seed=seed, **choices)
    if name == "dirac, no identity":
        for scale in scales(network):
            torch.nn.init.zeros_(scale.identity_scale)
    return network


config = training.TrainConfig(num_epochs=num_epochs, lr=lr, seed=seed, device=device)
results = {}
for name in my_prediction:
    network = make(name)
    trainer = training.Trainer(network, images, config)
    bar = tqdm(trainer, total=num_epochs, desc=f"{name:18s}", unit="epoch", file=sys.stdout)
    recorder = None
    if name == "dirac":
        recorder = diagnostics.Recorder(
            every=1,
            a=lambda network: torch.stack([scale.identity_scale.mean() for scale in scales(network)]),
            b=lambda network: torch.stack([scale.filter_scale.mean() for scale in scales(network)]),
        )
    for record in bar:
        bar.set_postfix_str(f"test accuracy {record.test_accuracy:.3f}")
        if recorder is not None:
            recorder(record, network)
    results[name] = trainer.result()

# %% [markdown]
# ## Evidence

# %% tags=["keep_output"]
on_training = {name: result.history["train_accuracy"].iloc[-1] for name, result in results.items()}
ahead = {name: on_training["dirac"] - value for name, value in on_training.items()}
print("Dirac is at least 0.3 ahead of plain, on training images:", ahead["plain"] >= 0.3)
print("and of the same network without the identity:", ahead["dirac, no identity"] >= 0.3)
print("the residual network is at most 0.15 ahead of Dirac:", ahead["residual"] >= -0.15)

# %% [markdown]
# ### Your prediction beside what came

# %% tags=["nbval-ignore-output"]
comparison = pd.DataFrame(
    {
        "network": list(results),
        "training accuracy": [round(value, 3) for value in on_training.values()],
        "test accuracy": [round(result.test_accuracy, 3) for result in results.values()],
        "seconds": [round(result.seconds, 1) for result in results.values()],
    }
)
comparison.assign(predicted=[my_prediction.get(name) for name in results]).astype(object).fillna("–")

# %% [markdown]
# **See**: with the identity in its weights a plain network learns from the first epoch on, not far behind the residual
# one. Without it the same network, written in the same way, learns hardly more than the plain one: it is the identity
# that counts, and not the division by $|V|$.

# %% tags=["nbval-ignore-output"]
plots.accuracy_curves({name: result.history for name, result in results.items()})

# %% [markdown]
# ## Is there a skip or is there none?
#
# The exported graph of a network is all that the computer does. `has_skip` looks in it for a sum that joins two paths from
# one node, one of which passes fewer weights. In the Dirac network it finds none, *even before anything is folded*: $a I$
# is added to a weight, not to a signal. And `collapse` folds: it works $W$ out once and keeps only that.

# %% tags=["keep_output"]
dirac = results["dirac"].model.cpu()
folded = models.collapse(dirac)
networks = {"residual": results["residual"].model.cpu(), "Dirac": dirac, "Dirac, folded": folded}
for name, network in networks.items():
    program = torch.export.export(network.eval(), (images.test_images[:2],))
    count = sum(parameter.numel() for parameter in network.parameters())
    print(f"{name:13s}  a skip in the graph: {models.has_skip(program)!s:5s}  parameters: {count:,}")
with torch.no_grad():
    difference = (dirac(images.test_images) - folded(images.test_images)).abs().max().item()
print("largest difference between the answers of Dirac and folded:", difference)

# %% [markdown]
# Any layer can be written so, your own as well: `models.add_dirac(layer)` parametrizes its weight, and PyTorch's
# `torch.nn.utils.parametrize.remove_parametrizations(layer, "weight")` folds it.

# %% tags=["keep_output"]
layer = models.add_dirac(torch.nn.Conv2d(2, 3, kernel_size=3, padding=1))
delta = torch.nn.init.dirac_(torch.empty(3, 2, 3, 3))
print("a convolution of 2 channels into 3, its identity at the kernels' centres:")
print(delta[:, :, 1, 1])
lengths = (layer.weight - delta).flatten(1).norm(dim=1)
print("what each output has besides is 0.1 long:", torch.allclose(lengths, torch.full((3,), 0.1)))

# %% [markdown]
# ## What becomes of $a$ and $b$?
#
# Nothing holds $a$ at 1. Oyedotun and others (2023) object to DiracNets just that: $a$ is free, so the identity may
# get lost in training, and the skip is merely implicit. **See** whether it gets lost here, by layer: the input side
# leaves $a$ where it was; the layers next to the output turn it down a little, and $b$ up.


# %% tags=["nbval-ignore-output"]
layers = results["dirac"].layers.assign(epoch=lambda table: table["step"] / table["step"].min())
shown = layers[layers["layer"].isin([1, depth // 2, depth])]
shown = shown.assign(network="layer " + shown["layer"].astype(str))
plots.measure_curves(
    shown, "a", "The identity in the weights", "a (mean over the units)", caption="Starts at 1."
)

# %% tags=["nbval-ignore-output"]
plots.measure_curves(
    shown, "b", "What is learned, beside it", "b (mean over the units)", caption="Starts at 0.1."
)

# %% tags=["nbval-ignore-output"]
last = layers[layers["epoch"] == layers["epoch"].max()]
exercises.beside({"mean of all a": my_mean_a}, {"mean of all a": last["a"].mean()})

# %% [markdown]
# ## One run is no evidence
#
# The same over three depths and three seeds, ten epochs each, recorded; test accuracy, mean and standard deviation. The
# plain network stands there twice: with the common learning rate, and with the one that was best for it at depth 40 on a
# validation set.

# %% tags=["keep_output"]
recorded = batch.recorded("dirac_mini")
runs = recorded.table
by_depth = runs[runs["experiment"] == "depth"]
table = by_depth.pivot_table(
    index="network", columns="depth", values="test_accuracy", aggfunc=["mean", "std"], sort=False
)
print(table.swaplevel(axis=1).sort_index(axis=1, level=0, sort_remaining=False).round(3).to_string())
print("seeds:", by_depth["seed"].nunique(), "  made by:", recorded.command)

# %% [markdown]
# **See**: residual networks keep their accuracy with depth, and Dirac networks lose a little of it. The three kinds without
# an identity lose most of it. A
# better learning rate only moves the loss of the plain ones to larger depths.

# %% tags=["nbval-ignore-output"]
plots.accuracy_by_depth(by_depth)

# %% [markdown]
# And compared with a VAN? With 30 epochs and the settings of lesson 5. **Predict** the Dirac network's test accuracy (the
# recorded VAN of lesson 5 had 0.85, the residual network 0.845) and the mean of its $a$ after so long a training. Then think
# of the weights themselves. The cosine between a weight matrix and the identity, $\mathrm{tr}(W) / (|W| \sqrt n)$, is 1 for
# a multiple of the identity. For a random matrix of this size it is 0, give or take 0.03. **Predict** its mean over the
# layers of a collapsed VAN, and of the folded Dirac network.

# %%
my_long = {"test accuracy": None, "mean of all a": None, "cosine, VAN": None, "cosine, Dirac": None}

# %% tags=["keep_output"]
long = runs[runs["experiment"] == "long"].assign(network="dirac")
both = pd.concat([batch.recorded("phase_out_mini").table, long])
print(both.groupby("network", sort=False)["test_accuracy"].agg(["mean", "std"]).round(3).to_string())
ends = pd.concat(
    [by_depth.query("network == 'dirac' and depth == 40").assign(epochs=10), long.assign(epochs=30)]
)
columns = ["mean_a", "smallest_a", "mean_b", "mean_a_last_layer", "mean_b_last_layer"]
print("\nwhat a and b are at the end, means over the seeds")
print(ends.groupby("epochs")[columns].mean().round(3).to_string())
identity = runs[runs["experiment"] == "identity"].groupby("network", sort=False)
print("\ncosine between a layer's weight and the identity after 30 epochs, three seeds")
print(identity.agg(mean=("cosine", "mean"), sd=("cosine", "std"), smallest=("smallest_cosine", "min"),
                   largest=("largest_cosine", "max")).round(3).to_string())  # fmt: skip

# %% tags=["nbval-ignore-output"]
cosines = identity["cosine"].mean()
values = (long["test_accuracy"].mean(), long["mean_a"].mean(), cosines["van"], cosines["dirac"])
exercises.beside(my_long, dict(zip(my_long, values, strict=True)))

# %% [markdown]
# At depth 10 the Dirac networks are 0.013 above the residual ones. At 40 and 60 the two are not told apart by three seeds:
# the 95 % interval of the paired difference includes 0 (lesson 5 says how it is computed). Without the identity, and all
# else the same, they are far below, with the plain ones. After 30 epochs Dirac network, residual network and VAN are not
# told apart either.
#
# But what did they become? The mean of $a$ is still 0.99, and the smallest of the 1,280 in a network is 0.58 on average. It
# could have vanished: the learning rates of these 30 epochs add up to about 1.75, and Adam takes steps of about that size where the
# gradient keeps its sign. Training did not remove it. So the graph is plain, and the skip is in it all the same, at nearly
# full strength, about ten times as long as what was learned beside it.
#
# And a collapsed VAN? It has no skip and no parametrization, but its weights are not without an identity. Their cosine to it
# is 0.15 on average and above 0.06 in every layer, against 0.00 in the plain network. So it has *learned* a small part
# of one. Whether a plain network that trains well (BatchNorm bias 1) learns as much was not measured. Neither network shows that depth does without identities altogether. The Dirac network keeps nearly all of
# it in its weights, the VAN a small part.
#
# ## Before the ReLU
#
# Is it the skip of a residual layer, then, in another place? Look at the gradients before training: the recorded
# table has the correlation between those at pairs of images, as lesson 3 has it (with batch statistics); the share of
# the images whose gradient is *exactly 0*; the co-activation of lesson 2 in the last layer (independent coins: 0.25);
# and how many times as large the gradient is at the first layer as at the last.

# %% tags=["keep_output"]
columns = ["correlation", "without_gradient", "coactive_fraction", "gradient_ratio"]
compared = by_depth[by_depth["network"].isin(["plain", "dirac", "residual"])]
means = compared.groupby(["network", "depth"], sort=False)[columns].mean()
means["gradient_ratio"] = means["gradient_ratio"].round(1)
print(means.round(3).to_string())

# %% [markdown]
# Two things at once. From the last layer to the first gradients neither vanish nor explode (*Explore* draws what is
# between), and at two images they have more in common than those of a plain network. But in a Dirac network of 40 layers two images share hardly any active unit,
# and at four images in ten the gradient is 0: a small change of the image changes nothing. That is the rectifier:
# batch normalization takes the mean off, the rectifier cuts off what is below it, the identity hands the rest to the
# next layer, which does the same again. What is left at the end are a few peaks. A residual layer adds $x$ *behind*
# the rectifier, so nothing is cut off twice.
#
# What if there is no normalization? What comes out of a rectifier is never below 0. **Predict** the co-activation in
# the last layer then, and how many of 64 images have a gradient of 0.

# %%
my_bare = {"co-activation": None, "gradients of 0": None}


# %%
def untrained(layers, normalization, a=None, b=None):
    choices = {"connection": "residual"} if a is None else {"connection": "plain", "parametrization": "dirac"}
    network = models.mlp(depth=layers, width=width, normalization=normalization, seed=seed, **choices)
    for scale in scales(network) if a is not None else ():
        torch.nn.init.constant_(scale.identity_scale, a)
        torch.nn.init.constant_(scale.filter_scale, b)
    return network


def reached(network):
    gradients = diagnostics.input_gradients(network, images.test_images[:64], output=0, statistics="constant")
    gradients = gradients.flatten(1)
    return gradients[gradients.norm(dim=1) > 0]


# %% tags=["keep_output"]
bare = untrained(depth, "none", a=1.0, b=0.1)
table = diagnostics.layer_norms(bare, images.train_images[:256], images.train_labels[:256])
print(
    "without normalization, co-activation in the last layer above 0.6:",
    table["coactive_fraction"].iloc[-1] > 0.6,
)
pairs = diagnostics.pair_correlation(diagnostics.correlation_matrix(reached(bare)))
print("every image has a gradient:", len(reached(bare)) == 64)
print("and the correlation between them is above 0.3:", pairs > 0.3)

# %% tags=["nbval-ignore-output"]
found = {"co-activation": table["coactive_fraction"].iloc[-1], "gradients of 0": 64 - len(reached(bare))}
exercises.beside(my_bare, found)

# %% [markdown]
# Nothing takes the mean off, so the next identity and rectifier let all of it pass.
#
# ## Should $a$ decay?
#
# Weight decay pulls numbers to 0, and $a = 0$ is a network without its skip. The authors' own training lets only
# parameters of two dimensions and more decay, and so does `training.TrainConfig`: $V$, but not $a$ and $b$. Does it
# matter? Recorded at depth 40, with a strong weight decay of 5 (over ten epochs it alone would take $a$ to 0.05 with
# batch normalization, where the step size is 0.003, and to 0.38 without, at 0.001). **Predict** the test accuracy, with
# batch normalization and without, by what decays.

# %%
my_decay = {
    "batch: V": None,
    "batch: V, a": None,
    "batch: V, a, b": None,
    "none: V": None,
    "none: V, a, b": None,
}

# %% tags=["keep_output"]
decay = runs[runs["experiment"] == "decay"]
columns = {"test_accuracy": ["mean", "std"], "mean_a": "mean", "mean_b": "mean", "median_ratio": "mean"}
print(decay.groupby(["normalization", "decayed"], sort=False).agg(columns).round(3).to_string())

# %% tags=["nbval-ignore-output"]
means = decay.groupby(["normalization", "decayed"], sort=False)["test_accuracy"].mean()
exercises.beside(my_decay, {f"{norm}: {decayed}": value for (norm, decayed), value in means.items()})

# %% [markdown]
# With batch normalization $a$ and $b$ may decay *together*: both become small, and the accuracy is not told apart. Batch
# normalization divides what comes out by its size, so only the **ratio** of the two counts, and that is still 7 to 1.
# Where $a$ decays alone the ratio falls below 1, and the accuracy with it. Without normalization nothing is divided:
# every layer multiplies the signal by about $a$, and $0.38^{40}$ is $10^{-17}$; the network is left at chance. So the
# rule is right, and the reason is not quite "the skip is pulled to 0": it is the ratio, or where nothing normalizes,
# the product over the layers. (And look at the fourth row once more: 40 layers, no skip in the graph, *and no
# normalization*.)
#
# ## Convolutions
#
# The published networks are convolutional: a first convolution, three groups of Dirac convolutions with maximum
# pooling between them. `models.diracnet(depth, k)` makes them; networks of their size are not trained here, but they
# fold as well:

# %% tags=["keep_output"]
network = models.diracnet(depth=34, k=1, in_channels=1, seed=seed).eval()
plain_twin = models.collapse(network)
sample = images.test_images[:8]
with torch.no_grad():
    print("DiracNet-34: folded to the last bit:", torch.equal(network(sample), plain_twin(sample)))
print("a skip in its graph:", models.has_skip(torch.export.export(network, (sample[:2],))))

# %% [markdown]
# What was trained, and recorded, is small: images averaged to 14 by 14, three epochs, 16 channels in the first group
# at depth 10 and 8 at depth 34. **Predict**: is Dirac ahead of plain at depth 10, and at depth 34?

# %%
my_convolutions = {"ahead at depth 10": None, "ahead at depth 34": None}  # True or False

# %% tags=["keep_output"]
convolutions = runs[runs["experiment"] == "convolutions"]
print(
    convolutions.groupby(["depth", "network"], sort=False)["test_accuracy"]
    .agg(["mean", "std"])
    .round(3)
    .to_string()
)

# %% tags=["nbval-ignore-output"]
means = convolutions.groupby(["depth", "network"])["test_accuracy"].mean().unstack()
ahead = means["dirac"] > means["plain"]
exercises.beside(my_convolutions, {f"ahead at depth {depth}": value for depth, value in ahead.items()})

# %% [markdown]
# At depth 10, after three epochs, the identity has *cost* 0.035. At depth 34, where the plain network begins to fail,
# it gains 0.14. Neither kind was trained to its end here.
#
# ## Explore
#
# **Misconception**: *with $a = 1$ a Dirac layer is a residual layer.* One is $\mathrm{relu}(x + b \, V x / |V|)$ and
# the other $x + \mathrm{relu}(W x)$. Untrained networks: watch the gradient by layer beside that of a residual
# network, and the caption. Take the identity away ($a = 0$); make $b$ as large as $a$; then switch the
# **normalization** off and watch the co-activation.


# %%
def show(a, b, layers, normalization):
    networks = {"Dirac": untrained(layers, normalization, a, b), "residual": untrained(layers, normalization)}
    sample = (images.train_images[:128], images.train_labels[:128])
    norms = {name: diagnostics.layer_norms(network, *sample) for name, network in networks.items()}
    found = reached(networks["Dirac"])
    pairs = diagnostics.pair_correlation(diagnostics.correlation_matrix(found))
    share = norms["Dirac"]["coactive_fraction"].iloc[-1]
    numbers = f"correlation {pairs:.2f}, co-activation {share:.2f}, {64 - len(found)} of 64 gradients 0"
    return plots.layer_norm_curves(norms, caption=f"Dirac, a = {a:.2g}, b = {b:.2g}: {numbers}.")


# %% tags=["nbval-ignore-output"]
panel = widgets.explore_panel(
    show,
    (
        widgets.Slider("a", "a, of the identity", 1.0, 0.0, 2.0, "Factor of the identity in every weight"),
        widgets.Slider(
            "b", "b, of what is learned", 0.1, 0.01, 2.0, "Length of every row of the rest", is_log=True
        ),
        widgets.Slider("layers", "depth (layers)", depth, 1, 80, "Number of layers"),
        widgets.Choice("normalization", "normalization", "batch", ("batch", "none"), "In every layer"),
    ),
    interactive=interactive,
)
panel

# %% [markdown]
# **Set right**: the rectifier makes the difference. What the identity carries is cut off below 0 in every layer, and
# with batch normalization that leaves few units in common and many images without a gradient. A residual network beside
# it, with the same identity *behind* the rectifier, has neither.

# %% [markdown]
# ## Exercise 1 · Fold by hand
#
# With $a = (1, \frac{1}{2})$, $b = (0.1, 0.2)$ and $V$ as below: which ordinary weight does the layer fold into?
# (Numbers that you can do without a computer.)

# %% tags=["nbval-ignore-output"]
a, b = torch.tensor([1.0, 0.5]), torch.tensor([0.1, 0.2])
V = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
### solution
my_weight = [[1.06, 0.08], [0.0, 0.7]]
### stub
# my_weight = None  # your matrix, such as [[1.0, 0.0], [0.0, 1.0]]
### end
exercises.check_folded_weight(my_weight, a, b, V)

# %% [markdown]
# ## Exercise 2 · What folds away
#
# A DiracNet-34 of single width (the published factor is called $k$, so $k = 1$) has three groups of ten Dirac convolutions, with 16, 32 and 64 channels. How many
# parameters does it have more than the plain network that it folds into?

# %% tags=["nbval-ignore-output"]
### solution
my_number = 2 * 10 * (16 + 32 + 64)
### stub
# my_number = None  # your number
### end
exercises.check_saved_parameters(my_number, models.diracnet(depth=34, k=1, seed=seed))

# %% [markdown] tags=["solution"]
# *For the instructor.* Exercise 1: the rows of $V$ have lengths 5 and 2. A good question afterwards: how long is a
# row of $W$ at the start? $\sqrt{a^2 + b^2 + 2 a b \, v_{ii}}$ with $v_{ii}$ the diagonal entry of the row of length
# 1, so $\sqrt{1.01} = 1.005$ in the mean over random $V$: nearly 1, which is why signals without normalization keep
# their size. Another: why can weight decay on $V$ not make the layer smaller? $V / |V|$ does not know how long $V$
# is; only its direction counts, and a shorter $V$ turns faster.

# %% [markdown]
# ## Take away
#
# - With an identity inside the weight, $W = \mathrm{diag}(a) I + \mathrm{diag}(b) V / |V|$, a plain network of 40 layers
#   is not told apart from a residual one in these runs. Without the identity the same parametrization brings little.
# - There is no skip in the graph at any time, and folding leaves an ordinary weight with the same outputs, to the last bit.
# - It is not the skip of a residual layer: it lies before the ReLU, which cuts it off below 0. And it is folded in at nearly
#   full strength, where a VAN's skip weight reaches zero and its weights have learned a small part of an identity.
# - What counts of $a$ and $b$ is their ratio, under batch normalization, and else the product of all $a$. Weight
#   decay of $a$ can destroy either: a good reason to spare it.
#
# **Next**: a Dirac network begins close to a linear map, but for its rectifiers. What if it began as *exactly* linear,
# without any identity at all? [8 · Looks linear](08_looks_linear.ipynb).
#
# **Limits of the evidence.** One small data set, three seeds, short trainings: 390 steps, and 1,170 in the longer
# one. That $a$ stays near 1 says nothing about 200 epochs of gradient descent. Adam throughout, where the authors
# used gradient descent with momentum; no step size was tuned for Dirac networks. The convolutional ones are tiny and
# were trained for three epochs.
#
# **References.** S. Zagoruyko and N. Komodakis (2017, version 2 of 2018), *DiracNets: training very deep neural
# networks without skip-connections*, arXiv 1706.00388. · O. K. Oyedotun and others (2023), *Why is everyone training
# very deep neural network with skip connections?*, IEEE Transactions on Neural Networks and Learning Systems. · K.
# He, X. Zhang, S. Ren and J. Sun (2016), *Deep residual learning for image recognition*, CVPR.

# %% tags=["nbval-ignore-output"]
batch.record_metrics(comparison)
