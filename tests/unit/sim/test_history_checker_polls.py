"""Consumers that go back or leave something out, and what lets them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from written_history import CLEAN, COMMITTED, P, Q, Written, error

from engine.sim.history_findings import Kind


@pytest.fixture
def h() -> Written:
    written = Written()
    written.log("a", "b", "c", "d", "e")
    return written


def everything(h: Written) -> None:
    h.polled({0: "a", 1: "b", 2: "c", 3: "d", 4: "e"}, "everything")


# What may come between two polls so that the second one begins anew.
def seeks(h: Written) -> None:
    h["c"].seek({P: "end"})


def is_assigned_anew(h: Written) -> None:
    h["c"].assign({P: None})


def is_rebalanced(h: Written) -> None:
    h["c"].rebalance(revoked=[P])
    h["c"].rebalance(assigned=[P])


def restarts(h: Written) -> None:
    h["c"].crash()
    h["c"].start()


def subscribes(h: Written) -> None:
    h["c"].subscribe("g", ["orders"], auto_offset_reset="latest")


def does_not_know_what_a_poll_took(h: Written) -> None:
    h.polling().info("interrupted")


ANEW = pytest.mark.parametrize(
    "happens",
    [seeks, is_assigned_anew, is_rebalanced, restarts, subscribes, does_not_know_what_a_poll_took],
    ids=lambda each: each.__name__,
)


# What may come between them and changes nothing.
def nothing(h: Written) -> None:
    pass


def a_poll_fails(h: Written) -> None:
    h.polling().fail("interrupted before it fetched")


def a_poll_is_empty(h: Written) -> None:
    h.polled({})


def another_partition_is_moved(h: Written) -> None:
    h["c"].seek({Q: 7})
    h["c"].rebalance(assigned=[Q])


def another_consumer_is_moved(h: Written) -> None:
    h["d"].seek({P: 4})


ON = pytest.mark.parametrize(
    "happens",
    [nothing, a_poll_fails, a_poll_is_empty, another_partition_is_moved, another_consumer_is_moved],
    ids=lambda each: each.__name__,
)

# -- nonmonotonic-poll --------------------------------------------------------------------------------------------


@ON
def test_a_consumer_that_goes_back(h: Written, happens: Callable[[Written], None]) -> None:
    h.polled({0: "a", 1: "b", 2: "c"})
    happens(h)
    h.polled({1: "b", 2: "c", 3: "d"})
    assert h.judged() == error(Kind.NONMONOTONIC_POLL)
    assert h.anomaly(Kind.NONMONOTONIC_POLL).lines[0] == (
        "c received 'b' at offset 1 after offset 2 ('c'), without a seek or a rebalance in between"
    )


@ON
def test_a_consumer_that_receives_the_last_record_again(h: Written, happens: Callable[[Written], None]) -> None:
    h.polled({0: "a", 1: "b"})
    happens(h)
    h.polled({1: "b", 2: "c"})
    assert h.judged() == error(Kind.NONMONOTONIC_POLL)


@ANEW
def test_a_consumer_that_may_go_back(h: Written, happens: Callable[[Written], None]) -> None:
    h.polled({0: "a", 1: "b", 2: "c"})
    happens(h)
    h.polled({1: "b", 2: "c", 3: "d"})
    assert h.judged() == CLEAN


def test_a_poll_that_goes_back_within_itself(h: Written) -> None:
    h.polling().ok([(P, 1, "b"), (P, 0, "a")])
    assert h.judged() == error(Kind.INT_NONMONOTONIC_POLL)


def test_a_poll_that_contains_a_record_twice(h: Written) -> None:
    h.polling().ok([(P, 0, "a"), (P, 0, "a")])
    assert h.judged() == error(Kind.INT_NONMONOTONIC_POLL)


def test_a_poll_of_interleaved_partitions(h: Written) -> None:
    h.log("v", "w", partition=Q)
    h.polling().ok([(P, 0, "a"), (Q, 0, "v"), (P, 1, "b"), (Q, 1, "w")])
    h.polling().ok([(Q, 1, "w")])
    assert h.judged() == error(Kind.NONMONOTONIC_POLL)
    assert h.anomaly(Kind.NONMONOTONIC_POLL).partition == Q


def test_a_record_before_the_position_that_was_set(h: Written) -> None:
    h["c"].seek({P: 3})
    h.polled({2: "c"})
    assert h.judged() == error(Kind.NONMONOTONIC_POLL)
    assert "before the position 3 that it had set" in h.anomaly(Kind.NONMONOTONIC_POLL).lines[0]


def test_what_came_before_a_consumer_went_back_is_neither_lost_nor_left_out(h: Written) -> None:
    everything(h)
    h["f"].assign({P: "beginning"})
    h.polling("f").ok([(P, 0, "a"), (P, 1, "b"), (P, 2, "c"), (P, 0, "a"), (P, 3, "d"), (P, 4, "e")])
    h.polled({}, "f", end=5)
    assert h.judged() == error(Kind.INT_NONMONOTONIC_POLL)


# -- poll-skip ----------------------------------------------------------------------------------------------------


@ON
def test_a_consumer_that_leaves_something_out(h: Written, happens: Callable[[Written], None]) -> None:
    everything(h)
    h.polled({0: "a"})
    happens(h)
    h.polled({3: "d"})
    assert h.judged() == error(Kind.POLL_SKIP)
    assert h.anomaly(Kind.POLL_SKIP).lines == (
        "c did not receive 2 records that others did",
        h.anomaly(Kind.POLL_SKIP).lines[1],
        "'b' at offset 1 was read by everything (read_uncommitted) at 0.011000 s",
        "'c' at offset 2 was read by everything (read_uncommitted) at 0.011000 s",
    )


@ANEW
def test_a_consumer_that_may_leave_something_out(h: Written, happens: Callable[[Written], None]) -> None:
    everything(h)
    h.polled({0: "a"})
    happens(h)
    h.polled({3: "d"})
    assert h.judged() == CLEAN


def test_a_poll_that_leaves_something_out_within_itself(h: Written) -> None:
    everything(h)
    h.polled({0: "a", 2: "c"})
    assert h.judged() == error(Kind.INT_POLL_SKIP)


def test_the_first_records_that_were_left_out_are_shown_and_the_rest_counted(h: Written) -> None:
    h.log(*range(10), partition=Q)
    h.polled({offset: offset for offset in range(10)}, "everything", Q)
    h.polled({0: 0, 9: 9}, "c", Q)
    lines = h.anomaly(Kind.INT_POLL_SKIP).lines
    assert lines[0] == "c did not receive 8 records that others did"
    assert len(lines) == 2 + 5 + 1
    assert lines[-1] == "and 3 more"


def test_offsets_that_hold_nothing_are_not_left_out(h: Written) -> None:
    h.sent("z", 9)
    h.polled({0: "a", 1: "b", 2: "c", 3: "d", 4: "e", 9: "z"})
    h.polled({3: "d", 4: "e"}, "d")
    h.polled({9: "z"}, "d")
    assert h.judged() == CLEAN


@pytest.mark.parametrize("position", ["beginning", 0, 1])
def test_what_is_after_the_position_that_was_set_is_not_left_out(h: Written, position: int | str) -> None:
    everything(h)
    h["c"].seek({P: position})
    h.polled({3: "d"})
    assert h.judged() == error(Kind.POLL_SKIP)


def test_a_final_read_must_not_end_before_what_others_had_read(h: Written) -> None:
    everything(h)
    h.final({0: "a", 1: "b", 2: "c", 3: "d", 4: "e"}, end=5, process="f")
    h.final({0: "a", 1: "b", 2: "c"}, end=5)
    assert h.judged() == error(Kind.POLL_SKIP)
    assert h.anomaly(Kind.POLL_SKIP).lines[0] == "final came to the end of the log without 2 records in it"


def test_a_final_read_may_end_before_what_others_read_later(h: Written) -> None:
    written = Written()
    written.log("a")
    written.final({0: "a"}, end=1)
    written.sent("b", 1)
    written.final({0: "a", 1: "b"}, end=2, process="f")
    assert written.judged() == CLEAN


# -- a rebalance while a poll is open -----------------------------------------------------------------------------


def test_records_of_a_poll_with_a_rebalance_in_it_have_no_order(h: Written) -> None:
    everything(h)
    h.polled({0: "a", 1: "b"})
    polling = h.polling()
    h["c"].rebalance(revoked=[P])
    h["c"].rebalance(assigned=[P])
    polling.ok([(P, 2, "c"), (P, 1, "b"), (P, 4, "e")])
    h.polled({3: "d"})
    assert h.judged() == CLEAN


def test_not_even_if_they_seem_to_go_on(h: Written) -> None:
    h.polled({0: "a", 1: "b"})
    polling = h.polling()
    h["c"].rebalance(revoked=[P])
    h["c"].rebalance(assigned=[P])
    polling.ok([(P, 2, "c")])
    h.polled({2: "c", 3: "d"})
    assert h.judged() == CLEAN


@pytest.mark.parametrize("received", [{2: "c", 3: "d"}, {4: "e", 3: "d"}])
def test_nor_have_those_of_a_poll_with_a_seek_in_it(h: Written, received: dict[int, str]) -> None:
    polling = h.polling()
    h["c"].seek({P: 4})
    polling.ok([(P, *record) for record in received.items()])
    h.polled({1: "b"})
    assert h.judged() == CLEAN


def test_records_of_other_partitions_have(h: Written) -> None:
    everything(h)
    h.polled({0: "a"})
    polling = h.polling()
    h["c"].rebalance(assigned=[Q])
    polling.ok([(P, 2, "c")])
    assert h.judged() == error(Kind.POLL_SKIP)


def test_a_partition_that_was_not_touched_goes_on(h: Written) -> None:
    h["c"].subscribe("g", ["orders"], auto_offset_reset="latest")
    h["c"].rebalance(assigned=[P, Q])
    h.polled({0: "a", 1: "b"})
    h["c"].rebalance(revoked=[Q])
    h.polled({1: "b"})
    assert h.judged() == error(Kind.NONMONOTONIC_POLL)


def test_an_assignment_forgets_positions_of_all(h: Written) -> None:
    h.polled({0: "a", 1: "b"})
    h["c"].assign({Q: "beginning"})
    h.polled({0: "a"})
    assert h.judged() == CLEAN


def test_what_lies_before_a_position_that_was_undercut_was_never_received(h: Written) -> None:
    everything(h)
    h["c"].seek({P: 4})
    h.polling().ok([(P, 0, "a"), (P, 4, "e")])
    assert h.judged() == error(Kind.NONMONOTONIC_POLL)


def test_what_lies_after_it_must_come(h: Written) -> None:
    h.log("v", "w", "x", "y", "z", partition=Q)
    h["c"].seek({Q: 3})
    h.polling().ok([(Q, 0, "v"), (Q, 4, "z")])
    assert h.judged() == ({Kind.NONMONOTONIC_POLL: 1, Kind.LOST_WRITE: 1}, {})
    assert h.anomaly(Kind.LOST_WRITE).lines[2] == (
        "c received nothing from offset 3 on, and next 'z' at offset 4 at 0.022000 s"
    )


def test_isolation_may_change_between_polls(h: Written) -> None:
    h.polled({0: "a", 1: "b"})
    h.polled({2: "c", 3: "d"}, isolation=COMMITTED)
    h.polled({4: "e"})
    assert h.judged() == CLEAN
