"""Joins, as the DSL builds them: names, stores, repartition topics, co-partitioning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.streams.errors import TopologyError
from engine.streams.graph import Graph, GraphNode, ProcessorGraphNode, StreamJoinGraphNode, add_processor
from engine.streams.kstream import KStream
from engine.streams.ktable import GlobalKTable, KTable, table_store
from engine.streams.params import Joined, Materialized, StreamJoined, check_name
from engine.streams.processors.grace_join import GraceJoin, join_buffer_builder
from engine.streams.processors.node import PassThrough
from engine.streams.processors.stream_join import (
    JoinWindowSupplier,
    SelfJoinSupplier,
    StreamJoinSupplier,
    TimeTracker,
    outer_store_builder,
)
from engine.streams.processors.table_joins import (
    INNER,
    LEFT,
    OUTER,
    RIGHT,
    StreamTableJoin,
    TableJoinMerger,
    TableJoinSide,
)
from engine.streams.processors.table_supplier import PlainSupplier
from engine.streams.serdes import Serde
from engine.streams.stores.builders import KIND_WINDOW, StoreBuilder
from engine.streams.topology import Topology
from engine.streams.windows import JoinWindows

Joiner = Callable[..., Any]
"""``(value, other value)``, or with the key before them."""


def copartition(graph: Graph, first: set[str], second: set[str]) -> set[str]:
    """The sources of both sides must have equally many partitions."""
    both = first | second
    graph.topology.copartition_sources(sorted(both))
    return both


def _seeing_the_key(joiner: Joiner, with_key: bool) -> Joiner:
    return joiner if with_key else lambda _, first, second: joiner(first, second)


def join_table(
    stream: KStream[Any, Any], table: KTable[Any, Any], joiner: Joiner, joined: Joined, *, left: bool, with_key: bool
) -> KStream[Any, Any]:
    """A stream with a table."""
    check_name(joined.name)
    graph = stream.graph
    if stream.repartition_required:
        stream = stream.repartition_for_join(joined.name or stream.name, joined.key_serde, joined.value_serde)
    sources = copartition(graph, stream.source_nodes, table.source_nodes)
    name = graph.name(joined.name, "KSTREAM-LEFTJOIN-" if left else "KSTREAM-JOIN-")
    stores = table.getter().stores
    node: GraphNode
    if joined.grace_ms is None:
        supplier = StreamTableJoin(table.getter, joiner, None, left=left, with_key=with_key)
        node = ProcessorGraphNode(name, supplier, lambda: stores)
    else:
        node = _grace_join(stream, table, joiner, joined, name, stores, left=left, with_key=with_key)
    node.relaxed_null_key_join = left
    graph.add(stream.node, node)
    return KStream(graph, name, joined.key_serde or stream.key_serde, None, sources, False, node)


def _grace_join(
    stream: KStream[Any, Any],
    table: KTable[Any, Any],
    joiner: Joiner,
    joined: Joined,
    name: str,
    stores: tuple[str, ...],
    *,
    left: bool,
    with_key: bool,
) -> GraphNode:
    grace_ms = joined.grace_ms
    assert grace_ms is not None
    not_versioned = TopologyError("KTable must be versioned to use a grace period in a stream table join.")
    if table.node.output_versioned is False:
        raise not_versioned
    buffer = join_buffer_builder(
        f"{name}-Buffer", grace_ms, joined.key_serde or stream.key_serde, joined.value_serde or stream.value_serde
    )
    supplier = GraceJoin(table.getter, joiner, buffer, left=left, with_key=with_key)

    def connected() -> tuple[str, ...]:
        for each in stores:
            history_ms = stream.graph.topology.store_builders[each].history_retention_ms
            if history_ms is None:
                raise not_versioned
            if history_ms < grace_ms:
                raise TopologyError(
                    f"History retention must be at least grace period: store {each} keeps {history_ms} ms, "
                    f"the join {name} waits {grace_ms} ms"
                )
        return stores

    return ProcessorGraphNode(name, supplier, connected)


def join_global(
    stream: KStream[Any, Any],
    table: GlobalKTable[Any, Any],
    key_selector: Callable[[Any, Any], Any],
    joiner: Joiner,
    named: str | None,
    *,
    left: bool,
    with_key: bool,
) -> KStream[Any, Any]:
    """A stream with a global table."""
    check_name(named)
    graph = stream.graph
    name = graph.name(named, "KSTREAM-LEFTJOIN-")  # Kafka's name for inner joins as well
    node = ProcessorGraphNode(name, StreamTableJoin(table.getter, joiner, key_selector, left=left, with_key=with_key))
    node.relaxed_null_key_join = left
    graph.add(stream.node, node)
    required = stream.repartition_required
    return KStream(graph, name, stream.key_serde, None, stream.source_nodes, required, node)


def join_tables(
    this: KTable[Any, Any],
    other: KTable[Any, Any],
    joiner: Joiner,
    materialized: Materialized | None,
    named: str | None,
    *,
    left: bool,
    outer: bool,
) -> KTable[Any, Any]:
    """A table with another one."""
    check_name(named)
    graph = this.graph
    store_name = None
    if materialized is not None:
        store_name = materialized.name or graph.new_store_name("KTABLE-MERGE-")
    name = graph.name(named, "KTABLE-MERGE-")
    sources = copartition(graph, this.source_nodes, other.source_nodes)
    if left:
        this.enable_sending_old_values(True)
    if outer:
        other.enable_sending_old_values(True)
    builder = None
    if materialized is not None and store_name is not None:
        builder = table_store(materialized, store_name, this.key_serde, None)
    this_how, other_how = (OUTER, OUTER) if outer else (LEFT, RIGHT) if left else (INNER, INNER)
    this_side = TableJoinSide(this.supplier, other.supplier, joiner, this_how)
    other_side = TableJoinSide(other.supplier, this.supplier, lambda mine, yours: joiner(yours, mine), other_how)
    merger = TableJoinMerger(this_side, other_side, builder)
    this_name = graph.suffixed(named, "-join-this", "KTABLE-JOINTHIS-")
    other_name = graph.suffixed(named, "-join-other", "KTABLE-JOINOTHER-")
    this_stores, other_stores = this.getter().stores, other.getter().stores

    def write(topology: Topology, parents: tuple[str, ...]) -> None:
        this_side.reads_versions, other_side.reads_versions = this.node.is_versioned(), other.node.is_versioned()
        add_processor(topology, this_side, this_name, (this.name,))
        add_processor(topology, other_side, other_name, (other.name,))
        add_processor(topology, merger, name, (this_name, other_name))
        topology.connect_processor_and_state_stores(this_name, *other_stores)
        topology.connect_processor_and_state_stores(other_name, *this_stores)

    node = GraphNode(name, write)
    node.output_versioned = materialized is not None and materialized.versioned
    graph.add([this.node, other.node], node)
    key_serde = (materialized.key_serde if materialized else None) or this.key_serde
    value_serde = materialized.value_serde if materialized else None
    return KTable(graph, name, key_serde, value_serde, sources, store_name, merger, node)


def _join_store(
    name: str, windows: JoinWindows, joined: StreamJoined, key: Serde[Any] | None, value: Serde[Any] | None
) -> StoreBuilder:
    return StoreBuilder(
        name=name,
        kind=KIND_WINDOW,
        key_serde=key,
        value_serde=value,
        logging_enabled=joined.logging_enabled,
        topic_config=dict(joined.topic_config),
        retention_ms=windows.size_ms + windows.grace_ms,
        window_size=windows.size_ms,
        retain_duplicates=True,
        engine=joined.engine,
    )


def join_streams(
    this: KStream[Any, Any],
    other: KStream[Any, Any],
    joiner: Joiner,
    windows: JoinWindows,
    joined: StreamJoined,
    *,
    left: bool,
    outer: bool,
    with_key: bool,
) -> KStream[Any, Any]:
    """A stream with another one. ``left``: this one's records go on alone; ``outer``: the other's as well."""
    check_name(joined.name)
    graph, given = this.graph, joined.name
    if this.repartition_required:
        name = this.name if given is None else f"{given}-left"
        this = this.repartition_for_join(name, joined.key_serde, joined.value_serde)
    if other.repartition_required:
        name = other.name if given is None else f"{given}-right"
        other = other.repartition_for_join(name, joined.key_serde, joined.other_value_serde)
    sources = copartition(graph, this.source_nodes, other.source_nodes)
    this_suffix = "-outer-this-join" if outer else "-this-join"
    other_suffix = "-outer-other-join" if left else "-other-join"
    this_windowed = graph.suffixed(given, "-this-windowed", "KSTREAM-WINDOWED-")
    other_windowed = graph.suffixed(given, "-other-windowed", "KSTREAM-WINDOWED-")
    this_prefix = "KSTREAM-OUTERTHIS-" if outer else "KSTREAM-JOINTHIS-"
    this_made = graph.new_processor_name(this_prefix)
    other_made = graph.new_processor_name("KSTREAM-OUTEROTHER-" if left else "KSTREAM-JOINOTHER-")
    this_name = this_made if given is None else given + this_suffix
    other_name = other_made if given is None else given + other_suffix
    merge_name = graph.suffixed(given, "-merge", "KSTREAM-MERGE-")
    base = joined.store_name
    key = joined.key_serde or this.key_serde
    left_value = joined.value_serde or this.value_serde
    right_value = joined.other_value_serde or other.value_serde
    this_store = _join_store(
        (this_made if base is None else base + this_suffix) + "-store", windows, joined, key, left_value
    )
    other_store = _join_store(
        (other_made if base is None else base + other_suffix) + "-store", windows, joined, key, right_value
    )
    this_node = ProcessorGraphNode(this_windowed, JoinWindowSupplier(this_store))
    graph.add(this.node, this_node)
    other_node = ProcessorGraphNode(other_windowed, JoinWindowSupplier(other_store))
    graph.add(other.node, other_node)
    outer_store = None
    if left:
        number = this_made[len(this_prefix) :]
        suffix = "-outer-shared-join" if outer else "-left-shared-join"
        shared = f"KSTREAM-OUTERSHARED-{number}" if base is None else base + suffix
        outer_store = outer_store_builder(
            f"{shared}-store",
            key,
            left_value,
            right_value,
            logging_enabled=joined.logging_enabled,
            topic_config=dict(joined.topic_config),
        )
    joiner = _seeing_the_key(joiner, with_key)
    trackers: dict[str, TimeTracker] = {}
    this_join = StreamJoinSupplier(windows, joiner, trackers, other_store, outer_store, is_left=True, outer=left)
    other_join = StreamJoinSupplier(windows, joiner, trackers, this_store, outer_store, is_left=False, outer=outer)

    def write(topology: Topology, parents: tuple[str, ...]) -> None:
        if node.is_self_join:
            add_processor(topology, SelfJoinSupplier(windows, joiner, this_store), merge_name, (this_windowed,))
            return
        add_processor(topology, this_join, this_name, (this_windowed,))
        add_processor(topology, other_join, other_name, (other_windowed,))
        add_processor(topology, PlainSupplier(PassThrough), merge_name, (this_name, other_name))

    node = StreamJoinGraphNode(merge_name, write, this_node, other_node)
    node.relaxed_null_key_join = left or outer
    graph.add([this.node, other.node], node)
    return KStream(graph, merge_name, key, None, sources, False, node)
