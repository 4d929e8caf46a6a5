# %% [markdown]
# # 0 · Start here
#
# *Must a very deep network keep the skip-connections that made it trainable?*
#
# Four networks of 40 layers learned to tell ten kinds of clothing apart. Their test accuracy, mean of three seeds:
#
# | network | skip-connections at the end | test accuracy |
# | --- | --- | --- |
# | plain | none | 0.440 |
# | residual: each layer's input is added to its output, by a skip-connection | 40 | 0.845 |
# | VAN: begins with 40 skips, and loses them all while it learns | none | 0.848 |
# | plain, BatchNorm bias 1 | none | 0.833 |
#
# The first two rows are a well-known problem and its well-known repair. The third row is the subject of this course. The
# fourth network never has a skip: it is only initialized closer to linear, by a *BatchNorm bias* of 1. After the course
# you can make such a table yourself, and say what it shows and what it does not.
#
# This notebook tests your installation and shows how a lesson works, with a network of two layers.
#
# **Time**: 15 minutes of reading and trying; the cells take about 10 seconds on two idle processor cores.
# A busy machine takes two or three times as long.
#
# **You need**: Python, to the point of reading a function, and a first idea of what a fully connected network is.
#
# **Afterwards you can**
#
# - say whether your installation can run the course, and fix it if not,
# - commit to a prediction, compare it with the result, and use a check that hints,
# - tell a result that is reproducible on any machine from one that is only yours,
# - choose your way through the lessons.
#
# Run the cells one at a time: press Shift + Enter in each.

# %% tags=["parameters"]
depth: int = 2  # number of layers of the network that is trained here
width: int = 32  # units per layer
num_epochs: int = 1  # passes over the 5,000 training images
lr: float = 0.003  # learning rate of the weights
seed: int = 0  # of initial weights and order of examples
device: str = "auto"  # auto, cpu, cuda or mps
interactive: bool = True  # controls to press; false draws plain figures instead

# %% [markdown]
# Every lesson has such a cell of **parameters**. You may change them, here or from a command line:
# `van-tutorial run 00_start_here -p num_epochs 2`.
#
# The next cell tests your installation. If it lists a part as `broken`, the last column says what to do. Did it end with
# `ModuleNotFoundError`? Then this notebook runs in another Python than the course. Choose that one in the menu *Kernel*,
# *Change Kernel*, or run `make setup` and start JupyterLab by `make lab`.

# %% tags=["nbval-ignore-output", "hide-input"]
import pandas as pd
import plotly.express as px
import torch
from IPython.display import Markdown

from van_tutorial import batch, data, exercises, models, playground, plots, training, widgets

torch.set_num_threads(1)  # small networks: more threads would mostly wait for each other
installation = widgets.installation(device)
broken = installation[installation["state"] == "broken"]
Markdown("Every part of the installation is there.") if broken.empty else broken.style.hide()

# %% [markdown]
# ## See it: a deep network loses its skips
#
# Each box is a layer. The arc over it is its **skip-connection**: a path on which the layer's input passes it by and is
# added to its output. Press **Play**. What happens to the arcs, and what to the test accuracy of the VAN meanwhile?

# %% tags=["nbval-ignore-output", "hide-input"]
chosen = {"connection": "van", "depth": 40, "dual_lr": 0.65, "stagger": 0.9}
run = next(run for run in playground.recorded() if chosen.items() <= vars(run.settings).items())
widgets.Replay(run, tuple(playground.beside(run)), has_figure=False)

# %% [markdown]
# These are recorded single runs, a third as long as those of the table. Lesson 5 says what removes the arcs, and
# in which order. Here you begin with two layers and no skip.

# %% [markdown]
# ## The idea
#
# The rest of this notebook is a very small lesson. An image $x_0$ of Fashion-MNIST shows one of ten kinds of clothing.

# %% tags=["nbval-ignore-output", "hide-input"]
images = data.load()
first = [int((images.test_labels == kind).nonzero()[0]) for kind in range(images.num_classes)]
fig = px.imshow(
    images.test_images[first, 0].numpy(), facet_col=0, facet_col_wrap=5, color_continuous_scale="gray"
)
fig.for_each_annotation(lambda note: note.update(text=images.class_names[int(note.text.partition("=")[2])]))
fig = plots.finish(fig, "Ten kinds of clothing", "One test image of each kind.", "", "")
fig.update_layout(margin_b=10).update_coloraxes(showscale=False)
fig.update_xaxes(visible=False).update_yaxes(visible=False)

# %% [markdown]
# Each image is 784 numbers. A *plain* network of `depth` $L$ transforms them layer by layer:
#
# $$x_l = f_l(x_{l-1}), \qquad l = 1 \dots L$$
#
# From $x_L$ a linear head makes ten scores, and the largest score is the network's prediction. The **test accuracy** is
# the fraction of the 1,000 test images that are classified correctly. The network never saw them in training. Chance is
# 0.10. Here $L$ is 2; in the other lessons it is 40 and more.

# %% [markdown]
# ## Predict
#
# The network will see each of the 5,000 training images once, in 39 steps of 128 images. (8 images are left over.)
# Which test accuracy will it have then? Write a number and press **Predict**. Your answer is kept in `predictions.json`
# beside this notebook. (Nothing happens in a panel before you press its button. By keyboard: Tab moves on, the arrow
# keys move a slider, the space bar presses.)

# %% tags=["nbval-ignore-output"]
prediction = widgets.Prediction("0.1", {"test accuracy after one pass": (0, 1)}, interactive=interactive)
prediction

# %% [markdown]
# ## Run

# %%
config = training.TrainConfig(num_epochs=num_epochs, lr=lr, seed=seed, device=device)
network = models.mlp(depth=depth, width=width, connection="plain", seed=seed)
result = training.train(network, images, config)

# %% [markdown]
# ## Evidence: after one pass

# %% tags=["nbval-ignore-output"]
prediction.compare({"test accuracy after one pass": result.test_accuracy})

# %% [markdown]
# Your digits depend on your processor. These statements do not, so a test compares them:

# %% tags=["keep_output", "hide-input"]
again = training.train(models.mlp(depth=depth, width=width, connection="plain", seed=seed), images, config)
exercises.findings(
    {
        "The test accuracy after one pass is at least 0.5, five times that of chance.": result.test_accuracy
        >= 0.5,
        "The same seed on the same machine gives the same accuracy.": again.test_accuracy
        == result.test_accuracy,
    }
)

# %% [markdown]
# ## Evidence: after thirty passes
#
# One run is no evidence. The same network was recorded after thirty passes, from three seeds. (`tools.record` makes every
# recording again.)

# %% tags=["keep_output", "hide-input"]
recorded = batch.recorded("degradation_mini")
two_layers = recorded.table.query("network == 'plain' and depth == 2")
two_layers.set_index("seed")[["train_accuracy", "test_accuracy"]]

# %% [markdown]
# More passes help the training set most. What is the gap between the two accuracies called? Lesson 1 begins with it.

# %% [markdown]
# ## Explore
#
# **Misconception**: *a network that has seen every image only once has learned next to nothing.* The figure begins with a
# learning rate at which that is true. Each press of **Train** trains four new networks, for 1, 2, 5 and 10 passes.
#
# 1. Look for a **learning rate** at which the sentence is false.
# 2. Then change the **seed** and nothing else, three times. How far apart are two runs of the same thing?

# %% tags=["nbval-ignore-output", "hide-input"]
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
        widgets.Slider(
            "learning_rate", "learning rate", lr / 100, 1e-6, 0.1, "The same for all four", is_log=True
        ),
        widgets.Slider("number", "seed", seed, 0, 99, "Of initial weights and order of examples"),
    ),
    label="Train",
    interactive=interactive,
)
panel

# %% [markdown]
# At the learning rate of the parameters most of the final accuracy is there after one pass. With several seeds the points
# are means and the bars standard deviations. A difference that is no larger than the bars shows nothing.
#
# **Correction**: at a suitable learning rate the network learns most in its first pass, in 39 steps. At a far smaller one the
# sentence is true. The number of passes alone does not say how much is learned.

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
# Write the accuracy as a function. `predictions` and `labels` are tensors of $N$ integers, one for each image. The check
# calls your function with tensors of its own. (Try to return the *number* of correct predictions first.)


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
# *For the instructor.* Collect the predictions on the board before anyone runs the cell. Ask for the reasons behind the
# lowest and the highest: later lessons work on them. A row that says `broken` should be fixed now; no other lesson looks
# again.

# %% [markdown]
# ## How a lesson works
#
# You have now met the parts that every lesson has:
#
# | part | what you do there |
# | --- | --- |
# | **The idea** | read one formula and one picture |
# | **Predict** | write down what you expect. Until you do, or pass, the result stays hidden, with the text that reads it. Nobody grades it |
# | **Run** | train; the code is short enough to be read |
# | **Evidence** | read what is reproducible on any machine: counts, orderings, recorded results. A test compares these outputs |
# | **Explore** | press. Each panel comes with a **misconception** that it can refute |
# | **Exercise** | replace `None` by your answer. A check says `Right` or `Not yet`, with a hint, as often as you like |
# | **Take away** | compare with what you would have said; read how far the evidence goes |
#
# An accuracy that you measure is *your* number: on another processor, or with another seed, its last digits differ.
# So single runs are no evidence here. Recorded results come with several seeds.

# %% [markdown]
# ## The course
#
# After the course you can
#
# - show on real images that deeper is not better, and say which of the usual explanations fail,
# - measure the gradients of any PyTorch network in the backward pass,
# - train a deep network with skip-connections, phase them out by Lagrange multipliers, and prove that none is left,
# - say what other methods remove, when, and at what cost, and compare them fairly,
# - run a sweep of your own, and state what it shows and what it does not.
#
# ![Ten stations in two rows: deeper is worse; why: gradients; skips repair it; must we keep them?; phasing out; how fast do they go?; other answers; convolutions and photographs; what came after; your network, your question](../assets/figures/course_map.svg)
#
# | lesson | its question | minutes |
# | --- | --- | --- |
# | [1 Degradation](01_degradation.ipynb) | Why does a deeper network do worse? | 20 |
# | [2 Vanishing and exploding](02_vanishing_exploding.ipynb) | What happens to a gradient in the backward pass through fifty layers? | 30 |
# | [3 Shattered gradients](03_shattered_gradients.ipynb) | The gradient has the right size. Does it still point anywhere? | 40 |
# | [4 Skip-connections](04_skip_connections.ipynb) | What exactly does a skip-connection repair, and which kinds are there? | 40 |
# | [5 Phasing out](05_phasing_out.ipynb) | Can a very deep network be trained with skip-connections and end up without them? | 35 |
# | [6 Multiplier dynamics](06_multiplier_dynamics.ipynb) | At which step does a skip weight reach zero, and what does its final multiplier say? | 35 |
# | [7 Dirac weights](07_dirac.ipynb) | Can the skip-connection hide inside the weights? | 35 |
# | [8 Looks linear](08_looks_linear.ipynb) | What if the network starts as a linear map? | 30 |
# | [9 Skips that point backward](09_backward_skips.ipynb) | What if a skip-connection points backward? | 30 |
# | [10 Convolutional networks](10_convolutional_van.ipynb) | Does the phase-out carry over to convolutional networks and photographs? | 35 |
# | [11 After VAN](11_after_van.ipynb) | Which other methods remove something during training: what, how, and what is left? | 35 |
# | [12 Your own network](12_your_network.ipynb) | Can the skip-connections of a network that you have written, and trained, be taken out? | 40 |
# | [13 Capstone](13_capstone.ipynb) | How does a question of your own become an experiment, and how do its runs become a claim that holds? | 60 |
# | [Playground](playground.ipynb) | What happens when a deep network loses its skip-connections while it learns? | |
#
# **Little time?** Lessons 1 and 5 hold the question and the answer. **For the theory**, go on with 3 and 6; **for
# practice** with 4, 10, 11 and 12. The [glossary](../docs/glossary.md) has the terms. For those who teach there is a plan in
# [docs/teaching.md](../docs/teaching.md).

# %% [markdown]
# ## Take away
#
# - One pass over 5,000 images takes a network of two layers most of the way. Training a *deep* network is what is hard.
# - Evidence is what is reproducible on any machine. A single accuracy is not; several seeds with their spread may be.
# - A prediction counts when it was written down before the run. A check hints as often as you like.
#
# **Next**: with thirty-eight more layers this network does worse. How can that be?
# [1 · Degradation](01_degradation.ipynb).
#
# **Limits of the evidence.** One network of one size on one small data set, trained once, and recorded from three
# seeds. Another data set may need more passes.
#
# **References.** H. Xiao, K. Rasul and R. Vollgraf (2017), *Fashion-MNIST*.

# %% tags=["nbval-ignore-output", "hide-input"]
batch.record_metrics(
    pd.DataFrame(
        {"network": [f"plain, {depth} layers"], "epochs": num_epochs, "test accuracy": result.test_accuracy}
    )
)
