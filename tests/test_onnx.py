"""A network whose skips are gone leaves Python as a chain of layers, and gives the same answers elsewhere."""

from collections import Counter

import onnxruntime
import pytest
import torch

from van_tutorial import models, training


def mlp(**choices):
    return models.mlp(depth=4, width=16, seed=0, **choices)


def convnet(name):
    return models.make(name, depth=8, width=4, in_channels=1, seed=0)


def folded(model):
    return models.collapse(model, fold_normalization=True)


def merged(model):
    return folded(models.merge(model))


NETWORKS = [  # name, network, what makes it plain, and how many of its nodes in the file are layers, by their kinds
    ("convex", lambda: mlp(skip="convex"), models.collapse, {"Gemm": 6}),
    ("dirac", lambda: mlp(**models.FAMILY["dirac"].choices), folded, {"Gemm": 6}),
    ("vanillanet", lambda: mlp(**models.FAMILY["vanillanet"].choices), merged, {"Gemm": 4}),
    ("van-conv", lambda: convnet("van-conv"), models.collapse, {"Gemm": 1, "Conv": 7}),
]
OTHERS = [
    ("plain", lambda: mlp(connection="plain"), models.collapse, {"Gemm": 6}),
    ("additive", lambda: mlp(skip="additive"), models.collapse, {"Gemm": 6}),
    ("activation", lambda: mlp(skip="activation"), models.collapse, {"Gemm": 6}),
    ("diracnet", lambda: convnet("diracnet"), folded, {"Gemm": 1, "Conv": 7}),
    ("repvgg", lambda: convnet("repvgg"), models.collapse, {"Gemm": 1, "Conv": 7}),
]


def export(model, images):
    return torch.onnx.export(
        model, (images,), dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False
    )


def kinds_of_layers(program):
    kinds = Counter(node.op_type for node in program.model.graph)
    return {kind: kinds[kind] for kind in ("Gemm", "MatMul", "Conv") if kind in kinds}


def num_joins(program):
    """How many nodes take two values or more that are no constants."""
    graph = program.model.graph
    constants = {*graph.initializers, *(node.outputs[0].name for node in graph if node.op_type == "Constant")}
    signals = [{value.name for value in node.inputs if value is not None} - constants for node in graph]
    return sum(len(names) > 1 for names in signals)


@pytest.mark.parametrize(
    ("name", "make", "finish", "layers"),
    [
        *(pytest.param(*network, id=network[0]) for network in NETWORKS),
        *(pytest.param(*network, id=network[0], marks=pytest.mark.slow) for network in OTHERS),
    ],
)
def test_a_trained_network_without_skips_is_a_chain_that_answers_alike_elsewhere(
    name, make, finish, layers, few_images, quick, tmp_path
):
    choices = models.FAMILY[name].training if name in models.FAMILY else {}
    trained = training.train(make(), few_images, quick(**{"remove_by": 0.5, **choices})).model
    model = finish(trained).eval()
    program = export(model, few_images.test_images[:3])
    assert kinds_of_layers(program) == layers
    assert num_joins(program) == 0
    program.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    images = few_images.test_images
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), model(images), rtol=1e-5, atol=1e-5)


def test_a_skip_that_is_left_is_a_join_in_the_file(few_images):
    model = models.mlp(depth=2, width=16, connection="residual", seed=0).eval()
    assert num_joins(export(model, few_images.test_images[:3])) == 2
