"""Joins of two streams (``KStreamKStreamJoin``): each side keeps its records for a while and looks into the other's.

What finds no partner, in left and outer joins, waits in a third store until its window is closed. Both sides share
that store and their stream time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from engine.streams.errors import SerdeMissingError
from engine.streams.processors.node import Node, TaskContext
from engine.streams.processors.table_supplier import Supplier
from engine.streams.records import NO_HEADERS, NO_TIMESTAMP, ChangelogRecord, Row
from engine.streams.serdes import Serde
from engine.streams.stores.builders import BuildContext, StoreBuilder
from engine.streams.stores.engines import KeyValueEngine
from engine.streams.stores.state_store import StateStore
from engine.streams.stores.window import WindowStore
from engine.streams.windows import JoinWindows

EMIT_INTERVAL_CONFIG = "__emit.interval.ms.kstreams.outer.join.spurious.results.fix__"
"""Kafka's internal config: how often (ms of the wall clock) closed windows are looked for. Default 1000."""

_FOREVER = 2**63 - 1
_KEY = struct.Struct(">qB")
_COUNT = struct.Struct(">Bi")
_LENGTH = struct.Struct(">i")
_VARIABLE_SIZE = 1


class OuterJoinStore(StateStore):
    """Records without a partner, by time, side and key; several may have the same (``ListValueStore``)."""

    def __init__(
        self,
        name: str,
        engine: KeyValueEngine,
        key_serde: Serde[Any],
        left_serde: Serde[Any],
        right_serde: Serde[Any],
        *,
        logged: bool,
    ) -> None:
        super().__init__(name, engine, logged=logged)
        self._bytes = engine
        self._key = key_serde
        self._left, self._right = left_serde, right_serde

    def _raw_key(self, timestamp: int, left: bool, key: Any) -> bytes:
        return _KEY.pack(timestamp, 1 if left else 0) + self._key.serialize(key)

    def _put(self, raw_key: bytes, raw: bytes | None, timestamp: int) -> None:
        self._bytes.put(raw_key, raw)
        if self.logged:
            self.changes.append((raw_key, raw, timestamp, NO_HEADERS))

    def add(self, timestamp: int, left: bool, key: Any, value: Any) -> None:
        """A record waits."""
        raw_key = self._raw_key(timestamp, left, key)
        serde = self._left if left else self._right
        raw = (b"\x01" if left else b"\x00") + serde.serialize(value)
        found = self._bytes.get(raw_key)
        values = [] if found is None else list(_split(found))
        self._put(raw_key, _join([*values, raw]), timestamp)

    def discard(self, timestamp: int, left: bool, key: Any, now: int) -> None:
        """Records found their partner."""
        raw_key = self._raw_key(timestamp, left, key)
        if self._bytes.get(raw_key) is not None:
            self._put(raw_key, None, now)

    def remove(self, raw_key: bytes, now: int) -> None:
        """Records were emitted."""
        self._put(raw_key, None, now)

    def waiting(self) -> Iterator[tuple[bytes, int, bool, Any, list[Any]]]:
        """``(raw key, timestamp, left side, key, values)`` by time."""
        for raw_key, raw in self._bytes.range(None, None):
            timestamp, left = _KEY.unpack_from(raw_key)
            values = [
                self._left.deserialize(value[1:]) if value[0] else self._right.deserialize(value[1:])
                for value in _split(raw)
            ]
            yield raw_key, timestamp, bool(left), self._key.deserialize(raw_key[9:]), values

    def earliest(self) -> int:
        """The time of the record that waits longest; far in the future when none does."""
        for raw_key, _ in self._bytes.range(None, None):
            timestamp: int = _KEY.unpack_from(raw_key)[0]
            return timestamp
        return _FOREVER

    def restore(self, records: Iterable[ChangelogRecord]) -> None:
        """Put what the changelog says."""
        self._bytes.put_many((key, value) for key, value, _, _ in records)


def _join(values: list[bytes]) -> bytes:
    # Kafka's ListSerializer for elements of any size: strategy, count, and each element behind its length.
    return _COUNT.pack(_VARIABLE_SIZE, len(values)) + b"".join(_LENGTH.pack(len(value)) + value for value in values)


def _split(raw: bytes) -> Iterator[bytes]:
    at = _COUNT.size
    for _ in range(_COUNT.unpack_from(raw)[1]):
        (length,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size
        yield raw[at : at + length]
        at += length


def outer_store_builder(
    name: str,
    key_serde: Serde[Any] | None,
    left_serde: Serde[Any] | None,
    right_serde: Serde[Any] | None,
    *,
    logging_enabled: bool,
    topic_config: dict[str, str],
) -> StoreBuilder:
    """The store of those who wait."""

    def make(builder: StoreBuilder, context: BuildContext) -> StateStore:
        key = key_serde or context.default_key_serde
        left = left_serde or context.default_value_serde
        right = right_serde or context.default_value_serde
        if key is None or left is None or right is None:
            raise SerdeMissingError(f"store {name}: give the join's serdes (StreamJoined), or set default.*.serde")
        topic = context.changelog_topic
        return OuterJoinStore(
            name,
            context.engines.key_value(name, context.directory),
            key.for_topic(topic, is_key=True),
            left.for_topic(topic, is_key=False),
            right.for_topic(topic, is_key=False),
            logged=builder.logging_enabled,
        )

    return StoreBuilder(
        name=name, kind="stream-join", logging_enabled=logging_enabled, topic_config=topic_config, make=make
    )


class TimeTracker:
    """What both sides of a join know of time."""

    __slots__ = ("earliest", "next_emit", "stream_time")

    def __init__(self) -> None:
        self.stream_time = NO_TIMESTAMP
        self.earliest = _FOREVER
        self.next_emit = 0


class JoinWindowSupplier(Supplier):
    """Keeps a stream's records for the other side (``KStreamJoinWindow``)."""

    def __init__(self, builder: StoreBuilder) -> None:
        self._builder = builder

    def make(self) -> Node:
        """The node of one task."""
        return _JoinWindowNode(self._builder.name)

    def stores(self) -> list[StoreBuilder]:
        """The stream's records."""
        return [self._builder]


class _JoinWindowNode(Node):
    __slots__ = ("_store", "_store_name")

    def __init__(self, store_name: str) -> None:
        super().__init__()
        self._store_name = store_name
        self._store: WindowStore[Any, Any]

    def init(self, context: TaskContext) -> None:
        """Find the store."""
        super().init(context)
        self._store = join_store(context, self._store_name)

    def process(self, rows: list[Row]) -> None:
        """Forward, then keep: a record does not see itself."""
        self.forward(rows)
        put = self._store.put_at
        for row in rows:
            key, value, timestamp, headers, _ = row
            if key is not None:
                try:
                    put(key, value, timestamp, timestamp, headers)
                except Exception as error:
                    self.context.failed(self.name, row, error)


def join_store(context: TaskContext, name: str) -> WindowStore[Any, Any]:
    """A store of a join."""
    store = context.store(name)
    assert isinstance(store, WindowStore), f"{name} is a {store.kind} store"
    return store


class StreamJoinSupplier(Supplier):
    """One side of a join of two streams. ``outer``: records of this side go on without a partner as well.

    ``joiner`` takes the key, the left and the right value.
    """

    def __init__(
        self,
        windows: JoinWindows,
        joiner: Callable[[Any, Any, Any], Any],
        trackers: dict[str, TimeTracker],
        other_store: StoreBuilder,
        outer_store: StoreBuilder | None,
        *,
        is_left: bool,
        outer: bool,
    ) -> None:
        self.windows = windows
        self.joiner = joiner
        self.trackers = trackers
        """By task, for both sides."""
        self.other_store = other_store
        self.outer_store = outer_store
        self.is_left = is_left
        self.outer = outer

    def make(self) -> Node:
        """The node of one task."""
        return _StreamJoinNode(self)

    def stores(self) -> list[StoreBuilder]:
        """The other stream's records, and those who wait."""
        return [self.other_store] if self.outer_store is None else [self.other_store, self.outer_store]


class _StreamJoinNode(Node):
    __slots__ = ("_after", "_before", "_interval", "_other", "_supplier", "_task_key", "_tracker", "_waiting")

    def __init__(self, supplier: StreamJoinSupplier) -> None:
        super().__init__()
        self._supplier = supplier
        windows = supplier.windows
        self._before, self._after = windows.before_ms, windows.after_ms
        if not supplier.is_left:
            self._before, self._after = self._after, self._before
        self._other: WindowStore[Any, Any]
        self._waiting: OuterJoinStore | None = None
        self._tracker = TimeTracker()
        self._interval = 1000
        self._task_key = ""

    def time_to_keep(self) -> int | None:
        """The greatest timestamp so far, of both sides: it tells what is late."""
        return self._tracker.stream_time

    def resume_time(self, time: int) -> None:
        """Go on from there."""
        self._tracker.stream_time = max(self._tracker.stream_time, time)

    def init(self, context: TaskContext) -> None:
        """Find the stores, and the other side's time."""
        super().init(context)
        supplier = self._supplier
        self._other = join_store(context, supplier.other_store.name)
        self._task_key = f"{id(context)}"
        self._tracker = supplier.trackers.setdefault(self._task_key, self._tracker)
        self._interval = int(context.config.get(EMIT_INTERVAL_CONFIG, 1000))
        if supplier.outer_store is not None:
            store = context.store(supplier.outer_store.name)
            assert isinstance(store, OuterJoinStore)
            self._waiting = store
            # Kafka forgets at a restart what waits until the next record waits; here it is not forgotten.
            self._tracker.earliest = min(self._tracker.earliest, store.earliest())

    def close(self) -> None:
        """Forget the time."""
        self._supplier.trackers.pop(self._task_key, None)

    def process(self, rows: list[Row]) -> None:
        """Look into the other stream, join, forward; keep who finds nobody."""
        supplier, tracker, waiting = self._supplier, self._tracker, self._waiting
        joiner, is_left, outer = supplier.joiner, supplier.is_left, supplier.outer
        before, after, fetch = self._before, self._after, self._other.fetch
        out: list[Row] = []
        for row in rows:
            key, value, timestamp, headers, offset = row
            if timestamp > tracker.stream_time:
                tracker.stream_time = timestamp
            try:
                if key is None or value is None:
                    if outer and value is not None:
                        out.append((key, self._alone(key, value), timestamp, headers, offset))
                    else:
                        self.context.dropped(self.name)
                    continue
                if waiting is not None and timestamp == tracker.stream_time:
                    self._emit_alone(waiting, row, out)
                last = max(0, timestamp + after)
                matched = False
                for at, other in fetch(key, max(0, timestamp - before), last):
                    matched = True
                    if waiting is not None:
                        waiting.discard(at, not is_left, key, timestamp)
                    joined = joiner(key, value, other) if is_left else joiner(key, other, value)
                    out.append((key, joined, max(timestamp, at), headers, offset))
                if outer and not matched:
                    if waiting is None or last < tracker.stream_time:
                        out.append((key, self._alone(key, value), timestamp, headers, offset))
                    else:
                        if timestamp < tracker.earliest:
                            tracker.earliest = timestamp
                        waiting.add(timestamp, is_left, key, value)
            except Exception as error:
                self.context.failed(self.name, row, error)
        self.forward(out)

    def _alone(self, key: Any, value: Any) -> Any:
        joiner = self._supplier.joiner
        return joiner(key, value, None) if self._supplier.is_left else joiner(key, None, value)

    def _emit_alone(self, waiting: OuterJoinStore, row: Row, out: list[Row]) -> None:
        tracker, windows = self._tracker, self._supplier.windows
        now = self.context.wall_clock_ms()
        if tracker.earliest + self._after + windows.grace_ms >= tracker.stream_time or now < tracker.next_emit:
            return
        tracker.next_emit = now + self._interval
        tracker.earliest = _FOREVER
        joiner = self._supplier.joiner
        left_open = right_open = False
        emitted: list[bytes] = []
        for raw_key, timestamp, left, key, values in waiting.waiting():
            tracker.earliest = timestamp
            if left_open and right_open:
                break
            look_back = windows.after_ms if left else windows.before_ms
            if timestamp + look_back + windows.grace_ms >= tracker.stream_time:
                left_open, right_open = left_open or left, right_open or not left
                if left_open and right_open and len(values) > 1:
                    break  # Kafka's iterator gives one value at a time, and stops at the key's second one
                continue
            # First it waits no more: one on whom the joiner fails would fail again, and for ever, and keep the others.
            emitted.append(raw_key)
            for value in values:
                try:
                    joined = joiner(key, value, None) if left else joiner(key, None, value)
                except Exception as error:
                    self.context.failed(self.name, (key, value, timestamp, NO_HEADERS, -1), error)
                    continue
                out.append((key, joined, timestamp, row[3], row[4]))
        for raw_key in emitted:
            waiting.remove(raw_key, row[2])


class SelfJoinSupplier(Supplier):
    """A join of a stream with itself over one store (``KStreamKStreamSelfJoin``, KIP-862).

    ``joiner`` takes the key and both values; ``store`` is that of the stream's records.
    """

    def __init__(self, windows: JoinWindows, joiner: Callable[[Any, Any, Any], Any], store: StoreBuilder) -> None:
        self.windows = windows
        self.joiner = joiner
        self.store = store

    def make(self) -> Node:
        """The node of one task."""
        return _SelfJoinNode(self)

    def stores(self) -> list[StoreBuilder]:
        """The stream's records."""
        return [self.store]


class _SelfJoinNode(Node):
    __slots__ = ("_store", "_stream_time", "_supplier")

    def __init__(self, supplier: SelfJoinSupplier) -> None:
        super().__init__()
        self._supplier = supplier
        self._stream_time = NO_TIMESTAMP
        self._store: WindowStore[Any, Any]

    def time_to_keep(self) -> int | None:
        """The greatest timestamp so far: it tells what is late."""
        return self._stream_time

    def resume_time(self, time: int) -> None:
        """Go on from there."""
        self._stream_time = time

    def init(self, context: TaskContext) -> None:
        """Find the store."""
        super().init(context)
        self._store = join_store(context, self._supplier.store.name)

    def process(self, rows: list[Row]) -> None:
        """Join with the records before, as the left and as the right one, and with itself."""
        windows, out = self._supplier.windows, list[Row]()
        kept_ms = windows.size_ms + windows.grace_ms
        for row in rows:
            if row[0] is None or row[1] is None:
                self.context.dropped(self.name)
                continue
            if row[2] > self._stream_time:
                self._stream_time = row[2]
            try:
                out.extend(self._joined(row, with_itself=row[2] > self._stream_time - kept_ms + 1))
            except Exception as error:
                self.context.failed(self.name, row, error)
        self.forward(out)

    def _joined(self, row: Row, *, with_itself: bool) -> Iterator[Row]:
        key, value, timestamp, headers, offset = row
        joiner, windows, fetch = self._supplier.joiner, self._supplier.windows, self._store.fetch
        for before, after, is_left in (
            (windows.before_ms, windows.after_ms, True),
            (windows.after_ms, windows.before_ms, False),
        ):
            for at, other in fetch(key, max(0, timestamp - before), max(0, timestamp + after)):
                if with_itself and not is_left and at > timestamp:
                    with_itself = False  # so that times go up
                    yield key, joiner(key, value, value), timestamp, headers, offset
                joined = joiner(key, value, other) if is_left else joiner(key, other, value)
                yield key, joined, max(timestamp, at), headers, offset
        if with_itself:
            yield key, joiner(key, value, value), timestamp, headers, offset
