"""Requests of the quorum between the machine's flat form and Kafka's messages (RaftUtil)."""

from __future__ import annotations

from typing import Any

from engine.broker.quorum import voter_requests
from engine.core.raft.identity import Endpoint, OffsetAndEpoch, ReplicaKey
from engine.core.raft.messages import (
    BeginQuorumEpochRequest,
    EndQuorumEpochRequest,
    FetchRequest,
    FetchSnapshotRequest,
    Request,
    SupportedVersionsRequest,
    UpdateVoterRequest,
    VoteRequest,
)
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import METADATA_TOPIC_ID
from engine.wire.message import Message
from engine.wire.messages import (
    begin_quorum_epoch_request,
    end_quorum_epoch_request,
    fetch_request,
    fetch_snapshot_request,
    vote_request,
)

METADATA_TOPIC = "__cluster_metadata"


def encode_request(request: Request, cluster_id: str | None, endpoint: Endpoint | None) -> Message:
    """The message for a peer; ``endpoint`` is this node's controller listener, which a leader tells (KIP-853)."""
    if isinstance(request, FetchRequest):
        return fetch_request.FetchRequest(
            cluster_id=cluster_id,
            replica_state=fetch_request.ReplicaState(replica_id=request.replica.id, replica_epoch=-1),
            max_wait_ms=request.max_wait_ms,
            min_bytes=0,
            max_bytes=request.max_bytes,
            topics=[
                fetch_request.FetchTopic(
                    topic=METADATA_TOPIC,
                    topic_id=METADATA_TOPIC_ID,
                    partitions=[
                        fetch_request.FetchPartition(
                            partition=0,
                            current_leader_epoch=request.epoch,
                            fetch_offset=request.fetch_offset,
                            last_fetched_epoch=request.last_fetched_epoch,
                            partition_max_bytes=request.max_bytes,
                            replica_directory_id=request.replica.directory_id,
                            high_watermark=request.high_watermark,
                        )
                    ],
                )
            ],
        )
    if isinstance(request, VoteRequest):
        return vote_request.VoteRequest(
            cluster_id=cluster_id,
            voter_id=request.voter.id,
            topics=[
                vote_request.TopicData(
                    METADATA_TOPIC,
                    [
                        vote_request.PartitionData(
                            partition_index=0,
                            replica_epoch=request.epoch,
                            replica_id=request.candidate.id,
                            replica_directory_id=request.candidate.directory_id,
                            voter_directory_id=request.voter.directory_id,
                            last_offset_epoch=request.last_offset_epoch,
                            last_offset=request.last_offset,
                            pre_vote=request.pre_vote,
                        )
                    ],
                )
            ],
        )
    if isinstance(request, BeginQuorumEpochRequest):
        begin = begin_quorum_epoch_request
        return begin.BeginQuorumEpochRequest(
            cluster_id=cluster_id,
            voter_id=request.voter.id,
            topics=[
                begin.TopicData(
                    METADATA_TOPIC,
                    [
                        begin.PartitionData(
                            partition_index=0,
                            voter_directory_id=request.voter.directory_id,
                            leader_id=request.leader_id,
                            leader_epoch=request.epoch,
                        )
                    ],
                )
            ],
            leader_endpoints=[begin.LeaderEndpoint(*endpoint)] if endpoint is not None else [],
        )
    if isinstance(request, EndQuorumEpochRequest):
        end = end_quorum_epoch_request
        return end.EndQuorumEpochRequest(
            cluster_id=cluster_id,
            topics=[
                end.TopicData(
                    METADATA_TOPIC,
                    [
                        end.PartitionData(
                            partition_index=0,
                            leader_id=request.leader_id,
                            leader_epoch=request.epoch,
                            preferred_successors=[each.id for each in request.preferred_candidates],
                            preferred_candidates=[end.ReplicaInfo(*each) for each in request.preferred_candidates],
                        )
                    ],
                )
            ],
            leader_endpoints=[end.LeaderEndpoint(*endpoint)] if endpoint is not None else [],
        )
    if isinstance(request, UpdateVoterRequest):
        return voter_requests.encode_update(request, cluster_id)
    if isinstance(request, SupportedVersionsRequest):
        return voter_requests.encode_versions_request()
    snapshot = fetch_snapshot_request
    return snapshot.FetchSnapshotRequest(
        cluster_id=cluster_id,
        replica_id=request.replica.id,
        max_bytes=request.max_bytes,
        topics=[
            snapshot.TopicSnapshot(
                METADATA_TOPIC,
                [
                    snapshot.PartitionSnapshot(
                        partition=0,
                        current_leader_epoch=request.epoch,
                        snapshot_id=snapshot.SnapshotId(request.snapshot_id.offset, request.snapshot_id.epoch),
                        position=request.position,
                        replica_directory_id=request.replica.directory_id,
                    )
                ],
            )
        ],
    )


def _check_cluster(ours: str | None, theirs: str | None) -> None:
    if ours is not None and theirs is not None and ours != theirs:
        raise KafkaError(ErrorCode.INCONSISTENT_CLUSTER_ID, f"this cluster is {ours}, not {theirs}")


def _check_topic(is_metadata_partition: bool) -> None:
    if not is_metadata_partition:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"only {METADATA_TOPIC}-0 is replicated by the quorum")


def _only_topic(request: Any, cluster_id: str | None) -> Any:
    """The one topic of a request of this cluster, which has one partition."""
    _check_cluster(cluster_id, request.cluster_id)
    if len(request.topics) != 1 or len(request.topics[0].partitions) != 1:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "a request of the quorum names exactly one partition")
    return request.topics[0]


def decode_vote(request: vote_request.VoteRequest, cluster_id: str | None) -> VoteRequest:
    """Raises KafkaError for the top level of the response (as do the functions below)."""
    topic: vote_request.TopicData = _only_topic(request, cluster_id)
    partition = topic.partitions[0]
    _check_topic(topic.topic_name == METADATA_TOPIC and partition.partition_index == 0)
    return VoteRequest(
        ReplicaKey(request.voter_id, partition.voter_directory_id),
        ReplicaKey(partition.replica_id, partition.replica_directory_id),
        partition.replica_epoch,
        partition.last_offset_epoch,
        partition.last_offset,
        partition.pre_vote,
    )


def decode_begin(
    request: begin_quorum_epoch_request.BeginQuorumEpochRequest, cluster_id: str | None
) -> BeginQuorumEpochRequest:
    topic: begin_quorum_epoch_request.TopicData = _only_topic(request, cluster_id)
    partition = topic.partitions[0]
    _check_topic(topic.topic_name == METADATA_TOPIC and partition.partition_index == 0)
    return BeginQuorumEpochRequest(
        ReplicaKey(request.voter_id, partition.voter_directory_id), partition.leader_id, partition.leader_epoch
    )


def decode_end(
    request: end_quorum_epoch_request.EndQuorumEpochRequest, cluster_id: str | None
) -> EndQuorumEpochRequest:
    topic: end_quorum_epoch_request.TopicData = _only_topic(request, cluster_id)
    partition = topic.partitions[0]
    _check_topic(topic.topic_name == METADATA_TOPIC and partition.partition_index == 0)
    preferred = tuple(
        ReplicaKey(each.candidate_id, each.candidate_directory_id) for each in partition.preferred_candidates
    ) or tuple(ReplicaKey(each) for each in partition.preferred_successors)
    return EndQuorumEpochRequest(partition.leader_id, partition.leader_epoch, preferred)


def decode_fetch(request: fetch_request.FetchRequest, version: int, cluster_id: str | None) -> FetchRequest:
    topic: fetch_request.FetchTopic = _only_topic(request, cluster_id)
    partition = topic.partitions[0]
    is_metadata = topic.topic_id == METADATA_TOPIC_ID if version >= 13 else topic.topic == METADATA_TOPIC
    _check_topic(is_metadata and partition.partition == 0)
    replica_id = request.replica_state.replica_id if version >= 15 else request.replica_id
    return FetchRequest(
        ReplicaKey(replica_id, partition.replica_directory_id),
        partition.current_leader_epoch,
        partition.fetch_offset,
        partition.last_fetched_epoch,
        max(0, request.max_wait_ms),
        max(0, min(request.max_bytes, partition.partition_max_bytes)),
        partition.high_watermark,
    )


def decode_fetch_snapshot(
    request: fetch_snapshot_request.FetchSnapshotRequest, cluster_id: str | None
) -> FetchSnapshotRequest:
    topic: fetch_snapshot_request.TopicSnapshot = _only_topic(request, cluster_id)
    partition = topic.partitions[0]
    _check_topic(topic.name == METADATA_TOPIC and partition.partition == 0)
    return FetchSnapshotRequest(
        ReplicaKey(request.replica_id, partition.replica_directory_id),
        partition.current_leader_epoch,
        OffsetAndEpoch(partition.snapshot_id.end_offset, partition.snapshot_id.epoch),
        partition.position,
        max(0, request.max_bytes),
    )
