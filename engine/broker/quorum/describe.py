"""DescribeQuorum: the leader's view of voters and observers (KIP-595, KIP-836, KIP-853)."""

from __future__ import annotations

from engine.broker.quorum.wire_requests import METADATA_TOPIC
from engine.core.raft.leader import Leader, ReplicaProgress
from engine.core.raft.machine import RaftMachine
from engine.model.errors import ErrorCode
from engine.model.ids import ZERO_UUID
from engine.wire.messages.describe_quorum_request import DescribeQuorumRequest
from engine.wire.messages.describe_quorum_response import (
    DescribeQuorumResponse,
    Listener,
    Node,
    PartitionData,
    ReplicaState,
    TopicData,
)

_FIRST_VERSION_WITH_DIRECTORIES = 2


def describe_quorum(
    machine: RaftMachine, request: DescribeQuorumRequest, version: int, now_ms: int, monotonic_ms: float
) -> DescribeQuorumResponse:
    """Answer from the leader's state; every other node says NOT_LEADER_OR_FOLLOWER.

    ``now_ms`` is wall time and ``monotonic_ms`` the machine's clock at the same moment.
    """
    if len(request.topics) != 1 or len(request.topics[0].partitions) != 1:
        return DescribeQuorumResponse(
            error_code=ErrorCode.INVALID_REQUEST, error_message="exactly one partition is described at a time"
        )
    topic = request.topics[0]
    index = topic.partitions[0].partition_index
    if topic.topic_name != METADATA_TOPIC or index != 0:
        unknown = PartitionData(index, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        unknown.error_message = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION.default_message
        return DescribeQuorumResponse(topics=[TopicData(topic.topic_name, [unknown])])
    leader = machine.leader
    if leader is None:
        known = machine.leader_id
        other = PartitionData(0, ErrorCode.NOT_LEADER_OR_FOLLOWER)
        other.error_message = ErrorCode.NOT_LEADER_OR_FOLLOWER.default_message
        other.leader_id = -1 if known is None else known
        other.leader_epoch = machine.epoch
        return DescribeQuorumResponse(topics=[TopicData(METADATA_TOPIC, [other])])
    leader.forget_silent_observers(monotonic_ms)
    offset_ms = now_ms - monotonic_ms
    partition = PartitionData(0, ErrorCode.NONE)
    partition.leader_id = machine.local.id
    partition.leader_epoch = machine.epoch
    partition.high_watermark = machine.high_watermark
    partition.current_voters = _voters(machine, leader, offset_ms, now_ms)
    partition.observers = [_replica(leader.observers[key], offset_ms) for key in sorted(leader.observers)]
    nodes = []
    if version < _FIRST_VERSION_WITH_DIRECTORIES:
        # Neither ids of directories nor endpoints can be told there.
        for state in (*partition.current_voters, *partition.observers):
            state.replica_directory_id = ZERO_UUID
        return DescribeQuorumResponse(topics=[TopicData(METADATA_TOPIC, [partition])])
    for voter_id in machine.voters:
        endpoint = machine.voters.endpoint(voter_id)
        if endpoint is not None:
            nodes.append(Node(voter_id, [Listener(endpoint.listener, endpoint.host, endpoint.port)]))
    return DescribeQuorumResponse(topics=[TopicData(METADATA_TOPIC, [partition])], nodes=nodes)


def _voters(machine: RaftMachine, leader: Leader, offset_ms: float, now_ms: int) -> list[ReplicaState]:
    voters = []
    for voter_id in machine.voters:
        if voter_id == machine.local.id:
            own = ReplicaState(voter_id, machine.local.directory_id, machine.log.end_offset)
            # The leader has always just fetched from itself.
            own.last_fetch_timestamp = now_ms
            own.last_caught_up_timestamp = now_ms
            voters.append(own)
        else:
            voters.append(_replica(leader.progress[voter_id], offset_ms))
    return voters


def _replica(progress: ReplicaProgress, offset_ms: float) -> ReplicaState:
    state = ReplicaState(
        progress.key.id,
        progress.key.directory_id,
        -1 if progress.end_offset is None else progress.end_offset,
    )
    if progress.last_fetch_ms is not None:
        state.last_fetch_timestamp = round(progress.last_fetch_ms + offset_ms)
    if progress.last_caught_up_ms is not None:
        state.last_caught_up_timestamp = round(progress.last_caught_up_ms + offset_ms)
    return state
