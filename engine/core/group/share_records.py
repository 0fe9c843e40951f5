"""Records of share groups as Kafka 4.3 writes them (GroupCoordinatorRecordHelpers), and what they make of groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from engine.core.group.consumer_member import NO_PARTITIONS, Partitions, to_partitions
from engine.core.group.records import GroupRecord
from engine.core.group.share_group import ShareGroup, ShareMember, StateTopic, StateTopics
from engine.model.ids import Uuid
from engine.wire.messages.share_group_current_member_assignment_key import ShareGroupCurrentMemberAssignmentKey
from engine.wire.messages.share_group_current_member_assignment_value import (
    ShareGroupCurrentMemberAssignmentValue,
    TopicPartitions,
)
from engine.wire.messages.share_group_member_metadata_key import ShareGroupMemberMetadataKey
from engine.wire.messages.share_group_member_metadata_value import ShareGroupMemberMetadataValue
from engine.wire.messages.share_group_metadata_key import ShareGroupMetadataKey
from engine.wire.messages.share_group_metadata_value import ShareGroupMetadataValue
from engine.wire.messages.share_group_state_partition_metadata_key import ShareGroupStatePartitionMetadataKey
from engine.wire.messages.share_group_state_partition_metadata_value import (
    ShareGroupStatePartitionMetadataValue,
    TopicInfo,
    TopicPartitionsInfo,
)
from engine.wire.messages.share_group_target_assignment_member_key import ShareGroupTargetAssignmentMemberKey
from engine.wire.messages.share_group_target_assignment_member_value import (
    ShareGroupTargetAssignmentMemberValue,
    TopicPartition,
)
from engine.wire.messages.share_group_target_assignment_metadata_key import ShareGroupTargetAssignmentMetadataKey
from engine.wire.messages.share_group_target_assignment_metadata_value import ShareGroupTargetAssignmentMetadataValue

_NO_ASSIGNMENT_EPOCH = -1
_GONE_EPOCH = -1
_STABLE = 0
_VERSION = 0

# -- records ---------------------------------------------------------------------------------------------------


def member_metadata_record(group_id: str, member: ShareMember) -> GroupRecord:
    """What a member says of itself."""
    value = ShareGroupMemberMetadataValue(
        rack_id=member.rack_id,
        client_id=member.client_id,
        client_host=member.client_host,
        subscribed_topic_names=sorted(member.subscribed_topics),
    )
    return GroupRecord(ShareGroupMemberMetadataKey(group_id=group_id, member_id=member.member_id), value, _VERSION)


def group_epoch_record(group_id: str, epoch: int, metadata_hash: int) -> GroupRecord:
    """The group epoch, and the hash of the topics for which it stands."""
    value = ShareGroupMetadataValue(epoch=epoch, metadata_hash=metadata_hash)
    return GroupRecord(ShareGroupMetadataKey(group_id=group_id), value, _VERSION)


def target_record(group_id: str, member_id: str, target: Partitions) -> GroupRecord:
    """What a member shall have."""
    value = ShareGroupTargetAssignmentMemberValue(
        topic_partitions=[
            TopicPartition(topic_id=topic_id, partitions=sorted(numbers))
            for topic_id, numbers in sorted(target.items())
        ]
    )
    return GroupRecord(ShareGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id), value, _VERSION)


def assignment_epoch_record(group_id: str, epoch: int, timestamp_ms: int) -> GroupRecord:
    """All targets are those of this group epoch; ``timestamp_ms`` of the wall clock."""
    value = ShareGroupTargetAssignmentMetadataValue(assignment_epoch=epoch, assignment_timestamp=timestamp_ms)
    return GroupRecord(ShareGroupTargetAssignmentMetadataKey(group_id=group_id), value, _VERSION)


def current_assignment_record(group_id: str, member: ShareMember) -> GroupRecord:
    """What a member has, and in which epoch it is."""
    value = ShareGroupCurrentMemberAssignmentValue(
        member_epoch=member.member_epoch,
        previous_member_epoch=member.previous_member_epoch,
        state=_STABLE,
        assigned_partitions=[
            TopicPartitions(topic_id=topic_id, partitions=sorted(numbers))
            for topic_id, numbers in sorted(member.assigned.items())
        ],
    )
    key = ShareGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member.member_id)
    return GroupRecord(key, value, _VERSION)


def state_partitions_record(
    group_id: str, initializing: StateTopics, initialized: StateTopics, deleting: Mapping[Uuid, str]
) -> GroupRecord:
    """Which partitions the share coordinator knows, is about to know, or is to forget."""
    value = ShareGroupStatePartitionMetadataValue(
        initializing_topics=_infos(initializing),
        initialized_topics=_infos(initialized),
        deleting_topics=[TopicInfo(topic_id=topic_id, topic_name=name) for topic_id, name in sorted(deleting.items())],
    )
    return GroupRecord(ShareGroupStatePartitionMetadataKey(group_id=group_id), value, _VERSION)


def _infos(topics: StateTopics) -> list[TopicPartitionsInfo]:
    return [
        TopicPartitionsInfo(topic_id=topic_id, topic_name=topic.name, partitions=sorted(topic.partitions))
        for topic_id, topic in sorted(topics.items())
    ]


def member_tombstones(group_id: str, member_id: str) -> list[GroupRecord]:
    """The end of a member; the order matters to those who replay."""
    return [
        GroupRecord(ShareGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member_id), None, 0),
        GroupRecord(ShareGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id), None, 0),
        GroupRecord(ShareGroupMemberMetadataKey(group_id=group_id, member_id=member_id), None, 0),
    ]


def group_tombstones(group: ShareGroup) -> list[GroupRecord]:
    """The end of a group without members."""
    return [
        GroupRecord(ShareGroupTargetAssignmentMetadataKey(group_id=group.group_id), None, 0),
        GroupRecord(ShareGroupStatePartitionMetadataKey(group_id=group.group_id), None, 0),
        GroupRecord(ShareGroupMetadataKey(group_id=group.group_id), None, 0),
    ]


# -- replay ----------------------------------------------------------------------------------------------------

SHARE_GROUP_KEYS = (
    ShareGroupMetadataKey,
    ShareGroupMemberMetadataKey,
    ShareGroupTargetAssignmentMetadataKey,
    ShareGroupTargetAssignmentMemberKey,
    ShareGroupCurrentMemberAssignmentKey,
    ShareGroupStatePartitionMetadataKey,
)


def replay_share_group(groups: dict[str, ShareGroup], key: Any, value: Any) -> None:
    """Apply one record of a share group. A tombstone of what is not there changes nothing: the log was compacted."""
    group = groups.get(key.group_id)
    if group is None:
        if value is None:
            return
        group = groups[key.group_id] = ShareGroup(key.group_id)
    match key:
        case ShareGroupMemberMetadataKey():
            _replay_member(group, key.member_id, value)
        case ShareGroupCurrentMemberAssignmentKey():
            _replay_current_assignment(group, key.member_id, value)
        case ShareGroupTargetAssignmentMemberKey():
            if value is None:
                group.targets.pop(key.member_id, None)
            else:
                group.targets[key.member_id] = to_partitions(
                    (each.topic_id, each.partitions) for each in value.topic_partitions
                )
        case ShareGroupTargetAssignmentMetadataKey():
            if value is None:
                group.assignment_epoch, group.assignment_timestamp_ms = _NO_ASSIGNMENT_EPOCH, 0
            else:
                group.assignment_epoch = value.assignment_epoch
                group.assignment_timestamp_ms = value.assignment_timestamp
        case ShareGroupMetadataKey():
            if value is None:
                del groups[key.group_id]
            else:
                group.group_epoch, group.metadata_hash = value.epoch, value.metadata_hash
        case ShareGroupStatePartitionMetadataKey():
            group.initializing = {} if value is None else _state_topics(value.initializing_topics)
            group.initialized = {} if value is None else _state_topics(value.initialized_topics)
            group.deleting = {} if value is None else {each.topic_id: each.topic_name for each in value.deleting_topics}


def _state_topics(infos: Iterable[TopicPartitionsInfo]) -> StateTopics:
    return {each.topic_id: StateTopic(each.topic_name, frozenset(each.partitions)) for each in infos}


def _replay_member(group: ShareGroup, member_id: str, value: ShareGroupMemberMetadataValue | None) -> None:
    if value is None:
        group.members.pop(member_id, None)
        return
    member = group.members.get(member_id, ShareMember(member_id))
    group.members[member_id] = member._replace(
        rack_id=value.rack_id,
        client_id=value.client_id,
        client_host=value.client_host,
        subscribed_topics=frozenset(value.subscribed_topic_names),
    )


def _replay_current_assignment(
    group: ShareGroup, member_id: str, value: ShareGroupCurrentMemberAssignmentValue | None
) -> None:
    if value is None:
        member = group.members.get(member_id)
        if member is not None:
            group.members[member_id] = member._replace(
                member_epoch=_GONE_EPOCH, previous_member_epoch=_GONE_EPOCH, assigned=NO_PARTITIONS
            )
        return
    member = group.members.get(member_id, ShareMember(member_id))
    group.members[member_id] = member._replace(
        member_epoch=value.member_epoch,
        previous_member_epoch=value.previous_member_epoch,
        assigned=to_partitions((each.topic_id, each.partitions) for each in value.assigned_partitions),
    )
