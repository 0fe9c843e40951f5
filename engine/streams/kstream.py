"""``KStream``: a stream of records."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from engine.streams.errors import TopologyError
from engine.streams.graph import Graph, GraphNode, ProcessorGraphNode, RepartitionGraphNode, SinkGraphNode
from engine.streams.params import Grouped, Joined, Materialized, Produced, Repartitioned, StreamJoined, check_name
from engine.streams.printed import Printed, PrintNode
from engine.streams.processors.node import Node, PassThrough
from engine.streams.processors.stateless import (
    BranchNode,
    FilterNode,
    FilterNotNode,
    FlatMapNode,
    FlatMapValuesNode,
    ForeachNode,
    MapNode,
    MapValuesNode,
    MapValuesWithKeyNode,
    PeekNode,
    SelectKeyNode,
)
from engine.streams.processors.table_supplier import PlainSupplier
from engine.streams.processors.tables import TableSource
from engine.streams.serdes import Serde
from engine.streams.topology import SinkSpec, TopicNameExtractor

if TYPE_CHECKING:
    from engine.streams.kgrouped import KGroupedStream
    from engine.streams.ktable import GlobalKTable, KTable
    from engine.streams.processor_api import FixedKeyProcessor, Processor
    from engine.streams.windows import JoinWindows

K = TypeVar("K")
V = TypeVar("V")
K2 = TypeVar("K2")
V2 = TypeVar("V2")
V3 = TypeVar("V3")

SOURCE_NAME = "KSTREAM-SOURCE-"
SINK_NAME = "KSTREAM-SINK-"
_FILTER_NAME = "KSTREAM-FILTER-"
_GENERATED = re.compile(r"KSTREAM.*-[0-9]{10}")


class KStream(Generic[K, V]):
    """A stream: every record counts by itself. Each method hangs a node below this one and gives what comes out."""

    def __init__(
        self,
        graph: Graph,
        name: str,
        key_serde: Serde[Any] | None,
        value_serde: Serde[Any] | None,
        source_nodes: set[str],
        repartition_required: bool,
        node: GraphNode,
    ) -> None:
        self.graph = graph
        self.name = name
        self.key_serde = key_serde
        self.value_serde = value_serde
        self.source_nodes = source_nodes
        self.repartition_required = repartition_required
        self.node = node
        self._repartitioned: RepartitionGraphNode | None = None

    def _below(
        self,
        prefix: str,
        named: str | None,
        factory: Callable[[], Node],
        *,
        key_changing: bool = False,
        value_changing: bool = False,
    ) -> KStream[Any, Any]:
        check_name(named)
        name = self.graph.name(named, prefix)
        node = ProcessorGraphNode(name, PlainSupplier(factory))
        node.key_changing, node.value_changing = key_changing, value_changing
        self.graph.add(self.node, node)
        return KStream(
            self.graph,
            name,
            None if key_changing else self.key_serde,
            None if value_changing else self.value_serde,
            self.source_nodes,
            key_changing or self.repartition_required,
            node,
        )

    # Without state.

    def filter(self, predicate: Callable[[K, V], bool], named: str | None = None) -> KStream[K, V]:
        """The records for which the predicate is true."""
        return self._below(_FILTER_NAME, named, lambda: FilterNode(predicate))

    def filter_not(self, predicate: Callable[[K, V], bool], named: str | None = None) -> KStream[K, V]:
        """The records for which the predicate is false."""
        return self._below(_FILTER_NAME, named, lambda: FilterNotNode(predicate))

    def map(self, mapper: Callable[[K, V], tuple[K2, V2]], named: str | None = None) -> KStream[K2, V2]:
        """Another key and value for each record. The key changes: grouping or joining will repartition."""
        stream = self._below("KSTREAM-MAP-", named, lambda: MapNode(mapper), key_changing=True)
        stream.value_serde = None
        return stream

    def map_values(self, mapper: Callable[[V], V2], named: str | None = None) -> KStream[K, V2]:
        """Another value for each record."""
        return self._below("KSTREAM-MAPVALUES-", named, lambda: MapValuesNode(mapper), value_changing=True)

    def map_values_with_key(self, mapper: Callable[[K, V], V2], named: str | None = None) -> KStream[K, V2]:
        """Another value for each record, from its key and value."""
        return self._below("KSTREAM-MAPVALUES-", named, lambda: MapValuesWithKeyNode(mapper), value_changing=True)

    def map_values_async(
        self,
        mapper: Callable[[K, V], Awaitable[V2]],
        concurrency: int = 16,
        timeout_s: float | None = None,
        named: str | None = None,
    ) -> KStream[K, V2]:
        """Another value for each record, by a coroutine of key and value: a look-up in a service, say.

        Up to ``concurrency`` run at once; those of one key follow one another, and the order of records stays. One that
        takes longer than ``timeout_s`` fails its record. Ours: Kafka Streams has nothing like it.
        """
        from engine.streams.processors.async_values import AsyncMapValues

        check_name(named)
        name = self.graph.name(named, "KSTREAM-MAPVALUES-ASYNC-")
        node = ProcessorGraphNode(name, AsyncMapValues(mapper, concurrency, timeout_s))
        node.value_changing = True
        self.graph.add(self.node, node)
        return KStream(self.graph, name, self.key_serde, None, self.source_nodes, self.repartition_required, node)

    def flat_map(self, mapper: Callable[[K, V], Iterable[tuple[K2, V2]]], named: str | None = None) -> KStream[K2, V2]:
        """Any number of keys and values for each record."""
        stream = self._below("KSTREAM-FLATMAP-", named, lambda: FlatMapNode(mapper), key_changing=True)
        stream.value_serde = None
        return stream

    def flat_map_values(self, mapper: Callable[[V], Iterable[V2]], named: str | None = None) -> KStream[K, V2]:
        """Any number of values for each record."""
        return self.flat_map_values_with_key(lambda _, value: mapper(value), named)

    def flat_map_values_with_key(
        self, mapper: Callable[[K, V], Iterable[V2]], named: str | None = None
    ) -> KStream[K, V2]:
        """Any number of values for each record, from its key and value."""
        return self._below("KSTREAM-FLATMAPVALUES-", named, lambda: FlatMapValuesNode(mapper), value_changing=True)

    def select_key(self, mapper: Callable[[K, V], K2], named: str | None = None) -> KStream[K2, V]:
        """Another key for each record."""
        return self._below("KSTREAM-KEY-SELECT-", named, lambda: SelectKeyNode(mapper), key_changing=True)

    def peek(self, action: Callable[[K, V], object], named: str | None = None) -> KStream[K, V]:
        """Show each record to a function, and go on with it."""
        return self._below("KSTREAM-PEEK-", named, lambda: PeekNode(action))

    def foreach(self, action: Callable[[K, V], object], named: str | None = None) -> None:
        """Show each record to a function: the end of the stream."""
        self._below("KSTREAM-FOREACH-", named, lambda: ForeachNode(action))

    def print(self, printed: Printed) -> None:
        """Print each record: the end of the stream."""
        check_name(printed.name)
        label = printed.label or self.name
        name = self.graph.name(printed.name, "KSTREAM-PRINTER-")
        self.graph.add(self.node, ProcessorGraphNode(name, PlainSupplier(lambda: PrintNode(printed, label))))

    def merge(self, other: KStream[K, V], named: str | None = None) -> KStream[K, V]:
        """The records of both streams, in no order between them."""
        name = self.graph.name(named, "KSTREAM-MERGE-")
        node = ProcessorGraphNode(name, PlainSupplier(PassThrough))
        node.is_merge = True
        self.graph.add([self.node, other.node], node)
        sources = self.source_nodes | other.source_nodes
        required = self.repartition_required or other.repartition_required
        return KStream(self.graph, name, None, None, sources, required, node)

    def split(self, named: str | None = None) -> BranchedKStream[K, V]:
        """Branches: each record goes to the first whose predicate is true."""
        return BranchedKStream(self, named)

    # Through topics.

    def to(self, topic: str | TopicNameExtractor, produced: Produced | None = None) -> None:
        """Write the stream to a topic, or to the topic that a function of key, value and metadata says."""
        produced = produced or Produced()
        name = self.graph.name(produced.name, SINK_NAME)
        fixed, extractor = (topic, None) if isinstance(topic, str) else (None, topic)
        spec = SinkSpec(
            name,
            (),
            fixed,
            extractor,
            produced.key_serde or self.key_serde,
            produced.value_serde or self.value_serde,
            produced.partitioner,
        )
        self.graph.add(self.node, SinkGraphNode(spec))

    def repartition(self, repartitioned: Repartitioned | None = None) -> KStream[K, V]:
        """Write the stream to a topic of the application's own and read it back, by partition of its new keys."""
        wanted = repartitioned or Repartitioned()
        check_name(wanted.name)
        name = wanted.name if wanted.name is not None else self.graph.new_processor_name("KSTREAM-REPARTITION-")
        node = repartition_node(
            self.graph,
            name,
            wanted.key_serde or self.key_serde,
            wanted.value_serde or self.value_serde,
            optimizable=False,
        )
        node.partitioner, node.partitions = wanted.partitioner, wanted.partitions
        self.graph.add(self.node, node)
        return KStream(self.graph, node.name, node.key_serde, node.value_serde, {node.name}, False, node)

    def repartition_for_join(
        self, name: str, key_serde: Serde[Any] | None, value_serde: Serde[Any] | None
    ) -> KStream[K, V]:
        """The stream behind a repartition topic, made once for all joins under the same name."""
        made = repartition_node(self.graph, name, key_serde or self.key_serde, value_serde or self.value_serde)
        if self._repartitioned is None or name != self.name:
            self._repartitioned = made
            self.graph.add(self.node, made)
        node = self._repartitioned
        return KStream(self.graph, made.name, node.key_serde, node.value_serde, {made.name}, False, node)

    # Grouping and tables.

    def group_by_key(self, grouped: Grouped | None = None) -> KGroupedStream[K, V]:
        """By the key the records have."""
        from engine.streams.kgrouped import KGroupedStream

        return KGroupedStream(self, self._grouped(grouped, self.key_serde), self.repartition_required)

    def group_by(self, mapper: Callable[[K, V], K2], grouped: Grouped | None = None) -> KGroupedStream[K2, V]:
        """By another key, through a repartition topic."""
        from engine.streams.kgrouped import KGroupedStream

        wanted = self._grouped(grouped, None)
        stream = self._below("KSTREAM-KEY-SELECT-", wanted.name, lambda: SelectKeyNode(mapper), key_changing=True)
        return KGroupedStream(stream, wanted, True)

    def _grouped(self, grouped: Grouped | None, key_serde: Serde[Any] | None) -> Grouped:
        given = grouped or Grouped()
        check_name(given.name)
        return Grouped(
            key_serde=given.key_serde or key_serde,
            value_serde=given.value_serde or self.value_serde,
            name=given.name,
        )

    def to_table(self, materialized: Materialized | None = None, named: str | None = None) -> KTable[K, V]:
        """The stream as a table: the last value of each key."""
        from engine.streams.ktable import KTable, table_store

        graph = self.graph
        name = graph.name(named, "KSTREAM-TOTABLE-")
        store_name = (
            materialized.name if materialized and materialized.name else graph.new_store_name("KSTREAM-TOTABLE-")
        )
        given = materialized or Materialized()
        key_serde = given.key_serde or self.key_serde
        value_serde = given.value_serde or self.value_serde
        parent, sources = self.node, self.source_nodes
        if self.repartition_required:
            parent = repartition_node(graph, name, key_serde, value_serde)
            graph.add(self.node, parent)
            sources = {parent.name}
        source = TableSource(
            table_store(materialized, store_name, key_serde, value_serde), queryable=given.name is not None
        )
        node = ProcessorGraphNode(name, source)
        node.output_versioned = given.versioned
        graph.add(parent, node)
        return KTable(graph, name, key_serde, value_serde, sources, given.name, source, node)

    # Joins: engine.streams.joining has them. A joiner takes this stream's value and the other one, either of which may
    # be None where a left or outer join says so; ``with_key`` gives it the key before them.

    def join(
        self,
        other: KTable[K, V2],
        joiner: Callable[..., V3],
        joined: Joined | None = None,
        *,
        with_key: bool = False,
    ) -> KStream[K, V3]:
        """Each record with the table's value of its key; records whose key the table does not have are left out."""
        from engine.streams.joining import join_table

        return join_table(self, other, joiner, joined or Joined(), left=False, with_key=with_key)

    def left_join(
        self,
        other: KTable[K, V2],
        joiner: Callable[..., V3],
        joined: Joined | None = None,
        *,
        with_key: bool = False,
    ) -> KStream[K, V3]:
        """Each record with the table's value of its key, or None."""
        from engine.streams.joining import join_table

        return join_table(self, other, joiner, joined or Joined(), left=True, with_key=with_key)

    def join_global(
        self,
        table: GlobalKTable[K2, V2],
        key_selector: Callable[[K, V], K2],
        joiner: Callable[..., V3],
        named: str | None = None,
        *,
        with_key: bool = False,
    ) -> KStream[K, V3]:
        """Each record with the global table's value of any key that its key and value give."""
        from engine.streams.joining import join_global

        return join_global(self, table, key_selector, joiner, named, left=False, with_key=with_key)

    def left_join_global(
        self,
        table: GlobalKTable[K2, V2],
        key_selector: Callable[[K, V], K2],
        joiner: Callable[..., V3],
        named: str | None = None,
        *,
        with_key: bool = False,
    ) -> KStream[K, V3]:
        """The same, with None where the table has nothing."""
        from engine.streams.joining import join_global

        return join_global(self, table, key_selector, joiner, named, left=True, with_key=with_key)

    def join_stream(
        self,
        other: KStream[K, V2],
        joiner: Callable[..., V3],
        windows: JoinWindows,
        joined: StreamJoined | None = None,
        *,
        with_key: bool = False,
    ) -> KStream[K, V3]:
        """Pairs of records of both streams with the same key whose times are near enough."""
        from engine.streams.joining import join_streams

        return join_streams(
            self, other, joiner, windows, joined or StreamJoined(), left=False, outer=False, with_key=with_key
        )

    def left_join_stream(
        self,
        other: KStream[K, V2],
        joiner: Callable[..., V3],
        windows: JoinWindows,
        joined: StreamJoined | None = None,
        *,
        with_key: bool = False,
    ) -> KStream[K, V3]:
        """The same, and records of this stream alone once their window is closed."""
        from engine.streams.joining import join_streams

        return join_streams(
            self, other, joiner, windows, joined or StreamJoined(), left=True, outer=False, with_key=with_key
        )

    def outer_join_stream(
        self,
        other: KStream[K, V2],
        joiner: Callable[..., V3],
        windows: JoinWindows,
        joined: StreamJoined | None = None,
        *,
        with_key: bool = False,
    ) -> KStream[K, V3]:
        """The same, and records of either stream alone once their window is closed."""
        from engine.streams.joining import join_streams

        return join_streams(
            self, other, joiner, windows, joined or StreamJoined(), left=True, outer=True, with_key=with_key
        )

    # Processors of the user's.

    def process(
        self,
        supplier: Callable[[], Processor[K, V, K2, V2]],
        stores: Iterable[str] = (),
        named: str | None = None,
    ) -> KStream[K2, V2]:
        """A processor of the user's, with the stores it names; what it forwards is the new stream."""
        from engine.streams.processors.user import UserSupplier

        check_name(named)
        # Unlike other operators, a processor with a name of its own takes no number.
        name = named or self.graph.new_processor_name("KSTREAM-PROCESSOR-")
        names = tuple(stores)
        node = ProcessorGraphNode(name, UserSupplier(supplier), lambda: names)
        node.key_changing = True
        self.graph.add(self.node, node)
        return KStream(self.graph, name, None, None, self.source_nodes, True, node)

    def process_values(
        self,
        supplier: Callable[[], FixedKeyProcessor[K, V, V2]],
        stores: Iterable[str] = (),
        named: str | None = None,
    ) -> KStream[K, V2]:
        """A processor that cannot change keys, so that nothing is repartitioned after it."""
        from engine.streams.processors.user import FixedKeySupplier

        check_name(named)
        name = named or self.graph.new_processor_name("KSTREAM-PROCESSVALUES-")
        names = tuple(stores)
        node = ProcessorGraphNode(name, FixedKeySupplier(supplier), lambda: names)
        node.value_changing = True
        self.graph.add(self.node, node)
        return KStream(self.graph, name, self.key_serde, None, self.source_nodes, self.repartition_required, node)


def repartition_node(
    graph: Graph,
    prefix: str,
    key_serde: Serde[Any] | None,
    value_serde: Serde[Any] | None,
    *,
    optimizable: bool = True,
) -> RepartitionGraphNode:
    """A repartition topic ``<prefix>-repartition``; three numbers are taken whatever the names are."""
    topic = prefix if prefix.endswith("-repartition") else f"{prefix}-repartition"
    sink = graph.new_processor_name(SINK_NAME)
    null_filter = graph.new_processor_name(_FILTER_NAME)
    source = graph.new_processor_name(SOURCE_NAME)
    if not _GENERATED.fullmatch(prefix):
        sink, null_filter, source = f"{topic}-sink", f"{topic}-filter", f"{topic}-source"
    return RepartitionGraphNode(source, sink, null_filter, topic, key_serde, value_serde, optimizable=optimizable)


class BranchedKStream(Generic[K, V]):
    """A stream being split. ``branch`` adds a branch, ``default_branch`` or ``no_default_branch`` ends it."""

    def __init__(self, stream: KStream[K, V], named: str | None) -> None:
        check_name(named)
        graph = stream.graph
        self._stream = stream
        self._name = graph.name(named, "KSTREAM-BRANCH-")
        self._predicates: list[Callable[[Any, Any], bool]] = []
        self._names: list[str] = []
        self._outputs: dict[str, KStream[K, V]] = {}
        self._node = ProcessorGraphNode(self._name, PlainSupplier(lambda: BranchNode(self._predicates, self._names)))
        graph.add(stream.node, self._node)

    def branch(
        self,
        predicate: Callable[[K, V], bool],
        name: str | None = None,
        chain: Callable[[KStream[K, V]], KStream[K, V] | None] | None = None,
    ) -> BranchedKStream[K, V]:
        """The records for which no earlier predicate was true, and this one is.

        ``chain`` is called with the branch at once; what it returns, unless None, takes the branch's place.
        """
        self._predicates.append(predicate)
        self._add(name, len(self._predicates), chain)
        return self

    def default_branch(
        self, name: str | None = None, chain: Callable[[KStream[K, V]], KStream[K, V] | None] | None = None
    ) -> Mapping[str, KStream[K, V]]:
        """All other records; every branch by its full name, ``<split's name><branch's name or number>``."""
        self._add(name, 0, chain)
        return self._outputs

    def no_default_branch(self) -> Mapping[str, KStream[K, V]]:
        """Other records are left out; every branch by its full name."""
        return self._outputs

    def _add(
        self, name: str | None, number: int, chain: Callable[[KStream[K, V]], KStream[K, V] | None] | None
    ) -> None:
        stream = self._stream
        full = f"{self._name}{number if name is None else name}"
        if full in self._names:
            raise TopologyError(f"split {self._name}: there are two branches called {full}")
        self._names.append(full)
        stream.graph.new_processor_name(full)  # a number is taken
        node = ProcessorGraphNode(full, PlainSupplier(PassThrough))
        stream.graph.add(self._node, node)
        branch: KStream[K, V] = KStream(
            stream.graph,
            full,
            stream.key_serde,
            stream.value_serde,
            stream.source_nodes,
            stream.repartition_required,
            node,
        )
        if chain is None:
            self._outputs[full] = branch
        else:
            made = chain(branch)
            if made is not None:
                self._outputs[full] = made
