"""A versioned table and a join with grace on brokers: another worker finds the history, and what waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, ConfigResource

from engine.streams import (
    Consumed,
    InvalidStateStoreError,
    Joined,
    Materialized,
    Produced,
    Serdes,
    StreamsBuilder,
    Topology,
    VersionedRecord,
)
from engine.streams.runtime.config import StreamsConfig
from engine.streams.runtime.worker import Worker, WorkerState
from engine.testing.cluster import KafkaCluster
from tests.integration.raw_client import wait_until
from tests.integration.test_streams_workers import GROUP_CONFIGS, read_all

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

TEXT = Serdes.string()
READ = Consumed(key_serde=TEXT, value_serde=TEXT, offset_reset="earliest")
HISTORY_MS = 60_000


def priced() -> Topology:
    builder = StreamsBuilder()
    prices = builder.table("prices", READ, Materialized("prices", history_retention_ms=HISTORY_MS))
    joined = Joined(key_serde=TEXT, value_serde=TEXT, other_value_serde=TEXT, grace_ms=100, name="join")
    orders = builder.stream("orders", READ)
    orders.join(prices, lambda order, price: f"{order}@{price}", joined).to(
        "priced", Produced(key_serde=TEXT, value_serde=TEXT)
    )
    return builder.build()


@contextmanager
def running(bootstrap: str, directory: Path) -> Iterator[Worker]:
    config = {
        "application.id": "shop",
        "bootstrap.servers": bootstrap,
        "commit.interval.ms": 100,
        "default.dsl.store": "in_memory",
        "state.dir": str(directory),
    }
    states: list[WorkerState] = []
    worker = Worker(priced(), StreamsConfig(config), on_state=states.append)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        wait_until("the worker runs", lambda: WorkerState.RUNNING in states, 30)
        yield worker
    finally:
        worker.stop()
        thread.join(30)
    assert states[-1] is WorkerState.NOT_RUNNING


def write(bootstrap: str, topic: str, *records: tuple[str, int]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    for value, timestamp in records:
        producer.produce(topic, value, "tea", timestamp=timestamp)
    assert producer.flush(10) == 0


def held(worker: Worker, as_of: int | None = None) -> Any:
    try:
        return worker.store("prices").get("tea", as_of)
    except InvalidStateStoreError:
        return None


def test_another_worker_finds_the_history_and_what_waits(tmp_path: Path) -> None:
    topics = dict.fromkeys(("prices", "orders", "priced"), 1)
    with KafkaCluster(1, configs=GROUP_CONFIGS, topics=topics) as cluster:
        bootstrap = cluster.bootstrap_servers
        with running(bootstrap, tmp_path / "first") as worker:
            write(bootstrap, "prices", ("1", 1_000), ("2", 2_000), ("3", 3_000))
            write(bootstrap, "orders", ("waits", 2_500))
            wait_until("the last price", lambda: held(worker) == VersionedRecord("3", 3_000), 20)
            (waits,) = read_all(bootstrap, "shop-join-Buffer-changelog", 1)
            assert waits.value() is not None
            logged = read_all(bootstrap, "shop-prices-changelog", 3)
            assert [each.value() for each in logged] == [b"1", b"2", b"3"]
        resource = ConfigResource(ConfigResource.Type.TOPIC, "shop-prices-changelog")
        admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        configs = {name: each.value for name, each in admin.describe_configs([resource])[resource].result(10).items()}
        assert configs["cleanup.policy"] == "compact"
        assert configs["min.compaction.lag.ms"] == str(HISTORY_MS + 86_400_000)
        with running(bootstrap, tmp_path / "second") as worker:
            wait_until("the restored price", lambda: held(worker) == VersionedRecord("3", 3_000), 20)
            assert held(worker, 1_999) == VersionedRecord("1", 1_000, 2_000)
            write(bootstrap, "prices", ("late", 2_400))
            wait_until("the late price", lambda: held(worker, 2_500) == VersionedRecord("late", 2_400, 3_000), 20)
            write(bootstrap, "orders", ("next", 2_700))
            (record,) = read_all(bootstrap, "priced", 1)
        assert (record.value(), record.timestamp()[1]) == (b"waits@late", 2_500)
