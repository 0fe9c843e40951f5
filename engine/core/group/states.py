"""The five states of a classic group and the table of legal transitions (Kafka: ClassicGroupState)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class GroupState(StrEnum):
    """Named as ListGroups and DescribeGroups name them."""

    EMPTY = "Empty"
    """No members; lives on while it has committed offsets. Also a group that only commits offsets."""

    PREPARING_REBALANCE = "PreparingRebalance"
    """JoinGroup requests are parked until all known members have rejoined or the rebalance timeout passes."""

    COMPLETING_REBALANCE = "CompletingRebalance"
    """A generation exists; SyncGroup requests are parked until the leader sends the assignment."""

    STABLE = "Stable"
    """Every member has (or can fetch) its assignment."""

    DEAD = "Dead"
    """Removed, or unloaded from this broker. Nothing follows."""


LEGAL_PREDECESSORS: Mapping[GroupState, frozenset[GroupState]] = {
    GroupState.EMPTY: frozenset({GroupState.PREPARING_REBALANCE}),
    GroupState.PREPARING_REBALANCE: frozenset({GroupState.STABLE, GroupState.COMPLETING_REBALANCE, GroupState.EMPTY}),
    GroupState.COMPLETING_REBALANCE: frozenset({GroupState.PREPARING_REBALANCE}),
    GroupState.STABLE: frozenset({GroupState.COMPLETING_REBALANCE}),
    GroupState.DEAD: frozenset(GroupState),
}
