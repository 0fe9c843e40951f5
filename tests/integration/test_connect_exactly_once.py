"""An exactly-once source while its tasks and workers die by SIGKILL: who reads committed records sees each once.

A short run; ``make connect-exactly-once`` makes it one of 100,000 records, where brokers die as well and workers stand
still until others have their work.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from engine.testing.cluster import KafkaCluster
from tests.integration.connect_workers import ConnectWorker, distributed

RECORDS = int(os.environ.get("KCONSOLE_CONNECT_RECORDS", "3000"))
IS_LONG = RECORDS > 20_000
FEEDING_S = RECORDS / 1000 if IS_LONG else 4.0
BROKERS = 3 if IS_LONG else 1
WORKERS = 3 if IS_LONG else 2
TOPIC = "each-once"
CONFIGS = {
    "group.min.session.timeout.ms": "500",
    "group.initial.rebalance.delay.ms": "0",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "200",
    **({"min.insync.replicas": "2", "default.replication.factor": "3"} if IS_LONG else {}),
}

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800 if IS_LONG else 90)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    with KafkaCluster(BROKERS, configs=CONFIGS) as made:
        yield made


class Feeder(threading.Thread):
    """Appends numbered lines to a file."""

    def __init__(self, file: Path) -> None:
        super().__init__(daemon=True)
        self._file = file

    def run(self) -> None:
        began = time.monotonic()
        with self._file.open("a", buffering=1) as file:
            for number in range(RECORDS):
                file.write(f"{number}\n")
                ahead_s = number * FEEDING_S / RECORDS - (time.monotonic() - began)
                if ahead_s > 0.01:
                    time.sleep(ahead_s)


class Reader:
    """What committed records there are."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": cluster.bootstrap_servers,
                "group.id": "reader",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "reconnect.backoff.max.ms": 500,
            }
        )
        partitions = self._consumer.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
        self._consumer.assign([TopicPartition(TOPIC, each, 0) for each in partitions])
        self.seen: Counter[int] = Counter()

    def read(self, seconds: float) -> None:
        """What comes within a time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for message in self._consumer.consume(1000, 0.1):
                if message.error() is None:
                    self.seen[int(message.value())] += 1
                else:
                    assert message.error().code() != KafkaError._AUTO_OFFSET_RESET, message.error()


def revive(worker: ConnectWorker) -> None:
    """Restart tasks that failed, as whoever runs a group does."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        if "FAILED" in worker.states("source"):
            worker.ask("POST", "/connectors/source/restart?includeTasks=true&onlyFailed=true")


def _signal(pids: list[int], number: signal.Signals) -> int:
    """How many processes there were to send it to."""
    sent = 0
    for each in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, number)
            sent += 1
    return sent


def test_each_record_is_there_once_whatever_dies(cluster: KafkaCluster, tmp_path: Path) -> None:
    cluster.create_topic(TOPIC, partitions=2)
    configs = distributed(
        cluster.bootstrap_servers,
        "exactly-once",
        exactly__once__source__support="enabled",
        scheduled__rebalance__max__delay__ms="300",
        producer__transaction__timeout__ms="10000",
    )
    if IS_LONG:
        configs |= {f"{each}.storage.replication.factor": "3" for each in ("config", "offset", "status")}
    source = tmp_path / "numbers.txt"
    source.touch()
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    names = iter(range(1_000))
    short = cycle(["task", "worker", "task"])
    workers = [ConnectWorker(configs, tmp_path, f"worker-{next(names)}").start() for _ in range(WORKERS)]
    killed: Counter[str] = Counter()
    try:
        for each in workers:
            each.ready()
        workers[0].create(
            "source",
            connector__class="FileStreamSource",
            file=str(source),
            topic=TOPIC,
            batch__size="50",
            exactly__once__support="required",
        )
        workers[0].until(lambda: workers[0].states("source") == ["RUNNING", "RUNNING"], 20, "the task does not start")
        reader = Reader(cluster)
        feeder = Feeder(source)
        feeder.start()
        while feeder.is_alive():
            reader.read(chance.uniform(0.3, 0.9))
            kind = chance.choice(["task", "worker", "broker", "zombie"]) if IS_LONG else next(short)
            if kind == "task":
                for each in workers:
                    killed["task"] += _signal(each.task_pids(), signal.SIGKILL)
            elif kind == "worker":
                place = chance.randrange(WORKERS)
                workers[place].kill()
                killed["worker"] += 1
                workers[place] = ConnectWorker(configs, tmp_path, f"worker-{next(names)}").start()
            elif kind == "zombie":
                # Beyond its session: others have its tasks when it goes on.
                place = chance.randrange(WORKERS)
                pids = [workers[place].pid, *workers[place].task_pids()]
                _signal(pids, signal.SIGSTOP)
                killed["zombie"] += 1
                reader.read(4.0)
                _signal(pids, signal.SIGCONT)
            elif kind == "broker" and killed["broker"] < 8:
                victim = chance.randint(1, BROKERS)
                cluster.kill(victim)
                killed["broker"] += 1
                reader.read(1.0)
                cluster.start(victim)
            reader.read(0.3)
            for each in workers:
                revive(each)
        until = time.monotonic() + (300 if IS_LONG else 40)
        while len(reader.seen) < RECORDS and time.monotonic() < until:
            reader.read(0.3)
            for each in workers:
                revive(each)
        # What comes twice would come by now.
        reader.read(1.0)
        logs = "\n".join(each.tail()[-1500:] for each in workers)
        print(f"{RECORDS} records, killed {dict(killed)}, seed {seed}")
        assert killed["task"] and killed["worker"], "nothing was killed"
        assert len(reader.seen) == RECORDS, f"{RECORDS - len(reader.seen)} records are missing, seed {seed}: {logs}"
        assert set(reader.seen.values()) == {1}, f"records came more than once, seed {seed}"
    finally:
        for each in workers:
            each.end()
