"""Transactions: what read_committed must not show and must not leave out, atomicity, circles."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written_history import CLEAN, COMMITTED, P, Q, Written, allowed, error

from engine.sim.history import Isolation
from engine.sim.history_findings import Kind

BOTH = pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])


@pytest.fixture
def h() -> Written:
    return Written()


def expected(kind: Kind, isolation: Isolation) -> object:
    return (error if isolation == COMMITTED else allowed)(kind)


# -- aborted-read -------------------------------------------------------------------------------------------------


@BOTH
def test_a_record_of_an_aborted_transaction(h: Written, isolation: Isolation) -> None:
    h.sent("a", 0, txn=1)
    h.aborted(1)
    h.polled({0: "a"}, isolation=isolation)
    assert h.judged() == expected(Kind.ABORTED_READ, isolation)


@BOTH
def test_a_record_of_a_transaction_whose_commit_was_refused(h: Written, isolation: Isolation) -> None:
    h.sent("a", 0, txn=1)
    h["p"].end_txn(1, commit=True).fail("INVALID_PRODUCER_EPOCH")
    h.polled({0: "a"}, isolation=isolation)
    assert h.judged() == expected(Kind.ABORTED_READ, isolation)


@BOTH
def test_a_record_of_a_transaction_that_was_never_ended(h: Written, isolation: Isolation) -> None:
    h.sent("a", 0, txn=1)
    h["p"].crash()
    h.polled({0: "a"}, isolation=isolation)
    assert h.judged() == expected(Kind.ABORTED_READ, isolation)


def test_a_record_of_an_aborted_transaction_is_found_behind_a_reader_that_may_see_it(h: Written) -> None:
    h.sent("a", 0, txn=1)
    h.aborted(1)
    h.polled({0: "a"})
    h.polled({0: "a"}, "d", isolation=COMMITTED)
    assert h.judged() == error(Kind.ABORTED_READ)


@BOTH
def test_a_record_of_a_committed_transaction(h: Written, isolation: Isolation) -> None:
    h.sent("a", 0, txn=1)
    h.committed(1)
    h.polled({0: "a"}, isolation=isolation)
    assert h.judged() == CLEAN


def test_a_record_of_a_transaction_whose_commit_timed_out(h: Written) -> None:
    h.sent("a", 0, txn=1)
    h["p"].end_txn(1, commit=True).info("timed out")
    h.polled({0: "a"}, isolation=COMMITTED)
    assert h.judged() == CLEAN


# -- precommitted-read --------------------------------------------------------------------------------------------


@BOTH
def test_a_record_that_is_read_before_its_commit(h: Written, isolation: Isolation) -> None:
    h.sent("a", 0, txn=1)
    h.polled({0: "a"}, isolation=isolation)
    h.committed(1)
    assert h.judged() == expected(Kind.PRECOMMITTED_READ, isolation)


@BOTH
def test_a_transaction_that_reads_its_own_record(h: Written, isolation: Isolation) -> None:
    h.sent("a", 0, txn=1)
    h.polled({0: "a"}, "p", txn=1, isolation=isolation)
    h.committed(1)
    assert h.judged() == expected(Kind.PRECOMMITTED_READ, isolation)


def test_a_record_that_is_read_while_its_commit_is_on_its_way(h: Written) -> None:
    h.sent("a", 0, txn=1)
    ending = h["p"].end_txn(1, commit=True)
    h.polled({0: "a"}, isolation=COMMITTED)
    ending.ok()
    assert h.judged() == CLEAN


def test_a_poll_that_ends_after_the_commit_began(h: Written) -> None:
    h.sent("a", 0, txn=1)
    polling = h.polling(isolation=COMMITTED)
    ending = h["p"].end_txn(1, commit=True)
    polling.ok([(P, 0, "a")])
    ending.info("timed out")
    assert h.judged() == CLEAN


def test_the_early_read_of_one_does_not_hide_that_of_another(h: Written) -> None:
    h.sent("a", 0, txn=1)
    h.polled({0: "a"})
    h.polled({0: "a"}, "d", isolation=COMMITTED)
    h.committed(1)
    assert h.judged() == error(Kind.PRECOMMITTED_READ)
    assert h.anomaly(Kind.PRECOMMITTED_READ).operations[1].process == "d"


def test_an_early_read_that_may_be_and_a_late_one(h: Written) -> None:
    h.sent("a", 0, txn=1)
    h.polled({0: "a"})
    h.committed(1)
    h.polled({0: "a"}, "d", isolation=COMMITTED)
    assert h.judged() == allowed(Kind.PRECOMMITTED_READ)


# -- what must be shown -------------------------------------------------------------------------------------------


def test_markers_and_aborted_records_are_not_left_out(h: Written) -> None:
    h.sent("a", 0, txn=1)
    h.committed(1)
    h.sent("b", 2, txn=2)
    h.aborted(2)
    h.sent("c", 4)
    h.polled({0: "a", 2: "b", 4: "c"}, "d")
    h.polled({0: "a", 4: "c"}, isolation=COMMITTED)
    h.final({0: "a", 4: "c"}, end=5, isolation=COMMITTED)
    assert h.judged() == allowed(Kind.ABORTED_READ)


def test_read_uncommitted_must_not_leave_out_what_others_saw_of_an_aborted_transaction(h: Written) -> None:
    h.sent("b", 1, txn=2)
    h.aborted(2)
    h.sent("c", 4)
    h.polled({1: "b", 4: "c"}, "d")
    h["c"].seek({P: "beginning"})
    h.polled({4: "c"})
    assert h.judged() == ({Kind.POLL_SKIP: 1}, {Kind.ABORTED_READ: 1})


def test_a_record_of_a_committed_transaction_must_not_be_left_out(h: Written) -> None:
    h.sent("a", 0)
    h.sent("b", 1, txn=1)
    h.committed(1)
    h.sent("c", 3)
    h.polled({0: "a", 3: "c"}, isolation=COMMITTED)
    assert h.judged() == error(Kind.LOST_WRITE)
    h.polled({0: "a", 1: "b", 3: "c"}, "d")
    assert h.judged() == error(Kind.INT_POLL_SKIP)


def test_a_record_of_a_transaction_whose_outcome_nobody_knows_may_be_left_out(h: Written) -> None:
    h.sent("a", 0)
    h.sent("b", 1, txn=1)
    h["p"].end_txn(1, commit=True).info("timed out")
    h.sent("c", 3)
    h.final({0: "a", 3: "c"}, end=4, isolation=COMMITTED)
    assert h.judged() == CLEAN


def test_a_transaction_is_not_torn(h: Written) -> None:
    """Its commit timed out; one record is shown with read_committed, so the other must be."""
    h.sent("a", 0, txn=1)
    h.sent("v", 0, partition=Q, txn=1)
    h["p"].end_txn(1, commit=True).info("timed out")
    h.polled({0: "a"}, isolation=COMMITTED)
    h.final({}, end=2, partition=Q, isolation=COMMITTED)
    assert h.judged() == error(Kind.UNSEEN)
    assert h.anomaly(Kind.UNSEEN).partition == Q


def test_an_aborted_record_that_is_shown_does_not_commit_the_others(h: Written) -> None:
    h.sent("a", 0, txn=1)
    h.sent("v", 0, partition=Q, txn=1)
    h.aborted(1)
    h.polled({0: "a"}, isolation=COMMITTED)
    h.final({}, end=2, partition=Q, isolation=COMMITTED)
    assert h.judged() == error(Kind.ABORTED_READ)
    assert [type(each).__name__ for each in h.anomaly(Kind.ABORTED_READ).operations] == ["Send", "Poll", "EndTxn"]


def test_one_record_shown_with_read_uncommitted_says_nothing_of_the_other(h: Written) -> None:
    h.sent("a", 0, txn=1)
    h.sent("v", 0, partition=Q, txn=1)
    ending = h["p"].end_txn(1, commit=True)
    h.polled({0: "a"})
    ending.info("timed out")
    h.final({}, end=2, partition=Q, isolation=COMMITTED)
    assert h.judged() == CLEAN


def test_a_send_of_a_committed_transaction_that_failed_need_not_be_there(h: Written) -> None:
    h.sent("a", 0, txn=1)
    h.sending("b", txn=1).fail("refused")
    h.committed(1)
    h.final({0: "a"}, end=2, isolation=COMMITTED)
    assert h.judged() == CLEAN


def test_a_hanging_transaction_hides_what_comes_after_it(h: Written) -> None:
    h.sent("a", 0, txn=1)
    h["p"].crash()
    h.sent("b", 1, "q")
    h.polled({0: "a", 1: "b"}, "d")
    h.final({}, end=2, isolation=COMMITTED)
    assert h.judged() == ({Kind.LOST_WRITE: 1}, {Kind.ABORTED_READ: 1})


# -- G1c ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3, 5])
@BOTH
def test_transactions_that_read_from_each_other(h: Written, size: int, isolation: Isolation) -> None:
    names = [f"p{number}" for number in range(size)]
    for offset, name in enumerate(names):
        h.sent(name, offset, name, txn=1)
    polls = [h.polling(name, txn=1, isolation=isolation) for name in names]
    ends = [h[name].end_txn(1, commit=True) for name in names]
    for number, (poll, end) in enumerate(zip(polls, ends, strict=True)):
        before = (number - 1) % size
        poll.ok([(P, before, names[before])])
        end.ok()
    assert h.judged() == expected(Kind.G1C, isolation)
    if isolation == COMMITTED:
        assert len(h.anomaly(Kind.G1C).operations) == 2 * size


def test_a_chain_is_no_circle(h: Written) -> None:
    for number in range(5):
        name = f"p{number}"
        if number:
            h.polled({number - 1: f"p{number - 1}"}, name, txn=1, isolation=COMMITTED)
        h.sent(name, number, name, txn=1)
        h.committed(1, name)
    assert h.judged() == CLEAN


def test_two_circles_are_two_though_one_reads_from_the_other(h: Written) -> None:
    names = ["p", "q", "s", "r"]
    for offset, name in enumerate(names):
        h.sent(name, offset, name, txn=1)
    polls = [h.polling(name, txn=1, isolation=COMMITTED) for name in names]
    ends = [h[name].end_txn(1, commit=True) for name in names]
    for poll, read in zip(polls, ([1], [0], [3], [1, 2]), strict=True):
        poll.ok([(P, offset, names[offset]) for offset in read])
    for end in ends:
        end.ok()
    assert h.judged() == error(Kind.G1C, 2)


def test_records_of_no_transaction_make_no_circle(h: Written) -> None:
    h.sent("plain", 0, "p")
    h.polled({0: "plain", 1: "made up"}, "p", txn=1, isolation=COMMITTED)
    h.sent("a", 2, "p", txn=1)
    h.committed(1, "p")
    h.polled({2: "a"}, "q", txn=1, isolation=COMMITTED)
    h.committed(1, "q")
    assert h.judged() == error(Kind.UNEXPECTED_READ)


def test_polls_outside_of_a_transaction_close_no_circle(h: Written) -> None:
    h.sent("a", 0, "p", txn=1)
    h.committed(1, "p")
    h.polled({0: "a"}, "q", txn=1, isolation=COMMITTED)
    h.sent("b", 2, "q", txn=1)
    h.committed(1, "q")
    h.polled({2: "b"}, "p", isolation=COMMITTED)
    assert h.judged() == CLEAN


def test_an_aborted_transaction_closes_no_circle(h: Written) -> None:
    h.sent("a", 0, "p", txn=1)
    h.sent("b", 1, "q", txn=1)
    h.polled({0: "a"}, "q", txn=1)
    h.polled({1: "b"}, "p", txn=1)
    h.committed(1, "p")
    h.aborted(1, "q")
    assert Kind.G1C not in h.judged()[1]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=24))
def test_circles_are_those_that_lead_back(pairs: list[tuple[int, int]]) -> None:
    """Of any graph: transactions of one component reach each other, and no others."""
    written = Written()
    edges = {(writer, reader) for writer, reader in pairs if writer != reader}
    for node in range(8):
        written.sent(node, node, f"p{node}", txn=1)
    polls = [written.polling(f"p{node}", txn=1, isolation=COMMITTED) for node in range(8)]
    ends = [written[f"p{node}"].end_txn(1, commit=True) for node in range(8)]
    for node, (poll, end) in enumerate(zip(polls, ends, strict=True)):
        poll.ok([(P, writer, writer) for writer in range(8) if (writer, node) in edges])
        end.ok()
    reach = {node: {node} for node in range(8)}
    for _ in range(8):
        for writer, reader in edges:
            reach[writer] |= reach[reader]
    components = {frozenset(other for other in reach[node] if node in reach[other]) for node in range(8)}
    found = [each for each in written.verdict().anomalies if each.kind is Kind.G1C]
    assert len(found) == len([each for each in components if len(each) > 1])
    for anomaly in found:
        circle = {int(each.process[1:]) for each in anomaly.operations}
        assert any(circle <= component for component in components)
