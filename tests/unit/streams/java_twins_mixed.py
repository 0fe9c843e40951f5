"""Topologies of several parts, failures and processors with stores. Java has peers of the same names."""

from __future__ import annotations

from typing import Any

from engine.streams import (
    STREAM_TIME,
    WALL_CLOCK_TIME,
    BufferConfig,
    Consumed,
    Grouped,
    Materialized,
    Processor,
    ProcessorContext,
    Produced,
    Record,
    Repartitioned,
    Serdes,
    Stores,
    StreamsBuilder,
    Suppressed,
    Window,
    Windowed,
)
from tests.unit.streams.java_twin_kit import (
    BY,
    READ,
    STORED,
    WRITE,
    S,
    add,
    as_,
    both,
    by_letter,
    even,
    grouped,
    letter,
    minus,
    out,
    plus,
    stream,
    table,
    text,
    write,
)
from tests.unit.streams.java_twins import JOINED, Keep, Recent
from tests.unit.streams.java_twins_timed import HOPPING, LATE, NEAR, SLIDING, UNBOUNDED

# Several of these in one.


def _diamond(b: StreamsBuilder) -> None:
    left = stream(b, "left").filter(lambda k, v: v is not None)
    more = left.filter(lambda k, v: even(v)).merge(left.map_values(lambda v: plus(v, "1")))
    out(more.group_by_key(BY).count(Materialized("counts")))


def _two_joins(b: StreamsBuilder) -> None:
    letters = stream(b, "left").select_key(by_letter)
    letters.join(table(b, "right"), both, JOINED).to("out")
    letters.left_join(table(b, "third"), both, JOINED).to("out-2")


def _two_groups(b: StreamsBuilder) -> None:
    letters = stream(b, "left").map(lambda k, v: (letter(v), v))
    out(letters.group_by_key(BY).count())
    letters.group_by_key(BY).reduce(plus).to_stream().to("out-2")


def _split_and_merge(b: StreamsBuilder) -> None:
    parts = stream(b, "left").split("s-").branch(lambda k, v: even(v), "even").default_branch("rest")
    parts["s-rest"].map_values(lambda v: text(v) + "r").merge(parts["s-even"], "again").to("out")


def _merge_three(b: StreamsBuilder) -> None:
    every = stream(b, "left").merge(stream(b, "right")).merge(stream(b, "third"))
    out(every.group_by(by_letter, BY).windowed_by(SLIDING).count(Materialized("windows")))


def _windowed_named(b: StreamsBuilder) -> None:
    letters = stream(b, "left").group_by(by_letter, Grouped(name="letters", key_serde=S, value_serde=S))
    out(letters.windowed_by(LATE).count(Materialized("windows"), "counter"))


def _windowed_regrouped(b: StreamsBuilder) -> None:
    counts = grouped(b).windowed_by(LATE).count(Materialized("windows"))
    write(counts.group_by(lambda k, v: (k.key, str(v)), BY).reduce(plus, minus, as_("sums")))


def _suppressed_regrouped(b: StreamsBuilder) -> None:
    counts = grouped(b).windowed_by(LATE).count(Materialized("windows"))
    finals = counts.suppress(Suppressed.until_window_closes(UNBOUNDED)).to_stream()
    out(finals.map(lambda k, v: (k.key, str(v))).group_by_key(BY).count(Materialized("finals")))


def _table_self_join(b: StreamsBuilder) -> None:
    left = table(b, "left")
    write(left.join(left, both))


def _table_join_suppressed(b: StreamsBuilder) -> None:
    joined = table(b, "left").join(table(b, "right"), both, as_("joined"))
    write(joined.suppress(Suppressed.until_time_limit(20, BufferConfig(max_records=3))))


def _tables_optimized(b: StreamsBuilder) -> None:
    left = table(b, "left")
    write(left.left_join(table(b, "right").filter(lambda k, v: even(v)), both, as_("joined")))


def _to_table_join(b: StreamsBuilder) -> None:
    rows = stream(b, "left").to_table(as_("rows"))
    write(rows.join(table(b, "right"), both))


def _stream_stream_table(b: StreamsBuilder) -> None:
    left = stream(b, "left")
    joined = left.join_stream(stream(b, "right"), both, NEAR, STORED)
    joined.left_join(table(b, "third"), both).to("out")


def _outer_count(b: StreamsBuilder) -> None:
    left = stream(b, "left")
    joined = left.outer_join_stream(stream(b, "right"), both, NEAR, STORED)
    out(joined.group_by_key(BY).count(Materialized("counts")))


def _foreign_key_of_filtered(b: StreamsBuilder) -> None:
    left = table(b, "left").filter(lambda k, v: even(v))
    right = table(b, "right").map_values(lambda v: v + "m", as_(None))
    write(left.left_join_on_foreign_key(right, letter, both))


def _repartition_partitions(b: StreamsBuilder) -> None:
    one = stream(b, "left").repartition(Repartitioned(partitions=1, name="one", key_serde=S, value_serde=S))
    write(one.group_by_key(BY).reduce(both, as_("all")))


def _long_keys(b: StreamsBuilder) -> None:
    numbers = stream(b, "left").filter(lambda k, v: v is not None).map(lambda k, v: (int(v) - 10, k))
    counts = numbers.group_by_key(Grouped(key_serde=Serdes.long(), value_serde=S)).windowed_by(LATE)
    changes = counts.count(Materialized("windows")).to_stream()
    changes.map(lambda k, v: (f"[{k.key}@{k.window.start}/{k.window.end}]", str(v))).to("out", WRITE)


def _double_values(b: StreamsBuilder) -> None:
    doubles = Materialized("decayed", key_serde=S, value_serde=Serdes.double())
    sums = grouped(b).aggregate(lambda: 0.5, lambda k, v, a: a * 0.75 + int(v), doubles)
    sums.to_stream().to("out", Produced(key_serde=S, value_serde=Serdes.double()))


add("diamond_count", _diamond)
add("two_joins_one_repartition", _two_joins)
add("two_groups_two_repartitions", _two_groups)
add("split_and_merge", _split_and_merge)
add("merge_three_windowed", _merge_three)
add("windowed_named", _windowed_named)
add("windowed_regrouped", _windowed_regrouped)
add("suppressed_regrouped", _suppressed_regrouped)
add("table_self_join", _table_self_join)
add("table_join_suppressed", _table_join_suppressed)
add("tables_optimized", _tables_optimized)
add("to_table_join", _to_table_join)
add("stream_stream_table", _stream_stream_table)
add("stream_stream_outer_count", _outer_count)
add("foreign_key_of_filtered", _foreign_key_of_filtered)
add("repartition_partitions", _repartition_partitions)
add("long_keys", _long_keys)
add("double_values", _double_values)

# Failures, and going on after them.


def not_14(value: str | None) -> str | None:
    """A value that is not 14; 14 raises."""
    if value == "14":
        raise ValueError(value)
    return value


def _sum_but_14(so_far: str, value: str) -> str:
    return plus(so_far, str(not_14(value)))


def _shorts(b: StreamsBuilder) -> None:
    b.stream("left", Consumed(key_serde=S, value_serde=Serdes.short())).map_values(text).to("out")


add("fails", lambda b: stream(b, "left").map_values(not_14).to("out"))
add("aggregator_fails", lambda b: write(grouped(b).reduce(_sum_but_14, as_("sums"))))
add("bad_bytes", _shorts)
add("bad_bytes_continue", _shorts)
add("fails_continue", lambda b: stream(b, "left").map_values(not_14).to("out"))
add(
    "aggregator_fails_continue",
    lambda b: write(grouped(b).windowed_by(HOPPING).reduce(_sum_but_14, as_("sums"))),
)

# Processors and their stores.


class Sessions(Processor[Any, Any, Any, Any]):
    """A session from 5 ms before the record to its time; all of the key; null removes it."""

    def process(self, record: Record[Any, Any]) -> None:
        store = self.context.get_state_store("recent")
        if record.key is None:
            return
        time = record.timestamp
        store.put(Windowed(record.key, Window(max(0, time - 5), time)), record.value)
        rows = store.fetch(record.key)
        every = "".join(f"{key.window.start}-{key.window.end}={value} " for key, value in rows)
        self.context.forward(record.with_value(every))


class First(Processor[Any, Any, Any, Any]):
    """The first value of the key and when it was; null deletes; even values list all, the last first."""

    def process(self, record: Record[Any, Any]) -> None:
        store = self.context.get_state_store("first")
        key, value = record.key, record.value
        if key is None:
            return
        before = store.delete(key) if value is None else store.put_if_absent(key, (value, record.timestamp))
        every = "".join(f"{key}{row.value}@{row.timestamp}" for key, row in store.reverse_all()) if even(value) else ""
        self.context.forward(
            record.with_value(every if before is None else f"{before.value}@{before.timestamp}{every}")
        )


class Choose(Processor[Any, Any, Any, Any]):
    """Even values to one child, others to another; null to both."""

    def process(self, record: Record[Any, Any]) -> None:
        child = None if record.value is None else "evens" if even(record.value) else "odds"
        self.context.forward(record, child)


class Fill(Processor[Any, Any, Any, Any]):
    """Fills the global store, with a mark."""

    def process(self, record: Record[Any, Any]) -> None:
        if record.key is not None:
            value = None if record.value is None else record.value + "g"
            self.context.get_state_store("all").put(record.key, value)


class Ask(Processor[Any, Any, Any, Any]):
    """What the global store has."""

    def process(self, record: Record[Any, Any]) -> None:
        found = None if record.key is None else self.context.get_state_store("all").get(record.key)
        self.context.forward(record.with_value(both(record.value, found)))


class Ticks(Processor[Any, Any, Any, Any]):
    """Stream time every 15 ms, three times; wall-clock time every 30 ms; both into a store."""

    def init(self, context: ProcessorContext) -> None:
        super().init(context)
        self.count = 0
        self.stream = context.schedule(15, STREAM_TIME, lambda time: self.tick("stream", time))
        context.schedule(30, WALL_CLOCK_TIME, lambda time: self.tick("wall", time))

    def tick(self, name: str, time: int) -> None:
        store = self.context.get_state_store("ticks")
        before = store.get(name)
        store.put(name, str(time))
        self.context.forward(Record(name, f"{text(before)}->{time}", time))
        if name == "stream":
            self.count += 1
            if self.count == 3:
                self.stream.cancel()

    def process(self, record: Record[Any, Any]) -> None:
        pass


def _sessions(b: StreamsBuilder) -> None:
    b.add_state_store(Stores.session("recent", 100, S, S))
    stream(b, "left").process(Sessions, ["recent"]).to("out", WRITE)


def _first(b: StreamsBuilder) -> None:
    b.add_state_store(Stores.timestamped_key_value("first", S, S))
    stream(b, "left").process(First, ["first"]).to("out", WRITE)


def _duplicates(b: StreamsBuilder) -> None:
    b.add_state_store(Stores.window("recent", 100, 10, S, S, retain_duplicates=True))
    stream(b, "left").process(Recent, ["recent"]).to("out", WRITE)


def _shared_store(b: StreamsBuilder) -> None:
    b.add_state_store(Stores.key_value("seen", S, S))
    stream(b, "left").process(Keep, ["seen"]).to("out", WRITE)
    stream(b, "right").process(Keep, ["seen"], "keeper").to("out-2", WRITE)


def _children(b: StreamsBuilder) -> None:
    chosen = stream(b, "left").process(Choose, named="choose")
    chosen.map_values(lambda v: text(v) + "e", "evens").to("out", WRITE)
    chosen.map_values(lambda v: text(v) + "o", "odds").to("out-2", WRITE)


def _global_store(b: StreamsBuilder) -> None:
    b.add_global_store(Stores.key_value("all", S, S).with_logging_disabled(), "right", READ, Fill)
    stream(b, "left").process(Ask).to("out", WRITE)


def _ticks(b: StreamsBuilder) -> None:
    b.add_state_store(Stores.key_value("ticks", S, S))
    stream(b, "left").process(Ticks, ["ticks"]).to("out", WRITE)


add("process_sessions", _sessions)
add("process_timestamped", _first)
add("process_duplicates", _duplicates)
add("process_shared_store", _shared_store)
add("process_children", _children)
add("global_store", _global_store)
add("punctuate_both", _ticks)
