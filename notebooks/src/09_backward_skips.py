# %% [markdown]
# # 9 · Skips that point backward
#
# *What if a skip-connection points backward?*
#
# **So far**: every answer to degradation helped a signal forward, past or through its layers: skips
# ([lesson 4](04_skip_connections.ipynb)), identities ([lesson 7](07_dirac.ipynb)), mirrored weights
# ([lesson 8](08_looks_linear.ipynb)). This lesson turns the arrow round.
#
# **Time**: 30 minutes of reading and thinking; the cells take about 20 seconds on two processor cores.
#
# **You need**: [lesson 4](04_skip_connections.ipynb); the test for a skip in a graph ([lesson 7](07_dirac.ipynb)); what a
# convolution, its channels and its stride are.
#
# **Afterwards you can**
#
# - say why late features can go back into early layers only where there are two networks, and write down such a layer,
# - measure how well every pixel of an image is labelled, and say why accuracy misleads there,
# - find the skip-connection in a graph where the arrow that points backward is not it,
# - ask of anything that is added to a network what as many parameters would have brought without it.

# %% tags=["parameters"]
num_scenes: int = 1000  # scenes to train on
num_epochs: int = 3  # passes over them
width: int = 8  # channels of the first layer of each branch
num_backward: int = 2  # layers of the master that get the slave's features, from 1 to 4
combine: str = "sum"  # how they get them: sum or concat
lr: float = 0.01  # step size of the weights
seed: int = 0  # of initial weights and order of examples
device: str = "auto"  # auto, cpu, cuda or mps
interactive: bool = True  # controls to press; false draws plain figures instead

# %%
import sys

import pandas as pd
import torch
from tqdm import tqdm

from van_tutorial import batch, data, exercises, models, segmentation, training, widgets

torch.set_num_threads(1)
scenes = segmentation.scenes(data.load(), num_train=num_scenes, num_test=200)

# %% [markdown]
# ## The idea
#
# A skip-connection carries *early* features forward, into later layers. For some tasks one would like the opposite. To label every pixel of an image, a network must know where exactly an edge is, which its first layers know,
# and what it is the edge *of*, which only the last ones know: they see enough of the image. Could the last layer not
# tell the first one?
#
# In one feed-forward network it cannot: what the last layer has to tell does not exist yet when the first one is
# computed. Abdulnabi, Winkler and Wang (2017) therefore took two networks. The **slave** looks at the image first; its
# top features go back to the bottom layers of the **master**, which looks at the image again, knowing what the slave saw,
# and labels the pixels. (The names are theirs.)
#
# ![Two columns of four layers over one image: from the top of the left one, the slave, an arrow goes down to the first two layers of the right one, the master](../assets/figures/backward_skips.svg)
#
# With $x^S_l$ and $x^M_l$ the outputs of the slave's and the master's layer $l$, both with the image as $x_0$, $*$ a
# convolution, $\oplus$ a sum or a concatenation, and $G_l$ a convolution of 1 by 1, whose result is brought to the size of
# layer $l$:
#
# $$x^S_l = \text{relu}(\text{norm}(W^S_l * x^S_{l-1})) \qquad
# x^M_l = \text{relu}(\text{norm}(W^M_l * x^M_{l-1})) \oplus G_l * x^S_4$$
#
# The part behind $\oplus$ is there in the first `num_backward` layers only. Both networks are trained together, by the
# master's loss alone, and both halve the image twice.
#
# > **What we know of the source.** Only the paper's abstract was read; its full text is at arXiv 1707.05537. Whether $\oplus$ was a sum or a
# > concatenation, the layers and their widths, and how well it did are not known to us: `combine` is an argument here,
# > the layers and the joint training are ours, and no number below is theirs. Their images were photographs; ours are
# > scenes of Fashion-MNIST garments.

# %% [markdown]
# ## How good is a map of labels?
#
# The **pixel accuracy** is the share of pixels with the right label. The **mean intersection over union** asks each class in
# turn. Let $P_k$ be the pixels that the network gives class $k$, and $Q_k$ those that are of class $k$, of all images
# together:
#
# $$\text{mean IoU} = \frac{1}{K} \sum_{k=1}^{K} \frac{|P_k \cap Q_k|}{|P_k \cup Q_k|}$$
#
# A class that is rare counts as much as one that is everywhere, and giving a class too many pixels costs as much as
# giving it too few. (A class that is in neither map has no union, and is left out.)

# %% [markdown]
# ## Predict
#
# In our scenes two thirds of the pixels are background, and ten kinds of garments share the rest. Think of an answer
# that needs no network: *background, everywhere*. What is its pixel accuracy? Its mean IoU over the 11 classes? Which of
# the two has the higher mean IoU after a short training, the master alone or the master with a slave? And the mean IoU of
# the second, trained, once its slave's features are set to 0?

# %%
my_prediction = {
    "pixel accuracy, background everywhere": None,
    "mean IoU, background everywhere": None,
    "higher mean IoU": None,  # "master alone" or "master with slave"
    "mean IoU, slave silenced": None,
}
my_rows = {
    "master alone": None,
    "master with slave": None,
}  # of 48: what the answer at the middle pixel depends on

# %% [markdown]
# ## Run

# %% tags=["nbval-ignore-output"]
networks = {
    "master alone": segmentation.msnet(width, has_slave=False, seed=seed),
    "master with slave": segmentation.msnet(width, num_backward=num_backward, combine=combine, seed=seed),
}
config = training.TrainConfig(num_epochs=num_epochs, batch_size=50, lr=lr, seed=seed, device=device)
results = {}
for name, network in networks.items():
    trainer = training.Trainer(network, scenes, config)
    for record in (bar := tqdm(trainer, total=num_epochs, desc=f"{name:17s}", unit="epoch", file=sys.stdout)):
        bar.set_postfix_str(f"pixel accuracy {record.test_accuracy:.3f}")
    results[name] = trainer.result()
    network.cpu()

# %% [markdown]
# ## Evidence
#
# First the answer that needs no network. Its accuracy is the share of the background. Its mean IoU is that share too,
# divided by 11: ten classes have an intersection of 0.


# %% tags=["keep_output"]
def score(network, inputs):
    accuracy = training.accuracy(network, inputs, scenes.test_labels)
    return accuracy, segmentation.mean_iou(network, inputs, scenes.test_labels, scenes.num_classes)


background = torch.zeros(200, scenes.num_classes, 48, 48)
background[:, 0] = 1.0
scores = {"background everywhere": score(torch.nn.Identity(), background)}
print(
    "background everywhere: pixel accuracy {:.2f}, mean IoU {:.3f}".format(*scores["background everywhere"])
)
scores |= {name: score(network, scenes.test_images) for name, network in networks.items()}
(constant_accuracy, constant_iou), *trained = scores.values()
print(
    "trained networks: pixel accuracy less than 0.12 above that:",
    all(accuracy - constant_accuracy < 0.12 for accuracy, _ in trained),
)
print("mean IoU at least twice as high:", all(iou > 2 * constant_iou for _, iou in trained))

# %% [markdown]
# Then the two graphs. How many weight layers has the longest way from the image to the labels, is there a
# skip-connection, and on how many of the 48 rows of the image does the answer at the middle pixel depend?


# %% tags=["keep_output"]
def rows_seen(network):
    inputs = scenes.test_images[:16].clone().requires_grad_()
    network.eval()(inputs)[:, :, 24, 24].sum().backward()
    return int((inputs.grad != 0).any(dim=3).any(dim=1).any(dim=0).sum())


for name, network in networks.items():
    program = torch.export.export(network.eval(), (scenes.test_images[:2],))
    skip = f"skip-connection: {models.has_skip(program)}"
    print(f"{name:18s} layers in a row: {network.num_layers}   {skip:24s} rows seen: {rows_seen(network)}")

# %% [markdown]
# The master alone labels a pixel by what is around it, 30 rows, hardly more than a garment has (28). With the slave it has
# the whole scene before it. Keep that in mind when it comes to *why* a slave may help.

# %% [markdown]
# ### Your prediction beside what came
#
# The last row is a lesion: the trained master with its slave, but with the slave's features set to 0.

# %% tags=["nbval-ignore-output"]
silence = networks["master with slave"].slave.register_forward_hook(
    lambda module, given, features: 0.0 * features
)
scores["slave silenced"] = score(networks["master with slave"], scenes.test_images)
silence.remove()
comparison = pd.DataFrame(
    [(name, round(accuracy, 3), round(iou, 3)) for name, (accuracy, iou) in scores.items()],
    columns=["network", "pixel accuracy", "mean IoU"],
)
size = {name: sum(weight.numel() for weight in network.parameters()) for name, network in networks.items()}
comparison["parameters"] = comparison["network"].map(size).astype("Int64")
comparison["seconds"] = comparison["network"].map(
    {name: round(run.seconds, 1) for name, run in results.items()}
)
comparison.astype(object).fillna("–")

# %% tags=["nbval-ignore-output"]
iou = {name: value for name, (_, value) in scores.items()}
came = (constant_accuracy, constant_iou, max(networks, key=iou.get), iou["slave silenced"])
rows = {f"rows seen, {name}": value for name, value in my_rows.items()}
seen = {f"rows seen, {name}": rows_seen(network) for name, network in networks.items()}
exercises.beside(my_prediction | rows, dict(zip(my_prediction, came, strict=True)) | seen)

# %% [markdown]
# The lesion shows that this master *leans on* its slave. It does not show that it needed one: a master that never had a
# slave has learned to do without.

# %% [markdown]
# ## Look
#
# Two test scenes, what is true, and what each network makes of them after this short training. **See**: both have learned
# where the garments are. *What* they are is the hard part: labels change within one garment.


# %%
@torch.no_grad()
def look(scene):
    inputs = scenes.test_images[scene : scene + 1]
    answers = {name: network.eval()(inputs)[0].argmax(dim=0) for name, network in networks.items()}
    maps = {"truth": scenes.test_labels[scene], **answers}
    right = {name: (answer == maps["truth"]).double().mean().item() for name, answer in answers.items()}
    caption = ", ".join(f"{share:.0%} {name}" for name, share in right.items())
    maps = {name: labels.numpy() for name, labels in maps.items()}
    return segmentation.label_maps(
        inputs[0, 0].numpy(), maps, scenes.class_names, f"Scene {scene}. Pixels right: {caption}."
    )


# %% tags=["nbval-ignore-output"]
look(0)

# %% tags=["nbval-ignore-output"]
look(1)

# %% [markdown]
# ## One run is no evidence
#
# A longer training is recorded: twice as many scenes, 8 epochs, three seeds. A slave doubles the parameters. Whoever
# compares with the master alone cannot tell what the *backward skips* bring from what *more weights* bring. So there is a
# fourth network: a **wide master** without a slave, with 12 channels instead of 8 in its first layer and at least as many
# parameters as the master with its slave and a sum. **Predict**: where does its mean IoU lie between that of the master
# (0) and that of the master with a slave and a sum (1)?

# %%
my_place = None  # 0: no better than the narrow master; 1: as good as with a slave

# %% tags=["keep_output"]
recorded = batch.recorded("backward_skips")
measures = ["mean", "std"]
shown = {"parameters": "first", "pixel_accuracy": measures, "mean_iou": measures}
print(recorded.table.groupby("network", sort=False).agg(shown).round(3).to_string())
print("seeds:", recorded.table["seed"].nunique(), "  made by:", recorded.command)

# %% tags=["nbval-ignore-output"]
exercises.beside({"place of the wide master": my_place}, {"place of the wide master": "nearly two thirds"})

# %% [markdown]
# **Read** the mean IoU. Compared with the master alone, a slave is worth 0.06. But the wide master has 0.04 of that without
# any slave: nearly *two thirds of the gain with a sum are just parameters*. What is left, 0.02, is small, and
# three seeds, compared in pairs, do not tell it from 0. The pixel accuracy shows the same order with smaller distances, since most
# pixels are background. Sum and concatenation are not told apart, though the concatenation has more parameters.
#
# And is that rest the merit of the *backward* skips? These runs do not say. With its slave the master is also nine layers
# deep instead of five, and sees the whole scene: a master alone that is as deep was not trained.

# %% [markdown]
# ## Explore
#
# **Misconception**: *a skip that points backward makes a loop; such a network is recurrent.* If it
# did, some layer would have to run twice, or to wait for itself. **Predict** the order in which the layers run, then let
# them say it (cell below the panel).
#
# Go through the test **scenes**. Where do the two networks differ, at the edges or inside of the garments? And with the
# slave **silenced**, what is left of the master's answer?


# %%
def explore(scene, slave):
    branch = networks["master with slave"].slave
    hook = branch.register_forward_hook(lambda module, given, features: features * (slave == "at work"))
    fig = look(scene)
    hook.remove()
    return fig


# %% tags=["nbval-ignore-output"]
panel = widgets.explore_panel(
    explore,
    (
        widgets.Slider("scene", "test scene (number)", 2, 0, 199, "Which of the 200 test scenes"),
        widgets.Choice(
            "slave", "slave", "at work", ("at work", "silenced"), "Silenced: its features are set to 0"
        ),
    ),
    interactive=interactive,
)
panel

# %% tags=["keep_output"]
running_order = []
msnet = segmentation.msnet(num_backward=2, seed=seed)
for name, module in msnet.named_modules():
    if isinstance(module, torch.nn.Conv2d):
        module.register_forward_hook(lambda module, given, result, name=name: running_order.append(name))
msnet(scenes.test_images[:1])
print("\n".join(running_order))
print("a layer runs twice:", len(set(running_order)) < len(running_order))

# %% [markdown]
# **Set right**: the arrow points backward only in the *drawing*, where the slave stands beside the master. In the order of
# computation the slave comes first, and everything points forward: slave, $G_1$, the master from its second layer on,
# head, nine weight layers. The master's own first layer is a short way round the slave, from the image. *That* is the
# skip-connection that `has_skip` finds, and it carries early features forward, as all the others did.

# %% [markdown]
# ## Exercise 1 · By hand
#
# A map of three by three pixels with three classes, and what a network makes of it. Work out the mean IoU: for each class
# count the pixels that both maps give it, and those that either gives it.

# %% tags=["nbval-ignore-output"]
true_map = [[0, 0, 1], [0, 1, 1], [2, 2, 1]]
given_map = [[0, 0, 1], [0, 0, 1], [2, 1, 1]]
### solution
my_mean_iou = (3 / 4 + 3 / 5 + 1 / 2) / 3
### stub
# my_mean_iou = None  # your number
### end
exercises.check_mean_iou(my_mean_iou, true_map, given_map)

# %% [markdown]
# ## Exercise 2 · As many parameters
#
# Why 12 channels? Find the smallest `width` of a master *without* a slave that has at least as many parameters as the
# master of width 8 *with* its slave and a sum.


# %% tags=["nbval-ignore-output"]
def count(**choices):
    return sum(weight.numel() for weight in segmentation.msnet(**choices).parameters())


print("with slave:", count(width=8), "  master of width 8 alone:", count(width=8, has_slave=False))
### solution
my_width = next(width for width in range(8, 65) if count(width=width, has_slave=False) >= count(width=8))
### stub
# my_width = None  # your number
### end
exercises.check_equal_width(my_width)

# %% [markdown]
# ## Exercise 3 · What was it worth?
#
# From the recorded runs, on average over the seeds: by how much does the mean IoU rise from the master to the network
# `"slave, sum"`? Which fraction of that rise does the wide master have too, without any slave?

# %% tags=["nbval-ignore-output"]
### solution
mean = recorded.table.groupby("network")["mean_iou"].mean()
my_fraction = (mean["wide master"] - mean["master"]) / (mean["slave, sum"] - mean["master"])
### stub
# my_fraction = None  # your number, a fraction from 0 to 1
### end
exercises.check_gain_fraction(my_fraction, recorded.table)

# %% [markdown] tags=["solution"]
# *For the instructor.* Exercise 2: 12 channels. Exercise 3: about 0.63. Ask for the control that is missing: one network of
# nine layers in a row without a way round, with as many parameters, that sees the whole scene. Only against that one could
# one say what the feedback brings. A question for those who find the lesion convincing: what would silencing *any* layer of
# a trained network do? (The networks of *Run* are trained so shortly that a second seed may well exchange their order.)

# %% [markdown]
# ## Take away
#
# - Late features can tell early layers something only in a second pass: one network looks first, another looks again.
# - In the order of computation the backward skip points forward. The graph's skip-connection is the way *round* the slave.
# - Where one class is everywhere, pixel accuracy praises an answer that has seen nothing. Mean IoU asks every class.
# - Whatever is added to a network adds parameters as well. On average they account for nearly two thirds of the gain here;
#   three seeds leave that fraction open.
#
# **Next**: this was the first lesson with convolutions, and the phase-out has not met them yet. Does it carry over to
# them, and to photographs? [10 · Convolutional networks](10_convolutional_van.ipynb).
#
# **Limits of the evidence.** Composed scenes of one small data set, one size of network, 8 epochs, three seeds, a step size
# that nobody searched for. One control, for the number of parameters; none for depth, nor for how far a pixel sees. Of the
# paper only the abstract was read.
#
# **References.** A. H. Abdulnabi, S. Winkler and G. Wang (2017), *Beyond forward shortcuts: fully convolutional
# master-slave networks (MSNets) with backward skip connections for semantic segmentation*, arXiv 1707.05537. ·
# M. Everingham, L. Van Gool, C. K. I. Williams, J. Winn and A. Zisserman (2010), *The PASCAL visual object classes (VOC)
# challenge*. · H. Xiao, K. Rasul and R. Vollgraf (2017), *Fashion-MNIST*.

# %% tags=["nbval-ignore-output"]
batch.record_metrics(comparison)
