"""Window and session engines over any engine of ordered keys: what makes sqlite and RocksDB keep windows.

Each entry is two items: the data, ``d`` + key + time, which a fetch of one key reads in order, and an empty item of an
index, ``t`` + time + key, by which old windows go and fetches of all keys are answered; ``n`` is the store's note.
Keys are written so that comparing bytes compares keys first: a zero byte as ``00 FF``, the end as ``00 00``. Times
are 8 bytes, moved by 2**63 so that negative ones come first. This is the layout on disk only: changelogs have Kafka's
bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from engine.streams.stores.engines import KeyValueEngine, SessionItem, WindowItem

_MOVE: Final = 1 << 63
_LEAST: Final = -_MOVE
_MOST: Final = _MOVE - 1
_MOST_SEQUENCE: Final = 0xFFFFFFFF

_ONE = struct.Struct(">Q")
_WINDOW = struct.Struct(">QI")
_SESSION = struct.Struct(">QQ")
_SEQUENCE = struct.Struct(">I")

_INDEXED_LIMIT: Final = 100_000


def _escaped(key: bytes) -> bytes:
    return key.replace(b"\0", b"\0\xff") + b"\0\0"


def _plain(escaped: bytes) -> bytes:
    return escaped[:-2].replace(b"\0\xff", b"\0")


def _moved(time: int) -> int:
    """A time (ms) as it is written; what lies outside of 64 bits is the least or greatest time."""
    return min(max(time, _LEAST), _MOST) + _MOVE


class _OverKeys:
    """What both kinds share: which entries are in the index, and up to when entries are gone."""

    def __init__(self, items: KeyValueEngine) -> None:
        self._items = items
        self.persistent = items.persistent
        self._floor = _LEAST
        """Entries before this time are gone for readers; they are deleted with the next commit."""
        self._oldest = _LEAST
        """No entry is older than this, as far as is known."""
        self._indexed: set[tuple[bytes, int, int]] = set()
        """Entries that are in the index for sure, so that changing them again writes their data only."""

    def remove_before(self, time: int) -> None:
        """Drop what is before ``time``."""
        if time > self._floor:
            self._floor = time

    def _make_room(self, time: int) -> None:
        """An entry of ``time`` is put."""
        if time < self._floor:
            self._expire()
            self._floor = time
        if time < self._oldest:
            self._oldest = time

    def _expire(self) -> None:
        if self._floor <= self._oldest:
            return
        # Keys of the index are longer than this bound, so that those of the floor itself are behind it.
        end = b"t" + _ONE.pack(_moved(self._floor))
        doomed: list[tuple[bytes, bytes | None]] = []
        for at, _ in self._items.range(b"t", end):
            doomed += ((at, None), (self._data_key(at), None))
        self._items.put_many(doomed)
        self._oldest = self._floor
        self._indexed.clear()

    def _data_key(self, index_key: bytes) -> bytes:
        raise NotImplementedError

    def commit(self, changelog_offset: int | None) -> None:
        """Delete what is too old, then make everything durable."""
        self._expire()
        self._items.commit(changelog_offset)

    def note(self) -> bytes | None:
        """The note of the store."""
        return self._items.get(b"n")

    def set_note(self, note: bytes) -> None:
        """Keep it, as of the next commit."""
        self._items.put(b"n", note)

    def changelog_offset(self) -> int | None:
        """As the engine below."""
        return self._items.changelog_offset()

    def wipe(self) -> None:
        """Forget everything."""
        self._floor = self._oldest = _LEAST
        self._indexed.clear()
        self._items.wipe()

    def close(self) -> None:
        """Release the engine below."""
        self._items.close()


class OrderedWindowEngine(_OverKeys):
    """Windows by key, start and sequence number (:class:`~engine.streams.stores.engines.WindowEngine`)."""

    def get(self, key: bytes, start: int) -> bytes | None:
        """The value of a window."""
        if start < self._floor:
            return None
        return self._items.get(b"d" + _escaped(key) + _WINDOW.pack(start + _MOVE, 0))

    def put(self, key: bytes, start: int, sequence: int, value: bytes | None) -> None:
        """Set or delete."""
        if start < self._oldest or start < self._floor:
            self._make_room(start)
        escaped = _escaped(key)
        entry = (key, start, sequence)
        indexed = self._indexed
        if value is None:
            indexed.discard(entry)
        if entry not in indexed:
            index_key = b"t" + _ONE.pack(start + _MOVE) + escaped + _SEQUENCE.pack(sequence)
            if value is None:
                self._items.put(index_key, None)
            else:
                self._items.put(index_key, b"")
                if len(indexed) >= _INDEXED_LIMIT:
                    indexed.clear()
                indexed.add(entry)
        self._items.put(b"d" + escaped + _WINDOW.pack(start + _MOVE, sequence), value)

    def put_many(self, items: Iterable[tuple[bytes, int, int, bytes | None]]) -> None:
        """Many puts, in order."""
        for key, start, sequence, value in items:
            self.put(key, start, sequence, value)

    def fetch(self, key: bytes, earliest: int, latest: int, *, reverse: bool = False) -> Iterator[tuple[int, bytes]]:
        """Windows of one key; the store may be written to meanwhile."""
        begin = b"d" + _escaped(key)
        low = begin + _WINDOW.pack(_moved(max(earliest, self._floor)), 0)
        high = begin + _WINDOW.pack(_moved(latest), _MOST_SEQUENCE)
        at, unpack_from = len(begin), _ONE.unpack_from
        found = self._items.range(low, high, reverse=reverse)
        return ((unpack_from(item, at)[0] - _MOVE, value) for item, value in found)

    def fetch_range(
        self, low: bytes | None, high: bytes | None, earliest: int, latest: int, *, reverse: bool = False
    ) -> Iterator[WindowItem]:
        """Windows of many keys, by start, then key; the store may be written to meanwhile."""
        begin = b"t" + _ONE.pack(_moved(max(earliest, self._floor)))
        # One above the latest, or above all: keys of the index are longer than this bound.
        end = b"t" + _ONE.pack(_moved(latest) + 1) if latest < _MOST else b"u"
        for at, _ in self._items.range(begin, end, reverse=reverse):
            key = _plain(at[9:-4])
            if (low is not None and key < low) or (high is not None and key > high):
                continue
            value = self._items.get(self._data_key(at))
            if value is not None:
                yield key, _ONE.unpack_from(at, 1)[0] - _MOVE, _SEQUENCE.unpack(at[-4:])[0], value

    def _data_key(self, index_key: bytes) -> bytes:
        return b"d" + index_key[9:-4] + index_key[1:9] + index_key[-4:]


class OrderedSessionEngine(_OverKeys):
    """Sessions by key, end and start (:class:`~engine.streams.stores.engines.SessionEngine`)."""

    def get(self, key: bytes, start: int, end: int) -> bytes | None:
        """The value of a session."""
        if end < self._floor:
            return None
        return self._items.get(b"d" + _escaped(key) + _SESSION.pack(end + _MOVE, start + _MOVE))

    def put(self, key: bytes, start: int, end: int, value: bytes | None) -> None:
        """Set or delete."""
        if end < self._oldest or end < self._floor:
            self._make_room(end)
        escaped = _escaped(key)
        entry = (key, start, end)
        if value is None:
            self._indexed.discard(entry)
        if entry not in self._indexed:
            index_key = b"t" + _ONE.pack(end + _MOVE) + escaped + _ONE.pack(start + _MOVE)
            if value is None:
                self._items.put(index_key, None)
            else:
                self._items.put(index_key, b"")
                if len(self._indexed) >= _INDEXED_LIMIT:
                    self._indexed.clear()
                self._indexed.add(entry)
        self._items.put(b"d" + escaped + _SESSION.pack(end + _MOVE, start + _MOVE), value)

    def put_many(self, items: Iterable[tuple[bytes, int, int, bytes | None]]) -> None:
        """Many puts, in order."""
        for key, start, end, value in items:
            self.put(key, start, end, value)

    def find(
        self, low: bytes | None, high: bytes | None, earliest_end: int, latest_start: int, *, reverse: bool = False
    ) -> Iterator[SessionItem]:
        """Sessions in the order of keys, ends, starts; the store may be written to meanwhile."""
        earliest = _moved(max(earliest_end, self._floor))
        begin = b"d" if low is None else b"d" + _escaped(low) + _SESSION.pack(earliest, 0)
        end = b"e" if high is None else b"d" + _escaped(high) + b"\xff" * 16
        earliest -= _MOVE
        for at, value in self._items.range(begin, end, reverse=reverse):
            session_end, start = _SESSION.unpack_from(at, len(at) - 16)
            session_end -= _MOVE
            start -= _MOVE
            if session_end >= earliest and start <= latest_start:
                yield _plain(at[1:-16]), start, session_end, value

    def _data_key(self, index_key: bytes) -> bytes:
        return b"d" + index_key[9:-8] + index_key[1:9] + index_key[-8:]
