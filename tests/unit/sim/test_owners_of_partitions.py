"""Owners of partitions of consumer groups, as members are told: hand-made stories, right and wrong."""

from __future__ import annotations

from engine.sim.told import Told

P, Q = ("t", 0), ("t", 1)


def broken(told: Told) -> str:
    return "" if told.violation is None else told.violation.promise


def test_a_partition_that_was_given_up_goes_to_another_member() -> None:
    told = Told()
    owners = told.owners
    owners.on_given("g", "a", [P, Q], 1.0)
    owners.on_given("g", "a", [P], 2.0)
    owners.on_heartbeat("g", "a", 2, 3, 2.5)
    owners.on_given("g", "b", [Q], 3.0)
    owners.on_heartbeat("g", "a", 3, 3, 4.0)
    owners.on_committed("g", "a", [P], 4.0)
    owners.on_committed("g", "b", [Q], 4.0)
    assert not broken(told)


def test_a_member_that_heartbeats_on_while_another_has_its_partition_breaks_g1() -> None:
    told = Told()
    told.owners.on_given("g", "a", [P], 1.0)
    told.owners.on_given("g", "b", [P], 2.0)
    told.owners.on_heartbeat("g", "a", 2, 2, 1.5)
    assert not broken(told), "that was asked before"
    told.owners.on_heartbeat("g", "a", 2, 2, 2.5)
    assert broken(told) == "G1"


def test_a_member_that_was_fenced_may_begin_anew() -> None:
    told = Told()
    told.owners.on_given("g", "a", [P], 1.0)
    told.owners.on_given("g", "b", [P], 2.0)
    told.owners.on_gone("g", "a")
    told.owners.on_heartbeat("g", "a", 0, 4, 3.0)
    assert not broken(told)


def test_a_commit_of_a_past_owner_breaks_g2() -> None:
    told = Told()
    told.owners.on_given("g", "a", [P], 1.0)
    told.owners.on_given("g", "b", [P], 2.0)
    told.owners.on_committed("g", "a", [P], 1.5)
    assert not broken(told), "that was asked before"
    told.owners.on_committed("g", "a", [P], 2.5)
    assert broken(told) == "G2"


def test_an_epoch_that_goes_back_breaks_g5() -> None:
    told = Told()
    told.owners.on_heartbeat("g", "a", 0, 2, 1.0)
    told.owners.on_heartbeat("g", "a", 2, 3, 2.0)
    assert not broken(told)
    told.owners.on_heartbeat("g", "a", 3, 2, 3.0)
    assert broken(told) == "G5"
