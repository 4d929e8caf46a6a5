# %% [markdown]
# # 7 · Dirac weights
#
# *Can the skip-connection hide inside the weights?*
#
# Let every weight start close to the identity. Then the graph never holds a skip-connection, and after training the
# network folds into ordinary weights. Does it train as well as a residual one? And is the skip gone, or only hidden? You
# will measure both, and see what the ReLU and weight decay do to it.
#
# **So far**: a skip leads $x$ around the layer, and phasing it out removes it again ([lesson 5](05_phasing_out.ipynb),
# [lesson 6](06_multiplier_dynamics.ipynb)). The next three lessons try other answers. This one needs no second path.
#
# **Time**: 35 minutes of reading and thinking; the cells take about 25 seconds on two idle processor cores.
#
# **You need**: lessons [1](01_degradation.ipynb) to [3](03_shattered_gradients.ipynb) and [5](05_phasing_out.ipynb);
# what an identity matrix is, and what weight decay does.
#
# **Afterwards you can**
#
# - write a layer's weight as an identity plus something learned, and fold it by hand,
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

# %% tags=["hide-input"]
import sys

import pandas as pd
import torch
from tqdm import tqdm

from van_tutorial import batch, data, diagnostics, exercises, models, plots, training, widgets

torch.set_num_threads(1)  # small networks: more threads would mostly wait for each other
images = data.load()

# %% [markdown]
# ## The idea: write the identity into the weight
#
# A layer that has learned nothing yet should pass its input on (lesson 1). A residual layer does so by a second path,
# $x + f(x)$. Zagoruyko and Komodakis instead *start from a weight that is nearly the identity*. They write each weight
# of their **DiracNets** as
#
# $$W = \mathrm{diag}(a) \, I + \mathrm{diag}(b) \, \frac{V}{|V|} \qquad \text{so} \qquad
# W x = a \odot x + b \odot \frac{V}{|V|} \, x$$
#
# $V$ is learned, and $|V|$ is the norm of each of its rows. $a$ and $b$ have one entry for each output. They are learned
# too, from $a = 1$ and $b = 0.1$. ($b$ is not the bias here.) For a convolution, $I$ is the kernel that leaves an image
# as it is: 1 at the centre, 0 elsewhere. This *Dirac delta* gave the networks their name.
#
# ![Three layers: residual with a skip around weight and ReLU, Dirac with the identity inside the weight, and Dirac folded into one weight](../assets/figures/dirac.svg)
#
# So there is a skip-connection, $a \odot x$, but only in the way the weight is *written*:
#
# | | where the identity is | the ReLU | at the end |
# | --- | --- | --- | --- |
# | residual | added to the layer's output | does not touch it | it stays |
# | VAN | mixed with the layer's output, by $\alpha$ | does not touch it | it is removed: $\alpha = 0$ |
# | Dirac | added to the layer's weight, by $a$ | cuts it off below 0 | it is folded in, with any $a$ |

# %% [markdown]
# ## Predict
#
# You train four networks of the same depth with batch normalization: *plain*, *Dirac*, *residual*, and *Dirac, no
# identity*. The last is the Dirac network with $a = 0$ at initialization: the same parametrization without a skip in it.
# Which test accuracy will each reach?

# %% tags=["nbval-ignore-output"]
names = ("plain", "Dirac", "Dirac, no identity", "residual")
prediction = widgets.Prediction("7.1", dict.fromkeys(names, (0, 1)), interactive=interactive)
prediction

# %% [markdown]
# ## Run


# %%
def scales(network):
    return [layer.linear.parametrizations.weight[0] for layer in network.layers]


def make(name):
    choices = {"parametrization": "dirac"} if name.startswith("Dirac") else {}
    connection = "residual" if name == "residual" else "plain"
    network = models.mlp(depth=depth, width=width, connection=connection, seed=seed, **choices)
    if name == "Dirac, no identity":
        for scale in scales(network):
            torch.nn.init.zeros_(scale.identity_scale)
    return network


# %% tags=["nbval-ignore-output", "hide-input"]
config = training.TrainConfig(num_epochs=num_epochs, lr=lr, seed=seed, device=device)
results = {}
for name in names:
    trainer = training.Trainer(make(name), images, config)
    for _ in tqdm(trainer, total=num_epochs, desc=f"{name:18s}", unit="epoch", file=sys.stdout):
        pass  # the trainer yields after each epoch
    results[name] = trainer.result()

# %% [markdown]
# ### Prediction and result

# %% tags=["nbval-ignore-output", "hide-input"]
on_training = {name: result.history["train_accuracy"].iloc[-1] for name, result in results.items()}
comparison = pd.DataFrame(
    {
        "network": list(results),
        "training accuracy": [round(value, 3) for value in on_training.values()],
        "test accuracy": [round(result.test_accuracy, 3) for result in results.values()],
        "seconds": [round(result.seconds, 1) for result in results.values()],
    }
)
prediction.compare(
    {name: result.test_accuracy for name, result in results.items()},
    plots.accuracy_curves({name: result.history for name, result in results.items()}),
    r"""
    **See**: with the identity in its weights a plain network learns from the first epoch on, not far behind the residual
    one. Without it, the same parametrization learns hardly more than the plain network.
    """,
)

# %% [markdown]
# ## Evidence: the identity is what counts, not the division by $|V|$

# %% tags=["keep_output", "hide-input"]
ahead = {name: on_training["Dirac"] - value for name, value in on_training.items()}
exercises.findings(
    {
        "In training accuracy, Dirac is at least 0.3 above plain.": ahead["plain"] >= 0.3,
        "It is at least 0.3 above the same network without the identity.": ahead["Dirac, no identity"] >= 0.3,
        "It is at most 0.15 below residual.": ahead["residual"] >= -0.15,
    }
)

# %% [markdown]
# ## At 40 layers Dirac is not told apart from residual
#
# The same networks, recorded at three depths with three seeds, ten epochs each. *lr 0.01* is the plain network with the
# learning rate that was best at depth 40 on a validation set.

# %% tags=["nbval-ignore-output", "hide-input"]
runs = batch.recorded("dirac_mini").table
runs["network"] = runs["network"].str.replace("dirac", "Dirac").replace("van", "VAN")
by_depth = runs[runs["experiment"] == "depth"]
plots.measure_curves(
    by_depth, "test_accuracy", "Accuracy and depth", "test accuracy", over="depth", x="depth (layers)"
)

# %% [markdown]
# **See**: residual networks keep their accuracy with depth, and Dirac networks lose a little. The three networks without
# an identity lose most of it. A better learning rate only moves the loss of the plain ones to larger depths.
#
# At depth 10 the Dirac networks are 0.013 above the residual ones. At 40 and 60 three seeds do not tell the two apart.
# (The 95 % interval of the paired difference includes 0; lesson 5 says how it is computed.)

# %% [markdown]
# ## The graph has no skip, and folding changes nothing
#
# The exported graph of a network is all that is computed. In it `has_skip` looks for a sum of two paths from one node, one
# of which passes fewer weights. In the Dirac network it finds none, *even before folding*: $a I$ is added to a weight, not
# to a signal. `collapse` folds the network: it computes $W$ once and keeps only that.

# %% tags=["keep_output"]
dirac = results["Dirac"].model.cpu()
networks = {
    "residual": results["residual"].model.cpu(),
    "Dirac": dirac,
    "Dirac, folded": models.collapse(dirac),
}
rows = {}
for name, network in networks.items():
    program = torch.export.export(network.eval(), (images.test_images[:2],))
    with torch.no_grad():
        difference = (network(images.test_images) - dirac(images.test_images)).abs().max().item()
    rows[name] = {
        "a skip in the graph": "yes" if models.has_skip(program) else "no",
        "parameters": f"{sum(parameter.numel() for parameter in network.parameters()):,}",
        "same outputs as Dirac": "yes" if difference == 0 else "no",
    }
pd.DataFrame.from_dict(rows, orient="index")

# %% [markdown]
# Folded, it has as many parameters as the residual network: $a$ and $b$ are removed.

# %% [markdown]
# ## Is the skip gone, or only hidden?
#
# Nothing holds $a$ at 1. So training may lose the identity, which is what Oyedotun and others (2023) object to. Look at
# the weights after 30 epochs, with the settings of lesson 5 and three seeds.
#
# The **cosine** of an $n$ by $n$ weight to the identity is $\mathrm{tr}(W) / (|W| \sqrt n)$, where $|W|^2$ is the sum of
# all squared entries. It is 1 for a multiple of the identity. For a random matrix of this size it is 0, give or take
# 0.03. **Predict** its mean over the layers, of the folded Dirac network and of a collapsed VAN.

# %% tags=["nbval-ignore-output"]
prediction = widgets.Prediction("7.2", {"Dirac": (-1, 1), "VAN": (-1, 1)}, interactive=interactive)
prediction

# %% tags=["nbval-ignore-output", "hide-input"]
cosines = runs[runs["experiment"] == "identity"].groupby("network")["cosine"].mean()
prediction.compare(
    {name: cosines[name] for name in prediction.questions},
    r"""
    **The Dirac network kept its identity.** The mean of $a$ is still 0.99. It could have vanished:
    the learning rates of these 30 epochs add up to about 1.75. The steps of Adam, the optimizer here, reach about that sum
    where a gradient keeps its sign. So the graph is plain, but the skip is still in it.

    **The collapsed VAN has learned a small part of one.** Its cosine is above 0.06 in every layer. In the plain network
    it is 0.00 on average. Whether a plain network that trains well (BatchNorm bias 1) learns as much was not
    measured.
    """,
)

# %% [markdown]
# ## May weight decay act on the identity?
#
# Weight decay pulls numbers to 0, and $a = 0$ is a network without its skip. So the authors let only $V$ decay, not $a$
# and $b$, and so does `training.TrainConfig`. Does it matter?
#
# Recorded is a strong weight decay of 5, at depth 40. With the learning rates used, it would alone take $a$ to 0.05 with
# batch normalization, and to 0.38 without. **Predict** the test accuracy where all of $V$, $a$ and $b$ decay.

# %% tags=["nbval-ignore-output"]
normalizations = {"with batch normalization": "batch", "without": "none"}
prediction = widgets.Prediction("7.3", dict.fromkeys(normalizations, (0, 1)), interactive=interactive)
prediction

# %% tags=["nbval-ignore-output", "hide-input"]
decay = runs[runs["experiment"] == "decay"].groupby(["normalization", "decayed"], sort=False)
accuracies = decay["test_accuracy"].mean()
table = decay.agg(
    **{
        "test accuracy": ("test_accuracy", lambda values: f"{values.mean():.3f} ± {values.std():.3f}"),
        "mean of a": ("mean_a", "mean"),
        "a / b (median)": ("median_ratio", "mean"),
    }
)
prediction.compare(
    {name: accuracies[key, "V, a, b"] for name, key in normalizations.items()},
    table.rename_axis(["normalization", "what decays"]).reset_index().style.hide().format(precision=2),
    r"""
    **With batch normalization** $a$ and $b$ may decay *together*: both become small, and three seeds do not tell the
    accuracy apart. Batch normalization divides the output by its size, so only the **ratio** counts, and that is still 7
    to 1. Where $a$ decays alone the ratio falls below 1, and the accuracy falls with it.

    **Without normalization** nothing is divided. Every layer multiplies the signal by about $a$, and $0.38^{40}$ is
    $10^{-17}$: the network stays at chance.
    """,
)

# %% [markdown]
# ## Is it the skip of a residual layer, in another position?
#
# Compare Dirac and residual networks before training. At some images the gradient of an output is *exactly 0*: a small
# change of the image changes nothing. **Predict** at which fraction of the images, at depth 40.

# %% tags=["nbval-ignore-output"]
prediction = widgets.Prediction("7.4", {"Dirac": (0, 1), "residual": (0, 1)}, interactive=interactive)
prediction

# %% tags=["nbval-ignore-output", "hide-input"]
at_40 = by_depth[by_depth["depth"] == 40].groupby("network")["without_gradient"].mean()
prediction.compare(
    {name: at_40[name] for name in prediction.questions},
    r"""
    At 40 layers four images in ten have a gradient of 0. Two images share hardly any active unit in the last layer: the
    **co-activation** (lesson 2; 0.25 for independent units) is 0.01.

    The ReLU does this. Batch normalization subtracts the mean, and the ReLU cuts off what is below it. The identity passes
    the rest to the next layer, which does the same again. A residual layer adds $x$ *after* the ReLU, so nothing is cut
    off twice.
    """,
)

# %% [markdown]
# ## Explore
#
# **Misconception**: *with $a = 1$ a Dirac layer is a residual layer.* One is $\mathrm{relu}(x + b \, V x / |V|)$ and the
# other $x + \mathrm{relu}(W x)$. Compare untrained networks: the gradient by layer, and the numbers in the caption. Take
# the identity away ($a = 0$). Make $b$ as large as $a$. Then switch the **normalization** off: how many images have a
# gradient of 0 now?


# %% tags=["hide-input"]
def untrained(layers, normalization, a=None, b=None):
    choices = {"connection": "residual"} if a is None else {"connection": "plain", "parametrization": "dirac"}
    network = models.mlp(depth=layers, width=width, normalization=normalization, seed=seed, **choices)
    for scale in scales(network) if a is not None else ():
        torch.nn.init.constant_(scale.identity_scale, a)
        torch.nn.init.constant_(scale.filter_scale, b)
    return network


def show(a, b, layers, normalization):
    networks = {"Dirac": untrained(layers, normalization, a, b), "residual": untrained(layers, normalization)}
    sample = (images.train_images[:128], images.train_labels[:128])
    norms = {name: diagnostics.layer_norms(network, *sample) for name, network in networks.items()}
    some = {"inputs": images.test_images[:64], "output": 0, "statistics": "constant"}
    gradients = diagnostics.input_gradients(networks["Dirac"], **some)
    num_zero = int((gradients.flatten(1).norm(dim=1) == 0).sum())
    coactive = norms["Dirac"]["coactive_fraction"].iloc[-1]
    numbers = f"co-activation {coactive:.2f}, {num_zero} of 64 gradients 0"
    return plots.layer_norm_curves(norms, caption=f"Dirac, a = {a:.2g}, b = {b:.2g}: {numbers}.")


# %% tags=["nbval-ignore-output", "hide-input"]
panel = widgets.explore_panel(
    show,
    (
        widgets.Slider("a", "a, of the identity", 1.0, 0.0, 2.0, "Factor of the identity in every weight"),
        widgets.Slider(
            "b", "b, of what is learned", 0.1, 0.01, 2.0, "Norm of every row of the rest", is_log=True
        ),
        widgets.Slider("layers", "depth (layers)", depth, 1, 80, "Number of layers"),
        widgets.Choice("normalization", "normalization", "batch", ("batch", "none"), "In every layer"),
    ),
    interactive=interactive,
)
panel

# %% [markdown]
# **Correction**: the ReLU makes the difference. It cuts off below 0 what the identity carries, in every layer. With batch
# normalization that leaves few units in common, and many images without a gradient. Without normalization nothing
# subtracts the mean, so the next ReLU lets all of it pass. A residual network has the same identity *after* the ReLU, and
# neither problem.

# %% [markdown]
# ## Exercise 1 · Fold by hand
#
# With $a = (1, \frac{1}{2})$, $b = (0.1, 0.2)$ and $V$ as below: which ordinary weight does the layer fold into? (You
# can do these numbers in your head.)

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
# A DiracNet-34 with $k = 1$ (the published width factor) has three groups of ten Dirac convolutions, with 16, 32 and 64
# channels. How many more parameters does it have than the plain network that it folds into?

# %% tags=["nbval-ignore-output"]
### solution
my_number = 2 * 10 * (16 + 32 + 64)
### stub
# my_number = None  # your number
### end
exercises.check_saved_parameters(my_number, models.diracnet(depth=34, k=1, seed=seed))

# %% [markdown] tags=["solution"]
# *For the instructor.* Exercise 1: the rows of $V$ have norms 5 and 2. A good question afterwards: which norm has a row
# of $W$ at initialization? $\sqrt{a^2 + b^2 + 2 a b \, v_{ii}}$, with $v_{ii}$ the diagonal entry of the normalized row.
# That is $\sqrt{1.01} = 1.005$ on average over random $V$, which is why signals without normalization keep their size.
# Another: why can weight decay on $V$ not make the layer smaller? $V / |V|$ does not depend on the norm of $V$. Only its
# direction counts, and a shorter $V$ turns faster.

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
# - With an identity inside the weight, $W = \mathrm{diag}(a) I + \mathrm{diag}(b) V / |V|$, three seeds do not tell a
#   plain network of 40 layers from a residual one. Without the identity the same parametrization brings little.
# - There is never a skip in the graph. Folding leaves an ordinary weight with the same outputs, to the last bit.
# - It is not the skip of a residual layer: it lies before the ReLU, which cuts it off below 0. And it is folded in at
#   nearly full strength. A VAN's skip weight reaches zero, and its weights have learned a small part of an identity.
# - Under batch normalization the ratio of $a$ and $b$ counts, and otherwise the product of all $a$. Weight decay of $a$
#   can destroy either: a good reason to spare it.
#
# **Next**: a Dirac network is initialized close to a linear map, except for its ReLUs. What if it were *exactly* linear,
# without any identity at all? [8 · Looks linear](08_looks_linear.ipynb).
#
# **Limits of the evidence.** One small data set, three seeds, short trainings: 390 steps, and 1,170 in the longer one.
# That $a$ stays near 1 says nothing about 200 epochs of gradient descent. Adam throughout, where the authors used
# gradient descent with momentum; no learning rate was tuned for Dirac networks. The published networks are
# convolutional, and were not trained here.
#
# **References.** S. Zagoruyko and N. Komodakis (2017, version 2 of 2018), *DiracNets: training very deep neural
# networks without skip-connections*, arXiv 1706.00388. · O. K. Oyedotun and others (2023), *Why is everyone training
# very deep neural network with skip connections?*, IEEE Transactions on Neural Networks and Learning Systems. · K. He,
# X. Zhang, S. Ren and J. Sun (2016), *Deep residual learning for image recognition*, CVPR.

# %% tags=["nbval-ignore-output", "hide-input"]
batch.record_metrics(comparison)
