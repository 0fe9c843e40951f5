"""``make record-zookeeper``: what a real Apache Kafka 3.9.1 keeps in ZooKeeper, into tests/golden/zookeeper.

The trees are those of two brokers that were given something of every kind (``alive``), of the same after broker 2 was
killed, with a topic whose deletion waits for it (``broker 2 dead``), and after both were stopped (``stopped``).
``described`` is what Kafka's own tools said of each while it ran.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from bench.clusters import free_port
from tests.integration.java_tools import ROOT, kafka_tool
from tests.integration.raw_client import wait_until
from tests.integration.zookeeper_kafka import ZooKeeperKafka, tree_of
from tests.integration.zookeeper_server import zookeeper

GOLDEN = ROOT / "tests" / "golden" / "zookeeper" / "kafka-3.9.1.json"
SECURED = r"""
listeners=PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{sasl}
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=\
  org.apache.kafka.common.security.scram.ScramLoginModule required;
delegation.token.secret.key=secret
"""
_CONFIGS = "kafka.admin.ConfigCommand"
# Names that Kafka writes otherwise in a znode's path: what is not a letter, digit, '.', '_' or '-' is %-encoded.
_ODD = "an odd/name:with %, * and ü"


def create_topics(admin: AdminClient) -> None:
    made = [
        NewTopic("orders", 3, replica_assignment=[[2, 1], [1, 2], [2, 1]]),
        NewTopic(
            "compacted",
            1,
            1,
            config={"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1", "retention.ms": "-1"},
        ),
        NewTopic("alone", 1, replica_assignment=[[1]]),
        NewTopic("grown", 2, 2),
        NewTopic("gone", 3, 2, config={"retention.ms": "60000"}),
        NewTopic("with.dots_and-dashes", 1, 2, config={"min.insync.replicas": "2"}),
        NewTopic("held", 2, replica_assignment=[[1], [1]]),
        NewTopic("waits-for-deletion", 1, 2),
    ]
    for future in admin.create_topics(made).values():
        future.result(30)
    admin.create_partitions([NewPartitions("grown", 4, [[2, 1], [1, 2]])])["grown"].result(30)
    admin.delete_topics(["gone"])["gone"].result(30)


def set_configs(bootstrap: str) -> None:
    def alter(*words: str) -> None:
        kafka_tool(_CONFIGS, "--bootstrap-server", bootstrap, "--alter", *words)

    alter(
        "--entity-type",
        "topics",
        "--entity-name",
        "orders",
        "--add-config",
        "retention.ms=86400000,segment.bytes=1048576",
    )
    alter("--entity-type", "topics", "--entity-name", "alone", "--add-config", "retention.ms=1000")
    alter("--entity-type", "topics", "--entity-name", "alone", "--delete-config", "retention.ms")
    alter("--entity-type", "brokers", "--entity-default", "--add-config", "log.retention.ms=172800000")
    alter(
        "--entity-type", "brokers", "--entity-name", "1", "--add-config", "log.cleaner.threads=2,max.connections=5000"
    )
    quota = "producer_byte_rate=1048576,consumer_byte_rate=2097152,request_percentage=50.5"
    for entity in (
        ("--entity-type", "users", "--entity-name", "alice"),
        ("--entity-type", "users", "--entity-name", _ODD),
        ("--entity-type", "users", "--entity-default"),
        ("--entity-type", "clients", "--entity-name", "reporting"),
        ("--entity-type", "clients", "--entity-name", _ODD),
        ("--entity-type", "clients", "--entity-default"),
        ("--entity-type", "users", "--entity-name", "alice", "--entity-type", "clients", "--entity-name", "reporting"),
        ("--entity-type", "users", "--entity-name", "alice", "--entity-type", "clients", "--entity-default"),
        ("--entity-type", "users", "--entity-default", "--entity-type", "clients", "--entity-name", "reporting"),
        ("--entity-type", "users", "--entity-default", "--entity-type", "clients", "--entity-default"),
    ):
        alter(*entity, "--add-config", quota)
    alter("--entity-type", "users", "--entity-name", "bob", "--add-config", "controller_mutation_rate=3")
    alter("--entity-type", "users", "--entity-name", "bob", "--delete-config", "controller_mutation_rate")
    alter("--entity-type", "ips", "--entity-name", "127.0.0.9", "--add-config", "connection_creation_rate=7")
    alter("--entity-type", "ips", "--entity-default", "--add-config", "connection_creation_rate=1000")
    for user in ("alice", _ODD):
        alter("--entity-type", "users", "--entity-name", user, "--add-config", f"SCRAM-SHA-256=[password={user} pass]")
    alter(
        *("--entity-type", "users", "--entity-name", "alice", "--add-config"),
        "SCRAM-SHA-512=[iterations=8192,password=alice pass]",
    )


def make_acls(bootstrap: str) -> None:
    def add(*words: str) -> None:
        kafka_tool("org.apache.kafka.tools.AclCommand", "--bootstrap-server", bootstrap, "--add", *words)

    add("--allow-principal", "User:alice", "--operation", "Read", "--operation", "Describe", "--topic", "orders")
    add("--deny-principal", "User:bob", "--deny-host", "10.1.2.3", "--operation", "Write", "--topic", "orders")
    add("--allow-principal", "User:*", "--operation", "Read", "--topic", "*")
    add(
        "--allow-principal",
        "User:CN=a,O=b",
        "--operation",
        "All",
        "--topic",
        "pre-",
        "--resource-pattern-type",
        "prefixed",
    )
    add(
        "--allow-principal",
        "User:alice",
        "--operation",
        "Read",
        "--group",
        "g.dot %",
        "--resource-pattern-type",
        "prefixed",
    )
    add("--allow-principal", "User:alice", "--operation", "Alter", "--cluster")
    add("--allow-principal", "User:alice", "--operation", "Write", "--transactional-id", "mover")
    add("--allow-principal", "User:alice", "--operation", "Describe", "--delegation-token", "token-1")
    add("--allow-principal", "User:alice", "--operation", "CreateTokens", "--user-principal", "User:bob")


def use(bootstrap: str) -> None:
    """Records of an idempotent and of a transactional producer, offsets of a group."""
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for number in range(60):
        producer.produce("orders", b"value %d" % number, b"key %d" % number, number % 3)
    for number in range(3000):
        producer.produce("held", bytes(1000), None, number % 2)
    assert producer.flush(30) == 0
    mover = Producer({"bootstrap.servers": bootstrap, "transactional.id": "mover"})
    mover.init_transactions(30)
    mover.begin_transaction()
    mover.produce("orders", b"moved", b"moved", 0)
    mover.commit_transaction(30)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "billing", "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition("orders", 0, 7, "seven")], asynchronous=False)
    consumer.close()


def make_token(directory: Path, sasl: str) -> None:
    client = directory / "alice.properties"
    client.write_text(
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-256\nsasl.jaas.config="
        "org.apache.kafka.common.security.scram.ScramLoginModule required "
        'username="alice" password="alice pass";\n'
    )
    kafka_tool(
        *("org.apache.kafka.tools.DelegationTokenCommand", "--bootstrap-server", sasl, "--command-config", str(client)),
        *("--create", "--max-life-time-period", "-1", "--renewer-principal", "User:bob"),
    )


def hold_a_reassignment(directory: Path, bootstrap: str) -> None:
    """Partition 0 of ``held`` goes from broker 1 to broker 2 at a byte a second; partition 1 gets broker 2 as well."""
    file = directory / "reassign.json"
    moves = [{"topic": "held", "partition": 0, "replicas": [2]}, {"topic": "held", "partition": 1, "replicas": [1, 2]}]
    file.write_text(json.dumps({"version": 1, "partitions": moves}))
    kafka_tool(
        *("org.apache.kafka.tools.reassign.ReassignPartitionsCommand", "--bootstrap-server", bootstrap),
        *("--reassignment-json-file", str(file), "--execute", "--throttle", "1"),
    )


def describe(bootstrap: str) -> dict[str, list[str]]:
    """What Kafka's tools say."""

    def lines(main_class: str, *words: str) -> list[str]:
        return kafka_tool(main_class, "--bootstrap-server", bootstrap, *words).splitlines()

    kinds = ("topics", "brokers", "users", "clients", "ips")
    return {
        "topics": lines("org.apache.kafka.tools.TopicCommand", "--describe"),
        **{f"configs of {kind}": lines(_CONFIGS, "--describe", "--entity-type", kind) for kind in kinds},
        "configs of users and clients": lines(
            _CONFIGS, "--describe", "--entity-type", "users", "--entity-type", "clients"
        ),
        "acls": lines("org.apache.kafka.tools.AclCommand", "--list"),
    }


def isr_of(admin: AdminClient, topic: str) -> list[list[int]]:
    return [each.isrs for each in admin.list_topics(topic, timeout=10).topics[topic].partitions.values()]


def record(directory: Path, kafka: ZooKeeperKafka, connect: str, sasl: str) -> dict[str, Any]:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    wait_until("both brokers are there", lambda: len(admin.list_topics(timeout=10).brokers) == 2)
    create_topics(admin)
    set_configs(kafka.bootstrap)
    make_acls(kafka.bootstrap)
    use(kafka.bootstrap)
    make_token(directory, sasl)
    hold_a_reassignment(directory, kafka.bootstrap)
    kafka_tool(
        *("org.apache.kafka.tools.LeaderElectionCommand", "--bootstrap-server", kafka.bootstrap),
        *("--election-type", "preferred", "--topic", "orders", "--partition", "0"),
    )
    found = {"alive": {"described": describe(kafka.bootstrap), "tree": tree_of(connect)}}
    kafka.kill(2)
    wait_until("broker 2 is out of the ISR", lambda: all(isr == [1] for isr in isr_of(admin, "orders")), 30)
    admin.delete_topics(["waits-for-deletion"])["waits-for-deletion"].result(30)
    survivor = kafka.bootstrap.split(",")[0]
    found["broker 2 dead"] = {"described": describe(survivor), "tree": tree_of(connect)}
    kafka.start(2)
    wait_until("the ISR is whole", lambda: all(sorted(isr) == [1, 2] for isr in isr_of(admin, "orders")), 30)
    return found


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="kconsole-trees-") as name, zookeeper(Path(name)) as ensemble:
        directory, connect = Path(name), f"{ensemble.connect}/kafka"
        kafka = ZooKeeperKafka(directory, connect, brokers=2)
        sasl = {each: free_port() for each in kafka.ports}
        for broker_id, port in kafka.ports.items():
            with kafka.properties(broker_id).open("a") as file:
                file.write(SECURED.format(plain=port, sasl=sasl[broker_id]))
        try:
            kafka.start()
            trees = record(directory, kafka, connect, f"127.0.0.1:{sasl[1]}")
            kafka.stop()
            trees["stopped"] = {"described": {}, "tree": tree_of(connect)}
        finally:
            kafka.kill_all()
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(json.dumps(trees, indent=1, ensure_ascii=False) + "\n")
    sizes = (f"{name}: {len(each['tree'])} znodes" for name, each in trees.items())
    sys.stdout.write(f"{GOLDEN}: {', '.join(sizes)}\n")


if __name__ == "__main__":
    main()
