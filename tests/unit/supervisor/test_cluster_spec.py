from pathlib import Path

import pytest

from engine.supervisor.cluster_spec import parse_cluster_spec
from engine.supervisor.server_properties import Address, broker_properties, properties_text, voter_ids
from engine.supervisor.spec_types import AUTO_PORT, ClusterSpec, ConnectSpec
from engine.supervisor.yaml_nodes import SpecErrors

ROOT = Path(__file__).resolve().parents[3]


def mistakes(text: str) -> list[tuple[int, int, str, str]]:
    with pytest.raises(SpecErrors) as caught:
        parse_cluster_spec(text)
    return [tuple(error) for error in caught.value.errors]  # type: ignore[misc]


def spec_of(text: str) -> ClusterSpec:
    spec, warnings = parse_cluster_spec(text)
    assert warnings == []
    return spec


def brokers(count: int) -> str:
    return "brokers:\n" + "".join(f"  - {{id: {number}}}\n" for number in range(1, count + 1))


def test_the_sample_file_is_right_and_is_three_brokers_in_three_racks_with_a_workload() -> None:
    spec = spec_of((ROOT / "sample_cluster.yaml").read_text())
    assert [broker.broker_id for broker in spec.brokers] == [1, 2, 3]
    assert len({broker.rack for broker in spec.brokers}) == 3
    assert {topic.replication_factor for topic in spec.topics} == {3}
    assert spec.configs["min.insync.replicas"] == "2"
    assert spec.workload.start and spec.workload.producers and spec.workload.groups


def test_a_file_with_brokers_alone_gets_the_defaults_of_its_size() -> None:
    spec = spec_of(brokers(3))
    broker = spec.brokers[0]
    assert (broker.host, broker.port, broker.controller_port) == ("127.0.0.1", AUTO_PORT, AUTO_PORT)
    addresses = {each.broker_id: Address("127.0.0.1", 1000 + each.broker_id, 2000) for each in spec.brokers}
    properties = broker_properties(spec, broker, addresses, "/data/1")
    assert properties["default.replication.factor"] == "3"
    assert properties["min.insync.replicas"] == "2"
    assert properties["listeners"] == "PLAINTEXT://127.0.0.1:1001,CONTROLLER://127.0.0.1:2000"
    assert properties["log.flush.interval.messages"] == "1"
    assert "broker.rack" not in properties


def test_fsync_durability_flushes_before_every_ack_and_a_brokers_own_config_hides_the_clusters() -> None:
    spec = spec_of(
        "durability: fsync\nconfigs: {num.partitions: 4}\n"
        "brokers:\n  - {id: 1, port: 9092, controller_port: 9093, rack: a, configs: {num.partitions: 7}}\n"
    )
    properties = broker_properties(spec, spec.brokers[0], {1: Address("::1", 9092, 9093)}, "/d")
    assert properties["log.flush.interval.messages"] == "1"
    assert properties["num.partitions"] == "7"
    assert properties["broker.rack"] == "a"
    assert properties["controller.quorum.voters"] == "1@[::1]:9093"
    assert properties["offsets.topic.replication.factor"] == "1"


def test_records_are_synced_before_they_count_unless_the_file_leaves_that_to_the_operating_system() -> None:
    """docs/decisions/0007-records-are-synced-before-they-count.md"""

    def flushes(text: str) -> str | None:
        spec = spec_of(text)
        addresses = {1: Address("127.0.0.1", 9092, 9093)}
        return broker_properties(spec, spec.brokers[0], addresses, "/d").get("log.flush.interval.messages")

    assert flushes("brokers:\n  - {id: 1}\n") == "1"
    assert flushes("durability: page-cache\nbrokers:\n  - {id: 1}\n") is None
    assert flushes("brokers:\n  - {id: 1, configs: {log.flush.interval.messages: 1000}}\n") == "1000"
    sample = (ROOT / "sample_cluster.yaml").read_text()
    assert spec_of(sample).durability == "fsync"


def test_the_quorum_has_an_odd_number_of_voters_up_to_five() -> None:
    assert [len(voter_ids(spec_of(brokers(count)))) for count in (1, 2, 3, 4, 5, 6, 9)] == [1, 2, 3, 3, 5, 5, 5]


def test_all_mistakes_come_at_once_in_the_order_of_the_file() -> None:
    found = mistakes(
        "durabilty: fsync\n"
        "configs:\n"
        "  num.partition: 3\n"
        "  log.segment.bytes: big\n"
        "  node.id: 3\n"
        "brokers:\n"
        "  - id: one\n"
        "    prot: 9092\n"
        "  - {id: 2, port: 70000}\n"
        "  - {id: 2, port: 9092}\n"
        "  - {id: 3, port: 9092, host: 127.0.0.1}\n"
        "topics:\n"
        "  - {name: a/b, partitions: 0}\n"
        "  - {name: x, replication_factor: 5}\n"
        "  - {name: x}\n"
        "  - {name: y.z, configs: {retention.msec: 5}}\n"
        "  - {name: y_z, configs: {retention.ms: -5}}\n"
        "workload:\n"
        "  producers:\n"
        "    - {name: p, topic: x, rate: fast, value: '{nope}'}\n"
    )
    places = [(line, column) for line, column, *_ in found]
    assert places == [
        (1, 1),
        (3, 3),
        (4, 22),
        (5, 3),
        (7, 9),
        (8, 5),
        (9, 19),
        (10, 10),
        (11, 19),
        (13, 12),
        (13, 29),
        (14, 35),
        (15, 12),
        (16, 27),
        (17, 12),
        (17, 41),
        (20, 33),
        (20, 46),
    ]
    text = [f"{message} / {remedy}" for _, _, message, remedy in found]
    assert text[0] == "unknown key 'durabilty' in the cluster file / did you mean 'durability'?"
    assert text[1] == "unknown broker config 'num.partition' / did you mean num.partitions?"
    assert "Not a number of type INT" in text[2]
    assert text[3] == "node.id is set by the supervisor / use the broker's `id`"
    assert text[4] == "'id' of a broker is a whole number, not 'one' / write a whole number here"
    assert text[5] == "unknown key 'prot' in a broker / did you mean 'port'?"
    assert text[6] == "'port' of a broker is 70000 / give a number from 0 to 65535 or auto"
    assert text[7] == "id 2 is taken by the broker in line 9 / give another id"
    assert text[8] == "port 9092 of 127.0.0.1 is taken in line 10 / give another port, or auto"
    assert "no legal topic name" in text[9]
    assert text[11] == "replication_factor of x is 5, and there are 4 brokers / give at most 4, or add brokers"
    assert text[12] == "topic x stands twice / keep one of them"
    assert text[13] == "unknown topic config 'retention.msec' / did you mean retention.ms?"
    assert text[14] == "topic names y_z and y.z collide / let them differ in more than '.' and '_'"
    assert "unknown placeholder {nope}" in text[17]


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("", 1, "the file is empty"),
        ("brokers: []\n", 1, "at least one broker"),
        ("brokers: 3\n", 1, "'brokers' of the cluster file is a list, not '3'"),
        ("- 1\n", 1, "the cluster file is a mapping, not a list"),
        ("brokers:\n  - {id: 1\nx: y\n", 3, "this is no YAML"),
        ("brokers:\n  - 1\n", 2, "a broker is a mapping, not '1'"),
        ("brokers:\n  - {host: h}\n", 2, "a broker has no 'id'"),
        ("durability: maybe\nbrokers:\n  - {id: 1}\n", 1, "'durability' of the cluster file cannot be 'maybe'"),
        ("durability: fsync\ndurability: fsync\nbrokers:\n  - {id: 1}\n", 2, "'durability' stands twice"),
        ("configs: {default.replication.factor: 3}\nbrokers:\n  - {id: 1}\n", 1, "and there is 1 broker"),
        ("configs: {replica.fetch.wait.max.ms: 40000}\nbrokers:\n  - {id: 1}\n", 3, "replica.socket.timeout.ms should"),
        ("brokers:\n  - {id: 1}\ntopics:\n  - {partitions: 3}\n", 4, "a topic has no 'name'"),
        (
            "brokers:\n  - {id: 1}\nworkload: {start: maybe}\n",
            3,
            "'start' of 'workload' of the cluster file is true or",
        ),
        ("brokers:\n  - {id: 1}\nworkload: {groups: [{name: g}]}\n", 3, "a group has no 'topics'"),
        ("brokers:\n  - {id: 1}\ntopics: [{name: __consumer_offsets}]\n", 3, "is an internal topic"),
    ],
)
def test_a_mistake_is_placed_and_named(text: str, line: int, expected: str) -> None:
    found = mistakes(text)
    assert any(expected in message and at == line for at, _, message, _ in found), found
    assert all(remedy for *_, remedy in found)


def test_a_config_that_kafka_has_and_kconsole_does_not_honour_is_a_warning() -> None:
    _, warnings = parse_cluster_spec("configs:\n  ssl.keystore.location: /k\n" + brokers(1))
    assert [(w.line, w.column) for w in warnings] == [(2, 3)]
    assert "does not honour" in warnings[0].message


def test_more_in_sync_replicas_than_replicas_is_a_warning() -> None:
    _, warnings = parse_cluster_spec(
        "configs: {min.insync.replicas: 2}\n" + brokers(3) + "topics: [{name: t, replication_factor: 1}]\n"
    )
    assert "every acks=all will be refused" in warnings[0].remedy


def test_errors_read_like_a_compilers() -> None:
    with pytest.raises(SpecErrors) as caught:
        parse_cluster_spec("brokers:\n  - {id: 1, prot: 1}\n")
    assert caught.value.in_file("c.yaml") == "c.yaml:2:13: unknown key 'prot' in a broker; did you mean 'port'?"


def test_a_properties_file_escapes_backslashes() -> None:
    text = properties_text({"log.dirs": "C:\\data", "node.id": "1"}, "written by kconsole")
    assert text == "# written by kconsole\nlog.dirs=C:\\\\data\nnode.id=1\n"


def test_zookeeper_is_embedded_or_somebody_elses_and_its_brokers_name_it() -> None:
    spec = spec_of("coordination: zookeeper\n" + brokers(3))
    assert spec.zookeeper == (1, "") and voter_ids(spec) == []
    assert spec_of("coordination: zookeeper\nzookeeper: embedded\n" + brokers(1)).zookeeper == (1, "")
    assert spec_of("coordination: zookeeper\nzookeeper: {servers: 3}\n" + brokers(1)).zookeeper == (3, "")
    addresses = {each.broker_id: Address("127.0.0.1", 1000 + each.broker_id, 2000) for each in spec.brokers}
    properties = broker_properties(spec, spec.brokers[1], addresses, "/data/2", "127.0.0.1:2181/kafka")
    assert properties["broker.id"] == "2" and properties["zookeeper.connect"] == "127.0.0.1:2181/kafka"
    assert properties["zookeeper.session.timeout.ms"] == "6000"
    assert properties["listeners"] == "PLAINTEXT://127.0.0.1:1002,CONTROLLER://127.0.0.1:2000"
    # With the very file Kafka 3.9 can take the broker over.
    assert properties["control.plane.listener.name"] == "CONTROLLER"
    assert properties["advertised.listeners"] == properties["listeners"]
    of_a_quorum = {"node.id", "process.roles", "controller.quorum.voters", "controller.listener.names"}
    assert not of_a_quorum & properties.keys()
    theirs = spec_of(
        "coordination: zookeeper\nzookeeper.connect: a:1,b:2/k\nconfigs: {zookeeper.set.acl: false}\n" + brokers(1)
    )
    assert theirs.zookeeper == (0, "a:1,b:2/k")
    properties = broker_properties(theirs, theirs.brokers[0], addresses, "/data/1", "a:1,b:2/k")
    # Who runs ZooKeeper knows how long its sessions are to be.
    assert "zookeeper.session.timeout.ms" not in properties and properties["zookeeper.set.acl"] == "false"


def test_the_sample_file_for_zookeeper_is_right() -> None:
    text = (ROOT / "docs" / "zookeeper_cluster.yaml").read_text()
    assert spec_of(text).zookeeper == (3, "")
    # What it shows as the other way works, too.
    other = text.replace("\nzookeeper: {servers: 3}", "").replace("# zookeeper.connect:", "zookeeper.connect:")
    assert spec_of(other).zookeeper == (0, "127.0.0.1:2181/kafka")


def test_workers_of_connect_are_there_if_the_file_says_so() -> None:
    assert spec_of(brokers(1)).connect is None
    assert spec_of("connect: false\n" + brokers(1)).connect is None
    assert spec_of("connect: true\n" + brokers(1)).connect == ConnectSpec(1, {})
    found = spec_of("connect:\n  workers: 2\n  configs: {group.id: etl, offset.flush.interval.ms: 500}\n" + brokers(1))
    assert found.connect == ConnectSpec(2, {"group.id": "etl", "offset.flush.interval.ms": "500"})
    ((line, _, message, remedy),) = mistakes("connect: 2\n" + brokers(1))
    assert (line, message) == (1, "connect is true, false or a mapping, not '2'") and "{workers: 2}" in remedy
    ((_, _, message, _),) = mistakes("connect: {workers: 0}\n" + brokers(1))
    assert "workers" in message
    ((_, _, message, _),) = mistakes("connect: {configs: {listeners: x}}\n" + brokers(1))
    assert message == "listeners is the supervisor's to say"


def test_a_registry_is_there_if_the_file_says_so() -> None:
    assert spec_of(brokers(1)).registry is None
    assert spec_of("registry: false\n" + brokers(1)).registry is None
    for said in ("true", "embedded", "{port: auto}", "{}"):
        found = spec_of(f"registry: {said}\n" + brokers(1)).registry
        assert found is not None and found.port == AUTO_PORT
    found = spec_of("registry:\n  port: 8081\n" + brokers(1)).registry
    assert found == (8081, (2, 9))
    ((line, _, message, remedy),) = mistakes("registry: here\n" + brokers(1))
    assert (line, message) == (1, "registry is true, false or a mapping, not 'here'") and "{port: 8081}" in remedy
    ((_, _, message, _),) = mistakes("registry: {prot: 1}\n" + brokers(1))
    assert "'prot'" in message


def test_what_is_wrong_about_zookeeper_is_told_with_line_and_remedy() -> None:
    def said(text: str) -> list[str]:
        return [f"{line}: {message}; {remedy}" for line, _, message, remedy in mistakes(text + brokers(1))]

    (only,) = said("zookeeper: embedded\n")
    assert only.startswith("1: zookeeper is of clusters that ZooKeeper coordinates") and "add `coordination" in only
    (only,) = said("coordination: kraft\nzookeeper.connect: a:1\n")
    assert only.startswith("2: zookeeper.connect is of clusters") and "is kraft" in only
    (only,) = said("configs: {zookeeper.session.timeout.ms: 9000}\n")
    assert "zookeeper.session.timeout.ms is of clusters that ZooKeeper coordinates" in only
    (only,) = said("coordination: zookeper\n")
    assert only == "1: 'coordination' of the cluster file cannot be 'zookeper'; did you mean 'zookeeper'?"
    on = "coordination: zookeeper\n"
    (only,) = said(on + "zookeeper: {servers: 2}\n")
    assert only.startswith("2: an embedded ensemble has 1 or 3 servers, not 2")
    (only,) = said(on + "zookeeper: three\n")
    assert only.startswith("2: zookeeper is embedded or a mapping, not 'three'; write `zookeeper: embedded`")
    (only,) = said(on + "zookeeper: embedded\nzookeeper.connect: a:1\n")
    assert only.endswith("keep one of them")
    (only,) = said(on + "zookeeper.connect: a:1/kafka,b:1\n")
    assert only.startswith("2: zookeeper.connect: ") and "127.0.0.1:2181/kafka" in only
    (only,) = said(on + "configs: {zookeeper.connect: a:1}\n")
    assert "is set by the supervisor" in only
