"""The assignors of the consumer protocol: nothing twice, nothing left over, balance, and few moves."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.group.consumer_assignors import ASSIGNORS, AssignedMember, range_assignor, uniform

TOPICS = [bytes([number]) * 16 for number in range(1, 6)]


def member(*topics: bytes, target: dict[bytes, frozenset[int]] | None = None, instance: str | None = None):  # type: ignore[no-untyped-def]
    return AssignedMember(instance, frozenset(topics), target or {})


def owned(targets: dict[str, dict[bytes, frozenset[int]]], member_id: str) -> set[tuple[bytes, int]]:
    return {(topic, number) for topic, numbers in targets[member_id].items() for number in numbers}


counts = st.dictionaries(st.sampled_from(TOPICS), st.integers(1, 12), min_size=1)
names = st.integers(1, 8).map(lambda size: [f"m{number}" for number in range(size)])


@st.composite
def groups(draw: st.DrawFn, same: bool) -> tuple[dict[str, AssignedMember], dict[bytes, int]]:
    """Members with former targets that do not overlap, and topics."""
    partitions = draw(counts)
    members: dict[str, AssignedMember] = {}
    free = [(topic, number) for topic, count in partitions.items() for number in range(count + 2)]
    draw(st.randoms(use_true_random=False)).shuffle(free)
    everything = draw(st.frozensets(st.sampled_from(sorted(partitions)), min_size=1))
    for name in draw(names):
        topics = everything if same else draw(st.frozensets(st.sampled_from(sorted(partitions))))
        former: dict[bytes, set[int]] = {}
        for _ in range(draw(st.integers(0, 8))):
            if free:
                topic, number = free.pop()
                former.setdefault(topic, set()).add(number)
        instance = draw(st.sampled_from([None, f"i-{name}"]))
        target = {topic: frozenset(numbers) for topic, numbers in former.items()}
        members[name] = AssignedMember(instance, topics, target)
    return members, partitions


def check_complete(members: dict[str, AssignedMember], partitions: dict[bytes, int], targets) -> None:  # type: ignore[no-untyped-def]
    """Every partition of a topic that somebody subscribes to has one owner, who subscribes to it."""
    seen: dict[tuple[bytes, int], str] = {}
    for name in targets:
        for each in owned(targets, name):
            assert each not in seen, f"{each} for {seen.get(each)} and {name}"
            assert each[0] in members[name].topic_ids
            seen[each] = name
    subscribed = {topic for each in members.values() for topic in each.topic_ids}
    assert set(seen) == {(topic, number) for topic in subscribed for number in range(partitions[topic])}


@settings(max_examples=150, deadline=None)
@given(st.one_of(groups(same=True), groups(same=False)), st.sampled_from(sorted(ASSIGNORS)))
def test_every_partition_has_one_owner_that_subscribes_to_it(group, name) -> None:  # type: ignore[no-untyped-def]
    members, partitions = group
    check_complete(members, partitions, ASSIGNORS[name](members, partitions))


@settings(max_examples=150, deadline=None)
@given(groups(same=True))
def test_uniform_balances_and_moves_no_more_than_it_has_to(group) -> None:  # type: ignore[no-untyped-def]
    members, partitions = group
    targets = uniform(members, partitions)
    sizes = [len(owned(targets, name)) for name in members]
    assert max(sizes) - min(sizes) <= 1
    # Who had no more than its share of what still exists loses nothing.
    topics = next(iter(members.values())).topic_ids
    share = sum(partitions[topic] for topic in topics) // len(members)
    for name, each in members.items():
        former = {
            (topic, number)
            for topic, numbers in each.target.items()
            if topic in topics
            for number in numbers
            if number < partitions[topic]
        }
        kept = former & owned(targets, name)
        assert len(kept) >= min(len(former), share)
    # And computing it again moves nothing.
    again = {name: each._replace(target=targets[name]) for name, each in members.items()}
    assert uniform(again, partitions) == targets


@settings(max_examples=100, deadline=None)
@given(groups(same=False))
def test_uniform_with_different_subscriptions_is_stable(group) -> None:  # type: ignore[no-untyped-def]
    members, partitions = group
    targets = uniform(members, partitions)
    again = {name: each._replace(target=targets[name]) for name, each in members.items()}
    assert uniform(again, partitions) == targets


def test_uniform_with_different_subscriptions_balances_where_it_can() -> None:
    one, two = TOPICS[:2]
    members = {"a": member(one), "b": member(one, two), "c": member(two)}
    targets = uniform(members, {one: 6, two: 6})
    assert {name: len(owned(targets, name)) for name in members} == {"a": 4, "b": 4, "c": 4}
    # The member that alone subscribes to a topic has it, and none of the other.
    targets = uniform({"a": member(one), "b": member(one, two)}, {one: 4, two: 6})
    assert len(owned(targets, "a")) == 4 and len(owned(targets, "b")) == 6


def test_uniform_leaves_partitions_where_they_are_when_one_leaves_or_joins() -> None:
    (one,) = TOPICS[:1]
    first = uniform({"a": member(one), "b": member(one)}, {one: 6})
    members = {name: member(one, target=first[name]) for name in first}
    joined = uniform({**members, "c": member(one)}, {one: 6})
    moved = [each for name in first for each in owned(first, name) - owned(joined, name)]
    assert len(moved) == 2 and all(len(owned(joined, name)) == 2 for name in joined)
    left = uniform({name: member(one, target=joined[name]) for name in ("a", "c")}, {one: 6})
    assert owned(joined, "a") < owned(left, "a") and owned(joined, "c") < owned(left, "c")


def test_range_gives_the_same_numbers_of_each_topic_to_the_same_member() -> None:
    one, two = TOPICS[:2]
    members = {"x": member(one, two, instance="2"), "y": member(one, two), "z": member(one, two, instance="1")}
    targets = range_assignor(members, {one: 7, two: 7})
    assert [sorted(targets[name][one]) for name in ("z", "x", "y")] == [[0, 1, 2], [3, 4], [5, 6]]
    assert all(targets[name][one] == targets[name][two] for name in members)


def test_range_counts_only_the_subscribers_of_a_topic() -> None:
    one, two = TOPICS[:2]
    targets = range_assignor({"a": member(one), "b": member(one, two), "c": member()}, {one: 2, two: 3})
    assert targets == {
        "a": {one: frozenset({0})},
        "b": {one: frozenset({1}), two: frozenset({0, 1, 2})},
        "c": {},
    }
