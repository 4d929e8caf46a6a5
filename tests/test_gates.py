"""Networks that others wrote, with weighted skips: the same to the last bit at 1, plain at 0, trained in between."""

import copy
import pickle

import pytest
import torch
import torchvision
from torch import nn

from tests.foreign import NETWORKS, FrozenNorm, Made, Residual, StochasticDepth, VisionTransformer
from van_tutorial import models, training

IMAGES = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
ROWS = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def passed(network, inputs, mode):
    """Outputs, gradients and buffers of one pass, forward and backward, from the same random state."""
    torch.manual_seed(1)
    network.train(mode).zero_grad()
    inputs = inputs.clone().requires_grad_()
    outputs = network(inputs)
    (outputs * torch.linspace(-1, 1, outputs.numel()).reshape(outputs.shape)).sum().backward()
    gradients = {name: each.grad for name, each in network.named_parameters() if each.grad is not None}
    gradients.pop("skip_weight", None)
    return {"outputs": outputs.detach(), "inputs": inputs.grad, **gradients, **dict(network.named_buffers())}


def check_same(network, gated, inputs):
    network, gated = copy.deepcopy(network), copy.deepcopy(gated)
    for mode in (True, False, True):
        expected, got = passed(network, inputs, mode), passed(gated, inputs, mode)
        assert expected.keys() == got.keys()
        assert [name for name in expected if not torch.equal(expected[name], got[name])] == []


def check_plain(network, gated, inputs):
    """The collapsed network: equal to the gated one at 0, without a skip and its parameters."""
    with torch.no_grad():
        gated.eval().skip_weight.zero_()
    plain = models.collapse(gated)
    torch.testing.assert_close(plain(inputs), gated(inputs), rtol=1e-5, atol=1e-5)
    assert models.has_skip(torch.export.export(gated, (inputs,)))
    assert not models.has_skip(torch.export.export(plain, (inputs,)))
    spared = models.find_skips(network, inputs)["parameters"].sum()
    num_before, num_after = (sum(p.numel() for p in net.parameters()) for net in (network, plain))
    assert num_after == num_before - spared
    plain.train()(inputs).sum().backward()  # nothing works in place on what a gradient needs


@pytest.mark.parametrize("mode", [True, False], ids=["gated in training", "gated in eval"])
@pytest.mark.parametrize("kind", NETWORKS, ids=lambda kind: kind.__name__)
def test_a_gated_network_is_the_same_to_the_last_bit_and_plain_at_0(kind, mode, seeded):
    network = kind().train(mode)
    gated = models.gate_skips(network, IMAGES)
    assert gated.skip_weight.tolist() == [1.0] * NETWORKS[kind]
    assert gated.training is mode
    check_same(network, gated, IMAGES)
    found = network.load_state_dict(gated.state_dict(), strict=False)
    assert (found.missing_keys, found.unexpected_keys) == ([], ["skip_weight"])
    found = gated.load_state_dict(network.state_dict(), strict=False)
    assert (found.missing_keys, found.unexpected_keys) == (["skip_weight"], [])
    check_plain(network, gated, IMAGES)


SLOW = (
    "convnext_tiny", "resnet50", "mobilenet_v2", "vit_b_16", "efficientnet_b0", "regnet_y_400mf", "swin_t",
    "resnext50_32x4d", "wide_resnet50_2", "mnasnet0_5", "mobilenet_v3_small",
)  # fmt: skip


@pytest.mark.parametrize("name", ["resnet18", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_published_network_is_the_same_to_the_last_bit_and_plain_at_0(name, seeded):
    options = {"image_size": 32} if name == "vit_b_16" else {}
    network = torchvision.models.get_model(name, weights=None, num_classes=10, **options).eval()
    inputs = torch.randn(2, 3, 32, 32)
    gated = models.gate_skips(network, inputs)
    check_same(network, gated, inputs)
    check_plain(network, gated, inputs)


def test_a_skip_weight_has_the_gradient_of_central_differences(seeded):
    network = Residual().double().eval()
    inputs = IMAGES.double()
    gated = models.gate_skips(network, inputs)
    assert gated.skip_weight.dtype == torch.float64
    gated(inputs).square().sum().backward()
    for place in range(2):
        values = []
        for step in (1e-5, -1e-5):
            moved = copy.deepcopy(gated)
            with torch.no_grad():
                moved.skip_weight[place] += step
                values.append(moved(inputs).square().sum())
        slope = (values[0] - values[1]).item() / 2e-5
        assert gated.skip_weight.grad[place].item() == pytest.approx(slope, rel=1e-6)


def test_some_of_the_skips_can_be_chosen(seeded):
    network = VisionTransformer()
    names = models.find_skips(network, IMAGES)["name"]
    gated = models.gate_skips(network, IMAGES, only=names[::2])
    assert gated.skips == ("blocks.0:1", "blocks.1:1")
    assert models.num_skips(gated) == models.num_skips(copy.deepcopy(gated)) == 4
    with torch.no_grad():
        gated.skip_weight.zero_()
    left = models.find_skips(models.collapse(gated), IMAGES)
    assert len(left) == models.num_skips(gated) == models.num_skips(models.collapse(gated)) == 2
    with pytest.raises(ValueError, match=r"Did you mean 'blocks\.0:1'"):
        models.gate_skips(network, IMAGES, only=["blocks.0.1"])


def test_phase_out_brings_every_skip_of_a_resnet_to_0(few_images, quick, seeded):
    network = torchvision.models.resnet18(num_classes=10)
    network.conv1 = nn.Conv2d(1, 64, 7, 2, 3)
    few = few_images.__class__(
        few_images.name, few_images.train_images[:64], few_images.train_labels[:64], few_images.test_images[:8],
        few_images.test_labels[:8], few_images.class_names, few_images.source,
    )  # fmt: skip
    gated = models.gate_skips(network, few.test_images[:2])
    result = training.train(gated, few, quick(num_epochs=3, batch_size=16))
    assert models.skip_weights(result.model).tolist() == [0.0] * 8
    plain = models.collapse(result.model)
    assert not [name for name, _ in plain.named_modules() if "downsample" in name]


def test_training_goes_on_from_a_checkpoint_bit_for_bit(few_images, quick, tmp_path, seeded):
    network = StochasticDepth()
    config = quick(num_epochs=2, log_every=4)
    trainers = [training.Trainer(models.gate_skips(network, IMAGES), few_images, config) for _ in range(2)]
    torch.manual_seed(0)
    for record in trainers[0]:
        if record.step == 8:
            trainers[0].save(tmp_path / "half.pt")
            state = torch.get_rng_state()
    trainers[1].load(tmp_path / "half.pt")
    torch.set_rng_state(state)
    for _ in trainers[1]:
        pass
    one, other = (trainer.model.state_dict() for trainer in trainers)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_frozen_submodules_stay_frozen(few_images, quick, seeded):
    network = StochasticDepth()
    network.blocks[0].eval().requires_grad_(False)
    gated = models.gate_skips(network, IMAGES)
    before = {name: value.clone() for name, value in gated.blocks[0].state_dict().items()}
    training.train(gated, few_images, quick(num_epochs=1))
    assert all(torch.equal(value, before[name]) for name, value in gated.blocks[0].state_dict().items())
    gated.train()
    gated.blocks[1].eval()
    with pytest.raises(RuntimeError, match="freeze submodules before you call gate_skips"):
        gated(IMAGES)
    kept = models.gate_skips(FrozenNorm(), IMAGES)
    assert not kept.train().norm.training and kept.training


def test_names_of_wrapped_networks_are_understood(seeded):
    network = Residual()
    gated = models.gate_skips(nn.DataParallel(network), IMAGES)
    for wrapped in (
        nn.DataParallel(network),
        torch.compile(network),
        nn.DataParallel(torch.compile(network)),
    ):
        found = gated.load_state_dict(wrapped.state_dict(), strict=False)
        assert (found.missing_keys, found.unexpected_keys) == (["skip_weight"], [])
    with pytest.raises(TypeError, match=r"save its state_dict\(\)"):
        pickle.dumps(gated)


def test_a_network_that_is_deeper_than_calls_of_python_may_be_collapses(seeded):
    deep = nn.Sequential(Made(lambda net, x: x + net.a(x)), *(nn.Tanh() for _ in range(600)))
    gated = models.gate_skips(nn.Sequential(nn.Linear(4, 4), deep), torch.zeros(3, 4))
    nn.init.zeros_(gated.skip_weight)
    assert not hasattr(models.collapse(gated), "skip_weight")


def test_a_graph_that_checks_shapes_refuses_others(seeded):
    gated = models.gate_skips(VisionTransformer().eval(), IMAGES)
    assert gated(IMAGES[:1]).shape == (1, 10)
    with pytest.raises(ValueError, match=r"takes another branch now \(foreign\.py, line \d+: if x\.dim"):
        gated(torch.zeros(1, 1, 56, 56))


@pytest.mark.parametrize(
    "ask", [lambda x: len(x.shape), lambda x: len(x.size()), lambda x: len(x.shape[1:]) + 1]
)
def test_code_may_ask_how_long_a_shape_is_and_its_graph_can_be_traced_again(ask):
    gated = models.gate_skips(Made(lambda net, x: x + net.a(x) if ask(x) == 2 else x), ROWS)
    assert len(models.find_skips(gated, ROWS)) == 1
    with pytest.raises(ValueError, match="takes another branch now"):
        gated(ROWS[None])


@pytest.mark.parametrize(
    ("join", "words"),
    [
        (lambda net, x: net.a(x), "No skip-connection was found in Made"),
        (
            lambda net, x: torch.cat([x, net.a(x)], dim=1),
            "is a concatenation, without which the next layer has no input",
        ),
        (lambda net, x: torch.lerp(net.a(x), x, 0.5), "lerp is no addition of two tensors"),
        (
            lambda net, x: x + net.a(x)[:1],
            r"shape \(1, 4\) and would have to be expanded to \(3, 4\).*nor can any other",
        ),
        (lambda net, x: (y := x + net.a(x)[:1]) + net.a(y), r"expanded to \(3, 4\) first; only=\['add:2'\]"),
        (
            lambda net, x: (h := net.a(net.c(x))) + x * torch.sigmoid(net.b(h)),
            "adds goes around the other, so that either may be the skip",
        ),
        (lambda net, x: x + net.a(x.detach()), "without it no gradient of the output reaches the input"),
        (lambda net, x: x + net.a(x) if net.training else net.a(x), "other skips|No skip-connection"),
    ],
)
def test_what_cannot_be_weighted_is_refused(join, words):
    with pytest.raises(ValueError, match=words):
        models.gate_skips(Made(join), ROWS)


def test_a_network_with_skip_weights_or_with_a_skip_left_is_refused():
    gated = models.gate_skips(Residual(), IMAGES)
    with pytest.raises(ValueError, match="has skip weights of its own"):
        models.gate_skips(gated, IMAGES)
    with pytest.raises(
        ValueError, match=r"2 of 2 skip weights are not 0 \(the largest, of blocks\.0, is 1\)"
    ):
        models.collapse(gated)
    with torch.no_grad():
        gated.skip_weight.zero_()
    with pytest.raises(ValueError, match="without it"):
        models.collapse(gated, fold_normalization=True)


class Assigning(nn.Module):
    """A skip, and a buffer that the forward pass gives a new tensor in some modes."""

    def __init__(self, in_place, modes):
        super().__init__()
        self.layer, self.in_place, self.modes = nn.Linear(4, 4), in_place, modes
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x):
        if bool(self.training) in self.modes:
            mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
            if self.in_place:
                self.mean.copy_(mean)
            else:
                self.mean = mean
        return x + self.layer(x - self.mean)


@pytest.mark.parametrize("modes", [(True, False), (True,), (False,)], ids=["always", "training", "eval"])
def test_a_buffer_is_changed_in_place_as_by_the_network_or_the_network_is_refused(modes, seeded):
    network = Assigning(in_place=True, modes=modes)
    gated = models.gate_skips(network, ROWS)
    with torch.no_grad():
        for mode in (True, False, True):
            assert torch.equal(network.train(mode)(ROWS), gated.train(mode)(ROWS))
            assert torch.equal(network.mean, gated.mean)
    with pytest.raises(
        ValueError, match=r"Assigning assigns a new tensor to its buffer 'mean'.*self\.mean\.copy_"
    ):
        models.gate_skips(Assigning(in_place=False, modes=modes), ROWS)


class Small(nn.Module):
    """A skip around `f`, after something of one's own."""

    def __init__(self, forward, hidden=None):
        super().__init__()
        self.a, self.f = nn.Linear(4, 4), hidden or nn.Linear(4, 4)
        self.way = forward

    def forward(self, x):
        return self.way(self, x)


def kept_in_a_list(network, x):
    h = network.a(x)
    found = [h]
    h += network.f(h.relu())
    return found[0]


def scaled_under_another_name(network, x):
    h = network.a(x)
    other = h
    h *= 0.5
    return network.f(h.clone()) + other


def changed_through_a_view(network, x):
    h = network.a(x)
    h.t().add_(network.f(h.relu()).t())
    return h * 1


def other_without_gradients(network, x):
    return x + network.f(x if torch.is_grad_enabled() else 2 * x)


@pytest.mark.parametrize(
    "way", [kept_in_a_list, scaled_under_another_name, changed_through_a_view, other_without_gradients]
)
def test_what_a_graph_does_not_hold_is_refused_and_never_gated_as_another_network(way, seeded):
    with pytest.raises(ValueError, match="Small does something that its graph does not hold"):
        models.gate_skips(Small(way), ROWS)


def test_what_is_changed_in_place_without_a_second_name_is_gated(seeded):
    def forward(network, x):
        h = network.a(x)
        y = network.f(h)
        y += h
        return y.relu_()

    network = Small(forward)
    check_same(network, models.gate_skips(network, ROWS), ROWS)


def test_a_hook_of_the_backward_pass_is_kept_or_refused(seeded):
    def doubled(module, into, out):
        return (2 * into[0],)

    def forward(network, x):
        return x + network.f(1 * x)

    network = Small(forward, nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)))
    handle = network.f.register_full_backward_hook(doubled)
    with pytest.raises(ValueError, match=r"backward.*leaf_modules=\['f'\]"):
        models.gate_skips(network, ROWS)
    check_same(network, models.gate_skips(network, ROWS, leaf_modules=["f"]), ROWS)
    handle.remove()
    network.f[0].register_full_backward_hook(doubled)
    check_same(network, models.gate_skips(network, ROWS), ROWS)


@pytest.mark.parametrize(
    "name", ["code", "graph", "modes", "skips", "meta", "recompile", "skip_weight", "class"]
)
def test_names_that_a_graph_cannot_keep_are_refused(name):
    network = Small(lambda network, x: x + getattr(network, name)(x))
    network.add_module(name, nn.Linear(4, 4))
    with pytest.raises(ValueError, match=f"^The name '{name}' in Small .* rename it"):
        models.gate_skips(network, ROWS)


def test_a_word_of_python_within_a_name_is_refused():
    network = Small(lambda network, x: x + network.f["class"](x), nn.ModuleDict({"class": nn.Linear(4, 4)}))
    with pytest.raises(ValueError, match=r"^The name 'f\.class' in Small holds a word of Python's"):
        models.gate_skips(network, ROWS)
    scales = nn.ParameterDict({"lambda": torch.ones(4)})
    network = Small(lambda network, x: x + network.f["lambda"] * network.a(x), scales)
    with pytest.raises(ValueError, match=r"^The name 'f\.lambda' in Small holds a word of Python's"):
        models.gate_skips(network, ROWS)


def test_outputs_of_any_kind_are_compared(seeded):
    def forward(network, x):
        y = x + network.f(x)
        return {"logits": y, "is_large": y > 0, "label": y.argmax(1)}

    network = Small(forward)
    gated, expected = models.gate_skips(network, ROWS)(ROWS), network(ROWS)
    assert all(torch.equal(gated[name], expected[name]) for name in expected)


def test_inference_mode_makes_nothing_to_be_trained():
    with torch.inference_mode(), pytest.raises(ValueError, match=r"outside torch\.inference_mode"):
        models.gate_skips(Residual(), IMAGES)


def test_a_network_with_modes_of_its_own_keeps_its_signature(seeded):
    class Modes(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = nn.Linear(4, 4)

        def forward(self, x):
            return x + self.f(x) * (0.5 if self.training else 1.0)

    gated = models.gate_skips(Modes(), ROWS).eval()
    assert torch.equal(gated(x=ROWS), gated(ROWS))
    rows = torch.export.Dim("rows")
    for sizes in (({0: rows},), {"x": {0: rows}}):
        program = torch.export.export(gated, (ROWS,), dynamic_shapes=sizes)
        torch.testing.assert_close(program.module()(ROWS[:2]), gated(ROWS[:2]))


def test_a_network_is_saved_as_what_it_can_be_loaded_from(tmp_path, seeded):
    gated = models.gate_skips(Residual(), IMAGES)
    with pytest.raises(TypeError, match=r"A gated network cannot be pickled.*again by gate_skips, and load"):
        torch.save(gated, tmp_path / "gated.pt")
    with torch.no_grad():
        gated.eval().skip_weight.zero_()
    plain = models.collapse(gated)
    with pytest.raises(
        TypeError,
        match=r"A collapsed network cannot be pickled.*by gate_skips, skip_weight\.data\.zero_\(\) and",
    ):
        torch.save(plain, tmp_path / "plain.pt")
    made = models.gate_skips(Residual(), IMAGES)
    made.skip_weight.data.zero_()
    made = models.collapse(made)
    made.load_state_dict(plain.state_dict())
    assert torch.equal(made.eval()(IMAGES), plain(IMAGES))
    torch.export.save(torch.export.export(plain, (IMAGES,)), tmp_path / "plain.pt2")
    assert torch.equal(torch.export.load(tmp_path / "plain.pt2").module()(IMAGES), plain(IMAGES))
