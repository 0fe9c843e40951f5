"""A worker's topics, read and written on a real cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Producer

from engine.connect.errors import ConfigError, ConnectError
from engine.connect.runtime.herder import Status, TaskId
from engine.connect.runtime.kafka_stores import KafkaOffsetStore, KafkaStatusStore
from engine.connect.runtime.offset_store import offset_key
from engine.connect.runtime.worker_config import WorkerConfig
from engine.testing.cluster import KafkaCluster
from tests.integration.connect_workers import distributed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    with KafkaCluster(1) as made:
        yield made


def worker(cluster: KafkaCluster, group: str, **more: str) -> WorkerConfig:
    return WorkerConfig(distributed(cluster.bootstrap_servers, group, **more))


async def test_offsets_behind_an_open_transaction_are_waited_for(cluster: KafkaCluster) -> None:
    config = worker(cluster, "open", exactly__once__source__support="enabled", offset__storage__partitions="1")
    store = KafkaOffsetStore(config, "test")
    await store.start()

    def producer(name: str) -> Any:
        made = Producer({"bootstrap.servers": cluster.bootstrap_servers, "transactional.id": name, "linger.ms": 0})
        made.init_transactions()
        made.begin_transaction()
        made.produce("open-offsets", b'{"at":1}', offset_key(name, {"file": "a"}))
        made.flush()
        return made

    try:
        slow, quick = await asyncio.to_thread(producer, "slow"), await asyncio.to_thread(producer, "quick")
        await asyncio.to_thread(quick.commit_transaction)
        # What is stable ends before the slow one's record: the quick one's is committed, and lies behind it.
        asked = asyncio.ensure_future(store.read("quick", [{"file": "a"}]))
        done, _ = await asyncio.wait([asked], timeout=0.7)
        assert not done
        await asyncio.to_thread(slow.abort_transaction)
        assert await asyncio.wait_for(asked, 10) == [{"at": 1}]
        assert await store.read("slow", [{"file": "a"}]) == [None]
    finally:
        await store.stop()


async def test_states_of_one_worker_are_seen_by_another(cluster: KafkaCluster) -> None:
    config = worker(cluster, "states")
    one, other = KafkaStatusStore(config, "one"), KafkaStatusStore(config, "other")
    await one.start()
    await other.start()
    try:
        task = TaskId("a-b", 3)
        for state in ("RUNNING", "PAUSED", "RUNNING", "FAILED"):
            one.put_task(task, Status(state, "w1", 1, "why" if state == "FAILED" else None))
            # At once here, whatever is read back meanwhile.
            assert one.task(task) == Status(state, "w1", 1, "why" if state == "FAILED" else None)
        await one.flush()
        await other.refresh()
        assert other.tasks("a-b") == {3: Status("FAILED", "w1", 1, "why")}
        other.put_task_safely(task, Status("UNASSIGNED", "w2", 0))
        assert other.task(task) == Status("FAILED", "w1", 1, "why"), "of an older generation"
        other.put_task_safely(task, Status("RUNNING", "w2", 2))
        other.put_connector("a-b", None)
        await other.flush()
        await one.refresh()
        assert one.task(task) == Status("RUNNING", "w2", 2)
    finally:
        await one.stop()
        await other.stop()


async def test_a_topic_that_is_not_compacted_is_refused(cluster: KafkaCluster) -> None:
    cluster.create_topic("loose-offsets", partitions=1)
    store = KafkaOffsetStore(worker(cluster, "loose"), "test")
    try:
        with pytest.raises(ConfigError, match=r"'offset\.storage\.topic'.*'cleanup\.policy=compact'"):
            await store.start()
    finally:
        await store.stop()


async def test_a_topic_that_cannot_be_created_is_an_error_with_its_remedy(cluster: KafkaCluster) -> None:
    store = KafkaOffsetStore(worker(cluster, "many", offset__storage__replication__factor="3"), "test")
    try:
        with pytest.raises(ConnectError, match=r"many-offsets.*Create it, with cleanup\.policy=compact"):
            await store.start()
    finally:
        await store.stop()
