"""Creating, deleting and growing topics; electing leaders; moving replicas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from engine.client.admin.metadata import MetadataAdmin
from engine.client.admin.outcome import check, refusal
from engine.model.errors import ErrorCode, KafkaError
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.alter_partition_reassignments_request import (
    AlterPartitionReassignmentsRequest,
    ReassignablePartition,
    ReassignableTopic,
)
from engine.wire.messages.alter_partition_reassignments_response import AlterPartitionReassignmentsResponse
from engine.wire.messages.create_partitions_request import CreatePartitionsRequest, CreatePartitionsTopic
from engine.wire.messages.create_partitions_response import CreatePartitionsResponse
from engine.wire.messages.create_topics_request import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from engine.wire.messages.create_topics_response import CreateTopicsResponse
from engine.wire.messages.delete_topics_request import DeleteTopicsRequest, DeleteTopicState
from engine.wire.messages.delete_topics_response import DeleteTopicsResponse
from engine.wire.messages.elect_leaders_request import ElectLeadersRequest, TopicPartitions
from engine.wire.messages.elect_leaders_response import ElectLeadersResponse
from engine.wire.messages.list_partition_reassignments_request import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsTopics,
)
from engine.wire.messages.list_partition_reassignments_response import ListPartitionReassignmentsResponse


class NewTopic(NamedTuple):
    """A topic to create. -1 takes the default; ``assignments`` (replicas by partition) rule out both counts."""

    name: str
    partitions: int = -1
    replication_factor: int = -1
    configs: Mapping[str, str | None] = {}
    assignments: Mapping[int, Sequence[int]] = {}


class CreatedTopic(NamedTuple):
    """What was created; counts are -1 where an old broker does not tell."""

    name: str
    topic_id: bytes
    partitions: int
    replication_factor: int


class ElectionType(IntEnum):
    """ElectLeaders' types."""

    PREFERRED = 0
    UNCLEAN = 1


class Reassignment(NamedTuple):
    """A move under way."""

    replicas: tuple[int, ...]
    adding_replicas: tuple[int, ...]
    removing_replicas: tuple[int, ...]


class TopicAdmin(MetadataAdmin):
    """Changes to topics. Brokers forward them to the active controller."""

    async def create_topics(
        self, topics: Iterable[NewTopic], *, validate_only: bool = False, timeout_ms: int = 15_000
    ) -> dict[str, CreatedTopic | KafkaError]:
        """Create topics; the answer comes when the controller has committed them.

        Raises:
            ClientError: no answer; what was created is then unknown.
        """
        request = CreateTopicsRequest(
            topics=[
                CreatableTopic(
                    name=topic.name,
                    num_partitions=-1 if topic.assignments else topic.partitions,
                    replication_factor=-1 if topic.assignments else topic.replication_factor,
                    assignments=[
                        CreatableReplicaAssignment(partition_index=index, broker_ids=list(replicas))
                        for index, replicas in sorted(topic.assignments.items())
                    ],
                    configs=[CreatableTopicConfig(name=name, value=value) for name, value in topic.configs.items()],
                )
                for topic in topics
            ],
            timeout_ms=timeout_ms,
            validate_only=validate_only,
        )
        response: CreateTopicsResponse = await self.brokers.send_any(
            request, idempotent=False, timeout_ms=timeout_ms + 1_000
        )
        return {
            each.name: refusal(each.error_code, each.error_message)
            or CreatedTopic(each.name, each.topic_id, each.num_partitions, each.replication_factor)
            for each in response.topics
        }

    async def delete_topics(self, names: Iterable[str], *, timeout_ms: int = 15_000) -> dict[str, KafkaError | None]:
        """Delete topics with all their records.

        Raises:
            ClientError: no answer; what was deleted is then unknown.
        """
        wanted = list(names)
        request = DeleteTopicsRequest(
            topics=[DeleteTopicState(name=name) for name in wanted], topic_names=[], timeout_ms=timeout_ms
        )
        response: DeleteTopicsResponse = await self.brokers.send_any(
            request, idempotent=False, timeout_ms=timeout_ms + 1_000
        )
        return {each.name or "": refusal(each.error_code, each.error_message) for each in response.responses}

    async def create_partitions(
        self, totals: Mapping[str, int], *, validate_only: bool = False, timeout_ms: int = 15_000
    ) -> dict[str, KafkaError | None]:
        """Give topics more partitions: ``totals`` are the new counts.

        Raises:
            ClientError: no answer; what was changed is then unknown.
        """
        request = CreatePartitionsRequest(
            topics=[CreatePartitionsTopic(name=name, count=total, assignments=None) for name, total in totals.items()],
            timeout_ms=timeout_ms,
            validate_only=validate_only,
        )
        response: CreatePartitionsResponse = await self.brokers.send_any(
            request, idempotent=False, timeout_ms=timeout_ms + 1_000
        )
        return {each.name: refusal(each.error_code, each.error_message) for each in response.results}

    async def elect_leaders(
        self,
        partitions: Iterable[TopicPartition] | None = None,
        *,
        election_type: ElectionType = ElectionType.PREFERRED,
        timeout_ms: int = 15_000,
    ) -> dict[TopicPartition, KafkaError | None]:
        """Elect leaders of ``partitions`` (``None``: of all). ``None`` for one that has a new leader now.

        ELECTION_NOT_NEEDED for named ones whose leader is the right one already.

        Raises:
            ClientError: no answer.
            KafkaError: the whole request is refused.
        """
        request = ElectLeadersRequest(election_type=int(election_type), timeout_ms=timeout_ms)
        if partitions is None:
            request.topic_partitions = None
        else:
            request.topic_partitions = [
                TopicPartitions(topic=topic, partitions=indexes) for topic, indexes in by_topic(partitions).items()
            ]
        response: ElectLeadersResponse = await self.brokers.send_any(
            request, idempotent=False, timeout_ms=timeout_ms + 1_000
        )
        check(response.error_code)
        return {
            TopicPartition(topic.topic, each.partition_id): refusal(each.error_code, each.error_message)
            for topic in response.replica_election_results
            for each in topic.partition_result
        }

    async def alter_reassignments(
        self, replicas: Mapping[TopicPartition, Sequence[int] | None], *, timeout_ms: int = 15_000
    ) -> dict[TopicPartition, KafkaError | None]:
        """Move partitions to ``replicas``; ``None`` cancels a move.

        Raises:
            ClientError: no answer.
            KafkaError: the whole request is refused.
        """
        topics: dict[str, ReassignableTopic] = {}
        for (topic, partition), wanted in replicas.items():
            topics.setdefault(topic, ReassignableTopic(name=topic)).partitions.append(
                ReassignablePartition(partition_index=partition, replicas=None if wanted is None else list(wanted))
            )
        request = AlterPartitionReassignmentsRequest(topics=list(topics.values()), timeout_ms=timeout_ms)
        response: AlterPartitionReassignmentsResponse = await self.brokers.send_any(
            request, idempotent=False, timeout_ms=timeout_ms + 1_000
        )
        check(response.error_code, response.error_message)
        return {
            TopicPartition(topic_response.name, each.partition_index): refusal(each.error_code, each.error_message)
            for topic_response in response.responses
            for each in topic_response.partitions
        }

    async def list_reassignments(
        self, partitions: Iterable[TopicPartition] | None = None, *, timeout_ms: int = 15_000
    ) -> dict[TopicPartition, Reassignment]:
        """Moves under way.

        Raises:
            ClientError: no answer.
            KafkaError: refused.
        """
        request = ListPartitionReassignmentsRequest(timeout_ms=timeout_ms)
        if partitions is not None:
            request.topics = [
                ListPartitionReassignmentsTopics(name=topic, partition_indexes=indexes)
                for topic, indexes in by_topic(partitions).items()
            ]
        else:
            request.topics = None
        response: ListPartitionReassignmentsResponse = await self.brokers.send_any(request)
        check(response.error_code, response.error_message)
        return {
            TopicPartition(topic.name, each.partition_index): Reassignment(
                tuple(each.replicas), tuple(each.adding_replicas), tuple(each.removing_replicas)
            )
            for topic in response.topics
            for each in topic.partitions
        }


def by_topic(partitions: Iterable[TopicPartition]) -> dict[str, list[int]]:
    """Partition numbers by topic."""
    grouped: dict[str, list[int]] = {}
    for topic, partition in partitions:
        grouped.setdefault(topic, []).append(partition)
    return grouped


def is_not_needed(outcome: KafkaError | None) -> bool:
    """Whether an election changed nothing because the leader was the right one."""
    return outcome is not None and outcome.code is ErrorCode.ELECTION_NOT_NEEDED
