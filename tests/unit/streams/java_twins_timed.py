"""Topologies in which time counts: windows, suppression, joins of streams. Java has peers of the same names."""

from __future__ import annotations

from engine.streams import (
    ON_WINDOW_CLOSE,
    BufferConfig,
    JoinWindows,
    Materialized,
    SessionWindows,
    SlidingWindows,
    StreamJoined,
    StreamsBuilder,
    Suppressed,
    TimeWindows,
    UnlimitedWindows,
)
from tests.unit.streams.java_twin_kit import (
    BY,
    STORED,
    WRITE,
    Maker,
    S,
    add,
    as_,
    both,
    by_letter,
    comma,
    empty,
    grouped,
    merged,
    out,
    plus,
    regroup,
    semicolon,
    stream,
    table,
    text,
    write,
)

# Windows.

TUMBLING = TimeWindows.of_size_with_no_grace(10)
LATE = TimeWindows.of_size_and_grace(10, 15)
HOPPING = TimeWindows.of_size_and_grace(20, 10).advance_by(7)
SLIDING = SlidingWindows.of_time_difference_and_grace(10, 20)
SESSIONS = SessionWindows.of_inactivity_gap_and_grace(8, 12)

add("tumbling_count", lambda b: out(grouped(b).windowed_by(TUMBLING).count()))
add("tumbling_grace", lambda b: write(grouped(b).windowed_by(LATE).reduce(both, as_("windows"))))
add(
    "tumbling_regrouped",
    lambda b: out(stream(b, "left").group_by(by_letter, BY).windowed_by(LATE).count(Materialized("windows"))),
)
add(
    "tumbling_retention",
    lambda b: write(
        grouped(b).windowed_by(LATE).aggregate(empty, lambda k, v, a: a + text(v), as_("windows", retention_ms=200))
    ),
)
add("hopping_reduce", lambda b: write(grouped(b).windowed_by(HOPPING).reduce(plus, as_("windows"))))
add("hopping_aggregate", lambda b: write(grouped(b).windowed_by(HOPPING).aggregate(empty, comma, as_("windows"))))
add("unlimited_count", lambda b: out(grouped(b).windowed_by(UnlimitedWindows.of(30)).count(Materialized("ever"))))
add("sliding_count", lambda b: out(grouped(b).windowed_by(SLIDING).count(Materialized("windows"))))
add("sliding_aggregate", lambda b: write(grouped(b).windowed_by(SLIDING).aggregate(empty, comma, as_("windows"))))
add(
    "sliding_no_grace",
    lambda b: write(
        grouped(b).windowed_by(SlidingWindows.of_time_difference_with_no_grace(10)).reduce(both, as_("windows"))
    ),
)
add("session_count", lambda b: out(grouped(b).windowed_by(SESSIONS).count(Materialized("sessions"))))
add(
    "session_aggregate",
    lambda b: write(grouped(b).windowed_by(SESSIONS).aggregate(empty, comma, merged, as_("sessions"))),
)
add(
    "session_reduce_no_grace",
    lambda b: write(
        grouped(b).windowed_by(SessionWindows.of_inactivity_gap_with_no_grace(8)).reduce(both, as_("sessions"))
    ),
)
add(
    "tumbling_on_close",
    lambda b: out(grouped(b).windowed_by(LATE).emit_strategy(ON_WINDOW_CLOSE).count(Materialized("windows"))),
)
add(
    "hopping_on_close",
    lambda b: write(grouped(b).windowed_by(HOPPING).emit_strategy(ON_WINDOW_CLOSE).reduce(both, as_("windows"))),
)
add(
    "sliding_on_close",
    lambda b: out(grouped(b).windowed_by(SLIDING).emit_strategy(ON_WINDOW_CLOSE).count(Materialized("windows"))),
)
add(
    "session_on_close",
    lambda b: out(grouped(b).windowed_by(SESSIONS).emit_strategy(ON_WINDOW_CLOSE).count(Materialized("sessions"))),
)
add(
    "windowed_table_map",
    lambda b: (
        grouped(b)
        .windowed_by(LATE)
        .count(Materialized("windows"))
        .filter(lambda k, v: v > 1)
        .to_stream()
        .select_key(lambda k, v: f"{k.key}@{k.window.start}")
        .map_values(lambda v: None if v is None else str(v))
        .to("out", WRITE)
    ),
)

# Suppression.

UNBOUNDED = BufferConfig.unbounded()

add(
    "suppress_tumbling",
    lambda b: out(
        grouped(b).windowed_by(LATE).count(Materialized("windows")).suppress(Suppressed.until_window_closes(UNBOUNDED))
    ),
)
add(
    "suppress_hopping",
    lambda b: write(
        grouped(b)
        .windowed_by(HOPPING)
        .reduce(both, as_("windows"))
        .suppress(Suppressed.until_window_closes(UNBOUNDED).with_name("final"))
    ),
)
add(
    "suppress_session",
    lambda b: out(
        grouped(b)
        .windowed_by(SESSIONS)
        .count(Materialized("sessions"))
        .suppress(Suppressed.until_window_closes(UNBOUNDED))
    ),
)
add(
    "suppress_full",
    lambda b: out(
        grouped(b)
        .windowed_by(LATE)
        .count(Materialized("windows"))
        .suppress(Suppressed.until_window_closes(BufferConfig(max_records=6).shut_down_when_full()))
    ),
)
add("suppress_time_limit", lambda b: write(table(b, "left").suppress(Suppressed.until_time_limit(25, UNBOUNDED))))
add(
    "suppress_max_records",
    lambda b: write(
        table(b, "left").suppress(Suppressed.until_time_limit(500, BufferConfig(max_records=2).emit_early_when_full()))
    ),
)
add(
    "suppress_max_bytes",
    lambda b: out(
        grouped(b).count(Materialized("counts")).suppress(Suppressed.until_time_limit(500, BufferConfig(max_bytes=250)))
    ),
)
add(
    "suppress_then_group",
    lambda b: out(
        table(b, "left")
        .suppress(Suppressed.until_time_limit(15, UNBOUNDED))
        .group_by(regroup, BY)
        .count(Materialized("counts"))
    ),
)

# Joins of streams.

NEAR = JoinWindows.of_time_difference_and_grace(10, 15)
STRICT = JoinWindows.of_time_difference_with_no_grace(10)


def _join(method: str, windows: JoinWindows) -> Maker:
    def make(b: StreamsBuilder) -> None:
        left = stream(b, "left")
        getattr(left, method)(stream(b, "right"), both, windows, STORED).to("out")

    return make


add("stream_stream", _join("join_stream", NEAR))
add("stream_stream_left", _join("left_join_stream", NEAR))
add("stream_stream_outer", _join("outer_join_stream", NEAR))
add("stream_stream_no_grace", _join("join_stream", STRICT))
add("stream_stream_left_no_grace", _join("left_join_stream", STRICT))
add("stream_stream_outer_no_grace", _join("outer_join_stream", STRICT))
add("stream_stream_after", _join("join_stream", NEAR.before(0).after(20)))
add("stream_stream_before_left", _join("left_join_stream", NEAR.after(-3)))
add("stream_stream_before_outer", _join("outer_join_stream", NEAR.before(20).after(0)))
add(
    "stream_stream_named",
    lambda b: (
        stream(b, "left")
        .select_key(by_letter)
        .left_join_stream(
            stream(b, "right").select_key(by_letter),
            both,
            NEAR,
            StreamJoined(key_serde=S, value_serde=S, other_value_serde=S, name="near", store_name="kept"),
        )
        .to("out")
    ),
)
add(
    "stream_stream_regrouped",
    lambda b: stream(b, "left").select_key(by_letter).join_stream(stream(b, "right"), both, NEAR, STORED).to("out"),
)


def _self_join(b: StreamsBuilder) -> None:
    left = stream(b, "left")
    left.join_stream(left, both, NEAR, STORED).to("out")


add("stream_self_join", _self_join)

# Cogrouping.


add(
    "cogroup",
    lambda b: write(grouped(b).cogroup(comma).cogroup(grouped(b, "right"), semicolon).aggregate(empty, as_("both"))),
)
add(
    "cogroup_regrouped",
    lambda b: write(
        grouped(b)
        .cogroup(comma)
        .cogroup(stream(b, "right").group_by(by_letter, BY), semicolon)
        .aggregate(empty, as_("both"), "together")
    ),
)
add(
    "cogroup_windowed",
    lambda b: write(
        grouped(b)
        .cogroup(comma)
        .cogroup(grouped(b, "right"), semicolon)
        .windowed_by(LATE)
        .aggregate(empty, as_("both"))
    ),
)
add(
    "cogroup_sliding",
    lambda b: write(
        grouped(b)
        .cogroup(comma)
        .cogroup(grouped(b, "right"), semicolon)
        .windowed_by(SLIDING)
        .aggregate(empty, as_("both"))
    ),
)
add(
    "cogroup_session",
    lambda b: write(
        grouped(b)
        .cogroup(comma)
        .cogroup(grouped(b, "right"), semicolon)
        .windowed_by_session(SESSIONS)
        .aggregate(empty, merged, as_("both"))
    ),
)
