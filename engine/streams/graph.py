"""The graph that the DSL builds before there is a topology (Kafka's ``InternalStreamsBuilder`` and ``GraphNode``).

The DSL's calls make graph nodes and take numbers for names in the order in which they are made; the topology is
written from the graph at the end, when it is known which tables need a store. The order of names and of writing is
Kafka's, or names and ``describe()`` would differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Any

from engine.streams.errors import TopologyError
from engine.streams.processors.stateless import FilterNode
from engine.streams.processors.table_supplier import PlainSupplier, Supplier
from engine.streams.serdes import Serde
from engine.streams.topology import SinkSpec, StreamPartitioner, Topology


class GraphNode:
    """A node of the graph. ``write`` puts it into the topology, given the names of its parents."""

    def __init__(self, name: str, write: Callable[[Topology, tuple[str, ...]], None] | None = None) -> None:
        self.name = name
        self.parents: list[GraphNode] = []
        self.children: list[GraphNode] = []
        self.priority = 0
        self.written = False
        self.key_changing = False
        self.value_changing = False
        self.is_merge = False
        self.relaxed_null_key_join = False
        self.grace_ms: int | None = None
        """Grace of a windowed aggregation or join, for suppress."""
        self.session_gap_ms: int | None = None
        self.output_versioned: bool | None = None
        """Whether the node's table is in a versioned store; None leaves it to its parents."""
        self._reads_versions: bool | None = None
        self._write = write

    def write(self, topology: Topology) -> None:
        """Put the node into the topology."""
        if self._write is not None:
            self._write(topology, tuple(parent.name for parent in self.parents))

    def is_versioned(self) -> bool:
        """Whether what comes out is a versioned table (KIP-914): its own store is one, or its parents are."""
        if self.output_versioned is not None:
            return self.output_versioned
        return self.reads_versions()

    def reads_versions(self) -> bool:
        """Whether all parents are versioned tables. Asked when the topology is written: parents are settled then."""
        if self._reads_versions is None:
            self._reads_versions = bool(self.parents) and all(parent.is_versioned() for parent in self.parents)
        return self._reads_versions

    def add_child(self, child: GraphNode) -> None:
        """Hang a node below this one."""
        if child not in self.children:
            self.children.append(child)
        if self not in child.parents:
            child.parents.append(self)

    def remove_child(self, child: GraphNode) -> None:
        """Take a node from below this one."""
        self.children.remove(child)
        child.parents.remove(self)


def add_processor(topology: Topology, supplier: Supplier, name: str, parents: tuple[str, ...]) -> None:
    """A processor node with the stores it brings."""
    topology.add_node(name, supplier.make, *parents, record_by_record=supplier.record_by_record)
    for builder in supplier.stores():
        topology.add_state_store(builder, name)


class ProcessorGraphNode(GraphNode):
    """A processor, connected to stores that others bring."""

    def __init__(self, name: str, supplier: Supplier, stores: Callable[[], Iterable[str]] | None = None) -> None:
        super().__init__(name, self._put)
        self.supplier = supplier
        self._stores = stores

    def _put(self, topology: Topology, parents: tuple[str, ...]) -> None:
        self.supplier.reads_versions = any(parent.is_versioned() for parent in self.parents)
        add_processor(topology, self.supplier, self.name, parents)
        if self._stores is not None:
            names = tuple(self._stores())
            if names:
                topology.connect_processor_and_state_stores(self.name, *names)


class SourceGraphNode(GraphNode):
    """A source of a stream. Two that read the same become one when the topology is built."""

    def __init__(self, name: str, topics: tuple[str, ...], pattern: str | None, **options: Any) -> None:
        super().__init__(name, self._put)
        self.topics = topics
        self.pattern = pattern
        self.options = options

    def _put(self, topology: Topology, parents: tuple[str, ...]) -> None:
        topology.add_source(self.name, *self.topics, pattern=self.pattern, **self.options)

    def merge(self, other: SourceGraphNode) -> None:
        """Take the children of another source that reads the same."""
        mine, theirs = self.options.get("offset_reset"), other.options.get("offset_reset")
        if mine != theirs:
            raise TopologyError(
                f"Can't configure different offset reset policies on the same "
                f"input topic(s): {self.topics or self.pattern}"
            )
        for which in ("key_serde", "value_serde", "timestamp_extractor"):
            if self.options.get(which) is None:
                self.options[which] = other.options.get(which)
        for child in list(other.children):
            other.remove_child(child)
            self.add_child(child)


class RepartitionGraphNode(GraphNode):
    """Through a repartition topic: a filter, a sink and a source. Optimizable ones may be merged."""

    def __init__(
        self,
        source_name: str,
        sink_name: str,
        filter_name: str | None,
        topic: str,
        key_serde: Serde[Any] | None,
        value_serde: Serde[Any] | None,
        *,
        partitioner: StreamPartitioner | None = None,
        partitions: int | None = None,
        optimizable: bool = True,
    ) -> None:
        super().__init__(source_name, self._put)
        self.sink_name = sink_name
        self.filter_name = filter_name
        self.topic = topic
        self.key_serde = key_serde
        self.value_serde = value_serde
        self.partitioner = partitioner
        self.partitions = partitions
        self.optimizable = optimizable
        self.keeps_null_keys = True

    def _put(self, topology: Topology, parents: tuple[str, ...]) -> None:
        topology.add_internal_topic(self.topic, self.partitions)
        above = parents
        if self.filter_name is not None:
            keep = _everything if self.keeps_null_keys else _with_a_key
            add_processor(topology, PlainSupplier(lambda: FilterNode(keep)), self.filter_name, parents)
            above = (self.filter_name,)
        topology.add_sink(
            self.sink_name,
            self.topic,
            *above,
            key_serde=self.key_serde,
            value_serde=self.value_serde,
            partitioner=self.partitioner,
        )
        topology.add_source(self.name, self.topic, key_serde=self.key_serde, value_serde=self.value_serde)


def _everything(key: Any, value: Any) -> bool:
    return True


def _with_a_key(key: Any, value: Any) -> bool:
    return key is not None


class StreamJoinGraphNode(GraphNode):
    """A join of two streams, below the nodes that keep their records."""

    def __init__(
        self, name: str, write: Callable[[Topology, tuple[str, ...]], None], this: GraphNode, other: GraphNode
    ) -> None:
        super().__init__(name, write)
        self.is_self_join = False
        """Whether one store serves both sides, as both are one stream."""
        self._this, self._other = this, other

    def use_one_store(self) -> None:
        """Keep the records once when both sides are one stream (``single.store.self.join``)."""
        if len(self.parents) == 1:
            self.parents[0].remove_child(self._other)
            self.is_self_join = True


class SinkGraphNode(GraphNode):
    """A sink."""

    def __init__(self, spec: SinkSpec) -> None:
        super().__init__(spec.name, self._put)
        self.spec = spec

    def _put(self, topology: Topology, parents: tuple[str, ...]) -> None:
        spec = self.spec
        target = spec.topic if spec.topic is not None else spec.topic_extractor
        assert target is not None
        topology.add_sink(
            self.name,
            target,
            *parents,
            key_serde=spec.key_serde,
            value_serde=spec.value_serde,
            partitioner=spec.partitioner,
        )


class Graph:
    """The graph of one StreamsBuilder, and its counter for names."""

    def __init__(self) -> None:
        self.topology = Topology()
        self.root = GraphNode("root")
        self.reuse_source_topics = False
        self.merge_repartition_topics = False
        self.single_store_self_join = False
        self._added: list[GraphNode] = []
        self._index = 0
        self._priority = 0
        self._built = False

    def new_processor_name(self, prefix: str) -> str:
        """``KSTREAM-MAP-0000000007``."""
        name = f"{prefix}{self._index:010d}"
        self._index += 1
        return name

    def new_store_name(self, prefix: str) -> str:
        """``KSTREAM-AGGREGATE-STATE-STORE-0000000003``."""
        return self.new_processor_name(f"{prefix}STATE-STORE-")

    def name(self, given: str | None, prefix: str) -> str:
        """The name that was given, or a new one. A number is taken in either case."""
        made = self.new_processor_name(prefix)
        return made if given is None else given

    def suffixed(self, given: str | None, suffix: str, prefix: str) -> str:
        """The given name with ``suffix``, or a new one with ``prefix``. A number is taken in either case."""
        if given is None:
            return self.new_processor_name(prefix)
        self._index += 1
        return given + suffix

    def add(self, parents: GraphNode | Iterable[GraphNode], child: GraphNode) -> None:
        """Hang a node below others."""
        for parent in [parents] if isinstance(parents, GraphNode) else list(parents):
            parent.add_child(child)
            child.priority = self._priority
            self._priority += 1
            self._added.append(child)

    def build(self) -> Topology:
        """Write the topology. Once: the graph is used up."""
        if self._built:
            return self.topology
        self._built = True
        self._merge_sources()
        if self.merge_repartition_topics:
            from engine.streams.merging import merge_repartition_topics

            merge_repartition_topics(self, self._added)
        if self.single_store_self_join:
            self._use_one_store()
        self._drop_null_keys()
        waiting: list[tuple[int, int, GraphNode]] = [(0, 0, self.root)]
        order = 0
        while waiting:
            _, _, node = heappop(waiting)
            if not node.written and all(parent.written for parent in node.parents):
                node.write(self.topology)
                node.written = True
            for child in node.children:
                order += 1
                heappush(waiting, (child.priority, order, child))
        self.topology.validate_copartition()
        return self.topology

    def _merge_sources(self) -> None:
        by_topic: dict[str, SourceGraphNode] = {}
        by_pattern: dict[str, SourceGraphNode] = {}
        for node in list(self.root.children):
            if not isinstance(node, SourceGraphNode):
                continue
            if node.pattern is not None:
                main = by_pattern.setdefault(node.pattern, node)
                if main is not node:
                    main.merge(node)
                    self.root.remove_child(node)
                continue
            for topic in node.topics:
                main = by_topic.setdefault(topic, node)
                if main is not node:
                    if main.topics != node.topics:
                        raise TopologyError(
                            "Two source nodes are subscribed to overlapping but not equal input topics: "
                            f"{', '.join(main.topics)} and {', '.join(node.topics)}"
                        )
                    main.merge(node)
                    self.root.remove_child(node)
                    break

    def _use_one_store(self) -> None:
        for node in dict.fromkeys(self._added):
            if isinstance(node, StreamJoinGraphNode):
                node.use_one_store()

    def _drop_null_keys(self) -> None:
        # A record without a key is of use behind a repartition topic only where a left join lets it pass.
        seen: set[int] = set()
        kept: set[int] = set()

        def walk(node: GraphNode) -> None:
            if id(node) in seen:
                return
            for child in node.children:
                walk(child)
                if child.relaxed_null_key_join or id(child) in kept:
                    kept.add(id(node))
            seen.add(id(node))
            if isinstance(node, RepartitionGraphNode) and id(node) not in kept:
                node.keeps_null_keys = False

        walk(self.root)
