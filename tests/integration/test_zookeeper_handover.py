"""From a ZooKeeper-mode Apache Kafka 3.9.1 to kconsole on the same chroot, directories and listeners, and back.

Each of the two finds everything as the other left it, changes it, and stops. What is compared: all that a Java client
sees (``java/Picture.java``), what Kafka's tools say, and what Kafka's own classes read of the znodes
(``java/ZooKeeperPicture.java``). `make zookeeper-handover`: a minute each.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from bench.clusters import free_port
from tests.integration import record_zookeeper_trees as recorded
from tests.integration import test_graduation as graduation
from tests.integration.apache_kafka import KafkaBroker
from tests.integration.conftest import KCONSOLE, start_cluster, stop_cluster
from tests.integration.java_tools import kafka_tool
from tests.integration.raw_client import wait_until
from tests.integration.zookeeper_kafka import KAFKA_3_LIBS, ZooKeeperKafka, read_by_kafka, tree_of
from tests.integration.zookeeper_server import zookeeper

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif("KCONSOLE_ZOOKEEPER_HANDOVER" not in os.environ, reason="`make zookeeper-handover` runs it"),
]

# What both are started with. Kafka has a SASL listener besides, which kconsole does not serve.
OF_BOTH = """
listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{control}
control.plane.listener.name=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT
inter.broker.listener.name=PLAINTEXT
min.insync.replicas=1
"""
OF_KAFKA = r"""
listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{control},SASL_PLAINTEXT://127.0.0.1:{sasl}
sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=\
  org.apache.kafka.common.security.scram.ScramLoginModule required;
"""
_KINDS = ("topics", "brokers", "users", "clients", "ips")
# Which of the lines that Kafka's classes read off the znodes tell what the cluster holds.
_LASTING = ("cluster ", "topic ", "replicas ", "config ", "acl ", "producer ids ", "to be ", "feature ")


def is_led(bootstrap: str, connect: str) -> bool:
    """Whether each broker knows all of them, and of every topic a leader for each partition."""
    paths = [each["path"].split("/") for each in tree_of(connect)]
    topics = {path[3] for path in paths if path[1:3] == ["brokers", "topics"] and len(path) > 3}
    addresses = bootstrap.split(",")
    for address in addresses:
        metadata = AdminClient({"bootstrap.servers": address}).list_topics(timeout=20)
        partitions = [each for topic in metadata.topics.values() for each in topic.partitions.values()]
        if len(metadata.brokers) != len(addresses) or set(metadata.topics) != topics:
            return False
        if any(each.leader < 0 for each in partitions):
            return False
    return True


class Cluster:
    """Brokers 1 and 2, run by one or by the other."""

    def __init__(self, directory: Path, servers: str) -> None:
        self.directory = directory
        self.connect = f"{servers}/deep/kafka"
        self.kafka = ZooKeeperKafka(directory, self.connect, brokers=2)
        self.bootstrap = self.kafka.bootstrap
        self.sasl = {each: free_port() for each in self.kafka.ports}
        for broker_id, plain in self.kafka.ports.items():
            file, control = self.kafka.properties(broker_id), free_port()
            ports = {"plain": plain, "control": control, "sasl": self.sasl[broker_id]}
            common = file.read_text() + OF_BOTH.format(**ports)
            self.of_kconsole(broker_id).write_text(common)
            file.write_text(common + OF_KAFKA.format(**ports))

    def of_kconsole(self, broker_id: int) -> Path:
        return self.directory / f"kconsole-{broker_id}.properties"

    @contextmanager
    def run_by(self, who: str) -> Iterator[None]:
        """All brokers, whole, until the end."""
        with self._kafka() if who == "Kafka" else self._kconsole():
            wait_until(f"all is led under {who}", lambda: is_led(self.bootstrap, self.connect), 60)
            yield

    @contextmanager
    def _kafka(self) -> Iterator[None]:
        try:
            self.kafka.start()
            yield
            self.kafka.stop()
        finally:
            self.kafka.kill_all()

    @contextmanager
    def _kconsole(self) -> Iterator[None]:
        processes = []
        try:
            for broker_id in self.kafka.ports:
                with (self.directory / f"kconsole-{broker_id}.log").open("wb") as log:
                    command = [str(KCONSOLE), "broker", "--properties", str(self.of_kconsole(broker_id))]
                    processes.append(subprocess.Popen(command, stdout=log, stderr=log))
            for broker_id, process in zip(self.kafka.ports, processes, strict=True):
                file = self.directory / f"kconsole-{broker_id}.log"

                def serves(process: subprocess.Popen[bytes] = process, file: Path = file) -> bool:
                    assert process.poll() is None, file.read_text()[-3000:]
                    return "serves clients" in file.read_text()

                wait_until(f"broker {broker_id} serves clients", serves)
            yield
            for process in processes:
                process.terminate()
            assert [process.wait(60) for process in processes] == [0, 0]
        finally:
            for process in processes:
                process.kill()
                process.wait()

    # -- what it holds ------------------------------------------------------------------------------------------

    def everything(self) -> dict[str, list[str]]:
        return {"client": graduation.picture(self.bootstrap), "tools": self._told(), "znodes": self.znodes()}

    def _told(self) -> list[str]:
        server = ("--bootstrap-server", self.bootstrap)
        shown = [kafka_tool(graduation.CONFIGS, *server, "--describe", "--entity-type", kind) for kind in _KINDS]
        of_both = ("--entity-type", "users", "--entity-type", "clients")
        shown.append(kafka_tool(graduation.CONFIGS, *server, "--describe", *of_both))
        shown.append(kafka_tool(graduation.ACLS, *server, "--list"))
        shown.append(
            kafka_tool("org.apache.kafka.tools.reassign.ReassignPartitionsCommand", *server, "--list").strip("\n")
        )
        return sorted({line.strip() for each in shown for line in each.splitlines() if line.strip()})

    def znodes(self) -> list[str]:
        return [line for line in read_by_kafka(self.connect) if line.startswith(_LASTING)]


def assert_same(before: dict[str, list[str]], after: dict[str, list[str]]) -> None:
    for what, lines in before.items():
        gone, came = sorted(set(lines) - set(after[what])), sorted(set(after[what]) - set(lines))
        assert not gone and not came, f"{what}: gone: {gone[:10]}\ncame: {came[:10]}"


def alter(bootstrap: str, *words: str) -> None:
    kafka_tool(graduation.CONFIGS, "--bootstrap-server", bootstrap, "--alter", *words)


def begin(cluster: Cluster) -> None:
    """Something of every kind in a new cluster."""
    bootstrap = cluster.bootstrap
    graduation.create_topics(bootstrap, replication_factor=2)
    made = [
        NewTopic("orders", 3, replica_assignment=[[2, 1], [1, 2], [2, 1]]),
        NewTopic("alone", 1, replica_assignment=[[1]]),
        NewTopic("grown", 2, 2),
        NewTopic("with.dots_and-dashes", 1, 2, config={"min.insync.replicas": "2"}),
        NewTopic("held", 2, replica_assignment=[[1], [1]]),
    ]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics(made).values():
        future.result(30)
    recorded.set_configs(bootstrap)
    recorded.make_acls(bootstrap)
    everybody = ("--allow-principal", "User:*", "--operation", "Read", "--topic", "*")
    kafka_tool(graduation.ACLS, "--bootstrap-server", bootstrap, "--remove", "--force", *everybody)
    graduation.fill(bootstrap, 0, 150)
    graduation.set_config(bootstrap, "plain", "compression.type", "zstd")
    graduation.commit(bootstrap, "billing", 17)
    graduation.consume(bootstrap, "readers", "zstded")
    graduation.delete_records(bootstrap, TopicPartition("snappied", 1, 7))
    graduation.transact(bootstrap, 7)
    graduation.leave_open(bootstrap)
    producer = Producer({"bootstrap.servers": bootstrap})
    # So much that it is not there after the bit that a throttled follower may fetch when it starts.
    for number in range(1600):
        producer.produce("held", b"%d" % number + bytes(10_000), None, number % 2)
    assert producer.flush(30) == 0
    recorded.hold_a_reassignment(cluster.directory, bootstrap)


def change(cluster: Cluster, who: str, number: int) -> None:
    """Everything becomes a little different; the first time (``number`` is 1) and the second."""
    bootstrap, admin = cluster.bootstrap, AdminClient({"bootstrap.servers": cluster.bootstrap})

    def alter(*words: str) -> None:
        kafka_tool(graduation.CONFIGS, "--bootstrap-server", bootstrap, "--alter", *words)

    def acls(*words: str) -> None:
        kafka_tool(graduation.ACLS, "--bootstrap-server", bootstrap, *words)

    graduation.end_open(bootstrap, b"ended by %s" % who.encode())
    graduation.fill(bootstrap, number * 200, 60)
    graduation.transact(bootstrap, 7 + number)
    graduation.commit(bootstrap, "billing", 17 + number)
    graduation.delete_records(bootstrap, TopicPartition("snappied", 0, 12 + number))
    made = f"by-{who}"
    admin.create_topics([NewTopic(made, 2, 2, config={"retention.ms": "123456789"})])[made].result(30)
    admin.create_partitions([NewPartitions("grown", 2 + number)])["grown"].result(30)
    gone = ("alone", "gzipped")[number - 1]
    admin.delete_topics([gone])[gone].result(30)
    alter("--entity-type", "topics", "--entity-name", "orders", "--add-config", f"retention.bytes={number}00000")
    alter("--entity-type", "users", "--entity-name", f"by {who}", "--add-config", "producer_byte_rate=1000")
    taken_back = ("request_percentage", "consumer_byte_rate")[number - 1]
    alter("--entity-type", "users", "--entity-default", "--delete-config", taken_back)
    address = ("--entity-type", "ips", "--entity-name", "127.0.0.9")
    alter(*address, "--add-config", f"connection_creation_rate={number}00")
    mechanism = ("SCRAM-SHA-512", "SCRAM-SHA-256")[number - 1]
    alter("--entity-type", "users", "--entity-name", "alice", "--delete-config", mechanism)
    alter("--entity-type", "users", "--entity-name", "carol", "--add-config", f"{mechanism}=[password=carol pass]")
    acls("--add", "--allow-principal", "User:carol", "--operation", "Read", "--topic", made)
    removed = [("--deny-principal", "User:bob", "--deny-host", "10.1.2.3", "--operation", "Write", "--topic", "orders")]
    removed += [("--allow-principal", "User:alice", "--operation", "Alter", "--cluster")]
    acls("--remove", "--force", *removed[number - 1])
    graduation.leave_open(bootstrap)


def topics_of_alice(cluster: Cluster) -> set[str]:
    """What Kafka shows her, whose password and rights are what it found in ZooKeeper."""
    options = {
        "bootstrap.servers": f"127.0.0.1:{cluster.sasl[1]}",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "alice",
        "sasl.password": "alice pass",
    }
    return set(AdminClient(options).list_topics(timeout=20).topics)


@pytest.mark.parametrize(("first", "second"), [("Kafka", "kconsole"), ("kconsole", "Kafka")])
def test_each_finds_everything_as_the_other_left_it(first: str, second: str, tmp_path: Path) -> None:
    with zookeeper(tmp_path) as ensemble:
        cluster = Cluster(tmp_path, ensemble.connect)
        with cluster.run_by(first):
            begin(cluster)
            left = cluster.everything()
            assert len(left["client"]) > 1500 and len(left["tools"]) > 60 and len(left["znodes"]) > 80
        with cluster.run_by(second):
            assert_same(left, cluster.everything())
            if second == "Kafka":
                assert topics_of_alice(cluster) == {"orders"}
            change(cluster, second, 1)
            left = cluster.everything()
        with cluster.run_by(first):
            assert_same(left, cluster.everything())
            change(cluster, first, 2)
            left = cluster.everything()
        with cluster.run_by(second):
            assert_same(left, cluster.everything())


UP = """
coordination: zookeeper
zookeeper.connect: {connect}/up
brokers: [{{id: 1}}, {{id: 2}}, {{id: 3}}]
configs:
  group.initial.rebalance.delay.ms: 0
  offsets.topic.num.partitions: 4
  transaction.state.log.num.partitions: 3
"""


def test_kafka_starts_with_the_files_that_kconsole_up_wrote(tmp_path: Path) -> None:
    with zookeeper(tmp_path / "zookeeper") as ensemble:
        cluster = start_cluster(tmp_path, UP.format(connect=ensemble.connect))
        bootstrap = cluster.bootstrap
        graduation.create_topics(bootstrap)
        graduation.fill(bootstrap, 0, 100)
        graduation.commit(bootstrap, "billing", 7)
        graduation.transact(bootstrap, 7)
        left = graduation.picture(bootstrap)
        stop_cluster(cluster)

        files = {each: tmp_path / f"data/broker-{each}/server.properties" for each in (1, 2, 3)}
        brokers = [KafkaBroker(file, tmp_path / f"kafka-{each}.log", KAFKA_3_LIBS) for each, file in files.items()]
        try:
            for broker, address in zip(brokers, bootstrap.split(","), strict=True):
                broker.wait_until_it_listens(address)
            wait_until("all is led under Kafka", lambda: is_led(bootstrap, f"{ensemble.connect}/up"), 60)
            graduation.assert_same(left, graduation.picture(bootstrap), at_least=500)
            graduation.fill(bootstrap, 100, 50)
            graduation.transact(bootstrap, 9)
            left = graduation.picture(bootstrap)
            for broker in brokers:
                broker.process.terminate()
            assert {broker.process.wait(60) for broker in brokers} <= {0, 143}
        finally:
            for broker in brokers:
                broker.kill()

        back = graduation.start_again(tmp_path)
        graduation.assert_same(left, graduation.picture(bootstrap), at_least=500)
        stop_cluster(back)
