"""The same training on a GPU, where there is one."""

import dataclasses

import pytest
import torch

from van_tutorial import diagnostics, ensemble, models, training

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device on this machine"),
]


def train(images, **options):
    config = training.TrainConfig(num_epochs=4, log_every=1, dual_lr=0.5, **options)
    model = models.mlp(depth=6, width=16, connection="van", seed=0)
    return training.train(model, images, config)


def test_auto_takes_the_gpu(few_images):
    assert next(train(few_images).model.parameters()).device.type == "cuda"


def test_a_run_on_the_gpu_begins_like_one_on_the_cpu_and_ends_without_skips(few_images):
    on_gpu, on_cpu = train(few_images), train(few_images, device="cpu")
    first = [result.history["loss"].iloc[0] for result in (on_gpu, on_cpu)]
    assert first[0] == pytest.approx(first[1], abs=1e-4)
    early = [result.layers.query("step <= 4")["skip_weight"].tolist() for result in (on_gpu, on_cpu)]
    assert early[0] == pytest.approx(early[1], abs=1e-2)
    assert on_gpu.history["num_skips"].iloc[-1] == 0
    assert on_gpu.removed_at_step == on_cpu.removed_at_step


@pytest.mark.parametrize(
    "options", [{"mixed_precision": True}, {"optimizer": "sgd", "lr": 0.01}, {"compile": True}]
)
def test_an_option_of_the_trainer_works_on_the_gpu(few_images, options):
    result = train(few_images, **options)
    assert result.is_complete
    assert models.num_skips(result.model) == 0


@pytest.mark.parametrize("connection", ["van", "residual"])
def test_a_convolutional_network_trains_fast_and_augmented_on_the_gpu(few_images, connection):
    options = {"channels_last": True, "mixed_precision": True, "augment": "crop-flip"}
    config = training.TrainConfig(num_epochs=4, dual_lr=0.5, **options)
    model = models.convnet(depth=8, width=4, in_channels=1, connection=connection, seed=0)
    convolutions = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d)]
    seen = []
    for module in convolutions[1:]:
        module.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    result = training.train(model, few_images, config)
    assert result.is_complete
    assert result.history["loss"].iloc[-1] < result.history["loss"].iloc[0]
    assert {tensor.stride(1) for tensor in seen} == {1}
    if connection == "van":
        assert models.num_skips(result.model) == 0


def test_augmented_batches_are_the_same_on_the_gpu(few_images):
    given = {}
    for device in ("cuda", "cpu"):
        config = training.TrainConfig(num_epochs=1, device=device, augment="crop-flip", channels_last=True)
        model, given[device] = models.mlp(depth=1, width=4, seed=0), []
        model.register_forward_pre_hook(lambda module, args, to=given[device]: to.append(args[0].cpu()))
        training.train(model, few_images, config)
    assert all(map(torch.equal, given["cuda"], given["cpu"]))


@pytest.mark.parametrize("options", [{}, {"skip_schedule": "penalty"}, {"skip_schedule": "cosine"}], ids=str)
def test_activations_are_phased_out_on_the_gpu(few_images, options):
    config = training.TrainConfig(num_epochs=4, skip_target=1.0, **options)
    model = models.mlp(depth=4, width=16, skip="activation", skip_weight=0.0, seed=0)
    result = training.train(model, few_images, config)
    assert models.skip_weights(result.model).tolist() == [1.0] * 4
    assert result.removed_at_step is not None


def test_every_pixel_is_classified_on_the_gpu(few_images, seeded):
    segmentation = pytest.importorskip("van_tutorial.segmentation", reason="plotly is not installed")
    model = torch.nn.Conv2d(1, 10, 3, padding=1)
    labels = (few_images.train_images[:, 0] > 0).long()
    images = dataclasses.replace(
        few_images,
        train_labels=labels,
        test_images=few_images.train_images[:100],
        test_labels=labels[:100],
    )
    result = training.train(model, images, training.TrainConfig(num_epochs=4, lr=0.1))
    assert result.test_accuracy > 0.6
    on_gpu = segmentation.mean_iou(model, images.test_images.cuda(), images.test_labels.cuda(), 10)
    assert on_gpu == pytest.approx(
        segmentation.mean_iou(model.cpu(), images.test_images, images.test_labels, 10), abs=1e-3
    )


def test_a_checkpoint_from_the_gpu_goes_on_on_the_cpu(few_images, tmp_path):
    def trainer(device):
        config = training.TrainConfig(num_epochs=2, device=device)
        return training.Trainer(models.mlp(depth=4, width=8, seed=0), few_images, config)

    first = trainer("cuda")
    next(iter(first))
    first.save(tmp_path / "run.pt")
    second = trainer("cpu")
    second.load(tmp_path / "run.pt")
    assert [record.step for record in second] == [8]
    assert second.result().is_complete


def test_collapse_and_diagnostics_stay_on_the_gpu(few_images):
    model = train(few_images).model
    plain = models.collapse(model)
    inputs, labels = few_images.test_images[:16].cuda(), few_images.test_labels[:16].cuda()
    with torch.no_grad():
        assert torch.equal(plain(inputs), model(inputs))
    assert len(diagnostics.layer_norms(model, inputs, labels)) == 6
    assert diagnostics.input_gradients(model, inputs, output=0).device.type == "cuda"


@pytest.mark.parametrize("statistics", ["exact", "constant"])
def test_gradients_through_batch_statistics_are_the_cpus(few_images, statistics):
    model = models.mlp(depth=3, width=8, connection="van", seed=0).double()
    inputs = few_images.test_images[:12].double()
    on_cpu = diagnostics.input_gradients(model, inputs, output=0, statistics=statistics)
    on_gpu = diagnostics.input_gradients(model.cuda(), inputs.cuda(), output=0, statistics=statistics)
    torch.testing.assert_close(on_gpu.cpu(), on_cpu)


def test_many_networks_at_once_and_dropout_leave_the_gpus_random_state_alone(few_images):
    networks = [models.scalar_network("plain, centred", 4, seed=seed).cuda() for seed in range(3)]
    inputs = torch.linspace(-2.0, 2.0, 16, device="cuda").unsqueeze(1)
    before = torch.cuda.get_rng_state()
    together = diagnostics.input_gradients_of_all(networks, inputs)
    alone = torch.stack([diagnostics.input_gradients(n, inputs, statistics="constant") for n in networks])
    torch.testing.assert_close(together, alone)
    diagnostics.input_gradients(torch.nn.Sequential(networks[0], torch.nn.Dropout(0.5)), inputs)
    assert torch.equal(torch.cuda.get_rng_state(), before)


@pytest.mark.parametrize(
    "options", [{}, {"mixed_precision": True}, {"weight_decay": 0.1, "optimizer": "adamw"}], ids=str
)
def test_networks_trained_at_once_begin_like_single_runs_on_the_gpu(few_images, options):
    configs = [training.TrainConfig(num_epochs=4, log_every=1, lr=lr, **options) for lr in (1e-3, 3e-3)]
    networks = [[models.mlp(depth=6, width=16, seed=seed) for seed in range(2)] for _ in range(2)]
    together = ensemble.train(networks[0], few_images, configs)
    for result, network, config in zip(together, networks[1], configs, strict=True):
        alone = training.train(network, few_images, config)
        assert next(result.model.parameters()).device.type == "cuda"
        early, expected = (one.history["loss"].iloc[:3].tolist() for one in (result, alone))
        assert early == pytest.approx(expected, abs=5e-2 if config.mixed_precision else 1e-3)
