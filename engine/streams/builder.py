"""``StreamsBuilder``: where a topology of streams and tables begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.streams.errors import TopologyError
from engine.streams.graph import Graph, GraphNode, SourceGraphNode, add_processor
from engine.streams.kstream import SOURCE_NAME, KStream
from engine.streams.ktable import TABLE_SOURCE_NAME, GlobalKTable, KTable, table_store
from engine.streams.params import Consumed, Materialized, check_name
from engine.streams.processors.tables import TableSource
from engine.streams.stores.builders import StoreBuilder
from engine.streams.topology import Topology

if TYPE_CHECKING:
    from engine.streams.processor_api import Processor


class StreamsBuilder:
    """Makes streams and tables of topics, and the topology of all that hangs below them.

    builder = StreamsBuilder()
    words = builder.stream("lines", Consumed(key_serde=Serdes.string(), value_serde=Serdes.string()))
    words.flat_map_values(str.split).group_by(lambda _, word: word).count(Materialized("counts"))
    topology = builder.build()
    """

    def __init__(self) -> None:
        self._graph = Graph()

    def stream(
        self, topics: str | Iterable[str], consumed: Consumed | None = None, *, pattern: bool = False
    ) -> KStream[Any, Any]:
        """A stream of one topic, of several, or (``pattern``) of all whose name matches a regular expression."""
        consumed = consumed or Consumed()
        check_name(consumed.name)
        names = (topics,) if isinstance(topics, str) else tuple(topics)
        if not names or any(not name for name in names):
            raise TopologyError("stream(): give it the name of a topic, or a list of names")
        graph = self._graph
        name = graph.name(consumed.name, SOURCE_NAME)
        node = SourceGraphNode(
            name,
            () if pattern else names,
            names[0] if pattern else None,
            key_serde=consumed.key_serde,
            value_serde=consumed.value_serde,
            timestamp_extractor=consumed.timestamp_extractor,
            offset_reset=consumed.offset_reset,
        )
        graph.add(graph.root, node)
        return KStream(graph, name, consumed.key_serde, consumed.value_serde, {name}, False, node)

    def table(
        self, topic: str, consumed: Consumed | None = None, materialized: Materialized | None = None
    ) -> KTable[Any, Any]:
        """A topic as a table: the last value of each key; None deletes. Records without a key are dropped."""
        graph = self._graph
        # The store's name is taken first, as Kafka does.
        consumed, source = self._table_source(topic, consumed or Consumed(), materialized)
        source_name = graph.suffixed(consumed.name, "-source", SOURCE_NAME)
        name = graph.name(consumed.name, TABLE_SOURCE_NAME)

        def write(topology: Topology, parents: tuple[str, ...]) -> None:
            topology.add_source(
                source_name,
                topic,
                key_serde=consumed.key_serde,
                value_serde=consumed.value_serde,
                timestamp_extractor=consumed.timestamp_extractor,
                offset_reset=consumed.offset_reset,
            )
            if source.materialized and graph.reuse_source_topics:
                source.builder.with_logging_disabled()
                topology.restore_from_source(source.builder.name, topic)
            add_processor(topology, source, name, (source_name,))

        node = GraphNode(name, write)
        node.output_versioned = materialized is not None and materialized.versioned
        graph.add(graph.root, node)
        queryable = None if materialized is None else materialized.name
        return KTable(graph, name, consumed.key_serde, consumed.value_serde, {source_name}, queryable, source, node)

    def global_table(
        self, topic: str, consumed: Consumed | None = None, materialized: Materialized | None = None
    ) -> GlobalKTable[Any, Any]:
        """A topic as a table that every worker has whole: streams join it by any key, without repartitioning."""
        graph = self._graph
        if materialized is not None:
            materialized.refuse_versions("GlobalTables")
        consumed, source = self._table_source(topic, consumed or Consumed(), materialized)
        source.materialize()
        source_name = graph.suffixed(consumed.name, "-source", SOURCE_NAME)
        name = graph.name(consumed.name, TABLE_SOURCE_NAME)

        def write(topology: Topology, parents: tuple[str, ...]) -> None:
            topology.add_global_store(
                source.builder,
                source_name,
                topic,
                name,
                source.make,
                key_serde=consumed.key_serde,
                value_serde=consumed.value_serde,
                timestamp_extractor=consumed.timestamp_extractor,
            )

        graph.add(graph.root, GraphNode(name, write))
        return GlobalKTable(source.builder.name, None if materialized is None else materialized.name)

    def _table_source(
        self, topic: str, consumed: Consumed, materialized: Materialized | None
    ) -> tuple[Consumed, TableSource]:
        check_name(consumed.name)
        graph = self._graph
        builder = table_store(
            materialized,
            materialized.name if materialized and materialized.name else graph.new_store_name(f"{topic}-"),
            consumed.key_serde,
            consumed.value_serde,
        )
        if materialized is not None and (consumed.key_serde is None or consumed.value_serde is None):
            consumed = replace(
                consumed,
                key_serde=consumed.key_serde or materialized.key_serde,
                value_serde=consumed.value_serde or materialized.value_serde,
            )
        return consumed, TableSource(builder, queryable=materialized is not None and materialized.name is not None)

    def add_state_store(self, builder: StoreBuilder) -> StreamsBuilder:
        """A store for processors, which name it when they are added (``process(…, stores=[…])``)."""
        self._graph.add(self._graph.root, GraphNode(builder.name, lambda topology, _: _put_store(topology, builder)))
        return self

    def add_global_store(
        self,
        builder: StoreBuilder,
        topic: str,
        consumed: Consumed | None,
        supplier: Callable[[], Processor[Any, Any, Any, Any]],
    ) -> StreamsBuilder:
        """A store that every worker fills with the whole of ``topic``, by a processor of the user's."""
        from engine.streams.processors.user import UserProcessorNode

        consumed = consumed or Consumed()
        graph = self._graph
        source_name = graph.suffixed(consumed.name, "-source", SOURCE_NAME)
        name = graph.name(consumed.name, TABLE_SOURCE_NAME)

        def write(topology: Topology, parents: tuple[str, ...]) -> None:
            topology.add_global_store(
                builder,
                source_name,
                topic,
                name,
                lambda: UserProcessorNode(supplier()),
                key_serde=consumed.key_serde,
                value_serde=consumed.value_serde,
                timestamp_extractor=consumed.timestamp_extractor,
            )

        graph.add(graph.root, GraphNode(name, write))
        return self

    def build(self, optimize: str = "none") -> Topology:
        """The topology. ``optimize`` is Kafka's ``topology.optimization``: ``none``, ``all`` or words with commas.

        ``reuse.ktable.source.topics`` restores tables from their source topics, not from changelogs;
        ``merge.repartition.topics`` writes one repartition topic where several would hold the same;
        ``single.store.self.join`` keeps the records of a stream that is joined with itself once. ``all`` is all three.

        Raises:
            TopologyError: a word is unknown, or ``none`` or ``all`` is not alone.
        """
        words = {word.strip() for word in optimize.split(",")}
        three = {"reuse.ktable.source.topics", "merge.repartition.topics", "single.store.self.join"}
        if words <= {"all", "none"} and len(words) == 1:
            words = three if words == {"all"} else set()
        if words - three:
            raise TopologyError(
                f"topology.optimization: {optimize!r} is not valid: none, all, or a list of {', '.join(sorted(three))}"
            )
        self._graph.reuse_source_topics = "reuse.ktable.source.topics" in words
        self._graph.merge_repartition_topics = "merge.repartition.topics" in words
        self._graph.single_store_self_join = "single.store.self.join" in words
        return self._graph.build()


def _put_store(topology: Topology, builder: StoreBuilder) -> None:
    topology.add_state_store(builder)
