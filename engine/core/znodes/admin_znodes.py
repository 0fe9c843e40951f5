"""What tools ask the controller for by znodes under /admin, as Kafka's own did before there were requests for it, and
offsets as consumers of Kafka 0.8 kept them."""

from __future__ import annotations

from engine.core.znodes import paths
from engine.core.znodes.cluster_znodes import plain_number
from engine.core.znodes.json_fields import JsonFields
from engine.core.znodes.notification_znodes import TopicPartition, decode_partitions


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


def decode_preferred_election(data: bytes) -> list[TopicPartition]:
    """/admin/preferred_replica_election: the partitions whose first replica shall lead. Raises: ZnodeCorrupt."""
    return decode_partitions(JsonFields.parse(paths.PREFERRED_ELECTION, data))


def encode_offset(offset: int) -> bytes:
    """/consumers/G/offsets/T/P: the offset in digits (ConsumerOffset)."""
    return str(offset).encode()


def decode_offset(path: str, data: bytes) -> int:
    """The inverse of :func:`encode_offset`. Raises: ZnodeCorrupt."""
    return plain_number(path, data, low=-1, high=2**63 - 1)
