"""A running embedded cluster moves to Apache Kafka's brokers, replica by replica, under a producer and a group."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from tests.integration.apache_kafka import apache_kafka
from tests.integration.conftest import Cluster, start_cluster, stop_cluster
from tests.integration.java_tools import KAFKA_LIBS
from tests.integration.raw_client import wait_until
from tests.integration.test_broker_moves import Sending, read_all, replicas_by_broker

# Two of Kafka's brokers are enough for two replicas, both of which must have what is acknowledged.
SPEC = """
brokers:
  - {id: 1, host: 127.0.0.1, port: auto}
  - {id: 2, host: 127.0.0.1, port: auto}
  - {id: 3, host: 127.0.0.1, port: auto}
configs:
  group.initial.rebalance.delay.ms: 0
  offsets.topic.num.partitions: 4
  offsets.topic.replication.factor: 2
  default.replication.factor: 2
  min.insync.replicas: 2
topics:
  - {name: orders, partitions: 6}
"""
EMBEDDED, KAFKAS = (1, 2, 3), (11, 12)


def joined(cluster: Cluster, node_id: int, directory: Path) -> tuple[Path, str]:
    """What a broker of Apache Kafka starts with, its directory formatted by Kafka's own tool; where it will listen."""
    answer = json.loads(
        cluster.cli("join-kafka", str(directory / f"kafka-{node_id}"), "--id", str(node_id), "--json").stdout
    )
    format_it = answer["commands"][0].split()[1:]
    tool = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{KAFKA_LIBS}/*", "kafka.tools.StorageTool"]
    subprocess.run([*tool, *format_it], check=True, capture_output=True)
    return Path(answer["properties"]), answer["address"]


def leaders(bootstrap: str) -> set[int]:
    topics = AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=10).topics.values()
    return {partition.leader for topic in topics for partition in topic.partitions.values()}


def commit(bootstrap: str, offset: int) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "ledger", "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition("orders", 0, offset)], asynchronous=False)
    consumer.close()


def committed(bootstrap: str) -> int:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "ledger"})
    (found,) = consumer.committed([TopicPartition("orders", 0)], timeout=20)
    consumer.close()
    return int(found.offset)


def create_and_delete(bootstrap: str) -> None:
    """A topic, by the way over a broker of Kafka: it asks our controller in an envelope."""
    client = AdminClient({"bootstrap.servers": bootstrap})
    client.create_topics([NewTopic("made", 3)])["made"].result(20)
    client.create_partitions([NewPartitions("made", 5)])["made"].result(20)
    wait_until("five partitions", lambda: len(client.list_topics("made").topics["made"].partitions) == 5)
    client.delete_topics(["made"])["made"].result(20)


def test_kafkas_brokers_join_take_everything_over_and_nothing_is_lost(tmp_path: Path) -> None:
    cluster = start_cluster(tmp_path, SPEC)
    files, addresses = zip(*(joined(cluster, each, tmp_path) for each in KAFKAS), strict=True)
    with Sending(cluster.bootstrap) as sending:
        commit(cluster.bootstrap, 42)
        with apache_kafka(files, addresses, tmp_path):
            everyone = ",".join([cluster.bootstrap, *addresses])
            client = AdminClient({"bootstrap.servers": everyone})
            wait_until(
                "all five are in the metadata",
                lambda: sorted(client.list_topics(timeout=10).brokers) == [*EMBEDDED, *KAFKAS],
                60,
            )
            # Some replicas first, and each side follows the other's leaders.
            cluster.cli("rebalance", "--yes")
            assert set(replicas_by_broker(cluster)) == {*EMBEDDED, *KAFKAS}
            assert leaders(everyone) & {*KAFKAS} and leaders(everyone) & {*EMBEDDED}
            before = len(sending.acknowledged)
            wait_until("the producer goes on", lambda: len(sending.acknowledged) > before + 100)

            cluster.cli("drain", *map(str, EMBEDDED), "--yes")
            assert set(replicas_by_broker(cluster)) == {*KAFKAS}
            assert leaders(everyone) == {*KAFKAS}
            before = len(sending.acknowledged)
            wait_until("the producer goes on", lambda: len(sending.acknowledged) > before + 100)
            sending.stop()
            assert not sending.failed
            of_kafka = ",".join(addresses)
            create_and_delete(of_kafka)
            assert committed(of_kafka) == 42
            commit(of_kafka, 43)
            assert committed(of_kafka) == 43
            assert sending.missing_in(read_all(of_kafka)) == []
    stop_cluster(cluster)
