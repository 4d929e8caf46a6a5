"""Configs: whatever a value is, a config takes it or says in one sentence what it expects."""

from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from van_tutorial import models, playground, training

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
    st.sampled_from([..., 2**64, -(2**63), 1e308, float, "van", "batch", "none", "cosine"]),
)
CONFIGS = (
    training.TrainConfig,
    models.MLPConfig,
    models.ConvNetConfig,
    models.MSNetConfig,
    playground.Settings,
)


@pytest.mark.parametrize("config", CONFIGS)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_value_of_any_kind_is_taken_or_refused_in_one_sentence(config, data):
    names = [field.name for field in fields(config)]
    chosen = data.draw(st.dictionaries(st.sampled_from(names), VALUES, min_size=1, max_size=2))
    try:
        config(**chosen)
    except ValueError as error:
        assert str(error).endswith((".", "?"))
        assert "\n" not in str(error)
