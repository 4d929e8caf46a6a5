"""Figures of many runs: means and spreads are those of the table, and nothing is drawn where it does not belong."""

import itertools

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from van_tutorial.plots import mean_curves


@pytest.fixture
def runs():
    """Two networks, two panels, two depths, three dual learning rates and three seeds."""
    table = pd.DataFrame(
        itertools.product(["plain", "van"], ["width 8", "width 16"], [20, 40], [0.0, 0.001, 0.01], [0, 1, 2]),
        columns=["network", "panel", "depth", "dual_lr", "seed"],
    )
    return table.assign(accuracy=0.9 - table["depth"] / 100 + table["seed"] / 10 - table["dual_lr"])


def test_a_curve_holds_mean_sample_deviation_and_number_of_runs(runs):
    before = runs.copy()
    fig = mean_curves(
        runs.query("dual_lr == 0.001"), "accuracy", "depth", panel="panel", caption="See the bars."
    )
    assert type(fig) is go.Figure
    assert fig.layout.title.text == "accuracy by depth<br><sup>See the bars.</sup>"
    assert [note.text for note in fig.layout.annotations] == ["width 8", "width 16"]
    assert len(fig.data) == 4  # two networks in two panels
    for trace in fig.data:
        assert list(trace.x) == [20, 40]
        assert list(trace.y) == pytest.approx([0.799, 0.599])
        assert list(trace.error_y.array) == pytest.approx([0.1, 0.1])
        assert [row[-1] for row in trace.customdata] == [3, 3]
    assert {axis.title.text for axis in fig.select_xaxes()} == {"depth"}
    assert fig.layout.yaxis.title.text == "accuracy"
    assert list(fig.layout.xaxis.tickvals) == [20, 40]
    assert runs.equals(before)


def test_one_run_has_no_bar_and_one_panel_no_heading(runs):
    fig = mean_curves(
        runs.query("dual_lr == 0.001 and seed == 0 and panel == 'width 8'"), "accuracy", "depth"
    )
    assert np.isnan(np.asarray(fig.data[0].error_y.array, dtype=float)).all()
    assert not fig.layout.annotations


def test_numbers_with_gaps_are_drawn_and_counted(runs):
    table = runs.assign(accuracy=runs["accuracy"].astype("Float64").where(runs["seed"] > 0))
    fig = mean_curves(table.query("dual_lr == 0.0 and panel == 'width 8'"), "accuracy", "depth")
    assert [row[-1] for row in fig.data[0].customdata] == [2, 2]
    assert list(fig.data[0].y) == pytest.approx([0.85, 0.65])


def test_learning_rates_above_0_have_a_logarithmic_axis(runs):
    fig = mean_curves(runs.query("dual_lr > 0"), "accuracy", "dual_lr", is_log=True)
    assert fig.layout.xaxis.type == "log"
    assert list(fig.data[0].x) == [0.001, 0.01]
    assert list(fig.layout.xaxis.ticktext) == ["0.001", "0.01"]


@pytest.mark.parametrize(("odd", "text"), [(0.0, "0"), (None, "none"), (-0.5, "-0.5")])
def test_what_a_logarithmic_axis_has_no_place_for_stands_beside_the_others(runs, odd, text):
    table = runs.assign(dual_lr=runs["dual_lr"].astype("Float64").replace(0.0, odd))
    fig = mean_curves(table, "accuracy", "dual_lr", is_log=True)
    assert fig.layout.xaxis.type == "category"
    assert sorted(fig.data[0].x) == sorted([text, "0.001", "0.01"])


def test_no_two_series_differ_by_colour_alone_and_each_is_named_once(runs):
    table = pd.concat([runs.assign(network=str(number)) for number in range(20)])
    drawn = [
        trace for trace in mean_curves(table, "accuracy", "depth", panel="panel").data if trace.showlegend
    ]
    assert len({trace.name for trace in drawn}) == len(drawn) == 20
    assert len({(trace.line.color, trace.line.dash, trace.marker.symbol) for trace in drawn}) == 20
    assert len({trace.marker.symbol for trace in drawn[:7]}) == 7


def test_a_series_looks_the_same_where_others_are_missing(runs):
    categories = pd.CategoricalDtype(["0.001", "0.01", "0.1", "1"])
    rates = runs["network"].map({"plain": "0.01", "van": "0.1"}).astype(categories)
    table = runs.assign(network=rates).query("network == '0.1'")
    (trace,) = mean_curves(table, "accuracy", "depth").data
    assert trace.marker.symbol == "diamond"


def test_texts_of_the_table_are_shown_as_they_are(runs):
    evil = "<a href='x'>a & b</a>"
    table = runs.assign(network=evil, **{evil: runs["accuracy"], f"{evil} lr": runs["dual_lr"]})
    table["panel"] = table["panel"] + evil
    drawn = str(mean_curves(table, evil, f"{evil} lr", panel="panel").to_dict())
    assert "<a" not in drawn
    assert "&lt;a href='x'&gt;a &amp; b&lt;/a&gt;" in drawn
