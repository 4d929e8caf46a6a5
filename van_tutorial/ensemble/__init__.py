"""Many networks of one shape, trained at once along a leading dimension."""

from van_tutorial.ensemble.shape import MAY_DIFFER, check_same_shape
from van_tutorial.ensemble.trainer import Trainer, train

__all__ = ["MAY_DIFFER", "Trainer", "check_same_shape", "train"]
