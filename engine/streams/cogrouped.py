"""Several grouped streams aggregated into one table (``CogroupedKStream``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from engine.streams.graph import Graph, GraphNode, ProcessorGraphNode
from engine.streams.kgrouped import KGroupedStream
from engine.streams.kstream import repartition_node
from engine.streams.ktable import KTable, table_store
from engine.streams.params import Materialized, check_name
from engine.streams.processors.aggregate import StreamAggregate
from engine.streams.processors.node import Node, PassThrough
from engine.streams.processors.session_aggregate import SessionAggregateSupplier
from engine.streams.processors.table_supplier import GetterSupplier, TableSupplier
from engine.streams.processors.window_aggregate import Aggregation, WindowAggregateSupplier
from engine.streams.records import Windowed
from engine.streams.serdes import Serde, SessionWindowedSerde, TimeWindowedSerde
from engine.streams.stores.builders import StoreBuilder
from engine.streams.windowed import session_store_builder, window_store_builder
from engine.streams.windows import SessionWindows, SlidingWindows, Windows

K = TypeVar("K")
V = TypeVar("V")
A = TypeVar("A")

_AGGREGATE_NAME = "COGROUPKSTREAM-AGGREGATE-"
_Part = tuple[KGroupedStream[Any, Any], Callable[[Any, Any, Any], Any]]
_MakeSupplier = Callable[[StoreBuilder, Callable[[Any, Any, Any], Any]], TableSupplier]


class _Merged(TableSupplier):
    """The table that all parts write (``KTablePassThrough``)."""

    def __init__(self, parts: list[TableSupplier]) -> None:
        self._parts = parts

    def enable_sending_old_values(self, force: bool) -> bool:
        """Those of every part."""
        for part in self._parts:
            part.enable_sending_old_values(force)
        return True

    def view(self) -> GetterSupplier:
        """The store's values."""
        return self._parts[0].view()

    def make(self) -> Node:
        """The node of one task."""
        return PassThrough()


class CogroupedKStream(Generic[K, A]):
    """Grouped streams with the aggregator of each."""

    def __init__(self, graph: Graph, parts: list[_Part]) -> None:
        self._graph = graph
        self._parts = parts

    def cogroup(self, grouped: KGroupedStream[K, V], aggregator: Callable[[K, V, A], A]) -> CogroupedKStream[K, A]:
        """One more stream."""
        self._parts.append((grouped, aggregator))
        return self

    def aggregate(
        self, initializer: Callable[[], A], materialized: Materialized | None = None, named: str | None = None
    ) -> KTable[K, A]:
        """All of them, aggregated into one table."""
        key_serde = self._parts[0][0].key_serde

        def make(builder: StoreBuilder, aggregator: Callable[[Any, Any, Any], Any]) -> TableSupplier:
            return StreamAggregate(builder, initializer, aggregator)

        store_name = self._store_name(materialized)
        builder = table_store(materialized, store_name, key_serde, None)
        return self._build(builder, make, materialized, named, builder.key_serde, None)

    def windowed_by(self, windows: Windows | SlidingWindows) -> TimeWindowedCogroupedKStream[K, A]:
        """By key and window of time."""
        return TimeWindowedCogroupedKStream(self, windows)

    def windowed_by_session(self, windows: SessionWindows) -> SessionWindowedCogroupedKStream[K, A]:
        """By key and session."""
        return SessionWindowedCogroupedKStream(self, windows)

    @property
    def key_serde(self) -> Serde[Any] | None:
        """The serde of the keys."""
        return self._parts[0][0].key_serde

    def _store_name(self, materialized: Materialized | None) -> str:
        given = materialized.name if materialized else None
        return given or self._graph.new_store_name(_AGGREGATE_NAME)

    def _build(
        self,
        builder: StoreBuilder,
        make: _MakeSupplier,
        materialized: Materialized | None,
        named: str | None,
        key_serde: Serde[Any] | None,
        grace_ms: int | None,
    ) -> KTable[Any, Any]:
        check_name(named)
        graph = self._graph
        parents: list[GraphNode] = []
        sources: set[str] = set()
        for grouped, _ in self._parts:
            if grouped.repartition_required:
                prefix = grouped.grouped.name or builder.name
                parent: GraphNode = repartition_node(graph, prefix, grouped.key_serde, grouped.value_serde)
                graph.add(grouped.stream.node, parent)
            else:
                parent = grouped.stream.node
            parents.append(parent)
            # Kafka holds the sources before the repartition topics against each other, and so does the name of them.
            sources |= grouped.stream.source_nodes
        graph.topology.copartition_sources(sorted(sources))
        suppliers: list[TableSupplier] = []
        nodes: list[GraphNode] = []
        for number, ((_, aggregator), parent) in enumerate(zip(self._parts, parents, strict=True)):
            supplier = make(builder, aggregator)
            name = graph.suffixed(named, f"-cogroup-agg-{number}", _AGGREGATE_NAME)
            node = ProcessorGraphNode(name, supplier)
            node.grace_ms = grace_ms
            node.output_versioned = builder.versioned
            graph.add(parent, node)
            suppliers.append(supplier)
            nodes.append(node)
        merge_name = graph.suffixed(named, "-cogroup-merge", "COGROUPKSTREAM-MERGE-")
        merged = _Merged(suppliers)
        merge = ProcessorGraphNode(merge_name, merged)
        merge.output_versioned = builder.versioned
        graph.add(nodes, merge)
        queryable = materialized.name if materialized else None
        return KTable(graph, merge_name, key_serde, builder.value_serde, {merge_name}, queryable, merged, merge)


class TimeWindowedCogroupedKStream(Generic[K, A]):
    """Grouped streams by key and window of time."""

    def __init__(self, cogrouped: CogroupedKStream[K, A], windows: Windows | SlidingWindows) -> None:
        self._cogrouped = cogrouped
        self._windows = windows

    def aggregate(
        self, initializer: Callable[[], A], materialized: Materialized | None = None, named: str | None = None
    ) -> KTable[Windowed[K], A]:
        """All of them, aggregated into one windowed table."""
        cogrouped, windows = self._cogrouped, self._windows

        def make(builder: StoreBuilder, aggregator: Callable[[Any, Any, Any], Any]) -> TableSupplier:
            return WindowAggregateSupplier(builder, windows, Aggregation(initializer, aggregator), on_close=False)

        store_name = cogrouped._store_name(materialized)
        builder = window_store_builder(materialized, store_name, windows, cogrouped.key_serde, None)
        inner = builder.key_serde
        key_serde = None if inner is None else TimeWindowedSerde(inner, builder.window_size or 0)
        return cogrouped._build(builder, make, materialized, named, key_serde, windows.grace_ms)


class SessionWindowedCogroupedKStream(Generic[K, A]):
    """Grouped streams by key and session."""

    def __init__(self, cogrouped: CogroupedKStream[K, A], windows: SessionWindows) -> None:
        self._cogrouped = cogrouped
        self._windows = windows

    def aggregate(
        self,
        initializer: Callable[[], A],
        merger: Callable[[K, A, A], A],
        materialized: Materialized | None = None,
        named: str | None = None,
    ) -> KTable[Windowed[K], A]:
        """All of them, aggregated into one table of sessions."""
        cogrouped, windows = self._cogrouped, self._windows

        def make(builder: StoreBuilder, aggregator: Callable[[Any, Any, Any], Any]) -> TableSupplier:
            aggregation = Aggregation(initializer, aggregator)
            return SessionAggregateSupplier(builder, windows, aggregation, merger, on_close=False)

        store_name = cogrouped._store_name(materialized)
        builder = session_store_builder(materialized, store_name, windows, cogrouped.key_serde, None)
        key_serde = None if builder.key_serde is None else SessionWindowedSerde(builder.key_serde)
        grace = windows.grace_ms + windows.gap_ms
        return cogrouped._build(builder, make, materialized, named, key_serde, grace)
