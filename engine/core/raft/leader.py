"""The leader's state: what each replica has, how far a majority is, who still listens. Kafka: LeaderState."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.core.raft.identity import ReplicaKey, VoterSet
from engine.core.raft.messages import FetchRequest

# An observer that has not fetched for this long is no longer described (LeaderState.OBSERVER_SESSION_TIMEOUT_MS).
OBSERVER_SESSION_TIMEOUT_MS = 300_000


@dataclass(slots=True)
class ReplicaProgress:
    """What the leader knows of one replica. Times are of the machine's clock; None: never."""

    key: ReplicaKey
    end_offset: int | None = None
    last_fetch_ms: float | None = None
    last_caught_up_ms: float | None = None
    leader_end_offset_at_last_fetch: int = -1
    has_acknowledged_leader: bool = False

    def on_fetch(self, fetch_offset: int, leader_end_offset: int, now_ms: float) -> None:
        """Note a fetch; what it starts at is fsynced there (ReplicaState.updateFollowerState)."""
        if fetch_offset >= leader_end_offset:
            self.last_caught_up_ms = now_ms
        elif 0 < self.leader_end_offset_at_last_fetch <= fetch_offset:
            self.last_caught_up_ms = max(self.last_caught_up_ms or 0.0, self.last_fetch_ms or 0.0)
        self.leader_end_offset_at_last_fetch = leader_end_offset
        self.last_fetch_ms = now_ms
        self.end_offset = fetch_offset
        self.has_acknowledged_leader = True


@dataclass(slots=True)
class ParkedFetch:
    """A fetch that waits for records, for a higher high watermark or for its time."""

    token: object
    request: FetchRequest
    deadline_ms: float

    def is_due(self, log_end_offset: int, high_watermark: int, now_ms: float) -> bool:
        """Whether there is a reason to answer it now (KIP-595, KIP-1166)."""
        return (
            log_end_offset > self.request.fetch_offset
            or now_ms >= self.deadline_ms
            or high_watermark > self.request.high_watermark
        )


@dataclass(slots=True)
class Leader:
    """Leads ``epoch``, whose first record (LeaderChange) is at ``epoch_start_offset``."""

    epoch: int
    local_id: int
    voters: VoterSet
    epoch_start_offset: int
    granting_voters: tuple[int, ...]
    check_quorum_deadline_ms: float
    progress: dict[int, ReplicaProgress] = field(default_factory=dict)
    observers: dict[ReplicaKey, ReplicaProgress] = field(default_factory=dict)
    parked: list[ParkedFetch] = field(default_factory=list)
    _fetched_since_check: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        for voter_id in self.voters:
            if voter_id != self.local_id:
                self.progress[voter_id] = ReplicaProgress(ReplicaKey(voter_id))

    def on_fetch(self, request: FetchRequest, log_end_offset: int, now_ms: float) -> None:
        """Note a valid fetch of a replica (negative ids are consumers and tell nothing)."""
        key = request.replica
        if key.id < 0:
            return
        progress = self.progress.get(key.id)
        if progress is None:
            progress = self.observers.setdefault(key, ReplicaProgress(key))
        else:
            progress.key = key
        progress.on_fetch(request.fetch_offset, log_end_offset, now_ms)

    def on_heard_from(self, voter_id: int, now_ms: float, timeout_ms: float) -> None:
        """Count a fetch of a voter for check-quorum; a majority (with this leader) starts a new period."""
        if voter_id not in self.progress:
            return
        self._fetched_since_check.add(voter_id)
        if len(self._fetched_since_check) + 1 >= self.voters.majority:
            self._fetched_since_check.clear()
            self.check_quorum_deadline_ms = now_ms + timeout_ms

    def majority_end_offset(self, flushed_offset: int) -> int:
        """The highest offset up to which a majority has fsynced; the leader itself counts with ``flushed_offset``."""
        ends = [-1 if each.end_offset is None else each.end_offset for each in self.progress.values()]
        if self.local_id in self.voters:
            ends.append(flushed_offset)
        ends.sort(reverse=True)
        return ends[self.voters.majority - 1]

    def voters_by_progress(self) -> tuple[ReplicaKey, ...]:
        """The other voters, the one with the longest log first: who should stand when this leader resigns."""
        return tuple(
            each.key
            for each in sorted(
                self.progress.values(), key=lambda p: (-(p.end_offset if p.end_offset is not None else -1), p.key.id)
            )
        )

    def forget_silent_observers(self, now_ms: float) -> None:
        """Drop observers whose session lapsed."""
        silent = [
            key
            for key, each in self.observers.items()
            if each.last_fetch_ms is None or now_ms - each.last_fetch_ms >= OBSERVER_SESSION_TIMEOUT_MS
        ]
        for key in silent:
            del self.observers[key]

    def next_parked_deadline_ms(self) -> float | None:
        """When the first parked fetch has waited long enough."""
        return min((each.deadline_ms for each in self.parked), default=None)
