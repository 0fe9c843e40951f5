"""Holding changes of a table back (``KTableSuppressProcessor``, ``InMemoryTimeOrderedKeyValueChangeBuffer``).

The buffer is in memory, as Kafka's, whatever engine the other stores have, and is restored from its changelog, whose
bytes are Kafka's, version 3: the record's context, the prior, old and new value, and the time of the buffer.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.streams.errors import SerdeMissingError, StreamsError
from engine.streams.processors.node import Node, TaskContext
from engine.streams.processors.table_supplier import GetterSupplier, TableSupplier, ValueGetter
from engine.streams.records import NO_TIMESTAMP, ChangelogRecord, Headers, Row
from engine.streams.serdes import Serde
from engine.streams.stores.builders import BuildContext, StoreBuilder
from engine.streams.stores.memory import MemoryKeyValueEngine
from engine.streams.stores.state_store import StateStore

if TYPE_CHECKING:
    from engine.streams.suppressed import Suppressed

_VERSION: Headers = (("v", b"\x03"),)
_CONTEXT = struct.Struct(">qqi")
_INT = struct.Struct(">i")
_LONG = struct.Struct(">q")
_SAME_AS_PRIOR = -2


class Buffered(NamedTuple):
    """What waits under a key: bytes of values, and where the last change came from."""

    prior: bytes | None
    """The value before the first change that waits."""
    old: bytes | None
    new: bytes | None
    timestamp: int
    headers: Headers
    offset: int
    topic: str
    partition: int

    def size(self, key: bytes) -> int:
        """The bytes that Kafka reckons for it against the buffer's bound."""
        values = sum(len(value) for value in (self.prior, self.new) if value is not None)
        if self.old is not None and self.old is not self.prior:
            values += len(self.old)
        headers = sum(len(name) + len(value or b"") for name, value in self.headers)
        return 8 + len(key) + values + 20 + len(self.topic) + headers

    def write(self, time: int) -> bytes:
        """The changelog's bytes."""
        topic = self.topic.encode()
        parts = [_CONTEXT.pack(self.timestamp, self.offset, len(topic)), topic]
        parts += [_INT.pack(self.partition), _INT.pack(len(self.headers))]
        for name, value in self.headers:
            encoded = name.encode()
            parts += [_INT.pack(len(encoded)), encoded, _sized(value)]
        same = self.old is not None and self.old == self.prior
        parts += [_sized(self.prior), _INT.pack(_SAME_AS_PRIOR) if same else _sized(self.old), _sized(self.new)]
        parts.append(_LONG.pack(time))
        return b"".join(parts)


def _sized(value: bytes | None) -> bytes:
    return _INT.pack(-1) if value is None else _INT.pack(len(value)) + value


def read_buffered(data: bytes) -> tuple[Buffered, int]:
    """A value of the changelog: what waits, and the time of the buffer."""
    timestamp, offset, length = _CONTEXT.unpack_from(data)
    at = _CONTEXT.size
    topic = data[at : at + length].decode()
    at += length

    def integer() -> int:
        nonlocal at
        at += 4
        found: int = _INT.unpack_from(data, at - 4)[0]
        return found

    def sized() -> bytes | None:
        nonlocal at
        size = integer()
        if size < 0:
            return None
        at += size
        return data[at - size : at]

    partition = integer()
    headers = []
    for _ in range(max(0, integer())):
        name = sized() or b""
        headers.append((name.decode(), sized()))
    prior = sized()
    if _INT.unpack_from(data, at)[0] == _SAME_AS_PRIOR:
        at += 4
        old = prior
    else:
        old = sized()
    new = sized()
    (time,) = _LONG.unpack_from(data, at)
    return Buffered(prior, old, new, timestamp, tuple(headers), offset, topic, partition), time


class SuppressionBuffer(StateStore):
    """Changes that wait, by time and key."""

    kind = "suppression"

    def __init__(self, name: str, key_serde: Serde[Any], value_serde: Serde[Any], *, logged: bool) -> None:
        super().__init__(name, MemoryKeyValueEngine(), logged=logged)
        self._key, self._value = key_serde, value_serde
        self._times: dict[bytes, int] = {}
        self._waiting: dict[bytes, Buffered] = {}
        self._order: list[tuple[int, bytes]] = []
        self._dirty: dict[bytes, None] = {}
        self.size = 0
        """Bytes, as Kafka reckons them."""

    def __len__(self) -> int:
        return len(self._waiting)

    def earliest(self) -> int | None:
        """The time of what is due first, None when nothing waits."""
        return self._order[0][0] if self._order else None

    def put(self, time: int, row: Row, topic: str, partition: int) -> None:
        """A change waits; a key that waits already keeps its time."""
        key, (new, old), timestamp, headers, offset = row
        raw_key = self._key.serialize(key)
        write = self._value.serialize
        raw_old = None if old is None else write(old)
        found = self._waiting.get(raw_key)
        prior = raw_old if found is None else found.prior
        raw_new = None if new is None else write(new)
        self._set(time, raw_key, Buffered(prior, raw_old, raw_new, timestamp, headers, offset, topic, partition))
        self._dirty[raw_key] = None

    def _set(self, time: int, raw_key: bytes, value: Buffered) -> None:
        found = self._waiting.get(raw_key)
        if found is None:
            self._times[raw_key] = time
            insort(self._order, (time, raw_key))
        else:
            self.size -= found.size(raw_key)
        self._waiting[raw_key] = value
        self.size += value.size(raw_key)

    def take(self) -> Row:
        """What is due first, which no longer waits."""
        _, raw_key = self._order.pop(0)
        value = self._waiting.pop(raw_key)
        del self._times[raw_key]
        self.size -= value.size(raw_key)
        self._dirty[raw_key] = None
        read = self._value.deserialize
        new = None if value.new is None else read(value.new)
        old = None if value.old is None else read(value.old)
        return self._key.deserialize(raw_key), (new, old), value.timestamp, value.headers, value.offset

    def prior(self, key: Any) -> tuple[bool, Any]:
        """Whether a key waits, and its value before that."""
        found = self._waiting.get(self._key.serialize(key))
        if found is None:
            return False, None
        return True, None if found.prior is None else self._value.deserialize(found.prior)

    def flush(self) -> None:
        """Log what changed since the last commit: once a key."""
        if self.logged:
            for raw_key in self._dirty:
                value = self._waiting.get(raw_key)
                if value is None:
                    self.changes.append((raw_key, None, max(0, self.context.timestamp()), ()))
                else:
                    self.changes.append((raw_key, value.write(self._times[raw_key]), value.timestamp, _VERSION))
        self._dirty.clear()

    def restore(self, records: Iterable[ChangelogRecord]) -> None:
        """Put what the changelog says."""
        for key, data, _, headers in records:
            if data is None:
                if key in self._waiting:
                    self._drop(key)
                continue
            version = next((value for name, value in headers if name == "v"), None)
            if version != b"\x03":
                raise StreamsError(
                    f"store {self.name}: its changelog has a record of version {version!r}; only version 3 is read, "
                    "which Kafka Streams writes since 2.4: let such an application run and commit once more"
                )
            value, time = read_buffered(data)
            if key in self._waiting and self._times[key] != time:
                # It went and came within one commit, which is one record.
                self._drop(key)
            self._set(time, key, value)

    def _drop(self, raw_key: bytes) -> None:
        del self._order[bisect_left(self._order, (self._times.pop(raw_key), raw_key))]
        self.size -= self._waiting.pop(raw_key).size(raw_key)

    def wipe(self) -> None:
        """Forget everything."""
        super().wipe()
        self._times.clear()
        self._waiting.clear()
        self._order.clear()
        self._dirty.clear()
        self.size = 0


def suppression_builder(
    name: str,
    key_serde: Serde[Any] | None,
    value_serde: Serde[Any] | None,
    *,
    logging_enabled: bool,
    topic_config: dict[str, str],
) -> StoreBuilder:
    """The buffer as a store."""

    def make(builder: StoreBuilder, context: BuildContext) -> StateStore:
        key, value = key_serde or context.default_key_serde, value_serde or context.default_value_serde
        if key is None or value is None:
            raise SerdeMissingError(f"store {name}: suppress needs the serdes of its table (Materialized)")
        topic = context.changelog_topic
        return SuppressionBuffer(
            name,
            key.for_topic(topic, is_key=True),
            value.for_topic(topic, is_key=False),
            logged=builder.logging_enabled,
        )

    return StoreBuilder(
        name=name, kind="suppression", logging_enabled=logging_enabled, topic_config=topic_config, make=make
    )


class SuppressSupplier(TableSupplier):
    """A table whose changes are held back; ``wait_ms`` is how long."""

    def __init__(self, parent: TableSupplier, suppressed: Suppressed, wait_ms: int, builder: StoreBuilder) -> None:
        self.parent = parent
        self.suppressed = suppressed
        self.wait_ms = wait_ms
        self.builder = builder
        parent.enable_sending_old_values(True)

    def enable_sending_old_values(self, force: bool) -> bool:
        """The parent's."""
        return self.parent.enable_sending_old_values(force)

    def stores(self) -> list[StoreBuilder]:
        """The buffer."""
        return [self.builder]

    def view(self) -> GetterSupplier:
        """The parent's values; of keys that wait, those before they waited."""
        parent, name = self.parent.view(), self.builder.name

        def make(context: TaskContext) -> ValueGetter:
            get_parent, store = parent.make(context), context.store(name)
            assert isinstance(store, SuppressionBuffer)

            def get(key: Any) -> tuple[Any, int] | None:
                waits, value = store.prior(key)
                if not waits:
                    return get_parent(key)
                return None if value is None else (value, NO_TIMESTAMP)

            return get

        return GetterSupplier((name, *parent.stores), make)

    def make(self) -> Node:
        """The node of one task."""
        return _SuppressNode(self)


class _SuppressNode(Node):
    __slots__ = ("_buffer", "_stream_time", "_supplier")

    def __init__(self, supplier: SuppressSupplier) -> None:
        super().__init__()
        self._supplier = supplier
        self._buffer: SuppressionBuffer
        self._stream_time = NO_TIMESTAMP

    def time_to_keep(self) -> int | None:
        """The greatest timestamp so far: it tells what is late."""
        return self._stream_time

    def resume_time(self, time: int) -> None:
        """Go on from there."""
        self._stream_time = time

    def init(self, context: TaskContext) -> None:
        """Find the buffer."""
        super().init(context)
        store = context.store(self._supplier.builder.name)
        assert isinstance(store, SuppressionBuffer)
        self._buffer = store

    def process(self, rows: list[Row]) -> None:
        """Keep, and forward what is due or does not fit."""
        buffer, rules = self._buffer, self._supplier.suppressed
        topic, partition = self.context.topic or "", self.context.partition
        until_close, wait_ms = rules.until_window_closes_, self._supplier.wait_ms
        out: list[Row] = []
        for row in rows:
            if row[2] > self._stream_time:
                self._stream_time = row[2]
            try:
                buffer.put(row[0].window.end if until_close else row[2], row, topic, partition)
            except Exception as error:
                self.context.failed(self.name, row, error)
                continue
            expiry = self._stream_time - wait_ms
            while (due := buffer.earliest()) is not None and due <= expiry:
                self._emit(buffer.take(), until_close, out)
            if self._is_full():
                if rules.buffer.shut_down_when_full_:
                    raise StreamsError(
                        f"{self.name} buffer exceeded its max capacity. Currently [{len(buffer)}/"
                        f"{rules.buffer.max_records}] records and [{buffer.size}/{rules.buffer.max_bytes}] bytes."
                    )
                while len(buffer) and self._is_full():
                    self._emit(buffer.take(), until_close, out)
        self.forward(out)

    def _is_full(self) -> bool:
        bounds, buffer = self._supplier.suppressed.buffer, self._buffer
        return (bounds.max_records is not None and len(buffer) > bounds.max_records) or (
            bounds.max_bytes is not None and buffer.size > bounds.max_bytes
        )

    @staticmethod
    def _emit(row: Row, drop_tombstones: bool, out: list[Row]) -> None:
        if row[1][0] is not None or not drop_tombstones:
            out.append(row)
