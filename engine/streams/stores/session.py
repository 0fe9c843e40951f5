"""Session stores: values by key and session, forgotten when the session ended longer ago than the retention.

Values are plain: a session's end is its time. The changelog's keys are Kafka's (``SessionKeySchema``). The greatest end
that was put is kept with the data: a store that is opened again goes on at that time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from engine.streams.records import NO_HEADERS, NO_TIMESTAMP, ChangelogRecord, Window, Windowed
from engine.streams.serdes import Serde, session_store_key, split_session_store_key
from engine.streams.stores.engines import SessionEngine, SessionItem
from engine.streams.stores.state_store import StateStore, StoreNote, key_bytes
from engine.streams.stores.window import first_kept

K = TypeVar("K")
V = TypeVar("V")

_MAX_TIME = 2**63 - 1


class SessionStore(StateStore, Generic[K, V]):
    """Values by key and session (``org.apache.kafka.streams.state.SessionStore``)."""

    kind = "session"

    def __init__(
        self,
        name: str,
        engine: SessionEngine,
        key_serde: Serde[K],
        value_serde: Serde[V],
        *,
        logged: bool,
        retention_ms: int,
    ) -> None:
        super().__init__(name, engine, logged=logged)
        self.retention_ms = retention_ms
        self.observed_stream_time = NO_TIMESTAMP
        self._kept_from = 0
        self._bytes = engine
        self._write_key, self._read_key = key_serde.serialize, key_serde.deserialize
        self._write, self._read = value_serde.serialize, value_serde.deserialize
        self._note = StoreNote(engine, ">q")
        kept = self._note.read()
        if kept is not None:
            (self.observed_stream_time,) = kept
            self._forget()

    def commit(self, changelog_offset: int | None) -> None:
        """Make the store durable, with its time."""
        self._note.keep(self.observed_stream_time)
        super().commit(changelog_offset)

    def set(self, key: K, start: int, end: int, value: V | None, timestamp: int) -> None:
        """Set the value of a session; None deletes it. ``timestamp`` (ms) is that of the record in work."""
        raw_key = key_bytes(self, self._write_key, key)
        raw = None if value is None else self._write(value)
        if end > self.observed_stream_time:
            self.observed_stream_time = end
            self._forget()
        if end < self._kept_from:
            self.context.dropped(self.name)
        else:
            self._bytes.put(raw_key, start, end, raw)
        if self.logged:
            self.changes.append((session_store_key(raw_key, start, end), raw, timestamp, NO_HEADERS))

    def _forget(self) -> None:
        first = first_kept(self.observed_stream_time, self.retention_ms)
        if first > self._kept_from:
            self._kept_from = first
            self._bytes.remove_before(first)

    def put(self, session: Windowed[K], value: V | None) -> None:
        """Set the value of a session; None deletes it."""
        self.set(session.key, session.window.start, session.window.end, value, self.context.timestamp())

    def remove(self, session: Windowed[K]) -> None:
        """Delete a session."""
        self.put(session, None)

    def fetch_session(self, key: K, start: int, end: int) -> V | None:
        """The value of exactly that session, None when there is none."""
        if end <= self.observed_stream_time - self.retention_ms:
            return None
        raw = self._bytes.get(key_bytes(self, self._write_key, key), start, end)
        return None if raw is None else self._read(raw)

    def find_sessions(self, key: K, earliest_end: int, latest_start: int) -> Iterator[tuple[Windowed[K], V]]:
        """Sessions of ``key`` that end at ``earliest_end`` or later and start at ``latest_start`` or earlier."""
        return self._find(key, key, earliest_end, latest_start, reverse=False)

    def backward_find_sessions(self, key: K, earliest_end: int, latest_start: int) -> Iterator[tuple[Windowed[K], V]]:
        """The same, latest first."""
        return self._find(key, key, earliest_end, latest_start, reverse=True)

    def find_sessions_of_keys(
        self, low: K | None, high: K | None, earliest_end: int, latest_start: int, *, reverse: bool = False
    ) -> Iterator[tuple[Windowed[K], V]]:
        """Sessions of the keys from ``low`` to ``high``; None leaves a side open."""
        return self._find(low, high, earliest_end, latest_start, reverse=reverse)

    def fetch(self, key: K) -> Iterator[tuple[Windowed[K], V]]:
        """Every session of ``key``."""
        return self._find(key, key, 0, _MAX_TIME, reverse=False)

    def backward_fetch(self, key: K) -> Iterator[tuple[Windowed[K], V]]:
        """Every session of ``key``, latest first."""
        return self._find(key, key, 0, _MAX_TIME, reverse=True)

    def all(self) -> Iterator[tuple[Windowed[K], V]]:
        """Every session of every key."""
        return self._find(None, None, 0, _MAX_TIME, reverse=False)

    def ended_between(self, earliest_end: int, latest_end: int) -> Iterator[tuple[Windowed[K], V]]:
        """Sessions of all keys that end in that span, both inclusive, by end (``findSessions(earliest, latest)``).

        Those too old for every other read are among them: this is how closed sessions are emitted.
        """
        found = [item for item in self._bytes.find(None, None, earliest_end, latest_end) if item[2] <= latest_end]
        found.sort(key=lambda item: (item[2], item[1], item[0]))
        return map(self._typed, found)

    def _raw(
        self, low: bytes | None, high: bytes | None, earliest_end: int, latest_start: int, *, reverse: bool = False
    ) -> Iterator[SessionItem]:
        earliest_end = max(earliest_end, self.observed_stream_time - self.retention_ms + 1)
        return self._bytes.find(low, high, earliest_end, latest_start, reverse=reverse)

    def _typed(self, item: SessionItem) -> tuple[Windowed[K], V]:
        key, start, end, value = item
        return Windowed(self._read_key(key), Window(start, end)), self._read(value)

    def _find(
        self, low: K | None, high: K | None, earliest_end: int, latest_start: int, *, reverse: bool
    ) -> Iterator[tuple[Windowed[K], V]]:
        raw_low = None if low is None else self._write_key(low)
        raw_high = None if high is None else self._write_key(high)
        return map(self._typed, self._raw(raw_low, raw_high, earliest_end, latest_start, reverse=reverse))

    def restore(self, records: Iterable[ChangelogRecord]) -> None:
        """Put what the changelog says, but for what would be removed by then.

        What is too old to be read is kept, as when it was put: it may have to be emitted as closed.
        """
        latest, first = self.observed_stream_time, self._kept_from
        items: list[tuple[bytes, int, int, bytes | None]] = []
        for key, value, _, _ in records:
            raw_key, start, end = split_session_store_key(key)
            if end > latest:
                latest = end
                first = max(first, first_kept(latest, self.retention_ms))
            if end >= first:
                items.append((raw_key, start, end, value))
        self._bytes.put_many(items)
        if latest > self.observed_stream_time:
            self.observed_stream_time = latest
            self._forget()

    def wipe(self) -> None:
        """Forget everything, time as well."""
        super().wipe()
        self.observed_stream_time = NO_TIMESTAMP
        self._kept_from = 0
        self._note.forget()
