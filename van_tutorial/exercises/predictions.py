"""A learner's predictions and the results, in one table."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import pandas as pd


def beside(predictions: Mapping[str, Any], results: Mapping[str, Any]) -> pd.DataFrame:
    """Return a learner's predictions and the results, side by side.

    Nothing is judged: a prediction that was wrong has done its work.

    Args:
        predictions: the learner's, by question; None, or no entry, where there is none yet.
        results: by question; their order is the table's.

    Returns:
        A table with a row for each question and the columns prediction and result: numbers to three digits, a dash
        where nothing was predicted.

    Example:
        >>> print(beside({"accuracy": 0.5, "better": None}, {"accuracy": 0.1234, "better": "residual"}))
                 prediction    result
        accuracy        0.5     0.123
        better            –  residual
    """
    rows = {name: (shown(predictions.get(name)), shown(result)) for name, result in results.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["prediction", "result"], dtype=object)


def shown(value: Any) -> str:
    """Return an answer as it stands in the table."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, Real):
        return {"True": "yes", "False": "no"}.get(str(value), str(value))
    number = float(value)
    return f"{number:.0f}" if 100 <= abs(number) < 1e6 else f"{number:.3g}"
