"""Combining lists of state batches, against the state of each offset."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.share.state_batches import StateBatch, combine


@st.composite
def batches(draw: st.DrawFn) -> StateBatch:
    first = draw(st.integers(0, 30))
    return StateBatch(
        first, first + draw(st.integers(0, 12)), draw(st.sampled_from((0, 2, 4))), draw(st.integers(0, 3))
    )


@given(st.lists(batches(), max_size=8), st.integers(-1, 40))
@settings(max_examples=300, deadline=None)
def test_each_offset_has_the_latest_of_its_states(given_batches: list[StateBatch], start_offset: int) -> None:
    model: dict[int, tuple[int, int]] = {}
    for first, last, state, count in given_batches:
        for offset in range(max(first, start_offset), last + 1):
            model[offset] = max(model.get(offset, (-1, -1)), (count, state))
    combined = combine(given_batches, start_offset)
    found = [
        (offset, (batch.delivery_count, batch.state))
        for batch in combined
        for offset in range(batch.first_offset, batch.last_offset + 1)
    ]
    assert found == sorted(model.items())
    for before, after in pairwise(combined):
        assert before.last_offset < after.first_offset
        assert before.last_offset + 1 < after.first_offset or before[2:] != after[2:], "neighbours that say the same"
