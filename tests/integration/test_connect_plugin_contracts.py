"""What a worker promises connectors: transactions where they say, topics as wished, retries, pauses, rewinds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from engine.testing.cluster import KafkaCluster
from tests.integration.connect_workers import ConnectWorker, distributed, lines_of, standalone

PLUGINS = "tests.integration.connect_test_plugins"

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    configs = {"group.min.session.timeout.ms": "500", "group.initial.rebalance.delay.ms": "0"}
    with KafkaCluster(1, configs=configs) as made:
        yield made


def read(cluster: KafkaCluster, topic: str, count: int) -> list[Any]:
    """Messages of a topic: ``count``, or as many as there are within a second after the last."""
    consumer = Consumer(
        {
            "bootstrap.servers": cluster.bootstrap_servers,
            "group.id": "reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, each, 0) for each in partitions])
        found: list[Any] = []
        while message := consumer.poll(15 if len(found) < count else 1):
            assert message.error() is None, message.error()
            found.append(message)
        return found
    finally:
        consumer.close()


def test_a_connector_says_where_transactions_end_and_what_is_aborted(cluster: KafkaCluster, tmp_path: Path) -> None:
    configs = distributed(cluster.bootstrap_servers, "boundaries", exactly__once__source__support="enabled")
    worker = ConnectWorker(configs, tmp_path).start().ready()
    try:
        worker.create(
            "numbers",
            connector__class=f"{PLUGINS}.NumberSource",
            topic="numbers",
            exactly__once__support="required",
            transaction__boundary="connector",
            topic__creation__default__partitions="1",
            topic__creation__default__replication__factor="1",
            topic__creation__groups="wide",
            topic__creation__wide__include="num.*",
            topic__creation__wide__partitions="3",
            topic__creation__wide__retention__ms="1234567",
        )
        last = {"partition": {"numbers": "all"}, "offset": {"last": 99}}
        worker.until(
            lambda: worker.ask("GET", "/connectors/numbers/offsets")[1] == {"offsets": [last]}, 20, "no last offset"
        )
        committed = sorted(int(each.value()) for each in read(cluster, "numbers", 80))
        assert committed == [*range(40), *range(60, 100)]
        # The first group that a topic's name fits has it.
        assert cluster.topics()["numbers"] == 3
    finally:
        worker.end()


def test_a_sink_is_retried_rewound_paused_and_heard_about_bad_records(cluster: KafkaCluster, tmp_path: Path) -> None:
    cluster.create_topic("demands", partitions=1)
    producer = Producer({"bootstrap.servers": cluster.bootstrap_servers})
    for value in ("zero", "one", "two", "bad", "pause"):
        producer.produce("demands", value)
    producer.flush()
    told = tmp_path / "told.txt"
    worker = ConnectWorker(standalone(cluster.bootstrap_servers, tmp_path), tmp_path).start().ready()
    try:
        worker.create(
            "demanding",
            connector__class=f"{PLUGINS}.DemandingSink",
            file=str(told),
            topics="demands",
            errors__tolerance="all",
            errors__deadletterqueue__topic__name="demands-dlq",
            errors__deadletterqueue__topic__replication__factor="1",
            errors__deadletterqueue__context__headers__enable="true",
        )
        worker.until(lambda: lines_of(told).count("resume") == 2, 20, "it does not go on")
        producer.produce("demands", "last")
        producer.flush()
        worker.until(lambda: lines_of(told)[-1] == "take last", 10, "the last record does not come")
        assert lines_of(told) == [
            "open [0]",
            "resume",
            "refuse two",
            "refuse two",
            "take two",
            "take pause",
            "resume",
            "take last",
        ]
        (bad,) = read(cluster, "demands-dlq", 1)
        headers = {name.removeprefix("__connect.errors."): value.decode() for name, value in bad.headers()}
        assert bad.value() == b"bad"
        assert [headers[each] for each in ("offset", "stage", "class.name", "exception.message")] == [
            "3",
            "TASK_PUT",
            "org.apache.kafka.connect.sink.SinkTask",
            "the other system does not like it",
        ]
        # What the task held back is not committed.
        worker.until(
            lambda: (
                worker.ask("GET", "/connectors/demanding/offsets")[1]["offsets"]
                == [{"partition": {"kafka_topic": "demands", "kafka_partition": 0}, "offset": {"kafka_offset": 5}}]
            ),
            20,
            "other offsets than the task's",
        )
        assert worker.ask("PUT", "/connectors/demanding/stop")[0] == 204
        worker.until(lambda: lines_of(told)[-2:] == ["close [0]", "stop"], 10, "it is not closed")
        new = [{"partition": {"kafka_topic": "demands", "kafka_partition": 0}, "offset": {"kafka_offset": 1}}]
        assert worker.ask("PATCH", "/connectors/demanding/offsets", {"offsets": new})[0] == 200
        assert worker.ask("GET", "/connectors/demanding/offsets")[1] == {"offsets": new}
    finally:
        worker.end()
