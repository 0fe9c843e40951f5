"""Where replicas go: leaders balanced, replicas spread over racks, fenced brokers last (StripedReplicaPlacer)."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from controller_harness import ControllerHarness, SeededRandom

from engine.core.controller.placement import ReplicaPlacer, UsableBroker
from engine.model.errors import ErrorCode, KafkaError


def place(
    racks: dict[int, str | None], partitions: int, factor: int, *, fenced: frozenset[int] = frozenset(), seed: int = 1
) -> list[list[int]]:
    brokers = [UsableBroker(each, rack, each in fenced) for each, rack in racks.items()]
    return ReplicaPlacer(SeededRandom(seed), brokers).place(partitions, factor)


NINE_ON_THREE_RACKS: dict[int, str | None] = {each: f"rack {each % 3}" for each in range(9)}


@pytest.mark.parametrize("seed", range(5))
def test_the_replicas_of_a_partition_lie_on_as_many_racks_as_possible(seed: int) -> None:
    for replicas in place(NINE_ON_THREE_RACKS, 50, 3, seed=seed):
        assert len({NINE_ON_THREE_RACKS[each] for each in replicas}) == 3
    for replicas in place({1: "a", 2: "a", 3: "b", 4: "b"}, 20, 3, seed=seed):
        assert len({{1: "a", 2: "a", 3: "b", 4: "b"}[each] for each in replicas}) == 2


@pytest.mark.parametrize("seed", range(5))
def test_leaders_are_balanced_over_racks_and_replicas_over_brokers(seed: int) -> None:
    placed = place(NINE_ON_THREE_RACKS, 90, 3, seed=seed)
    led = Counter(NINE_ON_THREE_RACKS[replicas[0]] for replicas in placed)
    assert set(led.values()) == {30}
    held = Counter(each for replicas in placed for each in replicas)
    assert set(held.values()) == {30}


@pytest.mark.parametrize("seed", range(5))
def test_with_a_broker_a_rack_every_broker_leads_equally_often(seed: int) -> None:
    placed = place({1: "a", 2: "b", 3: "c"}, 30, 3, seed=seed)
    led = Counter(replicas[0] for replicas in placed)
    # Racks are dealt out in a new order after each round, and a rack may end one round and begin the next.
    assert set(led) == {1, 2, 3} and max(led.values()) - min(led.values()) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_without_racks_every_broker_leads_once_a_round(seed: int) -> None:
    racks: dict[int, str | None] = {each: None for each in range(4)}
    placed = place(racks, 4, 2, seed=seed)
    assert sorted(replicas[0] for replicas in placed) == [0, 1, 2, 3]
    assert all(len(set(replicas)) == 2 for replicas in placed)


def test_the_next_replicas_change_from_round_to_round() -> None:
    placed = place({each: None for each in range(6)}, 60, 3)
    followers_of_leader: dict[int, set[tuple[int, ...]]] = {}
    for leader, *followers in placed:
        followers_of_leader.setdefault(leader, set()).add(tuple(followers))
    assert all(len(each) > 1 for each in followers_of_leader.values()), "a failed broker's load is spread"


def test_fenced_brokers_are_used_only_where_others_run_out_and_never_first() -> None:
    racks: dict[int, str | None] = {1: "a", 2: "a", 3: "b", 4: "b"}
    for replicas in place(racks, 12, 2, fenced=frozenset({3})):
        assert 3 not in replicas
    for replicas in place(racks, 12, 4, fenced=frozenset({3})):
        assert sorted(replicas) == [1, 2, 3, 4] and replicas[0] != 3


def test_a_rack_of_fenced_brokers_still_gets_replicas_to_spread_over_racks() -> None:
    racks: dict[int, str | None] = {1: "a", 2: "a", 3: "b"}
    for replicas in place(racks, 6, 2, fenced=frozenset({3})):
        assert replicas[1] == 3 and replicas[0] in (1, 2)


@pytest.mark.parametrize(("factor", "fenced"), [(0, set()), (-1, set()), (4, set()), (1, {0, 1, 2})])
def test_an_impossible_replication_factor_is_refused(factor: int, fenced: set[int]) -> None:
    with pytest.raises(KafkaError) as caught:
        place({0: "a", 1: "b", 2: None}, 1, factor, fenced=frozenset(fenced))
    assert caught.value.code is ErrorCode.INVALID_REPLICATION_FACTOR


def test_any_cluster_is_placed_with_distinct_replicas_on_the_most_racks_led_by_unfenced_brokers() -> None:
    rng = random.Random(5)
    for seed in range(200):
        count = rng.randint(1, 9)
        racks: dict[int, str | None] = {each: rng.choice(["a", "b", "c", None]) for each in range(count)}
        fenced = frozenset(each for each in racks if rng.random() < 0.3)
        if len(fenced) == count:
            continue
        factor = rng.randint(1, count)
        for replicas in place(racks, 15, factor, fenced=fenced, seed=seed):
            assert len(set(replicas)) == factor and set(replicas) <= set(racks)
            assert replicas[0] not in fenced
            assert len({racks[each] for each in replicas}) == min(factor, len(set(racks.values())))


def test_the_same_seed_places_alike() -> None:
    assert place(NINE_ON_THREE_RACKS, 30, 3, seed=3) == place(NINE_ON_THREE_RACKS, 30, 3, seed=3)
    assert place(NINE_ON_THREE_RACKS, 30, 3, seed=3) != place(NINE_ON_THREE_RACKS, 30, 3, seed=4)


def test_topics_of_the_controller_are_placed_by_rack() -> None:
    h = ControllerHarness()
    h.start(1, 2, 3, 4, racks={1: "a", 2: "a", 3: "b", 4: "b"})
    h.create("t", partitions=8, factor=2)
    for number in range(8):
        first, second = h.partition("t", number).replicas
        assert (first <= 2) != (second <= 2)
    leaders = Counter(h.partition("t", number).leader for number in range(8))
    assert len(leaders) == 4 and max(leaders.values()) <= 3
