"""Where logs part, told by leader epochs: the scenarios of KIP-101, KIP-279 and KIP-320, and random histories."""

from __future__ import annotations

import random

import pytest
from replica_log import Record, ReplicaLog, follow, log_of

from engine.core.replica.truncation import EpochEnd, Truncation, diverging_epoch, truncation_for
from engine.model.errors import ErrorCode, KafkaError

# -- the leader's side ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epoch", "offset", "expected"),
    [
        (4, 6, None),
        (2, 4, None),
        (2, 3, None),
        (0, 1, None),
        (-1, 99, None),
        (2, 5, EpochEnd(2, 4)),
        (3, 5, EpochEnd(2, 4)),
        (3, 3, EpochEnd(2, 4)),
        (1, 2, EpochEnd(0, 2)),
        (0, 3, EpochEnd(0, 2)),
        (4, 7, EpochEnd(4, 6)),
    ],
)
def test_a_leader_says_where_the_last_common_epoch_ends(epoch: int, offset: int, expected: EpochEnd | None) -> None:
    assert diverging_epoch(log_of(0, 0, 2, 2, 4, 4), epoch, offset, 0) == expected


def test_an_epoch_that_the_leader_cannot_know_is_out_of_range() -> None:
    for epoch in (5, 99):
        with pytest.raises(KafkaError) as caught:
            diverging_epoch(log_of(0, 0, 4), epoch, 3, 0)
        assert caught.value.code is ErrorCode.OFFSET_OUT_OF_RANGE
    with pytest.raises(KafkaError):
        diverging_epoch(ReplicaLog(), 0, 0, 0)


def test_an_offset_before_the_log_is_out_of_range_and_not_divergence() -> None:
    with pytest.raises(KafkaError) as caught:
        diverging_epoch(log_of(0, 0, 4), 1, 1, 2)
    assert caught.value.code is ErrorCode.OFFSET_OUT_OF_RANGE


def test_a_leader_without_records_of_its_own_epoch_tells_where_it_would_begin() -> None:
    """KIP-279: without this entry a follower with a later epoch than any record here could not be told anything."""
    leader = log_of(0, 0)
    leader.start_epoch(5, 2)
    assert diverging_epoch(leader, 3, 4, 0) == EpochEnd(0, 2)


# -- the follower's side ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("leader", "expected"),
    [
        (EpochEnd(2, 4), Truncation(4, True)),
        (EpochEnd(2, 9), Truncation(5, True)),
        (EpochEnd(0, 1), Truncation(1, True)),
        (EpochEnd(3, 6), Truncation(5, False)),
        (EpochEnd(1, 9), Truncation(2, False)),
        (EpochEnd(9, 6), Truncation(6, True)),
        (EpochEnd(-1, 3), Truncation(3, True)),
        (EpochEnd(-1, -1), Truncation(1, True)),
    ],
)
def test_a_follower_cuts_at_the_end_of_the_last_common_epoch(leader: EpochEnd, expected: Truncation) -> None:
    log = log_of(0, 0, 2, 2, 2, 4, 4)
    assert truncation_for(log, log.end, 1, leader) == expected


def test_a_follower_without_history_cuts_where_the_leader_says() -> None:
    assert truncation_for(ReplicaLog(), 10, 0, EpochEnd(3, 7)) == Truncation(7, True)


# -- KIP-101 ----------------------------------------------------------------------------------------------------


def test_kip_101_scenario_1_a_restarted_follower_keeps_what_it_has_not_heard_to_be_committed() -> None:
    """A has m1 and m2 and a high watermark that covers only m1, the leader B has both. Were A cut to its high watermark
    and B to fail then, m2 would be lost although it was committed."""
    a, b = log_of(0, 0), log_of(0, 0)
    assert follow(a, b, high_watermark=1) == []
    assert a.records == b.records


def test_kip_101_scenario_2_replicas_that_lost_power_and_wrote_different_records_agree_again() -> None:
    """A had m1 and m2, B only m1. B comes back first and leads: m3 stands where A has m2. By offsets alone nobody would
    notice."""
    a, b = log_of(0, 0), log_of(0)
    b.append(Record(1, 77))
    assert a.end == b.end
    assert follow(a, b, high_watermark=2) == [1]
    assert a.records == b.records


# -- KIP-279 ----------------------------------------------------------------------------------------------------


def test_kip_279_a_follower_with_an_epoch_that_the_leader_never_saw_does_not_keep_a_part_of_it() -> None:
    """Leaders changed fast: A led epoch 1 and B epoch 2, both after a common epoch 0 of which A has less than B. Were A
    cut at the offset that B tells, a record of epoch 1 would survive among those of epoch 0."""
    a = log_of(0, 0, 1, 1, 1)
    b = log_of(0, 0, 0, 2, 2)
    assert diverging_epoch(b, a.last_epoch, a.end, 0) == EpochEnd(0, 3)
    assert follow(a, b) == [2]
    assert a.records == b.records


def test_kip_279_a_follower_asks_again_until_it_finds_an_epoch_that_both_have() -> None:
    a = log_of(0, 0, 1, 1, 3, 3)
    b = log_of(0, 0, 0, 2, 2, 4)
    assert follow(a, b) == [4, 2]
    assert a.records == b.records


def test_kip_279_logs_without_anything_in_common_start_from_nothing() -> None:
    a, b = log_of(1, 1, 3), log_of(2, 2, 4)
    follow(a, b)
    assert a.records == b.records


# -- KIP-320 ----------------------------------------------------------------------------------------------------


def test_kip_320_a_reader_that_read_what_was_truncated_since_is_told_where_it_diverges() -> None:
    """An unclean election lost offsets 3 and 4, which the reader has; the new leader wrote others there."""
    old, new = log_of(0, 0, 0, 0, 0), log_of(0, 0, 0)
    new.start_epoch(1, 3)
    for value in (7, 8, 9):
        new.append(Record(1, value))
    assert old.records[4] != new.records[4]
    assert diverging_epoch(new, 0, 5, 0) == EpochEnd(0, 3)
    assert diverging_epoch(new, 0, 3, 0) is None


# -- random histories -------------------------------------------------------------------------------------------


def random_logs(rng: random.Random) -> tuple[list[ReplicaLog], int]:
    """Three logs after a history of elections, unclean ones too, and who leads the last epoch."""
    logs = [ReplicaLog() for _ in range(3)]
    value, leader = 0, 0
    for epoch in range(rng.randint(1, 8)):
        leader = rng.randrange(3)
        logs[leader].start_epoch(epoch, logs[leader].end)
        for _ in range(rng.choice((0, 1, 1, 2, 4))):
            value += 1
            logs[leader].append(Record(epoch, value))
        for each in range(3):
            if each != leader and rng.random() < 0.4:
                shared = logs[each].common_prefix(logs[leader])
                logs[each].truncate(shared)
                for record in logs[leader].records[shared : rng.randint(shared, logs[leader].end)]:
                    logs[each].append(record)
    return logs, leader


def test_after_any_history_every_follower_gets_the_leaders_log_and_loses_nothing_that_both_have() -> None:
    truncations = 0
    for seed in range(2_000):
        logs, leader = random_logs(random.Random(seed))
        for number, log in enumerate(logs):
            if number == leader:
                continue
            shared = log.common_prefix(logs[leader])
            before = list(log.records)
            cuts = follow(log, logs[leader])
            assert log.records == logs[leader].records, f"seed {seed}"
            assert all(cut >= shared for cut in cuts), f"seed {seed}: {before} cut at {cuts}, {shared} are shared"
            truncations += bool(cuts)
    assert truncations > 500, "the histories do not diverge"
