"""A task that ends after a commit and begins anew goes on as if nothing had been: from its changelogs, or its files."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.streams.global_task import GlobalTask
from engine.streams.processors.stream_join import EMIT_INTERVAL_CONFIG as JOINS
from engine.streams.processors.suppress import SuppressionBuffer
from engine.streams.processors.window_aggregate import EMIT_INTERVAL_CONFIG as WINDOWS
from engine.streams.records import ChangelogRecord, InputRecord
from engine.streams.stores.memory import MemoryEngines
from engine.streams.stores.sqlite import SqliteEngines
from engine.streams.task import StreamTask
from engine.streams.topology import Topology
from tests.unit.streams.streams_topologies import S, topology
from tests.unit.streams.test_streams_batches import RECORDS, Collected

CONFIG = {"application.id": "test", "default.key.serde": S, "default.value.serde": S, JOINS: 0, WINDOWS: 0}
NAMES = [
    "asof",
    "fkleft",
    "graced",
    "hopclose",
    "hopping",
    "jstream",
    "ojstream",
    "selfjoin",
    "session",
    "sliding",
    "suppress",
    "suppresstime",
    "tagg",
    "ttleft",
    "versions",
]


class Worker:
    """A task of one sub-topology, with what it wrote to the cluster; stores are in ``directory``, or in memory."""

    def __init__(self, built: Topology, number: int, directory: Path | None = None) -> None:
        self.built = built
        self.directory = directory
        self.number = number
        self.collected = Collected()
        self.globals = GlobalTask(built, CONFIG)
        self.globals.init(0)
        self.task = self.begin()
        self.task.init(0)

    def begin(self) -> StreamTask:
        return StreamTask(
            self.built,
            CONFIG,
            sub_topology=self.number,
            partition=0,
            collector=self.collected,
            engines=MemoryEngines() if self.directory is None else SqliteEngines(),
            directory=self.directory,
            global_stores=self.globals.stores,
        )

    def process(self, records: list[tuple[str, InputRecord]], *, killed: bool = False) -> None:
        """Work and commit; who is ``killed`` after that has not made its stores durable."""
        for topic, record in records:
            try:
                self.task.add_records(topic, 0, [record])
            except KeyError:
                continue
            while self.task.process(0, limit=10):
                pass
        self.task.prepare_commit()
        if killed:
            return
        self.task.committed({store: len(self._logged(topic)) for store, topic in self.task.changelog_topics().items()})

    def _logged(self, changelog: str) -> list[ChangelogRecord]:
        return self.collected.changes.get(changelog, [])

    def restart(self) -> None:
        metadata = self.task.processor_metadata
        self.task.close()
        self.task = self.begin()
        for store, changelog in self.task.changelog_topics().items():
            self.task.restore(store, self._logged(changelog)[self.task.stores[store].changelog_offset() or 0 :])
        self.task.processor_metadata.update(metadata)
        self.task.init(0)


@pytest.mark.parametrize("name", NAMES)
@given(records=RECORDS, cut=st.integers(0, 25), on_disk=st.booleans(), killed=st.booleans())
@settings(max_examples=12, deadline=None)
def test_output_is_that_of_a_task_that_never_ended(
    name: str, records: list[tuple[str, str | None, str | None, int]], cut: int, on_disk: bool, killed: bool
) -> None:
    built = topology(name)
    fetched = [
        (topic, InputRecord(at, time, key and key.encode(), value and value.encode()))
        for at, (topic, key, value, time) in enumerate(records)
        if value is not None or topic in "tu"
    ]
    for number in range(len(built.node_groups())):
        with TemporaryDirectory() as directory:
            whole, ended = Worker(built, number), Worker(built, number, Path(directory) if on_disk else None)
            parts = fetched[: cut // 2], fetched[cut // 2 : cut], fetched[cut:]
            for part in parts:
                whole.process(part)
            ended.process(parts[0])
            ended.process(parts[1], killed=killed)
            ended.restart()
            ended.process(parts[2])
            ended.task.close()
        assert ended.collected.output == whole.collected.output
        assert ended.collected.changes == whole.collected.changes


def test_what_waits_anew_within_a_commit_keeps_its_own_time_where_it_is_restored() -> None:
    def buffer() -> SuppressionBuffer:
        return SuppressionBuffer("buffer", S, S, logged=True)

    first, restored = buffer(), buffer()
    first.put(10, ("k", ("old", None), 10, (), 0), "in", 0)
    first.flush()
    first.take()
    first.put(20, ("k", ("new", "old"), 20, (), 1), "in", 0)  # one record for the going and the coming
    first.flush()
    restored.restore(first.take_changes())
    assert restored.earliest() == first.earliest() == 20
    assert restored.take() == first.take()
    assert restored.size == 0


def test_a_session_that_is_to_be_emitted_with_the_next_record_is_there_where_it_is_restored() -> None:
    records = [("a", InputRecord(at, time, key, b"v")) for at, (key, time) in enumerate([(b"b", 45), (b"a", 35)])]
    worker = Worker(topology("sessionclose"), 0)
    worker.process(records)
    worker.restart()
    worker.process([("a", InputRecord(2, 274, b"c", b"v"))])
    assert [record.key for record in worker.collected.output["out"]] == [b"a@35-35", b"b@45-45"]
