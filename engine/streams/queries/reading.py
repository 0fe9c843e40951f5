"""A query put to one store: no longer than its limit, and without a trace in the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from engine.streams.queries.catalogue import StoreInfo
from engine.streams.queries.errors import WrongKind
from engine.streams.queries.query import Kind, Query
from engine.streams.queries.values import as_json, base64_of
from engine.streams.records import ValueAndTimestamp, Window
from engine.streams.serdes import BYTES
from engine.streams.stores.key_value import KeyValueStore, TimestampedKeyValueStore
from engine.streams.stores.lru import LruKeyValueStore
from engine.streams.stores.session import SessionStore
from engine.streams.stores.state_store import StateStore
from engine.streams.stores.ttl import TtlKeyValueStore
from engine.streams.stores.versioned import VersionedKeyValueStore, VersionedRecord
from engine.streams.stores.window import TimestampedWindowStore, WindowStore

KeyValues = (
    KeyValueStore[Any, Any]
    | TimestampedKeyValueStore[Any, Any]
    | TtlKeyValueStore[Any, Any]
    | VersionedKeyValueStore[Any, Any]
)
_OF_KEYS = (KeyValueStore, TimestampedKeyValueStore, VersionedKeyValueStore)
Windows = WindowStore[Any, Any] | TimestampedWindowStore[Any, Any]


class Entry(NamedTuple):
    """What a store has: ``window`` in window and session stores, ``timestamp`` (ms) where the store keeps one."""

    key: Any
    value: Any
    timestamp: int | None = None
    window: Window | None = None
    valid_to: int | None = None
    """Of a version that is not the newest: up to when it held (ms, exclusive)."""

    def document(self, info: StoreInfo, partition: int | None) -> dict[str, Any]:
        """As answers have it."""
        assert info.key_serde is not None
        found: dict[str, Any] = {
            "key": as_json(self.key),
            "key_base64": base64_of(info.key_serde.serialize(self.key)),
            "value": as_json(self.value),
            "partition": partition,
        }
        if self.timestamp is not None:
            found["timestamp"] = self.timestamp
        if self.valid_to is not None:
            found["valid_to"] = self.valid_to
        if self.window is not None:
            found["window"] = {"start": self.window.start, "end": self.window.end}
        return found


def read_entries(store: StateStore, info: StoreInfo, query: Query) -> tuple[list[Entry], bool]:
    """What the store answers, in the order of ``answers.order_of``, and whether there is more.

    Raises:
        WrongKind: the store is of another kind than the query.
    """
    if isinstance(store, TtlKeyValueStore):
        # Its reads look at the time of the record in work, which is another one for a query.
        observed = store.observed_stream_time
        try:
            return _limited(_key_values(store, info, query), query.limit)
        finally:
            store.observed_stream_time = observed
    if isinstance(store, _OF_KEYS) and query.kind in (Kind.KEY, Kind.RANGE):
        return _limited(_key_values(store, info, query), query.limit)
    if isinstance(store, WindowStore | TimestampedWindowStore) and query.kind is Kind.WINDOW:
        return _limited(_windows(store, info, query), query.limit)
    if isinstance(store, SessionStore) and query.kind is Kind.SESSION:
        return _limited(_sessions(store, info, query), query.limit)
    raise WrongKind(f"store {query.store} cannot be asked by {query.kind}")


def _limited(found: Iterator[Entry], limit: int) -> tuple[list[Entry], bool]:
    entries = list(islice(found, limit + 1))
    return entries[:limit], len(entries) > limit


def _typed(info: StoreInfo, key: bytes | None) -> Any:
    assert info.key_serde is not None
    return None if key is None else info.key_serde.deserialize(key)


def _key_values(store: KeyValues, info: StoreInfo, query: Query) -> Iterator[Entry]:
    if query.kind is Kind.KEY:
        key = _typed(info, query.key)
        value: Any
        if isinstance(store, VersionedKeyValueStore):
            value = store.get(key, query.as_of)
        else:
            value = store.peek(key) if isinstance(store, LruKeyValueStore) else store.get(key)
        return iter(() if value is None else (_entry(key, value),))
    found: Iterable[tuple[Any, Any]]
    if query.prefix is not None:
        found = store.prefix_scan(query.prefix, BYTES)
    elif query.reverse:
        found = store.reverse_range(_typed(info, query.low), _typed(info, query.high))
    else:
        found = store.range(_typed(info, query.low), _typed(info, query.high))
    return (_entry(key, value) for key, value in found)


def _windows(store: Windows, info: StoreInfo, query: Query) -> Iterator[Entry]:
    if query.key is None:
        windowed = store.fetch_key_range(None, None, query.from_ms, query.to_ms, reverse=query.reverse)
        return (_entry(at.key, value, at.window) for at, value in windowed)
    key, size = _typed(info, query.key), store.window_size
    fetch = store.backward_fetch if query.reverse else store.fetch
    return (_entry(key, value, Window(start, start + size)) for start, value in fetch(key, query.from_ms, query.to_ms))


def _sessions(store: SessionStore[Any, Any], info: StoreInfo, query: Query) -> Iterator[Entry]:
    if query.key is None:
        found = store.find_sessions_of_keys(None, None, query.from_ms, query.to_ms, reverse=query.reverse)
    else:
        find = store.backward_find_sessions if query.reverse else store.find_sessions
        found = find(_typed(info, query.key), query.from_ms, query.to_ms)
    return (_entry(at.key, value, at.window) for at, value in found)


def _entry(key: Any, value: Any, window: Window | None = None) -> Entry:
    if isinstance(value, VersionedRecord):
        return Entry(key, value.value, value.timestamp, window, value.valid_to)
    if isinstance(value, ValueAndTimestamp):
        return Entry(key, value.value, value.timestamp, window)
    return Entry(key, value, None, window)
