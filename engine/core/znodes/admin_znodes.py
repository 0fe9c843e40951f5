"""What tools ask the controller for by znodes under /admin, as Kafka's own did before there were requests for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.core.znodes import paths
from engine.core.znodes.json_fields import JsonFields, json_bytes
from engine.model.topic_partition import TopicPartition


def decode_reassignment(data: bytes) -> dict[TopicPartition, list[int]]:
    """/admin/reassign_partitions: the replicas that partitions shall have (ReassignPartitionsZNode).

    Raises:
        ZnodeCorrupt: it is not what kafka-reassign-partitions.sh wrote.
    """
    fields = JsonFields.parse(paths.REASSIGN_PARTITIONS, data)
    return {
        TopicPartition(each.text("topic"), each.integer("partition", low=0)): each.integers("replicas", low=0)
        for each in fields.objects("partitions")
    }


def encode_reassignment(partitions: Mapping[TopicPartition, Sequence[int] | None]) -> bytes:
    """The inverse of :func:`decode_reassignment`, in Kafka's order of fields."""
    named = [
        {"topic": each.topic, "partition": each.partition, "replicas": replicas or ()}
        for each, replicas in partitions.items()
    ]
    return json_bytes({"version": 1, "partitions": named})


def decode_partitions(fields: JsonFields) -> list[TopicPartition]:
    """The partitions that /admin/preferred_replica_election or a child of /isr_change_notification names.

    Raises:
        ZnodeCorrupt: they are not what Kafka writes there.
    """
    return [
        TopicPartition(each.text("topic"), each.integer("partition", low=0)) for each in fields.objects("partitions")
    ]
