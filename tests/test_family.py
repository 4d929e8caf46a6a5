"""The family by name: every recipe is what its row says, and trains."""

import pytest
import torch

from van_tutorial import models, segmentation, training
from van_tutorial.models.family import KEPT, NEVER

SMALL = {
    "mlp": {"depth": 6, "width": 16},
    "convnet": {"depth": 8, "width": 4, "in_channels": 1},
    "msnet": {"width": 4},
}
COLUMNS = [
    "recipe", "kind", "connection", "parametrization", "activation", "init", "normalization", "parameters", "layers",
    "ends_without_skips",
]  # fmt: skip


@pytest.fixture(scope="module")
def few_scenes(few_images):
    return segmentation.scenes(few_images, num_train=256, num_test=16)


@pytest.fixture(scope="module")
def table():
    return models.family_table()


def small(name, **choices):
    return models.make(name, seed=0, **{**SMALL[models.FAMILY[name].kind], **choices})


def longest_path(program):
    """How many linear maps and convolutions the signal passes on its longest way through an exported graph."""
    inputs = set(program.graph_signature.user_inputs)
    passed = {}
    for node in program.graph.nodes:
        before = [passed[source] for source in node.all_input_nodes if source in passed]
        if before:
            passed[node] = max(before) + str(node.target).startswith(("aten.linear", "aten.conv2d"))
        elif node.name in inputs:
            passed[node] = 0
    return max(passed.values())


@pytest.mark.parametrize("name", models.FAMILY)
def test_a_recipe_trains_on_real_images_with_its_own_training_choices(name, few_images, few_scenes, quick):
    recipe = models.FAMILY[name]
    images = few_scenes if recipe.kind == "msnet" else few_images
    config = quick(**{"batch_size": 16, "num_epochs": 1, "log_every": 8, "lr": 0.01, **recipe.training})
    result = training.train(small(name), images, config)
    losses = result.history["loss"]
    assert losses.map(lambda loss: 0.0 < loss < 10.0).all()
    assert losses.iloc[-1] < losses.iloc[0]
    assert all(value.isfinite().all() for value in result.model.state_dict().values())


@pytest.mark.parametrize("name", models.FAMILY)
def test_a_recipe_has_as_many_layers_in_a_row_as_it_says_and_a_skip_where_it_says(name):
    recipe, model = models.FAMILY[name], small(name).eval()
    shape = {"mlp": (2, 784), "convnet": (2, 1, 8, 8), "msnet": (2, 1, 8, 8)}[recipe.kind]
    program = torch.export.export(model, (torch.zeros(shape),))
    assert longest_path(program) == model.num_layers
    if recipe.ends_without_skips in (NEVER, KEPT):
        assert models.has_skip(program) is (recipe.ends_without_skips == KEPT)
    else:  # those round an activation are none
        assert models.has_skip(program) is (name in ("van", "van-additive", "van-conv", "repvgg"))


def test_the_table_tells_of_each_recipe_its_choices_size_and_end(table):
    assert list(table.columns) == COLUMNS
    assert table["recipe"].tolist() == list(models.FAMILY)
    assert not table.isna().any().any()
    assert not (table == "-").any().any()
    row = table.set_index("recipe").loc
    assert row["resnet"].tolist() == [
        "convnet", "residual", "none", "relu", "he", "batch", 269722, 20, "no, keeps them",
    ]  # fmt: skip
    assert row["van"].tolist()[1:8] == ["van (convex)", "none", "relu", "he", "batch", 70290, 42]
    assert row["diracnet"].tolist()[1:4] == ["plain", "dirac", "relu"]
    assert row["diracnet", "layers"] == 32
    assert row["looks-linear-conv"].tolist()[1:6] == ["plain", "none", "crelu", "looks-linear", "none"]
    assert row["skipinit"].tolist()[1:6] == ["rezero", "none", "relu", "he", "none"]
    assert row["repvgg", "parametrization"] == "repvgg"
    assert row["msnet", "connection"] == "backward"
    assert row["msnet", "layers"] == 9
    assert row["msnet-master"].tolist()[1:] == [
        "plain", "none", "relu", "he", "batch", 15587, 5, "yes, never had any",
    ]  # fmt: skip


def test_networks_to_be_compared_have_about_as_many_weights(table):
    sizes = table.set_index("recipe")["parameters"]
    for kind, others in (
        ("plain", ("van", "van-additive", "van-activation", "dirac", "selu", "rezero", "vanillanet")),
        ("plain", ("looks-linear",)),
        (
            "plain-conv",
            ("resnet", "resnet-pre", "van-conv", "looks-linear-conv", "delta-orthogonal", "skipinit"),
        ),
    ):
        assert all(0.85 < sizes[other] / sizes[kind] < 1.15 for other in others)


def test_choices_given_to_make_come_before_those_of_the_recipe():
    config = models.make("selu", activation="tanh", depth=3, seed=0).config
    assert (config.activation, config.init, config.depth) == ("tanh", "lecun", 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnt", r"name must be one of 'plain', .* Did you mean 'resnet'\?"),
        ("transformer", "name must be one of 'plain', .* got 'transformer'"),
    ],
)
def test_an_unknown_name_is_refused_with_the_names_there_are(name, message):
    with pytest.raises(ValueError, match=message):
        models.make(name)


def test_a_recipe_is_not_changed_by_making_a_network_of_it():
    before = {name: (dict(recipe.choices), dict(recipe.training)) for name, recipe in models.FAMILY.items()}
    for name in models.FAMILY:
        models.make(name, **SMALL[models.FAMILY[name].kind])
    assert before == {name: (recipe.choices, recipe.training) for name, recipe in models.FAMILY.items()}
