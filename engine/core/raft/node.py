"""The part of the machine under all of its inputs: its state, the changes of state, and the requests that are due.

Inputs (:mod:`engine.core.raft.elections`, :mod:`engine.core.raft.replication`) change the state; what must be sent
follows from the state alone, in :meth:`RaftNode._pump`, so no path can forget to send or send twice. Kafka:
QuorumState, RequestManager and the ``poll`` methods of KafkaRaftClient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import TypeAlias

from engine.core.effects import Effects, Reply
from engine.core.raft.identity import ElectionState, LeaderAndEpoch, ReplicaKey, Voter, VoterSet
from engine.core.raft.leader import Leader
from engine.core.raft.log_view import LogView
from engine.core.raft.messages import (
    BeginQuorumEpochRequest,
    EndQuorumEpochRequest,
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    Request,
    UpdateVoterRequest,
    VoteRequest,
)
from engine.core.raft.outputs import AppendRecords, PersistElection, RaftEffects, Send
from engine.core.raft.states import Candidate, Follower, Prospective, Resigned, Unattached, Voted
from engine.core.raft.timing import RaftTiming
from engine.core.raft.voter_history import ControlRecords, VoterHistory
from engine.model.errors import ErrorCode
from engine.model.notes import Note, NoteKind
from engine.record.batch import BatchHeader, Buffer, read_header, stamp

State: TypeAlias = Unattached | Voted | Prospective | Candidate | Follower | Leader | Resigned

NEVER = float("inf")

# Which states may come before a state (of any epoch that is not later). "None" is the start of the process.
PREDECESSORS: dict[type, tuple[type, ...]] = {
    Unattached: (type(None), Unattached, Voted, Prospective, Candidate, Follower, Leader, Resigned),
    Voted: (type(None), Unattached, Prospective),
    Prospective: (Unattached, Voted, Prospective, Candidate, Follower),
    Candidate: (Prospective,),
    Leader: (Candidate,),
    Follower: (type(None), Unattached, Voted, Prospective, Candidate, Follower, Leader, Resigned),
    Resigned: (type(None), Leader),
}

# Failed requests are repeated after retry_backoff_ms times a power of two, up to this.
_MAX_RETRY_BACKOFF_MS = 250.0
# Without a leader, a voter asks another one who leads this often.
_DISCOVERY_INTERVAL_MS = 100.0


class RequestKind(IntEnum):
    """Kinds of requests; at most one of a kind is under way to a peer."""

    VOTE = 0
    BEGIN_QUORUM_EPOCH = 1
    END_QUORUM_EPOCH = 2
    FETCH = 3
    UPDATE_VOTER = 4


class _Slot:
    """The request of one kind to one peer: under way, or due at ``next_send_ms``."""

    __slots__ = ("deadline_ms", "failures", "next_send_ms", "request_id")

    def __init__(self) -> None:
        self.request_id: int | None = None
        self.deadline_ms = NEVER
        self.next_send_ms = 0.0
        self.failures = 0


class RaftNode:
    """State and outputs of one replica of the quorum."""

    def __init__(
        self,
        local: ReplicaKey,
        voters: VoterSet | VoterHistory,
        timing: RaftTiming,
        log: LogView,
        election: ElectionState,
        *,
        jitter: Callable[[], float],
        encode_leader_change: Callable[[int, tuple[int, ...], tuple[int, ...], ControlRecords], bytes],
        encode_control: Callable[[ControlRecords], bytes] | None = None,
        local_voter: Voter | None = None,
        bootstrap_ids: tuple[int, ...] = (),
        forgotten_below: int = 0,
    ) -> None:
        """Make a machine from what was on disk; nothing happens before :meth:`start`.

        ``forgotten_below``: the log once reached that offset and was found corrupt since: some of what this voter said
        that it has, it has not. Until it knows that it has caught up it gives no vote and stands for no election, as if
        it were an observer; what it fetches counts, for that is true.

        ``jitter`` gives numbers in [0, 1). ``encode_leader_change(leader_id, voter_ids, granting_ids, more)`` builds
        the control batch that opens a leader's epoch (the shell knows the wall clock that its timestamp needs),
        ``encode_control`` other ones. ``voters``: static ones, or what the log and its snapshot say. ``local_voter``:
        what this node tells of itself as a voter, None if it does not know where it is reached. ``bootstrap_ids``: who
        may know the leader where no voter is known (``controller.quorum.bootstrap.servers``), negative.
        """
        self.local = local
        self.history = voters if isinstance(voters, VoterHistory) else VoterHistory(voters)
        self.local_voter = local_voter
        self._bootstrap_ids = bootstrap_ids
        self._encode_control = encode_control
        self.timing = timing
        self.log = log
        self.high_watermark = max(
            log.start_offset, 0 if log.latest_snapshot_id is None else log.latest_snapshot_id.offset
        )
        self._state: State | None = None
        self._persisted = election
        self._jitter = jitter
        self._encode_leader_change = encode_leader_change
        self._slots: dict[tuple[RequestKind, int], _Slot] = {}
        self._last_request_id = 0
        self._now = 0.0
        self._out: RaftEffects = Effects()
        self._election_retries = 0
        self._discovery_index = 0
        self._is_shutting_down = False
        self._forgotten_below = forgotten_below

    # -- what the shell may read --------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The state, after :meth:`start`."""
        assert self._state is not None, "the machine was not started"
        return self._state

    @property
    def epoch(self) -> int:
        """The current epoch."""
        return self.state.epoch

    @property
    def voters(self) -> VoterSet:
        """The voters by the newest record of them in this node's log, committed or not."""
        return self.history.voters

    @property
    def kraft_version(self) -> int:
        """The kraft.version by the newest record of it in this node's log."""
        return self.history.kraft_version

    @property
    def is_reconfigurable(self) -> bool:
        """Whether the voters may change: then what this node knows of them may be old."""
        return self.history.last is not None

    @property
    def is_voter(self) -> bool:
        """Whether this node is a voter; otherwise it is an observer."""
        return self.voters.is_voter(self.local)

    @property
    def stands(self) -> bool:
        """Whether this node stands for election when there is no leader: a voter, or one that is being removed.

        As long as that is not committed a node that has the record may be the only one with a log that is long enough
        to win, and must lead until it is (Raft, 4.2.2; it does not count its own vote then). In Kafka it does not.
        """
        if self.is_voter:
            return True
        last = self.history.last
        if last is None or last.offset < self.high_watermark:
            return False
        return any(each.voters.is_voter(self.local) for each in self.history.since(self.high_watermark))

    @property
    def has_forgotten(self) -> bool:
        """Whether it may lack what it once said that it has: then it has no vote."""
        return self._forgotten_below > 0

    @property
    def may_vote(self) -> bool:
        """Whether this node stands for election."""
        return self.stands and not self._forgotten_below

    @property
    def leader_id(self) -> int | None:
        """The leader of the current epoch as far as this node knows and may say."""
        state = self.state
        if isinstance(state, Leader):
            return self.local.id
        if isinstance(state, (Follower, Unattached, Prospective)):
            return state.leader_id
        return None

    @property
    def leader_and_epoch(self) -> LeaderAndEpoch:
        return LeaderAndEpoch(self.leader_id, self.epoch)

    @property
    def leader(self) -> Leader | None:
        """The leader's state if this node leads."""
        return self._state if isinstance(self._state, Leader) else None

    def next_deadline_ms(self) -> float:
        """When ``on_tick`` is wanted next, infinity for never; in the past if at once."""
        state = self.state
        deadline = self._state_deadline_ms()
        for kind, node_id, due_ms in self._wanted():
            slot = self._slots.get((kind, node_id))
            if slot is None:
                deadline = min(deadline, due_ms)
            elif slot.request_id is None:
                deadline = min(deadline, max(slot.next_send_ms, due_ms))
            else:
                deadline = min(deadline, slot.deadline_ms)
        if isinstance(state, Leader):
            parked = state.next_parked_deadline_ms()
            if parked is not None:
                deadline = min(deadline, parked)
        return deadline

    # -- one step -----------------------------------------------------------------------------------------------

    def _enter(self, now_ms: float) -> None:
        assert self._state is not None, "the machine was not started"
        # A caller's clock that steps back must not make timers fire late.
        self._now = max(self._now, now_ms)

    def _leave(self) -> RaftEffects:
        """End a step: persist a changed election first, send what is due, hand over the outputs."""
        self._settle_voter_change()
        state = self.state
        election = self._election()
        if election != self._persisted:
            assert election.epoch >= self._persisted.epoch, (self._persisted, election)
            if election.epoch == self._persisted.epoch and self._persisted.voted is not None:
                # A leader needs no memory of its vote: it can be nothing else in this epoch.
                assert election.voted == self._persisted.voted or election.leader_id == self.local.id, "vote forgotten"
            self._persisted = election
            self._out.append.insert(0, PersistElection(election))
        self._pump()
        if isinstance(state, Leader):
            self._answer_parked(state)
        out = self._out
        self._out = Effects()
        return out

    def _reply(self, token: object, response: object) -> None:
        self._out.reply.append(Reply(token, response))

    def _note(self, kind: NoteKind, reason: str, **detail: str | int | float | bool | list[int] | None) -> None:
        self._out.notes.append(Note(kind, f"epoch {self.epoch}", reason, detail))

    # -- changes of state ---------------------------------------------------------------------------------------

    def _transition(self, state: State) -> None:
        before = self._state
        assert type(before) in PREDECESSORS[type(state)], f"{before!r} cannot become {state!r}"
        if before is not None:
            assert state.epoch >= before.epoch, f"epoch went back: {before!r} to {state!r}"
            if isinstance(before, Resigned):
                assert state.epoch > before.epoch, "a leader that resigned can be nothing else in its epoch"
            if isinstance(before, Leader) and not isinstance(state, Resigned):
                assert state.epoch > before.epoch, "two leaders in one epoch"
        self._state = state
        self._slots.clear()
        if isinstance(before, Leader):
            for fetch in before.parked:
                self._reply(fetch.token, self._fetch_error(ErrorCode.NOT_LEADER_OR_FOLLOWER))
            before.parked.clear()
            self._give_up_voter_change(before, ErrorCode.NOT_LEADER_OR_FOLLOWER)

    def _become_unattached(self, epoch: int, leader_id: int | None = None, delay_ms: float | None = None) -> None:
        """``delay_ms`` until standing for election; a random election timeout if not given."""
        voted = self._vote_of(epoch) if leader_id is not None else None
        self._transition(Unattached(epoch, leader_id, self._election_deadline_ms(delay_ms), voted))

    def _become_voted(self, epoch: int, candidate: ReplicaKey, delay_ms: float | None = None) -> None:
        self._transition(Voted(epoch, candidate, self._election_deadline_ms(delay_ms)))

    def _become_follower(self, epoch: int, leader_id: int, *, leader_lost_delay_ms: float | None = None) -> None:
        assert leader_id != self.local.id
        known = self.leader_id if self._state is not None and self._state.epoch == epoch else None
        assert known in (None, leader_id), f"two leaders in epoch {epoch}: {known} and {leader_id}"
        voted = self._vote_of(epoch)
        state = Follower(
            epoch,
            leader_id,
            voted,
            self._now + self.timing.fetch_timeout_ms,
            update_voter_ms=self._now + self.timing.update_voter_interval_ms,
        )
        if leader_lost_delay_ms is not None and self.may_vote:
            state.leader_lost_deadline_ms = self._now + leader_lost_delay_ms
        self._transition(state)

    def _become_resigned(self, reason: str) -> None:
        leader = self.leader
        assert leader is not None
        others = [voter_id for voter_id in self.voters if voter_id != self.local.id]
        self._transition(
            Resigned(
                leader.epoch,
                # Also of one that is no voter any more: it looks for the next leader then.
                self._now + self._random_election_timeout_ms(),
                leader.voters_by_progress(),
                others,
            )
        )
        self._note(NoteKind.QUORUM_LEADER_RESIGNED, reason, leader_id=self.local.id, epoch=leader.epoch)

    def _vote_of(self, epoch: int) -> ReplicaKey | None:
        """The vote that this node gave in ``epoch``, if that is the epoch it is in."""
        state = self._state
        if state is None:
            return self._persisted.voted if self._persisted.epoch == epoch else None
        if state.epoch != epoch:
            return None
        if isinstance(state, (Unattached, Voted, Prospective, Follower)):
            return state.voted
        return self.local if isinstance(state, Candidate) else None

    def _election(self) -> ElectionState:
        """What must not be forgotten of the current state."""
        state = self.state
        if isinstance(state, (Leader, Resigned)):
            return ElectionState(state.epoch, self.local.id, None)
        if isinstance(state, Candidate):
            return ElectionState(state.epoch, None, self.local)
        if isinstance(state, Voted):
            return ElectionState(state.epoch, None, state.voted)
        if isinstance(state, Unattached):
            return ElectionState(state.epoch, state.leader_id, state.voted)
        return ElectionState(state.epoch, state.leader_id, state.voted)

    # -- durations ----------------------------------------------------------------------------------------------

    def _random_election_timeout_ms(self) -> float:
        return self.timing.election_timeout_ms * (1 + self._jitter())

    def _election_deadline_ms(self, delay_ms: float | None) -> float:
        if not self.may_vote:
            return NEVER
        return self._now + (self._random_election_timeout_ms() if delay_ms is None else delay_ms)

    def _staggered_delay_ms(self, gone_id: int | None = None) -> float:
        """A short delay that differs by a grace between voters, so that they do not stand at the same moment."""
        grace_ms = self.timing.connection_loss_grace_ms
        others = [voter_id for voter_id in self.voters if voter_id != gone_id]
        rank = others.index(self.local.id) if self.local.id in others else len(others)
        return grace_ms * (0.2 + rank + 0.5 * self._jitter())

    def _election_backoff_ms(self) -> float:
        """How long to wait after a lost round: random, longer each time (binaryExponentialElectionBackoffMs)."""
        self._election_retries += 1
        base_ms = self.timing.connection_loss_grace_ms if self.timing.connection_loss_detection else 100.0
        limit_ms = min(self.timing.election_backoff_max_ms, base_ms * 2 ** min(self._election_retries, 10))
        backoff_ms: float = base_ms * 0.2 + limit_ms * self._jitter()
        return backoff_ms

    def _state_deadline_ms(self) -> float:
        state = self.state
        if isinstance(state, Leader):
            return min(state.check_quorum_deadline_ms if state.needs_others else NEVER, state.change_deadline_ms)
        if isinstance(state, Follower):
            if state.leader_lost_deadline_ms is not None:
                return min(state.fetch_deadline_ms, state.leader_lost_deadline_ms)
            return state.fetch_deadline_ms
        return state.election_deadline_ms

    # -- requests that are due ----------------------------------------------------------------------------------

    def _wanted(self) -> Iterator[tuple[RequestKind, int, float]]:
        """Kind, peer and earliest time of each request that the state calls for."""
        state = self.state
        if isinstance(state, Follower):
            # What a fetch starts at counts as fsynced here: it waits until that is true.
            if self.log.flushed_offset == self.log.end_offset:
                yield RequestKind.FETCH, state.leader_id, 0.0
            if self._has_to_tell(state):
                yield RequestKind.UPDATE_VOTER, state.leader_id, state.update_voter_ms
        elif isinstance(state, (Prospective, Candidate)):
            if not (isinstance(state, Candidate) and state.is_backing_off):
                for voter_id in state.tally.unanswered():
                    yield RequestKind.VOTE, voter_id, 0.0
        elif isinstance(state, Leader):
            interval_ms = self.timing.begin_quorum_epoch_interval_ms
            for voter_id, progress in state.progress.items():
                if not progress.has_acknowledged_leader:
                    yield RequestKind.BEGIN_QUORUM_EPOCH, voter_id, 0.0
                else:
                    last_ms = progress.last_fetch_ms
                    yield RequestKind.BEGIN_QUORUM_EPOCH, voter_id, 0.0 if last_ms is None else last_ms + interval_ms
        elif isinstance(state, Resigned):
            for voter_id in state.unacknowledged:
                yield RequestKind.END_QUORUM_EPOCH, voter_id, 0.0
        else:
            target = self._discovery_target()
            if target is not None and self.log.flushed_offset == self.log.end_offset:
                yield RequestKind.FETCH, target, 0.0

    def _discovery_target(self) -> int | None:
        """Whom to ask who leads."""
        others = [voter_id for voter_id in self.voters if voter_id != self.local.id]
        others += self._bootstrap_ids
        return others[self._discovery_index % len(others)] if others else None

    def _has_to_tell(self, state: Follower) -> bool:
        """Whether the leader must hear what this voter is: where the log says another thing, and once of each leader
        where it says nothing yet, which must know that of all to raise kraft.version (shouldSendUpdateVoteRequest)."""
        voter = self.local_voter
        if voter is None or self._is_shutting_down or not state.has_fetched or not self.is_voter:
            return False
        if self.is_reconfigurable:
            return self.voters.voter(self.local.id) != voter
        return not state.has_told_leader

    def _pump(self) -> None:
        """Send every request that is due and expire those that were not answered."""
        for kind, node_id, due_ms in list(self._wanted()):
            slot = self._slots.get((kind, node_id))
            if slot is None:
                slot = self._slots[kind, node_id] = _Slot()
            if slot.request_id is not None and self._now >= slot.deadline_ms:
                self._slot_failed(kind, node_id, slot)
            if slot.request_id is None and self._now >= max(slot.next_send_ms, due_ms):
                self._last_request_id += 1
                slot.request_id = self._last_request_id
                slot.deadline_ms = self._now + self.timing.request_timeout_ms
                self._out.send.append(Send(node_id, slot.request_id, self._request(kind, node_id)))

    def _request(self, kind: RequestKind, node_id: int) -> Request:
        state = self.state
        peer = self.voters.key(node_id)
        if kind == RequestKind.VOTE:
            end = self.log.end
            is_pre_vote = isinstance(state, Prospective)
            return VoteRequest(peer, self.local, state.epoch, end.epoch, end.offset, is_pre_vote)
        if kind == RequestKind.BEGIN_QUORUM_EPOCH:
            return BeginQuorumEpochRequest(peer, self.local.id, state.epoch)
        if kind == RequestKind.END_QUORUM_EPOCH:
            assert isinstance(state, Resigned)
            return EndQuorumEpochRequest(self.local.id, state.epoch, state.preferred_candidates)
        if kind == RequestKind.UPDATE_VOTER:
            assert self.local_voter is not None
            return UpdateVoterRequest(state.epoch, self.local_voter)
        if isinstance(state, Follower) and state.download is not None:
            return FetchSnapshotRequest(
                self.local,
                state.epoch,
                state.download.snapshot_id,
                state.download.position,
                self.timing.fetch_max_bytes,
            )
        end = self.log.end
        is_discovery = not isinstance(state, Follower)
        return FetchRequest(
            self.local,
            state.epoch,
            end.offset,
            end.epoch,
            0 if is_discovery else self.timing.fetch_max_wait_ms,
            self.timing.fetch_max_bytes,
            self.high_watermark,
        )

    def _take_slot(self, kind: RequestKind, node_id: int, request_id: int) -> _Slot | None:
        """The slot whose request is answered now, freed; None if the answer is to a request long given up."""
        slot = self._slots.get((kind, node_id))
        if slot is None or slot.request_id != request_id:
            return None
        slot.request_id = None
        slot.next_send_ms = self._now
        return slot

    def _slot_failed(self, kind: RequestKind, node_id: int, slot: _Slot) -> None:
        """Repeat later: sooner where it matters, more slowly where a peer stays away."""
        slot.request_id = None
        limit_ms = _MAX_RETRY_BACKOFF_MS
        if kind == RequestKind.BEGIN_QUORUM_EPOCH:
            limit_ms = self.timing.begin_quorum_epoch_interval_ms
        slot.next_send_ms = self._now + min(limit_ms, self.timing.retry_backoff_ms * 2 ** min(slot.failures, 10))
        slot.failures += 1
        if kind == RequestKind.FETCH and not isinstance(self.state, Follower):
            self._ask_next_voter()

    def _ask_next_voter(self) -> None:
        """Turn to another voter in the search for the leader, after a pause."""
        self._discovery_index += 1
        target = self._discovery_target()
        if target is not None:
            slot = self._slots.setdefault((RequestKind.FETCH, target), _Slot())
            if slot.request_id is None:
                slot.next_send_ms = max(slot.next_send_ms, self._now + _DISCOVERY_INTERVAL_MS)

    # -- the leader's log ---------------------------------------------------------------------------------------

    def _append_as_leader(self, batches: bytes | bytearray) -> int:
        """Stamp ready batches with offsets and the epoch, append them, return the last offset."""
        data = bytearray(batches)
        base_offset = next_offset = self.log.end_offset
        position = 0
        while position < len(data):
            header = read_header(data, position)
            stamp(data, position, next_offset, self.epoch)
            next_offset += header.last_offset_delta + 1
            end = position + header.size_in_bytes
            if header.is_control:
                self._note_control(read_header(data, position), memoryview(data)[position:end])
            position = end
        assert position == len(data) and next_offset > base_offset, "not a whole number of batches"
        self.log.append(base_offset, next_offset, self.epoch)
        self._out.append.append(AppendRecords(base_offset, next_offset, data))
        return next_offset - 1

    def _note_control(self, header: BatchHeader, batch: Buffer) -> None:
        """A control batch was appended: what it says of the voters counts from now on."""
        if self.history.note_batch(header, batch):
            self._use_voters()

    def _use_voters(self) -> None:
        """The voters changed."""
        if not isinstance(self._state, Leader):
            return
        before = self._state.voters
        self._state.use_voters(self.voters, self._now, self.timing.check_quorum_timeout_ms)
        last = self.history.last
        if last is not None and [each.key for each in last.voters.voters] != [each.key for each in before.voters]:
            self._note(
                NoteKind.VOTERS_CHANGED,
                f"the voters are nodes {list(self.voters)}",
                voters=list(self.voters),
                offset=last.offset,
                kraft_version=self.kraft_version,
            )

    def _settle_voter_change(self) -> None:
        """Go on with a change of the voters."""

    def _give_up_voter_change(self, leader: Leader, error: ErrorCode) -> None:
        """Answer whoever waits for a change of the voters."""

    def _update_high_watermark(self, leader: Leader) -> None:
        """Commit what a majority has, once that includes a record of this epoch (Raft 5.4.2)."""
        end_offset = leader.majority_end_offset(self.log.flushed_offset)
        if end_offset > leader.epoch_start_offset and end_offset > self.high_watermark:
            self.high_watermark = end_offset

    def _answer_parked(self, leader: Leader) -> None:
        if not leader.parked:
            return
        waiting = []
        for fetch in leader.parked:
            if fetch.is_due(self.log.end_offset, self.high_watermark, self._now):
                self._reply(fetch.token, self._fetch_records(fetch.request))
            else:
                waiting.append(fetch)
        leader.parked = waiting

    def _fetch_records(self, request: FetchRequest) -> FetchResponse:
        raise NotImplementedError

    def _fetch_error(self, error: ErrorCode) -> FetchResponse:
        return FetchResponse(error, self.leader_id, self.epoch)
