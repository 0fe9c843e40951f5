"""The consumer groups of a shard, and what all that happens to them has in common: epochs, targets, timers.

Nothing here changes a group. Inputs gather records first, then hand them to the shard, whose replay of them is the
change; an input that is refused on the way leaves no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from engine.core.group.consumer_assignors import ASSIGNORS, AssignedMember
from engine.core.group.consumer_group import ConsumerGroup
from engine.core.group.consumer_member import NO_PARTITIONS, ConsumerMember, MemberState, Partitions
from engine.core.group.consumer_records import (
    assignment_epoch_record,
    current_assignment_record,
    group_epoch_record,
    partition_metadata_tombstone,
    target_record,
)
from engine.core.group.context import GroupLimits, Now
from engine.core.group.group_topics import GroupTopics, group_int
from engine.core.group.metadata_hash import group_hash, topic_hash
from engine.core.group.rebalance import Rebalances, TimerKey, TimerKind
from engine.core.group.reconciliation import reconcile
from engine.core.group.records import GroupEffects, GroupRecord
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import Uuid
from engine.model.notes import Note, NoteKind

_MEMBER_TIMERS = (
    TimerKind.CONSUMER_SESSION,
    TimerKind.CONSUMER_REBALANCE,
    TimerKind.CONSUMER_JOIN,
    TimerKind.CONSUMER_SYNC,
)
# More than a record of a member takes besides its strings, a partition in it, and the batch around it.
_RECORD_BYTES = 256
_TOPIC_BYTES = 32
_PARTITION_BYTES = 8


class ConsumerGroups:
    """Groups by id, the topics that they see, and their timers (those of the classic groups' :class:`Rebalances`)."""

    __slots__ = (
        "_epoch_of_rebalance",
        "_hashes",
        "append",
        "groups",
        "limits",
        "rebalances",
        "timers",
        "topics",
        "version_with_new_topics",
    )

    def __init__(
        self,
        rebalances: Rebalances,
        append: Callable[[list[GroupRecord], GroupEffects], None],
        topics: GroupTopics,
    ) -> None:
        """``append`` adds records to the effects and applies them to the state."""
        self.rebalances = rebalances
        self.append = append
        self.limits: GroupLimits = rebalances.limits
        self.timers = rebalances.timers
        self.groups: dict[str, ConsumerGroup] = {}
        self.topics = topics
        # Of the last metadata that had topics which were not there before.
        self.version_with_new_topics = topics.version
        self._hashes: dict[str, int] = {}
        # The member epoch that a member has to leave before its rebalance timeout.
        self._epoch_of_rebalance: dict[TimerKey, int] = {}

    # -- topics -------------------------------------------------------------------------------------------------

    def on_topics(self, topics: GroupTopics, changed: Collection[str], has_new: bool) -> None:
        """The metadata changed: ``changed`` are the names of topics that did, new and deleted ones among them."""
        self.topics = topics
        if has_new or self.version_with_new_topics < 0:
            self.version_with_new_topics = topics.version
        if not changed:
            return
        for name in changed:
            self._hashes.pop(name, None)
        for group in self.groups.values():
            if not group.subscribed_topics().isdisjoint(changed):
                group.metadata_refresh_epoch = None

    def topic_ids(self, names: Iterable[str]) -> frozenset[Uuid]:
        """Ids of those of the topics that exist."""
        found = (self.topics.by_name(name) for name in names)
        return frozenset(topic.topic_id for topic in found if topic is not None)

    def metadata_hash(self, names: Iterable[str]) -> int:
        """The hash of topics, those left out that do not exist."""
        hashes = []
        for name in names:
            topic = self.topics.by_name(name)
            if topic is None:
                continue
            if name not in self._hashes:
                self._hashes[name] = topic_hash(topic, self.topics.racks(name))
            hashes.append((name, self._hashes[name]))
        return group_hash(hashes)

    # -- configs ------------------------------------------------------------------------------------------------

    def session_timeout_ms(self, group_id: str) -> int:
        limits = self.limits
        return group_int(
            self.topics,
            group_id,
            "consumer.session.timeout.ms",
            limits.group_consumer_session_timeout_ms,
            limits.group_consumer_min_session_timeout_ms,
            limits.group_consumer_max_session_timeout_ms,
        )

    def heartbeat_interval_ms(self, group_id: str) -> int:
        limits = self.limits
        return group_int(
            self.topics,
            group_id,
            "consumer.heartbeat.interval.ms",
            limits.group_consumer_heartbeat_interval_ms,
            limits.group_consumer_min_heartbeat_interval_ms,
            limits.group_consumer_max_heartbeat_interval_ms,
        )

    def assignment_interval_ms(self, group_id: str) -> int:
        limits = self.limits
        return group_int(
            self.topics,
            group_id,
            "consumer.assignment.interval.ms",
            limits.group_consumer_assignment_interval_ms,
            limits.group_consumer_min_assignment_interval_ms,
            limits.group_consumer_max_assignment_interval_ms,
        )

    # -- epochs and targets -------------------------------------------------------------------------------------

    def bump(
        self, group: ConsumerGroup, wanted: bool, names: Iterable[str], records: list[GroupRecord]
    ) -> tuple[int, bool]:
        """The group epoch from here on, and whether it rose: because it is ``wanted``, or because of the topics."""
        metadata_hash = self.metadata_hash(names)
        bumped = wanted or metadata_hash != group.metadata_hash
        epoch = group.group_epoch + bumped
        if bumped:
            records.append(group_epoch_record(group.group_id, epoch, metadata_hash))
        if group.has_partition_metadata_record:
            records.append(partition_metadata_tombstone(group.group_id))
        return epoch, bumped

    def target(
        self,
        group: ConsumerGroup,
        group_epoch: int,
        updated: ConsumerMember,
        replaced: ConsumerMember | None,
        now: Now,
        records: list[GroupRecord],
    ) -> tuple[int, Partitions]:
        """The target of ``updated`` and its epoch, computed anew for the whole group if that is due.

        ``replaced`` is the static member whose place ``updated`` takes.
        """
        if group.assignment_epoch >= group_epoch or not self._may_assign(group, now):
            return group.assignment_epoch, group.target_of(updated)
        members = {
            member_id: member
            for member_id, member in group.members.items()
            if replaced is None or member_id != replaced.member_id
        }
        members[updated.member_id] = updated
        name = group.preferred_assignor(members.values())
        if name not in self.limits.group_consumer_assignors:
            name = self.limits.group_consumer_assignors[0]
        assigned = {
            member_id: AssignedMember(
                member.instance_id,
                self.topic_ids(group.topics_of(member)),
                group.target_of(member) if member is updated else group.targets.get(member_id, NO_PARTITIONS),
            )
            for member_id, member in members.items()
        }
        counts = {}
        for topic_id in {topic_id for each in assigned.values() for topic_id in each.topic_ids}:
            topic = self.topics.by_id(topic_id)
            assert topic is not None, "ids are of topics that exist"
            counts[topic_id] = topic.partition_count
        targets = ASSIGNORS[name](assigned, counts)
        for member_id in members:
            target = targets.get(member_id, NO_PARTITIONS)
            if target != group.targets.get(member_id):
                records.append(target_record(group.group_id, member_id, target))
        records.append(assignment_epoch_record(group.group_id, group_epoch, now.wall_ms))
        return group_epoch, targets.get(updated.member_id, NO_PARTITIONS)

    def _may_assign(self, group: ConsumerGroup, now: Now) -> bool:
        """Targets are computed once in an interval, for many changes at a time (consumer.assignment.interval.ms)."""
        since_ms = now.wall_ms - group.assignment_timestamp_ms
        # A clock that went back must not hold a group up until it is there again.
        return since_ms < 0 or since_ms >= self.assignment_interval_ms(group.group_id)

    def reconcile(
        self,
        group: ConsumerGroup,
        member: ConsumerMember,
        target_epoch: int,
        target: Partitions,
        subscription_changed: bool,
        reported: Partitions | None,
        records: list[GroupRecord],
    ) -> ConsumerMember:
        """The member on its way to the target. Raises: KafkaError: FENCED_MEMBER_EPOCH."""
        if not subscription_changed and member.is_reconciled_to(target_epoch):
            return member
        updated = reconcile(
            member,
            target_epoch=target_epoch,
            target=target,
            subscribed=self.topic_ids(group.topics_of(member)),
            subscription_changed=subscription_changed,
            owner_epoch=group.owner_epoch,
            reported=reported,
        )
        if updated != member:
            records.append(current_assignment_record(group.group_id, updated))
        return updated

    def check_size(self, member: ConsumerMember) -> None:
        """Raises: KafkaError: INVALID_REQUEST for a member that fits into no record: its append would fail."""
        size = _RECORD_BYTES + sum(
            len(text.encode()) + 4
            for text in (
                member.member_id,
                member.instance_id or "",
                member.rack_id or "",
                member.client_id,
                member.subscribed_regex,
                *member.subscribed_topics,
            )
        )
        if member.classic is not None:
            size += sum(len(name.encode()) + len(metadata) + 8 for name, metadata in member.classic.supported_protocols)
        size += sum(_TOPIC_BYTES + _PARTITION_BYTES * len(numbers) for numbers in member.assigned.values())
        if size > self.limits.message_max_bytes:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST,
                f"what the member says of itself takes {size} bytes, more than message.max.bytes, "
                f"{self.limits.message_max_bytes}",
            )

    # -- timers -------------------------------------------------------------------------------------------------

    def reset_session(self, group_id: str, member_id: str, timeout_ms: int, now: Now) -> None:
        """Push a member's session back by its timeout."""
        self.timers.schedule(TimerKey(TimerKind.CONSUMER_SESSION, group_id, member_id), now.monotonic_ms + timeout_ms)

    def watch_revocation(self, group_id: str, member: ConsumerMember, now: Now) -> None:
        """Give a member that has to give up partitions its rebalance timeout; end that of one that has done so."""
        key = TimerKey(TimerKind.CONSUMER_REBALANCE, group_id, member.member_id)
        if member.classic is None and member.state is MemberState.UNREVOKED_PARTITIONS:
            self._epoch_of_rebalance[key] = member.member_epoch
            self.timers.schedule(key, now.monotonic_ms + member.rebalance_timeout_ms)
        else:
            self.timers.cancel(key)
            self._epoch_of_rebalance.pop(key, None)

    def is_revocation_overdue(self, key: TimerKey) -> bool:
        """Whether the member of a rebalance timer that is due is still where it was when the timer was set."""
        epoch = self._epoch_of_rebalance.pop(key, None)
        group = self.groups.get(key.group_id)
        member = None if group is None else group.members.get(key.member_id)
        return member is not None and member.member_epoch == epoch

    def expect(self, kind: TimerKind, group_id: str, member: ConsumerMember, now: Now) -> None:
        """Give a member of the classic protocol its rebalance timeout to join or to sync; an earlier one to join
        stands."""
        key = TimerKey(kind, group_id, member.member_id)
        if kind is not TimerKind.CONSUMER_JOIN or key not in self.timers:
            self.timers.schedule(key, now.monotonic_ms + member.rebalance_timeout_ms)

    def end_timers(self, group_id: str, member_id: str) -> None:
        """Forget all deadlines of a member that is gone."""
        for kind in _MEMBER_TIMERS:
            key = TimerKey(kind, group_id, member_id)
            self.timers.cancel(key)
            self._epoch_of_rebalance.pop(key, None)

    # -- notes --------------------------------------------------------------------------------------------------

    def note_progress(self, group_id: str, was_stable: bool, reason: str, out: GroupEffects) -> None:
        """Tell of a group that came to rest."""
        group = self.groups.get(group_id)
        if group is None or was_stable or not group.members or group.state != "Stable":
            return
        out.notes.append(Note(NoteKind.GROUP_STABLE, group_id, reason, group.detail()))
