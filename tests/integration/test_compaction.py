"""Compacted topics and deleted records, with librdkafka's clients against real brokers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from conftest import SPEC, Cluster, start_cluster, stop_cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

KEYS = 50
UPDATES = 6_000
# A segment ends after a tenth of a second, the cleaner looks ten times a second.
CONFIGS = """  log.cleaner.backoff.ms: 100
  log.cleaner.threads: 2
"""
TOPIC_CONFIGS = {
    "cleanup.policy": "compact",
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.01",
    "file.delete.delay.ms": "100",
}


@pytest.fixture(scope="module")
def cleaning_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Brokers that compact often."""
    running = start_cluster(tmp_path_factory.mktemp("compaction"), SPEC + CONFIGS)
    yield running
    stop_cluster(running)


def create(cluster: Cluster, name: str, configs: dict[str, str]) -> None:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    admin.create_topics([NewTopic(name, 1, 3, config=configs)])[name].result(20)


def read_all(cluster: Cluster, topic: str, offset: int = 0) -> list[tuple[int, bytes | None, bytes | None]]:
    """Offset, key and value of everything from an offset on."""
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "reader", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, 0, offset)])
    found: list[tuple[int, bytes | None, bytes | None]] = []
    while True:
        message = consumer.poll(20)
        assert message is not None
        error = message.error()
        if error is not None:
            assert error.code() == KafkaError._PARTITION_EOF, error
            break
        found.append((message.offset(), message.key(), message.value()))
    consumer.close()
    return found


def log_files(cluster: Cluster, topic: str) -> list[Path]:
    assert cluster.data_dir is not None
    return sorted(cluster.data_dir.rglob(f"{topic}-0/*.log"))


def test_updates_shrink_to_the_keys_while_they_are_written(cleaning_cluster: Cluster) -> None:
    cluster = cleaning_cluster
    create(cluster, "profiles", TOPIC_CONFIGS)
    producer = Producer(
        {"bootstrap.servers": cluster.bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 5}
    )
    told: dict[int, tuple[bytes, bytes | None]] = {}

    def on_delivery(error: KafkaError | None, message: object) -> None:
        assert error is None, error
        told[message.offset()] = (message.key(), message.value())  # type: ignore[attr-defined]

    for number in range(UPDATES):
        value = None if number % KEYS == 7 and number > UPDATES // 2 else b"update %d " % number + b"x" * 200
        producer.produce("profiles", key=b"key %d" % (number % KEYS), value=value, on_delivery=on_delivery)
        if number % 100 == 99:
            producer.poll(0)
            # Segments end, and are compacted while the next ones are written.
            time.sleep(0.05)
    producer.flush(30)
    assert len(told) == UPDATES
    last = {key: offset for offset, (key, _) in sorted(told.items())}
    latest = max(told)
    # One more segment, so that what was written last can be compacted as well.
    written_bytes = UPDATES * 220

    def is_small() -> bool:
        producer.produce("profiles", key=b"tick", value=b"", on_delivery=on_delivery)
        producer.flush(20)
        time.sleep(0.15)
        return (
            all(each.stat().st_size < written_bytes / 20 for each in log_files(cluster, "profiles"))
            and sum(each.stat().st_size for each in log_files(cluster, "profiles")) < 3 * written_bytes / 10
        )

    cluster.wait_for("the log is compacted at every broker", is_small, 60)
    found = read_all(cluster, "profiles")
    assert all(told[offset] == (key, value) for offset, key, value in found), "a record is not where it was written"
    kept = {offset: key for offset, key, _ in found}
    assert all(kept.get(offset) == key for key, offset in last.items() if key != b"tick"), "a last value is missing"
    assert len([offset for offset in kept if offset <= latest]) < UPDATES / 5
    # An offset in a gap: the next record that is there.
    gap = next(offset for offset in range(1, latest) if offset not in kept)
    first = read_all(cluster, "profiles", gap)[0]
    assert first[0] == min(offset for offset in kept if offset > gap)
    with pytest.raises(KafkaException) as refused:
        failures: list[KafkaError] = []
        producer.produce("profiles", value=b"no key", on_delivery=lambda error, _: failures.append(error))
        producer.flush(20)
        raise KafkaException(failures[0])
    assert refused.value.args[0].code() == KafkaError.INVALID_RECORD


def test_records_are_deleted_at_every_broker(cleaning_cluster: Cluster) -> None:
    cluster = cleaning_cluster
    create(cluster, "orders", {})
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all"})
    for number in range(100):
        producer.produce("orders", b"%d" % number)
    producer.flush(20)
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    deleted = admin.delete_records([TopicPartition("orders", 0, 40)])
    (result,) = [each.result(20) for each in deleted.values()]
    assert result.low_watermark == 40
    assert [value for _, _, value in read_all(cluster, "orders", 40)] == [b"%d" % each for each in range(40, 100)]
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "looks"})
    assert consumer.get_watermark_offsets(TopicPartition("orders", 0), timeout=20) == (40, 100)
    consumer.close()
    refused = admin.delete_records([TopicPartition("orders", 0, 101)])
    with pytest.raises(KafkaException) as caught:
        next(iter(refused.values())).result(20)
    assert caught.value.args[0].code() == KafkaError.OFFSET_OUT_OF_RANGE
