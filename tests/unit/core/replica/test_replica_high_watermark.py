"""What is committed: the high watermark over the maximal ISR, min.insync.replicas, and who waits for acks=all."""

from __future__ import annotations

import pytest
from replica_harness import LAG_MS, Metadata, ReplicaHarness, epoch_of

from engine.core.replica.outputs import StartLeaderEpoch
from engine.core.replica.partition import Partition
from engine.model.errors import ErrorCode, KafkaError

# -- the high watermark -----------------------------------------------------------------------------------------


def test_a_record_is_committed_when_every_in_sync_replica_has_it() -> None:
    h = ReplicaHarness()
    h.append(10)
    assert h.hw == 0
    h.fetch(2, 10)
    assert h.hw == 0, "replica 3 was not heard yet"
    h.fetch(3, 4)
    assert h.hw == 4
    h.fetch(3, 10)
    assert h.hw == 10


def test_replicas_out_of_the_isr_are_not_waited_for() -> None:
    h = ReplicaHarness(Metadata(isr=(1, 2)))
    h.append(10)
    h.fetch(2)
    assert h.hw == 10


def test_a_leader_alone_commits_what_it_appends() -> None:
    h = ReplicaHarness(Metadata(isr=(1,)))
    h.append(3)
    assert h.hw == 3


def test_only_what_is_durable_here_counts() -> None:
    h = ReplicaHarness(Metadata(replicas=(1, 2), isr=(1, 2)))
    h.append(10, durable=0)
    h.fetch(2)
    assert h.hw == 0
    h.perform(h.machine.on_flushed(6, h.now))
    assert h.hw == 6
    h.perform(h.machine.on_flushed(4, h.now))
    assert (h.hw, h.machine.durable_end_offset) == (6, 6)
    h.perform(h.machine.on_flushed(10, h.now))
    assert h.hw == 10


def test_the_high_watermark_does_not_go_back_when_a_follower_does() -> None:
    """R5: a follower that lost its tail fetches from an earlier offset; what was committed stays so."""
    h = ReplicaHarness(Metadata(replicas=(1, 2), isr=(1, 2)))
    h.append(10)
    h.fetch(2)
    h.fetch(2, 3)
    assert h.hw == 10


def test_a_member_of_the_isr_that_is_no_replica_any_more_holds_everything_back() -> None:
    h = ReplicaHarness(Metadata(replicas=(1, 2), isr=(1, 2, 3)))
    h.append(10)
    h.fetch(2)
    assert h.hw == 0


def test_a_new_leader_keeps_the_high_watermark_it_had_and_goes_on_when_all_are_heard() -> None:
    h = ReplicaHarness(Metadata(leader=2), end=10, high_watermark=4)
    h.change(leader=1)
    assert h.hw == 4
    h.fetch(2, 8)
    h.fetch(3, 10)
    assert h.hw == 8


def test_a_leader_left_alone_by_the_metadata_commits_at_once() -> None:
    h = ReplicaHarness()
    h.append(10, token="w")
    h.change(isr=(1,))
    assert (h.hw, h.replies) == (10, {"w": ErrorCode.NONE})


def test_a_replica_that_is_level_and_may_join_is_waited_for_as_well() -> None:
    """Were the high watermark to run ahead of it, it could never catch up."""
    h = ReplicaHarness(Metadata(isr=(1, 2)))
    h.append(10)
    h.fetch(3, 10)
    h.answer(ErrorCode.INELIGIBLE_REPLICA)
    h.append(5)
    h.fetch(2, 15)
    assert h.hw == 10
    h.fetch(3, 12)
    assert h.hw == 12


def test_a_replica_that_hangs_or_may_not_join_is_not_waited_for() -> None:
    for reason in ("hangs", "is fenced"):
        h = ReplicaHarness(Metadata(isr=(1, 2)))
        h.append(10)
        h.fetch(3, 10)
        h.answer(ErrorCode.INELIGIBLE_REPLICA)
        h.append(5)
        if reason == "hangs":
            h.now += LAG_MS + 1
        else:
            h.register(3, fenced=True)
        h.fetch(2, 15)
        assert h.hw == 15, reason


def test_an_append_does_not_wait_for_ever_for_a_replica_that_hangs() -> None:
    h = ReplicaHarness(Metadata(replicas=(1, 2), isr=(1,)))
    h.append(10)
    h.fetch(2, 10)
    h.answer(ErrorCode.INELIGIBLE_REPLICA)
    h.append(1, token="w")
    assert not h.replies
    h.now += LAG_MS + 1
    h.isr_check()
    assert h.replies == {"w": ErrorCode.NONE} and h.hw == 11


def test_a_replica_that_was_waited_for_and_is_fenced_holds_nothing_back_any_more() -> None:
    h = ReplicaHarness(Metadata(replicas=(1, 2), isr=(1,)))
    h.append(10)
    h.fetch(2, 10)
    h.answer(ErrorCode.INELIGIBLE_REPLICA)
    h.append(1, token="w")
    h.register(2, fenced=True)
    h.cluster_changed()
    assert h.replies == {"w": ErrorCode.NONE}


def test_records_deleted_from_the_front_are_not_uncommitted() -> None:
    h = ReplicaHarness(Metadata(leader=2), end=10)
    h.machine.on_start_offset_moved(7)
    assert h.hw == 7
    h.machine.on_start_offset_moved(3)
    assert h.hw == 7
    h.machine.on_start_offset_moved(99)
    assert h.hw == 10


# -- across leader epochs ---------------------------------------------------------------------------------------


def test_a_new_leader_epoch_is_noted_where_it_begins() -> None:
    h = ReplicaHarness(Metadata(leader=2), end=10)
    h.change(leader=1)
    assert h.started == [StartLeaderEpoch(2, 10)]
    h.append(5)
    h.change(isr=(1, 2))
    assert len(h.started) == 1, "another ISR is no other epoch"
    h.change(leads_anew=True)
    assert h.started[-1] == StartLeaderEpoch(3, 15)


def test_a_leader_elected_again_keeps_what_it_knows_of_its_followers() -> None:
    h = ReplicaHarness()
    h.append(10)
    h.fetch(2, 10)
    h.fetch(3, 10)
    h.append(5)
    h.change(leads_anew=True)
    h.fetch(2, 15)
    assert h.hw == 10, "replica 3 is known to have everything before 10"
    h.fetch(3, 15)
    assert h.hw == 15


def test_a_leader_that_may_have_missed_another_leader_knows_nothing_of_its_followers() -> None:
    """Metadata can come in one delta for several elections: in between the followers may have been truncated."""
    h = ReplicaHarness()
    h.append(10)
    h.fetch(2, 10)
    h.append(5)
    h.fetch(2, 15)
    h.apply(h.metadata._replace(leader_epoch=h.metadata.leader_epoch + 2, partition_epoch=9, isr=(1, 2)))
    assert h.hw == 0, "what replica 2 had in an epoch before the last is not known to be there still"
    h.fetch(2, 12)
    assert h.hw == 12


def test_positions_of_an_earlier_leadership_are_forgotten() -> None:
    h = ReplicaHarness(Metadata(replicas=(1, 2), isr=(1, 2)))
    h.append(10)
    h.fetch(2, 10)
    h.change(leader=2)
    h.machine.on_follower_append(20, 20, 10)
    h.change(leader=1)
    assert h.hw == 10
    h.append(1)
    h.fetch(2, 15)
    assert h.hw == 15


# -- min.insync.replicas (R7) -----------------------------------------------------------------------------------


def test_nothing_is_appended_with_acks_all_below_the_minimum() -> None:
    h = ReplicaHarness(Metadata(isr=(1,)), min_isr=2)
    with pytest.raises(KafkaError) as caught:
        h.machine.check_append(-1)
    assert caught.value.code is ErrorCode.NOT_ENOUGH_REPLICAS
    for acks in (0, 1):
        h.machine.check_append(acks)
    assert h.machine.is_under_min_isr and not h.machine.is_at_min_isr


def test_nothing_is_committed_below_the_minimum() -> None:
    h = ReplicaHarness(Metadata(isr=(1, 2)), min_isr=2)
    h.append(5)
    h.fetch(2)
    assert h.hw == 5 and h.machine.is_at_min_isr
    h.change(isr=(1,))
    h.append(5)
    assert h.hw == 5


def test_a_replica_that_is_only_proposed_does_not_count_for_the_minimum() -> None:
    h = ReplicaHarness(Metadata(isr=(1,)), min_isr=2)
    h.append(5)
    h.fetch(2, 5)
    assert h.machine.maximal_isr == {1, 2} and h.machine.isr == {1}
    assert h.hw == 0
    with pytest.raises(KafkaError):
        h.machine.check_append(-1)
    h.answer()
    assert h.hw == 5
    h.machine.check_append(-1)


def test_what_was_taken_with_enough_replicas_is_told_when_too_few_are_left() -> None:
    h = ReplicaHarness(Metadata(isr=(1, 2, 3)), min_isr=2)
    h.append(5, token="w")
    h.fetch(2, 5)
    h.fetch(3, 5)
    assert h.replies == {"w": ErrorCode.NONE}
    h.register(2, 3, fenced=True)
    h.change(isr=(1,))
    answer = h.machine.wait_until_committed(5, "again")
    assert answer is not None and answer.error is ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND


def test_an_append_that_waits_while_the_isr_falls_below_the_minimum_goes_on_waiting() -> None:
    """R7: it is not known to be safe, and may be again when a replica comes back."""
    h = ReplicaHarness(Metadata(isr=(1, 2)), min_isr=2)
    h.append(5, token="w")
    h.change(isr=(1,))
    assert not h.replies and h.hw == 0
    h.fetch(2, 5)
    h.answer()
    assert h.replies == {"w": ErrorCode.NONE}


def test_the_minimum_is_never_more_than_there_are_replicas() -> None:
    h = ReplicaHarness(Metadata(replicas=(1,), isr=(1,)), min_isr=3)
    h.append(5, token="w")
    assert h.replies == {"w": ErrorCode.NONE} and h.machine.effective_min_isr == 1


def test_a_lower_minimum_commits_what_waits_and_a_higher_one_takes_nothing_back() -> None:
    h = ReplicaHarness(Metadata(isr=(1, 2)), min_isr=3)
    h.append(5)
    h.fetch(2, 5)
    assert h.hw == 0
    assert h.machine.wait_until_committed(5, "w") is None
    h.perform(h.machine.on_min_insync_replicas(2, h.now))
    assert (h.hw, h.replies) == (5, {"w": ErrorCode.NONE})
    h.perform(h.machine.on_min_insync_replicas(3, h.now))
    assert h.hw == 5
    h.append(1)
    h.fetch(2, 6)
    assert h.hw == 5


def test_a_follower_hears_of_another_minimum_too() -> None:
    h = ReplicaHarness(Metadata(leader=2), min_isr=1)
    h.perform(h.machine.on_min_insync_replicas(2, h.now))
    h.change(leader=1, isr=(1,))
    assert h.machine.is_under_min_isr


# -- acks=all ---------------------------------------------------------------------------------------------------


def test_appends_are_answered_in_their_order_as_the_high_watermark_passes_them() -> None:
    h = ReplicaHarness(Metadata(replicas=(1, 2), isr=(1, 2)))
    for token in ("a", "b", "c"):
        h.append(2, token=token)
    h.fetch(2, 4)
    assert list(h.replies) == ["a", "b"]
    h.fetch(2, 5)
    assert list(h.replies) == ["a", "b"], "half a batch is not enough"
    h.fetch(2, 6)
    assert list(h.replies) == ["a", "b", "c"]


def test_a_repeated_append_waits_in_its_own_place() -> None:
    h = ReplicaHarness(Metadata(replicas=(1, 2), isr=(1, 2)))
    h.append(2, token="a")
    h.append(2, token="b")
    assert h.machine.wait_until_committed(2, "a again") is None
    h.fetch(2, 2)
    assert list(h.replies) == ["a", "a again"]
    answer = h.machine.wait_until_committed(2, "a once more")
    assert answer is not None and answer.error is ErrorCode.NONE


def test_who_gave_up_is_not_answered() -> None:
    h = ReplicaHarness(Metadata(replicas=(1, 2), isr=(1, 2)))
    h.append(2, token="a")
    h.append(2, token="b")
    h.machine.forget_waiting("a")
    h.fetch(2, 4)
    assert list(h.replies) == ["b"]


def test_who_waits_hears_when_another_leads() -> None:
    """R6: an ex-leader cannot ack; the producer asks the new one."""
    h = ReplicaHarness()
    h.append(5, token="w")
    h.change(leader=2)
    assert h.replies == {"w": ErrorCode.NOT_LEADER_OR_FOLLOWER}
    with pytest.raises(KafkaError):
        h.machine.wait_until_committed(5, "x")


@pytest.mark.parametrize("error", [ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.KAFKA_STORAGE_ERROR])
def test_who_waits_hears_when_the_replica_goes(error: ErrorCode) -> None:
    h = ReplicaHarness()
    h.append(5, token="w")
    h.perform(h.machine.on_stop(error))
    assert h.replies == {"w": error}
    assert not h.machine.is_leader and h.machine.leader_id == -1


def test_who_waits_goes_on_waiting_when_the_leader_is_elected_again() -> None:
    h = ReplicaHarness(Metadata(replicas=(1, 2), isr=(1, 2)))
    h.append(5, token="w")
    h.change(leads_anew=True)
    assert not h.replies
    h.fetch(2, 5)
    assert h.replies == {"w": ErrorCode.NONE}


def test_what_the_log_vouches_for_and_the_views_of_a_follower() -> None:
    h = ReplicaHarness(Metadata(leader=2), end=4, high_watermark=9)
    assert isinstance(h.machine, Partition) and h.hw == 4, "never beyond the log's end"
    assert h.machine.isr == h.machine.maximal_isr == frozenset()
    assert not (h.machine.is_under_replicated or h.machine.is_under_min_isr or h.machine.is_at_min_isr)
    assert "follower of 2" in repr(h.machine)


def test_under_replicated_leaves_out_replicas_that_are_only_being_added() -> None:
    h = ReplicaHarness(Metadata(replicas=(1, 2, 3, 4), isr=(1, 2, 3), adding_replicas=(4,)))
    assert not h.machine.is_under_replicated
    h.change(isr=(1, 2))
    assert h.machine.is_under_replicated


def test_the_low_watermark_is_that_of_the_replicas_that_live() -> None:
    h = ReplicaHarness()
    for broker_id, start in ((2, 5), (3, 2)):
        h.perform(h.machine.on_follower_fetch(broker_id, epoch_of(broker_id), 0, start, 0, h.now))
    assert h.machine.low_watermark(7) == 2
    h.register(3, fenced=True)
    assert h.machine.low_watermark(7) == 5
    assert h.machine.low_watermark(1) == 1
