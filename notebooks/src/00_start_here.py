# %% [markdown]
# # 0 · Start here
#
# *Is everything there, and how does a lesson work?*
#
# **Time**: 15 minutes of reading and trying; the cells take about 5 seconds on two processor cores.
# **You need**: Python, to the point of reading a function; and to have seen a fully connected network once.
#
# **Afterwards you can**
#
# - say whether this installation can run the course, and what to do where it cannot,
# - tell a number that every computer finds from one that only yours finds,
# - write a prediction down, compare it with what came, and use a check that hints,
# - choose your way through the lessons.
#
# The cells of a notebook run from top to bottom: press Shift + Enter in each, or choose *Run All Cells* from the menu
# *Run*.

# %% tags=["parameters"]
depth: int = 2  # number of layers of the network that is trained here
width: int = 32  # units per layer
num_epochs: int = 1  # passes over the 5,000 training images
lr: float = 0.003  # learning rate of the weights
seed: int = 0  # of initial weights and order of examples
device: str = "auto"  # auto, cpu, cuda or mps
interactive: bool = True  # controls to press; false draws plain figures instead

# %% [markdown]
# That was the cell of **parameters**. Every lesson has one. What stands in it may be changed, here or from a command
# line: `van-tutorial run 00_start_here -p num_epochs 2`.

# %%
import pandas as pd
import plotly.express as px
import torch

from van_tutorial import batch, data, exercises, models, plots, training, widgets

# %% [markdown]
# ## Is everything there?
#
# Where the last cell ended with `ModuleNotFoundError`, this notebook runs in another Python than the one that the
# course was installed into: choose that one in the menu *Kernel*, *Change Kernel*, or run `make setup` and start
# JupyterLab by `make lab`. Otherwise each row of the next table should say `ok`; where one says `broken`, its last column
# says what to do.

# %% tags=["nbval-ignore-output"]
torch.set_num_threads(1)  # small networks: more threads would mostly wait for each other
installation = widgets.installation(device)
installation.style.hide().set_properties(**{"text-align": "left", "white-space": "normal"})

# %% [markdown]
# ### Do the controls work?
#
# A **panel** has sliders, each with its number beside it, which can be typed over, and a button; nothing happens before you press the button.
# By keyboard: Tab goes from one to the next, the arrow keys move a slider, the space bar presses a button. Choose a
# number, and press **Show**. The line of text above the picture must change to `Shown: number of the image: …` with
# your number, and the picture to another piece of clothing. Where there is a sentence instead of a slider, it says what
# to do.

# %% tags=["nbval-ignore-output"]
images = data.load()


def draw(number):
    fig = px.imshow(images.test_images[number, 0].numpy(), color_continuous_scale="gray", width=460)
    label = images.class_names[images.test_labels[number]]
    fig.update_coloraxes(showscale=False)
    return plots.finish(fig, f"Test image {number}", f"Label: {label}.", "column (pixels)", "row (pixels)")


image_panel = widgets.explore_panel(
    draw,
    (widgets.Slider("number", "number of the image", 0, 0, 999, "Which of the 1,000 test images"),),
    interactive=interactive,
)
image_panel

# %% [markdown]
# ## How a lesson works
#
# | part | what you do there |
# | --- | --- |
# | **The idea** | read: one formula, one picture |
# | **Predict** | write down what you expect, before you look. Nobody grades it; a wrong one shows you where to read on |
# | **Run** | train; the code is short enough to be read |
# | **Evidence** | read what *any* computer finds: counts, orderings, recorded results. The notebook in the repository holds the same output, and a test compares the two |
# | **Look** | look for what stands behind "**See**:", then for what it does not mention |
# | **Explore** | press. Each panel comes with a **misconception** that it can refute |
# | **Exercise** | replace `None` by your answer and run the cell. A check says `Right` or `Not yet`, with a hint, as often as you like |
# | **Take away** | compare with what you would have said; read how far the evidence goes |
#
# An accuracy that you measure is *your* number: on another processor, or with another seed, its last digits differ.
# That is why the tables of single runs are not evidence here, and why recorded results come with several seeds.

# %% [markdown]
# ## The course
#
# It follows one question: **must a very deep network keep the skip-connections that made it trainable?** After it
# you can
#
# - show on real images that deeper is not better, and say which of the usual explanations fail,
# - measure in any PyTorch network what its gradients do on their way back,
# - train a deep network with skip-connections, phase them out by Lagrange multipliers, and prove that none is left,
# - say what other methods remove, when, and what it costs, and compare them fairly,
# - run a sweep of your own, and state what it shows and what it does not.
#
# ![Ten stations in two rows: deeper is worse; why: gradients; skips repair it; must we keep them?; phasing out; how fast do they go?; other answers; convolutions and photographs; what came after; your own question](../assets/figures/course_map.svg)
#
# | lesson | its question | minutes |
# | --- | --- | --- |
# | *deeper is worse* | | |
# | [1 Degradation](01_degradation.ipynb) | Why does a deeper network do worse, even on the images that it was trained on? | 20 |
# | *why: gradients* | | |
# | [2 Vanishing and exploding](02_vanishing_exploding.ipynb) | What happens to a gradient on its way back through fifty layers? | 30 |
# | [3 Shattered gradients](03_shattered_gradients.ipynb) | The gradient has the right size. Does it still point anywhere? | 40 |
# | *skips repair it; must we keep them?* | | |
# | [4 Skip-connections](04_skip_connections.ipynb) | What exactly does a skip-connection repair, and which kinds are there? | 40 |
# | *phasing out, and how fast* | | |
# | [5 Phasing out](05_phasing_out.ipynb) | Can a very deep network be trained with skip-connections and end up without them? | 35 |
# | [6 Multiplier dynamics](06_multiplier_dynamics.ipynb) | When will a skip-connection be gone, and what is its multiplier worth in the end? | 35 |
# | *other answers* | | |
# | [7 Dirac weights](07_dirac.ipynb) | Can the skip-connection hide inside the weights? | 35 |
# | [8 Looks linear](08_looks_linear.ipynb) | What if the network starts as a linear map? | 30 |
# | [9 Skips that point backward](09_backward_skips.ipynb) | What if a skip-connection points backward? | 30 |
# | *convolutions and real images* | | |
# | [10 Convolutional networks](10_convolutional_van.ipynb) | Does the phase-out carry over to convolutional networks and real photographs? | 35 |
# | *what came after* | | |
# | [11 After VAN](11_after_van.ipynb) | Who else removes something during training: what, when, by whom, and what is left? | 40 |
# | *your own question* | | |
# | [13 Capstone](13_capstone.ipynb) | How does a question become an experiment, and how do its runs become a claim that holds? | 60 |
# | [Playground](playground.ipynb) | Any network of the course, any settings: what happens if …? | |
#
# **Little time?** Lessons 1 and 5 hold the question and the answer. **For the theory**, go on with 3 and 6; **for
# practice** with 4, 10 and 11. Words that you meet again are in the [glossary](../docs/glossary.md), and whoever teaches
# this finds a plan in [docs/teaching.md](../docs/teaching.md).

# %% [markdown]
# ## The idea
#
# The rest of this notebook is a very small lesson. An image $x_0$ of Fashion-MNIST is 784 numbers. A *plain* network of
# `depth` $L$ makes something new of them, layer by layer, and ends with ten scores; the largest one is its answer:
#
# $$x_l = f_l(x_{l-1}), \qquad l = 1 \dots L$$
#
# The **test accuracy** is the share of the 1,000 test images, none of which it was trained on, that it answers right.
# Whoever guesses among ten classes gets 0.10. Here $L$ is 2. The course is about what happens when it is 40.

# %% [markdown]
# ## Predict
#
# The network is about to see each of the 5,000 training images once (but for 8 that fill no batch), in 39 steps of 128
# images. Which test accuracy will it have then? Write a number between 0.10 and 1 in place of `None`.

# %%
my_prediction = None  # your number

# %% [markdown]
# ## Run

# %%
config = training.TrainConfig(num_epochs=num_epochs, lr=lr, seed=seed, device=device)
network = models.mlp(depth=depth, width=width, connection="plain", seed=seed)
result = training.train(network, images, config)

# %% [markdown]
# ## Evidence
#
# What any computer will find. Run the cell twice: it says the same. The digits of the accuracy are not in it, and
# neither is your processor.

# %% tags=["keep_output"]
print("every part of the installation is there:", bool((installation["state"] == "ok").all()))
print("images to train on and to test on:", len(images.train_labels), "and", len(images.test_labels))
print("five times as good as guessing, after one look at each image:", result.test_accuracy >= 0.5)
again = training.train(models.mlp(depth=depth, width=width, connection="plain", seed=seed), images, config)
print(
    "the same seed on the same machine gives the same accuracy:", again.test_accuracy == result.test_accuracy
)

# %% [markdown]
# ### Your prediction beside what came

# %% tags=["nbval-ignore-output"]
comparison = pd.DataFrame(
    {
        "network": [f"plain, {depth} layers"],
        "epochs": [num_epochs],
        "test accuracy": [round(result.test_accuracy, 3)],
        "seconds": [round(result.seconds, 2)],
    }
)
comparison.assign(predicted=["–" if my_prediction is None else my_prediction])

# %% [markdown]
# ## One run is no evidence
#
# The same network after thirty passes, from three seeds, recorded, with the command that makes it again. What is the
# gap between the two columns called? If you are not sure, lesson 1 begins with it.

# %% tags=["keep_output"]
recorded = batch.recorded("degradation_mini")
two_layers = recorded.table.query("network == 'plain' and depth == 2")
print("plain, 2 layers, 30 epochs: accuracy on training images and on test images")
print(two_layers[["seed", "train_accuracy", "test_accuracy"]].to_string(index=False))
print("made by:", recorded.command)

# %% [markdown]
# ## Explore
#
# **Misconception**: *a network that has seen every image only once has learned next to nothing.* Each press of **Train**
# trains four new networks, for 1, 2, 5 and 10 passes. First change the **seed** and nothing else, three times: how far
# apart are two runs of the same thing? Then look for a **learning rate** with which the sentence is true after all.
#
# **See**: at the first learning rate most of the final accuracy is there after one pass. Where a curve has several seeds, its
# points are their means and the bars their standard deviations; a difference that is not larger than the bars shows
# nothing.

# %% tags=["nbval-ignore-output"]
runs = []


def train_four(learning_rate, number):
    for passes in (1, 2, 5, 10):
        settings = training.TrainConfig(num_epochs=passes, lr=learning_rate, seed=number, device=device)
        model = models.mlp(depth=depth, width=width, connection="plain", seed=number)
        accuracy = training.train(model, images, settings).test_accuracy
        runs.append((f"learning rate {learning_rate:.2g}", passes, number, accuracy))
    table = pd.DataFrame(runs, columns=["network", "passes", "seed", "accuracy"]).drop_duplicates()
    title = "How much the first pass brings"
    fig = plots.measure_curves(table, "accuracy", title, "test accuracy", over="passes")
    return fig.update_yaxes(range=[0, 1]).update_layout(showlegend=True)


panel = widgets.explore_panel(
    train_four,
    (
        widgets.Slider("learning_rate", "learning rate", lr, 1e-5, 0.1, "The same for all four", is_log=True),
        widgets.Slider("number", "seed", seed, 0, 99, "Of initial weights and order of examples"),
    ),
    label="Train",
    interactive=interactive,
)
panel

# %% [markdown]
# **Set right**: at a learning rate that suits it a network learns most of what it will learn in its first pass, image by image,
# batch by batch: 39 steps. With a learning rate that is far too small the sentence is true. How much a pass teaches is
# nothing that the number of passes could tell.

# %% [markdown]
# ## Exercise 1 · A number
#
# How many of the 1,000 test images did the network get *wrong*? Run the cell as it is, then with a wrong answer, then
# with the right one, and read what the check says each time.

# %% tags=["nbval-ignore-output"]
### solution
my_number = round((1 - result.test_accuracy) * len(images.test_labels))
### stub
# my_number = None  # your number
### end
exercises.check_wrong_images(my_number, result.test_accuracy, num_images=len(images.test_labels))

# %% [markdown]
# ## Exercise 2 · A function
#
# Some checks call a function of yours, with inputs of their own. `predictions` and `labels` are tensors of $N$
# integers, one for each image. Return the accuracy. (Try to return the *number* of right predictions first.)


# %% tags=["nbval-ignore-output"]
### solution
def my_accuracy(predictions, labels):
    return (predictions == labels).float().mean()


### stub
# def my_accuracy(predictions, labels):
#     return None  # your formula
### end
exercises.check_accuracy(my_accuracy)

# %% [markdown] tags=["solution"]
# *For the instructor.* Collect the predictions on the board before anyone runs the cell, and ask for the reason behind the
# lowest and the highest: the reasons are what the later lessons work on. Whoever has a row that says `broken` should mend
# it now; the other lessons do not look again.

# %% [markdown]
# ## Take away
#
# - One pass over 5,000 images takes a network of two layers most of the way. What is hard is not to train a network, but
#   to train a *deep* one.
# - Evidence is what any computer finds. A single accuracy is not; several seeds with their spread may be.
# - A prediction counts when it was written down before the run, and a check hints as often as you ask it.
#
# **Next**: give this network thirty-eight layers more, and it does worse. How can that be?
# [1 · Degradation](01_degradation.ipynb).
#
# **Limits of the evidence.** One network of one size on one small data set, trained once, and recorded from three
# seeds. "Most of the way" is what its own curve says; another data set may need more passes.
#
# **References.** H. Xiao, K. Rasul and R. Vollgraf (2017), *Fashion-MNIST*.

# %% tags=["nbval-ignore-output"]
batch.record_metrics(comparison)
