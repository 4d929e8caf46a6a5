"""The checks of lesson 12, a question of your own."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

import pandas as pd

from van_tutorial.exercises.feedback import Feedback, is_number
from van_tutorial.models import MLPConfig
from van_tutorial.training import TrainConfig

SPLITS = ("training", "held-out", "test")
TOLERANCE = 0.00051  # an answer may be rounded to three digits
# What is missing while there is no answer yet.
HINTS = {
    "vary": "name the one parameter that the question is about.",
    "values": "list the values to try, the one in use among them.",
    "seeds": "list the seeds that each value is trained with, or say how many.",
    "validation_fraction": "which share of the training images is held out, to choose on?",
    "choose on": f"say on which images you choose: {', '.join(SPLITS)}.",
    "report on": f"say of which images you report the accuracy: {', '.join(SPLITS)}.",
}
# Why the other sentences are not supported, by their number in the lesson.
REASONS = {
    2: "it is the best of several runs: the luck of one seed is in it. The mean over the seeds is what a value gives.",
    3: "between the values nothing was trained, and beyond them neither: it is the best of those that were tried.",
    4: "the bars are over the seeds of each value alone, and say nothing of the differences seed by seed. Not to have "
    "seen a difference is not to have seen that there is none.",
    5: "none of this was run: one data set, one width, one number of epochs.",
    6: "the sweep shows that it is so, not through what. Nobody measured gradients, and other things changed too, such "
    "as the step at which the skips had gone.",
}


def check_design(design: Mapping[str, Any], about: str) -> Feedback:
    """Check the description of a small experiment, entry by entry.

    Args:
        design: the learner's; keys vary (a parameter's name), values, seeds (a list or their number),
            validation_fraction, choose on, and report on ("training", "held-out" or "test"); None where there is no
            answer yet.
        about: the parameter that the question is about, of `models.mlp` or `TrainConfig`.

    Returns:
        The verdict on the first entry that is missing or wrong, with the reason; right when all are.
    """
    for name, hint in HINTS.items():
        if design.get(name) is None:
            return Feedback(False, f"{name}: no answer yet; {hint}")
    problem = (
        problem_of_parameter(design["vary"], about)
        or problem_of_values(about, design["values"])
        or problem_of_seeds(design["seeds"])
        or problem_of_splits(design["validation_fraction"], design["choose on"], design["report on"])
    )
    if problem:
        return Feedback(False, problem)
    seeds = design["seeds"]
    num_seeds = seeds if isinstance(seeds, int) else len(seeds)
    num_values = len(design["values"])
    return Feedback(
        True,
        f"{num_values} values with {num_seeds} seeds each, {num_values * num_seeds} runs; chosen on held-out images, "
        "reported on test images that chose nothing.",
    )


def problem_of_parameter(vary: Any, about: str) -> str | None:
    """Return what is wrong with what is varied; None where nothing is."""
    if not isinstance(vary, str):
        names = [str(name) for name in vary] if isinstance(vary, list | tuple | set | dict) else []
        if len(names) > 1:
            return (
                f"you vary {len(names)} things at once ({', '.join(names)}): whichever made the difference, you could "
                "not tell. Name one, and leave the others as they are."
            )
        return f"vary: {vary!r} is not a parameter's name, such as 'lr'."
    if vary == "seed":
        return "the seed is what you repeat over, not what the question is about: it belongs in seeds."
    known = [field.name for config in (MLPConfig, TrainConfig) for field in fields(config)]
    if vary not in known:
        near = get_close_matches(vary, known, n=1)
        return f"{vary!r} is no parameter of a network or its training.{f' {near[0]!r} is.' if near else ''}"
    if vary != about:
        return f"{vary!r} can be varied, and it answers another question: this one is about {about!r}."
    return None


def problem_of_values(vary: str, values: Any) -> str | None:
    """Return what is wrong with the values; None where nothing is."""
    config = MLPConfig if vary in [field.name for field in fields(MLPConfig)] else TrainConfig
    if not is_list(values):
        return f"values: a list is needed, got {values!r}."
    for value in values:
        try:
            config(**{vary: value})
        except (TypeError, ValueError) as error:
            return f"values: {error}"
    if len({repr(value) for value in values}) < len(values):
        return "values: one of them stands twice."
    if len(values) < 2:
        return "one value has nothing to be compared with: two are needed, and three show whether it goes on."
    in_use = getattr(config(), vary)
    if in_use not in values:
        return f"the value in use, {in_use}, is not among them: so whatever comes, nobody knows whether it is better."
    return None


def problem_of_seeds(seeds: Any) -> str | None:
    """Return what is wrong with the seeds; None where nothing is."""
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        number = seeds
    elif is_list(seeds) and all(isinstance(seed, int) and seed >= 0 for seed in seeds):
        number = len(seeds)
        if len(set(seeds)) < number:
            return "a seed stands twice: the same run once more, and no other."
    else:
        return f"seeds: a list of whole numbers from 0 on is needed, or how many, got {seeds!r}."
    if number < 1:
        return "without a seed nothing runs."
    if number == 1:
        return "one seed tells nothing about the spread: what looks like the work of a value may be that of the seed."
    if number == 2:
        return "two seeds agree by chance in one of two cases. Take at least three; the lesson takes four."
    return None


def problem_of_splits(share: Any, choose_on: Any, report_on: Any) -> str | None:
    """Return what is wrong with which images are for what; None where nothing is."""
    if not is_number(share) or not 0 <= share <= 0.9:
        return f"validation_fraction: a share from 0 to 0.9 is needed, got {share!r}."
    for name, split in (("choose on", choose_on), ("report on", report_on)):
        if split not in SPLITS:
            return f"{name}: {split!r} is none of {', '.join(SPLITS)}."
    if choose_on == "test":
        return (
            "you choose on the test images. The best of several numbers is partly luck, and no images are left that "
            "could tell how much."
        )
    if choose_on == "training":
        return "you choose on the images that were trained on: that favours whoever learns them by heart."
    if share == 0:
        return "no image is held out (validation_fraction 0), so there is nothing to choose on."
    if report_on == "held-out":
        return "you report on the images that you chose on: the number of the one chosen is too high there."
    if report_on == "training":
        return "you report on the images that were trained on: the question is about images that were not."
    return None


def check_paired_difference(
    answer: Mapping[str, float | None], runs: pd.DataFrame, baseline: str, other: str
) -> Feedback:
    """Check mean and standard deviation of a difference in test accuracy, paired by seed.

    Args:
        answer: the learner's "mean" and "sd" (with n - 1) of other less baseline; None where there is none yet.
        runs: columns setting, seed and "test accuracy", one row a run.
        baseline: the setting that is compared with.
        other: the setting that is compared.

    Returns:
        The verdict with a hint.
    """
    first, second = (accuracies(runs, setting) for setting in (baseline, other))
    difference = (second - first).dropna()
    num_pairs = len(difference)
    if num_pairs < 2:
        return Feedback(False, f"{num_pairs} seeds are in both settings: a standard deviation needs two.")
    mean, sd = difference.mean(), difference.std(ddof=1)
    for name in ("mean", "sd"):
        if answer.get(name) is None:
            return Feedback(False, f"{name}: no number yet. First a difference for each seed; pivot helps.")
        if not is_number(answer[name]):
            return Feedback(False, f"{name}: {answer[name]!r} is not a number.")
    if not is_near(answer["mean"], mean):
        if is_near(answer["mean"], -mean):
            return Feedback(False, f"mean: the sign is the wrong way round: take {baseline} off {other}.")
        return Feedback(
            False, f"mean: that is not the mean over the seeds of test accuracy, {other} less {baseline}."
        )
    if is_near(answer["sd"], sd):
        num_ahead = int((difference > 0).sum())
        return Feedback(
            True,
            f"{mean:+.3f} ± {sd:.3f} over {num_pairs} seeds; {other} is ahead in {num_ahead} of them.",
        )
    slips = {
        "that divides by n, as NumPy does; few seeds want n - 1: ddof=1.": difference.std(ddof=0),
        "that is the s.d. of the mean: leave the root of n out.": sd / math.sqrt(num_pairs),
        "that takes the two settings as if they had nothing in common. The same seed is the same start and the same "
        "order of images: subtract seed by seed, then take the s.d.": math.hypot(first.std(), second.std()),
    }
    near = [slip for slip, value in slips.items() if is_near(answer["sd"], value)]
    return Feedback(
        False, f"the mean is right. sd: {near[0] if near else 'that is not the s.d. of the differences.'}"
    )


def check_claims(answers: Mapping[int, Any], runs: pd.DataFrame, baseline: str, other: str) -> Feedback:
    """Check, one by one, which of the lesson's six sentences the runs support.

    Args:
        answers: True or False by the sentence's number; None where there is no answer yet.
        runs: columns setting, seed and "test accuracy", one row a run.
        baseline: the setting that is compared with.
        other: the setting that sentence 1 says was ahead in the mean and in every seed.

    Returns:
        The verdict on the first answer that is missing or wrong, with the reason; right when all are.
    """
    difference = (accuracies(runs, other) - accuracies(runs, baseline)).dropna()
    is_ahead = bool(len(difference) and (difference > 0).all())
    found = (
        f"{other} was ahead of {baseline} in {int((difference > 0).sum())} of {len(difference)} seeds, by "
        f"{difference.mean():+.3f} in the mean."
    )
    right = {1: is_ahead, **dict.fromkeys(REASONS, False)}
    for number in right:
        answer = answers.get(number)
        if answer is None:
            return Feedback(
                False, f"sentence {number}: no answer yet. Does the figure show all that it says?"
            )
        if not isinstance(answer, bool):
            return Feedback(False, f"sentence {number}: {answer!r} is neither True nor False.")
        if answer != right[number]:
            return Feedback(False, f"sentence {number}: {REASONS.get(number, found)}")
    return Feedback(
        True, f"{found} {'That, and no more, is shown.' if is_ahead else 'None of the six is shown.'}"
    )


def accuracies(runs: pd.DataFrame, setting: str) -> "pd.Series[float]":
    """Return the test accuracy of a setting by seed."""
    return runs[runs["setting"] == setting].set_index("seed")["test accuracy"].astype(float)


def is_near(answer: Any, right: float) -> bool:
    """Tell whether an answer is a number as it would be rounded to three digits."""
    return abs(float(answer) - right) <= TOLERANCE


def is_list(value: Any) -> bool:
    """Tell whether an answer is a list of something, such as a range."""
    return isinstance(value, Sequence) and not isinstance(value, str)
