"""What the topologies are made of that Java has as well; they are in java_twins and java_twins_….py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.streams import (
    Consumed,
    Grouped,
    KGroupedStream,
    KStream,
    KTable,
    Materialized,
    Produced,
    Serdes,
    StreamJoined,
    StreamsBuilder,
    Topology,
)

S = Serdes.string()
READ = Consumed(key_serde=S, value_serde=S)
WRITE = Produced(key_serde=S, value_serde=S)
BY = Grouped(key_serde=S, value_serde=S)
STORED = StreamJoined(key_serde=S, value_serde=S, other_value_serde=S)

OPTIMIZED = {
    "_optimized": "reuse.ktable.source.topics",
    "_merged": "merge.repartition.topics",
    "_single": "single.store.self.join",
    "_two_words": "merge.repartition.topics , reuse.ktable.source.topics",
    "_all": "all",
}
"""What the end of a topology's name says about ``topology.optimization``."""

TOPOLOGIES: dict[str, Callable[[StreamsBuilder], object]] = {}
Maker = Callable[[StreamsBuilder], object]


def add(name: str, maker: Maker) -> None:
    assert name not in TOPOLOGIES, name
    TOPOLOGIES[name] = maker


def build(name: str) -> Topology:
    """The topology of that name."""
    builder = StreamsBuilder()
    TOPOLOGIES[name](builder)
    return builder.build(next((words for end, words in OPTIMIZED.items() if name.endswith(end)), "none"))


def stream(b: StreamsBuilder, topic: str) -> KStream[Any, Any]:
    return b.stream(topic, READ)


def table(b: StreamsBuilder, topic: str) -> KTable[Any, Any]:
    return b.table(topic, READ)


def grouped(b: StreamsBuilder, topic: str = "left") -> KGroupedStream[Any, Any]:
    return stream(b, topic).group_by_key(BY)


def even(value: str | None) -> bool:
    return value is not None and int(value) % 2 == 0


def plus(a: str, b: str) -> str:
    return str(int(a) + int(b))


def minus(a: str, b: str) -> str:
    return str(int(a) - int(b))


def text(value: object) -> str:
    """As Java writes it into a text."""
    return "null" if value is None else str(value)


def both(a: str | None, b: str | None) -> str:
    return f"({text(a)}|{text(b)})"


def letter(value: str | None) -> str | None:
    """A letter that a number stands for: the key to group or join by."""
    return None if value is None else "abcd"[int(value) % 4]


def by_letter(key: Any, value: str | None) -> str | None:
    return letter(value)


def regroup(key: Any, value: str) -> tuple[str | None, str]:
    return letter(value), value


def as_(name: str | None, **more: Any) -> Materialized:
    return Materialized(name, key_serde=S, value_serde=S, **more)


def out(counts: KTable[Any, Any]) -> None:
    counts.to_stream().map_values(lambda v: None if v is None else str(v)).to("out")


def write(result: KTable[Any, Any]) -> None:
    result.to_stream().to("out")


def empty() -> str:
    return ""


def nought() -> str:
    return "0"


def comma(key: Any, value: str, so_far: str) -> str:
    return f"{so_far}{text(value)},"


def semicolon(key: Any, value: str, so_far: str) -> str:
    return f"{so_far}{text(value)};"


def merged(key: Any, first: str, second: str) -> str:
    return f"{first}+{second}"
