# %% [markdown]
# # 13 · Capstone
#
# *How does a question of your own become an experiment, and how do its runs become a claim that holds?*
#
# **So far**: twelve questions, all of them ours, up to the skips of a network of your own
# ([lesson 12](12_your_network.ipynb)). Now it is your turn.
#
# **Time**: 60 minutes of reading and thinking; the cells take about 20 seconds on two processor cores.
#
# **You need**: [lesson 5](05_phasing_out.ipynb) (phasing out), [lesson 6](06_multiplier_dynamics.ipynb) (what the step
# sizes do); mean and standard deviation.
#
# **Afterwards you can**
#
# - turn a question into a sweep: what varies, over which values, with which seeds,
# - run it, interrupt it and go on, and read its runs back as a table,
# - choose on held-out images, and report on test images that chose nothing,
# - compare two settings seed by seed, with mean and standard deviation,
# - say which sentences a figure supports, and what would change your mind.

# %% tags=["parameters"]
question: str = "order"  # order, speed, depth, form, or own
depth: int = 20  # number of layers
width: int = 32  # units per layer
num_epochs: int = 10  # passes over the 4,000 training images that are not held out
num_seeds: int = 4  # networks for each setting; at least 3
seed: int = 0  # the first of the seeds
num_workers: int = 2  # processes that train
runs_folder: str = ""  # where to keep the runs; empty for a folder that is removed in the end
device: str = "auto"  # auto, cpu, cuda or mps
interactive: bool = True  # controls to press; false draws plain figures instead

# %%
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from van_tutorial import batch, exercises, plots, widgets

# %% [markdown]
# ## The idea
#
# An experiment has these parts, and their order matters: the prediction comes before the runs, and the choice before the
# report.
#
# ![A chain: question, prediction written down, a sweep of values by seeds, held-out images to choose on, test images to report on, claim, limits, and from there back to the next question](../assets/figures/capstone.svg)
#
# - *What varies*: one thing. All else stays as it is.
# - *Values and seeds*: each value with the same seeds. A seed sets the initial weights and the order of the images, so two
#   networks with the same seed have much in common. Compare them in **pairs**. With $a_s$ and $b_s$ the accuracies of two
#   settings at seed $s$,
#
# $$d_s = a_s - b_s \qquad \bar d = \frac{1}{n} \sum_s d_s \qquad s_d = \sqrt{\frac{1}{n - 1} \sum_s (d_s - \bar d)^2}$$
#
# - *How many seeds*: if two settings did not differ at all, the signs of $n$ differences would still all agree in one of
#   $2^{n-1}$ experiments: with two seeds in one of two, with three in one of four, with four in one of eight.
# - *Three splits*: train on one part of the images, **choose** on a second, and **report** on a third. A number that was
#   chosen because it was large is too large.
#
# ### Four questions that are ready
#
# | `question` | it asks | what varies |
# | --- | --- | --- |
# | `order` | Which skips should be removed first? | `dual_lr_spread`: above 1 those next to the input, below 1 those next to the output, at 1 all alike |
# | `speed` | What does it cost to hurry? | `dual_lr`, the dual learning rate |
# | `depth` | From which depth on does a VAN pay? | `depth`, for plain, residual and VAN (takes a few times as long; the plain ones have BatchNorm bias 0, so add `norm_shift` before you claim anything) |
# | `form` | Do our three readings of the layer differ? | `skip`: convex, additive, activation |
#
# In `order` and `speed` all multipliers rise simultaneously (`stagger` 0) and there is no cap. At these learning rates most
# skips follow a clock ([lesson 6](06_multiplier_dynamics.ipynb)), so both questions vary a schedule; the last removal can
# be later than the clock says. Each question is a small dictionary, and `own` is where yours goes.

# %%
questions = {
    "order": {
        "fixed": {"stagger": 0.0, "dual_lr": 1.0, "remove_by": None},
        "grid": {"dual_lr_spread": [0.2, 1.0, 5.0, 25.0]},
        "compare": ["5.0", "25.0"],
    },
    "speed": {
        "fixed": {"stagger": 0.0, "dual_lr_spread": 5.0, "remove_by": None},
        "grid": {"dual_lr": [0.2, 1.0, 5.0, 25.0]},
        "compare": ["1.0", "0.2"],
    },
    "depth": {
        "grid": {
            "connection": ["plain", "residual", "van"],
            "depth": sorted({max(1, depth // 4), max(1, depth // 2), depth}),
        },
        "compare": [f"plain, {depth}", f"van, {depth}"],
    },
    "form": {"grid": {"skip": ["convex", "additive", "activation"]}, "compare": ["convex", "activation"]},
    "own": {"grid": {"skip_weight": [0.5, 0.8, 0.95]}, "compare": ["0.95", "0.5"]},
}
asked = questions[question]
baseline, other = asked["compare"]

# %% [markdown]
# ## Predict
#
# Choose a question (in the parameters cell, above). Before anything runs, write down which setting will have the best mean
# test accuracy, which the worst, and how far they will lie apart. And one thing more, which is harder afterwards: *what
# would change your mind?* Name a result that would.

# %%
my_prediction = {"best": None, "worst": None, "apart": None}
my_mind_would_change = ""  # for example: "25.0 is below 1.0 in every seed"

# %% [markdown]
# ## Describe
#
# A sweep is a file. Whatever it does not name has the library's default. `validation_fraction` holds a fifth of the
# training images out, the same ones for every seed, to choose on.

# %% tags=["keep_output"]
common = {
    "depth": depth,
    "width": width,
    "num_epochs": num_epochs,
    "validation_fraction": 0.2,
    "device": device,
    **asked.get("fixed", {}),
}
grid = asked["grid"]
description = {
    "train": "mlp",
    "fixed": {name: value for name, value in common.items() if name not in grid},
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
# `batch.sweep` reads the file, refuses what does not fit, and makes the runs that are missing. Its workers train networks of
# one shape at once. What is finished is kept: interrupt the cell, run it again, and it makes the rest. The command
# `van-tutorial sweep FILE` does the same.

# %% tags=["nbval-ignore-output"]
swept = batch.sweep(file, runs=folder, workers=num_workers, progress=sys.stdout)

# %% [markdown]
# ## Evidence
#
# Before any accuracy: is everything there? A run that failed, and was left out without a word, would be a choice as well.

# %% tags=["keep_output"]
again = batch.sweep(file, runs=folder, workers=num_workers)
made = {run.name for run in (*swept.finished, *swept.there)}  # a run's folder has the name of its key
print("runs described:", batch.read_sweep(file).num_runs)
print("runs finished:", len(made), "  failed:", len(swept.failed), "  not done:", len(swept.not_done))
print("the same sweep again makes", len(again.finished), "and finds", len(again.there))

# %% [markdown]
# The runs lie in folders, and `batch.results` reads them into a table with one row a run. Beside the accuracies look at what
# *else* came out: a network with skips left is no plain network, and must not be counted as one.

# %% tags=["nbval-ignore-output"]
table = batch.results(swept.folder)
measured = ["test accuracy", "validation accuracy", "skips left", "removed at step"]
runs = table[table["run"].isin(made)].astype(dict.fromkeys(measured, float))
runs["setting"] = runs[list(grid)].astype(str).agg(", ".join, axis=1)
settings = runs.groupby("setting", sort=False)
summary = pd.DataFrame(
    {
        "runs": settings.size(),
        "test accuracy": settings["test accuracy"].mean(),
        "s.d.": settings["test accuracy"].std(),
        "held-out accuracy": settings["validation accuracy"].mean(),
        "most skips left": settings["skips left"].max(),
        "removed at step": settings["removed at step"].mean(),
    }
)
summary.round(3)

# %% [markdown]
# ### Your prediction beside what came

# %% tags=["nbval-ignore-output"]
means = summary["test accuracy"]
found = {"best": means.idxmax(), "worst": means.idxmin(), "apart": round(means.max() - means.min(), 3)}
comparison = pd.DataFrame({"what": list(found), "found": list(found.values())})
print("My mind would change by:", my_mind_would_change or "(nothing was written down)")
comparison.assign(predicted=[my_prediction.get(name) for name in found]).astype(object).fillna("–")

# %% [markdown]
# ## Draw
#
# **See**: the means, and how far the bars reach. Places on the horizontal axis are the values that were tried and no
# others. With the question `order`: two values at the left lie together, the two at the right lie higher, and the bars of
# those two may overlap.

# %% tags=["nbval-ignore-output"]
*others, over = grid
lines = runs[others].astype(str).agg(", ".join, axis=1) if others else "mean over the seeds"
is_number = pd.api.types.is_numeric_dtype(runs[over])
plots.measure_curves(
    runs.assign(network=lines),
    "test accuracy",
    f"Question: {question}",
    "test accuracy (share of images)",
    caption=f"Mean and standard deviation over {num_seeds} seeds.",
    over=over,
).update_xaxes(type="category").update_traces(mode="lines+markers" if is_number else "markers")

# %% [markdown]
# The same accuracies of two settings, in pairs. **See**: a line is a seed. Whether bars overlap is one thing. Whether the
# lines go the same way is another, and it is the one that you asked about.

# %% tags=["nbval-ignore-output"]
pairs = runs[runs["setting"].isin([baseline, other])]
plots.measure_curves(
    pairs.assign(network="seed " + pairs["seed"].astype(str)),
    "test accuracy",
    f"{baseline} and {other}, seed by seed",
    "test accuracy (share of images)",
    caption="Lines that rise: the setting at the right is better for that seed.",
    over="setting",
).update_xaxes(categoryorder="array", categoryarray=[baseline, other], type="category")

# %% [markdown]
# ## Choose, and then report
#
# Three ways to come to a number. The first looks at the test images and takes the best run. The second takes the run that is
# best on the held-out images, and reads its test accuracy. The third asks which *setting* is best in the mean on the held-out
# images, and reports the mean test accuracy of that.

# %% tags=["nbval-ignore-output"]
best_run = runs.loc[runs["test accuracy"].idxmax()]
chosen_run = runs.loc[runs["validation accuracy"].idxmax()]
chosen = summary["held-out accuracy"].idxmax()
ways = [
    ("best run on the test images", best_run["setting"], best_run["test accuracy"], None),
    ("best run on the held-out images", chosen_run["setting"], chosen_run["test accuracy"], None),
    ("best mean on the held-out images", chosen, *summary.loc[chosen, ["test accuracy", "s.d."]]),
]
reported = pd.DataFrame(ways, columns=["chosen as", "setting", "test accuracy", "s.d."])
reported.round(3).astype(object).fillna("–")

# %% [markdown]
# The second is the honest number of *one network* that you may take home. The third is the honest number of a *way to train
# one*: what somebody else may expect with a seed of their own. The first is neither.

# %% [markdown]
# ## One run is no evidence
#
# And one sweep? Here is the question `order` with sixteen seeds, recorded: four sweeps like yours. Each line compares two
# values of `dual_lr_spread`, over all seeds and then sweep by sweep.

# %% tags=["keep_output"]
recorded = batch.recorded("capstone_mini")
print(recorded.summary("dual_lr_spread").round(3).to_string(index=False))
wide = recorded.table.pivot(index="seed", columns="dual_lr_spread", values="test_accuracy")
for a, b in ((25.0, 5.0), (5.0, 1.0), (0.2, 1.0)):
    difference = wide[a] - wide[b]
    ahead = (difference > 0).groupby(difference.index // 4).sum().tolist()
    spread = f"{difference.mean():+.3f} ± {difference.std():.3f}"
    print(f"{a:4} less {b}: {spread}, ahead in {sum(ahead):2d} of {len(difference)}, by sweep {ahead} of 4")
print("mean step of the last removal:")
print(recorded.table.groupby("dual_lr_spread")["removed_at_step"].mean().round().to_string(header=False))
print("skips left in any run:", recorded.table["skips_left"].max(), "  made by:", recorded.command)

# %% [markdown]
# **Read** the three lines of differences. In the first, the runs of the two values overlap: the worst of the one is far below
# the best of the other. And yet every seed says the same: pairs see what the ranges hide. In the second, the ranges do not
# even touch, and nobody would need pairs. In the third, "the output side first" against "all alike", the seeds disagree, in
# every one of the four sweeps. This does *not* say that the two are equal. It says that if they differ, then by less than
# sixteen seeds can show.
#
# Then look at the last removal. With a larger spread the skips go from the input side *and* the last of them goes later. Is it
# the order, or is it the time? The value 0.2 is the answer that is in the data: its last skips go much later than those of
# 1.0 as well, and its accuracy is not told apart from theirs. So a later last removal alone is not it. Always look for what else changed with the thing that you
# changed, and for a setting that has the one without the other.

# %% [markdown]
# ## Explore
#
# **Misconception**: *the best run of a sweep is its result.* Suppose that nothing in a sweep makes any difference: all its
# runs have the same true accuracy, but for the luck of the seed, and each is tested on so many images. You keep the best of
# $n$. In the figure each point is the mean over 2,000 such sweeps, computed, not trained. Change **spread over the seeds** and
# **test images**. By how much does the best run overstate, and which part of it would fresh images uncover?


# %%
def show(spread, num_images):
    luck, size = np.random.default_rng(0), int(num_images)
    true = luck.normal(0.75, spread, (2000, 64)).clip(0, 1)
    test, held_out = (luck.binomial(size, true) / size for _ in range(2))
    rows = [("mean of all", n, true.mean()) for n in (1, 64)]
    for n in (1, 2, 4, 8, 16, 32, 64):
        picks = {"best on the test images": (test, test), "the same network, on fresh images": (test, true)}
        picks["best on the held-out images, on the test images"] = (held_out, test)
        rows += [(k, n, s[range(2000), by[:, :n].argmax(1)].mean()) for k, (by, s) in picks.items()]
    return draw(rows, f"Only luck differs: s.d. {spread:.3g}, {size} images in each split.")


def draw(rows, caption):
    chances = pd.DataFrame(rows, columns=["network", "runs", "accuracy"])
    texts = ("The best of many", "accuracy (share of images)", caption, "runs", "runs to choose from")
    fig = plots.measure_curves(chances, "accuracy", *texts)
    fig.update_xaxes(type="log", tickvals=[1, 2, 4, 8, 16, 32, 64])
    return fig.update_layout(legend={"orientation": "h", "y": -0.25}, height=480)


# %% tags=["nbval-ignore-output"]
panel = widgets.explore_panel(
    show,
    (
        widgets.Slider(
            "spread",
            "spread over the seeds",
            round(float(summary["s.d."].mean().clip(0, 0.1)), 3),  # of your sweep
            0.0,
            0.1,
            "Standard deviation of the true accuracy, as a share",
        ),
        widgets.Slider(
            "num_images", "test images", 1000, 100, 100_000, "In each of the two splits", is_log=True
        ),
    ),
    interactive=interactive,
)
panel

# %% [markdown]
# **See**: all lines start at the mean, and the best on the test images rises with the number of runs. It has two kinds of
# luck in it. One is that of the *images*: the drop from the highest line to the two below it, which lie on each other. More
# test images make it smaller, and held-out images to choose on take it out. The other is that of the *seed*, what is left
# above the mean. It belongs to that one network, and goes when somebody trains another.
#
# **Set right**: the result of a sweep is the *mean* of a setting, with its spread, reported on images that chose nothing.
#
# How this course chose its own step sizes, recorded. On held-out images, three seeds for each setting of the VAN:

# %% tags=["keep_output"]
tried = batch.recorded("step_sizes_mini").table.query("network == 'van'")
names = ["lr", "skip_lr", "dual_lr_spread", "stagger"]
tried = tried.assign(setting=tried[names].astype(str).agg(", ".join, axis=1))
held_out_means = tried.groupby("setting")["validation_accuracy"].mean()
top, best = tried.loc[tried["validation_accuracy"].idxmax()], held_out_means.idxmax()
print("a setting:", ", ".join(names), "  how many:", len(held_out_means))
print(f"best single run, held-out images: {top['validation_accuracy']:.3f} of ({top['setting']})")
print(f"mean of the three runs of that setting: {held_out_means[top['setting']]:.3f}")
print(f"best mean, held-out images: {held_out_means[best]:.3f} of ({best})")
fresh = batch.recorded("phase_out_mini").table.query("network == 'van, lr 0.01'")
print("seeds tried:", sorted(tried["seed"].unique().tolist()), "  then:", fresh["seed"].tolist())
accuracy = fresh["test_accuracy"]
print(f"that setting, other seeds, test images: {accuracy.mean():.3f} ± {accuracy.std():.3f}")

# %% [markdown]
# Whoever takes the best run takes another setting, whose three runs are worse in the mean than those of the one with the
# best mean, if only a little: here the best run overstates more than it misleads. And the last line is of seeds and images
# that had no part in the choice (its networks have the held-out images to train on as well, a quarter more).

# %% [markdown]
# ## Exercise 1 · Design
#
# *Does a VAN end better when its skips start weaker?* The initial skip weight is the parameter `skip_weight`, 0.95 where
# nobody says otherwise. Describe the experiment. Splits are "training", "validation" (the held-out images) and
# "test".

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
# my_design["validation_fraction"] = None  # your fraction of the training images that is held out
# my_design["choose on"] = None  # your split to choose on
# my_design["report on"] = None  # your split to report on
### end
exercises.check_design(my_design, about="skip_weight")

# %% [markdown]
# It is the grid that stands in `questions["own"]`. Put yours there, name under `compare` the two settings that you want to
# compare, as the column `setting` of the table writes them, set `question` to `"own"`, and run the lesson again.

# %% [markdown]
# ## Exercise 2 · Read
#
# From the table `runs` (columns `setting`, `seed`, `test accuracy`): mean and standard deviation of the difference `other` less
# `baseline`, paired by seed.

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
# Which of these sentences do your two figures support? The two settings are `baseline` and `other`, as in exercise 2.
#
# 1. On these test images, at these settings of everything else, `other` was ahead of `baseline` in the mean and in every seed.
# 2. Whoever trains with the best value can expect the accuracy of the best run.
# 3. The value with the highest mean is the best there is.
# 4. Two values whose bars overlap are equally good.
# 5. The same will come out for other images, and for networks ten times as wide.
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

# %% [markdown] tags=["solution"]
# *For the instructor.* Sentence 1 is decided by the runs at hand, so its answer may differ between computers and questions;
# the check computes it. Good projects that need no new code: `own` with `lr` or `batch_size`; with `skip_lr`, which sets the
# speed as `dual_lr` does (lesson 6 says in which combination); with `depth` beyond 20; or the question `order` where the last skips go
# at the same step for every value. Ask each group for one page: question, prediction, sweep file, figure, claim, limits, and
# the result that would have changed their mind. Mark the claim by its limits and not by its size.

# %% [markdown]
# ## Write it down
#
# Your claim, in four sentences, and every gap filled:
#
# > *With ⟨all that was fixed⟩, ⟨other⟩ came out at ⟨mean ± s.d. of the difference⟩ against ⟨baseline⟩, over ⟨n⟩ seeds in pairs,
# > ahead in ⟨k⟩ of them. It was chosen on ⟨split⟩ and is reported on ⟨split⟩. Not tried: ⟨…⟩. I would change my mind if
# > ⟨…⟩.*
#
# For a question of your own: any parameter of `models.mlp` and of `TrainConfig` can stand in a grid. Name a folder in
# `runs_folder`, and the runs stay; `van-tutorial report FOLDER` makes a page of them.

# %% [markdown]
# ## Take away
#
# - Write the prediction down before the runs, and what would change your mind.
# - One thing varies, every value gets the same seeds, and settings are compared in pairs: mean and s.d. of the differences.
# - Choose on held-out images, report on test images. The best run of many has the luck of its seed and of its images in it.
# - A claim says what was measured, where, and how often. What was not run is not known. "No difference seen" is not "no
#   difference".
#
# **Next**: what is quickly asked is quickly tried in the panel that shows a run at every moment:
# [The playground](playground.ipynb). [docs/sweeps.md](../docs/sweeps.md) has all that a sweep file can say, lessons as well
# as networks, and [docs/clusters.md](../docs/clusters.md) how to give it to more than one machine. `assets/results` holds
# every recorded run of the course: any claim in these lessons can be taken apart with what you did here.
#
# **Limits of the evidence.** One small data set, fully connected networks of one width, few epochs: hurried phase-outs, after
# which a slower one may rank otherwise. In the recorded runs the step size of the multipliers was not chosen for each
# spread, so the sweep tells what the spread does at this step size. The held-out images are the same for every seed, and so
# are the test images: the s.d. over the seeds has none of their luck in it. The argument with $2^{n-1}$ takes the seeds for
# independent and knows nothing of sizes; it is a guard against haste, and no test.
#
# **References.** X. Bouthillier et al. (2021), *Accounting for variance in machine learning benchmarks*, MLSys. · G. C. Cawley
# and N. L. C. Talbot (2010), *On over-fitting in model selection and subsequent selection bias in performance evaluation*,
# JMLR 11. · R. P. Monti, S. Tootoonian and R. Cao (2018), *Avoiding degradation in deep feed-forward networks by phasing out
# skip-connections*, ICANN.

# %% tags=["nbval-ignore-output"]
temporary.cleanup()  # what lies in runs_folder stays
batch.record_metrics(summary.reset_index().assign(question=question), summary.round(3).reset_index())
