"""Intervals of differences: Student's t against its density, worked examples, and how often they hold."""

import math

import numpy as np
import pandas as pd
import pytest

from van_tutorial import batch
from van_tutorial.evidence import Difference, t_quantile


def runs_of(**values):
    rows = [
        {"network": name, "seed": seed, "test_accuracy": value}
        for name, by_seed in values.items()
        for seed, value in by_seed.items()
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("probability", "df", "quantile"),
    [
        (0.975, 1, 12.7062),  # tables of Student's t
        (0.975, 2, 4.30265),
        (0.975, 3, 3.18245),
        (0.975, 4, 2.77645),
        (0.995, 10, 3.16927),
        (0.9, 30, 1.31042),
        (0.975, 1e6, 1.95997),  # the normal distribution's
    ],
)
def test_quantiles_are_those_of_the_tables(probability, df, quantile):
    assert t_quantile(probability, df) == pytest.approx(quantile, rel=2e-5)
    assert t_quantile(1.0 - probability, df) == -t_quantile(probability, df)


@pytest.mark.parametrize("df", [1.0, 1.7, 2.5, 4.0755, 33.3])
def test_as_much_of_the_density_lies_below_a_quantile_as_was_asked_for(df):
    t = np.linspace(0.0, t_quantile(0.93, df), 100_001)
    scale = math.gamma((df + 1) / 2) / (math.gamma(df / 2) * math.sqrt(df * math.pi))
    assert 0.5 + np.trapezoid(scale * (1 + t**2 / df) ** (-(df + 1) / 2), t) == pytest.approx(0.93, abs=1e-7)


@pytest.mark.parametrize(("probability", "df"), [(0.0, 2), (1.0, 2), (0.975, 0.5)])
def test_a_quantile_that_does_not_exist_is_refused(probability, df):
    with pytest.raises(ValueError, match="must"):
        t_quantile(probability, df)


def test_runs_of_the_same_seeds_are_compared_pair_by_pair_in_any_order():
    runs = runs_of(a={0: 0.80, 1: 0.70, 2: 0.60}, b={2: 0.50, 0: 0.70, 1: 0.61})
    found = batch.compare(runs, "a", "b")  # 10, 9 and 10 points: sd 0.57735, over the root of 3
    assert found.runs == 3
    assert (found.low, found.high) == pytest.approx((0.29 / 3 - 4.30265 / 300, 0.29 / 3 + 4.30265 / 300))
    assert found.in_words("b") == "9.7 points above b [8.2, 11.1]"
    assert batch.compare(runs, "b", "a").in_words("a") == "9.7 points below a [8.2, 11.1]"


def test_runs_of_other_seeds_are_compared_by_welchs_interval():
    runs = runs_of(a={0: 1.0, 1: 2.0, 2: 3.0}, b={3: 2.0, 4: 4.0, 5: 6.0, 6: 8.0})
    found = batch.compare(runs, "a", "b")
    # squared errors 1 / 3 and 5 / 3: together 2, with 4 / (1 / 18 + 25 / 27) = 216 / 53 degrees of freedom
    half = t_quantile(0.975, 216 / 53) * math.sqrt(2)
    assert found.runs is None
    assert (found.mean, found.low, found.high) == pytest.approx((-3.0, -3.0 - half, -3.0 + half))


@pytest.mark.parametrize(
    ("mean", "low", "high", "words"),
    [
        (0.001, -0.002, 0.004, "level with b [−0.2, 0.4]"),
        (0.002, 0.001, 0.003, "0.2 points above b [0.1, 0.3]"),
        (0.002, -0.0001, 0.004, "level with b [0.0, 0.4]"),
        (0.001, -0.002, 0.006, "not told apart from b [−0.2, 0.6]"),
        (0.01, 0.004, 0.016, "1.0 points above b [0.4, 1.6]"),
        (-0.01, -0.016, -0.004, "1.0 points below b [0.4, 1.6]"),
        (-0.003, -0.0058, -0.0002, "0.3 points below b [0.0, 0.6]"),
    ],
)
def test_level_is_said_only_where_the_interval_holds_0_and_lies_within_half_a_point(mean, low, high, words):
    assert Difference(mean, low, high, 3).in_words("b") == words


def test_one_run_tells_nothing_apart_and_equal_runs_are_level():
    one = batch.compare(runs_of(a={0: 0.9}, b={0: 0.1}), "a", "b")
    assert (one.low, one.high) == (-math.inf, math.inf)
    assert one.in_words("b") == "not told apart from b by single runs (80.0 points above)"
    assert batch.compare(runs_of(a={0: 0.5, 1: 0.6}, b={0: 0.5, 1: 0.6}), "a", "b").is_level


@pytest.mark.parametrize("runs", [runs_of(a={0: 0.5}), pd.concat([runs_of(a={0: 0.5}, b={0: 0.5})] * 2)])
def test_a_network_without_runs_or_with_two_of_a_seed_is_refused(runs):
    with pytest.raises(ValueError, match="needs one test_accuracy"):
        batch.compare(runs, "a", "b")


def test_of_three_runs_the_interval_holds_the_truth_as_often_as_it_says_and_two_standard_errors_do_not():
    draws = np.random.default_rng(0).normal(size=(20_000, 3))
    error = draws.std(axis=1, ddof=1) / math.sqrt(3)
    assert (abs(draws.mean(axis=1)) <= t_quantile(0.975, 2) * error).mean() == pytest.approx(0.95, abs=0.006)
    assert (abs(draws.mean(axis=1)) <= 2 * error).mean() == pytest.approx(2 / math.sqrt(6), abs=0.01)
