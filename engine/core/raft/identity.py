"""Names of replicas and positions in the metadata log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from engine.model.ids import ZERO_UUID


class ReplicaKey(NamedTuple):
    """A replica: node id and the id of its metadata log directory (KIP-853); all zero where that is not known."""

    id: int
    directory_id: bytes = ZERO_UUID


class OffsetAndEpoch(NamedTuple):
    """An offset with the epoch before it: the end of a log, a snapshot id (its end offset is exclusive)."""

    offset: int
    epoch: int


class LeaderAndEpoch(NamedTuple):
    """Who leads, and since which epoch; ``leader_id`` is None while nobody is known to."""

    leader_id: int | None
    epoch: int


class Endpoint(NamedTuple):
    """Where a voter's controller listener is reached."""

    listener: str
    host: str
    port: int


class Voter(NamedTuple):
    """A voter, and what it told of itself: where it is reached, by listener, and which kraft.version it can do."""

    key: ReplicaKey
    endpoints: tuple[Endpoint, ...] = ()
    min_version: int = 0
    max_version: int = 0

    def is_same(self, replica: ReplicaKey) -> bool:
        """Whether the replica is this voter; a voter whose directory is not known is known by its id."""
        return self.key.id == replica.id and self.key.directory_id in (ZERO_UUID, replica.directory_id)


class VoterSet:
    """The voters of the quorum; never changed: another set is another object. Kafka: VoterSet.

    With kraft.version 0 (``controller.quorum.voters``) the ids of their directories are not part of it. Iterates ids in
    ascending order.
    """

    __slots__ = ("_voters", "ids", "majority")

    def __init__(self, voters: Mapping[int, Endpoint] | Iterable[int] = ()) -> None:
        """``voters`` maps node ids to endpoints; bare ids do for a machine that sends nothing by itself."""
        if isinstance(voters, Mapping):
            self._set([Voter(ReplicaKey(each), (at,)) for each, at in voters.items()])
        else:
            self._set([Voter(ReplicaKey(each)) for each in voters])

    @classmethod
    def of(cls, voters: Iterable[Voter]) -> VoterSet:
        """The set of these."""
        made = cls()
        made._set(list(voters))
        return made

    def _set(self, voters: list[Voter]) -> None:
        self._voters = {each.key.id: each for each in sorted(voters)}
        self.ids: tuple[int, ...] = tuple(self._voters)
        assert len(self.ids) == len(voters), "a voter id appears twice"
        assert all(voter_id >= 0 for voter_id in self.ids)
        self.majority = len(self.ids) // 2 + 1

    def __contains__(self, node_id: int) -> bool:
        return node_id in self._voters

    def __iter__(self) -> Iterator[int]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VoterSet) and self._voters == other._voters

    def __hash__(self) -> int:
        return hash(tuple(self._voters.values()))

    @property
    def voters(self) -> tuple[Voter, ...]:
        """All of them, by id."""
        return tuple(self._voters.values())

    def voter(self, node_id: int) -> Voter | None:
        """The voter with this id."""
        return self._voters.get(node_id)

    def is_voter(self, replica: ReplicaKey) -> bool:
        """Whether the replica, with its directory, is one of them."""
        voter = self._voters.get(replica.id)
        return voter is not None and voter.is_same(replica)

    def key(self, node_id: int) -> ReplicaKey:
        """The key of the voter with this id; no directory if it is no voter."""
        voter = self._voters.get(node_id)
        return ReplicaKey(node_id) if voter is None else voter.key

    def endpoint(self, node_id: int) -> Endpoint | None:
        """Where the voter is reached, or None if it is no voter or its endpoint was not given."""
        voter = self._voters.get(node_id)
        return voter.endpoints[0] if voter is not None and voter.endpoints else None

    def with_voter(self, voter: Voter) -> VoterSet:
        """This set with a voter, in the place of the one with the same id if there is one."""
        return VoterSet.of([each for each in self.voters if each.key.id != voter.key.id] + [voter])

    def without(self, replica: ReplicaKey) -> VoterSet | None:
        """This set without a voter; None if exactly this one is not in it, or is the only one."""
        voter = self._voters.get(replica.id)
        if voter is None or voter.key != replica or len(self) == 1:
            return None
        return VoterSet.of([each for each in self.voters if each.key.id != replica.id])

    def __repr__(self) -> str:
        return f"VoterSet({list(self.ids)})"


class ElectionState(NamedTuple):
    """What a node must not forget of an epoch: its leader or its vote. Kafka: ElectionState, the quorum-state file."""

    epoch: int = 0
    leader_id: int | None = None
    voted: ReplicaKey | None = None
