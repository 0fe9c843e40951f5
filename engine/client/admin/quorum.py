"""The metadata quorum: who leads it, how far its nodes are."""

from __future__ import annotations

from typing import NamedTuple

from engine.client.admin.base import AdminBase
from engine.client.admin.outcome import check
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages.describe_quorum_request import DescribeQuorumRequest, PartitionData, TopicData
from engine.wire.messages.describe_quorum_response import DescribeQuorumResponse, ReplicaState

_METADATA_TOPIC = "__cluster_metadata"


class QuorumReplica(NamedTuple):
    """A voter or observer; times are the leader's wall clock in ms, ``None`` if it never fetched."""

    node_id: int
    directory_id: bytes
    log_end_offset: int
    last_fetch_at_ms: int | None
    last_caught_up_at_ms: int | None


class QuorumDescription(NamedTuple):
    """The quorum as its leader, the active controller, sees it."""

    leader_id: int
    leader_epoch: int
    high_watermark: int
    voters: tuple[QuorumReplica, ...]
    observers: tuple[QuorumReplica, ...]


class QuorumAdmin(AdminBase):
    """DescribeQuorum. Brokers forward it to the leader."""

    async def describe_quorum(self, *, timeout_ms: float | None = None) -> QuorumDescription:
        """The quorum.

        Raises:
            ClientError: nobody answers, or the cluster has none (ZooKeeper).
            KafkaError: refused; NOT_LEADER_OR_FOLLOWER during an election.
        """
        request = DescribeQuorumRequest(
            topics=[TopicData(topic_name=_METADATA_TOPIC, partitions=[PartitionData(partition_index=0)])]
        )
        response: DescribeQuorumResponse = await self.brokers.send_any(request, timeout_ms=timeout_ms)
        check(response.error_code, response.error_message)
        for topic in response.topics:
            for each in topic.partitions:
                check(each.error_code, each.error_message)
                return QuorumDescription(
                    each.leader_id,
                    each.leader_epoch,
                    each.high_watermark,
                    tuple(_replica(replica) for replica in each.current_voters),
                    tuple(_replica(replica) for replica in each.observers),
                )
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "the answer has no partition of the metadata log")


def _replica(state: ReplicaState) -> QuorumReplica:
    return QuorumReplica(
        state.replica_id,
        state.replica_directory_id,
        state.log_end_offset,
        state.last_fetch_timestamp if state.last_fetch_timestamp >= 0 else None,
        state.last_caught_up_timestamp if state.last_caught_up_timestamp >= 0 else None,
    )
