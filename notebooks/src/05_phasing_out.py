# %% [markdown]
# # 5 · Phasing out
#
# *Can a very deep network be trained with skip-connections and end up without them?*
#
# **So far**: a trained residual network can do without any single layer, but not without all its skips
# ([lesson 4](04_skip_connections.ipynb)). So we remove the skips slowly, while the layers learn.
#
# **Time**: 35 minutes of reading and thinking; the cells take about 75 seconds on two processor cores.
#
# **You need**: [lesson 1](01_degradation.ipynb) (degradation) and [lesson 4](04_skip_connections.ipynb) (mixing by a skip
# weight); how to minimize a function under a constraint with a Lagrange multiplier.
#
# **Afterwards you can**
#
# - write down the constrained problem behind a *variable activation network* (VAN) and its three updates,
# - train one, and read off when its skips were removed, and how,
# - turn it into a plain network and prove that the two are the same,
# - say what the loss decides in a phase-out and what it does not, and name the control that shows it,
# - compare a phase-out with its simplest rival, a plain network with a better initialization,
# - train a grid of dual learning rates together, and find in it those that left a plain network.

# %% tags=["parameters"]
depth: int = 40  # number of layers, each with its own skip-connection
width: int = 32  # units per layer
num_epochs: int = 30  # passes over the 5,000 training images
lr: float = 0.003  # learning rate of the weights
skip_lr: float = 0.001  # learning rate of the skip weights
dual_lr: float = 0.0  # dual learning rate, of the multipliers; 0 sizes it from the number of steps
num_networks: int = 16  # VANs in the grid of dual learning rates, trained together; from 2 on
seed: int = 0  # of initial weights and order of examples
device: str = "auto"  # auto, cpu, cuda or mps
interactive: bool = True  # controls to press; false draws plain figures instead

# %%
import sys

import pandas as pd
import torch
from tqdm import tqdm

from van_tutorial import (
    batch,
    constraints,
    data,
    diagnostics,
    ensemble,
    exercises,
    models,
    plots,
    training,
    widgets,
)

torch.set_num_threads(1)  # small networks: more threads would mostly wait for each other
images = data.load()

# %% [markdown]
# ## The idea
#
# Must the skips stay? Lessons 3 and 4 gave all layers one fixed skip weight. Now each layer $l$ has its own skip weight
# $\alpha_l$, which changes during training:
#
# $$x_l = \alpha_l \, x_{l-1} + (1 - \alpha_l) \, f_l(x_{l-1})$$
#
# At $\alpha_l = 1$ the layer is the identity, at $\alpha_l = 0$ it is a plain layer. State the aim as a **constraint**:
# make the loss $C$ small, *subject to* $\alpha_l = 0$ in every layer. Each constraint has a **Lagrange multiplier**
# $\lambda_l$, the charge per unit of that skip:
#
# $$\mathcal{L}(W, \alpha, \lambda) = C(W, \alpha) + \sum_l \lambda_l \, \alpha_l$$
#
# Weights and skip weights take steps *down* the gradient of $\mathcal{L}$, and the multipliers take steps *up*:
#
# $$W \leftarrow W - \eta \, \frac{\partial C}{\partial W} \qquad
# \alpha_l \leftarrow \alpha_l - \eta_\alpha \left( \frac{\partial C}{\partial \alpha_l} + \lambda_l \right) \qquad
# \lambda_l \leftarrow \lambda_l + \eta' \, \alpha_l$$
#
# with the learning rates $\eta$ (`lr`), $\eta_\alpha$ (`skip_lr`) and the dual learning rate $\eta'$ (`dual_lr`). A
# multiplier rises while its skip is present, and pulls $\alpha_l$ down. After each step $\alpha_l$ is clipped to $[0, 1]$.
#
# **In practice this is a clock.** At the learning rates used here $\lambda_l$ soon exceeds $\partial C / \partial \alpha_l$
# by far. The loss then has next to no influence on a skip weight. From the step $t_l$ on at which its multiplier may rise,
#
# $$\alpha_l(t) \approx \alpha_0 \cos \big( \omega \, (t - t_l) \big) \qquad \omega = \sqrt{\eta_\alpha \, \eta'}$$
#
# so it reaches zero after $\pi / (2 \omega)$ steps, whatever the loss says ([lesson 6](06_multiplier_dynamics.ipynb)
# derives it). A control below tests that.
#
# ![One layer at three moments: with a strong skip-connection, with a fading one, and without any](../assets/figures/phasing_out.svg)
#
# > **What we know of the source.** The idea is from Monti, Tootoonian and Cao. This course was written from the abstracts
# > of their paper, not from its text. So this equation is *our reading of the abstract*, and no number below is theirs. We
# > compare with plain and residual networks that we train ourselves. The accepted version is listed as open access at
# > [UCL Discovery](https://discovery.ucl.ac.uk/id/eprint/10061069). The first version, with its reviews, is at
# > [OpenReview](https://openreview.net/forum?id=BJQPG5lR-). Look there for the paper's own layer and results.
# >
# > Part of the method used here is not in the abstract: the *order*. By default each layer's multiplier starts later than
# > that of the layer before (`stagger`), so that skips are removed sequentially, from input to output. Nearest to the
# > abstract is simultaneous removal, which stands beside it below.

# %% [markdown]
# ## Predict
#
# Three networks of the same depth and width are about to be trained with the same settings: *plain* (no skips),
# *residual* (skips that stay) and *VAN* (skips that are phased out). Ten classes: chance is 0.10.
# Write down what test accuracy you expect of each, and where the VAN will end: near the plain network, near the
# residual one, or between?

# %%
my_prediction = {"plain": None, "residual": None, "van": None}  # your numbers from 0 to 1, in place of None

# %% [markdown]
# ## Run
#
# Training is an iterator of records, so this loop could do anything with each of them. It only shows a bar.

# %% tags=["nbval-ignore-output"]
config = training.TrainConfig(
    num_epochs=num_epochs, lr=lr, skip_lr=skip_lr, dual_lr=dual_lr or None, seed=seed, device=device
)
results = {}
for connection in ("plain", "residual", "van"):
    network = models.mlp(depth=depth, width=width, connection=connection, seed=seed)
    trainer = training.Trainer(network, images, config)
    bar = tqdm(trainer, total=num_epochs, desc=f"{connection:9s}", unit="epoch", file=sys.stdout)
    for record in bar:
        skips = models.num_skips(network)
        bar.set_postfix_str(f"test accuracy {record.test_accuracy:.3f}, {skips} skips left")
    results[connection] = trainer.result()

# %% [markdown]
# ## Evidence
#
# Reproducible on any machine: how many skips are left, and which network is better.

# %% tags=["keep_output"]
accuracy = {name: result.test_accuracy for name, result in results.items()}
for name, result in results.items():
    print(f"{name:9s} skips left: {models.num_skips(result.model)} of {depth}")
print("the VAN ends at least 0.12 above the plain network:", accuracy["van"] - accuracy["plain"] >= 0.12)

# %% [markdown]
# ### Prediction and result
#
# *Removed at step* is the step since which every skip weight has been 0. *Removed by* says how. An upper bound on the
# skip weights, the cap, falls to 0 by two thirds of the training. `cap` means that it lowered at least one skip weight.
# `multipliers` means that it did not have to. That does not mean that the loss decided anything: multipliers can be a
# clock.

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
# First the skips. **See**: they are removed sequentially, from input (bottom) to output. Each layer has a window of its
# own, in which its multiplier may rise. The first window opens at step 0, the last after nine tenths of the time allowed
# for the removal (`stagger` 0.9). This order was set by us, not found by the multipliers. Whether it is a good one you will
# see below.

# %% tags=["nbval-ignore-output"]
van = results["van"]
plots.skip_weight_map(van.layers, "Yellow: identity. Dark: plain. Removed from input to output.")

# %% [markdown]
# Then the multipliers. **See**: each waits for its window, rises only while its skip is present, and keeps its value
# once the skip weight is 0.

# %% tags=["nbval-ignore-output"]
plots.multiplier_range(van.layers)

# %% [markdown]
# Then the accuracy. **See**: on the test set (line) the VAN dips while its first skips are removed, recovers, and may dip
# again near the last ones. The network trained plain, with the same layers and the same initial weights, does not get
# there.
#
# What you do *not* see is a plain network that learns for long. The cosine schedule has spent most of the learning rate by
# then. When the last skip is removed, at step 761 of 1,170, 6.6 % of the summed learning rate is left. So the VAN did most
# of its learning while it still had skips.

# %% tags=["nbval-ignore-output"]
plots.accuracy_curves({name: result.history for name, result in results.items()})

# %% [markdown]
# Last the gradients at the end of training, at the output of each layer. **See**: in the plain network the gradient grows
# in the backward pass, towards the input. In the VAN, now a plain network of the same layers, it keeps its size.

# %% tags=["nbval-ignore-output"]
norms = {}
for name, result in results.items():
    where = next(result.model.parameters()).device
    norms[name] = diagnostics.layer_norms(
        result.model, images.test_images[:256].to(where), images.test_labels[:256].to(where)
    )
plots.layer_norm_curves(norms)

# %% [markdown]
# ## Is it really a plain network?
#
# `collapse` removes the skips for good. It refuses while any skip weight is not 0. Then two proofs. The outputs agree to
# the last bit. And in the exported graph no sum joins two paths from one node, of which one passes fewer weights.

# %% tags=["keep_output"]
van_network = van.model.cpu()
plain_twin = models.collapse(van_network)
with torch.no_grad():
    difference = (van_network(images.test_images) - plain_twin(images.test_images)).abs().max().item()
print("largest difference between the outputs:", difference)
for name, network in {"VAN": van_network, "collapsed VAN": plain_twin}.items():
    program = torch.export.export(network.eval(), (images.test_images[:2],))
    print(f"a skip-connection in the graph of the {name}:", models.has_skip(program))
print("skip weights held by the collapsed network:", len(models.skip_weights(plain_twin)))

# %% [markdown]
# ## One run is no evidence
#
# The same comparison over three seeds, recorded, with the command that makes it again. *sd* is the standard deviation over
# the seeds. *lr 0.01* marks the learning rates that were best on a validation set; lesson 13 shows how they were chosen.
# *Plain, shifted* is a plain network that is initialized closer to linear (BatchNorm bias 1), a rival to which we come
# below.

# %% tags=["keep_output"]
recorded = batch.recorded("phase_out_mini")
print(recorded.summary().round(3).to_string(index=False))
vans = recorded.table[recorded.table["network"].str.startswith("van")]
print("VAN: skips left in any run:", int(vans["skips_left"].max()))
print("made by:", recorded.command)

# %% [markdown]
# How much do three seeds show? The same seed gives two networks the same order of images, so compare in pairs. With the
# mean $\bar d$ and the standard deviation $s_d$ of $n$ differences, a 95 % interval is $\bar d \pm t \, s_d / \sqrt n$, with
# $t = 4.30$ for three seeds. (Two standard errors would cover 82 % only.) The course says **level** where the whole interval
# is within half a point of accuracy, a point being 0.01. It says *not told apart* where the interval includes 0 and is
# wider.

# %% tags=["keep_output"]
for other in ("plain", "residual", "plain, shifted"):
    print("van:", batch.compare(recorded.table, "van", other).in_words(other))

# %% [markdown]
# (In brackets the interval, in points.) The VAN ends far above the network that was trained plain from the same initial
# weights. It is not told apart from the residual network. Nor is it told apart from the plain network that was initialized
# closer to linear.

# %% [markdown]
# ## Does the loss decide when a skip is removed?
#
# The control: the same training, but the step of the skip weights leaves $\partial C / \partial \alpha_l$ out
# (`TrainConfig(skip_gradient=False)`). Only multipliers and clip move them then. **Predict**: by how many steps does the
# last removal move, and by how much does the test accuracy change?

# %%
my_control = {"last removal, difference in steps": None, "test accuracy, difference": None}

# %% tags=["keep_output"]
clock = batch.recorded("clock")
kept, left_out = "with the loss's gradient", "without the loss's gradient"
by_control = clock.table.groupby("network")
print(by_control.agg(removed_at_step=("removed_at_step", "mean"), accuracy=("test_accuracy", "mean"),
                     sd=("test_accuracy", "std"), seeds=("seed", "count")).round(3).to_string())  # fmt: skip
print("accuracy, kept:", batch.compare(clock.table, kept, left_out).in_words("left out"))
one, other = (clock.table.query("network == @name").sort_values("seed") for name in (kept, left_out))
steps, others = (torch.tensor(rows["zero_steps"].tolist()) for rows in (one, other))  # seeds, layers
print("largest change of a layer's step:", (steps - others).abs().max().item())
dynamics = batch.recorded("multiplier_dynamics_mini")
default = dynamics.table.query("experiment == 'sequential'")
late = (default["first_zero_step"] - default["predicted_step"]).abs().max()
print("largest distance of a layer's step from the clock's:", int(late))
print("median multiplier at the end:", round(default["multiplier"].median(), 1))
print("median size of the loss's gradient at alpha = 0:", round(default["price"].abs().median(), 3))
print("made by:", clock.command, "and", dynamics.command)

# %% tags=["nbval-ignore-output"]
means = by_control[["removed_at_step", "test_accuracy"]].mean()
change = (means.loc[left_out] - means.loc[kept]).abs()
exercises.beside(my_control, dict(zip(my_control, change, strict=True)))

# %% [markdown]
# No layer's step changes by more than 3, and every run ends its removal at the same step, 761. The accuracies are not told
# apart, though three seeds leave a difference of a few points open. So the multipliers do not find out which skips the loss can spare: the learning rates set
# the time, before the training. What *does* depend on the loss is how well the layers learn meanwhile.
#
# ### And a penalty of fixed strength?
#
# Do we need multipliers that rise? A linear penalty $c \sum_l \alpha_l$ pulls with the constant $c$. The loss pulls back with at
# most the largest **price** $-\partial C / \partial \alpha_l$. Under the clip any $c$ above that is exact: $\alpha_l$ falls to
# 0 and stays there. If $c$ alone moves it, it takes $\alpha_0 / (\eta_\alpha \, c)$ steps. Recorded, all layers
# simultaneously, without a cap:

# %% tags=["keep_output"]
constant = dynamics.table.query("experiment == 'constant'")
print(constant.groupby("multiplier").agg(
    predicted=("predicted_step", "first"), earliest=("first_zero_step", "min"),
    median=("first_zero_step", "median"), latest=("first_zero_step", "max"),
    returned=("largest_again", lambda again: int((again > 0).sum())), largest=("largest_again", "max"),
    left=("final_skip_weight", lambda alpha: int((alpha > 0).sum())), layers=("layer", "size"),
    accuracy=("test_accuracy", "mean")).round(3).to_string())  # fmt: skip

# %% [markdown]
# So a fixed strength need not be tuned just right. With 3 and with ten times as much, every skip weight reaches zero once,
# most of them near the predicted step. But in some layers next to the input the loss pulled harder for a while, and skip
# weights returned. Five of the six runs end with one or two skips, so neither strength was above every price. Nobody knows
# that bound beforehand. Multipliers that rise need none: where a skip weight returns they rise further. They need time for
# it, and without a cap one to three skips are left in some runs on the full data set. The cap is what makes sure. (The
# accuracies are low because all skips are removed early and simultaneously.)

# %% [markdown]
# ## Explore
#
# **Misconception**: *the multipliers find out which skips are needed least, and remove those first.* Try it in the
# playground: each box is a layer, the arc over it its skip, as strong as its skip weight. Change the **dual learning
# rate** by a factor of ten either way, **order**, and **depth**. Read what is *predicted*, and press
# **Train**. Does any skip reach zero earlier or later than the clock says? And what does hurrying cost?
#
# **See**: the arcs fade, those next to the input first. **order** sets which are removed first: at 0 all simultaneously,
# below 0 from output to input. The dotted line over the map of skip weights is the clock's prediction for each layer. The
# slider **moment** takes everything back to any step, and **Pin** keeps a run in the charts beside the next.

# %% tags=["nbval-ignore-output"]
panel = widgets.playground_panel(
    images, depth=depth, width=width, num_epochs=max(1, num_epochs // 3), seed=seed, interactive=interactive
)
panel

# %% [markdown]
# ## Exercise 1 · Hurry
#
# Let all multipliers rise simultaneously (`stagger=0.0`), and choose a dual learning rate with which the *last* skip
# weight reaches zero between 20 % and 40 % of the training. There is no cap here. `constraints.size_dual_lr` sizes it for
# a given step (lesson 6 says how).

# %% tags=["nbval-ignore-output"]
num_steps = results["van"].num_steps
### solution
my_dual_lr = constraints.size_dual_lr(0.3 * num_steps, skip_lr=skip_lr)
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
# ## Exercise 2 · What did hurrying cost?
#
# "By hurrying I lost … of test accuracy." Give the number, and say why it has that sign.

# %% tags=["nbval-ignore-output"]
### solution
my_cost = None if my_result is None else van.test_accuracy - my_result.test_accuracy
### stub
# my_cost = None  # test accuracy of the unhurried VAN less that of yours
### end
exercises.check_cost(my_cost, van, my_result)

# %% [markdown] tags=["solution"]
# *For the instructor.* Where hurrying cost accuracy, a likely reading: the layers lost their skips before their weights had
# learned to carry the signal alone. What followed was the training of a plain network from a poor initialization. It is
# one run against another: ask for more seeds before anyone calls it a law.

# %% [markdown]
# ## A grid of dual learning rates
#
# You have tried some dual learning rates, one at a time. Networks of one shape can be trained *together*: their weights
# are stacked, and every layer of all of them is one call. Each still has its own multipliers, learning rates and order of
# examples, and its numbers are those of a run of its own. So here is the whole grid, over five powers of ten, with
# simultaneous removal and without a cap.
#
# **Predict** before you run it: with which dual learning rate, from 0.0001 to 10, is the accuracy best, with which worst?
# And is every network between the two ends between them in accuracy as well?

# %%
my_grid = {"best dual learning rate": None, "worst dual learning rate": None, "all between the ends": None}

# %% tags=["nbval-ignore-output"]
grid = [
    training.TrainConfig(
        num_epochs=max(1, num_epochs // 2),
        lr=lr,
        skip_lr=skip_lr,
        dual_lr=rate,
        stagger=0.0,  # simultaneously
        remove_by=None,  # no cap
        seed=seed,
        device=device,
    )
    for rate in torch.logspace(-4, 1, num_networks).tolist()
]
networks = [models.mlp(depth=depth, width=width, seed=seed) for _ in grid]
together = ensemble.Trainer(networks, images, grid)
bar = tqdm(together, total=grid[0].num_epochs, desc=f"{num_networks} together", unit="epoch", file=sys.stdout)
for _ in bar:
    bar.set_postfix_str(f"{sum(models.num_skips(network) == 0 for network in networks)} without a skip")
grid_results = together.results()

# %% [markdown]
# Reproducible on any machine: the larger the dual learning rate, the sooner the last skip weight reaches zero.

# %% tags=["keep_output"]
print("networks trained together, one for each dual learning rate:", len(grid_results) == num_networks)
last_removed = [
    max(result.first_zero_steps) for result in grid_results if None not in result.first_zero_steps
]  # of those networks in which every skip weight was 0 at some step
is_sooner = last_removed == sorted(last_removed, reverse=True)
print("the larger the dual learning rate, the sooner the last skip weight reaches zero:", is_sooner)

# %% [markdown]
# **See**: three regions. On the left the skips stay and the network does well, but it is no plain network. In the middle
# the training ends during the phase-out, and the result can be worse than its neighbours. On the right every skip weight
# has been 0. Accuracies are mostly lower there, though not in the order of the dual learning rates. *Some skips left* among those means that a weight which had been 0 has left it a little, for no cap holds it there. Choose
# *among the networks without a skip*.

# %% tags=["nbval-ignore-output"]
left = [models.num_skips(result.model) for result in grid_results]
fates = pd.DataFrame(
    {
        "network": [
            "no skip left" if number == 0 else "some skips left" if number < depth else "every skip left"
            for number in left
        ],
        "dual learning rate": [config.dual_lr for config in grid],
        "test accuracy": [result.test_accuracy for result in grid_results],
    }
)
plots.measure_curves(
    fates,
    "test accuracy",
    "Test accuracy by dual learning rate",
    "test accuracy",
    caption="Each point is a network of its own; all were trained together.",
    over="dual learning rate",
).update_xaxes(type="log")

# %% tags=["nbval-ignore-output"]
by_rate = fates.set_index("dual learning rate")["test accuracy"]
ends = by_rate.iloc[[0, -1]]
is_between = bool(by_rate.between(ends.min(), ends.max()).all())
extremes = {"best dual learning rate": by_rate.idxmax(), "worst dual learning rate": by_rate.idxmin()}
exercises.beside(my_grid, extremes | {"all between the ends": is_between})

# %% [markdown]
# **Set right**, with Explore and this grid before you: order and time of the removal are settings. Over orders of magnitude
# of the dual learning rate the loss hardly changes when a skip weight first reaches 0. The accuracy depends on both; why,
# was not measured.
#
# %% [markdown]
# ## Which skip can be removed first?
#
# Simultaneously, sequentially from input to output, or sequentially from output to input? The three networks have the same
# time for it, and every skip is removed. **Predict** the order of their accuracies, best first.

# %%
my_order = [None, None, None]  # "simultaneous", "input to output" and "output to input", the best one first

# %% tags=["nbval-ignore-output"]
orders = {"simultaneous": 0.0, "input to output": 0.9, "output to input": -0.9}
configs = [
    training.TrainConfig(
        num_epochs=num_epochs, lr=lr, skip_lr=skip_lr, stagger=stagger, seed=seed, device=device
    )
    for stagger in orders.values()
]
networks = [models.mlp(depth=depth, width=width, seed=seed) for _ in orders]
in_order = dict(zip(orders, ensemble.train(networks, images, configs), strict=True))
plots.accuracy_curves({name: result.history for name, result in in_order.items()})

# %% tags=["keep_output"]
print("skips left:", {name: models.num_skips(result.model) for name, result in in_order.items()})
final = {name: result.test_accuracy for name, result in in_order.items()}
print("input to output is ahead of both others:", max(final, key=final.get) == "input to output")

# %% tags=["nbval-ignore-output"]
ranking = sorted(final, key=final.get, reverse=True)
exercises.beside(dict(enumerate(my_order, 1)), dict(enumerate(ranking, 1)))

# %% [markdown]
# And deeper, on the full data set, on a validation set, one run each. *All at once* is simultaneous removal, *one after the
# other* sequential. *Shift 1*: every BatchNorm bias is initialized at 1 instead of 0 (`models.mlp(norm_shift=1.0)`). ReLU
# then passes five sixths of the normalized values, and each layer is initialized closer to linear.

# %% tags=["keep_output"]
trials = batch.recorded("depth_trials").table
like_these = trials.query("lr == 0.003 and remove_by == 0.85 and damping == 0 and stagger != 0.5")
print(like_these.pivot(index="network", columns="depth", values="validation_accuracy").round(3).to_string())

# %% [markdown]
# **See**: among these single runs at depth 40 the order matters most, and simultaneous removal, the one nearest to the
# paper's abstract, is the worst. At depth 100 no order that was tried is enough alone. With BatchNorm biases of 1 sequential removal works.
#
# ## Is it the phase-out, or the initialization?
#
# So the bias helps. Then the fair rival is a *plain* network with the same bias, and with larger ones.

# %% tags=["keep_output"]
start = batch.recorded("start")
tested = start.table.query("validation_fraction == 0")
table = tested.pivot_table(index="network", columns="depth", values="test_accuracy", aggfunc=["mean", "std"])
print(table.swaplevel(axis=1).sort_index(axis=1, level=0, sort_remaining=False).round(3).to_string())
rival = "plain, BatchNorm bias 2"
for bias in (1, 2):
    difference = batch.compare(tested.query("depth == 100"), f"VAN, BatchNorm bias {bias}", rival)
    print(f"depth 100: VAN, BatchNorm bias {bias}, {difference.in_words(rival)}")
print("seeds:", tested["seed"].nunique(), "  made by:", start.command)

# %% [markdown]
# **See**: on the full data set, at depth 100, a *plain* network with a bias of 2 reaches 0.863. The VAN with the same bias
# reaches 0.866, and the two are level. A bias of 1 leaves the plain network at 0.74, so a comparison with that one alone
# would be unfair: it compares a tuned method with an untuned rival. At this depth the phase-out adds
# nothing that three seeds could show to the best initialization that was tried. At depth 40 five seeds show half a point.
# Is that so everywhere? [Lesson 10](10_convolutional_van.ipynb) has a case in which a phase-out adds much. More is in
# [docs/evidence.md](../docs/evidence.md).
#
# Why does the bias help? Perhaps because little of an image is left after a hundred ReLUs, and a layer that is initialized
# close to linear passes more of it on. Why from input to output? A layer without its skip is as good as its input. Next to
# the network's input that is an image, or the output of few layers, and all layers after it still have their skips. Both
# are readings, not proofs.

# %% [markdown]
# For more seeds, or for other depths, this lesson runs headless: `van-tutorial sweep` takes a file with the values, and
# `van-tutorial report` draws the results.

# %% [markdown] tags=["sentence"]
# ### Your sentence
#
# Which result would change your mind about what this lesson claims? Double-click, and write one sentence in place of the
# dots. Where the lesson is handed in, it is what is marked.
#
# ...

# %% [markdown]
# ## Take away
#
# - "No skip left" can be stated as a constraint. Its multipliers rise while a skip is present, and a clip holds the skip
#   weight at 0.
# - At the usual learning rates this is a clock: each skip weight first reaches 0 after $\pi / (2 \omega)$ steps, with the
#   loss's gradient or without it. A fixed linear penalty above the largest price removes skips as well. A multiplier need
#   not know that price.
# - The result is a plain network, to the last bit. It is better than the same network trained plain from the same initial
#   weights. A plain network with a better initialization comes within half a point of it at depth 40, and is not told apart
#   from it at depth 100.
# - Sequential removal, from input to output, was ahead of simultaneous removal here. That order is a setting, and part of
#   the method used here.
#
# **Next**: when a skip is removed depends on the dual learning rate. Can one say beforehand *at which step*? And what does the
# final value of a multiplier mean? [6 · Multiplier dynamics](06_multiplier_dynamics.ipynb).
#
# **Limits of the evidence.** One small data set (5,000 training images), one depth and width, three seeds; of the trials at
# two depths on the full data set, one seed. One linear layer reaches 0.84 on these images ([lesson
# 8](08_looks_linear.ipynb)), so they hardly need depth. Under the cosine schedule little learning rate is left for the
# plain network: what longer training without skips would bring was hardly tried. Learning rates and the order of the
# removal were chosen on a validation set, not on the test set. The layer equation is our reading of an abstract.
#
# **References.** R. P. Monti, S. Tootoonian and R. Cao (2018), *Avoiding degradation in deep feed-forward
# networks by phasing out skip-connections*, ICANN, LNCS 11141, 447–456. · K. He, X. Zhang, S. Ren and J. Sun
# (2016), *Deep residual learning for image recognition*, CVPR. · J. C. Platt and A. H. Barr (1987), *Constrained
# differential optimization*, NIPS. · H. Xiao, K. Rasul and R. Vollgraf (2017), *Fashion-MNIST*.

# %% tags=["nbval-ignore-output"]
batch.record_metrics(comparison)
