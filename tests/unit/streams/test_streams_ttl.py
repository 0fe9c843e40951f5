"""Values with a time to live: over by stream time, told so in the changelog, restored from it, on every engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.streams import Serdes
from engine.streams.stores.builders import BuildContext
from engine.streams.stores.kinds import engines_named
from engine.streams.stores.ttl import TtlKeyValueStore, key_value_with_ttl

TEXT = Serdes.string()
KEYS = st.sampled_from(["", "a", "aa", "b"])


class Clock:
    time = -1

    def timestamp(self) -> int:
        return self.time

    def dropped(self, where: str, count: int = 1) -> None:
        raise AssertionError(where)


def store_in(engine: str, directory: Path, name: str = "sessions") -> TtlKeyValueStore[Any, Any]:
    built = key_value_with_ttl(name, 1_000, TEXT, TEXT).build(BuildContext(engines_named(engine), directory))
    assert isinstance(built, TtlKeyValueStore)
    return built


@pytest.fixture(params=["memory", "sqlite", "rocksdb"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A store, and another one that is restored from the changelog of the first."""
    stores = store_in(request.param, tmp_path), store_in(request.param, tmp_path, "restored")
    yield stores
    for each in stores:
        each.close()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("time"), st.integers(0, 1_500)),
            st.tuples(st.just("put"), KEYS, st.sampled_from(["x", "y"]), st.sampled_from([None, 1, 700, 5_000])),
            st.tuples(st.just("put"), KEYS, st.none(), st.none()),
            st.tuples(st.just("commit")),
        ),
        max_size=25,
    )
)
def test_a_value_is_there_until_its_time_is_over(pair: Any, steps: list[Any]) -> None:
    store, restored = pair
    clock = Clock()
    clock.time = 0
    for each in pair:
        each.wipe()
        each.init(clock)
    model: dict[str, tuple[str, int]] = {}
    for step, *arguments in steps:
        if step == "time":
            clock.time += arguments[0]
        elif step == "commit":
            store.commit(None)
        else:
            key, value, ttl = arguments
            store.put(key, value, ttl)
            if value is None:
                model.pop(key, None)
            else:
                model[key] = value, clock.time + (1_000 if ttl is None else ttl)
        alive = {key: value for key, (value, expires) in model.items() if expires > clock.time}
        assert {key: store.get(key) for key in ["", "a", "aa", "b"] if store.get(key)} == alive
        assert list(store.reverse_all()) == sorted(alive.items(), reverse=True)
        assert dict(store.prefix_scan("a", TEXT)) == {key: alive[key] for key in alive if key.startswith("a")}
        assert {key: store.expires_at(key) for key in alive} == {key: model[key][1] for key in alive}
    restored.restore(store.take_changes())
    assert list(restored.all()) == list(store.all())


def test_what_is_over_is_deleted_and_the_changelog_told(tmp_path: Path) -> None:
    store = store_in("sqlite", tmp_path)
    clock = Clock()
    store.init(clock)
    clock.time = 0
    for number in range(3_000):
        store.put(f"k{number}", "v")
    clock.time = 5_000
    for number in range(4):
        store.put(f"late{number}", "v")
    tombstones = [key for key, value, _, _ in store.take_changes() if value is None]
    assert len(set(tombstones)) == len(tombstones) == 3_000
    assert store.approximate_num_entries() == 4
    store.close()


def test_what_was_put_again_lives_on(tmp_path: Path) -> None:
    store = store_in("memory", tmp_path)
    clock = Clock()
    store.init(clock)
    clock.time = 0
    store.put("k", "old", 500)
    store.put("k", "new", 9_000)
    clock.time = 2_000
    store.put("other", "v")
    assert store.get("k") == "new"
    assert [value for _, value, _, _ in store.take_changes()] == [b"old", b"new", b"v"]


def test_a_record_without_a_time_lives_as_long_as_the_store_has_it(tmp_path: Path) -> None:
    store = store_in("memory", tmp_path)
    store.restore([(b"java", b"v", 500, ())])
    assert store.expires_at("java") == 1_500
    with pytest.raises(ValueError, match="store sessions: a value must live for at least 1 ms, not 0"):
        store.put("k", "v", 0)


def test_what_was_over_is_over_after_a_restart(tmp_path: Path) -> None:
    store = store_in("sqlite", tmp_path)
    clock = Clock()
    store.init(clock)
    clock.time = 0
    store.put("k", "v")
    clock.time = 1_500
    assert store.get("k") is None
    time = store.time_to_keep()
    assert time == 1_500
    store.commit(1)
    store.close()
    store = store_in("sqlite", tmp_path)
    store.init(clock)
    store.resume_time(time)
    clock.time = 900  # a record that is late
    assert store.get("k") is None
    store.close()
