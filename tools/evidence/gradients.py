"""Gradients before, during and after the phase-out, and the price of each shortcut at its end."""

from itertools import product
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import nn

from tools.results import Recording
from van_tutorial import data, diagnostics, models, training
from van_tutorial.data import Images
from van_tutorial.plots.style import finish, style

SEEDS = (0, 1, 2)
NETWORKS = {"plain": "plain", "residual": "residual", "VAN": "van"}
DEPTH, NUM_EPOCHS = 40, 10
PHASES = ("before", "during", "after")
MEASURES = {
    "pair_correlation": "correlation of gradients",
    "grad_norm_ratio": "first / last layer's gradient",
    "dead_share": "fraction of dead units",
}


def look_at(model: nn.Module, images: Images) -> dict[str, float]:
    """Return the three measures of a network as it is."""
    mode = model.training
    model.eval()
    shown = images.test_images[:64]
    correlation = diagnostics.pair_correlation(diagnostics.gradient_correlation(model, shown, output=0))
    dead = diagnostics.layer_norms(model, images.test_images[:1000], images.test_labels[:1000])[
        "dead_share"
    ].mean()
    model.train()
    norms = diagnostics.layer_norms(model, images.train_images[:1000], images.train_labels[:1000])[
        "weight_grad_norm"
    ]
    model.train(mode)
    ratio = float(norms.iloc[0] / norms.iloc[-1])
    return {
        "pair_correlation": round(correlation, 4),
        "grad_norm_ratio": float(f"{ratio:.4g}"),
        "dead_share": round(float(dead), 4),
    }


def measure(recording: Recording, is_quick: bool = False) -> list[dict[str, Any]]:
    """Train plain, residual and VAN networks, look at them after every epoch, and at the prices at the end.

    Args:
        recording: of the file; what is in it is not measured again.
        is_quick: a few layers and epochs on the embedded images.
    """
    images = data.load() if is_quick else data.load("fashion-mnist")
    depth, num_epochs = (8, 2) if is_quick else (DEPTH, NUM_EPOCHS)
    rows = recording.resume()
    there = {(row["network"], row["seed"]) for row in rows}
    for (name, connection), seed in product(NETWORKS.items(), SEEDS[: 1 if is_quick else None]):
        if (name, seed) in there:
            continue
        model = models.mlp(depth=depth, connection=connection, seed=seed)
        config = training.TrainConfig(num_epochs=num_epochs, seed=seed, device="cpu")
        who = {"network": name, "seed": seed}
        fresh: list[dict[str, Any]] = [who | {"epoch": 0} | look_at(model, images)]
        trainer = training.Trainer(model, images, config)
        for record in trainer:
            alphas = record.skip_weights
            fresh.append(
                who
                | {"epoch": round(record.epoch), "test_accuracy": round(record.test_accuracy, 4)}
                | ({"mean_skip_weight": round(alphas.mean().item(), 4)} if len(alphas) else {})
                | look_at(model, images)
            )
        if trainer.phase_out is not None:
            model.train()
            prices = diagnostics.shortcut_prices(
                model, images.train_images[:1000], images.train_labels[:1000]
            )
            model.eval()
            multipliers = trainer.phase_out.multipliers.values.tolist()
            fresh += [
                who | {"layer": layer, "price": round(price, 5), "multiplier": round(multiplier, 5)}
                for layer, price, multiplier in zip(
                    prices["layer"], prices["price"], multipliers, strict=True
                )
            ]
        rows += fresh
        print(recording.write(rows), who, flush=True)
    return rows


def by_epoch(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that were measured after an epoch."""
    return runs.dropna(subset=["epoch"])


def prices(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that hold a layer's price and multiplier."""
    return runs.dropna(subset=["layer"])


def phase_epochs(runs: pd.DataFrame) -> dict[str, int]:
    """Return the epochs that stand for before, during and after: the first, mean skip weight nearest 1/2, the last."""
    epochs = by_epoch(runs)
    weights = epochs[epochs["network"] == "VAN"].groupby("epoch")["mean_skip_weight"].mean().dropna()
    return {
        "before": 0,
        "during": round(float((weights - 0.5).abs().idxmin())),  # type: ignore[arg-type]  # an epoch
        "after": int(epochs["epoch"].max()),
    }


def values_at(runs: pd.DataFrame, network: str, value: str, phase: str) -> pd.Series:
    """Return a measure of a network's runs before, during or after the phase-out."""
    of = by_epoch(runs)
    return of[(of["network"] == network) & (of["epoch"] == phase_epochs(runs)[phase])][value]


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """Each measure before, during and after: mean and standard deviation over the seeds."""
    rows = []
    for network in NETWORKS:
        for value, title in MEASURES.items():
            at = {phase: values_at(runs, network, value, phase) for phase in PHASES}
            texts = {
                phase: f"{seeds.mean():.3g}" + (f" ± {seeds.std():.2g}" if len(seeds) > 1 else "")
                for phase, seeds in at.items()
            }
            rows.append({"network": network, "measure": title, **texts})
    return pd.DataFrame(rows)


def reading(runs: pd.DataFrame) -> str:
    """What was found."""
    when = phase_epochs(runs)
    weight = values_at(runs, "VAN", "mean_skip_weight", "during").mean()
    correlations, ratios = (
        ", ".join(f"*{network}* {values_at(runs, network, value, phase).mean():.2g}" for network in NETWORKS)
        for value, phase in (("pair_correlation", "after"), ("grad_norm_ratio", "during"))
    )
    paid = prices(runs)
    share = (paid["multiplier"] > paid["price"]).mean()
    multiplier, price = paid["multiplier"].median(), paid["price"].abs().median()
    return (
        f"*Before*, *during* and *after* are epochs {when['before']}, {when['during']} (mean skip weight "
        f"{weight:.2f}) and {when['after']}. Mean correlation after the training: {correlations}. Mean ratio of the "
        f"first layer's gradient to the last one's during the removal: {ratios}. At the end {100 * share:.0f} % of the "
        "multipliers exceed the price of their shortcut, which holds a skip weight at 0. They exceed it by far: the "
        f"median multiplier is {multiplier:.2g}, the median absolute price {price:.2g}. So the price of a skip does "
        "not decide when it is removed; its window and its two learning rates do."
    )


def figure(runs: pd.DataFrame) -> go.Figure:
    """The three measures by epoch, and prices with multipliers."""
    titles = (*MEASURES.values(), "price and multiplier by layer")
    drawn = make_subplots(
        rows=2, cols=2, subplot_titles=titles, vertical_spacing=0.16, horizontal_spacing=0.1
    )
    epochs = by_epoch(runs)
    for place, value in enumerate(MEASURES):
        row, col = divmod(place, 2)
        for index, network in enumerate(NETWORKS):
            spread = (
                epochs[epochs["network"] == network]
                .groupby("epoch")[value]
                .agg(["mean", "std"])
                .reset_index()
            )
            drawn.add_scatter(
                x=spread["epoch"],
                y=spread["mean"],
                error_y={"array": spread["std"], "width": 3, "thickness": 1},
                mode="lines+markers",
                name=network,
                legendgroup=network,
                showlegend=place == 0,
                row=row + 1,
                col=col + 1,
                **style(index),
            )
    layers = prices(runs).groupby("layer")[["price", "multiplier"]].mean().reset_index()
    for index, value in enumerate(("price", "multiplier")):
        drawn.add_scatter(
            x=layers["layer"],
            y=layers[value],
            mode="lines+markers",
            name=value,
            row=2,
            col=2,
            **style(3 + index),
        )
    finish(drawn, "Gradients and prices", "Mean over the seeds with one standard deviation.", "epoch", "")
    drawn.update_xaxes(title="layer", row=2, col=2)
    drawn.update_yaxes(type="log", exponentformat="power", row=1, col=2)
    return drawn.update_layout(height=720, legend={"orientation": "h", "y": -0.1}, margin={"t": 110})
