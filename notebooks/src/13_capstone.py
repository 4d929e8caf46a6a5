# %% [markdown]
# # 13 · Capstone
#
# *How does a question of your own become an experiment, and how do its runs become a claim that holds?*
#
# You choose a question, predict, run a sweep, and write a claim. Which of its numbers may you report?
#
# **So far**: twelve questions, all of them ours, the last about a network of your own
# ([lesson 12](12_your_network.ipynb)).
#
# **Time**: 60 minutes of reading and thinking; the cells take about 20 seconds on two idle processor cores.
#
# **You need**: [lesson 5](05_phasing_out.ipynb), [lesson 6](06_multiplier_dynamics.ipynb) (what the learning rates do); mean
# and standard deviation.
#
# **Afterwards you can**
#
# - turn a question into a sweep, run it, and read its runs as a table,
# - choose on a validation set, and report on a test set that chose nothing,
# - compare two settings in pairs, seed by seed,
# - say which sentences a figure supports, and what would change your mind.

# %% tags=["parameters"]
question: str = "order"  # order, speed, or own
depth: int = 20  # number of layers
width: int = 32  # units per layer
num_epochs: int = 10  # passes over the 4,000 training images that are left beside the validation set
num_seeds: int = 4  # networks for each setting; at least 3
seed: int = 0  # the first of the seeds
num_workers: int = 2  # processes that train
runs_folder: str = ""  # where to keep the runs; empty for a folder that is removed in the end
device: str = "auto"  # auto, cpu, cuda or mps
interactive: bool = True  # controls to press; false draws plain figures instead

# %% tags=["hide-input"]
import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from van_tutorial import batch, exercises, plots, widgets


def mean_and_sd(values):
    return f"{values.mean():.3f} ± {values.std():.3f}"


# %% [markdown]
# ## The idea: predict before the runs, choose before the report
#
# ![A chain: question, prediction, a sweep of values by seeds, validation set to choose on, test set to report on, claim, limits, and the next question](../assets/figures/capstone.svg)
#
# - *One thing varies.* All else stays as it is.
# - *Each value gets the same seeds.* A seed sets the initial weights and the order of the images, so compare in **pairs**.
#   With accuracies $a_s$ and $b_s$ of two settings at seed $s$:
#
# $$d_s = a_s - b_s \qquad \bar d = \frac{1}{n} \sum_s d_s \qquad s_d = \sqrt{\frac{1}{n - 1} \sum_s (d_s - \bar d)^2}$$
#
# - *How many seeds?* Where two settings do not differ, all $n$ differences have the same sign in one of $2^{n-1}$ experiments:
#   with two seeds in every second, with four in one of eight.
# - *Three sets.* Train on one, **choose** on another, **report** on the third. A number chosen for being large is too large.
#
# | `question` | it asks | what varies |
# | --- | --- | --- |
# | `order` | Which skips should be removed first? | `dual_lr_spread`: above 1 those next to the input, below 1 those next to the output |
# | `speed` | What does it cost to hurry? | `dual_lr`, the dual learning rate |
# | `own` | Yours | any parameter of `models.mlp` or `TrainConfig` |

# %%
clock = {"stagger": 0.0, "remove_by": None}  # multipliers alone, all from the first step
questions = {
    "order": {
        "fixed": {**clock, "dual_lr": 1.0},
        "grid": {"dual_lr_spread": [0.2, 1.0, 5.0, 25.0]},
        "compare": ["5.0", "25.0"],
    },
    "speed": {
        "fixed": {**clock, "dual_lr_spread": 5.0},
        "grid": {"dual_lr": [0.2, 1.0, 5.0, 25.0]},
        "compare": ["1.0", "0.2"],
    },
    "own": {"grid": {"skip_weight": [0.5, 0.8, 0.95]}, "compare": ["0.95", "0.5"]},
}
asked = questions[question]
grid, (baseline, other) = asked["grid"], asked["compare"]
names = tuple(", ".join(map(str, values)) for values in itertools.product(*grid.values()))

# %% [markdown]
# ## Predict
#
# Which setting will have the best mean test accuracy, and which the worst? How far will they lie apart?

# %% tags=["nbval-ignore-output"]
prediction = widgets.Prediction(
    "13.1", {"best": names, "worst": names, "apart": (0, 0.2)}, interactive=interactive
)
prediction

# %% [markdown]
# And *what would change your mind?* Double-click this cell, and write such a result here before anything runs. An example:
# "25.0 is below 1.0 in every seed".

# %% [markdown]
# ## Describe
#
# A sweep is a file. What it does not name has the library's default. The validation set is a fifth of the training images.

# %% tags=["keep_output"]
fixed = {"depth": depth, "width": width, "num_epochs": num_epochs, "device": device}
fixed |= {"validation_fraction": 0.2, **asked.get("fixed", {})}
description = {
    "train": "mlp",
    "fixed": {name: value for name, value in fixed.items() if name not in grid},
    "grid": grid,
    "seeds": list(range(seed, seed + num_seeds)),
}
temporary = tempfile.TemporaryDirectory()
folder = Path(runs_folder or temporary.name) / question
folder.mkdir(parents=True, exist_ok=True)
file = folder / f"{question}.yaml"
file.write_text(yaml.safe_dump(description, sort_keys=False, default_flow_style=None))
print(file.read_text())

# %% [markdown]
# ## Run
#
# `batch.sweep` makes the runs that are missing. Interrupt the cell and run it again: it makes the rest. So does the command
# `van-tutorial sweep FILE`.

# %% tags=["nbval-ignore-output"]
swept = batch.sweep(file, runs=folder, workers=num_workers, progress=sys.stdout)

# %% [markdown]
# `batch.results` reads the runs into a table. A VAN that keeps a skip is no plain network: it gets a setting of its own, and
# is not counted.

# %% tags=["hide-input"]
made = {run.name for run in (*swept.finished, *swept.there)}  # a run's folder is named by its key
table = batch.results(swept.folder)
measured = ["test accuracy", "validation accuracy", "skips left", "removed at step"]
runs = table[table["run"].isin(made)].astype(dict.fromkeys(measured, float))
runs["setting"] = runs[list(grid)].astype(str).agg(", ".join, axis=1)
keeps = (runs["connection"] == "van") & (runs["skips left"] > 0)
runs.loc[keeps, "setting"] += ", skips left"
plain = runs[~keeps]
if plain.empty:
    raise ValueError("Every VAN has kept a skip: train for more epochs, or with a larger dual_lr.")

# %% [markdown]
# ## Evidence: every run that was described is there
#
# Look at this before any accuracy. To leave out a failed run is a choice as well.

# %% tags=["keep_output", "hide-input"]
again = batch.sweep(file, runs=folder, workers=num_workers)
num_runs = batch.read_sweep(file).num_runs
exercises.findings(
    {
        f"All {num_runs} runs are finished.": len(made) == num_runs,
        "The same sweep makes no run again.": len(again.there) == num_runs,
        "No VAN keeps a skip.": not keeps.any(),
    }
)

# %% [markdown]
# ### Prediction and result

# %% tags=["nbval-ignore-output", "hide-input"]
summary = runs.groupby("setting", sort=False).agg(
    **{
        "runs": ("seed", "size"),
        "test accuracy": ("test accuracy", "mean"),
        "s.d.": ("test accuracy", "std"),
        "validation accuracy": ("validation accuracy", "mean"),
        "most skips left": ("skips left", "max"),
        "removed at step": ("removed at step", "mean"),
    }
)
means = plain.groupby("setting", sort=False)[["test accuracy", "validation accuracy"]].mean()
tested = means["test accuracy"]
varied = ", ".join(grid)
found = {"best": tested.idxmax(), "worst": tested.idxmin(), "apart": tested.max() - tested.min()}


def draw(rows, series, title, caption, settings, x=varied):
    table, y = rows.assign(network=series), "test accuracy"
    fig = plots.measure_curves(table, y, title, y, caption, over="setting", x=x)
    fig.update_traces(line={"color": plots.PALETTE[0], "width": 1})
    fig.update_traces(marker={"color": plots.PALETTE[0], "symbol": "circle"})
    order = {"type": "category", "categoryorder": "array", "categoryarray": settings}
    return fig.update_layout(showlegend=False).update_xaxes(**order)


caption = f"Mean and standard deviation over {num_seeds} seeds."
by_setting = draw(plain, "mean", "Test accuracy of each setting", caption, names)
shown = summary.drop(columns=["runs", "most skips left"]).rename_axis(None).round(3)
shown["removed at step"] = shown["removed at step"].map("{:.0f}".format)
prediction.compare(found, by_setting.update_traces(mode="markers"), shown)

# %% [markdown]
# **See**: the means, and how far the bars reach. Now two settings in pairs:

# %% tags=["nbval-ignore-output", "hide-input"]
pairs = plain[plain["setting"].isin([baseline, other])]
caption = "Each line is a seed. Where it rises, the setting at the right is better."
prediction.show(draw(pairs, pairs["seed"], f"{baseline} and {other}, in pairs", caption, [baseline, other]))

# %% [markdown]
# **See**: do the lines go the same way? Overlapping bars do not tell.

# %% [markdown]
# ## Choose on the validation set, report on the test set
#
# Three ways to come to a number:

# %% tags=["nbval-ignore-output", "hide-input"]
best_run = plain.loc[plain["test accuracy"].idxmax()]
chosen_run = plain.loc[plain["validation accuracy"].idxmax()]
chosen = means["validation accuracy"].idxmax()
of_chosen = plain[plain["setting"] == chosen]["test accuracy"]
ways = {
    "best run on the test set": (best_run["setting"], f"{best_run['test accuracy']:.3f}"),
    "best run on the validation set": (chosen_run["setting"], f"{chosen_run['test accuracy']:.3f}"),
    "best mean on the validation set": (chosen, mean_and_sd(of_chosen)),
}
pd.DataFrame.from_dict(ways, orient="index", columns=["setting", "test accuracy"])

# %% [markdown]
# The second is the honest number of *one network*. The third is that of a *way to train one*, with any seed. The first is
# neither.

# %% [markdown]
# ## Four sweeps like yours agree where pairs agree
#
# The question `order` was recorded with sixteen seeds, by `python -m tools.record capstone_mini`. **Predict** in how many
# of them one spread has a higher test accuracy than another.

# %% tags=["nbval-ignore-output"]
which = {"25.0 ahead of 5.0 (seeds)": (0, 16), "0.2 ahead of 1.0 (seeds)": (0, 16)}
prediction = widgets.Prediction("13.2", which, interactive=interactive)
prediction

# %% tags=["nbval-ignore-output", "hide-input"]
recorded = batch.recorded("capstone_mini").table.sort_values("dual_lr_spread")
wide = recorded.pivot(index="seed", columns="dual_lr_spread", values="test_accuracy")
rows = {}
for a, b in ((25.0, 5.0), (5.0, 1.0), (0.2, 1.0)):
    difference = wide[a] - wide[b]
    ahead = (difference > 0).groupby(difference.index // 4).sum().tolist()
    rows[f"{a} less {b}"] = (mean_and_sd(difference), sum(ahead), ", ".join(map(str, ahead)))
columns = ["test accuracy", "ahead (seeds of 16)", "ahead, sweep by sweep (of 4)"]
step = recorded.groupby("dual_lr_spread")["removed_at_step"].transform("mean")
labels = recorded["dual_lr_spread"].astype(str) + step.map("<br>last removal: step {:.0f}".format)
seeds = recorded.assign(setting=pd.Categorical(labels, labels.unique()))
seeds = seeds.rename(columns={"test_accuracy": "test accuracy"})
caption = "Each line is a seed."
fig = draw(seeds, seeds["seed"], "Sixteen seeds", caption, labels.unique(), "dual_lr_spread")
prediction.compare(
    {
        "25.0 ahead of 5.0 (seeds)": rows["25.0 less 5.0"][1],
        "0.2 ahead of 1.0 (seeds)": rows["0.2 less 1.0"][1],
    },
    fig,
    pd.DataFrame.from_dict(rows, orient="index", columns=columns),
    r"""
    - *25.0 less 5.0*: the ranges overlap, and yet every seed agrees. Pairs see what ranges hide.
    - *5.0 less 1.0*: the ranges do not touch.
    - *0.2 less 1.0*: the seeds disagree, in every sweep. This does *not* say that the two are equal. Sixteen seeds cannot
      show a difference.

    Always look for what else changed. With a spread above 1 the skips next to the input are removed first, *and* the last
    one later. Is it the order, or the time? The value 0.2 has the one without the other. Its last removal is much later
    than that of 1.0, and they are not told apart. So the time alone is not it.
    """,
)

# %% [markdown]
# ## Explore
#
# **Misconception**: *the best run of a sweep is its result.* Suppose that only the luck of the seed makes a difference, and
# that you keep the best of $n$ runs. Each point is the mean over 2,000 such sweeps, computed, not trained. Change the **spread
# over the seeds** and the number of **test images**. By how much does the best run overstate?


# %% tags=["hide-input"]
def show(spread, num_images):
    luck, size = np.random.default_rng(0), int(num_images)
    true = luck.normal(0.75, spread, (2000, 64)).clip(0, 1)
    test, validation = (luck.binomial(size, true) / size for _ in range(2))
    rows = [("mean of all", n, true.mean()) for n in (1, 64)]
    for n in (1, 2, 4, 8, 16, 32, 64):
        picks = {"best on the test set": (test, test), "that network on fresh images": (test, true)}
        picks["best on the validation set, reported on the test set"] = (validation, test)
        rows += [(k, n, s[range(2000), by[:, :n].argmax(1)].mean()) for k, (by, s) in picks.items()]
    return best_of_many(rows, f"Only luck differs: s.d. {spread:.3g}, {size} images in each set.")


def best_of_many(rows, caption):
    chances = pd.DataFrame(rows, columns=["network", "runs", "accuracy"])
    texts = ("The best of many", "accuracy", caption, "runs", "runs to choose from")
    fig = plots.measure_curves(chances, "accuracy", *texts)
    fig.update_xaxes(type="log", tickvals=[1, 2, 4, 8, 16, 32, 64])
    return fig.update_layout(legend={"orientation": "h", "y": -0.25}, height=480)


# %% tags=["nbval-ignore-output", "hide-input"]
own_spread = round(float(summary["s.d."].mean().clip(0, 0.1)), 3)  # of your sweep
panel = widgets.explore_panel(
    show,
    (
        widgets.Slider("spread", "spread over the seeds", own_spread, 0.0, 0.1, "S.d. of the true accuracy"),
        widgets.Slider(
            "num_images", "test images", 1000, 100, 100_000, "In each of the two sets", is_log=True
        ),
    ),
    interactive=interactive,
)
panel

# %% [markdown]
# **See**: the more runs, the higher the best on the test set. Two kinds of luck are in it. That of the *images* is the drop to
# the two lines below, and a validation set takes it out. That of the *seed* is what is left above the mean. With another
# seed it is gone.
#
# **Correction**: the result of a sweep is the *mean* of a setting with its spread, reported on images that chose nothing.

# %% [markdown]
# ## Exercise 1 · Design
#
# *Does a VAN end better when its skips start weaker?* Describe the experiment. The initial skip weight is the parameter
# `skip_weight`, 0.95 by default. The sets are "training", "validation" and "test".

# %% tags=["nbval-ignore-output"]
my_design = dict.fromkeys(("vary", "values", "seeds", "validation_fraction", "choose on", "report on"))
### solution
my_design["vary"] = "skip_weight"
my_design["values"] = [0.5, 0.8, 0.95]
my_design["seeds"] = [0, 1, 2, 3]
my_design["validation_fraction"] = 0.2
my_design["choose on"] = "validation"
my_design["report on"] = "test"
### stub
# my_design["vary"] = None  # your parameter: its name
# my_design["values"] = None  # your list of values
# my_design["seeds"] = None  # your list of seeds
# my_design["validation_fraction"] = None  # your fraction of the training images
# my_design["choose on"] = None  # your set to choose on
# my_design["report on"] = None  # your set to report on
### end
exercises.check_design(my_design, about="skip_weight")

# %% [markdown]
# ## Exercise 2 · Read
#
# From the table `runs` (columns `setting`, `seed`, `test accuracy`): mean and s.d. of the difference `other` less `baseline`,
# paired by seed.

# %% tags=["nbval-ignore-output"]
my_difference = {"mean": None, "sd": None}
### solution
accuracies = runs.pivot(index="seed", columns="setting", values="test accuracy")
differences = accuracies[other] - accuracies[baseline]
my_difference = {"mean": differences.mean(), "sd": differences.std(ddof=1)}
### stub
# my_difference["mean"] = None  # your number
# my_difference["sd"] = None  # your number
### end
print(f"other: {other}, baseline: {baseline}")
exercises.check_paired_difference(my_difference, runs, baseline, other)

# %% [markdown]
# ## Exercise 3 · Claim
#
# Which of these sentences do your two figures support? `baseline` and `other` are those of exercise 2.
#
# 1. On these test images, with all else as it was, `other` was ahead of `baseline` on average and in every seed.
# 2. With the best value one can expect the accuracy of the best run.
# 3. The value with the highest mean is the best there is.
# 4. Two values whose bars overlap are equally good.
# 5. The same will be found for other images, and for networks ten times as wide.
# 6. The better setting is better because its gradients are shattered less.

# %% tags=["nbval-ignore-output"]
my_claims = dict.fromkeys(range(1, 7))
### solution
my_claims = dict.fromkeys(range(1, 7), False)
my_claims[1] = bool((differences > 0).all())
### stub
# my_claims[1] = None  # your answers: True or False
# my_claims[2] = None  # …
# my_claims[3] = None  # …
# my_claims[4] = None  # …
# my_claims[5] = None  # …
# my_claims[6] = None  # …
### end
exercises.check_claims(my_claims, runs, baseline, other)

# %% [markdown]
# ## Your own question
#
# Write it into `questions["own"]`: the grid, and under `compare` two settings as `names` has them. Set `question` to `"own"`,
# name a folder in `runs_folder`, and run the lesson again. `van-tutorial report FOLDER` makes a page of the runs. Then
# double-click the cell below, and fill every gap:

# %% [markdown] tags=["sentence"]
# ### My claim
#
# *With ⟨all that was fixed⟩, ⟨other⟩ was ⟨mean ± s.d. of the difference⟩ above ⟨baseline⟩, over ⟨n⟩ seeds in pairs, ahead in ⟨k⟩
# of them. It was chosen on ⟨set⟩ and is reported on ⟨set⟩. Not tried: ⟨…⟩. I would change my mind if ⟨…⟩.*

# %% [markdown] tags=["solution"]
# *For the instructor.* The runs at hand decide sentence 1; its answer may differ between computers. Good projects without
# new code: `own` with `skip` (convex, additive, activation), `lr` or `depth`. Or `order`, with the last skips removed at
# the same step for every value. Mark the claim by its limits, not by its size.

# %% [markdown]
# ## Take away
#
# - Write down the prediction before the runs, and what would change your mind.
# - One thing varies, every value gets the same seeds, and settings are compared in pairs.
# - Choose on a validation set, report on a test set. The best of many runs was lucky in its seed and its images.
# - A claim says what was measured, where, and how often. "No difference seen" is not "no difference".
#
# **Next**: [The playground](playground.ipynb) shows a run at every moment. [docs/sweeps.md](../docs/sweeps.md) and
# [docs/clusters.md](../docs/clusters.md) take a sweep further. `assets/results` holds every recorded run of the course: take
# any of its claims apart.
#
# **Limits of the evidence.** One small data set, networks of one width, few epochs; a slower phase-out may rank otherwise. The
# dual learning rate was not chosen for each spread. The test set is the same for every seed, so the s.d. over the seeds has
# none of its luck. The argument with $2^{n-1}$ guards against haste, and is no test.
#
# **References.** X. Bouthillier et al. (2021), *Accounting for variance in machine learning benchmarks*, MLSys. · G. C. Cawley
# and N. L. C. Talbot (2010), *On over-fitting in model selection and subsequent selection bias in performance evaluation*,
# JMLR 11.

# %% tags=["nbval-ignore-output", "hide-input"]
temporary.cleanup()  # what lies in runs_folder stays
batch.record_metrics(summary.reset_index().assign(question=question), summary.round(3).reset_index())
