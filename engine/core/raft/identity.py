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


class VoterSet:
    """The voters of the quorum; static (``controller.quorum.voters``), so their directory ids are not part of it.

    Iterates ids in ascending order.
    """

    __slots__ = ("_endpoints", "ids", "majority")

    def __init__(self, voters: Mapping[int, Endpoint] | Iterable[int]) -> None:
        """``voters`` maps node ids to endpoints; bare ids do for a machine that sends nothing by itself."""
        self._endpoints: dict[int, Endpoint] = dict(voters) if isinstance(voters, Mapping) else {}
        self.ids: tuple[int, ...] = tuple(sorted(voters))
        assert len(set(self.ids)) == len(self.ids), "a voter id appears twice"
        assert all(voter_id >= 0 for voter_id in self.ids)
        self.majority = len(self.ids) // 2 + 1

    def __contains__(self, node_id: int) -> bool:
        return node_id in self.ids

    def __iter__(self) -> Iterator[int]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def endpoint(self, node_id: int) -> Endpoint | None:
        """Where the voter is reached, or None if it is no voter or its endpoint was not given."""
        return self._endpoints.get(node_id)

    def __repr__(self) -> str:
        return f"VoterSet({list(self.ids)})"


class ElectionState(NamedTuple):
    """What a node must not forget of an epoch: its leader or its vote. Kafka: ElectionState, the quorum-state file."""

    epoch: int = 0
    leader_id: int | None = None
    voted: ReplicaKey | None = None
