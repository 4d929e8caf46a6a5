"""Figures of many runs: means and spreads are those of the table, and nothing is drawn where it does not belong."""

import itertools

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from van_tutorial.plots import sweeps

EVERY_FIGURE = ["metric_by_depth", "metric_by_step_size", "step_size_frontier", "every_run"]


@pytest.fixture
def runs():
    """Two networks, two panels, two depths, three step sizes and three seeds."""
    table = pd.DataFrame(
        itertools.product(["plain", "van"], ["width 8", "width 16"], [20, 40], [0.0, 0.001, 0.01], [0, 1, 2]),
        columns=["series", "panel", "depth", "dual_lr", "seed"],
    )
    accuracy = 0.9 - table["depth"] / 100 + table["seed"] / 10 - table["dual_lr"]
    return table.assign(accuracy=accuracy, setting="depth " + table["depth"].astype(str))


@pytest.fixture
def points():
    """Three settings of each network, of which the third is beaten."""
    return pd.DataFrame(
        [
            (name, "width 8", f"{label}: dual_lr {label}", str(label), 3, step, 2.0, mean, 0.01, is_frontier)
            for name in ("van", "vanillanet")
            for label, step, mean, is_frontier in [
                (1, 300.0, 0.8, True),
                (2, 100.0, 0.7, True),
                (3, 400.0, 0.6, False),
            ]
        ],
        columns=[
            "series",
            "panel",
            "setting",
            "label",
            "runs",
            "step",
            "step_sd",
            "mean",
            "sd",
            "is_frontier",
        ],
    )


@pytest.fixture
def makers(runs, points):
    return {
        "metric_by_depth": lambda **c: sweeps.metric_by_depth(runs, "accuracy", **c),
        "metric_by_step_size": lambda **c: sweeps.metric_by_step_size(runs, "accuracy", "dual_lr", **c),
        "step_size_frontier": lambda **c: sweeps.step_size_frontier(points, "accuracy", **c),
        "every_run": lambda **c: sweeps.every_run(runs, "accuracy", **c),
    }


@pytest.mark.parametrize("name", EVERY_FIGURE)
def test_every_figure_has_a_title_a_caption_and_names_on_both_axes(makers, name):
    fig = makers[name]()
    assert type(fig) is go.Figure
    title, caption = fig.layout.title.text.split("<br>")
    assert title
    assert len(caption) > len("<sup></sup>")
    assert all(axis.title.text for axis in fig.select_xaxes())
    assert fig.layout.yaxis.title.text
    assert "what to see" in makers[name](caption="what to see").layout.title.text


@pytest.mark.parametrize("name", EVERY_FIGURE)
def test_no_two_series_differ_by_colour_alone_and_each_is_named_once(makers, name):
    drawn = [trace for trace in makers[name]().data if trace.showlegend is not False]
    looks = [
        (trace.mode, trace.marker.symbol, trace.line.dash if "lines" in trace.mode else "") for trace in drawn
    ]
    assert len(looks) > 1
    assert len(set(looks)) == len(looks)
    assert len({trace.name for trace in drawn}) == len(drawn)


@pytest.mark.parametrize("name", EVERY_FIGURE)
def test_texts_of_the_table_are_shown_as_they_are(runs, points, name):
    evil = "<a href='x'>a & b</a>"
    if name == "step_size_frontier":
        fig = sweeps.step_size_frontier(points.assign(series=evil, setting=evil, label=evil), evil)
    else:
        table = runs.assign(series=evil, setting=evil, **{evil: runs["accuracy"]})
        table["panel"] = table["panel"] + evil
        make = getattr(sweeps, name)
        fig = make(table, evil, "dual_lr") if name == "metric_by_step_size" else make(table, evil)
    drawn = str(fig.to_dict())
    assert "<a" not in drawn
    assert "&lt;a href='x'&gt;a &amp; b&lt;/a&gt;" in drawn


@pytest.mark.parametrize("name", EVERY_FIGURE)
def test_a_series_looks_the_same_where_others_are_missing(makers, runs, points, name):
    categories = pd.CategoricalDtype(["residual", "plain", "van", "vanillanet"])
    tables = [table.assign(series=table["series"].astype(categories)) for table in (runs, points)]
    table = tables[name == "step_size_frontier"]
    arguments = ["accuracy", "dual_lr"] if name == "metric_by_step_size" else ["accuracy"]
    fig = getattr(sweeps, name)(table[table["series"] == "van"], *arguments)
    assert {trace.marker.symbol.removesuffix("-open") for trace in fig.data} == {"diamond"}


def test_a_curve_holds_mean_sample_deviation_and_number_of_runs(runs):
    table = runs.query("dual_lr == 0.001")
    fig = sweeps.metric_by_depth(table, "accuracy")
    assert len(fig.data) == 4  # two networks in two panels
    assert [note.text for note in fig.layout.annotations] == ["width 8", "width 16"]
    for trace in fig.data:
        assert list(trace.x) == [20, 40]
        assert list(trace.y) == pytest.approx([0.799, 0.599])
        assert list(trace.error_y.array) == pytest.approx([0.1, 0.1])
        assert [row[0] for row in trace.customdata] == [3, 3]
    assert "runs: %{customdata[0]}" in fig.data[0].hovertemplate
    assert list(fig.layout.xaxis.tickvals) == [20, 40]


def test_one_run_has_no_bar(runs):
    fig = sweeps.metric_by_depth(runs.query("dual_lr == 0.001 and seed == 0"), "accuracy")
    assert np.isnan(np.asarray(fig.data[0].error_y.array, dtype=float)).all()


def test_one_panel_needs_no_heading(runs):
    fig = sweeps.metric_by_depth(runs.query("panel == 'width 8'"), "accuracy")
    assert not fig.layout.annotations


def test_numbers_with_gaps_are_drawn(runs):
    table = runs.assign(accuracy=runs["accuracy"].astype("Float64").where(runs["seed"] > 0))
    fig = sweeps.metric_by_depth(table.query("dual_lr == 0.0"), "accuracy")
    assert [row[0] for row in fig.data[0].customdata] == [2, 2]
    assert list(fig.data[0].y) == pytest.approx([0.85, 0.65])
    sweeps.every_run(table, "accuracy")


def test_a_step_size_of_0_stands_apart_from_a_logarithmic_axis(runs):
    fig = sweeps.metric_by_step_size(runs.query("depth == 20"), "accuracy", "dual_lr")
    x = np.asarray(fig.data[0].x, dtype=float)
    assert fig.layout.xaxis.type == "log"
    assert 0 < x[0] < 0.001
    assert np.isnan(x[1])  # no line leads to it
    assert list(x[2:]) == [0.001, 0.01]
    assert list(fig.layout.xaxis.ticktext) == ["0", "0.001", "0.01"]
    assert fig.layout.xaxis.title.text == "dual_lr (step size)"
    assert list(fig.layout.xaxis.tickvals) == [x[0], 0.001, 0.01]


def test_only_the_multipliers_step_size_is_sized_where_it_is_0(runs):
    table = runs.rename(columns={"dual_lr": "skip_lr"})
    axis = sweeps.metric_by_step_size(table, "accuracy", "skip_lr").layout.xaxis
    assert axis.ticktext[0] == "0"
    assert axis.title.text == "skip_lr (step size)"


def test_step_sizes_above_0_are_one_line(runs):
    fig = sweeps.metric_by_step_size(runs.query("dual_lr > 0"), "accuracy", "dual_lr")
    assert list(fig.data[0].x) == [0.001, 0.01]


def test_the_frontier_is_a_line_by_step_and_what_is_beaten_is_off_it(points):
    fig = sweeps.step_size_frontier(points, "accuracy")
    van = {trace.name: trace for trace in fig.data if trace.name.startswith("van:")}
    frontier, others = van["van: frontier"], van["van: other settings"]
    assert list(frontier.x) == [100.0, 300.0]
    assert list(frontier.y) == [0.7, 0.8]
    assert "lines" in frontier.mode
    assert list(others.x) == [400.0]
    assert "lines" not in others.mode
    assert others.marker.symbol.endswith("-open")
    assert list(frontier.error_x.array) == [2.0, 2.0]
    assert frontier.customdata[0][0] == "2: dual_lr 2"


def test_every_run_is_a_point(runs):
    fig = sweeps.every_run(runs, "accuracy")
    assert sum(len(trace.x) for trace in fig.data) == len(runs)
    low, high = fig.layout.xaxis.range
    assert low < runs["accuracy"].min() < runs["accuracy"].max() < high


def test_more_series_than_colours_still_differ(runs):
    table = pd.concat([runs.assign(series=str(number)) for number in range(20)])
    drawn = [trace for trace in sweeps.metric_by_depth(table, "accuracy").data if trace.showlegend]
    assert len({(trace.line.color, trace.line.dash, trace.marker.symbol) for trace in drawn}) == 20


def test_drawing_does_not_change_the_table(runs, points, makers):
    before = runs.copy(), points.copy()
    for make in makers.values():
        make()
    assert runs.equals(before[0])
    assert points.equals(before[1])
