"""What a restore has read is kept when it is broken off: by a rebalance, or by a kill every so many records."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message

from engine.streams import Materialized
from engine.streams.runtime import restore
from engine.streams.runtime.config import StreamsConfig
from engine.streams.runtime.group_topology import TaskId
from engine.streams.runtime.worker_task import WorkerTask
from engine.streams.stores.sqlite import SqliteEngines
from engine.streams.task import StreamTask
from tests.unit.streams.test_streams_batches import CONFIG, Collected
from tests.unit.streams.test_streams_cache import counting

CHANGELOG = "test-counts-changelog"
RECORDS = 100


class Broker:
    """A changelog of a hundred records: the answers of ``Topics``, and a consumer that reads ten at a time."""

    def __init__(self) -> None:
        self.next = 0

    def ask_offsets(self, partitions: list[Any], *, latest: bool) -> Future[dict[Any, int]]:
        answer: Future[dict[Any, int]] = Future()
        answer.set_result(dict.fromkeys(partitions, RECORDS if latest else 0))
        return answer

    def incremental_assign(self, partitions: list[Any]) -> None:
        self.next = max(partitions[0].offset, 0)

    def incremental_unassign(self, partitions: list[Any]) -> None:
        """Nothing is fetched ahead."""

    def consume(self, count: int, timeout_s: float) -> list[Message]:
        offsets = range(self.next, min(self.next + 10, RECORDS))
        self.next = offsets.stop
        return [
            Message(topic=CHANGELOG, partition=0, offset=at, key=b"k%d" % at, value=bytes(8), timestamp=(1, at))
            for at in offsets
        ]


def begun(broker: Broker, directory: Path) -> tuple[restore.ChangelogReader, WorkerTask]:
    task = StreamTask(
        counting(Materialized("counts")),
        CONFIG,
        sub_topology=0,
        partition=0,
        collector=Collected(),
        engines=SqliteEngines(),
        directory=directory,
    )
    owner = WorkerTask(TaskId(0, 0), "active", task, [("words", 0)])
    config = StreamsConfig({"application.id": "test", "bootstrap.servers": "127.0.0.1:1"})
    reader = restore.ChangelogReader(config, broker, "test")  # type: ignore[arg-type]
    reader.add(owner)
    return reader, owner


def test_a_restore_goes_on_where_it_was_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker()
    monkeypatch.setattr(restore, "make_consumer", lambda *_: broker)
    monkeypatch.setattr(restore, "_SAVE_EVERY", 40)
    reader, owner = begun(broker, tmp_path)
    assert [reader.poll(0) for _ in range(7)] == [10] * 7
    owner.task.close()  # as a kill has it: the reader is not asked

    reader, owner = begun(broker, tmp_path)
    assert owner.task.stores["counts"].changelog_offset() == 40
    assert [reader.poll(0) for _ in range(3)] == [10] * 3
    reader.remove(owner)  # the task goes elsewhere
    owner.task.close()

    reader, owner = begun(broker, tmp_path)
    assert owner.task.stores["counts"].changelog_offset() == 70
    while not reader.is_restored(owner):
        reader.poll(0)
    assert owner.task.stores["counts"].approximate_num_entries() == RECORDS  # type: ignore[attr-defined]
    assert reader.progress(owner)[0]["restored"] == 30
    owner.task.close()
