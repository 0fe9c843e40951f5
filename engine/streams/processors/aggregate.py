"""Aggregations without windows: of streams (``KStreamAggregate``, ``KStreamReduce``) and of regrouped tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from engine.streams.errors import StreamsError
from engine.streams.processors.node import Node, TaskContext
from engine.streams.processors.table_supplier import (
    GetterSupplier,
    Supplier,
    TableStore,
    TableSupplier,
    builder_getter,
    stored_change,
    table_store_of,
)
from engine.streams.records import Change, LateChange, Row
from engine.streams.serdes import Serde
from engine.streams.stores.builders import StoreBuilder


class _AggregateSupplier(TableSupplier):
    """A table that is always kept in its store."""

    def __init__(self, builder: StoreBuilder) -> None:
        self.builder = builder

    def stores(self) -> list[StoreBuilder]:
        """The aggregate's store."""
        return [self.builder]

    def view(self) -> GetterSupplier:
        """The store's values."""
        return builder_getter(self.builder)


class StreamAggregate(_AggregateSupplier):
    """``KGroupedStream.aggregate`` and ``count``; ``reduce`` has no initializer: its first value is the aggregate."""

    def __init__(
        self,
        builder: StoreBuilder,
        initializer: Callable[[], Any] | None,
        aggregator: Callable[[Any, Any, Any], Any],
    ) -> None:
        super().__init__(builder)
        self._initializer = initializer
        self._aggregator = aggregator

    def make(self) -> Node:
        """The node of one task."""
        return _StreamAggregateNode(self.builder, self._initializer, self._aggregator, self.send_old_values)


class _StreamAggregateNode(Node):
    __slots__ = ("_aggregator", "_initializer", "_send_old", "_store", "_store_name", "_versioned")

    def __init__(
        self,
        builder: StoreBuilder,
        initializer: Callable[[], Any] | None,
        aggregator: Callable[[Any, Any, Any], Any],
        send_old: bool,
    ) -> None:
        super().__init__()
        self._store_name = builder.name
        self._versioned = builder.versioned
        self._initializer = initializer
        self._aggregator = aggregator
        self._send_old = send_old
        self._store: TableStore | None = None

    def cached_table(self) -> tuple[str, bool] | None:
        """Its store's updates may be merged."""
        return self._store_name, self._send_old

    def init(self, context: TaskContext) -> None:
        """Find the store."""
        super().init(context)
        self._store = table_store_of(context, self._store_name)

    def process(self, rows: list[Row]) -> None:
        """Aggregate, store, forward."""
        store = self._store
        assert store is not None
        find, put, aggregator = store.find, store.set, self._aggregator
        initializer, send_old, versioned = self._initializer, self._send_old, self._versioned
        out: list[Row] = []
        for row in rows:
            key, value, timestamp, headers, offset = row
            if key is None or value is None:
                self.context.dropped(self.name)
                continue
            try:
                found = find(key)
                if found is not None:
                    old, old_timestamp = found
                    if old_timestamp > timestamp:
                        timestamp = old_timestamp
                    new = aggregator(key, value, old)
                elif initializer is None:
                    old, new = None, value
                else:
                    # What Kafka sends as the old value of a new key is the initializer's, too.
                    old = initializer()
                    new = aggregator(key, value, old)
                if send_old and found is not None and new is old:
                    old = self._again(key)  # the aggregator changed its aggregate in place
                # A deletion is logged as of the record; in a versioned store it is as of the aggregate.
                ends = put(key, new, row[2] if new is None and not versioned else timestamp)
                told = old if send_old else None
                change: Change | None = (new, told)
                if ends is not None and (change := stored_change(new, told, ends)) is None:
                    continue
            except Exception as error:
                self.context.failed(self.name, row, error)
                continue
            out.append((key, change, timestamp, headers, offset))
        self.forward(out)

    def _again(self, key: Any) -> Any:
        assert self._store is not None
        found = self._store.find(key)
        return None if found is None else found[0]


class TableAggregate(_AggregateSupplier):
    """``KGroupedTable.aggregate``, ``count`` and ``reduce``: the old value is taken out, the new one put in."""

    def __init__(
        self,
        builder: StoreBuilder,
        initializer: Callable[[], Any] | None,
        adder: Callable[[Any, Any, Any], Any],
        subtractor: Callable[[Any, Any, Any], Any],
    ) -> None:
        super().__init__(builder)
        self.initializer = initializer
        self.adder = adder
        self.subtractor = subtractor

    def make(self) -> Node:
        """The node of one task."""
        return _TableAggregateNode(self)


class _TableAggregateNode(Node):
    __slots__ = ("_send_old", "_store", "_supplier")

    def __init__(self, supplier: TableAggregate) -> None:
        super().__init__()
        self._supplier = supplier
        self._send_old = supplier.send_old_values
        self._store: TableStore | None = None

    def cached_table(self) -> tuple[str, bool] | None:
        """Its store's updates may be merged."""
        return self._supplier.builder.name, self._send_old

    def init(self, context: TaskContext) -> None:
        """Find the store."""
        super().init(context)
        self._store = table_store_of(context, self._supplier.builder.name)

    def process(self, rows: list[Row]) -> None:
        """Subtract, add, store, forward."""
        store, supplier, send_old = self._store, self._supplier, self._send_old
        assert store is not None
        initializer, add, subtract = supplier.initializer, supplier.adder, supplier.subtractor
        versioned = supplier.builder.versioned
        out: list[Row] = []
        for row in rows:
            key, (new_value, old_value), timestamp, headers, offset = row
            if key is None:
                raise StreamsError(
                    f"Record key for KTable aggregate operator with state {store.name} should not be null."
                )
            try:
                found = store.find(key)
                old, old_timestamp = (None, -1) if found is None else found
                between = old
                if old_value is not None and old is not None:
                    between = subtract(key, old_value, old)
                    timestamp = max(timestamp, old_timestamp)
                new = between
                if new_value is not None:
                    if between is not None:
                        new = add(key, new_value, between)
                        timestamp = max(timestamp, old_timestamp)
                    elif initializer is None:
                        new = new_value
                    else:
                        new = add(key, new_value, initializer())
                        timestamp = max(timestamp, old_timestamp)
                if send_old and old is not None and (new is old or between is old):
                    again = store.find(key)
                    old = None if again is None else again[0]
                ends = store.set(key, new, row[2] if new is None and not versioned else timestamp)
                change = stored_change(new, old if send_old else None, ends)
                if change is None:
                    continue
            except Exception as error:
                self.context.failed(self.name, row, error)
                continue
            out.append((key, change, timestamp, headers, offset))
        self.forward(out)


class TableRepartitionMap(Supplier):
    """``KTable.group_by``: each change under its new key (``KTableRepartitionMap``)."""

    def __init__(self, mapper: Callable[[Any, Any], tuple[Any, Any]]) -> None:
        self._mapper = mapper

    def make(self) -> Node:
        """The node of one task."""
        return _TableRepartitionMapNode(self._mapper, drops_late=self.reads_versions)


class _TableRepartitionMapNode(Node):
    __slots__ = ("_drops_late", "_mapper")

    def __init__(self, mapper: Callable[[Any, Any], tuple[Any, Any]], *, drops_late: bool) -> None:
        super().__init__()
        self._mapper = mapper
        self._drops_late = drops_late

    def process(self, rows: list[Row]) -> None:
        """Forward the change, in one record when old and new key are the same, else in two."""
        self.each(rows, self._work)

    def _pair(self, key: Any, value: Any) -> tuple[Any, Any] | None:
        if value is None:
            return None
        pair = self._mapper(key, value)
        return None if pair is None or pair[0] is None or pair[1] is None else pair

    def _work(self, rows: Iterator[Row]) -> Iterable[Row]:
        for key, change, timestamp, headers, offset in rows:
            if key is None:
                raise StreamsError("Record key for the grouping KTable should not be null.")
            if self._drops_late and type(change) is LateChange:
                continue  # an aggregate is one of newest versions
            new_value, old_value = change
            new, old = self._pair(key, new_value), self._pair(key, old_value)
            if new is not None and old is not None and new[0] == old[0]:
                yield new[0], (new[1], old[1]), timestamp, headers, offset
                continue
            if old is not None:
                yield old[0], (None, old[1]), timestamp, headers, offset
            if new is not None:
                yield new[0], (new[1], None), timestamp, headers, offset


def _varint(number: int) -> bytes:
    # Signed varints of Kafka's protocol (ByteUtils.writeVarint): zigzag, then 7 bits a byte.
    value = (number << 1) ^ (number >> 31)
    out = bytearray()
    while value & ~0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes) -> tuple[int, int]:
    value = shift = index = 0
    while True:
        byte = data[index]
        index += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return (value >> 1) ^ -(value & 1), index
        shift += 7


class ChangedSerde(Serde[tuple[Any, Any]]):
    """Changes in the repartition topic of a regrouped table (``ChangedSerializer``, KIP-904's format)."""

    __slots__ = ("inner",)

    def __init__(self, inner: Serde[Any]) -> None:
        super().__init__(self._write, self._read, f"changes of {inner.name}")
        self.inner = inner

    def for_topic(self, topic: str, *, is_key: bool) -> Serde[tuple[Any, Any]]:
        """With the inner serde of that topic."""
        return ChangedSerde(self.inner.for_topic(topic, is_key=is_key))

    def _write(self, change: tuple[Any, Any]) -> bytes:
        new, old = change
        if new is not None and old is not None:
            new_data = self.inner.serialize(new)
            return _varint(len(new_data)) + new_data + self.inner.serialize(old) + b"\x02"
        if new is not None:
            return self.inner.serialize(new) + b"\x01"
        if old is not None:
            return self.inner.serialize(old) + b"\x00"
        raise StreamsError("Both old and new values are null in ChangeSerializer, which is not allowed.")

    def _read(self, data: bytes) -> tuple[Any, Any]:
        flag, read = data[-1], self.inner.deserialize
        end = -2 if flag >= 3 else -1
        if flag in (0, 3):
            return None, read(data[:end])
        if flag in (1, 4):
            return read(data[:end]), None
        if flag in (2, 5):
            length, at = _read_varint(data)
            return read(data[at : at + length]), read(data[at + length : end])
        raise StreamsError(f"Encountered unknown byte value `{flag}` for encodingFlag in ChangedDeserializer.")
