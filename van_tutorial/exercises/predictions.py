"""What a learner predicted, beside what came."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import pandas as pd


def beside(predicted: Mapping[str, Any], came: Mapping[str, Any]) -> pd.DataFrame:
    """Return a learner's predictions beside what came.

    Nothing is judged: a prediction that was wrong has done its work.

    Args:
        predicted: the learner's, by question; None, or no entry, where there is none yet.
        came: what came, by question; its order is the table's.

    Returns:
        A table with a row for each question and the columns predicted and came: numbers to three digits, a dash
        where nothing was predicted.

    Example:
        >>> print(beside({"accuracy": 0.5, "better": None}, {"accuracy": 0.1234, "better": "residual"}))
                 predicted      came
        accuracy       0.5     0.123
        better           –  residual
    """
    rows = {question: (shown(predicted.get(question)), shown(value)) for question, value in came.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["predicted", "came"], dtype=object)


def shown(value: Any) -> str:
    """Return an answer as it stands in the table."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, Real):
        return {"True": "yes", "False": "no"}.get(str(value), str(value))
    number = float(value)
    return f"{number:.0f}" if 100 <= abs(number) < 1e6 else f"{number:.3g}"
