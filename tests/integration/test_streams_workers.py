"""Workers of a streams application die by SIGKILL, brokers too: windowed sums are those of the model, each update once.

A short run; ``make streams-exactly-once`` makes it one of 100,000 records, with faults as long as it lasts.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, Protocol

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from bench.clusters import free_port
from engine.streams.runtime.config import StreamsConfig
from engine.streams.runtime.worker import Worker, WorkerState
from engine.testing.cluster import KafkaCluster
from tests.integration.apache_kafka import KafkaBroker
from tests.integration.conftest import ROOT, SPEC, kafka_tool, start_cluster, stop_cluster
from tests.integration.raw_client import wait_until
from tests.integration.streams_topologies import WINDOW_MS, word_lengths
from tests.integration.test_exactly_once import create

RECORDS = int(os.environ.get("KCONSOLE_STREAMS_RECORDS", "1500"))
IS_LONG = RECORDS > 20_000
FEEDING_S = RECORDS / 1500 if IS_LONG else 2.0
WORKERS = 3 if IS_LONG else 2
CUSTOMERS = 40
# The group protocol of a long run; short ones take both.
PROTOCOLS = [os.environ.get("KCONSOLE_STREAMS_PROTOCOL", "streams")] if IS_LONG else ["streams", "classic"]
PARTITIONS = 3
GROUP_CONFIGS = {
    "group.min.session.timeout.ms": 500,
    "group.streams.min.session.timeout.ms": 500,
    "group.streams.session.timeout.ms": 6000 if IS_LONG else 2000,
    "group.streams.min.heartbeat.interval.ms": 100,
    "group.streams.heartbeat.interval.ms": 500 if IS_LONG else 200,
    "group.streams.initial.rebalance.delay.ms": 0,
    "group.streams.min.assignment.interval.ms": 0,
    "group.streams.assignment.interval.ms": 0,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 200,
}

TOPICS = [f"{name}-{protocol}" for name in ("orders", "sums") for protocol in PROTOCOLS]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800 if IS_LONG else 90)]


class WorkerProcess:
    """``python -m engine.streams.runtime`` in its own process, and what it logs."""

    def __init__(self, directory: Path, number: int, bootstrap: str, topics: dict[str, str], **configs: object) -> None:
        self.log_file = directory / f"worker-{number}.log"
        given = {
            "application.id": "sales",
            "bootstrap.servers": bootstrap,
            # In a long run they share one, with standbys beside active tasks and zombies that hold their directories.
            "state.dir": directory / ("state" if IS_LONG else f"state-{number}"),
            "num.standby.replicas": 1 if IS_LONG else 0,
            # Long enough that a kill finds a transaction open, with output in it.
            "commit.interval.ms": 200,
            "transaction.timeout.ms": 5000 if IS_LONG else 1500,
            "session.timeout.ms": 6000 if IS_LONG else 2000,
            "heartbeat.interval.ms": 500 if IS_LONG else 200,
            **{name.replace("_", "."): value for name, value in configs.items()},
        }
        self._command = [
            *(sys.executable, "-m", "engine.streams.runtime", "tests.integration.streams_topologies:windows"),
            *(part for name, value in given.items() for part in ("--set", f"{name}={value}")),
        ]
        self._environment = {**os.environ, **topics}
        self.start()

    def start(self) -> None:
        self._starts = self.log.count("CREATED -> ") + 1 if self.log_file.exists() else 1
        with self.log_file.open("a") as out:
            self.process = subprocess.Popen(
                self._command, stdout=out, stderr=out, cwd=ROOT, env=self._environment, start_new_session=True
            )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        """SIGTERM ends it in order, once it is there to take it."""
        wait_until("its start", lambda: self.log.count("CREATED -> ") == self._starts, 60)
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.log_file.read_text()[-3000:]

    @property
    def log(self) -> str:
        return self.log_file.read_text()


class Orders:
    """Writes orders, evenly over some seconds, and knows what the sums must be."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self.expected: dict[tuple[str, int], int] = defaultdict(int)
        self.counts: dict[tuple[str, int], int] = defaultdict(int)
        self._failed: list[str] = []
        self._producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 0})
        self._began = time.monotonic()
        # Not long ago: brokers delete what is older than a changelog's retention.
        self._first_ms = time.time_ns() // 1_000_000
        self.written = 0

    def write_until_now(self) -> bool:
        """Write what is due; whether there is more to come."""
        due = min(RECORDS, int((time.monotonic() - self._began) / FEEDING_S * RECORDS) + 1)
        for number in range(self.written, due):
            customer, amount = f"c{number * 7 % CUSTOMERS}", number % 97
            # Time goes on by 20 ms an order, and steps back now and then.
            at = self._first_ms + number * 20 - (number % 13) * 500
            value = f"{customer} {amount}"
            self._producer.produce(self._topic, value, f"o{number}", timestamp=at, on_delivery=self._delivered)
            window = customer, at // WINDOW_MS * WINDOW_MS
            self.expected[window] += amount
            self.counts[window] += 1
        self.written = due
        self._producer.poll(0)
        return due < RECORDS

    def _delivered(self, error: KafkaError | None, _: Any) -> None:
        if error is not None:
            self._failed.append(str(error))

    def finish(self) -> None:
        while self.write_until_now():
            time.sleep(0.01)
        assert self._producer.flush(60) == 0
        assert not self._failed


class Sums:
    """Reads what the application committed."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.updates: dict[tuple[str, int], list[str]] = defaultdict(list)
        self.count = 0
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "nobody",
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])

    def read(self) -> int:
        for message in self._consumer.consume(5000, 0.02):
            if message.error() is None:
                key = message.key()
                window = key[:-8].decode(), int.from_bytes(key[-8:], "big")
                self.updates[window].append(message.value().decode())
                self.count += 1
        return self.count

    def close(self) -> None:
        self._consumer.close()


def feed_for(orders: Orders, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not orders.write_until_now():
            return False
        time.sleep(0.01)
    return True


def left_in_group(bootstrap: str, group: str) -> list[Any]:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    (asked,) = admin.describe_consumer_groups([group]).values()
    return list(asked.result(10).members)


def assert_each_update_once(sums: Sums, orders: Orders) -> None:
    assert sums.updates.keys() == orders.expected.keys()
    for window, updates in sums.updates.items():
        counts = [int(each.split()[0]) for each in updates]
        assert counts == list(range(1, orders.counts[window] + 1)), f"{window}: lost or doubled updates"
        assert int(updates[-1].split()[1]) == orders.expected[window], window


class Brokers(Protocol):
    """Three brokers that are killed and started again."""

    bootstrap: str
    ids: list[int]

    def kill(self, broker_id: int) -> None: ...

    def start(self, broker_id: int) -> None: ...

    def close(self) -> None: ...


class BrokerThreads:
    """In this process, for a short run."""

    def __init__(self) -> None:
        topics = {**dict.fromkeys(TOPICS, PARTITIONS), "orders": PARTITIONS, "words": 1, "dead": 1, "counts": 1}
        self._cluster = KafkaCluster(3, configs=GROUP_CONFIGS | {"group.initial.rebalance.delay.ms": 0}, topics=topics)
        self._cluster.start()
        self.bootstrap, self.ids = self._cluster.bootstrap_servers, [1, 2, 3]
        self.kill, self.start, self.close = self._cluster.kill, self._cluster.start, self._cluster.close


class BrokerProcesses:
    """``kconsole up``."""

    def __init__(self, directory: Path) -> None:
        spec = SPEC + "".join(f"  {name}: {value}\n" for name, value in GROUP_CONFIGS.items())
        self._processes = start_cluster(directory, spec)
        self.bootstrap, self.ids = self._processes.bootstrap, sorted(row["id"] for row in self._processes.status())
        create(self.bootstrap, *TOPICS)

    def kill(self, broker_id: int) -> None:
        self._processes.cli("kill", str(broker_id))

    def start(self, broker_id: int) -> None:
        self._processes.cli("start", str(broker_id))

    def close(self) -> None:
        stop_cluster(self._processes)


class ApacheKafka:
    """Apache Kafka itself: three JVMs, brokers and controllers in one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        ports = [free_port() for _ in range(6)]
        self.ids = [1, 2, 3]
        self._addresses = {each: f"127.0.0.1:{ports[each - 1]}" for each in self.ids}
        self.bootstrap = ",".join(self._addresses.values())
        controllers = {each: f"127.0.0.1:{ports[each + 2]}" for each in self.ids}
        self._running: dict[int, KafkaBroker] = {}
        for each in self.ids:
            properties = {
                "process.roles": "broker,controller",
                "node.id": each,
                "controller.quorum.voters": ",".join(f"{voter}@{at}" for voter, at in controllers.items()),
                "listeners": f"PLAINTEXT://{self._addresses[each]},CONTROLLER://{controllers[each]}",
                "advertised.listeners": f"PLAINTEXT://{self._addresses[each]}",
                "controller.listener.names": "CONTROLLER",
                "log.dirs": directory / f"data-{each}",
                "default.replication.factor": 3,
                "min.insync.replicas": 2,
                "offsets.topic.num.partitions": 10,
                "transaction.state.log.num.partitions": 10,
                **GROUP_CONFIGS,
            }
            file = directory / f"broker-{each}.properties"
            file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
            kafka_tool("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", str(file))
        for each in self.ids:
            self._begin(each)
        for each in self.ids:
            self._running[each].wait_until_it_listens(self._addresses[each])
        create(self.bootstrap, *TOPICS)

    def _begin(self, broker_id: int) -> None:
        directory = self._directory
        file, log_file = directory / f"broker-{broker_id}.properties", directory / f"broker-{broker_id}.log"
        self._running[broker_id] = KafkaBroker(file, log_file)

    def kill(self, broker_id: int) -> None:
        self._running[broker_id].kill()

    def start(self, broker_id: int) -> None:
        self._begin(broker_id)
        self._running[broker_id].wait_until_it_listens(self._addresses[broker_id])

    def close(self) -> None:
        for each in self._running.values():
            each.kill()


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    directory = tmp_path_factory.mktemp("streams")
    running: Brokers
    if os.environ.get("KCONSOLE_STREAMS_ON_KAFKA"):
        running = ApacheKafka(directory)
    else:
        running = BrokerProcesses(directory) if IS_LONG else BrokerThreads()
    yield running
    running.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_windowed_sums_are_exact_while_workers_and_brokers_die(tmp_path: Path, brokers: Brokers, protocol: str) -> None:
    bootstrap = brokers.bootstrap
    configs = {"processing_guarantee": "exactly_once_v2", "group_protocol": protocol, "application_id": protocol}
    topics = {"KCONSOLE_STREAMS_ORDERS": f"orders-{protocol}", "KCONSOLE_STREAMS_SUMS": f"sums-{protocol}"}
    workers = [WorkerProcess(tmp_path, number, bootstrap, topics, **configs) for number in range(WORKERS)]
    sums = Sums(bootstrap, f"sums-{protocol}")
    rounds = 0
    try:
        wait_until("tasks everywhere", lambda: all(re.search(r"has active \d", each.log) for each in workers), 30)
        orders = Orders(bootstrap, f"orders-{protocol}")
        victims, broker_ids = cycle(workers), cycle(brokers.ids)
        wait_until("first sums", lambda: (orders.write_until_now(), sums.read() >= 100)[1], 60)
        while not rounds or (IS_LONG and feed_for(orders, 1.0)):
            rounds += 1
            worker, broker = next(victims), next(broker_ids)
            worker.kill()
            brokers.kill(broker)
            feed_for(orders, 1.0 if IS_LONG else 0.3)
            brokers.start(broker)
            if IS_LONG:
                worker.start()
                # A zombie: the group gives its tasks to others, and then it goes on.
                zombie = next(victims)
                zombie.process.send_signal(signal.SIGSTOP)
                feed_for(orders, 8.0)
                zombie.process.send_signal(signal.SIGCONT)
        orders.finish()
        wait_until("all sums", lambda: sums.read() >= RECORDS, 300 if IS_LONG else 60)
        sums.read()
        assert_each_update_once(sums, orders)
        for each in workers:
            if each.process.poll() is None:
                each.stop()
        if protocol == "classic":
            # Who was killed is gone by its session's end, who was stopped has left.
            assert left_in_group(bootstrap, protocol) == []
    finally:
        for each in workers:
            each.kill()
            print(each.log[-6000:])
        sums.close()
    print(f"{protocol}: {RECORDS} records, {rounds} rounds of SIGKILL to a worker and to a broker: each update once")


class WorkerThread:
    """A worker in this process, until it is stopped in order."""

    def __init__(self, bootstrap: str, directory: Path, **configs: object) -> None:
        given = {name.replace("_", "."): value for name, value in configs.items()}
        config = {"application.id": "lengths", "bootstrap.servers": bootstrap, "state.dir": directory, **given}
        self.states: list[WorkerState] = []
        self.worker = Worker(word_lengths(), StreamsConfig(config), on_state=self.states.append)
        self._thread = threading.Thread(target=self.worker.run)

    def __enter__(self) -> Worker:
        self._thread.start()
        return self.worker

    def __exit__(self, *error: object) -> None:
        self.worker.stop()
        self._thread.join(30)
        assert self.states[-1] is WorkerState.NOT_RUNNING


def read_all(bootstrap: str, topic: str, count: int) -> list[Any]:
    """``count`` records of the topic's first partition."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "nobody", "log_level": 0})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[Any] = []
    wait_until(f"{count} records in {topic}", lambda: found.extend(consumer.consume(100, 0.1)) or len(found) >= count)
    consumer.close()
    return found


@pytest.mark.skipif(IS_LONG, reason="the long run is about faults")
def test_what_fails_is_kept_and_a_store_ahead_of_its_changelog_begins_anew(tmp_path: Path, brokers: Brokers) -> None:
    bootstrap = brokers.bootstrap
    configs = {
        "errors_dead_letter_queue_topic_name": "dead",
        "processing_exception_handler": "LogAndContinueProcessingExceptionHandler",
        "commit_interval_ms": 20,
    }
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    for word in ("to", "be", "or", "-", "not"):
        producer.produce("words", word, "k")
    producer.flush(10)
    with WorkerThread(bootstrap, tmp_path, **configs) as worker:
        (dead,) = read_all(bootstrap, "dead", 1)
        assert dead.value() == b"-"
        assert dict(dead.headers())["__streams.errors.exception"] == b"ValueError"
        assert dict(dead.headers())["__streams.errors.offset"] == b"3"
        counts = {each.key(): each.value()[-1] for each in read_all(bootstrap, "counts", 4)}
        assert counts == {b"2": 3, b"3": 1}
        wait_until(
            "a commit", lambda: worker.snapshot()["tasks"][-1]["committed"] == {"lengths-counts-repartition-0": 4}
        )
    # The changelog is another one now, and shorter than the store has read: what the store has counts for nothing.
    changelog = "lengths-counts-changelog"
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    admin.delete_topics([changelog])[changelog].result(10)
    admin.create_topics([NewTopic(changelog, 1, 3, config={"cleanup.policy": "compact"})])[changelog].result(10)
    producer.produce(changelog, (41).to_bytes(8, "big"), b"2", 0)
    producer.produce("words", "is", "k")
    producer.produce("words", "that", "k")
    producer.flush(10)
    with WorkerThread(bootstrap, tmp_path, **configs):
        counts = {each.key(): each.value()[-1] for each in read_all(bootstrap, "counts", 6)[4:]}
        assert counts == {b"2": 42, b"4": 1}
