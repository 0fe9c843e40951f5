"""What StreamsGroupDescribe says of a group (Kafka: StreamsGroup.asDescribedGroup)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from engine.core.group.streams_group import StreamsGroup
from engine.core.group.streams_member import StreamsMember
from engine.core.group.streams_tasks import TaskSet, without_epochs
from engine.core.group.streams_topology import InternalTopic
from engine.core.group.streams_topology import Subtopology as StreamsSubtopology
from engine.wire.messages.streams_group_describe_response import (
    Assignment,
    DescribedGroup,
    Endpoint,
    KeyValue,
    Member,
    Subtopology,
    TaskIds,
    TopicInfo,
    Topology,
)


def described(group: StreamsGroup) -> DescribedGroup:
    """The group as of now; its topology with the numbers of partitions that it has, once all topics are there."""
    return DescribedGroup(
        group_id=group.group_id,
        group_state=str(group.state),
        group_epoch=group.group_epoch,
        assignment_epoch=group.assignment_epoch,
        topology=_topology(group),
        members=[_member(member, group.target_of(member.member_id)) for member in group.members.values()],
    )


def _topology(group: StreamsGroup) -> Topology | None:
    configured = group.configured
    if configured is not None and configured.is_ready:
        return Topology(
            epoch=configured.epoch,
            subtopologies=[
                _subtopology(each.subtopology, each.repartition_source_topics, each.state_changelog_topics)
                for each in configured.subtopologies.values()
            ],
        )
    if group.topology is None:
        return None
    return Topology(
        epoch=group.topology.epoch,
        subtopologies=[
            _subtopology(each, each.repartition_source_topics, each.state_changelog_topics)
            for _, each in sorted(group.topology.subtopologies.items())
        ],
    )


def _subtopology(
    subtopology: StreamsSubtopology, repartition: Iterable[InternalTopic], changelogs: Iterable[InternalTopic]
) -> Subtopology:
    return Subtopology(
        subtopology_id=subtopology.subtopology_id,
        source_topics=sorted(subtopology.source_topics),
        repartition_sink_topics=sorted(subtopology.repartition_sink_topics),
        state_changelog_topics=_topic_infos(changelogs),
        repartition_source_topics=_topic_infos(repartition),
    )


def _topic_infos(topics: Iterable[InternalTopic]) -> list[TopicInfo]:
    return [
        TopicInfo(
            name=each.name,
            partitions=each.partitions,
            replication_factor=each.replication_factor,
            topic_configs=[KeyValue(key=key, value=value) for key, value in each.configs],
        )
        for each in sorted(topics, key=lambda topic: topic.name)
    ]


def _member(member: StreamsMember, target: TaskSet) -> Member:
    endpoint = member.user_endpoint
    return Member(
        member_id=member.member_id,
        member_epoch=member.member_epoch,
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        client_id=member.client_id,
        client_host=member.client_host,
        topology_epoch=member.topology_epoch,
        process_id=member.process_id,
        user_endpoint=None if endpoint is None else Endpoint(host=endpoint.host, port=endpoint.port),
        client_tags=[KeyValue(key=key, value=value) for key, value in member.client_tags],
        assignment=Assignment(
            active_tasks=_task_ids(without_epochs(member.assigned.active)),
            standby_tasks=_task_ids(member.assigned.standby),
            warmup_tasks=_task_ids(member.assigned.warmup),
        ),
        target_assignment=Assignment(
            active_tasks=_task_ids(target.active),
            standby_tasks=_task_ids(target.standby),
            warmup_tasks=_task_ids(target.warmup),
        ),
    )


def _task_ids(tasks: Mapping[str, Collection[int]]) -> list[TaskIds]:
    return [TaskIds(subtopology_id=each, partitions=sorted(numbers)) for each, numbers in sorted(tasks.items())]
