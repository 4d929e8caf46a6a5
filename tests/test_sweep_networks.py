"""Sweeps of networks without a notebook: the numbers of single runs, those of one shape at once, errors beforehand."""

import json
import shutil

import pandas as pd
import pytest
import yaml

from van_tutorial import batch, data, models, training
from van_tutorial.batch import networks
from van_tutorial.batch.sweep import groups_of, tasks_of

SMALL = {"depth": 2, "width": 16, "num_epochs": 1, "batch_size": 500, "device": "cpu"}


@pytest.fixture
def write(tmp_path):
    def write_sweep(**sections):
        path = tmp_path / "nets.yaml"
        path.write_text(yaml.safe_dump({"train": "mlp", **sections}))
        return path

    return write_sweep


def test_each_network_gets_the_numbers_of_a_run_of_its_own(write, tmp_path, images, clusters):
    file = write(fixed=SMALL, grid={"connection": ["van", "residual"], "lr": [0.003, 0.01]}, seeds=2)
    swept = batch.sweep(file, runs=tmp_path / "runs", scheduler=clusters[1])
    assert len(swept.finished) == 8
    table = batch.results(tmp_path / "runs").set_index(["connection", "lr", "seed"])
    for (connection, lr, seed), row in table.iterrows():
        model = models.mlp(depth=2, width=16, connection=connection, seed=seed)
        config = training.TrainConfig(lr=lr, seed=seed, num_epochs=1, batch_size=500, device="cpu")
        alone = training.train(model, images, config)
        assert (
            abs(round(1000 * row["test accuracy"]) - round(1000 * alone.test_accuracy)) <= 2
        )  # of 1,000 images
        assert row["train loss"] == pytest.approx(alone.history["loss"].iloc[-1], abs=1e-4)
        assert row["skips left"] == models.num_skips(model)
        assert row["steps"] == 10
    assert batch.sweep(file, runs=tmp_path / "runs").finished == ()


def test_a_table_depends_neither_on_the_workers_nor_on_a_resume_at_a_width_that_leaves_lanes_half_filled(
    write, tmp_path, clusters
):
    file = write(fixed={**SMALL, "depth": 20, "width": 50, "batch_size": 128}, seeds=4)

    def table(runs, workers):
        folder = batch.sweep(file, runs=tmp_path / runs, scheduler=clusters[workers]).folder
        return batch.results(folder).set_index("seed")[["test accuracy", "train loss"]].sort_index()

    undisturbed = table("one", 1)
    pd.testing.assert_frame_equal(undisturbed, table("two", 2), check_exact=True)
    shutil.rmtree(next(folder for folder in (tmp_path / "one").rglob("metrics.json")).parent)
    pd.testing.assert_frame_equal(undisturbed, table("one", 1), check_exact=True)


def compiled(file):
    return {
        (task.parameters["depth"], task.parameters["compile"]) for task in tasks_of(batch.read_sweep(file))
    }


def test_networks_are_compiled_where_eight_of_a_shape_have_100000_steps_to_come_or_the_file_says_so(write):
    def sweep_of(**choices):  # 39 steps an epoch
        return write(fixed={"num_epochs": 321} | choices, grid={"depth": [2, 3]}, seeds=8)

    assert compiled(sweep_of()) == {(2, True), (3, True)}
    assert compiled(sweep_of(num_epochs=320)) == {(2, False), (3, False)}
    assert compiled(sweep_of(validation_fraction=0.1)) == {(2, False), (3, False)}
    assert compiled(sweep_of(compile=False)) == {(2, False), (3, False)}
    assert compiled(sweep_of(num_epochs=1, compile=True)) == {(2, True), (3, True)}
    assert compiled(write(fixed={"depth": 2, "num_epochs": 2000}, seeds=7)) == {(2, False)}


def test_whether_it_pays_to_compile_is_known_without_the_data(write, monkeypatch, tmp_path):
    monkeypatch.setenv("VAN_TUTORIAL_DATA", str(tmp_path / "nothing"))

    def refuse(name):
        raise AssertionError(f"{name} was read, or downloaded")

    monkeypatch.setattr(networks.data, "load", refuse)
    # 468 steps an epoch
    assert compiled(write(fixed={"data": "fashion-mnist", "depth": 2, "num_epochs": 27}, seeds=8)) == {
        (2, True)
    }
    assert compiled(write(fixed={"data": "fashion-mnist", "depth": 2, "num_epochs": 26}, seeds=8)) == {
        (2, False)
    }


def test_how_many_images_each_data_set_has_is_said_once_and_right():
    assert set(networks.NUM_IMAGES) == set(data.NAMES)
    assert networks.NUM_IMAGES["fashion-mnist-mini"] == len(data.load().train_labels)


def test_without_a_compiler_networks_are_trained_as_they_are_and_it_is_said(write, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    file = write(fixed={"num_epochs": 400, "depth": 2}, seeds=8)
    with pytest.warns(
        RuntimeWarning, match="two thirds of the time, but there is no C\\+\\+ compiler 'no-such-compiler'"
    ):
        assert compiled(file) == {(2, False)}


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor:UserWarning"
)  # that torch.compile looks at
def test_the_numbers_of_compiled_networks_do_not_depend_on_how_many_are_trained_at_once(
    write, tmp_path, clusters
):
    file = write(fixed={**SMALL, "compile": True}, seeds=9)  # eight at once, and one

    def table():
        swept = batch.sweep(file, runs=tmp_path / "runs", scheduler=clusters[1])
        assert swept.is_complete, swept
        return batch.results(swept.folder).set_index("seed")[["test accuracy", "train loss"]].sort_index()

    undisturbed = table()
    for metrics in list((tmp_path / "runs").rglob("metrics.json"))[:3]:
        shutil.rmtree(metrics.parent)
    pd.testing.assert_frame_equal(undisturbed, table(), check_exact=True)


def test_the_history_of_every_network_is_kept(write, tmp_path, clusters):
    file = write(fixed={**SMALL, "log_every": 5}, grid={"dual_lr": [None, 0.1]})
    folder, _ = batch.sweep(file, runs=tmp_path / "runs", scheduler=clusters[1]).finished
    assert pd.read_csv(folder / "history.csv")["step"].tolist() == [5, 10]
    assert pd.read_csv(folder / "layers.csv")["layer"].tolist() == [1, 2, 1, 2]
    removal = pd.read_csv(folder / "removal.csv")
    assert removal["layer"].tolist() == [1, 2]
    assert removal["first_zero_step"].between(1, 10).all()
    assert json.loads((folder / "config.json").read_text())["notebook"] == "mlp"
    assert "test_accuracy" in (folder / "run.log").read_text()
    assert "dual_lr none" in batch.report(tmp_path / "runs").read_text()


def test_networks_of_one_shape_go_to_a_worker_together_and_no_worker_waits(write):
    def sizes(num_workers, **sections):
        tasks = list(tasks_of(batch.read_sweep(write(**sections))))
        return sorted(len(group) for group in groups_of(tasks, num_workers))

    assert sizes(2, grid={"lr": [0.001, 0.01]}, seeds=6) == [6, 6]
    assert sizes(2, grid={"depth": [2, 3]}, seeds=3) == [1, 1, 2, 2]
    assert sizes(1, seeds=40) == [8, 16, 16]
    assert sizes(1, grid={"dual_lr": [None, 0.1], "skip_weight": [0.5, 0.9], "remove_by": [None, 0.5]}) == [8]
    assert sizes(1, grid={"data": ["fashion-mnist-mini", "mnist"]}) == [1, 1]
    assert sizes(1, train="convnet", seeds=2) == [1, 1]


def test_a_network_that_diverges_is_listed_and_the_others_are_finished(write, tmp_path, clusters):
    file = write(fixed={**SMALL, "normalization": "none"}, grid={"lr": [0.001, 1.0e30]})
    swept = batch.sweep(file, runs=tmp_path / "runs", scheduler=clusters[1])
    assert len(swept.finished) == 1
    (failed,) = swept.failed
    assert str(failed).startswith("lr=1e+30: DivergenceError: The loss is ")
    assert set(batch.results(tmp_path / "runs")["state"]) == {"finished", "failed"}


def test_a_convolutional_network_is_trained_as_well(write, tmp_path):
    sizes = {"depth": 8, "width": 1, "num_epochs": 1, "batch_size": 2500, "device": "cpu"}
    swept = batch.sweep(write(train="convnet", fixed=sizes), runs=tmp_path / "runs", workers=1)
    assert swept.is_complete
    assert batch.results(tmp_path / "runs")["steps"].tolist() == [2]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"fixed": {"dept": 3}}, "fixed: mlp has no parameter 'dept'.*Did you mean 'depth'"),
        ({"fixed": {"depth": None}}, "'depth' must be of type int"),
        ({"fixed": {"dual_lr": "fast"}}, "'dual_lr' must be of type float"),
        ({"fixed": {"num_classes": 3}}, "no parameter 'num_classes'"),
        ({"fixed": {"lr": -1.0}}, "lr must be a number above 0"),
        ({"fixed": {"data": "mnist-mini"}}, "data must be one of .*Did you mean"),
        (
            {"grid": {"init": ["he", "looks-linear"]}},
            "needs activation 'crelu'.*In the run init='looks-linear'",
        ),
        ({"train": "mpl"}, "train must be one of 'mlp', 'convnet'.*Did you mean 'mlp'"),
        ({"notebook": "05_phasing_out"}, "one of the keys notebook and train is needed"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_runs(write, tmp_path, sections, message):
    with pytest.raises(batch.SweepError, match=message):
        batch.sweep(write(**sections), runs=tmp_path / "runs", workers=1)
    assert not (tmp_path / "runs").exists()
