"""What gradients with respect to the input cost: beside the textbook's loop, and beside one backward pass by hand.

    python -m benchmarks.gradients

256 inputs, networks from one number to one number of depth 50, one thread. Prints a table and writes its section of
docs/performance.md.
"""

import torch
from torch import Tensor, nn

from benchmarks.measure import ratio, write_section
from van_tutorial import models
from van_tutorial.diagnostics import input_gradients, input_gradients_of_all

DEPTH = 50
NUM_NETWORKS = 20
INPUTS = torch.linspace(-2.0, 2.0, 256).unsqueeze(1)


def textbook_loop(model: nn.Module) -> Tensor:
    """Return the gradients by a forward and a backward pass for each input, as a textbook has it."""
    gradients = []
    for example in INPUTS:
        x = example.unsqueeze(0).clone().requires_grad_(True)
        model(x).backward()
        gradients.append(x.grad)
    return torch.cat(gradients)


def by_hand(model: nn.Module) -> Tensor:
    """Return the gradients by one backward pass of the sum, where examples do not look at each other."""
    x = INPUTS.clone().requires_grad_(True)
    return torch.autograd.grad(model(x).sum(), x)[0]


def output_by_output(model: nn.Module) -> Tensor:
    """Return the exact gradients where examples do look at each other, by a backward pass for each output."""
    x = INPUTS.clone().requires_grad_(True)
    outputs = model(x).squeeze(1)
    rows = [torch.autograd.grad(output, x, retain_graph=True)[0][i] for i, output in enumerate(outputs)]
    return torch.stack(rows)


def network(width: int, recipe: str = "plain, centred", seed: int = 0) -> models.MLP:
    """Return one of the networks."""
    return models.scalar_network(recipe, DEPTH, seed=seed, width=width)


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    rows = []
    for width in (200, 32):
        model = network(width).eval()
        torch.testing.assert_close(input_gradients(model, INPUTS), by_hand(model))
        rows += [
            ratio(
                f"textbook loop / ours, width {width}",
                lambda model=model: textbook_loop(model),
                lambda model=model: input_gradients(model, INPUTS),
                "at least 50",
                rounds=7,
            ),
            ratio(
                f"ours / one backward pass by hand, width {width}",
                lambda model=model: input_gradients(model, INPUTS),
                lambda model=model: by_hand(model),
                "at most 1.2",
                rounds=41,
            ),
        ]
    in_training, in_eval = network(200, "plain, batch norm"), network(200, "plain, batch norm").eval()
    narrow = network(32, "plain, batch norm")
    rows.append(
        ratio(
            "batch norm, statistics constant / by hand in eval mode, width 200",
            lambda: input_gradients(in_training, INPUTS, statistics="constant"),
            lambda: by_hand(in_eval),
            "–",
            rounds=21,
        )
    )
    rows.append(
        ratio(
            "batch norm, one pass an output / ours exact, width 32",
            lambda: output_by_output(narrow),
            lambda: input_gradients(narrow, INPUTS),
            "at least 1",
            rounds=5,
        )
    )
    for width in (200, 32):
        networks = [network(width, seed=seed) for seed in range(NUM_NETWORKS)]
        rows.append(
            ratio(
                f"{NUM_NETWORKS} networks one by one / at once, width {width}",
                lambda networks=networks: [
                    input_gradients(m, INPUTS, statistics="constant") for m in networks
                ],
                lambda networks=networks: input_gradients_of_all(networks, INPUTS),
                "at least 1",
                rounds=7,
            )
        )
    about = f"""\
Gradients at 256 inputs, depth {DEPTH}; milliseconds are those of the whole first side. Plain networks, centred
in eval mode, so that no example affects another, unless the row says otherwise."""
    remarks = """\
The gain over the loop depends on the width: at width 32 the calls are what costs, and batching saves them; at width
200 the products cost more. One backward pass by hand would miss this aim too. Exact gradients through batch
statistics take one backward pass an output in any arrangement, and batching saves only the calls. On one thread wide
networks gain nothing from being stacked."""
    write_section("gradients", rows, about, remarks)


if __name__ == "__main__":
    main()
