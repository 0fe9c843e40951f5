"""The share coordinator of one partition of ``__share_group_state`` (Kafka: ShareCoordinatorShard, KIP-932).

It keeps what leaders of partitions need to go on where another one stopped: per share group and partition the start
offset and the state of the records behind it. A snapshot says all of it, updates say what changed since; once every
share partition has a later snapshot, the log before it is not needed (the topic is not compacted, it is pruned).

Leaders are fenced by their leader epoch, group coordinators by the state epoch. Replies must be held back until what
was appended is committed. Law: ``replay`` of the log into a new shard gives the same :meth:`durable_state`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from engine.core.effects import Effects, Reply
from engine.core.now import Now
from engine.core.share.records import (
    NO_OFFSET,
    UNKNOWN_COUNT,
    LogToPrune,
    ShareEffects,
    SharePartitionKey,
    ShareRecord,
    ShareState,
    batches_of,
    snapshot_record,
    state_from_snapshot,
    tombstone,
    update_record,
)
from engine.core.share.state_batches import StateBatch, combine
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import ZERO_UUID, Uuid
from engine.wire.messages.share_snapshot_key import ShareSnapshotKey
from engine.wire.messages.share_update_key import ShareUpdateKey

_NO_EPOCH = -1


class ShareCoordinatorLimits(NamedTuple):
    """Broker configs under Kafka's names, without ``share.coordinator.`` (ShareCoordinatorConfig)."""

    snapshot_update_records_per_snapshot: int = 500
    state_topic_prune_interval_ms: int = 300_000
    cold_partition_snapshot_interval_ms: int = 300_000


class WrittenState(NamedTuple):
    """What a leader persists of a share partition. -1 leaves an epoch or the start offset as it is."""

    state_epoch: int
    leader_epoch: int
    start_offset: int
    delivery_complete_count: int
    batches: tuple[StateBatch, ...]


class ShareCoordinatorShard:
    """Share partitions of one partition of the topic. One input at a time."""

    __slots__ = (
        "_cold_at_ms",
        "_has_partition",
        "_leader_epochs",
        "_limits",
        "_next_record_offset",
        "_prune_at_ms",
        "_pruned_to",
        "_snapshot_offsets",
        "_state_epochs",
        "_states",
        "_updates",
    )

    def __init__(self, limits: ShareCoordinatorLimits, has_partition: Callable[[Uuid, int], bool]) -> None:
        """``has_partition(topic_id, number)`` tells whether the metadata has a partition."""
        self._limits = limits
        self._has_partition = has_partition
        self._states: dict[SharePartitionKey, ShareState] = {}
        self._leader_epochs: dict[SharePartitionKey, int] = {}
        self._state_epochs: dict[SharePartitionKey, int] = {}
        self._updates: dict[SharePartitionKey, int] = {}
        # Where the latest snapshot of each share partition, or its end, is in the log.
        self._snapshot_offsets: dict[SharePartitionKey, int] = {}
        self._next_record_offset = 0
        self._pruned_to = 0
        self._prune_at_ms: float | None = None
        self._cold_at_ms: float | None = None

    # -- the log ------------------------------------------------------------------------------------------------

    def replay(self, key: Any, value: Any, *, record_offset: int = -1, producer_id: int = -1) -> None:
        """Apply one record of the log."""
        offset = record_offset if record_offset >= 0 else self._next_record_offset
        self._next_record_offset = offset + 1
        partition = SharePartitionKey(key.group_id, key.topic_id, key.partition)
        if isinstance(key, ShareSnapshotKey):
            self._replay_snapshot(partition, value, offset)
        elif isinstance(key, ShareUpdateKey) and value is not None:
            self._replay_update(partition, value)

    def _replay_snapshot(self, key: SharePartitionKey, value: Any, offset: int) -> None:
        if value is None:
            for table in (
                self._states,
                self._leader_epochs,
                self._state_epochs,
                self._updates,
                self._snapshot_offsets,
            ):
                table.pop(key, None)
            return
        state = state_from_snapshot(value)
        self._states[key] = state
        self._leader_epochs[key] = max(self._leader_epochs.get(key, _NO_EPOCH), state.leader_epoch)
        self._state_epochs[key] = max(self._state_epochs.get(key, _NO_EPOCH), state.state_epoch)
        self._snapshot_offsets[key] = offset
        self._updates[key] = 0

    def _replay_update(self, key: SharePartitionKey, value: Any) -> None:
        before = self._states.get(key)
        if before is None:
            return  # the log was cut before its snapshot's end: it was deleted
        start_offset = before.start_offset if value.start_offset == NO_OFFSET else value.start_offset
        leader_epoch = before.leader_epoch if value.leader_epoch == _NO_EPOCH else value.leader_epoch
        self._states[key] = before._replace(
            leader_epoch=leader_epoch,
            start_offset=start_offset,
            delivery_complete_count=value.delivery_complete_count,
            batches=combine((*before.batches, *batches_of(value.state_batches)), start_offset),
        )
        self._leader_epochs[key] = max(self._leader_epochs.get(key, _NO_EPOCH), leader_epoch)
        self._updates[key] = self._updates.get(key, 0) + 1

    def replay_end_transaction_marker(self, producer_id: int, committed: bool) -> None:
        """Nobody writes into this topic in a transaction."""

    def durable_state(self) -> dict[str, object]:
        """What the log says of this shard, in a form that compares."""
        return {
            "states": dict(sorted(self._states.items())),
            "leader_epochs": dict(sorted(self._leader_epochs.items())),
            "state_epochs": dict(sorted(self._state_epochs.items())),
            "updates": dict(sorted(self._updates.items())),
            "snapshots": dict(sorted(self._snapshot_offsets.items())),
        }

    def _append(self, record: ShareRecord, out: ShareEffects) -> None:
        out.append.append(record)
        self.replay(record.key, record.value)

    # -- life and time ------------------------------------------------------------------------------------------

    def on_loaded(self, now: Now) -> ShareEffects:
        """The log has been replayed and this broker leads."""
        self._prune_at_ms = now.monotonic_ms + self._limits.state_topic_prune_interval_ms
        self._cold_at_ms = now.monotonic_ms + self._limits.cold_partition_snapshot_interval_ms
        return Effects()

    def on_unloaded(self, error: ErrorCode = ErrorCode.NOT_COORDINATOR) -> ShareEffects:
        """Nothing is parked here."""
        return Effects()

    def next_deadline_ms(self) -> float | None:
        """When :meth:`on_timer` is due (monotonic milliseconds)."""
        if self._prune_at_ms is None or self._cold_at_ms is None:
            return None
        return min(self._prune_at_ms, self._cold_at_ms)

    def on_timer(self, now: Now) -> ShareEffects:
        """Write snapshots of what has not moved for long, and let go of the log that nobody needs."""
        out: ShareEffects = Effects()
        if self._cold_at_ms is not None and self._cold_at_ms <= now.monotonic_ms:
            self._cold_at_ms = now.monotonic_ms + self._limits.cold_partition_snapshot_interval_ms
            self._snapshot_cold(now, out)
        if self._prune_at_ms is not None and self._prune_at_ms <= now.monotonic_ms:
            self._prune_at_ms = now.monotonic_ms + self._limits.state_topic_prune_interval_ms
            needed = min(self._snapshot_offsets.values(), default=self._next_record_offset)
            if needed > self._pruned_to:
                self._pruned_to = needed
                out.send.append(LogToPrune(needed))
        return out

    def _snapshot_cold(self, now: Now, out: ShareEffects) -> None:
        """Let every share partition have a late snapshot. Not if all have one already, and nothing has moved since."""
        states = self._states
        if all(each.create_timestamp_ms != each.write_timestamp_ms for each in states.values()) and not any(
            self._updates.values()
        ):
            return
        for key, state in sorted(states.items()):
            if now.wall_ms - state.write_timestamp_ms >= self._limits.cold_partition_snapshot_interval_ms:
                again = state._replace(snapshot_epoch=state.snapshot_epoch + 1, write_timestamp_ms=now.wall_ms)
                self._append(snapshot_record(key, again), out)

    # -- requests -----------------------------------------------------------------------------------------------

    def handle_initialize(
        self, key: SharePartitionKey, state_epoch: int, start_offset: int, now: Now, token: object
    ) -> ShareEffects:
        """InitializeShareGroupState of one partition. The reply is None or a KafkaError."""
        out: ShareEffects = Effects()
        try:
            self._check(key)
            if self._state_epochs.get(key, _NO_EPOCH) > state_epoch:
                raise KafkaError(ErrorCode.FENCED_STATE_EPOCH, ErrorCode.FENCED_STATE_EPOCH.name)
        except KafkaError as error:
            out.reply.append(Reply(token, error))
            return out
        before = self._states.get(key)
        state = ShareState(
            snapshot_epoch=0 if before is None else before.snapshot_epoch + 1,
            state_epoch=state_epoch,
            leader_epoch=0,
            start_offset=start_offset,
            delivery_complete_count=UNKNOWN_COUNT if start_offset == NO_OFFSET else 0,
            create_timestamp_ms=now.wall_ms,
            write_timestamp_ms=now.wall_ms,
        )
        self._append(snapshot_record(key, state), out)
        out.reply.append(Reply(token, None))
        return out

    def handle_read(self, key: SharePartitionKey, leader_epoch: int, now: Now, token: object) -> ShareEffects:
        """ReadShareGroupState of one partition. The reply is a ShareState or a KafkaError.

        A later leader epoch is written down, so that the leader before it can write no more.
        """
        out: ShareEffects = Effects()
        try:
            self._check(key)
            if self._leader_epochs.get(key, _NO_EPOCH) > leader_epoch:
                raise _fenced_leader()
            if key not in self._states:
                raise _uninitialized("Read")
        except KafkaError as error:
            out.reply.append(Reply(token, error))
            return out
        state = self._states[key]
        if self._leader_epochs.get(key, _NO_EPOCH) < leader_epoch:
            kept = WrittenState(state.state_epoch, leader_epoch, state.start_offset, state.delivery_complete_count, ())
            self._append(self._record_of(key, kept, now), out)
        out.reply.append(Reply(token, self._states[key]))
        return out

    def handle_write(self, key: SharePartitionKey, written: WrittenState, now: Now, token: object) -> ShareEffects:
        """WriteShareGroupState of one partition. The reply is None or a KafkaError."""
        out: ShareEffects = Effects()
        try:
            self._check(key)
            if key not in self._states:
                raise _uninitialized("Write")
            if self._leader_epochs.get(key, _NO_EPOCH) > written.leader_epoch:
                raise _fenced_leader()
            if self._state_epochs.get(key, _NO_EPOCH) > written.state_epoch:
                raise KafkaError(ErrorCode.FENCED_STATE_EPOCH, ErrorCode.FENCED_STATE_EPOCH.name)
        except KafkaError as error:
            out.reply.append(Reply(token, error))
            return out
        self._append(self._record_of(key, written, now), out)
        out.reply.append(Reply(token, None))
        return out

    def handle_delete(self, key: SharePartitionKey, token: object) -> ShareEffects:
        """DeleteShareGroupState of one partition; one that is not there is deleted. The reply is None or a
        KafkaError."""
        out: ShareEffects = Effects()
        try:
            self._check(key)
        except KafkaError as error:
            out.reply.append(Reply(token, error))
            return out
        if key in self._states:
            self._append(tombstone(key), out)
        out.reply.append(Reply(token, None))
        return out

    def handle_read_summary(self, key: SharePartitionKey, token: object) -> ShareEffects:
        """ReadShareGroupStateSummary of one partition. The reply is a ShareState (with start offset -1 for one that
        nobody initialized) or a KafkaError."""
        out: ShareEffects = Effects()
        try:
            self._check(key)
        except KafkaError as error:
            out.reply.append(Reply(token, error))
            return out
        nothing = ShareState(0, 0, 0, NO_OFFSET, UNKNOWN_COUNT, 0, 0)
        out.reply.append(Reply(token, self._states.get(key, nothing)))
        return out

    def _record_of(self, key: SharePartitionKey, written: WrittenState, now: Now) -> ShareRecord:
        """An update, or a snapshot when there are enough of those."""
        state = self._states[key]
        leader_epoch = state.leader_epoch if written.leader_epoch == _NO_EPOCH else written.leader_epoch
        if self._updates.get(key, 0) < self._limits.snapshot_update_records_per_snapshot:
            return update_record(
                key,
                snapshot_epoch=state.snapshot_epoch,
                leader_epoch=leader_epoch,
                start_offset=written.start_offset,
                delivery_complete_count=written.delivery_complete_count,
                batches=combine(written.batches, written.start_offset),
            )
        start_offset = state.start_offset if written.start_offset == NO_OFFSET else written.start_offset
        return snapshot_record(
            key,
            ShareState(
                snapshot_epoch=state.snapshot_epoch + 1,
                state_epoch=state.state_epoch,
                leader_epoch=leader_epoch,
                start_offset=start_offset,
                delivery_complete_count=written.delivery_complete_count,
                create_timestamp_ms=now.wall_ms,
                write_timestamp_ms=now.wall_ms,
                batches=combine((*state.batches, *written.batches), start_offset),
            ),
        )

    def _check(self, key: SharePartitionKey) -> None:
        if not key.group_id or key.topic_id == ZERO_UUID or key.partition < 0:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST, "a share partition has a group id, a topic id and a number from 0 on"
            )
        if not self._has_partition(key.topic_id, key.partition):
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "This server does not host this topic-partition.")


def _fenced_leader() -> KafkaError:
    return KafkaError(
        ErrorCode.FENCED_LEADER_EPOCH, "The leader epoch in the request is older than the epoch on the broker."
    )


def _uninitialized(operation: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REQUEST, f"{operation} operation on uninitialized share partition not allowed.")
