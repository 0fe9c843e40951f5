"""The topology of a streams group, as its members tell it (Kafka: StreamsTopology, KIP-1071).

A subtopology reads topics, may repartition records by way of a topic that the next one reads, and keeps its state in
changelog topics. Each has as many tasks as the topics that it reads have partitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages import streams_group_topology_value as record


class InternalTopic(NamedTuple):
    """A topic that belongs to the application. 0 ``partitions``: as many as are needed; 0 ``replication_factor``: the
    cluster's default."""

    name: str
    partitions: int
    replication_factor: int
    configs: tuple[tuple[str, str], ...] = ()


class CopartitionGroup(NamedTuple):
    """Topics that must have equally many partitions, by their positions in the subtopology's lists."""

    source_topics: tuple[int, ...]
    source_topic_regex: tuple[int, ...]
    repartition_source_topics: tuple[int, ...]


class Subtopology(NamedTuple):
    """A connected part of the topology."""

    subtopology_id: str
    source_topics: tuple[str, ...]
    source_topic_regex: tuple[str, ...]
    repartition_sink_topics: tuple[str, ...]
    repartition_source_topics: tuple[InternalTopic, ...]
    state_changelog_topics: tuple[InternalTopic, ...]
    copartition_groups: tuple[CopartitionGroup, ...]

    @property
    def inputs(self) -> list[str]:
        """Names of all topics that it reads."""
        return [*self.source_topics, *(topic.name for topic in self.repartition_source_topics)]


class StreamsTopology(NamedTuple):
    """One topology. ``readers`` gives the subtopology that reads a topic."""

    epoch: int
    subtopologies: Mapping[str, Subtopology]
    readers: Mapping[str, str]

    def required_topics(self) -> set[str]:
        """Names of all topics that must be there."""
        names: set[str] = set()
        for each in self.subtopologies.values():
            names.update(each.inputs)
            names.update(topic.name for topic in each.state_changelog_topics)
        return names


def topology_from(message: Any) -> StreamsTopology:
    """Of a heartbeat request, or of a StreamsGroupTopology record: they say the same.

    Raises:
        KafkaError: STREAMS_INVALID_TOPOLOGY for two subtopologies of one id.
    """
    subtopologies: dict[str, Subtopology] = {}
    for each in message.subtopologies:
        if each.subtopology_id in subtopologies:
            raise KafkaError(ErrorCode.STREAMS_INVALID_TOPOLOGY, f"Subtopology {each.subtopology_id} comes twice.")
        subtopologies[each.subtopology_id] = Subtopology(
            each.subtopology_id,
            tuple(each.source_topics),
            tuple(each.source_topic_regex),
            tuple(each.repartition_sink_topics),
            tuple(_internal_topic(topic) for topic in each.repartition_source_topics),
            tuple(_internal_topic(topic) for topic in each.state_changelog_topics),
            tuple(
                CopartitionGroup(
                    tuple(group.source_topics),
                    tuple(group.source_topic_regex),
                    tuple(group.repartition_source_topics),
                )
                for group in each.copartition_groups
            ),
        )
    readers = {name: each.subtopology_id for each in subtopologies.values() for name in each.inputs}
    return StreamsTopology(message.epoch, subtopologies, readers)


def topology_value(topology: StreamsTopology) -> record.StreamsGroupTopologyValue:
    """The value of a record."""
    return record.StreamsGroupTopologyValue(
        epoch=topology.epoch,
        subtopologies=[
            record.Subtopology(
                subtopology_id=each.subtopology_id,
                source_topics=list(each.source_topics),
                source_topic_regex=list(each.source_topic_regex),
                state_changelog_topics=[_topic_info(topic) for topic in each.state_changelog_topics],
                repartition_sink_topics=list(each.repartition_sink_topics),
                repartition_source_topics=[_topic_info(topic) for topic in each.repartition_source_topics],
                copartition_groups=[
                    record.CopartitionGroup(
                        source_topics=list(group.source_topics),
                        source_topic_regex=list(group.source_topic_regex),
                        repartition_source_topics=list(group.repartition_source_topics),
                    )
                    for group in each.copartition_groups
                ],
            )
            for each in topology.subtopologies.values()
        ],
    )


def _internal_topic(topic: Any) -> InternalTopic:
    configs = tuple((each.key, each.value) for each in topic.topic_configs)
    return InternalTopic(topic.name, topic.partitions, topic.replication_factor, configs)


def _topic_info(topic: InternalTopic) -> record.TopicInfo:
    return record.TopicInfo(
        name=topic.name,
        partitions=topic.partitions,
        replication_factor=topic.replication_factor,
        topic_configs=[record.TopicConfig(key=key, value=value) for key, value in topic.configs],
    )
