"""Groups that change from the classic protocol to the consumer protocol while members work, and back (KIP-848).

The first member of the consumer protocol that joins a classic group of consumers turns it into a consumer group, whose
other members go on with JoinGroup and SyncGroup; when the last one leaves, it is a classic group again. Empty groups
change always, others as far as group.consumer.migration.policy lets them.
"""

from __future__ import annotations

from collections.abc import Collection

from engine.core.group.classic_group import ClassicGroup
from engine.core.group.consumer_group import ConsumerGroup
from engine.core.group.consumer_groups import ConsumerGroups
from engine.core.group.consumer_member import (
    NO_PARTITIONS,
    ClassicMetadata,
    ConsumerMember,
    Partitions,
    to_partitions,
    with_assignment_epoch,
)
from engine.core.group.consumer_protocol import PROTOCOL_TYPE, read_assignment, read_subscription, write_assignment
from engine.core.group.consumer_records import group_records, group_tombstones
from engine.core.group.context import Now
from engine.core.group.member import NO_ASSIGNMENT, GroupMember
from engine.core.group.rebalance import TimerKey, TimerKind
from engine.core.group.records import GroupEffects, GroupRecord, group_metadata_record, group_tombstone
from engine.core.group.states import GroupState
from engine.model.errors import ErrorCode, KafkaError
from engine.model.notes import Detail, Note, NoteKind
from engine.wire.messages.consumer_protocol_assignment import ConsumerProtocolAssignment, TopicPartition
from engine.wire.messages.join_group_response import JoinGroupResponse
from engine.wire.messages.sync_group_response import SyncGroupResponse

_UPGRADES = ("upgrade", "bidirectional")
_DOWNGRADES = ("downgrade", "bidirectional")
DISABLED = "disabled"


class GroupConversion:
    """Conversions between the classic and the consumer groups of a shard."""

    __slots__ = ("_groups",)

    def __init__(self, groups: ConsumerGroups) -> None:
        self._groups = groups

    @property
    def policy(self) -> str:
        """group.consumer.migration.policy, which Kafka takes in any case."""
        return self._groups.limits.group_consumer_migration_policy.lower()

    # -- finding ------------------------------------------------------------------------------------------------

    def existing(self, group_id: str) -> ConsumerGroup:
        """Raises: KafkaError: GROUP_ID_NOT_FOUND if there is no such consumer group."""
        group = self._groups.groups.get(group_id)
        if group is None:
            known = group_id in self._groups.rebalances.groups
            raise _not_found(f"Group {group_id} is not a consumer group." if known else f"Group {group_id} not found.")
        return group

    def group_for(self, group_id: str, joins: bool, records: list[GroupRecord]) -> ConsumerGroup:
        """The consumer group that a heartbeat is for.

        One that ``joins`` may make it, or make it of a classic one: then the records that do so are added, and
        :meth:`commit_upgrade` is to be called before they are applied.

        Raises:
            KafkaError: GROUP_ID_NOT_FOUND, also where a conversion is not allowed, or not possible.
        """
        group = self._groups.groups.get(group_id)
        if group is not None:
            return group
        if not joins:
            return self.existing(group_id)
        classic = self._groups.rebalances.groups.get(group_id)
        if classic is None:
            return ConsumerGroup(group_id)
        records.append(group_tombstone(group_id))
        if classic.is_empty:
            return ConsumerGroup(group_id)
        group = self._upgraded(classic)
        records += group_records(group)
        return group

    # -- upgrade ------------------------------------------------------------------------------------------------

    def _upgraded(self, classic: ClassicGroup) -> ConsumerGroup:
        """Every member in the state in which the last generation left it; whoever waits for another joins anew."""
        group_id = classic.group_id
        refused = f"Cannot upgrade classic group {group_id} to consumer group because "
        if self.policy not in _UPGRADES:
            raise _not_found(refused + "online upgrade is disabled.")
        if not classic.uses_consumer_protocol:
            raise _not_found(refused + "the group does not use the consumer embedded protocol.")
        if len(classic.members) > self._groups.limits.group_consumer_max_size:
            raise _not_found(refused + "the group size exceeds the consumer group maximum size.")
        group = ConsumerGroup(group_id)
        group.group_epoch = group.assignment_epoch = classic.generation_id
        try:
            for member in classic.members.values():
                upgraded, target = self._upgraded_member(classic, member)
                group.put_member(upgraded)
                group.targets[upgraded.member_id] = target
        except KafkaError as error:
            if error.code is ErrorCode.INCONSISTENT_GROUP_PROTOCOL:
                raise _not_found(refused + "the embedded consumer protocol is malformed.") from None
            raise
        group.metadata_hash = self._groups.metadata_hash(sorted(group.subscribed_topics()))
        return group

    def _upgraded_member(self, classic: ClassicGroup, member: GroupMember) -> tuple[ConsumerMember, Partitions]:
        subscription = read_subscription(member.metadata(classic.protocol_name or classic.select_protocol()))
        target = NO_PARTITIONS
        if member.assignment != NO_ASSIGNMENT:
            assignment = read_assignment(member.assignment)
            if assignment.user_data:
                raise _not_found(
                    f"Cannot upgrade classic group {classic.group_id} to consumer group because an unsupported custom "
                    "assignor is in use. Please refer to the documentation or switch to a default assignor before "
                    "re-attempting the upgrade."
                )
            topics = [(self._groups.topics.by_name(each.topic), each) for each in assignment.assigned_partitions]
            target = to_partitions((topic.topic_id, each.partitions) for topic, each in topics if topic is not None)
        epoch = classic.generation_id
        upgraded = ConsumerMember(
            member.member_id,
            member_epoch=epoch,
            previous_member_epoch=epoch,
            instance_id=member.group_instance_id,
            rack_id=subscription.rack_id,
            rebalance_timeout_ms=member.rebalance_timeout_ms,
            client_id=member.client_id,
            client_host=member.client_host,
            subscribed_topics=frozenset(subscription.topics),
            assigned=with_assignment_epoch(target, epoch),
            classic=ClassicMetadata(member.session_timeout_ms, member.protocols),
        )
        return upgraded, target

    def commit_upgrade(self, group_id: str, now: Now, out: GroupEffects) -> None:
        """The records of :meth:`group_for` are about to be applied: let go of the classic group, if there is one."""
        rebalances = self._groups.rebalances
        classic = rebalances.groups.get(group_id)
        if classic is None:
            return
        for kind in (TimerKind.JOIN, TimerKind.SYNC):
            rebalances.timers.cancel(TimerKey(kind, group_id))
        rejoin = int(ErrorCode.REBALANCE_IN_PROGRESS)
        for member in classic.members.values():
            response = JoinGroupResponse(member_id=member.member_id, error_code=rejoin)
            rebalances.reply_join(classic, member, response, out)
            rebalances.reply_sync(member, SyncGroupResponse(error_code=rejoin), out)
            self._groups.reset_session(group_id, member.member_id, member.session_timeout_ms, now)
        if classic.members:
            told = f"upgraded from the classic to the consumer protocol, with {len(classic.members)} classic members"
            out.notes.append(Note(NoteKind.GROUP_REBALANCED, group_id, told, {"members": len(classic.members)}))

    # -- downgrade ----------------------------------------------------------------------------------------------

    def is_downgrade_without(self, group: ConsumerGroup, leaving: Collection[str]) -> bool:
        """Whether the group becomes a classic one when these members are gone."""
        left = len(group.members) - len(leaving)
        return self._may_downgrade(left) and left > 0 and group.only_classic_without(leaving)

    def is_downgrade_by_replacing(self, group: ConsumerGroup, holder: ConsumerMember | None) -> bool:
        """The same, when a member of the classic protocol takes the place of a static one."""
        return (
            holder is not None
            and holder.classic is None
            and self._may_downgrade(len(group.members))
            and group.only_classic_without((holder.member_id,))
        )

    def _may_downgrade(self, size: int) -> bool:
        return self.policy in _DOWNGRADES and size <= self._groups.limits.group_max_size

    def downgrade(
        self, group: ConsumerGroup, leaving: Collection[str], reason: str, now: Now, out: GroupEffects
    ) -> bool:
        """Make the group a classic one without some members, and let the others join again.

        False, and nothing done, if what the members said of themselves cannot be told in one record, or not be read.
        """
        members = [
            (member, member.member_id) for member_id, member in group.members.items() if member_id not in leaving
        ]
        try:
            classic = self._downgraded(group, members, group.group_epoch, now)
        except KafkaError:
            return False
        rebalances = self._groups.rebalances
        if not rebalances.is_writable(classic):
            return False
        self._replace(group, group_tombstones(group), classic, reason, now, out)
        rebalances.prepare_rebalance(classic, reason, now, out)
        return True

    def downgrade_by_replacing(
        self,
        group: ConsumerGroup,
        holder: ConsumerMember,
        joining: ConsumerMember,
        records: list[GroupRecord],
        rebalance: bool,
        now: Now,
        out: GroupEffects,
    ) -> None:
        """Make the group a classic one in which ``joining`` has the place of ``holder``.

        ``records`` are those by which it took that place; with ``rebalance`` all join again, else they go on with what
        they have.
        """
        members = [(member, member_id) for member_id, member in group.members.items() if member_id != holder.member_id]
        classic = self._downgraded(group, [*members, (joining, holder.member_id)], group.group_epoch, now)
        member_ids = [joining.member_id if member_id == holder.member_id else member_id for member_id in group.members]
        reason = f"downgraded: {joining.member_id} joined with the classic protocol in place of {holder.member_id}"
        self._replace(group, [*records, *group_tombstones(group, member_ids)], classic, reason, now, out)
        if rebalance:
            self._groups.rebalances.prepare_rebalance(classic, reason, now, out)

    def _downgraded(
        self, group: ConsumerGroup, members: list[tuple[ConsumerMember, str]], generation_id: int, now: Now
    ) -> ClassicGroup:
        """A stable classic group of these members, each with the id under which its target stands."""
        classic = ClassicGroup(group.group_id, GroupState.STABLE, now.wall_ms)
        classic.generation_id = generation_id
        classic.protocol_type = PROTOCOL_TYPE
        for member, _ in members:
            assert member.classic is not None, f"{member.member_id} does not speak the classic protocol"
            classic.add(
                GroupMember(
                    member.member_id,
                    member.instance_id,
                    member.client_id,
                    member.client_host,
                    member.rebalance_timeout_ms,
                    member.classic.session_timeout_ms,
                    PROTOCOL_TYPE,
                    member.classic.supported_protocols,
                )
            )
        classic.protocol_name = classic.select_protocol()
        classic.compute_subscribed_topics()
        for member, target_id in members:
            target = group.targets.get(target_id, NO_PARTITIONS)
            of_group = classic.members[member.member_id]
            of_group.assignment = write_assignment(self.as_assignment(target), of_group.metadata(classic.protocol_name))
        return classic

    def as_assignment(self, partitions: Partitions) -> ConsumerProtocolAssignment:
        """Partitions in the words of the consumer's embedded protocol, topics that are gone left out."""
        topics = [(self._groups.topics.by_id(topic_id), numbers) for topic_id, numbers in sorted(partitions.items())]
        return ConsumerProtocolAssignment(
            assigned_partitions=[
                TopicPartition(topic=topic.name, partitions=sorted(numbers))
                for topic, numbers in topics
                if topic is not None
            ]
        )

    def _replace(
        self,
        group: ConsumerGroup,
        records: list[GroupRecord],
        classic: ClassicGroup,
        reason: str,
        now: Now,
        out: GroupEffects,
    ) -> None:
        group_id = group.group_id
        for member_id in [*group.members, *classic.members]:
            self._groups.end_timers(group_id, member_id)
        self._groups.timers.cancel(TimerKey(TimerKind.REGEX, group_id))
        self._groups.append(records, out)
        # Not by replay: the record knows one protocol of each member, the group has to know all.
        out.append.append(group_metadata_record(classic))
        rebalances = self._groups.rebalances
        rebalances.groups[group_id] = classic
        for member in classic.members.values():
            rebalances.reset_session(classic, member.member_id, member.session_timeout_ms, now)
        detail: Detail = {"generation": classic.generation_id, "members": len(classic.members)}
        out.notes.append(Note(NoteKind.GROUP_REBALANCED, group_id, reason, detail))


def _not_found(message: str) -> KafkaError:
    return KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, message)
