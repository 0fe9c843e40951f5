"""Who has the state of which partitions, for questions to it (Kafka: EndpointToPartitionsManager)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from engine.core.group.group_topics import GroupTopics
from engine.core.group.streams_group import StreamsGroup
from engine.core.group.streams_tasks import without_epochs
from engine.core.group.streams_topics import ConfiguredTopology
from engine.wire.messages.streams_group_heartbeat_response import Endpoint, EndpointToPartitions, TopicPartition


def partitions_by_endpoint(group: StreamsGroup, topics: GroupTopics) -> list[EndpointToPartitions]:
    """Of every member that told where it answers questions, the partitions of the topics that its tasks read."""
    configured = group.configured
    if configured is None:
        return []
    return [
        EndpointToPartitions(
            user_endpoint=Endpoint(host=member.user_endpoint.host, port=member.user_endpoint.port),
            active_partitions=_partitions(without_epochs(member.assigned.active), configured, topics),
            standby_partitions=_partitions(member.assigned.standby, configured, topics),
        )
        for member in group.members.values()
        if member.user_endpoint is not None
    ]


def _partitions(
    tasks: Mapping[str, Collection[int]], configured: ConfiguredTopology, topics: GroupTopics
) -> list[TopicPartition]:
    answer = []
    for subtopology_id, numbers in sorted(tasks.items()):
        subtopology = configured.subtopologies.get(subtopology_id)
        for name in [] if subtopology is None else sorted(set(subtopology.subtopology.inputs)):
            topic = topics.by_name(name)
            if topic is not None:
                # A topic with fewer partitions than the subtopology has tasks has none for the others.
                own = [number for number in sorted(numbers) if number < topic.partition_count]
                answer.append(TopicPartition(topic=name, partitions=own))
    return answer
