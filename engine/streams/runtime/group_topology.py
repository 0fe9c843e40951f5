"""A topology as the streams group protocol tells it (KIP-1071), and the tasks that come back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from engine.streams.runtime.config import StreamsConfigError
from engine.streams.topology import InternalTopic, SubTopology
from engine.wire.messages.streams_group_heartbeat_request import CopartitionGroup, KeyValue, Subtopology, TopicInfo
from engine.wire.messages.streams_group_heartbeat_request import TaskIds as OwnedTaskIds
from engine.wire.messages.streams_group_heartbeat_request import Topology as GroupTopology


class TaskId(NamedTuple):
    """A task: a sub-topology and a partition of its input. Written ``0_3``, as Kafka does."""

    sub_topology: int
    partition: int

    def __str__(self) -> str:
        return f"{self.sub_topology}_{self.partition}"


Tasks: TypeAlias = frozenset[TaskId]


class Assignment(NamedTuple):
    """What a member has, or shall have."""

    active: Tasks = frozenset()
    standby: Tasks = frozenset()
    warmup: Tasks = frozenset()


NO_TASKS = Assignment()


def group_topology(sub_topologies: Iterable[SubTopology], replication_factor: int) -> GroupTopology:
    """The description that the first member gives; equal for all members, whatever order sets have in them.

    Raises:
        StreamsConfigError: a source reads topics by a pattern, which brokers do not take yet.
    """
    found = []
    for each in sub_topologies:
        if each.is_global or not (each.source_topics or each.source_patterns):
            continue
        if each.source_patterns:
            raise StreamsConfigError(
                f"sub-topology {each.id} reads topics by the pattern {each.source_patterns[0]}: streams groups "
                "(KIP-1071) do not support patterns yet, on any broker; name the topics"
            )
        sources = sorted(topic for topic in each.source_topics if topic not in each.repartition_sources)
        repartitions = sorted(each.repartition_sources)
        found.append(
            Subtopology(
                subtopology_id=str(each.id),
                source_topics=sources,
                repartition_sink_topics=sorted(set(each.repartition_sinks)),
                repartition_source_topics=[
                    _topic(each.repartition_sources[name], replication_factor) for name in repartitions
                ],
                state_changelog_topics=[
                    _topic(each.changelogs[name], replication_factor) for name in sorted(each.changelogs)
                ],
                copartition_groups=[
                    CopartitionGroup(
                        source_topics=[sources.index(name) for name in sorted(group) if name in sources],
                        repartition_source_topics=[
                            repartitions.index(name) for name in sorted(group) if name in repartitions
                        ],
                    )
                    for group in sorted(each.copartition_groups, key=sorted)
                    if len(group) > 1
                ],
            )
        )
    return GroupTopology(epoch=0, subtopologies=found)


def _topic(topic: InternalTopic, replication_factor: int) -> TopicInfo:
    return TopicInfo(
        name=topic.name,
        partitions=topic.partitions or 0,
        replication_factor=max(0, replication_factor),
        topic_configs=[KeyValue(key=name, value=value) for name, value in sorted(topic.config.items())],
    )


def tasks_of(listed: Sequence[Any] | None) -> Tasks:
    """Tasks of a heartbeat's answer."""
    return frozenset(TaskId(int(each.subtopology_id), number) for each in listed or () for number in each.partitions)


def owned(tasks: Tasks) -> list[OwnedTaskIds]:
    """Tasks for a heartbeat."""
    by_sub_topology: dict[int, list[int]] = {}
    for task in sorted(tasks):
        by_sub_topology.setdefault(task.sub_topology, []).append(task.partition)
    return [OwnedTaskIds(subtopology_id=str(each), partitions=numbers) for each, numbers in by_sub_topology.items()]


def wrong_partitions(detail: str) -> str:
    """What a broker or leader says of topics whose partitions do not fit, with what helps."""
    remedy = "give topics that are joined the same number of partitions, or repartition() one of them"
    if detail.startswith("Existing topic"):
        remedy = (
            "an internal topic is created again once it is deleted, without what it held; "
            "kafka-streams-application-reset.sh begins anew"
        )
    return f"INCORRECTLY_PARTITIONED_TOPICS: {detail} ({remedy})"
