"""One member of a consumer group (Kafka: ConsumerGroupMember, KIP-848).

Members are values: a change makes another one, and only records put it into a group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from engine.model.ids import Uuid

JOIN_MEMBER_EPOCH = 0
LEAVE_MEMBER_EPOCH = -1
LEAVE_STATIC_MEMBER_EPOCH = -2
"""Member epochs of a heartbeat that join, leave, and leave for a while (ConsumerGroupHeartbeatRequest)."""

Partitions: TypeAlias = Mapping[Uuid, frozenset[int]]
"""Partitions by topic id; no topic is without partitions. Never changed."""

OwnedPartitions: TypeAlias = Mapping[Uuid, Mapping[int, int]]
"""The same, with the member epoch in which the member got each partition (KIP-1251). Never changed."""

NO_PARTITIONS: Partitions = {}
OWNS_NOTHING: OwnedPartitions = {}


class MemberState(IntEnum):
    """How far a member has come on the way to its target assignment; numbers as in the records."""

    STABLE = 0
    """It has all of what its epoch gives it."""

    UNREVOKED_PARTITIONS = 1
    """It has been told to give up partitions and has not said yet that it did: it stays in its epoch."""

    UNRELEASED_PARTITIONS = 2
    """It is in the target's epoch, and waits for partitions that others have not given up yet."""

    UNKNOWN = 127
    """A state that a later version wrote."""

    @classmethod
    def from_value(cls, value: int) -> MemberState:
        return cls(value) if value in (0, 1, 2) else cls.UNKNOWN


class ClassicMetadata(NamedTuple):
    """What a member of the classic protocol brought along; times in milliseconds."""

    session_timeout_ms: int
    supported_protocols: tuple[tuple[str, bytes], ...]


class ConsumerMember(NamedTuple):
    """A member. ``assigned`` and ``pending_revocation`` never share a partition, and together are what it may own.

    ``rebalance_timeout_ms`` in milliseconds, -1 before the member said one; ``subscribed_regex`` empty if none;
    ``server_assignor`` None if it leaves the choice to others; ``classic`` None if it speaks the consumer protocol.
    """

    member_id: str
    member_epoch: int = 0
    previous_member_epoch: int = -1
    state: MemberState = MemberState.STABLE
    instance_id: str | None = None
    rack_id: str | None = None
    rebalance_timeout_ms: int = -1
    client_id: str = ""
    client_host: str = ""
    subscribed_topics: frozenset[str] = frozenset()
    subscribed_regex: str = ""
    server_assignor: str | None = None
    assigned: OwnedPartitions = OWNS_NOTHING
    pending_revocation: OwnedPartitions = OWNS_NOTHING
    classic: ClassicMetadata | None = None

    def is_reconciled_to(self, assignment_epoch: int) -> bool:
        """Whether nothing is left to do for it in the target assignment of this epoch."""
        return self.state is MemberState.STABLE and self.member_epoch == assignment_epoch

    def assignment_epoch(self, topic_id: Uuid, partition: int) -> int | None:
        """The epoch in which the member got a partition that it may own; None if it may not."""
        epoch = self.assigned.get(topic_id, {}).get(partition)
        return self.pending_revocation.get(topic_id, {}).get(partition) if epoch is None else epoch

    def with_epoch(self, member_epoch: int) -> ConsumerMember:
        """The member in another epoch, that which it was in remembered."""
        return self._replace(member_epoch=member_epoch, previous_member_epoch=self.member_epoch)


def partitions_of(owned: OwnedPartitions) -> Partitions:
    """The same without epochs."""
    return {topic_id: frozenset(partitions) for topic_id, partitions in owned.items()}


def with_assignment_epoch(partitions: Partitions, epoch: int) -> OwnedPartitions:
    """All partitions as if they were got in one epoch."""
    return {topic_id: dict.fromkeys(sorted(numbers), epoch) for topic_id, numbers in sorted(partitions.items())}


def to_partitions(pairs: Iterable[tuple[Uuid, Iterable[int]]]) -> Partitions:
    """Gather what a message lists; a topic may come twice."""
    gathered: dict[Uuid, set[int]] = {}
    for topic_id, numbers in pairs:
        gathered.setdefault(topic_id, set()).update(numbers)
    return {topic_id: frozenset(numbers) for topic_id, numbers in gathered.items() if numbers}
