"""Record the autocorrelation of gradients: our networks, and an independent reference of the published ones.

    python -m tools.record_shattered_gradients

Writes assets/results/shattered_gradients.json (models.scalar_network, diagnostics.shattering, seeds 0 to 19; the
textbook's three choices turned on and off; noises) and assets/results/shattered_gradients_reference.json (the same
definitions written out in NumPy with their own draws and a backward pass by hand, nothing of this package). Takes
about two minutes.
"""

import argparse
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch

from tools.results import Recording
from van_tutorial import diagnostics, models
from van_tutorial.diagnostics.shattering import DEPTHS, MAX_LAG, NUM_POINTS, NUM_SEEDS, summarize

WIDTH = 200
# Connection, normalization and residual scale of the networks of which there is a reference.
REFERENCES = {
    "plain, centred": ("plain", "center", 1.0),
    "plain, batch norm": ("plain", "batch", 1.0),
    "plain, not centred": ("plain", "none", 1.0),
    "residual, batch norm, beta 1": ("residual", "batch", 1.0),
    "residual, batch norm, beta 0.1": ("residual", "batch", 0.1),
}
QUESTION = (
    "How fast do the gradients of random networks from one number to one number change along a line of inputs? "
    f"Width {WIDTH}, {NUM_POINTS} points of [-2, 2], {NUM_SEEDS} random initializations, autocorrelation by lag"
)


def textbook_variants() -> Iterator[pd.DataFrame]:
    """Yield the autocorrelation of plain networks of depth 50 with each of a textbook's three choices on and off."""
    inputs = torch.linspace(-2.0, 2.0, NUM_POINTS).unsqueeze(1)
    for is_centred, is_he, has_biases in product((True, False), repeat=3):
        networks = [
            models.scalar_network(
                "plain, centred" if is_centred else "plain, not centred",
                50,
                seed=seed,
                init_scale=1.0 if is_he else 0.5**0.5,  # variance 2/n or 1/n
                bias_std=WIDTH**-0.5 if has_biases else 0.0,
            )
            for seed in range(NUM_SEEDS)
        ]
        gradients = diagnostics.input_gradients_of_all(networks, inputs, statistics="constant")
        name = ", ".join(
            (
                "centred" if is_centred else "not centred",
                "variance 2/n" if is_he else "variance 1/n",
                "biases" if has_biases else "no biases",
            )
        )
        yield summarize(gradients, MAX_LAG, network=name, depth=50)


def reference_gradient(network: str, depth: int, random: np.random.Generator) -> np.ndarray:
    """Return dy/dx at every point of the grid, by a forward and a backward pass written out.

    h_1 = x w + b; then relu of the normalized h times a matrix of variance 2/n, added to h where residual; the
    output is v . relu(h). Mean and variance over the grid are constants.
    """
    connection, normalization, beta = REFERENCES[network]
    x = np.linspace(-2.0, 2.0, NUM_POINTS)
    w, b = random.standard_normal(WIDTH), random.standard_normal(WIDTH)
    h = np.outer(x, w) + b
    factors = []  # of each layer: what the gate lets pass of dh, and the matrix
    for _ in range(depth - 1):
        scale = np.ones(WIDTH)
        z = h
        if normalization != "none":
            z = h - h.mean(axis=0)
        if normalization == "batch":
            scale = 1.0 / np.sqrt(h.var(axis=0) + 1e-5)
            z = z * scale
        matrix = random.standard_normal((WIDTH, WIDTH)) * np.sqrt(2.0 / WIDTH)
        factors.append(((z > 0) * scale, matrix))
        new = np.maximum(z, 0.0) @ matrix
        h = h + beta * new if connection == "residual" else new
    g = (h > 0) * (random.standard_normal(WIDTH) * np.sqrt(2.0 / WIDTH))
    for gate, matrix in reversed(factors):
        back = (g @ matrix.T) * gate
        g = g + beta * back if connection == "residual" else back
    return g @ w


def autocorrelation(g: np.ndarray) -> np.ndarray:
    """Return sum z_i z_{i+k} / sum z_i^2 for k = 0, ..., MAX_LAG."""
    z = g - g.mean()
    return np.array([z[: len(z) - lag] @ z[lag:] for lag in range(MAX_LAG + 1)]) / (z @ z)


def reference_rows() -> Iterator[pd.DataFrame]:
    """Yield mean and standard deviation of the reference, network by network and depth by depth."""
    for network, depth in product(REFERENCES, DEPTHS):
        curves = np.stack(
            [
                autocorrelation(reference_gradient(network, depth, np.random.default_rng([100, seed])))
                for seed in range(NUM_SEEDS)
            ]
        )
        yield pd.DataFrame(
            {
                "network": network,
                "depth": depth,
                "lag": range(MAX_LAG + 1),
                "mean": curves.mean(axis=0),
                "sd": curves.std(axis=0, ddof=1),
                "runs": NUM_SEEDS,
            }
        )


def rows(tables: Iterator[pd.DataFrame]) -> list[dict[str, Any]]:
    """Return the rows of some tables, rounded, with None for what is not a number."""
    table = pd.concat(list(tables), ignore_index=True).round({"mean": 4, "sd": 4})
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in table.to_dict(orient="records")
    ]


def main() -> None:
    """Measure both and write both files."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    command = "python -m tools.record_shattered_gradients"
    recording = Recording(
        "shattered_gradients", f"{QUESTION}; models.scalar_network, seeds 0 to 19.", command
    )
    found = rows(diagnostics.shattering()) + rows(textbook_variants())
    print(recording.write(found + rows(iter([diagnostics.noise_autocorrelation()]))))
    recording = Recording(
        "shattered_gradients_reference",
        f"{QUESTION}; the definitions written out in NumPy, seeds (100, 0) to (100, 19).",
        command,
    )
    print(recording.write(rows(reference_rows())))


if __name__ == "__main__":
    main()
