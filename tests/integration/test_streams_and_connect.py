"""Kafka Streams counts words, and Kafka Connect copies a file, exactly once, while brokers and they themselves die.

``make streams-connect``: they take minutes and jars that no other test needs.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, IsolationLevel, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from engine.wire.messages.list_transactions_request import ListTransactionsRequest
from engine.wire.messages.streams_group_describe_request import StreamsGroupDescribeRequest
from tests.integration.conftest import KAFKA_LIBS, ROOT, SPEC, Cluster, start_cluster, stop_cluster
from tests.integration.raw_client import RawConnection, parse_address, wait_until
from tests.integration.test_groups_under_failure import find_coordinator

MORE_LIBS = ROOT / ".cache" / "kafka-4.3.1-streams" / "libs"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not os.environ.get("KCONSOLE_STREAMS_AND_CONNECT"), reason="make streams-connect"),
]

CONFIGS = """  transaction.state.log.num.partitions: 5
  transaction.abort.timed.out.transaction.cleanup.interval.ms: 500
  group.streams.min.session.timeout.ms: 1000
  group.streams.session.timeout.ms: 6000
  group.streams.min.heartbeat.interval.ms: 100
  group.streams.heartbeat.interval.ms: 500
  group.streams.num.standby.replicas: 1
"""
LINES = 3000
WORDS = [f"word{number}" for number in range(40)]
FEEDING_S = 20.0
MORE = "more"
WAIT_S = 30.0


@pytest.fixture(scope="module")
def streaming_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    assert MORE_LIBS.is_dir(), f"{MORE_LIBS} is missing: run `make streams-connect`"
    running = start_cluster(tmp_path_factory.mktemp("streams"), SPEC + CONFIGS)
    yield running
    stop_cluster(running)


class Jvm:
    """A process of Java's that is killed and started again."""

    def __init__(self, log_file: Path, *arguments: str, libs: str) -> None:
        options = ["-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=WARN"]
        self._command = ["java", *options, "-cp", libs, *arguments]
        self._log_file = log_file
        self.start()

    def start(self) -> None:
        with self._log_file.open("a") as out:
            self.process = subprocess.Popen(self._command, stdout=out, stderr=subprocess.STDOUT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def restart(self) -> None:
        self.kill()
        self.start()


def create(cluster: Cluster, partitions: int, *names: str) -> None:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    for future in admin.create_topics([NewTopic(name, partitions, 3) for name in names]).values():
        future.result(20)


def read(cluster: Cluster, topic: str, partitions: int) -> list[tuple[str, str]]:
    """Keys and values of what is committed now, partition by partition."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    asked = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(partitions)}
    told = admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED)
    ends = {each.partition: future.result(WAIT_S).offset for each, future in told.items()}
    consumer = Consumer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "group.id": "nobody",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    found: list[tuple[str, str]] = []
    at_end: set[int] = set()
    while len(at_end) < partitions:
        message = consumer.poll(WAIT_S)
        assert message is not None, f"{topic}: nothing more comes, and not its end"
        error = message.error()
        if error is None:
            # While more is written the end is told to nobody; what comes behind the end of before may be left out.
            if message.offset() >= ends[message.partition()] - 1:
                at_end.add(message.partition())
            found.append(((message.key() or b"").decode(), message.value().decode()))
        elif error.code() == KafkaError._PARTITION_EOF:
            at_end.add(message.partition())
        else:
            assert error.retriable(), error
    consumer.close()
    return found


def crash_all(cluster: Cluster, jvm: Jvm) -> None:
    """Each broker in turn, and the client once."""
    for number, row in enumerate(cluster.status()):
        time.sleep(3.0)
        cluster.cli("kill", str(row["id"]))
        time.sleep(1.5)
        cluster.cli("start", str(row["id"]))
        if number == 1:
            jvm.restart()


class Lines:
    """Writes lines of words until it is stopped."""

    def __init__(self, cluster: Cluster, topic: str, partitions: int, rate_per_s: float) -> None:
        self.counts: Counter[str] = Counter()
        self._topic, self._partitions, self._interval_s = topic, partitions, 1 / rate_per_s
        self._producer = Producer(
            {"bootstrap.servers": cluster.bootstrap, "enable.idempotence": True, "linger.ms": 5, "log_level": 0}
        )
        self._unwritten: int | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        rng = random.Random(1)
        number = 0
        while not self._stopping.wait(self._interval_s):
            words = rng.choices(WORDS, k=5)
            self._producer.produce(self._topic, " ".join(words), partition=number % self._partitions)
            self._producer.poll(0)
            self.counts.update(words)
            number += 1
        self._unwritten = self._producer.flush(60)

    def stop(self) -> None:
        """All of them are acknowledged when it returns."""
        self._stopping.set()
        self._thread.join(120)
        assert self._unwritten == 0, self._unwritten


def transactional_ids(cluster: Cluster, prefix: str) -> dict[str, int]:
    """Those that begin so, with the brokers that coordinate them."""
    found = {}
    for row in cluster.line["brokers"]:
        with suppress(OSError), RawConnection(parse_address(row["address"])) as connection:
            for each in connection.ask(ListTransactionsRequest(), 1).transaction_states:
                if each.transactional_id.startswith(prefix):
                    found[each.transactional_id] = int(row["id"])
    return found


def streams_members(cluster: Cluster, group: str) -> list[int]:
    """How many active tasks each member of a streams group has, once it is stable; nothing before."""
    for row in cluster.line["brokers"]:
        with suppress(OSError), RawConnection(parse_address(row["address"])) as connection:
            (found,) = connection.ask(StreamsGroupDescribeRequest(group_ids=[group]), 0).groups
            if found.error_code == 0 and found.group_state == "Stable":
                return [
                    sum(len(each.partitions) for each in member.assignment.active_tasks) for member in found.members
                ]
    return []


def kill_for(cluster: Cluster, broker_id: int, seconds: float) -> None:
    cluster.cli("kill", str(broker_id))
    time.sleep(seconds)
    cluster.cli("start", str(broker_id))


@pytest.mark.parametrize("protocol", ["classic", "streams"])
def test_kafka_streams_counts_each_word_once(streaming_cluster: Cluster, tmp_path: Path, protocol: str) -> None:
    """Two instances; whoever matters to them dies in turn, an instance as well."""
    cluster, application = streaming_cluster, f"word-count-{protocol}"
    source, output = f"lines-{protocol}", f"counts-{protocol}"
    create(cluster, 3, source, output)
    code = str(Path(__file__).with_name("java") / "ExactlyOnceWordCount.java")
    instances: list[Jvm] = []

    def start_instance() -> None:
        name = f"instance-{len(instances)}"
        arguments = [cluster.bootstrap, application, source, output, str(tmp_path / name), protocol]
        instances.append(Jvm(tmp_path / f"{name}.log", code, *arguments, libs=f"{MORE_LIBS}/*:{KAFKA_LIBS}/*"))

    def counted() -> int:
        return len(read(cluster, output, 3))

    def counts_more(what: str) -> None:
        before = counted()
        wait_until(f"more is counted: {what}", lambda: counted() > before, 120)

    lines = Lines(cluster, source, 3, rate_per_s=60)
    try:
        start_instance()
        wait_until("the first counts", counted, 90)
        start_instance()
        wait_until("a transactional id for each", lambda: len(transactional_ids(cluster, application)) >= 2, 60)
        coordinator = find_coordinator(cluster, application)
        kill_for(cluster, coordinator, 1.5)
        counts_more("the group's coordinator was killed")
        kill_for(cluster, next(iter(transactional_ids(cluster, application).values())), 1.5)
        counts_more("a transaction coordinator was killed")
        instances[0].kill()
        counts_more("an instance was killed")
        for row in cluster.status():
            kill_for(cluster, row["id"], 1.5)
            time.sleep(2.0)
        counts_more("each broker was killed")
        instances[0].start()
        time.sleep(5.0)
        kill_for(cluster, find_coordinator(cluster, application), 6.0)
        instances[1].restart()
        lines.stop()
        wait_until("all words are counted", lambda: counted() >= lines.counts.total(), 180)
        if protocol == "streams":
            wait_until("both have tasks", lambda: sorted(streams_members(cluster, application)) == [3, 3], 60)
    finally:
        for each in instances:
            each.kill()
    counts: dict[str, list[int]] = {}
    for word, count in read(cluster, output, 3):
        counts.setdefault(word, []).append(int(count))
    assert counts == {word: list(range(1, count + 1)) for word, count in lines.counts.items()}


def rest(port: int, method: str, path: str, body: Any = None) -> Any:
    """What Connect's REST API answers; None while it does not."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"true")
    except (urllib.error.URLError, OSError, ValueError):
        return None


def test_kafka_connect_copies_each_line_once(streaming_cluster: Cluster, tmp_path: Path) -> None:
    create(streaming_cluster, 1, "file-lines")
    source, sink = tmp_path / "in.txt", tmp_path / "out.txt"
    source.touch()
    port = 18_083
    worker = {
        "bootstrap.servers": streaming_cluster.bootstrap,
        "group.id": "connect",
        "listeners": f"http://127.0.0.1:{port}",
        "exactly.once.source.support": "enabled",
        "consumer.isolation.level": "read_committed",
        "offset.flush.interval.ms": "500",
        "offset.storage.partitions": "5",
        "scheduled.rebalance.max.delay.ms": "1000",
        "session.timeout.ms": "6000",
        "heartbeat.interval.ms": "500",
        "plugin.path": str(MORE_LIBS),
    }
    for name in ("config", "offset", "status"):
        worker[f"{name}.storage.topic"] = f"connect-{name}s"
        worker[f"{name}.storage.replication.factor"] = "3"
    for name in ("key", "value"):
        worker[f"{name}.converter"] = "org.apache.kafka.connect.storage.StringConverter"
    properties = tmp_path / "worker.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in worker.items()))
    main_class = "org.apache.kafka.connect.cli.ConnectDistributed"
    libs = f"{KAFKA_LIBS}/*:{MORE_LIBS}/connect-file-4.3.1.jar"
    jvm = Jvm(tmp_path / "connect.log", main_class, str(properties), libs=libs)
    connectors = {
        "source": {
            "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
            "file": str(source),
            "topic": "file-lines",
            "exactly.once.support": "required",
        },
        "sink": {
            "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
            "file": str(sink),
            "topics": "file-lines",
        },
    }
    lines = [f"line {number}" for number in range(LINES)]

    def feed() -> None:
        with source.open("a") as file:
            for line in lines:
                file.write(line + "\n")
                file.flush()
                time.sleep(FEEDING_S / LINES)

    try:
        wait_until("the worker's REST API", lambda: rest(port, "GET", "/connectors") is not None, 120)
        for name, config in connectors.items():
            wait_until(
                f"connector {name}",
                lambda name=name, config=config: rest(port, "PUT", f"/connectors/{name}/config", config),
                60,
            )
        feeding = threading.Thread(target=feed, daemon=True)
        feeding.start()
        wait_until("the first lines", lambda: read(streaming_cluster, "file-lines", 1), 60)
        crash_all(streaming_cluster, jvm)
        feeding.join(60)
        assert not feeding.is_alive()

        def copied() -> bool:
            # The file's connector keeps lines behind a full batch for itself until more is written.
            with source.open("a") as file:
                file.write(MORE + "\n")
            time.sleep(0.5)
            return ("", lines[-1]) in read(streaming_cluster, "file-lines", 1)

        wait_until("all lines", copied, 180)
        wait_until("the last line in the sink", lambda: lines[-1] in sink.read_text().splitlines(), 120)
    finally:
        jvm.kill()
    # The source is what exactly.once.source.support speaks of: its records, once and in order.
    copies = [value for _, value in read(streaming_cluster, "file-lines", 1)]
    assert [value for value in copies if value != MORE] == lines
    # A sink writes again what it had not committed: each line is there, and the first of each in order.
    assert [line for line in dict.fromkeys(sink.read_text().splitlines()) if line != MORE] == lines
