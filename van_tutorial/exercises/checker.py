"""How every answer is checked: expected value, known slips, and what `messages.toml` says of each.

A table of `messages.toml` holds the words of one check: `hint` (how to begin), `right`, `slips` by name, `raised` (by a
part of the error), and for any other wrong answer `wrong`, or `too_small` and `too_large`; what is said of any check
stands under `general`. Braces are filled in as by `str.format`: `answer`, `expected`, `hint`, and words of the check.
"""

import html
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

MESSAGES = tomllib.loads(Path(__file__).with_name("messages.toml").read_text(encoding="utf-8"))
GENERAL = MESSAGES["general"]
ROUNDED_ACCURACY = 0.00051  # half a thousandth, and a little for rounding errors


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

    def _repr_html_(self) -> str:
        """Show it in a page, whose lines break between words."""
        verdict, _, message = repr(self).partition(": ")
        return f"<b>{verdict}:</b> {html.escape(message)}"


@dataclass(frozen=True)
class Check:
    """The table of one answer.

    An answer is compared with the expected one first, then with the slips from the first to the last. How close is
    close enough follows from the value that it is compared with: an integer is met exactly, a float to two
    significant digits, a tensor within 1e-4 in each entry.

    Args:
        expected: a number, a boolean, a string or a tensor; None where any answer without a slip is right.
        slips: by the name that messages use, a known wrong answer, or a function that tells whether an answer is wrong.
        tolerance: error that is accepted in any case, such as half a thousandth for an accuracy on 1,000 images.
        words: by the name that messages use, what is filled in, or a function that gets the answer and returns it.
        messages: the check's table of `messages.toml`.

    Example:
        >>> messages = {"hint": "How many?", "slips": {"inverse": "upside down."}, "wrong": "{answer} is not it."}
        >>> check = Check(0.25, {"inverse": 4.0}, messages=messages)
        >>> [check.judge(answer) for answer in (None, 4.0, 0.2, 0.254)]
        [Not yet: no answer yet. How many? (Two significant digits are enough.), Not yet: upside down., Not yet: 0.2 \
is not it., Right: 0.25.]
    """

    expected: Any = None
    slips: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 0.0
    words: Mapping[str, Any] = field(default_factory=dict)
    messages: Mapping[str, Any] = field(default_factory=dict)

    def judge(self, answer: Any) -> Feedback:
        """Return the verdict on an answer, with a hint where it is not right.

        Args:
            answer: the learner's; None or `...` where there is none yet. Scalars of NumPy and PyTorch count as numbers.

        Returns:
            The verdict; this never raises on an answer of another type than the expected one.
        """
        answer = self.convert(answer)
        slip = self.find_slip(answer)
        return Feedback(slip is None, self.say(slip or "right", answer))

    def convert(self, answer: Any) -> Any:
        """Return an answer as a tensor where one is expected, and a scalar of NumPy or PyTorch as Python's."""
        if isinstance(self.expected, Tensor) and not isinstance(answer, Real):
            try:
                return torch.as_tensor(answer).detach().to(self.expected)
            except (TypeError, ValueError, RuntimeError):
                return answer
        is_scalar = isinstance(answer, np.generic) or (isinstance(answer, Tensor) and answer.numel() == 1)
        return answer.item() if is_scalar else answer

    def find_slip(self, answer: Any) -> str | None:
        """Return the name of the slip that an answer is; None where it is right."""
        slip = self.find_type_slip(answer)
        if slip or self.is_near(answer, self.expected):
            return slip
        for name, value in self.slips.items():
            if value(answer) if callable(value) else self.is_near(answer, value):
                return name
        if self.expected is None:
            return None
        if "too_large" not in self.messages:
            return "wrong"
        return "too_large" if answer > self.expected else "too_small"

    def find_type_slip(self, answer: Any) -> str | None:
        """Return why an answer cannot be compared with the expected one; None where it can."""
        if answer is None or answer is ...:
            return "missing_float" if isinstance(self.expected, float) else "missing"
        if isinstance(self.expected, bool):
            return None if isinstance(answer, bool) else "not_boolean"
        if isinstance(self.expected, Tensor):
            if not isinstance(answer, Tensor):
                return "not_tensor"
            return None if answer.shape == self.expected.shape else "shape"
        return "not_number" if is_no_number(answer) and not is_no_number(self.expected) else None

    def is_near(self, answer: Any, value: Any) -> bool:
        """Tell whether an answer is a value, as near as the value's type asks for."""
        if isinstance(value, Tensor):
            return torch.allclose(answer, value.to(answer), rtol=0.0, atol=max(self.tolerance, 1e-4))
        if isinstance(value, bool | str):
            return type(answer) is type(value) and bool(answer == value)
        if is_no_number(answer) or is_no_number(value):
            return False
        error = 1e-3  # of a count that was worked out in floating point
        if isinstance(value, float):
            size = min(abs(answer), abs(value))  # of the two, so that 0.95 is not 1.0
            error = 0.51 * 10.0 ** (math.floor(math.log10(size)) - 1) if size else 0.0
        error = max(self.tolerance, error)
        return bool(value - error <= answer <= value + error)

    def say(self, name: str, answer: Any) -> str:
        """Return one of the messages, filled in; the check's own stand before the general ones."""
        messages = {**GENERAL, **self.messages, **self.messages.get("slips", {})}
        message = messages[name].replace("{hint}", messages.get("hint", ""))
        quotes = GENERAL["quotes"] if isinstance(answer, str) else ""
        words = {"answer": answer, "expected": self.expected, "quotes": quotes}
        for word, value in (("answer_shape", answer), ("expected_shape", self.expected)):
            words[word] = tuple(value.shape) if isinstance(value, Tensor) else None
        for word, value in self.words.items():
            if f"{{{word}" in message:  # the others need not suit this answer
                words[word] = value(answer) if callable(value) else value
        return message.format(**words)


def is_no_number(answer: Any) -> bool:
    """Tell whether an answer is anything but a finite number."""
    is_real = isinstance(answer, Real) and not isinstance(answer, bool)
    return not is_real or not abs(answer) < math.inf


def judge(name: str, answer: Any, check: Check, **words: Any) -> Feedback:
    """Return the verdict on an answer.

    Args:
        name: of the messages.
        answer: the learner's; None where there is none yet.
        check: the table of the answer; its messages are found by the name.
        words: what is filled into the messages, as in `Check`.

    Returns:
        The verdict with a hint.
    """
    return replace(check, words=words, messages=MESSAGES[name]).judge(answer)


def judge_each(name: str, answers: Mapping[Any, Any], checks: Mapping[Any, Check], **words: Any) -> Feedback:
    """Return the verdict on the first answer that is missing or wrong, with its name; right where all are.

    Args:
        name: of the messages; a table in it holds those of one answer.
        answers: the learner's by name; None, or no entry, where there is none yet.
        checks: the table of each, in the order in which they are judged; the messages are found by the name.
        words: what is filled into the messages of all.

    Returns:
        The verdict with a hint.
    """
    messages = MESSAGES[name]
    for key, check in checks.items():
        own = {**messages, **messages[key], "right": ""}  # what is right is said once, of all
        verdict = replace(check, words={**words, **check.words}, messages=own).judge(answers.get(key))
        if not verdict.is_right:
            return Feedback(False, f"{key}: {verdict.message}")
    return Feedback(True, Check(words=words, messages=messages).say("right", None))


def judge_function(
    name: str, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], check: Check, **words: Any
) -> Feedback:
    """Return the verdict on a function of the learner's: it is called, and what it returns is judged.

    Args:
        name: of the messages.
        function: the learner's; returns None while it is a stub.
        calls: arguments of each call; tensors are copied first. With several calls each must return one number, and
            these are judged together, as a tensor.
        check: the table of what is returned; its messages are found by the name.
        words: what is filled into the messages.

    Returns:
        The verdict with a hint; what the function raises is part of it.
    """
    check = replace(check, words=words, messages=MESSAGES[name])
    try:
        results = [function(*(a.clone() if isinstance(a, Tensor) else a for a in call)) for call in calls]
        missing = [result is None for result in results]
        if any(missing):
            name = "returns_none" if all(missing) else "returns_none_for_some"
            return Feedback(False, check.say(name, None))
        found = results[0] if len(calls) == 1 else torch.tensor([float(result) for result in results])
    except Exception as error:  # of a learner's function
        hints = {**check.messages.get("raised", {}), **GENERAL["raised"]}
        hint = next((f" {hint}" for part, hint in hints.items() if part in str(error)), "")
        return Feedback(False, f"it raised {type(error).__name__}: {error}.{hint}")
    return check.judge(found)
