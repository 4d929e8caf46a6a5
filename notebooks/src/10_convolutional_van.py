# %% [markdown]
# # 10 · Convolutional networks
#
# *Does the phase-out carry over to convolutional networks and photographs?*
#
# In this lesson you phase out the skips of a convolutional network, prove that none is left, and count what that saves.
# Then recorded runs ask what the phase-out was worth: at two depths, against a better initialization, and on photographs.
#
# **So far**: every skip that we phased out went around one fully connected layer
# ([lesson 5](05_phasing_out.ipynb)). [Lesson 9](09_backward_skips.ipynb) brought convolutions, and they kept their skips.
#
# **Time**: 35 minutes of reading and thinking; the cells take about 30 seconds on two idle processor cores.
#
# **You need**: [lesson 5](05_phasing_out.ipynb); what a convolution, its stride and its channels are.
#
# **Afterwards you can**
#
# - describe the CIFAR family of residual networks, and a skip without parameters where the image changes its size,
# - phase out the skips of a convolutional network, fold its normalization, and prove that a plain network is left,
# - say what that saves in parameters, operations and memory, and what it does not,
# - tell from recorded runs at which depth a phase-out adds anything, and compare it with a better initialization.

# %% tags=["parameters"]
depth: int = 20  # layers: 8, 14, 20, ... (6 n + 2)
width: int = 4  # channels of the first stage; the next two have twice and four times as many
num_epochs: int = 3  # passes over the 5,000 training images
seed: int = 0  # of initial weights and order of examples
device: str = "auto"  # auto, cpu, cuda or mps
interactive: bool = True  # controls to press; false draws plain figures instead

# %% tags=["hide-input"]
import dataclasses
import sys

import pandas as pd
import torch
from torch.nn import functional
from tqdm import tqdm

from van_tutorial import batch, data, diagnostics, exercises, models, plots, training, widgets

torch.set_num_threads(1)  # small networks: more threads would mostly wait for each other
pd.set_option("display.max_colwidth", None)
full = data.load()
halves = {name: functional.avg_pool2d(getattr(full, name), 2) for name in ("train_images", "test_images")}
images = dataclasses.replace(full, **halves)  # 14 by 14 pixels: a quarter of the time


def differences(table, triples):
    words = {
        f"{layers} layers: {one}": batch.compare(table[table["depth"] == layers], one, other).in_words(other)
        for layers, one, other in triples
    }
    return pd.Series(words, name="test accuracy [95 % interval, in points]").to_frame()


# %% [markdown]
# ## The idea: one skip weight for each block
#
# He, Zhang, Ren and Sun built a family of networks for the photographs of CIFAR-10. After a first convolution come three
# stages of $n$ blocks, with two convolutions each. The mean over all positions and a linear head follow. That is $6n + 2$
# layers with weights: 20, 32, 44, 56, 110. From one stage to the next the image is halved in height and width, and the
# channels double.
#
# The skip goes around a *block*, and the last ReLU comes after the sum. With a skip weight:
#
# $$x_l = \mathrm{relu} \big( \alpha_l \, x_{l-1} + (1 - \alpha_l) \, F_l(x_{l-1}) \big)$$
#
# Here $l$ counts blocks, and $F_l$ is a block's two convolutions with a ReLU between them. The output of a ReLU is never
# below 0. So at $\alpha_l = 1$ the block is the identity, and at $\alpha_l = 0$ it is two plain layers.
#
# In two of the blocks $F(x)$ has another size than $x$. There the skip takes every second row and column, and appends
# channels of zeros. It has nothing to learn.
#
# ![A block of two convolutions with a skip weighted by alpha around it; below, the skip where size changes: every second pixel of each channel is taken, and two channels of zeros are appended](../assets/figures/convolutional_van.svg)
#
# The constraint, the multipliers and the three updates are those of lesson 5. They do not depend on what a layer is.

# %% [markdown]
# ## Predict
#
# You train three networks of `depth` layers on Fashion-MNIST at 14 by 14 pixels. Which test accuracy will each reach
# after so few epochs? Chance is 0.10.

# %% tags=["nbval-ignore-output"]
names = ("plain", "residual", "VAN")
prediction = widgets.Prediction("10.1", dict.fromkeys(names, (0, 1)), interactive=interactive)
prediction

# %% [markdown]
# ## Run
#
# The skips are phased out simultaneously (`stagger` 0), fastest next to the input (`dual_lr_spread` 5), as in the
# recorded runs below. `channels_last` stores images pixel by pixel, which GPUs convolve faster.

# %% tags=["nbval-ignore-output"]
config = training.TrainConfig(
    num_epochs=num_epochs,
    stagger=0.0,
    dual_lr_spread=5.0,
    channels_last=True,
    log_every=13,
    seed=seed,
    device=device,
)
results = {}
for name in names:
    network = models.convnet(depth=depth, width=width, connection=name.lower(), in_channels=1, seed=seed)
    trainer = training.Trainer(network, images, config)
    total = trainer.num_steps // config.log_every
    for _ in (bar := tqdm(trainer, total=total, desc=f"{name:9s}", unit="record", file=sys.stdout)):
        bar.set_postfix_str(f"{models.num_skips(network)} skips left")
    results[name] = trainer.result()

# %% [markdown]
# ### Prediction and result

# %% tags=["nbval-ignore-output", "hide-input"]
comparison = pd.DataFrame(
    {
        "network": list(results),
        "test accuracy": [round(result.test_accuracy, 3) for result in results.values()],
        "skips left": [models.num_skips(result.model) for result in results.values()],
        "removed at step": [result.removed_at_step for result in results.values()],
        "removed by": [result.removed_by for result in results.values()],
        "seconds": [round(result.seconds, 1) for result in results.values()],
    }
).convert_dtypes()
prediction.compare(
    {name: result.test_accuracy for name, result in results.items()},
    comparison.set_index("network").rename_axis(None).astype(object).fillna("–"),
    plots.accuracy_curves({name: result.history for name, result in results.items()}),
    r"""
    **See**: while its skips are being removed, the VAN's line (test set, eval mode) lies below its dots (training
    batches). Then the two meet.
    """,
)

# %% [markdown]
# ## Evidence: the trained VAN becomes a plain network
#
# `collapse` removes the skips. It can also fold each batch normalization into the convolution before it: in eval mode
# normalization only scales and shifts each channel.

# %%
network = results["VAN"].model.cpu().to(memory_format=torch.contiguous_format).eval()
collapsed = models.collapse(network)
folded = models.collapse(network, fold_normalization=True)

# %% tags=["keep_output", "hide-input"]
sample = images.test_images[:500]
num_blocks = len(network.layers)
with torch.no_grad():
    outputs = [twin(sample) for twin in (network, collapsed, folded)]
graphs = [torch.export.export(twin, (sample[:2],)) for twin in (network, collapsed, folded)]
norms = [sum("norm" in type(m).__name__.lower() for m in twin.modules()) for twin in (collapsed, folded)]
size = {name: sum(p.numel() for p in result.model.parameters()) for name, result in results.items()}
exercises.findings(
    {
        f"Of the {num_blocks} skips the residual network keeps all, and the VAN none.": (
            [models.num_skips(results[name].model) for name in ("residual", "VAN")] == [num_blocks, 0]
        ),
        "Plain and residual network have equally many parameters. The VAN has one more a block, its α.": (
            size["plain"] == size["residual"] == size["VAN"] - num_blocks
        ),
        "Collapsed, the VAN gives the same outputs to the last bit.": torch.equal(outputs[0], outputs[1]),
        f"Folded, it has lost its {norms[0]} normalizations. The outputs agree to a ten-thousandth.": norms[1]
        == 0
        and bool((outputs[0] - outputs[2]).abs().max() < 1e-4 * outputs[0].abs().max()),
        "The graph of the VAN still has skips, multiplied by 0. Collapsed and folded it has none.": (
            [models.has_skip(graph) for graph in graphs] == [True, False, False]
        ),
    }
)

# %% [markdown]
# ## What does it save to remove the skips?
#
# **Predict** from the VAN with all skips at 0 to the collapsed network: are there fewer parameters, and fewer
# multiply-adds for an image? By what factor does the **peak memory** change? That is the largest sum of all feature maps
# that must be in memory at the same time. It is counted, and the same on every machine.

# %% tags=["nbval-ignore-output"]
prediction = widgets.Prediction(
    "10.2",
    {
        "parameters": ("fewer", "as many"),
        "multiply-adds": ("fewer", "as many"),
        "peak memory, after / before": (0, 2),
    },
    interactive=interactive,
)
prediction

# %% tags=["nbval-ignore-output", "hide-input"]
twins = {"residual": results["residual"].model.cpu(), "VAN, all skips 0": network}
twins |= {"collapsed": collapsed, "folded": folded}
cost = diagnostics.costs(twins, sample[:64], seconds_per_model=0.3)
before, after = (cost.set_index("model").loc[name] for name in ("VAN, all skips 0", "collapsed"))
saved = {name: before[name] - after[name] for name in ("parameters", "multiply_adds")}
peak = after["peak_activation_bytes"] / before["peak_activation_bytes"]
prediction.compare(
    {
        "parameters": "fewer" if saved["parameters"] else "as many",
        "multiply-adds": "fewer" if saved["multiply_adds"] else "as many",
        "peak memory, after / before": peak,
    },
    (
        cost.round(1)
        .set_index("model")
        .rename_axis(None)
        .rename(columns=lambda name: name.replace("_", " "))
        .map("{:,}".format)
    ),
)

# %% tags=["keep_output", "hide-input"]
exercises.findings(
    {
        f"{num_blocks} parameters are saved: one α a block.": saved["parameters"] == num_blocks,
        "No multiply-add is saved.": saved["multiply_adds"] == 0,
        "A third of the peak memory is saved.": abs(peak - 2 / 3) < 1e-3,
    }
)

# %% tags=["nbval-ignore-output", "hide-input"]
prediction.show(
    r"""
    A skip costs **memory**: the input $x$ of a block must be kept until the block's end. While the second convolution
    runs, three sets of feature maps are in memory: $x$, its input and its output. Without the skip there are two. Time is
    another matter: run the table twice, and see by how much its milliseconds change.
    """
)

# %% [markdown]
# ## How much does a phase-out repair, at 20 and at 56 layers?
#
# One run is no evidence. The same comparison was recorded at two depths, with eight epochs and three seeds, by
# `python -m tools.record convolutional_mini`. No VAN keeps a skip. **Predict** the position of the VAN in test accuracy:
# 0 is the plain network, 1 the residual one.

# %% tags=["nbval-ignore-output"]
positions = {"20 layers": (-1, 2), "56 layers": (-1, 2)}
prediction = widgets.Prediction("10.3", positions, interactive=interactive)
prediction


# %% tags=["nbval-ignore-output", "hide-input"]
def position(table):
    means = table.pivot_table(index="depth", columns="network", values="test_accuracy")
    place = (means["VAN"] - means["plain"]) / (means["residual"] - means["plain"])
    return {f"{layers} layers": value for layers, value in place.items()}


mini = batch.recorded("convolutional_mini").table.replace({"network": {"van": "VAN"}})
prediction.compare(
    position(mini),
    plots.mean_dots(mini, "test_accuracy", "Accuracy and depth", "test accuracy", "depth"),
    differences(mini, [(layers, "VAN", "plain") for layers in (20, 56)]),
    r"""
    At **56 layers** the plain network learns little (0.10 to 0.32). The VAN has no skip left and reaches 0.65, which is
    0.46 more on average. The residual network reaches 0.80. At **20 layers** the residual network is only 0.06 above the
    plain one. Three seeds do not tell the VAN's 0.77 from the plain network's 0.75.
    """,
)

# %% [markdown]
# ## Is it the phase-out, or the start?
#
# Two rivals are *plain* networks with a better start, at 56 and at 110 layers:
#
# - **Bias 1**: a BatchNorm bias of 1 (`norm_shift=1.0`) initializes the network closer to linear, as in lesson 5.
# - **TAT** (Zhang, Botev and Martens 2022), here with batch normalization. The kernels are *delta-orthogonal*
#   ([lesson 8](08_looks_linear.ipynb)), so each convolution keeps lengths and angles. The ReLU becomes a leaky one, whose
#   slope is nearer to 1 the deeper the network is.
#
# Beside them: VANs with the same starts, and residual networks at two learning rates, as every side is tuned. Five seeds,
# by `python -m tools.record convolutions`. **Predict** the test accuracies.

# %% tags=["nbval-ignore-output"]
asked = (("plain, bias 1", 56), ("plain, bias 1", 110), ("VAN, bias 1", 110), ("plain, TAT", 110))
rivals = {f"{name}, {layers} layers": (name, layers) for name, layers in asked}
prediction = widgets.Prediction("10.4", dict.fromkeys(rivals, (0, 1)), interactive=interactive)
prediction

# %% tags=["nbval-ignore-output", "hide-input"]
controls = batch.recorded("convolutions").table
controls = controls.replace({"network": {"BatchNorm ": "", "VAN, simultaneously": "VAN"}}, regex=True)
shown = (
    "residual; residual, lr 0.01; plain, bias 0; plain, bias 1; plain, bias 1, delta-orthogonal; VAN, bias 1"
)
shown = [*shown.split("; "), "plain, TAT", "VAN, TAT", "looks-linear, lr 0.001"]
controls = controls.set_index("network").loc[shown].reset_index()
means = controls.groupby(["network", "depth"])["test_accuracy"].mean()
pairs = [(56, "plain, bias 1", "VAN, bias 1"), (56, "plain, bias 1", "residual, lr 0.01")]
pairs += [(110, "VAN, bias 1", "plain, bias 1"), (110, "VAN, bias 1", "plain, bias 1, delta-orthogonal")]
pairs += [(110, "plain, TAT", "residual, lr 0.01"), (110, "VAN, TAT", "plain, TAT")]
prediction.compare(
    {rival: means[place] for rival, place in rivals.items()},
    plots.mean_dots(controls, "test_accuracy", "Starts, with and without skips", "test accuracy", "depth"),
    differences(controls, pairs),
    r"""
    At **56 layers** the bias alone does as well as the phase-out. The plain network reaches 0.785 and never had a skip, and
    the VAN with the same bias has no higher mean. (The residual network, at the better of two learning rates, has 0.83.) So
    what looked like the merit of the phase-out is to be had more simply.

    At **110 layers** a bias is not enough. Of plain networks with four biases (two are drawn) the best run reaches 0.54, and
    most are near chance. The VAN with bias 1 reaches 0.71. (With the best of three learning rates each, they get to 0.55 and
    0.73.) But a *plain* network with bias 1 and delta-orthogonal kernels is not told apart from it, and with TAT the plain
    network reaches 0.83. Five seeds do not tell that from the residual network, nor from the VAN with the same start. So the
    43 points of the phase-out were the price of a poor start. Most of what a skip gives is a good start; this start does not
    need one.
    """,
)

# %% [markdown]
# ## And on photographs?
#
# CIFAR-10 has 50,000 photographs of 32 by 32 pixels in colour, and 10,000 to test on. The networks have half of the
# published width (8, 16 and 32 channels). They trained for four epochs with random crops and flips, at the default
# learning rates. The runs take hours on one core, so they are recorded, by `python -m tools.record cifar10`. From one VAN
# the skips are removed simultaneously, next to the input faster, from the other sequentially, as in lesson 5.

# %% tags=["nbval-ignore-output", "hide-input"]
photographs = batch.recorded("cifar10")
everything = photographs.table.sort_values(["depth", "seed"], kind="stable")
known = ["plain", "residual", "van", "van, sequentially"]
runs = everything[everything["network"].isin(known) & (everything["depth"] < 110)]
words = {"van": "VAN, simultaneously", "van, sequentially": "VAN, sequentially"}
runs = runs.replace({"network": words})
by_epoch = runs.explode("accuracy_by_epoch").assign(
    layers=lambda table: table["depth"].astype(str) + " layers",
    epoch=lambda table: table.groupby(level=0).cumcount() + 1,
)
by_epoch = by_epoch.rename(columns={"test_accuracy": "last", "accuracy_by_epoch": "test accuracy"})
plots.mean_curves(by_epoch, "test accuracy", "epoch", panel="layers")

# %% [markdown]
# At **20 layers** the residual network is 0.06 ahead, and three seeds do not tell the VAN from the plain network. At
# **56 layers** the VAN is 0.23 above the plain network and 0.13 below the residual one. The last skips are removed in
# the third of the four epochs. Sequential and simultaneous removal are not told apart (all intervals:
# [docs/evidence.md](../docs/evidence.md)).
#
# And from the better start? Here is the plain network with TAT, and the VAN from the same start. Their learning rate,
# 0.001, is the best of four on a validation set, after one epoch. (The residual network's best of three is the default.)
# *Residual, then phased out* has two epochs with its skips and two in which they are removed.

# %% tags=["nbval-ignore-output", "hide-input"]
start, van = "plain, TAT, lr 0.001", "VAN, TAT, lr 0.001"
everything = everything.replace({"network": {**words, "van, TAT, lr 0.001": van}})
at_once, sequential = words.values()
twice = "residual, then phased out"
deep = everything[
    (everything["depth"] > 20)
    & everything["network"].isin(["plain", "residual", at_once, sequential, twice, start, van])
]
plots.mean_dots(deep, "test_accuracy", "Photographs", "test accuracy", "depth")

# %% tags=["keep_output", "hide-input"]
pairs = [(56, at_once, "residual"), (56, twice, "residual"), (56, start, "residual"), (56, van, start)]
pairs += [(110, start, "residual"), (110, van, start)]
differences(everything, pairs)

# %% [markdown]
# The start, with a learning rate chosen for it, takes the plain network of 56 layers from 0.33 to 0.66, further than a
# phase-out from the usual start. (With the default learning rate, in one run, it gets to 0.59.) The phase-out from the better
# start ends at 0.64. To train with skips first and then phase them out ends where the VANs do. The residual network reaches
# 0.69, 3 points ahead of TAT over five seeds; three had not shown it. With 110 layers TAT reaches 0.61, and the residual network
# 0.70.
#
# So on photographs, too, most of what a skip gives is a good start. But it is not all, in so short a training.

# %% [markdown]
# Four epochs are far from a full training. Published test errors in % say how far. They are **not ours**: full width,
# 164 epochs in the paper. The re-run is public, by another author, one seed each, its best epoch (as its README stands
# since December 2018).
#
# | depth | residual, He et al. | residual, re-run | plain, re-run |
# | --- | --- | --- | --- |
# | 20 | 8.75 | 8.00 | 9.50 |
# | 32 | 7.51 | 7.51 | 9.92 |
# | 44 | 7.17 | 7.38 | 11.35 |
# | 56 | 6.97 | 7.33 | 12.76 |
#
# In a full training the plain network is 1.5 points behind the residual one at **20 layers**, and 5.4 points at 56. Our
# distances are larger. Our networks are narrower, and we did not run a full training.

# %% [markdown]
# ## Explore
#
# **Misconception**: *a network without skips is a smaller network.* Compare the parameters and multiply-adds of the VAN
# and the collapsed network in the table of costs. Skips help the *training*, and that you can watch. Choose a **depth**
# (8, 14, 20, …) and a **dual learning rate**, and press Train. How early can the skips be removed before it costs
# accuracy? Is that the same moment with 3 blocks as with 9?

# %% tags=["nbval-ignore-output", "hide-input"]
layers = widgets.Slider(
    "depth", "depth (layers)", max(8, depth - 12), 8, 56, "6 n + 2 layers, a skip around every two", step=6
)
panel = widgets.training_panel(
    images,
    controls=(layers, "dual_lr"),
    kind="convnet",
    width=width,
    num_epochs=num_epochs,
    seed=seed,
    interactive=interactive,
)
panel

# %% [markdown]
# **Correction**: without its skips a network has the same weights and does the same operations, except for one $\alpha$ a
# block. It needs less memory while it runs. It is not smaller. It was trained in another way.

# %% [markdown]
# ## Exercise 1 · Count
#
# How many skips has the network of 110 layers of this family? At how many of them does the size change? How many
# parameters have all these skips together, in the residual network?

# %% tags=["nbval-ignore-output"]
### solution
my_skips, my_changes, my_parameters = 3 * 18, 2, 0
### stub
# my_skips = None  # your number
# my_changes = None  # your number
# my_parameters = None  # your number
### end
exercises.check_skip_counts(
    {"skips": my_skips, "with a change of size": my_changes, "parameters": my_parameters}, depth=110
)

# %% [markdown]
# ## Exercise 2 · Memory by hand
#
# Take CIFAR-10 (32 by 32 pixels) and 16 channels in the first stage, in float32. By how many bytes does the peak of the
# feature maps fall for one image when the skips are removed? Work it out on paper, then ask `diagnostics.costs`.

# %% tags=["nbval-ignore-output"]
### solution
my_bytes = 4 * 16 * 32 * 32
### stub
# my_bytes = None  # your number
### end
exercises.check_peak_difference(my_bytes, width=16, size=32)

# %% [markdown]
# ## Exercise 3 · The skip that changes its size
#
# Write the lower half of the picture: $x$ has shape (N, C, H, W). Take every second row and column, and append
# `num_new` channels of zeros, by `torch.nn.functional.pad` or `torch.cat`.


# %% tags=["nbval-ignore-output"]
### solution
def my_subsample(x, num_new):
    return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, num_new))


### stub
# def my_subsample(x, num_new):
#     return None  # your code
#
#
### end
exercises.check_subsample(my_subsample)

# %% [markdown] tags=["solution"]
# *For the instructor.* Exercise 2: while the second convolution of a block runs, $3 \cdot 65{,}536$ bytes are in memory
# with a skip, and two thirds of that without. Learners often expect fewer multiply-adds as well. A skip has none, and
# its sum is not counted; the docstring of `costs` says so. A question for the advanced: why is the peak in the first
# stage? (Each stage has half the height, half the width and twice the channels, so half the bytes.)

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
# - A skip weight does not depend on what it goes around: one a block, and the three updates of lesson 5 phase it out.
# - Where the size changes, a skip takes every second pixel and appends zeros. It has no parameters.
# - A collapsed network folds into bare convolutions and ReLUs. That saves a third of the peak memory, and no
#   multiply-add.
# - At 56 layers a phase-out repairs much of the degradation, on clothes and on photographs. A better start repairs more,
#   without any skip: on clothes a BatchNorm bias of 1, on photographs TAT, which ends 3 points below the residual network.
# - At 110 layers no plain network with ReLU and He's initialization learned well, with one learning rate and four biases.
#   There a phase-out adds much, and so do delta-orthogonal kernels in the plain network. On clothes a plain network with a
#   start that fits the depth (TAT) needs no phase-out, and is not told apart from the residual one.
#
# **Next**: a VAN trains with something that it does not keep. Which other methods do that, and is the result still a
# deep network? [11 · After VAN](11_after_van.ipynb).
#
# **Limits of the evidence.** Small images, networks of 4 channels (8 on photographs), 8 epochs (4 on photographs). A full
# training is far longer, and in it a plain network of 20 layers is good. Three seeds, five for the rivals. The learning
# rates were chosen for fully connected networks, and are the same for all kinds, but where a name has another. The
# phase-outs are clocks (lesson 6).
# Memory is counted, not measured on a device.
#
# **References.** K. He, X. Zhang, S. Ren and J. Sun (2016), *Deep residual learning for image recognition*, CVPR (the
# family: section 4.2; the errors: table 6). · The re-run: a-martyn,
# [resnet](https://github.com/a-martyn/resnet). · R. P. Monti, S. Tootoonian and R. Cao (2018), *Avoiding degradation
# in deep feed-forward networks by phasing out skip-connections*, ICANN. · A. Krizhevsky (2009), *Learning multiple
# layers of features from tiny images* (CIFAR-10). · G. Zhang, A. Botev and J. Martens (2022), *Deep learning without
# shortcuts: shaping the kernel with tailored rectifiers*, ICLR (TAT). · L. Xiao and others (2018), *Dynamical isometry and a
# mean field theory of CNNs*, ICML (delta-orthogonal). · H. Xiao, K. Rasul and R. Vollgraf (2017), *Fashion-MNIST*.

# %% tags=["nbval-ignore-output", "hide-input"]
batch.record_metrics(comparison)
