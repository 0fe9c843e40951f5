"""What the partition machine asks of its shell (the type parameters of its Effects)."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from engine.core.effects import Effects
from engine.model.errors import ErrorCode
from engine.model.ids import Uuid
from engine.model.topic_partition import TopicPartition


class StartLeaderEpoch(NamedTuple):
    """Append: note in the leader epoch cache that ``leader_epoch`` begins at ``start_offset``, records or none.

    A follower with records of a later epoch than any record here can then be told where to truncate (KIP-279).
    """

    leader_epoch: int
    start_offset: int


class AlterPartition(NamedTuple):
    """Send: ask the controller for another ISR. ``new_isr`` has (broker id, broker epoch) by id; -1: epoch not heard.

    Hand the answer back to ``Partition.on_alter_partition_response`` with this value.
    """

    topic_partition: TopicPartition
    topic_id: Uuid
    leader_epoch: int
    partition_epoch: int
    new_isr: tuple[tuple[int, int], ...]


class AppendCommitted(NamedTuple):
    """Reply: what became of an append that waited for acks=all. ``error`` is NONE when it is committed."""

    topic_partition: TopicPartition
    error: ErrorCode


PartitionEffects: TypeAlias = Effects[StartLeaderEpoch, AlterPartition]

# Most steps of the hot path ask for nothing. Shared: never add to it.
NOTHING: PartitionEffects = Effects()
