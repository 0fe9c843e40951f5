"""From a row to the events that made it."""

from __future__ import annotations

from typing import Any

from console.viewmodel.whys import about_words, story_of
from engine.supervisor.snapshot import ClusterEvent


def event(at_ms: int, kind: str, subject: str, source: str = "broker 1", **detail: Any) -> ClusterEvent:
    return ClusterEvent(at_ms, at_ms, kind, subject, "", source, detail)


PAST = [
    event(1, "process_killed", "broker 3", "supervisor", broker_id=3),
    event(2, "fault_begun", "broker 2", "supervisor", broker_id=2),
    event(3, "log_dir_failed", "/data", "broker 2"),
    event(4, "broker_fenced", "broker 2", broker_id=2),
    event(5, "leader_changed", "orders-1", **{"from": 2, "to": 1}),
    event(6, "isr_shrunk", "orders-1", removed=[2]),
    event(7, "isr_shrunk", "orders-12", removed=[3]),
    event(8, "topic_created", "orders-eu"),
    event(9, "group_rebalanced", "orders"),
    event(10, "produce_refused", "orders-1"),
    event(90_000, "leader_changed", "orders-1", **{"from": 2, "to": 3}),
    event(90_001, "leader_changed", "late-0", **{"from": 2, "to": 3}),
    event(200_000, "fault_begun", "cluster", "supervisor"),
    event(200_001, "isr_shrunk", "rolled-0", removed=[3]),
]


def told(**about: Any) -> list[int]:
    return [each.at_ms for each in story_of(PAST, about)]


def test_a_partition_has_its_events_and_what_they_came_of() -> None:
    assert told(partition=("orders", 1)) == [2, 3, 4, 5, 6, 10, 90_000]
    assert told(partition=("late", 0)) == [90_001], "what was long ago is no cause"
    assert told(partition=("orders", 12)) == [1, 7]


def test_what_is_done_to_the_whole_cluster_is_a_cause_of_all() -> None:
    assert told(partition=("rolled", 0)) == [200_000, 200_001]


def test_a_topic_has_those_of_all_its_partitions_and_of_no_other_topic() -> None:
    assert told(topic="orders") == [1, 2, 3, 4, 5, 6, 7, 10, 90_000], "a group may have the same name"
    assert told(topic="orders-eu") == [8]


def test_a_broker_has_what_it_went_through_and_what_it_lost_and_won() -> None:
    assert told(broker=2) == [2, 3, 4, 5, 6, 90_000, 90_001]
    assert told(broker=1) == [5]
    assert about_words({"broker": 2}) == "broker 2"


def test_a_group_has_its_own_alone() -> None:
    assert told(group="orders") == [9]
