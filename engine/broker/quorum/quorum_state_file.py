"""The quorum-state file: epoch, leader and vote, as Kafka's FileQuorumStateStore keeps them (QuorumStateData)."""

from __future__ import annotations

import json

from engine.core.raft.identity import ElectionState, ReplicaKey, VoterSet
from engine.model.ids import ZERO_UUID, uuid_from_str, uuid_to_str

FILE_NAME = "quorum-state"


class QuorumStateError(Exception):
    """The file is there but cannot be understood: guessing could make this node vote twice."""


def encode(election: ElectionState, voters: VoterSet, *, kraft_version: int = 0) -> bytes:
    """The file's content; version 0 (voters, no directory ids) with kraft.version 0, else version 1 (KIP-853)."""
    leader_id = -1 if election.leader_id is None else election.leader_id
    voted = ReplicaKey(-1) if election.voted is None else election.voted
    if kraft_version == 0:
        data: dict[str, object] = {
            "clusterId": "",
            "leaderId": leader_id,
            "leaderEpoch": election.epoch,
            "votedId": voted.id,
            "appliedOffset": 0,
            "currentVoters": [{"voterId": voter_id} for voter_id in voters],
            "data_version": 0,
        }
    else:
        data = {
            "leaderId": leader_id,
            "leaderEpoch": election.epoch,
            "votedId": voted.id,
            "votedDirectoryId": uuid_to_str(voted.directory_id),
            "data_version": 1,
        }
    return json.dumps(data, separators=(",", ":")).encode()


def is_reconfigurable(content: bytes) -> bool:
    """Whether it was written with kraft.version 1 or later; of what cannot be read :func:`decode` complains."""
    try:
        return bool(json.loads(content)["data_version"] > 0)
    except (ValueError, KeyError, TypeError):
        return False


def decode(content: bytes) -> ElectionState:
    """Read either version.

    Raises:
        QuorumStateError: the content is not one of Kafka's two versions.
    """
    try:
        data = json.loads(content)
        version = int(data["data_version"])
        if version not in (0, 1):
            raise QuorumStateError(f"quorum-state has data_version {version}; 0 and 1 are known")
        epoch = int(data["leaderEpoch"])
        leader_id = int(data["leaderId"])
        voted_id = int(data["votedId"])
        directory_id = uuid_from_str(data["votedDirectoryId"]) if version == 1 else ZERO_UUID
    except (ValueError, KeyError, TypeError) as error:
        raise QuorumStateError(f"quorum-state cannot be read: {error}") from error
    return ElectionState(
        epoch,
        None if leader_id < 0 else leader_id,
        None if voted_id < 0 else ReplicaKey(voted_id, directory_id),
    )
