"""What a topology asks of topics: how many tasks there are, and which internal topics are still to be created.

The logic of Kafka's InternalTopicManager, RepartitionTopics, CopartitionedTopicsEnforcer and ChangelogTopics. One
difference: the topics of a copartition group are compared with each other only, not with repartition topics elsewhere
in the topology (docs/decisions/0015).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

from engine.core.group.group_topics import GroupTopics
from engine.core.group.streams_topology import InternalTopic, StreamsTopology, Subtopology
from engine.model.errors import ErrorCode, KafkaError

_TOPICS_TOLD = 3


class StreamsStatus(IntEnum):
    """What a heartbeat's answer says besides errors (StreamsGroupHeartbeatResponse.Status)."""

    STALE_TOPOLOGY = 0
    MISSING_SOURCE_TOPICS = 1
    INCORRECTLY_PARTITIONED_TOPICS = 2
    MISSING_INTERNAL_TOPICS = 3
    SHUTDOWN_APPLICATION = 4
    ASSIGNMENT_DELAYED = 5


class TopicsProblem(Exception):
    """The topics are not (yet) such that tasks can be given out."""

    def __init__(self, status: StreamsStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class ConfiguredSubtopology(NamedTuple):
    """A subtopology with the number of its tasks and of the partitions of its own topics."""

    subtopology: Subtopology
    task_count: int
    repartition_source_topics: tuple[InternalTopic, ...]
    state_changelog_topics: tuple[InternalTopic, ...]

    @property
    def is_stateful(self) -> bool:
        return bool(self.state_changelog_topics)


class ConfiguredTopology(NamedTuple):
    """A topology over the topics of one moment. ``problem`` None: tasks can be given out. ``subtopologies`` by id, in
    order; empty if the topics leave open how many tasks there are."""

    epoch: int
    subtopologies: Mapping[str, ConfiguredSubtopology]
    to_create: tuple[InternalTopic, ...] = ()
    problem: TopicsProblem | None = None

    @property
    def is_ready(self) -> bool:
        return self.problem is None


def configure(topology: StreamsTopology, topics: GroupTopics) -> ConfiguredTopology:
    """Look at the topics.

    Raises:
        KafkaError: STREAMS_INVALID_TOPOLOGY for a topology that no topics can make work.
    """
    try:
        _check_sources(topology, topics)
        counts = _PartitionCounts(topology, topics)
        subtopologies = {
            subtopology_id: _configured(subtopology, counts)
            for subtopology_id, subtopology in sorted(topology.subtopologies.items())
        }
        missing = _missing(subtopologies.values(), topics)
    except TopicsProblem as problem:
        return ConfiguredTopology(topology.epoch, {}, problem=problem)
    problem_left = None
    if missing:
        detail = f"Internal topics are missing: {_told([topic.name for topic in missing])}"
        problem_left = TopicsProblem(StreamsStatus.MISSING_INTERNAL_TOPICS, detail)
    return ConfiguredTopology(topology.epoch, subtopologies, missing, problem_left)


def _check_sources(topology: StreamsTopology, topics: GroupTopics) -> None:
    sources = {name for each in topology.subtopologies.values() for name in each.source_topics}
    missing = sorted(name for name in sources if topics.by_name(name) is None)
    if missing:
        raise TopicsProblem(StreamsStatus.MISSING_SOURCE_TOPICS, f"Source topics {_told(missing)} are missing.")


class _PartitionCounts:
    """How many partitions each topic has, or shall have. What exists counts as it is."""

    def __init__(self, topology: StreamsTopology, topics: GroupTopics) -> None:
        self._topics = topics
        self._subtopologies = list(topology.subtopologies.values())
        self.decided: dict[str, int] = {}
        self.decided.update(self._repartition_topics())
        for subtopology in self._subtopologies:
            for group in _copartition_groups(subtopology):
                self.decided.update(self._copartitioned(group))
        for subtopology in self._subtopologies:
            inputs = subtopology.inputs
            if not inputs:
                raise _invalid(f"No source topics found for subtopology {subtopology.subtopology_id}")
            count = max(self.of(name) for name in inputs)
            self.decided.update({topic.name: count for topic in subtopology.state_changelog_topics})

    def of(self, name: str) -> int:
        topic = self._topics.by_name(name)
        if topic is not None:
            return topic.partition_count
        if name not in self.decided:
            raise _invalid(f"Number of partitions is not set for topic: {name}")
        return self.decided[name]

    def _repartition_topics(self) -> dict[str, int]:
        """Every repartition topic gets as many partitions as the subtopology that writes it has tasks."""
        counts = {
            topic.name: topic.partitions
            for each in self._subtopologies
            for topic in each.repartition_source_topics
            if topic.partitions
        }
        open_left = True
        while open_left:
            open_left, progress = False, False
            for subtopology in self._subtopologies:
                for sink in subtopology.repartition_sink_topics:
                    if sink in counts:
                        continue
                    count = self._task_count(subtopology, counts)
                    if count is None:
                        open_left = True
                    else:
                        counts[sink] = count
                        progress = True
            if open_left and not progress:
                raise _invalid(
                    "Failed to compute number of partitions for all repartition topics. There may be loops in the "
                    "topology that cannot be resolved."
                )
        if any(topic.name not in counts for each in self._subtopologies for topic in each.repartition_source_topics):
            raise _invalid(
                "Failed to compute number of partitions for all repartition topics, because a repartition source "
                "topic is never used as a sink topic."
            )
        return counts

    def _task_count(self, subtopology: Subtopology, counts: Mapping[str, int]) -> int | None:
        found = [counts[each.name] for each in subtopology.repartition_source_topics if each.name in counts]
        existing = (self._topics.by_name(name) for name in subtopology.source_topics)
        found += [topic.partition_count for topic in existing if topic is not None]
        return max(found, default=None)

    def _copartitioned(self, group: Collection[str]) -> dict[str, int]:
        """Counts of the repartition topics of a copartition group. Raises: TopicsProblem."""
        repartition = {topic.name: topic for each in self._subtopologies for topic in each.repartition_source_topics}
        own = {name: self.of(name) for name in group if name in repartition}
        fixed = {name: count for name, count in own.items() if repartition[name].partitions}
        others = {name: self.of(name) for name in group if name not in repartition}
        deciding = others or fixed
        if len(set(deciding.values())) > 1:
            told = ", ".join(f"{name}={count}" for name, count in sorted(deciding.items()))
            detail = f"Following topics do not have the same number of partitions: [{{{told}}}]"
            raise TopicsProblem(StreamsStatus.INCORRECTLY_PARTITIONED_TOPICS, detail)
        count = max((deciding or own).values(), default=0)
        for name, has in fixed.items():
            if has != count:
                detail = (
                    f"Number of partitions [{has}] of repartition topic [{name}] doesn't match number of partitions "
                    f"[{count}] of the source topic."
                )
                raise TopicsProblem(StreamsStatus.INCORRECTLY_PARTITIONED_TOPICS, detail)
        return dict.fromkeys(own, count)


def _copartition_groups(subtopology: Subtopology) -> list[set[str]]:
    sources, repartition = (
        list(subtopology.source_topics),
        [each.name for each in subtopology.repartition_source_topics],
    )
    groups = []
    for each in subtopology.copartition_groups:
        pairs = [(sources, index) for index in each.source_topics]
        pairs += [(repartition, index) for index in each.repartition_source_topics]
        if not all(0 <= index < len(names) for names, index in pairs):
            raise _invalid(
                f"A copartition group of subtopology {subtopology.subtopology_id} names a topic that is not there"
            )
        if pairs:
            groups.append({names[index] for names, index in pairs})
    return groups


def _configured(subtopology: Subtopology, counts: _PartitionCounts) -> ConfiguredSubtopology:
    def sized(topics: Iterable[InternalTopic]) -> tuple[InternalTopic, ...]:
        return tuple(
            each if each.partitions else each._replace(partitions=counts.decided[each.name])
            for each in sorted(topics, key=lambda topic: topic.name)
        )

    return ConfiguredSubtopology(
        subtopology,
        max(counts.of(name) for name in subtopology.inputs),
        sized(subtopology.repartition_source_topics),
        sized(subtopology.state_changelog_topics),
    )


def _missing(subtopologies: Iterable[ConfiguredSubtopology], topics: GroupTopics) -> tuple[InternalTopic, ...]:
    """Raises: TopicsProblem: a topic is there and has another number of partitions."""
    wanted: dict[str, InternalTopic] = {}
    for each in subtopologies:
        wanted.update({topic.name: topic for topic in each.repartition_source_topics})
        wanted.update({topic.name: topic for topic in each.state_changelog_topics})
    missing = []
    for name, expected in sorted(wanted.items()):
        topic = topics.by_name(name)
        if topic is None:
            missing.append(expected)
        elif topic.partition_count != expected.partitions:
            detail = (
                f"Existing topic {name} has different number of partitions: expected {expected.partitions}, found "
                f"{topic.partition_count}"
            )
            raise TopicsProblem(StreamsStatus.INCORRECTLY_PARTITIONED_TOPICS, detail)
    return tuple(missing)


def _told(names: list[str]) -> str:
    more = len(names) - _TOPICS_TOLD
    return ", ".join(names[:_TOPICS_TOLD]) + (f" and {more} additional topics" if more > 0 else "")


def _invalid(message: str) -> KafkaError:
    return KafkaError(ErrorCode.STREAMS_INVALID_TOPOLOGY, message)
