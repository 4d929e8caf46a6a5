# %% [markdown]
# # 5 · Phasing out
#
# *Can a very deep network be trained with skip-connections and end up without them?*
#
# **So far**: a single layer of a trained residual network can be spared, but its skips cannot be taken out at once
# ([lesson 4](04_skip_connections.ipynb)). So we take them out slowly, and let the layers learn meanwhile.
#
# **Time**: 35 minutes of reading and thinking; the cells take about 75 seconds on two processor cores.
#
# **You need**: [lesson 1](01_degradation.ipynb) (degradation) and [lesson 4](04_skip_connections.ipynb) (mixing by a skip
# weight); how to minimize a function under a constraint with a Lagrange multiplier.
#
# **Afterwards you can**
#
# - write down the constrained problem behind a *variable activation network* (VAN) and its three updates,
# - train one, and read off when its skips went and who removed them,
# - turn it into a plain network and prove that the two are the same,
# - choose how fast the skips go, and measure what it costs to hurry,
# - train a whole grid of step sizes at once, and find in it those that left a plain network.

# %% tags=["parameters"]
depth: int = 40  # number of layers, each with its own skip-connection
width: int = 32  # units per layer
num_epochs: int = 30  # passes over the 5,000 training images
lr: float = 0.003  # step size of the weights
skip_lr: float = 0.001  # step size of the skip weights
dual_lr: float = 0.0  # step size of the multipliers; 0 sizes it from the number of steps
num_networks: int = 16  # VANs in the grid of step sizes, trained at once; from 2 on
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
# Must the skips stay? Lessons 3 and 4 gave all layers one fixed skip weight. Now each layer $l$ has its own,
# $\alpha_l$, and it may move:
#
# $$x_l = \alpha_l \, x_{l-1} + (1 - \alpha_l) \, f_l(x_{l-1})$$
#
# At $\alpha_l = 1$ the layer is the identity, at $\alpha_l = 0$ it is a plain layer. Now state what we want as a
# **constraint**: make the loss $C$ small, *subject to* $\alpha_l = 0$ in every layer. Each constraint gets a
# **Lagrange multiplier** $\lambda_l$, what is charged for the rest of that skip:
#
# $$\mathcal{L}(W, \alpha, \lambda) = C(W, \alpha) + \sum_l \lambda_l \, \alpha_l$$
#
# Weights and skip weights go *down* the gradient of $\mathcal{L}$, and the multipliers go *up* it:
#
# $$W \leftarrow W - \eta \, \frac{\partial C}{\partial W} \qquad
# \alpha_l \leftarrow \alpha_l - \eta_\alpha \left( \frac{\partial C}{\partial \alpha_l} + \lambda_l \right) \qquad
# \lambda_l \leftarrow \lambda_l + \eta' \, \alpha_l$$
#
# with step sizes $\eta$ (`lr`), $\eta_\alpha$ (`skip_lr`) and $\eta'$ (`dual_lr`). As long as a skip is there its
# multiplier rises, until it outweighs whatever the loss would gain by the skip, and $\alpha_l$ falls. After each step
# $\alpha_l$ is clipped to $[0, 1]$.
#
# ![One layer at three moments: with a strong skip-connection, with a fading one, and without any](../assets/figures/phasing_out.svg)
#
# > **What we know of the source.** The idea is from Monti, Tootoonian and Cao. We could read the abstracts of
# > their paper but not its full text, so this equation is *our reading of the abstract*, and no number below is
# > theirs. What we compare with are plain and residual networks that we train side by side.

# %% [markdown]
# ## Predict
#
# Three networks of the same depth and width are about to be trained with the same settings: *plain* (no skips),
# *residual* (skips that stay) and *VAN* (skips that are phased out). Ten classes: guessing gives 0.10.
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
# What any computer will find, whatever its rounding: how many skips are left, and who is better than whom.

# %% tags=["keep_output"]
accuracy = {name: result.test_accuracy for name, result in results.items()}
for name, result in results.items():
    print(f"{name:9s} skips left: {models.num_skips(result.model)} of {depth}")
print("the VAN ends at least 0.12 above the plain network:", accuracy["van"] - accuracy["plain"] >= 0.12)

# %% [markdown]
# ### Your prediction beside what came
#
# *Removed at step* is the step since which every skip weight has been 0. *Removed by* says who did it. A falling
# cap on the skip weights makes sure that none is left after two thirds of the training; it says `multipliers`
# where they had done the work before the cap touched a skip that was still there, and `cap` where the cap had
# to help.

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
# First the skips. **See**: one goes after the other, from the input (bottom) on. Each layer has a window of its own, in
# which its multiplier may rise: the first opens at once, the last after nine tenths of the time allowed for the removal
# (`stagger` 0.9). Whether that order is a good one you will see below. The dark edge is the wave of the removal running
# through the network.

# %% tags=["nbval-ignore-output"]
van = results["van"]
plots.skip_weight_map(van.layers, "Yellow: identity. Dark: plain. The input side goes first.")

# %% [markdown]
# Then the multipliers. **See**: each waits for its window, rises only while its skip is there, and keeps its value once it
# is gone.

# %% tags=["nbval-ignore-output"]
plots.multiplier_range(van.layers)

# %% [markdown]
# Then the accuracy. **See**: on the test images (line) the VAN dips while its first skips go, recovers, may dip once more
# when the last ones go, and learns on as a plain network; the network trained plain, with the very same layers, never
# gets there.

# %% tags=["nbval-ignore-output"]
plots.accuracy_curves({name: result.history for name, result in results.items()})

# %% [markdown]
# Last the gradients at the end of training, layer by layer, at the layers' outputs. **See**: the flatter the
# line, the more evenly the loss speaks to all layers. In the plain network the gradient grows on the way back to
# the input; in the VAN, which has become a plain network of the same layers, it stays nearly level.

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
# `collapse` takes the skips out for good. It refuses while any skip weight is not 0. Then two proofs: the
# answers agree to the last bit, and in the exported graph no two paths between the same two places pass
# different numbers of weight matrices.

# %% tags=["keep_output"]
van_network = van.model.cpu()
plain_twin = models.collapse(van_network)
with torch.no_grad():
    difference = (van_network(images.test_images) - plain_twin(images.test_images)).abs().max().item()
print("largest difference between the answers:", difference)
for name, network in {"VAN": van_network, "collapsed VAN": plain_twin}.items():
    program = torch.export.export(network.eval(), (images.test_images[:2],))
    print(f"a skip-connection in the graph of the {name}:", models.has_skip(program))
print("skip weights held by the collapsed network:", len(models.skip_weights(plain_twin)))

# %% [markdown]
# ## One run is no evidence
#
# The same comparison over several seeds, recorded, with the command that makes it again. (*sd* is the standard deviation
# over the seeds. *lr 0.01* marks the step sizes that were best on held-out images; lesson 12 shows how they were chosen.
# *Shifted* is a plain network whose layers begin closer to linear; of that more below.)

# %% tags=["keep_output"]
recorded = batch.recorded("phase_out_mini")
print(recorded.summary().round(3).to_string(index=False))
vans = recorded.table[recorded.table["network"].str.startswith("van")]
print("VAN: skips left in any run:", int(vans["skips_left"].max()))
print("made by:", recorded.command)

# %% [markdown]
# ## Explore
#
# **Misconception**: *the multipliers are a penalty whose strength must be tuned just right.* A fixed penalty
# would need that. A multiplier keeps growing while its skip is there: over a wide range of step sizes it wins, and the
# step size decides *when*. Try it in the playground: each box is a layer, the arc over it its skip, as strong as its skip
# weight. Change **multiplier step size** by a factor of ten either way, and **depth**; read what is *predicted*, and
# press **Train**. When does the last skip go, and what does hurrying cost?
#
# **See**: the arcs fade, those next to the input first. **order** says which go first: at 0 all multipliers rise from the
# beginning, below 0 the output side is first. The dotted line over the map of skip weights is where the theory
# of lesson 6 expects each of them to be gone. The slider **moment** takes everything back to any step, and **Pin** keeps
# a run in the charts beside the next.

# %% tags=["nbval-ignore-output"]
panel = widgets.playground_panel(
    images, depth=depth, width=width, num_epochs=max(1, num_epochs // 3), seed=seed, interactive=interactive
)
panel

# %% [markdown]
# ## Exercise 1 · Hurry
#
# Let all multipliers rise from the beginning (`stagger=0.0`), and choose a step size with which the *last* skip goes
# between 20 % and 40 % of the training, by the multipliers alone (there is no cap here). `constraints.size_dual_lr`
# sizes it for a given step (lesson 6 says how).

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
        stagger=0.0,  # all at once
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
# *For the instructor.* Where hurrying cost accuracy, a likely reading: the layers lost their skips before their
# weights had learned to carry the signal alone, and what followed was the training of a plain network from a
# poor start. It is one run against another: ask for more seeds before anyone calls it a law.

# %% [markdown]
# ## All step sizes at once
#
# You have tried some step sizes one after another. Networks of one shape can be trained *together*: their weights
# are stacked, and every layer of all of them is one call. Each still has its own multipliers, step sizes and
# order of examples, and its numbers are those of a run of its own. So here is the whole grid, over five powers of
# ten, all multipliers rising from the beginning and without a cap: whatever goes is taken by them.
#
# **Predict** before you run it: with which step size, from 0.0001 to 10, is the accuracy best, with which worst, and is
# every network between the two ends between them in accuracy as well?

# %%
my_grid = {"best step size": None, "worst step size": None, "all between the ends": None}

# %% tags=["nbval-ignore-output"]
grid = [
    training.TrainConfig(
        num_epochs=max(1, num_epochs // 2),
        lr=lr,
        skip_lr=skip_lr,
        dual_lr=step_size,
        stagger=0.0,  # all at once
        remove_by=None,  # no cap
        seed=seed,
        device=device,
    )
    for step_size in torch.logspace(-4, 1, num_networks).tolist()
]
networks = [models.mlp(depth=depth, width=width, seed=seed) for _ in grid]
together = ensemble.Trainer(networks, images, grid)
bar = tqdm(together, total=grid[0].num_epochs, desc=f"{num_networks} at once", unit="epoch", file=sys.stdout)
for _ in bar:
    bar.set_postfix_str(f"{sum(models.num_skips(network) == 0 for network in networks)} without a skip")
grid_results = together.results()

# %% [markdown]
# What any computer will find: a larger step size takes the last skip sooner.

# %% tags=["keep_output"]
print("networks trained at once, one for each step size:", len(grid_results) == num_networks)
last_gone = [
    max(result.first_zero_steps) for result in grid_results if None not in result.first_zero_steps
]  # of those networks in which every skip was gone at some step
print(
    "the larger the step size, the sooner the last skip goes:", last_gone == sorted(last_gone, reverse=True)
)

# %% [markdown]
# **See**: three regions. On the left the skips stay and the network does well, but it is no plain network. In the
# middle the training ends while the phase-out is under way, and what that leaves can be worse than its neighbours. On
# the right the skips went: the sooner, the more the network is one that was plain from the start, and learns little.
# (*Some skips left* among those: a weight that had been at 0 has come back a little, for no cap holds it there.) *Among
# the networks without a skip* is where you would choose.

# %% tags=["nbval-ignore-output"]
left = [models.num_skips(result.model) for result in grid_results]
fates = pd.DataFrame(
    {
        "network": [
            "no skip left" if number == 0 else "some skips left" if number < depth else "every skip left"
            for number in left
        ],
        "multiplier step size": [config.dual_lr for config in grid],
        "test accuracy": [result.test_accuracy for result in grid_results],
    }
)
plots.measure_curves(
    fates,
    "test accuracy",
    "What a step size comes to",
    "test accuracy",
    caption="Each point is a network of its own; all were trained at once.",
    over="multiplier step size",
).update_xaxes(type="log")

# %% tags=["nbval-ignore-output"]
by_size = fates.set_index("multiplier step size")["test accuracy"]
ends = by_size.iloc[[0, -1]]
is_between = bool(by_size.between(ends.min(), ends.max()).all())
came = {"best step size": by_size.idxmax(), "worst step size": by_size.idxmin()}
exercises.beside(my_grid, came | {"all between the ends": is_between})

# %% [markdown]
# **Set right**, with Explore and this grid before you: no step size has to be hit for the skips to go. Wherever the
# training was long enough the multipliers took them all, over orders of magnitude. What the step size decides is *when*,
# and by that how long the layers could learn before; that is what the accuracy hangs on.
#
# %% [markdown]
# ## Which skip can go first?
#
# All at once, one after the other from the input side, or one after the other from the output side? The three networks
# have the same time for it, and every skip goes. **Predict** the order of their accuracies, best first.

# %%
my_order = [None, None, None]  # "all at once", "input first" and "output first", the best one first

# %% tags=["nbval-ignore-output"]
orders = {"all at once": 0.0, "input first": 0.9, "output first": -0.9}
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
print("input first is ahead of both others:", max(final, key=final.get) == "input first")

# %% tags=["nbval-ignore-output"]
came = sorted(final, key=final.get, reverse=True)
exercises.beside(dict(enumerate(my_order, 1)), dict(enumerate(came, 1)))

# %% [markdown]
# And deeper, on all of the data, judged on held-out images, one run each. *Shifted*: every layer's normalization begins
# with a shift of 1 (`models.mlp(norm_shift=1.0)`), so that five sixths of what comes in pass the rectifier and the layer
# begins closer to a linear one.

# %% tags=["keep_output"]
trials = batch.recorded("depth_trials").table
like_these = trials.query("lr == 0.003 and remove_by == 0.85 and damping == 0 and stagger != 0.5")
print(like_these.pivot(index="network", columns="depth", values="validation_accuracy").round(3).to_string())

# %% [markdown]
# **See**: at depth 40 the order is what counts. At depth 100 no order that was tried is enough alone; layers that begin
# closer to linear are what it takes, and then one skip after the other can go. The shift has a share in it by itself:
# with it a *plain* network learns as well, at depth 40 almost as well as the VAN, at depth 100 a good deal worse. See
# [docs/evidence.md](../docs/evidence.md), where there is more than one seed.
#
# Why does the shift help? Perhaps because little of an image is left behind a hundred rectifiers, and a layer that
# begins close to linear passes more of it on.
#
# Why from the input side? A layer whose skip is gone is as good as what it gets. Next to the input it gets an image, or
# what few layers made of it, and everything behind it still has its skips, on which the loss speaks to it. Next to the
# output it would have to answer to whatever the layers before it will still become. Both are readings, not proofs.

# %% [markdown]
# All of this is one seed. For more of them, or for other depths, this lesson runs headless: `van-tutorial sweep` takes a
# file with the values to go through, and `van-tutorial report` draws what came out.

# %% [markdown]
# ## Take away
#
# - "No skip left" can be stated as a constraint; its multipliers rise while a skip is there and so phase it out.
# - The network that is left is plain, to the last bit, and better than the same network trained plain from the same
#   start.
# - The multipliers' step size decides when the skips go; what hurrying costs is a number that you can measure, and
#   so is what it costs to stop half-way.
# - Which skip goes first matters more: one after the other, from the input side.
#
# **Next**: a step size decides when the skips go. Can one say beforehand *at which step*? And what does the number
# mean at which a multiplier stands still? [6 · Multiplier dynamics](06_multiplier_dynamics.ipynb).
#
# **Limits of the evidence.** One small data set (5,000 training images), one depth and width, three seeds; of the trials at
# two depths on all images, one seed. Step sizes and the order of the removal were chosen on held-out training images; the
# test images chose nothing. The layer equation is our reading of an abstract.
#
# **References.** R. P. Monti, S. Tootoonian and R. Cao (2018), *Avoiding degradation in deep feed-forward
# networks by phasing out skip-connections*, ICANN, LNCS 11141, 447–456. · K. He, X. Zhang, S. Ren and J. Sun
# (2016), *Deep residual learning for image recognition*, CVPR. · J. C. Platt and A. H. Barr (1987), *Constrained
# differential optimization*, NIPS. · H. Xiao, K. Rasul and R. Vollgraf (2017), *Fashion-MNIST*.

# %% tags=["nbval-ignore-output"]
batch.record_metrics(comparison)
