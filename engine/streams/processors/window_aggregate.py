"""Aggregations by windows of a fixed size (``KStreamWindowAggregate``), and what all windowed aggregations share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.streams.processors.node import Node, TaskContext
from engine.streams.processors.table_supplier import GetterSupplier, TableSupplier, ValueGetter
from engine.streams.records import NO_TIMESTAMP, Headers, Row, Window, Windowed
from engine.streams.stores.builders import StoreBuilder
from engine.streams.stores.window import TimestampedWindowStore
from engine.streams.windows import SlidingWindows, UnlimitedWindows, Windows

EMIT_INTERVAL_CONFIG = "__emit.interval.ms.kstreams.windowed.aggregation__"
"""Kafka's internal config: how often (ms of the wall clock) closed windows are looked for. Default 1000."""

_MAX_TIME = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What is aggregated. ``initializer`` None: the first value is the aggregate (reduce)."""

    initializer: Callable[[], Any] | None
    aggregator: Callable[[Any, Any, Any], Any]

    def start(self) -> Any:
        """The aggregate before the first value."""
        return None if self.initializer is None else self.initializer()

    def add(self, key: Any, value: Any, so_far: Any) -> Any:
        """The aggregate with one value more."""
        if so_far is None and self.initializer is None:
            return value
        return self.aggregator(key, value, so_far)


class WindowAggregateSupplier(TableSupplier):
    """A windowed table; ``on_close`` emits a window once, when it is closed (``EmitStrategy.onWindowClose``)."""

    def __init__(
        self, builder: StoreBuilder, windows: Windows | SlidingWindows, aggregation: Aggregation, *, on_close: bool
    ) -> None:
        self.builder = builder
        self.windows = windows
        self.aggregation = aggregation
        self.on_close = on_close

    def stores(self) -> list[StoreBuilder]:
        """The aggregate's store."""
        return [self.builder]

    def view(self) -> GetterSupplier:
        """The values by key and window."""
        name = self.builder.name

        def make(context: TaskContext) -> ValueGetter:
            store = window_store(context, name)
            return lambda windowed: store.find(windowed.key, windowed.window.start)

        return GetterSupplier((name,), make)

    def make(self) -> Node:
        """The node of one task."""
        from engine.streams.processors.sliding_aggregate import SlidingWindowAggregateNode

        return (
            SlidingWindowAggregateNode(self) if isinstance(self.windows, SlidingWindows) else WindowAggregateNode(self)
        )


def window_store(context: TaskContext, name: str) -> TimestampedWindowStore[Any, Any]:
    """A windowed table's store."""
    store = context.store(name)
    assert isinstance(store, TimestampedWindowStore), f"{name} is a {store.kind} store"
    return store


class WindowedNode(Node):
    """What nodes of windowed aggregations share: their store, their time, and the emission of closed windows."""

    __slots__ = (
        "_aggregation",
        "_interval",
        "_last_close",
        "_next_emit",
        "_on_close",
        "_send_old",
        "_store",
        "_store_name",
        "_stream_time",
    )

    def __init__(self, supplier: WindowAggregateSupplier) -> None:
        super().__init__()
        self._aggregation = supplier.aggregation
        self._on_close = supplier.on_close
        self._send_old = supplier.send_old_values
        self._store_name = supplier.builder.name
        self._store: TimestampedWindowStore[Any, Any]
        self._stream_time = NO_TIMESTAMP
        self._last_close = NO_TIMESTAMP
        self._next_emit = 0
        self._interval = 1000

    def time_to_keep(self) -> int | None:
        """The greatest timestamp so far: it tells what is late."""
        return self._stream_time

    def resume_time(self, time: int) -> None:
        """Go on from there."""
        self._stream_time = time

    def cached_table(self) -> tuple[str, bool] | None:
        """Its store's updates may be merged."""
        return None if self._on_close else (self._store_name, self._send_old)

    def init(self, context: TaskContext) -> None:
        """Find the store."""
        super().init(context)
        self._store = window_store(context, self._store_name)
        self._last_close = context.processor_metadata.get(self._store_name, NO_TIMESTAMP)
        self._interval = int(context.config.get(EMIT_INTERVAL_CONFIG, 1000))

    def emit_range(self, close_time: int) -> tuple[int, int] | None:
        """The first and the last start of the windows that closed since the last emission; None for none."""
        raise NotImplementedError

    def window_of(self, start: int) -> Window:
        """The window that starts there."""
        raise NotImplementedError

    def emit_closed(self, close_time: int, headers: Headers, offset: int, out: list[Row]) -> None:
        """Append the windows that are closed at ``close_time``, when it is time to look for them."""
        now = self.context.wall_clock_ms()
        if now < self._next_emit:
            return
        self._next_emit = now + self._interval
        if self._last_close != NO_TIMESTAMP and self._last_close >= close_time:
            return
        span = self.emit_range(close_time)
        if span is None:
            return
        for windowed, (value, timestamp) in self._store.fetch_all(*span):
            key = Windowed(windowed.key, self.window_of(windowed.window.start))
            out.append((key, (value, None), timestamp, headers, offset))
        self._last_close = close_time
        self.context.processor_metadata[self._store_name] = close_time


class WindowAggregateNode(WindowedNode):
    """Tumbling, hopping and unlimited windows."""

    __slots__ = ("_made", "_windows")

    def __init__(self, supplier: WindowAggregateSupplier) -> None:
        super().__init__(supplier)
        assert isinstance(supplier.windows, Windows)
        self._windows = supplier.windows
        self._made: dict[int, Window] = {}

    def window_of(self, start: int) -> Window:
        """The window that starts there; made once."""
        found = self._made.get(start)
        if found is None:
            if len(self._made) > 10_000:
                self._made.clear()
            end = _MAX_TIME if isinstance(self._windows, UnlimitedWindows) else start + self._windows.size_ms
            found = self._made[start] = Window(start, end)
        return found

    def process(self, rows: list[Row]) -> None:
        """Aggregate into each window that is still open, store, forward."""
        windows, store = self._windows, self._store
        size, advance, grace = windows.size_ms, windows.advance_ms, windows.grace_ms
        tumbling = size == advance
        find, put, window_of = store.find, store.set, self.window_of
        aggregator, start_with = self._aggregation.aggregator, self._aggregation.initializer
        send_old, on_close = self._send_old, self._on_close
        stream_time = self._stream_time
        out: list[Row] = []
        for row in rows:
            key, value, timestamp, headers, offset = row
            if key is None:
                self.context.dropped(self.name)
                continue
            if timestamp > stream_time:
                self._stream_time = stream_time = timestamp
            close_time = stream_time - grace
            starts = (timestamp - timestamp % size,) if tumbling else windows.windows_for(timestamp)
            for start in starts:
                window = window_of(start)
                if window[1] <= close_time:
                    self.context.dropped(self.name)
                    continue
                try:
                    found = find(key, start)
                    if found is not None:
                        old, at = found
                        if at < timestamp:
                            at = timestamp
                        new = aggregator(key, value, old)
                    else:
                        at = timestamp
                        if start_with is None:
                            old, new = None, value
                        else:
                            old = start_with()
                            new = aggregator(key, value, old)
                    if send_old and new is old and found is not None:
                        again = find(key, start)  # the aggregator changed its aggregate in place
                        old = None if again is None else again[0]
                    put(key, start, new, timestamp if new is None else at)
                except Exception as error:
                    self.context.failed(self.name, row, error)
                    break  # earlier windows stay; the record's others are left out with it, as in Kafka
                if not on_close:
                    out.append((Windowed(key, window), (new, old if send_old else None), at, headers, offset))
            else:
                if on_close:
                    self.emit_closed(close_time, headers, offset, out)
        self.forward(out)

    def emit_range(self, close_time: int) -> tuple[int, int] | None:
        """From after the windows that were closed at the last emission to those that are closed now."""
        size = self._windows.size_ms
        last = close_time - size
        if last < 0:
            return None
        first = 0
        if self._last_close != NO_TIMESTAMP:
            first = max(0, self._last_close - size) + 1
            if list(self._windows.windows_for(last)) == list(self._windows.windows_for(first - 1)):
                return None
        return first, last
