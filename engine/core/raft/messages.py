"""What voters and observers say to each other, without the nesting that the wire's messages need."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from engine.core.raft.identity import Endpoint, OffsetAndEpoch, ReplicaKey, Voter
from engine.model.errors import ErrorCode

# FetchPartition.HighWatermark of a replica that does not tell it (below Fetch version 18): never answered early for it.
UNKNOWN_HIGH_WATERMARK = (1 << 63) - 1


class VoteRequest(NamedTuple):
    """``epoch`` is the candidate's epoch; in a pre-vote the one it is in, not the one it would start (KIP-996)."""

    voter: ReplicaKey
    candidate: ReplicaKey
    epoch: int
    last_offset_epoch: int
    last_offset: int
    pre_vote: bool


class VoteResponse(NamedTuple):
    error: ErrorCode
    leader_id: int | None
    epoch: int
    granted: bool


class BeginQuorumEpochRequest(NamedTuple):
    voter: ReplicaKey
    leader_id: int
    epoch: int


class EndQuorumEpochRequest(NamedTuple):
    """``preferred_candidates``: who should stand first, best log first."""

    leader_id: int
    epoch: int
    preferred_candidates: tuple[ReplicaKey, ...]


class EpochResponse(NamedTuple):
    """The answer to BeginQuorumEpoch and EndQuorumEpoch."""

    error: ErrorCode
    leader_id: int | None
    epoch: int


class FetchRequest(NamedTuple):
    """``fetch_offset`` is the replica's end offset, fsynced; ``last_fetched_epoch`` the epoch of the record before."""

    replica: ReplicaKey
    epoch: int
    fetch_offset: int
    last_fetched_epoch: int
    max_wait_ms: int
    max_bytes: int
    high_watermark: int = UNKNOWN_HIGH_WATERMARK


class LogRange(NamedTuple):
    """Records that the shell must read into an answer: from ``offset`` up to ``end_offset`` (exclusive)."""

    offset: int
    end_offset: int
    max_bytes: int


class FetchResponse(NamedTuple):
    """As a reply of the machine ``read`` names the records to fill in; as an input ``records`` holds them."""

    error: ErrorCode
    leader_id: int | None
    epoch: int
    high_watermark: int = -1
    log_start_offset: int = -1
    diverging_epoch: OffsetAndEpoch | None = None
    snapshot_id: OffsetAndEpoch | None = None
    read: LogRange | None = None
    records: bytes | bytearray | memoryview = b""


class FetchSnapshotRequest(NamedTuple):
    replica: ReplicaKey
    epoch: int
    snapshot_id: OffsetAndEpoch
    position: int
    max_bytes: int


class FetchSnapshotResponse(NamedTuple):
    """As a reply with ``error`` NONE the shell fills in ``size`` and ``data`` from the snapshot's file."""

    error: ErrorCode
    leader_id: int | None
    epoch: int
    snapshot_id: OffsetAndEpoch
    position: int = 0
    size: int = 0
    data: bytes | memoryview = b""


class AddVoterRequest(NamedTuple):
    """``endpoint``: where the default controller listener of the new voter is, None if it was not told."""

    voter: Voter
    endpoint: Endpoint | None
    ack_when_committed: bool = True


class RemoveVoterRequest(NamedTuple):
    voter: ReplicaKey


class VoterChangeResponse(NamedTuple):
    """The answer to an administrator who adds or removes a voter."""

    error: ErrorCode
    message: str | None = None


class UpdateVoterRequest(NamedTuple):
    """A voter tells the leader of ``epoch`` where it is reached and what it can do."""

    epoch: int
    voter: Voter


class UpdateVoterResponse(NamedTuple):
    error: ErrorCode
    leader_id: int | None
    epoch: int


class SupportedVersionsRequest(NamedTuple):
    """Asks a replica at ``endpoint`` which kraft.version it can do, by ApiVersions."""

    endpoint: Endpoint


class SupportedVersionsResponse(NamedTuple):
    """``versions``: lowest and highest kraft.version, None if it knows nothing of that."""

    error: ErrorCode
    versions: tuple[int, int] | None = None


Request: TypeAlias = (
    VoteRequest
    | BeginQuorumEpochRequest
    | EndQuorumEpochRequest
    | FetchRequest
    | FetchSnapshotRequest
    | UpdateVoterRequest
    | SupportedVersionsRequest
)
Response: TypeAlias = (
    VoteResponse
    | EpochResponse
    | FetchResponse
    | FetchSnapshotResponse
    | UpdateVoterResponse
    | SupportedVersionsResponse
)
