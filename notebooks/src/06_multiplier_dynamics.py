# %% [markdown]
# # 6 · Multiplier dynamics
#
# *When will a skip-connection be gone, and what is its multiplier worth in the end?*
#
# **Time**: 35 minutes of reading and thinking; the cells take about 15 seconds on two processor cores.
# **You need**: lesson 5, and the equation of a mass on a spring.
#
# **Afterwards you can**
#
# - say why a skip weight and its multiplier swing, and what the clip at 0 does to that,
# - choose a multiplier step size for the step at which the skips should be gone,
# - use the quadratic term as friction, and say what it would be good for,
# - tell the final multiplier from the *price* of a shortcut, and measure that.

# %% tags=["parameters"]
slope: float = 0.3  # how strongly the loss holds on to the skip, in nats per unit of skip weight
skip_weight: float = 0.95  # initial skip weight
skip_lr: float = 0.01  # step size of the skip weight, in the examples without a network
dual_lr: float = 0.001  # step size of the multiplier, in the examples without a network
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
# Take one skip weight $\alpha$ with its multiplier $\lambda$, and a loss that simply wants the skip: $C = -k \alpha$, with
# a slope $k$. One step of training does
#
# $$\alpha \leftarrow \alpha - \eta_\alpha \, (\lambda - k) \qquad \lambda \leftarrow \lambda + \eta' \alpha$$
#
# For small steps these are two differential equations, and together they are one that you know:
#
# $$\alpha'' + \eta_\alpha \, \eta' \, \alpha = 0$$
#
# a mass on a spring. The multiplier is the spring: it tightens as long as $\alpha > 0$, at first not enough to hold
# against the loss, then more than enough. The frequency is $\omega = \sqrt{\eta_\alpha \eta'}$ per step.
#
# ![A mass alpha on a spring that is fixed at 0; the loss pulls it away. Beside it its swing: free, it goes through 0; clipped, it stays there](../assets/figures/multiplier_dynamics.svg)
#
# A spring without friction swings for ever. So $\alpha$ would go through 0 and become *negative*, an anti-skip, and come
# back. In training it is clipped to $[0, 1]$ after each step.

# %% [markdown]
# ## Predict
#
# `slope` 0.3, `skip_weight` 0.95, `skip_lr` 0.01, `dual_lr` 0.001. Without looking ahead:
#
# 1. Without the clip: which is the largest value that $\alpha$ will reach?
# 2. With the clip: at about which step will $\alpha$ be 0, and will it stay there?
# 3. Where will $\lambda$ end: below $k$, at $k$, or above it?

# %%
my_prediction = {"largest alpha": None, "gone at step": None, "final multiplier": None}

# %% [markdown]
# ## Run
#
# `predict_path` is the closed form of the oscillator. `simulate_path` lets the library's own steps go: primal step,
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
gone = int((clipped["skip_weight"] == 0.0).to_numpy().argmax())
predicted = constraints.predict_removal_step(**setting)
for name in ("free", "clipped"):
    difference = paths[f"{name}, simulated"] - paths[f"{name}, predicted"]
    print(f"{name}: simulation and closed form agree to 0.02:", bool((difference.abs().max() < 0.02).all()))
print("free: the skip weight becomes negative:", bool(free["skip_weight"].min() < 0))
print("clipped: gone at step", gone, "and for good:", bool((clipped["skip_weight"].iloc[gone:] == 0).all()))
print("predicted:", round(predicted))
print("clipped: the multiplier ends above the slope:", bool(clipped["multiplier"].iloc[-1] > slope))

# %% tags=["nbval-ignore-output"]
found = {
    "largest alpha": free["skip_weight"].max(),
    "gone at step": gone,
    "final multiplier": clipped["multiplier"].iloc[-1],
}
comparison = pd.DataFrame(
    {"quantity": list(found), "found": [round(float(value), 3) for value in found.values()]}
)
comparison.assign(predicted=[my_prediction.get(name) for name in found]).fillna("–")

# %% [markdown]
# ## Look
#
# **See**: the lines of simulation and closed form lie on each other. Free, the skip weight swings above 1 and below
# 0. Clipped, it waits at 1 until the multiplier has grown to the slope, falls, and stays at 0; the multiplier stands
# still from then on, *above* the slope.

# %% tags=["nbval-ignore-output"]
plots.skip_and_multiplier_paths(paths)

# %% [markdown]
# The same in the plane of the two. **See**: free, the path is an ellipse around the balance (0, k) that never comes
# nearer. The clip ends it at the first touch of 0: that is what turns the method into a *phase-out*. Friction is the
# other way: a quadratic term $\frac{c}{2} \alpha^2$ in the Lagrangian, the `damping` of `Multipliers`, makes the path spiral
# in, and from $c^* = 2 \sqrt{\eta' / \eta_\alpha}$ on it creeps in without swinging. Only then, without the clip,
# does $\lambda$ end at exactly $k$.

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
ends = {name: path.iloc[-1] for name, path in damped.items()}
print(
    "undamped: the multiplier is within 0.01 of the slope:",
    abs(ends["free, c = 0.0 c*"].multiplier - slope) < 0.01,
)
print(
    "c = c*: the multiplier is within 0.01 of the slope:",
    abs(ends["free, c = 1.0 c*"].multiplier - slope) < 0.01,
)
print(
    "c = c*: the skip weight became negative:", bool((damped["free, c = 1.0 c*"].skip_weight < -1e-6).any())
)

# %% [markdown]
# ## A sizing rule
#
# "The skips will be gone near step $N$": the closed form says when $\alpha$ first reaches 0, and `size_dual_lr` turns
# that round. For small slopes it is simple: a quarter of a swing, $N \approx \pi / (2 \omega)$, so a step size four times
# as large halves the time. **See** how the two cases meet: where the skip weight does not reach 1, and where it waits
# there.

# %% tags=["nbval-ignore-output"]
wanted = [500, 1000, 2000, 4000]
rule = pd.DataFrame({"wanted step": wanted})
rule["dual_lr"] = [constraints.size_dual_lr(step, skip_weight, skip_lr, slope) for step in wanted]
simulated = [
    constraints.simulate_path(2 * step, skip_weight, skip_lr, size, slope)
    for step, size in zip(wanted, rule["dual_lr"], strict=True)
]
rule["simulated step"] = [int((path["skip_weight"] == 0).to_numpy().argmax()) for path in simulated]
rule.style.format({"dual_lr": "{:.2e}"}).hide(axis="index")

# %% [markdown]
# ## A real network
#
# The loss of a network is not linear in its skip weights, its slope changes as the weights learn, and there are many
# skips. Does the oscillator still say when each of them goes? **Predict**: to within a factor of ten, of two, or to a
# tenth?

# %% tags=["nbval-ignore-output"]
van = models.mlp(depth=depth, width=32, connection="van", seed=seed)
config = training.TrainConfig(
    num_epochs=num_epochs, remove_by=None, seed=seed
)  # no cap: the multipliers alone
trainer = training.Trainer(van, images, config)
for _ in (bar := tqdm(trainer, total=num_epochs, desc="VAN", unit="epoch", file=sys.stdout)):
    bar.set_postfix_str(f"{models.num_skips(van)} skips left")
steps = diagnostics.removal_steps(trainer.phase_out).assign(run="this run")
plots.predicted_and_real_steps(steps, caption="Each marker is a layer. On the line the prediction was right.")

# %% tags=["keep_output"]
error = steps["first_zero_step"] / steps["predicted_step"] - 1.0
print("skips that reached 0:", int(steps["first_zero_step"].notna().sum()), "of", depth)
print("layers predicted to within 15 %:", int((error.abs() < 0.15).sum()), "of", depth)

# %% [markdown]
# Recorded, for 40 layers, three seeds, and multiplier step sizes from a quarter to 16 times the default:

# %% tags=["keep_output"]
recorded = batch.recorded("multiplier_dynamics_mini")
runs = recorded.table.assign(ratio=lambda rows: rows["first_zero_step"] / rows["predicted_step"])
summary = runs.groupby("factor").agg(
    skips=("layer", "size"),
    reached_0=("first_zero_step", "count"),
    ratio_median=("ratio", "median"),
    ratio_min=("ratio", "min"),
    ratio_max=("ratio", "max"),
    test_accuracy=("test_accuracy", "mean"),
)
print("step of removal / predicted step, by factor of the default dual_lr")
print(summary.round(2).to_string())
print("made by:", recorded.command)

# %% tags=["nbval-ignore-output"]
named = runs.assign(run=[f"{factor:g} times the default" for factor in runs["factor"]])
plots.predicted_and_real_steps(named)

# %% [markdown]
# To within a tenth or so, where the skip went at all (with a quarter of the default some were still there at the end),
# though the prediction knows nothing of the network: it was made with a slope of 0.3 for every
# layer. Why it works is in the next figure: the multipliers grow so large that what the loss has to say hardly counts.

# %% [markdown]
# ## The price of a shortcut
#
# In the theory of constrained optimization a multiplier is a *price*: by how much the loss would fall if its
# constraint were eased a little. Here that is $-\partial C / \partial \alpha_l$ at $\alpha = 0$: would the finished plain
# network like a little of skip $l$ back? It can be measured by one backward pass. **Predict**: will the final
# $\lambda_l$ be near it?

# %% tags=["nbval-ignore-output"]
prices = diagnostics.shortcut_prices(van.cpu(), images.train_images, images.train_labels)
prices["multiplier"] = trainer.phase_out.multipliers.values.cpu().numpy()
plots.prices_and_multipliers(prices)

# %% tags=["keep_output"]
finished = runs[(runs["factor"] == 1) & (runs["final_skip_weight"] == 0)]
above = finished["multiplier"] > finished["price"]
print("recorded, default step size: multipliers above their price:", int(above.sum()), "of", len(above))
print(
    "median price:",
    round(finished["price"].median(), 2),
    "  median multiplier:",
    round(finished["multiplier"].median(), 2),
)
print("layers with a price below 0, where the loss would rise:", f"{(finished['price'] < 0).mean():.0%}")

# %% [markdown]
# Not near it at all: the ascent over-shoots by far, and under the clip nothing brings a multiplier down again. Most
# prices are a little below 0: the network has settled in its plain life, and a little of the skip
# would disturb it. So a final multiplier says *how hard it was pushed*, and not what the shortcut was worth. (The first
# layer, whose skip goes first, is the exception in the recorded runs: it would like some of it back.)

# %% [markdown]
# ## Explore
#
# **Misconception**: *a larger multiplier step size means a stronger penalty in the end.* Change **multiplier step size**
# and **damping** and look at both ends: the step at which the skip is gone, and where the multiplier stands still.


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
            "multiplier step size",
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
# ## Exercise 1 · On time
#
# `skip_lr` 0.001, `skip_weight` 0.95, `slope` 0.3: choose a multiplier step size with which the skip is gone at step
# 2000, give or take 100.

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
# `skip_lr` 0.01, `dual_lr` 0.0004, no clip: what is the smallest damping with which the skip weight does not swing
# through 0?

# %% tags=["nbval-ignore-output"]
### solution
my_damping = 2.0 * (0.0004 / 0.01) ** 0.5
### stub
# my_damping = None  # your number
### end
exercises.check_damping(my_damping, skip_lr=0.01, dual_lr=0.0004)

# %% [markdown] tags=["solution"]
# *For the instructor.* A question for the discussion: if damping finds the right price and the clip does not, why
# clip? Because the damped path only creeps towards 0 and the constraint asks for exactly 0; and because without the
# clip a real network may leave again through negative values, an anti-skip that no plain network has.

# %% [markdown]
# ## Take away
#
# - A skip weight and its multiplier are a mass on a spring. Without the clip they swing; the clip makes a phase-out.
# - When a skip goes is set by the two step sizes, and can be predicted: to about a tenth in the recorded runs.
# - Damping of $c^* = 2 \sqrt{\eta' / \eta_\alpha}$ stops the swing; only damped and free does the multiplier end at the price.
# - Under the clip the multiplier over-shoots and freezes. The price of a shortcut is $-\partial C / \partial \alpha$ at
#   $\alpha = 0$: measure it, do not read it off the multiplier.
#
# **Limits of the evidence.** One data set, one depth and width in the recorded runs, three seeds. The skip weights take
# plain gradient steps; with another optimizer for them the oscillator is another. That the paper clips, and how, could
# not be read: the clip is part of our reading of its abstract.
#
# **References.** J. C. Platt and A. H. Barr (1987), *Constrained differential optimization*, NIPS. · D. P. Bertsekas
# (1982), *Constrained optimization and Lagrange multiplier methods*. · R. P. Monti, S. Tootoonian and R. Cao (2018),
# *Avoiding degradation in deep feed-forward networks by phasing out skip-connections*, ICANN.

# %% tags=["nbval-ignore-output"]
batch.record_metrics(comparison)
