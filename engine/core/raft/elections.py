"""Elections: votes, pre-votes, the begin and the end of a leader's epoch, and the timers around them.

A replica that times out becomes Prospective and asks for pre-votes; with a majority of them it becomes Candidate in a
new epoch and asks for votes; with a majority of those it leads (KIP-595, KIP-996).
"""

from __future__ import annotations

from engine.core.raft.identity import ReplicaKey, Voter
from engine.core.raft.leader import Leader
from engine.core.raft.messages import (
    BeginQuorumEpochRequest,
    EndQuorumEpochRequest,
    EpochResponse,
    VoteRequest,
    VoteResponse,
)
from engine.core.raft.node import NEVER, RaftNode, RequestKind
from engine.core.raft.outputs import RaftEffects
from engine.core.raft.states import Candidate, Follower, Prospective, Resigned, Unattached, Voted, VoteTally
from engine.core.raft.voter_history import ControlRecords, VotersEntry
from engine.model.errors import ErrorCode
from engine.model.notes import NoteKind


class Elections(RaftNode):
    """Inputs that choose the leader."""

    def start(self, now_ms: float) -> RaftEffects:
        """Enter the first state, from what was persisted and from the log (QuorumState.initialize)."""
        assert self._state is None, "started twice"
        self._now = now_ms
        election = self._persisted
        # Others are likely to start at the same time; pre-vote makes it harmless to stand at once.
        soon_ms = self._staggered_delay_ms() if self.timing.connection_loss_detection else None
        if self.log.latest_epoch > election.epoch:
            self._become_unattached(self.log.latest_epoch, None, soon_ms)
        elif election.leader_id == self.local.id:
            # It may have written records of this epoch that a crash undid: it must not lead it again.
            others = [voter_id for voter_id in self.voters if voter_id != self.local.id]
            delay_ms = soon_ms if soon_ms is not None and self.may_vote else self._random_election_timeout_ms()
            self._transition(Resigned(election.epoch, self._now + delay_ms, (), others))
        elif election.leader_id is not None and (election.leader_id in self.voters or not self.is_reconfigurable):
            self._become_follower(election.epoch, election.leader_id)
        elif election.leader_id is not None:
            # Where it is reached is not known here: whoever is asked may know.
            self._become_unattached(election.epoch, election.leader_id, soon_ms)
        elif election.voted is not None:
            self._become_voted(election.epoch, election.voted, soon_ms)
        else:
            self._become_unattached(election.epoch, None, soon_ms)
        return self._leave()

    # -- votes asked of this node -------------------------------------------------------------------------------

    def on_vote_request(self, token: object, request: VoteRequest, now_ms: float) -> RaftEffects:
        """A peer asks for a vote or a pre-vote; the reply is a VoteResponse."""
        self._enter(now_ms)
        error, granted = self._vote(request)
        self._reply(token, VoteResponse(error, self.leader_id, self.epoch, granted))
        return self._leave()

    def _vote(self, request: VoteRequest) -> tuple[ErrorCode, bool]:
        candidate = request.candidate
        if self._is_shutting_down:
            return ErrorCode.BROKER_NOT_AVAILABLE, False
        if request.epoch < self.epoch:
            self._note_vote(request, False, f"epoch {request.epoch} is over, this is epoch {self.epoch}")
            return ErrorCode.FENCED_LEADER_EPOCH, False
        if not self._is_meant(request.voter):
            return ErrorCode.INVALID_VOTER_KEY, False
        too_high = (
            request.last_offset_epoch > request.epoch
            if request.pre_vote
            else (request.last_offset_epoch >= request.epoch)
        )
        if (
            # Where voters are static nobody else's claim may move the epoch, which would depose the leader; where they
            # are not, the candidate may know better who they are, whether this node is one too.
            (candidate.id not in self.voters and not self.is_reconfigurable)
            or candidate.id == self.local.id
            or request.epoch < 0
            or request.last_offset < 0
            or too_high
        ):
            return ErrorCode.INVALID_REQUEST, False
        if request.epoch > self.epoch:
            self._become_unattached(request.epoch)
        end = self.log.end
        is_up_to_date = (request.last_offset_epoch, request.last_offset) >= (end.epoch, end.offset)
        if self.has_forgotten or not (self.is_voter or self.is_reconfigurable):
            if self.is_voter:
                self._note_vote(request, False, "its log was corrupt, and it has not caught up again")
            return ErrorCode.NONE, False
        reason = self._vote_reason(request, is_up_to_date)
        if request.pre_vote:
            granted = self._can_grant_pre_vote(is_up_to_date)
            if granted:
                self._step_aside_for(request)
        else:
            granted = self._can_grant_vote(candidate, is_up_to_date)
            if granted and not isinstance(self.state, Voted):
                self._become_voted(request.epoch, candidate)
        self._note_vote(request, granted, reason)
        return ErrorCode.NONE, granted

    def _is_meant(self, voter: ReplicaKey) -> bool:
        """Whether a request to a voter is for this node, with this directory; older versions do not say for whom."""
        return voter.id == -1 or Voter(voter).is_same(self.local)

    def _vote_reason(self, request: VoteRequest, is_up_to_date: bool) -> str:
        """What decides on a vote, for people."""
        state, end = self.state, self.log.end
        if isinstance(state, Leader):
            return "it leads this epoch"
        if request.pre_vote:
            if isinstance(state, Follower) and state.has_fetched and state.leader_lost_deadline_ms is None:
                return f"it hears the leader, node {state.leader_id}"
        elif isinstance(state, (Voted, Prospective)) and state.voted is not None:
            return f"it gave its vote of this epoch to node {state.voted.id}"
        elif not isinstance(state, (Voted, Unattached, Prospective)):
            return f"it is {type(state).__name__.lower()} in this epoch"
        elif not isinstance(state, Voted) and state.leader_id is not None:
            return f"node {state.leader_id} leads this epoch"
        logs = f"its log reaches {request.last_offset} (epoch {request.last_offset_epoch})"
        return f"{logs}, this one's {'' if is_up_to_date else 'further: '}{end.offset} (epoch {end.epoch})"

    def _note_vote(self, request: VoteRequest, granted: bool, reason: str) -> None:
        kind = NoteKind.VOTE_GRANTED if granted else NoteKind.VOTE_REFUSED
        what = f"{'pre-vote' if request.pre_vote else 'vote'} for node {request.candidate.id}"
        self._note(
            kind,
            f"{what}: {reason}",
            candidate_id=request.candidate.id,
            epoch=request.epoch,
            pre_vote=request.pre_vote,
        )

    def _can_grant_vote(self, candidate: ReplicaKey, is_up_to_date: bool) -> bool:
        state = self.state
        if isinstance(state, Voted):
            # A vote read back from a quorum-state file of version 0 has no directory id.
            return state.voted == candidate or state.voted == ReplicaKey(candidate.id)
        if isinstance(state, Unattached):
            return state.leader_id is None and is_up_to_date
        if isinstance(state, Prospective):
            if state.voted is not None:
                return False
            return state.leader_id is None and is_up_to_date
        return False

    def _can_grant_pre_vote(self, is_up_to_date: bool) -> bool:
        """A follower that hears its leader says no: this is what protects the leader (KIP-996)."""
        state = self.state
        if isinstance(state, Leader):
            return False
        if isinstance(state, Follower) and state.has_fetched and state.leader_lost_deadline_ms is None:
            return False
        return is_up_to_date

    def _step_aside_for(self, request: VoteRequest) -> None:
        """Let a peer that was granted a pre-vote go first, where this node would stand at about the same time."""
        state = self.state
        grace_ms = self.timing.connection_loss_grace_ms
        if isinstance(state, Follower):
            if state.leader_lost_deadline_ms is not None:
                later_ms = self._now + 2 * grace_ms + self._staggered_delay_ms(state.leader_id)
                state.leader_lost_deadline_ms = max(state.leader_lost_deadline_ms, later_ms)
        elif isinstance(state, Prospective):
            end = self.log.end
            is_better = (request.last_offset_epoch, request.last_offset, -request.candidate.id) > (
                end.epoch,
                end.offset,
                -self.local.id,
            )
            if is_better:
                self._leave_prospective(state, 2 * grace_ms + self._staggered_delay_ms(state.leader_id))
        elif isinstance(state, (Unattached, Voted)):
            later_ms = self._now + 2 * grace_ms + self._staggered_delay_ms()
            state.election_deadline_ms = max(state.election_deadline_ms, later_ms)

    # -- votes asked by this node -------------------------------------------------------------------------------

    def on_vote_response(self, node_id: int, request_id: int, response: VoteResponse, now_ms: float) -> RaftEffects:
        """A peer answered a vote or a pre-vote."""
        self._enter(now_ms)
        slot = self._take_slot(RequestKind.VOTE, node_id, request_id)
        if slot is not None and not self._learn_leader(response.leader_id, response.epoch, node_id):
            state = self.state
            if response.error != ErrorCode.NONE:
                self._slot_failed(RequestKind.VOTE, node_id, slot)
            elif isinstance(state, (Prospective, Candidate)) and response.epoch == state.epoch:
                state.tally.record(node_id, response.granted)
                self._count_votes(state)
        return self._leave()

    def _count_votes(self, state: Prospective | Candidate) -> None:
        if isinstance(state, Prospective):
            if state.tally.is_won:
                self._become_candidate()
            elif state.tally.is_lost:
                if state.leader_id is not None and not state.leader_lost:
                    delay_ms = None
                else:
                    delay_ms = self._election_backoff_ms() + self._staggered_delay_ms(state.leader_id)
                self._leave_prospective(state, delay_ms)
        elif state.tally.is_won:
            self._become_leader(state)
        elif state.tally.is_lost and not state.is_backing_off:
            state.is_backing_off = True
            state.election_deadline_ms = self._now + self._election_backoff_ms()

    def _leave_prospective(self, state: Prospective, delay_ms: float | None) -> None:
        """Go back to waiting: for the leader if there is one, otherwise for someone else's candidacy."""
        if state.leader_id is not None:
            self._become_follower(
                state.epoch, state.leader_id, leader_lost_delay_ms=delay_ms if state.leader_lost else None
            )
        elif state.voted is not None:
            self._become_voted(state.epoch, state.voted, delay_ms)
        else:
            self._become_unattached(state.epoch, None, delay_ms)

    def _become_prospective(self, reason: str, *, leader_lost: bool = False) -> None:
        state = self.state
        assert self.may_vote and isinstance(state, (Unattached, Voted, Prospective, Candidate, Follower))
        leader_id = state.leader_id if isinstance(state, (Unattached, Follower, Prospective)) else None
        prospective = Prospective(
            state.epoch,
            leader_id,
            self._vote_of(state.epoch),
            self._election_deadline_ms(None),
            self._new_tally(),
            leader_lost=leader_lost,
        )
        self._transition(prospective)
        self._note(NoteKind.ELECTION_STARTED, reason, epoch=state.epoch, pre_vote=True, leader_id=leader_id)
        self._count_votes(prospective)

    def _new_tally(self) -> VoteTally:
        return VoteTally(self.voters.ids, self.voters.majority, self.local.id if self.is_voter else None)

    def _become_candidate(self) -> None:
        state = self.state
        assert isinstance(state, Prospective) and state.tally.is_won, state
        candidate = Candidate(
            state.epoch + 1,
            self._election_deadline_ms(None),
            self._new_tally(),
        )
        granted = sorted(state.tally.granted)
        self._transition(candidate)
        reason = f"{granted} would vote for node {self.local.id}"
        self._note(NoteKind.CANDIDACY_STARTED, reason, epoch=candidate.epoch, granted=granted)
        self._count_votes(candidate)

    def _become_leader(self, candidate: Candidate) -> None:
        granting = tuple(sorted(candidate.tally.granted))
        assert len(granting) >= self.voters.majority
        leader = Leader(
            candidate.epoch,
            self.local,
            self.voters,
            self.log.end_offset,
            granting,
            self._now + self.timing.check_quorum_timeout_ms,
        )
        self._transition(leader)
        self._election_retries = 0
        more = self._voters_to_write()
        self._append_as_leader(self._encode_leader_change(self.local.id, self.voters.ids, granting, more))
        self._note(
            NoteKind.QUORUM_LEADER_ELECTED,
            f"node {self.local.id} was granted the votes of {list(granting)}",
            leader_id=self.local.id,
            epoch=leader.epoch,
            granting_voters=list(granting),
        )

    def _voters_to_write(self) -> ControlRecords:
        """What a leader's first batch says of the voters: those that only formatting wrote down so far, so that its
        snapshot need not be kept, and where this leader is reached now (LeaderState)."""
        leader, last, voter = self.leader, self.history.last, self.local_voter
        assert leader is not None
        if last is None:
            if voter is not None:
                leader.told = self.voters.with_voter(voter)
            return ()
        if voter is not None and self.voters.voter(self.local.id) != voter:
            return VotersEntry(last.offset, last.kraft_version, self.voters.with_voter(voter)).control_records()
        return last.control_records() if last.offset < 0 else ()

    # -- a leader's epoch begins and ends -----------------------------------------------------------------------

    def on_begin_quorum_epoch_request(
        self, token: object, request: BeginQuorumEpochRequest, now_ms: float
    ) -> RaftEffects:
        """A new leader (or one that misses this voter's fetches) calls; the reply is an EpochResponse."""
        self._enter(now_ms)
        error = ErrorCode.NONE
        if request.epoch < self.epoch:
            error = ErrorCode.FENCED_LEADER_EPOCH
        elif not self._is_meant(request.voter):
            error = ErrorCode.INVALID_VOTER_KEY
        elif not self._may_follow(request.leader_id, request.epoch):
            error = ErrorCode.INVALID_REQUEST
        else:
            self._learn_leader(request.leader_id, request.epoch, request.leader_id)
            state = self.state
            if isinstance(state, Follower) and state.leader_lost_deadline_ms is not None:
                # It reached us, so it is not gone; whether we reach it, the next fetch will show.
                state.leader_lost_deadline_ms = max(
                    state.leader_lost_deadline_ms, self._now + self.timing.connection_loss_grace_ms
                )
        self._reply(token, EpochResponse(error, self.leader_id, self.epoch))
        return self._leave()

    def on_begin_quorum_epoch_response(
        self, node_id: int, request_id: int, response: EpochResponse, now_ms: float
    ) -> RaftEffects:
        """A voter acknowledged this leader."""
        self._enter(now_ms)
        slot = self._take_slot(RequestKind.BEGIN_QUORUM_EPOCH, node_id, request_id)
        if slot is not None and not self._learn_leader(response.leader_id, response.epoch, node_id):
            leader = self.leader
            if response.error != ErrorCode.NONE:
                self._slot_failed(RequestKind.BEGIN_QUORUM_EPOCH, node_id, slot)
            elif leader is not None and response.epoch == leader.epoch:
                if node_id in leader.progress:
                    leader.progress[node_id].has_acknowledged_leader = True
                slot.failures = 0
                slot.next_send_ms = self._now + self.timing.begin_quorum_epoch_interval_ms
        return self._leave()

    def on_end_quorum_epoch_request(self, token: object, request: EndQuorumEpochRequest, now_ms: float) -> RaftEffects:
        """The leader resigns and names who should stand first; the reply is an EpochResponse."""
        self._enter(now_ms)
        error = ErrorCode.NONE
        if request.epoch < self.epoch:
            error = ErrorCode.FENCED_LEADER_EPOCH
        elif not self._may_follow(request.leader_id, request.epoch):
            error = ErrorCode.INVALID_REQUEST
        else:
            self._learn_leader(request.leader_id, request.epoch, request.leader_id)
            state = self.state
            if isinstance(state, Follower) and self.may_vote:
                preferred = [each.id for each in request.preferred_candidates]
                rank = preferred.index(self.local.id) if self.local.id in preferred else len(self.voters)
                grace_ms = self.timing.connection_loss_grace_ms
                # The first one has a head start of a few milliseconds: the others must have heard of the end as well.
                delay_ms = grace_ms * (0.1 if rank == 0 else rank + 0.5 * self._jitter())
                state.leader_lost_deadline_ms = self._now + delay_ms
                state.has_fetched = False
        self._reply(token, EpochResponse(error, self.leader_id, self.epoch))
        return self._leave()

    def on_end_quorum_epoch_response(
        self, node_id: int, request_id: int, response: EpochResponse, now_ms: float
    ) -> RaftEffects:
        """A voter heard that this leader resigned."""
        self._enter(now_ms)
        slot = self._take_slot(RequestKind.END_QUORUM_EPOCH, node_id, request_id)
        if slot is not None and not self._learn_leader(response.leader_id, response.epoch, node_id):
            state = self.state
            if response.error != ErrorCode.NONE:
                self._slot_failed(RequestKind.END_QUORUM_EPOCH, node_id, slot)
            elif isinstance(state, Resigned) and node_id in state.unacknowledged:
                state.unacknowledged.remove(node_id)
        return self._leave()

    def on_shutdown(self, now_ms: float) -> RaftEffects:
        """The node is about to stop: a leader resigns, so that the next one need not wait for a timeout."""
        self._enter(now_ms)
        if self.leader is not None and self.leader.needs_others:
            self._become_resigned("the node is shutting down")
        self._is_shutting_down = True
        return self._leave()

    # -- what every message may tell ----------------------------------------------------------------------------

    def _may_follow(self, leader_id: int, epoch: int) -> bool:
        """Whether a claim to lead fits with what this node knows: one leader an epoch, a voter if these are static."""
        if leader_id == self.local.id:
            return False
        # Before a node knows of any voter it learns of the leader from those who know it.
        if leader_id not in self.voters and len(self.voters) > 0 and not self.is_reconfigurable:
            return False
        if epoch > self.epoch:
            return True
        known = self.leader_id
        return epoch == self.epoch and not isinstance(self.state, Resigned) and known in (None, leader_id)

    def _learn_leader(self, leader_id: int | None, epoch: int, sender_id: int = -1) -> bool:
        """Follow what a peer said about epoch and leader; whether this changed the state."""
        state = self.state
        if epoch > state.epoch:
            if leader_id is None or leader_id == self.local.id:
                self._become_unattached(epoch)
            else:
                self._become_follower(epoch, leader_id)
            return True
        if epoch == state.epoch and leader_id is not None and self._may_follow(leader_id, epoch):
            if isinstance(state, Prospective) and state.leader_id == leader_id and sender_id != leader_id:
                # Hearsay of the leader that this node itself cannot hear: no reason to stop asking.
                return False
            if not isinstance(state, Follower):
                self._become_follower(epoch, leader_id)
                return True
        return False

    # -- timers and lost connections ----------------------------------------------------------------------------

    def on_tick(self, now_ms: float) -> RaftEffects:
        """Time passed: run what is due of :meth:`next_deadline_ms`."""
        self._enter(now_ms)
        state = self.state
        if self._now >= self._state_deadline_ms():
            if isinstance(state, Leader):
                self._on_leader_deadline(state)
            elif isinstance(state, Resigned):
                self._become_unattached(state.epoch + 1, None, 0.0)
            elif isinstance(state, Follower):
                self._on_follower_deadline(state)
            elif isinstance(state, Candidate):
                reason = "the election was lost" if state.is_backing_off else "the election timed out"
                self._become_prospective(reason)
            elif isinstance(state, Prospective):
                self._become_prospective("too few voters answered", leader_lost=state.leader_lost)
            elif not self._is_shutting_down:
                self._become_prospective("no leader was known when the election timeout passed")
            else:
                state.election_deadline_ms = NEVER
        return self._leave()

    def _on_leader_deadline(self, state: Leader) -> None:
        if state.needs_others and self._now >= state.check_quorum_deadline_ms:
            self._become_resigned(
                f"no majority fetched from the leader within {self.timing.check_quorum_timeout_ms:.0f} ms"
            )

    def _on_follower_deadline(self, state: Follower) -> None:
        if not self.stands:
            self._look_for_leader(state)
        elif self._is_shutting_down or not self.may_vote:
            # The next leader calls all voters.
            state.fetch_deadline_ms = NEVER
            state.leader_lost_deadline_ms = None
        elif state.leader_lost_deadline_ms is not None:
            self._become_prospective(f"the leader, node {state.leader_id}, is gone", leader_lost=True)
        else:
            self._become_prospective(
                f"nothing was heard from the leader, node {state.leader_id}, for {self.timing.fetch_timeout_ms:.0f} ms"
            )

    def on_connection_lost(self, node_id: int, now_ms: float) -> RaftEffects:
        """A connection to a peer dropped and could not be opened again at once: its process is likely dead."""
        self._enter(now_ms)
        state = self.state
        if isinstance(state, Follower) and state.leader_id == node_id and self.timing.connection_loss_detection:
            self._on_leader_lost(state)
        elif isinstance(state, (Prospective, Candidate)):
            self._on_unreachable(state, node_id)
        return self._leave()

    def on_request_failed(self, node_id: int, request_id: int, now_ms: float) -> RaftEffects:
        """A request was not answered: the connection dropped or time ran out. It will be repeated."""
        self._enter(now_ms)
        for (kind, peer), slot in list(self._slots.items()):
            if peer == node_id and slot.request_id == request_id:
                self._slot_failed(kind, node_id, slot)
                state = self.state
                if kind == RequestKind.VOTE and isinstance(state, (Prospective, Candidate)):
                    self._on_unreachable(state, node_id)
        return self._leave()

    def _on_leader_lost(self, state: Follower) -> None:
        if not self.stands:
            self._look_for_leader(state)
        elif self.may_vote and state.leader_lost_deadline_ms is None:
            state.leader_lost_deadline_ms = self._now + self._staggered_delay_ms(state.leader_id)

    def _look_for_leader(self, state: Follower) -> None:
        """An observer asks the voters who leads. One that may be asked for its vote remembers who led, and its vote."""
        self._become_unattached(state.epoch, state.leader_id if self.is_reconfigurable else None)

    def _on_unreachable(self, state: Prospective | Candidate, node_id: int) -> None:
        if node_id in self.voters and node_id != self.local.id:
            state.tally.unreachable.add(node_id)
            self._count_votes(state)
