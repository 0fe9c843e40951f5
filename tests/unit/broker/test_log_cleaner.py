"""The log cleaner of real brokers: each replica is compacted for itself, and goes on from there after any end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.model.errors import ErrorCode
from engine.record.batch import iter_batches
from engine.record.builder import NewRecord, build_batch
from engine.record.reader import read_records
from engine.storage.log import Log
from tests.unit.broker.broker_requests import (
    alter_config,
    create_topic,
    delete_topic,
    fetch_one,
    produce,
    reassign,
    replica_of,
    until_in_sync,
    until_led_by,
)
from tests.unit.broker.in_process_cluster import InProcessCluster
from tests.unit.broker.test_coordinators_over_brokers import OFFSETS, commit, coordinator_of, fetched

CONFIGS = {"log.cleaner.backoff.ms": "10", "replica.fetch.wait.max.ms": "20"}
COMPACTED = {"cleanup.policy": "compact", "segment.ms": "1", "min.cleanable.dirty.ratio": "0.01"}


@pytest.fixture
async def cleaning(tmp_path: Path) -> AsyncIterator[InProcessCluster]:
    """Three brokers that look for work often."""
    async with InProcessCluster(tmp_path, configs=CONFIGS) as running:
        yield running


async def put(cluster: InProcessCluster, topic: str, key: bytes, value: bytes | None, node_id: int = 1) -> int:
    """A batch that ends the segment before it."""
    await asyncio.sleep(0.003)
    records = build_batch([NewRecord(key, value, timestamp=int(time.time() * 1000))])
    answer = await produce(cluster, node_id, topic, records)
    assert answer.error_code == 0, ErrorCode(answer.error_code)
    return answer.base_offset


def kept(log: Log) -> list[tuple[int, bytes | None]]:
    found = []
    offset = log.log_start_offset
    while data := log.read(offset, 1 << 20):
        for header, each in iter_batches(data):
            found += [(record.offset, record.key) for record in read_records(bytes(each))]
            offset = header.next_offset
    return found


async def filled(cluster: InProcessCluster, topic: str = "t", replicas: list[int] | None = None) -> None:
    """Twelve records of three keys, of which the last ones stay; offset 12 is in the segment that takes appends."""
    await create_topic(cluster, topic, [replicas or [1, 2, 3]], configs=COMPACTED)
    for number in range(12):
        await put(cluster, topic, b"%d" % (number % 3), b"%d" % number)
    await put(cluster, topic, b"last", b"")


LEFT = [(9, b"0"), (10, b"1"), (11, b"2"), (12, b"last")]


async def test_every_replica_is_compacted_and_says_how_far(cleaning: InProcessCluster) -> None:
    await filled(cleaning)
    logs = [replica_of(cleaning, node_id, "t").log for node_id in (1, 2, 3)]
    await cleaning.until(lambda: all(kept(each) == LEFT for each in logs), "all are compacted")
    for offset in range(10):
        answer = await fetch_one(cleaning, 1, "t", offset=offset)
        assert next(iter_batches(answer.records or b""))[0].base_offset == 9
    path = Path(logs[0].directory).parent / "cleaner-offset-checkpoint"
    await cleaning.until(lambda: path.read_text() == "0\n1\nt 0 12\n", "the checkpoint is written")
    # An end without a word: what was compacted is what is there, and the next updates are compacted as well.
    await cleaning.kill(1)
    await cleaning.start(1)
    await until_in_sync(cleaning, "t", 3)
    log = replica_of(cleaning, 1, "t").log
    assert kept(log) == LEFT and log.first_dirty_offset == 12
    leader = replica_of(cleaning, 2, "t").partition.leader_id
    for number in range(3):
        await put(cleaning, "t", b"%d" % number, b"new", leader)
    await put(cleaning, "t", b"last", b"", leader)
    # What takes appends is not looked at: the older one of the last key is still there.
    expected = [(12, b"last"), (13, b"0"), (14, b"1"), (15, b"2"), (16, b"last")]
    await cleaning.until(lambda: kept(log) == expected, "the new updates are compacted")


async def test_a_replica_that_copied_the_gaps_keeps_them_when_it_is_killed(cleaning: InProcessCluster) -> None:
    await filled(cleaning, replicas=[1])
    await cleaning.until(lambda: kept(replica_of(cleaning, 1, "t").log) == LEFT, "the leader is compacted")
    await reassign(cleaning, "t", [1, 2])
    await until_in_sync(cleaning, "t", 2)
    assert kept(replica_of(cleaning, 2, "t").log) == LEFT
    await cleaning.kill(1)
    await cleaning.kill(2)
    await cleaning.start(1, 2)
    await until_in_sync(cleaning, "t", 2)
    for node_id in (1, 2):
        log = replica_of(cleaning, node_id, "t").log
        assert kept(log) == LEFT and (log.log_start_offset, log.log_end_offset) == (0, 13)


async def test_committed_offsets_are_found_in_a_compacted_log(cleaning: InProcessCluster) -> None:
    await create_topic(cleaning, "t", [[1, 2, 3]])
    node_id = await coordinator_of(cleaning, "g")
    for name, value in COMPACTED.items():
        await alter_config(cleaning, name, value, OFFSETS)
    number = cleaning[node_id].groups.partition_for("g")
    for offset in range(1, 20):
        await asyncio.sleep(0.003)
        assert await commit(cleaning, node_id, "g", offset) is ErrorCode.NONE
    logs = [replica_of(cleaning, each, OFFSETS, number).log for each in (1, 2, 3)]
    await cleaning.until(lambda: all(len(kept(each)) <= 2 for each in logs), "the commits are compacted")
    await cleaning.stop(node_id)
    other = await coordinator_of(cleaning, "g")
    assert other != node_id
    assert await fetched(cleaning, other, "g") == (ErrorCode.NONE, 19)


async def test_a_log_that_cannot_be_compacted_is_left_alone_and_others_are_not(tmp_path: Path) -> None:
    async with InProcessCluster(tmp_path, 1, CONFIGS | {"log.cleaner.enable": "false"}) as cluster:
        await filled(cluster, "bad", [1])
        await asyncio.sleep(0.1)
        assert len(kept(replica_of(cluster, 1, "bad").log)) == 13, "log.cleaner.enable is false"
        path = Path(replica_of(cluster, 1, "bad").log.segments[2].log_path)
        await cluster.stop(1)
    data = bytearray(path.read_bytes())  # noqa: ASYNC240
    data[-1] ^= 1
    path.write_bytes(data)  # noqa: ASYNC240
    async with InProcessCluster(tmp_path, 1, CONFIGS) as cluster:
        await until_led_by(cluster, "bad", 1)
        await filled(cluster, "good", [1])
        await cluster.until(lambda: kept(replica_of(cluster, 1, "good").log) == LEFT, "the other one is compacted")
        bad = replica_of(cluster, 1, "bad").log
        assert [each.base_offset for each in bad.segments] == list(range(13)) and bad.first_dirty_offset == 0
        assert path.read_bytes() == data  # noqa: ASYNC240
        answer = await produce(
            cluster, 1, "bad", build_batch([NewRecord(b"k", b"v", timestamp=int(time.time() * 1000))])
        )
        assert answer.error_code == 0, "it still takes records"


async def test_a_topic_that_is_deleted_while_it_is_compacted(cleaning: InProcessCluster) -> None:
    """And made again: nothing of what was noted of the old one is true of the new one."""
    await filled(cleaning, replicas=[1])
    await delete_topic(cleaning, "t")
    await cleaning.until(lambda: cleaning[1].replicas.get("t", 0) is None)
    await filled(cleaning, replicas=[1])
    await cleaning.until(lambda: kept(replica_of(cleaning, 1, "t").log) == LEFT, "the new one is compacted")
