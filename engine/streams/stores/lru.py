"""A key-value store in memory of so many keys: the one that was used longest ago goes (``Stores.lruMap``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from engine.streams.records import NO_HEADERS, ChangelogRecord
from engine.streams.serdes import Serde
from engine.streams.stores.key_value import KeyValueStore
from engine.streams.stores.memory import MemoryKeyValueEngine
from engine.streams.stores.state_store import key_bytes

K = TypeVar("K")
V = TypeVar("V")


class LruKeyValueStore(KeyValueStore[K, V], Generic[K, V]):
    """Values by key, of the keys that were last read or written (``MemoryNavigableLRUCache``)."""

    def __init__(
        self, name: str, key_serde: Serde[K], value_serde: Serde[V], *, logged: bool, max_entries: int
    ) -> None:
        super().__init__(name, MemoryKeyValueEngine(), key_serde, value_serde, logged=logged)
        self.max_entries = max_entries
        self._used: dict[bytes, None] = {}
        """Keys, the one used longest ago first."""

    def get(self, key: K) -> V | None:
        """The value of ``key``, None when there is none (any more); it counts as a use."""
        found = super().get(key)
        if found is not None:
            raw_key = self._write_key(key)
            del self._used[raw_key]
            self._used[raw_key] = None
        return found

    def peek(self, key: K) -> V | None:
        """The value of ``key``; it does not count as a use."""
        return super().get(key)

    def put(self, key: K, value: V | None) -> None:
        """Set the value of ``key``; None deletes it. A key too many goes, with a tombstone in the changelog."""
        raw_key = key_bytes(self, self._write_key, key)
        raw = None if value is None else self._write(value)
        gone = self._keep(raw_key, raw)
        if self.logged:
            timestamp = self.context.timestamp()
            if gone is not None:
                self.changes.append((gone, None, timestamp, NO_HEADERS))
            self.changes.append((raw_key, raw, timestamp, NO_HEADERS))

    def _keep(self, raw_key: bytes, raw: bytes | None) -> bytes | None:
        self._used.pop(raw_key, None)
        self._bytes.put(raw_key, raw)
        if raw is None:
            return None
        self._used[raw_key] = None
        if len(self._used) <= self.max_entries:
            return None
        gone = next(iter(self._used))
        del self._used[gone]
        self._bytes.put(gone, None)
        return gone

    def restore(self, records: Iterable[ChangelogRecord]) -> None:
        """Put what the changelog says: its order is that of use."""
        for key, value, _, _ in records:
            self._keep(key, value)

    def wipe(self) -> None:
        """Forget everything."""
        super().wipe()
        self._used.clear()
