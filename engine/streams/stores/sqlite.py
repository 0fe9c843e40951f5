"""Stores in sqlite, the default: one file a store, in the standard library, nothing to install.

A commit is one transaction that holds the data and the changelog's offset. The file is in WAL mode with
``synchronous=NORMAL``: a process that is killed loses nothing that was committed, a machine that loses power may come
back as of an earlier commit, with that commit's offset, never with half of one. The file is locked while it is open.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from engine.streams.stores.buffered import BufferedEngine, Item, Write
from engine.streams.stores.engines import KeyValueEngine, SessionEngine, WindowEngine
from engine.streams.stores.errors import StateStoreError
from engine.streams.stores.ordered import OrderedSessionEngine, OrderedWindowEngine

FORMAT: Final = 1
_PAGE_CACHE_KIB: Final = 16 * 1024
_WAL_PAGES: Final = 8_000
"""The WAL goes into the file when it is longer than this: 32 MB, so that a restore does not do it for each batch."""


class SqliteBackend:
    """One store's file. ``layout`` is ``key-value``, ``window`` or ``session`` and must be that of the file."""

    stages = True

    def __init__(self, path: Path, layout: str) -> None:
        self._path = path
        self._writing = False
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Reads by interactive queries come from another thread, never at the same time (engines.py).
            self._connection = sqlite3.connect(path, timeout=0.2, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise _failed(path, "open", error) from error
        self._execute = self._connection.execute
        try:
            self._open(layout)
        except (sqlite3.Error, StateStoreError) as error:
            self._connection.close()
            if isinstance(error, StateStoreError):
                raise
            raise _failed(path, "open", error) from error

    def _open(self, layout: str) -> None:
        # The exclusive lock comes before the WAL mode: then sqlite needs no shared memory, and nobody else gets in.
        self._execute("PRAGMA locking_mode=EXCLUSIVE")
        self._execute("PRAGMA journal_mode=WAL")
        self._execute("PRAGMA synchronous=NORMAL")
        self._execute(f"PRAGMA cache_size=-{_PAGE_CACHE_KIB}")
        self._execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
        found = self._execute("PRAGMA user_version").fetchone()[0]
        if found == 0:
            self._execute("BEGIN IMMEDIATE")
            self._execute("CREATE TABLE items (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
            self._execute("CREATE TABLE about (name TEXT PRIMARY KEY, value) WITHOUT ROWID")
            self._execute("INSERT INTO about VALUES ('layout', ?)", (layout,))
            self._execute(f"PRAGMA user_version={FORMAT}")
            self._execute("COMMIT")
        elif found != FORMAT:
            raise StateStoreError(
                f"{self._path} has format {found} and this version of kconsole reads {FORMAT}; delete the file "
                "(the store is then restored from its changelog), or use the version that wrote it"
            )
        was = self._execute("SELECT value FROM about WHERE name = 'layout'").fetchone()[0]
        if was != layout:
            raise StateStoreError(
                f"{self._path} holds a {was} store and the topology has a {layout} store of this name; rename the "
                "store, or delete the file and reset the application"
            )

    def read(self, key: bytes) -> bytes | None:
        """The value of a key."""
        row = self._execute("SELECT value FROM items WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def scan(
        self, low: bytes | None, high: bytes | None, *, low_open: bool, high_open: bool, reverse: bool, limit: int
    ) -> list[Item]:
        """Up to ``limit`` items of a span of keys."""
        conditions, values = [], []
        if low is not None:
            conditions.append("key > ?" if low_open else "key >= ?")
            values.append(low)
        if high is not None:
            conditions.append("key < ?" if high_open else "key <= ?")
            values.append(high)
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        order = "DESC" if reverse else "ASC"
        # Nothing of a user's is in the statement: its parts are the constants above.
        statement = f"SELECT key, value FROM items {where}ORDER BY key {order} LIMIT {limit}"
        return self._execute(statement, values).fetchall()

    def write(self, items: list[Write]) -> None:
        """Write a batch within the open transaction."""
        try:
            if not self._writing:
                self._execute("BEGIN IMMEDIATE")
                self._writing = True
            many = self._connection.executemany
            many("INSERT OR REPLACE INTO items VALUES (?, ?)", [item for item in items if item[1] is not None])
            many("DELETE FROM items WHERE key = ?", [(key,) for key, value in items if value is None])
        except sqlite3.Error as error:
            raise _failed(self._path, "write to", error) from error

    def commit(self, changelog_offset: int | None) -> None:
        """End the transaction, with the offset in it."""
        if not self._writing and (changelog_offset is None or changelog_offset == self.changelog_offset()):
            return
        try:
            if not self._writing:
                self._execute("BEGIN IMMEDIATE")
                self._writing = True
            if changelog_offset is not None:
                self._execute("INSERT OR REPLACE INTO about VALUES ('changelog offset', ?)", (changelog_offset,))
            self._execute("COMMIT")
            self._writing = False
        except sqlite3.Error as error:
            raise _failed(self._path, "commit to", error) from error

    def changelog_offset(self) -> int | None:
        """The offset of the last commit that had one."""
        row = self._execute("SELECT value FROM about WHERE name = 'changelog offset'").fetchone()
        return None if row is None else row[0]

    def count(self) -> int:
        """How many items there are, exactly."""
        number: int = self._execute("SELECT count(*) FROM items").fetchone()[0]
        return number

    def wipe(self) -> None:
        """Delete everything, and the offset."""
        if self._writing:
            self._execute("ROLLBACK")
            self._writing = False
        self._execute("BEGIN IMMEDIATE")
        self._execute("DELETE FROM items")
        self._execute("DELETE FROM about WHERE name = 'changelog offset'")
        self._execute("COMMIT")

    def close(self) -> None:
        """Close the file; an open transaction is rolled back."""
        self._connection.close()


def _failed(path: Path, what: str, error: sqlite3.Error) -> StateStoreError:
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return StateStoreError(f"cannot {what} {path}: another process has it open; stop that process")
    remedy = "delete the file (the store is then restored from its changelog)"
    if isinstance(error, sqlite3.OperationalError):
        remedy = "look at the disk's space and the rights of its directory"
    return StateStoreError(f"cannot {what} {path}: {error}; {remedy}")


class SqliteEngines:
    """Makes engines in sqlite: ``<directory>/sqlite/<store>.db``."""

    def _items(self, name: str, directory: Path | None, layout: str) -> BufferedEngine:
        if directory is None:
            raise StateStoreError(f"store {name}: sqlite needs a directory; set state.dir, or use the memory engine")
        return BufferedEngine(SqliteBackend(directory / "sqlite" / f"{name}.db", layout))

    def key_value(self, name: str, directory: Path | None) -> KeyValueEngine:
        """A key-value engine."""
        return self._items(name, directory, "key-value")

    def window(self, name: str, directory: Path | None) -> WindowEngine:
        """A window engine."""
        return OrderedWindowEngine(self._items(name, directory, "window"))

    def session(self, name: str, directory: Path | None) -> SessionEngine:
        """A session engine."""
        return OrderedSessionEngine(self._items(name, directory, "session"))
