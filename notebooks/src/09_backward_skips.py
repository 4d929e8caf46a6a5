# %% [markdown]
# # 9 · Skips that point backward
#
# *What if a skip-connection points backward?*
#
# Then late features, which know *what* is in an image, can help early ones, which know *where*. It takes a second
# network. You label every pixel of a scene with and without one. Then a simple control asks how much of the gain any
# added parameters would have earned.
#
# **So far**: every answer to degradation helped a signal forward, by skips ([lesson 4](04_skip_connections.ipynb)),
# identities ([lesson 7](07_dirac.ipynb)) or mirrored weights ([lesson 8](08_looks_linear.ipynb)). This lesson turns the
# arrow around.
#
# **Time**: 30 minutes of reading and thinking; the cells take about 25 seconds on two idle processor cores.
#
# **You need**: [lesson 4](04_skip_connections.ipynb); the test for a skip in a graph ([lesson 7](07_dirac.ipynb)); what
# a convolution, its channels and its stride are.
#
# **Afterwards you can**
#
# - say why late features can go back into early layers only with two networks, and write down such a layer,
# - measure how well every pixel of an image is labelled, and say why accuracy misleads there,
# - find the skip-connection in the graph (it is not the arrow that points backward),
# - ask of anything that is added to a network what as many parameters would have brought without it.

# %% tags=["parameters"]
num_scenes: int = 1000  # scenes of the training set
num_epochs: int = 3  # passes over them
width: int = 8  # channels of the first layer of each branch
num_backward: int = 2  # layers of the master that get the slave's features, from 1 to 4
combine: str = "sum"  # how they get them: sum or concat
lr: float = 0.01  # learning rate of the weights
seed: int = 0  # of initial weights and order of examples
device: str = "auto"  # auto, cpu, cuda or mps
interactive: bool = True  # controls to press; false draws plain figures instead

# %% tags=["hide-input"]
import sys

import pandas as pd
import torch
from tqdm import tqdm

from van_tutorial import batch, data, exercises, models, plots, segmentation, training, widgets

torch.set_num_threads(1)
scenes = segmentation.scenes(data.load(), num_train=num_scenes, num_test=200)

# %% [markdown]
# ## The idea: one network looks first, another looks again
#
# A skip-connection carries *early* features forward, into later layers. Some tasks need the opposite. To label every
# pixel, a network must know exactly where an edge is, and what it is the edge *of*. Its first layers know where. Only
# its last layers see enough of the image to know what. Could the last layer tell the first?
#
# In one feed-forward network it cannot: when the first layer is computed, the last one's output does not exist yet.
# Abdulnabi, Winkler and Wang (2017) therefore took two networks. The **slave** looks at the image first. Its top
# features go back to the bottom layers of the **master**. The master looks at the image again, knows what the slave saw,
# and labels the pixels. (The names are theirs.)
#
# ![Two columns of four layers over one image: from the top of the left one, the slave, an arrow goes down to the first two layers of the right one, the master](../assets/figures/backward_skips.svg)
#
# Let $x^S_l$ and $x^M_l$ be the outputs of layer $l$ of slave and master, both with the image as $x_0$. $*$ is a
# convolution, and $\oplus$ a sum or a concatenation. $G_l$ is a convolution of 1 by 1, whose result is resized to that
# of layer $l$:
#
# $$x^S_l = \text{relu}(\text{norm}(W^S_l * x^S_{l-1})) \qquad
# x^M_l = \text{relu}(\text{norm}(W^M_l * x^M_{l-1})) \oplus G_l * x^S_4$$
#
# Only the first `num_backward` layers have the part after $\oplus$. Both networks are trained together, by the master's
# loss alone, and both halve the image twice.
#
# > **What we know of the source.** We read only the paper's abstract (its full text is arXiv 1707.05537). So we do not
# > know its layers and widths, its results, or whether $\oplus$ was a sum. `combine` is an argument here, and no number below
# > is theirs. Their images were photographs. Ours are scenes of Fashion-MNIST garments.

# %% [markdown]
# ## Pixel accuracy misleads; mean IoU asks every class
#
# The **pixel accuracy** is the fraction of pixels with the right label. The **mean intersection over union** (mean IoU)
# asks each class in turn. Over all images, let $P_k$ be the pixels that the network gives class $k$, and $Q_k$ those of
# class $k$:
#
# $$\text{mean IoU} = \frac{1}{K} \sum_{k=1}^{K} \frac{|P_k \cap Q_k|}{|P_k \cup Q_k|}$$
#
# A rare class counts as much as a frequent one. Giving a class too many pixels costs as much as giving it too few. (A
# class that is in neither map has no union, and is left out.)

# %% [markdown]
# ## Predict
#
# In our scenes two thirds of the pixels are background. The rest belongs to ten kinds of garments, so there are 11
# classes.
#
# - *Background everywhere* is a prediction that needs no network. What are its pixel accuracy and its mean IoU?
# - After a short training, which has the higher mean IoU, the master alone or the master with a slave?
# - What is left of the second one's mean IoU when its slave is *silenced*, with its features set to 0?
# - On how many of the 48 image rows does the label of the middle pixel depend?

# %% tags=["nbval-ignore-output"]
prediction = widgets.Prediction(
    "9.1",
    {
        "pixel accuracy, background": (0, 1),
        "mean IoU, background": (0, 1),
        "higher mean IoU": ("master alone", "master with slave"),
        "mean IoU, slave silenced": (0, 1),
        "rows seen, master alone": (1, 48),
        "rows seen, master with slave": (1, 48),
    },
    interactive=interactive,
)
prediction

# %% [markdown]
# ## Run

# %%
back = {"num_backward": num_backward, "combine": combine}
networks = {
    "master alone": segmentation.msnet(width, has_slave=False, seed=seed),
    "master with slave": segmentation.msnet(width, **back, seed=seed),
}

# %% tags=["nbval-ignore-output", "hide-input"]
config = training.TrainConfig(num_epochs=num_epochs, batch_size=50, lr=lr, seed=seed, device=device)
results = {}
for name, network in networks.items():
    trainer = training.Trainer(network, scenes, config)
    for _ in tqdm(trainer, total=num_epochs, desc=f"{name:17s}", unit="epoch", file=sys.stdout):
        pass  # the trainer yields after each epoch
    results[name] = trainer.result()
    network.cpu()

# %% [markdown]
# ### Prediction and result
#
# *Slave silenced* is a **lesion**: part of a trained network is switched off.


# %% tags=["nbval-ignore-output", "hide-input"]
def score(network, inputs):
    accuracy = training.accuracy(network, inputs, scenes.test_labels)
    return accuracy, segmentation.mean_iou(network, inputs, scenes.test_labels, scenes.num_classes)


def rows_seen(network):
    inputs = scenes.test_images[:16].clone().requires_grad_()
    network.eval()(inputs)[:, :, 24, 24].sum().backward()
    return int((inputs.grad != 0).any(dim=3).any(dim=1).any(dim=0).sum())


background = torch.zeros(200, scenes.num_classes, 48, 48)
background[:, 0] = 1.0
scores = {"background everywhere": score(torch.nn.Identity(), background)}
scores |= {name: score(network, scenes.test_images) for name, network in networks.items()}
silence = networks["master with slave"].slave.register_forward_hook(
    lambda module, given, features: 0.0 * features
)
scores["slave silenced"] = score(networks["master with slave"], scenes.test_images)
silence.remove()
iou = {name: value for name, (_, value) in scores.items()}
size = {name: sum(weight.numel() for weight in network.parameters()) for name, network in networks.items()}
comparison = pd.DataFrame(
    [(name, round(accuracy, 3), round(value, 3)) for name, (accuracy, value) in scores.items()],
    columns=["network", "pixel accuracy", "mean IoU"],
)
comparison["parameters"] = comparison["network"].map(size).astype("Int64")
comparison["seconds"] = comparison["network"].map(
    {name: round(run.seconds, 1) for name, run in results.items()}
)
shown = comparison.set_index("network").rename_axis(None).astype(object)
for column, form in {"pixel accuracy": "{:.3f}", "mean IoU": "{:.3f}", "parameters": "{:,}"}.items():
    shown[column] = shown[column].map(form.format, na_action="ignore")
prediction.compare(
    {
        "pixel accuracy, background": scores["background everywhere"][0],
        "mean IoU, background": iou["background everywhere"],
        "higher mean IoU": max(networks, key=iou.get),
        "mean IoU, slave silenced": iou["slave silenced"],
    }
    | {f"rows seen, {name}": rows_seen(network) for name, network in networks.items()},
    shown.astype(object).fillna("–"),
    r"""
    The lesion shows that this master *relies on* its slave. It does not show that it needed one: a master that never had a
    slave has learned to do without.
    """,
)

# %% [markdown]
# ## Evidence: a map of nothing but background has a high accuracy

# %% tags=["keep_output", "hide-input"]
constant_accuracy, constant_iou = scores["background everywhere"]
trained = [scores[name] for name in networks]
exercises.findings(
    {
        f"Background everywhere has pixel accuracy {constant_accuracy:.2f} and mean IoU {constant_iou:.3f}.": True,
        "The trained networks are less than 0.12 above that in pixel accuracy.": all(
            accuracy - constant_accuracy < 0.12 for accuracy, _ in trained
        ),
        "Their mean IoU is at least twice as high.": all(value > 2 * constant_iou for _, value in trained),
    }
)

# %% tags=["nbval-ignore-output", "hide-input"]
rows = {}
for name, network in networks.items():
    program = torch.export.export(network.eval(), (scenes.test_images[:2],))
    rows[name] = {
        "weight layers in a row": network.num_layers,
        "a skip in the graph": "yes" if models.has_skip(program) else "no",
        "image rows seen by the middle pixel": rows_seen(network),
    }
prediction.show(
    r"""
    The accuracy of *background everywhere* is the fraction of the background. Its mean IoU is that fraction divided by 11,
    since ten classes have an intersection of 0. What do the two graphs say?
    """,
    pd.DataFrame.from_dict(rows, orient="index"),
    r"""
    The master alone labels a pixel by what is around it: 30 rows, hardly more than a garment has (28). With the slave it
    has the whole scene. That may be *why* a slave helps.
    """,
)

# %% [markdown]
# ## Both networks find the garments, and confuse their kinds
#
# A test scene: its true labels, and those of each network after this short training.


# %% tags=["hide-input"]
@torch.no_grad()
def look(scene):
    inputs = scenes.test_images[scene : scene + 1]
    predicted = {name: network.eval()(inputs)[0].argmax(dim=0) for name, network in networks.items()}
    maps = {"truth": scenes.test_labels[scene], **predicted}
    right = {name: (labels == maps["truth"]).double().mean().item() for name, labels in predicted.items()}
    caption = ", ".join(f"{fraction:.0%} {name}" for name, fraction in right.items())
    maps = {name: labels.numpy() for name, labels in maps.items()}
    return segmentation.label_maps(
        inputs[0, 0].numpy(), maps, scenes.class_names, f"Scene {scene}. Pixels right: {caption}."
    )


# %% tags=["nbval-ignore-output", "hide-input"]
look(0)

# %% [markdown]
# **See**: both have learned where the garments are. *What* they are is the hard part: labels change within one garment.

# %% [markdown]
# ## A control: how much would more parameters bring?
#
# A longer training was recorded, by `python -m tools.record backward_skips`: twice as many scenes, 8 epochs, three seeds. A slave doubles the parameters. So a
# comparison with the master alone cannot tell the *backward skips* from *more weights*. The control is a **wide master**
# without a slave. It has 12 channels instead of 8 in its first layer, and more parameters than master and slave with a
# sum.
#
# **Predict** the position of its mean IoU: 0 is the master, 1 the master with a slave and a sum.

# %% tags=["nbval-ignore-output"]
asked = {"position of the wide master": (-1, 2)}
prediction = widgets.Prediction("9.2", asked, interactive=interactive)
prediction

# %% tags=["nbval-ignore-output", "hide-input"]
recorded = batch.recorded("backward_skips")
mean = recorded.table.groupby("network")["mean_iou"].mean()
position = (mean["wide master"] - mean["master"]) / (mean["slave, sum"] - mean["master"])
counts = recorded.table["parameters"].map(" ({:,} parameters)".format)
compared = recorded.table.assign(network=recorded.table["network"] + counts)
compared = compared[compared["parameters"] > 0]
prediction.compare(
    {"position of the wide master": position},
    plots.mean_dots(compared, "mean_iou", "With a slave, or with more parameters", "mean IoU"),
    r"""
    A slave with a sum raises the mean IoU by 0.06. The wide master gets 0.04 of that without any slave: nearly *two thirds
    of the gain are just parameters*. The remaining 0.02 is small, and three seeds, compared in pairs, do not tell it from
    0.

    Sum and concatenation are not told apart, though the concatenation has more parameters.

    Did the *backward* skips earn the rest? These runs do not say. With its slave the master is also nine layers deep
    instead of five, and sees the whole scene. A master alone of that depth was not trained.
    """,
)

# %% [markdown]
# ## Explore
#
# **Misconception**: *a skip that points backward makes a loop; such a network is recurrent.* Then some layer would have
# to run twice. In which order do they run? Decide, then look below the panel.
#
# Go through the test **scenes**. Where do the two networks differ, at the edges of the garments or inside them? With the
# slave **silenced**, what is left of the master's labels?


# %% tags=["hide-input"]
def explore(scene, slave):
    branch = networks["master with slave"].slave
    hook = branch.register_forward_hook(lambda module, given, features: features * (slave == "at work"))
    fig = look(scene)
    hook.remove()
    return fig


# %% tags=["nbval-ignore-output", "hide-input"]
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
        short = name.replace("convolutions.", "").replace("master.backward_skips.", "G.")
        module.register_forward_hook(lambda *_, short=short: running_order.append(short))
msnet(scenes.test_images[:1])
print(*running_order, sep=" → ")

# %% tags=["keep_output", "hide-input"]
exercises.findings({"No layer runs twice.": len(set(running_order)) == len(running_order)})

# %% [markdown]
# **Correction**: the arrow points backward only in the *drawing*, where the slave stands beside the master. In the order
# of computation the slave comes first, and everything points forward. The longest path has nine weight layers: slave,
# $G_1$, the master from its second layer on, and the head. The master's own first layer is a short path from the image,
# around the slave. *That* is the skip-connection that `has_skip` finds. It carries early features forward, as all the
# others did.

# %% [markdown]
# ## Exercise 1 · By hand
#
# A map of three by three pixels with three classes, and the labels that a network gives. Work out the mean IoU. For each
# class, count the pixels that both maps give it, and those that at least one of them gives it.

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
# The wide master matches the slave with a *sum*. Now take a *concatenation*. The master of width 8 with its slave has some
# number of parameters. What is the smallest `width` of a master *without* a slave that has at least as many?


# %% tags=["nbval-ignore-output"]
def count(**choices):
    return sum(weight.numel() for weight in segmentation.msnet(**choices).parameters())


print("with slave:", count(width=8, combine="concat"))
print("master of width 8:", count(width=8, has_slave=False))
### solution
target = count(width=8, combine="concat")
my_width = next(width for width in range(8, 65) if count(width=width, has_slave=False) >= target)
### stub
# my_width = None  # your number
### end
exercises.check_equal_width(my_width, combine="concat")

# %% [markdown]
# ## Exercise 3 · What was it worth?
#
# Does the control say the same of *pixel accuracy*? Average the recorded runs over the seeds. By how much does the pixel
# accuracy rise from the master to the network `"slave, sum"`? Which fraction of that rise has the wide master, without
# any slave?

# %% tags=["nbval-ignore-output"]
### solution
mean = recorded.table.groupby("network")["pixel_accuracy"].mean()
my_fraction = (mean["wide master"] - mean["master"]) / (mean["slave, sum"] - mean["master"])
### stub
# my_fraction = None  # your number, a fraction from 0 to 1
### end
exercises.check_gain_fraction(my_fraction, recorded.table, measure="pixel_accuracy")

# %% [markdown] tags=["solution"]
# *For the instructor.* Exercise 2: 13 channels. Exercise 3: about 0.66, close to the 0.63 of the mean IoU. Ask for the
# control that is missing: one network of nine layers in a row without a skip. It should have as many parameters, and see
# the whole scene. Only a comparison with that one could say what the feedback brings. A question for those who find the
# lesion convincing: what would silencing *any* layer of a trained network do? (The networks of *Run* are trained so
# shortly that a second seed may well exchange their order.)

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
# - Late features can inform early layers only in a second pass: one network looks first, another looks again.
# - In the order of computation the backward skip points forward. The graph's skip-connection is the path *around* the
#   slave.
# - Where one class is everywhere, pixel accuracy rewards a prediction that has seen nothing. Mean IoU asks every class.
# - Whatever is added to a network adds parameters as well. On average they account for nearly two thirds of the gain
#   here; three seeds leave that fraction open.
#
# **Next**: this was the first lesson with convolutions, and the phase-out has not met them yet. Does it carry over to
# them, and to photographs? [10 · Convolutional networks](10_convolutional_van.ipynb).
#
# **Limits of the evidence.** Composed scenes of one small data set, one size of network, 8 epochs, three seeds, a
# learning rate that was not tuned. One control, for the number of parameters; none for depth, nor for how far a pixel
# sees. Of the paper only the abstract was read.
#
# **References.** A. H. Abdulnabi, S. Winkler and G. Wang (2017), *Beyond forward shortcuts: fully convolutional
# master-slave networks (MSNets) with backward skip connections for semantic segmentation*, arXiv 1707.05537. · M.
# Everingham, L. Van Gool, C. K. I. Williams, J. Winn and A. Zisserman (2010), *The PASCAL visual object classes (VOC)
# challenge*. · H. Xiao, K. Rasul and R. Vollgraf (2017), *Fashion-MNIST*.

# %% tags=["nbval-ignore-output", "hide-input"]
batch.record_metrics(comparison)
