"""What keeps the bytes of a state store: the three interfaces that memory, sqlite and RocksDB implement.

An engine knows bytes, order and nothing else. Serdes, timestamps, retention and the changelog are above it, in
:mod:`engine.streams.stores.key_value`, ``window`` and ``session``, and are the same for every engine. Keys are ordered
as unsigned bytes. An iterator is read to its end or dropped before the store is written to again, unless the engine
says more. Nothing here is called from two threads at once, but for reads by interactive queries, which the runtime
keeps apart from processing.

What was put is seen by reads at once. :meth:`Engine.commit` makes it durable together with the offset of the
changelog up to which the store is then complete, both or neither: an engine that dies between two commits comes back
as of the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol


class Engine(Protocol):
    """What every engine can do."""

    persistent: bool
    """Whether the bytes outlive the process."""

    def commit(self, changelog_offset: int | None) -> None:
        """Make durable what was put, as complete up to ``changelog_offset`` (the next offset; None: unknown)."""

    def changelog_offset(self) -> int | None:
        """The offset of the last commit, None when there was none or the engine is not persistent."""

    def wipe(self) -> None:
        """Forget everything, the offset as well; the engine stays open."""

    def close(self) -> None:
        """Release what is held; without a commit before it, what was put since the last one may be lost."""


class KeyValueEngine(Engine, Protocol):
    """Bytes by key, in the order of the keys."""

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``, None when there is none."""

    def put(self, key: bytes, value: bytes | None) -> None:
        """Set the value of ``key``; None deletes it."""

    def put_many(self, items: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Many puts, in order."""

    def range(self, low: bytes | None, high: bytes | None, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Items from ``low`` to ``high``, both inclusive; None leaves that side open."""

    def prefix(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Items whose key begins with ``prefix``, in order."""

    def count(self) -> int:
        """How many items there are (an estimate is allowed)."""


class Noting(Protocol):
    """An engine that keeps a note of its store beside the data: what the store knows and its entries do not tell."""

    def note(self) -> bytes | None:
        """The note, None when there is none."""

    def set_note(self, note: bytes) -> None:
        """Keep it, as of the next commit."""


WindowItem = tuple[bytes, int, int, bytes]
"""``(key, window start, sequence number, value)``."""


class WindowEngine(Engine, Noting, Protocol):
    """Bytes by key, start of the window (ms) and sequence number (0 unless the store keeps duplicates)."""

    def get(self, key: bytes, start: int) -> bytes | None:
        """The value of ``key`` in the window that starts at ``start`` (sequence number 0)."""

    def put(self, key: bytes, start: int, sequence: int, value: bytes | None) -> None:
        """Set a value; None deletes it."""

    def put_many(self, items: Iterable[tuple[bytes, int, int, bytes | None]]) -> None:
        """Many puts, in order."""

    def fetch(self, key: bytes, earliest: int, latest: int, *, reverse: bool = False) -> Iterator[tuple[int, bytes]]:
        """``(start, value)`` of ``key`` in windows that start from ``earliest`` to ``latest``, both inclusive."""

    def fetch_range(
        self, low: bytes | None, high: bytes | None, earliest: int, latest: int, *, reverse: bool = False
    ) -> Iterator[WindowItem]:
        """Items of the keys from ``low`` to ``high`` in those windows, by start, then key, then sequence number."""

    def remove_before(self, start: int) -> None:
        """Drop all windows that start before ``start``."""


SessionItem = tuple[bytes, int, int, bytes]
"""``(key, start, end, value)``."""


class SessionEngine(Engine, Noting, Protocol):
    """Bytes by key and session (start and end in ms, both inclusive)."""

    def get(self, key: bytes, start: int, end: int) -> bytes | None:
        """The value of exactly that session."""

    def put(self, key: bytes, start: int, end: int, value: bytes | None) -> None:
        """Set the value of a session; None deletes it."""

    def put_many(self, items: Iterable[tuple[bytes, int, int, bytes | None]]) -> None:
        """Many puts, in order."""

    def find(
        self, low: bytes | None, high: bytes | None, earliest_end: int, latest_start: int, *, reverse: bool = False
    ) -> Iterator[SessionItem]:
        """Sessions of the keys ``low`` to ``high`` with ``end >= earliest_end`` and ``start <= latest_start``.

        In the order of keys, then ends, then starts; the reverse of it when asked.
        """

    def remove_before(self, end: int) -> None:
        """Drop all sessions that end before ``end``."""


class Engines(Protocol):
    """Makes engines of one kind (``memory``, ``sqlite``, ``rocksdb``)."""

    def key_value(self, name: str, directory: Path | None) -> KeyValueEngine:
        """The engine of the key-value store ``name``, whose files are in ``directory`` (None: memory only)."""

    def window(self, name: str, directory: Path | None) -> WindowEngine:
        """The engine of a window store."""

    def session(self, name: str, directory: Path | None) -> SessionEngine:
        """The engine of a session store."""
