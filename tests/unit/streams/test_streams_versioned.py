"""Versioned stores and joins with grace, beyond what is held to Kafka Streams: engines, restarts, queries, errors."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.streams import (
    Consumed,
    Grouped,
    Joined,
    Materialized,
    Serdes,
    Stores,
    StreamsBuilder,
    Suppressed,
    TimeWindows,
    TopologyError,
    TopologyTestDriver,
    VersionedKeyValueStore,
    VersionedRecord,
)
from engine.streams.processors.grace_join import JoinBuffer, join_buffer_builder
from engine.streams.queries.catalogue import Catalogue
from engine.streams.queries.errors import WrongKind
from engine.streams.queries.query import Kind, read_query, write_query
from engine.streams.queries.reading import read_entries
from engine.streams.records import InputRecord, Row
from engine.streams.stores.builders import DAY_MS, BuildContext
from engine.streams.stores.kinds import engines_by_name
from engine.streams.stores.versioned import NOT_PUT, VALID_TO_UNDEFINED
from engine.streams.suppressed import BufferConfig
from engine.streams.task import StreamTask
from tests.unit.streams.test_streams_batches import Collected

TEXT = Serdes.string()
READ = Consumed(key_serde=TEXT, value_serde=TEXT)
ENGINES = ["memory", "sqlite", "rocksdb"]


def opened(engine: str, directory: Path, retention: int = 50, interval: int = 10) -> VersionedKeyValueStore[Any, Any]:
    builder = Stores.persistent_versioned_key_value_store("versions", retention, interval, TEXT, TEXT)
    store = builder.build(BuildContext(engines_by_name()[engine], directory))
    assert isinstance(store, VersionedKeyValueStore)
    return store


class Model:
    """What a versioned store means: every version that was ever put, looked through."""

    def __init__(self, retention: int) -> None:
        self.retention, self.now = retention, -1
        self.versions: dict[str, dict[int, str | None]] = {}

    def put(self, key: str, value: str | None, time: int) -> int:
        if time < self.now - self.retention:
            return NOT_PUT
        self.now = max(self.now, time)
        versions = self.versions.setdefault(key, {})
        versions[time] = value
        return min((each for each in versions if each > time), default=VALID_TO_UNDEFINED)

    def get(self, key: str, as_of: int) -> tuple[str, int] | None:
        versions = self.versions.get(key, {})
        newest = max(versions, default=-1)
        begin = max((each for each in versions if each <= as_of), default=None)
        if begin is None or (as_of < self.now - self.retention and begin != newest):
            return None
        value = versions[begin]
        return None if value is None else (value, begin)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_keeps_the_versions_that_were_put_over_restarts(engine: str, tmp_path: Path) -> None:
    rng = random.Random(7)
    store, model, time = opened(engine, tmp_path), Model(50), 0
    for step in range(300):
        time += rng.choice([0, 1, 1, 3])
        # A version is not deleted at its own time: what is then left of it is Kafka's affair (StreamsVersions.java).
        key, at = rng.choice("ab\0"), max(0, time - rng.choice([0, 0, 2, 9, 30, 49, 70]))
        value = None if rng.random() < 0.2 and at not in model.versions.get(key, {}) else str(step)
        assert store.put(key, value, at) == model.put(key, value, at), step
        for as_of in (at - 1, at, at + 1, time - 50, time - 20, time):
            found = store.get(key, max(0, as_of))
            assert (None if found is None else found[:2]) == model.get(key, max(0, as_of)), (step, as_of)
        if step % 50 == 49:
            store.commit(step)
            if engine != "memory":
                store.close()
                store = opened(engine, tmp_path)
                assert store.changelog_offset() == step
                store.resume_time(model.now)
    store.close()


def test_versions_go_from_the_engine_when_they_are_too_old(tmp_path: Path) -> None:
    store = opened("memory", tmp_path)
    for time in range(0, 10_000, 5):
        store.put("k", str(time), time)
    assert len(list(store._bytes.fetch_range(None, None, 0, 2**63 - 1))) <= 14


def test_a_store_that_is_restored_from_its_changelog_answers_as_the_one_that_wrote_it(tmp_path: Path) -> None:
    rng, store, time = random.Random(3), opened("memory", tmp_path), 0
    for step in range(300):
        time += rng.choice([0, 1, 5])
        store.put(rng.choice("ab"), rng.choice([str(step), str(step), None]), max(0, time - rng.choice([0, 8, 40, 60])))
    other = opened("sqlite", tmp_path)
    other.restore(store.take_changes())
    assert other.observed_stream_time == store.observed_stream_time
    for key in "ab":
        for as_of in range(time - 60, time + 5):
            assert other.get(key, as_of) == store.get(key, as_of)
    assert other.take_changes() == []
    other.close()


def test_a_version_tells_from_when_to_when_it_held(tmp_path: Path) -> None:
    store = opened("memory", tmp_path)
    store.put("k", "one", 10)
    store.put("k", "two", 20)
    assert store.put("k", "late", 15) == 20
    assert store.get("k") == VersionedRecord("two", 20)
    assert store.get("k", 19) == VersionedRecord("late", 15, 20)
    assert store.get("k", 14) == VersionedRecord("one", 10, 15)
    assert store.delete("k", 17) == VersionedRecord("late", 15, 20)
    assert store.get("k", 17) is None
    assert store.get("k", 16) == VersionedRecord("late", 15, 17)
    store.put("other", "x", 30)
    assert [key for key, _ in store.all()] == ["k", "other"]
    assert list(store.range("l")) == [("other", VersionedRecord("x", 30))]
    assert list(store.prefix_scan("k", TEXT)) == [("k", VersionedRecord("two", 20))]


def test_the_changelog_of_a_versioned_table_is_compacted_a_day_after_its_history() -> None:
    builder = StreamsBuilder()
    builder.table("in", READ, Materialized("table", history_retention_ms=60_000))
    (sub_topology,) = builder.build().sub_topologies("app")
    config = sub_topology.changelogs["app-table-changelog"].config
    assert config["cleanup.policy"] == "compact"
    assert config["min.compaction.lag.ms"] == str(60_000 + DAY_MS)
    assert "retention.ms" not in config
    assert not builder.build().store_builders["table"].caching_enabled


def test_what_cannot_be_versioned_says_so() -> None:
    versioned = Materialized("v", history_retention_ms=100)
    builder = StreamsBuilder()
    with pytest.raises(TopologyError, match="historyRetention cannot be negative"):
        Stores.persistent_versioned_key_value_store("v", -1)
    with pytest.raises(TopologyError, match="segmentInterval cannot be zero"):
        Stores.persistent_versioned_key_value_store("v", 1, 0)
    with pytest.raises(TopologyError, match="GlobalTables cannot be versioned"):
        builder.global_table("in", READ, versioned)
    with pytest.raises(TopologyError, match="not kept in a window store"):
        Materialized.of(Stores.window("w", 10, 5))
    grouped = builder.stream("stream", READ).group_by_key(Grouped(key_serde=TEXT, value_serde=TEXT))
    with pytest.raises(TopologyError, match=r"windowed table \(v\) cannot be versioned"):
        grouped.windowed_by(TimeWindows.of_size_with_no_grace(10)).count(versioned)
    table = builder.table("in", READ, versioned)
    wait = Suppressed.until_time_limit(10, BufferConfig.unbounded())
    with pytest.raises(TopologyError, match="only supported for non-versioned KTables"):
        table.suppress(wait)
    table.filter(lambda k, v: True).suppress(wait)
    with pytest.raises(TopologyError, match="inherited from upstream"):
        builder.build()


@pytest.mark.parametrize(
    ("history", "grace", "why"), [(None, 5, "must be versioned"), (10, 11, "History retention must be at least grace")]
)
def test_a_join_with_grace_needs_a_history_as_long(history: int | None, grace: int, why: str) -> None:
    def build() -> None:
        builder = StreamsBuilder()
        table = builder.table("table", READ, Materialized("rows", history_retention_ms=history))
        builder.stream("in", READ).join(table.map_values(str), min, Joined(grace_ms=grace)).to("out")
        builder.build()

    with pytest.raises(TopologyError, match=why):
        build()


def test_a_record_without_a_key_goes_on_at_once_from_a_left_join_with_grace() -> None:
    builder = StreamsBuilder()
    table = builder.table("table", READ, Materialized("rows", history_retention_ms=100, value_serde=TEXT))
    joined = Joined(key_serde=TEXT, value_serde=TEXT, grace_ms=50)
    builder.stream("in", READ).left_join(table, lambda one, other: f"{one}{other}", joined).to("out")
    with TopologyTestDriver(builder.build(), {"default.value.serde": TEXT, "default.key.serde": TEXT}) as driver:
        stream, output = driver.create_input_topic("in", TEXT, TEXT), driver.create_output_topic("out", TEXT, TEXT)
        stream.pipe_input("k", "waits", timestamp=10)
        stream.pipe_input(None, "goes on", timestamp=11)
        assert output.read_key_values() == [(None, "goes onNone")]


class Times:
    """A store's context."""

    def timestamp(self) -> int:
        return 0

    def dropped(self, where: str, count: int = 1) -> None:
        raise AssertionError(where)


def buffer(engine: str, directory: Path) -> JoinBuffer:
    made = join_buffer_builder("buffer", 10, TEXT, TEXT).build(BuildContext(engines_by_name()[engine], directory))
    assert isinstance(made, JoinBuffer)
    return made


@pytest.mark.parametrize("engine", ENGINES)
def test_what_waits_for_a_join_waits_on_after_a_restart(engine: str, tmp_path: Path) -> None:
    rows: list[Row] = [
        (key, value, time, (("h", b"1"),), at)
        for at, (key, value, time) in enumerate([("b", "1", 20), ("a", "2", 20), ("a", "3", 20), ("c", "4", 15)])
    ]
    first = buffer(engine, tmp_path)
    first.init(Times())
    assert all(first.put(row, "in", 3) for row in rows)
    assert list(first.take_due()) == []
    changes = first.take_changes()
    assert len({key for key, _, _, _ in changes}) == 4
    first.commit(4)
    first.close()
    second = buffer(engine, tmp_path)
    if engine == "memory":
        second.restore(changes)
    second.init(Times())
    late = ("z", "late", 9, (), 9)
    assert not second.put(late, "in", 3)
    assert second.put(("a", "5", 20, (), 5), "in", 3)
    assert second.put(("d", "6", 30, (), 6), "in", 4)
    taken = list(second.take_due())
    assert [(row[0], row[1]) for row, _, _ in taken] == [("c", "4"), ("a", "2"), ("a", "3"), ("a", "5"), ("b", "1")]
    assert taken[0] == (rows[3], "in", 3)
    assert list(second.take_due()) == []
    # What its changelog then says is what waits.
    third = buffer("memory", tmp_path)
    third.restore([*changes, *second.take_changes()])
    third.init(Times())
    assert third.put(("e", "7", 40, (), 7), "in", 0)
    assert [(row[0], topic, partition) for row, topic, partition in third.take_due()] == [("d", "in", 4)]
    second.close()


def test_a_version_is_asked_for_by_its_time() -> None:
    builder = StreamsBuilder()
    builder.table("in", READ, Materialized("table", history_retention_ms=100))
    builder.table("plain", READ, Materialized("plain"))
    topology = builder.build()
    infos = Catalogue(topology, topology.sub_topologies("app"), "app", {})
    with TopologyTestDriver(topology) as driver:
        source = driver.create_input_topic("in", TEXT, TEXT)
        for time, value in ((10, "one"), (20, "two")):
            source.pipe_input("k", value, timestamp=time)
        store = driver.get_state_store("table")

        def asked(kind: Kind, **given: str) -> Iterator[dict[str, Any]]:
            query, wishes = read_query(infos["table"], kind, given)
            assert read_query(infos["table"], kind, write_query(query, wishes)) == (query, wishes)
            return (each.document(infos["table"], 0) for each in read_entries(store, infos["table"], query)[0])

        (newest,) = asked(Kind.KEY, key="k")
        assert (newest["value"], newest["timestamp"]) == ("two", 20)
        assert "valid_to" not in newest
        (held,) = asked(Kind.KEY, key="k", as_of="19")
        assert (held["value"], held["timestamp"], held["valid_to"]) == ("one", 10, 20)
        assert list(asked(Kind.KEY, key="k", as_of="9")) == []
        assert [each["value"] for each in asked(Kind.RANGE, prefix="k")] == ["two"]
    with pytest.raises(WrongKind, match="plain is a timestamped-key-value store: it keeps no versions"):
        read_query(infos["plain"], Kind.KEY, {"key": "k", "as_of": "1"})


def test_what_is_late_is_late_after_a_restart_that_restores_nothing(tmp_path: Path) -> None:
    builder = StreamsBuilder()
    builder.table("in", READ, Materialized("table", history_retention_ms=20)).to_stream().to("out")
    topology, collected = builder.build(), Collected()

    def begun(times: dict[str, int]) -> StreamTask:
        config = {"application.id": "app", "default.key.serde": TEXT, "default.value.serde": TEXT}
        engines = engines_by_name()["sqlite"]
        task = StreamTask(
            topology, config, sub_topology=0, partition=0, collector=collected, engines=engines, directory=tmp_path
        )
        task.processor_metadata.update(times)
        task.init(0)
        return task

    times: dict[str, int] = {}
    for offset, time in enumerate((100, 79, 80)):
        task = begun(times)
        task.add_records("in", 0, [InputRecord(offset, time, b"k", b"v")])
        assert task.process(0) == 1
        task.prepare_commit()
        task.committed({"table": offset + 1})
        times = dict(task.processor_metadata)
        assert task.dropped_records == ({"table": 1} if time == 79 else {})
        task.close()
    assert [record.timestamp for record in collected.output["out"]] == [100, 80]


@pytest.mark.parametrize("engine", ["sqlite", "rocksdb"])
def test_what_was_too_late_is_too_late_for_who_restores_the_rest(engine: str, tmp_path: Path) -> None:
    store = opened(engine, tmp_path)
    store.put("k", "v", 100)
    store.commit(1)
    assert store.put("late", "v", 10) == NOT_PUT
    unsaved = store.take_changes()[1:]
    store.close()  # killed: its last changes are in the changelog alone
    store = opened(engine, tmp_path)
    store.restore(unsaved)
    assert store.get("late") is None
    store.close()
