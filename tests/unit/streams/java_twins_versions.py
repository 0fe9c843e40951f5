"""Versioned tables, joins with grace, topology.optimization, functions with keys: the peers of StreamsVersions.java."""

from __future__ import annotations

from typing import Any

from engine.streams import (
    Grouped,
    Joined,
    JoinWindows,
    KTable,
    Materialized,
    Printed,
    Processor,
    Record,
    Stores,
    StreamJoined,
    StreamsBuilder,
    VersionedRecord,
)
from tests.unit.streams.java_twin_kit import (
    BY,
    READ,
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
    even,
    grouped,
    letter,
    minus,
    nought,
    out,
    plus,
    regroup,
    semicolon,
    stream,
    table,
    text,
)
from tests.unit.streams.java_twins import JOINED, Keep, KeyAndValue


def versions(name: str, retention: int) -> Materialized:
    return Materialized.of(Stores.persistent_versioned_key_value_store(name, retention, 10, S, S))


def versioned(b: StreamsBuilder, topic: str, retention: int) -> KTable[Any, Any]:
    return b.table(topic, READ, versions(f"{topic}-versions", retention))


def write(result: KTable[Any, Any]) -> None:
    result.to_stream().to("out", WRITE)


def three(key: Any, a: Any, b: Any) -> str:
    return f"({text(key)}|{text(a)}|{text(b)})"


def odd_end(key: Any, value: str, so_far: str) -> str | None:
    return plus(so_far, value) if even(value) else None


def marked(value: Any) -> str:
    return text(value) + "m"


def right(a: Any, b: Any) -> Any:
    return b


def is_even(key: Any, value: Any) -> bool:
    return even(value)


def within(grace_ms: int, **more: Any) -> Joined:
    return Joined(key_serde=S, value_serde=S, other_value_serde=S, grace_ms=grace_ms, **more)


class Past(Processor[Any, Any, Any, Any]):
    """Puts and deletes versions, and tells what the key had and has at several times."""

    @staticmethod
    def told(found: VersionedRecord[str] | None) -> str:
        return "-" if found is None else f"{found.value}@{found.timestamp}"

    def process(self, record: Record[Any, Any]) -> None:
        store = self.context.get_state_store("past")
        key, value, time = record.key, record.value, record.timestamp
        if key is None:
            return
        if value is None:
            said = [self.told(store.delete(key, time))]
        else:
            said = [str(store.put(key, None if value == "19" else value, time))]
        said.append(self.told(store.get(key)))
        said += [self.told(store.get(key, time - before)) for before in (31, 30, 29, 15, 10, 5, 2, 1, 0, -1, -5, -30)]
        self.context.forward(record.with_value(" ".join(said)))


# Versioned tables.

add("versioned_table", lambda b: write(versioned(b, "left", 30)))
add(
    "versioned_default_segments",
    lambda b: write(b.table("left", READ, Materialized("rows", history_retention_ms=40, key_serde=S, value_serde=S))),
)
add("versioned_table_optimized", lambda b: write(versioned(b, "left", 30)))
add("versioned_to_table", lambda b: write(stream(b, "left").to_table(versions("rows", 20))))
add("versioned_count", lambda b: out(grouped(b).count(Materialized("counts", key_serde=S, history_retention_ms=30))))
add("versioned_reduce", lambda b: write(grouped(b).reduce(both, versions("reduced", 30))))
add("versioned_aggregate_to_null", lambda b: write(grouped(b).aggregate(nought, odd_end, versions("evens", 30))))
add(
    "versioned_cogroup",
    lambda b: write(
        grouped(b).cogroup(comma).cogroup(grouped(b, "right"), semicolon).aggregate(empty, versions("both", 30))
    ),
)
add("versioned_filter", lambda b: write(versioned(b, "left", 30).filter(is_even)))
add("versioned_filter_store", lambda b: write(versioned(b, "left", 30).filter(is_even, versions("evens", 15))))
add("versioned_filter_of_plain", lambda b: write(table(b, "left").filter_not(is_even, versions("odds", 30))))
add("versioned_map_values", lambda b: write(versioned(b, "left", 30).map_values(marked)))
add(
    "versioned_map_values_store",
    lambda b: write(
        versioned(b, "left", 30).map_values(marked, versions("mapped", 30)).filter(lambda k, v: not v.startswith("1"))
    ),
)
add(
    "versioned_transform_values",
    lambda b: write(versioned(b, "left", 30).transform_values(KeyAndValue, materialized=versions("transformed", 20))),
)
add("versioned_group", lambda b: out(versioned(b, "left", 30).group_by(regroup, BY).count(Materialized("counts"))))
add(
    "versioned_group_filtered",
    lambda b: write(
        versioned(b, "left", 30)
        .filter(is_even)
        .map_values(lambda v: plus(v, "1"))
        .group_by(regroup, BY)
        .reduce(plus, minus, versions("sums", 40))
    ),
)
add(
    "versioned_group_plain_filter",
    lambda b: out(versioned(b, "left", 30).filter(is_even, as_(None)).group_by(regroup, BY).count()),
)
add(
    "versioned_group_plain_store",
    lambda b: out(
        versioned(b, "left", 30).map_values(lambda v: plus(v, "1"), as_("more")).group_by(regroup, BY).count()
    ),
)
add("versioned_join", lambda b: write(versioned(b, "left", 30).join(versioned(b, "right", 20), both)))
add("versioned_join_left", lambda b: write(versioned(b, "left", 30).left_join(versioned(b, "right", 20), both)))
add("versioned_join_outer", lambda b: write(versioned(b, "left", 30).outer_join(versioned(b, "right", 20), both)))
add("versioned_join_one_side", lambda b: write(versioned(b, "left", 30).outer_join(table(b, "right"), both)))
add(
    "versioned_join_other_side",
    lambda b: write(table(b, "left").left_join(versioned(b, "right", 30).filter(is_even), both)),
)
add(
    "versioned_join_store",
    lambda b: write(versioned(b, "left", 30).join(versioned(b, "right", 30), both, versions("joined", 25))),
)
add(
    "versioned_join_of_join",
    lambda b: write(
        table(b, "left")
        .outer_join(table(b, "right"), both, versions("joined", 25))
        .left_join(versioned(b, "third", 40), both)
    ),
)
add(
    "versioned_join_group",
    lambda b: out(
        versioned(b, "left", 30)
        .join(versioned(b, "right", 30), right, versions("joined", 25))
        .group_by(regroup, BY)
        .count()
    ),
)
add(
    "versioned_foreign_key",
    lambda b: write(
        versioned(b, "left", 30).join_on_foreign_key(versioned(b, "right", 30), letter, both, as_("joined"))
    ),
)
add(
    "versioned_foreign_key_left",
    lambda b: write(
        versioned(b, "left", 30).left_join_on_foreign_key(
            versioned(b, "right", 30), letter, both, versions("joined", 30)
        )
    ),
)
add("versioned_stream_join", lambda b: stream(b, "left").join(versioned(b, "right", 30), both).to("out"))
add("versioned_stream_join_left", lambda b: stream(b, "left").left_join(versioned(b, "right", 15), both).to("out"))
add(
    "versioned_stream_join_mapped",
    lambda b: stream(b, "left").left_join(versioned(b, "right", 30).filter(is_even).map_values(marked), both).to("out"),
)
add(
    "versioned_stream_join_aggregate",
    lambda b: stream(b, "left").join(grouped(b, "right").reduce(plus, versions("sums", 30)), both).to("out"),
)


def _past(retention: int, interval: int | None) -> Maker:
    def make(b: StreamsBuilder) -> None:
        b.add_state_store(Stores.persistent_versioned_key_value_store("past", retention, interval, S, S))
        stream(b, "left").process(Past, ["past"]).to("out", WRITE)

    return make


add("versioned_process", _past(30, 7))
add("versioned_process_long", _past(500, None))

# Joins with grace.

add("grace_join", lambda b: stream(b, "left").join(versioned(b, "right", 30), both, within(10)).to("out"))
add(
    "grace_join_left",
    lambda b: (
        stream(b, "left")
        .filter(lambda k, v: k is not None)
        .left_join(versioned(b, "right", 30), both, within(20))
        .to("out")
    ),
)
add("grace_join_none", lambda b: stream(b, "left").join(versioned(b, "right", 30), both, within(0)).to("out"))
add(
    "grace_join_named",
    lambda b: (
        stream(b, "left")
        .select_key(by_letter)
        .left_join(versioned(b, "right", 30), both, within(15, name="late"))
        .to("out")
    ),
)
add(
    "grace_join_mapped",
    lambda b: (
        stream(b, "left")
        .join(versioned(b, "right", 30).map_values(marked), both, within(10))
        .group_by_key(BY)
        .reduce(both, as_("reduced"))
        .to_stream()
        .to("out")
    ),
)
add(
    "grace_join_two",
    lambda b: (
        stream(b, "left")
        .join(versioned(b, "right", 30), both, within(5))
        .filter(lambda k, v: k is not None)
        .left_join(versioned(b, "third", 60), both, within(12))
        .to("out")
    ),
)

# topology.optimization.

WIDE = JoinWindows.of_time_difference_and_grace(10, 15)
NARROW = JoinWindows.of_time_difference_and_grace(10, 5)


def _groups(b: StreamsBuilder) -> None:
    letters = stream(b, "left").select_key(by_letter)
    out(letters.group_by_key(BY).count(Materialized("counts")))
    letters.filter(is_even).group_by_key(BY).reduce(plus, as_("sums")).to_stream().to("out-2")
    letters.join(table(b, "right"), both, JOINED).to("out-3")


def _values_between(b: StreamsBuilder) -> None:
    letters = stream(b, "left").map(lambda k, v: (letter(v), v))
    out(letters.group_by_key(BY).count())
    shown = letters.map_values(lambda v: text(v) + "!")
    shown.group_by_key(Grouped(name="marked", key_serde=S, value_serde=S)).reduce(both).to_stream().to("out-2")


def _merge(b: StreamsBuilder) -> None:
    merged = stream(b, "left").select_key(by_letter).merge(stream(b, "right").select_key(by_letter))
    out(merged.group_by_key(BY).count())
    merged.group_by_key(BY).reduce(both).to_stream().to("out-2")


def _self_join(b: StreamsBuilder) -> None:
    left = stream(b, "left")
    left.join_stream(left, both, WIDE, STORED).to("out")


def _self_join_before(b: StreamsBuilder) -> None:
    left = stream(b, "left")
    windows = JoinWindows.of_time_difference_with_no_grace(10).after(0)
    stored = StreamJoined(key_serde=S, value_serde=S, other_value_serde=S, name="self", store_name="kept")
    left.join_stream(left, both, windows, stored).to("out")
    left.join(table(b, "right"), both).to("out-2")


def _self_join_regrouped(b: StreamsBuilder) -> None:
    letters = stream(b, "left").select_key(by_letter)
    letters.join_stream(letters, both, NARROW, STORED).to("out")


def _self_join_left(b: StreamsBuilder) -> None:
    left = stream(b, "left")
    left.left_join_stream(left, both, WIDE, STORED).to("out")


_OPTIMIZED: dict[str, Maker] = {
    "groups": _groups,
    "values_between": _values_between,
    "merge": _merge,
    "self_join": _self_join,
    "self_join_before": _self_join_before,
    "self_join_regrouped": _self_join_regrouped,
    "self_join_by_topic": lambda b: stream(b, "left").join_stream(stream(b, "left"), both, NARROW, STORED).to("out"),
    "self_join_left": _self_join_left,
    "tables": lambda b: write(table(b, "left").left_join(table(b, "right").filter(is_even), both, as_("joined"))),
}
_TWICE = ("self_join", "self_join_before", "self_join_regrouped", "self_join_by_topic", "self_join_left", "groups")
for _name, _maker in _OPTIMIZED.items():
    add(f"{_name}_all", _maker)
for _name in ("groups", "values_between", "merge", "tables"):
    add(f"{_name}_merged", _OPTIMIZED[_name])
for _name in _TWICE:
    add(f"{_name}_single", _OPTIMIZED[_name])
for _name in ("tables_two_words", "groups_two_words", "groups_optimized"):
    add(_name, _OPTIMIZED[_name.split("_")[0]])


def _lru(size: int) -> Maker:
    def make(b: StreamsBuilder) -> None:
        b.add_state_store(Stores.lru_map("seen", size, S, S))
        stream(b, "left").process(Keep, ["seen"]).to("out", WRITE)

    return make


for _size in range(4):
    add(f"process_lru_{_size}", _lru(_size))

# Functions that see the key as well.

add("to_stream_mapped", lambda b: table(b, "left").to_stream(mapper=by_letter).to("out", WRITE))
add(
    "to_stream_mapped_named",
    lambda b: (
        table(b, "left").to_stream("changes", mapper=by_letter).group_by_key(BY).reduce(both).to_stream().to("out")
    ),
)
add("with_key_table", lambda b: stream(b, "left").join(table(b, "right"), three, with_key=True).to("out"))
add("with_key_table_left", lambda b: stream(b, "left").left_join(table(b, "right"), three, with_key=True).to("out"))
add(
    "with_key_global",
    lambda b: stream(b, "left").join_global(b.global_table("right", READ), by_letter, three, with_key=True).to("out"),
)
add(
    "with_key_global_left",
    lambda b: (
        stream(b, "left").left_join_global(b.global_table("right", READ), by_letter, three, with_key=True).to("out")
    ),
)
add(
    "with_key_stream",
    lambda b: stream(b, "left").join_stream(stream(b, "right"), three, WIDE, STORED, with_key=True).to("out"),
)
add(
    "with_key_stream_left",
    lambda b: stream(b, "left").left_join_stream(stream(b, "right"), three, WIDE, STORED, with_key=True).to("out"),
)
add(
    "with_key_stream_outer",
    lambda b: stream(b, "left").outer_join_stream(stream(b, "right"), three, WIDE, STORED, with_key=True).to("out"),
)


def own_or_letter(key: Any, value: str) -> Any:
    return key if even(value) else letter(value)


add(
    "with_key_foreign",
    lambda b: write(
        table(b, "left").join_on_foreign_key(table(b, "right"), own_or_letter, both, as_("joined"), with_key=True)
    ),
)
add(
    "with_key_foreign_left",
    lambda b: write(
        table(b, "left").left_join_on_foreign_key(table(b, "right"), own_or_letter, both, as_("joined"), with_key=True)
    ),
)


def _print(b: StreamsBuilder) -> None:
    stream(b, "left").print(Printed.to_file("/dev/null"))
    told = Printed.to_file("/dev/null").with_label("label").with_name("printer")
    stream(b, "left").print(told.with_key_value_mapper(together))
    stream(b, "left").to("out")


def together(key: Any, value: Any) -> str:
    return text(key) + text(value)


add("print", _print)
