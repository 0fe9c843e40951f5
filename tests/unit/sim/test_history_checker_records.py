"""Records lost, unseen, doubled, moved and made up: histories that must be flagged, and those close to them."""

from __future__ import annotations

import pytest
from written_history import CLEAN, COMMITTED, P, Q, Written, allowed, error

from engine.sim.history import Acks
from engine.sim.history_findings import Kind


@pytest.fixture
def h() -> Written:
    return Written()


def test_a_history_without_faults_is_clean(h: Written) -> None:
    h.log("a", "b", "c")
    h.polled({0: "a"})
    h.polled({1: "b", 2: "c"})
    h.final({0: "a", 1: "b", 2: "c"}, end=3)
    assert h.judged() == CLEAN
    assert h.verdict().is_valid


# -- lost-write ---------------------------------------------------------------------------------------------------


def test_an_acknowledged_record_that_a_consumer_passed_is_lost(h: Written) -> None:
    h.log("a", "b", "c")
    h.polled({0: "a"})
    h.polled({2: "c"})
    assert h.judged() == error(Kind.LOST_WRITE)
    lost = h.anomaly(Kind.LOST_WRITE)
    assert lost.partition == P
    assert [type(operation).__name__ for operation in lost.operations] == ["Send", "Poll", "Poll"]
    assert lost.lines == (
        "'b' was acknowledged with offset 1, later records were read, and nobody ever received it",
        "'b' was sent by p (acks=all) at 0.002000 s, acknowledged at 0.003000 s with offset 1",
        "c received 'a' at offset 0 at 0.007000 s, and next 'c' at offset 2 at 0.009000 s",
    )


def test_a_record_that_another_consumer_received_is_not_lost(h: Written) -> None:
    h.log("a", "b", "c")
    h.polled({0: "a", 1: "b", 2: "c"}, "other")
    h.polled({0: "a"})
    h["c"].seek({P: 2})
    h.polled({2: "c"})
    assert h.judged() == CLEAN


def test_a_record_between_two_polls_with_a_seek_between_them_may_still_be_there(h: Written) -> None:
    h.log("a", "b", "c")
    h.polled({0: "a"})
    h["c"].seek({P: "end"})
    h.polled({2: "c"})
    assert h.judged() == CLEAN


@pytest.mark.parametrize("position", ["beginning", 0, 1])
def test_a_record_after_the_position_of_a_first_poll_is_lost(h: Written, position: int | str) -> None:
    h.log("a", "b", "c")
    h["c"].assign({P: position})
    h.polled({2: "c"})
    assert h.judged()[0][Kind.LOST_WRITE] == (2 if position != 1 else 1)


def test_a_consumer_of_unknown_position_proves_nothing_of_what_is_before_it(h: Written) -> None:
    h.log("a", "b", "c")
    h["c"].assign({P: None})
    h.polled({2: "c"})
    assert h.judged() == CLEAN


@pytest.mark.parametrize("acks", [1, 0])
def test_weaker_acks_allow_losses(h: Written, acks: Acks) -> None:
    h.sent("a", 0)
    h.sent("b", 1, acks=acks)
    h.sent("c", 2)
    h.polled({0: "a", 2: "c"})
    assert h.judged() == allowed(Kind.LOST_WRITE)


def test_a_send_of_unknown_outcome_need_not_be_there(h: Written) -> None:
    h.sent("a", 0)
    h.sending("b").info("timed out")
    h.sending("c")
    h.sent("d", 3)
    h.final({0: "a", 3: "d"}, end=4)
    assert h.judged() == CLEAN


def test_a_lost_record_whose_offset_was_given_away_is_lost_and_its_offset_inconsistent(h: Written) -> None:
    h.log("a", "b")
    h.sending("x").info("connection lost")
    h.final({0: "a", 1: "x"}, end=2)
    assert h.judged() == ({Kind.LOST_WRITE: 1, Kind.INCONSISTENT_OFFSETS: 1}, {})


def test_that_was_read_and_a_final_read_does_not_find_is_lost(h: Written) -> None:
    h.log("a", "b", "c")
    h.polled({0: "a", 1: "b", 2: "c"})
    h.final({0: "a", 2: "c"}, end=3)
    assert h.judged() == error(Kind.LOST_WRITE)
    assert h.anomaly(Kind.LOST_WRITE).lines[0] == "'b' was read at offset 1, and a final read did not find it"


@pytest.mark.parametrize("acks", [1, 0])
def test_what_was_read_must_stay_however_it_was_acknowledged(h: Written, acks: Acks) -> None:
    h.sent("a", 0)
    h.sent("b", 1 if acks else None, acks=acks)
    h.polled({0: "a", 1: "b"})
    h.final({0: "a"}, end=1)
    assert h.judged() == error(Kind.LOST_WRITE)


def test_what_one_of_two_final_reads_finds_is_skipped_by_the_other_and_not_lost(h: Written) -> None:
    h.log("a", "b", "c")
    h.final({0: "a", 1: "b", 2: "c"}, end=3)
    h.final({0: "a", 2: "c"}, end=3, process="final-2")
    assert h.judged() == error(Kind.INT_POLL_SKIP)


def test_a_final_read_from_the_middle_says_nothing_of_what_is_before(h: Written) -> None:
    h.log("a", "b", "c")
    h.polled({0: "a", 1: "b"})
    h["f"].assign({P: 2})
    h.polled({2: "c"}, "f", end=3)
    assert h.judged() == CLEAN


# -- unseen -------------------------------------------------------------------------------------------------------


def test_an_acknowledged_record_at_the_end_that_a_final_read_does_not_find_is_unseen(h: Written) -> None:
    h.log("a", "b", "c")
    h.final({0: "a", 1: "b"}, end=2)
    assert h.judged() == error(Kind.UNSEEN)
    assert h.anomaly(Kind.UNSEEN).lines[-1] == (
        "final came to the end of the log, offset 2, at 0.008000 s; the last that it received was 'b' at offset 1"
    )


def test_a_final_read_that_began_anywhere_knows_where_the_end_is(h: Written) -> None:
    h.log("a", "b", "c")
    h["f"].assign({P: None})
    h.polled({}, "f", end=2)
    assert h.judged() == error(Kind.UNSEEN)
    assert h.anomaly(Kind.UNSEEN).lines[1].startswith("'c' was sent by p")


def test_without_a_final_read_nobody_knows_of_the_end(h: Written) -> None:
    h.log("a", "b", "c")
    h.polled({0: "a", 1: "b"})
    assert h.judged() == CLEAN
    assert "1 partitions have no final read: unseen was not checked there" in h.verdict().report()


def test_a_record_that_was_acknowledged_after_the_final_read_began_may_be_missing(h: Written) -> None:
    h.log("a")
    late = h.sending("b")
    h["f"].assign({P: "beginning"})
    reading = h.polling("f")
    late.ok(1)
    reading.ok([(P, 0, "a")], reached_end={P: 1})
    assert h.judged() == CLEAN


def test_nothing_at_all_in_a_partition_is_unseen(h: Written) -> None:
    h.sent("a", 0)
    h.sent("b", None)
    h.final({}, end=0)
    assert h.judged() == error(Kind.UNSEEN, 2)


def test_a_record_whose_offset_nobody_was_told_is_unseen_if_the_whole_log_was_read(h: Written) -> None:
    h.sent("a", 0)
    h.sent("b", None)
    h["f"].assign({P: 1})
    h.polled({}, "f", end=1)
    assert h.judged() == CLEAN
    h.final({0: "a"}, end=1)
    assert h.judged() == error(Kind.UNSEEN)


@pytest.mark.parametrize("acks", [1, 0])
def test_weaker_acks_allow_unseen_records(h: Written, acks: Acks) -> None:
    h.sent("a", 0, acks=acks)
    h.final({}, end=0)
    assert h.judged() == allowed(Kind.UNSEEN)


def test_a_final_read_of_one_partition_says_nothing_of_another(h: Written) -> None:
    h.log("a")
    h.log("b", partition=Q)
    h.final({0: "a"}, end=1)
    assert h.judged() == CLEAN
    h.final({}, end=0, partition=Q, process="f")
    assert h.judged() == error(Kind.UNSEEN)


# -- unexpected-read, aborted-read --------------------------------------------------------------------------------


def test_a_value_that_nobody_sent_is_unexpected(h: Written) -> None:
    h.log("a")
    h.polled({0: "a", 1: "z"})
    assert h.judged() == error(Kind.UNEXPECTED_READ)


def test_a_value_in_another_partition_is_unexpected(h: Written) -> None:
    h.log("a")
    h.polled({0: "a"}, partition=Q)
    assert h.judged() == error(Kind.UNEXPECTED_READ)


def test_a_value_whose_send_failed_must_not_be_read(h: Written) -> None:
    h.sending("a").fail("MESSAGE_TOO_LARGE")
    h.polled({0: "a"})
    assert h.judged() == error(Kind.ABORTED_READ)
    assert "refused (MESSAGE_TOO_LARGE)" in h.anomaly(Kind.ABORTED_READ).lines[1]


@pytest.mark.parametrize("is_told", [True, False])
def test_a_value_of_unknown_outcome_may_be_read(h: Written, is_told: bool) -> None:
    sending = h.sending("a")
    if is_told:
        sending.info("timed out")
    h.polled({0: "a"})
    assert h.judged() == CLEAN


# -- duplicate ----------------------------------------------------------------------------------------------------


def test_one_idempotent_send_at_two_offsets_is_a_duplicate(h: Written) -> None:
    h.sent("a", 0, idempotent=True)
    h.polled({0: "a", 1: "a"})
    assert h.judged() == error(Kind.DUPLICATE)


def test_it_is_one_whatever_the_outcome(h: Written) -> None:
    h.sending("a", idempotent=True).info("timed out")
    h.polled({0: "a"})
    h.polled({1: "a"})
    assert h.judged() == error(Kind.DUPLICATE)


def test_without_idempotence_a_send_may_be_repeated(h: Written) -> None:
    h.sending("a").info("timed out")
    h.sent("b", 2)
    h.polled({0: "a", 1: "a", 2: "b"})
    assert h.judged() == allowed(Kind.DUPLICATE)


def test_unless_its_producer_made_one_attempt(h: Written) -> None:
    h.sent("a", 0, attempts=1)
    h.polled({0: "a", 1: "a"})
    assert h.judged() == error(Kind.DUPLICATE)


def test_a_record_that_two_consumers_read_is_none(h: Written) -> None:
    h.sent("a", 0, idempotent=True)
    h.polled({0: "a"}, "c")
    h.polled({0: "a"}, "d")
    assert h.judged() == CLEAN


def test_a_copy_that_was_acknowledged_and_not_read_yet_is_allowed_without_idempotence(h: Written) -> None:
    h.sent("a", 1)
    h.polled({0: "a"})
    assert h.judged() == allowed(Kind.DUPLICATE)


# -- inconsistent-offsets -----------------------------------------------------------------------------------------


def test_two_readers_of_two_values_at_one_offset(h: Written) -> None:
    h.sending("a").info("timed out")
    h.sending("b").info("timed out")
    h.polled({0: "a"}, "c")
    h.polled({0: "b"}, "d")
    h.polled({0: "b"}, "e")
    assert h.judged() == error(Kind.INCONSISTENT_OFFSETS)


@pytest.mark.parametrize("acks", ["all", 1])
def test_an_offset_that_was_acknowledged_and_holds_something_else(h: Written, acks: Acks) -> None:
    h.sending("x", "q").info("timed out")
    h.sent("a", 1, acks=acks, idempotent=True)
    h.sent("b", 2)
    h.polled({0: "a", 1: "x", 2: "b"})
    assert h.judged() == (error if acks == "all" else allowed)(Kind.INCONSISTENT_OFFSETS)


def test_an_idempotent_record_elsewhere_than_acknowledged(h: Written) -> None:
    h.sent("a", 5, idempotent=True)
    h.polled({0: "a"})
    assert h.judged() == error(Kind.INCONSISTENT_OFFSETS)


def test_a_repeated_record_that_is_not_where_it_was_acknowledged(h: Written) -> None:
    h.sent("a", 1)
    h.sent("b", 2)
    h.polled({0: "a", 2: "b"})
    assert h.judged() == error(Kind.INCONSISTENT_OFFSETS)


@pytest.mark.parametrize("process", ["p", "q"])
@pytest.mark.parametrize("acks", ["all", 1])
def test_one_offset_acknowledged_for_two_records(h: Written, acks: Acks, process: str) -> None:
    h.sent("a", 0, acks=acks)
    h.sent("b", 0, process)
    assert h.judged() == (error if acks == "all" else allowed)(Kind.INCONSISTENT_OFFSETS)


def test_a_gap_in_the_offsets_is_no_inconsistency(h: Written) -> None:
    h.sent("a", 0)
    h.sent("b", 7)
    h.polled({0: "a", 7: "b"})
    assert h.judged() == CLEAN


def test_a_repeated_record_that_was_read_where_it_was_acknowledged_is_only_doubled(h: Written) -> None:
    h.sent("a", 1)
    h.sent("b", 2)
    h.polled({0: "a", 1: "a", 2: "b"})
    assert h.judged() == allowed(Kind.DUPLICATE)


# -- unclean elections --------------------------------------------------------------------------------------------


def test_topics_with_unclean_elections_may_lose_records(h: Written) -> None:
    h.log("a", "b", "c")
    h.polled({0: "a", 1: "b", 2: "c"})
    h.final({0: "a"}, end=1)
    assert h.judged("orders") == allowed(Kind.LOST_WRITE, 2)
    assert h.judged("payments") == error(Kind.LOST_WRITE, 2)


def test_they_may_not_make_up_values(h: Written) -> None:
    h.polled({0: "z"}, isolation=COMMITTED)
    assert h.judged("orders") == error(Kind.UNEXPECTED_READ)
