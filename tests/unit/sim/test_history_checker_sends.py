"""The order of sends in the log: which swaps are errors, which are allowed."""

from __future__ import annotations

import pytest
from written_history import CLEAN, Q, Written, allowed, error

from engine.sim.history import Acks
from engine.sim.history_findings import Kind


@pytest.fixture
def h() -> Written:
    return Written()


# -- nonmonotonic-send --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("idempotent", [False, True])
def test_a_send_that_waited_for_the_one_before_it_must_come_after_it(h: Written, idempotent: bool) -> None:
    h.sent("a", 1, idempotent=idempotent)
    h.sent("b", 0, idempotent=idempotent)
    assert h.judged() == error(Kind.NONMONOTONIC_SEND)
    assert h.anomaly(Kind.NONMONOTONIC_SEND).lines[0] == "'b' was sent after 'a' and stands before it: offsets 0 and 1"


def test_it_is_found_where_only_readers_know_the_offset(h: Written) -> None:
    h.sent("a", 1)
    h.sending("b").info("timed out")
    h.polled({0: "b", 1: "a"})
    assert h.judged() == error(Kind.NONMONOTONIC_SEND)


def test_and_where_another_send_is_in_between(h: Written) -> None:
    h.sent("a", 1)
    h.sending("x").info("timed out")
    h.sent("b", 0)
    assert h.judged() == error(Kind.NONMONOTONIC_SEND)


def test_gaps_between_sends_are_no_swap(h: Written) -> None:
    h.sent("a", 1)
    h.sent("b", 7)
    assert h.judged() == CLEAN


def test_offsets_of_another_partition_are_other_offsets(h: Written) -> None:
    h.sent("a", 1)
    h.sent("b", 0, partition=Q)
    assert h.judged() == CLEAN


@pytest.mark.parametrize("acks", [1, 0])
def test_with_weaker_acks_the_first_may_have_been_lost(h: Written, acks: Acks) -> None:
    h.sent("a", 1, acks=acks)
    h.sent("b", 0)
    assert h.judged() == allowed(Kind.NONMONOTONIC_SEND)


def test_in_flight_together_they_may_be_swapped(h: Written) -> None:
    first, second = h.sending("a"), h.sending("b")
    second.ok(0)
    first.ok(1)
    assert h.judged() == allowed(Kind.NONMONOTONIC_SEND)


@pytest.mark.parametrize("acks", ["all", 1])
def test_but_not_with_idempotence(h: Written, acks: Acks) -> None:
    first, second = (h.sending(value, idempotent=True, acks=acks) for value in "ab")
    second.ok(0)
    first.ok(1)
    h.polled({0: "b", 1: "a"})
    assert h.judged() == error(Kind.NONMONOTONIC_SEND)


def test_a_send_of_unknown_outcome_may_come_late(h: Written) -> None:
    h.sending("a").info("timed out")
    h.sent("b", 0)
    h.polled({0: "b", 1: "a"})
    assert h.judged() == allowed(Kind.NONMONOTONIC_SEND)


def test_but_not_with_idempotence_in_the_same_session(h: Written) -> None:
    h.sending("a", idempotent=True).info("timed out")
    h.sent("b", 0, idempotent=True)
    h.polled({0: "b", 1: "a"})
    assert h.judged() == error(Kind.NONMONOTONIC_SEND)


def test_a_new_session_knows_nothing_of_the_old_one(h: Written) -> None:
    h.sending("a", idempotent=True).info("timed out")
    h["p"].crash()
    h["p"].start()
    h.sent("b", 0, idempotent=True)
    h.polled({0: "b", 1: "a"})
    assert h.judged() == allowed(Kind.NONMONOTONIC_SEND)


def test_a_send_without_idempotence_may_come_late_whatever_follows(h: Written) -> None:
    h.sending("a").info("timed out")
    h.sent("b", 0, idempotent=True)
    h.polled({0: "b", 1: "a"})
    assert h.judged() == allowed(Kind.NONMONOTONIC_SEND)


def test_a_new_session_comes_after_what_was_acknowledged_in_the_old_one(h: Written) -> None:
    h.sent("a", 1, idempotent=True)
    h["p"].crash()
    h.sent("b", 0, idempotent=True)
    assert h.judged() == error(Kind.NONMONOTONIC_SEND)


def test_a_copy_before_the_other_is_enough(h: Written) -> None:
    h.sent("a", 2)
    h.sent("b", 3)
    h.polled({0: "a", 1: "b", 2: "a", 3: "b"})
    assert h.judged() == allowed(Kind.DUPLICATE, 2)


def test_an_offset_that_the_log_denies_is_not_taken_for_a_place(h: Written) -> None:
    h.sent("a", 5)
    h.sent("b", 1)
    h.polled({0: "a", 1: "b"})
    assert h.judged() == allowed(Kind.DUPLICATE)


# -- acked-reorder ------------------------------------------------------------------------------------------------


def test_a_record_comes_after_what_others_had_been_acknowledged(h: Written) -> None:
    h.sent("a", 1, "p")
    h.sent("b", 0, "q")
    assert h.judged() == error(Kind.ACKED_REORDER)
    assert [each.process for each in h.anomaly(Kind.ACKED_REORDER).operations] == ["p", "q"]


def test_records_that_were_sent_at_the_same_time_have_any_order(h: Written) -> None:
    first, second = h.sending("a", "p"), h.sending("b", "q")
    first.ok(1)
    second.ok(0)
    assert h.judged() == CLEAN


@pytest.mark.parametrize("others_first", [True, False])
def test_it_is_found_behind_a_higher_offset_of_the_same_process(h: Written, others_first: bool) -> None:
    others = h.sending("y", "o"), h.sending("a", "p")
    own = h.sending("z", "q")
    if others_first:
        others[0].ok(1)
        others[1].ok(2)
        own.ok(3)
    else:
        own.ok(3)
        others[0].ok(1)
        others[1].ok(2)
    h.sent("b", 0, "q")
    assert h.judged() == ({Kind.NONMONOTONIC_SEND: 1, Kind.ACKED_REORDER: 1}, {})
    assert [each.process for each in h.anomaly(Kind.ACKED_REORDER).operations] == ["p", "q"]


@pytest.mark.parametrize("acks", [1, 0])
def test_weaker_acks_allow_it(h: Written, acks: Acks) -> None:
    h.sent("a", 1, "p", acks=acks)
    h.sent("b", 0, "q")
    assert h.judged() == allowed(Kind.ACKED_REORDER)


def test_a_record_without_acknowledgement_has_no_place_yet(h: Written) -> None:
    h.sending("a", "p").info("timed out")
    h.sent("b", 0, "q")
    h.polled({0: "b", 1: "a"})
    assert h.judged() == CLEAN


# -- within a transaction -----------------------------------------------------------------------------------------


def test_a_transaction_s_sends_keep_their_order(h: Written) -> None:
    first, second = h.sending("a", txn=1), h.sending("b", txn=1)
    first.ok(1)
    second.ok(0)
    h.committed(1)
    assert h.judged() == error(Kind.INT_NONMONOTONIC_SEND)


def test_sends_of_two_transactions_are_no_internal_matter(h: Written) -> None:
    h.sent("a", 1, txn=1)
    h.committed(1)
    h.sent("b", 0, txn=2)
    h.committed(2)
    assert h.judged() == error(Kind.NONMONOTONIC_SEND)


def test_other_records_may_stand_between_a_transaction_s(h: Written) -> None:
    h.sent("a", 0, txn=1)
    h.sent("x", 1, "q")
    h.sent("b", 2, txn=1)
    h.committed(1)
    h.polled({0: "a", 1: "x", 2: "b"})
    assert h.judged() == allowed(Kind.INT_SEND_SKIP)


def test_nothing_stands_between_a_transaction_s_records(h: Written) -> None:
    h.sent("a", 0, txn=1)
    h.sent("b", 2, txn=1)
    h.committed(1)
    h.polled({0: "a", 2: "b"})
    assert h.judged() == CLEAN
