"""The topologies that were run through Kafka Streams 4.3.1's test driver (tests/golden/streams/GoldenStreams.java)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.streams import (
    ON_WINDOW_CLOSE,
    STREAM_TIME,
    WALL_CLOCK_TIME,
    BufferConfig,
    Consumed,
    FixedKeyProcessor,
    Grouped,
    Joined,
    JoinWindows,
    KStream,
    KTable,
    Materialized,
    Processor,
    ProcessorContext,
    Produced,
    Record,
    Repartitioned,
    Serdes,
    SessionWindows,
    SlidingWindows,
    Stores,
    StreamJoined,
    StreamsBuilder,
    Suppressed,
    TimeWindows,
    Topology,
    UnlimitedWindows,
    ValueTransformer,
    Windowed,
)

S = Serdes.string()
C = Consumed(key_serde=S, value_serde=S)
G = Grouped(key_serde=S, value_serde=S)
SJ = StreamJoined(key_serde=S, value_serde=S, other_value_serde=S)
JOIN = JoinWindows.of_time_difference_and_grace(5, 10)
Stream = KStream[Any, Any]
Table = KTable[Any, Any]


def text(value: Any) -> str:
    return "null" if value is None else str(value)


def both(first: Any, second: Any) -> str:
    return text(first) + text(second)


def append(first: str, second: str) -> str:
    return first + second


def stored(name: str | None = None) -> Materialized:
    return Materialized(name, key_serde=S, value_serde=S)


def out(stream: Stream) -> None:
    stream.to("out")


def windows_out(table: Table, *, as_text: bool = False) -> None:
    def name(windowed: Windowed[str], value: Any) -> str:
        return f"{windowed.key}@{windowed.window.start}-{windowed.window.end}"

    stream = table.to_stream().select_key(name)
    if as_text:
        stream = stream.map_values(str)
    stream.to("out", Produced(key_serde=S, value_serde=S))


def _tumbling() -> TimeWindows:
    return TimeWindows.of_size_and_grace(10, 5)


def _sessions(grace_ms: int) -> SessionWindows:
    return SessionWindows.of_inactivity_gap_and_grace(5, grace_ms)


def _branch(b: StreamsBuilder, a: Stream) -> None:
    split = a.split("sp-").branch(lambda k, v: v < "m").branch(lambda k, v: v < "t", "x").default_branch()
    first = split["sp-1"].map_values(lambda v: v + "1")
    merged = first.merge(split["sp-x"].map_values(lambda v: v + "x"))
    out(merged.merge(split["sp-0"].filter_not(lambda k, v: v == "z")))


class Counting(Processor[str, str, str, str]):
    """Counts in a store, tells what it has every 20 ms of stream time, forgets two keys every second."""

    def init(self, context: ProcessorContext) -> None:
        super().init(context)
        self.store = context.get_state_store("st")
        context.schedule(20, STREAM_TIME, self.tell)
        context.schedule(1000, WALL_CLOCK_TIME, self.forget)

    def tell(self, time: int) -> None:
        for key, count in self.store.all():
            self.context.forward(Record(key, f"S{count}", time))

    def forget(self, time: int) -> None:
        self.context.forward(Record("wall", f"W{self.context.current_stream_time_ms()}", time))
        for key in "ab":
            self.store.delete(key)

    def process(self, record: Record[str, str]) -> None:
        self.store.put(record.key, (self.store.get(record.key) or 0) + 1)
        metadata = self.context.record_metadata()
        assert metadata is not None
        value = f"{record.value}{metadata.offset}@{self.context.current_stream_time_ms()}"
        self.context.forward(record.with_value(value))


class Twice(FixedKeyProcessor[str, str, str]):
    """Forwards each record with the stream time, and once more."""

    def process(self, record: Record[str, str]) -> None:
        self.context.forward(record.with_value(f"{record.value}{self.context.current_stream_time_ms()}"))
        self.context.forward(record.with_value("2" + record.value))


class Bracketed(ValueTransformer[str, str, str]):
    """A value with its key."""

    def transform(self, key: str, value: str | None) -> str:
        return f"{key}<{text(value)}>"


def _process(b: StreamsBuilder, a: Stream) -> None:
    b.add_state_store(Stores.key_value("st", S, Serdes.long()))
    a.process(Counting, ["st"]).to("out", Produced(key_serde=S, value_serde=S))


def _foreign(value: str) -> str | None:
    return None if value == "z" else value[:1]


def _initial(key: str, value: str) -> tuple[str, str]:
    return value[:1], value


BUILDERS: dict[str, Callable[[StreamsBuilder, Stream], None]] = {
    "count": lambda b, a: out(a.group_by_key().count().to_stream().map_values(str)),
    "groupby": lambda b, a: out(a.group_by(lambda k, v: v[:1], G).count().to_stream().map_values(str)),
    "reduce": lambda b, a: out(a.group_by_key().reduce(append).to_stream()),
    "branch": _branch,
    "tumbling": lambda b, a: windows_out(a.group_by_key().windowed_by(_tumbling()).count(), as_text=True),
    "hopping": lambda b, a: windows_out(a.group_by_key().windowed_by(_tumbling().advance_by(3)).reduce(append)),
    "sliding": lambda b, a: windows_out(
        a.group_by_key().windowed_by(SlidingWindows.of_time_difference_and_grace(10, 20)).reduce(append)
    ),
    "session": lambda b, a: windows_out(a.group_by_key().windowed_by(_sessions(20)).reduce(append)),
    "suppress": lambda b, a: windows_out(
        a.group_by_key()
        .windowed_by(_tumbling())
        .reduce(append, stored())
        .suppress(Suppressed.until_window_closes(BufferConfig.unbounded()))
    ),
    "suppresstime": lambda b, a: out(
        b.table("t", C)
        .suppress(Suppressed.until_time_limit(10, BufferConfig(max_records=3).emit_early_when_full()))
        .to_stream()
    ),
    "onclose": lambda b, a: windows_out(
        a.group_by_key().windowed_by(_tumbling()).emit_strategy(ON_WINDOW_CLOSE).count(), as_text=True
    ),
    "sessionclose": lambda b, a: windows_out(
        a.group_by_key().windowed_by(_sessions(5)).emit_strategy(ON_WINDOW_CLOSE).count(), as_text=True
    ),
    "jstream": lambda b, a: out(a.join_stream(b.stream("b", C), both, JOIN, SJ)),
    "ljstream": lambda b, a: out(a.left_join_stream(b.stream("b", C), both, JOIN, SJ)),
    "ojstream": lambda b, a: out(
        a.outer_join_stream(b.stream("b", C), both, JoinWindows.of_time_difference_with_no_grace(5).after(2), SJ)
    ),
    "selfjoin": lambda b, a: out(a.join_stream(a, both, JOIN, SJ)),
    "rejoin": lambda b, a: out(
        a.select_key(lambda k, v: v[:1]).left_join_stream(b.stream("b", C).select_key(lambda k, v: k), both, JOIN, SJ)
    ),
    "jtable": lambda b, a: out(a.left_join(b.table("t", C), both)),
    "jtable2": lambda b, a: out(
        a.map(lambda k, v: (text(k), v)).join(
            b.table("t", C).filter(lambda k, v: v > "c"), both, Joined(key_serde=S, value_serde=S)
        )
    ),
    "ttjoin": lambda b, a: out(b.table("t", C).join(b.table("u", C), both).to_stream()),
    "ttleft": lambda b, a: out(
        b.table("t", C).left_join(b.table("u", C), both, Materialized("jj", value_serde=S)).to_stream()
    ),
    "ttouter": lambda b, a: out(
        b.table("t", C)
        .outer_join(b.table("u", C).filter(lambda k, v: v < "p"), both)
        .filter(lambda k, v: v != "ab")
        .to_stream()
    ),
    "tagg": lambda b, a: out(
        b.table("t", C)
        .group_by(_initial, G)
        .aggregate(lambda: "", lambda k, v, g: f"{g}+{v}", lambda k, v, g: f"{g}-{v}", stored())
        .to_stream()
    ),
    "tcount": lambda b, a: out(
        b.table("t", C).map_values(lambda v: f"{v}!").group_by(_initial, G).count().to_stream().map_values(str)
    ),
    "tred": lambda b, a: out(
        b.table("t", C)
        .filter(lambda k, v: v < "m")
        .group_by(_initial, G)
        .reduce(lambda x, y: f"{x}+{y}", lambda x, y: f"{x}-{y}")
        .to_stream()
    ),
    "totable": lambda b, a: out(a.to_table().join(a.group_by_key().reduce(append), both).to_stream()),
    "global": lambda b, a: out(
        a.left_join_global(b.global_table("t", C), lambda k, v: k, both).join_global(
            b.global_table("u", C), lambda k, v: v[:1], both
        )
    ),
    "cogroup": lambda b, a: out(
        a.group_by_key()
        .cogroup(lambda k, v, g: g + v)
        .cogroup(b.stream("b", C).group_by(lambda k, v: k, G), lambda k, v, g: g + v.upper())
        .aggregate(str, stored())
        .to_stream()
    ),
    "fk": lambda b, a: out(b.table("t", C).join_on_foreign_key(b.table("u", C), _foreign, both).to_stream()),
    "fkleft": lambda b, a: out(
        b.table("t", C).left_join_on_foreign_key(b.table("u", C), _foreign, both, stored("fkk")).to_stream()
    ),
    "procvals": lambda b, a: out(a.process_values(Twice).group_by_key().count().to_stream().map_values(str)),
    "process": _process,
    "repart": lambda b, a: out(
        a.repartition(Repartitioned(key_serde=S, value_serde=S, name="rp", partitions=3)).merge(a.repartition())
    ),
    "named": lambda b, a: (
        a.filter(lambda k, v: True, "f1")
        .map_values(lambda v: v, "m1")
        .select_key(lambda k, v: v, "sk")
        .group_by_key(Grouped(key_serde=S, value_serde=S, name="grp"))
        .count(Materialized("cs"), "cnt")
        .filter(lambda k, v: v > 1, Materialized("fs"), "tf")
        .map_values(str, Materialized("ms", value_serde=S), "tm")
        .to_stream("ts")
        .to("out", Produced(key_serde=S, value_serde=S, name="sinkk"))
    ),
    "namedjoin": lambda b, a: out(
        a.left_join_stream(
            b.stream("b", Consumed(key_serde=S, value_serde=S, name="bsrc")),
            both,
            JoinWindows.of_time_difference_with_no_grace(5),
            StreamJoined(key_serde=S, value_serde=S, other_value_serde=S, name="jn", store_name="jst"),
        )
    ),
    "slidingclose": lambda b, a: windows_out(
        a.group_by_key()
        .windowed_by(SlidingWindows.of_time_difference_and_grace(5, 5))
        .emit_strategy(ON_WINDOW_CLOSE)
        .reduce(append)
    ),
    "hopclose": lambda b, a: windows_out(
        a.group_by_key().windowed_by(_tumbling().advance_by(4)).emit_strategy(ON_WINDOW_CLOSE).reduce(append)
    ),
    "cowin": lambda b, a: windows_out(
        a.group_by_key()
        .cogroup(lambda k, v, g: g + v)
        .cogroup(b.stream("b", C).group_by_key(), lambda k, v, g: g + v.upper())
        .windowed_by(_tumbling())
        .aggregate(str, stored())
    ),
    "coses": lambda b, a: windows_out(
        a.group_by_key()
        .cogroup(lambda k, v, g: g + v)
        .windowed_by_session(_sessions(5))
        .aggregate(str, lambda k, x, y: x + y, stored(), "cg")
    ),
    "three": lambda b, a: out(
        b.table("t", C)
        .join(b.table("u", C), both)
        .outer_join(a.to_table(), lambda x, y: f"{text(x)}/{text(y)}")
        .group_by(_initial, G)
        .count()
        .to_stream()
        .map_values(str)
    ),
    "ttname": lambda b, a: out(
        b.table("t", Consumed(key_serde=S, value_serde=S, name="tt"), Materialized("tst"))
        .left_join(b.table("u", C), both, named="nj")
        .map_values(lambda v: v + "!")
        .filter(lambda k, v: len(v) > 3)
        .join(a.group_by_key().reduce(append), both)
        .to_stream()
    ),
    "suppjoin": lambda b, a: out(
        a.group_by_key()
        .count()
        .suppress(Suppressed.until_time_limit(10, BufferConfig(max_bytes=200).emit_early_when_full()))
        .join(b.table("t", C), both)
        .to_stream()
    ),
    "ttrans": lambda b, a: out(
        b.table("t", C).transform_values(Bracketed).filter(lambda k, v: "q" not in v).to_stream()
    ),
    "flat": lambda b, a: out(
        a.flat_map(lambda k, v: [(letter, k) for letter in v])
        .flat_map_values(lambda v: [v, v + v])
        .peek(lambda k, v: None)
        .group_by_key(G)
        .aggregate(str, lambda k, v, g: g + v, Materialized("agg", value_serde=S))
        .to_stream()
    ),
    "outofrange": lambda b, a: out(
        a.join_stream(b.stream("b", C), both, JoinWindows.of_time_difference_and_grace(5, 0).before(-2), SJ)
    ),
    "multi": lambda b, a: (
        b.stream(["b", "u"], C)
        .merge(a)
        .group_by_key()
        .windowed_by(UnlimitedWindows.of(20))
        .count()
        .to_stream()
        .select_key(lambda k, v: f"{k.key}{k.window.start}")
        .map_values(str)
        .to("out", Produced(key_serde=S, value_serde=S))
    ),
}


def _versioned(b: StreamsBuilder, topic: str) -> KTable[Any, Any]:
    return b.table(topic, C, Materialized(f"{topic}-versions", history_retention_ms=20))


NEWER: dict[str, Callable[[StreamsBuilder, Stream], None]] = {
    "versions": lambda b, a: out(_versioned(b, "t").outer_join(_versioned(b, "u"), both).to_stream()),
    "asof": lambda b, a: out(a.join(_versioned(b, "t"), both)),
    "graced": lambda b, a: out(
        a.filter(lambda k, v: k is not None).left_join(
            _versioned(b, "t"), both, Joined(key_serde=S, value_serde=S, grace_ms=15)
        )
    ),
}
"""Of which tests/golden/streams has none: StreamsVersions.java has many."""

_LEAVES_A_UNREAD = {
    "versions",
    "suppresstime",
    "ttjoin",
    "ttleft",
    "ttouter",
    "tagg",
    "tcount",
    "tred",
    "fk",
    "fkleft",
    "ttrans",
}


def topology(name: str) -> Topology:
    builder = StreamsBuilder()
    stream: Stream = builder.stream("a", C)
    (BUILDERS | NEWER)[name](builder, stream)
    if name in _LEAVES_A_UNREAD:
        stream.foreach(lambda k, v: None)
    return builder.build()
