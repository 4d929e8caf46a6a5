"""What is claimed, what it is measured by, and how it is shown: one `Claim` each.

Sentences take their numbers from the recording; none is written here by hand.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from tools import record_cifar10
from tools.evidence import controls, convolutions, figures, gradients, shallow, tables
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
        measures: what was measured of a run and is kept, beside what every row has.
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
    measures: tuple[str, ...] = ()
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
        title="Trials: order, initialization and depth",
        question=f"Which way of phasing out reaches which depth? {DATA}; VAN, 10 epochs, one seed, 54,000 training "
        "images and a validation set of 6,000, on which accuracy is measured; the test images were not used.",
        reading=tables.reading_of_trials,
        table=tables.trials,
        figure=figures.trials,
        limits="One seed, and not the same number of trials everywhere: without a BatchNorm bias, three in which skips "
        "are removed sequentially; with it, ten. The trials were made to choose with, and what was chosen is measured "
        "anew below. Plain networks had no such trials; four biases are compared for them in *A better start alone*.",
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
        title="One small grid of learning rates for all",
        question=f"Which learning rate suits which network? {IMAGES}, batch normalization in all but looks-linear "
        "networks; depth 40, and 100 for those that learn there, 10 epochs, 54,000 training images and a validation "
        "set of 6,000, on which accuracy is measured. One learning rate for all depths: that with the best mean over "
        "the depths.",
        reading=tables.reading_of_step_sizes,
        table=tables.step_sizes,
        figure=figures.step_sizes,
        limits="The best of three values, one run of each, with a seed that is used nowhere else: where two are within "
        "a point of each other, the choice is chance. Where the best is the smallest or the largest of the three, a "
        "better one may lie beyond. Plain networks and those of the other kinds have theirs from depth 40 alone.",
        sweeps=("step_sizes", "step_sizes_deep"),
        columns=("depth", "lr"),
        label=tables.label_of_network,
    ),
    Claim(
        name="degradation",
        title="Degradation by depth",
        question=f"How accurate are networks of growing depth, on training and on test images? {DATA}; 10 epochs, "
        "learning rates as chosen above; training accuracy is the last epoch's mean, test accuracy that of the final "
        "network, with the statistics of batch normalization taken once more over all training images.",
        reading=tables.reading_of_degradation,
        table=tables.degradation,
        figure=figures.degradation,
        limits="Narrow, fully connected networks and one data set, on which depth hardly helps (*How much depth the "
        "data needs*). Five seeds up to depth 40, three beyond, where the VAN without a BatchNorm bias was left out, "
        "because it failed at depth 100 in the trials above. The plain network has a bias of 1 here, for which the "
        "VAN's trials spoke; 2 suits it better (next section). No residual network was trained with a bias. The "
        "collapsed VAN has hardly been trained as a plain network: nearly all of the learning rate is spent before.",
        sweeps=("degradation", "degradation_deep"),
        columns=("depth", "lr"),
        label=tables.label_of_network,
    ),
    Claim(
        name="start",
        title="A better start alone",
        question=f"What does an initialization closer to linear bring without any skip? {DATA}; depths 40 and 100, 10 "
        "epochs, learning rate 0.003; plain networks with BatchNorm biases of 0, 1, 2 and 3, and VANs with 1 and 2. "
        "At depth 100 also one run of each with a validation set of 6,000 of the training images.",
        reading=controls.reading_of_start,
        table=controls.table_of_start,
        figure=controls.figure_of_start,
        limits="Three seeds. One learning rate for all, which the grid above gave to both networks with bias 1. The "
        "four biases were set beforehand, and all of them are shown; validation accuracy is one run of each. The VANs "
        "come after nineteen trials at each depth, the plain networks after none but the grid of learning rates.",
        sweeps=("start", "start_trials"),
        columns=("depth", "norm_shift", "validation_fraction"),
        label=tables.label_of_start,
    ),
    Claim(
        name="shallow",
        title="How much depth the data needs",
        question=shallow.QUESTION,
        reading=controls.reading_of_shallow,
        table=controls.table_of_shallow,
        figure=controls.figure_of_shallow,
        limits="One width. What these data do not need, others may: nothing here says how much depth is worth there.",
        measure=shallow.measure,
    ),
    Claim(
        name="longer",
        title="Three times as long",
        question=f"Does a longer training close the distance to the residual network? {DATA}; depths 40 and 60, 30 "
        "epochs in place of 10, learning rates as chosen above for 10.",
        reading=tables.reading_of_longer,
        table=tables.degradation,
        figure=figures.longer,
        limits="Five seeds at depth 40, three at depth 60, where the plain network without a BatchNorm bias was left "
        "out. Learning rates were not chosen again for the longer training. The removal takes the same fraction of the "
        "training, so that the plain network has no more of the learning rate left than in ten epochs.",
        sweeps=("longer", "longer_deep"),
        columns=("depth", "lr"),
        label=tables.label_of_network,
    ),
    Claim(
        name="degradation_others",
        title="Other networks by depth",
        question=f"How do other ways to train deep networks do? {IMAGES}, batch normalization in all but "
        "looks-linear networks; depths 10, 40 and 100, 10 epochs, learning rates as chosen above. Highway "
        "networks keep their gated skips; the other two forms of VAN lose theirs sequentially; Dirac and "
        "looks-linear networks have none to begin with.",
        reading=tables.reading_of_others,
        table=tables.degradation,
        figure=figures.degradation,
        limits="Three seeds. Learning rates were chosen at depth 40 alone, and the VANs have no BatchNorm bias.",
        sweeps=("degradation_others",),
        columns=("depth", "lr"),
        label=tables.label_of_network,
    ),
    Claim(
        name="degradation_mnist",
        title="The same on MNIST",
        question="How accurate are plain networks, residual ones and VANs of depth 40 on MNIST? Fully connected, width "
        "32, batch normalization, 10 epochs, learning rates chosen on Fashion-MNIST.",
        reading=tables.reading_of_mnist,
        table=tables.networks,
        figure=figures.networks,
        limits="Learning rates were not chosen on this data, and no network has a BatchNorm bias.",
        sweeps=("degradation_mnist",),
        columns=("depth", "lr"),
        label=tables.label_of_network,
    ),
    Claim(
        name="frontier",
        title="What an earlier removal costs, and when it happens",
        question=f"What does an earlier removal cost, and is its step the predicted one? {DATA}; depth 40, 10 epochs, "
        "no cap (`remove_by` none), all multipliers rising simultaneously.",
        reading=tables.reading_of_frontier,
        table=tables.frontier,
        figure=figures.frontier,
        limits="The prediction leaves the loss out (slope 0) and is one for all layers. How large the remaining skip "
        "weights are was not recorded. *All removed* counts from the last step at which a weight was not 0, and a "
        "weight may leave 0 again: late in the training the loss does move single weights.",
        sweeps=("frontier",),
        columns=("dual_lr", "dual_lr_spread"),
        label=tables.label_of_spread,
    ),
    Claim(
        name="clock",
        title="The default phase-out is a clock",
        question="Does the loss decide when a skip is removed? The embedded 5,000 training images of Fashion-MNIST, "
        "fully connected, depth 40, width 32, batch normalization, 30 epochs, the defaults of the lessons; the skip "
        "weights' step with the loss's gradient and without it (`TrainConfig(skip_gradient=False)`).",
        reading=controls.reading_of_clock,
        table=controls.table_of_clock,
        figure=controls.figure_of_clock,
        limits="One network and the default learning rates, with which a multiplier grows far beyond what a skip is "
        "worth. With a much larger `skip_lr` the loss does decide which skips stay; that was not measured here.",
        sweeps=("clock",),
        columns=("skip_gradient",),
        measures=("zero_steps",),
        label=tables.label_of_gradient,
    ),
    Claim(
        name="schedules",
        title="Multipliers and schedules",
        question=f"Do multipliers phase skips out better than a schedule? {DATA}; depths 40 and 100, 10 epochs, "
        "the same time for the removal; BatchNorm bias 1.",
        reading=tables.reading_of_schedules,
        table=tables.schedules,
        figure=figures.schedules,
        limits="Three seeds, one budget, only some of the schedules at depth 100. *Multipliers* without an order, all "
        "rising simultaneously, are nearest to the paper's abstract. The multipliers have the library's learning "
        "rates, under which they follow a schedule themselves: a quarter of a cosine (the section above).",
        sweeps=("schedules", "schedules_deep"),
        columns=("depth", "skip_schedule", "stagger", "dual_lr_spread", "damping"),
        label=tables.label_of_schedule,
    ),
    Claim(
        name="phase_out_gradients",
        title="Gradients while skips are removed",
        question=f"How do gradients change during the phase-out? {DATA}; depth 40, 10 epochs; after each epoch, in "
        "training mode for the norms and in eval mode for the rest: mean correlation between the gradients at pairs of "
        "64 test images, ratio of the first layer's weight gradient to the last one's, fraction of dead units on 1,000 "
        "test images; at the end the price of each shortcut and its multiplier.",
        reading=gradients.reading,
        table=gradients.table,
        figure=gradients.figure,
        limits="One architecture, with the learning rate of the lessons (0.003) and no BatchNorm bias. Correlation is "
        "that of the output of one class. Before training, the running averages of batch normalization are those of no "
        "data, so that correlation and dead units at epoch 0 are those of networks that are not normalized.",
        measure=gradients.measure,
    ),
    Claim(
        name="cifar10",
        title="Convolutional networks on photographs",
        question=record_cifar10.QUESTION,
        reading=tables.reading_of_photographs,
        table=tables.photographs,
        figure=figures.photographs,
        limits="Width 8 (half of the published networks), 4 epochs and three seeds: what a processor can do in five "
        "hours. The published networks are trained for 164 epochs. Nothing was tuned, and no network has a BatchNorm "
        "bias. On smaller images (next section) a bias alone brings plain networks of 56 layers further than a "
        "phase-out without one; on these it was not tried.",
        measure=record_cifar10.measure,
        made_by=record_cifar10.COMMAND,
    ),
    Claim(
        name="convolutions",
        title="A better start in convolutional networks",
        question=convolutions.QUESTION,
        reading=controls.reading_of_convolutions,
        table=controls.table_of_convolutions,
        figure=controls.figure_of_convolutions,
        limits="Small images, narrow networks, few steps, the library's learning rates for all. The biases were set "
        "beforehand and are all shown, but the best plain network and the best VAN are named by their test accuracy. "
        "Other biases were not tried, and no residual network has one. Five seeds: after three, the interval of the "
        "plain network of 110 layers was too wide to tell anything apart.",
        measure=convolutions.measure,
    ),
)
