"""Workers of Connect as processes: records go through, dead tasks are restarted, work moves, bad records are told."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from engine.testing.cluster import KafkaCluster
from tests.integration.connect_workers import ConnectWorker, distributed, lines_of, standalone

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    configs = {"group.min.session.timeout.ms": "500", "group.initial.rebalance.delay.ms": "0"}
    with KafkaCluster(1, configs=configs) as made:
        yield made


def test_lines_go_through_and_a_killed_task_fails_until_it_is_restarted(cluster: KafkaCluster, tmp_path: Path) -> None:
    source, sink = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text("".join(f"line {each}\n" for each in range(1000)))
    configs = standalone(cluster.bootstrap_servers, tmp_path, offset__flush__interval__ms="1000")
    worker = ConnectWorker(configs, tmp_path).start().ready()
    try:
        worker.create("source", connector__class="FileStreamSource", file=str(source), topic="standalone-lines")
        worker.create("sink", connector__class="FileStreamSink", file=str(sink), topics="standalone-lines")
        worker.until(lambda: len(lines_of(sink)) == 1000, 20, "the lines do not arrive")
        committed = {"partition": {"filename": str(source)}, "offset": {"position": source.stat().st_size}}
        worker.until(
            lambda: worker.ask("GET", "/connectors/source/offsets")[1] == {"offsets": [committed]}, 20, "no offset"
        )
        pids = worker.task_pids()
        assert len(pids) == 2
        for each in pids:
            os.kill(each, signal.SIGKILL)
        for name in ("source", "sink"):
            worker.until(lambda name=name: worker.states(name) == ["RUNNING", "FAILED"], 20, "nobody notices")  # type: ignore[misc]
        (task,) = worker.status("source")["tasks"]
        assert "SIGKILL" in task["trace"] and str(pids[0]) in task["trace"] + worker.status("sink")["tasks"][0]["trace"]
        with source.open("a") as file:
            file.writelines(f"more {each}\n" for each in range(500))
        for name in ("source", "sink"):
            status, _ = worker.ask("POST", f"/connectors/{name}/restart?includeTasks=true&onlyFailed=true")
            assert status == 202
        worker.until(lambda: len(set(lines_of(sink))) == 1500, 20, "the lines do not arrive after the restart")
        with source.open("a") as file:
            file.write("the last one\n")
        worker.until(lambda: lines_of(sink)[-1] == "the last one", 20, "the last line does not arrive")
        assert worker.stop() == 0
        # It was stopped in order: the offset is the last one, whether or not one was due.
        again = ConnectWorker(standalone(cluster.bootstrap_servers, tmp_path), tmp_path, "again").start().ready()
        try:
            again.create("source", connector__class="FileStreamSource", file=str(source), topic="standalone-lines")
            _, answer = again.ask("GET", "/connectors/source/offsets")
            assert answer["offsets"][0]["offset"] == {"position": source.stat().st_size}
        finally:
            again.end()
    finally:
        worker.end()


def test_the_work_of_a_killed_worker_moves_and_goes_on_at_its_offsets(cluster: KafkaCluster, tmp_path: Path) -> None:
    cluster.create_topic("moving-lines", partitions=3)
    source, sink = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text("".join(f"line {each}\n" for each in range(500)))
    configs = distributed(cluster.bootstrap_servers, "moving")
    workers = [ConnectWorker(configs, tmp_path, f"worker-{each}").start() for each in range(3)]
    try:
        for each in workers:
            each.ready()
        # Any worker may be asked: others forward to the leader.
        workers[1].create(
            "sink", connector__class="FileStreamSink", file=str(sink), topics="moving-lines", tasks__max="3"
        )
        workers[2].create("source", connector__class="FileStreamSource", file=str(source), topic="moving-lines")
        workers[0].until(
            lambda: workers[0].states("sink") == ["RUNNING"] * 4 and workers[0].states("source") == ["RUNNING"] * 2,
            20,
            "the tasks do not start",
        )
        workers[0].until(lambda: len(lines_of(sink)) == 500, 20, "the lines do not arrive")
        owners = {each["worker_id"] for each in workers[0].status("sink")["tasks"]}
        assert len(owners) > 1, "the tasks are not shared"
        (task,) = workers[0].status("source")["tasks"]
        victim = next(each for each in workers if each.worker_id == task["worker_id"])
        left = next(each for each in workers if each is not victim)
        committed = {"partition": {"filename": str(source)}, "offset": {"position": source.stat().st_size}}
        left.until(
            lambda: left.ask("GET", "/connectors/source/offsets")[1] == {"offsets": [committed]}, 20, "no offset"
        )
        pids = victim.task_pids()
        victim.kill()
        left.until(lambda: not any(Path(f"/proc/{each}").exists() for each in pids), 20, "tasks outlive their worker")
        with source.open("a") as file:
            file.writelines(f"more {each}\n" for each in range(500))

        def moved() -> bool:
            found = [*left.status("source")["tasks"], *left.status("sink")["tasks"]]
            return all(each["state"] == "RUNNING" and each["worker_id"] != victim.worker_id for each in found)

        left.until(moved, 15, "the work does not move")
        left.until(lambda: len(set(lines_of(sink))) == 1000, 20, "the lines do not arrive")
        # The source went on behind its last offset: no line is read again.
        assert _count(cluster, "moving-lines") == 1000
        for each in workers:
            if each is not victim:
                assert each.stop() == 0
    finally:
        for each in workers:
            each.end()


@pytest.mark.kafka_cluster(
    brokers=1, configs={"group.min.session.timeout.ms": "500", "group.initial.rebalance.delay.ms": "0"}
)
def test_a_worker_without_its_coordinator_stops_its_tasks_until_it_is_back(
    fresh_kafka_cluster: KafkaCluster, tmp_path: Path
) -> None:
    cluster = fresh_kafka_cluster
    source, sink = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text("one\n")
    worker = ConnectWorker(distributed(cluster.bootstrap_servers, "lonely"), tmp_path).start().ready()
    try:
        worker.create("source", connector__class="FileStreamSource", file=str(source), topic="lonely-lines")
        worker.create("sink", connector__class="FileStreamSink", file=str(sink), topics="lonely-lines")
        worker.until(lambda: lines_of(sink) == ["one"], 20, "the line does not arrive")
        cluster.kill(1)
        # Who might have them by now, this worker cannot know.
        worker.until(lambda: not worker.task_pids(), 15, "its tasks go on")
        cluster.start(1)
        with source.open("a") as file:
            file.write("two\n")
        worker.until(lambda: lines_of(sink)[-1] == "two", 30, "it does not come back")
    finally:
        worker.end()


def test_a_record_that_cannot_be_read_goes_to_the_dead_letter_queue_with_its_reason(
    cluster: KafkaCluster, tmp_path: Path
) -> None:
    cluster.create_topic("poisoned")
    producer = Producer({"bootstrap.servers": cluster.bootstrap_servers})
    for value in (b'"first"', b"{no json", b'"last"'):
        producer.produce("poisoned", value, b"key", headers=[("trace", b"7")])
    producer.flush()
    sink = tmp_path / "out.txt"
    worker = ConnectWorker(standalone(cluster.bootstrap_servers, tmp_path), tmp_path).start().ready()
    try:
        worker.create(
            "picky",
            connector__class="FileStreamSink",
            file=str(sink),
            topics="poisoned",
            value__converter="org.apache.kafka.connect.json.JsonConverter",
            value__converter__schemas__enable="false",
            errors__tolerance="all",
            errors__deadletterqueue__topic__name="poisoned-dlq",
            errors__deadletterqueue__topic__replication__factor="1",
            errors__deadletterqueue__context__headers__enable="true",
        )
        worker.until(lambda: lines_of(sink) == ["first", "last"], 20, "the good records do not arrive")
        message = _first(cluster, "poisoned-dlq")
        assert (message.key(), message.value()) == (b"key", b"{no json")
        headers = dict(message.headers())
        # Kafka's names in Kafka's order, behind those that the record had.
        prefix = "__connect.errors."
        assert list(headers) == ["trace"] + [
            prefix + each
            for each in (
                "topic",
                "partition",
                "offset",
                "connector.name",
                "task.id",
                "stage",
                "class.name",
                "exception.class.name",
                "exception.message",
                "exception.stacktrace",
            )
        ]
        told = {name.removeprefix(prefix): value.decode() for name, value in headers.items()}
        assert told["trace"] == "7"
        assert [told[each] for each in ("topic", "partition", "offset")] == ["poisoned", "0", "1"]
        assert [told[each] for each in ("connector.name", "task.id", "stage")] == ["picky", "0", "VALUE_CONVERTER"]
        assert told["class.name"] == "org.apache.kafka.connect.json.JsonConverter"
        assert told["exception.class.name"] == "org.apache.kafka.connect.errors.DataException"
        assert told["exception.message"] and told["exception.message"] in told["exception.stacktrace"]
        worker.until(
            lambda: (
                worker.ask("GET", "/connectors/picky/offsets")[1]["offsets"]
                == [{"partition": {"kafka_topic": "poisoned", "kafka_partition": 0}, "offset": {"kafka_offset": 3}}]
            ),
            20,
            "the offsets do not pass the bad record",
        )
    finally:
        worker.end()


def _first(cluster: KafkaCluster, topic: str) -> Any:
    consumer = Consumer(
        {"bootstrap.servers": cluster.bootstrap_servers, "group.id": "reader", "auto.offset.reset": "earliest"}
    )
    try:
        consumer.subscribe([topic])
        message = consumer.poll(15)
        assert message is not None and message.error() is None
        return message
    finally:
        consumer.close()


def _count(cluster: KafkaCluster, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap_servers, "group.id": "counter"})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ends = [consumer.get_watermark_offsets(TopicPartition(topic, each), timeout=10) for each in partitions]
        return sum(high - low for low, high in ends)
    finally:
        consumer.close()
