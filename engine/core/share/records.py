"""Records of ``__share_group_state`` as Kafka 4.3 writes them (ShareCoordinatorRecordHelpers), and what they say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

from engine.core.effects import Effects
from engine.core.share.state_batches import StateBatch
from engine.model.ids import Uuid, uuid_to_str
from engine.wire.messages.share_snapshot_key import ShareSnapshotKey
from engine.wire.messages.share_snapshot_value import ShareSnapshotValue
from engine.wire.messages.share_snapshot_value import StateBatch as SnapshotBatch
from engine.wire.messages.share_update_key import ShareUpdateKey
from engine.wire.messages.share_update_value import ShareUpdateValue
from engine.wire.messages.share_update_value import StateBatch as UpdateBatch

NO_OFFSET = -1
UNKNOWN_COUNT = -1
_VERSION = 0


class SharePartitionKey(NamedTuple):
    """A partition as one share group reads it."""

    group_id: str
    topic_id: Uuid
    partition: int

    def coordinator_key(self) -> str:
        """What its coordinator is looked up with (FindCoordinator, key type 2)."""
        return f"{self.group_id}:{uuid_to_str(self.topic_id)}:{self.partition}"


class ShareState(NamedTuple):
    """What is durable of a share partition (ShareGroupOffset). Times in ms of the wall clock; ``start_offset`` -1
    while nobody has fetched; ``delivery_complete_count`` of final records behind the start, -1 if not known."""

    snapshot_epoch: int
    state_epoch: int
    leader_epoch: int
    start_offset: int
    delivery_complete_count: int
    create_timestamp_ms: int
    write_timestamp_ms: int
    batches: tuple[StateBatch, ...] = ()


class ShareRecord(NamedTuple):
    """One record to append; ``value`` None is a tombstone."""

    key: ShareSnapshotKey | ShareUpdateKey
    value: ShareSnapshotValue | ShareUpdateValue | None
    value_version: int = _VERSION


class LogToPrune(NamedTuple):
    """Nothing before ``offset`` of the partition's log is needed any more."""

    offset: int


ShareEffects: TypeAlias = Effects[ShareRecord, LogToPrune]
"""Replies and sends must be held back until everything appended so far is committed."""


def snapshot_record(key: SharePartitionKey, state: ShareState) -> ShareRecord:
    """All of a share partition."""
    value = ShareSnapshotValue(
        snapshot_epoch=state.snapshot_epoch,
        state_epoch=state.state_epoch,
        leader_epoch=state.leader_epoch,
        start_offset=state.start_offset,
        delivery_complete_count=state.delivery_complete_count,
        create_timestamp=state.create_timestamp_ms,
        write_timestamp=state.write_timestamp_ms,
        state_batches=[SnapshotBatch(*each) for each in state.batches],
    )
    return ShareRecord(ShareSnapshotKey(*key), value)


def update_record(
    key: SharePartitionKey,
    *,
    snapshot_epoch: int,
    leader_epoch: int,
    start_offset: int,
    delivery_complete_count: int,
    batches: Iterable[StateBatch],
) -> ShareRecord:
    """What changed since the snapshot of the same epoch."""
    value = ShareUpdateValue(
        snapshot_epoch=snapshot_epoch,
        leader_epoch=leader_epoch,
        start_offset=start_offset,
        delivery_complete_count=delivery_complete_count,
        state_batches=[UpdateBatch(*each) for each in batches],
    )
    return ShareRecord(ShareUpdateKey(*key), value)


def tombstone(key: SharePartitionKey) -> ShareRecord:
    """The end of a share partition."""
    return ShareRecord(ShareSnapshotKey(*key), None)


def batches_of(messages: Iterable[Any]) -> tuple[StateBatch, ...]:
    """State batches of a record or a request."""
    return tuple(
        StateBatch(each.first_offset, each.last_offset, each.delivery_state, each.delivery_count) for each in messages
    )


def state_from_snapshot(value: ShareSnapshotValue) -> ShareState:
    """What a snapshot says."""
    return ShareState(
        value.snapshot_epoch,
        value.state_epoch,
        value.leader_epoch,
        value.start_offset,
        value.delivery_complete_count,
        value.create_timestamp,
        value.write_timestamp,
        batches_of(value.state_batches),
    )
