"""The checks: they hint, and they do not raise on an untouched stub."""

from types import SimpleNamespace

import pytest

from van_tutorial import exercises


def run(steps, removed_by="multipliers", accuracy=0.7):
    return SimpleNamespace(
        first_zero_steps=steps, num_steps=100, removed_by=removed_by, test_accuracy=accuracy
    )


@pytest.mark.parametrize(
    ("result", "is_right", "words"),
    [
        (None, False, "no run yet"),
        (run(()), False, "no skip weights"),
        (run((10, None)), False, "1 of 2 skips never reached 0"),
        (run((10, 30), removed_by="cap"), False, "the cap took"),
        (run((5, 10)), False, "about a quarter"),
        (run((10, 60)), False, "about four times"),
        (run((10, 30)), True, "after 30%"),
    ],
)
def test_the_removal_check_says_what_is_wrong_and_how_to_go_on(result, is_right, words):
    feedback = exercises.check_removal_window(result, earliest=0.2, latest=0.4)
    assert feedback.is_right is is_right
    assert words in feedback.message
    assert repr(feedback).startswith("Right" if is_right else "Not yet")


@pytest.mark.parametrize(
    ("cost", "hurried", "is_right", "words"),
    [
        (None, None, False, "no hurried run"),
        (None, run(()), False, "no number yet"),
        (0.1, run((), accuracy=0.7), True, "cost 0.100"),
        (-0.1, run((), accuracy=0.7), False, "wrong way round"),
        (0.3, run((), accuracy=0.7), False, "not the difference"),
        (-0.05, run((), accuracy=0.85), True, "gained 0.050"),
    ],
)
def test_the_cost_check_knows_the_sign(cost, hurried, is_right, words):
    feedback = exercises.check_cost(cost, run((), accuracy=0.8), hurried)
    assert feedback.is_right is is_right
    assert words in feedback.message
