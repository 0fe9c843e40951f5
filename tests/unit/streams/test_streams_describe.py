"""Names, numbers and ``describe()`` are Kafka Streams' to the letter: the texts were printed by Kafka Streams 4.3.1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.streams import (
    Consumed,
    Grouped,
    JoinWindows,
    KStream,
    Materialized,
    Processor,
    Record,
    Serdes,
    Stores,
    StreamsBuilder,
    TimeWindows,
    Topology,
    TopologyError,
)

TEXT = Serdes.string()
WORD_COUNT = """Topologies:
   Sub-topology: 0
    Source: KSTREAM-SOURCE-0000000000 (topics: [lines])
      --> KSTREAM-FLATMAPVALUES-0000000001
    Processor: KSTREAM-FLATMAPVALUES-0000000001 (stores: [])
      --> KSTREAM-KEY-SELECT-0000000002
      <-- KSTREAM-SOURCE-0000000000
    Processor: KSTREAM-KEY-SELECT-0000000002 (stores: [])
      --> counts-repartition-filter
      <-- KSTREAM-FLATMAPVALUES-0000000001
    Processor: counts-repartition-filter (stores: [])
      --> counts-repartition-sink
      <-- KSTREAM-KEY-SELECT-0000000002
    Sink: counts-repartition-sink (topic: counts-repartition)
      <-- counts-repartition-filter

  Sub-topology: 1
    Source: counts-repartition-source (topics: [counts-repartition])
      --> KSTREAM-AGGREGATE-0000000003
    Processor: KSTREAM-AGGREGATE-0000000003 (stores: [counts])
      --> KTABLE-TOSTREAM-0000000007
      <-- counts-repartition-source
    Processor: KTABLE-TOSTREAM-0000000007 (stores: [])
      --> KSTREAM-SINK-0000000008
      <-- KSTREAM-AGGREGATE-0000000003
    Sink: KSTREAM-SINK-0000000008 (topic: word-counts)
      <-- KTABLE-TOSTREAM-0000000007

"""

BY_HAND = """Topologies:
   Sub-topology: 0
    Source: src (topics: [zeta, in, alpha])
      --> p1, p2
    Source: pat (topics: logs-.*)
      --> p2
    Processor: p1 (stores: [s1])
      --> p3, snk
      <-- src
    Processor: p2 (stores: [])
      --> p3, snk2
      <-- src, pat
    Processor: p3 (stores: [another, s1])
      --> snk
      <-- p1, p2
    Sink: snk (topic: out)
      <-- p3, p1
    Sink: snk2 (topic: out2)
      <-- p2

  Sub-topology: 1
    Source: lone (topics: [solo])
      --> x
    Processor: x (stores: [])
      --> y
      <-- lone
    Sink: y (topic: z)
      <-- x

"""


def word_count() -> StreamsBuilder:
    builder = StreamsBuilder()
    lines = builder.stream("lines", Consumed(key_serde=TEXT, value_serde=TEXT))
    words = lines.flat_map_values(str.split).group_by(lambda _, word: word, Grouped(key_serde=TEXT, value_serde=TEXT))
    words.count(Materialized("counts")).to_stream().to("word-counts")
    return builder


def test_word_count_is_described_as_kafka_streams_does() -> None:
    assert word_count().build().describe() == WORD_COUNT


class Passes(Processor[str, str, str, str]):
    def process(self, record: Record[str, str]) -> None:
        self.context.forward(record)


def test_a_topology_made_by_hand_is_described_in_the_order_of_javas_sets() -> None:
    topology = Topology()
    topology.add_source("src", "in", "zeta", "alpha").add_source("pat", pattern="logs-.*")
    topology.add_processor("p1", Passes, "src").add_processor("p2", Passes, "src", "pat")
    topology.add_processor("p3", Passes, "p1", "p2")
    topology.add_state_store(Stores.key_value("s1", TEXT, Serdes.long()), "p1", "p3")
    topology.add_state_store(Stores.key_value("another", TEXT, Serdes.long()), "p3")
    topology.add_sink("snk", "out", "p3", "p1").add_sink("snk2", "out2", "p2")
    topology.add_source("lone", "solo").add_processor("x", Passes, "lone").add_sink("y", "z", "x")
    assert topology.describe() == BY_HAND


def test_a_sub_topology_names_its_topics_as_the_cluster_will() -> None:
    first, second = word_count().build().sub_topologies("app")
    assert first.repartition_sinks == ("app-counts-repartition",)
    assert second.repartition_sources["app-counts-repartition"].config["retention.ms"] == "-1"
    assert second.changelogs["app-counts-changelog"].config == {
        "cleanup.policy": "compact",
        "message.timestamp.type": "CreateTime",
    }


def test_a_topic_read_twice_by_unequal_sources_is_refused() -> None:
    builder = StreamsBuilder()
    builder.stream("a")
    builder.stream(["a", "b"])
    with pytest.raises(TopologyError, match="overlapping but not equal"):
        builder.build()


def _branches(builder: StreamsBuilder, stream: KStream[Any, Any]) -> None:
    keyed = stream.select_key(lambda k, v: v)
    keyed.group_by_key().count().to_stream().to("o1")
    keyed.filter(lambda k, v: True).group_by_key().reduce(lambda x, y: x).to_stream().to("o2")


def _named(builder: StreamsBuilder, stream: KStream[Any, Any]) -> None:
    keyed = stream.map(lambda k, v: (v, k))
    keyed.group_by_key(Grouped(name="g")).count(Materialized("c1")).to_stream().to("o1")
    keyed.map_values(lambda v: v).group_by_key().count().to_stream().to("o2")
    keyed.group_by_key().windowed_by(TimeWindows.of_size_with_no_grace(5)).count().to_stream().to("o3")


def _joined(builder: StreamsBuilder, stream: KStream[Any, Any]) -> None:
    keyed = stream.select_key(lambda k, v: v)
    keyed.join(builder.table("t"), lambda x, y: x + y).to("o1")
    keyed.group_by_key().count()
    windows = JoinWindows.of_time_difference_with_no_grace(5)
    keyed.join_stream(builder.stream("b"), lambda x, y: x, windows).to("o2")


def _merged(builder: StreamsBuilder, stream: KStream[Any, Any]) -> None:
    other = builder.stream("b")
    merged = stream.select_key(lambda k, v: v).merge(other.select_key(lambda k, v: v))
    merged.group_by_key().count().to_stream().to("o1")
    merged.group_by_key().reduce(lambda x, y: x)


def _explicit(builder: StreamsBuilder, stream: KStream[Any, Any]) -> None:
    stream.group_by(lambda k, v: v).count()
    stream.select_key(lambda k, v: v).repartition().group_by_key().count()


def test_repartition_topics_are_merged_as_kafka_streams_merges_them() -> None:
    described = ""
    for build in (_branches, _named, _joined, _merged, _explicit):
        builder = StreamsBuilder()
        build(builder, builder.stream("a"))
        described += builder.build("all").describe()
    golden = Path(__file__).parents[2] / "golden" / "streams" / "merged-repartition-topics-4.3.1.txt"
    assert described == golden.read_text()
