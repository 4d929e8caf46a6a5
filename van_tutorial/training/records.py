"""What training hands out: a record after each logging interval, and a result at the end."""

from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd
from torch import Tensor, nn

from van_tutorial.training.config import TrainConfig


@dataclass(frozen=True)
class Record:
    """The state of a run after `step` steps; means are over the steps since the record before.

    Attributes:
        step: optimizer updates done.
        epoch: passes over the training images done, a fraction within an epoch.
        lr: learning rate of the weights in the next step.
        loss: mean training loss C, in nats per label: per example, or per pixel where every pixel has one.
        lagrangian: mean of C plus the penalty on the skip weights.
        train_accuracy: fraction of the labels given right, on the batches as they were trained, augmented ones as such.
        validation_accuracy: the same on the validation set in eval mode; None without any.
        test_loss: on the test images, in eval mode, in nats per label.
        test_accuracy: on the test images, in eval mode.
        skip_weights: shape (L,), on the CPU; empty where there are none.
        multipliers: shape (L,), on the CPU; empty where there are none.
        cap: bound on how far a skip weight is from config.skip_target; None where there are none, or a schedule sets
            them.
        seconds: time spent in the steps so far; evaluation is left out.
        measures: what the caller has measured at this step, by name: numbers, and tensors of shape (L,) on
            the CPU; `diagnostics.Recorder` fills it.
    """

    step: int
    epoch: float
    lr: float
    loss: float
    lagrangian: float
    train_accuracy: float
    validation_accuracy: float | None
    test_loss: float
    test_accuracy: float
    skip_weights: Tensor
    multipliers: Tensor
    cap: float | None
    seconds: float
    measures: dict[str, float | Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainResult:
    """The result of a run.

    "Removed" is said of skips, whose weights are then 0. With config.skip_target 1 it is said of activations, whose
    skip weights are then 1: read "1" for "0" in `removed_at_step`, `num_capped` and `first_zero_steps`.

    Attributes:
        model: the network, trained, on the device it was trained on.
        config: the run's config.
        history: one row per record: step, epoch, lr, loss, lagrangian, train_accuracy, validation_accuracy,
            test_loss, test_accuracy, mean_skip_weight, num_skips, cap, seconds, and a column for each number
            among the records' measures. NaN where there is no value.
        layers: one row per record and layer: step, layer (from 1), skip_weight, multiplier, and a column for each
            tensor among the records' measures. NaN where there is no value.
        num_steps: steps done.
        is_complete: whether that is all of them; False after a stop.
        test_accuracy: in eval mode, at the end; NaN where no record was made.
        validation_accuracy: the same on the validation set; None without any.
        removed_at_step: the step since which all skip weights have been 0; None while one is not, and where
            there were none.
        removed_by: "multipliers", "penalty", "cap", "schedule", or None like `removed_at_step`.
        num_capped: layers whose skip weight the cap lowered on its way to 0.
        first_zero_steps: for each layer the step at which its skip weight was 0 for the first time, or None;
            empty where there were none. What `constraints.predict_removal_step` predicts.
        seconds: time spent in the steps; evaluation is left out.
    """

    model: nn.Module = field(repr=False)
    config: TrainConfig
    history: pd.DataFrame = field(repr=False)
    layers: pd.DataFrame = field(repr=False)
    num_steps: int
    is_complete: bool
    test_accuracy: float
    validation_accuracy: float | None
    removed_at_step: int | None
    removed_by: str | None
    num_capped: int
    first_zero_steps: tuple[int | None, ...]
    seconds: float


HISTORY_COLUMNS = (
    "step", "epoch", "lr", "loss", "lagrangian", "train_accuracy", "validation_accuracy", "test_loss",
    "test_accuracy", "mean_skip_weight", "num_skips", "cap", "seconds",
)  # fmt: skip
LAYER_COLUMNS = ("step", "layer", "skip_weight", "multiplier")


def history_frame(records: list[Record]) -> pd.DataFrame:
    """Return the records' scalars as a table, one row per record."""
    rows: list[dict[str, Any]] = []
    for record in records:
        row = {name: value for name, value in asdict(record).items() if name in HISTORY_COLUMNS}
        has_skips = len(record.skip_weights) > 0
        row["mean_skip_weight"] = record.skip_weights.mean().item() if has_skips else None
        row["num_skips"] = int(record.skip_weights.count_nonzero()) if has_skips else None
        rows.append(row | {k: v for k, v in record.measures.items() if not isinstance(v, Tensor)})
    measured = {name: None for row in rows for name in row if name not in HISTORY_COLUMNS}
    frame = pd.DataFrame(rows, columns=[*HISTORY_COLUMNS, *measured])
    return frame.astype({name: float for name in frame.columns if name != "step"})


def layers_frame(records: list[Record]) -> pd.DataFrame:
    """Return the records' skip weights, multipliers and measures by layer, one row per record and layer."""
    frames = []
    for record in records:
        tensors = {
            "skip_weight": record.skip_weights,
            "multiplier": record.multipliers,
            **{name: value for name, value in record.measures.items() if isinstance(value, Tensor)},
        }
        columns = {name: tensor.numpy() for name, tensor in tensors.items() if len(tensor)}
        if columns:
            layers = range(1, len(next(iter(columns.values()))) + 1)
            frames.append(pd.DataFrame({"step": record.step, "layer": layers, **columns}))
    if not frames:
        return pd.DataFrame(columns=list(LAYER_COLUMNS), dtype=float)
    table = pd.concat(frames, ignore_index=True)
    return table.reindex(columns=list(dict.fromkeys((*LAYER_COLUMNS, *table.columns))))
