"""Foreign-key joins of tables, as the DSL builds them (``KTableImpl.doJoinOnForeignKey``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from engine.streams.errors import SerdeMissingError
from engine.streams.graph import ProcessorGraphNode, SinkGraphNode, SourceGraphNode
from engine.streams.ktable import TABLE_SOURCE_NAME, KTable, table_store
from engine.streams.params import Materialized, TableJoined, check_name
from engine.streams.processors.foreign_key import (
    ForeignKeyJoin,
    ForeignTableJoin,
    ResponseJoin,
    ResponseSerde,
    SubscriptionJoin,
    SubscriptionReceive,
    SubscriptionSend,
    SubscriptionSerde,
    primary_partition,
)
from engine.streams.processors.tables import TableSource
from engine.streams.serdes import BYTES
from engine.streams.stores.builders import KIND_TIMESTAMPED_KEY_VALUE, StoreBuilder
from engine.streams.topology import SinkSpec, StreamPartitioner

_FK_JOIN = "KTABLE-FK-JOIN-"
_REGISTRATION = f"{_FK_JOIN}SUBSCRIPTION-REGISTRATION-"
_PROCESSOR = f"{_FK_JOIN}SUBSCRIPTION-PROCESSOR-"
_SINK_NAME = "KTABLE-SINK-"


def join_on_foreign_key(
    this: KTable[Any, Any],
    other: KTable[Any, Any],
    foreign_key: Callable[..., Any],
    joiner: Callable[[Any, Any], Any],
    materialized: Materialized | None,
    joined: TableJoined,
    *,
    left: bool,
    with_key: bool,
) -> KTable[Any, Any]:
    """The rows of ``this`` with the row of ``other`` whose key ``foreign_key`` makes of the value.

    ``with_key``: it makes it of key and value.
    """
    given = joined.name
    check_name(given)
    primary_serde, foreign_serde, foreign_value = this.key_serde, other.key_serde, other.value_serde
    if primary_serde is None or foreign_serde is None or foreign_value is None or this.value_serde is None:
        raise SerdeMissingError(
            "join_on_foreign_key(): both tables need serdes of keys and values (Consumed or Materialized), "
            "because they go through topics"
        )
    graph = this.graph
    other.enable_sending_old_values(True)
    this.enable_sending_old_values(True)
    extract = foreign_key if with_key else lambda _, value: foreign_key(value)
    join = ForeignKeyJoin(extract, joiner, primary_serde, foreign_serde, this.value_serde, left=left)
    subscription_serde = SubscriptionSerde(primary_serde)

    topic = graph.suffixed(given, "-subscription-registration", _REGISTRATION) + "-topic"
    graph.topology.add_internal_topic(topic)
    send = ProcessorGraphNode(
        graph.suffixed(given, "-subscription-registration-processor", _REGISTRATION), SubscriptionSend(join)
    )
    graph.add(this.node, send)
    sink = SinkSpec(
        graph.suffixed(given, "-subscription-registration-sink", _SINK_NAME),
        (),
        topic,
        key_serde=foreign_serde,
        value_serde=subscription_serde,
        partitioner=_by_key(joined.other_partitioner),
    )
    sink_node = SinkGraphNode(sink)
    graph.add(send, sink_node)
    source = SourceGraphNode(
        graph.suffixed(given, "-subscription-registration-source", TABLE_SOURCE_NAME),
        (topic,),
        None,
        key_serde=foreign_serde,
        value_serde=subscription_serde,
    )
    graph.add(sink_node, source)
    graph.topology.copartition_sources(sorted({*other.source_nodes, source.name}))

    store = StoreBuilder(
        name=graph.suffixed(given, "-subscription-store", f"{_FK_JOIN}SUBSCRIPTION-STATE-STORE-"),
        kind=KIND_TIMESTAMPED_KEY_VALUE,
        key_serde=BYTES,
        value_serde=subscription_serde,
    )
    receive = ProcessorGraphNode(
        graph.suffixed(given, "-subscription-receive", _PROCESSOR), SubscriptionReceive(join, store)
    )
    graph.add(source, receive)
    getter = other.getter()
    answer = ProcessorGraphNode(
        graph.suffixed(given, "-subscription-join-foreign", _PROCESSOR),
        SubscriptionJoin(join, getter),
        lambda: getter.stores,
    )
    graph.add(receive, answer)
    answer_all = ProcessorGraphNode(
        graph.suffixed(given, "-foreign-join-subscription", _PROCESSOR), ForeignTableJoin(join, store)
    )
    graph.add(other.node, answer_all)

    back = graph.suffixed(given, "-subscription-response", f"{_FK_JOIN}SUBSCRIPTION-RESPONSE-") + "-topic"
    graph.topology.add_internal_topic(back)
    response_serde = ResponseSerde(foreign_value)
    back_sink = SinkGraphNode(
        SinkSpec(
            graph.suffixed(given, "-subscription-response-sink", _SINK_NAME),
            (),
            back,
            key_serde=primary_serde,
            value_serde=response_serde,
            partitioner=_by_key(joined.partitioner) or primary_partition,
        )
    )
    graph.add([answer], back_sink)
    graph.add([answer_all], back_sink)
    back_source = SourceGraphNode(
        graph.suffixed(given, "-subscription-response-source", TABLE_SOURCE_NAME),
        (back,),
        None,
        key_serde=primary_serde,
        value_serde=response_serde,
    )
    graph.add(back_sink, back_source)
    sources = {*this.source_nodes, back_source.name}
    graph.topology.copartition_sources(sorted(sources))
    own = this.getter()
    resolve = ProcessorGraphNode(
        graph.suffixed(
            given, "-subscription-response-resolver", f"{_FK_JOIN}SUBSCRIPTION-RESPONSE-RESOLVER-PROCESSOR-"
        ),
        ResponseJoin(join, own),
        lambda: own.stores,
    )
    graph.add(back_source, resolve)

    output = f"{_FK_JOIN}OUTPUT-"
    name = graph.suffixed(given, "-result", output)
    wanted = materialized or Materialized()
    store_name = wanted.name or graph.new_store_name(output)
    builder = table_store(replace(wanted, name=store_name), store_name, primary_serde, None)
    result = TableSource(builder, queryable=wanted.name is not None)
    node = ProcessorGraphNode(name, result)
    node.output_versioned = wanted.versioned
    graph.add(resolve, node)
    return KTable(graph, name, primary_serde, wanted.value_serde, sources, wanted.name, result, node)


def _by_key(partitioner: StreamPartitioner | None) -> StreamPartitioner | None:
    # The user's partitioner knows keys of tables, not what travels under them.
    if partitioner is None:
        return None
    given = partitioner
    return lambda topic, key, value, partitions: given(topic, key, None, partitions)
