"""A store of so many keys, beyond what is held to Kafka Streams: restoring, and being asked."""

from __future__ import annotations

import pytest

from engine.streams import Serdes, Stores, StreamsBuilder, TopologyError
from engine.streams.queries.catalogue import Catalogue
from engine.streams.queries.query import Kind, read_query
from engine.streams.queries.reading import read_entries
from engine.streams.stores.builders import BuildContext
from engine.streams.stores.lru import LruKeyValueStore
from engine.streams.stores.memory import MemoryEngines

TEXT = Serdes.string()


def opened() -> LruKeyValueStore[str, str]:
    store = Stores.lru_map("few", 2, TEXT, TEXT).build(BuildContext(MemoryEngines()))
    assert isinstance(store, LruKeyValueStore)
    return store


def test_the_key_used_longest_ago_goes_and_restoring_knows_it() -> None:
    store = opened()
    store.put("a", "1")
    store.put("b", "2")
    assert store.get("a") == "1"
    store.put("c", "3")
    assert [key for key, _ in store.all()] == ["a", "c"]
    changes = store.take_changes()
    assert [(key, value) for key, value, _, _ in changes[2:]] == [(b"b", None), (b"c", b"3")]
    other = opened()
    other.restore(changes)
    other.put("d", "4")
    assert [key for key, _ in other.all()] == ["c", "d"]


def test_a_query_is_no_use() -> None:
    builder = StreamsBuilder()
    builder.add_state_store(Stores.lru_map("few", 2, TEXT, TEXT))
    builder.stream("in").process(lambda: None, ["few"])  # type: ignore[arg-type, return-value]
    topology = builder.build()
    info = Catalogue(topology, topology.sub_topologies("app"), "app", {})["few"]
    store = opened()
    store.put("a", "1")
    store.put("b", "2")
    query, _ = read_query(info, Kind.KEY, {"key": "a"})
    assert [entry.value for entry in read_entries(store, info, query)[0]] == ["1"]
    store.put("c", "3")
    assert store.get("a") is None


def test_a_size_below_nothing_is_refused() -> None:
    with pytest.raises(TopologyError, match="maxCacheSize cannot be negative"):
        Stores.lru_map("few", -1)
