"""Responses of the quorum between the machine's flat form and Kafka's messages (RaftUtil)."""

from __future__ import annotations

from typing import Any

from engine.broker.quorum import voter_requests
from engine.broker.quorum.address_book import AddressBook
from engine.broker.quorum.wire_requests import METADATA_TOPIC
from engine.core.raft.identity import OffsetAndEpoch
from engine.core.raft.messages import EpochResponse, FetchResponse, FetchSnapshotResponse, Response, VoteResponse
from engine.model.errors import ErrorCode
from engine.model.ids import METADATA_TOPIC_ID
from engine.wire.message import Message
from engine.wire.messages import (
    begin_quorum_epoch_response,
    end_quorum_epoch_response,
    fetch_response,
    fetch_snapshot_response,
    vote_response,
)
from engine.wire.messages.api_versions_response import ApiVersionsResponse
from engine.wire.messages.update_raft_voter_response import UpdateRaftVoterResponse


def _id(leader_id: int | None) -> int:
    return -1 if leader_id is None else leader_id


def _endpoint_of_leader(leader_id: int | None, is_told: bool, book: AddressBook) -> list[tuple[int, str, int]]:
    """Where the leader is, as (id, host, port); empty if nobody knows or the version has no place for it."""
    endpoint = None if leader_id is None or not is_told else book.endpoint(leader_id)
    return [] if endpoint is None else [(_id(leader_id), endpoint.host, endpoint.port)]


def encode_vote(response: VoteResponse, version: int, book: AddressBook) -> vote_response.VoteResponse:
    """The answer to Vote; from version 1 on it says where the leader is."""
    partition = vote_response.PartitionData(
        partition_index=0,
        error_code=response.error,
        leader_id=_id(response.leader_id),
        leader_epoch=response.epoch,
        vote_granted=response.granted,
    )
    return vote_response.VoteResponse(
        topics=[vote_response.TopicData(METADATA_TOPIC, [partition])],
        node_endpoints=[
            vote_response.NodeEndpoint(*each) for each in _endpoint_of_leader(response.leader_id, version >= 1, book)
        ],
    )


def encode_begin(
    response: EpochResponse, version: int, book: AddressBook
) -> begin_quorum_epoch_response.BeginQuorumEpochResponse:
    """The answer to BeginQuorumEpoch."""
    begin = begin_quorum_epoch_response
    partition = begin.PartitionData(0, response.error, _id(response.leader_id), response.epoch)
    return begin.BeginQuorumEpochResponse(
        topics=[begin.TopicData(METADATA_TOPIC, [partition])],
        node_endpoints=[
            begin.NodeEndpoint(*each) for each in _endpoint_of_leader(response.leader_id, version >= 1, book)
        ],
    )


def encode_end(
    response: EpochResponse, version: int, book: AddressBook
) -> end_quorum_epoch_response.EndQuorumEpochResponse:
    """The answer to EndQuorumEpoch."""
    end = end_quorum_epoch_response
    partition = end.PartitionData(0, response.error, _id(response.leader_id), response.epoch)
    return end.EndQuorumEpochResponse(
        topics=[end.TopicData(METADATA_TOPIC, [partition])],
        node_endpoints=[
            end.NodeEndpoint(*each) for each in _endpoint_of_leader(response.leader_id, version >= 1, book)
        ],
    )


_FIRST_FETCH_VERSION_WITH_LEADER = 12


def encode_fetch(response: FetchResponse, version: int, book: AddressBook) -> fetch_response.FetchResponse:
    """The answer to Fetch; its records were filled in."""
    assert response.read is None, "the records were not read"
    partition = fetch_response.PartitionData(
        partition_index=0,
        error_code=response.error,
        high_watermark=response.high_watermark,
        last_stable_offset=response.high_watermark,
        log_start_offset=response.log_start_offset,
        aborted_transactions=None,
        records=response.records if isinstance(response.records, memoryview) else bytes(response.records),
    )
    # Before version 12 (KIP-595) a request says too little to be one of a replica: there is an error in the answer.
    if version >= _FIRST_FETCH_VERSION_WITH_LEADER:
        partition.current_leader = fetch_response.LeaderIdAndEpoch(_id(response.leader_id), response.epoch)
    if response.diverging_epoch is not None:
        offset, epoch = response.diverging_epoch
        partition.diverging_epoch = fetch_response.EpochEndOffset(epoch, offset)
    if response.snapshot_id is not None:
        partition.snapshot_id = fetch_response.SnapshotId(*response.snapshot_id)
    return fetch_response.FetchResponse(
        responses=[
            fetch_response.FetchableTopicResponse(
                topic=METADATA_TOPIC, topic_id=METADATA_TOPIC_ID, partitions=[partition]
            )
        ],
        node_endpoints=[
            fetch_response.NodeEndpoint(*each, None)
            for each in _endpoint_of_leader(response.leader_id, version >= 17, book)
        ],
    )


def encode_fetch_snapshot(
    response: FetchSnapshotResponse, version: int, book: AddressBook
) -> fetch_snapshot_response.FetchSnapshotResponse:
    """The answer to FetchSnapshot; its bytes were filled in."""
    snapshot = fetch_snapshot_response
    partition = snapshot.PartitionSnapshot(
        index=0,
        error_code=response.error,
        snapshot_id=snapshot.SnapshotId(*response.snapshot_id),
        current_leader=snapshot.LeaderIdAndEpoch(_id(response.leader_id), response.epoch),
        size=response.size,
        position=response.position,
        unaligned_records=response.data,
    )
    return snapshot.FetchSnapshotResponse(
        topics=[snapshot.TopicSnapshot(METADATA_TOPIC, [partition])],
        node_endpoints=[
            snapshot.NodeEndpoint(*each) for each in _endpoint_of_leader(response.leader_id, version >= 1, book)
        ],
    )


def _leader(leader_id: int) -> int | None:
    return None if leader_id < 0 else leader_id


def _error(code: int) -> ErrorCode:
    try:
        return ErrorCode(code)
    except ValueError:
        return ErrorCode.UNKNOWN_SERVER_ERROR


class UnusableResponse(Exception):
    """A peer's answer has an error for all of it, or not the one partition that was asked for."""


def decode_response(response: Message) -> Response:
    """What a peer answered.

    Raises:
        UnusableResponse: it says nothing of the metadata partition.
    """
    if isinstance(response, fetch_response.FetchResponse):
        return _decode_fetch(response)
    if isinstance(response, fetch_snapshot_response.FetchSnapshotResponse):
        part: fetch_snapshot_response.PartitionSnapshot = _only_partition(response.error_code, response.topics)
        return FetchSnapshotResponse(
            _error(part.error_code),
            _leader(part.current_leader.leader_id),
            part.current_leader.leader_epoch,
            OffsetAndEpoch(part.snapshot_id.end_offset, part.snapshot_id.epoch),
            part.position,
            part.size,
            part.unaligned_records or b"",
        )
    if isinstance(response, UpdateRaftVoterResponse):
        return voter_requests.decode_updated(response)
    if isinstance(response, ApiVersionsResponse):
        return voter_requests.decode_versions(response)
    if isinstance(response, vote_response.VoteResponse):
        vote: vote_response.PartitionData = _only_partition(response.error_code, response.topics)
        return VoteResponse(_error(vote.error_code), _leader(vote.leader_id), vote.leader_epoch, vote.vote_granted)
    assert isinstance(
        response,
        (begin_quorum_epoch_response.BeginQuorumEpochResponse, end_quorum_epoch_response.EndQuorumEpochResponse),
    ), response
    epoch: begin_quorum_epoch_response.PartitionData | end_quorum_epoch_response.PartitionData = _only_partition(
        response.error_code, response.topics
    )
    return EpochResponse(_error(epoch.error_code), _leader(epoch.leader_id), epoch.leader_epoch)


def _only_partition(error_code: int, topics: list[Any]) -> Any:
    if error_code != 0:
        raise UnusableResponse(f"{_error(error_code).name}")
    if len(topics) != 1 or len(topics[0].partitions) != 1:
        raise UnusableResponse("not exactly one partition in the answer")
    return topics[0].partitions[0]


def _decode_fetch(response: fetch_response.FetchResponse) -> FetchResponse:
    part: fetch_response.PartitionData = _only_partition(response.error_code, response.responses)
    diverging = None
    if part.diverging_epoch.epoch >= 0 or part.diverging_epoch.end_offset >= 0:
        diverging = OffsetAndEpoch(part.diverging_epoch.end_offset, part.diverging_epoch.epoch)
    snapshot_id = None
    if part.snapshot_id.epoch >= 0 or part.snapshot_id.end_offset >= 0:
        snapshot_id = OffsetAndEpoch(part.snapshot_id.end_offset, part.snapshot_id.epoch)
    return FetchResponse(
        _error(part.error_code),
        _leader(part.current_leader.leader_id),
        part.current_leader.leader_epoch,
        part.high_watermark,
        part.log_start_offset,
        diverging,
        snapshot_id,
        None,
        part.records or b"",
    )
