"""Committed offsets of all groups of one shard (the state of Kafka's OffsetMetadataManager)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from engine.model.ids import ZERO_UUID, Uuid

INVALID_OFFSET = -1
NO_LEADER_EPOCH = -1
NO_PRODUCER_ID = -1
NO_EXPIRE_TIMESTAMP_MS = -1


class OffsetAndMetadata(NamedTuple):
    """One committed offset. Timestamps in wall-clock milliseconds; ``record_offset`` is where its record stands."""

    committed_offset: int
    leader_epoch: int
    metadata: str
    commit_timestamp_ms: int
    expire_timestamp_ms: int
    topic_id: Uuid
    record_offset: int

    def is_expired(self, base_timestamp_ms: int, now_wall_ms: int, retention_ms: int) -> bool:
        """Whether the offset may go: by its own expiry (OffsetCommit v2-v4) or by offsets.retention.minutes."""
        if self.expire_timestamp_ms != NO_EXPIRE_TIMESTAMP_MS:
            return now_wall_ms >= self.expire_timestamp_ms
        return now_wall_ms - base_timestamp_ms >= retention_ms


_ByTopic: TypeAlias = dict[str, dict[int, OffsetAndMetadata]]


class OffsetTable:
    """Group, topic, partition → offset; empty levels are removed."""

    __slots__ = ("by_group",)

    def __init__(self) -> None:
        self.by_group: dict[str, _ByTopic] = {}

    def get(self, group_id: str, topic: str, partition: int) -> OffsetAndMetadata | None:
        return self.by_group.get(group_id, {}).get(topic, {}).get(partition)

    def put(self, group_id: str, topic: str, partition: int, offset: OffsetAndMetadata) -> None:
        self.by_group.setdefault(group_id, {}).setdefault(topic, {})[partition] = offset

    def remove(self, group_id: str, topic: str, partition: int) -> None:
        topics = self.by_group.get(group_id)
        if topics is None or topic not in topics:
            return
        partitions = topics[topic]
        partitions.pop(partition, None)
        if not partitions:
            del topics[topic]
            if not topics:
                del self.by_group[group_id]

    def of_group(self, group_id: str) -> Iterator[tuple[str, int, OffsetAndMetadata]]:
        """Offsets of a group in order of topic and partition; safe against removal while iterating."""
        topics = self.by_group.get(group_id, {})
        for topic in sorted(topics):
            for partition, offset in sorted(topics[topic].items()):
                yield topic, partition, offset

    def __len__(self) -> int:
        return sum(len(partitions) for topics in self.by_group.values() for partitions in topics.values())


class OffsetStore:
    """Committed offsets and, apart from them, those of transactions that have not ended.

    Those count only when their transaction's commit marker follows (KIP-98), and ``require_stable`` readers see them as
    pending (KIP-447).
    """

    __slots__ = ("committed", "pending_by_producer")

    def __init__(self) -> None:
        self.committed = OffsetTable()
        self.pending_by_producer: dict[int, OffsetTable] = {}

    def replay_commit(
        self, producer_id: int, group_id: str, topic: str, partition: int, offset: OffsetAndMetadata
    ) -> None:
        """An OffsetCommit record with a value."""
        if producer_id == NO_PRODUCER_ID:
            self.committed.put(group_id, topic, partition, offset)
        else:
            self.pending_by_producer.setdefault(producer_id, OffsetTable()).put(group_id, topic, partition, offset)

    def replay_tombstone(self, group_id: str, topic: str, partition: int) -> None:
        """An OffsetCommit record without a value: it removes pending commits of that partition too."""
        self.committed.remove(group_id, topic, partition)
        for pending in self.pending_by_producer.values():
            pending.remove(group_id, topic, partition)

    def replay_end_transaction(self, producer_id: int, committed: bool) -> None:
        """A transaction's end marker: its offsets count from now on, or never."""
        pending = self.pending_by_producer.pop(producer_id, None)
        if pending is None or not committed:
            return
        for group_id in list(pending.by_group):
            for topic, partition, offset in pending.of_group(group_id):
                existing = self.committed.get(group_id, topic, partition)
                # The later record wins, also over a plain commit inside the transaction's span: compaction of the
                # log would keep that one too.
                if existing is None or offset.record_offset > existing.record_offset:
                    self.committed.put(group_id, topic, partition, offset)

    def has_pending(self, group_id: str, topic: str, partition: int) -> bool:
        """An open transaction has committed an offset for the partition."""
        return any(table.get(group_id, topic, partition) for table in self.pending_by_producer.values())

    def has_open_transaction(self, group_id: str) -> bool:
        return any(group_id in table.by_group for table in self.pending_by_producer.values())


def is_mismatched_topic_id(stored: Uuid, requested: Uuid) -> bool:
    """The offset belongs to an earlier topic of the same name (both ids are known and differ)."""
    return stored != ZERO_UUID and requested != ZERO_UUID and stored != requested
