"""Epochs: which requests a replica takes, from whom, and what it ignores (KIP-320, KIP-903)."""

from __future__ import annotations

import pytest
from replica_harness import Metadata, ReplicaHarness, epoch_of

from engine.core.replica.outputs import StartLeaderEpoch
from engine.model.errors import ErrorCode, KafkaError
from engine.model.notes import NoteKind


def error_of(call: object, *arguments: object, **more: object) -> ErrorCode:
    with pytest.raises(KafkaError) as caught:
        call(*arguments, **more)  # type: ignore[operator]
    return caught.value.code


# -- leader epochs ----------------------------------------------------------------------------------------------


def test_a_sender_that_is_behind_is_fenced_and_one_that_is_ahead_must_wait() -> None:
    """R6."""
    for leads in (True, False):
        machine = ReplicaHarness(Metadata(leader=1 if leads else 2, leader_epoch=5)).machine
        assert error_of(machine.check_epoch, 4, leader_only=leads) is ErrorCode.FENCED_LEADER_EPOCH
        assert error_of(machine.check_epoch, 6, leader_only=leads) is ErrorCode.UNKNOWN_LEADER_EPOCH
        machine.check_epoch(5, leader_only=leads)
        machine.check_epoch(-1, leader_only=leads)


def test_what_is_for_leaders_only_is_refused_by_followers_and_replicas_without_leader() -> None:
    for leader in (2, -1):
        machine = ReplicaHarness(Metadata(leader=leader, leader_epoch=5)).machine
        for epoch in (5, -1):
            assert error_of(machine.check_epoch, epoch, leader_only=True) is ErrorCode.NOT_LEADER_OR_FOLLOWER
        for acks in (-1, 0, 1):
            assert error_of(machine.check_append, acks) is ErrorCode.NOT_LEADER_OR_FOLLOWER
        assert error_of(machine.low_watermark, 0) is ErrorCode.NOT_LEADER_OR_FOLLOWER
        assert machine.leader_id == leader


def test_a_sender_with_another_epoch_hears_of_that_before_it_hears_who_leads() -> None:
    machine = ReplicaHarness(Metadata(leader=2, leader_epoch=5)).machine
    assert error_of(machine.check_epoch, 4, leader_only=True) is ErrorCode.FENCED_LEADER_EPOCH


def test_metadata_that_is_older_than_what_is_known_changes_nothing() -> None:
    h = ReplicaHarness(Metadata(leader_epoch=5, partition_epoch=7))
    h.apply(Metadata(leader=2, leader_epoch=4, partition_epoch=6))
    assert h.machine.is_leader and h.machine.leader_epoch == 5
    follower = ReplicaHarness(Metadata(leader=2, leader_epoch=5, partition_epoch=7))
    follower.apply(Metadata(leader=1, leader_epoch=4, partition_epoch=6))
    assert not follower.machine.is_leader and not follower.started


def test_a_leader_that_loses_its_leadership_and_gets_it_back_begins_another_epoch() -> None:
    h = ReplicaHarness(Metadata(leader_epoch=5))
    h.append(3)
    h.change(leader=-1)
    assert h.machine.leader_id == -1
    h.change(leader=1)
    assert h.started == [StartLeaderEpoch(5, 0), StartLeaderEpoch(7, 3)]


# -- followers --------------------------------------------------------------------------------------------------


def test_a_fetch_of_a_broker_that_is_no_replica_is_refused() -> None:
    h = ReplicaHarness()
    assert error_of(h.machine.check_follower, 4, 1) is ErrorCode.UNKNOWN_LEADER_EPOCH, "it may become one"
    assert error_of(h.machine.check_follower, 4, -1) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    h.machine.check_follower(2, 1)
    assert error_of(h.machine.on_follower_fetch, 4, epoch_of(4), 0, 0, 0, h.now) is ErrorCode.UNKNOWN_LEADER_EPOCH


def test_a_fetch_to_a_replica_that_does_not_lead_is_refused() -> None:
    h = ReplicaHarness(Metadata(leader=2))
    assert error_of(h.machine.on_follower_fetch, 3, epoch_of(3), 0, 0, 0, h.now) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert error_of(h.machine.check_follower, 3, 1) is ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_a_fetch_of_an_incarnation_that_is_over_is_refused_and_moves_nothing() -> None:
    """KIP-903: it may come late, and say of offsets what is not true of the new process."""
    h = ReplicaHarness(Metadata(replicas=(1, 2), isr=(1, 2)))
    h.append(10)
    h.register(2, broker_epoch=500)
    late = epoch_of(2)
    assert error_of(h.machine.on_follower_fetch, 2, late, 10, 0, 10, h.now) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert h.hw == 0
    h.fetch(2, 3, epoch=500)
    assert h.hw == 3


def test_a_fetch_of_an_incarnation_that_the_metadata_does_not_know_yet_is_taken() -> None:
    h = ReplicaHarness(Metadata(replicas=(1, 2), isr=(1, 2)))
    h.append(10)
    h.fetch(2, 10, epoch=500)
    assert h.hw == 10


def test_a_broker_that_is_not_registered_is_not_stale() -> None:
    h = ReplicaHarness(Metadata(replicas=(1, 2), isr=(1, 2)))
    h.view.brokers = {}
    h.append(10)
    h.fetch(2, 10)
    assert h.hw == 10


# -- following --------------------------------------------------------------------------------------------------


def test_a_follower_takes_the_leaders_high_watermark_as_far_as_its_log_goes() -> None:
    h = ReplicaHarness(Metadata(leader=2))
    h.machine.on_follower_append(10, 10, 25)
    assert (h.hw, h.machine.log_end_offset) == (10, 10)
    h.machine.on_follower_append(30, 12, 25)
    assert (h.hw, h.machine.durable_end_offset) == (25, 12)


def test_a_new_leader_that_knows_less_does_not_take_a_followers_high_watermark_back() -> None:
    """R5: a consumer of this follower has seen it."""
    h = ReplicaHarness(Metadata(leader=2))
    h.machine.on_follower_append(10, 10, 8)
    h.change(leader=3)
    h.machine.on_follower_append(12, 12, 5)
    assert h.hw == 8
    h.machine.on_follower_append(12, 12, 11)
    assert h.hw == 11


def test_a_truncated_follower_has_no_high_watermark_beyond_its_end() -> None:
    h = ReplicaHarness(Metadata(leader=2), end=10, high_watermark=6)
    h.truncated(8)
    assert (h.machine.log_end_offset, h.machine.durable_end_offset, h.hw) == (8, 8, 6)
    [note] = h.notes
    assert note.kind is NoteKind.LOG_TRUNCATED and note.reason == "diverged"
    assert (note.detail["from"], note.detail["to"], note.detail["records"]) == (10, 8, 2)
    assert note.detail["below_high_watermark"] is False
    h.truncated(4)
    assert h.hw == 4 and h.notes[-1].detail["below_high_watermark"] is True
    h.truncated(4)
    assert len(h.notes) == 2, "nothing was cut"


def test_a_follower_that_starts_anew_further_on_has_everything_before_committed() -> None:
    h = ReplicaHarness(Metadata(leader=2), end=10, high_watermark=6)
    h.truncated(50)
    h.machine.on_start_offset_moved(50)
    assert (h.machine.log_end_offset, h.hw) == (50, 50)


def test_the_wrong_role_is_a_mistake_of_the_shell() -> None:
    leader, follower = ReplicaHarness().machine, ReplicaHarness(Metadata(leader=2)).machine
    with pytest.raises(AssertionError):
        leader.on_follower_append(5, 5, 0)
    with pytest.raises(AssertionError):
        leader.on_truncated(0, "never")
    with pytest.raises(AssertionError):
        follower.on_append(5, 5, 0.0)
    leader.on_append(5, 5, 0.0)
    with pytest.raises(AssertionError):
        leader.on_append(4, 4, 0.0)
    with pytest.raises(AssertionError):
        leader.on_flushed(6, 0.0)
