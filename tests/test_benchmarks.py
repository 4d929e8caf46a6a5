"""What benchmarks compare does the same work on both sides."""

import pytest
import torch

from benchmarks.script import COLUMNS, our_epochs, script_epochs
from van_tutorial import data


@pytest.mark.parametrize("connection", ["plain", "van"])
def test_the_script_that_the_trainer_is_timed_against_comes_to_the_same_losses_and_accuracies(connection):
    images = data.load()
    ours, theirs = our_epochs(connection, images), script_epochs(connection, images)
    for _ in range(2):
        one, other = next(ours), next(theirs)
        for name in COLUMNS:
            torch.testing.assert_close(other[name], one[name], rtol=1e-4, atol=0.0)
