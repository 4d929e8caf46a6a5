"""Measurements in the course of a training: where they turn up, when they are made, and that nobody notices."""

import itertools

import pandas as pd
import pytest
import torch

from van_tutorial import diagnostics, models, training

MEASURES = {
    "head": lambda network: network.head.weight.norm().item(),
    "weights": lambda network: torch.stack([layer.linear.weight.norm() for layer in network.layers]),
}


def small(**choices):
    return models.mlp(**{"depth": 3, "width": 8, "seed": 0, **choices})


def watch(trainer, recorder):
    return [recorder(record, trainer.model) or record for record in trainer]


def test_numbers_become_columns_of_the_history_and_tensors_columns_of_the_layers(few_images, quick):
    trainer = training.Trainer(small(), few_images, quick(log_every=4))
    expected = []
    recorder = diagnostics.Recorder(every=4, **MEASURES)
    for record in trainer:
        recorder(record, trainer.model)
        expected.append([layer.linear.weight.norm().item() for layer in trainer.model.layers])
        assert record.measures["head"] == trainer.model.head.weight.norm().item()
        assert not record.measures["weights"].requires_grad
    result = trainer.result()
    assert result.history["step"].tolist() == [4, 8, 12, 16]
    assert result.history["head"].tolist() == [record.measures["head"] for record in trainer.records]
    assert result.history["head"].nunique() == 4
    assert "weights" not in result.history
    assert result.layers.columns.tolist() == ["step", "layer", "skip_weight", "multiplier", "weights"]
    assert result.layers["layer"].tolist() == [1, 2, 3] * 4
    assert result.layers["weights"].tolist() == pytest.approx(list(itertools.chain(*expected)))


@pytest.mark.parametrize(
    ("log_every", "every", "measured"),
    [
        (2, 2, [2, 4, 6, 8, 10, 12, 14, 16]),
        (2, 4, [2, 6, 10, 14]),
        (2, 3, [2, 6, 10, 14]),
        (4, 1, [4, 8, 12, 16]),
        (4, 100, [4]),
    ],
)
def test_the_first_record_is_measured_and_then_one_every_so_many_steps(
    few_images, quick, log_every, every, measured
):
    trainer = training.Trainer(small(), few_images, quick(log_every=log_every))
    calls = []

    def count(network):
        calls.append(trainer.step)
        return 1

    watch(trainer, diagnostics.Recorder(every=every, one=count, **MEASURES))
    assert calls == measured
    history, layers = trainer.result().history, trainer.result().layers
    assert history["step"].tolist() == list(range(log_every, 17, log_every))
    assert history["one"].dtype == float
    for table, column in ((history, "one"), (history, "head"), (layers, "weights")):
        is_measured = table["step"].isin(measured)
        assert table[column].notna().tolist() == is_measured.tolist()
    assert layers["skip_weight"].notna().all()


def test_a_recorder_that_goes_on_to_another_run_starts_anew(few_images, quick):
    recorder = diagnostics.Recorder(every=8, **MEASURES)
    for _ in range(2):
        trainer = training.Trainer(small(), few_images, quick(log_every=8))
        watch(trainer, recorder)
        assert trainer.result().history["head"].notna().all()


def test_what_was_measured_does_not_change_with_the_network_afterwards(few_images, quick):
    trainer = training.Trainer(
        small(), few_images, quick(log_every=4, skip_lr=0.05, dual_lr=0.1, stagger=0.0)
    )
    watch(trainer, diagnostics.Recorder(every=4, alpha=lambda network: network.skip_weight))
    layers = trainer.result().layers
    assert layers["skip_weight"].nunique() > 4
    assert layers["alpha"].tolist() == layers["skip_weight"].tolist()


def test_a_number_in_a_tensor_is_a_number(few_images, quick):
    trainer = training.Trainer(small(), few_images, quick(log_every=8))
    watch(trainer, diagnostics.Recorder(every=8, norm=lambda network: network.head.weight.norm()))
    result = trainer.result()
    assert result.history["norm"].iloc[-1] == pytest.approx(trainer.model.head.weight.norm().item())
    assert "norm" not in result.layers


def test_in_a_network_without_skips_layers_hold_what_was_measured(few_images, quick):
    trainer = training.Trainer(small(connection="residual"), few_images, quick(log_every=8))
    watch(trainer, diagnostics.Recorder(every=16, **MEASURES))
    layers = trainer.result().layers
    assert layers["step"].tolist() == [8] * 3
    assert layers["weights"].notna().all()
    assert "skip_weight" not in layers or layers["skip_weight"].isna().all()


def test_without_a_recorder_the_tables_are_as_they_were(few_images, quick):
    result = training.train(small(), few_images, quick(log_every=8))
    assert result.history.columns.tolist() == list(training.records.HISTORY_COLUMNS)
    assert result.layers.columns.tolist() == ["step", "layer", "skip_weight", "multiplier"]


@pytest.mark.parametrize("choices", [{}, {"connection": "plain", "normalization": "center"}], ids=str)
def test_a_training_that_is_watched_is_the_one_that_is_not_bit_for_bit(few_images, quick, choices):
    inputs, labels = few_images.test_images[:8], few_images.test_labels[:8]

    def by_layer(table, column):
        return torch.tensor(table[column].tolist())

    measures = {
        "norm": lambda network: by_layer(diagnostics.layer_norms(network, inputs, labels), "activation_norm"),
        "correlation": lambda network: diagnostics.pair_correlation(
            diagnostics.gradient_correlation(network, inputs, output=0, statistics="constant")
        ),
        "condition": lambda network: diagnostics.conditioning(network, inputs)["condition"].median(),
    }
    has_skips = "connection" not in choices
    if has_skips:
        measures["price"] = lambda network: by_layer(
            diagnostics.shortcut_prices(network, inputs, labels), "price"
        )
    recorder = diagnostics.Recorder(every=2, **measures)
    watched = training.Trainer(small(**choices), few_images, quick(log_every=2))
    random_state = torch.get_rng_state()
    watch(watched, recorder)
    assert torch.equal(torch.get_rng_state(), random_state)
    watched = watched.result()
    alone = training.train(small(**choices), few_images, quick(log_every=2))
    columns = [column for column in alone.history.columns if column != "seconds"]
    pd.testing.assert_frame_equal(watched.history[columns], alone.history[columns], check_exact=True)
    if has_skips:
        pd.testing.assert_frame_equal(watched.layers[alone.layers.columns], alone.layers, check_exact=True)
    state = alone.model.state_dict()
    for name, value in watched.model.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert watched.history[["correlation", "condition"]].notna().all(axis=None)
    assert watched.layers["norm"].gt(0).all()


def test_what_was_measured_survives_a_checkpoint(few_images, quick, tmp_path):
    def trainer():
        return training.Trainer(small(), few_images, quick(log_every=4))

    whole = trainer()
    watch(whole, diagnostics.Recorder(every=8, **MEASURES))
    first = trainer()
    recorder = diagnostics.Recorder(every=8, **MEASURES)
    for record in first:
        recorder(record, first.model)
        if record.step == 8:
            break
    first.save(tmp_path / "run.pt")
    resumed = trainer()
    resumed.load(tmp_path / "run.pt")
    assert [record.measures.keys() for record in resumed.records] == [{"head", "weights"}, set()]
    watch(resumed, recorder)
    for part in ("history", "layers"):
        one, other = getattr(resumed.result(), part), getattr(whole.result(), part)
        pd.testing.assert_frame_equal(
            one.drop(columns="seconds", errors="ignore"), other.drop(columns="seconds", errors="ignore")
        )


def test_a_measure_that_fails_says_so(few_images, quick):
    trainer = training.Trainer(small(), few_images, quick())
    recorder = diagnostics.Recorder(every=1, broken=lambda network: network.tail)
    with pytest.raises(AttributeError, match="tail"):
        watch(trainer, recorder)


@pytest.mark.parametrize("every", [0, -1, 2.5, True])
def test_an_interval_that_is_no_number_of_steps_is_refused(every):
    with pytest.raises(ValueError, match="every must be an integer of at least 1, got"):
        diagnostics.Recorder(every=every, **MEASURES)


def test_a_recorder_of_nothing_is_refused():
    with pytest.raises(ValueError, match="Recorder needs at least one measure"):
        diagnostics.Recorder(every=1)


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (lambda network: torch.zeros(3), r"one number for each layer, got lengths .*'skip_weights': 2"),
        (lambda network: torch.zeros(2, 2), r"a number or a tensor of shape \(L,\), got shape \(2, 2\)"),
    ],
)
def test_a_measure_that_fits_no_table_is_refused_when_it_is_measured_and_not_after_the_training(
    few_images, quick, measure, message
):
    model = models.mlp(depth=2, width=8, seed=0)
    trainer = training.Trainer(model, few_images, quick(num_epochs=1))
    recorder = diagnostics.Recorder(every=1, wrong=measure)
    (record,) = list(trainer)
    with pytest.raises(ValueError, match=message):
        recorder(record, model)
    assert record.measures == {}
    assert len(trainer.result().history) == 1
