"""A consumer group (Kafka: ConsumerGroup and ModernGroup, KIP-848): members, epochs, targets. No timers, no replies.

The group epoch rises with everything that needs another assignment (a subscription, a topic, a departure), the
assignment epoch when the target assignment was computed for a group epoch, a member's epoch when the member has come to
the target of that epoch. Only records change a group: see :mod:`engine.core.group.consumer_records`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from engine.core.group.consumer_member import NO_PARTITIONS, ConsumerMember, OwnedPartitions, Partitions
from engine.core.group.consumer_protocol import PROTOCOL_TYPE
from engine.core.group.reconciliation import NOT_OWNED
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import Uuid
from engine.model.notes import Detail

INITIAL_EPOCH = 1
_FIRST_COMMIT_VERSION_WITH_MEMBER_EPOCH = 9


class ConsumerGroupState(StrEnum):
    """Named as ListGroups and ConsumerGroupDescribe name them."""

    EMPTY = "Empty"
    ASSIGNING = "Assigning"
    """The target assignment is older than the group epoch."""
    RECONCILING = "Reconciling"
    """Some member has not come to its target yet."""
    STABLE = "Stable"


class ResolvedRegex(NamedTuple):
    """The topics that an expression matched at a ``version`` of the metadata; ``timestamp_ms`` of the wall clock."""

    topics: frozenset[str]
    version: int
    timestamp_ms: int


class ConsumerGroup:
    """State of one group. Members are kept in the order in which they joined."""

    __slots__ = (
        "_partition_epochs",
        "assignment_epoch",
        "assignment_timestamp_ms",
        "group_epoch",
        "group_id",
        "has_partition_metadata_record",
        "members",
        "metadata_hash",
        "metadata_refresh_epoch",
        "regex_subscribers",
        "resolved_regexes",
        "static_members",
        "targets",
    )

    def __init__(self, group_id: str) -> None:
        self.group_id = group_id
        self.group_epoch = INITIAL_EPOCH
        self.metadata_hash = 0
        self.assignment_epoch = INITIAL_EPOCH
        # Wall clock; 0 before the first assignment.
        self.assignment_timestamp_ms = 0
        self.members: dict[str, ConsumerMember] = {}
        self.static_members: dict[str, str] = {}
        self.targets: dict[str, Partitions] = {}
        self.regex_subscribers: dict[str, int] = {}
        self.resolved_regexes: dict[str, ResolvedRegex] = {}
        self.has_partition_metadata_record = False
        # Soft state: the group epoch with which the topics were looked at last; None: look again.
        self.metadata_refresh_epoch: int | None = None
        self._partition_epochs: dict[Uuid, dict[int, int]] = {}

    # -- questions ----------------------------------------------------------------------------------------------

    @property
    def state(self) -> ConsumerGroupState:
        if not self.members:
            return ConsumerGroupState.EMPTY
        if self.group_epoch > self.assignment_epoch:
            return ConsumerGroupState.ASSIGNING
        if all(member.is_reconciled_to(self.assignment_epoch) for member in self.members.values()):
            return ConsumerGroupState.STABLE
        return ConsumerGroupState.RECONCILING

    @property
    def is_empty(self) -> bool:
        return not self.members

    def detail(self) -> Detail:
        """What notes tell of the group."""
        return {"group_epoch": self.group_epoch, "members": len(self.members)}

    @property
    def needs_metadata(self) -> bool:
        """Whether topics may have changed since the group epoch was last computed from them."""
        return self.metadata_refresh_epoch is None or self.group_epoch < self.metadata_refresh_epoch

    def member(self, member_id: str) -> ConsumerMember:
        """Raises: KafkaError: UNKNOWN_MEMBER_ID."""
        found = self.members.get(member_id)
        if found is None:
            raise KafkaError(
                ErrorCode.UNKNOWN_MEMBER_ID, f"Member {member_id} is not a member of group {self.group_id}."
            )
        return found

    def static_member(self, instance_id: str | None) -> ConsumerMember | None:
        """Who holds the instance id."""
        member_id = None if instance_id is None else self.static_members.get(instance_id)
        return None if member_id is None else self.members[member_id]

    def target_of(self, member: ConsumerMember) -> Partitions:
        """The target of a member, or of whoever held its instance id before it."""
        holder = member.member_id if member.instance_id is None else self.static_members.get(member.instance_id, "")
        return self.targets.get(holder, NO_PARTITIONS)

    def owner_epoch(self, topic_id: Uuid, partition: int) -> int:
        """The member epoch of who may own the partition, or NOT_OWNED."""
        return self._partition_epochs.get(topic_id, {}).get(partition, NOT_OWNED)

    def waits_for_partitions(self, member: ConsumerMember) -> bool:
        """Whether something of the member's target is still with another member."""
        return any(
            number not in member.assigned.get(topic_id, {}) and self.owner_epoch(topic_id, number) != NOT_OWNED
            for topic_id, numbers in self.targets.get(member.member_id, NO_PARTITIONS).items()
            for number in numbers
        )

    def subscribed_topics(self) -> set[str]:
        """Names of all topics that some member subscribes to, by name or by what its expression matched."""
        names: set[str] = set()
        for member in self.members.values():
            names |= member.subscribed_topics
        for resolved in self.resolved_regexes.values():
            names |= resolved.topics
        return names

    def is_subscribed_to(self, topic: str) -> bool:
        return any(topic in member.subscribed_topics for member in self.members.values()) or any(
            topic in resolved.topics for resolved in self.resolved_regexes.values()
        )

    def topics_of(self, member: ConsumerMember) -> frozenset[str]:
        """Names of the topics that a member subscribes to, those of its expression as far as it is resolved."""
        resolved = self.resolved_regexes.get(member.subscribed_regex)
        return member.subscribed_topics if resolved is None else member.subscribed_topics | resolved.topics

    def preferred_assignor(self, members: Iterable[ConsumerMember]) -> str | None:
        """What most members ask for; the first name at a tie; None if nobody asks."""
        votes: dict[str, int] = {}
        for member in members:
            if member.server_assignor is not None:
                votes[member.server_assignor] = votes.get(member.server_assignor, 0) + 1
        return min(votes, key=lambda name: (-votes[name], name), default=None)

    # -- members of the classic protocol ------------------------------------------------------------------------

    def classic_members(self) -> list[ConsumerMember]:
        return [member for member in self.members.values() if member.classic is not None]

    def supports_classic_protocols(self, protocol_type: str, names: Collection[str]) -> bool:
        """Whether all members of the classic protocol support one of these."""
        if protocol_type != PROTOCOL_TYPE:
            return False
        supported = [
            {name for name, _ in member.classic.supported_protocols}
            for member in self.members.values()
            if member.classic is not None
        ]
        return any(all(name in each for each in supported) for name in names)

    def only_classic_without(self, leaving: Collection[str]) -> bool:
        """Whether nobody speaks the consumer protocol once these members are gone."""
        return all(member.classic is not None for member_id, member in self.members.items() if member_id not in leaving)

    # -- checks -------------------------------------------------------------------------------------------------

    def validate_offset_commit(
        self, member_id: str, instance_id: str | None, member_epoch: int, *, transactional: bool, api_version: int
    ) -> ConsumerMember | None:
        """Check who commits (promises G1, G2).

        Returns the member if its epoch is older than the group knows: then each partition is to be checked with
        :meth:`validate_partition_commit` (KIP-1251); else None.

        Raises:
            KafkaError: UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH (ILLEGAL_GENERATION for a member of the classic protocol),
                or UNSUPPORTED_VERSION for a version that knows no member epochs.
        """
        if member_epoch < 0 and not self.members:
            return None
        if transactional and member_epoch == -1 and not member_id and instance_id is None:
            return None
        member = self.member(member_id)
        if not transactional and member.classic is None and api_version < _FIRST_COMMIT_VERSION_WITH_MEMBER_EPOCH:
            raise KafkaError(
                ErrorCode.UNSUPPORTED_VERSION,
                "OffsetCommit version 9 or above must be used by members using the consumer group protocol",
            )
        if member_epoch > member.member_epoch:
            raise _stale(member, f"epoch {member_epoch} is newer than the member's, {member.member_epoch}")
        return None if member_epoch == member.member_epoch else member

    @staticmethod
    def validate_partition_commit(
        member: ConsumerMember, member_epoch: int, topic_id: Uuid, topic: str, partition: int
    ) -> None:
        """An older epoch is as good as the present one for a partition that the member has had since then.

        Raises:
            KafkaError: STALE_MEMBER_EPOCH, or ILLEGAL_GENERATION for a member of the classic protocol.
        """
        assigned_in = member.assignment_epoch(topic_id, partition)
        if assigned_in is None:
            raise _stale(member, f"{topic}-{partition} is not assigned to the member")
        if member_epoch < assigned_in:
            raise _stale(member, f"epoch {member_epoch} is older than that of {topic}-{partition}, {assigned_in}")

    def validate_offset_fetch(self, member_id: str | None, member_epoch: int) -> None:
        """Raises: KafkaError: UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH or ILLEGAL_GENERATION."""
        if member_id is None and member_epoch < 0:
            return  # an administrator
        member = self.member(member_id or "")
        if member_epoch != member.member_epoch:
            raise _stale(member, f"epoch {member_epoch} is not the member's, {member.member_epoch}")

    def validate_delete(self) -> None:
        """Raises: KafkaError: NON_EMPTY_GROUP unless the group is empty."""
        if self.members:
            raise KafkaError(ErrorCode.NON_EMPTY_GROUP, f"group {self.group_id} is {self.state}")

    # -- changes, made by records only --------------------------------------------------------------------------

    def put_member(self, member: ConsumerMember) -> None:
        """Add a member, or replace what is known of it."""
        old = self.members.get(member.member_id)
        if old is not None:
            self._forget_ownership(old)
            self._count_regex(old, -1)
        self.members[member.member_id] = member
        self._count_regex(member, 1)
        for owned in (member.assigned, member.pending_revocation):
            for topic_id, numbers in owned.items():
                epochs = self._partition_epochs.setdefault(topic_id, {})
                for number in numbers:
                    # In a log that was compacted in between, a former owner can still be there: the later epoch owns.
                    if number not in epochs or epochs[number] < member.member_epoch:
                        epochs[number] = member.member_epoch
        if member.instance_id is not None:
            self.static_members[member.instance_id] = member.member_id

    def drop_member(self, member_id: str) -> None:
        """Forget a member, if it is there."""
        old = self.members.pop(member_id, None)
        if old is None:
            return
        self._forget_ownership(old)
        self._count_regex(old, -1)
        if old.instance_id is not None and self.static_members.get(old.instance_id) == member_id:
            del self.static_members[old.instance_id]

    def _forget_ownership(self, member: ConsumerMember) -> None:
        for owned in (member.assigned, member.pending_revocation):
            self._drop_epochs(owned, member.member_epoch)

    def _drop_epochs(self, owned: OwnedPartitions, member_epoch: int) -> None:
        for topic_id, numbers in owned.items():
            epochs = self._partition_epochs.get(topic_id)
            if epochs is None:
                continue
            for number in numbers:
                # At another epoch it is another member's: this one had it before.
                if epochs.get(number) == member_epoch:
                    del epochs[number]
            if not epochs:
                del self._partition_epochs[topic_id]

    def _count_regex(self, member: ConsumerMember, step: int) -> None:
        regex = member.subscribed_regex
        if regex:
            count = self.regex_subscribers.get(regex, 0) + step
            if count:
                self.regex_subscribers[regex] = count
            else:
                self.regex_subscribers.pop(regex, None)

    def durable_state(self) -> Mapping[str, object]:
        """What records say of the group, in a form that compares."""
        return {
            "epochs": (self.group_epoch, self.assignment_epoch, self.assignment_timestamp_ms, self.metadata_hash),
            "members": dict(sorted(self.members.items())),
            "static_members": dict(sorted(self.static_members.items())),
            "targets": dict(sorted(self.targets.items())),
            "regexes": (dict(sorted(self.resolved_regexes.items())), dict(sorted(self.regex_subscribers.items()))),
            "owners": {
                topic_id: dict(sorted(epochs.items())) for topic_id, epochs in sorted(self._partition_epochs.items())
            },
        }

    def __repr__(self) -> str:
        return f"ConsumerGroup({self.group_id!r}, {self.state}, group_epoch={self.group_epoch})"


def _stale(member: ConsumerMember, why: str) -> KafkaError:
    code = ErrorCode.STALE_MEMBER_EPOCH if member.classic is None else ErrorCode.ILLEGAL_GENERATION
    return KafkaError(code, why)
