"""Chosen partitions onto chosen brokers: what must hold of each plan; and the file of kafka-reassign-partitions.sh."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.model.topic_partition import TopicPartition
from engine.supervisor.placement_plan import (
    BrokerPlace,
    PartitionPlace,
    PlanError,
    plan_as_told,
    plan_leaders,
    plan_onto,
)
from engine.supervisor.reassignment_file import ReassignmentFileError, read_reassignment, reassignment_json

RACKS = {1: "a", 2: "a", 3: "b", 4: "b", 5: "c"}
BROKERS = [BrokerPlace(*each) for each in RACKS.items()]


def partition(number: int, replicas: tuple[int, ...], size_bytes: int = 0) -> PartitionPlace:
    return PartitionPlace(TopicPartition("t", number), replicas, size_bytes)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.permutations([1, 2, 3, 4, 5]).map(lambda each: tuple(each[:3])), min_size=1, max_size=6),
    st.sets(st.integers(1, 5), min_size=1),
    st.integers(1, 5),
)
def test_what_is_proposed_is_where_it_is_wished_and_moves_no_more_than_must(
    placements: list[tuple[int, ...]], targets: set[int], factor: int
) -> None:
    partitions = [partition(number, each, 1_000 * number) for number, each in enumerate(placements)]
    chosen = {each.topic_partition for each in partitions[::2]}
    if factor > len(targets):
        with pytest.raises(PlanError, match="cannot have"):
            plan_onto(BROKERS, partitions, chosen, targets, factor)
        return
    moves = {each.topic_partition: each for each in plan_onto(BROKERS, partitions, chosen, targets, factor)}
    assert moves.keys() <= chosen
    for each in partitions:
        if each.topic_partition not in chosen:
            continue
        after = moves[each.topic_partition].after if each.topic_partition in moves else each.replicas
        assert len(after) == len(set(after)) == factor and set(after) <= targets
        # As many of those that may stay do as there is room for; the preferred leader is one of them.
        assert len(set(after) & set(each.replicas)) == min(factor, len(set(each.replicas) & targets))
        if each.replicas[0] in targets:
            assert after[0] == each.replicas[0]


def test_racks_come_first_then_who_holds_least() -> None:
    partitions = [partition(0, (1,)), partition(1, (5,), 50_000_000)]
    (move,) = plan_onto(BROKERS, partitions, {TopicPartition("t", 0)}, (), 3)
    # Not 2, which shares 1's rack; 3 before 5, which is full; then the third rack all the same.
    assert move.after == (1, 3, 5)
    (shrunk,) = plan_onto(BROKERS, [partition(0, (1, 3, 2))], {TopicPartition("t", 0)}, (), 2)
    assert shrunk.after == (1, 3)


def test_leaders_change_without_a_byte() -> None:
    partitions = [partition(each, (1, 2, 3)) for each in range(3)]
    chosen = {each.topic_partition for each in partitions}
    spread = plan_leaders(BROKERS, partitions, chosen, ())
    assert all(each.copied_bytes == 0 and sorted(each.after) == [1, 2, 3] for each in spread)
    led = {each.topic_partition: each.after[0] for each in spread}
    assert sorted(led.get(each.topic_partition, 1) for each in partitions) == [1, 2, 3]
    assert {each.after for each in plan_leaders(BROKERS, partitions, chosen, (4, 3))} == {(3, 1, 2)}
    assert plan_leaders(BROKERS, partitions, chosen, (1,)) == []


def test_what_somebody_wrote_is_checked() -> None:
    partitions = [partition(0, (1, 2)), partition(1, (9, 1))]
    first, second = (each.topic_partition for each in partitions)
    assert plan_as_told(BROKERS, partitions, {first: (1, 2)}) == []
    # A broker that is down may keep what it has, and gets nothing.
    assert plan_as_told(BROKERS, partitions, {second: (9, 3)})[0].adding == (3,)
    for wanted, said in (
        ({first: (1, 9)}, "broker 9, which is not alive"),
        ({first: (1, 1)}, "twice"),
        ({first: ()}, "no replica"),
        ({TopicPartition("t", 7): (1,)}, "there is no partition t-7"),
    ):
        with pytest.raises(PlanError, match=said):
            plan_as_told(BROKERS, partitions, wanted)
    with pytest.raises(PlanError, match="broker 9 is not alive"):
        plan_onto(BROKERS, partitions, {first}, (1, 9))


def test_the_file_is_read_and_written_as_kafkas_tool_does() -> None:
    text = reassignment_json([("t", 0, (1, 2)), ("t", 1, (3,))])
    assert read_reassignment(text) == ({TopicPartition("t", 0): (1, 2), TopicPartition("t", 1): (3,)}, frozenset())
    # What kafka-reassign-partitions.sh --generate prints.
    printed = '{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[2],"log_dirs":["any"]}]}'
    assert read_reassignment(printed) == ({TopicPartition("t", 0): (2,)}, frozenset())
    # What --execute prints for the way back names the directories that replicas were in.
    back = printed.replace("any", "/data/a")
    assert read_reassignment(back) == ({TopicPartition("t", 0): (2,)}, {TopicPartition("t", 0)})


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("[]", "no object"),
        ("{", "no JSON"),
        ({"version": 2, "partitions": []}, "version is 2"),
        ({"partitions": []}, "no partitions"),
        ({"partitions": [{"partition": 0, "replicas": [1]}]}, "no topic"),
        ({"partitions": [{"topic": "t", "partition": True, "replicas": [1]}]}, "no number"),
        ({"partitions": [{"topic": "t", "partition": 0, "replicas": []}]}, "no list of broker ids"),
        ({"partitions": [{"topic": "t", "partition": 0, "replicas": [1, 1]}]}, "twice"),
        ({"partitions": [{"topic": "t", "partition": 0, "replicas": [1]}] * 2}, "there twice"),
        (
            {"partitions": [{"topic": "t", "partition": 0, "replicas": [1], "log_dirs": ["/data", "any"]}]},
            "1 replicas and 2 log_dirs",
        ),
    ],
)
def test_other_files_are_refused_with_the_reason(document: object, said: str) -> None:
    with pytest.raises(ReassignmentFileError, match=said):
        read_reassignment(document if isinstance(document, str) else json.dumps(document))
