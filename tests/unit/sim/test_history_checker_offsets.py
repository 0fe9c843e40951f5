"""Committed offsets that go back or are gone, and members that begin where their group had not come to."""

from __future__ import annotations

import pytest
from written_history import CLEAN, COMMITTED, P, Q, Written, allowed, error

from engine.sim.history_findings import Kind


class Group(Written):
    """Shorthands for a group ``g`` and its offsets of one partition."""

    def commits(self, offset: int, process: str = "c", group: str = "g") -> None:
        self[process].commit(group, {P: offset}).ok()

    def fetches(self, offset: int | None, process: str = "f", group: str = "g", *, stable: bool = False) -> None:
        self[process].committed(group, [P], require_stable=stable).ok({P: offset})

    def joins(self, process: str, *, reset: str = "latest") -> None:
        self[process].subscribe("g", ["orders"], auto_offset_reset=reset)
        self[process].rebalance(assigned=[P])


@pytest.fixture
def h() -> Group:
    return Group()


# -- fetches ------------------------------------------------------------------------------------------------------


def test_an_offset_is_fetched_as_it_was_committed(h: Group) -> None:
    h.fetches(None)
    h.commits(3)
    h.fetches(3)
    h.commits(7)
    h.fetches(7)
    assert h.judged() == CLEAN


@pytest.mark.parametrize("told", [3, 0, None, -1])
def test_an_offset_that_goes_back(h: Group, told: int | None) -> None:
    h.commits(3)
    h.commits(7)
    h.fetches(told)
    assert h.judged() == error(Kind.OFFSET_REGRESSION)
    assert h.anomaly(Kind.OFFSET_REGRESSION).lines == (
        f"f was told {told if told in (0, 3) else 'nothing'} in group g, where 7 was committed",
        "7 was committed by c at 0.002000 s, acknowledged at 0.003000 s",
        f"f asked at 0.004000 s and was told at 0.005000 s: {told if told in (0, 3) else 'nothing'} is committed",
    )


def test_a_member_may_commit_less_than_before(h: Group) -> None:
    h.commits(7)
    h.commits(3)
    h.fetches(3)
    h.fetches(3)
    assert h.judged() == CLEAN


def test_other_groups_and_partitions_have_other_offsets(h: Group) -> None:
    h.commits(7)
    h.fetches(None, group="other")
    h["f"].committed("g", [Q]).ok({Q: None})
    assert h.judged() == CLEAN


def test_a_fetch_may_miss_a_commit_that_is_on_its_way(h: Group) -> None:
    h.commits(3)
    commit = h["c"].commit("g", {P: 7})
    h.fetches(3)
    commit.ok()
    h.fetches(7)
    assert h.judged() == CLEAN


def test_a_fetch_may_miss_a_commit_that_ends_while_it_waits(h: Group) -> None:
    h.commits(3)
    fetch = h["f"].committed("g", [P])
    h.commits(5)
    h.commits(7)
    fetch.ok({P: 3})
    assert h.judged() == CLEAN


def test_commits_at_the_same_time_take_effect_in_any_order(h: Group) -> None:
    one, other = h["c"].commit("g", {P: 3}), h["d"].commit("g", {P: 7})
    one.ok()
    other.ok()
    h.fetches(3)
    assert h.judged() == CLEAN


def test_a_commit_that_was_refused_does_not_count(h: Group) -> None:
    h.commits(3)
    h["c"].commit("g", {P: 7}).fail("ILLEGAL_GENERATION")
    h.fetches(3)
    assert h.judged() == CLEAN


def test_a_commit_of_unknown_outcome_need_not_count(h: Group) -> None:
    h.commits(3)
    h["c"].commit("g", {P: 7}).info("timed out")
    h.fetches(3)
    assert h.judged() == CLEAN


def test_but_what_was_fetched_once_has_taken_effect(h: Group) -> None:
    h["c"].commit("g", {P: 7}).info("timed out")
    h.fetches(7)
    h.fetches(None)
    assert h.judged() == error(Kind.OFFSET_REGRESSION)


def test_a_late_commit_of_unknown_outcome_may_bring_an_offset_back(h: Group) -> None:
    h["c"].commit("g", {P: 3}).info("timed out")
    h.commits(7)
    h.fetches(3)
    assert h.judged() == allowed(Kind.OFFSET_REGRESSION)


def test_it_brings_back_no_other_offset(h: Group) -> None:
    h["c"].commit("g", {P: 3}).info("timed out")
    h.commits(7)
    h.fetches(4)
    assert h.judged() == error(Kind.OFFSET_REGRESSION)


def test_it_takes_effect_once(h: Group) -> None:
    h["c"].commit("g", {P: 3}).info("timed out")
    h.fetches(3)
    h.commits(7)
    h.fetches(3)
    assert h.judged() == error(Kind.OFFSET_REGRESSION)


def test_offsets_may_be_deleted(h: Group) -> None:
    h.commits(7)
    h.commits(-1)
    h.fetches(None)
    assert h.judged() == CLEAN


def test_groups_that_commit_automatically_are_not_judged(h: Group) -> None:
    h["m"].subscribe("g", ["orders"], auto_offset_reset="latest", enable_auto_commit=True)
    h.commits(7)
    h.fetches(3)
    assert h.judged() == CLEAN


@pytest.mark.parametrize("topic", ["orders", "__consumer_offsets"])
def test_unclean_elections_may_lose_offsets(h: Group, topic: str) -> None:
    h.commits(7)
    h.fetches(3)
    assert h.judged(topic) == allowed(Kind.OFFSET_REGRESSION)


# -- offsets of transactions --------------------------------------------------------------------------------------


def test_offsets_of_a_transaction_count_when_it_is_committed(h: Group) -> None:
    h["p"].commit("g", {P: 7}, txn=1).ok()
    h.fetches(None, stable=True)
    h.committed(1)
    h.fetches(7, stable=True)
    assert h.judged() == CLEAN
    h.fetches(None, stable=True)
    assert h.judged() == error(Kind.OFFSET_REGRESSION)


def test_offsets_of_a_committed_transaction_are_not_lost(h: Group) -> None:
    h["p"].commit("g", {P: 7}, txn=1).ok()
    h.committed(1)
    h.fetches(None, stable=True)
    assert h.judged() == error(Kind.OFFSET_REGRESSION)


def test_who_does_not_wait_for_stable_offsets_may_be_told_the_one_before(h: Group) -> None:
    h["p"].commit("g", {P: 7}, txn=1).ok()
    h.committed(1)
    h.fetches(None)
    assert h.judged() == CLEAN


def test_offsets_of_an_aborted_transaction_never_count(h: Group) -> None:
    h.commits(3)
    h["p"].commit("g", {P: 7}, txn=1).ok()
    h.aborted(1)
    h.fetches(3, stable=True)
    assert h.judged() == CLEAN


# -- members ------------------------------------------------------------------------------------------------------


def test_a_member_begins_where_its_group_is(h: Group) -> None:
    h.log("a", "b", "c")
    h.joins("c", reset="earliest")
    h.polled({0: "a", 1: "b"})
    h.commits(2)
    h.joins("d")
    h.polled({2: "c"}, "d")
    assert h.judged() == CLEAN


def test_a_member_that_begins_before_what_was_committed(h: Group) -> None:
    h.log("a", "b", "c")
    h.joins("c", reset="earliest")
    h.polled({0: "a", 1: "b"})
    h.commits(2)
    h.joins("d")
    h.polled({0: "a"}, "d")
    assert h.judged() == error(Kind.OFFSET_REGRESSION)
    assert h.anomaly(Kind.OFFSET_REGRESSION).lines[0] == "d began at 0 in group g, where 2 was committed"


def test_a_late_commit_of_unknown_outcome_may_lead_a_member_back(h: Group) -> None:
    h.log("a", "b", "c")
    h["c"].commit("g", {P: 1}).info("timed out")
    h.commits(2)
    h.joins("d")
    h.polled({1: "b"}, "d")
    assert h.judged() == allowed(Kind.OFFSET_REGRESSION)


def test_it_leads_no_member_further_back(h: Group) -> None:
    h.log("a", "b", "c")
    h["c"].commit("g", {P: 1}).info("timed out")
    h.commits(2)
    h.joins("d")
    h.polled({0: "a"}, "d")
    assert h.judged() == error(Kind.OFFSET_REGRESSION)


def test_it_leads_nobody_back_when_it_had_taken_effect_before(h: Group) -> None:
    h.log("a", "b", "c")
    h["c"].commit("g", {P: 1}).info("timed out")
    h.fetches(1)
    h.commits(2)
    h.joins("d")
    h.polled({1: "b"}, "d")
    assert h.judged() == error(Kind.OFFSET_REGRESSION)


def test_a_member_whose_first_poll_is_lost_may_have_begun_anywhere(h: Group) -> None:
    h.log("a", "b", "c")
    h.commits(2)
    h.joins("d")
    h.polling("d").info("interrupted")
    h.polled({0: "a"}, "d")
    assert h.judged() == CLEAN


def test_a_member_that_goes_to_the_end_leaves_nothing_out(h: Group) -> None:
    h.log("a", "b", "c")
    h.polled({0: "a", 1: "b", 2: "c"}, "e")
    h.joins("d", reset="earliest")
    h["d"].seek({P: "end"})
    h.polled({2: "c"}, "d")
    assert h.judged() == CLEAN


def test_records_of_the_poll_in_which_a_member_is_given_the_partition_prove_nothing(h: Group) -> None:
    h.log("a", "b", "c")
    h.commits(2)
    h["d"].subscribe("g", ["orders"], auto_offset_reset="latest")
    polling = h.polling("d")
    h["d"].rebalance(assigned=[P])
    polling.ok([(P, 0, "a")])
    h.polled({1: "b"}, "d")
    assert h.judged() == CLEAN


def test_a_member_that_seeks_begins_where_it_wants(h: Group) -> None:
    h.log("a", "b", "c")
    h.commits(2)
    h.joins("d")
    h["d"].seek({P: "beginning"})
    h.polled({0: "a"}, "d")
    assert h.judged() == CLEAN


def test_a_member_may_miss_a_commit_that_was_acknowledged_after_it_was_given_the_partition(h: Group) -> None:
    h.log("a", "b", "c")
    h.joins("d", reset="earliest")
    h.commits(2)
    h.polled({0: "a"}, "d")
    assert h.judged() == CLEAN


def test_a_member_that_leaves_out_what_was_not_committed(h: Group) -> None:
    h.log("a", "b", "c", "d")
    h.polled({0: "a", 1: "b", 2: "c", 3: "d"}, "e")
    h.commits(1)
    h.joins("d")
    h.polled({3: "d"}, "d")
    assert h.judged() == error(Kind.POLL_SKIP)
    assert h.anomaly(Kind.POLL_SKIP).lines[0] == (
        "d began at 3 in group g, which had committed at most 1: it left out 2 records"
    )


def test_a_commit_that_may_have_taken_effect_explains_it(h: Group) -> None:
    h.log("a", "b", "c", "d")
    h.polled({0: "a", 1: "b", 2: "c", 3: "d"}, "e")
    h.commits(1)
    h["c"].commit("g", {P: 3}).info("timed out")
    h.joins("d")
    h.polled({3: "d"}, "d")
    assert h.judged() == CLEAN


@pytest.mark.parametrize("reset", ["earliest", "latest"])
def test_the_first_member_begins_where_auto_offset_reset_says(h: Group, reset: str) -> None:
    h.log("a", "b")
    h.polled({0: "a", 1: "b"}, "e")
    h.joins("d", reset=reset)
    h.polled({1: "b"}, "d")
    assert h.judged() == (error(Kind.POLL_SKIP) if reset == "earliest" else CLEAN)


def test_markers_of_transactions_are_not_left_out(h: Group) -> None:
    h.sent("a", 0, txn=1)
    h.committed(1)
    h.sent("b", 2)
    h.polled({0: "a", 2: "b"}, "e")
    h.commits(1)
    h.joins("d")
    h.polled({2: "b"}, "d", isolation=COMMITTED)
    assert h.judged() == CLEAN
