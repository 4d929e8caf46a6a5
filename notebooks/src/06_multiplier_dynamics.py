# %% [markdown]
# # 6 · Multiplier dynamics
#
# *At which step does a skip weight reach zero, and what does its final multiplier say?*
#
# **So far**: multipliers that rise take the skip weights to zero, and when they do depends on the dual
# learning rate ([lesson 5](05_phasing_out.ipynb)). We found that by trying. Here we derive it.
#
# **Time**: 35 minutes of reading and thinking; the cells take about 15 seconds on two processor cores.
#
# **You need**: [lesson 5](05_phasing_out.ipynb); the equation of a mass on a spring and its solution.
#
# **Afterwards you can**
#
# - derive that a skip weight and its multiplier oscillate, and say what the clip at 0 changes,
# - choose a dual learning rate for the step at which the skips should be removed,
# - compute the smallest damping that stops the oscillation,
# - predict where a multiplier ends, measure the *price* of a skip, and say by their ratio whether a phase-out is a clock or
#   a market.

# %% tags=["parameters"]
slope: float = 0.3  # how strongly the loss holds on to the skip, in nats per unit of skip weight
skip_weight: float = 0.95  # initial skip weight
skip_lr: float = 0.01  # learning rate of the skip weight, in the examples without a network
dual_lr: float = 0.001  # dual learning rate, of the multiplier, in the examples without a network
num_steps: int = 3000  # steps of the examples without a network
depth: int = 20  # number of layers of the network that is trained
num_epochs: int = 12  # passes over the 5,000 training images
seed: int = 0  # of initial weights and order of examples
interactive: bool = True  # controls to press; false draws plain figures instead

# %%
import sys

import pandas as pd
import torch
from tqdm import tqdm

from van_tutorial import batch, constraints, data, diagnostics, exercises, models, plots, training, widgets

torch.set_num_threads(1)
images = data.load()
setting = {"skip_weight": skip_weight, "skip_lr": skip_lr, "dual_lr": dual_lr, "slope": slope}

# %% [markdown]
# ## The idea
#
# Take one skip weight $\alpha$ with its multiplier $\lambda$, and a loss that is linear in it: $C = -k \alpha$, with a **slope**
# $k$. (In this lesson $k$ is always that; before it counted lags and layers.) One step of training does
#
# $$\alpha \leftarrow \alpha - \eta_\alpha \, (\lambda - k) \qquad \lambda \leftarrow \lambda + \eta' \alpha$$
#
# For small steps these are two differential equations, $\alpha' = -\eta_\alpha (\lambda - k)$ and $\lambda' = \eta' \alpha$.
# Differentiate the first, $\alpha'' = -\eta_\alpha \lambda'$, and put the second in:
#
# $$\alpha'' + \eta_\alpha \, \eta' \, \alpha = 0$$
#
# a mass on a spring. The multiplier is the spring: it tightens as long as $\alpha > 0$. The frequency is
# $\omega = \sqrt{\eta_\alpha \eta'}$ per step. Note that the slope $k$ has dropped out: it only sets the initial speed.
# Without it, $k = 0$, the solution is $\alpha = \alpha_0 \cos \omega t$, and $\alpha$ is 0 at $\omega t = \pi / 2$.
#
# ![A mass alpha on a spring that is fixed at 0; the loss pulls it away. Beside it its swing: free, it goes through 0; clipped, it stays there](../assets/figures/multiplier_dynamics.svg)
#
# A spring without friction oscillates for ever. So $\alpha$ would pass 0, become *negative*, an anti-skip, and return. In
# training it is clipped to $[0, 1]$ after each step. (*Free*, below: without the clip.)

# %% [markdown]
# ## Predict
#
# `slope` 0.3, `skip_weight` 0.95, `skip_lr` 0.01, `dual_lr` 0.001. (Slopes measured in networks, further down, are mostly
# far smaller. A large one shows more.) Without looking ahead:
#
# 1. Without the clip: what is the largest value of $\alpha$?
# 2. With the clip: at about which step is $\alpha$ 0 for the first time?
# 3. With the clip: where does $\lambda$ end, below $k$, at $k$, or above it? Give a number.

# %%
my_prediction = {"largest alpha": None, "zero at step": None, "final multiplier": None}

# %% [markdown]
# ## Run
#
# `predict_path` is the closed form of the oscillator. `simulate_path` takes the library's own steps: primal step,
# projection, dual step.

# %%
paths = {
    "free, predicted": constraints.predict_path(num_steps, is_projected=False, **setting),
    "free, simulated": constraints.simulate_path(num_steps, is_projected=False, **setting),
    "clipped, predicted": constraints.predict_path(num_steps, **setting),
    "clipped, simulated": constraints.simulate_path(num_steps, **setting),
}

# %% [markdown]
# ## Evidence

# %% tags=["keep_output"]
free, clipped = paths["free, simulated"], paths["clipped, simulated"]
removed = constraints.first_zero_step(clipped)
predicted = constraints.predict_removal_step(**setting)
for name in ("free", "clipped"):
    difference = paths[f"{name}, simulated"] - paths[f"{name}, predicted"]
    print(f"{name}: simulation and closed form agree to 0.02:", bool((difference.abs().max() < 0.02).all()))
print("free: the skip weight becomes negative:", bool(free["skip_weight"].min() < 0))
print("clipped: zero at step", removed, "and at the end:", clipped["skip_weight"].iloc[-1] == 0.0)
print("predicted:", round(predicted))
excess = clipped["multiplier"].iloc[-1] - slope
print("clipped: the multiplier ends above the slope:", bool(excess > 0))
print("by sqrt(dual_lr / skip_lr), to within 0.01:", bool(abs(excess - (dual_lr / skip_lr) ** 0.5) < 0.01))

# %% tags=["nbval-ignore-output"]
found = {
    "largest alpha": free["skip_weight"].max(),
    "zero at step": removed,
    "final multiplier": clipped["multiplier"].iloc[-1],
}
comparison = pd.DataFrame(
    {"quantity": list(found), "found": [round(float(value), 3) for value in found.values()]}
)
comparison.assign(predicted=[my_prediction.get(name) for name in found]).astype(object).fillna("–")

# %% [markdown]
# ## Look
#
# **See**: simulation and closed form agree. Free, the skip weight oscillates above 1 and below 0. Clipped, it waits at 1
# until the multiplier has grown to the slope, falls, and stays at 0. From then on the multiplier keeps its value, *above*
# the slope. A skip weight that has waited at 1 ends with
#
# $$\lambda_\text{end} = k + \sqrt{\eta' / \eta_\alpha}$$
#
# here 0.3 + 0.316. The second term comes from the learning rates, not from the loss. Without a slope nothing waits, and
# $\lambda_\text{end} = \alpha_0 \sqrt{\eta' / \eta_\alpha}$: by the learning rates alone.
#
# Why does $\alpha$ *stay* at 0? There the step is $-\eta_\alpha (\lambda - k)$, which is negative for any $\lambda > k$, and the
# clip undoes it. So on $[0, 1]$ *every* multiplier at or above the slope solves the problem.

# %% tags=["nbval-ignore-output"]
plots.skip_and_multiplier_paths(paths)

# %% [markdown]
# The same in the plane of the two. **See**: free, the path is an ellipse around the equilibrium (0, k) that never comes
# nearer. The clip ends it where it first reaches 0: that turns the method into a *phase-out*. Friction is the other way. A
# quadratic term $\frac{c}{2} \alpha^2$ in the Lagrangian, the `damping` of `Multipliers`, makes the path spiral in. From
# $c^* = 2 \sqrt{\eta' / \eta_\alpha}$ on it does not oscillate (at a high initial speed it may pass 0 once). With any friction
# the free path ends at the equilibrium, so $\lambda$ ends at $k$. With the clip as well it need not: $\alpha$ may be held at 0
# before.

# %% tags=["nbval-ignore-output"]
critical = constraints.critical_damping(skip_lr, dual_lr)
damped = {
    f"free, c = {share:.1f} c*": constraints.predict_path(
        4 * num_steps, is_projected=False, damping=share * critical, **setting
    )
    for share in (0.0, 0.2, 1.0)
}
plots.phase_portrait({**damped, "clipped, c = 0": paths["clipped, simulated"]}, slope=slope)

# %% tags=["keep_output"]
for name, path in damped.items():
    late = (path["multiplier"].iloc[-num_steps:] - slope).abs().max()
    print(f"{name}: in the last quarter the multiplier stays within 0.01 of the slope: {late < 0.01}")

# %% [markdown]
# ## A sizing rule
#
# The closed form says when $\alpha$ first reaches 0, and `size_dual_lr` inverts it. Without a slope that is a quarter of a
# period, $t = \pi / (2 \omega)$, so a dual learning rate four times as large halves the time. With a slope a small dual
# learning rate takes longer still. **See** both cases below: where the skip weight stays below 1, and where it waits at 1.

# %% tags=["nbval-ignore-output"]
rows = []
for wanted in (100, 500, 1000, 2000, 4000):
    size = constraints.size_dual_lr(wanted, skip_weight, skip_lr, slope)
    path = constraints.simulate_path(2 * wanted, skip_weight, skip_lr, size, slope)
    waits = bool((path["skip_weight"].iloc[1:] == 1.0).any())
    rows.append((wanted, f"{size:.2e}", waits, constraints.first_zero_step(path)))
pd.DataFrame(rows, columns=["wanted step", "dual_lr", "waits at 1", "simulated step"])

# %% [markdown]
# ## A real network
#
# The loss of a network is not linear in its skip weights, its slope changes as the weights learn, and there are many
# skips. So take the simplest prediction, that of a clock: slope 0, $\pi / (2 \omega_l)$ steps for layer $l$. **Predict** by how
# much it is off, as a fraction of the predicted step, in the layer where it is worst: 10 (a factor of eleven), 1 (a factor
# of two), 0.1?

# %%
my_error = None  # a fraction

# %% tags=["nbval-ignore-output"]
van = models.mlp(depth=depth, width=32, connection="van", seed=seed)
config = training.TrainConfig(
    num_epochs=num_epochs,
    remove_by=None,  # no cap: the multipliers alone
    stagger=0.0,  # which all rise from the first step on,
    dual_lr_spread=5.0,  # faster next to the input
    seed=seed,
)
trainer = training.Trainer(van, images, config)
for _ in (bar := tqdm(trainer, total=num_epochs, desc="VAN", unit="epoch", file=sys.stdout)):
    bar.set_postfix_str(f"{models.num_skips(van)} skips left")
steps = diagnostics.removal_steps(trainer.phase_out).assign(run="this run")
plots.predicted_and_real_steps(steps, caption="Each marker is a layer. On the line the prediction was right.")

# %% tags=["keep_output"]
error = steps["first_zero_step"] / steps["predicted_step"] - 1.0
print("skips that reached 0:", int(steps["first_zero_step"].notna().sum()), "of", depth)
print("layers predicted to within 5 %:", int((error.abs() < 0.05).sum()), "of", depth)

# %% tags=["nbval-ignore-output"]
exercises.beside({"largest error": my_error}, {"largest error": error.abs().max()})

# %% [markdown]
# Recorded, for 40 layers, three seeds, and dual learning rates from a quarter to 16 times the default:

# %% tags=["keep_output"]
recorded = batch.recorded("multiplier_dynamics_mini")
runs = recorded.table.query("experiment == 'multipliers'").assign(
    ratio=lambda rows: rows["first_zero_step"] / rows["predicted_step"]
)
summary = runs.groupby("factor").agg(
    skips=("layer", "size"),
    removed=("first_zero_step", "count"),
    smallest=("ratio", "min"),
    median=("ratio", "median"),
    largest=("ratio", "max"),
    test_accuracy=("test_accuracy", "mean"),
)
print("step of removal / step of the clock, by factor of the default dual_lr")
print(summary.round(3).to_string())
late = runs[runs["first_zero_step"].isna()]
after_the_end = int((late["predicted_step"] > late["num_steps"]).sum())
print("skips left:", len(late), "  predicted for after the end:", after_the_end)
first = runs["slope_at_start"]
print(f"slopes at initialization: mean {first.mean():.2f}, median size {first.abs().median():.2f}")
print("made by:", recorded.command)

# %% tags=["nbval-ignore-output"]
named = runs.assign(run=[f"{factor:g} times the default" for factor in runs["factor"]])
plots.predicted_and_real_steps(named)

# %% [markdown]
# The clock is right to within one per cent for half of the layers, although it knows nothing of the network. The largest
# deviation, in a first layer, is 15 %. The slopes are small: at initialization their median size is 0.05. With a quarter of
# the default 18 skips were still present at the end, of which 15 had been predicted. And the last column: with simultaneous
# removal a faster one has the lower accuracy here. The slowest runs are no plain networks, for they have skips left.

# %% [markdown]
# ## The price of a skip
#
# In the theory of constrained optimization, with an equality as the constraint, the multiplier that solves the problem is a
# **price**: by how much the loss falls if the constraint is relaxed a little. Here that is
# $-\partial C / \partial \alpha_l$ at $\alpha = 0$: would the finished plain network gain by a little of skip $l$? One
# backward pass measures it. (The library and its figure say *shortcut* for skip here.) **Predict**: is the price of the
# skips large or near 0? And is the final $\lambda_l$ near it?

# %%
my_prices = {
    "price of a skip, median": None,
    "final multiplier, median": None,
}  # nats per unit of skip weight

# %% tags=["nbval-ignore-output"]
van.cpu().train()  # with batch statistics, as the multipliers saw the loss
prices = diagnostics.shortcut_prices(van, images.train_images, images.train_labels)
prices["multiplier"] = trainer.phase_out.multipliers.values.cpu().numpy()
plots.prices_and_multipliers(prices)

# %% tags=["nbval-ignore-output"]
medians = prices[["price", "multiplier"]].median().tolist()
exercises.beside(my_prices, dict(zip(my_prices, medians, strict=True)))

# %% tags=["keep_output"]
finished = runs[(runs["factor"] == 1) & (runs["final_skip_weight"] == 0)]
above = finished["multiplier"] > finished["price"]
print("recorded, default dual_lr: multipliers above their price:", int(above.sum()), "of", len(above))
print("median multiplier:", round(finished["multiplier"].median(), 2))
for column, mode in (("price", "batch statistics"), ("price_eval", "eval mode")):
    low, middle, high = finished[column].quantile([0.25, 0.5, 0.75])
    print(f"price, {mode}: median {middle:.3f}, middle half {low:.3f} to {high:.3f}")
price = finished["price"].abs().median()
print("median size of a price:", round(price, 3))
largest = finished.loc[finished.groupby("seed")["price"].apply(lambda price: price.abs().idxmax())]
print(
    "the price of the largest size, of each seed:", largest[["layer", "price"]].to_numpy().round(2).tolist()
)

# %% [markdown]
# Not near it: every multiplier is far above its price. That is no fault. At or above the price the clip holds $\alpha_l$ at
# 0, so each of these multipliers solves the problem, and *how far* it is above says nothing about the skip. The learning
# rates set it. So compare what they give with what the loss offers:
#
# $$\frac{\alpha_0 \sqrt{\eta' / \eta_\alpha}}{\left| \partial C / \partial \alpha \right|}$$
#
# Far above 1 the phase-out is a **clock**: each skip weight first reaches 0 after about $\pi / (2 \omega)$ steps, and the loss
# hardly moves that step. (Without a cap the loss lifts single weights off 0 again, late in the training.) Near 1, with
# fast skip weights and slow multipliers, it is a **market**: a skip is removed when its multiplier passes its price. Here
# the median multiplier is 4.8. The median size of the loss's gradient is 0.05 at initialization and 0.004 at the end, so
# this is a clock by a factor of 100 or more. The defaults of lesson 5 are one by still more.
#
# `constraints.price_ratio` is that number. Below, three skips with three prices under two pairs of learning rates, in
# simulation. **Predict**: under which pair are they removed together, and under which the cheap one first?

# %% tags=["keep_output"]
for skip_rate, dual_rate in ((0.001, 0.01), (0.5, 1e-4)):
    print(f"skip_lr {skip_rate}, dual_lr {dual_rate}")
    for price in (0.02, 0.1, 0.2):
        rates = {"skip_weight": 0.95, "skip_lr": skip_rate, "dual_lr": dual_rate}
        step = constraints.first_zero_step(constraints.simulate_path(3000, slope=price, **rates))
        print(
            f"  price {price}: ratio {constraints.price_ratio(price=price, **rates):.3g}, removed at step {step}"
        )

# %% [markdown]
# With a ratio above 10 the three are removed within 4 % of the same step: a clock. Below 1 each waits until its multiplier,
# which rises by `dual_lr` a step, has passed its price: at 2,000 steps for the price of 0.2. For markets that finish,
# multipliers can rise faster and faster (`TrainConfig.dual_growth`, the method of multipliers).
#
# ### The order that prices choose is the wrong one
#
# In a market the loss has a say. Is it a good one? In the recorded runs a market removes the skips of a network with 40
# layers. Then a clock removes them in the market's order, in its reverse and in three others. Each layer has a window of
# the same length.

# %% tags=["keep_output"]
orders = batch.recorded("price_order").table
by_order = orders.groupby("network", sort=False)[
    ["layer_correlation", "train_accuracy", "test_accuracy"]
].mean()
by_order.rename_axis("order of removal").round(3)

# %% tags=["keep_output"]
cheap, dear = "the cheapest first", "the dearest first"
exercises.findings(
    {
        "The market removes skips at the output side first.": by_order.layer_correlation[
            "removed by the market"
        ]
        < -0.5,
        "By the clock, its order ends lower than its own reverse, and than a random order.": all(
            batch.compare(orders, cheap, other).high < 0.0 for other in (dear, "at random")
        ),
        "Its reverse is not told apart from the order from the input side.": batch.compare(
            orders, dear, "from the input side"
        ).low
        < 0.0
        < batch.compare(orders, dear, "from the input side").high,
    }
)

# %% [markdown]
# **See**: the market removes the cheapest skips first, and those are at the output side. That order costs 7 points of test
# accuracy against its own reverse. A price is myopic: it says what a little of a skip is worth *now*, to the weights as
# they are. The dear skips are next to the input, because every gradient that arrives there has passed the most layers.
# Removed from the output side, plain layers pile up between the loss and the skips that are left. Removed from the input
# side, the skips that are left lead the gradient to the layers that have just lost theirs. (That reading is ours.) The
# market itself ends as high as the best order, since it removes all 40 nearly at once.
#
# ### What the finished network would pay
#
# Nearly all prices are close to 0: the finished network would hardly gain or lose by a little of its skips. Only the first
# layer's is larger, and below 0 in each seed: there a little of the skip would cost. (In eval mode, with frozen running
# statistics, most prices are below 0. A little of a skip shifts signals that nothing normalizes again. That reading is
# ours.)

# %% [markdown]
# ## Explore
#
# **Misconception**: *the multiplier grows until it just balances the loss, so its final value says what the skip was
# worth.* The slope of the loss is the same, 0.3 by default, in all of these pictures. Change **dual learning rate** and
# **damping**: when does the skip weight reach zero, and at which value does the multiplier end?


# %%
def show(dual_lr, damping):
    choices = {**setting, "dual_lr": dual_lr, "damping": damping}
    shown = {
        "clipped": constraints.simulate_path(num_steps, **choices),
        "free": constraints.predict_path(num_steps, is_projected=False, **choices),
    }
    critical = constraints.critical_damping(skip_lr, dual_lr)
    return plots.skip_and_multiplier_paths(shown, caption=f"Critical damping here: c* = {critical:.3g}.")


# %% tags=["nbval-ignore-output"]
panel = widgets.explore_panel(
    show,
    (
        widgets.Slider(
            "dual_lr",
            "dual learning rate",
            dual_lr,
            1e-5,
            1.0,
            "How fast the multiplier grows",
            is_log=True,
        ),
        widgets.Slider(
            "damping", "damping c", 0.0, 0.0, 5.0, "Weight of the quadratic term, nats per squared unit"
        ),
    ),
    interactive=interactive,
)
panel

# %% [markdown]
# **Set right**: the slope is the same in each picture, and the multiplier ends at another value in each. Only a free path
# with damping brings it back to the slope. Under the clip any value at or above the slope holds the skip weight at 0.

# %% [markdown]
# ## Exercise 1 · On time
#
# `skip_lr` 0.001, `skip_weight` 0.95, `slope` 0.3: choose a dual learning rate with which the skip weight reaches zero at
# step 2000, give or take 100.

# %% tags=["nbval-ignore-output"]
### solution
my_dual_lr = constraints.size_dual_lr(2000, skip_weight=0.95, skip_lr=0.001, slope=0.3)
### stub
# my_dual_lr = None  # your number
### end
exercises.check_dual_lr(my_dual_lr, removal_step=2000)

# %% [markdown]
# ## Exercise 2 · Just enough friction
#
# `skip_weight` 0.95, `slope` 0.3, `skip_lr` 0.01, `dual_lr` 0.0004, no clip: what is the smallest damping with which the
# skip weight does not oscillate?

# %% tags=["nbval-ignore-output"]
### solution
my_damping = 2.0 * (0.0004 / 0.01) ** 0.5
### stub
# my_damping = None  # your number
### end
exercises.check_damping(my_damping, skip_lr=0.01, dual_lr=0.0004)

# %% [markdown] tags=["solution"]
# *For the instructor.* A question for the discussion: if damping finds the price and the clip does not, why clip? The
# damped path approaches 0 and the constraint asks for exactly 0. And without the clip a real network may take negative
# values, an anti-skip that no plain network has. Another: are the recorded phase-outs evidence that multipliers *choose*?
# No: lesson 5 leaves the loss's gradient out of their step, and no layer's step changes by more than 3.

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
# - A skip weight and its multiplier are a mass on a spring. Without the clip they oscillate; the clip makes a phase-out.
# - The two learning rates set the step at which a skip weight first reaches 0, $\pi / (2 \omega)$: to within one per cent for
#   half of the recorded layers.
# - The ratio of $\alpha_0 \sqrt{\eta' / \eta_\alpha}$ to the price says who decides. Far above 1 the phase-out is a clock, whose
#   steps the loss hardly moves. Near 1 it is a market. The course's settings are clocks.
# - Under the clip every multiplier at or above the price holds its skip weight at 0. So a final multiplier says nothing about
#   what the skip was worth. The price is $-\partial C / \partial \alpha$ at $\alpha = 0$: measure it.
# - Damping of $c^* = 2 \sqrt{\eta' / \eta_\alpha}$ stops the oscillation. Without the clip it lets the multiplier end at the
#   price.
#
# **Next**: removing skips is one answer to degradation. There are others. What if there never were a second path, and the
# identity stood in the weight itself? [7 · Dirac weights](07_dirac.ipynb).
#
# **Limits of the evidence.** One data set, one depth and width in the recorded runs, three seeds, and eight of the market. The
# skip weights take plain gradient steps; with another optimizer for them the oscillator is another. Whether the paper
# clips, its abstract does not say: the clip is part of our reading. (Its text: see [lesson 5](05_phasing_out.ipynb).)
#
# **References.** J. C. Platt and A. H. Barr (1987), *Constrained differential optimization*, NIPS. · D. P. Bertsekas
# (1982), *Constrained optimization and Lagrange multiplier methods*. · R. P. Monti, S. Tootoonian and R. Cao (2018),
# *Avoiding degradation in deep feed-forward networks by phasing out skip-connections*, ICANN.

# %% tags=["nbval-ignore-output"]
batch.record_metrics(comparison)
