"""The checks of lesson 13, a question of your own."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

import pandas as pd

from van_tutorial.exercises.checker import ROUNDED_ACCURACY, Check, Feedback, is_no_number, judge_each
from van_tutorial.models import MLPConfig
from van_tutorial.training import TrainConfig

PARAMETERS = {field.name: config for config in (MLPConfig, TrainConfig) for field in fields(config)}
SPLITS = ("training", "validation", "test")


def check_design(design: Mapping[str, Any], about: str) -> Feedback:
    """Check the description of a small experiment, entry by entry.

    Args:
        design: the learner's; keys vary (a parameter's name), values, seeds (a list or their number),
            validation_fraction, choose on, and report on ("training", "validation" or "test"); None where there is no
            answer yet.
        about: the parameter that the question is about, of `models.mlp` or `TrainConfig`.

    Returns:
        The verdict on the first entry that is missing or wrong, with the reason; right when all are.
    """
    in_use = getattr(PARAMETERS[about](), about)
    split = {"split": lambda split: str(split) not in SPLITS, "training": "training"}
    slips: dict[str, dict[str, Any]] = {
        "vary": {
            "several": lambda vary: len(names_in(vary)) > 1,
            "no_name": lambda vary: not isinstance(vary, str),
            "seed": "seed",
            "unknown": lambda vary: vary not in PARAMETERS,
        },
        "values": {
            "no_list": lambda values: not is_list(values),
            "refused": lambda values: refusal(about, values) is not None,
            "twice": lambda values: len({repr(value) for value in values}) < len(values),
            "one": lambda values: len(values) < 2,
            "not_in_use": lambda values: in_use not in values,
        },
        "seeds": {
            "no_seeds": lambda seeds: count_seeds(seeds) is None,
            "twice": lambda seeds: is_list(seeds) and len(set(seeds)) < len(seeds),
            "none": lambda seeds: count_seeds(seeds) == 0,
            "one": lambda seeds: count_seeds(seeds) == 1,
            "two": lambda seeds: count_seeds(seeds) == 2,
        },
        "validation_fraction": {"none": 0, "range": lambda part: is_no_number(part) or not 0 <= part <= 0.9},
        "choose on": {**split, "test": "test"},
        "report on": split,
    }
    expected = {"vary": about, "choose on": "validation", "report on": "test"}
    checks = {name: Check(expected.get(name), of_entry) for name, of_entry in slips.items()}
    num_seeds = count_seeds(Check().convert(design.get("seeds"))) or 0
    words = {
        "about": about,
        "varied": lambda vary: ", ".join(names_in(vary)),
        "similar": lambda vary: ", ".join(get_close_matches(vary, PARAMETERS)) or "none",
        "refusal": lambda values: refusal(about, values),
        "in_use": in_use,
        "num_values": lambda _: len(design["values"]),
        "num_seeds": num_seeds,
        "num_runs": lambda _: len(design["values"]) * num_seeds,
    }
    return judge_each("design", design, checks, **words)


def is_list(answer: Any) -> bool:
    """Tell whether an answer is a list of something, such as a range."""
    return isinstance(answer, Sequence) and not isinstance(answer, str)


def names_in(vary: Any) -> list[str]:
    """Return the names where a learner gives several."""
    return [str(name) for name in vary] if isinstance(vary, list | tuple | set | dict) else []


def refusal(name: str, values: Any) -> str | None:
    """Return what a config says against one of a parameter's values; None where it takes all."""
    try:
        for value in values:
            PARAMETERS[name](**{name: value})
    except (TypeError, ValueError) as error:
        return str(error)
    return None


def count_seeds(seeds: Any) -> int | None:
    """Return how many seeds an answer names; None where it is neither a list of integers nor a number."""
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        return max(0, seeds)
    if is_list(seeds) and all(isinstance(seed, int) and seed >= 0 for seed in seeds):
        return len(seeds)
    return None


def pair(runs: pd.DataFrame, baseline: str, other: str) -> tuple["pd.Series[float]", dict[str, Any]]:
    """Return other less baseline in test accuracy, for each seed that both have, and words that describe it."""
    by_seed = runs.set_index("seed")["test accuracy"].astype(float)
    first, second = (by_seed[(runs["setting"] == name).to_numpy()] for name in (baseline, other))
    difference = (second - first).dropna()
    numbers = {"num_pairs": len(difference), "num_ahead": (difference > 0).sum(), "mean": difference.mean()}
    return difference, {"baseline": baseline, "other": other, **numbers}


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
        The verdict with a hint: right to two significant digits, or to three decimals.
    """
    difference, words = pair(runs, baseline, other)
    if len(difference) < 2:
        return Feedback(False, f"{len(difference)} seeds are in both settings: an s.d. needs two.")
    mean, sd = float(difference.mean()), float(difference.std(ddof=1))
    unpaired = runs[runs["setting"].isin([baseline, other])].groupby("setting")["test accuracy"].var().sum()
    slips = {
        "by_n": float(difference.std(ddof=0)),
        "of_mean": sd / len(difference) ** 0.5,
        "unpaired": float(unpaired) ** 0.5,
    }
    checks = {
        "mean": Check(mean, {"sign": -mean}, ROUNDED_ACCURACY),
        "sd": Check(sd, slips, ROUNDED_ACCURACY),
    }
    return judge_each("paired_difference", answer, checks, sd=sd, **words)


def check_claims(answers: Mapping[int, Any], runs: pd.DataFrame, baseline: str, other: str) -> Feedback:
    """Check, one by one, which of the lesson's six sentences the runs support.

    Args:
        answers: True or False by the sentence's number; None where there is no answer yet.
        runs: columns setting, seed and "test accuracy", one row a run.
        baseline: the setting that is compared with.
        other: the setting that sentence 1 says was ahead on average and in every seed.

    Returns:
        The verdict on the first answer that is missing or wrong, with the reason; right when all are.
    """
    difference, words = pair(runs, baseline, other)
    is_ahead = bool(len(difference) and (difference > 0).all())
    summary = "That, and no more, is shown." if is_ahead else "None of the six is shown."
    checks = {f"sentence {number}": Check(number == 1 and is_ahead) for number in range(1, 7)}
    named = {f"sentence {number}": answer for number, answer in answers.items()}
    return judge_each("claims", named, checks, summary=summary, **words)
