"""The key-value engine that persistent places share: writes gather in memory, a commit takes them to disk in one piece.

What sqlite and RocksDB do differently is a :class:`Backend`: read a key, scan a span of keys, write a batch, commit it
with the changelog's offset. Above it, here, are the writes since the last commit (a key that is written a thousand
times goes to disk once), a cache of what was read and written lately, and iterators that may be read on while the
store is written to: they see each key at most once, in order, every key that was there all the time with a value that
it had at some moment since.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

Item = tuple[bytes, bytes]
Write = tuple[bytes, bytes | None]

STAGE_AT: Final = 50_000
"""Writes in memory after which a backend that can take them into its open transaction is given them."""

CACHE_BYTES: Final = 8 * 1024 * 1024
"""About how much each of the two generations of the cache holds."""

_ENTRY_BYTES: Final = 160
"""What an entry of a dictionary costs besides the bytes of its key and value: measured, two ``bytes`` and the slot."""

_FIRST_CHUNK: Final = 64
_NEXT_CHUNK: Final = 1024


class _Missing:
    """The mark for "not in this dictionary": None there means that the store has no such key."""


_MISSING: Final = _Missing()


class Backend(Protocol):
    """One place on disk. Keys are ordered as unsigned bytes."""

    stages: bool
    """Whether :meth:`write` may come many times before a commit, with reads that see it and no trace after a crash."""

    def read(self, key: bytes) -> bytes | None:
        """The value of a key."""

    def scan(
        self, low: bytes | None, high: bytes | None, *, low_open: bool, high_open: bool, reverse: bool, limit: int
    ) -> list[Item]:
        """Up to ``limit`` items of a span of keys, from its low end or, reversed, from its high end."""

    def write(self, items: list[Write]) -> None:
        """Write a batch, ordered by key, without making it durable."""

    def commit(self, changelog_offset: int | None) -> None:
        """Make durable what was written together with the offset; None leaves the offset as it was."""

    def changelog_offset(self) -> int | None:
        """The offset of the last commit that had one."""

    def count(self) -> int:
        """How many items there are, about."""

    def wipe(self) -> None:
        """Delete everything, and the offset."""

    def close(self) -> None:
        """Let go of files, without a commit."""


class BufferedEngine:
    """A key-value engine over a backend (:class:`~engine.streams.stores.engines.KeyValueEngine`)."""

    persistent = True

    def __init__(self, backend: Backend, *, stage_at: int = STAGE_AT, cache_bytes: int = CACHE_BYTES) -> None:
        self._backend = backend
        self._stage_at = stage_at if backend.stages else 0
        self._cache_bytes = cache_bytes
        self._dirty: dict[bytes, bytes | None] = {}
        self._sorted: list[bytes] | None = None
        """The keys of ``_dirty`` in order, once a range asked for them."""
        self._recent: dict[bytes, bytes | None] = {}
        self._older: dict[bytes, bytes | None] = {}
        self._recent_bytes = 0

    # Points.

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``."""
        found = self._dirty.get(key, _MISSING)
        if not isinstance(found, _Missing):
            return found
        found = self._recent.get(key, _MISSING)
        if not isinstance(found, _Missing):
            return found
        found = self._older.get(key, _MISSING)
        value = self._backend.read(key) if isinstance(found, _Missing) else found
        self._remember(key, value)
        return value

    def put(self, key: bytes, value: bytes | None) -> None:
        """Set or delete."""
        dirty = self._dirty
        if self._sorted is not None and key not in dirty:
            insort(self._sorted, key)
        dirty[key] = value
        if self._stage_at and len(dirty) >= self._stage_at:
            self._stage()

    def put_many(self, items: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Many puts, in order."""
        self._sorted = None
        self._dirty.update(items)
        if self._stage_at and len(self._dirty) >= self._stage_at:
            self._stage()

    def _remember(self, key: bytes, value: bytes | None) -> None:
        self._recent[key] = value
        self._recent_bytes += _ENTRY_BYTES + len(key) + (0 if value is None else len(value))
        if self._recent_bytes > self._cache_bytes:
            self._older, self._recent, self._recent_bytes = self._recent, {}, 0

    def _stage(self) -> None:
        dirty = self._dirty
        if not dirty:
            return
        self._backend.write(sorted(dirty.items(), key=_key_of))
        size = sum(len(value) for value in dirty.values() if value is not None) + sum(map(len, dirty))
        size += _ENTRY_BYTES * len(dirty)
        if self._recent_bytes + size > self._cache_bytes:
            # The batch is a generation of its own: what it says of a key is newer than what is dropped or below.
            self._older, self._recent, self._recent_bytes = self._recent, dirty, size
        else:
            self._recent.update(dirty)
            self._recent_bytes += size
        self._dirty, self._sorted = {}, None

    # Spans.

    def range(self, low: bytes | None, high: bytes | None, *, reverse: bool = False) -> Iterator[Item]:
        """Items from ``low`` to ``high``, both inclusive; the store may be written to meanwhile."""
        return self._span(low, high, high_open=False, reverse=reverse)

    def prefix(self, prefix: bytes) -> Iterator[Item]:
        """Items whose key begins with ``prefix``; the store may be written to meanwhile."""
        return self._span(prefix, _after(prefix), high_open=True, reverse=False)

    def _span(self, low: bytes | None, high: bytes | None, *, high_open: bool, reverse: bool) -> Iterator[Item]:
        if low is not None and high is not None and low > high:
            return
        low_open, limit = False, _FIRST_CHUNK
        while True:
            chunk = self._backend.scan(low, high, low_open=low_open, high_open=high_open, reverse=reverse, limit=limit)
            last = chunk[-1][0] if len(chunk) >= limit else None
            if reverse:
                overlay = self._unwritten(last if last is not None else low, high, low_open and last is None, high_open)
            else:
                overlay = self._unwritten(low, last if last is not None else high, low_open, high_open and last is None)
            if overlay:
                chunk = _merge(chunk, overlay, reverse=reverse)
            yield from chunk
            if last is None:
                return
            if reverse:
                high, high_open = last, True
            else:
                low, low_open = last, True
            limit = _NEXT_CHUNK

    def _unwritten(self, low: bytes | None, high: bytes | None, low_open: bool, high_open: bool) -> list[Write]:
        """The writes since the last commit (or staging) in a span of keys, in order."""
        dirty = self._dirty
        if not dirty:
            return []
        if self._sorted is None:
            self._sorted = sorted(dirty)
        keys = self._sorted
        begin = 0 if low is None else (bisect_right if low_open else bisect_left)(keys, low)
        end = len(keys) if high is None else (bisect_left if high_open else bisect_right)(keys, high)
        return [(key, dirty[key]) for key in keys[begin:end]]

    def count(self) -> int:
        """How many items there are: exact where the backend stages, else about."""
        if self._stage_at:
            self._stage()
            return self._backend.count()
        waiting = sum(1 if value is not None else -1 for value in self._dirty.values())
        return max(0, self._backend.count() + waiting)

    # Durability.

    def uncommitted(self) -> int:
        """How many writes wait in memory for the next commit."""
        return len(self._dirty)

    def commit(self, changelog_offset: int | None) -> None:
        """Write what was put and the offset, both or neither."""
        self._stage()
        self._backend.commit(changelog_offset)

    def changelog_offset(self) -> int | None:
        """The offset of the last commit that had one."""
        return self._backend.changelog_offset()

    def wipe(self) -> None:
        """Forget everything."""
        self._forget()
        self._backend.wipe()

    def close(self) -> None:
        """Release the files; what was put since the last commit is lost."""
        self._forget()
        self._backend.close()

    def _forget(self) -> None:
        self._dirty, self._sorted = {}, None
        self._recent, self._older, self._recent_bytes = {}, {}, 0


def _key_of(item: Write) -> bytes:
    return item[0]


def _after(prefix: bytes) -> bytes | None:
    """The least key that is greater than all that begin with ``prefix``, None when there is none."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else None


def _merge(chunk: list[Item], overlay: list[Write], *, reverse: bool) -> list[Item]:
    """A scan with the newer writes of its span put in."""
    newer = dict(chunk)
    for key, value in overlay:
        if value is None:
            newer.pop(key, None)
        else:
            newer[key] = value
    return sorted(newer.items(), reverse=reverse)
