"""A key-value store whose values live for a time: ours, Kafka Streams has none.

A value lives from the time of the record in work for ``ttl_ms`` of the store, or of the put. Time is the greatest time
of a record that the store has seen, never a clock: the same input gives the same output. What is over is not seen by
any read at once; it is deleted, with a tombstone in the changelog, by one of the next puts.

The changelog holds the plain value, which a Java application can read, and when it is over as the header
``kconsole.expires`` (ms, 8 bytes, big-endian). A record without one lives for the store's ``ttl_ms`` from its own time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from engine.streams.errors import TopologyError
from engine.streams.records import NO_HEADERS, NO_TIMESTAMP, ChangelogRecord
from engine.streams.serdes import Serde
from engine.streams.stores.builders import KIND_KEY_VALUE, BuildContext, StoreBuilder
from engine.streams.stores.engines import KeyValueEngine
from engine.streams.stores.state_store import StateStore, key_bytes

K = TypeVar("K")
V = TypeVar("V")

EXPIRES_HEADER: Final = "kconsole.expires"

_TIME = struct.Struct(">q")
_pack, _unpack_from = _TIME.pack, _TIME.unpack_from
_NEVER: Final = 2**63 - 1
_LOOK_EVERY_MS: Final = 1_000
"""Stream time between two looks for what is over: reads do not need it, so that it may be rare."""
_AT_ONCE: Final = 1_000
"""What one put deletes at most."""


class TtlKeyValueStore(StateStore, Generic[K, V]):
    """Values by key that are over after some time.

    In the engine, ``d`` + key is the time it is over and the value; ``t`` + that time + key is empty, for finding what
    is over. An entry of the second kind may be out of date: the first kind says.
    """

    def __init__(
        self,
        name: str,
        engine: KeyValueEngine,
        key_serde: Serde[K],
        value_serde: Serde[V],
        *,
        logged: bool,
        ttl_ms: int,
    ) -> None:
        super().__init__(name, engine, logged=logged)
        self.ttl_ms = ttl_ms
        self.observed_stream_time = NO_TIMESTAMP
        self._bytes = engine
        self._look_at = NO_TIMESTAMP
        self._write_key, self._read_key = key_serde.serialize, key_serde.deserialize
        self._write, self._read = value_serde.serialize, value_serde.deserialize

    def _now(self) -> int:
        now = self.context.timestamp()
        if now > self.observed_stream_time:
            self.observed_stream_time = now
        return self.observed_stream_time

    def get(self, key: K) -> V | None:
        """The value of ``key``, None when there is none or it is over."""
        raw = self._bytes.get(b"d" + key_bytes(self, self._write_key, key))
        return None if raw is None or _unpack_from(raw)[0] <= self._now() else self._read(raw[8:])

    def expires_at(self, key: K) -> int | None:
        """When the value of ``key`` is over (ms of stream time), None when there is none or it is over."""
        raw = self._bytes.get(b"d" + key_bytes(self, self._write_key, key))
        if raw is None:
            return None
        expires: int = _unpack_from(raw)[0]
        return expires if expires > self._now() else None

    def put(self, key: K, value: V | None, ttl_ms: int | None = None) -> None:
        """Set the value of ``key`` for ``ttl_ms`` (None: as the store has it); a value of None deletes it."""
        now = self._now()
        if now >= self._look_at:
            self._expire(now)
        raw_key = key_bytes(self, self._write_key, key)
        timestamp = self.context.timestamp()
        if value is None:
            self._bytes.put(b"d" + raw_key, None)
            self._log(raw_key, None, timestamp, None)
            return
        lives = self.ttl_ms if ttl_ms is None else ttl_ms
        if lives <= 0:
            raise ValueError(f"store {self.name}: a value must live for at least 1 ms, not {lives}")
        expires = _pack(min(max(timestamp, 0) + lives, _NEVER))
        raw = self._write(value)
        self._bytes.put(b"d" + raw_key, expires + raw)
        self._bytes.put(b"t" + expires + raw_key, b"")
        self._log(raw_key, raw, timestamp, expires)

    def _log(self, raw_key: bytes, raw: bytes | None, timestamp: int, expires: bytes | None) -> None:
        if self.logged:
            headers = NO_HEADERS if expires is None else ((EXPIRES_HEADER, expires),)
            self.changes.append((raw_key, raw, timestamp, headers))

    def _expire(self, now: int) -> None:
        end = b"t" + _pack(now + 1)
        over = [at for at, _ in islice(self._bytes.range(b"t", end), _AT_ONCE) if at < end]
        for at in over:
            self._bytes.put(at, None)
            raw_key = at[9:]
            raw = self._bytes.get(b"d" + raw_key)
            if raw is not None and raw[:8] == at[1:9]:
                self._bytes.put(b"d" + raw_key, None)
                self._log(raw_key, None, now, None)
        self._look_at = now if len(over) == _AT_ONCE else now + _LOOK_EVERY_MS

    def put_if_absent(self, key: K, value: V, ttl_ms: int | None = None) -> V | None:
        """Set the value of ``key`` unless it has one that is not over; what it had is returned."""
        found = self.get(key)
        if found is None:
            self.put(key, value, ttl_ms)
        return found

    def delete(self, key: K) -> V | None:
        """Delete ``key``; what it had is returned."""
        found = self.get(key)
        self.put(key, None)
        return found

    def range(self, low: K | None = None, high: K | None = None) -> Iterator[tuple[K, V]]:
        """Items from ``low`` to ``high``, both inclusive, in the order of the keys' bytes; None leaves a side open."""
        return self._range(low, high, reverse=False)

    def reverse_range(self, low: K | None = None, high: K | None = None) -> Iterator[tuple[K, V]]:
        """The same in the reverse order."""
        return self._range(low, high, reverse=True)

    def all(self) -> Iterator[tuple[K, V]]:
        """Every item, in the order of the keys' bytes."""
        return self._range(None, None, reverse=False)

    def reverse_all(self) -> Iterator[tuple[K, V]]:
        """Every item, in the reverse order."""
        return self._range(None, None, reverse=True)

    def _range(self, low: K | None, high: K | None, *, reverse: bool) -> Iterator[tuple[K, V]]:
        raw_low = b"d" if low is None else b"d" + self._write_key(low)
        raw_high = b"e" if high is None else b"d" + self._write_key(high)
        return self._items(self._bytes.range(raw_low, raw_high, reverse=reverse))

    def prefix_scan(self, prefix: Any, serde: Serde[Any]) -> Iterator[tuple[K, V]]:
        """Items whose key's bytes begin with ``prefix`` as ``serde`` writes it."""
        return self._items(self._bytes.prefix(b"d" + serde.serialize(prefix)))

    def _items(self, found: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[K, V]]:
        now = self._now()
        return ((self._read_key(key[1:]), self._read(raw[8:])) for key, raw in found if _unpack_from(raw)[0] > now)

    def approximate_num_entries(self) -> int:
        """How many items there are, about: values that are over but not yet deleted count as well."""
        return self._bytes.count() // 2

    def restore(self, records: Iterable[ChangelogRecord]) -> None:
        """Put what the changelog says."""
        items: list[tuple[bytes, bytes | None]] = []
        for key, value, timestamp, headers in records:
            if timestamp > self.observed_stream_time:
                self.observed_stream_time = timestamp
            if value is None:
                items.append((b"d" + key, None))
                continue
            expires = next((told for name, told in headers if name == EXPIRES_HEADER), None)
            if expires is None or len(expires) != 8:
                expires = _pack(min(max(timestamp, 0) + self.ttl_ms, _NEVER))
            items += ((b"d" + key, expires + value), (b"t" + expires + key, b""))
        self._bytes.put_many(items)

    def time_to_keep(self) -> int | None:
        """The greatest time that was seen: what is over stays over."""
        return self.observed_stream_time

    def resume_time(self, time: int) -> None:
        """Go on from there."""
        self.observed_stream_time = max(self.observed_stream_time, time)

    def wipe(self) -> None:
        """Forget everything, time as well."""
        super().wipe()
        self.observed_stream_time = self._look_at = NO_TIMESTAMP


def key_value_with_ttl(
    name: str,
    ttl_ms: int,
    key_serde: Serde[Any] | None = None,
    value_serde: Serde[Any] | None = None,
    engine: str | None = None,
) -> StoreBuilder:
    """The builder of a :class:`TtlKeyValueStore`: for processors, as those of :class:`~engine.streams.Stores`."""
    if ttl_ms <= 0:
        raise TopologyError(f"store {name}: values must live for at least 1 ms, not {ttl_ms}")

    def make(builder: StoreBuilder, context: BuildContext) -> StateStore:
        key, value = builder.serdes(context)
        items = builder.engines(context).key_value(builder.name, context.directory)
        return TtlKeyValueStore(builder.name, items, key, value, logged=builder.logging_enabled, ttl_ms=ttl_ms)

    return StoreBuilder(
        name=name, kind=KIND_KEY_VALUE, key_serde=key_serde, value_serde=value_serde, engine=engine, make=make
    )
