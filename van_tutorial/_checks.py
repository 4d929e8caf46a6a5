"""Checks of arguments: one sentence with what was expected, what was given, and the choices there are."""

import math
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raise unless `value` is one of `choices`; a near miss is named."""
    choices = list(choices)
    if value not in choices:
        hint = did_you_mean(value, choices)
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}.{hint}")


def did_you_mean(value: Any, choices: Iterable[Any]) -> str:
    """Return the sentence that names the choice nearest to a string; nothing where none is near."""
    near = get_close_matches(value, map(str, choices), n=1) if isinstance(value, str) else []
    return f" Did you mean {near[0]!r}?" if near else ""


def check_count(name: str, value: Any, minimum: int = 1) -> None:
    """Raise unless `value` is an integer of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(f"{name} must be an integer of at least {minimum}, got {value!r}.")


def check_seed(seed: Any) -> None:
    """Raise unless `seed` is one that torch's generators take."""
    check_count("seed", seed, minimum=0)
    if seed >= 2**64:
        raise ValueError(f"seed must be below 2**64, got {seed}.")


def check_flag(name: str, value: Any) -> None:
    """Raise unless `value` is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}.")


def check_range(
    name: str, value: Any, low: float, high: float, open_low: bool = False, open_high: bool = False
) -> None:
    """Raise unless `value` is a finite number in [low, high]; an open end is not in it."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    is_above = is_number and (low < value if open_low else low <= value)
    is_below = is_number and (value < high if open_high else value <= high)
    if not is_above or not is_below:
        if high == float("inf"):
            bounds = f"{'above' if open_low else 'at least'} {low:g}"
        else:
            bounds = f"in {'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
        raise ValueError(f"{name} must be a number {bounds}, got {value!r}.")
