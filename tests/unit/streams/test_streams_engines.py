"""Every place that keeps stores means the same: sqlite and RocksDB against the engine in memory, step by step.

The chunks of iterators and the batches are made small, so that every example crosses their edges.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.streams import Serdes, Stores
from engine.streams.stores import buffered
from engine.streams.stores.builders import BuildContext
from engine.streams.stores.errors import StateStoreError
from engine.streams.stores.kinds import engines_by_name
from engine.streams.stores.memory import MemoryKeyValueEngine, MemorySessionEngine, MemoryWindowEngine
from engine.streams.stores.ordered import OrderedSessionEngine, OrderedWindowEngine
from engine.streams.stores.rocksdb import RocksDbBackend, RocksDbEngines
from engine.streams.stores.sqlite import SqliteBackend, SqliteEngines

PLACES = {"sqlite": SqliteBackend, "rocksdb": RocksDbBackend}
ALL_ENGINES = [SqliteEngines, RocksDbEngines]
LEAN = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


@pytest.fixture(params=sorted(PLACES))
def items(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(buffered, "_FIRST_CHUNK", 1)
    monkeypatch.setattr(buffered, "_NEXT_CHUNK", 2)
    backend = PLACES[request.param](tmp_path / "store", "key-value")
    engine = buffered.BufferedEngine(backend, stage_at=3, cache_bytes=600)
    yield engine
    engine.close()


KEYS = st.binary(max_size=3).map(lambda raw: bytes((0, 1, 254, 255)[byte % 4] for byte in raw))
BOUNDS = st.none() | KEYS
VALUES = st.none() | st.binary(max_size=2)
TIMES = st.integers(-2, 12)
COMMIT = st.sampled_from([("commit",), ("commit",), ("wipe",)])
FLAG = st.booleans()


@LEAN
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), KEYS, VALUES),
            st.tuples(st.just("put"), KEYS, VALUES),
            st.tuples(st.just("put_many"), st.lists(st.tuples(KEYS, VALUES), max_size=5)),
            st.tuples(st.just("get"), KEYS),
            st.tuples(st.just("range"), BOUNDS, BOUNDS, FLAG),
            st.tuples(st.just("prefix"), KEYS),
            COMMIT,
        ),
        max_size=30,
    )
)
def test_key_value_engines_are_one(items: Any, steps: list[Any]) -> None:
    items.wipe()
    model = MemoryKeyValueEngine()
    for name, *arguments in steps:
        if name == "commit":
            items.commit(None)
        elif name == "range":
            low, high, reverse = arguments
            assert list(items.range(low, high, reverse=reverse)) == list(model.range(low, high, reverse=reverse))
        elif name == "prefix":
            assert list(items.prefix(*arguments)) == list(model.prefix(*arguments))
        else:
            assert getattr(items, name)(*arguments) == getattr(model, name)(*arguments)
    assert list(items.range(None, None)) == list(model.range(None, None))


@LEAN
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), KEYS, TIMES, st.integers(0, 2), VALUES),
            st.tuples(st.just("put"), KEYS, TIMES, st.integers(0, 2), VALUES),
            st.tuples(st.just("get"), KEYS, TIMES),
            st.tuples(st.just("fetch"), KEYS, TIMES, TIMES, FLAG),
            st.tuples(st.just("fetch_range"), BOUNDS, BOUNDS, TIMES, TIMES, FLAG),
            st.tuples(st.just("remove_before"), TIMES),
            COMMIT,
        ),
        max_size=30,
    )
)
def test_window_engines_are_one(items: Any, steps: list[Any]) -> None:
    items.wipe()
    engine, model = OrderedWindowEngine(items), MemoryWindowEngine()
    for name, *arguments in steps:
        if name == "commit":
            engine.commit(None)
        elif name.startswith("fetch"):
            *span, reverse = arguments
            found = list(getattr(engine, name)(*span, reverse=reverse))
            expected = list(getattr(model, name)(*span, reverse=reverse))
            if name == "fetch":  # of one start, the model has the order of writing
                found.sort(reverse=reverse)
                expected.sort(reverse=reverse)
            assert found == expected
        else:
            assert getattr(engine, name)(*arguments) == getattr(model, name)(*arguments)
    left = list(model.fetch_range(None, None, -9, 99))
    assert list(engine.fetch_range(None, None, -9, 99)) == left
    engine.wipe()
    engine.put_many(left)
    assert list(engine.fetch_range(None, None, -9, 99)) == left
    engine.remove_before(99)
    engine.commit(None)
    assert list(items.range(None, None)) == []  # neither data nor index is left behind


@LEAN
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), KEYS, TIMES, TIMES, VALUES),
            st.tuples(st.just("put"), KEYS, TIMES, TIMES, VALUES),
            st.tuples(st.just("get"), KEYS, TIMES, TIMES),
            st.tuples(st.just("find"), BOUNDS, BOUNDS, TIMES, TIMES, FLAG),
            st.tuples(st.just("find"), st.just(b"\x01"), st.just(b"\x01"), TIMES, TIMES, FLAG),
            st.tuples(st.just("remove_before"), TIMES),
            COMMIT,
        ),
        max_size=30,
    )
)
def test_session_engines_are_one(items: Any, steps: list[Any]) -> None:
    items.wipe()
    engine, model = OrderedSessionEngine(items), MemorySessionEngine()
    for name, *arguments in steps:
        if name == "commit":
            engine.commit(None)
        elif name == "find":
            *span, reverse = arguments
            assert list(engine.find(*span, reverse=reverse)) == list(model.find(*span, reverse=reverse))
        else:
            assert getattr(engine, name)(*arguments) == getattr(model, name)(*arguments)
    left = list(model.find(None, None, -9, 99))
    assert list(engine.find(None, None, -9, 99)) == left
    engine.wipe()
    engine.put_many(left)
    engine.remove_before(99)
    engine.commit(None)
    assert list(items.range(None, None)) == []


@LEAN
@given(
    st.lists(st.tuples(KEYS, VALUES), max_size=8),
    st.lists(st.tuples(KEYS, VALUES), max_size=8),
    FLAG,
)
def test_an_iterator_may_be_read_on_while_the_store_is_written_to(
    items: Any, before: list[Any], meanwhile: list[Any], reverse: bool
) -> None:
    items.wipe()
    items.put_many(before)
    old = {key: value for key, value in dict(before).items() if value is not None}
    seen = []
    writes = iter(meanwhile)
    for item in items.range(None, None, reverse=reverse):
        seen.append(item)
        for key, value in writes:
            items.put(key, value)
            break
    keys = [key for key, _ in seen]
    assert keys == sorted(set(keys), reverse=reverse)
    untouched = {key: value for key, value in old.items() if key not in dict(meanwhile)}
    assert untouched.items() <= set(seen)
    assert set(seen) <= old.items() | set(meanwhile)


@pytest.mark.parametrize("kind", ALL_ENGINES)
def test_data_and_offset_come_back_as_of_the_last_commit(kind: Any, tmp_path: Path) -> None:
    engine = kind().key_value("counts", tmp_path)
    assert engine.persistent
    assert engine.changelog_offset() is None
    engine.put(b"a", b"1")
    engine.put(b"b", b"1")
    engine.commit(7)
    engine.put(b"a", b"2")
    engine.put(b"b", None)
    engine.close()

    engine = kind().key_value("counts", tmp_path)
    assert engine.changelog_offset() == 7
    assert list(engine.range(None, None)) == [(b"a", b"1"), (b"b", b"1")]
    engine.put(b"b", None)
    engine.commit(None)  # the offset is not known: what is known stays
    assert engine.changelog_offset() == 7
    engine.commit(9)
    engine.close()

    engine = kind().key_value("counts", tmp_path)
    assert (engine.changelog_offset(), list(engine.range(None, None))) == (9, [(b"a", b"1")])
    engine.wipe()
    assert (engine.changelog_offset(), list(engine.range(None, None))) == (None, [])
    engine.close()


@pytest.mark.parametrize("kind", ALL_ENGINES)
def test_a_store_opens_once_and_as_what_it_is(kind: Any, tmp_path: Path) -> None:
    engine = kind().window("w", tmp_path)
    engine.put(b"k", 5, 0, b"v")
    engine.commit(1)
    with pytest.raises(StateStoreError, match="another process has it open"):
        kind().window("w", tmp_path)
    engine.close()
    with pytest.raises(StateStoreError, match="holds a window store and the topology has a session store"):
        kind().session("w", tmp_path)
    with pytest.raises(StateStoreError, match="needs a directory"):
        kind().session("w", None)
    engine = kind().window("w", tmp_path)
    assert engine.get(b"k", 5) == b"v"
    engine.close()


@pytest.mark.parametrize("kind", ALL_ENGINES)
def test_what_is_too_old_leaves_the_disk(kind: Any, tmp_path: Path) -> None:
    engine = kind().window("w", tmp_path)
    for start in range(100):
        engine.put(b"k", start, 0, b"v")
    engine.commit(1)
    engine.remove_before(90)
    assert [start for start, _ in engine.fetch(b"k", 0, 1000)] == list(range(90, 100))
    engine.commit(2)
    engine.close()
    engine = kind().window("w", tmp_path)
    assert [start for start, _ in engine.fetch(b"k", 0, 1000)] == list(range(90, 100))
    engine.close()


def test_a_broken_file_is_named_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "sqlite" / "counts.db"
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StateStoreError, match=r"counts\.db: file is not a database; delete the file"):
        SqliteEngines().key_value("counts", tmp_path)


@pytest.mark.parametrize("place", sorted(PLACES))
def test_a_store_that_is_opened_again_goes_on_at_its_time(place: str, tmp_path: Path) -> None:
    context, text = BuildContext(engines_by_name()[place], tmp_path), Serdes.string()
    windows = Stores.window("windows", 1_000, 10, text, text, retain_duplicates=True)
    sessions = Stores.session("sessions", 1_000, text, text)
    window, session = windows.build(context), sessions.build(context)
    window.put("k", "old", 10)
    window.put("k", "first", 5_000)
    session.set("k", 0, 10, "old", 10)
    session.set("k", 4_000, 5_000, "new", 5_000)
    for each in (window, session):
        each.commit(1)
        each.close()

    window, session = windows.build(context), sessions.build(context)
    assert list(window.fetch("k", 0, 4_000)) == []
    assert session.fetch_session("k", 0, 10) is None
    window.put("k", "second", 5_000)  # a number of its own, else it would take the place of the first
    assert [value for _, value in window.fetch("k", 0, 5_000)] == ["first", "second"]
    window.wipe()
    assert window.observed_stream_time == -1
    for each in (window, session):
        each.close()


@pytest.mark.parametrize("place", ["memory", *sorted(PLACES)])
def test_there_are_never_fewer_entries_than_none(place: str, tmp_path: Path) -> None:
    store = Stores.key_value("store", Serdes.string(), Serdes.string()).build(
        BuildContext(engines_by_name()[place], tmp_path)
    )
    store.put("nobody", None)
    assert store.approximate_num_entries() == 0
    store.close()


def test_a_deletion_among_duplicates_means_as_little_where_it_is_restored() -> None:
    builder = Stores.window("windows", 100, 10, Serdes.string(), Serdes.string(), retain_duplicates=True)
    store, restored = (builder.build(BuildContext(engines_by_name()["memory"], None)) for _ in range(2))
    store.put("k", "v", 10)
    store.put("k", None, 5_000)
    restored.restore(store.take_changes())
    for each in (store, restored):
        assert (list(each.fetch("k", 0, 9_000)), each.observed_stream_time) == ([(10, "v")], 10)
