"""Grouped streams by windows of time and by sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from engine.streams.errors import TopologyError
from engine.streams.kgrouped import AGGREGATE_NAME, REDUCE_NAME, KGroupedStream, add_one, zero
from engine.streams.ktable import KTable
from engine.streams.params import Materialized, check_name
from engine.streams.processors.session_aggregate import SessionAggregateSupplier
from engine.streams.processors.window_aggregate import Aggregation, WindowAggregateSupplier
from engine.streams.records import Windowed
from engine.streams.serdes import LONG, Serde, SessionWindowedSerde, TimeWindowedSerde
from engine.streams.stores.builders import KIND_SESSION, KIND_TIMESTAMPED_WINDOW, StoreBuilder
from engine.streams.windows import SessionWindows, SlidingWindows, UnlimitedWindows, Windows

K = TypeVar("K")
V = TypeVar("V")
A = TypeVar("A")

ON_WINDOW_UPDATE = "ON_WINDOW_UPDATE"
"""Every change of a window goes on (Kafka's default)."""
ON_WINDOW_CLOSE = "ON_WINDOW_CLOSE"
"""A window goes on once, when it is closed. Closed windows are looked for once a second of the wall clock."""


def window_store_builder(
    materialized: Materialized | None,
    name: str,
    windows: Windows | SlidingWindows,
    key_serde: Serde[Any] | None,
    value_serde: Serde[Any] | None,
) -> StoreBuilder:
    """The store of a windowed table."""
    given = materialized or Materialized()
    if isinstance(windows, SlidingWindows):
        size, least = windows.difference_ms, 2 * windows.difference_ms + windows.grace_ms
    else:
        size, least = windows.size_ms, windows.size_ms + windows.grace_ms
    return _builder(given, name, KIND_TIMESTAMPED_WINDOW, least, size, key_serde, value_serde)


def session_store_builder(
    materialized: Materialized | None,
    name: str,
    windows: SessionWindows,
    key_serde: Serde[Any] | None,
    value_serde: Serde[Any] | None,
) -> StoreBuilder:
    """The store of a table of sessions."""
    least = windows.gap_ms + windows.grace_ms
    return _builder(materialized or Materialized(), name, KIND_SESSION, least, None, key_serde, value_serde)


def _builder(
    given: Materialized,
    name: str,
    kind: str,
    least: int,
    size: int | None,
    key_serde: Serde[Any] | None,
    value_serde: Serde[Any] | None,
) -> StoreBuilder:
    given.refuse_versions(f"The store of a windowed table ({name})")
    retention = least if given.retention_ms is None else given.retention_ms
    if retention < least:
        raise TopologyError(
            f"The retention period of the window store {name} must be no smaller than its window size plus the grace "
            f"period (sliding windows: twice the difference): {least} ms; got {retention} ms"
        )
    return StoreBuilder(
        name=name,
        kind=kind,
        key_serde=given.key_serde or key_serde,
        value_serde=given.value_serde or value_serde,
        logging_enabled=given.logging_enabled,
        caching_enabled=given.caching_enabled,
        topic_config=dict(given.topic_config),
        retention_ms=retention,
        window_size=size,
        engine=given.engine,
    )


class TimeWindowedKStream(Generic[K, V]):
    """A grouped stream by windows of a fixed size, or by sliding ones."""

    def __init__(self, grouped: KGroupedStream[K, V], windows: Windows | SlidingWindows) -> None:
        self._grouped = grouped
        self._windows = windows
        self._on_close = False

    def emit_strategy(self, strategy: str) -> TimeWindowedKStream[K, V]:
        """ON_WINDOW_UPDATE or ON_WINDOW_CLOSE."""
        self._on_close = _on_close(strategy)
        if self._on_close and isinstance(self._windows, UnlimitedWindows):
            raise TopologyError("ON_WINDOW_CLOSE emit strategy cannot be used for UnlimitedWindows")
        return self

    def count(self, materialized: Materialized | None = None, named: str | None = None) -> KTable[Windowed[K], int]:
        """How many records each key has had in each window."""
        if materialized is not None and materialized.name is None:
            self._grouped.graph.new_store_name(AGGREGATE_NAME)
        return self._build(AGGREGATE_NAME, zero, add_one, materialized, named, LONG)

    def reduce(
        self, reducer: Callable[[V, V], V], materialized: Materialized | None = None, named: str | None = None
    ) -> KTable[Windowed[K], V]:
        """The values of each key and window, reduced two by two."""
        serde = self._grouped.value_serde
        return self._build(
            REDUCE_NAME, None, lambda _, value, so_far: reducer(so_far, value), materialized, named, serde
        )

    def aggregate(
        self,
        initializer: Callable[[], A],
        aggregator: Callable[[K, V, A], A],
        materialized: Materialized | None = None,
        named: str | None = None,
    ) -> KTable[Windowed[K], A]:
        """The values of each key and window, aggregated: ``aggregator(key, value, so far)``."""
        return self._build(AGGREGATE_NAME, initializer, aggregator, materialized, named, None)

    def _build(
        self,
        prefix: str,
        initializer: Callable[[], Any] | None,
        aggregator: Callable[[Any, Any, Any], Any],
        materialized: Materialized | None,
        named: str | None,
        value_serde: Serde[Any] | None,
    ) -> KTable[Any, Any]:
        check_name(named)
        grouped, windows = self._grouped, self._windows
        queryable = materialized.name if materialized else None
        store_name = queryable or grouped.graph.new_store_name(prefix)
        name = grouped.graph.name(named, prefix)
        builder = window_store_builder(materialized, store_name, windows, grouped.key_serde, value_serde)
        builder.emits_on_close = self._on_close
        supplier = WindowAggregateSupplier(
            builder, windows, Aggregation(initializer, aggregator), on_close=self._on_close
        )
        size = builder.window_size or 0
        key_serde = None if builder.key_serde is None else TimeWindowedSerde(builder.key_serde, size)
        return grouped.build(
            name, store_name, supplier, queryable, key_serde, builder.value_serde, grace_ms=windows.grace_ms
        )


class SessionWindowedKStream(Generic[K, V]):
    """A grouped stream by sessions."""

    def __init__(self, grouped: KGroupedStream[K, V], windows: SessionWindows) -> None:
        self._grouped = grouped
        self._windows = windows
        self._on_close = False

    def emit_strategy(self, strategy: str) -> SessionWindowedKStream[K, V]:
        """ON_WINDOW_UPDATE or ON_WINDOW_CLOSE."""
        self._on_close = _on_close(strategy)
        return self

    def count(self, materialized: Materialized | None = None, named: str | None = None) -> KTable[Windowed[K], int]:
        """How many records each session has."""
        if materialized is not None and materialized.name is None:
            self._grouped.graph.new_store_name(AGGREGATE_NAME)
        return self._build(
            AGGREGATE_NAME, zero, add_one, lambda _, first, second: first + second, materialized, named, LONG
        )

    def reduce(
        self, reducer: Callable[[V, V], V], materialized: Materialized | None = None, named: str | None = None
    ) -> KTable[Windowed[K], V]:
        """The values of each session, reduced two by two."""

        def aggregate(key: Any, value: Any, so_far: Any) -> Any:
            return value if so_far is None else reducer(so_far, value)

        def merge(key: Any, first: Any, second: Any) -> Any:
            return second if first is None else reducer(first, second)

        return self._build(REDUCE_NAME, None, aggregate, merge, materialized, named, self._grouped.value_serde)

    def aggregate(
        self,
        initializer: Callable[[], A],
        aggregator: Callable[[K, V, A], A],
        merger: Callable[[K, A, A], A],
        materialized: Materialized | None = None,
        named: str | None = None,
    ) -> KTable[Windowed[K], A]:
        """The values of each session, aggregated; ``merger(key, first, second)`` joins two sessions."""
        return self._build(AGGREGATE_NAME, initializer, aggregator, merger, materialized, named, None)

    def _build(
        self,
        prefix: str,
        initializer: Callable[[], Any] | None,
        aggregator: Callable[[Any, Any, Any], Any],
        merger: Callable[[Any, Any, Any], Any],
        materialized: Materialized | None,
        named: str | None,
        value_serde: Serde[Any] | None,
    ) -> KTable[Any, Any]:
        check_name(named)
        grouped, windows = self._grouped, self._windows
        queryable = materialized.name if materialized else None
        store_name = queryable or grouped.graph.new_store_name(prefix)
        name = grouped.graph.name(named, prefix)
        builder = session_store_builder(materialized, store_name, windows, grouped.key_serde, value_serde)
        supplier = SessionAggregateSupplier(
            builder, windows, Aggregation(initializer, aggregator), merger, on_close=self._on_close
        )
        key_serde = None if builder.key_serde is None else SessionWindowedSerde(builder.key_serde)
        grace = windows.grace_ms + windows.gap_ms
        return grouped.build(name, store_name, supplier, queryable, key_serde, builder.value_serde, grace_ms=grace)


def _on_close(strategy: str) -> bool:
    if strategy not in (ON_WINDOW_UPDATE, ON_WINDOW_CLOSE):
        raise TopologyError(f"emit_strategy(): {strategy!r} is neither ON_WINDOW_UPDATE nor ON_WINDOW_CLOSE")
    return strategy == ON_WINDOW_CLOSE
