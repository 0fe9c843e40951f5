"""Records of streams groups as Kafka 4.3 writes them (StreamsCoordinatorRecordHelpers), and what becomes of groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from engine.core.group.records import GroupRecord
from engine.core.group.streams_group import StreamsGroup
from engine.core.group.streams_member import LEAVE_MEMBER_EPOCH, Endpoint, StreamsMember, TaskState
from engine.core.group.streams_tasks import OWNS_NO_TASKS, EpochTasks, OwnedTasks, Tasks, TaskSet, to_tasks
from engine.core.group.streams_topology import StreamsTopology, topology_from, topology_value
from engine.wire.messages import streams_group_current_member_assignment_value as current
from engine.wire.messages import streams_group_member_metadata_value as metadata
from engine.wire.messages import streams_group_target_assignment_member_value as target_value
from engine.wire.messages.streams_group_current_member_assignment_key import StreamsGroupCurrentMemberAssignmentKey
from engine.wire.messages.streams_group_member_metadata_key import StreamsGroupMemberMetadataKey
from engine.wire.messages.streams_group_metadata_key import StreamsGroupMetadataKey
from engine.wire.messages.streams_group_metadata_value import LastAssignmentConfig, StreamsGroupMetadataValue
from engine.wire.messages.streams_group_target_assignment_member_key import StreamsGroupTargetAssignmentMemberKey
from engine.wire.messages.streams_group_target_assignment_metadata_key import StreamsGroupTargetAssignmentMetadataKey
from engine.wire.messages.streams_group_target_assignment_metadata_value import (
    StreamsGroupTargetAssignmentMetadataValue,
)
from engine.wire.messages.streams_group_topology_key import StreamsGroupTopologyKey

NO_ASSIGNMENT_EPOCH = -1
_VERSION = 0

# -- records ---------------------------------------------------------------------------------------------------


def member_record(group_id: str, member: StreamsMember) -> GroupRecord:
    """What a member says of itself."""
    endpoint = member.user_endpoint
    value = metadata.StreamsGroupMemberMetadataValue(
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        client_id=member.client_id,
        client_host=member.client_host,
        rebalance_timeout_ms=member.rebalance_timeout_ms,
        topology_epoch=member.topology_epoch,
        process_id=member.process_id,
        user_endpoint=None if endpoint is None else metadata.Endpoint(host=endpoint.host, port=endpoint.port),
        client_tags=[metadata.KeyValue(key=key, value=text) for key, text in member.client_tags],
    )
    return GroupRecord(StreamsGroupMemberMetadataKey(group_id=group_id, member_id=member.member_id), value, _VERSION)


def topology_record(group_id: str, topology: StreamsTopology) -> GroupRecord:
    """The group's topology."""
    return GroupRecord(StreamsGroupTopologyKey(group_id=group_id), topology_value(topology), _VERSION)


def group_epoch_record(
    group_id: str, epoch: int, metadata_hash: int, validated_topology_epoch: int, configs: Mapping[str, str]
) -> GroupRecord:
    """The group epoch, and the topics, topology and configs for which it stands."""
    value = StreamsGroupMetadataValue(
        epoch=epoch,
        metadata_hash=metadata_hash,
        validated_topology_epoch=validated_topology_epoch,
        last_assignment_configs=[LastAssignmentConfig(key=key, value=text) for key, text in sorted(configs.items())],
    )
    return GroupRecord(StreamsGroupMetadataKey(group_id=group_id), value, _VERSION)


def target_record(group_id: str, member_id: str, target: TaskSet) -> GroupRecord:
    """What a member shall have."""

    def listed(tasks: Tasks) -> list[target_value.TaskIds]:
        return [
            target_value.TaskIds(subtopology_id=each, partitions=sorted(numbers))
            for each, numbers in sorted(tasks.items())
        ]

    value = target_value.StreamsGroupTargetAssignmentMemberValue(
        active_tasks=listed(target.active), standby_tasks=listed(target.standby), warmup_tasks=listed(target.warmup)
    )
    return GroupRecord(StreamsGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id), value, _VERSION)


def assignment_epoch_record(group_id: str, epoch: int, timestamp_ms: int) -> GroupRecord:
    """All targets are those of this group epoch; ``timestamp_ms`` of the wall clock."""
    value = StreamsGroupTargetAssignmentMetadataValue(assignment_epoch=epoch, assignment_timestamp=timestamp_ms)
    return GroupRecord(StreamsGroupTargetAssignmentMetadataKey(group_id=group_id), value, _VERSION)


def current_assignment_record(group_id: str, member: StreamsMember) -> GroupRecord:
    """What a member may have, and in which epoch it is."""
    has, pending = member.assigned, member.pending_revocation
    value = current.StreamsGroupCurrentMemberAssignmentValue(
        member_epoch=member.member_epoch,
        previous_member_epoch=member.previous_member_epoch,
        state=int(member.state),
        active_tasks=_with_epochs(has.active),
        standby_tasks=_listed(has.standby),
        warmup_tasks=_listed(has.warmup),
        active_tasks_pending_revocation=_with_epochs(pending.active),
        standby_tasks_pending_revocation=_listed(pending.standby),
        warmup_tasks_pending_revocation=_listed(pending.warmup),
    )
    key = StreamsGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member.member_id)
    return GroupRecord(key, value, _VERSION)


def member_tombstones(group_id: str, member_id: str) -> list[GroupRecord]:
    """The end of a member; the order matters to those who replay."""
    return [
        GroupRecord(StreamsGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member_id), None, 0),
        GroupRecord(StreamsGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id), None, 0),
        GroupRecord(StreamsGroupMemberMetadataKey(group_id=group_id, member_id=member_id), None, 0),
    ]


def group_tombstones(group_id: str) -> list[GroupRecord]:
    """The end of a group without members."""
    return [
        GroupRecord(StreamsGroupTargetAssignmentMetadataKey(group_id=group_id), None, 0),
        GroupRecord(StreamsGroupMetadataKey(group_id=group_id), None, 0),
        GroupRecord(StreamsGroupTopologyKey(group_id=group_id), None, 0),
    ]


def _listed(tasks: Tasks) -> list[current.TaskIds]:
    return [current.TaskIds(subtopology_id=each, partitions=sorted(numbers)) for each, numbers in sorted(tasks.items())]


def _with_epochs(tasks: EpochTasks) -> list[current.TaskIds]:
    return [
        current.TaskIds(
            subtopology_id=each,
            partitions=sorted(epochs),
            assignment_epochs=[epochs[number] for number in sorted(epochs)],
        )
        for each, epochs in sorted(tasks.items())
    ]


# -- replay ----------------------------------------------------------------------------------------------------

STREAMS_GROUP_KEYS = (
    StreamsGroupMetadataKey,
    StreamsGroupMemberMetadataKey,
    StreamsGroupTargetAssignmentMetadataKey,
    StreamsGroupTargetAssignmentMemberKey,
    StreamsGroupCurrentMemberAssignmentKey,
    StreamsGroupTopologyKey,
)


def replay_streams_group(groups: dict[str, StreamsGroup], key: Any, value: Any) -> None:
    """Apply one record of a streams group. A tombstone of what is not there changes nothing: the log was compacted."""
    group = groups.get(key.group_id)
    if group is None:
        if value is None:
            return
        group = groups[key.group_id] = StreamsGroup(key.group_id)
    match key:
        case StreamsGroupMemberMetadataKey():
            _replay_member(group, key.member_id, value)
        case StreamsGroupCurrentMemberAssignmentKey():
            _replay_current_assignment(group, key.member_id, value)
        case StreamsGroupTargetAssignmentMemberKey():
            if value is None:
                group.targets.pop(key.member_id, None)
            else:
                group.targets[key.member_id] = TaskSet(
                    to_tasks(value.active_tasks), to_tasks(value.standby_tasks), to_tasks(value.warmup_tasks)
                )
        case StreamsGroupTargetAssignmentMetadataKey():
            if value is None:
                group.assignment_epoch, group.assignment_timestamp_ms = NO_ASSIGNMENT_EPOCH, 0
            else:
                group.assignment_epoch = value.assignment_epoch
                group.assignment_timestamp_ms = value.assignment_timestamp
        case StreamsGroupMetadataKey():
            if value is None:
                del groups[key.group_id]
            else:
                group.group_epoch, group.metadata_hash = value.epoch, value.metadata_hash
                group.validated_topology_epoch = value.validated_topology_epoch
                group.assignment_configs = {each.key: each.value for each in value.last_assignment_configs or ()}
        case StreamsGroupTopologyKey():
            group.topology = None if value is None else topology_from(value)
            group.configured, group.needs_metadata = None, True


def _replay_member(group: StreamsGroup, member_id: str, value: metadata.StreamsGroupMemberMetadataValue | None) -> None:
    if value is None:
        group.drop_member(member_id)
        return
    endpoint = value.user_endpoint
    group.put_member(
        group.members.get(member_id, StreamsMember(member_id))._replace(
            instance_id=value.instance_id,
            rack_id=value.rack_id,
            client_id=value.client_id,
            client_host=value.client_host,
            rebalance_timeout_ms=value.rebalance_timeout_ms,
            topology_epoch=value.topology_epoch,
            process_id=value.process_id,
            user_endpoint=None if endpoint is None else Endpoint(endpoint.host, endpoint.port),
            client_tags=tuple((each.key, each.value) for each in value.client_tags),
        )
    )


def _replay_current_assignment(
    group: StreamsGroup, member_id: str, value: current.StreamsGroupCurrentMemberAssignmentValue | None
) -> None:
    if value is None:
        member = group.members.get(member_id)
        if member is not None:
            group.put_member(
                member._replace(
                    member_epoch=LEAVE_MEMBER_EPOCH,
                    previous_member_epoch=LEAVE_MEMBER_EPOCH,
                    assigned=OWNS_NO_TASKS,
                    pending_revocation=OWNS_NO_TASKS,
                )
            )
        return
    group.put_member(
        group.members.get(member_id, StreamsMember(member_id))._replace(
            member_epoch=value.member_epoch,
            previous_member_epoch=value.previous_member_epoch,
            state=TaskState.from_value(value.state),
            assigned=OwnedTasks(
                _epoch_tasks(value.active_tasks, value.member_epoch),
                to_tasks(value.standby_tasks),
                to_tasks(value.warmup_tasks),
            ),
            pending_revocation=OwnedTasks(
                _epoch_tasks(value.active_tasks_pending_revocation, value.member_epoch),
                to_tasks(value.standby_tasks_pending_revocation),
                to_tasks(value.warmup_tasks_pending_revocation),
            ),
        )
    )


def _epoch_tasks(listed: Iterable[current.TaskIds], member_epoch: int) -> EpochTasks:
    """Versions of Kafka before 4.3 write no epochs: then the member's epoch stands for all."""
    owned: dict[str, Mapping[int, int]] = {}
    for each in listed:
        epochs = each.assignment_epochs
        if epochs is None or len(epochs) != len(each.partitions):
            epochs = [member_epoch] * len(each.partitions)
        if each.partitions:
            owned[each.subtopology_id] = dict(zip(each.partitions, epochs, strict=True))
    return owned
