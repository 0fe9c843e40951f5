"""Clients that others wrote, each doing its ordinary work: topics, produce, consume, groups."""

from __future__ import annotations

import asyncio
import subprocess
import time
import uuid

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic, OffsetSpec
from conftest import Cluster, kafka_tool

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def new_name(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def create_topic(cluster: Cluster, name: str, partitions: int = 3, **config: str) -> None:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    admin.create_topics([NewTopic(name, partitions, 3, config=config)])[name].result(20)


def produce(cluster: Cluster, topic: str, values: list[bytes], **config: object) -> None:
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "linger.ms": 5, **config})
    errors: list[object] = []
    for number, value in enumerate(values):
        producer.produce(topic, value, key=str(number), on_delivery=lambda error, _: error and errors.append(error))
        producer.poll(0)
    assert producer.flush(30) == 0
    assert not errors


def consume(cluster: Cluster, topic: str, count: int, **config: object) -> list[bytes]:
    consumer = Consumer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "group.id": new_name("group"),
            "auto.offset.reset": "earliest",
            **config,
        }
    )
    consumer.subscribe([topic])
    values: list[bytes] = []
    while len(values) < count:
        messages = consumer.consume(min(1000, count - len(values)), 10)
        assert messages, f"{len(values)} of {count} records after 10 s of silence"
        for message in messages:
            assert message.error() is None, message.error()
            values.append(message.value())
    consumer.close()
    return values


def test_kcat_lists_produces_and_consumes(cluster: Cluster) -> None:
    topic = new_name("kcat")
    create_topic(cluster, topic)

    def kcat(*arguments: str, stdin: str | None = None) -> str:
        return subprocess.run(
            ["kcat", "-b", cluster.bootstrap, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout

    assert f'topic "{topic}" with 3 partitions' in kcat("-L")
    kcat("-P", "-t", topic, "-K", ":", "-z", "lz4", stdin="".join(f"k{n}:v{n}\n" for n in range(500)))
    lines = kcat("-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%k=%s\n").splitlines()
    assert sorted(lines) == sorted(f"k{n}=v{n}" for n in range(500))
    assert kcat("-Q", "-t", f"{topic}:0:-1").strip()


def test_confluent_kafka_produces_consumes_and_administers(cluster: Cluster) -> None:
    topic = new_name("confluent")
    create_topic(cluster, topic, 1)
    values = [f"value {number}".encode() for number in range(2000)]
    produce(cluster, topic, values, **{"enable.idempotence": True})
    assert consume(cluster, topic, 2000) == values
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    assert len(admin.list_topics(timeout=10).brokers) == 3
    described = admin.describe_cluster().result(10)
    assert len(described.nodes) == 3 and described.cluster_id
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(20)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    assert admin.describe_configs([resource])[resource].result(10)["cleanup.policy"].value == "delete"
    latest = admin.list_offsets({TopicPartition(topic, 0): OffsetSpec.latest()})[TopicPartition(topic, 0)].result(10)
    assert latest.offset == 2000
    admin.delete_topics([topic])[topic].result(20)


def test_confluent_kafka_seeks_back_and_forward_and_commits(cluster: Cluster) -> None:
    topic, group = new_name("seek"), new_name("group")
    create_topic(cluster, topic, 1)
    produce(cluster, topic, [str(number).encode() for number in range(100)])
    config = {"bootstrap.servers": cluster.bootstrap, "group.id": group, "enable.auto.commit": False}
    consumer = Consumer(config)
    for start in (90, 10, 50):
        consumer.assign([TopicPartition(topic, 0, start)])
        message = consumer.poll(10)
        assert message is not None and message.error() is None
        assert message.value() == str(start).encode()
    consumer.commit(offsets=[TopicPartition(topic, 0, 42)], asynchronous=False)
    consumer.close()
    again = Consumer(config)
    assert again.committed([TopicPartition(topic, 0)], 10)[0].offset == 42
    again.close()


async def test_aiokafka_produces_and_consumes_in_a_group(cluster: Cluster) -> None:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    topic = new_name("aiokafka")
    await asyncio.to_thread(create_topic, cluster, topic)
    async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, enable_idempotence=True) as producer:
        for number in range(300):
            await producer.send(topic, str(number).encode(), headers=[("n", b"1")])
        await producer.flush()
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=cluster.bootstrap, group_id=new_name("group"), auto_offset_reset="earliest"
    ) as consumer:
        seen = []
        while len(seen) < 300:
            batch = await asyncio.wait_for(consumer.getmany(timeout_ms=5000), 20)
            seen += [int(record.value) for records in batch.values() for record in records]
        await consumer.commit()
    assert sorted(seen) == list(range(300))


def test_kafka_python_produces_consumes_and_describes(cluster: Cluster) -> None:
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

    topic = new_name("kafka-python")
    create_topic(cluster, topic)
    servers = cluster.bootstrap.split(",")
    producer = KafkaProducer(bootstrap_servers=servers)
    for number in range(300):
        producer.send(topic, str(number).encode(), key=b"k%d" % number)
    producer.flush(30)
    producer.close()
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=servers,
        group_id=new_name("group"),
        auto_offset_reset="earliest",
        consumer_timeout_ms=15000,
    )
    seen: list[int] = []
    for record in consumer:
        seen.append(int(record.value))
        if len(seen) == 300:
            break
    consumer.close()
    assert sorted(seen) == list(range(300))
    admin = KafkaAdminClient(bootstrap_servers=servers)
    assert topic in admin.list_topics()
    admin.close()


def test_javas_console_producer_and_consumer(cluster: Cluster) -> None:
    topic = new_name("java-console")
    create_topic(cluster, topic)
    kafka_tool(
        "org.apache.kafka.tools.ConsoleProducer",
        "--bootstrap-server",
        cluster.bootstrap,
        "--topic",
        topic,
        "--compression-codec",
        "zstd",
        stdin="".join(f"line {n}\n" for n in range(200)),
    )
    out = kafka_tool(
        "org.apache.kafka.tools.consumer.ConsoleConsumer",
        "--bootstrap-server",
        cluster.bootstrap,
        "--topic",
        topic,
        "--from-beginning",
        "--max-messages",
        "200",
        "--timeout-ms",
        "30000",
    )
    assert sorted(out.split("\n")[:-1]) == sorted(f"line {n}" for n in range(200))


def test_topic_command_creates_describes_alters_and_deletes(cluster: Cluster) -> None:
    topic = new_name("topic-command")
    tool = ("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", cluster.bootstrap)
    kafka_tool(
        *tool,
        "--create",
        "--topic",
        topic,
        "--partitions",
        "2",
        "--replication-factor",
        "3",
        "--config",
        "retention.ms=3600000",
    )
    kafka_tool(*tool, "--alter", "--topic", topic, "--partitions", "4")
    out = kafka_tool(*tool, "--describe", "--topic", topic)
    assert "PartitionCount: 4" in out and "ReplicationFactor: 3" in out and "retention.ms=3600000" in out
    assert topic in kafka_tool(*tool, "--list").split()
    kafka_tool(*tool, "--delete", "--topic", topic)
    assert topic not in kafka_tool(*tool, "--list").split()


def test_consumer_group_command_shows_and_resets_offsets(cluster: Cluster) -> None:
    topic, group = new_name("group-command"), new_name("group")
    create_topic(cluster, topic, 1)
    produce(cluster, topic, [b"x"] * 50)
    consume(cluster, topic, 50, **{"group.id": group})
    tool = ("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--bootstrap-server", cluster.bootstrap)
    assert group in kafka_tool(*tool, "--list").split()
    row = next(line for line in kafka_tool(*tool, "--describe", "--group", group).splitlines() if topic in line).split()
    assert row[3:6] == ["50", "50", "0"]
    kafka_tool(*tool, "--reset-offsets", "--group", group, "--topic", topic, "--to-offset", "20", "--execute")
    row = next(line for line in kafka_tool(*tool, "--describe", "--group", group).splitlines() if topic in line).split()
    assert row[3:6] == ["20", "50", "30"]
    kafka_tool(*tool, "--delete", "--group", group)
    assert group not in kafka_tool(*tool, "--list").split()


def test_get_offset_shell_and_config_command(cluster: Cluster) -> None:
    topic = new_name("offset-shell")
    create_topic(cluster, topic, 1)
    produce(cluster, topic, [b"x"] * 29)
    producer = Producer({"bootstrap.servers": cluster.bootstrap})
    producer.produce(topic, b"the latest", timestamp=int(time.time() * 1000) + 5000)
    assert producer.flush(30) == 0
    server = ("--bootstrap-server", cluster.bootstrap)
    for when, offset in (("-1", "30"), ("-2", "0"), ("-3", "29")):
        out = kafka_tool("org.apache.kafka.tools.GetOffsetShell", *server, "--topic", topic, "--time", when)
        assert out.strip() == f"{topic}:0:{offset}"
    entity = ("--entity-type", "topics", "--entity-name", topic)
    kafka_tool("kafka.admin.ConfigCommand", *server, *entity, "--alter", "--add-config", "retention.ms=7200000")
    assert "retention.ms=7200000" in kafka_tool("kafka.admin.ConfigCommand", *server, *entity, "--describe")
    kafka_tool("kafka.admin.ConfigCommand", *server, *entity, "--alter", "--delete-config", "retention.ms")
    assert "retention.ms=7200000" not in kafka_tool("kafka.admin.ConfigCommand", *server, *entity, "--describe")
    everything = kafka_tool(
        "kafka.admin.ConfigCommand", *server, "--entity-type", "brokers", "--entity-name", "1", "--describe", "--all"
    )
    assert "min.insync.replicas=2" in everything


def test_leader_election_and_metadata_quorum_commands(cluster: Cluster) -> None:
    topic = new_name("election")
    create_topic(cluster, topic)
    server = ("--bootstrap-server", cluster.bootstrap)
    kafka_tool(
        "org.apache.kafka.tools.LeaderElectionCommand",
        *server,
        "--election-type",
        "preferred",
        "--topic",
        topic,
        "--partition",
        "0",
    )
    status = kafka_tool("org.apache.kafka.tools.MetadataQuorumCommand", *server, "describe", "--status")
    assert "LeaderId:" in status and "HighWatermark:" in status
    replication = kafka_tool("org.apache.kafka.tools.MetadataQuorumCommand", *server, "describe", "--replication")
    assert sum(1 for line in replication.splitlines() if line.rstrip().endswith(("Leader", "Follower"))) == 3


def test_producer_performance_runs(cluster: Cluster) -> None:
    topic = new_name("perf")
    create_topic(cluster, topic)
    out = kafka_tool(
        "org.apache.kafka.tools.ProducerPerformance",
        "--topic",
        topic,
        "--num-records",
        "50000",
        "--record-size",
        "200",
        "--throughput",
        "-1",
        "--producer-props",
        f"bootstrap.servers={cluster.bootstrap}",
        "acks=all",
    )
    assert "50000 records sent" in out
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    latest = admin.list_offsets({TopicPartition(topic, number): OffsetSpec.latest() for number in range(3)})
    assert sum(future.result(10).offset for future in latest.values()) == 50000
