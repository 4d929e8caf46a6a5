"""What a check says."""

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any


@dataclass(frozen=True)
class Feedback:
    """What a check says.

    Attributes:
        is_right: whether the answer is right.
        message: what is right or wrong about it, and a hint.
    """

    is_right: bool
    message: str

    def __repr__(self) -> str:
        """Show the verdict in words."""
        return f"{'Right' if self.is_right else 'Not yet'}: {self.message}"


def is_number(value: Any) -> bool:
    """Tell whether an answer is a finite number, of Python or NumPy."""
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def compare(value: Any, right: float, tolerance: float, none: str, low: str, high: str) -> Feedback:
    """Return the verdict on a number: a hint where there is none yet, or it is too low or too high."""
    if value is None:
        return Feedback(False, none)
    if not is_number(value):
        hint = " Leave the quotes out." if isinstance(value, str) else ""
        return Feedback(False, f"{value!r} is not a number.{hint}")
    if abs(value - right) <= tolerance:
        return Feedback(True, f"{right:.3g}.")
    return Feedback(False, low if value < right else high)
