"""What is claimed, what it is measured by, and how it is shown: one `Claim` each.

Sentences take their numbers from the recording; none is written here by hand.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from tools import record_cifar10
from tools.evidence import figures, gradients, tables
from tools.results import Recording

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Claim:
    """One question with its answer.

    Attributes:
        name: of the file in assets/results, and of the section and the figure.
        title: the section's.
        question: what is measured, with all that does not vary.
        reading: makes what was found, in sentences, from the table of runs.
        table: makes what is shown of it.
        figure: draws it.
        limits: what it does not show.
        sweeps: files of assets/sweeps/evidence that make the runs.
        columns: parameters that a row keeps, beside the seed.
        label: names the network of a run.
        measure: makes the rows where sweeps do not: of a recording that it may resume, and whether a small part does.
        made_by: the command, where it is not `python -m tools.evidence NAME`.
    """

    name: str
    title: str
    question: str
    reading: Callable[[pd.DataFrame], str]
    table: Callable[[pd.DataFrame], pd.DataFrame]
    figure: Callable[[pd.DataFrame], go.Figure]
    limits: str
    sweeps: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    label: Callable[[dict[str, Any]], str] | None = None
    measure: Callable[[Recording, bool], Rows] | None = None
    made_by: str = ""

    @property
    def command(self) -> str:
        """What makes the recording again."""
        return self.made_by or f"python -m tools.evidence {self.name}"


IMAGES = "Fashion-MNIST, all 60,000 training and 10,000 test images, fully connected, width 32"
DATA = f"{IMAGES}, batch normalization"

CLAIMS = (
    Claim(
        name="depth_trials",
        title="What carries the phase-out deeper",
        question=f"Which way of phasing out reaches which depth? {DATA}; VAN, 10 epochs, one seed, 54,000 images to "
        "train on and 6,000 held out, on which accuracy is measured; the test images were not looked at.",
        reading=tables.reading_of_trials,
        table=tables.trials,
        figure=figures.trials,
        limits="One seed, and not the same number of trials everywhere: without the shift, three with one skip after "
        "the other; with it, ten. The trials were made to choose with, and what was chosen is measured anew below.",
        sweeps=("trials",),
        columns=(
            "depth",
            "stagger",
            "dual_lr_spread",
            "init",
            "norm_shift",
            "lr",
            "remove_by",
            "damping",
        ),
        label=tables.label_of_trial,
    ),
    Claim(
        name="depth_step_sizes",
        title="One small grid of step sizes for all",
        question=f"Which step size of the weights suits which network? {IMAGES}, batch normalization in all but "
        "looks-linear networks; depth 40, and 100 for those that "
        "learn there, 10 epochs, 54,000 images to train on and 6,000 held out, on which accuracy is measured. One step "
        "size for all depths: that with the best mean over the depths.",
        reading=tables.reading_of_step_sizes,
        table=tables.step_sizes,
        figure=figures.step_sizes,
        limits="The best of three values, one run of each, with a seed that is used nowhere else: where two are as "
        "good to within a point, the choice is chance. Where the best is the smallest or the largest of the three, a "
        "better one may lie beyond. Plain networks and those of the other kinds have theirs from depth 40 alone.",
        sweeps=("step_sizes", "step_sizes_deep"),
        columns=("depth", "lr"),
        label=tables.label_of_network,
    ),
    Claim(
        name="degradation",
        title="Degradation, and a network without skips at depth 100",
        question=f"How accurate are networks of growing depth, on training and on test images? {DATA}; 10 epochs, step "
        "sizes as chosen above; accuracy in training is the last epoch's mean, on test images that of the network at "
        "the end, with the statistics of batch normalization taken once more over all training images.",
        reading=tables.reading_of_degradation,
        table=tables.degradation,
        figure=figures.degradation,
        limits="Narrow, fully connected networks and one kind of data. Five seeds up to depth 40, three beyond, where "
        "the VAN without the shift was left out, because it failed at depth 100 in the trials above. No residual "
        "network was trained with the shift.",
        sweeps=("degradation", "degradation_deep"),
        columns=("depth", "lr"),
        label=tables.label_of_network,
    ),
    Claim(
        name="longer",
        title="Three times as long",
        question=f"Does a longer training close the distance to the residual network? {DATA}; depths 40 and 60, 30 "
        "epochs in place of 10, step sizes as chosen above for 10.",
        reading=tables.reading_of_longer,
        table=tables.degradation,
        figure=figures.longer,
        limits="Five seeds at depth 40, three at depth 60, where the plain network without the shift was left out. "
        "Step sizes were not chosen again for the longer training.",
        sweeps=("longer", "longer_deep"),
        columns=("depth", "lr"),
        label=tables.label_of_network,
    ),
    Claim(
        name="degradation_others",
        title="Other networks by depth",
        question=f"How do other ways to train deep networks do? {IMAGES}, batch normalization in all but "
        "looks-linear networks; depths 10, 40 and 100, 10 epochs, step sizes as chosen above. Highway "
        "networks keep their gated skips; the other two forms of VAN lose theirs one after the other; Dirac and "
        "looks-linear networks have none to begin with.",
        reading=tables.reading_of_others,
        table=tables.degradation,
        figure=figures.degradation,
        limits="Three seeds. Step sizes were chosen at depth 40 alone, and the VANs have no shift, which is what "
        "carries the convex one to depth 100.",
        sweeps=("degradation_others",),
        columns=("depth", "lr"),
        label=tables.label_of_network,
    ),
    Claim(
        name="degradation_mnist",
        title="The same on MNIST",
        question="How accurate are plain networks, residual ones and VANs of depth 40 on MNIST? Fully connected, width "
        "32, batch normalization, 10 epochs, step sizes chosen on Fashion-MNIST.",
        reading=tables.reading_of_mnist,
        table=tables.networks,
        figure=figures.networks,
        limits="Step sizes were not chosen on this data.",
        sweeps=("degradation_mnist",),
        columns=("depth", "lr"),
        label=tables.label_of_network,
    ),
    Claim(
        name="frontier",
        title="How fast the multipliers may rise",
        question=f"What does a sooner removal cost, and is its step the predicted one? {DATA}; depth 40, 10 epochs, no "
        "cap (`remove_by` none), all multipliers with the same start.",
        reading=tables.reading_of_frontier,
        table=tables.frontier,
        figure=figures.frontier,
        limits="The prediction takes a loss that is linear in the skip weight, with a slope of 0.3, for all layers. "
        "How large the skip weights are that were left, was not recorded. All gone is counted from the last step at "
        "which a weight was not 0, and a weight may leave 0 again.",
        sweeps=("frontier",),
        columns=("dual_lr", "dual_lr_spread"),
        label=tables.label_of_spread,
    ),
    Claim(
        name="schedules",
        title="Multipliers or a schedule",
        question=f"Do multipliers phase skips out better than a schedule? {DATA}; depths 40 and 100, 10 epochs, "
        "the same time for the removal; the shifted network.",
        reading=tables.reading_of_schedules,
        table=tables.schedules,
        figure=figures.schedules,
        limits="Three seeds, one budget, a part of the schedules at depth 100. Schedules have no step size to choose; "
        "those of the multipliers are the library's, which are large enough that the multipliers work like a schedule "
        "themselves (below: they end far above what the skips are worth).",
        sweeps=("schedules", "schedules_deep"),
        columns=("depth", "skip_schedule", "stagger", "dual_lr_spread", "damping"),
        label=tables.label_of_schedule,
    ),
    Claim(
        name="phase_out_gradients",
        title="Gradients while the skips go",
        question=f"What becomes of the gradients? {DATA}; depth 40, 10 epochs; after each epoch, in training mode for "
        "the norms and in eval mode for the rest: mean correlation between the gradients at pairs of 64 test images, "
        "ratio of the first layer's weight gradient to the last one's, share of dead units on 1,000 test images; at "
        "the end the price of each shortcut beside its multiplier.",
        reading=gradients.reading,
        table=gradients.table,
        figure=gradients.figure,
        limits="One architecture, with the step size of the lessons (0.003) and no shift. Correlation is that of the "
        "output of one class. Before training, the running averages of batch normalization are those of no data, so "
        "that correlation and dead units at epoch 0 are those of networks that are not normalized.",
        measure=gradients.measure,
    ),
    Claim(
        name="cifar10",
        title="Convolutional networks on photographs",
        question=record_cifar10.QUESTION,
        reading=tables.reading_of_photographs,
        table=tables.photographs,
        figure=figures.photographs,
        limits="Width 8 (half of the published networks), 4 epochs and three seeds, of which a standard error is worth "
        "little: what a processor can do in five hours. The published networks are trained for 164 epochs. Nothing was "
        "tuned, and no network had the shift.",
        measure=record_cifar10.measure,
        made_by=record_cifar10.COMMAND,
    ),
)
