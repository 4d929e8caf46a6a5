"""How gradients hang together while a VAN's skips are removed, beside a plain and a residual network."""

from typing import Any

from torch import nn

from tools.recordings.lab import SEEDS, Lab, Row, recording, rounded
from van_tutorial import data, diagnostics, models
from van_tutorial._modes import modes_kept


def correlation(model: nn.Module, images: data.Images) -> float:
    """Return the mean correlation between the gradients at pairs of 64 test images, in eval mode, of class 0."""
    with modes_kept(model):
        pairs = diagnostics.gradient_correlation(model.eval(), images.test_images[:64], output=0)
    return diagnostics.pair_correlation(pairs)


def correlation_length(
    model: nn.Module, images: data.Images, num_lines: int = 8, num_points: int = 513
) -> float:
    """Return the fraction of a straight line between two images over which gradients stay correlated, in eval mode."""
    shown, curves = images.test_images[:64], []
    with modes_kept(model):
        model.eval()
        for start, end in zip(shown[:num_lines], shown[num_lines:], strict=False):
            path = diagnostics.straight_path(start, end, num_points)
            gradients = diagnostics.input_gradients(model, path, output=0)
            curves.append(diagnostics.gradient_autocorrelation(gradients, num_points // 2))
    return diagnostics.correlation_length(sum(curves[1:], curves[0]) / len(curves), 1.0 / (num_points - 1))


@recording({"network": ("plain", "residual", "van"), "seed": SEEDS})
def van_gradients_mini(lab: Lab, network: str, seed: int) -> list[Row]:
    """Train one network, and measure its gradients after every epoch."""
    images, rows = lab.load(), []

    def look(record: Any, model: nn.Module) -> None:
        weights = record.skip_weights
        rows.append(
            {
                "epoch": round(record.epoch),
                "mean_skip_weight": round(weights.mean().item(), 4) if len(weights) else None,
                "test_accuracy": round(record.test_accuracy, 4),
                "pair_correlation": round(correlation(model, images), 4),
                "correlation_length": round(correlation_length(model, images), 4),
            }
        )

    lab.train(models.mlp(connection=network, seed=seed), images, look, num_epochs=30, seed=seed)
    return rows


def state(model: nn.Module, images: data.Images) -> Row:
    """Return correlation, ratio of gradient norms in training mode, and fraction of dead units in eval mode."""
    with modes_kept(model):
        tested, trained = (
            diagnostics.layer_norms(mode(), shown[:1000], labels[:1000])
            for mode, shown, labels in (
                (model.eval, images.test_images, images.test_labels),
                (model.train, images.train_images, images.train_labels),
            )
        )
    norms = trained["weight_grad_norm"]
    return {
        "pair_correlation": round(correlation(model, images), 4),
        "grad_norm_ratio": rounded(norms.iloc[0] / norms.iloc[-1]),
        "dead_fraction": round(float(tested["dead_fraction"].mean()), 4),
    }


@recording({"network": ("plain", "residual", "VAN"), "seed": SEEDS})
def phase_out_gradients(lab: Lab, network: str, seed: int) -> list[Row]:
    """Train one network, look at it after every epoch, and at the prices of a VAN's skips at the end."""
    images = lab.load("fashion-mnist")
    model = models.mlp(depth=8 if lab.is_quick else 40, connection=network.lower(), seed=seed)
    rows: list[Row] = [{"epoch": 0} | state(model, images)]

    def look(record: Any, model: nn.Module) -> None:
        weights = record.skip_weights
        row: Row = {"epoch": round(record.epoch), "test_accuracy": round(record.test_accuracy, 4)}
        row |= {"mean_skip_weight": round(weights.mean().item(), 4)} if len(weights) else {}
        rows.append(row | state(model, images))

    trainer = lab.trainer(model, images, num_epochs=10, seed=seed)
    lab.finish(trainer, images, look)
    if trainer.phase_out is None:
        return rows
    shown = images.train_images[:1000], images.train_labels[:1000]
    prices = diagnostics.shortcut_prices(model.train(), *shown)
    multipliers = trainer.phase_out.multipliers.values.tolist()
    return rows + [
        {"layer": layer, "price": round(price, 5), "multiplier": round(multiplier, 5)}
        for layer, price, multiplier in zip(prices["layer"], prices["price"], multipliers, strict=True)
    ]
