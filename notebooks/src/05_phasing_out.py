# %% [markdown]
# # 5 · Phasing out
#
# *Can a very deep network be trained with skip-connections and end up without them?*
#
# In this lesson you train 40 layers with a skip around each, and remove all skips while the layers learn. You prove that
# what is left is a plain network. Then you ask what it owes its accuracy to: the loss, the multipliers, the order of
# removal, or the initialization.
#
# **So far**: a trained residual network can do without any single layer, but not without all its skips
# ([lesson 4](04_skip_connections.ipynb)). So its layers need time to learn to do without.
#
# **Time**: 35 minutes of reading and thinking; the cells take about 60 seconds on two idle processor cores.
#
# **You need**: [lesson 1](01_degradation.ipynb) (degradation) and [lesson 4](04_skip_connections.ipynb) (mixing by a skip
# weight); how to minimize a function under a constraint with a Lagrange multiplier.
#
# **Afterwards you can**
#
# - write down the constrained problem behind a *variable activation network* (VAN) and its three updates,
# - train one, read off when and how its skips were removed, and prove that the result is plain,
# - name the controls that show what the loss, the multipliers and the order contribute,
# - compare a phase-out with its rivals, networks with a better start that never have a skip.

# %% tags=["parameters"]
depth: int = 40  # number of layers, each with its own skip-connection
width: int = 32  # units per layer
num_epochs: int = 30  # passes over the 5,000 training images
lr: float = 0.003  # learning rate of the weights
skip_lr: float = 0.001  # learning rate of the skip weights
dual_lr: float = 0.0  # dual learning rate, of the multipliers; 0 sizes it from the number of steps
seed: int = 0  # of initial weights and order of examples
device: str = "auto"  # auto, cpu, cuda or mps
interactive: bool = True  # controls to press; false draws plain figures instead

# %% tags=["hide-input"]
import math
import sys

import pandas as pd
import torch
from tqdm import tqdm

from van_tutorial import batch, constraints, data, ensemble, exercises, models, plots, training, widgets

torch.set_num_threads(1)  # small networks: more threads would mostly wait for each other
images = data.load()

# %% [markdown]
# ## The idea: "no skip left" is a constraint
#
# Each layer $l$ now has a skip weight $\alpha_l$ of its own, which changes during training:
#
# $$x_l = \alpha_l \, x_{l-1} + (1 - \alpha_l) \, f_l(x_{l-1})$$
#
# At $\alpha_l = 1$ the layer is the identity, at $\alpha_l = 0$ it is plain. We want a small loss $C$, *subject to*
# $\alpha_l = 0$ in every layer. Each of these constraints has a **Lagrange multiplier** $\lambda_l$, the charge per unit
# of that skip:
#
# $$\mathcal{L}(W, \alpha, \lambda) = C(W, \alpha) + \sum_l \lambda_l \, \alpha_l$$
#
# Weights and skip weights take steps *down* the gradient of $\mathcal{L}$, and the multipliers take steps *up*:
#
# $$W \leftarrow W - \eta \, \frac{\partial C}{\partial W} \qquad
# \alpha_l \leftarrow \alpha_l - \eta_\alpha \left( \frac{\partial C}{\partial \alpha_l} + \lambda_l \right) \qquad
# \lambda_l \leftarrow \lambda_l + \eta' \, \alpha_l$$
#
# $\eta$ is the learning rate of the weights (`lr`), $\eta_\alpha$ that of the skip weights (`skip_lr`). $\eta'$ is the
# dual learning rate (`dual_lr`). After each step $\alpha_l$ is clipped to $[0, 1]$.
#
# ![One layer at three moments: with a strong skip-connection, with a fading one, and without any](../assets/figures/phasing_out.svg)
#
# > **What we know of the source.** The idea is from Monti, Tootoonian and Cao. This course was written from the abstracts
# > of their paper, not from its text. So this equation is *our reading of the abstract*, and no number below is theirs. The
# > accepted version is listed as open access at [UCL Discovery](https://discovery.ucl.ac.uk/id/eprint/10061069). The first
# > version, with its reviews, is at [OpenReview](https://openreview.net/forum?id=BJQPG5lR-). Look there for the paper's own
# > layer and results.

# %% [markdown]
# ## One skip weight: the multiplier tilts the loss
#
# First one skip weight without a network. Its loss wants it near 1: $C(\alpha) = \frac{k}{2} (1 - \alpha)^2$ with
# $k = 0.3$. The constraint wants $\alpha = 0$. `simulate_path` takes the library's own steps: skip weight down, clip,
# multiplier up. Press **Play**.

# %% tags=["nbval-ignore-output"]
k = 0.3
path = constraints.simulate_path(120, skip_weight=0.95, skip_lr=0.1, dual_lr=0.01, slope=k, curvature=k)
plots.constrained_descent(path, lambda alpha: k / 2 * (1 - alpha) ** 2)

# %% [markdown]
# **See**: the multiplier tilts the loss. The minimum moves to the left, and the point follows it. Once $\alpha$ is 0,
# nothing raises the multiplier any more, and both stay.
#
# At $\alpha = 0$ the tilted loss has the slope $\lambda - k$. So *any* multiplier of at least $k$ holds the point there.
# We call $k = -C'(0)$ the **price** of the skip. [Lesson 6](06_multiplier_dynamics.ipynb) computes the path.

# %% [markdown]
# ## In a network: a window for each layer, and a cap
#
# Two things are part of the method as it is used here, and are not in the abstract:
#
# - **Stagger.** Each layer's multiplier begins to rise later than that of the layer before. So the skips are removed
#   sequentially, from input to output (`stagger=0.9`).
# - **Cap.** An upper bound on all skip weights falls to 0 by two thirds of the training. A result says whether it had to
#   lower any.
#
# Nearest to the abstract are multipliers that rise simultaneously. You will compare both.

# %% [markdown]
# ## Predict
#
# You train three networks of the same depth and width: *plain* (no skips), *residual* (skips that stay) and *VAN* (skips
# that are phased out). Chance is 0.10. Which accuracy does each reach on the test set? And on the training set, on which
# lesson 1 defined degradation?

# %% tags=["nbval-ignore-output"]
names = ("plain", "residual", "VAN")
asked = ("plain, test", "residual, test", "VAN, test", "residual, training", "VAN, training")
prediction = widgets.Prediction("5.1", dict.fromkeys(asked, (0, 1)), interactive=interactive)
prediction

# %% [markdown]
# ## Run

# %% tags=["nbval-ignore-output"]
config = training.TrainConfig(
    num_epochs=num_epochs, lr=lr, skip_lr=skip_lr, dual_lr=dual_lr or None, seed=seed, device=device
)
results = {}
for name in names:
    network = models.mlp(depth=depth, width=width, connection=name.lower(), seed=seed)
    trainer = training.Trainer(network, images, config)
    for _ in (bar := tqdm(trainer, total=num_epochs, desc=f"{name:9s}", unit="epoch", file=sys.stdout)):
        bar.set_postfix_str(f"{models.num_skips(network)} skips left")
    results[name] = trainer.result()

# %% [markdown]
# ### Prediction and result

# %% tags=["nbval-ignore-output", "hide-input"]
test = {name: result.test_accuracy for name, result in results.items()}
on_training = {name: result.history["train_accuracy"].iloc[-1] for name, result in results.items()}
comparison = pd.DataFrame(
    {
        "network": list(results),
        "test accuracy": [round(value, 3) for value in test.values()],
        "training accuracy": [round(value, 3) for value in on_training.values()],
        "skips left": [models.num_skips(result.model) for result in results.values()],
        "removed at step": [result.removed_at_step for result in results.values()],
        "removed by": [result.removed_by for result in results.values()],
        "seconds": [round(result.seconds, 1) for result in results.values()],
    }
).convert_dtypes()
found = {f"{name}, test": value for name, value in test.items()}
found |= {f"{name}, training": on_training[name] for name in ("residual", "VAN")}
prediction.compare(
    found,
    plots.accuracy_curves({name: result.history for name, result in results.items()}),
    r"""
    **See**: on the test set (lines) the VAN dips while its first skips are removed, and recovers. The plain network, with
    the same layers and initial weights, does not get there. On the training set (markers) the VAN stays below the residual
    network.
    """,
)

# %% [markdown]
# ## Evidence: far above the plain network, on both sets

# %% tags=["keep_output", "hide-input"]
left = {name: models.num_skips(result.model) for name, result in results.items()}
exercises.findings(
    {
        "The VAN has no skip left, the residual network has all of them.": left["VAN"] == 0
        and left["residual"] == depth,
        "The multipliers removed the skips: the cap lowered none.": results["VAN"].removed_by
        == "multipliers",
        "The VAN ends at least 0.12 above the plain network, on the test set and on the training set.": min(
            test["VAN"] - test["plain"], on_training["VAN"] - on_training["plain"]
        )
        >= 0.12,
        "On the training set the VAN ends at least 0.03 below the residual network.": on_training["residual"]
        - on_training["VAN"]
        >= 0.03,
    }
)

# %% tags=["nbval-ignore-output"]
van = results["VAN"]
plots.skip_weight_map(van.layers, "Yellow: identity. Dark: plain.")

# %% [markdown]
# **See**: the skips are removed from input (bottom) to output, each in a window of its own. `stagger` sets these windows.
#
# The last skip is removed at step 761 of 1,170. The learning rate falls along a cosine, and 6.6 % of its sum is left by
# then. So the VAN does nearly all of its learning while it still has skips.

# %% [markdown]
# ## What is left is a plain network, to the last bit
#
# `collapse` removes the skips for good. It refuses while any skip weight is not 0. Two proofs follow. The outputs agree
# to the last bit. And `has_skip` searches the exported graph for a sum that joins two paths from one node, of which one
# passes fewer weights.

# %% tags=["keep_output"]
van_network = van.model.cpu()
rows = {}
for name, network in {"VAN": van_network, "VAN, collapsed": models.collapse(van_network)}.items():
    program = torch.export.export(network.eval(), (images.test_images[:2],))
    with torch.no_grad():
        difference = (network(images.test_images) - van_network(images.test_images)).abs().max().item()
    rows[name] = {
        "a skip in the graph": "yes" if models.has_skip(program) else "no",
        "skip weights": len(models.skip_weights(network)),
        "same outputs as the VAN": "yes" if difference == 0 else "no",
    }
pd.DataFrame.from_dict(rows, orient="index")

# %% [markdown]
# ## Three seeds: on the test set not told apart from the residual network
#
# One run is no evidence. Here is the same comparison over three seeds, recorded; mean ± standard deviation. *lr 0.01*
# marks the learning rate that was best on a validation set.


# %% tags=["keep_output", "hide-input"]
def mean_and_sd(values):
    return f"{values.mean():.3f} ± {values.std():.3f}"


renamed = {"van": "VAN", "van, lr 0.01": "VAN, lr 0.01"}
runs = batch.recorded("phase_out_mini").table.replace({"network": renamed})
rival = "plain, BatchNorm bias 1"  # for a later section
table = (
    runs[runs["network"] != rival]
    .groupby("network", sort=False)
    .agg(
        **{
            "training accuracy": ("train_accuracy", mean_and_sd),
            "test accuracy": ("test_accuracy", mean_and_sd),
            "skips left": ("skips_left", "max"),
        }
    )
)
table.rename_axis(None)

# %% [markdown]
# The same seed gives two networks the same order of images, so compare in pairs. With the mean $\bar d$ and the standard
# deviation $s_d$ of $n$ differences, a 95 % interval is $\bar d \pm t \, s_d / \sqrt n$. For three seeds these are
# $t = 4.30$ standard errors. The course says **level** where the whole interval is within half a point of accuracy, a
# point being 0.01. It says **not told apart** where the interval includes 0 and is wider.

# %% tags=["keep_output", "hide-input"]
pd.DataFrame(
    {
        f"the VAN on the {name} set": {
            other: batch.compare(runs, "VAN", other, column).in_words("it") for other in ("plain", "residual")
        }
        for name, column in {"training": "train_accuracy", "test": "test_accuracy"}.items()
    }
)

# %% [markdown]
# The phase-out repairs most of the degradation, but not all: on the training set the VAN reaches 0.89, the residual
# network 0.98. On the test set three seeds do not tell the two apart.

# %% [markdown]
# ## Does the loss decide when a skip is removed?
#
# A control: the same training, but $\partial C / \partial \alpha_l$ is left out of the skip weights' step
# (`TrainConfig(skip_gradient=False)`). Only multipliers and clip move them then. **Predict** how the last removal and
# the test accuracy change.

# %% tags=["nbval-ignore-output"]
prediction = widgets.Prediction(
    "5.2",
    {"last removal, change in steps": (0, 1000), "test accuracy, change": (0, 1)},
    interactive=interactive,
)
prediction

# %% tags=["nbval-ignore-output", "hide-input"]
clock = batch.recorded("clock").table
kept, left_out = "with the loss's gradient", "without the loss's gradient"
means = clock.groupby("network")[["removed_at_step", "test_accuracy"]].mean()
change = (means.loc[left_out] - means.loc[kept]).abs()
prediction.compare(dict(zip(prediction.questions, change, strict=True)))

# %% tags=["keep_output", "hide-input"]
one, other = (clock.query("network == @name").sort_values("seed") for name in (kept, left_out))
steps, others = (torch.tensor(rows["zero_steps"].tolist()) for rows in (one, other))  # seeds, layers
accuracies = batch.compare(clock, kept, left_out)
dynamics = batch.recorded("multiplier_dynamics_mini").table
default = dynamics[dynamics["experiment"] == "sequential"]
clocks = pd.concat([batch.recorded("families").table, batch.recorded("orders").table])
full = [
    batch.compare(clocks[clocks["depth"] == depth], "VAN, clock, sequentially", f"sequentially, {left_out}")
    for depth in (40, 100)
]
exercises.findings(
    {
        "No layer's step changes by more than 3.": bool((steps - others).abs().max() <= 3),
        f"The accuracies are {accuracies.in_words('each other')}.": accuracies.low < 0.0 < accuracies.high,
        "The median multiplier ends over 1,000 times above the median size of the loss's gradient at α = 0.": bool(
            default["multiplier"].median() > 1000 * default["price"].abs().median()
        ),
        "Nor does the loss's gradient change the accuracy on all of Fashion-MNIST, at depths 40 and 100.": all(
            found.low > -0.005 and found.high < 0.005 for found in full
        ),
    }
)

# %% tags=["nbval-ignore-output", "hide-input"]
prediction.show(
    r"""
    So this phase-out is a **clock**. The multipliers soon exceed $\partial C / \partial \alpha_l$ by far, and the loss has
    next to no influence on the skip weights. From the step $t_l$ on at which a multiplier may rise,

    $$\alpha_l(t) \approx \alpha_0 \cos \big( \omega \, (t - t_l) \big) \qquad \omega = \sqrt{\eta_\alpha \, \eta'}$$

    It is 0 after $\pi / (2 \omega)$ steps, independent of the loss. What does depend on the loss is how well the layers
    learn meanwhile.
    """
)

# %% [markdown]
# ## In which order should the skips be removed?
#
# Since the loss does not set the order, you do: all skips simultaneously, from input to output, or from output to input.
# The three networks have the same time for it. **Predict** which ends highest and which lowest on the test set.

# %% tags=["nbval-ignore-output"]
orders = {"simultaneous": 0.0, "input to output": 0.9, "output to input": -0.9}
prediction = widgets.Prediction(
    "5.3", dict.fromkeys(("highest", "lowest"), tuple(orders)), interactive=interactive
)
prediction

# %% [markdown]
# Networks of one shape can be trained *together* (`ensemble`): their weights are stacked, and every layer of all of them
# is one call. The numbers are those of separate runs.

# %% tags=["nbval-ignore-output"]
configs = [
    training.TrainConfig(
        num_epochs=num_epochs, lr=lr, skip_lr=skip_lr, stagger=stagger, seed=seed, device=device
    )
    for stagger in orders.values()
]
networks = [models.mlp(depth=depth, width=width, seed=seed) for _ in orders]
in_order = dict(zip(orders, ensemble.train(networks, images, configs), strict=True))
final = {name: result.test_accuracy for name, result in in_order.items()}
prediction.compare(
    {"highest": max(final, key=final.get), "lowest": min(final, key=final.get)},
    plots.accuracy_curves({name: result.history for name, result in in_order.items()}),
)

# %% tags=["keep_output", "hide-input"]
exercises.findings(
    {
        "No network has a skip left.": not any(
            models.num_skips(result.model) for result in in_order.values()
        ),
        "Input to output is ahead of both other orders.": max(final, key=final.get) == "input to output",
    }
)

# %% tags=["nbval-ignore-output", "hide-input"]
prediction.show(
    r"""
    **See**: the simultaneous network breaks down as all of its skips fade, and recovers in part. Eight recorded seeds agree
    on the other two: input to output ends at 0.846, output to input at 0.781 ([lesson 6](06_multiplier_dynamics.ipynb)).

    Why? A layer without its skip is as good as its input. Next to the network's input that is an image, and all later layers
    still have their skips. That is our reading, not a proof.
    """
)

# %% [markdown]
# ## A schedule in the same order does as well
#
# If the multipliers are a clock, a formula in their place could set $\alpha_l$ directly. It may follow a cosine or a line,
# or stay constant until it is cut to 0. Such schedules and multipliers were recorded on the full data set, with the
# initialization of the next section. The latest step of removal is the same. Test accuracy, mean ± standard deviation:

# %% tags=["keep_output", "hide-input"]
schedules = batch.recorded("schedules").table.query("damping == 0 and dual_lr_spread == 1")
schedules = schedules.assign(
    order=schedules["stagger"].map({0.0: "simultaneous", 0.9: "input to output"}),
    rule=schedules["skip_schedule"].replace({"cut": "constant, then 0"}),
)
schedules["network"] = schedules["rule"] + ", " + schedules["order"]
means = schedules.pivot_table("test_accuracy", "rule", ["order", "depth"], mean_and_sd, sort=False)
means.sort_index(axis="columns").rename_axis(None).astype(object).fillna("–")

# %% tags=["keep_output", "hide-input"]
ordered = "multipliers, input to output"


def above(other, layers):
    return batch.compare(schedules.query("depth == @layers"), ordered, other)


sequential = schedules[schedules["order"] == "input to output"].groupby("depth")["network"].unique()
pairs = [above(name, layers) for layers, names in sequential.items() for name in names if name != ordered]
exercises.findings(
    {
        "From input to output, no schedule is told apart from the multipliers, at depth 40 and at 100.": all(
            pair.low < 0.0 < pair.high for pair in pairs
        ),
        "Multipliers that rise simultaneously end lower, at depth 40 and at 100.": all(
            above("multipliers, simultaneous", layers).low > 0.0 for layers in (40, 100)
        ),
    }
)

# %% [markdown]
# So you *can* just schedule them. With these settings the order is worth 1.0 points at depth 40 and 5.9 at depth 100; with
# the best of sixteen settings for each order, 0.7 and 1.3 ([docs/evidence.md](../docs/evidence.md)). What multipliers add is a
# rule: each rises until its skip is removed, however high the price.

# %% [markdown]
# ## Is it the phase-out, or the initialization?
#
# A better initialization may do what the phase-out does. With a BatchNorm bias of 1 (`models.mlp(norm_shift=1.0)`) ReLU
# passes five sixths of the normalized values. So each layer is initialized closer to linear. Then the fair rival is a
# *plain* network with a larger bias. **Predict** the test accuracy at depth 100, on the full data set.

# %% tags=["nbval-ignore-output"]
rivals = [f"plain, BatchNorm bias {bias}" for bias in range(3)] + ["VAN, BatchNorm bias 2"]
prediction = widgets.Prediction("5.4", dict.fromkeys(rivals, (0, 1)), interactive=interactive)
prediction

# %% tags=["nbval-ignore-output", "hide-input"]
deep = batch.recorded("start").table.query("validation_fraction == 0 and depth == 100")
prediction.compare(deep.groupby("network")["test_accuracy"].mean()[rivals].to_dict())

# %% tags=["keep_output", "hide-input"]
columns = ("train_accuracy", "test_accuracy")
pairs = [batch.compare(runs, "VAN", rival, column) for column in columns]
tuned = batch.compare(deep, rivals[3], rivals[2])
exercises.findings(
    {
        f"With bias 2, at depth 100, the VAN is {tuned.in_words('the plain network')}.": tuned.low > -0.005
        and tuned.high < 0.005,
        f"On the images of this lesson, at depth 40, the VAN is not told apart from *{rival}*, on either set.": all(
            pair.low < 0.0 < pair.high for pair in pairs
        ),
    }
)

# %% tags=["nbval-ignore-output", "hide-input"]
prediction.show(
    r"""
    With a bias of 2 the *plain* network of 100 layers reaches 0.863, and the VAN 0.866. Compared with the plain
    network with bias 1 alone, the VAN would seem 12 points ahead. That would set a tuned method against an untuned rival.

    At this depth three seeds show nothing that the phase-out adds to this start. At depth 40, with bias 1 for both, five
    seeds show half a point; but with the best of sixteen settings for each, the plain network is 0.4 points ahead
    ([docs/evidence.md](../docs/evidence.md)).
    """
)

# %% [markdown]
# ## What does a phase-out add to a better start?
#
# A BatchNorm bias is one better start of several. *Dirac* puts an identity into the weight
# ([lesson 7](07_dirac.ipynb)), *looks-linear* is exactly linear at first ([lesson 8](08_looks_linear.ipynb)), *TAT*
# takes a leaky ReLU, the nearer to linear the deeper the network (Zhang, Botev and Martens 2022). None has a skip.
#
# Each row is a start, each column says what becomes of its skips. Test accuracy at depth 100 on the full data set; each
# family has the best of the same sixteen trials, and five fresh seeds (all: [docs/evidence.md](../docs/evidence.md)):

# %% tags=["keep_output", "hide-input"]
deep = batch.recorded("families").table.query("depth == 100")
starts = {
    "He or orthogonal": ("residual", "plain", "VAN, clock, sequentially"),
    "TAT": (None, "plain, TAT", "VAN, TAT"),
    "Dirac": (None, "Dirac", "VAN, Dirac"),
    "looks-linear": (None, "looks-linear", None),
}
accuracies = deep.groupby("network")["test_accuracy"].agg(mean_and_sd)
columns = ["skips kept", "never a skip", "skips phased out"]
table = pd.DataFrame({start: map(accuracies.get, names) for start, names in starts.items()}, columns).T
added = {start: batch.compare(deep, van, never) for start, (_, never, van) in starts.items() if van}
table["phased out, against never"] = pd.Series({start: pair.in_words("it") for start, pair in added.items()})
table.astype(object).fillna("–")

# %% tags=["keep_output", "hide-input"]
best = "looks-linear"
beside = {name: batch.compare(deep, name, best) for name in deep["network"].unique() if name != best}
exercises.findings(
    {
        f"The {best} network, which never has a skip, ends above the residual one.": beside["residual"].high
        < 0.0,
        "It ends above every network whose skips are phased out.": all(
            pair.high < 0.0 for name, pair in beside.items() if name.startswith("VAN")
        ),
        "On top of TAT or Dirac no gain in test accuracy is found.": all(
            added[start].low <= 0.0 for start in ("TAT", "Dirac")
        ),
    }
)

# %% [markdown]
# So what does a skip do? **It makes the start good**: signal and gradient pass all layers from the first step on. A start
# that does so by itself leaves a phase-out little to add. (Looks-linear networks have 1.7 times the weights of the residual
# ones. None of the sixteen draws has a bias of 2, which suits plain networks with ReLU best: with it, above, they are level
# with the VAN.)
#
# And at 110 convolutional layers? See [lesson 10](10_convolutional_van.ipynb). Where you cannot choose the start, since
# the network is trained already, [lesson 12](12_your_network.ipynb) takes its skips out.

# %% [markdown]
# ## Explore
#
# **Misconception**: *the multipliers find out which skips are needed least, and remove those first.* Try it in the
# playground: each box is a layer, the arc over it its skip, as strong as its skip weight. Change **dual learning rate**
# by a factor of ten, **order** and **depth**, and press **Train**. Does any skip reach zero earlier or later than the
# clock says? And what does hurrying cost?

# %% tags=["nbval-ignore-output", "hide-input"]
panel = widgets.playground_panel(
    images, depth=depth, width=width, num_epochs=max(1, num_epochs // 3), seed=seed, interactive=interactive
)
panel

# %% [markdown]
# **See**: the arcs fade, those next to the input first. The dotted line over the map of skip weights is the clock's
# prediction. **moment** takes everything back to any step, and **Pin** keeps a run beside the next.
#
# **Correction**: order and time of the removal are settings. Over orders of magnitude of the dual learning rate the loss
# hardly changes when a skip weight first reaches 0.

# %% [markdown]
# ## Exercise 1 · Hurry
#
# Let all multipliers rise simultaneously, without a cap. Choose a dual learning rate with which the *last* skip weight
# reaches zero between 20 % and 40 % of the training. (Which formula above gives that step?)

# %% tags=["nbval-ignore-output"]
num_steps = van.num_steps
### solution
my_dual_lr = (math.pi / (2 * 0.3 * num_steps)) ** 2 / skip_lr
### stub
# my_dual_lr = None  # your number
### end
my_result = None
if my_dual_lr is not None:
    hurried = training.TrainConfig(
        num_epochs=num_epochs,
        lr=lr,
        skip_lr=skip_lr,
        dual_lr=my_dual_lr,
        stagger=0.0,  # simultaneously
        remove_by=None,  # no cap
        seed=seed,
        device=device,
    )
    my_result = training.train(models.mlp(depth=depth, width=width, seed=seed), images, hurried)
exercises.check_removal_window(my_result, earliest=0.2, latest=0.4)

# %% [markdown]
# ## Exercise 2 · Did hurrying cost anything?
#
# "By hurrying I lost … of test accuracy." Compare with a network in the same order, the simultaneous one of the three
# orders. Then say whether order or time counts more here. (One run against one is no evidence. `van-tutorial sweep` runs
# this lesson with many seeds, and `van-tutorial report` draws the results.)

# %% tags=["nbval-ignore-output"]
unhurried = in_order["simultaneous"]
### solution
my_cost = None if my_result is None else unhurried.test_accuracy - my_result.test_accuracy
### stub
# my_cost = None  # your number, positive where accuracy was lost
### end
exercises.check_cost(my_cost, unhurried, my_result)

# %% [markdown] tags=["solution"]
# *For the instructor.* Exercise 1: $\pi / (2 \omega)$ in the middle of the window. Exercise 2: compared with the sequential
# network, order and time would differ together. With three seeds hurrying cost about as much as the order. Lesson 6 and
# docs/evidence.md show it for more seeds: a larger dual learning rate ends lower.

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
# - "No skip left" is a constraint. Its multipliers rise while a skip is present. Under the clip any multiplier at or above
#   the price holds the skip weight at 0.
# - The result is a plain network, to the last bit, far above the one trained plain from the same initial weights. On the
#   training set it stays below the residual network.
# - At the usual learning rates the multipliers are a clock: a skip weight reaches 0 after $\pi / (2 \omega)$ steps, with the
#   loss's gradient or without it. A schedule in the same order is not told apart from them.
# - The order counts. Sequential removal, from input to output, is a setting, and part of the method used here.
# - Most of what a skip gives is a good start. From the best starts (looks-linear, Dirac, TAT) a network needs no skip at any time.
#   On top of Dirac or TAT no gain of a phase-out is found.
#
# **Next**: can one compute beforehand *at which step* a skip weight reaches zero? And what does the final value of a
# multiplier mean? [6 · Multiplier dynamics](06_multiplier_dynamics.ipynb).
#
# **Limits of the evidence.** One small data set (5,000 training images), one depth and width, three seeds. These images
# hardly need depth: one linear layer reaches 0.84 on the test set and 0.92 on the training set. Little learning rate is
# left for the plain network, and longer training without skips was hardly tried. Learning rates and order were chosen on
# a validation set, not on the test set. The families had sixteen trials of one seed each. The layer equation is our reading of an abstract.
#
# **References.** R. P. Monti, S. Tootoonian and R. Cao (2018), *Avoiding degradation in deep feed-forward
# networks by phasing out skip-connections*, ICANN, LNCS 11141, 447–456. · K. He, X. Zhang, S. Ren and J. Sun
# (2016), *Deep residual learning for image recognition*, CVPR. · J. C. Platt and A. H. Barr (1987), *Constrained
# differential optimization*, NIPS. · G. Zhang, A. Botev and J. Martens (2022), *Deep learning without shortcuts:
# shaping the kernel with tailored rectifiers*, ICLR (TAT). · H. Xiao, K. Rasul and R. Vollgraf (2017), *Fashion-MNIST*.

# %% tags=["nbval-ignore-output", "hide-input"]
batch.record_metrics(comparison)
