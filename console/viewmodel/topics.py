"""Topics as rows."""

from __future__ import annotations

from dataclasses import dataclass

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, Span, cell
from console.viewmodel.health import silent_brokers, unserved
from console.viewmodel.history import History, total
from engine.supervisor.snapshot import PROBE_TOPIC, ClusterSnapshot, TopicState


@dataclass(frozen=True, slots=True)
class TopicRow:
    """One topic with sums over its partitions."""

    topic: TopicState
    replication_factor: int
    records: int | None
    size_bytes: int | None
    rate_per_s: float | None
    history: tuple[float, ...]
    age_ms: float
    unserved: int = 0

    @property
    def key(self) -> str:
        """The topic's name."""
        return self.topic.name

    @property
    def health(self) -> tuple[str, str, str]:
        """Word, tone and glyph."""
        if self.topic.error:
            return "error", "offline", "✗"
        if self.unserved:
            return f"{self.unserved} offline", "offline", "✗"
        if self.topic.under_replicated:
            return f"{self.topic.under_replicated} under-replicated", "under_replicated", "◐"
        return "in sync", "in_sync", "●"

    @property
    def is_healthy(self) -> bool:
        """Every partition whole."""
        return self.health[1] == "in_sync"


def topic_rows(snapshot: ClusterSnapshot, history: History, *, internal: bool) -> list[TopicRow]:
    """Sorted by name, internal ones (if wanted) last."""
    rows = []
    silent = silent_brokers(snapshot)
    for topic in sorted(snapshot.topics, key=lambda each: (is_internal(each), each.name)):
        if is_internal(topic) and not internal:
            continue
        partitions = topic.partitions
        spans = [
            partition.high_watermark - partition.log_start_offset
            for partition in partitions
            if partition.high_watermark is not None and partition.log_start_offset is not None
        ]
        seen = [partition.observed_at_ms for partition in partitions if partition.observed_at_ms]
        oldest = min(seen, default=0)
        rows.append(
            TopicRow(
                topic,
                max((len(partition.replicas) for partition in partitions), default=0),
                sum(spans) if spans else None,
                _sum(partition.size_bytes for partition in partitions),
                total(partition.messages_in_per_s for partition in partitions),
                history.of(("topic", topic.name)),
                text.age_ms(snapshot.at_ms, oldest),
                unserved(topic, silent),
            )
        )
    return rows


def is_internal(topic: TopicState) -> bool:
    """Not a user's: Kafka's own topics, and the one that failovers are measured with."""
    return topic.is_internal or topic.name == PROBE_TOPIC


def _sum(values: object) -> int | None:
    known = [value for value in values if value is not None]  # type: ignore[attr-defined]
    return sum(known) if known else None


def _name(row: TopicRow) -> Cell:
    return cell(row.topic.name, "muted" if is_internal(row.topic) else "text")


def _health(row: TopicRow) -> Cell:
    word, tone, glyph = row.health
    return (Span(f"{glyph} {word}", tone),)


def _rate(row: TopicRow) -> Cell:
    return UNKNOWN if row.rate_per_s is None else cell(text.per_second(row.rate_per_s))


TOPIC_COLUMNS: tuple[Column, ...] = (
    Column("name", "NAME", _name, 16, lambda row: (is_internal(row.topic), row.topic.name), max_width=48),
    Column("health", "HEALTH", _health, 12, lambda row: (row.is_healthy, row.topic.name), flashes=True, max_width=22),
    Column(
        "partitions",
        "PARTS",
        lambda row: cell(text.count(len(row.topic.partitions))),
        5,
        lambda row: len(row.topic.partitions),
        right=True,
        priority=2,
        flashes=True,
    ),
    Column(
        "rf",
        "RF",
        lambda row: cell(row.replication_factor),
        3,
        lambda row: row.replication_factor,
        right=True,
        priority=1,
    ),
    Column(
        "records",
        "RECORDS",
        lambda row: cell(text.count(row.records)),
        10,
        lambda row: row.records or 0,
        right=True,
        descending=True,
    ),
    Column("rate", "RATE", _rate, 8, lambda row: row.rate_per_s or 0, right=True, descending=True),
    Column("trend", "TREND", lambda row: cell(text.spark(row.history, 10), "bytes_in"), 10, priority=4),
    Column(
        "size",
        "SIZE",
        lambda row: cell(text.size(row.size_bytes)),
        9,
        lambda row: row.size_bytes or 0,
        right=True,
        priority=3,
        descending=True,
    ),
    Column(
        "min-isr",
        "MIN ISR",
        lambda row: cell(row.topic.min_insync_replicas or "–", "muted"),
        7,
        lambda row: row.topic.min_insync_replicas or 0,
        right=True,
        priority=5,
    ),
    Column(
        "configs",
        "CONFIGS",
        lambda row: cell(" ".join(f"{k}={v}" for k, v in sorted(row.topic.configs.items())), "muted"),
        16,
        priority=6,
        max_width=60,
    ),
)
