"""Plans of moves: what must hold of each, and small ones by hand."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.model.topic_partition import TopicPartition
from engine.supervisor.placement_plan import (
    BrokerPlace,
    Move,
    PartitionPlace,
    PlanError,
    loads_of,
    plan_balance,
    plan_drain,
)

RACKS = (None, "a", "b", "c")


def partition(number: int, replicas: tuple[int, ...], size_bytes: int = 0) -> PartitionPlace:
    return PartitionPlace(TopicPartition("t", number), replicas, size_bytes)


@st.composite
def clusters(draw: st.DrawFn) -> tuple[list[BrokerPlace], list[PartitionPlace]]:
    brokers = [BrokerPlace(each, draw(st.sampled_from(RACKS))) for each in range(1, draw(st.integers(4, 7)) + 1)]
    # The last ones hold nothing: they were just added.
    holders = [each.broker_id for each in brokers[: draw(st.integers(3, len(brokers)))]]
    # One draw a partition: examples are made quickly on a busy machine too.
    placements = [each for count in (1, 2, 3) for each in permutations(holders, count)]
    sizes = (0, 1_000, 30_000_000, 900_000_000)
    drawn = draw(st.lists(st.tuples(st.sampled_from(placements), st.sampled_from(sizes)), min_size=1, max_size=25))
    return brokers, [partition(number, *each) for number, each in enumerate(drawn)]


def racks_of(brokers: list[BrokerPlace], replicas: tuple[int, ...]) -> int:
    racks = {each.broker_id: each.rack for each in brokers}
    return len({racks[each] if racks[each] is not None else each for each in replicas})


def check(brokers: list[BrokerPlace], partitions: list[PartitionPlace], moves: list[Move]) -> None:
    known = {each.broker_id for each in brokers}
    before = {each.topic_partition: each.replicas for each in partitions}
    assert len({each.topic_partition for each in moves}) == len(moves)
    for move in moves:
        assert move.before == before[move.topic_partition] != move.after
        assert len(set(move.after)) == len(move.after) == len(move.before)
        assert set(move.after) <= known


@settings(deadline=None)
@given(clusters(), st.integers(1, 3))
def test_a_drained_broker_has_nothing_left_and_no_other_replica_moves(
    cluster: tuple[list[BrokerPlace], list[PartitionPlace]], drained: int
) -> None:
    brokers, partitions = cluster
    moves = plan_drain(brokers, partitions, [drained])
    check(brokers, partitions, moves)
    assert {each.topic_partition for each in moves} == {
        each.topic_partition for each in partitions if drained in each.replicas
    }
    for move in moves:
        assert move.removing == (drained,) and len(move.adding) == 1
        assert move.after.index(move.adding[0]) == move.before.index(drained)
        # No rack that is free is passed over for one that is taken.
        possible = [
            racks_of(brokers, (*(each for each in move.before if each != drained), other.broker_id))
            for other in brokers
            if other.broker_id not in move.before
        ]
        assert racks_of(brokers, move.after) == max(possible)
    after = {load.broker_id: load for load in loads_of(brokers, partitions, moves)}
    assert after[drained] == (drained, 0, 0, 0)


@settings(deadline=None)
@given(clusters())
def test_balancing_makes_no_two_brokers_less_even_and_takes_no_rack_away(
    cluster: tuple[list[BrokerPlace], list[PartitionPlace]],
) -> None:
    brokers, partitions = cluster
    moves = plan_balance(brokers, partitions)
    check(brokers, partitions, moves)
    for move in moves:
        assert racks_of(brokers, move.after) >= racks_of(brokers, move.before)

    def spread(of: list[Move]) -> tuple[int, int]:
        loads = loads_of(brokers, partitions, of)
        weights = [each.size_bytes + (each.replicas << 20) for each in loads]
        leaders = [each.preferred_leaders for each in loads]
        return sum(each * each for each in weights), max(leaders) - min(leaders)

    assert spread(moves)[0] <= spread([])[0]
    # A second plan finds nothing to do.
    now = [
        each._replace(
            replicas=dict((m.topic_partition, m.after) for m in moves).get(each.topic_partition, each.replicas)
        )
        for each in partitions
    ]
    assert plan_balance(brokers, now) == []


def test_a_new_broker_gets_its_share_of_bytes_not_only_of_replicas() -> None:
    brokers = [BrokerPlace(each, None) for each in (1, 2, 3, 4)]
    partitions = [partition(number, (1, 2, 3), 1 << 30 if number < 4 else 1 << 20) for number in range(8)]
    moves = plan_balance(brokers, partitions)
    loads = loads_of(brokers, partitions, moves)
    assert [each.size_bytes >> 30 for each in loads] == [3, 3, 3, 3]
    assert {each.preferred_leaders for each in loads} == {2}
    assert sum(each.copied_bytes for each in moves) >> 30 == 3


def test_a_rack_is_kept_free_of_a_second_replica() -> None:
    brokers = [BrokerPlace(1, "a"), BrokerPlace(2, "b"), BrokerPlace(3, "c"), BrokerPlace(4, "a"), BrokerPlace(5, "c")]
    partitions = [partition(0, (1, 2), 10), partition(1, (4, 5), 1 << 40)]
    (move,) = plan_drain(brokers, partitions, [2])
    # Broker 4 holds less than nothing else in rack c does, but rack a has a replica already.
    assert move.after == (1, 3)


def test_what_cannot_be_drained_is_said() -> None:
    brokers = [BrokerPlace(each, None) for each in (1, 2, 3)]
    with pytest.raises(PlanError, match="t-0 has 3 replicas and only 2 brokers stay: add a broker"):
        plan_drain(brokers, [partition(0, (1, 2, 3))], [2])
