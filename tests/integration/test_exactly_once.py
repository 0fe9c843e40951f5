"""Consume, transform, produce: exactly once, in order, while brokers and those who copy are killed and paused.

A short run; ``make exactly-once`` makes it one of 100,000 records, under faults as long as it lasts.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.integration.conftest import KAFKA_LIBS, SPEC, Cluster, start_cluster, stop_cluster
from tests.integration.raw_client import wait_until

RECORDS = int(os.environ.get("KCONSOLE_EXACTLY_ONCE_RECORDS", "4500"))
IS_LONG = RECORDS > 20_000
# How long records keep coming, about: the faults happen meanwhile.
FEEDING_S = RECORDS / 1500 if IS_LONG else 9.0

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800 if IS_LONG else 180)]

PARTITIONS = 3
WAIT_S = 30.0
CONFIGS = """  transaction.state.log.num.partitions: 5
  transaction.abort.timed.out.transaction.cleanup.interval.ms: 500
"""
JAVA = [
    "java",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dlog4j2.level=OFF",
    "-cp",
    f"{KAFKA_LIBS}/*",
]


@pytest.fixture(scope="module")
def eos_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = start_cluster(tmp_path_factory.mktemp("exactly-once"), SPEC + CONFIGS)
    yield running
    stop_cluster(running)


def create(bootstrap: str, *names: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic(name, PARTITIONS, 3) for name in names]).values():
        future.result(20)


class Feeder:
    """Writes numbered records, evenly over some seconds."""

    def __init__(self, bootstrap: str, topic: str, count: int, seconds: float) -> None:
        self.written: list[list[str]] = [[] for _ in range(PARTITIONS)]
        self._topic = topic
        self._count = count
        self._seconds = seconds
        self._failed: list[str] = []
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 2, "log_level": 0}
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        began = time.monotonic()
        for number in range(self._count):
            partition = number % PARTITIONS
            value = f"{number} {'x' * (number % 40)}"
            self._producer.produce(self._topic, value, str(number), partition, on_delivery=self._delivered)
            self.written[partition].append(value)
            if number % 50 == 0:
                self._producer.poll(0)
                time.sleep(max(0.0, began + number / self._count * self._seconds - time.monotonic()))
        self._producer.flush(120)

    def _delivered(self, error: KafkaError | None, _: Any) -> None:
        if error is not None:
            self._failed.append(str(error))

    @property
    def is_feeding(self) -> bool:
        return self._thread.is_alive()

    def finish(self) -> None:
        self._thread.join(180)
        assert not self._thread.is_alive() and not self._failed, self._failed[:3]


class Copier:
    """One process that copies; what it tells of its transactions."""

    def __init__(
        self, client: str, bootstrap: str, source: str, output: str, name: str, *, batch: int = 40, abort_every: int = 7
    ) -> None:
        here = Path(__file__)
        command = {
            "java": [*JAVA, str(here.with_name("java") / "ExactlyOnce.java")],
            "librdkafka": [sys.executable, str(here.with_name("exactly_once_copier.py"))],
            "aiokafka": [sys.executable, str(here.with_name("exactly_once_aiokafka_copier.py"))],
        }[client]
        self._command = [*command, bootstrap, f"group-{output}", source, output, name, str(batch), str(abort_every)]
        self.facts: list[dict[str, Any]] = []
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        )
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()

    def _read(self, out: Any) -> None:
        for line in out:
            try:
                self.facts.append(json.loads(line))
            except ValueError:
                continue  # cut off by SIGKILL

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in list(self.facts) if each["kind"] == kind]

    def gets_on(self) -> None:
        """A transaction of it is committed from now on."""
        before = len(self.of("committed"))
        wait_until("a transaction that is committed", lambda: len(self.of("committed")) > before, 60)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def pause(self, seconds: float) -> None:
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)


def is_copied(bootstrap: str, source: str, output: str) -> bool:
    """Whether the group's positions are at the end of what is to be copied."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"group-{output}", "log_level": 0})
    try:
        partitions = [TopicPartition(source, number) for number in range(PARTITIONS)]
        found = consumer.committed(partitions, timeout=5)
        return all(each.offset == consumer.get_watermark_offsets(each, timeout=5)[1] for each in found)
    except KafkaException:
        return False
    finally:
        consumer.close()


def read(bootstrap: str, topic: str, isolation_level: str = "read_committed") -> list[list[str]]:
    """The values of each partition, up to where the isolation level lets a consumer read."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "nobody",
            "enable.partition.eof": True,
            "isolation.level": isolation_level,
            "log_level": 0,
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    found: list[list[str]] = [[] for _ in range(PARTITIONS)]
    at_end: set[int] = set()
    while len(at_end) < PARTITIONS:
        message = consumer.poll(WAIT_S)
        assert message is not None, f"{topic}: nothing more comes, and not its end"
        error = message.error()
        if error is None:
            found[message.partition()].append(message.value().decode())
        elif error.code() == KafkaError._PARTITION_EOF:
            at_end.add(message.partition())
        else:
            assert error.retriable(), error
    consumer.close()
    return found


def assert_exactly_once(written: list[list[str]], bootstrap: str, output: str) -> None:
    copies = read(bootstrap, output)
    for partition in range(PARTITIONS):
        expected = [f"copy of {value}" for value in written[partition]]
        if copies[partition] != expected:
            lost = set(expected) - set(copies[partition])
            doubled = len(copies[partition]) - len(set(copies[partition]))
            raise AssertionError(f"{output}-{partition}: {len(lost)} lost, {doubled} doubled, or in another order")


def copiers_of(client: str) -> int:
    """How many copy at a time. aiokafka's transactions know nothing of generations: two would not be safe anywhere."""
    return 1 if client == "aiokafka" or (client == "java" and not IS_LONG) else 2


def test_what_is_copied_in_transactions_is_there_once_and_in_order(eos_cluster: Cluster) -> None:
    bootstrap = eos_cluster.bootstrap
    outputs = {client: f"out-{client}" for client in ("librdkafka", "java", "aiokafka")}
    create(bootstrap, "in", *outputs.values())
    by_client = {
        client: [
            Copier(client, bootstrap, "in", output, f"{output}-{number}", batch=200 if IS_LONG else 40)
            for number in range(copiers_of(client))
        ]
        for client, output in outputs.items()
    }
    copiers = [each for copiers in by_client.values() for each in copiers]
    feeder = Feeder(bootstrap, "in", RECORDS, FEEDING_S)
    try:
        for first, *_ in by_client.values():
            first.gets_on()
        victims = cycle(sorted(row["id"] for row in eos_cluster.status()))
        cut_short = cycle(copiers)
        rounds = 0
        while feeder.is_feeding or not rounds:
            rounds += 1
            victim = next(victims)
            eos_cluster.cli("kill", str(victim))
            copier = next(cut_short)
            copier.kill()
            copier.start()
            next(cut_short).pause(8.0 if IS_LONG else 1.0)
            eos_cluster.cli("start", str(victim))
            for each in copiers:
                if feeder.is_feeding and IS_LONG:
                    each.gets_on()
            time.sleep(1.0)
        feeder.finish()
        for output in outputs.values():
            wait_until(f"{output} is whole", lambda output=output: is_copied(bootstrap, "in", output), 600)
    finally:
        for each in copiers:
            each.kill()
    for each in copiers:
        each.start()  # what one of them may have left open is aborted
    try:
        for output in outputs.values():
            assert_exactly_once(feeder.written, bootstrap, output)
            everything = read(bootstrap, output, "read_uncommitted")
            assert sum(map(len, everything)) > RECORDS, "transactions were aborted meanwhile"
    finally:
        for each in copiers:
            each.kill()
    told = {f"{index}": len(each.of("committed")) for index, each in enumerate(copiers)}
    print(f"{rounds} rounds of faults; transactions committed by each process: {told}")
