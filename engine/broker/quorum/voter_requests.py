"""AddRaftVoter, RemoveRaftVoter, UpdateRaftVoter between the machine's flat form and Kafka's messages (KIP-853)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.broker.quorum.address_book import AddressBook
from engine.core.raft.identity import Endpoint, ReplicaKey, Voter
from engine.core.raft.messages import (
    AddVoterRequest,
    RemoveVoterRequest,
    SupportedVersionsResponse,
    UpdateVoterRequest,
    UpdateVoterResponse,
)
from engine.core.raft.voter_history import KRAFT_VERSION_FEATURE
from engine.model.errors import ErrorCode
from engine.wire.messages import update_raft_voter_request, update_raft_voter_response
from engine.wire.messages.add_raft_voter_request import AddRaftVoterRequest
from engine.wire.messages.api_versions_request import ApiVersionsRequest
from engine.wire.messages.api_versions_response import ApiVersionsResponse
from engine.wire.messages.remove_raft_voter_request import RemoveRaftVoterRequest
from engine.wire.messages.update_raft_voter_request import UpdateRaftVoterRequest
from engine.wire.messages.update_raft_voter_response import UpdateRaftVoterResponse


def wrong_cluster(ours: str | None, theirs: str | None) -> str | None:
    """What to say to a request for another cluster; ``None`` if it is for this one, or does not say."""
    if ours is None or theirs is None or ours == theirs:
        return None
    return f'The given id "{theirs}" doesn\'t match the cluster id "{ours}"'


def _endpoints(listeners: Iterable[Any]) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(each.name, each.host, each.port) for each in listeners)


def _default(endpoints: tuple[Endpoint, ...], listener: str) -> tuple[Endpoint, ...]:
    """These, the default listener first; none without it."""
    return (
        tuple(sorted(endpoints, key=lambda each: each.listener != listener))
        if listener in (each.listener for each in endpoints)
        else ()
    )


def decode_add(request: AddRaftVoterRequest, listener: str) -> AddVoterRequest:
    """``listener``: the name of the default controller listener."""
    endpoints = _endpoints(request.listeners)
    known = _default(endpoints, listener)
    voter = Voter(ReplicaKey(request.voter_id, request.voter_directory_id), known or endpoints)
    return AddVoterRequest(voter, known[0] if known else None, request.ack_when_committed)


def decode_remove(request: RemoveRaftVoterRequest) -> RemoveVoterRequest:
    """Which voter is to go."""
    return RemoveVoterRequest(ReplicaKey(request.voter_id, request.voter_directory_id))


def encode_update(request: UpdateVoterRequest, cluster_id: str | None) -> UpdateRaftVoterRequest:
    """What a voter tells the leader."""
    voter = request.voter
    return UpdateRaftVoterRequest(
        cluster_id=cluster_id,
        current_leader_epoch=request.epoch,
        voter_id=voter.key.id,
        voter_directory_id=voter.key.directory_id,
        listeners=[update_raft_voter_request.Listener(*each) for each in voter.endpoints],
        k_raft_version_feature=update_raft_voter_request.KRaftVersionFeature(voter.min_version, voter.max_version),
    )


def decode_update(request: UpdateRaftVoterRequest, listener: str) -> UpdateVoterRequest:
    """What a voter told; without endpoints if the default listener is not among them."""
    versions = request.k_raft_version_feature
    voter = Voter(
        ReplicaKey(request.voter_id, request.voter_directory_id),
        _default(_endpoints(request.listeners), listener),
        versions.min_supported_version,
        versions.max_supported_version,
    )
    return UpdateVoterRequest(request.current_leader_epoch, voter)


def encode_updated(response: UpdateVoterResponse, book: AddressBook) -> UpdateRaftVoterResponse:
    """The answer to a voter, with where the leader is."""
    endpoint = None if response.leader_id is None else book.endpoint(response.leader_id)
    leader = update_raft_voter_response.CurrentLeader(
        -1 if response.leader_id is None else response.leader_id,
        response.epoch,
        "" if endpoint is None else endpoint.host,
        0 if endpoint is None else endpoint.port,
    )
    return UpdateRaftVoterResponse(error_code=int(response.error), current_leader=leader)


def decode_updated(response: UpdateRaftVoterResponse) -> UpdateVoterResponse:
    """What the leader answered, or somebody who does not lead."""
    leader = response.current_leader
    try:
        error = ErrorCode(response.error_code)
    except ValueError:
        error = ErrorCode.UNKNOWN_SERVER_ERROR
    return UpdateVoterResponse(error, None if leader.leader_id < 0 else leader.leader_id, leader.leader_epoch)


def encode_versions_request() -> ApiVersionsRequest:
    """Asks what a node can do."""
    return ApiVersionsRequest(client_software_name="kconsole", client_software_version="4.3.1")


def decode_versions(response: ApiVersionsResponse) -> SupportedVersionsResponse:
    """Which kraft.version it can do."""
    if response.error_code != 0:
        return SupportedVersionsResponse(ErrorCode.UNKNOWN_SERVER_ERROR)
    for feature in response.supported_features:
        if feature.name == KRAFT_VERSION_FEATURE:
            return SupportedVersionsResponse(ErrorCode.NONE, (feature.min_version, feature.max_version))
    return SupportedVersionsResponse(ErrorCode.NONE)
