# %% [markdown]
# # 10 · Convolutional networks
#
# *Does the phase-out carry over to convolutional networks and real photographs?*
#
# **So far**: all skips that we phased out went round one fully connected layer, on small grey images
# ([lesson 5](05_phasing_out.ipynb)). [Lesson 9](09_backward_skips.ipynb) brought in convolutions, and left them their skips.
#
# **Time**: 35 minutes of reading and thinking; the cells take about 20 seconds on two processor cores.
#
# **You need**: [lesson 5](05_phasing_out.ipynb); what a convolution is, its stride and its channels.
#
# **Afterwards you can**
#
# - describe the CIFAR family of residual networks, and a skip that needs no parameters where the image changes its
#   size,
# - phase the skips of a convolutional network out, fold its normalization, and prove that what is left is plain,
# - say what is gained by it in parameters, operations, memory and time, and what is not,
# - read off recorded tables at which depth a phase-out adds anything, and compare it with a better initialization.

# %% tags=["parameters"]
depth: int = 20  # layers: 8, 14, 20, ... (6 n + 2)
width: int = 4  # channels of the first stage; the next two have twice and four times as many
num_epochs: int = 3  # passes over the 5,000 training images
seed: int = 0  # of initial weights and order of examples
device: str = "auto"  # auto, cpu, cuda or mps
interactive: bool = True  # controls to press; false draws plain figures instead

# %%
import dataclasses
import sys

import pandas as pd
import torch
from torch.nn import functional
from tqdm import tqdm

from van_tutorial import batch, data, diagnostics, exercises, models, plots, training, widgets

torch.set_num_threads(1)  # small networks: more threads would mostly wait for each other
full = data.load()
images = dataclasses.replace(  # 14 by 14 pixels, each the mean of four: a quarter of the time
    full,
    train_images=functional.avg_pool2d(full.train_images, 2),
    test_images=functional.avg_pool2d(full.test_images, 2),
)

# %% [markdown]
# ## The idea
#
# He, Zhang, Ren and Sun built a family of networks for the photographs of CIFAR-10: a first convolution, three stages
# of $n$ blocks with two convolutions each, the mean over all places, a linear head. That is $6n + 2$ layers with
# weights: 20, 32, 44, 56, 110. From one stage to the next the image becomes half as high and wide, and the channels
# twice as many. The skip goes round a *block*, and the last rectifier comes after the sum. With a skip weight in it:
#
# $$x_l = \mathrm{relu} \big( \alpha_l \, x_{l-1} + (1 - \alpha_l) \, F_l(x_{l-1}) \big)$$
#
# where $l$ counts blocks and $F_l$ is a block's two convolutions, with a rectifier between them. What comes out of a
# rectifier is never below 0, so at $\alpha_l = 1$ the block passes $x_{l-1}$ on as it is, and at $\alpha_l = 0$ it is two
# plain layers. One $\alpha_l$ a block, so three times $n$ of them. In two of the blocks $x$ has another size than $F(x)$.
# There the skip takes every second row and column, and appends channels of zeros: nothing to learn.
#
# ![A block of two convolutions with a skip weighted by alpha around it; below, the skip where size changes: every second pixel of each channel is taken, and two channels of zeros are appended](../assets/figures/convolutional_van.svg)
#
# The constraint, the multipliers and the three updates are those of lesson 5. They do not know what a layer is.

# %% [markdown]
# ## Predict
#
# Three networks of `depth` layers, on Fashion-MNIST at 14 by 14 pixels. Which test accuracy do you expect of each
# after this few epochs? And when the skips of the VAN are gone for good, which of these has become less: the number
# of **parameters**, the number of **multiply-adds** for an image, the **memory** that the feature maps need at the
# peak?

# %%
my_prediction = {"plain": None, "residual": None, "van": None}  # your numbers from 0 to 1, in place of None
my_gain = {"parameters": None, "multiply-adds": None, "memory": None}  # less: True or False

# %% [markdown]
# ## Run
#
# `channels_last` keeps images pixel by pixel in memory. GPUs convolve faster that way; the numbers are the same up to
# rounding.

# %% tags=["nbval-ignore-output"]
results = {}
for connection in ("plain", "residual", "van"):
    network = models.convnet(depth=depth, width=width, connection=connection, in_channels=1, seed=seed)
    config = training.TrainConfig(
        num_epochs=num_epochs,
        stagger=0.0,  # simultaneously, as in the recorded runs below,
        dual_lr_spread=5.0,  # faster next to the input
        channels_last=True,
        seed=seed,
        device=device,
    )
    if connection == "van":  # look more often
        config = dataclasses.replace(config, log_every=13)
    trainer = training.Trainer(network, images, config)
    total = trainer.num_steps // (config.log_every or trainer.steps_per_epoch)
    for record in (
        bar := tqdm(trainer, total=total, desc=f"{connection:9s}", unit="record", file=sys.stdout)
    ):
        left = models.num_skips(network)
        bar.set_postfix_str(f"test accuracy {record.test_accuracy:.3f}, {left} skips left")
    results[connection] = trainer.result()

# %% [markdown]
# ## Evidence

# %% tags=["keep_output"]
num_blocks = len(results["van"].model.layers)
for name, result in results.items():
    print(f"{name:9s} skips left: {models.num_skips(result.model)} of {num_blocks}")
numbers = {name: sum(p.numel() for p in result.model.parameters()) for name, result in results.items()}
print("plain and residual have equally many parameters:", numbers["plain"] == numbers["residual"])
print("the VAN has more by one a block:", numbers["van"] - numbers["plain"] == num_blocks)

# %% tags=["nbval-ignore-output"]
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
comparison.assign(predicted=[my_prediction.get(name) for name in results]).astype(object).fillna("–")

# %% [markdown]
# ## Look
#
# **See**: as in lesson 5, the skips next to the input are removed first, here because their dual learning rates are larger.
# Each row (*layer* on the axis) is a block now, so two layers.

# %% tags=["nbval-ignore-output"]
van = results["van"]
plots.skip_weight_map(van.layers, "A row for each block. Yellow: identity. Dark: two plain layers.")

# %% [markdown]
# **See**: in its first epoch, while the first skips are removed, the VAN's line (test set, eval mode) is below its dots; then
# the two meet. (Its dots and line have three points an epoch, the others' one.)

# %% tags=["nbval-ignore-output"]
plots.accuracy_curves({name: result.history for name, result in results.items()})

# %% [markdown]
# ## What is gained
#
# Take the skips out for good, and then fold each batch normalization into the convolution before it: in eval mode it
# is only a factor and a shift for each channel.

# %% tags=["keep_output"]
network = van.model.cpu().to(memory_format=torch.contiguous_format).eval()
collapsed = models.collapse(network)
folded = models.collapse(network, fold_normalization=True)
shown = images.test_images[:500]
with torch.no_grad():
    answers = {"VAN": network(shown), "collapsed": collapsed(shown), "folded": folded(shown)}
print("VAN and collapsed differ by", (answers["VAN"] - answers["collapsed"]).abs().max().item())
difference = (answers["VAN"] - answers["folded"]).abs().max() / answers["VAN"].abs().max()
print("VAN and folded differ by less than a ten-thousandth of the largest output:", bool(difference < 1e-4))
for name, twin in {"VAN": network, "collapsed": collapsed, "folded": folded}.items():
    program = torch.export.export(twin, (shown[:2],))
    print(f"a skip-connection in the graph of {name}:", models.has_skip(program))
kinds = {name: sum("norm" in type(m).__name__.lower() for m in twin.modules()) for name, twin in
         {"collapsed": collapsed, "folded": folded}.items()}  # fmt: skip
print("normalizations:", kinds)

# %% [markdown]
# Now what they cost. *Peak memory* is the largest sum of all feature maps that must be there at one time: of the
# network's own structure, the same in every run.

# %% tags=["nbval-ignore-output"]
twins = {
    "residual": results["residual"].model.cpu(),
    "VAN, all skips 0": network,
    "collapsed": collapsed,
    "folded": folded,
}
cost = diagnostics.costs(twins, shown[:64], seconds_per_model=0.3)
cost.round(1)

# %% tags=["keep_output"]
by_name = cost.set_index("model")
before, after = by_name.loc["VAN, all skips 0"], by_name.loc["collapsed"]
print("parameters, before less after:", int(before["parameters"] - after["parameters"]))
print("multiply-adds, before less after:", int(before["multiply_adds"] - after["multiply_adds"]))
print(f"peak memory, after by before: {after['peak_activation_bytes'] / before['peak_activation_bytes']:.3f}")

# %% tags=["nbval-ignore-output"]
less = {"parameters": "one a block, its alpha", "multiply-adds": "no", "memory": "yes, a third"}
exercises.beside(my_gain, less)

# %% [markdown]
# A skip has no parameters (but for its own $\alpha$) and hardly any operations. What it costs is **memory**: the
# input $x$ of a block must be kept until the block's end. While the second convolution runs, three sets of feature
# maps are there, $x$, what goes in and what comes out; without the skip, two. A third of the peak is gone. Time is
# another matter: on a processor the differences are small (see the table, and run it twice). Where memory moves
# slowly compared to arithmetic it may be worth more; that was not measured here.

# %% [markdown]
# ## One run is no evidence
#
# The same comparison at 20 and 56 layers, eight epochs, three seeds, recorded. In eval mode, of the VAN after its
# collapse. **Predict** its place on the way from the plain network (0) to the residual one (1), at either depth.

# %%
my_place = {20: None, 56: None}  # 0: as the plain network; 1: as the residual one

# %% tags=["keep_output"]
mini = batch.recorded("convolutional_mini")
for column in ("train_accuracy", "test_accuracy"):
    table = mini.table.pivot_table(
        index="depth", columns="network", values=column, aggfunc=["mean", "std"], sort=False
    )
    print(column.replace("_", " "))
    print(table.swaplevel(axis=1).sort_index(axis=1, level=0, sort_remaining=False).round(3).to_string())
vans = mini.table.query("network == 'van'")
print("VAN: skips left in any run:", int(vans["skips_left"].max()))
print("removed by:", vans["removed_by"].value_counts().to_dict())
print("made by:", mini.command)

# %% tags=["nbval-ignore-output"]
means = mini.table.pivot_table(index="depth", columns="network", values="test_accuracy")
place = (means["van"] - means["plain"]) / (means["residual"] - means["plain"])
exercises.beside(
    {f"{layers} layers": value for layers, value in my_place.items()},
    {f"{layers} layers": value for layers, value in place.items()},
)

# %% tags=["nbval-ignore-output"]
plots.accuracy_by_depth(mini.table)

# %% [markdown]
# Two findings. At **56 layers** the plain network learns little (0.10 to 0.32). The VAN, without a skip in the end, reaches
# 0.65, which is 0.46 more on average. The residual network reaches 0.80. At **20 layers** the residual network is only 0.06
# above the plain one. The VAN's 0.77 and the plain network's 0.75 are not told apart by three seeds.
#
# In every run the last skip was removed just before two thirds of the steps: at step 202 to 204 of 312, whether there were
# 9 skips or 27. The learning rates decide when, and the library sizes the dual one from the number of steps.
#
# ## Is it the phase-out, or the initialization?
#
# Lesson 5 had a rival: a *plain* network that is initialized closer to linear, by a BatchNorm bias of 1
# (`models.convnet(norm_shift=1.0)`). Here it is for convolutions, at 56 layers and at 110, with VANs that have the same
# bias. *Additive* is $F(x) + \alpha x$ from $\alpha = 1$, so a residual block at initialization. **Predict** the test accuracy
# of the plain network with bias 1 and of the best VAN, at either depth.

# %%
my_rivals = dict.fromkeys(
    [f"{name}, {layers}" for layers in (56, 110) for name in ("plain, bias 1", "best VAN")]
)

# %% tags=["keep_output"]
controls = batch.recorded("convolutions")
rivals = controls.table.pivot_table(
    index="network", columns="depth", values="test_accuracy", aggfunc=["mean", "std"], sort=False
)
print(rivals.swaplevel(axis=1).sort_index(axis=1, level=0, sort_remaining=False).round(3).to_string())
plain, van = "plain, BatchNorm bias 1", "VAN, simultaneously, BatchNorm bias 1"
for layers, runs in controls.table.groupby("depth"):
    for one, other in ((plain, "residual"), (van, plain)):
        print(f"{layers} layers: {one}, {batch.compare(runs, one, other).in_words(other)}")
    by_seed = runs.pivot(index="seed", columns="network", values="test_accuracy")
    print(f"{layers} layers, seed by seed: {by_seed[[plain, van]].round(2).to_dict('list')}")
print("made by:", controls.command)

# %% tags=["nbval-ignore-output"]
means = rivals["mean"]
vans = means[means.index.str.startswith("VAN")].max()
reached = [value for layers in (56, 110) for value in (means.loc[plain, layers], vans[layers])]
exercises.beside(my_rivals, dict(zip(my_rivals, reached, strict=True)))

# %% [markdown]
# Five seeds. At **56 layers** the bias alone does it. The plain network reaches 0.785 without any skip at any time. It is
# not told apart from the residual network, and no VAN has a higher mean. So what looked like the merit of the phase-out can
# be had more simply. At **110 layers** it cannot, with the biases tried here. Plain networks reach 0.54 in the best of all
# runs, and mostly chance. Both VANs with bias 1 reach 0.71. That is above the plain network of the same bias in every
# seed, and the interval excludes 0. The residual network is ahead of both at 0.79. So a phase-out adds something where a
# better initialization alone fails, and there it needs the better initialization as well.

# %% [markdown]
# ## Photographs
#
# CIFAR-10: 50,000 photographs of 32 by 32 pixels in colour, 10,000 to test on. The family at half of its published
# width (8, 16 and 32 channels), four epochs with random crops and flips, Adam at the library's default learning rates.
# These runs take hours on one core, so they are recorded; the table says how many seeds there are of each. There are two
# VANs. From *van* the skips are removed simultaneously, as above; from the other one sequentially (*one after the other*),
# as in lesson 5. **Predict** the place of *van* once more, and which of the two is ahead.

# %%
my_place_on_photographs = {20: None, 56: None}
my_better_order = None  # "simultaneous" or "sequential"

# %% tags=["keep_output"]
photographs = batch.recorded("cifar10")
runs = photographs.table.sort_values(["depth", "seed"], kind="stable")
groups = runs.groupby(["depth", "network"], sort=False)
summary = groups["test_accuracy"].agg(["count", "mean", "std"]).join(
    groups[["train_accuracy", "removed_at_step", "num_steps"]].mean()
)  # fmt: skip
print(summary.round(3).reset_index().to_string(index=False, na_rep="-"))
vans = runs[runs["network"].str.startswith("van")]
print("VAN: skips left in any run:", int(vans["skips_left"].max()))
print("removed by:", vans["removed_by"].value_counts().to_dict())
pairs = [(20, "van", "plain"), (56, "van", "plain"), (56, "van", "residual"),
         (56, "van, one after the other", "van")]  # fmt: skip
for layers, one, other in pairs:
    difference = batch.compare(runs[runs["depth"] == layers], one, other)
    print(f"{layers} layers: {one}, {difference.in_words(other)}")
print("made by:", photographs.command)

# %% tags=["nbval-ignore-output"]
means = runs.pivot_table(index="depth", columns="network", values="test_accuracy")
place = (means["van"] - means["plain"]) / (means["residual"] - means["plain"])
order = "simultaneous" if difference.high < 0 else "sequential" if difference.low > 0 else "not told apart"
exercises.beside(
    {f"{layers} layers": value for layers, value in my_place_on_photographs.items()}
    | {"better order, 56 layers": my_better_order},
    {f"{layers} layers": value for layers, value in place.items()} | {"better order, 56 layers": order},
)

# %% [markdown]
# **See**: the accuracy epoch by epoch. The VANs' last skips are removed in the third of the four epochs.

# %% tags=["nbval-ignore-output"]
by_epoch = runs.explode("accuracy_by_epoch").assign(
    network=lambda table: table["network"] + ", " + table["depth"].astype(str) + " layers",
    epoch=lambda table: table.groupby(level=0).cumcount() + 1,
    accuracy=lambda table: table["accuracy_by_epoch"].astype(float),
)
plots.measure_curves(by_epoch, "accuracy", "CIFAR-10", "test accuracy")

# %% [markdown]
# How far four epochs are from a full training, the published numbers show. **These are not ours**: full width, 164
# epochs in the paper; error in %. The re-run is somebody else's, public, one seed each, its best epoch, as its README stands
# since its author corrected it in December 2018.

# %% tags=["keep_output"]
published = pd.DataFrame(
    {
        "depth": [20, 32, 44, 56],
        "residual, He et al.": [8.75, 7.51, 7.17, 6.97],
        "residual, re-run": [8.0, 7.51, 7.38, 7.33],
        "plain, re-run": [9.5, 9.92, 11.35, 12.76],
    }
)
print(published.to_string(index=False))

# %% [markdown]
# Read the tables together. In a full training a plain network of **20 layers** is 1.5 points of error behind the residual one,
# and the distance grows with depth, to 5.4 points at 56. Our runs are far shorter, and their distances larger. At **20
# layers** the residual network is 0.06 ahead, and the phase-out adds nothing that three seeds could tell from 0. At **56
# layers** the VAN is 0.23 above the network that was trained plain, and 0.14 below the residual one. Sequential and
# simultaneous removal are not told apart: what was chosen on fully connected networks need not be best for these. Plain
# networks with a BatchNorm bias of 1, the rival above, were not run on photographs. Nor was a full training.

# %% [markdown]
# ## Explore
#
# **Misconception**: *a network without skips is a smaller network.* Look at the table of costs above once more, at
# parameters and multiply-adds before and after. What the skips were good for is the *training*, and that you can watch:
# choose a **depth** (8, 14, 20 or more: $6n + 2$) and a **dual learning rate**, and press Train. How early can the skips be removed before it costs accuracy? Is that another moment with 3 blocks than with 9?

# %% tags=["nbval-ignore-output"]
layers = widgets.Slider(
    "depth", "depth (layers)", max(8, depth - 12), 8, 56, "6 n + 2 layers, a skip round every two", step=6
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
# **Set right**: a network without skips has the same weights and does the same operations, but for one $\alpha$ a block. It
# needs less memory while it runs. It has not become smaller; it has been trained otherwise.

# %% [markdown]
# ## Exercise 1 · Count
#
# A ResNet-110 of this family: how many skips has it, at how many of them does the size change, and how many
# parameters have all the skips together?

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
# On CIFAR-10 (32 by 32 pixels) and with 16 channels in the first stage: by how many bytes does the peak of the
# feature maps fall, for one image in float32, when the skips are gone? Work it out on paper, then ask
# `diagnostics.costs`.

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
# `num_new` channels of zeros. (`torch.nn.functional.pad`, or `torch.cat`.)


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
# *For the instructor.* Exercise 2: while the second convolution of a block runs, $x$, its input and its output are
# there with a skip, $3 \cdot 65{,}536$ bytes, and the last two without. Learners often expect fewer multiply-adds,
# too: a skip has none, its sum is not counted, and `costs` says so in its docstring. A question for the advanced: why
# is the peak in the first stage? (Half the height and half the width, twice the channels: half the bytes a stage.)
# And why does `has_skip` find one in the VAN whose skip weights are all 0? The graph still computes it: a product
# with 0.

# %% [markdown]
# ## Take away
#
# - A skip weight does not care what it goes round: one a block, and the three updates of lesson 5 phase it out.
# - Where the size changes a skip takes every second pixel and appends zeros, so plain, residual and collapsed
#   networks have equally many parameters.
# - What is left folds into bare convolutions and rectifiers. Gained: a third of the peak memory of the feature maps,
#   and a simpler graph. Not gained: parameters, multiply-adds.
# - In our small runs a phase-out repairs much of the degradation at 56 layers, on clothes and on photographs. So does a
#   BatchNorm bias of 1 on clothes, without any skip. At 110 layers, with one learning rate and four biases, no plain network
#   got far. There a phase-out adds much, with a bias of 1.
#
# **Next**: a VAN trains with something that it does not keep. Which other methods do that, with what, and is the result
# still a deep network? [11 · After VAN](11_after_van.ipynb).
#
# **Limits of the evidence.** Small images, networks of 4 channels (8 for the photographs), 8 epochs (4): far from a
# full training, where a plain network of 20 layers is good. Three seeds on the small images; on the photographs as many as
# the table says. Default learning rates, chosen for fully connected networks (lesson 5) and for none of these, the same for
# all kinds. The phase-outs are clocks (lesson 6). Memory is counted, not measured on a device.
#
# **References.** K. He, X. Zhang, S. Ren and J. Sun (2016), *Deep residual learning for image recognition*, CVPR (the
# family; section 4.2, table 6 for the errors). · The re-run: a-martyn,
# [resnet](https://github.com/a-martyn/resnet). · R. P. Monti, S. Tootoonian and R. Cao (2018), *Avoiding degradation
# in deep feed-forward networks by phasing out skip-connections*, ICANN. · A. Krizhevsky (2009), *Learning multiple
# layers of features from tiny images* (CIFAR-10). · H. Xiao, K. Rasul and R. Vollgraf (2017), *Fashion-MNIST*.

# %% tags=["nbval-ignore-output"]
batch.record_metrics(comparison)
