"""Aggregations by sliding windows (``KStreamSlidingWindowAggregate``).

Each record of a key at ``t`` belongs to a *left* window ``[t - difference, t]``, to the windows of others that ``t``
falls into, and makes a *right* window ``[t + 1, t + 1 + difference]`` once something falls into that. Windows that
would begin before 0 are one, ``[0, difference]``. Nothing is stored but windows: the time of a window's last record,
which is the time of its value, tells where the record before was.
"""

from __future__ import annotations

from typing import Any

from engine.streams.processors.window_aggregate import WindowAggregateSupplier, WindowedNode
from engine.streams.records import NO_TIMESTAMP, Row, Window, Windowed
from engine.streams.windows import SlidingWindows


class SlidingWindowAggregateNode(WindowedNode):
    """Sliding windows."""

    __slots__ = ("_close", "_difference", "_grace", "_out", "_row")

    def __init__(self, supplier: WindowAggregateSupplier) -> None:
        super().__init__(supplier)
        assert isinstance(supplier.windows, SlidingWindows)
        self._difference = supplier.windows.difference_ms
        self._grace = supplier.windows.grace_ms
        self._out: list[Row] = []
        self._row: Row
        self._close = NO_TIMESTAMP

    def window_of(self, start: int) -> Window:
        """The window that starts there; its end is inclusive."""
        return Window(start, start + self._difference)

    def process(self, rows: list[Row]) -> None:
        """Aggregate, store, forward."""
        self._out = []
        for row in rows:
            key, value, timestamp, headers, offset = row
            if key is None or value is None:
                self.context.dropped(self.name)
                continue
            self._stream_time = max(self._stream_time, timestamp)
            self._close = self._stream_time - self._grace
            self._row = row
            if timestamp + self._difference < self._close:
                self.context.dropped(self.name)
                continue
            try:
                if timestamp < self._difference:
                    self._early(key, timestamp)
                    continue  # as Kafka does: nothing is emitted on close before there is a left window
                self._usual(key, timestamp)
            except Exception as error:
                self.context.failed(self.name, row, error)
                continue
            if self._on_close:
                self.emit_closed(self._close, headers, offset, self._out)
        out, self._out = self._out, []
        self.forward(out)

    def _usual(self, key: Any, timestamp: int) -> None:
        difference = self._difference
        starts: set[int] = set()
        left: Any = None
        right: tuple[Any, int] | None = None
        has_left = has_right = False
        previous: int | None = None
        # Latest first; what is found is read whole, since windows are put on the way.
        found = list(self._store.backward_fetch(key, max(0, timestamp - 2 * difference), timestamp + 1))
        for start, (aggregate, latest) in found:
            starts.add(start)
            end = start + difference
            if start == timestamp + 1:
                has_right = True
            elif end > timestamp:
                if right is None:
                    right = self._kept(start, aggregate, latest)
                self._update(start, aggregate, latest)
            elif end == timestamp:
                has_left = True
                self._update(start, aggregate, latest)
                if latest >= timestamp:
                    return  # the key had a record at this very time: every window is there
                previous = latest
            else:
                left = aggregate
                previous = latest
                break
        if previous is not None and previous + 1 not in starts and previous + 1 + difference >= timestamp:
            self._update(previous + 1, self._aggregation.start(), timestamp)
        if not has_left:
            filled = previous is not None and timestamp - difference <= previous
            self._update(timestamp - difference, left if filled else self._aggregation.start(), timestamp)
        if not has_right and right is not None and right[1] > timestamp:
            self._make_right(right)

    def _early(self, key: Any, timestamp: int) -> None:
        combined: tuple[Any, int] | None = None
        right: tuple[Any, int] | None = None
        has_right = False
        starts: set[int] = set()
        previous: int | None = None
        for start, (aggregate, latest) in list(self._store.fetch(key, 0, timestamp + 1)):
            starts.add(start)
            if start == 0:
                combined = aggregate, latest
                if latest < timestamp:
                    previous = latest
            elif start <= timestamp:
                right = self._kept(start, aggregate, latest)
                self._update(start, aggregate, latest)
            else:
                has_right = True
        if right is None and combined is not None:
            right = self._kept(0, *combined)
        if not has_right and right is not None and right[1] > timestamp:
            self._make_right(right)
        if previous is not None and previous + 1 not in starts:
            self._update(previous + 1, self._aggregation.start(), timestamp)
        if combined is None:
            self._update(0, self._aggregation.start(), timestamp)
        else:
            self._update(0, *combined)

    def _kept(self, start: int, aggregate: Any, latest: int) -> tuple[Any, int]:
        """A window's value that stays what it is when the aggregator changes ``aggregate`` in place."""
        if latest <= self._row[2]:
            return aggregate, latest  # no right window is made of it
        found = self._store.find(self._row[0], start)
        return (aggregate, latest) if found is None else found

    def _make_right(self, right: tuple[Any, int]) -> None:
        key, _, timestamp, headers, offset = self._row
        aggregate, latest = right
        self._store.set(key, timestamp + 1, aggregate, latest)
        if not self._on_close:
            windowed = Windowed(key, self.window_of(timestamp + 1))
            self._out.append((windowed, (aggregate, None), latest, headers, offset))

    def _update(self, start: int, old: Any, latest: int) -> None:
        key, value, timestamp, headers, offset = self._row
        window = self.window_of(start)
        if window.end < self._close:
            self.context.dropped(self.name)
            return
        before = old
        new = self._aggregation.add(key, value, old)
        at = timestamp if old is None else max(timestamp, latest)
        if self._send_old and new is old and old is not None:
            again = self._store.find(key, start)
            before = None if again is None else again[0]
        self._store.set(key, start, new, at)
        if not self._on_close:
            change = (new, before if self._send_old else None)
            self._out.append((Windowed(key, window), change, at, headers, offset))

    def emit_range(self, close_time: int) -> tuple[int, int] | None:
        """From the windows that were closed at the last emission to those that are closed now."""
        last = close_time - self._difference - 1
        if last < 0:
            return None
        return (0 if self._last_close == NO_TIMESTAMP else max(0, self._last_close - self._difference)), last
