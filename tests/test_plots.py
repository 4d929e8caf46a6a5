"""Figures: what went in is in them, axes have names, and no two series differ by colour alone."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import torch

from van_tutorial import constraints, diagnostics, models, plots, segmentation

LABELS = np.array([[0, 0, 0, 0], [1, 1, 1, 0], [0, 2, 2, 2], [0, 2, 2, 2]])
NAMES = ["plain", "residual", "highway", "convex", "additive", "activation", "looks-linear"]


@pytest.fixture(scope="module")
def histories(phased_out):
    return {
        name: phased_out.history.assign(loss=phased_out.history["loss"] + i) for i, name in enumerate(NAMES)
    }


@pytest.fixture(scope="module")
def norms(few_images):
    tables = {}
    for connection in ("plain", "residual"):
        model = models.mlp(depth=3, width=8, connection=connection, seed=0)
        tables[connection] = diagnostics.layer_norms(
            model, few_images.train_images[:32], few_images.train_labels[:32]
        )
    return tables


@pytest.fixture(scope="module")
def autocorrelations():
    return pd.concat(
        [
            *diagnostics.shattering(
                ("plain, centred", "looks-linear"), depths=(2,), num_seeds=2, num_points=32
            ),
            diagnostics.noise_autocorrelation(num_seeds=3, num_points=32),
        ]
    )


@pytest.fixture(scope="module")
def by_depth():
    rows = [(name, depth, 0.5**depth) for name in ("plain", "residual") for depth in (1, 2, 4)]
    return pd.DataFrame(rows, columns=["network", "depth", "correlation"])


@pytest.fixture(scope="module")
def conditioning():
    tables = []
    for name, depth in (("none", 1), ("none", 3), ("batch", 1), ("batch", 3)):
        model = models.mlp(depth=depth, width=8, in_features=4, normalization=name, seed=0).eval()
        table = diagnostics.conditioning(model, torch.ones(3, 4))
        tables.append(table.assign(network=name, depth=depth))
    return pd.concat(tables)


@pytest.fixture(scope="module")
def paths():
    return {
        name: constraints.simulate_path(50, skip_lr=0.05, dual_lr=0.05, is_projected=clip)
        for name, clip in (("clipped", True), ("free", False))
    }


@pytest.fixture(scope="module")
def removals():
    return pd.DataFrame(
        {
            "run": ["a", "a", "b", "b"],
            "layer": [1, 2, 1, 2],
            "predicted_step": [10.0, 20.0, 30.0, 40.0],
            "first_zero_step": [11.0, 19.0, 33.0, np.nan],
            "price": [0.1, -0.2, 0.3, 0.0],
            "multiplier": [1.0, 2.0, 3.0, 4.0],
        }
    )


@pytest.fixture(scope="module")
def degradation():
    rows = [
        (name, depth, 0.9 - depth / 100 + seed / 100, 0.8 - depth / 100)
        for name in ("plain", "residual")
        for depth in (2, 10)
        for seed in (0, 1)
    ]
    return pd.DataFrame(rows, columns=["network", "depth", "train_accuracy", "test_accuracy"])


@pytest.fixture(scope="module")
def makers(
    phased_out, histories, norms, autocorrelations, by_depth, conditioning, paths, removals, degradation
):
    """For every figure a function that draws it, with a caption or without."""
    signals = {"a": [0.0, 1.0, 0.0], "b": [1.0, 1.0, 3.0], "flat": [2.0, 2.0, 2.0]}
    return {
        "skip_weight_map": lambda **c: plots.skip_weight_map(phased_out.layers, **c),
        "accuracy_curves": lambda **c: plots.accuracy_curves(histories, **c),
        "layer_norm_curves": lambda **c: plots.layer_norm_curves(norms, **c),
        "mean_curves": lambda **c: plots.mean_curves(degradation, "test_accuracy", "depth", **c),
        "mean_dots": lambda **c: plots.mean_dots(
            degradation, "test_accuracy", "Dots", "accuracy", "depth", **c
        ),
        "gradient_signals": lambda **c: plots.gradient_signals([0.0, 0.5, 1.0], signals, **c),
        "autocorrelation_panels": lambda **c: plots.autocorrelation_panels(autocorrelations, **c),
        "correlation_by_depth": lambda **c: plots.correlation_by_depth(by_depth, by_depth, **c),
        "measure_curves": lambda **c: plots.measure_curves(
            degradation.rename(columns={"depth": "epoch"}), "train_accuracy", "Accuracy", "accuracy", **c
        ),
        "label_maps": lambda **c: segmentation.label_maps(
            np.eye(4), {"truth": LABELS, "answer": LABELS.T}, ["background", "coat", "bag"], **c
        ),
        "singular_value_spread": lambda **c: plots.singular_value_spread(conditioning, **c),
        "skip_and_multiplier_paths": lambda **c: plots.skip_and_multiplier_paths(paths, **c),
        "constrained_descent": lambda **c: plots.constrained_descent(paths["clipped"], np.square, 5, **c),
        "phase_portrait": lambda **c: plots.phase_portrait(paths, slope=0.3, **c),
        "predicted_and_real_steps": lambda **c: plots.predicted_and_real_steps(removals, **c),
        "prices_and_multipliers": lambda **c: plots.prices_and_multipliers(removals, **c),
    }


@pytest.fixture(scope="module")
def figures(makers):
    return {name: make() for name, make in makers.items()}


PARTS = ("PALETTE", "SKIP_COLORS", "curve", "finish", "numbers", "skip_heat_map", "style")
EVERY_FIGURE = [name for name in plots.__all__ if name not in PARTS] + ["label_maps"]
MAPS = ("skip_weight_map", "label_maps")


def test_every_figure_of_the_subpackage_is_looked_at_here(makers):
    assert sorted(makers) == sorted(EVERY_FIGURE)


@pytest.mark.parametrize("name", EVERY_FIGURE)
def test_every_figure_has_a_title_a_caption_and_names_on_both_axes(figures, name):
    fig = figures[name]
    assert type(fig) is go.Figure
    title, caption = fig.layout.title.text.split("<br>")
    assert title
    assert len(caption) > len("<sup></sup>")
    assert any(axis.title.text for axis in fig.select_xaxes())  # panels share theirs
    assert any(axis.title.text for axis in fig.select_yaxes())


@pytest.mark.parametrize("name", EVERY_FIGURE)
def test_a_caption_of_ones_own_is_shown(makers, name):
    assert "what to see" in makers[name](caption="what to see").layout.title.text


def look(trace):
    """How a series looks apart from its colour; a fill and what lines do not draw do not count."""
    mode = trace.mode or "lines"
    dash = trace.line.dash if "lines" in mode else None
    marker = trace.marker.symbol if "markers" in mode else None
    return mode, dash, marker, trace.fill


BESIDE = ("gradient_signals",)  # each line has its name beside it


@pytest.mark.parametrize("name", [name for name in EVERY_FIGURE if name not in (*MAPS, *BESIDE)])
def test_no_two_series_differ_by_colour_alone(figures, name):
    drawn = [trace for trace in figures[name].data if trace.showlegend is not False]
    looks = [look(trace) for trace in drawn]
    assert len(looks) > 1
    assert len(set(looks)) == len(looks)


def test_where_colors_come_again_dash_and_marker_are_another_pair():
    styles = [plots.style(index) for index in range(49)]
    looks = [(each["line"]["color"], each["line"]["dash"], each["marker"]["symbol"]) for each in styles]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert len({(look[one], look[other]) for look in looks}) == 49


def test_a_kind_of_network_has_one_colour_in_every_figure_and_its_variants_a_shade_and_a_marker():
    table = pd.DataFrame({"layer": [1, 2], "output_grad_norm": [0.1, 0.2]})
    few = {"residual, deep": 0, "vanillanet": 0, "van": 0}
    many = {"plain": 0, "VAN": 0, "plain, lr 0.01": 0, "plain, BatchNorm bias 1": 0, "residual": 0}
    drawn = [
        *plots.layer_norm_curves(dict.fromkeys(few, table)).data,
        *plots.layer_norm_curves(dict.fromkeys(many, table)).data,
    ]
    looks = {trace.name: (trace.line.color, trace.marker.symbol) for trace in drawn}
    assert looks["residual, deep"] == looks["residual"]
    assert looks["van"] == looks["VAN"]
    assert len(looks) == 8
    for part in range(2):
        of_all = [
            look[part] for name, look in looks.items() if name not in ("residual, deep", "van", "vanillanet")
        ]
        assert len(set(of_all)) == len(of_all)
    assert looks["vanillanet"][0] not in (looks["VAN"][0], looks["residual"][0])


def test_the_two_series_of_a_network_differ_by_more_than_the_fill_of_a_marker(figures):
    drawn = [(trace.mode, trace.line.color, trace.line.dash) for trace in figures["accuracy_curves"].data]
    drawn = [look for look in drawn if "lines" in look[0]]
    assert len(set(drawn)) == len(drawn)


def test_the_map_holds_every_skip_weight_at_its_layer_and_step(phased_out):
    trace = plots.skip_weight_map(phased_out.layers).data[0]
    assert (trace.zmin, trace.zmax) == (0.0, 1.0)
    assert np.shape(trace.z) == (4, 160)
    for row in phased_out.layers.sample(20, random_state=0).itertuples():
        column = list(trace.x).index(row.step)
        assert trace.z[list(trace.y).index(row.layer)][column] == pytest.approx(row.skip_weight)


def test_where_there_is_no_skip_weight_nothing_is_drawn(phased_out):
    with pytest.raises(ValueError, match="no skip weights to draw"):
        plots.skip_weight_map(phased_out.layers.iloc[:0])


def test_curves_hold_the_histories_that_went_in(histories, figures):
    by_name = {trace.name: trace for trace in figures["accuracy_curves"].data}
    for name, history in histories.items():
        assert list(by_name[name].y) == history["test_accuracy"].tolist()
        training = by_name[f"{name}, training"]
        assert list(training.y) == history["train_accuracy"].tolist()
        assert (training.legendgroup, training.showlegend) == (name, False)


@pytest.mark.parametrize("column", ["activation_norm", "output_grad_norm", "weight_grad_norm"])
def test_norm_curves_hold_the_norms_on_a_logarithmic_axis(norms, column):
    fig = plots.layer_norm_curves(norms, column=column)
    assert fig.layout.yaxis.type == "log"
    assert {trace.name: list(trace.y) for trace in fig.data} == {
        name: table[column].tolist() for name, table in norms.items()
    }
    assert list(fig.data[0].x) == [1, 2, 3]


def test_a_norm_that_is_not_measured_is_refused(norms):
    with pytest.raises(ValueError, match=r"column must be one of 'activation_norm', .* got 'norm'"):
        plots.layer_norm_curves(norms, column="norm")


def test_a_constrained_descent_is_animated_from_its_first_moment_to_its_last(paths, figures):
    fig, path = figures["constrained_descent"], paths["clipped"]
    (slider,) = fig.layout.sliders
    assert [step.label for step in slider.steps] == ["0", "12", "25", "38", "50"]
    assert [step.args[0] for step in slider.steps] == [(frame.name,) for frame in fig.frames]
    assert [list(trace.y) for trace in fig.data[1:]] == [list(trace.y) for trace in fig.frames[0].data]
    for step, frame in zip((0, 12, 25, 38, 50), fig.frames, strict=True):
        lagrangian, now, skip_weight, multiplier = frame.data
        alpha, rise = path.loc[step, ["skip_weight", "multiplier"]]
        assert now.x[0] == alpha
        assert now.y[0] == pytest.approx(alpha**2 + rise * alpha)
        np.testing.assert_allclose(lagrangian.y, np.square(lagrangian.x) + rise * np.array(lagrangian.x))
        assert list(skip_weight.y) == path["skip_weight"][: step + 1].tolist()
        assert list(multiplier.y) == path["multiplier"][: step + 1].tolist()


def test_drawing_does_not_change_the_table(phased_out):
    before = phased_out.layers.copy()
    plots.skip_weight_map(phased_out.layers)
    assert phased_out.layers.equals(before)


def test_a_fraction_of_units_is_drawn_from_0_to_1(norms):
    fig = plots.layer_norm_curves(norms, column="dead_fraction")
    assert fig.layout.yaxis.type != "log"
    assert list(fig.data[0].y) == norms["plain"]["dead_fraction"].tolist()


def test_a_signal_that_does_not_vary_is_a_flat_line_and_the_others_are_scaled_alike(figures):
    first, second, flat = figures["gradient_signals"].data
    beside = [(text.text, text.y) for text in figures["gradient_signals"].layout.annotations]
    assert beside == [("a", 0), ("b", -6), ("flat", -12)]
    assert np.ptp(flat.y) == 0.0
    assert np.std(first.y) == pytest.approx(1.0)
    assert np.std(second.y) == pytest.approx(1.0)


def test_autocorrelation_has_a_panel_for_each_network_and_the_curve_that_was_measured(
    figures, autocorrelations
):
    fig = figures["autocorrelation_panels"]
    titles = [annotation.text for annotation in fig.layout.annotations]
    assert titles == ["plain, centred", "looks-linear"]
    for axis, network in (("x", "plain, centred"), ("x2", "looks-linear")):
        drawn = {trace.name: list(trace.y) for trace in fig.data if trace.xaxis == axis}
        assert list(drawn) == ["depth 2", "white noise", "brown noise"]
        for name, rows in (("depth 2", network), ("white noise", "white noise")):
            of_one = autocorrelations[autocorrelations["network"] == rows]
            np.testing.assert_array_equal(drawn[name], of_one["mean"])


def test_a_skip_that_was_never_removed_is_not_drawn_as_removed(figures):
    drawn = {trace.name: len(trace.x) for trace in figures["predicted_and_real_steps"].data}
    assert drawn == {"a": 2, "b": 1, "equal": 2}


def test_measure_curves_draw_mean_and_spread_over_the_seeds(degradation):
    fig = plots.measure_curves(degradation, "train_accuracy", "Accuracy", "accuracy", over="depth")
    trace = fig.data[0]
    runs = degradation.query("network == 'plain'").groupby("depth")["train_accuracy"]
    assert list(trace.y) == pytest.approx(runs.mean().tolist())
    assert list(trace.error_y.array) == pytest.approx(runs.std().tolist())


def test_a_measure_is_drawn_over_what_was_asked_for(degradation):
    fig = plots.measure_curves(degradation, "test_accuracy", "Accuracy", "accuracy", over="depth")
    assert fig.layout.xaxis.title.text == "depth"
    assert list(fig.data[0].x) == [2, 10]
    assert list(fig.data[0].y) == pytest.approx([0.78, 0.7])
    named = plots.measure_curves(
        degradation, "test_accuracy", "Accuracy", "accuracy", over="depth", x="layers"
    )
    assert named.layout.xaxis.title.text == "layers"


def test_a_map_of_labels_says_each_label_by_its_number_where_it_is(figures):
    fig = figures["label_maps"]
    scene, truth, _ = (trace for trace in fig.data if trace.type == "heatmap")
    assert (np.asarray(scene.z) == np.eye(4)).all()
    assert (np.asarray(truth.z) == LABELS).all()
    assert truth.customdata[2][1] == "bag"
    assert [trace.name for trace in fig.data if trace.type == "scatter"] == ["background", "1 coat", "2 bag"]
    numbers = [note for note in fig.layout.annotations if note.text in ("1", "2")]
    assert len(numbers) == 4  # the two garments in both maps; the background has none
    for note in numbers:
        labels = LABELS if note.xref == "x2" else LABELS.T
        assert labels[note.y, note.x] == int(note.text)


def test_labels_beyond_the_last_colour_are_never_drawn_as_background():
    labels = np.arange(24).reshape(4, 6)
    fig = segmentation.label_maps(labels, {"truth": labels}, [str(number) for number in range(24)])
    colors = [trace.marker.color for trace in fig.data if trace.type == "scatter"]
    assert len(colors) == 24
    assert colors.count(colors[0]) == 1


def test_networks_are_drawn_in_their_order_in_the_table_though_a_series_has_another():
    table = pd.DataFrame({"network": ["b", "a", "c"], "depth": [2, 1, 1], "test_accuracy": [0.3, 0.2, 0.1]})
    axis = plots.mean_dots(table, "test_accuracy", "Order", "test accuracy", "depth").layout.yaxis
    assert axis.categoryarray == ("b", "a", "c")
    assert (axis.categoryorder, axis.autorange) == ("array", "reversed")
