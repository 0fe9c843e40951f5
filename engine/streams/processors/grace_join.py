"""Joins of a stream with a versioned table in which the stream's records wait (KIP-923).

A record waits in a buffer until stream time is ``grace_ms`` past its own time; then it is joined with the table's value
as of its time. So what comes late to the table, within the grace, is seen. A record that is later than that itself is
joined at once. The changelog's bytes are Kafka's (``RocksDBTimeOrderedKeyValueBuffer``).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from engine.streams.errors import StreamsError
from engine.streams.processors.node import Node, TaskContext
from engine.streams.processors.suppress import Buffered, read_buffered
from engine.streams.processors.table_joins import StreamTableJoin, StreamTableJoinNode
from engine.streams.processors.table_supplier import GetterSupplier
from engine.streams.records import NO_HEADERS, NO_TIMESTAMP, ChangelogRecord, Row
from engine.streams.serdes import Serde
from engine.streams.stores.builders import BuildContext, StoreBuilder
from engine.streams.stores.engines import WindowEngine
from engine.streams.stores.state_store import StateStore, StoreContext

_FOREVER = 2**63 - 1
_PREFIX_AND_TIME = struct.Struct(">Bq")
_SEQUENCE = struct.Struct(">i")
_TIME_FIRST = 0


class JoinBuffer(StateStore):
    """Records that wait, by time, then key, then the order in which they came."""

    kind = "stream-table-join"

    def __init__(
        self,
        name: str,
        engine: WindowEngine,
        key_serde: Serde[Any],
        value_serde: Serde[Any],
        *,
        logged: bool,
        grace_ms: int,
    ) -> None:
        super().__init__(name, engine, logged=logged)
        self.observed_stream_time = NO_TIMESTAMP
        """The greatest time (ms) of a record that waited."""
        self._grace_ms = grace_ms
        self._bytes = engine
        self._key, self._value = key_serde, value_serde
        self._sequence = 0
        self._earliest = _FOREVER

    def init(self, context: StoreContext) -> None:
        """Find what waits since before a restart."""
        super().init(context)
        for _, time, sequence, _ in self._bytes.fetch_range(None, None, 0, _FOREVER):
            self._earliest = min(self._earliest, time)
            self._sequence = max(self._sequence, sequence)
            self.observed_stream_time = max(self.observed_stream_time, time)

    def time_to_keep(self) -> int | None:
        """The greatest time of a record that waited."""
        return self.observed_stream_time

    def resume_time(self, time: int) -> None:
        """Go on from there."""
        self.observed_stream_time = max(self.observed_stream_time, time)

    def put(self, row: Row, topic: str, partition: int) -> bool:
        """The record waits; False when it is too late to."""
        key, value, time, headers, offset = row
        if time < self.observed_stream_time - self._grace_ms:
            return False
        self._sequence = (self._sequence + 1) & 0x7FFFFFFF
        raw_key = self._key.serialize(key)
        kept = Buffered(None, None, self._value.serialize(value), time, headers, offset, topic, partition).write(0)
        self._bytes.put(raw_key, time, self._sequence, kept)
        self._log(raw_key, time, self._sequence, kept)
        self.observed_stream_time = max(self.observed_stream_time, time)
        self._earliest = min(self._earliest, time)
        return True

    def _log(self, raw_key: bytes, time: int, sequence: int, kept: bytes | None) -> None:
        if self.logged:
            key = _PREFIX_AND_TIME.pack(_TIME_FIRST, time) + raw_key + _SEQUENCE.pack(sequence)
            self.changes.append((key, kept, max(0, self.observed_stream_time), NO_HEADERS))

    def take_due(self) -> Iterator[tuple[Row, str, int]]:
        """Records that no longer wait: ``(row, topic, partition)``."""
        due = self.observed_stream_time - self._grace_ms
        if self._earliest > due:
            return
        for raw_key, time, sequence, raw in list(self._bytes.fetch_range(None, None, self._earliest, due)):
            kept, _ = read_buffered(raw)
            assert kept.new is not None
            self._bytes.put(raw_key, time, sequence, None)
            self._log(raw_key, time, sequence, None)
            value = self._value.deserialize(kept.new)
            yield (
                (self._key.deserialize(raw_key), value, time, kept.headers, kept.offset),
                kept.topic,
                kept.partition,
            )
        self._earliest = due + 1

    def restore(self, records: Iterable[ChangelogRecord]) -> None:
        """Put what the changelog says."""
        for key, value, _, _ in records:
            if len(key) < _PREFIX_AND_TIME.size + _SEQUENCE.size or key[0] != _TIME_FIRST:
                raise StreamsError(
                    f"store {self.name}: its changelog has a key that is none of a join's buffer: {key!r}"
                )
            _, time = _PREFIX_AND_TIME.unpack_from(key)
            (sequence,) = _SEQUENCE.unpack(key[-_SEQUENCE.size :])
            self._bytes.put(key[_PREFIX_AND_TIME.size : -_SEQUENCE.size], time, sequence, value)

    def wipe(self) -> None:
        """Forget everything."""
        super().wipe()
        self.observed_stream_time, self._sequence, self._earliest = NO_TIMESTAMP, 0, _FOREVER


def join_buffer_builder(
    name: str, grace_ms: int, key_serde: Serde[Any] | None, value_serde: Serde[Any] | None
) -> StoreBuilder:
    """The buffer as a store."""

    def make(builder: StoreBuilder, context: BuildContext) -> StateStore:
        key, value = builder.serdes(context)
        engine = builder.engines(context).window(name, context.directory)
        return JoinBuffer(name, engine, key, value, logged=builder.logging_enabled, grace_ms=grace_ms)

    return StoreBuilder(name=name, kind=JoinBuffer.kind, key_serde=key_serde, value_serde=value_serde, make=make)


class GraceJoin(StreamTableJoin):
    """Each record of a stream, once it has waited, with a versioned table's value as of its time."""

    def __init__(
        self,
        getter: Callable[[], GetterSupplier],
        joiner: Callable[..., Any],
        buffer: StoreBuilder,
        *,
        left: bool,
        with_key: bool,
    ) -> None:
        super().__init__(getter, joiner, None, left=left, with_key=with_key)
        self.buffer = buffer

    def make(self) -> Node:
        """The node of one task."""
        return _GraceJoinNode(self)

    def stores(self) -> list[StoreBuilder]:
        """The buffer."""
        return [self.buffer]


class _GraceJoinNode(StreamTableJoinNode):
    __slots__ = ("_buffer", "_buffer_name")

    def __init__(self, supplier: GraceJoin) -> None:
        super().__init__(supplier)
        self._buffer_name = supplier.buffer.name
        self._buffer: JoinBuffer

    def init(self, context: TaskContext) -> None:
        """Find the buffer."""
        super().init(context)
        store = context.store(self._buffer_name)
        assert isinstance(store, JoinBuffer)
        self._buffer = store

    def process(self, rows: list[Row]) -> None:
        """Keep, and join what has waited long enough, or is too late to wait."""
        context, buffer = self.context, self._buffer
        topic, partition = context.topic or "", context.partition
        ready: list[Row] = []
        for row in rows:
            if row[0] is None or row[1] is None:
                ready.append(row)  # there is nothing to wait for
                continue
            try:
                waits = buffer.put(row, topic, partition)
            except Exception as error:
                context.failed(self.name, row, error)
                continue
            if not waits:
                ready.append(row)
                continue
            for due, at, number in buffer.take_due():
                if at == topic and number == partition:
                    ready.append(due)
                    continue
                super().process(ready)
                ready = []
                context.topic, context.partition = at, number
                try:
                    super().process([due])
                finally:
                    context.topic, context.partition = topic, partition
        super().process(ready)
