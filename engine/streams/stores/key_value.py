"""Key-value stores, plain and timestamped.

The changelog of a timestamped store holds the plain value, and its time as the record's time, as Kafka Streams writes
it (``ChangeLoggingTimestampedKeyValueBytesStore``); the engine holds 8 bytes of time and then the value.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

from engine.streams.records import NO_HEADERS, ChangelogRecord, Headers, ValueAndTimestamp
from engine.streams.serdes import Serde
from engine.streams.stores.engines import KeyValueEngine
from engine.streams.stores.state_store import StateStore, key_bytes

K = TypeVar("K")
V = TypeVar("V")

_TIME = struct.Struct(">q")
_pack, _unpack_from = _TIME.pack, _TIME.unpack_from


class KeyValueStore(StateStore, Generic[K, V]):
    """Values by key (``org.apache.kafka.streams.state.KeyValueStore``)."""

    def __init__(
        self, name: str, engine: KeyValueEngine, key_serde: Serde[K], value_serde: Serde[V], *, logged: bool
    ) -> None:
        super().__init__(name, engine, logged=logged)
        self._bytes = engine
        self._write_key, self._read_key = key_serde.serialize, key_serde.deserialize
        self._write, self._read = value_serde.serialize, value_serde.deserialize

    def get(self, key: K) -> V | None:
        """The value of ``key``, None when there is none."""
        raw = self._bytes.get(key_bytes(self, self._write_key, key))
        return None if raw is None else self._read(raw)

    def put(self, key: K, value: V | None) -> None:
        """Set the value of ``key``; None deletes it."""
        raw_key = key_bytes(self, self._write_key, key)
        raw = None if value is None else self._write(value)
        self._bytes.put(raw_key, raw)
        if self.logged:
            self.changes.append((raw_key, raw, self.context.timestamp(), NO_HEADERS))

    def put_if_absent(self, key: K, value: V) -> V | None:
        """Set the value of ``key`` unless it has one; what it had is returned."""
        found = self.get(key)
        if found is None:
            self.put(key, value)
        return found

    def put_all(self, items: Iterable[tuple[K, V | None]]) -> None:
        """Many puts, in order."""
        for key, value in items:
            self.put(key, value)

    def delete(self, key: K) -> V | None:
        """Delete ``key``; what it had is returned."""
        found = self.get(key)
        self.put(key, None)
        return found

    def range(self, low: K | None = None, high: K | None = None) -> Iterator[tuple[K, V]]:
        """Items from ``low`` to ``high``, both inclusive, in the order of the keys' bytes; None leaves a side open."""
        return self._range(low, high, reverse=False)

    def reverse_range(self, low: K | None = None, high: K | None = None) -> Iterator[tuple[K, V]]:
        """The same in the reverse order."""
        return self._range(low, high, reverse=True)

    def all(self) -> Iterator[tuple[K, V]]:
        """Every item, in the order of the keys' bytes."""
        return self._range(None, None, reverse=False)

    def reverse_all(self) -> Iterator[tuple[K, V]]:
        """Every item, in the reverse order."""
        return self._range(None, None, reverse=True)

    def _range(self, low: K | None, high: K | None, *, reverse: bool) -> Iterator[tuple[K, V]]:
        raw_low = None if low is None else self._write_key(low)
        raw_high = None if high is None else self._write_key(high)
        return self._items(self._bytes.range(raw_low, raw_high, reverse=reverse))

    def prefix_scan(self, prefix: Any, serde: Serde[Any]) -> Iterator[tuple[K, V]]:
        """Items whose key's bytes begin with ``prefix`` as ``serde`` writes it."""
        return self._items(self._bytes.prefix(serde.serialize(prefix)))

    def _items(self, found: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[K, V]]:
        read_key, read = self._read_key, self._read
        return ((read_key(key), read(value)) for key, value in found)

    def approximate_num_entries(self) -> int:
        """How many items there are, about."""
        return self._bytes.count()

    def restore(self, records: Iterable[ChangelogRecord]) -> None:
        """Put what the changelog says."""
        self._bytes.put_many((key, value) for key, value, _, _ in records)


class TimestampedKeyValueStore(StateStore, Generic[K, V]):
    """Values and the time of the record that made them, by key: what every table is kept in.

    :meth:`find` and :meth:`set` are what processors use: plain pairs, no objects.
    """

    def __init__(
        self, name: str, engine: KeyValueEngine, key_serde: Serde[K], value_serde: Serde[V], *, logged: bool
    ) -> None:
        super().__init__(name, engine, logged=logged)
        self._bytes = engine
        self._get, self._put = engine.get, engine.put
        self._write_key, self._read_key = key_serde.serialize, key_serde.deserialize
        self._write, self._read = value_serde.serialize, value_serde.deserialize

    def find(self, key: K) -> tuple[V, int] | None:
        """``(value, timestamp)`` of ``key``, None when there is none."""
        raw = self._get(self._write_key(key))
        if raw is None:
            return None
        return self._read(raw[8:]), _unpack_from(raw)[0]

    def set(self, key: K, value: V | None, timestamp: int, headers: Headers = NO_HEADERS) -> None:
        """Set the value of ``key`` as of ``timestamp``; None deletes it. ``headers`` are logged."""
        raw_key = self._write_key(key)
        if value is None:
            raw = None
            self._put(raw_key, None)
        else:
            raw = self._write(value)
            self._put(raw_key, _pack(timestamp) + raw)
        if self.logged:
            self.changes.append((raw_key, raw, timestamp, headers))

    def get(self, key: K) -> ValueAndTimestamp[V] | None:
        """The value of ``key`` and its time, None when there is none."""
        found = self.find(key)
        return None if found is None else ValueAndTimestamp(*found)

    def put(self, key: K, value: tuple[V, int] | None) -> None:
        """Set a value and its time; None deletes the key."""
        if value is None:
            self.set(key, None, self.context.timestamp())
        else:
            self.set(key, value[0], value[1])

    def put_if_absent(self, key: K, value: tuple[V, int]) -> ValueAndTimestamp[V] | None:
        """Set the value of ``key`` unless it has one; what it had is returned."""
        found = self.get(key)
        if found is None:
            self.put(key, value)
        return found

    def delete(self, key: K) -> ValueAndTimestamp[V] | None:
        """Delete ``key``; what it had is returned."""
        found = self.get(key)
        self.put(key, None)
        return found

    def range(self, low: K | None = None, high: K | None = None) -> Iterator[tuple[K, ValueAndTimestamp[V]]]:
        """Items from ``low`` to ``high``, both inclusive, in the order of the keys' bytes."""
        return self._range(low, high, reverse=False)

    def reverse_range(self, low: K | None = None, high: K | None = None) -> Iterator[tuple[K, ValueAndTimestamp[V]]]:
        """The same in the reverse order."""
        return self._range(low, high, reverse=True)

    def all(self) -> Iterator[tuple[K, ValueAndTimestamp[V]]]:
        """Every item, in the order of the keys' bytes."""
        return self._range(None, None, reverse=False)

    def reverse_all(self) -> Iterator[tuple[K, ValueAndTimestamp[V]]]:
        """Every item, in the reverse order."""
        return self._range(None, None, reverse=True)

    def _range(self, low: K | None, high: K | None, *, reverse: bool) -> Iterator[tuple[K, ValueAndTimestamp[V]]]:
        raw_low = None if low is None else self._write_key(low)
        raw_high = None if high is None else self._write_key(high)
        return self._items(self._bytes.range(raw_low, raw_high, reverse=reverse))

    def prefix_scan(self, prefix: Any, serde: Serde[Any]) -> Iterator[tuple[K, ValueAndTimestamp[V]]]:
        """Items whose key's bytes begin with ``prefix`` as ``serde`` writes it."""
        return self._items(self._bytes.prefix(serde.serialize(prefix)))

    def _items(self, found: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[K, ValueAndTimestamp[V]]]:
        read_key, read = self._read_key, self._read
        return ((read_key(key), ValueAndTimestamp(read(value[8:]), _unpack_from(value)[0])) for key, value in found)

    def approximate_num_entries(self) -> int:
        """How many items there are, about."""
        return self._bytes.count()

    def restore(self, records: Iterable[ChangelogRecord]) -> None:
        """Put what the changelog says: the record's time is the value's time."""
        self._bytes.put_many(
            (key, None if value is None else _pack(timestamp) + value) for key, value, timestamp, _ in records
        )
