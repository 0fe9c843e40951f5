"""For each promise a change that breaks it: seeds must notice, or the simulation checks nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from test_simulation import chaos

from engine.core.raft.identity import ElectionState, ReplicaKey
from engine.core.raft.leader import Leader
from engine.core.raft.machine import CommittedRecordsLost, RaftMachine
from engine.core.raft.node import RequestKind
from engine.core.raft.states import Follower, Unattached, Voted


class CountsUnflushedRecordsOfItsOwn(RaftMachine):
    def _update_high_watermark(self, leader: Leader) -> None:
        end_offset = leader.majority_end_offset(self.log.end_offset)
        if end_offset > leader.epoch_start_offset and end_offset > self.high_watermark:
            self.high_watermark = end_offset


class TellsUnflushedRecords(RaftMachine):
    def _wanted(self) -> Iterator[tuple[RequestKind, int, float]]:
        if isinstance(self.state, Follower):
            yield RequestKind.FETCH, self.state.leader_id, 0.0
        else:
            yield from super()._wanted()


class VotesForShorterLogs(RaftMachine):
    def _can_grant_vote(self, candidate: ReplicaKey, is_up_to_date: bool) -> bool:
        return super()._can_grant_vote(candidate, True)

    def _can_grant_pre_vote(self, is_up_to_date: bool) -> bool:
        return super()._can_grant_pre_vote(True)


class VotesTwice(RaftMachine):
    def _can_grant_vote(self, candidate: ReplicaKey, is_up_to_date: bool) -> bool:
        return isinstance(self.state, (Voted, Unattached)) and is_up_to_date


class ForgetsItsVote(RaftMachine):
    def _election(self) -> ElectionState:
        return super()._election()._replace(voted=None)


class CommitsWithoutMajority(RaftMachine):
    def _update_high_watermark(self, leader: Leader) -> None:
        if self.log.flushed_offset > leader.epoch_start_offset:
            self.high_watermark = max(self.high_watermark, self.log.flushed_offset)


class FollowsTheLeadersHighWatermarkBlindly(RaftMachine):
    def _raise_high_watermark(self, leaders: int) -> None:
        self.high_watermark = leaders


class LeadsAgainAfterRestart(RaftMachine):
    """Forgets on restart that it led the epoch, so that it can vote in it again."""

    def _election(self) -> ElectionState:
        election = super()._election()
        return election._replace(leader_id=None) if election.leader_id == self.local.id else election


@pytest.mark.parametrize(
    "machine_class",
    [
        CountsUnflushedRecordsOfItsOwn,
        TellsUnflushedRecords,
        VotesForShorterLogs,
        VotesTwice,
        ForgetsItsVote,
        CommitsWithoutMajority,
        FollowsTheLeadersHighWatermarkBlindly,
        LeadsAgainAfterRestart,
    ],
)
def test_the_simulation_notices_a_machine_that(machine_class: type[RaftMachine]) -> None:
    broken = 0
    for seed in range(150):
        try:
            chaos(seed, voters=5, loss=0.03, duplication=0.1, slow=0.1, machine_class=machine_class)
        except (AssertionError, CommittedRecordsLost, KeyError):
            broken += 1
            break
    assert broken, f"150 seeds did not notice {machine_class.__name__}"
