"""``KTable``: a stream of changes, the last of which is the value of its key; and ``GlobalKTable``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from engine.streams.graph import Graph, GraphNode, ProcessorGraphNode
from engine.streams.kstream import KStream
from engine.streams.params import Grouped, Materialized, TableJoined, check_name
from engine.streams.processors.stateless import MapValuesNode
from engine.streams.processors.table_supplier import GetterSupplier, PlainSupplier, TableSupplier, store_getter
from engine.streams.processors.tables import TableFilter, TableMapValues, TableTransformValues
from engine.streams.serdes import Serde
from engine.streams.stores.builders import KIND_TIMESTAMPED_KEY_VALUE, KIND_VERSIONED_KEY_VALUE, StoreBuilder

if TYPE_CHECKING:
    from engine.streams.kgrouped import KGroupedTable
    from engine.streams.processor_api import ValueTransformer
    from engine.streams.suppressed import Suppressed

K = TypeVar("K")
V = TypeVar("V")
K2 = TypeVar("K2")
V2 = TypeVar("V2")
V3 = TypeVar("V3")

TABLE_SOURCE_NAME = "KTABLE-SOURCE-"


def table_store(
    materialized: Materialized | None, name: str, key_serde: Serde[Any] | None, value_serde: Serde[Any] | None
) -> StoreBuilder:
    """The store of a table: what ``materialized`` says, with these serdes where it says none."""
    given = materialized or Materialized()
    return StoreBuilder(
        name=name,
        kind=KIND_VERSIONED_KEY_VALUE if given.versioned else KIND_TIMESTAMPED_KEY_VALUE,
        key_serde=given.key_serde or key_serde,
        value_serde=given.value_serde or value_serde,
        logging_enabled=given.logging_enabled,
        caching_enabled=given.caching_enabled and not given.versioned,  # which updates are newest would be lost
        topic_config=dict(given.topic_config),
        history_retention_ms=given.history_retention_ms,
        segment_interval_ms=given.segment_interval_ms,
        engine=given.engine,
    )


class KTable(Generic[K, V]):
    """A table. Each method hangs a node below this one and gives the table, or the stream, that comes out."""

    def __init__(
        self,
        graph: Graph,
        name: str,
        key_serde: Serde[Any] | None,
        value_serde: Serde[Any] | None,
        source_nodes: set[str],
        queryable_store_name: str | None,
        supplier: TableSupplier,
        node: GraphNode,
    ) -> None:
        self.graph = graph
        self.name = name
        self.key_serde = key_serde
        self.value_serde = value_serde
        self.source_nodes = source_nodes
        self.queryable_store_name = queryable_store_name
        """The store to query, None when the table was not given a name."""
        self.supplier = supplier
        self.node = node

    def enable_sending_old_values(self, force: bool = True) -> bool:
        """Let the table hand on old values too."""
        return self.supplier.enable_sending_old_values(force)

    def getter(self) -> GetterSupplier:
        """How the table's values are got by key."""
        return self.supplier.view()

    def _store(
        self, materialized: Materialized | None, prefix: str, value_serde: Serde[Any] | None
    ) -> StoreBuilder | None:
        if materialized is None:
            return None
        if materialized.name is None:
            self.graph.new_store_name(prefix)  # a number is taken, a store is not made
            return None
        return table_store(materialized, materialized.name, self.key_serde, value_serde)

    def _below(
        self,
        prefix: str,
        named: str | None,
        supplier: TableSupplier,
        store: StoreBuilder | None,
        value_serde: Serde[Any] | None,
        materialized: Materialized | None,
        stores: Iterable[str] = (),
    ) -> KTable[Any, Any]:
        check_name(named)
        name = self.graph.name(named, prefix)
        names = tuple(stores)
        node = ProcessorGraphNode(name, supplier, lambda: names)
        if materialized is not None:
            node.output_versioned = materialized.versioned
        self.graph.add(self.node, node)
        key_serde = (materialized.key_serde if materialized else None) or self.key_serde
        queryable = None if store is None else store.name
        return KTable(self.graph, name, key_serde, value_serde, self.source_nodes, queryable, supplier, node)

    def filter(
        self, predicate: Callable[[K, V], bool], materialized: Materialized | None = None, named: str | None = None
    ) -> KTable[K, V]:
        """The rows for which the predicate is true; others are deleted."""
        return self._filter(predicate, materialized, named, negated=False)

    def filter_not(
        self, predicate: Callable[[K, V], bool], materialized: Materialized | None = None, named: str | None = None
    ) -> KTable[K, V]:
        """The rows for which the predicate is false; others are deleted."""
        return self._filter(predicate, materialized, named, negated=True)

    def _filter(
        self,
        predicate: Callable[[K, V], bool],
        materialized: Materialized | None,
        named: str | None,
        *,
        negated: bool,
    ) -> KTable[K, V]:
        prefix = "KTABLE-FILTER-"
        value_serde = (materialized.value_serde if materialized else None) or self.value_serde
        store = self._store(materialized, prefix, value_serde)
        supplier = TableFilter(self.supplier, predicate, store, negated=negated)
        return self._below(prefix, named, supplier, store, value_serde, materialized)

    def map_values(
        self, mapper: Callable[[V], V2], materialized: Materialized | None = None, named: str | None = None
    ) -> KTable[K, V2]:
        """Another value for each row."""
        return self.map_values_with_key(lambda _, value: mapper(value), materialized, named)

    def map_values_with_key(
        self, mapper: Callable[[K, V], V2], materialized: Materialized | None = None, named: str | None = None
    ) -> KTable[K, V2]:
        """Another value for each row, from its key and value."""
        prefix = "KTABLE-MAPVALUES-"
        value_serde = materialized.value_serde if materialized else None
        store = self._store(materialized, prefix, value_serde)
        supplier = TableMapValues(self.supplier, mapper, store)
        return self._below(prefix, named, supplier, store, value_serde, materialized)

    def transform_values(
        self,
        supplier: Callable[[], ValueTransformer[K, V, V2]],
        stores: Iterable[str] = (),
        materialized: Materialized | None = None,
        named: str | None = None,
    ) -> KTable[K, V2]:
        """Another value for each row, by a transformer with stores of its own."""
        value_serde = materialized.value_serde if materialized else None
        store = None
        if materialized is not None and materialized.name is not None:
            store = table_store(materialized, materialized.name, self.key_serde, value_serde)
        made = TableTransformValues(self.supplier, supplier, store)
        return self._below("KTABLE-TRANSFORMVALUES-", named, made, store, value_serde, materialized, stores)

    @overload
    def to_stream(self, named: str | None = None) -> KStream[K, V]: ...

    @overload
    def to_stream(self, named: str | None = None, *, mapper: Callable[[K, V], K2]) -> KStream[K2, V]: ...

    def to_stream(self, named: str | None = None, *, mapper: Callable[[K, V], K2] | None = None) -> KStream[Any, V]:
        """The changes as a stream, under the key that ``mapper`` makes of key and value."""
        check_name(named)
        stream = self._to_stream(named)
        return stream if mapper is None else stream.select_key(mapper)

    def _to_stream(self, named: str | None) -> KStream[K, V]:
        name = self.graph.name(named, "KTABLE-TOSTREAM-")
        node = ProcessorGraphNode(name, PlainSupplier(lambda: MapValuesNode(_new_value)))
        self.graph.add(self.node, node)
        return KStream(self.graph, name, self.key_serde, self.value_serde, self.source_nodes, False, node)

    def group_by(
        self, mapper: Callable[[K, V], tuple[K2, V2]], grouped: Grouped | None = None
    ) -> KGroupedTable[K2, V2]:
        """By another key, through a repartition topic: old values are taken out of the group they were in."""
        from engine.streams.kgrouped import KGroupedTable
        from engine.streams.processors.aggregate import TableRepartitionMap

        given = grouped or Grouped()
        check_name(given.name)
        name = self.graph.name(given.name, "KTABLE-SELECT-")
        node = ProcessorGraphNode(name, TableRepartitionMap(mapper))
        self.graph.add(self.node, node)
        self.enable_sending_old_values(True)
        return KGroupedTable(self.graph, given, node)

    def join(
        self,
        other: KTable[K, V2],
        joiner: Callable[[V, V2], V3],
        materialized: Materialized | None = None,
        named: str | None = None,
    ) -> KTable[K, V3]:
        """Rows of both tables by key; a key that one of them lacks is left out."""
        from engine.streams.joining import join_tables

        return join_tables(self, other, joiner, materialized, named, left=False, outer=False)

    def left_join(
        self,
        other: KTable[K, V2],
        joiner: Callable[[V, V2 | None], V3],
        materialized: Materialized | None = None,
        named: str | None = None,
    ) -> KTable[K, V3]:
        """Rows of this table with the other's of the same key, or None."""
        from engine.streams.joining import join_tables

        return join_tables(self, other, joiner, materialized, named, left=True, outer=False)

    def outer_join(
        self,
        other: KTable[K, V2],
        joiner: Callable[[V | None, V2 | None], V3],
        materialized: Materialized | None = None,
        named: str | None = None,
    ) -> KTable[K, V3]:
        """Rows of either table, with None for what the other lacks."""
        from engine.streams.joining import join_tables

        return join_tables(self, other, joiner, materialized, named, left=True, outer=True)

    def join_on_foreign_key(
        self,
        other: KTable[K2, V2],
        foreign_key: Callable[..., K2 | None],
        joiner: Callable[[V, V2], V3],
        materialized: Materialized | None = None,
        joined: TableJoined | None = None,
        *,
        with_key: bool = False,
    ) -> KTable[K, V3]:
        """Rows of this table with the other's row of a key that the value names (``with_key``: key and value)."""
        from engine.streams.foreign_key_joining import join_on_foreign_key

        wanted = joined or TableJoined()
        return join_on_foreign_key(
            self, other, foreign_key, joiner, materialized, wanted, left=False, with_key=with_key
        )

    def left_join_on_foreign_key(
        self,
        other: KTable[K2, V2],
        foreign_key: Callable[..., K2 | None],
        joiner: Callable[[V, V2 | None], V3],
        materialized: Materialized | None = None,
        joined: TableJoined | None = None,
        *,
        with_key: bool = False,
    ) -> KTable[K, V3]:
        """The same, with None for what the other table lacks."""
        from engine.streams.foreign_key_joining import join_on_foreign_key

        wanted = joined or TableJoined()
        return join_on_foreign_key(self, other, foreign_key, joiner, materialized, wanted, left=True, with_key=with_key)

    def suppress(self, suppressed: Suppressed) -> KTable[K, V]:
        """Hold changes back: until their window is closed, or for some time."""
        from engine.streams.suppressed import suppress

        return suppress(self, suppressed)


def _new_value(change: tuple[Any, Any]) -> Any:
    return change[0]


class GlobalKTable(Generic[K, V]):
    """A table that every worker has whole. Streams join it (:meth:`KStream.join_global`)."""

    def __init__(self, store_name: str, queryable_store_name: str | None) -> None:
        self.store_name = store_name
        self.queryable_store_name = queryable_store_name

    def getter(self) -> GetterSupplier:
        """How the table's values are got by key."""
        return store_getter(self.store_name)
