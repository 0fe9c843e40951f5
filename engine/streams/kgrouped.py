"""Grouped streams and tables: what aggregations begin with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from engine.streams.graph import Graph, GraphNode, ProcessorGraphNode, RepartitionGraphNode
from engine.streams.kstream import SINK_NAME, SOURCE_NAME, KStream, repartition_node
from engine.streams.ktable import KTable, table_store
from engine.streams.params import Grouped, Materialized, check_name
from engine.streams.processors.aggregate import ChangedSerde, StreamAggregate, TableAggregate
from engine.streams.processors.table_supplier import TableSupplier
from engine.streams.serdes import LONG, Serde
from engine.streams.windows import SessionWindows, SlidingWindows, Windows

if TYPE_CHECKING:
    from engine.streams.cogrouped import CogroupedKStream
    from engine.streams.windowed import SessionWindowedKStream, TimeWindowedKStream

K = TypeVar("K")
V = TypeVar("V")
A = TypeVar("A")

AGGREGATE_NAME = "KSTREAM-AGGREGATE-"
REDUCE_NAME = "KSTREAM-REDUCE-"


def add_one(key: Any, value: Any, count: int) -> int:
    """The aggregator of ``count``."""
    return count + 1


def zero() -> int:
    """The initializer of ``count``."""
    return 0


class KGroupedStream(Generic[K, V]):
    """A stream grouped by its key; ``repartition_required`` when the key is a new one."""

    def __init__(self, stream: KStream[Any, Any], grouped: Grouped, repartition_required: bool) -> None:
        self.stream = stream
        self.graph = stream.graph
        self.grouped = grouped
        self.repartition_required = repartition_required
        self._repartition: RepartitionGraphNode | None = None

    @property
    def key_serde(self) -> Serde[Any] | None:
        """The serde of the keys."""
        return self.grouped.key_serde

    @property
    def value_serde(self) -> Serde[Any] | None:
        """The serde of the values."""
        return self.grouped.value_serde

    def count(self, materialized: Materialized | None = None, named: str | None = None) -> KTable[K, int]:
        """How many records each key has had."""
        if materialized is not None and materialized.name is None:
            self.graph.new_store_name(AGGREGATE_NAME)  # Kafka takes a number here and makes the name of the next one
        return self._aggregate(AGGREGATE_NAME, zero, add_one, materialized, named, LONG)

    def reduce(
        self, reducer: Callable[[V, V], V], materialized: Materialized | None = None, named: str | None = None
    ) -> KTable[K, V]:
        """The values of each key, reduced two by two; the first one is the beginning."""
        return self._aggregate(
            REDUCE_NAME, None, lambda _, value, so_far: reducer(so_far, value), materialized, named, self.value_serde
        )

    def aggregate(
        self,
        initializer: Callable[[], A],
        aggregator: Callable[[K, V, A], A],
        materialized: Materialized | None = None,
        named: str | None = None,
    ) -> KTable[K, A]:
        """The values of each key, aggregated: ``aggregator(key, value, so far)``."""
        return self._aggregate(AGGREGATE_NAME, initializer, aggregator, materialized, named, None)

    def _aggregate(
        self,
        prefix: str,
        initializer: Callable[[], Any] | None,
        aggregator: Callable[[Any, Any, Any], Any],
        materialized: Materialized | None,
        named: str | None,
        value_serde: Serde[Any] | None,
    ) -> KTable[Any, Any]:
        check_name(named)
        queryable = materialized.name if materialized else None
        store_name = queryable or self.graph.new_store_name(prefix)
        name = self.graph.name(named, prefix)
        builder = table_store(materialized, store_name, self.key_serde, value_serde)
        supplier = StreamAggregate(builder, initializer, aggregator)
        return self.build(
            name,
            store_name,
            supplier,
            queryable,
            builder.key_serde,
            builder.value_serde,
            versioned=builder.versioned,
        )

    def build(
        self,
        name: str,
        store_name: str,
        supplier: TableSupplier,
        queryable: str | None,
        key_serde: Serde[Any] | None,
        value_serde: Serde[Any] | None,
        *,
        grace_ms: int | None = None,
        session_gap_ms: int | None = None,
        versioned: bool = False,
    ) -> KTable[Any, Any]:
        """The aggregation's node, behind a repartition topic when the keys are new."""
        parent, sources = self.parent_of_aggregation(store_name)
        node = ProcessorGraphNode(name, supplier)
        node.grace_ms, node.session_gap_ms = grace_ms, session_gap_ms
        node.output_versioned = versioned
        self.graph.add(parent, node)
        return KTable(self.graph, name, key_serde, value_serde, sources, queryable, supplier, node)

    def parent_of_aggregation(self, store_name: str) -> tuple[GraphNode, set[str]]:
        """What an aggregation hangs below, and the source nodes it then has."""
        if not self.repartition_required:
            return self.stream.node, self.stream.source_nodes
        made = repartition_node(self.graph, self.grouped.name or store_name, self.key_serde, self.value_serde)
        if self._repartition is None or self.grouped.name is None:
            self._repartition = made
        self.graph.add(self.stream.node, self._repartition)
        return self._repartition, {made.name}

    @overload
    def windowed_by(self, windows: SessionWindows) -> SessionWindowedKStream[K, V]: ...

    @overload
    def windowed_by(self, windows: Windows | SlidingWindows) -> TimeWindowedKStream[K, V]: ...

    def windowed_by(self, windows: Windows | SlidingWindows | SessionWindows) -> Any:
        """By key and window of time."""
        from engine.streams.windowed import SessionWindowedKStream, TimeWindowedKStream

        if isinstance(windows, SessionWindows):
            return SessionWindowedKStream(self, windows)
        return TimeWindowedKStream(self, windows)

    def cogroup(self, aggregator: Callable[[K, V, A], A]) -> CogroupedKStream[K, A]:
        """The beginning of an aggregation of several grouped streams into one table."""
        from engine.streams.cogrouped import CogroupedKStream

        return CogroupedKStream(self.graph, [(self, aggregator)])


class KGroupedTable(Generic[K, V]):
    """A table grouped by another key. Aggregations take the old value out and put the new one in."""

    def __init__(self, graph: Graph, grouped: Grouped, node: GraphNode) -> None:
        self.graph = graph
        self.grouped = grouped
        self.node = node
        self._repartition: RepartitionGraphNode | None = None

    def count(self, materialized: Materialized | None = None, named: str | None = None) -> KTable[K, int]:
        """How many rows each key has."""
        return self._aggregate(
            "KTABLE-AGGREGATE-", zero, add_one, lambda _, value, count: count - 1, materialized, named, LONG
        )

    def reduce(
        self,
        adder: Callable[[V, V], V],
        subtractor: Callable[[V, V], V],
        materialized: Materialized | None = None,
        named: str | None = None,
    ) -> KTable[K, V]:
        """The values of each key: ``adder(so far, new)``, ``subtractor(so far, old)``."""
        return self._aggregate(
            "KTABLE-REDUCE-",
            None,
            lambda _, value, so_far: adder(so_far, value),
            lambda _, value, so_far: subtractor(so_far, value),
            materialized,
            named,
            self.grouped.value_serde,
        )

    def aggregate(
        self,
        initializer: Callable[[], A],
        adder: Callable[[K, V, A], A],
        subtractor: Callable[[K, V, A], A],
        materialized: Materialized | None = None,
        named: str | None = None,
    ) -> KTable[K, A]:
        """The values of each key: ``adder(key, new, so far)``, ``subtractor(key, old, so far)``."""
        return self._aggregate("KTABLE-AGGREGATE-", initializer, adder, subtractor, materialized, named, None)

    def _aggregate(
        self,
        function: str,
        initializer: Callable[[], Any] | None,
        adder: Callable[[Any, Any, Any], Any],
        subtractor: Callable[[Any, Any, Any], Any],
        materialized: Materialized | None,
        named: str | None,
        value_serde: Serde[Any] | None,
    ) -> KTable[Any, Any]:
        check_name(named)
        graph = self.graph
        queryable = materialized.name if materialized else None
        # Kafka names the store of either function after aggregations.
        store_name = queryable or graph.new_store_name("KTABLE-AGGREGATE-")
        sink = graph.suffixed(named, "-sink", SINK_NAME)
        source = graph.suffixed(named, "-source", SOURCE_NAME)
        name = graph.name(named, function)
        topic = f"{self.grouped.name or store_name}-repartition"
        if self._repartition is None or self.grouped.name is None:
            value = self.grouped.value_serde
            self._repartition = RepartitionGraphNode(
                source, sink, None, topic, self.grouped.key_serde, None if value is None else ChangedSerde(value)
            )
        graph.add(self.node, self._repartition)
        builder = table_store(materialized, store_name, self.grouped.key_serde, value_serde)
        supplier = TableAggregate(builder, initializer, adder, subtractor)
        node = ProcessorGraphNode(name, supplier)
        node.output_versioned = builder.versioned
        graph.add(self._repartition, node)
        return KTable(graph, name, builder.key_serde, builder.value_serde, {source}, queryable, supplier, node)
