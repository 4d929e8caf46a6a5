# %% [markdown]
# # 6 · Multiplier dynamics
#
# *At which step does a skip weight reach zero, and what does its final multiplier say?*
#
# In this lesson you compute the path of a skip weight and its multiplier, and test it on a trained network. Then you
# measure what each skip is worth to the loss. Compared with the multiplier, that says what sets the time of a removal: the
# learning rates or the loss.
#
# **So far**: multipliers that rise take the skip weights to zero, and when they do depends on the dual learning rate
# ([lesson 5](05_phasing_out.ipynb)). Here we derive it.
#
# **Time**: 35 minutes of reading and thinking; the cells take about 15 seconds on two idle processor cores.
#
# **You need**: [lesson 5](05_phasing_out.ipynb); the equation of a mass on a spring and its solution.
#
# **Afterwards you can**
#
# - derive that a skip weight and its multiplier oscillate, and say what the clip changes,
# - choose a dual learning rate for the step at which the skips should be removed,
# - compute the smallest damping that stops the oscillation,
# - predict where a multiplier ends, measure the *price* of a skip, and tell a clock from a market by their ratio.

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

# %% tags=["hide-input"]
import sys

import pandas as pd
import torch
from tqdm import tqdm

from van_tutorial import batch, constraints, data, diagnostics, exercises, models, plots, training, widgets

torch.set_num_threads(1)  # small networks: more threads would mostly wait for each other
images = data.load()
setting = {"skip_weight": skip_weight, "skip_lr": skip_lr, "dual_lr": dual_lr, "slope": slope}

# %% [markdown]
# ## The idea: skip weight and multiplier are a mass on a spring
#
# Take one skip weight $\alpha$ with its multiplier $\lambda$, and a loss that is linear in it: $C = -k \alpha$, with a
# **slope** $k$. One step of training does
#
# $$\alpha \leftarrow \alpha - \eta_\alpha \, (\lambda - k) \qquad \lambda \leftarrow \lambda + \eta' \alpha$$
#
# For small steps these are two differential equations, $\alpha' = -\eta_\alpha (\lambda - k)$ and $\lambda' = \eta' \alpha$.
# Differentiate the first, and put the second in:
#
# $$\alpha'' = -\eta_\alpha \, \lambda' = -\eta_\alpha \, \eta' \, \alpha$$
#
# This is a mass on a spring. The multiplier is the spring: it tightens as long as $\alpha > 0$. With the frequency
# $\omega = \sqrt{\eta_\alpha \eta'}$ per step, the path is a cosine and a sine:
#
# $$\alpha(t) = \alpha_0 \cos \omega t + \frac{\eta_\alpha k}{\omega} \sin \omega t \qquad
# A = \sqrt{\alpha_0^2 + \frac{\eta_\alpha}{\eta'} \, k^2}$$
#
# where $A$ is the amplitude. The slope sets only the initial speed. Without it, $\alpha$ is a cosine, and 0 at
# $\omega t = \pi / 2$.
#
# ![A mass alpha on a spring that is fixed at 0; the loss pulls it away. Beside it its swing: free, it goes through 0; clipped, it stays there](../assets/figures/multiplier_dynamics.svg)
#
# A spring without friction oscillates for ever. So $\alpha$ would pass 0, become *negative*, an anti-skip, and return.
# In training it is clipped to $[0, 1]$ after each step.

# %% [markdown]
# ## Predict
#
# Take `slope` 0.3, `skip_weight` 0.95, `skip_lr` 0.01, `dual_lr` 0.001. (Slopes measured in networks are mostly far
# smaller. A large one shows more.) *Free* is without the clip.

# %% tags=["nbval-ignore-output"]
questions = {"free: largest α": (0, 3), "clipped: 0 at step": (0, num_steps), "clipped: final λ": (0, 2)}
prediction = widgets.Prediction("6.1", questions, interactive=interactive)
prediction

# %% [markdown]
# ## Run
#
# `predict_path` is the closed form. `simulate_path` takes the library's own steps: primal step, projection (the clip),
# dual step.

# %%
paths = {
    "free, predicted": constraints.predict_path(num_steps, is_projected=False, **setting),
    "free, simulated": constraints.simulate_path(num_steps, is_projected=False, **setting),
    "clipped, predicted": constraints.predict_path(num_steps, **setting),
    "clipped, simulated": constraints.simulate_path(num_steps, **setting),
}

# %% [markdown]
# ### Prediction and result

# %% tags=["nbval-ignore-output", "hide-input"]
free, clipped = paths["free, simulated"], paths["clipped, simulated"]
removed, final = constraints.first_zero_step(clipped), clipped["multiplier"].iloc[-1]
found = dict(zip(questions, (free["skip_weight"].max(), removed, final), strict=True))
comparison = pd.DataFrame(
    {"quantity": list(found), "found": [round(float(value), 3) for value in found.values()]}
)
prediction.compare(
    found,
    plots.skip_and_multiplier_paths({"clipped": clipped, "free": free}),
    r"""
    **See**: free, the skip weight oscillates with the amplitude $A$, above 1 and below 0. Clipped, it waits at 1 until the
    multiplier has grown to the slope. Then it falls, and stays at 0.
    """,
)

# %% [markdown]
# ## Evidence: with the clip the multiplier ends above the slope

# %% tags=["keep_output", "hide-input"]
predicted = constraints.predict_removal_step(**setting)
amplitude = (skip_weight**2 + skip_lr / dual_lr * slope**2) ** 0.5
errors = [paths[f"{name}, simulated"] - paths[f"{name}, predicted"] for name in ("free", "clipped")]
exercises.findings(
    {
        "Simulation and closed form agree to 0.02.": max(float(e.abs().max(axis=None)) for e in errors)
        < 0.02,
        "Free, the largest skip weight is the amplitude, to within 0.01.": abs(
            free["skip_weight"].max() - amplitude
        )
        < 0.01,
        "Clipped, the skip weight reaches 0 within 2 steps of the predicted one, and stays there.": abs(
            removed - predicted
        )
        < 2
        and clipped["skip_weight"].iloc[-1] == 0.0,
        "The multiplier ends above the slope by $\\sqrt{\\eta' / \\eta_\\alpha}$, to within 0.01.": abs(
            final - slope - (dual_lr / skip_lr) ** 0.5
        )
        < 0.01,
    }
)

# %% tags=["nbval-ignore-output", "hide-input"]
prediction.show(
    r"""
    A skip weight that has waited at 1 ends with $\lambda_\text{end} = k + \sqrt{\eta' / \eta_\alpha}$, here 0.3 + 0.316. The
    second term comes from the learning rates, not from the loss. Without a slope nothing waits, and
    $\lambda_\text{end} = \alpha_0 \sqrt{\eta' / \eta_\alpha}$.

    Why does $\alpha$ *stay* at 0? There its step is $-\eta_\alpha (\lambda - k)$. For any $\lambda > k$ that is negative, and
    the clip undoes it. At $\alpha = 0$ the multiplier does not move either. So under the clip *every* multiplier above the
    slope pins $\alpha$ at 0.

    **A sizing rule.** Without a slope $\alpha$ reaches 0 after a quarter of a period, $t = \pi / (2 \omega)$ steps. So four
    times the dual learning rate halves the time. `constraints.size_dual_lr` inverts the closed form, with a slope as well.
    """
)

# %% [markdown]
# ## Friction lets the multiplier end at the slope
#
# The clip is one way to end the oscillation. Friction is the other: a term $\frac{c}{2} \alpha^2$ in the Lagrangian (the
# `damping` of `Multipliers`). From $c^* = 2 \sqrt{\eta' / \eta_\alpha}$ on the free path does not oscillate.

# %% tags=["nbval-ignore-output", "hide-input"]
critical = constraints.critical_damping(skip_lr, dual_lr)
damped = {
    f"free, c = {fraction:g} c*": constraints.predict_path(
        4 * num_steps, is_projected=False, damping=fraction * critical, **setting
    )
    for fraction in (0, 0.2, 1)
}
plots.phase_portrait({**damped, "clipped, c = 0": paths["clipped, simulated"]}, slope=slope)

# %% [markdown]
# **See**: without friction the free path is an ellipse around the equilibrium $(0, k)$. With friction it spirals in, and
# the multiplier ends at $k$. The clip ends the path where it first reaches 0.

# %% tags=["keep_output", "hide-input"]
late = {name: (path["multiplier"].iloc[-num_steps:] - slope).abs().max() for name, path in damped.items()}
no_friction, *with_friction = late.values()
exercises.findings(
    {
        "With friction the multiplier ends within 0.01 of the slope.": max(with_friction) < 0.01,
        "Without friction it does not.": no_friction > 0.01,
    }
)

# %% [markdown]
# ## Does a real network follow?
#
# The loss of a network is not linear in its skip weights, and its slope changes as the weights learn. Take the simplest
# prediction all the same, slope 0: $\pi / (2 \omega_l)$ steps for layer $l$. **Predict** by which fraction of its predicted
# step the worst layer is off. (1 is a factor of two.)

# %% tags=["nbval-ignore-output"]
prediction = widgets.Prediction("6.2", {"largest error": (0.001, 10)}, interactive=interactive)
prediction

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
error = (steps["first_zero_step"] / steps["predicted_step"] - 1.0).abs()
prediction.compare({"largest error": error.max()}, plots.predicted_and_real_steps(steps))

# %% tags=["keep_output", "hide-input"]
exercises.findings(
    {
        "Every skip weight reaches 0.": bool(steps["first_zero_step"].notna().all()),
        "All layers but one are predicted to within 5 %.": int((error < 0.05).sum()) >= depth - 1,
    }
)

# %% [markdown]
# One run is no evidence. Recorded were 40 layers, three seeds, and dual learning rates from a quarter to 16 times the
# default. A ratio is the step of removal over the predicted step:

# %% tags=["keep_output", "hide-input"]
runs = batch.recorded("multiplier_dynamics_mini").table.query("experiment == 'multipliers'")
runs = runs.assign(ratio=runs["first_zero_step"] / runs["predicted_step"])
runs.groupby("factor").agg(
    **{
        "skips removed": ("first_zero_step", lambda steps: f"{steps.count()} of {len(steps)}"),
        "median ratio": ("ratio", "median"),
        "largest ratio": ("ratio", "max"),
        "test accuracy": ("test_accuracy", "mean"),
    }
).round(3).rename_axis(index=None, columns="times the default")

# %% tags=["nbval-ignore-output", "hide-input"]
prediction.show(
    r"""
    **See**: the prediction is right to within one per cent for half of the layers, although it knows nothing of the
    network. The largest error, in a first layer, is 15 %. Slopes are small: at initialization their median size is 0.05.

    With a quarter of the default 18 skips are left, so not all of these runs end as plain networks. Of the other settings
    the slowest removal has the highest accuracy.
    """
)

# %% [markdown]
# ## What is a skip worth?
#
# A multiplier that solves an equality constraint is a **price**: by how much the loss falls if the constraint is relaxed
# a little. Here it is $-\partial C / \partial \alpha_l$ at $\alpha = 0$: what would the finished plain network gain by a
# little of skip $l$? One backward pass measures it, in nats (the unit of the loss) per unit of skip weight. **Predict** the
# median over the layers of the price, and of the final $\lambda_l$.

# %% tags=["nbval-ignore-output"]
prediction = widgets.Prediction(
    "6.3", {"price, median": (-10, 10), "final λ, median": (0, 100)}, interactive=interactive
)
prediction

# %% tags=["nbval-ignore-output", "hide-input"]
van.cpu().train()  # with batch statistics, as the multipliers saw the loss
prices = diagnostics.shortcut_prices(van, images.train_images, images.train_labels)
prices["multiplier"] = trainer.phase_out.multipliers.values.cpu().numpy()
medians = prices[["price", "multiplier"]].median()
prediction.compare(
    dict(zip(prediction.questions, medians, strict=True)), plots.prices_and_multipliers(prices)
)

# %% tags=["keep_output", "hide-input"]
finished = runs[(runs["factor"] == 1) & (runs["final_skip_weight"] == 0)]
largest = finished.loc[finished.groupby("seed")["price"].apply(lambda price: price.abs().idxmax())]
exercises.findings(
    {
        f"Recorded, all {len(finished)} multipliers are above their price.": bool(
            (finished["multiplier"] > finished["price"]).all()
        ),
        "Half of the prices are between -0.005 and 0.005.": bool(
            finished["price"].quantile([0.25, 0.75]).abs().max() <= 0.005
        ),
        "In each seed the price of the largest size is the first layer's, and below 0.": bool(
            (largest["layer"] == 1).all() and (largest["price"] < 0).all()
        ),
    }
)

# %% tags=["nbval-ignore-output", "hide-input"]
prediction.show(
    r"""
    With the statistics of the batch, as in training, the finished network would hardly gain or lose by a little of its skips.
    Only in the first layer would a little of the skip cost.

    Every multiplier is far above its price. That is no fault: under the clip each of them solves the problem. But *how far*
    it is above says nothing about the skip. The learning rates set it.
    """
)

# %% [markdown]
# ## Clock or market?
#
# So compare what the learning rates give with what the loss offers (`constraints.price_ratio`):
#
# $$\frac{\alpha_0 \sqrt{\eta' / \eta_\alpha}}{\left| \partial C / \partial \alpha \right|}$$
#
# In the recorded runs the median multiplier is 4.8. The median size of the loss's gradient is 0.05 at initialization and
# 0.004 at the end. That is a factor of 100 or more. What would change near 1? Take three skips with the prices 0.02, 0.1
# and 0.2, and two pairs of learning rates. Are they removed together, or the cheapest first?

# %% tags=["keep_output", "hide-input"]
rates = {"skip_lr 0.001, dual_lr 0.01": (0.001, 0.01), "skip_lr 0.5, dual_lr 0.0001": (0.5, 1e-4)}
rows = []
for name, (skip_rate, dual_rate) in rates.items():
    for price in (0.02, 0.1, 0.2):
        chosen = {"skip_weight": 0.95, "skip_lr": skip_rate, "dual_lr": dual_rate}
        ratio = constraints.price_ratio(price=price, **chosen)
        step = constraints.first_zero_step(constraints.simulate_path(3000, slope=price, **chosen))
        rows.append((name, price, f"{ratio:.3g}", step))
simulated = pd.DataFrame(rows, columns=["learning rates", "price", "ratio", "removed at step"])
simulated.set_index("learning rates").rename_axis(index=None, columns="learning rates")

# %% [markdown]
# Far above 1 the phase-out is a **clock**: with ratios above 10 the three are removed within 4 % of the same step.
# Near 1 or below it is a **market**: each skip waits until its multiplier has passed its price. With 0.2 that takes 2,000
# steps.

# %% [markdown]
# ## Is the order that prices choose a good one?
#
# In a market the loss has a say. In recorded runs a market removed the skips of a network with 40 layers, with eight
# seeds. Then a clock removed them in the market's order (the cheapest first), in its reverse and in three others.
# **Predict** which of three orders ends highest and which lowest on the test set.

# %% tags=["nbval-ignore-output"]
cheap, dear, random = "the cheapest first", "the dearest first", "at random"
prediction = widgets.Prediction(
    "6.4", dict.fromkeys(("highest", "lowest"), (cheap, dear, random)), interactive=interactive
)
prediction

# %% tags=["nbval-ignore-output", "hide-input"]
table = batch.recorded("price_order").table
columns = {
    "layer_correlation": "rank correlation",
    "train_accuracy": "training accuracy",
    "test_accuracy": "test accuracy",
}
means = table.groupby("network", sort=False)[list(columns)].mean()
shown = means.round({"layer_correlation": 2}).round(3).rename(columns=columns)
asked = means["test_accuracy"][[cheap, dear, random]]
prediction.compare(
    {"highest": asked.idxmax(), "lowest": asked.idxmin()},
    shown.rename_axis(index=None, columns="order of removal"),
    r"""
    **See**: the rank correlation of layer and step is 1 from input to output, -1 from output to input. The cheapest skips
    are at the output side, and to remove them first costs 8 points of test accuracy against the reverse. (The market itself
    removes all 40 nearly at the same time, and is not told apart from the best order.) A price is myopic: it says what a little of
    a skip is worth *now*, to the weights as they are.

    Why from input to output? The skips that are left then lead the gradient to the layers that have just lost theirs. In
    the other order plain layers pile up between the loss and the skips that are left. That is our reading.
    """,
)

# %% tags=["keep_output", "hide-input"]
below = [batch.compare(table, cheap, other) for other in (dear, random)]
reverse = batch.compare(table, dear, "from input to output")
exercises.findings(
    {
        "The market removes skips at the output side first.": means["layer_correlation"].iloc[0] < -0.5,
        "Its order ends lower than its own reverse, and than a random order.": all(
            pair.high < 0.0 for pair in below
        ),
        "Its reverse is not told apart from the order from input to output.": reverse.low
        < 0.0
        < reverse.high,
    }
)

# %% [markdown]
# ## Explore
#
# **Misconception**: *the multiplier grows until it just balances the loss, so its final value says what the skip was
# worth.* The slope of the loss is the same, 0.3 by default, in all of these pictures. Change **dual learning rate** and
# **damping**: when does the skip weight reach zero, and at which value does the multiplier end?


# %% tags=["hide-input"]
def show(dual_lr, damping):
    choices = {**setting, "dual_lr": dual_lr, "damping": damping}
    shown = {
        "clipped": constraints.simulate_path(num_steps, **choices),
        "free": constraints.predict_path(num_steps, is_projected=False, **choices),
    }
    critical = constraints.critical_damping(skip_lr, dual_lr)
    return plots.skip_and_multiplier_paths(shown, caption=f"Critical damping here: c* = {critical:.3g}.")


# %% tags=["nbval-ignore-output", "hide-input"]
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
# **Correction**: the slope is the same in each picture, and the multiplier ends at another value in each. Only a free path
# with damping brings it back to the slope.

# %% [markdown]
# ## Exercise 1 · On time
#
# `skip_lr` 0.001, `skip_weight` 0.95, `slope` 0.3, with the clip: choose a dual learning rate with which the skip weight
# reaches zero at step 2000, give or take 100.

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
# damped path approaches 0, and the constraint asks for exactly 0. And without the clip a real network may take negative
# values, an anti-skip that no plain network has. Another: are the recorded phase-outs evidence that multipliers *choose*?
# No: lesson 5 leaves the loss's gradient out of their step, and no layer's step changes by more than 3.

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
# - A skip weight and its multiplier are a mass on a spring, $\alpha'' = -\eta_\alpha \eta' \alpha$. Without the clip they
#   oscillate; the clip makes a phase-out.
# - The two learning rates set the step at which a skip weight first reaches 0, $\pi / (2 \omega)$: to within one per cent for
#   half of the recorded layers.
# - Under the clip every multiplier at or above the price pins its skip weight at 0. So a final multiplier says nothing about
#   what the skip was worth. The price is $-\partial C / \partial \alpha$ at $\alpha = 0$: measure it.
# - **Clock or market?** Divide $\alpha_0 \sqrt{\eta' / \eta_\alpha}$ by the price. Far above 1 the learning rates set the time
#   of a removal, near 1 the loss does. The course's settings are clocks.
# - A market removes the cheapest skips first, those at the output side, and all of them nearly at the same time. Where a
#   clock keeps that order and gives each skip its time, it is worse than its reverse.
#
# **Next**: removing skips is one answer to degradation. There are others. What if there never were a second path, and the
# identity stood in the weight itself? [7 · Dirac weights](07_dirac.ipynb).
#
# **Limits of the evidence.** One data set, one depth and width in the recorded runs, three seeds, and eight of the market.
# The skip weights take plain gradient steps; with another optimizer for them the oscillator is another. Whether the paper
# clips, its abstract does not say: the clip is part of our reading.
#
# **References.** J. C. Platt and A. H. Barr (1987), *Constrained differential optimization*, NIPS. · D. P. Bertsekas
# (1982), *Constrained optimization and Lagrange multiplier methods*. · R. P. Monti, S. Tootoonian and R. Cao (2018),
# *Avoiding degradation in deep feed-forward networks by phasing out skip-connections*, ICANN.

# %% tags=["nbval-ignore-output", "hide-input"]
batch.record_metrics(comparison)
