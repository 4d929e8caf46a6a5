"""Figures: what went in is in them, axes have names, and no two series differ by colour alone."""

import numpy as np
import plotly.graph_objects as go
import pytest

from van_tutorial import diagnostics, models, plots

NAMES = ["plain", "residual", "highway", "convex", "additive", "activation", "looks-linear"]


@pytest.fixture
def histories(phased_out):
    return {
        name: phased_out.history.assign(loss=phased_out.history["loss"] + i) for i, name in enumerate(NAMES)
    }


@pytest.fixture
def norms(few_images):
    tables = {}
    for connection in ("plain", "residual"):
        model = models.mlp(depth=3, width=8, connection=connection, seed=0)
        tables[connection] = diagnostics.layer_norms(
            model, few_images.train_images[:32], few_images.train_labels[:32]
        )
    return tables


@pytest.fixture
def figures(phased_out, histories, norms):
    return {
        "skip_weight_map": plots.skip_weight_map(phased_out.layers),
        "skip_weight_range": plots.skip_weight_range(phased_out.layers),
        "multiplier_range": plots.multiplier_range(phased_out.layers),
        "accuracy_curves": plots.accuracy_curves(histories),
        "loss_curves": plots.loss_curves(histories),
        "layer_norm_curves": plots.layer_norm_curves(norms),
    }


EVERY_FIGURE = [
    "skip_weight_map", "skip_weight_range", "multiplier_range", "accuracy_curves", "loss_curves",
    "layer_norm_curves",
]  # fmt: skip


@pytest.mark.parametrize("name", EVERY_FIGURE)
def test_every_figure_has_a_title_a_caption_and_names_on_both_axes(figures, name):
    fig = figures[name]
    assert type(fig) is go.Figure
    title, caption = fig.layout.title.text.split("<br>")
    assert title
    assert len(caption) > len("<sup></sup>")
    assert fig.layout.xaxis.title.text
    assert fig.layout.yaxis.title.text


@pytest.mark.parametrize("name", EVERY_FIGURE)
def test_a_caption_of_ones_own_is_shown(phased_out, histories, norms, name):
    data = {"accuracy_curves": histories, "loss_curves": histories, "layer_norm_curves": norms}.get(
        name, phased_out.layers
    )
    assert "what to see" in getattr(plots, name)(data, caption="what to see").layout.title.text


def look(trace):
    """How a series looks apart from its colour; a fill and what lines do not draw do not count."""
    mode = trace.mode or "lines"
    dash = trace.line.dash if "lines" in mode else None
    marker = trace.marker.symbol if "markers" in mode else None
    return mode, dash, marker, trace.fill


@pytest.mark.parametrize(
    "name", ["accuracy_curves", "loss_curves", "layer_norm_curves", "skip_weight_range", "multiplier_range"]
)
def test_no_two_series_differ_by_colour_alone(figures, name):
    looks = [look(trace) for trace in figures[name].data]
    assert len(looks) > 1
    assert len(set(looks)) == len(looks)


def test_the_map_holds_every_skip_weight_at_its_layer_and_step(phased_out):
    trace = plots.skip_weight_map(phased_out.layers).data[0]
    assert (trace.zmin, trace.zmax) == (0.0, 1.0)
    assert np.shape(trace.z) == (4, 160)
    for row in phased_out.layers.sample(20, random_state=0).itertuples():
        column = list(trace.x).index(row.step)
        assert trace.z[list(trace.y).index(row.layer)][column] == pytest.approx(row.skip_weight)


@pytest.mark.parametrize(
    ("name", "column"), [("skip_weight_range", "skip_weight"), ("multiplier_range", "multiplier")]
)
def test_a_range_holds_mean_smallest_and_largest_of_every_step(phased_out, figures, name, column):
    band, mean = figures[name].data
    table = phased_out.layers.pivot_table(index="step", columns="layer", values=column)
    assert list(mean.x) == list(table.index)
    np.testing.assert_allclose(mean.y, table.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(band.y[:160], table.max(axis=1), rtol=1e-6)
    np.testing.assert_allclose(band.y[160:][::-1], table.min(axis=1), rtol=1e-6)
    assert list(band.x) == list(table.index) + list(table.index)[::-1]


def test_curves_hold_the_histories_that_went_in(histories, figures):
    by_name = {trace.name: trace for trace in figures["accuracy_curves"].data}
    losses = {trace.name: trace for trace in figures["loss_curves"].data}
    assert list(losses) == NAMES
    for name, history in histories.items():
        assert list(by_name[f"{name}, test"].y) == history["test_accuracy"].tolist()
        assert list(by_name[f"{name}, training"].y) == history["train_accuracy"].tolist()
        assert list(losses[name].x) == history["epoch"].tolist()
        assert list(losses[name].y) == history["loss"].tolist()


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


def test_drawing_does_not_change_the_table(phased_out):
    before = phased_out.layers.copy()
    plots.skip_weight_map(phased_out.layers)
    plots.skip_weight_range(phased_out.layers)
    assert phased_out.layers.equals(before)
