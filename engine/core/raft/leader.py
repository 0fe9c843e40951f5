"""The leader's state: what each replica has, how far a majority is, who still listens. Kafka: LeaderState."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.core.raft.identity import ReplicaKey, Voter, VoterSet
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
class VoterChange:
    """A voter that is being added (``added``) or removed, for an administrator who waits until ``deadline_ms``.

    ``last_offset``: of the record that says so, None as long as the new voter was not heard of.
    """

    token: object
    deadline_ms: float
    added: Voter | None = None
    ack_when_committed: bool = True
    request_id: int = 0
    last_offset: int | None = None


@dataclass(slots=True)
class Leader:
    """Leads ``epoch``, whose first record (LeaderChange) is at ``epoch_start_offset``."""

    epoch: int
    local: ReplicaKey
    voters: VoterSet
    epoch_start_offset: int
    granting_voters: tuple[int, ...]
    check_quorum_deadline_ms: float
    progress: dict[int, ReplicaProgress] = field(default_factory=dict)
    observers: dict[ReplicaKey, ReplicaProgress] = field(default_factory=dict)
    parked: list[ParkedFetch] = field(default_factory=list)
    change: VoterChange | None = None
    # What voters told of themselves in this epoch, while the log does not name them (KRaftVersionUpgrade).
    told: VoterSet | None = None
    _fetched_since_check: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._make_progress()

    def _make_progress(self) -> None:
        before, self.progress = self.progress, {}
        for voter in self.voters.voters:
            if voter.is_same(self.local):
                continue
            known = before.get(voter.key.id)
            if known is not None and voter.is_same(known.key):
                del before[voter.key.id]
            else:
                known = self.observers.pop(voter.key, None) or ReplicaProgress(voter.key)
            self.progress[voter.key.id] = known
        for each in before.values():
            self.observers.setdefault(each.key, each)

    def use_voters(self, voters: VoterSet, now_ms: float, timeout_ms: float) -> None:
        """Others vote from now on; what is known of the replicas stays (updateVoterAndObserverStates)."""
        is_changed = voters.ids != self.voters.ids
        self.voters = voters
        self._make_progress()
        if is_changed:
            # A voter that was added may need a moment before it fetches as one.
            self._fetched_since_check.intersection_update(self.progress)
            self.check_quorum_deadline_ms = max(self.check_quorum_deadline_ms, now_ms + timeout_ms)

    @property
    def is_voter(self) -> bool:
        """Whether it counts itself: not one that was removed and leads until that is committed."""
        return self.voters.is_voter(self.local)

    @property
    def needs_others(self) -> bool:
        """Whether others must fetch for it to lead."""
        return len(self.voters) > 1 or not self.is_voter

    @property
    def change_deadline_ms(self) -> float:
        """When whoever waits for a change of the voters has waited long enough."""
        return float("inf") if self.change is None else self.change.deadline_ms

    def progress_of(self, key: ReplicaKey) -> ReplicaProgress | None:
        """What is known of a voter; None if it is none, or another directory of one."""
        progress = self.progress.get(key.id)
        voter = self.voters.voter(key.id)
        return progress if voter is not None and voter.is_same(key) else None

    def on_fetch(self, request: FetchRequest, log_end_offset: int, now_ms: float) -> None:
        """Note a valid fetch of a replica (negative ids are consumers and tell nothing)."""
        key = request.replica
        if key.id < 0:
            return
        progress = self.progress_of(key)
        if progress is None:
            progress = self.observers.setdefault(key, ReplicaProgress(key))
        else:
            progress.key = key
        progress.on_fetch(request.fetch_offset, log_end_offset, now_ms)

    def on_heard_from(self, replica: ReplicaKey, now_ms: float, timeout_ms: float) -> None:
        """Count a fetch of a voter for check-quorum; a majority (with this leader) starts a new period."""
        if self.progress_of(replica) is None:
            return
        self._fetched_since_check.add(replica.id)
        if len(self._fetched_since_check) + self.is_voter >= self.voters.majority:
            self._fetched_since_check.clear()
            self.check_quorum_deadline_ms = now_ms + timeout_ms

    def majority_end_offset(self, flushed_offset: int) -> int:
        """The highest offset up to which a majority has fsynced; the leader itself counts with ``flushed_offset``."""
        ends = [-1 if each.end_offset is None else each.end_offset for each in self.progress.values()]
        if self.is_voter:
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
