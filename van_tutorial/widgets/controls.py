"""The controls that panels share, each said once."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from van_tutorial.connections import SKIPS
from van_tutorial.data import MINI
from van_tutorial.playground import CONNECTIONS, INITS, NORMALIZATIONS
from van_tutorial.widgets.panel import Choice, Control, Slider

# What can be removed: the form of the connection, every how many layers there is one, and its initial skip weight.
REMOVED: dict[str, dict[str, Any]] = {
    "skips": {},
    "activations": {"skip": "activation", "skip_every": 1, "skip_weight": 0.0},
    "every second activation": {"skip": "activation", "skip_every": 2, "skip_weight": 0.0},
}
REMOVERS = ("multipliers", "linear", "cosine", "penalty")
CONTROLS: dict[str, Control] = {
    control.name: control
    for control in (
        Choice("data", "data set", MINI, (MINI,), "What to learn; sets that are on this machine"),
        Slider("depth", "depth (layers)", 20, 1, 100, "Number of layers"),
        Slider("width", "width (units)", 32, 4, 256, "Units per layer"),
        Choice("connection", "connection", "van", CONNECTIONS, "How a layer's input and output are combined"),
        Choice("skip", "form of the VAN", "convex", tuple(SKIPS), "How a VAN mixes input and output of a layer"),
        Slider("skip_weight", "initial skip weight", 0.95, 0.0, 1.0, "Of every layer of a VAN"),
        Slider(
            "dual_lr", "dual learning rate", 1e-3, 1e-5, 1e4,
            "How fast the multipliers grow: nats per unit of skip weight, per step", is_log=True,
        ),
        Slider(
            "stagger", "order (+ input first)", 0.9, -0.95, 0.95,
            "Above 0 skips are removed sequentially (one layer at a time), from input to output; below 0 from output "
            "to input; at 0 simultaneously",
        ),
        Choice("normalization", "normalization", "batch", NORMALIZATIONS, "Of every layer's units"),
        Slider(
            "norm_shift", "BatchNorm bias", 1.0, 0.0, 3.0,
            "Initial bias of BatchNorm or LayerNorm: above 0 layers are initialized closer to linear", step=0.1,
        ),
        Choice("init", "initialization", "he", INITS, "Of the weights"),
        Slider("num_epochs", "epochs", 10, 1, 100, "Passes over the training images"),
        Slider("seed", "seed", 0, 0, 99, "Of initial weights and order of examples"),
        Choice("removed", "what is removed", "skips", tuple(REMOVED), "What has reached zero at the end"),
        Choice("remover", "how it is removed", "multipliers", REMOVERS, "What moves the skip weights"),
        Slider(
            "skip_penalty", "penalty strength (nats)", 0.05, 1e-3, 1.0,
            "How hard the penalty pulls; used where it is what removes", is_log=True,
        ),
    )
}  # fmt: skip


def controls_for(
    values: Mapping[str, Any], choices: Mapping[str, tuple[str, ...]] | None = None
) -> list[Control]:
    """Return the controls of these names, at these values; `choices` has those of lists that offer others."""
    found: list[Control] = []
    for name, value in values.items():
        control = CONTROLS[name]
        if isinstance(control, Choice):
            control = replace(control, choices=(choices or {}).get(name, control.choices))
        found.append(replace(control, value=value))
    return found
