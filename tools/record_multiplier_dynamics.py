"""Record how well the oscillator predicts real phase-outs, and by how much the multipliers over-shoot their prices.

    python -m tools.record_multiplier_dynamics

VANs of depth 40 and width 32, 30 epochs on the embedded images, no cap, seeds 0, 1, 2, and multiplier step sizes of a
quarter, once, four and sixteen times the default. For every layer: the step at which its skip weight first reached 0
and the predicted one, with a slope of 0.3 as the default has it, with a slope of 0, and with the layer's own slope at
the start; at the end the final multiplier and the price of the shortcut on all training images, with the statistics of
these images, as the multipliers saw the loss, and in eval mode. Takes about three minutes on one core.
"""

import argparse
import dataclasses
from itertools import product

from tools.record_phase_out import NUM_EPOCHS, SEEDS
from tools.results import ALL_AT_ONCE, Recording
from van_tutorial import data, diagnostics, models, training

FACTORS = (0.25, 1.0, 4.0, 16.0)


def main() -> None:
    """Train everything and write the file."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    recording = Recording(
        "multiplier_dynamics_mini",
        "At which step does each skip of a VAN reach 0, when was it predicted to, and how far is the final multiplier "
        "above the price of the shortcut? Embedded Fashion-MNIST subset, depth 40, width 32, batch normalization, 30 "
        "epochs, no cap; prices on all training images, with their statistics (price) and in eval mode (price_eval).",
        "python -m tools.record_multiplier_dynamics",
    )
    images = data.load()
    shown = (images.train_images, images.train_labels)
    rows = []
    for factor, seed in product(FACTORS, SEEDS):
        model = models.mlp(depth=40, width=32, connection="van", seed=seed)
        base = training.TrainConfig(
            num_epochs=NUM_EPOCHS, remove_by=None, seed=seed, device="cpu", **ALL_AT_ONCE
        )
        num_steps = NUM_EPOCHS * (len(images.train_labels) // base.batch_size)
        dual_lr = factor * training.default_dual_lr(num_steps, 0.95, base)
        config = dataclasses.replace(base, dual_lr=dual_lr)
        trainer = training.Trainer(model, images, config)
        slopes = diagnostics.shortcut_prices(model.train(), *shown, skip_weight=None)["price"].tolist()
        for _ in trainer:
            pass
        phase_out, result = trainer.phase_out, trainer.result()
        assert phase_out is not None
        steps = diagnostics.removal_steps(phase_out)
        own = diagnostics.removal_steps(phase_out, slopes)["predicted_step"]
        flat = diagnostics.removal_steps(phase_out, slope=0.0)["predicted_step"]
        prices_eval = diagnostics.shortcut_prices(model.eval(), *shown)["price"]
        prices = diagnostics.shortcut_prices(model.train(), *shown)["price"]
        for index, row in enumerate(steps.to_dict(orient="records")):
            first = row["first_zero_step"]
            rows.append(
                {
                    "factor": factor,
                    "seed": seed,
                    "layer": int(row["layer"]),
                    "dual_lr": float(f"{row['dual_lr']:.4g}"),
                    "num_steps": result.num_steps,
                    "predicted_step": round(row["predicted_step"]),
                    "predicted_without_slope": round(flat[index]),
                    "slope_at_start": float(f"{slopes[index]:.4g}"),
                    "predicted_by_slope": round(own[index]),
                    "first_zero_step": int(first) if first == first else None,
                    "final_skip_weight": float(f"{model.skip_weight[index].item():.4g}"),
                    "price": float(f"{prices[index]:.4g}"),
                    "price_eval": float(f"{prices_eval[index]:.4g}"),
                    "multiplier": float(f"{phase_out.multipliers.values[index].item():.4g}"),
                    "test_accuracy": round(result.test_accuracy, 4),
                }
            )
        print(factor, seed, result.test_accuracy, result.removed_at_step, flush=True)
    print(recording.write(rows))


if __name__ == "__main__":
    main()
