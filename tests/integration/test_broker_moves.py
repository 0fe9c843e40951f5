"""A broker joins a running cluster, gets its share, and leaves again, under a producer that loses nothing."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource

from tests.integration.conftest import KCONSOLE, SPEC, Cluster, start_cluster, stop_cluster

TOPICS = """
topics:
  - {name: orders, partitions: 6}
  - {name: ledger, partitions: 3}
"""


class Sending:
    """A producer that goes on sending until it is left; ``acknowledged`` has partitions, offsets and values."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True})
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.acknowledged: list[tuple[int, int | None, bytes]] = []
        self.failed: list[str] = []

    def __enter__(self) -> Sending:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Returns once all is acknowledged, or failed."""
        self._stop.set()
        self._thread.join()

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.failed.append(str(error))
            return
        partition, offset, value = message.partition(), message.offset(), message.value()
        assert partition is not None and isinstance(value, bytes)
        # librdkafka knows no offset of what it sent again to a new leader which had it already.
        self.acknowledged.append((partition, offset, value))

    def missing_in(self, found: dict[tuple[int, int], bytes]) -> list[bytes]:
        """What was acknowledged and is not there, or not at its offset."""
        there = {(partition, value) for (partition, _), value in found.items()}
        return [
            value
            for partition, offset, value in self.acknowledged
            if (partition, value) not in there or (offset is not None and found.get((partition, offset)) != value)
        ]

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(0.005):
            number += 1
            self._producer.produce(
                "orders", f"{number} {'x' * 500}", partition=number % 6, on_delivery=self._on_delivery
            )
            self._producer.poll(0)
        self._producer.flush(30)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    running = start_cluster(tmp_path, SPEC + TOPICS)
    yield running
    stop_cluster(running)


def replicas_by_broker(cluster: Cluster) -> dict[int, int]:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    held: dict[int, int] = {}
    for topic in admin.list_topics(timeout=10).topics.values():
        for partition in topic.partitions.values():
            for broker in partition.replicas:
                held[broker] = held.get(broker, 0) + 1
    return held


def throttles_of(cluster: Cluster) -> list[str]:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    asked = [ConfigResource(ConfigResource.Type.BROKER, "4"), ConfigResource(ConfigResource.Type.TOPIC, "orders")]
    found = [future.result(20) for future in admin.describe_configs(asked).values()]
    return [name for each in found for name, entry in each.items() if "throttled" in name and not entry.is_default]


def read_all(bootstrap: str) -> dict[tuple[int, int], bytes]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.partition.eof": True})
    consumer.assign([TopicPartition("orders", each, 0) for each in range(6)])
    found: dict[tuple[int, int], bytes] = {}
    ended: set[int] = set()
    while len(ended) < 6:
        message = consumer.poll(10)
        assert message is not None
        partition, offset, value = message.partition(), message.offset(), message.value()
        assert partition is not None and offset is not None
        if message.error() is not None:
            ended.add(partition)
        else:
            assert isinstance(value, bytes)
            found[partition, offset] = value
    consumer.close()
    return found


def test_a_broker_joins_takes_its_share_and_is_drained_under_load(cluster: Cluster) -> None:
    with Sending(cluster.bootstrap) as sending:
        added = json.loads(cluster.cli("add-broker", "--rack", "b", "--json").stdout)["brokers"]
        assert [(each["id"], each["state"]) for each in added] == [(4, "running")]

        # A broker that does not answer gets no replica in: what began is brought back.
        cluster.cli("pause", "4")
        silent = cluster.cli("rebalance", "--yes", check=False)
        assert silent.returncode == 1 and "broker 4 does not tell what it holds" in silent.stderr
        cluster.cli("resume", "4")

        balanced = cluster.cli("rebalance", "--yes").stdout
        assert "partitions are where they were to be" in balanced
        held = replicas_by_broker(cluster)
        assert 4 <= held[4] < held[1]
        assert json.loads(cluster.cli("moves", "--json").stdout) == {"moves": []}
        assert "nothing moves" in cluster.cli("moves", "--cancel").stdout

        # So slow that it can be watched, and brought back.
        slow = [str(KCONSOLE), "drain", "4", "--yes", "--throttle", "20k", "--data-dir", str(cluster.data_dir)]
        draining = subprocess.Popen(slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        moving = cluster.wait_for("a move", lambda: json.loads(cluster.cli("moves", "--json").stdout)["moves"])
        assert {each["topic"] for each in moving} >= {"orders"}
        assert all(each["copied_bytes"] < each["size_bytes"] for each in moving if each["topic"] == "orders")
        assert "cancelled" in cluster.cli("moves", "--cancel").stdout
        _, said = draining.communicate(timeout=30)
        assert draining.returncode == 1 and "were cancelled meanwhile" in said
        assert replicas_by_broker(cluster)[4] > 0
        assert throttles_of(cluster) == []

        refused = cluster.cli("drain", "1", "2", "--yes", check=False)
        assert refused.returncode == 1 and "3 replicas and only 2 brokers stay" in refused.stderr

        # One partition to chosen brokers, with a replica fewer.
        chosen = cluster.cli("reassign", "orders:0", "--to", "2,4", "--replicas", "2", "--yes").stdout
        assert "1 partitions are where they were to be" in chosen
        orders = (
            AdminClient({"bootstrap.servers": cluster.bootstrap}).list_topics("orders", timeout=10).topics["orders"]
        )
        assert sorted(orders.partitions[0].replicas) == [2, 4]

        drained = cluster.cli("drain", "4", "--remove", "--yes").stdout
        assert "broker 4 was removed" in drained
        assert sorted(replicas_by_broker(cluster)) == [1, 2, 3]
        assert [each["id"] for each in cluster.status()] == [1, 2, 3]
        voter = cluster.cli("drain", "3", "--remove", "--yes", check=False)
        assert voter.returncode == 1
    assert not sending.failed
    assert len(sending.acknowledged) > 100
    assert sending.missing_in(read_all(cluster.bootstrap)) == []


def test_an_added_broker_is_there_after_a_restart_of_the_cluster(tmp_path: Path) -> None:
    first = start_cluster(tmp_path, SPEC)
    first.cli("add-broker", "--id", "7")
    stop_cluster(first)
    again = start_cluster(tmp_path, SPEC, fresh=False)
    assert [each["id"] for each in again.status()] == [1, 2, 3, 7]
    refused = again.cli("add-broker", "--id", "7", check=False)
    assert refused.returncode == 1 and "there is a broker 7" in refused.stderr
    stop_cluster(again)
