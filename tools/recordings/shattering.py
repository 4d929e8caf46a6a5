"""The autocorrelation of gradients of random networks: ours, and an independent reference of the published ones."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch

from tools.recordings.lab import Lab, Row, recording
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


def rows(table: pd.DataFrame) -> list[Row]:
    """Return the rows of a table, rounded, with None for what is not a number."""
    records = table.round({"mean": 4, "sd": 4}).to_dict(orient="records")
    return [{str(name): None if pd.isna(value) else value for name, value in row.items()} for row in records]


@recording({})
def shattered_gradients(lab: Lab) -> list[Row]:
    """Measure the library's networks, a textbook's variants of one, and noises."""
    depths = DEPTHS[:1] if lab.is_quick else DEPTHS
    tables = [*diagnostics.shattering(depths=depths, num_seeds=num_seeds(lab)), *textbook_variants(lab)]
    return rows(pd.concat([*tables, diagnostics.noise_autocorrelation()], ignore_index=True))


def num_seeds(lab: Lab) -> int:
    """Return how many random initializations are measured."""
    return 2 if lab.is_quick else NUM_SEEDS


def textbook_variants(lab: Lab) -> list[pd.DataFrame]:
    """Return the autocorrelation of plain networks of depth 50 with each of a textbook's three choices on and off."""
    inputs = torch.linspace(-2.0, 2.0, NUM_POINTS).unsqueeze(1)
    tables = []
    for is_centred, is_he, has_biases in product((True, False), repeat=3):
        recipe = "plain, centred" if is_centred else "plain, not centred"
        choices: dict[str, Any] = {
            "init_scale": 1.0 if is_he else 0.5**0.5,  # variance 2/n or 1/n
            "bias_std": WIDTH**-0.5 if has_biases else 0.0,
        }
        networks = [models.scalar_network(recipe, 50, seed=seed, **choices) for seed in range(num_seeds(lab))]
        gradients = diagnostics.input_gradients_of_all(networks, inputs, statistics="constant")
        name = ", ".join(
            (
                recipe.removeprefix("plain, "),
                "variance 2/n" if is_he else "variance 1/n",
                "biases" if has_biases else "no biases",
            )
        )
        tables.append(summarize(gradients, MAX_LAG, network=name, depth=50))
    return tables


@recording({"network": tuple(REFERENCES), "depth": DEPTHS})
def shattered_gradients_reference(lab: Lab, network: str, depth: int) -> list[Row]:
    """Measure the published networks as they are written out here, with draws of their own."""
    curves = np.stack(
        [
            autocorrelation(reference_gradient(network, depth, np.random.default_rng([100, seed])))
            for seed in range(num_seeds(lab))
        ]
    )
    spread = {"mean": curves.mean(axis=0), "sd": curves.std(axis=0, ddof=1), "runs": len(curves)}
    return rows(pd.DataFrame({"lag": range(MAX_LAG + 1), **spread}))


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
