"""Training: an iterator of records."""

from van_tutorial.training.config import TrainConfig
from van_tutorial.training.evaluation import accuracy, settle_statistics
from van_tutorial.training.losses import distillation
from van_tutorial.training.phase_out import PhaseOut, default_dual_lr
from van_tutorial.training.records import Record, TrainResult
from van_tutorial.training.trainer import (
    CheckpointError,
    DivergenceError,
    Trainer,
    pick_device,
    train,
)

__all__ = [
    "CheckpointError",
    "DivergenceError",
    "PhaseOut",
    "Record",
    "TrainConfig",
    "TrainResult",
    "Trainer",
    "accuracy",
    "default_dual_lr",
    "distillation",
    "pick_device",
    "settle_statistics",
    "train",
]
