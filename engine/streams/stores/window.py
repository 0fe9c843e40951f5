"""Window stores: values by key and start of a window, forgotten when they are older than the retention.

Time here is the greatest start that was put (``observedStreamTime`` of Kafka's window stores): a put that is older by
the retention or more is dropped and counted, a fetch does not see what is older. Nothing depends on a clock. It is
kept with the data, as is the number of the last duplicate: a store that is opened again goes on with both.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

from engine.streams.records import (
    NO_HEADERS,
    NO_TIMESTAMP,
    ChangelogRecord,
    Headers,
    ValueAndTimestamp,
    Window,
    Windowed,
)
from engine.streams.serdes import Serde, split_window_store_key, window_store_key
from engine.streams.stores.engines import WindowEngine, WindowItem
from engine.streams.stores.state_store import StateStore, StoreNote, key_bytes

K = TypeVar("K")
V = TypeVar("V")

_TIME = struct.Struct(">q")
_pack, _unpack_from = _TIME.pack, _TIME.unpack_from
_MAX_TIME = 2**63 - 1


def first_kept(stream_time: int, retention_ms: int) -> int:
    """The time before which everything is removed, and puts are counted as dropped.

    Kafka's default stores keep whole segments of time, of a minute or more: what is too old within the first of them
    is there, but is not seen. So nothing is looked for at every put, and removed at most once a segment.
    """
    interval = max(retention_ms // 2, 60_000)
    return (stream_time - retention_ms) // interval * interval


class _Windows(StateStore, Generic[K, V]):
    """What plain and timestamped window stores share. ``_wrap`` and ``_unwrap`` put the time to a value's bytes."""

    kind = "window"

    def __init__(
        self,
        name: str,
        engine: WindowEngine,
        key_serde: Serde[K],
        value_serde: Serde[V],
        *,
        logged: bool,
        retention_ms: int,
        window_size: int,
        retain_duplicates: bool = False,
        emits_on_close: bool = False,
    ) -> None:
        super().__init__(name, engine, logged=logged)
        self.retention_ms = retention_ms
        self.window_size = window_size
        self.observed_stream_time = NO_TIMESTAMP
        self._retain_duplicates = retain_duplicates
        self._sequence = 0
        self._kept_from = 0
        # Kafka keeps windows that are emitted on close in a store ordered by time, whose reads see 1 ms more.
        self._unseen = retention_ms if emits_on_close else retention_ms - 1
        self._bytes = engine
        self._write_key, self._read_key = key_serde.serialize, key_serde.deserialize
        self._write, self._read = value_serde.serialize, value_serde.deserialize
        self._note = StoreNote(engine, ">qI")
        kept = self._note.read()
        if kept is not None:
            self.observed_stream_time, self._sequence = kept
            self._forget()

    def commit(self, changelog_offset: int | None) -> None:
        """Make the store durable, with its time."""
        self._note.keep(self.observed_stream_time, self._sequence)
        super().commit(changelog_offset)

    def _put(
        self,
        raw_key: bytes,
        start: int,
        raw: bytes | None,
        logged: bytes | None,
        timestamp: int,
        headers: Headers = NO_HEADERS,
    ) -> None:
        if self._retain_duplicates:
            self._sequence = (self._sequence + 1) & 0x7FFFFFFF
            if raw is None:
                # Which of them, it does not say: none is deleted. Kafka takes a number and logs it all the same.
                self._log(raw_key, start, None, timestamp, headers)
                return
        if start > self.observed_stream_time:
            self.observed_stream_time = start
            self._forget()
        elif start < self.observed_stream_time - self._unseen:
            # It is logged all the same, as Kafka's layers have it: the changelog's own retention ends it.
            if start < self._kept_from:
                self.context.dropped(self.name)
            self._log(raw_key, start, logged, timestamp, headers)
            return
        self._bytes.put(raw_key, start, self._sequence, raw)
        self._log(raw_key, start, logged, timestamp, headers)

    def _forget(self) -> None:
        first = first_kept(self.observed_stream_time, self.retention_ms)
        if first > self._kept_from:
            self._kept_from = first
            self._bytes.remove_before(first)

    def _log(self, raw_key: bytes, start: int, logged: bytes | None, timestamp: int, headers: Headers) -> None:
        if self.logged:
            key = window_store_key(raw_key, start, self._sequence)
            self.changes.append((key, logged, timestamp, headers))

    def _get(self, key: K, start: int) -> bytes | None:
        if start < self.observed_stream_time - self._unseen:
            return None
        return self._bytes.get(key_bytes(self, self._write_key, key), start)

    def _fetch(self, key: K, earliest: int, latest: int, *, reverse: bool) -> Iterator[tuple[int, bytes]]:
        earliest = max(earliest, self.observed_stream_time - self._unseen)
        if latest < earliest:
            return iter(())
        return self._bytes.fetch(key_bytes(self, self._write_key, key), earliest, latest, reverse=reverse)

    def _fetch_range(
        self, low: K | None, high: K | None, earliest: int, latest: int, *, reverse: bool
    ) -> Iterator[WindowItem]:
        earliest = max(earliest, self.observed_stream_time - self._unseen)
        if latest < earliest:
            return iter(())
        raw_low = None if low is None else self._write_key(low)
        raw_high = None if high is None else self._write_key(high)
        return self._bytes.fetch_range(raw_low, raw_high, earliest, latest, reverse=reverse)

    def _windowed(self, raw_key: bytes, start: int) -> Windowed[K]:
        return Windowed(self._read_key(raw_key), Window(start, min(start + self.window_size, _MAX_TIME)))

    def _value_of(self, raw: bytes) -> Any:
        return self._read(raw)

    def fetch(self, key: K, earliest: int, latest: int) -> Iterator[tuple[int, Any]]:
        """``(window start, value)`` of ``key`` where the window starts from ``earliest`` to ``latest`` (ms)."""
        return ((start, self._value_of(raw)) for start, raw in self._fetch(key, earliest, latest, reverse=False))

    def backward_fetch(self, key: K, earliest: int, latest: int) -> Iterator[tuple[int, Any]]:
        """The same, latest first."""
        return ((start, self._value_of(raw)) for start, raw in self._fetch(key, earliest, latest, reverse=True))

    def fetch_key_range(
        self, low: K | None, high: K | None, earliest: int, latest: int, *, reverse: bool = False
    ) -> Iterator[tuple[Windowed[K], Any]]:
        """Windows of the keys from ``low`` to ``high`` that start from ``earliest`` to ``latest``."""
        found = self._fetch_range(low, high, earliest, latest, reverse=reverse)
        return ((self._windowed(key, start), self._value_of(raw)) for key, start, _, raw in found)

    def fetch_all(self, earliest: int, latest: int) -> Iterator[tuple[Windowed[K], Any]]:
        """Windows of all keys that start from ``earliest`` to ``latest``."""
        return self.fetch_key_range(None, None, earliest, latest)

    def all(self) -> Iterator[tuple[Windowed[K], Any]]:
        """Every window that is not too old."""
        return self.fetch_key_range(None, None, 0, _MAX_TIME)

    def backward_all(self) -> Iterator[tuple[Windowed[K], Any]]:
        """Every window that is not too old, latest first."""
        return self.fetch_key_range(None, None, 0, _MAX_TIME, reverse=True)

    def _engine_value(self, value: bytes, timestamp: int) -> bytes:
        return value

    def restore(self, records: Iterable[ChangelogRecord]) -> None:
        """Put what the changelog says, but for what is too old by then."""
        latest = self.observed_stream_time
        items: list[tuple[bytes, int, int, bytes | None]] = []
        for key, value, timestamp, _ in records:
            raw_key, start, sequence = split_window_store_key(key)
            if sequence > self._sequence:
                self._sequence = sequence  # a put after this must not take the place of what is restored
            if value is None and self._retain_duplicates:
                continue  # it deleted nothing when it was put, nor was it a time
            if start > latest:
                latest = start
            if start >= latest - self._unseen:
                raw = None if value is None else self._engine_value(value, timestamp)
                items.append((raw_key, start, sequence, raw))
        self._bytes.put_many(items)
        if latest > self.observed_stream_time:
            self.observed_stream_time = latest
            self._forget()

    def wipe(self) -> None:
        """Forget everything, time as well."""
        super().wipe()
        self.observed_stream_time = NO_TIMESTAMP
        self._kept_from = self._sequence = 0
        self._note.forget()


class WindowStore(_Windows[K, V]):
    """Plain values by key and window; with ``retain_duplicates`` many of them each (the stores of stream joins)."""

    def put(self, key: K, value: V | None, start: int) -> None:
        """Set the value of ``key`` in the window that starts at ``start``; None deletes it."""
        raw_key = key_bytes(self, self._write_key, key)
        raw = None if value is None else self._write(value)
        self._put(raw_key, start, raw, raw, self.context.timestamp())

    def put_at(self, key: K, value: V | None, start: int, timestamp: int, headers: Headers) -> None:
        """A put by a processor of a batch, with the time and the headers of the record in work: both are logged."""
        raw = None if value is None else self._write(value)
        self._put(self._write_key(key), start, raw, raw, timestamp, headers)

    def get(self, key: K, start: int) -> V | None:
        """The value of ``key`` in the window that starts at ``start``."""
        raw = self._get(key, start)
        return None if raw is None else self._read(raw)


class TimestampedWindowStore(_Windows[K, V]):
    """Values and the time of the record that made them, by key and window: what windowed tables are kept in."""

    def find(self, key: K, start: int) -> tuple[V, int] | None:
        """``(value, timestamp)`` of ``key`` in the window that starts at ``start``, None when there is none."""
        if start < self.observed_stream_time - self._unseen:
            return None
        raw = self._bytes.get(self._write_key(key), start)
        if raw is None:
            return None
        return self._read(raw[8:]), _unpack_from(raw)[0]

    def set(self, key: K, start: int, value: V | None, timestamp: int) -> None:
        """Set the value of ``key`` in a window as of ``timestamp``; None deletes it."""
        if value is None:
            self._put(self._write_key(key), start, None, None, timestamp)
        else:
            raw = self._write(value)
            self._put(self._write_key(key), start, _pack(timestamp) + raw, raw, timestamp)

    def get(self, key: K, start: int) -> ValueAndTimestamp[V] | None:
        """The value of ``key`` and its time in the window that starts at ``start``."""
        found = self.find(key, start)
        return None if found is None else ValueAndTimestamp(*found)

    def put(self, key: K, value: tuple[V, int] | None, start: int) -> None:
        """Set a value and its time in a window; None deletes it."""
        if value is None:
            self.set(key, start, None, self.context.timestamp())
        else:
            self.set(key, start, value[0], value[1])

    def _value_of(self, raw: bytes) -> Any:
        return ValueAndTimestamp(self._read(raw[8:]), _unpack_from(raw)[0])

    def _engine_value(self, value: bytes, timestamp: int) -> bytes:
        return _pack(timestamp) + value
