"""Versioned key-value stores: each key's values over time, for as long as the history retention says (KIP-889).

The newest value of a key is kept for ever, what it replaced for ``history_retention_ms`` of stream time. Time is the
greatest time that was put, never a clock; a put that is older by more than the retention is dropped and counted.

In the engine, one of windows, a version lies at the time it ends (exclusive): reading as of a time is finding the
first end after it, and versions go once their end is too old. The newest has no end. Kafka keeps the versions of a
segment of time in one value, in RocksDB only; what can be seen is the same, and the changelog's bytes are Kafka's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Any, Final, Generic, NamedTuple, TypeVar

from engine.streams.records import NO_HEADERS, NO_TIMESTAMP, ChangelogRecord, Headers
from engine.streams.serdes import Serde
from engine.streams.stores.engines import WindowEngine, WindowItem
from engine.streams.stores.state_store import StateStore, StoreNote, key_bytes

K = TypeVar("K")
V = TypeVar("V")

VALID_TO_UNDEFINED: Final = -1
"""What :meth:`VersionedKeyValueStore.put` answers for the newest version of a key."""
NOT_PUT: Final = -(2**63)
"""What it answers when the version is too old."""

_NEWEST: Final = 2**63 - 1
_FROM = struct.Struct(">q?")


class VersionedRecord(NamedTuple, Generic[V]):
    """A version: its value, the time (ms) from which it holds, and up to which (exclusive; None: it is the newest)."""

    value: V
    timestamp: int
    valid_to: int | None = None


def default_segment_interval(history_retention_ms: int) -> int:
    """Kafka's choice where none is given (``RocksDbVersionedKeyValueBytesStoreSupplier``)."""
    for bound, parts, least in ((60_000, 3, 2_000), (300_000, 5, 20_000), (3_600_000, 12, 60_000)):
        if history_retention_ms <= bound:
            return max(history_retention_ms // parts, least)
    return max(history_retention_ms // 24, 300_000)


class VersionedKeyValueStore(StateStore, Generic[K, V]):
    """Versions by key (``org.apache.kafka.streams.state.VersionedKeyValueStore``).

    :meth:`find` and :meth:`set` are what processors of tables use, as those of timestamped stores.
    """

    kind = "versioned-key-value"

    def __init__(
        self,
        name: str,
        engine: WindowEngine,
        key_serde: Serde[K],
        value_serde: Serde[V],
        *,
        logged: bool,
        history_retention_ms: int,
        segment_interval_ms: int,
    ) -> None:
        super().__init__(name, engine, logged=logged)
        self.history_retention_ms = history_retention_ms
        self.observed_stream_time = NO_TIMESTAMP
        self._segment_interval_ms = segment_interval_ms
        self._kept_from = 0
        self._bytes = engine
        self._write_key, self._read_key = key_serde.serialize, key_serde.deserialize
        self._write, self._read = value_serde.serialize, value_serde.deserialize
        self._note = StoreNote(engine, ">q")
        kept = self._note.read()
        if kept is not None:
            (self.observed_stream_time,) = kept

    def commit(self, changelog_offset: int | None) -> None:
        """Make the store durable, with its time: what is restored after that was late, or not, by it."""
        self._note.keep(self.observed_stream_time)
        super().commit(changelog_offset)

    def get(self, key: K, as_of: int | None = None) -> VersionedRecord[V] | None:
        """The newest version of ``key``, or the one that held at ``as_of`` (ms).

        None when there was none, or when ``as_of`` is older than the history retention and not the newest version's.
        """
        raw_key = key_bytes(self, self._write_key, key)
        newest = self._newest(raw_key)
        if newest is not None and (as_of is None or newest[0] <= as_of):
            return VersionedRecord(self._read(newest[1]), newest[0])
        if as_of is None or as_of < self.observed_stream_time - self.history_retention_ms:
            return None
        for end, raw in self._bytes.fetch(raw_key, as_of + 1, _NEWEST - 1):
            begin, has_value = _FROM.unpack_from(raw)
            if begin > as_of or not has_value:
                return None
            return VersionedRecord(self._read(raw[_FROM.size :]), begin, end)
        return None

    def put(self, key: K, value: V | None, timestamp: int) -> int:
        """Set the value of ``key`` from ``timestamp`` (ms) on, up to its next version; None says it had none.

        The time of that next version, VALID_TO_UNDEFINED when there is none, NOT_PUT when ``timestamp`` is too old.
        """
        raw = None if value is None else self._write(value)
        return self._put(key_bytes(self, self._write_key, key), raw, timestamp, NO_HEADERS)

    def delete(self, key: K, timestamp: int) -> VersionedRecord[V] | None:
        """``key`` has no value from ``timestamp`` (ms) on, up to its next version; what it had then is returned."""
        late = timestamp < self.observed_stream_time - self.history_retention_ms
        found = None if late else self.get(key, timestamp)
        self.put(key, None, timestamp)
        return found

    def range(self, low: K | None = None, high: K | None = None) -> Iterator[tuple[K, VersionedRecord[V]]]:
        """Newest versions of the keys from ``low`` to ``high``, both inclusive, in the order of their bytes.

        This and its kin are ours, for queries: Kafka's versioned stores are read by single keys.
        """
        return self._range(low, high, reverse=False)

    def reverse_range(self, low: K | None = None, high: K | None = None) -> Iterator[tuple[K, VersionedRecord[V]]]:
        """The same in the reverse order."""
        return self._range(low, high, reverse=True)

    def all(self) -> Iterator[tuple[K, VersionedRecord[V]]]:
        """The newest version of every key, in the order of the keys' bytes."""
        return self._range(None, None, reverse=False)

    def _range(self, low: K | None, high: K | None, *, reverse: bool) -> Iterator[tuple[K, VersionedRecord[V]]]:
        raw_low = None if low is None else self._write_key(low)
        raw_high = None if high is None else self._write_key(high)
        return self._items(self._bytes.fetch_range(raw_low, raw_high, _NEWEST, _NEWEST, reverse=reverse))

    def prefix_scan(self, prefix: Any, serde: Serde[Any]) -> Iterator[tuple[K, VersionedRecord[V]]]:
        """Newest versions of keys whose bytes begin with ``prefix`` as ``serde`` writes it."""
        raw = serde.serialize(prefix)
        found = self._bytes.fetch_range(raw, None, _NEWEST, _NEWEST)
        return self._items(takewhile(lambda item: item[0].startswith(raw), found))

    def _items(self, found: Iterable[WindowItem]) -> Iterator[tuple[K, VersionedRecord[V]]]:
        read_key, read = self._read_key, self._read
        return (
            (read_key(key), VersionedRecord(read(raw[_FROM.size :]), _FROM.unpack_from(raw)[0]))
            for key, _, _, raw in found
        )

    def find(self, key: K, as_of: int | None = None) -> tuple[V, int] | None:
        """``(value, timestamp)`` of the newest version of ``key``, or of the one that held at ``as_of``."""
        found = self.get(key, as_of)
        return None if found is None else (found.value, found.timestamp)

    def set(self, key: K, value: V | None, timestamp: int, headers: Headers = NO_HEADERS) -> int | None:
        """As :meth:`put`; None for the newest version. ``headers`` are logged."""
        raw = None if value is None else self._write(value)
        ends = self._put(self._write_key(key), raw, timestamp, headers)
        return None if ends == VALID_TO_UNDEFINED else ends

    def _put(self, raw_key: bytes, raw: bytes | None, timestamp: int, headers: Headers) -> int:
        if self.logged:
            # What is too old is logged as well, as by Kafka's layers; who restores it drops it again.
            self.changes.append((raw_key, raw, timestamp, headers))
        if timestamp < self.observed_stream_time - self.history_retention_ms:
            self.context.dropped(self.name)
            return NOT_PUT
        return self._keep(raw_key, raw, timestamp)

    def _newest(self, raw_key: bytes) -> tuple[int, bytes] | None:
        found = self._bytes.get(raw_key, _NEWEST)
        return None if found is None else (_FROM.unpack_from(found)[0], found[_FROM.size :])

    def _version(self, raw_key: bytes, begin: int, end: int, raw: bytes | None) -> None:
        self._bytes.put(raw_key, end, 0, _FROM.pack(begin, raw is not None) + (raw or b""))

    def _keep(self, raw_key: bytes, raw: bytes | None, timestamp: int) -> int:
        if timestamp > self.observed_stream_time:
            self.observed_stream_time = timestamp
            self._forget()
        newest = self._newest(raw_key)
        if newest is not None and timestamp >= newest[0]:
            if timestamp > newest[0]:
                self._version(raw_key, newest[0], timestamp, newest[1])
            if raw is None:
                # As in Kafka, nothing is left of a version that is deleted at its own time.
                self._bytes.put(raw_key, _NEWEST, 0, None)
            else:
                self._version(raw_key, timestamp, _NEWEST, raw)
            return VALID_TO_UNDEFINED
        ends = VALID_TO_UNDEFINED if newest is None else newest[0]
        for end, found in self._bytes.fetch(raw_key, timestamp + 1, _NEWEST - 1):
            begin = _FROM.unpack_from(found)[0]
            if begin > timestamp:
                ends = begin
                break
            if begin < timestamp:
                self._bytes.put(raw_key, timestamp, 0, found)
            self._version(raw_key, timestamp, end, raw)
            return end
        if ends != VALID_TO_UNDEFINED:
            self._version(raw_key, timestamp, ends, raw)
        elif raw is not None:
            self._version(raw_key, timestamp, _NEWEST, raw)
        elif self._bytes.get(raw_key, timestamp) is None:
            # The end of a version says that there is none after it; else a deletion is an empty version of no length.
            self._version(raw_key, timestamp, timestamp, None)
        return ends

    def _forget(self) -> None:
        # Once a segment's interval, as Kafka drops whole segments: what is too old meanwhile is not seen.
        interval = self._segment_interval_ms
        first = (self.observed_stream_time - self.history_retention_ms) // interval * interval
        if first > self._kept_from:
            self._kept_from = first
            self._bytes.remove_before(first)

    def restore(self, records: Iterable[ChangelogRecord]) -> None:
        """Put what the changelog says; what was too old when it was written was never in the store."""
        for key, value, timestamp, _ in records:
            if timestamp >= self.observed_stream_time - self.history_retention_ms:
                self._keep(key, value, timestamp)

    def time_to_keep(self) -> int | None:
        """The greatest time that was put."""
        return self.observed_stream_time

    def resume_time(self, time: int) -> None:
        """Go on from there."""
        self.observed_stream_time = max(self.observed_stream_time, time)

    def wipe(self) -> None:
        """Forget everything, time as well."""
        super().wipe()
        self.observed_stream_time = NO_TIMESTAMP
        self._kept_from = 0
        self._note.forget()
