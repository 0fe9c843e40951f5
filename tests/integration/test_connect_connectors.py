"""Connectors of files and HTTP in a real worker, with brokers, files and servers that are real too."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from engine.testing.cluster import KafkaCluster
from tests.integration.connect_worker import ConnectWorker, connect_worker
from tests.unit.connect.http_servers import Answer, Request, serving

pytestmark = pytest.mark.integration

STRING = {"value.converter": "org.apache.kafka.connect.storage.StringConverter"}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory, kafka_cluster: KafkaCluster) -> Iterator[ConnectWorker]:
    providers = {
        "config.providers": "file",
        "config.providers.file.class": "org.apache.kafka.common.config.provider.FileConfigProvider",
    }
    directory = tmp_path_factory.mktemp("worker")
    with connect_worker(kafka_cluster.bootstrap_servers, directory, **providers) as running:
        yield running


def consume(cluster: KafkaCluster, topic: str, records: int, wait_s: float = 20.0) -> list[Message]:
    """From the beginning, all partitions, until there are so many."""
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap_servers, "group.id": "reader", "log_level": 0})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, each, 0) for each in partitions])
    found: list[Message] = []
    until = time.monotonic() + wait_s
    while len(found) < records and time.monotonic() < until:
        for each in consumer.consume(1000, 0.2):
            assert each.error() is None, each.error()
            found.append(each)
    consumer.close()
    return found


def test_a_file_goes_through_a_topic_into_another_and_again_from_an_edited_offset(
    tmp_path: Path, worker: ConnectWorker, kafka_cluster: KafkaCluster
) -> None:
    kafka_cluster.create_topic("lines", 1)
    path, copy = tmp_path / "in.txt", tmp_path / "out.txt"
    lines = [f"line {number} ä" for number in range(5000)]
    path.write_text("".join(f"{each}\n" for each in lines))
    worker.start("in", {"connector.class": "FileStreamSource", "file": str(path), "topic": "lines", **STRING})
    worker.start("out", {"connector.class": "FileStreamSink", "file": str(copy), "topics": "lines", **STRING})
    worker.wait_for("the copy", lambda: copy.exists() and copy.stat().st_size == path.stat().st_size)
    assert copy.read_text() == path.read_text()
    size = path.stat().st_size
    partition = {"filename": str(path)}
    worker.wait_for("the offset", lambda: worker.offsets("in") == [(partition, {"position": size})])
    worker.set_state("in", "STOPPED")
    last = len(f"{lines[-1]}\n".encode())
    assert "altered" in worker.alter_offsets("in", [(partition, {"position": size - last})])
    worker.set_state("in", "STARTED")
    worker.wait_for("the last line again", lambda: copy.read_text().endswith(f"{lines[-1]}\n{lines[-1]}\n"))


def test_no_line_is_lost_when_the_task_is_killed_while_files_are_written_and_rotated(
    tmp_path: Path, worker: ConnectWorker, kafka_cluster: KafkaCluster
) -> None:
    kafka_cluster.create_topic("rotated", 3)
    path = tmp_path / "app.log"
    props = {
        "connector.class": "FileSource",
        "paths": f"{path}*",
        "topic": "rotated",
        "scan.interval.ms": "50",
        **STRING,
    }
    worker.start("rotating", props)
    number = 0
    for rotation in range(6):
        with path.open("a") as out:
            for _ in range(1000):
                out.write(f"{number}\n")
                number += 1
        if rotation in (1, 3):
            worker.kill_task("rotating")
        path.rename(tmp_path / f"app.log.{rotation}")
    path.write_text("the end\n")

    def values() -> set[str]:
        return {each.value().decode() for each in consume(kafka_cluster, "rotated", 10**9, 1.0)}

    worker.wait_for("all lines", lambda: values() >= {"the end", *map(str, range(number))})


def test_a_directory_of_files_goes_to_an_http_server_and_refused_records_to_the_dead_letters(
    tmp_path: Path, worker: ConnectWorker, kafka_cluster: KafkaCluster
) -> None:
    kafka_cluster.create_topic("orders", 2)
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for file in range(3):
        (inbox / f"{file}.json").write_text("".join(f'{{"id": {file * 100 + each}}}\n' for each in range(100)))
    taken: dict[int, str] = {}
    busy = [Answer(status=503, headers={"Retry-After": "0"}), None]

    def answer(request: Request) -> Answer | None:
        if busy:
            return busy.pop()
        ids = [each["id"] for each in json.loads(request.body)]
        if 150 in ids:
            return Answer(b"no such order", 422)
        for each in ids:
            assert each not in taken, "sent twice"
            taken[each] = request.headers["idempotency-key"]
        return Answer()

    with serving() as server:
        server.answer = answer
        source = {
            "connector.class": "DirectorySource",
            "input.path": str(inbox),
            "file.minimum.age.ms": "0",
            "format": "json-lines",
            "key.field": "id",
            "topic": "orders",
        }
        sink = {
            "connector.class": "HttpSink",
            "url": f"{server.url}/orders",
            "topics": "orders",
            "errors.tolerance": "all",
            "errors.deadletterqueue.topic.name": "refused",
            "errors.deadletterqueue.topic.replication.factor": "1",
            "errors.deadletterqueue.context.headers.enable": "true",
        }
        worker.start("inbox", source)
        worker.start("posting", sink)
        worker.wait_for("all orders", lambda: set(taken) == set(range(300)) - {150})
        (refused,) = consume(kafka_cluster, "refused", 1)
        worker.set_state("posting", "STOPPED")
    headers: Mapping[str, Any] = dict(refused.headers() or ())
    assert json.loads(refused.value() or b"") == {"id": 150}
    assert b"answered 422: no such order" in headers["__connect.errors.exception.message"]
    assert taken[7].startswith("orders-")
    names = {f"{each}.json" for each in range(3)}
    worker.wait_for("finished files", lambda: {each.name for each in (inbox / "finished").iterdir()} == names)


def test_pages_of_http_go_into_files_and_after_a_restart_only_what_is_new(
    tmp_path: Path, worker: ConnectWorker, kafka_cluster: KafkaCluster
) -> None:
    kafka_cluster.create_topic("events", 1)
    events = [{"id": number, "name": f"event {number}"} for number in range(250)]

    def answer(request: Request) -> Answer:
        assert request.headers["authorization"] == "Bearer sesame"
        first = int(request.path.partition("after=")[2] or 0)
        return Answer(json.dumps({"events": events[first : first + 100]}).encode())

    (tmp_path / "secrets.properties").write_text("token=Bearer sesame\n")
    with serving() as server:
        server.answer = answer
        source = {
            "connector.class": "HttpSource",
            "url": f"{server.url}/events",
            "auth.header.value": f"${{file:{tmp_path}/secrets.properties:token}}",
            "topic": "events",
            "interval.ms": "100",
            "records.pointer": "/events",
            "key.pointer": "/id",
            "pagination": "offset",
            "pagination.parameter": "after",
        }
        worker.start("polling", source)
        assert [json.loads(each.value()) for each in consume(kafka_cluster, "events", 250)] == events
        worker.wait_for("offsets", lambda: [each["url"][-3:] for _, each in worker.offsets("polling")] == ["250"])
        worker.set_state("polling", "STOPPED")
        events.append({"id": 250, "name": "new"})
        worker.set_state("polling", "STARTED")
        found = consume(kafka_cluster, "events", 251)
        assert [json.loads(each.value()) for each in found] == events
        assert found[-1].key() == b"250"
        worker.set_state("polling", "STOPPED")
    out = tmp_path / "out" / "{topic}-{partition}.json"
    sink = {"connector.class": "FileSink", "path": str(out), "format": "json", "topics": "events"}
    worker.start("writing", {**sink, "rotate.bytes": "2000"})
    expected = [json.dumps(each, separators=(",", ":")) for each in events]

    def lines() -> list[str]:
        files = sorted((tmp_path / "out").glob("events-0.json.*"))
        return "".join(each.read_text() for each in (*files, tmp_path / "out" / "events-0.json")).splitlines()

    worker.wait_for("all lines", lambda: (tmp_path / "out").is_dir() and len(lines()) >= 251)
    assert lines() == expected


def test_lines_go_from_the_workers_standard_input_to_its_standard_output(
    tmp_path: Path, kafka_cluster: KafkaCluster
) -> None:
    kafka_cluster.create_topic("typed", 1)
    (tmp_path / "worker.properties").write_text(
        f"""bootstrap.servers={kafka_cluster.bootstrap_servers}
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
offset.storage.file.filename={tmp_path}/offsets
listeners=http://127.0.0.1:0
rest.auth=none
"""
    )
    (tmp_path / "in.properties").write_text("name=typed-in\nconnector.class=FileStreamSource\ntopic=typed\n")
    (tmp_path / "out.properties").write_text("name=typed-out\nconnector.class=FileStreamSink\ntopics=typed\n")
    files = [str(tmp_path / f"{name}.properties") for name in ("worker", "in", "out")]
    worker = subprocess.Popen(
        [sys.executable, "-m", "engine.connect.runtime", *files],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(tmp_path / "worker.log").open("wb"),
        text=True,
    )
    assert worker.stdin is not None and worker.stdout is not None
    try:
        worker.stdin.write("first\nsecond\n")
        worker.stdin.close()
        assert [worker.stdout.readline() for _ in range(2)] == ["first\n", "second\n"]
    finally:
        worker.terminate()
        assert worker.wait(20) == 0, (tmp_path / "worker.log").read_text()
