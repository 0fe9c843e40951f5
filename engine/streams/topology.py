"""A topology: sources, processors, sinks and stores, and how they hang together.

This is Kafka Streams' ``Topology`` (the processor API's way to build one) and its ``InternalTopologyBuilder`` in one:
what a :class:`~engine.streams.builder.StreamsBuilder` builds comes out as a Topology too. It is a description; tasks
make running nodes of it (:mod:`engine.streams.task`).

Nodes that are joined by an edge or share a store are one *sub-topology*. Each of its tasks takes one partition of its
source topics. Sub-topologies speak to each other through repartition topics, ``<application.id>-<name>-repartition``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from engine.streams.errors import TopologyError
from engine.streams.processors.node import NodeFactory
from engine.streams.records import RecordMetadata
from engine.streams.serdes import Serde
from engine.streams.stores.builders import CREATE_TIME, DAY_MS, StoreBuilder

if TYPE_CHECKING:
    from engine.streams.processor_api import Processor

TimestampExtractor: TypeAlias = Callable[[Any, int], int]
"""``(record, partition time) -> ms``; ``record`` is a ConsumedRecord. A negative time drops the record."""

TopicNameExtractor: TypeAlias = Callable[[Any, Any, RecordMetadata], str]
"""``(key, value, metadata) -> topic``."""

StreamPartitioner: TypeAlias = Callable[[str, Any, Any, int], int | None]
"""``(topic, key, value, number of partitions) -> partition``; None leaves it to the key's hash."""


@dataclass(slots=True)
class SourceSpec:
    """A source node. Either ``topics`` or ``pattern``; topics of internal topics are without the application's id."""

    name: str
    topics: tuple[str, ...] = ()
    pattern: str | None = None
    key_serde: Serde[Any] | None = None
    value_serde: Serde[Any] | None = None
    timestamp_extractor: TimestampExtractor | None = None
    offset_reset: str | None = None
    """``earliest``, ``latest``, ``none``, ``by_duration:PT1H``; None is the application's ``auto.offset.reset``."""
    predecessors: tuple[str, ...] = ()


@dataclass(slots=True)
class ProcessorSpec:
    """A processor node and the names of the stores it may use."""

    name: str
    predecessors: tuple[str, ...]
    factory: NodeFactory
    stores: list[str] = field(default_factory=list)
    record_by_record: bool = False
    """Whether it must be given its records singly: user code that may look at the task's time or at a store."""


@dataclass(slots=True)
class SinkSpec:
    """A sink node: a topic, or a function that says which."""

    name: str
    predecessors: tuple[str, ...]
    topic: str | None
    topic_extractor: TopicNameExtractor | None = None
    key_serde: Serde[Any] | None = None
    value_serde: Serde[Any] | None = None
    partitioner: StreamPartitioner | None = None


NodeSpec: TypeAlias = SourceSpec | ProcessorSpec | SinkSpec


@dataclass(slots=True, frozen=True)
class InternalTopic:
    """A topic that the application makes for itself. ``partitions`` None: as many as what feeds it."""

    name: str
    config: dict[str, str]
    partitions: int | None = None


@dataclass(slots=True, frozen=True)
class SubTopology:
    """One sub-topology under its application's id: topics are as they are called on the cluster."""

    id: int
    nodes: tuple[str, ...]
    source_topics: tuple[str, ...]
    source_patterns: tuple[str, ...]
    sink_topics: tuple[str, ...]
    repartition_sources: dict[str, InternalTopic]
    """Repartition topics that it reads."""
    repartition_sinks: tuple[str, ...]
    """Repartition topics that it writes."""
    changelogs: dict[str, InternalTopic]
    """Changelog topics of its stores. A source topic that serves as a changelog is not among them."""
    stores: tuple[str, ...]
    changelog_of_store: dict[str, str]
    """Every logged store's topic to restore from; a source topic where that serves."""
    copartition_groups: tuple[frozenset[str], ...]
    is_global: bool = False


class Topology:
    """Sources, processors, sinks and stores. All methods raise TopologyError when a name is taken or unknown."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeSpec] = {}
        self.store_builders: dict[str, StoreBuilder] = {}
        self.global_store_builders: dict[str, StoreBuilder] = {}
        self.global_topics: dict[str, str] = {}
        """Global store to the topic it is read from."""
        self.internal_topics: dict[str, int | None] = {}
        """Repartition topics (without the application's id) to the number of partitions the user asked for."""
        self.source_topic_of_store: dict[str, str] = {}
        """Stores whose changelog is their source topic."""
        self._users_of_store: dict[str, list[str]] = {}
        self._copartitioned: list[list[str]] = []
        self._parents: dict[str, str] = {}

    # The processor API's way.

    def add_source(
        self,
        name: str,
        *topics: str,
        pattern: str | None = None,
        key_serde: Serde[Any] | None = None,
        value_serde: Serde[Any] | None = None,
        timestamp_extractor: TimestampExtractor | None = None,
        offset_reset: str | None = None,
    ) -> Topology:
        """Read topics, or those whose whole name matches the regular expression ``pattern``."""
        self._new_name(name)
        if bool(topics) == (pattern is not None):
            raise TopologyError(f"source {name}: give it topics, or a pattern")
        for topic in topics:
            self._refuse_registered(topic)
        if pattern is not None:
            matcher = re.compile(pattern)
            for topic in self._registered_topics():
                if matcher.fullmatch(topic):
                    raise TopologyError(f"Pattern {pattern} will match a topic that another source reads: {topic}")
        self.nodes[name] = SourceSpec(name, topics, pattern, key_serde, value_serde, timestamp_extractor, offset_reset)
        return self

    def add_processor(
        self,
        name: str,
        supplier: Callable[[], Processor[Any, Any, Any, Any]],
        *parents: str,
        stores: Iterable[str] = (),
    ) -> Topology:
        """A processor of the user's; ``supplier`` is called once for each task."""
        from engine.streams.processors.user import UserProcessorNode

        self.add_node(name, lambda: UserProcessorNode(supplier()), *parents, record_by_record=True)
        for builder in getattr(supplier, "stores", list)():
            self.add_state_store(builder, name)
        if names := list(stores):
            self.connect_processor_and_state_stores(name, *names)
        return self

    def add_sink(
        self,
        name: str,
        topic: str | TopicNameExtractor,
        *parents: str,
        key_serde: Serde[Any] | None = None,
        value_serde: Serde[Any] | None = None,
        partitioner: StreamPartitioner | None = None,
    ) -> Topology:
        """Write to a topic, or to the one that a function says."""
        self._new_name(name)
        self._check_parents(name, parents)
        fixed, extractor = (topic, None) if isinstance(topic, str) else (None, topic)
        self.nodes[name] = SinkSpec(name, parents, fixed, extractor, key_serde, value_serde, partitioner)
        self._unite(name, parents)
        return self

    def add_state_store(self, builder: StoreBuilder, *processors: str) -> Topology:
        """A store, for these processors."""
        known = self.store_builders.get(builder.name)
        if known is not None and known is not builder:
            raise TopologyError(f"A different StateStore has already been added with the name {builder.name}")
        if builder.name in self.global_store_builders:
            raise TopologyError(f"A different GlobalStateStore has already been added with the name {builder.name}")
        self.store_builders[builder.name] = builder
        self._users_of_store.setdefault(builder.name, [])
        for processor in processors:
            self._connect(processor, builder.name)
        return self

    def connect_processor_and_state_stores(self, processor: str, *stores: str) -> Topology:
        """Let a processor use stores that were added before."""
        if not stores:
            raise TopologyError("stateStoreNames cannot be empty")
        for store in stores:
            self._connect(processor, store)
        return self

    def add_global_store(
        self,
        builder: StoreBuilder,
        source_name: str,
        topic: str,
        processor_name: str,
        factory: NodeFactory,
        *,
        key_serde: Serde[Any] | None = None,
        value_serde: Serde[Any] | None = None,
        timestamp_extractor: TimestampExtractor | None = None,
    ) -> Topology:
        """A store that every worker fills with the whole of ``topic``; ``factory`` makes the node that fills it."""
        self._refuse_registered(topic)
        self._new_name(source_name)
        self._new_name(processor_name)
        if source_name == processor_name:
            raise TopologyError("sourceName and processorName must be different.")
        if builder.name in self.store_builders or builder.name in self.global_store_builders:
            raise TopologyError(f"A different StateStore has already been added with the name {builder.name}")
        builder.with_logging_disabled()
        self.nodes[source_name] = SourceSpec(
            source_name, (topic,), None, key_serde, value_serde, timestamp_extractor, None
        )
        self.nodes[processor_name] = ProcessorSpec(processor_name, (source_name,), factory, [builder.name])
        self._unite(processor_name, (source_name,))
        self.global_store_builders[builder.name] = builder
        self.global_topics[builder.name] = topic
        return self

    def describe(self) -> str:
        """The topology as Kafka Streams prints it."""
        from engine.streams.describing import described

        return described(self)

    # What the DSL needs besides.

    def add_node(self, name: str, factory: NodeFactory, *parents: str, record_by_record: bool = False) -> None:
        """A processor node by the factory of its running node."""
        self._new_name(name)
        self._check_parents(name, parents)
        self.nodes[name] = ProcessorSpec(name, parents, factory, record_by_record=record_by_record)
        self._unite(name, parents)

    def add_internal_topic(self, topic: str, partitions: int | None = None) -> None:
        """Declare a repartition topic; on the cluster it is called ``<application.id>-<topic>``."""
        self.internal_topics[topic] = partitions

    def copartition_sources(self, sources: Iterable[str]) -> None:
        """The topics of these source nodes must have equally many partitions."""
        self._copartitioned.append(list(dict.fromkeys(sources)))

    def replace_copartitioned(self, replaced: str, by: str) -> None:
        """A source node went up in another (merged repartition topics)."""
        for group in self._copartitioned:
            if replaced in group:
                group.remove(replaced)
                if by not in group:
                    group.append(by)

    def restore_from_source(self, store: str, topic: str) -> None:
        """The store's changelog is its source topic."""
        self.source_topic_of_store[store] = topic

    def validate_copartition(self) -> None:
        """Raise TopologyError when repartition topics of a group were given different numbers of partitions."""
        for group in self._copartitioned:
            topics = {topic for source in group for topic in self._topics_of(source)}
            counts = {topic: self.internal_topics.get(topic) for topic in topics}
            if None not in counts.values() and len(set(counts.values())) > 1:
                listed = ", ".join(f"{topic}={count}" for topic, count in sorted(counts.items()))
                raise TopologyError(f"Following topics do not have the same number of partitions: [{{{listed}}}]")

    # What tasks, the runtime and describe() ask.

    def node_groups(self) -> list[list[str]]:
        """The nodes of each sub-topology, by its id; global ones are among them."""
        groups: dict[str, list[str]] = {}
        for name in self.nodes:
            groups.setdefault(self._root(name), []).append(name)
        return list(groups.values())

    def is_global_source(self, name: str) -> bool:
        """Whether the node reads a topic for a global store."""
        spec = self.nodes[name]
        return isinstance(spec, SourceSpec) and bool(spec.topics) and spec.topics[0] in self.global_topics.values()

    def topic_name(self, topic: str, application_id: str) -> str:
        """A topic as it is called on the cluster."""
        return f"{application_id}-{topic}" if topic in self.internal_topics else topic

    def changelog_name(self, store: str, application_id: str) -> str:
        """The topic a store is logged to and restored from."""
        source = self.source_topic_of_store.get(store) or self.global_topics.get(store)
        return self.topic_name(source, application_id) if source else f"{application_id}-{store}-changelog"

    def versioned_changelogs(self, application_id: str) -> frozenset[str]:
        """The topics that versioned stores are logged to, of which no record stands for an earlier one."""
        return frozenset(
            self.changelog_name(name, application_id)
            for name, builder in self.store_builders.items()
            if builder.versioned
        )

    def sub_topologies(self, application_id: str, additional_retention_ms: int = DAY_MS) -> list[SubTopology]:
        """What the application needs of the cluster, by sub-topology.

        ``additional_retention_ms`` is the config ``windowstore.changelog.additional.retention.ms``.
        """
        return [
            self._sub_topology(number, group, application_id, additional_retention_ms)
            for number, group in enumerate(self.node_groups())
        ]

    def _sub_topology(self, number: int, group: list[str], application_id: str, more_ms: int) -> SubTopology:
        specs = [self.nodes[name] for name in group]
        sources = [spec for spec in specs if isinstance(spec, SourceSpec)]
        raw_topics = [topic for spec in sources for topic in spec.topics]
        raw_sinks = [spec.topic for spec in specs if isinstance(spec, SinkSpec) and spec.topic is not None]
        stores = list(
            dict.fromkeys(store for spec in specs if isinstance(spec, ProcessorSpec) for store in spec.stores)
        )
        own = [store for store in stores if store in self.store_builders]
        changelog_of = {
            store: self.changelog_name(store, application_id)
            for store in own
            if self.store_builders[store].logging_enabled or store in self.source_topic_of_store
        }
        changelogs = {
            topic: InternalTopic(topic, self.store_builders[store].changelog_config(more_ms))
            for store, topic in changelog_of.items()
            if store not in self.source_topic_of_store
        }
        names = set(group)
        repartitions = {
            name: InternalTopic(name, repartition_config(), self.internal_topics[topic])
            for topic in raw_topics
            if topic in self.internal_topics
            for name in [self.topic_name(topic, application_id)]
        }
        copartitioned = tuple(
            frozenset(self.topic_name(topic, application_id) for source in members for topic in self._topics_of(source))
            for members in self._copartitioned
            if names & set(members) and len(members) > 1
        )
        return SubTopology(
            id=number,
            nodes=tuple(group),
            source_topics=tuple(self.topic_name(topic, application_id) for topic in raw_topics),
            source_patterns=tuple(spec.pattern for spec in sources if spec.pattern is not None),
            sink_topics=tuple(self.topic_name(topic, application_id) for topic in raw_sinks),
            repartition_sources=repartitions,
            repartition_sinks=tuple(
                self.topic_name(topic, application_id) for topic in raw_sinks if topic in self.internal_topics
            ),
            changelogs=changelogs,
            stores=tuple(own),
            changelog_of_store=changelog_of,
            copartition_groups=copartitioned,
            is_global=any(self.is_global_source(name) for name in group),
        )

    def _topics_of(self, source: str) -> tuple[str, ...]:
        spec = self.nodes.get(source)
        return spec.topics if isinstance(spec, SourceSpec) else ()

    # Names, edges, groups.

    def _new_name(self, name: str) -> None:
        if not name:
            raise TopologyError("name cannot be null")
        if name in self.nodes:
            raise TopologyError(f"Processor {name} is already added.")
        self._parents[name] = name

    def _registered_topics(self) -> list[str]:
        return [topic for spec in self.nodes.values() if isinstance(spec, SourceSpec) for topic in spec.topics]

    def _refuse_registered(self, topic: str) -> None:
        for spec in self.nodes.values():
            if isinstance(spec, SourceSpec):
                if topic in spec.topics:
                    raise TopologyError(f"Topic {topic} has already been registered by another source.")
                if spec.pattern is not None and re.fullmatch(spec.pattern, topic):
                    raise TopologyError(f"Topic {topic} matches a Pattern already registered by another source.")

    def _check_parents(self, name: str, parents: tuple[str, ...]) -> None:
        if not parents:
            raise TopologyError(f"{name}: at least one parent must be given")
        for parent in parents:
            if parent == name:
                raise TopologyError(f"Processor {name} cannot be a predecessor of itself.")
            spec = self.nodes.get(parent)
            if spec is None:
                raise TopologyError(f"Predecessor processor {parent} is not added yet for {name}")
            if isinstance(spec, SinkSpec):
                raise TopologyError(f"Sink {parent} cannot be used a parent.")

    def _connect(self, processor: str, store: str) -> None:
        if store in self.global_store_builders:
            raise TopologyError(
                f"Global StateStore {store} can be used by a Processor without being specified; "
                "it should not be explicitly passed."
            )
        if store not in self.store_builders:
            raise TopologyError(f"StateStore {store} is not added yet.")
        spec = self.nodes.get(processor)
        if spec is None:
            raise TopologyError(f"Processor {processor} is not added yet.")
        if not isinstance(spec, ProcessorSpec):
            raise TopologyError(f"cannot connect a state store {store} to a source node or a sink node.")
        users = self._users_of_store[store]
        if users:
            self._unite(users[0], (processor,))
        if processor not in users:
            users.append(processor)
        if store not in spec.stores:
            spec.stores.append(store)

    def _root(self, name: str) -> str:
        while self._parents[name] != name:
            self._parents[name] = self._parents[self._parents[name]]
            name = self._parents[name]
        return name

    def _unite(self, name: str, others: Iterable[str]) -> None:
        for other in others:
            mine, theirs = self._root(name), self._root(other)
            if mine != theirs:
                self._parents[mine] = theirs


def repartition_config() -> dict[str, str]:
    """The configs of a repartition topic: kept until the application has it deleted (``RepartitionTopicConfig``)."""
    return {**CREATE_TIME, "cleanup.policy": "delete", "segment.bytes": "52428800", "retention.ms": "-1"}
