"""The table of states."""

from __future__ import annotations

import pytest

from engine.core.group.classic_group import ClassicGroup
from engine.core.group.context import Now
from engine.core.group.states import LEGAL_PREDECESSORS, GroupState

# Written out from ClassicGroupState, the other way round than the table under test.
LEGAL_SUCCESSORS = {
    GroupState.EMPTY: {GroupState.PREPARING_REBALANCE, GroupState.DEAD},
    GroupState.PREPARING_REBALANCE: {GroupState.COMPLETING_REBALANCE, GroupState.EMPTY, GroupState.DEAD},
    GroupState.COMPLETING_REBALANCE: {GroupState.STABLE, GroupState.PREPARING_REBALANCE, GroupState.DEAD},
    GroupState.STABLE: {GroupState.PREPARING_REBALANCE, GroupState.DEAD},
    GroupState.DEAD: {GroupState.DEAD},
}


@pytest.mark.parametrize("before", list(GroupState))
@pytest.mark.parametrize("after", list(GroupState))
def test_only_kafkas_transitions_are_legal(before: GroupState, after: GroupState) -> None:
    group = ClassicGroup("g", before, None)
    if after in LEGAL_SUCCESSORS[before]:
        group.transition_to(after, Now(0.0, 5))
        assert (group.previous_state, group.state, group.current_state_timestamp_ms) == (before, after, 5)
    else:
        with pytest.raises(AssertionError, match=f"{before} -> {after}"):
            group.transition_to(after, Now(0.0, 5))


def test_every_state_has_its_predecessors_listed() -> None:
    assert set(LEGAL_PREDECESSORS) == set(GroupState)
