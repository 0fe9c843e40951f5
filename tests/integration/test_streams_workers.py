"""Workers of a streams application die by SIGKILL, brokers too: windowed sums are those of the model, each update once.

A short run; ``make streams-exactly-once`` makes it one of 100,000 records, with faults as long as it lasts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from engine.testing.cluster import KafkaCluster
from tests.integration.conftest import ROOT, SPEC, start_cluster, stop_cluster
from tests.integration.raw_client import wait_until
from tests.integration.streams_topologies import WINDOW_MS
from tests.integration.test_exactly_once import create

RECORDS = int(os.environ.get("KCONSOLE_STREAMS_RECORDS", "1500"))
IS_LONG = RECORDS > 20_000
FEEDING_S = RECORDS / 1500 if IS_LONG else 1.2
WORKERS = 3 if IS_LONG else 2
CUSTOMERS = 40
PARTITIONS = 3
GROUP_CONFIGS = {
    "group.streams.min.session.timeout.ms": 500,
    "group.streams.session.timeout.ms": 6000 if IS_LONG else 1000,
    "group.streams.min.heartbeat.interval.ms": 100,
    "group.streams.heartbeat.interval.ms": 500 if IS_LONG else 200,
    "group.streams.initial.rebalance.delay.ms": 0,
    "group.streams.min.assignment.interval.ms": 0,
    "group.streams.assignment.interval.ms": 0,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 200,
}

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800 if IS_LONG else 90)]


class WorkerProcess:
    """``python -m engine.streams.runtime`` in its own process, and what it logs."""

    def __init__(self, directory: Path, number: int, bootstrap: str, **configs: object) -> None:
        self.log_file = directory / f"worker-{number}.log"
        given = {
            "application.id": "sales",
            "bootstrap.servers": bootstrap,
            "state.dir": directory / f"state-{number}",
            "commit.interval.ms": 50,
            "transaction.timeout.ms": 5000 if IS_LONG else 1500,
            **{name.replace("_", "."): value for name, value in configs.items()},
        }
        self._command = [
            *(sys.executable, "-m", "engine.streams.runtime", "tests.integration.streams_topologies:windows"),
            *(part for name, value in given.items() for part in ("--set", f"{name}={value}")),
        ]
        self.start()

    def start(self) -> None:
        with self.log_file.open("a") as out:
            self.process = subprocess.Popen(self._command, stdout=out, stderr=out, cwd=ROOT, start_new_session=True)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        """SIGTERM ends it in order."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.log_file.read_text()[-3000:]

    @property
    def log(self) -> str:
        return self.log_file.read_text()


class Orders:
    """Writes orders, evenly over some seconds, and knows what the sums must be."""

    def __init__(self, bootstrap: str) -> None:
        self.expected: dict[tuple[str, int], int] = defaultdict(int)
        self.counts: dict[tuple[str, int], int] = defaultdict(int)
        self._failed: list[str] = []
        self._producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 0})
        self._began = time.monotonic()
        self.written = 0

    def write_until_now(self) -> bool:
        """Write what is due; whether there is more to come."""
        due = min(RECORDS, int((time.monotonic() - self._began) / FEEDING_S * RECORDS) + 1)
        for number in range(self.written, due):
            customer, amount = f"c{number * 7 % CUSTOMERS}", number % 97
            # Time goes on by 20 ms an order, and steps back now and then.
            at = 1_000_000 + number * 20 - (number % 13) * 500
            value = f"{customer} {amount}"
            self._producer.produce("orders", value, f"o{number}", timestamp=at, on_delivery=self._delivered)
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

    def __init__(self, bootstrap: str) -> None:
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
        self._consumer.assign([TopicPartition("sums", number, 0) for number in range(PARTITIONS)])

    def read(self) -> int:
        for message in self._consumer.consume(5000, 0.1):
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


def assert_each_update_once(sums: Sums, orders: Orders) -> None:
    assert sums.updates.keys() == orders.expected.keys()
    for window, updates in sums.updates.items():
        counts = [int(each.split()[0]) for each in updates]
        assert counts == list(range(1, orders.counts[window] + 1)), f"{window}: lost or doubled updates"
        assert int(updates[-1].split()[1]) == orders.expected[window], window


def test_windowed_sums_are_exact_while_workers_and_brokers_die(tmp_path: Path) -> None:
    if IS_LONG:
        running = start_cluster(
            tmp_path, SPEC + "".join(f"  {name}: {value}\n" for name, value in GROUP_CONFIGS.items())
        )
        bootstrap, ids = running.bootstrap, sorted(row["id"] for row in running.status())
        create(bootstrap, "orders", "sums")
    else:
        cluster = KafkaCluster(3, configs=GROUP_CONFIGS, topics={"orders": PARTITIONS, "sums": PARTITIONS})
        cluster.start()
        bootstrap, ids = cluster.bootstrap_servers, [1, 2, 3]
    workers = [
        WorkerProcess(tmp_path, number, bootstrap, processing_guarantee="exactly_once_v2") for number in range(WORKERS)
    ]
    sums = Sums(bootstrap)
    rounds = 0
    try:
        wait_until("a first task", lambda: any("has active 0_" in each.log for each in workers), 30)
        orders = Orders(bootstrap)
        victims, brokers = cycle(workers), cycle(ids)
        feed_for(orders, 0.5)
        while not rounds or feed_for(orders, 1.0):
            rounds += 1
            worker, broker = next(victims), next(brokers)
            worker.kill()
            if IS_LONG:
                running.cli("kill", str(broker))
                feed_for(orders, 1.0)
                running.cli("start", str(broker))
            else:
                cluster.kill(broker)
                feed_for(orders, 0.3)
                cluster.start(broker)
            worker.start()
        orders.finish()
        wait_until("all sums", lambda: sums.read() >= RECORDS, 300 if IS_LONG else 60)
        sums.read()
        assert_each_update_once(sums, orders)
        for each in workers:
            each.stop()
    finally:
        for each in workers:
            each.kill()
            print(each.log[-6000:])
        sums.close()
        if IS_LONG:
            stop_cluster(running)
        else:
            cluster.close()
    print(f"{RECORDS} records, {rounds} rounds of SIGKILL to a worker and to a broker: each update once")
