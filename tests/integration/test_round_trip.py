"""100,000 records through each compression and each acks: written by librdkafka and read by Java, and the reverse."""

from __future__ import annotations

import hashlib
import struct
import subprocess
import time
import uuid

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from conftest import KAFKA_LIBS, ROOT, Cluster

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

COUNT = 100_000
COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
ACKS = ("0", "1", "all")
# An hour ago: explicit timestamps, but not so old that retention (7 days) may remove the records while the test runs.
BASE_TIMESTAMP = int(time.time() * 1000) - 3_600_000


def record(number: int) -> tuple[int, int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]:
    """Partition, timestamp, key, value and headers of record ``number``: the same as in java/Peer.java."""
    key = None if number % 7 == 0 else b"key-%d" % number
    value = None if number % 11 == 0 else b"value-%d-" % number + b"x" * (number % 50)
    headers: list[tuple[str, bytes | None]] = []
    if number % 3 == 0:
        headers.append(("n", b"%d" % number))
    if number % 6 == 0:
        headers.append(("null", None))
    return number % 3, BASE_TIMESTAMP + number, key, value, headers


def put(digest: object, data: bytes | None) -> None:
    digest.update(struct.pack(">i", -1 if data is None else len(data)))  # type: ignore[attr-defined]
    if data is not None:
        digest.update(data)  # type: ignore[attr-defined]


def add(
    digest: object,
    partition: int,
    offset: int,
    timestamp: int,
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, bytes | None]],
) -> None:
    digest.update(struct.pack(">iqq", partition, offset, timestamp))  # type: ignore[attr-defined]
    put(digest, key)
    put(digest, value)
    digest.update(struct.pack(">i", len(headers)))  # type: ignore[attr-defined]
    for name, content in headers:
        put(digest, name.encode())
        put(digest, content)


def expected_digest() -> str:
    """What every topic must read back as: each partition's records in order, offsets dense from 0."""
    digest = hashlib.sha256()
    for partition in range(3):
        for offset, number in enumerate(range(partition, COUNT, 3)):
            _, timestamp, key, value, headers = record(number)
            add(digest, partition, offset, timestamp, key, value, headers)
    return digest.hexdigest()


def java(*arguments: str) -> str:
    assert KAFKA_LIBS.is_dir(), f"{KAFKA_LIBS} is missing: run `make jars`"
    done = subprocess.run(
        ["java", "-Xmx512m", "-cp", f"{KAFKA_LIBS}/*", str(ROOT / "tests/integration/java/Peer.java"), *arguments],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write_by_librdkafka(cluster: Cluster, topic: str, compression: str, acks: str) -> None:
    producer = Producer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "compression.type": compression,
            "acks": acks,
            "linger.ms": 5,
            "queue.buffering.max.messages": 200_000,
            **({"enable.idempotence": True} if acks == "all" else {"max.in.flight": 1}),
        }
    )
    for number in range(COUNT):
        partition, timestamp, key, value, headers = record(number)
        producer.produce(topic, value, key, partition, timestamp=timestamp, headers=headers)
        if number % 1000 == 0:
            producer.poll(0)
    assert producer.flush(60) == 0


def read_by_librdkafka(cluster: Cluster, topic: str) -> tuple[int, str]:
    consumer = Consumer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "group.id": "unused",
            "enable.partition.eof": False,
            "enable.auto.commit": False,
        }
    )
    digest = hashlib.sha256()
    count = 0
    for partition in range(3):
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), 10)
        consumer.assign([TopicPartition(topic, partition, 0)])
        position = 0
        while position < end:
            messages = consumer.consume(min(5000, end - position), 10)
            assert messages, f"silence at {position} of {end} in {topic}-{partition}"
            for message in messages:
                assert message.error() is None, message.error()
                add(
                    digest,
                    partition,
                    message.offset(),
                    message.timestamp()[1],
                    message.key(),
                    message.value(),
                    message.headers() or [],
                )
                position = message.offset() + 1
                count += 1
    consumer.close()
    return count, digest.hexdigest()


@pytest.fixture(scope="module")
def topics(cluster: Cluster) -> dict[tuple[str, str, str], str]:
    """A topic for each writer, compression and acks, all written."""
    suffix = uuid.uuid4().hex[:6]
    names = {
        (writer, compression, acks): f"round-trip-{writer}-{compression}-{acks}-{suffix}"
        for writer in ("librdkafka", "java")
        for compression in COMPRESSIONS
        for acks in ACKS
    }
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    for future in admin.create_topics([NewTopic(name, 3, 3) for name in names.values()]).values():
        future.result(30)
    jobs = []
    for (writer, compression, acks), name in names.items():
        if writer == "java":
            jobs.append(f"{name}:{compression}:{acks}")
        else:
            write_by_librdkafka(cluster, name, compression, acks)
    java("write", cluster.bootstrap, str(COUNT), str(BASE_TIMESTAMP), *jobs)
    return names


def test_what_librdkafka_wrote_java_reads_identically(
    cluster: Cluster, topics: dict[tuple[str, str, str], str]
) -> None:
    names = [name for (writer, _, _), name in topics.items() if writer == "librdkafka"]
    lines = java("read", cluster.bootstrap, *names).splitlines()
    assert lines == [f"{name} {COUNT} {expected_digest()}" for name in names]


def test_what_java_wrote_librdkafka_reads_identically(
    cluster: Cluster, topics: dict[tuple[str, str, str], str]
) -> None:
    expected = (COUNT, expected_digest())
    names = [name for (writer, _, _), name in topics.items() if writer == "java"]
    assert {name: read_by_librdkafka(cluster, name) for name in names} == dict.fromkeys(names, expected)
