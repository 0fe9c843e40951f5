"""The consumer group protocol (KIP-848) with clients that others wrote, over three real brokers."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from conftest import SPEC, Cluster, kafka_tool, start_cluster, stop_cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

# As quick as the bounds allow: a member hears of a new target at its next heartbeat only.
QUICK = """\
  group.consumer.min.heartbeat.interval.ms: 100
  group.consumer.heartbeat.interval.ms: 200
  group.consumer.min.session.timeout.ms: 1000
  group.consumer.session.timeout.ms: 6000
  group.consumer.assignment.interval.ms: 0
"""
GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
CONSOLE_CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
PARTITIONS = 6


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for this module, the broker that it kills included."""
    running = start_cluster(tmp_path_factory.mktemp("consumer-protocol"), SPEC + QUICK)
    yield running
    stop_cluster(running)


def new_name(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def create_topic(cluster: Cluster, name: str, partitions: int = PARTITIONS) -> None:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    admin.create_topics([NewTopic(name, partitions, 3)])[name].result(20)


def produce(cluster: Cluster, topic: str, first: int, count: int) -> None:
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "linger.ms": 5, "acks": "all"})
    for number in range(first, first + count):
        producer.produce(topic, str(number), key=str(number))
    assert producer.flush(30) == 0


class Member:
    """A librdkafka consumer of the consumer protocol (or of the classic one), and what it has read."""

    def __init__(self, cluster: Cluster, group: str, *topics: str, **config: Any) -> None:
        settings = {
            "bootstrap.servers": cluster.bootstrap,
            "group.id": group,
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **{name.replace("_", "."): value for name, value in config.items()},
        }
        if settings["group.protocol"] == "classic":
            settings |= {"session.timeout.ms": 6000, "heartbeat.interval.ms": 200}
        self.consumer = Consumer(settings, logger=_Silent())
        self.values: list[int] = []
        self.revoked: list[int] = []
        """How many partitions it had to give up, each time that it had to."""
        self.consumer.subscribe(list(topics), on_revoke=lambda _, partitions: self.revoked.append(len(partitions)))

    def poll(self) -> None:
        """Read what there is, commit it."""
        messages = self.consumer.consume(500, 0.05)
        read = []
        for message in messages:
            if message.error() is None:
                read.append(int(message.value()))
            else:
                assert message.error().retriable() or message.error().code() in _TRANSIENT, message.error()
        if read:
            self.values += read
            try:
                self.consumer.commit(asynchronous=False)
            except Exception as error:
                # A rebalance came between: what was read comes again, to whoever has the partition now.
                assert "epoch" in str(error).lower() or "rebalance" in str(error).lower(), error

    @property
    def owned(self) -> set[tuple[str, int]]:
        return {(each.topic, each.partition) for each in self.consumer.assignment()}

    def close(self) -> None:
        self.consumer.close()


class _Silent:
    """librdkafka tells of every broker that was killed."""

    def log(self, *arguments: object) -> None:
        pass


_TRANSIENT = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError.UNKNOWN_TOPIC_OR_PART)


def until(what: str, members: list[Member], holds: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s; {[each.owned for each in members]}"
        for each in members:
            each.poll()


def balanced(members: list[Member], topic: str) -> bool:
    """Every partition has one owner, and all have as many."""
    owned = [each.owned for each in members]
    everything = [each for part in owned for each in part]
    sizes = [len(part) for part in owned]
    return sorted(everything) == [(topic, number) for number in range(PARTITIONS)] and max(sizes) - min(sizes) <= 1


def row(text: str, first: str) -> list[str]:
    """The fields of the first line that begins so."""
    return next(line.split() for line in text.splitlines() if line.startswith(first))


def test_java_and_librdkafka_share_a_group_and_the_tools_describe_it(cluster: Cluster) -> None:
    topic, group = new_name("shared"), new_name("g")
    create_topic(cluster, topic)
    produce(cluster, topic, 0, 300)
    one, two = Member(cluster, group, topic), Member(cluster, group, topic)
    members = [one, two]
    until("all is read", members, lambda: len({*one.values, *two.values}) == 300)
    until("the group is balanced", members, lambda: balanced(members, topic))
    assert sorted(one.values + two.values) == list(range(300)), "nothing twice"
    state = row(
        kafka_tool(GROUPS, "--bootstrap-server", cluster.bootstrap, "--describe", "--group", group, "--state"), group
    )
    assert state[-3:] == ["uniform", "Stable", "2"]
    told = kafka_tool(
        GROUPS, "--bootstrap-server", cluster.bootstrap, "--describe", "--group", group, "--members", "--verbose"
    )
    epochs = [line.split()[-4:-3] + line.split()[-2:-1] for line in told.splitlines() if line.startswith(group)]
    assert len(epochs) == 2 and all(current == target for current, target in epochs), told
    told = kafka_tool(GROUPS, "--bootstrap-server", cluster.bootstrap, "--describe", "--group", group)
    lags = [line.split()[5] for line in told.splitlines() if line.startswith(group)]
    assert lags == ["0"] * PARTITIONS, told
    for each in members:
        each.close()
    # The Java consumer goes on where librdkafka's committed.
    produce(cluster, topic, 300, 50)
    out = kafka_tool(
        CONSOLE_CONSUMER, "--bootstrap-server", cluster.bootstrap, "--topic", topic, "--group", group,
        "--command-property", "group.protocol=consumer", "--max-messages", "50", "--timeout-ms", "30000",
    )  # fmt: skip
    assert sorted(map(int, out.split())) == list(range(300, 350))
    listed = kafka_tool(GROUPS, "--bootstrap-server", cluster.bootstrap, "--list", "--type", "consumer", "--state")
    assert row(listed, group)[1:] == ["Consumer", "Empty"]
    told = kafka_tool(GROUPS, "--bootstrap-server", cluster.bootstrap, "--delete", "--group", group)
    assert "successful" in told


def test_a_group_reads_on_when_its_coordinator_is_killed(cluster: Cluster) -> None:
    topic, group = new_name("killed"), new_name("g")
    create_topic(cluster, topic)
    members = [Member(cluster, group, topic) for _ in range(3)]
    produce(cluster, topic, 0, 200)
    until("the group is balanced", members, lambda: balanced(members, topic))
    state = row(
        kafka_tool(GROUPS, "--bootstrap-server", cluster.bootstrap, "--describe", "--group", group, "--state"), group
    )
    coordinator = int(state[2].strip("()"))
    cluster.cli("kill", str(coordinator))
    produce(cluster, topic, 200, 200)

    def read() -> set[int]:
        return {value for each in members for value in each.values}

    until("all is read", members, lambda: read() == set(range(400)))
    cluster.cli("start", str(coordinator), check=False)
    until("the group is balanced", members, lambda: balanced(members, topic))
    for each in members:
        each.close()
    cluster.wait_for("the broker is back", lambda: all(each["state"] == "running" for each in cluster.status()))


def test_members_of_both_protocols_share_a_group_on_its_way_up_and_down(cluster: Cluster) -> None:
    topic, group = new_name("mixed"), new_name("g")
    create_topic(cluster, topic)
    produce(cluster, topic, 0, 100)

    def kind() -> str:
        listed = kafka_tool(GROUPS, "--bootstrap-server", cluster.bootstrap, "--list", "--type", "--state")
        return row(listed, group)[1]

    classic = [
        Member(cluster, group, topic, group_protocol="classic", partition_assignment_strategy="range") for _ in range(2)
    ]
    until("the classic group is balanced", classic, lambda: balanced(classic, topic))
    assert kind() == "Classic"
    new = Member(cluster, group, topic)
    members = [*classic, new]
    until("the mixed group is balanced", members, lambda: balanced(members, topic))
    assert kind() == "Consumer"
    produce(cluster, topic, 100, 100)
    until("all is read", members, lambda: {value for each in members for value in each.values} == set(range(200)))
    new.close()
    until("the classic group is balanced again", classic, lambda: balanced(classic, topic))
    assert kind() == "Classic"
    for each in classic:
        each.close()


def test_a_cooperative_rebalance_takes_only_what_another_gets(cluster: Cluster) -> None:
    """The classic protocol with KIP-429's assignor: who stays reads on from what it keeps."""
    topic, group = new_name("cooperative"), new_name("g")
    create_topic(cluster, topic)
    cooperative = {"group_protocol": "classic", "partition_assignment_strategy": "cooperative-sticky"}
    one = Member(cluster, group, topic, **cooperative)
    until("the first has all", [one], lambda: len(one.owned) == PARTITIONS)
    two = Member(cluster, group, topic, **cooperative)
    until("both share", [one, two], lambda: balanced([one, two], topic))
    assert one.revoked == [PARTITIONS // 2], "it gave up half, at once, and nothing else"
    two.close()
    until("the first has all again", [one], lambda: len(one.owned) == PARTITIONS)
    assert one.revoked == [PARTITIONS // 2], "what it had it kept"
    one.close()


def test_a_static_member_comes_back_to_its_partitions(cluster: Cluster) -> None:
    topic, group = new_name("static"), new_name("g")
    create_topic(cluster, topic)
    one, two = (Member(cluster, group, topic, group_instance_id=f"i-{number}") for number in range(2))
    until("the group is balanced", [one, two], lambda: balanced([one, two], topic))
    before, stays = one.owned, two.owned
    one.close()
    for _ in range(20):
        two.poll()
    assert two.owned == stays, "its place is kept"
    one = Member(cluster, group, topic, group_instance_id="i-0")
    until("it is back", [one, two], lambda: one.owned == before)
    assert two.owned == stays
    one.close()
    two.close()


def test_a_regular_expression_finds_topics_that_come_later(cluster: Cluster) -> None:
    prefix, group = new_name("regex"), new_name("g")
    create_topic(cluster, f"{prefix}-a", 2)
    create_topic(cluster, f"other-{prefix}-a", 2)
    member = Member(cluster, group, f"^{prefix}-.*")
    until("the first topic is there", [member], lambda: {name for name, _ in member.owned} == {f"{prefix}-a"})
    create_topic(cluster, f"{prefix}-b", 2)
    until("the second one too", [member], lambda: {name for name, _ in member.owned} == {f"{prefix}-a", f"{prefix}-b"})
    member.close()
