"""The ISR as its leader proposes it: who joins, who leaves, and what each answer of the controller means."""

from __future__ import annotations

import pytest
from replica_harness import LAG_MS, TOPIC_ID, TOPIC_PARTITION, Metadata, ReplicaHarness, epoch_of

from engine.core.replica.isr_state import CommittedIsr, PendingExpandIsr, PendingShrinkIsr
from engine.core.replica.outputs import AlterPartition
from engine.core.replica.roles import Leader
from engine.model.errors import ErrorCode
from engine.model.notes import NoteKind


def state(h: ReplicaHarness) -> type:
    role = h.machine.role
    assert isinstance(role, Leader)
    return type(role.isr_state)


# -- joining ----------------------------------------------------------------------------------------------------


def test_a_replica_that_has_caught_up_is_proposed_and_counts_at_once() -> None:
    """R4: the controller may have taken it in before its answer is heard."""
    h = ReplicaHarness(Metadata(isr=(1, 2)))
    h.append(10)
    h.fetch(2, 10)
    h.fetch(3, 10)
    assert h.sent == [
        AlterPartition(TOPIC_PARTITION, TOPIC_ID, 1, 1, ((1, epoch_of(1)), (2, epoch_of(2)), (3, epoch_of(3))))
    ]
    assert state(h) is PendingExpandIsr
    assert (h.machine.isr, h.machine.maximal_isr) == ({1, 2}, {1, 2, 3})
    h.append(5)
    h.fetch(2, 15)
    assert h.hw == 10
    h.fetch(3, 15)
    assert h.hw == 15
    h.answer()
    assert state(h) is CommittedIsr
    assert h.machine.isr == {1, 2, 3} and h.machine.partition_epoch == 2
    [expanded] = h.notes
    assert expanded.kind is NoteKind.ISR_EXPANDED
    assert (expanded.detail["from"], expanded.detail["to"]) == ([1, 2], [1, 2, 3])


def test_a_replica_behind_the_high_watermark_does_not_join() -> None:
    h = ReplicaHarness(Metadata(isr=(1, 2)))
    h.append(10)
    h.fetch(2, 10)
    h.fetch(3, 9)
    assert not h.sent
    h.fetch(3, 10)
    assert len(h.sent) == 1


def test_a_replica_at_the_high_watermark_but_before_the_start_of_the_epoch_does_not_join() -> None:
    """Between the two may be records that the leader before committed: this leader has not heard how far."""
    h = ReplicaHarness(Metadata(leader=2), end=10, high_watermark=4)
    h.change(leader=1, isr=(1, 2))
    h.fetch(3, 4)
    h.fetch(3, 9)
    assert not h.sent
    h.fetch(3, 10)
    assert h.proposal.new_isr == ((1, epoch_of(1)), (2, -1), (3, epoch_of(3)))


def test_a_member_that_was_not_heard_goes_without_its_epoch() -> None:
    h = ReplicaHarness(Metadata(isr=(1, 2)))
    h.fetch(3, 0)
    assert h.proposal.new_isr == ((1, epoch_of(1)), (2, -1), (3, epoch_of(3)))


@pytest.mark.parametrize("changes", [{"fenced": True}, {"in_controlled_shutdown": True}, {"broker_epoch": 999}])
def test_a_replica_that_the_controller_would_refuse_is_not_proposed_until_it_may_join(
    changes: dict[str, bool | int],
) -> None:
    h = ReplicaHarness(Metadata(isr=(1, 2)))
    h.append(10)
    h.register(3, **changes)
    if "broker_epoch" in changes:
        h.fetch(3, 10, epoch=1_000)  # a newer incarnation than the metadata here knows of
    else:
        h.fetch(3, 10)
    assert not h.sent
    h.register(3, fenced=False, in_controlled_shutdown=False, broker_epoch=1_000 if "broker_epoch" in changes else 103)
    h.cluster_changed()
    assert len(h.sent) == 1


def test_an_unregistered_replica_is_not_proposed() -> None:
    h = ReplicaHarness(Metadata(isr=(1, 2)))
    h.view.brokers = {each: known for each, known in h.view.brokers.items() if each != 3}
    h.fetch(3, 0)
    assert not h.sent


def test_a_follower_of_an_old_version_says_no_epoch_and_may_join() -> None:
    h = ReplicaHarness(Metadata(isr=(1, 2)))
    h.fetch(3, 0, epoch=-1)
    assert h.proposal.new_isr[-1] == (3, -1)


def test_one_change_at_a_time_and_the_next_follows_from_the_answer() -> None:
    h = ReplicaHarness(Metadata(isr=(1,)))
    h.fetch(2, 0)
    h.fetch(3, 0)
    assert [each.new_isr[-1][0] for each in h.sent] == [2]
    h.answer()
    assert [each.new_isr[-1][0] for each in h.sent] == [2, 3]
    assert h.proposal.partition_epoch == 2


def test_a_follower_whose_last_fetch_came_at_a_bad_time_is_taken_up_by_the_check_if_it_is_in_sync_still() -> None:
    h = ReplicaHarness(Metadata(isr=(1, 2)))
    h.append(10)
    h.fetch(2, 10)
    h.register(3, fenced=True)
    h.fetch(3, 10)
    h.register(3, fenced=False)
    h.now += 5
    h.isr_check()
    assert len(h.sent) == 1
    hung = ReplicaHarness(Metadata(isr=(1, 2)))
    hung.append(10)
    hung.register(3, fenced=True)
    hung.fetch(3, 10)
    hung.append(5)
    hung.register(3, fenced=False)
    hung.now += LAG_MS + 1
    hung.fetch(2)
    hung.isr_check()
    assert not hung.sent, "one that hangs must not go in and out of the ISR"


def test_what_a_follower_had_before_its_log_was_found_corrupt_does_not_count_in_the_next_epoch() -> None:
    """The controller begins another epoch with the record that the replica is lost (docs/decisions/0012)."""
    h = ReplicaHarness()
    h.append(10)
    h.fetch(2, 10)
    h.fetch(3, 10)
    assert h.hw == 10
    h.change(isr=(1, 2), leader_epoch=h.metadata.leader_epoch + 1)
    h.isr_check()
    assert not h.sent, "nothing was heard of its new log"
    h.fetch(3, 0)
    h.isr_check()
    assert not h.sent
    h.fetch(3, 10)
    assert h.proposal.new_isr[-1][0] == 3


# -- leaving ----------------------------------------------------------------------------------------------------


def test_a_follower_that_lags_too_long_is_proposed_to_leave_and_counts_until_the_answer() -> None:
    """R4: it may still be elected until the controller has said that it left."""
    h = ReplicaHarness()
    h.append(10)
    h.fetch(2)
    h.fetch(3)
    h.append(5, token="w")
    h.now += LAG_MS
    h.isr_check()
    assert not h.sent, "within replica.lag.time.max.ms"
    h.fetch(2)
    h.now += 1
    h.isr_check()
    assert h.proposal.new_isr == ((1, epoch_of(1)), (2, epoch_of(2)))
    assert state(h) is PendingShrinkIsr
    assert h.machine.isr == h.machine.maximal_isr == {1, 2, 3}
    assert h.hw == 10 and not h.replies
    h.answer()
    assert (h.machine.isr, h.hw, h.replies) == ({1, 2}, 15, {"w": ErrorCode.NONE})
    [shrunk] = h.notes
    assert shrunk.kind is NoteKind.ISR_SHRUNK
    assert "replica 3 is at offset 10, 5 behind, last caught up 30.0 s ago" in shrunk.reason


def test_a_follower_that_never_fetched_gets_the_lag_time_from_the_start_of_the_epoch() -> None:
    h = ReplicaHarness(end=10)
    h.now += LAG_MS
    h.fetch(2)
    h.isr_check()
    assert not h.sent
    h.now += 1
    h.isr_check()
    assert h.proposal.new_isr == ((1, epoch_of(1)), (2, epoch_of(2)))
    h.answer()
    assert "replica 3 never fetched from this leader" in h.notes[-1].reason


def test_a_follower_at_the_end_of_the_log_never_lags() -> None:
    h = ReplicaHarness()
    h.append(10)
    h.fetch(2)
    h.fetch(3)
    h.now += 100 * LAG_MS
    h.isr_check()
    assert not h.sent


def test_a_follower_that_reads_as_fast_as_the_leader_writes_does_not_lag() -> None:
    """One fetch behind all the time, never level: KAFKA's caught-up time is that of the fetch before."""
    h = ReplicaHarness(Metadata(replicas=(1, 2), isr=(1, 2)))
    for _ in range(100):
        behind = h.machine.log_end_offset
        h.append(10)
        h.now += 1_000
        h.fetch(2, behind)
        h.isr_check()
    assert not h.sent


def test_a_follower_that_reads_slower_than_the_leader_writes_leaves() -> None:
    h = ReplicaHarness(Metadata(replicas=(1, 2), isr=(1, 2)))
    offset = 0
    for _ in range(60):
        h.append(10)
        h.now += 1_000
        offset += 5
        h.fetch(2, offset)
        h.isr_check()
    assert len(h.sent) == 1 and h.proposal.new_isr == ((1, epoch_of(1)),)


def test_several_leave_together() -> None:
    h = ReplicaHarness()
    h.append(1)
    h.now += LAG_MS + 1
    h.isr_check()
    assert h.proposal.new_isr == ((1, epoch_of(1)),)
    h.answer()
    assert h.machine.isr == {1} and h.hw == 1


def test_while_a_change_is_pending_nothing_else_is_proposed() -> None:
    h = ReplicaHarness(Metadata(replicas=(1, 2, 3, 4), isr=(1, 2, 3)))
    h.append(10)
    h.now += LAG_MS + 1
    h.isr_check()
    h.isr_check()
    h.fetch(4)
    h.cluster_changed()
    assert len(h.sent) == 1
    h.answer()
    assert len(h.sent) == 2 and h.proposal.new_isr == ((1, epoch_of(1)), (4, epoch_of(4)))


def test_a_follower_checks_nothing() -> None:
    h = ReplicaHarness(Metadata(leader=2))
    h.now += LAG_MS * 2
    h.isr_check()
    h.cluster_changed()
    assert not h.sent


# -- answers ----------------------------------------------------------------------------------------------------


def expanding() -> ReplicaHarness:
    """Broker 3 is proposed to join brokers 1 and 2."""
    h = ReplicaHarness(Metadata(isr=(1, 2)))
    h.append(10)
    h.fetch(2, 10)
    h.fetch(3, 10)
    return h


def shrinking() -> ReplicaHarness:
    """Broker 3 is proposed to leave."""
    h = ReplicaHarness()
    h.append(10)
    h.fetch(3, 9)
    h.now += LAG_MS + 1
    h.fetch(2, 10)
    h.isr_check()
    assert state(h) is PendingShrinkIsr
    return h


@pytest.mark.parametrize("pending", [expanding, shrinking])
@pytest.mark.parametrize("error", [ErrorCode.INELIGIBLE_REPLICA, ErrorCode.OPERATION_NOT_ATTEMPTED])
def test_a_refusal_that_is_certain_goes_back_to_what_was_committed(pending, error: ErrorCode) -> None:  # type: ignore[no-untyped-def]
    h = pending()
    before = h.machine.isr
    h.answer(error)
    assert state(h) is CommittedIsr
    assert h.machine.isr == h.machine.maximal_isr == before
    assert len(h.sent) == 1 and not h.notes


@pytest.mark.parametrize("pending", [expanding, shrinking])
@pytest.mark.parametrize(
    "error",
    [
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.INVALID_UPDATE_VERSION,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.NEW_LEADER_ELECTED,
    ],
)
def test_a_refusal_by_a_controller_that_knows_more_leaves_it_open_until_the_metadata_comes(  # type: ignore[no-untyped-def]
    pending, error: ErrorCode
) -> None:
    h = pending()
    maximal = h.machine.maximal_isr
    h.answer(error)
    assert h.machine.maximal_isr == maximal and state(h) is not CommittedIsr
    assert len(h.sent) == 1, "to ask again would be of no use"
    h.change(isr=(1, 2, 3))
    assert state(h) is CommittedIsr and h.machine.isr == {1, 2, 3}
    h.answer(proposal=h.sent[0], isr=(1,), partition_epoch=9)
    assert h.machine.isr == {1, 2, 3}, "the answer is about the past"


@pytest.mark.parametrize(
    "error", [ErrorCode.UNKNOWN_SERVER_ERROR, ErrorCode.NOT_CONTROLLER, ErrorCode.REQUEST_TIMED_OUT]
)
def test_any_other_error_says_nothing_and_the_same_is_asked_again(error: ErrorCode) -> None:
    h = expanding()
    h.answer(error)
    assert len(h.sent) == 2 and h.sent[0] is h.sent[1]
    assert state(h) is PendingExpandIsr
    h.answer()
    assert h.machine.isr == {1, 2, 3}


def test_a_success_without_a_new_epoch_means_that_the_isr_was_so_already() -> None:
    h = expanding()
    h.answer(partition_epoch=1, isr=(1, 2))
    assert h.machine.isr == {1, 2} and not h.notes
    assert state(h) is PendingExpandIsr, "and broker 3, level still, is proposed anew"


@pytest.mark.parametrize("epochs", [{"leader_epoch": 2}, {"leader_epoch": 0}, {"partition_epoch": 0}])
def test_a_success_of_another_epoch_settles_nothing(epochs: dict[str, int]) -> None:
    h = expanding()
    h.answer(isr=(1, 2, 3), **epochs)
    assert state(h) is PendingExpandIsr
    assert (h.machine.isr, h.machine.maximal_isr) == ({1, 2}, {1, 2, 3})


def test_an_answer_that_comes_after_newer_metadata_is_ignored() -> None:
    h = expanding()
    asked = h.proposal
    h.change(isr=(1, 2))
    h.answer(proposal=asked)
    assert h.machine.isr == {1, 2}
    h.change(leader=2)
    h.answer(proposal=asked)
    assert not h.machine.is_leader


def test_metadata_of_the_epoch_that_is_known_leaves_a_pending_change_alone() -> None:
    """It may be the first that is heard of it while a later change is on its way, or change the replicas only."""
    h = expanding()
    h.answer()
    assert h.machine.partition_epoch == 2
    h.append(5)
    h.fetch(2, 15)
    h.fetch(3, 12)
    h.now += LAG_MS + 1
    h.append(1)
    h.fetch(2, 16)
    h.isr_check()
    assert state(h) is PendingShrinkIsr
    h.apply(h.metadata._replace(isr=(1, 2, 3), partition_epoch=2))
    assert state(h) is PendingShrinkIsr and h.machine.maximal_isr == {1, 2, 3}
    h.answer()
    assert h.machine.isr == {1, 2}


def test_older_metadata_is_ignored() -> None:
    h = expanding()
    h.answer()
    h.apply(Metadata(isr=(1,), partition_epoch=1))
    assert h.machine.isr == {1, 2, 3} and h.machine.partition_epoch == 2
    h.apply(Metadata(leader=3, leader_epoch=1, partition_epoch=1))
    assert h.machine.is_leader


def test_a_replica_that_is_taken_away_is_forgotten_and_one_that_is_added_is_unknown() -> None:
    h = ReplicaHarness()
    h.append(10)
    h.fetch(2)
    h.fetch(3)
    assert h.hw == 10
    h.change(replicas=(1, 2, 4), isr=(1, 2))
    h.append(5)
    h.fetch(2)
    assert h.hw == 15, "replica 4 is not known yet and out of the ISR"
    h.fetch(4, 15)
    assert h.proposal.new_isr == ((1, epoch_of(1)), (2, epoch_of(2)), (4, epoch_of(4)))


def test_a_restarted_follower_that_lost_its_tail_must_catch_up_before_it_joins_again() -> None:
    """R8: what the incarnation before had fetched does not count for the new one (KIP-903)."""
    h = ReplicaHarness()
    h.append(10)
    h.fetch(2)
    h.fetch(3)
    h.register(3, broker_epoch=500)
    h.change(isr=(1, 2))
    h.isr_check()
    h.cluster_changed()
    assert not h.sent, "replica 3 was level, but that was another process"
    h.fetch(3, 4, epoch=500)
    assert not h.sent
    h.fetch(3, 10, epoch=500)
    assert h.proposal.new_isr[-1] == (3, 500)


def test_a_replica_in_a_directory_that_failed_is_not_taken_back_nor_waited_for() -> None:
    directories = (b"one", b"two", b"three")
    h = ReplicaHarness(Metadata(directories=directories))
    h.append(10)
    h.fetch(2, 10)
    h.fetch(3, 10)
    h.register(3, offline_directories=(b"three",))
    h.apply(Metadata(directories=directories, isr=(1, 2), partition_epoch=2))
    h.append(5)
    h.fetch(2, 15)
    assert h.hw == 15 and not h.sent
    h.fetch(3, 15)
    assert not h.sent
    h.register(3, offline_directories=())
    h.fetch(3, 15)
    assert len(h.sent) == 1
