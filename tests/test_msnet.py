"""Master and slave: shapes and sizes by hand, a restatement in plain torch, where the skips are, training on scenes."""

import pytest
import torch
from torch.nn import functional

from tests.state import logits
from van_tutorial import models, segmentation, training
from van_tutorial.models.msnet import COMBINES


@pytest.fixture(scope="module")
def few_scenes(few_images):
    return segmentation.scenes(few_images, num_train=128, num_test=32)


def restated(state, x, combine, num_backward):
    """The network from its state dict, in eval mode, in torch's functions alone."""

    def features(name, x, feedback=None):
        for index in range(4):
            if index in (1, 2):
                x = functional.max_pool2d(x, 2)
            x = functional.conv2d(x, state[f"{name}.convolutions.{index}.weight"], padding=1)
            norm = f"{name}.norms.{index}."
            mean, variance = state[norm + "running_mean"], state[norm + "running_var"]
            x = functional.batch_norm(x, mean, variance, state[norm + "weight"], state[norm + "bias"])
            x = torch.relu(x)
            if feedback is not None and index < num_backward:
                back = functional.conv2d(feedback, state[f"{name}.backward_skips.{index}.weight"])
                back = functional.interpolate(back, size=x.shape[2:], mode="bilinear", align_corners=False)
                x = x + back if combine == "sum" else torch.cat((x, back), dim=1)
        return x

    has_slave = any(name.startswith("slave") for name in state)
    y = features("master", x, features("slave", x) if has_slave else None)
    y = functional.conv2d(y, state["head.weight"], state["head.bias"])
    return functional.interpolate(y, size=x.shape[2:], mode="bilinear", align_corners=False)


@pytest.mark.parametrize("num_backward", [1, 2, 4])
@pytest.mark.parametrize("combine", COMBINES)
@pytest.mark.parametrize("size", [(48, 48), (33, 29), (4, 4)], ids=str)
def test_master_and_slave_are_what_the_formulas_say(few_scenes, combine, num_backward, size):
    model = models.msnet(width=4, combine=combine, num_backward=num_backward, seed=0)
    logits(model, few_scenes.train_images[:32])  # statistics other than the initial ones
    x = functional.interpolate(few_scenes.test_images[:3], size=size)
    found = logits(model.eval(), x)
    assert found.shape == (3, 11, *size)
    torch.testing.assert_close(
        found, restated(model.state_dict(), x, combine, num_backward), atol=1e-5, rtol=1e-5
    )


def test_the_master_alone_is_what_the_formulas_say(few_scenes):
    model = models.msnet(width=4, has_slave=False, seed=0)
    x = few_scenes.test_images[:3]
    logits(model, few_scenes.train_images[:32])
    torch.testing.assert_close(
        logits(model.eval(), x), restated(model.state_dict(), x, "sum", 2), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize(
    ("choices", "is_expected"),
    [
        ({"has_slave": False}, False),
        *(({"combine": "sum", "num_backward": number}, True) for number in (1, 4)),
        # what the slave gives is concatenated after weights of its own
        *(({"combine": "concat", "num_backward": number}, False) for number in (1, 4)),
    ],
    ids=str,
)
def test_a_skip_is_found_where_a_slave_is_added_and_nowhere_else(few_scenes, choices, is_expected):
    model = models.msnet(width=2, seed=0, **choices).eval()
    assert models.has_skip(torch.export.export(model, (few_scenes.test_images[:2],))) is is_expected


def size_by_hand(n, num_classes, num_backward, combine):
    """Convolutions of 3 by 3 without biases, scales and shifts of normalizations, the skips, the head."""
    channels = (n, 2 * n, 4 * n, 4 * n)
    branch = 9 * (1 * n + n * 2 * n + 2 * n * 4 * n + 4 * n * 4 * n) + 2 * (n + 2 * n + 4 * n + 4 * n)
    head = (4 * n + 1) * num_classes
    if num_backward == 0:
        return branch + head
    skips = sum(4 * n * out for out in channels[:num_backward])
    wider = 0
    if combine == "concat":  # what comes after a concatenation sees twice as many channels
        after = (9 * 2 * n, 9 * 4 * n, 9 * 4 * n, num_classes)
        wider = sum(channels[index] * after[index] for index in range(num_backward))
    return 2 * branch + skips + wider + head


@pytest.mark.parametrize("num_backward", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("combine", COMBINES)
def test_there_are_as_many_weights_as_counted_by_hand(combine, num_backward):
    slave = {"num_backward": num_backward} if num_backward else {"has_slave": False}
    model = models.msnet(width=6, num_classes=5, combine=combine, seed=0, **slave)
    assert sum(weight.numel() for weight in model.parameters()) == size_by_hand(6, 5, num_backward, combine)


def test_a_slave_whose_skips_are_0_leaves_the_master_alone(few_scenes):
    model, x = models.msnet(width=4, seed=0), few_scenes.test_images[:3]
    alone = models.msnet(width=4, has_slave=False, seed=1)
    of_master = {name: value for name, value in model.state_dict().items() if name in alone.state_dict()}
    alone.load_state_dict(of_master, strict=True)
    assert not torch.allclose(logits(model, x), logits(alone, x), atol=1e-2)
    for skip in model.master.backward_skips:
        torch.nn.init.zeros_(skip.weight)
    torch.testing.assert_close(logits(model, x), logits(alone, x))


@pytest.mark.parametrize("combine", COMBINES)
def test_the_masters_loss_teaches_every_layer_of_the_slave(few_scenes, combine):
    model = models.msnet(width=4, combine=combine, seed=0)
    functional.cross_entropy(model(few_scenes.train_images[:8]), few_scenes.train_labels[:8]).backward()
    assert [
        name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()
    ] == []
    assert any(name.startswith("slave.") for name, _ in model.named_parameters())


@pytest.mark.parametrize("choices", [{"has_slave": False}, {"combine": "concat"}], ids=str)
def test_scenes_are_learned(few_scenes, quick, choices):
    model = models.msnet(width=4, seed=0, **choices)
    result = training.train(model, few_scenes, quick(batch_size=16, lr=0.01))
    assert result.history["loss"].iloc[-1] < 0.8 * result.history["loss"].iloc[0]
    assert result.history["test_loss"].iloc[-1] < result.history["test_loss"].iloc[0]
    assert 0.0 < segmentation.mean_iou(model, few_scenes.test_images, few_scenes.test_labels, 11) < 1.0


def test_the_same_seed_gives_the_same_network_and_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    one, other, another = models.msnet(seed=3), models.msnet(seed=3), models.msnet(seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not torch.equal(one.head.weight, another.head.weight)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"num_backward": 5}, "num_backward must be at most 4, got 5"),
        ({"num_backward": 0}, "num_backward must be an integer of at least 1, got 0"),
        ({"combine": "summ"}, r"combine must be one of 'sum', 'concat', got 'summ'. Did you mean 'sum'\?"),
        ({"width": 0}, "width must be an integer of at least 1, got 0"),
        ({"in_channels": True}, "in_channels must be an integer of at least 1, got True"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_in_one_sentence(choices, message):
    with pytest.raises(ValueError, match=message):
        models.msnet(**choices)


@pytest.mark.parametrize("shape", [(2, 3, 48, 48), (1, 48, 48), (2, 1, 48, 3)], ids=str)
def test_images_of_another_shape_are_refused_with_the_mend(shape):
    with pytest.raises(ValueError, match=r"takes images of shape \(N, 1, H, W\), .* with in_channels"):
        models.msnet(seed=0)(torch.zeros(shape))
