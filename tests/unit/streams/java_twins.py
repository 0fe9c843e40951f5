"""Topologies in our DSL: the peers, by name, of those in tests/integration/java/StreamsTopologies.java."""

from __future__ import annotations

from typing import Any

from engine.streams import (
    STREAM_TIME,
    WALL_CLOCK_TIME,
    Consumed,
    FixedKeyProcessor,
    Grouped,
    Joined,
    Materialized,
    Processor,
    ProcessorContext,
    Produced,
    Record,
    RecordMetadata,
    Repartitioned,
    Serdes,
    Stores,
    StreamsBuilder,
    TableJoined,
    ValueTransformer,
)
from tests.unit.streams.java_twin_kit import (
    BY,
    READ,
    WRITE,
    S,
    add,
    as_,
    both,
    by_letter,
    comma,
    empty,
    even,
    grouped,
    letter,
    minus,
    nought,
    out,
    plus,
    regroup,
    stream,
    table,
    text,
    write,
)


class ByValue:
    """A topic for even values, one for others."""

    def __call__(self, key: Any, value: Any, metadata: RecordMetadata) -> str:
        return "out-even" if even(value) else "out-odd"

    def __repr__(self) -> str:
        return "ByValue"


class Stamp(Processor[Any, Any, Any, Any]):
    """A header more, and the record once more, 5 ms later."""

    def process(self, record: Record[Any, Any]) -> None:
        metadata = self.context.record_metadata()
        assert metadata is not None
        headers = (*record.headers, ("offset", str(metadata.offset).encode()))
        self.context.forward(record.with_headers(headers))
        again = record.with_timestamp(record.timestamp + 5).with_value("again " + text(record.value))
        self.context.forward(again)


class Keep(Processor[Any, Any, Any, Any]):
    """What the key had before; null deletes; an even number lists the store."""

    def process(self, record: Record[Any, Any]) -> None:
        store = self.context.get_state_store("seen")
        if record.key is None:
            return
        before = store.delete(record.key) if record.value is None else store.get(record.key)
        if record.value is not None:
            store.put(record.key, record.value)
        rows = "".join(key + value for key, value in store.range("b", None)) if even(record.value) else ""
        self.context.forward(record.with_value(both(before, rows)))


class Total(FixedKeyProcessor[Any, Any, Any]):
    """The sum of all values so far."""

    total = "0"

    def process(self, record: Record[Any, Any]) -> None:
        if record.value is not None:
            self.total = plus(self.total, record.value)
        self.context.forward(record.with_value(self.total))


class Recent(Processor[Any, Any, Any, Any]):
    """The values of the key within 20 ms."""

    def process(self, record: Record[Any, Any]) -> None:
        store = self.context.get_state_store("recent")
        if record.key is None:
            return
        time = record.timestamp
        store.put(record.key, record.value, time)
        found = store.fetch(record.key, max(0, time - 20), time + 20)
        self.context.forward(record.with_value("".join(f"{start}={value} " for start, value in found)))


class Ticker(Processor[Any, Any, Any, Any]):
    """Counts records, and tells the count every 20 ms of either time."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.count = 0

    def init(self, context: ProcessorContext) -> None:
        super().init(context)
        context.schedule(20, self.kind, lambda time: context.forward(Record("tick", str(self.count), time)))

    def process(self, record: Record[Any, Any]) -> None:
        self.count += 1


class KeyAndValue(ValueTransformer[Any, Any, Any]):
    def transform(self, key: Any, value: Any) -> str:
        return f"{key}/{text(value)}"


# Without state.

add("pass", lambda b: stream(b, "left").to("out"))
add("filter", lambda b: stream(b, "left").filter(lambda k, v: even(v)).to("out"))
add("filter_not", lambda b: stream(b, "left").filter_not(lambda k, v: even(v)).to("out"))
add("map", lambda b: stream(b, "left").map(lambda k, v: (v, k)).to("out", WRITE))
add("map_values", lambda b: stream(b, "left").map_values(lambda v: text(v) + "!").to("out"))
add(
    "map_values_with_key",
    lambda b: stream(b, "left").map_values_with_key(lambda k, v: f"{text(k)}={text(v)}").to("out"),
)
add(
    "flat_map",
    lambda b: stream(b, "left").flat_map(lambda k, v: () if v is None else ((v, "1"), (k, "2"))).to("out", WRITE),
)
add("flat_map_values", lambda b: stream(b, "left").flat_map_values(lambda v: v or ()).to("out"))
add("select_key", lambda b: stream(b, "left").select_key(by_letter).to("out"))


def _peek_foreach(b: StreamsBuilder) -> None:
    left = stream(b, "left")
    left.peek(lambda k, v: None).to("out")
    left.foreach(lambda k, v: None)


add("peek_foreach", _peek_foreach)
add("merge", lambda b: stream(b, "left").merge(stream(b, "right")).to("out"))
add("several_topics", lambda b: b.stream(["left", "right"], READ).to("out"))
add("pattern", lambda b: b.stream("le.*|ri.*", READ, pattern=True).to("out"))


def _split(b: StreamsBuilder) -> None:
    split = stream(b, "left").split("parts-").branch(lambda k, v: v is None, "null").branch(lambda k, v: even(v))
    parts = split.default_branch("odd")
    parts["parts-null"].to("out-null")
    parts["parts-2"].to("out-even")
    parts["parts-odd"].to("out-odd")


def _split_chain(b: StreamsBuilder) -> None:
    split = stream(b, "left").split()
    split = split.branch(lambda k, v: even(v), chain=lambda s: s.map_values(lambda v: v + "e").to("out"))
    split.branch(lambda k, v: v is not None, "rest", lambda s: s.to("out-odd")).no_default_branch()


add("split", _split)
add("split_chain", _split_chain)
add(
    "dynamic_topic",
    lambda b: stream(b, "left").to(ByValue(), WRITE),
)
add(
    "repartition_named",
    lambda b: (
        stream(b, "left")
        .select_key(by_letter)
        .repartition(Repartitioned(name="through", key_serde=S, value_serde=S))
        .to("out")
    ),
)
add("repartition", lambda b: stream(b, "left").repartition().map_values(lambda v: text(v) + "r").to("out"))
add(
    "named_nodes",
    lambda b: (
        b.stream("left", Consumed(key_serde=S, value_serde=S, name="source"))
        .filter(lambda k, v: v is not None, "no-nulls")
        .map_values(lambda v: v + "n", "mapper")
        .to("out", Produced(name="sink", key_serde=S, value_serde=S))
    ),
)


def _value_is_time(record: Any, partition_time: int) -> int:
    return -1 if record.value is None else int(record.value) * 10


def _partition_time(record: Any, partition_time: int) -> int:
    return partition_time if record.value is None else int(record.timestamp)


add(
    "timestamp_extractor",
    lambda b: b.stream("left", Consumed(key_serde=S, value_serde=S, timestamp_extractor=_value_is_time)).to("out"),
)
add(
    "partition_time",
    lambda b: b.stream("left", Consumed(key_serde=S, value_serde=S, timestamp_extractor=_partition_time)).to("out"),
)

# Aggregations.

add("count", lambda b: out(grouped(b).count()))
add("count_named", lambda b: out(grouped(b).count(Materialized("counts"), "counter")))
add("count_regrouped", lambda b: out(stream(b, "left").group_by(by_letter, BY).count(Materialized("counts"))))
add(
    "count_regrouped_named",
    lambda b: out(stream(b, "left").group_by(by_letter, Grouped(name="letters", key_serde=S, value_serde=S)).count()),
)
add("reduce", lambda b: write(grouped(b).reduce(both, as_("reduced"))))
add("reduce_sum", lambda b: write(grouped(b).reduce(plus)))
add("aggregate", lambda b: write(grouped(b).aggregate(empty, comma, as_("all"))))
add(
    "aggregate_to_null",
    lambda b: write(grouped(b).aggregate(nought, lambda k, v, a: plus(text(a), v) if even(v) else None, as_("evens"))),
)


def _two_aggregations(b: StreamsBuilder) -> None:
    groups = stream(b, "left").group_by(by_letter, Grouped(name="shared", key_serde=S, value_serde=S))
    out(groups.count())
    groups.reduce(both).to_stream().to("out-2")


add("two_aggregations", _two_aggregations)
add("count_filter", lambda b: out(grouped(b).count(Materialized("counts")).filter(lambda k, v: v % 2 == 0)))
add(
    "count_filter_materialized",
    lambda b: out(
        grouped(b)
        .count(Materialized("counts"))
        .filter(lambda k, v: v % 2 == 0, Materialized("even-counts", key_serde=S, value_serde=Serdes.long()))
    ),
)
add(
    "aggregate_of_aggregate",
    lambda b: write(
        grouped(b)
        .count(Materialized("counts"))
        .to_stream()
        .map(lambda k, v: (str(v % 3), k))
        .group_by_key(BY)
        .reduce(both, as_("by-count"))
    ),
)

# Tables.

add("table", lambda b: write(table(b, "left")))
add("table_materialized", lambda b: write(b.table("left", READ, as_("rows"))))
add("table_optimized", lambda b: write(b.table("left", READ, as_("rows"))))
add("table_filter", lambda b: write(table(b, "left").filter(lambda k, v: even(v))))
add("table_filter_materialized", lambda b: write(table(b, "left").filter(lambda k, v: even(v), as_("evens"))))
add("table_filter_not", lambda b: write(b.table("left", READ, as_("rows")).filter_not(lambda k, v: even(v))))
add("table_map_values", lambda b: write(table(b, "left").map_values(lambda v: v + "m", as_("mapped"))))
add(
    "table_chain",
    lambda b: write(
        table(b, "left")
        .map_values(lambda v: plus(v, "1"))
        .filter(lambda k, v: even(v))
        .map_values_with_key(lambda k, v: k + v, as_("end"))
    ),
)
add(
    "table_transform_values",
    lambda b: write(table(b, "left").transform_values(KeyAndValue, materialized=as_("transformed"))),
)
add("to_table", lambda b: write(stream(b, "left").to_table(as_("rows"))))
add(
    "to_table_regrouped",
    lambda b: write(stream(b, "left").map(lambda k, v: (letter(v), v)).to_table(as_(None))),
)
add("table_count", lambda b: out(table(b, "left").group_by(regroup, BY).count(Materialized("counts"))))
add(
    "table_count_same_key",
    lambda b: out(
        table(b, "left").group_by(lambda k, v: (k, v), Grouped(name="same", key_serde=S, value_serde=S)).count()
    ),
)
add("table_reduce", lambda b: write(table(b, "left").group_by(regroup, BY).reduce(plus, minus, as_("sums"))))
add(
    "table_aggregate",
    lambda b: write(
        table(b, "left")
        .group_by(regroup, BY)
        .aggregate(nought, lambda k, v, a: plus(a, v), lambda k, v, a: minus(a, v), as_("sums"))
    ),
)

# Joins with tables.

JOINED = Joined(key_serde=S, value_serde=S, other_value_serde=S)

add("stream_table", lambda b: stream(b, "left").join(table(b, "right"), both).to("out"))
add("stream_table_left", lambda b: stream(b, "left").left_join(table(b, "right"), both).to("out"))
add(
    "stream_table_regrouped",
    lambda b: stream(b, "left").select_key(by_letter).join(table(b, "right"), both, JOINED).to("out"),
)
add(
    "stream_table_named",
    lambda b: (
        stream(b, "left")
        .select_key(by_letter)
        .left_join(table(b, "right"), both, Joined(key_serde=S, value_serde=S, other_value_serde=S, name="rows"))
        .to("out")
    ),
)
add("stream_aggregate", lambda b: stream(b, "left").join(grouped(b, "right").reduce(plus), both).to("out"))
add("global", lambda b: stream(b, "left").join_global(b.global_table("right", READ), by_letter, both).to("out"))
add(
    "global_left",
    lambda b: stream(b, "left").left_join_global(b.global_table("right", READ, as_("rows")), by_letter, both).to("out"),
)
add("table_table", lambda b: write(table(b, "left").join(table(b, "right"), both)))
add("table_table_left", lambda b: write(table(b, "left").left_join(table(b, "right"), both)))
add("table_table_outer", lambda b: write(table(b, "left").outer_join(table(b, "right"), both)))
add("table_table_materialized", lambda b: write(table(b, "left").join(table(b, "right"), both, as_("joined"))))
add(
    "table_table_left_materialized",
    lambda b: write(table(b, "left").left_join(table(b, "right"), both, as_("joined"))),
)
add(
    "table_table_outer_named",
    lambda b: write(table(b, "left").outer_join(table(b, "right"), both, as_("joined"), "both")),
)
add(
    "table_three",
    lambda b: write(table(b, "left").join(table(b, "right"), both).left_join(table(b, "third"), both)),
)
add(
    "table_filtered_join",
    lambda b: write(
        table(b, "left").filter(lambda k, v: even(v)).outer_join(table(b, "right").map_values(lambda v: v + "m"), both)
    ),
)
add(
    "table_join_count",
    lambda b: out(
        table(b, "left")
        .join(table(b, "right"), lambda left, right: right)
        .group_by(regroup, BY)
        .count(Materialized("counts"))
    ),
)
add(
    "foreign_key",
    lambda b: write(table(b, "left").join_on_foreign_key(table(b, "right"), letter, both, as_("joined"))),
)
add(
    "foreign_key_left",
    lambda b: write(table(b, "left").left_join_on_foreign_key(table(b, "right"), letter, both, as_("joined"))),
)
add(
    "foreign_key_named",
    lambda b: write(
        table(b, "left").join_on_foreign_key(table(b, "right"), letter, both, as_(None), TableJoined(name="owners"))
    ),
)

# Processors.

add("process", lambda b: stream(b, "left").process(Stamp).to("out", WRITE))
add(
    "process_store",
    lambda b: (
        b.add_state_store(Stores.key_value("seen", S, S)).stream("left", READ).process(Keep, ["seen"]).to("out", WRITE)
    ),
)
add(
    "process_values",
    lambda b: write(stream(b, "left").process_values(Total, named="total").group_by_key(BY).reduce(both)),
)
add(
    "process_windows",
    lambda b: (
        b.add_state_store(Stores.window("recent", 100, 10, S, S))
        .stream("left", READ)
        .process(Recent, ["recent"])
        .to("out", WRITE)
    ),
)
add(
    "punctuate_stream_time",
    lambda b: stream(b, "left").process(lambda: Ticker(STREAM_TIME)).to("out", WRITE),
)
add(
    "punctuate_wall_clock",
    lambda b: stream(b, "left").process(lambda: Ticker(WALL_CLOCK_TIME)).to("out", WRITE),
)
