"""Aggregations by sessions (``KStreamSessionWindowAggregate``): a record may join sessions that were two before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.streams.processors.node import Node, TaskContext
from engine.streams.processors.table_supplier import GetterSupplier, TableSupplier, ValueGetter
from engine.streams.processors.window_aggregate import EMIT_INTERVAL_CONFIG, Aggregation
from engine.streams.records import NO_HEADERS, NO_TIMESTAMP, Row, Window, Windowed
from engine.streams.stores.builders import StoreBuilder
from engine.streams.stores.session import SessionStore
from engine.streams.windows import SessionWindows


class SessionAggregateSupplier(TableSupplier):
    """A table of sessions. ``merger`` makes one aggregate of two: ``(key, first, second)``."""

    def __init__(
        self,
        builder: StoreBuilder,
        windows: SessionWindows,
        aggregation: Aggregation,
        merger: Callable[[Any, Any, Any], Any],
        *,
        on_close: bool,
    ) -> None:
        self.builder = builder
        self.windows = windows
        self.aggregation = aggregation
        self.merger = merger
        self.on_close = on_close

    def stores(self) -> list[StoreBuilder]:
        """The aggregate's store."""
        return [self.builder]

    def view(self) -> GetterSupplier:
        """The values by key and session; a value's time is its session's end."""
        name = self.builder.name

        def make(context: TaskContext) -> ValueGetter:
            store = session_store(context, name)

            def get(windowed: Windowed[Any]) -> tuple[Any, int] | None:
                start, end = windowed.window
                value = store.fetch_session(windowed.key, start, end)
                return None if value is None else (value, end)

            return get

        return GetterSupplier((name,), make)

    def make(self) -> Node:
        """The node of one task."""
        return _SessionAggregateNode(self)


def session_store(context: TaskContext, name: str) -> SessionStore[Any, Any]:
    """A session table's store."""
    store = context.store(name)
    assert isinstance(store, SessionStore), f"{name} is a {store.kind} store"
    return store


class _SessionAggregateNode(Node):
    __slots__ = ("_interval", "_last_close", "_next_emit", "_send_old", "_store", "_stream_time", "_supplier")

    def __init__(self, supplier: SessionAggregateSupplier) -> None:
        super().__init__()
        self._supplier = supplier
        self._send_old = supplier.send_old_values
        self._store: SessionStore[Any, Any]
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
        return None if self._supplier.on_close else (self._supplier.builder.name, self._send_old)

    def init(self, context: TaskContext) -> None:
        """Find the store."""
        super().init(context)
        self._store = session_store(context, self._supplier.builder.name)
        self._last_close = context.processor_metadata.get(self._store.name, NO_TIMESTAMP)
        self._interval = int(context.config.get(EMIT_INTERVAL_CONFIG, 1000))

    def process(self, rows: list[Row]) -> None:
        """Merge the sessions that the record touches into one, store, forward."""
        out: list[Row] = []
        for row in rows:
            if row[0] is None:
                self.context.dropped(self.name)
                continue
            self._stream_time = max(self._stream_time, row[2])
            windows = self._supplier.windows
            close_time = self._stream_time - windows.grace_ms - windows.gap_ms
            try:
                self._take(row, close_time, out)
            except Exception as error:
                self.context.failed(self.name, row, error)
                continue
            if self._supplier.on_close:
                self._emit_closed(close_time, row, out)
        self.forward(out)

    def _take(self, row: Row, close_time: int, out: list[Row]) -> None:
        key, value, timestamp, _, offset = row
        supplier, store = self._supplier, self._store
        gap = supplier.windows.gap_ms
        start = end = timestamp
        aggregate = supplier.aggregation.start()
        merged = list(store.find_sessions(key, timestamp - gap, timestamp + gap))
        for session, found in merged:
            aggregate = supplier.merger(key, aggregate, found)
            start, end = min(start, session.window.start), max(end, session.window.end)
        if end < close_time:
            self.context.dropped(self.name)
            return
        new = supplier.aggregation.add(key, value, aggregate)
        updates = not supplier.on_close
        if start != timestamp or end != timestamp:
            for session, found in merged:
                window = session.window
                if updates:
                    old = store.fetch_session(key, *window) if self._send_old and found is new else found
                    change = (None, old if self._send_old else None)
                    # Kafka makes these records anew: without the headers.
                    out.append((Windowed(key, window), change, window.end, NO_HEADERS, offset))
                store.set(key, window.start, window.end, None, timestamp)
        store.set(key, start, end, new, timestamp)
        if updates:
            out.append((Windowed(key, Window(start, end)), (new, None), end, NO_HEADERS, offset))

    def _emit_closed(self, close_time: int, row: Row, out: list[Row]) -> None:
        now = self.context.wall_clock_ms()
        if now < self._next_emit:
            return
        self._next_emit = now + self._interval
        if self._last_close != NO_TIMESTAMP and self._last_close >= close_time:
            return
        first, last = max(0, self._last_close), close_time - 1
        if last < 0 or last < first:
            return
        for session, value in self._store.ended_between(first, last):
            out.append((session, (value, None), session.window.end, row[3], row[4]))
        self._last_close = close_time
        self.context.processor_metadata[self._store.name] = close_time
