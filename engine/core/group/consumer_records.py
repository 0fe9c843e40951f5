"""Records of consumer groups as Kafka 4.3 writes them (GroupCoordinatorRecordHelpers), and what they make of groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from engine.core.group.consumer_group import ConsumerGroup, ResolvedRegex
from engine.core.group.consumer_member import (
    LEAVE_MEMBER_EPOCH,
    OWNS_NOTHING,
    ClassicMetadata,
    ConsumerMember,
    MemberState,
    OwnedPartitions,
    Partitions,
    to_partitions,
)
from engine.core.group.records import GroupRecord
from engine.wire.messages.consumer_group_current_member_assignment_key import ConsumerGroupCurrentMemberAssignmentKey
from engine.wire.messages.consumer_group_current_member_assignment_value import (
    ConsumerGroupCurrentMemberAssignmentValue,
    TopicPartitions,
)
from engine.wire.messages.consumer_group_member_metadata_key import ConsumerGroupMemberMetadataKey
from engine.wire.messages.consumer_group_member_metadata_value import (
    ClassicMemberMetadata,
    ClassicProtocol,
    ConsumerGroupMemberMetadataValue,
)
from engine.wire.messages.consumer_group_metadata_key import ConsumerGroupMetadataKey
from engine.wire.messages.consumer_group_metadata_value import ConsumerGroupMetadataValue
from engine.wire.messages.consumer_group_partition_metadata_key import ConsumerGroupPartitionMetadataKey
from engine.wire.messages.consumer_group_regular_expression_key import ConsumerGroupRegularExpressionKey
from engine.wire.messages.consumer_group_regular_expression_value import ConsumerGroupRegularExpressionValue
from engine.wire.messages.consumer_group_target_assignment_member_key import ConsumerGroupTargetAssignmentMemberKey
from engine.wire.messages.consumer_group_target_assignment_member_value import (
    ConsumerGroupTargetAssignmentMemberValue,
    TopicPartition,
)
from engine.wire.messages.consumer_group_target_assignment_metadata_key import ConsumerGroupTargetAssignmentMetadataKey
from engine.wire.messages.consumer_group_target_assignment_metadata_value import (
    ConsumerGroupTargetAssignmentMetadataValue,
)

NO_ASSIGNMENT_EPOCH = -1
_VERSION = 0

# -- records ---------------------------------------------------------------------------------------------------


def member_metadata_record(group_id: str, member: ConsumerMember) -> GroupRecord:
    """What a member says of itself."""
    classic = None
    if member.classic is not None:
        classic = ClassicMemberMetadata(
            session_timeout_ms=member.classic.session_timeout_ms,
            supported_protocols=[
                ClassicProtocol(name=name, metadata=metadata) for name, metadata in member.classic.supported_protocols
            ],
        )
    value = ConsumerGroupMemberMetadataValue(
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        client_id=member.client_id,
        client_host=member.client_host,
        subscribed_topic_names=sorted(member.subscribed_topics),
        subscribed_topic_regex=member.subscribed_regex,
        rebalance_timeout_ms=member.rebalance_timeout_ms,
        server_assignor=member.server_assignor,
        classic_member_metadata=classic,
    )
    return GroupRecord(ConsumerGroupMemberMetadataKey(group_id=group_id, member_id=member.member_id), value, _VERSION)


def group_epoch_record(group_id: str, epoch: int, metadata_hash: int) -> GroupRecord:
    """The group epoch, and the hash of the topics for which it stands."""
    value = ConsumerGroupMetadataValue(epoch=epoch, metadata_hash=metadata_hash)
    return GroupRecord(ConsumerGroupMetadataKey(group_id=group_id), value, _VERSION)


def target_record(group_id: str, member_id: str, target: Partitions) -> GroupRecord:
    """What a member shall have."""
    value = ConsumerGroupTargetAssignmentMemberValue(
        topic_partitions=[
            TopicPartition(topic_id=topic_id, partitions=sorted(numbers))
            for topic_id, numbers in sorted(target.items())
        ]
    )
    return GroupRecord(ConsumerGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id), value, _VERSION)


def assignment_epoch_record(group_id: str, epoch: int, timestamp_ms: int) -> GroupRecord:
    """All targets are those of this group epoch; ``timestamp_ms`` of the wall clock."""
    value = ConsumerGroupTargetAssignmentMetadataValue(assignment_epoch=epoch, assignment_timestamp=timestamp_ms)
    return GroupRecord(ConsumerGroupTargetAssignmentMetadataKey(group_id=group_id), value, _VERSION)


def current_assignment_record(group_id: str, member: ConsumerMember) -> GroupRecord:
    """What a member may own, and in which epoch it is."""
    value = ConsumerGroupCurrentMemberAssignmentValue(
        member_epoch=member.member_epoch,
        previous_member_epoch=member.previous_member_epoch,
        state=int(member.state),
        assigned_partitions=_topic_partitions(member.assigned),
        partitions_pending_revocation=_topic_partitions(member.pending_revocation),
    )
    key = ConsumerGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member.member_id)
    return GroupRecord(key, value, _VERSION)


def regex_record(group_id: str, regex: str, resolved: ResolvedRegex) -> GroupRecord:
    """The topics that a regular expression matches."""
    value = ConsumerGroupRegularExpressionValue(
        topics=sorted(resolved.topics), version=resolved.version, timestamp=resolved.timestamp_ms
    )
    return GroupRecord(ConsumerGroupRegularExpressionKey(group_id=group_id, regular_expression=regex), value, _VERSION)


def regex_tombstone(group_id: str, regex: str) -> GroupRecord:
    """Nobody subscribes to the expression any more."""
    return GroupRecord(ConsumerGroupRegularExpressionKey(group_id=group_id, regular_expression=regex), None, 0)


def partition_metadata_tombstone(group_id: str) -> GroupRecord:
    """The end of what Kafka before 4.1 wrote of a group's topics."""
    return GroupRecord(ConsumerGroupPartitionMetadataKey(group_id=group_id), None, 0)


def member_tombstones(group_id: str, member_id: str) -> list[GroupRecord]:
    """The end of a member; the order matters to those who replay."""
    return [
        GroupRecord(ConsumerGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member_id), None, 0),
        GroupRecord(ConsumerGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id), None, 0),
        GroupRecord(ConsumerGroupMemberMetadataKey(group_id=group_id, member_id=member_id), None, 0),
    ]


def group_tombstones(group: ConsumerGroup, member_ids: Iterable[str] | None = None) -> list[GroupRecord]:
    """The end of a group and of its members (or of those given)."""
    group_id = group.group_id
    members = list(group.members if member_ids is None else member_ids)
    return [
        *(
            GroupRecord(ConsumerGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=each), None, 0)
            for each in members
        ),
        *(
            GroupRecord(ConsumerGroupTargetAssignmentMemberKey(group_id=group_id, member_id=each), None, 0)
            for each in members
        ),
        GroupRecord(ConsumerGroupTargetAssignmentMetadataKey(group_id=group_id), None, 0),
        *(GroupRecord(ConsumerGroupMemberMetadataKey(group_id=group_id, member_id=each), None, 0) for each in members),
        *(regex_tombstone(group_id, regex) for regex in group.resolved_regexes),
        partition_metadata_tombstone(group_id),
        GroupRecord(ConsumerGroupMetadataKey(group_id=group_id), None, 0),
    ]


def group_records(group: ConsumerGroup) -> list[GroupRecord]:
    """All of a group that was made of a classic one."""
    group_id = group.group_id
    members = list(group.members.values())
    return [
        *(member_metadata_record(group_id, member) for member in members),
        group_epoch_record(group_id, group.group_epoch, group.metadata_hash),
        *(target_record(group_id, member.member_id, group.targets[member.member_id]) for member in members),
        assignment_epoch_record(group_id, group.assignment_epoch, group.assignment_timestamp_ms),
        *(current_assignment_record(group_id, member) for member in members),
    ]


def _topic_partitions(owned: OwnedPartitions) -> list[TopicPartitions]:
    return [
        TopicPartitions(
            topic_id=topic_id,
            partitions=sorted(epochs),
            assignment_epochs=[epochs[number] for number in sorted(epochs)],
        )
        for topic_id, epochs in sorted(owned.items())
    ]


# -- replay ----------------------------------------------------------------------------------------------------

CONSUMER_GROUP_KEYS = (
    ConsumerGroupMetadataKey,
    ConsumerGroupPartitionMetadataKey,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupRegularExpressionKey,
)


def replay_consumer_group(groups: dict[str, ConsumerGroup], key: Any, value: Any) -> None:
    """Apply one record of a consumer group. A tombstone of what is not there changes nothing: the log was compacted."""
    group = groups.get(key.group_id)
    if group is None:
        if value is None:
            return
        group = groups[key.group_id] = ConsumerGroup(key.group_id)
    match key:
        case ConsumerGroupMemberMetadataKey():
            _replay_member(group, key.member_id, value)
        case ConsumerGroupCurrentMemberAssignmentKey():
            _replay_current_assignment(group, key.member_id, value)
        case ConsumerGroupTargetAssignmentMemberKey():
            if value is None:
                group.targets.pop(key.member_id, None)
            else:
                group.targets[key.member_id] = to_partitions(
                    (each.topic_id, each.partitions) for each in value.topic_partitions
                )
        case ConsumerGroupTargetAssignmentMetadataKey():
            if value is None:
                group.assignment_epoch, group.assignment_timestamp_ms = NO_ASSIGNMENT_EPOCH, 0
            else:
                group.assignment_epoch = value.assignment_epoch
                group.assignment_timestamp_ms = value.assignment_timestamp
        case ConsumerGroupMetadataKey():
            if value is None:
                del groups[key.group_id]
            else:
                group.group_epoch, group.metadata_hash = value.epoch, value.metadata_hash
        case ConsumerGroupRegularExpressionKey():
            if value is None:
                group.resolved_regexes.pop(key.regular_expression, None)
            else:
                group.resolved_regexes[key.regular_expression] = ResolvedRegex(
                    frozenset(value.topics), value.version, value.timestamp
                )
        case ConsumerGroupPartitionMetadataKey():
            group.has_partition_metadata_record = value is not None


def _replay_member(group: ConsumerGroup, member_id: str, value: ConsumerGroupMemberMetadataValue | None) -> None:
    if value is None:
        group.drop_member(member_id)
        return
    classic = value.classic_member_metadata
    member = group.members.get(member_id, ConsumerMember(member_id))
    group.put_member(
        member._replace(
            instance_id=value.instance_id,
            rack_id=value.rack_id,
            client_id=value.client_id,
            client_host=value.client_host,
            subscribed_topics=frozenset(value.subscribed_topic_names),
            subscribed_regex=value.subscribed_topic_regex or "",
            rebalance_timeout_ms=value.rebalance_timeout_ms,
            server_assignor=value.server_assignor,
            classic=None
            if classic is None
            else ClassicMetadata(
                classic.session_timeout_ms,
                tuple((each.name, bytes(each.metadata)) for each in classic.supported_protocols),
            ),
        )
    )


def _replay_current_assignment(
    group: ConsumerGroup, member_id: str, value: ConsumerGroupCurrentMemberAssignmentValue | None
) -> None:
    if value is None:
        member = group.members.get(member_id)
        if member is not None:
            group.put_member(
                member._replace(
                    member_epoch=LEAVE_MEMBER_EPOCH,
                    previous_member_epoch=LEAVE_MEMBER_EPOCH,
                    assigned=OWNS_NOTHING,
                    pending_revocation=OWNS_NOTHING,
                )
            )
        return
    member = group.members.get(member_id, ConsumerMember(member_id))
    group.put_member(
        member._replace(
            member_epoch=value.member_epoch,
            previous_member_epoch=value.previous_member_epoch,
            state=MemberState.from_value(value.state),
            assigned=_owned(value.assigned_partitions, value.member_epoch),
            pending_revocation=_owned(value.partitions_pending_revocation, value.member_epoch),
        )
    )


def _owned(listed: Iterable[TopicPartitions], member_epoch: int) -> OwnedPartitions:
    """Versions of Kafka before 4.3 write no assignment epochs: then the member's epoch stands for all."""
    owned: dict[Any, Mapping[int, int]] = {}
    for each in listed:
        epochs = each.assignment_epochs
        if epochs is None or len(epochs) != len(each.partitions):
            epochs = [max(member_epoch, 0)] * len(each.partitions)
        if each.partitions:
            owned[each.topic_id] = dict(zip(each.partitions, epochs, strict=True))
    return owned
