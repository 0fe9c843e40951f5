"""The record reader over scripted brokers: where it begins, that it goes on, what it says when it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from engine.client.record_reader import ReadBatch, RecordReader, StartAt, StartKind
from tests.unit.client.fake_cluster import FakeCluster
from tests.unit.client.fake_network import FakeWorld
from tests.unit.client.virtual_time import virtual_time


def made() -> FakeCluster:
    cluster = FakeCluster(FakeWorld())
    for number, partition in enumerate(cluster.add_topic("a", 2)):
        partition.append(*(f"a{number}.{each}".encode() for each in range(5)), timestamp=1_000 + number)
    return cluster


class Taken:
    """What came so far."""

    def __init__(self, cluster: FakeCluster, *topics: str, **more: Any) -> None:
        self.reader = RecordReader(cluster.world, cluster.bootstrap, topics, **more)
        self.batches: list[ReadBatch] = []
        self._changed = asyncio.Event()
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        async for batch in self.reader:
            self.batches.append(batch)
            self._changed.set()

    @property
    def values(self) -> list[str]:
        return [(each.value or b"").decode() for batch in self.batches for each in batch.records]

    @property
    def last(self) -> ReadBatch:
        return self.batches[-1]

    async def until(self, what: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not what():
                self._changed.clear()
                await self._changed.wait()

    async def close(self) -> None:
        self.reader.close()
        await self._reading


@virtual_time
async def test_reading_from_the_start_gives_everything_in_order_of_each_partition() -> None:
    taken = Taken(made(), "a", start=StartAt(StartKind.START))
    await taken.until(lambda: len(taken.values) == 10)
    for number in (0, 1):
        assert [each for each in taken.values if each.startswith(f"a{number}")] == [f"a{number}.{n}" for n in range(5)]
    await taken.until(lambda: taken.last.caught_up)
    await taken.close()


@virtual_time
async def test_reading_from_the_end_gives_only_what_comes_later() -> None:
    cluster = made()
    taken = Taken(cluster, "a")
    await taken.until(lambda: bool(taken.batches) and taken.last.caught_up)
    cluster.topics["a"][1].append(b"new")
    await taken.until(lambda: bool(taken.values))
    assert taken.values == ["new"]
    await taken.close()


@virtual_time
async def test_offsets_count_from_the_start_or_back_from_the_end_and_are_moved_into_the_log() -> None:
    for value, expected in ((3, ["a0.3", "a0.4"]), (-1, ["a0.4"]), (-100, [f"a0.{n}" for n in range(5)])):
        taken = Taken(made(), "a", partitions=[0], start=StartAt(StartKind.OFFSET, value))
        await taken.until(lambda taken=taken, expected=expected: len(taken.values) == len(expected))
        assert taken.values == expected
        await taken.close()


@virtual_time
async def test_a_timestamp_finds_the_first_record_at_or_after_it_and_the_end_if_there_is_none() -> None:
    cluster = made()
    taken = Taken(cluster, "a", start=StartAt(StartKind.TIMESTAMP, 1_001))
    await taken.until(lambda: len(taken.values) == 5)
    assert taken.values == [f"a1.{n}" for n in range(5)]
    cluster.topics["a"][0].append(b"late", timestamp=2_000)
    await taken.until(lambda: len(taken.values) == 6)
    assert taken.values[-1] == "late"
    await taken.close()


@virtual_time
async def test_several_topics_are_read_at_once() -> None:
    cluster = made()
    cluster.add_topic("b")[0].append(b"b0.0")
    taken = Taken(cluster, "b", "a", start=StartAt(StartKind.START))
    await taken.until(lambda: len(taken.values) == 11)
    assert {each.topic for batch in taken.batches for each in batch.records} == {"a", "b"}
    await taken.close()


@virtual_time
async def test_a_leader_that_dies_is_named_and_the_new_one_read_without_gap() -> None:
    cluster = made()
    taken = Taken(cluster, "a", partitions=[0], start=StartAt(StartKind.START))
    await taken.until(lambda: len(taken.values) == 5)
    cluster.kill(1, elect=False)
    await taken.until(lambda: bool(taken.last.problem))
    assert "broker 1" in taken.last.problem
    cluster.fail_over(1)
    cluster.topics["a"][0].append(b"after")
    await taken.until(lambda: len(taken.values) == 6)
    assert taken.values[-1] == "after"
    await taken.until(lambda: not taken.last.problem)
    await taken.close()


@virtual_time
async def test_a_partition_without_leader_and_a_topic_that_is_not_there_are_named() -> None:
    cluster = made()
    cluster.topics["a"][1].leader = -1
    taken = Taken(cluster, "a", "nope", start=StartAt(StartKind.START))
    await taken.until(lambda: len(taken.values) == 5)
    assert "a-1: no leader" in taken.last.problem and "nope: UNKNOWN_TOPIC_OR_PARTITION" in taken.last.problem
    cluster.topics["a"][1].leader = 2
    await taken.until(lambda: len(taken.values) == 10)
    await taken.close()


@virtual_time
async def test_records_that_retention_removed_are_skipped() -> None:
    cluster = made()
    taken = Taken(cluster, "a", partitions=[0])
    await taken.until(lambda: bool(taken.batches) and taken.last.caught_up)
    partition = cluster.topics["a"][0]
    partition.batches.clear()
    partition.end = partition.start = 100
    partition.append(b"far away")
    await taken.until(lambda: bool(taken.values))
    assert taken.values == ["far away"] and taken.batches[-1].records[0].offset == 100
    await taken.close()


@virtual_time
async def test_a_partition_that_is_added_later_is_read_from_its_start() -> None:
    cluster = made()
    taken = Taken(cluster, "a")
    await taken.until(lambda: bool(taken.batches) and taken.last.caught_up)
    cluster.add_topic("x")
    cluster.topics["a"].append(cluster.topics.pop("x")[0])
    cluster.topics["a"][2].append(b"first of the new one")
    await taken.until(lambda: bool(taken.values))
    assert taken.values == ["first of the new one"]
    await taken.close()


@virtual_time
async def test_seeking_begins_anew_and_drops_what_waits() -> None:
    taken = Taken(made(), "a", partitions=[1], start=StartAt(StartKind.START))
    await taken.until(lambda: len(taken.values) == 5)
    taken.reader.seek(StartAt(StartKind.OFFSET, 2))
    await taken.until(lambda: len(taken.values) == 8)
    assert taken.values[5:] == ["a1.2", "a1.3", "a1.4"]
    await taken.close()


@virtual_time
async def test_a_batch_that_does_not_unpack_is_one_row_that_says_so_and_the_next_are_read() -> None:
    cluster = made()
    partition = cluster.topics["a"][0]
    broken = bytearray(partition.batches[0])
    broken[60:] = b"\xff" * (len(broken) - 60)
    partition.batches[0] = bytes(broken)
    partition.append(b"whole")
    taken = Taken(cluster, "a", partitions=[0], start=StartAt(StartKind.START))
    await taken.until(lambda: "whole" in taken.values)
    first = taken.batches[0].records[0]
    assert first.error and first.offset == 0
    await taken.close()
