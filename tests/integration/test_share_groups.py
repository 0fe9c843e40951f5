"""Share groups (KIP-932) with Kafka's own Java consumer, over three real brokers: what it is given, and given again."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from conftest import KAFKA_LIBS, SPEC, Cluster, start_cluster, stop_cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

# As quick as the bounds allow: a member hears of a new target at its next heartbeat only.
QUICK = """\
  group.share.min.heartbeat.interval.ms: 100
  group.share.heartbeat.interval.ms: 200
  group.share.min.session.timeout.ms: 1000
  group.share.session.timeout.ms: 6000
  group.share.assignment.interval.ms: 0
  group.share.min.record.lock.duration.ms: 1000
  group.share.record.lock.duration.ms: 1000
  share.coordinator.state.topic.num.partitions: 3
"""


class SharingConsumers:
    """A JVM with share consumers by name; see ``java/Sharing.java``."""

    def __init__(self, bootstrap: str) -> None:
        options = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{KAFKA_LIBS}/*"]
        source = Path(__file__).with_name("java") / "Sharing.java"
        self.process = subprocess.Popen(
            ["java", *options, str(source), bootstrap],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, *words: object) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer and not answer.startswith("error"), f"{words}: {answer}"
        return answer

    def poll(self, name: str, timeout_s: float = 30) -> dict[int, int]:
        """Records by their number, with how often each was delivered: of the first poll that brings some."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            records = self.ask("poll", name, 500).split()[1:]
            if records:
                return {int(value): int(count) for value, count in (each.split(":") for each in records)}
        raise AssertionError(f"{name} got nothing within {timeout_s} s")

    def settle(self, name: str, kind: str, *values: int) -> str:
        """Acknowledge and commit; what became of it."""
        for value in values:
            assert self.ask("ack", name, kind, value, value) == "acked 1"
        return self.ask("commit", name)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for this module, the broker that it kills included."""
    running = start_cluster(tmp_path_factory.mktemp("share-groups"), SPEC + QUICK)
    yield running
    stop_cluster(running)


@pytest.fixture(scope="module")
def consumers(cluster: Cluster) -> Iterator[SharingConsumers]:
    running = SharingConsumers(cluster.bootstrap)
    yield running
    running.close()


def new_topic_and_group(cluster: Cluster, consumers: SharingConsumers, records: int) -> tuple[str, str]:
    """A topic of one partition with records 0, 1, 2 … and a group that reads it from its start."""
    topic, group = f"shared-{uuid.uuid4().hex[:8]}", f"g-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    admin.create_topics([NewTopic(topic, 1, 3)])[topic].result(20)
    consumers.ask("earliest", group)
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all"})
    for number in range(records):
        producer.produce(topic, str(number))
    assert producer.flush(30) == 0
    return topic, group


def leader_of(cluster: Cluster, topic: str) -> int:
    metadata = AdminClient({"bootstrap.servers": cluster.bootstrap}).list_topics(topic, 20)
    return int(metadata.topics[topic].partitions[0].leader)


def test_released_and_timed_out_records_are_given_again(cluster: Cluster, consumers: SharingConsumers) -> None:
    topic, group = new_topic_and_group(cluster, consumers, 10)
    consumers.ask("open", "a", group, topic)
    assert consumers.poll("a") == dict.fromkeys(range(10), 1)
    for value in range(5):
        consumers.ask("ack", "a", "accept", value, value)
    for value in (8, 9):
        consumers.ask("ack", "a", "reject", value, value)
    assert consumers.settle("a", "release", 5, 6, 7) == "committed 0=ok"
    assert consumers.poll("a") == {5: 2, 6: 2, 7: 2}, "what was accepted and rejected does not come again"
    # Another member waits until the lock of the first one has run out.
    consumers.ask("open", "b", group, topic)
    assert consumers.poll("b") == {5: 3, 6: 3, 7: 3}
    assert consumers.settle("a", "accept", 5, 6, 7) == "committed 0=InvalidRecordStateException"
    assert consumers.settle("b", "accept", 5, 6, 7) == "committed 0=ok"
    assert consumers.ask("describe", group) == "group Stable 2"
    consumers.ask("close", "a")
    consumers.ask("close", "b")


def test_what_was_acknowledged_survives_the_leader(cluster: Cluster, consumers: SharingConsumers) -> None:
    topic, group = new_topic_and_group(cluster, consumers, 6)
    consumers.ask("open", "c", group, topic)
    assert consumers.poll("c") == dict.fromkeys(range(6), 1)
    for value in (0, 1, 4):
        consumers.ask("ack", "c", "accept", value, value)
    assert consumers.settle("c", "release", 2, 3, 5) == "committed 0=ok"
    # The leader, and the coordinator of a third of all share partitions and groups.
    cluster.cli("kill", str(leader_of(cluster, topic)))
    given = consumers.poll("c")
    assert given.keys() == {2, 3, 5}
    assert min(given.values()) >= 2, "how often they were given is known to the next leader"
    for value in (2, 3):
        consumers.ask("ack", "c", "accept", value, value)
    # Java's client calls it UnknownServerException when a connection is lost under an acknowledgement, too: Kafka's
    # Errors.forException knows no DisconnectException. Brokers say COORDINATOR_NOT_AVAILABLE or NOT_LEADER_OR_FOLLOWER.
    told = consumers.settle("c", "accept", 5)
    print(f"told after the leader was killed: {told}")
    assert told in ("committed 0=ok", "committed 0=UnknownServerException"), told
    consumers.ask("close", "c")
