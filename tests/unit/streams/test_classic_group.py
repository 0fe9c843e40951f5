"""What the leader of a classic group decides, and what members tell each other."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from engine.client.admin.classic_streams import ClassicStreamsMember, ClassicStreamsPart, read_member
from engine.core.group.consumer_protocol import read_assignment, subscribed_topics
from engine.streams import Consumed, Grouped, Materialized, Serdes, StreamsBuilder
from engine.streams.errors import StreamsError
from engine.streams.queries.routes import Endpoint
from engine.streams.runtime.classic_leader import assignments, plan, required_topics, revokes
from engine.streams.runtime.classic_protocol import (
    MemberAssignment,
    Subscription,
    fingerprint,
    read,
    read_member_assignment,
    write,
    write_member_assignment,
)
from engine.streams.runtime.group_topology import NO_TASKS, Assignment, TaskId, group_topology
from engine.wire.messages.streams_group_heartbeat_request import Topology

TEXT = Serdes.string()


def counting(source: str = "words") -> Topology:
    """Two sub-topologies: a repartition, and a count behind it."""
    builder = StreamsBuilder()
    words = builder.stream(source, Consumed(key_serde=TEXT, value_serde=TEXT))
    words.group_by(lambda _, word: word, Grouped(key_serde=TEXT, value_serde=TEXT)).count(Materialized("counts"))
    return group_topology(builder.build().sub_topologies("app", 0), -1)


TOPOLOGY = counting()
REPARTITION, CHANGELOG = sorted(required_topics(TOPOLOGY) - {"words"}, reverse=True)
COUNTS = {"words": 3, REPARTITION: 3, CHANGELOG: 3}


def member(has: Assignment = NO_TASKS, generation: int = 0, process: str = "", standbys: int = 0) -> Subscription:
    return Subscription(process or str(id(object())), fingerprint(TOPOLOGY), has, generation, None, standbys)


def settle(members: dict[str, Subscription], counts: Mapping[str, int] = COUNTS) -> tuple[dict[str, Subscription], int]:
    """Rebalances until nobody has to give anything up; how many there were."""
    for generation in range(1, 10):
        given = assignments(TOPOLOGY, counts, members)
        seen: set[TaskId] = set()
        for each in given.values():
            assert not seen & each.tasks.active, "two members have one task"
            seen |= each.tasks.active
        for member_id in members:
            others = set().union(*(members[other].has.active for other in members if other != member_id))
            assert not given[member_id].tasks.active & others, "a task was handed on before it was given up"
        again = any(revokes(each.has, given[member_id].tasks) for member_id, each in members.items())
        members = {
            member_id: Subscription(
                each.process_id, each.topology, given[member_id].tasks, generation, each.endpoint, each.standbys
            )
            for member_id, each in members.items()
        }
        if not again and not any(each.status for each in given.values()):
            return members, generation
    raise AssertionError("the group does not settle")


def test_internal_topics_get_as_many_partitions_as_there_are_tasks() -> None:
    to_create = plan(TOPOLOGY, {"words": 3}).to_create
    assert {each.name: each.partitions for each in to_create} == {REPARTITION: 3, CHANGELOG: 3}
    assert plan(TOPOLOGY, COUNTS).to_create == ()


def test_who_comes_gets_its_share_once_others_have_given_it_up() -> None:
    alone, generations = settle({"a": member()})
    assert (len(alone["a"].has.active), generations) == (6, 1)
    both, generations = settle({**alone, "b": member()})
    assert (len(both["a"].has.active), len(both["b"].has.active), generations) == (3, 3, 2)
    assert both["a"].has.active < alone["a"].has.active, "what stayed is what it had"


def test_who_goes_leaves_its_tasks_to_the_others_and_these_keep_theirs() -> None:
    three, _ = settle({name: member() for name in "abc"})
    gone = {name: three[name] for name in "ab"}
    two, generations = settle(gone)
    assert generations == 1
    for name in "ab":
        assert two[name].has.active > three[name].has.active


def test_any_coming_and_going_settles_with_each_task_once() -> None:
    rng = random.Random(7)
    members: dict[str, Subscription] = {}
    for step in range(60):
        if members and rng.random() < 0.45:
            del members[rng.choice(sorted(members))]
        else:
            members[f"m{step}"] = member(process=f"p{step}", standbys=rng.randrange(3))
        if members:
            members, _ = settle(members)
            active = [task for each in members.values() for task in each.has.active]
            assert len(active) == len(set(active)) == 6


def test_standbys_are_where_the_task_is_not_and_take_over() -> None:
    members, _ = settle({name: member(process=name, standbys=1) for name in "ab"})
    a, b = members["a"].has, members["b"].has
    stateful = {task for task in a.active | b.active if task.sub_topology == 1}
    assert a.standby == stateful - a.active and b.standby == stateful - b.active
    left, _ = settle({"b": members["b"]})
    assert left["b"].has.active >= b.standby


def test_of_two_that_claim_a_task_it_is_whose_generation_is_later() -> None:
    task = frozenset({TaskId(0, 0)})
    given = assignments(
        TOPOLOGY, COUNTS, {"old": member(Assignment(task), 3), "new": member(Assignment(task), 4), "third": member()}
    )
    assert task <= given["new"].tasks.active
    assert not task & given["old"].tasks.active


def test_a_member_of_another_topology_is_told_what_to_do() -> None:
    other = Subscription("p", fingerprint(counting("lines")))
    given = assignments(TOPOLOGY, COUNTS, {"a": member(), "b": other})
    assert "another application.id" in given["b"].error
    assert len(given["a"].tasks.active) == 6


def test_while_a_source_topic_is_away_everybody_keeps_what_it_has() -> None:
    members, _ = settle({"a": member()})
    given = assignments(TOPOLOGY, {}, members)
    assert given["a"].tasks == members["a"].has
    assert "MISSING_SOURCE_TOPICS" in given["a"].status


def test_internal_topics_of_other_sizes_stop_the_application() -> None:
    given = assignments(TOPOLOGY, {**COUNTS, CHANGELOG: 2}, {"a": member()})
    assert "expected 3, found 2" in given["a"].error


def test_tools_see_who_reads_what() -> None:
    assert subscribed_topics(write(member(), ["words", REPARTITION])) == {"words", REPARTITION}
    given = assignments(TOPOLOGY, COUNTS, {"a": member()})["a"]
    told = read_assignment(write_member_assignment(given))
    assert {each.topic: each.partitions for each in told.assigned_partitions} == {
        REPARTITION: [0, 1, 2],
        "words": [0, 1, 2],
    }


def test_everybody_hears_where_queries_are_answered() -> None:
    endpoint = Endpoint("127.0.0.1", 9)
    given = assignments(
        TOPOLOGY, COUNTS, {"a": Subscription("p", fingerprint(TOPOLOGY), endpoint=endpoint), "b": member()}
    )
    (route,) = given["b"].routes
    assert route["endpoint"] == ["127.0.0.1", 9]
    assert sum(len(numbers) for _, numbers in route["active"]) == 3


def test_what_is_said_comes_back() -> None:
    tasks = Assignment(frozenset({TaskId(0, 1)}), frozenset({TaskId(1, 2)}))
    said = Subscription("p", "t", tasks, 4, Endpoint("::1", 80), 2)
    assert read(write(said, ["words"])) == said
    told = MemberAssignment(tasks, "waits", "", routes=({"endpoint": ["h", 1], "active": [], "standby": []},))
    assert read_member_assignment(write_member_assignment(told)) == told


def test_who_describes_the_group_sees_tasks_and_endpoints() -> None:
    tasks = Assignment(frozenset({TaskId(0, 1), TaskId(1, 0)}), frozenset({TaskId(1, 2)}))
    said = write(Subscription("p", "t", endpoint=Endpoint("::1", 80)), ["words"], TOPOLOGY)
    told = read_member(said, write_member_assignment(MemberAssignment(tasks)))
    parts = (
        ClassicStreamsPart("0", ("words",), (), (REPARTITION,), ()),
        ClassicStreamsPart("1", (), (REPARTITION,), (), (CHANGELOG,)),
    )
    assert told == ClassicStreamsMember("p", "[::1]:80", {"0": (1,), "1": (0,)}, {"1": (2,)}, parts)
    assert read_member(said, b"").active == {}
    assert read_member(b"nonsense", b"") == read_member(b"", b"nonsense") == ClassicStreamsMember()


@pytest.mark.parametrize("data", [b"\0", b"\0\1\0\0\0\0\xff\xff\xff\xff", b"\0\1\0\0\0\0\0\0\0\2{}", b"\xff" * 40])
def test_bytes_of_somebody_else_are_refused(data: bytes) -> None:
    with pytest.raises(StreamsError):
        read(data)
    with pytest.raises(StreamsError):
        read_member_assignment(data)
