from __future__ import annotations

import pytest

from engine.drills.drill import Act, Assertion
from engine.drills.drill_file import parse_drill
from engine.drills.shipped_drills import shipped, text_of
from engine.supervisor.yaml_nodes import SpecErrors

WHOLE = """
about: two at once
cluster:
  durability: page-cache
  brokers: 5
  configs: {broker.session.timeout.ms: 3000}
  topics:
    - {name: orders, partitions: 6, replication_factor: 3, configs: {unclean.leader.election.enable: true}}
    - {name: payments, partitions: 1}
load: {topic: payments, acks: 1, rate: 50, clients: 3, size: 1000}
faults:
  - {at: 1 min, start: leader}
  - {at: 2.5 s, kill: [leader, 4]}
  - {at: 700 ms, rolling restart: all}
  - {at: 3, cut: [2, others]}
  - {at: 4 s, delay: [controller, clients], by: 150 ms}
  - {at: 5 s, heal: all}
expect:
  unavailable: <= 1.5 s
  back in sync within: 10 s
  lost: 0
  acknowledged: ≥ 100
"""


def complaints(text: str) -> list[str]:
    with pytest.raises(SpecErrors) as error:
        parse_drill(text, "d")
    return error.value.in_file("d.yaml").splitlines()


def test_a_whole_drill_is_read_and_acts_stand_in_the_order_of_their_times() -> None:
    drill, warnings = parse_drill(WHOLE, "d")
    assert not warnings
    assert (drill.name, drill.about) == ("d", "two at once")
    assert [broker.broker_id for broker in drill.cluster.brokers] == [1, 2, 3, 4, 5]
    assert drill.cluster.durability == "page-cache"
    assert drill.cluster.configs == {"broker.session.timeout.ms": "3000"}
    assert [topic.name for topic in drill.cluster.topics] == ["orders", "payments"]
    assert (drill.load.topic.name, *drill.load[1:]) == ("payments", "1", 50.0, 3, 1000)
    assert drill.acts == (
        Act(0.7, "rolling restart", ("all",), 0.0, 14),
        Act(2.5, "kill", ("leader", "4"), 0.0, 13),
        Act(3.0, "cut", ("2", "others"), 0.0, 15),
        Act(4.0, "delay", ("controller", "clients"), 0.15, 16),
        Act(5.0, "heal", ("all",), 0.0, 17),
        Act(60.0, "start", ("leader",), 0.0, 12),
    )
    assert drill.assertions == (
        Assertion("unavailable", "≤", 1500.0, 19),
        Assertion("back in sync within", "≤", 10_000.0, 20),
        Assertion("lost", "=", 0.0, 21),
        Assertion("acknowledged", "≥", 100.0, 22),
    )
    assert drill.needs_proxy


def test_three_brokers_and_a_topic_that_survives_one_of_them_need_not_be_written() -> None:
    drill, _ = parse_drill("expect: {lost: 0}", "d")
    assert [broker.broker_id for broker in drill.cluster.brokers] == [1, 2, 3]
    assert drill.cluster.durability == "fsync"
    assert drill.cluster.topics == (drill.load.topic,)
    assert drill.load.topic == ("drill", 3, 3, {"min.insync.replicas": "2"})
    assert drill.load.acks == "all"
    assert not drill.needs_proxy


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ["1:1: the file is empty; describe a load, faults and what you expect"]),
        ("a: [", ["2:1: this is no YAML"]),
        ("load: {}", ["1:1: the drill expects nothing, so it cannot fail"]),
        ("expct: {lost: 0}", ["1:1: unknown key 'expct' in the drill; did you mean 'expect'?"]),
        ("expect: {lots: 0}", ["1:10: a drill does not measure 'lots'; did you mean 'lost'?"]),
        ("expect: {lost: none}", ["1:16: 'lost' is a whole number, not 'none'; write `lost: 0, or ≥ 1000`"]),
        ("expect: {unavailable: 5}", ["1:23: 'unavailable' is a time with its unit, not '5'"]),
        ("expect: {lost: 0}\nload: {acks: 2}", ["2:14: 'acks' of 'load' of the drill cannot be '2'"]),
        ("expect: {lost: 0}\nfaults:\n  - {kill: 1}", ["3:5: a fault has no 'at'; add `at: 2 s`"]),
        ("expect: {lost: 0}\nfaults:\n  - {at: soon, kill: 1}", ["3:10: 'at' of a fault is a time, not 'soon'"]),
        ("expect: {lost: 0}\nfaults:\n  - {at: 1 s, kil: 1}", ["3:5: a fault names no act", "3:15: unknown key 'kil'"]),
        ("expect: {lost: 0}\nfaults:\n  - {at: 1 s, kill: 4}", ["3:21: kill names '4'; name a broker (1, 2, 3)"]),
        (
            "expect: {lost: 0}\nfaults:\n  - {at: 1 s, kill: leadr}",
            ["3:21: kill names 'leadr'; did you mean 'leader'?"],
        ),
        ("expect: {lost: 0}\nfaults:\n  - {at: 1 s, cut: leader}", ["3:20: cut is between two ends"]),
        ("expect: {lost: 0}\nfaults:\n  - {at: 1 s, cut: [clients, 1]}", ["3:21: cut begins with clients"]),
        ("expect: {lost: 0}\nfaults:\n  - {at: 1 s, delay: [1, 2]}", ["3:5: delay has no 'by'"]),
        (
            "expect: {lost: 0}\nfaults:\n  - {at: 1 s, start: leader}",
            ["3:1: start names the leader, and no leader was"],
        ),
        (
            "expect: {lost: 0}\nfaults:\n  - {at: 1 s, kill zookeeper: leader}",
            ["3:5: kill zookeeper: the drill's cluster has no ZooKeeper servers of its own; write `coordination"],
        ),
        (
            "expect: {lost: 0}\ncluster: {coordination: zookeeper}\n"
            "faults:\n  - {at: 1 s, kill: leader}\n  - {at: 2 s, start zookeeper: leader}\n"
            "  - {at: 3 s, pause zookeeper: 2}",
            [
                "5:1: start zookeeper names the leader, and no leader was killed or stopped",
                "6:32: pause zookeeper names",
            ],
        ),
        ("expect: {lost: 0}\ncluster: {brokers: many}", ["2:20: there cannot be 'many' brokers; give 1 to 9"]),
        ("expect: {lost: 0}\ncluster: {brokers: [{id: 1, port: 9092}]}", ["2:35: broker 1 has a port"]),
        ("expect: {lost: 0}\ncluster: {durabilty: fsync}", ["2:11: unknown key 'durabilty'"]),
        ("expect: {lost: 0}\ncluster: {topics: [{name: a}]}\nload: {topic: b}", ["3:15: the cluster has no topic 'b'"]),
    ],
)
def test_a_mistake_is_told_with_its_place_and_its_remedy(text: str, told: list[str]) -> None:
    found = complaints(text)
    assert len(found) == len(told), found
    for line, beginning in zip(found, told, strict=True):
        assert line.startswith(f"d.yaml:{beginning}"), line


def test_servers_of_zookeeper_are_named_by_number_or_by_what_they_are() -> None:
    text = (
        "cluster: {coordination: zookeeper, zookeeper: {servers: 3}}\nexpect: {lost: 0}\nfaults:\n"
        "  - {at: 1 s, kill zookeeper: leader}\n  - {at: 2 s, start zookeeper: leader}\n"
        "  - {at: 3 s, pause zookeeper: [1, 3]}\n  - {at: 4 s, resume zookeeper: all}\n"
    )
    drill, _ = parse_drill(text, "d.yaml")
    assert [each.text for each in drill.acts] == [
        "kill the ZooKeeper leader",
        "start the ZooKeeper leader",
        "pause ZooKeeper server 1, 3",
        "resume all ZooKeeper servers",
    ]
    assert not drill.needs_proxy


@pytest.mark.parametrize("name", [name for name, _ in shipped()])
def test_the_drills_that_come_along_are_right(name: str) -> None:
    text = text_of(name)
    assert text is not None
    drill, warnings = parse_drill(text, name)
    assert drill.about and drill.acts and not warnings
    assert {"unavailable", "lost", "duplicated", "reordered"} <= {each.name for each in drill.assertions}
