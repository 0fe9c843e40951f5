"""Stores in RocksDB, by the library rocksdict (``pip install 'kconsole[rocksdb]'``): quick where state is large.

A commit is one write batch that holds the data and the changelog's offset; RocksDB's log makes it whole or nothing
after a kill. A batch cannot be read before it is written, so that what was put since the last commit stays in memory:
commit often enough (``commit.interval.ms``, and after each batch of a restore).
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any, Final

from engine.streams.stores.buffered import BufferedEngine, Item, Write
from engine.streams.stores.engines import KeyValueEngine, SessionEngine, WindowEngine
from engine.streams.stores.errors import StateStoreError
from engine.streams.stores.ordered import OrderedSessionEngine, OrderedWindowEngine

_DATA: Final = b"k"
_AFTER_DATA: Final = b"l"
_OFFSET: Final = b"a:changelog offset"
_LAYOUT: Final = b"a:layout"

_BLOCK_CACHE_BYTES: Final = 16 * 1024 * 1024
_WRITE_BUFFER_BYTES: Final = 16 * 1024 * 1024
"""As in Kafka Streams (``RocksDBStore.WRITE_BUFFER_SIZE``)."""


def _library() -> Any:
    try:
        import rocksdict
    except ImportError as error:
        raise StateStoreError(
            "RocksDB stores need the library rocksdict: pip install 'kconsole[rocksdb]', or use sqlite"
        ) from error
    return rocksdict


class RocksDbBackend:
    """One store's database. ``layout`` is ``key-value``, ``window`` or ``session`` and must be that of the files."""

    stages = False

    def __init__(self, path: Path, layout: str) -> None:
        self._library = _library()
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database: Any = self._library.Rdict(str(path), self._options())
        except Exception as error:  # rocksdict raises plain Exceptions
            text = str(error)
            if "lock" in text.lower():
                raise StateStoreError(f"cannot open {path}: another process has it open; stop that process") from error
            raise StateStoreError(
                f"cannot open {path}: {text}; delete the directory (the store is then restored from its changelog)"
            ) from error
        self._batch: Any = self._library.WriteBatch(raw_mode=True)
        was = self._database.get(_LAYOUT)
        if was is None:
            self._database.put(_LAYOUT, layout.encode())
        elif was != layout.encode():
            self._database.close()
            raise StateStoreError(
                f"{path} holds a {was.decode()} store and the topology has a {layout} store of this name; rename the "
                "store, or delete the directory and reset the application"
            )

    def _options(self) -> Any:
        library = self._library
        options = library.Options(raw_mode=True)
        options.create_if_missing(True)
        blocks = library.BlockBasedOptions()
        blocks.set_block_cache(library.Cache(_BLOCK_CACHE_BYTES))
        blocks.set_bloom_filter(10, False)
        options.set_block_based_table_factory(blocks)
        options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
        options.set_keep_log_file_num(1)
        options.set_compression_type(library.DBCompressionType.none())  # Kafka Streams' default, too
        return options

    def read(self, key: bytes) -> bytes | None:
        """The value of a key."""
        value: bytes | None = self._database.get(_DATA + key)
        return value

    def scan(
        self, low: bytes | None, high: bytes | None, *, low_open: bool, high_open: bool, reverse: bool, limit: int
    ) -> list[Item]:
        """Up to ``limit`` items of a span of keys."""
        first = _DATA if low is None else _DATA + low
        last, last_open = (_AFTER_DATA, True) if high is None else (_DATA + high, high_open)
        begin, begin_open = (last, last_open) if reverse else (first, low_open)
        found: list[Item] = []
        for key, value in islice(self._database.items(backwards=reverse, from_key=begin), limit + 1):
            if begin_open and key == begin:
                continue
            if reverse:
                if key < first or (low_open and key == first):
                    break
            elif key > last or (last_open and key == last):
                break
            found.append((key[1:], value))
        return found[:limit]

    def write(self, items: list[Write]) -> None:
        """Put a batch to the one of the next commit."""
        put, delete = self._batch.put, self._batch.delete
        for key, value in items:
            if value is None:
                delete(_DATA + key)
            else:
                put(_DATA + key, value)

    def commit(self, changelog_offset: int | None) -> None:
        """Write the batch, with the offset in it."""
        if changelog_offset is not None:
            self._batch.put(_OFFSET, str(changelog_offset).encode())
        if self._batch.is_empty():
            return
        try:
            self._database.write(self._batch)
        except Exception as error:  # rocksdict raises plain Exceptions
            raise StateStoreError(
                f"cannot commit to {self._path}: {error}; look at the disk's space and the rights of its directory"
            ) from error
        self._batch = self._library.WriteBatch(raw_mode=True)

    def changelog_offset(self) -> int | None:
        """The offset of the last commit that had one."""
        raw = self._database.get(_OFFSET)
        return None if raw is None else int(raw)

    def count(self) -> int:
        """How many items there are, by RocksDB's estimate."""
        return max((self._database.property_int_value("rocksdb.estimate-num-keys") or 0) - 2, 0)

    def wipe(self) -> None:
        """Delete everything, and the offset."""
        self._batch = self._library.WriteBatch(raw_mode=True)
        batch = self._library.WriteBatch(raw_mode=True)
        batch.delete_range(_DATA, _AFTER_DATA)
        batch.delete(_OFFSET)
        self._database.write(batch)

    def close(self) -> None:
        """Close the database; what was not committed is lost."""
        self._database.close()


class RocksDbEngines:
    """Makes engines in RocksDB: ``<directory>/rocksdict/<store>``, apart from where a Java application has its own."""

    def _items(self, name: str, directory: Path | None, layout: str) -> BufferedEngine:
        if directory is None:
            raise StateStoreError(f"store {name}: RocksDB needs a directory; set state.dir, or use the memory engine")
        return BufferedEngine(RocksDbBackend(directory / "rocksdict" / name, layout))

    def key_value(self, name: str, directory: Path | None) -> KeyValueEngine:
        """A key-value engine."""
        return self._items(name, directory, "key-value")

    def window(self, name: str, directory: Path | None) -> WindowEngine:
        """A window engine."""
        return OrderedWindowEngine(self._items(name, directory, "window"))

    def session(self, name: str, directory: Path | None) -> SessionEngine:
        """A session engine."""
        return OrderedSessionEngine(self._items(name, directory, "session"))
