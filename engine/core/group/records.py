"""Records of ``__consumer_offsets``: what the machine appends, in the versions that Kafka 4.3 writes.

GroupMetadata values are written in version 3; OffsetCommit values in version 4 (with the topic id), or 1 when the
client set a retention of its own (GroupCoordinatorRecordHelpers).

A record that cannot be written would leave the machine's state ahead of its log. Requests can carry longer strings than
records, and a batch has a greatest size: what does not fit is refused before it becomes state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from engine.core.effects import Effects
from engine.core.group.classic_group import ClassicGroup
from engine.core.group.member import GroupMember
from engine.core.group.offsets import NO_EXPIRE_TIMESTAMP_MS, OffsetAndMetadata
from engine.core.group.states import GroupState
from engine.model.ids import Uuid
from engine.wire.messages.consumer_group_current_member_assignment_key import ConsumerGroupCurrentMemberAssignmentKey
from engine.wire.messages.consumer_group_current_member_assignment_value import (
    ConsumerGroupCurrentMemberAssignmentValue,
)
from engine.wire.messages.consumer_group_member_metadata_key import ConsumerGroupMemberMetadataKey
from engine.wire.messages.consumer_group_member_metadata_value import ConsumerGroupMemberMetadataValue
from engine.wire.messages.consumer_group_metadata_key import ConsumerGroupMetadataKey
from engine.wire.messages.consumer_group_metadata_value import ConsumerGroupMetadataValue
from engine.wire.messages.consumer_group_partition_metadata_key import ConsumerGroupPartitionMetadataKey
from engine.wire.messages.consumer_group_regular_expression_key import ConsumerGroupRegularExpressionKey
from engine.wire.messages.consumer_group_regular_expression_value import ConsumerGroupRegularExpressionValue
from engine.wire.messages.consumer_group_target_assignment_member_key import ConsumerGroupTargetAssignmentMemberKey
from engine.wire.messages.consumer_group_target_assignment_member_value import ConsumerGroupTargetAssignmentMemberValue
from engine.wire.messages.consumer_group_target_assignment_metadata_key import ConsumerGroupTargetAssignmentMetadataKey
from engine.wire.messages.consumer_group_target_assignment_metadata_value import (
    ConsumerGroupTargetAssignmentMetadataValue,
)
from engine.wire.messages.group_metadata_key import GroupMetadataKey
from engine.wire.messages.group_metadata_value import GroupMetadataValue, MemberMetadata
from engine.wire.messages.offset_commit_key import OffsetCommitKey
from engine.wire.messages.offset_commit_value import OffsetCommitValue
from engine.wire.messages.share_group_current_member_assignment_key import ShareGroupCurrentMemberAssignmentKey
from engine.wire.messages.share_group_current_member_assignment_value import ShareGroupCurrentMemberAssignmentValue
from engine.wire.messages.share_group_member_metadata_key import ShareGroupMemberMetadataKey
from engine.wire.messages.share_group_member_metadata_value import ShareGroupMemberMetadataValue
from engine.wire.messages.share_group_metadata_key import ShareGroupMetadataKey
from engine.wire.messages.share_group_metadata_value import ShareGroupMetadataValue
from engine.wire.messages.share_group_state_partition_metadata_key import ShareGroupStatePartitionMetadataKey
from engine.wire.messages.share_group_state_partition_metadata_value import ShareGroupStatePartitionMetadataValue
from engine.wire.messages.share_group_target_assignment_member_key import ShareGroupTargetAssignmentMemberKey
from engine.wire.messages.share_group_target_assignment_member_value import ShareGroupTargetAssignmentMemberValue
from engine.wire.messages.share_group_target_assignment_metadata_key import ShareGroupTargetAssignmentMetadataKey
from engine.wire.messages.share_group_target_assignment_metadata_value import ShareGroupTargetAssignmentMetadataValue
from engine.wire.messages.streams_group_current_member_assignment_key import StreamsGroupCurrentMemberAssignmentKey
from engine.wire.messages.streams_group_current_member_assignment_value import StreamsGroupCurrentMemberAssignmentValue
from engine.wire.messages.streams_group_member_metadata_key import StreamsGroupMemberMetadataKey
from engine.wire.messages.streams_group_member_metadata_value import StreamsGroupMemberMetadataValue
from engine.wire.messages.streams_group_metadata_key import StreamsGroupMetadataKey
from engine.wire.messages.streams_group_metadata_value import StreamsGroupMetadataValue
from engine.wire.messages.streams_group_target_assignment_member_key import StreamsGroupTargetAssignmentMemberKey
from engine.wire.messages.streams_group_target_assignment_member_value import StreamsGroupTargetAssignmentMemberValue
from engine.wire.messages.streams_group_target_assignment_metadata_key import StreamsGroupTargetAssignmentMetadataKey
from engine.wire.messages.streams_group_target_assignment_metadata_value import (
    StreamsGroupTargetAssignmentMetadataValue,
)
from engine.wire.messages.streams_group_topology_key import StreamsGroupTopologyKey
from engine.wire.messages.streams_group_topology_value import StreamsGroupTopologyValue

GROUP_METADATA_VALUE_VERSION = 3
OFFSET_COMMIT_VALUE_VERSION = 4
_OFFSET_COMMIT_VALUE_VERSION_WITH_EXPIRY = 1

MAX_STRING_BYTES = 32_767
"""The versions above are not flexible: they write the length of a string in 16 bits."""

# More than the rest of a batch takes that holds one record, and more than what a record says of a member besides its
# strings and bytes.
_BATCH_BYTES = 160
_MEMBER_BYTES = 32

ShareGroupKey: TypeAlias = (
    ShareGroupMetadataKey
    | ShareGroupMemberMetadataKey
    | ShareGroupTargetAssignmentMetadataKey
    | ShareGroupTargetAssignmentMemberKey
    | ShareGroupCurrentMemberAssignmentKey
    | ShareGroupStatePartitionMetadataKey
)
ShareGroupValue: TypeAlias = (
    ShareGroupMetadataValue
    | ShareGroupMemberMetadataValue
    | ShareGroupTargetAssignmentMetadataValue
    | ShareGroupTargetAssignmentMemberValue
    | ShareGroupCurrentMemberAssignmentValue
    | ShareGroupStatePartitionMetadataValue
)
StreamsGroupKey: TypeAlias = (
    StreamsGroupMetadataKey
    | StreamsGroupMemberMetadataKey
    | StreamsGroupTargetAssignmentMetadataKey
    | StreamsGroupTargetAssignmentMemberKey
    | StreamsGroupCurrentMemberAssignmentKey
    | StreamsGroupTopologyKey
)
StreamsGroupValue: TypeAlias = (
    StreamsGroupMetadataValue
    | StreamsGroupMemberMetadataValue
    | StreamsGroupTargetAssignmentMetadataValue
    | StreamsGroupTargetAssignmentMemberValue
    | StreamsGroupCurrentMemberAssignmentValue
    | StreamsGroupTopologyValue
)
GroupKey: TypeAlias = (
    OffsetCommitKey
    | GroupMetadataKey
    | ConsumerGroupMetadataKey
    | ConsumerGroupPartitionMetadataKey
    | ConsumerGroupMemberMetadataKey
    | ConsumerGroupTargetAssignmentMetadataKey
    | ConsumerGroupTargetAssignmentMemberKey
    | ConsumerGroupCurrentMemberAssignmentKey
    | ConsumerGroupRegularExpressionKey
    | ShareGroupKey
    | StreamsGroupKey
)
GroupValue: TypeAlias = (
    OffsetCommitValue
    | GroupMetadataValue
    | ConsumerGroupMetadataValue
    | ConsumerGroupMemberMetadataValue
    | ConsumerGroupTargetAssignmentMetadataValue
    | ConsumerGroupTargetAssignmentMemberValue
    | ConsumerGroupCurrentMemberAssignmentValue
    | ConsumerGroupRegularExpressionValue
    | ShareGroupValue
    | StreamsGroupValue
)


class GroupRecord(NamedTuple):
    """One record to append; ``value`` None is a tombstone, ``value_version`` then means nothing."""

    key: GroupKey
    value: GroupValue | None
    value_version: int


class ShareStatesToInitialize(NamedTuple):
    """For the share coordinator: partitions that a share group begins to read. Answer with
    ``on_share_states_initialized``. ``topics`` are StateTopics by topic id."""

    group_id: str
    state_epoch: int
    topics: Mapping[Uuid, Any]


GroupEffects: TypeAlias = Effects[GroupRecord, ShareStatesToInitialize]
"""Replies must be held back until everything appended so far is committed (see GroupCoordinatorShard)."""


def offset_commit_record(group_id: str, topic: str, partition: int, offset: OffsetAndMetadata) -> GroupRecord:
    """A committed offset."""
    expires = offset.expire_timestamp_ms != NO_EXPIRE_TIMESTAMP_MS
    return GroupRecord(
        OffsetCommitKey(group=group_id, topic=topic, partition=partition),
        OffsetCommitValue(
            offset=offset.committed_offset,
            leader_epoch=offset.leader_epoch,
            metadata=offset.metadata,
            commit_timestamp=offset.commit_timestamp_ms,
            expire_timestamp=offset.expire_timestamp_ms,
            topic_id=offset.topic_id,
        ),
        _OFFSET_COMMIT_VALUE_VERSION_WITH_EXPIRY if expires else OFFSET_COMMIT_VALUE_VERSION,
    )


def offset_tombstone(group_id: str, topic: str, partition: int) -> GroupRecord:
    """The end of a committed offset."""
    return GroupRecord(OffsetCommitKey(group=group_id, topic=topic, partition=partition), None, 0)


def offset_from_value(value: OffsetCommitValue, record_offset: int) -> OffsetAndMetadata:
    """What an OffsetCommit value says."""
    return OffsetAndMetadata(
        value.offset,
        value.leader_epoch,
        value.metadata,
        value.commit_timestamp,
        value.expire_timestamp,
        value.topic_id,
        record_offset,
    )


def is_writable(text: str, room: int = 0) -> bool:
    """Whether a string fits into a record, with ``room`` bytes to spare."""
    limit = MAX_STRING_BYTES - room
    return len(text) * 4 <= limit or len(text.encode()) <= limit


def batch_bytes(group: ClassicGroup) -> int:
    """At least as many bytes as the batch takes that holds nothing but the group's metadata record."""
    name = group.protocol_name
    size = _BATCH_BYTES + _utf8_bytes(group.group_id, group.protocol_type, name, group.leader_id)
    for member in group.members.values():
        size += _MEMBER_BYTES + len(member.assignment)
        size += _utf8_bytes(member.member_id, member.group_instance_id, member.client_id, member.client_host)
        size += 0 if name is None else len(member.metadata(name))
    return size


def _utf8_bytes(*texts: str | None) -> int:
    return sum(len(text.encode()) for text in texts if text is not None)


def group_metadata_record(group: ClassicGroup) -> GroupRecord:
    """The group's generation with its members and their assignments."""
    return GroupRecord(
        GroupMetadataKey(group=group.group_id),
        GroupMetadataValue(
            protocol_type=group.protocol_type or "",
            generation=group.generation_id,
            protocol=group.protocol_name,
            leader=group.leader_id,
            current_state_timestamp=_timestamp_or_default(group),
            members=[_member_metadata(group, member) for member in group.members.values()],
        ),
        GROUP_METADATA_VALUE_VERSION,
    )


def empty_group_metadata_record(group: ClassicGroup) -> GroupRecord:
    """A group that has just been created: whatever it holds in memory, on disk it has no member yet."""
    return GroupRecord(
        GroupMetadataKey(group=group.group_id),
        GroupMetadataValue(
            protocol_type="",
            generation=0,
            protocol=None,
            leader=None,
            current_state_timestamp=_timestamp_or_default(group),
            members=[],
        ),
        GROUP_METADATA_VALUE_VERSION,
    )


def group_tombstone(group_id: str) -> GroupRecord:
    """The end of a group."""
    return GroupRecord(GroupMetadataKey(group=group_id), None, 0)


def group_from_value(group_id: str, value: GroupMetadataValue) -> ClassicGroup:
    """The group that a GroupMetadata value describes: Stable with members, Empty without.

    Only the chosen protocol was written, so that is all that a loaded member supports until it rejoins.
    """
    timestamp = value.current_state_timestamp
    group = ClassicGroup(
        group_id,
        GroupState.STABLE if value.members else GroupState.EMPTY,
        None if timestamp == -1 else timestamp,
    )
    group.generation_id = value.generation
    group.protocol_type = value.protocol_type or None
    group.protocol_name = value.protocol
    group.leader_id = value.leader
    for each in value.members:
        member = GroupMember(
            each.member_id,
            each.group_instance_id,
            each.client_id,
            each.client_host,
            each.session_timeout if each.rebalance_timeout == -1 else each.rebalance_timeout,
            each.session_timeout,
            value.protocol_type,
            ((value.protocol or "", bytes(each.subscription)),),
            bytes(each.assignment),
        )
        group.add(member)
    group.compute_subscribed_topics()
    return group


def _member_metadata(group: ClassicGroup, member: GroupMember) -> MemberMetadata:
    assert group.protocol_name is not None, f"group {group.group_id} has members but no protocol"
    return MemberMetadata(
        member_id=member.member_id,
        group_instance_id=member.group_instance_id,
        client_id=member.client_id,
        client_host=member.client_host,
        rebalance_timeout=member.rebalance_timeout_ms,
        session_timeout=member.session_timeout_ms,
        subscription=member.metadata(group.protocol_name),
        assignment=member.assignment,
    )


def _timestamp_or_default(group: ClassicGroup) -> int:
    return -1 if group.current_state_timestamp_ms is None else group.current_state_timestamp_ms
