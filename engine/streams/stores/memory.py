"""Engines in memory: dictionaries for points, sorted lists for ranges.

The sorted list of a key-value engine is made when a range is first asked for and thrown away when a new key comes:
most stores only ever see points.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from pathlib import Path

from engine.streams.stores.engines import KeyValueEngine, SessionEngine, SessionItem, WindowEngine, WindowItem


class _Memory:
    persistent = False

    def commit(self, changelog_offset: int | None) -> None:
        """Nothing is durable here."""

    def changelog_offset(self) -> int | None:
        """Always None: a store in memory is restored from the beginning of its changelog."""
        return None

    def close(self) -> None:
        """Nothing is held."""


class MemoryKeyValueEngine(_Memory):
    """A dictionary, and its sorted keys while nobody adds or removes one."""

    def __init__(self) -> None:
        self._items: dict[bytes, bytes] = {}
        self._sorted: list[bytes] | None = None

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``."""
        return self._items.get(key)

    def put(self, key: bytes, value: bytes | None) -> None:
        """Set or delete."""
        if value is None:
            if self._items.pop(key, None) is not None:
                self._sorted = None
            return
        if self._sorted is not None and key not in self._items:
            self._sorted = None
        self._items[key] = value

    def put_many(self, items: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Many puts, in order."""
        self._sorted = None
        put, pop = self._items.__setitem__, self._items.pop
        for key, value in items:
            if value is None:
                pop(key, None)
            else:
                put(key, value)

    def _keys(self) -> list[bytes]:
        if self._sorted is None:
            self._sorted = sorted(self._items)
        return self._sorted

    def range(self, low: bytes | None, high: bytes | None, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Items from ``low`` to ``high`` as they are now."""
        keys = self._keys()
        begin = 0 if low is None else bisect_left(keys, low)
        end = len(keys) if high is None else bisect_right(keys, high)
        found = keys[begin:end]
        if reverse:
            found.reverse()
        return self._present(found)

    def _present(self, keys: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
        items = self._items
        for key in keys:
            value = items.get(key)
            if value is not None:
                yield key, value

    def prefix(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Items whose key begins with ``prefix``."""
        keys = self._keys()
        begin = end = bisect_left(keys, prefix)
        while end < len(keys) and keys[end].startswith(prefix):
            end += 1
        return self._present(keys[begin:end])

    def count(self) -> int:
        """The exact number of items."""
        return len(self._items)

    def wipe(self) -> None:
        """Forget everything."""
        self._items.clear()
        self._sorted = None


class _Noting(_Memory):
    _note: bytes | None = None

    def note(self) -> bytes | None:
        """The note of the store."""
        return self._note

    def set_note(self, note: bytes) -> None:
        """Keep it."""
        self._note = note

    def wipe(self) -> None:
        """Forget it."""
        self._note = None


class _KeyWindows:
    """The windows of one key: their starts in order, and ``{sequence number: value}`` or a value by start."""

    __slots__ = ("starts", "values")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.values: dict[int, dict[int, bytes]] = {}


class MemoryWindowEngine(_Noting):
    """Windows by key, and the keys by start so that old windows go without a search."""

    def __init__(self) -> None:
        self._keys: dict[bytes, _KeyWindows] = {}
        self._starts: list[int] = []
        self._keys_of_start: dict[int, set[bytes]] = {}

    def get(self, key: bytes, start: int) -> bytes | None:
        """The value of a window."""
        windows = self._keys.get(key)
        if windows is None:
            return None
        values = windows.values.get(start)
        return None if values is None else values.get(0)

    def put(self, key: bytes, start: int, sequence: int, value: bytes | None) -> None:
        """Set or delete."""
        windows = self._keys.get(key)
        if value is None:
            if windows is not None and start in windows.values:
                windows.values[start].pop(sequence, None)
                if not windows.values[start]:
                    self._forget(key, windows, start)
                    keys = self._keys_of_start[start]
                    keys.discard(key)
                    if not keys:
                        del self._keys_of_start[start]
                        del self._starts[bisect_left(self._starts, start)]
            return
        if windows is None:
            windows = self._keys[key] = _KeyWindows()
        values = windows.values.get(start)
        if values is not None:
            values[sequence] = value
            return
        windows.values[start] = {sequence: value}
        insort(windows.starts, start)
        keys_of_start = self._keys_of_start.get(start)
        if keys_of_start is None:
            self._keys_of_start[start] = {key}
            insort(self._starts, start)
        else:
            keys_of_start.add(key)

    def _forget(self, key: bytes, windows: _KeyWindows, start: int) -> None:
        del windows.values[start]
        del windows.starts[bisect_left(windows.starts, start)]
        if not windows.starts:
            del self._keys[key]

    def put_many(self, items: Iterable[tuple[bytes, int, int, bytes | None]]) -> None:
        """Many puts, in order."""
        for key, start, sequence, value in items:
            self.put(key, start, sequence, value)

    def fetch(self, key: bytes, earliest: int, latest: int, *, reverse: bool = False) -> Iterator[tuple[int, bytes]]:
        """Windows of one key, as they are now."""
        windows = self._keys.get(key)
        if windows is None:
            return iter(())
        starts = windows.starts
        found = [
            (start, value)
            for start in starts[bisect_left(starts, earliest) : bisect_right(starts, latest)]
            for value in windows.values[start].values()
        ]
        if reverse:
            found.reverse()
        return iter(found)

    def fetch_range(
        self, low: bytes | None, high: bytes | None, earliest: int, latest: int, *, reverse: bool = False
    ) -> Iterator[WindowItem]:
        """Windows of many keys, by start, then key, as they are now."""
        starts = self._starts[bisect_left(self._starts, earliest) : bisect_right(self._starts, latest)]
        found = [
            (key, start, sequence, value)
            for start in starts
            for key in sorted(self._keys_of_start[start])
            if (low is None or key >= low) and (high is None or key <= high)
            for sequence, value in sorted(self._keys[key].values[start].items())
        ]
        if reverse:
            found.reverse()
        return iter(found)

    def remove_before(self, start: int) -> None:
        """Drop old windows."""
        end = bisect_left(self._starts, start)
        for old in self._starts[:end]:
            for key in self._keys_of_start.pop(old):
                self._forget(key, self._keys[key], old)
        del self._starts[:end]

    def wipe(self) -> None:
        """Forget everything."""
        super().wipe()
        self._keys.clear()
        self._starts.clear()
        self._keys_of_start.clear()


class MemorySessionEngine(_Noting):
    """Sessions by key, ordered by end and start; and the sessions by end, so that old ones go without a search."""

    def __init__(self) -> None:
        self._keys: dict[bytes, list[tuple[int, int]]] = {}
        self._values: dict[tuple[bytes, int, int], bytes] = {}
        self._ends: list[tuple[int, bytes, int]] = []

    def get(self, key: bytes, start: int, end: int) -> bytes | None:
        """The value of a session."""
        return self._values.get((key, start, end))

    def put(self, key: bytes, start: int, end: int, value: bytes | None) -> None:
        """Set or delete."""
        at = (key, start, end)
        if value is None:
            if self._values.pop(at, None) is not None:
                sessions = self._keys[key]
                del sessions[bisect_left(sessions, (end, start))]
                if not sessions:
                    del self._keys[key]
                del self._ends[bisect_left(self._ends, (end, key, start))]
            return
        if at not in self._values:
            insort(self._keys.setdefault(key, []), (end, start))
            insort(self._ends, (end, key, start))
        self._values[at] = value

    def put_many(self, items: Iterable[tuple[bytes, int, int, bytes | None]]) -> None:
        """Many puts, in order."""
        for key, start, end, value in items:
            self.put(key, start, end, value)

    def find(
        self, low: bytes | None, high: bytes | None, earliest_end: int, latest_start: int, *, reverse: bool = False
    ) -> Iterator[SessionItem]:
        """Sessions as they are now."""
        if low is not None and low == high:
            keys = [low] if low in self._keys else []
        else:
            keys = sorted(key for key in self._keys if (low is None or key >= low) and (high is None or key <= high))
        found = []
        for key in keys:
            sessions = self._keys[key]
            for end, start in sessions[bisect_left(sessions, (earliest_end,)) :]:
                if start <= latest_start:
                    found.append((key, start, end, self._values[key, start, end]))
        if reverse:
            found.reverse()
        return iter(found)

    def remove_before(self, end: int) -> None:
        """Drop old sessions."""
        for old_end, key, start in self._ends[: bisect_left(self._ends, (end,))]:
            self.put(key, start, old_end, None)

    def wipe(self) -> None:
        """Forget everything."""
        super().wipe()
        self._keys.clear()
        self._values.clear()
        self._ends.clear()


class MemoryEngines:
    """Makes engines in memory."""

    def key_value(self, name: str, directory: Path | None) -> KeyValueEngine:
        """A key-value engine."""
        return MemoryKeyValueEngine()

    def window(self, name: str, directory: Path | None) -> WindowEngine:
        """A window engine."""
        return MemoryWindowEngine()

    def session(self, name: str, directory: Path | None) -> SessionEngine:
        """A session engine."""
        return MemorySessionEngine()
