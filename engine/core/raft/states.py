"""The states of a replica in an epoch, and which may follow which.

Kafka: UnattachedState, ProspectiveState, CandidateState, FollowerState, ResignedState (KIP-595, KIP-996). Kafka keeps a
vote inside UnattachedState; here it is the state Voted. Leader has its own module.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.core.raft.identity import OffsetAndEpoch, ReplicaKey
from engine.core.raft.voter_history import first_batch
from engine.model.errors import KafkaError


class VoteTally:
    """Answers to one round of (pre-)votes; the replica's own vote is granted from the start, if it has one."""

    __slots__ = ("_majority", "_voter_ids", "granted", "rejected", "unreachable")

    def __init__(self, voter_ids: tuple[int, ...], majority: int, local_id: int | None) -> None:
        self._voter_ids = voter_ids
        self._majority = majority
        self.granted: set[int] = set() if local_id is None else {local_id}
        self.rejected: set[int] = set()
        self.unreachable: set[int] = set()

    def record(self, voter_id: int, granted: bool) -> None:
        """Note an answer; the first one of a voter counts."""
        self.unreachable.discard(voter_id)
        if voter_id not in self.granted and voter_id not in self.rejected:
            (self.granted if granted else self.rejected).add(voter_id)

    @property
    def is_won(self) -> bool:
        return len(self.granted) >= self._majority

    @property
    def is_lost(self) -> bool:
        """Whether someone said no and those that can still say yes are too few.

        Voters that refuse connections count as able only while nobody said no: at the first start of a cluster the
        others are about to come.
        """
        if not self.rejected:
            return False
        able = len(self._voter_ids) - len(self.rejected) - len(self.unreachable)
        return able < self._majority

    def unanswered(self) -> list[int]:
        """Voters that have not answered, ascending."""
        return [each for each in self._voter_ids if each not in self.granted and each not in self.rejected]


@dataclass(slots=True)
class Unattached:
    """Knows no leader it could follow.

    ``leader_id`` is set if the epoch is known to have one: then it gives no vote, and remembers one that it gave.
    """

    epoch: int
    leader_id: int | None
    election_deadline_ms: float
    voted: ReplicaKey | None = None


@dataclass(slots=True)
class Voted:
    """Gave its vote of this epoch away, and waits for the winner to call."""

    epoch: int
    voted: ReplicaKey
    election_deadline_ms: float


@dataclass(slots=True)
class Prospective:
    """Asks whether others would vote for it, before it disturbs anyone with a new epoch (KIP-996)."""

    epoch: int
    leader_id: int | None
    voted: ReplicaKey | None
    election_deadline_ms: float
    tally: VoteTally
    leader_lost: bool = False


@dataclass(slots=True)
class Candidate:
    """Stands for election in its own new epoch; after a defeat it waits for ``election_deadline_ms`` to try again."""

    epoch: int
    election_deadline_ms: float
    tally: VoteTally
    is_backing_off: bool = False


@dataclass(slots=True)
class SnapshotDownload:
    """A snapshot being fetched from the leader, and how many bytes of it are there."""

    snapshot_id: OffsetAndEpoch
    position: int = 0
    # How it begins, up to the end of its first batch, which says who votes; then that batch.
    begin: bytearray = field(default_factory=bytearray)
    first_batch: bytes | None = None

    def note_begin(self, data: bytes | memoryview) -> bool:
        """A part came; False if the snapshot does not begin with a batch."""
        if self.first_batch is not None:
            return True
        self.begin += data
        try:
            batch = first_batch(self.begin)
        except KafkaError:
            return False
        if batch is not None:
            self.first_batch, self.begin = bytes(batch), bytearray()
        return True


@dataclass(slots=True)
class Follower:
    """Fetches from the leader.

    ``leader_lost_deadline_ms`` is set when the leader is known to be gone (refuses connections, resigned): the time to
    stand for election unless it comes back. ``has_fetched``: the leader answered a fetch since this state began.
    ``update_voter_ms``: when to tell the leader next what this voter is, if it has to know; ``has_told_leader``: it
    answered to that.
    """

    epoch: int
    leader_id: int
    voted: ReplicaKey | None
    fetch_deadline_ms: float
    has_fetched: bool = False
    leader_lost_deadline_ms: float | None = None
    download: SnapshotDownload | None = None
    update_voter_ms: float = 0.0
    has_told_leader: bool = False


@dataclass(slots=True)
class Resigned:
    """Was the leader of this epoch and can be nothing else in it; tells the voters, then moves on."""

    epoch: int
    election_deadline_ms: float
    preferred_candidates: tuple[ReplicaKey, ...] = ()
    unacknowledged: list[int] = field(default_factory=list)
